/* SPDX-License-Identifier: MIT
 *
 * rotary.c - positions as rotations of channels (Su et al. 2021).  Contract:
 * kernels.h.
 *
 * The angles are rounded to f32 as PyTorch's users round them: at place 2048
 * that is up to 6e-5 of a radian, and the published weights have seen no others.
 */
#include "kernels/kernels.h"

#include <math.h>

#include "common/err.h"
#include "kernels/cpu/simd.h"

/* n of at most LANES pairs. */
INLINE void rotate_some(float *a, float *b, const float *cosine, const float *sine, size_t n,
                        float sign)
{
    v16 u = v16_load_some(a, n, 0), v = v16_load_some(b, n, 0);
    v16 c = v16_load_some(cosine, n, 0), s = sign * v16_load_some(sine, n, 0);
    v16 x = u * c - v * s, y = v * c + u * s;

    memcpy(a, &x, n * sizeof(*a));
    memcpy(b, &y, n * sizeof(*b));
}

INLINE void dnas_cpu_rotary_body(float *x, const float *turns, size_t T, size_t H, size_t D,
                                 size_t ld, int back)
{
    size_t half = D / 2;
    float sign = back ? -1 : 1;

    if (D % 2 != 0)
        DNAS_BUG("a head of %zu channels has no two halves", D);
    for (size_t t = 0; t < T; t++)
        for (size_t h = 0; h < H; h++)
            for (size_t j = 0; j < half; j += LANES) {
                float *a = x + t * ld + h * D + j;
                const float *c = turns + t * D + j;

                if (half - j >= LANES)
                    rotate_some(a, a + half, c, c + half, LANES, sign);
                else
                    rotate_some(a, a + half, c, c + half, half - j, sign);
            }
}

DNAS_VERSIONS(dnas_cpu_rotary,
              (float *x, const float *turns, size_t T, size_t H, size_t D, size_t ld, int back),
              (x, turns, T, H, D, ld, back))

#if !DNAS_ISA /* one is enough */
void dnas_cpu_rotary_turns(float *turns, size_t from, size_t T, size_t D)
{
    for (size_t j = 0; j < D / 2; j++) {
        float theta = 1 / (float)pow(10000, (double)(2 * j) / (double)D);

        for (size_t t = 0; t < T; t++) {
            float angle = (float)(from + t) * theta;

            turns[t * D + j] = (float)cos((double)angle);
            turns[t * D + D / 2 + j] = (float)sin((double)angle);
        }
    }
}
#endif
