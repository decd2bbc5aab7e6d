#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# kmedoid-bin.sh - dnas-kmedoid-bin: bins, thresholds, the files for other
# programs, and what it refuses.
# shellcheck source=tests/lib.sh
. tests/lib.sh

# Three rows one way, two another, one alone; ids as they come in metagenomes.
six() {
    printf 'id\tembedding_0\tembedding_1\tembedding_2\tlength_bp\tlabel\tnote\n' >e.tsv
    printf 'RL|S1|C1\t1\t0\t0\t12\tx\tone\nb/2\t2\t0\t0\t8\tx\t\nc\t0\t1\t0\t6\ty\tthree\n' >>e.tsv
    printf 'd#4\t0\t5\t0\t6\ty\t\ne\t4\t1\t0\t100\tx\t\nf\t0\t0\t1\t3\t\tsix\n' >>e.tsv
    dnas-view --from-tsv e.tsv -o e.dnas
    printf '>RL|S1|C1 first\nGGCCAATTGGCC\n>extra\nACGTN\n>b/2\nacgtNNNN\n>c\nAAAAAA\n>d#4\nGGGGGG\n>e\n' >s.fa
    awk 'BEGIN { for (i = 0; i < 100; i++) printf "%s", i < 50 ? "g" : "T"; print "" }' >>s.fa
    printf '>f\nUUC\n' >>s.fa
}
labels() { # labels ARGUMENTS...: "id:cluster ..."
    expect_ok dnas-kmedoid-bin -q --format tsv "$@"
    awk -F '\t' 'NR > 1 { printf "%s:%s ", $1, $2 }' "$TMP/out"
}
expect_labels() { # expect_labels WANT ARGUMENTS...
    local got
    got=$(labels "${@:2}")
    [ "$got" = "$1 " ] || fail "clusters are $got, not $1: ${*:2}"
}

test_bins() {
    six
    expect_ok dnas-kmedoid-bin --threshold 0.5 --min-bin-size 2 --format tsv e.dnas
    expect_text "$TMP/out" $'id\tcluster\tscore\tlength_bp\tlabel\tnote
RL|S1|C1\t0\t0.996682584\t12\tx\tone
b/2\t0\t0.996682584\t8\tx\t
c\t1\t1\t6\ty\tthree
d#4\t1\t1\t6\ty\t
e\t0\t0.986663401\t100\tx\t
f\t-1\t0\t3\t\tsix'
    expect_text "$TMP/err" 'dnas-kmedoid-bin: threshold 0.5: 2 bins hold 5 of 6 sequences; 3 rounds'
    expect_labels 'RL|S1|C1:0 b/2:0 c:-1 d#4:-1 e:0 f:-1' --threshold 0.5 --min-bin-size 3 e.dnas
    expect_labels 'RL|S1|C1:0 b/2:0 c:1 d#4:1 e:-1 f:-1' --threshold 0.99 --min-bin-size 2 e.dnas
    # By inner products e is near all but f.
    expect_labels 'RL|S1|C1:0 b/2:0 c:0 d#4:0 e:0 f:1' --threshold 0.99 --min-bin-size 1 --no-normalise e.dnas
    expect_ok dnas-kmedoid-bin -v --threshold 0.5 e.dnas
    grep -qx 'dnas-kmedoid-bin: 38.9 % of all pairs reach the threshold; 3 bins were smaller than 10' "$TMP/err" ||
        fail "says $(cat "$TMP/err")"
    grep -qx 'dnas-kmedoid-bin: threshold 0.5: 0 bins hold 0 of 6 sequences; 3 rounds' "$TMP/err" || fail "says $(cat "$TMP/err")"
}

