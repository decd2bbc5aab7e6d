/* SPDX-License-Identifier: MIT
 *
 * test_kernels.c - every CPU kernel on a table of shapes, against its formula
 * written again in double.
 *
 * A new kernel: a static function check_x(shape, fill) that compares one case,
 * and its line in `ops`.  Outputs live in guarded arrays, so that a write
 * beside them is seen.
 */
#include "kernels/kernels.h"

#include "common/rng.h"
#include "common/xmem.h"
#include "tests/unit/check.h"

#define SEED 20241120
#define CANARY 0xa5

/* What the inputs hold. */
enum fill {
    FILL_NORMAL,
    FILL_OFFSET, /* normal + 1000: cancellation shows */
    FILL_NAN,    /* one NaN, in the middle of the last row of the first input */
};

struct shape {
    size_t M, N, K;
};

struct guarded {
    unsigned char *block;
    void *data; /* of the size asked for, at a multiple of 64 */
    size_t size_bytes;
};

static struct guarded guard(size_t n, size_t size)
{
    struct guarded g = {.block = dnas_xalloc64(n * size + 128, 1), .size_bytes = n * size};

    memset(g.block, CANARY, n * size + 128);
    g.data = g.block + 64;
    return g;
}

/* Frees, and says whether the bytes beside the data are as they were. */
static bool unguard(struct guarded *g)
{
    const unsigned char *behind = (unsigned char *)g->data + g->size_bytes;
    bool whole = true;

    for (size_t i = 0; i < 64; i++)
        whole = whole && g->block[i] == CANARY && behind[i] == CANARY;
    free(g->block);
    return whole;
}

static float *draw(size_t rows, size_t C, enum fill fill, uint32_t row)
{
    float *x = dnas_xalloc64(rows, C * sizeof(*x));
    struct dnas_rng rng;

    dnas_rng_init(&rng, SEED, DNAS_RNG_TEST, (uint32_t)(rows * 4096 + C), row);
    for (size_t i = 0; i < rows * C; i++)
        x[i] = (float)(dnas_rng_normal(&rng) + (fill == FILL_OFFSET ? 1000 : 0));
    if (fill == FILL_NAN && row == 0 && rows * C > 0)
        x[(rows - 1) * C + C / 2] = NAN;
    return x;
}

/* Compared before any tolerance: NaN where NaN is due, and nowhere else. */
static bool agrees(double got, double want, double tol)
{
    if (isnan(want))
        return isnan(got);
    return fabs(got - want) <= tol;
}

static double dot(const float *a, const float *b, size_t C, double *size)
{
    double sum = 0;

    *size = 0;
    for (size_t c = 0; c < C; c++) {
        sum += (double)a[c] * (double)b[c];
        *size += fabs((double)a[c] * (double)b[c]);
    }
    return sum;
}

static double distance2(const float *a, const float *b, size_t C)
{
    double sum = 0;

    for (size_t c = 0; c < C; c++)
        sum += ((double)a[c] - (double)b[c]) * ((double)a[c] - (double)b[c]);
    return sum;
}

/* Rows in an order of their own, some twice. */
static uint32_t *draw_order(size_t n, size_t rows)
{
    uint32_t *row = dnas_xalloc(n, sizeof(*row));

    for (size_t i = 0; i < n; i++)
        row[i] = (uint32_t)((i * 7 + 3) % rows);
    return row;
}

static bool check_matmul_nt(const struct shape *s, enum fill fill)
{
    float *a = draw(s->M, s->K, fill, 0), *b = draw(s->N, s->K, fill, 1), *out;
    struct guarded g = guard(s->M * s->N, sizeof(*out));
    bool ok = true;

    out = g.data;
    dnas_cpu_matmul_nt(out, a, b, s->M, s->N, s->K);
    for (size_t i = 0; i < s->M * s->N; i++) {
        double size, want = dot(a + i / s->N * s->K, b + i % s->N * s->K, s->K, &size);

        /* K u |a||b|: the bound for any order of summation. */
        ok = ok && agrees((double)out[i], want, (double)s->K * 0x1p-24 * size);
    }
    free(a);
    free(b);
    return unguard(&g) && ok;
}

