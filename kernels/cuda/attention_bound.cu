/* SPDX-License-Identifier: MIT
 *
 * attention_bound.cu - which keys count for which tile of queries.  Contract: pack.cuh.
 *
 * With scores in log2, c = log2(e) / sqrt(D) and s = slope log2(e): row i has a score of
 * at least c q_i k_i (its own key), and key j at distance d one of at most
 * c |q_i| |k_j| - s d.  With L the longest key of the sequence and R the largest of
 * c (|q_i| L - q_i k_i) in the tile, the keys further away than (R + Z) / s add to less
 * than 2^-24 of any row's sum if Z = 24 + log2(2 / (1 - 2^-s)): the two sides are
 * geometric series.
 */
#include "kernels/cuda/pack.cuh"
#include "kernels/cuda/value.cuh"

#define WARPS 8
#define LOG2_E 1.44269504088896341f
/* Lengths are raised and reaches widened by more than rounding can take. */
#define RAISED (1 + 0x1p-14f)
#define WIDENED 0.01f

/* A row a warp. */
template <class E>
__global__ static void __launch_bounds__(32 * WARPS)
    lengths_kernel(float *lengths, const E *qkv, size_t T, unsigned H, unsigned D)
{
    for (size_t t = (size_t)block_index() * WARPS + warp_index(); t < T;
         t += (size_t)n_blocks() * WARPS)
        for (unsigned h = 0; h < H; h++) {
            const E *q = qkv + t * 3 * H * D + h * D, *k = q + (size_t)H * D;
            float qq = 0, kk = 0, qk = 0;

            for (unsigned i = lane_index(); i < D; i += 32) {
                float a = value_at(q + i), b = value_at(k + i);

                qq += a * a;
                kk += b * b;
                qk += a * b;
            }
            qq = warp_sum(qq);
            kk = warp_sum(kk);
            qk = warp_sum(qk);
            if (lane_index() == 0) {
                lengths[h * T + t] = sqrtf(qq) * RAISED;
                lengths[(H + h) * T + t] = sqrtf(kk) * RAISED;
                lengths[(2 * H + h) * T + t] = qk;
            }
        }
}

/* fmaxf would drop a NaN. */
DEVICE float larger(float a, float b)
{
    return a >= b ? a : b != b ? b : a != a ? a : b;
}
DEVICE float warp_larger(float x)
{
#pragma unroll
    for (unsigned mask = 16; mask > 0; mask /= 2)
        x = larger(x, shuffle_xor(x, mask));
    return x;
}

/* A head of a tile a warp; the longest key of the sequence was found by longest_kernel. */
__global__ static void __launch_bounds__(32 * WARPS)
    ranges_kernel(uint2 *ranges, const float *lengths, const float *longest,
                  const struct tile *tiles, const float *slopes, size_t n_tiles, size_t T,
                  unsigned H, float c)
{
    size_t i = (size_t)block_index() * WARPS + warp_index();
    unsigned h = (unsigned)(i / n_tiles), n_rows, last;
    struct tile t;
    float most = 0, top, reach, s;
    const float *q, *qk;

    if (i >= n_tiles * H)
        return;
    t = tiles[i % n_tiles];
    s = slopes[h];
    q = lengths + h * T + t.start + t.row;
    qk = lengths + (2 * (size_t)H + h) * T + t.start + t.row;
    n_rows = t.length - t.row < TILE_ROWS ? t.length - t.row : TILE_ROWS;
    top = longest[h * T + t.start];
    for (unsigned r = lane_index(); r < n_rows; r += 32)
        most = larger(most, c * (q[r] * top * RAISED - qk[r]));
    most = warp_larger(most);
    reach = (most + 24 + log2f(2 / -expm1f(-s / LOG2_E)) + WIDENED) / s + 1;
    if (!(reach < 1e9f)) /* NaN, too: all keys */
        reach = 1e9f;
    if (lane_index() == 0) {
        unsigned far = (unsigned)reach, end = t.row + n_rows - 1;

        last = (t.length - 1) / BLOCK_KEYS;
        ranges[i].x = t.row > far ? (t.row - far) / BLOCK_KEYS : 0;
        ranges[i].y = (end + far) / BLOCK_KEYS < last ? (end + far) / BLOCK_KEYS : last;
    }
}

/* A head of a sequence a block; the result takes the place of its first row's length. */
__global__ static void __launch_bounds__(32 * WARPS)
    longest_kernel(float *lengths, const uint32_t *offset, size_t T, unsigned H)
{
    float *part = (float *)shared_memory();
    unsigned b = block_index() / H, h = block_index() % H;
    float *k = lengths + (H + h) * T, top = 0;

    for (uint32_t t = offset[b] + thread_index(); t < offset[b + 1]; t += 32 * WARPS)
        top = larger(top, k[t]);
    top = warp_larger(top);
    if (lane_index() == 0)
        part[warp_index()] = top;
    block_barrier();
    if (thread_index() == 0) {
        for (unsigned w = 1; w < WARPS; w++)
            top = larger(top, part[w]);
        k[offset[b]] = top;
    }
}

void dnas_cuda_pack_bound(struct dnas_cuda *d, struct dnas_cuda_pack *p, const void *qkv,
                          enum dnas_cuda_type type)
{
    unsigned H = (unsigned)p->H, D = (unsigned)p->D;
    size_t blocks = dnas_cuda_grid(p->T, WARPS);

    if (type == DNAS_CUDA_BF16)
        LAUNCH(d, (lengths_kernel<bf16>), blocks, 32 * WARPS, 0, p->lengths, (const bf16 *)qkv,
               p->T, H, D);
    else
        LAUNCH(d, (lengths_kernel<float>), blocks, 32 * WARPS, 0, p->lengths, (const float *)qkv,
               p->T, H, D);
    LAUNCH(d, longest_kernel, p->B * H, 32 * WARPS, WARPS * sizeof(float), p->lengths, p->offset,
           p->T, H);
    LAUNCH(d, ranges_kernel, (p->n_tiles * H + WARPS - 1) / WARPS, 32 * WARPS, 0, p->ranges,
           p->lengths, p->lengths + p->H * p->T, p->tiles, p->slopes, p->n_tiles, p->T, H,
           LOG2_E / sqrtf((float)D));
}
