/* SPDX-License-Identifier: MIT
 *
 * product.h - products of activations with a network's weights, in its precision.
 */
#ifndef DNAS_PRODUCT_H
#define DNAS_PRODUCT_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Rows that are narrowed to bf16 at a time: their copy is then small. */
#define DNAS_PRODUCT_ROWS 512

/* A copy of n weights in bf16; free with free(). */
uint16_t *dnas_narrowed(const float *w, size_t n);

/* out = y w^T + bias + residual, as dnas_cpu_linear_fwd.
 *   w16     bf16 [O,I]  w in bf16: the product is one of bf16 with f32 sums;  NULL: f32
 *   narrow  bf16 [DNAS_PRODUCT_ROWS,I]  scratch for it */
void dnas_product(float *out, const float *y, const float *w, const uint16_t *w16,
                  const float *bias, const float *residual, size_t N, size_t O, size_t I,
                  uint16_t *narrow);

#ifdef __cplusplus
}
#endif
#endif
