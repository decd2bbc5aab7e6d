#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# few-shot.sh - species told apart after a few labelled sequences of each: the macro
# F1 of DNABERT-S's Figure 4 and Tables 8 to 10, and with MLP=1 of its Tables 6 and 7.
#
#   pipelines/few-shot.sh LABELLED.fa... > table.tsv
#
# SHOTS=1,2,5,10,20; species with fewer than TEST and the most shots together are
# left out.  STANDARDISE=training: columns by the spread of the training rows, as
# dnas-logreg has it; all or none.  Other settings: common.sh.
# shellcheck source=pipelines/common.sh
. "$(dirname "$0")/common.sh"
: "${SHOTS:=1,2,5,10,20}"
[ $# -ge 1 ] || usage 'LABELLED.fa...'

printf 'name\tmodel\tshots\tmacro_f1\tmacro_f1_sd\n' >"$work/table.tsv"
for fasta; do
    for model in $MODELS; do
        embed "$model" "$work/e.dnas" "$fasta"
        macro_f1 "$work/e.dnas" "$SHOTS" >"$work/scores.tsv"
        sed "s/^/$(set_name "$fasta")\t${model//\//\\/}\t/" "$work/scores.tsv" >>"$work/table.tsv"
    done
done
draw "$work/table.tsv" shots macro_f1 'Macro F1 over labelled sequences of a species' name model
cat "$work/table.tsv"
