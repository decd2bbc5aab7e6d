/* SPDX-License-Identifier: MIT
 *
 * test_stream.c - what is written comes back; what is damaged does not.
 */
#include "tests/unit/check.h"

#include <fcntl.h>
#include <unistd.h>

#include "common/stream.h"
#include "common/xmem.h"

#define N_ROWS 700 /* three blocks: 256, 256, 188 */
#define DIM 3

static const char *path(const char *name)
{
    static char text[4][512];
    static int turn;
    const char *dir = getenv("TMP");

    turn = (turn + 1) % 4;
    snprintf(text[turn], sizeof(text[turn]), "%s/dnas-stream-%s", dir ? dir : "/tmp", name);
    return text[turn];
}

static void make_header(struct dnas_header *h)
{
    dnas_header_init(h, DNAS_EMBEDDINGS);
    dnas_header_add_column(h, "id", DNAS_UTF8, true, 0);
    dnas_header_add_column(h, "embedding", DNAS_F32, false, DIM);
    dnas_header_add_column(h, "list", DNAS_U16, true, 0);
    dnas_header_add_column(h, "wide", DNAS_I64, false, 0);
    h->embedding = json_pack("{s:s}", "model", "test");
}

static void set_row(struct dnas_writer *w, uint64_t i)
{
    char id[32];
    float v[DIM] = {(float)i, -(float)i / 3, 1e-30f};
    uint16_t list[5] = {1, 2, 3, 4, 65535};
    int64_t wide = -(int64_t)i * 1000000007;

    snprintf(id, sizeof(id), "row%llu\xc3\xa9", (unsigned long long)i);
    dnas_writer_text(w, 0, id);
    dnas_writer_cell(w, 1, v, DIM);
    dnas_writer_cell(w, 2, list, i % 6);
    dnas_writer_cell(w, 3, &wide, 1);
}

static struct dnas_writer *begin(const char *file, int zstd, uint32_t shard, uint32_t n_shards)
{
    struct dnas_header h;
    struct dnas_writer_options o = {.format = DNAS_FORMAT_STREAM, .zstd_level = zstd};
    struct dnas_err err = {""};
    struct dnas_out *out = dnas_out_open(file, false, &err);
    struct dnas_writer *w;

    make_header(&h);
    h.shard = shard;
    h.n_shards = n_shards;
    w = out ? dnas_writer_new(out, &h, &o, &err) : NULL;
    if (!w)
        CHECK_FAIL("%s", err.msg);
    dnas_header_release(&h);
    return w;
}

static void write_file(const char *file, int zstd, uint64_t n, uint32_t shard, uint32_t n_shards)
{
    struct dnas_writer *w = begin(file, zstd, shard, n_shards);
    struct dnas_err err = {""};

    for (uint64_t i = 0; w && i < n; i++) {
        set_row(w, i);
        CHECK(dnas_writer_end_row(w, &err) == 0);
    }
    if (w)
        CHECK(dnas_writer_finish(w, &err) == 0);
}

/* Reads it all: the number of rows, or -1 with the sentence in err. */
static long long read_file(const char *file, struct dnas_err *err)
{
    struct dnas_reader *r = dnas_reader_open(file, err);
    struct dnas_block b;
    long long n = 0;
    int status = r ? 1 : -1;

    while (r && (status = dnas_reader_next(r, &b, err)) == 1)
        n += b.n_rows;
    dnas_reader_close(r);
    return status < 0 ? -1 : n;
}

static void check_row(const struct dnas_block *b, uint32_t row, uint64_t i)
{
    const float *v = (const float *)b->cells[1].values + (size_t)row * DIM;
    char id[32];
    size_t n;
    const char *s = dnas_block_ragged(b, 0, row, &n);

    snprintf(id, sizeof(id), "row%llu\xc3\xa9", (unsigned long long)i);
    CHECK(n == strlen(id) && memcmp(s, id, n) == 0);
    CHECK(v[0] == (float)i && v[1] == -(float)i / 3 && v[2] == 1e-30f);
    dnas_block_ragged(b, 2, row, &n);
    CHECK_INT(n, i % 6);
    CHECK_INT(((const int64_t *)b->cells[3].values)[row], -(int64_t)i * 1000000007);
}

