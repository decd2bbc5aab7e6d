/* SPDX-License-Identifier: MIT
 *
 * test_stream_lies.c - streams whose hashes are right and whose numbers are not: each is refused,
 * with the sentence that says why.
 */
#include <stdint.h>
#include <string.h>
#include <xxhash.h>
#include <zstd.h>

#include "common/embeddings.h"
#include "common/stream.h"
#include "common/stream_format.h"
#include "common/xmem.h"
#include "tests/unit/check.h"
#include "tests/unit/files.h"

#define HEADER                                                                                     \
    "{\"kind\":\"EMBEDDINGS\",\"columns\":[{\"name\":\"id\",\"type\":\"utf8\",\"shape\":[]},"      \
    "{\"name\":\"embedding\",\"type\":\"f32\",\"shape\":[2]}]}"

/* A stream as it is put together: two rows, "a" and "b", are a block of PAYLOAD bytes. */
struct made {
    unsigned char data[16384];
    size_t n;
};
#define IDS 64      /* offsets[3], "ab" and padding */
#define PAYLOAD 128 /* these, two vectors and padding */

static void put_header(struct made *m, const char *json, uint32_t version)
{
    unsigned char *at = m->data + m->n;
    size_t whole = (size_t)stream_pad(16 + strlen(json) + 8);

    memset(at, ' ', whole);
    memcpy(at, STREAM_MAGIC, 8);
    stream_put32(at + 8, version);
    stream_put32(at + 12, (uint32_t)(whole - 24));
    memcpy(at + 16, json, strlen(json));
    stream_put64(at + whole - 8, XXH3_64bits(at, whole - 8));
    m->n += whole;
}

/* payload_bytes is what the block header says; n bytes follow. */
static void put_block(struct made *m, const char *type, uint32_t flags, uint64_t first_row,
                      uint64_t rows, uint64_t payload_bytes, const void *payload, size_t n)
{
    unsigned char *at = m->data + m->n;

    memset(at, 0, STREAM_BLOCK_HEADER_SIZE);
    memcpy(at, type, 4);
    stream_put32(at + 4, flags);
    stream_put64(at + 8, first_row);
    stream_put64(at + 16, rows);
    stream_put64(at + 24, payload_bytes);
    stream_put64(at + 32, XXH3_64bits(payload, n));
    stream_put64(at + 56, XXH3_64bits(at, 56));
    memcpy(at + STREAM_BLOCK_HEADER_SIZE, payload, n);
    m->n += STREAM_BLOCK_HEADER_SIZE + n;
}

static void make_payload(unsigned char payload[PAYLOAD], uint64_t o0, uint64_t o1, uint64_t o2)
{
    const float v[4] = {1, 2, 3, 4};

    memset(payload, 0, PAYLOAD);
    stream_put64(payload, o0);
    stream_put64(payload + 8, o1);
    stream_put64(payload + 16, o2);
    memcpy(payload + 24, "ab", 2);
    memcpy(payload + IDS, v, sizeof(v));
}

static void put_rows(struct made *m, uint64_t first_row)
{
    unsigned char payload[PAYLOAD];

    make_payload(payload, 0, 1, 2);
    put_block(m, "ROWS", STREAM_CRITICAL, first_row, 2, PAYLOAD, payload, PAYLOAD);
}

/* For n_blocks blocks of put_rows. */
static void put_end(struct made *m, uint64_t rows, uint64_t blocks, int n_blocks)
{
    unsigned char payload[PAYLOAD], hashes[8 * 16];
    unsigned char *at = m->data + m->n;

    make_payload(payload, 0, 1, 2);
    for (int i = 0; i < n_blocks; i++)
        stream_put64(hashes + 8 * i, XXH3_64bits(payload, PAYLOAD));
    put_block(m, "END ", STREAM_CRITICAL, rows, blocks, 0, "", 0);
    stream_put64(at + 32, XXH3_64bits(hashes, 8 * (size_t)n_blocks));
    stream_put64(at + 56, XXH3_64bits(at, 56));
}

/* The number of rows, or -1. */
static int64_t read_bytes(const void *data, size_t n, struct dnas_err *err)
{
    struct dnas_reader *r = dnas_reader_open(file_write("lie.dnas", data, n), err);
    struct dnas_block b;
    int64_t rows = 0;
    int status = r ? 1 : -1;

    while (r && (status = dnas_reader_next(r, &b, err)) == 1)
        rows += b.n_rows;
    dnas_reader_close(r);
    return status < 0 ? -1 : rows;
}

