/* SPDX-License-Identifier: MIT
 *
 * test_contrastive.c - the objectives against the original code's numbers,
 * PyTorch's, and differences of themselves.
 *
 * tests/data/golden/dnabert2_tiny/README.md says how the first were made,
 * tests/model/make_contrastive.py made the second.
 */
#include "tests/unit/check.h"

#include "common/contrastive.h"
#include "common/rng.h"
#include "common/threads.h"
#include "common/xmem.h"
#include "tests/unit/npz.h"
#include "tests/unit/numbers.h"

#define GOLDEN "tests/data/golden/dnabert2_tiny/loss.npz"
#define NUMBERS "tests/data/training/contrastive.txt"

static const char *const temperatures[] = {"0.05", "0.2"};

static const char *with(const char *name, const char *temperature)
{
    static char text[8][64];
    static int turn;

    turn = (turn + 1) % 8;
    snprintf(text[turn], sizeof(text[turn]), "%s_%s", name, temperature);
    return text[turn];
}

/* |a - b| / |b| of whole arrays. */
static double off(const float *a, const float *b, size_t n)
{
    double diff = 0, size = 0;

    for (size_t i = 0; i < n; i++) {
        diff += pow((double)a[i] - (double)b[i], 2);
        size += pow((double)b[i], 2);
    }
    return sqrt(diff / size);
}

/* [2n, D] from two arrays of n numbers. */
static float *join(const float *a, const float *b, size_t n)
{
    float *out = dnas_xalloc(2 * n, sizeof(*out));

    memcpy(out, a, n * sizeof(*out));
    memcpy(out + n, b, n * sizeof(*out));
    return out;
}

/* The original is in f32; its gradients have some 1e-6 of rounding. */
static void test_golden_wsimclr(void)
{
    struct dnas_npy z1 = npz_read(GOLDEN, "z1", DNAS_NPY_AS_F32);
    struct dnas_npy z2 = npz_read(GOLDEN, "z2", DNAS_NPY_AS_F32);
    struct dnas_contrastive *c = dnas_contrastive_new(9, 24, 1);
    float *z = join(z1.f32, z2.f32, 9 * 24), gz[18 * 24];

    for (int k = 0; k < 2; k++) {
        double temperature = strtod(temperatures[k], NULL), loss = NAN;
        struct dnas_npy g1 =
            npz_read(GOLDEN, with("wsimclr_gz1", temperatures[k]), DNAS_NPY_AS_F32);
        struct dnas_npy g2 =
            npz_read(GOLDEN, with("wsimclr_gz2", temperatures[k]), DNAS_NPY_AS_F32);

        CHECK(dnas_wsimclr(c, &loss, gz, z, NULL, 9, temperature, NULL) == 0);
        CHECK_NEAR(loss, npz_number(GOLDEN, with("wsimclr_loss", temperatures[k])), 2e-6);
        CHECK_NEAR(off(gz, g1.f32, 9 * 24), 0, 3e-6);
        CHECK_NEAR(off(gz + 9 * 24, g2.f32, 9 * 24), 0, 3e-6);
        dnas_npy_release(&g1);
        dnas_npy_release(&g2);
    }
    dnas_contrastive_free(c);
    dnas_npy_release(&z1);
    dnas_npy_release(&z2);
    free(z);
}

static void test_golden_mixed(void)
{
    struct dnas_npy z1 = npz_read(GOLDEN, "z1", DNAS_NPY_AS_F32);
    struct dnas_npy z2 = npz_read(GOLDEN, "z2", DNAS_NPY_AS_F32);
    struct dnas_contrastive *c = dnas_contrastive_new(70, 24, 1); /* room left over */
    float gz1[9 * 24], gz2[9 * 24];

    for (int k = 0; k < 2; k++) {
        double temperature = strtod(temperatures[k], NULL), loss = NAN;
        const char *t = temperatures[k];
        struct dnas_npy g1 = npz_read(GOLDEN, with("imix_gz1", t), DNAS_NPY_AS_F32);
        struct dnas_npy g2 = npz_read(GOLDEN, with("imix_gz2", t), DNAS_NPY_AS_F32);
        struct dnas_npy lambda = npz_read(GOLDEN, with("imix_lambda", t), DNAS_NPY_AS_F32);
        struct dnas_npy r = npz_read(GOLDEN, with("imix_perm", t), DNAS_NPY_AS_I64);
        uint32_t perm[9];

        for (int i = 0; i < 9; i++)
            perm[i] = (uint32_t)r.i64[i];
        CHECK(dnas_mixed_contrastive(c, &loss, gz1, gz2, z1.f32, z2.f32, perm, lambda.f32, NULL, 9,
                                     temperature, NULL) == 0);
        CHECK_NEAR(loss, npz_number(GOLDEN, with("imix_loss", t)), 2e-6);
        CHECK_NEAR(off(gz1, g1.f32, 9 * 24), 0, 3e-6);
        CHECK_NEAR(off(gz2, g2.f32, 9 * 24), 0, 3e-6);
        dnas_npy_release(&g1);
        dnas_npy_release(&g2);
        dnas_npy_release(&lambda);
        dnas_npy_release(&r);
    }
    dnas_contrastive_free(c);
    dnas_npy_release(&z1);
    dnas_npy_release(&z2);
}

