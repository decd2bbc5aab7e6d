#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# default-model.sh - a model of k-mers from a folder of genomes, a file a species:
# how common/models/kmer.safetensors was made.
#
#   pipelines/default-model.sh GENOMES [MODEL.safetensors]
#
# The species is the tag label= or species= of a header, else the name of the
# file.  The order of the files is that of their names in the C locale, and the
# same files, tools and processor give the same bytes.
set -eu -o pipefail
export LC_ALL=C
if [ $# -lt 1 ] || [ ! -d "$1" ]; then
    echo "usage: $0 GENOMES [MODEL.safetensors]" >&2
    exit 2
fi
PATH=${BUILD:-$(dirname "$0")/../build}/bin:$PATH
shopt -s nullglob
genomes=("$1"/*.{fa,fna,fasta}{,.gz,.bgz,.zst})
mapfile -t genomes < <(printf '%s\n' "${genomes[@]}" | sort)
[ -n "${genomes[0]}" ] || { echo "$0: $1 has no .fa, .fna or .fasta" >&2; exit 1; }
dnas-train -v --arch kmer -k 4,5 --transform sqrt --dims 64 --windows 100 --length 2000-20000 \
    --ridge 0.01 -s 1 --no-pg -o "${2:-kmer.safetensors}" "${genomes[@]}"