static void round_trip(int zstd)
{
    const char *file = path("round.dnas");
    struct dnas_err err = {""};
    struct dnas_reader *r;
    struct dnas_block b;
    uint64_t i = 0;

    write_file(file, zstd, N_ROWS, 0, 0);
    r = dnas_reader_open(file, &err);
    CHECK(r != NULL);
    while (r && dnas_reader_next(r, &b, &err) == 1) {
        CHECK_INT(b.first_row, i);
        CHECK_INT(b.n_rows, i < 512 ? 256 : 188);
        CHECK_INT((uintptr_t)b.cells[1].values % 64, 0);
        for (uint32_t row = 0; row < b.n_rows; row++)
            check_row(&b, row, i++);
    }
    CHECK_STR(err.msg, "");
    CHECK_INT(i, N_ROWS);
    CHECK(r && dnas_header_same_object(dnas_reader_header(r)->embedding,
                                       dnas_reader_header(r)->embedding));
    dnas_reader_close(r);
}

static void test_round_trip(void)
{
    round_trip(0);
}

static void test_round_trip_zstd(void)
{
    round_trip(3);
}

static void test_no_rows(void)
{
    struct dnas_err err = {""};

    write_file(path("none.dnas"), 0, 0, 0, 0);
    CHECK_INT(read_file(path("none.dnas"), &err), 0);
}

static void test_big_rows_close_blocks(void)
{
    const char *file = path("big.dnas");
    struct dnas_header h;
    struct dnas_writer_options o = {.format = DNAS_FORMAT_STREAM, .zstd_level = 0};
    struct dnas_err err = {""};
    struct dnas_writer *w;
    struct dnas_reader *r;
    struct dnas_block b;
    size_t n = 700000; /* of 2 bytes: more than 1 MiB */
    uint16_t *tokens = dnas_xzalloc(n, sizeof(*tokens));

    dnas_header_init(&h, DNAS_TOKENS);
    dnas_header_add_column(&h, "id", DNAS_UTF8, true, 0);
    dnas_header_add_column(&h, "tokens", DNAS_U16, true, 0);
    w = dnas_writer_new(dnas_out_open(file, false, &err), &h, &o, &err);
    for (int i = 0; i < 3; i++) {
        dnas_writer_text(w, 0, "x");
        dnas_writer_cell(w, 1, tokens, n);
        CHECK(dnas_writer_end_row(w, &err) == 0);
    }
    CHECK(dnas_writer_finish(w, &err) == 0);
    r = dnas_reader_open(file, &err);
    for (int i = 0; i < 3; i++) {
        CHECK_INT(dnas_reader_next(r, &b, &err), 1);
        CHECK_INT(b.n_rows, 1);
    }
    CHECK_INT(dnas_reader_next(r, &b, &err), 0);
    dnas_reader_close(r);
    dnas_header_release(&h);
    free(tokens);
}

static char *slurp(const char *file, size_t *n)
{
    FILE *f = fopen(file, "rb");
    char *bytes = dnas_xalloc(1 << 22, 1);

    *n = f ? fread(bytes, 1, 1 << 22, f) : 0;
    if (f)
        fclose(f);
    return bytes;
}

static void spill(const char *file, const char *bytes, size_t n)
{
    FILE *f = fopen(file, "wb");

    CHECK(f && fwrite(bytes, 1, n, f) == n && fclose(f) == 0);
}

/* Every cut is seen, and no row behind it is claimed. */
static void cuts(int zstd)
{
    const char *file = path("whole.dnas"), *cut = path("cut.dnas");
    struct dnas_err err;
    size_t n;
    char *bytes;

    write_file(file, zstd, N_ROWS, 0, 0);
    bytes = slurp(file, &n);
    for (size_t at = 0; at < n; at += at < 900 || at > n - 200 ? 1 : 97) {
        spill(cut, bytes, at);
        err.msg[0] = '\0';
        if (read_file(cut, &err) != -1 || !strstr(err.msg, cut))
            CHECK_FAIL("cut at %zu of %zu: '%s'", at, n, err.msg);
    }
    free(bytes);
}

