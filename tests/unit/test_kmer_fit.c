/* SPDX-License-Identifier: MIT
 *
 * test_kmer_fit.c - the map against the equations it solves, with covariances
 * written out again in two passes.
 */
#include "tests/unit/check.h"

#include "common/kmer_fit.h"
#include "common/rng.h"
#include "common/xmem.h"

#define I 12
#define N_CLASSES 9

struct data {
    float *x; /* [n,I] */
    uint32_t *classes, *groups;
    size_t n;
};

/* Classes of normals about normal means, noise growing with the column; `each` rows or, with -1, a
 * number that differs by class. */
static struct data draw(int each, double spread, uint32_t seed)
{
    struct data d = {NULL, NULL, NULL, 0};
    double mean[N_CLASSES][I];
    struct dnas_rng rng;

    d.x = dnas_xalloc(N_CLASSES * 60 * I, sizeof(*d.x));
    d.classes = dnas_xalloc(N_CLASSES * 60, sizeof(*d.classes));
    d.groups = dnas_xalloc(N_CLASSES * 60, sizeof(*d.groups));
    dnas_rng_init(&rng, seed, DNAS_RNG_TEST, 0, 0);
    for (int c = 0; c < N_CLASSES; c++)
        for (int i = 0; i < I; i++)
            mean[c][i] = 3 + spread * dnas_rng_normal(&rng);
    for (int r = 0; r < 60; r++)
        for (uint32_t c = 0; c < N_CLASSES; c++) {
            if (r >= (each < 0 ? 10 + 5 * (int)c : each))
                continue;
            for (int i = 0; i < I; i++)
                d.x[d.n * I + (size_t)i] =
                    (float)(mean[c][i] + 0.1 * (i + 1) * dnas_rng_normal(&rng));
            d.classes[d.n] = c;
            d.groups[d.n++] = c / 2;
        }
    return d;
}

static void release(struct data *d)
{
    free(d->x);
    free(d->classes);
    free(d->groups);
}

struct moments {
    double within[I][I], between[I][I], mean[I];
};

static void two_passes(struct moments *m, const struct data *d)
{
    double means[N_CLASSES][I] = {{0}}, n[N_CLASSES] = {0}, rows = 0, classes = 0;

    memset(m, 0, sizeof(*m));
    for (size_t r = 0; r < d->n; r++) {
        n[d->classes[r]]++;
        for (int i = 0; i < I; i++)
            means[d->classes[r]][i] += d->x[r * I + (size_t)i];
    }
    for (int c = 0; c < N_CLASSES; c++) {
        rows += n[c];
        classes += n[c] > 0;
        for (int i = 0; i < I; i++) {
            means[c][i] /= n[c];
            m->mean[i] += means[c][i] / N_CLASSES;
        }
    }
    for (size_t r = 0; r < d->n; r++)
        for (int i = 0; i < I; i++)
            for (int j = 0; j < I; j++)
                m->within[i][j] += (d->x[r * I + (size_t)i] - means[d->classes[r]][i]) *
                                   (d->x[r * I + (size_t)j] - means[d->classes[r]][j]) /
                                   (rows - classes);
    for (int c = 0; c < N_CLASSES; c++)
        for (int i = 0; i < I; i++)
            for (int j = 0; j < I; j++)
                m->between[i][j] +=
                    (means[c][i] - m->mean[i]) * (means[c][j] - m->mean[j]) / (classes - 1);
}

/* The largest eigenvalue, by powers. */
static double largest(const double a[I][I])
{
    double v[I], next[I], norm = 0;

    for (int i = 0; i < I; i++)
        v[i] = 1;
    for (int step = 0; step < 3000; step++) {
        norm = 0;
        for (int i = 0; i < I; i++) {
            next[i] = 0;
            for (int j = 0; j < I; j++)
                next[i] += a[i][j] * v[j];
            norm += next[i] * next[i];
        }
        norm = sqrt(norm);
        for (int i = 0; i < I; i++)
            v[i] = next[i] / norm;
    }
    return norm;
}

