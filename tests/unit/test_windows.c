/* SPDX-License-Identifier: MIT
 *
 * test_windows.c - places drawn at random: where they may be, and how often.
 */
#include "common/windows.h"

#include "common/mutate.h"
#include "tests/unit/check.h"
#include "tests/unit/genomes_made.h"

static void test_ranges(void)
{
    static const struct {
        const char *text;
        uint32_t low, high; /* 0: refused */
    } cases[] = {{"1", 1, 1},
                 {"10000", 10000, 10000},
                 {"2000-20000", 2000, 20000},
                 {"5-5", 5, 5},
                 {"1000000", 1000000, 1000000},
                 {"", 0, 0},
                 {"0", 0, 0},
                 {"0-5", 0, 0},
                 {"6-5", 0, 0},
                 {"5-", 0, 0},
                 {"-5", 0, 0},
                 {"5-6-7", 0, 0},
                 {"5 ", 0, 0},
                 {" 5", 0, 0},
                 {"+5", 0, 0},
                 {"5x", 0, 0},
                 {"1000001", 0, 0},
                 {"1-1000001", 0, 0},
                 {"99999999999999999999", 0, 0},
                 {"4294967297", 0, 0},
                 {"1e3", 0, 0},
                 {"5--6", 0, 0}};

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct dnas_range r;
        bool is = dnas_range_parse(&r, cases[i].text, 1000000);

        CHECK_INT(is, cases[i].low > 0);
        if (is && cases[i].low > 0) {
            CHECK_INT(r.low, cases[i].low);
            CHECK_INT(r.high, cases[i].high);
        }
    }
}

/* The logarithm is uniform: mean and variance within five standard errors, and
 * each number of a small range as often as its formula says. */
static void test_log_uniform(void)
{
    enum { N = 100000 };
    const struct dnas_range r = {2000, 20000}, small = {3, 9}, one = {7, 7};
    double sum = 0, sum2 = 0, low = log(2000), width = log(20001) - log(2000);
    int n[10] = {0}, ends = 0;
    struct dnas_rng rng;

    dnas_rng_init(&rng, 1, DNAS_RNG_TEST, 0, 0);
    for (int i = 0; i < N; i++) {
        uint32_t x = dnas_range_draw(&r, &rng), y = dnas_range_draw(&small, &rng);
        double u = (log(x + 0.5) - low) / width;

        CHECK(x >= 2000 && x <= 20000);
        CHECK(y >= 3 && y <= 9);
        sum += u;
        sum2 += u * u;
        n[y <= 9 ? y : 0]++;
        ends += x < 2010 || x > 19900;
    }
    CHECK_NEAR(sum / N, 0.5, 5 * sqrt(1.0 / 12 / N));
    CHECK_NEAR(sum2 / N, 1.0 / 3, 5 * sqrt(4.0 / 45 / N));
    CHECK(ends > 0);
    for (int x = 3; x <= 9; x++) {
        double p = log((x + 1.0) / x) / log(10.0 / 3);

        CHECK_NEAR(n[x], N * p, 5 * sqrt(N * p * (1 - p)));
    }
    CHECK_INT(dnas_range_draw(&one, &rng), 7);
}

static bool overlap(const struct dnas_window *a, const struct dnas_window *b)
{
    return a->seq == b->seq && a->start < b->start + b->length_bp &&
           b->start < a->start + a->length_bp;
}

static bool inside(const struct dnas_genomes *g, const struct dnas_window *w)
{
    return (uint64_t)w->start + w->length_bp <= g->seqs[w->seq].length_bp;
}

