/* SPDX-License-Identifier: MIT
 *
 * train_step.c - the loss of a batch and its gradient.  Contract: train_step.h.
 *
 * A mixed batch goes by groups of pairs among which rows are mixed.  For each
 * group: the first members up to the layer (kept in `hidden`), the mixed rows
 * from there on; backward the mixed rows (their gradient kept in `d_hidden`),
 * then each first member from the two rows that it went into.
 */
#include "common/train_step.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/mlm_head.h"
#include "common/contrastive.h"
#include "common/xmem.h"
#include "kernels/kernels.h"

struct dnas_step {
    struct dnas_net *net;
    struct dnas_step_options o;
    struct dnas_tape **tape;    /* [n_threads] */
    struct dnas_mlm_head **mlm; /* [n_threads], with the head for it */
    float **dx;                 /* [n_threads] [max_T,C] */
    struct dnas_turns *turns;
    struct dnas_contrastive *objective;
    /* Rows of a batch: [2 max_pairs, C or P]. */
    float *pooled, *d_pooled;
    float *inner, *active;    /* the head before and after its ReLU */
    float *z, *d_z, *norm;    /* unit rows; norm [2 max_pairs] */
    float *hidden, *d_hidden; /* [mix_group,max_T,C] */
    uint32_t *origin;         /* [max_pairs] the inverse of perm */
    double *sum;              /* [n_threads,C]  of a mean */
    double *guess_loss;       /* [2 max_pairs] */
    float *d_decoder; /* [V,C]  apart from the table's gradient, to which sequences add elsewhere */
    uint64_t flop;    /* of the head */
    uint32_t drop;

    /* the call at hand */
    const struct dnas_step_batch *batch;
    const struct dnas_step_mix *mix;
    const struct dnas_step_guess *guess;
    size_t from, to;     /* the pairs that this rank runs */
    size_t first, count; /* the pairs of the group; of sequences: where the tasks begin */
    uint32_t number;
    bool dropping;
    double n_guesses; /* of all ranks */
};

/* ---- memory ---- */

struct sizes {
    size_t rows, C, P, group_states;
};

static struct sizes sizes_of(const struct dnas_net *net, const struct dnas_step_options *o)
{
    return (struct sizes){2 * o->max_pairs, net->shape.C, net->heads.P,
                          o->mix_group * o->max_T * net->shape.C};
}

uint64_t dnas_step_bytes(const struct dnas_net *net, const struct dnas_step_options *o)
{
    struct sizes n = sizes_of(net, o);
    uint64_t each = dnas_tape_bytes(net, o->max_T, true) + 4 * o->max_T * n.C;

    if (net->heads.mlm)
        each += dnas_mlm_head_bytes(net, o->max_T) + 4 * (uint64_t)net->shape.V * n.C;
    return (uint64_t)o->n_threads * each + 4 * n.rows * (4 * n.C + 2 * n.P) + 8 * n.group_states;
}

struct dnas_step *dnas_step_new(struct dnas_net *net, const struct dnas_step_options *options)
{
    struct dnas_step *s = dnas_xzalloc(1, sizeof(*s));
    struct sizes n = sizes_of(net, options);
    size_t threads = (size_t)options->n_threads;

    s->net = net;
    s->o = *options;
    s->drop = (uint32_t)lround(options->dropout * 65536);
    s->tape = dnas_xzalloc(threads, sizeof(*s->tape));
    s->dx = dnas_xzalloc(threads, sizeof(*s->dx));
    s->mlm = dnas_xzalloc(threads, sizeof(*s->mlm));
    for (size_t i = 0; i < threads; i++) {
        s->tape[i] = dnas_tape_new(net, options->max_T, true);
        s->dx[i] = dnas_xalloc64(options->max_T * n.C, sizeof(float));
        if (net->heads.mlm)
            s->mlm[i] = dnas_mlm_head_new(net, options->max_T);
    }
    s->turns = dnas_turns_new(dnas_net_n_slots(net));
    s->sum = dnas_xalloc(threads * n.C, sizeof(*s->sum));
    s->guess_loss = dnas_xalloc(n.rows, sizeof(*s->guess_loss));
    if (net->heads.mlm)
        s->d_decoder = dnas_xalloc64(net->shape.V * n.C, sizeof(float));
    if (n.P == 0)
        return s;
    s->objective = dnas_contrastive_new(options->max_pairs, n.P, options->n_threads);
    s->pooled = dnas_xalloc64(n.rows * n.C, sizeof(float));
    s->d_pooled = dnas_xalloc64(n.rows * n.C, sizeof(float));
    s->inner = dnas_xalloc64(n.rows * n.C, sizeof(float));
    s->active = dnas_xalloc64(n.rows * n.C, sizeof(float));
    s->z = dnas_xalloc64(n.rows * n.P, sizeof(float));
    s->d_z = dnas_xalloc64(n.rows * n.P, sizeof(float));
    s->norm = dnas_xalloc(n.rows, sizeof(float));
    s->hidden = dnas_xalloc64(n.group_states, sizeof(float));
    s->d_hidden = dnas_xalloc64(n.group_states, sizeof(float));
    s->origin = dnas_xalloc(options->max_pairs, sizeof(*s->origin));
    return s;
}

