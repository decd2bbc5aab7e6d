/* SPDX-License-Identifier: MIT
 *
 * mlm_pass.h - the head that guesses masked tokens (mlm_head.h) for packed
 * sequences on a GPU.
 */
#ifndef DNAS_MLM_PASS_H
#define DNAS_MLM_PASS_H

#include "common/net_cuda.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Memory for passes of at most room rows. */
struct dnas_mlm_pass;
/* NULL: no memory. */
struct dnas_mlm_pass *dnas_mlm_pass_new(const struct dnas_net_cuda *net, size_t room);
void dnas_mlm_pass_free(struct dnas_mlm_pass *m); /* NULL is fine */
uint64_t dnas_mlm_pass_bytes(const struct dnas_net *net, enum dnas_cuda_type type, size_t room);

/* Puts into the queue: loss = -log p(target) of each of n guesses; where dx is not NULL, dx becomes
 * the gradient of scale times their sum by x, and the head's and the words' are added.
 *   loss  f64 [n]      x, dx  [T,C]      row  u32 [n] of x, ascending      target  u16 [n]
 * All on the device. */
void dnas_mlm_pass_run(struct dnas_mlm_pass *m, double *loss, void *dx, const void *x,
                       const uint32_t *row, const uint16_t *target, size_t n, size_t T,
                       float scale);

#ifdef __cplusplus
}
#endif
#endif
