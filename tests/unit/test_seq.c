/* SPDX-License-Identifier: MIT
 *
 * test_seq.c - records in pieces of any size, and batches of pieces.  What is
 * refused and how it is said is tested through dnas-embed (tests/cli).
 */
#include "common/seq.h"

#include "tests/unit/check.h"
#include "tests/unit/files.h"

enum { N_RECORDS = 300, MAX_BP = 3000 };

/* The truth: records of 1 to MAX_BP letters, a few of them odd. */
static struct record {
    char id[16];
    size_t n;
    char letters[MAX_BP];
} records[N_RECORDS];

static unsigned draw(unsigned n)
{
    static unsigned x = 1;

    x = x * 1103515245 + 12345;
    return (x >> 8) % n;
}

static void make_records(void)
{
    if (records[0].n > 0)
        return;
    for (int i = 0; i < N_RECORDS; i++) {
        struct record *r = &records[i];

        snprintf(r->id, sizeof(r->id), "r%d", i);
        r->n = i % 10 == 0 ? 1 + draw(5) : 1 + draw(MAX_BP);
        for (size_t k = 0; k < r->n; k++)
            r->letters[k] = draw(200) == 0 ? 'N' : "ACGT"[draw(4)];
    }
}

enum kind { FASTA, FASTA_DOS, FASTA_ONE_LINE, FASTQ, FASTQ_LINES, N_KINDS };

static void write_letters(FILE *f, const char *letters, size_t n, size_t width, const char *end)
{
    for (size_t k = 0; k < n; k += width)
        fprintf(f, "%.*s%s", (int)(n - k < width ? n - k : width), letters + k, end);
}

/* Writes records from..to-1. */
static const char *write_kind(const char *name, enum kind kind, int from, int to)
{
    const char *path = file_path(name), *end = kind == FASTA_DOS ? "\r\n" : "\n";
    bool lines = kind != FASTA_ONE_LINE && kind != FASTQ;
    FILE *f = fopen(path, "wb");
    static char quality[MAX_BP];

    make_records();
    for (size_t k = 0; k < MAX_BP; k++)
        quality[k] = "@+>IJ!"[k % 6]; /* characters that also begin lines */
    for (int i = from; f && i < to; i++) {
        const struct record *r = &records[i];
        size_t width = lines ? 60 : MAX_BP;

        fprintf(f, "%c%s label=l%d rest%s", kind < FASTQ ? '>' : '@', r->id, i % 3, end);
        write_letters(f, r->letters, r->n, width, end);
        if (kind >= FASTQ) {
            fprintf(f, "+%s%s", i % 2 ? r->id : "", end);
            write_letters(f, quality, r->n, width, end);
        }
    }
    if (!f || fclose(f) != 0)
        abort();
    return path;
}

static struct dnas_seq *open_files(char *const *paths, int n, const struct dnas_seq_options *o)
{
    struct dnas_err err = {""};
    struct dnas_seq *s = dnas_seq_open(NULL, paths, n, o, &err);

    if (!s) {
        printf("# %s\n", err.msg);
        abort();
    }
    return s;
}

/* Reads record i in pieces of cap letters; all must come once, in order. */
static void expect_record(struct dnas_seq *s, int i, size_t cap, size_t limit)
{
    const struct record *r = &records[i];
    static char buf[MAX_BP + 10];
    struct dnas_err err = {""};
    size_t n = 0, want = limit && r->n > limit ? limit : r->n;
    char label[8];
    ptrdiff_t got;

    CHECK_INT(dnas_seq_next(s, &err), 1);
    CHECK_STR(dnas_seq_id(s), r->id);
    do {
        got = dnas_seq_read(s, buf + n, cap < sizeof(buf) - n ? cap : sizeof(buf) - n, &err);
        n += got > 0 ? (size_t)got : 0;
    } while (got == (ptrdiff_t)cap);
    CHECK(got >= 0);
    CHECK_INT(n, want);
    CHECK(memcmp(buf, r->letters, want) == 0);
    CHECK_INT(dnas_seq_read(s, buf, 10, &err), 0);
    snprintf(label, sizeof(label), "l%d", i % 3);
    CHECK_STR(dnas_seq_label(s), label);
    CHECK_INT(dnas_seq_pair_member(s), -1);
}

