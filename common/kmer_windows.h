/* SPDX-License-Identifier: MIT
 *
 * kmer_windows.h - windows drawn from labelled genomes, letters in hand.
 */
#ifndef DNAS_KMER_WINDOWS_H
#define DNAS_KMER_WINDOWS_H

#include <stddef.h>
#include <stdint.h>

#include "common/err.h"
#include "common/idmap.h"
#include "common/io.h"

#ifdef __cplusplus
extern "C" {
#endif

struct dnas_kmer_windows {
    struct dnas_in *first; /* the first file, open already (taken, also on an error); or NULL */
    size_t n_per_species;
    uint64_t min_bp, max_bp;
    uint64_t seed; /* draws DNAS_RNG_KMER_WINDOWS, step = species, row = window */
    const struct dnas_labels *labels;
    /* Called for the windows of each sequence, in the order of the files and of the windows'
     * places: letters of n windows, their lengths, and their species and genus, numbered in order
     * of appearance. */
    int (*take)(void *ctx, const char *const *letters, const size_t *lengths, size_t n,
                uint32_t species, uint32_t genus, struct dnas_err *err);
    void *ctx;
    uint64_t n_records; /* out: sequences that were read */
};

/* Draws windows of each species, evenly over all of its letters, within one sequence each; a
 * sequence shorter than the drawn length is taken whole.  A species' genus is its name up to the
 * first '_' or space.  paths none: standard input.  0 or -1. */
int dnas_kmer_windows_run(struct dnas_kmer_windows *w, char *const *paths, int n_paths,
                          struct dnas_err *err);

#ifdef __cplusplus
}
#endif
#endif
