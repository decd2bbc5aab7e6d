#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# run.sh - `make bench`: timings beside the limits of the machine, measured in
# the same run.  Each ratio is within one run; the machine's speed may drift.
#
#   DNAS_BENCH_FASTA=FILE   plain FASTA to read (default: the examples, 40 times)
#   DNAS_BENCH_TOKENIZER=FILE   a tokenizer.json (default: one of 4096 tokens made here)
#   DNAS_BENCH_ROWS='N...'      sizes for binning beyond 20,000 rows (default: 50000 125000)
set -eu -o pipefail
cd "$(dirname "$0")/../.."
: "${BUILD:=$PWD/build}"
PATH=$BUILD/bin:$PATH
export LC_ALL=C
tmp=$(mktemp -d "${TMPDIR:-/tmp}/dnas-bench.XXXXXX")
trap 'rm -rf "$tmp"' EXIT

fasta=${DNAS_BENCH_FASTA:-$tmp/genomes.fa}
if [ -z "${DNAS_BENCH_FASTA:-}" ]; then
    for i in $(seq 40); do
        zcat examples/genomes.fa.gz | sed "s/^>/>copy${i}_/"
    done >"$fasta"
fi
bytes=$(stat -c %s "$fasta")

median() { # median COMMAND...: seconds of processor time of the median of five runs
    local i
    for i in 1 2 3 4 5; do
        { TIMEFORMAT='%U %S'; time "$@" >/dev/null; } 2>&1 | awk '{ print $1 + $2 }'
    done | sort -g | sed -n 3p
}
rate() { # rate NAME COMMAND...: MB of FASTA a second of one core
    local name=$1 s
    shift
    s=$(median "$@")
    awk -v n="$name" -v b="$bytes" -v s="$s" 'BEGIN { printf "%-44s %8.0f MB/s\n", n, b / s / 1e6 }'
}

wall() { # wall NAME COMMAND...: MB of FASTA a second by the clock, the best of seven runs
    local name=$1 i s
    shift
    s=$(for i in 1 2 3 4 5 6 7; do
        { TIMEFORMAT=%R; time "$@" >/dev/null; } 2>&1
    done | sort -g | head -n 1)
    awk -v n="$name" -v b="$bytes" -v s="$s" 'BEGIN { printf "%-44s %8.0f MB/s\n", n, b / s / 1e6 }'
}

echo "== FASTA to features: $((bytes / 1000000)) MB, one core"
rate 'reading alone (cat)' cat "$fasta"
rate 'counting bytes (wc -c < pipe, limit of a copy)' bash -c "cat '$fasta' | wc -c"
for m in tnf tnf-canonical tnf-k kmer; do
    rate "dnas-embed -m $m" dnas-embed -q -t 1 -m $m "$fasta" -o "$tmp/e.dnas"
done
for m in tnf kmer; do
    wall "dnas-embed -m $m -t 2, by the clock" dnas-embed -q -t 2 -m $m "$fasta" -o "$tmp/e.dnas"
done
command -v samtools >/dev/null && rate 'samtools faidx (parsing alone)' samtools faidx "$fasta"
"$BUILD"/tests/bench/bench_features "$fasta" 40

echo "== Byte-pair encoding"
tokenizer=${DNAS_BENCH_TOKENIZER:-$tmp/tokenizer.json}
[ -e "$tokenizer" ] || dnas-tokenize -q --train 4096 examples/genomes.fa.gz -o "$tokenizer"
rate 'dnas-tokenize -t 1' dnas-tokenize -q -t 1 -T "$tokenizer" "$fasta" -o "$tmp/t.dnas"
"$BUILD"/tests/bench/bench_bpe "$tokenizer" "$fasta"

