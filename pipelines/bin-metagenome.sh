#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# bin-metagenome.sh - contigs binned without their labels, and how many species have
# a bin with an F1 or recall above .1 to .9: DNABERT-S's Figure 3.
#
#   pipelines/bin-metagenome.sh LABELLED.fa CONTIGS.fa > table.tsv
#
# By dnas-kmedoid-bin, with the threshold from LABELLED (other sequences, of the same
# kind), and for the models named in GRAPH=kmer (k-mer models) by dnas-graph-bin.
# Contigs shorter than MIN_BP=2500 are left out, then species with fewer than MIN_SIZE=10.
# binned: contigs in no bin are dropped, as that paper does; whole: they are missed.
# The files are plain or gzip, with label= or species= in the headers.
# Other settings: common.sh.
# shellcheck source=pipelines/common.sh
. "$(dirname "$0")/common.sh"
: "${GRAPH=kmer}" "${MIN_BP:=2500}" "${MIN_SIZE:=10}"
[ $# -eq 2 ] || usage 'LABELLED.fa CONTIGS.fa'

# A record a line: species, length, and the record with \t for its line feeds.
zcat -f -- "$2" | awk -v OFS='\t' '
    /^>/ { if (record) print species, bp, record
           record = $0; bp = 0; species = ""
           if (match($0, /(label|species)=[^ \t]*/)) species = substr($0, RSTART, RLENGTH)
           gsub(/\t/, " ", record); next }
    { record = record "\t" $0; bp += length($0) }
    END { if (record) print species, bp, record }' >"$work/records"
awk -F '\t' -v bp="$MIN_BP" -v size="$MIN_SIZE" '
    $2 < bp { next }
    NR == FNR { n[$1]++; next }
    n[$1] >= size' "$work/records" "$work/records" | cut -f 3- | tr '\t' '\n' >"$work/contigs.fa"
rm "$work/records"

bins() { # bins MODEL BINNER FILE: a line for each of .1 to .9
    local above
    dnas-ari --binning dnabert-s "$3" >"$work/binned.tsv"
    dnas-ari --binning dnabert-s-whole "$3" >"$work/whole.tsv"
    for above in 0.{1..9}; do
        printf '%s\t%s\t%s\t%s\t%s\t%s\n' "$1" "$2" "$above" \
            "$(fields sequences sequences_binned bins genomes <"$work/whole.tsv")" \
            "$(fields "dnaberts_binned_f1_above_$above" "dnaberts_binned_recall_above_$above" <"$work/binned.tsv")" \
            "$(fields "dnaberts_whole_f1_above_$above" "dnaberts_whole_recall_above_$above" <"$work/whole.tsv")"
    done
}

printf 'model\tbinner\tabove\tsequences\tbinned\tbins\tspecies\t' >"$work/table.tsv"
printf 'f1_binned\trecall_binned\tf1_whole\trecall_whole\n' >>"$work/table.tsv"
for model in $MODELS; do
    embed "$model" "$work/labelled.dnas" "$1"
    embed "$model" "$work/e.dnas" "$work/contigs.fa"
    dnas-kmedoid-bin -q --threshold-from "$work/labelled.dnas" --min-bin-size "$MIN_SIZE" \
        -o "$work/bins.dnas" "$work/e.dnas"
    bins "$model" kmedoid "$work/bins.dnas" >>"$work/table.tsv"
    case " $GRAPH " in
    *" $model "*)
        own=(-m "$model")
        [ "$model" != kmer ] || own=()
        dnas-graph-bin -q "${own[@]}" -o "$work/bins.dnas" "$work/e.dnas"
        bins "$model" graph "$work/bins.dnas" >>"$work/table.tsv"
        ;;
    esac
done
draw "$work/table.tsv" above f1_whole 'Species with an F1 above x, unbinned sequences missed' model binner
cat "$work/table.tsv"
