/* SPDX-License-Identifier: MIT
 *
 * tsne.h - t-SNE: a plane in which near rows stay near.
 *
 * van der Maaten and Hinton, JMLR 2008; the sums over far points by a quadtree
 * as in Barnes-Hut-SNE (van der Maaten, JMLR 2014).  Every row's sums are made
 * by one thread in an order that the data fixes: the same bytes come out for
 * any number of threads.
 */
#ifndef DNAS_TSNE_H
#define DNAS_TSNE_H

#include <stddef.h>
#include <stdint.h>

#include "common/err.h"

#ifdef __cplusplus
extern "C" {
#endif

struct dnas_tsne_options {
    double perplexity;    /* neighbours that count, softly; lowered to (N - 1) / 3 with a note */
    double exaggeration;  /* of attraction in the first quarter of the steps, 250 at most */
    double learning_rate; /* 0: N / exaggeration / 4, at least 50 (Belkina et al. 2019) */
    double theta;         /* a cell this much smaller than its distance is one point; < 0.7 */
    unsigned n_steps;
    uint64_t seed;
};

/* Perplexity 30, exaggeration 12, learning rate 0, theta 0.5, 1000 steps, seed 0. */
struct dnas_tsne_options dnas_tsne_defaults(void);

/* Places the rows of x in the plane.
 *   out  f32 [N,2]
 *   x    f32 [N,C]  every value finite; more than 50 columns are first reduced to 50 by PCA
 *   kl   the divergence that is left (nats); NULL: not wanted
 * Starts from the first two principal components (standard deviation 1e-4 along the first) and a
 * hundredth of that in noise from the seed, which parts equal rows.  N of 0 does nothing, one row
 * goes to the origin, equal rows make a round cloud.  Up to 500 rows all pairs are summed exactly;
 * above, a step costs O(N log N).  Neighbours are exact (vantage-point tree, Yianilos 1993).
 * Shows a progress line.  Returns 0, or -1: a value that is not finite, or an option out of
 * range.  n_threads < 1 is a bug. */
int dnas_tsne(float *out, double *kl, const float *x, size_t N, size_t C,
              const struct dnas_tsne_options *options, int n_threads, struct dnas_err *err);

/* ---- the two parts, for tests and for other layouts ---- */

/* Symmetric affinities in compressed rows: p[start[i]..start[i+1]) are row i's, towards the rows
 * in column, which rise; all sum to 1. */
struct dnas_tsne_graph {
    size_t N;
    size_t *start;    /* [N+1] */
    uint32_t *column; /* [start[N]] */
    double *p;        /* [start[N]] */
};

/* Affinities of the rows of x f32 [N,C], all finite, N >= 2 and below 2^32, over the
 * 3 * perplexity nearest neighbours of each (N - 1 at most; ties go to the lower row).
 * perplexity is between 1 and N - 1.  Release the graph after use. */
void dnas_tsne_graph_init(struct dnas_tsne_graph *graph, const float *x, size_t N, size_t C,
                          double perplexity, int n_threads);
void dnas_tsne_graph_release(struct dnas_tsne_graph *graph);

/* The gradient of the divergence at y (JMLR 2008, equation 5), with p multiplied by exaggeration;
 * theta of 0 sums all pairs.
 *   grad  f64 [N,2]      y  f64 [N,2]
 * Returns the divergence (of p as it is, not exaggerated). */
double dnas_tsne_gradient(double *grad, const double *y, const struct dnas_tsne_graph *graph,
                          double exaggeration, double theta, int n_threads);

#ifdef __cplusplus
}
#endif
#endif
