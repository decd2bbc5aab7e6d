/* SPDX-License-Identifier: MIT
 *
 * dropout.c - values set to 0 by chance (Srivastava et al. 2014).  Contract: kernels.h.
 *
 * The numbers are those of common/rng.h's generator, many blocks side by side.
 */
#include "kernels/kernels.h"

#include "kernels/cpu/simd.h"

#define EACH 8              /* numbers of a block of Philox */
#define SPAN (LANES * EACH) /* numbers of LANES blocks */

/* words[i] = Philox4x32-10(block first + i). */
INLINE void philox(uint32_t words[LANES][4], uint32_t first, const uint32_t counter[3],
                   const uint32_t key[2])
{
    uint32_t c0[LANES], c1[LANES], c2[LANES], c3[LANES];
    uint32_t k0 = key[0], k1 = key[1];

    for (uint32_t i = 0; i < LANES; i++) {
        c0[i] = first + i;
        c1[i] = counter[0];
        c2[i] = counter[1];
        c3[i] = counter[2];
    }
    for (int round = 0; round < 10; round++) {
        for (int i = 0; i < LANES; i++) {
            uint64_t p0 = (uint64_t)0xD2511F53u * c0[i];
            uint64_t p1 = (uint64_t)0xCD9E8D57u * c2[i];

            c0[i] = (uint32_t)(p1 >> 32) ^ c1[i] ^ k0;
            c1[i] = (uint32_t)p1;
            c2[i] = (uint32_t)(p0 >> 32) ^ c3[i] ^ k1;
            c3[i] = (uint32_t)p0;
        }
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    for (int i = 0; i < LANES; i++) {
        words[i][0] = c0[i];
        words[i][1] = c1[i];
        words[i][2] = c2[i];
        words[i][3] = c3[i];
    }
}

INLINE void dnas_cpu_dropout_body(float *x, size_t n, uint32_t drop, const uint32_t counter[3],
                                  const uint32_t key[2])
{
    float scale = 65536.0f / (float)(65536 - drop);
    uint32_t words[LANES][4];

    for (size_t at = 0; at < n; at += SPAN) {
        size_t some = n - at < SPAN ? n - at : SPAN;
        float factor[SPAN];

        philox(words, (uint32_t)(at / EACH), counter, key);
        for (size_t w = 0; w < SPAN / 2; w++) {
            uint32_t word = words[w / 4][w % 4];

            factor[2 * w] = (word & 0xffff) < drop ? 0 : scale;
            factor[2 * w + 1] = word >> 16 < drop ? 0 : scale;
        }
        for (size_t i = 0; i < some; i++)
            x[at + i] *= factor[i];
    }
}

DNAS_VERSIONS(dnas_cpu_dropout,
              (float *x, size_t n, uint32_t drop, const uint32_t counter[3], const uint32_t key[2]),
              (x, n, drop, counter, key))
