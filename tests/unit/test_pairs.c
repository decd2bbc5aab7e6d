/* SPDX-License-Identifier: MIT
 *
 * test_pairs.c - rows of PAIRS and of benchmarks: whose they are, how many, and
 * that they hold the letters which their names say.
 */
#include "common/benchmark.h"
#include "common/pairs.h"

#include "common/seq.h"
#include "tests/unit/check.h"
#include "tests/unit/genomes_made.h"

enum { N_SPECIES = 7, MAX_PAIRS = 4000 };

/* Sequence s0 of each file; one file has an s1 too, and one is too short. */
static const uint32_t sizes[N_SPECIES][3] = {{8000, 0},  {1000, 0}, {4000, 600, 0}, {199, 0},
                                             {16000, 0}, {250, 0},  {200, 0}};

struct collection {
    char *paths[N_SPECIES];
    struct dnas_genomes g;
};

static void collect(struct collection *c, bool backwards)
{
    struct dnas_err err = {""};

    for (int i = 0; i < N_SPECIES; i++) {
        int at = backwards ? N_SPECIES - 1 - i : i;
        char name[16];

        snprintf(name, sizeof(name), "sp%d.fa", i);
        c->paths[at] = strdup(made_file(name, sizes[i]));
    }
    CHECK_INT(made_index(&c->g, c->paths, N_SPECIES, 100, &err), 0);
}

static void release(struct collection *c)
{
    dnas_genomes_release(&c->g);
    for (int i = 0; i < N_SPECIES; i++)
        free(c->paths[i]);
}

static struct dnas_pairs defaults(void)
{
    return (struct dnas_pairs){
        .n_pairs = 1000, .length = {100, 100}, .both_strands = true, .seed = 1, .n_threads = 2};
}

/* Runs it into the file; what went wrong, or "". */
static const char *run(struct dnas_pairs *p, const struct collection *c, const char *file)
{
    const struct dnas_writer_options o = {0};
    static struct dnas_err err;
    struct dnas_header h;
    struct dnas_writer *w;

    err.msg[0] = '\0';
    free(p->skipped.v);
    p->skipped = (struct dnas_species_list){0};
    p->n_validation = 0;
    dnas_pairs_header(&h);
    w = dnas_writer_new(dnas_out_open(file_path(file), false, &err), &h, &o, &err);
    if (dnas_pairs_run(p, &c->g, w, &err) == 0)
        dnas_writer_finish(w, &err);
    else
        dnas_writer_abandon(w, false);
    dnas_header_release(&h);
    return err.msg;
}

/* A row, read back. */
struct row {
    char *id, *seq[2], *label;
    int split;
    struct place {
        char name[16];
        unsigned start, end; /* from 1 on, both included */
        char strand;
    } place[2];
};

static char *cell(const struct dnas_block *b, int column, uint32_t row)
{
    size_t n;
    const char *s = dnas_block_ragged(b, column, row, &n);

    return strndup(s, n);
}

static size_t read_rows(struct row *rows, const char *file)
{
    struct dnas_err err = {""};
    struct dnas_reader *r = dnas_reader_open(file_path(file), &err);
    struct dnas_block b;
    size_t n = 0;

    CHECK(r && dnas_reader_expect(r, DNAS_PAIRS, &err) == 0);
    while (r && dnas_reader_next(r, &b, &err) == 1)
        for (uint32_t i = 0; i < b.n_rows && n < MAX_PAIRS; i++, n++) {
            struct place *p = rows[n].place;
            unsigned number = 0;

            rows[n].id = cell(&b, 0, i);
            rows[n].seq[0] = cell(&b, 1, i);
            rows[n].seq[1] = cell(&b, 2, i);
            rows[n].split = ((const uint8_t *)b.cells[3].values)[i];
            rows[n].label = cell(&b, 4, i);
            CHECK_INT(sscanf(rows[n].id, "%u/%15[^:]:%u-%u%c/%15[^:]:%u-%u%c", &number, p[0].name,
                             &p[0].start, &p[0].end, &p[0].strand, p[1].name, &p[1].start,
                             &p[1].end, &p[1].strand),
                      9);
            CHECK_INT(number, n + 1);
        }
    CHECK_STR(err.msg, "");
    dnas_reader_close(r);
    return n;
}

