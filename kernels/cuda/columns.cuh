/* SPDX-License-Identifier: MIT
 *
 * columns.cuh - sums over rows, in an order that the sizes fix: parts first, then the
 * parts in their order.
 */
#ifndef DNAS_CUDA_COLUMNS_CUH
#define DNAS_CUDA_COLUMNS_CUH

#include "kernels/cuda/training.cuh"

/* sum[i] += part[0][i] + part[1][i] + ... for i < n, in double; rows of `part` are
 * `apart` apart.  */
void dnas_cuda_add_parts(struct dnas_cuda *d, float *sum, const float *part, size_t n_parts,
                         size_t n, size_t apart);

/* sum += the rows of x.  Uses the scratch of the device.
 *   sum  f32 [C]      x  [T,C] of `type` */
void dnas_cuda_columns_sum(struct dnas_cuda *d, float *sum, const void *x, size_t T, size_t C,
                           enum dnas_cuda_type type);

#endif
