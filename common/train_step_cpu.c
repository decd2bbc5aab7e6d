/* SPDX-License-Identifier: MIT
 *
 * train_step_cpu.c - a step's sequences through the encoder on the threads of
 * the CPU, one a task.  Contract: train_step_run.h.
 *
 * A mixed batch goes by groups of pairs among which rows are mixed.  For each
 * group: the first members up to the layer (kept in `hidden`), the mixed rows
 * from there on; backward the mixed rows (their gradient kept in `d_hidden`),
 * then each first member from the two rows that it went into.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/mlm_head.h"
#include "common/train_step_run.h"
#include "common/xmem.h"
#include "kernels/kernels.h"

struct runner {
    struct dnas_step_runner base;
    struct dnas_net *net;
    struct dnas_step_options o;
    struct dnas_tape **tape;    /* [n_threads] */
    struct dnas_mlm_head **mlm; /* [n_threads], with the head for it */
    float **dx;                 /* [n_threads] [max_T,C] */
    struct dnas_turns *turns;
    float *hidden, *d_hidden; /* [mix_group,max_T,C] */
    double *sum;              /* [n_threads,C]  of a mean */
    float *d_decoder; /* [V,C]  apart from the table's gradient, to which sequences add elsewhere */
    uint32_t drop;

    /* the call at hand */
    const struct dnas_step_call *call;
    float *pooled;         /* [2B,C] */
    const float *d_pooled; /* [2B,C] */
    double *loss;          /* [2B] */
    size_t first, count;   /* the pairs of the group; of sequences: where the tasks begin */
};

static struct runner *of(struct dnas_step_runner *r)
{
    return (struct runner *)r;
}

/* ---- memory ---- */

static size_t group_states(const struct dnas_net *net, const struct dnas_step_options *o)
{
    return o->mix_group * o->max_T * net->shape.C;
}

uint64_t dnas_step_cpu_bytes(const struct dnas_net *net, const struct dnas_step_options *o)
{
    uint64_t each = dnas_tape_bytes(net, o->max_T, true) + 4 * o->max_T * net->shape.C;

    if (net->heads.mlm)
        each += dnas_mlm_head_bytes(net, o->max_T) + 4 * (uint64_t)net->shape.V * net->shape.C;
    return (uint64_t)o->n_threads * each + 8 * group_states(net, o);
}

static void release(struct dnas_step_runner *base)
{
    struct runner *r = of(base);

    for (int i = 0; i < r->o.n_threads; i++) {
        dnas_tape_free(r->tape[i]);
        dnas_mlm_head_free(r->mlm[i]);
        free(r->dx[i]);
    }
    free(r->tape);
    free(r->mlm);
    free(r->dx);
    dnas_turns_free(r->turns);
    free(r->hidden);
    free(r->d_hidden);
    free(r->sum);
    free(r->d_decoder);
    free(r);
}

static uint64_t flop(const struct dnas_step_runner *base)
{
    const struct runner *r = (const struct runner *)base;
    uint64_t sum = 0;

    for (int i = 0; i < r->o.n_threads; i++)
        sum += r->tape[i]->flop;
    return sum;
}

static int begin(struct dnas_step_runner *base, const struct dnas_step_call *c,
                 struct dnas_err *err)
{
    struct runner *r = of(base);

    (void)err;
    dnas_net_narrow(r->net);
    if (c->learning)
        memset(r->net->g, 0, r->net->n * sizeof(*r->net->g));
    return 0;
}

static struct dnas_dropout chance_of(const struct runner *r, size_t row)
{
    return (struct dnas_dropout){
        .drop = r->call->learning ? r->drop : 0,
        .step = r->call->number,
        .row = (uint32_t)row,
        .seed = r->o.seed,
    };
}

/* ---- forward ---- */

static void pool(struct runner *r, size_t row, const float *x, size_t T, int worker)
{
    size_t C = r->net->shape.C;
    double *mean = r->sum + (size_t)worker * C;

    dnas_cpu_meanpool_fwd(mean, x, T, C);
    for (size_t i = 0; i < C; i++)
        r->pooled[row * C + i] = (float)mean[i];
}

