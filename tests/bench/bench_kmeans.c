/* SPDX-License-Identifier: MIT
 *
 * bench_kmeans.c - how fast k-means is, beside what the machine's sgemm allows.
 *
 * In:   bench_kmeans [ROUNDS [THREADS [DIR]]]; with DIR, the data and the first centres are left
 *       there as NAME.npy and NAME-init.npy for kmeans_peers.py
 * Out:  a TSV, a line for each of random and clustered rows and of k-means from given centres
 *       (lloyd) and of k-means++ with one iteration (plus_plus): iterations, seconds, processor
 *       seconds; for lloyd, GFLOP per processor second as if each row met each centre in every
 *       iteration and once more at the end, the same for sgemm alone (1024^3), and the first as a
 *       share of the second: above 1 where bounds saved more than all else cost
 *
 * 20,000 unit rows of 768 columns, 200 clusters, tol 0, at most 20 iterations from the same first
 * centres, 2 threads unless told.  Everything is timed in turn in each round and the best round
 * counts, so that a busy neighbour hurts all alike.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "common/kmeans.h"
#include "common/msg.h"
#include "common/npy.h"
#include "common/rng.h"
#include "common/xmem.h"
#include "kernels/kernels.h"

#define N_ROWS 20000
#define N_COLUMNS 768
#define N_CLUSTERS 200
#define MAX_ITER 20
#define SGEMM 1024

/* Rows round as many centres as there are clusters, as long as the noise times `far`; 0: noise
 * alone. */
static float *make_data(double far, uint32_t row, int n_threads)
{
    float *x = dnas_xalloc64(N_ROWS, N_COLUMNS * sizeof(*x)),
          *middle = dnas_xalloc(N_CLUSTERS, N_COLUMNS * sizeof(*x));
    struct dnas_rng rng;

    dnas_rng_init(&rng, 1, DNAS_RNG_BENCH, 0, row);
    for (size_t i = 0; i < N_CLUSTERS * N_COLUMNS; i++)
        middle[i] = (float)(far * dnas_rng_normal(&rng));
    for (size_t i = 0; i < N_ROWS; i++) {
        const float *m = middle + dnas_rng_below(&rng, N_CLUSTERS) * N_COLUMNS;

        for (size_t c = 0; c < N_COLUMNS; c++)
            x[i * N_COLUMNS + c] = m[c] + (float)dnas_rng_normal(&rng);
    }
    free(middle);
    dnas_kmeans_unit_rows(x, N_ROWS, N_COLUMNS, n_threads);
    return x;
}

static int save(const char *dir, const char *name, const float *x, size_t rows)
{
    char *path = dnas_xasprintf("%s/%s.npy", dir, name), *part = dnas_xasprintf("%s.part", path);
    struct dnas_npy_writer w;
    struct dnas_err err;
    int status = dnas_npy_open(&w, path, DNAS_NPY_F4, N_COLUMNS, &err);

    if (status == 0)
        status = dnas_npy_append(&w, x, rows, &err);
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

static int save_both(const char *dir, const char *name, const float *x)
{
    char *init = dnas_xasprintf("%s-init", name);
    int status = save(dir, name, x, N_ROWS);

    if (status == 0)
        status = save(dir, init, x, N_CLUSTERS);
    free(init);
    return status;
}

struct timing {
    double wall_s, cpu_s;
};

static struct timing now(void)
{
    return (struct timing){.wall_s = dnas_clock_s(), .cpu_s = (double)clock() / CLOCKS_PER_SEC};
}

/* The least of what was and of the time since start. */
static struct timing best_of(struct timing best, struct timing start)
{
    struct timing t = now();

    t.wall_s = fmin(best.wall_s, t.wall_s - start.wall_s);
    t.cpu_s = fmin(best.cpu_s, t.cpu_s - start.cpu_s);
    return t;
}

static struct timing run(int *n_iter, const float *x, const struct dnas_kmeans_options *o,
                         struct timing best)
{
    struct timing start = now();
    struct dnas_kmeans km;
    struct dnas_err err;

    if (dnas_kmeans_run(&km, x, N_ROWS, N_COLUMNS, o, &err) != 0) {
        dnas_msg_error("%s", err.msg);
        exit(1);
    }
    *n_iter = km.n_iter;
    dnas_kmeans_release(&km);
    return best_of(best, start);
}

static void bench(const char *name, const float *x, int n_rounds, int n_threads)
{
    struct dnas_kmeans_options given = {.K = N_CLUSTERS,
                                        .init = DNAS_KMEANS_GIVEN,
                                        .given = x,
                                        .n_starts = 1,
                                        .max_iter = MAX_ITER,
                                        .n_threads = n_threads};
    struct dnas_kmeans_options plus = given;
    struct timing lloyd = {INFINITY, INFINITY}, seeding = lloyd, sgemm = lloyd;
    float *product = dnas_xalloc64(SGEMM * SGEMM, sizeof(*product));
    double rate, peak;
    int n_iter = 0;

    plus.init = DNAS_KMEANS_PLUS_PLUS;
    plus.max_iter = 1;
    for (int round = 0; round < n_rounds; round++) {
        struct timing start = now();

        dnas_cpu_matmul_nt(product, x, x + SGEMM * SGEMM, SGEMM, SGEMM, SGEMM);
        sgemm = best_of(sgemm, start);
        seeding = run(&n_iter, x, &plus, seeding);
        lloyd = run(&n_iter, x, &given, lloyd);
    }
    rate = 2e-9 * N_ROWS * N_CLUSTERS * N_COLUMNS * (n_iter + 1) / lloyd.cpu_s;
    peak = 2e-9 * SGEMM * SGEMM * SGEMM / sgemm.cpu_s;
    printf("%s\tlloyd\t%d\t%.3f\t%.3f\t%.1f\t%.1f\t%.2f\n", name, n_iter, lloyd.wall_s, lloyd.cpu_s,
           rate, peak, rate / peak);
    printf("%s\tplus_plus\t1\t%.3f\t%.3f\t\t\t\n", name, seeding.wall_s, seeding.cpu_s);
    fflush(stdout);
    free(product);
}

int main(int argc, char **argv)
{
    int n_rounds = argc > 1 ? (int)strtol(argv[1], NULL, 10) : 3,
        n_threads = argc > 2 ? (int)strtol(argv[2], NULL, 10) : 2;
    const char *dir = argc > 3 ? argv[3] : NULL, *names[] = {"random", "clustered"};
    int status = 0;

    puts("data\twhat\titerations\tseconds\tcpu_seconds\tgflop_per_cpu_s\tsgemm\tshare");
    for (int i = 0; i < 2; i++) {
        float *x = make_data(i, (uint32_t)i, n_threads > 0 ? n_threads : 1);

        if (dir && save_both(dir, names[i], x) != 0)
            status = 1;
        bench(names[i], x, n_rounds > 0 ? n_rounds : 1, n_threads > 0 ? n_threads : 1);
        free(x);
    }
    return status;
}
