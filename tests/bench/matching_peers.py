#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""matching_peers.py - times scipy's linear assignment on bench_matching's tables.

usage: matching_peers.py DIR [ROUNDS]

DIR is what `bench_matching N ROUNDS DIR` wrote.  The sums must be those of bench_matching.
"""
import sys
import time

import numpy as np


def main():
    from scipy.optimize import linear_sum_assignment

    folder, n_rounds = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 3
    print("table", "N", "sum", "scipy_cpu_seconds", sep="\t")
    for name in "uniform", "ties", "bins", "product":
        weight = np.load(f"{folder}/matching-{name}.npy")
        best = float("inf")
        for _ in range(n_rounds):
            start = time.process_time()
            row, column = linear_sum_assignment(weight, maximize=True)
            best = min(best, time.process_time() - start)
        print(name, len(weight), weight[row, column].sum(), f"{best:.3f}", sep="\t", flush=True)


if __name__ == "__main__":
    main()
