/* SPDX-License-Identifier: MIT
 *
 * text.c - rows as TSV and JSON lines.  Contract: text.h.
 */
#include "common/text.h"

#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "common/xmem.h"

void dnas_text_append(struct dnas_text *t, const char *s, size_t n)
{
    t->data = dnas_xgrow(t->data, &t->cap, t->n + n + 1, 1);
    if (n > 0)
        memcpy(t->data + t->n, s, n);
    t->n += n;
    t->data[t->n] = '\0';
}

void dnas_text_printf(struct dnas_text *t, const char *fmt, ...)
{
    char small[256];
    va_list ap;
    int n;

    va_start(ap, fmt);
    n = vsnprintf(small, sizeof(small), fmt, ap);
    va_end(ap);
    if (n < (int)sizeof(small)) {
        dnas_text_append(t, small, (size_t)n);
        return;
    }
    t->data = dnas_xgrow(t->data, &t->cap, t->n + (size_t)n + 1, 1);
    va_start(ap, fmt);
    vsnprintf(t->data + t->n, (size_t)n + 1, fmt, ap);
    va_end(ap);
    t->n += (size_t)n;
}

void dnas_text_tsv_header(struct dnas_text *t, const struct dnas_header *h)
{
    for (int c = 0; c < h->n_columns; c++) {
        const struct dnas_column *col = &h->columns[c];

        if (c > 0)
            dnas_text_append(t, "\t", 1);
        if (!col->is_vector)
            dnas_text_append(t, col->name, strlen(col->name));
        for (uint32_t i = 0; col->is_vector && i < col->dim; i++)
            dnas_text_printf(t, "%s%s_%" PRIu32, i ? "\t" : "", col->name, i);
    }
    dnas_text_append(t, "\n", 1);
}

static void append_unsigned(struct dnas_text *t, uint64_t x)
{
    char digits[20];
    size_t n = sizeof(digits);

    do
        digits[--n] = (char)('0' + x % 10);
    while (x /= 10);
    dnas_text_append(t, digits + n, sizeof(digits) - n);
}

static void append_signed(struct dnas_text *t, int64_t x)
{
    if (x < 0)
        dnas_text_append(t, "-", 1);
    append_unsigned(t, x < 0 ? 0 - (uint64_t)x : (uint64_t)x);
}

void dnas_text_real(struct dnas_text *t, double x, bool json)
{
    if (isfinite(x))
        dnas_text_printf(t, "%.9g", x);
    else if (json)
        dnas_text_append(t, "null", 4);
    else
        dnas_text_printf(t, "%s", isnan(x) ? "nan" : x > 0 ? "inf" : "-inf");
}

static void append_element(struct dnas_text *t, enum dnas_type type, const void *values, uint64_t i,
                           bool json)
{
    switch (type) {
    case DNAS_U8:
        append_unsigned(t, ((const uint8_t *)values)[i]);
        return;
    case DNAS_U16:
        append_unsigned(t, ((const uint16_t *)values)[i]);
        return;
    case DNAS_U32:
        append_unsigned(t, ((const uint32_t *)values)[i]);
        return;
    case DNAS_I32:
        append_signed(t, ((const int32_t *)values)[i]);
        return;
    case DNAS_I64:
        append_signed(t, ((const int64_t *)values)[i]);
        return;
    case DNAS_F32:
        dnas_text_real(t, (double)((const float *)values)[i], json);
        return;
    case DNAS_BF16:
        dnas_text_real(t, (double)dnas_f32_from_bf16(((const uint16_t *)values)[i]), json);
        return;
    case DNAS_UTF8:
        break;
    }
    DNAS_BUG("an element of type %d", (int)type);
}

static void append_elements(struct dnas_text *t, const struct dnas_column *col,
                            const struct dnas_cells *cells, uint32_t row, const char *separator,
                            bool json)
{
    uint64_t from = cells->offsets ? cells->offsets[row] : (uint64_t)row * col->dim;
    uint64_t to = cells->offsets ? cells->offsets[row + 1] : from + col->dim;

    for (uint64_t i = from; i < to; i++) {
        if (i > from)
            dnas_text_append(t, separator, 1);
        append_element(t, col->type, cells->values, i, json);
    }
}

void dnas_text_tsv_row(struct dnas_text *t, const struct dnas_block *b, uint32_t row)
{
    for (int c = 0; c < b->n_columns; c++) {
        const struct dnas_column *col = &b->columns[c];

        if (c > 0)
            dnas_text_append(t, "\t", 1);
        if (col->type == DNAS_UTF8) {
            size_t n;
            const char *s = dnas_block_ragged(b, c, row, &n);

            dnas_text_append(t, s, n);
        } else {
            append_elements(t, col, &b->cells[c], row, col->ragged ? " " : "\t", false);
        }
    }
    dnas_text_append(t, "\n", 1);
}

void dnas_text_json_string(struct dnas_text *t, const char *s, size_t n)
{
    dnas_text_append(t, "\"", 1);
    for (size_t i = 0; i < n; i++) {
        if (s[i] == '"' || s[i] == '\\')
            dnas_text_append(t, "\\", 1);
        dnas_text_append(t, s + i, 1);
    }
    dnas_text_append(t, "\"", 1);
}

void dnas_text_json_row(struct dnas_text *t, const struct dnas_block *b, uint32_t row)
{
    for (int c = 0; c < b->n_columns; c++) {
        const struct dnas_column *col = &b->columns[c];
        bool is_list = col->ragged || col->is_vector;

        dnas_text_append(t, c > 0 ? ", " : "{", c > 0 ? 2 : 1);
        dnas_text_json_string(t, col->name, strlen(col->name));
        dnas_text_append(t, ": ", 2);
        if (col->type == DNAS_UTF8) {
            size_t n;
            const char *s = dnas_block_ragged(b, c, row, &n);

            dnas_text_json_string(t, s, n);
            continue;
        }
        if (is_list)
            dnas_text_append(t, "[", 1);
        append_elements(t, col, &b->cells[c], row, ",", true);
        if (is_list)
            dnas_text_append(t, "]", 1);
    }
    dnas_text_append(t, "}\n", 2);
}
