/* SPDX-License-Identifier: MIT
 *
 * gate.cu - a linear operation with the gated GELU behind it.  Contract: kernels/cuda.h.
 */
#include "kernels/cuda/gate.cuh"

void dnas_cuda_linear_geglu_fwd(struct dnas_cuda *d, void *out, void *wide, const void *x,
                                const void *w, size_t T, size_t F, size_t I,
                                enum dnas_cuda_type type)
{
    if (!dnas_cuda_enter(d) || T == 0 || F == 0)
        return;
    if (F % 8 != 0 || I % 8 != 0 || I == 0) {
        CUDA_FAIL(d, "a gated product of %zu and %zu columns: not multiples of 8", I, F);
        return;
    }
    if (type == DNAS_CUDA_BF16 && d->sm90) {
        dnas_cuda_gate_sm90(d, (bf16 *)out, (const bf16 *)x, (const bf16 *)w, T, F, I);
        return;
    }
    dnas_cuda_linear_fwd(d, wide, x, w, nullptr, nullptr, T, 2 * F, I, type);
    dnas_cuda_geglu_fwd(d, out, wide, T, F, type);
}
