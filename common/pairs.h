/* SPDX-License-Identifier: MIT
 *
 * pairs.h - PAIRS to train by: two views of a species in each row.
 *
 *   genomes ── index ──> draws ── marks ──> excerpt ──> rows in the order of their numbers
 *
 * Pair i is a function of seed, options, collection and i: it is drawn twice,
 * once to mark what must be read and once to be written, and never stored.
 */
#ifndef DNAS_PAIRS_H
#define DNAS_PAIRS_H

#include "common/mutate.h"
#include "common/stream.h"
#include "common/windows.h"

#ifdef __cplusplus
extern "C" {
#endif

enum dnas_positives {
    DNAS_POSITIVES_SPECIES,  /* two windows of a species that do not overlap */
    DNAS_POSITIVES_DROPOUT,  /* a window twice: the network's dropout is the difference */
    DNAS_POSITIVES_STRAND,   /* a window and its other strand */
    DNAS_POSITIVES_MUTATION, /* a window without and with errors */
};

enum dnas_balance {
    DNAS_BALANCE_SPECIES, /* each species as often, but for one */
    DNAS_BALANCE_SIZE,    /* as likely as it has letters */
};

enum dnas_validate_by { DNAS_VALIDATE_BY_PAIR, DNAS_VALIDATE_BY_SPECIES };

/* What is drawn from, in letters kept in memory at most; more go to TMPDIR. */
#define DNAS_PAIRS_STORE_BYTES (UINT64_C(64) << 20)
/* The longest window: two of them for each thread are held at a time. */
#define DNAS_PAIRS_MAX_WINDOW_BP 10000000

/* Species by their numbers in the index. */
struct dnas_species_list {
    uint32_t *v;
    size_t n, cap;
};

void dnas_species_list_add(struct dnas_species_list *l, size_t species);

struct dnas_pairs {
    uint64_t n_pairs; /* below 2^32 */
    struct dnas_range length;
    bool both_strands; /* each window from either strand; else from the one given */
    enum dnas_positives positives;
    enum dnas_balance balance;
    double validation; /* the share of split = 1 */
    enum dnas_validate_by validate_by;
    double rate; /* of DNAS_POSITIVES_MUTATION */
    enum dnas_profile profile;
    bool complement_only; /* DNAS_POSITIVES_STRAND: as DNABERT-S has it, without reversing */
    uint64_t seed;
    int n_threads;
    struct dnas_species_list skipped; /* out: without enough windows; free skipped.v */
    uint64_t n_validation;            /* out: rows of split = 1 */
};

/* How many windows a species must have. */
size_t dnas_pairs_windows_needed(const struct dnas_pairs *p);

/* PAIRS: id, seq_a, seq_b, split, label.  An id is NUMBER/WINDOW/WINDOW, its
 * windows as dnas_window_name has them. */
void dnas_pairs_header(struct dnas_header *h);
/* Draws the pairs and writes them as rows of w.  0 or -1. */
int dnas_pairs_run(struct dnas_pairs *p, const struct dnas_genomes *g, struct dnas_writer *w,
                   struct dnas_err *err);

#ifdef __cplusplus
}
#endif
#endif