static void feature_task(void *ctx, size_t i, int worker)
{
    struct runner *r = ctx;
    size_t row = r->first + i, T = r->call->batch->T[row];
    struct dnas_dropout chance = chance_of(r, row);
    struct dnas_tape *t = r->tape[worker];

    dnas_tape_embed(t, r->call->batch->ids[row], T, &chance);
    pool(r, row, dnas_tape_forward(t, 0, r->net->shape.L, T, &chance), T, worker);
}

static void plain_features(struct runner *r, size_t first, size_t n)
{
    r->first = first;
    dnas_parallel_for(n, r->o.n_threads, feature_task, r);
}

/* The group's state i, f32 [max_T,C]. */
static float *state(const struct runner *r, float *of_states, size_t i)
{
    return of_states + i * r->o.max_T * r->net->shape.C;
}

static void lower_task(void *ctx, size_t i, int worker)
{
    struct runner *r = ctx;
    size_t row = r->first + i, T = r->call->batch->T[row];
    struct dnas_dropout chance = chance_of(r, row);
    struct dnas_tape *t = r->tape[worker];
    const float *x;

    dnas_tape_embed(t, r->call->batch->ids[row], T, &chance);
    x = dnas_tape_forward(t, 0, r->call->mix->layer, T, &chance);
    memcpy(state(r, r->hidden, i), x, T * r->net->shape.C * sizeof(*x));
}

/* Mixes row i of the group into the tape; returns its tokens. */
static size_t mix_rows(struct runner *r, struct dnas_tape *t, size_t i)
{
    const struct dnas_step_mix *mix = r->call->mix;
    size_t row = r->first + i, partner = mix->perm[row], C = r->net->shape.C;
    size_t T = r->call->batch->T[row];
    const float *a = state(r, r->hidden, i), *b = state(r, r->hidden, partner - r->first);
    float *x = dnas_tape_input(t, mix->layer);
    float part = mix->lambda[row];

    if (partner < r->first || partner >= r->first + r->count)
        DNAS_BUG("row %zu is mixed with %zu, outside its group", row, partner);
    if (r->call->batch->T[partner] < T)
        T = r->call->batch->T[partner];
    for (size_t k = 0; k < T * C; k++)
        x[k] = part * a[k] + (1 - part) * b[k];
    return T;
}

static void upper_task(void *ctx, size_t i, int worker)
{
    struct runner *r = ctx;
    struct dnas_tape *t = r->tape[worker];
    struct dnas_dropout chance = chance_of(r, r->first + i);
    size_t T = mix_rows(r, t, i);

    pool(r, r->first + i, dnas_tape_forward(t, r->call->mix->layer, r->net->shape.L, T, &chance), T,
         worker);
}

/* Calls todo for each group of pairs that are mixed among each other. */
static void each_group(struct runner *r, void (*todo)(struct runner *r))
{
    for (size_t from = r->call->from; from < r->call->to; from += r->o.mix_group) {
        r->first = from;
        r->count = r->call->to - from;
        if (r->count > r->o.mix_group)
            r->count = r->o.mix_group;
        todo(r);
    }
}

static void mixed_features(struct runner *r)
{
    dnas_parallel_for(r->count, r->o.n_threads, lower_task, r);
    dnas_parallel_for(r->count, r->o.n_threads, upper_task, r);
}

static int features(struct dnas_step_runner *base, const struct dnas_step_call *c, float *pooled,
                    struct dnas_err *err)
{
    struct runner *r = of(base);

    (void)err;
    r->call = c;
    r->pooled = pooled;
    if (c->mix)
        each_group(r, mixed_features);
    else
        plain_features(r, c->from, c->to - c->from);
    plain_features(r, c->batch->B + c->from, c->to - c->from);
    return 0;
}

/* ---- backward ---- */

/* The first layer that learns; whether the embedding does. */
static size_t lowest(const struct runner *r)
{
    return r->o.n_frozen > 0 ? r->o.n_frozen - 1 : 0;
}

/* Every token has the same share in the mean. */
static void spread(const struct runner *r, float *dx, size_t row, size_t T)
{
    size_t C = r->net->shape.C;
    const float *d = r->d_pooled + row * C;

    for (size_t t = 0; t < T; t++)
        for (size_t i = 0; i < C; i++)
            dx[t * C + i] = d[i] / (float)T;
}

