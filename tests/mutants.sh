#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# mutants.sh - `make mutants`: plants the faults of mutants.tsv one at a time in a
# copy of the sources, and lists those that no test notices.
#
#   mutants.sh [PATTERN]    only the faults whose line fits (default: all)
#
# A line of the table is FILE<TAB>SED EXPRESSION<TAB>TESTS: programs (unit/bert)
# or scripts (cli/embed) of tests/, one of which must fail.  A fault that changes
# nothing or does not compile is a mistake of the table.
# The copy is kept in MUTANTS_DIR, if that is set, so that the next run builds less.
set -u -o pipefail
cd "$(dirname "$0")/.." || exit 99
: "${MUTANT_SECONDS:=300}" "${JOBS:=2}"
dir=${MUTANTS_DIR:-$(mktemp -d "${TMPDIR:-/tmp}/dnas-mutants.XXXXXX")} || exit 99
[ -n "${MUTANTS_DIR:-}" ] || trap 'rm -rf "$dir"' EXIT
mkdir -p "$dir/tree" "$dir/tmp" || exit 99
# Only what differs is copied: a time that went back would leave make with the
# object of the last fault.
sources() { find Makefile deps.sh common kernels tools tests man examples -type f | sort; }
sources >"$dir/wanted"
while read -r file; do
    cmp -s "$file" "$dir/tree/$file" || install -D -m 644 "$file" "$dir/tree/$file" || exit 99
done <"$dir/wanted"
cd "$dir/tree" || exit 99
sources 2>/dev/null | comm -13 "$dir/wanted" - | xargs -r rm -f
export BUILD=$dir/build

program_of() { # program_of TEST: what make builds for it; a script needs the tools
    local name=$1 folder=${1%/*}
    case $folder in
    cli | suite) echo all ;;
    fuzz) echo "$BUILD/tests/fuzz/fuzz_${name#*/}" ;;
    *) echo "$BUILD/tests/$folder/test_${name#*/}" ;;
    esac
}
build() { # build TEST...
    local name targets=("$BUILD/tests/faults/faults.so")
    for name in "$@"; do targets+=("$(program_of "$name")"); done
    [[ $* != *cuda* && $* != *packed* ]] || targets+=("$BUILD/libdnas-cuda-emulated.so")
    make -j"$JOBS" BUILD="$BUILD" CUDA=no CFLAGS=-O1 "${targets[@]}" >"$dir/build.log" 2>&1
}
passes() { # passes TEST: whether all of it does
    rm -rf "$dir/tmp" && mkdir "$dir/tmp"
    case $1 in
    cli/* | suite/*) TMP=$dir/tmp timeout "$MUTANT_SECONDS" bash "tests/$1.sh" ;;
    *) TMP=$dir/tmp timeout "$MUTANT_SECONDS" "$(program_of "$1")" ;;
    esac >"$dir/test.log" 2>&1 </dev/null
}

n=0 noticed=0 alive=() mistakes=()
mapfile -t lines < <(grep -v '^#' tests/mutants.tsv | grep -e "${1:-}")
[ ${#lines[@]} -gt 0 ] || { echo "no fault fits '${1:-}'" >&2; exit 99; }
mapfile -t all < <(printf '%s\n' "${lines[@]}" | cut -f 3 | tr ' ' '\n' | sort -u)
build "${all[@]}" || { tail -n 20 "$dir/build.log" >&2; exit 99; }
for name in "${all[@]}"; do
    passes "$name" || { echo "$name fails without a fault:" >&2; tail -n 20 "$dir/test.log" >&2; exit 99; }
done
for line in "${lines[@]}"; do
    IFS=$'\t' read -r file edit tests <<<"$line"
    read -ra names <<<"$tests"
    n=$((n + 1))
    cp -p "$file" "$dir/kept"
    sed -i "$edit" "$file"
    outcome=alive
    if cmp -s "$file" "$dir/kept"; then
        outcome=mistake
    elif ! build "${names[@]}"; then
        outcome=mistake
    else
        for name in "${names[@]}"; do
            passes "$name" || { outcome="noticed by $name"; break; }
        done
    fi
    cp "$dir/kept" "$file" && touch "$file"
    case $outcome in
    alive) alive+=("$file: $edit") ;;
    mistake) mistakes+=("$file: $edit") ;;
    *) noticed=$((noticed + 1)) ;;
    esac
    echo "$n/${#lines[@]} $outcome: $file: $edit"
done
for line in "${alive[@]+"${alive[@]}"}"; do echo "ALIVE    $line"; done
for line in "${mistakes[@]+"${mistakes[@]}"}"; do echo "MISTAKE  $line"; done
echo "$n faults, $noticed noticed, ${#alive[@]} alive, ${#mistakes[@]} that change nothing or do not compile"
[ ${#alive[@]} = 0 ] && [ ${#mistakes[@]} = 0 ]
