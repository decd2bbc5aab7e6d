/* SPDX-License-Identifier: MIT
 *
 * bert_net.h - DNABERT-2's network as it is trained: what backbone.h asks for.
 *
 * Zhou et al. 2024 (DNABERT-S).
 */
#ifndef DNAS_BERT_NET_H
#define DNAS_BERT_NET_H

#include <jansson.h>

#include "common/bert_layout.h"
#include "common/net.h"
#include "common/rng.h"

#ifdef __cplusplus
extern "C" {
#endif

struct dnas_bert_net {
    struct dnas_net net;
    struct dnas_bert_weights view; /* of net.w */
    float *slopes;                 /* [H] */
};

/* The places where dropout acts; the last number of its counter (rng.h). */
enum dnas_bert_place { DNAS_BERT_EMBEDDING, DNAS_BERT_OUT, DNAS_BERT_GATED };
static inline uint32_t dnas_bert_dropout_site(size_t layer, enum dnas_bert_place place)
{
    return DNAS_RNG_DROPOUT + ((uint32_t)(3 * layer + (size_t)place) << 16);
}

const struct dnas_bert_net *dnas_bert_net_of(const struct dnas_net *net);

struct dnas_net *dnas_bert_net_new(const struct dnas_shape *shape, const struct dnas_network *like,
                                   const struct dnas_net_heads *heads);
void dnas_bert_net_release(struct dnas_net *net);
json_t *dnas_bert_net_config(const struct dnas_net *net);
size_t dnas_bert_net_n_slots(const struct dnas_net *net);

/* With backward a tape takes about (8 C + 2 F) L floats a token. */
uint64_t dnas_bert_tape_bytes(const struct dnas_net *net, size_t max_T, bool with_backward);
struct dnas_tape *dnas_bert_tape_new(const struct dnas_net *net, size_t max_T, bool with_backward);
void dnas_bert_tape_free(struct dnas_tape *tape);
void dnas_bert_tape_embed(struct dnas_tape *tape, const uint16_t *ids, size_t T,
                          const struct dnas_dropout *chance);
float *dnas_bert_tape_input(struct dnas_tape *tape, size_t l);
const float *dnas_bert_tape_forward(struct dnas_tape *tape, size_t from, size_t to, size_t T,
                                    const struct dnas_dropout *chance);
void dnas_bert_tape_backward(struct dnas_tape *tape, float *dx, size_t from, size_t to, size_t T,
                             const struct dnas_dropout *chance, const struct dnas_net_order *order);
void dnas_bert_tape_backward_embed(struct dnas_tape *tape, float *dx, const uint16_t *ids, size_t T,
                                   bool freeze_first, const struct dnas_dropout *chance,
                                   const struct dnas_net_order *order);

#ifdef __cplusplus
}
#endif
#endif
