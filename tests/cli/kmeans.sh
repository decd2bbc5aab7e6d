#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# kmeans.sh - dnas-kmeans: labels, scores, starts and what it refuses.
# shellcheck source=tests/lib.sh
. tests/lib.sh

# Two directions: a and b along the first axis, c and d along the second.
axes() {
    printf 'id\tembedding_0\tembedding_1\tlength_bp\tlabel\textra\na\t1\t0\t5\tx\tone\nb\t3\t0\t6\tx\t\nc\t0\t2\t7\ty\tthree\nd\t0\t4\t8\t\tfour\n' >e.tsv
    dnas-view --from-tsv e.tsv -o e.dnas
}
npy() { # npy FILE: from lines of numbers
    awk 'NR == 1 { printf "id"; for (i = 0; i < NF; i++) printf "\tembedding_%d", i; print "" }
        { printf "%d", NR; for (i = 1; i <= NF; i++) printf "\t%s", $i; print "" }' >npy.tsv
    dnas-view --from-tsv npy.tsv -o npy.dnas && dnas-view --npy "$1" npy.dnas
}
clusters() { # clusters ARGUMENTS...: "id:cluster ..." renumbered in the order of the rows
    expect_ok dnas-kmeans -q --format tsv "$@"
    awk -F '\t' 'NR > 1 { if (!($2 in to)) to[$2] = n++; printf "%s:%s ", $1, to[$2] }' "$TMP/out"
}
expect_clusters() { # expect_clusters WANT ARGUMENTS...
    local got
    got=$(clusters "${@:2}")
    [ "$got" = "$1 " ] || fail "clusters are $got, not $1: ${*:2}"
}

test_given_centres() {
    axes
    printf '1 0\n0 1\n' | npy c.npy
    expect_ok dnas-kmeans -k 2 --init c.npy --format tsv e.dnas
    expect_text "$TMP/out" $'id\tcluster\tscore\tlength_bp\tlabel\textra
a\t0\t1\t5\tx\tone
b\t0\t1\t6\tx\t
c\t1\t1\t7\ty\tthree
d\t1\t1\t8\t\tfour'
    printf '0 1\n1 0\n' | npy c.npy
    expect_ok dnas-kmeans -k 2 --init c.npy --format json e.dnas
    expect_text "$TMP/out" '{"id": "a", "cluster": 1, "score": 1, "length_bp": 5, "label": "x", "extra": "one"}
{"id": "b", "cluster": 1, "score": 1, "length_bp": 6, "label": "x", "extra": ""}
{"id": "c", "cluster": 0, "score": 1, "length_bp": 7, "label": "y", "extra": "three"}
{"id": "d", "cluster": 0, "score": 1, "length_bp": 8, "label": "", "extra": "four"}'
    expect_sentence 1 '^dnas-kmeans: c.npy: holds 2 x 2 numbers, not 3 centres of 2 dimensions' dnas-kmeans -k 3 --init c.npy e.dnas
    printf '1 0 0\n0 1 0\n' | npy wide.npy
    expect_sentence 1 '^dnas-kmeans: wide.npy: holds 2 x 3 numbers, not 2 centres of 2 dimensions' dnas-kmeans -k 2 --init wide.npy e.dnas
    expect_sentence 1 '^dnas-kmeans: missing.npy: .*No such file' dnas-kmeans -k 2 --init missing.npy e.dnas
    expect_sentence 1 '^dnas-kmeans: e.dnas: ' dnas-kmeans -k 2 --init e.dnas e.dnas
}

test_formats_hold_the_same() {
    axes
    dnas-kmeans -k 2 e.dnas -o k.dnas
    dnas-kmeans -k 2 --format stream e.dnas -o stream.dnas
    dnas-view k.dnas >want
    expect_ok dnas-view stream.dnas
    expect_same want "$TMP/out"
    expect_ok dnas-kmeans -k 2 --format tsv e.dnas
    expect_same want "$TMP/out"
    dnas-view --json k.dnas >want
    expect_ok dnas-kmeans -k 2 --format json e.dnas
    expect_same want "$TMP/out"
    dnas-kmeans -k 2 --zstd e.dnas -o z.dnas
    expect_ok dnas-view --json z.dnas
    expect_same want "$TMP/out"
}

test_numbers_of_clusters() {
    axes
    expect_clusters 'a:0 b:0 c:1 d:1' -k 2 e.dnas
    expect_clusters 'a:0 b:0 c:1 d:1' -k labels e.dnas # x and y; an empty one is none
    expect_clusters 'a:0 b:0 c:0 d:0' -k 1 e.dnas
    expect_clusters 'a:0 b:1 c:2 d:3' -k 4 --no-normalise e.dnas
    expect_ok dnas-kmeans -k 1 --format tsv e.dnas
    cut -f 3 "$TMP/out" >score # the centre of unit rows is the diagonal
    expect_text score $'score\n0.707106769\n0.707106769\n0.707106769\n0.707106769'
    expect_sentence 1 '5 clusters asked of 4 rows; try 4 or fewer' dnas-kmeans -k 5 e.dnas
    local k
    for k in 0 -1 x 2.5 '' labels2 99999999999; do
        expect_sentence 2 "-k takes a number of clusters or 'labels', not '$k'" dnas-kmeans "--clusters=$k" e.dnas
    done
    expect_sentence 2 'how many clusters\? give -k a number, or -k labels' dnas-kmeans e.dnas
    cut -f 1-3 e.tsv >plain.tsv
    dnas-view --from-tsv plain.tsv -o plain.dnas
    expect_sentence 1 '-k labels: no row has a label; give -k a number' dnas-kmeans -k labels plain.dnas
}

