/* SPDX-License-Identifier: MIT
 *
 * test_logreg.c - logistic regression, against scikit-learn's coefficients and
 * the formula in double.
 */
#include "common/logreg.h"

#include "common/logreg_loss.h"
#include "common/rng.h"
#include "tests/unit/check.h"
#include "tests/unit/classify_data.h"
#include "tests/unit/npz.h"

static const struct dnas_logreg_options tight = {
    .inverse_l2 = 0.5, .tol = 1e-7, .max_iter = 3000, .n_threads = 1};

/* Rows of the golden data, standardised, and their labels. */
static size_t golden_rows(float **x, int32_t **y, const char *which)
{
    struct dnas_npy all = npz_read(CLASSIFY_GOLDEN, "standardized", DNAS_NPY_AS_F32);
    struct dnas_npy labels = npz_read(CLASSIFY_GOLDEN, "labels", DNAS_NPY_AS_I64);
    struct dnas_npy row = npz_read(CLASSIFY_GOLDEN, which, DNAS_NPY_AS_I64);
    size_t n = row.n;

    *x = dnas_xalloc(n, 32 * sizeof(**x));
    *y = dnas_xalloc(n, sizeof(**y));
    for (size_t i = 0; i < n; i++) {
        memcpy(*x + i * 32, all.f32 + row.i64[i] * 32, 32 * sizeof(float));
        (*y)[i] = (int32_t)labels.i64[row.i64[i]];
    }
    dnas_npy_release(&all);
    dnas_npy_release(&labels);
    dnas_npy_release(&row);
    return n;
}

/* The formula, and its gradient by v, in double. */
static double formula(double *g, const double *v, const float *x, const int32_t *y, size_t N,
                      size_t C, size_t K, double l2)
{
    double *p = dnas_xalloc(K, sizeof(*p)), sum = 0;

    memset(g, 0, (C + 1) * K * sizeof(*g));
    for (size_t row = 0; row < N; row++) {
        double z = 0;

        for (size_t k = 0; k < K; k++) {
            p[k] = DNAS_LOGREG_CONSTANT * v[C * K + k];
            for (size_t c = 0; c < C; c++)
                p[k] += (double)x[row * C + c] * v[c * K + k];
            z += exp(p[k]);
        }
        sum += log(z) - p[y[row]];
        for (size_t k = 0; k < K; k++) {
            double q = exp(p[k]) / z - (k == (size_t)y[row]);

            g[C * K + k] += DNAS_LOGREG_CONSTANT * q;
            for (size_t c = 0; c < C; c++)
                g[c * K + k] += q * (double)x[row * C + c];
        }
    }
    for (size_t i = 0; i < C * K; i++) {
        sum += l2 / 2 * v[i] * v[i];
        g[i] += l2 * v[i];
    }
    free(p);
    return sum;
}

/* The largest element of the gradient at weights and biases. */
static double gradient_at(const float *weight, const float *bias, const float *x, const int32_t *y,
                          size_t N, size_t C, size_t K)
{
    double *v = dnas_xalloc((C + 1) * K, sizeof(*v)), *g = dnas_xalloc((C + 1) * K, sizeof(*g));
    double most = 0;

    for (size_t k = 0; k < K; k++) {
        v[C * K + k] = (double)bias[k] / DNAS_LOGREG_CONSTANT;
        for (size_t c = 0; c < C; c++)
            v[c * K + k] = (double)weight[k * C + c];
    }
    formula(g, v, x, y, N, C, K, 2);
    for (size_t i = 0; i < (C + 1) * K; i++)
        most = !(fabs(g[i]) <= most) ? fabs(g[i]) : most;
    free(g);
    free(v);
    return most;
}

/* scikit-learn 1.2 stops where scipy's ftol of 2e-9 says so: with gradients of 5e-5 to 6e-4, whose
 * minimum, found by scipy with ftol 1e-18, has weights up to 4e-5 and intercepts up to 4e-4 away.
 * Ours must be nearer to the minimum than that: by the gradient, 1e-5. */
static void check_golden(const char *shots)
{
    char name[64];
    struct dnas_npy coef, intercept;
    float *x, weight[25 * 32], bias[25];
    int32_t *y;
    size_t n;
    struct dnas_logreg_info info;
    struct dnas_err err;

    snprintf(name, sizeof(name), "lr%s_train", shots);
    n = golden_rows(&x, &y, name);
    snprintf(name, sizeof(name), "lr%s_coef", shots);
    coef = npz_read(CLASSIFY_GOLDEN, name, DNAS_NPY_AS_F64);
    snprintf(name, sizeof(name), "lr%s_intercept", shots);
    intercept = npz_read(CLASSIFY_GOLDEN, name, DNAS_NPY_AS_F64);
    CHECK(dnas_logreg_fit(weight, bias, &info, x, y, n, 32, 25, &tight, &err) == 0);
    CHECK(info.converged && info.gradient_max <= 1e-5 && info.n_iter > 5 && info.n_iter < 100);
    for (size_t i = 0; i < 25 * 32; i++)
        CHECK_NEAR(weight[i], coef.f64[i], 1e-4);
    for (size_t k = 0; k < 25; k++)
        CHECK_NEAR(bias[k], intercept.f64[k], 5e-4);
    CHECK_NEAR(gradient_at(weight, bias, x, y, n, 32, 25), 0, 1e-5);
    dnas_npy_release(&coef);
    dnas_npy_release(&intercept);
    free(x);
    free(y);
}

