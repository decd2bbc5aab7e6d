/* SPDX-License-Identifier: MIT
 *
 * bert_net.c - the parameters of DNABERT-2's network.  Contract: bert_net.h.
 */
#include "common/bert_net.h"

#include <stdlib.h>

#include "common/bert.h"
#include "common/xmem.h"

const struct dnas_bert_net *dnas_bert_net_of(const struct dnas_net *net)
{
    return (const struct dnas_bert_net *)net;
}

static void tensor(struct dnas_layout_tensor *out, struct dnas_net *net, size_t i)
{
    dnas_bert_get_tensor(out, &net->shape, &((struct dnas_bert_net *)net)->view, i);
}

struct dnas_net *dnas_bert_net_new(const struct dnas_shape *shape, const struct dnas_network *like,
                                   const struct dnas_net_heads *heads)
{
    struct dnas_bert_net *b = dnas_xzalloc(1, sizeof(*b));

    (void)like; /* its shape says all */
    b->view.layers = dnas_xzalloc(shape->L, sizeof(*b->view.layers));
    dnas_net_lay_out(&b->net, &dnas_bert, shape, heads, dnas_bert_n_tensors(shape), tensor);
    b->slopes = dnas_xalloc(shape->H, sizeof(*b->slopes));
    dnas_bert_slopes(b->slopes, shape->H);
    return &b->net;
}

void dnas_bert_net_release(struct dnas_net *net)
{
    struct dnas_bert_net *b = (struct dnas_bert_net *)net;

    free(b->view.layers);
    free(b->slopes);
}

/* The members that transformers' BertConfig and bert.c read. */
json_t *dnas_bert_net_config(const struct dnas_net *net)
{
    const struct dnas_shape *s = &net->shape;

    return json_pack("{s:[s],s:s,s:s,s:s,s:I,s:I,s:I,s:I,s:I,s:f,s:f,s:f,s:I,s:I,s:I,s:s}",
                     "architectures", net->heads.mlm ? "BertForMaskedLM" : "BertModel",
                     "model_type", "bert", "hidden_act", "gelu", "position_embedding_type", "alibi",
                     "num_hidden_layers", (json_int_t)s->L, "hidden_size", (json_int_t)s->C,
                     "num_attention_heads", (json_int_t)s->H, "intermediate_size", (json_int_t)s->F,
                     "vocab_size", (json_int_t)s->V, "layer_norm_eps", (double)s->eps,
                     "hidden_dropout_prob", 0.1, "attention_probs_dropout_prob", 0.0,
                     "type_vocab_size", (json_int_t)2, "alibi_starting_size", (json_int_t)512,
                     "pad_token_id", (json_int_t)0, "torch_dtype", "float32");
}
