/* SPDX-License-Identifier: MIT
 *
 * esm_layout.h - the tensors of Nucleotide Transformer v2's network: names,
 * shapes and order, once, for reading, running and training it.
 */
#ifndef DNAS_ESM_LAYOUT_H
#define DNAS_ESM_LAYOUT_H

#include <stddef.h>

#include "common/layout.h"

#ifdef __cplusplus
extern "C" {
#endif

struct dnas_esm_layer {
    const float *norm1_w, *norm1_b;
    const float *query_w, *key_w, *value_w; /* [C,C] */
    const float *query_b, *key_b, *value_b; /* [C] */
    const float *out_w, *out_b;             /* [C,C] [C] */
    const float *norm2_w, *norm2_b;
    const float *gated_w; /* [2F,C] */
    const float *down_w;  /* [C,F] */
};

/* Views of the weights; whose memory they are is said where one is filled. */
struct dnas_esm_weights {
    const float *words;            /* [V,C] */
    const float *norm_w, *norm_b;  /* behind the layers */
    struct dnas_esm_layer *layers; /* [L] */
};

size_t dnas_esm_n_tensors(const struct dnas_shape *s);
/* Tensor i of 0..n-1, in the order of a forward pass; w NULL: no field. */
void dnas_esm_get_tensor(struct dnas_layout_tensor *out, const struct dnas_shape *s,
                         struct dnas_esm_weights *w, size_t i);

#ifdef __cplusplus
}
#endif
#endif
