#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# demo-train.sh - a small network is trained for a minute on pairs from 16
# genomes: its learning curve, and what it makes of their pieces beside what the
# same network made of them before.  `make demo-train` runs it.
set -eu -o pipefail
cd "$(dirname "$0")/.."
PATH=${BUILD:-$PWD/build}/bin:$PATH
mkdir -p demo

show() { # show COMMAND: prints it, then runs it
    printf '\n$ %s\n' "$1"
    bash -eu -o pipefail -c "$1"
}
ari() { # ari MODEL: of k-means on the pieces
    dnas-embed -q -m "$1" --truncate 4000 examples/genomes.fa.gz |
        dnas-kmeans -q -k labels | dnas-ari |
        awk -F '\t' 'NR == 1 { for (i = 1; i <= NF; i++) if ($i == "ari") c = i }
            NR == 2 { printf "%.2f", $c }'
}

echo "Two windows of 1 kb of one genome are a pair; 16 genomes (examples/README.md)."
show 'dnas-tokenize -q --train 512 examples/genomes.fa.gz -o demo/tokenizer.json'
show 'dnas-pairs -n 1200 --length 1000 --validation 0.1 examples/genomes.fa.gz |
    dnas-tokenize -T demo/tokenizer.json -o demo/pairs.dnas'
options='--arch bert -T demo/tokenizer.json --layers 2 --width 64 --heads 4 --batch 24 --rate 1e-3 \
    --head-rate 1 --warmup 10'
rm -f demo/network.safetensors.checkpoint demo/untrained.safetensors.checkpoint
show "dnas-train -q $options --rate 1e-12 --max-steps 1 demo/pairs.dnas -o demo/untrained.safetensors"
show "dnas-train -v $options --curriculum wsimclr:2,mimix:1 --log demo/log.tsv demo/pairs.dnas \\
    -o demo/network.safetensors"
show 'cut -f 1-3 demo/log.tsv | dnas-plot --title "Loss of a batch, and of pairs kept for validation" \
    --curves - -o demo-train.svg'
printf '\nAdjusted Rand index of k-means on 633 pieces of these genomes:\n'
printf '  untrained %s, trained %s, tnf-canonical %s\n' "$(ari demo/untrained.safetensors)" \
    "$(ari demo/network.safetensors)" "$(ari tnf-canonical)"
echo "A minute on the genomes that are told apart shows that the network learns, and no more."
echo "The curve is demo-train.svg; the model, which dnas-embed -m takes, is demo/network.safetensors."