static double form(const double a[I][I], const float *x, const float *y)
{
    double sum = 0;

    for (int i = 0; i < I; i++)
        for (int j = 0; j < I; j++)
            sum += x[i] * a[i][j] * y[j];
    return sum;
}

static struct dnas_kmer_fit *fit_of(const struct data *d, int n_threads)
{
    struct dnas_kmer_fit *f = dnas_kmer_fit_new(I, n_threads);

    dnas_kmer_fit_add(f, d->x, d->classes, d->groups, NULL, d->n);
    return f;
}

/* B v = value (W + ridge) v, v (W + ridge) v' = 1 or 0, values fall, signs are as promised. */
static void check_map(const struct dnas_kmer_map *map, struct moments *m)
{
    double ridge = map->ridge * largest(m->within);

    for (int i = 0; i < I; i++) {
        m->within[i][i] += ridge;
        CHECK_NEAR(map->mean[i], m->mean[i], 1e-6);
    }
    for (size_t k = 0; k < map->O; k++) {
        const float *v = map->weight + k * I;
        float top = 0;

        CHECK(k == 0 || map->value[k] <= map->value[k - 1]);
        for (int i = 0; i < I; i++) {
            double b = 0, w = 0;

            top = fabsf(v[i]) > fabsf(top) ? v[i] : top;
            for (int j = 0; j < I; j++) {
                b += m->between[i][j] * v[j];
                w += m->within[i][j] * v[j];
            }
            CHECK_NEAR(b, map->value[k] * w, 1e-5 * map->value[0]);
        }
        CHECK(top > 0);
        for (size_t j = 0; j <= k; j++)
            CHECK_NEAR(form(m->within, v, map->weight + j * I), j == k, 1e-5);
    }
}

static void test_equations(void)
{
    static const double ridges[] = {0, 0.01, 0.5};

    for (size_t i = 0; i < 3; i++) {
        struct data d = draw(i == 2 ? -1 : 30, 1, 1 + (uint32_t)i);
        struct dnas_kmer_fit *f = fit_of(&d, 1);
        struct dnas_kmer_map map;
        struct moments m;

        two_passes(&m, &d);
        CHECK_INT(dnas_kmer_fit_map(f, &map, 5, ridges[i], NULL), 0);
        CHECK_INT(map.O, 5);
        CHECK_INT(map.n_rows, d.n);
        CHECK_INT(map.n_classes, N_CLASSES);
        CHECK(!map.chosen && map.ridge == ridges[i] && map.score[0] == -1);
        check_map(&map, &m);
        dnas_kmer_map_release(&map);
        /* At most one direction fewer than classes; a second map of the same fit is as good. */
        CHECK_INT(dnas_kmer_fit_map(f, &map, 100, ridges[i], NULL), 0);
        CHECK_INT(map.O, N_CLASSES - 1);
        two_passes(&m, &d);
        check_map(&map, &m);
        dnas_kmer_map_release(&map);
        dnas_kmer_fit_free(f);
        release(&d);
    }
}

/* Pairs are classes of two. */
static void test_pairs(void)
{
    struct data d = draw(2, 1, 7);
    struct dnas_kmer_fit *f = fit_of(&d, 1), *g = dnas_kmer_fit_new(I, 1);
    struct dnas_kmer_map a, b;

    /* Rows come class by class: the second members follow all first ones. */
    dnas_kmer_fit_add_pairs(g, d.x, d.x + N_CLASSES * I, d.groups, N_CLASSES);
    CHECK_INT(dnas_kmer_fit_map(f, &a, 4, 0.1, NULL), 0);
    CHECK_INT(dnas_kmer_fit_map(g, &b, 4, 0.1, NULL), 0);
    CHECK_INT(b.n_rows, 2 * N_CLASSES);
    CHECK_INT(b.n_classes, N_CLASSES);
    for (size_t i = 0; i < 4 * I; i++)
        CHECK_NEAR(b.weight[i], a.weight[i], 1e-4);
    for (size_t i = 0; i < I; i++)
        CHECK_NEAR(b.mean[i], a.mean[i], 1e-6);
    dnas_kmer_map_release(&a);
    dnas_kmer_map_release(&b);
    dnas_kmer_fit_free(f);
    dnas_kmer_fit_free(g);
    release(&d);
}

