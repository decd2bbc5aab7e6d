/* SPDX-License-Identifier: MIT
 *
 * vae.c - a variational autoencoder, forward and backward.  Contract: vae.h.
 *
 * A batch is cut into slices of fixed height, a task each; sums over rows are
 * made per slice and added in the order of the slices.  Gradients of a matrix
 * are one product over the batch for each few of its rows.
 */
#include "common/vae.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "common/err.h"
#include "common/rng.h"
#include "common/threads.h"
#include "common/xmem.h"
#include "kernels/kernels.h"

#define SLICE 128 /* rows of a batch in a task */
#define BLOCK 64  /* rows of a matrix in a task */
#define LEAK 0.01f
#define NORM_EPS 1e-5
#define MOMENTUM 0.1

struct layer {
    struct dnas_vae_layer at;
    bool has_norm;
    float *in;                  /* [B,I] */
    float *r;                   /* [B,O] after leaky ReLU and dropout; without norm: the output */
    double *mean, *rstd;        /* [O] of the batch */
    double *run_mean, *run_var; /* [O] */
    double *sum, *sum2;         /* [n_slices,O] */
    double *total, *total2;     /* [O] */
    /* Of the gradient by a value before it was normalised: by_grad times that after, plus
     * by_value times the value, plus constant; [O]. */
    double *by_grad, *by_value, *constant;
};

struct dnas_vae {
    struct dnas_vae_options o;
    struct layer layers[DNAS_VAE_LAYERS];
    size_t n, n_slices;
    float *w, *g;               /* [n] */
    float *grad, *grad_in;      /* [B,widest] by a layer's output, and input */
    double *error, *divergence; /* [B] */
    /* The step that runs. */
    const float *x, *row_weight, *noise;
    size_t B;
    uint32_t step;
    struct layer *layer;
};

/* ---- making ---- */

static void place(struct dnas_vae *v, int number, size_t I, size_t O, bool has_norm)
{
    struct layer *l = &v->layers[number];
    size_t B = v->o.max_rows;

    l->at = (struct dnas_vae_layer){.I = I, .O = O, .weight = v->n, .bias = v->n + O * I};
    l->has_norm = has_norm;
    v->n += O * I + O;
    if (has_norm) {
        l->at.scale = v->n;
        l->at.shift = v->n + O;
        v->n += 2 * O;
    }
    l->in = dnas_xalloc64(B, I * sizeof(*l->in));
    l->r = dnas_xalloc64(B, O * sizeof(*l->r));
    l->mean = dnas_xzalloc(9 * O, sizeof(*l->mean));
    l->rstd = l->mean + O;
    l->run_mean = l->rstd + O;
    l->run_var = l->run_mean + O;
    l->total = l->run_var + O;
    l->total2 = l->total + O;
    l->by_grad = l->total2 + O;
    l->by_value = l->by_grad + O;
    l->constant = l->by_value + O;
    l->sum = dnas_xalloc(2 * v->n_slices, O * sizeof(*l->sum));
    l->sum2 = l->sum + v->n_slices * O;
    for (size_t i = 0; i < O; i++)
        l->run_var[i] = 1;
}

static void draw(struct dnas_vae *v, int number)
{
    const struct dnas_vae_layer *at = &v->layers[number].at;
    double bound = 1 / sqrt((double)at->I);
    struct dnas_rng rng;

    dnas_rng_init(&rng, v->o.seed, DNAS_RNG_VAE_WEIGHTS, 0, (uint32_t)number);
    for (size_t i = 0; i < at->O * at->I + at->O; i++) /* the bias follows the matrix */
        v->w[at->weight + i] = (float)(bound * (2 * dnas_rng_uniform(&rng) - 1));
    for (size_t i = 0; at->scale && i < at->O; i++) {
        v->w[at->scale + i] = 1;
        v->w[at->shift + i] = 0;
    }
}

