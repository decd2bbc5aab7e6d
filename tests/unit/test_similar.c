/* SPDX-License-Identifier: MIT
 *
 * test_similar.c - sums and neighbours against all pairs computed one by one, and
 * that bounds are bounds.
 */
#include "common/similar.h"

#include <string.h>

#include "common/kmeans.h"
#include "common/rng.h"
#include "common/similar_bound.h"
#include "common/xmem.h"
#include "kernels/kernels.h"
#include "tests/unit/check.h"

/* Rows about as far from `n_centres` centres as `noise` says, of unit length; `steep`: the first
 * columns have most of it. */
static float *make_rows(size_t N, size_t C, size_t n_centres, double noise, bool steep)
{
    float *x = dnas_xalloc64(N, C * sizeof(*x)), *centre = dnas_xalloc(n_centres, C * sizeof(*x));
    struct dnas_rng rng;

    dnas_rng_init(&rng, 8, DNAS_RNG_TEST, 0, (uint32_t)C);
    for (size_t i = 0; i < n_centres * C; i++)
        centre[i] = (float)(dnas_rng_normal(&rng) / (steep ? 1 + (double)(i % C) / 6 : 1));
    for (size_t i = 0; i < N; i++) {
        size_t k = dnas_rng_below(&rng, n_centres);

        for (size_t c = 0; c < C; c++)
            x[i * C + c] = centre[k * C + c] +
                           (float)(noise * dnas_rng_normal(&rng) / (steep ? 1 + (double)c / 6 : 1));
    }
    dnas_kmeans_unit_rows(x, N, C, 2);
    free(centre);
    return x;
}

/* Some rows' sums and neighbours are those of all pairs; returns how many neighbours that were. */
static size_t compare_rows(const struct dnas_similar *s, size_t step)
{
    float *v = dnas_xalloc(s->N, sizeof(*v));
    size_t n_wrong = 0, n_listed = 0;

    for (size_t i = 0; i < s->N; i += step) {
        size_t at = s->first ? s->first[i] : 0;
        double sum = 0;

        dnas_cpu_similarity_rows(v, s->x, NULL, s->x + i * s->C, s->N, s->C);
        for (size_t j = 0; j < s->N; j++) {
            if (v[j] >= s->threshold)
                sum += dnas_similar_units(s, v[j]);
            if (!s->first || i == j || !(v[j] >= s->threshold - s->margin))
                continue;
            n_wrong += at >= s->first[i + 1] || s->neighbour[at] != j || s->similarity[at] != v[j];
            at++;
            n_listed++;
        }
        n_wrong += s->first && at != s->first[i + 1];
        CHECK(s->density[i] == sum);
    }
    CHECK_INT(n_wrong, 0);
    free(v);
    return n_listed;
}

static void test_plain_blocks(void)
{
    const size_t sizes[] = {1, 2, 127, 128, 129, 300, 4500};
    struct dnas_err err;

    for (size_t k = 0; k < sizeof(sizes) / sizeof(sizes[0]); k++) {
        float *x = make_rows(sizes[k], 19, 5, 0.5, false);
        struct dnas_similar s;

        for (int n_threads = 1; n_threads < 4; n_threads++) {
            CHECK_INT(dnas_similar_run(&s, x, sizes[k], 19, 0.3f, n_threads, &err), 0);
            CHECK(sizes[k] < 4500 ? s.first != NULL : s.first == NULL);
            CHECK(s.margin >= 2 * (19 / 16. + 5) * 0x1p-24f && s.margin < 1e-5f);
            if (sizes[k] < 2)
                CHECK(s.density[0] == dnas_similar_units(&s, (float)(s.density[0] / s.scale)));
            else
                compare_rows(&s, sizes[k] / 40 + 1);
            dnas_similar_release(&s);
        }
        free(x);
    }
}

/* With few directions, with all, and where bounds are of no use. */
static void test_bounds(void)
{
    const struct {
        size_t C, centres;
        double noise;
        bool steep;
        float threshold;
        size_t least_D, most_D;
    } data[] = {
        {300, 40, 0.5, true, 0.75f, 8, 256},    {300, 40, 0.5, false, 0.7f, 8, 128},
        {100, 400, 0.3, false, 0.8f, 100, 100}, {300, 40, 0.5, true, -0.5f, 0, 0},
        {300, 2, 0.2, false, 0.3f, 0, 0},       {130, 40, 0.5, true, 0.75f, 8, 64},
    };
    enum { N = 8300 };
    struct dnas_err err;

    for (size_t d = 0; d < sizeof(data) / sizeof(data[0]); d++) {
        float *x = make_rows(N, data[d].C, data[d].centres, data[d].noise, data[d].steep);
        struct dnas_similar_bound b;
        struct dnas_similar s;

        dnas_similar_bound_make(&b, x, N, data[d].C, data[d].threshold, 1, 2);
        if (b.D < data[d].least_D || b.D > data[d].most_D)
            CHECK_FAIL("data %zu: a bound of %zu dimensions", d, b.D);
        CHECK(b.D == 0 || (b.margin > 0 && b.margin < 0.01f));
        for (size_t i = 0; b.D > 0 && i < N; i += 83) {
            float v[N], *bound = dnas_xalloc(N, sizeof(*bound));
            size_t n_below = 0;

            dnas_cpu_similarity_rows(v, x, NULL, x + i * data[d].C, N, data[d].C);
            dnas_cpu_matmul_nt(bound, b.y + i * b.D, b.y, 1, N, b.D);
            for (size_t j = 0; j < N; j++)
                n_below += !(bound[j] + b.margin >= v[j]);
            CHECK_INT(n_below, 0);
            free(bound);
        }
        dnas_similar_bound_release(&b);
        CHECK_INT(dnas_similar_run(&s, x, N, data[d].C, data[d].threshold, 2, &err), 0);
        CHECK(compare_rows(&s, 71) > 0 || !s.first);
        dnas_similar_release(&s);
        free(x);
    }
}

