/* SPDX-License-Identifier: MIT
 *
 * gather.cu - rows made of other rows: gathered, scattered, blended, and the backward
 * of the mean.  Contract: kernels/cuda.h.
 *
 * A row a warp, eight values a lane at a time, in steps of the grid.
 */
#include "kernels/cuda/pack.cuh"
#include "kernels/cuda/sequence.cuh"
#include "kernels/cuda/training.cuh"

#define WARPS 8
#define THREADS (32 * WARPS)
#define EACH_ROW(t, n)                                                                             \
    for (size_t t = (size_t)block_index() * WARPS + warp_index(); t < (n);                         \
         t += (size_t)n_blocks() * WARPS)
#define EACH_EIGHT(i, C) for (unsigned i = 8 * lane_index(); i < (C); i += 256)

template <class E>
__global__ static void __launch_bounds__(THREADS)
    meanpool_bwd_kernel(E *dx, const float *dmean, const uint32_t *offset, unsigned B, size_t T,
                        unsigned C)
{
    EACH_ROW(t, T)
    {
        unsigned b = sequence_of(offset, B, t);
        float length = (float)(offset[b + 1] - offset[b]);

        EACH_EIGHT(i, C)
        {
            float v[8];

            load8(v, dmean + (size_t)b * C + i);
#pragma unroll
            for (int j = 0; j < 8; j++)
                v[j] /= length;
            store8(dx + t * C + i, v);
        }
    }
}

template <class E>
__global__ static void __launch_bounds__(THREADS)
    blend_kernel(E *out, const E *in, const uint32_t *offset, unsigned B, const uint32_t *at,
                 const uint32_t *n, const float *part, size_t T, unsigned C)
{
    EACH_ROW(t, T)
    {
        unsigned b = sequence_of(offset, B, t);
        size_t in_b = t - offset[b];

        EACH_EIGHT(i, C)
        {
            float sum[8] = {0, 0, 0, 0, 0, 0, 0, 0};

#pragma unroll
            for (unsigned k = 0; k < 2; k++) {
                float v[8], p = part[2 * b + k];

                if (in_b >= n[2 * b + k])
                    continue;
                load8(v, in + (at[2 * b + k] + in_b) * C + i);
#pragma unroll
                for (int j = 0; j < 8; j++)
                    sum[j] += p * v[j];
            }
            store8(out + t * C + i, sum);
        }
    }
}

template <class E, bool back>
__global__ static void __launch_bounds__(THREADS)
    rows_kernel(E *out, const E *x, const uint32_t *row, size_t n, unsigned C)
{
    EACH_ROW(k, n)
    {
        size_t to = back ? row[k] : k, from = back ? k : row[k];

        EACH_EIGHT(i, C)
        {
            float v[8];

            load8(v, x + from * C + i);
            store8(out + to * C + i, v);
        }
    }
}

static bool may_begin(struct dnas_cuda *d, size_t n, size_t C, int line)
{
    if (!dnas_cuda_enter(d) || n == 0 || C == 0)
        return false;
    if (C % 8 != 0)
        dnas_cuda_fail(d, __FILE__, line, "rows of %zu: not a multiple of 8", C);
    return C % 8 == 0;
}

void dnas_cuda_meanpool_bwd(struct dnas_cuda *d, void *dx, const float *dmean,
                            const struct dnas_cuda_pack *p, size_t C, enum dnas_cuda_type type)
{
    size_t blocks = dnas_cuda_grid(p->T, WARPS);

    if (!may_begin(d, p->T, C, __LINE__))
        return;
    if (type == DNAS_CUDA_BF16)
        LAUNCH(d, (meanpool_bwd_kernel<bf16>), blocks, THREADS, 0, (bf16 *)dx, dmean, p->offset,
               (unsigned)p->B, p->T, (unsigned)C);
    else
        LAUNCH(d, (meanpool_bwd_kernel<float>), blocks, THREADS, 0, (float *)dx, dmean, p->offset,
               (unsigned)p->B, p->T, (unsigned)C);
}

void dnas_cuda_blend(struct dnas_cuda *d, void *out, const void *in, const struct dnas_cuda_pack *p,
                     const uint32_t *at, const uint32_t *n, const float *part, size_t C,
                     enum dnas_cuda_type type)
{
    size_t blocks = dnas_cuda_grid(p->T, WARPS);

    if (!may_begin(d, p->T, C, __LINE__))
        return;
    if (type == DNAS_CUDA_BF16)
        LAUNCH(d, (blend_kernel<bf16>), blocks, THREADS, 0, (bf16 *)out, (const bf16 *)in,
               p->offset, (unsigned)p->B, at, n, part, p->T, (unsigned)C);
    else
        LAUNCH(d, (blend_kernel<float>), blocks, THREADS, 0, (float *)out, (const float *)in,
               p->offset, (unsigned)p->B, at, n, part, p->T, (unsigned)C);
}

void dnas_cuda_rows_gather(struct dnas_cuda *d, void *out, const void *x, const uint32_t *row,
                           size_t n, size_t C, enum dnas_cuda_type type)
{
    size_t blocks = dnas_cuda_grid(n, WARPS);

    if (!may_begin(d, n, C, __LINE__))
        return;
    if (type == DNAS_CUDA_BF16)
        LAUNCH(d, (rows_kernel<bf16, false>), blocks, THREADS, 0, (bf16 *)out, (const bf16 *)x, row,
               n, (unsigned)C);
    else
        LAUNCH(d, (rows_kernel<float, false>), blocks, THREADS, 0, (float *)out, (const float *)x,
               row, n, (unsigned)C);
}

void dnas_cuda_rows_scatter(struct dnas_cuda *d, void *out, const void *x, const uint32_t *row,
                            size_t n, size_t T, size_t C, enum dnas_cuda_type type)
{
    size_t blocks = dnas_cuda_grid(n, WARPS);

    if (!may_begin(d, T, C, __LINE__))
        return;
    if (!CUDA_CHECK(d,
                    cudaMemsetAsync(out, 0, T * C * (type == DNAS_CUDA_BF16 ? 2 : 4), d->queue)) ||
        n == 0)
        return;
    if (type == DNAS_CUDA_BF16)
        LAUNCH(d, (rows_kernel<bf16, true>), blocks, THREADS, 0, (bf16 *)out, (const bf16 *)x, row,
               n, (unsigned)C);
    else
        LAUNCH(d, (rows_kernel<float, true>), blocks, THREADS, 0, (float *)out, (const float *)x,
               row, n, (unsigned)C);
}
