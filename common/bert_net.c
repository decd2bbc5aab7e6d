/* SPDX-License-Identifier: MIT
 *
 * bert_net.c - the parameters of the network as it is trained.  Contract: bert_net.h.
 */
#include "common/bert_net.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/rng.h"
#include "common/xmem.h"

#define ALIGNED 16 /* floats: tensors begin at multiples of 64 bytes */
#define N_MLM 5

static void add_tensor(struct dnas_bert_net *net, struct dnas_bert_tensor tensor,
                       enum dnas_net_part part)
{
    net->tensors[net->n_tensors++] =
        (struct dnas_net_tensor){.tensor = tensor, .part = part, .at = net->n};
    net->n += (tensor.n + ALIGNED - 1) / ALIGNED * ALIGNED;
}

static struct dnas_bert_tensor of_head(const char *name, size_t rows, size_t columns,
                                       enum dnas_bert_role role, const float **field)
{
    struct dnas_bert_tensor t = {.rows = rows, .columns = columns, .role = role, .field = field};

    snprintf(t.name, sizeof(t.name), "%s", name);
    t.n = rows * (columns ? columns : 1);
    t.layer = SIZE_MAX;
    return t;
}

static void lay_out(struct dnas_bert_net *net)
{
    const struct dnas_bert_shape *s = &net->shape;
    size_t C = s->C, n = dnas_bert_n_tensors(s);
#define PREDICT "cls.predictions."
#define TRANSFORM PREDICT "transform."

    net->tensors = dnas_xzalloc(n + 2 + N_MLM, sizeof(*net->tensors));
    for (size_t i = 0; i < n; i++) {
        struct dnas_bert_tensor t;

        dnas_bert_get_tensor(&t, s, &net->view, i);
        add_tensor(net, t, DNAS_NET_ENCODER);
    }
    if (net->heads.P > 0) {
        add_tensor(net, of_head("head.0.weight", C, C, DNAS_BERT_MATRIX, &net->head0),
                   DNAS_NET_HEAD);
        add_tensor(net, of_head("head.2.weight", net->heads.P, C, DNAS_BERT_MATRIX, &net->head2),
                   DNAS_NET_HEAD);
    }
    if (net->heads.mlm) {
        const struct dnas_bert_tensor mlm[N_MLM] = {
            of_head(TRANSFORM "dense.weight", C, C, DNAS_BERT_MATRIX, &net->mlm_dense_w),
            of_head(TRANSFORM "dense.bias", C, 0, DNAS_BERT_BIAS, &net->mlm_dense_b),
            of_head(TRANSFORM "LayerNorm.weight", C, 0, DNAS_BERT_NORM, &net->mlm_norm_w),
            of_head(TRANSFORM "LayerNorm.bias", C, 0, DNAS_BERT_NORM, &net->mlm_norm_b),
            of_head(PREDICT "decoder.bias", s->V, 0, DNAS_BERT_BIAS, &net->mlm_bias),
        };

        for (size_t i = 0; i < N_MLM; i++)
            add_tensor(net, mlm[i], DNAS_NET_MLM);
    }
}

struct dnas_bert_net *dnas_bert_net_new(const struct dnas_bert_shape *shape,
                                        const struct dnas_net_heads *heads)
{
    struct dnas_bert_net *net = dnas_xzalloc(1, sizeof(*net));

    net->shape = *shape;
    net->heads = *heads;
    net->view.layers = dnas_xzalloc(shape->L, sizeof(*net->view.layers));
    lay_out(net);
    net->w = dnas_xalloc64(net->n, sizeof(*net->w));
    net->g = dnas_xalloc64(net->n, sizeof(*net->g));
    memset(net->w, 0, net->n * sizeof(*net->w));
    memset(net->g, 0, net->n * sizeof(*net->g));
    for (size_t i = 0; i < net->n_tensors; i++)
        *net->tensors[i].tensor.field = net->w + net->tensors[i].at;
    net->slopes = dnas_xalloc(shape->H, sizeof(*net->slopes));
    dnas_bert_slopes(net->slopes, shape->H);
    return net;
}

