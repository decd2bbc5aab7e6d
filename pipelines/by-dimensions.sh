#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# by-dimensions.sh - what is left when neighbouring dimensions are averaged:
# DNABERT-S's Figure 9.
#
#   pipelines/by-dimensions.sh LABELLED.fa... > table.tsv
#
# DIMENSIONS='8 16 32 64 128 256 384', those that a model has more of, and its own
# number.  DRAW=ari, or macro_f1, which is that after SHOTS=5.  Other settings: common.sh.
# shellcheck source=pipelines/common.sh
. "$(dirname "$0")/common.sh"
: "${DIMENSIONS:=8 16 32 64 128 256 384}" "${SHOTS:=5}" "${DRAW:=ari}"
[ $# -ge 1 ] || usage 'LABELLED.fa...'

printf 'name\tmodel\tdimensions\tari\tari_sd\tmacro_f1\tmacro_f1_sd\n' >"$work/table.tsv"
for fasta; do
    name=$(set_name "$fasta")
    for model in $MODELS; do
        embed "$model" "$work/whole.dnas" "$fasta"
        own=$(dnas-view --rows 1 "$work/whole.dnas" | tr "\t" "\n" | grep -c "^embedding_")
        for dims in $DIMENSIONS; do
            [ "$dims" -lt "$own" ] || continue
            embed "$model" "$work/e.dnas" "$fasta" --reduce "$dims"
            scores "$work/e.dnas" "$name" "$model" "$dims"
        done
        scores "$work/whole.dnas" "$name" "$model" "$own"
    done
done >>"$work/table.tsv"
draw "$work/table.tsv" dimensions "$DRAW" "$DRAW over the number of dimensions" name model
cat "$work/table.tsv"
