/* SPDX-License-Identifier: MIT
 *
 * binning_read.h - bins and the truth about them, from the files that there are.
 *
 * Bins:  LABELS (a stream or TSV), or bioboxes' format of binnings
 * Truth: the label column of LABELS; a TSV of id and label; bioboxes' format
 */
#ifndef DNAS_BINNING_READ_H
#define DNAS_BINNING_READ_H

#include <stdbool.h>

#include "common/binning.h"
#include "common/err.h"
#include "common/idmap.h"

#ifdef __cplusplus
extern "C" {
#endif

/* One sample: a set of sequences with their genomes and bins, which are numbered in order of name
 * (numbers before texts). */
struct dnas_binning_sample {
    char *name;                                 /* "" where it has none */
    struct dnas_idmap ids, genome_ids, bin_ids; /* ids: empty where truth and bins share a row */
    uint32_t *genome_order, *bin_order; /* the number in genome_ids or bin_ids of each in order */
    size_t n_sequences;
    uint64_t *length_bp; /* [n_sequences], 0: not known */
    bool *is_listed;     /* [n_sequences], whether the bins' file names it */
    struct dnas_member *genome_of, *bin_of;
    size_t n_genome_of, n_bin_of;
    bool has_lengths;

    /* The loader's own. */
    size_t length_cap, listed_cap, genome_cap, bin_cap, last_cap[2], next_cap[2];
    uint32_t *last[2]; /* [n_sequences], its last entry in genome_of and bin_of, or UINT32_MAX */
    uint32_t *next[2]; /* the sequence's entry before that one */
};

struct dnas_binning_set {
    struct dnas_binning_sample *samples;
    size_t n_samples, cap;
    bool is_named;         /* samples have names: the truth is of bioboxes' format */
    bool all_listed;       /* every sequence of the truth counts, listed or not: bioboxes' bins,
                              whose files leave out what is in no bin */
    uint64_t n_rows;       /* of the bins' file */
    uint64_t n_unlabelled; /* of these, without a true label */
    uint64_t n_repeated;   /* of these, said before: the same sequence in the same bin */
    size_t n_absent;       /* samples of the truth that a bioboxes' file of bins lacks */
};

/* Reads the bins (NULL, "-": standard input) and the truth (NULL: the bins' own labels).  In
 * bioboxes' files a sequence may have several bins, or genomes; in LABELS an id that comes twice
 * is an error where it has to be joined.  A sample of the bins that the truth lacks is an error,
 * but that one sample is compared with one sample whatever they are called.  Lengths come from
 * the truth, else from the bins' length_bp or LENGTH; two different ones for a sequence are an
 * error.  0, or -1 with a sentence that names the file; release in both cases. */
int dnas_binning_set_load(struct dnas_binning_set *set, const char *bins, const char *truth,
                          struct dnas_err *err);
void dnas_binning_set_release(struct dnas_binning_set *set);

/* What dnas_binning_compute takes; valid as long as the sample. */
struct dnas_binning_input dnas_binning_sample_input(const struct dnas_binning_sample *s);
/* The name of genome (or bin) number i; valid as long as the sample. */
const char *dnas_binning_genome_name(const struct dnas_binning_sample *s, uint32_t i);
const char *dnas_binning_bin_name(const struct dnas_binning_sample *s, uint32_t i);

/* The sample as a clustering, for dnas_agreement_compute: cluster i32, class u32 [n_sequences],
 * for the caller to free; *N is their number: all that count (see all_listed).  -1 and a sentence
 * where a sequence has several bins or genomes. */
int dnas_binning_sample_clusters(int32_t **cluster, uint32_t **class_, size_t *N,
                                 const struct dnas_binning_set *set,
                                 const struct dnas_binning_sample *s, struct dnas_err *err);

#ifdef __cplusplus
}
#endif
#endif
