#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# knn.sh - dnas-knn: lists of neighbours, classes by vote, none of these.
# shellcheck source=tests/lib.sh
. tests/lib.sh

make_stream() { # make_stream NAME < TSV: NAME.dnas
    cat >"$1.tsv"
    dnas-view --from-tsv "$1.tsv" -o "$1.dnas"
}
# Two classes on the axes, and one row without a label.
train() {
    make_stream t <<'T'
id	embedding_0	embedding_1	label
x1	1	0	xx
x2	1	0.1	xx
x3	2	0.4	xx
y1	0	1	aa
y2	0.1	1	aa
u	1	1	
T
}
queries() {
    make_stream q <<'T'
id	embedding_0	embedding_1	length_bp	label
q|1	3	0.2	100	truth
q#2	0	5	200	
q/3	-1	-1	300	truth
T
}

test_lists() {
    train
    expect_ok dnas-knn -n 2 t.dnas
    awk -F '\t' '$2 == 1 { print $1 ":" $3 }' "$TMP/out" >first
    expect_text first $'x1:x2\nx2:x3\nx3:x2\ny1:y2\ny2:y1\nu:x3'
    queries
    expect_ok dnas-knn -n 1 --against t.dnas q.dnas
    expect_text "$TMP/out" $'id\trank\tneighbour\tsimilarity
q|1\t1\tx2\t0.999452233
q#2\t1\ty1\t1
q/3\t1\tx1\t-0.707106769'
    expect_ok dnas-knn -n 2 --against t.dnas --metric euclidean --no-normalise q.dnas
    head -n 4 "$TMP/out" >some
    expect_text some $'id\trank\tneighbour\tdistance
q|1\t1\tx3\t1.01980388
q|1\t2\tx2\t2.00249839
q#2\t1\ty1\t4'
    expect_ok dnas-knn -n 1 --against t.dnas --metric euclidean q.dnas
    sed -n 4p "$TMP/out" >some
    expect_text some $'q/3\t1\tx1\t1.84775901' # of unit rows
    expect_ok dnas-knn -n 2 t.dnas -o l.tsv
    [ "$(wc -l <l.tsv)" = 13 ] || fail "$(wc -l <l.tsv) lines"
}

test_classes() {
    train
    queries
    expect_ok dnas-knn --train t.dnas -n 3 --format tsv q.dnas
    expect_text "$TMP/err" 'dnas-knn: warning: t.dnas: 1 rows have no label and are left out'
    # Classes are numbered in order of name: aa 0, xx 1.
    expect_text "$TMP/out" $'id\tcluster\tscore\tlength_bp\tlabel\tpredicted
q|1\t1\t1\t100\ttruth\txx
q#2\t0\t0.666666687\t200\t\taa
q/3\t1\t0.666666687\t300\ttruth\txx'
    # One vote each for four of five: the tie goes to the first name.
    expect_ok dnas-knn -q --train t.dnas -n 4 --format tsv q.dnas
    cut -f 2,3 "$TMP/out" >some
    expect_text some $'cluster\tscore\n1\t0.75\n0\t0.5\n0\t0.5'
    expect_ok dnas-knn -q --train t.dnas -n 1 q.dnas -o l.dnas
    expect_ok dnas-view --check l.dnas
    expect_ok dnas-ari l.dnas
    expect_ok dnas-knn -q --train t.dnas -n 1 --format json q.dnas
    grep -q '"id": "q|1", "cluster": 1, "score": 1, "length_bp": 100, "label": "truth", "predicted": "xx"' "$TMP/out" ||
        fail "JSON: $(cat "$TMP/out")"
    # Of a column of that name, ours stays.
    dnas-knn -q --train t.dnas --format tsv q.dnas | sed '1s/cluster/embedding_0/' | cut -f 1,2,4- | make_stream again
    expect_ok dnas-knn -q --train again.dnas --format tsv -n 1 again.dnas
    head -n 1 "$TMP/out" >some
    expect_text some $'id\tcluster\tscore\tlength_bp\tlabel\tpredicted'
}

test_none_of_these() {
    train
    queries
    expect_ok dnas-knn -q --train t.dnas -n 1 --novel-above 0.5 --format tsv q.dnas
    cut -f 1,2,6 "$TMP/out" >some
    expect_text some $'id\tcluster\tpredicted\nq|1\t1\txx\nq#2\t0\taa\nq/3\t-1\t'
    expect_ok dnas-knn -q --train t.dnas -n 1 --novel-above 0 --format tsv q.dnas # at 0 is not above
    cut -f 2 "$TMP/out" >some
    expect_text some $'cluster\n-1\n0\n-1'
    expect_ok dnas-knn -q --train t.dnas -n 1 --novel-above 3.9 --metric euclidean --no-normalise --format tsv q.dnas
    cut -f 2 "$TMP/out" >some
    expect_text some $'cluster\n1\n-1\n1'
    expect_ok dnas-knn -v --train t.dnas -n 1 --novel-above 0.5 q.dnas
    grep -q '^dnas-knn: 1 rows are farther than 0.5 from every class$' "$TMP/err" || fail "says: $(cat "$TMP/err")"
}

