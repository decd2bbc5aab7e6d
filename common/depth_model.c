/* SPDX-License-Identifier: MIT
 *
 * depth_model.c - depths as dimensions of a noise model.  Contract: depth_model.h.
 */
#include "common/depth_model.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/xmem.h"

#define LEAST_DEPTH 0.1 /* added before the logarithm */
#define PAIR_DEPTH 1.0  /* of both of a pair that spread is measured on */
#define PAIRS_MAX 4096  /* are enough: the median is then known to 2 % */
#define SPREAD_DEFAULT 0.2
#define SPREAD_MIN 0.01
#define SPREAD_MAX 2.0
#define BETWEEN_MIN 0.01
#define NOISE_MAX 1e4
#define CHI2_MEDIAN 0.45493642311957283 /* one degree of freedom */

/* The variance of y from counting reads. */
static double counting(double mean, double variance, uint32_t length_bp, double read_bp)
{
    double reads = read_bp / (length_bp > 0 ? length_bp : 1), share = reads < 1 ? reads : 1;
    double of_mean = fmax(fmax(variance * share, mean * reads), reads * reads);
    double u = of_mean / ((mean + LEAST_DEPTH) * (mean + LEAST_DEPTH));

    return u < NOISE_MAX ? u : NOISE_MAX;
}

/* ---- how much depth varies along a genome ---- */

struct pair {
    double square, counted; /* (y1 - y2)^2; u1 + u2 */
};

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

/* Pairs of rows that follow each other in a bin; last [n_bins] is scratch.  Of many pairs every
 * so many, evenly. */
static size_t list_pairs(struct pair *pair, const struct dnas_depth_model *m,
                         const struct dnas_depth *d, const int32_t *label, size_t sample,
                         size_t *last, size_t n_bins, size_t step)
{
    size_t n = 0, n_seen = 0;

    for (size_t b = 0; b < n_bins; b++)
        last[b] = SIZE_MAX;
    for (size_t row = 0; row < m->N; row++) {
        size_t at = row * m->S + sample, before;

        if (label[row] < 0 || d->mean[at] < PAIR_DEPTH)
            continue;
        before = last[label[row]];
        last[label[row]] = row;
        if (before == SIZE_MAX || n_seen++ % step != 0)
            continue;
        before = before * m->S + sample;
        if (pair)
            pair[n] = (struct pair){((double)m->y[at] - (double)m->y[before]) *
                                        ((double)m->y[at] - (double)m->y[before]),
                                    (double)m->noise[at] + (double)m->noise[before]};
        n++;
    }
    return n;
}

static double median_ratio(const struct pair *pair, double *ratio, size_t n, double spread)
{
    for (size_t i = 0; i < n; i++)
        ratio[i] = pair[i].square / (pair[i].counted + 2 * spread * spread);
    qsort(ratio, n, sizeof(*ratio), by_value);
    return n % 2 ? ratio[n / 2] : (ratio[n / 2 - 1] + ratio[n / 2]) / 2;
}

/* By bisection: the median falls as the spread grows. */
static double find_spread(const struct pair *pair, size_t n)
{
    double low = SPREAD_MIN, high = SPREAD_MAX, *ratio = dnas_xalloc(n, sizeof(*ratio));

    for (int i = 0; i < 30; i++) { /* to 2e-9 */
        double middle = (low + high) / 2;

        if (median_ratio(pair, ratio, n, middle) > CHI2_MEDIAN)
            low = middle;
        else
            high = middle;
    }
    free(ratio);
    return (low + high) / 2;
}

/* ---- the whole ---- */

/* y and u of a sample; its middle is taken away. */
static void take_sample(struct dnas_depth_model *m, const struct dnas_depth *d,
                        const uint32_t *length_bp, double read_bp, size_t sample)
{
    double sum = 0;

    for (size_t row = 0; row < m->N; row++) {
        size_t at = row * m->S + sample;

        m->y[at] = (float)log(d->mean[at] + LEAST_DEPTH);
        m->noise[at] = (float)counting(d->mean[at], d->variance[at], length_bp[row], read_bp);
        sum += (double)m->y[at];
    }
    for (size_t row = 0; row < m->N; row++)
        m->y[row * m->S + sample] -= (float)(sum / (double)m->N);
}

