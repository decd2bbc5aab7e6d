/* SPDX-License-Identifier: MIT
 *
 * similar_bound.c - directions that hold most of the rows, and bounds by them.
 * Contract: similar_bound.h.
 *
 * Any directions give a bound that holds.  Good ones are had by two steps of
 * subspace iteration on a sample of the rows, which starts from rows.
 */
#include "common/similar_bound.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "common/threads.h"
#include "common/xmem.h"
#include "kernels/kernels.h"

#define FEW 8192    /* rows that are compared before a bound would be found */
#define SAMPLE 2048 /* rows that the directions are found on */
#define TRIED 512   /* of these, rows whose pairs say what a bound is worth */
#define BLOCK 128   /* rows a task */
#define N_STEPS 2

/* Times, a dimension of sgemm being 1: a dimension of dnas_cpu_similarity and of a single
 * dnas_cpu_similarity_rows, and what is done with a product. */
#define DENSE_TIME 1.6
#define SINGLE_TIME 16.
#define PRODUCT_TIME 16.

static const double u = 0x1p-24; /* f32's rounding */

struct basis {
    size_t n, C;
    float *q;      /* [n,C] */
    double defect; /* of q q^T from the unit matrix: its norm is at most this */
};

/* In eight sums, which need not wait for each other. */
static double dot(const float *a, const float *b, size_t n)
{
    double sum[8] = {0}, rest = 0;
    size_t i = 0;

    for (; i + 8 <= n; i += 8)
        for (size_t l = 0; l < 8; l++)
            sum[l] += (double)a[i + l] * (double)b[i + l];
    for (; i < n; i++)
        rest += (double)a[i] * (double)b[i];
    return ((sum[0] + sum[4]) + (sum[1] + sum[5])) + ((sum[2] + sum[6]) + (sum[3] + sum[7])) + rest;
}

static float *sample_rows(const float *x, size_t N, size_t C, size_t n)
{
    float *s = dnas_xalloc64(n, C * sizeof(*s));

    for (size_t k = 0; k < n; k++)
        memcpy(s + k * C, x + k * N / n * C, C * sizeof(*s));
    return s;
}

/* Makes the rows orthonormal, each against those before it, and `times` times, since once leaves
 * errors; drops what depends on them. */
static void orthonormalise(struct basis *b, int times)
{
    size_t kept = 0;

    for (size_t k = 0; k < b->n; k++) {
        float *to = b->q + kept * b->C;
        const double before = dot(b->q + k * b->C, b->q + k * b->C, b->C);
        double length2;

        memmove(to, b->q + k * b->C, b->C * sizeof(*to));
        for (int t = 0; t < times; t++)
            for (size_t j = 0; j < kept; j++) {
                double along = dot(to, b->q + j * b->C, b->C);

                for (size_t c = 0; c < b->C; c++)
                    to[c] -= (float)(along * (double)b->q[j * b->C + c]);
            }
        length2 = dot(to, to, b->C);
        if (!(length2 > 1e-6 * before) || !(length2 > 1e-30) || !isfinite(length2))
            continue;
        for (size_t c = 0; c < b->C; c++)
            to[c] = (float)((double)to[c] / sqrt(length2));
        kept++;
    }
    b->n = kept;
}

/* The largest sum of a row's magnitudes in q q^T - 1. */
static double defect_of(const struct basis *b)
{
    double most = 0;

    for (size_t i = 0; i < b->n; i++) {
        double sum = 0;

        for (size_t j = 0; j < b->n; j++)
            sum += fabs(dot(b->q + i * b->C, b->q + j * b->C, b->C) - (i == j));
        most = fmax(most, sum);
    }
    return most;
}

/* n directions that hold much of the sample. */
static struct basis find_basis(const float *sample, size_t n_sample, size_t C, size_t n)
{
    struct basis b = {.n = n, .C = C, .q = sample_rows(sample, n_sample, C, n)};
    float *t = dnas_xalloc64(n, n_sample * sizeof(*t));

    orthonormalise(&b, 1);
    for (int step = 0; step < N_STEPS; step++) {
        dnas_cpu_matmul_nt(t, b.q, sample, b.n, n_sample, C);
        dnas_cpu_matmul(b.q, t, sample, b.n, C, n_sample, C, n_sample, C, 1, 0, 0);
        orthonormalise(&b, step + 1 < N_STEPS ? 1 : 2);
    }
    b.defect = defect_of(&b);
    free(t);
    return b;
}

/* ---- the numbers of a row ---- */

