/* SPDX-License-Identifier: MIT
 *
 * shortconv.c - causal convolutions of three taps, and products of columns.
 * Contract: kernels.h.
 */
#include "kernels/kernels.h"

#include "kernels/cpu/simd.h"

#define COLUMNS 256 /* at a time: their taps stay in cache */

INLINE void dnas_cpu_shortconv_fwd_body(float *out, const float *x, const float *w,
                                        const float *bias, size_t before, size_t T, size_t C)
{
    for (size_t from = 0; from < C; from += COLUMNS) {
        size_t n = C - from < COLUMNS ? C - from : COLUMNS;
        float tap[3][COLUMNS];

        for (size_t i = 0; i < n; i++)
            for (size_t k = 0; k < 3; k++)
                tap[k][i] = w[3 * (from + i) + k];
        for (size_t t = T; t-- > 0;) {
            const float *now = x + t * C + from;
            float *to = out + t * C + from;

            if (t + before >= 2)
                for (size_t i = 0; i < n; i++)
                    to[i] = bias[from + i] + tap[0][i] * (now - 2 * C)[i] +
                            tap[1][i] * (now - C)[i] + tap[2][i] * now[i];
            else if (t + before == 1)
                for (size_t i = 0; i < n; i++)
                    to[i] = bias[from + i] + tap[1][i] * (now - C)[i] + tap[2][i] * now[i];
            else
                for (size_t i = 0; i < n; i++)
                    to[i] = bias[from + i] + tap[2][i] * now[i];
        }
    }
}

DNAS_VERSIONS(dnas_cpu_shortconv_fwd,
              (float *out, const float *x, const float *w, const float *bias, size_t before,
               size_t T, size_t C),
              (out, x, w, bias, before, T, C))

INLINE void dnas_cpu_shortconv_bwd_body(float *dx, const float *dout, const float *w, size_t T,
                                        size_t C)
{
    for (size_t t = 0; t < T; t++)
        for (size_t i = 0; i < C; i++) {
            const float *d = dout + t * C + i;
            float sum = w[3 * i + 2] * d[0];

            if (t + 1 < T)
                sum += w[3 * i + 1] * d[C];
            if (t + 2 < T)
                sum += w[3 * i] * d[2 * C];
            dx[t * C + i] = sum;
        }
}

DNAS_VERSIONS(dnas_cpu_shortconv_bwd,
              (float *dx, const float *dout, const float *w, size_t T, size_t C),
              (dx, dout, w, T, C))

INLINE void dnas_cpu_shortconv_bwd_weight_body(float *dw, float *dbias, const float *dout,
                                               const float *x, size_t T, size_t C)
{
    for (size_t from = 0; from < C; from += COLUMNS) {
        size_t n = C - from < COLUMNS ? C - from : COLUMNS;
        double tap[3][COLUMNS] = {{0}}, plain[COLUMNS] = {0};

        for (size_t t = 0; t < T; t++) {
            const float *d = dout + t * C + from, *now = x + t * C + from;

            for (size_t i = 0; i < n; i++)
                plain[i] += (double)d[i];
            for (size_t k = 0; k < 3 && k <= t; k++) {
                const float *then = now - k * C;

                for (size_t i = 0; i < n; i++)
                    tap[2 - k][i] += (double)d[i] * (double)then[i];
            }
        }
        for (size_t i = 0; i < n; i++) {
            dbias[from + i] += (float)plain[i];
            for (size_t k = 0; k < 3; k++)
                dw[3 * (from + i) + k] += (float)tap[k][i];
        }
    }
}

DNAS_VERSIONS(dnas_cpu_shortconv_bwd_weight,
              (float *dw, float *dbias, const float *dout, const float *x, size_t T, size_t C),
              (dw, dbias, dout, x, T, C))

INLINE void dnas_cpu_multiply_body(float *out, const float *a, const float *b, size_t N, size_t C,
                                   size_t ld_out, size_t ld_a, size_t ld_b)
{
    for (size_t row = 0; row < N; row++)
        for (size_t i = 0; i < C; i++)
            out[row * ld_out + i] = a[row * ld_a + i] * b[row * ld_b + i];
}

DNAS_VERSIONS(dnas_cpu_multiply,
              (float *out, const float *a, const float *b, size_t N, size_t C, size_t ld_out,
               size_t ld_a, size_t ld_b),
              (out, a, b, N, C, ld_out, ld_a, ld_b))
