/* SPDX-License-Identifier: MIT
 *
 * esm_net.h - Nucleotide Transformer's network as it is trained: what backbone.h
 * asks for.
 */
#ifndef DNAS_ESM_NET_H
#define DNAS_ESM_NET_H

#include <jansson.h>

#include "common/esm_layout.h"
#include "common/net.h"

#ifdef __cplusplus
extern "C" {
#endif

struct dnas_esm_net {
    struct dnas_net net;
    struct dnas_esm_weights view; /* of net.w */
};

const struct dnas_esm_net *dnas_esm_net_of(const struct dnas_net *net);

/* The queries', keys' and values' matrices lie one behind the other in net.w. */
struct dnas_net *dnas_esm_net_new(const struct dnas_shape *shape, const struct dnas_network *like,
                                  const struct dnas_net_heads *heads);
void dnas_esm_net_release(struct dnas_net *net);
json_t *dnas_esm_net_config(const struct dnas_net *net);
size_t dnas_esm_net_n_slots(const struct dnas_net *net);

/* With backward a tape takes about (6 C + 2 F) L floats a token. */
uint64_t dnas_esm_tape_bytes(const struct dnas_net *net, size_t max_T, bool with_backward);
struct dnas_tape *dnas_esm_tape_new(const struct dnas_net *net, size_t max_T, bool with_backward);
void dnas_esm_tape_free(struct dnas_tape *tape);
void dnas_esm_tape_embed(struct dnas_tape *tape, const uint16_t *ids, size_t T,
                         const struct dnas_dropout *chance);
float *dnas_esm_tape_input(struct dnas_tape *tape, size_t l);
const float *dnas_esm_tape_forward(struct dnas_tape *tape, size_t from, size_t to, size_t T,
                                   const struct dnas_dropout *chance);
void dnas_esm_tape_backward(struct dnas_tape *tape, float *dx, size_t from, size_t to, size_t T,
                            const struct dnas_dropout *chance, const struct dnas_net_order *order);
void dnas_esm_tape_backward_embed(struct dnas_tape *tape, float *dx, const uint16_t *ids, size_t T,
                                  bool freeze_first, const struct dnas_dropout *chance,
                                  const struct dnas_net_order *order);

#ifdef __cplusplus
}
#endif
#endif
