/* SPDX-License-Identifier: MIT
 *
 * test_pair_source.c - pairs by row number: from files as they are, and from
 * what has to be spooled.
 */
#include "tests/unit/check.h"

#include <fcntl.h>

#include "common/msg.h"
#include "common/pair_source.h"
#include "common/rng.h"
#include "common/xmem.h"
#include "tests/unit/files.h"

#define N_ROWS 1500
#define LONGEST 2400
#define END 2 /* the id that closes a member, as [SEP] does */

/* What row i holds, by itself: a member's tokens, split and label. */
struct want {
    uint16_t tokens[2][LONGEST];
    size_t n[2];
    uint8_t split;
    char label[16];
};

static void want_row(struct want *w, uint32_t i, bool with_end)
{
    struct dnas_rng rng;

    dnas_rng_init(&rng, 6, DNAS_RNG_TEST, 0, i);
    for (int member = 0; member < 2; member++) {
        w->n[member] = 1 + dnas_rng_below(&rng, i % 9 == 0 ? LONGEST : 60);
        if (i == 9 && member == 1)
            w->n[member] = LONGEST;
        for (size_t t = 0; t < w->n[member]; t++)
            w->tokens[member][t] = (uint16_t)(5 + dnas_rng_below(&rng, 4091));
        if (with_end)
            w->tokens[member][w->n[member] - 1] = END;
    }
    if (i == 700)
        w->tokens[1][0] = 60000;
    if (i == 700 && with_end)
        w->n[1] = 2, w->tokens[1][1] = END;
    w->split = i % 10 == 3;
    snprintf(w->label, sizeof(w->label), i % 7 == 6 ? "" : "species%u", (unsigned)(i % 5));
}

enum fault { NONE, NO_TOKENS, BAD_SPLIT, ALL_VALIDATION };

struct make {
    uint32_t first, n;
    uint32_t shard; /* of 2, or 0 */
    int zstd;
    bool with_end, without_label;
    enum fault fault;
};

static const struct make plain = {.n = N_ROWS, .with_end = true};

static void add_columns(struct dnas_header *h, bool without_label)
{
    dnas_header_init(h, DNAS_PAIRS);
    dnas_header_add_column(h, "id", DNAS_UTF8, true, 0);
    dnas_header_add_column(h, "extra", DNAS_F32, false, 3);
    dnas_header_add_column(h, "tokens_b", DNAS_U16, true, 0);
    dnas_header_add_column(h, "split", DNAS_U8, false, 0);
    dnas_header_add_column(h, "tokens_a", DNAS_U16, true, 0);
    if (!without_label)
        dnas_header_add_column(h, "label", DNAS_UTF8, true, 0);
    h->tokens = json_pack("{s:s}", "tokenizer", "test");
}

static const char *make(const char *name, struct make m)
{
    const char *path = file_path(name);
    struct dnas_header h;
    struct dnas_writer_options o = {.format = DNAS_FORMAT_STREAM, .zstd_level = m.zstd};
    struct dnas_err err = {""};
    struct dnas_writer *w;
    struct want *row = dnas_xalloc(1, sizeof(*row));
    static const float extra[3];

    add_columns(&h, m.without_label);
    h.shard = m.shard;
    h.n_shards = m.shard ? 2 : 0;
    w = dnas_writer_new(dnas_out_open(path, false, &err), &h, &o, &err);
    for (uint32_t i = m.first; i < m.first + m.n; i++) {
        char id[16];

        want_row(row, i, m.with_end);
        snprintf(id, sizeof(id), "pair%u", (unsigned)i);
        if (m.fault == ALL_VALIDATION)
            row->split = 1;
        if (i == 17 && m.fault == BAD_SPLIT)
            row->split = 2;
        if (i == 17 && m.fault == NO_TOKENS)
            row->n[1] = 0;
        dnas_writer_text(w, 0, id);
        dnas_writer_cell(w, 1, extra, 3);
        dnas_writer_cell(w, 2, row->tokens[1], row->n[1]);
        dnas_writer_cell(w, 3, &row->split, 1);
        dnas_writer_cell(w, 4, row->tokens[0], row->n[0]);
        if (!m.without_label)
            dnas_writer_text(w, 5, row->label);
        CHECK(dnas_writer_end_row(w, &err) == 0);
    }
    CHECK(dnas_writer_finish(w, &err) == 0);
    dnas_header_release(&h);
    free(row);
    return path;
}