static void test_pieces(void)
{
    static const size_t caps[] = {1, 2, 3, 59, 60, 61, 1000, 65536};
    static const size_t limits[] = {0, 1, 60, 500};
    const struct dnas_seq_options plain = {0};

    for (int kind = 0; kind < N_KINDS; kind++) {
        char *path = (char *)write_kind("p", (enum kind)kind, 0, N_RECORDS);

        for (size_t c = 0; c < sizeof(caps) / sizeof(caps[0]); c++)
            for (size_t l = 0; l < sizeof(limits) / sizeof(limits[0]); l++) {
                struct dnas_seq_options o = plain;
                struct dnas_seq *s;
                struct dnas_err err = {""};
                uint64_t n_other = 0, done, total;

                o.truncate_bp = limits[l];
                s = open_files(&path, 1, &o);
                for (int i = 0; i < N_RECORDS; i++) {
                    size_t n = limits[l] && records[i].n > limits[l] ? limits[l] : records[i].n;

                    expect_record(s, i, caps[c], limits[l]);
                    for (size_t k = 0; k < n; k++)
                        n_other += records[i].letters[k] == 'N';
                }
                CHECK_INT(dnas_seq_next(s, &err), 0);
                CHECK_INT(dnas_seq_next(s, &err), 0);
                CHECK_INT(dnas_seq_n_records(s), N_RECORDS);
                CHECK_INT(dnas_seq_n_other(s), n_other);
                dnas_seq_progress(s, &done, &total);
                CHECK_INT(done, total);
                dnas_seq_close(s);
            }
    }
}

/* Records may be left before their end; what is skipped is not counted. */
static void test_skipping(void)
{
    char *path = (char *)write_kind("s", FASTA, 0, N_RECORDS), buf[10];
    const struct dnas_seq_options o = {0};
    struct dnas_seq *s = open_files(&path, 1, &o);
    struct dnas_err err = {""};
    uint64_t n_other = 0;

    for (int i = 0; i < N_RECORDS; i++) {
        CHECK_INT(dnas_seq_next(s, &err), 1);
        CHECK_STR(dnas_seq_id(s), records[i].id);
        if (i % 2) {
            size_t n = records[i].n < 7 ? records[i].n : 7;

            CHECK_INT(dnas_seq_read(s, buf, 7, &err), n);
            CHECK(memcmp(buf, records[i].letters, n) == 0);
            for (size_t k = 0; k < n; k++)
                n_other += buf[k] == 'N';
        }
    }
    CHECK_INT(dnas_seq_next(s, &err), 0);
    CHECK_INT(dnas_seq_n_other(s), n_other);
    dnas_seq_close(s);
}

static void test_files(void)
{
    char paths[3][1024];
    char *list[] = {paths[0], paths[1], paths[2]};
    const struct dnas_seq_options o = {0};
    struct dnas_seq *s;
    struct dnas_err err = {""};

    snprintf(paths[0], sizeof(paths[0]), "%s", write_kind("f0", FASTQ, 0, 100));
    snprintf(paths[1], sizeof(paths[1]), "%s", file_text("f1", ""));
    snprintf(paths[2], sizeof(paths[2]), "%s", write_kind("f2", FASTA_DOS, 100, 200));
    s = open_files(list, 3, &o);
    for (int i = 0; i < 200; i++)
        expect_record(s, i, 50, 0);
    CHECK_INT(dnas_seq_next(s, &err), 0);
    dnas_seq_close(s);
    dnas_seq_close(NULL);
    { /* the first one open already, and peeked at */
        struct dnas_in *first = dnas_in_open(paths[0], &err);
        char peek[8];

        CHECK_INT(dnas_in_peek(first, peek, 8, &err), 8);
        s = dnas_seq_open(first, list, 3, &o, &err);
        CHECK(s != NULL);
        for (int i = 0; s && i < 200; i++)
            expect_record(s, i, 50, 0);
        dnas_seq_close(s);
    }
}

