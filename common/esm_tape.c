/* SPDX-License-Identifier: MIT
 *
 * esm_tape.c - one sequence forward and backward through Nucleotide
 * Transformer's network as it is trained.  Contract: esm_net.h.
 *
 * Names of gradients begin with d.  What forward leaves for backward stands in
 * struct kept; the normalised halves' inputs and the gated product are computed
 * again.  Dropout acts where Hugging Face's code has it: on what attention and
 * the feed-forward part add.
 */
#include "common/esm_net.h"

#include <stdlib.h>
#include <string.h>

#include "common/carve.h"
#include "common/esm.h"
#include "common/rng.h"
#include "common/tape.h"
#include "common/xmem.h"
#include "kernels/kernels.h"

/* Of one layer. */
struct kept {
    float *qkv;           /* [T,3C]  turned */
    float *mixed;         /* [T,C]  attention's result */
    float *lse;           /* [H,T] */
    float *middle;        /* [T,C]  between the halves */
    float *mean1, *rstd1; /* [T]  of the layer's input */
    float *mean2, *rstd2; /* [T]  of middle */
    float *wide;          /* [T,2F] */
};

struct tape {
    struct dnas_tape base;
    const struct dnas_esm_net *esm;
    float *normed;      /* [max_T,C]  of either half */
    float *gated;       /* [max_T,F] */
    float *turns;       /* [max_T,C/H] */
    float *scratch;     /* attention's */
    float *last;        /* [max_T,C]  after the last layer norm */
    float *mean, *rstd; /* [max_T]  of its input */
    float *d_sum;       /* [max_T,C] */
    float *d_half;      /* [max_T,C] */
    float *d_wide;      /* [max_T, 3C or 2F] */
};

/* The places where dropout acts, for its counters. */
enum place { PLACE_OUT, PLACE_DOWN };

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
    k->middle = dnas_carve(c, T * s->C, f);
    k->mean1 = dnas_carve(c, T, f);
    k->rstd1 = dnas_carve(c, T, f);
    k->mean2 = dnas_carve(c, T, f);
    k->rstd2 = dnas_carve(c, T, f);
    k->wide = dnas_carve(c, T * 2 * s->F, f);
}

static void carve_tape(struct dnas_tape *tape, struct dnas_carving *c)
{
    struct tape *t = tape_of(tape);
    const struct dnas_shape *s = &tape->net->shape;
    struct kept *kept = tape->kept;
    size_t f = sizeof(float), T = tape->max_T, D = s->C / s->H;
    size_t attention = dnas_cpu_attention_scratch(T, D);

    t->esm = dnas_esm_net_of(tape->net);
    if (tape->with_backward && attention < dnas_cpu_attention_bwd_scratch())
        attention = dnas_cpu_attention_bwd_scratch();
    for (size_t l = 0; l < (tape->with_backward ? s->L : 1); l++)
        carve_layer(&kept[l], c, s, T);
    t->normed = dnas_carve(c, T * s->C, f);
    t->gated = dnas_carve(c, T * s->F, f);
    t->turns = dnas_carve(c, T * D, f);
    t->scratch = dnas_carve(c, attention, f);
    t->last = dnas_carve(c, T * s->C, f);
    t->mean = dnas_carve(c, T, f);
    t->rstd = dnas_carve(c, T, f);
    if (t->turns)
        dnas_cpu_rotary_turns(t->turns, 0, T, D);
    if (!tape->with_backward)
        return;
    t->d_sum = dnas_carve(c, T * s->C, f);
    t->d_half = dnas_carve(c, T * s->C, f);
    t->d_wide = dnas_carve(c, T * (3 * s->C > 2 * s->F ? 3 * s->C : 2 * s->F), f);
}

static struct kept *kept_of(struct tape *t, size_t l)
{
    struct kept *kept = t->base.kept;

    return &kept[t->base.with_backward ? l : 0];
}

/* ---- forward ---- */

