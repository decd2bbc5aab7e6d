/* SPDX-License-Identifier: MIT
 *
 * optim.c - Adam and AdamW.  Contract: optim.h.
 *
 * Groups are cut into pieces of fixed size: threads take a piece at a time, and
 * the norm is the sum over pieces in their order.
 */
#include "common/optim.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/err.h"
#include "common/threads.h"
#include "common/xmem.h"
#include "kernels/kernels.h"

#define PIECE 65536
#define CLIP_EPS 1e-6 /* clip_grad_norm_'s */

struct piece {
    size_t first, n, group;
};

struct dnas_optim_state {
    struct dnas_optim_options options;
    struct dnas_optim_group *groups;
    struct dnas_adamw *numbers; /* [n_groups] of the step that runs */
    size_t n_groups;
    struct piece *pieces;
    double *squares; /* [n_pieces] */
    size_t n_pieces;
    int n_threads;
    float *w; /* of the step that runs */
    const float *g;
};

struct dnas_optim_options dnas_optim_defaults(void)
{
    return (struct dnas_optim_options){.kind = DNAS_OPTIM_ADAM,
                                       .rate = 3e-6,
                                       .beta1 = 0.9,
                                       .beta2 = 0.999,
                                       .eps = 1e-8,
                                       .schedule = DNAS_SCHEDULE_CONSTANT};
}

double dnas_optim_rate(const struct dnas_optim_options *o, uint64_t step)
{
    double done, share = 1;

    if (step < o->warmup_steps)
        return o->rate * (double)(step + 1) / (double)o->warmup_steps;
    done = o->total_steps > o->warmup_steps && step < o->total_steps
               ? (double)(step - o->warmup_steps) / (double)(o->total_steps - o->warmup_steps)
               : 1;
    switch (o->schedule) {
    case DNAS_SCHEDULE_CONSTANT:
        return o->rate;
    case DNAS_SCHEDULE_COSINE:
        share = (1 + cos(3.14159265358979324 * done)) / 2;
        break;
    case DNAS_SCHEDULE_LINEAR:
        share = 1 - done;
        break;
    }
    return o->rate * (o->final_share + (1 - o->final_share) * share);
}

static void cut(struct dnas_optim_state *s, size_t n)
{
    size_t end = 0, cap = 0;

    for (size_t k = 0; k < s->n_groups; k++) {
        const struct dnas_optim_group *group = &s->groups[k];

        if (group->first < end || group->first > n || group->n > n - group->first)
            DNAS_BUG("group %zu of weights %zu to %zu of %zu", k, group->first,
                     group->first + group->n, n);
        end = group->first + group->n;
        for (size_t at = group->first; at < end; at += PIECE) {
            s->pieces = dnas_xgrow(s->pieces, &cap, s->n_pieces + 1, sizeof(*s->pieces));
            s->pieces[s->n_pieces++] = (struct piece){at, end - at < PIECE ? end - at : PIECE, k};
        }
    }
}

void dnas_optim_init(struct dnas_optim *o, const struct dnas_optim_options *options, size_t n,
                     const struct dnas_optim_group *groups, size_t n_groups, int n_threads)
{
    struct dnas_optim_state *s = dnas_xzalloc(1, sizeof(*s));

    if (n_threads < 1 || !(options->rate >= 0) || !(options->beta1 >= 0 && options->beta1 < 1) ||
        !(options->beta2 >= 0 && options->beta2 < 1) || !(options->eps > 0))
        DNAS_BUG("Adam with rate %g, betas %g and %g, eps %g on %d threads", options->rate,
                 options->beta1, options->beta2, options->eps, n_threads);
    *o = (struct dnas_optim){.n = n,
                             .m = dnas_xzalloc(n, sizeof(*o->m)),
                             .v = dnas_xzalloc(n, sizeof(*o->v)),
                             .state = s};
    s->options = *options;
    s->n_groups = n_groups;
    s->groups = dnas_xalloc(n_groups, sizeof(*s->groups));
    if (n_groups > 0)
        memcpy(s->groups, groups, n_groups * sizeof(*s->groups));
    s->numbers = dnas_xalloc(n_groups, sizeof(*s->numbers));
    s->n_threads = n_threads;
    cut(s, n);
    s->squares = dnas_xalloc(s->n_pieces, sizeof(*s->squares));
}

