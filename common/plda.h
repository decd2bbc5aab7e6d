/* SPDX-License-Identifier: MIT
 *
 * plda.h - whether embeddings are of one species: probabilistic linear
 * discriminant analysis with two covariances, both diagonal.
 *
 * A species has a mean y, drawn from N(0, B); a sequence of L kb of that species
 * embeds as x ~ N(y, v(L)), v(L) = noise + noise_kb / L: counts of k-mers vary as
 * one over their number, and what is left varies at any length.  Dimension by
 * dimension, since the map makes them independent (kmer_fit.h).  Ioffe 2006; in
 * this form Brummer and de Villiers 2010, "The speaker partitioning problem".
 *
 * Of a set of sequences all that counts is, in each dimension,
 *   p = sum 1 / v      and      h = sum x / v,
 * which add when sets are joined.  Sequences of one species are not independent,
 * though: those that were found to be alike first are of its one chromosome, of
 * its islands, of one strain.  So the mean of a set lies about the species' with a
 * variance of its own, drift = DNAS_PLDA_DRIFT noise, which no number of sequences
 * takes away; without it large sets of one species seem surely two.  With
 *   p' = p / (1 + drift p)      and      h' = h / (1 + drift p),
 * the log of the probability density of sets as one species, less that of the same
 * sequences about a mean of 0, is
 *   evidence = sum over dimensions of  -ln(1 + B P) / 2 + H^2 B / (1 + B P) / 2,
 * P and H the sums of the sets' p' and h'.  evidence(A and B) - evidence(A) -
 * evidence(B) is the log likelihood ratio of one species against two.
 * The last dimensions may have variances of their own for each sequence instead
 * (depth_model.h), and no drift.
 */
#ifndef DNAS_PLDA_H
#define DNAS_PLDA_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* A share of `noise`; common/models/README.md has how it was measured. */
#define DNAS_PLDA_DRIFT 0.5

/* Numbers are held padded to this many dimensions, the padding 0. */
#define DNAS_PLDA_PAD 16

struct dnas_plda {
    size_t C;      /* dimensions */
    size_t n_own;  /* of these, the last ones, whose variance is a sequence's own */
    size_t stride; /* C to whole paddings */
    /* f64 [stride] */
    double *between, *noise, *noise_kb, *drift;
};

/* Copies f32 [C] each.  Values are to be as dnas_kmer_parts has them.  Release with
 * dnas_plda_release. */
void dnas_plda_init(struct dnas_plda *m, const float *between, const float *noise,
                    const float *noise_kb, size_t C);
void dnas_plda_release(struct dnas_plda *m);
/* out: m with n_own further dimensions, of these variances between species, f64 [n_own], 0 to 1e6;
 * m has none of its own.  Release with dnas_plda_release. */
void dnas_plda_extend(struct dnas_plda *out, const struct dnas_plda *m, const double *between,
                      size_t n_own);

/* p and h of one sequence.
 *   p, h       f64 [stride]
 *   x          f32 [C]
 *   length_bp  0 counts as 1
 *   own        f32 [n_own], 1e-6 to 1e6; n_own of 0: not looked at */
void dnas_plda_sequence(const struct dnas_plda *m, double *p, double *h, const float *x,
                        uint32_t length_bp, const float *own);

/* The evidence of a set with p and h, f64 [stride].  The same bits on any x86-64 processor. */
double dnas_plda_evidence(const struct dnas_plda *m, const double *p, const double *h);

/* The evidence of two sets as one species, each with a drift of its own. */
double dnas_plda_joint(const struct dnas_plda *m, const double *p, const double *h,
                       const double *p2, const double *h2);

/* out f32 [C]: the direction of x as neighbours by cosine should see it, x sqrt(B) / (B + v), of
 * unit length or zero: for two sequences of equal length the term of the ratio that couples them
 * grows with its cosine. */
void dnas_plda_direction(const struct dnas_plda *m, float *out, const float *x, uint32_t length_bp,
                         const float *own);

#ifdef __cplusplus
}
#endif
#endif
