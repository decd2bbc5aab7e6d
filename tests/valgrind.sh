#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# valgrind.sh - `make valgrind`: the unit tests under valgrind's memcheck, at its speed; those that
# train, or compute for minutes on a processor, are left to SANITIZE=address,undefined.
#
#   valgrind.sh [NAME...]    these alone: stream, io, ...
set -u -o pipefail
cd "$(dirname "$0")/.." || exit 99
: "${BUILD:=$PWD/build}" "${JOBS:=2}" "${VALGRIND_SECONDS:=600}"
export BUILD VALGRIND_SECONDS
command -v valgrind >/dev/null || { echo "valgrind: skipped, there is none"; exit 0; }
[ $# -gt 0 ] || set -- opt idmap text rng stream stream_lies seq npy genomes windows mutate \
    pairs tokenize bpe kmer_model weights threads svg ari matching
out=$(mktemp -d "${TMPDIR:-/tmp}/dnas-valgrind.XXXXXX") || exit 99
trap 'rm -rf "$out"' EXIT
export out

run_one() { # run_one NAME
    local program=$BUILD/tests/unit/test_$1 status
    [ -x "$program" ] || { echo "valgrind: there is no test_$1" >&2; return 1; }
    mkdir -p "$out/$1.tmp"
    # oneDNN and the kernels choose by the processor; valgrind knows no AVX-512.
    TMP=$out/$1.tmp timeout "$VALGRIND_SECONDS" valgrind -q --error-exitcode=9 --leak-check=full \
        --errors-for-leak-kinds=definite --child-silent-after-fork=yes "$program" >"$out/$1.tap" 2>"$out/$1.err" </dev/null
    status=$?
    rm -rf "$out/$1.tmp"
    case $status in
    0) echo "valgrind: $1: fine" ;;
    124) echo "valgrind: $1: no error in $VALGRIND_SECONDS seconds, not ended" ;;
    *)
        echo "valgrind: $1: status $status"
        grep '^not ok' "$out/$1.tap"
        head -n 40 "$out/$1.err"
        return 1
        ;;
    esac
}
export -f run_one
printf '%s\0' "$@" | xargs -0 -P "$JOBS" -I{} bash -c 'run_one "$1"' _ {}
