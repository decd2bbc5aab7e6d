/* SPDX-License-Identifier: MIT
 *
 * logreg_loss.c - logistic regression's objective.  Contract: logreg_loss.h.
 *
 * Rows are taken a panel at a time, so that their probabilities stay near the
 * processor.  Scores are computed a tile of rows each, then the gradient a band
 * of columns each, over all rows of the panel in their order: there are no
 * parts to be added up, and nothing depends on the number of threads.
 */
#include "common/logreg_loss.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/err.h"
#include "common/threads.h"
#include "common/xmem.h"
#include "kernels/kernels.h"

#define PANEL 2048 /* rows */
#define TILE 128   /* rows a product of scores */
#define BAND 64    /* columns of x a product of the gradient */
#define WIDE 16    /* classes side by side in double */
#define DEEP 128   /* what a product in double sums before the next columns: 16 KiB of b */

struct dnas_logreg_loss {
    const float *x;   /* [N,C] */
    const int32_t *y; /* [N] */
    size_t N, C, K;
    double l2;
    int n_threads;
    float *xt; /* [C,N], x transposed */

    float *v32, *g32; /* [C,K] */
    float *p32;       /* [PANEL,K] */
    double *loss;     /* [N] */
    double *bias;     /* [K] */
    float *bias32;    /* [K] */
    double *bias_sum; /* [K], its gradient */

    /* In double; made when first wanted.  Classes in groups of WIDE, each dense. */
    size_t n_groups;
    double *v64;   /* [n_groups,C,WIDE] */
    double *p64;   /* [n_groups,PANEL,WIDE] */
    double **tile; /* [n_threads], TILE * (C + WIDE n_groups), or BAND * (PANEL + WIDE) */

    /* The anchor; made when first set. */
    double *v_anchor, *g_anchor; /* [C+1,K] */
    double at_anchor;            /* the objective */
    float *p_anchor;             /* [N,K], probabilities */

    /* Of the panel at work. */
    size_t begin, n_rows;
    const double *v;
    double *g;
    enum dnas_logreg_products how;
    bool is_anchoring;
};

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

static size_t n_pieces(size_t n, size_t size)
{
    return n / size + (n % size > 0);
}

/* ---- in f32 ---- */

static void scores_task(void *ctx, size_t t, int worker)
{
    struct dnas_logreg_loss *l = ctx;
    size_t at = t * TILE, n = least(TILE, l->n_rows - at), row = l->begin + at;
    float *p = l->p32 + at * l->K;

    (void)worker;
    dnas_cpu_matmul(p, l->x + row * l->C, l->v32, n, l->K, l->C, l->K, l->C, l->K, 1, 0, 0);
    if (l->how == DNAS_LOGREG_ANCHORED)
        dnas_cpu_softmax_change(p, l->loss + row, l->bias32, l->p_anchor + row * l->K, l->y + row,
                                n, l->K);
    else
        dnas_cpu_softmax_loss(p, l->loss + row, l->bias32, l->y + row, n, l->K);
}

/* Task 0 is for the intercepts. */
static void gradient_task(void *ctx, size_t t, int worker)
{
    struct dnas_logreg_loss *l = ctx;
    size_t at = (t - 1) * BAND;

    (void)worker;
    if (t > 0) {
        dnas_cpu_matmul(l->g32 + at * l->K, l->xt + at * l->N + l->begin, l->p32,
                        least(BAND, l->C - at), l->K, l->n_rows, l->K, l->N, l->K, 1,
                        l->begin > 0 ? 1 : 0, 0);
        return;
    }
    for (size_t row = 0; row < l->n_rows; row++)
        for (size_t k = 0; k < l->K; k++)
            l->bias_sum[k] += (double)l->p32[row * l->K + k];
}

