/* SPDX-License-Identifier: MIT
 *
 * bert_net.h - DNABERT-2's network as it is trained: what backbone.h asks for.
 *
 * Zhou et al. 2024 (DNABERT-S).
 */
#ifndef DNAS_BERT_NET_H
#define DNAS_BERT_NET_H

#include <jansson.h>

#include "common/backbone.h"
#include "common/bert_layout.h"
#include "common/net.h"

#ifdef __cplusplus
extern "C" {
#endif

struct dnas_bert_net {
    struct dnas_net net;
    struct dnas_bert_weights view; /* of net.w */
    float *slopes;                 /* [H] */
};

/* The places where dropout acts, and their numbers in the network. */
enum dnas_bert_place { DNAS_BERT_EMBEDDING, DNAS_BERT_OUT, DNAS_BERT_GATED };
static inline size_t dnas_bert_dropout_site(size_t layer, enum dnas_bert_place place)
{
    return 3 * layer + (size_t)place;
}

const struct dnas_bert_net *dnas_bert_net_of(const struct dnas_net *net);

struct dnas_net *dnas_bert_net_new(const struct dnas_shape *shape, const struct dnas_network *like,
                                   const struct dnas_net_heads *heads);
void dnas_bert_net_release(struct dnas_net *net);
json_t *dnas_bert_net_config(const struct dnas_net *net);

/* With backward a tape takes about (8 C + 2 F) L floats a token. */
extern const struct dnas_tape_functions dnas_bert_tape;

#ifdef __cplusplus
}
#endif
#endif