/* file_path's result, for as long as the program runs. */
static const char *lasting_path(const char *name)
{
    static char text[8][1024];
    static int n;

    snprintf(text[n % 8], sizeof(text[0]), "%s", file_path(name));
    return text[n++ % 8];
}

static struct dnas_pair_source *open_with(struct dnas_pair_source_options o)
{
    struct dnas_err err = {""};
    struct dnas_pair_source *s;

    if (!o.spool)
        o.spool = file_path("spool.pairs");
    s = dnas_pair_source_open(&o, &err);
    if (!s) {
        printf("Bail out! %s\n", err.msg);
        exit(99);
    }
    return s;
}

static void expect_refused(struct dnas_pair_source_options o, const char *sentence)
{
    struct dnas_err err = {""};
    struct dnas_pair_source *s;

    if (!o.spool)
        o.spool = file_path("spool.pairs");
    s = dnas_pair_source_open(&o, &err);
    CHECK(!s);
    if (!strstr(err.msg, sentence))
        CHECK_FAIL("'%s' is not in '%s'", sentence, err.msg);
    dnas_pair_source_close(s);
}

/* Member `member` of row i, cut to max tokens (0: not), as the header says. */
static void check_member(const struct dnas_pair_source *s, const struct want *w, uint32_t i,
                         int member, size_t max, bool with_end)
{
    uint16_t tokens[LONGEST + 1];
    size_t n = 0, length = w->n[member], kept = max && length > max ? max : length;
    struct dnas_err err = {""};

    tokens[kept] = 12345;
    CHECK(dnas_pair_source_tokens(s, tokens, &n, i, member, &err) == 0);
    CHECK_INT(n, kept);
    CHECK_INT(tokens[kept], 12345);
    for (size_t t = 0; t < kept; t++)
        if (tokens[t] != (kept < length && t == kept - 1 && with_end ? END : w->tokens[member][t]))
            CHECK_FAIL("row %u, member %d: token %zu is %u", (unsigned)i, member, t,
                       (unsigned)tokens[t]);
}

static void check_rows(const struct dnas_pair_source *s, uint32_t n, size_t max, bool with_end)
{
    struct want *w = dnas_xalloc(1, sizeof(*w));

    for (uint32_t k = 0; k < n; k++) {
        uint32_t i = (uint32_t)((uint64_t)k * 1009 % n); /* to and fro */

        want_row(w, i, with_end);
        check_member(s, w, i, 1, max, with_end);
        check_member(s, w, i, 0, max, with_end);
    }
    free(w);
}

static void put_on_stdin(const char *path)
{
    int fd = open(path, O_RDONLY);

    if (fd < 0 || dup2(fd, STDIN_FILENO) < 0)
        abort();
    close(fd);
}

static void test_in_place(void)
{
    const char *path = make("plain.dnas", plain);
    struct dnas_pair_source *s;
    struct want *w = dnas_xalloc(1, sizeof(*w));
    size_t k = 0;

    unlink(file_path("spool.pairs"));
    s = open_with((struct dnas_pair_source_options){.path = path});
    CHECK_STR(dnas_pair_source_name(s), path);
    CHECK(access(file_path("spool.pairs"), F_OK) != 0);
    CHECK_INT(dnas_pair_source_n_train(s), N_ROWS - N_ROWS / 10);
    CHECK_INT(dnas_pair_source_n_validation(s), N_ROWS / 10);
    CHECK_INT(dnas_pair_source_max_length(s), LONGEST);
    CHECK_INT(dnas_pair_source_max_id(s), 60000);
    CHECK_STR(json_string_value(json_object_get(dnas_pair_source_header(s)->tokens, "tokenizer")),
              "test");
    for (uint32_t i = 0; i < N_ROWS; i++) {
        want_row(w, i, true);
        if (w->split == 1)
            CHECK_INT(dnas_pair_source_validation(s, k++), i);
    }
    CHECK_INT(k, dnas_pair_source_n_validation(s));
    check_rows(s, N_ROWS, 0, true);
    dnas_pair_source_close(s);
    free(w);
}