static void test_golden(void)
{
    check_golden("1");
    check_golden("2");
    check_golden("5");
    check_golden("10");
    check_golden("20");
}

/* Two classes: scikit-learn has one vector, the difference of ours. */
static void test_two_classes(void)
{
    double *row = classify_data("binary_rows", 20), *coef = classify_data("binary_coef", 32);
    double *intercept = classify_data("binary_intercept", 1);
    struct dnas_npy all = npz_read(CLASSIFY_GOLDEN, "standardized", DNAS_NPY_AS_F32);
    struct dnas_npy labels = npz_read(CLASSIFY_GOLDEN, "labels", DNAS_NPY_AS_I64);
    float x[20 * 32], weight[2 * 32], bias[2];
    int32_t y[20];
    struct dnas_logreg_info info;
    struct dnas_err err;

    for (size_t i = 0; i < 20; i++) {
        memcpy(x + i * 32, all.f32 + (size_t)row[i] * 32, 32 * sizeof(float));
        y[i] = (int32_t)labels.i64[(size_t)row[i]];
    }
    CHECK(dnas_logreg_fit(weight, bias, &info, x, y, 20, 32, 2, &tight, &err) == 0);
    for (size_t c = 0; c < 32; c++) {
        CHECK_NEAR(weight[32 + c] - weight[c], coef[c], 1e-5);
        CHECK_NEAR(weight[32 + c], -weight[c], 1e-5);
    }
    CHECK_NEAR(bias[1] - bias[0], intercept[0], 1e-5);
    dnas_npy_release(&all);
    dnas_npy_release(&labels);
    free(intercept);
    free(coef);
    free(row);
}

/* ---- the objective ---- */

static float *draw(size_t n, double spread, uint32_t row)
{
    float *x = dnas_xalloc64(n, sizeof(*x));
    struct dnas_rng rng;

    dnas_rng_init(&rng, 5, DNAS_RNG_TEST, 11, row);
    for (size_t i = 0; i < n; i++)
        x[i] = (float)(spread * dnas_rng_normal(&rng));
    return x;
}

static void check_gradient(const double *got, const double *want, size_t n, double tolerance)
{
    double worst = 0;

    for (size_t i = 0; i < n; i++)
        worst = !(fabs(got[i] - want[i]) <= worst) ? fabs(got[i] - want[i]) : worst;
    CHECK_NEAR(worst, 0, tolerance);
}

/* Sizes on both sides of tiles, bands, groups and panels. */
static void check_loss(size_t N, size_t C, size_t K)
{
    size_t n = (C + 1) * K;
    float *x = draw(N * C, 1, 0), *start = draw(n, 0.2, 1), *away = draw(n, 1e-3, 2);
    int32_t *y = dnas_xalloc(N, sizeof(*y));
    double *v = dnas_xalloc(n, sizeof(*v)), *g = dnas_xalloc(n, sizeof(*g));
    double *want = dnas_xalloc(n, sizeof(*want)), f;
    struct dnas_logreg_loss *l;

    for (size_t row = 0; row < N; row++)
        y[row] = (int32_t)(row * 3 % K);
    for (size_t i = 0; i < n; i++)
        v[i] = (double)start[i];
    l = dnas_logreg_loss_new(x, y, N, C, K, 2, 2);
    f = formula(want, v, x, y, N, C, K, 2);
    CHECK_NEAR(dnas_logreg_loss_at(l, g, v, DNAS_LOGREG_F64), f, 1e-12 * f);
    check_gradient(g, want, n, 1e-11 * (double)(N + 10));
    CHECK_NEAR(dnas_logreg_loss_at(l, g, v, DNAS_LOGREG_F32), f, 1e-5 * f);
    check_gradient(g, want, n, 1e-6 * (double)(N + 10));
    dnas_logreg_loss_anchor(l, v);
    CHECK_NEAR(dnas_logreg_loss_at(l, g, v, DNAS_LOGREG_ANCHORED), f, 1e-12 * f);
    check_gradient(g, want, n, 1e-11 * (double)(N + 10));
    for (size_t i = 0; i < n; i++)
        v[i] += (double)away[i];
    f = formula(want, v, x, y, N, C, K, 2);
    CHECK_NEAR(dnas_logreg_loss_at(l, g, v, DNAS_LOGREG_ANCHORED), f, 1e-8 * f);
    check_gradient(g, want, n, 1e-8 * (double)(N + 10));
    dnas_logreg_loss_free(l);
    free(want);
    free(g);
    free(v);
    free(y);
    free(away);
    free(start);
    free(x);
}

