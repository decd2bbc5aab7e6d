/* SPDX-License-Identifier: MIT
 *
 * classifier.c - fitting, predicting.  Contract: classifier.h.
 */
#include "common/classifier.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/threads.h"
#include "common/xmem.h"
#include "kernels/kernels.h"

#define TILE 128 /* rows a product; a last tile is filled up with zeros */

static size_t number(const uint32_t *row, size_t i)
{
    return row ? row[i] : i;
}

/* ---- standardising ---- */

static void add_rows(double *sum, const float *x, const uint32_t *row, size_t n, size_t C)
{
    for (size_t i = 0; i < n; i++)
        for (size_t c = 0; c < C; c++)
            sum[c] += (double)x[number(row, i) * C + c];
}

static void add_squares(double *sum, const double *mean, const float *x, const uint32_t *row,
                        size_t n, size_t C)
{
    for (size_t i = 0; i < n; i++)
        for (size_t c = 0; c < C; c++) {
            double away = (double)x[number(row, i) * C + c] - mean[c];

            sum[c] += away * away;
        }
}

void dnas_standardiser(float *mean, float *scale, const float *x, const uint32_t *row, size_t n,
                       size_t C)
{
    double *middle = dnas_xzalloc(C, sizeof(*middle)), *var = dnas_xzalloc(C, sizeof(*var));

    add_rows(middle, x, row, n, C);
    for (size_t c = 0; c < C; c++)
        middle[c] /= n > 0 ? (double)n : 1;
    add_squares(var, middle, x, row, n, C);
    for (size_t c = 0; c < C; c++) {
        mean[c] = (float)middle[c];
        scale[c] = n > 0 ? (float)sqrt(var[c] / (double)n) : 0;
        if (!(scale[c] > 0))
            scale[c] = 1;
    }
    free(var);
    free(middle);
}

static void standardise(float *out, const struct dnas_classifier *c, const float *x,
                        const uint32_t *row, size_t begin, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const float *from = x + number(row, begin + i) * c->C;

        for (size_t j = 0; j < c->C; j++)
            out[i * c->C + j] =
                (float)(((double)from[j] - (double)c->mean[j]) / (double)c->scale[j]);
    }
}

/* ---- fitting ---- */

static void allocate(struct dnas_classifier *c, size_t C, size_t K, size_t H)
{
    size_t inner = H > 0 ? H : C;

    *c = (struct dnas_classifier){.C = C, .K = K, .H = H};
    c->mean = dnas_xzalloc(C, sizeof(*c->mean));
    c->scale = dnas_xalloc(C, sizeof(*c->scale));
    c->hidden = dnas_xalloc(H, C * sizeof(*c->hidden));
    c->hidden_bias = dnas_xalloc(H, sizeof(*c->hidden_bias));
    c->weight = dnas_xalloc(K, inner * sizeof(*c->weight));
    c->bias = dnas_xalloc(K, sizeof(*c->bias));
}

void dnas_classifier_release(struct dnas_classifier *c)
{
    free(c->mean);
    free(c->scale);
    free(c->hidden);
    free(c->hidden_bias);
    free(c->weight);
    free(c->bias);
    *c = (struct dnas_classifier){.C = 0};
}

static int fit_standardised(struct dnas_classifier *c, struct dnas_classifier_info *info,
                            const struct dnas_classifier_options *o, const float *x,
                            const int32_t *y, size_t n, struct dnas_err *err)
{
    int status;

    if (o->is_mlp) {
        status = dnas_mlp_fit(c->hidden, c->hidden_bias, c->weight, c->bias, &info->mlp, x, y, n,
                              c->C, c->K, &o->mlp, err);
        info->converged = info->mlp.converged;
    } else {
        status = dnas_logreg_fit(c->weight, c->bias, &info->logreg, x, y, n, c->C, c->K, &o->logreg,
                                 err);
        info->converged = info->logreg.converged;
    }
    return status;
}

