/* SPDX-License-Identifier: MIT
 *
 * test_kmer_count.c - counts of k-mers against the definition, window by window.
 */
#include "kernels/kernels.h"

#include "common/rng.h"
#include "common/xmem.h"
#include "tests/unit/check.h"

#define SEED 20241120
#define GUARD 16

/* The contract, one window at a time. */
static void by_definition(uint64_t *counts, const char *letters, size_t n, int k)
{
    for (size_t i = 0; i + (size_t)k <= n; i++) {
        size_t index = 0;
        bool valid = true;

        for (size_t j = 0; j < (size_t)k; j++) {
            const char *at = letters[i + j] ? strchr("ACGT", letters[i + j]) : NULL;

            valid = valid && at;
            index = index * 4 + (at ? (size_t)(at - "ACGT") : 0);
        }
        if (valid)
            counts[index]++;
    }
}

static void count4(uint64_t *counts, const char *letters, size_t n, int k)
{
    (void)k;
    dnas_cpu_kmer4_count(counts, letters, n);
}

static void count4_plain(uint64_t *counts, const char *letters, size_t n, int k)
{
    (void)k;
    dnas_cpu_kmer4_count_plain(counts, letters, n);
}

/* Counts are added to, canaries around them stay, the letters end where an allocation ends (for
 * the address sanitizer), `shift` bytes off its start. */
static bool agrees(void (*count)(uint64_t *, const char *, size_t, int), int k, const char *text,
                   size_t n, size_t shift)
{
    size_t n_counts = (size_t)1 << 2 * k, size = GUARD + n_counts + GUARD;
    uint64_t *got = dnas_xalloc(size, sizeof *got), *want = dnas_xalloc(size, sizeof *want);
    char *copy = dnas_xalloc(n + shift, 1);
    bool same;

    memcpy(copy + shift, text, n);
    for (size_t i = 0; i < size; i++)
        got[i] = want[i] = (uint64_t)i << 40;
    by_definition(want + GUARD, text, n, k);
    count(got + GUARD, copy + shift, n, k);
    same = memcmp(got, want, size * sizeof *got) == 0;
    free(copy);
    free(got);
    free(want);
    return same;
}

static void check_one(void (*count)(uint64_t *, const char *, size_t, int), int k, const char *name,
                      const char *what, const char *text, size_t n, size_t shift)
{
    if (!agrees(count, k, text, n, shift))
        CHECK_FAIL("%s, k %d, %s: %zu letters at offset %zu (seed %d)", name, k, what, n, shift,
                   SEED);
}

static void check_both(const char *what, const char *text, size_t n, size_t shift)
{
    check_one(count4, 4, "kmer4", what, text, n, shift);
    check_one(count4_plain, 4, "kmer4 plain", what, text, n, shift);
    check_one(dnas_cpu_kmer_count, 5, "kmer", what, text, n, shift);
}

/* n letters, each drawn from `alphabet`, one in `one_in` from `rare` (0: none). */
static char *draw(size_t n, const char *alphabet, const char *rare, uint64_t one_in, uint32_t row)
{
    struct dnas_rng rng;
    char *text = dnas_xalloc(n, 1);

    dnas_rng_init(&rng, SEED, DNAS_RNG_TEST, 0, row);
    for (size_t i = 0; i < n; i++) {
        const char *from = one_in && dnas_rng_below(&rng, one_in) == 0 ? rare : alphabet;

        text[i] = from[dnas_rng_below(&rng, strlen(from))];
    }
    return text;
}

static void test_every_length(void)
{
    char *text = draw(2300, "ACGT", "", 0, 1);

    for (size_t n = 0; n <= 1400; n++)
        check_both("ACGT", text, n, n % 67);
    for (size_t n = 2000; n <= 2300; n++)
        check_one(dnas_cpu_kmer_count, 5, "kmer", "ACGT", text, n, n % 67);
    free(text);
}

/* About each length at which the way of counting changes. */
static void test_long(void)
{
    static const size_t around[] = {512,    2000,   12000,  20000,  65536,
                                    130944, 131070, 262016, 262144, 524032};
    char *text = draw(600000, "ACGT", "", 0, 2);

    for (size_t i = 0; i < sizeof around / sizeof *around; i++) {
        for (size_t d = 0; d <= 9; d++)
            check_both("ACGT", text, around[i] - 5 + d, d);
    }
    check_both("ACGT", text, 600000, 0);
    free(text);
}

