/* SPDX-License-Identifier: MIT
 *
 * scratch.cu - memory of the device for the inside of operations.  Contract: training.cuh.
 */
#include "kernels/cuda/training.cuh"

void *dnas_cuda_scratch(struct dnas_cuda *d, size_t bytes)
{
    if (!dnas_cuda_enter(d))
        return nullptr;
    if (bytes <= d->scratch_bytes)
        return d->scratch;
    dnas_cuda_free(d, d->scratch);
    d->scratch = nullptr;
    d->scratch_bytes = 0;
    d->scratch = dnas_cuda_alloc(d, bytes);
    if (d->scratch)
        d->scratch_bytes = bytes;
    else
        CUDA_FAIL(d, "the device has no %zu bytes left for training's scratch: try a smaller batch",
                  bytes);
    return d->scratch;
}
