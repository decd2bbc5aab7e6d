#!/bin/sh
# SPDX-License-Identifier: MIT
#
# bundle.sh - the tools with the libraries that they need in one folder, which runs
# from anywhere on a Linux with as new a glibc.  For machines without root, and bare ones.
#
#   bundle.sh BUILD FOLDER      (make bundle calls it; BUILD was linked for it)
set -eu
export LC_ALL=C
build=$1 folder=$2
max_mb=60

# The system's own: the C library and what must match it.
ours() {
    case $1 in
    ld-linux* | libc.so* | libm.so* | libdl.so* | librt.so* | libpthread.so* | linux-vdso*) return 1 ;;
    esac
}
needed() { # needed FILE...: lines of name and path of each shared library
    ldd "$@" | awk '$2 == "=>" { print $1, $3 }' | sort -u
}

rm -rf "$folder"
mkdir -p "$folder/bin" "$folder/lib" "$folder/share/doc/dnas/licences"
install -m 755 "$build"/bin/dnas-* "$folder/bin"
strip "$folder"/bin/*
needed "$folder"/bin/* >"$folder/needed"
while read -r name path; do
    ours "$name" || continue
    [ "$path" != not ] || { echo "bundle: the library $name is missing" >&2; exit 1; }
    install -m 644 "$(readlink -f "$path")" "$folder/lib/$name"
    # Whose it is, and under which terms: Debian keeps that by package.
    package=$(dpkg -S "$(readlink -f "$path")" 2>/dev/null | sed 's/:.*//; q') || package=
    if [ -n "$package" ] && [ -r "/usr/share/doc/$package/copyright" ]; then
        cp -L "/usr/share/doc/$package/copyright" "$folder/share/doc/dnas/licences/$package"
    fi
done <"$folder/needed"
rm "$folder/needed"
# Loaded when a GPU is asked for; CUDA's own libraries are the machine's.
if [ -e "$build/lib/libdnas-cuda.so" ]; then
    install -m 644 "$build/lib/libdnas-cuda.so" "$folder/lib"
    strip --strip-unneeded "$folder/lib/libdnas-cuda.so"
fi
cp LICENSE README.md NEWS.md examples/tiny.fa "$folder/share/doc/dnas"
for page in man/*.[1-9]; do
    install -d "$folder/share/man/man${page##*.}"
    install -m 644 "$page" "$folder/share/man/man${page##*.}"
done
for tool in "$folder"/bin/*; do
    install -D -m 644 man/completion/dnas.bash \
        "$folder/share/bash-completion/completions/$(basename "$tool")"
done

# It has to run elsewhere, with nothing set and no library but its own.
away=$(mktemp -d)
trap 'rm -rf "$away"' EXIT
cp -R "$folder" "$away/moved here"
here=$(readlink -f "$away")
env -i ldd "$away/moved here"/bin/* | awk '$2 == "=>"' | sort -u | while read -r name _ path _; do
    case $path in
    "$here/"*) ;;
    *)
        if ours "$name"; then
            echo "bundle: $name comes from $path, not from the folder" >&2
            exit 1
        fi
        ;;
    esac
done
for tool in "$away/moved here"/bin/*; do
    env -i "$tool" --version >/dev/null
done
env -i "$away/moved here/bin/dnas-embed" -q examples/tiny.fa >"$away/moved.dnas"
"$build/bin/dnas-embed" -q examples/tiny.fa | cmp - "$away/moved.dnas"

mb=$(du -sm "$folder" | cut -f 1)
glibc=$(objdump -T "$folder"/bin/* "$folder"/lib/* 2>/dev/null |
    sed -n 's/.*GLIBC_\(2\.[0-9]*\).*/\1/p' | sort -u -t . -k 2n | tail -n 1)
echo "$folder: $mb MB, for $(uname -m) with glibc $glibc or later"
if [ "$mb" -ge $max_mb ]; then
    echo "bundle: more than $max_mb MB" >&2
    exit 1
fi
