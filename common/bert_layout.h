/* SPDX-License-Identifier: MIT
 *
 * bert_layout.h - the tensors of DNABERT-2's network: names, shapes and order,
 * once, for reading, running and training it.
 */
#ifndef DNAS_BERT_LAYOUT_H
#define DNAS_BERT_LAYOUT_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

/* L layers, C channels, H heads, F gated width, V tokens. */
struct dnas_bert_shape {
    size_t L, C, H, F, V;
    float eps; /* of the layer norms */
};

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

enum dnas_bert_role {
    DNAS_BERT_TABLE,
    DNAS_BERT_MATRIX,
    DNAS_BERT_BIAS,
    DNAS_BERT_NORM,
};

#define DNAS_BERT_NAME_SIZE 80

struct dnas_bert_tensor {
    char name[DNAS_BERT_NAME_SIZE]; /* Hugging Face's, without a prefix */
    size_t rows, columns;           /* columns of 0: one dimension */
    size_t n;                       /* elements */
    enum dnas_bert_role role;
    size_t layer;        /* L for those before the layers */
    const float **field; /* where a struct dnas_bert_weights points to it; NULL without one */
};

size_t dnas_bert_n_tensors(const struct dnas_bert_shape *s);
/* Tensor i of 0..n-1, in the order of a forward pass; w NULL: no field. */
void dnas_bert_get_tensor(struct dnas_bert_tensor *out, const struct dnas_bert_shape *s,
                          struct dnas_bert_weights *w, size_t i);

#ifdef __cplusplus
}
#endif
#endif
