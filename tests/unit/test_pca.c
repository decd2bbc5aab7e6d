/* SPDX-License-Identifier: MIT
 *
 * test_pca.c - principal components against the covariance written out again
 * in double, and against data whose components are known.
 */
#include "tests/unit/check.h"

#include "common/pca.h"
#include "common/rng.h"
#include "common/xmem.h"

/* Rows of independent normals; column c is multiplied by scale(c) and moved by offset. */
static float *random_rows(size_t N, size_t C, double decay, double offset, uint32_t row)
{
    float *x = dnas_xalloc(N * C + 1, sizeof(*x));
    struct dnas_rng rng;

    dnas_rng_init(&rng, 1, DNAS_RNG_TEST, 0, row);
    for (size_t i = 0; i < N * C; i++)
        x[i] = (float)(offset + pow(decay, (double)(i % C)) * dnas_rng_normal(&rng));
    return x;
}

/* Sample covariance [C,C] and its trace, two passes. */
static double *covariance(double *trace, const float *x, size_t N, size_t C)
{
    double *cov = dnas_xzalloc(C * C, sizeof(*cov));
    double *mean = dnas_xzalloc(C, sizeof(*mean));

    for (size_t i = 0; i < N; i++)
        for (size_t c = 0; c < C; c++)
            mean[c] += x[i * C + c] / (double)N;
    for (size_t i = 0; i < N; i++)
        for (size_t a = 0; a < C; a++)
            for (size_t b = 0; b < C; b++)
                cov[a * C + b] +=
                    (x[i * C + a] - mean[a]) * (x[i * C + b] - mean[b]) / (double)(N - 1);
    *trace = 0;
    for (size_t c = 0; c < C; c++)
        *trace += cov[c * C + c];
    free(mean);
    return cov;
}

static double dot(const double *a, const double *b, size_t n)
{
    double sum = 0;

    for (size_t i = 0; i < n; i++)
        sum += a[i] * b[i];
    return sum;
}

/* Every component is an eigenvector of the covariance with its variance, they are orthonormal,
 * fall in order, and have the sign that is promised. */
static void check_fit(size_t N, size_t C, size_t K, double decay, double offset)
{
    float *x = random_rows(N, C, decay, offset, (uint32_t)(N + C));
    double trace, *cov = covariance(&trace, x, N, C);
    struct dnas_pca pca;

    CHECK_INT(dnas_pca_fit(&pca, x, N, C, K, 1, NULL), 0);
    CHECK_NEAR(pca.total_variance / trace, 1, 1e-10);
    for (size_t k = 0; k < K; k++) {
        const double *v = pca.components + k * C;
        double residual = 0, largest = 0;

        for (size_t c = 0; c < C; c++) {
            double r = dot(cov + c * C, v, C) - pca.variance[k] * v[c];

            residual += r * r;
            largest = fabs(v[c]) > fabs(largest) ? v[c] : largest;
        }
        /* the fit stops at 1e-11 of the largest; the covariance here adds rounding of its own,
         * which grows with the square of the mean */
        CHECK_NEAR(sqrt(residual) / pca.variance[0], 0, 1e-9);
        CHECK(largest > 0);
        CHECK(k == 0 || pca.variance[k] <= pca.variance[k - 1] * (1 + 1e-9));
        for (size_t j = 0; j <= k; j++)
            CHECK_NEAR(dot(v, pca.components + j * C, C), j == k, 1e-9);
    }
    /* the leading ones, not just any: no direction left has more variance than the last */
    for (size_t c = 0; c < C; c++) {
        double left = cov[c * C + c], norm = 1;

        for (size_t k = 0; k < K; k++) {
            left -= pca.variance[k] * pow(pca.components[k * C + c], 2);
            norm -= pow(pca.components[k * C + c], 2);
        }
        CHECK(left <= norm * pca.variance[K - 1] + 1e-9 * pca.variance[0]);
    }
    dnas_pca_release(&pca);
    free(cov);
    free(x);
}

static void test_small(void)
{
    check_fit(50, 7, 7, 0.8, 0);
    check_fit(300, 33, 5, 0.9, 10);
    check_fit(3, 2, 2, 0.5, 0);
    check_fit(1000, 1, 1, 1, -3);
}

/* Sizes at which the iterative solver is used, with quick and slow decay of the spectrum. */
static void test_iterative(void)
{
    check_fit(700, 131, 2, 0.95, 0);
    check_fit(700, 131, 10, 0.999, 100);
    check_fit(300, 200, 3, 1, 0);
    check_fit(400, 300, 2, 0.01, 0);
}

static void test_fewer_rows_than_columns(void)
{
    check_fit(20, 64, 5, 0.97, 1);
    check_fit(150, 300, 4, 0.99, 0);
}