static void free_rows(struct row *rows, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        free(rows[i].id);
        free(rows[i].seq[0]);
        free(rows[i].seq[1]);
        free(rows[i].label);
    }
}

/* Whether the text is what the place of the sequence holds. */
static bool holds(const struct place *p, const char *text)
{
    uint32_t number = p->name[1] - (uint32_t)'0'; /* s0 of all files have the same letters */
    size_t n = p->end - p->start + 1;
    char *letters = made_letters(p->end, number);
    bool same;

    dnas_window_orient(letters + p->start - 1, n, p->strand);
    same = strlen(text) == n && memcmp(letters + p->start - 1, text, n) == 0;
    free(letters);
    return same;
}

static int species_of(const char *label)
{
    return strncmp(label, "sp", 2) == 0 ? label[2] - '0' : 0;
}

static struct row rows[MAX_PAIRS];

static void test_rows(void)
{
    struct collection c;
    struct dnas_pairs p = defaults();
    int strands[2][2] = {{0}}, n_s1 = 0;
    size_t n;

    collect(&c, false);
    CHECK_STR(run(&p, &c, "rows.dnas"), "");
    n = read_rows(rows, "rows.dnas");
    CHECK_INT(n, 1000);
    for (size_t i = 0; i < n; i++) {
        const struct place *a = &rows[i].place[0], *b = &rows[i].place[1];

        CHECK(holds(a, rows[i].seq[0]) && holds(b, rows[i].seq[1]));
        CHECK_INT(a->end - a->start, 99);
        CHECK_INT(b->end - b->start, 99);
        CHECK(strcmp(a->name, b->name) != 0 || a->end < b->start || b->end < a->start);
        CHECK(a->start >= 1 && a->end <= sizes[species_of(rows[i].label)][a->name[1] - '0']);
        CHECK_INT(rows[i].split, 0);
        strands[a->strand == '-'][b->strand == '-']++;
        CHECK(strchr("+-", a->strand) && strchr("+-", b->strand));
        n_s1 += a->name[1] == '1';
    }
    for (int i = 0; i < 4; i++)
        CHECK_NEAR(strands[i / 2][i % 2], 250, 5 * sqrt(250));
    CHECK(n_s1 > 0);
    /* sp3 has one window only. */
    CHECK_INT(p.skipped.n, 1);
    CHECK_STR(dnas_genomes_species_name(&c.g, p.skipped.v[0]), "sp3");
    free_rows(rows, n);
    free(p.skipped.v);
    release(&c);
}

/* How often each species comes. */
static void count_species(int count[N_SPECIES], size_t n, int split)
{
    memset(count, 0, N_SPECIES * sizeof(*count));
    for (size_t i = 0; i < n; i++)
        count[species_of(rows[i].label)] += split < 0 || rows[i].split == split;
}