void dnas_optim_release(struct dnas_optim *o)
{
    free(o->m);
    free(o->v);
    if (o->state) {
        free(o->state->groups);
        free(o->state->numbers);
        free(o->state->pieces);
        free(o->state->squares);
        free(o->state);
    }
    *o = (struct dnas_optim){0};
}

static void norm_task(void *ctx, size_t i, int worker)
{
    struct dnas_optim_state *s = ctx;

    (void)worker;
    dnas_cpu_sum_squares(&s->squares[i], s->g + s->pieces[i].first, s->pieces[i].n);
}

/* The norm of all gradients, or NaN with the group. */
static double norm(struct dnas_optim_state *s, size_t *bad_group)
{
    double sum = 0;

    dnas_parallel_for(s->n_pieces, s->n_threads, norm_task, s);
    for (size_t i = 0; i < s->n_pieces; i++) {
        if (!isfinite(s->squares[i])) {
            *bad_group = s->pieces[i].group;
            return NAN;
        }
        sum += s->squares[i];
    }
    return sqrt(sum);
}

static void set_numbers(struct dnas_optim_state *s, uint64_t t, double base_rate, double scale)
{
    const struct dnas_optim_options *o = &s->options;
    double correction1 = 1 - pow(o->beta1, (double)t);
    double correction2 = 1 - pow(o->beta2, (double)t);

    for (size_t k = 0; k < s->n_groups; k++) {
        double rate = base_rate * s->groups[k].rate;
        double decay = s->groups[k].no_decay ? 0 : o->decay;

        s->numbers[k] = (struct dnas_adamw){
            .gradient_scale = (float)scale,
            .keep = o->kind == DNAS_OPTIM_ADAMW ? (float)(1 - rate * decay) : 1,
            .l2 = o->kind == DNAS_OPTIM_ADAM ? (float)decay : 0,
            .beta1 = (float)o->beta1,
            .one_minus_beta1 = (float)(1 - o->beta1),
            .beta2 = (float)o->beta2,
            .one_minus_beta2 = (float)(1 - o->beta2),
            .rate = (float)(rate / correction1),
            .root_correction2 = (float)sqrt(correction2),
            .eps = (float)o->eps,
        };
    }
}

static void step_task(void *ctx, size_t i, int worker)
{
    struct dnas_optim *o = ctx;
    struct dnas_optim_state *s = o->state;
    size_t at = s->pieces[i].first;

    (void)worker;
    dnas_cpu_adamw_step(s->w + at, o->m + at, o->v + at, s->g + at, s->pieces[i].n,
                        &s->numbers[s->pieces[i].group]);
}

/* What a step of this norm does; -1 where it is not finite. */
static int plan(struct dnas_optim *o, struct dnas_optim_report *report)
{
    struct dnas_optim_state *s = o->state;
    double scale = 1;

    report->rate = dnas_optim_rate(&s->options, o->step);
    if (!isfinite(report->norm))
        return -1;
    if (s->options.clip > 0 && s->options.clip / (report->norm + CLIP_EPS) < 1)
        scale = s->options.clip / (report->norm + CLIP_EPS);
    o->step++;
    set_numbers(s, o->step, report->rate, scale);
    return 0;
}

int dnas_optim_step(struct dnas_optim *o, float *w, const float *g,
                    struct dnas_optim_report *report)
{
    struct dnas_optim_state *s = o->state;

    s->w = w;
    s->g = g;
    report->norm = norm(s, &report->bad_group);
    if (plan(o, report) != 0)
        return -1;
    dnas_parallel_for(s->n_pieces, s->n_threads, step_task, o);
    return 0;
}

const struct dnas_optim_group *dnas_optim_groups(const struct dnas_optim *o, size_t *n)
{
    *n = o->state->n_groups;
    return o->state->groups;
}

const struct dnas_adamw *dnas_optim_plan(struct dnas_optim *o, const double *squares,
                                         struct dnas_optim_report *report)
{
    struct dnas_optim_state *s = o->state;
    double sum = 0;

    for (size_t k = s->n_groups; k-- > 0;) { /* the first that is bad stays */
        if (!isfinite(squares[k]))
            report->bad_group = k;
        sum += squares[k];
    }
    report->norm = sqrt(sum);
    return plan(o, report) == 0 ? s->numbers : NULL;
}
