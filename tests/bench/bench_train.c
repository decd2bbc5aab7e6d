/* SPDX-License-Identifier: MIT
 *
 * bench_train.c - steps of training beside the machine's own matrix products,
 * measured in the same run.
 *
 *   bench_train [THREADS [PAIRS [TOKENS [bert|esm|hyena]]]]      (2 threads, 2 pairs of
 *                                                             2,000 tokens, all of them)
 *   bench_train gpu [--tiny]                    48 pairs on GPU number 0; tiny: in the emulator
 *
 * For DNABERT-2's network (12 layers, 768 wide) and a small one (4 layers, 256 wide),
 * Nucleotide Transformer v2's 100m, and HyenaDNA's medium size with four times as many
 * letters: seconds a step of Weighted SimCLR and of MI-Mix, tokens a second of the
 * clock and of the processor, and operations that ran (those of transforms, too) as a
 * share of the peak.
 * train_peers.py is PyTorch beside it.  Features are computed before the loss and
 * again for backward, so of four forward passes' worth of operations three are
 * needed; on a GPU they run once where memory suffices.
 *
 * On a GPU a step includes Adam, and the milliseconds that were expected of an
 * H200, before one had been seen, stand behind: products at 650 TFLOP/s, attention
 * at 300 forward and 180 backward of which half is skipped, all else at the
 * bandwidth of memory.  Attention counts as dense.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/bert.h"
#include "common/esm.h"
#include "common/hyena.h"
#include "common/net_cuda.h"
#include "common/optim.h"
#include "common/train_step.h"
#include "common/rng.h"
#include "tests/bench/peak.h"

struct data {
    size_t B, T;
    uint16_t *tokens;
    const uint16_t **ids;
    size_t *lengths;
    uint32_t *perm;
    float *lambda;
};

static void draw(struct data *d, size_t V)
{
    struct dnas_rng rng;

    dnas_rng_init(&rng, 1, DNAS_RNG_BENCH, 0, 0);
    d->tokens = dnas_xalloc(2 * d->B * d->T, sizeof(*d->tokens));
    d->ids = dnas_xalloc(2 * d->B, sizeof(*d->ids));
    d->lengths = dnas_xalloc(2 * d->B, sizeof(*d->lengths));
    d->perm = dnas_xalloc(d->B, sizeof(*d->perm));
    d->lambda = dnas_xalloc(d->B, sizeof(*d->lambda));
    for (size_t i = 0; i < 2 * d->B * d->T; i++)
        d->tokens[i] = (uint16_t)dnas_rng_below(&rng, V);
    for (size_t i = 0; i < 2 * d->B; i++) {
        d->ids[i] = d->tokens + i * d->T;
        d->lengths[i] = d->T;
    }
    for (size_t i = 0; i < d->B; i++) {
        d->perm[i] = (uint32_t)((i + 1) % d->B);
        d->lambda[i] = 0.75f;
    }
}

static void release(struct data *d)
{
    free(d->tokens);
    free(d->ids);
    free(d->lengths);
    free(d->perm);
    free(d->lambda);
}

static void run(struct dnas_step *step, const struct data *d, const struct dnas_step_mix *mix)
{
    const struct dnas_step_batch batch = {.B = d->B, .ids = d->ids, .T = d->lengths};
    struct dnas_err err = {""};
    double loss;

    if ((mix ? dnas_step_mixed(step, &loss, &batch, mix, 1, &err)
             : dnas_step_wsimclr(step, &loss, &batch, 1, &err)) != 0) {
        fprintf(stderr, "%s\n", err.msg);
        exit(1);
    }
}

struct row {
    const char *name;
    const struct dnas_backbone *backbone;
    struct dnas_shape shape;
    double dropout;
    size_t n_letters; /* for each token of the command line */
};

