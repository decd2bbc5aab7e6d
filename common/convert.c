/* SPDX-License-Identifier: MIT
 *
 * convert.c - streams and .npy.  Contract: convert.h.
 */
#include "common/convert.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/idmap.h"
#include "common/msg.h"
#include "common/npy.h"
#include "common/xmem.h"

static int append_block(struct dnas_npy_writer *w, const struct dnas_block *b, int column,
                        struct dnas_err *err)
{
    const struct dnas_column *col = &b->columns[column];
    const uint16_t *narrow = b->cells[column].values;
    size_t n = (size_t)b->n_rows * col->dim;
    float *wide;
    int status;

    if (col->type != DNAS_BF16)
        return dnas_npy_append(w, b->cells[column].values, b->n_rows, err);
    wide = dnas_xalloc(n, sizeof(*wide));
    for (size_t i = 0; i < n; i++)
        wide[i] = dnas_f32_from_bf16(narrow[i]);
    status = dnas_npy_append(w, wide, b->n_rows, err);
    free(wide);
    return status;
}

static int append_all(struct dnas_npy_writer *w, struct dnas_reader *r, int column,
                      struct dnas_err *err)
{
    struct dnas_block b;
    int status;

    while ((status = dnas_reader_next(r, &b, err)) == 1)
        if (append_block(w, &b, column, err) != 0)
            return -1;
    return status;
}

int dnas_convert_to_npy(const char *path, struct dnas_reader *r, struct dnas_err *err)
{
    const struct dnas_header *h = dnas_reader_header(r);
    bool is_labels = h->kind == DNAS_LABELS;
    struct dnas_npy_writer w;
    char *part = NULL;
    int column, status;

    if (h->kind != DNAS_LABELS && h->kind != DNAS_EMBEDDINGS)
        return dnas_err_set(err, "%s: holds %s; --npy takes EMBEDDINGS and LABELS",
                            dnas_reader_name(r), dnas_kind_name(h->kind));
    if (dnas_reader_expect(r, h->kind, err) != 0)
        return -1;
    column = dnas_header_find(h, is_labels ? "cluster" : "embedding");
    part = dnas_xasprintf("%s.part", path);
    status = dnas_npy_open(&w, path, is_labels ? DNAS_NPY_I4 : DNAS_NPY_F4,
                           is_labels ? 0 : h->columns[column].dim, err);
    if (status == 0)
        status = append_all(&w, r, column, err);
    if (dnas_npy_close(&w, status == 0 ? err : NULL) != 0)
        status = -1;
    if (status == 0 && rename(part, path) != 0)
        status =
            dnas_err_set(err, "%s: cannot be renamed to '%s': %s", part, path, strerror(errno));
    if (status != 0)
        unlink(part);
    free(part);
    return status;
}

/* The id of a row: the next line of the file, or the row's number. */
static int next_id(struct dnas_lines *ids, size_t row, size_t N, char *number, const char **id,
                   struct dnas_err *err)
{
    char *line;
    size_t n;
    int status;

    if (!ids->in) {
        snprintf(number, 24, "%zu", row + 1);
        *id = number;
        return 0;
    }
    status = dnas_lines_next(ids, &line, &n, err);
    if (status < 0)
        return -1;
    if (status == 0)
        return dnas_err_set(err, "%s: has %zu ids for %zu rows", dnas_in_name(ids->in), row, N);
    if (n == 0 || strlen(line) != n || strchr(line, '\t'))
        return dnas_err_set(err, "%s: line %zu is not one id", dnas_in_name(ids->in), row + 1);
    *id = line;
    return 0;
}

static int write_rows(struct dnas_writer *w, const struct dnas_npy *m, struct dnas_lines *ids,
                      const struct dnas_labels *labels, struct dnas_err *err)
{
    struct dnas_idset seen = {0};
    char number[24], *line;
    size_t n_unlabelled = 0, n;
    int status = 0;

    for (size_t row = 0; status == 0 && row < m->shape[0]; row++) {
        const char *id = "", *label = "";

        status = next_id(ids, row, m->shape[0], number, &id, err);
        if (status != 0)
            break;
        if (!dnas_idset_add(&seen, id, strlen(id)))
            status = dnas_err_set(err, "%s: line %zu has the id '%.200s' a second time",
                                  dnas_in_name(ids->in), row + 1, id);
        if (labels)
            label = dnas_labels_find(labels, id, strlen(id));
        n_unlabelled += label == NULL;
        dnas_writer_text(w, 0, id);
        dnas_writer_cell(w, 1, m->f32 + row * m->shape[1], m->shape[1]);
        dnas_writer_text(w, 2, label ? label : "");
        if (status == 0)
            status = dnas_writer_end_row(w, err);
    }
    if (status == 0 && ids->in && dnas_lines_next(ids, &line, &n, NULL) == 1)
        status = dnas_err_set(err, "%s: has more ids than the %zu rows", dnas_in_name(ids->in),
                              m->shape[0]);
    if (n_unlabelled > 0)
        dnas_msg_warn("%zu ids are not in the file of labels and get none", n_unlabelled);
    dnas_idset_release(&seen);
    return status;
}

static int write_matrix(struct dnas_out *out, const struct dnas_writer_options *options,
                        const struct dnas_npy *m, struct dnas_lines *ids,
                        const struct dnas_labels *labels, json_t *pg, struct dnas_err *err)
{
    struct dnas_header h;
    struct dnas_writer *w;

    dnas_header_init(&h, DNAS_EMBEDDINGS);
    dnas_header_add_column(&h, "id", DNAS_UTF8, true, 0);
    dnas_header_add_column(&h, "embedding", DNAS_F32, false, (uint32_t)m->shape[1]);
    dnas_header_add_column(&h, "label", DNAS_UTF8, true, 0);
    h.pg = json_incref(pg);
    w = dnas_writer_new(out, &h, options, err);
    dnas_header_release(&h);
    if (w && write_rows(w, m, ids, labels, err) == 0)
        return dnas_writer_finish(w, err);
    dnas_writer_abandon(w, false);
    return -1;
}

int dnas_convert_from_npy(struct dnas_out *out, const struct dnas_writer_options *options,
                          const char *npy, const char *ids, const char *labels, json_t *pg,
                          struct dnas_err *err)
{
    struct dnas_lines lines = {0};
    struct dnas_labels table = {0};
    struct dnas_npy m = {0};
    int status = -1;

    if (ids)
        lines.in = dnas_in_open(ids, err);
    if ((ids && !lines.in) || (labels && dnas_labels_load(&table, labels, err) != 0) ||
        dnas_npy_read(&m, npy, DNAS_NPY_AS_F32, err) != 0)
        dnas_out_abandon(out, false);
    else if (m.n_dims != 2 || m.shape[1] == 0 || m.shape[1] > DNAS_STREAM_MAX_DIM) {
        dnas_err_set(err, "%s: is not a matrix of rows and 1 to %u columns", npy,
                     DNAS_STREAM_MAX_DIM);
        dnas_out_abandon(out, false);
    } else {
        status = write_matrix(out, options, &m, &lines, labels ? &table : NULL, pg, err);
    }
    dnas_npy_release(&m);
    dnas_labels_release(&table);
    dnas_in_close(lines.in);
    dnas_lines_release(&lines);
    return status;
}
