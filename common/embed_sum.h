/* SPDX-License-Identifier: MIT
 *
 * embed_sum.h - the windows of a sequence added up, and its row written.
 */
#ifndef DNAS_EMBED_SUM_H
#define DNAS_EMBED_SUM_H

#include "common/embed_window.h"
#include "common/stream.h"

#ifdef __cplusplus
extern "C" {
#endif

struct dnas_embed_sum {
    const struct dnas_network *network;
    struct dnas_writer *w;
    size_t dims; /* averaged down to so many */
    bool bf16;   /* type of the output */
    int n_extra; /* further columns */
    uint64_t n_tokens;
    /* The sequence whose windows are being added up. */
    double *sum; /* [C] of mean times letters */
    uint64_t length_bp;
    struct dnas_table extra;
    double *embedding; /* [dims of the network] */
    float *vector;     /* the same */
    uint16_t *narrow;
};

/* dims 0: all. */
void dnas_embed_sum_init(struct dnas_embed_sum *s, const struct dnas_embed_source *source,
                         struct dnas_writer *w, size_t dims, bool bf16);
void dnas_embed_sum_release(struct dnas_embed_sum *s);
/* The next window, in the order of the input, with the mean f64 [C] of its hidden states; writes
 * the sequence's row with its last window.  0 or -1. */
int dnas_embed_sum_add(struct dnas_embed_sum *s, const struct dnas_embed_place *p,
                       const double *mean, struct dnas_err *err);

#ifdef __cplusplus
}
#endif
#endif
