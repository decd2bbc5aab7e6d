/* SPDX-License-Identifier: MIT
 *
 * pass.h - packed sequences forward and backward through a network that is
 * trained on a GPU: what tape.h's networks do with one sequence on the CPU.
 *
 * All functions but check, bytes, create and release only put work into the
 * device's queue.
 */
#ifndef DNAS_PASS_H
#define DNAS_PASS_H

#include "common/net_cuda.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Rows of `passes` begin at multiples of this. */
#define DNAS_PASS_ALIGNED ((size_t)64)

/* The sequences of one pass, T tokens in all. */
struct dnas_pass {
    struct dnas_cuda_pack *pack; /* set to them */
    size_t T, first;             /* rows first..first+T-1 of what is kept are theirs */
    uint64_t n_scores;           /* the sum of their lengths' squares, for counting operations */
    const uint16_t *ids;         /* u16 [T] on the device */
    const uint32_t *row;        /* u32 [sequences] there: of the batch, which dropout is drawn by */
    struct dnas_dropout chance; /* but for its row */
};

/* Memory for passes of `room` rows in all, with what backward needs.  A backbone's own begins with
 * this. */
struct dnas_passes {
    const struct dnas_net_cuda *net;
    size_t room;
    uint64_t flop; /* as a tape's, attention taken as dense */
};

/* How a backbone does it (backbone.h). */
struct dnas_pass_backbone {
    /* 0, or -1 with a sentence for a shape that the kernels do not take. */
    int (*check)(const struct dnas_shape *shape, enum dnas_cuda_type type, struct dnas_err *err);
    /* Bytes of the device's memory for so many rows. */
    uint64_t (*bytes)(const struct dnas_net *net, enum dnas_cuda_type type, size_t room);
    struct dnas_passes *(*create)(const struct dnas_net_cuda *net,
                                  size_t room); /* NULL: no memory */
    void (*release)(struct dnas_passes *p);
    /* A pack for passes; NULL: no memory. */
    struct dnas_cuda_pack *(*pack_new)(const struct dnas_net_cuda *net, size_t max_T, size_t max_B);
    /* The input of layer 0. */
    void (*embed)(struct dnas_passes *p, const struct dnas_pass *y);
    /* Where a pass' input of layer l goes, [T,C] of the net's type; of layer L: its result. */
    void *(*input)(const struct dnas_passes *p, const struct dnas_pass *y, size_t l);
    /* Layers from..to-1. */
    void (*forward)(struct dnas_passes *p, const struct dnas_pass *y, size_t from, size_t to);
    /* Layers to-1..from, which forward has run: dx [T,C], of the net's type, the gradient of their
     * result, becomes that of their input. */
    void (*backward)(struct dnas_passes *p, const struct dnas_pass *y, void *dx, size_t from,
                     size_t to);
    /* As dnas_tape_backward_embed. */
    void (*backward_embed)(struct dnas_passes *p, const struct dnas_pass *y, void *dx,
                           bool freeze_first);
};

#ifdef __cplusplus
}
#endif
#endif
