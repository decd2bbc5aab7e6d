/* SPDX-License-Identifier: MIT
 *
 * graph_bin.h - bins by the likelihood of one species against two.
 *
 * Every sequence begins as a cluster.  The pair of clusters whose log likelihood
 * ratio of one species against two (plda.h) is the greatest is merged, again and
 * again while that ratio is above 0: there is no threshold to choose.  Pairs that
 * are looked at come from a graph, in which each sequence is joined to its nearest
 * neighbours and those whose neighbour it is; a merged cluster has the neighbours
 * of both.  Ties go to the clusters that were made first, and every number that
 * decides is in double and in a fixed order: the same bytes for any number of
 * threads.
 */
#ifndef DNAS_GRAPH_BIN_H
#define DNAS_GRAPH_BIN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/err.h"
#include "common/plda.h"

#ifdef __cplusplus
extern "C" {
#endif

struct dnas_graph_bin_options {
    size_t k;          /* nearest neighbours of a sequence; 1 or more */
    size_t max_list;   /* neighbours of a cluster that are kept, the likeliest first; 1 or more */
    size_t min_size;   /* bins of fewer sequences are left out */
    uint64_t min_bp;   /* and those of fewer letters */
    size_t exact_rows; /* of more, neighbours are searched for near by alone (near.h) */
    int n_threads;
    bool progress; /* a line on a terminal (msg.h) */
};

struct dnas_graph_bin {
    size_t N;
    int32_t *label;  /* [N], bins from 0, those of most letters first; -1: none */
    float *score;    /* [N], log likelihood ratio (natural logarithm): of the species of the rest of
                        its bin, against another; 0 without a bin or alone in one */
    size_t n_bins;   /* that were kept */
    size_t n_small;  /* that were left out */
    size_t n_merges; /* that were made */
};

/* Bins of rows.
 *   x          f32 [N,C]      embeddings as the model made them, then numbers of own variance (C
 *                             and n_own those of plda).  Where the embedding is all zero, the
 *                             sequence is without k-mers, and in no bin
 *   length_bp  u32 [N]
 *   own        f32 [N,n_own]  these variances; n_own of 0: NULL
 * Memory: 16 stride + 40 max(k, clusters' lists) + 12 C bytes a row or so.  Time: the neighbours
 * (knn.h, near.h), and for each merge as many evidences as the clusters have neighbours.  Returns 0
 * or -1; release either way. */
int dnas_graph_bin_run(struct dnas_graph_bin *g, const float *x, const uint32_t *length_bp,
                       const float *own, size_t N, size_t C, const struct dnas_plda *plda,
                       const struct dnas_graph_bin_options *options, struct dnas_err *err);
void dnas_graph_bin_release(struct dnas_graph_bin *g);

#ifdef __cplusplus
}
#endif
#endif
