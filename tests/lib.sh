# SPDX-License-Identifier: MIT
#
# lib.sh - what the shell tests share.  A test is a function test_...; `run_tests`
# at the end of a file runs them all and prints TAP.  The tool under test never
# stands in a pipe whose status is lost: its output goes to a file, which is
# then looked at.
# shellcheck shell=bash

set -u -o pipefail
: "${BUILD:=$PWD/build}" "${TMP:=$(mktemp -d)}"
PATH=$BUILD/bin:$PATH
export LC_ALL=C
# Tests run on the CPU, also where there is a GPU; those of GPUs say which library they mean.
export DNAS_CUDA_LIBRARY=none
ROOT=$PWD
DATA=$ROOT/tests/data
export ROOT DATA

complaints=
skip_reason=

fail() { # fail TEXT...: notes a failure of the present test, and goes on
    complaints+="# $*"$'\n'
}
skip() { # skip REASON; return
    skip_reason=$*
}
expect_status() { # expect_status WANT COMMAND...: its output in $TMP/out and $TMP/err
    local want=$1 got
    shift
    "$@" >"$TMP/out" 2>"$TMP/err"
    got=$?
    [ "$got" = "$want" ] || fail "status $got, not $want: $*: $(head -c 400 "$TMP/err")"
}
expect_ok() { # expect_ok COMMAND...
    expect_status 0 "$@"
}
expect_sentence() { # expect_sentence STATUS PATTERN COMMAND...: one line on stderr that fits
    local want=$1 pattern=$2
    shift 2
    expect_status "$want" "$@"
    [ "$(wc -l <"$TMP/err")" = 1 ] || fail "not one line on stderr: $*: $(head -c 600 "$TMP/err")"
    grep -qE -- "$pattern" "$TMP/err" || fail "'$pattern' not in: $(head -c 400 "$TMP/err") ($*)"
}
expect_same() { # expect_same FILE FILE: equal bytes
    cmp -s "$1" "$2" || fail "$1 and $2 differ: $(cmp "$1" "$2" 2>&1)"
}
expect_text() { # expect_text FILE TEXT: exactly that text
    [ "$(cat "$1"; echo x)" = "$2"$'\n'x ] || fail "$1 is: $(head -c 600 "$1"), not: $2"
}

random_fasta() { # random_fasta RECORDS SEED: three "species" of different composition
    awk -v n="$1" -v x="$2" 'BEGIN {
        split("AACGT ACCGG AATTC", mix, " ")
        for (i = 0; i < n; i++) {
            m = mix[i % 3 + 1]
            printf ">seq%d label=species%d\n", i + 1, i % 3 + 1
            for (left = 300 + (i * 7919) % 3000; left > 0; left -= 70) {
                line = ""
                for (k = 0; k < left && k < 70; k++) {
                    x = (x * 16807) % 2147483647
                    line = line substr(m, int(x / 16) % 5 + 1, 1)
                }
                print line
            }
        }
    }'
}

# random_pairs PAIRS SPECIES VALIDATION [LETTERS]: pairs.tsv, pairs of species of different composition,
# of 60 LETTERS and more, the last VALIDATION held out; pairs.fa, the two of each as one sequence.
random_pairs() {
    awk -v n_pairs="$1" -v n_species="$2" -v held_out="$3" -v letters="${4:-60}" 'BEGIN {
        x = 7
        split("AACGT ACCGGG ACGTTT GGTTA", mix, " ")
        print "id\tseq_a\tseq_b\tsplit\tlabel"
        for (i = 1; i <= n_pairs; i++) {
            m = mix[i % n_species + 1]
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
            print "\t" (i > n_pairs - held_out) "\tspecies" i % n_species
        }
    }' >pairs.tsv
    awk -F '\t' 'NR > 1 { print ">" NR " label=" $5 "\n" $2 $3 }' pairs.tsv >pairs.fa
}

bgzf() { # bgzf FILE: as one BGZF block (FILE must be small)
    local n
    n=$(($(gzip -nc "$1" | wc -c) + 7)) # the size of the block less one
    printf '\037\213\010\004\0\0\0\0\0\377\006\0BC\002\0'
    # shellcheck disable=SC2059
    printf "\\x$(printf %02x $((n & 255)))\\x$(printf %02x $((n >> 8)))"
    gzip -nc "$1" | tail -c +11
}
bgzf_end() { # BGZF's end-of-file block
    printf '\037\213\010\004\0\0\0\0\0\377\006\0BC\002\0\033\0\003\0\0\0\0\0\0\0\0\0'
}
is_stream() { # is_stream FILE: whether it begins as a stream does, or a zstd frame
    local magic
    magic=$(head -c 4 "$1" | od -An -tx1)
    [ "$magic" = " 89 44 4e 41" ] || [ "$magic" = " 28 b5 2f fd" ]
}

# Tests set what variables they like: those here have names of their own.
run_tests() {
    local test_now test_n=0 test_bad=0
    for test_now in $(declare -F | sed -n 's/^declare -f \(test_.*\)/\1/p'); do
        complaints='' skip_reason=''
        rm -rf "${TMP:?}"/*
        cd "$TMP" || exit 99
        "$test_now"
        cd "$ROOT" || exit 99
        test_n=$((test_n + 1))
        if [ -n "$complaints" ]; then
            test_bad=$((test_bad + 1))
            printf 'not ok %d - %s\n%s' "$test_n" "${test_now#test_}" "$complaints"
        else
            printf 'ok %d - %s%s\n' "$test_n" "${test_now#test_}" "${skip_reason:+ # SKIP $skip_reason}"
        fi
    done
    echo "1..$test_n"
    [ "$test_bad" -eq 0 ]
}
