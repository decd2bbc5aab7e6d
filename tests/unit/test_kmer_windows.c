/* SPDX-License-Identifier: MIT
 *
 * test_kmer_windows.c - windows are of the genomes they are said to be of, as
 * many and as long as asked, and evenly spread.
 */
#include "tests/unit/check.h"

#include "common/kmer_windows.h"
#include "common/rng.h"
#include "common/xmem.h"
#include "tests/unit/files.h"

/* Random letters, so that a window tells its place. */
struct genome {
    char *letters;
    size_t n;
};

static struct genome draw_genome(size_t n, uint32_t row)
{
    struct genome g = {dnas_xalloc(n + 1, 1), n};
    struct dnas_rng rng;

    dnas_rng_init(&rng, 6, DNAS_RNG_TEST, 0, row);
    for (size_t i = 0; i < n; i++)
        g.letters[i] = "ACGT"[dnas_rng_below(&rng, 4)];
    g.letters[n] = '\0';
    return g;
}

struct seen {
    uint64_t n_calls, n, per_species[4], covered[4][10];
    uint32_t genus[4];
    size_t shortest, longest, half; /* half: windows of at most 1000 letters */
    const struct genome *genomes;   /* [species], each of one record */
    uint64_t hash;
};

static int take(void *ctx, const char *const *letters, const size_t *lengths, size_t n,
                uint32_t species, uint32_t genus, struct dnas_err *err)
{
    struct seen *s = ctx;

    (void)err;
    s->n_calls++;
    for (size_t i = 0; i < n; i++) {
        char *text = dnas_xstrndup(letters[i], lengths[i]);
        const char *at = s->genomes ? strstr(s->genomes[species].letters, text) : NULL;

        s->n++;
        s->per_species[species]++;
        s->genus[species] = genus;
        s->shortest = lengths[i] < s->shortest ? lengths[i] : s->shortest;
        s->longest = lengths[i] > s->longest ? lengths[i] : s->longest;
        s->half += lengths[i] <= 1000;
        s->hash = s->hash * 31 + lengths[i];
        for (size_t k = 0; k < lengths[i]; k += 7)
            s->hash = s->hash * 31 + (unsigned char)text[k];
        if (s->genomes)
            CHECK(at != NULL);
        for (size_t k = 0; at && k < 10; k++) {
            size_t place = (k * s->genomes[species].n + s->genomes[species].n / 2) / 10;
            size_t first = (size_t)(at - s->genomes[species].letters);

            s->covered[species][k] += place >= first && place < first + lengths[i];
        }
        free(text);
    }
    return 0;
}

static struct dnas_kmer_windows windows(struct seen *s, size_t n, uint64_t lo, uint64_t hi)
{
    *s = (struct seen){.shortest = SIZE_MAX};
    return (struct dnas_kmer_windows){
        .n_per_species = n, .min_bp = lo, .max_bp = hi, .seed = 1, .take = take, .ctx = s};
}

static void test_places_and_lengths(void)
{
    struct genome g[2] = {draw_genome(40000, 1), draw_genome(90000, 2)};
    char *text = dnas_xasprintf(">r\n%s\n", g[0].letters), *paths[2];
    struct dnas_kmer_windows w;
    struct seen s;

    paths[0] = (char *)file_text("Escherichia_coli.fa", text);
    free(text);
    text = dnas_xasprintf(">r label=Bacillus_subtilis\n%s\n", g[1].letters);
    paths[1] = (char *)file_text("other.fa", text);
    free(text);
    w = windows(&s, 600, 500, 2000);
    s.genomes = g;
    CHECK_INT(dnas_kmer_windows_run(&w, paths, 2, NULL), 0);
    CHECK_INT(w.n_records, 2);
    CHECK_INT(s.per_species[0], 600);
    CHECK_INT(s.per_species[1], 600);
    CHECK(s.genus[0] != s.genus[1]);
    CHECK(s.shortest >= 500 && s.shortest < 510 && s.longest <= 2000 && s.longest > 1950);
    CHECK(s.half > 520 && s.half < 680); /* log scale: half of 1200, six deviations of 17 */
    for (int k = 0; k < 10; k++) {
        /* a place is in a window of mean 1082 letters of 40000: 16 of 600, deviation 4 */
        CHECK(k == 0 || s.covered[0][k] > 1);
        CHECK(s.covered[0][k] < 40);
    }
    free(g[0].letters);
    free(g[1].letters);
}

