/* SPDX-License-Identifier: MIT
 *
 * stream_write.c - the stream's writer, and its continuation after a break.
 *
 * Contract: stream.h.
 */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>
#include <zstd.h>

#include "common/stream.h"
#include "common/stream_format.h"
#include "common/text.h"
#include "common/xmem.h"

struct dnas_writer {
    struct dnas_out *out;
    struct dnas_header header;
    struct dnas_writer_options options;
    struct dnas_table block; /* being built */
    uint64_t rows;           /* in the blocks before it */
    uint64_t blocks;
    XXH3_state_t *hashes;
    ZSTD_CCtx *zstd;
    unsigned char *packed;
    size_t packed_cap;
    struct dnas_text assembled; /* a block as it goes out, or lines of text */
    struct dnas_err bad_cell;   /* what was wrong with a cell of this row */
};

/* Writes n bytes as they are, or as one zstd frame. */
static int put(struct dnas_writer *w, const void *buf, size_t n, struct dnas_err *err)
{
    size_t packed;

    if (!w->zstd)
        return dnas_out_write(w->out, buf, n, err);
    w->packed = dnas_xgrow(w->packed, &w->packed_cap, ZSTD_compressBound(n), 1);
    packed = ZSTD_compress2(w->zstd, w->packed, w->packed_cap, buf, n);
    if (ZSTD_isError(packed))
        return dnas_err_set(err, "%s: zstd failed: %s", dnas_out_name(w->out),
                            ZSTD_getErrorName(packed));
    return dnas_out_write(w->out, w->packed, packed, err);
}

static void put_zeros(struct dnas_text *t, size_t n)
{
    static const char zeros[STREAM_ALIGN];

    dnas_text_append(t, zeros, n);
}

static int write_header(struct dnas_writer *w, struct dnas_err *err)
{
    struct dnas_text *t = &w->assembled;
    char *json = dnas_header_json(&w->header, JSON_COMPACT);
    size_t n = strlen(json);
    size_t whole = stream_pad(16 + n + 8);
    unsigned char fixed[16], hash[8];

    if (whole > DNAS_STREAM_MAX_HEADER) {
        free(json);
        return dnas_err_set(err, "%s: a header of %zu bytes is more than the format allows",
                            dnas_out_name(w->out), n);
    }
    memcpy(fixed, STREAM_MAGIC, 8);
    stream_put32(fixed + 8, DNAS_STREAM_VERSION);
    stream_put32(fixed + 12, (uint32_t)(whole - 24));
    t->n = 0;
    dnas_text_append(t, (char *)fixed, sizeof(fixed));
    dnas_text_append(t, json, n);
    free(json);
    while (t->n < whole - 8)
        dnas_text_append(t, " ", 1);
    stream_put64(hash, XXH3_64bits(t->data, t->n));
    dnas_text_append(t, (char *)hash, sizeof(hash));
    return put(w, t->data, t->n, err);
}

static void put_block_header(unsigned char *raw, const struct stream_block_header *b)
{
    memset(raw, 0, STREAM_BLOCK_HEADER_SIZE);
    memcpy(raw, b->type, 4);
    stream_put32(raw + 4, b->flags);
    stream_put64(raw + 8, b->first_row);
    stream_put64(raw + 16, b->rows);
    stream_put64(raw + 24, b->payload_bytes);
    stream_put64(raw + 32, b->payload_hash);
    stream_put64(raw + 56, XXH3_64bits(raw, 56));
}

static void assemble_payload(struct dnas_writer *w, struct dnas_text *t)
{
    for (int c = 0; c < w->header.n_columns; c++) {
        const struct dnas_table_column *d = &w->block.data[c];

        if (w->header.columns[c].ragged)
            dnas_text_append(t, (char *)d->offsets, (w->block.n_rows + 1) * sizeof(uint64_t));
        dnas_text_append(t, d->values, d->n_bytes);
        put_zeros(t, stream_pad(t->n) - t->n);
    }
}

