/* SPDX-License-Identifier: MIT
 *
 * net.c - the parameters of a network as it is trained.  Contract: net.h.
 */
#include "common/net.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/backbone.h"
#include "common/msg.h"
#include "common/rng.h"
#include "common/tape.h"
#include "common/xmem.h"
#include "kernels/kernels.h"

#define ALIGNED 16 /* floats: tensors begin at multiples of 64 bytes */
#define N_MLM 5

static void add_tensor(struct dnas_net *net, struct dnas_layout_tensor tensor,
                       enum dnas_net_part part)
{
    net->tensors[net->n_tensors++] =
        (struct dnas_net_tensor){.tensor = tensor, .part = part, .at = net->n};
    net->n += (tensor.n + ALIGNED - 1) / ALIGNED * ALIGNED;
}

/* columns of 0: one dimension */
static struct dnas_layout_tensor of_head(const char *name, size_t rows, size_t columns,
                                         enum dnas_role role, const float **field)
{
    struct dnas_layout_tensor t = {
        .n_dims = columns ? 2 : 1, .shape = {rows, columns}, .role = role, .field = field};

    snprintf(t.name, sizeof(t.name), "%s", name);
    t.n = rows * (columns ? columns : 1);
    t.layer = SIZE_MAX;
    return t;
}

static void add_heads(struct dnas_net *net)
{
    const char *const *name = net->backbone->mlm_head;
    size_t C = net->shape.C;

    if (net->heads.P > 0) {
        add_tensor(net, of_head("head.0.weight", C, C, DNAS_ROLE_MATRIX, &net->head0),
                   DNAS_NET_HEAD);
        add_tensor(net, of_head("head.2.weight", net->heads.P, C, DNAS_ROLE_MATRIX, &net->head2),
                   DNAS_NET_HEAD);
    }
    if (net->heads.mlm) {
        const struct dnas_layout_tensor mlm[N_MLM] = {
            of_head(name[0], C, C, DNAS_ROLE_MATRIX, &net->mlm_dense_w),
            of_head(name[1], C, 0, DNAS_ROLE_BIAS, &net->mlm_dense_b),
            of_head(name[2], C, 0, DNAS_ROLE_NORM, &net->mlm_norm_w),
            of_head(name[3], C, 0, DNAS_ROLE_NORM, &net->mlm_norm_b),
            of_head(name[5], net->shape.V, 0, DNAS_ROLE_BIAS, &net->mlm_bias),
        };

        for (size_t i = 0; i < N_MLM; i++)
            add_tensor(net, mlm[i], DNAS_NET_MLM);
    }
}

void dnas_net_lay_out(struct dnas_net *net, const struct dnas_backbone *backbone,
                      const struct dnas_shape *shape, const struct dnas_net_heads *heads, size_t n,
                      void (*tensor)(struct dnas_layout_tensor *out, struct dnas_net *net,
                                     size_t i))
{
    net->backbone = backbone;
    net->shape = *shape;
    net->heads = *heads;
    net->tensors = dnas_xzalloc(n + 2 + N_MLM, sizeof(*net->tensors));
    for (size_t i = 0; i < n; i++) {
        struct dnas_layout_tensor t;

        tensor(&t, net, i);
        add_tensor(net, t, DNAS_NET_ENCODER);
    }
    add_heads(net);
    net->w = dnas_xalloc64(net->n, sizeof(*net->w));
    net->g = dnas_xalloc64(net->n, sizeof(*net->g));
    memset(net->w, 0, net->n * sizeof(*net->w));
    memset(net->g, 0, net->n * sizeof(*net->g));
    for (size_t i = 0; i < net->n_tensors; i++)
        *net->tensors[i].tensor.field = net->w + net->tensors[i].at;
}

struct dnas_net *dnas_net_new(const struct dnas_backbone *backbone, const struct dnas_shape *shape,
                              const struct dnas_network *like, const struct dnas_net_heads *heads)
{
    return backbone->net_new(shape, like, heads);
}

void dnas_net_free(struct dnas_net *net)
{
    if (!net)
        return;
    net->backbone->net_release(net);
    free(net->tensors);
    free(net->w);
    free(net->g);
    free(net->narrow);
    free(net);
}

static void draw_tensor(float *to, const struct dnas_net_tensor *t, uint64_t seed, uint32_t row)
{
    struct dnas_rng rng;
    double reach = 1 / sqrt((double)t->tensor.shape[1]);

    dnas_rng_init(&rng, seed, DNAS_RNG_WEIGHTS_INIT, 0, row);
    for (size_t i = 0; i < t->tensor.n; i++)
        to[i] = t->part == DNAS_NET_HEAD ? (float)(reach * (2 * dnas_rng_uniform(&rng) - 1))
                                         : (float)(0.02 * dnas_rng_normal(&rng));
}