void dnas_bert_net_free(struct dnas_bert_net *net)
{
    if (!net)
        return;
    free(net->view.layers);
    free(net->tensors);
    free(net->w);
    free(net->g);
    free(net->slopes);
    free(net);
}

static void draw_tensor(float *to, const struct dnas_net_tensor *t, uint64_t seed, uint32_t row)
{
    struct dnas_rng rng;
    double reach = 1 / sqrt((double)t->tensor.columns);

    dnas_rng_init(&rng, seed, DNAS_RNG_WEIGHTS_INIT, 0, row);
    for (size_t i = 0; i < t->tensor.n; i++)
        to[i] = t->part == DNAS_NET_HEAD ? (float)(reach * (2 * dnas_rng_uniform(&rng) - 1))
                                         : (float)(0.02 * dnas_rng_normal(&rng));
}

static bool is_weight_of_norm(const struct dnas_bert_tensor *t)
{
    const char *dot = strrchr(t->name, '.');

    return t->role == DNAS_BERT_NORM && dot && strcmp(dot, ".weight") == 0;
}

void dnas_bert_net_init(struct dnas_bert_net *net, uint64_t seed, bool encoder)
{
    for (size_t i = 0; i < net->n_tensors; i++) {
        const struct dnas_net_tensor *t = &net->tensors[i];
        float *to = net->w + t->at;

        if (t->part == DNAS_NET_ENCODER && !encoder)
            continue;
        switch (t->tensor.role) {
        case DNAS_BERT_TABLE:
        case DNAS_BERT_MATRIX:
            draw_tensor(to, t, seed, (uint32_t)i);
            break;
        case DNAS_BERT_BIAS:
        case DNAS_BERT_NORM:
            for (size_t k = 0; k < t->tensor.n; k++)
                to[k] = is_weight_of_norm(&t->tensor) ? 1 : 0;
            break;
        }
    }
}

void dnas_bert_net_copy(struct dnas_bert_net *net, const struct dnas_bert *b)
{
    struct dnas_bert_weights from = *dnas_bert_get_weights(b);

    if (memcmp(&net->shape, dnas_bert_get_shape(b), sizeof(net->shape)) != 0)
        DNAS_BUG("a network of another shape");
    for (size_t i = 0; i < net->n_tensors && net->tensors[i].part == DNAS_NET_ENCODER; i++) {
        struct dnas_bert_tensor t;

        dnas_bert_get_tensor(&t, &net->shape, &from, i);
        memcpy(net->w + net->tensors[i].at, *t.field, t.n * sizeof(float));
    }
}

int dnas_bert_net_read(float *to, const struct dnas_bert_net *net, struct dnas_weights *w,
                       const char *prefix, struct dnas_err *err)
{
    for (size_t i = 0; i < net->n_tensors; i++) {
        const struct dnas_bert_tensor *t = &net->tensors[i].tensor;
        const struct dnas_tensor *x = dnas_weights_find(w, prefix, t->name);
        const float *data;

        if (!x)
            return dnas_err_set(err, "the tensor '%s%s' is missing", prefix, t->name);
        if (x->n_elements != t->n || x->shape[0] != t->rows)
            return dnas_err_set(err, "the tensor '%s' is not of this network's shape", x->name);
        data = dnas_tensor_f32(w, x, err);
        if (!data)
            return -1;
        memcpy(to + net->tensors[i].at, data, t->n * sizeof(*to));
    }
    return 0;
}

float *dnas_bert_net_grad(const struct dnas_bert_net *net, const float *w)
{
    return net->g + (w - net->w);
}

size_t dnas_bert_net_size(const struct dnas_bert_net *net)
{
    size_t n = 0;

    for (size_t i = 0; i < net->n_tensors; i++)
        n += net->tensors[i].tensor.n;
    return n;
}

const char *dnas_bert_net_not_finite(const struct dnas_bert_net *net, const float *x)
{
    for (size_t i = 0; i < net->n_tensors; i++) {
        const float *at = x + net->tensors[i].at;

        for (size_t k = 0; k < net->tensors[i].tensor.n; k++)
            if (!isfinite(at[k]))
                return net->tensors[i].tensor.name;
    }
    return NULL;
}
