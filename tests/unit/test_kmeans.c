/* SPDX-License-Identifier: MIT
 *
 * test_kmeans.c - k-means against scikit-learn's numbers, against Lloyd's
 * algorithm written out in double, and in its corners.
 */
#include "common/kmeans.h"

#include "common/rng.h"
#include "common/xmem.h"
#include "tests/unit/check.h"
#include "tests/unit/npz.h"

#define GOLDEN "tests/data/golden/evaluate_small/evaluate.npz"

static const struct dnas_kmeans_options defaults = {
    .K = 4,
    .init = DNAS_KMEANS_RANDOM,
    .n_starts = 1,
    .max_iter = 300,
    .tol = 1e-4,
    .seed = 7,
    .n_threads = 1,
};

/* N rows round n_groups random points, spread wide; spread 0: copies of them. */
static float *make_rows(size_t N, size_t C, size_t n_groups, double spread, double offset)
{
    float *x = dnas_xalloc(N, C * sizeof(*x)), *middle = dnas_xalloc(n_groups, C * sizeof(*x));
    struct dnas_rng rng;

    dnas_rng_init(&rng, 1, DNAS_RNG_TEST, (uint32_t)N, (uint32_t)C);
    for (size_t i = 0; i < n_groups * C; i++)
        middle[i] = (float)(offset + dnas_rng_normal(&rng));
    for (size_t i = 0; i < N; i++)
        for (size_t c = 0; c < C; c++)
            x[i * C + c] =
                (float)((double)middle[i % n_groups * C + c] + spread * dnas_rng_normal(&rng));
    free(middle);
    return x;
}

static double distance2(const float *a, const float *b, size_t C)
{
    double sum = 0;

    for (size_t c = 0; c < C; c++)
        sum += ((double)a[c] - (double)b[c]) * ((double)a[c] - (double)b[c]);
    return sum;
}

static int32_t nearest(const float *x, const float *centre, size_t K, size_t C)
{
    size_t best = 0;

    for (size_t k = 1; k < K; k++)
        if (distance2(x, centre + k * C, C) < distance2(x, centre + best * C, C))
            best = k;
    return (int32_t)best;
}

static size_t assign_plainly(int32_t *label, const float *x, size_t N, size_t C,
                             const float *centre, size_t K)
{
    size_t n_changed = 0;

    for (size_t i = 0; i < N; i++) {
        int32_t k = nearest(x + i * C, centre, K, C);

        n_changed += label[i] != k;
        label[i] = k;
    }
    return n_changed;
}

static void average_plainly(float *centre, size_t K, const int32_t *label, const float *x, size_t N,
                            size_t C)
{
    double *sum = dnas_xzalloc(K, C * sizeof(*sum)), *n = dnas_xzalloc(K, sizeof(*n));

    for (size_t i = 0; i < N; i++) {
        n[label[i]]++;
        for (size_t c = 0; c < C; c++)
            sum[(size_t)label[i] * C + c] += (double)x[i * C + c];
    }
    for (size_t k = 0; k < K; k++)
        for (size_t c = 0; n[k] > 0 && c < C; c++)
            centre[k * C + c] = (float)(sum[k * C + c] / n[k]);
    free(sum);
    free(n);
}

/* Lloyd until no label changes; returns the iterations. */
static int lloyd_plainly(float *centre, size_t K, int32_t *label, const float *x, size_t N,
                         size_t C)
{
    int n_iter = 0;
    size_t n_changed;

    memset(label, 0xff, N * sizeof(*label));
    do {
        n_changed = assign_plainly(label, x, N, C, centre, K);
        average_plainly(centre, K, label, x, N, C);
        n_iter++;
    } while (n_changed > 0);
    return n_iter;
}

