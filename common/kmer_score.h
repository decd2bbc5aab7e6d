/* SPDX-License-Identifier: MIT
 *
 * kmer_score.h - how well embeddings keep classes together: of each row, the share
 * of its nearest others by cosine, as many as its class has, that are of its class.
 */
#ifndef DNAS_KMER_SCORE_H
#define DNAS_KMER_SCORE_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Rows of a class that are looked at, at most; of a larger one the nearest so many count. */
#define DNAS_KMER_SCORE_CLASS 10

/* The sum of the shares over n rows; a row that is alone in its class has 1.  Ties go to the row
 * that comes first.  The bits do not depend on n_threads.  Memory: 4 n (C + 64 n_threads) bytes.
 *   y      f32 [n,C]  of any length; a row of zeros is as near to all
 *   label  u32 [n] */
double dnas_kmer_shares(const float *y, const uint32_t *label, size_t n, size_t C, int n_threads);

#ifdef __cplusplus
}
#endif
#endif
