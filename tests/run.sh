#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# run.sh - runs the test programs and scripts, all or those named.
#
#   run.sh [NAME...]    a NAME is a folder (unit, kernels, model, fuzz, cli, suite,
#                       gpu, limits) or the stem of a file (stream, fuzz_stream, embed, ...)
#
# Each prints TAP; what failed is shown, and the last line counts them all.
set -u
cd "$(dirname "$0")/.." || exit 99
: "${BUILD:=$PWD/build}" "${JOBS:=2}"
export BUILD
PATH=$BUILD/bin:$PATH
export LC_ALL=C
out=$(mktemp -d "${TMPDIR:-/tmp}/dnas-check.XXXXXX") || exit 99
trap 'rm -rf "$out"' EXIT

wanted() { # wanted FILE ARGS...: whether FILE is among those asked for
    local file=$1 folder stem
    shift
    folder=$(basename "$(dirname "$file")")
    stem=$(basename "$file" .sh)
    stem=${stem#test_}
    [ $# -gt 0 ] || { [[ $folder != gpu && $folder != limits ]] && return 0 || return 1; }
    local name
    for name in "$@"; do
        [ "$name" = "$folder" ] || [ "$name" = "$stem" ] && return 0
    done
    return 1
}

run_one() { # run_one FILE: its TAP and messages to $out
    local file=$1 name
    name=${file#"$BUILD"/}
    name=${name#tests/}
    mkdir -p "$out/$(dirname "$name")"
    export TMP=$out/$name.tmp
    mkdir -p "$TMP"
    if [[ $file == *.sh ]]; then
        bash "$file" >"$out/$name.tap" 2>"$out/$name.err" </dev/null
    else
        "$file" >"$out/$name.tap" 2>"$out/$name.err" </dev/null
    fi
    echo $? >"$out/$name.status"
    rm -rf "$TMP"
}
export -f run_one
export out

files=()
for f in "$BUILD"/tests/unit/test_* "$BUILD"/tests/kernels/test_* "$BUILD"/tests/model/test_* \
    "$BUILD"/tests/fuzz/fuzz_* tests/cli/*.sh tests/suite/*.sh tests/gpu/*.sh tests/limits/*.sh; do
    [[ -f $f && $f != *.[od] ]] && wanted "$f" "$@" && files+=("$f")
done
# A program whose source has gone is left over from an earlier build.
kept=()
for f in "${files[@]}"; do
    [[ $f == *.sh || -f ${f#"$BUILD"/}.c || -f ${f#"$BUILD"/}.cu ]] && kept+=("$f")
done
[ ${#kept[@]} -gt 0 ] || { echo "no test is called $*" >&2; exit 99; }
printf '%s\0' "${kept[@]}" | xargs -0 -P "$JOBS" -I{} bash -c 'run_one "$1"' _ {}

passed=0 failed=0 skipped=0
for f in "${kept[@]}"; do
    name=${f#"$BUILD"/}
    name=${name#tests/}
    status=$(cat "$out/$name.status" 2>/dev/null || echo 99)
    n_ok=$(grep -c '^ok ' "$out/$name.tap")
    n_skip=$(grep -c '^ok .*# SKIP' "$out/$name.tap")
    n_bad=$(grep -c '^not ok ' "$out/$name.tap")
    plan=$(sed -n 's/^1\.\.\([0-9]*\)$/\1/p' "$out/$name.tap")
    # A crash, or a plan that was not kept, is a failure of its own.
    if [ "$((n_ok + n_bad))" != "${plan:-none}" ] || { [ "$status" != 0 ] && [ "$n_bad" = 0 ]; }; then
        n_bad=$((n_bad + 1))
        echo "not ok - $name ended with status $status after $((n_ok + n_bad - 1)) of ${plan:-?} tests"
    fi
    if [ "$n_bad" -gt 0 ]; then
        echo "== $name"
        grep -E '^(not ok|#)' "$out/$name.tap"
        tail -n 40 "$out/$name.err"
    fi
    grep '^ok .*# SKIP' "$out/$name.tap" | sed "s|^ok [0-9]* - |skipped: $name: |"
    passed=$((passed + n_ok - n_skip)) skipped=$((skipped + n_skip)) failed=$((failed + n_bad))
done
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ]
