/* SPDX-License-Identifier: MIT
 *
 * kmedoid_threshold.c - from which similarity on two rows are alike.  Contract: kmedoid.h.
 */
#include <stdlib.h>
#include <string.h>

#include "common/kmedoid.h"
#include "common/threads.h"
#include "common/xmem.h"
#include "kernels/kernels.h"

static int rising(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

/* Sorts v and returns the one that `percent` of the n > 0 are below; as the reference counts it. */
static double percentile_of(double *v, size_t n, double percent)
{
    size_t at = (size_t)(percent / 100 * (double)n);

    qsort(v, n, sizeof(*v), rising);
    return v[at < n ? at : n - 1];
}

int dnas_kmedoid_threshold_labelled(double *threshold, const float *x, const int32_t *classes,
                                    size_t N, size_t C, size_t n_classes, double percentile,
                                    struct dnas_err *err)
{
    double *sum = dnas_xzalloc(n_classes, C * sizeof(*sum)), *v = dnas_xalloc(N, sizeof(*v));
    size_t *size = dnas_xzalloc(n_classes, sizeof(*size)), n = 0;
    const uint32_t first = 0;

    for (size_t i = 0; i < N; i++)
        if (classes[i] >= 0) {
            dnas_cpu_rows_sum(sum + (size_t)classes[i] * C, x + i * C, &first, 1, C);
            size[classes[i]]++;
        }
    for (size_t i = 0; i < N; i++) {
        double dot = 0;

        if (classes[i] < 0)
            continue;
        for (size_t c = 0; c < C; c++)
            dot += sum[(size_t)classes[i] * C + c] * (double)x[i * C + c];
        v[n++] = dot / (double)size[classes[i]];
    }
    if (n > 0)
        *threshold = percentile_of(v, n, percentile);
    free(sum);
    free(v);
    free(size);
    return n > 0 ? 0 : dnas_err_set(err, "no row has a label, so no threshold follows from it");
}

/* ---- without labels ---- */

#define GROUP 16  /* rows of the sample a task */
#define BLOCK 128 /* rows they are compared with at once */

struct guess {
    const float *x; /* [N,C] */
    size_t N, C, n, n_sample;
    double *nth; /* [n_sample] */
};

/* Puts v into the best[0..n-1], which fall, if it belongs there. */
static void insert(float *best, size_t n, float v)
{
    size_t at = n;

    if (!(v > best[n - 1]))
        return;
    while (at > 0 && v > best[at - 1])
        at--;
    memmove(best + at + 1, best + at, (n - at - 1) * sizeof(*best));
    best[at] = v;
}

static size_t sample_row(const struct guess *g, size_t k)
{
    return k * g->N / g->n_sample;
}

static void guess_task(void *ctx, size_t task, int worker)
{
    struct guess *g = ctx;
    size_t k0 = task * GROUP, n_a = g->n_sample - k0 < GROUP ? g->n_sample - k0 : GROUP;
    float *a = dnas_xalloc64(GROUP * sizeof(*a), g->C),
          *tile = dnas_xalloc64(GROUP * BLOCK, sizeof(*tile)),
          *best = dnas_xalloc(GROUP * sizeof(*best), g->n);

    (void)worker;
    for (size_t k = 0; k < n_a; k++)
        memcpy(a + k * g->C, g->x + sample_row(g, k0 + k) * g->C, g->C * sizeof(*a));
    for (size_t i = 0; i < GROUP * g->n; i++)
        best[i] = -3e38f;
    for (size_t j0 = 0; j0 < g->N; j0 += BLOCK) {
        size_t n_b = g->N - j0 < BLOCK ? g->N - j0 : BLOCK;

        dnas_cpu_similarity(tile, a, g->x + j0 * g->C, n_a, n_b, g->C, BLOCK);
        for (size_t k = 0; k < n_a; k++)
            for (size_t j = 0; j < n_b; j++)
                if (j0 + j != sample_row(g, k0 + k))
                    insert(best + k * g->n, g->n, tile[k * BLOCK + j]);
    }
    for (size_t k = 0; k < n_a; k++)
        g->nth[k0 + k] = (double)best[(k + 1) * g->n - 1];
    free(a);
    free(tile);
    free(best);
}

int dnas_kmedoid_threshold_guess(double *threshold, const float *x, size_t N, size_t C, size_t n,
                                 int n_threads, struct dnas_err *err)
{
    struct guess g = {.x = x, .N = N, .C = C, .n = n < 1 ? 1 : n};

    if (N < 2)
        return dnas_err_set(err, "one row says nothing about a threshold; give --threshold");
    if (g.n > N - 1)
        g.n = N - 1;
    g.n_sample = N < DNAS_KMEDOID_SAMPLE ? N : DNAS_KMEDOID_SAMPLE;
    g.nth = dnas_xalloc(g.n_sample, sizeof(*g.nth));
    dnas_parallel_for((g.n_sample + GROUP - 1) / GROUP, n_threads, guess_task, &g);
    *threshold = percentile_of(g.nth, g.n_sample, DNAS_KMEDOID_GUESS);
    free(g.nth);
    return 0;
}
