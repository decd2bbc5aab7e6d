#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# threads.sh - the same bytes for any number of threads, on this processor and
# as if it were a lesser one.
# shellcheck source=tests/suite/inputs.sh
. tests/suite/inputs.sh

same() {
    local t no_pg=()
    has_option "$tool" --no-pg && no_pg=(--no-pg)
    for t in 1 2 8 16; do
        timeout 120 "$tool" -q -t $t "${no_pg[@]}" "${args[@]}" "$input" >out.$t 2>err ||
            fail "$tool ${args[*]} -t $t fails: $(head -c 300 err)"
        cmp -s out.1 out.$t || fail "-t 1 and -t $t differ: $tool ${args[*]} $input"
    done
    [ -s out.1 ] || fail "no output: $tool ${args[*]} $input"
}

# Large enough for many batches, blocks and tiles.
big=$TMP/.big
use_big() {
    [ -d "$big" ] || (make_inputs "$big" 450) || exit 99
    cp -r "$big"/* .
    ways=${ways//--perplexity 5/--perplexity 30}
}

threads() {
    mkdir w && cd w && use_big
    each_way same "$1"
}
each_tool threads

threads_avx2() {
    mkdir w && cd w && use_big
    export DNNL_MAX_CPU_ISA=AVX2
    each_way same "$1"
    unset DNNL_MAX_CPU_ISA
}
each_tool threads_avx2

# 0 is as many as we may, and more threads than work do no harm.
test_counts() {
    use_inputs
    dnas-embed -m tnf --no-pg small.fa >want
    for t in 0 3 64; do
        expect_ok dnas-embed -m tnf --no-pg -t $t small.fa
        expect_same want "$TMP/out"
    done
    OMP_NUM_THREADS=1 expect_ok dnas-embed -m tnf --no-pg small.fa
    expect_same want "$TMP/out"
}

run_tests
