/* SPDX-License-Identifier: MIT
 *
 * kmer_fit.h - the map of a k-mer model, in closed form from labelled windows.
 *
 * Linear discriminant analysis (Rao 1948; Bishop 2006, 4.1.6): with W the pooled
 * covariance of profiles within a class and B that of the classes' means, the
 * rows of the map are the leading solutions v of B v = value (W + ridge) v, each
 * with v (W + ridge) v = 1.  So a unit of distance is one standard deviation
 * within a species, in the directions that tell species apart best.  The ridge
 * is a share of W's largest eigenvalue; it is chosen on classes that were held
 * out, unless it is given.
 *
 * How far such a map holds for classes that it was not fitted on is measured with
 * parts held out in turn: the variance of a direction between classes, and within
 * a class as noise + noise_kb / length in kb, by least squares of the squared
 * deviations from the class's mean, rows weighted by 1 / (1 + 5 kb / length)^2 so
 * that short windows, whose deviations are large, do not rule.  The means over the
 * parts stand for the map of all.
 *
 * Sums are in double and in the order of the rows: the same bytes come out for
 * any number of threads.
 */
#ifndef DNAS_KMER_FIT_H
#define DNAS_KMER_FIT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/err.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Held-out parts, each of every DNAS_KMER_FOLDS-th group. */
#define DNAS_KMER_FOLDS 4
/* The ridge where there are too few classes to choose one. */
#define DNAS_KMER_RIDGE 0.01
#define DNAS_KMER_N_RIDGES 6

struct dnas_kmer_fit;

/* A fit of profiles of I numbers.  Free with dnas_kmer_fit_free, which takes NULL.
 * n_threads < 1 is a bug. */
struct dnas_kmer_fit *dnas_kmer_fit_new(size_t I, int n_threads);
void dnas_kmer_fit_free(struct dnas_kmer_fit *f);

/* Adds n profiles.
 *   x         f32 [n,I]  finite
 *   classes   u32 [n]    0, 1, 2, ... as they come up
 *   groups    u32 [n]    the class's genus, or whatever is to be held out together
 *   length_bp u32 [n]    of the windows, for the noise model; NULL: there will be none */
void dnas_kmer_fit_add(struct dnas_kmer_fit *f, const float *x, const uint32_t *classes,
                       const uint32_t *groups, const uint32_t *length_bp, size_t n);

/* Adds n classes of two profiles each, of which nothing more will come: a, b f32 [n,I], groups
 * u32 [n].  Memory does not grow with them, and there will be no noise model. */
void dnas_kmer_fit_add_pairs(struct dnas_kmer_fit *f, const float *a, const float *b,
                             const uint32_t *groups, size_t n);

struct dnas_kmer_map {
    size_t O, I;
    float *mean;   /* [I] of the classes' means */
    float *weight; /* [O,I] */
    double *value; /* [O] of B against W + ridge, falling */
    double ridge;
    uint64_t n_rows, n_classes;
    /* How the ridges did on held-out classes: the mean share of a profile's nearest others (as
     * many as its class has) that are of its class.  score[i] is -1 where none could be held out.
     */
    double ridges[DNAS_KMER_N_RIDGES], score[DNAS_KMER_N_RIDGES];
    bool chosen; /* the ridge was chosen on them */
    /* The noise model (plda.h) of held-out classes, [O] each; all NULL where lengths were not given
     * or no part can be held out. */
    float *between, *noise, *noise_kb;
};

/* The map of `dims` directions, or of one fewer than there are classes where that is less.
 * ridge 0 or more, or negative: choose one.  0, or -1 with a sentence (fewer than two classes, no
 * class of two profiles, profiles that do not vary) and nothing to release. */
int dnas_kmer_fit_map(struct dnas_kmer_fit *f, struct dnas_kmer_map *map, size_t dims, double ridge,
                      struct dnas_err *err);
/* After dnas_kmer_fit_map: the map of whole's ridge and at most its dimensions without the classes
 * of the groups g with g % DNAS_KMER_FOLDS == fold, and without a noise model.  true; or false
 * where too few classes are left, with nothing to release. */
bool dnas_kmer_fit_map_without(const struct dnas_kmer_fit *f, struct dnas_kmer_map *map,
                               const struct dnas_kmer_map *whole, int fold);
void dnas_kmer_map_release(struct dnas_kmer_map *map);

#ifdef __cplusplus
}
#endif
#endif