struct project {
    const struct basis *b;
    const float *x; /* [N,C] */
    size_t N, D;
    float *y; /* [N,D] */
    double slack;
};

/* How far y is from the exact Q x, in length, for a row of length 1 (Higham 2002, section 3.1). */
static double error_of_y(const struct basis *b)
{
    return 1.01 * (double)b->C * u * sqrt((double)b->n);
}

/* On r^2, relative to the largest squared length. */
static double slack_of(const struct basis *b)
{
    return b->defect + 2.1 * error_of_y(b) + 1e-9;
}

static double margin_of(const struct basis *b, double longest2)
{
    return longest2 *
           (4 * b->defect + 2.2 * error_of_y(b) + 2.2 * ((double)b->n + (double)b->C / 8 + 40) * u);
}

static void project_task(void *ctx, size_t task, int worker)
{
    const struct project *p = ctx;
    size_t begin = task * BLOCK, n = p->N - begin < BLOCK ? p->N - begin : BLOCK, C = p->b->C;

    (void)worker;
    dnas_cpu_matmul(p->y + begin * p->D, p->x + begin * C, p->b->q, n, p->b->n, C, p->D, C, C, 1, 0,
                    1);
    for (size_t i = begin; i < begin + n; i++) {
        float *y = p->y + i * p->D;
        double left = dot(p->x + i * C, p->x + i * C, C) - dot(y, y, p->b->n);

        y[p->D - 1] = (float)sqrt(fmax(left, 0) + p->slack);
    }
}

/* y of N rows; free it. */
static float *project(const struct basis *b, const float *x, size_t N, double longest2,
                      int n_threads)
{
    struct project p = {.b = b, .x = x, .N = N, .D = b->n + 1, .slack = slack_of(b) * longest2};

    p.y = dnas_xalloc64(N, p.D * sizeof(*p.y));
    dnas_parallel_for(N / BLOCK + (N % BLOCK > 0), n_threads, project_task, &p);
    return p.y;
}

/* ---- the choice ---- */

/* The share of pairs of the rows y that a bound leaves to be looked at. */
static double share_left(const float *y, size_t n, size_t D, float limit)
{
    float *s = dnas_xalloc64(n, n * sizeof(*s));
    size_t n_left = 0;

    dnas_cpu_matmul_nt(s, y, y, n, n, D);
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < i; j++)
            n_left += s[i * n + j] >= limit;
    free(s);
    return n > 1 ? (double)n_left / (0.5 * (double)n * ((double)n - 1)) : 1;
}

static double time_of(size_t D, size_t C, double share)
{
    return (double)D + PRODUCT_TIME + SINGLE_TIME * (double)C * share;
}

void dnas_similar_bound_make(struct dnas_similar_bound *bound, const float *x, size_t N, size_t C,
                             float limit, double longest2, int n_threads)
{
    const size_t sizes[] = {64, 128, 256};
    float *sample, *tried;
    struct basis best = {0};
    double time, least = DENSE_TIME * (double)C + PRODUCT_TIME;

    *bound = (struct dnas_similar_bound){.N = N};
    if (N < FEW)
        return;
    sample = sample_rows(x, N, C, SAMPLE);
    tried = sample_rows(x, N, C, TRIED);
    bound->margin = (float)(longest2 * 2.2 * ((double)C + 40) * u);
    time = time_of(C, C, share_left(tried, TRIED, C, limit - bound->margin));
    if (time < least) {
        least = time;
        bound->y = x;
        bound->D = C;
    }
    for (size_t k = 0; k < sizeof(sizes) / sizeof(sizes[0]) && 2 * sizes[k] <= C; k++) {
        struct basis b = find_basis(sample, SAMPLE, C, sizes[k] - 1);
        float *y = project(&b, tried, TRIED, longest2, 1);

        time = time_of(b.n + 1, C,
                       share_left(y, TRIED, b.n + 1, limit - (float)margin_of(&b, longest2)));
        free(y);
        if (time < least) {
            least = time;
            free(best.q);
            best = b;
        } else {
            free(b.q);
        }
    }
    if (best.q) {
        bound->y = bound->own = project(&best, x, N, longest2, n_threads);
        bound->D = best.n + 1;
        bound->margin = (float)margin_of(&best, longest2);
    }
    free(best.q);
    free(sample);
    free(tried);
}

void dnas_similar_bound_release(struct dnas_similar_bound *b)
{
    free(b->own);
    *b = (struct dnas_similar_bound){0};
}
