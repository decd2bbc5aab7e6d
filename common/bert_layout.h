/* SPDX-License-Identifier: MIT
 *
 * bert_layout.h - the tensors of DNABERT-2's network: names, shapes and order,
 * once, for reading, running and training it.
 */
#ifndef DNAS_BERT_LAYOUT_H
#define DNAS_BERT_LAYOUT_H

#include <stddef.h>

#include "common/layout.h"

#ifdef __cplusplus
extern "C" {
#endif

struct dnas_bert_layer {
    const float *qkv_w, *qkv_b; /* [3C,C] [3C] */
    const float *out_w, *out_b; /* [C,C] [C] */
    const float *norm1_w, *norm1_b;
    const float *gated_w;         /* [2F,C] */
    const float *down_w, *down_b; /* [C,F] [C] */
    const float *norm2_w, *norm2_b;
};

/* Views of the weights; whose memory they are is said where one is filled. */
struct dnas_bert_weights {
    const float *words, *types; /* [V,C]; the token types [2,C], of which row 0 is used */
    const float *norm_w, *norm_b;
    struct dnas_bert_layer *layers; /* [L] */
};

size_t dnas_bert_n_tensors(const struct dnas_shape *s);
/* Tensor i of 0..n-1, in the order of a forward pass; w NULL: no field. */
void dnas_bert_get_tensor(struct dnas_layout_tensor *out, const struct dnas_shape *s,
                          struct dnas_bert_weights *w, size_t i);

#ifdef __cplusplus
}
#endif
#endif
