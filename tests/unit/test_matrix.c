/* SPDX-License-Identifier: MIT
 *
 * test_matrix.c - products, factors and eigenvectors against their definitions.
 * Eigenvectors are met again in test_pca.c.
 */
#include "tests/unit/check.h"

#include "common/matrix.h"
#include "common/rng.h"
#include "common/xmem.h"

static double *draw(size_t n, uint32_t row)
{
    double *x = dnas_xalloc(n, sizeof(*x));
    struct dnas_rng rng;

    dnas_rng_init(&rng, 2, DNAS_RNG_TEST, 0, row);
    for (size_t i = 0; i < n; i++)
        x[i] = dnas_rng_normal(&rng);
    return x;
}

/* a a^T / D + shift I: positive definite where shift is. */
static double *draw_symmetric(size_t D, double shift, uint32_t row)
{
    double *a = draw(D * D, row), *s = dnas_xzalloc(D * D, sizeof(*s));

    for (size_t i = 0; i < D; i++)
        for (size_t j = 0; j < D; j++) {
            for (size_t k = 0; k < D; k++)
                s[i * D + j] += a[i * D + k] * a[j * D + k] / (double)D;
            s[i * D + j] += i == j ? shift : 0;
        }
    free(a);
    return s;
}

static void test_product(void)
{
    static const size_t sizes[][3] = {{1, 1, 1}, {5, 3, 2}, {300, 33, 9}, {7, 40, 70}, {0, 4, 4}};

    for (size_t s = 0; s < sizeof(sizes) / sizeof(*sizes); s++) {
        size_t R = sizes[s][0], M = sizes[s][1], N = sizes[s][2];
        double *a = draw(R * M + 1, 1), *b = draw(R * N + 1, 2), *out = draw(M * N, 3);
        double *want = draw(M * N, 3);
        struct dnas_matrix_product p = {out, a, b, R, M, N, N, M, N, false};

        for (size_t r = 0; r < R; r++)
            for (size_t i = 0; i < M; i++)
                for (size_t j = 0; j < N; j++)
                    want[i * N + j] += a[r * M + i] * b[r * N + j];
        dnas_matrix_add_product(&p, 2);
        for (size_t i = 0; i < M * N; i++)
            CHECK_NEAR(out[i], want[i], 1e-12 * (double)(R + 1));
        free(a);
        free(b);
        free(out);
        free(want);
    }
}

static void test_cholesky(void)
{
    static const size_t sizes[] = {1, 2, 3, 17, 64, 100};

    for (size_t s = 0; s < sizeof(sizes) / sizeof(*sizes); s++) {
        size_t D = sizes[s];
        double *a = draw_symmetric(D, 0.1, 10 + (uint32_t)s), *l = dnas_xalloc(D * D, sizeof(*l));

        memcpy(l, a, D * D * sizeof(*l));
        for (size_t i = 0; i < D; i++) /* what lies above the diagonal is not read */
            for (size_t j = i + 1; j < D; j++)
                l[i * D + j] = NAN;
        CHECK_INT(dnas_matrix_cholesky(l, D), 0);
        for (size_t i = 0; i < D; i++) {
            CHECK(l[i * D + i] > 0);
            for (size_t j = 0; j < D; j++) {
                double sum = 0;

                for (size_t k = 0; k < D; k++)
                    sum += l[i * D + k] * l[j * D + k];
                CHECK_NEAR(sum, a[i * D + j], 1e-12);
                CHECK(j <= i || l[i * D + j] == 0);
            }
        }
        free(a);
        free(l);
    }
}

static void test_cholesky_refuses(void)
{
    double indefinite[4] = {1, 2, 2, 1}, zero[1] = {0}, nan[1] = {NAN}, infinite[1] = {INFINITY};

    CHECK_INT(dnas_matrix_cholesky(indefinite, 2), -1);
    CHECK_INT(dnas_matrix_cholesky(zero, 1), -1);
    CHECK_INT(dnas_matrix_cholesky(nan, 1), -1);
    CHECK_INT(dnas_matrix_cholesky(infinite, 1), -1);
}