test_compat_and_limit() {
    six
    # Numbers are those of the rounds, from 1.
    expect_labels 'RL|S1|C1:1 b/2:1 c:2 d#4:2 e:1 f:3' --compat dnabert-s --threshold 0.5 --min-bin-size 1 e.dnas
    expect_ok dnas-kmedoid-bin --max-rounds 1 --threshold 0.5 --min-bin-size 1 --format tsv e.dnas
    expect_text "$TMP/err" 'dnas-kmedoid-bin: threshold 0.5: 1 bins hold 3 of 6 sequences; 1 rounds, the limit: sequences are left that were not looked at (see --max-rounds)'
    cut -f 2 "$TMP/out" >got
    expect_text got $'cluster\n0\n0\n-1\n-1\n0\n-1'
    # Above 1 nothing is like itself: the reference goes on until its rounds are used up.
    expect_ok dnas-kmedoid-bin --compat dnabert-s --threshold 1.5 e.dnas
    grep -q '0 bins hold 0 of 6 sequences; 1000 rounds, the limit' "$TMP/err" || fail "says $(cat "$TMP/err")"
    expect_ok dnas-kmedoid-bin --threshold 1.5 e.dnas
    expect_text "$TMP/err" 'dnas-kmedoid-bin: threshold 1.5: 0 bins hold 0 of 6 sequences; 6 rounds'
}

test_threshold_from_labels() {
    six
    # Of x: 0.990, 0.990, 0.980 with their mean; of y: 1 and 1; f has no label.
    expect_ok dnas-kmedoid-bin --threshold-from e.dnas --percentile 0 --min-bin-size 1 --format tsv e.dnas
    grep -qx 'dnas-kmedoid-bin: threshold 0.98009[0-9]*: .*' "$TMP/err" || fail "says $(cat "$TMP/err")"
    expect_ok dnas-kmedoid-bin --threshold-from e.dnas --percentile 59 e.dnas
    grep -qx 'dnas-kmedoid-bin: threshold 0.9900[0-9]*: .*' "$TMP/err" || fail "says $(cat "$TMP/err")"
    expect_ok dnas-kmedoid-bin --threshold-from e.dnas e.dnas # 70: the fourth of five
    grep -qx 'dnas-kmedoid-bin: threshold 1: .*' "$TMP/err" || fail "says $(cat "$TMP/err")"
    cut -f 1-5 e.tsv >plain.tsv && dnas-view --from-tsv plain.tsv -o plain.dnas
    expect_sentence 1 '^dnas-kmedoid-bin: plain.dnas: no row has a label' dnas-kmedoid-bin --threshold-from plain.dnas e.dnas
    printf 'id\tembedding_0\tlabel\na\t1\tx\n' >one.tsv && dnas-view --from-tsv one.tsv -o one.dnas
    expect_sentence 1 '^dnas-kmedoid-bin: one.dnas: has 1 dimensions, and the rows to compare it with have 3' dnas-kmedoid-bin --threshold-from one.dnas e.dnas
    expect_sentence 1 '^dnas-kmedoid-bin: none.dnas: .*No such file' dnas-kmedoid-bin --threshold-from none.dnas e.dnas
    expect_sentence 1 '^dnas-kmedoid-bin: .*holds LABELS where EMBEDDINGS' bash -c 'dnas-kmedoid-bin -q e.dnas -o l.dnas && dnas-kmedoid-bin --threshold-from l.dnas e.dnas'
}

test_embeddings_must_be_of_one_kind() {
    random_fasta 40 3 >s.fa
    dnas-embed -m tnf-canonical s.fa -o a.dnas
    dnas-embed -m tnf-canonical --truncate 200 s.fa -o b.dnas
    dnas-view a.dnas >a.tsv && dnas-view --from-tsv a.tsv -o plain.dnas
    expect_ok dnas-kmedoid-bin -q --threshold-from a.dnas a.dnas
    expect_sentence 1 '^dnas-kmedoid-bin: b.dnas: was made by another model or with other settings' dnas-kmedoid-bin --threshold-from b.dnas a.dnas
    expect_ok dnas-kmedoid-bin --threshold-from plain.dnas a.dnas
    grep -q 'plain.dnas: taken as it is, though one of the streams does not say how it was made' "$TMP/err" ||
        fail "no note: $(cat "$TMP/err")"
}