static void test_threads_and_portions(void)
{
    struct data d = draw(60, 0.3, 9);
    struct dnas_kmer_map want, got;
    struct dnas_kmer_fit *f = fit_of(&d, 1);

    CHECK_INT(dnas_kmer_fit_map(f, &want, 6, -1, NULL), 0);
    for (int n_threads = 1; n_threads <= 5; n_threads += 2) {
        struct dnas_kmer_fit *g = dnas_kmer_fit_new(I, n_threads);

        for (size_t at = 0; at < d.n; at += 37) {
            size_t n = d.n - at < 37 ? d.n - at : 37;

            dnas_kmer_fit_add(g, d.x + at * I, d.classes + at, d.groups + at, NULL, n);
        }
        CHECK_INT(dnas_kmer_fit_map(g, &got, 6, -1, NULL), 0);
        CHECK(memcmp(got.weight, want.weight, 6 * I * sizeof(float)) == 0);
        CHECK(memcmp(got.mean, want.mean, I * sizeof(float)) == 0);
        CHECK(memcmp(got.score, want.score, sizeof(want.score)) == 0);
        dnas_kmer_map_release(&got);
        dnas_kmer_fit_free(g);
    }
    dnas_kmer_map_release(&want);
    dnas_kmer_fit_free(f);
    release(&d);
}

static void test_choice_of_ridge(void)
{
    struct data d = draw(40, 0.3, 11);
    struct dnas_kmer_fit *f = fit_of(&d, 2);
    struct dnas_kmer_map map;
    double best = 0;

    CHECK_INT(dnas_kmer_fit_map(f, &map, 6, -1, NULL), 0);
    CHECK(map.chosen);
    for (int i = 0; i < DNAS_KMER_N_RIDGES; i++) {
        CHECK(map.score[i] > 0.3 && map.score[i] <= 1); /* by chance a class of 9: 0.1 to 0.5 */
        best = map.score[i] > best ? map.score[i] : best;
    }
    for (int i = 0; i < DNAS_KMER_N_RIDGES; i++)
        CHECK((map.ridge == map.ridges[i]) <= (map.score[i] == best));
    dnas_kmer_map_release(&map);
    dnas_kmer_fit_free(f);
    release(&d);

    d = draw(40, 100, 12); /* far apart: no ridge errs, and the largest is as good as any */
    f = fit_of(&d, 1);
    CHECK_INT(dnas_kmer_fit_map(f, &map, 6, -1, NULL), 0);
    CHECK(map.chosen && map.ridge == map.ridges[DNAS_KMER_N_RIDGES - 1]);
    for (int i = 0; i < DNAS_KMER_N_RIDGES; i++)
        CHECK(map.score[i] == 1);
    dnas_kmer_map_release(&map);
    dnas_kmer_fit_free(f);
    release(&d);
}

/* Held-out rows through the map of the others: how many of a row's nine nearest are its class's. */
static double score(const struct dnas_kmer_map *map, const struct data *d, const size_t *held,
                    size_t n)
{
    double y[40][2], right = 0;

    for (size_t a = 0; a < n; a++) {
        double norm = 0;

        for (int k = 0; k < 2; k++) {
            y[a][k] = 0;
            for (int i = 0; i < I; i++)
                y[a][k] += map->weight[k * I + i] *
                           ((double)d->x[held[a] * I + (size_t)i] - (double)map->mean[i]);
            norm += y[a][k] * y[a][k];
        }
        for (int k = 0; k < 2; k++)
            y[a][k] /= sqrt(norm);
    }
    for (size_t a = 0; a < n; a++) {
        double same[40];

        for (size_t b = 0; b < n; b++)
            same[b] = b == a ? -9 : y[a][0] * y[b][0] + y[a][1] * y[b][1];
        for (int nearest = 0; nearest < 9; nearest++) {
            size_t top = 0;

            for (size_t b = 0; b < n; b++)
                top = same[b] > same[top] ? b : top;
            right += d->classes[held[top]] == d->classes[held[a]];
            same[top] = -9;
        }
    }
    return right / 9 / (double)n;
}