struct dnas_vae *dnas_vae_new(const struct dnas_vae_options *o)
{
    const size_t widths[DNAS_VAE_LAYERS + 1] = {o->I, o->H, o->H, o->L, o->H, o->H, o->I};
    struct dnas_vae *v = dnas_xzalloc(1, sizeof(*v));
    size_t widest = 0;

    if (o->I == 0 || o->H == 0 || o->L == 0 || o->max_rows < 2 || !(o->beta > 0) ||
        !(o->dropout >= 0 && o->dropout < 1))
        DNAS_BUG("an autoencoder of %zu, %zu, %zu for %zu rows", o->I, o->H, o->L, o->max_rows);
    v->o = *o;
    v->n_slices = (o->max_rows + SLICE - 1) / SLICE;
    for (int i = 0; i < DNAS_VAE_LAYERS; i++) {
        place(v, i, widths[i], widths[i + 1], i != 2 && i != 5);
        widest = widths[i] > widest ? widths[i] : widest;
    }
    v->w = dnas_xalloc64(v->n, sizeof(*v->w));
    v->g = dnas_xalloc64(v->n, sizeof(*v->g));
    v->grad = dnas_xalloc64(o->max_rows, widest * sizeof(*v->grad));
    v->grad_in = dnas_xalloc64(o->max_rows, widest * sizeof(*v->grad_in));
    v->error = dnas_xalloc(o->max_rows, sizeof(*v->error));
    v->divergence = dnas_xalloc(o->max_rows, sizeof(*v->divergence));
    for (int i = 0; i < DNAS_VAE_LAYERS; i++)
        draw(v, i);
    return v;
}

void dnas_vae_free(struct dnas_vae *v)
{
    if (!v)
        return;
    for (int i = 0; i < DNAS_VAE_LAYERS; i++) {
        free(v->layers[i].in);
        free(v->layers[i].r);
        free(v->layers[i].mean);
        free(v->layers[i].sum);
    }
    free(v->w);
    free(v->g);
    free(v->grad);
    free(v->grad_in);
    free(v->error);
    free(v->divergence);
    free(v);
}

const struct dnas_vae_layer *dnas_vae_get_layer(const struct dnas_vae *v, int layer)
{
    return &v->layers[layer].at;
}

size_t dnas_vae_n_weights(const struct dnas_vae *v)
{
    return v->n;
}

float *dnas_vae_weights(struct dnas_vae *v)
{
    return v->w;
}

const float *dnas_vae_gradients(const struct dnas_vae *v)
{
    return v->g;
}

/* ---- tasks over slices of the batch ---- */

static size_t slice_rows(const struct dnas_vae *v, size_t slice)
{
    size_t left = v->B - slice * SLICE;

    return left < SLICE ? left : SLICE;
}

static void over_slices(struct dnas_vae *v, void (*task)(void *, size_t, int))
{
    dnas_parallel_for((v->B + SLICE - 1) / SLICE, v->o.n_threads, task, v);
}

/* total[i] = the sum over slices of sum, [n_slices,O]. */
static void add_slices(const struct dnas_vae *v, double *total, const double *sum, size_t O)
{
    memset(total, 0, O * sizeof(*total));
    for (size_t s = 0; s * SLICE < v->B; s++)
        for (size_t i = 0; i < O; i++)
            total[i] += sum[s * O + i];
}

static void drop(const struct dnas_vae *v, const struct layer *l, float *x, size_t slice)
{
    const uint32_t place = (uint32_t)(l - v->layers);
    const uint32_t counter[3] = {v->step, (uint32_t)slice, DNAS_RNG_VAE_DROPOUT + (place << 16)};
    const uint32_t key[2] = {(uint32_t)v->o.seed, (uint32_t)(v->o.seed >> 32)};
    uint32_t rate = (uint32_t)lrint(v->o.dropout * 65536);

    if (rate > 0)
        dnas_cpu_dropout(x, slice_rows(v, slice) * l->at.O, rate < 65536 ? rate : 65535, counter,
                         key);
}