static void test_balance(void)
{
    struct collection c;
    struct dnas_pairs p = defaults();
    double letters[N_SPECIES] = {0}, sum = 0;
    int count[N_SPECIES];
    size_t n;

    collect(&c, false);
    for (uint64_t n_pairs = 1000; n_pairs <= 1004; n_pairs += 2) {
        p.n_pairs = n_pairs;
        CHECK_STR(run(&p, &c, "balance.dnas"), "");
        n = read_rows(rows, "balance.dnas");
        CHECK_INT(n, n_pairs);
        count_species(count, n, -1);
        for (int i = 0; i < N_SPECIES; i++) /* equal, but for one */
            CHECK(i == 3 ? count[i] == 0
                         : count[i] == (int)n_pairs / 6 || count[i] == (int)n_pairs / 6 + 1);
        /* Each round has its own order. */
        CHECK(strcmp(rows[0].label, rows[6].label) != 0 ||
              strcmp(rows[1].label, rows[7].label) != 0 ||
              strcmp(rows[2].label, rows[8].label) != 0);
        free_rows(rows, n);
    }
    p.balance = DNAS_BALANCE_SIZE;
    p.n_pairs = MAX_PAIRS;
    CHECK_STR(run(&p, &c, "size.dnas"), "");
    n = read_rows(rows, "size.dnas");
    count_species(count, n, -1);
    free_rows(rows, n);
    for (int i = 0; i < N_SPECIES; i++) {
        for (int k = 0; i != 3 && sizes[i][k]; k++)
            letters[i] += sizes[i][k];
        sum += letters[i];
    }
    for (int i = 0; i < N_SPECIES; i++) {
        double share = letters[i] / sum;

        CHECK_NEAR(count[i], MAX_PAIRS * share, 5 * sqrt(MAX_PAIRS * share * (1 - share)));
    }
    free(p.skipped.v);
    release(&c);
}

/* By size to the letter: of species of 2 and 4 letters one has a third. */
static void test_balance_of_few_letters(void)
{
    struct collection c = {{NULL}, {0}};
    struct dnas_pairs p = defaults();
    struct dnas_err err = {""};
    int count[N_SPECIES];
    size_t n;

    c.paths[0] = strdup(file_text("few.fa", ">s0 label=sp0\nAC\n>s1 label=sp1\nACGT\n"));
    CHECK_INT(made_index(&c.g, c.paths, 1, 1, &err), 0);
    p.length = (struct dnas_range){1, 1};
    p.positives = DNAS_POSITIVES_DROPOUT;
    p.balance = DNAS_BALANCE_SIZE;
    p.n_pairs = MAX_PAIRS;
    CHECK_STR(run(&p, &c, "few.dnas"), "");
    n = read_rows(rows, "few.dnas");
    count_species(count, n, -1);
    CHECK_NEAR(count[0], MAX_PAIRS / 3.0, 5 * sqrt(MAX_PAIRS * 2 / 9.0));
    CHECK_INT(count[0] + count[1], MAX_PAIRS);
    free_rows(rows, n);
    free(p.skipped.v);
    release(&c);
}

static void test_validation_by_pair(void)
{
    static const double shares[] = {0, 0.1, 0.3333, 0.5, 0.001, 1};
    struct collection c;
    struct dnas_pairs p = defaults();
    int count[N_SPECIES];

    collect(&c, false);
    for (size_t i = 0; i < sizeof(shares) / sizeof(shares[0]); i++) {
        double want = round(1000 * shares[i]), first_half = 0;
        size_t n, got = 0;

        p.validation = shares[i];
        CHECK_STR(run(&p, &c, "split.dnas"), "");
        n = read_rows(rows, "split.dnas");
        for (size_t k = 0; k < n; k++) {
            CHECK(rows[k].split == 0 || rows[k].split == 1);
            got += (size_t)rows[k].split;
            first_half += k < 500 && rows[k].split;
        }
        CHECK_INT(got, want);
        CHECK_INT(p.n_validation, want);
        CHECK_NEAR(first_half, want / 2, 5 * sqrt(want * (1 - shares[i]) / 4) + 1);
        count_species(count, n, 1);
        for (int s = 0; s < N_SPECIES && want >= 100; s++)
            CHECK(s == 3 ? count[s] == 0 : count[s] > 0);
        free_rows(rows, n);
    }
    free(p.skipped.v);
    release(&c);
}