/* Every place of a length is drawn as often, whatever the contigs' lengths. */
static void test_places_are_equal(void)
{
    enum { N = 60000, L = 10 };
    static const uint32_t lengths[] = {12, 30, 10, 11, 9, 30, 0};
    const struct dnas_range r = {L, L};
    char *path = made_file("contigs.fa", lengths);
    int count[6][32] = {{0}}, places = 0;
    struct dnas_genomes g;
    struct dnas_err err = {""};
    struct dnas_rng rng;

    CHECK_INT(made_index(&g, &path, 1, 1, &err), 0);
    dnas_rng_init(&rng, 2, DNAS_RNG_TEST, 0, 0);
    for (int i = 0; i < N; i++) {
        struct dnas_window w;

        dnas_windows_draw_one(&w, &g, 0, &r, &rng);
        CHECK(w.length_bp == L && inside(&g, &w) && w.strand == '+');
        count[w.seq][w.start]++;
    }
    for (int s = 0; lengths[s]; s++)
        places += lengths[s] >= L ? (int)lengths[s] - L + 1 : 0;
    CHECK_INT(places, 3 + 21 + 1 + 2 + 21);
    for (int s = 0; lengths[s]; s++)
        for (uint32_t at = 0; at < 32; at++) {
            double want = at + L <= lengths[s] ? (double)N / places : 0;

            CHECK_NEAR(count[s][at], want, 5 * sqrt(want));
        }
    dnas_genomes_release(&g);
}

/* Two windows of any lengths never overlap, fit, and lie on both sides of one
 * another; the second one is anywhere that the first leaves free. */
static void test_two_do_not_overlap(void)
{
    static const uint32_t lengths[] = {100, 41, 20, 0};
    static const struct dnas_range ranges[] = {{20, 20}, {5, 60}, {20, 41}, {1, 100}, {50, 50}};
    char *path = made_file("three.fa", lengths);
    struct dnas_genomes g;
    struct dnas_err err = {""};
    struct dnas_rng rng;

    CHECK_INT(made_index(&g, &path, 1, 1, &err), 0);
    dnas_rng_init(&rng, 3, DNAS_RNG_TEST, 0, 0);
    for (size_t i = 0; i < sizeof(ranges) / sizeof(ranges[0]); i++) {
        int before = 0, behind = 0, apart = 0, n = 20000;

        for (int k = 0; k < n; k++) {
            struct dnas_window w[2];

            dnas_windows_draw_two(w, &g, 0, &ranges[i], &rng);
            CHECK(inside(&g, &w[0]) && inside(&g, &w[1]) && !overlap(&w[0], &w[1]));
            CHECK(w[0].length_bp >= ranges[i].low && w[0].length_bp <= ranges[i].high);
            CHECK(w[1].length_bp >= ranges[i].low && w[1].length_bp <= ranges[i].high);
            apart += w[0].seq != w[1].seq;
            before += w[0].seq == w[1].seq && w[1].start < w[0].start;
            behind += w[0].seq == w[1].seq && w[1].start > w[0].start;
        }
        CHECK(i == 4 ? apart == 0 : apart > n / 20);
        CHECK(before > n / 20 && behind > n / 20);
        CHECK_NEAR(before, behind, 5 * sqrt(n)); /* neither member is favoured */
    }
    dnas_genomes_release(&g);
}

/* Of all pairs that fit in one sequence, the first window takes each place that
 * leaves room for the second as often, and the second each place left. */
static void test_two_are_uniform(void)
{
    enum { LENGTH = 25, L = 10, N = 60000 };
    static const uint32_t lengths[] = {LENGTH, 0};
    const struct dnas_range r = {L, L};
    char *path = made_file("tight.fa", lengths);
    int count[LENGTH][LENGTH] = {{0}}, n_first = 0;
    struct dnas_genomes g;
    struct dnas_err err = {""};
    struct dnas_rng rng;

    CHECK_INT(made_index(&g, &path, 1, 1, &err), 0);
    dnas_rng_init(&rng, 4, DNAS_RNG_TEST, 0, 0);
    for (int i = 0; i < N; i++) {
        struct dnas_window w[2];

        dnas_windows_draw_two(w, &g, 0, &r, &rng);
        count[w[0].start][w[1].start]++;
    }
    for (int a = 0; a + L <= LENGTH; a++)
        n_first += a + 2 * L <= LENGTH || a >= L;
    CHECK_INT(n_first, 12);
    for (int a = 0; a < LENGTH; a++) {
        int n_second = 0;

        for (int b = 0; b + L <= LENGTH; b++)
            n_second += a + L <= LENGTH && (b + L <= a || b >= a + L);
        for (int b = 0; b < LENGTH; b++) {
            bool fits = a + L <= LENGTH && b + L <= LENGTH && (b + L <= a || b >= a + L);
            double want = fits ? (double)N / n_first / n_second : 0;

            CHECK_NEAR(count[a][b], want, 5 * sqrt(want));
        }
    }
    dnas_genomes_release(&g);
}

