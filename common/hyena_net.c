/* SPDX-License-Identifier: MIT
 *
 * hyena_net.c - the parameters of HyenaDNA's network.  Contract: hyena_net.h.
 */
#include "common/hyena_net.h"

#include <math.h>
#include <stdlib.h>

#include "common/hyena.h"
#include "common/rng.h"
#include "common/xmem.h"

const struct dnas_hyena_net *dnas_hyena_net_of(const struct dnas_net *net)
{
    return (const struct dnas_hyena_net *)net;
}

static void tensor(struct dnas_layout_tensor *out, struct dnas_net *net, size_t i)
{
    struct dnas_hyena_net *h = (struct dnas_hyena_net *)net;

    dnas_hyena_get_tensor(out, &net->shape, &h->sizes, &h->view, i);
}

struct dnas_net *dnas_hyena_net_new(const struct dnas_shape *shape, const struct dnas_network *like,
                                    const struct dnas_net_heads *heads)
{
    struct dnas_hyena_net *h = dnas_xzalloc(1, sizeof(*h));
    struct dnas_shape own = *shape;

    h->sizes = (struct dnas_hyena_sizes){.E = 5, .W = 64};
    if (like) {
        h->sizes = *dnas_hyena_get_sizes(like);
        h->sizes.nested = false;
    } else {
        own.H = 0;
        own.V = (own.V + 7) / 8 * 8;
        own.eps = 1e-5f;
    }
    h->view.layers = dnas_xzalloc(own.L, sizeof(*h->view.layers));
    dnas_net_lay_out(&h->net, &dnas_hyena, &own, heads, dnas_hyena_n_tensors(&own), tensor);
    return &h->net;
}

/* A tensor of a layer, drawn anew: uniform on +-reach, or normal. */
static void draw(const float *to, size_t n, double reach, bool normal, uint64_t seed, uint32_t row)
{
    float *x = (float *)to;
    struct dnas_rng rng;

    dnas_rng_init(&rng, seed, DNAS_RNG_HYENA_INIT, 0, row);
    for (size_t i = 0; i < n; i++)
        x[i] = (float)(reach * (normal ? dnas_rng_normal(&rng) : 2 * dnas_rng_uniform(&rng) - 1));
}

void dnas_hyena_net_init(struct dnas_net *net, uint64_t seed)
{
    const struct dnas_hyena_net *h = dnas_hyena_net_of(net);
    size_t C = net->shape.C, F = net->shape.F;
    double branch = 0.02 / sqrt(2 * (double)net->shape.L), slow = log(0.01) / 1.5,
           fast = log(0.01) / 0.3;

    for (size_t l = 0; l < net->shape.L; l++) {
        const struct dnas_hyena_layer *y = &h->view.layers[l];
        uint32_t row = (uint32_t)(8 * l);
        float *freq = (float *)y->freq, *delta = (float *)y->delta;

        draw(y->short_w, 9 * C, 1 / sqrt(3), false, seed, row);
        draw(y->short_b, 3 * C, 1 / sqrt(3), false, seed, row + 1);
        draw(y->skip, C, 1, true, seed, row + 2);
        draw(y->out_w, C * C, branch, true, seed, row + 3);
        draw(y->down_w, C * F, branch, true, seed, row + 4);
        for (size_t i = 0; i < h->sizes.W; i++)
            freq[i] = 10;
        for (size_t c = 0; c < C; c++)
            delta[c] = (float)(slow + (fast - slow) * (double)c / (double)(C > 1 ? C - 1 : 1));
    }
}

void dnas_hyena_net_release(struct dnas_net *net)
{
    free(((struct dnas_hyena_net *)net)->view.layers);
}

/* The members that HyenaDNA's own configuration class and hyena.c read. */
json_t *dnas_hyena_net_config(const struct dnas_net *net)
{
    const struct dnas_shape *s = &net->shape;
    const struct dnas_hyena_sizes *sizes = &dnas_hyena_net_of(net)->sizes;
    json_t *own = json_pack(
        "{s:[s],s:s,s:I,s:I,s:I,s:I,s:i,s:I,s:I,s:I,s:i,s:i,s:i,s:f,s:f,s:b,s:s}", "architectures",
        "HyenaDNAModel", "model_type", "hyenadna", "n_layer", (json_int_t)s->L, "d_model",
        (json_int_t)s->C, "d_inner", (json_int_t)s->F, "vocab_size", (json_int_t)s->V,
        "pad_vocab_size_multiple", 8, "max_seq_len", (json_int_t)s->positions, "emb_dim",
        (json_int_t)sizes->E, "filter_order", (json_int_t)sizes->W, "hyena_order", 2,
        "short_filter_order", 3, "num_inner_mlps", 2, "layer_norm_epsilon", (double)s->eps,
        "activation_freq", 10.0, "use_bias", 1, "torch_dtype", "float32");

    return own;
}
