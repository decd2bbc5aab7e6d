/* SPDX-License-Identifier: MIT
 *
 * bert_tape.c - one sequence forward and backward through the network that is
 * trained.  Contract: bert_net.h.
 *
 * Names of gradients begin with d.  What forward leaves for backward stands in
 * struct kept; what can be had again for a few operations a value (the gated
 * product, the sum of embeddings) is computed again.
 */
#include "common/bert_net.h"

#include <stdlib.h>
#include <string.h>

#include "common/carve.h"
#include "common/tape.h"
#include "common/xmem.h"
#include "kernels/kernels.h"

/* Of one layer. */
struct kept {
    float *qkv;           /* [T,3C] */
    float *mixed;         /* [T,C]  attention's result */
    float *lse;           /* [H,T] */
    uint32_t *ranges;     /* [H,blocks,2] */
    float *sum1, *sum2;   /* [T,C]  what the layer norms normalised */
    float *mean1, *rstd1; /* [T] */
    float *mean2, *rstd2; /* [T] */
    float *middle;        /* [T,C]  after the first layer norm */
    float *wide;          /* [T,2F] */
};

struct tape {
    struct dnas_tape base;
    const struct dnas_bert_net *bert;
    float *gated;         /* [max_T,F] */
    float *scratch;       /* attention's */
    float *mean0, *rstd0; /* [max_T] of the embedding's layer norm */
    float *d_sum;         /* [max_T,C] */
    float *d_middle;      /* [max_T,C] */
    float *d_wide;        /* [max_T, 3C or 2F] */
};

static struct tape *tape_of(struct dnas_tape *tape)
{
    return (struct tape *)tape;
}

/* ---- memory ---- */

static void carve_layer(struct kept *k, struct dnas_carving *c, const struct dnas_shape *s,
                        size_t T)
{
    size_t f = sizeof(float);

    k->qkv = dnas_carve(c, T * 3 * s->C, f);
    k->mixed = dnas_carve(c, T * s->C, f);
    k->lse = dnas_carve(c, s->H * T, f);
    k->ranges = dnas_carve(c, s->H * dnas_cpu_attention_blocks(T) * 2, sizeof(*k->ranges));
    k->sum1 = dnas_carve(c, T * s->C, f);
    k->sum2 = dnas_carve(c, T * s->C, f);
    k->mean1 = dnas_carve(c, T, f);
    k->rstd1 = dnas_carve(c, T, f);
    k->mean2 = dnas_carve(c, T, f);
    k->rstd2 = dnas_carve(c, T, f);
    k->middle = dnas_carve(c, T * s->C, f);
    k->wide = dnas_carve(c, T * 2 * s->F, f);
}

static void carve_tape(struct dnas_tape *tape, struct dnas_carving *c)
{
    struct tape *t = tape_of(tape);
    const struct dnas_shape *s = &tape->net->shape;
    struct kept *kept = tape->kept;
    size_t f = sizeof(float), T = tape->max_T;
    size_t attention = dnas_cpu_attention_scratch(T, s->C / s->H);

    t->bert = dnas_bert_net_of(tape->net);
    if (tape->with_backward && attention < dnas_cpu_attention_bwd_scratch())
        attention = dnas_cpu_attention_bwd_scratch();
    for (size_t l = 0; l < (tape->with_backward ? s->L : 1); l++)
        carve_layer(&kept[l], c, s, T);
    t->gated = dnas_carve(c, T * s->F, f);
    t->scratch = dnas_carve(c, attention, f);
    t->mean0 = dnas_carve(c, T, f);
    t->rstd0 = dnas_carve(c, T, f);
    if (!tape->with_backward)
        return;
    t->d_sum = dnas_carve(c, T * s->C, f);
    t->d_middle = dnas_carve(c, T * s->C, f);
    t->d_wide = dnas_carve(c, T * (3 * s->C > 2 * s->F ? 3 * s->C : 2 * s->F), f);
}

static struct kept *kept_of(struct tape *t, size_t l)
{
    struct kept *kept = t->base.kept;

    return &kept[t->base.with_backward ? l : 0];
}

/* ---- forward ---- */

static void drop_out(float *x, size_t n, size_t layer, enum dnas_bert_place place,
                     const struct dnas_dropout *chance)
{
    dnas_tape_drop_out(x, n, dnas_bert_dropout_site(layer, place), chance);
}

static void embed(struct dnas_tape *tape, const uint16_t *ids, size_t T,
                  const struct dnas_dropout *chance)
{
    struct tape *t = tape_of(tape);
    const struct dnas_shape *s = &t->base.net->shape;
    const struct dnas_bert_weights *w = &t->bert->view;
    float *x = dnas_tape_input(&t->base, 0);

    dnas_cpu_embedding_fwd(x, ids, w->words, w->types, T, s->V, s->C);
    dnas_cpu_layernorm_fwd(x, t->mean0, t->rstd0, x, NULL, w->norm_w, w->norm_b, T, s->C, s->eps);
    drop_out(x, T * s->C, 0, DNAS_BERT_EMBEDDING, chance);
}

