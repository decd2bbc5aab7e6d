/* SPDX-License-Identifier: MIT
 *
 * benchmark.h - labelled sequences to evaluate embeddings with, as FASTA.
 *
 * As in the evaluation of Zhou et al. 2024 (Table 5): so many sequences of
 * every species, of one length or of 2 to 20 kb, or long-tailed numbers of them
 * as binning meets.
 */
#ifndef DNAS_BENCHMARK_H
#define DNAS_BENCHMARK_H

#include "common/pairs.h"

#ifdef __cplusplus
extern "C" {
#endif

struct dnas_benchmark {
    struct dnas_range per_species; /* sequences; two numbers: drawn log-uniformly for each */
    struct dnas_range length;
    bool both_strands;
    uint64_t seed;
    int n_threads;
    struct dnas_species_list skipped; /* out: no room for the least number; free skipped.v */
    size_t n_species;                 /* out */
    uint64_t n_sequences;             /* out */
};

/* Draws windows, none overlapping another, and writes them in random order:
 *   >seq000001 label=Escherichia_coli source=NC_008253.1:1001-11000-
 * White space in a species' name becomes '_'.  0 or -1. */
int dnas_benchmark_run(struct dnas_benchmark *b, const struct dnas_genomes *g, struct dnas_out *out,
                       struct dnas_err *err);

#ifdef __cplusplus
}
#endif
#endif
