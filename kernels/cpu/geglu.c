/* SPDX-License-Identifier: MIT
 *
 * geglu.c - the Gaussian error linear unit (Hendrycks and Gimpel 2016), plain and
 * gated (Shazeer 2020).  Contract: kernels.h.
 */
#include "kernels/kernels.h"

#include "kernels/cpu/simd.h"

INLINE void dnas_cpu_geglu_fwd_body(float *out, const float *x, size_t N, size_t F)
{
    for (size_t row = 0; row < N; row++) {
        const float *z = x + row * 2 * F, *gate = z + F;
        float *to = out + row * F;
        size_t i = 0;

        for (; i + LANES <= F; i += LANES) {
            v16 v = v16_load(z + i);

            v16_store(to + i, v16_gelu(v) * v16_load(gate + i));
        }
        if (i < F) {
            float rest[LANES];
            v16 v = v16_load_some(z + i, F - i, 0);

            v16_store(rest, v16_gelu(v) * v16_load_some(gate + i, F - i, 0));
            memcpy(to + i, rest, (F - i) * sizeof(*to));
        }
    }
}

DNAS_VERSIONS(dnas_cpu_geglu_fwd, (float *out, const float *x, size_t N, size_t F), (out, x, N, F))

/* n of at most LANES elements of one row. */
INLINE void geglu_bwd_some(float *dz, float *dgate, const float *dout, const float *z,
                           const float *gate, size_t n)
{
    float rest[2][LANES];
    v16 v = v16_load_some(z, n, 0), d = v16_load_some(dout, n, 0);

    v16_store(rest[1], d * v16_gelu(v));
    v16_store(rest[0], d * v16_gelu_slope(v) * v16_load_some(gate, n, 0));
    memcpy(dz, rest[0], n * sizeof(*dz));
    memcpy(dgate, rest[1], n * sizeof(*dgate));
}

INLINE void dnas_cpu_geglu_bwd_body(float *dx, const float *dout, const float *x, size_t N,
                                    size_t F)
{
    for (size_t row = 0; row < N; row++)
        for (size_t i = 0; i < F; i += LANES) {
            const float *z = x + row * 2 * F + i;
            float *to = dx + row * 2 * F + i;

            if (F - i >= LANES)
                geglu_bwd_some(to, to + F, dout + row * F + i, z, z + F, LANES);
            else
                geglu_bwd_some(to, to + F, dout + row * F + i, z, z + F, F - i);
        }
}

DNAS_VERSIONS(dnas_cpu_geglu_bwd,
              (float *dx, const float *dout, const float *x, size_t N, size_t F),
              (dx, dout, x, N, F))

INLINE void dnas_cpu_gelu_fwd_body(float *out, const float *x, size_t n)
{
    for (size_t i = 0; i < n; i += LANES) {
        size_t some = n - i < LANES ? n - i : LANES;
        float rest[LANES];

        v16_store(rest, v16_gelu(v16_load_some(x + i, some, 0)));
        memcpy(out + i, rest, some * sizeof(*out));
    }
}

DNAS_VERSIONS(dnas_cpu_gelu_fwd, (float *out, const float *x, size_t n), (out, x, n))

INLINE void dnas_cpu_gelu_bwd_body(float *dx, const float *dout, const float *x, size_t n)
{
    for (size_t i = 0; i < n; i += LANES) {
        size_t some = n - i < LANES ? n - i : LANES;
        float rest[LANES];

        v16_store(rest,
                  v16_load_some(dout + i, some, 0) * v16_gelu_slope(v16_load_some(x + i, some, 0)));
        memcpy(dx + i, rest, some * sizeof(*dx));
    }
}

DNAS_VERSIONS(dnas_cpu_gelu_bwd, (float *dx, const float *dout, const float *x, size_t n),
              (dx, dout, x, n))
