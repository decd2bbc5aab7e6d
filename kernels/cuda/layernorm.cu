/* SPDX-License-Identifier: MIT
 *
 * layernorm.cu - layer normalisation.  Contract: kernels/cuda.h.
 *
 * A row a warp, held in registers: it is read once, and its variance is that of the
 * centred values.  Rows go on in steps of the grid.
 */
#include "kernels/cuda/device.cuh"
#include "kernels/cuda/rows.cuh"

#define WARPS 8

template <int K, class E>
__global__ static void __launch_bounds__(32 * WARPS)
    layernorm_fwd_kernel(E *out, float *mean, float *rstd, const E *x, const float *weight,
                         const float *bias, size_t T, unsigned C, float eps)
{
    for (size_t t = (size_t)block_index() * WARPS + warp_index(); t < T;
         t += (size_t)n_blocks() * WARPS) {
        float v[K][8], m, r;

        row_load<K>(v, x + t * C, C);
        m = row_centre<K>(v, C);
        r = row_scale<K>(v, weight, bias, C, eps);
        row_store<K>(out + t * C, v, C);
        if (lane_index() == 0) {
            if (mean)
                mean[t] = m;
            if (rstd)
                rstd[t] = r;
        }
    }
}

template <int K, class E>
static void launch(struct dnas_cuda *d, void *out, float *mean, float *rstd, const void *x,
                   const float *weight, const float *bias, size_t T, size_t C, float eps)
{
    LAUNCH(d, (layernorm_fwd_kernel<K, E>), dnas_cuda_grid(T, WARPS), 32 * WARPS, 0, (E *)out, mean,
           rstd, (const E *)x, weight, bias, T, (unsigned)C, eps);
}

template <class E>
static void of_type(struct dnas_cuda *d, void *out, float *mean, float *rstd, const void *x,
                    const float *weight, const float *bias, size_t T, size_t C, float eps)
{
    switch (ROW_PIECES(C)) {
    case 1:
        launch<1, E>(d, out, mean, rstd, x, weight, bias, T, C, eps);
        break;
    case 2:
        launch<2, E>(d, out, mean, rstd, x, weight, bias, T, C, eps);
        break;
    case 3:
        launch<3, E>(d, out, mean, rstd, x, weight, bias, T, C, eps);
        break;
    case 4:
        launch<4, E>(d, out, mean, rstd, x, weight, bias, T, C, eps);
        break;
    }
}

void dnas_cuda_layernorm_fwd(struct dnas_cuda *d, void *out, float *mean, float *rstd,
                             const void *x, const float *weight, const float *bias, size_t T,
                             size_t C, float eps, enum dnas_cuda_type type)
{
    if (!dnas_cuda_enter(d) || T == 0 || C == 0)
        return;
    if (C % 8 != 0 || ROW_PIECES(C) > MOST_PIECES)
        CUDA_FAIL(d, "rows of %zu: not a multiple of 8, or more than 1024", C);
    else if (type == DNAS_CUDA_BF16)
        of_type<bf16>(d, out, mean, rstd, x, weight, bias, T, C, eps);
    else
        of_type<float>(d, out, mean, rstd, x, weight, bias, T, C, eps);
}
