/* SPDX-License-Identifier: MIT
 *
 * bench_features.c - how fast 4-mers are counted, beside what the machine allows.
 *
 * In:   bench_features [FILE [ROUNDS]]: letters without headers or line ends; no FILE: random ones
 * Out:  a TSV: the text's piece length in bytes, GB/s of a sum over the bytes with wide loads (the
 *       limit), of the plain loop, of the kernel; the kernel's share of the first, times the second
 *
 * One thread.  All three are timed in turn in each round, the best of ROUNDS counts, so that a busy
 * neighbour hurts them alike.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/features.h"
#include "common/rng.h"
#include "common/xmem.h"
#include "kernels/kernels.h"

#define MAX_BYTES ((size_t)256 << 20)

#if defined(__x86_64__)
#define WIDE __attribute__((target("avx2")))
#else
#define WIDE
#endif

typedef uint64_t vector __attribute__((vector_size(32)));

WIDE static inline vector load(const char *p)
{
    vector v;

    memcpy(&v, p, sizeof v);
    return v;
}

/* Reads all; the sum is of no use but to keep the compiler honest. */
WIDE static void sum_bytes(uint64_t *counts, const char *text, size_t n)
{
    vector sum[4] = {{0}};

    for (size_t i = 0; i + sizeof sum <= n; i += sizeof sum) {
        sum[0] += load(text + i);
        sum[1] += load(text + i + 32);
        sum[2] += load(text + i + 64);
        sum[3] += load(text + i + 96);
    }
    for (int j = 0; j < 16; j++)
        counts[j] += sum[j / 4][j % 4];
}

static double clock_s(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static double time_s(void (*count)(uint64_t *, const char *, size_t), const char *text, size_t n,
                     size_t piece)
{
    static volatile uint64_t sink;
    uint64_t counts[256] = {0};
    double start = clock_s();

    for (size_t at = 0; at < n; at += piece)
        count(counts, text + at, n - at < piece ? n - at : piece);
    sink = counts[0];
    (void)sink;
    return clock_s() - start;
}

static void bench_piece(const char *text, size_t n, size_t piece, int rounds)
{
    void (*const counts[])(uint64_t *, const char *,
                           size_t) = {sum_bytes, dnas_cpu_kmer4_count_plain, dnas_cpu_kmer4_count};
    double best[3] = {1e30, 1e30, 1e30};

    for (int round = 0; round < rounds; round++) {
        for (int i = 0; i < 3; i++) {
            double took = time_s(counts[i], text, n, piece);

            best[i] = took < best[i] ? took : best[i];
        }
    }
    printf("%zu\t%.2f\t%.2f\t%.2f\t%.3f\t%.1f\n", piece, 1e-9 * (double)n / best[0],
           1e-9 * (double)n / best[1], 1e-9 * (double)n / best[2], best[0] / best[2],
           best[1] / best[2]);
    fflush(stdout);
}

/* Counting set aside: microseconds a sequence. */
static void bench_embed(const char *spec, const uint64_t *counts)
{
    double start = clock_s(), made;
    struct dnas_features *f = dnas_features_new(spec, NULL, NULL);
    float out[256];
    const int n = 2000;

    made = clock_s();
    for (int i = 0; i < n; i++)
        dnas_features_embed(f, out, counts);
    printf("# %s: %.2f ms to make, %.2f us a sequence\n", spec, 1e3 * (made - start),
           1e6 * (clock_s() - made) / n);
    dnas_features_free(f);
}

static size_t read_text(char *text, const char *path)
{
    size_t n;
    FILE *fp = fopen(path, "rb");

    if (!fp) {
        perror(path);
        exit(1);
    }
    n = fread(text, 1, MAX_BYTES, fp);
    fclose(fp);
    return n;
}

static size_t draw_text(char *text)
{
    const size_t n = 16 << 20;
    struct dnas_rng rng;

    dnas_rng_init(&rng, 1, DNAS_RNG_BENCH, 0, 0);
    for (size_t i = 0; i < n; i++)
        text[i] = "ACGT"[dnas_rng_u32(&rng) >> 30];
    return n;
}

int main(int argc, char **argv)
{
    static const size_t pieces[] = {200, 1000, 5000, 10000, 20000, 50000, 200000, (size_t)1 << 20};
    char *text = dnas_xalloc(MAX_BYTES, 1);
    size_t n = argc > 1 ? read_text(text, argv[1]) : draw_text(text);
    size_t in_cache = n < (size_t)1 << 20 ? n : (size_t)1 << 20;
    int rounds = argc > 2 ? (int)strtol(argv[2], NULL, 10) : 30;
    uint64_t counts[256] = {0};

    printf("piece_bp\tread_GB/s\tplain_GB/s\tkernel_GB/s\tof_read\ttimes_plain\n");
    for (size_t i = 0; i < sizeof pieces / sizeof *pieces; i++)
        bench_piece(text, in_cache, pieces[i], rounds);
    printf("# the whole text, %zu bytes, in pieces of 1 MiB, from memory\n", n);
    bench_piece(text, n, (size_t)1 << 20, rounds < 5 ? rounds : 5);
    dnas_cpu_kmer4_count(counts, text, n);
    bench_embed("tnf", counts);
    bench_embed("tnf-canonical", counts);
    bench_embed("tnf-k", counts);
    free(text);
    return 0;
}
