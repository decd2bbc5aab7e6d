/* SPDX-License-Identifier: MIT
 *
 * matching.h - rows and columns paired one to one so that the pairs' weights
 * sum to the most: the linear assignment problem, exactly.
 */
#ifndef DNAS_MATCHING_H
#define DNAS_MATCHING_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define DNAS_UNMATCHED UINT32_MAX

/* A matrix of any shape, [n_rows,n_columns], by its cells: those of row i are
 * first[i]..first[i+1]-1, in rising order of column.  A cell that is left out
 * weighs 0; so a table of 1,000 genomes and 100,000 bins costs what is in it. */
struct dnas_matching_weights {
    size_t n_rows, n_columns;
    const size_t *first;    /* [n_rows+1] */
    const uint32_t *column; /* [first[n_rows]], below n_columns */
    const uint64_t *weight; /* [first[n_rows]], 1 to 2^60 */
};

/* Pairs each row with at most one column and each column with at most one row,
 * for the greatest sum of weights, which is returned.
 *   column_of_row  u32 [n_rows]  DNAS_UNMATCHED: none, or only columns of weight 0 were left
 * That is the assignment of the full matrix, square or not, without its pairs of weight 0.  Where
 * several pairings have the greatest sum, which one is found depends on the weights and the order
 * of rows and columns alone.  Integers throughout, so the sum is exact; one above 2^64 - 1 is a
 * bug, as are 2^32 - 1 columns or more.  Shortest augmenting paths after Jonker and Volgenant
 * 1987: at worst n_rows searches of all cells, as a rule far fewer; memory O(cells + rows +
 * columns) at most. */
uint64_t dnas_matching_run(uint32_t *column_of_row, const struct dnas_matching_weights *w);

#ifdef __cplusplus
}
#endif
#endif
