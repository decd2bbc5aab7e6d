/* SPDX-License-Identifier: MIT
 *
 * attention_bwd.cu - attention, backward, in bf16 by tensor cores.
 * Contract: kernels/cuda.h; the plan: attention_bwd.cuh.
 *
 * Four warps have 16 own rows each, whose fragments stay in registers; other rows come by
 * asynchronous copies in two stages.  16 other rows at a time, a warp's p and ds, rounded,
 * are the left operands of the sums as they stand, so they never leave its registers.
 */
#include "kernels/cuda/attention_bwd.cuh"

#include "kernels/cuda/attention_tile.cuh"
#include "kernels/cuda/training.cuh"
#include "kernels/cuda/value.cuh"

#define WARPS 4
#define THREADS (32 * WARPS)
#define LOG2_E 1.44269504088896341f
static_assert(16 * WARPS == OWN_ROWS, "warps have the own rows");

/* Where the rows of the sequence and head begin, and how far they are apart. */
struct source {
    const bf16 *row[2];
    size_t pitch[2];
};

DEVICE void sources(struct source *queries, struct source *keys,
                    const struct attention_bwd<bf16> *w, const struct own_rows *own)
{
    const size_t C = (size_t)w->H * w->D;
    const bf16 *q = w->qkv + own->tile.start * 3 * C + own->head * w->D;

    queries->row[0] = q;
    queries->pitch[0] = keys->pitch[0] = keys->pitch[1] = 3 * C;
    queries->row[1] = w->dout + own->tile.start * C + own->head * w->D;
    queries->pitch[1] = C;
    keys->row[0] = q + C;
    keys->row[1] = q + 2 * C;
}

/* lse and delta of a row, such that p and ds are 0 beyond the sequence's end. */
DEVICE float2 row_terms(const struct attention_bwd<bf16> *w, const struct own_rows *own,
                        unsigned row)
{
    const size_t at = (size_t)own->head * w->T + own->tile.start + row;

    return row < own->tile.length ? make_float2(w->lse[at], w->delta[at])
                                  : make_float2(INFINITY, 0);
}

/* x, y: 16 own rows by 16 other rows, own[0] other[0] and own[1] other[1]. */
template <int D>
DEVICE void products(float x[2][4], float y[2][4], const uint32_t own[2][D / 16][4],
                     bf16 *const other[2], unsigned row)
{
#pragma unroll
    for (int a = 0; a < 2; a++)
#pragma unroll
        for (int e = 0; e < 4; e++)
            x[a][e] = y[a][e] = 0;
#pragma unroll
    for (int k = 0; k < D / 16; k++) {
        uint32_t b[4], c[4];

        tile_right<D>(b, other[0], row, (unsigned)k);
        tile_right<D>(c, other[1], row, (unsigned)k);
        mma_bf16(x[0], own[0][k], b[0], b[1]);
        mma_bf16(x[1], own[0][k], b[2], b[3]);
        mma_bf16(y[0], own[1][k], c[0], c[1]);
        mma_bf16(y[1], own[1][k], c[2], c[3]);
    }
}

/* sum += left rows, 16 by 16 by D. */
template <int D>
DEVICE void add_products(float sum[D / 8][4], const float left[2][4], bf16 *rows, unsigned row)
{
    uint32_t a[4];

    fragment_of(a, left[0], left[1]);
#pragma unroll
    for (int k = 0; k < D / 16; k++) {
        uint32_t b[4];

        tile_right_rows<D>(b, rows, row, (unsigned)k);
        mma_bf16(sum[2 * k], a, b[0], b[1]);
        mma_bf16(sum[2 * k + 1], a, b[2], b[3]);
    }
}

template <int D>
DEVICE void store_sums(bf16 *to, const float sum[D / 8][4], size_t pitch, unsigned row,
                       unsigned length, float factor)
{
#pragma unroll
    for (int r = 0; r < 2; r++) {
        const unsigned i = row + lane_index() / 4 + 8 * (unsigned)r;
        uint32_t *pair = (uint32_t *)(to + i * pitch) + lane_index() % 4;

        if (i >= length)
            continue;
#pragma unroll
        for (int k = 0; k < D / 8; k++)
            pair[4 * k] = bf16_pack(sum[k][2 * r] * factor, sum[k][2 * r + 1] * factor);
    }
}

