/* SPDX-License-Identifier: MIT
 *
 * hyena_tape.c - one sequence forward and backward through HyenaDNA's network as it
 * is trained.  Contract: hyena_net.h.
 *
 * Names of gradients begin with d.  What forward leaves for backward stands in
 * struct kept; what a product or a transform is not needed for (layer norms, short
 * convolutions, gates) is computed again.  A filter is evaluated for each sequence:
 * the parameters may have moved.
 */
#include "common/hyena_net.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/carve.h"
#include "common/rng.h"
#include "common/tape.h"
#include "common/xmem.h"
#include "kernels/kernels.h"

/* Of one layer. */
struct kept {
    float *p;             /* [T,3C]  before the short convolution */
    float *k, *y;         /* [T,C]  the filter; the long convolution's result */
    float *middle;        /* [T,C]  after the mixer */
    float *up;            /* [T,F] */
    float *mean1, *rstd1; /* [T] */
    float *mean2, *rstd2; /* [T] */
};

struct tape {
    struct dnas_tape base;
    const struct dnas_hyena_net *hyena;
    size_t M;               /* the transform that `roots` are of; 0: none yet */
    float *out;             /* [max_T,C]  the last layer norm's result */
    float *mean, *rstd;     /* [max_T] of it */
    float *normed;          /* [max_T,C] */
    float *c;               /* [max_T,3C]  after the short convolution: x0, x1, v */
    float *u;               /* [max_T,C] */
    float *wide;            /* [max_T, F or 3C] */
    float *d_norm;          /* [max_T,C] */
    float *roots, *scratch; /* of the long convolution */
    double *filter_scratch, *d_filter;
    float *d_skip; /* [C] */
};

/* ---- memory ---- */

static void carve_layer(struct kept *k, struct dnas_carving *c, const struct dnas_shape *s,
                        size_t T)
{
    size_t f = sizeof(float);

    k->p = dnas_carve(c, T * 3 * s->C, f);
    k->k = dnas_carve(c, T * s->C, f);
    k->y = dnas_carve(c, T * s->C, f);
    k->middle = dnas_carve(c, T * s->C, f);
    k->up = dnas_carve(c, T * s->F, f);
    k->mean1 = dnas_carve(c, T, f);
    k->rstd1 = dnas_carve(c, T, f);
    k->mean2 = dnas_carve(c, T, f);
    k->rstd2 = dnas_carve(c, T, f);
}

static void carve_tape(struct dnas_tape *tape, struct dnas_carving *c)
{
    struct tape *t = (struct tape *)tape;
    const struct dnas_hyena_net *h = dnas_hyena_net_of(tape->net);
    const struct dnas_shape *s = &tape->net->shape;
    struct dnas_hyena_filter filter = dnas_hyena_filter_of(&h->view.layers[0], s, &h->sizes);
    struct kept *kept = tape->kept;
    size_t f = sizeof(float), T = tape->max_T, M = dnas_cpu_longconv_size(T);

    t->hyena = h;
    for (size_t l = 0; l < (tape->with_backward ? s->L : 1); l++)
        carve_layer(&kept[l], c, s, T);
    t->out = dnas_carve(c, T * s->C, f);
    t->mean = dnas_carve(c, T, f);
    t->rstd = dnas_carve(c, T, f);
    t->normed = dnas_carve(c, T * s->C, f);
    t->c = dnas_carve(c, T * 3 * s->C, f);
    t->u = dnas_carve(c, T * s->C, f);
    t->wide = dnas_carve(c, T * (s->F > 3 * s->C ? s->F : 3 * s->C), f);
    t->roots = dnas_carve(c, dnas_cpu_longconv_n_roots(T), f);
    t->scratch = dnas_carve(c, (tape->with_backward ? 3 : 2) * 32 * (uint64_t)M, f);
    t->filter_scratch = dnas_carve(c, dnas_cpu_hyena_filter_scratch(&filter), sizeof(double));
    if (!tape->with_backward)
        return;
    t->d_norm = dnas_carve(c, T * s->C, f);
    t->d_filter = dnas_carve(c, dnas_cpu_hyena_filter_n_grad(&filter), sizeof(double));
    t->d_skip = dnas_carve(c, s->C, f);
}

static struct kept *kept_of(struct tape *t, size_t l)
{
    struct kept *kept = t->base.kept;

    return &kept[t->base.with_backward ? l : 0];
}

static void check_length(const struct tape *t, size_t T)
{
    if (T > t->hyena->net.shape.positions)
        DNAS_BUG("%zu tokens in a network for %zu", T, t->hyena->net.shape.positions);
}

/* ---- forward ---- */

/* n transforms of a length for T, 5 M log2 M operations each. */
static void count_transforms(struct tape *t, size_t n, size_t T)
{
    double M = (double)dnas_cpu_longconv_size(T);

    t->base.flop += (uint64_t)((double)n * 5 * M * log2(M));
}

