#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# pipelines.sh - the scripts of pipelines/ on a few dozen sequences: the shape of their
# tables, and that scores are scores; what they say of the data is not looked at here.
# shellcheck source=tests/lib.sh
. tests/lib.sh
export BUILD MODELS='kmer tnf' SEEDS='0 1' RUNS=2 TEST=4
PIPELINES=$ROOT/pipelines

small() { # small SPECIES EACH: that many whole sequences of that many species
    zcat "$ROOT/examples/genomes.fa.gz" | awk -v species="$1" -v each="$2" '
        /^>/ {
            label = $2
            if (!(label in n) && known < species) { n[label] = 0; known++ }
            keep = label in n && n[label]++ < each
        }
        keep'
}
table() { # table LINES HEADER: $TMP/out has these, with as many fields in every line
    [ "$(wc -l <"$TMP/out")" = "$1" ] || fail "not $1 lines: $(cat "$TMP/out")"
    [ "$(head -n 1 "$TMP/out")" = "${2// /$'\t'}" ] || fail "header: $(head -n 1 "$TMP/out")"
    awk -F '\t' -v n="$(wc -w <<<"$2")" 'NF != n { exit 1 }' "$TMP/out" || fail "fields: $(cat "$TMP/out")"
}
within() { # within NAME LOW HIGH: each number of a column of $TMP/out
    awk -F '\t' -v name="$1" -v low="$2" -v high="$3" '
        NR == 1 { for (i = 1; i <= NF; i++) if ($i == name) at = i; next }
        at && $at ~ /^-?[0-9.]+$/ && $at >= low && $at <= high { good++ }
        END { exit !(at && NR > 1 && good == NR - 1) }' "$TMP/out" || fail "$1: $(cat "$TMP/out")"
}
drawing() { # drawing FILE CURVES: an SVG with so many names of curves
    grep -q '</svg>' "$1" || fail "$1 is not a whole SVG"
    [ "$(grep -cE '(kmer|tnf)' "$1")" -ge "$2" ] || fail "$1 has not $2 curves"
}

test_cluster_species() {
    small 4 12 >a.fa
    small 3 12 >b.fa
    expect_ok "$PIPELINES/cluster-species.sh" a.fa b.fa
    table 7 'set name model ari ari_sd'
    within ari 0.2 1
    drawing cluster-species.svg 2
    # The mean is that of the sets, and a set alone scores as it does beside another.
    awk -F '\t' '$3 == "kmer" { x[NR] = $4; if ($1 == "mean") exit !(($4 - sum / 2) ^ 2 < 1e-7); sum += $4 }' \
        "$TMP/out" || fail "mean: $(cat "$TMP/out")"
    grep $'^1\t' "$TMP/out" >want
    expect_ok "$PIPELINES/cluster-species.sh" a.fa
    tail -n +2 "$TMP/out" >got
    expect_same want got
    # By hand, on enough species for the starts to matter.
    small 12 12 >a.fa
    expect_ok "$PIPELINES/cluster-species.sh" a.fa
    for s in 0 1; do
        dnas-embed -q a.fa | dnas-kmeans -q -k labels --init random -s $s | dnas-ari |
            awk -F '\t' 'NR == 1 { for (i = 1; i <= NF; i++) if ($i == "ari") c = i } NR == 2 { print $c }'
    done | awk '{ sum += $1 } END { printf "%.4f\n", sum / 2 }' >want
    awk -F '\t' '$3 == "kmer" { print $4 }' "$TMP/out" >got
    expect_same want got
}

test_few_shot() {
    small 4 10 >a.fa
    SHOTS=1,3 SVG=f.svg expect_ok "$PIPELINES/few-shot.sh" a.fa
    table 5 'name model shots macro_f1 macro_f1_sd'
    within macro_f1 0.1 1
    drawing f.svg 2
    SHOTS=1 MLP=1 MODELS=tnf expect_ok "$PIPELINES/few-shot.sh" a.fa
    table 2 'name model shots macro_f1 macro_f1_sd'
}