test_threshold_without_labels() {
    six
    # With four rows a row's third neighbour is its last: the least similar pair decides.
    expect_ok dnas-kmedoid-bin --min-bin-size 4 e.dnas
    grep -qx 'dnas-kmedoid-bin: threshold 0: .*' "$TMP/err" || fail "says $(cat "$TMP/err")"
    expect_ok dnas-kmedoid-bin --min-bin-size 2 --no-normalise e.dnas
    grep -qx 'dnas-kmedoid-bin: threshold 0: .*' "$TMP/err" || fail "says $(cat "$TMP/err")" # f's nearest
    random_fasta 90 3 >s.fa
    dnas-embed -m tnf-canonical s.fa -o t.dnas
    expect_ok dnas-kmedoid-bin t.dnas -o b.dnas
    expect_ok dnas-ari b.dnas
    awk -F '\t' 'NR == 2 && $2 > 0.5 && $3 >= 3 && $5 > 0.8 { good = 1 } END { exit !good }' "$TMP/out" || fail "poor bins: $(cat "$TMP/out")"
}

test_files() {
    six
    expect_ok dnas-kmedoid-bin -q --threshold 0.5 --min-bin-size 2 --contig2bin c2b.tsv --bioboxes b.binning \
        --sample-id 'CAMI_1' --bin-table t.tsv --bins bins/ --sequences s.fa e.dnas -o l.dnas
    expect_text c2b.tsv $'RL|S1|C1\tbin.0\nb/2\tbin.0\nc\tbin.1\nd#4\tbin.1\ne\tbin.0'
    expect_text b.binning $'@Version:0.9.1\n@SampleID:CAMI_1\n@@SEQUENCEID\tBINID\nRL|S1|C1\tbin.0\nb/2\tbin.0\nc\tbin.1\nd#4\tbin.1\ne\tbin.0'
    # 120 bp in three, 100 of them in one; 8 + 2 + 50 of 12 + 4 + 100 letters are G or C.
    expect_text t.tsv $'bin\tsequences\tbp\tn50\tgc\tmean_score\nbin.0\t3\t120\t100\t0.517241379\t0.993342857\nbin.1\t2\t12\t6\t0.5\t1'
    [ "$(cd bins && echo *) " = 'bin.0.fa bin.1.fa unbinned.fa ' ] || fail "the folder has $(ls bins)"
    {
        printf '>RL|S1|C1\nGGCCAATTGGCC\n>b/2\nacgtNNNN\n>e\n'
        sed -n '/^>e$/,/^>f$/p' s.fa | sed '1d;$d' | fold -w 80
    } >want
    expect_same want bins/bin.0.fa
    expect_text bins/bin.1.fa $'>c\nAAAAAA\n>d#4\nGGGGGG'
    expect_text bins/unbinned.fa $'>extra\nACGTN\n>f\nUUC'
    [ ! -e bins.part ] && [ -z "$(ls ./*.part 2>/dev/null)" ] || fail "parts are left: $(ls -d ./*.part)"
    expect_ok dnas-kmedoid-bin --threshold 0.5 --min-bin-size 2 --bioboxes b.binning e.dnas
    grep -q "warning: b.binning: 1 ids have a '#', from which on AMBER does not read them" "$TMP/err" || fail "no warning"
    # Reading them back gives the same sequences, compressed or not.
    expect_ok dnas-kmedoid-bin -q --threshold 0.5 --min-bin-size 2 --bins gz --sequences s.fa --gzip-bins e.dnas -o l.dnas
    [ "$(cd gz && echo *) " = 'bin.0.fa.gz bin.1.fa.gz unbinned.fa.gz ' ] || fail "the folder has $(ls gz)"
    for f in bin.0 bin.1 unbinned; do
        gzip -dc gz/$f.fa.gz >got || fail "gzip refuses $f"
        expect_same got bins/$f.fa
        expect_ok dnas-embed -q -m tnf gz/$f.fa.gz # BGZF with its end
    done
}

