/* SPDX-License-Identifier: MIT
 *
 * classifier.h - a fitted classifier of embeddings: standardised columns, then
 * logistic regression or one hidden layer; kept in a safetensors file.
 */
#ifndef DNAS_CLASSIFIER_H
#define DNAS_CLASSIFIER_H

#include <jansson.h>

#include "common/err.h"
#include "common/idmap.h"
#include "common/logreg.h"
#include "common/mlp.h"

#ifdef __cplusplus
extern "C" {
#endif

struct dnas_classifier {
    size_t C, K, H;      /* H hidden units; 0: logistic regression */
    float *mean, *scale; /* [C], a row x is taken as (x - mean) / scale */
    float *hidden;       /* [H,C] */
    float *hidden_bias;  /* [H] */
    float *weight;       /* [K,C], or [K,H] */
    float *bias;         /* [K] */
};

struct dnas_classifier_options {
    bool is_mlp;
    struct dnas_logreg_options logreg;
    struct dnas_mlp_options mlp;
};

/* How a fit went: logreg or mlp, as the options say. */
struct dnas_classifier_info {
    struct dnas_logreg_info logreg;
    struct dnas_mlp_info mlp;
    bool converged;
};

/* Mean and population deviation of each column over n rows of x, f32 [.,C]: those numbered by row,
 * u32 [n], or the first n for NULL.  As in scikit-learn's StandardScaler a column that does not
 * vary has scale 1.  n of 0: mean 0, scale 1. */
void dnas_standardiser(float *mean, float *scale, const float *x, const uint32_t *row, size_t n,
                       size_t C);

/* Fits out to n rows of x, f32 [.,C], numbered by row, u32 [n] (NULL: the first n), with classes
 * y, i32 [.], 0..K-1, by row of x.  mean and scale, f32 [C], standardise; NULL: those of the n
 * rows.  n or K of 0 is a bug.  0, or -1 with out empty; release either way. */
int dnas_classifier_fit(struct dnas_classifier *out, struct dnas_classifier_info *info,
                        const struct dnas_classifier_options *options, const float *mean,
                        const float *scale, const float *x, const uint32_t *row, const int32_t *y,
                        size_t n, size_t C, size_t K, struct dnas_err *err);

/* Classes of n rows of x, numbered as above.
 *   chosen       i32 [n]  of greatest score, ties to the lowest number
 *   probability  f64 [n]  of that class; NULL: not wanted
 *   p_true       f64 [n]  of class y[row]; NULL: not wanted, and y is not looked at
 * A row's result does not depend on the rows beside it, nor on n_threads. */
void dnas_classifier_predict(int32_t *chosen, double *probability, double *p_true,
                             const struct dnas_classifier *c, const float *x, const uint32_t *row,
                             const int32_t *y, size_t n, int n_threads);

void dnas_classifier_release(struct dnas_classifier *c);

/* What a model file holds beside the numbers. */
struct dnas_classifier_about {
    struct dnas_idmap classes; /* their names, K of them */
    json_t *embedding;         /* what the embeddings are that it was fitted to, or NULL */
    json_t *pg;                /* program lines, or NULL */
};

/* Writes a .safetensors file with tensors mean, scale, weight, bias (and hidden.weight,
 * hidden.bias) in f32, and the rest as JSON in __metadata__: format "dnas-logreg", version,
 * classes, embedding, pg.  By way of path.part, as all output. */
int dnas_classifier_save(const char *path, const struct dnas_classifier *c,
                         const struct dnas_classifier_about *about, struct dnas_err *err);
/* Reads one.  Every tensor must be there, of the right shape and finite, and no other.  Sentences
 * begin with the path; release both either way. */
int dnas_classifier_load(struct dnas_classifier *c, struct dnas_classifier_about *about,
                         const char *path, struct dnas_err *err);
void dnas_classifier_about_release(struct dnas_classifier_about *about);

#ifdef __cplusplus
}
#endif
#endif
