/* SPDX-License-Identifier: MIT
 *
 * test_kmedoid.c - bins against the plain algorithm written again here over a
 * whole table of similarities, and against DNABERT-S's own.
 */
#include "common/kmedoid.h"

#include <string.h>

#include "common/kmeans.h"
#include "common/npy.h"
#include "common/rng.h"
#include "common/similar.h"
#include "common/xmem.h"
#include "kernels/kernels.h"
#include "tests/unit/check.h"
#include "tests/unit/npz.h"

#define GOLDEN "tests/data/golden/evaluate_small/binning.npz"

/* ---- the plain algorithm ---- */

struct plain {
    size_t N, C;
    const float *x;
    float threshold;
    float *s;        /* [N,N] */
    double *density; /* [N] */
    int *label;      /* [N], the round */
};

static size_t plain_within(const struct plain *p, uint32_t *set, const float *centre)
{
    size_t n = 0;

    for (uint32_t i = 0; i < p->N; i++) {
        float v;

        dnas_cpu_similarity_rows(&v, p->x, &i, centre, 1, p->C);
        if (p->label[i] < 0 && v >= p->threshold)
            set[n++] = i;
    }
    return n;
}

static void plain_mean(const struct plain *p, float *mean, const uint32_t *set, size_t n)
{
    for (size_t c = 0; c < p->C; c++) {
        double sum = 0;

        for (size_t k = 0; k < n; k++)
            sum += (double)p->x[set[k] * p->C + c];
        mean[c] = (float)(sum / (double)n);
    }
}

/* As in DNABERT-S's evaluate/utils.py; `mark` is its -100, or -infinity for the paper's algorithm,
 * which stops where no row is left that has not been a centre.  Returns the rounds. */
static int plain_rounds(struct plain *p, double mark, int max_rounds)
{
    uint32_t *set = dnas_xalloc(p->N, sizeof(*set));
    float *centre = dnas_xalloc(p->C, sizeof(*centre));
    size_t n_left = p->N, n;
    int round = 0;

    while (n_left > 0) {
        size_t i = 0;

        for (size_t j = 1; j < p->N; j++)
            if (p->density[j] > p->density[i])
                i = j;
        if (p->density[i] == -INFINITY || round == max_rounds)
            break;
        round++;
        p->density[i] = mark;
        memcpy(centre, p->x + i * p->C, p->C * sizeof(*centre));
        n = plain_within(p, set, centre);
        for (int step = 1; step < 3 && n > 0; step++) {
            plain_mean(p, centre, set, n);
            n = plain_within(p, set, centre);
        }
        for (size_t k = 0; k < n; k++) {
            p->label[set[k]] = round;
            for (size_t j = 0; j < p->N; j++)
                if (p->s[j * p->N + set[k]] >= p->threshold)
                    p->density[j] -= (double)p->s[j * p->N + set[k]];
        }
        for (size_t k = 0; k < n; k++)
            p->density[set[k]] = mark;
        n_left -= n;
    }
    free(set);
    free(centre);
    return round;
}

static struct plain plain_new(const float *x, size_t N, size_t C, double threshold)
{
    struct plain p = {.N = N, .C = C, .x = x, .threshold = (float)threshold};

    p.s = dnas_xalloc(N, N * sizeof(*p.s));
    p.density = dnas_xzalloc(N, sizeof(*p.density));
    p.label = dnas_xalloc(N, sizeof(*p.label));
    for (size_t i = 0; i < N; i++) {
        dnas_cpu_similarity_rows(p.s + i * N, x, NULL, x + i * C, N, C);
        p.label[i] = -1;
        for (size_t j = 0; j < N; j++)
            if (p.s[i * N + j] >= p.threshold)
                p.density[i] += (double)p.s[i * N + j];
    }
    return p;
}

static void plain_release(struct plain *p)
{
    free(p->s);
    free(p->density);
    free(p->label);
}

/* What the labels 0..n_rounds of the plain algorithm are to be: -1 for small bins; the same under
 * as_dnabert_s, else 0, 1, ... in their order.  Returns how many bins there are. */