static bool is_weight_of_norm(const struct dnas_layout_tensor *t)
{
    const char *dot = strrchr(t->name, '.');

    return t->role == DNAS_ROLE_NORM && dot && strcmp(dot, ".weight") == 0;
}

void dnas_net_init(struct dnas_net *net, uint64_t seed, bool encoder)
{
    for (size_t i = 0; i < net->n_tensors; i++) {
        const struct dnas_net_tensor *t = &net->tensors[i];
        float *to = net->w + t->at;

        if (t->part == DNAS_NET_ENCODER && !encoder)
            continue;
        switch (t->tensor.role) {
        case DNAS_ROLE_TABLE:
        case DNAS_ROLE_MATRIX:
            draw_tensor(to, t, seed, (uint32_t)i);
            break;
        case DNAS_ROLE_BIAS:
        case DNAS_ROLE_NORM:
            for (size_t k = 0; k < t->tensor.n; k++)
                to[k] = is_weight_of_norm(&t->tensor) ? 1 : 0;
            break;
        }
    }
    if (encoder && net->backbone->net_init)
        net->backbone->net_init(net, seed);
}

void dnas_net_copy(struct dnas_net *net, struct dnas_network *from)
{
    if (net->backbone != from->backbone ||
        memcmp(&net->shape, &from->shape, sizeof(net->shape)) != 0)
        DNAS_BUG("a network of another shape");
    for (size_t i = 0; i < net->n_tensors && net->tensors[i].part == DNAS_NET_ENCODER; i++) {
        struct dnas_layout_tensor t;

        from->backbone->tensor(&t, from, i);
        memcpy(net->w + net->tensors[i].at, *t.field, t.n * sizeof(float));
    }
}

int dnas_net_copy_mlm(struct dnas_net *net, struct dnas_network *from, const char *name,
                      bool speaks, struct dnas_err *err)
{
    size_t C = net->shape.C, V = net->shape.V;
    struct dnas_network_head head;
    int found = dnas_network_mlm_head(from, &head, err);

    if (found > 0 && memcmp(head.decoder_w, dnas_net_words(net), V * C * sizeof(float)) == 0) {
        memcpy((float *)net->mlm_dense_w, head.dense_w, C * C * sizeof(float));
        memcpy((float *)net->mlm_dense_b, head.dense_b, C * sizeof(float));
        memcpy((float *)net->mlm_norm_w, head.norm_w, C * sizeof(float));
        memcpy((float *)net->mlm_norm_b, head.norm_b, C * sizeof(float));
        memcpy((float *)net->mlm_bias, head.bias, V * sizeof(float));
        if (speaks)
            dnas_msg_verbose("%s: its head for masked tokens is taken over", name);
    } else if (found >= 0 && speaks) {
        dnas_msg_verbose(found ? "%s: its head for masked tokens has a decoder that is not its "
                                 "table of words: a new head begins"
                               : "%s: has no head for masked tokens: a new one begins",
                         name);
    }
    return found < 0 ? -1 : 0;
}

int dnas_net_read(float *to, const struct dnas_net *net, struct dnas_weights *w, const char *prefix,
                  struct dnas_err *err)
{
    for (size_t i = 0; i < net->n_tensors; i++) {
        const struct dnas_layout_tensor *t = &net->tensors[i].tensor;
        const struct dnas_tensor *x = dnas_weights_find(w, prefix, t->name);
        const float *data;

        if (!x)
            return dnas_err_set(err, "the tensor '%s%s' is missing", prefix, t->name);
        if (x->n_elements != t->n || x->shape[0] != t->shape[0])
            return dnas_err_set(err, "the tensor '%s' is not of this network's shape", x->name);
        data = dnas_tensor_f32(w, x, err);
        if (!data)
            return -1;
        memcpy(to + net->tensors[i].at, data, t->n * sizeof(*to));
    }
    return 0;
}

float *dnas_net_grad(const struct dnas_net *net, const float *w)
{
    return net->g + (w - net->w);
}

size_t dnas_net_size(const struct dnas_net *net)
{
    size_t n = 0;

    for (size_t i = 0; i < net->n_tensors; i++)
        n += net->tensors[i].tensor.n;
    return n;
}

const char *dnas_net_not_finite(const struct dnas_net *net, const float *x)
{
    for (size_t i = 0; i < net->n_tensors; i++) {
        const float *at = x + net->tensors[i].at;

        for (size_t k = 0; k < net->tensors[i].tensor.n; k++)
            if (!isfinite(at[k]))
                return net->tensors[i].tensor.name;
    }
    return NULL;
}

