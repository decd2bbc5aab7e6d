/* SPDX-License-Identifier: MIT
 *
 * layout.h - what the networks share in saying which tensors they have.
 */
#ifndef DNAS_LAYOUT_H
#define DNAS_LAYOUT_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

/* L layers, C channels, H heads, F width within the feed-forward part, V tokens;
 * 0 where a network has no such thing. */
struct dnas_shape {
    size_t L, C, H, F, V;
    size_t positions; /* the longest sequence, in tokens; 0: any */
    float eps;        /* of the layer norms */
};

enum dnas_role {
    DNAS_ROLE_TABLE,
    DNAS_ROLE_MATRIX,
    DNAS_ROLE_BIAS,
    DNAS_ROLE_NORM, /* "....weight" and "....bias" */
};

#define DNAS_LAYOUT_NAME_SIZE 80
#define DNAS_LAYOUT_DIMS_MAX 3

struct dnas_layout_tensor {
    char name[DNAS_LAYOUT_NAME_SIZE]; /* Hugging Face's, without a prefix */
    int n_dims;
    size_t shape[DNAS_LAYOUT_DIMS_MAX];
    size_t n; /* elements */
    enum dnas_role role;
    size_t layer;        /* L for those before the layers, L + 1 for those behind */
    const float **field; /* the view that points to it; NULL without one */
};

#ifdef __cplusplus
}
#endif
#endif
