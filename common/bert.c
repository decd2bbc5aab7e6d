/* SPDX-License-Identifier: MIT
 *
 * bert.c - the network of DNABERT-2 and DNABERT-S, to be run.  Contract: bert.h.
 */
#include "common/bert.h"

#include <math.h>
#include <stdlib.h>

#include "common/bert_net.h"
#include "common/bert_packed.h"
#include "common/bert_pass.h"
#include "common/product.h"
#include "common/xmem.h"
#include "kernels/kernels.h"

/* Rows of the feed-forward part at a time: its width is 8 C, so a whole
 * sequence of it would be most of a thread's memory. */
#define FEED_ROWS DNAS_PRODUCT_ROWS

/* The matrices of a layer in bf16; NULL in f32. */
struct narrow {
    uint16_t *qkv_w, *out_w, *gated_w, *down_w;
};

struct bert {
    struct dnas_network network;
    struct dnas_bert_weights w; /* views of the mapped file */
    struct narrow *narrow;      /* [L] */
    float *slopes;              /* [H] */
};

struct run {
    struct dnas_network_run base;
    size_t T; /* that there is room for */
    float *x, *qkv, *mixed, *scratch;
    float *wide, *gated; /* [FEED_ROWS,2F] [FEED_ROWS,F] */
    uint16_t *narrow;    /* bf16: the operand of a product, at most [FEED_ROWS,F or C] */
    uint64_t n_scores;
};

static struct bert *bert_of(struct dnas_network *n)
{
    return (struct bert *)n;
}

static const struct bert *view_of(const struct dnas_network *n)
{
    return (const struct bert *)n;
}

/* ---- opening ---- */

static int parse_shape(struct dnas_shape *s, const json_t *config, struct dnas_err *err)
{
    if (dnas_config_only(config, "hidden_act", "gelu", err) != 0 ||
        dnas_config_only(config, "position_embedding_type", "alibi", err) != 0)
        return -1;
    if (dnas_config_size(&s->L, config, "num_hidden_layers", 1000, err) != 0 ||
        dnas_config_size(&s->C, config, "hidden_size", 1 << 16, err) != 0 ||
        dnas_config_size(&s->H, config, "num_attention_heads", 1 << 12, err) != 0 ||
        dnas_config_size(&s->F, config, "intermediate_size", 1 << 18, err) != 0 ||
        dnas_config_size(&s->V, config, "vocab_size", 65536, err) != 0)
        return -1;
    if (s->C % s->H != 0)
        return dnas_err_set(err, "the config has %zu channels, which %zu heads do not divide", s->C,
                            s->H);
    return dnas_config_eps(&s->eps, config, "layer_norm_eps", 1e-12f, err);
}

static struct dnas_network *parse(const json_t *config, struct dnas_err *err)
{
    struct bert *b;
    struct dnas_shape shape = {0};

    if (parse_shape(&shape, config, err) != 0)
        return NULL;
    b = dnas_xzalloc(1, sizeof(*b));
    b->network.shape = shape;
    b->w.layers = dnas_xzalloc(shape.L, sizeof(*b->w.layers));
    return &b->network;
}

static size_t n_tensors(const struct dnas_network *n)
{
    return dnas_bert_n_tensors(&n->shape);
}

static void tensor(struct dnas_layout_tensor *out, struct dnas_network *n, size_t i)
{
    dnas_bert_get_tensor(out, &n->shape, &bert_of(n)->w, i);
}

static void narrow_layers(struct bert *b)
{
    size_t C = b->network.shape.C, F = b->network.shape.F;

    for (size_t l = 0; l < b->network.shape.L; l++) {
        const struct dnas_bert_layer *y = &b->w.layers[l];
        struct narrow *to = &b->narrow[l];

        to->qkv_w = dnas_narrowed(y->qkv_w, 3 * C * C);
        to->out_w = dnas_narrowed(y->out_w, C * C);
        to->gated_w = dnas_narrowed(y->gated_w, 2 * F * C);
        to->down_w = dnas_narrowed(y->down_w, C * F);
    }
}

static void prepare(struct dnas_network *n)
{
    struct bert *b = bert_of(n);

    b->narrow = dnas_xzalloc(n->shape.L, sizeof(*b->narrow));
    if (n->precision == DNAS_PRECISION_BF16)
        narrow_layers(b);
    b->slopes = dnas_xalloc(n->shape.H, sizeof(*b->slopes));
    dnas_bert_slopes(b->slopes, n->shape.H);
}

static void release(struct dnas_network *n)
{
    struct bert *b = bert_of(n);

    for (size_t l = 0; b->narrow && l < n->shape.L; l++) {
        free(b->narrow[l].qkv_w);
        free(b->narrow[l].out_w);
        free(b->narrow[l].gated_w);
        free(b->narrow[l].down_w);
    }
    free(b->w.layers);
    free(b->narrow);
    free(b->slopes);
}

void dnas_bert_slopes(float *slopes, size_t H)
{
    size_t power = 1;

    while (2 * power <= H)
        power *= 2;
    for (size_t h = 0; h < H; h++) {
        double i = h < power ? (double)(h + 1) : (double)(2 * (h - power) + 1) / 2;

        slopes[h] = (float)exp2(-8 * i / (double)power);
    }
}

/* ---- running ---- */

static struct dnas_network_run *run_new(const struct dnas_network *n)
{
    struct run *run = dnas_xzalloc(1, sizeof(*run));
    size_t C = n->shape.C, F = n->shape.F;

