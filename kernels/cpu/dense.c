/* SPDX-License-Identifier: MIT
 *
 * dense.c - one vector through a matrix.  Contract: kernels.h.
 *
 * Sixteen outputs stand side by side in a register, so that a sum runs over its
 * inputs in their order whatever the width of the vectors; two halves of the
 * inputs run beside each other, for else each addition waits for the one before.
 */
#include "kernels/kernels.h"

#include "common/err.h"
#include "kernels/cpu/simd.h"

/* Registers of outputs at a time: with two sums each, eight in flight. */
#define BAND 4

INLINE void band(float *out, const float *w, const float *x, size_t O, size_t I, size_t n)
{
    v16 even[BAND], odd[BAND];

    for (size_t b = 0; b < n; b++)
        even[b] = odd[b] = v16_all(0);
    for (size_t i = 0; i + 1 < I; i += 2) {
        for (size_t b = 0; b < n; b++) {
            even[b] += x[i] * v16_load(w + i * O + b * LANES);
            odd[b] += x[i + 1] * v16_load(w + (i + 1) * O + b * LANES);
        }
    }
    for (size_t b = 0; b < n; b++) {
        if (I % 2)
            even[b] += x[I - 1] * v16_load(w + (I - 1) * O + b * LANES);
        v16_store(out + b * LANES, v16_load(out + b * LANES) + (even[b] + odd[b]));
    }
}

INLINE void dnas_cpu_dense_add_body(float *out, const float *w, const float *x, size_t O, size_t I)
{
    size_t o = 0;

    if (O % LANES != 0)
        DNAS_BUG("%zu outputs", O);
    for (; o + BAND * LANES <= O; o += BAND * LANES)
        band(out + o, w + o, x, O, I, BAND);
    for (; o < O; o += LANES)
        band(out + o, w + o, x, O, I, 1);
}

DNAS_VERSIONS(dnas_cpu_dense_add, (float *out, const float *w, const float *x, size_t O, size_t I),
              (out, w, x, O, I))
