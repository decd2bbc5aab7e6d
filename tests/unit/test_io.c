/* SPDX-License-Identifier: MIT
 *
 * test_io.c - bytes in, plain or compressed, whole or broken; bytes out, whole
 * or not at all.
 */
#include "common/io.h"

#include <fcntl.h>
#include <htslib/bgzf.h>
#include <sys/stat.h>
#include <zstd.h>

#include "tests/unit/check.h"
#include "tests/unit/files.h"

enum { N_BYTES = 300000 };

/* Bytes that compress a little, with lines of many lengths. */
static const char *sample(void)
{
    static char text[N_BYTES + 1];

    if (!text[0])
        for (unsigned i = 0, x = 1; i < N_BYTES; i++) {
            x = x * 1103515245 + 12345;
            text[i] = x >> 28 == 0 ? '\n' : (char)('A' + (x >> 24) % 26);
        }
    return text;
}

static const char *write_gzip(const char *name, const char *mode)
{
    BGZF *f = bgzf_open(file_path(name), mode);

    if (!f || bgzf_write(f, sample(), N_BYTES) != N_BYTES || bgzf_close(f) != 0)
        abort();
    return file_path(name);
}

/* Two frames with checksums, cut in the middle of the sample. */
static size_t zstd_frames(char *out, size_t cap, size_t *first)
{
    ZSTD_CCtx *c = ZSTD_createCCtx();
    size_t a, b;

    ZSTD_CCtx_setParameter(c, ZSTD_c_checksumFlag, 1);
    a = ZSTD_compress2(c, out, cap, sample(), 100000);
    b = ZSTD_compress2(c, out + a, cap - a, sample() + 100000, N_BYTES - 100000);
    ZSTD_freeCCtx(c);
    if (ZSTD_isError(a) || ZSTD_isError(b))
        abort();
    *first = a;
    return a + b;
}

static const char *write_zstd(const char *name)
{
    static char packed[N_BYTES * 2];
    size_t first, n = zstd_frames(packed, sizeof(packed), &first);

    return file_write(name, packed, n);
}

static void expect_sample(const char *path, size_t step)
{
    static char got[N_BYTES + 10];
    struct dnas_err err = {""};
    struct dnas_in *in = dnas_in_open(path, &err);
    size_t n = 0;
    ptrdiff_t k = 0;

    CHECK(in != NULL);
    if (!in)
        return;
    while (n < N_BYTES &&
           (k = dnas_in_read(in, got + n, step < N_BYTES - n ? step : N_BYTES - n, &err)) > 0)
        n += (size_t)k;
    CHECK_INT(n, N_BYTES);
    CHECK_INT(dnas_in_read(in, got + n, 10, &err), 0);
    CHECK_INT(dnas_in_read(in, got + n, 10, &err), 0); /* and it stays at the end */
    CHECK(memcmp(got, sample(), N_BYTES) == 0);
    dnas_in_close(in);
}

static void test_codecs(void)
{
    static const size_t steps[] = {1, 7, 4096, N_BYTES};
    const char *paths[] = {file_write("plain", sample(), N_BYTES), write_gzip("gzip", "wg"),
                           write_gzip("bgzf", "w"), write_zstd("zstd")};

    for (size_t p = 0; p < 4; p++)
        for (size_t s = 0; s < 4; s++)
            expect_sample(paths[p], steps[s]);
}

/* Cut anywhere, compressed input ends in an error and never in a shorter text. */
static void expect_broken(const char *path, const char *what)
{
    static char got[N_BYTES + 10];
    struct dnas_err err = {""};
    struct dnas_in *in = dnas_in_open(path, &err);
    ptrdiff_t k = in ? 1 : -1;

    while (k > 0)
        k = dnas_in_read(in, got, sizeof(got), &err);
    if (k != -1 || !strstr(err.msg, path))
        CHECK_FAIL("%s: %ld, '%s'", what, (long)k, err.msg);
    dnas_in_close(in);
}