static int plain_numbers(int *number, const struct plain *p, int n_rounds, size_t min_bin_size,
                         bool as_dnabert_s)
{
    size_t *size = dnas_xzalloc((size_t)n_rounds + 1, sizeof(*size));
    int n_bins = 0;

    for (size_t i = 0; i < p->N; i++)
        if (p->label[i] >= 0)
            size[p->label[i]]++;
    for (int b = 0; b <= n_rounds; b++) {
        number[b] = size[b] == 0 || size[b] < min_bin_size ? -1 : as_dnabert_s ? b : n_bins;
        n_bins += number[b] >= 0;
    }
    free(size);
    return n_bins;
}

/* ---- data ---- */

/* Rows about as far from `n_centres` centres as `noise` says, of unit length. */
static float *make_rows(size_t N, size_t C, size_t n_centres, double noise, uint32_t draw)
{
    float *x = dnas_xalloc64(N, C * sizeof(*x)), *centre = dnas_xalloc(n_centres, C * sizeof(*x));
    struct dnas_rng rng;

    dnas_rng_init(&rng, 7, DNAS_RNG_TEST, 0, draw);
    for (size_t i = 0; i < n_centres * C; i++)
        centre[i] = (float)dnas_rng_normal(&rng);
    for (size_t i = 0; i < N; i++) {
        size_t k = dnas_rng_below(&rng, n_centres);

        for (size_t c = 0; c < C; c++)
            x[i * C + c] = centre[k * C + c] + (float)(noise * dnas_rng_normal(&rng));
    }
    dnas_kmeans_unit_rows(x, N, C, 1);
    free(centre);
    return x;
}

static struct dnas_kmedoid bins(const float *x, size_t N, size_t C, struct dnas_kmedoid_options o)
{
    struct dnas_kmedoid km;
    struct dnas_err err = {""};

    if (o.n_threads == 0)
        o.n_threads = 2;
    if (dnas_kmedoid_run(&km, x, N, C, &o, &err) != 0)
        CHECK_FAIL("failed: %s", err.msg);
    return km;
}

/* Compares with the plain algorithm: labels are to be those under as_dnabert_s, else the same
 * bins in the order of their rounds. */
static void compare_with_plain(const char *what, const float *x, size_t N, size_t C,
                               struct dnas_kmedoid_options o)
{
    struct plain p = plain_new(x, N, C, o.threshold);
    int max_rounds = o.max_rounds > 0 ? (int)o.max_rounds : 100000, *number, n_bins, n_rounds;
    struct dnas_kmedoid km = bins(x, N, C, o);
    size_t n_wrong = 0;

    n_rounds = plain_rounds(&p, o.as_dnabert_s ? -100 : -INFINITY, max_rounds);
    number = dnas_xalloc((size_t)n_rounds + 1, sizeof(*number));
    n_bins = plain_numbers(number, &p, n_rounds, o.min_bin_size, o.as_dnabert_s);
    for (size_t i = 0; i < N; i++)
        n_wrong += km.label[i] != (p.label[i] < 0 ? -1 : number[p.label[i]]);
    if (n_wrong > 0)
        CHECK_FAIL("%s: %zu of %zu labels differ", what, n_wrong, N);
    if (km.n_rounds != (uint64_t)n_rounds)
        CHECK_FAIL("%s: %d rounds, not %d", what, (int)km.n_rounds, n_rounds);
    CHECK_INT(km.n_bins, n_bins);
    free(number);
    plain_release(&p);
    dnas_kmedoid_release(&km);
}

/* ---- DNABERT-S's own ---- */

static float *golden_rows(const char *name, size_t *N, size_t *C)
{
    struct dnas_npy a = npz_read(GOLDEN, name, DNAS_NPY_AS_F32);
    float *x = dnas_xalloc64(a.n, sizeof(*x));

    *N = a.shape[0];
    *C = a.shape[1];
    memcpy(x, a.f32, a.n * sizeof(*x));
    dnas_kmeans_unit_rows(x, *N, *C, 1);
    dnas_npy_release(&a);
    return x;
}

