#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# ari.sh - dnas-ari: scores of small clusterings, as scikit-learn has them.
# shellcheck source=tests/lib.sh
. tests/lib.sh

names=$'rows\tclustered\tclusters\tclasses\tari\tnmi\tami\thomogeneity\tcompleteness\tv_measure\tpurity'

labels() { # labels "CLUSTERS" "CLASSES": l.tsv; - stands for no class
    paste <(printf '%s\n' w x y z v u | head -n "$(wc -w <<<"$1")") <(tr ' ' '\n' <<<"$1") \
        <(tr ' ' '\n' <<<"$2" | tr -d -) | sed '1i id\tcluster\tlabel' >l.tsv
}
expect_scores() { # expect_scores "VALUES" OPTIONS...: of l.tsv
    expect_ok dnas-ari "${@:2}" l.tsv
    expect_text "$TMP/out" "$names"$'\n'"$(tr ' ' '\t' <<<"$1")"
}

test_scores() {
    labels '0 0 1 1' 'a a b b'
    expect_scores '4 1 2 2 1 1 1 1 1 1 1'
    labels '5 5 2 2' 'a a b b' # names do not matter
    expect_scores '4 1 2 2 1 1 1 1 1 1 1'
    labels '0 0 1 1' 'a b a b'
    expect_scores '4 1 2 2 -0.5 0 -0.5 0 0 0 0.5'
    labels '0 0 1 1' 'a a b c'
    expect_scores '4 1 2 3 0.571428571 0.8 0.571428571 0.666666667 1 0.8 0.75'
    labels '0 0 1 2' 'a a b b'
    expect_scores '4 1 3 2 0.571428571 0.8 0.571428571 1 0.666666667 0.8 1'
    labels '0 0 0 0' 'a a a a'
    expect_scores '4 1 1 1 1 1 1 1 1 1 1'
    labels '0 1 2 3' 'a b c d'
    expect_scores '4 1 4 4 1 1 1 1 1 1 1'
    labels '0 0 0 0' 'a b c d'
    expect_scores '4 1 1 4 0 0 0 0 1 0 0.25'
}

test_unclustered() {
    labels '-1 0 1 1' 'a a b b'
    expect_scores '4 0.75 2 2 1 1 1 1 1 1 1'
    expect_scores '4 0.75 2 2 1 1 1 1 1 1 1' --unclustered left-out
    expect_scores '4 0.75 3 2 0.571428571 0.8 0.571428571 1 0.666666667 0.8 1' --unclustered alone
    labels '-1 -1' 'a b'
    expect_scores '2 0 0 0 1 1 1 1 1 1 1'
}

test_json() {
    labels '0 0 1 1' 'a a b c'
    expect_ok dnas-ari --json l.tsv
    expect_text "$TMP/out" '{"rows": 4, "clustered": 1, "clusters": 2, "classes": 3, "ari": 0.571428571, "nmi": 0.8, "ami": 0.571428571, "homogeneity": 0.666666667, "completeness": 1, "v_measure": 0.8, "purity": 0.75}'
}

test_streams_and_tables() {
    labels '0 0 1 1' 'a a b c'
    dnas-ari l.tsv >want
    dnas-view --from-tsv l.tsv -o l.dnas
    dnas-view --from-tsv l.tsv --zstd -o z.dnas
    gzip -nc l.tsv >l.gz
    for f in l.dnas z.dnas l.gz; do
        expect_ok dnas-ari $f
        expect_same want "$TMP/out"
        expect_ok dnas-ari - <$f
        expect_same want "$TMP/out"
    done
    # Columns in any order, with others between, and lines of DOS.
    awk -F '\t' '{ print $3 "\t" $1 "\tx\t" $2 "\r" }' l.tsv | sed '1s/x/note/' >odd.tsv
    expect_ok dnas-ari odd.tsv
    expect_same want "$TMP/out"
    expect_ok dnas-ari -o out.tsv l.tsv
    expect_same want out.tsv
}

