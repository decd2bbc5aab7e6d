/* SPDX-License-Identifier: MIT
 *
 * embeddings.c - whole sets of embeddings, and labels for them.  Contract:
 * embeddings.h.
 */
#include "common/embeddings.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/idmap.h"
#include "common/provenance.h"
#include "common/xmem.h"

const char *const dnas_labels_formats[] = {"auto", "stream", "tsv", "json", NULL};

static void drop_column(struct dnas_header *h, int column)
{
    free(h->columns[column].name);
    memmove(&h->columns[column], &h->columns[column + 1],
            (size_t)(h->n_columns - column - 1) * sizeof(*h->columns));
    h->n_columns--;
}

/* Appends the block's vectors as f32. */
static int append_vectors(struct dnas_embeddings *e, size_t *cap, const struct dnas_block *b,
                          int column, const char *name, struct dnas_err *err)
{
    size_t n = (size_t)b->n_rows * e->C;
    const uint16_t *narrow = b->cells[column].values;
    float *to;

    e->x = dnas_xgrow(e->x, cap, e->N * e->C + n, sizeof(*e->x));
    to = e->x + e->N * e->C;
    if (b->columns[column].type == DNAS_F32)
        memcpy(to, b->cells[column].values, n * sizeof(*to));
    else
        for (size_t i = 0; i < n; i++)
            to[i] = dnas_f32_from_bf16(narrow[i]);
    for (size_t i = 0; i < n; i++)
        if (!isfinite(to[i]))
            return dnas_err_set(err, "%s: row %" PRIu64 " has a value that is not finite", name,
                                b->first_row + i / e->C + 1);
    e->N += b->n_rows;
    return 0;
}

/* The block's other columns go to the table of the rest. */
static void append_rest(struct dnas_embeddings *e, const struct dnas_block *b, int column)
{
    struct dnas_cells *cells = dnas_xalloc((size_t)b->n_columns, sizeof(*cells));
    struct dnas_block rest = *b;

    for (int c = 0, to = 0; c < b->n_columns; c++)
        if (c != column)
            cells[to++] = b->cells[c];
    rest.n_columns = e->rest.n_columns;
    rest.columns = e->rest.columns;
    rest.cells = cells;
    dnas_table_append(&e->rest, &rest);
    free(cells);
}

static int read_rows(struct dnas_embeddings *e, struct dnas_reader *r, int column,
                     struct dnas_err *err)
{
    struct dnas_block b;
    size_t cap = 0;
    int status;

    e->x = dnas_xgrow(NULL, &cap, 1, sizeof(*e->x));
    while ((status = dnas_reader_next(r, &b, err)) == 1) {
        if (append_vectors(e, &cap, &b, column, dnas_reader_name(r), err) != 0)
            return -1;
        append_rest(e, &b, column);
    }
    return status;
}

int dnas_embeddings_load(struct dnas_embeddings *e, const char *path, struct dnas_err *err)
{
    struct dnas_reader *r = dnas_reader_open(path, err);
    int column, status = -1;

    *e = (struct dnas_embeddings){.label = -1};
    if (!r)
        return -1;
    if (dnas_reader_expect(r, DNAS_EMBEDDINGS, err) == 0) {
        dnas_header_copy(&e->header, dnas_reader_header(r));
        column = dnas_header_find(&e->header, "embedding");
        e->C = e->header.columns[column].dim;
        drop_column(&e->header, column);
        dnas_table_init(&e->rest, e->header.columns, e->header.n_columns);
        e->id = dnas_header_find(&e->header, "id");
        e->label = dnas_header_find(&e->header, "label");
        if (e->label >= 0 && e->header.columns[e->label].type != DNAS_UTF8)
            dnas_err_set(err, "%s: its column 'label' is not text", dnas_reader_name(r));
        else
            status = read_rows(e, r, column, err);
    }
    dnas_reader_close(r);
    return status;
}

void dnas_embeddings_release(struct dnas_embeddings *e)
{
    free(e->x);
    dnas_table_release(&e->rest);
    dnas_header_release(&e->header);
    *e = (struct dnas_embeddings){.label = -1};
}

char *dnas_embeddings_text(const struct dnas_embeddings *e, int column, size_t row)
{
    struct dnas_block b = dnas_table_block(&e->rest);
    size_t n;
    const char *s = dnas_block_ragged(&b, column, (uint32_t)row, &n);

    return dnas_xstrndup(s, n);
}

size_t dnas_embeddings_classes(const struct dnas_embeddings *e, int32_t *classes,
                               struct dnas_idmap *names)
{
    struct dnas_block b = dnas_table_block(&e->rest);
    struct dnas_idmap own = {0};
    struct dnas_idmap *map = names ? names : &own;
    size_t n_classes;

