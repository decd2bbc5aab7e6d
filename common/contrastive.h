/* SPDX-License-Identifier: MIT
 *
 * contrastive.h - the objectives over a batch of unit vectors, with gradients.
 *
 *   z = normalise(head(mean of the last hidden states)),  s_ij = z_i . z_j / temperature
 *
 * Scores, sums and gradients are in double and in log space (e^{2 s} leaves f32
 * at small temperatures), values in and out in f32.  Scores are made a tile at
 * a time and made again for the gradient, so memory is O(rows D), and time
 * O(rows^2 D).  The bits do not depend on the number of threads.
 *
 * A label is any number that rows of one species share; a row whose species is
 * not known has a number of its own.
 */
#ifndef DNAS_CONTRASTIVE_H
#define DNAS_CONTRASTIVE_H

#include <stddef.h>
#include <stdint.h>

#include "common/err.h"

#ifdef __cplusplus
extern "C" {
#endif

struct dnas_contrastive;

/* Room for batches of at most max_pairs pairs of vectors of D numbers, used by
 * one caller at a time: nothing is allocated after this, but for threads.  Free
 * with dnas_contrastive_free (NULL is fine). */
struct dnas_contrastive *dnas_contrastive_new(size_t max_pairs, size_t D, int n_threads);
void dnas_contrastive_free(struct dnas_contrastive *c);

/* In all three: gradients are those of *loss by the elements of z, taken as
 * free (not as unit vectors); NULL: not wanted.  temperature is above 0.  0, or
 * -1 with a sentence where an anchor has nothing to be told apart from.  More
 * rows than there is room for is a bug.  NaN in z gives a NaN of a loss. */

/* Weighted SimCLR (Zhou et al. 2024, after Zhang et al. 2021), over the 2B
 * vectors of B pairs, i and i + B being partners p:
 *   a_ij = e^{s_ij} / mean_{k in N_i} e^{s_ik}
 *   L_i = -log( e^{s_ip} / (e^{s_ip} + sum_{j in N_i} a_ij e^{s_ij}) ),  loss = mean_i L_i
 * N_i: all but i and p; with labels, also without those that share i's label.
 *   gz, z  f32 [2B,D]      label  u32 [B] of the pairs, or NULL
 * An anchor whose N_i is empty is an error. */
int dnas_wsimclr(struct dnas_contrastive *c, double *loss, float *gz, const float *z,
                 const uint32_t *label, size_t B, double temperature, struct dnas_err *err);

/* The loss of MI-Mix and i-Mix (Zhou et al. 2024; Lee et al. 2021), between B
 * mixed first members i and B second members j, with r = perm[i]:
 *   D_i = e^{s_ii} + sum_{j in N_i} a_ij e^{s_ij}
 *   L_i = -( lambda_i log(e^{s_ii} / D_i) + (1 - lambda_i) log(e^{s_ir} / D_i) ),  loss = mean_i
 * L_i N_i: all but i; with labels, also without those that share the label of i or of r, the two
 * species that i is made of, but for r itself: r is the second of i's targets, and outside D_i
 * nothing would hold s_ir back. gz1, gz2, z1, z2  f32 [B,D]      perm  u32 [B], below B      lambda
 * f32 [B] label  u32 [B], or NULL An anchor whose N_i is empty is an error. */
int dnas_mixed_contrastive(struct dnas_contrastive *c, double *loss, float *gz1, float *gz2,
                           const float *z1, const float *z2, const uint32_t *perm,
                           const float *lambda, const uint32_t *label, size_t B, double temperature,
                           struct dnas_err *err);

/* Supervised contrastive (Khosla et al. 2020, L_out) over N rows:
 *   L_i = -1/|P_i| sum_{p in P_i} log( e^{s_ip} / sum_{k != i} e^{s_ik} ),  loss = mean_i L_i
 * P_i: all others of i's label.  As in the authors' own code, an anchor without
 * one adds 0 to the sum and counts in the mean (temperature / base temperature
 * is 1).  No positive anywhere is an error.
 *   gz, z  f32 [N,D], N at most 2 max_pairs      label  u32 [N] */
int dnas_supcon(struct dnas_contrastive *c, double *loss, float *gz, const float *z,
                const uint32_t *label, size_t N, double temperature, struct dnas_err *err);

/* y = x / |x|, row by row; a row shorter than 1e-12 becomes 0 (PyTorch's
 * F.normalize would leave x 1e12).
 *   y  f32 [N,D], may be x      norm  f32 [N]: |x|, for backward; NULL: not wanted */
void dnas_unit_rows_fwd(float *y, float *norm, const float *x, size_t N, size_t D);
/* gx = (gy - y (y . gy)) / |x|; 0 for a row shorter than 1e-12.
 *   gx  f32 [N,D], may be gy      gy, y  f32 [N,D]      norm  f32 [N] */
void dnas_unit_rows_bwd(float *gx, const float *gy, const float *y, const float *norm, size_t N,
                        size_t D);

#ifdef __cplusplus
}
#endif
#endif
