/* SPDX-License-Identifier: MIT
 *
 * kmer_count.c - counts of k-mers on the CPU.  Contract: kernels.h.
 *
 * One addition in memory per letter is what limits the plain loop.  With AVX2
 * the letters are packed to two bits, and longer words are counted at every
 * second or fourth position: a 5-mer stands for two 4-mers, a 7-mer for four,
 * a 6-mer for two 5-mers.
 * The wide histogram is folded at the end; 7-mers pay from LONG_FROM letters.
 * Counts are integers, so both ways give the same result.
 */
#include "kernels/kernels.h"

#include <stdbool.h>
#include <string.h>

#include "common/err.h"

static inline __attribute__((always_inline)) void count_plain(uint64_t *counts, const char *letters,
                                                              size_t n, unsigned k)
{
    static const uint8_t code[256] = {['A'] = 4, ['C'] = 5, ['G'] = 6, ['T'] = 7};
    unsigned word = 0, n_valid = 0, mask = (1u << 2 * k) - 1;

    for (size_t i = 0; i < n; i++) {
        unsigned c = code[(unsigned char)letters[i]];

        n_valid = c ? n_valid + 1 : 0;
        word = (word << 2 | (c & 3)) & mask;
        if (n_valid >= k)
            counts[word]++;
    }
}

void dnas_cpu_kmer4_count_plain(uint64_t *counts, const char *letters, size_t n)
{
    count_plain(counts, letters, n, 4);
}

void dnas_cpu_kmer_count_plain(uint64_t *counts, const char *letters, size_t n, int k)
{
    if (k < 1 || k > DNAS_KMER_MAX)
        DNAS_BUG("%d-mers", k);
    count_plain(counts, letters, n, (unsigned)k);
}

#if defined(__x86_64__)
#include <immintrin.h>

#define AVX2 __attribute__((target("avx2")))
#define AVX2_INLINE __attribute__((target("avx2"), always_inline)) static inline

/* Letters a block; a block's 7-mers begin at 32 positions. */
#define BLOCK 128
/* A counter takes at most one of 4 positions (7-mers) or one of 2 (5-mers, which only short texts
 * use), so this many letters cannot overflow 16 bits. */
#define SEGMENT (65535 * 4 / BLOCK * BLOCK)
/* Clearing and folding 16384 counters costs as much as is won on about so many letters
 * (tests/bench/bench_features.c). */
#define LONG_FROM 20000
/* Below this the plain loop is as fast. */
#define AVX2_FROM 512

/* Where words with an invalid letter go; nobody reads it. */
#define TRASH 0x4000

struct histogram {
    uint16_t wide[TRASH + 1];     /* words of 7 letters, the first in the top bits; in short texts
                                   * words of 5 at position 2 of 4 */
    uint16_t by5[TRASH / 16 + 1]; /* short texts: words of 5 letters at position 0 of 4 */
    uint16_t by4[4][256];         /* windows beside an invalid letter, by position in 4 */
};

struct block {
    /* Four letters a byte, the first in the top bits; bytes from last to first, so that two
     * neighbours read as one little-endian number are eight letters in order. */
    __m256i packed;
    uint64_t valid[2]; /* one bit a letter */
};

/* 32 letters to eight 32-bit lanes of four letters; *valid gets one bit a letter. */
AVX2_INLINE __m256i pack32(uint32_t *valid, const char *p)
{
    /* The low four bits tell A C G T apart: 1, 3, 7, 4.  -1 equals no letter there: PSHUFB gives 0
     * for bytes from 0x80. */
    const __m256i letter =
        _mm256_setr_epi8(-1, 'A', -1, 'C', 'T', -1, -1, 'G', -1, -1, -1, -1, -1, -1, -1, -1, -1,
                         'A', -1, 'C', 'T', -1, -1, 'G', -1, -1, -1, -1, -1, -1, -1, -1);
    const __m256i code = _mm256_setr_epi8(0, 0, 0, 1, 3, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
                                          1, 3, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0);
    __m256i c = _mm256_loadu_si256((const __m256i *)p);
    __m256i pairs = _mm256_maddubs_epi16(_mm256_shuffle_epi8(code, c), _mm256_set1_epi16(0x0104));

    *valid = (uint32_t)_mm256_movemask_epi8(_mm256_cmpeq_epi8(_mm256_shuffle_epi8(letter, c), c));
    return _mm256_madd_epi16(pairs, _mm256_set1_epi32(0x00010010));
}