void dnas_step_free(struct dnas_step *s)
{
    if (!s)
        return;
    for (int i = 0; i < s->o.n_threads; i++) {
        dnas_tape_free(s->tape[i]);
        dnas_mlm_head_free(s->mlm[i]);
        free(s->dx[i]);
    }
    free(s->tape);
    free(s->mlm);
    free(s->dx);
    dnas_turns_free(s->turns);
    dnas_contrastive_free(s->objective);
    free(s->pooled);
    free(s->d_pooled);
    free(s->inner);
    free(s->active);
    free(s->z);
    free(s->d_z);
    free(s->norm);
    free(s->hidden);
    free(s->d_hidden);
    free(s->origin);
    free(s->sum);
    free(s->guess_loss);
    free(s->d_decoder);
    free(s);
}

const float *dnas_step_rows(const struct dnas_step *s)
{
    return s->z;
}

uint64_t dnas_step_flop(const struct dnas_step *s)
{
    uint64_t flop = s->flop;

    for (int i = 0; i < s->o.n_threads; i++)
        flop += s->tape[i]->flop;
    return flop;
}

void dnas_step_share(const struct dnas_step *s, size_t B, size_t *from, size_t *to)
{
    size_t n = s->o.comm ? (size_t)dnas_comm_n_ranks(s->o.comm) : 1;
    size_t rank = s->o.comm ? (size_t)dnas_comm_rank(s->o.comm) : 0;

    if (B % n != 0)
        DNAS_BUG("%zu pairs on %zu ranks", B, n);
    *from = B / n * rank;
    *to = B / n * (rank + 1);
}

static void begin(struct dnas_step *s, const struct dnas_step_batch *batch, uint32_t number,
                  bool learning)
{
    s->from = 0;
    s->to = batch->B;
    if (learning)
        dnas_step_share(s, batch->B, &s->from, &s->to);
    dnas_net_narrow(s->net);
    if (batch->B > s->o.max_pairs)
        DNAS_BUG("%zu pairs where there is room for %zu", batch->B, s->o.max_pairs);
    s->batch = batch;
    s->mix = NULL;
    s->guess = NULL;
    s->number = number;
    s->dropping = learning;
    if (learning)
        memset(s->net->g, 0, s->net->n * sizeof(*s->net->g));
}

static struct dnas_dropout chance_of(const struct dnas_step *s, size_t row)
{
    return (struct dnas_dropout){
        .drop = s->dropping ? s->drop : 0,
        .step = s->number,
        .row = (uint32_t)row,
        .seed = s->o.seed,
    };
}

/* ---- forward ---- */

static void pool(struct dnas_step *s, size_t row, const float *x, size_t T, int worker)
{
    size_t C = s->net->shape.C;
    double *mean = s->sum + (size_t)worker * C;

    dnas_cpu_meanpool_fwd(mean, x, T, C);
    for (size_t i = 0; i < C; i++)
        s->pooled[row * C + i] = (float)mean[i];
}

static void feature_task(void *ctx, size_t i, int worker)
{
    struct dnas_step *s = ctx;
    size_t row = s->first + i, T = s->batch->T[row];
    struct dnas_dropout chance = chance_of(s, row);
    struct dnas_tape *t = s->tape[worker];

    dnas_tape_embed(t, s->batch->ids[row], T, &chance);
    pool(s, row, dnas_tape_forward(t, 0, s->net->shape.L, T, &chance), T, worker);
}