static void test_reference_bins(void)
{
    const char *percentile[] = {"p70", "p50", "p30"};
    size_t N, C;
    float *x = golden_rows("bin_embedding", &N, &C);

    for (int p = 0; p < 3; p++)
        for (int compat = 0; compat < 2; compat++) {
            char name[32];
            struct dnas_npy want;
            struct dnas_kmedoid_options o = {.min_bin_size = 10, .max_rounds = 1000};
            struct dnas_kmedoid km;
            size_t n_wrong = 0;

            snprintf(name, sizeof(name), "%s_threshold", percentile[p]);
            o.threshold = npz_number(GOLDEN, name);
            o.as_dnabert_s = compat;
            snprintf(name, sizeof(name), "%s_bins", percentile[p]);
            want = npz_read(GOLDEN, name, DNAS_NPY_AS_I64);
            km = bins(x, N, C, o);
            for (size_t i = 0; i < N; i++)
                n_wrong +=
                    compat ? km.label[i] != want.i64[i] : (km.label[i] < 0) != (want.i64[i] < 0);
            if (n_wrong > 0)
                CHECK_FAIL("%s: %zu of %zu labels differ", percentile[p], n_wrong, N);
            CHECK(!km.limited);
            if (p == 0)
                CHECK_INT(km.n_rounds, 952);
            dnas_npy_release(&want);
            dnas_kmedoid_release(&km);
        }
    free(x);
}

static void test_reference_threshold(void)
{
    struct dnas_npy want = npz_read(GOLDEN, "percentiles", DNAS_NPY_AS_F64),
                    label = npz_read(GOLDEN, "cluster_labels", DNAS_NPY_AS_I64);
    size_t N, C;
    float *x = golden_rows("cluster_embedding", &N, &C);
    int32_t *classes = dnas_xalloc(N, sizeof(*classes));
    struct dnas_err err;
    double got = NAN;

    for (size_t i = 0; i < N; i++)
        classes[i] = (int32_t)label.i64[i];
    for (int p = 1; p <= 9; p++) {
        CHECK_INT(dnas_kmedoid_threshold_labelled(&got, x, classes, N, C, 25, 10. * p, &err), 0);
        CHECK_NEAR(got, want.f64[p - 1], 2e-7); /* f32 there, double here */
    }
    free(classes);
    free(x);
    dnas_npy_release(&want);
    dnas_npy_release(&label);
}

/* ---- the algorithm ---- */

static void test_same_as_plain(void)
{
    const double thresholds[] = {-0.2, 0, 0.3, 0.5, 0.6, 0.7, 0.8, 0.95, 1.5};
    const struct {
        size_t N, C, centres;
        double noise;
    } data[] = {{1, 3, 1, 1},      {2, 1, 1, 0},       {150, 3, 20, 0.2},
                {300, 17, 6, 0.7}, {700, 24, 12, 0.5}, {260, 40, 3, 1.2}};

    for (size_t d = 0; d < sizeof(data) / sizeof(data[0]); d++) {
        float *x = make_rows(data[d].N, data[d].C, data[d].centres, data[d].noise, (uint32_t)d);

        for (size_t t = 0; t < sizeof(thresholds) / sizeof(thresholds[0]); t++)
            for (int compat = 0; compat < 2; compat++) {
                struct dnas_kmedoid_options o = {.threshold = thresholds[t],
                                                 .min_bin_size = 1 + 4 * d,
                                                 .max_rounds = compat ? 1000 : 0,
                                                 .as_dnabert_s = compat};
                char what[64];

                snprintf(what, sizeof(what), "data %zu, threshold %g, compat %d", d, thresholds[t],
                         compat);
                compare_with_plain(what, x, data[d].N, data[d].C, o);
            }
        free(x);
    }
}

/* The mean of three rows at right angles to each other is near none of them: their centre takes
 * nothing. */
static void test_centres_that_take_nothing(void)
{
    enum { N = 60, C = 8 };
    float *x = dnas_xzalloc(N, C * sizeof(*x));
    struct dnas_kmedoid km;
    size_t n_none = 0;

    for (size_t i = 0; i < N; i++) {
        x[i * C] = 0.8f;
        x[i * C + 1 + i % 7] = 0.6f;
    }
    dnas_kmeans_unit_rows(x, N, C, 1);
    for (int compat = 0; compat < 2; compat++) {
        struct dnas_kmedoid_options o = {.threshold = 0.64 + 0.06,
                                         .min_bin_size = 1,
                                         .max_rounds = compat ? 300 : 0,
                                         .as_dnabert_s = compat};

        compare_with_plain("right angles", x, N, C, o);
        o.threshold = 0.6399;
        compare_with_plain("all near", x, N, C, o);
    }
    km = bins(x, N, C, (struct dnas_kmedoid_options){.threshold = 0.7, .min_bin_size = 9});
    for (size_t i = 0; i < N; i++)
        n_none += km.label[i] < 0;
    CHECK_INT(n_none, 3 * 8); /* four of seven directions have nine rows */
    dnas_kmedoid_release(&km);
    free(x);
}