/* The same where hardly anything fits: no pair is lost by drawing in vain. */
static void test_two_in_little_room(void)
{
    enum { N = 8000 };
    static const uint32_t lengths[] = {2003, 0};
    const struct dnas_range r = {1000, 1000};
    char *path = made_file("little.fa", lengths);
    static int first[2003];
    struct dnas_genomes g;
    struct dnas_err err = {""};
    struct dnas_rng rng;

    CHECK_INT(made_index(&g, &path, 1, 1, &err), 0);
    dnas_rng_init(&rng, 9, DNAS_RNG_TEST, 0, 0);
    for (int i = 0; i < N; i++) {
        struct dnas_window w[2];

        dnas_windows_draw_two(w, &g, 0, &r, &rng);
        CHECK(!overlap(&w[0], &w[1]) && inside(&g, &w[0]) && inside(&g, &w[1]));
        first[w[0].start]++;
    }
    for (int k = 0; k < 4; k++) {
        CHECK_NEAR(first[k], N / 8.0, 5 * sqrt(N / 8.0));
        CHECK_NEAR(first[1000 + k], N / 8.0, 5 * sqrt(N / 8.0));
    }
    dnas_genomes_release(&g);
}

/* A genome of exactly two windows, or of two islands in a sea of N, has just
 * those two, in either order. */
static void test_two_and_no_more(void)
{
    static const uint32_t lengths[] = {2000, 0};
    const struct dnas_range r = {1000, 1000}, wide = {1000, 5000};
    char *paths[2], *letters = made_letters(40000, 3);
    struct dnas_genomes g;
    struct dnas_err err = {""};
    struct dnas_rng rng;
    FILE *f;
    int n_zero = 0;

    paths[0] = made_file("two.fa", lengths);
    paths[1] = (char *)file_path("islands.fa");
    memset(letters, 'N', 10000);
    memset(letters + 11000, 'N', 28000);
    f = fopen(paths[1], "w");
    made_record(f, "i", letters);
    fclose(f);
    CHECK_INT(made_index(&g, paths, 2, 1, &err), 0);
    dnas_rng_init(&rng, 5, DNAS_RNG_TEST, 0, 0);
    for (int i = 0; i < 200; i++) {
        struct dnas_window w[2];

        dnas_windows_draw_two(w, &g, 1, i % 2 ? &r : &wide, &rng);
        CHECK_INT(w[0].start + w[1].start, 1000);
        CHECK_INT(w[0].length_bp + w[1].length_bp, 2000);
        n_zero += w[0].start == 0;
        dnas_windows_draw_two(w, &g, 0, i % 2 ? &r : &wide, &rng);
        for (int k = 0; k < 2; k++) {
            uint32_t other = dnas_genomes_count_other(&g, w[k].seq, w[k].start, w[k].length_bp);

            CHECK(inside(&g, &w[k]) && other * 20 <= w[k].length_bp);
        }
        CHECK(!overlap(&w[0], &w[1]));
    }
    CHECK_NEAR(n_zero, 100, 5 * sqrt(50));
    free(letters);
    dnas_genomes_release(&g);
}

