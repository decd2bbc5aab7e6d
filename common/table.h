/* SPDX-License-Identifier: MIT
 *
 * table.h - rows in memory, column by column, as many as are appended.
 *
 * The stream's writer builds a block in one, the TSV reader too, and a tool
 * that needs all rows at once (k-means) holds them in one: a column of vectors
 * is then one dense matrix.
 */
#ifndef DNAS_TABLE_H
#define DNAS_TABLE_H

#include "common/record.h"

#ifdef __cplusplus
extern "C" {
#endif

/* The cells of one column. */
struct dnas_cells {
    const uint64_t *offsets; /* [rows + 1] in elements; NULL where not ragged */
    const void *values;      /* rows x dim, or offsets[rows], elements; aligned for the type, and
                                in streams to 64 bytes where not ragged */
};

/* Rows that somebody else holds. */
struct dnas_block {
    uint64_t first_row; /* counted through a concatenation of streams */
    uint32_t n_rows;
    int n_columns;
    const struct dnas_column *columns; /* [n_columns] */
    const struct dnas_cells *cells;    /* [n_columns] */
};

/* The text (or list) of a row of a ragged column, *n elements long. */
const void *dnas_block_ragged(const struct dnas_block *b, int column, uint32_t row, size_t *n);
/* The elements of a cell of any column, *n of them. */
const void *dnas_block_cell(const struct dnas_block *b, int column, uint32_t row, size_t *n);

struct dnas_table_column {
    uint64_t *offsets; /* ragged: [n_rows + 1] */
    size_t offsets_cap;
    char *values;
    size_t n_bytes, cap;
    bool is_set; /* in the row being built */
};

struct dnas_table {
    const struct dnas_column *columns; /* borrowed */
    int n_columns;
    struct dnas_table_column *data; /* [n_columns] */
    struct dnas_cells *cells;       /* [n_columns], for dnas_table_block */
    size_t n_rows;
};

void dnas_table_init(struct dnas_table *t, const struct dnas_column *columns, int n_columns);
void dnas_table_release(struct dnas_table *t);
/* Forgets the rows and keeps the memory. */
void dnas_table_clear(struct dnas_table *t);
/* Sets a cell of the row being built: n elements (the column's dim, or any
 * number where ragged), each column once. */
void dnas_table_cell(struct dnas_table *t, int column, const void *values, size_t n);
void dnas_table_end_row(struct dnas_table *t);
/* Appends all rows of a block with the same columns. */
void dnas_table_append(struct dnas_table *t, const struct dnas_block *b);
/* Bytes of values and offsets, without padding. */
size_t dnas_table_bytes(const struct dnas_table *t);
/* The rows as a block, valid until the table changes. */
struct dnas_block dnas_table_block(const struct dnas_table *t);

#ifdef __cplusplus
}
#endif
#endif