static void features(struct dnas_step *s, size_t first, size_t n)
{
    s->first = first;
    dnas_parallel_for(n, s->o.n_threads, feature_task, s);
}

/* The group's state i, f32 [max_T,C]. */
static float *state(const struct dnas_step *s, float *of, size_t i)
{
    return of + i * s->o.max_T * s->net->shape.C;
}

static void lower_task(void *ctx, size_t i, int worker)
{
    struct dnas_step *s = ctx;
    size_t row = s->first + i, T = s->batch->T[row];
    struct dnas_dropout chance = chance_of(s, row);
    struct dnas_tape *t = s->tape[worker];
    const float *x;

    dnas_tape_embed(t, s->batch->ids[row], T, &chance);
    x = dnas_tape_forward(t, 0, s->mix->layer, T, &chance);
    memcpy(state(s, s->hidden, i), x, T * s->net->shape.C * sizeof(*x));
}

/* Mixes row i of the group into the tape; returns its tokens. */
static size_t mix_rows(struct dnas_step *s, struct dnas_tape *t, size_t i)
{
    size_t row = s->first + i, partner = s->mix->perm[row], C = s->net->shape.C;
    size_t T = s->batch->T[row];
    const float *a = state(s, s->hidden, i), *b = state(s, s->hidden, partner - s->first);
    float *x = dnas_tape_input(t, s->mix->layer);
    float part = s->mix->lambda[row];

    if (partner < s->first || partner >= s->first + s->count)
        DNAS_BUG("row %zu is mixed with %zu, outside its group", row, partner);
    if (s->batch->T[partner] < T)
        T = s->batch->T[partner];
    for (size_t k = 0; k < T * C; k++)
        x[k] = part * a[k] + (1 - part) * b[k];
    return T;
}

static void upper_task(void *ctx, size_t i, int worker)
{
    struct dnas_step *s = ctx;
    struct dnas_tape *t = s->tape[worker];
    struct dnas_dropout chance = chance_of(s, s->first + i);
    size_t T = mix_rows(s, t, i);

    pool(s, s->first + i, dnas_tape_forward(t, s->mix->layer, s->net->shape.L, T, &chance), T,
         worker);
}

/* Calls todo for each group of pairs that are mixed among each other. */
static void each_group(struct dnas_step *s, void (*todo)(struct dnas_step *s))
{
    for (size_t from = s->from; from < s->to; from += s->o.mix_group) {
        s->first = from;
        s->count = s->to - from;
        if (s->count > s->o.mix_group)
            s->count = s->o.mix_group;
        todo(s);
    }
}

static void mixed_features(struct dnas_step *s)
{
    dnas_parallel_for(s->count, s->o.n_threads, lower_task, s);
    dnas_parallel_for(s->count, s->o.n_threads, upper_task, s);
}

/* ---- several ranks ---- */

static bool is_shared(const struct dnas_step *s)
{
    return s->o.comm && dnas_comm_n_ranks(s->o.comm) > 1;
}

/* Makes all ranks' features known to each. */
static int gather(struct dnas_step *s, struct dnas_err *err)
{
    size_t B = s->batch->B, C = s->net->shape.C, n = s->to - s->from;

    for (size_t side = 0; is_shared(s) && side < 2; side++) {
        float *all = s->pooled + side * B * C;

        if (dnas_comm_all_gather(s->o.comm, s->d_pooled, all + s->from * C, n * C * sizeof(*all),
                                 err) != 0)
            return -1;
        memcpy(all, s->d_pooled, B * C * sizeof(*all));
    }
    return 0;
}

/* Adds up what the ranks' sequences gave; the head saw all of them on each rank. */
static int add_up(struct dnas_step *s, bool head, struct dnas_err *err)
{
    const struct dnas_net *net = s->net;
    size_t n = net->n;

    for (size_t i = 0; !head && i < net->n_tensors; i++)
        if (net->tensors[i].part == DNAS_NET_HEAD && net->tensors[i].at < n)
            n = net->tensors[i].at;
    return is_shared(s) ? dnas_comm_sum_f32(s->o.comm, net->g, n, err) : 0;
}

/* ---- the head ---- */

