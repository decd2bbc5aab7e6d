/* SPDX-License-Identifier: MIT
 *
 * mlp.c - one hidden layer, trained by Adam.  Contract: mlp.h.
 *
 * All weights lie in one block [hidden | weight | hidden_bias | bias], and so do
 * their gradients and moments: a step of Adam is one loop.  Steps are small (200
 * rows), so that threads would wait more than they work; who has several fits
 * runs them side by side.
 */
#include "common/mlp.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/rng.h"
#include "common/xmem.h"
#include "kernels/kernels.h"

struct training {
    const float *x;   /* [N,C] */
    const int32_t *y; /* [N] */
    size_t N, C, K, H, B;
    const struct dnas_mlp_options *o;

    size_t n, n_weights;       /* in all; of these penalised, first */
    float *w;                  /* [n] */
    float *g, *m, *v;          /* [n], gradient and moments */
    float *hidden, *weight;    /* into w: [H,C], [K,H] */
    float *hidden_bias, *bias; /* into w: [H], [K] */

    uint64_t *order; /* [N] */
    float *xb;       /* [B,C] */
    int32_t *yb;     /* [B] */
    float *h, *dh;   /* [B,H] */
    float *p;        /* [B,K], scores, then their gradient */
    float *t;        /* [B,max(H,K)], of which a transpose is made */
    double *loss;    /* [B] */
    long n_steps;
};

static void transpose(float *out, const float *a, size_t rows, size_t columns)
{
    for (size_t i = 0; i < rows; i++)
        for (size_t j = 0; j < columns; j++)
            out[j * rows + i] = a[i * columns + j];
}

static void column_means(float *out, const float *a, size_t rows, size_t columns)
{
    for (size_t j = 0; j < columns; j++) {
        double sum = 0;

        for (size_t i = 0; i < rows; i++)
            sum += (double)a[i * columns + j];
        out[j] = (float)(sum / (double)rows);
    }
}

static void load_batch(struct training *t, size_t begin, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        size_t row = (size_t)t->order[begin + i];

        memcpy(t->xb + i * t->C, t->x + row * t->C, t->C * sizeof(*t->xb));
        t->yb[i] = t->y[row];
    }
}

/* Hidden values, and the gradient of the summed loss by the scores. */
static void forward(struct training *t, size_t n)
{
    dnas_cpu_linear_fwd(t->h, t->xb, t->hidden, t->hidden_bias, NULL, n, t->H, t->C);
    for (size_t i = 0; i < n * t->H; i++)
        t->h[i] = t->h[i] < 0 ? 0 : t->h[i]; /* a NaN stays one */
    dnas_cpu_matmul_nt(t->p, t->h, t->weight, n, t->K, t->H);
    dnas_cpu_softmax_loss(t->p, t->loss, t->bias, t->yb, n, t->K);
}

/* Gradients of the mean loss with its penalty. */
static void backward(struct training *t, size_t n)
{
    float *g_hidden = t->g, *g_weight = t->g + t->H * t->C;
    float each = 1 / (float)n, l2 = (float)t->o->l2 / (float)n;

    dnas_cpu_matmul(t->dh, t->p, t->weight, n, t->H, t->K, t->H, t->K, t->H, 1, 0, 0);
    for (size_t i = 0; i < n * t->H; i++)
        t->dh[i] = t->h[i] > 0 ? t->dh[i] : 0;
    column_means(t->g + t->n_weights, t->dh, n, t->H);
    column_means(t->g + t->n_weights + t->H, t->p, n, t->K);
    transpose(t->t, t->p, n, t->K);
    dnas_cpu_matmul(g_weight, t->t, t->h, t->K, t->H, n, t->H, n, t->H, each, 0, 0);
    transpose(t->t, t->dh, n, t->H);
    dnas_cpu_matmul(g_hidden, t->t, t->xb, t->H, t->C, n, t->C, n, t->C, each, 0, 0);
    for (size_t i = 0; i < t->n_weights; i++)
        t->g[i] += l2 * t->w[i];
}

/* Adam as scikit-learn has it: eps beside the uncorrected root, the corrections in the rate. */
static void adam(struct training *t)
{
    double steps = (double)++t->n_steps;
    float rate = (float)(t->o->rate * sqrt(1 - pow(0.999, steps)) / (1 - pow(0.9, steps)));

    for (size_t i = 0; i < t->n; i++) {
        t->m[i] = 0.9f * t->m[i] + 0.1f * t->g[i];
        t->v[i] = 0.999f * t->v[i] + 0.001f * t->g[i] * t->g[i];
        t->w[i] -= rate * t->m[i] / (sqrtf(t->v[i]) + 1e-8f);
    }
}

/* The batch's loss, summed over its n rows. */
static double batch_loss(const struct training *t, size_t n)
{
    double sum = 0, squares = 0;

    for (size_t i = 0; i < n; i++)
        sum += t->loss[i];
    for (size_t i = 0; i < t->n_weights; i++)
        squares += (double)t->w[i] * (double)t->w[i];
    return sum + t->o->l2 / 2 * squares;
}

