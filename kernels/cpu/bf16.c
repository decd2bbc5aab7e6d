/* SPDX-License-Identifier: MIT
 *
 * bf16.c - f32 to bfloat16.  Contract: kernels.h.
 */
#include "kernels/kernels.h"

#include "kernels/cpu/simd.h"

/* Written for the vectoriser; the same rounding as dnas_bf16_from_f32. */
INLINE void dnas_cpu_bf16_from_f32_body(uint16_t *out, const float *x, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        uint32_t u;

        memcpy(&u, &x[i], sizeof(u));
        out[i] = (u & 0x7fffffffu) > 0x7f800000u
                     ? (uint16_t)(u >> 16 | 0x40) /* a NaN: rounding could make it infinite */
                     : (uint16_t)((u + 0x7fffu + (u >> 16 & 1)) >> 16);
    }
}

DNAS_VERSIONS(dnas_cpu_bf16_from_f32, (uint16_t * out, const float *x, size_t n), (out, x, n))
