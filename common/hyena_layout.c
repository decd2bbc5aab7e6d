/* SPDX-License-Identifier: MIT
 *
 * hyena_layout.c - the tensors of HyenaDNA's network.  Contract: hyena_layout.h.
 */
#include "common/hyena_layout.h"

#include <stdio.h>

#include "common/err.h"

enum size { NONE, ONE, THREE, V, C, C3, F, E, W };

struct row {
    const char *part, *name; /* "mixer.", "in_proj.weight" */
    enum size shape[DNAS_LAYOUT_DIMS_MAX];
    enum dnas_role role;
    size_t at; /* in struct dnas_hyena_weights or struct dnas_hyena_layer */
};

#define IN(type, member) offsetof(struct type, member)
#define LAYER(member) IN(dnas_hyena_layer, member)
#define FILTER "filter_fn.implicit_filter."

static const struct row first[] = {
    {"embeddings.",
     "word_embeddings.weight",
     {V, C},
     DNAS_ROLE_TABLE,
     IN(dnas_hyena_weights, words)},
};
static const struct row each[] = {
    {"norm1.", "weight", {C}, DNAS_ROLE_NORM, LAYER(norm1_w)},
    {"norm1.", "bias", {C}, DNAS_ROLE_NORM, LAYER(norm1_b)},
    {"mixer.", "in_proj.weight", {C3, C}, DNAS_ROLE_MATRIX, LAYER(in_w)},
    {"mixer.", "in_proj.bias", {C3}, DNAS_ROLE_BIAS, LAYER(in_b)},
    {"mixer.", "short_filter.weight", {C3, ONE, THREE}, DNAS_ROLE_MATRIX, LAYER(short_w)},
    {"mixer.", "short_filter.bias", {C3}, DNAS_ROLE_BIAS, LAYER(short_b)},
    {"mixer.", "filter_fn.bias", {C}, DNAS_ROLE_BIAS, LAYER(skip)},
    {"mixer.", FILTER "0.weight", {W, E}, DNAS_ROLE_MATRIX, LAYER(w0)},
    {"mixer.", FILTER "0.bias", {W}, DNAS_ROLE_BIAS, LAYER(b0)},
    {"mixer.", FILTER "1.freq", {ONE, W}, DNAS_ROLE_BIAS, LAYER(freq)},
    {"mixer.", FILTER "2.weight", {W, W}, DNAS_ROLE_MATRIX, LAYER(w1)},
    {"mixer.", FILTER "2.bias", {W}, DNAS_ROLE_BIAS, LAYER(b1)},
    {"mixer.", FILTER "4.weight", {W, W}, DNAS_ROLE_MATRIX, LAYER(w2)},
    {"mixer.", FILTER "4.bias", {W}, DNAS_ROLE_BIAS, LAYER(b2)},
    {"mixer.", FILTER "6.weight", {C, W}, DNAS_ROLE_MATRIX, LAYER(w3)},
    {"mixer.", "filter_fn.modulation.deltas", {ONE, ONE, C}, DNAS_ROLE_BIAS, LAYER(delta)},
    {"mixer.", "out_proj.weight", {C, C}, DNAS_ROLE_MATRIX, LAYER(out_w)},
    {"mixer.", "out_proj.bias", {C}, DNAS_ROLE_BIAS, LAYER(out_b)},
    {"norm2.", "weight", {C}, DNAS_ROLE_NORM, LAYER(norm2_w)},
    {"norm2.", "bias", {C}, DNAS_ROLE_NORM, LAYER(norm2_b)},
    {"mlp.", "fc1.weight", {F, C}, DNAS_ROLE_MATRIX, LAYER(up_w)},
    {"mlp.", "fc1.bias", {F}, DNAS_ROLE_BIAS, LAYER(up_b)},
    {"mlp.", "fc2.weight", {C, F}, DNAS_ROLE_MATRIX, LAYER(down_w)},
    {"mlp.", "fc2.bias", {C}, DNAS_ROLE_BIAS, LAYER(down_b)},
};
static const struct row last[] = {
    {"ln_f.", "weight", {C}, DNAS_ROLE_NORM, IN(dnas_hyena_weights, norm_w)},
    {"ln_f.", "bias", {C}, DNAS_ROLE_NORM, IN(dnas_hyena_weights, norm_b)},
};
#define N_FIRST (sizeof(first) / sizeof(*first))
#define N_EACH (sizeof(each) / sizeof(*each))
#define N_LAST (sizeof(last) / sizeof(*last))

