/* SPDX-License-Identifier: MIT
 *
 * esm_net.c - the parameters of Nucleotide Transformer's network.  Contract:
 * esm_net.h.
 */
#include "common/esm_net.h"

#include <stdlib.h>

#include "common/esm.h"
#include "common/xmem.h"

const struct dnas_esm_net *dnas_esm_net_of(const struct dnas_net *net)
{
    return (const struct dnas_esm_net *)net;
}

static void tensor(struct dnas_layout_tensor *out, struct dnas_net *net, size_t i)
{
    dnas_esm_get_tensor(out, &net->shape, &((struct dnas_esm_net *)net)->view, i);
}

struct dnas_net *dnas_esm_net_new(const struct dnas_shape *shape, const struct dnas_network *like,
                                  const struct dnas_net_heads *heads)
{
    struct dnas_esm_net *e = dnas_xzalloc(1, sizeof(*e));
    size_t C = shape->C;

    (void)like; /* its shape says all */
    e->view.layers = dnas_xzalloc(shape->L, sizeof(*e->view.layers));
    dnas_net_lay_out(&e->net, &dnas_esm, shape, heads, dnas_esm_n_tensors(shape), tensor);
    if (e->view.layers[0].value_w != e->view.layers[0].query_w + 2 * C * C)
        DNAS_BUG("matrices of %zu channels lie apart", C);
    return &e->net;
}

void dnas_esm_net_release(struct dnas_net *net)
{
    free(((struct dnas_esm_net *)net)->view.layers);
}

/* The members that transformers' EsmConfig and esm.c read. */
json_t *dnas_esm_net_config(const struct dnas_net *net)
{
    const struct dnas_shape *s = &net->shape;

    return json_pack(
        "{s:[s],s:s,s:s,s:I,s:I,s:I,s:I,s:I,s:f,s:f,s:f,s:b,s:b,s:b,s:b,s:I,s:I,s:s}",
        "architectures", net->heads.mlm ? "EsmForMaskedLM" : "EsmModel", "model_type", "esm",
        "position_embedding_type", "rotary", "num_hidden_layers", (json_int_t)s->L, "hidden_size",
        (json_int_t)s->C, "num_attention_heads", (json_int_t)s->H, "intermediate_size",
        (json_int_t)s->F, "vocab_size", (json_int_t)s->V, "layer_norm_eps", (double)s->eps,
        "hidden_dropout_prob", 0.0, "attention_probs_dropout_prob", 0.0, "emb_layer_norm_before", 0,
        "token_dropout", 0, "add_bias_fnn", 0, "tie_word_embeddings", (int)net->heads.mlm,
        "pad_token_id", (json_int_t)1, "mask_token_id", (json_int_t)2, "torch_dtype", "float32");
}