static void test_cuts(void)
{
    static const char *const names[] = {"gzip", "bgzf", "zstd"};

    write_gzip("gzip", "wg");
    write_gzip("bgzf", "w");
    write_zstd("zstd");
    for (int i = 0; i < 3; i++) {
        size_t n = 0, first;
        char *whole = file_read(names[i], &n), what[64];
        static char packed[N_BYTES * 2];

        zstd_frames(packed, sizeof(packed), &first);
        for (size_t turn = 0; turn < 110; turn++) {
            size_t at = turn < 40 ? 4 + turn : turn < 80 ? n - (turn - 39) : n / 31 * (turn - 79);

            if (i == 2 && at == first) /* whole frames: nothing is missing */
                continue;
            snprintf(what, sizeof(what), "%s cut to %zu of %zu bytes", names[i], at, n);
            expect_broken(file_write("cut", whole, at), what);
        }
        memcpy(packed, whole, n);
        memcpy(packed + n, "garbage!", 8);
        expect_broken(file_write("followed", packed, n + 8), "garbage behind");
        for (size_t at = 20; at < n; at += n / 23) {
            whole[at] ^= 0x10;
            snprintf(what, sizeof(what), "%s with byte %zu of %zu flipped", names[i], at, n);
            expect_broken(file_write("flipped", whole, n), what);
            whole[at] ^= 0x10;
        }
        free(whole);
    }
}

static void test_peek(void)
{
    struct dnas_err err = {""};
    char b[DNAS_IN_PEEK + 10];
    const char *paths[] = {file_write("plain", sample(), N_BYTES), write_gzip("gzip", "wg"),
                           write_zstd("zstd"), file_text("short", "abc"), file_text("empty", "")};

    for (size_t p = 0; p < 3; p++) {
        struct dnas_in *in = dnas_in_open(paths[p], &err);

        CHECK_INT(dnas_in_peek(in, b, 5, &err), 5);
        CHECK(memcmp(b, sample(), 5) == 0);
        CHECK_INT(dnas_in_peek(in, b, DNAS_IN_PEEK, &err), DNAS_IN_PEEK);
        CHECK(memcmp(b, sample(), DNAS_IN_PEEK) == 0);
        CHECK_INT(dnas_in_peek(in, b, 3, &err), 3);
        CHECK_INT(dnas_in_read_full(in, b, sizeof(b), &err), sizeof(b));
        CHECK(memcmp(b, sample(), sizeof(b)) == 0);
        dnas_in_close(in);
    }
    for (size_t p = 3; p < 5; p++) {
        struct dnas_in *in = dnas_in_open(paths[p], &err);
        ptrdiff_t n = p == 3 ? 3 : 0;

        CHECK_INT(dnas_in_peek(in, b, 8, &err), n);
        CHECK_INT(dnas_in_read_full(in, b, 8, &err), n);
        CHECK_INT(dnas_in_read(in, b, 8, &err), 0);
        CHECK_INT(dnas_in_read(in, b, 0, &err), 0);
        dnas_in_close(in);
    }
}

static void test_offsets(void)
{
    static char packed[N_BYTES * 2], b[N_BYTES];
    struct dnas_err err = {""};
    size_t first, n = zstd_frames(packed, sizeof(packed), &first);
    struct dnas_in *in = dnas_in_open(file_write("plain", sample(), N_BYTES), &err);

    CHECK_INT(dnas_in_file_size(in), N_BYTES);
    CHECK_INT(dnas_in_read_full(in, b, 1000, &err), 1000);
    CHECK_INT(dnas_in_offset(in), 1000);
    CHECK(!dnas_in_is_zstd(in));
    CHECK_INT(dnas_in_settle(in, &err), 0);
    CHECK_INT(dnas_in_offset(in), 1000);
    dnas_in_close(in);
    in = dnas_in_open(file_write("zstd", packed, n), &err);
    CHECK(dnas_in_is_zstd(in));
    CHECK_INT(dnas_in_file_size(in), n);
    CHECK_INT(dnas_in_read_full(in, b, 100000, &err), 100000);
    CHECK_INT(dnas_in_settle(in, &err), 0);
    CHECK_INT(dnas_in_offset(in), first);
    CHECK_INT(dnas_in_read_full(in, b, sizeof(b), &err), N_BYTES - 100000);
    CHECK_INT(dnas_in_settle(in, &err), 0);
    CHECK_INT(dnas_in_offset(in), n);
    dnas_in_close(in);
}

