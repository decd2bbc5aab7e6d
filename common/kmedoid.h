/* SPDX-License-Identifier: MIT
 *
 * kmedoid.h - bins by the modified k-medoid algorithm of DNABERT-S's paper
 * (Zhou et al. 2024, algorithm 1, after Kang et al. 2015).
 *
 * The densest row (largest sum of similarities at or above the threshold) is a
 * centre; three times, the rows within the threshold of the centre are taken,
 * and their mean is the next centre; what the third step took is a bin, and
 * leaves.  Until no row is left that has not been a centre or in a bin.
 */
#ifndef DNAS_KMEDOID_H
#define DNAS_KMEDOID_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/err.h"

#ifdef __cplusplus
extern "C" {
#endif

struct dnas_kmedoid_options {
    double threshold;    /* used as f32: similarities are */
    size_t min_bin_size; /* smaller bins are dropped when all is done; their rows stay unbinned */
    uint64_t max_rounds; /* 0: as many as it takes */
    /* As DNABERT-S's evaluation does it: a row that was a centre or is in a bin has the density
     * -100, and what later bins take off it goes on counting, so that such rows are centres again
     * when no others are left; until all rows are in a bin or max_rounds is reached.  A label is
     * the number of the round, from 1. */
    bool as_dnabert_s;
    int n_threads;
};

struct dnas_kmedoid {
    size_t N, n_bins;
    int32_t *label;    /* [N], 0 .. n_bins-1 in the order found (or see as_dnabert_s); -1: none */
    float *score;      /* [N], cosine with the mean of the bin's rows; 0 without a bin or length */
    uint64_t n_rounds; /* centres tried */
    uint64_t n_pairs;  /* how many of the N^2 similarities are at or above the threshold */
    size_t n_small;    /* bins that were dropped for their size */
    bool limited;      /* max_rounds ended it */
};

/* Bins the rows of x, f32 [N,C].  Similarity is the inner product: for cosines, rows are to have
 * unit length.  A row without length is similar to none (for a threshold above 0).
 * Equal densities go to the first row.  Sums are exact (similar.h), so the result is the same for
 * any number of threads.
 * Memory beside x: O(N C), see similar.h.  Time: N^2 C / 2 products, then little where the
 * neighbours are listed, else N C a round and N^2 C in all for the rows that leave.
 * Errors: as dnas_similar_run.  Release with dnas_kmedoid_release in both cases. */
int dnas_kmedoid_run(struct dnas_kmedoid *out, const float *x, size_t N, size_t C,
                     const struct dnas_kmedoid_options *options, struct dnas_err *err);
void dnas_kmedoid_release(struct dnas_kmedoid *km);

/* The threshold of DNABERT-S's evaluation: of the inner products of all rows with the mean (not
 * scaled) of their class, in rising order, the one that `percentile` percent are below.
 *   classes  i32 [N]  0..n_classes-1; -1: left out
 * An error where no row has a class. */
int dnas_kmedoid_threshold_labelled(double *threshold, const float *x, const int32_t *classes,
                                    size_t N, size_t C, size_t n_classes, double percentile,
                                    struct dnas_err *err);

/* A threshold without labels: for at most DNAS_KMEDOID_SAMPLE rows, evenly spread, the similarity
 * with their n-th most similar other row (the last, where there are fewer); of these, in rising
 * order, the one that DNAS_KMEDOID_GUESS percent are below.  With n = min_bin_size - 1 it lets all
 * but that share of the rows have the company that a bin needs (compare Ester et al. 1996, 4.2).
 * An error for N below 2; n of 0 counts as 1. */
#define DNAS_KMEDOID_SAMPLE 1000
#define DNAS_KMEDOID_GUESS 10
int dnas_kmedoid_threshold_guess(double *threshold, const float *x, size_t N, size_t C, size_t n,
                                 int n_threads, struct dnas_err *err);

#ifdef __cplusplus
}
#endif
#endif
