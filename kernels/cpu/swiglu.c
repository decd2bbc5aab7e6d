/* SPDX-License-Identifier: MIT
 *
 * swiglu.c - the sigmoid linear unit with a gate (Shazeer 2020).  Contract:
 * kernels.h.
 */
#include "kernels/kernels.h"

#include "kernels/cpu/simd.h"

/* 1 / (1 + e^-z); where e^-z would leave f32, e^-88 = 6e-39 stands for it. */
INLINE v16 sigmoid(v16 z)
{
    v16 minus = v16_select(z < -88.0f, v16_all(88.0f), -z);

    return 1.0f / (1.0f + v16_exp(minus));
}

/* n of at most LANES elements of one row. */
INLINE void swiglu_some(float *out, const float *z, const float *gate, size_t n)
{
    v16 v = v16_load_some(z, n, 0), o = v * sigmoid(v) * v16_load_some(gate, n, 0);

    memcpy(out, &o, n * sizeof(*out));
}

INLINE void dnas_cpu_swiglu_fwd_body(float *out, const float *x, size_t N, size_t F)
{
    for (size_t row = 0; row < N; row++)
        for (size_t i = 0; i < F; i += LANES) {
            const float *z = x + row * 2 * F + i;

            if (F - i >= LANES)
                swiglu_some(out + row * F + i, z, z + F, LANES);
            else
                swiglu_some(out + row * F + i, z, z + F, F - i);
        }
}

DNAS_VERSIONS(dnas_cpu_swiglu_fwd, (float *out, const float *x, size_t N, size_t F), (out, x, N, F))

INLINE void swiglu_bwd_some(float *dz, float *dgate, const float *dout, const float *z,
                            const float *gate, size_t n)
{
    v16 v = v16_load_some(z, n, 0), d = v16_load_some(dout, n, 0), s = sigmoid(v);
    v16 g = d * v * s;
    v16 slope = d * v16_load_some(gate, n, 0) * s * (1.0f + v * (1.0f - s));

    memcpy(dz, &slope, n * sizeof(*dz));
    memcpy(dgate, &g, n * sizeof(*dgate));
}

INLINE void dnas_cpu_swiglu_bwd_body(float *dx, const float *dout, const float *x, size_t N,
                                     size_t F)
{
    for (size_t row = 0; row < N; row++)
        for (size_t i = 0; i < F; i += LANES) {
            const float *z = x + row * 2 * F + i;
            float *to = dx + row * 2 * F + i;

            if (F - i >= LANES)
                swiglu_bwd_some(to, to + F, dout + row * F + i, z, z + F, LANES);
            else
                swiglu_bwd_some(to, to + F, dout + row * F + i, z, z + F, F - i);
        }
}

DNAS_VERSIONS(dnas_cpu_swiglu_bwd,
              (float *dx, const float *dout, const float *x, size_t N, size_t F),
              (dx, dout, x, N, F))
