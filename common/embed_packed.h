/* SPDX-License-Identifier: MIT
 *
 * embed_packed.h - windows through a network on a GPU, in packed batches.
 */
#ifndef DNAS_EMBED_PACKED_H
#define DNAS_EMBED_PACKED_H

#include "common/embed_sum.h"
#include "common/embed_window.h"
#include "common/packed.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Tokens of a batch at most, unless the user says. */
#define DNAS_BATCH_TOKENS ((size_t)65536)
/* Windows of a batch at most. */
#define DNAS_BATCH_WINDOWS ((size_t)4096)

/* Adds the windows of the source to the sum, in order.  Reading and tokenizing run on n_threads
 * threads of the host while batches are under way.
 *
 * A batch has batch_tokens tokens at most (0: DNAS_BATCH_TOKENS, or what nine tenths of the
 * device's free memory hold), or one window that is longer; where memory is refused, batches are
 * halved until the next window alone remains.  No number changes with the batches.  0 or -1; the
 * windows before an error have been added. */
int dnas_embed_packed(const struct dnas_packed *p, struct dnas_embed_source *source,
                      struct dnas_embed_sum *sum, size_t batch_tokens, int n_threads,
                      struct dnas_err *err);

#ifdef __cplusplus
}
#endif
#endif