AVX2_INLINE void pack_block(struct block *b, const char *p)
{
    const __m256i dwords_back = _mm256_setr_epi32(7, 3, 6, 2, 5, 1, 4, 0);
    const __m256i bytes_back =
        _mm256_setr_epi8(3, 2, 1, 0, 7, 6, 5, 4, 11, 10, 9, 8, 15, 14, 13, 12, 3, 2, 1, 0, 7, 6, 5,
                         4, 11, 10, 9, 8, 15, 14, 13, 12);
    uint32_t v0, v1, v2, v3;
    __m256i m0 = pack32(&v0, p), m1 = pack32(&v1, p + 32);
    __m256i m2 = pack32(&v2, p + 64), m3 = pack32(&v3, p + 96);
    __m256i m = _mm256_packus_epi16(_mm256_packus_epi32(m0, m1), _mm256_packus_epi32(m2, m3));

    b->packed = _mm256_shuffle_epi8(_mm256_permutevar8x32_epi32(m, dwords_back), bytes_back);
    b->valid[0] = v0 | (uint64_t)v1 << 32;
    b->valid[1] = v2 | (uint64_t)v3 << 32;
}

/* The block of n letters at p; n below BLOCK: the rest is invalid. */
AVX2_INLINE void load_block(struct block *b, const char *p, size_t n)
{
    if (n >= BLOCK) {
        pack_block(b, p);
    } else {
        char padded[BLOCK] = {0};

        memcpy(padded, p, n);
        pack_block(b, padded);
    }
}

/* The 7-mers that begin at each fourth letter of cur: number i of 0..31 lies at
 * words[15 - i / 2 + 16 * (i % 2)]. */
AVX2_INLINE void words_of_7(uint16_t words[32], const struct block *cur, const struct block *next)
{
    __m256i seam = _mm256_permute2x128_si256(next->packed, cur->packed, 0x21);
    __m256i odd = _mm256_alignr_epi8(cur->packed, seam, 15);

    _mm256_store_si256((__m256i *)words, _mm256_srli_epi16(cur->packed, 2));
    _mm256_store_si256((__m256i *)(words + 16), _mm256_srli_epi16(odd, 2));
}

/* Number i of 0..31 of words_of_7. */
AVX2_INLINE int word_at(int i)
{
    return 15 - i / 2 + 16 * (i % 2);
}

/* Half a block, an invalid letter in it or near: sends the words that hold one to TRASH, and counts
 * the good 4-mers among their windows.  `after` is the valid mask of the 64 letters that follow.
 * Returns whether a good word is left. */
AVX2 static bool sort_out(struct histogram *h, uint16_t words[32], int half, uint64_t valid,
                          uint64_t after)
{
    const uint64_t starts = 0x1111111111111111; /* a word begins at each fourth letter */
    uint64_t windows = valid & (valid >> 1 | after << 63) & (valid >> 2 | after << 62) &
                       (valid >> 3 | after << 61);
    uint64_t whole = windows & windows >> 1;

    whole = whole & whole >> 2 & starts;
    for (uint64_t left = windows & ~(whole * 15); left; left &= left - 1) {
        int at = __builtin_ctzll(left), s = at % 4;

        h->by4[s][words[word_at(half * 16 + at / 4)] >> (6 - 2 * s) & 255]++;
    }
    for (uint64_t left = ~whole & starts; left; left &= left - 1)
        words[word_at(half * 16 + __builtin_ctzll(left) / 4)] = TRASH;
    return whole != 0;
}

