#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# cluster-species.sh - k-means with as many clusters as species against the truth:
# the adjusted Rand index of DNABERT-S's Table 1, over labelled sequences.
#
#   pipelines/cluster-species.sh LABELLED.fa... > table.tsv
#
# The table has a line for each set and model, and for each model the mean of the
# sets; the drawing has the sets side by side.  Settings: common.sh.
# shellcheck source=pipelines/common.sh
. "$(dirname "$0")/common.sh"
[ $# -ge 1 ] || usage 'LABELLED.fa...'

printf 'set\tname\tmodel\tari\tari_sd\n' >"$work/table.tsv"
n=0
for fasta; do
    n=$((n + 1))
    for model in $MODELS; do
        embed "$model" "$work/e.dnas" "$fasta"
        ari=$(cluster_ari "$work/e.dnas")
        printf '%d\t%s\t%s\t%s\n' "$n" "$(set_name "$fasta")" "$model" "$ari" >>"$work/table.tsv"
    done
done
draw "$work/table.tsv" set ari "k-means: ARI over the sets, in their order" model
cat "$work/table.tsv"
[ "$n" = 1 ] || for model in $MODELS; do
    awk -F '\t' -v OFS='\t' -v model="$model" '
        $3 == model { sum += $4; n++ }
        END { printf "mean\tof %d sets\t%s\t%.4f\t\n", n, model, sum / n }' "$work/table.tsv"
done
