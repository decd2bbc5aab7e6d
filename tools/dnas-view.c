/* SPDX-License-Identifier: MIT
 *
 * dnas-view - look into streams, and convert them from and to text and .npy.
 *
 * In:  any stream; with --from-npy and --from-tsv a matrix or a table
 * Out: TSV, JSON lines, an .npy file; EMBEDDINGS or what the table holds
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/convert.h"
#include "common/msg.h"
#include "common/opt.h"
#include "common/provenance.h"
#include "common/stream.h"
#include "common/text.h"

struct view {
    struct dnas_common common;
    bool header, count, check, salvage, json;
    const char *npy, *from_npy, *from_tsv, *ids, *labels, *rows;
    uint64_t first_row, end_row; /* of --rows, from 0, the end not included */
};

static int print_header(const struct view *v, const struct dnas_reader *r, struct dnas_err *err)
{
    char *json = dnas_header_json(dnas_reader_header(r), JSON_INDENT(2));
    struct dnas_text t = {0};
    int status;

    dnas_text_printf(&t, "%s\n", json);
    status = dnas_write_file(v->common.output, t.data, t.n, err);
    free(json);
    free(t.data);
    return status;
}

/* -c and --check: every byte is read and every hash compared. */
static int count_rows(const struct view *v, struct dnas_reader *r, struct dnas_err *err)
{
    struct dnas_text t = {0};
    struct dnas_block b;
    int status;

    while ((status = dnas_reader_next(r, &b, err)) == 1)
        dnas_progress("reading", "rows", dnas_reader_rows(r), dnas_reader_offset(r),
                      dnas_reader_file_size(r));
    if (status != 0)
        return -1;
    dnas_progress_end();
    if (v->check)
        dnas_text_printf(&t, "%s: whole: %s, %" PRIu64 " rows in %" PRIu64 " blocks\n",
                         dnas_reader_name(r), dnas_kind_name(dnas_reader_header(r)->kind),
                         dnas_reader_rows(r), dnas_reader_blocks(r));
    else
        dnas_text_printf(&t, "%" PRIu64 "\n", dnas_reader_rows(r));
    status = dnas_write_file(v->common.output, t.data, t.n, err);
    free(t.data);
    return status;
}

/* Copies rows to the writer; a damaged stream is an error unless salvaging. */
static int copy_rows(const struct view *v, struct dnas_writer *w, struct dnas_reader *r,
                     struct dnas_err *err)
{
    struct dnas_block b;
    int status;

    while ((status = dnas_reader_next(r, &b, err)) == 1) {
        for (uint32_t row = 0; row < b.n_rows; row++) {
            uint64_t number = b.first_row + row;

            if (number >= v->first_row && number < v->end_row &&
                dnas_writer_copy_row(w, &b, row, err) != 0)
                return -1;
        }
        /* Nothing behind a range is wanted; what is there is still checked. */
    }
    if (status < 0 && v->salvage) {
        dnas_msg_warn("%s", err->msg);
        return 0;
    }
    return status;
}

static int convert(const struct view *v, const struct dnas_tool *tool, struct dnas_reader *r,
                   enum dnas_format format, struct dnas_err *err)
{
    struct dnas_writer_options options = {.format = format,
                                          .zstd_level = (int)v->common.zstd_level};
    struct dnas_out *out = dnas_out_open(v->common.output, false, err);
    struct dnas_header h;
    struct dnas_writer *w;
    uint64_t n_rows;

    if (!out)
        return -1;
    dnas_header_copy(&h, dnas_reader_header(r));
    h.shard = h.n_shards = 0;
    dnas_provenance_add(&h, dnas_reader_header(r)->pg, tool, &v->common, NULL);
    w = dnas_writer_new(out, &h, &options, err);
    dnas_header_release(&h);
    if (!w)
        return -1;
    if (copy_rows(v, w, r, err) != 0) {
        dnas_writer_abandon(w, false);
        return -1;
    }
    n_rows = dnas_writer_rows(w);
    if (dnas_writer_finish(w, err) != 0)
        return -1;
    if (v->salvage)
        dnas_msg_note("%" PRIu64 " rows saved", n_rows);
    dnas_msg_closing(n_rows, "rows");
    return 0;
}

static int view_stream(const struct view *v, const struct dnas_tool *tool, const char *path,
                       struct dnas_err *err)
{
    struct dnas_reader *r = dnas_reader_open(path, err);
    int status = -1;

    if (!r)
        return -1;
    if (v->header)
        status = print_header(v, r, err);
    else if (v->count || v->check)
        status = count_rows(v, r, err);
    else if (v->npy)
        status = dnas_convert_to_npy(v->npy, r, err);
    else
        status = convert(v, tool, r,
                         v->salvage ? DNAS_FORMAT_STREAM
                         : v->json  ? DNAS_FORMAT_JSON
                                    : DNAS_FORMAT_TSV,
                         err);
    dnas_reader_close(r);
    return status;
}

static int from_tsv(const struct view *v, const struct dnas_tool *tool, struct dnas_err *err)
{
    struct dnas_in *in = dnas_in_open(v->from_tsv, err);
    struct dnas_reader *r = in ? dnas_reader_on_tsv(in, err) : NULL;
    int status = r ? convert(v, tool, r, DNAS_FORMAT_STREAM, err) : -1;

    dnas_reader_close(r);
    return status;
}

