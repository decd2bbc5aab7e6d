#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# hyena.sh - HyenaDNA's network on the command line: embedded by a published
# folder, from letters and from tokens; trained, from scratch and from a folder.
# shellcheck source=tests/lib.sh
. tests/lib.sh

GOLDEN=$DATA/golden/hyena_tiny

make_pairs() { # 60 pairs of four species of different composition; the last 10 are for validation
    random_pairs 60 4 10
    dnas-view --from-tsv pairs.tsv | dnas-tokenize -q -T hyena -o t.dnas || fail "no pairs"
}
train() { # train ARGUMENTS...: a tiny network from scratch
    dnas-train -q --arch hyena --layers 2 --width 16 -b 10 --rate 1e-3 --head-rate 10 \
        --max-tokens 120 --no-pg "$@"
}

test_embedded_by_a_folder() {
    random_fasta 12 5 >s.fa
    expect_ok dnas-embed -q -t 1 --no-pg -m "$GOLDEN" -o one.dnas s.fa
    expect_ok dnas-embed -q -t 3 --no-pg -m "$GOLDEN" -o three.dnas s.fa
    expect_same one.dnas three.dnas
    [ "$(dnas-view -c one.dnas)" = 12 ] || fail "rows are missing"
    # The same from tokens, in windows that are the usual ones: 1,845 letters and, at the end, up to a tenth more.
    expect_ok dnas-tokenize -q -T "$GOLDEN" --window 1845 -o t.dnas s.fa
    expect_ok dnas-embed -q --no-pg -m "$GOLDEN" -o tokens.dnas t.dnas
    dnas-view one.dnas >a
    dnas-view tokens.dnas >b
    expect_same a b
    dnas-view -H one.dnas >header
    grep -q '"model": "hyena"' header || fail "the header does not name the model"
    expect_sentence 1 "has [0-9]+ tokens, and the model takes 2050 at most: try windows" \
        dnas-embed -q -m "$GOLDEN" --window 0 s.fa -o x.dnas
    expect_ok dnas-embed -q -m "$GOLDEN" --window 0 --max-tokens 2050 s.fa -o x.dnas
    expect_ok dnas-embed -q -m "$GOLDEN" --truncate 2000 s.fa -o x.dnas
}

# Every letter is one token, and [SEP] stands behind: the numbers of the original code.
test_golden_embedding() {
    printf '>s\nACGTNACGT\n' >s.fa
    expect_ok dnas-tokenize -q -T "$GOLDEN" -o t.dnas s.fa
    dnas-view t.dnas | cut -f 2 | tail -n 1 >ids
    expect_text ids '7 8 9 10 11 7 8 9 10 1'
}

test_trained_from_scratch() {
    make_pairs
    expect_ok train -t 1 --log log.tsv --save-hf hf -o one.safetensors t.dnas
    train -t 3 -o three.safetensors t.dnas || fail "-t 3"
    expect_same one.safetensors three.safetensors
    expect_ok dnas-embed -q --no-pg -m one.safetensors pairs.fa -o one.dnas
    expect_ok dnas-embed -q --no-pg -m hf pairs.fa -o hf.dnas
    dnas-view one.dnas >a
    dnas-view hf.dnas >b
    expect_same a b
    [ "$(dnas-view -c one.dnas)" = 60 ] || fail "rows are missing"
    expect_ok train --rate 3e-3 --head-rate 1 --curriculum wsimclr:6 --log learnt.tsv -o l.safetensors t.dnas
    awk -F '\t' 'NR == 2 { first = least = $3 }
        NR > 2 && $3 != "" && $3 < least { least = $3 }
        END { exit !(least > 0 && least < first / 2) }' learnt.tsv ||
        fail "the validation loss did not fall: $(cut -f 1-3 learnt.tsv | tr '\n' ' ')"
    expect_ok train --curriculum supcon -o s.safetensors t.dnas
}

test_from_a_folder() {
    make_pairs
    for w in wsimclr mimix; do
        expect_ok dnas-train -q --init "$GOLDEN" --max-tokens 100 -b 10 --curriculum $w --rate 1e-3 \
            -o $w.safetensors t.dnas
        expect_ok dnas-embed -q --no-pg -m $w.safetensors pairs.fa -o $w.dnas
        dnas-view $w.dnas >$w
    done
    expect_ok dnas-train -q --init "$GOLDEN" --arch hyena --max-tokens 100 -b 10 --freeze 4 \
        --max-steps 2 -o frozen.safetensors t.dnas
    dnas-embed -q --no-pg -m frozen.safetensors pairs.fa | dnas-view >frozen
    dnas-embed -q --no-pg -m "$GOLDEN" pairs.fa | dnas-view >before
    cmp -s before wsimclr && fail "nothing learnt"
    cmp -s mimix wsimclr && fail "the objective does not show"
    # All but the last layer norm, which belongs to no layer.
    [ "$(wc -l <frozen)" = 61 ] || fail "a frozen network does not run"
}

test_refused() {
    make_pairs
    expect_sentence 1 'has no head for masked tokens' train --curriculum mlm -o m.safetensors t.dnas
    expect_sentence 1 'takes sequences of 2050 tokens at most: try --max-tokens 2050' \
        dnas-train -q --init "$GOLDEN" --max-tokens 3000 -o m.safetensors t.dnas
    expect_sentence 1 'is a network of --arch hyena' \
        dnas-train -q --arch bert --init "$GOLDEN" -o m.safetensors t.dnas
}

run_tests
