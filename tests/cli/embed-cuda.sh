#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# embed-cuda.sh - dnas-embed on a GPU: the host's side of it, by the library that
# emulates one.  Its kernels are tested in tests/kernels, a real GPU in tests/gpu.
# shellcheck source=tests/lib-gpu.sh
. tests/lib-gpu.sh

emulated=$BUILD/libdnas-cuda-emulated.so
use_emulated() { # use_emulated [RECORDS [LINES]] || return: the library, and a small network
    [ -e "$emulated" ] || {
        skip "there is no emulated library"
        return 1
    }
    export DNAS_CUDA_LIBRARY=$emulated
    unset DNAS_EMULATED_MEMORY DNAS_EMULATED_FAULT
    tiny_network "$@"
}

test_precisions_beside_the_cpu() {
    use_emulated 4 1 || return
    random_fasta 1 7 | head -n 6 | sed 's/seq1/long/' >>s.fa # of several tiles
    dnas-embed -q -d cpu -m model s.fa -o cpu.dnas
    expect_ok dnas-embed -q -d cuda --precision f32 -m model s.fa -o f32.dnas
    expect_ok dnas-embed -q -d cuda -m model s.fa -o bf16.dnas
    expect_near cpu.dnas f32.dnas 1e-5 # sums of 192 terms in another order
    expect_alike cpu.dnas bf16.dnas 0.9995
    header_says f32.dnas precision f32
    header_says f32.dnas device cuda
    header_says bf16.dnas precision bf16
    header_says bf16.dnas DV cuda
    header_says cpu.dnas device cpu
    cmp -s f32.dnas bf16.dnas && fail "bf16 is f32"
    dnas-embed -q -d cuda --precision bf16 -m model s.fa | dnas-view >named
    dnas-view bf16.dnas >usual
    expect_same usual named
    # Device and precision are recorded, and do not keep streams apart.
    cat cpu.dnas bf16.dnas >both.dnas
    expect_ok dnas-view -c both.dnas
    expect_text "$TMP/out" 10
}

# Neither threads nor batches nor neighbours show.
test_same_bytes() {
    local t n type i
    use_emulated 4 2 || return
    for type in bf16 f32; do
        dnas-embed -q -d cuda --precision $type -m model --window 60 s.fa -o want.dnas
        for n in 1 50 200; do
            t=$((n % 3 * 3 + 1))
            expect_ok dnas-embed -q -d cuda --precision $type -t $t --batch-tokens $n -m model --window 60 s.fa -o got.dnas
            expect_same want.dnas got.dnas
        done
        for i in 2 4; do
            awk -v i=$i '/^>/ { n++ } n == i' s.fa >one.fa
            dnas-embed -q -d cuda --precision $type -m model --window 60 one.fa | dnas-view | tail -n 1 >alone
            dnas-view want.dnas | sed -n "$((i + 1))p" >among
            expect_same among alone
        done
    done
    expect_sentence 2 '--batch-tokens takes a number from 1 to 1000000000, not 0' dnas-embed -m model --batch-tokens 0 s.fa
}

# Batches shrink with the memory, and nothing else does.
test_out_of_memory() {
    local m fixed n_fit=0
    use_emulated 4 1 || return
    dnas-embed -q -d cuda -m model s.fa -o want.dnas
    DNAS_EMULATED_MEMORY=1000 expect_sentence 1 '--device cuda: CUDA: GPU number 0 cannot be used: .* no [0-9]+ bytes left' \
        dnas-embed -d cuda -m model s.fa
    fixed=$(sed -n 's/.* no \([0-9]*\) bytes left.*/\1/p' "$TMP/err") # of the library itself
    for m in 8000000 1500000 1200000 1000000 900000 400000; do
        if DNAS_EMULATED_MEMORY=$((fixed + m)) dnas-embed -v -d cuda -m model --batch-tokens 3000 s.fa -o out.dnas 2>err; then
            expect_same want.dnas out.dnas
            n_fit=$((n_fit + 1))
            [ $m = 8000000 ] || grep -q "the GPU's memory is short: batches of 1500 tokens" err ||
                fail "with $m bytes batches are not halved: $(cat err)"
        else
            grep -qE "^dnas-embed: ('seq[0-9]': its [0-9]+ tokens need [0-9]+ bytes of the GPU's memory, of which [0-9]+ are free: try shorter windows \(--window\) or --device cpu|--device cuda: GPU number 0 .* has no [0-9]+ bytes left for the weights: use --device cpu)$" err ||
                fail "with $m bytes: $(cat err)"
        fi
        rm -f out.dnas out.dnas.part
    done
    [ $n_fit -ge 2 ] || fail "only $n_fit sizes of memory are enough"
    # The size that it takes by itself fits.
    DNAS_EMULATED_MEMORY=$((fixed + 8000000)) expect_ok dnas-embed -v -d cuda -m model s.fa -o out.dnas
    grep -q "memory is short" "$TMP/err" && fail "it asks for too much: $(cat "$TMP/err")"
    expect_same want.dnas out.dnas
    DNAS_EMULATED_MEMORY=$((fixed + 400000)) expect_sentence 1 'has no [0-9]+ bytes left for the weights' dnas-embed -d cuda -m model s.fa
    # By itself it falls back.
    DNAS_EMULATED_MEMORY=$((fixed + 400000)) expect_sentence 0 'running on the CPU: .* bytes left for the weights' dnas-embed -m model s.fa -o auto.dnas
    header_says auto.dnas device cpu
}

