/* SPDX-License-Identifier: MIT
 *
 * geglu.cu - the gated GELU.  Contract: kernels/cuda.h.
 *
 * Eight columns a thread; bound by memory, so erf is the exact one.
 */
#include "kernels/cuda/device.cuh"
#include "kernels/cuda/gelu.cuh"

#define THREADS 256

template <class E>
__global__ static void __launch_bounds__(THREADS)
    geglu_fwd_kernel(E *out, const E *x, size_t n, unsigned F)
{
    for (size_t i = (size_t)block_index() * THREADS + thread_index(); i < n;
         i += (size_t)n_blocks() * THREADS) {
        size_t t = 8 * i / F, column = 8 * i % F;
        float z[8], gate[8];

        load8(z, x + 2 * t * F + column);
        load8(gate, x + (2 * t + 1) * F + column);
#pragma unroll
        for (int k = 0; k < 8; k++)
            z[k] = gelu(z[k]) * gate[k];
        store8(out + 8 * i, z);
    }
}

void dnas_cuda_geglu_fwd(struct dnas_cuda *d, void *out, const void *x, size_t T, size_t F,
                         enum dnas_cuda_type type)
{
    size_t n = T * F / 8, blocks = dnas_cuda_grid(n, THREADS);

    if (!dnas_cuda_enter(d) || T == 0 || F == 0)
        return;
    if (F % 8 != 0)
        CUDA_FAIL(d, "rows of %zu: not a multiple of 8", F);
    else if (type == DNAS_CUDA_BF16)
        LAUNCH(d, (geglu_fwd_kernel<bf16>), blocks, THREADS, 0, (bf16 *)out, (const bf16 *)x, n,
               (unsigned)F);
    else
        LAUNCH(d, (geglu_fwd_kernel<float>), blocks, THREADS, 0, (float *)out, (const float *)x, n,
               (unsigned)F);
}