static void check_against_plain(size_t N, size_t C, size_t K, size_t n_groups, double spread,
                                double offset)
{
    float *x = make_rows(N, C, n_groups, spread, offset);
    float *centre = dnas_xalloc(K, C * sizeof(*centre));
    int32_t *label = dnas_xalloc(N, sizeof(*label));
    struct dnas_kmeans_options o = defaults;
    struct dnas_kmeans km;
    size_t n_wrong = 0;
    double worst = 0;
    int n_iter;

    o.K = K;
    o.init = DNAS_KMEANS_GIVEN;
    o.given = x;
    o.tol = 0;
    o.n_threads = 2;
    memcpy(centre, x, K * C * sizeof(*centre));
    n_iter = lloyd_plainly(centre, K, label, x, N, C);
    CHECK_INT(dnas_kmeans_run(&km, x, N, C, &o, NULL), 0);
    CHECK_INT(km.n_iter, n_iter);
    CHECK(km.converged);
    for (size_t i = 0; i < N; i++)
        n_wrong += km.label[i] != label[i];
    for (size_t i = 0; i < K * C; i++)
        worst = fmax(worst, fabs((double)km.centre[i] - (double)centre[i]));
    CHECK_INT(n_wrong, 0);
    CHECK_NEAR(worst, 0, 1e-6 * (1 + offset)); /* a float's last digit */
    dnas_kmeans_release(&km);
    free(label);
    free(centre);
    free(x);
}

static void test_against_plain_formula(void)
{
    check_against_plain(1000, 16, 20, 20, 0.3, 0);
    check_against_plain(1500, 33, 31, 12, 1.0, 0);
    check_against_plain(700, 5, 300, 40, 0.5, 0); /* more than one tile of centres */
    check_against_plain(257, 1, 3, 3, 0.2, 0);
    check_against_plain(1000, 24, 10, 10, 0.5, 1000); /* f32 products alone would mislead */
    for (size_t N = 30; N < 230; N++) /* few centres: each one's move counts for the bounds */
        check_against_plain(N, 2, 3, 3 + N % 5, 0.3, 0);
}

static void test_golden(void)
{
    struct dnas_npy x = npz_read(GOLDEN, "embedding", DNAS_NPY_AS_F32);
    struct dnas_npy init = npz_read(GOLDEN, "fixed_init", DNAS_NPY_AS_F32);
    struct dnas_npy label = npz_read(GOLDEN, "fixed_labels", DNAS_NPY_AS_I64);
    struct dnas_npy centre = npz_read(GOLDEN, "fixed_centers", DNAS_NPY_AS_F32);
    struct dnas_kmeans_options o = defaults;
    struct dnas_kmeans km;
    size_t n_wrong = 0;

    o.K = init.shape[0];
    o.init = DNAS_KMEANS_GIVEN;
    o.given = init.f32;
    CHECK_INT(dnas_kmeans_unit_rows(x.f32, x.shape[0], x.shape[1], 2), 0);
    CHECK_INT(dnas_kmeans_run(&km, x.f32, x.shape[0], x.shape[1], &o, NULL), 0);
    for (size_t i = 0; i < km.N; i++)
        n_wrong += km.label[i] != label.i64[i];
    CHECK_INT(n_wrong, 0);
    for (size_t i = 0; i < km.K * km.C; i++)
        CHECK_NEAR(km.centre[i], centre.f32[i], 1e-6); /* theirs are sums in f32 */
    CHECK_INT(km.n_iter, npz_number(GOLDEN, "fixed_iter"));
    CHECK_NEAR(km.inertia, npz_number(GOLDEN, "fixed_inertia"), 1e-6 * km.inertia);
    CHECK(km.converged);
    dnas_kmeans_release(&km);
    dnas_npy_release(&centre);
    dnas_npy_release(&label);
    dnas_npy_release(&init);
    dnas_npy_release(&x);
}

static void test_same_bytes_for_any_threads(void)
{
    const size_t N = 3000, C = 37;
    float *x = make_rows(N, C, 30, 0.7, 0.5);

    for (int init = DNAS_KMEANS_RANDOM; init <= DNAS_KMEANS_PLUS_PLUS; init++) {
        struct dnas_kmeans_options o = defaults;
        struct dnas_kmeans one, many;

        o.K = 40;
        o.init = (enum dnas_kmeans_init)init;
        o.n_starts = 2;
        CHECK_INT(dnas_kmeans_run(&one, x, N, C, &o, NULL), 0);
        for (int n = 2; n <= 9; n += 3) {
            o.n_threads = n;
            CHECK_INT(dnas_kmeans_run(&many, x, N, C, &o, NULL), 0);
            CHECK(memcmp(one.label, many.label, N * sizeof(*one.label)) == 0);
            CHECK(memcmp(one.centre, many.centre, o.K * C * sizeof(*one.centre)) == 0);
            CHECK(memcmp(&one.inertia, &many.inertia, sizeof(one.inertia)) == 0);
            CHECK_INT(many.n_iter, one.n_iter);
            CHECK_INT(many.start, one.start);
            dnas_kmeans_release(&many);
        }
        dnas_kmeans_release(&one);
    }
    free(x);
}

