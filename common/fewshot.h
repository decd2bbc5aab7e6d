/* SPDX-License-Identifier: MIT
 *
 * fewshot.h - how well a classifier does that has seen few rows of each class.
 *
 * The evaluation of DNABERT-S (Zhou et al. 2024, section 4): in each run the
 * rows of every class are shuffled; the first ones train, the last ones test.
 */
#ifndef DNAS_FEWSHOT_H
#define DNAS_FEWSHOT_H

#include "common/classifier.h"
#include "common/classify_scores.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Which rows' mean and deviation the columns are standardised with. */
enum dnas_standardise {
    DNAS_STANDARDISE_TRAINING, /* those that train */
    DNAS_STANDARDISE_ALL,      /* all that have a class: as the paper's code does */
    DNAS_STANDARDISE_NONE,     /* columns stay as they are */
};

struct dnas_fewshot_options {
    const size_t *shots; /* [n_shots], rows of each class to train on, each at least 1 */
    size_t n_shots;
    size_t test_per_class; /* rows of each class to test on, at least 1 */
    size_t n_runs;         /* at least 1 */
    bool drop_small;       /* leave classes with too few rows out */
    enum dnas_standardise standardise;
    struct dnas_classifier_options fit; /* logreg.n_threads, mlp.seed and mlp.step are set here */
    uint64_t seed;                      /* draws DNAS_RNG_FEWSHOT: step = run, row = class */
    int n_threads;                      /* changes no bit */
};

/* Of one number of shots, over the runs. */
struct dnas_fewshot_result {
    size_t n_shots, n_runs;
    size_t n_classes, n_dropped; /* classes that took part, and that drop_small left out */
    size_t n_train, n_test;      /* rows in a run */
    double mean[DNAS_N_CLASSIFY_SCORES];
    double deviation[DNAS_N_CLASSIFY_SCORES]; /* of the population, as numpy's std */
    size_t n_unfinished;                      /* fits that ended before they had converged */
};

/* Fills result [n_shots] for the rows of x, f32 [N,C], with classes y, i32 [N], 0..K-1, or -1: the
 * row takes no part.  Of a run, all numbers of shots have the same test rows, and few shots are
 * the first of many.  A class with fewer rows than the most shots and the test rows together is an
 * error that names it (names, NULL: by number) unless drop_small; fewer than two classes are an
 * error. Memory: for each fit at work its rows, standardised, beside what logreg.h says. */
int dnas_fewshot_run(struct dnas_fewshot_result *result, const float *x, const int32_t *y, size_t N,
                     size_t C, size_t K, const struct dnas_idmap *names,
                     const struct dnas_fewshot_options *options, struct dnas_err *err);

#ifdef __cplusplus
}
#endif
#endif
