/* SPDX-License-Identifier: MIT
 *
 * embedding.cu - rows of a table, shifted and normalised.  Contract: kernels/cuda.h.
 *
 * A row a warp, as in layernorm.cu; the table (12 MB for 4,096 words) stays in the L2.
 */
#include "kernels/cuda/device.cuh"
#include "kernels/cuda/rows.cuh"

#define WARPS 8

template <int K, class E>
__global__ static void __launch_bounds__(32 * WARPS)
    embedding_fwd_kernel(E *out, const uint16_t *ids, const float *words, const float *shift,
                         const float *weight, const float *bias, size_t T, unsigned C, float eps)
{
    for (size_t t = (size_t)block_index() * WARPS + warp_index(); t < T;
         t += (size_t)n_blocks() * WARPS) {
        float v[K][8], add[K][8];

        row_load<K>(v, words + (size_t)ids[t] * C, C);
        row_load<K>(add, shift, C);
#pragma unroll
        for (int k = 0; k < K; k++)
#pragma unroll
            for (int j = 0; j < 8; j++)
                v[k][j] += add[k][j];
        row_centre<K>(v, C);
        row_scale<K>(v, weight, bias, C, eps);
        row_store<K>(out + t * C, v, C);
    }
}

template <int K, class E>
static void launch(struct dnas_cuda *d, void *out, const uint16_t *ids, const float *words,
                   const float *shift, const float *weight, const float *bias, size_t T, size_t C,
                   float eps)
{
    LAUNCH(d, (embedding_fwd_kernel<K, E>), dnas_cuda_grid(T, WARPS), 32 * WARPS, 0, (E *)out, ids,
           words, shift, weight, bias, T, (unsigned)C, eps);
}

template <class E>
static void of_type(struct dnas_cuda *d, void *out, const uint16_t *ids, const float *words,
                    const float *shift, const float *weight, const float *bias, size_t T, size_t C,
                    float eps)
{
    switch (ROW_PIECES(C)) {
    case 1:
        launch<1, E>(d, out, ids, words, shift, weight, bias, T, C, eps);
        break;
    case 2:
        launch<2, E>(d, out, ids, words, shift, weight, bias, T, C, eps);
        break;
    case 3:
        launch<3, E>(d, out, ids, words, shift, weight, bias, T, C, eps);
        break;
    case 4:
        launch<4, E>(d, out, ids, words, shift, weight, bias, T, C, eps);
        break;
    }
}

void dnas_cuda_embedding_fwd(struct dnas_cuda *d, void *out, const uint16_t *ids,
                             const float *words, const float *shift, const float *weight,
                             const float *bias, size_t T, size_t C, float eps,
                             enum dnas_cuda_type type)
{
    if (!dnas_cuda_enter(d) || T == 0 || C == 0)
        return;
    if (C % 8 != 0 || ROW_PIECES(C) > MOST_PIECES)
        CUDA_FAIL(d, "rows of %zu: not a multiple of 8, or more than 1024", C);
    else if (type == DNAS_CUDA_BF16)
        of_type<bf16>(d, out, ids, words, shift, weight, bias, T, C, eps);
    else
        of_type<float>(d, out, ids, words, shift, weight, bias, T, C, eps);
}