# 300 rows of tokens, so that there is a whole block; of most the windows have no tokens, which
# takes no time.
many_rows() {
    awk 'BEGIN { print "id\ttokens\tpart\tparts\tlength_bp"
        for (i = 1; i <= 300; i++) {
            ids = ""
            for (k = 0; k < 9 && i % 20 == 0; k++) ids = ids (k ? " " : "") (i * 7 + k * 31) % 256
            print "r" i "\t" ids "\t0\t1\t9"
        } }' >many.tsv
    dnas-view --from-tsv many.tsv -o many.dnas || fail "no stream"
}

# A window that does not fit; what came before it is kept, and the rest made elsewhere.
test_a_window_too_long() {
    use_emulated 1 1 || return
    many_rows
    { cat many.tsv && awk 'BEGIN { printf "long\t1"; for (i = 0; i < 20000; i++) printf " 7"; print "\t0\t1\t9" }'; } >all.tsv
    dnas-view --from-tsv all.tsv -o all.dnas
    DNAS_EMULATED_MEMORY=40000000 expect_sentence 1 \
        "'long': its 20001 tokens need [0-9]+ bytes of the GPU's memory, of which [0-9]+ are free: try shorter windows" \
        dnas-embed -q -d cuda -m model all.dnas -o out.dnas
    expect_ok dnas-view --salvage out.dnas.part -o kept.dnas
    expect_ok dnas-view -c kept.dnas
    expect_text "$TMP/out" 256 # whole blocks
    # One that is longer than a batch fits where there is memory.
    head -n 45 many.tsv | awk -F '\t' -v OFS='\t' 'NR == 30 { t = 1; for (i = 0; i < 150; i++) t = t " " i; $2 = t } { print }' >one.tsv
    dnas-view --from-tsv one.tsv -o one.dnas
    dnas-embed -q -d cuda -m model one.dnas -o want.dnas
    expect_ok dnas-embed -q -d cuda --batch-tokens 20 -m model one.dnas -o out.dnas
    expect_same want.dnas out.dnas
}

test_the_device_fails() {
    local n
    use_emulated 1 1 || return
    many_rows
    dnas-embed -q -d cuda -m model --batch-tokens 20 many.dnas -o want.dnas
    for n in 1 40 150; do
        rm -f out.dnas.part
        DNAS_EMULATED_FAULT=$n expect_status 1 dnas-embed -d cuda -m model --batch-tokens 20 many.dnas -o out.dnas
        grep -qE '^dnas-embed: GPU number 0 \(.*\) failed: .*\.cu:[0-9]+: ' "$TMP/err" || fail "fault $n: $(cat "$TMP/err")"
        [ ! -e out.dnas ] || fail "fault $n: there is an output"
        if [ $n = 150 ]; then
            [ -e out.dnas.part ] || fail "fault $n leaves no finished rows"
            grep -q 'finished rows are kept in out.dnas.part' "$TMP/err" || fail "fault $n: $(cat "$TMP/err")"
        fi
        expect_ok dnas-embed -q -d cuda -m model --batch-tokens 70 --resume many.dnas -o out.dnas
        expect_same want.dnas out.dnas
        rm -f out.dnas
    done
}