static void test_validation_by_species(void)
{
    static const struct {
        double share;
        int n_species;
    } cases[] = {{0, 0}, {0.01, 1}, {0.34, 2}, {0.5, 3}, {0.99, 5}, {1, 6}};
    struct collection c;
    struct dnas_pairs p = defaults();
    uint32_t chosen = 0;

    collect(&c, false);
    p.validate_by = DNAS_VALIDATE_BY_SPECIES;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        int train[N_SPECIES], validation[N_SPECIES], n_species = 0;
        size_t n;

        p.validation = cases[i].share;
        CHECK_STR(run(&p, &c, "species.dnas"), "");
        n = read_rows(rows, "species.dnas");
        count_species(train, n, 0);
        count_species(validation, n, 1);
        for (int s = 0; s < N_SPECIES; s++) {
            CHECK(train[s] == 0 || validation[s] == 0);
            n_species += validation[s] > 0;
        }
        CHECK_INT(n_species, cases[i].n_species);
        free_rows(rows, n);
    }
    /* Another seed, other species. */
    p.validation = 0.34;
    for (p.seed = 0; p.seed < 10; p.seed++) {
        int validation[N_SPECIES];
        size_t n;

        CHECK_STR(run(&p, &c, "species.dnas"), "");
        n = read_rows(rows, "species.dnas");
        count_species(validation, n, 1);
        for (int s = 0; s < N_SPECIES; s++)
            chosen |= (uint32_t)(validation[s] > 0) << s;
        free_rows(rows, n);
    }
    CHECK_INT(chosen, 0x77);
    free(p.skipped.v);
    release(&c);
}

static bool is_other_strand(const char *a, const char *b, bool reversed)
{
    size_t n = strlen(a);

    for (size_t i = 0; i < n; i++) {
        const char *at = strchr("ACGT", a[i]);

        if (!at || b[reversed ? n - 1 - i : i] != "TGCA"[at - "ACGT"])
            return false;
    }
    return strlen(b) == n;
}

static void test_other_positives(void)
{
    struct collection c;
    size_t n;

    collect(&c, false);
    for (int kind = 0; kind < 4; kind++) {
        struct dnas_pairs p = defaults();
        int n_minus = 0;

        p.positives = kind == 0   ? DNAS_POSITIVES_DROPOUT
                      : kind == 3 ? DNAS_POSITIVES_MUTATION
                                  : DNAS_POSITIVES_STRAND;
        p.complement_only = kind == 2;
        p.rate = 0.05;
        p.profile = DNAS_PROFILE_SUBSTITUTION;
        CHECK_STR(run(&p, &c, "kind.dnas"), "");
        CHECK_INT(p.skipped.n, 0); /* one window is enough */
        n = read_rows(rows, "kind.dnas");
        CHECK_INT(n, 1000);
        if (kind == 3) { /* errors over all rows: binomial */
            double errors = 0, letters = 0;

            for (size_t i = 0; i < n; i++)
                for (size_t k = 0; k < 100; k++, letters++)
                    errors += rows[i].seq[0][k] != rows[i].seq[1][k];
            CHECK_NEAR(errors, letters * 0.05, 5 * sqrt(letters * 0.05 * 0.95));
        }
        for (size_t i = 0; i < n; i++) {
            const char *a = rows[i].seq[0], *b = rows[i].seq[1];

            CHECK(holds(&rows[i].place[0], a));
            CHECK(kind == 3 || holds(&rows[i].place[1], b));
            CHECK(kind != 0 || strcmp(a, b) == 0);
            CHECK(kind != 1 || is_other_strand(a, b, true));
            CHECK(kind != 2 || is_other_strand(a, b, false));
            CHECK_INT(rows[i].place[0].start, rows[i].place[1].start);
            n_minus += rows[i].place[0].strand == '-';
        }
        CHECK_NEAR(n_minus, 500, 5 * sqrt(250));
        free_rows(rows, n);
        free(p.skipped.v);
    }
    release(&c);
}

static void test_forward_strand(void)
{
    struct collection c;
    struct dnas_pairs p = defaults();
    size_t n;

    collect(&c, false);
    p.both_strands = false;
    CHECK_STR(run(&p, &c, "forward.dnas"), "");
    n = read_rows(rows, "forward.dnas");
    for (size_t i = 0; i < n; i++)
        CHECK(rows[i].place[0].strand == '+' && rows[i].place[1].strand == '+');
    free_rows(rows, n);
    free(p.skipped.v);
    release(&c);
}