AVX2_INLINE void add_word(struct histogram *h, unsigned word, bool wide)
{
    if (wide) {
        h->wide[word]++;
    } else {
        h->by5[word >> 4]++;
        h->wide[word & (TRASH | 1023)]++;
    }
}

AVX2_INLINE void add_block(struct histogram *h, const struct block *cur, const struct block *next,
                           bool wide)
{
    _Alignas(32) uint16_t words[32];

    if (!(cur->valid[0] | cur->valid[1]))
        return;
    words_of_7(words, cur, next);
    /* The last word ends with the third letter of the next block. */
    if ((cur->valid[0] & cur->valid[1] & (next->valid[0] | ~(uint64_t)7)) != UINT64_MAX) {
        bool any = sort_out(h, words, 0, cur->valid[0], cur->valid[1]);

        if (!(sort_out(h, words, 1, cur->valid[1], next->valid[0]) | any))
            return;
    }
    /* Through 64-bit registers: a load per word would compete with the counters' loads. */
    for (int i = 0; i < 32; i += 4) {
        uint64_t quad;

        memcpy(&quad, words + i, sizeof quad);
        add_word(h, quad & 0xffff, wide);
        add_word(h, quad >> 16 & 0xffff, wide);
        add_word(h, quad >> 32 & 0xffff, wide);
        add_word(h, quad >> 48, wide);
    }
}

/* The windows that begin in the first n_starts of n letters. */
AVX2_INLINE void add_text(struct histogram *h, const char *letters, size_t n, size_t n_starts,
                          bool wide)
{
    struct block cur, next;

    load_block(&cur, letters, n);
    for (size_t at = 0; at < n_starts; at += BLOCK) {
        /* The next block is packed while the counters of this one are under way. */
        size_t after = at + BLOCK < n ? at + BLOCK : n;

        load_block(&next, letters + after, n - after);
        add_block(h, &cur, &next, wide);
        cur = next;
    }
}

AVX2_INLINE __m256i load8(const uint32_t *p)
{
    return _mm256_loadu_si256((const __m256i *)p);
}

/* 8 counters of 16 bits, widened. */
AVX2_INLINE __m256i load8w(const uint16_t *p)
{
    return _mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)p));
}

