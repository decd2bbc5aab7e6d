#!/bin/sh
# SPDX-License-Identifier: MIT
#
# deps.sh - sees to what the build needs: installs it with apt where it may
# without a password, else prints the one line to type.  DEPS=no: never install.
# CXX: the tests' C++ compiler, which the build itself does not need.
set -u

cc=${CC:-cc}
packages=
need() { # need PACKAGE: it is missing
    case " $packages " in *" $1 "*) ;; *) packages="$packages $1" ;; esac
}
compiles() { # compiles 'TEXT' FLAGS...: the compiler takes it and links
    text=$1
    shift
    dir=$(mktemp -d) || exit 1
    printf '%s\nint main(void) { return 0; }\n' "$text" >"$dir/t.c"
    # shellcheck disable=SC2086 # cc may be two words ("ccache gcc")
    $cc -o "$dir/t" "$dir/t.c" "$@" >/dev/null 2>&1
    status=$?
    rm -rf "$dir"
    return $status
}
look() {
    packages=
    # shellcheck disable=SC2086
    command -v ${cc%% *} >/dev/null 2>&1 || need gcc
    compiles '#include <stdio.h>' || { [ -n "$packages" ] || need libc6-dev; }
    [ -z "$packages" ] || need libc6-dev
    flags=$(pkg-config --cflags --libs htslib libzstd libxxhash jansson 2>/dev/null)
    # shellcheck disable=SC2086
    {
        compiles '#include <htslib/bgzf.h>' ${flags:--lhts} || need libhts-dev
        compiles '#include <zstd.h>' ${flags:--lzstd} || need libzstd-dev
        compiles '#include <xxhash.h>' ${flags:--lxxhash} || need libxxhash-dev
        compiles '#include <jansson.h>' ${flags:--ljansson} || need libjansson-dev
        compiles '#include <dnnl.h>' -ldnnl || need libdnnl-dev
        compiles '#include <lbfgs.h>' -llbfgs || need liblbfgs-dev
        compiles '' -l:libgomp.so.1 || need libgomp1
    }
    command -v pkg-config >/dev/null 2>&1 || need pkg-config
    if [ -n "${CXX:-}" ]; then
        command -v "${CXX##* }" >/dev/null 2>&1 || need g++
    fi
}

look
[ -n "$packages" ] || exit 0
as_root=
[ "$(id -u)" = 0 ] || as_root=sudo
line="$as_root apt-get install -y --no-install-recommends$packages"
line=${line# }
if ! command -v apt-get >/dev/null 2>&1; then
    echo "dnas needs these libraries with their headers (Debian names):$packages" >&2
    exit 1
fi
if [ "${DEPS:-yes}" = no ] || { [ -n "$as_root" ] && ! sudo -n true 2>/dev/null; }; then
    echo "dnas needs packages that are not installed; type:" >&2
    echo "  $line" >&2
    exit 1
fi
echo "Installing what the build needs: $line"
export DEBIAN_FRONTEND=noninteractive
$line >/dev/null 2>&1 || { $as_root apt-get update >/dev/null && $line >/dev/null; } || {
    echo "that failed; type it by hand to see why:" >&2
    echo "  $line" >&2
    exit 1
}
look
[ -z "$packages" ] || {
    echo "still missing after the installation:$packages" >&2
    exit 1
}
