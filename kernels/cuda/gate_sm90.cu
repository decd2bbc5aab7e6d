/* SPDX-License-Identifier: MIT
 *
 * gate_sm90.cu - the gated product of a feed-forward part, on GPUs of compute capability
 * 9.0.  Contract: gate.cuh.
 *
 * A block has 128 rows of x and 128 columns twice: of the gate and of its partner, which stand
 * one behind the other in shared memory and so are one product of 256 columns: a
 * thread has both numbers of an output in its registers, and the weights keep their order.
 * Two groups of four warps have 64 rows each; a warp loads, four stages of 64 channels ahead.
 * Blocks stay for many tiles, so that the next one is loaded while a group computes its gates,
 * and the second group begins some stages behind the first, so that one multiplies then.
 */
#include "kernels/cuda/attention_tile.cuh"
#include "kernels/cuda/gate.cuh"
#include "kernels/cuda/gelu.cuh"
#include "kernels/cuda/ring.cuh"
#include "kernels/cuda/tensor_map.cuh"

#define ROWS 128
#define COLUMNS 128
#define STAGES 4
#define READERS 8 /* warps in two groups */
#define THREADS (3 * GROUP_THREADS)
/* Of 65,536 registers each thread begins with 168: 40 + 2 * 232 = 3 * 168. */
#define REGISTERS_READER 232
#define REGISTERS_LOADER 40
/* Stages that the first group is ahead; a named barrier tells. */
#define AHEAD 2
#define AHEAD_BARRIER 1

struct stage {
    bf16 x[ROWS * TILE_COLUMNS];
    bf16 w[2 * COLUMNS * TILE_COLUMNS]; /* the gate's, then the partner's */
};

struct shared {
    struct stage stages[STAGES];
    struct ring_barriers<STAGES> ring;
};

struct work {
    bf16 *out;
    size_t T;
    unsigned F, n_steps, n_columns, n_tiles; /* n_columns: tiles side by side */
};

DEVICE void load_tiles(struct shared *s, const struct work *w, const CUtensorMap *x_map,
                       const CUtensorMap *w_map)
{
    struct ring_place p = {0, 0};

    for (unsigned i = block_index(); i < w->n_tiles; i += n_blocks()) {
        const int row = (int)(i / w->n_columns * ROWS), column = (int)(i % w->n_columns * COLUMNS);

        for (unsigned k = 0; k < w->n_steps; k++) {
            struct stage *to = &s->stages[p.stage];
            uint64_t *full = &s->ring.full[p.stage];
            const int channel = (int)(k * TILE_COLUMNS);

            ring_wait_empty(&s->ring, &p);
            barrier_arrive_expecting(full, sizeof(struct stage));
            box_load(to->x, x_map, channel, row, full);
            box_load(to->w, w_map, channel, column, full);
            box_load(to->w + COLUMNS * TILE_COLUMNS, w_map, channel, (int)w->F + column, full);
            ring_next<STAGES>(&p);
        }
    }
}

/* The sums of one tile and group; p goes on by the tile's stages. */
DEVICE void multiply_tile(float (&sums)[2 * COLUMNS / 8][4], struct shared *s, const struct work *w,
                          struct ring_place *p, bool tells)
{
    const unsigned first = 64 * (warp_index() / 4);
    struct ring_place before = *p;

#pragma unroll
    for (int j = 0; j < 2 * COLUMNS / 8; j++)
#pragma unroll
        for (int e = 0; e < 4; e++)
            sums[j][e] = 0;
    for (unsigned k = 0; k < w->n_steps; k++) {
        const struct stage *at = &s->stages[p->stage];
        const uint64_t left = operand_at(at->x + first * TILE_COLUMNS), right = operand_at(at->w);

        ring_wait_full(&s->ring, p);
        group_fence();
#pragma unroll
        for (unsigned c = 0; c < TILE_COLUMNS / 16; c++)
            group_multiply<true>(sums, operand_plus(left, 32 * c), operand_plus(right, 32 * c));
        group_commit();
        if (tells && k == (AHEAD < w->n_steps ? AHEAD : w->n_steps) - 1)
            named_signal(AHEAD_BARRIER, 2 * GROUP_THREADS);
        if (k > 0) {
            group_wait<1>();
            ring_release(&s->ring, &before);
        }
        before = *p;
        ring_next<STAGES>(p);
    }
    group_wait<0>();
    group_hold(sums);
    ring_release(&s->ring, &before);
}

