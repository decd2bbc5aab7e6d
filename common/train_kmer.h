/* SPDX-License-Identifier: MIT
 *
 * train_kmer.h - a k-mer model from genomes or from pairs.
 */
#ifndef DNAS_TRAIN_KMER_H
#define DNAS_TRAIN_KMER_H

#include <stdbool.h>
#include <stdint.h>

#include "common/err.h"
#include "common/idmap.h"
#include "common/kmer_fit.h"
#include "common/kmer_model.h"
#include "common/kmer_net.h"

#ifdef __cplusplus
extern "C" {
#endif

struct dnas_train_kmer {
    struct dnas_kmer_block blocks[DNAS_KMER_BLOCKS_MAX];
    int n_blocks;
    size_t dims;  /* of the embedding, at most */
    double ridge; /* negative: chosen on held-out genera (kmer_fit.h) */
    /* From genomes: so many windows of each species, their lengths drawn evenly on a logarithmic
     * scale, their places evenly over all of the species' letters. */
    size_t windows;
    uint64_t min_bp, max_bp;
    uint64_t seed; /* draws DNAS_RNG_KMER_WINDOWS, step = species, row = window */
    const struct dnas_labels *labels; /* by id, before the headers' own; NULL: none */
    /* Embed by the mean of what a species' mean may be, given the sequence: y B / (B + v), with B
     * and v = noise + noise_kb / length of the noise model (plda.h), which the model then is
     * without. Needs lengths and genera to hold out. */
    bool shrink;
    /* Hidden values of a network on top of the map (kmer_net.h); 0: none.  The profiles of all
     * windows are then held: 4 I bytes each.  The noise model is left out. */
    size_t hidden;
    uint64_t
        hidden_steps; /* of its training; 0: chosen on held-out genera, may end as no network */
    enum dnas_kmer_objective objective;
    int n_threads;
};

/* The texts of a command line: k "4,5", transform "sqrt" or one for each k, length "BP" or
 * "LO-HI".  -1 with a sentence that names the option. */
int dnas_train_kmer_parse(struct dnas_train_kmer *t, const char *k, const char *transform,
                          const char *length, struct dnas_err *err);

/* The network is scored before its first step and after each of so many; the most steps. */
#define DNAS_TRAIN_KMER_EVERY 100
#define DNAS_TRAIN_KMER_LOOKS 21

/* What a training did. */
struct dnas_train_kmer_report {
    struct dnas_kmer_map map; /* release with dnas_kmer_map_release */
    uint64_t hidden_steps;    /* of the network; 0: there is none */
    bool steps_chosen;        /* on held-out genera, whose shares (kmer_score.h) are: */
    double look[DNAS_TRAIN_KMER_LOOKS];
    double loss;        /* of the network's last steps */
    uint64_t n_records; /* sequences or pairs that were used */
};

/* A model from
 *   FASTA, FASTQ   genomes: a sequence's species is its label (label= or species= in the header,
 *                  or `labels`), else the name of its file up to the first dot.  Files are read
 *                  twice; standard input and pipes are held in memory.
 *   PAIRS          of letters, one stream: both members of a row are of the species that `label`
 *                  names; rows of equal label belong together, a row without one is a species of
 *                  its own.  Rows of the validation split are left out.
 * paths none: standard input.  report is filled; NULL on an error, with nothing to release.  Free
 * the model with dnas_kmer_model_free. */
struct dnas_kmer_model *dnas_train_kmer_run(const struct dnas_train_kmer *t, char *const *paths,
                                            int n_paths, struct dnas_train_kmer_report *report,
                                            struct dnas_err *err);

#ifdef __cplusplus
}
#endif
#endif
