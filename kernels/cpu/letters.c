/* SPDX-License-Identifier: MIT
 *
 * letters.c - copies letters, folds their case and says what they are.
 *
 * Contract: kernels.h.  Each vector ends where the text ends: the last one
 * overlaps its neighbour, since lines of FASTA are short and tails are common.
 */
#include <stdbool.h>

#include "kernels/isa.h"
#include "kernels/kernels.h"

static bool is_letter(unsigned char c)
{
    return (unsigned char)((c | 0x20) - 'a') < 26;
}

static bool is_base(unsigned char c)
{
    return c == 'A' || c == 'C' || c == 'G' || c == 'T';
}

static enum dnas_letters verdict(bool all_letters, bool all_bases)
{
    return !all_letters ? DNAS_LETTERS_ODD : all_bases ? DNAS_LETTERS_BASES : DNAS_LETTERS_ALL;
}

enum dnas_letters dnas_cpu_letters_copy_plain(char *out, const char *in, size_t n, int keep_case)
{
    bool all_letters = true, all_bases = true;

    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)in[i];

        all_letters &= is_letter(c);
        if (!keep_case) {
            c &= 0xdf;
            c = (unsigned char)(c - (c == 'U'));
        }
        all_bases &= is_base(c);
        out[i] = (char)c;
    }
    return verdict(all_letters, all_bases);
}

#if defined(__x86_64__)
#include <immintrin.h>

#define WIDTH 32

struct folding {
    __m256i fold, u, low, a, last, bases;
};

__attribute__((target("avx2"))) static inline struct folding folding(int keep_case)
{
    return (struct folding){
        .fold = _mm256_set1_epi8(keep_case ? (char)0xff : (char)0xdf),
        .u = _mm256_set1_epi8(keep_case ? 0 : 'U'),
        .low = _mm256_set1_epi8(0x20),
        .a = _mm256_set1_epi8('a'),
        .last = _mm256_set1_epi8(25),
        /* The base whose code has the low half-byte 1, 3, 4 or 7. */
        .bases =
            _mm256_setr_epi8(-1, 'A', -1, 'C', 'T', -1, -1, 'G', -1, -1, -1, -1, -1, -1, -1, -1, -1,
                             'A', -1, 'C', 'T', -1, -1, 'G', -1, -1, -1, -1, -1, -1, -1, -1),
    };
}

/* Folds 32 letters; *letters and *bases have all bits set where they are such. */
__attribute__((target("avx2"))) static inline __m256i fold32(const struct folding *f, __m256i c,
                                                             __m256i *letters, __m256i *bases)
{
    __m256i order = _mm256_sub_epi8(_mm256_or_si256(c, f->low), f->a);
    __m256i up = _mm256_and_si256(c, f->fold);

    *letters = _mm256_cmpeq_epi8(_mm256_min_epu8(order, f->last), order);
    up = _mm256_add_epi8(up, _mm256_cmpeq_epi8(up, f->u)); /* U - 1 is T */
    *bases = _mm256_cmpeq_epi8(_mm256_shuffle_epi8(f->bases, up), up);
    return up;
}

__attribute__((target("avx2"))) static enum dnas_letters
letters_copy_avx2(char *out, const char *in, size_t n, int keep_case)
{
    const struct folding f = folding(keep_case);
    __m256i all_letters = _mm256_set1_epi8(-1), all_bases = all_letters;

    for (size_t i = 0;;) {
        __m256i letters, bases;
        __m256i up = fold32(&f, _mm256_loadu_si256((const __m256i *)(const void *)(in + i)),
                            &letters, &bases);

        all_letters = _mm256_and_si256(all_letters, letters);
        all_bases = _mm256_and_si256(all_bases, bases);
        _mm256_storeu_si256((__m256i *)(void *)(out + i), up);
        if (i + WIDTH == n)
            break;
        i = i + 2 * WIDTH <= n ? i + WIDTH : n - WIDTH;
    }
    return verdict(_mm256_movemask_epi8(all_letters) == -1, _mm256_movemask_epi8(all_bases) == -1);
}

__attribute__((target("avx2,bmi,popcnt"))) static size_t
letters_lines_avx2(char *out, size_t room, size_t *n_out, uint64_t *n_other, int *ended_line,
                   const char *in, size_t n, int keep_case)
{
    const struct folding f = folding(keep_case);
    const __m256i newline = _mm256_set1_epi8('\n');
    size_t at = 0, to = 0;

    while (at + WIDTH <= n && to + WIDTH <= room) {
        __m256i c = _mm256_loadu_si256((const __m256i *)(const void *)(in + at)), letters, bases;
        __m256i up = fold32(&f, c, &letters, &bases);
        uint32_t is_letter32 = (uint32_t)_mm256_movemask_epi8(letters);
        uint32_t is_base32 = (uint32_t)_mm256_movemask_epi8(bases);
        uint32_t is_end = (uint32_t)_mm256_movemask_epi8(_mm256_cmpeq_epi8(c, newline));
        /* Letters of this line in the vector: all 32, or those before its end. */
        uint32_t mine = is_end ? (is_end & (0 - is_end)) - 1 : UINT32_MAX;
        unsigned n_mine = (unsigned)__builtin_popcount(mine);

        if ((is_letter32 & mine) != mine)
            break;
        _mm256_storeu_si256((__m256i *)(void *)(out + to), up);
        *n_other += (unsigned)__builtin_popcount(mine & ~is_base32);
        *ended_line = is_end != 0;
        to += n_mine;
        at += n_mine + (is_end != 0);
    }
    *n_out = to;
    return at;
}
#endif

enum dnas_letters dnas_cpu_letters_copy(char *out, const char *in, size_t n, int keep_case)
{
#if defined(__x86_64__)
    if (n >= WIDTH && dnas_isa() >= DNAS_ISA_AVX2)
        return letters_copy_avx2(out, in, n, keep_case);
#endif
    return dnas_cpu_letters_copy_plain(out, in, n, keep_case);
}

size_t dnas_cpu_letters_lines(char *out, size_t room, size_t *n_out, uint64_t *n_other,
                              int *ended_line, const char *in, size_t n, int keep_case)
{
    *n_out = 0;
#if defined(__x86_64__)
    if (dnas_isa() >= DNAS_ISA_AVX2)
        return letters_lines_avx2(out, room, n_out, n_other, ended_line, in, n, keep_case);
#endif
    (void)out;
    (void)room;
    (void)n_other;
    (void)ended_line;
    (void)in;
    (void)n;
    (void)keep_case;
    return 0;
}