/* The same bytes for any number of threads and order of files; others for
 * another seed.  Long windows make many chunks. */
static void test_same_bytes(void)
{
    struct collection c[2];
    struct dnas_pairs p = defaults();
    size_t n = 0, n_got = 0;
    char *want;

    collect(&c[0], false);
    collect(&c[1], true);
    p.length = (struct dnas_range){100, 4000};
    p.positives = DNAS_POSITIVES_MUTATION;
    p.rate = 0.1;
    p.profile = DNAS_PROFILE_EVEN;
    p.validation = 0.2;
    p.n_threads = 1;
    CHECK_STR(run(&p, &c[0], "want.dnas"), "");
    want = file_read("want.dnas", &n);
    for (int t = 1; t <= 16; t *= 2)
        for (int i = 0; i < 2; i++) {
            char *got;

            p.n_threads = t;
            CHECK_STR(run(&p, &c[i], "got.dnas"), "");
            got = file_read("got.dnas", &n_got);
            CHECK(n == n_got && memcmp(got, want, n) == 0);
            free(got);
        }
    p.seed = 2;
    CHECK_STR(run(&p, &c[0], "got.dnas"), "");
    free(want);
    want = file_read("got.dnas", &n_got);
    CHECK(n != n_got);
    free(want);
    free(p.skipped.v);
    release(&c[0]);
    release(&c[1]);
}

/* More pairs begin with the pairs of fewer. */
static void test_prefix(void)
{
    static struct row more[MAX_PAIRS];
    struct collection c;
    struct dnas_pairs p = defaults();
    size_t n, n_more;

    collect(&c, false);
    p.n_pairs = 50;
    CHECK_STR(run(&p, &c, "few.dnas"), "");
    n = read_rows(rows, "few.dnas");
    p.n_pairs = 70;
    CHECK_STR(run(&p, &c, "more.dnas"), "");
    n_more = read_rows(more, "more.dnas");
    CHECK(n == 50 && n_more == 70);
    for (size_t i = 0; i < n; i++)
        CHECK_STR(more[i].id, rows[i].id);
    free_rows(rows, n);
    free_rows(more, n_more);
    free(p.skipped.v);
    release(&c);
}

static void test_refusals(void)
{
    struct collection c;
    struct dnas_pairs p = defaults();

    collect(&c, false);
    p.length = (struct dnas_range){9000, 20000};
    CHECK_STR(run(&p, &c, "no.dnas"),
              "none of 7 species has two windows of 9000 letters that do not "
              "overlap; try a shorter --length");
    p.positives = DNAS_POSITIVES_DROPOUT;
    p.length = (struct dnas_range){16001, 20000};
    CHECK_STR(run(&p, &c, "no.dnas"),
              "none of 7 species has a window of 16001 letters; try a shorter --length");
    p.length = (struct dnas_range){9000, 20000};
    p.validation = 0.5;
    p.validate_by = DNAS_VALIDATE_BY_SPECIES;
    CHECK_STR(run(&p, &c, "no.dnas"), "one species cannot be split: use --validate-by pair, or "
                                      "give genomes of more species");
    p.validate_by = DNAS_VALIDATE_BY_PAIR;
    CHECK_STR(run(&p, &c, "no.dnas"), "");
    CHECK_INT(p.skipped.n, 6);
    free(p.skipped.v);
    release(&c);
}

/* ---- benchmarks ---- */

static const char *run_benchmark(struct dnas_benchmark *b, const struct collection *c,
                                 const char *file)
{
    static struct dnas_err err;
    struct dnas_out *out;

    err.msg[0] = '\0';
    free(b->skipped.v);
    b->skipped = (struct dnas_species_list){0};
    b->n_species = 0;
    b->n_sequences = 0;
    out = dnas_out_open(file_path(file), false, &err);
    if (dnas_benchmark_run(b, &c->g, out, &err) == 0)
        dnas_out_commit(out, &err);
    else
        dnas_out_abandon(out, false);
    return err.msg;
}