static int flush_stream(struct dnas_writer *w, struct dnas_err *err)
{
    struct dnas_text *t = &w->assembled;
    struct stream_block_header b = {.type = "ROWS", .flags = STREAM_CRITICAL};
    unsigned char raw[STREAM_BLOCK_HEADER_SIZE] = {0}, hash[8];

    t->n = 0;
    dnas_text_append(t, (char *)raw, sizeof(raw));
    assemble_payload(w, t);
    b.first_row = w->rows;
    b.rows = w->block.n_rows;
    b.payload_bytes = t->n - sizeof(raw);
    b.payload_hash = XXH3_64bits(t->data + sizeof(raw), b.payload_bytes);
    put_block_header((unsigned char *)t->data, &b);
    stream_put64(hash, b.payload_hash);
    XXH3_64bits_update(w->hashes, hash, sizeof(hash));
    return put(w, t->data, t->n, err);
}

static int flush_text(struct dnas_writer *w, struct dnas_err *err)
{
    struct dnas_block b = dnas_table_block(&w->block);
    struct dnas_text *t = &w->assembled;

    t->n = 0;
    for (uint32_t row = 0; row < b.n_rows; row++)
        if (w->options.format == DNAS_FORMAT_TSV)
            dnas_text_tsv_row(t, &b, row);
        else
            dnas_text_json_row(t, &b, row);
    return dnas_out_write(w->out, t->data, t->n, err);
}

static int flush(struct dnas_writer *w, struct dnas_err *err)
{
    int status;

    if (w->block.n_rows == 0)
        return 0;
    status = w->options.format == DNAS_FORMAT_STREAM ? flush_stream(w, err) : flush_text(w, err);
    if (status == 0 && w->options.keep_part)
        dnas_out_keep_part(w->out);
    w->rows += w->block.n_rows;
    w->blocks++;
    dnas_table_clear(&w->block);
    return status;
}

static struct dnas_writer *writer_alloc(struct dnas_out *out, const struct dnas_header *header,
                                        const struct dnas_writer_options *options)
{
    struct dnas_writer *w = dnas_xzalloc(1, sizeof(*w));

    w->out = out;
    w->options = *options;
    dnas_header_copy(&w->header, header);
    dnas_table_init(&w->block, w->header.columns, w->header.n_columns);
    w->hashes = dnas_xhave(XXH3_createState(), "a hash");
    XXH3_64bits_reset(w->hashes);
    if (options->zstd_level > 0 && options->format == DNAS_FORMAT_STREAM) {
        w->zstd = dnas_xhave(ZSTD_createCCtx(), "a zstd context");
        ZSTD_CCtx_setParameter(w->zstd, ZSTD_c_compressionLevel, options->zstd_level);
        ZSTD_CCtx_setParameter(w->zstd, ZSTD_c_checksumFlag, 1);
    }
    return w;
}

static int start(struct dnas_writer *w, struct dnas_err *err)
{
    if (w->options.format == DNAS_FORMAT_STREAM) {
        if (dnas_out_is_terminal(w->out))
            return dnas_err_set(err,
                                "%s is a terminal: redirect it, use -o FILE, or pipe it into "
                                "dnas-view",
                                dnas_out_name(w->out));
        return write_header(w, err);
    }
    w->assembled.n = 0;
    if (w->options.format == DNAS_FORMAT_TSV) {
        dnas_text_tsv_header(&w->assembled, &w->header);
        return dnas_out_write(w->out, w->assembled.data, w->assembled.n, err);
    }
    return 0;
}

struct dnas_writer *dnas_writer_new(struct dnas_out *out, const struct dnas_header *header,
                                    const struct dnas_writer_options *options, struct dnas_err *err)
{
    struct dnas_writer *w = writer_alloc(out, header, options);

    if (start(w, err) == 0)
        return w;
    dnas_writer_abandon(w, false);
    return NULL;
}

/* A block closes behind the row that fills it. */
static bool is_full(size_t n_rows, size_t bytes)
{
    return n_rows >= DNAS_STREAM_BLOCK_ROWS || bytes >= DNAS_STREAM_BLOCK_BYTES;
}