/* Backward from layer `to` down to the lowest that learns. */
static void backward_below(struct runner *r, size_t i, size_t row, size_t to, int worker)
{
    struct dnas_net_order order = {r->turns, i};
    struct dnas_dropout chance = chance_of(r, row);
    size_t T = r->call->batch->T[row];

    dnas_tape_backward(r->tape[worker], r->dx[worker], lowest(r), to, T, &chance, &order);
    if (r->o.n_frozen == 0)
        dnas_tape_backward_embed(r->tape[worker], r->dx[worker], r->call->batch->ids[row], T,
                                 r->o.freeze_first, &chance, &order);
}

static void backward_task(void *ctx, size_t i, int worker)
{
    struct runner *r = ctx;
    size_t row = r->first + i, T = r->call->batch->T[row], L = r->net->shape.L;
    struct dnas_dropout chance = chance_of(r, row);

    dnas_tape_embed(r->tape[worker], r->call->batch->ids[row], T, &chance);
    dnas_tape_forward(r->tape[worker], 0, L, T, &chance);
    spread(r, r->dx[worker], row, T);
    backward_below(r, i, row, L, worker);
}

/* Each task adds to each sum in its turn. */
static void in_turn(struct runner *r, size_t n, void (*task)(void *ctx, size_t i, int worker))
{
    dnas_turns_restart(r->turns);
    dnas_parallel_for(n, r->o.n_threads, task, r);
}

static void plain_backward(struct runner *r, size_t first, size_t n)
{
    r->first = first;
    in_turn(r, n, backward_task);
}

static void upper_backward_task(void *ctx, size_t i, int worker)
{
    struct runner *r = ctx;
    struct dnas_tape *t = r->tape[worker];
    struct dnas_dropout chance = chance_of(r, r->first + i);
    struct dnas_net_order order = {r->turns, i};
    size_t T = mix_rows(r, t, i), L = r->net->shape.L, layer = r->call->mix->layer;
    float *dx = state(r, r->d_hidden, i);

    dnas_tape_forward(t, layer, L, T, &chance);
    spread(r, dx, r->first + i, T);
    dnas_tape_backward(t, dx, layer > lowest(r) ? layer : lowest(r), L, T, &chance, &order);
}

/* The gradient of a first member's states: of the row that is mostly it, and of
 * the one that it was mixed into. */
static void unmix(struct runner *r, float *dx, size_t i)
{
    const struct dnas_step_mix *mix = r->call->mix;
    size_t own = r->first + i, other = r->call->origin[own], C = r->net->shape.C;
    size_t T = r->call->batch->T[own];
    const size_t rows[2] = {own, other};
    const float parts[2] = {mix->lambda[own], 1 - mix->lambda[other]};

    memset(dx, 0, T * C * sizeof(*dx));
    for (int k = 0; k < 2; k++) {
        size_t partner = mix->perm[rows[k]], n = r->call->batch->T[rows[k]];
        const float *d = state(r, r->d_hidden, rows[k] - r->first);

        if (r->call->batch->T[partner] < n)
            n = r->call->batch->T[partner];
        for (size_t at = 0; at < n * C; at++)
            dx[at] += parts[k] * d[at];
    }
}

static void lower_backward_task(void *ctx, size_t i, int worker)
{
    struct runner *r = ctx;
    size_t row = r->first + i, T = r->call->batch->T[row];
    struct dnas_dropout chance = chance_of(r, row);

    dnas_tape_embed(r->tape[worker], r->call->batch->ids[row], T, &chance);
    dnas_tape_forward(r->tape[worker], 0, r->call->mix->layer, T, &chance);
    unmix(r, r->dx[worker], i);
    backward_below(r, i, row, r->call->mix->layer, worker);
}

static void mixed_backward(struct runner *r)
{
    if (r->count < r->call->to - r->call->from) /* the states of this group were overwritten */
        dnas_parallel_for(r->count, r->o.n_threads, lower_task, r);
    in_turn(r, r->count, upper_backward_task);
    if (r->o.n_frozen == 0 || r->call->mix->layer > lowest(r))
        in_turn(r, r->count, lower_backward_task);
}

