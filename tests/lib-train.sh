# SPDX-License-Identifier: MIT
#
# lib-train.sh - what tests of training a network share.
# shellcheck shell=bash
# shellcheck source=tests/lib.sh
. tests/lib.sh

make_pairs() { # make_pairs PAIRS [VALIDATION [LETTERS [TOKENS]]]: t.dnas of so many
    # pairs of four species of different composition, the last 20 for validation; some 60 letters each;
    # and a tokenizer of 60
    local n=$1 validation=${2:-20} letters=${3:-60} tokens=${4:-60}
    awk -v pairs="$n" -v train="$((n - validation))" -v letters="$letters" 'BEGIN {
        x = 7
        split("AACGT ACCGGG ACGTTT GGTTA", mix, " ")
        print "id\tseq_a\tseq_b\tsplit\tlabel"
        for (i = 1; i <= pairs; i++) {
            m = mix[i % 4 + 1]
            printf "p%d", i
            for (k = 0; k < 2; k++) {
                s = ""
                n = letters + i % 7 * 9
                for (l = 0; l < n; l++) {
                    x = (x * 16807) % 2147483647
                    s = s substr(m, int(x / 16) % length(m) + 1, 1)
                }
                printf "\t%s", s
            }
            print "\t" (i > train) "\tspecies" i % 4
        }
    }' >pairs.tsv
    dnas-view --from-tsv pairs.tsv -o pairs.dnas &&
        awk -F '\t' 'NR > 1 { print ">" NR " label=" $5 "\n" $2 $3 }' pairs.tsv >pairs.fa &&
        dnas-tokenize -q --train "$tokens" pairs.fa -o tok.json &&
        dnas-tokenize -q -T tok.json pairs.dnas -o t.dnas || fail "no pairs"
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