static void test_case(void)
{
    char *path = (char *)file_text("c", ">a\nacgtuACGTUnryswX-*.\n");
    struct dnas_seq_options o = {0};
    struct dnas_err err = {""};
    char buf[64];

    for (int keep = 0; keep < 2; keep++) {
        struct dnas_seq *s;
        ptrdiff_t n;

        o.keep_case = keep;
        s = open_files(&path, 1, &o);
        CHECK_INT(dnas_seq_next(s, &err), 1);
        n = dnas_seq_read(s, buf, sizeof(buf), &err);
        buf[n > 0 ? n : 0] = '\0';
        CHECK_STR(buf, keep ? "acgtuACGTUnryswX-*." : "ACGTTACGTTNRYSWX-*.");
        CHECK_INT(dnas_seq_n_other(s), keep ? 15 : 9);
        dnas_seq_close(s);
    }
}

/* What is said of a broken record, after all records before it. */
static void expect_error(const char *text, size_t n, int n_good, const char *msg)
{
    char *path = (char *)file_write("bad", text, n);
    const struct dnas_seq_options o = {0};
    struct dnas_err err = {""};
    struct dnas_seq *s = dnas_seq_open(NULL, &path, 1, &o, &err);
    int n_seen = 0, status = s ? 1 : -1;
    char buf[5], want[1200];

    while (status == 1 && (status = dnas_seq_next(s, &err)) == 1) {
        ptrdiff_t got;

        do
            got = dnas_seq_read(s, buf, sizeof(buf), &err);
        while (got == sizeof(buf));
        if (got < 0)
            status = -1;
        else
            n_seen++;
    }
    snprintf(want, sizeof(want), "%s: %s", path, msg);
    CHECK_INT(status, -1);
    CHECK_INT(n_seen, n_good);
    CHECK_STR(err.msg, want);
    dnas_seq_close(s);
}