test_truth() {
    labels '0 0 1 1' 'q q q q'
    printf 'id\tlabel\nz\tc\nw\ta\nx\ta\ny\tb\nelse\tno\n' >truth.tsv
    expect_scores '4 1 2 3 0.571428571 0.8 0.571428571 0.666666667 1 0.8 0.75' --truth truth.tsv
    cut -f 1,2 l.tsv >bare.tsv
    expect_ok dnas-ari --truth truth.tsv bare.tsv
    expect_sentence 1 "^dnas-ari: bare.tsv: has no column 'label': give the true labels with --truth" dnas-ari bare.tsv
    printf 'w\ta\nx\ta\ny\tb\n' >three.tsv
    expect_ok dnas-ari --truth three.tsv l.tsv
    expect_text "$TMP/err" 'dnas-ari: warning: 1 rows have no true label and are left out'
    tail -n 1 "$TMP/out" | cut -f 1-4 >counts
    expect_text counts $'3\t1\t2\t2'
    printf 'nobody\ta\n' >none.tsv
    expect_status 1 dnas-ari -q --truth none.tsv l.tsv
    expect_text "$TMP/err" 'dnas-ari: no row has a true label: use --truth, or --labels when embedding'
    expect_sentence 1 '^dnas-ari: missing.tsv: cannot be opened' dnas-ari --truth missing.tsv l.tsv
    printf 'id\tcluster\na\t0\na\t1\n' >twice.tsv
    expect_sentence 1 "^dnas-ari: twice.tsv: the id 'a' comes twice, so --truth cannot be joined" dnas-ari --truth truth.tsv twice.tsv
}

test_unlabelled_rows() {
    labels '0 0 1 1 1' 'a a b c -'
    expect_ok dnas-ari l.tsv
    expect_text "$TMP/err" 'dnas-ari: warning: 1 rows have no true label and are left out'
    expect_text "$TMP/out" "$names"$'\n4\t1\t2\t3\t0.571428571\t0.8\t0.571428571\t0.666666667\t1\t0.8\t0.75'
    labels '0 0' '- -'
    expect_status 1 dnas-ari l.tsv
}

test_no_rows() {
    printf 'id\tcluster\tlabel\n' >l.tsv
    expect_scores '0 1 0 0 1 1 1 1 1 1 1'
}

test_what_it_refuses() {
    printf 'id\tembedding_0\na\t1\n' >e.tsv
    dnas-view --from-tsv e.tsv -o e.dnas
    expect_sentence 1 '^dnas-ari: e.dnas: holds EMBEDDINGS where LABELS are needed' dnas-ari e.dnas
    expect_sentence 1 '^dnas-ari: e.tsv: holds EMBEDDINGS where LABELS are needed' dnas-ari e.tsv
    printf 'id\tcluster\tlabel\na\t-2\tx\n' >l.tsv
    expect_sentence 1 '^dnas-ari: l.tsv: row 1 has cluster -2, below -1' dnas-ari l.tsv
    printf 'id\tcluster\tlabel\na\t1.5\tx\n' >l.tsv
    expect_sentence 1 "^dnas-ari: l.tsv: line 2 has '1.5' of column 'cluster' is no number of type i32" dnas-ari l.tsv
    printf 'id\tcluster\tlabel\na\t1\n' >l.tsv
    expect_sentence 1 '^dnas-ari: l.tsv: line 2 has fewer fields than line 1 has names' dnas-ari l.tsv
    printf 'id\tcluster\tlabel\na\t1\tx\ty\n' >l.tsv
    expect_sentence 1 '^dnas-ari: l.tsv: line 2 has more fields than line 1 has names' dnas-ari l.tsv
    printf 'a,b\n1,2\n' >l.csv
    expect_sentence 1 "^dnas-ari: l.csv: line 1 names no column 'id'" dnas-ari l.csv
}

run_tests
