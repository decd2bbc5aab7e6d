/* SPDX-License-Identifier: MIT
 *
 * test_knn.c - neighbours against all distances in double, sorted; ties, copies,
 * corners; votes against counts.
 */
#include "common/knn.h"

#include "common/kmeans.h"
#include "common/rng.h"
#include "common/xmem.h"
#include "tests/unit/check.h"

struct far {
    double key;
    uint32_t row;
};

static int nearer(const void *a, const void *b)
{
    const struct far *p = a, *q = b;

    if (p->key != q->key)
        return p->key < q->key ? -1 : 1;
    return (p->row > q->row) - (p->row < q->row);
}

/* The formula in double, lanes of 16 as in kernels.h, so that ties are the same ties. */
static double key_of(const float *a, const float *b, size_t C, enum dnas_knn_metric metric)
{
    double lane[16] = {0};

    for (size_t c = 0; c < C; c++) {
        double x = (double)a[c], y = (double)b[c];

        lane[c % 16] += metric == DNAS_KNN_COSINE ? x * y : (x - y) * (x - y);
    }
    for (size_t half = 8; half > 0; half /= 2)
        for (size_t l = 0; l < half; l++)
            lane[l] += lane[l + half];
    return metric == DNAS_KNN_COSINE ? -lane[0] : lane[0];
}

static float *draw(size_t N, size_t C, double offset, uint32_t step)
{
    float *x = dnas_xalloc64(N, C * sizeof(*x));
    struct dnas_rng rng;

    dnas_rng_init(&rng, 3, DNAS_RNG_TEST, step, (uint32_t)C);
    for (size_t i = 0; i < N * C; i++)
        x[i] = (float)(offset + dnas_rng_normal(&rng));
    return x;
}

/* Searches, and compares each neighbour and value. */
static void check_search(const float *query, size_t n_queries, const float *points, size_t n_points,
                         size_t C, size_t k, enum dnas_knn_metric metric)
{
    struct dnas_knn_options o = {.k = k, .metric = metric, .n_threads = 2};
    const float *q = query ? query : points;
    uint32_t *neighbour = dnas_xalloc(n_queries, k * sizeof(*neighbour));
    float *value = dnas_xalloc(n_queries, k * sizeof(*value));
    struct far *all = dnas_xalloc(n_points, sizeof(*all));
    size_t n_wrong = 0;
    struct dnas_err err = {""};

    if (dnas_knn_search(neighbour, value, query, n_queries, points, n_points, C, &o, &err) != 0)
        CHECK_FAIL("%s", err.msg);
    for (size_t i = 0; i < n_queries; i++) {
        size_t n = 0;

        for (uint32_t j = 0; j < n_points; j++)
            if (query || j != i)
                all[n++] = (struct far){key_of(points + j * C, q + i * C, C, metric), j};
        qsort(all, n, sizeof(*all), nearer);
        for (size_t r = 0; r < k; r++) {
            double want = metric == DNAS_KNN_COSINE ? -all[r].key : sqrt(all[r].key);

            n_wrong += neighbour[i * k + r] != all[r].row;
            /* Rounded to f32 once, perhaps below its normal range. */
            n_wrong += !(fabs((double)value[i * k + r] - want) <= 1e-7 * fabs(want) + 1e-45);
        }
    }
    CHECK_INT(n_wrong, 0);
    free(neighbour);
    free(value);
    free(all);
}

