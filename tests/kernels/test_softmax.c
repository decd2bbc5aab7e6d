/* SPDX-License-Identifier: MIT
 *
 * test_softmax.c - softmax kernels, against their formulas written again in
 * double.
 */
#include "kernels/kernels.h"

#include "common/rng.h"
#include "common/xmem.h"
#include "tests/unit/check.h"

#define CANARY 12345.0f

static float *draw(size_t n, double spread, uint32_t row)
{
    float *x = dnas_xalloc64(n + 32, sizeof(*x));
    struct dnas_rng rng;

    dnas_rng_init(&rng, 9, DNAS_RNG_TEST, (uint32_t)n, row);
    for (size_t i = 0; i < n; i++)
        x[i] = (float)(spread * dnas_rng_normal(&rng));
    for (size_t i = n; i < n + 32; i++)
        x[i] = CANARY;
    return x;
}

/* p of the scores as rounded to f32, in double; returns log of the sum over e^{s - s_y}. */
static double formula(double *p, const float *score, const float *bias, size_t y, size_t K)
{
    double top = -INFINITY, sum = 0, others = 0, own;

    for (size_t k = 0; k < K; k++) {
        p[k] = (double)(float)(score[k] + (bias ? bias[k] : 0));
        top = fmax(top, p[k]);
    }
    own = p[y];
    for (size_t k = 0; k < K; k++) {
        sum += exp(p[k] - top);
        others += k == y ? 0 : exp(p[k] - own);
    }
    for (size_t k = 0; k < K; k++)
        p[k] = exp(p[k] - top) / sum;
    return log1p(others);
}

static void check_softmax(size_t N, size_t K, double spread, bool with_bias)
{
    float *score = draw(N * K, spread, 0), *bias = with_bias ? draw(K, 1, 1) : NULL;
    float *out = dnas_xalloc64(N * K + 32, sizeof(*out)), *both = dnas_xalloc(N * K + 32, 4);
    int32_t *y = dnas_xalloc(N, sizeof(*y));
    double *loss = dnas_xalloc(N + 1, sizeof(*loss)), *p = dnas_xalloc(K, sizeof(*p));

    for (size_t row = 0; row < N; row++)
        y[row] = (int32_t)(row * 7 % K);
    loss[N] = 7;
    memcpy(out, score, (N * K + 32) * sizeof(*out));
    memcpy(both, score, (N * K + 32) * sizeof(*out));
    dnas_cpu_softmax(out, bias, N, K);
    dnas_cpu_softmax_loss(both, loss, bias, y, N, K);
    for (size_t row = 0; row < N; row++) {
        size_t own = (size_t)y[row];
        double want = formula(p, score + row * K, bias, own, K);
        double tolerance = 1e-7 * (10 + 8 * spread); /* scores spread over 8 deviations at most */

        CHECK_NEAR(loss[row], want, tolerance * want + 1e-30);
        for (size_t k = 0; k < K; k++) {
            double rest = 0;

            CHECK_NEAR(out[row * K + k], p[k], tolerance * p[k] + 1e-30);
            for (size_t j = 0; k == own && j < K; j++)
                rest += j == own ? 0 : p[j];
            CHECK_NEAR(both[row * K + k], k == own ? -rest : p[k],
                       tolerance * (k == own ? rest : p[k]) + 1e-30);
        }
    }
    CHECK(out[N * K] == CANARY && both[N * K] == CANARY && loss[N] == 7);
    free(p);
    free(loss);
    free(y);
    free(both);
    free(out);
    free(bias);
    free(score);
}

static void test_softmax(void)
{
    const size_t widths[] = {1, 2, 15, 16, 17, 31, 32, 33, 500};

    for (size_t i = 0; i < sizeof(widths) / sizeof(widths[0]); i++) {
        check_softmax(5, widths[i], 1, true);
        check_softmax(3, widths[i], 12, false);
        check_softmax(0, widths[i], 1, true);
    }
    check_softmax(33, 7, 3, true);
}