/* PyTorch in float64: what is left is the rounding of our results to f32. */
#define B 7
#define D 12

struct numbers {
    float *z1, *z2, *z, *lambda;
    uint32_t *label, *perm, both_labels[2 * B];
};

static struct numbers load(void)
{
    struct numbers n = {
        .z1 = numbers_f32(NUMBERS, "z1", B * D),
        .z2 = numbers_f32(NUMBERS, "z2", B * D),
        .lambda = numbers_f32(NUMBERS, "lambda", B),
        .label = numbers_u32(NUMBERS, "label", B),
        .perm = numbers_u32(NUMBERS, "perm", B),
    };

    n.z = join(n.z1, n.z2, B * D);
    for (size_t i = 0; i < 2 * B; i++)
        n.both_labels[i] = n.label[i % B];
    return n;
}

static void release(struct numbers *n)
{
    free(n->z1);
    free(n->z2);
    free(n->z);
    free(n->lambda);
    free(n->label);
    free(n->perm);
}

static void check_against(const char *name, const char *temperature, double loss, const char *g,
                          const float *gz, size_t n)
{
    double *want = numbers_read(NUMBERS, with(name, temperature), 1);
    float *slope = numbers_f32(NUMBERS, with(g, temperature), n);

    CHECK_NEAR(loss, *want, 1e-12 * (1 + fabs(*want)));
    CHECK_NEAR(off(gz, slope, n), 0, 1e-7);
    free(want);
    free(slope);
}

static void test_pytorch(void)
{
    struct numbers n = load();
    struct dnas_contrastive *c = dnas_contrastive_new(B, D, 1);
    float gz[2 * B * D], gz2[B * D];

    for (int k = 0; k < 2; k++) {
        const char *t = temperatures[k];
        double loss = NAN;

        CHECK(dnas_wsimclr(c, &loss, gz, n.z, n.label, B, strtod(t, NULL), NULL) == 0);
        check_against("wsimclr", t, loss, "wsimclr_gz", gz, 2 * B * D);
        CHECK(dnas_supcon(c, &loss, gz, n.z, n.both_labels, 2 * B, strtod(t, NULL), NULL) == 0);
        check_against("supcon", t, loss, "supcon_gz", gz, 2 * B * D);
        CHECK(dnas_supcon(c, &loss, gz, n.z1, n.label, B, strtod(t, NULL), NULL) == 0);
        check_against("alone", t, loss, "alone_gz", gz, B * D);
        CHECK(dnas_mixed_contrastive(c, &loss, gz, gz2, n.z1, n.z2, n.perm, n.lambda, n.label, B,
                                     strtod(t, NULL), NULL) == 0);
        check_against("mixed", t, loss, "mixed_gz1", gz, B * D);
        check_against("mixed", t, loss, "mixed_gz2", gz2, B * D);
    }
    dnas_contrastive_free(c);
    release(&n);
}

static void test_unit_rows(void)
{
    float *x = numbers_f32(NUMBERS, "x", B * D), *gy = numbers_f32(NUMBERS, "gy", B * D);
    float *want = numbers_f32(NUMBERS, "gx", B * D), y[B * D], norm[B], gx[B * D];
    static const float zero[D];

    dnas_unit_rows_fwd(y, norm, x, B, D);
    for (int i = 0; i < B; i++) {
        double sum = 0;

        for (int d = 0; d < D; d++)
            sum += pow((double)y[i * D + d], 2);
        CHECK_NEAR(sum, 1, 1e-6);
    }
    dnas_unit_rows_bwd(gx, gy, y, norm, B, D);
    CHECK_NEAR(off(gx, want, B * D), 0, 3e-7);
    dnas_unit_rows_bwd(gy, gy, y, norm, B, D); /* in place */
    CHECK(memcmp(gx, gy, sizeof(gx)) == 0);
    dnas_unit_rows_fwd(y, norm, zero, 1, D);
    dnas_unit_rows_bwd(gx, want, y, norm, 1, D);
    for (int d = 0; d < D; d++)
        CHECK(y[d] == 0 && gx[d] == 0);
    x[0] = NAN;
    dnas_unit_rows_fwd(x, NULL, x, 1, D);
    CHECK(isnan(x[D - 1]));
    free(x);
    free(gy);
    free(want);
}