static void head_forward(struct dnas_step *s)
{
    size_t N = 2 * s->batch->B, C = s->net->shape.C, P = s->net->heads.P;

    dnas_cpu_linear_fwd(s->inner, s->pooled, s->net->head0, NULL, NULL, N, C, C);
    for (size_t i = 0; i < N * C; i++) /* ReLU; a NaN goes through */
        s->active[i] = s->inner[i] < 0 ? 0 : s->inner[i];
    dnas_cpu_linear_fwd(s->z, s->active, s->net->head2, NULL, NULL, N, P, C);
    dnas_unit_rows_fwd(s->z, s->norm, s->z, N, P);
    s->flop += 2 * (uint64_t)N * C * (C + P);
}

/* From d_z, of the unit rows, d_pooled. */
static void head_backward(struct dnas_step *s)
{
    const struct dnas_net *net = s->net;
    size_t N = 2 * s->batch->B, C = net->shape.C, P = net->heads.P;
    float *d_active = s->d_pooled, *d_inner = s->active;

    dnas_unit_rows_bwd(s->d_z, s->d_z, s->z, s->norm, N, P);
    dnas_cpu_linear_bwd_weight(dnas_net_grad(net, net->head2), NULL, s->d_z, s->active, N, P, C);
    dnas_cpu_linear_bwd(d_active, s->d_z, net->head2, NULL, N, P, C);
    for (size_t i = 0; i < N * C; i++)
        d_inner[i] = s->inner[i] > 0 ? d_active[i] : 0;
    dnas_cpu_linear_bwd_weight(dnas_net_grad(net, net->head0), NULL, d_inner, s->pooled, N, C, C);
    dnas_cpu_linear_bwd(s->d_pooled, d_inner, net->head0, NULL, N, C, C);
    s->flop += 4 * (uint64_t)N * C * (C + P);
}

/* ---- backward ---- */

/* The first layer that learns; whether the embedding does. */
static size_t lowest(const struct dnas_step *s)
{
    return s->o.n_frozen > 0 ? s->o.n_frozen - 1 : 0;
}

/* Every token has the same share in the mean. */
static void spread(const struct dnas_step *s, float *dx, size_t row, size_t T)
{
    size_t C = s->net->shape.C;
    const float *d = s->d_pooled + row * C;

    for (size_t t = 0; t < T; t++)
        for (size_t i = 0; i < C; i++)
            dx[t * C + i] = d[i] / (float)T;
}

/* Backward from layer `to` down to the lowest that learns. */
static void backward_below(struct dnas_step *s, size_t i, size_t row, size_t to, int worker)
{
    struct dnas_net_order order = {s->turns, i};
    struct dnas_dropout chance = chance_of(s, row);
    size_t T = s->batch->T[row];

    dnas_tape_backward(s->tape[worker], s->dx[worker], lowest(s), to, T, &chance, &order);
    if (s->o.n_frozen == 0)
        dnas_tape_backward_embed(s->tape[worker], s->dx[worker], s->batch->ids[row], T,
                                 s->o.freeze_first, &chance, &order);
}

static void backward_task(void *ctx, size_t i, int worker)
{
    struct dnas_step *s = ctx;
    size_t row = s->first + i, T = s->batch->T[row], L = s->net->shape.L;
    struct dnas_dropout chance = chance_of(s, row);

    dnas_tape_embed(s->tape[worker], s->batch->ids[row], T, &chance);
    dnas_tape_forward(s->tape[worker], 0, L, T, &chance);
    spread(s, s->dx[worker], row, T);
    backward_below(s, i, row, L, worker);
}

/* Each task adds to each sum in its turn. */
static void in_turn(struct dnas_step *s, size_t n, void (*task)(void *ctx, size_t i, int worker))
{
    dnas_turns_restart(s->turns);
    dnas_parallel_for(n, s->o.n_threads, task, s);
}

static void backward(struct dnas_step *s, size_t first, size_t n)
{
    s->first = first;
    in_turn(s, n, backward_task);
}

static void upper_backward_task(void *ctx, size_t i, int worker)
{
    struct dnas_step *s = ctx;
    struct dnas_tape *t = s->tape[worker];
    struct dnas_dropout chance = chance_of(s, s->first + i);
    struct dnas_net_order order = {s->turns, i};
    size_t T = mix_rows(s, t, i), L = s->net->shape.L, layer = s->mix->layer;
    float *dx = state(s, s->d_hidden, i);

    dnas_tape_forward(t, layer, L, T, &chance);
    spread(s, dx, s->first + i, T);
    dnas_tape_backward(t, dx, layer > lowest(s) ? layer : lowest(s), L, T, &chance, &order);
}

