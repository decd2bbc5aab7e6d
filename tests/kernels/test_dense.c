/* SPDX-License-Identifier: MIT
 *
 * test_dense.c - a vector through a matrix, against the formula in double.
 */
#include "kernels/kernels.h"

#include "common/rng.h"
#include "common/xmem.h"
#include "tests/unit/check.h"

#define GUARD 16

static float *draw(size_t n, uint32_t row, float offset)
{
    float *x = dnas_xalloc(n + 1, sizeof(*x));
    struct dnas_rng rng;

    dnas_rng_init(&rng, 5, DNAS_RNG_TEST, 0, row);
    for (size_t i = 0; i < n; i++)
        x[i] = offset + (float)dnas_rng_normal(&rng);
    return x;
}

/* The error of a sum is below its length times f32's rounding times the sum of magnitudes. */
static void check_shape(size_t I, size_t O, float offset)
{
    float *w = draw(I * O, 1, offset), *x = draw(I, 2, 0), *got = draw(O + 2 * GUARD, 3, 0);
    float *before = draw(O + 2 * GUARD, 3, 0);

    dnas_cpu_dense_add(got + GUARD, w, x, O, I);
    for (size_t o = 0; o < O; o++) {
        double want = before[GUARD + o], size = fabs(want);

        for (size_t i = 0; i < I; i++) {
            want += (double)x[i] * w[i * O + o];
            size += fabs((double)x[i] * w[i * O + o]);
        }
        CHECK_NEAR(got[GUARD + o], want, 6e-8 * (double)(I + 2) * size);
    }
    CHECK(memcmp(got, before, GUARD * sizeof(*got)) == 0);
    CHECK(memcmp(got + GUARD + O, before + GUARD + O, GUARD * sizeof(*got)) == 0);
    free(w);
    free(x);
    free(got);
    free(before);
}

static void test_shapes(void)
{
    static const size_t inputs[] = {0, 1, 2, 3, 31, 32, 33, 648};
    static const size_t outputs[] = {0, 16, 32, 48, 64, 80, 128, 208};

    for (size_t i = 0; i < sizeof(inputs) / sizeof(*inputs); i++)
        for (size_t o = 0; o < sizeof(outputs) / sizeof(*outputs); o++)
            check_shape(inputs[i], outputs[o], o % 2 ? 100 : 0);
}

static void test_not_finite(void)
{
    float *w = draw(5 * 32, 4, 0), x[5] = {1, NAN, 1, 1, 1}, out[32] = {0};

    dnas_cpu_dense_add(out, w, x, 32, 5);
    for (size_t o = 0; o < 32; o++)
        CHECK(isnan(out[o]));
    x[1] = 0;
    w[3 * 32 + 7] = INFINITY;
    memset(out, 0, sizeof(out));
    dnas_cpu_dense_add(out, w, x, 32, 5);
    for (size_t o = 0; o < 32; o++)
        CHECK(o == 7 ? isinf(out[o]) : isfinite(out[o]));
    free(w);
}

int main(void)
{
    RUN(test_shapes);
    RUN(test_not_finite);
    return check_done();
}