/* M rows of x, named N times over, to M rows of y; then plainly to the first of y. */
static bool check_distance2(const struct shape *s, enum fill fill)
{
    size_t n = s->M > 0 ? s->N : 0;
    float *x = draw(s->M, s->K, fill, 0), *y = draw(s->M, s->K, fill, 1);
    uint32_t *row = draw_order(n, s->M);
    int32_t *which = dnas_xalloc(s->M, sizeof(*which));
    struct guarded g = guard(n, sizeof(double)), h = guard(s->M, sizeof(double));
    bool ok = true;

    for (size_t i = 0; i < s->M; i++)
        which[i] = (int32_t)(s->M - 1 - i);
    dnas_cpu_distance2(g.data, x, row, y, which, n, s->K);
    dnas_cpu_distance2(h.data, x, NULL, y, NULL, s->M, s->K);
    for (size_t i = 0; i < n; i++) {
        double want = distance2(x + row[i] * s->K, y + (size_t)which[row[i]] * s->K, s->K);

        ok = ok && agrees(((double *)g.data)[i], want, 1e-13 * want);
    }
    for (size_t i = 0; i < s->M; i++) {
        double want = distance2(x + i * s->K, y, s->K);

        ok = ok && agrees(((double *)h.data)[i], want, 1e-13 * want);
    }
    free(x);
    free(y);
    free(row);
    free(which);
    ok = unguard(&g) && ok;
    return unguard(&h) && ok;
}

static bool check_dot(const struct shape *s, enum fill fill)
{
    size_t n = s->M > 0 ? s->N : 0;
    float *x = draw(s->M, s->K, fill, 0), *y = draw(1, s->K, fill, 1);
    uint32_t *row = draw_order(n, s->M);
    struct guarded g = guard(n, sizeof(double));
    bool ok = true;

    dnas_cpu_dot(g.data, x, row, y, n, s->K);
    for (size_t i = 0; i < n; i++) {
        double size, want = dot(x + row[i] * s->K, y, s->K, &size);

        ok = ok && agrees(((double *)g.data)[i], want, 1e-13 * size);
    }
    free(x);
    free(y);
    free(row);
    return unguard(&g) && ok;
}

/* A limit that about M in 33 scores keep to; the score of every third is the limit itself. */
static bool check_list_nearest(const struct shape *s, enum fill fill)
{
    size_t n = s->N * s->K, n_listed = SIZE_MAX, at = 0;
    float *product = draw(s->N, s->K, fill, 0), *bias = draw(s->N, s->K, fill, 1), limit;
    struct guarded score = guard(n, sizeof(float)), listed = guard(n, sizeof(uint32_t));
    bool ok = true;

    limit = (fill == FILL_OFFSET ? -1000 : 0) + 4 * ((float)s->M / 33 - 0.5f);
    for (size_t i = 0; i < n; i += 3) {
        product[i] = 0;
        bias[i] = limit;
    }
    memcpy(score.data, product, n * sizeof(*product));
    dnas_cpu_list_nearest(listed.data, &n_listed, score.data, bias, n, limit);
    for (size_t i = 0; i < n; i++) {
        float got = ((float *)score.data)[i];
        double want = (double)bias[i] - 2 * (double)product[i];

        ok = ok && agrees((double)got, want,
                          0x1p-23 * (fabs((double)bias[i]) + 4 * fabs((double)product[i])));
        if (!(got > limit))
            ok = ok && at < n_listed && ((uint32_t *)listed.data)[at++] == i;
    }
    ok = ok && at == n_listed;
    free(product);
    free(bias);
    ok = unguard(&score) && ok;
    return unguard(&listed) && ok;
}

static bool check_distance2_f32(const struct shape *s, enum fill fill)
{
    size_t n = s->M > 0 ? s->N : 0;
    float *x = draw(s->M, s->K, fill, 0), *y = draw(1, s->K, fill, 1), *out;
    uint32_t *row = draw_order(n, s->M);
    struct guarded g = guard(n, sizeof(*out));
    bool ok = true;

    out = g.data;
    dnas_cpu_distance2_f32(out, x, row, y, n, s->K);
    for (size_t i = 0; i < n; i++) {
        double want = distance2(x + row[i] * s->K, y, s->K);

        ok = ok && agrees((double)out[i], want, ((double)s->K + 2) * 0x1p-23 * want);
    }
    free(x);
    free(y);
    free(row);
    return unguard(&g) && ok;
}

