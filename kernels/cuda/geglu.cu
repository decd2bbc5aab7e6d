/* SPDX-License-Identifier: MIT
 *
 * geglu.cu - the gated GELU.  Contract: kernels/cuda.h.
 *
 * Eight columns a thread; bound by memory, so erf is the exact one.
 */
#include "kernels/cuda/device.cuh"
#include "kernels/cuda/gelu.cuh"
#include "kernels/cuda/walk.cuh"

#define THREADS 256

template <class E>
__global__ static void __launch_bounds__(THREADS)
    geglu_fwd_kernel(E *out, const E *x, size_t T, unsigned F)
{
    for (struct walk w = walk_begin(F / 8); w.row < T; walk_on(&w)) {
        const E *at = x + 2 * w.row * F + 8 * w.piece;
        float z[8], gate[8];

        load8(z, at);
        load8(gate, at + F);
#pragma unroll
        for (int k = 0; k < 8; k++)
            z[k] = gelu(z[k]) * gate[k];
        store8(out + w.row * F + 8 * w.piece, z);
    }
}

void dnas_cuda_geglu_fwd(struct dnas_cuda *d, void *out, const void *x, size_t T, size_t F,
                         enum dnas_cuda_type type)
{
    size_t blocks = dnas_cuda_grid(T * (F / 8), THREADS);

    if (!dnas_cuda_enter(d) || T == 0 || F == 0)
        return;
    if (F % 8 != 0)
        CUDA_FAIL(d, "rows of %zu: not a multiple of 8", F);
    else if (type == DNAS_CUDA_BF16)
        LAUNCH(d, (geglu_fwd_kernel<bf16>), blocks, THREADS, 0, (bf16 *)out, (const bf16 *)x, T,
               (unsigned)F);
    else
        LAUNCH(d, (geglu_fwd_kernel<float>), blocks, THREADS, 0, (float *)out, (const float *)x, T,
               (unsigned)F);
}
