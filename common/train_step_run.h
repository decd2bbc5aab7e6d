/* SPDX-License-Identifier: MIT
 *
 * train_step_run.h - what runs the encoder in a step of training: the CPU's
 * threads, or a GPU.  For train_step.c, which has the head and the losses.
 */
#ifndef DNAS_TRAIN_STEP_RUN_H
#define DNAS_TRAIN_STEP_RUN_H

#include "common/train_step.h"

#ifdef __cplusplus
extern "C" {
#endif

/* One call of train_step.h. */
struct dnas_step_call {
    const struct dnas_step_batch *batch;
    const struct dnas_step_mix *mix; /* NULL: no row is mixed */
    const uint32_t *origin;          /* [B] the inverse of mix->perm */
    const struct dnas_step_guess *guess;
    double n_guesses; /* of all ranks */
    size_t from, to;  /* the pairs that this rank runs */
    uint32_t number;
    bool learning; /* dropout acts, and there will be a gradient */
};

/* Sequence i of the 2 (to - from) that this rank runs: its row of the batch. */
size_t dnas_step_call_row(const struct dnas_step_call *c, size_t i);

/* The rate of dropout times 65536. */
uint32_t dnas_step_drop(const struct dnas_step_options *o);

/* A way to run it; its own begins with this.  Rows are those of the batch; of others than this
 * rank's nothing is read or written.  Functions that return int: 0, or -1 with a sentence. */
struct dnas_step_runner {
    const struct dnas_step_runner_ops *ops;
};
struct dnas_step_runner_ops {
    /* Before a call: the parameters may have changed; a gradient begins at 0. */
    int (*begin)(struct dnas_step_runner *r, const struct dnas_step_call *c, struct dnas_err *err);
    /* The means of the last hidden states, first members mixed where the call says so.
     *   pooled  f32 [2B,C] */
    int (*features)(struct dnas_step_runner *r, const struct dnas_step_call *c, float *pooled,
                    struct dnas_err *err);
    /* Adds the encoder's gradient, from that of the means of the same call.
     *   d_pooled  f32 [2B,C] */
    int (*backward)(struct dnas_step_runner *r, const struct dnas_step_call *c,
                    const float *d_pooled, struct dnas_err *err);
    /* Guesses masked tokens: the sum of -log p(target) of each row, and where learning the gradient
     * of the mean over n_guesses.
     *   loss  f64 [2B] */
    int (*guess)(struct dnas_step_runner *r, const struct dnas_step_call *c, double *loss,
                 struct dnas_err *err);
    /* When all else is done: adds up the first n elements of the ranks' gradients (comm NULL: one
     * rank).  The contrastive head's gradient stands in net->g. */
    int (*finish)(struct dnas_step_runner *r, struct dnas_comm *comm, size_t n,
                  struct dnas_err *err);
    /* Ends what the ranks have together, when all have done their last step.  NULL: nothing. */
    void (*leave)(struct dnas_step_runner *r);
    /* Operations so far, as in dnas_step_flop. */
    uint64_t (*flop)(const struct dnas_step_runner *r);
    void (*release)(struct dnas_step_runner *r); /* frees r, too */
};

struct dnas_step_runner *dnas_step_cpu_new(struct dnas_net *net, const struct dnas_step_options *o);
/* Bytes that dnas_step_cpu_new takes. */
uint64_t dnas_step_cpu_bytes(const struct dnas_net *net, const struct dnas_step_options *o);
/* NULL with a sentence. */
struct dnas_step_runner *dnas_step_cuda_new(struct dnas_net_cuda *d,
                                            const struct dnas_step_options *o,
                                            struct dnas_err *err);

#ifdef __cplusplus
}
#endif
#endif
