/* SPDX-License-Identifier: MIT
 *
 * bench_esm.c - the network of Nucleotide Transformer v2's sizes (random
 * weights) beside the machine's own matrix products, measured in the same run.
 *
 *   bench_esm [THREADS [SECONDS [50m|100m|250m|500m]]]      (2 threads, 10 s a row, 100m)
 *
 * Prints tokens a second, and a second of processor time, to compare where other
 * work runs beside it; operations a second and their share of the peak of f32
 * products.  2,048 tokens are 12 kb.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "common/esm.h"
#include "common/msg.h"
#include "common/rng.h"
#include "common/threads.h"
#include "common/weights.h"
#include "common/xmem.h"
#include "tests/bench/peak.h"

/* As their config.json have them. */
static const struct size {
    const char *name;
    struct dnas_shape shape;
} sizes[] = {
    {"50m", {.L = 12, .C = 512, .H = 16, .F = 2048, .V = 4107}},
    {"100m", {.L = 22, .C = 512, .H = 16, .F = 2048, .V = 4107}},
    {"250m", {.L = 24, .C = 768, .H = 16, .F = 3072, .V = 4107}},
    {"500m", {.L = 29, .C = 1024, .H = 16, .F = 4096, .V = 4107}},
};

static void draw(float *x, const struct dnas_layout_tensor *t, uint32_t row)
{
    bool is_norm_weight = t->role == DNAS_ROLE_NORM && strstr(t->name, ".weight");
    struct dnas_rng rng;

    dnas_rng_init(&rng, 1, DNAS_RNG_BENCH, row, 0);
    for (size_t i = 0; i < t->n; i++)
        x[i] = is_norm_weight ? 1 : (float)(0.02 * dnas_rng_normal(&rng));
}

/* Writes the model and returns its name. */
static char *make_model(const struct dnas_shape *s)
{
    const char *tmp = getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp";
    char *path = dnas_xasprintf("%s/bench_esm.%ld.safetensors", tmp, (long)getpid());
    char *config = dnas_xasprintf(
        "{\"model_type\": \"esm\", \"position_embedding_type\": \"rotary\", "
        "\"num_hidden_layers\": %zu, \"hidden_size\": %zu, \"num_attention_heads\": %zu, "
        "\"intermediate_size\": %zu, \"vocab_size\": %zu}",
        s->L, s->C, s->H, s->F, s->V);
    const struct dnas_metadata metadata = {"config", config};
    size_t n = dnas_esm_n_tensors(s);
    struct dnas_layout_tensor *t = dnas_xalloc(n, sizeof(*t));
    struct dnas_tensor *tensors = dnas_xzalloc(n, sizeof(*tensors));
    struct dnas_err err = {""};

    for (size_t i = 0; i < n; i++) {
        float *x;

        dnas_esm_get_tensor(&t[i], s, NULL, i);
        x = dnas_xalloc64(t[i].n, sizeof(*x));
        draw(x, &t[i], (uint32_t)i);
        tensors[i] = (struct dnas_tensor){.name = t[i].name,
                                          .dtype = DNAS_DTYPE_F32,
                                          .n_dims = t[i].n_dims,
                                          .shape = {t[i].shape[0], t[i].shape[1]},
                                          .n_elements = t[i].n,
                                          .size_bytes = t[i].n * sizeof(*x),
                                          .data = x};
    }
    if (dnas_safetensors_write(path, tensors, n, &metadata, 1, &err) != 0) {
        fprintf(stderr, "%s\n", err.msg);
        exit(1);
    }
    for (size_t i = 0; i < n; i++)
        free((void *)tensors[i].data);
    free(tensors);
    free(t);
    free(config);
    return path;
}

struct bench {
    struct dnas_network_run **runs;
    uint16_t ids[2048];
    size_t T;
};

static void one_sequence(void *ctx, size_t i, int worker)
{
    struct bench *b = ctx;

    (void)i;
    dnas_network_forward(b->runs[worker], b->ids, b->T, 0);
}

static void row(const struct dnas_network *network, size_t T, int n_threads, double seconds)
{
    const struct dnas_shape *s = &network->shape;
    double C = (double)s->C, F = (double)s->F;
    double flop = 2.0 * (double)s->L * (double)T * (4 * C * C + 3 * F * C + 2 * C * (double)T);
    double before = bench_peak(n_threads), after, from_s, took_s, cpu_s;
    struct bench b = {.T = T};
    struct dnas_rng rng;
    clock_t from_cpu;
    size_t n = 0;

    dnas_rng_init(&rng, 2, DNAS_RNG_BENCH, 0, 0);
    for (size_t i = 0; i < T; i++)
        b.ids[i] = (uint16_t)dnas_rng_below(&rng, (uint32_t)s->V);
    b.runs = dnas_xalloc((size_t)n_threads, sizeof(*b.runs));
    for (int i = 0; i < n_threads; i++)
        b.runs[i] = dnas_network_run_new(network);
    from_s = dnas_clock_s();
    from_cpu = clock();
    do {
        dnas_parallel_for((size_t)n_threads, n_threads, one_sequence, &b);
        n += (size_t)n_threads;
        took_s = dnas_clock_s() - from_s;
    } while (took_s < seconds);
    cpu_s = (double)(clock() - from_cpu) / CLOCKS_PER_SEC;
    for (int i = 0; i < n_threads; i++)
        dnas_network_run_free(b.runs[i]);
    free(b.runs);
    after = bench_peak(n_threads);
    before = before > after ? before : after;
    printf("%7zu tokens %8.0f tokens/s (%.0f a processor second) %7.0f GFLOP/s: %3.0f %% of %.0f\n",
           T, (double)(n * T) / took_s, (double)(n * T) / cpu_s, flop * (double)n / took_s * 1e-9,
           1e-7 * flop * (double)n / took_s / before, before);
    fflush(stdout);
}

int main(int argc, char **argv)
{
    int n_threads = argc > 1 ? (int)strtol(argv[1], NULL, 10) : 2;
    double seconds = argc > 2 ? strtod(argv[2], NULL) : 10;
    const char *name = argc > 3 ? argv[3] : "100m";

    dnas_msg_program(argv[0]);
    for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
        struct dnas_err err = {""};
        struct dnas_network *network;
        double from_s;
        char *path;

        if (strcmp(sizes[i].name, name) != 0)
            continue;
        path = make_model(&sizes[i].shape);
        from_s = dnas_clock_s();
        network = dnas_network_open(path, DNAS_PRECISION_F32, &err);
        unlink(path);
        free(path);
        if (!network) {
            fprintf(stderr, "%s\n", err.msg);
            return 1;
        }
        printf("== Nucleotide Transformer v2 %s; %d threads; opened in %.2f s\n", name, n_threads,
               dnas_clock_s() - from_s);
        row(network, 512, n_threads, seconds);
        row(network, 2048, n_threads, seconds);
        dnas_network_close(network);
        return 0;
    }
    fprintf(stderr, "usage: bench_esm [THREADS [SECONDS [50m|100m|250m|500m]]]\n");
    return 2;
}
