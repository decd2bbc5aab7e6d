/* SPDX-License-Identifier: MIT
 *
 * classify_scores.c - scores of a classification.  Contract: classify_scores.h.
 *
 * Everything but the log loss follows from three counts a class; the table of
 * confusions is never made.
 */
#include "common/classify_scores.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>

#include "common/err.h"
#include "common/xmem.h"

const char *const dnas_classify_score_names[DNAS_N_CLASSIFY_SCORES] = {
    "macro_f1", "accuracy", "macro_precision", "macro_recall", "mcc", "log_loss"};

struct counts {
    uint64_t truth, predicted, both; /* rows */
};

static struct counts *count(const int32_t *predicted, const int32_t *truth, size_t N, size_t K)
{
    struct counts *n = dnas_xzalloc(K, sizeof(*n));

    for (size_t row = 0; row < N; row++) {
        if (truth[row] < 0 || (size_t)truth[row] >= K || predicted[row] < -1 ||
            (predicted[row] >= 0 && (size_t)predicted[row] >= K))
            DNAS_BUG("row %zu: class %d, predicted %d, of %zu", row, (int)truth[row],
                     (int)predicted[row], K);
        n[truth[row]].truth++;
        if (predicted[row] >= 0)
            n[predicted[row]].predicted++;
        n[truth[row]].both += predicted[row] == truth[row];
    }
    return n;
}

static double share(double part, double whole)
{
    return whole > 0 ? part / whole : 0;
}

static void macro(struct dnas_classify_scores *out, const struct counts *n, size_t K)
{
    double n_classes = 0, f1 = 0, precision = 0, recall = 0;

    for (size_t k = 0; k < K; k++) {
        double both = (double)n[k].both;

        n_classes += n[k].truth + n[k].predicted > 0;
        precision += share(both, (double)n[k].predicted);
        recall += share(both, (double)n[k].truth);
        f1 += share(2 * both, (double)n[k].predicted + (double)n[k].truth);
    }
    out->macro_f1 = f1 / n_classes;
    out->macro_precision = precision / n_classes;
    out->macro_recall = recall / n_classes;
}

/* Gorodkin 2004 from counts: (c s - sum p t) / sqrt((s^2 - sum p^2) (s^2 - sum t^2)), c right of
 * s rows, p predicted and t true of each class.  Rows of no class are one more p. */
static double matthews(const struct counts *n, size_t N, size_t K)
{
    double s = (double)N, none = (double)N, right = 0, pt = 0, pp = 0, tt = 0;

    for (size_t k = 0; k < K; k++) {
        double p = (double)n[k].predicted, t = (double)n[k].truth;

        right += (double)n[k].both;
        none -= p;
        pt += p * t;
        pp += p * p;
        tt += t * t;
    }
    pp += none * none;
    return share(right * s - pt, sqrt(s * s - pp) * sqrt(s * s - tt));
}

static double mean_log_loss(const double *p_true, size_t N)
{
    double sum = 0;

    for (size_t row = 0; row < N; row++) {
        double p = p_true[row];

        p = p < DBL_EPSILON ? DBL_EPSILON : p > 1 ? 1 : p;
        sum -= log(p);
    }
    return sum / (double)N;
}

void dnas_classify_score(struct dnas_classify_scores *out, const int32_t *predicted,
                         const int32_t *truth, const double *p_true, size_t N, size_t K)
{
    struct counts *n;
    uint64_t right = 0;

    *out = (struct dnas_classify_scores){N, 1, 1, 1, 1, 1, 0};
    if (N == 0)
        return;
    n = count(predicted, truth, N, K);
    for (size_t k = 0; k < K; k++)
        right += n[k].both;
    out->accuracy = (double)right / (double)N;
    macro(out, n, K);
    out->mcc = matthews(n, N, K);
    out->log_loss = p_true ? mean_log_loss(p_true, N) : NAN;
    free(n);
}

void dnas_classify_score_values(double values[DNAS_N_CLASSIFY_SCORES],
                                const struct dnas_classify_scores *s)
{
    const double in_order[DNAS_N_CLASSIFY_SCORES] = {
        s->macro_f1, s->accuracy, s->macro_precision, s->macro_recall, s->mcc, s->log_loss};

    for (int i = 0; i < DNAS_N_CLASSIFY_SCORES; i++)
        values[i] = in_order[i];
}
