/* SPDX-License-Identifier: MIT
 *
 * test_plda.c - evidence against densities of multivariate normals, from their
 * whole covariance matrices.
 */
#include "common/plda.h"

#include "common/rng.h"
#include "common/xmem.h"
#include "tests/unit/check.h"

#define MAX_C 40
#define MAX_N 5

struct model {
    size_t C;
    float between[MAX_C], noise[MAX_C], noise_kb[MAX_C];
    struct dnas_plda plda;
};

struct rows {
    size_t n;
    float x[MAX_N][MAX_C];
    uint32_t length_bp[MAX_N];
};

static void draw(struct model *m, struct rows *r, size_t C, size_t n, uint32_t seed)
{
    struct dnas_rng rng;

    dnas_rng_init(&rng, seed, DNAS_RNG_TEST, 1, 0);
    m->C = C;
    r->n = n;
    for (size_t c = 0; c < C; c++) {
        m->between[c] = c == 2 ? 0 : (float)(5 * dnas_rng_uniform(&rng));
        m->noise[c] = (float)(0.01 + dnas_rng_uniform(&rng));
        m->noise_kb[c] = (float)(4 * dnas_rng_uniform(&rng));
    }
    for (size_t i = 0; i < n; i++) {
        r->length_bp[i] = (uint32_t)(500 + 20000 * dnas_rng_uniform(&rng));
        for (size_t c = 0; c < C; c++)
            r->x[i][c] = (float)(2 * dnas_rng_normal(&rng));
    }
    dnas_plda_init(&m->plda, m->between, m->noise, m->noise_kb, C);
}

/* ln N(x; 0, a), a [D,D] destroyed, by the square roots of a (Cholesky). */
static double log_density(double *a, const double *x, size_t D)
{
    double *y = dnas_xalloc(D, sizeof(*y)), sum = -0.5 * (double)D * log(2 * acos(-1));

    for (size_t i = 0; i < D; i++) {
        for (size_t j = 0; j <= i; j++) {
            double s = a[i * D + j];

            for (size_t k = 0; k < j; k++)
                s -= a[i * D + k] * a[j * D + k];
            a[i * D + j] = i == j ? sqrt(s) : s / a[j * D + j];
        }
        y[i] = x[i];
        for (size_t k = 0; k < i; k++)
            y[i] -= a[i * D + k] * y[k];
        y[i] /= a[i * D + i];
        sum -= log(a[i * D + i]) + y[i] * y[i] / 2;
    }
    free(y);
    return sum;
}

/* ln p of rows from..to, two sets that part at `split`, as one species: all their numbers as one
 * vector; species 0: about zero. */
static double by_density(const struct model *m, const struct rows *r, size_t from, size_t split,
                         size_t to, bool species)
{
    size_t n = to - from, D = n * m->C;
    double *a = dnas_xzalloc(D, D * sizeof(*a)), *x = dnas_xalloc(D, sizeof(*x)), density;

    for (size_t i = 0; i < n; i++)
        for (size_t c = 0; c < m->C; c++) {
            size_t at = i * m->C + c;

            x[at] = (double)r->x[from + i][c];
            a[at * D + at] =
                (double)m->noise[c] + (double)m->noise_kb[c] / (r->length_bp[from + i] / 1000.);
            for (size_t j = 0; j < n; j++)
                a[at * D + j * m->C + c] +=
                    (species ? (double)m->between[c] : 0) +
                    ((from + i < split) == (from + j < split) ? 0.5 * (double)m->noise[c] : 0);
        }
    density = log_density(a, x, D);
    free(a);
    free(x);
    return density;
}

struct stats {
    double p[48], h[48]; /* MAX_C to whole paddings */
};

static void add(struct stats *s, const struct model *m, const struct rows *r, size_t from,
                size_t to)
{
    struct stats one;

    memset(s, 0, sizeof(*s));
    for (size_t i = from; i < to; i++) {
        dnas_plda_sequence(&m->plda, one.p, one.h, r->x[i], r->length_bp[i], NULL);
        for (size_t c = 0; c < m->plda.stride; c++) {
            s->p[c] += one.p[c];
            s->h[c] += one.h[c];
        }
    }
}

