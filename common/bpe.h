/* SPDX-License-Identifier: MIT
 *
 * bpe.h - byte-pair encoding: letters in, token ids out.
 *
 * The vocabulary is a Hugging Face tokenizer.json (DNABERT-2's layout).  The
 * ids are those of that library with truncation and padding off, for any
 * bytes; truncation and padding in the file are ignored.  The text is taken as
 * it is: upper-casing and U to T are the caller's.
 */
#ifndef DNAS_BPE_H
#define DNAS_BPE_H

#include <stddef.h>
#include <stdint.h>

#include "common/err.h"

#ifdef __cplusplus
extern "C" {
#endif

/* A loaded vocabulary; never changes, so threads may share it. */
struct dnas_bpe;
/* Scratch memory for encoding; one for each thread. */
struct dnas_bpe_encoder;

/* A list of ids that grows; starts as {0}, and free(ids.v) ends it. */
struct dnas_ids {
    uint16_t *v; /* [n] */
    size_t n;
    size_t cap;
};

/* Loads a tokenizer.json; NULL with a sentence in err when the file cannot be
 * read, is damaged, or asks for a behaviour that is not ours.  Understood:
 * model BPE with merges over ASCII letters, digits and '_' (either spelling),
 * an unk_token, added tokens without stripping, pre-tokenizer Whitespace or
 * none, post-processor TemplateProcessing or none.  The decoder is ignored.
 * The file is at most 64 MiB, ids are below 65536.  Free with dnas_bpe_free. */
struct dnas_bpe *dnas_bpe_load(const char *path, struct dnas_err *err);
/* The same from n bytes of JSON. */
struct dnas_bpe *dnas_bpe_load_mem(const char *json, size_t n, struct dnas_err *err);
/* bpe may be NULL. */
void dnas_bpe_free(struct dnas_bpe *bpe);

/* All ids are below this: the number of rows an embedding table needs. */
size_t dnas_bpe_size(const struct dnas_bpe *bpe);
/* The token's text, 0-terminated, owned by bpe; NULL: no token has this id. */
const char *dnas_bpe_text(const struct dnas_bpe *bpe, size_t id);
/* The id of a token's text ("[MASK]", "ACGT"); -1: there is none. */
int dnas_bpe_id(const struct dnas_bpe *bpe, const char *text);
/* The id of an unknown character. */
int dnas_bpe_unk(const struct dnas_bpe *bpe);
/* How many ids dnas_bpe_wrap adds: 2 for [CLS] and [SEP], 0 without a
 * post-processor. */
size_t dnas_bpe_n_specials(const struct dnas_bpe *bpe);
/* XXH3-128 of a canonical form in 32 hexadecimal digits, owned by bpe.  The
 * form holds the vocabulary in the order of ids, the unknown token, merges,
 * normalizer, pre-tokenizer and post-processor, but neither truncation and
 * padding nor the spelling of the JSON: DNABERT-2's and DNABERT-S's agree. */
const char *dnas_bpe_hash(const struct dnas_bpe *bpe);

struct dnas_bpe_encoder *dnas_bpe_encoder_new(void);
/* enc may be NULL. */
void dnas_bpe_encoder_free(struct dnas_bpe_encoder *enc);

/* Appends the ids of n bytes of text to *ids, without [CLS] and [SEP].
 *   n_unk  the number of characters outside the vocabulary is added to it;
 *          NULL: not wanted
 * A character is a UTF-8 code point; a broken sequence counts as U+FFFD, one
 * for each maximal part (Unicode 15, section 3.9).  The text of an added token
 * ("[MASK]") becomes that token, as in the library.  n of 0 appends nothing.
 * Linear in n; scratch memory of n/4 bytes and 80 KiB, kept in enc.  (Linear
 * times log n, and about 40 bytes a letter, for vocabularies that are not over ACGT
 * alone, hold more than 8192 mergeable tokens, tokens of more than 64 letters,
 * added tokens that begin with one of ACGT, or merges of what a later merge
 * makes.)  A run of letters of 2^31 or more is a bug. */
void dnas_bpe_encode(const struct dnas_bpe *bpe, struct dnas_bpe_encoder *enc, const char *text,
                     size_t n, struct dnas_ids *ids, uint64_t *n_unk);

/* Turns the ids from `start` on into a row for a network: keeps as many as
 * leave room for the special tokens within max_tokens (0: no limit) and puts
 * these around, [CLS] ids [SEP], which is the library's truncation on the
 * right.  So one row is
 *     start = ids->n; dnas_bpe_encode(...); dnas_bpe_wrap(bpe, ids, start, max);
 * max_tokens below dnas_bpe_n_specials() is a bug, except 0. */
void dnas_bpe_wrap(const struct dnas_bpe *bpe, struct dnas_ids *ids, size_t start,
                   size_t max_tokens);

#ifdef __cplusplus
}
#endif
#endif