static bool check_rows_sum(const struct shape *s, enum fill fill)
{
    size_t n = s->M > 0 ? s->N : 0;
    float *x = draw(s->M, s->K, fill, 0);
    uint32_t *row = draw_order(n, s->M);
    struct guarded g = guard(s->K, sizeof(double));
    double *sum = g.data;
    bool ok = true;

    for (size_t c = 0; c < s->K; c++)
        sum[c] = (double)c;
    dnas_cpu_rows_sum(sum, x, row, n, s->K);
    for (size_t c = 0; c < s->K; c++) {
        double want = (double)c;

        for (size_t i = 0; i < n; i++)
            want += (double)x[row[i] * s->K + c];
        ok = ok && agrees(sum[c], want, 0); /* the order is part of the contract */
    }
    free(x);
    free(row);
    return unguard(&g) && ok;
}

/* One row's label and bounds against all distances. */
static bool is_nearest(int32_t label, double upper, double lower, const float *x,
                       const float *centre, size_t K, size_t C)
{
    double own = distance2(x, centre + (size_t)label * C, C);

    for (size_t k = 0; k < K; k++) {
        double d = distance2(x, centre + k * C, C);

        /* The sums here run in another order: equal means within it. */
        if (k < (size_t)label ? d <= own * (1 - 1e-13) : d < own * (1 - 1e-13))
            return false;
        if (k != (size_t)label && !(lower <= sqrt(d)))
            return false;
    }
    return upper >= sqrt(own);
}

/* M rows, N centres, K columns.  Every third centre is there twice: ties. */
static bool check_assign(const struct shape *s, enum fill fill)
{
    size_t N = s->N > 0 ? s->N : 1, C = s->K;
    float *x = draw(s->M, C, fill, 0), *centre = draw(N, C, fill, 1), *origin = draw(1, C, fill, 2);
    double *length = dnas_xalloc(s->M, sizeof(double)), *reach = dnas_xalloc(s->M, sizeof(double));
    float *zero = dnas_xzalloc(C, sizeof(float));
    struct guarded label = guard(s->M, sizeof(int32_t)), upper = guard(s->M, sizeof(double)),
                   lower = guard(s->M, sizeof(double)), score = guard(s->M * N, sizeof(float)),
                   shifted = guard(N * C, sizeof(float)), bias = guard(N, sizeof(float));
    struct dnas_centres ready = {
        .K = N, .C = C, .centre = centre, .shifted = shifted.data, .bias = bias.data};
    bool ok = true;

    for (size_t k = 0; k + 2 < N; k += 3)
        memcpy(centre + (k + 2) * C, centre + k * C, C * sizeof(float));
    dnas_cpu_distance2(length, x, NULL, zero, NULL, s->M, C);
    dnas_cpu_distance2(reach, x, NULL, origin, NULL, s->M, C);
    for (size_t i = 0; i < s->M; i++) {
        length[i] = sqrt(length[i]);
        reach[i] = sqrt(reach[i]);
    }
    dnas_cpu_centres_prepare(&ready, origin);
    dnas_cpu_assign(label.data, upper.data, lower.data, x, length, reach, &ready, s->M, score.data);
    for (size_t i = 0; i < s->M; i++) {
        int32_t k = ((int32_t *)label.data)[i];

        ok = ok && k >= 0 && (size_t)k < N && (k % 3 != 2 || N < 3) &&
             is_nearest(k, ((double *)upper.data)[i], ((double *)lower.data)[i], x + i * C, centre,
                        N, C);
    }
    free(x);
    free(centre);
    free(origin);
    free(length);
    free(reach);
    free(zero);
    ok = unguard(&label) && ok;
    ok = unguard(&upper) && ok;
    ok = unguard(&lower) && ok;
    ok = unguard(&score) && ok;
    ok = unguard(&shifted) && ok;
    return unguard(&bias) && ok;
}

/* Products, and that their bits depend on neither place nor order: of the whole table, of a part
 * of it, with a and b exchanged, of single rows. */