static void test_alignments(void)
{
    char *text = draw(25000, "ACGT", "Nn-", 500, 3);

    for (size_t shift = 0; shift <= 130; shift++) {
        check_both("any alignment", text + shift, 1100, shift);
        if (shift % 8 == 0)
            check_both("any alignment", text + shift, 21000, shift);
    }
    free(text);
}

static void test_every_byte(void)
{
    char *text = draw(22000, "ACGT", "", 0, 4);

    for (int c = 0; c < 256; c++) {
        for (size_t i = (size_t)c; i < 22000; i += 997)
            text[i] = (char)c;
        check_both("a byte among letters", text, 700, 0);
        check_both("a byte among letters", text, 22000, 0);
    }
    free(text);
}

static void test_invalid_at_every_place(void)
{
    char *text = draw(20600, "ACGT", "", 0, 5);

    for (size_t i = 0; i < 600; i++) {
        char kept = text[i];

        text[i] = 'N';
        check_both("one N", text, 600, 0);
        if (i < 300)
            check_both("one N", text, 20300, 0);
        for (size_t end = i; i < 300 && end < i + 12; end += 3) {
            char pair = text[end];

            text[end] = 'n';
            check_both("two N", text, 600, 0);
            text[end] = pair;
        }
        text[i] = kept;
    }
    free(text);
}

static void test_sprinkled(void)
{
    static const uint64_t one_in[] = {2, 3, 5, 10, 100, 1000};

    for (uint32_t i = 0; i < sizeof one_in / sizeof *one_in; i++) {
        char *text = draw(300000, "ACGT", "NRYKMSWBDHVacgtn*-U@", one_in[i], 10 + i);

        check_both("sprinkled", text, 3000, 1);
        check_both("sprinkled", text, 300000, 1);
        free(text);
    }
}

/* Runs of one letter load one counter: 16 bits must not overflow. */
static void test_runs(void)
{
    char *text = dnas_xalloc(1100000, 1);

    for (int i = 0; i < 6; i++) {
        memset(text, "ACGTNa"[i], 1100000);
        check_both("a run", text, 1100000, 0);
        check_both("a run", text, 19999, 0);
    }
    memset(text, 'T', 1100000);
    for (size_t i = 5000; i + 3000 < 1100000; i += 10000)
        memset(text + i, 'N', 3000);
    check_both("runs of N", text, 1100000, 0);
    free(text);
}

/* As the contract says: each piece begins with the last three letters of the one before. */
static void test_in_pieces(void)
{
    char *text = draw(100000, "ACGT", "N", 50, 6);
    struct dnas_rng rng;

    dnas_rng_init(&rng, SEED, DNAS_RNG_TEST, 0, 7);
    for (int round = 0; round < 20; round++) {
        uint64_t whole[256] = {0}, pieces[256] = {0};

        dnas_cpu_kmer4_count(whole, text, 100000);
        for (size_t at = 0; at < 100000;) {
            size_t n = 1 + dnas_rng_below(&rng, 30000), before = at < 3 ? at : 3;

            n = n < 100000 - at ? n : 100000 - at;
            dnas_cpu_kmer4_count(pieces, text + at - before, n + before);
            at += n;
        }
        CHECK(memcmp(whole, pieces, sizeof whole) == 0);
    }
    free(text);
}

/* Every length of words, by the way that is chosen and by the plain one. */
static void test_every_k(void)
{
    char *text = draw(30000, "ACGT", "Nn", 300, 8);

    for (int k = 1; k <= DNAS_KMER_MAX; k++) {
        static const size_t lengths[] = {0, 1, 4, 8, 9, 700, 2500, 30000};

        for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
            check_one(dnas_cpu_kmer_count, k, "kmer", "any k", text, lengths[i], 1);
            check_one(dnas_cpu_kmer_count_plain, k, "kmer plain", "any k", text, lengths[i], 1);
        }
    }
    free(text);
}

int main(void)
{
    RUN(test_every_length);
    RUN(test_long);
    RUN(test_alignments);
    RUN(test_every_byte);
    RUN(test_invalid_at_every_place);
    RUN(test_sprinkled);
    RUN(test_runs);
    RUN(test_in_pieces);
    RUN(test_every_k);
    return check_done();
}
