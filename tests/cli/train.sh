#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# train.sh - dnas-train: where windows come from, what the model says, and what
# is refused.
# shellcheck source=tests/lib.sh
. tests/lib.sh

# Six species of three genera, a file each, of different composition.
genomes() {
    mkdir -p g
    awk 'BEGIN {
        x = 9
        split("Aa_a Aa_b Bb_a Bb_b Cc_a Cc_b", names, " ")
        split("AACGT ACCGT ACGGT ACGTT AACCG GGTTA", mix, " ")
        for (i = 1; i <= 6; i++) {
            f = "g/" names[i] ".fa"
            for (r = 1; r <= 2; r++) {
                print ">contig" r >f
                for (l = 0; l < 60; l++) {
                    line = ""
                    for (k = 0; k < 70; k++) {
                        x = (x * 16807) % 2147483647
                        line = line substr(mix[i], int(x / 16) % 5 + 1, 1)
                    }
                    print line >f
                }
            }
        }
    }'
}
train() { # train ARGUMENTS...: a small model
    dnas-train -q --arch kmer -k 3 --windows 30 --length 200-900 --no-pg "$@"
}
metadata() { # metadata FILE: the header of a safetensors file
    local n
    n=$(od -An -tu8 -N 8 "$1" | tr -d ' ')
    head -c $((8 + n)) "$1" | tail -c "$n"
}

