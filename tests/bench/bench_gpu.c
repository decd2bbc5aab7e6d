/* SPDX-License-Identifier: MIT
 *
 * bench_gpu.c - the CUDA library beside what the GPU itself reaches in the same run.
 *
 *   bench_gpu [--tiny] [PART...]       ceilings products gate attention elementwise network; all
 *   bench_gpu [--tiny] --model FOLDER  writes a model with random weights there, and no more
 *
 * Each line: what; microseconds of a call; the rate; its share of the ceiling; and behind
 * `expected` the rate that was predicted for an H200 before one had been seen (floors of
 * bandwidth and of products, and what is known of other people's kernels).  A miss of more than
 * a quarter either way wants a reason.
 *
 * Times are between marks in the device's queue, the median of 20 after 3 to warm up, over three
 * sets of arrays in turn, larger than the cache together; numbers are random, since zeros
 * multiply faster.  --tiny is for the emulator: that it runs, not how fast.
 *
 * Parts for which there are kernels for compute capability 9.0 alone are run with these again
 * (DNAS_CUDA_KERNELS=sm90), where the GPU is one.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/bert.h"
#include "common/gpu.h"
#include "common/msg.h"
#include "common/packed.h"
#include "common/record.h"
#include "common/rng.h"
#include "common/xmem.h"
#include "tests/bench/random_bert.h"

#define SETS 3

/* What was expected of an H200: TFLOP/s, TB/s. */
#define PEAK_TF 790.0
#define COPY_TB 4.3

static struct dnas_gpu gpu;
static const struct dnas_cuda_api *api;
static struct dnas_cuda *dev;
static bool tiny;
static bool sm90;               /* with the kernels for compute capability 9.0 */
static double peak_tf, copy_tb; /* measured; 0: not yet */
static struct dnas_shape shape = RANDOM_BERT_SHAPE;

static void must(bool is_fine, const char *what)
{
    if (is_fine)
        return;
    fprintf(stderr, "bench_gpu: %s: %s\n", what, *api->error(dev) ? api->error(dev) : "no memory");
    exit(1);
}

/* ---- arrays ---- */

static void *room(size_t size_bytes)
{
    void *p = api->alloc(dev, size_bytes);

    must(p != NULL, "alloc");
    return p;
}

/* n normal numbers of that deviation on the device, a million different ones. */
static void *normals(size_t n, double deviation, enum dnas_cuda_type type)
{
    size_t size = type == DNAS_CUDA_F32 ? 4 : 2, block = n < (1u << 20) ? n : (1u << 20);
    char *host = api->host_alloc(dev, block * size), *p = room(n * size);
    static uint32_t number;
    struct dnas_rng rng;

    must(host != NULL, "host_alloc");
    dnas_rng_init(&rng, 3, DNAS_RNG_BENCH, number++, 0);
    for (size_t i = 0; i < block; i++) {
        float x = (float)(deviation * dnas_rng_normal(&rng));
        uint16_t narrow = dnas_bf16_from_f32(x);

        memcpy(host + i * size, type == DNAS_CUDA_F32 ? (void *)&x : (void *)&narrow, size);
    }
    for (size_t at = 0; at < n; at += block)
        api->copy_in(dev, p + at * size, host, (n - at < block ? n - at : block) * size);
    must(api->wait(dev) == 0, "copy_in");
    api->host_free(dev, host);
    return p;
}

/* ---- clock ---- */

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

/* The median time of work(ctx, set). */
static double seconds(void (*work)(void *ctx, int set), void *ctx)
{
    struct dnas_cuda_mark *from = api->mark_new(dev), *to = api->mark_new(dev);
    int n_warm = tiny ? 1 : 3, n = tiny ? 1 : 20;
    double took[20];

    must(from && to, "mark_new");
    for (int i = -n_warm; i < n; i++) {
        api->mark_set(dev, from);
        work(ctx, (i + n_warm) % SETS);
        api->mark_set(dev, to);
        must(api->mark_wait(dev, to) == 0, "it fails");
        if (i >= 0)
            took[i] = api->mark_seconds(dev, from, to);
    }
    qsort(took, (size_t)n, sizeof(*took), by_size);
    api->mark_free(dev, from);
    api->mark_free(dev, to);
    return took[n / 2];
}

