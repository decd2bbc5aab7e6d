/* SPDX-License-Identifier: MIT
 *
 * hyena_layout.h - the tensors of HyenaDNA's network: names, shapes and order,
 * once, for reading, running and training it.
 */
#ifndef DNAS_HYENA_LAYOUT_H
#define DNAS_HYENA_LAYOUT_H

#include <stdbool.h>
#include <stddef.h>

#include "common/layout.h"
#include "kernels/kernels.h"

#ifdef __cplusplus
extern "C" {
#endif

/* What a shape does not say. */
struct dnas_hyena_sizes {
    size_t E, W; /* features of a position, width of a filter's network */
    bool nested; /* names as gradient checkpointing leaves them: "mixer.layer.in_proj.weight" */
};

struct dnas_hyena_layer {
    const float *norm1_w, *norm1_b;
    const float *in_w, *in_b;       /* [3C,C] [3C] */
    const float *short_w, *short_b; /* [3C,1,3] [3C] */
    const float *skip;              /* [C]  D of Poli et al. */
    const float *w0, *b0;           /* [W,E] [W]  the filter's network (kernels.h) */
    const float *freq;              /* [1,W] */
    const float *w1, *b1;           /* [W,W] [W] */
    const float *w2, *b2;           /* [W,W] [W] */
    const float *w3;                /* [C,W] */
    const float *delta;             /* [1,1,C]  not learnt */
    const float *out_w, *out_b;     /* [C,C] [C] */
    const float *norm2_w, *norm2_b;
    const float *up_w, *up_b;     /* [F,C] [F] */
    const float *down_w, *down_b; /* [C,F] [C] */
};

/* Views of the weights; whose memory they are is said where one is filled. */
struct dnas_hyena_weights {
    const float *words; /* [V,C] */
    const float *norm_w, *norm_b;
    struct dnas_hyena_layer *layers; /* [L] */
};

size_t dnas_hyena_n_tensors(const struct dnas_shape *s);
/* Tensor i of 0..n-1, in the order of a forward pass; w NULL: no field. */
void dnas_hyena_get_tensor(struct dnas_layout_tensor *out, const struct dnas_shape *s,
                           const struct dnas_hyena_sizes *sizes, struct dnas_hyena_weights *w,
                           size_t i);

/* A layer's filter as the kernel takes it, over the shape's positions. */
struct dnas_hyena_filter dnas_hyena_filter_of(const struct dnas_hyena_layer *w,
                                              const struct dnas_shape *s,
                                              const struct dnas_hyena_sizes *sizes);

#ifdef __cplusplus
}
#endif
#endif
