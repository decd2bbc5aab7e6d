/* SPDX-License-Identifier: MIT
 *
 * gelu.cu - the Gaussian error linear unit, and the backward of the gated one.
 * Contract: kernels/cuda.h.
 *
 * Eight values a thread, in steps of the grid.
 */
#include "kernels/cuda/gelu.cuh"

#include "kernels/cuda/training.cuh"
#include "kernels/cuda/walk.cuh"

#define THREADS 256

template <class E>
__global__ static void __launch_bounds__(THREADS) gelu_fwd_kernel(E *out, const E *x, size_t n)
{
    for (size_t i = (size_t)block_index() * THREADS + thread_index(); i < n;
         i += (size_t)n_blocks() * THREADS) {
        float v[8];

        load8(v, x + 8 * i);
#pragma unroll
        for (int j = 0; j < 8; j++)
            v[j] = gelu(v[j]);
        store8(out + 8 * i, v);
    }
}

template <class E>
__global__ static void __launch_bounds__(THREADS)
    gelu_bwd_kernel(E *dx, const E *dout, const E *x, size_t n)
{
    for (size_t i = (size_t)block_index() * THREADS + thread_index(); i < n;
         i += (size_t)n_blocks() * THREADS) {
        float v[8], g[8];

        load8(v, x + 8 * i);
        load8(g, dout + 8 * i);
#pragma unroll
        for (int j = 0; j < 8; j++)
            g[j] *= gelu_slope(v[j]);
        store8(dx + 8 * i, g);
    }
}

/* Each thread has its own pieces: dx may be x. */
template <class E>
__global__ static void __launch_bounds__(THREADS)
    geglu_bwd_kernel(E *dx, const E *dout, const E *x, size_t T, unsigned F)
{
    for (struct walk w = walk_begin(F / 8); w.row < T; walk_on(&w)) {
        size_t z = 2 * w.row * F + 8 * w.piece, gate = z + F;
        float v[8], b[8], g[8];

        load8(v, x + z);
        load8(b, x + gate);
        load8(g, dout + w.row * F + 8 * w.piece);
#pragma unroll
        for (int j = 0; j < 8; j++) {
            float slope = gelu_slope(v[j]);

            v[j] = g[j] * gelu(v[j]);
            b[j] = g[j] * slope * b[j];
        }
        store8(dx + z, b);
        store8(dx + gate, v);
    }
}

void dnas_cuda_gelu_fwd(struct dnas_cuda *d, void *out, const void *x, size_t n,
                        enum dnas_cuda_type type)
{
    if (!dnas_cuda_enter(d) || n == 0)
        return;
    if (n % 8 != 0)
        CUDA_FAIL(d, "%zu values: not a multiple of 8", n);
    else if (type == DNAS_CUDA_BF16)
        LAUNCH(d, (gelu_fwd_kernel<bf16>), dnas_cuda_grid(n / 8, THREADS), THREADS, 0, (bf16 *)out,
               (const bf16 *)x, n / 8);
    else
        LAUNCH(d, (gelu_fwd_kernel<float>), dnas_cuda_grid(n / 8, THREADS), THREADS, 0,
               (float *)out, (const float *)x, n / 8);
}

void dnas_cuda_gelu_bwd(struct dnas_cuda *d, void *dx, const void *dout, const void *x, size_t n,
                        enum dnas_cuda_type type)
{
    if (!dnas_cuda_enter(d) || n == 0)
        return;
    if (n % 8 != 0)
        CUDA_FAIL(d, "%zu values: not a multiple of 8", n);
    else if (type == DNAS_CUDA_BF16)
        LAUNCH(d, (gelu_bwd_kernel<bf16>), dnas_cuda_grid(n / 8, THREADS), THREADS, 0, (bf16 *)dx,
               (const bf16 *)dout, (const bf16 *)x, n / 8);
    else
        LAUNCH(d, (gelu_bwd_kernel<float>), dnas_cuda_grid(n / 8, THREADS), THREADS, 0, (float *)dx,
               (const float *)dout, (const float *)x, n / 8);
}

void dnas_cuda_geglu_bwd(struct dnas_cuda *d, void *dx, const void *dout, const void *x, size_t T,
                         size_t F, enum dnas_cuda_type type)
{
    size_t blocks = dnas_cuda_grid(T * (F / 8), THREADS);

    if (!dnas_cuda_enter(d) || T == 0 || F == 0)
        return;
    if (F % 8 != 0)
        CUDA_FAIL(d, "F of %zu: not a multiple of 8", F);
    else if (type == DNAS_CUDA_BF16)
        LAUNCH(d, (geglu_bwd_kernel<bf16>), blocks, THREADS, 0, (bf16 *)dx, (const bf16 *)dout,
               (const bf16 *)x, T, (unsigned)F);
    else
        LAUNCH(d, (geglu_bwd_kernel<float>), blocks, THREADS, 0, (float *)dx, (const float *)dout,
               (const float *)x, T, (unsigned)F);
}
