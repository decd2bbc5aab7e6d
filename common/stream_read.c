/* SPDX-License-Identifier: MIT
 *
 * stream_read.c - the stream's reader.  Contract: stream.h.
 *
 * Nothing is believed before its hash agrees, and memory grows with the bytes
 * that have come, never with a size that a header claims.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>

#include "common/stream.h"
#include "common/stream_format.h"
#include "common/stream_reader.h"
#include "common/xmem.h"

static uint64_t rows_so_far(const struct dnas_reader *r)
{
    return r->rows_before + r->rows;
}

static int truncated(const struct dnas_reader *r, struct dnas_err *err)
{
    return dnas_err_set(err, "%s: is truncated after row %" PRIu64, dnas_in_name(r->in),
                        rows_so_far(r));
}

/* Exactly n bytes; a read error keeps its sentence and gains the row. */
static int read_exactly(struct dnas_reader *r, void *buf, size_t n, struct dnas_err *err)
{
    ptrdiff_t got = dnas_in_read_full(r->in, buf, n, err);

    if (got < 0 && rows_so_far(r) > 0 && err) {
        struct dnas_err why = *err;

        return dnas_err_set(err, "%s (after row %" PRIu64 ")", why.msg, rows_so_far(r));
    }
    if (got < 0)
        return -1;
    return (size_t)got == n ? 0 : truncated(r, err);
}

static void grow_payload(struct dnas_reader *r, size_t need)
{
    size_t cap = r->payload_cap ? r->payload_cap : DNAS_STREAM_BLOCK_BYTES;
    unsigned char *bigger;

    if (r->payload && r->payload_cap >= need)
        return;
    while (cap < need)
        cap *= 2;
    bigger = dnas_xalloc64(cap, 1);
    if (r->payload)
        memcpy(bigger, r->payload, r->payload_cap);
    free(r->payload);
    r->payload = bigger;
    r->payload_cap = cap;
}

static int read_payload(struct dnas_reader *r, uint64_t n, struct dnas_err *err)
{
    uint64_t done = 0;

    if (n > DNAS_STREAM_MAX_PAYLOAD)
        return dnas_err_set(err,
                            "%s: a block of %" PRIu64 " bytes after row %" PRIu64
                            " is more than the format allows",
                            dnas_in_name(r->in), n, rows_so_far(r));
    while (done < n) {
        uint64_t step = done > DNAS_STREAM_BLOCK_BYTES ? done : DNAS_STREAM_BLOCK_BYTES;

        if (step > n - done)
            step = n - done;
        grow_payload(r, done + step);
        if (read_exactly(r, r->payload + done, step, err) != 0)
            return -1;
        done += step;
    }
    return 0;
}

/* Reads magic, version, JSON and hash into h.  `first` are the bytes that the
 * caller has read already to see that something follows. */
static int read_header(struct dnas_reader *r, struct dnas_header *h, const unsigned char *first,
                       size_t n_first, struct dnas_err *err)
{
    const char *name = dnas_in_name(r->in);
    unsigned char fixed[16];
    unsigned char hash[8];
    uint32_t n;
    uint64_t whole;
    struct dnas_err why = {""};

    memcpy(fixed, first, n_first);
    if (n_first < 8 || memcmp(fixed, STREAM_MAGIC, STREAM_MAGIC_SIZE) != 0)
        return dnas_err_set(err, "%s: is not a dnas stream%s", name,
                            rows_so_far(r) ? " behind its first end" : "");
    if (read_exactly(r, fixed + n_first, sizeof(fixed) - n_first, err) != 0)
        return dnas_err_set(err, "%s: is truncated within its header", name);
    if (stream_get32(fixed + 8) == 0 || stream_get32(fixed + 8) > DNAS_STREAM_VERSION)
        return dnas_err_set(err, "%s: has stream version %" PRIu32 ", and this program reads 1",
                            name, stream_get32(fixed + 8));
    n = stream_get32(fixed + 12);
    if (n > DNAS_STREAM_MAX_HEADER)
        return dnas_err_set(err, "%s: claims a header of %" PRIu32 " bytes, more than 16 MiB", name,
                            n);
    if ((sizeof(fixed) + n + sizeof(hash)) % STREAM_ALIGN != 0)
        return dnas_err_set(err, "%s: the header is damaged", name);
    if (read_payload(r, n, err) != 0 || read_exactly(r, hash, sizeof(hash), err) != 0)
        return dnas_err_set(err, "%s: is truncated within its header", name);
    XXH3_64bits_reset(r->hashes);
    XXH3_64bits_update(r->hashes, fixed, sizeof(fixed));
    XXH3_64bits_update(r->hashes, r->payload, n);
    whole = XXH3_64bits_digest(r->hashes);
    XXH3_64bits_reset(r->hashes);
    if (whole != stream_get64(hash))
        return dnas_err_set(err, "%s: the header is damaged", name);
    if (dnas_header_parse(h, (const char *)r->payload, n, &why) != 0)
        return dnas_err_set(err, "%s: %s", name, why.msg);
    r->offset = dnas_in_offset(r->in);
    return 0;
}

