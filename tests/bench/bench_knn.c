/* SPDX-License-Identifier: MIT
 *
 * bench_knn.c - how fast neighbours are found, beside what the machine's sgemm allows.
 *
 * In:   bench_knn [ROUNDS [THREADS [DIR]]]; with DIR, the rows are left there as knn-NAME.npy for
 *       knn_peers.py
 * Out:  a TSV, a line for each of some shapes: rows, dimensions, neighbours, seconds, processor
 *       seconds, GFLOP of products per processor second, the same for sgemm alone (1024^3), and
 *       the first as a share of the second
 *
 * Unit rows round 200 random ones, each among the others; the best of ROUNDS counts, and
 * everything is timed in turn in each.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "common/kmeans.h"
#include "common/knn.h"
#include "common/msg.h"
#include "common/npy.h"
#include "common/rng.h"
#include "common/xmem.h"
#include "kernels/kernels.h"

#define SGEMM 1024
#define N_GROUPS 200

static float *make_rows(size_t N, size_t C, int n_threads)
{
    float *x = dnas_xalloc64(N, C * sizeof(*x)), *middle = dnas_xalloc(N_GROUPS, C * sizeof(*x));
    struct dnas_rng rng;

    dnas_rng_init(&rng, 1, DNAS_RNG_BENCH, 2, (uint32_t)C);
    for (size_t i = 0; i < N_GROUPS * C; i++)
        middle[i] = (float)dnas_rng_normal(&rng);
    for (size_t i = 0; i < N; i++)
        for (size_t c = 0; c < C; c++)
            x[i * C + c] = middle[i % N_GROUPS * C + c] + (float)dnas_rng_normal(&rng);
    free(middle);
    dnas_kmeans_unit_rows(x, N, C, n_threads);
    return x;
}

static int save(const char *dir, const char *name, const float *x, size_t N, size_t C)
{
    char *path = dnas_xasprintf("%s/knn-%s.npy", dir, name);
    char *part = dnas_xasprintf("%s.part", path);
    struct dnas_npy_writer w;
    struct dnas_err err;
    int status = dnas_npy_open(&w, path, DNAS_NPY_F4, C, &err);

    if (status == 0)
        status = dnas_npy_append(&w, x, N, &err);
    if (dnas_npy_close(&w, status == 0 ? &err : NULL) != 0)
        status = -1;
    if (status != 0)
        dnas_msg_error("%s", err.msg);
    else if (rename(part, path) != 0)
        status = -1;
    free(path);
    free(part);
    return status;
}

static double cpu_s(void)
{
    return (double)clock() / CLOCKS_PER_SEC;
}

static int bench(const char *name, size_t N, size_t C, size_t k, int n_rounds, int n_threads,
                 const char *dir)
{
    struct dnas_knn_options o = {.k = k, .metric = DNAS_KNN_COSINE, .n_threads = n_threads};
    float *x = make_rows(N, C, n_threads),
          *product = dnas_xalloc64(SGEMM * SGEMM, sizeof(*product));
    float *value = dnas_xalloc(N, k * sizeof(*value)), *a = make_rows(2 * SGEMM, SGEMM, n_threads);
    uint32_t *neighbour = dnas_xalloc(N, k * sizeof(*neighbour));
    double wall = INFINITY, cpu = INFINITY, sgemm = INFINITY, rate, peak;
    struct dnas_err err;
    int status = dir ? save(dir, name, x, N, C) : 0;

    for (int round = 0; status == 0 && round < n_rounds; round++) {
        double start = cpu_s(), clock_start;

        dnas_cpu_matmul_nt(product, a, a + SGEMM * SGEMM, SGEMM, SGEMM, SGEMM);
        sgemm = fmin(sgemm, cpu_s() - start);
        start = cpu_s();
        clock_start = dnas_clock_s();
        status = dnas_knn_search(neighbour, value, NULL, N, x, N, C, &o, &err);
        cpu = fmin(cpu, cpu_s() - start);
        wall = fmin(wall, dnas_clock_s() - clock_start);
        if (status != 0)
            dnas_msg_error("%s", err.msg);
    }
    rate = 2e-9 * (double)N * (double)N * (double)C / cpu;
    peak = 2e-9 * SGEMM * SGEMM * SGEMM / sgemm;
    printf("%s\t%zu\t%zu\t%zu\t%.3f\t%.3f\t%.1f\t%.1f\t%.2f\n", name, N, C, k, wall, cpu, rate,
           peak, rate / peak);
    fflush(stdout);
    free(x);
    free(a);
    free(product);
    free(value);
    free(neighbour);
    return status;
}

int main(int argc, char **argv)
{
    int n_rounds = argc > 1 ? (int)strtol(argv[1], NULL, 10) : 3;
    int n_threads = argc > 2 ? (int)strtol(argv[2], NULL, 10) : 2;
    const char *dir = argc > 3 ? argv[3] : NULL;
    int status = 0;

    n_rounds = n_rounds > 0 ? n_rounds : 1;
    n_threads = n_threads > 0 ? n_threads : 1;
    puts("rows\tN\tC\tk\tseconds\tcpu_seconds\tgflop_per_cpu_s\tsgemm\tshare");
    status |= bench("network", 20000, 768, 5, n_rounds, n_threads, dir);
    status |= bench("tnf", 20000, 136, 5, n_rounds, n_threads, dir);
    status |= bench("graph", 40000, 64, 30, n_rounds, n_threads, dir);
    return status ? 1 : 0;
}