    for (size_t row = 0; row < e->N; row++) {
        size_t n = 0;
        const char *s = e->label >= 0 ? dnas_block_ragged(&b, e->label, (uint32_t)row, &n) : NULL;

        classes[row] = n > 0 ? (int32_t)dnas_idmap_add(map, s, n) : -1;
    }
    n_classes = map->n;
    dnas_idmap_release(&own);
    return n_classes;
}

void dnas_embeddings_set_text(struct dnas_embeddings *e, const char *column,
                              const struct dnas_idmap *text, const int32_t *index)
{
    struct dnas_block old = dnas_table_block(&e->rest);
    struct dnas_header header;
    struct dnas_table rest;
    int there = dnas_header_find(&e->header, column), at;

    dnas_header_copy(&header, &e->header);
    if (there >= 0)
        drop_column(&header, there);
    at = dnas_header_add_column(&header, column, DNAS_UTF8, true, 0);
    dnas_table_init(&rest, header.columns, header.n_columns);
    for (size_t row = 0; row < e->N; row++) {
        const char *s = dnas_idmap_text(text, (size_t)index[row]);

        for (int c = 0, to = 0; c < e->header.n_columns; c++) {
            size_t n;
            const void *cell;

            if (c == there)
                continue;
            cell = dnas_block_cell(&old, c, (uint32_t)row, &n);
            dnas_table_cell(&rest, to++, cell, n);
        }
        dnas_table_cell(&rest, at, s, strlen(s));
        dnas_table_end_row(&rest);
    }
    dnas_table_release(&e->rest);
    dnas_header_release(&e->header);
    e->header = header;
    e->rest = rest;
    e->id = dnas_header_find(&e->header, "id");
    e->label = dnas_header_find(&e->header, "label");
}

static void labels_header(struct dnas_header *h, const struct dnas_embeddings *e,
                          const struct dnas_tool *tool, const struct dnas_common *common,
                          const int64_t *seed)
{
    dnas_header_init(h, DNAS_LABELS);
    dnas_header_add_column(h, "id", DNAS_UTF8, true, 0);
    dnas_header_add_column(h, "cluster", DNAS_I32, false, 0);
    dnas_header_add_column(h, "score", DNAS_F32, false, 0);
    for (int c = 0; c < e->header.n_columns; c++) {
        const struct dnas_column *col = &e->header.columns[c];

        if (dnas_header_find(h, col->name) < 0)
            dnas_header_add_column(h, col->name, col->type, col->ragged,
                                   col->is_vector ? col->dim : 0);
    }
    h->embedding = json_incref(e->header.embedding);
    dnas_provenance_add(h, e->header.pg, tool, common, seed);
}

static int write_rows(struct dnas_writer *w, const struct dnas_header *h,
                      const struct dnas_embeddings *e, const int32_t *cluster, const float *score,
                      struct dnas_err *err)
{
    struct dnas_block b = dnas_table_block(&e->rest);

    for (size_t row = 0; row < e->N; row++) {
        dnas_writer_cell(w, 1, &cluster[row], 1);
        dnas_writer_cell(w, 2, &score[row], 1);
        for (int c = 0; c < e->header.n_columns; c++) {
            int to = dnas_header_find(h, e->header.columns[c].name);

            if (to != 1 && to != 2)
                dnas_writer_copy_cell(w, to, &b, c, (uint32_t)row);
        }
        if (dnas_writer_end_row(w, err) != 0)
            return -1;
    }
    return 0;
}

int dnas_labels_write(const struct dnas_embeddings *e, const int32_t *cluster, const float *score,
                      enum dnas_labels_format format, const struct dnas_tool *tool,
                      const struct dnas_common *common, const int64_t *seed, struct dnas_err *err)
{
    struct dnas_writer_options options = {.zstd_level = (int)common->zstd_level};
    struct dnas_out *out = dnas_out_open(common->output, false, err);
    struct dnas_header h;
    struct dnas_writer *w;
    int status;

    if (!out)
        return -1;
    if (format == DNAS_LABELS_TSV || (format == DNAS_LABELS_AUTO && dnas_out_is_terminal(out)))
        options.format = DNAS_FORMAT_TSV;
    else if (format == DNAS_LABELS_JSON)
        options.format = DNAS_FORMAT_JSON;
    labels_header(&h, e, tool, common, seed);
    w = dnas_writer_new(out, &h, &options, err);
    status = w ? write_rows(w, &h, e, cluster, score, err) : -1;
    dnas_header_release(&h);
    if (status == 0)
        return dnas_writer_finish(w, err);
    dnas_writer_abandon(w, false);
    return -1;
}