DEVICE void store_gated(const float sums[2 * COLUMNS / 8][4], const struct work *w, unsigned tile)
{
    const size_t first = (size_t)(tile / w->n_columns) * ROWS + 16 * warp_index();
    const unsigned column = tile % w->n_columns * COLUMNS, t = lane_index() % 4;

#pragma unroll
    for (int half = 0; half < 2; half++) {
        const size_t row = first + lane_index() / 4 + 8 * (size_t)half;

#pragma unroll
        for (unsigned j = 0; j < COLUMNS / 8; j += 4) {
            uint32_t v[4];

#pragma unroll
            for (unsigned c = 0; c < 4; c++) {
                const float *z = &sums[j + c][2 * half];
                const float *partner = &sums[COLUMNS / 8 + j + c][2 * half];

                v[c] = bf16_pack(gelu(z[0]) * partner[0], gelu(z[1]) * partner[1]);
            }
            quad_turn(v);
            if (row < w->T && column + 8 * (j + t) < w->F)
                store16(w->out + row * w->F + column + 8 * (j + t),
                        make_uint4(v[0], v[1], v[2], v[3]));
        }
    }
}

DEVICE void read_tiles(struct shared *s, const struct work *w)
{
    const bool leads = warp_index() < 4;
    struct ring_place p = {0, 0};

    if (!leads)
        named_wait(AHEAD_BARRIER, 2 * GROUP_THREADS);
    for (unsigned i = block_index(); i < w->n_tiles; i += n_blocks()) {
        float sums[2 * COLUMNS / 8][4];

        multiply_tile(sums, s, w, &p, leads && i == block_index());
        store_gated(sums, w, i);
    }
}

__global__ static void __launch_bounds__(THREADS, 1)
    gate_sm90_kernel(struct work w, const __grid_constant__ CUtensorMap x_map,
                     const __grid_constant__ CUtensorMap w_map)
{
    struct shared *s = (struct shared *)shared_memory();

    if (thread_index() == 0) {
        map_prefetch(&x_map);
        map_prefetch(&w_map);
        ring_init(&s->ring, READERS);
        barriers_ready();
    }
    block_barrier();
    if (warp_index() < READERS) {
        registers_more<REGISTERS_READER>();
        read_tiles(s, &w);
    } else {
        registers_fewer<REGISTERS_LOADER>();
        if (warp_index() == READERS && lane_index() == 0)
            load_tiles(s, &w, &x_map, &w_map);
    }
}

void dnas_cuda_gate_sm90(struct dnas_cuda *d, bf16 *out, const bf16 *x, const bf16 *weights,
                         size_t T, size_t F, size_t I)
{
    const size_t n_rows = (T + ROWS - 1) / ROWS, n_columns = (F + COLUMNS - 1) / COLUMNS,
                 n_tiles = n_rows * n_columns,
                 blocks = n_tiles < (size_t)d->n_processors ? n_tiles : (size_t)d->n_processors;
    const struct work w = {out,
                           T,
                           (unsigned)F,
                           (unsigned)((I + TILE_COLUMNS - 1) / TILE_COLUMNS),
                           (unsigned)n_columns,
                           (unsigned)n_tiles};
    CUtensorMap x_map, w_map;

    if (!dnas_cuda_tensor_map(d, &x_map, x, T, I, ROWS) ||
        !dnas_cuda_tensor_map(d, &w_map, weights, 2 * F, I, COLUMNS) ||
        !CUDA_CHECK(d, cudaFuncSetAttribute(gate_sm90_kernel,
                                            cudaFuncAttributeMaxDynamicSharedMemorySize,
                                            (int)sizeof(struct shared))))
        return;
    LAUNCH(d, gate_sm90_kernel, blocks, THREADS, sizeof(struct shared), w, x_map, w_map);
}
