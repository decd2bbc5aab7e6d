/* SPDX-License-Identifier: MIT
 *
 * net_ranks.h - the gradient of a network on the GPUs of several processes, added up
 * from GPU to GPU while the backward pass still runs.
 *
 * The sums have the bits of dnas_comm_sum_f32: which way they went shows nowhere.
 */
#ifndef DNAS_NET_RANKS_H
#define DNAS_NET_RANKS_H

#include "common/comm.h"
#include "common/net_cuda.h"

#ifdef __cplusplus
extern "C" {
#endif

/* How processes add up their gradients. */
enum dnas_exchange {
    DNAS_EXCHANGE_AUTO, /* by NCCL where all have it, each with a GPU of its own */
    DNAS_EXCHANGE_NCCL,
    DNAS_EXCHANGE_HOST, /* through the memory of the hosts */
};
extern const char *const dnas_exchanges[]; /* for the table of options */

struct dnas_net_ranks;

/* A call of all ranks of comm (NULL: one).  *r is NULL where they go through their hosts; -1 with
 * a sentence where they cannot do as they should. */
int dnas_net_ranks_new(struct dnas_net_ranks **r, const struct dnas_net_cuda *d,
                       struct dnas_comm *comm, enum dnas_exchange how, struct dnas_err *err);
/* Bytes of the GPU to be left for it and for NCCL: the same either way, so that chunks are. */
uint64_t dnas_net_ranks_bytes(const struct dnas_net_cuda *d, const struct dnas_comm *comm);

/* All ranks, in the same order.  The gradient of an encoder's layer is added up once what is in
 * the GPU's queue now is done; nothing may touch it before dnas_net_ranks_finish. */
void dnas_net_ranks_layer(struct dnas_net_ranks *r, size_t layer);
/* The same for what is left of the first n elements of the gradient; waits for all sums. */
int dnas_net_ranks_finish(struct dnas_net_ranks *r, size_t n, struct dnas_err *err);

/* Frees r: together with the other ranks, after the last step; or alone, after a failure.  NULL is
 * fine. */
void dnas_net_ranks_leave(struct dnas_net_ranks *r);
void dnas_net_ranks_drop(struct dnas_net_ranks *r);

#ifdef __cplusplus
}
#endif
#endif