static void test_names(void)
{
    struct dnas_err err = {""};
    const char *path = file_text("a", "x");
    struct dnas_in *in = dnas_in_open(path, &err);
    uint64_t size = 0;

    CHECK_STR(dnas_in_name(in), path);
    dnas_in_close(in);
    dnas_in_close(NULL);
    CHECK(dnas_in_open(file_path("missing"), &err) == NULL);
    CHECK(strstr(err.msg, "missing: cannot be opened: No such file"));
    mkdir(file_path("folder"), 0777);
    CHECK(dnas_in_open(file_path("folder"), &err) == NULL);
    CHECK(strstr(err.msg, "folder: is a folder, not a file"));
    CHECK(dnas_in_open(file_path("missing"), NULL) == NULL);
    CHECK(dnas_is_regular_file(path, &size) && size == 1);
    CHECK(dnas_is_regular_file(path, NULL));
    CHECK(!dnas_is_regular_file(NULL, NULL));
    CHECK(!dnas_is_regular_file("-", NULL));
    CHECK(!dnas_is_regular_file("/dev/null", NULL));
    CHECK(!dnas_is_regular_file(file_path("folder"), NULL));
    CHECK(!dnas_is_regular_file(file_path("missing"), NULL));
}

/* All lines of a text, joined by '|'. */
static void expect_lines(const char *text, size_t n, const char *want)
{
    struct dnas_err err = {""};
    struct dnas_in *in = dnas_in_open(file_write("lines", text, n), &err);
    struct dnas_lines l = {.in = in};
    char got[256] = "", *line;
    size_t len, n_got = 0;
    uint64_t number = 0;
    int status;

    while ((status = dnas_lines_next(&l, &line, &len, &err)) == 1) {
        CHECK_INT(line[len], 0);
        CHECK_INT(l.number, ++number);
        memcpy(got + n_got, line, len + 1);
        n_got += len;
        got[n_got++] = '|';
        got[n_got] = '\0';
    }
    CHECK_INT(status, 0);
    CHECK_STR(got, want);
    CHECK_INT(dnas_lines_next(&l, &line, &len, &err), 0);
    dnas_lines_release(&l);
    dnas_in_close(in);
}

