/* SPDX-License-Identifier: MIT
 *
 * train_vae.h - a variational autoencoder of tetranucleotide frequencies, as
 * VAMB's (Nissen et al. 2021), trained on the sequences that are to be embedded.
 *
 * A row is a sequence: its TNF-K (features.h, [103]), each column shifted and scaled to mean 0 and
 * variance 1; rows weigh max(2, ln(length) - 5), scaled to mean 1.  Adam, rate 1e-3; batches of 256
 * rows, doubled after epochs 25, 75, 150 and 225, at most all of them; in an epoch each row comes
 * once, in an order of its own, but for those of a last batch that is not full.
 */
#ifndef DNAS_TRAIN_VAE_H
#define DNAS_TRAIN_VAE_H

#include <stdint.h>

#include "common/err.h"
#include "common/kmer_model.h"
#include "common/seq.h"

#ifdef __cplusplus
extern "C" {
#endif

/* VAMB's values for one sample in brackets. */
struct dnas_train_vae {
    size_t latent;  /* dimensions of the embedding [32] */
    size_t hidden;  /* width of the layers between [256] */
    int epochs;     /* [300] */
    double alpha;   /* weight of the error [0.5] */
    double beta;    /* the divergence weighs 1 / (latent beta) [200] */
    double dropout; /* [0] */
    uint64_t seed;  /* draws DNAS_RNG_VAE_* */
    int n_threads;
};
#define DNAS_TRAIN_VAE_DEFAULTS                                                                    \
    {                                                                                              \
        .latent = 32, .hidden = 256, .epochs = 300, .alpha = 0.5, .beta = 200, .seed = 1,          \
        .n_threads = 1                                                                             \
    }

struct dnas_train_vae_report {
    uint64_t n_rows;                          /* sequences that were learnt from */
    double error_first, error_last;           /* mean over an epoch of |y - x|^2 / 103, weighted */
    double divergence_first, divergence_last; /* of |mu|^2 / 2 */
};

/* Trains on the records of the files (none: standard input), read as options say but for their
 * shard; sequences without a 4-mer are left out.  The result is the encoder as a k-mer model with
 * layers, whose embedding is mu.  NULL with a sentence for input that is not sequences, fewer than
 * two of them, or numbers that leave what is finite.  Free with dnas_kmer_model_free.  Memory: 1 kB
 * a sequence. */
struct dnas_kmer_model *dnas_train_vae_run(const struct dnas_train_vae *t, char *const *paths,
                                           int n_paths, const struct dnas_seq_options *options,
                                           struct dnas_train_vae_report *report,
                                           struct dnas_err *err);

#ifdef __cplusplus
}
#endif
#endif
