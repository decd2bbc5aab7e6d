/* SPDX-License-Identifier: MIT
 *
 * depth_model.h - whether depths are of one species, as numbers for plda.h.
 *
 * The sequences of a species are as abundant as it is, sample by sample.  With m the
 * mean depth of a sequence of L letters in a sample, v its variance over the
 * letters, r the length of a read:
 *
 *   y = ln(m + 0.1)                     depths below a tenth are much alike
 *   u = max(v min(1, r / L), m r / L, (r / L)^2) / (m + 0.1)^2
 *
 * u is the variance of y that comes from counting reads, by the delta method: depths of letters
 * that one read covers go together, so that L letters are L / r independent ones; it is no less
 * than Poisson's, and than that of a single read.  A species has a mean of y, drawn from
 * N(middle, B), and a sequence of it y ~ N(mean, u + t^2): t is how much abundance, preference for
 * GC, and mapping vary along a genome.  So a sample is one more dimension of plda.h, whose noise
 * u + t^2 is known for each sequence, and the log likelihood ratio of two sequences gains
 *
 *   ln N(y1, y2; one mean) - ln N(y1; a mean of its own) - ln N(y2; a mean of its own)
 *
 * for each sample.  Samples are taken as independent.
 *
 * middle and B are the mean and variance of y over the sequences, B less the mean noise and at
 * least 0.01.  t is measured on bins made without depths: of pairs of sequences of one bin, each
 * with m of at least 1, half of (y1 - y2)^2 / (u1 + u2 + 2 t^2) must lie below 0.455, the median of
 * chi^2 with one degree of freedom; so bins that are wrong by less than half do little harm.  t is
 * from 0.01 to 2, and 0.2 where there are fewer than 20 pairs.
 */
#ifndef DNAS_DEPTH_MODEL_H
#define DNAS_DEPTH_MODEL_H

#include "common/depth.h"
#include "common/graph_bin.h"

#ifdef __cplusplus
extern "C" {
#endif

#define DNAS_DEPTH_PAIRS_MIN 20

struct dnas_depth_model {
    size_t N, S;
    float *y;        /* [N,S], less the middle */
    float *noise;    /* [N,S], u + t^2 */
    double *between; /* [S], B */
    double *spread;  /* [S], t */
    size_t *n_pairs; /* [S] that t was measured on; below DNAS_DEPTH_PAIRS_MIN it was not */
};

/* label  i32 [N]  bins made without depths, -1: none      read_bp  r, above 0
 * Release with dnas_depth_model_release. */
void dnas_depth_model_init(struct dnas_depth_model *m, const struct dnas_depth *d,
                           const uint32_t *length_bp, const int32_t *label, double read_bp);
void dnas_depth_model_release(struct dnas_depth_model *m);

/* dnas_graph_bin_run twice: without depths, and with them.  m is filled; x, C and plda as there,
 * without numbers of own variance. */
int dnas_graph_bin_run_depth(struct dnas_graph_bin *g, struct dnas_depth_model *m, const float *x,
                             const uint32_t *length_bp, size_t C, const struct dnas_plda *plda,
                             const struct dnas_depth *d, double read_bp,
                             const struct dnas_graph_bin_options *options, struct dnas_err *err);

#ifdef __cplusplus
}
#endif
#endif