static void drop_out(float *x, size_t n, size_t layer, enum place place,
                     const struct dnas_dropout *chance)
{
    dnas_tape_drop_out(x, n, 2 * layer + (size_t)place, chance);
}

/* out = x + dropout(y w^T + bias); out is not x. */
static void add_half(struct tape *t, float *out, const float *x, const float *y, const float *w,
                     const float *bias, size_t l, enum place place, size_t T, size_t I,
                     const struct dnas_dropout *chance)
{
    size_t C = t->base.net->shape.C;

    if (chance->drop == 0) {
        dnas_tape_product(&t->base, out, y, w, bias, x, T, C, I);
        return;
    }
    dnas_tape_product(&t->base, t->normed, y, w, bias, NULL, T, C, I);
    drop_out(t->normed, T * C, l, place, chance);
    memcpy(out, x, T * C * sizeof(*out));
    dnas_cpu_add_rows(out, NULL, t->normed, T, C);
}

static void embed(struct dnas_tape *tape, const uint16_t *ids, size_t T,
                  const struct dnas_dropout *chance)
{
    struct tape *t = tape_of(tape);
    const struct dnas_shape *s = &tape->net->shape;

    (void)chance; /* none here */
    dnas_cpu_embedding_fwd(dnas_tape_input(&t->base, 0), ids, t->esm->view.words, NULL, T, s->V,
                           s->C);
}

/* middle = x + dropout(attention(norm(x))) */
static void attend(struct tape *t, const float *x, size_t l, size_t T,
                   const struct dnas_dropout *chance)
{
    const struct dnas_shape *s = &t->base.net->shape;
    const struct dnas_esm_layer *w = &t->esm->view.layers[l];
    struct kept *k = kept_of(t, l);
    size_t C = s->C;

    dnas_cpu_layernorm_fwd(t->normed, k->mean1, k->rstd1, x, NULL, w->norm1_w, w->norm1_b, T, C,
                           s->eps);
    dnas_tape_product(&t->base, k->qkv, t->normed, w->query_w, NULL, NULL, T, 3 * C, C);
    dnas_esm_turn(k->qkv, w, t->turns, T, C, s->H);
    dnas_cpu_attention_fwd(k->mixed, k->lse, NULL, NULL, k->qkv, NULL, T, C, s->H, 0, t->scratch);
    t->base.flop += 4 * (uint64_t)T * T * C;
    add_half(t, k->middle, x, k->mixed, w->out_w, w->out_b, l, PLACE_OUT, T, C, chance);
}

/* out = middle + dropout(down(gated)) */
static void feed_forward(struct tape *t, float *out, size_t l, size_t T,
                         const struct dnas_dropout *chance)
{
    const struct dnas_shape *s = &t->base.net->shape;
    const struct dnas_esm_layer *w = &t->esm->view.layers[l];
    struct kept *k = kept_of(t, l);

    dnas_cpu_layernorm_fwd(t->normed, k->mean2, k->rstd2, k->middle, NULL, w->norm2_w, w->norm2_b,
                           T, s->C, s->eps);
    dnas_tape_product(&t->base, k->wide, t->normed, w->gated_w, NULL, NULL, T, 2 * s->F, s->C);
    dnas_cpu_swiglu_fwd(t->gated, k->wide, T, s->F);
    add_half(t, out, k->middle, t->gated, w->down_w, NULL, l, PLACE_DOWN, T, s->F, chance);
}

static const float *forward(struct dnas_tape *tape, size_t from, size_t to, size_t T,
                            const struct dnas_dropout *chance)
{
    struct tape *t = tape_of(tape);
    const struct dnas_shape *s = &tape->net->shape;
    const struct dnas_esm_weights *w = &t->esm->view;

    for (size_t l = from; l < to; l++) {
        attend(t, dnas_tape_input(&t->base, l), l, T, chance);
        feed_forward(t, dnas_tape_input(&t->base, l + 1), l, T, chance);
    }
    if (to < s->L)
        return dnas_tape_input(&t->base, to);
    dnas_cpu_layernorm_fwd(t->last, t->mean, t->rstd, dnas_tape_input(&t->base, to), NULL,
                           w->norm_w, w->norm_b, T, s->C, s->eps);
    return t->last;
}

