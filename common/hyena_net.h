/* SPDX-License-Identifier: MIT
 *
 * hyena_net.h - HyenaDNA's network as it is trained: what backbone.h asks for.
 *
 * Nguyen et al. 2023; gradients of all tensors but the windows' rates (deltas),
 * which the published checkpoints did not learn either.
 */
#ifndef DNAS_HYENA_NET_H
#define DNAS_HYENA_NET_H

#include <jansson.h>

#include "common/backbone.h"
#include "common/hyena_layout.h"
#include "common/net.h"

#ifdef __cplusplus
extern "C" {
#endif

struct dnas_hyena_net {
    struct dnas_net net;
    struct dnas_hyena_sizes sizes;
    struct dnas_hyena_weights view; /* of net.w */
};

const struct dnas_hyena_net *dnas_hyena_net_of(const struct dnas_net *net);

/* Without `like` the filters' networks are as in the published checkpoints: 5
 * features, 64 wide.  V is rounded up to a multiple of 8, as there. */
struct dnas_net *dnas_hyena_net_new(const struct dnas_shape *shape, const struct dnas_network *like,
                                    const struct dnas_net_heads *heads);
/* As the original code begins: short filters uniform on +-1/sqrt(3), frequencies
 * 10, skips N(0, 1), windows that fall to 0.01 within 0.3 to 1.5 of the positions,
 * and what ends a residual branch N(0, 0.02 / sqrt(2 L)). */
void dnas_hyena_net_init(struct dnas_net *net, uint64_t seed);
void dnas_hyena_net_release(struct dnas_net *net);
json_t *dnas_hyena_net_config(const struct dnas_net *net);

/* With backward a tape takes (7 C + F) L floats a token and, for a convolution, 128
 * more of its length. */
extern const struct dnas_tape_functions dnas_hyena_tape;

#ifdef __cplusplus
}
#endif
#endif
