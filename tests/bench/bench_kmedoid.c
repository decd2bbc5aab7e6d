/* SPDX-License-Identifier: MIT
 *
 * bench_kmedoid.c - how fast and in how much memory rows are binned, beside what the machine
 * allows.
 *
 * In:   bench_kmedoid [ROWS [THREADS [DIR]]]; with DIR, the rows are left there as flat.npy and
 *       steep.npy for kmedoid_peers.py
 * Out:  a TSV, a line for each of two sets of rows: seconds, processor seconds and peak memory of
 *       dnas_kmedoid_run; bins and rounds; the processor seconds that N^2 C / 2 products and sums
 *       take at the rate of sgemm (1024^3) in this run, and the seconds in which the rows pass
 *       through memory once for each of their N / 128 blocks, at the rate of a sum over them; and
 *       the first of these as a share of the processor seconds, above 1 where bounds saved more
 *       than all else cost
 *
 * 20,000 unit rows of 768 columns, 2 threads, unless told; a centre for each 200 rows, a cosine of
 * about 0.7 between rows of one, threshold 0.62.  `flat`: centres and noise are the same in all
 * directions.  `steep`: column c has the variance 1 / (1 + c / 20)^2, as embeddings have it.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "common/kmeans.h"
#include "common/kmedoid.h"
#include "common/msg.h"
#include "common/npy.h"
#include "common/rng.h"
#include "common/xmem.h"
#include "kernels/kernels.h"

#define C 768
#define SGEMM 1024
#define NOISE 0.65

static double variance_root(size_t c, bool steep)
{
    return steep ? 1 / (1 + (double)c / 20) : 1;
}

static float *make_rows(size_t N, bool steep, int n_threads)
{
    size_t K = N / 200 + 1;
    float *x = dnas_xalloc64(N, C * sizeof(*x)), *centre = dnas_xalloc(K, C * sizeof(*x));
    struct dnas_rng rng;

    dnas_rng_init(&rng, 2, DNAS_RNG_BENCH, 0, steep);
    for (size_t i = 0; i < K * C; i++)
        centre[i] = (float)(variance_root(i % C, steep) * dnas_rng_normal(&rng));
    for (size_t i = 0; i < N; i++) {
        const float *m = centre + dnas_rng_below(&rng, K) * C;

        for (size_t c = 0; c < C; c++)
            x[i * C + c] = m[c] + (float)(NOISE * variance_root(c, steep) * dnas_rng_normal(&rng));
    }
    free(centre);
    dnas_kmeans_unit_rows(x, N, C, n_threads);
    return x;
}

static int save(const char *dir, const char *name, const float *x, size_t N)
{
    char *path = dnas_xasprintf("%s/%s.npy", dir, name), *part = dnas_xasprintf("%s.part", path);
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

/* GFLOP a second of one thread, the best of some calls. */
static double sgemm_rate(const float *x)
{
    float *product = dnas_xalloc64(SGEMM * SGEMM, sizeof(*product));
    double best = INFINITY;

    for (int i = 0; i < 5; i++) {
        double start = cpu_s();

        dnas_cpu_matmul_nt(product, x, x, SGEMM, SGEMM, C);
        best = fmin(best, cpu_s() - start);
    }
    free(product);
    return 2e-9 * SGEMM * SGEMM * C / best;
}

/* GB a second of one thread that adds up all rows. */
static double memory_rate(const float *x, size_t N)
{
    double best = INFINITY, sum = 0;

    for (int i = 0; i < 5; i++) {
        double start = cpu_s();
        float lane[64] = {0};

        for (size_t k = 0; k + 64 <= N * C; k += 64)
            for (size_t l = 0; l < 64; l++)
                lane[l] += x[k + l];
        sum += (double)lane[i];
        best = fmin(best, cpu_s() - start);
    }
    return sum > -1e30 ? 4e-9 * (double)N * C / best : 0;
}

static void bench(const char *name, const float *x, size_t N, int n_threads)
{
    struct dnas_kmedoid_options o = {.threshold = 0.62, .min_bin_size = 10, .n_threads = n_threads};
    const double rate = sgemm_rate(x), bandwidth = memory_rate(x, N), n = (double)N;
    double wall = dnas_clock_s(), cpu = cpu_s(), products;
    struct dnas_kmedoid km;
    struct dnas_err err;

    if (dnas_kmedoid_run(&km, x, N, C, &o, &err) != 0) {
        dnas_msg_error("%s", err.msg);
        exit(1);
    }
    wall = dnas_clock_s() - wall;
    cpu = cpu_s() - cpu;
    products = 1e-9 * n * n * C / rate;
    printf("%s\t%zu\t%.2f\t%.2f\t%.0f\t%zu\t%llu\t%.2f\t%.2f\t%.2f\n", name, N, wall, cpu,
           (double)dnas_peak_memory_bytes() / 1048576, km.n_bins, (unsigned long long)km.n_rounds,
           products, 4e-9 * n * C * n / 128 / 2 / bandwidth, products / cpu);
    fflush(stdout);
    dnas_kmedoid_release(&km);
}

int main(int argc, char **argv)
{
    size_t N = argc > 1 ? strtoul(argv[1], NULL, 10) : 20000;
    int n_threads = argc > 2 ? (int)strtol(argv[2], NULL, 10) : 2, status = 0;
    const char *dir = argc > 3 ? argv[3] : NULL, *names[] = {"flat", "steep"};

    if (N < SGEMM || n_threads < 1) {
        dnas_msg_error("at least %d rows and a thread", SGEMM);
        return 2;
    }
    puts("data\trows\tseconds\tcpu_seconds\tpeak_mib\tbins\trounds\tproducts_at_peak_s\t"
         "memory_traffic_s\tshare");
    for (int i = 0; i < 2; i++) {
        float *x = make_rows(N, i == 1, n_threads);

        if (dir && save(dir, names[i], x, N) != 0)
            status = 1;
        bench(names[i], x, N, n_threads);
        free(x);
    }
    return status;
}
