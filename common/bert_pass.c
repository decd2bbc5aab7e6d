/* SPDX-License-Identifier: MIT
 *
 * bert_pass.c - DNABERT-2's network forward and backward as calls of the CUDA
 * library.  Contract: pass.h; bert_tape.c is the same for a sequence on the CPU.
 *
 * Names of gradients begin with d.  A token takes about (8 C + 2 F) numbers a
 * layer, and 2 C + 3 F more once.
 */
#include "common/bert_pass.h"

#include <stdlib.h>

#include "common/bert_net.h"
#include "common/bert_packed.h"
#include "common/carve.h"
#include "common/xmem.h"

/* Of one layer, rows of all passes. */
struct kept {
    char *qkv;            /* [room,3C] */
    char *mixed;          /* [room,C]  attention's result */
    float *lse;           /* [H,T] of each pass, from H first on */
    char *sum1, *sum2;    /* [room,C]  what the layer norms normalised */
    float *mean1, *rstd1; /* [room] */
    float *mean2, *rstd2; /* [room] */
    char *middle;         /* [room,C]  after the first layer norm */
    char *wide;           /* [room,2F] */
};

struct passes {
    struct dnas_passes base;
    const struct dnas_cuda_api *api;
    struct dnas_cuda *device;
    enum dnas_cuda_type type;
    size_t size; /* of a number of the type */
    char *memory;
    char *x;              /* [L + 1][room,C]  inputs of the layers */
    float *mean0, *rstd0; /* [room]  of the embedding's layer norm */
    struct kept *kept;    /* [L] */
    char *gated;          /* [room,F] */
    char *d_sum;          /* [room,C] */
    char *d_middle;       /* [room,C] */
    char *d_wide;         /* [room, 3C or 2F] */
};

static struct passes *of(struct dnas_passes *p)
{
    return (struct passes *)p;
}

/* ---- memory ---- */

static void carve_layer(struct kept *k, struct dnas_carving *c, const struct dnas_shape *s,
                        size_t T, size_t size)
{
    k->qkv = dnas_carve(c, T * 3 * s->C, size);
    k->mixed = dnas_carve(c, T * s->C, size);
    k->lse = dnas_carve(c, T * s->H, sizeof(float));
    k->sum1 = dnas_carve(c, T * s->C, size);
    k->sum2 = dnas_carve(c, T * s->C, size);
    k->mean1 = dnas_carve(c, T, sizeof(float));
    k->rstd1 = dnas_carve(c, T, sizeof(float));
    k->mean2 = dnas_carve(c, T, sizeof(float));
    k->rstd2 = dnas_carve(c, T, sizeof(float));
    k->middle = dnas_carve(c, T * s->C, size);
    k->wide = dnas_carve(c, T * 2 * s->F, size);
}

static void carve_all(struct passes *p, struct dnas_carving *c, const struct dnas_shape *s,
                      size_t T)
{
    size_t wide = 3 * s->C > 2 * s->F ? 3 * s->C : 2 * s->F;

    p->x = dnas_carve(c, (s->L + 1) * T * s->C, p->size);
    p->mean0 = dnas_carve(c, T, sizeof(float));
    p->rstd0 = dnas_carve(c, T, sizeof(float));
    for (size_t l = 0; l < s->L; l++)
        carve_layer(&p->kept[l], c, s, T, p->size);
    p->gated = dnas_carve(c, T * s->F, p->size);
    p->d_sum = dnas_carve(c, T * s->C, p->size);
    p->d_middle = dnas_carve(c, T * s->C, p->size);
    p->d_wide = dnas_carve(c, T * wide, p->size);
}

static size_t size_of(enum dnas_cuda_type type)
{
    return type == DNAS_CUDA_F32 ? sizeof(float) : sizeof(uint16_t);
}

static uint64_t bytes(const struct dnas_net *net, enum dnas_cuda_type type, size_t room)
{
    struct passes p = {.size = size_of(type)};
    struct dnas_carving c = {NULL, 0};

    p.kept = dnas_xzalloc(net->shape.L, sizeof(*p.kept));
    carve_all(&p, &c, &net->shape, room);
    free(p.kept);
    return c.used;
}

static struct dnas_passes *create(const struct dnas_net_cuda *net, size_t room)
{
    struct passes *p = dnas_xzalloc(1, sizeof(*p));
    const struct dnas_shape *s = &net->net->shape;
    struct dnas_carving c = {NULL, 0};