static void test_loss(void)
{
    check_loss(1, 1, 1);
    check_loss(5, 3, 2);
    check_loss(129, 65, 17);
    check_loss(128, 64, 16);
    check_loss(300, 130, 33);
    check_loss(2100, 9, 5);
}

/* Large enough for f32 and anchors: the gradient at the end, by the formula; and the same bits for
 * any number of threads. */
static void test_large(void)
{
    enum { N = 2500, C = 70, K = 60 };
    float *mean = draw(K * C, 0.5, 3), *x = draw((size_t)N * C, 1, 4);
    float *weight = dnas_xalloc(K * C, sizeof(*weight)), *bias = dnas_xalloc(K, sizeof(*bias));
    float *again = dnas_xalloc(K * C, sizeof(*again)), *bias_again = dnas_xalloc(K, sizeof(*bias));
    int32_t *y = dnas_xalloc(N, sizeof(*y));
    double sum = 0;
    struct dnas_logreg_options o = {
        .inverse_l2 = 0.5, .tol = 1e-5, .max_iter = 500, .n_threads = 1};
    struct dnas_logreg_info info;
    struct dnas_err err;

    for (size_t row = 0; row < N; row++) {
        y[row] = (int32_t)(row % K);
        for (size_t c = 0; c < C; c++)
            x[row * C + c] += mean[(row % K) * C + c];
    }
    CHECK(dnas_logreg_fit(weight, bias, &info, x, y, N, C, K, &o, &err) == 0);
    CHECK(info.converged && info.gradient_max <= 1e-5);
    for (size_t k = 0; k < K; k++)
        sum += (double)bias[k];
    CHECK_NEAR(sum, 0, 1e-5);
    /* Weights are rounded to f32: 1e-7 times the curvature. */
    CHECK_NEAR(gradient_at(weight, bias, x, y, N, C, K), 0, 1e-4);
    for (o.n_threads = 2; o.n_threads < 6; o.n_threads += 3) {
        CHECK(dnas_logreg_fit(again, bias_again, &info, x, y, N, C, K, &o, &err) == 0);
        CHECK(memcmp(weight, again, K * C * sizeof(*again)) == 0);
        CHECK(memcmp(bias, bias_again, K * sizeof(*bias)) == 0);
    }
    free(y);
    free(bias_again);
    free(again);
    free(bias);
    free(weight);
    free(x);
    free(mean);
}

/* ---- corners ---- */

static void test_corners(void)
{
    float x[] = {1, 2, -1, 0, 3, 1, 0, 0}, weight[12], bias[3];
    int32_t y[] = {0, 1, 1, 0}, zeros[4] = {0};
    struct dnas_logreg_options o = tight;
    struct dnas_logreg_info info;
    struct dnas_err err;

    CHECK(dnas_logreg_fit(weight, bias, &info, x, zeros, 4, 2, 1, &o, &err) == 0);
    CHECK(weight[0] == 0 && weight[1] == 0 && bias[0] == 0 && info.converged);
    /* A class without rows gets the least score everywhere. */
    o.tol = 1e-3;
    CHECK(dnas_logreg_fit(weight, bias, &info, x, y, 4, 2, 3, &o, &err) == 0);
    CHECK(info.converged && bias[2] < bias[0] - 3 && bias[2] < bias[1] - 3);
    o.max_iter = 1;
    o.tol = 0;
    CHECK(dnas_logreg_fit(weight, bias, &info, x, y, 4, 2, 2, &o, &err) == 0);
    CHECK(!info.converged && info.n_iter == 1 && info.gradient_max > 1e-6);
    o.max_iter = 1000; /* tol 0 cannot be met: it ends where no step helps */
    CHECK(dnas_logreg_fit(weight, bias, &info, x, y, 4, 2, 2, &o, &err) == 0);
    CHECK(info.converged && info.n_iter < 200 && info.gradient_max < 1e-6);
    x[5] = NAN;
    CHECK(dnas_logreg_fit(weight, bias, &info, x, y, 4, 2, 2, &o, &err) == -1);
    CHECK_STR(err.msg, "row 3 holds a value that is not finite");
}

int main(void)
{
    RUN(test_golden);
    RUN(test_two_classes);
    RUN(test_loss);
    RUN(test_large);
    RUN(test_corners);
    return check_done();
}
