/* SPDX-License-Identifier: MIT
 *
 * esm.c - the network of Nucleotide Transformer v2.  Contract: esm.h.
 */
#include "common/esm.h"

#include <stdlib.h>
#include <string.h>

#include "common/esm_net.h"
#include "common/product.h"
#include "common/xmem.h"
#include "kernels/kernels.h"

/* Rows of the feed-forward part at a time: its width is 8 C, so a whole
 * sequence of it would be most of a thread's memory. */
#define FEED_ROWS DNAS_PRODUCT_ROWS

/* The matrices of a layer in bf16; NULL in f32. */
struct narrow {
    uint16_t *qkv_w; /* [3C,C] */
    uint16_t *out_w, *gated_w, *down_w;
};

struct esm {
    struct dnas_network network;
    struct dnas_esm_weights w; /* views of the mapped file */
    struct narrow *narrow;     /* [L] */
};

struct run {
    struct dnas_network_run base;
    size_t T;                                  /* that there is room for */
    float *x, *normed, *qkv, *mixed, *scratch; /* x and normed change places */
    float *turns;                              /* [T,C/H] */
    float *wide, *gated;                       /* [FEED_ROWS,2F] [FEED_ROWS,F] */
    uint16_t *narrow;                          /* bf16: for dnas_product */
};

static struct esm *esm_of(struct dnas_network *n)
{
    return (struct esm *)n;
}

static const struct esm *view_of(const struct dnas_network *n)
{
    return (const struct esm *)n;
}

/* ---- opening ---- */

/* A member that must be false, or not there. */
static int never(const json_t *config, const char *key, struct dnas_err *err)
{
    const json_t *v = json_object_get(config, key);

    if (v && !json_is_false(v))
        return dnas_err_set(err, "the config asks for another network: its '%s' is not false", key);
    return 0;
}

int dnas_esm_check_shape(const struct dnas_shape *s, struct dnas_err *err)
{
    if (s->C % (2 * s->H) != 0)
        return dnas_err_set(err, "%zu heads do not get an even number each of %zu channels", s->H,
                            s->C);
    if (s->C % 4 != 0) /* the matrices of q, k and v then lie one behind the other (esm_net.h) */
        return dnas_err_set(err, "%zu channels are no multiple of 4", s->C);
    return 0;
}

static int parse_shape(struct dnas_shape *s, const json_t *config, struct dnas_err *err)
{
    if (!json_object_get(config, "position_embedding_type"))
        return dnas_err_set(err, "the config has no 'position_embedding_type': version 2 of "
                                 "Nucleotide Transformer has \"rotary\"");
    if (dnas_config_only(config, "position_embedding_type", "rotary", err) != 0 ||
        never(config, "emb_layer_norm_before", err) != 0 ||
        never(config, "token_dropout", err) != 0 || never(config, "add_bias_fnn", err) != 0)
        return -1;
    if (dnas_config_size(&s->L, config, "num_hidden_layers", 1000, err) != 0 ||
        dnas_config_size(&s->C, config, "hidden_size", 1 << 16, err) != 0 ||
        dnas_config_size(&s->H, config, "num_attention_heads", 1 << 12, err) != 0 ||
        dnas_config_size(&s->F, config, "intermediate_size", 1 << 18, err) != 0 ||
        dnas_config_size(&s->V, config, "vocab_size", 65536, err) != 0)
        return -1;
    if (dnas_esm_check_shape(s, err) != 0)
        return -1;
    return dnas_config_eps(&s->eps, config, "layer_norm_eps", 1e-12f, err);
}

static struct dnas_network *parse(const json_t *config, struct dnas_err *err)
{
    struct esm *e;
    struct dnas_shape shape = {0};

    if (parse_shape(&shape, config, err) != 0)
        return NULL;
    e = dnas_xzalloc(1, sizeof(*e));
    e->network.shape = shape;
    e->w.layers = dnas_xzalloc(shape.L, sizeof(*e->w.layers));
    return &e->network;
}

static size_t n_tensors(const struct dnas_network *n)
{
    return dnas_esm_n_tensors(&n->shape);
}

static void tensor(struct dnas_layout_tensor *out, struct dnas_network *n, size_t i)
{
    dnas_esm_get_tensor(out, &n->shape, &esm_of(n)->w, i);
}

