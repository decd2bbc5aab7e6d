/* SPDX-License-Identifier: MIT
 *
 * test_letters.c - copying and folding letters, against a letter at a time.
 */
#include "kernels/kernels.h"

#include <ctype.h>

#include "common/rng.h"
#include "tests/unit/check.h"

#define MAX 400

static char folded(char c, int keep_case)
{
    if (keep_case)
        return c;
    c = (char)toupper((unsigned char)c);
    return c == 'U' ? 'T' : c;
}

static bool is_base(char c)
{
    return c == 'A' || c == 'C' || c == 'G' || c == 'T';
}

static bool is_letter(char c)
{
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
}

/* Text of bases, now and then something else out of `odd`. */
static void draw(char *text, size_t n, const char *odd, unsigned one_in, struct dnas_rng *rng)
{
    for (size_t i = 0; i < n; i++) {
        text[i] = "ACGTacgtUu"[dnas_rng_below(rng, 10)];
        if (dnas_rng_below(rng, one_in) == 0)
            text[i] = odd[dnas_rng_below(rng, strlen(odd))];
    }
}

static void check_copy(enum dnas_letters (*copy)(char *, const char *, size_t, int),
                       const char *odd, int keep_case, size_t n, struct dnas_rng *rng)
{
    char in[MAX] = "", out[MAX + 64];
    enum dnas_letters want = DNAS_LETTERS_BASES;

    draw(in, n, odd, 40, rng);
    memset(out, '!', sizeof(out));
    for (size_t i = 0; i < n; i++)
        if (!is_letter(in[i]))
            want = DNAS_LETTERS_ODD;
        else if (want != DNAS_LETTERS_ODD && !is_base(folded(in[i], keep_case)))
            want = DNAS_LETTERS_ALL;
    CHECK_INT(copy(out + 32, in, n, keep_case), want);
    for (size_t i = 0; i < n; i++)
        if (is_letter(in[i]) && out[32 + i] != folded(in[i], keep_case))
            CHECK_FAIL("letter %zu of %zu: '%c' became '%c'", i, n, in[i], out[32 + i]);
    CHECK(out[31] == '!' && out[32 + n] == '!');
}

static void test_copy(void)
{
    static const char *const odds[] = {"NnRYk", "*-.1 ", "@[`{/:\x80\xff\x1f"};
    struct dnas_rng rng;

    dnas_rng_init(&rng, 1, DNAS_RNG_TEST, 0, 0);
    for (size_t n = 0; n <= 200; n++)
        for (int i = 0; i < 12; i++) {
            check_copy(dnas_cpu_letters_copy, odds[i % 3], i & 1, n, &rng);
            check_copy(dnas_cpu_letters_copy_plain, odds[i % 3], i & 1, n, &rng);
        }
}

static void test_copy_every_byte(void)
{
    for (int c = 0; c < 256; c++)
        for (size_t at = 0; at < 70; at += 23) {
            char in[70], out[70];

            memset(in, 'a', sizeof(in));
            in[at] = (char)c;
            CHECK_INT(dnas_cpu_letters_copy(out, in, 70, 0),
                      dnas_cpu_letters_copy_plain(out, in, 70, 0));
        }
}

/* What is used is right: letters without line ends, in order, and counted. */
static void check_lines(const char *in, size_t n, size_t room, int keep_case)
{
    char out[MAX + 64], want[MAX];
    uint64_t n_other = 7, want_other = 7;
    int ended_line = -1;
    size_t n_out, n_want = 0, used;

    memset(out, '!', sizeof(out));
    used = dnas_cpu_letters_lines(out, room, &n_out, &n_other, &ended_line, in, n, keep_case);
    CHECK(used <= n && n_out <= room);
    for (size_t i = 0; i < used; i++) {
        if (in[i] == '\n')
            continue;
        CHECK(is_letter(in[i]));
        want[n_want] = folded(in[i], keep_case);
        want_other += !is_base(want[n_want++]);
    }
    CHECK_INT(n_out, n_want);
    CHECK(n_out == n_want && memcmp(out, want, n_want) == 0);
    CHECK_INT(n_other, want_other);
    CHECK_INT(ended_line, used == 0 ? -1 : in[used - 1] == '\n');
    for (size_t i = room; i < sizeof(out); i++)
        CHECK(out[i] == '!');
}

static void test_lines(void)
{
    struct dnas_rng rng;

    dnas_rng_init(&rng, 2, DNAS_RNG_TEST, 0, 0);
    for (int i = 0; i < 20000; i++) {
        char in[MAX] = "";
        size_t n = (size_t)dnas_rng_below(&rng, MAX);
        size_t room = (size_t)dnas_rng_below(&rng, MAX);

        draw(in, n, i % 2 ? "\n\nN" : "\n\r>*N\n", i % 3 ? 60 : 8, &rng);
        check_lines(in, n, room, i & 1);
    }
}

/* A plain line must not fall to the slow path where there is a fast one. */
static void test_lines_are_taken(void)
{
    char in[162], out[200];
    uint64_t n_other = 0;
    int ended_line = 0;
    size_t n_out, used;

    memset(in, 'A', sizeof(in));
    in[80] = in[161] = '\n';
    used =
        dnas_cpu_letters_lines(out, sizeof(out), &n_out, &n_other, &ended_line, in, sizeof(in), 0);
    if (used == 0)
        SKIP("no version for this processor");
    CHECK(used >= sizeof(in) - 32);
}

int main(void)
{
    RUN(test_copy);
    RUN(test_copy_every_byte);
    RUN(test_lines);
    RUN(test_lines_are_taken);
    return check_done();
}