/* The linear part; for a layer with batch normalisation what comes before that, and its sums. */
static void forward_slice(void *ctx, size_t slice, int worker)
{
    struct dnas_vae *v = ctx;
    struct layer *l = v->layer;
    size_t O = l->at.O, n = slice_rows(v, slice);
    float *r = l->r + slice * SLICE * O;
    double *sum = l->sum + slice * O, *sum2 = l->sum2 + slice * O;

    (void)worker;
    dnas_cpu_linear_fwd(r, l->in + slice * SLICE * l->at.I, v->w + l->at.weight, v->w + l->at.bias,
                        NULL, n, O, l->at.I);
    if (!l->has_norm)
        return;
    for (size_t i = 0; i < n * O; i++) {
        float leaked = LEAK * r[i];

        r[i] = r[i] > leaked ? r[i] : leaked; /* without a branch; a NaN stays one */
    }
    drop(v, l, r, slice);
    memset(sum, 0, O * sizeof(*sum));
    memset(sum2, 0, O * sizeof(*sum2));
    for (size_t row = 0; row < n; row++)
        for (size_t i = 0; i < O; i++) {
            double value = (double)r[row * O + i];

            sum[i] += value;
            sum2[i] += value * value;
        }
}

/* What the layer gives to the next: normalised, or with noise. */
static void pass_on_slice(void *ctx, size_t slice, int worker)
{
    struct dnas_vae *v = ctx;
    const struct layer *l = v->layer;
    size_t O = l->at.O, first = slice * SLICE * O, n = slice_rows(v, slice);
    float *out = (v->layer + 1)->in + first;
    const float *r = l->r + first;

    (void)worker;
    if (!l->has_norm) {
        for (size_t i = 0; i < n * O; i++)
            out[i] = r[i] + v->noise[first + i];
        return;
    }
    for (size_t row = 0; row < n; row++)
        for (size_t i = 0; i < O; i++) {
            double unit = ((double)r[row * O + i] - l->mean[i]) * l->rstd[i];

            out[row * O + i] =
                (float)(unit * (double)v->w[l->at.scale + i] + (double)v->w[l->at.shift + i]);
        }
}

/* Means and variances of the batch; the running ones move towards them. */
static void take_moments(const struct dnas_vae *v, struct layer *l)
{
    double B = (double)v->B;

    add_slices(v, l->total, l->sum, l->at.O);
    add_slices(v, l->total2, l->sum2, l->at.O);
    for (size_t i = 0; i < l->at.O; i++) {
        double mean = l->total[i] / B, var = l->total2[i] / B - mean * mean;

        var = var < 0 ? 0 : var; /* in double the difference of sums loses nothing that matters */
        l->mean[i] = mean;
        l->rstd[i] = 1 / sqrt(var + NORM_EPS);
        l->run_mean[i] += MOMENTUM * (mean - l->run_mean[i]);
        l->run_var[i] += MOMENTUM * (var * B / (B - 1) - l->run_var[i]);
    }
}

/* Rows' losses, and their gradient by y. */
static void loss_slice(void *ctx, size_t slice, int worker)
{
    struct dnas_vae *v = ctx;
    size_t I = v->o.I, L = v->o.L, first = slice * SLICE;

    (void)worker;
    for (size_t row = first; row < first + slice_rows(v, slice); row++) {
        const float *y = v->layers[5].r + row * I, *x = v->x + row * I;
        const float *mu = v->layers[2].r + row * L;
        double each = (double)v->row_weight[row], error = 0, squares = 0;

        for (size_t i = 0; i < I; i++) {
            double d = (double)y[i] - (double)x[i];

            error += d * d;
            v->grad[row * I + i] = (float)(2 * each * v->o.alpha * d / ((double)I * (double)v->B));
        }
        for (size_t i = 0; i < L; i++)
            squares += (double)mu[i] * (double)mu[i];
        v->error[row] = each * error / (double)I;
        v->divergence[row] = each * squares / 2;
    }
}