/* The tie goes to the first row; equal rows are one bin. */
static void test_ties(void)
{
    enum { N = 40, C = 2 };
    float x[N * C] = {0};
    struct dnas_kmedoid km;

    for (size_t i = 0; i < N; i++)
        x[i * C + (i / 10) % 2] = 1; /* 0-9 and 20-29 one way, the others another */
    km = bins(x, N, C, (struct dnas_kmedoid_options){.threshold = 0.5, .min_bin_size = 10});
    CHECK_INT(km.n_bins, 2);
    for (size_t i = 0; i < N; i++)
        CHECK_INT(km.label[i], (i / 10) % 2);
    CHECK_INT(km.n_rounds, 2);
    CHECK_NEAR(km.score[3], 1, 0);
    CHECK_INT(km.n_pairs, 2 * 20 * 20);
    dnas_kmedoid_release(&km);
    km = bins(x, N, C, (struct dnas_kmedoid_options){.threshold = 0.5, .min_bin_size = 21});
    CHECK_INT(km.n_bins, 0);
    CHECK_INT(km.n_small, 2);
    CHECK_INT(km.label[0], -1);
    CHECK_NEAR(km.score[0], 0, 0);
    dnas_kmedoid_release(&km);
}

/* The first of equals, wherever it is looked for. */
static void test_ties_far_apart(void)
{
    enum { N = 600 };
    float x[N * 2] = {0};
    struct dnas_kmedoid km;

    for (size_t i = 0; i < N; i++)
        x[i * 2 + (i + (i >= N / 2)) % 2] = 1;
    km = bins(x, N, 2, (struct dnas_kmedoid_options){.threshold = 0.5, .min_bin_size = 10});
    CHECK_INT(km.n_bins, 2);
    CHECK_INT(km.label[0], 0);
    CHECK_INT(km.label[N - 1], 0);
    CHECK_INT(km.label[1], 1);
    dnas_kmedoid_release(&km);
}

static void test_limit(void)
{
    float *x = make_rows(200, 16, 10, 0.4, 77);
    struct dnas_kmedoid_options o = {.threshold = 0.7, .min_bin_size = 2, .max_rounds = 3};
    struct dnas_kmedoid km = bins(x, 200, 16, o);
    uint64_t n_rounds;

    CHECK(km.limited);
    CHECK_INT(km.n_rounds, 3);
    CHECK_INT(km.n_bins, 3);
    dnas_kmedoid_release(&km);
    o.max_rounds = 0;
    km = bins(x, 200, 16, o);
    CHECK(!km.limited);
    n_rounds = km.n_rounds;
    dnas_kmedoid_release(&km);
    o.max_rounds = n_rounds;
    km = bins(x, 200, 16, o);
    CHECK(!km.limited); /* just enough is no limit */
    dnas_kmedoid_release(&km);
    compare_with_plain(
        "limited", x, 200, 16,
        (struct dnas_kmedoid_options){
            .threshold = 0.7, .min_bin_size = 2, .max_rounds = 5, .as_dnabert_s = 1});
    free(x);
}

static void test_no_rows_and_zero_rows(void)
{
    float zero[12 * 3] = {0};
    struct dnas_kmedoid km = bins(zero, 0, 3, (struct dnas_kmedoid_options){.threshold = 0.5});

    CHECK_INT(km.n_bins, 0);
    CHECK_INT(km.n_rounds, 0);
    CHECK(!km.limited);
    dnas_kmedoid_release(&km);
    for (int compat = 0; compat < 2; compat++) {
        km = bins(zero, 12, 3,
                  (struct dnas_kmedoid_options){.threshold = 0.5,
                                                .min_bin_size = 1,
                                                .max_rounds = compat ? 1000 : 0,
                                                .as_dnabert_s = compat});
        CHECK_INT(km.n_bins, 0);
        CHECK_INT(km.label[11], -1);
        CHECK_INT(km.limited, compat); /* the reference never ends by itself then */
        dnas_kmedoid_release(&km);
    }
    km = bins(zero, 12, 3, (struct dnas_kmedoid_options){.threshold = 0.5, .as_dnabert_s = true});
    CHECK(!km.limited); /* without a limit it ends where nothing changes any more */
    CHECK(km.n_rounds >= 12 && km.n_rounds < 100);
    dnas_kmedoid_release(&km);
    /* Whatever is like anything: zero rows too. */
    compare_with_plain("zeros", zero, 12, 3,
                       (struct dnas_kmedoid_options){.threshold = 0, .min_bin_size = 2});
}

