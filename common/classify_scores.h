/* SPDX-License-Identifier: MIT
 *
 * classify_scores.h - how well predicted classes agree with the true ones.
 *
 * The measures of scikit-learn's sklearn.metrics, with zero_division=0.
 */
#ifndef DNAS_CLASSIFY_SCORES_H
#define DNAS_CLASSIFY_SCORES_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* All are 1 (log_loss 0) where there are no rows. */
struct dnas_classify_scores {
    uint64_t n_rows;
    /* Of precision, recall and F1 the unweighted means over the classes that are true or predicted
     * for some row; 0/0 counts as 0. */
    double macro_f1, macro_precision, macro_recall;
    double accuracy;
    double mcc;      /* Matthews' correlation for many classes (Gorodkin 2004); 0/0: 0 */
    double log_loss; /* mean of -log p of the true class; NaN without probabilities */
};

/* Scores predicted, i32 [N], against truth, i32 [N].
 *   truth      0..K-1, else a bug
 *   predicted  0..K-1, or -1: none of them, which is wrong, and no class in the means; else a bug
 *   p_true     f64 [N]  the true class's probability, clipped to 2^-52 .. 1; NULL: not known
 * Time O(N + K). */
void dnas_classify_score(struct dnas_classify_scores *out, const int32_t *predicted,
                         const int32_t *truth, const double *p_true, size_t N, size_t K);

/* The scores by name, for tables: macro_f1, accuracy, macro_precision, macro_recall, mcc, log_loss.
 */
#define DNAS_N_CLASSIFY_SCORES 6
extern const char *const dnas_classify_score_names[DNAS_N_CLASSIFY_SCORES];
/* The same as numbers, in that order. */
void dnas_classify_score_values(double values[DNAS_N_CLASSIFY_SCORES],
                                const struct dnas_classify_scores *scores);

#ifdef __cplusplus
}
#endif
#endif
