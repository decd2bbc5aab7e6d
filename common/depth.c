/* SPDX-License-Identifier: MIT
 *
 * depth.c - MetaBAT's table of depths.  Contract: depth.h.
 */
#include "common/depth.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "common/idmap.h"
#include "common/io.h"
#include "common/xmem.h"

#define BEFORE 3 /* contigName, contigLen, totalAvgDepth */
#define DEPTH_MAX 1e12
#define SAMPLES_MAX 100000

struct table {
    struct dnas_depth *d;
    struct dnas_in *in;
    struct dnas_lines lines;
    struct dnas_idmap ids; /* of the rows, numbered alike */
    const uint32_t *length_bp;
    bool *is_there; /* [N] */
    char **field;   /* [BEFORE + 2 S] of a line, into it */
    size_t field_cap, n_fields;
};

/* Cuts a line at its tabs. */
static void split(struct table *t, char *line)
{
    t->n_fields = 0;
    for (char *at = line; at;) {
        char *tab = strchr(at, '\t');

        t->field = dnas_xgrow(t->field, &t->field_cap, t->n_fields + 1, sizeof(*t->field));
        t->field[t->n_fields++] = at;
        if (tab)
            *tab++ = '\0';
        at = tab;
    }
}

static int bad_header(const struct table *t, struct dnas_err *err)
{
    return dnas_err_set(err,
                        "%s: is no table of depths: its first line is not contigName, contigLen, "
                        "totalAvgDepth and for each sample NAME and NAME-var, with tabs between",
                        dnas_in_name(t->in));
}

static int read_header(struct table *t, struct dnas_err *err)
{
    struct dnas_depth *d = t->d;
    size_t n, n_samples;
    char *line;
    int status = dnas_lines_next(&t->lines, &line, &n, err);

    if (status <= 0)
        return status < 0 ? -1 : bad_header(t, err);
    split(t, line);
    if (t->n_fields < BEFORE + 2 || (t->n_fields - BEFORE) % 2 != 0 ||
        strcmp(t->field[0], "contigName") != 0 || strcmp(t->field[1], "contigLen") != 0)
        return bad_header(t, err);
    n_samples = (t->n_fields - BEFORE) / 2;
    if (n_samples > SAMPLES_MAX)
        return dnas_err_set(err, "%s: has %zu samples; at most %d are allowed", dnas_in_name(t->in),
                            n_samples, SAMPLES_MAX);
    d->sample = dnas_xzalloc(n_samples, sizeof(*d->sample));
    d->mean = dnas_xalloc(d->N, n_samples * sizeof(*d->mean));
    d->variance = dnas_xalloc(d->N, n_samples * sizeof(*d->variance));
    for (; d->S < n_samples; d->S++) {
        const char *name = t->field[BEFORE + 2 * d->S], *var = t->field[BEFORE + 2 * d->S + 1];

        if (strncmp(name, var, strlen(name)) != 0 || strcmp(var + strlen(name), "-var") != 0)
            return bad_header(t, err);
        d->sample[d->S] = dnas_xstrdup(name);
    }
    return 0;
}

/* A whole number field, or a real one, from 0 to DEPTH_MAX. */
static bool parse(double *out, const char *text)
{
    char *end;

    *out = strtod(text, &end);
    return end != text && *end == '\0' && *text != ' ' && *text != '+' && *out >= 0 &&
           *out <= DEPTH_MAX;
}

static int read_depths(struct table *t, size_t row, struct dnas_err *err)
{
    struct dnas_depth *d = t->d;

    for (size_t i = 0; i < 2 * d->S; i++) {
        double *out = i % 2 == 0 ? d->mean : d->variance;

        if (!parse(&out[row * d->S + i / 2], t->field[BEFORE + i]))
            return dnas_err_set(err,
                                "%s: line %llu ('%s'): '%.40s' in column '%s%s' is not a number "
                                "from 0 to 1e12",
                                dnas_in_name(t->in), (unsigned long long)t->lines.number,
                                t->field[0], t->field[BEFORE + i], d->sample[i / 2],
                                i % 2 ? "-var" : "");
    }
    return 0;
}

static int read_line(struct table *t, char *line, struct dnas_err *err)
{
    unsigned long long number = t->lines.number;
    double length;
    size_t row;

    split(t, line);
    if (t->n_fields != BEFORE + 2 * t->d->S)
        return dnas_err_set(err, "%s: line %llu has %zu fields, and the first line %zu",
                            dnas_in_name(t->in), number, t->n_fields, BEFORE + 2 * t->d->S);
    row = dnas_idmap_find(&t->ids, t->field[0], strlen(t->field[0]));
    if (row == SIZE_MAX)
        return 0;
    if (t->is_there[row])
        return dnas_err_set(err, "%s: line %llu is the second of '%s'", dnas_in_name(t->in), number,
                            t->field[0]);
    t->is_there[row] = true;
    if (!parse(&length, t->field[1]) ||
        !(fabs(length - (double)t->length_bp[row]) <= 1e-5 * (double)t->length_bp[row]))
        return dnas_err_set(err,
                            "%s: line %llu: '%s' is %.40s letters long there and %u among the "
                            "embeddings: map reads to the sequences that are embedded, whole ones",
                            dnas_in_name(t->in), number, t->field[0], t->field[1],
                            t->length_bp[row]);
    return read_depths(t, row, err);
}

static int number_rows(struct table *t, const struct dnas_embeddings *e, struct dnas_err *err)
{
    for (size_t row = 0; row < e->N; row++) {
        char *id = dnas_embeddings_text(e, e->id, row);
        bool is_new = dnas_idmap_add(&t->ids, id, strlen(id)) == row;

        if (!is_new)
            dnas_err_set(err, "two rows are called '%s', and depths go by name", id);
        free(id);
        if (!is_new)
            return -1;
    }
    return 0;
}

static int read_table(struct table *t, struct dnas_err *err)
{
    char *line;
    size_t n;
    int status;

    if (read_header(t, err) != 0)
        return -1;
    while ((status = dnas_lines_next(&t->lines, &line, &n, err)) == 1) {
        if (strlen(line) != n)
            return dnas_err_set(err, "%s: line %llu is not text", dnas_in_name(t->in),
                                (unsigned long long)t->lines.number);
        if (n > 0 && read_line(t, line, err) != 0)
            return -1;
    }
    for (size_t row = 0; status == 0 && row < t->d->N; row++)
        if (!t->is_there[row])
            return dnas_err_set(err, "%s: has no line of '%s'", dnas_in_name(t->in),
                                dnas_idmap_text(&t->ids, row));
    return status;
}

int dnas_depth_load(struct dnas_depth *d, const char *path, const struct dnas_embeddings *e,
                    const uint32_t *length_bp, struct dnas_err *err)
{
    struct table t = {.d = d, .length_bp = length_bp};
    int status = -1;

    *d = (struct dnas_depth){.N = e->N};
    t.in = dnas_in_open(path, err);
    if (!t.in)
        return -1;
    t.lines.in = t.in;
    t.is_there = dnas_xzalloc(e->N, sizeof(*t.is_there));
    if (number_rows(&t, e, err) == 0)
        status = read_table(&t, err);
    dnas_lines_release(&t.lines);
    dnas_in_close(t.in);
    dnas_idmap_release(&t.ids);
    free(t.is_there);
    free(t.field);
    return status;
}

void dnas_depth_release(struct dnas_depth *d)
{
    for (size_t s = 0; s < d->S; s++)
        free(d->sample[s]);
    free(d->sample);
    free(d->mean);
    free(d->variance);
    *d = (struct dnas_depth){0};
}
