/* SPDX-License-Identifier: MIT
 *
 * test_graph_bin.c - bins against the plain algorithm over all pairs, written
 * again here; neighbours that are near against all of them.
 */
#include "common/graph_bin.h"

#include "common/knn.h"
#include "common/near.h"
#include "common/rng.h"
#include "common/xmem.h"
#include "tests/unit/check.h"

#define C 6
#define MAX_N 120

struct data {
    size_t N;
    float x[MAX_N * C];
    uint32_t length_bp[MAX_N];
    struct dnas_plda plda;
};

static struct data draw(size_t N, size_t n_species, double spread, uint32_t seed)
{
    static const float between[C] = {9, 5, 4, 2, 1, 0.5f}, noise[C] = {0.3f, 0.2f, 0.1f, 0.1f};
    static const float noise_kb[C] = {4, 4, 4, 3.5f, 4, 3};
    struct data d = {.N = N};
    float floors[C], middle[MAX_N][C];
    struct dnas_rng rng;

    for (size_t c = 0; c < C; c++)
        floors[c] = noise[c] > 0 ? noise[c] : 0.001f;
    dnas_plda_init(&d.plda, between, floors, noise_kb, C);
    dnas_rng_init(&rng, seed, DNAS_RNG_TEST, 2, 0);
    for (size_t s = 0; s < n_species; s++)
        for (size_t c = 0; c < C; c++)
            middle[s][c] = (float)(spread * sqrt((double)between[c]) * dnas_rng_normal(&rng));
    for (size_t i = 0; i < N; i++) {
        d.length_bp[i] = (uint32_t)(1000 + 19000 * dnas_rng_uniform(&rng));
        for (size_t c = 0; c < C; c++)
            d.x[i * C + c] =
                (float)((double)middle[i % n_species][c] +
                        sqrt((double)floors[c] + (double)noise_kb[c] * 1000 / d.length_bp[i]) *
                            dnas_rng_normal(&rng));
    }
    return d;
}

static const struct dnas_graph_bin_options all_pairs = {
    .k = MAX_N, .max_list = MAX_N, .min_size = 1, .exact_rows = MAX_N, .n_threads = 1};

/* ---- the plain algorithm ---- */

/* The evidence of the rows of number a and of those of number b as one species, each set with a
 * drift of its own; no row need have a number. */
static double plain_evidence(const struct data *d, const int *of, int a, int b)
{
    double sum = 0;

    for (size_t c = 0; c < C; c++) {
        double p[2] = {0, 0}, h[2] = {0, 0}, between = d->plda.between[c];
        double drift = d->plda.noise[c] / 2, all_p, all_h;

        for (size_t i = 0; i < d->N; i++) {
            double v = d->plda.noise[c] + d->plda.noise_kb[c] / (d->length_bp[i] / 1000.);

            if (of[i] != a && of[i] != b)
                continue;
            p[of[i] == b] += 1 / v;
            h[of[i] == b] += (double)d->x[i * C + c] / v;
        }
        all_p = p[0] / (1 + drift * p[0]) + p[1] / (1 + drift * p[1]);
        all_h = h[0] / (1 + drift * p[0]) + h[1] / (1 + drift * p[1]);
        sum += -log(1 + between * all_p) / 2 + all_h * all_h * between / (1 + between * all_p) / 2;
    }
    return sum;
}

static double plain_ratio(const struct data *d, const int *of, int a, int b)
{
    return plain_evidence(d, of, a, b) - plain_evidence(d, of, a, -1) -
           plain_evidence(d, of, b, -1);
}

/* Who is joined to whom: each row to its k nearest, both ways. */
static void join(const struct data *d, bool joined[MAX_N][MAX_N], size_t k)
{
    static float x[MAX_N * C];
    static uint32_t near[MAX_N * MAX_N];
    struct dnas_knn_options o = {.k = k, .metric = DNAS_KNN_COSINE, .n_threads = 1};

    for (size_t i = 0; i < d->N; i++)
        dnas_plda_direction(&d->plda, x + i * C, d->x + i * C, d->length_bp[i], NULL);
    CHECK_INT(dnas_knn_search(near, NULL, NULL, d->N, x, d->N, C, &o, NULL), 0);
    memset(joined, 0, MAX_N * sizeof(*joined));
    for (size_t i = 0; i < d->N; i++)
        for (size_t j = 0; j < k; j++)
            joined[i][near[i * k + j]] = joined[near[i * k + j]][i] = true;
}

