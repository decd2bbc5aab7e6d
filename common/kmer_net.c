/* SPDX-License-Identifier: MIT
 *
 * kmer_net.c - two dense layers and the way back.  Contract: kmer_net.h.
 *
 * A batch has the same number of rows in every step: oneDNN's bits depend on it.
 */
#include "common/kmer_net.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "common/contrastive.h"
#include "common/optim.h"
#include "common/rng.h"
#include "common/xmem.h"
#include "kernels/kernels.h"

const char *const dnas_kmer_objectives[] = {"supcon", "wsimclr", NULL};

#define MEAN_OF 100 /* losses */

void dnas_kmer_net_init(struct dnas_kmer_net *net, size_t O, size_t H, double rms, uint64_t seed)
{
    double spread = 1 / (sqrt((double)O) * (rms > 0 ? rms : 1));
    struct dnas_rng rng;

    if (O == 0 || H == 0)
        DNAS_BUG("a network of %zu and %zu", O, H);
    *net = (struct dnas_kmer_net){.O = O, .H = H, .n = 2 * H * O + H + O};
    net->w = dnas_xzalloc(net->n, sizeof(*net->w));
    net->hidden = net->w;
    net->hidden_bias = net->hidden + H * O;
    net->out = net->hidden_bias + H;
    net->out_bias = net->out + O * H;
    dnas_rng_init(&rng, seed, DNAS_RNG_KMER_NET_INIT, 0, 0);
    for (size_t i = 0; i < H * O; i++)
        net->hidden[i] = (float)(spread * dnas_rng_normal(&rng));
}

void dnas_kmer_net_release(struct dnas_kmer_net *net)
{
    free(net->w);
    *net = (struct dnas_kmer_net){0};
}

/* ---- a batch ---- */

struct dnas_kmer_net_batch {
    size_t n, O, H;
    float *in;      /* [n,H] gelu's input, then its gradient */
    float *h;       /* [n,H] after gelu and dropout, then the gradient of it */
    float *z;       /* [n,O] */
    float *gz;      /* [n,O] */
    float *norm;    /* [n] */
    uint32_t *half; /* [n/2] labels of pairs */
    struct dnas_contrastive *c;
};

struct dnas_kmer_net_batch *dnas_kmer_net_batch_new(size_t n, size_t O, size_t H, int n_threads)
{
    struct dnas_kmer_net_batch *b = dnas_xzalloc(1, sizeof(*b));

    if (n == 0 || n % 2 != 0)
        DNAS_BUG("a batch of %zu rows", n);
    b->n = n;
    b->O = O;
    b->H = H;
    b->in = dnas_xalloc64(n, H * sizeof(*b->in));
    b->h = dnas_xalloc64(n, H * sizeof(*b->h));
    b->z = dnas_xalloc64(n, O * sizeof(*b->z));
    b->gz = dnas_xalloc64(n, O * sizeof(*b->gz));
    b->norm = dnas_xalloc(n, sizeof(*b->norm));
    b->half = dnas_xalloc(n / 2, sizeof(*b->half));
    b->c = dnas_contrastive_new(n / 2, O, n_threads);
    return b;
}

void dnas_kmer_net_batch_free(struct dnas_kmer_net_batch *b)
{
    if (!b)
        return;
    free(b->in);
    free(b->h);
    free(b->z);
    free(b->gz);
    free(b->norm);
    free(b->half);
    dnas_contrastive_free(b->c);
    free(b);
}

static void multiply(float *x, const float *keep, size_t n)
{
    for (size_t i = 0; keep && i < n; i++)
        x[i] *= keep[i];
}

/* z = y' / |y'|. */
static void forward(struct dnas_kmer_net_batch *b, const struct dnas_kmer_net *net, const float *y,
                    const float *keep)
{
    dnas_cpu_linear_fwd(b->in, y, net->hidden, net->hidden_bias, NULL, b->n, b->H, b->O);
    dnas_cpu_gelu_fwd(b->h, b->in, b->n * b->H);
    multiply(b->h, keep, b->n * b->H);
    dnas_cpu_linear_fwd(b->z, b->h, net->out, net->out_bias, y, b->n, b->O, b->H);
    dnas_unit_rows_fwd(b->z, b->norm, b->z, b->n, b->O);
}

/* From gz. */
static void backward(struct dnas_kmer_net_batch *b, float *g, const struct dnas_kmer_net *net,
                     const float *y, const float *keep)
{
    float *g_hidden = g + (net->hidden - net->w), *g_hidden_bias = g + (net->hidden_bias - net->w);
    float *g_out = g + (net->out - net->w), *g_out_bias = g + (net->out_bias - net->w);

    memset(g, 0, net->n * sizeof(*g));
    dnas_unit_rows_bwd(b->gz, b->gz, b->z, b->norm, b->n, b->O);
    dnas_cpu_linear_bwd_weight(g_out, g_out_bias, b->gz, b->h, b->n, b->O, b->H);
    dnas_cpu_linear_bwd(b->h, b->gz, net->out, NULL, b->n, b->O, b->H);
    multiply(b->h, keep, b->n * b->H);
    dnas_cpu_gelu_bwd(b->in, b->h, b->in, b->n * b->H);
    dnas_cpu_linear_bwd_weight(g_hidden, g_hidden_bias, b->in, y, b->n, b->H, b->O);
}