static int from_npy(const struct view *v, const struct dnas_tool *tool, struct dnas_err *err)
{
    struct dnas_writer_options options = {.zstd_level = (int)v->common.zstd_level};
    struct dnas_header pg = {.kind = DNAS_EMBEDDINGS};
    struct dnas_out *out = dnas_out_open(v->common.output, false, err);
    int status;

    if (!out)
        return -1;
    dnas_provenance_add(&pg, NULL, tool, &v->common, NULL);
    status = dnas_convert_from_npy(out, &options, v->from_npy, v->ids, v->labels, pg.pg, err);
    dnas_header_release(&pg);
    return status;
}

/* A number of digits alone, from 1; moves *text behind it.  0: there is none. */
static uint64_t parse_row(const char **text)
{
    size_t n = strspn(*text, "0123456789");
    uint64_t row;

    errno = 0;
    row = n > 0 ? strtoull(*text, NULL, 10) : 0;
    *text += n;
    return errno ? 0 : row;
}

/* "5", "5-9", "5-": rows from 1, both ends included. */
static bool parse_rows(struct view *v)
{
    const char *text = v->rows;
    uint64_t first;

    v->end_row = UINT64_MAX;
    if (!text)
        return true;
    first = parse_row(&text);
    v->first_row = first - 1;
    if (*text == '\0')
        v->end_row = first;
    else if (*text++ != '-')
        return false;
    else if (*text)
        v->end_row = parse_row(&text);
    return first > 0 && v->end_row >= first && *text == '\0';
}

/* What the table of options cannot check.  -1 to go on, or the exit status. */
static int check(struct view *v, int n_operands)
{
    bool from = v->from_npy || v->from_tsv;
    int n_modes = v->header + v->count + v->check + v->salvage + v->json + (v->npy != NULL) +
                  (v->from_npy != NULL) + (v->from_tsv != NULL);

    if (n_modes > 1)
        return dnas_usage_error("-H, -c, --check, --salvage, --json, --npy, --from-npy and "
                                "--from-tsv exclude each other");
    if (from && n_operands > 0)
        return dnas_usage_error("--from-npy and --from-tsv take the place of FILE");
    if ((v->ids || v->labels) && !v->from_npy)
        return dnas_usage_error("--ids and --labels go with --from-npy");
    if (!parse_rows(v))
        return dnas_usage_error("--rows takes N, N-M or N- with 1 <= N <= M, not '%s'", v->rows);
    if (v->npy && strcmp(v->npy, "-") == 0)
        return dnas_usage_error("--npy needs a file's name: the number of rows is written last, "
                                "at its beginning");
    if (v->npy && v->common.output)
        return dnas_usage_error("--npy names its own file and leaves nothing for -o");
    if (v->common.zstd_level && !from && !v->salvage)
        return dnas_usage_error("--zstd goes with --salvage, --from-npy and --from-tsv");
    if (v->rows && (v->header || v->count || v->check || v->npy || from))
        return dnas_usage_error("--rows goes with TSV, --json and --salvage");
    return -1;
}

int main(int argc, char **argv)
{
    struct view v = {.header = false};
    const struct dnas_opt opts[] = {
        {'H', "header", NULL, DNAS_OPT_FLAG, &v.header, 0, 0, NULL, "print the header as JSON"},
        {'c', "count", NULL, DNAS_OPT_FLAG, &v.count, 0, 0, NULL, "print the number of rows"},
        {0, "check", NULL, DNAS_OPT_FLAG, &v.check, 0, 0, NULL,
         "read it all, compare every hash, and say what it is"},
        {0, "salvage", NULL, DNAS_OPT_FLAG, &v.salvage, 0, 0, NULL,
         "write the whole blocks of a cut or damaged stream as a stream"},
        {0, "json", NULL, DNAS_OPT_FLAG, &v.json, 0, 0, NULL, "print an object a row"},
        {0, "npy", "FILE", DNAS_OPT_TEXT, &v.npy, 0, 0, NULL,
         "write the embeddings (or the clusters) to FILE for numpy"},
        {'r', "rows", "N-M", DNAS_OPT_TEXT, &v.rows, 0, 0, NULL,
         "only rows N to M, counted from 1; N alone, or N- for the rest"},
        {0, "from-npy", "FILE", DNAS_OPT_TEXT, &v.from_npy, 0, 0, NULL,
         "make EMBEDDINGS from a matrix"},
        {0, "ids", "FILE", DNAS_OPT_TEXT, &v.ids, 0, 0, NULL,
         "with --from-npy: the ids, one a line; else the numbers of the rows"},
        {0, "labels", "FILE", DNAS_OPT_TEXT, &v.labels, 0, 0, NULL,
         "with --from-npy: a TSV of id and label"},
        {0, "from-tsv", "FILE", DNAS_OPT_TEXT, &v.from_tsv, 0, 0, NULL,
         "make a stream from a TSV as dnas-view prints it"},
        {0},
    };
    const struct dnas_tool tool = {
        .name = "dnas-view",
        .summary = "look into streams and convert them",
        .operands = "[FILE]",
        .max_operands = 1,
        .writes_stream = true,
        .opts = opts,
        .example = "dnas-view clusters.dnas | cut -f 1,2 | head",
    };
    struct dnas_err err = {""};
    char **paths;
    int n_paths, status;

    dnas_start(argv);
    status = dnas_opt_parse(&tool, &v.common, argc, argv, &paths, &n_paths);
    if (status < 0)
        status = check(&v, n_paths);
    if (status < 0) {
        const char *path = n_paths > 0 ? paths[0] : NULL;

        status = v.from_tsv   ? from_tsv(&v, &tool, &err)
                 : v.from_npy ? from_npy(&v, &tool, &err)
                              : view_stream(&v, &tool, path, &err);
        status = dnas_status(status, &err);
    }
    free(v.common.command_line);
    return dnas_finish(status);
}
