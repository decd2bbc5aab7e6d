/* SPDX-License-Identifier: MIT
 *
 * adamw.cu - a step of Adam or AdamW, and the norm of what drives it.
 * Contract: kernels/cuda.h.
 *
 * Operation for operation what kernels/cpu/adamw.c does, none of them fused.
 */
#include "kernels/cuda/training.cuh"
#include "kernels/cuda/exact.cuh"

#define THREADS 256

__global__ static void __launch_bounds__(THREADS)
    adamw_step_kernel(float *w, float *m, float *v, const float *g, uint16_t *narrow, size_t n,
                      struct dnas_adamw s)
{
    for (size_t i = (size_t)block_index() * THREADS + thread_index(); i < n;
         i += (size_t)n_blocks() * THREADS) {
        float weight = exact_multiply(w[i], s.keep);
        float slope =
            exact_add(exact_multiply(g[i], s.gradient_scale), exact_multiply(weight, s.l2));
        float mean =
            exact_add(exact_multiply(m[i], s.beta1), exact_multiply(slope, s.one_minus_beta1));
        float square = exact_add(exact_multiply(v[i], s.beta2),
                                 exact_multiply(exact_multiply(slope, slope), s.one_minus_beta2));
        float below = exact_add(sqrtf(square) / s.root_correction2, s.eps);

        weight = exact_add(weight, -(exact_multiply(s.rate, mean) / below));
        w[i] = weight;
        m[i] = mean;
        v[i] = square;
        if (narrow)
            narrow[i] = (uint16_t)bf16_pack(weight, 0);
    }
}

void dnas_cuda_adamw_step(struct dnas_cuda *d, float *w, float *m, float *v, const float *g,
                          uint16_t *narrow, size_t n, const struct dnas_adamw *s)
{
    if (dnas_cuda_enter(d) && n > 0)
        LAUNCH(d, adamw_step_kernel, dnas_cuda_grid(n, THREADS), THREADS, 0, w, m, v, g, narrow, n,
               *s);
}

#define SUM_BLOCKS 1024

/* One sum a block. */
__global__ static void __launch_bounds__(THREADS)
    sum_squares_kernel(double *part, const float *x, size_t n)
{
    double *of_warp = (double *)shared_memory();
    double sum = 0;

    for (size_t i = (size_t)block_index() * THREADS + thread_index(); i < n;
         i += (size_t)n_blocks() * THREADS)
        sum += (double)x[i] * (double)x[i];
    sum = warp_sum(sum);
    if (lane_index() == 0)
        of_warp[warp_index()] = sum;
    block_barrier();
    if (thread_index() == 0) {
        for (unsigned k = 1; k < THREADS / 32; k++)
            sum += of_warp[k];
        part[block_index()] = sum;
    }
}

/* One warp adds up the blocks' sums. */
__global__ static void __launch_bounds__(32)
    sum_parts_kernel(double *out, const double *part, unsigned n_parts)
{
    double sum = 0;

    for (unsigned k = thread_index(); k < n_parts; k += 32)
        sum += part[k];
    sum = warp_sum(sum);
    if (thread_index() == 0)
        *out = sum;
}

size_t dnas_cuda_sum_squares_scratch(void)
{
    return SUM_BLOCKS * sizeof(double);
}

void dnas_cuda_sum_squares(struct dnas_cuda *d, double *out, const float *x, size_t n)
{
    size_t n_parts = n / THREADS + 1;
    double *part;

    if (!dnas_cuda_enter(d))
        return;
    if (n_parts > SUM_BLOCKS)
        n_parts = SUM_BLOCKS;
    if (!(part = (double *)dnas_cuda_scratch(d, n_parts * sizeof(*part))))
        return;
    LAUNCH(d, sum_squares_kernel, n_parts, THREADS, THREADS / 32 * sizeof(double), part, x, n);
    LAUNCH(d, sum_parts_kernel, 1, 32, 0, out, part, (unsigned)n_parts);
}
