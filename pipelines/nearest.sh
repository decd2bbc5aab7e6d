#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# nearest.sh - species of long reads by the vote of their five nearest neighbours among
# labelled reads, beside MMseqs2 with the same reads or whole genomes: DNABERT-S's Figure 6.
#
#   pipelines/nearest.sh GENOMES > table.tsv
#
# GENOMES is a folder of FASTA, plain or gzip, a file a species.  pbsim simulates the
# reads, LENGTH=10000 letters on average and right in ACCURACY=0.88 of them: TEST=100
# to classify and the most of TRAIN='100 200 300 400 500' to learn from, drawn with
# SEED=1.  Without mmseqs its lines are left out.  THREADS=1 for mmseqs; other settings:
# common.sh.  Seconds are those of embedding and neighbours, or of the search.
TEST=${TEST:-100}
# shellcheck source=pipelines/common.sh
. "$(dirname "$0")/common.sh"
: "${LENGTH:=10000}" "${ACCURACY:=0.88}" "${TRAIN:=100 200 300 400 500}" "${SEED:=1}" "${THREADS:=1}"
: "${PBSIM_MODEL:=/usr/share/pbsim/models/model_qc_clr}"
[ $# -eq 1 ] && [ -d "$1" ] || usage GENOMES
command -v pbsim >/dev/null || { echo "$0: skipped, there is no pbsim (Debian: apt install pbsim)" >&2; exit 77; }

most=$(tr ' ' '\n' <<<"$TRAIN" | sort -n | tail -n 1)
shopt -s nullglob
for genome in "$1"/*.{fa,fna,fasta}{,.gz}; do # test.tsv and train.tsv: species, number, letters
    species=$(set_name "$genome")
    zcat -f -- "$genome" >"$work/genome.fa"
    bp=$(grep -v '^>' "$work/genome.fa" | tr -d '\n' | wc -c)
    depth=$(((TEST + most) * LENGTH * 3 / 2 / bp + 1))
    (cd "$work" && pbsim --data-type CLR --model_qc "$PBSIM_MODEL" --depth "$depth" --seed "$SEED" \
        --length-mean "$LENGTH" --length-max $((2 * LENGTH)) --accuracy-mean "$ACCURACY" --prefix sim genome.fa 2>/dev/null)
    cat "$work"/sim_*.fastq | awk 'NR % 4 == 2' |
        shuf --random-source=<(yes "$SEED") >"$work/reads"
    [ "$(wc -l <"$work/reads")" -ge $((TEST + most)) ] ||
        { echo "$0: $genome gives fewer than $((TEST + most)) reads: lower LENGTH or TRAIN" >&2; exit 1; }
    awk -v OFS='\t' -v s="$species" -v n="$TEST" 'NR <= n { print s, NR, $1 }' "$work/reads" >>"$work/test.tsv"
    awk -v OFS='\t' -v s="$species" -v n="$TEST" -v m="$most" \
        'NR > n && NR <= n + m { print s, NR - n, $1 }' "$work/reads" >>"$work/train.tsv"
    awk -v s="$species" '/^>/ { print ">" s "|" ++n; next } { print }' "$work/genome.fa" >>"$work/genomes.fa"
    rm -f "$work"/sim_* "$work/reads"
done
[ -s "$work/test.tsv" ] || { echo "$0: $1 has no .fa, .fna or .fasta" >&2; exit 1; }
fasta() { # fasta FILE N: the first N reads of each species
    awk -F '\t' -v n="$2" '$2 <= n { printf ">%s|%d label=%s\n%s\n", $1, $2, $1, $3 }' "$1"
}
f1() { # f1: accuracy and macro F1 of species and predicted species, a line each
    awk -F '\t' '{ n[$1]++; p[$2]++; if ($1 == $2) { right[$1]++; all++ } }
        END {
            for (s in n) { sum += 2 * right[s] / (n[s] + p[s]); k++ }
            printf "%.4f\t%.4f", all / NR, sum / k
        }'
}
mmseqs_f1() { # mmseqs_f1 REFERENCE: its best hit for each read; a read without one is missed
    mmseqs easy-search "$work/test.fa" "$1" "$work/hits" "$work/tmp" --search-type 3 --threads "$THREADS" \
        --format-output query,target,bits -v 1 >&2
    sort -t "$(printf '\t')" -k 1,1 -k 3,3gr "$work/hits" | awk -F '\t' -v OFS='\t' '
        FNR == NR { if (!($1 in best)) { split($2, t, "|"); best[$1] = t[1] } next }
        /^>/ { id = substr($1, 2); sub(/ .*/, "", id); split(id, s, "|"); print s[1], (id in best ? best[id] : "none") }
        ' - "$work/test.fa" | f1
}
line() { # line METHOD TRAIN COMMAND...: its scores and seconds
    local from=$SECONDS got
    got=$("${@:3}")
    printf '%s\t%s\t%s\t%d\n' "$1" "$2" "$got" $((SECONDS - from)) >>"$work/table.tsv"
}
knn_f1() { # knn_f1 MODEL TRAIN.fa
    embed "$1" "$work/train.dnas" "$2"
    embed "$1" "$work/test.dnas" "$work/test.fa"
    dnas-knn -q --train "$work/train.dnas" --format tsv "$work/test.dnas" | fields label predicted | f1
}

fasta "$work/test.tsv" "$TEST" >"$work/test.fa"
printf 'method\ttrain\taccuracy\tmacro_f1\tseconds\n' >"$work/table.tsv"
mmseqs=mmseqs
command -v mmseqs >/dev/null ||
    { mmseqs='' && echo "$0: MMseqs2 left out, there is no mmseqs (Debian: apt install mmseqs2)" >&2; }
[ -z "$mmseqs" ] || line mmseqs-genomes '' mmseqs_f1 "$work/genomes.fa"
for n in $TRAIN; do
    fasta "$work/train.tsv" "$n" >"$work/train.fa"
    for model in $MODELS; do
        line "$model" "$n" knn_f1 "$model" "$work/train.fa"
    done
    [ -z "$mmseqs" ] || line mmseqs-reads "$n" mmseqs_f1 "$work/train.fa"
done
# The search in genomes is a level line in the drawing.
awk -F '\t' -v OFS='\t' -v counts="$TRAIN" '
    $1 == "mmseqs-genomes" { n = split(counts, c, " "); for (i = 1; i <= n; i++) { $2 = c[i]; print }; next }
    { print }' "$work/table.tsv" >"$work/level.tsv"
draw "$work/level.tsv" train macro_f1 'Macro F1 over labelled reads of a species' method
cat "$work/table.tsv"
