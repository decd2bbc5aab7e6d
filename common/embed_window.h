/* SPDX-License-Identifier: MIT
 *
 * embed_window.h - windows of sequences as tokens, from letters or from a
 * stream of TOKENS, on their way through a network.
 */
#ifndef DNAS_EMBED_WINDOW_H
#define DNAS_EMBED_WINDOW_H

#include "common/network.h"
#include "common/seq.h"
#include "common/tokens.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Where windows come from. */
struct dnas_embed_source {
    const struct dnas_network *network;
    struct dnas_seq *seq;             /* either this */
    struct dnas_tokens *tokens;       /* or that, */
    const struct dnas_reader *reader; /* which reads this */
    size_t window_bp, max_tokens;     /* for sequences; 0: whole, all */
    int *extra_from, n_extra;         /* columns beside TOKENS' own, and where they come from */
    struct dnas_column *extra_columns;
};

/* Finds the further columns; seq, tokens, reader and the numbers are set. */
void dnas_embed_source_init(struct dnas_embed_source *s);
void dnas_embed_source_release(struct dnas_embed_source *s);
/* Whether TOKENS need a column of this name. */
bool dnas_embed_is_token_column(const char *name);

/* Whose window it is. */
struct dnas_embed_place {
    char *id, *label;
    uint32_t part, parts; /* parts is known at the last, else 0 from sequences */
    uint32_t length_bp;
    size_t n_tokens;
    struct dnas_table extra; /* one row of the further columns */
    uint64_t done_bytes, total_bytes;
};

void dnas_embed_place_init(struct dnas_embed_place *p, const struct dnas_embed_source *s);
void dnas_embed_place_release(struct dnas_embed_place *p);

struct dnas_embed_window {
    struct dnas_embed_place place;
    struct dnas_batch batch; /* from sequences: a batch of one piece */
    struct dnas_ids ids;
};

void dnas_embed_window_init(struct dnas_embed_window *w, const struct dnas_embed_source *s);
void dnas_embed_window_release(struct dnas_embed_window *w);
/* The next window, one thread at a time: 1, 0 at the end, -1. */
int dnas_embed_window_fill(struct dnas_embed_window *w, struct dnas_embed_source *s,
                           struct dnas_err *err);
/* Its tokens, in parallel, seen to be such as the network takes: 0 or -1. */
int dnas_embed_window_encode(struct dnas_embed_window *w, const struct dnas_embed_source *s,
                             struct dnas_bpe_encoder *encoder, struct dnas_err *err);

#ifdef __cplusplus
}
#endif
#endif