static void bench(const struct row *row, size_t B, size_t n_tokens, int n_threads)
{
    struct data data = {.B = B, .T = n_tokens * row->n_letters}, *d = &data;
    struct dnas_shape shape = row->shape;
    const struct dnas_net_heads heads = {.P = 128};
    const struct dnas_step_options o = {.max_pairs = d->B,
                                        .max_T = d->T,
                                        .mix_group = d->B,
                                        .temperature = 0.05,
                                        .dropout = row->dropout,
                                        .n_threads = n_threads};
    struct dnas_step_mix mix = {.layer = shape.L / 2};
    struct dnas_net *net;
    struct dnas_step *step;

    draw(d, shape.V);
    mix.perm = d->perm;
    mix.lambda = d->lambda;
    shape.positions = row->backbone == &dnas_hyena ? d->T : 0;
    net = dnas_net_new(row->backbone, &shape, NULL, &heads);
    step = dnas_step_new(net, &o);
    dnas_net_init(net, 1, true);
    for (int mixed = 0; mixed < 2; mixed++) {
        double before = bench_peak_of_cpu(n_threads), after, from_s, from_cpu, took_s, cpu_s;
        uint64_t flop = dnas_step_flop(step);

        from_s = dnas_clock_s();
        from_cpu = bench_cpu_s();
        run(step, d, mixed ? &mix : NULL);
        took_s = dnas_clock_s() - from_s;
        cpu_s = bench_cpu_s() - from_cpu;
        flop = dnas_step_flop(step) - flop;
        after = bench_peak_of_cpu(n_threads);
        before = before > after ? before : after;
        printf("%-10s %5zu %-8s dropout %.1f  %6.2f s a step of %zu pairs; %6.0f tokens/s, %6.0f a "
               "processor second; %4.0f GFLOP done in it: %3.0f %% of %.0f\n",
               row->name, d->T, mixed ? "mimix" : "wsimclr", row->dropout, took_s, d->B,
               (double)(2 * d->B * d->T) / took_s, (double)(2 * d->B * d->T) / cpu_s,
               1e-9 * (double)flop / cpu_s, 1e-7 * (double)flop / cpu_s / before, before);
        fflush(stdout);
    }
    dnas_step_free(step);
    dnas_net_free(net);
    release(d);
}

/* ---- on a GPU ---- */

#define STEPS 5 /* that are measured; two more before them */

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

/* Ends the program where something failed. */
static void must(bool is_fine, const struct dnas_err *err)
{
    if (is_fine)
        return;
    fprintf(stderr, "bench_train: %s\n", err->msg);
    exit(1);
}

/* A step with the optimiser's, in seconds. */
static double one_step(struct dnas_step *step, const struct data *d,
                       const struct dnas_step_mix *mix, struct dnas_net_cuda *there,
                       struct dnas_optim *optim)
{
    struct dnas_optim_report report;
    struct dnas_err err = {""};
    double from_s = dnas_clock_s();
    bool finite;

    run(step, d, mix);
    must(dnas_net_cuda_step(there, optim, &finite, &report, &err) == 0, &err);
    return dnas_clock_s() - from_s;
}