struct dnas_reader *dnas_reader_on(struct dnas_in *in, struct dnas_err *err)
{
    struct dnas_reader *r = dnas_xzalloc(1, sizeof(*r));
    unsigned char first[STREAM_MAGIC_SIZE];
    ptrdiff_t got;

    r->in = in;
    dnas_header_init(&r->header, DNAS_PAIRS);
    r->hashes = dnas_xhave(XXH3_createState(), "a hash");
    got = dnas_in_read_full(in, first, sizeof(first), err);
    if (got == 0)
        dnas_err_set(err, "%s: is empty, not a dnas stream (did the command before it fail?)",
                     dnas_in_name(in));
    if (got <= 0 || read_header(r, &r->header, first, (size_t)got, err) != 0) {
        dnas_reader_close(r);
        return NULL;
    }
    r->shard = r->header.shard;
    r->cells = dnas_xzalloc((size_t)r->header.n_columns, sizeof(*r->cells));
    return r;
}

struct dnas_in *dnas_reader_input(const char *path, struct dnas_err *err)
{
    if ((!path || strcmp(path, "-") == 0) && isatty(STDIN_FILENO)) {
        dnas_err_set(err, "standard input is a terminal: name a FILE or pipe a stream in");
        return NULL;
    }
    return dnas_in_open(path, err);
}

struct dnas_reader *dnas_reader_open(const char *path, struct dnas_err *err)
{
    struct dnas_in *in = dnas_reader_input(path, err);

    return in ? dnas_reader_on(in, err) : NULL;
}

int dnas_in_is_stream(struct dnas_in *in, struct dnas_err *err)
{
    char first[STREAM_MAGIC_SIZE];
    ptrdiff_t n = dnas_in_peek(in, first, sizeof(first), err);

    if (n < 0)
        return -1;
    return n > 0 && memcmp(first, STREAM_MAGIC, (size_t)n) == 0;
}

struct dnas_reader *dnas_reader_open_any(const char *path, struct dnas_err *err)
{
    struct dnas_in *in = dnas_reader_input(path, err);
    int is_stream = in ? dnas_in_is_stream(in, err) : -1;

    if (is_stream < 0) {
        dnas_in_close(in);
        return NULL;
    }
    return is_stream ? dnas_reader_on(in, err) : dnas_reader_on_tsv(in, err);
}

static int parse_block_header(struct dnas_reader *r, struct stream_block_header *b,
                              struct dnas_err *err)
{
    unsigned char raw[STREAM_BLOCK_HEADER_SIZE];

