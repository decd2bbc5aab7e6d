#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
#
# make_tnf_tsv.py - tnf.npz as text: make_tnf_tsv.py tnf.npz > tnf.tsv
#
# tnf.npz holds what DNABERT-S's evaluation code (evaluate/utils.py) computed for the random
# sequences of tnf.fa: `kmer_order`, the 4-mers' names in its order, and `tnf`, f64 [4,256].
import struct
import sys
import zipfile


def values(archive, name, kind, size):
    data = archive.read(name)
    start = 10 + struct.unpack("<H", data[8:10])[0]  # .npy version 1
    return [data[i : i + size] if kind is None else struct.unpack(kind, data[i : i + size])[0]
            for i in range(start, len(data), size)]


with zipfile.ZipFile(sys.argv[1]) as z:
    kmers = [v.decode("utf-32-le") for v in values(z, "kmer_order.npy", None, 16)]
    tnf = values(z, "tnf.npy", "<d", 8)
n = len(tnf) // len(kmers)
print("kmer", *(f"s{i}" for i in range(n)), sep="\t")
for k, kmer in enumerate(kmers):
    print(kmer, *(f"{tnf[i * len(kmers) + k]:.17g}" for i in range(n)), sep="\t")
