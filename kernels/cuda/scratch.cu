/* SPDX-License-Identifier: MIT
 *
 * scratch.cu - memory of the device for the inside of operations.  Contract: training.cuh.
 */
#include "kernels/cuda/training.cuh"

static void give_back(struct dnas_cuda *d)
{
    dnas_cuda_free(d, d->scratch);
    d->scratch = nullptr;
    d->scratch_bytes = 0;
}

int dnas_cuda_reserve(struct dnas_cuda *d, size_t T, size_t C, size_t E, size_t OI)
{
    const size_t each[] = {dnas_cuda_linear_bwd_weight_scratch(T, OI),
                           dnas_cuda_embedding_bwd_scratch(T, E),
                           dnas_cuda_layernorm_bwd_scratch(E), dnas_cuda_columns_sum_scratch(C),
                           dnas_cuda_sum_squares_scratch()};
    size_t bytes = 0;

    for (size_t i = 0; i < sizeof(each) / sizeof(*each); i++)
        bytes = each[i] > bytes ? each[i] : bytes;
    if (!dnas_cuda_enter(d))
        return -1;
    give_back(d);
    d->scratch = dnas_cuda_alloc(d, bytes);
    if (!d->scratch)
        return -1;
    d->scratch_bytes = bytes;
    return 0;
}

void *dnas_cuda_scratch(struct dnas_cuda *d, size_t bytes)
{
    if (!dnas_cuda_enter(d))
        return nullptr;
    if (bytes <= d->scratch_bytes)
        return d->scratch;
    give_back(d);
    d->scratch = dnas_cuda_alloc(d, bytes);
    if (d->scratch)
        d->scratch_bytes = bytes;
    else
        CUDA_FAIL(d, "the device has no %zu bytes left for training's scratch: try a smaller batch",
                  bytes);
    return d->scratch;
}
