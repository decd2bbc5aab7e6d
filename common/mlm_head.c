/* SPDX-License-Identifier: MIT
 *
 * mlm_head.c - guessing masked tokens.  Contract: mlm_head.h.
 */
#include "common/mlm_head.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/xmem.h"
#include "kernels/kernels.h"

struct dnas_mlm_head {
    const struct dnas_net *net;
    size_t max_T;
    float *x;            /* [n,C]  the hidden states at the masked places */
    float *inner, *bent; /* [n,C]  before and after GELU */
    float *mean, *rstd;  /* [n] */
    float *y;            /* [n,C]  after the layer norm */
    float *score;        /* [n,V]  then p - [target], its gradient */
    float *d_y, *d_x;    /* [n,C] */
};

uint64_t dnas_mlm_head_bytes(const struct dnas_net *net, size_t max_T)
{
    return 4 * (uint64_t)max_T * (6 * net->shape.C + net->shape.V + 2);
}

struct dnas_mlm_head *dnas_mlm_head_new(const struct dnas_net *net, size_t max_T)
{
    struct dnas_mlm_head *m = dnas_xzalloc(1, sizeof(*m));
    size_t n = max_T * net->shape.C;

    m->net = net;
    m->max_T = max_T;
    m->x = dnas_xalloc64(n, sizeof(float));
    m->inner = dnas_xalloc64(n, sizeof(float));
    m->bent = dnas_xalloc64(n, sizeof(float));
    m->y = dnas_xalloc64(n, sizeof(float));
    m->d_y = dnas_xalloc64(n, sizeof(float));
    m->d_x = dnas_xalloc64(n, sizeof(float));
    m->mean = dnas_xalloc(max_T, sizeof(float));
    m->rstd = dnas_xalloc(max_T, sizeof(float));
    m->score = dnas_xalloc64(max_T * net->shape.V, sizeof(float));
    return m;
}

void dnas_mlm_head_free(struct dnas_mlm_head *m)
{
    if (!m)
        return;
    free(m->x);
    free(m->inner);
    free(m->bent);
    free(m->y);
    free(m->d_y);
    free(m->d_x);
    free(m->mean);
    free(m->rstd);
    free(m->score);
    free(m);
}

/* -log of the softmax at target; the row becomes p - [target]. */
static double cross_entropy(float *row, size_t V, uint16_t target)
{
    double sum = 0, aim = (double)row[target];
    float top = row[0];

    for (size_t v = 1; v < V; v++)
        top = row[v] > top ? row[v] : top;
    for (size_t v = 0; v < V; v++) {
        row[v] = expf(row[v] - top);
        sum += (double)row[v];
    }
    for (size_t v = 0; v < V; v++)
        row[v] = (float)((double)row[v] / sum);
    row[target] -= 1;
    return sum > 0 ? log(sum) + (double)top - aim : NAN;
}

double dnas_mlm_head_forward(struct dnas_mlm_head *m, const float *x,
                             const struct dnas_step_guess *guess)
{
    const struct dnas_net *net = m->net;
    size_t n = guess->n, C = net->shape.C, V = net->shape.V;
    double loss = 0;

    if (n > m->max_T)
        DNAS_BUG("%zu masked tokens of %zu", n, m->max_T);
    for (size_t k = 0; k < n; k++)
        memcpy(m->x + k * C, x + guess->position[k] * C, C * sizeof(*x));
    dnas_cpu_linear_fwd(m->inner, m->x, net->mlm_dense_w, net->mlm_dense_b, NULL, n, C, C);
    dnas_cpu_gelu_fwd(m->bent, m->inner, n * C);
    dnas_cpu_layernorm_fwd(m->y, m->mean, m->rstd, m->bent, NULL, net->mlm_norm_w, net->mlm_norm_b,
                           n, C, net->shape.eps);
    dnas_cpu_linear_fwd(m->score, m->y, dnas_net_words(net), net->mlm_bias, NULL, n, V, C);
    for (size_t k = 0; k < n; k++)
        loss += cross_entropy(m->score + k * V, V, guess->target[k]);
    return loss;
}

void dnas_mlm_head_backward(struct dnas_mlm_head *m, float *dx, size_t T,
                            const struct dnas_step_guess *guess, double scale, float *d_decoder,
                            const struct dnas_net_order *order)
{
    const struct dnas_net *net = m->net;
    size_t n = guess->n, C = net->shape.C, V = net->shape.V, slot = dnas_net_mlm_slot(net);
    float *d_inner = m->d_x;

    for (size_t i = 0; i < n * V; i++)
        m->score[i] *= (float)scale;
    dnas_cpu_linear_bwd(m->d_y, m->score, dnas_net_words(net), NULL, n, V, C);
    dnas_net_wait(order, slot);
    dnas_cpu_linear_bwd_weight(d_decoder, dnas_net_grad(net, net->mlm_bias), m->score, m->y, n, V,
                               C);
    dnas_cpu_layernorm_bwd_weight(dnas_net_grad(net, net->mlm_norm_w),
                                  dnas_net_grad(net, net->mlm_norm_b), m->d_y, m->bent, m->mean,
                                  m->rstd, n, C);
    dnas_cpu_layernorm_bwd(m->d_y, m->d_y, m->bent, m->mean, m->rstd, net->mlm_norm_w, n, C);
    dnas_cpu_gelu_bwd(d_inner, m->d_y, m->inner, n * C);
    dnas_cpu_linear_bwd_weight(dnas_net_grad(net, net->mlm_dense_w),
                               dnas_net_grad(net, net->mlm_dense_b), d_inner, m->x, n, C, C);
    dnas_net_pass(order, slot);
    dnas_cpu_linear_bwd(m->d_y, d_inner, net->mlm_dense_w, NULL, n, C, C);
    memset(dx, 0, T * C * sizeof(*dx));
    for (size_t k = 0; k < n; k++)
        memcpy(dx + guess->position[k] * C, m->d_y + k * C, C * sizeof(*dx));
}
