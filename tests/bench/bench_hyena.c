/* SPDX-License-Identifier: MIT
 *
 * bench_hyena.c - the network of hyenadna-medium-450k's size (6.5 M parameters,
 * random weights) beside the machine's own matrix products, measured in the same run.
 *
 *   bench_hyena [THREADS [SECONDS [TOKENS...]]]      (2 threads, 10 s a row, 1000 and 20000)
 *
 * Prints tokens a second, and a second of processor time, to compare where other
 * work runs beside it; operations of the matrix products alone and their share of
 * the peak; what part of the time is the long convolutions, timed by themselves; and
 * the peak of memory so far.
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "common/hyena.h"
#include "common/msg.h"
#include "common/net_save.h"
#include "common/rng.h"
#include "common/threads.h"
#include "common/xmem.h"
#include "kernels/kernels.h"
#include "tests/bench/peak.h"

#define POSITIONS 450002

static const struct dnas_shape shape = {8, 256, 0, 1024, 16, POSITIONS, 1e-5f};

static struct dnas_network *make_model(void)
{
    const char *tmp = getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp";
    char *path = dnas_xasprintf("%s/bench_hyena.%ld.safetensors", tmp, (long)getpid());
    const struct dnas_net_heads heads = {0};
    const struct dnas_net_about about = {NULL, NULL};
    struct dnas_net *net = dnas_net_new(&dnas_hyena, &shape, NULL, &heads);
    struct dnas_network *n = NULL;
    struct dnas_err err = {""};

    dnas_net_init(net, 1, true);
    if (dnas_net_save(path, net, &about, &err) == 0)
        n = dnas_network_open(path, DNAS_PRECISION_F32, &err);
    unlink(path);
    free(path);
    dnas_net_free(net);
    if (!n) {
        fprintf(stderr, "%s\n", err.msg);
        exit(1);
    }
    return n;
}

struct bench {
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

/* Processor seconds of a sequence's long convolutions. */
static double convolutions(size_t T)
{
    size_t M = dnas_cpu_longconv_size(T), C = shape.C;
    float *roots = dnas_xalloc64(dnas_cpu_longconv_n_roots(T), sizeof(*roots));
    float *scratch = dnas_xalloc64(64 * M, sizeof(*scratch));
    float *x = dnas_xalloc64(T * C, sizeof(*x)), *k = dnas_xalloc64(T * C, sizeof(*k));
    float *skip = dnas_xzalloc(C, sizeof(*skip));
    double from, took;

    for (size_t i = 0; i < T * C; i++)
        x[i] = k[i] = (float)(i % 1000) * 1e-6f;
    dnas_cpu_longconv_roots(roots, T);
    from = bench_cpu_s();
    for (size_t l = 0; l < shape.L; l++)
        dnas_cpu_longconv_fwd(x, x, 16, 16 * T, k, 16, 16 * T, skip, T, C, roots, scratch);
    took = bench_cpu_s() - from;
    free(roots);
    free(scratch);
    free(x);
    free(k);
    free(skip);
    return took;
}

static void row(struct bench *b, const struct dnas_network *n, size_t T, int n_threads,
                double seconds)
{
    double C = (double)shape.C, F = (double)shape.F;
    double flop = 2 * (double)shape.L * (4 * C * C + 2 * F * C) * (double)T;
    double before = bench_peak_of_cpu(n_threads), after, from_s, from_cpu, took_s, took_cpu;
    struct rusage usage;
    size_t n_done = 0;

    b->T = T;
    b->runs = dnas_xalloc((size_t)n_threads, sizeof(*b->runs));
    for (int i = 0; i < n_threads; i++)
        b->runs[i] = dnas_network_run_new(n);
    if (T <= 65536)
        one_sequence(b, 0, 0); /* makes the filters, once for all; longer ones are made each time */
    from_s = dnas_clock_s();
    from_cpu = bench_cpu_s();
    do {
        dnas_parallel_for((size_t)n_threads, n_threads, one_sequence, b);
        n_done += (size_t)n_threads;
        took_s = dnas_clock_s() - from_s;
    } while (took_s < seconds);
    took_cpu = bench_cpu_s() - from_cpu;
    for (int i = 0; i < n_threads; i++)
        dnas_network_run_free(b->runs[i]);
    free(b->runs);
    after = bench_peak_of_cpu(n_threads);
    before = before > after ? before : after;
    getrusage(RUSAGE_SELF, &usage);
    took_cpu /= (double)n_done;
    printf("%7zu tokens %8.0f tokens/s (%.0f a processor second); products %3.0f GFLOP/s, %.0f %% "
           "of %.0f; convolutions %.1f %%; memory %.0f MB\n",
           T, (double)(n_done * T) / took_s, (double)T / took_cpu, 1e-9 * flop / took_cpu,
           1e-7 * flop / took_cpu / before, before, 100 * convolutions(T) / took_cpu,
           (double)usage.ru_maxrss / 1024);
    fflush(stdout);
}

int main(int argc, char **argv)
{
    int n_threads = argc > 1 ? (int)strtol(argv[1], NULL, 10) : 2;
    double seconds = argc > 2 ? strtod(argv[2], NULL) : 10;
    struct bench b = {.ids = dnas_xalloc(POSITIONS, sizeof(*b.ids))};
    struct dnas_network *n;
    struct dnas_rng rng;

    dnas_msg_program(argv[0]);
    dnas_rng_init(&rng, 2, DNAS_RNG_BENCH, 0, 0);
    for (size_t i = 0; i < POSITIONS; i++)
        b.ids[i] = (uint16_t)(7 + dnas_rng_below(&rng, 4));
    n = make_model();
    printf("== hyenadna-medium-450k's shape; %d threads\n", n_threads);
    if (argc <= 3) {
        row(&b, n, 1000, n_threads, seconds);
        row(&b, n, 20000, n_threads, seconds);
    }
    for (int i = 3; i < argc; i++) {
        size_t T = (size_t)strtoull(argv[i], NULL, 10);

        if (T < 1 || T > POSITIONS) {
            fprintf(stderr, "%s is no number of tokens from 1 to %d\n", argv[i], POSITIONS);
            return 2;
        }
        row(&b, n, T, n_threads, seconds);
    }
    dnas_network_close(n);
    free(b.ids);
    return 0;
}
