/* SPDX-License-Identifier: MIT
 *
 * near.h - neighbours that are near, of very many rows: most of the nearest.
 *
 * Rows are sorted into lists by the nearest of some of them, evenly spread (an
 * inverted file: Sivic and Zisserman 2003; Jegou, Douze and Schmid 2011, without
 * their codes); those of a list are then compared, exactly, with the rows of the
 * lists whose centres are nearest to its own.  For tools to which some missing
 * neighbours do no harm.  The same bytes for any number of threads.
 */
#ifndef DNAS_NEAR_H
#define DNAS_NEAR_H

#include <stddef.h>
#include <stdint.h>

#include "common/err.h"
#include "common/knn.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Rows in a list, on average, and lists that each is compared with: its own and the next. */
#define DNAS_NEAR_LIST_ROWS 256
#define DNAS_NEAR_LISTS 48
/* What a row without so many neighbours has in their place. */
#define DNAS_NEAR_NONE UINT32_MAX

/* As dnas_knn_search without queries and values, by cosine.
 *   neighbour  u32 [N,k]   nearest first
 *   x          f32 [N,C]   of unit length, or zero
 * k of 0: an error.  Time: N (N / DNAS_NEAR_LIST_ROWS + DNAS_NEAR_LISTS DNAS_NEAR_LIST_ROWS) C
 * products or so.  Memory: 16 bytes a row, and rows of the lists for each thread. */
int dnas_near_search(uint32_t *neighbour, const float *x, size_t N, size_t C,
                     const struct dnas_knn_options *options, struct dnas_err *err);

#ifdef __cplusplus
}
#endif
#endif
