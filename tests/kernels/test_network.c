/* SPDX-License-Identifier: MIT
 *
 * test_network.c - the kernels of a network of BERT's kind, against their
 * formulas written again in double.
 */
#include "kernels/kernels.h"

#include "common/rng.h"
#include "common/xmem.h"
#include "tests/unit/check.h"

#define CANARY 12345.0f

static float *draw(size_t n, double spread, double offset, uint32_t row)
{
    float *x = dnas_xalloc64(n, sizeof(*x));
    struct dnas_rng rng;

    dnas_rng_init(&rng, 3, DNAS_RNG_TEST, (uint32_t)n, row);
    for (size_t i = 0; i < n; i++)
        x[i] = (float)(offset + spread * dnas_rng_normal(&rng));
    return x;
}

/* n values between two canaries. */
static float *guarded(size_t n)
{
    float *x = dnas_xalloc64(n + 32, sizeof(*x));

    for (size_t i = 0; i < n + 32; i++)
        x[i] = CANARY;
    return x + 16;
}

static void unguard(float *x, size_t n)
{
    CHECK(x[-1] == CANARY && x[n] == CANARY);
    free(x - 16);
}

static void check_layernorm(size_t N, size_t C, double offset, bool with_residual)
{
    float *x = draw(N * C, 1, offset, 0), *residual = draw(N * C, 1, 0, 1);
    float *weight = draw(C, 1, 1, 2), *bias = draw(C, 1, 0, 3);
    float *out = guarded(N * C), *mean = guarded(N), *rstd = guarded(N);
    double worst = 0;

    dnas_cpu_layernorm_fwd(out, mean, rstd, x, with_residual ? residual : NULL, weight, bias, N, C,
                           1e-12f);
    for (size_t row = 0; row < N; row++) {
        double m = 0, v = 0;

        for (size_t i = 0; with_residual && i < C; i++)
            x[row * C + i] += residual[row * C + i];
        for (size_t i = 0; i < C; i++)
            m += (double)x[row * C + i] / (double)C;
        for (size_t i = 0; i < C; i++)
            v += ((double)x[row * C + i] - m) * ((double)x[row * C + i] - m) / (double)C;
        CHECK_NEAR(mean[row], m, 1e-6 * (1 + fabs(m)));
        for (size_t i = 0; i < C; i++) {
            double want = ((double)x[row * C + i] - m) / sqrt(v + 1e-12) * (double)weight[i] +
                          (double)bias[i];
            double d = fabs((double)out[row * C + i] - want);

            if (!(d <= worst))
                worst = d;
        }
    }
    /* The row itself has rounding of offset 2^-24 to begin with. */
    CHECK_NEAR(worst, 0, 1e-5 + 2e-6 * fabs(offset));
    unguard(out, N * C);
    unguard(mean, N);
    unguard(rstd, N);
    free(x);
    free(residual);
    free(weight);
    free(bias);
}

static void test_layernorm(void)
{
    static const size_t sizes[] = {0, 1, 2, 7, 8, 31, 33, 96, 768};

    for (size_t n = 0; n < 4; n++)
        for (size_t c = 2; c < 9; c++)
            for (int k = 0; k < 4; k++)
                check_layernorm(n, sizes[c], k & 1 ? 1000 : 0, k & 2);
}

static void test_layernorm_in_place_and_nan(void)
{
    float *x = draw(2 * 40, 1, 0, 0), *y = draw(2 * 40, 1, 0, 0), *one = draw(40, 0, 1, 0);

    dnas_cpu_layernorm_fwd(y, NULL, NULL, x, NULL, one, NULL, 2, 40, 1e-5f);
    dnas_cpu_layernorm_fwd(x, NULL, NULL, x, NULL, one, NULL, 2, 40, 1e-5f);
    CHECK(memcmp(x, y, 80 * sizeof(*x)) == 0);
    x[41] = NAN;
    dnas_cpu_layernorm_fwd(x, NULL, NULL, x, NULL, one, NULL, 2, 40, 1e-5f);
    CHECK(!isnan(x[0]) && isnan(x[40]));
    free(x);
    free(y);
    free(one);
}

