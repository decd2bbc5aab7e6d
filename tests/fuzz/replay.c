/* SPDX-License-Identifier: MIT
 *
 * replay.c - a fuzz program as a test: its samples, whole, cut, flipped and with
 * lies in their numbers, the same each time.
 *
 *   fuzz_X          the tests, as TAP
 *   fuzz_X FILE...  these inputs alone: what `make fuzz` found
 *
 * Nothing may crash, hang or take much memory; what is refused has a sentence.
 */
#include <sys/resource.h>

#include "common/io.h"
#include "common/rng.h"
#include "common/xmem.h"
#include "tests/fuzz/fuzz.h"
#include "tests/unit/check.h"

#define ROOM 4096  /* that a changed sample may be longer */
#define LARGE 3000 /* samples above are not changed at each byte */
#define MAX_MEMORY (3ull << 30)
#define N_RANDOM 400

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define HAS_SHADOW 1 /* sanitizers map terabytes that they do not use */
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define HAS_SHADOW 1
#endif
#endif

/* A changed sample, tried as it is and mended.  Sanitizers make the readers' large
 * buffers dear: then one of eight, and `make fuzz` for the rest. */
static void try_both(const uint8_t *data, size_t n)
{
    uint8_t *copy, *exact;
    size_t mended;

#ifdef HAS_SHADOW
    static unsigned n_calls;

    if (n_calls++ % 8)
        return;
#endif
    copy = dnas_xalloc(n + ROOM, 1);
    memcpy(copy, data, n);
    mended = fuzz_mend(copy, n, n + ROOM);
    fuzz_try(data, n);
    exact = dnas_xalloc(mended, 1); /* so that a sanitizer sees its end */
    memcpy(exact, copy, mended);
    fuzz_try(exact, mended);
    free(exact);
    free(copy);
}

static size_t step(size_t n)
{
    return n > LARGE ? n / (LARGE / 4) : 1;
}

static void each_seed(void (*run)(const uint8_t *data, size_t n))
{
    uint8_t *data;
    size_t n;

    for (size_t i = 0; (data = fuzz_seed(i, &n)) != NULL; i++) {
        run(data, n);
        free(data);
    }
}

static void take(const uint8_t *data, size_t n)
{
    uint8_t *copy = dnas_xalloc(n + ROOM, 1);

    CHECK_INT(fuzz_try(data, n), 1);
    memcpy(copy, data, n);
    n = fuzz_mend(copy, n, n + ROOM); /* leaves what fits as it is */
    CHECK_INT(fuzz_try(copy, n), 1);
    free(copy);
}

static void test_samples_are_taken(void)
{
    each_seed(take);
    fuzz_try((const uint8_t *)"", 0);
}

static void cut(const uint8_t *data, size_t n)
{
    for (size_t k = 0; k < n; k += step(n)) {
        uint8_t *copy = dnas_xalloc(k, 1);

        memcpy(copy, data, k);
        try_both(copy, k);
        free(copy);
    }
}

static void test_cut_at_every_byte(void)
{
    each_seed(cut);
}

static void flip(const uint8_t *data, size_t n)
{
    uint8_t *copy = dnas_xalloc(n, 1);

    memcpy(copy, data, n);
    for (size_t k = 0; k < n && k < 640; k++)
        for (int bit = 0; bit < 8; bit++) {
            copy[k] = (uint8_t)(copy[k] ^ 1 << bit);
            try_both(copy, n);
            copy[k] = data[k];
        }
    free(copy);
}

static void test_each_bit_of_headers(void)
{
    each_seed(flip);
}

/* Numbers near 2^31, 2^32, 2^63 and 2^64 in place of any four or eight bytes. */
static void lie(const uint8_t *data, size_t n)
{
    static const uint64_t lies[] = {0,
                                    0x7fffffff,
                                    0xffffffff,
                                    0xfffffffe,
                                    UINT64_C(1) << 32,
                                    (UINT64_C(1) << 32) + 1,
                                    INT64_MAX,
                                    UINT64_C(1) << 63,
                                    UINT64_MAX,
                                    UINT64_MAX - 63,
                                    UINT64_MAX - 7};
    uint8_t *copy = dnas_xalloc(n, 1);

    memcpy(copy, data, n);
    for (size_t k = 0; k<n; k += n> 600 ? (step(n) + 3) / 4 * 4 : 1)
        for (size_t i = 0; i < sizeof(lies) / sizeof(lies[0]); i++) {
            size_t size = lies[i] >> 32 ? 8 : 4;

            if (k + size > n)
                continue;
            for (size_t b = 0; b < size; b++)
                copy[k + b] = (uint8_t)(lies[i] >> (8 * b));
            try_both(copy, n);
            memcpy(copy + k, data + k, size);
        }
    free(copy);
}

