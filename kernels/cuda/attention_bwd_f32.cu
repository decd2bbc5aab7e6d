/* SPDX-License-Identifier: MIT
 *
 * attention_bwd_f32.cu - attention, backward, in f32 on the ordinary units, for any head of up
 * to 128 channels.  Contract: kernels/cuda.h; the plan: attention_bwd.cuh.
 *
 * Thread 16 y + x has own rows y, y + 16, .. and other rows (then channels) x, x + 16, ...
 */
#include "kernels/cuda/attention_bwd.cuh"
#include "kernels/cuda/attention_f32.cuh"

#define THREADS F32_THREADS
#define LOG2_E 1.44269504088896341f
#define PITCH F32_PITCH

static_assert(OWN_ROWS == F32_ROWS && OTHER_ROWS == F32_ROWS, "a tile each");

/* N: channels a thread, at least D / 16. */
template <int N, bool keys>
__global__ static void __launch_bounds__(THREADS)
    attention_bwd_f32_kernel(const struct attention_bwd<float> w)
{
    const unsigned D = w.D, tile = 64 * PITCH(D), x = thread_index() % 16, y = thread_index() / 16;
    float *own_tile = (float *)shared_memory(), *other_tile = own_tile + 2 * tile,
          *passed = other_tile + 2 * tile;
    const struct own_rows own = own_rows_of<keys>(&w);
    const unsigned length = own.tile.length;
    const size_t C = (size_t)w.H * D, start = own.tile.start;
    const float *q = w.qkv + start * 3 * C + own.head * D, *k = q + C, *v = k + C;
    const float *dout = w.dout + start * C + own.head * D, slope = w.slopes[own.head];
    const float *lse = w.lse + own.head * w.T + start, *delta = w.delta + own.head * w.T + start;
    float sum[2][4][N];

    if (own.first >= length)
        return;
#pragma unroll
    for (int a = 0; a < 4; a++)
#pragma unroll
        for (int c = 0; c < N; c++)
            sum[0][a][c] = sum[1][a][c] = 0;
    f32_tile_fill(own_tile, keys ? k : q, 3 * C, own.first, length, D);
    f32_tile_fill(own_tile + tile, keys ? v : dout, keys ? 3 * C : C, own.first, length, D);
    for (unsigned block = own.from; block <= own.last; block = next_block<keys>(&own, block + 1)) {
        const unsigned other = block * OTHER_ROWS;
        float p[4][4], ds[4][4];

        block_barrier(); /* the last block's products are done */
        f32_tile_fill(other_tile, keys ? q : k, 3 * C, other, length, D);
        f32_tile_fill(other_tile + tile, keys ? dout : v, keys ? C : 3 * C, other, length, D);
        block_barrier();
        f32_tile_products(p, own_tile, other_tile, D);
        f32_tile_products(ds, own_tile + tile, other_tile + tile, D);
#pragma unroll
        for (int a = 0; a < 4; a++)
#pragma unroll
            for (int b = 0; b < 4; b++) {
                const unsigned i = own.first + y + 16 * (unsigned)a,
                               j = other + x + 16 * (unsigned)b;
                const unsigned query = keys ? j : i;
                const bool inside = i < length && j < length;
                const float far = fabsf((float)(int)(i - j));

                p[a][b] = inside ? exp2_fast(p[a][b] * w.scale - slope * far - lse[query]) : 0;
                ds[a][b] = inside ? p[a][b] * (ds[a][b] - delta[query]) : 0;
            }
        if (keys)
            f32_tile_add<N>(sum[1], p, other_tile + tile, passed, D);
        f32_tile_add<N>(sum[0], ds, other_tile, passed, D);
    }
#pragma unroll
    for (int a = 0; a < 4; a++) {
        const unsigned row = own.first + y + 16 * (unsigned)a;
        float *to = w.dqkv + (start + row) * 3 * C + own.head * D + (keys ? C : 0);

        if (row >= length)
            continue;
#pragma unroll
        for (int c = 0; c < N; c++) {
            const unsigned i = x + 16 * (unsigned)c;

            if (i >= D)
                continue;
            to[i] = sum[0][a][c] * (w.scale / LOG2_E);
            if (keys)
                to[C + i] = sum[1][a][c];
        }
    }
}

template <int N, bool keys>
static void launch(struct dnas_cuda *d, const struct attention_bwd<float> *w)
{
    size_t bytes = (4 * 64 * PITCH(w->D) + OWN_ROWS * (OTHER_ROWS + 1)) * sizeof(float);

    if (CUDA_CHECK(d,
                   cudaFuncSetAttribute(attention_bwd_f32_kernel<N, keys>,
                                        cudaFuncAttributeMaxDynamicSharedMemorySize, (int)bytes)))
        LAUNCH(d, (attention_bwd_f32_kernel<N, keys>), (size_t)w->n_tiles * OWN_TILES * w->H,
               THREADS, bytes, *w);
}

template <int N> static void both(struct dnas_cuda *d, const struct attention_bwd<float> *w)
{
    launch<N, true>(d, w);
    launch<N, false>(d, w);
}

void dnas_cuda_attention_bwd_f32(struct dnas_cuda *d, const struct attention_bwd<float> *w)
{
    if (w->D <= 16)
        both<1>(d, w);
    else if (w->D <= 32)
        both<2>(d, w);
    else if (w->D <= 64)
        both<4>(d, w);
    else
        both<8>(d, w);
}
