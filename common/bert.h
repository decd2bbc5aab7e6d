/* SPDX-License-Identifier: MIT
 *
 * bert.h - DNABERT-2's network, which DNABERT-S shares: BERT with ALiBi
 * instead of positions and a gated feed-forward part.
 *
 * Zhou et al. 2024, DNABERT-2 (ICLR) and DNABERT-S; post-norm, biases as in the
 * published checkpoints, no dropout.
 */
#ifndef DNAS_BERT_H
#define DNAS_BERT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/bert_layout.h"
#include "common/tokenizer.h"
#include "common/err.h"

#ifdef __cplusplus
extern "C" {
#endif

enum dnas_bert_precision {
    DNAS_BERT_F32,
    DNAS_BERT_BF16, /* products of weights in bf16 with f32 sums; the rest in f32 */
};

struct dnas_bert;

/* Whether the processor multiplies bf16 itself; where it does not, oneDNN may
 * still emulate it, too slowly for use. */
bool dnas_bert_has_bf16(void);

/* Opens a model: a Hugging Face folder (config.json, tokenizer.json and
 * weights), or one .safetensors file whose metadata holds the two under
 * "config" and "tokenizer".  The weights are mapped, not copied.  A tensor
 * that is missing, of another shape, not finite or unknown is an error, and so
 * is a config that asks for another network.  NULL with a sentence. */
struct dnas_bert *dnas_bert_open(const char *path, enum dnas_bert_precision precision,
                                 struct dnas_err *err);
/* NULL is fine. */
void dnas_bert_close(struct dnas_bert *b);

const struct dnas_bert_shape *dnas_bert_get_shape(const struct dnas_bert *b);
/* The weights; they live until b is closed. */
const struct dnas_bert_weights *dnas_bert_get_weights(const struct dnas_bert *b);
/* The model's tokenizer; NULL if the folder has none (then only tokens can be
 * embedded). */
const struct dnas_tokenizer *dnas_bert_tokenizer(const struct dnas_bert *b);
/* 32 hex digits over the tensors that the network uses. */
const char *dnas_bert_hash(const struct dnas_bert *b);

/* What one thread needs to run the network; grows with the longest sequence. */
struct dnas_bert_run;
struct dnas_bert_run *dnas_bert_run_new(const struct dnas_bert *b);
/* NULL is fine. */
void dnas_bert_run_free(struct dnas_bert_run *run);

/* The last hidden states f32 [T,C] of T tokens, each below V (else a bug);
 * valid until the next call on run.  Runs on the calling thread; the bits
 * depend on the tokens alone.  skip: leave out attention that cannot be seen
 * (kernels.h). */
const float *dnas_bert_forward(const struct dnas_bert *b, struct dnas_bert_run *run,
                               const uint16_t *ids, size_t T, int skip);
/* Attention scores computed so far by run, for benchmarks. */
uint64_t dnas_bert_n_scores(const struct dnas_bert_run *run);

/* 0, or -1 and a sentence that names the first id that is not below V. */
int dnas_bert_check_ids(const struct dnas_bert *b, const uint16_t *ids, size_t T,
                        struct dnas_err *err);

/* ALiBi's slopes for H heads (Press et al. 2022; for H that is no power of two,
 * those of the power below, then every other one of the power above). */
void dnas_bert_slopes(float *slopes, size_t H);

#ifdef __cplusplus
}
#endif
#endif
