/* SPDX-License-Identifier: MIT
 *
 * layernorm_bwd.cu - layer normalisation, backward.  Contract: kernels/cuda.h.
 *
 * A row a warp, as forward.  Each lane keeps the sums of its columns over all rows of
 * its warp; the warps of a block are added in their order, then the blocks in theirs.
 */
#include "kernels/cuda/columns.cuh"
#include "kernels/cuda/rows.cuh"

#define WARPS 8
#define MOST_BLOCKS 264 /* two for each processor of an H200 */

template <int K, class E>
__global__ static void __launch_bounds__(32 * WARPS)
    layernorm_bwd_kernel(E *dx, float *part, const E *dout, const E *x, const float *mean,
                         const float *rstd, const float *weight, size_t T, unsigned C)
{
    float *shared = (float *)shared_memory(); /* [2,C] */
    float along[K][8], plain[K][8];

#pragma unroll
    for (int k = 0; k < K; k++)
#pragma unroll
        for (int j = 0; j < 8; j++)
            along[k][j] = plain[k][j] = 0;
    for (size_t t = (size_t)block_index() * WARPS + warp_index(); t < T;
         t += (size_t)n_blocks() * WARPS) {
        float g[K][8], v[K][8], m = mean[t], r = rstd[t], sum_g = 0, sum_gv = 0;

        row_load<K>(g, dout + t * C, C);
        row_load<K>(v, x + t * C, C);
#pragma unroll
        for (int k = 0; k < K; k++) {
            unsigned i = 8 * (lane_index() + 32 * (unsigned)k);
            float w[8];

            if (i >= C)
                continue;
            load8(w, weight + i);
#pragma unroll
            for (int j = 0; j < 8; j++) {
                v[k][j] = (v[k][j] - m) * r;
                along[k][j] += g[k][j] * v[k][j];
                plain[k][j] += g[k][j];
                g[k][j] *= w[j];
                sum_g += g[k][j];
                sum_gv += g[k][j] * v[k][j];
            }
        }
        sum_g = warp_sum(sum_g) / (float)C;
        sum_gv = warp_sum(sum_gv) / (float)C;
#pragma unroll
        for (int k = 0; k < K; k++)
#pragma unroll
            for (int j = 0; j < 8; j++)
                g[k][j] = r * (g[k][j] - sum_g - v[k][j] * sum_gv);
        row_store<K>(dx + t * C, g, C);
    }
    for (unsigned w = 0; w < WARPS; w++) {
        if (warp_index() == w) {
#pragma unroll
            for (int k = 0; k < K; k++) {
                unsigned i = 8 * (lane_index() + 32 * (unsigned)k);

                if (i >= C)
                    continue;
#pragma unroll
                for (int j = 0; j < 8; j++) {
                    shared[i + (unsigned)j] = along[k][j] + (w ? shared[i + (unsigned)j] : 0);
                    shared[C + i + (unsigned)j] =
                        plain[k][j] + (w ? shared[C + i + (unsigned)j] : 0);
                }
            }
        }
        block_barrier();
    }
    for (unsigned i = thread_index(); i < 2 * C; i += 32 * WARPS)
        part[(size_t)block_index() * 2 * C + i] = shared[i];
}

struct work {
    void *dx;
    float *part;
    const void *dout, *x;
    const float *mean, *rstd, *weight;
    size_t T, C, n_parts;
};

template <int K, class E> static void launch(struct dnas_cuda *d, const struct work *w)
{
    LAUNCH(d, (layernorm_bwd_kernel<K, E>), w->n_parts, 32 * WARPS, 2 * w->C * sizeof(float),
           (E *)w->dx, w->part, (const E *)w->dout, (const E *)w->x, w->mean, w->rstd, w->weight,
           w->T, (unsigned)w->C);
}

template <class E> static void of_type(struct dnas_cuda *d, const struct work *w)
{
    switch (ROW_PIECES(w->C)) {
    case 1:
        launch<1, E>(d, w);
        break;
    case 2:
        launch<2, E>(d, w);
        break;
    case 3:
        launch<3, E>(d, w);
        break;
    case 4:
        launch<4, E>(d, w);
        break;
    }
}

size_t dnas_cuda_layernorm_bwd_scratch(size_t C)
{
    return MOST_BLOCKS * 2 * C * sizeof(float);
}

void dnas_cuda_layernorm_bwd(struct dnas_cuda *d, void *dx, float *dweight, float *dbias,
                             const void *dout, const void *x, const float *mean, const float *rstd,
                             const float *weight, size_t T, size_t C, enum dnas_cuda_type type)
{
    struct work w = {dx, nullptr, dout, x, mean, rstd, weight, T, C, (T + WARPS - 1) / WARPS};

    if (!dnas_cuda_enter(d) || T == 0 || C == 0)
        return;
    if (C % 8 != 0 || ROW_PIECES(C) > MOST_PIECES) {
        CUDA_FAIL(d, "rows of %zu: not a multiple of 8, or more than 1024", C);
        return;
    }
    if (w.n_parts > MOST_BLOCKS)
        w.n_parts = MOST_BLOCKS;
    if (!(w.part = (float *)dnas_cuda_scratch(d, w.n_parts * 2 * C * sizeof(*w.part))))
        return;
    if (type == DNAS_CUDA_BF16)
        of_type<bf16>(d, &w);
    else
        of_type<float>(d, &w);
    dnas_cuda_add_parts(d, dweight, w.part, w.n_parts, C, 2 * C);
    dnas_cuda_add_parts(d, dbias, w.part + C, w.n_parts, C, 2 * C);
}
