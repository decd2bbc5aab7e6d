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

echo "== FASTA to features: $((bytes / 1000000)) MB, one core"
rate 'reading alone (cat)' cat "$fasta"
rate 'counting bytes (wc -c < pipe, limit of a copy)' bash -c "cat '$fasta' | wc -c"
for m in tnf tnf-canonical tnf-k; do
    rate "dnas-embed -m $m" dnas-embed -q -t 1 -m $m "$fasta" -o "$tmp/e.dnas"
done
command -v samtools >/dev/null && rate 'samtools faidx (parsing alone)' samtools faidx "$fasta"
"$BUILD"/tests/bench/bench_features "$fasta" 40

echo "== Byte-pair encoding"
tokenizer=${DNAS_BENCH_TOKENIZER:-$tmp/tokenizer.json}
[ -e "$tokenizer" ] || dnas-tokenize -q --train 4096 examples/genomes.fa.gz -o "$tokenizer"
rate 'dnas-tokenize -t 1' dnas-tokenize -q -t 1 -T "$tokenizer" "$fasta" -o "$tmp/t.dnas"
"$BUILD"/tests/bench/bench_bpe "$tokenizer" "$fasta"

echo "== the network of DNABERT-2's size, one thread"
TMPDIR=$tmp "$BUILD"/tests/bench/bench_bert 1 5

echo "== k-means, one thread: compare processor seconds"
mkdir "$tmp/kmeans"
"$BUILD"/tests/bench/bench_kmeans 1 1 "$tmp/kmeans"
# Debian's reference BLAS, which numpy has by default, makes the peers some twenty
# times slower than OpenBLAS does: install libopenblas0-pthread for a fair race.
peers=
for python in python3 /usr/bin/python3; do
    [ -n "$peers" ] || { "$python" -c 'import numpy' 2>/dev/null && peers=$python; }
done
if [ -n "$peers" ]; then
    timeout 900 "$peers" tests/bench/kmeans_peers.py "$tmp/kmeans" 1 1 || echo "the peers did not finish"
else
    echo "python3 has no numpy: scikit-learn and faiss are left out"
fi

echo "== binning by k-medoid, one thread: compare processor seconds"
mkdir "$tmp/kmedoid"
"$BUILD"/tests/bench/bench_kmedoid 20000 1 "$tmp/kmedoid"
[ -z "$peers" ] || timeout 1800 "$peers" tests/bench/kmedoid_peers.py "$tmp/kmedoid" 1 || echo "numpy did not finish"
# The sizes of the paper's sets; DNABERT-S's own way needs 62 GB for the last.
for n in ${DNAS_BENCH_ROWS:-50000 125000}; do
    "$BUILD"/tests/bench/bench_kmedoid "$n" 1 | tail -n 2
done
