#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# gpu.sh - `make bench-gpu`: the CUDA library beside the limits of the GPU and beside PyTorch,
# all in one run of some ten minutes.
#
#   gpu.sh           on GPU number 0
#   gpu.sh --tiny    on the emulated one, tiny: that it runs, not how fast
#
#   DNAS_BENCH_LOG=FILE   what is printed, too
#
# BUILD=build bash tests/bench/gpu.sh runs what was built elsewhere, where there is no compiler;
# LD_LIBRARY_PATH must then have the libraries of both (those of `make bundle`, and CUDA's).
set -eu -o pipefail
cd "$(dirname "$0")/../.."
: "${BUILD:=$PWD/build}"
PATH=$BUILD/bin:$PATH
export LC_ALL=C
tmp=$(mktemp -d "${TMPDIR:-/tmp}/dnas-bench.XXXXXX")
trap 'rm -rf "$tmp"' EXIT
export TMPDIR=$tmp

tiny='' copies=20 most=600 piece=10000 vocabulary=4096
if [ "${1:-}" = --tiny ]; then
    tiny=--tiny copies=2 most=3 piece=300 vocabulary=100
    export DNAS_CUDA_LIBRARY=$BUILD/libdnas-cuda-emulated.so
fi
[ -z "${DNAS_BENCH_LOG:-}" ] || exec > >(tee "$DNAS_BENCH_LOG") 2>&1

within() { # within SECONDS COMMAND...: the rest goes on where it fails
    local limit=$1 status=0
    shift
    timeout "$limit" "$@" || status=$?
    [ $status = 0 ] || echo "did not finish (status $status): $*"
}

dnas-embed --version | tail -n 1
if command -v nvidia-smi >/dev/null; then
    nvidia-smi --query-gpu=name,driver_version,clocks.max.sm,power.limit,memory.total --format=csv,noheader ||
        echo 'nvidia-smi: fails'
else
    echo 'nvidia-smi: not there'
fi
nproc | sed 's/$/ processors/'

within 240 "$BUILD"/tests/bench/bench_gpu $tiny

size='117 M parameters, sequences of 10 kb'
[ -z "$tiny" ] || size='tiny'
echo "== end to end: dnas-embed from FASTA, $size (expected of an H200: 500 a second first, then 800)"
mkdir "$tmp/model"
"$BUILD"/tests/bench/bench_gpu $tiny --model "$tmp/model"
dnas-tokenize -q --train $vocabulary examples/genomes.fa.gz -o "$tmp/model/tokenizer.json"
# Pieces out of the example genomes, turned so that all of them differ.
zcat examples/genomes.fa.gz | awk '!/^>/ { print toupper($0) }' | tr -cd ACGT | fold -w $piece >"$tmp/pieces"
awk -v copies=$copies -v piece=$piece -v most=$most 'length($0) == piece && n < most { s[n++] = $0 }
    END { for (c = 0; c < copies; c++) for (i = 0; i < n; i++) {
        k = (c * 239) % (piece - 10) + 1
        print ">c" c "_" i; print substr(s[i], k) substr(s[i], 1, k - 1) } }' "$tmp/pieces" >"$tmp/in.fa"
head -n 2 "$tmp/in.fa" >"$tmp/one.fa"
head -n 1000 "$tmp/in.fa" >"$tmp/some.fa"

end_to_end() { # end_to_end NAME FASTA ARGUMENTS...: less the time of a run with one sequence
    local name=$1 in=$2 n tokens a b c
    shift 2
    n=$(grep -c '^>' "$in")
    tokens=$(dnas-tokenize -q -T "$tmp/model/tokenizer.json" "$in" | dnas-view --json |
        awk -F '"tokens": ' '{ split($2, a, "]"); n += gsub(/,/, "", a[1]) + 1 } END { print n }')
    a=$(date +%s.%N)
    within 60 dnas-embed -q -d cuda -m "$tmp/model" "$@" "$tmp/one.fa" -o "$tmp/one.dnas"
    b=$(date +%s.%N)
    within 120 dnas-embed -q -d cuda -m "$tmp/model" "$@" "$in" -o "$tmp/out.dnas"
    c=$(date +%s.%N)
    awk -v name="$name, $n of $((tokens / n)) tokens" -v a="$a" -v b="$b" -v c="$c" -v n="$n" -v t="$tokens" 'BEGIN {
        s = c - b - (b - a); if (s <= 0) s = c - b
        printf "%-44s %8.0f seq/s %10.0f tokens/s; %.2f s in all, %.2f s with one sequence\n",
            name, n / s, t / s, c - b, b - a }'
}
end_to_end 'bf16' "$tmp/in.fa"
DNAS_CUDA_KERNELS=sm90 end_to_end 'bf16, sm90' "$tmp/in.fa"
if [ -z "$tiny" ]; then
    end_to_end 'bf16, batches of 16384 tokens' "$tmp/in.fa" --batch-tokens 16384
    end_to_end 'bf16, one thread' "$tmp/in.fa" -t 1
    end_to_end 'f32' "$tmp/some.fa" --precision f32
fi

echo "== training: steps of 48 pairs x 2 x 2,000 tokens, Adam included, bf16"
within 120 "$BUILD"/tests/bench/bench_train gpu $tiny | tee "$tmp/steps"

works='import torch; assert torch.cuda.is_available()' torch=''
[ -z "$tiny" ] || works='import torch'
for python in python3 /usr/bin/python3; do
    [ -n "$torch" ] || { "$python" -c "$works" 2>/dev/null && torch=$python; }
done
if [ -z "$torch" ]; then
    echo "python3 has no torch$([ -n "$tiny" ] || echo ' with CUDA'): PyTorch is left out"
else
    within 150 "$torch" tests/bench/train_peers.py gpu $tiny "$tmp/steps"
    [ -n "$tiny" ] || within 200 "$torch" tests/bench/gpu_peers.py
fi
