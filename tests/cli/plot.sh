#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# plot.sh - dnas-plot: pictures of embeddings and of curves.
# shellcheck source=tests/lib.sh
. tests/lib.sh

embedded() {
    random_fasta "${1:-30}" 2 >s.fa
    dnas-embed -m tnf-canonical s.fa -o e.dnas
}
is_svg() {
    [ "$(head -c 4 "$1")" = '<svg' ] || fail "$1 begins with $(head -c 20 "$1")"
    [ "$(tail -n 1 "$1")" = '</svg>' ] || fail "$1 ends with $(tail -c 20 "$1")"
    ! grep -qiE '\b(nan|inf)\b' "$1" || fail "$1 has numbers that are none"
}

test_methods() {
    embedded
    for m in pca tsne; do
        expect_ok dnas-plot --method $m --perplexity 5 e.dnas -o $m.svg
        is_svg $m.svg
        for label in species1 species2 species3; do
            grep -q ">$label" $m.svg || fail "$m: no legend for $label"
        done
        expect_ok dnas-plot --method $m --perplexity 5 <e.dnas
        expect_same $m.svg "$TMP/out"
    done
    grep -q 'PC1 (.* %)' pca.svg || fail "no share of variance at the axis"
    grep -q 't-SNE 1' tsne.svg || fail "no name at the axis"
    expect_ok dnas-plot e.dnas
    expect_same pca.svg "$TMP/out" # the default
}

test_seed() {
    embedded
    expect_ok dnas-plot --method tsne --perplexity 5 e.dnas -o 0.svg
    expect_ok dnas-plot --method tsne --perplexity 5 -s 0 e.dnas -o again.svg
    expect_same 0.svg again.svg
}

test_clusters() {
    embedded
    dnas-kmeans -k 2 e.dnas -o k.dnas
    expect_ok dnas-plot --clusters k.dnas e.dnas -o k.svg
    is_svg k.svg
    for i in 0 1; do grep -q ">cluster $i" k.svg || fail "no legend for cluster $i"; done
    dnas-view k.dnas >k.tsv
    expect_ok dnas-plot --clusters k.tsv e.dnas
    expect_same k.svg "$TMP/out"
    head -n 10 k.tsv >few.tsv
    expect_ok dnas-plot --clusters few.tsv e.dnas
    expect_text "$TMP/err" 'dnas-plot: warning: 21 rows are not in few.tsv and are drawn grey'
    (cat k.tsv && tail -n 1 k.tsv) >twice.tsv
    expect_sentence 1 "^dnas-plot: twice.tsv: the id 'seq30' comes twice" dnas-plot --clusters twice.tsv e.dnas
    expect_sentence 1 '^dnas-plot: e.dnas: holds EMBEDDINGS where LABELS are needed' dnas-plot --clusters e.dnas e.dnas
    expect_sentence 1 '^dnas-plot: k.dnas: holds LABELS where EMBEDDINGS are needed' dnas-plot k.dnas
    expect_sentence 1 '^dnas-plot: missing: cannot be opened' dnas-plot --clusters missing e.dnas
}

test_title_is_escaped() {
    embedded 5
    expect_ok dnas-plot --title 'a < b & "c"' e.dnas -o t.svg
    is_svg t.svg
    grep -q 'a &lt; b &amp; ' t.svg || fail "the title is not escaped: $(grep -o 'a .\{30\}' t.svg | head -n 1)"
}

test_few_rows() {
    for n in 1 2 3; do
        embedded $n
        expect_ok dnas-plot e.dnas -o $n.svg
        is_svg $n.svg
    done
    printf 'id\tembedding_0\tembedding_1\n' >none.tsv
    dnas-view --from-tsv none.tsv -o none.dnas
    expect_ok dnas-plot none.dnas -o none.svg
    is_svg none.svg
    printf 'id\tembedding_0\na\t2\nb\t2\n' >equal.tsv
    dnas-view --from-tsv equal.tsv -o equal.dnas
    expect_ok dnas-plot equal.dnas -o equal.svg
    is_svg equal.svg
}

test_curves() {
    printf 'step\tloss\tval\n1\t2\t3\n2\t1\tNA\n3\t0.5\t\n' >c.tsv
    expect_ok dnas-plot --curves c.tsv -o c.svg
    is_svg c.svg
    for name in step loss val; do grep -q ">$name<" c.svg || fail "no name $name"; done
    expect_ok dnas-plot --curves - <c.tsv
    expect_same c.svg "$TMP/out"
    expect_sentence 2 '--curves takes the place of FILE' dnas-plot --curves c.tsv e.dnas
    printf 'step\n1\n' >one.tsv
    expect_sentence 1 '^dnas-plot: one.tsv: has one column; the first is x, the others are curves' dnas-plot --curves one.tsv
    printf 'step\tl\n1\tx\n' >bad.tsv
    expect_sentence 1 "^dnas-plot: bad.tsv: line 2: 'x' in column 'l' is not a number" dnas-plot --curves bad.tsv
    : >empty.tsv
    expect_sentence 1 '^dnas-plot: empty.tsv: there is no header line' dnas-plot --curves empty.tsv
    expect_sentence 1 '^dnas-plot: missing.tsv: cannot be opened' dnas-plot --curves missing.tsv
}

test_normalisation() {
    embedded
    dnas-plot e.dnas -o unit.svg
    expect_ok dnas-plot --no-normalise e.dnas -o raw.svg
    is_svg raw.svg
    cmp -s unit.svg raw.svg && fail "--no-normalise changes nothing"
}

run_tests