static void test_cuts(void)
{
    cuts(0);
}

static void test_cuts_zstd(void)
{
    cuts(1);
}

static void test_flipped_bits(void)
{
    const char *file = path("whole.dnas"), *bad = path("flipped.dnas");
    struct dnas_err err = {""};
    size_t n;
    char *bytes;

    write_file(file, 0, 300, 0, 0);
    bytes = slurp(file, &n);
    for (size_t at = 0; at < n; at += at < 700 || at > n - 64 ? 1 : 61) {
        bytes[at] = (char)(bytes[at] ^ 1 << at % 8);
        spill(bad, bytes, n);
        if (read_file(bad, &err) != -1)
            CHECK_FAIL("a flipped bit in byte %zu of %zu is not seen", at, n);
        bytes[at] = (char)(bytes[at] ^ 1 << at % 8);
    }
    free(bytes);
}

static void concatenate(const char *to, const char *a, const char *b)
{
    size_t n_a, n_b;
    char *x = slurp(a, &n_a), *y = slurp(b, &n_b);

    memcpy(x + n_a, y, n_b);
    spill(to, x, n_a + n_b);
    free(x);
    free(y);
}

static void test_concatenation(void)
{
    struct dnas_err err = {""};

    write_file(path("a"), 0, 300, 0, 0);
    write_file(path("b"), 0, 5, 0, 0);
    concatenate(path("ab"), path("a"), path("b"));
    CHECK_INT(read_file(path("ab"), &err), 305);
    write_file(path("z"), 1, 300, 0, 0);
    write_file(path("y"), 1, 5, 0, 0);
    concatenate(path("zy"), path("z"), path("y"));
    CHECK_INT(read_file(path("zy"), &err), 305);
    spill(path("junk"), "junk", 4);
    concatenate(path("aj"), path("a"), path("junk"));
    CHECK_INT(read_file(path("aj"), &err), -1);
}

static void test_shards(void)
{
    struct dnas_err err = {""};

    write_file(path("s1"), 0, 10, 1, 3);
    write_file(path("s2"), 0, 0, 2, 3);
    write_file(path("s3"), 0, 7, 3, 3);
    CHECK_INT(read_file(path("s2"), &err), 0); /* alone: a file like any other */
    concatenate(path("s12"), path("s1"), path("s2"));
    CHECK_INT(read_file(path("s12"), &err), -1);
    CHECK(strstr(err.msg, "ends with shard 2 of 3") != NULL);
    concatenate(path("s123"), path("s12"), path("s3"));
    CHECK_INT(read_file(path("s123"), &err), 17);
    concatenate(path("s13"), path("s1"), path("s3"));
    CHECK_INT(read_file(path("s13"), &err), -1);
    CHECK(strstr(err.msg, "shard 3 of 3 where 2 of 3 belongs") != NULL);
    concatenate(path("s23"), path("s2"), path("s3"));
    CHECK_INT(read_file(path("s23"), &err), -1);
}

static int refuse_none(void *ctx, const char *id, size_t n, struct dnas_err *err)
{
    char want[32];

    (void)err;
    snprintf(want, sizeof(want), "row%d\xc3\xa9", (*(int *)ctx)++);
    CHECK(n == strlen(want) && memcmp(id, want, n) == 0);
    return 0;
}

