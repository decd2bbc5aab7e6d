/* SPDX-License-Identifier: MIT
 *
 * backbone.h - a family of networks: how one is opened, run and trained.
 *
 * network.h and net.h are what others call; a backbone fills this table, and
 * backbone.c lists it.  Its structs begin with the ones declared there.
 */
#ifndef DNAS_BACKBONE_H
#define DNAS_BACKBONE_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/carve.h"
#include "common/layout.h"
#include "common/net.h"
#include "common/network.h"

#ifdef __cplusplus
extern "C" {
#endif

/* A sequence through a network that is trained. */
struct dnas_tape_functions {
    size_t size;      /* of the backbone's struct, which begins with struct dnas_tape */
    size_t kept_size; /* of what it keeps of a layer */
    /* Hands out its arrays and those of t->kept ([L], without backward the first alone), for
     * t->max_T; called twice, with c->base NULL to count. */
    void (*carve)(struct dnas_tape *t, struct dnas_carving *c);
    size_t (*n_slots)(const struct dnas_net *net);
    /* Those of net.h. */
    void (*embed)(struct dnas_tape *t, const uint16_t *ids, size_t T,
                  const struct dnas_dropout *chance);
    const float *(*forward)(struct dnas_tape *t, size_t from, size_t to, size_t T,
                            const struct dnas_dropout *chance);
    void (*backward)(struct dnas_tape *t, float *dx, size_t from, size_t to, size_t T,
                     const struct dnas_dropout *chance, const struct dnas_net_order *order);
    void (*backward_embed)(struct dnas_tape *t, float *dx, const uint16_t *ids, size_t T,
                           bool freeze_first, const struct dnas_dropout *chance,
                           const struct dnas_net_order *order);
};

struct dnas_packed_backbone;
struct dnas_pass_backbone;

struct dnas_backbone {
    const char *name;           /* of --arch: "bert" */
    const char *model_type;     /* config.json's */
    const char *first_tensor;   /* one that each such model has, without a prefix */
    const char *const *surplus; /* parts of the names of other tasks' tensors, NULL at the end */
    const char *const *head; /* [DNAS_HEAD_TENSORS] names of the head for masked tokens, whole, in
                                the order of struct dnas_network_head; NULL: it gives no logits */

    /* ---- opened (network.h) ---- */

    /* Whether a config without a model_type is one of this backbone; NULL: it is not. */
    bool (*is_mine)(const json_t *config);
    /* A new network of the shape in config, without weights.  NULL with a sentence. */
    struct dnas_network *(*parse)(const json_t *config, struct dnas_err *err);
    size_t (*n_tensors)(const struct dnas_network *n);
    /* Tensor i, its field in n's view of the weights. */
    void (*tensor)(struct dnas_layout_tensor *out, struct dnas_network *n, size_t i);
    /* What else the file must hold, when the fields are filled; prefix stands before its names.
     * NULL: nothing.  -1 with a sentence. */
    int (*check)(struct dnas_network *n, const char *prefix, struct dnas_err *err);
    /* Called once, when the fields are filled. */
    void (*prepare)(struct dnas_network *n);
    /* Frees what parse and prepare made, without n itself. */
    void (*release)(struct dnas_network *n);
    /* Letters of a window unless the user says; NULL: DNAS_WINDOW_BP. */
    size_t (*window_bp)(const struct dnas_network *n);
    struct dnas_network_run *(*run_new)(const struct dnas_network *n);
    void (*run_free)(struct dnas_network_run *run);
    const float *(*forward)(const struct dnas_network *n, struct dnas_network_run *run,
                            const uint16_t *ids, size_t T, int skip);
    const struct dnas_packed_backbone *packed; /* on a GPU (packed.h); NULL: it cannot */

    /* ---- trained (net.h) ---- */

    /* 0, or -1 with a sentence for a shape that it cannot have; NULL: any that divides. */
    int (*check_shape)(const struct dnas_shape *shape, struct dnas_err *err);
    const char *mlm_prefix; /* of its tensors beside a head for masked tokens; NULL: it has none */
    const char *const *mlm_head; /* the names of that head, as in `head` */
    /* A new net of this shape, laid out by dnas_net_lay_out; like: an opened
     * network that has further settings, or NULL.  NULL: it cannot be trained. */
    struct dnas_net *(*net_new)(const struct dnas_shape *shape, const struct dnas_network *like,
                                const struct dnas_net_heads *heads);
    /* Draws again what dnas_net_init has drawn otherwise; NULL: nothing. */
    void (*net_init)(struct dnas_net *net, uint64_t seed);
    /* Frees what net_new made beside dnas_net_lay_out, without net itself. */
    void (*net_release)(struct dnas_net *net);
    /* What parse reads: config.json, to be freed with json_decref. */
    json_t *(*config)(const struct dnas_net *net);
    const struct dnas_tape_functions *tape;
    const struct dnas_pass_backbone *pass; /* on a GPU (pass.h); NULL: on the CPU alone */
};

/* All of them, NULL at the end. */
extern const struct dnas_backbone *const dnas_backbones[];
/* NULL: none is called so. */
const struct dnas_backbone *dnas_backbone_named(const char *name);

#ifdef __cplusplus
}
#endif
#endif
