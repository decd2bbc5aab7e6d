/* SPDX-License-Identifier: MIT
 *
 * meanpool.cu - the mean of each sequence's rows.  Contract: kernels/cuda.h.
 *
 * A block has 64 columns of one sequence: thread 8 r + c sums eight columns of rows r,
 * r + 32, ... in double, and then the 32 sums are added in their order.
 */
#include "kernels/cuda/pack.cuh"

#define COLUMNS 64
#define PARTS 32

template <class E>
__global__ static void __launch_bounds__(PARTS *COLUMNS / 8)
    meanpool_fwd_kernel(double *out, const E *x, const uint32_t *offset, unsigned C,
                        unsigned n_slices)
{
    double *part = (double *)shared_memory(); /* [PARTS,COLUMNS] */
    unsigned b = block_index() / n_slices, first = block_index() % n_slices * COLUMNS;
    unsigned r = thread_index() / 8, c = thread_index() % 8 * 8;
    uint32_t from = offset[b], to = offset[b + 1];
    double sum[8] = {0, 0, 0, 0, 0, 0, 0, 0};

    if (first + c < C)
        for (uint32_t t = from + r; t < to; t += PARTS) {
            float v[8];

            load8(v, x + (size_t)t * C + first + c);
#pragma unroll
            for (int k = 0; k < 8; k++)
                sum[k] += (double)v[k];
        }
#pragma unroll
    for (int k = 0; k < 8; k++)
        part[r * COLUMNS + c + (unsigned)k] = sum[k];
    block_barrier();
    if (thread_index() < COLUMNS && first + thread_index() < C) {
        double all = 0;

        for (int k = 0; k < PARTS; k++)
            all += part[(unsigned)k * COLUMNS + thread_index()];
        out[(size_t)b * C + first + thread_index()] = all / (double)(to - from);
    }
}

void dnas_cuda_meanpool_fwd(struct dnas_cuda *d, double *out, const void *x,
                            const struct dnas_cuda_pack *p, size_t C, enum dnas_cuda_type type)
{
    size_t slices = (C + COLUMNS - 1) / COLUMNS, bytes = PARTS * COLUMNS * sizeof(double);

    if (!dnas_cuda_enter(d) || p->B == 0 || C == 0)
        return;
    if (C % 8 != 0)
        CUDA_FAIL(d, "rows of %zu: not a multiple of 8", C);
    else if (type == DNAS_CUDA_BF16)
        LAUNCH(d, (meanpool_fwd_kernel<bf16>), p->B * slices, PARTS * COLUMNS / 8, bytes, out,
               (const bf16 *)x, p->offset, (unsigned)C, (unsigned)slices);
    else
        LAUNCH(d, (meanpool_fwd_kernel<float>), p->B * slices, PARTS * COLUMNS / 8, bytes, out,
               (const float *)x, p->offset, (unsigned)C, (unsigned)slices);
}