test_species_are_told_apart() {
    genomes
    train -o m.safetensors g/*.fa || fail "training fails"
    for f in g/*.fa; do # pieces of six lines
        awk -v s="$(basename "$f" .fa)" '/^>/ { next }
            { t = t $0 } ++n % 6 == 0 { print ">" s n " label=" s "\n" t; t = "" }' "$f"
    done >pieces.fa
    expect_ok dnas-embed -m m.safetensors pieces.fa -o e.dnas
    dnas-kmeans -q -k labels e.dnas | dnas-ari >ari.tsv
    awk -F '\t' 'NR == 1 { for (i = 1; i <= NF; i++) if ($i == "ari") c = i } NR == 2 { exit !($c > 0.6) }' ari.tsv ||
        fail "species are not told apart: $(cat ari.tsv)"
}

test_the_models_header() {
    genomes
    dnas-train -q --arch kmer -k 3,4 --transform sqrt,log --ridge 0.01 --dims 2 -o m.safetensors g/*.fa
    metadata m.safetensors >header
    grep -q '"architecture":"kmer"' header || fail "no architecture: $(cat header)"
    grep -qF '"config":"{\"activation\":[],\"k\":[3,4],\"normalise\":false,\"transform\":[\"sqrt\",\"log\"]}"' header ||
        fail "config: $(cat header)"
    grep -qF '"map.mean":{"dtype":"F32","shape":[168],' header || fail "map.mean: $(cat header)"
    grep -qF '"map.weight":{"dtype":"F32","shape":[2,168],' header || fail "map.weight: $(cat header)"
    grep -qF 'dnas-train --arch=kmer' header || fail "no program line: $(cat header)"
    dnas-train -q --arch kmer --no-pg -k 3 --dims 2 -o n.safetensors g/*.fa
    metadata n.safetensors >header
    ! grep -q '"pg"' header || fail "a program line with --no-pg: $(cat header)"
}

test_same_bytes_from_files_and_pipes() {
    genomes
    train -o want g/*.fa
    for t in 1 3; do
        train -t $t -o got g/*.fa
        expect_same want got
    done
    gzip g/Bb_a.fa
    train -o got g/*.fa g/*.fa.gz # another order, other windows
    cmp -s want got && fail "the order of the species does not matter"
    train -o got g/Aa_a.fa g/Aa_b.fa g/Bb_a.fa.gz g/Bb_b.fa g/Cc_a.fa g/Cc_b.fa
    expect_same want got
    # A pipe is read once, and what stands in files twice: to the same end.
    zcat -f g/Aa_a.fa g/Aa_b.fa g/Bb_a.fa.gz g/Bb_b.fa g/Cc_a.fa g/Cc_b.fa >flat
    awk '/^>/ { n++; split("Aa_a Aa_b Bb_a Bb_b Cc_a Cc_b", s, " ")
        print $0 " species=" s[int((n + 1) / 2)]; next } { print }' flat >all.fa
    train -o got all.fa
    expect_same want got
    train <all.fa >got
    expect_same want got
    train - <all.fa >got
    expect_same want got
    train -o got <(cat all.fa)
    expect_same want got
    train -s 2 -o got all.fa
    ! cmp -s want got || fail "another seed, and the same windows"
}

test_labels() {
    genomes
    train -o want g/Aa_a.fa g/Bb_a.fa g/Cc_a.fa
    cat g/Aa_a.fa g/Bb_a.fa g/Cc_a.fa | awk '/^>/ { print ">c" ++n; next } { print }' >all.fa
    printf 'id\tlabel\nc1\tAa_a\nc2\tAa_a\nc3\tBb_a\nc4\tBb_a\nc5\tCc_a\nc6\tCc_a\n' >labels.tsv
    expect_ok train --labels labels.tsv -o got all.fa
    expect_same want got
    expect_sentence 1 "^dnas-train: standard input: record 1 \('c1'\) has no label: give label=SPECIES" \
        dnas-train --arch kmer <all.fa
    expect_sentence 1 '^dnas-train: no-such.tsv: ' dnas-train --arch kmer --labels no-such.tsv all.fa
    # Without labels a file is a species, and one alone is too few.
    expect_sentence 1 '^dnas-train: all.fa: [0-9]+ profiles of 1 species cannot be told apart' \
        dnas-train --arch kmer all.fa
}

test_pairs() {
    printf 'id\tseq_a\tseq_b\tsplit\tlabel\n' >p.tsv
    awk 'BEGIN { x = 3; split("AACGT ACCGT ACGGT ACGTT", mix, " ")
        for (i = 0; i < 200; i++) {
            t = ""
            for (k = 0; k < 401; k++) {
                x = (x * 16807) % 2147483647
                t = t (k == 200 ? "\t" : substr(mix[i % 4 + 1], int(x / 16) % 5 + 1, 1))
            }
            print "p" i "\t" t "\t" (i >= 160) "\tspecies" i % 4
        } }' >>p.tsv
    dnas-view --from-tsv p.tsv -o p.dnas
    expect_ok dnas-train -v --arch kmer -k 3 --dims 3 --no-pg --ridge 0.1 -o want p.dnas
    grep -q '320 profiles of 4 species, 3 dimensions' "$TMP/err" || fail "says $(cat "$TMP/err")"
    # Rows for validation are not learnt from.
    sed '162,$d' p.tsv >q.tsv
    dnas-view --from-tsv q.tsv -o q.dnas
    expect_ok dnas-train -q --arch kmer -k 3 --dims 3 --no-pg --ridge 0.1 -o got q.dnas
    expect_same want got
    # Without labels each pair is a species of its own.
    awk -F '\t' -v OFS='\t' 'NR > 1 { $5 = "" } { print }' q.tsv >r.tsv
    dnas-view --from-tsv r.tsv -o r.dnas
    expect_ok dnas-train -v --arch kmer -k 3 --dims 3 --no-pg -o got r.dnas
    grep -q '320 profiles of 160 species, 3 dimensions' "$TMP/err" || fail "says $(cat "$TMP/err")"
    grep -q 'too few labelled genera to choose the ridge on: it is 0.01' "$TMP/err" || fail "says $(cat "$TMP/err")"
    ! cmp -s want got || fail "labels do not matter"
    expect_sentence 1 '^dnas-train: p.dnas: is a dnas stream; it is read alone' dnas-train --arch kmer p.dnas q.dnas
    dnas-tokenize -q --train 60 "$ROOT"/examples/tiny.fa -o t.json
    dnas-tokenize -q -T t.json p.dnas -o tokens.dnas
    expect_sentence 1 '^dnas-train: tokens.dnas: holds tokens, and k-mers are counted in letters' \
        dnas-train --arch kmer tokens.dnas
    dnas-embed -q -m tnf "$ROOT"/examples/tiny.fa -o e.dnas
    expect_sentence 1 '^dnas-train: e.dnas: .*EMBEDDINGS' dnas-train --arch kmer e.dnas
}

test_a_network_on_top() {
    genomes
    train --hidden 8 --hidden-steps 30 -o want g/*.fa
    for t in 1 3; do
        train --hidden 8 --hidden-steps 30 -t $t -o got g/*.fa
        expect_same want got
    done
    metadata want >header
    grep -qF '"config":"{\"activation\":[\"gelu\",\"linear\"],\"k\":[3],\"normalise\":false,\"residual\":true,' \
        header || fail "config: $(cat header)"
    grep -qF '"layers.0.weight":{"dtype":"F32","shape":[8,5],' header || fail "layer 0: $(cat header)"
    grep -qF '"layers.1.weight":{"dtype":"F32","shape":[5,8],' header || fail "layer 1: $(cat header)"
    ! grep -q plda header || fail "the map's noise model beside a network"
    train --hidden 8 --hidden-steps 30 --hidden-objective wsimclr -o other g/*.fa
    ! cmp -s want other || fail "the objective does not matter"
    train --hidden 8 --hidden-steps 31 -o other g/*.fa
    ! cmp -s want other || fail "a step does not matter"
    # Either strand, and what comes out is no longer what the map alone makes.
    train -o map.safetensors g/*.fa
    printf '>f\nACCGTTAGCAACGGATCCATTTGACGGCA\n>r\nTGCCGTCAAATGGATCCGTTGCTAACGGT\n' >strands.fa
    dnas-embed -q -m want strands.fa | dnas-view | cut -f 2- >rows
    [ "$(sed -n 2p rows)" = "$(sed -n 3p rows)" ] || fail "strands differ: $(cat rows)"
    dnas-embed -q -m map.safetensors strands.fa | dnas-view | cut -f 2- >others
    ! cmp -s rows others || fail "the network does nothing"
    dnas-embed -q -m want --no-pg strands.fa -o e.dnas
    expect_sentence 1 '^dnas-graph-bin: e.dnas: want has no noise model' dnas-graph-bin -m want e.dnas
}

test_steps_of_the_network() {
    genomes
    expect_ok dnas-train -v --arch kmer -k 3 --dims 3 --windows 30 --length 200-900 --no-pg --ridge 0.01 \
        --hidden 8 -o m g/*.fa
    [ "$(grep -c ' steps: held-out genera 0[.]' "$TMP/err")" = 21 ] || fail "scores: $(cat "$TMP/err")"
    best=$(sed -n 's/^dnas-train: \([0-9]*\) steps: held-out genera \(.*\)/\2 \1/p' "$TMP/err" |
        sort -k 1,1gr -k 2,2n | sed 1q | cut -d ' ' -f 2)
    if [ "$best" = 0 ]; then
        grep -q 'on held-out genera the map is best alone' "$TMP/err" || fail "says $(cat "$TMP/err")"
        train --dims 3 --ridge 0.01 -o want g/*.fa
    else
        grep -q "$best steps: loss " "$TMP/err" || fail "not $best: $(cat "$TMP/err")"
        train --dims 3 --ridge 0.01 --hidden 8 --hidden-steps "$best" -o want g/*.fa
    fi
    expect_same want m
    # With one genus none can be held out.
    expect_ok dnas-train --arch kmer -k 3 --windows 30 --length 200-900 --ridge 0.01 --hidden 4 -o m g/Aa_*.fa
    grep -q "too few genera to choose the network's steps on: they are 500" "$TMP/err" || fail "says $(cat "$TMP/err")"
}

test_a_network_from_pairs() {
    printf 'id\tseq_a\tseq_b\tsplit\tlabel\n' >p.tsv
    awk 'BEGIN { x = 3; split("AACGT ACCGT ACGGT ACGTT", mix, " ")
        for (i = 0; i < 60; i++) {
            t = ""
            for (k = 0; k < 401; k++) {
                x = (x * 16807) % 2147483647
                t = t (k == 200 ? "\t" : substr(mix[i % 4 + 1], int(x / 16) % 5 + 1, 1))
            }
            print "p" i "\t" t "\t0\t" (i < 30 ? "species" i % 4 : "")
        } }' >>p.tsv
    dnas-view --from-tsv p.tsv -o p.dnas
    expect_ok dnas-train -v --arch kmer -k 3 --dims 3 --ridge 0.1 --hidden 4 --hidden-steps 9 -o m p.dnas
    grep -q '9 steps: loss ' "$TMP/err" || fail "says $(cat "$TMP/err")"
    metadata m >header
    grep -qF '"layers.1.weight":{"dtype":"F32","shape":[3,4],' header || fail "layer 1: $(cat header)"
}

# y B / (B + a + b / L), from the model without it.
test_shrunk_embeddings() {
    genomes
    expect_ok train --dims 2 --ridge 0.01 -o plain g/*.fa
    expect_ok train --dims 2 --ridge 0.01 --shrink -o shrunk g/*.fa
    metadata shrunk >header
    grep -qF '"map.length":{"dtype":"F32","shape":[2],' header || fail "no map.length: $(cat header)"
    ! grep -q plda header || fail "a noise model of what is no longer so"
    metadata plain >header
    grep -q plda.noise_kb header || fail "no noise model: $(cat header)"
    sed -n '2,8p' g/Aa_a.fa | tr -d '\n' | sed 's/^/>a\n/' >long.fa
    sed -n '2,3p' g/Aa_a.fa | tr -d '\n' | sed 's/^/>a\n/' >short.fa
    for s in long short; do
        for m in plain shrunk; do
            dnas-embed -q -m $m $s.fa | dnas-view | sed -n 2p | cut -f 2,3 | tr '\t' '\n' >$m.$s
        done
        paste plain.$s shrunk.$s | awk '{ r = $2 / $1; bad = bad || !(r > 0 && r < 1); print r } END { exit bad || NR != 2 }' >ratio.$s ||
            fail "not shrunk: $(paste plain.$s shrunk.$s)"
    done
    paste ratio.long ratio.short | awk '!($2 < $1) { bad = 1 } END { exit bad || NR != 2 }' || fail "short ones less: $(paste ratio.*)"
    expect_sentence 1 '^dnas-train: .*--shrink needs windows of known length and genera to hold out' \
        dnas-train --arch kmer -k 3 --shrink --ridge 0.01 g/Aa_*.fa -o none
}

test_fewer_dimensions_than_asked() {
    genomes
    expect_ok dnas-train --arch kmer -k 3 --ridge 0.01 -o m.safetensors g/Aa_a.fa g/Bb_a.fa g/Cc_a.fa
    expect_text "$TMP/err" 'dnas-train: 3 species give 2 dimensions, not 64'
    expect_ok dnas-train -v --arch kmer -k 3 --dims 2 -o m.safetensors g/*.fa
    [ "$(grep -c 'held-out genera' "$TMP/err")" = 6 ] || fail "says $(cat "$TMP/err")"
}

test_command_line() {
    genomes
    local bad
    for bad in '' 1 7 5,4 4,4 '4,' ',4' 4,x 2,3,4,5,6,6 '4 5'; do
        expect_sentence 2 "-k takes rising numbers from 2 to 6 such as 4,5, not '$bad'" dnas-train -k "$bad" g/Aa_a.fa
    done
    for bad in '' root sqrt,root 'sqrt,' sqrt,log,log sqr; do
        expect_sentence 2 "--transform takes one of frequency, sqrt, cbrt, log, or one for each k, not '$bad'" \
            dnas-train --transform "$bad" g/Aa_a.fa
    done
    expect_sentence 2 '--transform has 2 names for 3 k' dnas-train -k 3,4,5 --transform sqrt,log g/Aa_a.fa
    for bad in '' 99 0 -500 x 500- 500-x 2000-1000 1e4 1000-200000000 99999999999999999999999 500-600-700; do
        expect_sentence 2 "--length takes BP or LO-HI, from 100 to 100000000, not '$bad'" \
            dnas-train "--length=$bad" g/Aa_a.fa
    done
    for bad in --dims=0 --dims=5000 --windows=1 --ridge=-1 --ridge=nan --arch=none; do
        expect_status 2 dnas-train $bad g/Aa_a.fa
    done
}

test_bad_genomes_leave_nothing() {
    genomes
    printf '>last\n' >>g/Cc_b.fa
    expect_sentence 1 "^dnas-train: g/Cc_b.fa: record 3 \('last'\) is empty" \
        dnas-train --arch kmer -o m.safetensors g/*.fa
    [ ! -e m.safetensors ] && [ ! -e m.safetensors.part ] || fail "something is left"
    printf 'AC,GT\n' >p.csv
    expect_sentence 1 '^dnas-train: p.csv: holds pairs without species, not genomes' dnas-train --arch kmer p.csv
    # Gaps are left out; nothing but gaps is too little.
    for s in a b; do awk 'BEGIN { print ">'$s' label='$s'"; for (i = 0; i < 50; i++) print "NNNNNNNNNNNNNNNNNNNN" }'; done >n.fa
    expect_sentence 1 '^dnas-train: n.fa: 0 profiles of 0 species' dnas-train --arch kmer n.fa
}

run_tests
