/* SPDX-License-Identifier: MIT
 *
 * peak.h - what this machine's matrix products reach, for benchmarks to
 * measure themselves against in the same run.
 */
#ifndef DNAS_BENCH_PEAK_H
#define DNAS_BENCH_PEAK_H

#include <stdlib.h>
#include <time.h>

#include "common/msg.h"
#include "common/threads.h"
#include "common/xmem.h"
#include "kernels/kernels.h"

#define BENCH_PEAK_SIZE ((size_t)1536)

struct bench_peak {
    float *a, *b, *out; /* [SIZE,SIZE]; out: one a thread */
};

static inline void bench_peak_product(void *ctx, size_t i, int worker)
{
    struct bench_peak *p = ctx;

    (void)i;
    dnas_cpu_matmul_nt(p->out + (size_t)worker * BENCH_PEAK_SIZE * BENCH_PEAK_SIZE, p->a, p->b,
                       BENCH_PEAK_SIZE, BENCH_PEAK_SIZE, BENCH_PEAK_SIZE);
}

/* GFLOP/s of large f32 products on all threads together: the best of three. */
static inline double bench_peak(int n_threads)
{
    size_t n = BENCH_PEAK_SIZE * BENCH_PEAK_SIZE, n_products = 4 * (size_t)n_threads;
    struct bench_peak p = {dnas_xzalloc(n, sizeof(float)), dnas_xzalloc(n, sizeof(float)),
                           dnas_xzalloc(n * (size_t)n_threads, sizeof(float))};
    double best = 0;

    for (int k = 0; k < 3; k++) {
        double from_s = dnas_clock_s(), rate;

        dnas_parallel_for(n_products, n_threads, bench_peak_product, &p);
        rate = 2e-9 * (double)n_products * (double)n * (double)BENCH_PEAK_SIZE /
               (dnas_clock_s() - from_s);
        best = rate > best ? rate : best;
    }
    free(p.a);
    free(p.b);
    free(p.out);
    return best;
}

/* The processor's time so far, of all threads. */
static inline double bench_cpu_s(void)
{
    return (double)clock() / CLOCKS_PER_SEC;
}

/* GFLOP/s of large f32 products in a second of processor time, to compare where other work runs
 * beside. */
static inline double bench_peak_of_cpu(int n_threads)
{
    double wall_s = dnas_clock_s(), from = bench_cpu_s(), rate = bench_peak(n_threads);

    /* The best of three by the clock, times what share of it the processor was ours. */
    wall_s = dnas_clock_s() - wall_s;
    return rate * wall_s / (bench_cpu_s() - from);
}

#endif
