#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# train-ranks-gpu.sh - dnas-train on two GPUs: `make check-gpu` runs it.  What needs none is
# tested in tests/cli/train-nccl.sh.
# shellcheck source=tests/lib-train.sh
. tests/lib-train.sh
# shellcheck source=tests/lib-ranks.sh
. tests/lib-ranks.sh

use_gpus() { # use_gpus || return: the library that was built, and two GPUs
    export DNAS_CUDA_LIBRARY=${GPU_LIBRARY:-$BUILD/lib/libdnas-cuda.so}
    dnas-train --version >"$TMP/version"
    grep -qE 'cuda: .*, ([2-9]|[1-9][0-9]+) devices$' "$TMP/version" && return
    skip "fewer than two GPUs: $(sed -n 's/.*cuda: //p' "$TMP/version")"
    return 1
}

# From GPU to GPU and through the host: the same bytes, time after time.
test_both_ways() {
    local way
    use_gpus || return
    make_pairs 28 4 60 64
    for way in nccl host nccl auto; do
        expect_ranks 2 -d cuda --layers 2 --heads 1 -b 12 --exchange $way \
            --curriculum wsimclr,mimix,mlm -o m.safetensors t.dnas
        [ -e first.safetensors ] || cp m.safetensors first.safetensors
        expect_same m.safetensors first.safetensors
    done
}

# A process that is killed ends the other, though its GPU waits for it.
test_a_killed_one() {
    use_gpus || return
    make_pairs 28 4 60 64
    start_ranks 2 -d cuda --layers 2 --heads 1 -b 12 --exchange nccl --curriculum wsimclr:100000 --log m.tsv \
        -o m.safetensors t.dnas
    await_steps m.tsv 3
    kill -KILL "${rank_pid[1]}"
    expect_over 60
    end_ranks
    [ "${rank_status[*]}" = "1 137" ] || fail "ended with ${rank_status[*]}: $(cat err.0)"
    [ "$(wc -l <err.0)" -ge 1 ] || fail "without a word"
}

run_tests
