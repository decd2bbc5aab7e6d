/* SPDX-License-Identifier: MIT
 *
 * matmul_f64.c - products of small tiles in double.  Contract: kernels.h.
 *
 * Four rows by two vectors stay in registers while k runs; every element is
 * one sum in the order of k, so that its bits do not depend on where in the
 * tile it stands.
 */
#include "kernels/kernels.h"

#include "kernels/cpu/simd.h"

#if DNAS_ISA == 2
#define WIDE 8
#elif DNAS_ISA == 1
#define WIDE 4
#else
#define WIDE 2
#endif

typedef double vd __attribute__((vector_size(8 * WIDE)));

INLINE vd load(const double *p)
{
    vd v;

    memcpy(&v, p, sizeof(v));
    return v;
}

/* out [4, 2 WIDE] (+)= a [4, K] b [K, 2 WIDE]. */
INLINE void four_rows(double *out, const double *a, const double *b, size_t K, size_t ld_out,
                      size_t ld_a, size_t ld_b, int keep)
{
    vd sum[4][2];

    for (size_t i = 0; i < 4; i++)
        for (size_t j = 0; j < 2; j++)
            sum[i][j] = keep ? load(out + i * ld_out + j * WIDE) : (vd){0};
    for (size_t k = 0; k < K; k++) {
        vd b0 = load(b + k * ld_b), b1 = load(b + k * ld_b + WIDE);

        for (size_t i = 0; i < 4; i++) {
            sum[i][0] += a[i * ld_a + k] * b0;
            sum[i][1] += a[i * ld_a + k] * b1;
        }
    }
    for (size_t i = 0; i < 4; i++)
        for (size_t j = 0; j < 2; j++)
            memcpy(out + i * ld_out + j * WIDE, &sum[i][j], sizeof(vd));
}

/* A product and a sum as the vectors do them: in one rounding, where the
 * processor has that. */
INLINE double add_product(double sum, double x, double y)
{
#if DNAS_ISA > 0
    return __builtin_fma(x, y, sum);
#else
    return sum + x * y;
#endif
}

INLINE void one(double *out, const double *a, const double *b, size_t K, size_t ld_b, int keep)
{
    double sum = keep ? *out : 0;

    for (size_t k = 0; k < K; k++)
        sum = add_product(sum, a[k], b[k * ld_b]);
    *out = sum;
}

INLINE void dnas_cpu_matmul_f64_body(double *out, const double *a, const double *b, size_t M,
                                     size_t N, size_t K, size_t ld_out, size_t ld_a, size_t ld_b,
                                     int keep)
{
    size_t whole = N / (2 * WIDE) * (2 * WIDE), i = 0;

    for (; i + 4 <= M; i += 4)
        for (size_t j = 0; j < whole; j += 2 * WIDE)
            four_rows(out + i * ld_out + j, a + i * ld_a, b + j, K, ld_out, ld_a, ld_b, keep);
    for (size_t row = 0; row < M; row++)
        for (size_t j = row < i ? whole : 0; j < N; j++)
            one(out + row * ld_out + j, a + row * ld_a, b + j, K, ld_b, keep);
}

DNAS_VERSIONS(dnas_cpu_matmul_f64,
              (double *out, const double *a, const double *b, size_t M, size_t N, size_t K,
               size_t ld_out, size_t ld_a, size_t ld_b, int keep),
              (out, a, b, M, N, K, ld_out, ld_a, ld_b, keep))