static void test_solves(void)
{
    static const size_t sizes[][2] = {{1, 1}, {5, 3}, {40, 64}, {33, 130}};

    for (size_t s = 0; s < sizeof(sizes) / sizeof(*sizes); s++) {
        size_t D = sizes[s][0], N = sizes[s][1];
        double *l = draw_symmetric(D, 0.1, 20), *x = draw(D * N, 21);
        double *b = dnas_xzalloc(D * N, sizeof(*b)), *c = dnas_xzalloc(D * N, sizeof(*c));

        CHECK_INT(dnas_matrix_cholesky(l, D), 0);
        for (size_t i = 0; i < D; i++)
            for (size_t k = 0; k < D; k++)
                for (size_t j = 0; j < N; j++) {
                    b[i * N + j] += l[i * D + k] * x[k * N + j];
                    c[i * N + j] += l[k * D + i] * x[k * N + j];
                }
        dnas_matrix_solve_lower(b, l, D, N, 2);
        dnas_matrix_solve_lower_transposed(c, l, D, N, 2);
        for (size_t i = 0; i < D * N; i++) {
            CHECK_NEAR(b[i], x[i], 1e-9);
            CHECK_NEAR(c[i], x[i], 1e-9);
        }
        free(l);
        free(x);
        free(b);
        free(c);
    }
}

/* Both ways of finding eigenvectors: all of a small matrix, the leading few of a large one. */
static void test_eigen(void)
{
    static const size_t sizes[][2] = {{1, 1}, {10, 10}, {64, 5}, {200, 6}, {150, 150}};

    for (size_t s = 0; s < sizeof(sizes) / sizeof(*sizes); s++) {
        size_t D = sizes[s][0], K = sizes[s][1];
        double *a = draw_symmetric(D, 0, 30), *copy = dnas_xalloc(D * D, sizeof(*copy));
        double *v = dnas_xalloc(K * D, sizeof(*v)), *values = dnas_xalloc(K, sizeof(*values));

        memcpy(copy, a, D * D * sizeof(*copy));
        dnas_matrix_eigen(values, v, copy, D, K, 1);
        for (size_t k = 0; k < K; k++) {
            double norm = 0, residual = 0;

            CHECK(k == 0 || values[k] <= values[k - 1] * (1 + 1e-12));
            for (size_t i = 0; i < D; i++) {
                double r = -values[k] * v[k * D + i];

                for (size_t j = 0; j < D; j++)
                    r += a[i * D + j] * v[k * D + j];
                residual += r * r;
                norm += v[k * D + i] * v[k * D + i];
            }
            CHECK_NEAR(norm, 1, 1e-10);
            CHECK_NEAR(sqrt(residual), 0, 1e-9 * values[0]);
        }
        free(a);
        free(copy);
        free(v);
        free(values);
    }
}

static void test_signs(void)
{
    double up[3] = {-1, 3, -2}, down[3] = {1, -3, 2}, equals[2] = {-1, 1 + 1e-9}, none[2] = {0, 0};

    dnas_matrix_fix_sign(up, 3);
    CHECK(up[0] == -1 && up[1] == 3);
    dnas_matrix_fix_sign(down, 3);
    CHECK(down[0] == -1 && down[1] == 3 && down[2] == -2);
    dnas_matrix_fix_sign(equals, 2); /* the first of equals decides */
    CHECK(equals[0] == 1);
    dnas_matrix_fix_sign(none, 2);
    CHECK(none[0] == 0 && none[1] == 0);
}

static void test_transpose(void)
{
    const double in[6] = {1, 2, 3, 4, 5, 6}, want[6] = {1, 4, 2, 5, 3, 6};
    double out[6];

    dnas_matrix_transpose(out, in, 2, 3);
    CHECK(memcmp(out, want, sizeof(want)) == 0);
}

int main(void)
{
    RUN(test_product);
    RUN(test_cholesky);
    RUN(test_cholesky_refuses);
    RUN(test_solves);
    RUN(test_eigen);
    RUN(test_signs);
    RUN(test_transpose);
    return check_done();
}