test_compare() {
    small 4 10 >a.fa
    small 3 10 >b.fa
    MODELS='tnf=kmer tnf-canonical' SHOTS=1,3 SVG=f.svg expect_ok "$PIPELINES/compare.sh" a.fa b.fa
    table 28 'name model measure value sd change'
    within value 0 1
    drawing f.svg 2
    # A set's scores are those of the scripts for one measure, and the mean is that of the sets.
    cp "$TMP/out" compared
    expect_ok "$PIPELINES/cluster-species.sh" a.fa
    awk -F '\t' -v OFS='\t' 'NR > 1 { print $3, $4 }' "$TMP/out" >want
    awk -F '\t' -v OFS='\t' '$1 == "a" && $3 == "ari" && $2 != "tnf-canonical" { print $2, $4 }' compared | sort >got
    expect_same want got
    SHOTS=1,3 MODELS=kmer expect_ok "$PIPELINES/few-shot.sh" a.fa
    awk -F '\t' -v OFS='\t' 'NR > 1 { print $3, $4, $5 }' "$TMP/out" >want
    awk -F '\t' -v OFS='\t' '$1 == "a" && $2 == "kmer" && sub(/macro_f1_/, "", $3) { print $3, $4, $5 }' compared >got
    expect_same want got
    awk -F '\t' '$3 == "macro_f1_3" { x[$1, $2] = $4; change[$1, $2] = $6 }
        END {
            if (change["a", "tnf"] != "" || change["a", "tnf-canonical"] != "") exit 1
            if ((change["b", "kmer"] - (x["b", "kmer"] - x["b", "tnf"])) ^ 2 > 1e-9) exit 1
            if ((x["mean", "tnf"] - (x["a", "tnf"] + x["b", "tnf"]) / 2) ^ 2 > 1e-8) exit 1
            exit (change["mean", "kmer"] - (change["a", "kmer"] + change["b", "kmer"]) / 2) ^ 2 > 1e-7
        }' compared || fail "changes: $(cat compared)"
    # Against one for all.
    MODELS='kmer tnf' AGAINST=tnf SHOTS=1 expect_ok "$PIPELINES/compare.sh" a.fa
    table 5 'name model measure value sd change'
    awk -F '\t' 'NR > 1 && ($6 == "") != ($2 == "tnf") { exit 1 }' "$TMP/out" || fail "$(cat "$TMP/out")"
}

test_gue() {
    # Two tasks in folders as those of GUE: of two classes, and of three.
    small 3 12 | awk '/^>/ { if (!($2 in n)) n[$2] = k++; c = n[$2]; next }
        {
            if (++line % 20) next
            part = ++m % 3 ? "train" : "test"
            if (c < 2) print $0 "," c >part ".2"
            print $0 "," c >part ".3"
        }'
    for t in 2 3; do
        mkdir -p GUE/some/task$t
        for part in train test; do { echo sequence,label && cat $part.$t; } >GUE/some/task$t/$part.csv; done
    done
    MODELS='kmer tnf' SVG=g.svg expect_ok "$PIPELINES/gue.sh" GUE
    table 7 'number task model mcc tested'
    within mcc 0.05 1
    drawing g.svg 2
    [ "$(cut -f 2 "$TMP/out" | sort -u | paste -sd ' ')" = 'of 2 tasks some/task2 some/task3 task' ] ||
        fail "tasks: $(cat "$TMP/out")"
    awk -F '\t' '$3 == "tnf" { x[$1] = $4 } END { exit (x["mean"] - (x[1] + x[2]) / 2) ^ 2 > 1e-8 }' "$TMP/out" ||
        fail "mean: $(cat "$TMP/out")"
    # Of two classes, by the formula for two.
    awk -F '\t' '$3 == "tnf" && $1 == 1 { print $4, $5 }' "$TMP/out" >got
    for part in train test; do
        tr , '\t' <GUE/some/task2/$part.csv >$part.tsv
        dnas-embed -q -m tnf $part.tsv -o $part.dnas
    done
    dnas-logreg -q --fit m.safetensors train.dnas >fit.tsv
    dnas-logreg -q --predict m.safetensors --format tsv test.dnas |
        awk -F '\t' 'NR == 1 { for (i = 1; i <= NF; i++) at[$i] = i; next } { n[$at["label"], $at["predicted"]]++ }
            END {
                a = n["0", "0"]; b = n["0", "1"]; c = n["1", "0"]; d = n["1", "1"]
                printf "%.4f %d\n", (a * d - b * c) / sqrt((a + b) * (a + c) * (d + b) * (d + c)), a + b + c + d
            }' >want
    expect_same want got
    printf 'sequence,label\nACGT,1,2\n' >GUE/some/task3/test.csv
    expect_sentence 1 'gue: .*task3/test.csv: line 2 is not sequence,label' "$PIPELINES/gue.sh" GUE
    mkdir empty
    expect_sentence 1 'gue.*empty: has no folder with a train.csv' "$PIPELINES/gue.sh" empty
}