int dnas_kmer_net_gradient(struct dnas_kmer_net_batch *b, double *loss, float *g,
                           const struct dnas_kmer_net *net, const float *y, const float *keep,
                           const uint32_t *label, enum dnas_kmer_objective objective,
                           double temperature, struct dnas_err *err)
{
    int status = -1;

    forward(b, net, y, keep);
    switch (objective) {
    case DNAS_KMER_SUPCON:
        status = dnas_supcon(b->c, loss, b->gz, b->z, label, b->n, temperature, err);
        break;
    case DNAS_KMER_WSIMCLR:
        memcpy(b->half, label, b->n / 2 * sizeof(*label));
        status = dnas_wsimclr(b->c, loss, b->gz, b->z, b->half, b->n / 2, temperature, err);
        break;
    }
    if (status == 0)
        backward(b, g, net, y, keep);
    return status;
}

/* ---- training ---- */

struct training {
    const struct dnas_kmer_net_rows *rows;
    const struct dnas_kmer_net_options *o;
    size_t n_each, n_drawn, n; /* rows of a class, classes, rows of a batch */
    uint32_t *row;             /* [N] by class */
    size_t *first;             /* [n_classes + 1] into row, of classes of two rows or more */
    size_t n_classes;
    uint64_t *drawn; /* [n_drawn] classes */
    float *y;        /* [n,O] */
    float *keep;     /* [n,H]; NULL without dropout */
    uint32_t *label; /* [n] */
    float *g;
};

struct labelled {
    uint32_t label, row;
};

static int by_label(const void *a, const void *b)
{
    const struct labelled *x = a, *y = b;

    if (x->label != y->label)
        return x->label < y->label ? -1 : 1;
    return (x->row > y->row) - (x->row < y->row);
}

static void list_classes(struct training *t)
{
    size_t N = t->rows->N, n_rows = 0;
    struct labelled *l = dnas_xalloc(N, sizeof(*l));

    t->row = dnas_xalloc(N, sizeof(*t->row));
    t->first = dnas_xzalloc(N / 2 + 1, sizeof(*t->first));
    for (size_t i = 0; i < N; i++)
        l[i] = (struct labelled){t->rows->label[i], (uint32_t)i};
    qsort(l, N, sizeof(*l), by_label);
    for (size_t i = 0, end; i < N; i = end) {
        for (end = i; end < N && l[end].label == l[i].label; end++)
            ;
        if (end - i < 2)
            continue;
        for (size_t j = i; j < end; j++)
            t->row[n_rows++] = l[j].row;
        t->first[++t->n_classes] = n_rows;
    }
    free(l);
}

/* Row `slot` of the batch: a row of the data, noisier. */
static void take_row(struct training *t, size_t slot, uint32_t row, uint64_t step)
{
    const struct dnas_kmer_net_rows *rows = t->rows;
    float *y = t->y + slot * rows->O;
    struct dnas_rng rng;

    dnas_rng_init(&rng, t->o->seed, DNAS_RNG_KMER_NET_NOISE, (uint32_t)step, (uint32_t)slot);
    memcpy(y, rows->y + (size_t)row * rows->O, rows->O * sizeof(*y));
    t->label[slot] = rows->label[row];
    if (rows->length_bp && rows->noise_kb && t->o->shortest < 1) {
        double share = t->o->shortest + (1 - t->o->shortest) * dnas_rng_uniform(&rng);
        double kb = rows->length_bp[row] > 0 ? rows->length_bp[row] / 1000. : 0.001;
        double more = (1 / share - 1) / kb; /* of the variance at 1 kb */

        for (size_t c = 0; c < rows->O; c++)
            y[c] += (float)(sqrt(more * (double)rows->noise_kb[c]) * dnas_rng_normal(&rng));
    }
}

static void drop(struct training *t, size_t H, uint64_t step)
{
    struct dnas_rng rng;

    dnas_rng_init(&rng, t->o->seed, DNAS_RNG_KMER_NET_NOISE, (uint32_t)step, UINT32_MAX);
    for (size_t i = 0; t->keep && i < t->n * H; i++)
        t->keep[i] = dnas_rng_uniform(&rng) < t->o->dropout ? 0 : (float)(1 / (1 - t->o->dropout));
}

