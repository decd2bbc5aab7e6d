#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# train-cuda.sh - dnas-train on a GPU: whole runs by the library that emulates one.
# Gradients are tested in tests/model/test_train_cuda.c, a real GPU in tests/gpu.
# shellcheck source=tests/lib-train.sh
. tests/lib-train.sh

emulated=$BUILD/libdnas-cuda-emulated.so
use_emulated() { # use_emulated [PAIRS] || return: the library, and so many pairs and four more
    [ -e "$emulated" ] || {
        skip "there is no emulated library"
        return 1
    }
    export DNAS_CUDA_LIBRARY=$emulated
    unset DNAS_EMULATED_MEMORY DNAS_EMULATED_FAULT
    make_pairs $((${1:-8} + 4)) 4 30 64
}
train() { # train ARGUMENTS...: a network of one layer, two steps an epoch; with exec before it, in this process
    ${in_place:-} dnas-train -q --arch bert -T tok.json --layers 1 --width 16 --heads 1 -b 4 --rate 1e-3 \
        --head-rate 10 --max-tokens 32 --no-pg "$@"
}

# In f32 all is the CPU's but the order of sums.
test_beside_the_cpu() {
    use_emulated || return
    expect_ok train -d cpu --curriculum wsimclr,mimix,mlm --log cpu.tsv -o cpu.safetensors t.dnas
    expect_ok train -d cuda --precision f32 --curriculum wsimclr,mimix,mlm --log f32.tsv -o f32.safetensors t.dnas
    expect_near cpu.tsv f32.tsv 1e-3
    expect_ok dnas-embed -q -d cpu -m f32.best.safetensors pairs.fa -o e.dnas
    [ ! -e f32.safetensors.checkpoint ] || fail "the checkpoint is left"
}

test_curves() {
    use_emulated 100 || return
    check_curves '--layers 1 --width 16 --heads 1' 50 1 -b 4 --max-tokens 32 --rate 1e-3 --head-rate 1
    expect_ok dnas-embed -q -d cpu -m after.safetensors pairs.fa -o e.dnas # the last, in bf16
}

# The widest heads, in bf16; a later --width stands.
test_heads_of_128() {
    use_emulated 4 || return
    expect_ok train -d cuda --width 128 --inner 64 --curriculum wsimclr --log bf16.tsv -o m.safetensors t.dnas
    expect_ok train -d cpu --width 128 --inner 64 --curriculum wsimclr --log cpu.tsv -o m.safetensors t.dnas
    head -n 3 cpu.tsv | cut -f 1-3 | sed 's/$/\t0\t0\t0/' >want
    head -n 3 bf16.tsv | cut -f 1-3 | sed 's/$/\t0\t0\t0/' >got
    expect_near want got 0.02
}

test_recorded() {
    use_emulated 4 || return
    dnas-train -q -d cuda --arch bert -T tok.json --layers 1 --width 16 --heads 1 -b 4 --curriculum wsimclr \
        -o m.safetensors t.dnas || fail "no run"
    grep -aq 'DV\\\\*\":\\\\*\"cuda' m.safetensors || fail "the device is not recorded"
    DNAS_CUDA_LIBRARY=none expect_ok dnas-train -q --arch bert -T tok.json --layers 1 --width 16 --heads 1 -b 4 \
        --curriculum wsimclr -o n.safetensors t.dnas
    grep -aq 'DV\\\\*\":\\\\*\"cpu' n.safetensors || fail "the CPU is not recorded"
}

broken_off() { # broken_off SIGNAL DEVICE: a run of six steps that has saved after two or more
    local signal=$1 device=$2 pid
    rm -f m.*
    in_place='exec' train -d "$device" --precision "$precision" --curriculum wsimclr:2,mimix --log m.tsv \
        --checkpoint-steps 1 -o m.safetensors t.dnas 2>err &
    pid=$!
    for _ in $(seq 400); do
        [ -s m.tsv ] && [ "$(wc -l <m.tsv)" -gt 3 ] && break
        sleep 0.02
    done
    kill -s "$signal" "$pid" 2>/dev/null
    wait "$pid" 2>/dev/null
    [ -s m.safetensors.checkpoint ] || fail "$signal: no checkpoint: $(cat err)"
}

# On the same device with the same bytes, on the other with the same losses.
test_taken_up_again() {
    local precision signal
    use_emulated || return
    for precision in bf16 f32; do
        train -d cuda --precision $precision --curriculum wsimclr:2,mimix --log log.tsv -o whole.safetensors t.dnas ||
            fail "whole"
        signal=$([ $precision = bf16 ] && echo USR1 || echo KILL)
        broken_off "$signal" cuda
        expect_ok train -d cuda --precision $precision --resume --curriculum wsimclr:2,mimix --log m.tsv \
            --checkpoint-steps 1 -o m.safetensors t.dnas
        expect_same m.safetensors whole.safetensors
        expect_same m.best.safetensors whole.best.safetensors
        cut -f 1-5 log.tsv >want
        cut -f 1-5 m.tsv | cmp - want || fail "another log"
    done
    broken_off KILL cuda
    expect_ok train -d cpu --resume --curriculum wsimclr:2,mimix --log m.tsv --checkpoint-steps 1 \
        -o m.safetensors t.dnas
    expect_near log.tsv m.tsv 1e-3
    broken_off KILL cpu
    expect_sentence 1 "as 'bf16'" train -d cuda --resume --curriculum wsimclr:2,mimix --checkpoint-steps 1 \
        -o m.safetensors t.dnas
    expect_ok train -d cuda --precision f32 --resume --curriculum wsimclr:2,mimix --log m.tsv --checkpoint-steps 1 \
        -o m.safetensors t.dnas
    expect_near log.tsv m.tsv 1e-3
}