/* From any cut of the part, resuming gives the bytes of an unbroken run. */
static void resume(int zstd)
{
    struct dnas_writer_options o = {.format = DNAS_FORMAT_STREAM, .zstd_level = zstd};
    struct dnas_err err = {""};
    size_t n, n_again;
    char *bytes, *again;

    write_file(path("r"), zstd, N_ROWS, 0, 0);
    bytes = slurp(path("r"), &n);
    for (size_t at = 0; at <= n; at += at + 701 > n && at < n ? n - at : 701) {
        struct dnas_header h;
        struct dnas_writer *w;
        int done = 0;

        spill(path("q.part"), bytes, at);
        make_header(&h);
        w = dnas_writer_resume(dnas_out_open(path("q"), true, &err), &h, &o, refuse_none, &done,
                               &err);
        CHECK_STR(err.msg, "");
        if (!w)
            break;
        CHECK_INT(dnas_writer_rows(w), done);
        for (uint64_t i = dnas_writer_rows(w); i < N_ROWS; i++) {
            set_row(w, i);
            CHECK(dnas_writer_end_row(w, &err) == 0);
        }
        CHECK(dnas_writer_finish(w, &err) == 0);
        again = slurp(path("q"), &n_again);
        if (n_again != n || memcmp(again, bytes, n) != 0)
            CHECK_FAIL("resumed from byte %zu of %zu (row %d): other bytes", at, n, done);
        free(again);
        dnas_header_release(&h);
    }
    free(bytes);
}

static void test_resume(void)
{
    resume(0);
}

static void test_resume_zstd(void)
{
    resume(3);
}

static void test_resume_refuses_another_header(void)
{
    struct dnas_writer_options o = {.format = DNAS_FORMAT_STREAM, .zstd_level = 0};
    struct dnas_err err = {""};
    struct dnas_header h;
    int done = 0;

    write_file(path("other.part"), 0, 300, 0, 0);
    CHECK(rename(path("other.part"), path("o.part")) == 0);
    make_header(&h);
    json_object_set_new(h.embedding, "model", json_string("another"));
    CHECK(!dnas_writer_resume(dnas_out_open(path("o"), true, &err), &h, &o, refuse_none, &done,
                              &err));
    CHECK(strstr(err.msg, "another command, version or model") != NULL);
    CHECK(access(path("o.part"), F_OK) == 0);
    dnas_header_release(&h);
}

static void test_not_finite_is_refused(void)
{
    struct dnas_writer *w = begin(path("nan"), 0, 0, 0);
    struct dnas_err err = {""};
    float v[DIM] = {0, NAN, 0};
    int64_t wide = 0;

    dnas_writer_text(w, 0, "x");
    dnas_writer_cell(w, 1, v, DIM);
    dnas_writer_cell(w, 2, NULL, 0);
    dnas_writer_cell(w, 3, &wide, 1);
    CHECK(dnas_writer_end_row(w, &err) == -1);
    CHECK(strstr(err.msg, "not finite") != NULL);
    dnas_writer_abandon(w, false);
    CHECK(access(path("nan"), F_OK) != 0 && access(path("nan.part"), F_OK) != 0);
}

/* A cell that no reader would take is refused before it is looked at. */
static void test_blocks_have_a_limit(void)
{
    const struct dnas_writer_options o = {.format = DNAS_FORMAT_STREAM};
    const uint16_t one = 1;
    struct dnas_err err = {""};
    struct dnas_header h;
    struct dnas_writer *w;

    dnas_header_init(&h, DNAS_PAIRS);
    dnas_header_add_column(&h, "id", DNAS_UTF8, true, 0);
    dnas_header_add_column(&h, "tokens_a", DNAS_U16, true, 0);
    w = dnas_writer_new(dnas_out_open(path("limit"), false, &err), &h, &o, &err);
    dnas_writer_text(w, 0, "a");
    dnas_writer_cell(w, 1, &one, DNAS_STREAM_MAX_PAYLOAD / sizeof(one));
    CHECK(dnas_writer_end_row(w, &err) == -1);
    CHECK(strstr(err.msg, "limit.part: row 1: column 'tokens_a' has 1073741824 elements, more "
                          "than the 2 GiB of a block hold"));
    dnas_writer_abandon(w, false);
    dnas_header_release(&h);
}