static void test_sizes_that_lie(void)
{
    each_seed(lie);
}

/* The same for numbers in text. */
static void lie_in_text(const uint8_t *data, size_t n)
{
    static const char *const lies[] = {"-1",
                                       "0",
                                       "4294967295",
                                       "4294967296",
                                       "9223372036854775807",
                                       "9223372036854775808",
                                       "18446744073709551615",
                                       "99999999999999999999999999",
                                       "1.5",
                                       "1e400",
                                       "nan",
                                       "null",
                                       "\"\"",
                                       "[]",
                                       ""};
    char *copy = dnas_xalloc(n + 32, 1);
    int n_tried = 0;

    for (size_t k = 0, end; k < n && n_tried < 300; k = end) {
        end = k + 1;
        if (data[k] < '0' || data[k] > '9')
            continue;
        while (end < n && data[end] >= '0' && data[end] <= '9')
            end++;
        n_tried++;
        for (size_t i = 0; i < sizeof(lies) / sizeof(lies[0]); i++) {
            size_t size = strlen(lies[i]);

            memcpy(copy, data, k);
            memcpy(copy + k, lies[i], size);
            memcpy(copy + k + size, data + end, n - end);
            try_both((uint8_t *)copy, k + size + n - end);
        }
    }
    free(copy);
}

static void test_numbers_that_lie(void)
{
    each_seed(lie_in_text);
}

/* One random change; returns the new size, n + 64 at most. */
static size_t change(uint8_t *data, size_t n, struct dnas_rng *rng)
{
    size_t at = dnas_rng_below(rng, (uint32_t)n + 1);
    size_t m = 1 + dnas_rng_below(rng, 64);

    if (m > n - at)
        m = n - at;
    switch (dnas_rng_below(rng, 5)) {
    case 0: /* a byte */
        if (at < n)
            data[at] = (uint8_t)dnas_rng_below(rng, 256);
        return n;
    case 1: /* bytes gone */
        memmove(data + at, data + at + m, n - at - m);
        return n - m;
    case 2: /* bytes twice */
        memmove(data + at + m, data + at, n - at);
        return n + m;
    case 3: /* bytes of another place */
        memmove(data + at, data + dnas_rng_below(rng, (uint32_t)(n - m) + 1), m);
        return n;
    default: /* a bit */
        if (at < n)
            data[at] = (uint8_t)(data[at] ^ 1u << dnas_rng_below(rng, 8));
        return n;
    }
}

static void change_at_random(const uint8_t *data, size_t n)
{
    for (uint32_t k = 0; k < N_RANDOM; k++) {
        uint8_t *copy = dnas_xalloc(n + 8 * 64, 1);
        struct dnas_rng rng;
        size_t size = n;
        int n_changes;

        memcpy(copy, data, n);
        dnas_rng_init(&rng, 5, DNAS_RNG_TEST, (uint32_t)n, k);
        n_changes = 1 + (int)dnas_rng_below(&rng, 8);
        for (int i = 0; i < n_changes; i++)
            size = change(copy, size, &rng);
        try_both(copy, size);
        free(copy);
    }
}

static void test_changed_at_random(void)
{
    each_seed(change_at_random);
}

static int replay_files(int n, char **paths)
{
    for (int i = 0; i < n; i++) {
        struct dnas_err err = {""};
        size_t size;
        char *data = dnas_read_file(paths[i], 1 << 30, &size, &err);

        if (!data) {
            fprintf(stderr, "%s\n", err.msg);
            return 1;
        }
        printf("%s: %s\n", paths[i], fuzz_try((uint8_t *)data, size) ? "taken" : "refused");
        free(data);
    }
    return 0;
}

int main(int argc, char **argv)
{
    if (argc > 1)
        return replay_files(argc - 1, argv + 1);
#ifndef HAS_SHADOW
    setrlimit(RLIMIT_AS, &(struct rlimit){MAX_MEMORY, MAX_MEMORY});
#endif
    RUN(test_samples_are_taken);
    RUN(test_cut_at_every_byte);
    RUN(test_each_bit_of_headers);
    RUN(test_sizes_that_lie);
    RUN(test_numbers_that_lie);
    RUN(test_changed_at_random);
    return check_done();
}
