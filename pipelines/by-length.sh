#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# by-length.sh - how clustering and classification depend on the length of the
# sequences: DNABERT-S's Figure 8; and with models trained on windows of several
# lengths, its Figure 7.
#
#   pipelines/by-length.sh LABELLED.fa... > table.tsv
#   GENOMES=folder TRAIN_LENGTHS='500 2000 10000' pipelines/by-length.sh LABELLED.fa...
#
# LENGTHS='128 256 512 1024 2048 4096 8192': only so many letters of each sequence.
# With GENOMES, a folder with a file a species, a k-mer model is trained on windows of
# each of TRAIN_LENGTHS and stands beside MODELS.  DRAW=ari, or macro_f1, which is that
# after SHOTS=5.  Other settings: common.sh.
# shellcheck source=pipelines/common.sh
. "$(dirname "$0")/common.sh"
: "${LENGTHS:=128 256 512 1024 2048 4096 8192}" "${TRAIN_LENGTHS:=500 2000 10000}" "${SHOTS:=5}"
: "${DRAW:=ari}" "${GENOMES:=}"
[ $# -ge 1 ] || usage 'LABELLED.fa...'

if [ -n "$GENOMES" ]; then
    shopt -s nullglob
    genomes=("$GENOMES"/*.{fa,fna,fasta}{,.gz,.bgz,.zst})
    for length in $TRAIN_LENGTHS; do
        dnas-train -q --arch kmer --length "$length" -s 1 -o "$work/trained-$length.safetensors" "${genomes[@]}"
        MODELS+=" $work/trained-$length.safetensors"
    done
fi
printf 'name\tmodel\tlength\tari\tari_sd\tmacro_f1\tmacro_f1_sd\n' >"$work/table.tsv"
for fasta; do
    for model in $MODELS; do
        for length in $LENGTHS; do
            TRUNCATE=$length embed "$model" "$work/e.dnas" "$fasta"
            scores "$work/e.dnas" "$(set_name "$fasta")" "${model#"$work/"}" "$length"
        done
    done
done >>"$work/table.tsv"
draw "$work/table.tsv" length "$DRAW" "$DRAW over the length of the sequences" name model
cat "$work/table.tsv"