test_bin_metagenome() {
    small 4 12 >a.fa
    { cat a.fa && printf '>short label=Escherichia_coli\nACGT\n>few label=Nobody\n%03000d\n' 0 | tr 0 A; } |
        gzip >b.fa.gz
    MIN_SIZE=5 expect_ok "$PIPELINES/bin-metagenome.sh" a.fa b.fa.gz
    table 28 'model binner above sequences binned bins species f1_binned recall_binned f1_whole recall_whole'
    within above 0.1 0.9
    within species 1 4
    within f1_binned 0 4
    within recall_whole 0 4
    drawing bin-metagenome.svg 3
    # Fewer species, or as many, over a higher threshold.
    awk -F '\t' 'NR > 1 { if ($3 > 0.1 && $10 > last) exit 1; last = $10 }' "$TMP/out" || fail "$(cat "$TMP/out")"
    # Short contigs and small species are not there.
    awk '/^>/ { n += keep; keep = bp = 0; next } { bp += length($0); keep = bp >= 2500 } END { print n + keep }' a.fa >want
    awk -F '\t' 'NR == 2 { print $4 }' "$TMP/out" >got
    awk 'NR == FNR { n = $1; next } { exit !($1 <= n && $1 > 4) }' want got || fail "contigs: $(cat got)"
}

test_by_length_and_dimensions() {
    small 3 10 >a.fa
    LENGTHS='200 2000' SHOTS=2 expect_ok "$PIPELINES/by-length.sh" a.fa
    table 5 'name model length ari ari_sd macro_f1 macro_f1_sd'
    within ari -0.2 1
    within macro_f1 0 1
    awk -F '\t' '$2 == "kmer" { print $4 }' "$TMP/out" | uniq | wc -l >got
    expect_text got 2
    drawing by-length.svg 2
    DIMENSIONS='8 64 128' SHOTS=2 DRAW=macro_f1 expect_ok "$PIPELINES/by-dimensions.sh" a.fa
    table 7 'name model dimensions ari ari_sd macro_f1 macro_f1_sd'
    cut -f 2,3 "$TMP/out" | tail -n +2 | tr '\t' : | paste -sd ' ' >got
    expect_text got 'kmer:8 kmer:64 tnf:8 tnf:64 tnf:128 tnf:256'
    awk -F '\t' '$2 == "tnf" && ($3 == 8 || $3 == 256) { print $4, $6 }' "$TMP/out" | uniq | wc -l >got
    expect_text got 2
    drawing by-dimensions.svg 2
}

test_trained_on_several_lengths() {
    mkdir genomes
    small 4 12 | awk '/^>/ { sub(/.*label=/, ""); sub(/ .*/, ""); f = "genomes/" $0 ".fa"; print ">" $0 "|" ++n >f; next }
        { print >f }'
    small 3 10 >a.fa
    GENOMES=genomes TRAIN_LENGTHS='500 1500' LENGTHS=1000 MODELS=tnf SHOTS=2 \
        expect_ok "$PIPELINES/by-length.sh" a.fa
    table 4 'name model length ari ari_sd macro_f1 macro_f1_sd'
    grep -q trained-1500 "$TMP/out" || fail "$(cat "$TMP/out")"
}

test_nearest() {
    if ! command -v pbsim >/dev/null; then
        mkdir g
        expect_sentence 77 'there is no pbsim' "$PIPELINES/nearest.sh" g
        skip 'there is no pbsim'
        return
    fi
    mkdir g
    small 3 6 | awk '/^>/ { sub(/.*label=/, ""); sub(/ .*/, ""); f = "g/" $0 ".fa"; print ">c" ++n >f; next }
        { print >f }'
    LENGTH=2000 TRAIN='4 8' expect_ok "$PIPELINES/nearest.sh" g
    head -n 1 "$TMP/out" | tr '\t' ' ' >got
    expect_text got 'method train accuracy macro_f1 seconds'
    within accuracy 0 1
    within macro_f1 0 1
    for method in kmer tnf $(command -v mmseqs >/dev/null && echo mmseqs-reads); do
        [ "$(grep -c "^$method"$'\t' "$TMP/out")" = 2 ] || fail "$method: $(cat "$TMP/out")"
    done
    drawing nearest.svg 2
}

test_wrong_ways() {
    for script in cluster-species few-shot compare gue bin-metagenome by-length by-dimensions nearest; do
        expect_sentence 2 "usage: .*$script" "$PIPELINES/$script.sh"
        [[ $script != @(nearest|bin-metagenome|gue) ]] ||
            expect_sentence 2 "usage: .*$script" "$PIPELINES/$script.sh" a b c
        [[ $script == @(nearest|bin-metagenome|gue) ]] ||
            expect_sentence 1 'nothing.fa' "$PIPELINES/$script.sh" nothing.fa
        [ ! -s "$TMP/out" ] || fail "$script: $(cat "$TMP/out")"
        [ ! -e "$script.svg" ] || fail "$script draws"
    done
}

