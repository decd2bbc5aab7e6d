#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# demo.sh - the main job end to end: 633 pieces of 16 genomes are embedded,
# clustered without a look at their species, scored against them and drawn.
# `make demo` runs it.
set -eu -o pipefail
cd "$(dirname "$0")/.."
PATH=${BUILD:-$PWD/build}/bin:$PATH
mkdir -p demo

show() { # show COMMAND: prints it, then runs it
    printf '\n$ %s\n' "$1"
    bash -eu -o pipefail -c "$1"
}

echo "16 genomes from Debian packages, cut into 633 pieces of 2 to 20 kb (examples/README.md)."
show 'dnas-embed -v examples/genomes.fa.gz -o demo/embeddings.dnas'
show 'dnas-kmeans -k labels demo/embeddings.dnas -o demo/clusters.dnas'
show 'dnas-view --rows 1-5 demo/clusters.dnas'
show 'dnas-ari demo/clusters.dnas | tee demo/scores.tsv'
show 'dnas-plot --method tsne --title "633 pieces of 16 genomes, coloured by species" \
    demo/embeddings.dnas -o demo.svg'
ari=$(awk -F '\t' 'NR == 1 { for (i = 1; i <= NF; i++) if ($i == "ari") c = i }
                   NR == 2 { printf "%.2f", $c }' demo/scores.tsv)
printf '\nClusters and species agree with an adjusted Rand index of %s (1: the same, 0: chance).\n' \
    "$ari"
echo "The picture is demo.svg: open it in a browser.  The streams are in demo/."
