/* SPDX-License-Identifier: MIT
 *
 * list_nearest.c - which scores are low enough.  Contract: kernels.h.
 *
 * Where neighbours are looked for, next to no score is: four vectors are asked
 * at once whether they hold one.
 */
#include "kernels/kernels.h"

#include "kernels/cpu/simd.h"

#define AT_ONCE (4 * LANES)

INLINE v16i below(float *score, const float *bias, float limit)
{
    v16 s = v16_load(bias) - 2 * v16_load(score);

    v16_store(score, s);
    return ~(v16i)(s > limit);
}

INLINE void dnas_cpu_list_nearest_body(uint32_t *listed, size_t *n_listed, float *score,
                                       const float *bias, size_t n, float limit)
{
    size_t k = 0, count = 0;

    for (; k + AT_ONCE <= n; k += AT_ONCE) {
        v16i any = below(score + k, bias + k, limit) | below(score + k + 16, bias + k + 16, limit) |
                   below(score + k + 32, bias + k + 32, limit) |
                   below(score + k + 48, bias + k + 48, limit);
        int32_t found = 0;

        for (int l = 0; l < LANES; l++)
            found |= any[l];
        for (size_t j = k; found && j < k + AT_ONCE; j++)
            if (!(score[j] > limit))
                listed[count++] = (uint32_t)j;
    }
    for (; k < n; k++) {
        score[k] = bias[k] - 2 * score[k];
        if (!(score[k] > limit))
            listed[count++] = (uint32_t)k;
    }
    *n_listed = count;
}

DNAS_VERSIONS(dnas_cpu_list_nearest,
              (uint32_t * listed, size_t *n_listed, float *score, const float *bias, size_t n,
               float limit),
              (listed, n_listed, score, bias, n, limit))
