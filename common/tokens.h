/* SPDX-License-Identifier: MIT
 *
 * tokens.h - the rows of a TOKENS stream one by one, the windows of a sequence
 * seen to be whole and in order.
 */
#ifndef DNAS_TOKENS_H
#define DNAS_TOKENS_H

#include "common/stream.h"

#ifdef __cplusplus
extern "C" {
#endif

struct dnas_tokens;

/* One row; the pointers are valid until the next call. */
struct dnas_window {
    const struct dnas_block *block; /* where the row is, for further columns */
    uint32_t row;
    const char *label; /* [label_n] */
    size_t label_n;
    const uint16_t *ids; /* [n] */
    size_t n;
    uint32_t part, parts; /* part of 0..parts-1 */
    uint32_t length_bp;
};

struct dnas_tokens_options {
    const char *path; /* what r reads; NULL or "-": standard input */
    uint32_t shard,
        n_shards; /* only the sequences of this contiguous part (1..n) by tokens; path, a
                     regular file, is then read a first time to count them; 0, 0: all */
    bool allow_duplicate_ids; /* else a sequence whose id came before is an error */
};

/* Reads r (borrowed, nothing of it read yet), which must hold TOKENS with
 * length_bp, by which windows are weighted.  NULL on an error. */
struct dnas_tokens *dnas_tokens_new(struct dnas_reader *r,
                                    const struct dnas_tokens_options *options,
                                    struct dnas_err *err);
/* Whether what begins as a shard has others behind it, so that it is one no longer.  Known
 * beforehand for regular files, which are looked through for it; else once they come. */
bool dnas_tokens_is_joined(const struct dnas_tokens *t);
/* The next window: 1, 0 at the end, -1 on an error, also where a sequence's
 * windows are not 0, 1, ... parts-1, one after the other. */
int dnas_tokens_next(struct dnas_tokens *t, struct dnas_window *w, struct dnas_err *err);
/* Steps over all windows of the next sequence; the same results. */
int dnas_tokens_skip(struct dnas_tokens *t, struct dnas_err *err);
/* The sequence of the window that came last, and its place for messages:
 * "x.dnas: sequence 17 ('ctg17')". */
const char *dnas_tokens_id(const struct dnas_tokens *t);
const char *dnas_tokens_place(struct dnas_tokens *t);
/* NULL is fine; the reader stays open. */
void dnas_tokens_free(struct dnas_tokens *t);

#ifdef __cplusplus
}
#endif
#endif