/* Rows of no length, equal rows and rows in a plane have fewer directions than are looked for. */
static void test_few_directions(void)
{
    enum { N = 8200, C = 140 };
    float *x = dnas_xzalloc(N, C * sizeof(*x));
    struct dnas_similar s;
    struct dnas_err err;

    for (int kind = 0; kind < 3; kind++) {
        for (size_t i = 0; i < N; i++) {
            x[i * C + 7] = kind == 0 ? 0 : 1;
            x[i * C + 9] = kind == 2 ? (float)(i % 50) - 25 : 0;
        }
        dnas_kmeans_unit_rows(x, N, C, 2);
        CHECK_INT(dnas_similar_run(&s, x, N, C, kind == 2 ? 0.99999f : 0.5f, 2, &err), 0);
        CHECK(s.n_pairs == (kind == 0 ? 0 : kind == 1 ? (uint64_t)N * N : s.n_pairs));
        compare_rows(&s, kind == 2 ? 97 : N - 1);
        dnas_similar_release(&s);
    }
    free(x);
}

/* Long rows and short ones: units are fine enough for the one and coarse enough for the other. */
static void test_lengths(void)
{
    const float scales[] = {1e-12f, 1e-3f, 1, 1e4f, 1e15f};
    struct dnas_err err;

    for (size_t k = 0; k < sizeof(scales) / sizeof(scales[0]); k++) {
        float *x = make_rows(600, 21, 8, 0.4, false);
        struct dnas_similar s;
        float v;

        /* Not so small that products lose bits for being subnormal. */
        for (size_t i = 0; i < 600 * 21; i++)
            x[i] *= scales[k];
        CHECK_INT(dnas_similar_run(&s, x, 600, 21, 0.6f * scales[k] * scales[k], 2, &err), 0);
        compare_rows(&s, 31);
        dnas_cpu_similarity_rows(&v, x, NULL, x, 1, 21);
        CHECK_NEAR(dnas_similar_units(&s, v) / s.scale / (double)v, 1, 1e-12);
        dnas_similar_release(&s);
        free(x);
    }
}

/* Densities after rows have left are those of the rows that stay, to the last bit; with and
 * without lists, and for any number of threads. */
static void test_exact_sums(void)
{
    enum { N = 500, C = 37, GONE = 200 };
    float *x = make_rows(N, C, 5, 0.6, false), *rest = dnas_xalloc64(N - GONE, C * sizeof(*rest));
    struct dnas_similar all, left;
    struct dnas_err err;
    uint32_t gone[GONE], stay[N - GONE];
    size_t n_gone = 0, n_stay = 0;

    for (uint32_t i = 0; i < N; i++)
        if (i * 3 % 5 < 2 && n_gone < GONE)
            gone[n_gone++] = i;
        else
            stay[n_stay++] = i;
    for (size_t k = 0; k < n_stay; k++)
        memcpy(rest + k * C, x + stay[k] * C, C * sizeof(*rest));
    CHECK_INT(dnas_similar_run(&all, x, N, C, 0.3f, 3, &err), 0);
    CHECK_INT(dnas_similar_run(&left, rest, n_stay, C, 0.3f, 1, &err), 0);
    dnas_similar_subtract(&all, stay, n_stay, gone, n_gone, 2);
    for (size_t k = 0; k < n_stay; k++)
        CHECK(all.density[stay[k]] / all.scale == left.density[k] / left.scale);
    dnas_similar_list(&all, stay, n_stay, 2);
    CHECK(all.first && left.first);
    for (size_t k = 0; all.first && left.first && k < n_stay; k++) {
        size_t a = all.first[stay[k]], b = left.first[k];

        CHECK_INT(all.first[stay[k] + 1] - a, left.first[k + 1] - b);
        for (; b < left.first[k + 1]; a++, b++) {
            CHECK_INT(all.neighbour[a], stay[left.neighbour[b]]);
            CHECK(all.similarity[a] == left.similarity[b]);
        }
    }
    dnas_similar_release(&all);
    dnas_similar_release(&left);
    free(x);
    free(rest);
}

int main(void)
{
    RUN(test_plain_blocks);
    RUN(test_bounds);
    RUN(test_few_directions);
    RUN(test_lengths);
    RUN(test_exact_sums);
    return check_done();
}
