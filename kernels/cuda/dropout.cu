/* SPDX-License-Identifier: MIT
 *
 * dropout.cu - values set to 0 by chance (Srivastava et al. 2014).
 * Contract: kernels/cuda.h.
 *
 * The numbers are those of common/rng.h's generator, a block of which decides over the
 * eight values that a lane has at a time.
 */
#include "kernels/cuda/exact.cuh"
#include "kernels/cuda/pack.cuh"
#include "kernels/cuda/sequence.cuh"
#include "kernels/cuda/training.cuh"

#define WARPS 8

struct chance {
    uint32_t drop, counter0, counter2, key[2];
    float scale; /* of what is kept */
};

/* words = Philox4x32-10(counter; key): Salmon et al. 2011. */
DEVICE void philox(uint32_t words[4], uint32_t c0, uint32_t c1, uint32_t c2, uint32_t c3,
                   uint32_t k0, uint32_t k1)
{
#pragma unroll
    for (int round = 0; round < 10; round++) {
        uint64_t p0 = (uint64_t)0xD2511F53u * c0, p1 = (uint64_t)0xCD9E8D57u * c2;

        c0 = (uint32_t)(p1 >> 32) ^ c1 ^ k0;
        c1 = (uint32_t)p1;
        c2 = (uint32_t)(p0 >> 32) ^ c3 ^ k1;
        c3 = (uint32_t)p0;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    words[0] = c0;
    words[1] = c1;
    words[2] = c2;
    words[3] = c3;
}

template <class E>
__global__ static void __launch_bounds__(32 * WARPS)
    dropout_kernel(E *x, const E *add, const uint32_t *offset, unsigned B, const uint32_t *row,
                   size_t T, unsigned C, struct chance chance)
{
    for (size_t t = (size_t)block_index() * WARPS + warp_index(); t < T;
         t += (size_t)n_blocks() * WARPS) {
        unsigned b = sequence_of(offset, B, t);
        size_t first = (t - offset[b]) * (C / 8); /* block of the row's first eight */
        uint32_t of_sequence = row[b];

        for (unsigned i = 8 * lane_index(); i < C; i += 256) {
            float v[8], more[8] = {0, 0, 0, 0, 0, 0, 0, 0};
            uint32_t words[4];

            philox(words, (uint32_t)(first + i / 8), chance.counter0, of_sequence, chance.counter2,
                   chance.key[0], chance.key[1]);
            load8(v, x + t * C + i);
            if (add)
                load8(more, add + t * C + i);
#pragma unroll
            for (int j = 0; j < 8; j++) {
                uint32_t number = words[j / 2] >> 16 * (j % 2) & 0xFFFF;

                v[j] = exact_multiply(v[j], number < chance.drop ? 0 : chance.scale);
                if (add)
                    v[j] = exact_add(v[j], more[j]);
            }
            store8(x + t * C + i, v);
        }
    }
}

void dnas_cuda_dropout(struct dnas_cuda *d, void *x, const void *add,
                       const struct dnas_cuda_pack *p, const uint32_t *row, size_t C, uint32_t drop,
                       uint32_t counter0, uint32_t counter2, const uint32_t key[2],
                       enum dnas_cuda_type type)
{
    struct chance chance = {
        drop, counter0, counter2, {key[0], key[1]}, 65536.0f / (float)(65536 - drop)};
    size_t blocks = dnas_cuda_grid(p->T, WARPS);

    if (!dnas_cuda_enter(d) || p->T == 0 || C == 0)
        return;
    if (C % 8 != 0)
        CUDA_FAIL(d, "rows of %zu: not a multiple of 8", C);
    else if (type == DNAS_CUDA_BF16)
        LAUNCH(d, (dropout_kernel<bf16>), blocks, 32 * WARPS, 0, (bf16 *)x, (const bf16 *)add,
               p->offset, (unsigned)p->B, row, p->T, (unsigned)C, chance);
    else
        LAUNCH(d, (dropout_kernel<float>), blocks, 32 * WARPS, 0, (float *)x, (const float *)add,
               p->offset, (unsigned)p->B, row, p->T, (unsigned)C, chance);
}