static void take_batch(struct training *t, uint64_t step)
{
    struct dnas_rng rng;
    uint64_t which[4];

    dnas_rng_init(&rng, t->o->seed, DNAS_RNG_KMER_NET_CLASSES, (uint32_t)step, 0);
    dnas_rng_sample(&rng, t->drawn, t->n_drawn, t->n_classes);
    for (size_t c = 0; c < t->n_drawn; c++) {
        const uint32_t *row = t->row + t->first[t->drawn[c]];
        size_t n_rows = t->first[t->drawn[c] + 1] - t->first[t->drawn[c]];

        dnas_rng_init(&rng, t->o->seed, DNAS_RNG_KMER_NET_ROWS, (uint32_t)step, (uint32_t)c);
        if (n_rows >= t->n_each)
            dnas_rng_sample(&rng, which, t->n_each, n_rows);
        for (size_t k = 0; k < t->n_each; k++)
            take_row(t, k * t->n_drawn + c, row[n_rows >= t->n_each ? which[k] : k % n_rows], step);
    }
}

static int take_steps(struct training *t, struct dnas_kmer_net *net, struct dnas_kmer_net_batch *b,
                      struct dnas_optim *optim, double *loss, struct dnas_err *err)
{
    const struct dnas_kmer_net_options *o = t->o;
    double sum = 0, one = 0;
    uint64_t n_sum = 0;

    if (o->every > 0)
        o->look(o->ctx, 0, net);
    for (uint64_t step = 0; step < o->n_steps; step++) {
        struct dnas_optim_report report;

        take_batch(t, step);
        drop(t, net->H, step);
        if (dnas_kmer_net_gradient(b, &one, t->g, net, t->y, t->keep, t->label, o->objective,
                                   o->temperature, err) != 0)
            return -1;
        if (dnas_optim_step(optim, net->w, t->g, &report) != 0)
            return dnas_err_set(err, "step %llu: a gradient is not finite",
                                (unsigned long long)step);
        if (o->n_steps - step <= MEAN_OF) {
            sum += one;
            n_sum++;
        }
        if (o->every > 0 && (step + 1) % o->every == 0)
            o->look(o->ctx, step + 1, net);
    }
    *loss = n_sum ? sum / (double)n_sum : 0;
    return 0;
}

static void set_optim(struct dnas_optim *optim, const struct dnas_kmer_net *net,
                      const struct dnas_kmer_net_options *o)
{
    size_t hidden = net->H * net->O;
    const struct dnas_optim_group groups[] = {{0, hidden, 1, false},
                                              {hidden, net->H, 1, true},
                                              {hidden + net->H, hidden, 1, false},
                                              {2 * hidden + net->H, net->O, 1, true}};
    struct dnas_optim_options options = dnas_optim_defaults();

    options.kind = DNAS_OPTIM_ADAMW;
    options.rate = o->rate;
    options.decay = o->decay;
    dnas_optim_init(optim, &options, net->n, groups, 4, o->n_threads);
}

int dnas_kmer_net_train(struct dnas_kmer_net *net, double *loss,
                        const struct dnas_kmer_net_rows *rows,
                        const struct dnas_kmer_net_options *o, struct dnas_err *err)
{
    struct training t = {.rows = rows, .o = o};
    struct dnas_kmer_net_batch *b;
    struct dnas_optim optim;
    int status;

    if (rows->O != net->O || o->n_classes < 2 || rows->N >= UINT32_MAX)
        DNAS_BUG("%zu rows of %zu for a network of %zu, %zu classes a step", rows->N, rows->O,
                 net->O, o->n_classes);
    list_classes(&t);
    if (t.n_classes < 2) {
        free(t.row);
        free(t.first);
        return dnas_err_set(err, "a network learns from two species at least, two rows of each");
    }
    t.n_drawn = o->n_classes < t.n_classes ? o->n_classes : t.n_classes;
    t.n_each = o->objective == DNAS_KMER_SUPCON ? 4 : 2;
    t.n = t.n_drawn * t.n_each;
    t.drawn = dnas_xalloc(t.n_drawn, sizeof(*t.drawn));
    t.y = dnas_xalloc64(t.n, net->O * sizeof(*t.y));
    t.keep = o->dropout > 0 ? dnas_xalloc64(t.n, net->H * sizeof(*t.keep)) : NULL;
    t.label = dnas_xalloc(t.n, sizeof(*t.label));
    t.g = dnas_xalloc64(net->n, sizeof(*t.g));
    b = dnas_kmer_net_batch_new(t.n, net->O, net->H, o->n_threads);
    set_optim(&optim, net, o);
    status = take_steps(&t, net, b, &optim, loss, err);
    dnas_optim_release(&optim);
    dnas_kmer_net_batch_free(b);
    free(t.row);
    free(t.first);
    free(t.drawn);
    free(t.y);
    free(t.keep);
    free(t.label);
    free(t.g);
    return status;
}
