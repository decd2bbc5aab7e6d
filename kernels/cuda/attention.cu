/* SPDX-License-Identifier: MIT
 *
 * attention.cu - attention in bf16 by tensor cores, with ALiBi's bias for both directions.
 * Contract: kernels/cuda.h.
 *
 * A block has 128 queries of a head; blocks of 64 keys and values come by asynchronous copies
 * in two stages.  A warp's probabilities (attention_fwd.cuh), rounded, are the left operand of
 * its second product as they stand, so they never leave its registers.
 */
#include "kernels/cuda/attention_fwd.cuh"

/* What a warp holds of its rows: 16 MT, by D. */
template <int D, int MT> struct rows {
    uint32_t q[MT][D / 16][4];
    float out[MT][D / 8][4];
    float top[MT][2], sum[MT][2]; /* of rows lane / 4 and that + 8; sum: of this lane's columns */
};

template <int D, int MT>
DEVICE void scores(float s[MT][BLOCK_KEYS / 8][4], const uint32_t q[MT][D / 16][4], bf16 *keys)
{
#pragma unroll
    for (int a = 0; a < MT; a++)
#pragma unroll
        for (int j = 0; j < BLOCK_KEYS / 8; j++)
#pragma unroll
            for (int e = 0; e < 4; e++)
                s[a][j][e] = 0;
#pragma unroll
    for (int j = 0; j < BLOCK_KEYS / 16; j++)
#pragma unroll
        for (int k = 0; k < D / 16; k++) {
            uint32_t b[4];

            tile_right<D>(b, keys, 16 * (unsigned)j, (unsigned)k);
#pragma unroll
            for (int a = 0; a < MT; a++) {
                mma_bf16(s[a][2 * j], q[a][k], b[0], b[1]);
                mma_bf16(s[a][2 * j + 1], q[a][k], b[2], b[3]);
            }
        }
}

template <int D, int MT>
DEVICE void add_values(float out[MT][D / 8][4], const float p[MT][BLOCK_KEYS / 8][4], bf16 *values)
{
#pragma unroll
    for (int k = 0; k < BLOCK_KEYS / 16; k++) {
        uint32_t left[MT][4];

#pragma unroll
        for (int a = 0; a < MT; a++)
            fragment_of(left[a], p[a][2 * k], p[a][2 * k + 1]);
#pragma unroll
        for (int j = 0; j < D / 16; j++) {
            uint32_t b[4];

            tile_right_rows<D>(b, values, 16 * (unsigned)k, (unsigned)j);
#pragma unroll
            for (int a = 0; a < MT; a++) {
                mma_bf16(out[a][2 * j], left[a], b[0], b[1]);
                mma_bf16(out[a][2 * j + 1], left[a], b[2], b[3]);
            }
        }
    }
}

