/* SPDX-License-Identifier: MIT
 *
 * features.h - the fixed features: embeddings by formula, from counts of 4-mers.
 *
 *   tnf             [256]  frequencies of 4-mers on one strand, in the order A,T,C,G of
 *                          DNABERT-S's evaluation, the first letter most significant
 *   tnf-canonical   [136]  a 4-mer and its reverse complement folded, in the order A,C,G,T of the
 *                          smaller of the two
 *   tnf-k           [103]  frequencies with what is redundant projected away (Nissen et al. 2021,
 *                          VAMB); an orthonormal basis of our own, so coordinates differ from
 *                          VAMB's by a rotation, and lengths and angles do not
 *   dna2vec:FILE    [D]    mean of the 4-mers' vectors (Ng 2017); FILE is an .npy of numbers
 *                          [256,D], read as f32, rows in the order A,T,C,G
 *
 * Sums are in double and in a fixed order: the same bytes on any IEEE machine.
 */
#ifndef DNAS_FEATURES_H
#define DNAS_FEATURES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/err.h"

#ifdef __cplusplus
extern "C" {
#endif

struct dnas_features;

struct dnas_features_options {
    /* tnf-k only: frequencies in A,T,C,G order times rows in A,C,G,T order, which is what the
     * code of DNABERT-S's paper did; the two strands then embed differently. */
    bool compat_dnaberts;
};

/* Whether spec names fixed features, and not a model's file. */
bool dnas_features_is_spec(const char *spec);

/* options NULL: none.  Returns features to be freed with dnas_features_free, or NULL with a
 * sentence for an unknown spec or a FILE that is not such a matrix, all finite. */
struct dnas_features *dnas_features_new(const char *spec,
                                        const struct dnas_features_options *options,
                                        struct dnas_err *err);
/* f may be NULL. */
void dnas_features_free(struct dnas_features *f);

/* These four are thread safe, and what they return lives as long as f. */
size_t dnas_features_dims(const struct dnas_features *f);
/* The spec without FILE: "tnf", "dna2vec". */
const char *dnas_features_name(const struct dnas_features *f);
/* 32 hex digits, equal if and only if the definition is: XXH3-128 of dna2vec's matrix (f32 [256,D],
 * little-endian), or of a phrase such as "tnf v1". */
const char *dnas_features_hash(const struct dnas_features *f);
/* out f32 [dims], not normalised, from counts u64 [256] as dnas_cpu_kmer4_count makes them.
 * Without a single valid window out is zero. */
void dnas_features_embed(const struct dnas_features *f, float *out, const uint64_t *counts);

/* out f32 [dims]: means of neighbouring dimensions of in, f32 [D] (DNABERT-S, appendix C.7: average
 * pooling with kernel and stride D / dims).  Where dims does not divide D, dimension j is the mean
 * of in[j D / dims] to in[(j + 1) D / dims - 1], rounded down: each dimension of in counts once,
 * and widths differ by one at most.  out may be in.  dims of 0 or above D is a bug. */
void dnas_reduce_mean(float *out, const float *in, size_t D, size_t dims);

#ifdef __cplusplus
}
#endif
#endif
