/* SPDX-License-Identifier: MIT
 *
 * net.h - a network as it is trained: parameters and gradients in one flat
 * array each, forward with what backward needs, and backward.  network.h has
 * the same networks, only to be run.
 */
#ifndef DNAS_NET_H
#define DNAS_NET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/err.h"
#include "common/layout.h"
#include "common/network.h"
#include "common/threads.h"
#include "common/weights.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- parameters ---- */

enum dnas_net_part {
    DNAS_NET_ENCODER,
    DNAS_NET_HEAD, /* the contrastive head: "head.0.weight", "head.2.weight" */
    DNAS_NET_MLM,  /* "cls.predictions....", whose decoder is the table of words */
};

/* The heads beside the encoder.  P: outputs of the contrastive head, which is
 * Linear(C,C), ReLU, Linear(C,P) without biases; 0: none. */
struct dnas_net_heads {
    size_t P;
    bool mlm;
};

struct dnas_net_tensor {
    struct dnas_layout_tensor tensor;
    enum dnas_net_part part;
    size_t at; /* of its first element in w and g; a multiple of 16 */
};

/* A backbone's own struct begins with it. */
struct dnas_net {
    const struct dnas_backbone *backbone;
    struct dnas_shape shape;
    struct dnas_net_heads heads;
    size_t n;     /* elements of w and of g, with the few 0 between tensors */
    float *w, *g; /* [n]  parameters, gradients; the caller may write both */
    size_t n_tensors;
    struct dnas_net_tensor *tensors; /* tensors[0] is the table of words, f32 [V,C] */
    const float *head0, *head2;      /* [C,C] [P,C]; NULL without the head */
    const float *mlm_dense_w, *mlm_dense_b, *mlm_norm_w, *mlm_norm_b; /* [C,C] [C] [C] [C] */
    const float *mlm_bias;                                            /* [V] */
    uint16_t *narrow; /* [n]  w in bf16 for the products of the encoder; NULL: they are f32 */
};

/* All parameters and gradients 0.  like: an opened network of this backbone with
 * settings beyond the shape, or NULL for the usual ones. */
struct dnas_net *dnas_net_new(const struct dnas_backbone *backbone, const struct dnas_shape *shape,
                              const struct dnas_network *like, const struct dnas_net_heads *heads);
/* NULL is fine. */
void dnas_net_free(struct dnas_net *net);

/* Draws the parameters: matrices and tables N(0, 0.02), biases 0, layer norms 1
 * and 0, the contrastive head uniform on +-1/sqrt(C) (PyTorch's Linear).  With
 * encoder false the heads alone. */
void dnas_net_init(struct dnas_net *net, uint64_t seed, bool encoder);
/* Copies the encoder of an opened network of the same shape (else a bug). */
void dnas_net_copy(struct dnas_net *net, struct dnas_network *from);
/* Copies the head for masked tokens of that network, too, and says so where messages are verbose
 * and `speaks`; a file without one, or with a decoder that is not its table of words, leaves net's.
 * 0, or -1 with a sentence. */
int dnas_net_copy_mlm(struct dnas_net *net, struct dnas_network *from, const char *name,
                      bool speaks, struct dnas_err *err);
/* Copies every tensor of net called prefix + its name out of w; -1 with a
 * sentence for one that is missing or of another shape. */
int dnas_net_read(float *to, const struct dnas_net *net, struct dnas_weights *w, const char *prefix,
                  struct dnas_err *err);
/* The gradient of a parameter that a view points to. */
float *dnas_net_grad(const struct dnas_net *net, const float *w);
/* Lets the encoder's products run in bf16 with f32 sums, on w as it is at the last
 * dnas_net_narrow; parameters, gradients, norms and heads stay f32. */
void dnas_net_use_bf16(struct dnas_net *net);
void dnas_net_narrow(struct dnas_net *net); /* does nothing without bf16 */
/* The same parameter in bf16. */
const uint16_t *dnas_net_narrowed(const struct dnas_net *net, const float *w);
/* The table of words, f32 [V,C]. */
const float *dnas_net_words(const struct dnas_net *net);
/* The number of real parameters. */
size_t dnas_net_size(const struct dnas_net *net);
/* NULL, or the name of the first tensor of x, f32 [n], with a value that is not finite. */
const char *dnas_net_not_finite(const struct dnas_net *net, const float *x);