static void test_labels(void)
{
    struct dnas_pair_source *s =
        open_with((struct dnas_pair_source_options){.path = make("plain.dnas", plain)});
    struct want *a = dnas_xalloc(1, sizeof(*a)), *b = dnas_xalloc(1, sizeof(*b));

    CHECK_INT(dnas_pair_source_n_labels(s), 5);
    for (uint32_t i = 0; i < 80; i++)
        for (uint32_t j = 0; j < i; j++) {
            want_row(a, i, true);
            want_row(b, j, true);
            CHECK((dnas_pair_source_label(s, i) == dnas_pair_source_label(s, j)) ==
                  (*a->label && strcmp(a->label, b->label) == 0));
        }
    dnas_pair_source_close(s);
    s = open_with((struct dnas_pair_source_options){
        .path = make("bare.dnas", (struct make){.n = 40, .without_label = true})});
    CHECK_INT(dnas_pair_source_n_labels(s), 0);
    for (uint32_t i = 0; i < 40; i++)
        for (uint32_t j = 0; j < i; j++)
            CHECK(dnas_pair_source_label(s, i) != dnas_pair_source_label(s, j));
    dnas_pair_source_close(s);
    free(a);
    free(b);
}

static void test_cut(void)
{
    static const size_t limits[] = {2, 3, 59, 2000, LONGEST, 5000};

    for (int with_end = 0; with_end < 2; with_end++) {
        const char *path = make("cut.dnas", (struct make){.n = N_ROWS, .with_end = with_end});

        for (int k = 0; k < 6; k++) {
            struct dnas_pair_source *s =
                open_with((struct dnas_pair_source_options){.path = path, .max_tokens = limits[k]});

            CHECK_INT(dnas_pair_source_max_length(s), limits[k] < LONGEST ? limits[k] : LONGEST);
            check_rows(s, N_ROWS, limits[k], with_end);
            dnas_pair_source_close(s);
        }
    }
}

static bool same_files(const char *a, const char *b)
{
    size_t n = 0, m = 0;
    char *x = file_read(a, &n), *y = file_read(b, &m);
    bool same = x && y && n == m && memcmp(x, y, n) == 0;

    free(x);
    free(y);
    return same;
}

/* Standard input and zstd become the plain file, byte for byte. */
static void test_spool(void)
{
    const char *path = make("plain.dnas", plain);
    struct dnas_pair_source *s = open_with((struct dnas_pair_source_options){.path = path});
    uint64_t hash = dnas_pair_source_hash(s);
    struct make packed = plain;

    dnas_pair_source_close(s);
    packed.zstd = 3;
    for (int how = 0; how < 3; how++) {
        const char *from = how == 0 ? path : make("packed.dnas", packed);

        unlink(file_path("spool.pairs"));
        if (how != 2)
            put_on_stdin(from);
        s = open_with((struct dnas_pair_source_options){.path = how == 0   ? NULL
                                                                : how == 1 ? "-"
                                                                           : from});
        CHECK_STR(dnas_pair_source_name(s), file_path("spool.pairs"));
        CHECK(dnas_pair_source_hash(s) == hash);
        CHECK(same_files("spool.pairs", "plain.dnas"));
        CHECK(access(file_path("spool.pairs.part"), F_OK) != 0);
        check_rows(s, N_ROWS, 0, true);
        dnas_pair_source_close(s);
    }
}

