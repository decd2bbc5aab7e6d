/* SPDX-License-Identifier: MIT
 *
 * packed.h - an opened network on a GPU, run over packed batches: the rows of
 * many sequences one after the other, without padding.
 *
 * A sequence's bits do not depend on what is packed beside it.
 */
#ifndef DNAS_PACKED_H
#define DNAS_PACKED_H

#include "common/gpu.h"
#include "common/network.h"

#ifdef __cplusplus
extern "C" {
#endif

/* A backbone's own begins with it. */
struct dnas_packed {
    const struct dnas_network *network;
    const struct dnas_gpu *gpu;
    enum dnas_cuda_type type; /* of the matrices and of hidden states */
};

/* How a backbone runs there (backbone.h). */
struct dnas_packed_backbone {
    /* 0, or -1 with a sentence for a shape that the kernels do not take. */
    int (*check)(const struct dnas_network *n, enum dnas_cuda_type type, struct dnas_err *err);
    /* Puts the weights on the device.  NULL with a sentence. */
    struct dnas_packed *(*create)(const struct dnas_network *n, const struct dnas_gpu *g,
                                  enum dnas_cuda_type type, struct dnas_err *err);
    void (*release)(struct dnas_packed *p); /* frees what create made, p itself too */
    uint64_t (*scratch)(const struct dnas_packed *p, size_t max_T);
    struct dnas_cuda_pack *(*pack_new)(const struct dnas_packed *p, size_t max_T, size_t max_B);
    const void *(*forward)(const struct dnas_packed *p, void *scratch, const uint16_t *ids,
                           struct dnas_cuda_pack *pack, size_t T);
};

/* Whether networks of n's kind, shape and output run on a GPU: 0, or -1 with a sentence. */
int dnas_packed_check(const struct dnas_network *n, enum dnas_cuda_type type, struct dnas_err *err);
/* n, opened in f32, on the GPU g; both are borrowed.  NULL with a sentence, also where there is
 * too little memory. */
struct dnas_packed *dnas_packed_new(const struct dnas_network *n, const struct dnas_gpu *g,
                                    enum dnas_cuda_type type, struct dnas_err *err);
/* NULL is fine. */
void dnas_packed_free(struct dnas_packed *p);

/* Bytes of the device's memory that forward needs for max_T tokens in all. */
uint64_t dnas_packed_scratch(const struct dnas_packed *p, size_t max_T);
/* A pack (cuda.h) for batches of the network; NULL: no memory. */
struct dnas_cuda_pack *dnas_packed_pack_new(const struct dnas_packed *p, size_t max_T,
                                            size_t max_B);
/* Puts a forward pass into the queue: the last hidden states [T,C] of p->type, in scratch, of the
 * sequences that pack was set to.
 *   ids  u16 [T] on the device, each below V */
const void *dnas_packed_forward(const struct dnas_packed *p, void *scratch, const uint16_t *ids,
                                struct dnas_cuda_pack *pack, size_t T);

#ifdef __cplusplus
}
#endif
#endif
