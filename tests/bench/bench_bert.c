/* SPDX-License-Identifier: MIT
 *
 * bench_bert.c - the network of DNABERT-2's size (117 M parameters, random
 * weights) beside the machine's own matrix products, measured in the same run.
 *
 *   bench_bert [THREADS [SECONDS [bf16]]]      (2 threads, 10 s a row, f32)
 *
 * The peak is that of f32 products; in bf16 the share may be above 100 %.
 *
 * Prints tokens a second, and a second of processor time, to compare where other
 * work runs beside it; operations that ran a second and as a share of the
 * peak; and the share as if attention had been dense.  Once as drawn, once
 * with queries and keys so long that the spread of q.k is 32.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/bert.h"
#include "common/msg.h"
#include "common/rng.h"
#include "common/threads.h"
#include "common/xmem.h"
#include "kernels/kernels.h"
#include "tests/bench/peak.h"
#include "tests/bench/random_bert.h"

#define L 12
#define C 768
#define H 12
#define F 3072
#define V 4096

struct bench {
    const struct dnas_network *bert;
    struct dnas_network_run **runs;
    uint16_t *ids;
    size_t T;
};

static void one_sequence(void *ctx, size_t i, int worker)
{
    struct bench *b = ctx;

    (void)i;
    dnas_network_forward(b->runs[worker], b->ids, b->T, 1);
}

static void row(struct bench *b, size_t T, int n_threads, double seconds)
{
    double per_token = 2.0 * L * (3.0 * C * C + (double)C * C + 3.0 * F * C);
    double before = bench_peak(n_threads), after, from_s, took_s;
    clock_t from_cpu;
    double cpu_s;
    uint64_t n_scores = 0;
    size_t n = 0;

    b->T = T;
    b->runs = dnas_xalloc((size_t)n_threads, sizeof(*b->runs));
    for (int i = 0; i < n_threads; i++)
        b->runs[i] = dnas_network_run_new(b->bert);
    from_s = dnas_clock_s();
    from_cpu = clock();
    do {
        dnas_parallel_for((size_t)n_threads, n_threads, one_sequence, b);
        n += (size_t)n_threads;
        took_s = dnas_clock_s() - from_s;
    } while (took_s < seconds);
    cpu_s = (double)(clock() - from_cpu) / CLOCKS_PER_SEC;
    for (int i = 0; i < n_threads; i++) {
        n_scores += dnas_bert_n_scores(b->runs[i]);
        dnas_network_run_free(b->runs[i]);
    }
    free(b->runs);
    after = bench_peak(n_threads);
    before = before > after ? before : after;
    {
        double linear = per_token * (double)n * (double)T;
        double done = linear + 4.0 * C / H * (double)n_scores;
        double dense = linear + 4.0 * C * L * (double)n * (double)T * (double)T;

        printf("%7zu tokens %8.0f tokens/s (%.0f a processor second) %7.0f GFLOP/s done: %3.0f %% "
               "of %.0f; as if dense: %3.0f "
               "%%; attention done %3.0f %%\n",
               T, (double)(n * T) / took_s, (double)(n * T) / cpu_s, done / took_s * 1e-9,
               1e-7 * done / took_s / before, before, 1e-7 * dense / took_s / before,
               100.0 * (double)n_scores / ((double)L * H * (double)n * (double)T * (double)T));
        fflush(stdout);
    }
}

int main(int argc, char **argv)
{
    int n_threads = argc > 1 ? (int)strtol(argv[1], NULL, 10) : 2;
    double seconds = argc > 2 ? strtod(argv[2], NULL) : 10;
    enum dnas_precision precision =
        argc > 3 && strcmp(argv[3], "bf16") == 0 ? DNAS_PRECISION_BF16 : DNAS_PRECISION_F32;
    struct dnas_rng rng;
    struct bench b = {.ids = dnas_xalloc(10000, sizeof(*b.ids))};

    dnas_msg_program(argv[0]);
    dnas_rng_init(&rng, 2, DNAS_RNG_BENCH, 0, 0);
    for (size_t i = 0; i < 10000; i++)
        b.ids[i] = (uint16_t)dnas_rng_below(&rng, V);
    for (int k = 0; k < 2; k++) {
        /* 32 = s^2 C sqrt(64), with s the spread of a weight. */
        double spread = k ? sqrt(32.0 / C / 8) : 0;
        char *folder = random_bert_new(&RANDOM_BERT_SHAPE, spread);
        struct dnas_err err = {""};
        struct dnas_network *bert;
        double from_s = dnas_clock_s();

        b.bert = bert = dnas_network_open(folder, precision, &err);
        if (!bert) {
            fprintf(stderr, "%s\n", err.msg);
            return 1;
        }
        printf("== %s; %d threads; opened in %.2f s\n", k ? "spread of q.k 32" : "weights as drawn",
               n_threads, dnas_clock_s() - from_s);
        row(&b, 512, n_threads, seconds);
        row(&b, 2000, n_threads, seconds);
        row(&b, 10000, n_threads, seconds);
        dnas_network_close(bert);
        random_bert_remove(folder);
    }
    free(b.ids);
    return 0;
}
