/* SPDX-License-Identifier: MIT
 *
 * bioboxes.c - reads bioboxes' format of binnings.  Contract: bioboxes.h.
 */
#include "common/bioboxes.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/record.h"
#include "common/xmem.h"

struct parser {
    struct dnas_in *in;
    uint64_t line;
    char *sample; /* NULL: no @SampleID yet */
    bool has_columns;
    int id, bin, length; /* numbers of the columns; -1: not there */
};

int dnas_in_is_bioboxes(struct dnas_in *in, struct dnas_err *err)
{
    char first[DNAS_IN_PEEK];
    ptrdiff_t n = dnas_in_peek(in, first, sizeof(first), err), i = 0, end;

    if (n < 0)
        return -1;
    while (i < n && (first[i] == '\n' || first[i] == '\r'))
        i++;
    if (i + 1 < n && first[i] == '@' && first[i + 1] == '@')
        return 1;
    if (i == n || (first[i] != '@' && first[i] != '#'))
        return 0;
    for (end = i; end < n && first[end] != '\n'; end++)
        if (first[end] == '\t') /* a table whose first id begins so */
            return 0;
    return 1;
}

/* Cuts the field at *rest off, without blanks round it; NULL after the last. */
static char *next_field(char **rest)
{
    char *field = *rest, *tab, *end;

    if (!field)
        return NULL;
    tab = strchr(field, '\t');
    end = tab ? tab : field + strlen(field);
    *rest = tab ? tab + 1 : NULL;
    while (field < end && *field == ' ')
        field++;
    while (end > field && end[-1] == ' ')
        end--;
    *end = '\0';
    return field;
}

/* Whether two texts are equal but for the case of letters. */
static bool same_word(const char *a, const char *b)
{
    for (; *a && toupper((unsigned char)*a) == toupper((unsigned char)*b); a++)
        b++;
    return *a == *b;
}

static int parse_columns(struct parser *p, char *line, struct dnas_err *err)
{
    char *name;

    p->id = p->bin = p->length = -1;
    for (int i = 0; (name = next_field(&line)); i++) {
        if (same_word(name, "SEQUENCEID"))
            p->id = i;
        else if (same_word(name, "BINID"))
            p->bin = i;
        else if (same_word(name, "LENGTH") || same_word(name, "_LENGTH"))
            p->length = i;
    }
    if (p->id < 0 || p->bin < 0)
        return dnas_err_set(err, "line %" PRIu64 " names no column '%s'", p->line,
                            p->id < 0 ? "SEQUENCEID" : "BINID");
    p->has_columns = true;
    return 0;
}

/* A line "@Key:Value". */
static int parse_header(struct parser *p, char *line, struct dnas_err *err)
{
    char *colon = strchr(line, ':'), *value;

    if (!colon)
        return dnas_err_set(err, "line %" PRIu64 " is not '@KEY:VALUE'", p->line);
    *colon = '\0';
    value = colon + 1;
    if (p->has_columns) { /* another sample */
        p->has_columns = false;
        free(p->sample);
        p->sample = NULL;
    }
    if (same_word(line + 1, "SAMPLEID")) {
        free(p->sample);
        p->sample = dnas_xstrdup(next_field(&value));
    }
    return 0;
}

static int parse_length(struct parser *p, uint64_t *length_bp, const char *text,
                        struct dnas_err *err)
{
    char *end;

    errno = 0;
    *length_bp = strtoull(text, &end, 10);
    if (!isdigit((unsigned char)*text) || *end || errno || *length_bp < 1 || *length_bp > INT64_MAX)
        return dnas_err_set(err, "line %" PRIu64 " has the length '%.40s', not a number from 1",
                            p->line, text);
    return 0;
}

/* 1 with a row, 0 if it has no bin, -1. */
static int parse_row(struct parser *p, struct dnas_bioboxes_row *row, char *line,
                     struct dnas_err *err)
{
    int last = p->id > p->bin ? p->id : p->bin, n = 0;
    const char *length = NULL;
    char *field;

    if (!p->has_columns)
        return dnas_err_set(
            err, "line %" PRIu64 " comes before the names of the columns ('@@SEQUENCEID...')",
            p->line);
    for (; (field = next_field(&line)); n++) {
        if (n == p->id)
            row->id = field;
        if (n == p->bin)
            row->bin = field;
        if (n == p->length)
            length = field;
    }
    if (n <= last || n <= p->length)
        return dnas_err_set(err, "line %" PRIu64 " has fewer fields than there are columns",
                            p->line);
    if (!*row->id)
        return dnas_err_set(err, "line %" PRIu64 " has no id", p->line);
    if (length && parse_length(p, &row->length_bp, length, err) != 0)
        return -1;
    return *row->bin ? 1 : 0;
}

/* 1 with a row, or with the beginning of a sample; 0 with nothing; -1. */
static int parse_line(struct parser *p, struct dnas_bioboxes_row *row, char *line,
                      struct dnas_err *err)
{
    int status = 1;

    *row = (struct dnas_bioboxes_row){.line = p->line};
    if (!*line || *line == '#')
        return 0;
    if (line[0] == '@' && line[1] == '@')
        status = parse_columns(p, line + 2, err) == 0 ? 1 : -1;
    else if (line[0] == '@' && (!p->has_columns || !strchr(line, '\t')))
        status = parse_header(p, line, err);
    else
        status = parse_row(p, row, line, err);
    row->sample = p->sample ? p->sample : "";
    return status;
}

static bool is_text(const char *line, size_t n)
{
    if (!dnas_is_utf8(line, n))
        return false;
    for (size_t i = 0; i < n; i++)
        if ((unsigned char)line[i] < 0x20 && line[i] != '\t')
            return false;
    return true;
}

int dnas_bioboxes_read(struct dnas_in *in,
                       int (*each)(void *ctx, const struct dnas_bioboxes_row *row,
                                   struct dnas_err *err),
                       void *ctx, struct dnas_err *err)
{
    struct dnas_lines lines = {.in = in};
    struct parser p = {.in = in};
    struct dnas_bioboxes_row row;
    bool any_columns = false;
    char *line;
    size_t n;
    int status;

    while ((status = dnas_lines_next(&lines, &line, &n, err)) == 1) {
        p.line = lines.number;
        if (!is_text(line, n))
            status = dnas_err_set(err, "line %" PRIu64 " is not UTF-8 text", p.line);
        else if ((status = parse_line(&p, &row, line, err)) == 1)
            status = each(ctx, &row, err);
        any_columns = any_columns || p.has_columns;
        if (status < 0) {
            dnas_err_at(err, "%s: ", dnas_in_name(in));
            break;
        }
    }
    if (status == 0 && !any_columns)
        status = dnas_err_set(err, "%s: has no line of column names ('@@SEQUENCEID...')",
                              dnas_in_name(in));
    dnas_lines_release(&lines);
    free(p.sample);
    return status;
}
