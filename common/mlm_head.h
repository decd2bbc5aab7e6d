/* SPDX-License-Identifier: MIT
 *
 * mlm_head.h - the head that guesses masked tokens (Devlin et al. 2019):
 * Linear, GELU, layer norm, then the table of words and a bias.
 */
#ifndef DNAS_MLM_HEAD_H
#define DNAS_MLM_HEAD_H

#include "common/train_step.h"

#ifdef __cplusplus
extern "C" {
#endif

/* One thread's memory for sequences of at most max_T tokens. */
struct dnas_mlm_head;
struct dnas_mlm_head *dnas_mlm_head_new(const struct dnas_net *net, size_t max_T);
/* NULL is fine. */
void dnas_mlm_head_free(struct dnas_mlm_head *m);
uint64_t dnas_mlm_head_bytes(const struct dnas_net *net, size_t max_T);

/* The sum of -log p(target) over a sequence's guesses, from its last hidden
 * states x, f32 [T,C]. */
double dnas_mlm_head_forward(struct dnas_mlm_head *m, const float *x,
                             const struct dnas_step_guess *guess);
/* Sets dx, f32 [T,C], to the gradient of scale times that sum, and adds the
 * gradients of the head to net->g, that of the table of words to d_decoder,
 * f32 [V,C], in turn. */
void dnas_mlm_head_backward(struct dnas_mlm_head *m, float *dx, size_t T,
                            const struct dnas_step_guess *guess, double scale, float *d_decoder,
                            const struct dnas_net_order *order);

#ifdef __cplusplus
}
#endif
#endif
