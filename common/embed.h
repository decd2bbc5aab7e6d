/* SPDX-License-Identifier: MIT
 *
 * embed.h - sequences to EMBEDDINGS.
 */
#ifndef DNAS_EMBED_H
#define DNAS_EMBED_H

#include "common/features.h"
#include "common/kmer_model.h"
#include "common/seq.h"
#include "common/stream.h"

#ifdef __cplusplus
extern "C" {
#endif

/* The columns of the EMBEDDINGS that the suite writes, in this order. */
enum dnas_embed_column { DNAS_EMBED_ID, DNAS_EMBED_VECTOR, DNAS_EMBED_LENGTH, DNAS_EMBED_LABEL };

/* The header of embeddings of C dimensions, f32 or bf16; `embedding` (what an
 * embedding is) is taken. */
void dnas_embed_header(struct dnas_header *h, size_t C, bool bf16, json_t *embedding);

/* What embeds a sequence from the counts of its k-mers. */
struct dnas_embed_counts {
    int k;           /* to be counted */
    size_t n_counts; /* 4^k */
    size_t C;        /* dimensions */
    /* out f32 [C] from counts u64 [n_counts]; thread safe */
    void (*embed)(const void *model, float *out, const uint64_t *counts);
    const void *model;
};

/* Fixed features, or a k-mer model, seen that way; both are borrowed. */
struct dnas_embed_counts dnas_embed_by_features(const struct dnas_features *f);
struct dnas_embed_counts dnas_embed_by_kmers(const struct dnas_kmer_model *m);

/* A record's row; what it points to lasts for the call that it is given to. */
struct dnas_embed_row {
    const char *id, *label; /* label "": none */
    uint32_t length_bp;
    float *x; /* [C], may be written to */
};

/* Who gets the rows. */
struct dnas_embed_taker {
    int (*take)(void *ctx, const struct dnas_embed_row *row, struct dnas_err *err); /* 0 or -1 */
    void *ctx;
    const char *doing; /* for the line of progress: "embedding" */
    uint64_t n_before; /* rows that it has already */
};

/* Hands a row for every record of s to the taker, one at a time and in the order of the records.
 * Memory does not grow with the input.  0 or -1. */
int dnas_embed_each(struct dnas_seq *s, const struct dnas_embed_counts *e,
                    const struct dnas_embed_taker *taker, int n_threads, struct dnas_err *err);

/* Embeds every record of s, averaged down to `dims` dimensions where dims is
 * not 0, into rows of w, whose header is dnas_embed_header's.  Memory does not
 * grow with the input; rows come in the order of the records, the same for any
 * number of threads.  0 or -1. */
int dnas_embed_counted(struct dnas_writer *w, struct dnas_seq *s, const struct dnas_embed_counts *e,
                       size_t dims, bool bf16, int n_threads, struct dnas_err *err);

#ifdef __cplusplus
}
#endif
#endif