/* Scores far apart and beyond e^88 overflow nothing; NaN stays in its row. */
static void test_softmax_extremes(void)
{
    float score[] = {200, -200, 0, 1e30f, -1e30f, 0, 1, NAN, 2, 1, 2, 3};
    int32_t y[] = {1, 0, 0, 2};
    double loss[4];

    dnas_cpu_softmax_loss(score, loss, NULL, y, 4, 3);
    CHECK_NEAR(loss[0], 400, 1e-4);
    CHECK_NEAR(score[0], 1, 1e-6);
    CHECK_NEAR(score[1], -1, 1e-6);
    CHECK(loss[1] == 0 && score[3] == 0 && score[4] == 0);
    CHECK(isnan(loss[2]) && isnan(score[6]) && isnan(score[7]) && isnan(score[8]));
    CHECK_NEAR(loss[3], 0.40760596444438, 1e-6);
    score[0] = 0, score[1] = -60, score[2] = -INFINITY;
    y[0] = 0;
    dnas_cpu_softmax_loss(score, loss, NULL, y, 1, 3);
    CHECK_NEAR(loss[0], 8.75651076269652e-27, 1e-32); /* e^-60 */
    CHECK_NEAR(score[0], -8.75651076269652e-27, 1e-32);
    score[0] = 1, score[1] = NAN, score[2] = 3;
    y[0] = 1;
    dnas_cpu_softmax_loss(score, loss, NULL, y, 1, 3);
    CHECK(isnan(loss[0]) && isnan(score[0]) && isnan(score[1]));
}

static void check_change(size_t N, size_t K, double spread)
{
    float *p = draw(N * K, 2, 2), *d = draw(N * K, spread, 3), *bias = draw(K, spread, 4);
    float *out = dnas_xalloc64(N * K + 32, sizeof(*out));
    double *loss = dnas_xalloc(N, sizeof(*loss));
    int32_t *y = dnas_xalloc(N, sizeof(*y));

    for (size_t row = 0; row < N; row++)
        y[row] = (int32_t)(row * 5 % K);
    dnas_cpu_softmax(p, NULL, N, K);
    memcpy(out, d, (N * K + 32) * sizeof(*out));
    dnas_cpu_softmax_change(out, loss, bias, p, y, N, K);
    for (size_t row = 0; row < N; row++) {
        double most = 0, mean = 0, tolerance, own = 0;

        for (size_t k = 0; k < K; k++) {
            double each = (double)(float)(d[row * K + k] + bias[k]);

            most = fmax(most, fabs(each));
            mean += (double)p[row * K + k] * expm1(each);
            own = k == (size_t)y[row] ? each : own;
        }
        tolerance = 1e-6 * most * exp(most);
        CHECK_NEAR(loss[row], log1p(mean) - own, tolerance);
        for (size_t k = 0; k < K; k++) {
            double each = (double)(float)(d[row * K + k] + bias[k]);

            CHECK_NEAR(out[row * K + k], (double)p[row * K + k] * (expm1(each) - mean) / (1 + mean),
                       tolerance);
        }
    }
    CHECK(out[N * K] == CANARY);
    free(y);
    free(loss);
    free(out);
    free(bias);
    free(d);
    free(p);
}

static void test_softmax_change(void)
{
    const size_t widths[] = {1, 2, 15, 16, 17, 33, 500};

    for (size_t i = 0; i < sizeof(widths) / sizeof(widths[0]); i++)
        for (double spread = 1; spread > 1e-8; spread /= 10)
            check_change(4, widths[i], spread);
    check_change(0, 5, 1);
}

static void test_softmax_change_extremes(void)
{
    float change[] = {-300, 0, NAN, 1}, zero[2] = {0, 0}, p[] = {0.25f, 0.75f, 0.5f, 0.5f};
    int32_t y[] = {1, 0};
    double loss[2];

    dnas_cpu_softmax_change(change, loss, zero, p, y, 2, 2);
    CHECK_NEAR(change[0], -0.25, 1e-6);
    CHECK_NEAR(change[1], 0.25, 1e-6);
    CHECK_NEAR(loss[0], log(0.75), 1e-6);
    CHECK(isnan(change[2]) && isnan(change[3]) && isnan(loss[1]));
}

int main(void)
{
    RUN(test_softmax);
    RUN(test_softmax_extremes);
    RUN(test_softmax_change);
    RUN(test_softmax_change_extremes);
    return check_done();
}