    if (read_exactly(r, raw, sizeof(raw), err) != 0)
        return -1;
    if (XXH3_64bits(raw, 56) != stream_get64(raw + 56))
        return dnas_err_set(err, "%s: is damaged after row %" PRIu64, dnas_in_name(r->in),
                            rows_so_far(r));
    memcpy(b->type, raw, 4);
    b->type[4] = '\0';
    b->flags = stream_get32(raw + 4);
    b->first_row = stream_get64(raw + 8);
    b->rows = stream_get64(raw + 16);
    b->payload_bytes = stream_get64(raw + 24);
    b->payload_hash = stream_get64(raw + 32);
    return 0;
}

static int bad_block(const struct dnas_reader *r, const char *what, struct dnas_err *err)
{
    return dnas_err_set(err, "%s: the block after row %" PRIu64 " %s", dnas_in_name(r->in),
                        rows_so_far(r), what);
}

static bool texts_are_plain(const uint64_t *offsets, const char *values, uint64_t rows)
{
    for (uint64_t row = 0; row < rows; row++)
        if (!dnas_is_plain_text(values + offsets[row], offsets[row + 1] - offsets[row]))
            return false;
    return true;
}

/* Points cells[c] into the payload from *at on, and moves *at behind it. */
static int map_column(struct dnas_reader *r, int c, uint64_t rows, uint64_t n, uint64_t *at,
                      struct dnas_err *err)
{
    const struct dnas_column *col = &r->header.columns[c];
    uint64_t size = dnas_type_size(col->type);
    uint64_t left = n - *at;
    uint64_t bytes;

    r->cells[c].offsets = NULL;
    r->cells[c].values = r->payload + *at;
    if (!col->ragged) {
        bytes = rows * col->dim * size; /* at most 2^16 x 2^24 x 2^3 */
    } else {
        const uint64_t *offsets = (const uint64_t *)(const void *)(r->payload + *at);
        uint64_t table = (rows + 1) * sizeof(uint64_t);

        if (left < table || offsets[0] != 0 || offsets[rows] > (left - table) / size)
            return bad_block(r, "does not hold what its header says", err);
        for (uint64_t i = 0; i < rows; i++)
            if (offsets[i] > offsets[i + 1])
                return bad_block(r, "has a row of negative length", err);
        bytes = table + offsets[rows] * size;
        r->cells[c].offsets = offsets;
        r->cells[c].values = r->payload + *at + table;
        if (col->type == DNAS_UTF8 && !texts_are_plain(offsets, r->cells[c].values, rows))
            return bad_block(r, "has a text that is not UTF-8 or has control characters", err);
    }
    if (stream_pad(bytes) > left)
        return bad_block(r, "does not hold what its header says", err);
    *at += stream_pad(bytes);
    return 0;
}

static int read_rows(struct dnas_reader *r, const struct stream_block_header *b,
                     struct dnas_block *block, struct dnas_err *err)
{
    uint64_t at = 0;

    if (b->rows == 0 || b->rows > DNAS_STREAM_MAX_ROWS || b->first_row != r->rows)
        return bad_block(r, "has impossible row numbers", err);
    for (int c = 0; c < r->header.n_columns; c++)
        if (map_column(r, c, b->rows, b->payload_bytes, &at, err) != 0)
            return -1;
    if (at != b->payload_bytes)
        return bad_block(r, "is longer than its columns", err);
    block->first_row = rows_so_far(r);
    block->n_rows = (uint32_t)b->rows;
    block->n_columns = r->header.n_columns;
    block->columns = r->header.columns;
    block->cells = r->cells;
    r->rows += b->rows;
    r->blocks++;
    r->total_blocks++;
    return 0;
}

static int check_end(struct dnas_reader *r, const struct stream_block_header *b,
                     struct dnas_err *err)
{
    if (b->first_row != r->rows || b->rows != r->blocks || b->payload_bytes != 0 ||
        b->payload_hash != XXH3_64bits_digest(r->hashes))
        return dnas_err_set(err, "%s: the end after row %" PRIu64 " does not fit what came before",
                            dnas_in_name(r->in), rows_so_far(r));
    return 0;
}

