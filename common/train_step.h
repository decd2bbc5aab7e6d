/* SPDX-License-Identifier: MIT
 *
 * train_step.h - one step of training: the loss of a batch and its gradient.
 *
 * The features of the whole batch come first, without what backward needs;
 * after the loss each sequence runs forward again and then backward (gradient
 * caching: Gao et al. 2021), so memory does not grow with the batch.  Sequences
 * add to the gradient in the order of their numbers: its bits do not depend on
 * the number of threads.
 */
#ifndef DNAS_TRAIN_STEP_H
#define DNAS_TRAIN_STEP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/net.h"
#include "common/comm.h"
#include "common/err.h"
#include "common/net_cuda.h"
#include "common/net_ranks.h"

#ifdef __cplusplus
extern "C" {
#endif

/* B pairs; sequence i of 0..B-1 is a first member, B + i its partner.  Of several
 * ranks each runs a share of equal size, in the order of their numbers
 * (dnas_step_share), and needs no other tokens. */
struct dnas_step_batch {
    size_t B;
    const uint16_t *const *ids; /* [2B] of T tokens each, below V */
    const size_t *T;            /* [2B] from 1 to max_T */
    const uint32_t *label;      /* [B] rows of one species share a number; NULL: not known */
};

/* Mixing before layer `layer` (0: after the embedding), in the notation of
 * contrastive.h; perm stays within groups of mix_group consecutive pairs. */
struct dnas_step_mix {
    size_t layer;
    const uint32_t *perm; /* [B] */
    const float *lambda;  /* [B] */
};

/* Tokens to be guessed, for each of the 2B sequences: its ids are masked
 * already, and target[k] is what stood at position[k]. */
struct dnas_step_guess {
    const uint32_t *position; /* [n] ascending */
    const uint16_t *target;   /* [n] */
    size_t n;
};

struct dnas_step_options {
    size_t max_pairs, max_T; /* the largest batch and sequence */
    size_t mix_group;        /* 0: no batch will be mixed */
    size_t n_frozen;         /* 1 + K: the embedding and the first K layers stay; 0: all learn */
    bool freeze_first;       /* row 0 of the words stays */
    double temperature;
    double dropout;
    uint64_t seed;
    int n_threads;
    struct dnas_comm *comm;      /* NULL: one process */
    enum dnas_exchange exchange; /* of gradients between GPUs */
};

struct dnas_step;
struct dnas_step *dnas_step_new(struct dnas_net *net, const struct dnas_step_options *options);
/* The same with the encoder on a GPU: parameters and the gradient are then d's, but for the head's
 * in net->w and net->g, too.  NULL with a sentence, also where memory does not suffice for one
 * sequence of max_T. */
struct dnas_step *dnas_step_new_cuda(struct dnas_net_cuda *d,
                                     const struct dnas_step_options *options, struct dnas_err *err);
/* A call of all ranks after the last step, before dnas_step_free; left out where one has failed. */
void dnas_step_leave(struct dnas_step *s);
/* NULL is fine. */
void dnas_step_free(struct dnas_step *s);
/* Bytes that dnas_step_new takes, without a GPU. */
uint64_t dnas_step_bytes(const struct dnas_net *net, const struct dnas_step_options *options);

/* The pairs from..to-1 of a batch of B that this rank runs; B is a multiple of
 * the number of ranks, else a bug. */
void dnas_step_share(const struct dnas_step *s, size_t B, size_t *from, size_t *to);

/* In all: *loss is the mean, net->g is set to the gradient, of the whole batch
 * on every rank; `number` is the
 * step's, which dropout is drawn by.  0, or -1 with a sentence for a batch that
 * has no such loss.  A loss that is not finite is no error here. */
int dnas_step_wsimclr(struct dnas_step *s, double *loss, const struct dnas_step_batch *batch,
                      uint32_t number, struct dnas_err *err);
int dnas_step_supcon(struct dnas_step *s, double *loss, const struct dnas_step_batch *batch,
                     uint32_t number, struct dnas_err *err);
int dnas_step_mixed(struct dnas_step *s, double *loss, const struct dnas_step_batch *batch,
                    const struct dnas_step_mix *mix, uint32_t number, struct dnas_err *err);
/* Masked tokens: the mean of -log p(target) over all of them.
 *   guess  [2B] */
int dnas_step_mlm(struct dnas_step *s, double *loss, const struct dnas_step_batch *batch,
                  const struct dnas_step_guess *guess, uint32_t number, struct dnas_err *err);

/* The losses alone, without dropout and without touching net->g; each rank runs
 * the whole batch. */
int dnas_step_loss_wsimclr(struct dnas_step *s, double *loss, const struct dnas_step_batch *batch,
                           struct dnas_err *err);
int dnas_step_loss_mlm(struct dnas_step *s, double *loss, const struct dnas_step_batch *batch,
                       const struct dnas_step_guess *guess, struct dnas_err *err);

/* The unit rows f32 [2B,P] of the last batch. */
const float *dnas_step_rows(const struct dnas_step *s);
/* Operations of products and attention so far, all threads. */
uint64_t dnas_step_flop(const struct dnas_step *s);

#ifdef __cplusplus
}
#endif
#endif