static void test_lines(void)
{
    static const struct {
        const char *text, *want;
    } cases[] = {
        {"", ""},         {"\n", "|"},           {"a", "a|"},        {"a\n", "a|"},
        {"a\nb", "a|b|"}, {"a\n\nb\n", "a||b|"}, {"\n\n", "||"},     {"a\r\nb\r\n", "a|b|"},
        {"a\r", "a|"},    {"a\rb\n", "a\rb|"},   {"\r\n\r\n", "||"}, {"a\n\r\n", "a||"},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        expect_lines(cases[i].text, strlen(cases[i].text), cases[i].want);
}

/* Lines longer than the buffer, through a compressed file. */
static void test_long_lines(void)
{
    struct dnas_err err = {""};
    struct dnas_in *in = dnas_in_open(write_gzip("gzip", "wg"), &err);
    struct dnas_lines l = {.in = in};
    const char *at = sample();
    char *line;
    size_t n, total = 0;
    int status;

    while ((status = dnas_lines_next(&l, &line, &n, &err)) == 1) {
        CHECK(memcmp(line, at + total, n) == 0);
        total += n + 1;
    }
    CHECK_INT(status, 0);
    CHECK(total == N_BYTES || total == N_BYTES + 1);
    dnas_lines_release(&l);
    dnas_in_close(in);
    {
        static char big[500001];

        memset(big, 'x', 500000);
        big[200000] = '\n';
        in = dnas_in_open(file_write("big", big, 500000), &err);
        l = (struct dnas_lines){.in = in};
        CHECK_INT(dnas_lines_next(&l, &line, &n, &err), 1);
        CHECK_INT(n, 200000);
        CHECK_INT(dnas_lines_next(&l, &line, &n, &err), 1);
        CHECK_INT(n, 299999);
        CHECK_INT(dnas_lines_next(&l, &line, &n, &err), 0);
        dnas_lines_release(&l);
        dnas_in_close(in);
    }
}

static void test_read_file(void)
{
    struct dnas_err err = {""};
    size_t n = 7;
    char *all = dnas_read_file(write_gzip("gzip", "wg"), N_BYTES, &n, &err);

    CHECK(all != NULL);
    CHECK_INT(n, N_BYTES);
    CHECK(all && memcmp(all, sample(), N_BYTES + 1) == 0);
    free(all);
    CHECK(dnas_read_file(file_path("gzip"), N_BYTES - 1, &n, &err) == NULL);
    CHECK(strstr(err.msg, "is larger than the 0 MiB allowed"));
    CHECK(dnas_read_file(file_path("missing"), 10, &n, &err) == NULL);
    all = dnas_read_file(file_text("empty", ""), 10, &n, &err);
    CHECK(all && n == 0 && all[0] == '\0');
    free(all);
}

/* ---- out ---- */

static void expect_content(const char *name, const char *want)
{
    char *got = file_read(name, NULL);

    if (!want)
        CHECK(got == NULL);
    else
        CHECK_STR(got ? got : "(missing)", want);
    free(got);
}

static void test_out(void)
{
    struct dnas_err err = {""};
    struct dnas_out *out;

    file_text("o", "old");
    out = dnas_out_open(file_path("o"), false, &err);
    CHECK_STR(dnas_out_name(out), file_path("o.part"));
    CHECK(!dnas_out_is_terminal(out));
    CHECK_INT(dnas_out_write(out, "new", 3, &err), 0);
    CHECK_INT(dnas_out_write(out, "", 0, &err), 0);
    expect_content("o", "old");
    CHECK_INT(dnas_out_commit(out, &err), 0);
    expect_content("o", "new");
    expect_content("o.part", NULL);
    out = dnas_out_open(file_path("o"), false, &err); /* after a failure */
    CHECK_INT(dnas_out_write(out, "broken", 6, &err), 0);
    dnas_out_abandon(out, false);
    expect_content("o", "new");
    expect_content("o.part", NULL);
    out = dnas_out_open(file_path("o"), false, &err);
    CHECK_INT(dnas_out_write(out, "broken", 6, &err), 0);
    dnas_out_abandon(out, true);
    expect_content("o.part", "broken");
    out = dnas_out_open(file_path("o"), true, &err); /* and on from there */
    CHECK_INT(dnas_out_truncate(out, 3, &err), 0);
    CHECK_INT(dnas_out_write(out, "ad", 2, &err), 0);
    CHECK_INT(dnas_out_commit(out, &err), 0);
    expect_content("o", "broad");
    file_text("o.part", "left over");
    out = dnas_out_open(file_path("o"), false, &err);
    CHECK_INT(dnas_out_write(out, "x", 1, &err), 0);
    CHECK_INT(dnas_out_commit(out, &err), 0);
    expect_content("o", "x");
    dnas_out_abandon(NULL, false);
}

static void test_out_is_locked(void)
{
    struct dnas_err err = {""};
    struct dnas_out *first = dnas_out_open(file_path("l"), false, &err);

    CHECK_INT(dnas_out_write(first, "mine", 4, &err), 0);
    CHECK(dnas_out_open(file_path("l"), false, &err) == NULL);
    CHECK(strstr(err.msg, "l.part: another process is writing it"));
    CHECK(dnas_out_open(file_path("l"), true, &err) == NULL);
    expect_content("l.part", "mine");
    CHECK_INT(dnas_out_commit(first, &err), 0);
    expect_content("l", "mine");
    first = dnas_out_open(file_path("l"), false, &err);
    CHECK(first != NULL);
    dnas_out_abandon(first, false);
}

static void test_out_in_place(void)
{
    struct dnas_err err = {""};
    struct dnas_out *out = dnas_out_open("/dev/null", false, &err);
    struct stat st;

    CHECK(!dnas_out_uses_part("/dev/null"));
    CHECK(!dnas_out_uses_part(NULL));
    CHECK(dnas_out_uses_part(file_path("new")));
    CHECK(dnas_out_uses_part(file_text("there", "x")));
    CHECK_STR(dnas_out_name(out), "/dev/null");
    CHECK_INT(dnas_out_write(out, "x", 1, &err), 0);
    CHECK_INT(dnas_out_commit(out, &err), 0);
    CHECK(stat("/dev/null", &st) == 0 && S_ISCHR(st.st_mode));
    CHECK(dnas_out_open(file_path("no/such/folder"), false, &err) == NULL);
    CHECK(strstr(err.msg, "no/such/folder.part: cannot be written: No such file"));
    if (access("/dev/full", W_OK) == 0) {
        out = dnas_out_open("/dev/full", false, &err);
        CHECK_INT(dnas_out_write(out, "x", 1, &err), -1);
        CHECK_STR(err.msg, "/dev/full: cannot be written: No space left on device");
        dnas_out_abandon(out, false);
        CHECK(access("/dev/full", W_OK) == 0);
    }
}

int main(void)
{
    RUN(test_codecs);
    RUN(test_cuts);
    RUN(test_peek);
    RUN(test_offsets);
    RUN(test_names);
    RUN(test_lines);
    RUN(test_long_lines);
    RUN(test_read_file);
    RUN(test_out);
    RUN(test_out_is_locked);
    RUN(test_out_in_place);
    return check_done();
}