/* Reads it back as any tool would: how many of each species, all of them what
 * their source says, and none over another. */
static void read_benchmark(int count[N_SPECIES], const char *file, unsigned low, unsigned high,
                           bool both_strands)
{
    static struct {
        int species;
        struct place place;
    } seen[1000];
    char *path = (char *)file_path(file), line[200], text[5000];
    const struct dnas_seq_options o = {0};
    struct dnas_err err = {""};
    struct dnas_seq *s = dnas_seq_open(NULL, &path, 1, &o, &err);
    FILE *f = fopen(path, "r");
    size_t n = 0, in_order = 0, n_minus = 0;

    memset(count, 0, N_SPECIES * sizeof(*count));
    for (; s && n < 1000 && dnas_seq_next(s, &err) == 1; n++) {
        struct place *p = &seen[n].place;
        ptrdiff_t got = dnas_seq_read(s, text, sizeof(text) - 1, &err);
        unsigned number;

        text[got > 0 ? got : 0] = '\0';
        do
            CHECK(fgets(line, sizeof(line), f) != NULL);
        while (line[0] != '>');
        CHECK_INT(sscanf(line, ">seq%u label=%*s source=%15[^:]:%u-%u%c", &number, p->name,
                         &p->start, &p->end, &p->strand),
                  5);
        CHECK_INT(number, n + 1);
        CHECK(holds(p, text));
        CHECK(p->end - p->start + 1 >= low && p->end - p->start + 1 <= high);
        seen[n].species = species_of(dnas_seq_label(s));
        count[seen[n].species]++;
        for (size_t k = 0; k < n; k++)
            CHECK(seen[k].species != seen[n].species || strcmp(seen[k].place.name, p->name) != 0 ||
                  seen[k].place.end < p->start || p->end < seen[k].place.start);
        in_order += n > 0 && seen[n].species == seen[n - 1].species;
        n_minus += p->strand == '-';
    }
    CHECK_STR(err.msg, "");
    CHECK(n > 0 && in_order <= n * 3 / 4); /* species are mixed */
    CHECK_NEAR((double)n_minus, both_strands ? (double)n / 2 : 0,
               both_strands ? 5 * sqrt((double)n / 4) : 0);
    CHECK(!both_strands || n_minus > 0);
    fclose(f);
    dnas_seq_close(s);
}

static void test_benchmark(void)
{
    struct collection c;
    struct dnas_benchmark b = {.per_species = {9, 9},
                               .length = {100, 100},
                               .both_strands = true,
                               .seed = 1,
                               .n_threads = 2};
    int count[N_SPECIES];

    collect(&c, false);
    CHECK_STR(run_benchmark(&b, &c, "b.fa"), "");
    read_benchmark(count, "b.fa", 100, 100, true);
    /* sp3, sp5 and sp6 have room for 1 or 2. */
    for (int i = 0; i < N_SPECIES; i++)
        CHECK_INT(count[i], i == 3 || i >= 5 ? 0 : 9);
    CHECK_INT(b.skipped.n, 3);
    CHECK_INT(b.n_species, 4);
    CHECK_INT(b.n_sequences, 36);
    /* As many as there is room for. */
    b.per_species = (struct dnas_range){46, 46};
    CHECK_STR(run_benchmark(&b, &c, "b.fa"), "");
    read_benchmark(count, "b.fa", 100, 100, true);
    CHECK(count[2] == 46 && count[0] == 46 && count[4] == 46 && b.n_species == 3);
    b.per_species = (struct dnas_range){161, 161};
    CHECK_STR(run_benchmark(&b, &c, "b.fa"),
              "none of 7 species has room for 161 sequences of 100 letters or more; try fewer, or "
              "a shorter --length");
    b.per_species = (struct dnas_range){40, 40};
    b.both_strands = false;
    CHECK_STR(run_benchmark(&b, &c, "b.fa"), "");
    read_benchmark(count, "b.fa", 100, 100, false);
    b.both_strands = true;
    /* Of a long tail's numbers as many as there is room for, if not too few. */
    b.per_species = (struct dnas_range){2, 1000000};
    CHECK_STR(run_benchmark(&b, &c, "b.fa"), "");
    read_benchmark(count, "b.fa", 100, 100, true);
    for (int i = 0; i < N_SPECIES; i++)
        CHECK(i == 3 ? count[i] == 0 : count[i] >= 2);
    CHECK(count[5] == 2 && count[6] == 2);
    /* Long-tailed, of several lengths. */
    b.per_species = (struct dnas_range){2, 400};
    b.length = (struct dnas_range){100, 400};
    CHECK_STR(run_benchmark(&b, &c, "b.fa"), "");
    read_benchmark(count, "b.fa", 100, 400, true);
    for (int i = 0; i < N_SPECIES; i++)
        CHECK(count[i] == 0 || (count[i] >= 2 && count[i] <= 160));
    free(b.skipped.v);
    release(&c);
}

