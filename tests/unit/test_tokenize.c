/* SPDX-License-Identifier: MIT
 *
 * test_tokenize.c - rows of tokens do not depend on how the input is cut into
 * batches, nor on threads; windows hold all letters.
 */
#include "common/tokenize.h"

#include "tests/unit/check.h"
#include "tests/unit/files.h"

static void test_min_window(void)
{
    CHECK_INT(dnas_min_window(1), 1);
    CHECK_INT(dnas_min_window(9), 1);
    CHECK_INT(dnas_min_window(10), 1);
    CHECK_INT(dnas_min_window(500), 50);
    CHECK_INT(dnas_min_window(10000), 1000);
    CHECK_INT(dnas_min_window(1000000), 1000);
}

/* The vocabulary of tests/data (made by bpe-make.py). */
static struct dnas_tokenizer *load(void)
{
    struct dnas_err err = {""};
    struct dnas_tokenizer *tokenizer = dnas_tokenizer_open("tests/data/bpe-small.json", &err);

    if (!tokenizer)
        printf("# %s\n", err.msg);
    return tokenizer;
}

enum { N_RECORDS = 40 };

static const char *write_records(void)
{
    const char *path = file_path("t.fa");
    FILE *f = fopen(path, "w");
    unsigned x = 1;

    for (int i = 0; f && i < N_RECORDS; i++) {
        fprintf(f, ">r%d label=l%d\n", i, i % 3);
        for (int k = 0; k < 1 + i * i * 40; k++) {
            x = x * 1103515245 + 12345;
            fputc((x >> 16) % 500 == 0 ? 'N' : "ACGT"[x >> 30], f);
            if (k % 80 == 79)
                fputc('\n', f);
        }
        fputc('\n', f);
    }
    if (!f || fclose(f) != 0)
        abort();
    return path;
}

/* The bytes of the stream; *t's counts are set. */
static char *tokenize(struct dnas_tokenize *t, size_t *n)
{
    char *path = (char *)write_records();
    const struct dnas_seq_options so = {0};
    const struct dnas_writer_options wo = {0};
    struct dnas_err err = {""};
    struct dnas_header h;
    struct dnas_seq *s = dnas_seq_open(NULL, &path, 1, &so, &err);
    struct dnas_writer *w;

    dnas_tokenize_header(&h, dnas_tokenize_describe(t, 0, false));
    w = dnas_writer_new(dnas_out_open(file_path("t.dnas"), false, &err), &h, &wo, &err);
    CHECK_INT(dnas_tokenize_run(t, w, s, &err), 0);
    CHECK_INT(dnas_writer_finish(w, &err), 0);
    CHECK_STR(err.msg, "");
    dnas_seq_close(s);
    dnas_header_release(&h);
    return file_read("t.dnas", n);
}

static void test_threads(void)
{
    struct dnas_tokenizer *tokenizer = load();
    size_t n = 0;
    char *want;

    CHECK(tokenizer != NULL);
    if (!tokenizer)
        return;
    for (size_t window_bp = 0; window_bp < 2000; window_bp += 700) {
        struct dnas_tokenize t = {.tokenizer = tokenizer, .window_bp = window_bp, .n_threads = 1};

        want = tokenize(&t, &n);
        CHECK(t.n_unknown > 0 && t.n_cut == 0);
        for (int n_threads = 2; n_threads <= 16; n_threads *= 2) {
            struct dnas_tokenize again = {
                .tokenizer = tokenizer, .window_bp = window_bp, .n_threads = n_threads};
            size_t n_got = 0;
            char *got = tokenize(&again, &n_got);

            CHECK(n_got == n && memcmp(got, want, n) == 0);
            CHECK_INT(again.n_tokens, t.n_tokens);
            CHECK_INT(again.n_unknown, t.n_unknown);
            free(got);
        }
        free(want);
    }
    dnas_tokenizer_free(tokenizer);
}

/* Reads the stream back: windows in order, their letters those of the text. */
static void test_windows(void)
{
    struct dnas_tokenizer *tokenizer = load();
    struct dnas_tokenize t = {.window_bp = 100, .max_tokens = 20, .n_threads = 2};
    struct dnas_err err = {""};
    struct dnas_reader *r;
    struct dnas_block b;
    uint32_t part = 0, parts = 0;
    size_t bp = 0, n_rows = 0;
    int i = 0;

    if (!tokenizer)
        return;
    t.tokenizer = tokenizer;
    free(tokenize(&t, NULL));
    r = dnas_reader_open(file_path("t.dnas"), &err);
    CHECK(r && dnas_reader_expect(r, DNAS_TOKENS, &err) == 0);
    while (r && dnas_reader_next(r, &b, &err) == 1)
        for (uint32_t row = 0; row < b.n_rows; row++, n_rows++) {
            const uint32_t *part_of = b.cells[2].values, *parts_of = b.cells[3].values;
            const uint32_t *length = b.cells[4].values;
            size_t n;

            dnas_block_ragged(&b, 1, row, &n);
            CHECK(n >= 2 && n <= 20);
            CHECK_INT(part_of[row], part);
            CHECK(part == 0 || parts_of[row] == parts);
            parts = parts_of[row];
            CHECK(part + 1 == parts ? length[row] < 110 : length[row] == 100);
            bp += length[row];
            if (++part < parts)
                continue;
            CHECK_INT(bp, 1 + i * i * 40);
            bp = part = 0;
            i++;
        }
    CHECK_INT(i, N_RECORDS);
    CHECK(t.n_cut > 0 && t.n_cut <= n_rows);
    dnas_reader_close(r);
    dnas_tokenizer_free(tokenizer);
}

int main(void)
{
    RUN(test_min_window);
    RUN(test_threads);
    RUN(test_windows);
    return check_done();
}