int dnas_classifier_fit(struct dnas_classifier *out, struct dnas_classifier_info *info,
                        const struct dnas_classifier_options *options, const float *mean,
                        const float *scale, const float *x, const uint32_t *row, const int32_t *y,
                        size_t n, size_t C, size_t K, struct dnas_err *err)
{
    float *rows = dnas_xalloc64(n, C * sizeof(*rows));
    int32_t *classes = dnas_xalloc(n, sizeof(*classes));
    int status;

    *info = (struct dnas_classifier_info){.converged = false};
    allocate(out, C, K, options->is_mlp ? options->mlp.H : 0);
    if (mean) {
        memcpy(out->mean, mean, C * sizeof(*mean));
        memcpy(out->scale, scale, C * sizeof(*scale));
    } else {
        dnas_standardiser(out->mean, out->scale, x, row, n, C);
    }
    standardise(rows, out, x, row, 0, n);
    for (size_t i = 0; i < n; i++)
        classes[i] = y[number(row, i)];
    status = fit_standardised(out, info, options, rows, classes, n, err);
    if (status != 0)
        dnas_classifier_release(out);
    free(classes);
    free(rows);
    return status;
}

/* ---- predicting ---- */

struct predict {
    const struct dnas_classifier *c;
    const float *x;
    const uint32_t *row;
    const int32_t *y;
    size_t n;
    float **scratch; /* [n_threads], TILE (C + H + K) */
    int32_t *chosen;
    double *probability, *p_true;
};

/* Scores of a whole tile of standardised rows, biases left out of the last layer. */
static void tile_scores(float *score, float *hidden, const float *x,
                        const struct dnas_classifier *c)
{
    const float *inner = x;

    if (c->H > 0) {
        dnas_cpu_linear_fwd(hidden, x, c->hidden, c->hidden_bias, NULL, TILE, c->H, c->C);
        for (size_t i = 0; i < TILE * c->H; i++)
            hidden[i] = hidden[i] < 0 ? 0 : hidden[i];
        inner = hidden;
    }
    dnas_cpu_matmul_nt(score, inner, c->weight, TILE, c->K, c->H > 0 ? c->H : c->C);
}

static int32_t greatest(const float *score, const float *bias, size_t K)
{
    size_t best = 0;

    for (size_t k = 1; k < K; k++)
        if (score[k] + bias[k] > score[best] + bias[best])
            best = k;
    return (int32_t)best;
}

static void predict_task(void *ctx, size_t t, int worker)
{
    struct predict *p = ctx;
    const struct dnas_classifier *c = p->c;
    size_t begin = t * TILE, n = p->n - begin < TILE ? p->n - begin : TILE;
    float *x = p->scratch[worker], *hidden = x + TILE * c->C, *score = hidden + TILE * c->H;

    memset(x + n * c->C, 0, (TILE - n) * c->C * sizeof(*x));
    standardise(x, c, p->x, p->row, begin, n);
    tile_scores(score, hidden, x, c);
    for (size_t i = 0; i < n; i++)
        p->chosen[begin + i] = greatest(score + i * c->K, c->bias, c->K);
    if (!p->probability && !p->p_true)
        return;
    dnas_cpu_softmax(score, c->bias, n, c->K);
    for (size_t i = begin; i < begin + n; i++) {
        const float *row = score + (i - begin) * c->K;

        if (p->probability)
            p->probability[i] = (double)row[p->chosen[i]];
        if (p->p_true)
            p->p_true[i] = (double)row[p->y[number(p->row, i)]];
    }
}

void dnas_classifier_predict(int32_t *chosen, double *probability, double *p_true,
                             const struct dnas_classifier *c, const float *x, const uint32_t *row,
                             const int32_t *y, size_t n, int n_threads)
{
    struct predict p = {c, x, row, y, n, NULL, chosen, probability, p_true};

    p.scratch = dnas_xalloc((size_t)n_threads, sizeof(*p.scratch));
    for (int w = 0; w < n_threads; w++)
        p.scratch[w] = dnas_xalloc64(TILE, (c->C + c->H + c->K) * sizeof(**p.scratch));
    dnas_parallel_for(n / TILE + (n % TILE > 0), n_threads, predict_task, &p);
    for (int w = 0; w < n_threads; w++)
        free(p.scratch[w]);
    free(p.scratch);
}