/* Numbers of a long tail are log-uniform between their ends. */
static void test_long_tail(void)
{
    enum { N = 300 };
    struct dnas_genomes g;
    struct dnas_err err = {""};
    char *path = (char *)file_path("tail.fa"), *letters = made_letters(2100, 1), line[200];
    FILE *f = fopen(path, "w");
    struct dnas_benchmark b = {
        .per_species = {2, 200}, .length = {10, 10}, .seed = 4, .n_threads = 1};
    static int count[N];
    struct dnas_out *out;
    double sum = 0, width = log(201.0 / 2);

    for (int i = 0; i < N; i++) {
        char header[40];

        snprintf(header, sizeof(header), "r%d label=%d", i, i);
        made_record(f, header, letters);
    }
    fclose(f);
    CHECK_INT(made_index(&g, &path, 1, 1, &err), 0);
    out = dnas_out_open(file_path("tail.out"), false, &err);
    CHECK_INT(dnas_benchmark_run(&b, &g, out, &err), 0);
    CHECK_INT(dnas_out_commit(out, &err), 0);
    f = fopen(file_path("tail.out"), "r");
    while (fgets(line, sizeof(line), f))
        if (line[0] == '>')
            count[strtol(strstr(line, "label=") + 6, NULL, 10)]++;
    fclose(f);
    for (int i = 0; i < N; i++) {
        CHECK(count[i] >= 2 && count[i] <= 200);
        sum += log((count[i] + 0.5) / 2) / width;
    }
    CHECK_NEAR(sum / N, 0.5, 5 * sqrt(1.0 / 12 / N));
    free(b.skipped.v);
    free(letters);
    dnas_genomes_release(&g);
}

static void test_benchmark_bytes(void)
{
    struct collection c[2];
    struct dnas_benchmark b = {
        .per_species = {5, 40}, .length = {100, 200}, .both_strands = true, .seed = 3};
    char *want = NULL;
    size_t n = 0, n_got = 0;

    collect(&c[0], false);
    collect(&c[1], true);
    for (b.n_threads = 1; b.n_threads <= 8; b.n_threads *= 2)
        for (int i = 0; i < 2; i++) {
            char *got;

            CHECK_STR(run_benchmark(&b, &c[i], "got.fa"), "");
            got = file_read("got.fa", &n_got);
            if (!want) {
                want = got;
                n = n_got;
                continue;
            }
            CHECK(n == n_got && memcmp(got, want, n) == 0);
            free(got);
        }
    free(want);
    free(b.skipped.v);
    release(&c[0]);
    release(&c[1]);
}

int main(void)
{
    RUN(test_rows);
    RUN(test_balance);
    RUN(test_balance_of_few_letters);
    RUN(test_validation_by_pair);
    RUN(test_validation_by_species);
    RUN(test_other_positives);
    RUN(test_forward_strand);
    RUN(test_same_bytes);
    RUN(test_prefix);
    RUN(test_refusals);
    RUN(test_benchmark);
    RUN(test_long_tail);
    RUN(test_benchmark_bytes);
    return check_done();
}
