/* SPDX-License-Identifier: MIT
 *
 * similarity.c - inner products of rows that are the same bits wherever a pair
 * stands.  Contract: kernels.h.
 *
 * sgemm's bits depend on the shape of the call, so that a sum over a row's
 * products could not be taken apart again exactly.  Here a product has sixteen
 * partial sums, column c in lane c mod 16, and a fixed tree over them: however
 * many pairs are worked on at once, each has the same operations.
 */
#include "kernels/kernels.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "kernels/cpu/simd.h"

/* A register's lanes (compilers put wider vectors into memory), and rows of a by rows of b whose
 * sums fill the registers. */
#if DNAS_ISA == 2
#define PART 16
#define A_ROWS 4
#define B_ROWS 4
#elif DNAS_ISA == 1
#define PART 8
#define A_ROWS 3
#define B_ROWS 2
#else
#define PART 4
#define A_ROWS 1
#define B_ROWS 2
#endif
#define PARTS (LANES / PART)
/* Rows of a that stay in the first cache while b passes. */
#define A_GROUP (2 * A_ROWS)

typedef float part __attribute__((vector_size(4 * PART)));

INLINE part part_load(const float *p)
{
    part v;

    memcpy(&v, p, sizeof(v));
    return v;
}

/* The sum of the lanes: one half is added to the other until one is left. */
INLINE float fold(const part *sum)
{
    part p[PARTS];
    float lane[PART];

    memcpy(p, sum, sizeof(p));
    for (int width = PARTS / 2; width > 0; width /= 2)
        for (int i = 0; i < width; i++)
            p[i] += p[i + width];
    memcpy(lane, p, sizeof(lane));
    for (int width = PART / 2; width > 0; width /= 2)
        for (int i = 0; i < width; i++)
            lane[i] += lane[i + width];
    return lane[0];
}

/* A row's last lanes, with 0 where it has ended. */
INLINE void load_rest(float *rest, const float *p, size_t n)
{
    memset(rest, 0, LANES * sizeof(*rest));
    memcpy(rest, p, n * sizeof(*rest));
}

#if DNAS_ISA == 2
/* Halves of the lanes of two vectors, added. */
#define EIGHTS(x, y)                                                                               \
    (__builtin_shufflevector(x, y, 0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23) +       \
     __builtin_shufflevector(x, y, 8, 9, 10, 11, 12, 13, 14, 15, 24, 25, 26, 27, 28, 29, 30, 31))
#define FOURS(x, y)                                                                                \
    (__builtin_shufflevector(x, y, 0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27) +     \
     __builtin_shufflevector(x, y, 4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22, 23, 28, 29, 30, 31))
#define TWOS(x, y)                                                                                 \
    (__builtin_shufflevector(x, y, 0, 1, 4, 5, 8, 9, 12, 13, 16, 17, 20, 21, 24, 25, 28, 29) +     \
     __builtin_shufflevector(x, y, 2, 3, 6, 7, 10, 11, 14, 15, 18, 19, 22, 23, 26, 27, 30, 31))
#define ONES(x, y)                                                                                 \
    (__builtin_shufflevector(x, y, 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30) +    \
     __builtin_shufflevector(x, y, 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31))

/* Lane k of the result is the fold of vector k. */
INLINE v16 sums_of_16(const v16 *v)
{
    v16 f[4];

    for (int i = 0; i < 4; i++)
        f[i] = FOURS(EIGHTS(v[4 * i], v[4 * i + 1]), EIGHTS(v[4 * i + 2], v[4 * i + 3]));
    return ONES(TWOS(f[0], f[1]), TWOS(f[2], f[3]));
}
#endif

INLINE void add_products(part sum[A_ROWS][B_ROWS][PARTS], const float *const *a,
                         const float *const *b)
{
    for (size_t p = 0; p < PARTS; p++) {
        part y[B_ROWS];

        for (int j = 0; j < B_ROWS; j++)
            y[j] = part_load(b[j] + p * PART);
        for (int i = 0; i < A_ROWS; i++) {
            part x = part_load(a[i] + p * PART);

            for (int j = 0; j < B_ROWS; j++)
                sum[i][j][p] += x * y[j];
        }
    }
}

/* The last columns of the rows, n of them. */
INLINE void add_rest(part sum[A_ROWS][B_ROWS][PARTS], const float *const *a, const float *const *b,
                     size_t n)
{
    float x[A_ROWS][LANES], y[B_ROWS][LANES];
    const float *px[A_ROWS], *py[B_ROWS];

    for (int i = 0; i < A_ROWS; i++) {
        load_rest(x[i], a[i], n);
        px[i] = x[i];
    }
    for (int j = 0; j < B_ROWS; j++) {
        load_rest(y[j], b[j], n);
        py[j] = y[j];
    }
    add_products(sum, px, py);
}

/* The products of up to A_ROWS rows of a with up to B_ROWS rows of b; the last row stands in for
 * those that are not there. */