/* middle = norm(dropout(attention(x)) + x) */
static void attend(struct tape *t, const float *x, size_t l, size_t T,
                   const struct dnas_dropout *chance)
{
    const struct dnas_net *net = t->base.net;
    const struct dnas_bert_layer *w = &t->bert->view.layers[l];
    struct kept *k = kept_of(t, l);
    size_t C = net->shape.C;
    uint64_t n_scores = 0;

    dnas_tape_product(&t->base, k->qkv, x, w->qkv_w, w->qkv_b, NULL, T, 3 * C, C);
    dnas_cpu_attention_fwd(k->mixed, k->lse, k->ranges, &n_scores, k->qkv, t->bert->slopes, T, C,
                           net->shape.H, 1, t->scratch);
    t->base.flop += 4 * n_scores * (C / net->shape.H);
    if (chance->drop > 0) {
        dnas_tape_product(&t->base, k->sum1, k->mixed, w->out_w, w->out_b, NULL, T, C, C);
        drop_out(k->sum1, T * C, l, DNAS_BERT_OUT, chance);
        dnas_cpu_add_rows(k->sum1, NULL, x, T, C);
    } else {
        dnas_tape_product(&t->base, k->sum1, k->mixed, w->out_w, w->out_b, x, T, C, C);
    }
    dnas_cpu_layernorm_fwd(k->middle, k->mean1, k->rstd1, k->sum1, NULL, w->norm1_w, w->norm1_b, T,
                           C, net->shape.eps);
}

/* gated = dropout(gelu(z) gate) with wide = [z | gate] */
static void gate(struct tape *t, const struct kept *k, size_t l, size_t T,
                 const struct dnas_dropout *chance)
{
    size_t F = t->base.net->shape.F;

    dnas_cpu_geglu_fwd(t->gated, k->wide, T, F);
    drop_out(t->gated, T * F, l, DNAS_BERT_GATED, chance);
}

/* out = norm(down(gated) + middle) */
static void feed_forward(struct tape *t, float *out, size_t l, size_t T,
                         const struct dnas_dropout *chance)
{
    const struct dnas_shape *s = &t->base.net->shape;
    const struct dnas_bert_layer *w = &t->bert->view.layers[l];
    struct kept *k = kept_of(t, l);

    dnas_tape_product(&t->base, k->wide, k->middle, w->gated_w, NULL, NULL, T, 2 * s->F, s->C);
    gate(t, k, l, T, chance);
    dnas_tape_product(&t->base, k->sum2, t->gated, w->down_w, w->down_b, k->middle, T, s->C, s->F);
    dnas_cpu_layernorm_fwd(out, k->mean2, k->rstd2, k->sum2, NULL, w->norm2_w, w->norm2_b, T, s->C,
                           s->eps);
}

static const float *forward(struct dnas_tape *tape, size_t from, size_t to, size_t T,
                            const struct dnas_dropout *chance)
{
    struct tape *t = tape_of(tape);

    for (size_t l = from; l < to; l++) {
        attend(t, dnas_tape_input(&t->base, l), l, T, chance);
        feed_forward(t, dnas_tape_input(&t->base, l + 1), l, T, chance);
    }
    return dnas_tape_input(&t->base, to);
}

/* ---- backward ---- */

/* Slots of dnas_turns: four a layer, then the embedding. */
enum part { PART_DOWN, PART_GATED, PART_OUT, PART_QKV, N_PARTS };

static size_t n_slots(const struct dnas_net *net)
{
    return N_PARTS * net->shape.L + 1;
}

/* From dx, of the layer's result, d_middle. */
static void feed_backward(struct tape *t, const float *dx, size_t l, size_t T,
                          const struct dnas_dropout *chance, const struct dnas_net_order *order)
{
    const struct dnas_net *net = t->base.net;
    const struct dnas_bert_layer *w = &t->bert->view.layers[l];
    const struct kept *k = kept_of(t, l);
    size_t C = net->shape.C, F = net->shape.F, slot = N_PARTS * l;

    dnas_cpu_layernorm_bwd(t->d_sum, dx, k->sum2, k->mean2, k->rstd2, w->norm2_w, T, C);
    gate(t, k, l, T, chance);
    dnas_net_wait(order, slot + PART_DOWN);
    dnas_tape_norm_bwd_weight(&t->base, w->norm2_w, w->norm2_b, dx, k->sum2, k->mean2, k->rstd2, T);
    dnas_tape_product_bwd_weight(&t->base, w->down_w, w->down_b, t->d_sum, t->gated, T, C, F);
    dnas_net_pass(order, slot + PART_DOWN);

    dnas_tape_product_bwd(&t->base, t->gated, t->d_sum, w->down_w, NULL, T, C,
                          F); /* now its gradient */
    drop_out(t->gated, T * F, l, DNAS_BERT_GATED, chance);
    dnas_cpu_geglu_bwd(t->d_wide, t->gated, k->wide, T, F);
    dnas_net_wait(order, slot + PART_GATED);
    dnas_tape_product_bwd_weight(&t->base, w->gated_w, NULL, t->d_wide, k->middle, T, 2 * F, C);
    dnas_net_pass(order, slot + PART_GATED);
    dnas_tape_product_bwd(&t->base, t->d_middle, t->d_wide, w->gated_w, t->d_sum, T, 2 * F, C);
}

