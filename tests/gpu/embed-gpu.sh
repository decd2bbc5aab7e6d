#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# embed-gpu.sh - dnas-embed on a real GPU: `make check-gpu` runs it.  What is the
# host's alone is tested in tests/cli/embed-cuda.sh.
# shellcheck source=tests/lib-gpu.sh
. tests/lib-gpu.sh

use_gpu() { # use_gpu || return: the library that was built, and its GPU
    local why=
    export DNAS_CUDA_LIBRARY=$BUILD/lib/libdnas-cuda.so
    "$BUILD/bin/dnas-embed" --version >version
    grep -qE 'cuda: .*, [1-9][0-9]* devices?$' version || why=$(sed -n 's/.*cuda: //p' version)
    [ -n "$why" ] || return 0
    if [[ ,${DNAS_REQUIRE:-}, == *,cuda,* ]]; then fail "$why"; else skip "$why"; fi
    return 1
}
random_letters() { # random_letters ID LETTERS SEED
    awk -v id="$1" -v n="$2" -v x="$3" 'BEGIN { print ">" id
        for (; n > 0; n -= 70) { line = ""
            for (k = 0; k < 70 && k < n; k++) { x = (x * 16807) % 2147483647; line = line substr("ACGT", int(x / 16) % 4 + 1, 1) }
            print line } }'
}
large_network() { # large/: DNABERT-2's size, random weights, with a tokenizer of 4096
    mkdir -p large
    [ -x "$BUILD/tests/bench/bench_gpu" ] || { fail "bench_gpu is not built"; return; }
    "$BUILD/tests/bench/bench_gpu" --model large || fail "no model"
    dnas-tokenize -q --train 4096 "$ROOT/examples/genomes.fa.gz" -o large/tokenizer.json
}

test_beside_the_cpu() {
    use_gpu || return
    tiny_network 40 60
    random_letters long 55000 4 >>s.fa # some 20,000 tokens
    dnas-embed -q -d cpu -m model --window 0 s.fa -o cpu.dnas
    expect_ok dnas-embed -q -d cuda --precision f32 -m model --window 0 s.fa -o f32.dnas
    expect_ok dnas-embed -q -d cuda -m model --window 0 s.fa -o bf16.dnas
    expect_near cpu.dnas f32.dnas 1e-5
    expect_alike cpu.dnas bf16.dnas 0.9995
    header_says bf16.dnas device cuda
    header_says bf16.dnas precision bf16
}

# Heads of 64 and 768 channels, sequences up to 20,000 tokens in one window.
test_large_network_beside_the_cpu() {
    use_gpu || return
    large_network
    { random_letters short 60 1 && random_letters mid 5000 2 && random_letters long 20000 3; } >s.fa
    dnas-embed -q -d cpu -m large --window 0 s.fa -o cpu.dnas
    expect_ok dnas-embed -q -d cuda --precision f32 -m large --window 0 s.fa -o f32.dnas
    expect_ok dnas-embed -q -d cuda -m large --window 0 s.fa -o bf16.dnas
    expect_near cpu.dnas f32.dnas 1e-4 # 12 layers of sums of 3072 terms in another order
    expect_alike cpu.dnas bf16.dnas 0.9995
}

# Long and short, alone and among others, in batches of any size, by any number of threads.
test_same_bytes() {
    local i n type
    use_gpu || return
    large_network
    { random_letters a 100000 1 && random_letters b 300 2 && random_letters c 9000 3 &&
        for i in $(seq 60); do random_letters "d$i" $((i * 97)) $((i + 9)); done; } >s.fa
    for type in bf16 f32; do
        dnas-embed -q -d cuda --precision $type -m large --window 0 s.fa -o want.dnas
        for n in 1 3000 20000 65536 200000; do
            expect_ok dnas-embed -q -d cuda --precision $type -t $((n % 7 + 1)) --batch-tokens $n -m large --window 0 s.fa -o got.dnas
            expect_same want.dnas got.dnas
        done
        for i in 1 2 63; do
            awk -v i=$i '/^>/ { n++ } n == i' s.fa | dnas-embed -q -d cuda --precision $type -m large --window 0 |
                dnas-view | tail -n 1 >alone
            dnas-view want.dnas | sed -n "$((i + 1))p" >among
            expect_same among alone
        done
    done
}

test_memory() {
    use_gpu || return
    large_network
    random_letters whole 60000000 1 >s.fa
    expect_sentence 1 "'whole': its [0-9]+ tokens need [0-9]+ bytes of the GPU's memory, of which [0-9]+ are free: try shorter windows" \
        dnas-embed -q -d cuda --precision f32 -m large --window 0 s.fa -o out.dnas
    head -n 20000 s.fa >part.fa
    expect_ok dnas-embed -v -d cuda --batch-tokens 1000000000 -m large part.fa -o out.dnas
    dnas-embed -q -d cuda -m large part.fa -o want.dnas
    dnas-view out.dnas >got && dnas-view want.dnas >want
    expect_same want got
}

# Each kernel of a pass looked over; a small network, since it takes its time.
test_sanitizer() {
    local tool sanitizer
    use_gpu || return
    sanitizer=$(PATH=$PATH:/usr/local/cuda/bin command -v compute-sanitizer) || { skip "there is no compute-sanitizer"; return; }
    "$sanitizer" --tool memcheck true >/dev/null 2>&1 || { skip "compute-sanitizer does not run here"; return; }
    tiny_network 6 4
    for tool in memcheck racecheck initcheck; do
        expect_ok timeout 200 "$sanitizer" --tool $tool --error-exitcode 9 "$BUILD/bin/dnas-embed" -q -d cuda -m model s.fa -o out.dnas
        expect_ok timeout 200 "$sanitizer" --tool $tool --error-exitcode 9 "$BUILD/bin/dnas-embed" -q -d cuda --precision f32 -m model s.fa -o out.dnas
    done
}

run_tests
