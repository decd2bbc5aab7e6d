/* SPDX-License-Identifier: MIT
 *
 * test_genomes.c - the index of a collection, and the letters fetched by it.
 */
#include "common/excerpt.h"
#include "common/genomes.h"

#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/unit/check.h"
#include "tests/unit/genomes_made.h"

static void test_names(void)
{
    static const char *const cases[][2] = {
        {"x.fa.gz", "x"},
        {"a/b/E_coli.fna", "E_coli"},
        {"E.coli.K12.fasta.zst", "E.coli.K12"},
        {"x", "x"},
        {"x.gz", "x"},
        {".fa", ".fa"},
        {"a/.fa.gz", ".fa"},
        {"x.fa.fa", "x.fa"},
        {"x.fa.gz.gz", "x.fa.gz"},
        {"x.fq.bgz", "x"},
        {"x.fa.txt", "x.fa.txt"},
        {"dir.fa/x.fastq", "x"},
        {"./x.tsv.bgzf", "x"},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char *got = dnas_genomes_species_of(cases[i][0]);

        CHECK_STR(got, cases[i][1]);
        free(got);
    }
}

/* Two files of one species, tags, short ones, and letters that are no bases. */
static void test_index(void)
{
    char *paths[3];
    struct dnas_genomes g;
    struct dnas_err err = {""};

    paths[0] =
        (char *)file_text("Zeta.fa", ">z1\nACGTNNNNACnnRGT\n>z2\nAC\n>z3 species=Alpha\nACGTA\n");
    mkdir(file_path("sub"), 0777);
    paths[1] = (char *)file_text("sub/Zeta.fna", ">z9\nNACGTACGTACGTACGTN\n");
    paths[2] = (char *)file_text("Beta.fa", ">z1\nGGGGG\n>b0\nCCCCC\n");
    CHECK_INT(made_index(&g, paths, 3, 5, &err), 0);
    CHECK_STR(err.msg, "");
    CHECK_INT(g.n_records, 6);
    CHECK_INT(g.n_short, 1);
    CHECK_INT(g.n_seqs, 5);
    CHECK_INT(g.n_species, 3);
    CHECK_STR(dnas_genomes_species_name(&g, 0), "Alpha");
    CHECK_STR(dnas_genomes_species_name(&g, 1), "Beta");
    CHECK_STR(dnas_genomes_species_name(&g, 2), "Zeta");
    CHECK_INT(g.species[2].n, 2);
    CHECK_INT(g.species[2].length_bp, 33);
    /* The longest first; equals by name. */
    CHECK_STR(dnas_genomes_id(&g, g.by_species[g.species[2].first]), "z9");
    CHECK_STR(dnas_genomes_id(&g, g.by_species[g.species[2].first + 1]), "z1");
    CHECK_STR(dnas_genomes_id(&g, g.by_species[g.species[1].first]), "b0");
    CHECK_INT(g.before[g.species[2].first + 1], 18);
    /* ACGT NNNN AC NNR GT: sequence 0. */
    CHECK_INT(dnas_genomes_count_other(&g, 0, 0, 15), 7);
    CHECK_INT(dnas_genomes_count_other(&g, 0, 0, 4), 0);
    CHECK_INT(dnas_genomes_count_other(&g, 0, 4, 1), 1);
    CHECK_INT(dnas_genomes_count_other(&g, 0, 5, 6), 4);
    CHECK_INT(dnas_genomes_count_other(&g, 0, 13, 2), 0);
    CHECK_INT(dnas_genomes_count_other(&g, 0, 12, 2), 1);
    CHECK_INT(dnas_genomes_count_other(&g, 1, 0, 5), 0);
    CHECK_INT(dnas_genomes_count_other(&g, 2, 0, 18), 2);
    CHECK_INT(dnas_genomes_count_other(&g, 2, 1, 16), 0);
    dnas_genomes_release(&g);
}

/* Runs of any pattern, across what is read at once, against counting letters. */
static void test_other_letters(void)
{
    enum { N = 600000 };
    char *letters = made_letters(N, 9), *path;
    struct dnas_genomes g;
    struct dnas_err err = {""};
    struct dnas_rng rng;
    FILE *f;

    dnas_rng_init(&rng, 2, DNAS_RNG_TEST, 0, 0);
    for (int i = 0; i < 300; i++) {
        size_t at = dnas_rng_below(&rng, N), n = dnas_rng_below(&rng, 900);

        for (size_t k = at; k < at + n && k < N; k++)
            letters[k] = "NRY"[i % 3];
    }
    memset(letters + 262100, 'N', 100); /* over the end of a buffer */
    path = (char *)file_path("runs.fa");
    f = fopen(path, "w");
    made_record(f, "s", letters);
    fclose(f);
    CHECK_INT(made_index(&g, &path, 1, 1, &err), 0);
    CHECK(g.n_runs > 100 && g.n_runs <= 301);
    for (int i = 0; i < 2000; i++) {
        uint32_t start = (uint32_t)dnas_rng_below(&rng, N), want = 0;
        uint32_t n = (uint32_t)dnas_rng_below(&rng, i % 2 ? 50 : N) % (N - start) + 1;

        for (uint32_t k = start; k < start + n; k++)
            want += !strchr("ACGT", letters[k]);
        CHECK_INT(dnas_genomes_count_other(&g, 0, start, n), want);
    }
    dnas_genomes_release(&g);
    free(letters);
}

