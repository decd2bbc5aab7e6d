#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# binning.sh - dnas-ari --binning: bins in bioboxes' format, LABELS and tables
# against gold standards, by DNABERT-S's and AMBER's measures.
# shellcheck source=tests/lib.sh
. tests/lib.sh

# Genome a: 100 + 50 + 10 bp, b: 60 + 40, c: 30; bins and scores as in test_binning.c.
gold() {
    printf '@Version:0.9.1\n@SampleID:gut\n\n@@SEQUENCEID\tBINID\t_LENGTH\n'
    printf '%s\t%s\t%s\n' 'R|1' a 100 'R/2' a 50 'R#3' a 10 'R4' b 60 'R5' b 40 'R6' c 30
}
bins() {
    printf '# made by hand\n@SampleID:gut\n@Version:0.9.0\n@@SEQUENCEID\tBINID\n'
    printf '%s\t%s\n' 'R|1' bins/x.fa 'R/2' bins/x.fa 'R#3' '10' 'R4' '9' 'R5' bins/x.fa
}
field() { # field NAME [LINE [FILE]]: of a table; LINE 1 is the first of values
    awk -F '\t' -v name="$1" -v line="${2:-1}" '
        NR == 1 { for (i = 1; i <= NF; i++) if ($i == name) c = i; if (!c) print "no column " name }
        NR == line + 1 { print $c }' "${3:-$TMP/out}"
}
expect_fields() { # expect_fields NAME=VALUE...: of the first line of values
    local f
    for f in "$@"; do
        [ "$(field "${f%%=*}")" = "${f#*=}" ] || fail "${f%%=*} is $(field "${f%%=*}"), not ${f#*=}"
    done
}

test_amber() {
    gold >gold.binning
    bins >bins.binning
    expect_ok dnas-ari --binning amber --truth gold.binning bins.binning
    [ ! -s "$TMP/err" ] || fail "says: $(cat "$TMP/err")"
    expect_fields sample=gut sequences=6 sequences_binned=5 bins=3 genomes=3 \
        amber_binned_bp=0.896551724 amber_purity_bp=0.929824561 amber_completeness_bp=0.5125 \
        amber_f1_bp=0.660787593 amber_completeness_cami1_bp=0.4 amber_f1_cami1_bp=0.559366755 \
        amber_purity_weighted_bp=0.846153846 amber_completeness_weighted_bp=0.724137931 \
        amber_f1_weighted_bp=0.780405405 amber_accuracy_bp=0.75862069 \
        amber_binned_seq=0.833333333 amber_purity_seq=0.888888889 \
        amber_completeness_seq=0.388888889 amber_rand_seq=0.5 amber_ari_seq=-0.0869565217 \
        amber_bins_complete_50_foreign_10=1 amber_bins_complete_90_foreign_5=0
    grep -q dnaberts "$TMP/out" && fail "DNABERT-S's scores were not asked for"
    expect_ok dnas-ari --binning amber --truth gold.binning --json bins.binning
    grep -q '^{"sample": "gut", "sequences": 6, .*"amber_ari_seq": -0.0869565217,.*}$' "$TMP/out" ||
        fail "JSON: $(cat "$TMP/out")"
}

test_dnabert_s() {
    gold >gold.binning
    bins >bins.binning
    expect_ok dnas-ari --binning dnabert-s --truth gold.binning bins.binning
    expect_fields dnaberts_binned_species=2 dnaberts_binned_f1_above_0.6=2 \
        dnaberts_binned_f1_above_0.7=0 dnaberts_binned_recall_above_0.4=2 \
        dnaberts_binned_recall_above_0.5=1 dnaberts_binned_ari=-0.0869565217
    grep -qE 'whole|amber' "$TMP/out" && fail "others' scores were not asked for"
    expect_ok dnas-ari --binning dnabert-s-whole --truth gold.binning bins.binning
    expect_fields dnaberts_whole_species=3 dnaberts_whole_f1_above_0.6=2 dnaberts_whole_ari=0.0740740741
    grep -qE 'dnaberts_binned|amber' "$TMP/out" && fail "others' scores were not asked for"
    expect_ok dnas-ari --binning all --truth gold.binning bins.binning
    expect_fields dnaberts_binned_species=2 dnaberts_whole_species=3 amber_accuracy_bp=0.75862069
}

