#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# train-esm.sh - dnas-train --arch esm: from pairs to a model that runs, from
# scratch and from another, and what is refused.  What holds for every network
# is in train-bert.sh.
# shellcheck source=tests/lib.sh
. tests/lib.sh

# 60 pairs of three species of different composition; the last 12 are for validation.
make_pairs() {
    cp -r "$DATA"/golden/nt_tiny .
    random_pairs 60 3 12
    dnas-view --from-tsv pairs.tsv -o pairs.dnas &&
        dnas-tokenize -q -T nt_tiny pairs.dnas -o t.dnas || fail "no pairs"
}
train() { # train ARGUMENTS...
    dnas-train -q -b 16 --rate 3e-3 --head-rate 1 --max-tokens 40 --no-pg "$@"
}

test_a_model_is_trained_and_runs() {
    make_pairs
    expect_ok train --arch esm -T nt_tiny --layers 2 --width 16 --heads 2 --log log.tsv --save-hf hf \
        --curriculum wsimclr:2,mimix:2,imix:1,supcon:1 -o m.safetensors t.dnas
    awk -F '\t' 'NR == 2 { first = $3 } { last = $3 } END { exit !(last > 0 && last < first) }' log.tsv ||
        fail "the validation loss did not fall: $(cat log.tsv)"
    expect_same nt_tiny/vocab.txt hf/vocab.txt
    expect_ok dnas-embed -q --no-pg -m m.safetensors pairs.fa -o e.dnas
    expect_ok dnas-embed -q --no-pg -m hf pairs.fa -o hf.dnas
    expect_same e.dnas hf.dnas
    dnas-view -H e.dnas | grep -q '"model": "esm"' || fail "the header names another model"
    expect_ok train --arch esm -t 3 -T nt_tiny --layers 2 --width 16 --heads 2 \
        --curriculum wsimclr:2,mimix:2,imix:1,supcon:1 -o again.safetensors t.dnas
    cmp m.safetensors again.safetensors || fail "-t shows"
}

test_from_another_model() {
    make_pairs
    expect_ok train --init nt_tiny --curriculum wsimclr:1 -o m.safetensors t.dnas
    expect_ok dnas-embed -q -m m.safetensors pairs.fa -o e.dnas
    # The layers stay; what is behind them does not.
    expect_ok train --init nt_tiny --curriculum wsimclr:1 --freeze 4 -o same.safetensors t.dnas
    dnas-embed -q --no-pg -m nt_tiny pairs.fa | dnas-view >want
    dnas-embed -q --no-pg -m same.safetensors pairs.fa | dnas-view >got
    cmp -s want got && fail "the last layer norm learns, too"
    expect_ok train --arch esm --init m.safetensors --curriculum wsimclr:1 -o n.safetensors t.dnas
}

test_masked_tokens() {
    make_pairs
    expect_ok train --arch esm -T nt_tiny --layers 2 --width 16 --heads 2 --curriculum mlm:6 --log log.tsv --save-hf hf \
        -o m.safetensors t.dnas
    awk -F '\t' 'NR == 2 { first = $3 } { last = $3 } END { exit !(last > 0 && last < first) }' log.tsv ||
        fail "the validation loss did not fall: $(cat log.tsv)"
    expect_ok dnas-embed -q --no-pg --logits -m m.safetensors pairs.fa -o e.dnas
    expect_ok dnas-embed -q --no-pg --logits -m hf pairs.fa -o hf.dnas
    expect_same e.dnas hf.dnas
    grep -q 'EsmForMaskedLM' hf/config.json || fail "the config: $(cat hf/config.json)"
    expect_ok train --init m.safetensors --curriculum wsimclr:1 -o n.safetensors t.dnas
    expect_ok dnas-embed -q -m n.safetensors pairs.fa -o n.dnas
}

# Where the processor has such products, else refused.
test_bf16() {
    make_pairs
    expect_ok train --init nt_tiny --curriculum wsimclr:1,mimix:1 -o f32.safetensors t.dnas
    if train --init nt_tiny --curriculum wsimclr:1,mimix:1 --precision bf16 -o m.safetensors t.dnas 2>err; then
        ! cmp -s f32.safetensors m.safetensors || fail "bf16 gives the bytes of f32"
        expect_ok dnas-embed -q --precision bf16 -m m.safetensors pairs.fa -o e.dnas
    else
        grep -q 'has no products of bf16; use --precision f32' err || fail "says $(cat err)"
        expect_sentence 2 'has no products of bf16; use --precision f32' \
            dnas-embed --precision bf16 -m nt_tiny pairs.fa -o e.dnas
    fi
}

test_what_it_refuses() {
    make_pairs
    expect_sentence 1 '--arch esm: 3 heads do not get an even number each of 9 channels' \
        train --arch esm -T nt_tiny --width 9 --heads 3 -o m.safetensors t.dnas
    expect_sentence 1 '--arch esm: 6 channels are no multiple of 4' \
        train --arch esm -T nt_tiny --width 6 --heads 1 -o m.safetensors t.dnas
    expect_sentence 1 'nt_tiny: is a network of --arch esm' \
        train --arch bert --init nt_tiny -o m.safetensors t.dnas
    expect_sentence 1 't.dnas: was made by another tokenizer than nt' \
        train --arch esm -T nt --width 8 --heads 1 -o m.safetensors t.dnas
}

run_tests
