/* SPDX-License-Identifier: MIT
 *
 * kmeans.h - k-means clustering: Lloyd's algorithm as scikit-learn 1.2 defines it.
 *
 * A row's label is the centre of least squared distance by the formula in
 * double, ties to the lowest number.  How it is found (products in f32, bounds
 * from the iteration before) changes the time taken and nothing else, so the
 * result has the same bytes for any number of threads and any x86-64 processor.
 */
#ifndef DNAS_KMEANS_H
#define DNAS_KMEANS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/err.h"

#ifdef __cplusplus
extern "C" {
#endif

enum dnas_kmeans_init {
    DNAS_KMEANS_RANDOM,    /* K different rows, all choices equally likely */
    DNAS_KMEANS_PLUS_PLUS, /* Arthur and Vassilvitskii 2007; the best of 2 + ln K draws each time */
    DNAS_KMEANS_GIVEN,     /* the caller's centres: one start, whatever n_starts says */
};

struct dnas_kmeans_options {
    size_t K;
    enum dnas_kmeans_init init;
    const float *given; /* f32 [K,C], for DNAS_KMEANS_GIVEN; borrowed */
    int n_starts;       /* at least 1: the start of least inertia is kept, ties to the first */
    int max_iter;       /* at least 1 */
    /* Converged when the squared shifts of the centres sum to no more than tol times the mean
     * variance of the columns, or no label changes.  1e-4 is scikit-learn's default; 0 leaves
     * the labels alone to decide. */
    double tol;
    uint64_t seed; /* draws DNAS_RNG_KMEANS_INIT, step = number of the start */
    int n_threads;
};

struct dnas_kmeans {
    size_t N, K, C;
    int32_t *label; /* [N], 0..K-1 */
    float *centre;  /* [K,C]; where no row is nearest, the place the centre was last at */
    double inertia; /* sum of squared distances of the rows to their centres */
    int n_iter;
    bool converged; /* false: max_iter came first */
    int start;      /* the start that was kept, from 0 */
    size_t n_empty; /* centres without a row, as when K exceeds the different rows */
};

/* Clusters the rows of x, f32 [N,C].
 *   N = 0           no labels, K = 0 and no centres, whatever the options
 *   K > N           an error that names both; K = 0 as well
 *   K = N           each row its own centre (different rows), inertia 0
 *   NaN, infinity   in a row of x or of given: an error that names the row, from 1
 * A centre that lost all its rows moves to the row farthest from its own centre (the second such
 * centre to the second farthest, and so on), and that row counts there for the next centres, as in
 * scikit-learn; but a row at its centre, or alone there, is left: so with fewer different rows
 * than K some centres stay empty.
 * Labels belong to the centres returned.  Memory beside x and the result: about
 * 52 N + 20 K C + 1024 n_threads (K + C) bytes, and 4 (4 + ln K) N for k-means++.  Time per
 * iteration: O(N K C) at worst; rows whose label provably cannot change are skipped (Hamerly 2010).
 * Returns 0, or -1 with out empty.  Release out with dnas_kmeans_release in both cases. */
int dnas_kmeans_run(struct dnas_kmeans *out, const float *x, size_t N, size_t C,
                    const struct dnas_kmeans_options *options, struct dnas_err *err);

void dnas_kmeans_release(struct dnas_kmeans *km);

/* Scales each row of x, f32 [N,C], in place to unit length (computed in double).  A row of zeros
 * stays zero; returns how many there are.  NaN and infinity spoil their own row only. */
size_t dnas_kmeans_unit_rows(float *x, size_t N, size_t C, int n_threads);

#ifdef __cplusplus
}
#endif
#endif
