/* SPDX-License-Identifier: MIT
 *
 * layernorm.c - layer normalisation, with the residual added on the way.
 *
 * Contract: kernels.h.  Two passes over a row, sums in double: at C = 768 a
 * one-pass float variance loses four digits when |mean| is large beside the
 * spread.
 */
#include "kernels/kernels.h"

#include <math.h>

#include "kernels/cpu/simd.h"

#define SUMS 8 /* doubles side by side; a fixed tree adds them up */

INLINE double sum_of(const double *lane)
{
    return ((lane[0] + lane[4]) + (lane[2] + lane[6])) +
           ((lane[1] + lane[5]) + (lane[3] + lane[7]));
}

INLINE double row_sum(const float *x, size_t C, double minus, int squared)
{
    double lane[SUMS] = {0};
    size_t i = 0;

    for (; i + SUMS <= C; i += SUMS)
        for (size_t k = 0; k < SUMS; k++) {
            double d = (double)x[i + k] - minus;

            lane[k] += squared ? d * d : d;
        }
    for (size_t k = 0; i + k < C; k++) {
        double d = (double)x[i + k] - minus;

        lane[k] += squared ? d * d : d;
    }
    return sum_of(lane);
}

INLINE void dnas_cpu_layernorm_fwd_body(float *out, float *mean, float *rstd, const float *x,
                                        const float *residual, const float *weight,
                                        const float *bias, size_t N, size_t C, float eps)
{
    for (size_t row = 0; row < N; row++) {
        const float *in = x + row * C;
        float *to = out + row * C;
        double m, r;
        float mf, rf;

        if (residual)
            for (size_t i = 0; i < C; i++)
                to[i] = in[i] + residual[row * C + i];
        else if (to != in)
            memcpy(to, in, C * sizeof(*to));
        m = row_sum(to, C, 0, 0) / (double)C;
        r = 1 / sqrt(row_sum(to, C, m, 1) / (double)C + (double)eps);
        mf = (float)m;
        rf = (float)r;
        for (size_t i = 0; i < C; i++)
            to[i] = (to[i] - mf) * rf * weight[i] + (bias ? bias[i] : 0);
        if (mean)
            mean[row] = mf;
        if (rstd)
            rstd[row] = rf;
    }
}

DNAS_VERSIONS(dnas_cpu_layernorm_fwd,
              (float *out, float *mean, float *rstd, const float *x, const float *residual,
               const float *weight, const float *bias, size_t N, size_t C, float eps),
              (out, mean, rstd, x, residual, weight, bias, N, C, eps))

/* dx = rstd (g - mean(g) - xhat mean(g xhat)) with g = dout weight. */
INLINE void dnas_cpu_layernorm_bwd_body(float *dx, const float *dout, const float *x,
                                        const float *mean, const float *rstd, const float *weight,
                                        size_t N, size_t C)
{
    for (size_t row = 0; row < N; row++) {
        const float *in = x + row * C, *d = dout + row * C;
        float *to = dx + row * C, m = mean[row], r = rstd[row];
        double plain[SUMS] = {0}, along[SUMS] = {0};
        float mean_g, mean_gx;
        size_t i = 0;

        for (; i + SUMS <= C; i += SUMS)
            for (size_t k = 0; k < SUMS; k++) {
                double g = (double)d[i + k] * (double)weight[i + k];

                plain[k] += g;
                along[k] += g * (double)((in[i + k] - m) * r);
            }
        for (size_t k = 0; i + k < C; k++) {
            double g = (double)d[i + k] * (double)weight[i + k];

            plain[k] += g;
            along[k] += g * (double)((in[i + k] - m) * r);
        }
        mean_g = (float)(sum_of(plain) / (double)C);
        mean_gx = (float)(sum_of(along) / (double)C);
        for (i = 0; i < C; i++)
            to[i] = r * (d[i] * weight[i] - mean_g - (in[i] - m) * r * mean_gx);
    }
}

DNAS_VERSIONS(dnas_cpu_layernorm_bwd,
              (float *dx, const float *dout, const float *x, const float *mean, const float *rstd,
               const float *weight, size_t N, size_t C),
              (dx, dout, x, mean, rstd, weight, N, C))

#define COLUMNS 64 /* at a time: their sums stay in cache */

INLINE void dnas_cpu_layernorm_bwd_weight_body(float *dweight, float *dbias, const float *dout,
                                               const float *x, const float *mean, const float *rstd,
                                               size_t N, size_t C)
{
    for (size_t from = 0; from < C; from += COLUMNS) {
        size_t n = C - from < COLUMNS ? C - from : COLUMNS;
        double along[COLUMNS] = {0}, plain[COLUMNS] = {0};

        for (size_t row = 0; row < N; row++) {
            const float *d = dout + row * C + from, *in = x + row * C + from;

            for (size_t i = 0; i < n; i++) {
                along[i] += (double)d[i] * (double)((in[i] - mean[row]) * rstd[row]);
                plain[i] += (double)d[i];
            }
        }
        for (size_t i = 0; i < n; i++) {
            dweight[from + i] += (float)along[i];
            if (dbias)
                dbias[from + i] += (float)plain[i];
        }
    }
}

DNAS_VERSIONS(dnas_cpu_layernorm_bwd_weight,
              (float *dweight, float *dbias, const float *dout, const float *x, const float *mean,
               const float *rstd, size_t N, size_t C),
              (dweight, dbias, dout, x, mean, rstd, N, C))