static void round_task(void *ctx, size_t row, int worker)
{
    struct dnas_logreg_loss *l = ctx;

    (void)worker;
    for (size_t i = row * l->K; i < (row + 1) * l->K; i++)
        l->v32[i] = (float)(l->v[i] - (l->how == DNAS_LOGREG_ANCHORED ? l->v_anchor[i] : 0));
}

static void widen_task(void *ctx, size_t row, int worker)
{
    struct dnas_logreg_loss *l = ctx;

    (void)worker;
    for (size_t i = row * l->K; i < (row + 1) * l->K; i++)
        l->g[i] = (double)l->g32[i];
}

/* ---- in double ---- */

/* out [M,WIDE] (rows ld_out apart) (+)= a [M,n] b [n,WIDE], DEEP at a time. */
static void product(double *out, const double *a, const double *b, size_t M, size_t n,
                    size_t ld_out, size_t ld_a, bool keep)
{
    for (size_t at = 0; at < n; at += DEEP)
        dnas_cpu_matmul_f64(out, a + at, b + at * WIDE, M, WIDE, least(DEEP, n - at), ld_out, ld_a,
                            WIDE, keep || at > 0);
}

/* Scores to p - 1 at the true class, p elsewhere; the loss is returned.  As in softmax.c. */
static double softmax_loss(double *score, const double *bias, size_t K, size_t y)
{
    double top = -INFINITY, others = 0, own, behind;

    for (size_t k = 0; k < K; k++) {
        score[k] += bias[k];
        top = score[k] > top ? score[k] : top;
    }
    behind = top - score[y];
    own = exp(-behind);
    score[y] = -INFINITY;
    for (size_t k = 0; k < K; k++)
        others += score[k] = exp(score[k] - top);
    for (size_t k = 0; k < K; k++)
        score[k] /= own + others;
    score[y] = -others / (own + others);
    return behind <= 0 ? log1p(others) : log(own + others) + behind;
}

/* s as softmax_loss leaves it.  Changes of what is below 1e-20 are nothing, and slow as denormals.
 */
static void keep_probabilities(float *p, const double *s, size_t K, size_t y)
{
    for (size_t k = 0; k < K; k++)
        p[k] = s[k] < 1e-20 ? 0 : (float)s[k];
    p[y] = (float)(1 + s[y]);
}

static void scores64_task(void *ctx, size_t t, int worker)
{
    struct dnas_logreg_loss *l = ctx;
    size_t at = t * TILE, n = least(TILE, l->n_rows - at), row = l->begin + at;
    size_t wide = l->n_groups * WIDE;
    double *x = l->tile[worker], *score = x + TILE * l->C;

    for (size_t i = 0; i < n * l->C; i++)
        x[i] = (double)l->x[row * l->C + i];
    for (size_t group = 0; group < l->n_groups; group++)
        product(score + group * WIDE, x, l->v64 + group * l->C * WIDE, n, l->C, wide, l->C, false);
    for (size_t i = 0; i < n; i++) {
        double *s = score + i * wide;

        l->loss[row + i] = softmax_loss(s, l->bias, l->K, (size_t)l->y[row + i]);
        for (size_t k = l->K; k < wide; k++)
            s[k] = 0;
        if (l->is_anchoring)
            keep_probabilities(l->p_anchor + (row + i) * l->K, s, l->K, (size_t)l->y[row + i]);
        for (size_t group = 0; group < l->n_groups; group++)
            memcpy(l->p64 + (group * PANEL + at + i) * WIDE, s + group * WIDE, WIDE * sizeof(*s));
    }
}

