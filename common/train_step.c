/* SPDX-License-Identifier: MIT
 *
 * train_step.c - the loss of a batch and its gradient.  Contract: train_step.h.
 *
 * Here are the objectives and the contrastive head, which runs on the CPU;
 * what runs the encoder is behind train_step_run.h.
 */
#include "common/train_step.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/contrastive.h"
#include "common/train_step_run.h"
#include "common/xmem.h"
#include "kernels/kernels.h"

struct dnas_step {
    struct dnas_net *net;
    struct dnas_step_options o;
    struct dnas_step_runner *runner;
    struct dnas_contrastive *objective;
    /* Rows of a batch: [2 max_pairs, C or P]. */
    float *pooled, *d_pooled;
    float *inner, *active;    /* the head before and after its ReLU */
    float *z, *d_z, *norm;    /* unit rows; norm [2 max_pairs] */
    uint32_t *origin;         /* [max_pairs] the inverse of perm */
    double *guess_loss;       /* [2 max_pairs] */
    uint64_t flop;            /* of the head */
    struct dnas_step_call at; /* the call at hand */
};

size_t dnas_step_call_row(const struct dnas_step_call *c, size_t i)
{
    size_t n = c->to - c->from;

    return i < n ? c->from + i : c->batch->B + c->from + i - n;
}

uint32_t dnas_step_drop(const struct dnas_step_options *o)
{
    return (uint32_t)lround(o->dropout * 65536);
}

/* ---- memory ---- */

uint64_t dnas_step_bytes(const struct dnas_net *net, const struct dnas_step_options *o)
{
    uint64_t row = 4 * net->shape.C + 2 * net->heads.P;

    return dnas_step_cpu_bytes(net, o) + 4 * 2 * o->max_pairs * row;
}

/* Around a runner, which it takes. */
static struct dnas_step *new_step(struct dnas_net *net, const struct dnas_step_options *options,
                                  struct dnas_step_runner *runner)
{
    struct dnas_step *s = dnas_xzalloc(1, sizeof(*s));
    size_t rows = 2 * options->max_pairs, C = net->shape.C, P = net->heads.P;

    s->net = net;
    s->o = *options;
    s->runner = runner;
    s->guess_loss = dnas_xalloc(rows, sizeof(*s->guess_loss));
    if (P == 0)
        return s;
    s->objective = dnas_contrastive_new(options->max_pairs, P, options->n_threads);
    s->pooled = dnas_xalloc64(rows * C, sizeof(float));
    s->d_pooled = dnas_xalloc64(rows * C, sizeof(float));
    s->inner = dnas_xalloc64(rows * C, sizeof(float));
    s->active = dnas_xalloc64(rows * C, sizeof(float));
    s->z = dnas_xalloc64(rows * P, sizeof(float));
    s->d_z = dnas_xalloc64(rows * P, sizeof(float));
    s->norm = dnas_xalloc(rows, sizeof(float));
    s->origin = dnas_xalloc(options->max_pairs, sizeof(*s->origin));
    return s;
}

struct dnas_step *dnas_step_new(struct dnas_net *net, const struct dnas_step_options *options)
{
    return new_step(net, options, dnas_step_cpu_new(net, options));
}

struct dnas_step *dnas_step_new_cuda(struct dnas_net_cuda *d,
                                     const struct dnas_step_options *options, struct dnas_err *err)
{
    struct dnas_step_runner *runner = dnas_step_cuda_new(d, options, err);

    return runner ? new_step(d->net, options, runner) : NULL;
}

void dnas_step_leave(struct dnas_step *s)
{
    if (s->runner->ops->leave)
        s->runner->ops->leave(s->runner);
}

void dnas_step_free(struct dnas_step *s)
{
    if (!s)
        return;
    s->runner->ops->release(s->runner);
    dnas_contrastive_free(s->objective);
    free(s->pooled);
    free(s->d_pooled);
    free(s->inner);
    free(s->active);
    free(s->z);
    free(s->d_z);
    free(s->norm);
    free(s->origin);
    free(s->guess_loss);
    free(s);
}

const float *dnas_step_rows(const struct dnas_step *s)
{
    return s->z;
}

