/* SPDX-License-Identifier: MIT
 *
 * check.h - assertions for the unit tests; TAP on standard output.
 *
 * A program is a list of `static void test_x(void)` functions and
 *     int main(void) { RUN(test_x); ... return check_done(); }
 * A failed CHECK prints file, line and both sides, and the test goes on.
 */
#ifndef DNAS_CHECK_H
#define DNAS_CHECK_H

#include <inttypes.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int check_n_tests, check_n_failed;
static bool check_failed_here;
static const char *check_skipped_here;

#define CHECK_FAIL(...)                                                                            \
    do {                                                                                           \
        check_failed_here = true;                                                                  \
        printf("# %s:%d: ", __FILE__, __LINE__);                                                   \
        printf(__VA_ARGS__);                                                                       \
        putchar('\n');                                                                             \
    } while (0)

#define CHECK(cond)                                                                                \
    do {                                                                                           \
        if (!(cond))                                                                               \
            CHECK_FAIL("%s", #cond);                                                               \
    } while (0)

#define CHECK_INT(got, want)                                                                       \
    do {                                                                                           \
        long long got_ = (long long)(got), want_ = (long long)(want);                              \
        if (got_ != want_)                                                                         \
            CHECK_FAIL("%s is %lld, not %lld", #got, got_, want_);                                 \
    } while (0)

#define CHECK_STR(got, want)                                                                       \
    do {                                                                                           \
        const char *got_ = (got), *want_ = (want);                                                 \
        if (strcmp(got_, want_) != 0)                                                              \
            CHECK_FAIL("%s is '%s', not '%s'", #got, got_, want_);                                 \
    } while (0)

/* |got - want| <= tol; a NaN on either side fails. */
#define CHECK_NEAR(got, want, tol)                                                                 \
    do {                                                                                           \
        double got_ = (double)(got), want_ = (double)(want);                                       \
        if (!(fabs(got_ - want_) <= (tol)))                                                        \
            CHECK_FAIL("%s is %.17g, not %.17g within %g", #got, got_, want_, (double)(tol));      \
    } while (0)

/* Leaves the test as skipped, with the reason. */
#define SKIP(reason)                                                                               \
    do {                                                                                           \
        check_skipped_here = (reason);                                                             \
        return;                                                                                    \
    } while (0)

#define RUN(test)                                                                                  \
    do {                                                                                           \
        check_failed_here = false;                                                                 \
        check_skipped_here = NULL;                                                                 \
        test();                                                                                    \
        check_n_tests++;                                                                           \
        if (check_failed_here)                                                                     \
            check_n_failed++;                                                                      \
        printf("%sok %d - %s%s%s\n", check_failed_here ? "not " : "", check_n_tests, #test,        \
               check_skipped_here ? " # SKIP " : "",                                               \
               check_skipped_here ? check_skipped_here : "");                                      \
        fflush(stdout);                                                                            \
    } while (0)

static inline int check_done(void)
{
    printf("1..%d\n", check_n_tests);
    return check_n_failed ? 1 : 0;
}

/* The folder of other people's data (DNAS_TEST_DATA), or NULL: then SKIP. */
static inline const char *check_test_data(void)
{
    const char *dir = getenv("DNAS_TEST_DATA");

    return dir && *dir ? dir : NULL;
}

#endif
