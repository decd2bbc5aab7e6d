#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# train-gpu.sh - dnas-train on a real GPU: `make check-gpu` runs it, after
# tests/model/test_train_cuda.c.  What is the host's alone is tested in
# tests/cli/train-cuda.sh.
# shellcheck source=tests/lib-train.sh
. tests/lib-train.sh

use_gpu() { # use_gpu || return: the library that was built, and its GPU
    local why=
    export DNAS_CUDA_LIBRARY=$BUILD/lib/libdnas-cuda.so
    dnas-train --version >"$TMP/version"
    grep -qE 'cuda: .*, [1-9][0-9]* devices?$' "$TMP/version" || why=$(sed -n 's/.*cuda: //p' "$TMP/version")
    [ -n "$why" ] || return 0
    if [[ ,${DNAS_REQUIRE:-}, == *,cuda,* ]]; then fail "$why"; else skip "$why"; fi
    return 1
}
train() { # train ARGUMENTS...: a network of four layers, heads of 64, up to 500 tokens a sequence
    ${in_place:-} dnas-train -q --arch bert -T tok.json --layers 4 --width 256 --heads 4 -b 24 --rate 1e-3 \
        --head-rate 1 --warmup 10 --max-tokens 500 --no-pg "$@"
}
losses_near() { # losses_near LOG LOG FIRST MEAN: of the first step, and of the mean of all, relative
    paste "$1" "$2" | awk -F '\t' -v first="$3" -v mean="$4" '
        function abs(x) { return x < 0 ? -x : x }
        $1 > 0 { n++; a += $2; b += $8
            if (n == 1 && !(abs($2 - $8) <= first * $2)) { print "step 1: " $2, $8; exit bad = 1 } }
        END { if (!bad && !(n > 0 && abs(a - b) <= mean * a)) { print "mean: " a / n, b / n; bad = 1 }
            exit bad }' >where || fail "$1 and $2: $(cat where)"
}

test_gradients() {
    use_gpu || return
    "$BUILD/tests/model/test_train_cuda" gpu >out 2>&1 || fail "$(grep -v '^ok' out)"
}

# The same steps to the same bits; in f32 the CPU's first loss to five digits, and its curve.
test_beside_the_cpu() {
    use_gpu || return
    make_pairs 320 20 1500 256
    list=wsimclr:2,mimix:2,mlm:1
    expect_ok train -d cpu --curriculum $list --log cpu.tsv -o cpu.safetensors t.dnas
    for type in f32 bf16; do
        expect_ok train -d cuda --precision $type --curriculum $list --log $type.tsv -o $type.safetensors t.dnas
        expect_ok train -d cuda --precision $type --curriculum $list -o again.safetensors t.dnas
        expect_same $type.safetensors again.safetensors
    done
    losses_near cpu.tsv f32.tsv 1e-5 0.02
    losses_near cpu.tsv bf16.tsv 0.02 0.05
}

# 200 steps; CPUs take a minute for the four runs that they make.
test_curves() {
    use_gpu || return
    make_pairs 820 20 300 128
    check_curves '--layers 2 --width 128 --heads 2' 200 2 -b 8 --max-tokens 500 --rate 3e-4 --head-rate 1 --warmup 10
}

# DNABERT-2's shape, sequences of 2,000 tokens: two runs of three steps have the same bytes.
test_a_large_network() {
    use_gpu || return
    make_pairs 40 4 14000 256
    for i in 1 2; do
        expect_ok train -d cuda --layers 12 --width 768 --heads 12 --inner 3072 -b 12 --max-tokens 2000 \
            --max-steps 3 --curriculum wsimclr,mimix --log $i.tsv -o $i.safetensors t.dnas
    done
    expect_same 1.safetensors 2.safetensors
    awk -F '\t' 'NR > 2 && !($2 > 0 && $4 > 0) { exit 1 } END { exit NR != 5 }' 1.tsv || fail "$(cat 1.tsv)"
}

test_taken_up_again() {
    use_gpu || return
    make_pairs 320 20 300 128
    train -d cuda --curriculum wsimclr:4,mimix:4 --log log.tsv -o whole.safetensors t.dnas || fail "whole"
    for signal in USR1 KILL; do
        rm -f m.*
        in_place='exec' train -d cuda --curriculum wsimclr:4,mimix:4 --log m.tsv --checkpoint-steps 1 \
            -o m.safetensors t.dnas 2>err &
        pid=$!
        for _ in $(seq 600); do
            [ -s m.tsv ] && [ "$(wc -l <m.tsv)" -gt 10 ] && break
            sleep 0.02
        done
        kill -s "$signal" "$pid"
        wait "$pid"
        expect_ok train -d cuda --resume --curriculum wsimclr:4,mimix:4 --log m.tsv --checkpoint-steps 1 \
            -o m.safetensors t.dnas
        expect_same m.safetensors whole.safetensors
        expect_same m.best.safetensors whole.best.safetensors
    done
}

run_tests
