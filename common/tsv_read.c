/* SPDX-License-Identifier: MIT
 *
 * tsv_read.c - TSV read as a stream; the inverse of text.c.  Contract: stream.h.
 *
 * The names of the columns say what they hold; dnas-stream.5 has the list.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/stream_reader.h"
#include "common/xmem.h"

struct dnas_tsv {
    struct dnas_lines lines;
    struct dnas_table block;
    void *list; /* the elements of the cell being read */
    size_t list_cap;
};

/* Names that are not texts.  A name that is none of these and does not end in
 * _0, _1, ... is a column of text. */
static const struct {
    const char *name;
    enum dnas_type type;
    bool ragged;
} known[] = {
    {"tokens", DNAS_U16, true},   {"tokens_a", DNAS_U16, true}, {"tokens_b", DNAS_U16, true},
    {"part", DNAS_U32, false},    {"parts", DNAS_U32, false},   {"length_bp", DNAS_U32, false},
    {"cluster", DNAS_I32, false}, {"score", DNAS_F32, false},   {"split", DNAS_U8, false},
};

/* "embedding_7": the length of its stem, with *i 7; 0 where it has none. */
static size_t vector_stem(const char *name, uint32_t *i)
{
    const char *digits = strrchr(name, '_');
    char again[24];
    char *end;
    unsigned long v;

    if (!digits || digits == name)
        return 0;
    errno = 0;
    v = strtoul(digits + 1, &end, 10);
    snprintf(again, sizeof(again), "%lu", v);
    if (errno || v >= DNAS_STREAM_MAX_DIM || strcmp(again, digits + 1) != 0)
        return 0;
    *i = (uint32_t)v;
    return (size_t)(digits - name);
}

static void add_column(struct dnas_header *h, const char *name, uint32_t vector_dim)
{
    if (vector_dim > 0) {
        dnas_header_add_column(h, name, DNAS_F32, false, vector_dim);
        return;
    }
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
        if (strcmp(known[i].name, name) == 0) {
            dnas_header_add_column(h, name, known[i].type, known[i].ragged, 0);
            return;
        }
    dnas_header_add_column(h, name, DNAS_UTF8, true, 0);
}

/* How many names from names[0] on are stem_0, stem_1, ...; 0 if it is no vector. */
static uint32_t vector_dim(char **names, size_t n)
{
    uint32_t i, dim = 0;
    size_t stem = vector_stem(names[0], &i);

    if (stem == 0 || i != 0)
        return 0;
    while (dim < n && vector_stem(names[dim], &i) == stem && i == dim &&
           strncmp(names[dim], names[0], stem) == 0)
        dim++;
    return dim;
}

static int add_columns(struct dnas_header *h, char **names, size_t n, struct dnas_err *err)
{
    for (size_t i = 0; i < n;) {
        uint32_t dim = vector_dim(names + i, n - i);

        if (dim > 0)
            names[i][strlen(names[i]) - 2] = '\0'; /* "_0" */
        if (!*names[i] || !dnas_is_plain_text(names[i], strlen(names[i])))
            return dnas_err_set(err, "line 1 has a column without a name, or one that is not "
                                     "UTF-8 without control characters");
        if (dnas_header_find(h, names[i]) >= 0)
            return dnas_err_set(err, "line 1 has two columns '%s'", names[i]);
        if (h->n_columns == DNAS_STREAM_MAX_COLUMNS)
            return dnas_err_set(err, "line 1 has more than %d columns", DNAS_STREAM_MAX_COLUMNS);
        add_column(h, names[i], dim);
        i += dim ? dim : 1;
    }
    return 0;
}

static int parse_heading(struct dnas_header *h, char *line, struct dnas_err *err)
{
    char **names = NULL;
    size_t n = 0, cap = 0;
    int status;

    for (char *tab = line; tab; n++) {
        names = dnas_xgrow(names, &cap, n + 1, sizeof(*names));
        names[n] = tab;
        tab = strchr(tab, '\t');
        if (tab)
            *tab++ = '\0';
    }
    status = add_columns(h, names, n, err);
    free(names);
    if (status != 0)
        return -1;
    if (dnas_header_find(h, "id") < 0)
        return dnas_err_set(err, "line 1 names no column 'id': is it a TSV of dnas-view?");
    if (dnas_header_find(h, "embedding") >= 0)
        h->kind = DNAS_EMBEDDINGS;
    else if (dnas_header_find(h, "cluster") >= 0)
        h->kind = DNAS_LABELS;
    else if (dnas_header_find(h, "tokens") >= 0)
        h->kind = DNAS_TOKENS;
    else if (dnas_header_find(h, "seq_a") >= 0 || dnas_header_find(h, "tokens_a") >= 0)
        h->kind = DNAS_PAIRS;
    else
        return dnas_err_set(err, "line 1 names no column 'embedding_0', 'cluster', 'tokens' or "
                                 "'seq_a'");
    return 0;
}

struct dnas_reader *dnas_reader_on_tsv(struct dnas_in *in, struct dnas_err *err)
{
    struct dnas_reader *r = dnas_xzalloc(1, sizeof(*r));
    struct dnas_err why = {""};
    char *line;
    size_t n;
    int status;

    r->in = in;
    r->tsv = dnas_xzalloc(1, sizeof(*r->tsv));
    r->tsv->lines.in = in;
    dnas_header_init(&r->header, DNAS_LABELS);
    status = dnas_lines_next(&r->tsv->lines, &line, &n, err);
    if (status == 0)
        dnas_err_set(err,
                     "%s: is empty: neither a stream nor a TSV with a line of names (did the "
                     "command before it fail?)",
                     dnas_in_name(in));
    if (status == 1 && memchr(line, '\0', n)) {
        dnas_err_set(err, "%s: is neither a dnas stream nor text", dnas_in_name(in));
        status = -1;
    }
    if (status == 1 && parse_heading(&r->header, line, &why) != 0) {
        dnas_err_set(err, "%s: %s", dnas_in_name(in), why.msg);
        status = -1;
    }
    if (status != 1) {
        dnas_reader_close(r);
        return NULL;
    }
    dnas_table_init(&r->tsv->block, r->header.columns, r->header.n_columns);
    return r;
}

