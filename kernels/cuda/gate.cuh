/* SPDX-License-Identifier: MIT
 *
 * gate.cuh - the gated product in one kernel, where there is one.
 */
#ifndef DNAS_CUDA_GATE_CUH
#define DNAS_CUDA_GATE_CUH

#include "kernels/cuda/device.cuh"

/* out = gelu(x z^T) (x g^T), z and g being the first and the second F rows of weights, on GPUs of
 * compute capability 9.0; sums and gates in f32.  A row's bits depend on that row alone.
 *   out  [T,F]      x  [T,I]      weights  [2F,I]
 * F and I are multiples of 8, none of them is 0, and T is below 2^31. */
void dnas_cuda_gate_sm90(struct dnas_cuda *d, bf16 *out, const bf16 *x, const bf16 *weights,
                         size_t T, size_t F, size_t I);

#endif
