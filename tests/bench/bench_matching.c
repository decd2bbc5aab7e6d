/* SPDX-License-Identifier: MIT
 *
 * bench_matching.c - how long a linear assignment takes.
 *
 * In:   bench_matching [N [ROUNDS [DIR]]]; with DIR, the matrices are left there as
 *       matching-NAME.npy for matching_peers.py
 * Out:  a TSV, a line for each kind of N x N table (2,000 unless told): the sum of the pairs, the
 *       least processor seconds of ROUNDS, and those of reading all cells once, which is what a
 *       perfect guess would still have to do
 *
 * uniform: weights drawn from 1 to 1,000,000; ties: from 1 to 100; bins: counts of sequences as a
 * binner leaves them, each row mostly in one column and the rest spread; product: i times j, a
 * worst case, in which every search goes through all columns, and so at a quarter of N.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/matching.h"
#include "common/msg.h"
#include "common/npy.h"
#include "common/rng.h"
#include "common/xmem.h"

static void fill(uint64_t *weight, size_t N, const char *kind)
{
    struct dnas_rng rng;

    dnas_rng_init(&rng, 1, DNAS_RNG_BENCH, 1, 0);
    for (size_t i = 0; i < N; i++)
        for (size_t j = 0; j < N; j++) {
            uint64_t *w = &weight[i * N + j];

            if (strcmp(kind, "uniform") == 0)
                *w = 1 + dnas_rng_below(&rng, 1000000);
            else if (strcmp(kind, "ties") == 0)
                *w = 1 + dnas_rng_below(&rng, 100);
            else if (strcmp(kind, "product") == 0)
                *w = (i + 1) * (j + 1);
            else
                *w = dnas_rng_below(&rng, 50) == 0 ? 1 + dnas_rng_below(&rng, 5) : 0;
        }
    for (size_t i = 0; strcmp(kind, "bins") == 0 && i < N; i++)
        weight[i * N + dnas_rng_below(&rng, N)] = 10 + dnas_rng_below(&rng, 200);
}

static int save(const char *dir, const char *kind, const uint64_t *weight, size_t N)
{
    char *path = dnas_xasprintf("%s/matching-%s.npy", dir, kind);
    char *part = dnas_xasprintf("%s.part", path);
    struct dnas_npy_writer w;
    struct dnas_err err;
    int status = dnas_npy_open(&w, path, DNAS_NPY_I8, N, &err);

    if (status == 0)
        status = dnas_npy_append(&w, weight, N, &err);
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

static void bench(const char *kind, const uint64_t *dense, size_t N, int n_rounds)
{
    size_t *first = dnas_xalloc(N + 1, sizeof(*first)), n = 0;
    uint32_t *column = dnas_xalloc(N * N, sizeof(*column));
    uint32_t *column_of_row = dnas_xalloc(N, sizeof(*column_of_row));
    uint64_t *weight = dnas_xalloc(N * N, sizeof(*weight)), sum = 0, check = 0;
    double best = INFINITY, reading = INFINITY;

    for (size_t i = 0; i < N; i++) {
        first[i] = n;
        for (size_t j = 0; j < N; j++)
            if (dense[i * N + j] > 0) {
                column[n] = (uint32_t)j;
                weight[n++] = dense[i * N + j];
            }
    }
    first[N] = n;
    for (int round = 0; round < n_rounds; round++) {
        const struct dnas_matching_weights w = {N, N, first, column, weight};
        double start = cpu_s();

        for (size_t c = 0; c < n; c++)
            check += weight[c] ^ column[c];
        reading = fmin(reading, cpu_s() - start);
        start = cpu_s();
        sum = dnas_matching_run(column_of_row, &w);
        best = fmin(best, cpu_s() - start);
    }
    printf("%s\t%zu\t%zu\t%llu\t%.3f\t%.4f\n", kind, N, n, (unsigned long long)sum, best,
           check ? reading : 0);
    fflush(stdout);
    free(first);
    free(column);
    free(column_of_row);
    free(weight);
}

int main(int argc, char **argv)
{
    size_t N = argc > 1 ? strtoul(argv[1], NULL, 10) : 2000;
    int n_rounds = argc > 2 ? (int)strtol(argv[2], NULL, 10) : 3;
    const char *dir = argc > 3 ? argv[3] : NULL, *kinds[] = {"uniform", "ties", "bins", "product"};
    uint64_t *weight = dnas_xalloc(N * N, sizeof(*weight));
    int status = 0;

    puts("table\tN\tcells\tsum\tcpu_seconds\treading_cpu_seconds");
    for (size_t k = 0; k < sizeof(kinds) / sizeof(kinds[0]); k++) {
        size_t n = strcmp(kinds[k], "product") == 0 ? N / 4 : N;

        fill(weight, n, kinds[k]);
        if (dir && save(dir, kinds[k], weight, n) != 0)
            status = 1;
        bench(kinds[k], weight, n, n_rounds > 0 ? n_rounds : 1);
    }
    free(weight);
    return status;
}
