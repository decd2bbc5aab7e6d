/* SPDX-License-Identifier: MIT
 *
 * test_mutate.c - strands, and errors in the numbers and kinds asked for.
 */
#include "common/mutate.h"

#include "tests/unit/check.h"
#include "tests/unit/genomes_made.h"

static void test_strands(void)
{
    char s[] = "ACGTRYKMBVDHNSW-", t[] = "GATTACA", odd[] = "ACG";

    dnas_complement(s, strlen(s));
    CHECK_STR(s, "TGCAYRMKVBHDNSW-");
    dnas_complement(s, strlen(s));
    CHECK_STR(s, "ACGTRYKMBVDHNSW-");
    dnas_reverse(t, 7);
    CHECK_STR(t, "ACATTAG");
    dnas_complement(t, 7);
    CHECK_STR(t, "TGTAATC");
    dnas_reverse(odd, 2);
    CHECK_STR(odd, "CAG");
    dnas_reverse(odd, 0);
    dnas_complement(odd, 0);
    CHECK_STR(odd, "CAG");
}

/* Letters other than A. */
static double n_others(const struct dnas_text *t)
{
    double n = 0;

    for (size_t i = 0; i < t->n; i++)
        n += t->data[i] != 'A';
    return n;
}

static struct dnas_text mutate(const char *letters, size_t n, double rate, enum dnas_profile p)
{
    struct dnas_text t = {0};
    struct dnas_rng rng;

    dnas_rng_init(&rng, 5, DNAS_RNG_TEST, (uint32_t)p, 0);
    dnas_mutate(&t, letters, n, rate, p, &rng);
    return t;
}

static void test_no_errors(void)
{
    for (int p = 0; dnas_profile_names[p]; p++) {
        struct dnas_text t = mutate("ACGTNACGT", 9, 0, (enum dnas_profile)p);

        CHECK_STR(t.data, "ACGTNACGT");
        free(t.data);
    }
}

/* Substitutions alone, letter by letter: their number within five standard
 * deviations of the binomial, all other bases as often. */
static void test_substitutions(void)
{
    enum { N = 400000 };
    static const double rates[] = {0.0001, 0.05, 0.5, 0.9};
    char *letters = made_letters(N, 1);

    for (size_t r = 0; r < 4; r++) {
        double rate = rates[r], n = 0, to[4] = {0};
        struct dnas_text t = mutate(letters, N, rate, DNAS_PROFILE_SUBSTITUTION);

        CHECK_INT(t.n, N);
        for (size_t i = 0; i < N && t.n == N; i++) {
            const char *bases = "ACGT";

            if (t.data[i] == letters[i])
                continue;
            n++;
            to[(strchr(bases, t.data[i]) - strchr(bases, letters[i]) + 4) % 4]++;
        }
        CHECK_NEAR(n, N * rate, 5 * sqrt(N * rate * (1 - rate)));
        for (int k = 1; k < 4; k++)
            CHECK_NEAR(to[k], n / 3, 5 * sqrt(n * 2 / 9));
        free(t.data);
    }
    free(letters);
}

/* Errors lie anywhere: gaps between them have the geometric mean and variance,
 * at both ends too. */
static void test_places(void)
{
    enum { N = 20, ROUNDS = 40000 };
    double at[N] = {0};
    struct dnas_rng rng;

    dnas_rng_init(&rng, 6, DNAS_RNG_TEST, 0, 0);
    for (int i = 0; i < ROUNDS; i++) {
        struct dnas_text t = {0};

        dnas_mutate(&t, "AAAAAAAAAAAAAAAAAAAA", N, 0.2, DNAS_PROFILE_SUBSTITUTION, &rng);
        for (int k = 0; k < N; k++)
            at[k] += t.data[k] != 'A';
        free(t.data);
    }
    for (int k = 0; k < N; k++)
        CHECK_NEAR(at[k], ROUNDS * 0.2, 5 * sqrt(ROUNDS * 0.16));
}

/* The shares of each profile, from a text of one letter: a substitution shows
 * as another letter, a deletion and an insertion in the length; of inserted
 * letters a quarter are A by chance, and those that repeat are. */
static void test_profiles(void)
{
    enum { N = 1000000 };
    static const struct {
        enum dnas_profile p;
        double sub, ins, del, repeats;
    } want[] = {{DNAS_PROFILE_EVEN, 1.0 / 3, 1.0 / 3, 1.0 / 3, 0},
                {DNAS_PROFILE_SUBSTITUTION, 1, 0, 0, 0},
                {DNAS_PROFILE_DELETION, 0, 0, 1, 0},
                {DNAS_PROFILE_NANOPORE, 0.23, 0.31, 0.46, 0.5},
                {DNAS_PROFILE_PACBIO, 0.10, 0.60, 0.30, 0.5}};
    const double rate = 0.05;
    char *letters = malloc(N);

    memset(letters, 'A', N);
    for (size_t i = 0; i < 5; i++) {
        struct dnas_text t = mutate(letters, N, rate, want[i].p);
        double others = n_others(&t);
        double want_others = N * rate * (want[i].sub + want[i].ins * 0.75 * (1 - want[i].repeats));
        double want_length = N + N * rate * (want[i].ins - want[i].del);
        double variance = N * rate * (want[i].ins + want[i].del);

        CHECK_NEAR(others, want_others, 5 * sqrt(want_others) + 1e-9);
        CHECK_NEAR((double)t.n, want_length, 5 * sqrt(variance) + 1e-9);
        free(t.data);
    }
    free(letters);
}

/* Deletions leave a subsequence; insertions have the text as one. */
static bool is_subsequence(const char *s, size_t n, const char *of, size_t m)
{
    size_t at = 0;

    for (size_t i = 0; i < m && at < n; i++)
        at += of[i] == s[at];
    return at == n;
}

static void test_subsequences(void)
{
    char *letters = made_letters(100000, 2);
    struct dnas_text t = mutate(letters, 100000, 0.3, DNAS_PROFILE_PACBIO);
    struct dnas_text d = mutate(letters, 100000, 0.3, DNAS_PROFILE_DELETION);
    const size_t n = 100000;

    CHECK(is_subsequence(d.data, d.n, letters, n));
    CHECK(!is_subsequence(t.data, t.n, letters, n));
    CHECK_NEAR((double)d.n, 70000, 5 * sqrt(100000 * 0.21));
    CHECK(t.n > n);
    free(t.data);
    free(d.data);
    free(letters);
}

static void test_other_letters_stay(void)
{
    for (int p = 0; dnas_profile_names[p]; p++) {
        struct dnas_text t = mutate("NNNNRYKM-*NNNNNNNNNN", 20, 0.9, (enum dnas_profile)p);

        CHECK_STR(t.data, "NNNNRYKM-*NNNNNNNNNN");
        free(t.data);
    }
}

int main(void)
{
    RUN(test_strands);
    RUN(test_no_errors);
    RUN(test_substitutions);
    RUN(test_places);
    RUN(test_profiles);
    RUN(test_subsequences);
    RUN(test_other_letters_stay);
    return check_done();
}
