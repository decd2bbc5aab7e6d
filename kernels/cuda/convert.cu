/* SPDX-License-Identifier: MIT
 *
 * convert.cu - values rounded to bf16, and back.  Contract: kernels/cuda.h.
 */
#include "kernels/cuda/training.cuh"

#define THREADS 256

__global__ static void __launch_bounds__(THREADS)
    narrow_kernel(uint16_t *out, const float *x, size_t n)
{
    for (size_t i = (size_t)block_index() * THREADS + thread_index(); i < n;
         i += (size_t)n_blocks() * THREADS)
        out[i] = (uint16_t)bf16_pack(x[i], 0);
}

__global__ static void __launch_bounds__(THREADS)
    widen_kernel(float *out, const uint16_t *x, size_t n)
{
    for (size_t i = (size_t)block_index() * THREADS + thread_index(); i < n;
         i += (size_t)n_blocks() * THREADS)
        out[i] = bits_float((uint32_t)x[i] << 16);
}

void dnas_cuda_convert(struct dnas_cuda *d, void *out, const void *x, size_t n,
                       enum dnas_cuda_type out_type)
{
    if (!dnas_cuda_enter(d) || n == 0)
        return;
    if (out_type == DNAS_CUDA_BF16)
        LAUNCH(d, narrow_kernel, dnas_cuda_grid(n, THREADS), THREADS, 0, (uint16_t *)out,
               (const float *)x, n);
    else
        LAUNCH(d, widen_kernel, dnas_cuda_grid(n, THREADS), THREADS, 0, (float *)out,
               (const uint16_t *)x, n);
}
