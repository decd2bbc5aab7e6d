/* SPDX-License-Identifier: MIT
 *
 * product.c - products in a network's precision.  Contract: product.h.
 */
#include "common/product.h"

#include "common/err.h"
#include "common/xmem.h"
#include "kernels/kernels.h"

uint16_t *dnas_narrowed(const float *w, size_t n)
{
    uint16_t *to = dnas_xalloc64(n, sizeof(*to));

    dnas_cpu_bf16_from_f32(to, w, n);
    return to;
}

void dnas_product(float *out, const float *y, const float *w, const uint16_t *w16,
                  const float *bias, const float *residual, size_t N, size_t O, size_t I,
                  uint16_t *narrow)
{
    if (!w16) {
        dnas_cpu_linear_fwd(out, y, w, bias, residual, N, O, I);
        return;
    }
    for (size_t from = 0; from < N; from += DNAS_PRODUCT_ROWS) {
        size_t n = N - from < DNAS_PRODUCT_ROWS ? N - from : DNAS_PRODUCT_ROWS;

        dnas_cpu_bf16_from_f32(narrow, y + from * I, n * I);
        if (dnas_cpu_matmul_bf16(out + from * O, narrow, w16, n, O, I, 0, 1, 0) != 0)
            DNAS_BUG("no product of bf16, which was there a moment ago");
    }
    dnas_cpu_add_rows(out, bias, residual, N, O);
}
