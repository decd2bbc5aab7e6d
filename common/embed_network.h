/* SPDX-License-Identifier: MIT
 *
 * embed_network.h - sequences or tokens to EMBEDDINGS by a network.
 *
 * A sequence's embedding is the mean of its windows' embeddings, each the mean
 * of the last hidden states (or logits) of all tokens, [CLS] and [SEP] included,
 * weighted by the windows' letters.
 */
#ifndef DNAS_EMBED_NETWORK_H
#define DNAS_EMBED_NETWORK_H

#include "common/network.h"
#include "common/packed.h"
#include "common/seq.h"
#include "common/stream.h"
#include "common/tokens.h"

#ifdef __cplusplus
extern "C" {
#endif

struct dnas_embed_network {
    const struct dnas_network *network;
    size_t dims; /* averaged down to so many; 0: all */
    bool bf16;   /* type of the output */
    int n_threads;
    struct dnas_packed *packed; /* the network on a GPU; NULL: on the CPU */
    size_t batch_tokens;        /* there in a batch; 0: as many as its memory holds */
    /* For sequences; tokens were cut when they were made. */
    size_t window_bp, max_tokens;
    uint64_t n_tokens; /* out */
};

/* Both write rows of w in the order of the input, the same bytes for any
 * number of threads, any batch and from either source.  w's header is dnas_embed_header's;
 * for tokens, read by r, followed by the further columns of r
 * (dnas_embed_network_header).  0 or -1. */
int dnas_embed_network_sequences(struct dnas_embed_network *e, struct dnas_writer *w,
                                 struct dnas_seq *s, struct dnas_err *err);
int dnas_embed_network_tokens(struct dnas_embed_network *e, struct dnas_writer *w,
                              struct dnas_tokens *t, const struct dnas_reader *r,
                              struct dnas_err *err);

/* Adds the columns of a TOKENS stream that its kind does not need. */
void dnas_embed_network_header(struct dnas_header *h, const struct dnas_header *tokens);

#ifdef __cplusplus
}
#endif
#endif