/* Classes 0 to 3 are one genus, the next three one each: only the first part can be scored, for a
 * single class that is held out has no other to be taken for. */
static void test_score_by_definition(void)
{
    struct data d = draw(12, 0.5, 13);
    struct dnas_kmer_fit *all = dnas_kmer_fit_new(I, 1), *rest = dnas_kmer_fit_new(I, 1);
    struct dnas_kmer_fit *few = dnas_kmer_fit_new(I, 1);
    struct dnas_kmer_map chosen, map;
    size_t held[40], n_held = 0, kept[4] = {0};

    for (size_t r = 0; r < d.n; r++) {
        uint32_t c = d.classes[r], group = c < 4 ? 0 : c - 3;

        if (c > 6)
            continue;
        dnas_kmer_fit_add(all, d.x + r * I, &c, &group, NULL, 1);
        if (c == 0 || c == 4)
            dnas_kmer_fit_add(few, d.x + r * I, &c, &group, NULL, 1);
        if (c >= 4)
            dnas_kmer_fit_add(rest, d.x + r * I, &c, &group, NULL, 1);
        else if (kept[c]++ < 10)
            held[n_held++] = r;
    }
    CHECK_INT(n_held, 40);
    CHECK_INT(dnas_kmer_fit_map(all, &chosen, 3, -1, NULL), 0);
    CHECK(chosen.chosen);
    for (int i = 0; i < DNAS_KMER_N_RIDGES; i++) {
        CHECK_INT(dnas_kmer_fit_map(rest, &map, 3, chosen.ridges[i], NULL), 0);
        CHECK_INT(map.O, 2);
        CHECK_NEAR(chosen.score[i], score(&map, &d, held, n_held), 1e-9);
        CHECK(chosen.score[i] > 0.3 && chosen.score[i] < 1); /* by chance: 9 of 39 */
        dnas_kmer_map_release(&map);
    }
    dnas_kmer_map_release(&chosen);
    CHECK_INT(dnas_kmer_fit_map(few, &map, 3, -1, NULL), 0);
    CHECK(!map.chosen && map.ridge == DNAS_KMER_RIDGE && map.score[0] == -1);
    dnas_kmer_map_release(&map);
    dnas_kmer_fit_free(all);
    dnas_kmer_fit_free(rest);
    dnas_kmer_fit_free(few);
    release(&d);
}

/* ---- the noise model ---- */

/* What a held-out part says of a direction, from the deviations themselves. */
static void measure(double out[3], const float *v, const struct data *d, const uint32_t *length_bp,
                    uint32_t part)
{
    double mean[N_CLASSES] = {0}, n[N_CLASSES] = {0}, n_rows = 0, n_classes = 0, middle = 0;
    double s[3] = {0}, t[2] = {0}, within = 0, between = 0, det;

    for (int pass = 0; pass < 2; pass++)
        for (size_t r = 0; r < d->n; r++) {
            uint32_t k = d->classes[r];
            double y = 0, kb = length_bp[r] / 1000., c = pow(1 + 5 / kb, -2);

            if (d->groups[r] % 4 != part)
                continue;
            for (int i = 0; i < I; i++)
                y += (double)v[i] * d->x[r * I + (size_t)i];
            if (pass == 0) {
                mean[k] += y;
                n[k]++;
                n_rows++;
                continue;
            }
            y -= mean[k] / n[k];
            within += y * y;
            s[0] += c;
            s[1] += c / kb;
            s[2] += c / kb / kb;
            t[0] += c * y * y;
            t[1] += c / kb * y * y;
        }
    for (int k = 0; k < N_CLASSES; k++) {
        n_classes += n[k] > 0;
        middle += n[k] > 0 ? mean[k] / n[k] : 0;
    }
    for (int k = 0; k < N_CLASSES; k++)
        between += n[k] > 0 ? pow(mean[k] / n[k] - middle / n_classes, 2) : 0;
    within /= n_rows - n_classes;
    out[0] += between / (n_classes - 1) - within * n_classes / n_rows;
    det = s[0] * s[2] - s[1] * s[1];
    t[0] *= n_rows / (n_rows - n_classes);
    t[1] *= n_rows / (n_rows - n_classes);
    out[1] += (s[2] * t[0] - s[1] * t[1]) / det;
    out[2] += (s[0] * t[1] - s[1] * t[0]) / det;
}