/* ---- sizes that are no whole tiles, and all three by differences ---- */

enum loss { WSIMCLR, MIXED, SUPCON };

struct batch {
    size_t n_pairs, dim;
    float *z, *lambda; /* [2 n_pairs, dim] */
    uint32_t *label, *perm;
    double temperature;
};

static struct batch draw(size_t n_pairs, size_t dim, uint64_t n_labels, double temperature)
{
    struct batch b = {.n_pairs = n_pairs,
                      .dim = dim,
                      .z = dnas_xalloc(2 * n_pairs * dim, sizeof(float)),
                      .lambda = dnas_xalloc(n_pairs, sizeof(float)),
                      .label = dnas_xalloc(2 * n_pairs, sizeof(uint32_t)),
                      .perm = dnas_xalloc(n_pairs, sizeof(uint32_t)),
                      .temperature = temperature};
    struct dnas_rng rng;
    uint64_t *order = dnas_xalloc(n_pairs, sizeof(*order));

    dnas_rng_init(&rng, 5, DNAS_RNG_TEST, (uint32_t)n_pairs, (uint32_t)dim);
    for (size_t i = 0; i < 2 * n_pairs * dim; i++)
        b.z[i] = (float)dnas_rng_normal(&rng);
    dnas_unit_rows_fwd(b.z, NULL, b.z, 2 * n_pairs, dim);
    dnas_rng_sample(&rng, order, n_pairs, n_pairs);
    for (size_t i = 0; i < n_pairs; i++) {
        b.lambda[i] = (float)(0.5 + 0.5 * dnas_rng_uniform(&rng));
        b.perm[i] = (uint32_t)order[i];
        b.label[i] = b.label[n_pairs + i] = (uint32_t)dnas_rng_below(&rng, n_labels);
    }
    free(order);
    return b;
}

static void free_batch(struct batch *b)
{
    free(b->z);
    free(b->lambda);
    free(b->label);
    free(b->perm);
}

static double value(struct dnas_contrastive *c, enum loss which, const struct batch *b,
                    bool labelled, float *gz)
{
    const uint32_t *label = labelled ? b->label : NULL;
    size_t half = b->n_pairs * b->dim;
    double loss = NAN;
    struct dnas_err err = {""};
    int status = -1;

    switch (which) {
    case WSIMCLR:
        status = dnas_wsimclr(c, &loss, gz, b->z, label, b->n_pairs, b->temperature, &err);
        break;
    case MIXED:
        status =
            dnas_mixed_contrastive(c, &loss, gz, gz ? gz + half : NULL, b->z, b->z + half, b->perm,
                                   b->lambda, label, b->n_pairs, b->temperature, &err);
        break;
    case SUPCON:
        status = dnas_supcon(c, &loss, gz, b->z, b->label, 2 * b->n_pairs, b->temperature, &err);
        break;
    }
    if (status != 0)
        CHECK_FAIL("%s", err.msg);
    return loss;
}

/* Steps of 2^-10 on f32 inputs are exact to 2^-24; the curvature of the loss
 * at temperature 0.2 leaves some 1e-4 of the largest slope. */
static void differences(enum loss which, bool labelled)
{
    struct batch b = draw(37, 20, 6, 0.2);
    struct dnas_contrastive *c = dnas_contrastive_new(37, 20, 1);
    float *gz = dnas_xalloc(2 * 37 * 20, sizeof(*gz));

    value(c, which, &b, labelled, gz);
    for (size_t i = 0; i < 2 * 37 * 20; i += 7) {
        float at = b.z[i];
        double up, down, step;

        b.z[i] = at + 0x1p-10f;
        step = (double)b.z[i];
        up = value(c, which, &b, labelled, NULL);
        b.z[i] = at - 0x1p-10f;
        step -= (double)b.z[i];
        down = value(c, which, &b, labelled, NULL);
        b.z[i] = at;
        CHECK_NEAR((double)gz[i], (up - down) / step, 2e-6 + 1e-4 * fabs((double)gz[i]));
    }
    dnas_contrastive_free(c);
    free_batch(&b);
    free(gz);
}

static void test_differences(void)
{
    for (int which = WSIMCLR; which <= SUPCON; which++)
        for (int labelled = 0; labelled < 2; labelled++)
            differences((enum loss)which, labelled);
}

