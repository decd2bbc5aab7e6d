# SPDX-License-Identifier: MIT
#
# common.sh - what the pipelines of evaluation share; they read it, nobody runs it.
# Settings, as variables, with the defaults of DNABERT-S's evaluation:
#   MODELS='kmer tnf tnf-canonical tnf-k'   features, and files or folders of models;
#                        tnf-k-dnabert-s is tnf-k in the order of letters of that code
#   SEEDS='0 1 2 3 4'    of k-means with random starts     RUNS=5 draws of few shots
#   TEST=80              rows of a class to test on        TRUNCATE=20000 letters kept
#   SVG=NAME.svg         the drawing                       SHOTS
# shellcheck shell=bash
set -eu -o pipefail
shopt -s inherit_errexit
export LC_ALL=C
NAME=$(basename "$0" .sh)
PATH=${BUILD:-$(dirname "$0")/../build}/bin:$PATH
: "${MODELS:=kmer tnf tnf-canonical tnf-k}" "${SEEDS:=0 1 2 3 4}" "${RUNS:=5}" "${TEST:=80}"
: "${TRUNCATE:=20000}" "${SVG:=$NAME.svg}"
work=$(mktemp -d "${TMPDIR:-/tmp}/dnas-$NAME.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 1' INT TERM

usage() { # usage ARGUMENTS: says what is wanted, and ends
    echo "usage: $0 $1" >&2
    exit 2
}
set_name() { # set_name FILE: without folder, and without .fa and what follows
    local name
    name=$(basename "$1")
    echo "${name%%.f*}"
}
embed() { # embed MODEL OUTPUT FASTA [OPTION...]
    local model=$1 output=$2 fasta=$3 compat=none
    shift 3
    [ "$model" != tnf-k-dnabert-s ] || { model=tnf-k && compat=dnabert-s; }
    dnas-embed -q -m "$model" --compat "$compat" --truncate "$TRUNCATE" "$@" -o "$output" "$fasta"
}
fields() { # fields NAME...: those of the tab-separated table on standard input, in that order
    awk -F '\t' -v OFS='\t' -v names="$*" '
        NR == 1 { n = split(names, name, " "); for (i = 1; i <= NF; i++) at[$i] = i; next }
        { for (i = 1; i <= n; i++) printf "%s%s", $at[name[i]], (i < n ? OFS : "\n") }'
}
mean_sd() { # mean_sd: of the numbers on standard input; the deviation is that of a sample
    awk '{ x[NR] = $1; sum += $1 }
        END {
            for (i = 1; i <= NR; i++) squares += (x[i] - sum / NR) ^ 2
            printf "%.4f\t%.4f\n", sum / NR, (NR > 1 ? sqrt(squares / (NR - 1)) : 0)
        }'
}
cluster_ari() { # cluster_ari EMBEDDINGS: mean and deviation over SEEDS
    local seed
    for seed in $SEEDS; do
        dnas-kmeans -q -k labels --init random -s "$seed" "$1" | dnas-ari | fields ari
    done | mean_sd
}
macro_f1() { # macro_f1 EMBEDDINGS SHOTS: a line for each: shots, mean and deviation over RUNS
    dnas-logreg -q --shots "$2" --test-per-class "$TEST" --runs "$RUNS" --drop-small \
        --standardise "${STANDARDISE:-training}" ${MLP:+--mlp} "$1" |
        fields shots macro_f1 macro_f1_sd |
        awk -F '\t' '{ printf "%d\t%.4f\t%.4f\n", $1, $2, $3 }'
}
scores() { # scores EMBEDDINGS FIELD...: a line of these, ARI and macro F1 after SHOTS
    local ari f1
    ari=$(cluster_ari "$1")
    f1=$(macro_f1 "$1" "$SHOTS" | cut -f 2-)
    shift
    printf '%s\t' "$@"
    printf '%s\t%s\n' "$ari" "$f1"
}
draw() { # draw TABLE X VALUE TITLE CURVE...: VALUE over X, a curve for each value of CURVE
    awk -F '\t' -v x="$2" -v y="$3" -v by="${*:5}" '
        NR == 1 { for (i = 1; i <= NF; i++) at[$i] = i; n = split(by, c, " "); next }
        {
            curve = $at[c[1]]
            for (i = 2; i <= n; i++) curve = curve " " $at[c[i]]
            if (!(curve in known)) { known[curve] = 1; curves[++n_curves] = curve }
            if (!($at[x] in seen)) { seen[$at[x]] = 1; places[++n_places] = $at[x] }
            value[$at[x], curve] = $at[y]
        }
        END {
            printf "%s", x
            for (j = 1; j <= n_curves; j++) printf "\t%s", curves[j]
            for (i = 1; i <= n_places; i++) {
                printf "\n%s", places[i]
                for (j = 1; j <= n_curves; j++) printf "\t%s", value[places[i], curves[j]]
            }
            print ""
        }' "$1" >"$work/curves.tsv"
    dnas-plot -q --curves "$work/curves.tsv" --title "$4" -o "$SVG"
}