/* Five in a hundred letters may be other than bases, and not one more. */
static void test_other_letters(void)
{
    enum { N = 20000, LENGTH = 3000, L = 100 };
    char *letters = made_letters(LENGTH, 4), *path = (char *)file_path("n.fa");
    const struct dnas_range r = {L, L};
    int most = 0, n_possible = 0, n_drawn = 0;
    static bool drawn[LENGTH];
    struct dnas_genomes g;
    struct dnas_err err = {""};
    struct dnas_rng rng;
    FILE *f = fopen(path, "w");

    memset(letters + 1000, 'N', 60);
    for (int i = 1500; i < 2500; i += 13)
        letters[i] = 'R';
    made_record(f, "n", letters);
    fclose(f);
    CHECK_INT(made_index(&g, &path, 1, 1, &err), 0);
    dnas_rng_init(&rng, 6, DNAS_RNG_TEST, 0, 0);
    for (int i = 0; i < N; i++) {
        struct dnas_window w[2];

        dnas_windows_draw_two(w, &g, 0, &r, &rng);
        for (int k = 0; k < 2; k++) {
            int n = 0;

            for (uint32_t at = w[k].start; at < w[k].start + L; at++)
                n += !strchr("ACGT", letters[at]);
            most = n > most ? n : most;
            drawn[w[k].start] = true;
        }
    }
    for (int start = 0; start + L <= LENGTH; start++) {
        int n = 0;

        for (int at = start; at < start + L; at++)
            n += !strchr("ACGT", letters[at]);
        n_possible += n <= 5;
        n_drawn += drawn[start];
        CHECK(n <= 5 || !drawn[start]);
    }
    CHECK_INT(most, 5);
    CHECK_INT(n_drawn, n_possible); /* 20000 pairs leave none of 1600 out */
    CHECK(n_possible < LENGTH - L && n_possible > 1000);
    free(letters);
    dnas_genomes_release(&g);
}

static void test_count(void)
{
    static const uint32_t lengths[] = {1050, 999, 100, 99, 0};
    char *paths[2], *letters = made_letters(1000, 5);
    struct dnas_window w[30];
    struct dnas_genomes g;
    struct dnas_err err = {""};
    FILE *f;

    paths[0] = made_file("a.fa", lengths);
    paths[1] = (char *)file_path("b.fa");
    f = fopen(paths[1], "w");
    memset(letters + 100, 'N', 700);
    made_record(f, "b", letters);
    fclose(f);
    CHECK_INT(made_index(&g, paths, 2, 1, &err), 0);
    CHECK_INT(dnas_windows_count(&g, 0, 100, 30, w), 10 + 9 + 1);
    CHECK_INT(w[10].start, 0);
    CHECK_INT(w[9].start, 900);
    CHECK_INT(dnas_windows_count(&g, 0, 100, 2, NULL), 2);
    CHECK_INT(dnas_windows_count(&g, 0, 1051, 2, NULL), 0);
    CHECK_INT(dnas_windows_count(&g, 0, 1000, 2, NULL), 1);
    /* ACGT 0..99, N 100..799, ACGT 800..999: the second window may begin with 5 N. */
    CHECK_INT(dnas_windows_count(&g, 1, 100, 30, w), 3);
    CHECK_INT(w[0].start, 0);
    CHECK_INT(w[1].start, 795);
    CHECK_INT(w[2].start, 895);
    CHECK_INT(dnas_windows_count(&g, 1, 19, 30, NULL), 5 + 10);
    CHECK_INT(dnas_windows_count(&g, 1, 300, 30, NULL), 0);
    free(letters);
    dnas_genomes_release(&g);
}

static void test_many(void)
{
    static const uint32_t lengths[] = {100000, 5500, 1999, 1000, 0};
    static const struct dnas_range ranges[] = {{1000, 1000}, {1000, 4000}};
    char *path = made_file("many.fa", lengths);
    struct dnas_window *w = malloc(200 * sizeof(*w));
    struct dnas_genomes g;
    struct dnas_err err = {""};
    struct dnas_rng rng;

    CHECK_INT(made_index(&g, &path, 1, 1, &err), 0);
    dnas_rng_init(&rng, 7, DNAS_RNG_TEST, 0, 0);
    for (int i = 0; i < 2; i++) {
        size_t n = dnas_windows_draw_many(w, 200, &g, 0, &ranges[i], &rng), in_order = 0;

        CHECK(i == 0 ? n == 100 + 5 + 1 + 1 : n > 30 && n < 70);
        for (size_t k = 0; k < n; k++) {
            CHECK(inside(&g, &w[k]));
            CHECK(w[k].length_bp >= ranges[i].low && w[k].length_bp <= ranges[i].high);
            for (size_t m = 0; m < k; m++)
                CHECK(!overlap(&w[k], &w[m]));
            in_order += k > 0 && w[k].start > w[k - 1].start;
        }
        CHECK(in_order > n / 4 && in_order < n * 3 / 4); /* the order is random */
        CHECK_INT(dnas_windows_draw_many(w, 20, &g, 0, &ranges[i], &rng), 20);
        CHECK_INT(dnas_windows_draw_many(w, 0, &g, 0, &ranges[i], &rng), 0);
    }
    free(w);
    dnas_genomes_release(&g);
}