/* A view without a row here, or the reverse, does not compile. */
_Static_assert(sizeof(struct dnas_hyena_layer) == N_EACH * sizeof(float *), "a tensor a member");
_Static_assert(IN(dnas_hyena_weights, layers) == (N_FIRST + N_LAST) * sizeof(float *),
               "a tensor a member");

static size_t count(const struct dnas_shape *s, const struct dnas_hyena_sizes *sizes,
                    enum size size)
{
    switch (size) {
    case NONE:
        return 0;
    case ONE:
        return 1;
    case THREE:
        return 3;
    case V:
        return s->V;
    case C:
        return s->C;
    case C3:
        return 3 * s->C;
    case F:
        return s->F;
    case E:
        return sizes->E;
    case W:
        return sizes->W;
    }
    DNAS_BUG("size %d", (int)size);
}

size_t dnas_hyena_n_tensors(const struct dnas_shape *s)
{
    return N_FIRST + s->L * N_EACH + N_LAST;
}

/* Row of tensor i, and its layer: L before the layers, L + 1 behind them. */
static const struct row *row_of(size_t *layer, const struct dnas_shape *s, size_t i)
{
    if (i >= dnas_hyena_n_tensors(s))
        DNAS_BUG("tensor %zu of %zu", i, dnas_hyena_n_tensors(s));
    *layer = s->L;
    if (i < N_FIRST)
        return &first[i];
    i -= N_FIRST;
    *layer = i < s->L * N_EACH ? i / N_EACH : s->L + 1;
    return i < s->L * N_EACH ? &each[i % N_EACH] : &last[i - s->L * N_EACH];
}

void dnas_hyena_get_tensor(struct dnas_layout_tensor *out, const struct dnas_shape *s,
                           const struct dnas_hyena_sizes *sizes, struct dnas_hyena_weights *w,
                           size_t i)
{
    size_t layer;
    const struct row *row = row_of(&layer, s, i);
    bool in_layer = layer < s->L, nested = sizes->nested && row->part[0] == 'm';
    char *base = NULL;

    if (w)
        base = in_layer ? (char *)&w->layers[layer] : (char *)w;
    if (in_layer)
        snprintf(out->name, sizeof(out->name), "layers.%zu.%s%s%s", layer, row->part,
                 nested ? "layer." : "", row->name);
    else
        snprintf(out->name, sizeof(out->name), "%s%s", row->part, row->name);
    out->n_dims = 0;
    out->n = 1;
    for (int d = 0; d < DNAS_LAYOUT_DIMS_MAX && row->shape[d] != NONE; d++) {
        out->shape[out->n_dims++] = count(s, sizes, row->shape[d]);
        out->n *= out->shape[d];
    }
    out->role = row->role;
    out->layer = layer;
    out->field = base ? (const float **)(base + row->at) : NULL;
}

struct dnas_hyena_filter dnas_hyena_filter_of(const struct dnas_hyena_layer *w,
                                              const struct dnas_shape *s,
                                              const struct dnas_hyena_sizes *sizes)
{
    return (struct dnas_hyena_filter){
        .E = sizes->E,
        .W = sizes->W,
        .C = s->C,
        .L = s->positions,
        .w0 = w->w0,
        .b0 = w->b0,
        .w1 = w->w1,
        .b1 = w->b1,
        .w2 = w->w2,
        .b2 = w->b2,
        .w3 = w->w3,
        .freq = w->freq,
        .delta = w->delta,
    };
}
