/* SPDX-License-Identifier: MIT
 *
 * cross_entropy.cu - the loss of the true class, and its gradient.
 * Contract: kernels/cuda.h.
 *
 * A row a block.  The true class is kept out of the sum over the others: 1 - p is that
 * sum's share, and log1p of it the loss, so that neither is a difference of numbers
 * near 1.
 */
#include "kernels/cuda/training.cuh"
#include "kernels/cuda/value.cuh"

#define WARPS 8
#define THREADS (32 * WARPS)

template <class E>
__global__ static void __launch_bounds__(THREADS)
    cross_entropy_kernel(E *scores, double *loss, const uint16_t *target, unsigned V, float scale)
{
    double *sum_of = (double *)shared_memory(); /* [WARPS] */
    float *top_of = (float *)(sum_of + WARPS);  /* [WARPS] */
    E *score = scores + (size_t)block_index() * V;
    unsigned y = target[block_index()];
    float top = -INFINITY, own = value_at(score + y), behind, by;
    double others = 0;

    for (unsigned k = thread_index(); k < V; k += THREADS)
        top = fmaxf(top, value_at(score + k));
    top = warp_max(top);
    if (lane_index() == 0)
        top_of[warp_index()] = top;
    block_barrier();
    for (unsigned w = 0; w < WARPS; w++)
        top = fmaxf(top, top_of[w]);
    for (unsigned k = thread_index(); k < V; k += THREADS)
        if (k != y)
            others += (double)expf(value_at(score + k) - top);
    others = warp_sum(others);
    if (lane_index() == 0)
        sum_of[warp_index()] = others;
    block_barrier(); /* and each thread has read the true class' score */
    others = 0;
    for (unsigned w = 0; w < WARPS; w++)
        others += sum_of[w];
    behind = top - own; /* 0 where the true class leads */
    own = expf(-behind);
    by = (float)((double)scale / ((double)own + others));
    for (unsigned k = thread_index(); k < V; k += THREADS)
        value_set(score + k, k == y ? -(float)others * by : expf(value_at(score + k) - top) * by);
    if (thread_index() == 0)
        loss[block_index()] =
            behind <= 0 ? log1p(others) : log((double)own + others) + (double)behind;
}

void dnas_cuda_cross_entropy(struct dnas_cuda *d, void *score, double *loss, const uint16_t *target,
                             size_t n, size_t V, float scale, enum dnas_cuda_type type)
{
    size_t shared = WARPS * (sizeof(double) + sizeof(float));

    if (!dnas_cuda_enter(d) || n == 0)
        return;
    if (type == DNAS_CUDA_BF16)
        LAUNCH(d, (cross_entropy_kernel<bf16>), n, THREADS, shared, (bf16 *)score, loss, target,
               (unsigned)V, scale);
    else
        LAUNCH(d, (cross_entropy_kernel<float>), n, THREADS, shared, (float *)score, loss, target,
               (unsigned)V, scale);
}