static void test_against_all_distances(void)
{
    static const struct {
        size_t n_queries, n_points, C, k;
        double offset;
    } table[] =
        {
            {1, 1, 1, 1, 0},         {3, 5, 2, 5, 0},        {300, 700, 17, 5, 0},
            {70, 3000, 64, 1, 0},    {257, 1025, 33, 40, 0}, {40, 500, 768, 5, 0},
            {60, 800, 24, 7, 100},   /* far from zero: f32 tells little apart */
            {80, 2000, 24, 7, 3000}, /* and next to nothing */
            {20, 600, 16, 600, 0},
        };

    for (size_t t = 0; t < sizeof(table) / sizeof(table[0]); t++)
        for (int metric = 0; metric < 2; metric++) {
            float *x = draw(table[t].n_queries, table[t].C, table[t].offset, 1);
            float *y = draw(table[t].n_points, table[t].C, table[t].offset, 2);

            if (metric == DNAS_KNN_COSINE) {
                dnas_kmeans_unit_rows(x, table[t].n_queries, table[t].C, 1);
                dnas_kmeans_unit_rows(y, table[t].n_points, table[t].C, 1);
            }
            check_search(x, table[t].n_queries, y, table[t].n_points, table[t].C, table[t].k,
                         (enum dnas_knn_metric)metric);
            free(x);
            free(y);
        }
}

/* Each row among the others; every row is there three times, and one a hundred times. */
static void test_copies_and_ties(void)
{
    enum { N = 700, C = 20 };
    float *x = draw(N, C, 0, 5);

    for (size_t i = 0; i < N; i++)
        if (i >= 200)
            memcpy(x + i * C, x + (i >= 600 ? 7 : i % 200) * C, C * sizeof(*x));
    for (int metric = 0; metric < 2; metric++) {
        if (metric == DNAS_KNN_COSINE)
            dnas_kmeans_unit_rows(x, N, C, 1);
        check_search(NULL, N, x, N, C, 5, (enum dnas_knn_metric)metric);
        check_search(NULL, N, x, N, C, 150, (enum dnas_knn_metric)metric);
        check_search(NULL, N, x, N, C, N - 1, (enum dnas_knn_metric)metric);
    }
    /* Small whole numbers: distances tie everywhere. */
    for (size_t i = 0; i < N * C; i++)
        x[i] = (float)(i * 2654435761u % 3);
    check_search(NULL, N, x, N, 3, 9, DNAS_KNN_EUCLIDEAN);
    check_search(NULL, N, x, N, C, 9, DNAS_KNN_EUCLIDEAN);
    free(x);
}

static void test_all_rows_equal(void)
{
    enum { N = 1000, C = 3 };
    float x[N * C];
    uint32_t neighbour[N * 2];
    struct dnas_knn_options o = {.k = 2, .metric = DNAS_KNN_EUCLIDEAN, .n_threads = 1};

    for (size_t i = 0; i < N * C; i++)
        x[i] = 0.1f;
    CHECK_INT(dnas_knn_search(neighbour, NULL, NULL, N, x, N, C, &o, NULL), 0);
    CHECK_INT(neighbour[0], 1);
    CHECK_INT(neighbour[1], 2);
    CHECK_INT(neighbour[2], 0);
    CHECK_INT(neighbour[3], 2);
    CHECK_INT(neighbour[2 * 999], 0);
    CHECK_INT(neighbour[2 * 999 + 1], 1);
}

/* Rows of zeros have cosine 0 to all. */
static void test_zero_rows(void)
{
    const float points[] = {0, 0, 1, 0, -1, 0, 0, 1}, query[] = {0, 0, 1, 0};
    uint32_t neighbour[8];
    float value[8];
    struct dnas_knn_options o = {.k = 4, .metric = DNAS_KNN_COSINE, .n_threads = 1};
    const uint32_t want[] = {0, 1, 2, 3, 1, 0, 3, 2};
    const float want_value[] = {0, 0, 0, 0, 1, 0, 0, -1};

    CHECK_INT(dnas_knn_search(neighbour, value, query, 2, points, 4, 2, &o, NULL), 0);
    for (size_t i = 0; i < 8; i++) {
        CHECK_INT(neighbour[i], want[i]);
        CHECK_NEAR(value[i], want_value[i], 0);
    }
}

/* Large and small values, to the ends of what is taken. */
static void test_scales(void)
{
    for (int power = -40; power <= 16; power += 4) {
        float *x = draw(200, 12, 0, 9);

        for (size_t i = 0; i < 200 * 12; i++)
            x[i] = (float)((double)x[i] * pow(10, power));
        check_search(NULL, 200, x, 200, 12, 4, DNAS_KNN_EUCLIDEAN);
        free(x);
    }
}

