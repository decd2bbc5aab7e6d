/* SPDX-License-Identifier: MIT
 *
 * kmer_net.h - a small network on top of a k-mer map, trained contrastively.
 *
 *   y' = y + out gelu(hidden y + hidden_bias) + out_bias
 *
 * begins as y itself (out and out_bias are 0 at first) and learns the difference.
 * A step draws classes without replacement and some rows of each, so that classes
 * with more rows do not count for more; a row may be made noisier, as if it were a
 * shorter piece of the same class; and AdamW follows the gradient of an objective of
 * contrastive.h over y' / |y'|.  Only `hidden` and `out` decay.
 */
#ifndef DNAS_KMER_NET_H
#define DNAS_KMER_NET_H

#include <stddef.h>
#include <stdint.h>

#include "common/err.h"

#ifdef __cplusplus
extern "C" {
#endif

enum dnas_kmer_objective {
    DNAS_KMER_SUPCON,  /* supervised contrastive, four rows of a class */
    DNAS_KMER_WSIMCLR, /* Weighted SimCLR, two */
};
/* "supcon", "wsimclr", NULL. */
extern const char *const dnas_kmer_objectives[];

/* All weights are one array: hidden [H,O], hidden_bias [H], out [O,H], out_bias [O]. */
struct dnas_kmer_net {
    size_t O, H, n;
    float *w; /* [n] */
    float *hidden, *hidden_bias, *out, *out_bias;
};

/* hidden is drawn so that gelu's inputs vary by 1 where inputs have this root mean square; draws
 * DNAS_RNG_KMER_NET_INIT.  O or H of 0 is a bug.  Release with dnas_kmer_net_release. */
void dnas_kmer_net_init(struct dnas_kmer_net *net, size_t O, size_t H, double rms, uint64_t seed);
void dnas_kmer_net_release(struct dnas_kmer_net *net);

/* A batch of n rows, with room for all that lies between input and gradient. */
struct dnas_kmer_net_batch;
/* Room for exactly n rows, an even number, for one caller at a time.  Free with
 * dnas_kmer_net_batch_free (NULL is fine). */
struct dnas_kmer_net_batch *dnas_kmer_net_batch_new(size_t n, size_t O, size_t H, int n_threads);
void dnas_kmer_net_batch_free(struct dnas_kmer_net_batch *b);

/* The objective over the batch and its gradient by the weights.
 *   loss   f64       g  f32 [net->n]
 *   y      f32 [n,O]
 *   keep   f32 [n,H]  what the hidden values are multiplied with (dropout); NULL: 1
 *   label  u32 [n]    of n rows; for Weighted SimCLR rows i and i + n/2 share one
 * 0, or -1 with a sentence where an anchor has nothing to be told apart from. */
int dnas_kmer_net_gradient(struct dnas_kmer_net_batch *b, double *loss, float *g,
                           const struct dnas_kmer_net *net, const float *y, const float *keep,
                           const uint32_t *label, enum dnas_kmer_objective objective,
                           double temperature, struct dnas_err *err);

/* What is learnt from; arrays are borrowed. */
struct dnas_kmer_net_rows {
    size_t N, O;
    const float *y;            /* [N,O] */
    const uint32_t *label;     /* [N] */
    const uint32_t *length_bp; /* [N]; NULL: rows are not made noisier */
    const float *noise_kb;     /* [O] variance of y in a piece of 1 kb; NULL as above */
};

struct dnas_kmer_net_options {
    enum dnas_kmer_objective objective;
    uint64_t n_steps;
    size_t n_classes; /* a step, fewer where there are fewer; 2 or more */
    double temperature, rate, decay, dropout;
    double shortest; /* a row becomes as noisy as a piece of this share of it, up to the whole,
                        evenly drawn; 1: stays as it is */
    uint64_t seed;   /* draws DNAS_RNG_KMER_NET_CLASSES, _ROWS, _NOISE by step */
    uint64_t every;  /* `look` is called before step 0 and after each so many; 0: never */
    void (*look)(void *ctx, uint64_t n_done, const struct dnas_kmer_net *net);
    void *ctx;
    int n_threads;
};
#define DNAS_KMER_NET_DEFAULTS                                                                     \
    {                                                                                              \
        .n_classes = 64, .temperature = 0.1, .rate = 3e-4, .decay = 0.1, .dropout = 0.2,           \
        .shortest = 0.25                                                                           \
    }

/* Trains net in place.  *loss: the mean of the last 100 steps.  The same bytes for any number of
 * threads.  0, or -1 with a sentence: fewer than two classes of two rows, a gradient that is not
 * finite. */
int dnas_kmer_net_train(struct dnas_kmer_net *net, double *loss,
                        const struct dnas_kmer_net_rows *rows,
                        const struct dnas_kmer_net_options *options, struct dnas_err *err);

#ifdef __cplusplus
}
#endif
#endif
