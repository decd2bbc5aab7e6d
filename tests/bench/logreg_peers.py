#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""logreg_peers.py - times scikit-learn's logistic regression on bench_logreg's data.

usage: logreg_peers.py DIR [ROUNDS [THREADS]]

DIR is what `bench_logreg ROUNDS THREADS DIR` wrote.  The same objective, solver and tolerance
(scikit-learn 1.2 to 1.4 stops at a gradient of 1e-4 in the sum over rows, later ones in its mean: there the tolerance
is divided by the rows).  Best of ROUNDS, on 1 thread or as many as asked; where other work runs beside it, compare
processor seconds with 1 thread.  Also says how far our coefficients lie from scikit-learn's.
"""
import os
import sys
import time
import warnings

N_THREADS = sys.argv[3] if len(sys.argv) > 3 else "1"
os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = N_THREADS
import numpy as np  # noqa: E402


def main():
    folder, n_rounds = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 1
    try:
        import sklearn
        from sklearn.linear_model import LogisticRegression
    except ImportError as missing:
        print(f"# {missing}")
        return
    warnings.simplefilter("ignore")
    x, y = np.load(f"{folder}/x.npy"), np.load(f"{folder}/y.npy")
    weight, bias = np.load(f"{folder}/weight.npy"), np.load(f"{folder}/bias.npy")
    version = tuple(int(part) for part in sklearn.__version__.split(".")[:2])
    tol = 1e-4 if version < (1, 5) else 1e-4 / len(x)
    print("peer", "iterations", "seconds", "cpu_seconds", "largest_difference", sep="\t")
    best = None
    for _ in range(n_rounds):
        start, cpu = time.perf_counter(), time.process_time()
        lr = LogisticRegression(C=0.5, max_iter=3000, tol=tol).fit(x, y)
        took = time.perf_counter() - start, time.process_time() - cpu
        best = took if best is None or took[1] < best[1] else best
    differ = max(abs(lr.coef_ - weight).max(), abs(lr.intercept_ - bias).max())
    print(f"sklearn {sklearn.__version__}", lr.n_iter_[0], f"{best[0]:.2f}", f"{best[1]:.2f}", f"{differ:.2g}",
          sep="\t", flush=True)


if __name__ == "__main__":
    main()
