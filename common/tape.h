/* SPDX-License-Identifier: MIT
 *
 * tape.h - what the backbones do alike as they are trained: matrix products, in the
 * net's precision and counted in the tape's flop, dropout, layer norms.
 */
#ifndef DNAS_TAPE_H
#define DNAS_TAPE_H

#include "common/net.h"

#ifdef __cplusplus
extern "C" {
#endif

/* w and bias are parameters of the tape's net.  N: rows; O, I: outputs, inputs. */

/* out = y w^T + bias + residual; bias, residual: or NULL.
 *   out, residual  f32 [N,O]      y  f32 [N,I]      w  f32 [O,I] */
void dnas_tape_product(struct dnas_tape *t, float *out, const float *y, const float *w,
                       const float *bias, const float *residual, size_t N, size_t O, size_t I);
/* dx = dout w + add; add: or NULL.
 *   dx, add  f32 [N,I]      dout  f32 [N,O] */
void dnas_tape_product_bwd(struct dnas_tape *t, float *dx, const float *dout, const float *w,
                           const float *add, size_t N, size_t O, size_t I);
/* Adds dout^T y to the gradient of w, and the sums of dout's columns to that of
 * bias (or NULL).  The caller has the turn (dnas_net_wait). */
void dnas_tape_product_bwd_weight(struct dnas_tape *t, const float *w, const float *bias,
                                  const float *dout, const float *y, size_t N, size_t O, size_t I);

/* Drops values of x, f32 [n], with this chance: the same ones backward as forward.  A backbone
 * numbers the sites where it does so. */
void dnas_tape_drop_out(float *x, size_t n, size_t site, const struct dnas_dropout *chance);

/* Adds to the gradients of a layer norm's w and bias, from that of its result and from its input x,
 * both f32 [N,C], and what dnas_cpu_layernorm_fwd left.  The caller has the turn. */
void dnas_tape_norm_bwd_weight(struct dnas_tape *t, const float *w, const float *bias,
                               const float *dout, const float *x, const float *mean,
                               const float *rstd, size_t N);

/* For net.c: what products need beside the tape, in bytes; made and freed. */
uint64_t dnas_tape_narrow_bytes(const struct dnas_net *net);
void dnas_tape_narrow_init(struct dnas_tape *t);
void dnas_tape_narrow_release(struct dnas_tape *t);

#ifdef __cplusplus
}
#endif
#endif
