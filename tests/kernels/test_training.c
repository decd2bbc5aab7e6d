/* SPDX-License-Identifier: MIT
 *
 * test_training.c - the kernels that only training needs, against their
 * formulas written again in double.
 */
#include "kernels/kernels.h"

#include "common/rng.h"
#include "common/xmem.h"
#include "tests/unit/check.h"

#define CANARY 12345.0

static void fill(double *x, size_t n, uint32_t row)
{
    struct dnas_rng rng;

    dnas_rng_init(&rng, 7, DNAS_RNG_TEST, (uint32_t)n, row);
    for (size_t i = 0; i < n; i++)
        x[i] = dnas_rng_normal(&rng);
}

/* Rows 3 apart from each other's end, canaries there and round the whole. */
static void check_matmul(size_t M, size_t N, size_t K, int keep)
{
    size_t ld = N + 3, n = M * ld + 6, ld_a = K + 2, ld_b = N + 1;
    double *out = dnas_xalloc(n, sizeof(*out)), *before = dnas_xalloc(n, sizeof(*out));
    double *a = dnas_xalloc(M * ld_a + 1, sizeof(*a)), *b = dnas_xalloc(K * ld_b + 1, sizeof(*b));
    double worst = 0;

    fill(a, M * ld_a, 0);
    fill(b, K * ld_b, 1);
    for (size_t i = 0; i < n; i++)
        out[i] = before[i] = CANARY + (double)i;
    dnas_cpu_matmul_f64(out + 3, a, b, M, N, K, ld, ld_a, ld_b, keep);
    for (size_t i = 0; i < M; i++)
        for (size_t j = 0; j < N; j++) {
            long double sum = keep ? (long double)before[3 + i * ld + j] : 0;
            double d;

            for (size_t k = 0; k < K; k++)
                sum += (long double)a[i * ld_a + k] * (long double)b[k * ld_b + j];
            d = fabs(out[3 + i * ld + j] - (double)sum);
            if (!(d <= worst))
                worst = d;
            out[3 + i * ld + j] = before[3 + i * ld + j];
        }
    /* K roundings of sums of up to 12345 or sqrt(K) some. */
    CHECK_NEAR(worst, 0, keep ? 1e-10 * (1 + (double)K / 100) : 1e-13 * (1 + (double)K / 10));
    CHECK(memcmp(out, before, n * sizeof(*out)) == 0);
    free(out);
    free(before);
    free(a);
    free(b);
}

static void test_matmul_f64(void)
{
    static const size_t sizes[] = {0, 1, 3, 4, 15, 16, 17, 33, 64};

    for (size_t m = 0; m < 9; m++)
        for (size_t n = 0; n < 9; n++)
            for (size_t k = 0; k < 9; k++)
                check_matmul(sizes[m], sizes[n], sizes[k], (int)(m + n + k) % 2);
}

/* An element's bits are the same wherever the tile is cut. */
static void test_matmul_f64_cut(void)
{
    double a[9 * 20], b[20 * 40], whole[9 * 40], part[9 * 40];

    fill(a, 9 * 20, 0);
    fill(b, 20 * 40, 1);
    dnas_cpu_matmul_f64(whole, a, b, 9, 40, 20, 40, 20, 40, 0);
    for (size_t i = 0; i < 9; i++)
        for (size_t j = 0; j < 40; j++)
            dnas_cpu_matmul_f64(part + i * 40 + j, a + i * 20, b + j, 1, 1, 20, 40, 20, 40, 0);
    CHECK(memcmp(whole, part, sizeof(whole)) == 0);
    a[0] = NAN;
    dnas_cpu_matmul_f64(whole, a, b, 9, 40, 20, 40, 20, 40, 0);
    CHECK(isnan(whole[0]) && isnan(whole[39]) && !isnan(whole[40]));
}

/* ---- AdamW ---- */

static const struct dnas_adamw odd = {.gradient_scale = 0.3f,
                                      .keep = 0.99f,
                                      .l2 = 0.02f,
                                      .beta1 = 0.9f,
                                      .one_minus_beta1 = 0.1f,
                                      .beta2 = 0.999f,
                                      .one_minus_beta2 = 0.001f,
                                      .rate = 0.01f,
                                      .root_correction2 = 0.05f,
                                      .eps = 1e-3f};

static void adamw_in_double(double *w, double *m, double *v, double g, const struct dnas_adamw *s)
{
    *w *= (double)s->keep;
    g = (double)s->gradient_scale * g + (double)s->l2 * *w;
    *m = (double)s->beta1 * *m + (double)s->one_minus_beta1 * g;
    *v = (double)s->beta2 * *v + (double)s->one_minus_beta2 * g * g;
    *w -= (double)s->rate * *m / (sqrt(*v) / (double)s->root_correction2 + (double)s->eps);
}

