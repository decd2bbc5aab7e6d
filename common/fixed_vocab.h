/* SPDX-License-Identifier: MIT
 *
 * fixed_vocab.h - tokens of a fixed number of letters: single letters
 * (HyenaDNA), or k-mers with single letters between them (Nucleotide
 * Transformer).  Used through tokenizer.h.
 */
#ifndef DNAS_FIXED_VOCAB_H
#define DNAS_FIXED_VOCAB_H

#include <stddef.h>
#include <stdint.h>

#include "common/bpe.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Never changes once made, so threads may share it. */
struct dnas_fixed_vocab;

/* HyenaDNA's twelve: [CLS] 0, [SEP] 1, [BOS] 2, [MASK] 3, [PAD] 4, [RESERVED] 5,
 * [UNK] 6, A 7, C 8, G 9, T 10, N 11.  Every other character is an [UNK]; a row
 * ends with [SEP] (tokenization_hyena.py of LongSafari/hyenadna-*-hf). */
struct dnas_fixed_vocab *dnas_fixed_vocab_letters(void);

/* A vocab.txt, n bytes, one token a line, the first 0: <unk>, <pad>, <mask> and
 * <cls> at least of the tokens in angle brackets; all 4^k words over A, C, G, T
 * of one k, 2 to 7; single capital letters, A, C, G and T at least.  From left to
 * right, k letters of A, C, G, T are a k-mer and else one letter is a token; so
 * an N ends a frame and the next one begins behind it, and what is left at the
 * end are single letters.  A run of other characters is one <unk>.  A row begins
 * with <cls> and has nothing behind it (Dalla-Torre et al. 2025; EsmTokenizer of
 * transformers with eos_token null).  NULL with a sentence for another text. */
struct dnas_fixed_vocab *dnas_fixed_vocab_read(const char *text, size_t n, struct dnas_err *err);

/* The vocab.txt of Nucleotide Transformer v2, 0-terminated; free with free().
 * 4107 tokens: <unk> 0, <pad> 1, <mask> 2, <cls> 3, <eos> 4, <bos> 5, then
 * 6-mers in the order A, T, C, G, then A, T, C, G and N. */
char *dnas_fixed_vocab_nt_text(void);

/* v may be NULL. */
void dnas_fixed_vocab_free(struct dnas_fixed_vocab *v);

/* As dnas_bpe_size, dnas_bpe_text, dnas_bpe_id, dnas_bpe_unk. */
size_t dnas_fixed_vocab_size(const struct dnas_fixed_vocab *v);
const char *dnas_fixed_vocab_token(const struct dnas_fixed_vocab *v, size_t id);
int dnas_fixed_vocab_id(const struct dnas_fixed_vocab *v, const char *token);
int dnas_fixed_vocab_unk(const struct dnas_fixed_vocab *v);
/* XXH3-128 of all tokens and of the rule, in 32 hexadecimal digits, owned by v. */
const char *dnas_fixed_vocab_hash(const struct dnas_fixed_vocab *v);

/* Appends the ids of n bytes, without those around a row; linear in n.  Each
 * byte is a character, as sequences have no others.  *n_unk as in bpe.h counts
 * characters, of which an <unk> may stand for several. */
void dnas_fixed_vocab_encode(const struct dnas_fixed_vocab *v, const char *text, size_t n,
                             struct dnas_ids *ids, uint64_t *n_unk);
/* As dnas_bpe_wrap; one token is put before or behind. */
void dnas_fixed_vocab_wrap(const struct dnas_fixed_vocab *v, struct dnas_ids *ids, size_t start,
                           size_t max_tokens);

#ifdef __cplusplus
}
#endif
#endif
