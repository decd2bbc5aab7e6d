#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""kmeans_peers.py - times scikit-learn's and faiss's k-means on bench_kmeans's data.

usage: kmeans_peers.py DIR [ROUNDS [THREADS]]

DIR is what `bench_kmeans ROUNDS THREADS DIR` wrote.  Both start from the same centres and take the same
number of iterations as dnas (at most 20; scikit-learn stops by itself when no label changes,
faiss gets that number), on 2 threads or as many as asked; faiss's last search for labels is counted, since k-means
is of no use without them.  Best of ROUNDS; where other work runs beside it, compare processor
seconds with 1 thread: OpenMP's threads wait for each other in a loop.  A library that is not installed is left out.
"""
import os
import sys
import time
import warnings

N_THREADS = sys.argv[3] if len(sys.argv) > 3 else "2"
os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = N_THREADS
import numpy as np  # noqa: E402


def timed(run):
    start, cpu = time.perf_counter(), time.process_time()
    result = run()
    return time.perf_counter() - start, time.process_time() - cpu, result


def sklearn_peer(x, init, tol=0):
    from sklearn.cluster import KMeans

    warnings.simplefilter("ignore")
    km = KMeans(len(init), init=init, n_init=1, max_iter=20, tol=tol, algorithm="lloyd").fit(x)
    return km.n_iter_, km.inertia_


def faiss_peer(x, init, n_iter):
    import faiss

    faiss.omp_set_num_threads(int(N_THREADS))
    km = faiss.Kmeans(x.shape[1], len(init), niter=n_iter, min_points_per_centroid=1,
                      max_points_per_centroid=len(x))
    km.train(x, init_centroids=init)
    distance2, _ = km.index.search(x, 1)
    return n_iter, float(distance2.sum())


def plus_plus_peer(x, k):
    from sklearn.cluster import kmeans_plusplus

    kmeans_plusplus(x, k, random_state=0)
    return 0, float("nan")


def main():
    folder, n_rounds = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 2
    print("data", "peer", "iterations", "seconds", "cpu_seconds", "inertia", sep="\t")
    for name in "random", "clustered":
        x = np.load(f"{folder}/{name}.npy")
        init = np.load(f"{folder}/{name}-init.npy")
        n_iter = 20
        for peer, run in (
            ("sklearn", lambda: sklearn_peer(x, init)),
            ("faiss", lambda: faiss_peer(x, init, n_iter)),
            ("sklearn kmeans_plusplus", lambda: plus_plus_peer(x, len(init))),
        ):
            try:
                runs = [timed(run) for _ in range(n_rounds)]
            except ImportError as missing:
                print(f"# {peer}: {missing}")
                continue
            seconds, cpu = min(r[0] for r in runs), min(r[1] for r in runs)
            iterations, inertia = runs[0][2]
            if peer == "sklearn":
                n_iter = iterations
            print(name, peer, iterations, f"{seconds:.3f}", f"{cpu:.3f}", f"{inertia:.9g}", sep="\t",
                  flush=True)


if __name__ == "__main__":
    main()