/* For backbones: fills net from the encoder's n tensors in the order of `tensor`,
 * whose fields then point into w. */
void dnas_net_lay_out(struct dnas_net *net, const struct dnas_backbone *backbone,
                      const struct dnas_shape *shape, const struct dnas_net_heads *heads, size_t n,
                      void (*tensor)(struct dnas_layout_tensor *out, struct dnas_net *net,
                                     size_t i));

/* ---- a sequence through the network ---- */

/* Chance in a step; drop is the rate times 65536, 0: no dropout. */
struct dnas_dropout {
    uint32_t drop, step, row;
    uint64_t seed;
};
/* The last number of dropout's counter at a place of the network. */
uint32_t dnas_dropout_counter(size_t site);

/* One thread's memory for a sequence of at most max_T tokens; with_backward: for
 * all layers, else for one.
 * A backbone's own begins with it. */
struct dnas_tape {
    const struct dnas_net *net;
    uint64_t flop; /* operations of the matrix products and of mixing along the sequence that ran
                      so far, a multiplication and an addition being two */
    size_t max_T;
    bool with_backward;
    float *x;            /* [L + 1][max_T,C] inputs of the layers; without backward one */
    void *kept;          /* [L] the backbone's: of each layer what backward needs */
    char *memory;        /* of x and of the backbone's arrays */
    uint16_t *narrow[2]; /* tape.c's */
};
struct dnas_tape *dnas_tape_new(const struct dnas_net *net, size_t max_T, bool with_backward);
/* NULL is fine. */
void dnas_tape_free(struct dnas_tape *t);
/* Bytes of such a tape. */
uint64_t dnas_tape_bytes(const struct dnas_net *net, size_t max_T, bool with_backward);

/* The input of layer 0: embeddings, and what else comes before the layers. */
void dnas_tape_embed(struct dnas_tape *t, const uint16_t *ids, size_t T,
                     const struct dnas_dropout *chance);
/* Where the input of layer l goes, f32 [max_T,C], for callers that make it. */
float *dnas_tape_input(struct dnas_tape *t, size_t l);
/* Runs layers from..to-1 on T tokens, after layer L-1 what follows the layers; the result f32 [T,C]
 * lives until the next call.  The bits depend on the input, the parameters and chance alone. */
const float *dnas_tape_forward(struct dnas_tape *t, size_t from, size_t to, size_t T,
                               const struct dnas_dropout *chance);

/* Whose turn it is to add to the gradients. */
struct dnas_net_order {
    struct dnas_turns *turns; /* of dnas_net_n_slots(); NULL: one task */
    size_t task;
};
/* Waits until it is this task's turn at slot; hands it on. */
void dnas_net_wait(const struct dnas_net_order *order, size_t slot);
void dnas_net_pass(const struct dnas_net_order *order, size_t slot);
/* The slots of the backbone, and one for the MLM head. */
size_t dnas_net_n_slots(const struct dnas_net *net);
/* The slot of the MLM head's gradients. */
size_t dnas_net_mlm_slot(const struct dnas_net *net);

/* Backward through layers to-1..from, which the tape has just run forward: dx,
 * f32 [T,C], the gradient of their result, becomes that of their input; the
 * gradients of the parameters are added to net->g. */
void dnas_tape_backward(struct dnas_tape *t, float *dx, size_t from, size_t to, size_t T,
                        const struct dnas_dropout *chance, const struct dnas_net_order *order);
/* Backward through the embedding; dx is spoilt.  freeze_first: row 0 of the table
 * has no gradient. */
void dnas_tape_backward_embed(struct dnas_tape *t, float *dx, const uint16_t *ids, size_t T,
                              bool freeze_first, const struct dnas_dropout *chance,
                              const struct dnas_net_order *order);

#ifdef __cplusplus
}
#endif
#endif
