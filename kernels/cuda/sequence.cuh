/* SPDX-License-Identifier: MIT
 *
 * sequence.cuh - which sequence of a pack a row belongs to.
 */
#ifndef DNAS_CUDA_SEQUENCE_CUH
#define DNAS_CUDA_SEQUENCE_CUH

#include "kernels/cuda/simt.h"

/* The b with offset[b] <= t < offset[b + 1]; there is one. */
DEVICE unsigned sequence_of(const uint32_t *offset, unsigned B, size_t t)
{
    unsigned low = 0, high = B;

    while (high - low > 1) {
        unsigned middle = low + (high - low) / 2;

        if (offset[middle] <= t)
            low = middle;
        else
            high = middle;
    }
    return low;
}

#endif