echo "== Pairs from genomes: MB of FASTA a second, one core; it reads twice what it draws from"
gzip -1nc "$fasta" >"$tmp/genomes.fa.gz"
rate 'gzip -dc (limit for a compressed file, once)' gzip -dc "$tmp/genomes.fa.gz"
for f in "$fasta" "$tmp/genomes.fa.gz"; do
    kind=plain
    [[ $f != *.gz ]] || kind=gzip
    rate "dnas-pairs -n 1 ($kind: the index)" dnas-pairs -q -t 1 -n 1 --length 2000 "$f" -o "$tmp/p.dnas"
    # As many letters as there are, and --length is half a pair.
    rate "dnas-pairs ($kind: as many letters out)" dnas-pairs -q -t 1 -n $((bytes / 4000)) --length 2000 \
        "$f" -o "$tmp/p.dnas"
done
rm -f "$tmp/p.dnas" "$tmp/genomes.fa.gz"

echo "== the network of DNABERT-2's size, one thread"
TMPDIR=$tmp "$BUILD"/tests/bench/bench_bert 1 5
TMPDIR=$tmp "$BUILD"/tests/bench/bench_esm 1 5
TMPDIR=$tmp "$BUILD"/tests/bench/bench_hyena 1 5
torch=
for python in python3 /usr/bin/python3; do
    [ -n "$torch" ] || { "$python" -c 'import torch' 2>/dev/null && torch=$python; }
done
if [ -n "$torch" ]; then
    timeout 900 "$torch" tests/bench/bert_peers.py 1 5 || echo "PyTorch did not finish"
else
    echo "python3 has no torch (Debian: python3-torch): PyTorch is left out"
fi

# The first Python that has numpy, for the peers.
peers=
for python in python3 /usr/bin/python3; do
    [ -n "$peers" ] || { "$python" -c 'import numpy' 2>/dev/null && peers=$python; }
done
[ -n "$peers" ] || echo "python3 has no numpy: scikit-learn, scipy and faiss are left out"
beside() { # beside SCRIPT ARGUMENTS...: a script of peers, where it can run
    [ -z "$peers" ] || timeout 900 "$peers" "tests/bench/$1" "${@:2}" || echo "the peers did not finish"
}

echo "== linear assignment, one thread"
"$BUILD"/tests/bench/bench_matching 2000 3 "$tmp"
beside matching_peers.py "$tmp" 3

echo "== nearest neighbours, one thread: compare processor seconds"
"$BUILD"/tests/bench/bench_knn 2 1 "$tmp"
beside knn_peers.py "$tmp" 1 1

echo "== logistic regression, one thread: compare processor seconds"
mkdir "$tmp/logreg"
"$BUILD"/tests/bench/bench_logreg 1 1 "$tmp/logreg"
beside logreg_peers.py "$tmp/logreg" 1 1

echo "== a step of training, one thread: compare processor seconds"
"$BUILD"/tests/bench/bench_train 1 2 2000
if [ -n "$torch" ]; then
    timeout 900 "$torch" tests/bench/train_peers.py 1 2 2000 || echo "PyTorch did not finish"
fi

echo "== steps of an autoencoder, one thread"
"$BUILD"/tests/bench/bench_vae
[ -z "$torch" ] || timeout 900 "$torch" tests/bench/vae_peers.py || echo "PyTorch did not finish"

echo "== bins by likelihood, one thread: seconds by the clock"
"$BUILD"/tests/bench/bench_graph 1

echo "== k-means, one thread: compare processor seconds"
mkdir "$tmp/kmeans"
"$BUILD"/tests/bench/bench_kmeans 1 1 "$tmp/kmeans"
# Debian's reference BLAS, which numpy has by default, makes the peers some twenty
# times slower than OpenBLAS does: install libopenblas0-pthread for a fair race.
beside kmeans_peers.py "$tmp/kmeans" 1 1

echo "== binning by k-medoid, one thread: compare processor seconds"
mkdir "$tmp/kmedoid"
"$BUILD"/tests/bench/bench_kmedoid 20000 1 "$tmp/kmedoid"
beside kmedoid_peers.py "$tmp/kmedoid" 1
# The sizes of the paper's sets; DNABERT-S's own way needs 62 GB for the last.
for n in ${DNAS_BENCH_ROWS:-50000 125000}; do
    "$BUILD"/tests/bench/bench_kmedoid "$n" 1 | tail -n 2
done
