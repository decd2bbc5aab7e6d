/* SPDX-License-Identifier: MIT
 *
 * tokenize.h - sequences to TOKENS, pairs of sequences to pairs of tokens.
 */
#ifndef DNAS_TOKENIZE_H
#define DNAS_TOKENIZE_H

#include "common/tokenizer.h"
#include "common/seq.h"
#include "common/stream.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Windows that a network embeds one by one (dnas-embed averages them). */
#define DNAS_WINDOW_BP 10000

struct dnas_tokenize {
    const struct dnas_tokenizer *tokenizer;
    size_t max_tokens; /* a row's limit, special tokens included; 0: none */
    size_t window_bp;  /* 0: a sequence is one row */
    bool keep_case;    /* of PAIRS; dnas_seq has its own */
    int n_threads;
    uint64_t n_tokens, n_unknown, n_cut; /* out: rows cut at max_tokens */
};

/* A last window shorter than this joins its neighbour: a tenth of a window,
 * 1000 letters at most. */
size_t dnas_min_window(size_t window_bp);

/* What a token is, for a stream's header: a new reference. */
json_t *dnas_tokenize_describe(const struct dnas_tokenize *t, uint64_t truncate_bp, bool keep_case);

/* TOKENS: id, tokens, part, parts, length_bp, label. */
void dnas_tokenize_header(struct dnas_header *h, json_t *tokens);
/* Writes the records of s as rows of w, whose header is the one above.  The
 * windows of a sequence wait until their number is known: above 8 MiB of
 * tokens in an unnamed file in TMPDIR.  0 or -1. */
int dnas_tokenize_run(struct dnas_tokenize *t, struct dnas_writer *w, struct dnas_seq *s,
                      struct dnas_err *err);

/* PAIRS of sequences read from CSV: id, tokens_a, tokens_b, split, label. */
void dnas_tokenize_csv_header(struct dnas_header *h, json_t *tokens);
int dnas_tokenize_csv(struct dnas_tokenize *t, struct dnas_writer *w, struct dnas_seq *s,
                      struct dnas_err *err);

/* PAIRS whose columns seq_a and seq_b become tokens_a and tokens_b in place;
 * the others pass through.  truncate_bp 0: whole sequences. */
int dnas_tokenize_pairs_header(struct dnas_header *h, const struct dnas_reader *r, json_t *tokens,
                               struct dnas_err *err);
int dnas_tokenize_pairs(struct dnas_tokenize *t, struct dnas_writer *w, struct dnas_reader *r,
                        uint64_t truncate_bp, struct dnas_err *err);

#ifdef __cplusplus
}
#endif
#endif
