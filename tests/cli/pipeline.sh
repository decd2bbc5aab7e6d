#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# pipeline.sh - the pipeline whole: genomes to embeddings to clusters to a score.
# shellcheck source=tests/lib.sh
. tests/lib.sh

genomes=$ROOT/examples/genomes.fa.gz

field() { # field NAME FILE: of dnas-ari's table
    awk -F '\t' -v name="$1" 'NR == 1 { for (i = 1; i <= NF; i++) if ($i == name) at = i } NR == 2 { print $at }' "$2"
}

# Measured: ARI 0.83 on these 633 pieces of 16 genomes; 0.7 leaves room for
# another choice of starts, and is far above what chance gives (0).
test_genomes_are_told_apart() {
    (
        set -o pipefail
        dnas-embed -q -m tnf-canonical "$genomes" | dnas-kmeans -q -k labels | dnas-ari >scores.tsv
    ) || fail "the pipeline fails"
    [ "$(field rows scores.tsv)" = 633 ] || fail "rows: $(field rows scores.tsv)"
    [ "$(field classes scores.tsv)" = 16 ] || fail "classes: $(field classes scores.tsv)"
    [ "$(field clusters scores.tsv)" = 16 ] || fail "clusters: $(field clusters scores.tsv)"
    awk -v x="$(field ari scores.tsv)" 'BEGIN { exit !(x >= 0.7 && x <= 1) }' || fail "ARI is $(field ari scores.tsv)"
    awk -v x="$(field purity scores.tsv)" 'BEGIN { exit !(x >= 0.8 && x <= 1) }' || fail "purity is $(field purity scores.tsv)"
}

test_the_same_bytes_twice() {
    for i in 1 2; do
        dnas-embed -q -m tnf-canonical -t $i "$genomes" -o e.dnas || fail "dnas-embed fails"
        dnas-kmeans -q -k labels -t $i e.dnas -o k.dnas || fail "dnas-kmeans fails"
        dnas-ari k.dnas -o s.tsv || fail "dnas-ari fails"
        for f in e.dnas k.dnas s.tsv; do mv $f $i.$f; done
    done
    for f in e.dnas k.dnas s.tsv; do expect_same 1.$f 2.$f; done
}

# A stage that dies is seen by the next one, and by the shell.
test_a_stage_that_dies() {
    zcat "$genomes" | head -n 20000 >cut.fa
    printf '>last\n' >>cut.fa
    dnas-embed -q -m tnf cut.fa 2>err1 | dnas-kmeans -q -k 3 2>err2 >k.dnas
    status=("${PIPESTATUS[@]}")
    [ "${status[*]}" = '1 1' ] || fail "statuses are ${status[*]}"
    grep -q "('last') is empty" err1 || fail "says $(cat err1)"
    grep -q 'standard input: is truncated after row' err2 || fail "says $(cat err2)"
    [ ! -s k.dnas ] || fail "labels of a broken stream"
    dnas-embed -m nonsense cut.fa 2>err1 | dnas-kmeans -k 3 2>err2 >k.dnas
    grep -q 'standard input: is empty, not a dnas stream (did the command before it fail?)' err2 || fail "says $(cat err2)"
}

# A column that nobody asked about is there at the end.
test_columns_pass_through() {
    printf 'id\tembedding_0\tembedding_1\tlabel\tsite\na\t1\t0\tx\tnorth\nb\t0\t1\ty\tsouth\n' >e.tsv
    dnas-view --from-tsv e.tsv -o e.dnas
    dnas-kmeans -q -k 2 e.dnas -o k.dnas
    expect_ok dnas-view --salvage k.dnas
    cp "$TMP/out" again.dnas
    dnas-view again.dnas | cut -f 1,4,5 >got
    expect_text got $'id\tlabel\tsite\na\tx\tnorth\nb\ty\tsouth'
}

# Plain, compressed and through a named file: one result.
test_ways_through() {
    zcat "$genomes" | head -n 5000 >some.fa
    dnas-embed -q -m tnf-canonical some.fa -o e.dnas
    dnas-kmeans -q --format tsv -k 5 e.dnas >want
    dnas-embed -q -m tnf-canonical --zstd some.fa -o z.dnas
    dnas-kmeans -q --format tsv -k 5 z.dnas >got
    expect_same want got
    (
        set -o pipefail
        gzip -nc some.fa | dnas-embed -q -m tnf-canonical | dnas-kmeans -q --format tsv -k 5 >got
    ) || fail "the pipeline fails"
    expect_same want got
}

run_tests
