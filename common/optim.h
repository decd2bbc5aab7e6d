/* SPDX-License-Identifier: MIT
 *
 * optim.h - Adam and AdamW over flat arrays, with a schedule of rates.
 *
 * Weights and gradients are one array each, and a group is a range of both with
 * settings of its own.  What is in no group stays as it is (frozen), and is not
 * part of the norm.  The bits do not depend on the number of threads.
 */
#ifndef DNAS_OPTIM_H
#define DNAS_OPTIM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kernels/kernels.h"

#ifdef __cplusplus
extern "C" {
#endif

enum dnas_optim_kind {
    DNAS_OPTIM_ADAM,  /* Kingma and Ba 2015; decay is added to the gradient */
    DNAS_OPTIM_ADAMW, /* Loshchilov and Hutter 2019; decay shrinks the weights */
};

/* The rate after the warm-up. */
enum dnas_schedule {
    DNAS_SCHEDULE_CONSTANT,
    DNAS_SCHEDULE_COSINE, /* half a wave, from the rate at the warm-up's end to the final one */
    DNAS_SCHEDULE_LINEAR, /* a line between these */
};

struct dnas_optim_options {
    enum dnas_optim_kind kind;
    double rate, beta1, beta2, eps;
    double decay; /* weight decay; 0: none */
    double clip;  /* the largest norm of all gradients together; 0: any */
    enum dnas_schedule schedule;
    uint64_t warmup_steps; /* rate (s + 1) / warmup_steps in step s, counted from 0 */
    uint64_t total_steps;  /* where cosine and line end; constant: ignored */
    double final_share;    /* of the rate, from total_steps on */
};

/* The paper's: Adam, 0.9, 0.999, 1e-8, a constant rate of 3e-6, nothing else. */
struct dnas_optim_options dnas_optim_defaults(void);

struct dnas_optim_group {
    size_t first, n;
    double rate;   /* a multiple of the rate: 100 for the head */
    bool no_decay; /* norms and biases */
};

/* The rate of a step, counted from 0, before groups' multiples. */
double dnas_optim_rate(const struct dnas_optim_options *o, uint64_t step);

/* m, v and step are what a checkpoint keeps; set them to go on from one. */
struct dnas_optim {
    size_t n;      /* of weights, frozen ones included */
    float *m, *v;  /* f32 [n], 0 at first */
    uint64_t step; /* steps done */
    struct dnas_optim_state *state;
};

/* For n weights; groups (copied) are in order and do not overlap, else it is a bug. */
void dnas_optim_init(struct dnas_optim *o, const struct dnas_optim_options *options, size_t n,
                     const struct dnas_optim_group *groups, size_t n_groups, int n_threads);
void dnas_optim_release(struct dnas_optim *o);

/* What a step did, for the log. */
struct dnas_optim_report {
    double rate;
    double norm;      /* of all gradients together, before clipping */
    size_t bad_group; /* the first group with a gradient that is not finite */
};

/* w -= what the gradients g ask for; w, g f32 [n].  0; or -1, nothing being
 * changed, where a gradient is not finite: report->bad_group names it.  PyTorch's
 * numbers (torch.optim, clip_grad_norm_) to a few roundings of f32. */
int dnas_optim_step(struct dnas_optim *o, float *w, const float *g,
                    struct dnas_optim_report *report);

/* The same for weights that lie elsewhere, with m and v of their own (a GPU's): counts the step,
 * and the caller does its arithmetic.  From the sums of squares of the groups' gradients, f64 [n
 * groups], the numbers of the step for each group, which live until the next; NULL, nothing being
 * changed, where a sum is not finite. */
const struct dnas_optim_group *dnas_optim_groups(const struct dnas_optim *o, size_t *n);
const struct dnas_adamw *dnas_optim_plan(struct dnas_optim *o, const double *squares,
                                         struct dnas_optim_report *report);

#ifdef __cplusplus
}
#endif
#endif
