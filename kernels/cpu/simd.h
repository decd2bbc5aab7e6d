/* SPDX-License-Identifier: MIT
 *
 * simd.h - sixteen lanes of f32 for the CPU kernels, on any processor.
 *
 * The compiler's vector types are lowered to what the target has: one source
 * gives the baseline, AVX2 and AVX-512 versions, and DNAS_VERSIONS a function
 * that chooses among them.
 */
#ifndef DNAS_SIMD_H
#define DNAS_SIMD_H

#include <stdint.h>
#include <string.h>

#include "kernels/isa.h"

#define LANES 16

typedef float v16 __attribute__((vector_size(4 * LANES)));
typedef int32_t v16i __attribute__((vector_size(4 * LANES)));

#define INLINE static inline __attribute__((always_inline))

/* The Makefile compiles a file that includes this one three times, with DNAS_ISA
 * 0, 1 and 2 and the flags for it (once, where the processor is another). */
#define DNAS_JOIN(a, b) DNAS_JOIN_(a, b)
#define DNAS_JOIN_(a, b) a##b
#if DNAS_ISA == 0
#define DNAS_SUFFIX _base
#elif DNAS_ISA == 1
#define DNAS_SUFFIX _avx2
#else
#define DNAS_SUFFIX _avx512
#endif

#define DNAS_VERSION(name, parameters, arguments)                                                  \
    void DNAS_JOIN(name, DNAS_SUFFIX) parameters;                                                  \
    void DNAS_JOIN(name, DNAS_SUFFIX) parameters                                                   \
    {                                                                                              \
        name##_body arguments;                                                                     \
    }

/* name_base, name_avx2 and name_avx512 from name_body, and name, which chooses. */
#if DNAS_ISA > 0
#define DNAS_VERSIONS DNAS_VERSION
#elif !defined(__x86_64__)
#define DNAS_VERSIONS(name, parameters, arguments)                                                 \
    DNAS_VERSION(name, parameters, arguments)                                                      \
    void name parameters                                                                           \
    {                                                                                              \
        name##_base arguments;                                                                     \
    }
#else
#define DNAS_VERSIONS(name, parameters, arguments)                                                 \
    DNAS_VERSION(name, parameters, arguments)                                                      \
    void name##_avx2 parameters;                                                                   \
    void name##_avx512 parameters;                                                                 \
    void name parameters                                                                           \
    {                                                                                              \
        switch (dnas_isa()) {                                                                      \
        case DNAS_ISA_AVX512:                                                                      \
            name##_avx512 arguments;                                                               \
            return;                                                                                \
        case DNAS_ISA_AVX2:                                                                        \
            name##_avx2 arguments;                                                                 \
            return;                                                                                \
        case DNAS_ISA_BASE:                                                                        \
            break;                                                                                 \
        }                                                                                          \
        name##_base arguments;                                                                     \
    }
#endif

INLINE v16 v16_all(float x)
{
    return x - (v16){0};
}

INLINE v16 v16_load(const float *p)
{
    v16 v;

    memcpy(&v, p, sizeof(v));
    return v;
}

INLINE void v16_store(float *p, v16 v)
{
    memcpy(p, &v, sizeof(v));
}

/* The first n lanes from p, the others `rest`. */
INLINE v16 v16_load_some(const float *p, size_t n, float rest)
{
    v16 v = v16_all(rest);

    memcpy(&v, p, n * sizeof(float));
    return v;
}

INLINE v16 v16_select(v16i mask, v16 a, v16 b)
{
    return (v16)((mask & (v16i)a) | (~mask & (v16i)b));
}

INLINE v16 v16_max(v16 a, v16 b)
{
    return v16_select(a > b, a, b);
}

INLINE v16 v16_abs(v16 a)
{
    return (v16)((v16i)a & 0x7fffffff);
}

/* Sums and maxima of the lanes, in a fixed tree. */
INLINE float v16_sum(v16 v)
{
    float lane[LANES];

    v16_store(lane, v);
    for (int width = LANES / 2; width > 0; width /= 2)
        for (int i = 0; i < width; i++)
            lane[i] += lane[i + width];
    return lane[0];
}

INLINE float v16_top(v16 v)
{
    float lane[LANES];

    v16_store(lane, v);
    for (int width = LANES / 2; width > 0; width /= 2)
        for (int i = 0; i < width; i++)
            lane[i] = lane[i] > lane[i + width] ? lane[i] : lane[i + width];
    return lane[0];
}

/* exp(x) for x <= 88, to 1e-7 relative; below -87 it is 0, a NaN stays one.
 * x = n ln 2 + r with |r| <= ln 2 / 2; e^r by a polynomial of degree 6, fitted
 * for least relative error with its first two coefficients held at 1; 2^n
 * through the exponent's bits.  ln 2 is split as 0.693359375 - 2.1219444e-4, so
 * that n times its first part is exact. */
INLINE v16 v16_exp(v16 x)
{
    v16i too_small = x < -87.0f;
    v16 shifted = x * 1.44269504f + 12582912.0f; /* 1.5 * 2^23: rounds to a whole number */
    v16 n = shifted - 12582912.0f;
    v16 r = (x - n * 0.693359375f) + n * 2.12194440e-4f;
    v16 p = v16_all(0.001381461275741458f);

    p = p * r + 0.008368710055947304f;
    p = p * r + 0.04166838899254799f;
    p = p * r + 0.1666652113199234f;
    p = p * r + 0.4999999403953552f;
    p = p * r + 1.0f;
    p = p * r + 1.0f;
    p *= (v16)(((v16i)shifted + 127) << 23);
    return v16_select(too_small, v16_all(0), p);
}

/* The normal distribution's cumulative function to 1e-7, its lower tail to
 * 2.3e-6 relative.  erfc(u / sqrt 2) = exp(-u Q(u)) with Q a polynomial of
 * degree 10, fitted on 0..7 for least error of the tail. */
INLINE v16 v16_phi(v16 z)
{
    v16 u = v16_abs(z);
    v16 q = v16_all(-1.3147690713921634e-09f);
    v16 tail;

    u = v16_select(u > 7.0f, v16_all(7.0f), u);
    q = q * u + 5.319946794202224e-08f;
    q = q * u + -9.428011367162981e-07f;
    q = q * u + 9.546501132717822e-06f;
    q = q * u + -5.9255082305753604e-05f;
    q = q * u + 0.00020537948876153678f;
    q = q * u + -1.1120992894575465e-05f;
    q = q * u + -0.004811384715139866f;
    q = q * u + 0.03635087236762047f;
    q = q * u + 0.3183065354824066f;
    q = q * u + 0.7978847622871399f;
    tail = 0.5f * v16_exp(-u * q);
    return v16_select(z < 0.0f, tail, 1.0f - tail);
}

/* gelu(z) = z Phi(z), and its derivative Phi(z) + z phi(z). */
INLINE v16 v16_gelu(v16 z)
{
    return z * v16_phi(z);
}

INLINE v16 v16_gelu_slope(v16 z)
{
    v16 u = v16_select(v16_abs(z) > 13.0f, v16_all(13.0f), z); /* e^-84.5; z^2 stays finite */

    return v16_phi(z) + u * 0.3989422804014327f * v16_exp(-0.5f * u * u);
}

#endif