static void test_geglu(void)
{
    static const size_t sizes[] = {1, 15, 16, 17, 192, 3072};

    for (size_t k = 0; k < 6; k++) {
        size_t F = sizes[k], N = 3;
        float *x = draw(N * 2 * F, 3, 0, (uint32_t)k), *out = guarded(N * F);

        dnas_cpu_geglu_fwd(out, x, N, F);
        for (size_t row = 0; row < N; row++)
            for (size_t i = 0; i < F; i++) {
                double z = (double)x[row * 2 * F + i], gate = (double)x[row * 2 * F + F + i];
                double want = z / 2 * erfc(-z / sqrt(2)) * gate;

                CHECK_NEAR(out[row * F + i], want, 5e-7 * (1 + fabs(gate) * fabs(z)));
            }
        unguard(out, N * F);
        free(x);
    }
}

static void test_geglu_everywhere(void)
{
    size_t F = 4096;
    float *x = dnas_xalloc64(2 * F, sizeof(*x)), *out = guarded(F);

    for (size_t i = 0; i < F; i++) {
        x[i] = (float)i / 128 - 16;
        x[F + i] = 1;
    }
    x[0] = NAN;
    x[1] = -INFINITY;
    x[2] = INFINITY;
    dnas_cpu_geglu_fwd(out, x, 1, F);
    CHECK(isnan(out[0]));
    CHECK(isinf(out[2]) && out[2] > 0);
    for (size_t i = 3; i < F; i++) {
        double z = (double)x[i], want = z / 2 * erfc(-z / sqrt(2));

        CHECK_NEAR(out[i], want, z > -5 ? 2.5e-6 * fabs(want) + 1e-12 : 4e-7);
    }
    unguard(out, F);
    free(x);
}

static void attention_in_double(double *out, const float *qkv, const float *slopes, size_t T,
                                size_t C, size_t H)
{
    size_t d = C / H;
    double *p = dnas_xalloc(T, sizeof(*p));

    for (size_t h = 0; h < H; h++)
        for (size_t i = 0; i < T; i++) {
            double top = -INFINITY, sum = 0;

            for (size_t j = 0; j < T; j++) {
                p[j] = 0;
                for (size_t c = 0; c < d; c++)
                    p[j] +=
                        (double)qkv[i * 3 * C + h * d + c] * (double)qkv[j * 3 * C + C + h * d + c];
                p[j] = p[j] / sqrt((double)d) - (double)slopes[h] * fabs((double)i - (double)j);
                top = p[j] > top ? p[j] : top;
            }
            for (size_t j = 0; j < T; j++)
                sum += p[j] = exp(p[j] - top);
            for (size_t c = 0; c < d; c++) {
                double *o = &out[i * C + h * d + c];

                *o = 0;
                for (size_t j = 0; j < T; j++)
                    *o += p[j] / sum * (double)qkv[j * 3 * C + 2 * C + h * d + c];
            }
        }
    free(p);
}

static void check_attention(size_t T, size_t C, size_t H, double spread, int skip)
{
    static const float slopes[4] = {0.5f, 0.03125f, 0.70710678f, 0.00390625f};
    float *qkv = draw(T * 3 * C, spread, 0, 7), *out = guarded(T * C);
    float *scratch = dnas_xalloc64(dnas_cpu_attention_scratch(T, C / H), sizeof(*scratch));
    double *want = dnas_xalloc(T * C, sizeof(*want));
    double worst = 0;

    dnas_cpu_attention_fwd(out, NULL, NULL, qkv, slopes, T, C, H, skip, scratch);
    attention_in_double(want, qkv, slopes, T, C, H);
    for (size_t i = 0; i < T * C; i++) {
        double d = fabs((double)out[i] - want[i]);

        if (!(d <= worst))
            worst = d;
    }
    /* A score of size s has an error of about s 2^-22 in its exponent. */
    CHECK_NEAR(worst, 0, 3e-6 * spread * (1 + spread * spread));
    unguard(out, T * C);
    free(qkv);
    free(scratch);
    free(want);
}

static void test_attention(void)
{
    static const size_t lengths[] = {1, 2, 15, 16, 17, 127, 128, 129, 255, 257, 300};

    for (size_t k = 0; k < 11; k++)
        for (int skip = 0; skip < 2; skip++) {
            check_attention(lengths[k], 32, 4, 1, skip);
            check_attention(lengths[k], 36, 2, 3, skip);
        }
}