/* The formulas of contrastive.h written out, one anchor after the other; scores
 * are small enough at temperature 0.2 to do without logarithms. */
static double negatives_sum(const double *e, const bool *is_negative, size_t n)
{
    double sum = 0, squares = 0, count = 0;

    for (size_t k = 0; k < n; k++)
        if (is_negative[k]) {
            sum += e[k];
            squares += e[k] * e[k];
            count++;
        }
    return squares / (sum / count);
}

static void exp_scores(double *e, const struct batch *b, size_t row, size_t from, size_t n)
{
    for (size_t k = 0; k < n; k++) {
        double dot = 0;

        for (size_t d = 0; d < b->dim; d++)
            dot += (double)b->z[row * b->dim + d] * (double)b->z[(from + k) * b->dim + d];
        e[k] = exp(dot / b->temperature);
    }
}

static double written_out(enum loss which, const struct batch *b, bool labelled)
{
    size_t P = b->n_pairs, N = which == MIXED ? P : 2 * P;
    double *e = dnas_xalloc(N, sizeof(*e)), total = 0;
    bool *is_negative = dnas_xalloc(N, sizeof(*is_negative));

    for (size_t i = 0; i < N; i++) {
        size_t r = b->perm[i % P], partner = which == MIXED ? i : (i + P) % N;
        double lambda = which == MIXED ? (double)b->lambda[i] : 1, all = 0, logs = 0, n_logs = 0, d;

        exp_scores(e, b, i, which == MIXED ? P : 0, N);
        for (size_t k = 0; k < N; k++) {
            is_negative[k] = k % P != i % P && !(labelled && b->label[k] == b->label[i]);
            if (which == MIXED && labelled && b->label[k] == b->label[r])
                is_negative[k] = false;
            if (which == MIXED && k == r && r != i)
                is_negative[k] = true;
            all += k != i ? e[k] : 0;
        }
        for (size_t k = 0; k < N; k++)
            if (which == SUPCON && k != i && b->label[k] == b->label[i]) {
                logs += log(e[k] / all);
                n_logs++;
            }
        if (which == SUPCON) {
            total -= logs / n_logs;
            continue;
        }
        d = e[partner] + negatives_sum(e, is_negative, N);
        total -= lambda * log(e[partner] / d);
        if (which == MIXED)
            total -= (1 - lambda) * log(e[r] / d);
    }
    free(e);
    free(is_negative);
    return total / (double)N;
}

static void test_written_out(void)
{
    static const size_t sizes[] = {2, 31, 32, 33, 64, 65, 130};

    for (size_t k = 0; k < 7; k++)
        for (int which = WSIMCLR; which <= SUPCON; which++)
            for (int labelled = 0; labelled < 2; labelled++) {
                struct batch b = draw(sizes[k], 5 + 11 * k, sizes[k], 0.2);
                struct dnas_contrastive *c = dnas_contrastive_new(sizes[k], b.dim, 2);
                double want;

                b.label[0] = b.label[b.n_pairs] = 1000; /* two species at least */
                want = written_out((enum loss)which, &b, labelled);
                CHECK_NEAR(value(c, (enum loss)which, &b, labelled, NULL), want, 1e-11);
                dnas_contrastive_free(c);
                free_batch(&b);
            }
}

static void test_threads_and_room_do_not_show(void)
{
    struct batch b = draw(150, 40, 20, 0.05);
    struct dnas_contrastive *small = dnas_contrastive_new(150, 40, 1);
    struct dnas_contrastive *large = dnas_contrastive_new(1000, 40, 5);
    size_t n = 2 * 150 * 40;
    float *g1 = dnas_xalloc(n, sizeof(*g1)), *g2 = dnas_xalloc(n, sizeof(*g2));

    for (int which = WSIMCLR; which <= SUPCON; which++) {
        double one = value(small, (enum loss)which, &b, true, g1);

        value(large, (enum loss)((which + 1) % 3), &b, false, g2); /* leaves its traces */
        CHECK(one == value(large, (enum loss)which, &b, true, g2));
        CHECK(memcmp(g1, g2, n * sizeof(*g1)) == 0);
    }
    dnas_contrastive_free(small);
    dnas_contrastive_free(large);
    free_batch(&b);
    free(g1);
    free(g2);
}

/* ---- edges ---- */

static bool all_finite(const float *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!isfinite(x[i]))
            return false;
    return true;
}

