/* SPDX-License-Identifier: MIT
 *
 * test_rotary.c - rotary positions and the sigmoid linear unit with a gate,
 * forward and backward, against their formulas in double.
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

    dnas_rng_init(&rng, 6, DNAS_RNG_TEST, (uint32_t)n, row);
    for (size_t i = 0; i < n + 32; i++)
        x[i] = CANARY;
    for (size_t i = 0; i < n; i++)
        x[16 + i] = (float)(spread * dnas_rng_normal(&rng));
    return x + 16;
}

static void release(float *x, size_t n)
{
    CHECK(x[-1] == CANARY && x[n] == CANARY);
    free(x - 16);
}

/* ---- rotary ---- */

static void check_rotary(size_t T, size_t H, size_t D, size_t more, size_t from)
{
    size_t ld = H * D + more, half = D / 2;
    float *x = draw(T * ld, 1, 1), *before = draw(T * ld, 1, 1), *turns = draw(T * D, 1, 2);

    dnas_cpu_rotary_turns(turns, from, T, D);
    dnas_cpu_rotary(x, turns, T, H, D, ld, 0);
    for (size_t t = 0; t < T; t++) {
        for (size_t h = 0; h < H; h++)
            for (size_t j = 0; j < half; j++) {
                size_t at = t * ld + h * D + j;
                double u = (double)before[at], v = (double)before[at + half];
                double angle = (double)(from + t) * pow(10000, -2.0 * (double)j / (double)D);
                /* The angle is rounded to f32 twice. */
                double tolerance = (3e-7 + 1.8e-7 * angle) * (fabs(u) + fabs(v));

                CHECK_NEAR(x[at], u * cos(angle) - v * sin(angle), tolerance);
                CHECK_NEAR(x[at + half], v * cos(angle) + u * sin(angle), tolerance);
            }
        for (size_t i = H * D; i < ld; i++) /* what lies between rows stays */
            CHECK(x[t * ld + i] == before[t * ld + i]);
    }
    dnas_cpu_rotary(x, turns, T, H, D, ld, 1);
    for (size_t i = 0; i < T * ld; i++)
        CHECK_NEAR(x[i], before[i], 1e-6 * (1 + 2 * fabs((double)before[i])) + 1e-6);
    release(x, T * ld);
    release(before, T * ld);
    release(turns, T * D);
}

static void test_rotary(void)
{
    check_rotary(1, 1, 2, 0, 0);
    check_rotary(7, 3, 6, 5, 0);
    check_rotary(5, 2, 30, 0, 3);
    check_rotary(9, 4, 32, 64, 0);
    check_rotary(3, 2, 34, 1, 2045);
    check_rotary(2, 1, 64, 0, 2046);
    check_rotary(2, 1, 100, 0, 17);
    check_rotary(0, 1, 32, 0, 0);
}

/* Scores of turned vectors depend on how far apart the two places are alone. */
static void test_scores_know_distances(void)
{
    enum { D = 32, T = 60 };
    float *q = draw((size_t)T * D, 1, 3), *k = draw((size_t)T * D, 1, 4);
    float *turns = draw((size_t)T * D, 1, 5);
    double want[T] = {0};

    for (size_t t = 1; t < T; t++) {
        memcpy(q + t * D, q, D * sizeof(*q));
        memcpy(k + t * D, k, D * sizeof(*k));
    }
    dnas_cpu_rotary_turns(turns, 0, T, D);
    dnas_cpu_rotary(q, turns, T, 1, D, D, 0);
    dnas_cpu_rotary(k, turns, T, 1, D, D, 0);
    for (size_t i = 0; i < T; i++)
        for (size_t j = i; j < T; j++) {
            double score = 0;

            for (size_t c = 0; c < D; c++)
                score += (double)q[i * D + c] * (double)k[j * D + c];
            if (i == 0)
                want[j] = score;
            CHECK_NEAR(score, want[j - i], 1e-4);
        }
    CHECK(fabs(want[0] - want[1]) > 0.1);
    release(q, (size_t)T * D);
    release(k, (size_t)T * D);
    release(turns, (size_t)T * D);
}

/* ---- SwiGLU ---- */

static double silu(double z)
{
    return z / (1 + exp(-z));
}

static void check_swiglu(size_t N, size_t F)
{
    float *x = draw(N * 2 * F, 2, 6), *g = draw(N * F, 1, 7);
    float *out = draw(N * F, 1, 8), *dx = draw(N * 2 * F, 1, 9);

    dnas_cpu_swiglu_fwd(out, x, N, F);
    dnas_cpu_swiglu_bwd(dx, g, x, N, F);
    for (size_t row = 0; row < N; row++)
        for (size_t i = 0; i < F; i++) {
            size_t at = row * 2 * F + i;
            double z = (double)x[at], gate = (double)x[at + F], d = (double)g[row * F + i];
            double s = 1 / (1 + exp(-z));

            CHECK_NEAR(out[row * F + i], silu(z) * gate, 5e-7 * fabs(silu(z) * gate) + 1e-12);
            CHECK_NEAR(dx[at], d * gate * s * (1 + z * (1 - s)),
                       1e-6 * fabs(d * gate) * (1 + fabs(z)));
            CHECK_NEAR(dx[at + F], d * silu(z), 1e-6 * fabs(d * silu(z)) + 1e-12);
        }
    dnas_cpu_swiglu_bwd(x, g, x, N, F); /* in place */
    CHECK(memcmp(x, dx, N * 2 * F * sizeof(*x)) == 0);
    release(x, N * 2 * F);
    release(g, N * F);
    release(out, N * F);
    release(dx, N * 2 * F);
}

static void test_swiglu(void)
{
    static const size_t widths[] = {1, 15, 16, 17, 48, 200};

    for (size_t k = 0; k < 6; k++)
        for (size_t N = 0; N < 4; N++)
            check_swiglu(N, widths[k]);
}

static void test_swiglu_everywhere(void)
{
    size_t F = 8192;
    float *x = draw(2 * F, 1, 10), *out = draw(F, 1, 11);

    for (size_t i = 0; i < F; i++) {
        x[i] = (float)i / 32 - 128;
        x[F + i] = 1;
    }
    x[0] = NAN;
    x[1] = INFINITY;
    x[2] = 1e30f;
    x[3] = -1e20f;
    dnas_cpu_swiglu_fwd(out, x, 1, F);
    CHECK(isnan(out[0]));
    CHECK(isinf(out[1]) && out[1] > 0);
    CHECK(out[2] == 1e30f);
    CHECK_NEAR(out[3], 0, 1e-17);
    for (size_t i = 4; i < F; i++) {
        double z = (double)x[i], want = silu(z);

        CHECK_NEAR(out[i], want, z > -80 ? 5e-7 * fabs(want) : 1e-30);
    }
    release(x, 2 * F);
    release(out, F);
}

int main(void)
{
    RUN(test_rotary);
    RUN(test_scores_know_distances);
    RUN(test_swiglu);
    RUN(test_swiglu_everywhere);
    return check_done();
}