static void check_error(const float *x, size_t N, size_t C, struct dnas_kmeans_options o,
                        const char *sentence)
{
    struct dnas_kmeans km;
    struct dnas_err err = {""};

    CHECK_INT(dnas_kmeans_run(&km, x, N, C, &o, &err), -1);
    CHECK_STR(err.msg, sentence);
    CHECK(km.label == NULL && km.centre == NULL);
    dnas_kmeans_release(&km);
}

static void test_errors(void)
{
    float x[] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9}, given[] = {0, 0, NAN, 0};
    struct dnas_kmeans_options o = defaults;

    o.K = 6;
    check_error(x, 5, 2, o, "6 clusters asked of 5 rows; try 5 or fewer");
    o.K = 0;
    check_error(x, 5, 2, o, "0 clusters asked of 5 rows; try 1 or more");
    o.K = 2;
    o.init = DNAS_KMEANS_GIVEN;
    o.given = given;
    check_error(x, 5, 2, o, "centre 2 of 2 holds a value that is not a finite number");
    o = defaults;
    o.K = 2;
    x[7] = INFINITY;
    check_error(x, 5, 2, o, "row 4 of 5 holds a value that is not a finite number");
    x[7] = NAN;
    check_error(x, 5, 2, o, "row 4 of 5 holds a value that is not a finite number");
}

static void test_no_rows(void)
{
    struct dnas_kmeans_options o = defaults;
    struct dnas_kmeans km;

    CHECK_INT(dnas_kmeans_run(&km, NULL, 0, 3, &o, NULL), 0);
    CHECK_INT(km.N, 0);
    CHECK_INT(km.K, 0);
    CHECK(km.inertia == 0 && km.converged);
    dnas_kmeans_release(&km);
}

static void test_one_cluster(void)
{
    const float x[] = {1, 2, 3, 4, 8, 0};
    struct dnas_kmeans_options o = defaults;
    struct dnas_kmeans km;

    o.K = 1;
    CHECK_INT(dnas_kmeans_run(&km, x, 3, 2, &o, NULL), 0);
    CHECK_NEAR(km.centre[0], 4, 0);
    CHECK_NEAR(km.centre[1], 2, 0);
    CHECK_NEAR(km.inertia, 34, 1e-12); /* 9 + 0, 1 + 4, 16 + 4 */
    CHECK_INT(km.label[0] + km.label[1] + km.label[2], 0);
    dnas_kmeans_release(&km);
}

static void test_as_many_clusters_as_rows(void)
{
    const size_t N = 50, C = 20;
    float *x = make_rows(N, C, 50, 1, 0);
    struct dnas_kmeans_options o = defaults;

    o.K = N;
    for (int init = DNAS_KMEANS_RANDOM; init <= DNAS_KMEANS_PLUS_PLUS; init++) {
        struct dnas_kmeans km;

        o.init = (enum dnas_kmeans_init)init;
        CHECK_INT(dnas_kmeans_run(&km, x, N, C, &o, NULL), 0);
        CHECK_INT(km.n_empty, 0);
        CHECK(km.inertia == 0);
        dnas_kmeans_release(&km);
    }
    free(x);
}

static void test_fewer_different_rows_than_clusters(void)
{
    const size_t N = 60, C = 8;

    for (size_t n_different = 1; n_different <= 3; n_different += 2)
        for (int init = DNAS_KMEANS_RANDOM; init <= DNAS_KMEANS_PLUS_PLUS; init++) {
            float *x = make_rows(N, C, n_different, 0, 0);
            struct dnas_kmeans_options o = defaults;
            struct dnas_kmeans km;

            o.K = 5;
            o.init = (enum dnas_kmeans_init)init;
            CHECK_INT(dnas_kmeans_run(&km, x, N, C, &o, NULL), 0);
            CHECK(km.converged);
            CHECK_INT(km.n_empty, 5 - n_different);
            CHECK_NEAR(km.inertia, 0, 1e-12); /* means of equal floats, rounded once */
            for (size_t i = n_different; i < N; i++)
                CHECK_INT(km.label[i], km.label[i - n_different]);
            dnas_kmeans_release(&km);
            free(x);
        }
}