test_resume() {
    local at size
    use_emulated 1 1 || return
    many_rows
    dnas-embed -q -d cuda -m model many.dnas -o want.dnas
    size=$(stat -c %s want.dnas)
    for at in 5 $((size - 1)); do
        head -c "$at" want.dnas >out.dnas.part
        expect_ok dnas-embed -q -d cuda -m model --batch-tokens 500 --resume many.dnas -o out.dnas
        expect_same want.dnas out.dnas
        rm -f out.dnas
    done
    # Killed while it writes its second block.
    if [ -e "$BUILD/tests/faults/faults.so" ] && [ -z "${SANITIZE:-}" ]; then
        DNAS_FAULT=write:KILL:3 LD_PRELOAD=$BUILD/tests/faults/faults.so \
            dnas-embed -q -d cuda -m model many.dnas -o out.dnas 2>/dev/null
        [ -e out.dnas.part ] || fail "it was not killed in between: $(ls)"
        expect_ok dnas-embed -q -d cuda -m model --resume many.dnas -o out.dnas
        expect_same want.dnas out.dnas
        rm -f out.dnas
    fi
    # Rows of a GPU and rows of the processor do not mix in one output.
    head -c $((size / 2)) want.dnas >out.dnas.part
    expect_sentence 1 'out.dnas.part: was begun by another command, version or model' \
        dnas-embed -q -d cpu -m model --resume many.dnas -o out.dnas
}

test_tokens_windows_and_shards() {
    local i
    use_emulated 5 2 || return
    dnas-tokenize -q --no-pg -T tokenizer.json --window 80 s.fa -o tokens.dnas
    dnas-embed -q --no-pg -d cuda -m model --window 80 s.fa -o want.dnas
    expect_ok dnas-embed -q --no-pg -d cuda -m model --batch-tokens 64 tokens.dnas -o got.dnas
    expect_same want.dnas got.dnas
    dnas-view want.dnas >want
    : >joined.dnas
    for i in 1 2 3; do
        dnas-embed -q -d cuda -m model --shard $i/3 tokens.dnas -o $i.dnas || fail "shard $i fails"
        cat $i.dnas >>joined.dnas
    done
    expect_ok dnas-view joined.dnas
    expect_same want "$TMP/out"
    # Further columns, and windows without tokens among others and alone.
    dnas-view tokens.dnas | awk -F '\t' -v OFS='\t' 'NR == 1 { print $0, "depth"; next }
        { print $0, NR % 5 }
        NR == 3 || NR == 9 { print "seq" NR / 3 "none", "", 0, 1, 9, "", 3 }' | sort -s -t '	' -k 1,1 >rows.tsv
    { grep '^id' rows.tsv && grep -v '^id' rows.tsv; } >more.tsv
    dnas-view --from-tsv more.tsv -o more.dnas || fail "no stream"
    dnas-embed -q -d cpu -m model more.dnas -o cpu.dnas
    for i in 1 100; do
        expect_ok dnas-embed -q -d cuda --precision f32 -m model --batch-tokens $i more.dnas -o gpu.dnas
        cut -f 1,98- <(dnas-view cpu.dnas) >want
        cut -f 1,98- <(dnas-view gpu.dnas) >got
        expect_same want got
        paste <(vectors cpu.dnas) <(vectors gpu.dnas) | awk '{ for (i = 1; i <= 96; i++) { d = $i - $(i + 96)
            if (!(d < 1e-4 && d > -1e-4)) exit 1 } }' || fail "batches of $i: the numbers differ"
    done
    grep none more.tsv | head -n 1 | cat <(head -n 1 more.tsv) - >none.tsv
    dnas-view --from-tsv none.tsv -o none.dnas
    expect_ok dnas-embed -q -d cuda -m model none.dnas -o none.out
    [ "$(vectors none.out | tr -d ' 0\n')" = '' ] || fail "no tokens do not give 0"
    expect_ok dnas-embed -q -d cuda -m model /dev/null -o empty.dnas
    expect_ok dnas-view -c empty.dnas
    expect_text "$TMP/out" 0
}

