/* SPDX-License-Identifier: MIT
 *
 * pair_source.h - rows of PAIRS of tokens in any order, as training asks for them.
 *
 *   FILE ──(one pass: hashes, index)──> row -> tokens_a, tokens_b, label, split
 *
 * A plain regular file stays where it is.  Everything else (standard input, a
 * pipe, a compressed file) is first written to a plain file, the spool, which
 * is whole or not there, and is kept: a resumed run reads it again.
 */
#ifndef DNAS_PAIR_SOURCE_H
#define DNAS_PAIR_SOURCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/stream.h"

#ifdef __cplusplus
extern "C" {
#endif

struct dnas_pair_source;

struct dnas_pair_source_options {
    const char *path;  /* NULL, "-": standard input */
    const char *spool; /* where to write what cannot be read in place; a stem is "OUTPUT.pairs" */
    bool resume;       /* for standard input: the spool of the run before, and nothing else */
    size_t max_tokens; /* longer members are cut; 0: none, 1 is a bug */
};

/* Reads all once: every hash is checked, a row without tokens, a split that is
 * neither 0 nor 1, a file with nothing to train on are errors.  Memory: some 50
 * bytes a block of rows, 8 a row, and the labels' texts.  NULL on an error. */
struct dnas_pair_source *dnas_pair_source_open(const struct dnas_pair_source_options *o,
                                               struct dnas_err *err);
/* NULL is fine. */
void dnas_pair_source_close(struct dnas_pair_source *s);

/* The file that is read: the path or the spool. */
const char *dnas_pair_source_name(const struct dnas_pair_source *s);
const struct dnas_header *dnas_pair_source_header(const struct dnas_pair_source *s);
/* The content's identity, for a checkpoint: XXH3 over the hashes of the blocks.
 * A spool has its own blocks, so that a file and its spool may differ in it. */
uint64_t dnas_pair_source_hash(const struct dnas_pair_source *s);

size_t dnas_pair_source_n_train(const struct dnas_pair_source *s);      /* rows with split 0 */
size_t dnas_pair_source_n_validation(const struct dnas_pair_source *s); /* rows with split 1 */
size_t dnas_pair_source_n_labels(const struct dnas_pair_source *s);     /* different texts */
/* The longest member in tokens, after the cut; and the largest id of all. */
size_t dnas_pair_source_max_length(const struct dnas_pair_source *s);
uint16_t dnas_pair_source_max_id(const struct dnas_pair_source *s);

/* The row's label as a number: equal for equal texts; a row whose label is
 * empty, or a file without labels, has a number of its own for each row. */
uint32_t dnas_pair_source_label(const struct dnas_pair_source *s, uint32_t row);

/* Batches of B of an epoch: its last rows, fewer than B, are left out. */
size_t dnas_pair_source_n_batches(const struct dnas_pair_source *s, size_t B);
/* The rows of a batch (counted from 0): a uniform order of all rows of split 0,
 * another one each epoch (dnas_draw_order). */
void dnas_pair_source_batch(const struct dnas_pair_source *s, uint32_t *rows, size_t B,
                            uint64_t seed, uint32_t epoch, size_t batch);
/* The k-th row of split 1, in file order. */
uint32_t dnas_pair_source_validation(const struct dnas_pair_source *s, size_t k);

/* The tokens of a row's first (member 0) or second member (1).
 *   tokens  u16 [max_length]      n  how many
 * Where max_tokens cuts, the first max_tokens - 1 are kept and the last one, if
 * all members of the file end with one and the same id ([SEP]); else the first
 * max_tokens.  Reads from the file what is asked for; thread safe.  0, or -1
 * where the file cannot be read or is not what it was. */
int dnas_pair_source_tokens(const struct dnas_pair_source *s, uint16_t *tokens, size_t *n,
                            uint32_t row, int member, struct dnas_err *err);

#ifdef __cplusplus
}
#endif
#endif