void dnas_tsv_free(struct dnas_tsv *tsv)
{
    if (!tsv)
        return;
    dnas_lines_release(&tsv->lines);
    dnas_table_release(&tsv->block);
    free(tsv->list);
    free(tsv);
}

/* A number that ends with the text; NaN and infinity are numbers. */
static bool parse_real(const char *s, float *x)
{
    char *end;

    *x = strtof(s, &end);
    return end != s && !*end;
}

static bool parse_integer(const char *s, enum dnas_type type, void *out)
{
    static const int64_t low[DNAS_N_TYPES] = {[DNAS_I32] = INT32_MIN};
    static const int64_t high[DNAS_N_TYPES] = {[DNAS_U8] = UINT8_MAX,
                                               [DNAS_U16] = UINT16_MAX,
                                               [DNAS_U32] = UINT32_MAX,
                                               [DNAS_I32] = INT32_MAX};
    char *end;
    long long v;

    errno = 0;
    v = strtoll(s, &end, 10);
    if (end == s || *end || errno || v < low[type] || v > high[type])
        return false;
    memcpy(out, &v, dnas_type_size(type)); /* little-endian, as the stream is */
    return true;
}

/* Reads the elements of a cell from text, which is cut up at `separator`. */
static bool parse_elements(struct dnas_tsv *t, const struct dnas_column *col, char *text,
                           size_t *n_elements)
{
    size_t size = dnas_type_size(col->type), n = 0;

    for (char *s = *text ? text : NULL; s; n++) {
        char *space = strchr(s, ' ');
        char *at;

        if (space)
            *space++ = '\0';
        t->list = dnas_xgrow(t->list, &t->list_cap, (n + 1) * size, 1);
        at = (char *)t->list + n * size;
        if (col->type == DNAS_F32 ? !parse_real(s, (float *)(void *)at)
                                  : !parse_integer(s, col->type, at))
            return false;
        s = space;
    }
    *n_elements = n;
    return true;
}

/* One field: a text, a number, a list, or the i-th element of a vector. */
static int parse_field(struct dnas_tsv *t, int c, uint32_t i, char *field, struct dnas_err *err)
{
    const struct dnas_column *col = &t->block.columns[c];
    size_t n = 0;

    if (col->type == DNAS_UTF8) {
        if (!dnas_is_plain_text(field, strlen(field)))
            return dnas_err_set(err, "has control characters in column '%s'", col->name);
        dnas_table_cell(&t->block, c, field, strlen(field));
        return 0;
    }
    if (col->is_vector) {
        t->list = dnas_xgrow(t->list, &t->list_cap, col->dim * sizeof(float), 1);
        if (!parse_real(field, (float *)t->list + i))
            return dnas_err_set(err, "'%s' of column '%s_%" PRIu32 "' is no number", field,
                                col->name, i);
        if (i + 1 == col->dim)
            dnas_table_cell(&t->block, c, t->list, col->dim);
        return 0;
    }
    if (!parse_elements(t, col, field, &n) || (!col->ragged && n != 1))
        return dnas_err_set(err, "'%.100s' of column '%s' is no number of type %s", field,
                            col->name, dnas_type_name(col->type));
    dnas_table_cell(&t->block, c, t->list, n);
    return 0;
}

static int parse_row(struct dnas_tsv *t, char *line, struct dnas_err *err)
{
    char *field = line;

    for (int c = 0; c < t->block.n_columns; c++)
        for (uint32_t i = 0; i < (t->block.columns[c].is_vector ? t->block.columns[c].dim : 1);
             i++) {
            char *tab = field ? strchr(field, '\t') : NULL;

            if (!field)
                return dnas_err_set(err, "has fewer fields than line 1 has names");
            if (tab)
                *tab++ = '\0';
            if (parse_field(t, c, i, field, err) != 0)
                return -1;
            field = tab;
        }
    if (field)
        return dnas_err_set(err, "has more fields than line 1 has names");
    dnas_table_end_row(&t->block);
    return 0;
}

int dnas_tsv_next(struct dnas_reader *r, struct dnas_block *block, struct dnas_err *err)
{
    struct dnas_tsv *t = r->tsv;
    int status = 1;

    dnas_table_clear(&t->block);
    while (t->block.n_rows < DNAS_STREAM_BLOCK_ROWS &&
           dnas_table_bytes(&t->block) < DNAS_STREAM_BLOCK_BYTES) {
        struct dnas_err why = {""};
        char *line;
        size_t n;

        status = dnas_lines_next(&t->lines, &line, &n, err);
        if (status != 1)
            break;
        if (n == 0)
            continue;
        if (memchr(line, '\0', n) || !dnas_is_utf8(line, n))
            dnas_err_set(&why, "is not UTF-8 text");
        else if (parse_row(t, line, &why) == 0)
            continue;
        return dnas_err_set(err, "%s: line %" PRIu64 " %s%s", dnas_in_name(r->in), t->lines.number,
                            why.msg[0] == '\'' ? "has " : "", why.msg);
    }
    if (status < 0)
        return -1;
    if (t->block.n_rows == 0)
        return 0;
    *block = dnas_table_block(&t->block);
    block->first_row = r->rows;
    r->rows += block->n_rows;
    r->total_blocks++;
    r->offset = dnas_in_offset(r->in);
    return 1;
}