static void prepare(struct dnas_network *n)
{
    struct esm *e = esm_of(n);
    size_t C = n->shape.C, F = n->shape.F;

    e->narrow = dnas_xzalloc(n->shape.L, sizeof(*e->narrow));
    for (size_t l = 0; n->precision == DNAS_PRECISION_BF16 && l < n->shape.L; l++) {
        const struct dnas_esm_layer *y = &e->w.layers[l];
        struct narrow *to = &e->narrow[l];

        to->qkv_w = dnas_xalloc64(3 * C * C, sizeof(*to->qkv_w));
        dnas_cpu_bf16_from_f32(to->qkv_w, y->query_w, C * C);
        dnas_cpu_bf16_from_f32(to->qkv_w + C * C, y->key_w, C * C);
        dnas_cpu_bf16_from_f32(to->qkv_w + 2 * C * C, y->value_w, C * C);
        to->out_w = dnas_narrowed(y->out_w, C * C);
        to->gated_w = dnas_narrowed(y->gated_w, 2 * F * C);
        to->down_w = dnas_narrowed(y->down_w, C * F);
    }
}

static void release(struct dnas_network *n)
{
    struct esm *e = esm_of(n);

    for (size_t l = 0; e->narrow && l < n->shape.L; l++) {
        free(e->narrow[l].qkv_w);
        free(e->narrow[l].out_w);
        free(e->narrow[l].gated_w);
        free(e->narrow[l].down_w);
    }
    free(e->w.layers);
    free(e->narrow);
}

/* ---- running ---- */

static struct dnas_network_run *run_new(const struct dnas_network *n)
{
    struct run *run = dnas_xzalloc(1, sizeof(*run));
    size_t C = n->shape.C, F = n->shape.F;

    run->wide = dnas_xalloc64(FEED_ROWS * 2 * F, sizeof(*run->wide));
    run->gated = dnas_xalloc64(FEED_ROWS * F, sizeof(*run->gated));
    if (n->precision == DNAS_PRECISION_BF16)
        run->narrow = dnas_xalloc64(DNAS_PRODUCT_ROWS * (F > C ? F : C), sizeof(*run->narrow));
    return &run->base;
}

static void free_buffers(struct run *run)
{
    free(run->x);
    free(run->normed);
    free(run->qkv);
    free(run->mixed);
    free(run->scratch);
    free(run->turns);
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
    size_t D = s->C / s->H;

    if (T <= run->T)
        return;
    free_buffers(run);
    run->T = T;
    run->x = dnas_xalloc64(T * s->C, sizeof(*run->x));
    run->normed = dnas_xalloc64(T * s->C, sizeof(*run->normed));
    run->qkv = dnas_xalloc64(T * 3 * s->C, sizeof(*run->qkv));
    run->mixed = dnas_xalloc64(T * s->C, sizeof(*run->mixed));
    run->scratch = dnas_xalloc64(dnas_cpu_attention_scratch(T, D), sizeof(*run->scratch));
    run->turns = dnas_xalloc64(T * D, sizeof(*run->turns));
    dnas_cpu_rotary_turns(run->turns, 0, T, D);
}

void dnas_esm_turn(float *qkv, const struct dnas_esm_layer *layer, const float *turns, size_t T,
                   size_t C, size_t H)
{
    const float *const bias[3] = {layer->query_b, layer->key_b, layer->value_b};

    for (size_t t = 0; t < T; t++)
        for (size_t part = 0; part < 3; part++)
            for (size_t i = 0; i < C; i++)
                qkv[(3 * t + part) * C + i] += bias[part][i];
    dnas_cpu_rotary(qkv, turns, T, 2 * H, C / H, 3 * C, 0); /* q and k lie side by side */
}

/* qkv = [q | k | v] of normed, without biases. */
static void project(struct run *run, const struct dnas_esm_layer *y, const struct narrow *n,
                    size_t T, size_t C)
{
    const float *const w[3] = {y->query_w, y->key_w, y->value_w};

    if (n->qkv_w)
        dnas_product(run->qkv, run->normed, NULL, n->qkv_w, NULL, NULL, T, 3 * C, C, run->narrow);
    for (size_t part = 0; !n->qkv_w && part < 3; part++)
        dnas_cpu_matmul(run->qkv + part * C, run->normed, w[part], T, C, C, 3 * C, C, C, 1, 0, 1);
}