static size_t block_bytes(const struct dnas_block *b)
{
    size_t bytes = 0;

    for (int c = 0; c < b->n_columns; c++) {
        size_t n = b->cells[c].offsets ? b->cells[c].offsets[b->n_rows]
                                       : (size_t)b->n_rows * b->columns[c].dim;

        bytes += n * dnas_type_size(b->columns[c].type) +
                 (b->cells[c].offsets ? ((size_t)b->n_rows + 1) * sizeof(uint64_t) : 0);
    }
    return bytes;
}

struct resumption {
    int (*each)(void *ctx, const char *id, size_t n, struct dnas_err *err);
    void *ctx;
};

/* Takes the full blocks of the part into the writer's state; *keep is where
 * they end.  A block that is not full closed because that run's input ended.
 * What is wrong with the rest of the part does not matter. */
static int take_blocks(struct dnas_writer *w, struct dnas_reader *r,
                       const struct resumption *resume, uint64_t *keep, struct dnas_err *err)
{
    struct dnas_block b;
    int id = dnas_header_find(&w->header, "id");

    while (dnas_reader_next(r, &b, NULL) == 1 && is_full(b.n_rows, block_bytes(&b))) {
        unsigned char hash[8];

        for (uint32_t row = 0; row < b.n_rows; row++) {
            size_t n;
            const char *s = dnas_block_ragged(&b, id, row, &n);

            if (resume->each(resume->ctx, s, n, err) != 0)
                return -1;
        }
        stream_put64(hash, dnas_reader_block_hash(r));
        XXH3_64bits_update(w->hashes, hash, sizeof(hash));
        w->rows += b.n_rows;
        w->blocks++;
        *keep = dnas_reader_offset(r);
    }
    return 0;
}

static int take_part(struct dnas_writer *w, const struct resumption *resume, uint64_t *keep,
                     struct dnas_err *err)
{
    struct dnas_reader *r = dnas_reader_open(dnas_out_name(w->out), NULL);
    char *had, *wanted;
    int status = 0;

    *keep = 0;
    if (!r) /* nothing of use: begin anew */
        return 0;
    had = dnas_header_json(dnas_reader_header(r), JSON_COMPACT);
    wanted = dnas_header_json(&w->header, JSON_COMPACT);
    if (strcmp(had, wanted) != 0) {
        status = dnas_err_set(err,
                              "%s: was begun by another command, version or model: repeat that "
                              "one, or remove the file",
                              dnas_out_name(w->out));
    } else {
        *keep = dnas_reader_offset(r);
        status = take_blocks(w, r, resume, keep, err);
    }
    free(had);
    free(wanted);
    dnas_reader_close(r);
    return status;
}

struct dnas_writer *dnas_writer_resume(struct dnas_out *out, const struct dnas_header *header,
                                       const struct dnas_writer_options *options,
                                       int (*each)(void *ctx, const char *id, size_t n,
                                                   struct dnas_err *err),
                                       void *ctx, struct dnas_err *err)
{
    struct dnas_writer *w = writer_alloc(out, header, options);
    const struct resumption resume = {each, ctx};
    uint64_t keep;

    if (options->format != DNAS_FORMAT_STREAM)
        DNAS_BUG("text cannot be resumed");
    if (take_part(w, &resume, &keep, err) == 0 && dnas_out_truncate(out, keep, err) == 0 &&
        (keep > 0 || start(w, err) == 0)) {
        if (w->blocks > 0 && options->keep_part)
            dnas_out_keep_part(out);
        return w;
    }
    dnas_writer_abandon(w, true);
    return NULL;
}

static bool all_finite(enum dnas_type type, const void *values, size_t n)
{
    const float *f = values;
    const uint16_t *b = values;

    for (size_t i = 0; i < n; i++)
        if (type == DNAS_F32 ? !isfinite(f[i]) : (b[i] & 0x7f80) == 0x7f80)
            return false;
    return true;
}