static void test_threads(void)
{
    enum { N = 1500, C = 40, K = 6 };
    float *x = draw(N, C, 1, 11);
    uint32_t *one = dnas_xalloc(N, K * sizeof(*one)), *many = dnas_xalloc(N, K * sizeof(*many));

    for (int n_threads = 1; n_threads <= 7; n_threads += 3) {
        struct dnas_knn_options o = {.k = K, .metric = DNAS_KNN_EUCLIDEAN, .n_threads = n_threads};

        CHECK_INT(dnas_knn_search(n_threads == 1 ? one : many, NULL, NULL, N, x, N, C, &o, NULL),
                  0);
        CHECK(n_threads == 1 || memcmp(one, many, N * K * sizeof(*one)) == 0);
    }
    free(x);
    free(one);
    free(many);
}

static void expect_error(const float *query, size_t n_queries, const float *points, size_t n_points,
                         size_t k, const char *want)
{
    struct dnas_knn_options o = {.k = k, .metric = DNAS_KNN_EUCLIDEAN, .n_threads = 1};
    uint32_t neighbour[64];
    struct dnas_err err = {""};

    CHECK_INT(dnas_knn_search(neighbour, NULL, query, n_queries, points, n_points, 2, &o, &err),
              -1);
    CHECK_STR(err.msg, want);
}

static void test_what_it_refuses(void)
{
    const float points[] = {0, 0, 1, 1, 2, 2}, nan_row[] = {0, 0, 1, NAN, 2, 2},
                far[] = {0, 0, 1, 1, 0, 2e18f};
    struct dnas_knn_options o = {.k = 9, .n_threads = 1};

    expect_error(points, 3, points, 3, 4, "4 neighbours asked for among 3 rows; try 3 or fewer");
    expect_error(NULL, 3, points, 3, 3,
                 "3 neighbours asked for among 2 other rows; try 2 or fewer");
    expect_error(points, 3, points, 0, 1, "1 neighbours asked for among 0 rows; try 0 or fewer");
    expect_error(points, 3, points, 3, 0, "0 neighbours asked for; try 1 or more");
    expect_error(points, 3, nan_row, 3, 1, "row 2 has a value that is not finite");
    expect_error(nan_row, 3, points, 3, 1, "query 2 has a value that is not finite");
    expect_error(points, 3, far, 3, 1, "row 3 is too long for products in f32; scale it");
    CHECK_INT(dnas_knn_search(NULL, NULL, NULL, 0, NULL, 0, 2, &o, NULL), 0);
}

static void test_votes(void)
{
    const uint32_t neighbour[] = {0, 1, 2, 3, 4, 4, 3, 2, 1, 0, 5, 5, 3, 3, 4};
    const int32_t class_of[] = {2, 2, 1, 1, 0, 7};
    int32_t predicted[3];
    float share[3];

    /* 2 2 1 1 0; the other way round; 7 7 1 1 0 */
    dnas_knn_vote(predicted, share, neighbour, class_of, 3, 5);
    for (size_t i = 0; i < 3; i++) {
        CHECK_INT(predicted[i], 1);
        CHECK_NEAR(share[i], 0.4f, 0);
    }
    dnas_knn_vote(predicted, share, neighbour, class_of, 3, 3);
    CHECK_INT(predicted[0], 2);
    CHECK_NEAR(share[0], 2.0f / 3, 1e-7);
    CHECK_INT(predicted[1], 0); /* neighbours 3 4 4, then 3 2 1 */
    CHECK_INT(predicted[2], 1);
}

int main(void)
{
    RUN(test_against_all_distances);
    RUN(test_copies_and_ties);
    RUN(test_all_rows_equal);
    RUN(test_zero_rows);
    RUN(test_scales);
    RUN(test_threads);
    RUN(test_what_it_refuses);
    RUN(test_votes);
    return check_done();
}
