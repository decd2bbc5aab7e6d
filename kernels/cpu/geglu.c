/* SPDX-License-Identifier: MIT
 *
 * geglu.c - the gated Gaussian error linear unit (Shazeer 2020).  Contract: kernels.h.
 */
#include "kernels/kernels.h"

#include "kernels/cpu/simd.h"

INLINE void dnas_cpu_geglu_fwd_body(float *out, const float *x, size_t N, size_t F)
{
    for (size_t row = 0; row < N; row++) {
        const float *z = x + row * 2 * F, *gate = z + F;
        float *to = out + row * F;
        size_t i = 0;

        for (; i + LANES <= F; i += LANES) {
            v16 v = v16_load(z + i);

            v16_store(to + i, v * v16_phi(v) * v16_load(gate + i));
        }
        if (i < F) {
            float rest[LANES];
            v16 v = v16_load_some(z + i, F - i, 0);

            v16_store(rest, v * v16_phi(v) * v16_load_some(gate + i, F - i, 0));
            memcpy(to + i, rest, (F - i) * sizeof(*to));
        }
    }
}

DNAS_VERSIONS(dnas_cpu_geglu_fwd, (float *out, const float *x, size_t N, size_t F), (out, x, N, F))