test_table_without_sequences() {
    six
    expect_ok dnas-kmedoid-bin -q --threshold 0.5 --min-bin-size 2 --bin-table t.tsv e.dnas -o l.dnas
    expect_text t.tsv $'bin\tsequences\tbp\tn50\tgc\tmean_score\nbin.0\t3\t120\t100\tNA\t0.993342857\nbin.1\t2\t12\t6\tNA\t1'
    cut -f 1-4 e.tsv >short.tsv && dnas-view --from-tsv short.tsv -o short.dnas
    expect_ok dnas-kmedoid-bin -q --threshold 0.5 --min-bin-size 2 --bin-table t.tsv short.dnas -o l.dnas
    expect_text t.tsv $'bin\tsequences\tbp\tn50\tgc\tmean_score\nbin.0\t3\tNA\tNA\tNA\t0.993342857\nbin.1\t2\tNA\tNA\tNA\t1'
    # Half of the letters, exactly, is enough for N50.
    sed 's/\t100\tx/\t20\tx/' e.tsv >half.tsv && dnas-view --from-tsv half.tsv -o half.dnas
    expect_ok dnas-kmedoid-bin -q --threshold 0.5 --min-bin-size 2 --bin-table t.tsv half.dnas -o l.dnas
    [ "$(sed -n 2p t.tsv | cut -f 3,4)" = $'40\t20' ] || fail "N50 of 12, 8 and 20 is $(sed -n 2p t.tsv)"
    # Under --compat bins have gaps in their numbers: no lines for those.
    expect_ok dnas-kmedoid-bin -q --compat dnabert-s --threshold 0.5 --min-bin-size 3 --bin-table t.tsv --contig2bin c.tsv e.dnas -o l.dnas
    expect_text t.tsv $'bin\tsequences\tbp\tn50\tgc\tmean_score\nbin.1\t3\t120\t100\tNA\t0.993342857'
    expect_text c.tsv $'RL|S1|C1\tbin.1\nb/2\tbin.1\ne\tbin.1'
}

# Pipelines want every file they were promised.
test_nothing_to_bin() {
    six
    expect_ok dnas-kmedoid-bin -q --contig2bin c.tsv --bioboxes b.binning --bin-table t.tsv --bins bins --sequences s.fa e.dnas -o l.dnas
    [ -e c.tsv ] && [ ! -s c.tsv ] || fail "c.tsv is not there, or not empty"
    expect_text b.binning $'@Version:0.9.1\n@SampleID:sample\n@@SEQUENCEID\tBINID'
    expect_text t.tsv $'bin\tsequences\tbp\tn50\tgc\tmean_score'
    [ "$(ls bins)" = unbinned.fa ] || fail "the folder has $(ls bins)"
    [ "$(grep -c '>' bins/unbinned.fa)" = 7 ] || fail "not all are unbinned"
    head -n 1 e.tsv >none.tsv && dnas-view --from-tsv none.tsv -o none.dnas && : >none.fa
    expect_ok dnas-kmedoid-bin --contig2bin c2.tsv --bioboxes b2.binning --bin-table t2.tsv --bins bins2 --sequences none.fa --gzip-bins none.dnas -o l2.dnas
    [ -e c2.tsv ] && [ ! -s c2.tsv ] || fail "c2.tsv is not there, or not empty"
    expect_same b.binning b2.binning
    expect_same t.tsv t2.tsv
    [ "$(ls bins2)" = unbinned.fa.gz ] || fail "the folder has $(ls bins2)"
    [ "$(gzip -dc bins2/unbinned.fa.gz | wc -c)" = 0 ] || fail "something is unbinned of nothing"
    expect_ok dnas-view -c l2.dnas
    expect_text "$TMP/out" 0
    sed -n 1,2p e.tsv >one.tsv && dnas-view --from-tsv one.tsv -o one.dnas
    expect_labels 'RL|S1|C1:0' --min-bin-size 1 one.dnas
}

