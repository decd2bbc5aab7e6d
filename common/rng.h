/* SPDX-License-Identifier: MIT
 *
 * rng.h - counter-based random numbers (Philox4x32-10).
 *
 * Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2,
 * 3", SC 2011.  A number is a function of (seed, purpose, step, row) and its
 * index, and of nothing else: no state is shared between threads, and a
 * resumed run draws what an unbroken one would have drawn.
 */
#ifndef DNAS_RNG_H
#define DNAS_RNG_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* What a number is drawn for.  Values are part of the results: never reuse or
 * renumber one. */
enum dnas_rng_purpose {
    DNAS_RNG_TEST = 0,
    DNAS_RNG_KMEANS_INIT = 1,
    DNAS_RNG_TSNE_INIT = 2,
    DNAS_RNG_PCA_INIT = 3,
    DNAS_RNG_BENCH = 4,
    DNAS_RNG_WEIGHTS_INIT = 5,
    DNAS_RNG_DROPOUT = 6, /* counter[3] is this plus 65536 times the place in the network */
    DNAS_RNG_MLM = 7,
    DNAS_RNG_FEWSHOT = 8,
    DNAS_RNG_EPOCH_ORDER = 16,
    DNAS_RNG_MIX_LAYER = 17,
    DNAS_RNG_MIX_PARTNER = 18,
    DNAS_RNG_MIX_LAMBDA = 19,
    DNAS_RNG_KMER_WINDOWS = 20,
    DNAS_RNG_MLP = 21,
    DNAS_RNG_PAIRS_SPECIES = 24,     /* step, row: turn; with --balance size 0, pair */
    DNAS_RNG_PAIRS_WINDOWS = 25,     /* row: pair */
    DNAS_RNG_PAIRS_SPLIT = 26,       /* row: pair, or 0 for the species */
    DNAS_RNG_PAIRS_MUTATION = 27,    /* row: pair */
    DNAS_RNG_BENCHMARK_SPECIES = 28, /* row: species */
    DNAS_RNG_BENCHMARK_ORDER = 29,
    DNAS_RNG_HYENA_INIT = 32,  /* row: tensor */
    DNAS_RNG_VAE_WEIGHTS = 40, /* row: layer */
    DNAS_RNG_VAE_ORDER = 41,   /* step: epoch */
    DNAS_RNG_VAE_NOISE = 42,   /* row: of the batch */
    DNAS_RNG_VAE_DROPOUT = 43, /* counter[3] is this plus 65536 times the layer */
    DNAS_RNG_KMER_NET_INIT = 44,
    DNAS_RNG_KMER_NET_CLASSES = 45, /* step: of the training */
    DNAS_RNG_KMER_NET_ROWS = 46,    /* row: class of the batch */
    DNAS_RNG_KMER_NET_NOISE = 47,   /* row: row of the batch; UINT32_MAX: dropout */
};

struct dnas_rng {
    uint32_t key[2];
    uint32_t counter[4]; /* index of the block, step, row, purpose */
    uint32_t block[4];   /* numbers not yet handed out */
    unsigned n_left;
};

/* The ten rounds: out = Philox(counter; key). */
void dnas_philox4x32(uint32_t out[4], const uint32_t counter[4], const uint32_t key[2]);

/* Starts the sequence of (seed, purpose, step, row) from its beginning.  It
 * repeats after 2^34 numbers. */
void dnas_rng_init(struct dnas_rng *rng, uint64_t seed, enum dnas_rng_purpose purpose,
                   uint32_t step, uint32_t row);

uint32_t dnas_rng_u32(struct dnas_rng *rng);
uint64_t dnas_rng_u64(struct dnas_rng *rng);
/* Uniform on [0, 1), a multiple of 2^-53. */
double dnas_rng_uniform(struct dnas_rng *rng);
/* Uniform on 0..n-1 without bias (Lemire 2019); n of 0 is a bug. */
uint64_t dnas_rng_below(struct dnas_rng *rng, uint64_t n);
/* Standard normal (Box and Muller 1958). */
double dnas_rng_normal(struct dnas_rng *rng);
/* n distinct numbers of 0..total-1 in random order (Floyd 1987, then
 * shuffled); O(n) memory.  n > total is a bug. */
void dnas_rng_sample(struct dnas_rng *rng, uint64_t *out, size_t n, uint64_t total);

#ifdef __cplusplus
}
#endif
#endif