/* n numbers and a canary on both sides; squares for v, which is never negative. */
static float *guarded(size_t n, uint32_t row, bool squares)
{
    float *x = dnas_xalloc(n + 2, sizeof(*x));
    struct dnas_rng rng;

    dnas_rng_init(&rng, 8, DNAS_RNG_TEST, (uint32_t)n, row);
    for (size_t i = 0; i < n + 2; i++) {
        double z = dnas_rng_normal(&rng);

        x[i] = (float)(squares ? z * z : z);
    }
    x[0] = x[n + 1] = (float)CANARY;
    return x;
}

static void unguard(float *x, size_t n)
{
    CHECK(x[0] == (float)CANARY && x[n + 1] == (float)CANARY);
    free(x);
}

static void check_adamw(size_t n)
{
    float *w = guarded(n, 0, false), *m = guarded(n, 1, false), *v = guarded(n, 2, true);
    float *g = guarded(n, 3, false);
    double worst = 0;
    float *before = dnas_xalloc(3 * (n + 2), sizeof(float));

    memcpy(before, w, (n + 2) * sizeof(*w));
    memcpy(before + n + 2, m, (n + 2) * sizeof(*m));
    memcpy(before + 2 * (n + 2), v, (n + 2) * sizeof(*v));
    dnas_cpu_adamw_step(w + 1, m + 1, v + 1, g + 1, n, &odd);
    for (size_t i = 1; i <= n; i++) {
        double want[3] = {(double)before[i], (double)before[n + 2 + i],
                          (double)before[2 * (n + 2) + i]};
        const float *got[3] = {&w[i], &m[i], &v[i]};

        adamw_in_double(&want[0], &want[1], &want[2], (double)g[i], &odd);
        for (int k = 0; k < 3; k++) {
            double d = fabs((double)*got[k] - want[k]) / (0.1 + fabs(want[k]));

            if (!(d <= worst))
                worst = d;
        }
    }
    CHECK_NEAR(worst, 0, 1e-6);
    unguard(w, n);
    unguard(m, n);
    unguard(v, n);
    unguard(g, n);
    free(before);
}

static void test_adamw(void)
{
    static const size_t sizes[] = {0, 1, 15, 16, 17, 31, 32, 33, 1000};

    for (size_t k = 0; k < 9; k++)
        check_adamw(sizes[k]);
}

static void test_adamw_cut_and_nan(void)
{
    float *w[2], *m[2], *v[2], *g = guarded(40, 3, false);

    for (int k = 0; k < 2; k++) {
        w[k] = guarded(40, 0, false);
        m[k] = guarded(40, 1, false);
        v[k] = guarded(40, 2, true);
    }
    dnas_cpu_adamw_step(w[0] + 1, m[0] + 1, v[0] + 1, g + 1, 40, &odd);
    for (size_t i = 1; i <= 40; i++)
        dnas_cpu_adamw_step(w[1] + i, m[1] + i, v[1] + i, g + i, 1, &odd);
    CHECK(memcmp(w[0], w[1], 42 * sizeof(float)) == 0);
    CHECK(memcmp(m[0], m[1], 42 * sizeof(float)) == 0);
    CHECK(memcmp(v[0], v[1], 42 * sizeof(float)) == 0);
    g[7] = NAN;
    dnas_cpu_adamw_step(w[0] + 1, m[0] + 1, v[0] + 1, g + 1, 40, &odd);
    for (size_t i = 1; i <= 40; i++)
        CHECK(isnan(w[0][i]) == (i == 7));
    for (int k = 0; k < 2; k++) {
        unguard(w[k], 40);
        unguard(m[k], 40);
        unguard(v[k], 40);
    }
    unguard(g, 40);
}

static void test_sum_squares(void)
{
    static const size_t sizes[] = {0, 1, 15, 16, 17, 31, 32, 33, 1000};

    for (size_t k = 0; k < 9; k++) {
        size_t n = sizes[k];
        float *x = guarded(n, 5, false);
        double got, want = 0;

        for (size_t i = 1; i <= n; i++)
            want += (double)x[i] * (double)x[i];
        dnas_cpu_sum_squares(&got, x + 1, n);
        CHECK_NEAR(got, want, 1e-13 * want);
        if (n > 0) {
            x[n] = 1e38f;
            dnas_cpu_sum_squares(&got, x + 1, n);
            CHECK_NEAR(got, 1e76, 1e70);
            x[n] = NAN;
            dnas_cpu_sum_squares(&got, x + 1, n);
            CHECK(isnan(got));
        }
        unguard(x, n);
    }
}

int main(void)
{
    RUN(test_matmul_f64);
    RUN(test_matmul_f64_cut);
    RUN(test_adamw);
    RUN(test_adamw_cut_and_nan);
    RUN(test_sum_squares);
    return check_done();
}