static void test_headers_are_checked(void)
{
    static const char *const bad[] = {
        "",
        "[]",
        "{\"kind\":\"FISH\",\"columns\":[{\"name\":\"id\",\"type\":\"utf8\",\"shape\":[]}]}",
        "{\"kind\":\"LABELS\"}",
        "{\"kind\":\"LABELS\",\"columns\":[]}",
        "{\"kind\":\"LABELS\",\"columns\":[{\"name\":\"x\",\"type\":\"utf8\",\"shape\":[]}]}",
        "{\"kind\":\"LABELS\",\"columns\":[{\"name\":\"id\",\"type\":\"f64\",\"shape\":[]}]}",
        "{\"kind\":\"LABELS\",\"columns\":[{\"name\":\"id\",\"type\":\"utf8\",\"shape\":[2]}]}",
        "{\"kind\":\"LABELS\",\"columns\":[{\"name\":\"id\",\"type\":\"utf8\",\"shape\":[]},"
        "{\"name\":\"id\",\"type\":\"u8\",\"shape\":[]}]}",
        "{\"kind\":\"LABELS\",\"columns\":[{\"name\":\"id\",\"type\":\"utf8\",\"shape\":[]},"
        "{\"name\":\"a\",\"type\":\"u8\",\"shape\":[0]}]}",
        "{\"kind\":\"LABELS\",\"columns\":[{\"name\":\"id\",\"type\":\"utf8\",\"shape\":[]},"
        "{\"name\":\"a\",\"type\":\"u8\",\"shape\":[99999999999]}]}",
        "{\"kind\":\"LABELS\",\"kind\":\"LABELS\",\"columns\":[{\"name\":\"id\",\"type\":\"utf8\","
        "\"shape\":[]}]}",
        "{\"kind\":\"LABELS\",\"columns\":[{\"name\":\"id\",\"type\":\"utf8\",\"shape\":[]}],"
        "\"shard\":[3,2]}",
    };

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct dnas_header h;
        struct dnas_err err = {""};

        CHECK_INT(dnas_header_parse(&h, bad[i], strlen(bad[i]), &err), -1);
        CHECK(err.msg[0] != '\0');
    }
}

static void test_utf8(void)
{
    CHECK(dnas_is_utf8("plain ascii text, long enough", 29));
    CHECK(dnas_is_utf8("\xc3\xa9\xe2\x82\xac\xf0\x9f\xa7\xac", 9));
    CHECK(!dnas_is_utf8("\xc0\x80", 2));         /* overlong */
    CHECK(!dnas_is_utf8("\xed\xa0\x80", 3));     /* a surrogate */
    CHECK(!dnas_is_utf8("\xf4\x90\x80\x80", 4)); /* above U+10FFFF */
    CHECK(!dnas_is_utf8("abcdefg\xe2\x82", 9));  /* cut */
    CHECK(!dnas_is_utf8("abcdefgh\0jklmnop", 17));
}

static void test_bf16(void)
{
    CHECK(dnas_f32_from_bf16(dnas_bf16_from_f32(1.0f)) == 1.0f);
    CHECK(dnas_bf16_from_f32(1.00390625f) == 0x3f80); /* half way: to even */
    CHECK(dnas_bf16_from_f32(1.01171875f) == 0x3f82);
    CHECK(isnan(dnas_f32_from_bf16(dnas_bf16_from_f32(NAN))));
    CHECK(isinf(dnas_f32_from_bf16(dnas_bf16_from_f32(3.4e38f))));
}

int main(void)
{
    RUN(test_round_trip);
    RUN(test_round_trip_zstd);
    RUN(test_no_rows);
    RUN(test_big_rows_close_blocks);
    RUN(test_cuts);
    RUN(test_cuts_zstd);
    RUN(test_flipped_bits);
    RUN(test_concatenation);
    RUN(test_shards);
    RUN(test_resume);
    RUN(test_resume_zstd);
    RUN(test_resume_refuses_another_header);
    RUN(test_not_finite_is_refused);
    RUN(test_blocks_have_a_limit);
    RUN(test_headers_are_checked);
    RUN(test_utf8);
    RUN(test_bf16);
    return check_done();
}
