/* SPDX-License-Identifier: MIT
 *
 * mlp.h - a classifier with one hidden layer.
 *
 * scores = relu(x hidden^T + hidden_bias) weight^T + bias; the objective, the
 * initial weights (Glorot and Bengio 2010), Adam (Kingma and Ba 2015) and the
 * stopping rule are those of scikit-learn's MLPClassifier with its defaults;
 * only the random draws differ, and two classes have two scores.
 */
#ifndef DNAS_MLP_H
#define DNAS_MLP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/err.h"

#ifdef __cplusplus
extern "C" {
#endif

/* scikit-learn's values in brackets. */
struct dnas_mlp_options {
    size_t H;       /* hidden units, at least 1 [100] */
    size_t batch;   /* rows a step, at least 1; all of them if there are fewer [200] */
    int max_epochs; /* at least 1 [200] */
    int patience;   /* epochs without progress that are borne; the next one is the last [10] */
    double tol;     /* progress: the mean loss falls by more than this [1e-4] */
    double l2;      /* alpha: the penalty is alpha / (2 batch) times the squared weights [1e-4] */
    double rate;    /* of Adam [1e-3] */
    uint64_t seed;  /* draws DNAS_RNG_MLP: row 0 weights, row 1 + e the order of epoch e */
    uint32_t step;  /* of these draws */
};
#define DNAS_MLP_DEFAULTS                                                                          \
    {                                                                                              \
        .H = 100, .batch = 200, .max_epochs = 200, .patience = 10, .tol = 1e-4, .l2 = 1e-4,        \
        .rate = 1e-3                                                                               \
    }

struct dnas_mlp_info {
    double loss; /* of the last epoch: mean of -log p, penalty included */
    int n_epochs;
    bool converged; /* false: max_epochs came first */
};

/* Fits hidden f32 [H,C], hidden_bias f32 [H], weight f32 [K,H], bias f32 [K] to rows x, f32 [N,C],
 * of classes y, i32 [N], 0..K-1; columns should be standardised.  N, C or K of 0 is a bug, a loss
 * that is not finite (NaN in x) an error.  Runs on the calling thread; the same bits on every run
 * on one instruction set.  Memory: some 16 (C + K) H + 4 batch (C + 2 K + 3 H) bytes. */
int dnas_mlp_fit(float *hidden, float *hidden_bias, float *weight, float *bias,
                 struct dnas_mlp_info *info, const float *x, const int32_t *y, size_t N, size_t C,
                 size_t K, const struct dnas_mlp_options *options, struct dnas_err *err);

#ifdef __cplusplus
}
#endif
#endif
