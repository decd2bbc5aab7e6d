/* SPDX-License-Identifier: MIT
 *
 * pca.h - leading principal components of a table of numbers.
 *
 * Sums are made in double over row blocks that the data fixes, and added in
 * the order of the rows: the same bytes come out for any number of threads.
 */
#ifndef DNAS_PCA_H
#define DNAS_PCA_H

#include <stddef.h>

#include "common/err.h"

#ifdef __cplusplus
extern "C" {
#endif

/* What a fit leaves.  Components are of unit length, orthogonal to each other
 * and in falling order of variance; each has its largest loading (the first
 * of equals) positive.  Components beyond the rank of the centred data are 0,
 * with variance 0. */
struct dnas_pca {
    size_t C, K;
    double *mean;          /* [C] */
    double *components;    /* [K,C] */
    double *variance;      /* [K] of the scores, over N - 1 */
    double total_variance; /* of all C columns together, over N - 1 */
};

/* Fits the K leading components of x, centred but not scaled.
 *   x  f32 [N,C]  every value finite
 * N of 0 or 1, C of 0 and equal rows are fine: all variances are then 0.  K may exceed N and C.
 * Costs N C min(N, C) and memory for min(N, C)^2 doubles, then some products of that matrix with
 * thin blocks; stops when residuals fall below 1e-11 of the largest eigenvalue.
 * Returns 0, with pca to be released; or -1 (a value that is not finite, named by its row and
 * column counted from 1), with nothing to release.  n_threads < 1 is a bug. */
int dnas_pca_fit(struct dnas_pca *pca, const float *x, size_t N, size_t C, size_t K, int n_threads,
                 struct dnas_err *err);

/* Scores: out = (x - mean) components^T.
 *   out  f32 [N,K]  may not overlap x
 *   x    f32 [N,C]  NaN and infinity give NaN and infinity in their own rows */
void dnas_pca_project(float *out, const struct dnas_pca *pca, const float *x, size_t N,
                      int n_threads);

/* The share (0..1) of all variance that component k explains; 0 where there is no variance. */
double dnas_pca_share(const struct dnas_pca *pca, size_t k);

/* Frees the arrays; a second call does nothing. */
void dnas_pca_release(struct dnas_pca *pca);

#ifdef __cplusplus
}
#endif
#endif
