#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# compare.sh - models against each other: k-means and few-shot classification over
# labelled sequences, and what a model gains over another.  With the models of
# train-network.sh, DNABERT-S's Table 2; with backbones before and after contrastive
# training, its Tables 3 and 4; over species that are no microbes, its Table 11.
#
#   pipelines/compare.sh LABELLED.fa... > table.tsv
#
# A name in MODELS may be BEFORE=AFTER: both are scored, and the change of AFTER is
# that from BEFORE.  AGAINST=MODEL: the change of all others is that from this one.
# SHOTS=1,5,20; other settings: common.sh and few-shot.sh.  The table has a line for
# each set, model and measure, and where there are several sets one for their mean.
# shellcheck source=pipelines/common.sh
. "$(dirname "$0")/common.sh"
: "${SHOTS:=1,5,20}" "${AGAINST:=}"
[ $# -ge 1 ] || usage 'LABELLED.fa...'

for entry in ${AGAINST:+"$AGAINST"} $MODELS; do # model<TAB>its base, each model once
    case $entry in
    *=*) printf '%s\t%s\n%s\t%s\n' "${entry%%=*}" "" "${entry#*=}" "${entry%%=*}" ;;
    *) printf '%s\t%s\n' "$entry" "$([ "$entry" = "$AGAINST" ] || echo "$AGAINST")" ;;
    esac
done | awk -F '\t' '!($1 in seen) { seen[$1] = 1; print }' >"$work/models.tsv"

for fasta; do
    while IFS=$'\t' read -r model _; do
        embed "$model" "$work/e.dnas" "$fasta"
        printf '%s\t%s\tari\t%s\n' "$(set_name "$fasta")" "$model" "$(cluster_ari "$work/e.dnas")"
        macro_f1 "$work/e.dnas" "$SHOTS" |
            awk -F '\t' -v OFS='\t' -v name="$(set_name "$fasta")" -v model="$model" '
                { print name, model, "macro_f1_" $1, $2, $3 }'
    done <"$work/models.tsv"
done >"$work/scores.tsv"

awk -F '\t' -v OFS='\t' '
    FILENAME ~ /models.tsv$/ { base[$1] = $2; next }
    { value[$1, $2, $3] = $4; line[++n] = $0; set[$1] = 1; sum[$2, $3] += $4 }
    !(($2, $3) in known) { known[$2, $3] = 1; kind[++n_kinds] = $2 OFS $3 }
    function change(name, model, measure) {
        return base[model] == "" ? "" : sprintf("%.4f", value[name, model, measure] - value[name, base[model], measure])
    }
    END {
        print "name", "model", "measure", "value", "sd", "change"
        for (i = 1; i <= n; i++) {
            split(line[i], f, "\t")
            print line[i], change(f[1], f[2], f[3])
        }
        for (name in set) n_sets++
        for (i = 1; n_sets > 1 && i <= n_kinds; i++) {
            split(kind[i], f, "\t")
            value["mean", f[1], f[2]] = sum[f[1], f[2]] / n_sets
        }
        for (i = 1; n_sets > 1 && i <= n_kinds; i++) {
            split(kind[i], f, "\t")
            print "mean", f[1], f[2], sprintf("%.4f", value["mean", f[1], f[2]]), "", change("mean", f[1], f[2])
        }
    }' "$work/models.tsv" "$work/scores.tsv" >"$work/table.tsv"
awk -F '\t' -v OFS='\t' '
    NR == 1 { print "name", "model", "shots", "macro_f1" }
    sub(/^macro_f1_/, "", $3) { print $1, $2, $3, $4 }' "$work/table.tsv" >"$work/f1.tsv"
draw "$work/f1.tsv" shots macro_f1 'Macro F1 over labelled sequences of a species' name model
cat "$work/table.tsv"