static void accepts(const struct made *m, int64_t rows)
{
    struct dnas_err err = {""};

    CHECK_INT(read_bytes(m->data, m->n, &err), rows);
    CHECK_STR(err.msg, "");
}

static void refuses(const struct made *m, const char *why)
{
    struct dnas_err err = {""};

    if (read_bytes(m->data, m->n, &err) != -1)
        CHECK_FAIL("is taken: %s", why);
    if (!strstr(err.msg, why) || !strstr(err.msg, "lie.dnas: "))
        CHECK_FAIL("says '%s', not '%s'", err.msg, why);
}

static void test_what_is_right(void)
{
    struct made m = {.n = 0};

    put_header(&m, HEADER, 1);
    put_rows(&m, 0);
    put_rows(&m, 2);
    put_end(&m, 4, 2, 2);
    accepts(&m, 4);
    put_header(&m, HEADER, 1); /* a second stream, without rows */
    put_end(&m, 0, 0, 0);
    accepts(&m, 4);
}

static void test_headers(void)
{
    struct made m = {.n = 0};

    put_header(&m, HEADER, 2);
    refuses(&m, "has stream version 2, and this program reads 1");
    m.n = 0;
    put_header(&m, HEADER, UINT32_MAX);
    refuses(&m, "has stream version 4294967295, and this program reads 1");
    m.n = 0;
    put_header(&m, HEADER, 1);
    stream_put32(m.data + 12, UINT32_MAX);
    refuses(&m, "claims a header of 4294967295 bytes, more than 16 MiB");
    stream_put32(m.data + 12, (16u << 20) - 24);
    refuses(&m, "is truncated within its header");
    stream_put32(m.data + 12, 1);
    refuses(&m, "the header is damaged");
    m.n = 0;
    put_header(&m, HEADER, 0x01000000); /* as a big-endian program would write it */
    refuses(&m, "has stream version 16777216");
    m.n = 0;
    put_header(
        &m, "{\"kind\":\"LABELS\",\"columns\":[{\"name\":\"id\",\"type\":\"utf8\",\"shape\":[]}]}x",
        1);
    refuses(&m, "the header is not JSON");
    m.n = 0;
    put_header(&m, "[[[[[[[[", 1);
    refuses(&m, "the header is not JSON");
    m.n = 0;
    put_header(&m,
               "{\"kind\":\"LABELS\",\"columns\":[{\"name\":\"id\",\"type\":\"utf8\",\"shape\":[]},"
               "{\"name\":\"x\",\"type\":\"f32\",\"shape\":[0]}]}",
               1);
    refuses(&m, "column 'x' has a size that is not 1 to");
    m.n = 0;
    put_header(&m,
               "{\"kind\":\"LABELS\",\"columns\":[{\"name\":\"id\",\"type\":\"utf8\",\"shape\":[]},"
               "{\"name\":\"x\",\"type\":\"f32\",\"shape\":[4294967296]}]}",
               1);
    refuses(&m, "column 'x' has a size that is not 1 to");
}

/* A block header with these numbers behind a sound block. */
static void number(uint64_t first_row, uint64_t rows, uint64_t payload_bytes, const char *why)
{
    struct made m = {.n = 0};
    unsigned char payload[PAYLOAD];

    make_payload(payload, 0, 1, 2);
    put_header(&m, HEADER, 1);
    put_rows(&m, 0);
    put_block(&m, "ROWS", STREAM_CRITICAL, first_row, rows, payload_bytes, payload, PAYLOAD);
    put_end(&m, 4, 2, 2);
    refuses(&m, why);
}

static void test_numbers_of_blocks(void)
{
    static const uint64_t large[] = {65537,
                                     UINT32_MAX,
                                     UINT64_C(1) << 32,
                                     (UINT64_C(1) << 32) + 2,
                                     UINT64_C(1) << 61,
                                     (UINT64_C(1) << 63) - 1,
                                     UINT64_C(1) << 63,
                                     UINT64_MAX - 1,
                                     UINT64_MAX};

    number(2, 0, PAYLOAD, "the block after row 2 has impossible row numbers");
    number(2, 1, PAYLOAD, "the block after row 2");
    number(2, 3, PAYLOAD, "the block after row 2");
    number(0, 2, PAYLOAD, "the block after row 2 has impossible row numbers");
    number(3, 2, PAYLOAD, "the block after row 2 has impossible row numbers");
    number(2, 2, PAYLOAD - 1, "the block after row 2 is damaged");
    number(2, 2, PAYLOAD + 1, "the block after row 2 is damaged");
    number(2, 2, UINT64_C(1) << 30, "is truncated after row 2");
    for (size_t i = 0; i < sizeof(large) / sizeof(*large); i++) {
        number(2, large[i], PAYLOAD, "the block after row 2 has impossible row numbers");
        number(large[i], 2, PAYLOAD, "the block after row 2 has impossible row numbers");
        if (large[i] > DNAS_STREAM_MAX_PAYLOAD)
            number(2, 2, large[i], "after row 2 is more than the format allows");
    }
}

