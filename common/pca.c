/* SPDX-License-Identifier: MIT
 *
 * pca.c - leading principal components.  Contract: pca.h.
 *
 * The matrix is the C x C scatter or, when there are fewer rows than columns,
 * the N x N matrix of inner products of rows, whose eigenvectors u give the
 * components X^T u.
 */
#include "common/pca.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "common/matrix.h"
#include "common/threads.h"
#include "common/xmem.h"

#ifdef __clang__
#pragma clang fp contract(off) /* gcc -std=c11 does not contract */
#endif

/* Rows of a panel: 256 rows of 768 doubles are 1.5 MB, the second-level cache. */
#define PANEL 256
/* Values are floats, so the scatter's eigenvalues below this share of the largest are rounding. */
#define RANK_TOL 1e-13

static size_t min_size(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* ---- the scatter, or the inner products of rows ---- */

struct centred {
    const float *x; /* [N,C] */
    const double *mean;
    size_t N, C;
};

/* panel[r][c] = x - mean for rows first.., C wide; returns the number of rows. */
static size_t fill_rows(double *panel, const struct centred *d, size_t first)
{
    size_t n = min_size(PANEL, d->N - first);

    for (size_t r = 0; r < n; r++)
        for (size_t c = 0; c < d->C; c++)
            panel[r * d->C + c] = (double)d->x[(first + r) * d->C + c] - d->mean[c];
    return n;
}

/* panel[c][n] = x - mean for columns first.., N wide; returns the number of columns. */
static size_t fill_columns(double *panel, const struct centred *d, size_t first)
{
    size_t n = min_size(PANEL, d->C - first);

    for (size_t i = 0; i < d->N; i++)
        for (size_t c = 0; c < n; c++)
            panel[c * d->N + i] = (double)d->x[i * d->C + first + c] - d->mean[first + c];
    return n;
}

/* The D x D matrix, whole and symmetric; D is the lesser of N and C.  To be freed. */
static double *scatter_new(const struct centred *d, size_t D, bool by_rows, int n_threads)
{
    size_t length = by_rows ? d->C : d->N;
    double *a = dnas_xzalloc(D * D, sizeof(*a));
    double *panel = dnas_xalloc(D * PANEL, sizeof(*panel));

    for (size_t first = 0; first < length; first += PANEL) {
        size_t R = by_rows ? fill_columns(panel, d, first) : fill_rows(panel, d, first);
        struct dnas_matrix_product p = {.out = a,
                                        .a = panel,
                                        .b = panel,
                                        .R = R,
                                        .M = D,
                                        .N = D,
                                        .ldo = D,
                                        .lda = D,
                                        .ldb = D,
                                        .upper = true};

        dnas_matrix_add_product(&p, n_threads);
    }
    for (size_t i = 0; i < D; i++)
        for (size_t j = 0; j < i; j++)
            a[i * D + j] = a[j * D + i];
    free(panel);
    return a;
}

/* ---- the fit ---- */

static int check_finite(const float *x, size_t N, size_t C, struct dnas_err *err)
{
    for (size_t i = 0; i < N * C; i++)
        if (!isfinite(x[i]))
            return dnas_err_set(err, "row %zu has a value that is not finite in column %zu",
                                i / C + 1, i % C + 1);
    return 0;
}

static void means(double *mean, const float *x, size_t N, size_t C)
{
    for (size_t i = 0; i < N; i++)
        for (size_t c = 0; c < C; c++)
            mean[c] += x[i * C + c];
    for (size_t c = 0; c < C; c++)
        mean[c] /= (double)N;
}

/* Eigenvectors u of X X^T, in the rows of u, become components X^T u of unit length. */
static void components_from_rows(double *components, const double *u, size_t n,
                                 const struct centred *d)
{
    for (size_t k = 0; k < n; k++) {
        double *row = components + k * d->C, norm = 0;

        for (size_t i = 0; i < d->N; i++)
            for (size_t c = 0; c < d->C; c++)
                row[c] += u[k * d->N + i] * ((double)d->x[i * d->C + c] - d->mean[c]);
        for (size_t c = 0; c < d->C; c++)
            norm += row[c] * row[c];
        for (size_t c = 0; c < d->C; c++)
            row[c] /= sqrt(norm);
    }
}

static void fit(struct dnas_pca *pca, const struct centred *d, int n_threads)
{
    bool by_rows = d->N < d->C;
    size_t D = by_rows ? d->N : d->C;
    size_t K = min_size(pca->K, min_size(d->N - 1, D)), rank = 0;
    double *a = scatter_new(d, D, by_rows, n_threads);
    double *values = dnas_xalloc(K, sizeof(*values));
    double *vectors = dnas_xalloc(K * D, sizeof(*vectors));

    for (size_t i = 0; i < D; i++)
        pca->total_variance += a[i * D + i] / (double)(d->N - 1);
    dnas_matrix_eigen(values, vectors, a, D, K, n_threads);
    while (rank < K && values[rank] > RANK_TOL * values[0] && values[rank] > 0)
        rank++;
    for (size_t k = 0; k < rank; k++)
        pca->variance[k] = values[k] / (double)(d->N - 1);
    if (by_rows)
        components_from_rows(pca->components, vectors, rank, d);
    else
        memcpy(pca->components, vectors, rank * D * sizeof(*vectors));
    for (size_t k = 0; k < rank; k++)
        dnas_matrix_fix_sign(pca->components + k * d->C, d->C);
    free(a);
    free(values);
    free(vectors);
}

int dnas_pca_fit(struct dnas_pca *pca, const float *x, size_t N, size_t C, size_t K, int n_threads,
                 struct dnas_err *err)
{
    if (check_finite(x, N, C, err) < 0)
        return -1;
    *pca = (struct dnas_pca){.C = C, .K = K};
    pca->mean = dnas_xzalloc(C, sizeof(*pca->mean));
    pca->variance = dnas_xzalloc(K, sizeof(*pca->variance));
    pca->components = dnas_xzalloc(K, C * sizeof(*pca->components));
    if (N > 0)
        means(pca->mean, x, N, C);
    if (N > 1 && C > 0 && K > 0)
        fit(pca, &(struct centred){.x = x, .mean = pca->mean, .N = N, .C = C}, n_threads);
    return 0;
}

/* ---- scores ---- */

struct projection {
    float *out;
    const float *x;
    const struct dnas_pca *pca;
    const double *columns; /* [C,K] the components turned, so that the inner loop is contiguous */
    double *sums;          /* [workers,K] */
    size_t N;
};

static void project_panel(void *ctx, size_t task, int worker)
{
    const struct projection *p = ctx;
    size_t C = p->pca->C, K = p->pca->K;
    double *sum = p->sums + (size_t)worker * K;

    for (size_t i = task * PANEL; i < min_size(p->N, (task + 1) * PANEL); i++) {
        memset(sum, 0, K * sizeof(*sum));
        for (size_t c = 0; c < C; c++) {
            double value = (double)p->x[i * C + c] - p->pca->mean[c];

            for (size_t k = 0; k < K; k++)
                sum[k] += value * p->columns[c * K + k];
        }
        for (size_t k = 0; k < K; k++)
            p->out[i * K + k] = (float)sum[k];
    }
}

void dnas_pca_project(float *out, const struct dnas_pca *pca, const float *x, size_t N,
                      int n_threads)
{
    size_t C = pca->C, K = pca->K;
    double *columns = dnas_xalloc(C, K * sizeof(*columns));
    double *sums = dnas_xalloc((size_t)n_threads, K * sizeof(*sums));
    struct projection p = {out, x, pca, columns, sums, N};

    for (size_t c = 0; c < C; c++)
        for (size_t k = 0; k < K; k++)
            columns[c * K + k] = pca->components[k * C + c];
    dnas_parallel_for((N + PANEL - 1) / PANEL, n_threads, project_panel, &p);
    free(columns);
    free(sums);
}

double dnas_pca_share(const struct dnas_pca *pca, size_t k)
{
    return pca->total_variance > 0 ? pca->variance[k] / pca->total_variance : 0;
}

void dnas_pca_release(struct dnas_pca *pca)
{
    free(pca->mean);
    free(pca->components);
    free(pca->variance);
    *pca = (struct dnas_pca){0};
}