/* The gradient of a first member's states: of the row that is mostly it, and of
 * the one that it was mixed into. */
static void unmix(struct dnas_step *s, float *dx, size_t i)
{
    size_t own = s->first + i, other = s->origin[own], C = s->net->shape.C;
    size_t T = s->batch->T[own];
    const size_t rows[2] = {own, other};
    const float parts[2] = {s->mix->lambda[own], 1 - s->mix->lambda[other]};

    memset(dx, 0, T * C * sizeof(*dx));
    for (int k = 0; k < 2; k++) {
        size_t partner = s->mix->perm[rows[k]], n = s->batch->T[rows[k]];
        const float *d = state(s, s->d_hidden, rows[k] - s->first);

        if (s->batch->T[partner] < n)
            n = s->batch->T[partner];
        for (size_t at = 0; at < n * C; at++)
            dx[at] += parts[k] * d[at];
    }
}

static void lower_backward_task(void *ctx, size_t i, int worker)
{
    struct dnas_step *s = ctx;
    size_t row = s->first + i, T = s->batch->T[row];
    struct dnas_dropout chance = chance_of(s, row);

    dnas_tape_embed(s->tape[worker], s->batch->ids[row], T, &chance);
    dnas_tape_forward(s->tape[worker], 0, s->mix->layer, T, &chance);
    unmix(s, s->dx[worker], i);
    backward_below(s, i, row, s->mix->layer, worker);
}

static void mixed_backward(struct dnas_step *s)
{
    if (s->count < s->to - s->from) /* the states of this group were overwritten */
        dnas_parallel_for(s->count, s->o.n_threads, lower_task, s);
    in_turn(s, s->count, upper_backward_task);
    if (s->o.n_frozen == 0 || s->mix->layer > lowest(s))
        in_turn(s, s->count, lower_backward_task);
}

/* The features of this rank's pairs, and then of all. */
static int all_features(struct dnas_step *s, struct dnas_err *err)
{
    size_t n = s->to - s->from;

    features(s, s->from, n);
    features(s, s->batch->B + s->from, n);
    return gather(s, err);
}

/* From d_z the whole gradient. */
static int all_backward(struct dnas_step *s, struct dnas_err *err)
{
    head_backward(s);
    backward(s, s->from, s->to - s->from);
    backward(s, s->batch->B + s->from, s->to - s->from);
    return add_up(s, false, err);
}

/* ---- the objectives ---- */

int dnas_step_wsimclr(struct dnas_step *s, double *loss, const struct dnas_step_batch *batch,
                      uint32_t number, struct dnas_err *err)
{
    begin(s, batch, number, true);
    if (all_features(s, err) != 0)
        return -1;
    head_forward(s);
    if (dnas_wsimclr(s->objective, loss, s->d_z, s->z, batch->label, batch->B, s->o.temperature,
                     err) != 0)
        return -1;
    return all_backward(s, err);
}

int dnas_step_supcon(struct dnas_step *s, double *loss, const struct dnas_step_batch *batch,
                     uint32_t number, struct dnas_err *err)
{
    size_t B = batch->B;
    uint32_t *label = dnas_xalloc(2 * B, sizeof(*label));
    int status;

    for (size_t i = 0; i < 2 * B; i++)
        label[i] = batch->label ? batch->label[i % B] : (uint32_t)(i % B);
    begin(s, batch, number, true);
    status = all_features(s, err);
    if (status == 0) {
        head_forward(s);
        status = dnas_supcon(s->objective, loss, s->d_z, s->z, label, 2 * B, s->o.temperature, err);
    }
    free(label);
    return status == 0 ? all_backward(s, err) : -1;
}

