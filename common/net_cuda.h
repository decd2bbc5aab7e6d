/* SPDX-License-Identifier: MIT
 *
 * net_cuda.h - a network that is trained on a GPU: parameters, gradients and
 * Adam's means there, each array laid out as net.h's.
 *
 * The host has copies: of the contrastive head always, of the rest when it asks.
 */
#ifndef DNAS_NET_CUDA_H
#define DNAS_NET_CUDA_H

#include "common/gpu.h"
#include "common/net.h"
#include "common/optim.h"

#ifdef __cplusplus
extern "C" {
#endif

struct dnas_net_cuda {
    struct dnas_net *net;
    const struct dnas_gpu *gpu;
    enum dnas_cuda_type type; /* of the encoder's products and hidden states */
    /* On the device, each [n] of net; parameters, gradients, and means of these and their squares
     * are f32 whatever the type. */
    float *w, *g, *m, *v;
    uint16_t *narrow; /* w rounded to bf16; NULL: products are of f32 */
    struct dnas_net_cuda_rest *rest;
};

/* Whether such a net is trained on a GPU: 0, or -1 with a sentence. */
int dnas_net_cuda_check(const struct dnas_net *net, enum dnas_cuda_type type, struct dnas_err *err);
/* Takes parameters and means from the host; net and gpu are borrowed.  NULL with a sentence. */
struct dnas_net_cuda *dnas_net_cuda_new(struct dnas_net *net, const struct dnas_gpu *gpu,
                                        enum dnas_cuda_type type, const struct dnas_optim *optim,
                                        struct dnas_err *err);
void dnas_net_cuda_free(struct dnas_net_cuda *d); /* NULL is fine */

/* Where the parameter that a view of net points to is on the device: in f32, as a matrix of the
 * products' type; its gradient. */
const float *dnas_net_cuda_at(const struct dnas_net_cuda *d, const float *w);
const void *dnas_net_cuda_matrix(const struct dnas_net_cuda *d, const float *w);
float *dnas_net_cuda_grad(const struct dnas_net_cuda *d, const float *w);

/* All of these: 0, or -1 with a sentence. */

/* n floats from the device, or to it; waits. */
int dnas_net_cuda_get(const struct dnas_net_cuda *d, float *to, const float *from, size_t n,
                      struct dnas_err *err);
int dnas_net_cuda_put(const struct dnas_net_cuda *d, float *to, const float *from, size_t n,
                      struct dnas_err *err);
/* A step of the optimiser, as dnas_optim_step; *finite says whether there was one. */
int dnas_net_cuda_step(struct dnas_net_cuda *d, struct dnas_optim *optim, bool *finite,
                       struct dnas_optim_report *report, struct dnas_err *err);
/* Brings net->w up to date; optim: and its means (NULL: not these); gradient: and net->g. */
int dnas_net_cuda_fetch(const struct dnas_net_cuda *d, struct dnas_optim *optim, bool gradient,
                        struct dnas_err *err);

#ifdef __cplusplus
}
#endif
#endif