static void swap(struct run *run)
{
    float *x = run->x;

    run->x = run->normed;
    run->normed = x;
}

/* x <- x + attention(norm(x)) */
static void attend(const struct esm *e, size_t l, struct run *run, size_t T)
{
    const struct dnas_esm_layer *y = &e->w.layers[l];
    const struct narrow *n = &e->narrow[l];
    const struct dnas_shape *s = &e->network.shape;
    size_t C = s->C;

    dnas_cpu_layernorm_fwd(run->normed, NULL, NULL, run->x, NULL, y->norm1_w, y->norm1_b, T, C,
                           s->eps);
    project(run, y, n, T, C);
    dnas_esm_turn(run->qkv, y, run->turns, T, C, s->H);
    dnas_cpu_attention_fwd(run->mixed, NULL, NULL, NULL, run->qkv, NULL, T, C, s->H, 0,
                           run->scratch);
    dnas_product(run->normed, run->mixed, y->out_w, n->out_w, y->out_b, run->x, T, C, C,
                 run->narrow);
    swap(run);
}

/* x <- x + down(silu(z) gate) with [z | gate] from norm(x), some rows at a time. */
static void feed_forward(const struct esm *e, size_t l, struct run *run, size_t T)
{
    const struct dnas_esm_layer *y = &e->w.layers[l];
    const struct narrow *narrow = &e->narrow[l];
    const struct dnas_shape *s = &e->network.shape;
    size_t C = s->C, F = s->F;

    for (size_t from = 0; from < T; from += FEED_ROWS) {
        size_t n = T - from < FEED_ROWS ? T - from : FEED_ROWS;
        float *x = run->x + from * C, *normed = run->normed + from * C;

        dnas_cpu_layernorm_fwd(normed, NULL, NULL, x, NULL, y->norm2_w, y->norm2_b, n, C, s->eps);
        dnas_product(run->wide, normed, y->gated_w, narrow->gated_w, NULL, NULL, n, 2 * F, C,
                     run->narrow);
        dnas_cpu_swiglu_fwd(run->gated, run->wide, n, F);
        dnas_product(normed, run->gated, y->down_w, narrow->down_w, NULL, x, n, C, F, run->narrow);
    }
    swap(run);
}

static const float *forward(const struct dnas_network *n, struct dnas_network_run *base,
                            const uint16_t *ids, size_t T, int skip)
{
    const struct esm *e = view_of(n);
    struct run *run = (struct run *)base;
    const struct dnas_shape *s = &n->shape;

    (void)skip; /* every key counts */
    if (T == 0)
        return run->x;
    make_room(run, s, T);
    dnas_cpu_embedding_fwd(run->x, ids, e->w.words, NULL, T, s->V, s->C);
    for (size_t l = 0; l < s->L; l++) {
        attend(e, l, run, T);
        feed_forward(e, l, run, T);
    }
    dnas_cpu_layernorm_fwd(run->x, NULL, NULL, run->x, NULL, e->w.norm_w, e->w.norm_b, T, s->C,
                           s->eps);
    return run->x;
}

/* Position tables and turns of other versions, the heads of other tasks. */
static const char *const surplus[] = {"embeddings.position_embeddings.",
                                      "embeddings.position_ids",
                                      "rotary_embeddings.inv_freq",
                                      "contact_head.",
                                      "pooler.dense.",
                                      "lm_head.",
                                      NULL};

static const char *const head[DNAS_HEAD_TENSORS] = {
    "lm_head.dense.weight",    "lm_head.dense.bias",     "lm_head.layer_norm.weight",
    "lm_head.layer_norm.bias", "lm_head.decoder.weight", "lm_head.bias"};

const struct dnas_backbone dnas_esm = {
    .name = "esm",
    .model_type = "esm",
    .first_tensor = "embeddings.word_embeddings.weight",
    .surplus = surplus,
    .head = head,
    .parse = parse,
    .n_tensors = n_tensors,
    .tensor = tensor,
    .prepare = prepare,
    .release = release,
    .run_new = run_new,
    .run_free = run_free,
    .forward = forward,
    .check_shape = dnas_esm_check_shape,
    .mlm_prefix = "esm.",
    .mlm_head = head,
    .net_new = dnas_esm_net_new,
    .net_release = dnas_esm_net_release,
    .config = dnas_esm_net_config,
    .tape = &dnas_esm_tape,
};
