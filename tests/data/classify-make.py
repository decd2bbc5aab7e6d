#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""classify-make.py - makes classify.tsv: what scikit-learn 1.2.1 computes in cases that
golden/evaluate_small has not.  Run with Python, numpy and scikit-learn in this folder.

binary_*  logistic regression, C = 0.5, on the standardised rows of lr10_train with labels 0 and 1
mlp_*     MLPClassifier on the standardised rows of lr2_train (50 rows, 25 classes): 7 hidden units, batches of all
          rows, 5 epochs, from the weights that mlp.c draws with seed 3 and step 4
scores_*  the six scores of made-up predictions: classes that are never predicted, never true, and absent
"""
import warnings

import numpy as np
from sklearn import metrics
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier
from sklearn.preprocessing import StandardScaler

warnings.simplefilter("ignore")
z = np.load("golden/evaluate_small/evaluate.npz")
x, y = z["standardized"].astype(float), z["labels"]
out = open("classify.tsv", "w")


def write(name, values):
    print(name, *(f"{v:.17g}" for v in np.ravel(values)), sep="\t", file=out)


def philox(counter, key):
    """Ten rounds of Philox4x32 (Salmon et al. 2011)."""
    c, k = list(counter), list(key)
    for _ in range(10):
        a, b = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
        c = [(b >> 32) ^ c[1] ^ k[0], b & 0xFFFFFFFF, (a >> 32) ^ c[3] ^ k[1], a & 0xFFFFFFFF]
        k = [(k[0] + 0x9E3779B9) & 0xFFFFFFFF, (k[1] + 0xBB67AE85) & 0xFFFFFFFF]
    return c


def uniforms(n, seed, purpose, step, row):
    words = [w for i in range((n + 1) // 2) for w in philox((i, step, row, purpose), (seed, 0))]
    return np.array([((words[2 * i] | words[2 * i + 1] << 32) >> 11) * 2.0**-53 for i in range(n)])


def binary():
    rows = z["lr10_train"]
    rows = rows[y[rows] < 2]
    lr = LogisticRegression(C=0.5, max_iter=3000, tol=1e-8).fit(x[rows], y[rows])
    write("binary_rows", rows)
    write("binary_coef", lr.coef_)
    write("binary_intercept", lr.intercept_)


def mlp():
    rows, (C, H, K) = z["lr2_train"], (x.shape[1], 7, 25)
    u = 2 * uniforms(H * C + H + K * H + K, 3, 21, 4, 0) - 1
    first, second = np.sqrt(6 / (C + H)), np.sqrt(6 / (H + K))
    cut = np.cumsum([H * C, H, K * H])
    hidden, hidden_bias, weight, bias = np.split(u.astype(float), cut)
    net = MLPClassifier((H,), batch_size=len(rows), max_iter=1)
    net.partial_fit(x[rows], y[rows], classes=np.arange(K))
    net.coefs_ = [(first * hidden).reshape(H, C).T.copy(), (second * weight).reshape(K, H).T.copy()]
    net.intercepts_ = [first * hidden_bias, second * bias]
    del net._optimizer, net.t_  # Adam from its start
    net.t_ = 0
    from sklearn.neural_network._stochastic_optimizers import AdamOptimizer

    net._optimizer = AdamOptimizer(net.coefs_ + net.intercepts_, 1e-3)
    for _ in range(5):
        net.partial_fit(x[rows], y[rows])
    write("mlp_hidden", net.coefs_[0].T)
    write("mlp_hidden_bias", net.intercepts_[0])
    write("mlp_weight", net.coefs_[1].T)
    write("mlp_bias", net.intercepts_[1])
    write("mlp_loss", net.loss_)


def scores():
    truth = np.array([0, 0, 0, 1, 1, 2, 2, 2, 2, 4, 4, 5])
    predicted = np.array([0, 0, 1, 1, 2, 2, 2, 0, 6, 0, 4, 4])  # 3 in neither, 5 never predicted, 6 never true
    p_true = np.linspace(0.05, 1, len(truth))
    p_true[3] = 0
    p = np.tile((1 - p_true)[:, None] / 6, 7)
    p[np.arange(len(truth)), truth] = p_true
    average = {"average": "macro", "zero_division": 0}
    write("scores_truth", truth)
    write("scores_predicted", predicted)
    write("scores_p_true", p_true)
    write("scores_all", [
        metrics.f1_score(truth, predicted, **average),
        metrics.accuracy_score(truth, predicted),
        metrics.precision_score(truth, predicted, **average),
        metrics.recall_score(truth, predicted, **average),
        metrics.matthews_corrcoef(truth, predicted),
        metrics.log_loss(truth, p, labels=np.arange(7)),
    ])


def scaler():
    columns = np.array([[1e6, 3, 0, 1e-3], [1e6 + 0.5, 3, 0, 2e-3], [1e6 + 1.25, 3, 0, -1e-3]], np.float32)
    s = StandardScaler().fit(columns.astype(float))
    write("scaler_mean", s.mean_)
    write("scaler_scale", s.scale_)


binary()
mlp()
scores()
scaler()
out.close()
