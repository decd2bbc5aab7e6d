/* SPDX-License-Identifier: MIT
 *
 * train_batch.h - batches of a file of pairs, and the loss of each.
 */
#ifndef DNAS_TRAIN_BATCH_H
#define DNAS_TRAIN_BATCH_H

#include <stdint.h>

#include "common/train_step.h"
#include "common/err.h"
#include "common/pair_source.h"
#include "common/train_net.h"
#include "common/train_draw.h"

#ifdef __cplusplus
extern "C" {
#endif

#define DNAS_VALIDATION_PAIRS 48 /* a batch, as in the paper */

/* A reader of pairs with room for the largest batch, for a network of n_layers; t, source, step and
 * masks are borrowed.  masks NULL: no phase masks tokens. */
struct dnas_train_batch;
struct dnas_train_batch *dnas_train_batch_new(const struct dnas_train_net *t,
                                              struct dnas_pair_source *source,
                                              struct dnas_step *step, size_t n_layers,
                                              const struct dnas_mlm *masks);
/* NULL is fine. */
void dnas_train_batch_free(struct dnas_train_batch *b);

/* Whether an objective tells rows apart from those of other labels: it has no loss for a batch of
 * one label. */
bool dnas_objective_has_negatives(enum dnas_objective objective);
/* Whether two of the training rows have different labels, or labels do not count. */
bool dnas_train_batch_tells_apart(const struct dnas_train_batch *b);

/* The loss and gradient (train_step.h) of training batch `index` of an epoch, as
 * step number `step` of the run: 1, or -1 with a sentence.  0: the batch has no such loss, which is
 * a matter of its labels alone, so of all ranks, and nothing was done. */
int dnas_train_batch_learn(struct dnas_train_batch *b, double *loss, enum dnas_objective objective,
                           uint32_t epoch, uint64_t index, uint32_t step, struct dnas_err *err);

/* The validation rows make so many batches of DNAS_VALIDATION_PAIRS; so many of these have
 * nothing to be told apart from: rows of one label, or a single row. */
size_t dnas_train_batch_n_validation(struct dnas_train_batch *b, size_t *n_left_out);

/* The mean loss over the validation rows in their order: of masked tokens for
 * DNAS_MLM, else Weighted SimCLR, without the batches that have nothing to be told
 * apart from.  NAN where no rows are left. */
int dnas_train_batch_validate(struct dnas_train_batch *b, double *loss,
                              enum dnas_objective objective, struct dnas_err *err);

#ifdef __cplusplus
}
#endif
#endif
