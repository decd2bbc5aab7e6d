/* SPDX-License-Identifier: MIT
 *
 * hyena.h - HyenaDNA's network: causal, of single letters, with filters as long
 * as the sequence in the place of attention.
 *
 * Nguyen et al. 2023 (HyenaDNA) and Poli et al. 2023 (Hyena); pre-norm, order 2,
 * biases as in the published checkpoints tiny-1k to large-1m; run without
 * dropout.  Memory and, but for a logarithm, time are linear in the length.
 */
#ifndef DNAS_HYENA_H
#define DNAS_HYENA_H

#include "common/backbone.h"

#ifdef __cplusplus
extern "C" {
#endif

extern const struct dnas_backbone dnas_hyena;

/* What the shape of an opened one does not say. */
struct dnas_hyena_sizes;
const struct dnas_hyena_sizes *dnas_hyena_get_sizes(const struct dnas_network *n);

#ifdef __cplusplus
}
#endif
#endif