static void gradient64_task(void *ctx, size_t t, int worker)
{
    struct dnas_logreg_loss *l = ctx;
    size_t at = (t - 1) * BAND, n = least(BAND, l->C - at);
    double *x = l->tile[worker], *out = x + BAND * PANEL;

    for (size_t i = 0; t > 0 && i < n; i++)
        for (size_t row = 0; row < l->n_rows; row++)
            x[i * PANEL + row] = (double)l->xt[(at + i) * l->N + l->begin + row];
    for (size_t group = 0; group < l->n_groups; group++) {
        const double *p = l->p64 + group * PANEL * WIDE;
        size_t k = group * WIDE, n_classes = least(WIDE, l->K - k);

        if (t > 0) {
            product(out, x, p, n, l->n_rows, WIDE, PANEL, false);
            for (size_t i = 0; i < n; i++)
                for (size_t j = 0; j < n_classes; j++)
                    l->g[(at + i) * l->K + k + j] += out[i * WIDE + j];
        } else {
            for (size_t row = 0; row < l->n_rows; row++)
                for (size_t j = 0; j < n_classes; j++)
                    l->bias_sum[k + j] += p[row * WIDE + j];
        }
    }
}

static void group_task(void *ctx, size_t group, int worker)
{
    struct dnas_logreg_loss *l = ctx;
    size_t k = group * WIDE, n = least(WIDE, l->K - k);

    (void)worker;
    for (size_t c = 0; c < l->C; c++)
        memcpy(l->v64 + (group * l->C + c) * WIDE, l->v + c * l->K + k, n * sizeof(*l->v));
}

static void make_double(struct dnas_logreg_loss *l)
{
    size_t scores = TILE * (l->C + l->n_groups * WIDE), bands = BAND * (PANEL + WIDE);

    if (l->v64)
        return;
    l->v64 = dnas_xalloc64(l->n_groups * l->C, WIDE * sizeof(*l->v64));
    memset(l->v64, 0, l->n_groups * l->C * WIDE * sizeof(*l->v64)); /* lanes beyond K stay 0 */
    l->p64 = dnas_xalloc64(l->n_groups * PANEL, WIDE * sizeof(*l->p64));
    l->tile = dnas_xalloc((size_t)l->n_threads, sizeof(*l->tile));
    for (int w = 0; w < l->n_threads; w++)
        l->tile[w] = dnas_xalloc64(scores > bands ? scores : bands, sizeof(**l->tile));
}

/* ---- all ---- */

/* Adds the penalty's gradient to g, and returns the penalty; when anchored, what they differ by. */
static double penalty(struct dnas_logreg_loss *l)
{
    bool anchored = l->how == DNAS_LOGREG_ANCHORED;
    double sum = 0;

    for (size_t i = 0; i < l->C * l->K; i++) {
        double from = anchored ? l->v_anchor[i] : 0;

        sum += (l->v[i] - from) * (l->v[i] + from);
        l->g[i] += l->l2 * (l->v[i] - from);
    }
    return l->l2 / 2 * sum;
}

/* Rows' losses and gradients, panel by panel. */
static void run_panels(struct dnas_logreg_loss *l)
{
    bool f64 = l->how == DNAS_LOGREG_F64;

    for (l->begin = 0; l->begin < l->N; l->begin += PANEL) {
        l->n_rows = least(PANEL, l->N - l->begin);
        dnas_parallel_for(n_pieces(l->n_rows, TILE), l->n_threads,
                          f64 ? scores64_task : scores_task, l);
        dnas_parallel_for(1 + n_pieces(l->C, BAND), l->n_threads,
                          f64 ? gradient64_task : gradient_task, l);
    }
}

static void set_bias(struct dnas_logreg_loss *l)
{
    size_t at = l->C * l->K;

    for (size_t k = 0; k < l->K; k++) {
        double from = l->how == DNAS_LOGREG_ANCHORED ? l->v_anchor[at + k] : 0;

        l->bias[k] = DNAS_LOGREG_CONSTANT * (l->v[at + k] - from);
        l->bias32[k] = (float)l->bias[k];
        l->bias_sum[k] = 0;
    }
}

double dnas_logreg_loss_at(struct dnas_logreg_loss *l, double *g, const double *v,
                           enum dnas_logreg_products how)
{
    size_t n = (l->C + 1) * l->K;
    double sum = 0;

