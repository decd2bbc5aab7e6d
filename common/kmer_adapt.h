/* SPDX-License-Identifier: MIT
 *
 * kmer_adapt.h - a k-mer model fitted to the sequences that are to be embedded.
 *
 * The two halves of a sequence are of one species, whatever it is: how they
 * differ says how much sequences of one species do, and how their middles
 * differ from each other says the rest.  No labels are needed.
 */
#ifndef DNAS_KMER_ADAPT_H
#define DNAS_KMER_ADAPT_H

#include "common/err.h"
#include "common/kmer_model.h"
#include "common/seq.h"

#ifdef __cplusplus
extern "C" {
#endif

enum dnas_kmer_adapt_how {
    DNAS_KMER_ADAPT_NONE,
    DNAS_KMER_ADAPT_OWN,    /* a map from these sequences alone, of the model's profile and size */
    DNAS_KMER_ADAPT_SHRUNK, /* the model's map, turned and scaled as far as the halves insist */
};
/* "none", "own", "shrunk", NULL. */
extern const char *const dnas_kmer_adapts[];

/* Halves shorter than this teach nothing. */
#define DNAS_KMER_ADAPT_MIN_HALF_BP 500
/* Of longer sequences the first letters are enough. */
#define DNAS_KMER_ADAPT_MAX_BP 100000

/* A model made of m and of the sequences of regular files, which are read through once; options'
 * shard does not count.  NULL with a sentence: input that cannot be read a second time, a model
 * with layers or lengths, fewer than two sequences that are long enough.  Free with
 * dnas_kmer_model_free.  Memory does not grow with the input. */
struct dnas_kmer_model *dnas_kmer_adapt(const struct dnas_kmer_model *m,
                                        enum dnas_kmer_adapt_how how, char *const *paths,
                                        int n_paths, const struct dnas_seq_options *options,
                                        int n_threads, struct dnas_err *err);

#ifdef __cplusplus
}
#endif
#endif