static void test_resume_from_spool(void)
{
    struct dnas_pair_source_options o = {.resume = true, .spool = lasting_path("kept.pairs")};
    struct dnas_pair_source *s;

    unlink(o.spool);
    put_on_stdin("/dev/null");
    expect_refused(o, "kept.pairs: is not there: the run to be resumed kept its pairs in it, so "
                      "name the FILE that they came from or start anew");
    make("kept.pairs", plain);
    s = open_with(o);
    check_rows(s, 100, 0, true);
    dnas_pair_source_close(s);
    /* A file that is named is read, not the spool. */
    o.path = make("short.dnas", (struct make){.n = 3, .zstd = 1});
    s = open_with(o);
    CHECK_INT(dnas_pair_source_n_train(s), 3);
    dnas_pair_source_close(s);
}

static void test_concatenation(void)
{
    struct make a = plain, b = plain;
    size_t n, m;
    char *x, *y;
    struct dnas_pair_source *s;

    a.n = b.first = 613;
    a.shard = 1;
    b.shard = 2;
    b.n -= 613;
    make("a.dnas", a);
    make("b.dnas", b);
    x = file_read("a.dnas", &n);
    y = file_read("b.dnas", &m);
    x = dnas_xrealloc(x, n + m, 1);
    memcpy(x + n, y, m);
    s = open_with((struct dnas_pair_source_options){.path = file_write("both.dnas", x, n + m)});
    CHECK_INT(dnas_pair_source_n_train(s) + dnas_pair_source_n_validation(s), N_ROWS);
    check_rows(s, N_ROWS, 0, true);
    dnas_pair_source_close(s);
    /* Spooled, it is one stream, and no shard of anything. */
    put_on_stdin(file_path("both.dnas"));
    s = open_with((struct dnas_pair_source_options){.path = NULL});
    CHECK_INT(dnas_pair_source_header(s)->n_shards, 0);
    check_rows(s, N_ROWS, 0, true);
    dnas_pair_source_close(s);
    free(x);
    free(y);
}

static void test_hash_is_the_content(void)
{
    struct make m = plain;
    struct dnas_pair_source *s;
    uint64_t hash[3];

    for (int k = 0; k < 3; k++) {
        m.n = k == 2 ? N_ROWS - 1 : N_ROWS;
        m.without_label = k == 1;
        s = open_with((struct dnas_pair_source_options){.path = make("hash.dnas", m)});
        hash[k] = dnas_pair_source_hash(s);
        dnas_pair_source_close(s);
    }
    CHECK(hash[0] != hash[1] && hash[0] != hash[2] && hash[1] != hash[2]);
}

static void test_batches(void)
{
    struct dnas_pair_source *s =
        open_with((struct dnas_pair_source_options){.path = make("plain.dnas", plain)});
    size_t B = 48, n_batches = dnas_pair_source_n_batches(s, B);
    unsigned char seen[N_ROWS] = {0};
    uint32_t rows[48], again[48], sum = 0, last = 0, ascending = 0;

    CHECK_INT(n_batches, 1350 / 48);
    for (size_t batch = 0; batch < n_batches; batch++) {
        dnas_pair_source_batch(s, rows, B, 1, 0, batch);
        for (size_t k = 0; k < B; k++) {
            CHECK(rows[k] < N_ROWS && rows[k] % 10 != 3 && !seen[rows[k]]);
            seen[rows[k]] = 1;
            ascending += rows[k] > last;
            last = rows[k];
            sum++;
        }
    }
    CHECK_INT(sum, 28 * 48);
    CHECK(ascending > sum / 3 && ascending < 2 * sum / 3);
    dnas_pair_source_batch(s, rows, B, 1, 0, 5);
    dnas_pair_source_batch(s, again, B, 1, 0, 5);
    CHECK(memcmp(rows, again, sizeof(rows)) == 0);
    dnas_pair_source_batch(s, again, B, 1, 1, 5);
    CHECK(memcmp(rows, again, sizeof(rows)) != 0);
    dnas_pair_source_batch(s, again, B, 2, 0, 5);
    CHECK(memcmp(rows, again, sizeof(rows)) != 0);
    CHECK_INT(dnas_pair_source_n_batches(s, 1351), 0);
    dnas_pair_source_close(s);
}