static void bench_gpu(const char *name, const struct dnas_shape *shape, const struct data *d,
                      const struct dnas_gpu *gpu, bool tiny, double expected_ms)
{
    const struct dnas_net_heads heads = {.P = 128};
    const struct dnas_step_options o = {.max_pairs = d->B,
                                        .max_T = d->T,
                                        .mix_group = d->B,
                                        .temperature = 0.05,
                                        .dropout = 0.1,
                                        .n_threads = 2};
    const struct dnas_step_mix mix = {shape->L / 2, d->perm, d->lambda};
    const struct dnas_optim_options adam = dnas_optim_defaults();
    struct dnas_net *net = dnas_net_new(&dnas_bert, shape, NULL, &heads);
    const struct dnas_optim_group all = {0, net->n, 1, false};
    struct dnas_optim optim;
    struct dnas_net_cuda *there;
    struct dnas_step *step;
    struct dnas_cuda_info info;
    struct dnas_err err = {""};
    int n = tiny ? 1 : STEPS;

    dnas_net_init(net, 1, true);
    dnas_optim_init(&optim, &adam, net->n, &all, 1, 1);
    there = dnas_net_cuda_new(net, gpu, DNAS_CUDA_BF16, &optim, &err);
    must(there != NULL, &err);
    step = dnas_step_new_cuda(there, &o, &err);
    must(step != NULL, &err);
    for (int mixed = 0; mixed < 2; mixed++) {
        double took_s[STEPS];
        uint64_t flop = 0;

        for (int i = tiny ? 0 : -2; i < n; i++) {
            uint64_t before = dnas_step_flop(step);
            double one_s = one_step(step, d, mixed ? &mix : NULL, there, &optim);

            flop = dnas_step_flop(step) - before;
            if (i >= 0)
                took_s[i] = one_s;
        }
        qsort(took_s, (size_t)n, sizeof(*took_s), by_size);
        gpu->api->info(gpu->device, &info);
        printf("%-8s %-8s %8.1f ms a step of %zu pairs %8.1f pairs/s %10.0f tokens/s %7.1f TFLOP/s "
               "%5.1f GB taken   expected %.0f ms\n",
               name, mixed ? "mimix" : "wsimclr", took_s[n / 2] * 1e3, d->B,
               (double)d->B / took_s[n / 2], (double)(2 * d->B * d->T) / took_s[n / 2],
               1e-12 * (double)flop / took_s[n / 2],
               1e-9 * (double)(info.memory_bytes - info.free_bytes), expected_ms);
        fflush(stdout);
    }
    dnas_step_free(step);
    dnas_net_cuda_free(there);
    dnas_optim_release(&optim);
    dnas_net_free(net);
}

static void bench_gpus(bool tiny)
{
    static const struct dnas_shape large = {12, 768, 12, 3072, 4096, 0, 1e-12f};
    static const struct dnas_shape small = {4, 256, 4, 1024, 4096, 0, 1e-12f};
    static const struct dnas_shape least = {1, 32, 2, 64, 4096, 0, 1e-12f};
    struct data d = {.B = tiny ? 2 : 48, .T = tiny ? 33 : 2000};
    struct dnas_gpu gpu = {.api = NULL};
    struct dnas_err err = {""};

    must(dnas_gpu_open(&gpu, 0, &err) == 0, &err);
    draw(&d, 4096);
    if (tiny) {
        bench_gpu("1 x 32", &least, &d, &gpu, tiny, 0);
    } else {
        bench_gpu("4 x 256", &small, &d, &gpu, tiny, 45);
        bench_gpu("12 x 768", &large, &d, &gpu, tiny, 388);
    }
    release(&d);
    dnas_gpu_close(&gpu);
}

int main(int argc, char **argv)
{
    static const struct row rows[] = {
        {"4 x 256", &dnas_bert, {4, 256, 4, 1024, 4096, 0, 1e-12f}, 0, 1},
        {"4 x 256", &dnas_bert, {4, 256, 4, 1024, 4096, 0, 1e-12f}, 0.1, 1},
        {"12 x 768", &dnas_bert, {12, 768, 12, 3072, 4096, 0, 1e-12f}, 0.1, 1},
        {"nt 100m", &dnas_esm, {22, 512, 16, 2048, 4107, 0, 1e-12f}, 0.1, 1},
        {"hyenadna", &dnas_hyena, {8, 256, 0, 1024, 16, 0, 1e-5f}, 0.1, 4},
    };
    int n_threads = argc > 1 ? (int)strtol(argv[1], NULL, 10) : 2;
    size_t B = argc > 2 ? strtoul(argv[2], NULL, 10) : 2;
    size_t T = argc > 3 ? strtoul(argv[3], NULL, 10) : 2000;

    if (argc > 1 && strcmp(argv[1], "gpu") == 0) {
        bench_gpus(argc > 2 && strcmp(argv[2], "--tiny") == 0);
        return 0;
    }
    if (n_threads < 1 || B < 2 || T < 1) {
        fprintf(stderr, "usage: bench_train [THREADS [PAIRS [TOKENS [bert|esm|hyena]]]], at least "
                        "2 pairs\n");
        return 2;
    }
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++)
        if (argc <= 4 || strcmp(argv[4], rows[i].backbone->name) == 0)
            bench(&rows[i], B, T, n_threads);
    return 0;
}
