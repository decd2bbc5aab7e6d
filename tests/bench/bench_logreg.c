/* SPDX-License-Identifier: MIT
 *
 * bench_logreg.c - times logistic regression beside the products that it is made of.
 *
 *   bench_logreg [ROUNDS [THREADS [DIR]]]
 *
 * 10,000 rows of 768 numbers in 500 classes: class means in 64 of the directions, so that columns
 * are correlated as those of embeddings are.  With DIR the data are also written there, for
 * logreg_peers.py, and the coefficients, so that it can tell how far the two lie apart.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "common/logreg.h"
#include "common/npy.h"
#include "common/rng.h"
#include "common/xmem.h"
#include "kernels/kernels.h"

#define N 10000
#define C 768
#define K 500
#define INNER 64

static double clock_s(clockid_t which)
{
    struct timespec t;

    clock_gettime(which, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static float *draw(size_t n, double spread, uint32_t row)
{
    float *x = dnas_xalloc64(n, sizeof(*x));
    struct dnas_rng rng;

    dnas_rng_init(&rng, 1, DNAS_RNG_BENCH, 7, row);
    for (size_t i = 0; i < n; i++)
        x[i] = (float)(spread * dnas_rng_normal(&rng));
    return x;
}

/* Standardised rows [N,C] and their classes. */
static float *make_data(int32_t *y)
{
    float *mean = draw((size_t)K * INNER, 1, 0), *map = draw((size_t)C * INNER, 0.3, 1);
    float *inner = draw((size_t)N * INNER, 0.9, 2), *noise = draw((size_t)N * C, 0.5, 3);
    float *x = dnas_xalloc64((size_t)N, C * sizeof(*x));

    for (size_t row = 0; row < N; row++) {
        y[row] = (int32_t)(row % K);
        for (size_t i = 0; i < INNER; i++)
            inner[row * INNER + i] += mean[(row % K) * INNER + i];
    }
    dnas_cpu_matmul_nt(x, inner, map, N, C, INNER);
    for (size_t c = 0; c < C; c++) {
        double sum = 0, sum2 = 0;

        for (size_t row = 0; row < N; row++) {
            x[row * C + c] += noise[row * C + c];
            sum += (double)x[row * C + c];
            sum2 += (double)x[row * C + c] * (double)x[row * C + c];
        }
        for (size_t row = 0; row < N; row++)
            x[row * C + c] =
                (float)(((double)x[row * C + c] - sum / N) / sqrt(sum2 / N - sum / N * (sum / N)));
    }
    free(noise);
    free(inner);
    free(map);
    free(mean);
    return x;
}

static int save(const char *dir, const char *name, enum dnas_npy_type type, const void *data,
                size_t rows, size_t width)
{
    char *path = dnas_xasprintf("%s/%s.npy", dir, name), *part = dnas_xasprintf("%s.part", path);
    struct dnas_npy_writer w;
    struct dnas_err err;
    int status = dnas_npy_open(&w, path, type, width, &err);

    if (status == 0) {
        status = dnas_npy_append(&w, data, rows, &err);
        if (dnas_npy_close(&w, status == 0 ? &err : NULL) != 0)
            status = -1;
    }
    if (status != 0)
        fprintf(stderr, "%s\n", err.msg);
    else if (rename(part, path) != 0)
        status = -1;
    free(part);
    free(path);
    return status;
}

/* Seconds of one core for the two products of an evaluation, in f32, as whole calls. */
static double products_s(const float *x)
{
    float *w = draw((size_t)C * K, 1, 4), *p = draw((size_t)N * K, 1, 5);
    float *g = dnas_xalloc64(C, K * sizeof(*g));
    double best = INFINITY;

    for (int round = 0; round < 3; round++) {
        double start = clock_s(CLOCK_THREAD_CPUTIME_ID), took;

        dnas_cpu_matmul(p, x, w, N, K, C, K, C, K, 1, 0, 0);
        /* The other product's shape is [C,N] by [N,K]: x is as good as its transpose. */
        dnas_cpu_matmul(g, x, p, C, K, N, K, N, K, 1, 0, 0);
        took = clock_s(CLOCK_THREAD_CPUTIME_ID) - start;
        best = took < best ? took : best;
    }
    free(g);
    free(p);
    free(w);
    return best;
}

int main(int argc, char **argv)
{
    int rounds = argc > 1 ? (int)strtol(argv[1], NULL, 10) : 2;
    struct dnas_logreg_options o = {.inverse_l2 = 0.5,
                                    .tol = 1e-4,
                                    .max_iter = 3000,
                                    .n_threads = argc > 2 ? (int)strtol(argv[2], NULL, 10) : 1};
    int32_t *y = dnas_xalloc(N, sizeof(*y));
    float *x = make_data(y), *weight = dnas_xalloc(K, C * sizeof(*weight));
    float *bias = dnas_xalloc(K, sizeof(*bias));
    double limit = products_s(x);

    printf("limit\tboth products of an evaluation: %.4f s of one core, %.0f GFLOP/s\n", limit,
           4e-9 * N * C * K / limit);
    printf("threads\titerations\tseconds\tcpu_seconds\tper_iteration\tof_limit\tobjective\t"
           "gradient_max\n");
    for (int round = 0; round < rounds; round++) {
        struct dnas_logreg_info info;
        struct dnas_err err;
        double start = clock_s(CLOCK_MONOTONIC), cpu = clock_s(CLOCK_PROCESS_CPUTIME_ID), took;

        if (dnas_logreg_fit(weight, bias, &info, x, y, N, C, K, &o, &err) != 0) {
            fprintf(stderr, "%s\n", err.msg);
            return 1;
        }
        took = clock_s(CLOCK_MONOTONIC) - start;
        cpu = clock_s(CLOCK_PROCESS_CPUTIME_ID) - cpu;
        printf("%d\t%d\t%.2f\t%.2f\t%.4f\t%.2f\t%.9g\t%.3g\n", o.n_threads, info.n_iter, took, cpu,
               cpu / info.n_iter, limit * info.n_iter / cpu, info.objective, info.gradient_max);
    }
    if (argc > 3 &&
        (save(argv[3], "x", DNAS_NPY_F4, x, N, C) || save(argv[3], "y", DNAS_NPY_I4, y, N, 0) ||
         save(argv[3], "weight", DNAS_NPY_F4, weight, K, C) ||
         save(argv[3], "bias", DNAS_NPY_F4, bias, K, 0)))
        return 1;
    free(bias);
    free(weight);
    free(x);
    free(y);
    return 0;
}
