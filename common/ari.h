/* SPDX-License-Identifier: MIT
 *
 * ari.h - how well a clustering agrees with the truth.
 *
 * The measures of scikit-learn's sklearn.metrics, with its answers in the
 * corner cases.
 */
#ifndef DNAS_ARI_H
#define DNAS_ARI_H

#include <stddef.h>
#include <stdint.h>

#include "common/err.h"

#ifdef __cplusplus
extern "C" {
#endif

/* What becomes of rows in no cluster (-1). */
enum dnas_unclustered {
    DNAS_UNCLUSTERED_LEFT_OUT, /* measures are over the clustered rows alone */
    DNAS_UNCLUSTERED_ALONE,    /* each is a cluster of its own: every row counts */
};

struct dnas_agreement {
    uint64_t n_rows;      /* all of them */
    uint64_t n_clustered; /* rows in a cluster */
    double clustered;     /* n_clustered / n_rows; 1 if there are no rows */
    /* Below: over the rows that count. */
    uint64_t n_counted, n_clusters, n_classes;
    double ari; /* Hubert and Arabie 1985; both one cluster, or no rows: 1 */
    double nmi; /* over the arithmetic mean of the entropies (= v_measure but for corners) */
    double ami; /* Vinh, Epps and Bailey 2010; arithmetic mean, exact expectation; the
                 * same partition: 1; for single rows alone scikit-learn's 0/0 rounds to 0 or 1 */
    double homogeneity;  /* Rosenberg and Hirschberg 2007; one class: 1 */
    double completeness; /* one cluster: 1 */
    double v_measure;
    double purity; /* share of rows in the commonest class of their cluster; no rows: 1 */
};

/* Compares cluster, i32 [N], -1 or a number from 0, with truth, u32 [N]: any
 * numbers, equal for rows of one class.  A cluster below -1 is a bug; more than
 * 2^31 - 1 rows are an error.  The same bytes on every run.  Time: a sort of N
 * numbers, and a loop over pairs of different cluster and class sizes for the
 * AMI.  Returns 0 or -1. */
int dnas_agreement_compute(struct dnas_agreement *out, const int32_t *cluster,
                           const uint32_t *truth, size_t N, enum dnas_unclustered unclustered,
                           struct dnas_err *err);

/* Rand's index, the share of pairs that are together in both or apart in both, and the adjusted
 * one over unordered pairs (Hubert and Arabie 1985, in the form of scikit-learn), from the table
 * of clusters and classes in sequences or in base pairs; sums are exact.
 *   cell     u64 [n_cells]     what a cluster and a class share, in any order; 0 is fine
 *   cluster  u64 [n_clusters]  sums of the cells by cluster, and class_rows u64 [n_classes] by
 * class All together must be below 2^62.  No pairs: 0 and, as AMBER has it, 1; one cluster that is
 * one class, and single members alone: adjusted 1. */
void dnas_rand_compute(double *rand, double *adjusted, const uint64_t *cell, size_t n_cells,
                       const uint64_t *cluster, size_t n_clusters, const uint64_t *class_rows,
                       size_t n_classes);

#ifdef __cplusplus
}
#endif
#endif