uint64_t dnas_step_flop(const struct dnas_step *s)
{
    return s->flop + s->runner->ops->flop(s->runner);
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

static int begin(struct dnas_step *s, const struct dnas_step_batch *batch, uint32_t number,
                 bool learning, struct dnas_err *err)
{
    if (batch->B > s->o.max_pairs)
        DNAS_BUG("%zu pairs where there is room for %zu", batch->B, s->o.max_pairs);
    s->at = (struct dnas_step_call){
        .batch = batch, .to = batch->B, .number = number, .learning = learning};
    if (learning)
        dnas_step_share(s, batch->B, &s->at.from, &s->at.to);
    return s->runner->ops->begin(s->runner, &s->at, err);
}

/* ---- several ranks ---- */

static bool is_shared(const struct dnas_step *s)
{
    return s->o.comm && dnas_comm_n_ranks(s->o.comm) > 1;
}

/* Makes all ranks' features known to each. */
static int gather(struct dnas_step *s, struct dnas_err *err)
{
    size_t B = s->at.batch->B, C = s->net->shape.C, n = s->at.to - s->at.from;

    for (size_t side = 0; is_shared(s) && side < 2; side++) {
        float *all = s->pooled + side * B * C;

        if (dnas_comm_all_gather(s->o.comm, s->d_pooled, all + s->at.from * C, n * C * sizeof(*all),
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
    return s->runner->ops->finish(s->runner, is_shared(s) ? s->o.comm : NULL, n, err);
}

/* ---- the head ---- */

static void head_forward(struct dnas_step *s)
{
    size_t N = 2 * s->at.batch->B, C = s->net->shape.C, P = s->net->heads.P;

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
    size_t N = 2 * s->at.batch->B, C = net->shape.C, P = net->heads.P;
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

/* The features of this rank's pairs, then of all, and z. */
static int forward(struct dnas_step *s, struct dnas_err *err)
{
    if (s->runner->ops->features(s->runner, &s->at, s->pooled, err) != 0)
        return -1;
    if (s->at.learning && gather(s, err) != 0)
        return -1;
    head_forward(s);
    return 0;
}

/* From d_z the whole gradient. */
static int backward(struct dnas_step *s, struct dnas_err *err)
{
    head_backward(s);
    if (s->runner->ops->backward(s->runner, &s->at, s->d_pooled, err) != 0)
        return -1;
    return add_up(s, false, err);
}

/* ---- the objectives ---- */

int dnas_step_wsimclr(struct dnas_step *s, double *loss, const struct dnas_step_batch *batch,
                      uint32_t number, struct dnas_err *err)
{
    if (begin(s, batch, number, true, err) != 0 || forward(s, err) != 0 ||
        dnas_wsimclr(s->objective, loss, s->d_z, s->z, batch->label, batch->B, s->o.temperature,
                     err) != 0)
        return -1;
    return backward(s, err);
}

int dnas_step_supcon(struct dnas_step *s, double *loss, const struct dnas_step_batch *batch,
                     uint32_t number, struct dnas_err *err)
{
    size_t B = batch->B;
    uint32_t *label = dnas_xalloc(2 * B, sizeof(*label));
    int status = -1;

    for (size_t i = 0; i < 2 * B; i++)
        label[i] = batch->label ? batch->label[i % B] : (uint32_t)(i % B);
    if (begin(s, batch, number, true, err) == 0 && forward(s, err) == 0)
        status = dnas_supcon(s->objective, loss, s->d_z, s->z, label, 2 * B, s->o.temperature, err);
    free(label);
    return status == 0 ? backward(s, err) : -1;
}

int dnas_step_mixed(struct dnas_step *s, double *loss, const struct dnas_step_batch *batch,
                    const struct dnas_step_mix *mix, uint32_t number, struct dnas_err *err)
{
    size_t B = batch->B, P = s->net->heads.P;

    if (s->o.mix_group == 0 || mix->layer >= s->net->shape.L)
        DNAS_BUG("mixing before layer %zu in groups of %zu", mix->layer, s->o.mix_group);
    if (begin(s, batch, number, true, err) != 0)
        return -1;
    for (size_t i = 0; i < B; i++)
        s->origin[mix->perm[i]] = (uint32_t)i;
    s->at.mix = mix;
    s->at.origin = s->origin;
    if (forward(s, err) != 0 ||
        dnas_mixed_contrastive(s->objective, loss, s->d_z, s->d_z + B * P, s->z, s->z + B * P,
                               mix->perm, mix->lambda, batch->label, B, s->o.temperature, err) != 0)
        return -1;
    return backward(s, err);
}

int dnas_step_loss_wsimclr(struct dnas_step *s, double *loss, const struct dnas_step_batch *batch,
                           struct dnas_err *err)
{
    if (begin(s, batch, 0, false, err) != 0 || forward(s, err) != 0)
        return -1;
    return dnas_wsimclr(s->objective, loss, NULL, s->z, batch->label, batch->B, s->o.temperature,
                        err);
}

/* ---- masked tokens ---- */

/* x of all ranks together. */
static int sum_of_ranks(const struct dnas_step *s, double *x, struct dnas_err *err)
{
    return s->at.learning && is_shared(s) ? dnas_comm_sum_f64(s->o.comm, x, err) : 0;
}

static int run_mlm(struct dnas_step *s, double *loss, const struct dnas_step_guess *guess,
                   struct dnas_err *err)
{
    size_t n_rows = 2 * (s->at.to - s->at.from);

    s->at.guess = guess;
    for (size_t i = 0; i < n_rows; i++)
        s->at.n_guesses += (double)guess[dnas_step_call_row(&s->at, i)].n;
    if (sum_of_ranks(s, &s->at.n_guesses, err) != 0)
        return -1;
    if (s->at.n_guesses == 0)
        return dnas_err_set(err, "no token of this batch was masked: sequences are too short");
    if (s->runner->ops->guess(s->runner, &s->at, s->guess_loss, err) != 0)
        return -1;
    *loss = 0;
    for (size_t i = 0; i < n_rows; i++)
        *loss += s->guess_loss[dnas_step_call_row(&s->at, i)];
    if (sum_of_ranks(s, loss, err) != 0)
        return -1;
    *loss /= s->at.n_guesses;
    return s->at.learning ? add_up(s, true, err) : 0;
}

int dnas_step_mlm(struct dnas_step *s, double *loss, const struct dnas_step_batch *batch,
                  const struct dnas_step_guess *guess, uint32_t number, struct dnas_err *err)
{
    return begin(s, batch, number, true, err) == 0 ? run_mlm(s, loss, guess, err) : -1;
}

int dnas_step_loss_mlm(struct dnas_step *s, double *loss, const struct dnas_step_batch *batch,
                       const struct dnas_step_guess *guess, struct dnas_err *err)
{
    return begin(s, batch, 0, false, err) == 0 ? run_mlm(s, loss, guess, err) : -1;
}
