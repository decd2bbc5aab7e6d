/* SPDX-License-Identifier: MIT
 *
 * train_kmer_net.h - a network on top of a k-mer map: how long to train it, and
 * the model of both.
 *
 * Without being told the steps it holds out a quarter of the genera in turn: the
 * map is fitted without them, the network trained on the others' windows, and each
 * DNAS_TRAIN_KMER_EVERY steps the held-out windows are scored (kmer_score.h).  The
 * number of steps with the best mean is taken for all genera together; where that is
 * none, there is no network.
 */
#ifndef DNAS_TRAIN_KMER_NET_H
#define DNAS_TRAIN_KMER_NET_H

#include "common/train_kmer.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Profiles to learn from. */
struct dnas_kmer_kept {
    size_t I, n, cap[5];
    float *x;                            /* [n,I] */
    uint32_t *label, *group, *length_bp; /* [n]; length_bp 0: not known */
    uint64_t *n_kmers;                   /* [n] */
};
/* Appends n rows; length_bp NULL: not known. */
void dnas_kmer_kept_add(struct dnas_kmer_kept *k, const float *x, const uint32_t *label,
                        const uint32_t *group, const uint32_t *length_bp, const uint64_t *n_kmers,
                        size_t n);
void dnas_kmer_kept_release(struct dnas_kmer_kept *k);

/* The model of a map alone; with t->shrink, noise being a map with a noise model of as many
 * dimensions or more, scaled by it. */
struct dnas_kmer_model *dnas_train_kmer_map_model(const struct dnas_train_kmer *t,
                                                  const struct dnas_kmer_map *map,
                                                  const struct dnas_kmer_map *noise,
                                                  struct dnas_err *err);

/* The model of report->map with t->hidden values behind it, trained on kept rows, which `fit` has
 * seen.  Fills the report.  NULL with a sentence. */
struct dnas_kmer_model *dnas_train_kmer_net(const struct dnas_train_kmer *t,
                                            const struct dnas_kmer_fit *fit,
                                            const struct dnas_kmer_kept *kept,
                                            struct dnas_train_kmer_report *report,
                                            struct dnas_err *err);

#ifdef __cplusplus
}
#endif
#endif