static void test_ties_go_to_the_lowest_number(void)
{
    const float x[] = {-1, 0, 1, 0, 0, 0}, given[] = {1, 0, -1, 0};
    struct dnas_kmeans_options o = defaults;
    struct dnas_kmeans km;

    o.K = 2;
    o.init = DNAS_KMEANS_GIVEN;
    o.given = given;
    o.max_iter = 1;
    o.tol = 1e9;
    CHECK_INT(dnas_kmeans_run(&km, x, 3, 2, &o, NULL), 0);
    CHECK_NEAR(km.centre[0], 0.5, 0); /* of 1 and of the 0 between */
    CHECK_NEAR(km.centre[2], -1, 0);
    dnas_kmeans_release(&km);
}

/* By hand: all rows are nearest to centre 0; the rows farthest from it, 9 and then 8, found
 * clusters 1 and 2 for the next centres. */
static void test_empty_clusters_take_the_farthest_rows(void)
{
    const float x[] = {0, 1, 2, 8, 9}, given[] = {0, 100, 200};
    struct dnas_kmeans_options o = defaults;
    struct dnas_kmeans km;

    o.K = 3;
    o.init = DNAS_KMEANS_GIVEN;
    o.given = given;
    o.max_iter = 1;
    o.tol = 0;
    CHECK_INT(dnas_kmeans_run(&km, x, 5, 1, &o, NULL), 0);
    CHECK_NEAR(km.centre[0], 1, 0);
    CHECK_NEAR(km.centre[1], 9, 0);
    CHECK_NEAR(km.centre[2], 8, 0);
    CHECK(!km.converged);
    CHECK_INT(km.n_empty, 0);
    CHECK_INT(km.label[3], 2);
    CHECK_INT(km.label[4], 1);
    dnas_kmeans_release(&km);
}

/* Row 50 is the farthest from its centre but alone there: row 2 founds cluster 2. */
static void test_a_row_alone_is_left_alone(void)
{
    const float x[] = {0, 1, 2, 50}, given[] = {0, 40, 100};
    struct dnas_kmeans_options o = defaults;
    struct dnas_kmeans km;

    o.K = 3;
    o.init = DNAS_KMEANS_GIVEN;
    o.given = given;
    o.max_iter = 1;
    CHECK_INT(dnas_kmeans_run(&km, x, 4, 1, &o, NULL), 0);
    CHECK_NEAR(km.centre[0], 0.5, 0);
    CHECK_NEAR(km.centre[1], 50, 0);
    CHECK_NEAR(km.centre[2], 2, 0);
    dnas_kmeans_release(&km);
}

/* By hand: the centres move by 1 each, 2 in squares; the columns' variances are 26 and 0. */
static void test_tolerance(void)
{
    const float x[] = {0, 5, 2, 5, 10, 5, 12, 5}, given[] = {0, 5, 10, 5};
    struct dnas_kmeans_options o = defaults;
    struct dnas_kmeans km;

    o.K = 2;
    o.init = DNAS_KMEANS_GIVEN;
    o.given = given;
    o.tol = 2.001 / 13;
    CHECK_INT(dnas_kmeans_run(&km, x, 4, 2, &o, NULL), 0);
    CHECK(km.converged);
    CHECK_INT(km.n_iter, 1);
    dnas_kmeans_release(&km);
    o.tol = 1.999 / 13;
    CHECK_INT(dnas_kmeans_run(&km, x, 4, 2, &o, NULL), 0);
    CHECK(km.converged);
    CHECK_INT(km.n_iter, 2);
    dnas_kmeans_release(&km);
}

static void test_labels_belong_to_the_centres(void)
{
    const size_t N = 2000, C = 12, K = 25;
    float *x = make_rows(N, C, 40, 1, 0);

    for (int max_iter = 1; max_iter < 12; max_iter += 5) {
        struct dnas_kmeans_options o = defaults;
        struct dnas_kmeans km;
        double inertia = 0;
        size_t n_wrong = 0;

        o.K = K;
        o.max_iter = max_iter;
        o.tol = 0;
        CHECK_INT(dnas_kmeans_run(&km, x, N, C, &o, NULL), 0);
        CHECK_INT(km.n_iter, max_iter);
        CHECK(!km.converged);
        for (size_t i = 0; i < N; i++) {
            n_wrong += km.label[i] != nearest(x + i * C, km.centre, K, C);
            inertia += distance2(x + i * C, km.centre + (size_t)km.label[i] * C, C);
        }
        CHECK_INT(n_wrong, 0);
        CHECK_NEAR(km.inertia, inertia, 1e-12 * inertia);
        dnas_kmeans_release(&km);
    }
    free(x);
}

