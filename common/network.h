/* SPDX-License-Identifier: MIT
 *
 * network.h - an opened language model of any backbone, to be run.
 */
#ifndef DNAS_NETWORK_H
#define DNAS_NETWORK_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/err.h"
#include "common/layout.h"
#include "common/tokenizer.h"
#include "common/weights.h"

#ifdef __cplusplus
extern "C" {
#endif

struct dnas_backbone;

enum dnas_precision {
    DNAS_PRECISION_F32,
    DNAS_PRECISION_BF16, /* products of weights in bf16 with f32 sums; the rest in f32 */
};

enum dnas_output {
    DNAS_OUTPUT_HIDDEN, /* the last hidden states, C dimensions */
    DNAS_OUTPUT_LOGITS, /* what the head for masked tokens makes of them, V dimensions */
};

/* The head that guesses masked tokens: decoder norm(gelu(dense x + b)) + bias. */
#define DNAS_HEAD_TENSORS 6
struct dnas_network_head {
    const float *dense_w, *dense_b; /* [C,C] [C] */
    const float *norm_w, *norm_b;   /* [C] */
    const float *decoder_w, *bias;  /* [V,C] [V] */
};

/* To be read only; a backbone's own struct begins with it. */
struct dnas_network {
    const struct dnas_backbone *backbone;
    struct dnas_shape shape;
    enum dnas_precision precision;
    struct dnas_weights *weights;
    struct dnas_tokenizer *tokenizer; /* NULL if the folder has none: then only tokens can be
                                         embedded */
    enum dnas_output output;
    struct dnas_network_head head;     /* filled for logits */
    char hash[DNAS_WEIGHTS_HASH_SIZE]; /* 32 hex digits over the tensors that the network uses */
};

/* What one thread needs to run a network; a backbone's own begins with it. */
struct dnas_network_run {
    const struct dnas_network *network;
    float *bent; /* [n_bent,C]  within the head, for logits */
    size_t n_bent;
};

/* Whether the processor multiplies bf16 itself; where it does not, oneDNN may
 * still emulate it, too slowly for use. */
bool dnas_has_bf16(void);
/* 0, or -1 with a sentence where not even oneDNN multiplies bf16 here. */
int dnas_check_bf16(struct dnas_err *err);

/* Opens a model: a Hugging Face folder (config.json, a tokenizer
 * and weights), or one .safetensors file whose metadata holds the two under
 * "config" and "tokenizer".  The weights are mapped, not copied.  A tensor
 * that is missing, of another shape, not finite or unknown is an error, and so
 * is a config that asks for another network.  NULL with a sentence. */
struct dnas_network *dnas_network_open(const char *path, enum dnas_precision precision,
                                       struct dnas_err *err);
/* NULL is fine. */
void dnas_network_close(struct dnas_network *n);

struct dnas_network_run *dnas_network_run_new(const struct dnas_network *n);
/* NULL is fine. */
void dnas_network_run_free(struct dnas_network_run *run);

/* Chooses what dnas_network_forward gives, before the first run; -1 with a
 * sentence where the file has no head that gives logits.  A head without a
 * decoder shares the table of words. */
int dnas_network_set_output(struct dnas_network *n, enum dnas_output output, struct dnas_err *err);
/* The head for masked tokens that training would go on with, views of the file: 1, 0 where the file
 * has not all of it, -1 with a sentence for a tensor of another shape or not finite. */
int dnas_network_mlm_head(struct dnas_network *n, struct dnas_network_head *head,
                          struct dnas_err *err);
/* Dimensions of an embedding: C, or V for logits. */
size_t dnas_network_dims(const struct dnas_network *n);
/* The embedding, f64 [dnas_network_dims], of the mean, f64 [C], of rows that
 * dnas_network_forward gave: the mean itself, or the mean logits, since the
 * decoder is linear. */
void dnas_network_embedding(const struct dnas_network *n, double *out, const double *mean);

/* The last hidden states f32 [T,C] of T tokens, or for logits what the decoder takes, each below V
 * (else a bug); valid until the next call on run, whose memory grows with the longest sequence.
 * Runs on the calling thread; the bits depend on the tokens alone. skip: leave out attention that
 * cannot be seen (kernels.h). */
const float *dnas_network_forward(struct dnas_network_run *run, const uint16_t *ids, size_t T,
                                  int skip);

/* 0, or -1 and a sentence: there are more tokens than positions, or an id is not below V. */
int dnas_network_check_ids(const struct dnas_network *n, const uint16_t *ids, size_t T,
                           struct dnas_err *err);

/* ---- for backbones ---- */

/* A member of a config that must be an integer from 1 to max. */
int dnas_config_size(size_t *out, const json_t *config, const char *key, size_t max,
                     struct dnas_err *err);
/* A member that, where it is there, must have this value. */
int dnas_config_only(const json_t *config, const char *key, const char *value,
                     struct dnas_err *err);
/* The layer norms' eps, a number between 0 and 1; without it `otherwise`. */
int dnas_config_eps(float *out, const json_t *config, const char *key, float otherwise,
                    struct dnas_err *err);

#ifdef __cplusplus
}
#endif
#endif
