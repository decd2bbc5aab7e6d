/* SPDX-License-Identifier: MIT
 *
 * columns.cu - sums of columns.  Contract: columns.cuh.
 *
 * A block sums 256 columns of a stretch of rows, each warp every eighth of its rows.
 */
#include "kernels/cuda/columns.cuh"

#define WARPS 8
#define MOST_PARTS 128
#define LEAST_ROWS 64 /* of a part */

__global__ static void __launch_bounds__(256)
    add_parts_kernel(float *sum, const float *part, unsigned n_parts, size_t n, size_t apart)
{
    for (size_t i = (size_t)block_index() * n_threads() + thread_index(); i < n;
         i += (size_t)n_blocks() * n_threads()) {
        double all = 0;

#pragma unroll 8
        for (unsigned k = 0; k < n_parts; k++)
            all += (double)part[k * apart + i];
        sum[i] += (float)all;
    }
}

void dnas_cuda_add_parts(struct dnas_cuda *d, float *sum, const float *part, size_t n_parts,
                         size_t n, size_t apart)
{
    LAUNCH(d, add_parts_kernel, dnas_cuda_grid(n, 256), 256, 0, sum, part, (unsigned)n_parts, n,
           apart);
}

template <class E>
__global__ static void __launch_bounds__(32 * WARPS)
    columns_sum_kernel(float *part, const E *x, size_t T, unsigned C, unsigned n_parts)
{
    float *of_warp = (float *)shared_memory(); /* [WARPS,256] */
    unsigned k = block_index() % n_parts, from = block_index() / n_parts * 256;
    unsigned column = from + 8 * lane_index();
    size_t end = T * (k + 1) / n_parts;
    float sum[8] = {0, 0, 0, 0, 0, 0, 0, 0};

    if (column < C)
        for (size_t t = T * k / n_parts + warp_index(); t < end; t += WARPS) {
            float v[8];

            load8(v, x + t * C + column);
#pragma unroll
            for (int j = 0; j < 8; j++)
                sum[j] += v[j];
        }
#pragma unroll
    for (int j = 0; j < 8; j++)
        of_warp[warp_index() * 256 + 32 * (unsigned)j + lane_index()] = sum[j];
    block_barrier();
    column = from + thread_index();
    if (column < C) {
        unsigned at = 32 * (thread_index() % 8) + thread_index() / 8;
        float all = of_warp[at];

        for (unsigned w = 1; w < WARPS; w++)
            all += of_warp[w * 256 + at];
        part[(size_t)k * C + column] = all;
    }
}

size_t dnas_cuda_columns_sum_scratch(size_t C)
{
    return MOST_PARTS * C * sizeof(float);
}

void dnas_cuda_columns_sum(struct dnas_cuda *d, float *sum, const void *x, size_t T, size_t C,
                           enum dnas_cuda_type type)
{
    size_t n_parts = (T + LEAST_ROWS - 1) / LEAST_ROWS, blocks;
    size_t shared = WARPS * 256 * sizeof(float);
    float *part;

    if (n_parts > MOST_PARTS)
        n_parts = MOST_PARTS;
    blocks = n_parts * ((C + 255) / 256);
    if (blocks == 0 || !(part = (float *)dnas_cuda_scratch(d, n_parts * C * sizeof(*part))))
        return;
    if (type == DNAS_CUDA_BF16)
        LAUNCH(d, (columns_sum_kernel<bf16>), blocks, 32 * WARPS, shared, part, (const bf16 *)x, T,
               (unsigned)C, (unsigned)n_parts);
    else
        LAUNCH(d, (columns_sum_kernel<float>), blocks, 32 * WARPS, shared, part, (const float *)x,
               T, (unsigned)C, (unsigned)n_parts);
    dnas_cuda_add_parts(d, sum, part, n_parts, C, C);
}