test_reduce_and_output_type() {
    use_emulated 3 1 || return
    dnas-embed -q -d cpu -m model --reduce 7 --output-type bf16 s.fa -o cpu.dnas
    expect_ok dnas-embed -q -d cuda -m model --reduce 7 --output-type bf16 s.fa -o gpu.dnas
    expect_alike cpu.dnas gpu.dnas 0.999
    expect_ok dnas-embed -q -d cuda -m model --truncate 60 --max-tokens 9 s.fa -o cut.dnas
    dnas-embed -q -d cpu -m model --truncate 60 --max-tokens 9 s.fa -o cpu.dnas
    expect_alike cpu.dnas cut.dnas 0.9995
}

test_which_device() {
    use_emulated 2 1 || return
    expect_sentence 1 '--device cuda: CUDA: there is no GPU number 9: this machine has 1, from 0' dnas-embed -d cuda:9 -m model s.fa
    expect_sentence 2 "--device takes one of auto, cpu, cuda, not 'cuda:x' \(and cuda:N" dnas-embed -d cuda:x -m model s.fa
    expect_sentence 2 "--device takes one of .* not 'cuda:'" dnas-embed -d cuda: -m model s.fa
    expect_sentence 2 "--device takes one of .* not 'gpu'" dnas-embed -d gpu -m tnf s.fa
    expect_sentence 2 "--device takes one of .* not 'cuda:4294967296'" dnas-embed -d cuda:4294967296 -m model s.fa
    dnas-embed -q --no-pg -d cuda -m model s.fa -o cuda.dnas
    expect_ok dnas-embed -v --no-pg -d cuda:0 -m model s.fa -o got.dnas
    grep -q '^dnas-embed: running on GPU number 0, ' "$TMP/err" || fail "-v says: $(cat "$TMP/err")"
    expect_same cuda.dnas got.dnas
    expect_ok dnas-embed --no-pg -m model s.fa -o got.dnas
    [ ! -s "$TMP/err" ] || fail "auto says: $(cat "$TMP/err")"
    expect_same cuda.dnas got.dnas
    expect_ok dnas-embed -q -d cuda --version
    grep -q 'cuda: .*1 device$' "$TMP/out" || fail "--version: $(cat "$TMP/out")"
    grep -q '^on a GPU: networks of the kind bert;' "$TMP/out" || fail "--version: $(cat "$TMP/out")"
}

