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

/* The label that the plain algorithm gives; small bins are none. */
static int plain_label(const struct plain *p, size_t i, size_t min_bin_size)
{
    size_t size = 0;

    for (size_t j = 0; j < p->N; j++)
        size += p->label[j] == p->label[i];
    return p->label[i] >= 0 && size >= min_bin_size ? p->label[i] : -1;
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
    int max_rounds = o.max_rounds > 0 ? (int)o.max_rounds : 100000, *number, n_bins = 0, n_rounds;
    struct dnas_kmedoid km = bins(x, N, C, o);
    size_t n_wrong = 0;

    n_rounds = plain_rounds(&p, o.as_dnabert_s ? -100 : -INFINITY, max_rounds);
    number = dnas_xalloc((size_t)n_rounds + 1, sizeof(*number));
    for (int b = 0; b <= n_rounds; b++) {
        number[b] = -1;
        for (size_t i = 0; i < N && number[b] < 0; i++)
            if (plain_label(&p, i, o.min_bin_size) == b)
                number[b] = o.as_dnabert_s ? b : n_bins;
        n_bins += number[b] >= 0;
    }
    for (size_t i = 0; i < N; i++) {
        int b = plain_label(&p, i, o.min_bin_size);

        n_wrong += km.label[i] != (b < 0 ? -1 : number[b]);
    }
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
                n_wrong += compat ? km.label[i] != want.i64[i]
                                  : (km.label[i] < 0) != (want.i64[i] < 0);
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

int main(void)
{
    RUN(test_reference_bins);
    RUN(test_reference_threshold);
    float *x = make_rows(700, 24, 12, 0.5, 0);
    compare_with_plain("x", x, 700, 24, (struct dnas_kmedoid_options){.threshold = 0.7, .min_bin_size = 5});
    return check_done();
}