INLINE void block(float *out, size_t ld_out, const float *a, const float *b, size_t n_a, size_t n_b,
                  size_t C)
{
    part sum[A_ROWS][B_ROWS][PARTS] = {{{{0}}}};
    float value[A_ROWS * B_ROWS];
    const float *pa[A_ROWS], *pb[B_ROWS];

    for (size_t i = 0; i < A_ROWS; i++)
        pa[i] = a + (i < n_a ? i : n_a - 1) * C;
    for (size_t j = 0; j < B_ROWS; j++)
        pb[j] = b + (j < n_b ? j : n_b - 1) * C;
    for (size_t c = 0; c + LANES <= C; c += LANES) {
        add_products(sum, pa, pb);
        for (int i = 0; i < A_ROWS; i++)
            pa[i] += LANES;
        for (int j = 0; j < B_ROWS; j++)
            pb[j] += LANES;
    }
    if (C % LANES > 0)
        add_rest(sum, pa, pb, C % LANES);
#if DNAS_ISA == 2
    v16_store(value, sums_of_16(&sum[0][0][0]));
#else
    for (int i = 0; i < A_ROWS; i++)
        for (int j = 0; j < B_ROWS; j++)
            value[i * B_ROWS + j] = fold(sum[i][j]);
#endif
    if (n_a == A_ROWS && n_b == B_ROWS) /* a memcpy of a size that is known is no call */
        for (size_t i = 0; i < A_ROWS; i++)
            memcpy(out + i * ld_out, value + i * B_ROWS, B_ROWS * sizeof(*out));
    else
        for (size_t i = 0; i < n_a; i++)
            memcpy(out + i * ld_out, value + i * B_ROWS, n_b * sizeof(*out));
}

INLINE size_t at_most(size_t n, size_t limit)
{
    return n < limit ? n : limit;
}

INLINE void dnas_cpu_similarity_body(float *out, const float *a, const float *b, size_t M, size_t N,
                                     size_t C, size_t ld_out)
{
    for (size_t i0 = 0; i0 < M; i0 += A_GROUP)
        for (size_t j = 0; j < N; j += B_ROWS)
            for (size_t i = i0; i < at_most(M, i0 + A_GROUP); i += A_ROWS)
                block(out + i * ld_out + j, ld_out, a + i * C, b + j * C, at_most(M - i, A_ROWS),
                      at_most(N - j, B_ROWS), C);
}

INLINE void dnas_cpu_similarity_rows_body(float *out, const float *x, const uint32_t *row,
                                          const float *y, size_t n, size_t C)
{
    for (size_t i = 0; i < n; i++) {
        const float *a = x + (row ? row[i] : i) * C;
        part sum[PARTS] = {{0}};
        size_t c = 0;

        for (; c + LANES <= C; c += LANES)
            for (size_t p = 0; p < PARTS; p++)
                sum[p] += part_load(a + c + p * PART) * part_load(y + c + p * PART);
        if (c < C) {
            float u[LANES], v[LANES];

            load_rest(u, a + c, C - c);
            load_rest(v, y + c, C - c);
            for (size_t p = 0; p < PARTS; p++)
                sum[p] += part_load(u + p * PART) * part_load(v + p * PART);
        }
        out[i] = fold(sum);
    }
}

INLINE void dnas_cpu_at_least_body(uint32_t *index, size_t *n_index, const float *v, size_t n,
                                   float limit)
{
    size_t found = 0, i = 0;

#if DNAS_ISA == 2
    for (; i + LANES <= n; i += LANES)
        for (unsigned mask =
                 _mm512_cmp_ps_mask(_mm512_loadu_ps(v + i), _mm512_set1_ps(limit), _CMP_GE_OQ);
             mask; mask &= mask - 1)
            index[found++] = (uint32_t)i + (uint32_t)__builtin_ctz(mask);
#elif DNAS_ISA == 1
    for (; i + 8 <= n; i += 8)
        for (unsigned mask = (unsigned)_mm256_movemask_ps(
                 _mm256_cmp_ps(_mm256_loadu_ps(v + i), _mm256_set1_ps(limit), _CMP_GE_OQ));
             mask; mask &= mask - 1)
            index[found++] = (uint32_t)i + (uint32_t)__builtin_ctz(mask);
#endif
    for (; i < n; i++)
        if (v[i] >= limit)
            index[found++] = (uint32_t)i;
    *n_index = found;
}

DNAS_VERSIONS(dnas_cpu_similarity,
              (float *out, const float *a, const float *b, size_t M, size_t N, size_t C,
               size_t ld_out),
              (out, a, b, M, N, C, ld_out))
DNAS_VERSIONS(dnas_cpu_similarity_rows,
              (float *out, const float *x, const uint32_t *row, const float *y, size_t n, size_t C),
              (out, x, row, y, n, C))
DNAS_VERSIONS(dnas_cpu_at_least,
              (uint32_t * index, size_t *n_index, const float *v, size_t n, float limit),
              (index, n_index, v, n, limit))
