/* SPDX-License-Identifier: MIT
 *
 * table.c - rows in memory.  Contract: table.h.
 */
#include "common/table.h"

#include <stdlib.h>
#include <string.h>

#include "common/err.h"
#include "common/xmem.h"

const void *dnas_block_ragged(const struct dnas_block *b, int column, uint32_t row, size_t *n)
{
    if (!b->cells[column].offsets)
        DNAS_BUG("column %d is not ragged", column);
    return dnas_block_cell(b, column, row, n);
}

const void *dnas_block_cell(const struct dnas_block *b, int column, uint32_t row, size_t *n)
{
    const struct dnas_column *col = &b->columns[column];
    const struct dnas_cells *c = &b->cells[column];
    uint64_t from = c->offsets ? c->offsets[row] : (uint64_t)row * col->dim;

    *n = c->offsets ? c->offsets[row + 1] - from : col->dim;
    return (const char *)c->values + from * dnas_type_size(col->type);
}

void dnas_table_init(struct dnas_table *t, const struct dnas_column *columns, int n_columns)
{
    *t = (struct dnas_table){.columns = columns, .n_columns = n_columns};
    t->data = dnas_xzalloc((size_t)n_columns, sizeof(*t->data));
    t->cells = dnas_xzalloc((size_t)n_columns, sizeof(*t->cells));
    for (int c = 0; c < n_columns; c++) {
        struct dnas_table_column *d = &t->data[c];

        d->values = dnas_xgrow(NULL, &d->cap, 1, 1);
        if (columns[c].ragged) {
            d->offsets = dnas_xgrow(NULL, &d->offsets_cap, 1, sizeof(*d->offsets));
            d->offsets[0] = 0;
        }
    }
}

void dnas_table_release(struct dnas_table *t)
{
    for (int c = 0; c < t->n_columns; c++) {
        free(t->data[c].offsets);
        free(t->data[c].values);
    }
    free(t->data);
    free(t->cells);
    *t = (struct dnas_table){0};
}

void dnas_table_clear(struct dnas_table *t)
{
    t->n_rows = 0;
    for (int c = 0; c < t->n_columns; c++) {
        t->data[c].n_bytes = 0;
        t->data[c].is_set = false;
    }
}

static void append_values(struct dnas_table_column *d, const void *values, size_t bytes)
{
    d->values = dnas_xgrow(d->values, &d->cap, d->n_bytes + bytes, 1);
    if (bytes > 0)
        memcpy(d->values + d->n_bytes, values, bytes);
    d->n_bytes += bytes;
}

void dnas_table_cell(struct dnas_table *t, int column, const void *values, size_t n)
{
    const struct dnas_column *col = &t->columns[column];
    struct dnas_table_column *d = &t->data[column];

    if (column < 0 || column >= t->n_columns || d->is_set || (!col->ragged && n != col->dim))
        DNAS_BUG("column %d of a row is set twice or to %zu elements", column, n);
    append_values(d, values, n * dnas_type_size(col->type));
    if (col->ragged) {
        d->offsets = dnas_xgrow(d->offsets, &d->offsets_cap, t->n_rows + 2, sizeof(*d->offsets));
        d->offsets[t->n_rows + 1] = d->offsets[t->n_rows] + n;
    }
    d->is_set = true;
}

void dnas_table_end_row(struct dnas_table *t)
{
    for (int c = 0; c < t->n_columns; c++) {
        if (!t->data[c].is_set)
            DNAS_BUG("column '%s' of a row is not set", t->columns[c].name);
        t->data[c].is_set = false;
    }
    t->n_rows++;
}

void dnas_table_append(struct dnas_table *t, const struct dnas_block *b)
{
    for (int c = 0; c < t->n_columns; c++) {
        const struct dnas_column *col = &t->columns[c];
        const struct dnas_cells *from = &b->cells[c];
        struct dnas_table_column *d = &t->data[c];
        size_t n = from->offsets ? from->offsets[b->n_rows] : (size_t)b->n_rows * col->dim;

        append_values(d, from->values, n * dnas_type_size(col->type));
        if (!col->ragged)
            continue;
        d->offsets =
            dnas_xgrow(d->offsets, &d->offsets_cap, t->n_rows + b->n_rows + 1, sizeof(*d->offsets));
        for (uint32_t row = 1; row <= b->n_rows; row++)
            d->offsets[t->n_rows + row] = d->offsets[t->n_rows] + from->offsets[row];
    }
    t->n_rows += b->n_rows;
}

size_t dnas_table_bytes(const struct dnas_table *t)
{
    size_t bytes = 0;

    for (int c = 0; c < t->n_columns; c++)
        bytes +=
            t->data[c].n_bytes + (t->columns[c].ragged ? (t->n_rows + 1) * sizeof(uint64_t) : 0);
    return bytes;
}

struct dnas_block dnas_table_block(const struct dnas_table *t)
{
    if (t->n_rows > UINT32_MAX)
        DNAS_BUG("%zu rows in one table", t->n_rows);
    for (int c = 0; c < t->n_columns; c++)
        t->cells[c] = (struct dnas_cells){t->data[c].offsets, t->data[c].values};
    return (struct dnas_block){.n_rows = (uint32_t)t->n_rows,
                               .n_columns = t->n_columns,
                               .columns = t->columns,
                               .cells = t->cells};
}