/* With large q and k a far key may win over a near one: it must not be skipped. */
static void test_far_keys_that_count(void)
{
    size_t T = 1000, C = 16;
    static const float slope[1] = {0.05f};
    float *qkv = draw(T * 3 * C, 0.1, 0, 9), *out = guarded(T * C);
    float *scratch = dnas_xalloc64(dnas_cpu_attention_scratch(T, C), sizeof(*scratch));
    uint64_t n_scores = 0;

    for (size_t c = 0; c < C; c++) { /* q of the first row and k of the last are long */
        qkv[c] = 6;
        qkv[(T - 1) * 3 * C + C + c] = 6;
        qkv[(T - 1) * 3 * C + 2 * C + c] = 3;
    }
    dnas_cpu_attention_fwd(out, NULL, &n_scores, qkv, slope, T, C, 1, 1, scratch);
    for (size_t c = 0; c < C; c++) /* 6 * 6 * 16 / 4 = 144 against 0.05 * 999 = 50 */
        CHECK_NEAR(out[c], 3, 1e-5);
    CHECK(n_scores < (uint64_t)T * T);
    unguard(out, T * C);
    free(qkv);
    free(scratch);
}

static void test_skipping_saves_and_does_not_show(void)
{
    size_t T = 1500, C = 32;
    static const float slopes[2] = {0.5f, 0.25f};
    float *qkv = draw(T * 3 * C, 1, 0, 11), *a = guarded(T * C), *b = guarded(T * C);
    float *scratch = dnas_xalloc64(dnas_cpu_attention_scratch(T, 16), sizeof(*scratch));
    uint64_t n_a = 0, n_b = 0;

    dnas_cpu_attention_fwd(a, NULL, &n_a, qkv, slopes, T, C, 2, 1, scratch);
    dnas_cpu_attention_fwd(b, NULL, &n_b, qkv, slopes, T, C, 2, 0, scratch);
    CHECK_INT(n_b, 2 * T * T);
    CHECK(n_a < n_b / 2);
    for (size_t i = 0; i < T * C; i++)
        CHECK_NEAR(a[i], b[i], 2e-7 * (1 + fabs((double)b[i])));
    unguard(a, T * C);
    unguard(b, T * C);
    free(qkv);
    free(scratch);
}

static void test_attention_nan(void)
{
    size_t T = 200, C = 16;
    static const float slope[1] = {0.5f};
    float *qkv = draw(T * 3 * C, 1, 0, 13), *out = guarded(T * C);
    float *scratch = dnas_xalloc64(dnas_cpu_attention_scratch(T, C), sizeof(*scratch));

    qkv[5 * 3 * C] = NAN; /* q of row 5: its own result alone */
    dnas_cpu_attention_fwd(out, NULL, NULL, qkv, slope, T, C, 1, 1, scratch);
    CHECK(isnan(out[5 * C]));
    CHECK(!isnan(out[4 * C]) && !isnan(out[199 * C]));
    unguard(out, T * C);
    free(qkv);
    free(scratch);
}

static void test_linear(void)
{
    size_t N = 5, O = 33, I = 17;
    float *y = draw(N * I, 1, 0, 1), *w = draw(O * I, 1, 0, 2), *bias = draw(O, 1, 0, 3);
    float *residual = draw(N * O, 1, 0, 4), *out = guarded(N * O);

    for (int k = 0; k < 4; k++) {
        dnas_cpu_linear_fwd(out, y, w, k & 1 ? bias : NULL, k & 2 ? residual : NULL, N, O, I);
        for (size_t n = 0; n < N; n++)
            for (size_t o = 0; o < O; o++) {
                double want =
                    (k & 1 ? (double)bias[o] : 0) + (k & 2 ? (double)residual[n * O + o] : 0);

                for (size_t i = 0; i < I; i++)
                    want += (double)y[n * I + i] * (double)w[o * I + i];
                CHECK_NEAR(out[n * O + o], want, 1e-5);
            }
    }
    unguard(out, N * O);
    free(y);
    free(w);
    free(bias);
    free(residual);
}

int main(void)
{
    RUN(test_layernorm);
    RUN(test_layernorm_in_place_and_nan);
    RUN(test_geglu);
    RUN(test_geglu_everywhere);
    RUN(test_attention);
    RUN(test_far_keys_that_count);
    RUN(test_skipping_saves_and_does_not_show);
    RUN(test_attention_nan);
    RUN(test_linear);
    return check_done();
}