template <int D, bool keys, int BLOCKS>
__global__ static void __launch_bounds__(THREADS, BLOCKS)
    attention_bwd_kernel(const struct attention_bwd<bf16> w)
{
    constexpr int size = OTHER_ROWS * D;
    bf16 *own_tile = (bf16 *)shared_memory(), *other_tile = own_tile + 2 * OWN_ROWS * D;
    float2 *terms =
        (float2 *)(other_tile + 4 * size); /* [2][OTHER_ROWS], where these are queries */
    const struct own_rows own = own_rows_of<keys>(&w);
    const unsigned length = own.tile.length, row = own.first + 16 * warp_index();
    const float slope = w.slopes[own.head];
    struct source queries, values;
    uint32_t mine[2][D / 16][4];
    float sum[2][D / 8][4];
    float2 term[2];

    if (own.first >= length)
        return;
    sources(&queries, &values, &w, &own);
    const struct source *from = keys ? &values : &queries, *to = keys ? &queries : &values;

#pragma unroll
    for (int k = 0; k < 2; k++)
        tile_copy<D, OWN_ROWS, THREADS>(own_tile + k * OWN_ROWS * D, from->row[k], from->pitch[k],
                                        own.first, length);
#pragma unroll
    for (int k = 0; k < D / 8; k++)
#pragma unroll
        for (int e = 0; e < 4; e++)
            sum[0][k][e] = sum[1][k][e] = 0;
#pragma unroll
    for (unsigned r = 0; r < 2; r++)
        term[r] = keys ? make_float2(0, 0) : row_terms(&w, &own, row + lane_index() / 4 + 8 * r);

    unsigned next = own.from, block = 0, stage = 1;
    for (bool begun = false;; begun = true) {
        if (next <= own.last) { /* to the stage that is free */
            bf16 *tile = other_tile + 2 * (stage ^ 1) * size;

#pragma unroll
            for (int k = 0; k < 2; k++)
                tile_copy<D, OTHER_ROWS, THREADS>(tile + k * size, to->row[k], to->pitch[k],
                                                  next * OTHER_ROWS, length);
            if (keys && thread_index() < OTHER_ROWS)
                terms[(stage ^ 1) * OTHER_ROWS + thread_index()] =
                    row_terms(&w, &own, next * OTHER_ROWS + thread_index());
        }
        copy_async_commit();
        if (begun) {
            bf16 *const other[2] = {other_tile + 2 * stage * size,
                                    other_tile + (2 * stage + 1) * size};

            copy_async_wait<1>();
            block_barrier();
            if (block == own.from) {
#pragma unroll
                for (int k = 0; k < 2; k++)
#pragma unroll
                    for (int c = 0; c < D / 16; c++)
                        tile_left<D>(mine[k][c], own_tile + k * OWN_ROWS * D, 16 * warp_index(),
                                     (unsigned)c);
            }
#pragma unroll 1
            for (unsigned j = 0; j < OTHER_ROWS; j += 16) {
                const unsigned t = 2 * (lane_index() % 4), column = block * OTHER_ROWS + j + t;
                /* From the lane's first column to its first row. */
                const float distance = (float)(int)(row + lane_index() / 4 - column);
                float p[2][4], ds[2][4];

                products<D>(p, ds, mine, other, j);
#pragma unroll
                for (int a = 0; a < 2; a++)
#pragma unroll
                    for (int e = 0; e < 4; e++) {
                        const float2 at =
                            keys ? terms[stage * OTHER_ROWS + j + t + 8 * a + e % 2] : term[e / 2];
                        const float far = fabsf(distance + (float)(8 * (e / 2) - 8 * a - e % 2));

                        p[a][e] = exp2_fast(p[a][e] * w.scale - at.x - slope * far);
                        if (!keys && column + 8 * a + e % 2 >= length)
                            p[a][e] = 0;
                        ds[a][e] = p[a][e] * (ds[a][e] - at.y);
                    }
                if (keys)
                    add_products<D>(sum[1], p, other[1], j);
                add_products<D>(sum[0], ds, other[0], j);
            }
            block_barrier(); /* before the stage is filled again */
        }
        if (next > own.last)
            break;
        block = next;
        next = next_block<keys>(&own, next + 1);
        stage ^= 1;
    }
    copy_async_wait<0>();

    const size_t C = (size_t)w.H * D;
    bf16 *out = w.dqkv + own.tile.start * 3 * C + own.head * D;
    const float factor = w.scale / LOG2_E;

    store_sums<D>(keys ? out + C : out, sum[0], 3 * C, row, length, factor);
    if (keys)
        store_sums<D>(out + 2 * C, sum[1], 3 * C, row, length, 1);
}

