/* SPDX-License-Identifier: MIT
 *
 * attention.cu - attention in bf16 by tensor cores, with ALiBi's bias for both directions.
 * Contract: kernels/cuda.h.
 *
 * A block has 128 queries of a head; blocks of 64 keys and values come by asynchronous copies
 * in two stages.  The softmax runs along (Milakov and Gimelshein 2018; Dao et al. 2022), all in
 * log2; a warp's probabilities, rounded, are the left operand of its second product as
 * they stand, so they never leave its registers.
 *
 * Keys that the tile's own rows see come first: each row then has a finite largest score from
 * the first block on, and one near its final value.  For blocks wholly to one side the bias
 * is a term of the column, shared by all rows, and one of the row, which joins the largest
 * score: the elements cost one fused product and sum.
 */
#include "kernels/cuda/attention_tile.cuh"
#include "kernels/cuda/pack.cuh"

#define LOG2_E 1.44269504088896341f

/* What a warp holds of its rows: 16 MT, by D. */
template <int D, int MT> struct rows {
    uint32_t q[MT][D / 16][4];
    float out[MT][D / 8][4];
    float top[MT][2], sum[MT][2]; /* of rows lane / 4 and that + 8; sum: of this lane's columns */
};

struct side {
    bool meets; /* the block has keys on both sides of some row, or too near to tell */
    float sign; /* else: 1 for keys to the left, -1 to the right */
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

/* Scales and biases the scores of 16 rows, `row` being this lane's first, against keys from
 * `key` on; those from `length` on become -inf.  What is left to add to whole rows: rest. */
DEVICE void bias(float s[BLOCK_KEYS / 8][4], float rest[2], struct side side, int row, int key,
                 int length, float scale, float slope)
{
    int t = (int)lane_index() % 4;

    rest[0] = rest[1] = 0;
    if (side.meets) {
#pragma unroll
        for (int j = 0; j < BLOCK_KEYS / 8; j++)
#pragma unroll
            for (int e = 0; e < 4; e++) {
                int distance = row + 8 * (e / 2) - (key + 8 * j + 2 * t + e % 2);

                s[j][e] = s[j][e] * scale - slope * fabsf((float)distance);
            }
    } else {
        float step = side.sign * slope;

        rest[0] = -step * (float)(row - key);
        rest[1] = -step * (float)(row + 8 - key);
#pragma unroll
        for (int j = 0; j < BLOCK_KEYS / 8; j++)
#pragma unroll
            for (int e = 0; e < 4; e++)
                s[j][e] = s[j][e] * scale + step * (float)(8 * j + 2 * t + e % 2);
    }
    if (key + BLOCK_KEYS > length)
#pragma unroll
        for (int j = 0; j < BLOCK_KEYS / 8; j++)
#pragma unroll
            for (int e = 0; e < 4; e++)
                if (key + 8 * j + 2 * t + e % 2 >= length)
                    s[j][e] = -INFINITY;
}

/* Scores become probabilities against the largest so far; what was summed follows it. */
template <int D>
DEVICE void soften(float s[BLOCK_KEYS / 8][4], float out[D / 8][4], float top[2], float sum[2],
                   const float rest[2])
{
#pragma unroll
    for (int r = 0; r < 2; r++) {
        float most = -INFINITY, shift, less, part = 0;

#pragma unroll
        for (int j = 0; j < BLOCK_KEYS / 8; j++)
            most = fmaxf(most, fmaxf(s[j][2 * r], s[j][2 * r + 1]));
        most = fmaxf(top[r], quad_max(most) + rest[r]);
        less = exp2_fast(top[r] - most);
        top[r] = most;
        shift = most - rest[r];
#pragma unroll
        for (int j = 0; j < BLOCK_KEYS / 8; j++) {
            s[j][2 * r] = exp2_fast(s[j][2 * r] - shift);
            s[j][2 * r + 1] = exp2_fast(s[j][2 * r + 1] - shift);
            part += s[j][2 * r] + s[j][2 * r + 1];
        }
        sum[r] = sum[r] * less + part;
#pragma unroll
        for (int j = 0; j < D / 8; j++) {
            out[j][2 * r] *= less;
            out[j][2 * r + 1] *= less;
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

/* Blocks of keys of a tile, in the order in which they are taken: those that hold the tile's own
 * rows, then to the left, then to the right. */
struct order {
    int n, n_own, n_left, first_own, last_own;
};

DEVICE struct order order_of(const struct tile *t, const uint2 *range)
{
    struct order o;
    int last = ((int)t->length - 1) / BLOCK_KEYS;
    int from = range ? (int)range->x : 0, to = range ? (int)range->y : last;

    o.first_own = (int)t->row / BLOCK_KEYS;
    o.last_own = ((int)t->row + TILE_ROWS - 1) / BLOCK_KEYS;
    o.last_own = o.last_own < last ? o.last_own : last;
    o.n_own = o.last_own - o.first_own + 1;
    o.n_left = o.first_own - from;
    o.n = to - from + 1;
    return o;
}

DEVICE int block_number(const struct order *o, int i)
{
    if (i < o->n_own)
        return o->first_own + i;
    i -= o->n_own;
    return i < o->n_left ? o->first_own - 1 - i : o->last_own + 1 + i - o->n_left;
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
            float s[MT][BLOCK_KEYS / 8][4], rest[2];

            scores<D, MT>(s, r.q, keys + stage * size);
#pragma unroll
            for (int a = 0; a < MT; a++) {
                bias(s[a], rest, side, (int)(t.row + first + 16 * (unsigned)a + lane_index() / 4),
                     key, (int)t.length, scale, slope);
                soften<D>(s[a], r.out[a], r.top[a], r.sum[a], rest);
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