/* Classes whose rows vary as 0.04 (i + 1) (1 + 3 / kb) in column i. */
static struct data draw_by_length(uint32_t *length_bp, bool one_length)
{
    struct data d = draw(60, 2, 21);
    struct dnas_rng rng;

    dnas_rng_init(&rng, 22, DNAS_RNG_TEST, 0, 0);
    for (size_t r = 0; r < d.n; r++) {
        length_bp[r] = one_length ? 2000 : 500 + (uint32_t)(8000 * dnas_rng_uniform(&rng));
        for (size_t i = 0; i < I; i++)
            d.x[r * I + i] += (float)(sqrt(0.04 * (double)(i + 1) * (1 + 3000. / length_bp[r])) *
                                      dnas_rng_normal(&rng));
    }
    return d;
}

static void test_noise_by_definition(void)
{
    uint32_t length_bp[N_CLASSES * 60];
    struct data d = draw_by_length(length_bp, false);
    struct dnas_kmer_fit *f = dnas_kmer_fit_new(I, 2);
    struct dnas_kmer_map map, rest;
    double want[3][3] = {{0}};

    for (uint32_t part = 0; part < 4; part++) {
        struct dnas_kmer_fit *g = dnas_kmer_fit_new(I, 1);

        for (size_t r = 0; r < d.n; r++)
            if (d.groups[r] % 4 != part)
                dnas_kmer_fit_add(g, d.x + r * I, &d.classes[r], &d.groups[r], NULL, 1);
        CHECK_INT(dnas_kmer_fit_map(g, &rest, 3, 0.01, NULL), 0);
        CHECK(!rest.between && !rest.noise && !rest.noise_kb); /* no lengths */
        for (size_t k = 0; k < 3; k++)
            measure(want[k], rest.weight + k * I, &d, length_bp, part);
        dnas_kmer_map_release(&rest);
        dnas_kmer_fit_free(g);
    }
    dnas_kmer_fit_add(f, d.x, d.classes, d.groups, length_bp, d.n);
    CHECK_INT(dnas_kmer_fit_map(f, &map, 3, 0.01, NULL), 0);
    CHECK(map.between && map.noise && map.noise_kb);
    for (size_t k = 0; map.between && k < 3; k++) {
        CHECK_NEAR(map.between[k], want[k][0] / 4, 1e-4 * want[k][0]);
        CHECK_NEAR(map.noise[k], fmax(1e-3, want[k][1] / 4), 1e-4 * want[k][2]);
        CHECK_NEAR(map.noise_kb[k], want[k][2] / 4, 1e-4 * want[k][2]);
        CHECK(map.noise_kb[k] > 0.5 && map.noise_kb[k] < 3); /* of all that varies as 1 */
    }
    dnas_kmer_map_release(&map);
    dnas_kmer_fit_free(f);
    release(&d);
}