# What the original's code made of its own bins.
test_golden() {
    local column line=0 k
    for column in 2 3 4; do
        line=$((line + 1))
        awk -v c=$column 'NR == 1 { print "id\tcluster\tlabel" } NR > 1 { print NR "\t" $c "\t" $1 }' \
            "$DATA/golden/evaluate_small/binning.tsv" >labels.tsv
        expect_ok dnas-ari -q --binning dnabert-s labels.tsv
        for k in f1 recall; do
            for t in 1 2 3 4 5 6 7 8 9; do
                [ "$(field dnaberts_binned_${k}_above_0.$t)" = \
                    "$(field ${k}_above_0.$t $line "$DATA/golden/evaluate_small/binning_scores.tsv")" ] ||
                    fail "$k above 0.$t of column $column: $(field dnaberts_binned_${k}_above_0.$t)"
            done
        done
    done
}

test_tables() {
    gold >gold.binning
    bins >bins.binning
    expect_ok dnas-ari --binning all --truth gold.binning --per-bin b.tsv --per-genome g.tsv bins.binning
    cut -f 1-5,6-8 b.tsv >some
    expect_text some $'sample\tbin\tsequences\tbp\tamber_genome\tamber_purity_bp\tamber_completeness_bp\tamber_f1_bp
gut\t9\t1\t60\tb\t1\t0.6\t0.75
gut\t10\t1\t10\ta\t1\t0.0625\t0.117647059
gut\tbins/x.fa\t3\t190\ta\t0.789473684\t0.9375\t0.857142857'
    cut -f 2,12,13 b.tsv >some
    expect_text some $'bin\tdnaberts_species\tdnaberts_shared\n9\tb\t1\n10\t\t0\nbins/x.fa\ta\t2'
    cut -f 2-6,13- g.tsv >some
    expect_text some $'genome\tsequences\tbp\tsequences_binned\tamber_bin\tdnaberts_bin\tdnaberts_shared\tdnaberts_binned_f1\tdnaberts_binned_recall\tdnaberts_whole_f1\tdnaberts_whole_recall
a\t3\t160\t3\tbins/x.fa\tbins/x.fa\t2\t0.666666667\t0.666666667\t0.666666667\t0.666666667
b\t2\t100\t2\t9\t9\t1\t0.666666667\t0.5\t0.666666667\t0.5
c\t1\t30\t0\t\t\t0\tnan\tnan\t0\t0'
    expect_sentence 2 '--per-bin and --per-genome need --binning' dnas-ari --per-bin b.tsv --truth gold.binning bins.binning
    # No bins at all: the declared files are there, with their names of columns.
    printf '@SampleID:gut\n@@SEQUENCEID\tBINID\n' >none.binning
    expect_ok dnas-ari --binning all --truth gold.binning --per-bin b.tsv --per-genome g.tsv none.binning
    [ "$(wc -l <b.tsv)" = 1 ] || fail "bins: $(cat b.tsv)"
    [ "$(wc -l <g.tsv)" = 4 ] || fail "genomes: $(cat g.tsv)"
    expect_fields sequences_binned=0 amber_binned_bp=0 amber_completeness_bp=0 amber_purity_bp=nan dnaberts_whole_species=3
}

