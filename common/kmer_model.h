/* SPDX-License-Identifier: MIT
 *
 * kmer_model.h - the `kmer` architecture: a k-mer profile, a linear map, and
 * perhaps a few dense layers.
 *
 *   x = profile of the whole sequence        kmer_profile.h; [I]
 *   y = weight (x - mean)                    [O]
 *   y = y / (1 + length / n)                 where the model has `length`; n: k-mers counted
 *   z = activation(weight z + bias)          for each layer, from z = y on
 *   y = z, or with `residual` y + z
 *   y = y / |y|                              where the model says so
 *
 * A file is safetensors.  Tensors, all f32: map.mean [I], map.weight [O,I],
 * map.length [O] (optional), layers.0.weight [O1,O], layers.0.bias [O1], ...; and,
 * optional but all three together, the noise model plda.between, plda.noise,
 * plda.noise_kb [O] (plda.h), which says how y varies and is no part of the hash.
 * __metadata__: architecture "kmer", or "vae" of an autoencoder, which computes the
 * same; config, a JSON object:
 *   {"k": [4, 5], "transform": ["sqrt", "sqrt"], "activation": [one a layer],
 *    "normalise": false}, and "residual": true where the layers' result is added to the map's.
 */
#ifndef DNAS_KMER_MODEL_H
#define DNAS_KMER_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/err.h"
#include "common/kmer_profile.h"

#ifdef __cplusplus
extern "C" {
#endif

enum dnas_kmer_activation {
    DNAS_KMER_LINEAR,
    DNAS_KMER_RELU,
    DNAS_KMER_SIGMOID,
    DNAS_KMER_TANH,
    DNAS_KMER_GELU,       /* with erf */
    DNAS_KMER_LEAKY_RELU, /* 0.01 x where x is not above 0 */
};
#define DNAS_KMER_N_ACTIVATIONS 6
/* "linear", "relu", "sigmoid", "tanh", "gelu", "leaky_relu", NULL. */
extern const char *const dnas_kmer_activations[];

#define DNAS_KMER_LAYERS_MAX 8
#define DNAS_KMER_WIDTH_MAX 4096 /* of the map and of a layer */

struct dnas_kmer_layer {
    size_t O;
    const float *weight; /* [O,I], I the width before it */
    const float *bias;   /* [O] */
    enum dnas_kmer_activation activation;
};

/* What a model is made of; arrays are borrowed. */
struct dnas_kmer_parts {
    struct dnas_kmer_block blocks[DNAS_KMER_BLOCKS_MAX];
    int n_blocks;
    size_t O;            /* of the map */
    const float *mean;   /* [I], I the dimensions of the profile */
    const float *weight; /* [O,I] */
    const float *length; /* [O], 0 or more; NULL: none */
    struct dnas_kmer_layer layers[DNAS_KMER_LAYERS_MAX];
    int n_layers;
    bool residual; /* the last layer is as wide as the map, and added to it */
    bool normalise;
    bool is_vae; /* named so in a file; no part of the hash */
    /* The variance of y between species, and within one: noise + noise_kb / length in kb; [O], 0 to
     * 1e6, noise at least 1e-6.  All NULL: not known. */
    const float *between, *noise, *noise_kb;
};

struct dnas_kmer_model;

/* Whether path is a safetensors file whose metadata name the architecture "kmer" or "vae". */
bool dnas_kmer_model_is(const char *path);
/* NULL with a sentence for a file that is not such a model: tensors missing, surplus, misshapen or
 * not finite, a config out of bounds. */
struct dnas_kmer_model *dnas_kmer_model_open(const char *path, struct dnas_err *err);
/* The same from n bytes of memory, which may go afterwards. */
struct dnas_kmer_model *dnas_kmer_model_open_mem(const void *bytes, size_t n, struct dnas_err *err);
/* The model that ships with dnas (common/models). */
struct dnas_kmer_model *dnas_kmer_model_default(struct dnas_err *err);
/* A model of parts, which are copied.  NULL with a sentence where they do not fit. */
struct dnas_kmer_model *dnas_kmer_model_new(const struct dnas_kmer_parts *parts,
                                            struct dnas_err *err);
/* NULL is fine. */
void dnas_kmer_model_free(struct dnas_kmer_model *m);

/* Writes m to path (NULL: standard output) by way of path.part; pg is a JSON text that the
 * metadata keep under "pg", or NULL.  Equal models give equal bytes. */
int dnas_kmer_model_write(const struct dnas_kmer_model *m, const char *path, const char *pg,
                          struct dnas_err *err);

/* All of these are thread safe. */
/* The model's own copy. */
const struct dnas_kmer_parts *dnas_kmer_model_parts(const struct dnas_kmer_model *m);
const struct dnas_kmer_profile *dnas_kmer_model_profile(const struct dnas_kmer_model *m);
size_t dnas_kmer_model_dims(const struct dnas_kmer_model *m);
/* 32 hex digits, equal if and only if the models embed alike (XXH3-128 of config and tensors,
 * the noise model left out). */
const char *dnas_kmer_model_hash(const struct dnas_kmer_model *m);
/* out f32 [dims] from counts u64 [n_counts of the profile]; without a k-mer out is zero.
 * A sequence and its reverse complement, which have the same counts up to the order of k-mers,
 * give the same bits. */
void dnas_kmer_model_embed(const struct dnas_kmer_model *m, float *out, const uint64_t *counts);
/* The same from a profile f32 [I] of n k-mers. */
void dnas_kmer_model_embed_profile(const struct dnas_kmer_model *m, float *out,
                                   const float *profile, uint64_t n);

#ifdef __cplusplus
}
#endif
#endif