template <int D, bool keys, int BLOCKS>
static void launch(struct dnas_cuda *d, const struct attention_bwd<bf16> *w)
{
    size_t bytes = (2 * OWN_ROWS + 4 * OTHER_ROWS) * D * sizeof(bf16) +
                   (keys ? 2 * OTHER_ROWS * sizeof(float2) : 0);

    if (CUDA_CHECK(d,
                   cudaFuncSetAttribute(attention_bwd_kernel<D, keys, BLOCKS>,
                                        cudaFuncAttributeMaxDynamicSharedMemorySize, (int)bytes)))
        LAUNCH(d, (attention_bwd_kernel<D, keys, BLOCKS>), (size_t)w->n_tiles * OWN_TILES * w->H,
               THREADS, bytes, *w);
}

void dnas_cuda_attention_bwd_bf16(struct dnas_cuda *d, const struct attention_bwd<bf16> *w)
{
    switch (w->D) {
    case 16:
        launch<16, true, 6>(d, w);
        launch<16, false, 6>(d, w);
        break;
    case 32:
        launch<32, true, 4>(d, w);
        launch<32, false, 5>(d, w);
        break;
    case 64:
        launch<64, true, 3>(d, w);
        launch<64, false, 4>(d, w);
        break;
    case 128:
        launch<128, true, 2>(d, w);
        launch<128, false, 2>(d, w);
        break;
    default:
        CUDA_FAIL(d, "training in bf16 has heads of 16, 32, 64 or 128 channels, not %u", w->D);
    }
}

/* ---- for both versions ---- */

/* delta[h,t] = dout[t] out[t] in head h.  A row a warp; heads of 8, 16, .. 256 channels take as
 * many lanes as they have eights, others the warp one after the other. */
template <class E>
__global__ static void __launch_bounds__(256)
    delta_kernel(float *delta, const E *dout, const E *out, size_t T, unsigned H, unsigned D)
{
    const unsigned C = H * D, lanes = D / 8;
    const bool together = D % 8 == 0 && (lanes & (lanes - 1)) == 0 && lanes <= 32;

    for (size_t t = (size_t)block_index() * 8 + warp_index(); t < T; t += (size_t)n_blocks() * 8) {
        for (unsigned from = 0; together && from < C; from += 256) {
            unsigned i = from + 8 * lane_index();
            float sum = 0;

            if (i < C) {
                float a[8], b[8];

                load8(a, dout + t * C + i);
                load8(b, out + t * C + i);
#pragma unroll
                for (int j = 0; j < 8; j++)
                    sum += a[j] * b[j];
            }
            for (unsigned mask = 1; mask < lanes; mask *= 2)
                sum += shuffle_xor(sum, mask);
            if (i < C && i % D == 0)
                delta[i / D * T + t] = sum;
        }
        for (unsigned h = 0; !together && h < H; h++) {
            float sum = 0;

            for (unsigned i = lane_index(); i < D; i += 32)
                sum += value_at(dout + t * C + h * D + i) * value_at(out + t * C + h * D + i);
            sum = warp_sum(sum);
            if (lane_index() == 0)
                delta[h * T + t] = sum;
        }
    }
}

template <class E>
static void begin(struct dnas_cuda *d, struct attention_bwd<E> *w, void *dqkv, const void *dout,
                  const void *out, const float *lse, const void *qkv,
                  const struct dnas_cuda_pack *p)
{
    /* The lengths that the ranges came from are not needed any more. */
    float *delta = p->lengths;

    *w = {(E *)dqkv,
          (const E *)qkv,
          (const E *)dout,
          lse,
          delta,
          p->tiles,
          p->heads,
          p->slopes,
          p->ranges,
          (unsigned)p->n_tiles,
          (unsigned)p->H,
          (unsigned)p->D,
          p->T,
          LOG2_E / sqrtf((float)p->D)};
    LAUNCH(d, (delta_kernel<E>), dnas_cuda_grid(p->T, 8), 256, 0, delta, (const E *)dout,
           (const E *)out, p->T, w->H, w->D);
}

void dnas_cuda_attention_bwd(struct dnas_cuda *d, void *dqkv, const void *dout, const void *out,
                             const float *lse, const void *qkv, struct dnas_cuda_pack *p,
                             enum dnas_cuda_type type)
{
    struct attention_bwd<bf16> narrow;
    struct attention_bwd<float> wide;

    if (!dnas_cuda_enter(d) || p->T == 0)
        return;
    dnas_cuda_pack_bound(d, p, qkv, type);
    if (type == DNAS_CUDA_BF16) {
        begin(d, &narrow, dqkv, dout, out, lse, qkv, p);
        dnas_cuda_attention_bwd_bf16(d, &narrow);
    } else {
        begin(d, &wide, dqkv, dout, out, lse, qkv, p);
        dnas_cuda_attention_bwd_f32(d, &wide);
    }
}
