#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""knn_peers.py - times scikit-learn's and faiss's exact neighbours on bench_knn's rows.

usage: knn_peers.py DIR [ROUNDS [THREADS]]

DIR is what `bench_knn ROUNDS THREADS DIR` wrote.  scikit-learn: NearestNeighbors, brute force,
Euclidean (of unit rows: the same neighbours); faiss: IndexFlatIP, whose lists hold the row itself
too.  A library that is not installed is left out.
"""
import os
import sys
import time

N_THREADS = sys.argv[3] if len(sys.argv) > 3 else "2"
os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = N_THREADS
import numpy as np  # noqa: E402


def sklearn_peer(x, k):
    from sklearn.neighbors import NearestNeighbors

    return NearestNeighbors(n_neighbors=k, algorithm="brute").fit(x).kneighbors()


def faiss_peer(x, k):
    import faiss

    faiss.omp_set_num_threads(int(N_THREADS))
    index = faiss.IndexFlatIP(x.shape[1])
    index.add(x)
    return index.search(x, k + 1)


def main():
    folder, n_rounds = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 2
    print("rows", "peer", "seconds", "cpu_seconds", sep="\t")
    for name, k in ("network", 5), ("tnf", 5), ("graph", 30):
        x = np.load(f"{folder}/knn-{name}.npy")
        for peer, run in ("sklearn", sklearn_peer), ("faiss", faiss_peer):
            wall = cpu = float("inf")
            try:
                for _ in range(n_rounds):
                    start, cpu_start = time.perf_counter(), time.process_time()
                    run(x, k)
                    wall = min(wall, time.perf_counter() - start)
                    cpu = min(cpu, time.process_time() - cpu_start)
            except ImportError as missing:
                print(f"# {peer}: {missing}")
                continue
            print(name, peer, f"{wall:.3f}", f"{cpu:.3f}", sep="\t", flush=True)


if __name__ == "__main__":
    main()