/* Merges the likeliest joined pair until none is likely; returns how often. */
static size_t plain_bins(const struct data *d, int *of, size_t k)
{
    static bool joined[MAX_N][MAX_N];
    static double ratio[MAX_N][MAX_N];
    size_t n_merges = 0;

    join(d, joined, k);
    for (int i = 0; i < (int)d->N; i++)
        of[i] = i;
    for (int a = 0; a < (int)d->N; a++)
        for (int b = 0; b < a; b++)
            ratio[a][b] = plain_ratio(d, of, a, b);
    for (;; n_merges++) {
        int best_a = 0, best_b = 0;
        double best = 0;

        for (int a = 0; a < (int)d->N; a++)
            for (int b = 0; b < a; b++)
                if (joined[a][b] && ratio[a][b] > best) {
                    best = ratio[a][b];
                    best_a = a;
                    best_b = b;
                }
        if (best <= 0)
            return n_merges;
        for (size_t i = 0; i < d->N; i++)
            of[i] = of[i] == best_b ? best_a : of[i];
        for (int b = 0; b < (int)d->N; b++) { /* best_b is gone */
            bool alive = false;

            joined[best_a][b] = joined[best_a][b] || joined[best_b][b];
            joined[b][best_a] = joined[best_a][b];
            for (size_t i = 0; i < d->N; i++)
                alive = alive || of[i] == b;
            if (b != best_a && b != best_b && alive)
                ratio[b > best_a ? b : best_a][b > best_a ? best_a : b] =
                    plain_ratio(d, of, best_a, b);
            if (b != best_b)
                ratio[b > best_b ? b : best_b][b > best_b ? best_b : b] = -1;
        }
    }
}

static void check_same_bins(const struct dnas_graph_bin *g, const int *of)
{
    for (size_t i = 0; i < g->N; i++)
        for (size_t j = 0; j < i; j++)
            if ((g->label[i] == g->label[j]) != (of[i] == of[j])) {
                CHECK_FAIL("rows %zu and %zu: bins %d and %d, plainly %d and %d", i, j,
                           (int)g->label[i], (int)g->label[j], of[i], of[j]);
                return;
            }
}

static void test_against_all_pairs(void)
{
    for (uint32_t seed = 1; seed <= 12; seed++) {
        struct data d = draw(seed % 2 ? 60 : 97, 1 + seed, seed > 8 ? 0.4 : 1, seed);
        struct dnas_graph_bin g;
        int of[MAX_N];
        struct dnas_graph_bin_options o = all_pairs;
        size_t n_merges;

        o.k = seed % 3 == 0 ? d.N - 1 : seed; /* few, and all */
        n_merges = plain_bins(&d, of, o.k);

        CHECK_INT(dnas_graph_bin_run(&g, d.x, d.length_bp, NULL, d.N, C, &d.plda, &o, NULL), 0);
        CHECK_INT(g.n_merges, n_merges);
        CHECK_INT(g.n_bins, d.N - n_merges);
        CHECK_INT(g.n_small, 0);
        check_same_bins(&g, of);
        for (size_t i = 0; i < d.N; i++) {
            int alone[MAX_N];
            bool is_alone = true;

            for (size_t j = 0; j < d.N; j++) {
                alone[j] = j == i ? MAX_N : of[j];
                is_alone = is_alone && (j == i || of[j] != of[i]);
            }
            CHECK_NEAR(g.score[i], is_alone ? 0 : plain_ratio(&d, alone, of[i], MAX_N), 1e-4);
        }
        dnas_graph_bin_release(&g);
        dnas_plda_release(&d.plda);
    }
}