/* From d_middle dx, of the layer's input x. */
static void attend_backward(struct tape *t, float *dx, const float *x, size_t l, size_t T,
                            const struct dnas_dropout *chance, const struct dnas_net_order *order)
{
    const struct dnas_net *net = t->base.net;
    const struct dnas_bert_layer *w = &t->bert->view.layers[l];
    const struct kept *k = kept_of(t, l);
    size_t C = net->shape.C, H = net->shape.H, slot = N_PARTS * l;
    float *d_out = t->d_middle, *d_mixed = dx, *d_qkv = t->d_wide;
    uint64_t blocks = 0, n = dnas_cpu_attention_blocks(T);

    dnas_cpu_layernorm_bwd(t->d_sum, t->d_middle, k->sum1, k->mean1, k->rstd1, w->norm1_w, T, C);
    dnas_net_wait(order, slot + PART_OUT);
    dnas_tape_norm_bwd_weight(&t->base, w->norm1_w, w->norm1_b, t->d_middle, k->sum1, k->mean1,
                              k->rstd1, T);
    memcpy(d_out, t->d_sum, T * C * sizeof(*d_out));
    drop_out(d_out, T * C, l, DNAS_BERT_OUT, chance);
    dnas_tape_product_bwd_weight(&t->base, w->out_w, w->out_b, d_out, k->mixed, T, C, C);
    dnas_net_pass(order, slot + PART_OUT);

    dnas_tape_product_bwd(&t->base, d_mixed, d_out, w->out_w, NULL, T, C, C);
    dnas_cpu_attention_bwd(d_qkv, d_mixed, k->mixed, k->lse, k->ranges, k->qkv, t->bert->slopes, T,
                           C, H, t->scratch);
    for (size_t i = 0; i < H * n; i++)
        blocks += k->ranges[2 * i + 1] - k->ranges[2 * i];
    t->base.flop += 10 * blocks * (uint64_t)((T + n - 1) / n) * ((T + n - 1) / n) * (C / H);
    dnas_net_wait(order, slot + PART_QKV);
    dnas_tape_product_bwd_weight(&t->base, w->qkv_w, w->qkv_b, d_qkv, x, T, 3 * C, C);
    dnas_net_pass(order, slot + PART_QKV);
    dnas_tape_product_bwd(&t->base, dx, d_qkv, w->qkv_w, t->d_sum, T, 3 * C, C);
}

static void backward(struct dnas_tape *tape, float *dx, size_t from, size_t to, size_t T,
                     const struct dnas_dropout *chance, const struct dnas_net_order *order)
{
    struct tape *t = tape_of(tape);

    for (size_t l = to; l-- > from;) {
        feed_backward(t, dx, l, T, chance, order);
        attend_backward(t, dx, dnas_tape_input(&t->base, l), l, T, chance, order);
    }
}

static void backward_embed(struct dnas_tape *tape, float *dx, const uint16_t *ids, size_t T,
                           bool freeze_first, const struct dnas_dropout *chance,
                           const struct dnas_net_order *order)
{
    struct tape *t = tape_of(tape);
    const struct dnas_net *net = t->base.net;
    const struct dnas_shape *s = &net->shape;
    const struct dnas_bert_weights *w = &t->bert->view;
    float *d_words = dnas_net_grad(net, w->words), *sum = t->d_middle;

    drop_out(dx, T * s->C, 0, DNAS_BERT_EMBEDDING, chance);
    dnas_cpu_embedding_fwd(sum, ids, w->words, w->types, T, s->V, s->C);
    dnas_cpu_layernorm_bwd(t->d_sum, dx, sum, t->mean0, t->rstd0, w->norm_w, T, s->C);
    dnas_net_wait(order, N_PARTS * s->L);
    dnas_tape_norm_bwd_weight(&t->base, w->norm_w, w->norm_b, dx, sum, t->mean0, t->rstd0, T);
    dnas_cpu_embedding_bwd(d_words, t->d_sum, ids, T, s->V, s->C);
    if (freeze_first)
        memset(d_words, 0, s->C * sizeof(*d_words));
    dnas_cpu_columns_sum(dnas_net_grad(net, w->types), t->d_sum, T, s->C);
    dnas_net_pass(order, N_PARTS * s->L);
}

const struct dnas_tape_functions dnas_bert_tape = {
    .size = sizeof(struct tape),
    .kept_size = sizeof(struct kept),
    .carve = carve_tape,
    .n_slots = n_slots,
    .embed = embed,
    .forward = forward,
    .backward = backward,
    .backward_embed = backward_embed,
};