static void test_bad_rows(void)
{
    float x[4] = {1, 0, 0, 1};
    struct dnas_kmedoid_options o = {.threshold = 0.5, .n_threads = 1};
    struct dnas_kmedoid km;
    struct dnas_err err;

    x[3] = NAN;
    CHECK_INT(dnas_kmedoid_run(&km, x, 2, 2, &o, &err), -1);
    CHECK_STR(err.msg, "row 2 has a value that is not finite");
    CHECK(!km.label && km.N == 0);
    dnas_kmedoid_release(&km);
    x[3] = 1e19f;
    CHECK_INT(dnas_kmedoid_run(&km, x, 2, 2, &o, &err), -1);
    CHECK_STR(err.msg, "row 2 is too long (1e+19): scale the rows to unit length");
    dnas_kmedoid_release(&km);
}

/* So many pairs are alike that no neighbours are listed: first all rows are looked at, then lists
 * are made of what is left.  In two cones, one wide and one narrow. */
static void test_too_many_neighbours(void)
{
    enum { N = 3300, C = 8, WIDE = 3000 };
    float *x = dnas_xalloc64(N, C * sizeof(*x));
    struct dnas_rng rng;
    struct dnas_similar s;
    struct dnas_err err;

    dnas_rng_init(&rng, 3, DNAS_RNG_TEST, 0, 0);
    for (size_t i = 0; i < N; i++)
        for (size_t c = 0; c < C; c++)
            x[i * C + c] = (float)((c == (i * 7 % N >= WIDE) ? 2.5 : 0) + dnas_rng_normal(&rng));
    dnas_kmeans_unit_rows(x, N, C, 1);
    CHECK_INT(dnas_similar_run(&s, x, N, C, 0.4f, 2, &err), 0);
    CHECK(!s.first);
    CHECK(s.n_pairs > DNAS_SIMILAR_NEIGHBOURS(N, C));
    dnas_similar_release(&s);
    for (int compat = 0; compat < 2; compat++)
        compare_with_plain("too many", x, N, C,
                           (struct dnas_kmedoid_options){.threshold = 0.4,
                                                         .min_bin_size = 3,
                                                         .max_rounds = compat ? 4000 : 0,
                                                         .as_dnabert_s = compat,
                                                         .n_threads = 3});
    free(x);
}

static void test_threads(void)
{
    float *x = make_rows(1500, 20, 30, 0.5, 6);
    struct dnas_kmedoid_options o = {.threshold = 0.6, .min_bin_size = 3, .n_threads = 1};
    struct dnas_kmedoid one = bins(x, 1500, 20, o);

    CHECK(one.n_bins > 5);
    for (o.n_threads = 2; o.n_threads <= 7; o.n_threads += 5) {
        struct dnas_kmedoid more = bins(x, 1500, 20, o);

        CHECK(memcmp(one.label, more.label, 1500 * sizeof(*one.label)) == 0);
        CHECK(memcmp(one.score, more.score, 1500 * sizeof(*one.score)) == 0);
        CHECK_INT(more.n_pairs, one.n_pairs);
        dnas_kmedoid_release(&more);
    }
    dnas_kmedoid_release(&one);
    free(x);
}

/* Scores are cosines with the bin's mean, also of rows that were not scaled. */
static void test_scores(void)
{
    const float x[] = {2, 0, 0, 3, 1, 1};
    struct dnas_kmedoid km =
        bins(x, 3, 2, (struct dnas_kmedoid_options){.threshold = -1e9, .min_bin_size = 1});

    CHECK_INT(km.n_bins, 1);
    CHECK_NEAR(km.score[0], 3 / 5., 1e-7);
    CHECK_NEAR(km.score[1], 4 / 5., 1e-7);
    CHECK_NEAR(km.score[2], 7 / (5 * sqrt(2)), 1e-7);
    dnas_kmedoid_release(&km);
}