/* Few neighbours, and lists that are cut: still nearly the species, whatever the threads. */
static void test_few_neighbours(void)
{
    struct data d = draw(120, 6, 3, 21);
    const struct dnas_graph_bin_options tries[] = {{6, 128, 1, 0, MAX_N, 1, false},
                                                   {6, 128, 1, 0, 0, 1, false},
                                                   {4, 6, 1, 0, MAX_N, 1, false}};

    for (size_t t = 0; t < 3; t++) {
        struct dnas_graph_bin g, again;
        size_t n_right = 0, n_pairs = 0;

        CHECK_INT(dnas_graph_bin_run(&g, d.x, d.length_bp, NULL, d.N, C, &d.plda, &tries[t], NULL),
                  0);
        for (size_t i = 0; i < d.N; i++)
            for (size_t j = 0; j < i; j++) {
                n_pairs++;
                n_right += (g.label[i] == g.label[j]) == (i % 6 == j % 6);
            }
        CHECK((double)n_right > 0.97 * (double)n_pairs);
        for (int n_threads = 2; n_threads <= 5; n_threads += 3) {
            struct dnas_graph_bin_options o = tries[t];

            o.n_threads = n_threads;
            CHECK_INT(dnas_graph_bin_run(&again, d.x, d.length_bp, NULL, d.N, C, &d.plda, &o, NULL),
                      0);
            CHECK(memcmp(again.label, g.label, d.N * sizeof(*g.label)) == 0);
            CHECK(memcmp(again.score, g.score, d.N * sizeof(*g.score)) == 0);
            dnas_graph_bin_release(&again);
        }
        dnas_graph_bin_release(&g);
    }
    dnas_plda_release(&d.plda);
}

/* Bins are numbered by their letters; what is small is left out, rows of zeros are in none. */
static void test_sizes_and_zeros(void)
{
    struct data d = draw(40, 4, 4, 31);
    struct dnas_graph_bin_options o = all_pairs;
    struct dnas_graph_bin g;
    uint64_t bp[4] = {0};

    for (size_t i = 36; i < 40; i++)
        memset(d.x + i * C, 0, C * sizeof(float));
    for (size_t i = 0; i < 36;
         i++) { /* species s: 9 rows of (s + 1) kb, but two of 3 are cut off */
        d.length_bp[i] = 5000 + 1000 * (uint32_t)(i % 4);
        bp[i % 4] += d.length_bp[i];
    }
    CHECK_INT(dnas_graph_bin_run(&g, d.x, d.length_bp, NULL, 40, C, &d.plda, &o, NULL), 0);
    CHECK_INT(g.n_bins, 4);
    for (size_t i = 0; i < 36; i++)
        CHECK_INT(g.label[i], 3 - (int)(i % 4));
    for (size_t i = 36; i < 40; i++) {
        CHECK_INT(g.label[i], -1);
        CHECK(g.score[i] == 0);
    }
    dnas_graph_bin_release(&g);
    o.min_bp = bp[1];
    CHECK_INT(dnas_graph_bin_run(&g, d.x, d.length_bp, NULL, 40, C, &d.plda, &o, NULL), 0);
    CHECK_INT(g.n_bins, 3); /* as many letters as that are enough */
    CHECK_INT(g.n_small, 1);
    for (size_t i = 0; i < 36; i++) {
        CHECK_INT(g.label[i], i % 4 == 0 ? -1 : 3 - (int)(i % 4));
        CHECK((g.score[i] > 0) == (i % 4 != 0));
    }
    dnas_graph_bin_release(&g);
    o.min_bp = 0;
    o.min_size = 9;
    CHECK_INT(dnas_graph_bin_run(&g, d.x, d.length_bp, NULL, 40, C, &d.plda, &o, NULL), 0);
    CHECK_INT(g.n_bins, 4);
    dnas_graph_bin_release(&g);
    o.min_size = 10;
    CHECK_INT(dnas_graph_bin_run(&g, d.x, d.length_bp, NULL, 40, C, &d.plda, &o, NULL), 0);
    CHECK_INT(g.n_bins, 0);
    CHECK_INT(g.n_small, 4);
    dnas_graph_bin_release(&g);
    dnas_plda_release(&d.plda);
}

/* Equal rows tie everywhere, and the first pair goes first. */
static void test_ties_and_corners(void)
{
    struct data d = draw(30, 1, 1, 41);
    struct dnas_graph_bin g;

    for (size_t i = 1; i < 30; i++) {
        memcpy(d.x + i * C, d.x, C * sizeof(float));
        d.length_bp[i] = d.length_bp[0] = 10000;
    }
    for (size_t c = 0; c < C; c++) /* far from where nothing is known */
        for (size_t i = 0; i < 30; i++)
            d.x[i * C + c] = 5;
    for (size_t N = 0; N <= 30; N += N < 3 ? 1 : 27) {
        CHECK_INT(dnas_graph_bin_run(&g, d.x, d.length_bp, NULL, N, C, &d.plda, &all_pairs, NULL),
                  0);
        CHECK_INT(g.n_bins, N > 0);
        for (size_t i = 0; i < N; i++)
            CHECK_INT(g.label[i], 0);
        dnas_graph_bin_release(&g);
    }
    dnas_plda_release(&d.plda);
}