/* A block whose texts have these offsets. */
static void offsets(uint64_t o0, uint64_t o1, uint64_t o2, const char *why)
{
    struct made m = {.n = 0};
    unsigned char payload[PAYLOAD];

    make_payload(payload, o0, o1, o2);
    put_header(&m, HEADER, 1);
    put_block(&m, "ROWS", STREAM_CRITICAL, 0, 2, PAYLOAD, payload, PAYLOAD);
    refuses(&m, why);
}

static void test_offsets(void)
{
    const char *const holds = "the block after row 0 does not hold what its header says";

    offsets(1, 1, 2, holds);
    offsets(0, 2, 1, "the block after row 0 has a row of negative length");
    offsets(0, UINT64_MAX, 2, "the block after row 0 has a row of negative length");
    offsets(0, 1, 1000, holds);
    offsets(0, 1, UINT64_C(1) << 32, holds);
    offsets(0, 1, UINT64_MAX, holds);
    offsets(0, 1, UINT64_MAX - 7, holds);
    offsets(0, 1, 90, "the block after row 0"); /* runs into the vectors */
}

static void test_blocks_of_other_types(void)
{
    struct made m = {.n = 0};

    put_header(&m, HEADER, 1);
    put_rows(&m, 0);
    put_block(&m, "NOTE", 0, 77, 88, 5, "hello", 5);
    put_end(&m, 2, 1, 1);
    accepts(&m, 2);
    m.n = 0;
    put_header(&m, HEADER, 1);
    put_rows(&m, 0);
    put_block(&m, "NOTE", STREAM_CRITICAL, 0, 0, 5, "hello", 5);
    put_end(&m, 2, 1, 1);
    refuses(&m, "the block after row 2 is of a type that this program does not know");
}

static void test_ends(void)
{
    const char *const unfit = "the end after row 2 does not fit what came before";
    struct made m = {.n = 0};
    size_t n;

    put_header(&m, HEADER, 1);
    put_rows(&m, 0);
    n = m.n;
    refuses(&m, "is truncated after row 2"); /* none */
    put_end(&m, 3, 1, 1);
    refuses(&m, unfit);
    m.n = n;
    put_end(&m, 2, 2, 1);
    refuses(&m, unfit);
    m.n = n;
    put_end(&m, 2, 1, 2);
    refuses(&m, unfit);
    m.n = n;
    put_block(&m, "END ", STREAM_CRITICAL, 2, 1, 5, "hello", 5);
    refuses(&m, unfit);
    m.n = n;
    put_end(&m, 2, 1, 1);
    put_end(&m, 2, 1, 1); /* two */
    refuses(&m, "is not a dnas stream behind its first end");
    m.n = n;
    put_end(&m, 2, 1, 1);
    put_rows(&m, 2); /* in the middle */
    put_end(&m, 4, 2, 2);
    refuses(&m, "is not a dnas stream behind its first end");
    m.n = n;
    put_end(&m, 2, 1, 1);
    m.data[m.n++] = '\n';
    refuses(&m, "is not a dnas stream behind its first end");
}

/* No tool writes such a row, and none computes with it. */
static void test_values_that_are_not_finite(void)
{
    const uint32_t odd[] = {0x7fc00000, 0x7f800000, 0xff800000, 0x7f800001};
    unsigned char payload[PAYLOAD];

    for (size_t i = 0; i < sizeof(odd) / sizeof(*odd); i++) {
        struct made m = {.n = 0};
        unsigned char hash[8];
        struct dnas_embeddings e;
        struct dnas_err err = {""};
        size_t end;

        make_payload(payload, 0, 1, 2);
        stream_put32(payload + IDS + 12, odd[i]);
        put_header(&m, HEADER, 1);
        put_block(&m, "ROWS", STREAM_CRITICAL, 0, 2, PAYLOAD, payload, PAYLOAD);
        end = m.n;
        put_end(&m, 2, 1, 1);
        stream_put64(hash, XXH3_64bits(payload, PAYLOAD));
        stream_put64(m.data + end + 32, XXH3_64bits(hash, sizeof(hash)));
        stream_put64(m.data + end + 56, XXH3_64bits(m.data + end, 56));
        accepts(&m, 2);
        if (dnas_embeddings_load(&e, file_write("lie.dnas", m.data, m.n), &err) == 0)
            CHECK_FAIL("a value of %08x is taken", (unsigned)odd[i]);
        CHECK(strstr(err.msg, "lie.dnas: row 2 has a value that is not finite"));
        dnas_embeddings_release(&e);
    }
}