# The same bins as LABELS, with the truth in any form: the same scores.
test_forms() {
    gold >gold.binning
    bins >bins.binning
    dnas-ari --binning all --truth gold.binning bins.binning | cut -f 2- >want
    printf 'id\tcluster\tscore\tlength_bp\tlabel\n' >l.tsv
    printf '%s\t%s\t1\t%s\t%s\n' 'R|1' 7 100 a 'R/2' 7 50 a 'R#3' 5 10 a R4 3 60 b R5 7 40 b R6 -1 30 c >>l.tsv
    dnas-view --from-tsv l.tsv -o l.dnas
    cut -f 1,5 l.tsv >truth.tsv
    for f in l.tsv l.dnas; do
        expect_ok dnas-ari --binning all $f
        expect_same want "$TMP/out"
        expect_ok dnas-ari --binning all --truth truth.tsv $f
        expect_same want "$TMP/out"
        expect_ok dnas-ari --binning all --truth gold.binning $f
        cut -f 2- "$TMP/out" >got
        expect_same want got
    done
    gzip -nc gold.binning >gold.gz
    gzip -nc bins.binning >bins.gz
    expect_ok dnas-ari --binning all --truth gold.gz - <bins.gz
    cut -f 2- "$TMP/out" >got
    expect_same want got
    # Rows that are absent count as those in no bin do.
    grep -v R6 l.tsv >short.tsv
    expect_ok dnas-ari --binning all --truth gold.binning short.tsv
    cut -f 2- "$TMP/out" >got
    expect_same want got
    # Without lengths: all but what is in bp.
    cut -f 1,2,5 l.tsv >bare.tsv
    expect_ok dnas-ari --binning all bare.tsv
    grep -q 'warning: lengths are not known of all sequences, so there are no scores in bp' "$TMP/err" ||
        fail "says: $(cat "$TMP/err")"
    expect_fields amber_purity_bp=nan amber_bins_complete_50_foreign_10=nan amber_purity_seq=0.888888889
    expect_ok dnas-ari --binning amber --json -q bare.tsv
    grep -q '"amber_ari_bp": null' "$TMP/out" || fail "JSON: $(cat "$TMP/out")"
}

# The order of rows changes nothing but ties of AMBER's.
test_order() {
    gold >gold.binning
    bins >bins.binning
    expect_ok dnas-ari --binning all --truth gold.binning bins.binning
    cp "$TMP/out" want
    { gold | sed -n '1,4p'; gold | sed '1,4d' | tac; } >tac.gold
    { bins | sed -n '1,4p'; bins | sed '1,4d' | tac; } >tac.bins
    expect_ok dnas-ari --binning all --truth tac.gold tac.bins
    expect_same want "$TMP/out"
}

# Files as they come: columns in any order and case, DOS lines, blank lines, comments, further
# columns, no @Version, blanks, whole header lines as ids.
test_liberal_reading() {
    gold >gold.binning
    bins >bins.binning
    dnas-ari --binning all --truth gold.binning bins.binning >want
    printf '\r\n@sampleid: gut \r\n@@binid\tTaxID\tLength\t_NOTE\tSequenceId\r\n' >odd.gold
    gold | sed '1,4d' | awk -F '\t' '{ print $2 "\t562\t" $3 "\tnote#1\t" $1 "\r"; print "# so" ; print "" }' >>odd.gold
    bins | sed 's/^R4/R4 a contig of some length/; s/^R5\t/R5 \t /' >odd.bins
    expect_ok dnas-ari --binning all --truth odd.gold odd.bins
    expect_same want "$TMP/out"
    # No name on one side, another on the other: one sample is compared with one.
    bins | sed 's/^@SampleID:gut/@SampleID:/' >unnamed.bins
    expect_ok dnas-ari --binning all --truth gold.binning unnamed.bins
    expect_same want "$TMP/out"
    bins | grep -v @S >unnamed.bins # not even @@SEQUENCEID
    expect_status 1 dnas-ari --binning all --truth gold.binning unnamed.bins
    bins | grep -v @SampleID | sed 1d >unnamed.bins
    expect_ok dnas-ari --binning all --truth gold.binning unnamed.bins
    expect_same want "$TMP/out"
    # A row said twice counts once; an empty bin is none.
    { bins && bins | tail -n 1 && printf 'R6\t\n'; } >twice.bins
    expect_ok dnas-ari --binning all --truth gold.binning twice.bins
    expect_same want "$TMP/out"
    expect_text "$TMP/err" 'dnas-ari: warning: 1 rows say again what others said, and count once'
    { bins && printf 'R77\tnew\n'; } >unknown.bins
    expect_ok dnas-ari --binning all --truth gold.binning unknown.bins
    expect_same want "$TMP/out"
    expect_text "$TMP/err" 'dnas-ari: warning: 1 rows have no true label and are left out'
}