static void test_labels(void)
{
    char *path = (char *)file_text("f.fa", ">a label=tag\nACGT\n>b label=tag\nACGT\n>c\nACGT\n");
    struct dnas_labels labels;
    struct dnas_genomes g;
    struct dnas_err err = {""};
    struct dnas_genomes_options o = {.min_length_bp = 1, .n_threads = 1, .labels = &labels};

    CHECK_INT(dnas_labels_load(&labels, file_text("l.tsv", "a\tA b\n"), &err), 0);
    CHECK_INT(dnas_genomes_index(&g, &path, 1, &o, &err), 0);
    CHECK_INT(g.n_seqs, 1);
    CHECK_STR(dnas_genomes_species_name(&g, 0), "A b");
    CHECK_INT(g.n_strange, 2);
    CHECK_STR(g.strange, "b");
    dnas_genomes_release(&g);
    dnas_labels_release(&labels);
    o.labels = NULL;
    CHECK_INT(dnas_genomes_index(&g, &path, 1, &o, &err), 0);
    CHECK_INT(g.n_species, 2);
    CHECK_STR(dnas_genomes_species_name(&g, 0), "f");
    dnas_genomes_release(&g);
}

/* The first file with a fault is named, however many threads there are. */
static void test_errors(void)
{
    enum { N = 30 };
    char *paths[N];
    char *good = strdup(file_text("good.fa", ">a\nACGT\n"));
    char *bad = strdup(file_text("bad.fa", ">a\nACGT\n>b\n"));
    char *worse = strdup(file_text("worse.fa", ">a\nAC!T\n"));

    for (int i = 0; i < N; i++)
        paths[i] = i == 13 ? bad : i > 13 ? worse : good;
    for (int t = 1; t <= 8; t *= 2) {
        const struct dnas_genomes_options o = {.min_length_bp = 1, .n_threads = t};
        struct dnas_genomes g;
        struct dnas_err err = {""};

        CHECK_INT(dnas_genomes_index(&g, paths, N, &o, &err), -1);
        CHECK(strstr(err.msg, "bad.fa: record 2 ('b') is empty") != NULL);
        dnas_genomes_release(&g);
    }
    free(good);
    free(bad);
    free(worse);
}

/* Files of several sequences; places in all of them, in memory and in a file,
 * beside what was written. */
static void fetch(uint64_t memory_bytes, bool through_pipe)
{
    static const uint32_t lengths[] = {300000, 256, 255, 1000, 70000, 513, 0};
    enum { N_PLACES = 200, N_SEQS = 6 };
    char *paths[2];
    char *letters[N_SEQS];
    struct {
        size_t seq;
        uint32_t start, n;
    } place[N_PLACES];
    struct dnas_genomes g;
    struct dnas_err err = {""};
    struct dnas_excerpt *e;
    struct dnas_rng rng;
    char *out = malloc(300001);
    pid_t child = -1;

    paths[0] = made_file("one.fa", lengths);
    paths[1] = made_file("two.fa", lengths);
    if (through_pipe) { /* another process writes the first file into a FIFO */
        char *fifo = (char *)file_path("fifo");

        unlink(fifo);
        CHECK_INT(mkfifo(fifo, 0600), 0);
        file_text("label.sh", "sed 's/^>.*/& label=x/' \"$1\" >\"$2\"\n");
        child = fork();
        if (child == 0) {
            execl("/bin/sh", "sh", file_path("label.sh"), paths[0], fifo, (char *)NULL);
            _exit(1);
        }
        paths[0] = fifo;
    }
    CHECK_INT(made_index(&g, paths, 2, 256, &err), 0);
    CHECK_STR(err.msg, "");
    if (child > 0)
        waitpid(child, NULL, 0);
    CHECK_INT(g.n_seqs, 10);
    if (through_pipe) /* what is too short does not stay in the spool */
        CHECK_INT(g.seqs[2].at, 300000 + 256);
    for (uint32_t i = 0; i < N_SEQS; i++)
        letters[i] = made_letters(lengths[i], i);
    e = dnas_excerpt_new(&g);
    dnas_rng_init(&rng, 3, DNAS_RNG_TEST, 0, 0);
    for (int i = 0; i < N_PLACES && g.n_seqs == 10; i++) {
        uint32_t length_bp;

        place[i].seq = dnas_rng_below(&rng, 10);
        length_bp = g.seqs[place[i].seq].length_bp;
        place[i].start = (uint32_t)dnas_rng_below(&rng, length_bp);
        place[i].n = (uint32_t)dnas_rng_below(&rng, length_bp - place[i].start) % 9000 + 1;
        if (i == 0)
            place[i].seq = 0, place[i].start = 0, place[i].n = 300000;
        if (i < 8 && i > 0) /* a whole one of the second file */
            place[i].seq = 5 + (size_t)(i % 5), place[i].start = 0, place[i].n = 200;
        dnas_excerpt_mark(e, place[i].seq, place[i].start, place[i].n);
    }
    CHECK_INT(dnas_excerpt_load(e, memory_bytes, 2, &err), 0);
    CHECK_STR(err.msg, "");
    CHECK(dnas_excerpt_bytes(e) > 0 && dnas_excerpt_bytes(e) < 2 * 373000);
    for (int i = 0; i < N_PLACES && g.n_seqs == 10; i++) {
        uint64_t record = g.seqs[place[i].seq].record;

        CHECK_INT(dnas_excerpt_read(e, out, place[i].seq, place[i].start, place[i].n, &err), 0);
        CHECK(memcmp(out, letters[record] + place[i].start, place[i].n) == 0);
    }
    for (int i = 0; i < N_SEQS; i++)
        free(letters[i]);
    free(out);
    dnas_excerpt_free(e);
    dnas_genomes_release(&g);
}

