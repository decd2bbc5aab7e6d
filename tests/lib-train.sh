# SPDX-License-Identifier: MIT
#
# lib-train.sh - what tests of training a network share.
# shellcheck shell=bash
# shellcheck source=tests/lib.sh
. tests/lib.sh

make_pairs() { # make_pairs PAIRS [VALIDATION [LETTERS [TOKENS]]]: t.dnas of so many
    # pairs of four species of different composition, the last 20 for validation; some 60 letters each;
    # and a tokenizer of 60
    random_pairs "$1" 4 "${2:-20}" "${3:-60}"
    dnas-view --from-tsv pairs.tsv -o pairs.dnas &&
        dnas-tokenize -q --train "${4:-60}" pairs.fa -o tok.json &&
        dnas-tokenize -q -T tok.json pairs.dnas -o t.dnas || fail "no pairs"
}
expect_near() { # expect_near LOG LOG TOLERANCE: losses, norms and rates, step by step, relative
    paste "$1" "$2" | awk -F '\t' -v t="$3" '
        NR == 1 { next }
        { for (i = 1; i <= 5; i++) {
              a = $i; b = $(i + 6); d = a - b; s = t * (a < 0 ? -a : a)
              if ((a == "") != (b == "") || !(d <= s && -d <= s)) { print NR, i, a, b; exit 1 } }
          n++ }
        END { exit !n }' >where || fail "$1 and $2 differ at $(cat where): $(paste "$1" "$2")"
}
has_mpi() {
    if ! command -v mpirun >/dev/null || [[ $(ldd "$BUILD/bin/dnas-train") != *libmpi* ]]; then
        skip "no MPI"
        return 1
    fi
    # Open MPI frees not all that it takes, and locks in any order.
    export ASAN_OPTIONS=${ASAN_OPTIONS:+$ASAN_OPTIONS:}detect_leaks=0
    export TSAN_OPTIONS=${TSAN_OPTIONS:+$TSAN_OPTIONS:}detect_deadlocks=0
}