static int backward(struct dnas_step_runner *base, const struct dnas_step_call *c,
                    const float *d_pooled, struct dnas_err *err)
{
    struct runner *r = of(base);

    (void)err;
    r->call = c;
    r->d_pooled = d_pooled;
    if (c->mix)
        each_group(r, mixed_backward);
    else
        plain_backward(r, c->from, c->to - c->from);
    plain_backward(r, c->batch->B + c->from, c->to - c->from);
    return 0;
}

/* ---- masked tokens ---- */

static void mlm_task(void *ctx, size_t i, int worker)
{
    struct runner *r = ctx;
    const struct dnas_step_call *c = r->call;
    size_t row = dnas_step_call_row(c, i), T = c->batch->T[row], L = r->net->shape.L;
    struct dnas_dropout chance = chance_of(r, row);
    struct dnas_tape *t = r->tape[worker];
    struct dnas_net_order order = {r->turns, i};
    const float *x;

    dnas_tape_embed(t, c->batch->ids[row], T, &chance);
    x = dnas_tape_forward(t, 0, L, T, &chance);
    r->loss[row] = dnas_mlm_head_forward(r->mlm[worker], x, &c->guess[row]);
    if (!c->learning)
        return;
    dnas_mlm_head_backward(r->mlm[worker], r->dx[worker], T, &c->guess[row], 1 / c->n_guesses,
                           r->d_decoder, &order);
    backward_below(r, i, row, L, worker);
}

static int guess(struct dnas_step_runner *base, const struct dnas_step_call *c, double *loss,
                 struct dnas_err *err)
{
    struct runner *r = of(base);
    float *d_words = dnas_net_grad(r->net, dnas_net_words(r->net));
    size_t n = r->net->shape.V * r->net->shape.C;

    (void)err;
    r->call = c;
    r->loss = loss;
    memset(r->d_decoder, 0, n * sizeof(float));
    in_turn(r, 2 * (c->to - c->from), mlm_task);
    for (size_t i = 0; c->learning && i < n; i++)
        d_words[i] += r->d_decoder[i];
    return 0;
}

/* ---- all ---- */

static int finish(struct dnas_step_runner *base, struct dnas_comm *comm, size_t n,
                  struct dnas_err *err)
{
    return comm ? dnas_comm_sum_f32(comm, of(base)->net->g, n, err) : 0;
}

static const struct dnas_step_runner_ops ops = {
    .begin = begin,
    .features = features,
    .backward = backward,
    .guess = guess,
    .finish = finish,
    .flop = flop,
    .release = release,
};

struct dnas_step_runner *dnas_step_cpu_new(struct dnas_net *net, const struct dnas_step_options *o)
{
    struct runner *r = dnas_xzalloc(1, sizeof(*r));
    size_t threads = (size_t)o->n_threads, C = net->shape.C;

    r->base.ops = &ops;
    r->net = net;
    r->o = *o;
    r->drop = dnas_step_drop(o);
    r->tape = dnas_xzalloc(threads, sizeof(*r->tape));
    r->dx = dnas_xzalloc(threads, sizeof(*r->dx));
    r->mlm = dnas_xzalloc(threads, sizeof(*r->mlm));
    for (size_t i = 0; i < threads; i++) {
        r->tape[i] = dnas_tape_new(net, o->max_T, true);
        r->dx[i] = dnas_xalloc64(o->max_T * C, sizeof(float));
        if (net->heads.mlm)
            r->mlm[i] = dnas_mlm_head_new(net, o->max_T);
    }
    r->turns = dnas_turns_new(dnas_net_n_slots(net));
    r->sum = dnas_xalloc(threads * C, sizeof(*r->sum));
    if (net->heads.mlm)
        r->d_decoder = dnas_xalloc64(net->shape.V * C, sizeof(float));
    if (net->heads.P > 0) {
        r->hidden = dnas_xalloc64(group_states(net, o), sizeof(float));
        r->d_hidden = dnas_xalloc64(group_states(net, o), sizeof(float));
    }
    return &r->base;
}
