/* SPDX-License-Identifier: MIT
 *
 * tokenizer.h - letters to the ids of a network, by any of three rules.
 *
 * Byte-pair encoding (DNABERT-2, DNABERT-S; bpe.h), single letters (HyenaDNA)
 * and 6-mers (Nucleotide Transformer; both fixed_vocab.h).  Which it is comes
 * from the text that a published model has beside its weights.
 */
#ifndef DNAS_TOKENIZER_H
#define DNAS_TOKENIZER_H

#include "common/bpe.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Never changes once made, so threads may share it. */
struct dnas_tokenizer;

/* A name, a file or a folder:
 *   hyena, nt  the vocabularies of HyenaDNA and of Nucleotide Transformer v2
 *              (a file of that name is ./hyena)
 *   FILE       a tokenizer.json (BPE), vocab.txt (k-mers) or
 *              tokenizer_config.json (of class HyenaDNATokenizer or
 *              CharacterTokenizer), told apart by content
 *   FOLDER     with one of these, or with a HyenaDNA network's config.json
 * NULL with a sentence that names the path.  Free with dnas_tokenizer_free. */
struct dnas_tokenizer *dnas_tokenizer_open(const char *what, struct dnas_err *err);
/* The tokenizer of a model's folder: 0, with *t NULL where the folder has none;
 * -1 where one is there and cannot be used. */
int dnas_tokenizer_open_folder(struct dnas_tokenizer **t, const char *folder, struct dnas_err *err);
/* From the n bytes of such a file. */
struct dnas_tokenizer *dnas_tokenizer_read(const char *text, size_t n, struct dnas_err *err);
/* t may be NULL. */
void dnas_tokenizer_free(struct dnas_tokenizer *t);

/* The text it was read from, which dnas_tokenizer_read takes again, and the
 * name of the file that holds it in a published folder ("vocab.txt"). */
const char *dnas_tokenizer_text(const struct dnas_tokenizer *t);
const char *dnas_tokenizer_file_name(const struct dnas_tokenizer *t);

/* All ids are below this: the number of rows an embedding table needs. */
size_t dnas_tokenizer_size(const struct dnas_tokenizer *t);
/* A token's text, owned by t; NULL: no token has this id. */
const char *dnas_tokenizer_token(const struct dnas_tokenizer *t, size_t id);
/* The id of an unknown letter; that of a masked token, -1 if there is none. */
int dnas_tokenizer_unk(const struct dnas_tokenizer *t);
int dnas_tokenizer_mask(const struct dnas_tokenizer *t);
/* The ids that stand for no letters ([CLS], <pad>, ...): how many, at most
 * DNAS_TOKENIZER_SPECIALS. */
#define DNAS_TOKENIZER_SPECIALS 7
size_t dnas_tokenizer_specials(const struct dnas_tokenizer *t,
                               uint16_t ids[DNAS_TOKENIZER_SPECIALS]);
/* How many ids dnas_tokenizer_wrap adds. */
size_t dnas_tokenizer_n_specials(const struct dnas_tokenizer *t);
/* 32 hexadecimal digits, owned by t, in which tokenizers differ that give other
 * ids; of byte-pair encodings dnas_bpe_hash. */
const char *dnas_tokenizer_hash(const struct dnas_tokenizer *t);

/* As dnas_bpe_encode and dnas_bpe_wrap; enc is dnas_bpe_encoder_new's for every
 * kind.  One row is
 *     start = ids->n; dnas_tokenizer_encode(...); dnas_tokenizer_wrap(t, ids, start, max); */
void dnas_tokenizer_encode(const struct dnas_tokenizer *t, struct dnas_bpe_encoder *enc,
                           const char *text, size_t n, struct dnas_ids *ids, uint64_t *n_unk);
void dnas_tokenizer_wrap(const struct dnas_tokenizer *t, struct dnas_ids *ids, size_t start,
                         size_t max_tokens);

#ifdef __cplusplus
}
#endif
#endif