static bool check_similarity(const struct shape *s, enum fill fill)
{
    float *a = draw(s->M, s->K, fill, 0), *b = draw(s->N, s->K, fill, 1);
    size_t ld = s->N + 3;
    struct guarded out = guard(s->M * ld, sizeof(float)),
                   turned = guard(s->N * s->M, sizeof(float)), row = guard(s->N, sizeof(float)),
                   part = guard(s->M * s->N, sizeof(float));
    uint32_t *number = dnas_xalloc(s->N, sizeof(*number));
    size_t from = s->M / 3;
    bool ok = true;

    for (size_t j = 0; j < s->N; j++)
        number[j] = (uint32_t)(s->N - 1 - j);
    dnas_cpu_similarity(out.data, a, b, s->M, s->N, s->K, ld);
    dnas_cpu_similarity(turned.data, b, a, s->N, s->M, s->K, s->M);
    dnas_cpu_similarity(part.data, a + from * s->K, b, s->M - from, s->N, s->K, s->N);
    for (size_t i = 0; i < s->M; i++) {
        const float *got = (float *)out.data + i * ld;

        dnas_cpu_similarity_rows(row.data, b, number, a + i * s->K, s->N, s->K);
        for (size_t j = 0; j < s->N; j++) {
            double size, want = dot(a + i * s->K, b + j * s->K, s->K, &size);

            ok = ok && agrees(got[j], want, ((double)s->K / 16 + 5) * 0x1p-24 * size);
            ok = ok && memcmp(&got[j], (float *)turned.data + j * s->M + i, sizeof(*got)) == 0;
            ok = ok && memcmp(&got[j], (float *)row.data + s->N - 1 - j, sizeof(*got)) == 0;
            ok = ok && (i < from || memcmp(&got[j], (float *)part.data + (i - from) * s->N + j,
                                           sizeof(*got)) == 0);
        }
        for (size_t j = s->N; j < ld; j++)
            ok = ok && memcmp(&got[j], "\xa5\xa5\xa5\xa5", 4) == 0; /* between the rows */
    }
    free(a);
    free(b);
    free(number);
    ok = unguard(&out) && ok;
    ok = unguard(&turned) && ok;
    ok = unguard(&part) && ok;
    return unguard(&row) && ok;
}

static bool check_at_least(const struct shape *s, enum fill fill)
{
    float *v = draw(s->M, s->K, fill, 0), *limits = draw(1, 2, fill, 1);
    size_t n = s->M * s->K, want = 0, got;
    struct guarded index = guard(n, sizeof(uint32_t));
    float limit = n > 1 ? v[n / 3] : limits[0]; /* one that is met exactly */
    bool ok = true;

    dnas_cpu_at_least(index.data, &got, v, n, limit);
    for (size_t i = 0; i < n; i++)
        if (v[i] >= limit) {
            ok = ok && want < got && ((uint32_t *)index.data)[want] == i;
            want++;
        }
    free(v);
    free(limits);
    return unguard(&index) && ok && got == want;
}

static const struct op {
    const char *name;
    bool (*check)(const struct shape *s, enum fill fill);
    bool takes_nan;
} ops[] = {
    {"matmul_nt", check_matmul_nt, true},
    {"distance2", check_distance2, true},
    {"distance2_f32", check_distance2_f32, true},
    {"dot", check_dot, true},
    {"list_nearest", check_list_nearest, true},
    {"rows_sum", check_rows_sum, true},
    {"assign", check_assign, false},
    {"similarity", check_similarity, true},
    {"at_least", check_at_least, true},
};

static void check_shape(const struct op *op, size_t M, size_t N, size_t K)
{
    const struct shape s = {.M = M, .N = N, .K = K};

    for (int fill = FILL_NORMAL; fill <= (op->takes_nan ? FILL_NAN : FILL_OFFSET); fill++)
        if (!op->check(&s, (enum fill)fill))
            CHECK_FAIL("%s: M %zu, N %zu, K %zu, fill %d, seed %d", op->name, M, N, K, fill, SEED);
}

static void check_op(const struct op *op)
{
    static const size_t odd[] = {0, 1, 31, 32, 33};
    const size_t n = sizeof(odd) / sizeof(odd[0]);

    for (size_t i = 0; i < n * n * n; i++)
        check_shape(op, odd[i / (n * n)], odd[i / n % n], odd[i % n]);
    check_shape(op, 256, 200, 96);
    check_shape(op, 40, 600, 20); /* three tiles of centres */
    check_shape(op, 3, 2, 5000);
}

static const struct op *op_under_test;

static void test_op(void)
{
    check_op(op_under_test);
}

int main(void)
{
    for (size_t i = 0; i < sizeof(ops) / sizeof(ops[0]); i++) {
        op_under_test = &ops[i];
        printf("# %s\n", op_under_test->name);
        RUN(test_op);
    }
    return check_done();
}
