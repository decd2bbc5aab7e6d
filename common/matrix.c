/* SPDX-License-Identifier: MIT
 *
 * matrix.c - products, factors and eigenvectors in double.  Contract: matrix.h.
 *
 * A few eigenvectors of a large matrix come from a block Lanczos method with
 * thick restarts (Wu and Simon 2000), not from a full decomposition: two of a
 * 4096 x 4096 matrix take a second instead of minutes.
 */
#include "common/matrix.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "common/rng.h"
#include "common/threads.h"
#include "common/xmem.h"
#include "kernels/isa.h"

#ifdef __clang__
#pragma clang fp contract(off) /* gcc -std=c11 does not contract */
#endif

/* Rows of a panel: 256 rows of 768 doubles are 1.5 MB, the second-level cache. */
#define PANEL 256
/* Below this size all eigenvectors are found as quickly as a few. */
#define DIRECT_MAX 64
/* Blocks of new directions between two restarts. */
#define BLOCKS_PER_RESTART 4
#define MAX_RESTARTS 300
#define RESIDUAL_TOL 1e-11

static size_t min_size(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* ---- out += a^T b, the one product all the rest is made of ---- */

#define TILE_M 4
#define TILE_N 8
/* Rows of out in one task. */
#define STRIP 32

/* gcc and clang split it into whatever vectors the target has. */
typedef double v4d __attribute__((vector_size(32)));

#define BODY static inline __attribute__((always_inline))
#if defined(__x86_64__)
/* Without fma, so that the bits are the same on every x86-64. */
#define TARGET_AVX2 __attribute__((target("avx2")))
#endif

/* A 4 x 8 tile of out stays in registers over rows r0..r1-1. */
BODY void product_tile(const struct dnas_matrix_product *p, size_t i0, size_t j0, size_t r0,
                       size_t r1)
{
    v4d low[TILE_M], high[TILE_M];

    for (size_t i = 0; i < TILE_M; i++) {
        memcpy(&low[i], p->out + (i0 + i) * p->ldo + j0, sizeof(v4d));
        memcpy(&high[i], p->out + (i0 + i) * p->ldo + j0 + 4, sizeof(v4d));
    }
    for (size_t r = r0; r < r1; r++) {
        const double *a = p->a + r * p->lda + i0, *b = p->b + r * p->ldb + j0;
        v4d b_low, b_high;

        memcpy(&b_low, b, sizeof(b_low));
        memcpy(&b_high, b + 4, sizeof(b_high));
        for (size_t i = 0; i < TILE_M; i++) {
            low[i] += a[i] * b_low;
            high[i] += a[i] * b_high;
        }
    }
    for (size_t i = 0; i < TILE_M; i++) {
        memcpy(p->out + (i0 + i) * p->ldo + j0, &low[i], sizeof(v4d));
        memcpy(p->out + (i0 + i) * p->ldo + j0 + 4, &high[i], sizeof(v4d));
    }
}

/* The same, in the same order, for what is left at the edges. */
BODY void product_edge(const struct dnas_matrix_product *p, size_t i0, size_t i1, size_t j0,
                       size_t j1, size_t r0, size_t r1)
{
    for (size_t i = i0; i < i1; i++)
        for (size_t j = j0; j < j1; j++) {
            double sum = p->out[i * p->ldo + j];

            for (size_t r = r0; r < r1; r++)
                sum += p->a[r * p->lda + i] * p->b[r * p->ldb + j];
            p->out[i * p->ldo + j] = sum;
        }
}

/* Rows r0..r1-1 of a strip are read again for every tile: PANEL of them stay in the cache. */
BODY void product_rows(const struct dnas_matrix_product *p, size_t first, size_t last, size_t r0,
                       size_t r1)
{
    for (size_t j0 = p->upper ? first : 0; j0 < p->N; j0 += TILE_N) {
        size_t j1 = min_size(j0 + TILE_N, p->N);

        for (size_t i0 = first; i0 < last; i0 += TILE_M) {
            size_t i1 = min_size(i0 + TILE_M, last);

            if (i1 - i0 == TILE_M && j1 - j0 == TILE_N)
                product_tile(p, i0, j0, r0, r1);
            else
                product_edge(p, i0, i1, j0, j1, r0, r1);
        }
    }
}

BODY void product_strip_body(const struct dnas_matrix_product *p, size_t task)
{
    size_t first = task * STRIP, last = min_size(first + STRIP, p->M);

    for (size_t r = 0; r < p->R; r += PANEL)
        product_rows(p, first, last, r, min_size(r + PANEL, p->R));
}

static void product_strip_base(const struct dnas_matrix_product *p, size_t task)
{
    product_strip_body(p, task);
}

#if defined(TARGET_AVX2)
TARGET_AVX2 static void product_strip_avx2(const struct dnas_matrix_product *p, size_t task)
{
    product_strip_body(p, task);
}
#endif

static void product_strip(void *ctx, size_t task, int worker)
{
    (void)worker;
#if defined(TARGET_AVX2)
    if (dnas_isa() != DNAS_ISA_BASE) {
        product_strip_avx2(ctx, task);
        return;
    }
#endif
    product_strip_base(ctx, task);
}

void dnas_matrix_add_product(const struct dnas_matrix_product *p, int n_threads)
{
    dnas_parallel_for((p->M + STRIP - 1) / STRIP, n_threads, product_strip, (void *)p);
}

/* ---- all eigenvectors of a symmetric matrix ---- */

/* A Householder reflection 1 - beta v v^T (v[0..k] are 0) that clears row k of a beyond the
 * subdiagonal; returns beta, 0 if there is nothing to clear. */
static double reflection(double *v, const double *a, size_t n, size_t k)
{
    double tail = 0, x = a[k * n + k + 1], norm;

    memset(v, 0, n * sizeof(*v));
    for (size_t i = k + 2; i < n; i++) {
        v[i] = a[k * n + i];
        tail += v[i] * v[i];
    }
    if (tail == 0)
        return 0;
    norm = sqrt(x * x + tail);
    v[k + 1] = x + copysign(norm, x);
    return 2 / (v[k + 1] * v[k + 1] + tail);
}

/* out = sum over rows i >= first of v[i] times row i of m, columns first.. */
static void combine_rows(double *out, const double *v, const double *m, size_t n, size_t first,
                         size_t from)
{
    memset(out, 0, n * sizeof(*out));
    for (size_t i = from; i < n; i++)
        for (size_t j = first; j < n; j++)
            out[j] += v[i] * m[i * n + j];
}

/* a (destroyed) = z^T t z with t tridiagonal: d [n] its diagonal, e [n-1] beside it (Golub and Van
 * Loan 2013, algorithm 8.3.1). */
static void tridiagonalise(double *d, double *e, double *z, double *a, size_t n)
{
    double *v = dnas_xalloc(n, sizeof(*v)), *w = dnas_xalloc(n, sizeof(*w));

    memset(z, 0, n * n * sizeof(*z));
    for (size_t i = 0; i < n; i++)
        z[i * n + i] = 1;
    for (size_t k = 0; k + 2 < n; k++) {
        double beta = reflection(v, a, n, k), half = 0;

        if (beta == 0)
            continue;
        combine_rows(w, v, a, n, k, k + 1);
        for (size_t i = k; i < n; i++)
            half += beta * beta / 2 * w[i] * v[i];
        for (size_t i = k; i < n; i++)
            w[i] = beta * w[i] - half * v[i];
        for (size_t i = k; i < n; i++)
            for (size_t j = k; j < n; j++)
                a[i * n + j] -= v[i] * w[j] + w[i] * v[j];
        combine_rows(w, v, z, n, 0, k + 1);
        for (size_t i = k + 1; i < n; i++)
            for (size_t j = 0; j < n; j++)
                z[i * n + j] -= beta * v[i] * w[j];
    }
    for (size_t i = 0; i < n; i++)
        d[i] = a[i * n + i];
    for (size_t i = 0; i + 1 < n; i++)
        e[i] = a[i * n + i + 1];
    free(v);
    free(w);
}

static void rotate_rows(double *x, double *y, size_t n, double c, double s)
{
    for (size_t i = 0; i < n; i++) {
        double t = x[i];

        x[i] = c * t + s * y[i];
        y[i] = c * y[i] - s * t;
    }
}

/* One implicit step with Wilkinson's shift on rows lo..hi of t (algorithm 8.3.2). */
static void qr_step(double *d, double *e, double *z, size_t n, size_t lo, size_t hi)
{
    double delta = (d[hi - 1] - d[hi]) / 2, last = e[hi - 1];
    double x = d[lo] - d[hi] + last * last / (delta + copysign(hypot(delta, last), delta));
    double bulge = e[lo];

    for (size_t k = lo; k < hi; k++) {
        double r = hypot(x, bulge), c = r > 0 ? x / r : 1, s = r > 0 ? bulge / r : 0;
        double p = d[k], q = d[k + 1], o = e[k];

        if (k > lo)
            e[k - 1] = r;
        d[k] = c * c * p + 2 * c * s * o + s * s * q;
        d[k + 1] = s * s * p - 2 * c * s * o + c * c * q;
        e[k] = (c * c - s * s) * o + c * s * (q - p);
        if (k + 1 < hi) {
            x = e[k];
            bulge = s * e[k + 1];
            e[k + 1] *= c;
        }
        rotate_rows(z + k * n, z + (k + 1) * n, n, c, s);
    }
}

/* Whether e[k] is nothing beside its neighbours; floor is for where these are 0 too. */
static bool negligible(const double *d, const double *e, size_t k, double least)
{
    return fabs(e[k]) <= 1e-16 * (fabs(d[k]) + fabs(d[k + 1])) || fabs(e[k]) <= least;
}

/* Rows of z, with their values, into falling order of value. */
static void sort_rows(double *values, double *z, size_t n)
{
    for (size_t k = 0; k + 1 < n; k++) {
        size_t best = k;
        double value = values[k];

        for (size_t j = k + 1; j < n; j++)
            if (values[j] > values[best])
                best = j;
        if (best == k)
            continue;
        values[k] = values[best];
        values[best] = value;
        for (size_t i = 0; i < n; i++) {
            value = z[k * n + i];
            z[k * n + i] = z[best * n + i];
            z[best * n + i] = value;
        }
    }
}

/* All eigenvalues of a (destroyed), falling, and eigenvectors in the rows of z [n,n]. */
static void eigen(double *values, double *z, double *a, size_t n)
{
    double *e = dnas_xzalloc(n, sizeof(*e)), least = 0;
    size_t hi = n - 1;

    tridiagonalise(values, e, z, a, n);
    for (size_t i = 0; i < n; i++)
        least = fmax(least, 1e-18 * fmax(fabs(values[i]), fabs(e[i])));
    /* Two steps an eigenvalue are usual; 60 n is for input that no step can improve. */
    for (size_t step = 0; hi > 0 && step < 60 * n;) {
        size_t lo = hi - 1;

        if (negligible(values, e, hi - 1, least)) {
            hi--;
            continue;
        }
        while (lo > 0 && !negligible(values, e, lo - 1, least))
            lo--;
        qr_step(values, e, z, n, lo, hi);
        step++;
    }
    sort_rows(values, z, n);
    free(e);
}

/* ---- leading eigenvectors of a large one ---- */

struct lanczos {
    const double *a;    /* [D,D] symmetric */
    double *q;          /* [D,M] orthonormal columns, `n` of them in use */
    double *aq;         /* [D,M] a q */
    double *h;          /* [M,M] q^T a q */
    double *v;          /* [M,M] its eigenvectors, in rows */
    double *values;     /* [M] */
    double *spare;      /* [M] */
    double *dots;       /* [M] */
    size_t D, M, n;     /* M: room for columns */
    size_t keep, width; /* columns kept at a restart, columns of a block */
    int n_threads;
};

/* Divides column k by its largest value, or makes it 0 if that is below `least`. */
static void rescale(struct lanczos *l, size_t k, double least)
{
    double largest = 0;

    for (size_t i = 0; i < l->D; i++)
        largest = fmax(largest, fabs(l->q[i * l->M + k]));
    for (size_t i = 0; i < l->D; i++)
        l->q[i * l->M + k] = largest > least ? l->q[i * l->M + k] / largest : 0;
}

/* Makes column k orthogonal to the columns before it and of unit length; or 0, if it was made of
 * them but for rounding.  Twice is enough (Giraud, Langou and Rozloznik 2005). */
static void orthonormalise(struct lanczos *l, size_t k)
{
    rescale(l, k, 0);
    for (int pass = 0; pass < 2; pass++) {
        double norm = 0;

        memset(l->dots, 0, k * sizeof(*l->dots));
        for (size_t i = 0; i < l->D; i++)
            for (size_t j = 0; j < k; j++)
                l->dots[j] += l->q[i * l->M + j] * l->q[i * l->M + k];
        for (size_t i = 0; i < l->D; i++)
            for (size_t j = 0; j < k; j++)
                l->q[i * l->M + k] -= l->dots[j] * l->q[i * l->M + j];
        rescale(l, k, pass == 0 ? 1e-14 : 0);
        for (size_t i = 0; i < l->D; i++)
            norm += l->q[i * l->M + k] * l->q[i * l->M + k];
        for (size_t i = 0; i < l->D; i++)
            l->q[i * l->M + k] *= norm > 0 ? 1 / sqrt(norm) : 0;
    }
}

/* Takes the `width` columns after the first n into the basis. */
static void extend(struct lanczos *l, size_t width)
{
    struct dnas_matrix_product p = {.out = l->aq + l->n,
                                    .a = l->a,
                                    .b = l->q + l->n,
                                    .R = l->D,
                                    .M = l->D,
                                    .N = width,
                                    .ldo = l->M,
                                    .lda = l->D,
                                    .ldb = l->M};

    for (size_t k = 0; k < width; k++)
        orthonormalise(l, l->n + k);
    for (size_t i = 0; i < l->D; i++)
        memset(l->aq + i * l->M + l->n, 0, width * sizeof(*l->aq));
    dnas_matrix_add_product(&p, l->n_threads);
    l->n += width;
}

/* x <- x v^T over the n columns in use, the leading `keep` results kept. */
static void rotate(struct lanczos *l, double *x)
{
    for (size_t i = 0; i < l->D; i++) {
        for (size_t k = 0; k < l->keep; k++) {
            double sum = 0;

            for (size_t j = 0; j < l->n; j++)
                sum += x[i * l->M + j] * l->v[k * l->n + j];
            l->spare[k] = sum;
        }
        memcpy(x + i * l->M, l->spare, l->keep * sizeof(*x));
    }
}

/* Ritz vectors of the basis replace it, largest values first (Rayleigh and Ritz). */
static void restart(struct lanczos *l)
{
    struct dnas_matrix_product p = {.out = l->h,
                                    .a = l->q,
                                    .b = l->aq,
                                    .R = l->D,
                                    .M = l->n,
                                    .N = l->n,
                                    .ldo = l->n,
                                    .lda = l->M,
                                    .ldb = l->M};

    memset(l->h, 0, l->n * l->n * sizeof(*l->h));
    dnas_matrix_add_product(&p, l->n_threads);
    for (size_t i = 0; i < l->n; i++) /* symmetric but for rounding */
        for (size_t j = 0; j < i; j++)
            l->h[i * l->n + j] = l->h[j * l->n + i];
    eigen(l->values, l->v, l->h, l->n);
    rotate(l, l->q);
    rotate(l, l->aq);
    l->n = l->keep;
}

/* Residuals a q - value q of the leading columns go after the basis, to extend it; returns the
 * longest of the first K. */
static double residuals(struct lanczos *l, size_t K)
{
    double worst = 0;

    for (size_t k = 0; k < l->width; k++) {
        double norm = 0;

        for (size_t i = 0; i < l->D; i++) {
            double r = l->aq[i * l->M + k] - l->values[k] * l->q[i * l->M + k];

            l->q[i * l->M + l->n + k] = r;
            norm += r * r;
        }
        if (k < K && norm > worst)
            worst = norm;
    }
    return sqrt(worst);
}

/* Columns of a block for K eigenpairs: some spare, so that close neighbours of the K-th converge
 * too, and whole tiles. */
static size_t lanczos_width(size_t K)
{
    return (K + 4 + TILE_N - 1) / TILE_N * TILE_N;
}

/* The K < D leading eigenpairs of a: values [K], vectors in the rows of out [K,D]. */
static void lanczos(double *values, double *out, const double *a, size_t D, size_t K, int n_threads)
{
    size_t width = lanczos_width(K);
    struct lanczos l = {.a = a,
                        .D = D,
                        .keep = 2 * width,
                        .width = width,
                        .M = (2 + BLOCKS_PER_RESTART) * width,
                        .n_threads = n_threads};
    struct dnas_rng rng;

    l.q = dnas_xalloc(D * l.M, sizeof(double));
    l.aq = dnas_xalloc(D * l.M, sizeof(double));
    l.h = dnas_xalloc(l.M * l.M, sizeof(double));
    l.v = dnas_xalloc(l.M * l.M, sizeof(double));
    l.values = dnas_xalloc(l.M, sizeof(double));
    l.spare = dnas_xalloc(l.M, sizeof(double));
    l.dots = dnas_xalloc(l.M, sizeof(double));
    dnas_rng_init(&rng, 0, DNAS_RNG_PCA_INIT, 0, 0);
    for (size_t i = 0; i < D; i++)
        for (size_t k = 0; k < l.keep; k++)
            l.q[i * l.M + k] = dnas_rng_normal(&rng);
    extend(&l, l.keep);
    for (int i = 0; i < MAX_RESTARTS; i++) {
        restart(&l);
        if (residuals(&l, K) <= RESIDUAL_TOL * l.values[0])
            break;
        for (int block = 0; block < BLOCKS_PER_RESTART; block++) {
            extend(&l, width);
            if (block + 1 < BLOCKS_PER_RESTART)
                for (size_t r = 0; r < D; r++)
                    memcpy(l.q + r * l.M + l.n, l.aq + r * l.M + l.n - width, width * sizeof(*l.q));
        }
    }
    for (size_t k = 0; k < K; k++) {
        values[k] = l.values[k];
        for (size_t i = 0; i < D; i++)
            out[k * D + i] = l.q[i * l.M + k];
    }
    free(l.q);
    free(l.aq);
    free(l.h);
    free(l.v);
    free(l.values);
    free(l.spare);
    free(l.dots);
}

void dnas_matrix_eigen(double *values, double *out, double *a, size_t D, size_t K, int n_threads)
{
    double *v, *all;

    if (D > DIRECT_MAX && (2 + BLOCKS_PER_RESTART) * lanczos_width(K) < D) {
        lanczos(values, out, a, D, K, n_threads);
        return;
    }
    v = dnas_xalloc(D * D, sizeof(*v));
    all = dnas_xalloc(D, sizeof(*all));
    eigen(all, v, a, D);
    memcpy(values, all, K * sizeof(*values));
    memcpy(out, v, K * D * sizeof(*out));
    free(v);
    free(all);
}

void dnas_matrix_fix_sign(double *row, size_t C)
{
    double largest = 0;
    size_t at = 0;

    for (size_t c = 0; c < C; c++)
        largest = fmax(largest, fabs(row[c]));
    while (at < C && fabs(row[at]) < (1 - 1e-6) * largest)
        at++;
    if (at < C && row[at] < 0)
        for (size_t c = 0; c < C; c++)
            row[c] = -row[c];
}

/* ---- triangular factors ---- */

/* Columns of a right-hand side in one task. */
#define SOLVE_COLUMNS 64

/* row -= x times other, n of them. */
static void subtract_row(double *restrict row, const double *restrict other, double x, size_t n)
{
    for (size_t j = 0; j < n; j++)
        row[j] -= x * other[j];
}

int dnas_matrix_cholesky(double *a, size_t D)
{
    double *column = dnas_xalloc(D, sizeof(*column));
    int status = 0;

    for (size_t k = 0; k < D && status == 0; k++) {
        double pivot = a[k * D + k];

        if (!(pivot > 0) || !isfinite(pivot)) {
            status = -1;
            break;
        }
        pivot = sqrt(pivot);
        for (size_t i = k; i < D; i++) {
            column[i] = a[i * D + k] / pivot;
            a[i * D + k] = column[i];
        }
        for (size_t i = k + 1; i < D; i++)
            subtract_row(a + i * D + k + 1, column + k + 1, column[i], i - k);
        memset(a + k * D + k + 1, 0, (D - k - 1) * sizeof(*a));
    }
    free(column);
    return status;
}

struct solve {
    double *b;
    const double *l;
    size_t D, N;
};

static void solve_columns(void *ctx, size_t task, int worker)
{
    const struct solve *s = ctx;
    size_t first = task * SOLVE_COLUMNS, n = min_size(SOLVE_COLUMNS, s->N - first);

    (void)worker;
    for (size_t i = 0; i < s->D; i++) {
        double *row = s->b + i * s->N + first;

        for (size_t k = 0; k < i; k++)
            subtract_row(row, s->b + k * s->N + first, s->l[i * s->D + k], n);
        for (size_t j = 0; j < n; j++)
            row[j] /= s->l[i * s->D + i];
    }
}

static void solve_columns_back(void *ctx, size_t task, int worker)
{
    const struct solve *s = ctx;
    size_t first = task * SOLVE_COLUMNS, n = min_size(SOLVE_COLUMNS, s->N - first);

    (void)worker;
    for (size_t i = s->D; i-- > 0;) {
        double *row = s->b + i * s->N + first;

        for (size_t k = i + 1; k < s->D; k++)
            subtract_row(row, s->b + k * s->N + first, s->l[k * s->D + i], n);
        for (size_t j = 0; j < n; j++)
            row[j] /= s->l[i * s->D + i];
    }
}

void dnas_matrix_solve_lower(double *b, const double *l, size_t D, size_t N, int n_threads)
{
    dnas_parallel_for((N + SOLVE_COLUMNS - 1) / SOLVE_COLUMNS, n_threads, solve_columns,
                      &(struct solve){b, l, D, N});
}

void dnas_matrix_solve_lower_transposed(double *b, const double *l, size_t D, size_t N,
                                        int n_threads)
{
    dnas_parallel_for((N + SOLVE_COLUMNS - 1) / SOLVE_COLUMNS, n_threads, solve_columns_back,
                      &(struct solve){b, l, D, N});
}

void dnas_matrix_transpose(double *out, const double *in, size_t M, size_t N)
{
    for (size_t i = 0; i < M; i++)
        for (size_t j = 0; j < N; j++)
            out[j * M + i] = in[i * N + j];
}
