/* SPDX-License-Identifier: MIT
 *
 * tape.c - products, dropout and norms of a network that is trained.  Contract: tape.h.
 *
 * In bf16 the operands are rounded just before a product, some rows at a time;
 * parameters, gradients and all else stay f32.
 */
#include "common/tape.h"

#include <stdlib.h>

#include "common/rng.h"
#include "common/xmem.h"
#include "kernels/kernels.h"

#define NARROW_ROWS 512

/* The longest row of any matrix, or of its gradient. */
static size_t longest_row(const struct dnas_net *net)
{
    size_t most = 0;

    for (size_t i = 0; i < net->n_tensors; i++) {
        const struct dnas_layout_tensor *t = &net->tensors[i].tensor;

        for (int d = 0; t->role == DNAS_ROLE_MATRIX && d < t->n_dims; d++)
            most = t->shape[d] > most ? t->shape[d] : most;
    }
    return most;
}

uint64_t dnas_tape_narrow_bytes(const struct dnas_net *net)
{
    return net->narrow ? 2 * NARROW_ROWS * (uint64_t)longest_row(net) * sizeof(uint16_t) : 0;
}

void dnas_tape_narrow_init(struct dnas_tape *t)
{
    for (int i = 0; t->net->narrow && i < 2; i++)
        t->narrow[i] = dnas_xalloc64(NARROW_ROWS * longest_row(t->net), sizeof(*t->narrow[i]));
}

void dnas_tape_narrow_release(struct dnas_tape *t)
{
    free(t->narrow[0]);
    free(t->narrow[1]);
}

static void count(struct dnas_tape *t, size_t N, size_t O, size_t I)
{
    t->flop += 2 * (uint64_t)N * O * I;
}

static size_t rows_from(size_t from, size_t N)
{
    return N - from < NARROW_ROWS ? N - from : NARROW_ROWS;
}

static const uint16_t *rounded(struct dnas_tape *t, int i, const float *x, size_t n)
{
    dnas_cpu_bf16_from_f32(t->narrow[i], x, n);
    return t->narrow[i];
}

static void multiply(float *out, const uint16_t *a, const uint16_t *b, size_t M, size_t N, size_t K,
                     int a_transposed, int b_transposed, int add)
{
    if (dnas_cpu_matmul_bf16(out, a, b, M, N, K, a_transposed, b_transposed, add) != 0)
        DNAS_BUG("no product of bf16, which was there a moment ago");
}

void dnas_tape_product(struct dnas_tape *t, float *out, const float *y, const float *w,
                       const float *bias, const float *residual, size_t N, size_t O, size_t I)
{
    count(t, N, O, I);
    if (!t->net->narrow) {
        dnas_cpu_linear_fwd(out, y, w, bias, residual, N, O, I);
        return;
    }
    for (size_t from = 0, n; from < N; from += n) {
        n = rows_from(from, N);
        multiply(out + from * O, rounded(t, 0, y + from * I, n * I), dnas_net_narrowed(t->net, w),
                 n, O, I, 0, 1, 0);
    }
    dnas_cpu_add_rows(out, bias, residual, N, O);
}

void dnas_tape_product_bwd(struct dnas_tape *t, float *dx, const float *dout, const float *w,
                           const float *add, size_t N, size_t O, size_t I)
{
    count(t, N, O, I);
    if (!t->net->narrow) {
        dnas_cpu_linear_bwd(dx, dout, w, add, N, O, I);
        return;
    }
    for (size_t from = 0, n; from < N; from += n) {
        n = rows_from(from, N);
        multiply(dx + from * I, rounded(t, 0, dout + from * O, n * O), dnas_net_narrowed(t->net, w),
                 n, I, O, 0, 0, 0);
    }
    dnas_cpu_add_rows(dx, NULL, add, N, I);
}

void dnas_tape_product_bwd_weight(struct dnas_tape *t, const float *w, const float *bias,
                                  const float *dout, const float *y, size_t N, size_t O, size_t I)
{
    float *dw = dnas_net_grad(t->net, w), *d_bias = bias ? dnas_net_grad(t->net, bias) : NULL;

    count(t, N, O, I);
    if (!t->net->narrow) {
        dnas_cpu_linear_bwd_weight(dw, d_bias, dout, y, N, O, I);
        return;
    }
    for (size_t from = 0, n; from < N; from += n) {
        n = rows_from(from, N);
        multiply(dw, rounded(t, 0, dout + from * O, n * O), rounded(t, 1, y + from * I, n * I), O,
                 I, n, 1, 0, 1);
    }
    if (d_bias)
        dnas_cpu_columns_sum(d_bias, dout, N, O);
}

uint32_t dnas_dropout_counter(size_t site)
{
    return DNAS_RNG_DROPOUT + ((uint32_t)site << 16);
}

void dnas_tape_drop_out(float *x, size_t n, size_t site, const struct dnas_dropout *chance)
{
    const uint32_t key[2] = {(uint32_t)chance->seed, (uint32_t)(chance->seed >> 32)};
    const uint32_t counter[3] = {chance->step, chance->row, dnas_dropout_counter(site)};

    if (chance->drop > 0)
        dnas_cpu_dropout(x, n, chance->drop, counter, key);
}

void dnas_tape_norm_bwd_weight(struct dnas_tape *t, const float *w, const float *bias,
                               const float *dout, const float *x, const float *mean,
                               const float *rstd, size_t N)
{
    dnas_cpu_layernorm_bwd_weight(dnas_net_grad(t->net, w), dnas_net_grad(t->net, bias), dout, x,
                                  mean, rstd, N, t->net->shape.C);
}
