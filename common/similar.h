/* SPDX-License-Identifier: MIT
 *
 * similar.h - which rows are similar, and how much so in sum, without ever
 * holding a table of all pairs.
 *
 * Similarities are those of dnas_cpu_similarity, so that a pair has one value
 * wherever it is met.  Sums are kept in whole units of 2^-k, and none exceeds 2^51
 * of them: they are exact, any order gives the same bits, and what was added can
 * be taken out again without a trace.
 */
#ifndef DNAS_SIMILAR_H
#define DNAS_SIMILAR_H

#include <stddef.h>
#include <stdint.h>

#include "common/err.h"

#ifdef __cplusplus
extern "C" {
#endif

struct dnas_similar {
    size_t N, C;
    const float *x;   /* [N,C], borrowed */
    float threshold;  /* pairs at or above count */
    float margin;     /* neighbours are listed from threshold - margin */
    double scale;     /* units in 1 */
    double *density;  /* [N], units: the sum of a row's similarities that count, its own included;
                         2^51 at most */
    uint64_t n_pairs; /* how many of the N^2 similarities count */

    /* Neighbours of row i, without itself, are first[i] .. first[i+1]-1 of these, in rising
     * order; NULL where they would take more memory than DNAS_SIMILAR_NEIGHBOURS allows. */
    size_t *first;
    uint32_t *neighbour;
    float *similarity;
};

/* Pairs that are listed at most: 28 bytes each while the list is made, 16 after.  A multiple of
 * the data, and enough for any small data. */
#define DNAS_SIMILAR_NEIGHBOURS(N, C) ((N) * ((C) / 4 > 256 ? (C) / 4 : 256) + ((size_t)1 << 20))

/* Compares all rows of x, f32 [N,C], N below 2^32.  threshold - margin is low enough that a row
 * whose computed similarity with the mean of some rows reaches the threshold is a neighbour of one
 * of them, or one of them.
 * An error for a row that is not finite or longer than products in f32 bear, named from 1.
 * Memory: 8 N n_threads bytes, and that of the neighbours.  Time: N^2 C.
 * Release with dnas_similar_release in both cases. */
int dnas_similar_run(struct dnas_similar *s, const float *x, size_t N, size_t C, float threshold,
                     int n_threads, struct dnas_err *err);
void dnas_similar_release(struct dnas_similar *s);

/* Lists the neighbours among the named rows alone (rising, n of them), leaving the densities as
 * they are; the others then have none.  Still without a list if there are too many. */
void dnas_similar_list(struct dnas_similar *s, const uint32_t *row, size_t n, int n_threads);

/* A similarity in whole units. */
double dnas_similar_units(const struct dnas_similar *s, float similarity);

/* density[row[i]] -= what row[i] has in common with the rows of `gone`; row NULL: all N.  The
 * cost is n n_gone C. */
void dnas_similar_subtract(struct dnas_similar *s, const uint32_t *row, size_t n,
                           const uint32_t *gone, size_t n_gone, int n_threads);

/* out[i] = the similarity of row[i] with y, f32 [C]; row NULL: 0..n-1. */
void dnas_similar_to(float *out, const struct dnas_similar *s, const uint32_t *row, size_t n,
                     const float *y, int n_threads);

#ifdef __cplusplus
}
#endif
#endif