static void embed(struct dnas_tape *tape, const uint16_t *ids, size_t T,
                  const struct dnas_dropout *chance)
{
    struct tape *t = (struct tape *)tape;
    const struct dnas_shape *s = &t->hyena->net.shape;
    float *x = dnas_tape_input(tape, 0);

    check_length(t, T);
    dnas_cpu_embedding_fwd(x, ids, t->hyena->view.words, NULL, T, s->V, s->C);
    dnas_tape_drop_out(x, T * s->C, 0, chance);
}

/* c = [x0 | x1 | v], u = x1 v */
static void short_convolution(struct tape *t, const struct dnas_hyena_layer *w,
                              const struct kept *k, size_t T)
{
    size_t C = t->hyena->net.shape.C;

    dnas_cpu_shortconv_fwd(t->c, k->p, w->short_w, w->short_b, 0, T, 3 * C);
    dnas_cpu_multiply(t->u, t->c + C, t->c + 2 * C, T, C, C, 3 * C, 3 * C);
}

/* middle = x + out(x0 y) with y the long convolution of u */
static void mix(struct tape *t, const float *x, size_t l, size_t T)
{
    const struct dnas_hyena_net *h = t->hyena;
    const struct dnas_hyena_layer *w = &h->view.layers[l];
    const struct dnas_shape *s = &h->net.shape;
    struct dnas_hyena_filter f = dnas_hyena_filter_of(w, s, &h->sizes);
    struct kept *k = kept_of(t, l);
    size_t C = s->C;

    dnas_cpu_layernorm_fwd(t->normed, k->mean1, k->rstd1, x, NULL, w->norm1_w, w->norm1_b, T, C,
                           s->eps);
    dnas_tape_product(&t->base, k->p, t->normed, w->in_w, w->in_b, NULL, T, 3 * C, C);
    short_convolution(t, w, k, T);
    dnas_cpu_hyena_filter_fwd(k->k, C, 16, &f, 0, T, t->filter_scratch);
    dnas_cpu_longconv_fwd(k->y, t->u, C, 16, k->k, C, 16, w->skip, T, C, t->roots, t->scratch);
    count_transforms(t, 3 * C, T);
    dnas_cpu_multiply(t->normed, k->y, t->c, T, C, C, C, 3 * C);
    dnas_tape_product(&t->base, k->middle, t->normed, w->out_w, w->out_b, x, T, C, C);
}

/* out = middle + down(gelu(up(norm(middle)))) */
static void feed_forward(struct tape *t, float *out, size_t l, size_t T)
{
    const struct dnas_shape *s = &t->hyena->net.shape;
    const struct dnas_hyena_layer *w = &t->hyena->view.layers[l];
    struct kept *k = kept_of(t, l);

    dnas_cpu_layernorm_fwd(t->normed, k->mean2, k->rstd2, k->middle, NULL, w->norm2_w, w->norm2_b,
                           T, s->C, s->eps);
    dnas_tape_product(&t->base, k->up, t->normed, w->up_w, w->up_b, NULL, T, s->F, s->C);
    dnas_cpu_gelu_tanh_fwd(t->wide, k->up, T * s->F);
    dnas_tape_product(&t->base, out, t->wide, w->down_w, w->down_b, k->middle, T, s->C, s->F);
}

static void make_roots(struct tape *t, size_t T)
{
    size_t M = dnas_cpu_longconv_size(T);

    if (M == t->M)
        return;
    dnas_cpu_longconv_roots(t->roots, T);
    t->M = M;
}

static const float *forward(struct dnas_tape *tape, size_t from, size_t to, size_t T,
                            const struct dnas_dropout *chance)
{
    struct tape *t = (struct tape *)tape;
    const struct dnas_shape *s = &t->hyena->net.shape;
    const struct dnas_hyena_weights *w = &t->hyena->view;

    (void)chance; /* nothing is dropped behind the embedding */
    check_length(t, T);
    make_roots(t, T);
    for (size_t l = from; l < to; l++) {
        mix(t, dnas_tape_input(tape, l), l, T);
        feed_forward(t, dnas_tape_input(tape, l + 1), l, T);
    }
    if (to < s->L)
        return dnas_tape_input(tape, to);
    dnas_cpu_layernorm_fwd(t->out, t->mean, t->rstd, dnas_tape_input(tape, to), NULL, w->norm_w,
                           w->norm_b, T, s->C, s->eps);
    return t->out;
}

/* ---- backward ---- */

/* Slots of dnas_turns: five a layer, then the last layer norm and the embedding. */
enum part { PART_DOWN, PART_UP, PART_OUT, PART_MIX, PART_IN, N_PARTS };