    p->base = (struct dnas_passes){.net = net, .room = room};
    p->api = net->gpu->api;
    p->device = net->gpu->device;
    p->type = net->type;
    p->size = size_of(net->type);
    p->kept = dnas_xzalloc(s->L, sizeof(*p->kept));
    p->memory = p->api->alloc(p->device, bytes(net->net, net->type, room));
    c.base = p->memory;
    if (p->memory) {
        carve_all(p, &c, s, room);
        return &p->base;
    }
    free(p->kept);
    free(p);
    return NULL;
}

static void release(struct dnas_passes *base)
{
    struct passes *p = of(base);

    p->api->free(p->device, p->memory);
    free(p->kept);
    free(p);
}

static struct dnas_cuda_pack *pack_new(const struct dnas_net_cuda *net, size_t max_T, size_t max_B)
{
    const struct dnas_shape *s = &net->net->shape;

    return net->gpu->api->pack_new(net->gpu->device, max_T, max_B, s->H, s->C / s->H,
                                   dnas_bert_net_of(net->net)->slopes);
}

/* ---- parts ---- */

static const struct dnas_bert_weights *weights(const struct passes *p)
{
    return &dnas_bert_net_of(p->base.net->net)->view;
}

static const struct dnas_bert_layer *layer(const struct passes *p, size_t l)
{
    return &weights(p)->layers[l];
}

static const struct dnas_shape *shape(const struct passes *p)
{
    return &p->base.net->net->shape;
}

static const float *at(const struct passes *p, const float *w)
{
    return dnas_net_cuda_at(p->base.net, w);
}

static float *grad(const struct passes *p, const float *w)
{
    return dnas_net_cuda_grad(p->base.net, w);
}

/* The pass' rows of an array of rows of `width` numbers. */
static char *rows(const struct passes *p, char *array, const struct dnas_pass *y, size_t width)
{
    return array + y->first * width * p->size;
}

static void *input(const struct dnas_passes *base, const struct dnas_pass *y, size_t l)
{
    const struct passes *p = (const struct passes *)base;
    size_t C = shape(p)->C;

    return rows(p, p->x + l * p->base.room * C * p->size, y, C);
}

/* What is kept of a layer, for this pass. */
static struct kept kept_of(const struct passes *p, const struct dnas_pass *y, size_t l)
{
    const struct kept *k = &p->kept[l];
    size_t C = shape(p)->C, F = shape(p)->F;

    return (struct kept){
        .qkv = rows(p, k->qkv, y, 3 * C),
        .mixed = rows(p, k->mixed, y, C),
        .lse = k->lse + y->first * shape(p)->H,
        .sum1 = rows(p, k->sum1, y, C),
        .sum2 = rows(p, k->sum2, y, C),
        .mean1 = k->mean1 + y->first,
        .rstd1 = k->rstd1 + y->first,
        .mean2 = k->mean2 + y->first,
        .rstd2 = k->rstd2 + y->first,
        .middle = rows(p, k->middle, y, C),
        .wide = rows(p, k->wide, y, 2 * F),
    };
}

/* out = x w^T + bias + add, O by I. */
static void product(struct passes *p, void *out, const void *x, const float *w, const float *bias,
                    const void *add, size_t T, size_t O, size_t I)
{
    p->base.flop += 2 * (uint64_t)T * O * I;
    p->api->linear_fwd(p->device, out, x, dnas_net_cuda_matrix(p->base.net, w),
                       bias ? at(p, bias) : NULL, add, T, O, I, p->type);
}

static void product_bwd(struct passes *p, void *dx, const void *dout, const float *w,
                        const void *add, size_t T, size_t O, size_t I)
{
    p->base.flop += 2 * (uint64_t)T * O * I;
    p->api->linear_bwd(p->device, dx, dout, dnas_net_cuda_matrix(p->base.net, w), add, T, O, I,
                       p->type);
}

static void product_bwd_weight(struct passes *p, const float *w, const float *bias,
                               const void *dout, const void *y, size_t T, size_t O, size_t I)
{
    p->base.flop += 2 * (uint64_t)T * O * I;
    p->api->linear_bwd_weight(p->device, grad(p, w), bias ? grad(p, bias) : NULL, dout, y, T, O, I,
                              p->type);
}

