/* SPDX-License-Identifier: MIT
 *
 * text.h - rows of a stream as text: TSV for awk, pandas and R; JSON lines.
 *
 * TSV: a header line with the names of the columns; a vector of n is n columns
 * name_0 ... name_{n-1}; a list is one column, its elements separated by
 * spaces.  Real numbers have nine significant digits, enough to get the same
 * f32 back.  JSON: one object a line.
 */
#ifndef DNAS_TEXT_H
#define DNAS_TEXT_H

#include "common/stream.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Text that grows.  Start with {0}; free data with free(). */
struct dnas_text {
    char *data;
    size_t n, cap;
};

void dnas_text_append(struct dnas_text *t, const char *s, size_t n);
void dnas_text_printf(struct dnas_text *t, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/* A number with nine digits; NaN and infinity are null in JSON, which has none. */
void dnas_text_real(struct dnas_text *t, double x, bool json);
/* A text in quotes.  Those of streams and tables have no control characters: two escapes are
 * enough. */
void dnas_text_json_string(struct dnas_text *t, const char *s, size_t n);

/* The line of column names, with its newline. */
void dnas_text_tsv_header(struct dnas_text *t, const struct dnas_header *h);
/* One row as a line. */
void dnas_text_tsv_row(struct dnas_text *t, const struct dnas_block *b, uint32_t row);
void dnas_text_json_row(struct dnas_text *t, const struct dnas_block *b, uint32_t row);

#ifdef __cplusplus
}
#endif
#endif