void dnas_net_use_bf16(struct dnas_net *net)
{
    net->narrow = dnas_xalloc64(net->n, sizeof(*net->narrow));
    dnas_net_narrow(net);
}

void dnas_net_narrow(struct dnas_net *net)
{
    if (net->narrow)
        dnas_cpu_bf16_from_f32(net->narrow, net->w, net->n);
}

const uint16_t *dnas_net_narrowed(const struct dnas_net *net, const float *w)
{
    return net->narrow + (w - net->w);
}

const float *dnas_net_words(const struct dnas_net *net)
{
    return net->w + net->tensors[0].at;
}

/* ---- a sequence ---- */

/* A tape without memory. */
static struct dnas_tape *bare_tape(const struct dnas_net *net, size_t max_T, bool with_backward)
{
    struct dnas_tape *t = dnas_xzalloc(1, net->backbone->tape->size);

    t->net = net;
    t->max_T = max_T;
    t->with_backward = with_backward;
    t->kept = dnas_xzalloc(net->shape.L, net->backbone->tape->kept_size);
    return t;
}

static void free_tape(struct dnas_tape *t)
{
    free(t->memory);
    free(t->kept);
    free(t);
}

/* Hands out t's memory (NULL: none yet); the bytes that it takes. */
static uint64_t carve(struct dnas_tape *t)
{
    const struct dnas_shape *s = &t->net->shape;
    struct dnas_carving c = {t->memory, 0};
    size_t n_inputs = t->with_backward ? s->L + 1 : 1;

    t->x = dnas_carve(&c, n_inputs * (uint64_t)t->max_T * s->C, sizeof(*t->x));
    t->net->backbone->tape->carve(t, &c);
    return c.used;
}

uint64_t dnas_tape_bytes(const struct dnas_net *net, size_t max_T, bool with_backward)
{
    struct dnas_tape *t = bare_tape(net, max_T, with_backward);
    uint64_t n = carve(t) + dnas_tape_narrow_bytes(net);

    free_tape(t);
    return n;
}

struct dnas_tape *dnas_tape_new(const struct dnas_net *net, size_t max_T, bool with_backward)
{
    struct dnas_tape *t = bare_tape(net, max_T, with_backward);

    t->memory = dnas_xalloc64(carve(t), 1);
    carve(t);
    dnas_tape_narrow_init(t);
    return t;
}

void dnas_tape_free(struct dnas_tape *t)
{
    if (!t)
        return;
    dnas_tape_narrow_release(t);
    free_tape(t);
}

float *dnas_tape_input(struct dnas_tape *t, size_t l)
{
    return t->with_backward ? t->x + l * t->max_T * t->net->shape.C : t->x;
}

static void check_length(const struct dnas_tape *t, size_t T)
{
    if (T > t->max_T)
        DNAS_BUG("%zu tokens on a tape for %zu", T, t->max_T);
}

void dnas_tape_embed(struct dnas_tape *t, const uint16_t *ids, size_t T,
                     const struct dnas_dropout *chance)
{
    check_length(t, T);
    t->net->backbone->tape->embed(t, ids, T, chance);
}

const float *dnas_tape_forward(struct dnas_tape *t, size_t from, size_t to, size_t T,
                               const struct dnas_dropout *chance)
{
    check_length(t, T);
    return t->net->backbone->tape->forward(t, from, to, T, chance);
}

void dnas_tape_backward(struct dnas_tape *t, float *dx, size_t from, size_t to, size_t T,
                        const struct dnas_dropout *chance, const struct dnas_net_order *order)
{
    if (!t->with_backward)
        DNAS_BUG("a tape without backward");
    t->net->backbone->tape->backward(t, dx, from, to, T, chance, order);
}

void dnas_tape_backward_embed(struct dnas_tape *t, float *dx, const uint16_t *ids, size_t T,
                              bool freeze_first, const struct dnas_dropout *chance,
                              const struct dnas_net_order *order)
{
    t->net->backbone->tape->backward_embed(t, dx, ids, T, freeze_first, chance, order);
}

/* ---- turns ---- */

void dnas_net_wait(const struct dnas_net_order *order, size_t slot)
{
    if (order->turns)
        dnas_turns_wait(order->turns, slot, order->task);
}

void dnas_net_pass(const struct dnas_net_order *order, size_t slot)
{
    if (order->turns)
        dnas_turns_pass(order->turns, slot);
}

size_t dnas_net_n_slots(const struct dnas_net *net)
{
    return net->backbone->tape->n_slots(net) + 1;
}

size_t dnas_net_mlm_slot(const struct dnas_net *net)
{
    return net->backbone->tape->n_slots(net);
}