    run->wide = dnas_xalloc64(FEED_ROWS * 2 * F, sizeof(*run->wide));
    run->gated = dnas_xalloc64(FEED_ROWS * F, sizeof(*run->gated));
    if (n->precision == DNAS_PRECISION_BF16)
        run->narrow = dnas_xalloc64(FEED_ROWS * (F > C ? F : C), sizeof(*run->narrow));
    return &run->base;
}

static void free_buffers(struct run *run)
{
    free(run->x);
    free(run->qkv);
    free(run->mixed);
    free(run->scratch);
}

static void run_free(struct dnas_network_run *base)
{
    struct run *run = (struct run *)base;

    free_buffers(run);
    free(run->wide);
    free(run->gated);
    free(run->narrow);
    free(run);
}

static void make_room(struct run *run, const struct dnas_shape *s, size_t T)
{
    if (T <= run->T)
        return;
    free_buffers(run);
    run->T = T;
    run->x = dnas_xalloc64(T * s->C, sizeof(*run->x));
    run->qkv = dnas_xalloc64(T * 3 * s->C, sizeof(*run->qkv));
    run->mixed = dnas_xalloc64(T * s->C, sizeof(*run->mixed));
    run->scratch = dnas_xalloc64(dnas_cpu_attention_scratch(T, s->C / s->H), sizeof(*run->scratch));
}

/* x <- norm(attention(x) + x); qkv's room serves for the sum, too. */
static void attend(const struct bert *b, size_t l, struct run *run, size_t T, int skip)
{
    const struct dnas_bert_layer *y = &b->w.layers[l];
    const struct narrow *n = &b->narrow[l];
    size_t C = b->network.shape.C;

    dnas_product(run->qkv, run->x, y->qkv_w, n->qkv_w, y->qkv_b, NULL, T, 3 * C, C, run->narrow);
    dnas_cpu_attention_fwd(run->mixed, NULL, NULL, &run->n_scores, run->qkv, b->slopes, T, C,
                           b->network.shape.H, skip, run->scratch);
    dnas_product(run->qkv, run->mixed, y->out_w, n->out_w, y->out_b, run->x, T, C, C, run->narrow);
    dnas_cpu_layernorm_fwd(run->x, NULL, NULL, run->qkv, NULL, y->norm1_w, y->norm1_b, T, C,
                           b->network.shape.eps);
}

/* x <- norm(down(gelu(z) gate) + x), some rows at a time. */
static void feed_forward(const struct bert *b, size_t l, struct run *run, size_t T)
{
    const struct dnas_bert_layer *y = &b->w.layers[l];
    const struct narrow *narrow = &b->narrow[l];
    size_t C = b->network.shape.C, F = b->network.shape.F;

    for (size_t from = 0; from < T; from += FEED_ROWS) {
        size_t n = T - from < FEED_ROWS ? T - from : FEED_ROWS;
        float *x = run->x + from * C, *sum = run->mixed + from * C;

        dnas_product(run->wide, x, y->gated_w, narrow->gated_w, NULL, NULL, n, 2 * F, C,
                     run->narrow);
        dnas_cpu_geglu_fwd(run->gated, run->wide, n, F);
        dnas_product(sum, run->gated, y->down_w, narrow->down_w, y->down_b, x, n, C, F,
                     run->narrow);
        dnas_cpu_layernorm_fwd(x, NULL, NULL, sum, NULL, y->norm2_w, y->norm2_b, n, C,
                               b->network.shape.eps);
    }
}

static const float *forward(const struct dnas_network *n, struct dnas_network_run *base,
                            const uint16_t *ids, size_t T, int skip)
{
    const struct bert *b = view_of(n);
    struct run *run = (struct run *)base;
    const struct dnas_shape *s = &n->shape;

    if (T == 0)
        return run->x;
    make_room(run, s, T);
    dnas_cpu_embedding_fwd(run->x, ids, b->w.words, b->w.types, T, s->V, s->C);
    dnas_cpu_layernorm_fwd(run->x, NULL, NULL, run->x, NULL, b->w.norm_w, b->w.norm_b, T, s->C,
                           s->eps);
    for (size_t l = 0; l < s->L; l++) {
        attend(b, l, run, T, skip);
        feed_forward(b, l, run, T);
    }
    return run->x;
}

uint64_t dnas_bert_n_scores(const struct dnas_network_run *run)
{
    return ((const struct run *)run)->n_scores;
}

static const char *const surplus[] = {"pooler.dense.", "cls.predictions.", NULL};

#define PREDICT "cls.predictions."
static const char *const mlm_head[DNAS_HEAD_TENSORS] = {PREDICT "transform.dense.weight",
                                                        PREDICT "transform.dense.bias",
                                                        PREDICT "transform.LayerNorm.weight",
                                                        PREDICT "transform.LayerNorm.bias",
                                                        PREDICT "decoder.weight",
                                                        PREDICT "decoder.bias"};

const struct dnas_backbone dnas_bert = {
    .name = "bert",
    .model_type = "bert",
    .first_tensor = "embeddings.word_embeddings.weight",
    .surplus = surplus,
    .parse = parse,
    .n_tensors = n_tensors,
    .tensor = tensor,
    .prepare = prepare,
    .release = release,
    .run_new = run_new,
    .run_free = run_free,
    .forward = forward,
    .packed = &dnas_bert_packed,
    .mlm_prefix = "bert.",
    .mlm_head = mlm_head,
    .net_new = dnas_bert_net_new,
    .net_release = dnas_bert_net_release,
    .pass = &dnas_bert_pass,
    .config = dnas_bert_net_config,
    .tape = &dnas_bert_tape,
};