/* Windows of one length: all noise is put down to it.  And what gives no noise model. */
static void test_noise_where_it_is_not_known(void)
{
    uint32_t length_bp[N_CLASSES * 60];
    struct data d = draw_by_length(length_bp, true);
    struct dnas_kmer_fit *f = dnas_kmer_fit_new(I, 1);
    struct dnas_kmer_map map;

    dnas_kmer_fit_add(f, d.x, d.classes, d.groups, length_bp, d.n);
    CHECK_INT(dnas_kmer_fit_map(f, &map, 3, 0.01, NULL), 0);
    for (size_t k = 0; map.noise && k < 3; k++) {
        CHECK_NEAR(map.noise[k], 1e-3, 1e-9);
        CHECK(map.noise_kb[k] > 1.2 && map.noise_kb[k] < 3.5); /* 2 kb times a variance near 1 */
    }
    CHECK(map.noise != NULL);
    dnas_kmer_map_release(&map);
    dnas_kmer_fit_free(f);

    f = dnas_kmer_fit_new(I, 1); /* as many dimensions as no map without a part can have */
    dnas_kmer_fit_add(f, d.x, d.classes, d.groups, length_bp, d.n);
    CHECK_INT(dnas_kmer_fit_map(f, &map, 8, 0.01, NULL), 0);
    CHECK(map.O == 8 && !map.between && !map.noise && !map.noise_kb);
    dnas_kmer_map_release(&map);
    dnas_kmer_fit_free(f);

    f = dnas_kmer_fit_new(I, 1); /* some rows of no length */
    dnas_kmer_fit_add(f, d.x, d.classes, d.groups, length_bp, d.n - 9);
    dnas_kmer_fit_add(f, d.x + (d.n - 9) * I, d.classes + d.n - 9, d.groups + d.n - 9, NULL, 9);
    CHECK_INT(dnas_kmer_fit_map(f, &map, 3, 0.01, NULL), 0);
    CHECK(!map.between);
    dnas_kmer_map_release(&map);
    dnas_kmer_fit_free(f);

    f = dnas_kmer_fit_new(I, 1);
    dnas_kmer_fit_add(f, d.x, d.classes, d.groups, length_bp, d.n);
    dnas_kmer_fit_add_pairs(f, d.x, d.x + I, d.groups, 1);
    CHECK_INT(dnas_kmer_fit_map(f, &map, 3, 0.01, NULL), 0);
    CHECK(!map.between);
    dnas_kmer_map_release(&map);
    dnas_kmer_fit_free(f);
    release(&d);
}

static void test_refused(void)
{
    struct data d = draw(3, 1, 15);
    struct dnas_kmer_fit *f = dnas_kmer_fit_new(I, 1);
    struct dnas_kmer_map map;
    struct dnas_err err = {""};

    CHECK_INT(dnas_kmer_fit_map(f, &map, 3, -1, &err), -1); /* nothing */
    CHECK(strstr(err.msg, "0 profiles of 0 species") != NULL);
    dnas_kmer_fit_free(f);
    f = dnas_kmer_fit_new(I, 1);
    dnas_kmer_fit_add(f, d.x, d.classes, d.groups, NULL, N_CLASSES); /* one of each class */
    CHECK_INT(dnas_kmer_fit_map(f, &map, 3, -1, &err), -1);
    CHECK(strstr(err.msg, "9 profiles of 9 species") != NULL);
    dnas_kmer_fit_free(f);
    f = dnas_kmer_fit_new(I, 1);
    for (size_t r = 0; r < d.n; r++)
        d.classes[r] = 0;
    dnas_kmer_fit_add(f, d.x, d.classes, d.groups, NULL, d.n); /* one class */
    CHECK_INT(dnas_kmer_fit_map(f, &map, 3, 0, &err), -1);
    dnas_kmer_fit_free(f);
    f = dnas_kmer_fit_new(I, 1);
    memset(d.x, 0, d.n * I * sizeof(*d.x));
    for (size_t r = 0; r < d.n; r++)
        d.classes[r] = (uint32_t)r / 3;
    dnas_kmer_fit_add(f, d.x, d.classes, d.groups, NULL, d.n); /* all equal */
    CHECK_INT(dnas_kmer_fit_map(f, &map, 3, 0.1, &err), -1);
    CHECK(strstr(err.msg, "do not vary") != NULL);
    dnas_kmer_fit_free(f);
    release(&d);
}

int main(void)
{
    RUN(test_equations);
    RUN(test_pairs);
    RUN(test_threads_and_portions);
    RUN(test_choice_of_ridge);
    RUN(test_score_by_definition);
    RUN(test_noise_by_definition);
    RUN(test_noise_where_it_is_not_known);
    RUN(test_refused);
    return check_done();
}
