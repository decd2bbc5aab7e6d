/* SPDX-License-Identifier: MIT
 *
 * softmax.c - probabilities of classes and their cross entropy.  Contract: kernels.h.
 *
 * The true class is kept out of the sum over the others: 1 - p is that sum's
 * share, and log1p of it the loss, so that neither is a difference of numbers
 * near 1.
 */
#include "kernels/kernels.h"

#include <math.h>

#include "kernels/cpu/simd.h"

/* score += bias; returns the largest. */
INLINE float add_bias(float *score, const float *bias, size_t K)
{
    v16 top = v16_all(-INFINITY);
    size_t k = 0;
    float most;

    for (; k + LANES <= K; k += LANES) {
        v16 s = v16_load(score + k);

        if (bias)
            s += v16_load(bias + k);
        v16_store(score + k, s);
        top = v16_max(s, top);
    }
    most = v16_top(top);
    for (; k < K; k++) {
        score[k] += bias ? bias[k] : 0;
        most = score[k] > most ? score[k] : most;
    }
    return most;
}

/* score = exp(score - top); returns the sum. */
INLINE float exponentials(float *score, float top, size_t K)
{
    v16 sum = v16_all(0);
    size_t k = 0;

    for (; k + LANES <= K; k += LANES) {
        v16 e = v16_exp(v16_load(score + k) - top);

        v16_store(score + k, e);
        sum += e;
    }
    if (k < K) {
        float rest[LANES];
        v16 e = v16_exp(v16_load_some(score + k, K - k, -INFINITY) - top);

        v16_store(rest, e);
        memcpy(score + k, rest, (K - k) * sizeof(*score));
        sum += e;
    }
    return v16_sum(sum);
}

/* Numbers that f32 holds only as denormals would slow down whoever computes with them. */
INLINE void scale(float *score, float by, size_t K)
{
    for (size_t k = 0; k < K; k++) {
        float p = score[k] * by;

        score[k] = p < 1e-30f ? 0 : p;
    }
}

INLINE void dnas_cpu_softmax_body(float *score, const float *bias, size_t N, size_t K)
{
    for (size_t row = 0; row < N; row++, score += K) {
        float top = add_bias(score, bias, K);

        scale(score, 1 / exponentials(score, top, K), K);
    }
}

INLINE void dnas_cpu_softmax_loss_body(float *score, double *loss, const float *bias,
                                       const int32_t *y, size_t N, size_t K)
{
    for (size_t row = 0; row < N; row++, score += K) {
        float top = add_bias(score, bias, K);
        float behind = top - score[y[row]]; /* 0 where the true class leads */
        float own = v16_exp(v16_all(-behind))[0];
        float others, by;

        score[y[row]] = -INFINITY;
        others = exponentials(score, top, K);
        by = 1 / (own + others);
        loss[row] = behind <= 0 ? log1p((double)others)
                                : log((double)own + (double)others) + (double)behind;
        scale(score, by, K);
        score[y[row]] = -others * by;
    }
}

/* e^x - 1 to 2e-7 relative for -87 <= x <= 88: as v16_exp, but the 1 of the polynomial, and the
 * 2^n - 1, are added last. */
INLINE v16 v16_expm1(v16 x)
{
    v16 shifted = x * 1.44269504f + 12582912.0f;
    v16 n = shifted - 12582912.0f;
    v16 r = (x - n * 0.693359375f) + n * 2.12194440e-4f;
    v16 power = (v16)(((v16i)shifted + 127) << 23);
    v16 p = v16_all(0.001381461275741458f);

    p = p * r + 0.008368710055947304f;
    p = p * r + 0.04166838899254799f;
    p = p * r + 0.1666652113199234f;
    p = p * r + 0.4999999403953552f;
    p = p * r * r + r;
    return v16_select(x < -87.0f, v16_all(-1), power * p + (power - 1.0f));
}

/* change = e^{change + bias} - 1; returns its mean weighted by p. */
INLINE float grow(float *change, const float *bias, const float *p, size_t K)
{
    v16 sum = v16_all(0);
    size_t k = 0;

    for (; k + LANES <= K; k += LANES) {
        v16 e = v16_expm1(v16_load(change + k) + v16_load(bias + k));

        v16_store(change + k, e);
        sum += e * v16_load(p + k);
    }
    if (k < K) {
        float rest[LANES];
        v16 e = v16_expm1(v16_load_some(change + k, K - k, 0) + v16_load_some(bias + k, K - k, 0));

        v16_store(rest, e);
        memcpy(change + k, rest, (K - k) * sizeof(*change));
        sum += e * v16_load_some(p + k, K - k, 0);
    }
    return v16_sum(sum);
}

INLINE void dnas_cpu_softmax_change_body(float *change, double *loss, const float *bias,
                                         const float *p, const int32_t *y, size_t N, size_t K)
{
    for (size_t row = 0; row < N; row++, change += K, p += K) {
        float own = change[y[row]] + bias[y[row]];
        float mean = grow(change, bias, p, K), by = 1 / (1 + mean);

        loss[row] = log1p((double)mean) - (double)own;
        for (size_t k = 0; k < K; k++) {
            float q = p[k] * (change[k] - mean) * by;

            change[k] = q > -1e-30f && q < 1e-30f ? 0 : q;
        }
    }
}

DNAS_VERSIONS(dnas_cpu_softmax_change,
              (float *change, double *loss, const float *bias, const float *p, const int32_t *y,
               size_t N, size_t K),
              (change, loss, bias, p, y, N, K))
DNAS_VERSIONS(dnas_cpu_softmax, (float *score, const float *bias, size_t N, size_t K),
              (score, bias, N, K))
DNAS_VERSIONS(dnas_cpu_softmax_loss,
              (float *score, double *loss, const float *bias, const int32_t *y, size_t N, size_t K),
              (score, loss, bias, y, N, K))
