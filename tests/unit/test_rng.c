/* SPDX-License-Identifier: MIT
 *
 * test_rng.c - random numbers: known answers, ranges, and what draws are made of.
 */
#include "common/rng.h"

#include "tests/unit/check.h"

/* The vectors of the Random123 distribution (kat_vectors, philox4x32 10). */
static void test_known_answers(void)
{
    static const struct {
        uint32_t counter[4], key[2], want[4];
    } kat[] = {
        {{0, 0, 0, 0}, {0, 0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
        {{0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff},
         {0xffffffff, 0xffffffff},
         {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
        {{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
         {0xa4093822, 0x299f31d0},
         {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
    };

    for (size_t i = 0; i < sizeof(kat) / sizeof(kat[0]); i++) {
        uint32_t out[4];

        dnas_philox4x32(out, kat[i].counter, kat[i].key);
        for (int k = 0; k < 4; k++)
            CHECK_INT(out[k], kat[i].want[k]);
    }
}

/* Seed, step, row and purpose lie where rng.h says: results depend on it. */
static void test_layout(void)
{
    struct dnas_rng rng;
    const uint32_t counter[4] = {0, 7, 9, DNAS_RNG_KMEANS_INIT}, key[2] = {0x89abcdef, 0x01234567};
    uint32_t want[4];

    dnas_philox4x32(want, counter, key);
    dnas_rng_init(&rng, UINT64_C(0x0123456789abcdef), DNAS_RNG_KMEANS_INIT, 7, 9);
    for (int i = 0; i < 4; i++)
        CHECK_INT(dnas_rng_u32(&rng), want[i]);
    dnas_philox4x32(want, (const uint32_t[4]){1, 7, 9, DNAS_RNG_KMEANS_INIT}, key);
    CHECK_INT(dnas_rng_u64(&rng) == (want[0] | (uint64_t)want[1] << 32), 1);
}

static void test_sequences_differ(void)
{
    struct dnas_rng a, b;
    static const struct {
        uint64_t seed;
        enum dnas_rng_purpose purpose;
        uint32_t step, row;
    } other[] = {{2, DNAS_RNG_TEST, 3, 4},
                 {1 + (UINT64_C(1) << 32), DNAS_RNG_TEST, 3, 4},
                 {1, DNAS_RNG_BENCH, 3, 4},
                 {1, DNAS_RNG_TEST, 4, 4},
                 {1, DNAS_RNG_TEST, 3, 5}};

    for (size_t i = 0; i < sizeof(other) / sizeof(other[0]); i++) {
        int n_same = 0;

        dnas_rng_init(&a, 1, DNAS_RNG_TEST, 3, 4);
        dnas_rng_init(&b, other[i].seed, other[i].purpose, other[i].step, other[i].row);
        for (int k = 0; k < 1000; k++)
            n_same += dnas_rng_u32(&a) == dnas_rng_u32(&b);
        CHECK_INT(n_same, 0);
    }
    dnas_rng_init(&a, 1, DNAS_RNG_TEST, 3, 4);
    dnas_rng_init(&b, 1, DNAS_RNG_TEST, 3, 4);
    for (int k = 0; k < 1000; k++)
        CHECK_INT(dnas_rng_u64(&a) == dnas_rng_u64(&b), 1);
}

/* Means and variances within five standard errors; the draws are fixed. */
static void test_uniform(void)
{
    enum { N = 100000 };
    struct dnas_rng rng;
    double sum = 0, sum2 = 0, least = 1, most = 0;

    dnas_rng_init(&rng, 1, DNAS_RNG_TEST, 0, 0);
    for (int i = 0; i < N; i++) {
        double x = dnas_rng_uniform(&rng);

        CHECK(x >= 0 && x < 1);
        CHECK(x * 0x1p53 == floor(x * 0x1p53));
        sum += x;
        sum2 += x * x;
        least = x < least ? x : least;
        most = x > most ? x : most;
    }
    CHECK_NEAR(sum / N, 0.5, 5 * sqrt(1.0 / 12 / N));
    CHECK_NEAR(sum2 / N, 1.0 / 3, 5 * sqrt(4.0 / 45 / N));
    CHECK(least < 1e-3 && most > 1 - 1e-3);
}

static void test_normal(void)
{
    enum { N = 100000 };
    struct dnas_rng rng;
    double sum = 0, sum2 = 0, sum4 = 0;

    dnas_rng_init(&rng, 2, DNAS_RNG_TEST, 0, 0);
    for (int i = 0; i < N; i++) {
        double x = dnas_rng_normal(&rng);

        CHECK(isfinite(x));
        sum += x;
        sum2 += x * x;
        sum4 += x * x * x * x;
    }
    CHECK_NEAR(sum / N, 0, 5 * sqrt(1.0 / N));
    CHECK_NEAR(sum2 / N, 1, 5 * sqrt(2.0 / N));
    CHECK_NEAR(sum4 / N, 3, 5 * sqrt(96.0 / N));
}

static void test_below(void)
{
    static const uint64_t limits[] = {
        1, 2, 3, 7, 1000, UINT64_C(1) << 32, (UINT64_C(1) << 63) + 1, UINT64_MAX};
    struct dnas_rng rng;

    dnas_rng_init(&rng, 3, DNAS_RNG_TEST, 0, 0);
    for (size_t i = 0; i < sizeof(limits) / sizeof(limits[0]); i++)
        for (int k = 0; k < 2000; k++)
            CHECK(dnas_rng_below(&rng, limits[i]) < limits[i]);
    for (uint64_t n = 2; n <= 10; n++) { /* all equally likely: chi-squared */
        enum { N = 20000 };
        int count[10] = {0};
        double chi2 = 0, expected = (double)N / (double)n;

        for (int k = 0; k < N; k++)
            count[dnas_rng_below(&rng, n)]++;
        for (uint64_t k = 0; k < n; k++)
            chi2 += (count[k] - expected) * (count[k] - expected) / expected;
        CHECK(chi2 < (double)(n - 1) + 5 * sqrt(2.0 * (double)(n - 1)) + 5);
    }
}

static int ascending(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return x < y ? -1 : x > y;
}

static void test_sample(void)
{
    static const struct {
        size_t n;
        uint64_t total;
    } cases[] = {{0, 0},   {0, 5},       {1, 1},        {5, 5},           {1000, 1000},
                 {3, 100}, {1000, 1001}, {1000, 50000}, {500, UINT64_MAX}};
    static uint64_t out[1000];
    struct dnas_rng rng;

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        size_t n = cases[i].n, n_in_place = 0;

        dnas_rng_init(&rng, 4, DNAS_RNG_TEST, 0, (uint32_t)i);
        dnas_rng_sample(&rng, out, n, cases[i].total);
        for (size_t k = 0; k < n; k++)
            n_in_place += out[k] == k;
        CHECK(n < 100 || n_in_place < 20); /* shuffled: about one stays */
        qsort(out, n, sizeof(out[0]), ascending);
        for (size_t k = 0; k < n; k++) {
            CHECK(out[k] < cases[i].total);
            CHECK(k == 0 || out[k] > out[k - 1]);
            CHECK(cases[i].total != n || out[k] == k);
        }
    }
}

/* Every pair of 5 is drawn equally often, in either order. */
static void test_sample_is_fair(void)
{
    enum { N = 40000 };
    int count[5][5] = {{0}};

    for (uint32_t i = 0; i < N; i++) {
        struct dnas_rng rng;
        uint64_t out[2];

        dnas_rng_init(&rng, 5, DNAS_RNG_TEST, i, 0);
        dnas_rng_sample(&rng, out, 2, 5);
        count[out[0]][out[1]]++;
    }
    for (int a = 0; a < 5; a++)
        for (int b = 0; b < 5; b++)
            CHECK_NEAR(count[a][b], a == b ? 0 : N / 20.0, a == b ? 0 : 5 * sqrt(N / 20.0));
}

int main(void)
{
    RUN(test_known_answers);
    RUN(test_layout);
    RUN(test_sequences_differ);
    RUN(test_uniform);
    RUN(test_normal);
    RUN(test_below);
    RUN(test_sample);
    RUN(test_sample_is_fair);
    return check_done();
}