static int check_same_columns(const struct dnas_reader *r, const struct dnas_header *h,
                              struct dnas_err *err)
{
    const struct dnas_header *a = &r->header;
    bool same = a->kind == h->kind && a->n_columns == h->n_columns;

    for (int i = 0; same && i < a->n_columns; i++)
        same = strcmp(a->columns[i].name, h->columns[i].name) == 0 &&
               a->columns[i].type == h->columns[i].type &&
               a->columns[i].ragged == h->columns[i].ragged &&
               a->columns[i].is_vector == h->columns[i].is_vector &&
               a->columns[i].dim == h->columns[i].dim;
    if (!same)
        return dnas_err_set(
            err, "%s: the streams before and after row %" PRIu64 " differ in kind or columns",
            dnas_in_name(r->in), rows_so_far(r));
    if (!dnas_header_same_object(a->embedding, h->embedding) ||
        !dnas_header_same_object(a->tokens, h->tokens))
        return dnas_err_set(err,
                            "%s: the streams before and after row %" PRIu64
                            " were made by different models or settings (see dnas-view -H)",
                            dnas_in_name(r->in), rows_so_far(r));
    return 0;
}

/* Shards in a concatenation: all n, in order, nothing else between. */
static int check_shard(struct dnas_reader *r, const struct dnas_header *h, struct dnas_err *err)
{
    uint32_t want = r->shard + 1;

    if (r->header.n_shards == 0 && h->n_shards == 0)
        return 0;
    if (r->header.shard != 1 && r->header.n_shards != 0)
        return dnas_err_set(err, "%s: begins with shard %" PRIu32 " of %" PRIu32 ", not with 1",
                            dnas_in_name(r->in), r->header.shard, r->header.n_shards);
    if (h->n_shards != r->header.n_shards || h->shard != want)
        return dnas_err_set(err,
                            "%s: after row %" PRIu64 " comes shard %" PRIu32 " of %" PRIu32
                            " where %" PRIu32 " of %" PRIu32 " belongs",
                            dnas_in_name(r->in), rows_so_far(r), h->shard, h->n_shards, want,
                            r->header.n_shards);
    r->shard = h->shard;
    return 0;
}

/* After an end: nothing (0), or the header of another stream (1). */
static int next_stream(struct dnas_reader *r, struct dnas_err *err)
{
    unsigned char first[STREAM_MAGIC_SIZE];
    struct dnas_header h;
    ptrdiff_t got = dnas_in_read_full(r->in, first, sizeof(first), err);
    int status;

    if (got < 0)
        return -1;
    if (got == 0 && r->streams_before > 0 && r->shard != r->header.n_shards)
        return dnas_err_set(err, "%s: ends with shard %" PRIu32 " of %" PRIu32, dnas_in_name(r->in),
                            r->shard, r->header.n_shards);
    if (got == 0)
        return 0;
    r->streams_before++;
    r->rows_before += r->rows;
    r->rows = r->blocks = 0;
    if (read_header(r, &h, first, (size_t)got, err) != 0)
        return -1;
    status = check_same_columns(r, &h, err) == 0 && check_shard(r, &h, err) == 0 ? 1 : -1;
    dnas_header_release(&h);
    return status;
}

static int next_block(struct dnas_reader *r, struct dnas_block *block, struct dnas_err *err)
{
    struct stream_block_header b;
    unsigned char hash[8];

    if (parse_block_header(r, &b, err) != 0)
        return -1;
    if (strcmp(b.type, "END ") == 0) {
        if (check_end(r, &b, err) != 0)
            return -1;
        switch (next_stream(r, err)) {
        case 1:
            return 2;
        case 0:
            r->over = true;
            return 0;
        }
        return -1;
    }
    if (read_payload(r, b.payload_bytes, err) != 0)
        return -1;
    if (XXH3_64bits(r->payload, b.payload_bytes) != b.payload_hash)
        return bad_block(r, "is damaged", err);
    if (strcmp(b.type, "ROWS") != 0)
        return b.flags & STREAM_CRITICAL
                   ? bad_block(r, "is of a type that this program does not know", err)
                   : 2;
    if (read_rows(r, &b, block, err) != 0)
        return -1;
    r->block_hash = b.payload_hash;
    r->payload_bytes = b.payload_bytes;
    stream_put64(hash, b.payload_hash);
    XXH3_64bits_update(r->hashes, hash, sizeof(hash));
    if (dnas_in_settle(r->in, err) != 0)
        return -1;
    r->offset = dnas_in_offset(r->in);
    return 1;
}