# Models that no GPU runs.
test_what_runs_on_the_cpu_alone() {
    local m
    use_emulated 2 1 || return
    for m in tnf kmer; do
        expect_sentence 2 "--device cuda is for networks; $m is counted on the CPU" dnas-embed -d cuda -m $m s.fa
        expect_ok dnas-embed -v -m $m s.fa
        grep -q "running on the CPU: $m is counted there" "$TMP/err" || fail "-v says: $(cat "$TMP/err")"
    done
    for m in hyena_tiny nt_tiny; do
        expect_sentence 1 "--device cuda: networks of the kind '(hyena|esm)' run on the CPU alone" \
            dnas-embed -d cuda -m "$DATA/golden/$m" s.fa
        expect_ok dnas-embed -v -m "$DATA/golden/$m" s.fa -o auto.dnas
        grep -q "running on the CPU: networks of the kind '.*' run on the CPU alone" "$TMP/err" || fail "-v says: $(cat "$TMP/err")"
        expect_ok dnas-embed -m "$DATA/golden/$m" s.fa -o auto.dnas
        [ ! -s "$TMP/err" ] || fail "without -v it says: $(cat "$TMP/err")"
        header_says auto.dnas device cpu
        header_says auto.dnas precision f32
    done
    expect_sentence 1 '--device cuda: .*CPU alone' dnas-embed -d cuda --logits -m "$DATA/golden/nt_tiny" s.fa
    # A shape that the kernels do not take: heads of 12 channels.
    mkdir odd && cp model/* odd
    sed 's/"num_attention_heads": 6/"num_attention_heads": 8/' model/config.json >odd/config.json
    expect_sentence 1 '--device cuda: bf16 takes heads of 16, 32, 64 or 128 channels, not of 12' dnas-embed -d cuda -m odd s.fa
    expect_sentence 0 'running on the CPU: bf16 takes heads' dnas-embed -m odd s.fa -o odd.dnas
    dnas-embed -q -d cpu -m odd s.fa -o cpu.dnas
    expect_ok dnas-embed -d cuda --precision f32 -m odd s.fa -o odd.dnas
    expect_near cpu.dnas odd.dnas 1e-5
}

# Libraries that are not there, not ours, or of another version.
test_libraries() {
    local kind pattern
    use_emulated 2 1 || return
    dnas-embed -q --no-pg -d cpu -m model s.fa -o cpu.dnas
    echo no library >text.so
    while IFS='|' read -r kind pattern; do
        DNAS_CUDA_LIBRARY=$kind expect_sentence 1 "^dnas-embed: --device cuda: CUDA: $pattern" dnas-embed -d cuda -m model s.fa
        DNAS_CUDA_LIBRARY=$kind expect_ok dnas-embed --no-pg -m model s.fa -o got.dnas
        cp "$TMP/err" note
        expect_same cpu.dnas got.dnas
        if [ "$kind" = none ]; then
            [ ! -s note ] || fail "auto without a library says: $(cat note)"
        else
            grep -qE "^dnas-embed: running on the CPU: CUDA: $pattern" note || fail "auto with $kind says: $(cat note)"
        fi
        DNAS_CUDA_LIBRARY=$kind expect_ok dnas-embed -q --no-pg -m model s.fa -o got.dnas
        [ ! -s "$TMP/err" ] || fail "-q says: $(cat "$TMP/err")"
        DNAS_CUDA_LIBRARY=$kind expect_ok dnas-embed --version
        grep -qE "cuda: $pattern" "$TMP/out" || fail "--version says: $(cat "$TMP/out")"
    done <<END
none|not in this build
$TMP/missing.so|$TMP/missing.so: cannot open shared object file
$TMP/text.so|$TMP/text.so: 
END
}
test_other_versions_of_the_library() {
    local kind pattern
    use_emulated 2 1 || return
    # shellcheck disable=SC2086
    ${CC:-cc} -std=c11 -I"$ROOT" -shared -fPIC -o shim.so "$ROOT/tests/faults/cuda_shim.c" -ldl 2>/dev/null ||
        { skip "there is no compiler"; return; }
    export DNAS_CUDA_LIBRARY=$PWD/shim.so DNAS_SHIM_LIBRARY=$emulated
    while IFS='|' read -r kind pattern; do
        DNAS_SHIM=$kind expect_sentence 1 "^dnas-embed: --device cuda: CUDA: .*$pattern" dnas-embed -d cuda -m model s.fa
        DNAS_SHIM=$kind expect_sentence 0 "running on the CPU: CUDA: .*$pattern" dnas-embed -m model s.fa -o got.dnas
        header_says got.dnas device cpu
        DNAS_SHIM=$kind expect_ok dnas-embed --version
        [ "$kind" = open ] || grep -qE "cuda: .*(${pattern##*: }|0 devices)" "$TMP/out" || fail "--version says: $(cat "$TMP/out")"
    done <<END
abi|shim.so: is of another version of dnas \(interface 3 of
size|shim.so: is of another version of dnas \(interface 2 of
count|there is no GPU to use: no driver is loaded
none|there is no GPU number 0: this machine has 0
open|GPU number 0 cannot be used: device 0 is busy
END
    # shellcheck disable=SC2086
    ${CC:-cc} -shared -fPIC -xc -o empty.so - </dev/null
    DNAS_CUDA_LIBRARY=$PWD/empty.so expect_sentence 1 'empty.so: is not a library of dnas' dnas-embed -d cuda -m model s.fa
}

# Where it is looked for without the variable.
test_places() {
    use_emulated 2 1 || return
    unset DNAS_CUDA_LIBRARY
    mkdir -p away/bin away/lib
    cp "$BUILD/bin/dnas-embed" away/bin
    expect_ok away/bin/dnas-embed --version
    grep -q 'cuda: not in this build' "$TMP/out" || skip "a library is found by the loader"
    cp "$emulated" away/lib/libdnas-cuda.so
    expect_ok away/bin/dnas-embed --version
    grep -q 'cuda: .*1 device' "$TMP/out" || fail "not found in ../lib: $(cat "$TMP/out")"
    mv away/lib/libdnas-cuda.so away/bin
    expect_ok away/bin/dnas-embed --version
    grep -q 'cuda: .*1 device' "$TMP/out" || fail "not found beside the program: $(cat "$TMP/out")"
    mkdir other && mv away/bin/libdnas-cuda.so other
    LD_LIBRARY_PATH=$PWD/other expect_ok away/bin/dnas-embed --version
    grep -q 'cuda: .*1 device' "$TMP/out" || fail "not found by the loader: $(cat "$TMP/out")"
}

run_tests