static void check_cell(struct dnas_writer *w, const struct dnas_column *col, const void *values,
                       size_t n)
{
    if (col->type == DNAS_UTF8) {
        if (!dnas_is_plain_text(values, n))
            dnas_err_set(&w->bad_cell, "column '%s' is not UTF-8 or has control characters",
                         col->name);
    } else if (w->header.kind == DNAS_EMBEDDINGS &&
               (col->type == DNAS_F32 || col->type == DNAS_BF16) &&
               !all_finite(col->type, values, n)) {
        dnas_err_set(&w->bad_cell, "column '%s' has a value that is not finite", col->name);
    }
}

/* Padding and offsets of all columns are far below the part that is set aside. */
static bool has_room(const struct dnas_writer *w, const struct dnas_column *col, size_t n)
{
    uint64_t most = DNAS_STREAM_MAX_PAYLOAD - DNAS_STREAM_BLOCK_BYTES;
    uint64_t has = dnas_table_bytes(&w->block);

    return n == 0 || (has < most && n <= (most - has) / dnas_type_size(col->type));
}

void dnas_writer_cell(struct dnas_writer *w, int column, const void *values, size_t n)
{
    const struct dnas_column *col = &w->header.columns[column];

    if (col->ragged && !has_room(w, col, n)) {
        dnas_err_set(&w->bad_cell,
                     "column '%s' has %zu elements, more than the 2 GiB of a block hold: cut "
                     "sequences into windows",
                     col->name, n);
        n = 0;
    }
    check_cell(w, col, values, n);
    dnas_table_cell(&w->block, column, values, n);
}

void dnas_writer_text(struct dnas_writer *w, int column, const char *text)
{
    dnas_writer_cell(w, column, text, strlen(text));
}

int dnas_writer_end_row(struct dnas_writer *w, struct dnas_err *err)
{
    dnas_table_end_row(&w->block);
    if (w->bad_cell.msg[0])
        return dnas_err_set(err, "%s: row %" PRIu64 ": %s", dnas_out_name(w->out),
                            dnas_writer_rows(w), w->bad_cell.msg);
    return is_full(w->block.n_rows, dnas_table_bytes(&w->block)) ? flush(w, err) : 0;
}

void dnas_writer_copy_cell(struct dnas_writer *w, int column, const struct dnas_block *block,
                           int from, uint32_t row)
{
    size_t n;
    const void *values = dnas_block_cell(block, from, row, &n);

    dnas_writer_cell(w, column, values, n);
}

int dnas_writer_copy_row(struct dnas_writer *w, const struct dnas_block *block, uint32_t row,
                         struct dnas_err *err)
{
    for (int c = 0; c < w->header.n_columns; c++)
        dnas_writer_copy_cell(w, c, block, c, row);
    return dnas_writer_end_row(w, err);
}

uint64_t dnas_writer_rows(const struct dnas_writer *w)
{
    return w->rows + w->block.n_rows;
}

uint64_t dnas_writer_blocks(const struct dnas_writer *w)
{
    return w->blocks;
}

static void writer_free(struct dnas_writer *w)
{
    dnas_table_release(&w->block);
    dnas_header_release(&w->header);
    XXH3_freeState(w->hashes);
    ZSTD_freeCCtx(w->zstd);
    free(w->packed);
    free(w->assembled.data);
    free(w);
}

static int write_end(struct dnas_writer *w, struct dnas_err *err)
{
    struct stream_block_header b = {.type = "END ", .flags = STREAM_CRITICAL};
    unsigned char raw[STREAM_BLOCK_HEADER_SIZE];

    if (w->options.format != DNAS_FORMAT_STREAM)
        return 0;
    b.first_row = w->rows;
    b.rows = w->blocks;
    b.payload_hash = XXH3_64bits_digest(w->hashes);
    put_block_header(raw, &b);
    return put(w, raw, sizeof(raw), err);
}

int dnas_writer_finish(struct dnas_writer *w, struct dnas_err *err)
{
    int status = -1;

    if (flush(w, err) == 0 && write_end(w, err) == 0)
        status = dnas_out_commit(w->out, err);
    else
        dnas_out_abandon(w->out, false);
    writer_free(w);
    return status;
}

void dnas_writer_abandon(struct dnas_writer *w, bool keep_part)
{
    if (!w)
        return;
    dnas_out_abandon(w->out, keep_part);
    writer_free(w);
}