static void line(const char *what, double took_s, double rate, const char *unit, double ceiling,
                 double expected)
{
    printf("%-44s %10.1f us %9.2f %s", what, took_s * 1e6, rate, unit);
    if (ceiling > 0)
        printf(" %4.0f %%", 100 * rate / ceiling);
    if (expected > 0)
        printf("   expected %.2f", expected);
    printf("\n");
    fflush(stdout);
}

/* ---- ceilings ---- */

struct copying {
    char *from, *to;
    size_t size_bytes;
};

static void do_copy(void *ctx, int set)
{
    struct copying *c = ctx;

    (void)set; /* it is larger than any cache */
    api->copy(dev, c->to, c->from, c->size_bytes);
}

struct product {
    size_t T, O, I;
    char *out[SETS], *x[SETS], *w;
    float *bias;
    bool adds;
};

static void do_product(void *ctx, int set)
{
    struct product *p = ctx;

    api->linear_fwd(dev, p->out[set], p->x[set], p->w, p->bias, p->adds ? p->out[set] : NULL, p->T,
                    p->O, p->I, DNAS_CUDA_BF16);
}

static double time_product(struct product *p, void (*work)(void *ctx, int set))
{
    double took_s;

    p->w = normals(p->O * p->I, 0.02, DNAS_CUDA_BF16);
    p->bias = normals(p->O, 1, DNAS_CUDA_F32);
    for (int k = 0; k < SETS; k++) {
        p->x[k] = normals(p->T * p->I, 1, DNAS_CUDA_BF16);
        p->out[k] = normals(p->T * p->O, 1, DNAS_CUDA_BF16);
    }
    took_s = seconds(work, p);
    for (int k = 0; k < SETS; k++) {
        api->free(dev, p->x[k]);
        api->free(dev, p->out[k]);
    }
    api->free(dev, p->w);
    api->free(dev, p->bias);
    return took_s;
}

static void ceilings(void)
{
    struct copying c = {.size_bytes = tiny ? 1u << 16 : (size_t)4 << 30};
    size_t n = tiny ? 64 : 8192;
    struct product p = {.T = n, .O = n, .I = n};
    double took_s;

    if (copy_tb > 0)
        return;
    c.from = room(c.size_bytes);
    c.to = room(c.size_bytes);
    api->zero(dev, c.from, c.size_bytes);
    took_s = seconds(do_copy, &c);
    api->free(dev, c.from);
    api->free(dev, c.to);
    copy_tb = 2e-12 * (double)c.size_bytes / took_s;
    printf("== ceilings: %s\n", gpu.info.name);
    line("copy, read and written", took_s, copy_tb, "TB/s   ", 0, COPY_TB);
    took_s = time_product(&p, do_product);
    peak_tf = 2e-12 * (double)n * (double)n * (double)n / took_s;
    line("product, 8192 x 8192 x 8192, bf16", took_s, peak_tf, "TFLOP/s", 0, PEAK_TF);
}

/* ---- products of the network ---- */

static void products(void)
{
    const struct {
        const char *name;
        size_t O, I;
        bool adds;
        double expected; /* TFLOP/s */
    } of[] = {{"queries, keys, values", 3 * shape.C, shape.C, false, 675},
              {"output", shape.C, shape.C, true, 500},
              {"gate", 2 * shape.F, shape.C, false, 675},
              {"down", shape.C, shape.F, true, 675}};
    const size_t rows[] = {tiny ? 24 : 16384, tiny ? 40 : 65536};

    printf("== products, share of the peak\n");
    for (size_t r = 0; r < 2; r++)
        for (size_t i = 0; i < sizeof(of) / sizeof(*of); i++) {
            struct product p = {.T = rows[r], .O = of[i].O, .I = of[i].I, .adds = of[i].adds};
            double took_s = time_product(&p, do_product);
            char what[100];

            snprintf(what, sizeof(what), "%s, %zu x %zu x %zu", of[i].name, p.T, p.O, p.I);
            line(what, took_s, 2e-12 * (double)p.T * (double)p.O * (double)p.I / took_s, "TFLOP/s",
                 peak_tf, of[i].expected);
        }
}

/* ---- the gated product ---- */

static void do_gate(void *ctx, int set)
{
    struct product *p = ctx; /* O: of the gate and its partner together; out: then what is wide */

    api->linear_geglu_fwd(dev, p->out[set], p->out[(set + 1) % SETS], p->x[set], p->w, p->T,
                          p->O / 2, p->I, DNAS_CUDA_BF16);
}

