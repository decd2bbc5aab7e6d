/* SPDX-License-Identifier: MIT
 *
 * train_state.h - a training run set down and taken up again.
 */
#ifndef DNAS_TRAIN_STATE_H
#define DNAS_TRAIN_STATE_H

#include <jansson.h>
#include <stdbool.h>

#include "common/net.h"
#include "common/err.h"
#include "common/optim.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Beside the parameters and Adam's means; the seed and the step say all about
 * chance and the place in the data. */
struct dnas_train_state {
    uint64_t step;      /* steps done */
    uint64_t n_passed;  /* of which so many changed nothing, and are none of the optimiser's */
    double best_loss;   /* the least validation loss so far; infinity: none */
    uint64_t best_step; /* after which it was */
    bool best_masked;   /* it was that of masked tokens */
    uint64_t log_bytes; /* of the log, up to this step */
};

/* Writes parameters, Adam's means and state to path; the file that is there is
 * replaced when the new one is whole.  settings: a flat object of what a run
 * that goes on must have in common with this one. */
int dnas_train_state_write(const char *path, const struct dnas_net *net,
                           const struct dnas_optim *optim, const struct dnas_train_state *state,
                           const json_t *settings, struct dnas_err *err);

/* Reads them; -1 with a sentence, also where settings differ (it names the first
 * that does).  net and optim may be spoilt then. */
int dnas_train_state_read(struct dnas_train_state *state, struct dnas_net *net,
                          struct dnas_optim *optim, const char *path, const json_t *settings,
                          struct dnas_err *err);

#ifdef __cplusplus
}
#endif
#endif
