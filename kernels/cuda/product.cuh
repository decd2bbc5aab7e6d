/* SPDX-License-Identifier: MIT
 *
 * product.cuh - products of matrices by cuBLASLt.
 */
#ifndef DNAS_CUDA_PRODUCT_CUH
#define DNAS_CUDA_PRODUCT_CUH

#include "kernels/cuda/device.cuh"

/* out = a b + bias + add, all row by row; sums in f32.
 *   out   [M,N]  of `out_type`       add   the same, NULL: 0; may be out
 *   a     [M,K], or [K,M] where a_transposed, of `type`
 *   b     [K,N], or [N,K] where b_transposed, of `type`
 *   bias  f32 [N]  NULL: 0
 * Rows are at multiples of 16 bytes.  One of M and K is the number of tokens (K where
 * sum_of_tokens): the algorithm is chosen once for all numbers of tokens. */
struct dnas_cuda_product {
    void *out;
    const void *a, *b, *add;
    const float *bias;
    size_t M, N, K;
    size_t n_batches; /* 2 and more: so many, their a, b and out one after the other; no add, no
                         bias */
    bool a_transposed, b_transposed, sum_of_tokens;
    enum dnas_cuda_type type, out_type;
};

void dnas_cuda_multiply(struct dnas_cuda *d, const struct dnas_cuda_product *p);

/* What products need of a device that is being opened; false after an error. */
bool dnas_cuda_products_new(struct dnas_cuda *d);
void dnas_cuda_products_free(struct dnas_cuda *d);

#endif