test_refused() {
    use_emulated 4 || return
    expect_sentence 2 "not 'gpu'" train -d gpu -o m.safetensors t.dnas
    expect_sentence 1 'there is no GPU number 9: this machine has 1' train -d cuda:9 -o m.safetensors t.dnas
    expect_sentence 2 '--device cuda is for networks' dnas-train --arch kmer -d cuda -o m.safetensors pairs.fa
    expect_sentence 1 '--arch esm is trained on the CPU' dnas-train -q --arch esm -d cuda -T tok.json --width 16 \
        --heads 2 -b 4 -o m.safetensors t.dnas
    expect_sentence 1 'heads of 16, 32, 64 or 128 channels, not of 8: give --precision f32' train -d cuda --heads 2 -o m.safetensors t.dnas
    expect_sentence 1 'not multiples of 8' train -d cuda --width 20 --precision f32 -o m.safetensors t.dnas
    dnas-tokenize -q --train 60 pairs.fa -o tok.json && dnas-tokenize -q -T tok.json pairs.dnas -o t.dnas
    expect_sentence 1 'a vocabulary of a multiple of 8, not 60' train -d cuda --curriculum mlm -o m.safetensors t.dnas
    DNAS_CUDA_LIBRARY=none expect_sentence 1 'not in this build' train -d cuda -o m.safetensors t.dnas
    DNAS_CUDA_LIBRARY=$PWD/pairs.fa expect_sentence 1 'pairs.fa' train -d cuda -o m.safetensors t.dnas
    # What the library has for gradients of weights is taken before the first step.
    DNAS_EMULATED_MEMORY=57500000 expect_sentence 1 'no [0-9]+ bytes left for a sequence of 32 tokens' train -d cuda \
        --width 256 --heads 4 -o m.safetensors t.dnas
    DNAS_EMULATED_MEMORY=33800000 expect_sentence 1 'no [0-9]+ bytes left' train -d cuda -o m.safetensors t.dnas
    [ ! -e m.safetensors ] || fail "a model is there"
}

# auto takes the GPU where there is one that can, and says where there is none that it expected.
test_auto() {
    use_emulated 4 || return
    train --curriculum wsimclr -o auto.safetensors t.dnas || fail "auto"
    train -d cuda:0 --curriculum wsimclr -o cuda.safetensors t.dnas || fail "cuda:0"
    expect_same auto.safetensors cuda.safetensors
    DNAS_CUDA_LIBRARY=none expect_ok train --curriculum wsimclr -o auto.safetensors t.dnas
    [ ! -s "$TMP/err" ] || fail "says $(cat "$TMP/err")"
    expect_ok train -d cpu --curriculum wsimclr -o cpu.safetensors t.dnas
    expect_same auto.safetensors cpu.safetensors
    DNAS_CUDA_LIBRARY=$PWD/pairs.fa dnas-train --arch bert -T tok.json --layers 1 --width 16 --heads 1 -b 4 --rate 1e-3 \
        --head-rate 10 --max-tokens 32 --no-pg --curriculum wsimclr -o auto.safetensors t.dnas 2>err || fail "auto fails"
    grep -q 'training on the CPU: CUDA: .*pairs.fa' err || fail "says $(cat err)"
    expect_same auto.safetensors cpu.safetensors
}

# A GPU that fails ends the run with a sentence, and costs no checkpoint.
test_a_fault() {
    use_emulated || return
    DNAS_EMULATED_FAULT=300 expect_sentence 1 'GPU number 0 .* failed: ' train -d cuda --curriculum wsimclr:4 \
        --checkpoint-steps 1 --log log.tsv -o m.safetensors t.dnas
    [ ! -e m.safetensors ] || fail "a model is there"
    [ -s m.safetensors.checkpoint ] || fail "the checkpoint is gone"
    expect_ok train -d cuda --curriculum wsimclr:4 --checkpoint-steps 1 --resume -o m.safetensors t.dnas
}

ranks() { # ranks ARGUMENTS...: train on two processes
    mpirun -n 2 --oversubscribe --allow-run-as-root --bind-to none -x DNAS_CUDA_LIBRARY dnas-train -q --arch bert \
        -T tok.json --layers 1 --width 16 --heads 1 -b 4 --rate 1e-3 --head-rate 10 --max-tokens 32 --no-pg "$@"
}
test_several_processes() {
    has_mpi || return
    use_emulated || return
    expect_ok train -d cuda --precision f32 --curriculum wsimclr,mimix,mlm --mix-group 2 --log one.tsv \
        -o one.safetensors t.dnas
    expect_ok ranks -d cuda:0 --precision f32 --curriculum wsimclr,mimix,mlm --mix-group 2 --log two.tsv \
        -o two.safetensors t.dnas
    expect_near one.tsv two.tsv 5e-3
    expect_ok ranks -d cuda:0 --precision f32 --curriculum wsimclr,mimix,mlm --mix-group 2 -o again.safetensors t.dnas
    expect_same two.safetensors again.safetensors
    # A GPU each: the second one is not there.
    ranks -d cuda -o x.safetensors t.dnas 2>err && fail "one GPU for two"
    grep -q 'there is no GPU number 1: this machine has 1' err || fail "says: $(cat err)"
    [ ! -e x.safetensors ] || fail "a model is there"
}

run_tests