static void gate(void)
{
    const size_t rows[] = {tiny ? 24 : 16384, tiny ? 140 : 65536};

    printf("== the gate, its partner and the GELU, share of the peak\n");
    for (size_t r = 0; r < 2; r++) {
        struct product p = {.T = rows[r], .O = 2 * shape.F, .I = shape.C};
        double took_s;
        char what[100];

        took_s = time_product(&p, do_gate);
        snprintf(what, sizeof(what), "gated product, %zu x %zu x %zu%s", p.T, p.O, p.I,
                 sm90 ? ", sm90" : "");
        line(what, took_s, 2e-12 * (double)p.T * (double)p.O * (double)p.I / took_s, "TFLOP/s",
             peak_tf, sm90 ? 550 : 500);
    }
}

/* ---- attention ---- */

struct attending {
    struct dnas_cuda_pack *pack;
    char *out[SETS], *qkv[SETS];
    int skip;
    enum dnas_cuda_type type;
};

static void do_attention(void *ctx, int set)
{
    struct attending *a = ctx;

    api->attention_fwd(dev, a->out[set], NULL, a->qkv[set], a->pack, a->skip, a->type);
}

static struct dnas_cuda_pack *pack_of(size_t n, size_t B)
{
    float *slopes = dnas_xalloc(shape.H, sizeof(*slopes));
    uint32_t *offset = api->host_alloc(dev, (B + 1) * sizeof(*offset));
    struct dnas_cuda_pack *pack;

    dnas_bert_slopes(slopes, shape.H);
    pack = api->pack_new(dev, n * B, B, shape.H, shape.C / shape.H, slopes);
    must(pack && offset, "pack_new");
    for (size_t b = 0; b <= B; b++)
        offset[b] = (uint32_t)(b * n);
    api->pack_set(dev, pack, offset, B);
    must(api->wait(dev) == 0, "pack_set");
    api->host_free(dev, offset);
    free(slopes);
    return pack;
}

static void attention_of(size_t n, enum dnas_cuda_type type, double kept, double dense)
{
    size_t total = tiny ? 64 : 65536, B = total / n > 0 ? total / n : 1, T = n * B;
    size_t size = type == DNAS_CUDA_F32 ? 4 : 2;
    struct attending a = {.pack = pack_of(n, B), .type = type};
    double tera = 4e-12 * (double)shape.C * (double)n * (double)T;

    for (int k = 0; k < SETS; k++) {
        a.qkv[k] = normals(T * 3 * shape.C, 1, type);
        a.out[k] = room(T * shape.C * size);
    }
    for (a.skip = 0; a.skip < 2; a.skip++) {
        double took_s = seconds(do_attention, &a);
        char what[100];

        snprintf(what, sizeof(what), "%s%s, %zu sequences of %zu%s",
                 type == DNAS_CUDA_F32 ? "f32" : "bf16", sm90 ? " sm90" : "", B, n,
                 a.skip ? ", far blocks left out" : "");
        line(what, took_s, tera / took_s, "TFLOP/s", type == DNAS_CUDA_F32 ? 0 : peak_tf,
             a.skip ? dense / kept : dense);
    }
    for (int k = 0; k < SETS; k++) {
        api->free(dev, a.qkv[k]);
        api->free(dev, a.out[k]);
    }
    api->pack_free(dev, a.pack);
}

static void attention(void)
{
    /* What is kept where (|q| K - q k) / 8 spreads over 40 nats.  Tiles of short sequences are
     * mostly beginnings and ends, which a block of its own cannot hide. */
    static const struct {
        size_t n;
        double kept, dense_sm90;
    } lengths[] = {
        {128, 1, 150}, {512, .85, 320}, {2000, .52, 430}, {8000, .28, 450}, {20000, .16, 460}};

    printf("== attention, operations counted as dense, share of the peak\n");
    for (size_t i = 0; i < 5; i++)
        attention_of(tiny ? 8 + 7 * i : lengths[i].n, DNAS_CUDA_BF16, lengths[i].kept,
                     sm90 ? lengths[i].dense_sm90 : 275);
    if (!sm90)
        attention_of(tiny ? 20 : 2000, DNAS_CUDA_F32, .52, 40);
}

/* ---- the rest ---- */

struct rows {
    size_t T;
    char *out[SETS], *x[SETS];
    uint16_t *ids;
    float *words, *shift, *weight, *bias;
    struct dnas_cuda_pack *pack;
};

