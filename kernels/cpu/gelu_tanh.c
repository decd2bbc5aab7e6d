/* SPDX-License-Identifier: MIT
 *
 * gelu_tanh.c - the approximation of the Gaussian error linear unit by tanh
 * (Hendrycks and Gimpel 2016), as GPT-2 has it.  Contract: kernels.h.
 *
 * (1 + tanh y) / 2 is 1 / (1 + e^{-2y}), which does not cancel where y is far
 * below 0.
 */
#include "kernels/kernels.h"

#include "kernels/cpu/simd.h"

#define ROOT 0.7978845608028654f /* sqrt(2 / pi) */
#define CUBE 0.044715f

/* e^{-2y}; a NaN stays one. */
INLINE v16 tail(v16 z)
{
    v16 t = -2 * ROOT * (z + CUBE * z * z * z);

    return v16_exp(v16_select(t > 80.0f, v16_all(80.0f), t));
}

INLINE v16 gelu_tanh(v16 z)
{
    return z / (1.0f + tail(z));
}

INLINE v16 slope(v16 z)
{
    v16 end = v16_select(z > 0.0f, v16_all(13.0f), v16_all(-13.0f));
    v16 u = v16_select(v16_abs(z) > 13.0f, end, z);
    v16 e = tail(u), s = 1.0f / (1.0f + e);

    return s + u * s * (e * s) * (2 * ROOT) * (1.0f + 3 * CUBE * u * u);
}

INLINE void dnas_cpu_gelu_tanh_fwd_body(float *out, const float *x, size_t n)
{
    size_t i = 0;

    for (; i + LANES <= n; i += LANES)
        v16_store(out + i, gelu_tanh(v16_load(x + i)));
    if (i < n) {
        v16 z = gelu_tanh(v16_load_some(x + i, n - i, 0));

        memcpy(out + i, &z, (n - i) * sizeof(*out));
    }
}

DNAS_VERSIONS(dnas_cpu_gelu_tanh_fwd, (float *out, const float *x, size_t n), (out, x, n))

INLINE void dnas_cpu_gelu_tanh_bwd_body(float *dx, const float *dout, const float *x, size_t n)
{
    size_t i = 0;

    for (; i + LANES <= n; i += LANES)
        v16_store(dx + i, v16_load(dout + i) * slope(v16_load(x + i)));
    if (i < n) {
        v16 d = v16_load_some(dout + i, n - i, 0) * slope(v16_load_some(x + i, n - i, 0));

        memcpy(dx + i, &d, (n - i) * sizeof(*dx));
    }
}

DNAS_VERSIONS(dnas_cpu_gelu_tanh_bwd, (float *dx, const float *dout, const float *x, size_t n),
              (dx, dout, x, n))
