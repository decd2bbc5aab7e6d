/* SPDX-License-Identifier: MIT
 *
 * linear_bwd.cu - the linear operation, backward.  Contract: kernels/cuda.h.
 *
 * The gradient of weights is a sum over all tokens with a result too small to keep the
 * device busy.  It is cut into equal stretches of tokens, a product each, and what is
 * left over; their results are added in order.
 */
#include "kernels/cuda/columns.cuh"
#include "kernels/cuda/product.cuh"

#define MOST_STRETCHES 8
#define LEAST_TOKENS 1024 /* of a stretch */
#define STRETCH_STEP 64   /* whose length is a multiple of it */

void dnas_cuda_linear_bwd(struct dnas_cuda *d, void *dx, const void *dout, const void *w,
                          const void *add, size_t T, size_t O, size_t I, enum dnas_cuda_type type)
{
    struct dnas_cuda_product p = {};

    if (!dnas_cuda_enter(d))
        return;
    p.out = dx;
    p.a = dout;
    p.b = w;
    p.add = add;
    p.M = T;
    p.N = I;
    p.K = O;
    p.type = p.out_type = type;
    dnas_cuda_multiply(d, &p);
}

/* How many equal stretches T tokens are cut into; at most one more is left over. */
static size_t n_stretches(size_t T)
{
    size_t n = T / LEAST_TOKENS;

    return n < MOST_STRETCHES ? n : MOST_STRETCHES;
}

size_t dnas_cuda_linear_bwd_weight_scratch(size_t T, size_t OI)
{
    return (n_stretches(T) + 1) * OI * sizeof(float);
}

void dnas_cuda_linear_bwd_weight(struct dnas_cuda *d, float *dw, float *dbias, const void *dout,
                                 const void *y, size_t T, size_t O, size_t I,
                                 enum dnas_cuda_type type)
{
    size_t each = type == DNAS_CUDA_BF16 ? 2 : 4, n = n_stretches(T), length = 0, n_parts;
    struct dnas_cuda_product p = {};
    float *part;

    if (!dnas_cuda_enter(d) || T == 0 || O == 0 || I == 0)
        return;
    if (n > 0)
        length = T / n / STRETCH_STEP * STRETCH_STEP;
    n_parts = n + (n * length < T);
    if (!(part = (float *)dnas_cuda_scratch(d, n_parts * O * I * sizeof(*part))))
        return;
    p.out = part;
    p.a = dout;
    p.b = y;
    p.M = O;
    p.N = I;
    p.K = length;
    p.a_transposed = p.sum_of_tokens = true;
    p.type = type;
    p.out_type = DNAS_CUDA_F32;
    p.n_batches = n;
    if (n > 0)
        dnas_cuda_multiply(d, &p);
    p.out = part + n * O * I;
    p.a = (const char *)dout + n * length * O * each;
    p.b = (const char *)y + n * length * I * each;
    p.K = T - n * length;
    p.n_batches = 1;
    if (p.K > 0)
        dnas_cuda_multiply(d, &p);
    if (d->error[0])
        return;
    dnas_cuda_add_parts(d, dw, part, n_parts, O * I, O * I);
    if (dbias)
        dnas_cuda_columns_sum(d, dbias, dout, T, O, type);
}