/* Scores of 1000: e^s has long left double. */
static void test_extremes_are_finite(void)
{
    struct batch b = draw(10, 8, 3, 0.001);
    struct dnas_contrastive *c = dnas_contrastive_new(10, 8, 1);
    float gz[160];

    for (int equal = 0; equal < 2; equal++) {
        for (int which = WSIMCLR; which <= SUPCON; which++)
            for (int labelled = 0; labelled < 2; labelled++) {
                CHECK(isfinite(value(c, (enum loss)which, &b, labelled, gz)));
                CHECK(all_finite(gz, 160));
            }
        for (size_t i = 0; i < 160; i++)
            b.z[i] = i % 8 == 0;
    }
    /* All equal: every candidate of an anchor has the same share. */
    CHECK_NEAR(value(c, WSIMCLR, &b, false, gz), log(1 + 18), 1e-12);
    CHECK_NEAR(value(c, MIXED, &b, false, gz), log(1 + 9), 1e-12);
    CHECK_NEAR(value(c, SUPCON, &b, false, gz), log(19), 1e-12);
    dnas_contrastive_free(c);
    free_batch(&b);
}

/* A pair far apart and its negatives upon it: the loss is a distance of scores. */
static void test_hopeless_pair(void)
{
    float z[4][2] = {{1, 0}, {-1, 0}, {-1, 0}, {1, 0}}, gz[8];
    struct dnas_contrastive *c = dnas_contrastive_new(2, 2, 1);
    double loss = NAN;

    CHECK(dnas_wsimclr(c, &loss, gz, z[0], NULL, 2, 0.001, NULL) == 0);
    CHECK_NEAR(loss, 2000 + log(2), 1e-9);
    CHECK(all_finite(gz, 8));
    dnas_contrastive_free(c);
}

static void test_nan_is_not_lost(void)
{
    struct batch b = draw(6, 4, 2, 0.05);
    struct dnas_contrastive *c = dnas_contrastive_new(6, 4, 1);

    b.label[0] = b.label[6] = 5;
    b.label[1] = b.label[7] = 6;
    b.z[17] = NAN;
    for (int which = WSIMCLR; which <= SUPCON; which++)
        CHECK(isnan(value(c, (enum loss)which, &b, true, NULL)));
    for (size_t i = 0; i < 48; i++)
        b.z[i] = NAN;
    for (int which = WSIMCLR; which <= SUPCON; which++)
        CHECK(isnan(value(c, (enum loss)which, &b, true, NULL)));
    dnas_contrastive_free(c);
    free_batch(&b);
}

static void test_nothing_to_tell_apart(void)
{
    struct batch b = draw(3, 4, 1, 0.05);
    struct dnas_contrastive *c = dnas_contrastive_new(3, 4, 1);
    struct dnas_err err = {""};
    double loss;
    uint32_t apart[3] = {1, 2, 3}, turn[3] = {1, 2, 0}, same[3] = {0, 1, 2};

    CHECK(dnas_wsimclr(c, &loss, NULL, b.z, NULL, 1, 0.05, &err) == -1);
    CHECK_STR(err.msg, "a batch of 1 has no negatives: at least 2 pairs are needed");
    CHECK(dnas_wsimclr(c, &loss, NULL, b.z, b.label, 3, 0.05, &err) == -1);
    CHECK_STR(err.msg, "pair 1 of the batch of 3 has no negatives: all others share its label (try "
                       "a larger batch, more species, or --no-mask-same-label)");
    CHECK(dnas_wsimclr(c, &loss, NULL, b.z, NULL, 3, 0.05, &err) == 0);
    CHECK(dnas_mixed_contrastive(c, &loss, NULL, NULL, b.z, b.z + 12, same, b.lambda, b.label, 3,
                                 0.05, &err) == -1);
    /* Mixed with another, that one is its candidate. */
    CHECK(dnas_mixed_contrastive(c, &loss, NULL, NULL, b.z, b.z + 12, turn, b.lambda, b.label, 3,
                                 0.05, &err) == 0);
    CHECK(dnas_supcon(c, &loss, NULL, b.z, apart, 3, 0.05, &err) == -1);
    CHECK_STR(err.msg, "no two of the 3 sequences of the batch share a label");
    dnas_contrastive_free(c);
    free_batch(&b);
}

int main(void)
{
    RUN(test_golden_wsimclr);
    RUN(test_golden_mixed);
    RUN(test_pytorch);
    RUN(test_unit_rows);
    RUN(test_differences);
    RUN(test_written_out);
    RUN(test_threads_and_room_do_not_show);
    RUN(test_extremes_are_finite);
    RUN(test_hopeless_pair);
    RUN(test_nan_is_not_lost);
    RUN(test_nothing_to_tell_apart);
    return check_done();
}