# Two parts of an array by hand, one of them broken off, and joined.
test_slurm() {
    small 4 10 >a.fa
    for i in 1 2 3; do
        SLURM_ARRAY_TASK_ID=$i SLURM_ARRAY_TASK_COUNT=3 SLURM_ARRAY_JOB_ID=7 \
            expect_ok "$PIPELINES/embed.slurm" a.fa parts -m tnf
    done
    expect_ok "$PIPELINES/join.slurm" parts all.dnas
    dnas-embed -q -m tnf a.fa -o want.dnas
    dnas-view want.dnas >want
    dnas-view all.dnas >got
    expect_same want got
    # Done: left alone.
    SLURM_ARRAY_TASK_ID=2 SLURM_ARRAY_TASK_COUNT=3 expect_ok "$PIPELINES/embed.slurm" nothing.fa parts -m tnf
    rm parts/2.dnas
    expect_status 1 "$PIPELINES/join.slurm" parts again.dnas
    [ ! -e again.dnas ] || fail 'joined without a part'
    expect_status 2 "$PIPELINES/embed.slurm" a.fa parts
}

# A job that is told that its time is over queues itself again and goes on.
test_slurm_requeue() {
    mkdir bin
    printf '#!/bin/sh\necho "$@" >requeued\n' >bin/scontrol
    chmod +x bin/scontrol
    mkfifo slow
    PATH=$PWD/bin:$PATH
    # dnas-embed waits for its input, so that the signal finds it at work.
    printf '#!/bin/sh\nexec cat slow\n' >bin/dnas-embed
    chmod +x bin/dnas-embed
    SLURM_ARRAY_TASK_ID=2 SLURM_ARRAY_TASK_COUNT=3 SLURM_ARRAY_JOB_ID=7 "$PIPELINES/embed.slurm" a.fa parts &
    local job=$! i
    for i in $(seq 100); do
        pgrep -P "$job" -x cat >/dev/null && break
        sleep 0.1
    done
    sleep 0.2
    kill -USR1 "$job"
    wait "$job" || fail "status $?"
    expect_text requeued 'requeue 7_2'
}

test_snakemake() {
    if ! command -v snakemake >/dev/null; then
        skip 'there is no snakemake'
        return
    fi
    small 4 12 >a.fa
    printf 'models: [kmer]\nlabelled: [a.fa]\nthreshold: a.fa\ncontigs: a.fa\ngenomes: ""\nresults: r\n' >c.yaml
    printf 'settings: {TEST: 4, SHOTS: "1", LENGTHS: "500 1000", MIN_SIZE: 5, SEEDS: "0 1"}\n' >>c.yaml
    HOME=$PWD XDG_CACHE_HOME=$PWD/cache expect_ok snakemake -s "$PIPELINES/Snakefile" --configfile c.yaml -c 1
    for name in cluster-species few-shot by-length by-dimensions bin-metagenome; do
        [ -s "r/$name.tsv" ] && [ -s "r/$name.svg" ] || fail "$name is not made"
    done
    find r -type f | wc -l >got
    expect_text got 10
    # The other tables of the paper, where config.yaml says of what.
    mkdir -p GUE/a/b
    for part in train test; do
        awk 'BEGIN { print "sequence,label" } !/^>/ { print substr($0, 1, 90) "," NR % 4 / 2 }' a.fa >GUE/a/b/$part.csv
    done
    printf 'objectives: [tnf, kmer]\nbackbones: [tnf=kmer]\nmlp: true\nbeyond_microbes: [a.fa]\ngue: GUE\n' >>c.yaml
    sed -i 's/LENGTHS/RUNS: 1, LENGTHS/' c.yaml
    HOME=$PWD XDG_CACHE_HOME=$PWD/cache expect_ok snakemake -s "$PIPELINES/Snakefile" --configfile c.yaml -c 1
    for name in objectives backbones few-shot-mlp beyond-microbes gue; do
        [ -s "r/$name.tsv" ] && [ -s "r/$name.svg" ] || fail "$name is not made"
    done
    grep -q '^a.kmer.ari.[0-9.]*.[0-9.]*.-\{0,1\}[0-9]' r/objectives.tsv || fail "objectives: $(cat r/objectives.tsv)"
}

run_tests