static void test_errors(void)
{
    static const struct {
        const char *text;
        int n_good;
        const char *msg;
    } cases[] = {
        {">a\nAC\n>b\n", 1, "record 2 ('b') is empty"},
        {">a\nAC\n>\nAC\n", 1, "record 2 has no name"},
        {">a\nACGTAC%\n", 0, "record 1 ('a') has the character '%' in its sequence"},
        {"@a\nACGTACGT\n+\nIIIIIII\n", 0, "record 1 ('a') has 7 quality characters for 8 letters"},
        {"@a\nACGTACGT\n+\nIIIIIIII\n@b\nAC\n", 1, "record 2 ('b') is cut off: it has no quality"},
        {"sequence\tlabel\nACGT\tx\nAC", 1, "record 2 ('2') has no second column"},
        {"\n\n", 0, "is not empty, yet has no record"},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        expect_error(cases[i].text, strlen(cases[i].text), cases[i].n_good, cases[i].msg);
    expect_error(">a\nAC\0GT\n", 9, 0, "record 1 ('a') has the byte 0x00 in its sequence");
}

/* An error in the last byte of a quality, at each place that a buffer may end. */
static void test_quality_at_buffer_ends(void)
{
    enum { BUFFER = 1 << 20 };
    static char text[2 * BUFFER + 100];

    for (int shift = -4; shift <= 4; shift++)
        for (int extra = -1; extra <= 1; extra++)
            for (int dos = 0; dos < 2; dos++) {
                /* "@a\n" letters "\n+\n" quality: the quality ends at 1 MiB + shift */
                size_t letters = (BUFFER - 6) / 2, at = 0, n;
                char *path;
                const struct dnas_seq_options o = {0};
                struct dnas_seq *s;
                struct dnas_err err = {""};
                int status;

                letters += (size_t)(shift + 4) / 2 - 2;
                at += (size_t)snprintf(text, 16, "@a%s\n", shift % 2 ? "x" : "");
                memset(text + at, 'A', letters);
                at += letters;
                at += (size_t)snprintf(text + at, 16, "\n+\n");
                memset(text + at, 'I', letters + (size_t)extra + 1);
                at += letters + (size_t)extra;
                at += (size_t)snprintf(text + at, 32, "%s@b\nAC\n+\nII\n", dos ? "\r\n" : "\n");
                n = at;
                path = (char *)file_write("q", text, n);
                s = open_files(&path, 1, &o);
                status = dnas_seq_next(s, &err);
                CHECK_INT(status, 1);
                status = dnas_seq_next(s, &err);
                CHECK_INT(status, extra == 0 ? 1 : -1);
                if (extra == 0)
                    CHECK_STR(dnas_seq_id(s), "b");
                else
                    CHECK(strstr(err.msg, " quality characters for ") != NULL);
                dnas_seq_close(s);
            }
}

/* ---- batches ---- */

/* Puts the pieces of all batches together again. */
static void expect_batches(const struct dnas_batch_options *o, uint64_t truncate_bp)
{
    char *path = (char *)write_kind("b", FASTA, 0, N_RECORDS);
    struct dnas_seq_options so = {.truncate_bp = truncate_bp};
    struct dnas_seq *s = open_files(&path, 1, &so);
    struct dnas_batch b = {0};
    struct dnas_err err = {""};
    int i = 0, status;
    uint32_t part = 0;
    size_t at = 0, n_before = 0; /* of the record's letters; of the piece before */

    while ((status = dnas_batch_fill(&b, s, o, &err)) == 1) {
        CHECK(b.n_pieces > 0);
        for (size_t k = 0; k < b.n_pieces; k++) {
            const struct dnas_piece *p = &b.pieces[k];
            const struct record *r = &records[i];
            size_t n = truncate_bp && r->n > truncate_bp ? truncate_bp : r->n;
            size_t again = p->n - p->n_new;
            char label[8];

            snprintf(label, sizeof(label), "l%d", i % 3);
            CHECK_INT(p->record, i);
            CHECK_INT(p->part, part);
            CHECK_INT(p->pair_member, -1);
            CHECK_STR(b.text + p->id, r->id);
            CHECK(p->n_new <= p->n && p->letters + p->n <= b.n_letters);
            CHECK(at + p->n_new <= n && again <= at);
            if (at + p->n_new > n || again > at)
                goto out;
            CHECK(memcmp(b.letters + p->letters, r->letters + at - again, p->n) == 0);
            if (o->whole)
                CHECK(p->is_last && again == 0);
            else if (o->window_bp) {
                CHECK_INT(again, 0);
                if (!p->is_last)
                    CHECK_INT(p->n, o->window_bp);
                else
                    CHECK(p->n < o->window_bp + o->min_window_bp &&
                          (p->part == 0 || p->n >= o->min_window_bp));
            } else {
                CHECK_INT(again, part == 0 ? 0 : n_before < o->overlap ? n_before : o->overlap);
            }
            at += p->n_new;
            n_before = p->n;
            part++;
            CHECK_INT(p->is_last, at == n || !p->is_last ? p->is_last : 2);
            if (p->is_last) {
                CHECK_INT(at, n);
                CHECK_STR(b.text + p->label, label);
                at = 0;
                part = 0;
                i++;
            }
        }
    }
    CHECK_INT(status, 0);
    CHECK_INT(i, N_RECORDS);
    CHECK_INT(dnas_batch_fill(&b, s, o, &err), 0);
out:
    dnas_batch_release(&b);
    dnas_seq_close(s);
}

static void test_whole_records(void)
{
    for (size_t letters = 1; letters < 10000000; letters *= 10)
        expect_batches(&(struct dnas_batch_options){.letters = letters, .whole = true}, 0);
    expect_batches(&(struct dnas_batch_options){.letters = 5000, .whole = true}, 100);
}

static void test_windows(void)
{
    static const size_t windows[][2] = {{1, 1},    {2, 1},     {10, 1},     {10, 3},  {100, 10},
                                        {100, 99}, {100, 100}, {1000, 100}, {5000, 1}};

    for (size_t w = 0; w < sizeof(windows) / sizeof(windows[0]); w++)
        for (size_t letters = 1; letters < 1000000; letters *= 30)
            for (uint64_t truncate_bp = 0; truncate_bp < 500; truncate_bp += 250)
                expect_batches(&(struct dnas_batch_options){.letters = letters,
                                                            .window_bp = windows[w][0],
                                                            .min_window_bp = windows[w][1]},
                               truncate_bp);
}

/* Pieces of any number repeat the last letters of the piece before: every
 * 4-mer is seen once.  The records here are longer than the least read. */
static void test_overlaps(void)
{
    enum { LONG_BP = 400000 };
    static char text[LONG_BP + 100];
    static unsigned char seen[LONG_BP];
    size_t at = (size_t)snprintf(text, sizeof(text), ">long\n");

    for (size_t k = 0; k < LONG_BP; k++)
        text[at + k] = "ACGT"[draw(4)];
    snprintf(text + at + LONG_BP, sizeof(text) - at - LONG_BP, "\n>b\nACGT\n");
    for (size_t letters = 1; letters < 1000000; letters *= 17) {
        char *path = (char *)file_text("o", text);
        const struct dnas_seq_options so = {0};
        const struct dnas_batch_options o = {.letters = letters, .overlap = 3};
        struct dnas_seq *s = open_files(&path, 1, &so);
        struct dnas_batch b = {0};
        struct dnas_err err = {""};
        size_t done = 0, n_new = 0, n_twice = 0, n_last = 0;

        memset(seen, 0, sizeof(seen));
        while (dnas_batch_fill(&b, s, &o, &err) == 1)
            for (size_t k = 0; k < b.n_pieces; k++) {
                const struct dnas_piece *p = &b.pieces[k];
                size_t start = done - (p->n - p->n_new);

                n_last += p->is_last;
                if (p->record == 1) {
                    CHECK(memcmp(b.letters + p->letters, "ACGT", p->n) == 0);
                    continue;
                }
                CHECK(memcmp(b.letters + p->letters, text + at + start, p->n) == 0);
                for (size_t c = 0; c + 3 < p->n; c++)
                    n_twice += seen[start + c]++ > 0;
                done += p->n_new;
                n_new += p->n_new;
            }
        CHECK_INT(n_new, LONG_BP);
        CHECK_INT(n_twice, 0);
        CHECK_INT(n_last, 2);
        for (size_t c = 0; c + 3 < LONG_BP; c++)
            if (!seen[c]) {
                CHECK_FAIL("the 4-mer at %zu was not seen, batches of %zu", c, letters);
                break;
            }
        dnas_batch_release(&b);
        dnas_seq_close(s);
    }
}

static void test_shards(void)
{
    char *path = (char *)write_kind("sh", FASTA, 0, N_RECORDS);

    for (uint32_t n = 1; n < 500; n = n * 3 + 1) {
        int i = 0;

        for (uint32_t shard = 1; shard <= n; shard++) {
            const struct dnas_seq_options o = {.shard = shard, .n_shards = n};
            struct dnas_seq *s = open_files(&path, 1, &o);
            struct dnas_err err = {""};
            int status;

            while ((status = dnas_seq_next(s, &err)) == 1)
                CHECK_STR(dnas_seq_id(s), i < N_RECORDS ? records[i++].id : "none");
            CHECK_INT(status, 0);
            dnas_seq_close(s);
        }
        CHECK_INT(i, N_RECORDS);
    }
}

static void test_csv(void)
{
    char *path = (char *)file_text("p.csv", "ACGT,GGA\r\nT,C\nA,AA");
    static const char *const want[] = {"ACGT", "GGA", "T", "C", "A", "AA"};
    const struct dnas_seq_options o = {0};
    struct dnas_seq *s = open_files(&path, 1, &o);
    struct dnas_err err = {""};

    for (int i = 0; i < 6; i++) {
        char buf[16], id[4];
        ptrdiff_t n = 0, got;

        CHECK_INT(dnas_seq_next(s, &err), 1);
        CHECK(dnas_seq_is_csv(s));
        CHECK_INT(dnas_seq_pair_member(s), i % 2);
        snprintf(id, sizeof(id), "%d", i / 2 + 1);
        CHECK_STR(dnas_seq_id(s), id);
        while ((got = dnas_seq_read(s, buf + n, 1, &err)) == 1)
            n++;
        CHECK_INT(got, 0);
        buf[n] = '\0';
        CHECK_STR(buf, want[i]);
    }
    CHECK_INT(dnas_seq_next(s, &err), 0);
    dnas_seq_close(s);
}

int main(void)
{
    RUN(test_pieces);
    RUN(test_skipping);
    RUN(test_files);
    RUN(test_case);
    RUN(test_errors);
    RUN(test_quality_at_buffer_ends);
    RUN(test_whole_records);
    RUN(test_windows);
    RUN(test_overlaps);
    RUN(test_shards);
    RUN(test_csv);
    return check_done();
}