/* Sums of each 4 neighbours of 32 counters. */
AVX2_INLINE __m256i sum_last(const uint32_t *p)
{
    __m256i a = _mm256_hadd_epi32(load8(p), load8(p + 8));
    __m256i b = _mm256_hadd_epi32(load8(p + 16), load8(p + 24));

    /* HADD works within halves: the dwords are 0 2 4 6 1 3 5 7. */
    return _mm256_permutevar8x32_epi32(_mm256_hadd_epi32(a, b),
                                       _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
}

AVX2_INLINE __m256i sum_last_w(const uint16_t *p)
{
    const __m256i low = _mm256_set1_epi32(0xffff);
    __m256i a = _mm256_loadu_si256((const __m256i *)p);
    __m256i b = _mm256_loadu_si256((const __m256i *)(p + 16));

    a = _mm256_add_epi32(_mm256_and_si256(a, low), _mm256_srli_epi32(a, 16));
    b = _mm256_add_epi32(_mm256_and_si256(b, low), _mm256_srli_epi32(b, 16));
    return _mm256_permute4x64_epi64(_mm256_hadd_epi32(a, b), 0xd8);
}

/* Sums over the first letter of n-letter words: 4 counters, `step` = 4^(n-1) apart. */
AVX2_INLINE __m256i sum_first(const uint32_t *p, size_t step)
{
    return _mm256_add_epi32(_mm256_add_epi32(load8(p), load8(p + step)),
                            _mm256_add_epi32(load8(p + 2 * step), load8(p + 3 * step)));
}

AVX2_INLINE __m256i sum_first_w(const uint16_t *p, size_t step)
{
    return _mm256_add_epi32(_mm256_add_epi32(load8w(p), load8w(p + step)),
                            _mm256_add_epi32(load8w(p + 2 * step), load8w(p + 3 * step)));
}

AVX2_INLINE void store8(uint32_t *p, __m256i v)
{
    _mm256_storeu_si256((__m256i *)p, v);
}

/* counts += the 4-mers that 5-mers stand for: those that end a word of `ends` and those that begin
 * a word of `all` (u32 [1024] each), and those in by4. */
AVX2_INLINE void fold5(uint64_t *counts, const struct histogram *h, const uint32_t *ends,
                       const uint32_t *all)
{
    for (int i = 0; i < 256; i += 8) {
        uint32_t sum[8];
        __m256i v = _mm256_add_epi32(sum_first(ends + i, 256), sum_last(all + 4 * i));

        for (int s = 0; s < 4; s++)
            v = _mm256_add_epi32(v, load8w(h->by4[s] + i));
        store8(sum, v);
        for (int j = 0; j < 8; j++)
            counts[i + j] += sum[j];
    }
}

/* A 7-mer stands for the 4-mers at its letters 0..3, 1..4, 2..5 and 3..6.  ends6, ends5: the words
 * without their first letters; all6, all5: these, and all earlier ones without their last. */
AVX2_INLINE void fold7(uint64_t *counts, const struct histogram *h)
{
    uint32_t ends6[4096], all6[4096], ends5[1024], all5[1024];

    for (int i = 0; i < 4096; i += 8) {
        __m256i v = sum_first_w(h->wide + i, 4096);

        store8(ends6 + i, v);
        store8(all6 + i, _mm256_add_epi32(v, sum_last_w(h->wide + 4 * i)));
    }
    for (int i = 0; i < 1024; i += 8) {
        __m256i v = sum_first(ends6 + i, 1024);

        store8(ends5 + i, v);
        store8(all5 + i, _mm256_add_epi32(v, sum_last(all6 + 4 * i)));
    }
    fold5(counts, h, ends5, all5);
}

AVX2 static void count_long(uint64_t *counts, const char *letters, size_t n)
{
    struct histogram h;

    for (size_t at = 0; at < n; at += SEGMENT) {
        memset(h.wide, 0, sizeof h.wide);
        memset(h.by4, 0, sizeof h.by4);
        add_text(&h, letters + at, n - at, n - at < SEGMENT ? n - at : SEGMENT, true);
        fold7(counts, &h);
    }
}

AVX2 static void count_short(uint64_t *counts, const char *letters, size_t n)
{
    struct histogram h;
    uint32_t words[1024];

    memset(h.wide, 0, 1024 * sizeof h.wide[0]);
    h.wide[TRASH] = 0;
    memset(h.by5, 0, sizeof h.by5);
    memset(h.by4, 0, sizeof h.by4);
    add_text(&h, letters, n, n, false);
    for (int i = 0; i < 1024; i += 8)
        store8(words + i, _mm256_add_epi32(load8w(h.by5 + i), load8w(h.wide + i)));
    fold5(counts, &h, words, words);
}

void dnas_cpu_kmer4_count(uint64_t *counts, const char *letters, size_t n)
{
    if (n < AVX2_FROM || !__builtin_cpu_supports("avx2"))
        dnas_cpu_kmer4_count_plain(counts, letters, n);
    else if (n < LONG_FROM)
        count_short(counts, letters, n);
    else
        count_long(counts, letters, n);
}

/* ---- 5-mers ---- */

/* Letters in one go: a counter of 16 bits takes at most one of 2 positions. */
#define SEGMENT6 (65535 * 2 / BLOCK * BLOCK)
/* Clearing and folding 4096 counters costs what is won on about so many letters. */
#define BY6_FROM 2000

struct histogram6 {
    uint16_t by6[4096]; /* 6-mers at each second letter */
    uint32_t by5[1024]; /* 5-mers beside an invalid letter */
};

/* The words of 8 letters that begin at each fourth letter of cur, in the order of words_of_7. */
AVX2_INLINE void words_of_8(uint16_t words[32], const struct block *cur, const struct block *next)
{
    __m256i seam = _mm256_permute2x128_si256(next->packed, cur->packed, 0x21);

    _mm256_store_si256((__m256i *)words, cur->packed);
    _mm256_store_si256((__m256i *)(words + 16), _mm256_alignr_epi8(cur->packed, seam, 15));
}

/* Half a block with an invalid letter in it or behind it, window by window. */
AVX2 static void add_windows5(struct histogram6 *h, const uint16_t words[32], int half,
                              uint64_t valid, uint64_t after)
{
    uint64_t windows = valid & (valid >> 1 | after << 63) & (valid >> 2 | after << 62) &
                       (valid >> 3 | after << 61) & (valid >> 4 | after << 60);

    for (; windows; windows &= windows - 1) {
        int at = __builtin_ctzll(windows);

        h->by5[words[word_at(half * 16 + at / 4)] >> (6 - 2 * (at % 4)) & 1023]++;
    }
}

/* A word of 8 letters holds two of the 6-mers. */
AVX2_INLINE void add_quad6(struct histogram6 *h, const uint16_t *words)
{
    uint64_t quad;

    memcpy(&quad, words, sizeof quad);
    for (int i = 0; i < 4; i++, quad >>= 16) {
        h->by6[quad >> 4 & 4095]++;
        h->by6[quad & 4095]++;
    }
}

/* The last word of a half ends with the fourth letter of the next. */
AVX2_INLINE void add_half6(struct histogram6 *h, const uint16_t words[32], int half, uint64_t valid,
                           uint64_t after)
{
    int first = half ? 0 : 8;

    if ((valid & (after | ~(uint64_t)15)) != UINT64_MAX) {
        add_windows5(h, words, half, valid, after);
        return;
    }
    add_quad6(h, words + first);
    add_quad6(h, words + first + 4);
    add_quad6(h, words + first + 16);
    add_quad6(h, words + first + 20);
}

AVX2_INLINE void fold6(uint64_t *counts, const struct histogram6 *h)
{
    for (int i = 0; i < 1024; i += 8) {
        uint32_t sum[8];

        store8(sum, _mm256_add_epi32(
                        _mm256_add_epi32(sum_first_w(h->by6 + i, 1024), sum_last_w(h->by6 + 4 * i)),
                        load8(h->by5 + i)));
        for (int j = 0; j < 8; j++)
            counts[i + j] += sum[j];
    }
}

AVX2 static void count5(uint64_t *counts, const char *letters, size_t n)
{
    struct histogram6 h;

    for (size_t at = 0; at < n; at += SEGMENT6) {
        size_t n_here = n - at < SEGMENT6 ? n - at : SEGMENT6;
        struct block cur, next;

        memset(&h, 0, sizeof h);
        load_block(&cur, letters + at, n - at);
        for (size_t begin = at; begin < at + n_here; begin += BLOCK) {
            size_t end = begin + BLOCK < n ? begin + BLOCK : n;
            _Alignas(32) uint16_t words[32];

            load_block(&next, letters + end, n - end);
            words_of_8(words, &cur, &next);
            add_half6(&h, words, 0, cur.valid[0], cur.valid[1]);
            add_half6(&h, words, 1, cur.valid[1], next.valid[0]);
            cur = next;
        }
        fold6(counts, &h);
    }
}

void dnas_cpu_kmer_count(uint64_t *counts, const char *letters, size_t n, int k)
{
    if (k == 4)
        dnas_cpu_kmer4_count(counts, letters, n);
    else if (k == 5 && n >= BY6_FROM && __builtin_cpu_supports("avx2"))
        count5(counts, letters, n);
    else
        dnas_cpu_kmer_count_plain(counts, letters, n, k);
}

#else

void dnas_cpu_kmer4_count(uint64_t *counts, const char *letters, size_t n)
{
    dnas_cpu_kmer4_count_plain(counts, letters, n);
}

void dnas_cpu_kmer_count(uint64_t *counts, const char *letters, size_t n, int k)
{
    dnas_cpu_kmer_count_plain(counts, letters, n, k);
}
#endif
