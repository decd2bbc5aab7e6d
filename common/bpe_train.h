/* SPDX-License-Identifier: MIT
 *
 * bpe_train.h - makes a byte-pair vocabulary from sequences.
 *
 * Rule: as long as the vocabulary has room, the adjacent pair of tokens that
 * would be merged most often becomes a token, and is merged in all sequences
 * from the left.  Among equals the pair of lowest ids (left, then right) wins.
 * A pair counts as often as the encoder would merge it: AAAA is two of A A,
 * and so is AAAAA.  (The Hugging Face trainer counts three and four there.)
 */
#ifndef DNAS_BPE_TRAIN_H
#define DNAS_BPE_TRAIN_H

#include <stddef.h>
#include <stdint.h>

#include "common/err.h"

#ifdef __cplusplus
extern "C" {
#endif

enum {
    DNAS_BPE_TRAIN_VOCAB_MIN = 9, /* [UNK] [CLS] [SEP] [PAD] [MASK] A C G T */
    DNAS_BPE_TRAIN_VOCAB_MAX = 16384,
    DNAS_BPE_TRAIN_TOKEN_LEN = 32, /* DNABERT-2's longest */
};

struct dnas_bpe_trainer;

/* Memory: one byte for each letter added, and 4 vocab_size^2 bytes for the
 * counts of pairs (64 MiB at 4096).
 *   vocab_size  entries in all, DNAS_BPE_TRAIN_VOCAB_MIN to _MAX
 *   token_len   letters of the longest token allowed, at least 1
 * Other values are a bug.  Free with dnas_bpe_trainer_free. */
struct dnas_bpe_trainer *dnas_bpe_trainer_new(size_t vocab_size, size_t token_len);
/* tr may be NULL. */
void dnas_bpe_trainer_free(struct dnas_bpe_trainer *tr);

/* Adds n letters.  They go on where the last call stopped; a letter other than
 * A, C, G and T (upper case) ends a stretch, and no pair reaches across. */
void dnas_bpe_trainer_add(struct dnas_bpe_trainer *tr, const char *letters, size_t n);
/* Ends a sequence: what is added next does not touch it. */
void dnas_bpe_trainer_end_sequence(struct dnas_bpe_trainer *tr);

/* Makes the vocabulary; once, and nothing may be added afterwards.  The result
 * does not depend on n_threads; threads share the stretches, so that one long
 * stretch keeps one thread busy.  It may have fewer entries than asked for,
 * when no pair is left.  Returns the text of a tokenizer.json, 0-terminated, to
 * be freed with free(), and its entries in *n_vocab (NULL: not wanted); NULL
 * with a sentence in err when there were no letters, or more than 2^32 - 1.
 * Time: one pass over the text for each token made, about a minute for 100
 * million letters and 4096 entries on one thread. */
char *dnas_bpe_trainer_run(struct dnas_bpe_trainer *tr, size_t *n_vocab, int n_threads,
                           struct dnas_err *err);

#ifdef __cplusplus
}
#endif
#endif