/* ---- backward ---- */

/* Slots of dnas_turns: four a layer, then the last layer norm and the words. */
enum part { PART_DOWN, PART_GATED, PART_OUT, PART_QKV, N_PARTS };
enum { BEHIND_LAST, BEHIND_WORDS, N_BEHIND };

static size_t n_slots(const struct dnas_net *net)
{
    return N_PARTS * net->shape.L + N_BEHIND;
}

/* The normalised rows again: (x - mean) rstd w + b. */
static void norm_again(struct tape *t, const float *x, const float *w, const float *bias, size_t T)
{
    const struct dnas_shape *s = &t->base.net->shape;

    dnas_cpu_layernorm_fwd(t->normed, NULL, NULL, x, NULL, w, bias, T, s->C, s->eps);
}

/* dx, of the layer's result, becomes that of middle. */
static void feed_backward(struct tape *t, float *dx, size_t l, size_t T,
                          const struct dnas_dropout *chance, const struct dnas_net_order *order)
{
    const struct dnas_net *net = t->base.net;
    const struct dnas_esm_layer *w = &t->esm->view.layers[l];
    const struct kept *k = kept_of(t, l);
    size_t C = net->shape.C, F = net->shape.F, slot = N_PARTS * l;

    memcpy(t->d_half, dx, T * C * sizeof(*dx));
    drop_out(t->d_half, T * C, l, PLACE_DOWN, chance);
    dnas_cpu_swiglu_fwd(t->gated, k->wide, T, F);
    dnas_net_wait(order, slot + PART_DOWN);
    dnas_tape_product_bwd_weight(&t->base, w->down_w, NULL, t->d_half, t->gated, T, C, F);
    dnas_net_pass(order, slot + PART_DOWN);

    dnas_tape_product_bwd(&t->base, t->gated, t->d_half, w->down_w, NULL, T, C, F);
    dnas_cpu_swiglu_bwd(t->d_wide, t->gated, k->wide, T, F); /* gated is now its gradient */
    norm_again(t, k->middle, w->norm2_w, w->norm2_b, T);
    dnas_tape_product_bwd(&t->base, t->d_half, t->d_wide, w->gated_w, NULL, T, 2 * F, C);
    dnas_net_wait(order, slot + PART_GATED);
    dnas_tape_product_bwd_weight(&t->base, w->gated_w, NULL, t->d_wide, t->normed, T, 2 * F, C);
    dnas_tape_norm_bwd_weight(&t->base, w->norm2_w, w->norm2_b, t->d_half, k->middle, k->mean2,
                              k->rstd2, T);
    dnas_net_pass(order, slot + PART_GATED);
    dnas_cpu_layernorm_bwd(t->d_half, t->d_half, k->middle, k->mean2, k->rstd2, w->norm2_w, T, C);
    dnas_cpu_add_rows(dx, NULL, t->d_half, T, C);
}

/* The sums of dqkv's columns, added to the gradients of the three biases. */
static void add_biases(struct tape *t, const struct dnas_esm_layer *w, const float *d_qkv, size_t T)
{
    const float *const bias[3] = {w->query_b, w->key_b, w->value_b};
    size_t C = t->base.net->shape.C;
    float *part_of = t->d_sum; /* [T,C]  one of the three by itself */

    for (size_t part = 0; part < 3; part++) {
        float *to = dnas_net_grad(t->base.net, bias[part]);

        for (size_t i = 0; i < T; i++)
            memcpy(part_of + i * C, d_qkv + (3 * i + part) * C, C * sizeof(*part_of));
        dnas_cpu_columns_sum(to, part_of, T, C);
    }
}