/* Wherever it is cut it is truncated, and says after which row. */
static void test_cut_at_every_byte(void)
{
    struct made m = {.n = 0};
    size_t header;
    int n_blocks = 0;

    put_header(&m, HEADER, 1);
    header = m.n;
    for (; m.n < 4200 && n_blocks < 16; n_blocks++)
        put_rows(&m, 2 * (uint64_t)n_blocks);
    put_end(&m, 2 * (uint64_t)n_blocks, (uint64_t)n_blocks, n_blocks);
    accepts(&m, 2 * n_blocks);
    for (size_t at = 0; at < m.n; at++) {
        size_t rows = at < header ? 0 : (at - header) / (STREAM_BLOCK_HEADER_SIZE + PAYLOAD) * 2;
        struct dnas_err err = {""};
        char want[64];

        if (rows > 2 * (size_t)n_blocks)
            rows = 2 * (size_t)n_blocks;
        snprintf(want, sizeof(want), "is truncated after row %zu", rows);
        if (read_bytes(m.data, at, &err) != -1)
            CHECK_FAIL("taken when cut to %zu of %zu bytes", at, m.n);
        if (at >= header && !strstr(err.msg, want))
            CHECK_FAIL("cut to %zu bytes: '%s', not '%s'", at, err.msg, want);
        if (at > 8 && at < header && !strstr(err.msg, "is truncated within its header"))
            CHECK_FAIL("cut to %zu bytes: '%s'", at, err.msg);
    }
}

/* One bit of each byte; fuzz_stream has them all. */
static void test_flipped_bits(void)
{
    struct made m = {.n = 0};

    put_header(&m, HEADER, 1);
    put_rows(&m, 0);
    put_rows(&m, 2);
    put_end(&m, 4, 2, 2);
    for (size_t bit = 0; bit < 8 * m.n; bit += bit % 8 == 7 ? 1 : 9) {
        struct dnas_err err = {""};

        m.data[bit / 8] ^= (unsigned char)(1 << bit % 8);
        if (read_bytes(m.data, m.n, &err) != -1 || !err.msg[0])
            CHECK_FAIL("bit %zu of byte %zu is not seen", bit % 8, bit / 8);
        m.data[bit / 8] ^= (unsigned char)(1 << bit % 8);
    }
}

/* A frame in a frame is not a stream; one that wants gigabytes to be undone is refused. */
static void test_frames(void)
{
    struct made m = {.n = 0};
    unsigned char once[16384], twice[16384];
    struct dnas_err err = {""};
    size_t n;
    ZSTD_CCtx *c = ZSTD_createCCtx();
    ZSTD_outBuffer o = {once, sizeof(once), 0};
    ZSTD_inBuffer in;

    put_header(&m, HEADER, 1);
    put_rows(&m, 0);
    put_end(&m, 2, 1, 1);
    n = ZSTD_compress(once, sizeof(once), m.data, m.n, 3);
    CHECK_INT(read_bytes(once, n, &err), 2);
    n = ZSTD_compress(twice, sizeof(twice), once, n, 3);
    CHECK_INT(read_bytes(twice, n, &err), -1);
    CHECK(strstr(err.msg, "is not a dnas stream"));
    /* --long=31 of zstd(1): a window of 2 GiB. */
    in = (ZSTD_inBuffer){m.data, m.n, 0};
    ZSTD_CCtx_setParameter(c, ZSTD_c_windowLog, 31);
    ZSTD_CCtx_setParameter(c, ZSTD_c_contentSizeFlag, 0);
    while (in.pos < in.size)
        ZSTD_compressStream2(c, &o, &in, ZSTD_e_continue);
    while (ZSTD_compressStream2(c, &o, &in, ZSTD_e_end) != 0)
        ;
    ZSTD_freeCCtx(c);
    CHECK_INT(read_bytes(once, o.pos, &err), -1);
    CHECK(strstr(err.msg, "the zstd data are corrupt (Frame requires too much memory"));
}

int main(void)
{
    RUN(test_what_is_right);
    RUN(test_headers);
    RUN(test_numbers_of_blocks);
    RUN(test_offsets);
    RUN(test_blocks_of_other_types);
    RUN(test_ends);
    RUN(test_values_that_are_not_finite);
    RUN(test_cut_at_every_byte);
    RUN(test_flipped_bits);
    RUN(test_frames);
    return check_done();
}