/* ---- neighbours that are near ---- */

static float *unit_rows(size_t N, size_t n_groups)
{
    float *x = dnas_xalloc64(N, C * sizeof(*x));
    double *middle = dnas_xalloc(n_groups, C * sizeof(*middle));
    struct dnas_rng rng;

    dnas_rng_init(&rng, 5, DNAS_RNG_TEST, 3, 0);
    for (size_t i = 0; i < n_groups * C; i++)
        middle[i] = dnas_rng_normal(&rng);
    for (size_t i = 0; i < N; i++) {
        double norm = 0;

        for (size_t c = 0; c < C; c++) {
            x[i * C + c] = (float)(middle[i % n_groups * C + c] + 0.2 * dnas_rng_normal(&rng));
            norm += (double)x[i * C + c] * (double)x[i * C + c];
        }
        for (size_t c = 0; c < C; c++)
            x[i * C + c] = (float)((double)x[i * C + c] / sqrt(norm));
    }
    free(middle);
    return x;
}

/* The share of the k nearest that are found; all, where every list is looked through. */
static double near_recall(size_t N, size_t k, int n_threads)
{
    float *x = unit_rows(N, N / 50 + 1);
    uint32_t *want = dnas_xalloc(N, k * sizeof(*want)), *got = dnas_xalloc(N, k * sizeof(*got));
    struct dnas_knn_options o = {.k = k, .metric = DNAS_KNN_COSINE, .n_threads = n_threads};
    size_t n = 0;

    CHECK_INT(dnas_knn_search(want, NULL, NULL, N, x, N, C, &o, NULL), 0);
    CHECK_INT(dnas_near_search(got, x, N, C, &o, NULL), 0);
    for (size_t i = 0; i < N; i++)
        for (size_t a = 0; a < k; a++) {
            CHECK(got[i * k + a] < N && got[i * k + a] != i);
            for (size_t b = 0; b < k; b++) {
                n += want[i * k + a] == got[i * k + b];
                CHECK(a == b || got[i * k + a] != got[i * k + b]);
            }
        }
    free(x);
    free(want);
    free(got);
    return (double)n / (double)(N * k);
}

static void test_near(void)
{
    float row[3 * C] = {1, 0, 0, 0, 0, 0, 0, 1};
    static float copies[300 * C];
    uint32_t got[3 * 4], of_copies[300 * 4];
    struct dnas_knn_options o = {.k = 4, .metric = DNAS_KNN_COSINE, .n_threads = 1};
    struct dnas_err err;

    for (size_t i = 0; i < 300; i++) /* copies of one row: none is its own neighbour */
        copies[i * C] = 1;
    CHECK_INT(dnas_near_search(of_copies, copies, 300, C, &o, NULL), 0);
    for (size_t i = 0; i < 300 * 4; i++)
        CHECK(of_copies[i] < 300 && of_copies[i] != i / 4);
    CHECK(near_recall(2000, 7, 3) == 1);
    CHECK(near_recall(256, 3, 1) == 1);
    CHECK(near_recall(257, 3, 1) == 1);
    CHECK(near_recall(30000, 5, 2) > 0.95);                   /* 118 lists, of which 48 */
    CHECK_INT(dnas_near_search(got, row, 3, C, &o, NULL), 0); /* fewer than k others */
    CHECK_INT(got[0], 1);
    CHECK_INT(got[1], 2);
    CHECK(got[2] == DNAS_NEAR_NONE && got[3] == DNAS_NEAR_NONE);
    CHECK_INT(got[4], 0);
    CHECK_INT(dnas_near_search(got, row, 0, C, &o, NULL), 0);
    o.k = 0;
    CHECK_INT(dnas_near_search(got, row, 3, C, &o, &err), -1);
}

int main(void)
{
    RUN(test_against_all_pairs);
    RUN(test_few_neighbours);
    RUN(test_sizes_and_zeros);
    RUN(test_ties_and_corners);
    RUN(test_near);
    return check_done();
}
