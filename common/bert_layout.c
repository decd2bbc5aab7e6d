/* SPDX-License-Identifier: MIT
 *
 * bert_layout.c - the tensors of DNABERT-2's network.  Contract: bert_layout.h.
 */
#include "common/bert_layout.h"

#include <stdint.h>
#include <stdio.h>

#include "common/err.h"

enum size { NONE, TWO, V, C, C3, F, F2 };

struct row {
    const char *name;
    enum size rows, columns;
    enum dnas_role role;
    size_t at; /* in struct dnas_bert_weights or struct dnas_bert_layer */
};

#define IN(type, member) offsetof(struct type, member)

static const struct row first[] = {
    {"embeddings.word_embeddings.weight", V, C, DNAS_ROLE_TABLE, IN(dnas_bert_weights, words)},
    {"embeddings.token_type_embeddings.weight", TWO, C, DNAS_ROLE_TABLE,
     IN(dnas_bert_weights, types)},
    {"embeddings.LayerNorm.weight", C, NONE, DNAS_ROLE_NORM, IN(dnas_bert_weights, norm_w)},
    {"embeddings.LayerNorm.bias", C, NONE, DNAS_ROLE_NORM, IN(dnas_bert_weights, norm_b)},
};
static const struct row each[] = {
    {"attention.self.Wqkv.weight", C3, C, DNAS_ROLE_MATRIX, IN(dnas_bert_layer, qkv_w)},
    {"attention.self.Wqkv.bias", C3, NONE, DNAS_ROLE_BIAS, IN(dnas_bert_layer, qkv_b)},
    {"attention.output.dense.weight", C, C, DNAS_ROLE_MATRIX, IN(dnas_bert_layer, out_w)},
    {"attention.output.dense.bias", C, NONE, DNAS_ROLE_BIAS, IN(dnas_bert_layer, out_b)},
    {"attention.output.LayerNorm.weight", C, NONE, DNAS_ROLE_NORM, IN(dnas_bert_layer, norm1_w)},
    {"attention.output.LayerNorm.bias", C, NONE, DNAS_ROLE_NORM, IN(dnas_bert_layer, norm1_b)},
    {"mlp.gated_layers.weight", F2, C, DNAS_ROLE_MATRIX, IN(dnas_bert_layer, gated_w)},
    {"mlp.wo.weight", C, F, DNAS_ROLE_MATRIX, IN(dnas_bert_layer, down_w)},
    {"mlp.wo.bias", C, NONE, DNAS_ROLE_BIAS, IN(dnas_bert_layer, down_b)},
    {"mlp.layernorm.weight", C, NONE, DNAS_ROLE_NORM, IN(dnas_bert_layer, norm2_w)},
    {"mlp.layernorm.bias", C, NONE, DNAS_ROLE_NORM, IN(dnas_bert_layer, norm2_b)},
};
#define N_FIRST (sizeof(first) / sizeof(*first))
#define N_EACH (sizeof(each) / sizeof(*each))

/* A view without a row here, or the reverse, does not compile. */
_Static_assert(sizeof(struct dnas_bert_layer) == N_EACH * sizeof(float *), "a tensor a member");
_Static_assert(IN(dnas_bert_weights, layers) == N_FIRST * sizeof(float *), "a tensor a member");

static size_t count(const struct dnas_shape *s, enum size size)
{
    switch (size) {
    case NONE:
        return 0;
    case TWO:
        return 2;
    case V:
        return s->V;
    case C:
        return s->C;
    case C3:
        return 3 * s->C;
    case F:
        return s->F;
    case F2:
        return 2 * s->F;
    }
    DNAS_BUG("size %d", (int)size);
}

size_t dnas_bert_n_tensors(const struct dnas_shape *s)
{
    return N_FIRST + s->L * N_EACH;
}

void dnas_bert_get_tensor(struct dnas_layout_tensor *out, const struct dnas_shape *s,
                          struct dnas_bert_weights *w, size_t i)
{
    size_t layer = i < N_FIRST ? s->L : (i - N_FIRST) / N_EACH;
    const struct row *row = i < N_FIRST ? &first[i] : &each[(i - N_FIRST) % N_EACH];
    char *base = NULL;

    if (i >= dnas_bert_n_tensors(s))
        DNAS_BUG("tensor %zu of %zu", i, dnas_bert_n_tensors(s));
    if (w)
        base = i < N_FIRST ? (char *)w : (char *)&w->layers[layer];
    if (i < N_FIRST)
        snprintf(out->name, sizeof(out->name), "%s", row->name);
    else
        snprintf(out->name, sizeof(out->name), "encoder.layer.%zu.%s", layer, row->name);
    out->n_dims = row->columns == NONE ? 1 : 2;
    out->shape[0] = count(s, row->rows);
    out->shape[1] = count(s, row->columns);
    out->n = out->shape[0] * (out->n_dims == 2 ? out->shape[1] : 1);
    out->role = row->role;
    out->layer = layer;
    out->field = base ? (const float **)(base + row->at) : NULL;
}