test_normalisation() {
    # By length a and c are one cluster, by direction a and b.
    printf 'id\tembedding_0\tembedding_1\na\t1\t0\nb\t100\t0\nc\t0\t1\n' >e.tsv
    dnas-view --from-tsv e.tsv -o e.dnas
    expect_clusters 'a:0 b:0 c:1' -k 2 e.dnas
    expect_clusters 'a:0 b:1 c:0' -k 2 --no-normalise e.dnas
}

test_equal_points() {
    printf 'id\tembedding_0\na\t2\nb\t2\nc\t2\n' >e.tsv
    dnas-view --from-tsv e.tsv -o e.dnas
    expect_clusters 'a:0 b:0 c:0' -k 2 e.dnas
    expect_ok dnas-kmeans -k 2 e.dnas
    expect_text "$TMP/err" 'dnas-kmeans: warning: 1 of 2 clusters are empty: there are fewer different rows'
    for init in random k-means++; do
        expect_clusters 'a:0 b:0 c:0' -k 3 --init $init e.dnas
    done
}

test_rows_of_zeros() {
    printf 'id\tembedding_0\tembedding_1\na\t0\t0\nb\t0\t0\nc\t1\t1\n' >e.tsv
    dnas-view --from-tsv e.tsv -o e.dnas
    expect_ok dnas-kmeans -k 2 --format tsv e.dnas
    expect_text "$TMP/err" 'dnas-kmeans: warning: 2 rows are all zero: they have no direction and share a cluster'
    cut -f 3 "$TMP/out" >score
    expect_text score $'score\n0\n0\n1'
    expect_clusters 'a:0 b:0 c:1' -k 2 e.dnas
}

test_no_rows() {
    printf 'id\tembedding_0\tlabel\n' >e.tsv
    dnas-view --from-tsv e.tsv -o e.dnas
    for k in 3 labels; do
        expect_ok dnas-kmeans -k $k --format tsv e.dnas
        expect_text "$TMP/out" $'id\tcluster\tscore\tlabel'
    done
}

# A column of the input that is called as one of ours gives way to ours.
test_clusters_again() {
    axes
    dnas-kmeans -k 2 e.dnas -o k.dnas
    expect_sentence 1 '^dnas-kmeans: k.dnas: holds LABELS where EMBEDDINGS are needed' dnas-kmeans -k 2 k.dnas
    printf 'id\tembedding_0\tcluster\tscore\tembedding_extra\na\t1\t7\t0.5\tt\n' >c.tsv
    dnas-view --from-tsv c.tsv -o c.dnas
    expect_ok dnas-kmeans -k 1 --format tsv c.dnas
    expect_text "$TMP/out" $'id\tcluster\tscore\tembedding_extra\na\t0\t1\tt'
}

test_bf16_and_zstd_and_concatenation() {
    random_fasta 40 3 >s.fa
    dnas-embed -m tnf-canonical s.fa -o f.dnas
    dnas-embed -m tnf-canonical --output-type bf16 --zstd s.fa -o b.dnas
    [ "$(clusters -k 3 f.dnas)" = "$(clusters -k 3 b.dnas)" ] || fail "bf16 gives other clusters"
    head -n 1 s.fa >one.fa && sed -n '2,/^>/p' s.fa | grep -v '>' >>one.fa && sed -i '1s/seq1/again/' one.fa
    dnas-embed -m tnf-canonical one.fa -o one.dnas
    cat f.dnas one.dnas >both.dnas
    expect_ok dnas-kmeans -q -k 3 --format tsv both.dnas
    [ "$(sed -n 2p "$TMP/out" | cut -f 2)" = "$(tail -n 1 "$TMP/out" | cut -f 2)" ] || fail "equal rows, two clusters"
}

test_seeds() {
    random_fasta 60 3 >s.fa
    dnas-embed -m tnf-canonical s.fa -o e.dnas
    for init in random k-means++; do
        dnas-kmeans -k 5 --n-init 1 --init $init -s 1 e.dnas -o 1.dnas
        dnas-kmeans -k 5 --n-init 1 --init $init -s 1 e.dnas -o again.dnas
        expect_same 1.dnas again.dnas
    done
    expect_ok dnas-kmeans -k 5 --n-init 1 --max-iter 1 --tol 0 --init random -v e.dnas
    grep -q 'warning: no convergence within 1 iterations: see --max-iter' "$TMP/err" || fail "says $(cat "$TMP/err")"
    grep -qE '^dnas-kmeans: inertia [0-9.e-]+ after 1 iterations of start 1$' "$TMP/err" || fail "says $(cat "$TMP/err")"
    expect_sentence 2 '--n-init takes a number from 1 to 10000, not 0' dnas-kmeans -k 2 --n-init 0 e.dnas
    expect_sentence 2 '--tol takes a number from 0 to' dnas-kmeans -k 2 --tol -1 e.dnas
}

run_tests
