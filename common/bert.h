/* SPDX-License-Identifier: MIT
 *
 * bert.h - DNABERT-2's network, which DNABERT-S shares: BERT with ALiBi
 * instead of positions and a gated feed-forward part.
 *
 * Zhou et al. 2024, DNABERT-2 (ICLR) and DNABERT-S; post-norm, biases as in the
 * published checkpoints; run without dropout.
 */
#ifndef DNAS_BERT_H
#define DNAS_BERT_H

#include "common/backbone.h"
#include "common/bert_layout.h"

#ifdef __cplusplus
extern "C" {
#endif

extern const struct dnas_backbone dnas_bert;

/* Attention scores computed so far by a run of it, for benchmarks. */
uint64_t dnas_bert_n_scores(const struct dnas_network_run *run);

/* ALiBi's slopes for H heads (Press et al. 2022; for H that is no power of two,
 * those of the power below, then every other one of the power above). */
void dnas_bert_slopes(float *slopes, size_t H);

#ifdef __cplusplus
}
#endif
#endif
