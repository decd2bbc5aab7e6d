/* SPDX-License-Identifier: MIT
 *
 * mlm_pass.c - guessing masked tokens on a GPU, some thousand at a time, since
 * a guess has a score for each word.  Contract: mlm_pass.h.
 */
#include "common/mlm_pass.h"

#include <stdlib.h>

#include "common/carve.h"
#include "common/xmem.h"

/* Guesses at a time: scores of 4,096 words then take 32 MiB in bf16, and of few rows there are not
 * so many. */
#define MOST_GUESSES ((size_t)4096)
#define GUESSES_UNIT ((size_t)64)

struct dnas_mlm_pass {
    const struct dnas_net_cuda *net;
    size_t size; /* of a number */
    size_t most; /* guesses at a time */
    char *memory;
    char *d_all; /* [room,C]  gradients of the rows that are guessed from */
    /* [most,...] */
    char *x, *inner, *bent, *y, *d_y; /* C: see mlm_head.c */
    char *score;                      /* V */
    float *mean, *rstd;
};

static size_t size_of(enum dnas_cuda_type type)
{
    return type == DNAS_CUDA_F32 ? sizeof(float) : sizeof(uint16_t);
}

static void carve_all(struct dnas_mlm_pass *m, struct dnas_carving *c, const struct dnas_shape *s,
                      size_t room)
{
    size_t n = (room / 8 / GUESSES_UNIT + 1) * GUESSES_UNIT;

    n = n < MOST_GUESSES ? n : MOST_GUESSES;
    m->most = n;
    m->d_all = dnas_carve(c, room * s->C, m->size);
    m->x = dnas_carve(c, n * s->C, m->size);
    m->inner = dnas_carve(c, n * s->C, m->size);
    m->bent = dnas_carve(c, n * s->C, m->size);
    m->y = dnas_carve(c, n * s->C, m->size);
    m->d_y = dnas_carve(c, n * s->C, m->size);
    m->score = dnas_carve(c, n * s->V, m->size);
    m->mean = dnas_carve(c, n, sizeof(float));
    m->rstd = dnas_carve(c, n, sizeof(float));
}

uint64_t dnas_mlm_pass_bytes(const struct dnas_net *net, enum dnas_cuda_type type, size_t room)
{
    struct dnas_mlm_pass m = {.size = size_of(type)};
    struct dnas_carving c = {NULL, 0};

    carve_all(&m, &c, &net->shape, room);
    return c.used;
}

struct dnas_mlm_pass *dnas_mlm_pass_new(const struct dnas_net_cuda *net, size_t room)
{
    struct dnas_mlm_pass *m = dnas_xzalloc(1, sizeof(*m));
    struct dnas_carving c = {NULL, 0};

    m->net = net;
    m->size = size_of(net->type);
    m->memory =
        net->gpu->api->alloc(net->gpu->device, dnas_mlm_pass_bytes(net->net, net->type, room));
    c.base = m->memory;
    if (m->memory) {
        carve_all(m, &c, &net->net->shape, room);
        return m;
    }
    free(m);
    return NULL;
}

void dnas_mlm_pass_free(struct dnas_mlm_pass *m)
{
    if (!m)
        return;
    m->net->gpu->api->free(m->net->gpu->device, m->memory);
    free(m);
}

/* Some guesses forward: loss, and score becomes its gradient times scale. */
static void forward(struct dnas_mlm_pass *m, double *loss, const void *x, const uint32_t *row,
                    const uint16_t *target, size_t n, float scale)
{
    const struct dnas_net_cuda *d = m->net;
    const struct dnas_net *net = d->net;
    const struct dnas_cuda_api *api = d->gpu->api;
    struct dnas_cuda *device = d->gpu->device;
    size_t C = net->shape.C, V = net->shape.V;

    api->rows_gather(device, m->x, x, row, n, C, d->type);
    api->linear_fwd(device, m->inner, m->x, dnas_net_cuda_matrix(d, net->mlm_dense_w),
                    dnas_net_cuda_at(d, net->mlm_dense_b), NULL, n, C, C, d->type);
    api->gelu_fwd(device, m->bent, m->inner, n * C, d->type);
    api->layernorm_fwd(device, m->y, m->mean, m->rstd, m->bent,
                       dnas_net_cuda_at(d, net->mlm_norm_w), dnas_net_cuda_at(d, net->mlm_norm_b),
                       n, C, net->shape.eps, d->type);
    api->linear_fwd(device, m->score, m->y, dnas_net_cuda_matrix(d, dnas_net_words(net)),
                    dnas_net_cuda_at(d, net->mlm_bias), NULL, n, V, C, d->type);
    api->cross_entropy(device, m->score, loss, target, n, V, scale, d->type);
}

/* Their gradients; that of their rows of x to d_x, [n,C]. */
static void backward(struct dnas_mlm_pass *m, void *d_x, size_t n)
{
    const struct dnas_net_cuda *d = m->net;
    const struct dnas_net *net = d->net;
    const struct dnas_cuda_api *api = d->gpu->api;
    struct dnas_cuda *device = d->gpu->device;
    size_t C = net->shape.C, V = net->shape.V;

    api->linear_bwd_weight(device, dnas_net_cuda_grad(d, dnas_net_words(net)),
                           dnas_net_cuda_grad(d, net->mlm_bias), m->score, m->y, n, V, C, d->type);
    api->linear_bwd(device, m->d_y, m->score, dnas_net_cuda_matrix(d, dnas_net_words(net)), NULL, n,
                    V, C, d->type);
    api->layernorm_bwd(device, m->d_y, dnas_net_cuda_grad(d, net->mlm_norm_w),
                       dnas_net_cuda_grad(d, net->mlm_norm_b), m->d_y, m->bent, m->mean, m->rstd,
                       dnas_net_cuda_at(d, net->mlm_norm_w), n, C, d->type);
    api->gelu_bwd(device, m->d_y, m->d_y, m->inner, n * C, d->type);
    api->linear_bwd_weight(device, dnas_net_cuda_grad(d, net->mlm_dense_w),
                           dnas_net_cuda_grad(d, net->mlm_dense_b), m->d_y, m->x, n, C, C, d->type);
    api->linear_bwd(device, d_x, m->d_y, dnas_net_cuda_matrix(d, net->mlm_dense_w), NULL, n, C, C,
                    d->type);
}

void dnas_mlm_pass_run(struct dnas_mlm_pass *m, double *loss, void *dx, const void *x,
                       const uint32_t *row, const uint16_t *target, size_t n, size_t T, float scale)
{
    const struct dnas_gpu *gpu = m->net->gpu;
    size_t C = m->net->net->shape.C;

    for (size_t at = 0; at < n; at += m->most) {
        size_t k = n - at < m->most ? n - at : m->most;

        forward(m, loss + at, x, row + at, target + at, k, scale);
        if (dx)
            backward(m, m->d_all + at * C * m->size, k);
    }
    if (dx)
        gpu->api->rows_scatter(gpu->device, dx, m->d_all, row, n, T, C, m->net->type);
}
