/* SPDX-License-Identifier: MIT
 *
 * train_draw.h - what training leaves to chance: the order of an epoch, what is
 * mixed with what, which tokens are masked.
 *
 * Every number is a function of the seed, what it is for, the step (or epoch)
 * and the row (rng.h): it does not depend on threads, ranks, or where a run was
 * broken off.
 */
#ifndef DNAS_TRAIN_DRAW_H
#define DNAS_TRAIN_DRAW_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Which of n things comes i-th in the epoch: a permutation of 0..n-1 in i, in
 * no memory.  A Feistel network over the next power of 4 (256 at least), walked
 * until it is back below n (Black and Rogaway 2002): on average at most 4 times
 * for n of 64 and more.  i of n or above is a bug. */
uint64_t dnas_draw_order(uint64_t i, uint64_t n, uint64_t seed, uint32_t epoch);

/* The layer before which a step mixes: uniform on 0..n_layers-1, 0 being after
 * the embedding. */
uint32_t dnas_draw_mix_layer(uint64_t seed, uint32_t step, uint32_t n_layers);

/* What the rows of a step's batch are mixed with, and how much of themselves
 * they keep:  hidden_i <- lambda_i hidden_i + (1 - lambda_i) hidden_perm(i).
 *   perm    u32 [B]  a uniform permutation within each `group` consecutive rows (the last may
 *                    be shorter; group of 0 or above B: the whole batch)
 *   lambda  f32 [B]  max(b, 1 - b) with b ~ Beta(alpha, alpha), alpha above 0: within [1/2, 1] */
void dnas_draw_mix(uint32_t *perm, float *lambda, uint64_t seed, uint32_t step, size_t B,
                   size_t group, double alpha);

/* Masking for a masked-language model (Devlin et al. 2019).  ids not listed as
 * special are ordinary; only these are masked, and only these are put in. */
struct dnas_mlm {
    uint32_t V;
    uint16_t mask;       /* the id of [MASK] */
    double rate;         /* 0.15 */
    uint8_t *is_special; /* [V] */
    uint16_t *ordinary;  /* [n_ordinary] */
    size_t n_ordinary;
};

/* special (u16 [n_special], below V) need not list `mask`, which always is one.
 * A vocabulary without ordinary ids is a bug.  Release with dnas_mlm_release. */
void dnas_mlm_init(struct dnas_mlm *m, uint32_t V, uint16_t mask, double rate,
                   const uint16_t *special, size_t n_special);
void dnas_mlm_release(struct dnas_mlm *m);

/* Chooses each ordinary token with the rate, and of those makes 80 % [MASK],
 * 10 % another ordinary id (which may be the same), and leaves 10 %.
 *   out  u16 [T]  ids, changed where drawn; may be ids
 *   at   u32 [T]  the chosen positions, ascending; what stood there is what the model shall say
 *   was  u16 [T]  the ids that stood there
 * Returns how many were chosen, maybe 0.  row: one number a sequence of the
 * step (2 i and 2 i + 1 for the members of pair i). */
size_t dnas_draw_mlm(uint16_t *out, uint32_t *at, uint16_t *was, const uint16_t *ids, size_t T,
                     const struct dnas_mlm *m, uint64_t seed, uint32_t step, uint32_t row);

#ifdef __cplusplus
}
#endif
#endif
