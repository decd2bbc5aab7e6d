/* SPDX-License-Identifier: MIT
 *
 * adamw.c - a step of Adam or AdamW, and the norm of what drives it.  Contract: kernels.h.
 *
 * Operation for operation what PyTorch does in f32, so that its numbers come
 * out; an element depends on nothing but itself, so the bits do not depend on
 * how a vector is cut.
 */
#include "kernels/kernels.h"

#include <math.h>
#if DNAS_ISA > 0
#include <immintrin.h>
#endif

#include "kernels/cpu/simd.h"

/* The square roots, correctly rounded on every processor; a loop over sqrtf
 * would stay one, for the sake of errno. */
INLINE v16 v16_sqrt(v16 x)
{
    float lane[LANES];

#if DNAS_ISA == 2
    _mm512_storeu_ps(lane, _mm512_sqrt_ps((__m512)x));
#elif DNAS_ISA == 1
    v16_store(lane, x);
    for (int i = 0; i < LANES; i += 8)
        _mm256_storeu_ps(lane + i, _mm256_sqrt_ps(_mm256_loadu_ps(lane + i)));
#else
    v16_store(lane, x);
    for (int i = 0; i < LANES; i++)
        lane[i] = sqrtf(lane[i]);
#endif
    return v16_load(lane);
}

INLINE void step(float *w, float *m, float *v, const float *g, size_t n, const struct dnas_adamw *s)
{
    v16 weight = v16_load_some(w, n, 0), mean = v16_load_some(m, n, 0);
    v16 square = v16_load_some(v, n, 0), slope = v16_load_some(g, n, 0) * s->gradient_scale;

    weight = weight * s->keep;
    slope = slope + weight * s->l2;
    mean = mean * s->beta1 + slope * s->one_minus_beta1;
    square = square * s->beta2 + slope * slope * s->one_minus_beta2;
    weight = weight - s->rate * mean / (v16_sqrt(square) / s->root_correction2 + s->eps);
    memcpy(w, &weight, n * sizeof(*w));
    memcpy(m, &mean, n * sizeof(*m));
    memcpy(v, &square, n * sizeof(*v));
}

INLINE void dnas_cpu_adamw_step_body(float *w, float *m, float *v, const float *g, size_t n,
                                     const struct dnas_adamw *s)
{
    size_t i = 0;

    for (; i + LANES <= n; i += LANES)
        step(w + i, m + i, v + i, g + i, LANES, s);
    if (i < n)
        step(w + i, m + i, v + i, g + i, n - i, s);
}

DNAS_VERSIONS(dnas_cpu_adamw_step,
              (float *w, float *m, float *v, const float *g, size_t n, const struct dnas_adamw *s),
              (w, m, v, g, n, s))

#define SUMS 16 /* doubles side by side, added up in order */

INLINE void dnas_cpu_sum_squares_body(double *out, const float *x, size_t n)
{
    double lane[SUMS] = {0}, sum = 0;
    size_t i = 0;

    for (; i + SUMS <= n; i += SUMS)
        for (size_t k = 0; k < SUMS; k++)
            lane[k] += (double)x[i + k] * (double)x[i + k];
    for (size_t k = 0; i + k < n; k++)
        lane[k] += (double)x[i + k] * (double)x[i + k];
    for (size_t k = 0; k < SUMS; k++)
        sum += lane[k];
    *out = sum;
}

DNAS_VERSIONS(dnas_cpu_sum_squares, (double *out, const float *x, size_t n), (out, x, n))
