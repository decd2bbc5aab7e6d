#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# train-network.sh - a network trained on a folder of genomes by the objectives of
# DNABERT-S, one after the other and together, and what each is worth.
#
#   pipelines/train-network.sh GENOMES LABELLED.fa... > table.tsv
#
# Without a GPU this is for small networks.  Settings, as variables:
#   LAYERS=2 WIDTH=128 HEADS=4   the network         VOCABULARY=4096
#   PAIRS=20000 LENGTH=2000      what it learns from  BATCH=48 RATE=1e-3
#   SEEDS='1 2 3'                runs of everything   OUT=trained (a folder)
#   OBJECTIVES='untrained wsimclr mimix curriculum'; also imix, supcon and
#                curriculum-imix (Weighted SimCLR and then i-Mix), which are all of Table 2
# Broken off, it goes on where it was when called again.
set -eu -o pipefail
export LC_ALL=C
if [ $# -lt 2 ] || [ ! -d "$1" ]; then
    echo "usage: $0 GENOMES LABELLED.fa..." >&2
    exit 2
fi
PATH=${BUILD:-$(dirname "$0")/../build}/bin:$PATH
: "${LAYERS:=2}" "${WIDTH:=128}" "${HEADS:=4}" "${VOCABULARY:=4096}" "${PAIRS:=20000}"
: "${LENGTH:=2000}" "${BATCH:=48}" "${RATE:=1e-3}" "${SEEDS:=1 2 3}" "${OUT:=trained}"
: "${OBJECTIVES:=untrained wsimclr mimix curriculum}"
shopt -s nullglob
genomes=("$1"/*.{fa,fna,fasta}{,.gz,.bgz,.zst})
shift
mkdir -p "$OUT"

[ -s "$OUT/tokenizer.json" ] ||
    dnas-tokenize --train "$VOCABULARY" "${genomes[@]}" -o "$OUT/tokenizer.json"
[ -s "$OUT/pairs.dnas" ] ||
    dnas-pairs -n "$PAIRS" --length "$LENGTH" --validation 0.02 --validate-by species "${genomes[@]}" |
    dnas-tokenize -T "$OUT/tokenizer.json" -o "$OUT/pairs.dnas"

train() { # train NAME SEED OPTIONS...
    local model=$OUT/$1.$2.safetensors seed=$2 name=$1
    shift 2
    [ -s "$model" ] || dnas-train -v --resume --arch bert -T "$OUT/tokenizer.json" -s "$seed" \
        --layers "$LAYERS" --width "$WIDTH" --heads "$HEADS" --batch "$BATCH" --rate "$RATE" \
        --head-rate 1 --warmup 50 --schedule cosine --log "$OUT/$name.$seed.tsv" "$@" \
        -o "$model" "$OUT/pairs.dnas"
}
score() { # score NAME MODEL SEED: a line for each labelled file
    for labelled in "${files[@]}"; do
        dnas-embed -q -m "$2" "$labelled" | dnas-kmeans -q -k labels --init random -s "$3" | dnas-ari |
            awk -F '\t' -v OFS='\t' -v name="$1" -v seed="$3" -v set="$(basename "$labelled")" '
                NR == 1 { for (i = 1; i <= NF; i++) if ($i == "ari") c = i }
                NR == 2 { print name, seed, set, $c }'
    done
}

files=("$@")
printf 'model\tseed\tset\tari\n'
for seed in $SEEDS; do
    for objective in $OBJECTIVES; do
        case $objective in
        untrained) train untrained "$seed" --max-steps 1 --curriculum wsimclr --rate 1e-12 ;;
        curriculum) train curriculum "$seed" --curriculum wsimclr:1,mimix:2 ;;
        curriculum-imix) train curriculum-imix "$seed" --curriculum wsimclr:1,imix:2 ;;
        *) train "$objective" "$seed" --curriculum "$objective:3" ;;
        esac
    done
    for features in tnf tnf-canonical; do
        score "$features" "$features" "$seed"
    done
    for objective in $OBJECTIVES; do
        score "$objective" "$OUT/$objective.$seed.safetensors" "$seed"
    done
done
