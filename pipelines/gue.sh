#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# gue.sh - functions of DNA told from embeddings: logistic regression on the tasks of
# GUE (Zhou et al. 2023, DNABERT-2), by Matthews' correlation, as DNABERT-S's Table 12.
#
#   pipelines/gue.sh GUE > table.tsv
#
# GUE is the folder as its authors give it away: somewhere below it a folder a task,
# with train.csv and test.csv, a line `sequence,label` and then the rows.  The table
# has a line for each task and model, and for each model the mean of the tasks.
# STANDARDISE=training; other settings: common.sh.
# shellcheck source=pipelines/common.sh
. "$(dirname "$0")/common.sh"
if [ $# -ne 1 ] || [ ! -d "$1" ]; then usage GUE; fi

find -L "$1" -name train.csv | sort >"$work/found"
[ -s "$work/found" ] || {
    echo "$NAME: $1: has no folder with a train.csv" >&2
    exit 1
}
sequences() { # sequences CSV: as a table that dnas-embed reads
    awk -F ',' -v OFS='\t' -v file="$1" '
        { sub(/\r$/, "") }
        NF != 2 || (NR == 1 && $0 != "sequence,label") {
            printf "gue: %s: line %d is not sequence,label\n", file, NR >"/dev/stderr"
            exit 1
        }
        { print $1, $2 }' "$1"
}
mcc() { # mcc: of a table with label and predicted (Gorodkin 2004); and how many rows
    fields label predicted | awk -F '\t' '
        { n++; right += $1 == $2; true[$1]++; said[$2]++ }
        END {
            for (k in true) { both += true[k] * said[k]; t2 += true[k] ^ 2 }
            for (k in said) s2 += said[k] ^ 2
            spread = (n * n - t2) * (n * n - s2)
            printf "%.4f\t%d\n", (spread > 0 ? (right * n - both) / sqrt(spread) : 0), n
        }'
}

printf 'number\ttask\tmodel\tmcc\ttested\n' >"$work/table.tsv"
n=0
while read -r train; do
    n=$((n + 1))
    folder=$(dirname "$train")
    task=$(basename "$(dirname "$folder")")/$(basename "$folder")
    for part in train test; do sequences "$folder/$part.csv" >"$work/$part.tsv"; done
    for model in $MODELS; do
        for part in train test; do embed "$model" "$work/$part.dnas" "$work/$part.tsv"; done
        dnas-logreg -q --standardise "${STANDARDISE:-training}" --fit "$work/fit.safetensors" \
            "$work/train.dnas" >"$work/fit.tsv"
        dnas-logreg -q --predict "$work/fit.safetensors" --format tsv "$work/test.dnas" >"$work/labels.tsv"
        printf '%d\t%s\t%s\t%s\n' "$n" "$task" "$model" "$(mcc <"$work/labels.tsv")"
    done
done <"$work/found" >>"$work/table.tsv"
draw "$work/table.tsv" number mcc "Matthews' correlation over the tasks of GUE, in their order" model
cat "$work/table.tsv"
for model in $MODELS; do
    awk -F '\t' -v OFS='\t' -v model="$model" '
        $3 == model { sum += $4; n++; rows += $5 }
        END { print "mean", "of " n " tasks", model, sprintf("%.4f", sum / n), rows }' "$work/table.tsv"
done