test_several_samples() {
    { gold && printf '\n' && gold | sed 's/:gut/:skin/; s/^R/S/'; } >gold.binning
    { bins | sed 's/:gut/:skin/; s/^R/S/' && bins; } >bins.binning
    expect_ok dnas-ari --binning amber --truth gold.binning bins.binning
    cut -f 2- "$TMP/out" >got
    [ "$(sed -n 2p got)" = "$(sed -n 3p got)" ] || fail "equal samples, different scores"
    [ "$(field sample 1):$(field sample 2)" = gut:skin ] || fail "samples: $(cut -f 1 "$TMP/out")"
    expect_ok dnas-ari --binning amber --json --truth gold.binning bins.binning
    [ "$(grep -c '^{"sample": ' "$TMP/out")" = 2 ] || fail "JSON: $(cat "$TMP/out")"
    # The same ids in both samples are different sequences.
    { gold && gold | sed 's/:gut/:skin/; s/\ta\t/\tz\t/'; } >same.gold
    { bins && bins | sed 's/:gut/:skin/'; } >same.bins
    expect_ok dnas-ari --binning amber --truth same.gold same.bins --per-genome g.tsv
    expect_text <(cut -f 1,2 g.tsv) $'sample\tgenome\ngut\ta\ngut\tb\ngut\tc\nskin\tb\nskin\tc\nskin\tz'
    bins >one.binning
    expect_ok dnas-ari --binning amber --truth gold.binning one.binning
    expect_text "$TMP/err" 'dnas-ari: warning: 1 samples of gold.binning are not in one.binning: nothing of them is binned'
    [ "$(field sequences_binned 2)" = 0 ] || fail "bins of a sample that has none"
    bins | sed 's/:gut/:soil/' >soil.binning
    expect_sentence 1 "^dnas-ari: soil.binning: line 4: the sample 'soil' is not in gold.binning" \
        dnas-ari --binning amber --truth gold.binning soil.binning
    gold >one.gold
    expect_sentence 1 "^dnas-ari: bins.binning: line 13: has a second sample, 'gut', but one.gold has one" \
        dnas-ari --binning amber --truth one.gold bins.binning
    printf 'id\tcluster\nR4\t1\n' >l.tsv
    expect_sentence 1 '^dnas-ari: gold.binning: holds 2 samples, and LABELS are of one' \
        dnas-ari --binning amber --truth gold.binning l.tsv
}

test_without_binning() {
    gold >gold.binning
    bins >bins.binning
    expect_ok dnas-ari --truth gold.binning bins.binning
    cut -f 1-6 "$TMP/out" >some
    expect_text some $'sample\trows\tclustered\tclusters\tclasses\tari\ngut\t6\t0.833333333\t3\t2\t-0.0869565217'
    { bins && printf 'R4\tsecond\n'; } >two.binning
    expect_sentence 1 "^dnas-ari: 'R4' is in several bins: only --binning scores that" dnas-ari --truth gold.binning two.binning
    expect_ok dnas-ari --binning amber --truth gold.binning two.binning
    expect_fields sequences_binned=5 bins=4 amber_binned_bp=0.896551724
    { gold && printf 'R4\tc\t60\n'; } >shared.gold
    expect_sentence 1 "^dnas-ari: 'R4' is in several genomes: only --binning scores that" dnas-ari --truth shared.gold bins.binning
    expect_ok dnas-ari --binning amber --truth shared.gold bins.binning
}