test_corners() {
    make_stream one <<<$'id\tembedding_0\tembedding_1\tlabel\na\t1\t2\tonly'
    queries
    # One class with one member.
    expect_ok dnas-knn --train one.dnas -n 1 --format tsv q.dnas
    cut -f 2,3 "$TMP/out" >some
    expect_text some $'cluster\tscore\n0\t1\n0\t1\n0\t1'
    expect_sentence 1 '^dnas-knn: 5 neighbours asked for among 1 rows; try 1 or fewer' dnas-knn --train one.dnas q.dnas
    expect_sentence 1 '^dnas-knn: 1 neighbours asked for among 0 other rows; try 0 or fewer' dnas-knn -n 1 one.dnas
    # No rows to look for: the result is empty, and there.
    make_stream none <<<$'id\tembedding_0\tembedding_1'
    expect_ok dnas-knn --train one.dnas --format tsv none.dnas
    expect_text "$TMP/out" $'id\tcluster\tscore\tpredicted'
    expect_ok dnas-knn none.dnas
    expect_text "$TMP/out" $'id\trank\tneighbour\tsimilarity'
    expect_ok dnas-knn --train none.dnas --format tsv none.dnas
    expect_sentence 1 '^dnas-knn: none.dnas: no row has a label: use --labels when embedding' dnas-knn --train none.dnas q.dnas
    # All rows equal: neighbours in order of row, and the same id twice is fine, for nothing is joined.
    make_stream same <<<$'id\tembedding_0\na\t2\na\t2\nb\t2\nc\t2'
    expect_ok dnas-knn -n 3 same.dnas
    cut -f 3 "$TMP/out" >some
    expect_text some $'neighbour\na\nb\nc\na\nb\nc\na\na\nc\na\na\nb'
    make_stream zero <<<$'id\tembedding_0\na\t0\nb\t2'
    expect_ok dnas-knn -n 1 zero.dnas
    expect_text "$TMP/err" 'dnas-knn: warning: 1 rows are all zero: they have no direction, and nothing is near them'
    expect_text "$TMP/out" $'id\trank\tneighbour\tsimilarity\na\t1\tb\t0\nb\t1\ta\t0'
}

test_what_it_refuses() {
    train
    queries
    expect_sentence 2 '--train votes and --against lists: give one of them' dnas-knn --train t.dnas --against t.dnas q.dnas
    expect_sentence 2 '--novel-above needs --train' dnas-knn --novel-above 1 q.dnas
    expect_sentence 2 '--no-normalise goes with --metric euclidean' dnas-knn --no-normalise q.dnas
    expect_sentence 2 'standard input cannot be read twice' dnas-knn --train - -
    expect_sentence 2 'takes a number from 1 to 10000, not 0' dnas-knn -n 0 q.dnas
    make_stream wide <<<$'id\tembedding_0\tembedding_1\tembedding_2\tlabel\na\t1\t2\t3\tx'
    expect_sentence 1 '^dnas-knn: wide.dnas: has 3 dimensions, and the rows to compare it with have 2' dnas-knn --train wide.dnas q.dnas
    random_fasta 12 1 >s.fa
    dnas-embed -m tnf s.fa -o tnf.dnas
    dnas-embed -m tnf --truncate 500 s.fa -o short.dnas
    expect_sentence 1 '^dnas-knn: short.dnas: was made by another model or with other settings' dnas-knn --train short.dnas tnf.dnas
    expect_sentence 1 '^dnas-knn: short.dnas: was made by another model or with other settings' dnas-knn --against short.dnas tnf.dnas
    expect_sentence 1 '^dnas-knn: missing.dnas: cannot be opened' dnas-knn --train missing.dnas tnf.dnas
    dnas-kmeans -k 2 tnf.dnas -o k.dnas
    expect_sentence 1 '^dnas-knn: k.dnas: holds LABELS where EMBEDDINGS are needed' dnas-knn --train k.dnas tnf.dnas
    head -c 3000 tnf.dnas >cut.dnas
    expect_sentence 1 '^dnas-knn: cut.dnas: ' dnas-knn --train cut.dnas tnf.dnas
}

# Real sequences: each is nearest to itself, and bf16 finds the same classes.
test_sequences() {
    random_fasta 60 4 >s.fa
    dnas-embed -m tnf-canonical s.fa -o e.dnas
    expect_ok dnas-knn -n 1 --against e.dnas e.dnas
    awk -F '\t' 'NR > 1 && $1 != $3 { print }' "$TMP/out" >others
    [ ! -s others ] || fail "not nearest to themselves: $(head -n 3 others)"
    expect_ok dnas-knn --train e.dnas --format tsv -n 3 e.dnas
    cut -f 2 "$TMP/out" >want
    dnas-embed -m tnf-canonical --output-type bf16 --zstd s.fa -o b.dnas
    expect_ok dnas-knn --train b.dnas --format tsv -n 3 b.dnas
    cut -f 2 "$TMP/out" >got
    expect_same want got
    cp e.dnas again.dnas
    expect_ok dnas-knn --train e.dnas --format tsv -n 3 - <again.dnas
    cut -f 2 "$TMP/out" >got
    expect_same want got
}

run_tests
