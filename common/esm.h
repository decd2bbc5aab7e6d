/* SPDX-License-Identifier: MIT
 *
 * esm.h - Nucleotide Transformer v2's network: ESM with rotary positions and a
 * gated feed-forward part, layer norms before each half and one at the end.
 *
 * Dalla-Torre et al. 2025 (Nature Methods), who give it to Hugging Face as
 * model_type "esm"; run without dropout.
 */
#ifndef DNAS_ESM_H
#define DNAS_ESM_H

#include "common/backbone.h"
#include "common/esm_layout.h"

#ifdef __cplusplus
extern "C" {
#endif

extern const struct dnas_backbone dnas_esm;

/* Adds the biases to qkv, f32 [T,3C], rows of products [q | k | v], and turns q
 * and k by `turns` (dnas_cpu_rotary_turns of T places, C/H channels). */
void dnas_esm_turn(float *qkv, const struct dnas_esm_layer *layer, const float *turns, size_t T,
                   size_t C, size_t H);
/* 0, or -1 with a sentence for a shape that it cannot have. */
int dnas_esm_check_shape(const struct dnas_shape *s, struct dnas_err *err);

#ifdef __cplusplus
}
#endif
#endif