/* Sums of the gradient by a normalised output, and of its product with the unit values. */
static void norm_sums_slice(void *ctx, size_t slice, int worker)
{
    struct dnas_vae *v = ctx;
    struct layer *l = v->layer;
    size_t O = l->at.O, first = slice * SLICE * O;
    double *sum = l->sum + slice * O, *sum2 = l->sum2 + slice * O;

    (void)worker;
    memset(sum, 0, O * sizeof(*sum));
    memset(sum2, 0, O * sizeof(*sum2));
    for (size_t row = 0; row < slice_rows(v, slice); row++)
        for (size_t i = 0; i < O; i++) {
            size_t at = first + row * O + i;

            sum[i] += (double)v->grad[at];
            sum2[i] += (double)v->grad[at] * ((double)l->r[at] - l->mean[i]) * l->rstd[i];
        }
}

/* By a table: the outcome of a branch would be left to chance. */
static void leak(float *restrict grad, const float *restrict r, size_t n)
{
    static const float slope[2] = {LEAK, 1};

    for (size_t i = 0; i < n; i++)
        grad[i] *= slope[r[i] > 0];
}

/* v->grad from that by the layer's output to that by its linear part, whose columns are added up.
 */
static void through_slice(void *ctx, size_t slice, int worker)
{
    struct dnas_vae *v = ctx;
    struct layer *l = v->layer;
    size_t O = l->at.O, first = slice * SLICE * O, n = slice_rows(v, slice);
    double *sum = l->sum + slice * O;

    (void)worker;
    for (size_t row = 0; l->has_norm && row < n; row++) {
        float *grad = v->grad + first + row * O;
        const float *r = l->r + first + row * O;

        for (size_t i = 0; i < O; i++)
            grad[i] = (float)(l->by_grad[i] * (double)grad[i] + l->by_value[i] * (double)r[i] +
                              l->constant[i]);
    }
    if (l->has_norm) {
        drop(v, l, v->grad + first, slice);
        leak(v->grad + first, l->r + first, n * O);
    }
    memset(sum, 0, O * sizeof(*sum));
    for (size_t row = 0; row < n; row++)
        for (size_t i = 0; i < O; i++)
            sum[i] += (double)v->grad[first + row * O + i];
}

static void input_slice(void *ctx, size_t slice, int worker)
{
    struct dnas_vae *v = ctx;
    const struct layer *l = v->layer;
    size_t first = slice * SLICE, n = slice_rows(v, slice);
    float *grad_in = v->grad_in + first * l->at.I;
    double scale = 1 / ((double)v->o.L * v->o.beta * (double)v->B);

    (void)worker;
    dnas_cpu_linear_bwd(grad_in, v->grad + first * l->at.O, v->w + l->at.weight, NULL, n, l->at.O,
                        l->at.I);
    if (l != &v->layers[DNAS_VAE_ENCODER])
        return;
    for (size_t row = 0; row < n; row++) /* to mu, and what the divergence wants of it */
        for (size_t i = 0; i < l->at.I; i++)
            grad_in[row * l->at.I + i] +=
                (float)((double)v->row_weight[first + row] * scale *
                        (double)v->layers[2].r[(first + row) * l->at.I + i]);
}

static void matrix_block(void *ctx, size_t block, int worker)
{
    struct dnas_vae *v = ctx;
    const struct layer *l = v->layer;
    size_t first = block * BLOCK, left = l->at.O - first, n = left < BLOCK ? left : BLOCK;

    (void)worker;
    dnas_cpu_matmul_tn(v->g + l->at.weight + first * l->at.I, v->grad + first, l->in, n, l->at.I,
                       v->B, l->at.I, l->at.O, l->at.I, 1, 0);
}

