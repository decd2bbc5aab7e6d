/* SPDX-License-Identifier: MIT
 *
 * kmer_profile.h - what a sequence is made of: frequencies of canonical k-mers,
 * for one or several k side by side, transformed.
 *
 * Only the longest k-mers are counted.  Shorter ones are taken from them: each
 * k-mer holds two of one letter less, and gives one count to either.  So all
 * counts are whole numbers, a sequence and its reverse complement have the
 * same, and a sequence may be counted in pieces.
 */
#ifndef DNAS_KMER_PROFILE_H
#define DNAS_KMER_PROFILE_H

#include <stddef.h>
#include <stdint.h>

#include "common/err.h"

#ifdef __cplusplus
extern "C" {
#endif

/* f: a k-mer's share of all, with its reverse complement's.  n: of all k-mers, the number; K:
 * how many canonical k-mers there are. */
enum dnas_kmer_transform {
    DNAS_KMER_FREQUENCY, /* f */
    DNAS_KMER_SQRT,      /* the square root, whose noise is alike for rare and frequent k-mers */
    DNAS_KMER_CBRT,      /* the cube root */
    DNAS_KMER_LOG,       /* log((f n + 1) / (n + K)) */
};
#define DNAS_KMER_N_TRANSFORMS 4
/* "frequency", "sqrt", "cbrt", "log", NULL. */
extern const char *const dnas_kmer_transforms[];

#define DNAS_KMER_K_MIN 2
#define DNAS_KMER_K_MAX 6
#define DNAS_KMER_BLOCKS_MAX 5
/* The longest profile: every k from 2 to 6. */
#define DNAS_KMER_DIMS_MAX (10 + 32 + 136 + 512 + 2080)

struct dnas_kmer_block {
    int k;
    enum dnas_kmer_transform transform;
};

struct dnas_kmer_profile;

/* blocks [n], in rising order of k.  NULL with a sentence where they are not.  Free with
 * dnas_kmer_profile_free, which takes NULL. */
struct dnas_kmer_profile *dnas_kmer_profile_new(const struct dnas_kmer_block *blocks, int n,
                                                struct dnas_err *err);
void dnas_kmer_profile_free(struct dnas_kmer_profile *p);

/* These are thread safe. */
/* Numbers in a profile: the blocks one after the other, k-mers in the order A,C,G,T of the smaller
 * of a k-mer and its reverse complement. */
size_t dnas_kmer_profile_dims(const struct dnas_kmer_profile *p);
/* The longest k, which is to be counted (dnas_cpu_kmer_count), and 4^k. */
int dnas_kmer_profile_k(const struct dnas_kmer_profile *p);
size_t dnas_kmer_profile_n_counts(const struct dnas_kmer_profile *p);
/* out f32 [dims] from counts u64 [n_counts].  Returns how many k-mers were counted; without one
 * out is zero. */
uint64_t dnas_kmer_profile_make(const struct dnas_kmer_profile *p, float *out,
                                const uint64_t *counts);

/* How many k-mers there are when each is counted with its reverse complement. */
size_t dnas_kmer_n_canonical(int k);

#ifdef __cplusplus
}
#endif
#endif