int dnas_reader_next(struct dnas_reader *r, struct dnas_block *block, struct dnas_err *err)
{
    int status = 2;

    if (r->tsv)
        return dnas_tsv_next(r, block, err);
    while (status == 2 && !r->over)
        status = next_block(r, block, err);
    return status == 2 ? 0 : status;
}

const struct dnas_header *dnas_reader_header(const struct dnas_reader *r)
{
    return &r->header;
}

const char *dnas_reader_name(const struct dnas_reader *r)
{
    return dnas_in_name(r->in);
}

uint64_t dnas_reader_rows(const struct dnas_reader *r)
{
    return rows_so_far(r);
}

uint64_t dnas_reader_blocks(const struct dnas_reader *r)
{
    return r->total_blocks;
}

uint64_t dnas_reader_streams(const struct dnas_reader *r)
{
    return r->streams_before + 1;
}

uint64_t dnas_reader_offset(const struct dnas_reader *r)
{
    return r->offset;
}

uint64_t dnas_reader_payload_offset(const struct dnas_reader *r)
{
    return r->offset - r->payload_bytes;
}

uint64_t dnas_reader_block_hash(const struct dnas_reader *r)
{
    return r->block_hash;
}

uint64_t dnas_reader_file_size(const struct dnas_reader *r)
{
    return dnas_in_file_size(r->in);
}

void dnas_reader_close(struct dnas_reader *r)
{
    if (!r)
        return;
    dnas_in_close(r->in);
    dnas_header_release(&r->header);
    XXH3_freeState(r->hashes);
    free(r->payload);
    free(r->cells);
    dnas_tsv_free(r->tsv);
    free(r);
}

/* The columns that make a kind what it is. */
static const struct {
    const char *name;
    enum dnas_type type;
    enum { SCALAR, VECTOR, LIST } shape;
} kind_columns[DNAS_N_KINDS][3] = {
    [DNAS_PAIRS] = {{"split", DNAS_U8, SCALAR}},
    [DNAS_TOKENS] = {{"tokens", DNAS_U16, LIST},
                     {"part", DNAS_U32, SCALAR},
                     {"parts", DNAS_U32, SCALAR}},
    [DNAS_EMBEDDINGS] = {{"embedding", DNAS_F32, VECTOR}},
    [DNAS_LABELS] = {{"cluster", DNAS_I32, SCALAR}},
};

int dnas_reader_expect(const struct dnas_reader *r, enum dnas_kind kind, struct dnas_err *err)
{
    const struct dnas_header *h = &r->header;

    if (h->kind != kind)
        return dnas_err_set(err, "%s: holds %s where %s are needed", dnas_in_name(r->in),
                            dnas_kind_name(h->kind), dnas_kind_name(kind));
    for (int i = 0; i < 3 && kind_columns[kind][i].name; i++) {
        int c = dnas_header_find(h, kind_columns[kind][i].name);
        const struct dnas_column *col = c >= 0 ? &h->columns[c] : NULL;
        bool type_fits = col && (col->type == kind_columns[kind][i].type ||
                                 (kind == DNAS_EMBEDDINGS && col->type == DNAS_BF16));

        if (!type_fits || col->ragged != (kind_columns[kind][i].shape == LIST) ||
            col->is_vector != (kind_columns[kind][i].shape == VECTOR))
            return dnas_err_set(err, "%s: has no column '%s' as %s have it", dnas_in_name(r->in),
                                kind_columns[kind][i].name, dnas_kind_name(kind));
    }
    return 0;
}