static void norm(struct passes *p, void *out, float *mean, float *rstd, const void *x,
                 const float *w, const float *bias, size_t T)
{
    p->api->layernorm_fwd(p->device, out, mean, rstd, x, at(p, w), at(p, bias), T, shape(p)->C,
                          shape(p)->eps, p->type);
}

static void norm_bwd(struct passes *p, void *dx, const void *dout, const void *x, const float *mean,
                     const float *rstd, const float *w, const float *bias, size_t T)
{
    p->api->layernorm_bwd(p->device, dx, grad(p, w), grad(p, bias), dout, x, mean, rstd, at(p, w),
                          T, shape(p)->C, p->type);
}

/* x = dropped x + add; add NULL: 0. */
static void drop_out(struct passes *p, const struct dnas_pass *y, void *x, const void *add,
                     size_t width, size_t l, enum dnas_bert_place place)
{
    const struct dnas_dropout *c = &y->chance;
    const uint32_t key[2] = {(uint32_t)c->seed, (uint32_t)(c->seed >> 32)};

    if (c->drop > 0)
        p->api->dropout(p->device, x, add, y->pack, y->row, width, c->drop, c->step,
                        dnas_dropout_counter(dnas_bert_dropout_site(l, place)), key, p->type);
}

/* ---- forward ---- */

/* The sum of embeddings that is then normalised. */
static void sum_embeddings(struct passes *p, const struct dnas_pass *y, void *out)
{
    p->api->embedding_rows(p->device, out, y->ids, at(p, weights(p)->words),
                           at(p, weights(p)->types), y->T, shape(p)->C, p->type);
}

static void embed(struct dnas_passes *base, const struct dnas_pass *y)
{
    struct passes *p = of(base);
    const struct dnas_bert_weights *w = weights(p);
    void *x = input(base, y, 0);

    sum_embeddings(p, y, x);
    norm(p, x, p->mean0 + y->first, p->rstd0 + y->first, x, w->norm_w, w->norm_b, y->T);
    drop_out(p, y, x, NULL, shape(p)->C, 0, DNAS_BERT_EMBEDDING);
}

/* middle = norm(dropout(attention(x)) + x) */
static void attend(struct passes *p, const struct dnas_pass *y, const void *x, size_t l)
{
    const struct dnas_bert_layer *w = layer(p, l);
    const struct kept k = kept_of(p, y, l);
    size_t C = shape(p)->C;
    bool drops = y->chance.drop > 0;

    product(p, k.qkv, x, w->qkv_w, w->qkv_b, NULL, y->T, 3 * C, C);
    p->api->attention_fwd(p->device, k.mixed, k.lse, k.qkv, y->pack, 1, p->type);
    p->base.flop += 4 * y->n_scores * C;
    product(p, k.sum1, k.mixed, w->out_w, w->out_b, drops ? NULL : x, y->T, C, C);
    drop_out(p, y, k.sum1, x, C, l, DNAS_BERT_OUT);
    norm(p, k.middle, k.mean1, k.rstd1, k.sum1, w->norm1_w, w->norm1_b, y->T);
}

/* gated = dropout(gelu(z) gate) with wide = [z | gate] */
static void gate(struct passes *p, const struct dnas_pass *y, const void *wide, size_t l)
{
    size_t F = shape(p)->F;

    p->api->geglu_fwd(p->device, p->gated, wide, y->T, F, p->type);
    drop_out(p, y, p->gated, NULL, F, l, DNAS_BERT_GATED);
}

/* out = norm(down(gated) + middle) */
static void feed_forward(struct passes *p, const struct dnas_pass *y, void *out, size_t l)
{
    const struct dnas_bert_layer *w = layer(p, l);
    const struct kept k = kept_of(p, y, l);
    size_t C = shape(p)->C, F = shape(p)->F;

    product(p, k.wide, k.middle, w->gated_w, NULL, NULL, y->T, 2 * F, C);
    gate(p, y, k.wide, l);
    product(p, k.sum2, p->gated, w->down_w, w->down_b, k.middle, y->T, C, F);
    norm(p, out, k.mean2, k.rstd2, k.sum2, w->norm2_w, w->norm2_b, y->T);
}