    if (how == DNAS_LOGREG_ANCHORED && !l->p_anchor)
        DNAS_BUG("there is no anchor");
    l->v = v;
    l->g = g;
    l->how = how;
    set_bias(l);
    if (how == DNAS_LOGREG_F64) {
        make_double(l);
        memset(g, 0, l->C * l->K * sizeof(*g));
        dnas_parallel_for(l->n_groups, l->n_threads, group_task, l);
    } else {
        dnas_parallel_for(l->C, l->n_threads, round_task, l);
    }
    run_panels(l);
    if (how != DNAS_LOGREG_F64)
        dnas_parallel_for(l->C, l->n_threads, widen_task, l);
    for (size_t k = 0; k < l->K; k++)
        g[l->C * l->K + k] = DNAS_LOGREG_CONSTANT * l->bias_sum[k];
    for (size_t row = 0; row < l->N; row++)
        sum += l->loss[row];
    sum += penalty(l);
    for (size_t i = 0; how == DNAS_LOGREG_ANCHORED && i < n; i++)
        g[i] += l->g_anchor[i];
    return how == DNAS_LOGREG_ANCHORED ? l->at_anchor + sum : sum;
}

void dnas_logreg_loss_anchor(struct dnas_logreg_loss *l, const double *v)
{
    size_t n = (l->C + 1) * l->K;

    if (!l->p_anchor) {
        l->p_anchor = dnas_xalloc64(l->N, l->K * sizeof(*l->p_anchor));
        l->v_anchor = dnas_xalloc64(n, sizeof(*l->v_anchor));
        l->g_anchor = dnas_xalloc64(n, sizeof(*l->g_anchor));
    }
    memcpy(l->v_anchor, v, n * sizeof(*v));
    l->is_anchoring = true;
    l->at_anchor = dnas_logreg_loss_at(l, l->g_anchor, v, DNAS_LOGREG_F64);
    l->is_anchoring = false;
}

struct dnas_logreg_loss *dnas_logreg_loss_new(const float *x, const int32_t *y, size_t N, size_t C,
                                              size_t K, double l2, int n_threads)
{
    struct dnas_logreg_loss *l = dnas_xzalloc(1, sizeof(*l));

    *l = (struct dnas_logreg_loss){.x = x,
                                   .y = y,
                                   .N = N,
                                   .C = C,
                                   .K = K,
                                   .l2 = l2,
                                   .n_threads = n_threads,
                                   .n_groups = n_pieces(K, WIDE)};
    l->xt = dnas_xalloc64(N, C * sizeof(*l->xt));
    for (size_t row = 0; row < N; row++)
        for (size_t c = 0; c < C; c++)
            l->xt[c * N + row] = x[row * C + c];
    l->v32 = dnas_xalloc64(C, K * sizeof(*l->v32));
    l->g32 = dnas_xalloc64(C, K * sizeof(*l->g32));
    l->p32 = dnas_xalloc64(least(N, PANEL), K * sizeof(*l->p32));
    l->loss = dnas_xalloc(N, sizeof(*l->loss));
    l->bias = dnas_xalloc(K, sizeof(*l->bias));
    l->bias32 = dnas_xalloc(K, sizeof(*l->bias32));
    l->bias_sum = dnas_xalloc(K, sizeof(*l->bias_sum));
    return l;
}

void dnas_logreg_loss_free(struct dnas_logreg_loss *l)
{
    if (!l)
        return;
    for (int w = 0; l->tile && w < l->n_threads; w++)
        free(l->tile[w]);
    free(l->tile);
    free(l->p_anchor);
    free(l->v_anchor);
    free(l->g_anchor);
    free(l->p64);
    free(l->v64);
    free(l->bias_sum);
    free(l->bias32);
    free(l->bias);
    free(l->loss);
    free(l->p32);
    free(l->g32);
    free(l->v32);
    free(l->xt);
    free(l);
}