int dnas_step_mixed(struct dnas_step *s, double *loss, const struct dnas_step_batch *batch,
                    const struct dnas_step_mix *mix, uint32_t number, struct dnas_err *err)
{
    size_t B = batch->B, P = s->net->heads.P;

    if (s->o.mix_group == 0 || mix->layer >= s->net->shape.L)
        DNAS_BUG("mixing before layer %zu in groups of %zu", mix->layer, s->o.mix_group);
    begin(s, batch, number, true);
    s->mix = mix;
    for (size_t i = 0; i < B; i++)
        s->origin[mix->perm[i]] = (uint32_t)i;
    each_group(s, mixed_features);
    features(s, B + s->from, s->to - s->from);
    if (gather(s, err) != 0)
        return -1;
    head_forward(s);
    if (dnas_mixed_contrastive(s->objective, loss, s->d_z, s->d_z + B * P, s->z, s->z + B * P,
                               mix->perm, mix->lambda, batch->label, B, s->o.temperature, err) != 0)
        return -1;
    head_backward(s);
    each_group(s, mixed_backward);
    backward(s, B + s->from, s->to - s->from);
    return add_up(s, false, err);
}

int dnas_step_loss_wsimclr(struct dnas_step *s, double *loss, const struct dnas_step_batch *batch,
                           struct dnas_err *err)
{
    begin(s, batch, 0, false);
    features(s, 0, 2 * batch->B);
    head_forward(s);
    return dnas_wsimclr(s->objective, loss, NULL, s->z, batch->label, batch->B, s->o.temperature,
                        err);
}

/* ---- masked tokens ---- */

/* Sequence i of those that this rank runs. */
static size_t own_row(const struct dnas_step *s, size_t i)
{
    size_t n = s->to - s->from;

    return i < n ? s->from + i : s->batch->B + s->from + i - n;
}

static void mlm_task(void *ctx, size_t i, int worker)
{
    struct dnas_step *s = ctx;
    size_t row = own_row(s, i), T = s->batch->T[row], L = s->net->shape.L;
    struct dnas_dropout chance = chance_of(s, row);
    struct dnas_tape *t = s->tape[worker];
    struct dnas_net_order order = {s->turns, i};
    const float *x;

    dnas_tape_embed(t, s->batch->ids[row], T, &chance);
    x = dnas_tape_forward(t, 0, L, T, &chance);
    s->guess_loss[row] = dnas_mlm_head_forward(s->mlm[worker], x, &s->guess[row]);
    if (!s->dropping)
        return;
    dnas_mlm_head_backward(s->mlm[worker], s->dx[worker], T, &s->guess[row], 1 / s->n_guesses,
                           s->d_decoder, &order);
    backward_below(s, i, row, L, worker);
}

/* x of all ranks together. */
static int sum_of_ranks(const struct dnas_step *s, double *x, struct dnas_err *err)
{
    return s->dropping && is_shared(s) ? dnas_comm_sum_f64(s->o.comm, x, err) : 0;
}

static int run_mlm(struct dnas_step *s, double *loss, const struct dnas_step_guess *guess,
                   struct dnas_err *err)
{
    float *d_words = dnas_net_grad(s->net, dnas_net_words(s->net));
    size_t n = s->net->shape.V * s->net->shape.C, n_rows = 2 * (s->to - s->from);

    s->guess = guess;
    s->n_guesses = 0;
    for (size_t i = 0; i < n_rows; i++)
        s->n_guesses += (double)guess[own_row(s, i)].n;
    if (sum_of_ranks(s, &s->n_guesses, err) != 0)
        return -1;
    if (s->n_guesses == 0)
        return dnas_err_set(err, "no token of this batch was masked: sequences are too short");
    memset(s->d_decoder, 0, n * sizeof(float));
    in_turn(s, n_rows, mlm_task);
    for (size_t i = 0; s->dropping && i < n; i++)
        d_words[i] += s->d_decoder[i];
    *loss = 0;
    for (size_t i = 0; i < n_rows; i++)
        *loss += s->guess_loss[own_row(s, i)];
    if (sum_of_ranks(s, loss, err) != 0)
        return -1;
    *loss /= s->n_guesses;
    return s->dropping ? add_up(s, true, err) : 0;
}

int dnas_step_mlm(struct dnas_step *s, double *loss, const struct dnas_step_batch *batch,
                  const struct dnas_step_guess *guess, uint32_t number, struct dnas_err *err)
{
    begin(s, batch, number, true);
    return run_mlm(s, loss, guess, err);
}

int dnas_step_loss_mlm(struct dnas_step *s, double *loss, const struct dnas_step_batch *batch,
                       const struct dnas_step_guess *guess, struct dnas_err *err)
{
    begin(s, batch, 0, false);
    return run_mlm(s, loss, guess, err);
}