static void test_fetch_from_memory(void)
{
    fetch(1 << 30, false);
}

static void test_fetch_from_a_file(void)
{
    fetch(1000, false);
}

static void test_fetch_from_a_pipe(void)
{
    fetch(1000, true);
}

/* Only what is marked is stored, in granules, however often it is marked. */
static void test_store_is_small(void)
{
    static const uint32_t lengths[] = {100000, 100000, 0};
    char *path = made_file("small.fa", lengths);
    struct dnas_genomes g;
    struct dnas_err err = {""};
    struct dnas_excerpt *e;

    CHECK_INT(made_index(&g, &path, 1, 1, &err), 0);
    e = dnas_excerpt_new(&g);
    for (int i = 0; i < 3; i++) {
        dnas_excerpt_mark(e, 0, 255, 2);
        dnas_excerpt_mark(e, 1, 99999, 1);
        dnas_excerpt_mark(e, 1, 256 * 64, 256 * 130);
    }
    CHECK_INT(dnas_excerpt_load(e, 1 << 30, 1, &err), 0);
    CHECK_INT(dnas_excerpt_bytes(e), (2 + 1 + 130) * 256);
    dnas_excerpt_free(e);
    dnas_genomes_release(&g);
}

/* A file of which nothing is drawn is not opened a second time. */
static void test_file_that_goes(void)
{
    char *paths[2];
    struct dnas_genomes g;
    struct dnas_err err = {""};
    struct dnas_excerpt *e;
    char out[5] = "";

    paths[0] = (char *)file_text("goes.fa", ">a\nACGT\n");
    paths[1] = (char *)file_text("stays.fa", ">a\nGGCC\n");
    CHECK_INT(made_index(&g, paths, 2, 1, &err), 0);
    unlink(paths[0]);
    e = dnas_excerpt_new(&g);
    dnas_excerpt_mark(e, 1, 0, 4);
    CHECK_INT(dnas_excerpt_load(e, 1 << 20, 1, &err), 0);
    CHECK_INT(dnas_excerpt_read(e, out, 1, 0, 4, &err), 0);
    CHECK_STR(out, "GGCC");
    dnas_excerpt_free(e);
    dnas_genomes_release(&g);
}

static void test_file_that_changes(void)
{
    static const char *const after[] = {">a\nACGTACGT\n", ">a\nACGTACGT\n>c\nACGTACGT\n",
                                        ">a\nACGTACGT\n>b\nACGTACG\n"};

    for (size_t i = 0; i < 3; i++) {
        char *path = (char *)file_text("changes.fa", ">a\nACGTACGT\n>b\nACGTACGT\n");
        struct dnas_genomes g;
        struct dnas_err err = {""};
        struct dnas_excerpt *e;

        CHECK_INT(made_index(&g, &path, 1, 1, &err), 0);
        file_text("changes.fa", after[i]);
        e = dnas_excerpt_new(&g);
        dnas_excerpt_mark(e, 1, 0, 8);
        CHECK_INT(dnas_excerpt_load(e, 1 << 20, 1, &err), -1);
        CHECK(strstr(err.msg, "changes.fa: has changed since it was indexed: run again") != NULL);
        dnas_excerpt_free(e);
        dnas_genomes_release(&g);
    }
}

int main(void)
{
    RUN(test_names);
    RUN(test_index);
    RUN(test_other_letters);
    RUN(test_labels);
    RUN(test_errors);
    RUN(test_fetch_from_memory);
    RUN(test_fetch_from_a_file);
    RUN(test_fetch_from_a_pipe);
    RUN(test_store_is_small);
    RUN(test_file_that_goes);
    RUN(test_file_that_changes);
    return check_done();
}