static void test_evidence_is_a_density(void)
{
    static const size_t Cs[] = {1, 3, 16, 17, 40};

    for (size_t k = 0; k < 5; k++) {
        struct model m;
        struct rows r;
        struct stats all, a, b;
        double whole, first, second, got;

        draw(&m, &r, Cs[k], MAX_N, (uint32_t)k + 1);
        CHECK(m.plda.stride % DNAS_PLDA_PAD == 0 && m.plda.stride >= Cs[k]);
        add(&all, &m, &r, 0, MAX_N);
        add(&a, &m, &r, 0, 2);
        add(&b, &m, &r, 2, MAX_N);
        whole = by_density(&m, &r, 0, 2, MAX_N, true);
        first = by_density(&m, &r, 0, 2, 2, true);
        second = by_density(&m, &r, 2, MAX_N, MAX_N, true);
        got = dnas_plda_joint(&m.plda, a.p, a.h, b.p, b.h);
        CHECK_NEAR(got, whole - by_density(&m, &r, 0, 2, MAX_N, false), 1e-9 * fabs(whole));
        /* One species against two. */
        got -= dnas_plda_evidence(&m.plda, a.p, a.h) + dnas_plda_evidence(&m.plda, b.p, b.h);
        CHECK_NEAR(got, whole - first - second, 1e-9 * fabs(whole));
        /* All of them as one set. */
        got = dnas_plda_evidence(&m.plda, all.p, all.h);
        CHECK_NEAR(got,
                   by_density(&m, &r, 0, MAX_N, MAX_N, true) -
                       by_density(&m, &r, 0, MAX_N, MAX_N, false),
                   1e-9 * fabs(whole));
        dnas_plda_release(&m.plda);
    }
}

/* Many long sequences: factors of 1e13, sixteen at a time, stay within range. */
static void test_evidence_of_extremes(void)
{
    struct model m;
    struct rows r;
    struct stats s;
    double want = 0;

    draw(&m, &r, MAX_C, 1, 9);
    for (size_t c = 0; c < MAX_C; c++) {
        m.plda.between[c] = 1e6;
        m.plda.noise[c] = 1e-6;
        m.plda.noise_kb[c] = m.plda.drift[c] = 0;
    }
    dnas_plda_sequence(&m.plda, s.p, s.h, r.x[0], 1000000, NULL);
    for (size_t c = 0; c < MAX_C; c++) {
        double q = 1 + 1e6 * 1e6 * 1e6;

        want += -log(q) / 2 + 1e12 * s.h[c] * s.h[c] * 1e6 / q / 2;
        s.p[c] *= 1e6;
        s.h[c] *= 1e6;
    }
    CHECK_NEAR(dnas_plda_evidence(&m.plda, s.p, s.h) / want, 1, 1e-9);
    dnas_plda_release(&m.plda);
}

static void test_direction(void)
{
    struct model m;
    struct rows r;
    float got[MAX_C], none[MAX_C] = {0};
    double want[MAX_C], norm = 0;

    draw(&m, &r, 19, 1, 11);
    dnas_plda_direction(&m.plda, got, r.x[0], 2500, NULL);
    for (size_t c = 0; c < 19; c++) {
        double b = (double)m.between[c];

        want[c] =
            (double)r.x[0][c] * sqrt(b) / (b + (double)m.noise[c] + (double)m.noise_kb[c] / 2.5);
        norm += want[c] * want[c];
    }
    for (size_t c = 0; c < 19; c++)
        CHECK_NEAR(got[c], want[c] / sqrt(norm), 1e-6);
    dnas_plda_direction(&m.plda, got, none, 2500, NULL);
    for (size_t c = 0; c < 19; c++)
        CHECK(got[c] == 0);
    dnas_plda_release(&m.plda);
}

/* No length is as good as one letter: hardly any evidence, and nothing divided by 0. */
static void test_length_of_nothing(void)
{
    struct model m;
    struct rows r;
    struct stats a, b;

    draw(&m, &r, 5, 1, 13);
    dnas_plda_sequence(&m.plda, a.p, a.h, r.x[0], 0, NULL);
    dnas_plda_sequence(&m.plda, b.p, b.h, r.x[0], 1, NULL);
    CHECK(memcmp(a.p, b.p, 16 * sizeof(double)) == 0 && a.p[0] > 0 && isfinite(a.p[0]));
    CHECK(a.p[5] == 0 && a.h[15] == 0);
    dnas_plda_release(&m.plda);
}

int main(void)
{
    RUN(test_evidence_is_a_density);
    RUN(test_evidence_of_extremes);
    RUN(test_direction);
    RUN(test_length_of_nothing);
    return check_done();
}
