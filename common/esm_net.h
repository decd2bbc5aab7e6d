/* SPDX-License-Identifier: MIT
 *
 * esm_net.h - Nucleotide Transformer's network as it is trained: what backbone.h
 * asks for.
 */
#ifndef DNAS_ESM_NET_H
#define DNAS_ESM_NET_H

#include <jansson.h>

#include "common/backbone.h"
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

/* With backward a tape takes about (6 C + 2 F) L floats a token. */
extern const struct dnas_tape_functions dnas_esm_tape;

#ifdef __cplusplus
}
#endif
#endif