/* In a long sequence the lengths are log-uniform, and so are those of pairs. */
static void test_lengths(void)
{
    enum { N = 20000 };
    static const uint32_t lengths[] = {4000000, 0};
    const struct dnas_range r = {200, 2000};
    char *path = made_file("long.fa", lengths);
    double low = log(200), width = log(2001) - log(200);
    struct dnas_window *w = malloc(N * sizeof(*w));
    struct dnas_genomes g;
    struct dnas_err err = {""};
    struct dnas_rng rng;
    size_t n;

    CHECK_INT(made_index(&g, &path, 1, 1, &err), 0);
    dnas_rng_init(&rng, 8, DNAS_RNG_TEST, 0, 0);
    for (int i = 0; i < 3; i++) { /* both members of pairs, then many */
        double sum = 0, sum2 = 0;

        n = i == 2 ? dnas_windows_draw_many(w, N, &g, 0, &r, &rng) : N;
        CHECK(n > 4000);
        for (size_t k = 0; k < n; k++) {
            struct dnas_window two[2];
            double u;

            if (i < 2) {
                dnas_windows_draw_two(two, &g, 0, &r, &rng);
                w[k] = two[i];
            }
            u = (log(w[k].length_bp + 0.5) - low) / width;
            sum += u;
            sum2 += u * u;
        }
        CHECK_NEAR(sum / (double)n, 0.5, 5 * sqrt(1.0 / 12 / (double)n));
        CHECK_NEAR(sum2 / (double)n, 1.0 / 3, 5 * sqrt(4.0 / 45 / (double)n));
    }
    free(w);
    dnas_genomes_release(&g);
}

static void test_letters_and_names(void)
{
    char *path = (char *)file_text("l.fa", ">a:b x\nAACCGGTN\n");
    static const char *const want[][3] = {{"+", "ACCGG", "a:b:2-6+"},
                                          {"-", "CCGGT", "a:b:2-6-"},
                                          {"c", "TGGCC", "a:b:2-6c"},
                                          {"r", "GGCCA", "a:b:2-6r"}};
    struct dnas_genomes g;
    struct dnas_err err = {""};
    struct dnas_excerpt *e;

    CHECK_INT(made_index(&g, &path, 1, 1, &err), 0);
    e = dnas_excerpt_new(&g);
    dnas_excerpt_mark(e, 0, 1, 5);
    CHECK_INT(dnas_excerpt_load(e, 1 << 20, 1, &err), 0);
    for (int i = 0; i < 4; i++) {
        const struct dnas_window w = {
            .seq = 0, .start = 1, .length_bp = 5, .strand = want[i][0][0]};
        struct dnas_text t = {0};

        dnas_text_append(&t, "x", 1);
        CHECK_INT(dnas_window_letters(&t, e, &w, &err), 0);
        CHECK_STR(t.data + 1, want[i][1]);
        t.n = 0;
        dnas_window_name(&t, &g, &w);
        CHECK_STR(t.data, want[i][2]);
        free(t.data);
    }
    dnas_excerpt_free(e);
    dnas_genomes_release(&g);
}

int main(void)
{
    RUN(test_ranges);
    RUN(test_log_uniform);
    RUN(test_places_are_equal);
    RUN(test_two_do_not_overlap);
    RUN(test_two_are_uniform);
    RUN(test_two_in_little_room);
    RUN(test_two_and_no_more);
    RUN(test_other_letters);
    RUN(test_count);
    RUN(test_many);
    RUN(test_lengths);
    RUN(test_letters_and_names);
    return check_done();
}