/* dx, of middle, becomes that of the layer's input x. */
static void attend_backward(struct tape *t, float *dx, const float *x, size_t l, size_t T,
                            const struct dnas_dropout *chance, const struct dnas_net_order *order)
{
    const struct dnas_net *net = t->base.net;
    const struct dnas_esm_layer *w = &t->esm->view.layers[l];
    const struct kept *k = kept_of(t, l);
    size_t C = net->shape.C, H = net->shape.H, slot = N_PARTS * l;
    float *d_qkv = t->d_wide;

    memcpy(t->d_half, dx, T * C * sizeof(*dx));
    drop_out(t->d_half, T * C, l, PLACE_OUT, chance);
    dnas_net_wait(order, slot + PART_OUT);
    dnas_tape_product_bwd_weight(&t->base, w->out_w, w->out_b, t->d_half, k->mixed, T, C, C);
    dnas_net_pass(order, slot + PART_OUT);

    dnas_tape_product_bwd(&t->base, t->d_sum, t->d_half, w->out_w, NULL, T, C, C); /* of mixed */
    dnas_cpu_attention_bwd(d_qkv, t->d_sum, k->mixed, k->lse, NULL, k->qkv, NULL, T, C, H,
                           t->scratch);
    t->base.flop += 10 * (uint64_t)T * T * C;
    dnas_cpu_rotary(d_qkv, t->turns, T, 2 * H, C / H, 3 * C, 1);
    norm_again(t, x, w->norm1_w, w->norm1_b, T);
    dnas_tape_product_bwd(&t->base, t->d_half, d_qkv, w->query_w, NULL, T, 3 * C, C);
    dnas_net_wait(order, slot + PART_QKV);
    dnas_tape_product_bwd_weight(&t->base, w->query_w, NULL, d_qkv, t->normed, T, 3 * C, C);
    add_biases(t, w, d_qkv, T);
    dnas_tape_norm_bwd_weight(&t->base, w->norm1_w, w->norm1_b, t->d_half, x, k->mean1, k->rstd1,
                              T);
    dnas_net_pass(order, slot + PART_QKV);
    dnas_cpu_layernorm_bwd(t->d_half, t->d_half, x, k->mean1, k->rstd1, w->norm1_w, T, C);
    dnas_cpu_add_rows(dx, NULL, t->d_half, T, C);
}

static void backward(struct dnas_tape *tape, float *dx, size_t from, size_t to, size_t T,
                     const struct dnas_dropout *chance, const struct dnas_net_order *order)
{
    struct tape *t = tape_of(tape);
    const struct dnas_net *net = tape->net;
    const struct dnas_esm_weights *w = &t->esm->view;
    size_t L = net->shape.L;

    if (to == L) {
        dnas_net_wait(order, N_PARTS * L + BEHIND_LAST);
        dnas_tape_norm_bwd_weight(&t->base, w->norm_w, w->norm_b, dx, dnas_tape_input(&t->base, L),
                                  t->mean, t->rstd, T);
        dnas_net_pass(order, N_PARTS * L + BEHIND_LAST);
        dnas_cpu_layernorm_bwd(dx, dx, dnas_tape_input(&t->base, L), t->mean, t->rstd, w->norm_w, T,
                               net->shape.C);
    }
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
    const struct dnas_net *net = tape->net;
    const struct dnas_shape *s = &net->shape;
    float *d_words = dnas_net_grad(net, t->esm->view.words);

    (void)chance;
    dnas_net_wait(order, N_PARTS * s->L + BEHIND_WORDS);
    dnas_cpu_embedding_bwd(d_words, dx, ids, T, s->V, s->C);
    if (freeze_first)
        memset(d_words, 0, s->C * sizeof(*d_words));
    dnas_net_pass(order, N_PARTS * s->L + BEHIND_WORDS);
}

const struct dnas_tape_functions dnas_esm_tape = {
    .size = sizeof(struct tape),
    .kept_size = sizeof(struct kept),
    .carve = carve_tape,
    .n_slots = n_slots,
    .embed = embed,
    .forward = forward,
    .backward = backward,
    .backward_embed = backward_embed,
};