static double run_epoch(struct training *t, uint32_t epoch)
{
    struct dnas_rng rng;
    double sum = 0;

    dnas_rng_init(&rng, t->o->seed, DNAS_RNG_MLP, t->o->step, 1 + epoch);
    dnas_rng_sample(&rng, t->order, t->N, t->N);
    for (size_t begin = 0; begin < t->N; begin += t->B) {
        size_t n = t->N - begin < t->B ? t->N - begin : t->B;

        load_batch(t, begin, n);
        forward(t, n);
        sum += batch_loss(t, n);
        backward(t, n);
        adam(t);
    }
    return sum / (double)t->N;
}

static int run_epochs(struct training *t, struct dnas_mlp_info *info, struct dnas_err *err)
{
    double best = INFINITY;
    int n_idle = 0;

    while (!info->converged && info->n_epochs < t->o->max_epochs) {
        info->loss = run_epoch(t, (uint32_t)info->n_epochs++);
        if (!isfinite(info->loss))
            return dnas_err_set(err, "the loss is not finite after epoch %d", info->n_epochs);
        n_idle = info->loss > best - t->o->tol ? n_idle + 1 : 0;
        best = info->loss < best ? info->loss : best;
        info->converged = n_idle > t->o->patience;
    }
    return 0;
}

static void draw(float *w, size_t n, double bound, struct dnas_rng *rng)
{
    for (size_t i = 0; i < n; i++)
        w[i] = (float)(bound * (2 * dnas_rng_uniform(rng) - 1));
}

static void draw_weights(struct training *t)
{
    double first = sqrt(6 / (double)(t->C + t->H)), second = sqrt(6 / (double)(t->H + t->K));
    struct dnas_rng rng;

    dnas_rng_init(&rng, t->o->seed, DNAS_RNG_MLP, t->o->step, 0);
    draw(t->hidden, t->H * t->C, first, &rng);
    draw(t->hidden_bias, t->H, first, &rng);
    draw(t->weight, t->K * t->H, second, &rng);
    draw(t->bias, t->K, second, &rng);
}

static void allocate(struct training *t)
{
    size_t wider = t->H > t->K ? t->H : t->K;

    t->n_weights = t->H * t->C + t->K * t->H;
    t->n = t->n_weights + t->H + t->K;
    t->w = dnas_xalloc64(t->n, sizeof(*t->w));
    t->g = dnas_xalloc64(t->n, sizeof(*t->g));
    t->m = dnas_xzalloc(t->n, sizeof(*t->m));
    t->v = dnas_xzalloc(t->n, sizeof(*t->v));
    t->hidden = t->w;
    t->weight = t->w + t->H * t->C;
    t->hidden_bias = t->w + t->n_weights;
    t->bias = t->hidden_bias + t->H;
    t->order = dnas_xalloc(t->N, sizeof(*t->order));
    t->xb = dnas_xalloc64(t->B, t->C * sizeof(*t->xb));
    t->yb = dnas_xalloc(t->B, sizeof(*t->yb));
    t->h = dnas_xalloc64(t->B, t->H * sizeof(*t->h));
    t->dh = dnas_xalloc64(t->B, t->H * sizeof(*t->dh));
    t->p = dnas_xalloc64(t->B, t->K * sizeof(*t->p));
    t->t = dnas_xalloc64(t->B, wider * sizeof(*t->t));
    t->loss = dnas_xalloc(t->B, sizeof(*t->loss));
}

static void release(struct training *t)
{
    void *owned[] = {t->w,  t->g, t->m,  t->v, t->order, t->xb,
                     t->yb, t->h, t->dh, t->p, t->t,     t->loss};

    for (size_t i = 0; i < sizeof(owned) / sizeof(owned[0]); i++)
        free(owned[i]);
}

int dnas_mlp_fit(float *hidden, float *hidden_bias, float *weight, float *bias,
                 struct dnas_mlp_info *info, const float *x, const int32_t *y, size_t N, size_t C,
                 size_t K, const struct dnas_mlp_options *options, struct dnas_err *err)
{
    struct training t = {.x = x, .y = y, .N = N, .C = C, .K = K, .H = options->H, .o = options};
    int status;

    if (N == 0 || C == 0 || K == 0 || options->H == 0 || options->batch == 0 ||
        options->max_epochs < 1)
        DNAS_BUG("%zu rows of %zu, %zu classes, %zu hidden, batches of %zu, %d epochs", N, C, K,
                 options->H, options->batch, options->max_epochs);
    t.B = options->batch < N ? options->batch : N;
    *info = (struct dnas_mlp_info){.loss = INFINITY};
    allocate(&t);
    draw_weights(&t);
    status = run_epochs(&t, info, err);
    memcpy(hidden, t.hidden, t.H * C * sizeof(*hidden));
    memcpy(hidden_bias, t.hidden_bias, t.H * sizeof(*hidden_bias));
    memcpy(weight, t.weight, K * t.H * sizeof(*weight));
    memcpy(bias, t.bias, K * sizeof(*bias));
    release(&t);
    return status;
}