template <int D, int MT, int WARPS, int BLOCKS>
__global__ static void __launch_bounds__(32 * WARPS, BLOCKS)
    attention_fwd_kernel(bf16 *out, float *lse, const bf16 *qkv, const struct tile *tiles,
                         const uint32_t *heads, const float *slopes, const uint2 *ranges,
                         unsigned n_tiles, unsigned H, size_t T, float scale)
{
    static_assert(16 * MT * WARPS == TILE_ROWS, "warps have the rows of a tile");
    constexpr int size = BLOCK_KEYS * D, threads = 32 * WARPS;
    bf16 *queries = (bf16 *)shared_memory(), *keys = queries + TILE_ROWS * D,
         *values = keys + 2 * size; /* two stages each */
    const unsigned at = block_index() % n_tiles, h = heads[block_index() / n_tiles];
    const struct tile t = tiles[at];
    const struct order o = order_of(&t, ranges ? &ranges[(size_t)h * n_tiles + at] : nullptr);
    const size_t pitch = (size_t)3 * H * D;
    const bf16 *q = qkv + (size_t)t.start * pitch + (size_t)h * D;
    const bf16 *k = q + (size_t)H * D, *v = k + (size_t)H * D;
    const unsigned first = 16 * MT * warp_index(); /* of the warp's rows in the tile */
    const bool works = t.row + first < t.length;
    const float slope = slopes[h];
    struct rows<D, MT> r;

    tile_copy<D, TILE_ROWS, threads>(queries, q, pitch, t.row, t.length);
    for (int i = -1; i < o.n; i++) {
        if (i + 1 < o.n) { /* the next block, to the other stage */
            unsigned row = (unsigned)block_number(&o, i + 1) * BLOCK_KEYS,
                     stage = (unsigned)(i + 1) % 2;

            tile_copy<D, BLOCK_KEYS, threads>(keys + stage * size, k, pitch, row, t.length);
            tile_copy<D, BLOCK_KEYS, threads>(values + stage * size, v, pitch, row, t.length);
        }
        copy_async_commit();
        if (i < 0)
            continue;
        copy_async_wait<1>();
        block_barrier();
        if (i == 0) {
#pragma unroll
            for (int a = 0; a < MT; a++) {
#pragma unroll
                for (int c = 0; c < D / 16; c++)
                    tile_left<D>(r.q[a][c], queries, first + 16 * (unsigned)a, (unsigned)c);
#pragma unroll
                for (int c = 0; c < D / 8; c++)
#pragma unroll
                    for (int e = 0; e < 4; e++)
                        r.out[a][c][e] = 0;
                r.top[a][0] = r.top[a][1] = -INFINITY;
                r.sum[a][0] = r.sum[a][1] = 0;
            }
        }
        if (works) {
            const int stage = i % 2, key = block_number(&o, i) * BLOCK_KEYS;
            const struct side side = {i < o.n_own, i < o.n_own + o.n_left ? 1.0f : -1.0f};
            float s[MT][BLOCK_KEYS / 8][4], rest[2], less[2];

            scores<D, MT>(s, r.q, keys + stage * size);
#pragma unroll
            for (int a = 0; a < MT; a++) {
                bias(s[a], rest, side, (int)(t.row + first + 16 * (unsigned)a + lane_index() / 4),
                     key, (int)t.length, scale, slope);
                soften(s[a], less, r.top[a], r.sum[a], rest);
                lessen<D>(r.out[a], less);
            }
            add_values<D, MT>(r.out, s, values + stage * size);
        }
        block_barrier(); /* before the stage is filled again */
    }
    copy_async_wait<0>();
    if (!works)
        return;
#pragma unroll
    for (int a = 0; a < MT; a++)
#pragma unroll
        for (int half = 0; half < 2; half++) {
            const unsigned row =
                t.row + first + 16 * (unsigned)a + lane_index() / 4 + 8 * (unsigned)half;
            const float sum = quad_sum(r.sum[a][half]), factor = 1 / sum;
            const size_t to = (size_t)t.start + row;
            uint32_t *pair = (uint32_t *)(out + to * H * D + (size_t)h * D) + lane_index() % 4;

            if (row >= t.length)
                continue;
#pragma unroll
            for (int c = 0; c < D / 8; c++)
                pair[4 * c] =
                    bf16_pack(r.out[a][c][2 * half] * factor, r.out[a][c][2 * half + 1] * factor);
            if (lse && lane_index() % 4 == 0)
                lse[(size_t)h * T + to] = r.top[a][half] + log2f(sum);
        }
}

template <int D, int MT, int WARPS, int BLOCKS>
static void launch(struct dnas_cuda *d, bf16 *out, float *lse, const bf16 *qkv,
                   const struct dnas_cuda_pack *p, const uint2 *ranges)
{
    size_t bytes = (TILE_ROWS + 4 * BLOCK_KEYS) * D * sizeof(bf16);

    if (!CUDA_CHECK(d,
                    cudaFuncSetAttribute(attention_fwd_kernel<D, MT, WARPS, BLOCKS>,
                                         cudaFuncAttributeMaxDynamicSharedMemorySize, (int)bytes)))
        return;
    LAUNCH(d, (attention_fwd_kernel<D, MT, WARPS, BLOCKS>), p->n_tiles * p->H, 32 * WARPS, bytes,
           out, lse, qkv, p->tiles, p->heads, p->slopes, ranges, (unsigned)p->n_tiles,
           (unsigned)p->H, p->T, LOG2_E / sqrtf((float)D));
}

void dnas_cuda_attention_bf16(struct dnas_cuda *d, bf16 *out, float *lse, const bf16 *qkv,
                              const struct dnas_cuda_pack *p, const uint2 *ranges)
{
    switch (p->D) {
    case 16:
        launch<16, 2, 4, 3>(d, out, lse, qkv, p, ranges);
        break;
    case 32:
        launch<32, 2, 4, 2>(d, out, lse, qkv, p, ranges);
        break;
    case 64:
        launch<64, 2, 4, 2>(d, out, lse, qkv, p, ranges);
        break;
    case 128:
        launch<128, 1, 8, 1>(d, out, lse, qkv, p, ranges);
        break;
    default:
        CUDA_FAIL(d, "attention in bf16 has heads of 16, 32, 64 or 128 channels, not %zu", p->D);
    }
}