static void test_refused_rows(void)
{
    struct make m = plain;
    struct dnas_pair_source_options o = {.path = lasting_path("bad.dnas")};

    m.fault = NO_TOKENS;
    make("bad.dnas", m);
    expect_refused(o, "bad.dnas: row 18 ('pair17') has no tokens_b");
    m.fault = BAD_SPLIT;
    make("bad.dnas", m);
    expect_refused(o, "bad.dnas: row 18 ('pair17') has a split that is neither 0 (train) nor 1");
    m.fault = ALL_VALIDATION;
    make("bad.dnas", m);
    expect_refused(o, "bad.dnas: has no rows to train on (split 0)");
    m = (struct make){.n = 0};
    make("bad.dnas", m);
    expect_refused(o, "bad.dnas: has no rows to train on (split 0)");
}

static const char *empty_stream(enum dnas_kind kind, const char *const *columns,
                                const enum dnas_type *types)
{
    const char *path = file_path("columns.dnas");
    const struct dnas_writer_options options = {.format = DNAS_FORMAT_STREAM};
    struct dnas_header h;
    struct dnas_err err = {""};

    dnas_header_init(&h, kind);
    dnas_header_add_column(&h, "id", DNAS_UTF8, true, 0);
    for (int i = 0; columns[i]; i++)
        dnas_header_add_column(&h, columns[i], types[i], types[i] == DNAS_U16, 0);
    CHECK(dnas_writer_finish(dnas_writer_new(dnas_out_open(path, false, &err), &h, &options, &err),
                             &err) == 0);
    dnas_header_release(&h);
    return path;
}

static void test_refused_columns(void)
{
    static const char *const letters[] = {"split", "seq_a", "seq_b", NULL};
    static const char *const one[] = {"split", "tokens_a", NULL};
    static const char *const label[] = {"split", "tokens_a", "tokens_b", "label", NULL};
    static const enum dnas_type texts[] = {DNAS_U8, DNAS_UTF8, DNAS_UTF8};
    static const enum dnas_type lists[] = {DNAS_U8, DNAS_U16, DNAS_U16, DNAS_I32};
    static const enum dnas_type numbers[] = {DNAS_U8, DNAS_U32};
    struct dnas_pair_source_options o = {.path = lasting_path("columns.dnas")};

    empty_stream(DNAS_PAIRS, letters, texts);
    expect_refused(o,
                   "columns.dnas: holds pairs of letters, not of tokens: run dnas-tokenize first");
    empty_stream(DNAS_PAIRS, one, lists);
    expect_refused(o, "columns.dnas: has no column 'tokens_b' as PAIRS have it");
    empty_stream(DNAS_PAIRS, one, numbers);
    expect_refused(o, "columns.dnas: has no column 'tokens_a' as PAIRS have it");
    empty_stream(DNAS_PAIRS, label, lists);
    expect_refused(o, "columns.dnas: has a column 'label' that is not utf8");
    empty_stream(DNAS_TOKENS, one, lists);
    expect_refused(o, "columns.dnas: holds TOKENS where PAIRS are needed");
    /* Letters on standard input are refused before anything is written. */
    unlink(file_path("spool.pairs"));
    put_on_stdin(empty_stream(DNAS_PAIRS, letters, texts));
    o.path = NULL;
    expect_refused(o, "standard input: holds pairs of letters");
    CHECK(access(file_path("spool.pairs"), F_OK) != 0);
    o.path = file_text("text.fa", ">a\nACGT\n");
    expect_refused(o, "text.fa: is not a dnas stream");
    o.path = file_path("nowhere.dnas");
    expect_refused(o, "nowhere.dnas: cannot be opened");
}