static void forward(struct dnas_passes *base, const struct dnas_pass *y, size_t from, size_t to)
{
    struct passes *p = of(base);

    for (size_t l = from; l < to; l++) {
        attend(p, y, input(base, y, l), l);
        feed_forward(p, y, input(base, y, l + 1), l);
    }
}

/* ---- backward ---- */

/* From dx, of the layer's result, d_middle. */
static void feed_backward(struct passes *p, const struct dnas_pass *y, const void *dx, size_t l)
{
    const struct dnas_bert_layer *w = layer(p, l);
    const struct kept k = kept_of(p, y, l);
    size_t C = shape(p)->C, F = shape(p)->F;

    norm_bwd(p, p->d_sum, dx, k.sum2, k.mean2, k.rstd2, w->norm2_w, w->norm2_b, y->T);
    gate(p, y, k.wide, l);
    product_bwd_weight(p, w->down_w, w->down_b, p->d_sum, p->gated, y->T, C, F);
    product_bwd(p, p->gated, p->d_sum, w->down_w, NULL, y->T, C, F); /* now its gradient */
    drop_out(p, y, p->gated, NULL, F, l, DNAS_BERT_GATED);
    p->api->geglu_bwd(p->device, p->d_wide, p->gated, k.wide, y->T, F, p->type);
    product_bwd_weight(p, w->gated_w, NULL, p->d_wide, k.middle, y->T, 2 * F, C);
    product_bwd(p, p->d_middle, p->d_wide, w->gated_w, p->d_sum, y->T, 2 * F, C);
}

/* From d_middle dx, of the layer's input x. */
static void attend_backward(struct passes *p, const struct dnas_pass *y, void *dx, const void *x,
                            size_t l)
{
    const struct dnas_bert_layer *w = layer(p, l);
    const struct kept k = kept_of(p, y, l);
    size_t C = shape(p)->C;
    char *d_out = p->d_sum, *d_mixed = dx, *d_qkv = p->d_wide;

    norm_bwd(p, p->d_sum, p->d_middle, k.sum1, k.mean1, k.rstd1, w->norm1_w, w->norm1_b, y->T);
    if (y->chance.drop > 0) {
        d_out = p->d_middle;
        p->api->copy(p->device, d_out, p->d_sum, y->T * C * p->size);
        drop_out(p, y, d_out, NULL, C, l, DNAS_BERT_OUT);
    }
    product_bwd_weight(p, w->out_w, w->out_b, d_out, k.mixed, y->T, C, C);
    product_bwd(p, d_mixed, d_out, w->out_w, NULL, y->T, C, C);
    p->api->attention_bwd(p->device, d_qkv, d_mixed, k.mixed, k.lse, k.qkv, y->pack, p->type);
    p->base.flop += 10 * y->n_scores * C;
    product_bwd_weight(p, w->qkv_w, w->qkv_b, d_qkv, x, y->T, 3 * C, C);
    product_bwd(p, dx, d_qkv, w->qkv_w, p->d_sum, y->T, 3 * C, C);
}

static void backward(struct dnas_passes *base, const struct dnas_pass *y, void *dx, size_t from,
                     size_t to)
{
    struct passes *p = of(base);

    for (size_t l = to; l-- > from;) {
        feed_backward(p, y, dx, l);
        attend_backward(p, y, dx, input(base, y, l), l);
    }
}

static void backward_embed(struct dnas_passes *base, const struct dnas_pass *y, void *dx,
                           bool freeze_first)
{
    struct passes *p = of(base);
    const struct dnas_bert_weights *w = weights(p);
    size_t C = shape(p)->C;

    drop_out(p, y, dx, NULL, C, 0, DNAS_BERT_EMBEDDING);
    sum_embeddings(p, y, p->d_middle);
    norm_bwd(p, p->d_sum, dx, p->d_middle, p->mean0 + y->first, p->rstd0 + y->first, w->norm_w,
             w->norm_b, y->T);
    p->api->embedding_bwd(p->device, grad(p, w->words), grad(p, w->types), p->d_sum, y->ids, y->T,
                          shape(p)->V, C, freeze_first, p->type);
}

const struct dnas_pass_backbone dnas_bert_pass = {
    .check = dnas_bert_packed_check,
    .bytes = bytes,
    .create = create,
    .release = release,
    .pack_new = pack_new,
    .embed = embed,
    .input = input,
    .forward = forward,
    .backward = backward,
    .backward_embed = backward_embed,
};
