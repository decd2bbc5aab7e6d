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

run_from() { # run_from MODEL LOG ARGUMENTS...: an epoch of Weighted SimCLR and one of MI-Mix from MODEL.safetensors
    expect_ok dnas-train -q --no-pg --init "$1.safetensors" --log "$2.tsv" --curriculum wsimclr,mimix \
        -o after.safetensors "${@:3}" t.dnas
}
distance() { # distance LOG LOG: the root mean square of the differences of their losses
    paste "$1.tsv" "$2.tsv" | awk -F '\t' '
        NR > 1 && $1 > 0 { d = $2 - $8; sum += d * d; n++ }
        END { printf "%.9f\n", sqrt(sum / n) }'
}
# check_curves NETWORK STEPS FACTOR ARGUMENTS...: so many losses of t.dnas, with dropout and mixing, on -d cuda
# beside the CPU's, which run_from gives with these arguments.  In f32 each is the CPU's to 1e-3.  In bf16
# roundings grow from step to step, as any difference does, so the curve has to stay as near to the CPU's as, but for
# the factor, the farthest of three runs of the CPU that begin a rounding to bf16 away: Adam's first step moves
# each parameter by the rate, and 4e-5 is 2^-9 of 0.02, the deviation of new ones.
check_curves() {
    local network=$1 steps=$2 factor=$3 k away
    shift 3
    # shellcheck disable=SC2086
    expect_ok dnas-train -q --no-pg -d cpu --arch bert -T tok.json $network --curriculum wsimclr --max-steps 1 \
        -o from.safetensors "$@" --rate 1e-12 t.dnas
    run_from from cpu -d cpu "$@"
    for k in 2 3 4; do
        expect_ok dnas-train -q --no-pg -d cpu --init from.safetensors -s $k --curriculum wsimclr --max-steps 1 \
            -o away.safetensors "$@" --rate 4e-5 t.dnas
        run_from away away$k -d cpu "$@"
        distance cpu away$k
    done >distances
    away=$(sort -g distances | tail -n 1)
    run_from from f32 -d cuda --precision f32 "$@"
    run_from from bf16 -d cuda --precision bf16 "$@"
    paste cpu.tsv f32.tsv | awk -F '\t' -v steps="$steps" '
        NR > 1 && $1 > 0 { d = $2 - $8; if (!(d <= 1e-3 * $2 && -d <= 1e-3 * $2)) { print; exit bad = 1 }; n++ }
        END { if (!bad && n != steps) print n, "steps"; exit bad || n != steps }' >where ||
        fail "f32 leaves the CPU: $(cat where)"
    distance cpu bf16 | awk -v away="$away" -v factor="$factor" '
        { print $1, "where others are", away; exit !($1 > 0 && $1 <= factor * away) }' \
        >where || fail "bf16 leaves the CPU: $(cat where)"
}