# More files than may be open, and more letters than wait in memory for one.
test_many_bins() {
    awk 'BEGIN { n = 60
        printf "id"; for (c = 0; c < n; c++) printf "\tembedding_%d", c; print ""
        for (i = 0; i < 2 * n; i++) {
            printf "s%d", i; for (c = 0; c < n; c++) printf "\t%d", c == i % n; print "" } }' >e.tsv
    dnas-view --from-tsv e.tsv -o e.dnas
    awk 'BEGIN { for (i = 0; i < 120; i++) {
            printf ">s%d\n", i; n = i == 7 ? 3000 : 1
            for (k = 0; k < n; k++) print "ACGTTGCAACGTACGTTGCAACGTACGTTGCAACGTACGTTGCAACGT" substr("AACC", i % 4 + 1, 1) } }' >s.fa
    expect_ok bash -c 'ulimit -n 24 && exec "$@"' _ dnas-kmedoid-bin -q --threshold 0.5 --min-bin-size 2 --bins b --sequences s.fa e.dnas -o l.dnas
    set -- b/*
    [ $# = 61 ] || fail "$# files"
    [ ! -s b/unbinned.fa ] || fail "some are unbinned"
    awk '!/>/' b/bin.7.fa | fold -w 1 | sort | uniq -c >got
    awk '/>/ { s = $0 } !/>/ && (s == ">s7" || s == ">s67")' s.fa | fold -w 1 | sort | uniq -c >want
    expect_same want got
    expect_ok dnas-kmedoid-bin -q --threshold 0.5 --min-bin-size 2 --bins z --sequences s.fa --gzip-bins e.dnas -o l.dnas
    for i in 0 7 59; do
        gzip -dc z/bin.$i.fa.gz >got
        expect_same b/bin.$i.fa got
    done
}

test_folders_of_earlier_runs() {
    six
    local args=(-q --threshold 0.5 --min-bin-size 2 --bins b --sequences s.fa)
    mkdir b && expect_ok dnas-kmedoid-bin "${args[@]}" e.dnas -o l.dnas # an empty one is taken
    [ -s b/bin.0.fa ] || fail "no bins"
    rm l.dnas
    expect_sentence 1 '^dnas-kmedoid-bin: b: is not empty; remove it or name another folder' dnas-kmedoid-bin "${args[@]}" e.dnas -o l.dnas
    [ ! -e l.dnas ] || fail "there is a result"
    rm -r b && mkdir b.part && touch b.part/bin.77.fa b.part/unbinned.fa.gz
    expect_ok dnas-kmedoid-bin "${args[@]}" e.dnas -o l.dnas
    [ ! -e b/bin.77.fa ] || fail "a bin of a broken run is left"
    rm -r b && mkdir b.part && touch b.part/mine
    expect_sentence 1 '^dnas-kmedoid-bin: b.part: cannot be removed: ' dnas-kmedoid-bin "${args[@]}" e.dnas
    [ -e b.part/mine ] || fail "a file that is not ours was removed"
    rm -r b.part && : >b
    expect_sentence 1 '^dnas-kmedoid-bin: b: ' dnas-kmedoid-bin "${args[@]}" e.dnas
    expect_sentence 1 '^dnas-kmedoid-bin: no/b.part: cannot be made: ' dnas-kmedoid-bin -q --bins no/b --sequences s.fa e.dnas
    expect_sentence 1 '^dnas-kmedoid-bin: no/c.part: ' dnas-kmedoid-bin -q --contig2bin no/c e.dnas
}

# After an error there is nothing that looks like a result.
test_nothing_is_left_of_a_failure() {
    six
    local args=(-q --threshold 0.5 --min-bin-size 2 --contig2bin c --bioboxes x --bin-table t --bins b --sequences)
    left() {
        [ -z "$(ls -d c x t b l.dnas ./*.part 2>/dev/null)" ] || fail "left: $(ls -d c x t b l.dnas ./*.part 2>/dev/null)"
    }
    sed '/^>c$/,/^AAAA/d' s.fa >short.fa
    expect_sentence 1 "^dnas-kmedoid-bin: short.fa: has no sequence 'c'; give the FASTA that was embedded" dnas-kmedoid-bin "${args[@]}" short.fa e.dnas -o l.dnas
    left
    cat s.fa s.fa >twice.fa
    expect_sentence 1 "^dnas-kmedoid-bin: twice.fa: record 8 \('RL\|S1\|C1'\)" dnas-kmedoid-bin "${args[@]}" twice.fa e.dnas -o l.dnas
    left
    expect_sentence 1 '^dnas-kmedoid-bin: none.fa: ' dnas-kmedoid-bin "${args[@]}" none.fa e.dnas -o l.dnas
    left
    sed '3s/^b.2/RL|S1|C1/' e.tsv >dup.tsv && dnas-view --from-tsv dup.tsv -o dup.dnas
    expect_sentence 1 "^dnas-kmedoid-bin: row 2 has the id 'RL\|S1\|C1' of an earlier row: files of bins need ids that differ" dnas-kmedoid-bin "${args[@]}" s.fa dup.dnas -o l.dnas
    left
    expect_labels 'RL|S1|C1:0 RL|S1|C1:0 c:1 d#4:1 e:0 f:-1' --threshold 0.5 --min-bin-size 2 dup.dnas # LABELS go by rows
    head -c 500 e.dnas >cut.dnas
    expect_status 1 dnas-kmedoid-bin "${args[@]}" s.fa cut.dnas -o l.dnas
    left
    expect_status 1 dnas-kmedoid-bin --threshold 0.5 --contig2bin /dev/full --min-bin-size 1 e.dnas -o l.dnas
    [ ! -e l.dnas ] || fail "a result in spite of a full disk"
    sed '2s/^\([^\t]*\)\t1/\1\tnan/' e.tsv >nan.tsv
    expect_status 1 bash -c 'dnas-view --from-tsv nan.tsv | dnas-kmedoid-bin --threshold 0.5 -o l.dnas'
    left
}

test_usage() {
    six
    expect_sentence 2 '--bins needs the sequences too' dnas-kmedoid-bin --bins b e.dnas
    expect_sentence 2 '--sequences is for --bins and --bin-table' dnas-kmedoid-bin --sequences s.fa e.dnas
    expect_sentence 2 '--sequences takes a file' dnas-kmedoid-bin --bins b --sequences - e.dnas
    expect_sentence 2 '--gzip-bins compresses the files of --bins' dnas-kmedoid-bin --gzip-bins e.dnas
    expect_sentence 2 '--bins takes the name of a folder' dnas-kmedoid-bin --bins '' --sequences s.fa e.dnas
    expect_sentence 2 '--sample-id takes a text without control characters' dnas-kmedoid-bin --sample-id '' e.dnas
    expect_sentence 2 '--sample-id takes a text without control characters' dnas-kmedoid-bin --sample-id $'a\tb' e.dnas
    expect_sentence 2 '--threshold and --threshold-from are two ways' dnas-kmedoid-bin --threshold 0.5 --threshold-from e.dnas e.dnas
    expect_sentence 2 '--percentile is for --threshold-from' dnas-kmedoid-bin --percentile 50 e.dnas
    expect_sentence 2 '--percentile takes a number from 0 to 100' dnas-kmedoid-bin --threshold-from e.dnas --percentile 101 e.dnas
    expect_sentence 2 '--min-bin-size takes a number from 1' dnas-kmedoid-bin --min-bin-size 0 e.dnas
    expect_sentence 2 '--max-rounds takes a number from 1' dnas-kmedoid-bin --max-rounds 0 e.dnas
    expect_sentence 2 '--compat' dnas-kmedoid-bin --compat metabat e.dnas
    expect_sentence 2 '--threshold takes a number' dnas-kmedoid-bin --threshold nan e.dnas
}

test_odd_rows() {
    # All equal; all zero; zero rows among others.
    awk 'BEGIN { print "id\tembedding_0\tembedding_1"; for (i = 0; i < 12; i++) print "s" i "\t2\t1" }' >e.tsv
    dnas-view --from-tsv e.tsv -o e.dnas
    expect_ok dnas-kmedoid-bin --threshold 0.9 e.dnas -o l.dnas
    expect_text "$TMP/err" 'dnas-kmedoid-bin: threshold 0.9: 1 bins hold 12 of 12 sequences; 1 rounds'
    sed 's/2\t1/0\t0/' e.tsv >z.tsv && dnas-view --from-tsv z.tsv -o z.dnas
    expect_ok dnas-kmedoid-bin --threshold 0.9 z.dnas -o l.dnas
    expect_text "$TMP/err" $'dnas-kmedoid-bin: warning: 12 rows are all zero: they have no direction and are like no others
dnas-kmedoid-bin: threshold 0.9: 0 bins hold 0 of 12 sequences; 12 rounds'
    sed '3s/2\t1/0\t0/' e.tsv >m.tsv && dnas-view --from-tsv m.tsv -o m.dnas
    expect_ok dnas-kmedoid-bin -q --threshold 0.9 --format tsv m.dnas
    [ "$(cut -f 2,3 "$TMP/out" | sed -n 3p)" = $'-1\t0' ] || fail "a zero row is $(sed -n 3p "$TMP/out")"
    [ "$(grep -c $'\t0\t1$' "$TMP/out")" = 11 ] || fail "bins are $(cat "$TMP/out")"
}

run_tests