static void do_embedding(void *ctx, int set)
{
    struct rows *r = ctx;

    api->embedding_fwd(dev, r->out[set], r->ids, r->words, r->shift, r->weight, r->bias, r->T,
                       shape.C, 1e-12f, DNAS_CUDA_BF16);
}
static void do_layernorm(void *ctx, int set)
{
    struct rows *r = ctx;

    api->layernorm_fwd(dev, r->out[set], NULL, NULL, r->x[set], r->weight, r->bias, r->T, shape.C,
                       1e-12f, DNAS_CUDA_BF16);
}
static void do_geglu(void *ctx, int set)
{
    struct rows *r = ctx;

    api->geglu_fwd(dev, r->out[set], r->x[set], r->T, shape.F, DNAS_CUDA_BF16);
}
static void do_meanpool(void *ctx, int set)
{
    struct rows *r = ctx;

    api->meanpool_fwd(dev, (double *)(void *)r->out[set], r->x[set], r->pack, shape.C,
                      DNAS_CUDA_BF16);
}

static uint16_t *random_ids(size_t T)
{
    uint16_t *host = api->host_alloc(dev, T * sizeof(*host)), *ids = room(T * sizeof(*ids));
    struct dnas_rng rng;

    must(host != NULL, "host_alloc");
    dnas_rng_init(&rng, 4, DNAS_RNG_BENCH, 0, 0);
    for (size_t t = 0; t < T; t++)
        host[t] = (uint16_t)dnas_rng_below(&rng, (uint32_t)shape.V);
    api->copy_in(dev, ids, host, T * sizeof(*host));
    must(api->wait(dev) == 0, "copy_in");
    api->host_free(dev, host);
    return ids;
}

static void elementwise(void)
{
    size_t n = tiny ? 16 : 2000, B = tiny ? 2 : 32, T = n * B, C = shape.C, F = shape.F;
    struct rows r = {.T = T, .ids = random_ids(T), .pack = pack_of(n, B)};
    const struct {
        const char *name;
        void (*work)(void *ctx, int set);
        double bytes;
    } of[] = {{"embedding and its norm", do_embedding, 2.0 * (double)(T * (C + 1))},
              {"layer norm", do_layernorm, 4.0 * (double)(T * C)},
              {"gated GELU", do_geglu, 6.0 * (double)(T * F)},
              {"mean of a sequence", do_meanpool, 2.0 * (double)(T * C)}};

    r.words = normals(shape.V * C, 0.02, DNAS_CUDA_F32);
    r.shift = normals(C, 0.02, DNAS_CUDA_F32);
    r.weight = normals(C, 1, DNAS_CUDA_F32);
    r.bias = normals(C, 0.02, DNAS_CUDA_F32);
    for (int k = 0; k < SETS; k++) {
        r.x[k] = normals(T * 2 * F, 1, DNAS_CUDA_BF16);
        r.out[k] = room(T * (F > 4 * C ? F : 4 * C) * 2);
    }
    printf("== elementwise, %zu rows, share of the copy\n", T);
    for (size_t i = 0; i < sizeof(of) / sizeof(*of); i++) {
        double took_s = seconds(of[i].work, &r);

        line(of[i].name, took_s, 1e-12 * of[i].bytes / took_s, "TB/s   ", copy_tb, .87 * COPY_TB);
    }
    for (int k = 0; k < SETS; k++) {
        api->free(dev, r.x[k]);
        api->free(dev, r.out[k]);
    }
    api->free(dev, r.words);
    api->free(dev, r.shift);
    api->free(dev, r.weight);
    api->free(dev, r.bias);
    api->free(dev, r.ids);
    api->pack_free(dev, r.pack);
}

/* ---- the network ---- */

struct running {
    const struct dnas_packed *p;
    struct dnas_cuda_pack *pack;
    void *scratch;
    uint16_t *ids;
    size_t T;
};

static void do_forward(void *ctx, int set)
{
    struct running *r = ctx;

    (void)set;
    (void)dnas_packed_forward(r->p, r->scratch, r->ids, r->pack, r->T);
}

