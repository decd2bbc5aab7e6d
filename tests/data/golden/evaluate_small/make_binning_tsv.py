#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""make_binning_tsv.py - binning.tsv and binning_scores.tsv from the arrays of a run.

usage: make_binning_tsv.py binning.npz

binning.npz holds what the evaluation code of DNABERT-S computed (README.md).  binning.tsv has a
row for each sequence: its species, and its bin at three thresholds; binning_scores.tsv what that
code and scikit-learn made of them.
"""
import pathlib
import sys

import numpy as np

THRESHOLDS = "p30", "p50", "p70"


def main():
    here = pathlib.Path(__file__).parent
    run = np.load(sys.argv[1])
    assert run["kept"].all()
    with open(here / "binning.tsv", "w") as out:
        print("species", *THRESHOLDS, sep="\t", file=out)
        for row in zip(run["kept_labels"], *(run[f"{p}_bins"] for p in THRESHOLDS)):
            print(*row, sep="\t", file=out)
    with open(here / "binning_scores.tsv", "w") as out:
        print("bins", "ari", *(f"f1_above_0.{k}" for k in range(1, 10)),
              *(f"recall_above_0.{k}" for k in range(1, 10)), sep="\t", file=out)
        for p in THRESHOLDS:
            print(p, repr(float(run[f"{p}_ari"])), *run[f"{p}_f1_counts"], *run[f"{p}_recall_counts"],
                  sep="\t", file=out)


if __name__ == "__main__":
    main()
