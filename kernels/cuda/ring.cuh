/* SPDX-License-Identifier: MIT
 *
 * ring.cuh - stages in shared memory that one warp fills and others empty, round and round.
 *
 * Each stage has a barrier "full", of one arrival and the bytes of its loads, and one "empty", of
 * an arrival from each warp that reads it.
 */
#ifndef DNAS_CUDA_RING_CUH
#define DNAS_CUDA_RING_CUH

#include "kernels/cuda/sm90.h"

template <int STAGES> struct ring_barriers {
    uint64_t full[STAGES], empty[STAGES];
};

/* Where one goes round; parity is that of the phase of `full` which ends with this round's loads,
 * and the other one that of `empty` before it. */
struct ring_place {
    unsigned stage, parity;
};

template <int STAGES> DEVICE void ring_init(struct ring_barriers<STAGES> *b, unsigned n_readers)
{
    for (int i = 0; i < STAGES; i++) {
        barrier_init(&b->full[i], 1);
        barrier_init(&b->empty[i], n_readers);
    }
}
template <int STAGES> DEVICE void ring_next(struct ring_place *p)
{
    if (++p->stage == STAGES) {
        p->stage = 0;
        p->parity ^= 1;
    }
}
template <int STAGES>
DEVICE void ring_wait_empty(struct ring_barriers<STAGES> *b, const struct ring_place *p)
{
    barrier_wait(&b->empty[p->stage], p->parity ^ 1);
}
template <int STAGES>
DEVICE void ring_wait_full(struct ring_barriers<STAGES> *b, const struct ring_place *p)
{
    barrier_wait(&b->full[p->stage], p->parity);
}
/* By each warp that reads, when its products have. */
template <int STAGES>
DEVICE void ring_release(struct ring_barriers<STAGES> *b, const struct ring_place *p)
{
    if (lane_index() == 0)
        barrier_arrive(&b->empty[p->stage]);
}

#endif
