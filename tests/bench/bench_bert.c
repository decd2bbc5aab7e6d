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
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "common/bert.h"
#include "common/msg.h"
#include "common/rng.h"
#include "common/threads.h"
#include "common/weights.h"
#include "common/xmem.h"
#include "kernels/kernels.h"
#include "tests/bench/peak.h"

#define L 12
#define C 768
#define H 12
#define F 3072
#define V 4096

static const char config[] =
    "{\"model_type\": \"bert\", \"num_hidden_layers\": 12, \"hidden_size\": 768, "
    "\"num_attention_heads\": 12, \"intermediate_size\": 3072, \"vocab_size\": 4096}";

struct set {
    struct dnas_tensor tensor[4 + 11 * L];
    size_t n;
};

/* A tensor of normal numbers; width 0: a vector. */
static float *add(struct set *s, const char *name, size_t rows, size_t width, double mean,
                  double spread)
{
    size_t n = rows * (width ? width : 1);
    float *x = dnas_xalloc(n, sizeof(*x));
    struct dnas_rng rng;

    dnas_rng_init(&rng, 1, DNAS_RNG_BENCH, (uint32_t)s->n, 0);
    for (size_t i = 0; i < n; i++)
        x[i] = (float)(mean + spread * dnas_rng_normal(&rng));
    s->tensor[s->n++] = (struct dnas_tensor){.name = dnas_xstrdup(name),
                                             .dtype = DNAS_DTYPE_F32,
                                             .n_dims = width ? 2 : 1,
                                             .shape = {rows, width ? width : 1},
                                             .n_elements = n,
                                             .size_bytes = n * sizeof(*x),
                                             .data = x};
    return x;
}

static void add_layer(struct set *s, size_t l, double qk_spread)
{
    static const struct {
        const char *name;
        size_t rows, width;
        double mean;
    } parts[] = {
        {"attention.self.Wqkv.weight", 3 * C, C, 0},
        {"attention.self.Wqkv.bias", 3 * C, 0, 0},
        {"attention.output.dense.weight", C, C, 0},
        {"attention.output.dense.bias", C, 0, 0},
        {"attention.output.LayerNorm.weight", C, 0, 1},
        {"attention.output.LayerNorm.bias", C, 0, 0},
        {"mlp.gated_layers.weight", 2 * F, C, 0},
        {"mlp.wo.weight", C, F, 0},
        {"mlp.wo.bias", C, 0, 0},
        {"mlp.layernorm.weight", C, 0, 1},
        {"mlp.layernorm.bias", C, 0, 0},
    };

    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
        char *name = dnas_xasprintf("encoder.layer.%zu.%s", l, parts[i].name);
        float *x = add(s, name, parts[i].rows, parts[i].width, parts[i].mean,
                       parts[i].mean > 0 ? 0 : 0.02);

        /* x has unit variance: q.k has the spread (qk_spread)^2 sqrt(64) C. */
        for (size_t k = 0; i == 0 && qk_spread > 0 && k < 2 * (size_t)C * C; k++)
            x[k] *= (float)(qk_spread / 0.02);
        free(name);
    }
}

/* Writes the model into a new folder and returns its name. */
static char *make_model(double qk_spread)
{
    const char *tmp = getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp";
    char *folder = dnas_xasprintf("%s/bench_bert.XXXXXX", tmp);
    char *path;
    struct set s = {.n = 0};
    struct dnas_err err = {""};
    FILE *f;

    if (!mkdtemp(folder)) {
        perror(folder);
        exit(1);
    }
    add(&s, "embeddings.word_embeddings.weight", V, C, 0, 0.02);
    add(&s, "embeddings.token_type_embeddings.weight", 2, C, 0, 0.02);
    add(&s, "embeddings.LayerNorm.weight", C, 0, 1, 0);
    add(&s, "embeddings.LayerNorm.bias", C, 0, 0, 0.02);
    for (size_t l = 0; l < L; l++)
        add_layer(&s, l, qk_spread);
    path = dnas_xasprintf("%s/model.safetensors", folder);
    if (dnas_safetensors_write(path, s.tensor, s.n, NULL, 0, &err) != 0) {
        fprintf(stderr, "%s\n", err.msg);
        exit(1);
    }
    for (size_t i = 0; i < s.n; i++) {
        free((char *)s.tensor[i].name);
        free((void *)s.tensor[i].data);
    }
    free(path);
    path = dnas_xasprintf("%s/config.json", folder);
    f = fopen(path, "w");
    if (!f || fputs(config, f) < 0 || fclose(f) != 0) {
        perror(path);
        exit(1);
    }
    free(path);
    return folder;
}

static void remove_model(char *folder)
{
    static const char *const files[] = {"model.safetensors", "config.json"};

    for (int i = 0; i < 2; i++) {
        char *path = dnas_xasprintf("%s/%s", folder, files[i]);

        unlink(path);
        free(path);
    }
    rmdir(folder);
    free(folder);
}

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
        char *folder = make_model(spread);
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
        remove_model(folder);
    }
    free(b.ids);
    return 0;
}