test_what_it_refuses() {
    gold >gold.binning
    bins >bins.binning
    expect_sentence 1 '^dnas-ari: bins.binning: says nothing of genomes: give the gold standard with --truth' dnas-ari --binning all bins.binning
    refuse() { # refuse PATTERN TEXT: as bins
        printf '%b' "$2" >bad
        expect_sentence 1 "^dnas-ari: bad: $1" dnas-ari --binning all --truth gold.binning bad
    }
    refuse "line 2 names no column 'BINID'" '@SampleID:gut\n@@SEQUENCEID\tTAXID\nR4\t562\n'
    refuse "line 1 names no column 'SEQUENCEID'" '@@CONTIG\tBINID\nR4\tx\n'
    refuse "line 2 comes before the names of the columns" '@SampleID:gut\nR4\tx\n'
    refuse "has no line of column names" '@SampleID:gut\n'
    refuse "line 3 has fewer fields than there are columns" '@SampleID:gut\n@@SEQUENCEID\tBINID\nR4\n'
    refuse "line 2 has no id" '@@SEQUENCEID\tBINID\n\tx\n'
    refuse "line 1 is not '@KEY:VALUE'" '@Sample gut\n@@SEQUENCEID\tBINID\n'
    refuse "line 2 has the length '1.5', not a number from 1" '@@SEQUENCEID\tBINID\tLENGTH\nR4\tx\t1.5\n'
    refuse "line 2 has the length '0', not a number from 1" '@@SEQUENCEID\tBINID\tLENGTH\nR4\tx\t0\n'
    refuse "line 2 has the length '', not a number from 1" '@@SEQUENCEID\tBINID\tLENGTH\nR4\tx\t\n'
    refuse "line 2 has the length '-5', not a number from 1" '@@SEQUENCEID\tBINID\tLENGTH\nR4\tx\t-5\n'
    refuse "line 2: 'R4' has the length 61, and 60 elsewhere" '@@SEQUENCEID\tBINID\tLENGTH\nR4\tx\t61\n'
    refuse "line 2 is not UTF-8 text" '@@SEQUENCEID\tBINID\nR4\t\xff\n'
    { gold && printf 'long%s\ta\t9000000000000000000\n' 1 2 3 4; } >long.gold
    expect_sentence 1 '^dnas-ari: long.gold: has more than 2\^60 bp' dnas-ari --binning all --truth long.gold bins.binning
    refuse "line 2 is not UTF-8 text" '@@SEQUENCEID\tBINID\nR4\t\x01\n'
    printf 'id\tcluster\nR4\t1\nR4\t2\n' >twice.tsv
    expect_sentence 1 "^dnas-ari: twice.tsv: the id 'R4' comes twice, so --truth cannot be joined" dnas-ari --binning all --truth gold.binning twice.tsv
    printf '@@SEQUENCEID\tBINID\nQ\tx\n' >other
    expect_status 1 dnas-ari -q --binning all --truth gold.binning other
    expect_text "$TMP/err" 'dnas-ari: no row has a true label: use --truth, or --labels when embedding'
    head -c 100 gold.binning | gzip -nc | head -c 60 >cut.gz
    expect_sentence 1 '^dnas-ari: cut.gz: ' dnas-ari --binning all --truth cut.gz bins.binning
    # A table whose first id begins with the signs of the other format.
    printf '@x\ta\n#y\tb\n' >truth.tsv
    printf 'id\tcluster\n@x\t1\n#y\t2\n' >l.tsv
    expect_ok dnas-ari --truth truth.tsv l.tsv
    expect_fields rows=2 classes=2
}

run_tests
