/* SPDX-License-Identifier: MIT
 *
 * fuzz_stream.c - the binary stream: its reader, what prints its rows, and what
 * tools make of its kinds.
 */
#include <string.h>
#include <xxhash.h>

#include "common/embeddings.h"
#include "common/idmap.h"
#include "common/stream.h"
#include "common/stream_format.h"
#include "common/text.h"
#include "common/tokens.h"
#include "common/xmem.h"
#include "tests/fuzz/fuzz.h"
#include "tests/unit/files.h"

/* Every cell as text, so that all of it is read. */
static int read_all(enum dnas_kind *kind, const char *path, struct dnas_err *err)
{
    struct dnas_reader *r = dnas_reader_open(path, err);
    struct dnas_text text = {0};
    struct dnas_block b;
    int status = -1;

    while (r && (status = dnas_reader_next(r, &b, err)) == 1)
        for (uint32_t row = 0; row < b.n_rows; row++) {
            text.n = 0;
            dnas_text_tsv_row(&text, &b, row);
            dnas_text_json_row(&text, &b, row);
        }
    if (r) {
        char *json = dnas_header_json(dnas_reader_header(r), JSON_COMPACT);

        *kind = dnas_reader_header(r)->kind;
        free(json);
    }
    free(text.data);
    dnas_reader_close(r);
    return status;
}

static void read_tokens(const char *path)
{
    const struct dnas_tokens_options half = {.path = path, .shard = 2, .n_shards = 2};
    struct dnas_err err = {""};
    struct dnas_reader *r = dnas_reader_open(path, &err);
    struct dnas_tokens *t = r ? dnas_tokens_new(r, &half, &err) : NULL;
    struct dnas_window w;
    uint64_t sum = 0;
    int status = -1;

    while (t && (status = dnas_tokens_next(t, &w, &err)) == 1)
        for (size_t i = 0; i < w.n; i++)
            sum += w.ids[i];
    if (status != 0)
        fuzz_refused(&err);
    if (t && sum == UINT64_MAX)
        DNAS_BUG("more tokens than memory");
    dnas_tokens_free(t);
    dnas_reader_close(r);
}

static void load_embeddings(const char *path)
{
    struct dnas_err err = {""};
    struct dnas_embeddings e;

    if (dnas_embeddings_load(&e, path, &err) == 0) {
        int32_t *classes = dnas_xalloc(e.N, sizeof(*classes));
        struct dnas_idmap names = {0};

        if (e.label >= 0)
            dnas_embeddings_classes(&e, classes, &names);
        dnas_idmap_release(&names);
        free(classes);
    } else {
        fuzz_refused(&err);
    }
    dnas_embeddings_release(&e);
}

int fuzz_try(const uint8_t *data, size_t n)
{
    const char *path = fuzz_file(data, n);
    enum dnas_kind kind = DNAS_LABELS;
    struct dnas_err err = {""};

    if (read_all(&kind, path, &err) != 0)
        return fuzz_refused(&err);
    if (kind == DNAS_TOKENS)
        read_tokens(path);
    if (kind == DNAS_EMBEDDINGS)
        load_embeddings(path);
    return 1;
}

/* ---- samples ---- */

static void set_row(struct dnas_writer *w, const struct dnas_header *h, int row, int n_rows)
{
    static const unsigned char bytes[64] = {1, 0, 0, 0, 2, 0, 0, 0};
    static const float real[4] = {1, -0.5f, 0, 3};
    struct dnas_err err = {""};

    for (int c = 0; c < h->n_columns; c++) {
        const struct dnas_column *col = &h->columns[c];
        const uint32_t part = (uint32_t)row % 2, parts = 2;
        char text[16];

        snprintf(text, sizeof(text), "%s%d", c ? "l" : "seq", n_rows > 1 ? row / 2 : row);
        if (strcmp(col->name, "part") == 0)
            dnas_writer_cell(w, c, &part, 1);
        else if (strcmp(col->name, "parts") == 0)
            dnas_writer_cell(w, c, &parts, 1);
        else if (col->type == DNAS_UTF8)
            dnas_writer_text(w, c, text);
        else if (col->type == DNAS_F32)
            dnas_writer_cell(w, c, real, col->ragged ? (size_t)row % 4 : col->dim);
        else
            dnas_writer_cell(w, c, bytes, col->ragged ? (size_t)row % 4 : col->dim);
    }
    if (dnas_writer_end_row(w, &err) != 0)
        DNAS_BUG("%s", err.msg);
}

struct sample {
    enum dnas_kind kind;
    const char *columns; /* "name:type:dim ...", dim r: ragged */
    int n_rows, zstd_level;
    uint32_t shard, n_shards;
    const char *object;
};

static const struct sample samples[] = {
    {DNAS_TOKENS, "tokens:u16:r part:u32:0 parts:u32:0 length_bp:u32:0 label:utf8:0", 6, 0, 0, 0,
     "{\"tokenizer\": \"0123456789abcdef0123456789abcdef\", \"window_bp\": 10}"},
    {DNAS_EMBEDDINGS, "embedding:f32:3 length_bp:u32:0 label:utf8:0", 4, 0, 0, 0,
     "{\"model\": \"tnf\", \"device\": \"cpu\"}"},
    {DNAS_EMBEDDINGS, "embedding:bf16:2 more:i64:r x:u8:3", 4, 1, 0, 0, NULL},
    {DNAS_PAIRS, "seq_a:utf8:0 seq_b:utf8:0 split:u8:0 label:utf8:0", 2, 0, 0, 0, NULL},
    {DNAS_LABELS, "cluster:i32:0 score:f32:0", 3, 0, 1, 2, NULL},
    {DNAS_LABELS, "cluster:i32:0 score:f32:0", 3, 0, 2, 2, NULL},
    {DNAS_LABELS, "cluster:i32:0", 0, 0, 0, 0, NULL},
};
#define N_SAMPLES (sizeof(samples) / sizeof(samples[0]))

