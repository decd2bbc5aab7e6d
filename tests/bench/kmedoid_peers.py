#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""kmedoid_peers.py - times DNABERT-S's way of binning in numpy on bench_kmedoid's rows.

usage: kmedoid_peers.py DIR [THREADS]

DIR is what `bench_kmedoid ROWS THREADS DIR` wrote.  As in the original, all N x N similarities are held, so that
62 GB are needed for 125,000 rows; the rounds go on until no row is left to try, as in bench_kmedoid (the original
stops after 1000).  Its time is that of numpy's BLAS: install libopenblas0-pthread for a fair race.
"""
import os
import resource
import sys
import time

os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = sys.argv[2] if len(sys.argv) > 2 else "2"
import numpy as np  # noqa: E402

THRESHOLD, SMALLEST, STEPS = np.float32(0.62), 10, 3


def bins_of(x):
    table = x @ x.T
    table[table < THRESHOLD] = 0
    density = table.sum(axis=1)
    label = np.full(len(x), -1)
    rounds = 0
    while (top := int(density.argmax())) >= 0 and density[top] > -np.inf:
        rounds += 1
        density[top] = -np.inf
        centre = x[top]
        for _ in range(STEPS):
            taken = np.flatnonzero((x @ centre >= THRESHOLD) & (label < 0))
            if len(taken) == 0:
                break
            centre = x[taken].mean(axis=0)
        label[taken] = rounds
        density -= table[:, taken].sum(axis=1)
        density[taken] = -np.inf
    sizes = np.bincount(label[label >= 0])
    return int((sizes >= SMALLEST).sum()), rounds


def main():
    print("data", "peer", "rows", "seconds", "cpu_seconds", "peak_mib", "bins", "rounds", sep="\t")
    for name in "flat", "steep":
        x = np.load(f"{sys.argv[1]}/{name}.npy")
        start, cpu = time.perf_counter(), time.process_time()
        n_bins, rounds = bins_of(x)
        print(name, "numpy", len(x), f"{time.perf_counter() - start:.2f}", f"{time.process_time() - cpu:.2f}",
              resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024, n_bins, rounds, sep="\t", flush=True)


if __name__ == "__main__":
    main()
