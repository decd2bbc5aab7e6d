/* SPDX-License-Identifier: MIT
 *
 * esm_layout.c - the tensors of Nucleotide Transformer v2's network.  Contract:
 * esm_layout.h.
 */
#include "common/esm_layout.h"

#include <stdint.h>
#include <stdio.h>

#include "common/err.h"

enum size { NONE, V, C, F, F2 };

struct row {
    const char *name;
    enum size rows, columns;
    enum dnas_role role;
    size_t at; /* in struct dnas_esm_weights or struct dnas_esm_layer */
};

#define IN(type, member) offsetof(struct type, member)

static const struct row words = {"embeddings.word_embeddings.weight", V, C, DNAS_ROLE_TABLE,
                                 IN(dnas_esm_weights, words)};
static const struct row each[] = {
    {"attention.LayerNorm.weight", C, NONE, DNAS_ROLE_NORM, IN(dnas_esm_layer, norm1_w)},
    {"attention.LayerNorm.bias", C, NONE, DNAS_ROLE_NORM, IN(dnas_esm_layer, norm1_b)},
    {"attention.self.query.weight", C, C, DNAS_ROLE_MATRIX, IN(dnas_esm_layer, query_w)},
    {"attention.self.key.weight", C, C, DNAS_ROLE_MATRIX, IN(dnas_esm_layer, key_w)},
    {"attention.self.value.weight", C, C, DNAS_ROLE_MATRIX, IN(dnas_esm_layer, value_w)},
    {"attention.self.query.bias", C, NONE, DNAS_ROLE_BIAS, IN(dnas_esm_layer, query_b)},
    {"attention.self.key.bias", C, NONE, DNAS_ROLE_BIAS, IN(dnas_esm_layer, key_b)},
    {"attention.self.value.bias", C, NONE, DNAS_ROLE_BIAS, IN(dnas_esm_layer, value_b)},
    {"attention.output.dense.weight", C, C, DNAS_ROLE_MATRIX, IN(dnas_esm_layer, out_w)},
    {"attention.output.dense.bias", C, NONE, DNAS_ROLE_BIAS, IN(dnas_esm_layer, out_b)},
    {"LayerNorm.weight", C, NONE, DNAS_ROLE_NORM, IN(dnas_esm_layer, norm2_w)},
    {"LayerNorm.bias", C, NONE, DNAS_ROLE_NORM, IN(dnas_esm_layer, norm2_b)},
    {"intermediate.dense.weight", F2, C, DNAS_ROLE_MATRIX, IN(dnas_esm_layer, gated_w)},
    {"output.dense.weight", C, F, DNAS_ROLE_MATRIX, IN(dnas_esm_layer, down_w)},
};
static const struct row last[] = {
    {"encoder.emb_layer_norm_after.weight", C, NONE, DNAS_ROLE_NORM, IN(dnas_esm_weights, norm_w)},
    {"encoder.emb_layer_norm_after.bias", C, NONE, DNAS_ROLE_NORM, IN(dnas_esm_weights, norm_b)},
};
#define N_EACH (sizeof(each) / sizeof(*each))
#define N_LAST (sizeof(last) / sizeof(*last))

/* A view without a row here, or the reverse, does not compile. */
_Static_assert(sizeof(struct dnas_esm_layer) == N_EACH * sizeof(float *), "a tensor a member");
_Static_assert(IN(dnas_esm_weights, layers) == (1 + N_LAST) * sizeof(float *), "a tensor a member");

static size_t count(const struct dnas_shape *s, enum size size)
{
    switch (size) {
    case NONE:
        return 0;
    case V:
        return s->V;
    case C:
        return s->C;
    case F:
        return s->F;
    case F2:
        return 2 * s->F;
    }
    DNAS_BUG("size %d", (int)size);
}

size_t dnas_esm_n_tensors(const struct dnas_shape *s)
{
    return 1 + s->L * N_EACH + N_LAST;
}

void dnas_esm_get_tensor(struct dnas_layout_tensor *out, const struct dnas_shape *s,
                         struct dnas_esm_weights *w, size_t i)
{
    size_t behind = 1 + s->L * N_EACH;
    const struct row *row = &words;
    char *base = (char *)w;

    if (i >= dnas_esm_n_tensors(s))
        DNAS_BUG("tensor %zu of %zu", i, dnas_esm_n_tensors(s));
    *out = (struct dnas_layout_tensor){.layer = s->L};
    if (i >= behind) {
        row = &last[i - behind];
        out->layer = s->L + 1;
    } else if (i > 0) {
        row = &each[(i - 1) % N_EACH];
        out->layer = (i - 1) / N_EACH;
        base = w ? (char *)&w->layers[out->layer] : NULL;
    }
    if (out->layer < s->L)
        snprintf(out->name, sizeof(out->name), "encoder.layer.%zu.%s", out->layer, row->name);
    else
        snprintf(out->name, sizeof(out->name), "%s", row->name);
    out->n_dims = row->columns == NONE ? 1 : 2;
    out->shape[0] = count(s, row->rows);
    out->shape[1] = count(s, row->columns);
    out->n = out->shape[0] * (out->n_dims == 2 ? out->shape[1] : 1);
    out->role = row->role;
    out->field = base ? (const float **)(base + row->at) : NULL;
}