/* ---- a step ---- */

static void forward(struct dnas_vae *v)
{
    memcpy(v->layers[0].in, v->x, v->B * v->o.I * sizeof(*v->x));
    for (int i = 0; i < DNAS_VAE_LAYERS; i++) {
        v->layer = &v->layers[i];
        over_slices(v, forward_slice);
        if (v->layer->has_norm)
            take_moments(v, v->layer);
        if (i + 1 < DNAS_VAE_LAYERS)
            over_slices(v, pass_on_slice);
    }
}

static void backward_layer(struct dnas_vae *v)
{
    struct layer *l = v->layer;
    float *swap = v->grad;

    if (l->has_norm) {
        over_slices(v, norm_sums_slice);
        add_slices(v, l->total, l->sum, l->at.O);
        add_slices(v, l->total2, l->sum2, l->at.O);
        for (size_t i = 0; i < l->at.O; i++) {
            double B = (double)v->B;

            v->g[l->at.shift + i] = (float)l->total[i];
            v->g[l->at.scale + i] = (float)l->total2[i];
            l->by_grad[i] = (double)v->w[l->at.scale + i] * l->rstd[i];
            l->by_value[i] = -l->by_grad[i] * l->rstd[i] * l->total2[i] / B;
            l->constant[i] = -l->by_grad[i] * l->total[i] / B - l->by_value[i] * l->mean[i];
        }
    }
    over_slices(v, through_slice);
    add_slices(v, l->total, l->sum, l->at.O);
    for (size_t i = 0; i < l->at.O; i++)
        v->g[l->at.bias + i] = (float)l->total[i];
    dnas_parallel_for((l->at.O + BLOCK - 1) / BLOCK, v->o.n_threads, matrix_block, v);
    if (l == v->layers)
        return;
    over_slices(v, input_slice);
    v->grad = v->grad_in;
    v->grad_in = swap;
}

void dnas_vae_step(struct dnas_vae *v, struct dnas_vae_loss *loss, const float *x, const float *w,
                   const float *noise, size_t B, uint32_t step)
{
    if (B < 2 || B > v->o.max_rows)
        DNAS_BUG("a batch of %zu rows, of at most %zu", B, v->o.max_rows);
    v->x = x;
    v->row_weight = w;
    v->noise = noise;
    v->B = B;
    v->step = step;
    forward(v);
    over_slices(v, loss_slice);
    *loss = (struct dnas_vae_loss){0};
    for (size_t row = 0; row < B; row++) {
        loss->error += v->error[row] / (double)B;
        loss->divergence += v->divergence[row] / (double)B;
    }
    loss->total = v->o.alpha * loss->error + loss->divergence / ((double)v->o.L * v->o.beta);
    for (int i = DNAS_VAE_LAYERS - 1; i >= 0; i--) {
        v->layer = &v->layers[i];
        backward_layer(v);
    }
}

/* ---- the encoder alone ---- */

void dnas_vae_encoder(const struct dnas_vae *v, int layer, float *weight, float *bias)
{
    const struct dnas_vae_layer *at = &v->layers[layer].at;
    const struct layer *before = layer > 0 ? &v->layers[layer - 1] : NULL;

    if (layer < 0 || layer >= DNAS_VAE_ENCODER)
        DNAS_BUG("layer %d of the encoder", layer);
    for (size_t o = 0; o < at->O; o++) {
        double sum = (double)v->w[at->bias + o];

        for (size_t i = 0; i < at->I; i++) {
            double w = (double)v->w[at->weight + o * at->I + i], scale = 1;

            if (before) {
                scale = (double)v->w[before->at.scale + i] / sqrt(before->run_var[i] + NORM_EPS);
                sum += w * ((double)v->w[before->at.shift + i] - scale * before->run_mean[i]);
            }
            weight[o * at->I + i] = (float)(w * scale);
        }
        bias[o] = (float)sum;
    }
}