static uint8_t *make(const struct sample *s, size_t *n)
{
    const char *path = file_path("sample.dnas");
    char *names = dnas_xstrdup(s->columns), *next = NULL;
    struct dnas_err err = {""};
    struct dnas_writer_options options = {.zstd_level = s->zstd_level};
    struct dnas_header h;
    struct dnas_writer *w;
    char *data;

    dnas_header_init(&h, s->kind);
    h.shard = s->shard;
    h.n_shards = s->n_shards;
    dnas_header_add_column(&h, "id", DNAS_UTF8, true, 0);
    for (char *at = strtok_r(names, " ", &next); at; at = strtok_r(NULL, " ", &next)) {
        char *type = strchr(at, ':'), *dim;

        *type++ = '\0';
        dim = strchr(type, ':');
        *dim++ = '\0';
        dnas_header_add_column(&h, at, (enum dnas_type)dnas_type_from_name(type), *dim == 'r',
                               (uint32_t)strtoul(dim, NULL, 10));
    }
    if (s->object)
        *(s->kind == DNAS_TOKENS ? &h.tokens : &h.embedding) = json_loads(s->object, 0, NULL);
    w = dnas_writer_new(dnas_out_open(path, false, &err), &h, &options, &err);
    for (int row = 0; w && row < s->n_rows; row++)
        set_row(w, &h, row, s->kind == DNAS_TOKENS ? 2 : 1);
    if (!w || dnas_writer_finish(w, &err) != 0)
        DNAS_BUG("%s", err.msg);
    dnas_header_release(&h);
    free(names);
    data = file_read("sample.dnas", n);
    unlink(path);
    return (uint8_t *)data;
}

uint8_t *fuzz_seed(size_t i, size_t *n)
{
    uint8_t *a, *b;
    size_t n_a, n_b;

    if (i < N_SAMPLES)
        return make(&samples[i], n);
    if (i > N_SAMPLES)
        return NULL;
    a = make(&samples[4], &n_a); /* a concatenation of shards */
    b = make(&samples[5], &n_b);
    a = dnas_xrealloc(a, n_a + n_b, 1);
    memcpy(a + n_a, b, n_b);
    free(b);
    *n = n_a + n_b;
    return a;
}

/* ---- mending ---- */

/* Where the JSON object at `at` ends. */
static size_t end_of_object(const uint8_t *data, size_t at, size_t n)
{
    int depth = 0;

    for (bool quoted = false; at < n; at++) {
        if (quoted && data[at] == '\\')
            at++;
        else if (data[at] == '"')
            quoted = !quoted;
        else if (!quoted && data[at] == '{')
            depth++;
        else if (!quoted && data[at] == '}' && --depth == 0)
            return at + 1;
    }
    return n;
}

/* The first block header from `at` on. */
static size_t find_block(const uint8_t *data, size_t at, size_t n)
{
    for (; at + STREAM_BLOCK_HEADER_SIZE <= n; at++)
        if (memcmp(data + at, "ROWS", 4) == 0 || memcmp(data + at, "END ", 4) == 0)
            return at;
    return n;
}

/* Pads the header that begins at `from` anew; returns the new size, and where
 * the first block now is in *block. */
static size_t mend_header(uint8_t *data, size_t from, size_t n, size_t max, size_t *block)
{
    size_t end = end_of_object(data, from + 16, n);
    size_t was = find_block(data, end, n);
    size_t is = from + (size_t)stream_pad(end - from + 8);

    *block = n;
    if (end >= n || was >= n || is + (n - was) > max)
        return n;
    memmove(data + is, data + was, n - was);
    memset(data + end, ' ', is - 8 - end);
    stream_put32(data + from + 8, DNAS_STREAM_VERSION);
    stream_put32(data + from + 12, (uint32_t)(is - from - 24));
    stream_put64(data + is - 8, XXH3_64bits(data + from, is - 8 - from));
    *block = is;
    return is + (n - was);
}

/* Hashes of the blocks from `at` on to the end; returns where that is. */
static size_t mend_blocks(uint8_t *data, size_t at, size_t n)
{
    uint8_t hashes[8 * 64];
    size_t n_hashes = 0;

    while (at + STREAM_BLOCK_HEADER_SIZE <= n) {
        uint8_t *b = data + at;
        bool is_end = memcmp(b, "END ", 4) == 0;
        uint64_t payload = is_end ? 0 : stream_get64(b + 24);
        size_t left = n - at - STREAM_BLOCK_HEADER_SIZE;

        if (is_end)
            stream_put64(b + 32, XXH3_64bits(hashes, 8 * n_hashes));
        else if (payload <= left)
            stream_put64(b + 32, XXH3_64bits(b + STREAM_BLOCK_HEADER_SIZE, (size_t)payload));
        stream_put64(b + 56, XXH3_64bits(b, 56));
        if (memcmp(b, "ROWS", 4) == 0 && n_hashes < 64)
            memcpy(hashes + 8 * n_hashes++, b + 32, 8);
        if (payload > left)
            return n;
        at += STREAM_BLOCK_HEADER_SIZE + (size_t)payload;
        if (is_end)
            break;
    }
    return at;
}

size_t fuzz_mend(uint8_t *data, size_t n, size_t max)
{
    size_t at = 0;

    while (at + 24 <= n && memcmp(data + at, STREAM_MAGIC, 4) == 0) {
        size_t block;

        n = mend_header(data, at, n, max, &block);
        at = mend_blocks(data, block, n);
    }
    return n;
}