static void finish_sample(struct dnas_depth_model *m, size_t sample)
{
    double squares = 0, noise = 0, spread2 = m->spread[sample] * m->spread[sample];

    for (size_t row = 0; row < m->N; row++) {
        size_t at = row * m->S + sample;

        m->noise[at] = (float)((double)m->noise[at] + spread2);
        squares += (double)m->y[at] * (double)m->y[at];
        noise += (double)m->noise[at];
    }
    m->between[sample] = m->N > 0 ? fmax((squares - noise) / (double)m->N, BETWEEN_MIN) : 1;
}

void dnas_depth_model_init(struct dnas_depth_model *m, const struct dnas_depth *d,
                           const uint32_t *length_bp, const int32_t *label, double read_bp)
{
    struct pair *pair = dnas_xalloc(PAIRS_MAX, sizeof(*pair));
    size_t n_bins = 0, *last;

    *m = (struct dnas_depth_model){.N = d->N, .S = d->S};
    m->y = dnas_xalloc(m->N, m->S * sizeof(*m->y));
    m->noise = dnas_xalloc(m->N, m->S * sizeof(*m->noise));
    m->between = dnas_xalloc(m->S, sizeof(*m->between));
    m->spread = dnas_xalloc(m->S, sizeof(*m->spread));
    m->n_pairs = dnas_xalloc(m->S, sizeof(*m->n_pairs));
    for (size_t row = 0; row < m->N; row++)
        if (label[row] >= 0 && (size_t)label[row] >= n_bins)
            n_bins = (size_t)label[row] + 1;
    last = dnas_xalloc(n_bins, sizeof(*last));
    for (size_t s = 0; s < m->S; s++) {
        size_t n_all, step;

        take_sample(m, d, length_bp, read_bp, s);
        n_all = list_pairs(NULL, m, d, label, s, last, n_bins, 1);
        step = (n_all + PAIRS_MAX - 1) / PAIRS_MAX;
        m->n_pairs[s] = list_pairs(pair, m, d, label, s, last, n_bins, step > 0 ? step : 1);
        m->spread[s] = m->n_pairs[s] < DNAS_DEPTH_PAIRS_MIN ? SPREAD_DEFAULT
                                                            : find_spread(pair, m->n_pairs[s]);
        finish_sample(m, s);
    }
    free(last);
    free(pair);
}

void dnas_depth_model_release(struct dnas_depth_model *m)
{
    free(m->y);
    free(m->noise);
    free(m->between);
    free(m->spread);
    free(m->n_pairs);
    *m = (struct dnas_depth_model){0};
}

/* Rows of embeddings with those of depths behind them; free with free(). */
static float *put_together(const float *x, const struct dnas_depth_model *m, size_t C)
{
    size_t width = C + m->S;
    float *out = dnas_xalloc64(m->N, width * sizeof(*out));

    for (size_t row = 0; row < m->N; row++) {
        memcpy(out + row * width, x + row * C, C * sizeof(*out));
        memcpy(out + row * width + C, m->y + row * m->S, m->S * sizeof(*out));
    }
    return out;
}

int dnas_graph_bin_run_depth(struct dnas_graph_bin *g, struct dnas_depth_model *m, const float *x,
                             const uint32_t *length_bp, size_t C, const struct dnas_plda *plda,
                             const struct dnas_depth *d, double read_bp,
                             const struct dnas_graph_bin_options *options, struct dnas_err *err)
{
    struct dnas_graph_bin_options all = *options;
    struct dnas_plda with_depth;
    float *both;
    int status;

    all.min_size = 1;
    all.min_bp = 0;
    *m = (struct dnas_depth_model){0};
    status = dnas_graph_bin_run(g, x, length_bp, NULL, d->N, C, plda, &all, err);
    if (status == 0)
        dnas_depth_model_init(m, d, length_bp, g->label, read_bp);
    dnas_graph_bin_release(g);
    if (status != 0)
        return -1;
    dnas_plda_extend(&with_depth, plda, m->between, m->S);
    both = put_together(x, m, C);
    status =
        dnas_graph_bin_run(g, both, length_bp, m->noise, m->N, C + m->S, &with_depth, options, err);
    free(both);
    dnas_plda_release(&with_depth);
    return status;
}
