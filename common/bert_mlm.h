/* SPDX-License-Identifier: MIT
 *
 * bert_mlm.h - the head that guesses masked tokens (Devlin et al. 2019):
 * Linear, GELU, layer norm, then the table of words and a bias.
 */
#ifndef DNAS_BERT_MLM_H
#define DNAS_BERT_MLM_H

#include "common/bert_step.h"

#ifdef __cplusplus
extern "C" {
#endif

/* One thread's memory for sequences of at most max_T tokens. */
struct dnas_bert_mlm;
struct dnas_bert_mlm *dnas_bert_mlm_new(const struct dnas_bert_net *net, size_t max_T);
/* NULL is fine. */
void dnas_bert_mlm_free(struct dnas_bert_mlm *m);
uint64_t dnas_bert_mlm_bytes(const struct dnas_bert_net *net, size_t max_T);

/* The sum of -log p(target) over a sequence's guesses, from its last hidden
 * states x, f32 [T,C]. */
double dnas_bert_mlm_forward(struct dnas_bert_mlm *m, const float *x,
                             const struct dnas_bert_guess *guess);
/* Sets dx, f32 [T,C], to the gradient of scale times that sum, and adds the
 * gradients of the head to net->g, that of the table of words to d_decoder,
 * f32 [V,C], in turn. */
void dnas_bert_mlm_backward(struct dnas_bert_mlm *m, float *dx, size_t T,
                            const struct dnas_bert_guess *guess, double scale, float *d_decoder,
                            const struct dnas_bert_order *order);

#ifdef __cplusplus
}
#endif
#endif
