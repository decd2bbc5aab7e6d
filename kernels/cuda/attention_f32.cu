/* SPDX-License-Identifier: MIT
 *
 * attention_f32.cu - attention in f32 on the ordinary units, for any head of up to 128
 * channels.  Contract: kernels/cuda.h.
 *
 * A block has 64 queries of a head and takes blocks of 64 keys from the left to the right.
 * Thread 16 y + x has queries y, y + 16, .. and keys (then channels) x, x + 16, ...
 */
#include "kernels/cuda/attention_f32.cuh"
#include "kernels/cuda/pack.cuh"

#define ROWS F32_ROWS
#define THREADS F32_THREADS
#define LOG2_E 1.44269504088896341f
#define PITCH F32_PITCH

/* Over the 16 threads of a row. */
DEVICE float row_max(float x)
{
#pragma unroll
    for (unsigned mask = 8; mask > 0; mask /= 2)
        x = fmaxf(x, shuffle_xor(x, mask));
    return x;
}
DEVICE float row_total(float x)
{
#pragma unroll
    for (unsigned mask = 8; mask > 0; mask /= 2)
        x += shuffle_xor(x, mask);
    return x;
}

/* N: channels a thread, at least D / 16. */
template <int N>
__global__ static void __launch_bounds__(THREADS)
    attention_f32_fwd_kernel(float *out, float *lse, const float *qkv, const struct tile *tiles,
                             const uint32_t *heads, const float *slopes, const uint2 *ranges,
                             unsigned n_tiles, unsigned H, unsigned D, size_t T, float scale)
{
    float *queries = (float *)shared_memory(), *keys = queries + ROWS * PITCH(D),
          *values = keys + BLOCK_KEYS * PITCH(D), *p = values + BLOCK_KEYS * PITCH(D);
    const unsigned halves = TILE_ROWS / ROWS, at = block_index() / halves % n_tiles,
                   h = heads[block_index() / halves / n_tiles];
    const struct tile t = tiles[at];
    const unsigned first = t.row + block_index() % halves * ROWS;
    const size_t pitch = (size_t)3 * H * D;
    const float *q = qkv + (size_t)t.start * pitch + (size_t)h * D;
    const float *k = q + (size_t)H * D, *v = k + (size_t)H * D, slope = slopes[h];
    const unsigned x = thread_index() % 16, y = thread_index() / 16;
    unsigned from = 0, to = (t.length - 1) / BLOCK_KEYS;
    float sum_out[4][N], top[4], sum[4];

    if (first >= t.length)
        return;
    if (ranges) {
        from = ranges[(size_t)h * n_tiles + at].x;
        to = ranges[(size_t)h * n_tiles + at].y;
    }
#pragma unroll
    for (int a = 0; a < 4; a++) {
        top[a] = -INFINITY;
        sum[a] = 0;
#pragma unroll
        for (int c = 0; c < N; c++)
            sum_out[a][c] = 0;
    }
    f32_tile_fill(queries, q, pitch, first, t.length, D);
    for (unsigned block = from; block <= to; block++) {
        const unsigned key = block * BLOCK_KEYS;
        float s[4][4];

        block_barrier(); /* the last block's products are done */
        f32_tile_fill(keys, k, pitch, key, t.length, D);
        f32_tile_fill(values, v, pitch, key, t.length, D);
        block_barrier();
        f32_tile_products(s, queries, keys, D);
#pragma unroll
        for (int a = 0; a < 4; a++) {
            float most = -INFINITY, less, part = 0;

#pragma unroll
            for (int b = 0; b < 4; b++) {
                int j = (int)(key + x) + 16 * b, distance = (int)(first + y) + 16 * a - j;

                s[a][b] = j < (int)t.length ? s[a][b] * scale - slope * fabsf((float)distance)
                                            : -INFINITY;
                most = fmaxf(most, s[a][b]);
            }
            most = fmaxf(top[a], row_max(most));
            less = exp2_fast(top[a] - most);
            top[a] = most;
#pragma unroll
            for (int b = 0; b < 4; b++) {
                s[a][b] = exp2_fast(s[a][b] - most);
                part += s[a][b];
            }
            sum[a] = sum[a] * less + part;
#pragma unroll
            for (int c = 0; c < N; c++)
                sum_out[a][c] *= less;
        }
        f32_tile_add<N>(sum_out, s, values, p, D);
    }
#pragma unroll
    for (int a = 0; a < 4; a++) {
        const unsigned row = first + y + 16 * (unsigned)a;
        const float all = row_total(sum[a]), factor = 1 / all;
        const size_t place = (size_t)t.start + row;

        if (row >= t.length)
            continue;
#pragma unroll
        for (int c = 0; c < N; c++)
            if (x + 16 * (unsigned)c < D)
                out[place * H * D + (size_t)h * D + x + 16 * (unsigned)c] = sum_out[a][c] * factor;
        if (lse && x == 0)
            lse[(size_t)h * T + place] = top[a] + log2f(all);
    }
}

template <int N>
static void launch(struct dnas_cuda *d, float *out, float *lse, const float *qkv,
                   const struct dnas_cuda_pack *p, const uint2 *ranges)
{
    size_t bytes =
        ((ROWS + 2 * BLOCK_KEYS) * PITCH(p->D) + ROWS * (BLOCK_KEYS + 1)) * sizeof(float);

    if (!CUDA_CHECK(d,
                    cudaFuncSetAttribute(attention_f32_fwd_kernel<N>,
                                         cudaFuncAttributeMaxDynamicSharedMemorySize, (int)bytes)))
        return;
    LAUNCH(d, attention_f32_fwd_kernel<N>, p->n_tiles * p->H * (TILE_ROWS / ROWS), THREADS, bytes,
           out, lse, qkv, p->tiles, p->heads, p->slopes, ranges, (unsigned)p->n_tiles,
           (unsigned)p->H, (unsigned)p->D, p->T, LOG2_E / sqrtf((float)p->D));
}

void dnas_cuda_attention_f32(struct dnas_cuda *d, float *out, float *lse, const float *qkv,
                             const struct dnas_cuda_pack *p, const uint2 *ranges)
{
    if (p->D <= 16)
        launch<1>(d, out, lse, qkv, p, ranges);
    else if (p->D <= 32)
        launch<2>(d, out, lse, qkv, p, ranges);
    else if (p->D <= 64)
        launch<4>(d, out, lse, qkv, p, ranges);
    else
        launch<8>(d, out, lse, qkv, p, ranges);
}