/* More pairs than 32 bits count. */
static void test_many_pairs(void)
{
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    SKIP("takes minutes under a sanitizer");
#else
    enum { N = 66000, C = 16, ODD = 65536 };
    float *x = dnas_xzalloc(N, C * sizeof(*x));
    struct dnas_kmedoid km;

    for (size_t i = 0; i < N; i++)
        x[i * C + 3] = i == ODD ? -1 : 1;
    km = bins(x, N, C, (struct dnas_kmedoid_options){.threshold = 0.5, .min_bin_size = 2});
    CHECK(km.n_pairs == UINT64_C(65999) * 65999 + 1);
    CHECK_INT(km.n_bins, 1);
    CHECK_INT(km.n_small, 1);
    for (size_t i = 0; i < N; i++)
        CHECK_INT(km.label[i], i == ODD ? -1 : 0);
    dnas_kmedoid_release(&km);
    free(x);
#endif
}

/* ---- thresholds ---- */

static void test_labelled_threshold(void)
{
    /* Means (0.5, 0.5) and (0, 1); a row without a class is left out; one class has one row. */
    const float x[] = {1, 0, 0, 1, 0, 1, 9, 9};
    const int32_t classes[] = {0, 0, 1, -1}, none[] = {-1, -1, -1, -1};
    struct dnas_err err;
    double t = 0;

    CHECK_INT(dnas_kmedoid_threshold_labelled(&t, x, classes, 4, 2, 2, 0, &err), 0);
    CHECK_NEAR(t, 0.5, 0);
    CHECK_INT(dnas_kmedoid_threshold_labelled(&t, x, classes, 4, 2, 2, 66, &err), 0);
    CHECK_NEAR(t, 0.5, 0);
    CHECK_INT(dnas_kmedoid_threshold_labelled(&t, x, classes, 4, 2, 2, 67, &err), 0);
    CHECK_NEAR(t, 1, 0);
    CHECK_INT(dnas_kmedoid_threshold_labelled(&t, x, classes, 4, 2, 2, 100, &err), 0);
    CHECK_NEAR(t, 1, 0);
    CHECK_INT(dnas_kmedoid_threshold_labelled(&t, x, none, 4, 2, 0, 70, &err), -1);
    CHECK_STR(err.msg, "no row has a label, so no threshold follows from it");
}

static int by_value(const void *a, const void *b)
{
    float x = *(const float *)a, y = *(const float *)b;

    return (x > y) - (x < y);
}

static void test_guessed_threshold(void)
{
    enum { N = 1700, C = 12 };
    float *x = make_rows(N, C, 40, 0.5, 9), *s = dnas_xalloc(N, sizeof(*s)), nth[1000];
    struct dnas_err err;
    double one = 0, three = 0;

    for (uint32_t k = 0; k < 1000; k++) {
        size_t row = k * (size_t)N / 1000;

        dnas_cpu_similarity_rows(s, x, NULL, x + row * C, N, C);
        s[row] = -9;
        qsort(s, N, sizeof(*s), by_value);
        nth[k] = s[N - 9];
    }
    qsort(nth, 1000, sizeof(*nth), by_value);
    CHECK_INT(dnas_kmedoid_threshold_guess(&one, x, N, C, 9, 1, &err), 0);
    CHECK_INT(dnas_kmedoid_threshold_guess(&three, x, N, C, 9, 3, &err), 0);
    CHECK(one == (double)nth[100]);
    CHECK(one == three);
    CHECK_INT(dnas_kmedoid_threshold_guess(&one, x, 2, C, 9, 1, &err), 0);
    dnas_cpu_similarity_rows(s, x, NULL, x + C, 1, C);
    CHECK(one == (double)s[0]); /* the only other row */
    CHECK_INT(dnas_kmedoid_threshold_guess(&one, x, 1, C, 9, 1, &err), -1);
    CHECK_STR(err.msg, "one row says nothing about a threshold; give --threshold");
    free(x);
    free(s);
}

int main(void)
{
    RUN(test_reference_bins);
    RUN(test_reference_threshold);
    RUN(test_same_as_plain);
    RUN(test_centres_that_take_nothing);
    RUN(test_ties);
    RUN(test_ties_far_apart);
    RUN(test_limit);
    RUN(test_no_rows_and_zero_rows);
    RUN(test_bad_rows);
    RUN(test_too_many_neighbours);
    RUN(test_threads);
    RUN(test_scores);
    RUN(test_many_pairs);
    RUN(test_labelled_threshold);
    RUN(test_guessed_threshold);
    return check_done();
}