static size_t n_slots(const struct dnas_net *net)
{
    return N_PARTS * net->shape.L + 2;
}

/* From dx, of the layer's result, that of middle. */
static void feed_backward(struct tape *t, float *dx, size_t l, size_t T,
                          const struct dnas_net_order *order)
{
    const struct dnas_net *net = &t->hyena->net;
    const struct dnas_hyena_layer *w = &t->hyena->view.layers[l];
    const struct kept *k = kept_of(t, l);
    size_t C = net->shape.C, F = net->shape.F, slot = N_PARTS * l;

    dnas_cpu_gelu_tanh_fwd(t->wide, k->up, T * F);
    dnas_net_wait(order, slot + PART_DOWN);
    dnas_tape_product_bwd_weight(&t->base, w->down_w, w->down_b, dx, t->wide, T, C, F);
    dnas_net_pass(order, slot + PART_DOWN);

    dnas_tape_product_bwd(&t->base, t->wide, dx, w->down_w, NULL, T, C, F);
    dnas_cpu_gelu_tanh_bwd(t->wide, t->wide, k->up, T * F);
    dnas_cpu_layernorm_fwd(t->normed, NULL, NULL, k->middle, NULL, w->norm2_w, w->norm2_b, T, C,
                           net->shape.eps);
    dnas_tape_product_bwd(&t->base, t->d_norm, t->wide, w->up_w, NULL, T, F, C);
    dnas_net_wait(order, slot + PART_UP);
    dnas_tape_product_bwd_weight(&t->base, w->up_w, w->up_b, t->wide, t->normed, T, F, C);
    dnas_tape_norm_bwd_weight(&t->base, w->norm2_w, w->norm2_b, t->d_norm, k->middle, k->mean2,
                              k->rstd2, T);
    dnas_net_pass(order, slot + PART_UP);
    dnas_cpu_layernorm_bwd(t->d_norm, t->d_norm, k->middle, k->mean2, k->rstd2, w->norm2_w, T, C);
    dnas_cpu_add_rows(dx, NULL, t->d_norm, T, C);
}

/* Adds a filter's gradients, which dnas_cpu_hyena_filter_bwd left one after the other. */
static void add_filter(struct tape *t, const struct dnas_hyena_layer *w)
{
    const struct dnas_net *net = &t->hyena->net;
    size_t E = t->hyena->sizes.E, W = t->hyena->sizes.W, C = net->shape.C;
    const struct {
        const float *w;
        size_t n;
    } parts[] = {{w->w0, W * E}, {w->b0, W}, {w->w1, W * W}, {w->b1, W},
                 {w->w2, W * W}, {w->b2, W}, {w->w3, C * W}, {w->freq, W}};
    const double *from = t->d_filter;
    float *d_skip = dnas_net_grad(net, w->skip);

    for (size_t i = 0; i < sizeof(parts) / sizeof(*parts); i++) {
        float *to = dnas_net_grad(net, parts[i].w);

        for (size_t k = 0; k < parts[i].n; k++)
            to[k] += (float)from[k];
        from += parts[i].n;
    }
    for (size_t c = 0; c < C; c++)
        d_skip[c] += t->d_skip[c];
}

/* From d_norm, of x0 y, the gradient of c in its place. */
static void convolution_backward(struct tape *t, size_t l, size_t T,
                                 const struct dnas_net_order *order)
{
    const struct dnas_hyena_net *h = t->hyena;
    const struct dnas_net *net = &h->net;
    const struct dnas_hyena_layer *w = &h->view.layers[l];
    struct dnas_hyena_filter f = dnas_hyena_filter_of(w, &net->shape, &h->sizes);
    const struct kept *k = kept_of(t, l);
    size_t C = net->shape.C, slot = N_PARTS * l + PART_MIX;
    float *x0 = t->c, *x1 = t->c + C, *v = t->c + 2 * C, *d_y = t->normed, *d_k = k->k;

    dnas_cpu_multiply(d_y, t->d_norm, x0, T, C, C, C, 3 * C);
    dnas_cpu_multiply(x0, t->d_norm, k->y, T, C, 3 * C, C, C); /* now its gradient */
    memset(t->d_skip, 0, C * sizeof(*t->d_skip));
    memset(t->d_filter, 0, dnas_cpu_hyena_filter_n_grad(&f) * sizeof(*t->d_filter));
    dnas_cpu_longconv_bwd(t->d_norm, d_k, t->d_skip, d_y, t->u, k->k, w->skip, T, C, t->roots,
                          t->scratch);
    count_transforms(t, 5 * C, T);
    dnas_cpu_hyena_filter_bwd(t->d_filter, d_k, &f, T, t->filter_scratch);
    dnas_cpu_multiply(t->u, t->d_norm, v, T, C, C, C, 3 * C);
    dnas_cpu_multiply(v, t->d_norm, x1, T, C, 3 * C, C, 3 * C);
    for (size_t i = 0; i < T; i++)
        memcpy(x1 + i * 3 * C, t->u + i * C, C * sizeof(*x1));
    dnas_net_wait(order, slot);
    add_filter(t, w);
    dnas_cpu_shortconv_bwd_weight(dnas_net_grad(net, w->short_w), dnas_net_grad(net, w->short_b),
                                  t->c, k->p, T, 3 * C);
    dnas_net_pass(order, slot);
}