/* Points (a, b) along two known orthogonal directions of 5 dimensions with 3 : 1 deviations. */
static void test_known_axes(void)
{
    const double u[5] = {0.6, 0, 0.8, 0, 0}, v[5] = {0, -1, 0, 0, 0};
    const double a[4] = {3, -3, 0, 0}, b[4] = {0, 0, 1, -1};
    float x[4 * 5], scores[4 * 2];
    struct dnas_pca pca;

    for (size_t i = 0; i < 4; i++)
        for (size_t c = 0; c < 5; c++)
            x[i * 5 + c] = (float)(7 + a[i] * u[c] + b[i] * v[c]);
    CHECK_INT(dnas_pca_fit(&pca, x, 4, 5, 3, 1, NULL), 0);
    CHECK_NEAR(pca.variance[0], 6, 1e-5);
    CHECK_NEAR(pca.variance[1], 2.0 / 3, 1e-5);
    CHECK_NEAR(dnas_pca_share(&pca, 0), 0.9, 1e-6);
    for (size_t c = 0; c < 5; c++) {
        CHECK_NEAR(pca.mean[c], 7, 1e-6);
        CHECK_NEAR(pca.components[c], u[c], 1e-6);
        CHECK_NEAR(pca.components[5 + c], -v[c], 1e-6); /* largest loading positive */
    }
    dnas_pca_release(&pca);
    CHECK_INT(dnas_pca_fit(&pca, x, 4, 5, 2, 1, NULL), 0);
    dnas_pca_project(scores, &pca, x, 4, 1);
    for (size_t i = 0; i < 4; i++) {
        CHECK_NEAR(scores[2 * i], a[i], 1e-5);
        CHECK_NEAR(scores[2 * i + 1], -b[i], 1e-5);
    }
    dnas_pca_release(&pca);
}

static void check_no_variance(const float *x, size_t N, size_t C)
{
    struct dnas_pca pca;
    float scores[8 * 3];

    CHECK_INT(dnas_pca_fit(&pca, x, N, C, 3, 1, NULL), 0);
    CHECK_NEAR(pca.total_variance, 0, 0);
    for (size_t k = 0; k < 3; k++) {
        CHECK_NEAR(pca.variance[k], 0, 0);
        CHECK_NEAR(dnas_pca_share(&pca, k), 0, 0);
    }
    dnas_pca_project(scores, &pca, x, N, 1);
    for (size_t i = 0; i < 3 * N; i++)
        CHECK_NEAR(scores[i], 0, 0);
    dnas_pca_release(&pca);
    dnas_pca_release(&pca);
}

static void test_degenerate(void)
{
    float equal[8 * 4];

    for (size_t i = 0; i < 8 * 4; i++)
        equal[i] = 2.5f;
    check_no_variance(equal, 0, 4);
    check_no_variance(equal, 1, 4);
    check_no_variance(equal, 8, 4);
    check_no_variance(equal, 3, 0);
}

/* Two rows have one direction, and more components than columns are padded with 0. */
static void test_rank(void)
{
    const float x[2 * 3] = {1, 2, 3, 1, 4, 3};
    struct dnas_pca pca;

    CHECK_INT(dnas_pca_fit(&pca, x, 2, 3, 5, 1, NULL), 0);
    CHECK_NEAR(pca.variance[0], 2, 1e-12);
    CHECK_NEAR(dnas_pca_share(&pca, 0), 1, 1e-12);
    CHECK_NEAR(pca.components[1], 1, 1e-12);
    for (size_t i = 3; i < 15; i++)
        CHECK_NEAR(pca.components[i], 0, 0);
    dnas_pca_release(&pca);
}

static void test_not_finite(void)
{
    float x[6] = {1, 2, 3, 4, NAN, 6};
    struct dnas_pca pca;
    struct dnas_err err;

    CHECK_INT(dnas_pca_fit(&pca, x, 3, 2, 1, 1, &err), -1);
    CHECK_STR(err.msg, "row 3 has a value that is not finite in column 1");
    x[4] = INFINITY;
    CHECK_INT(dnas_pca_fit(&pca, x, 3, 2, 1, 1, &err), -1);
}

static void check_same_bytes(size_t N, size_t C, size_t K)
{
    float *x = random_rows(N, C, 0.98, 1, 5), *scores[2];
    struct dnas_pca pca[2];

    for (int t = 0; t < 2; t++) {
        CHECK_INT(dnas_pca_fit(&pca[t], x, N, C, K, t + 1, NULL), 0);
        scores[t] = dnas_xalloc(N * K, sizeof(float));
        dnas_pca_project(scores[t], &pca[t], x, N, t + 1);
    }
    CHECK(memcmp(pca[0].components, pca[1].components, K * C * sizeof(double)) == 0);
    CHECK(memcmp(pca[0].variance, pca[1].variance, K * sizeof(double)) == 0);
    CHECK(memcmp(scores[0], scores[1], N * K * sizeof(float)) == 0);
    for (int t = 0; t < 2; t++) {
        dnas_pca_release(&pca[t]);
        free(scores[t]);
    }
    free(x);
}

static void test_threads(void)
{
    check_same_bytes(1000, 150, 3);
    check_same_bytes(200, 333, 3);
    check_same_bytes(999, 37, 37);
}

int main(void)
{
    RUN(test_small);
    RUN(test_iterative);
    RUN(test_fewer_rows_than_columns);
    RUN(test_known_axes);
    RUN(test_degenerate);
    RUN(test_rank);
    RUN(test_not_finite);
    RUN(test_threads);
    return check_done();
}