static void test_the_best_start_is_kept(void)
{
    const size_t N = 600, C = 6;
    float *x = make_rows(N, C, 30, 0.1, 0);
    struct dnas_kmeans_options o = defaults;
    struct dnas_kmeans km;
    double least;

    o.K = 30;
    CHECK_INT(dnas_kmeans_run(&km, x, N, C, &o, NULL), 0);
    CHECK_INT(km.start, 0);
    least = km.inertia;
    dnas_kmeans_release(&km);
    o.n_starts = 8;
    CHECK_INT(dnas_kmeans_run(&km, x, N, C, &o, NULL), 0);
    CHECK(km.start > 0 && km.inertia < least);
    dnas_kmeans_release(&km);
    free(x);
}

static void test_plus_plus_finds_groups_far_apart(void)
{
    const size_t N = 1000, C = 16, K = 50;
    float *x = make_rows(N, C, K, 1e-3, 0);
    struct dnas_kmeans_options o = defaults;
    struct dnas_kmeans km;

    o.K = K;
    o.init = DNAS_KMEANS_PLUS_PLUS;
    CHECK_INT(dnas_kmeans_run(&km, x, N, C, &o, NULL), 0);
    CHECK(km.inertia < 2e-6 * (double)(N * C));
    for (size_t i = K; i < N; i++)
        CHECK_INT(km.label[i], km.label[i - K]);
    dnas_kmeans_release(&km);
    free(x);
}

/* Powers of two, so that labels and iterations cannot change; products underflow or overflow. */
static void test_scale_does_not_matter(void)
{
    const size_t N = 500, C = 9;
    const double scale[] = {0x1p-70, 0x1p70};
    float *x = make_rows(N, C, 8, 0.5, 0), *y = dnas_xalloc(N, C * sizeof(*y));
    struct dnas_kmeans_options o = defaults;
    struct dnas_kmeans a, b;

    CHECK_INT(dnas_kmeans_run(&a, x, N, C, &o, NULL), 0);
    for (size_t s = 0; s < 2; s++) {
        for (size_t i = 0; i < N * C; i++)
            y[i] = (float)((double)x[i] * scale[s]);
        CHECK_INT(dnas_kmeans_run(&b, y, N, C, &o, NULL), 0);
        CHECK_INT(b.n_iter, a.n_iter);
        CHECK(memcmp(a.label, b.label, N * sizeof(*a.label)) == 0);
        CHECK_NEAR(b.inertia / scale[s] / scale[s], a.inertia, 1e-9 * a.inertia);
        dnas_kmeans_release(&b);
    }
    dnas_kmeans_release(&a);
    free(x);
    free(y);
}

static void test_unit_rows(void)
{
    float x[] = {3, 4, 0, 0, 0, -2, 1e-30f, 0, 3e38f, 3e38f};

    CHECK_INT(dnas_kmeans_unit_rows(x, 5, 2, 2), 1);
    CHECK_NEAR(x[0], 0.6, 1e-7);
    CHECK_NEAR(x[1], 0.8, 1e-7);
    CHECK(x[2] == 0 && x[3] == 0 && x[4] == 0 && x[5] == -1 && x[6] == 1);
    CHECK_NEAR(x[8], sqrt(0.5), 1e-7);
    CHECK_INT(dnas_kmeans_unit_rows(x, 0, 2, 2), 0);
}

int main(void)
{
    RUN(test_golden);
    RUN(test_against_plain_formula);
    RUN(test_same_bytes_for_any_threads);
    RUN(test_errors);
    RUN(test_no_rows);
    RUN(test_one_cluster);
    RUN(test_as_many_clusters_as_rows);
    RUN(test_fewer_different_rows_than_clusters);
    RUN(test_ties_go_to_the_lowest_number);
    RUN(test_empty_clusters_take_the_farthest_rows);
    RUN(test_a_row_alone_is_left_alone);
    RUN(test_tolerance);
    RUN(test_labels_belong_to_the_centres);
    RUN(test_the_best_start_is_kept);
    RUN(test_plus_plus_finds_groups_far_apart);
    RUN(test_scale_does_not_matter);
    RUN(test_unit_rows);
    return check_done();
}