/* Records by letters, short ones whole, gaps of other species in between. */
static void test_records(void)
{
    struct genome g = draw_genome(9000, 3);
    char *text = dnas_xasprintf(">a label=x_1\n%.300s\n>b label=y\n%.5000s\n>c label=x_1\n%s\n"
                                ">d label=x_2\n%.700s\n",
                                g.letters, g.letters, g.letters, g.letters);
    char *paths[1] = {(char *)file_text("mixed.fa", text)};
    struct dnas_kmer_windows w;
    struct seen s, again;

    free(text);
    w = windows(&s, 300, 1000, 1000);
    CHECK_INT(dnas_kmer_windows_run(&w, paths, 1, NULL), 0);
    CHECK_INT(w.n_records, 4);
    CHECK_INT(s.n, 900);
    CHECK_INT(s.shortest, 300);
    CHECK_INT(s.longest, 1000);
    CHECK_INT(s.n_calls, 4);
    CHECK(s.genus[0] == s.genus[2] && s.genus[0] != s.genus[1]);
    w = windows(&again, 300, 1000, 1000);
    CHECK_INT(dnas_kmer_windows_run(&w, paths, 1, NULL), 0);
    CHECK(again.hash == s.hash);
    w = windows(&again, 300, 1000, 1000);
    w.seed = 2;
    CHECK_INT(dnas_kmer_windows_run(&w, paths, 1, NULL), 0);
    CHECK(again.hash != s.hash);
    free(g.letters);
}

static void test_labels_of_a_table(void)
{
    struct dnas_labels labels;
    char *paths[1] = {(char *)file_text("few.fa", ">a label=x\nACGTACGT\n>b\nGGGGCCCC\n>c label=z\n"
                                                  "ACACACAC\n")};
    struct dnas_kmer_windows w;
    struct seen s;

    CHECK_INT(dnas_labels_load(&labels, file_text("l.tsv", "id\tlabel\na\tq\nb\tq\n"), NULL), 0);
    w = windows(&s, 20, 4, 4);
    w.labels = &labels;
    CHECK_INT(dnas_kmer_windows_run(&w, paths, 1, NULL), 0);
    CHECK_INT(s.n, 40); /* q and z */
    CHECK_INT(s.per_species[0], 20);
    CHECK_INT(s.per_species[1], 20);
    dnas_labels_release(&labels);
}

static int refuse(void *ctx, const char *const *letters, const size_t *lengths, size_t n,
                  uint32_t species, uint32_t genus, struct dnas_err *err)
{
    (void)ctx, (void)letters, (void)lengths, (void)n, (void)species, (void)genus;
    return dnas_err_set(err, "enough");
}

static void test_refused(void)
{
    char *none[1] = {(char *)file_text("none.fa", "")};
    char *bad[2] = {(char *)file_text("good.fa", ">a\nACGT\n"),
                    (char *)file_text("bad.fa", ">a\n")};
    char *absent[1] = {(char *)file_path("absent.fa")};
    struct dnas_kmer_windows w;
    struct dnas_err err = {""};
    struct seen s;

    w = windows(&s, 2, 4, 4);
    CHECK_INT(dnas_kmer_windows_run(&w, none, 1, &err), -1);
    CHECK(strstr(err.msg, "none.fa: has no sequences to learn from") != NULL);
    CHECK_INT(dnas_kmer_windows_run(&w, bad, 2, &err), -1);
    CHECK(strstr(err.msg, "bad.fa: record 1 ('a') is empty") != NULL);
    CHECK_INT(dnas_kmer_windows_run(&w, absent, 1, &err), -1);
    CHECK_INT(s.n, 0);
    w.take = refuse;
    CHECK_INT(dnas_kmer_windows_run(&w, bad, 1, &err), -1);
    CHECK_STR(err.msg, "enough");
}

int main(void)
{
    RUN(test_places_and_lengths);
    RUN(test_records);
    RUN(test_labels_of_a_table);
    RUN(test_refused);
    return check_done();
}