/* From dx, of middle, that of the layer's input x. */
static void mix_backward(struct tape *t, float *dx, const float *x, size_t l, size_t T,
                         const struct dnas_net_order *order)
{
    const struct dnas_net *net = &t->hyena->net;
    const struct dnas_hyena_layer *w = &t->hyena->view.layers[l];
    const struct kept *k = kept_of(t, l);
    size_t C = net->shape.C, slot = N_PARTS * l;
    float *dp = t->wide;

    short_convolution(t, w, k, T);
    dnas_cpu_multiply(t->normed, k->y, t->c, T, C, C, C, 3 * C);
    dnas_net_wait(order, slot + PART_OUT);
    dnas_tape_product_bwd_weight(&t->base, w->out_w, w->out_b, dx, t->normed, T, C, C);
    dnas_net_pass(order, slot + PART_OUT);
    dnas_tape_product_bwd(&t->base, t->d_norm, dx, w->out_w, NULL, T, C, C);
    convolution_backward(t, l, T, order);

    dnas_cpu_shortconv_bwd(dp, t->c, w->short_w, T, 3 * C);
    dnas_cpu_layernorm_fwd(t->normed, NULL, NULL, x, NULL, w->norm1_w, w->norm1_b, T, C,
                           net->shape.eps);
    dnas_tape_product_bwd(&t->base, t->d_norm, dp, w->in_w, NULL, T, 3 * C, C);
    dnas_net_wait(order, slot + PART_IN);
    dnas_tape_product_bwd_weight(&t->base, w->in_w, w->in_b, dp, t->normed, T, 3 * C, C);
    dnas_tape_norm_bwd_weight(&t->base, w->norm1_w, w->norm1_b, t->d_norm, x, k->mean1, k->rstd1,
                              T);
    dnas_net_pass(order, slot + PART_IN);
    dnas_cpu_layernorm_bwd(t->d_norm, t->d_norm, x, k->mean1, k->rstd1, w->norm1_w, T, C);
    dnas_cpu_add_rows(dx, NULL, t->d_norm, T, C);
}

static void backward(struct dnas_tape *tape, float *dx, size_t from, size_t to, size_t T,
                     const struct dnas_dropout *chance, const struct dnas_net_order *order)
{
    struct tape *t = (struct tape *)tape;
    const struct dnas_net *net = &t->hyena->net;
    const struct dnas_hyena_weights *w = &t->hyena->view;
    size_t L = net->shape.L, C = net->shape.C;
    const float *x = dnas_tape_input(tape, L);

    (void)chance;
    if (to == L) {
        dnas_net_wait(order, N_PARTS * L);
        dnas_tape_norm_bwd_weight(&t->base, w->norm_w, w->norm_b, dx, x, t->mean, t->rstd, T);
        dnas_net_pass(order, N_PARTS * L);
        dnas_cpu_layernorm_bwd(dx, dx, x, t->mean, t->rstd, w->norm_w, T, C);
    }
    for (size_t l = to; l-- > from;) {
        feed_backward(t, dx, l, T, order);
        mix_backward(t, dx, dnas_tape_input(tape, l), l, T, order);
    }
}

static void backward_embed(struct dnas_tape *tape, float *dx, const uint16_t *ids, size_t T,
                           bool freeze_first, const struct dnas_dropout *chance,
                           const struct dnas_net_order *order)
{
    struct tape *t = (struct tape *)tape;
    const struct dnas_net *net = &t->hyena->net;
    const struct dnas_shape *s = &net->shape;
    float *d_words = dnas_net_grad(net, t->hyena->view.words);
    size_t slot = N_PARTS * s->L + 1;

    dnas_tape_drop_out(dx, T * s->C, 0, chance);
    dnas_net_wait(order, slot);
    dnas_cpu_embedding_bwd(d_words, dx, ids, T, s->V, s->C);
    if (freeze_first)
        memset(d_words, 0, s->C * sizeof(*d_words));
    dnas_net_pass(order, slot);
}

const struct dnas_tape_functions dnas_hyena_tape = {
    .size = sizeof(struct tape),
    .kept_size = sizeof(struct kept),
    .carve = carve_tape,
    .n_slots = n_slots,
    .embed = embed,
    .forward = forward,
    .backward = backward,
    .backward_embed = backward_embed,
};
