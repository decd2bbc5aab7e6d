/* SPDX-License-Identifier: MIT
 *
 * logreg.h - multinomial logistic regression with an L2 penalty.
 *
 * The objective of scikit-learn's LogisticRegression (penalty l2, solver
 * lbfgs):  sum over rows of -log softmax(w x + b)[y]  +  |w|^2 / (2 C);
 * intercepts are not penalised.  With two classes scikit-learn fits one vector
 * v, penalised once; ours are w = (-v/2, v/2), so that the penalty is doubled.
 *
 * Minimised by L-BFGS (Nocedal 1980; liblbfgs).  Small problems are computed
 * in double; large ones in f32, with a correction from double once rounding
 * could be felt.
 */
#ifndef DNAS_LOGREG_H
#define DNAS_LOGREG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/err.h"

#ifdef __cplusplus
extern "C" {
#endif

struct dnas_logreg_options {
    double inverse_l2; /* C of the formula, above 0 */
    double tol;        /* stop when no element of the gradient exceeds this; at least 0 */
    int max_iter;      /* of L-BFGS, at least 1 */
    int n_threads;     /* at least 1; changes no bit */
};

struct dnas_logreg_info {
    double objective;
    double gradient_max; /* its largest element at the end */
    int n_iter;
    bool converged; /* gradient_max <= tol, or no step could lessen the objective */
};

/* Fits weight, f32 [K,C], and bias, f32 [K], to the rows of x, f32 [N,C], of classes y, i32 [N],
 * 0..K-1.  Columns should be of like spread (classifier.h standardises).
 *   N or K of 0, C of 0   a bug            K = 1   all weights 0
 *   a class without rows  allowed: its intercept falls until the gradient is below tol
 *   NaN, infinity in x    an error
 * The biases sum to 0, being fixed only up to a constant.  Memory: 4 N C + 4 N K bytes beside
 * x, and about 250 K C for L-BFGS.  Returns 0, or -1 with a sentence (more than
 * 2^31 - 8 coefficients; not finite). */
int dnas_logreg_fit(float *weight, float *bias, struct dnas_logreg_info *info, const float *x,
                    const int32_t *y, size_t N, size_t C, size_t K,
                    const struct dnas_logreg_options *options, struct dnas_err *err);

#ifdef __cplusplus
}
#endif
#endif