static void network(void)
{
    /* Sequences a second, with products at 650 TFLOP/s and attention at 300, far blocks left out.
     */
    static const struct {
        size_t n;
        double expected, expected_sm90;
    } lengths[] = {{512, 4080, 4250}, {2000, 887, 975}, {8000, 178, 207}};
    char *folder = random_bert_new(&shape, 0);
    struct dnas_err err = {""};
    struct dnas_network *net = dnas_network_open(folder, DNAS_PRECISION_F32, &err);
    struct dnas_packed *p = net ? dnas_packed_new(net, &gpu, DNAS_CUDA_BF16, &err) : NULL;

    random_bert_remove(folder);
    if (!p) {
        fprintf(stderr, "bench_gpu: %s\n", err.msg);
        exit(1);
    }
    printf("== the network, bf16, from tokens; sequences a second, share of dense operations "
           "at the peak\n");
    for (size_t i = 0; i < 3; i++) {
        size_t n = tiny ? 8 + 9 * i : lengths[i].n, B = tiny ? 2 : 65536 / n, T = n * B;
        struct running r = {.p = p, .pack = pack_of(n, B), .ids = random_ids(T), .T = T};
        double C = (double)shape.C, F = (double)shape.F;
        double flop = 2.0 * (double)shape.L * (4 * C * C + 3 * F * C + 2 * C * (double)n);
        double took_s, share;
        char what[100];

        r.scratch = room(dnas_packed_scratch(p, T));
        took_s = seconds(do_forward, &r);
        share = peak_tf > 0 ? 1e-12 * flop * (double)T / took_s / peak_tf : 0;
        snprintf(what, sizeof(what), "%zu of %zu tokens%s, %.0f %% of the peak", B, n,
                 sm90 ? ", sm90" : "", 100 * share);
        line(what, took_s, (double)B / took_s, "seq/s  ", 0,
             sm90 ? lengths[i].expected_sm90 : lengths[i].expected);
        api->free(dev, r.scratch);
        api->free(dev, r.ids);
        api->pack_free(dev, r.pack);
    }
    dnas_packed_free(p);
    dnas_network_close(net);
}

static const struct {
    const char *name;
    void (*run)(void);
    bool of_sm90; /* the GPU's own kernels have a part in it */
} parts[] = {{"ceilings", ceilings, false},
             {"products", products, false},
             {"gate", gate, true},
             {"attention", attention, true},
             {"elementwise", elementwise, false},
             {"network", network, true}};
#define N_PARTS (sizeof(parts) / sizeof(*parts))

/* Runs a part with the kernels for compute capability 9.0. */
static void run_sm90(void (*run)(void))
{
    struct dnas_gpu usual = gpu;
    struct dnas_err err = {""};

    setenv("DNAS_CUDA_KERNELS", "sm90", 1);
    if (dnas_gpu_open(&gpu, 0, &err) == 0) {
        dev = gpu.device;
        sm90 = true;
        run();
        sm90 = false;
        dnas_gpu_close(&gpu);
    } else {
        printf("with DNAS_CUDA_KERNELS=sm90: %s\n", err.msg);
    }
    unsetenv("DNAS_CUDA_KERNELS");
    gpu = usual;
    dev = gpu.device;
}

int main(int argc, char **argv)
{
    struct dnas_err err = {""};
    bool wanted[N_PARTS] = {false}, any = false;

    dnas_msg_program(argv[0]);
    for (int i = 1; i < argc; i++) {
        bool known = strcmp(argv[i], "--tiny") == 0;

        if (known) { /* a head of 64, for which there are kernels of sm_90a */
            tiny = true;
            shape = (struct dnas_shape){2, 64, 1, 128, 256, 0, 0};
        }
        if (strcmp(argv[i], "--model") == 0 && i + 1 < argc) {
            random_bert_write(argv[i + 1], &shape, 0);
            return 0;
        }
        for (size_t k = 0; k < N_PARTS; k++)
            if (strcmp(argv[i], parts[k].name) == 0)
                known = wanted[k] = any = true;
        if (!known) {
            fprintf(stderr, "bench_gpu: there is no part '%s'\n", argv[i]);
            return 2;
        }
    }
    if (dnas_gpu_open(&gpu, 0, &err) != 0) {
        fprintf(stderr, "bench_gpu: %s\n", err.msg);
        return 1;
    }
    api = gpu.api;
    dev = gpu.device;
    ceilings(); /* the shares are of these */
    for (size_t k = 1; k < N_PARTS; k++)
        if (!any || wanted[k]) {
            parts[k].run();
            if (parts[k].of_sm90 && gpu.info.major == 9 && gpu.info.minor == 0)
                run_sm90(parts[k].run);
        }
    dnas_gpu_close(&gpu);
    return 0;
}