/* A bit of any block, the last bytes, and a pipe that ended early. */
static void test_damage(void)
{
    size_t n;
    char *x;
    struct dnas_pair_source_options o = {.path = lasting_path("damaged.dnas")};

    make("plain.dnas", plain);
    x = file_read("plain.dnas", &n);
    for (size_t at = 300; at < n; at += n / 5) {
        x[at] ^= 4;
        file_write("damaged.dnas", x, n);
        expect_refused(o, "damaged");
        x[at] ^= 4;
    }
    file_write("damaged.dnas", x, n - 1);
    expect_refused(o, "is truncated after row 1500");
    unlink(file_path("spool.pairs"));
    put_on_stdin(file_write("damaged.dnas", x, n / 2));
    o.path = NULL;
    expect_refused(o, "standard input: is truncated after row");
    CHECK(access(file_path("spool.pairs"), F_OK) != 0);
    CHECK(access(file_path("spool.pairs.part"), F_OK) != 0);
    free(x);
}

/* Fills the file with u64 numbers k step: offsets of lists of that length. */
static void overwrite(const char *name, char *x, size_t n, uint64_t step)
{
    for (size_t i = 0; i + 8 <= n; i += 8) {
        uint64_t offset = i / 8 * step;

        memcpy(x + i, &offset, 8);
    }
    file_write(name, x, n);
}

/* A file that somebody writes to while it is read. */
static void test_changed_meanwhile(void)
{
    struct dnas_pair_source *s =
        open_with((struct dnas_pair_source_options){.path = make("plain.dnas", plain)});
    size_t n, length;
    char *x = file_read("plain.dnas", &n);
    uint16_t tokens[LONGEST];
    struct dnas_err err = {""};

    for (size_t i = 0; i + 2 <= n; i += 2)
        if (memcmp(x + i, "\x60\xea", 2) == 0) /* 60000, the largest id */
            x[i]++;
    file_write("plain.dnas", x, n);
    CHECK(dnas_pair_source_tokens(s, tokens, &length, 700, 1, &err) == -1);
    CHECK(strstr(err.msg, "plain.dnas: has changed since it was opened"));
    overwrite("plain.dnas", x, n, 0);
    CHECK(dnas_pair_source_tokens(s, tokens, &length, 5, 0, &err) == -1);
    CHECK(strstr(err.msg, "plain.dnas: has changed since it was opened"));
    overwrite("plain.dnas", x, n, LONGEST + 1);
    CHECK(dnas_pair_source_tokens(s, tokens, &length, 5, 0, &err) == -1);
    CHECK(strstr(err.msg, "plain.dnas: has changed since it was opened"));
    overwrite("plain.dnas", x, n, UINT64_MAX); /* backwards */
    CHECK(dnas_pair_source_tokens(s, tokens, &length, 5, 0, &err) == -1);
    CHECK(strstr(err.msg, "plain.dnas: has changed since it was opened"));
    file_write("plain.dnas", x, 1000);
    CHECK(dnas_pair_source_tokens(s, tokens, &length, 1400, 1, &err) == -1);
    CHECK(strstr(err.msg, "plain.dnas: has been cut since it was opened"));
    dnas_pair_source_close(s);
    free(x);
}

int main(void)
{
    dnas_msg_set_level(DNAS_MSG_QUIET);
    RUN(test_in_place);
    RUN(test_labels);
    RUN(test_cut);
    RUN(test_spool);
    RUN(test_resume_from_spool);
    RUN(test_concatenation);
    RUN(test_hash_is_the_content);
    RUN(test_batches);
    RUN(test_refused_rows);
    RUN(test_refused_columns);
    RUN(test_damage);
    RUN(test_changed_meanwhile);
    return check_done();
}
