/* SPDX-License-Identifier: MIT
 *
 * attention_sm90.cu - attention.cu's for heads of 64 on GPUs of compute capability 9.0.
 * Contract: pack.cuh.
 *
 * A block has two groups of four warps for 64 of a tile's 128 queries each, and a warp that loads:
 * keys and values go round four stages.  Blocks stay for many tiles, so that the next tile's
 * queries and keys are there when one ends.  Queries are in registers: the products of a
 * group would else read as much of shared memory as it gives.
 *
 * While a group softens the scores of one block of keys, its product of the block before with
 * the values is under way, and the other group's products (Shah et al. 2024, "FlashAttention-3",
 * sections 3.1 and 3.2).
 *
 * A box of 64 keys goes on into the next sequence, whose scores are masked.  Of values
 * that is not enough, as 0 NaN is NaN: where a sequence ends in a block the loading warp copies its
 * values by hand, and zeros behind them.
 */
#include "kernels/cuda/attention_fwd.cuh"
#include "kernels/cuda/ring.cuh"
#include "kernels/cuda/tensor_map.cuh"

#define D 64
#define STAGES 4
#define READERS 8 /* warps in two groups */
#define THREADS (3 * GROUP_THREADS)
/* Of 65,536 registers each thread begins with 168: 40 + 2 * 232 = 3 * 168. */
#define REGISTERS_READER 232
#define REGISTERS_LOADER 40

struct shared {
    bf16 queries[TILE_ROWS * D];
    bf16 keys[STAGES][BLOCK_KEYS * D], values[STAGES][BLOCK_KEYS * D];
    struct ring_barriers<STAGES> ring;
    struct ring_barriers<1> tile; /* of the queries */
};

struct work {
    bf16 *out;
    float *lse;
    const bf16 *qkv;
    const struct tile *tiles;
    const uint32_t *heads;
    const float *slopes;
    const uint2 *ranges;
    unsigned n_tiles, n_items, H; /* items: tiles times heads */
    size_t T;
    float scale;
};

struct item {
    struct tile t;
    struct order o;
    unsigned h;
    float slope;
};

/* The two groups queue their products in turns, so that one softens while the other's run. */
DEVICE void turn_wait(void)
{
    named_wait(1 + warp_index() / 4, 2 * GROUP_THREADS);
}
DEVICE void turn_pass(void)
{
    named_signal(2 - warp_index() / 4, 2 * GROUP_THREADS);
}

DEVICE struct item item_of(const struct work *w, unsigned i)
{
    struct item x;
    const unsigned at = i % w->n_tiles;

    x.h = w->heads[i / w->n_tiles];
    x.slope = w->slopes[x.h];
    x.t = w->tiles[at];
    x.o = order_of(&x.t, w->ranges ? &w->ranges[(size_t)x.h * w->n_tiles + at] : nullptr);
    return x;
}

/* The rows of values from `row` to the sequence's end, and zeros, by a warp. */
DEVICE void values_copy(bf16 *values, const struct work *w, const struct item *x, unsigned row)
{
    const size_t pitch = (size_t)3 * w->H * D;
    const bf16 *from = w->qkv + ((size_t)x->t.start + row) * pitch + ((size_t)2 * w->H + x->h) * D;

    for (unsigned i = lane_index(); i < BLOCK_KEYS * (D / 8); i += 32) {
        unsigned r = i / (D / 8), piece = i % (D / 8);

        store16(swizzled_at(values, r, piece), row + r < x->t.length
                                                   ? load16(from + r * pitch + 8 * piece)
                                                   : make_uint4(0, 0, 0, 0));
    }
    async_fence();
    warp_barrier();
}

DEVICE void load_tiles(struct shared *s, const struct work *w, const CUtensorMap *map)
{
    constexpr unsigned block_bytes = BLOCK_KEYS * D * sizeof(bf16);
    struct ring_place p = {0, 0}, q = {0, 0};

    for (unsigned i = block_index(); i < w->n_items; i += n_blocks()) {
        const struct item x = item_of(w, i);
        const int query = (int)(x.h * D), key = (int)((w->H + x.h) * D),
                  value = (int)((2 * w->H + x.h) * D), first = (int)x.t.start;

        ring_wait_empty(&s->tile, &q);
        if (lane_index() == 0) {
            barrier_arrive_expecting(&s->tile.full[0], 2 * block_bytes);
            for (int half = 0; half < 2; half++)
                box_load(s->queries + half * BLOCK_KEYS * D, map, query,
                         first + (int)x.t.row + half * BLOCK_KEYS, &s->tile.full[0]);
        }
        ring_next<1>(&q);
        for (int k = 0; k < x.o.n; k++) {
            const unsigned row = (unsigned)block_number(&x.o, k) * BLOCK_KEYS;
            const bool ends = row + BLOCK_KEYS > x.t.length;

            ring_wait_empty(&s->ring, &p);
            if (ends)
                values_copy(s->values[p.stage], w, &x, row);
            if (lane_index() == 0) {
                uint64_t *full = &s->ring.full[p.stage];

                barrier_arrive_expecting(full, ends ? block_bytes : 2 * block_bytes);
                box_load(s->keys[p.stage], map, key, first + (int)row, full);
                if (!ends)
                    box_load(s->values[p.stage], map, value, first + (int)row, full);
            }
            ring_next<STAGES>(&p);
        }
    }
}

/* Queues scores = q keys^T. */
DEVICE void multiply_keys(float (&scores)[BLOCK_KEYS / 8][4], const uint32_t q[D / 16][4],
                          const bf16 *keys)
{
    const uint64_t right = operand_at(keys);

    group_multiply<false, false>(scores, q[0], right);
#pragma unroll
    for (int k = 1; k < D / 16; k++)
        group_multiply<false, true>(scores, q[k], operand_plus(right, 32 * (unsigned)k));
    group_commit();
}

/* Queues out += p values. */
DEVICE void multiply_values(float (&out)[D / 8][4], const uint32_t p[BLOCK_KEYS / 16][4],
                            const bf16 *values)
{
    const uint64_t right = operand_at(values);

#pragma unroll
    for (int k = 0; k < BLOCK_KEYS / 16; k++)
        group_multiply<true, true>(out, p[k], operand_plus(right, 2048 * (unsigned)k));
    group_commit();
}

DEVICE void fragments_of(uint32_t left[BLOCK_KEYS / 16][4], const float p[BLOCK_KEYS / 8][4])
{
#pragma unroll
    for (int c = 0; c < BLOCK_KEYS / 16; c++)
        fragment_of(left[c], p[2 * c], p[2 * c + 1]);
}

/* What a lane holds of two rows, `row` and the eighth behind it. */
struct rows {
    float top[2], sum[2];
    int row;
};

/* Softens the scores of block k; what was summed before is to be multiplied by `less`. */
DEVICE void soften_block(float scores[BLOCK_KEYS / 8][4], float less[2], struct rows *r,
                         const struct item *x, int k, float scale)
{
    const struct side side = {k < x->o.n_own, k < x->o.n_own + x->o.n_left ? 1.0f : -1.0f};
    float rest[2];

    bias(scores, rest, side, r->row, block_number(&x->o, k) * BLOCK_KEYS, (int)x->t.length, scale,
         x->slope);
    soften(scores, less, r->top, r->sum, rest);
}

DEVICE void store_rows(const float out[D / 8][4], const struct rows *r, const struct work *w,
                       const struct item *x)
{
    const unsigned t = lane_index() % 4;

#pragma unroll
    for (int half = 0; half < 2; half++) {
        const unsigned row = (unsigned)r->row + 8 * (unsigned)half;
        const size_t to = (size_t)x->t.start + row;
        const float sum = quad_sum(r->sum[half]), factor = 1 / sum;

#pragma unroll
        for (unsigned j = 0; j < D / 8; j += 4) {
            uint32_t v[4];

#pragma unroll
            for (unsigned c = 0; c < 4; c++)
                v[c] = bf16_pack(out[j + c][2 * half] * factor, out[j + c][2 * half + 1] * factor);
            quad_turn(v);
            if (row < x->t.length)
                store16(w->out + to * w->H * D + (size_t)x->h * D + 8 * (j + t),
                        make_uint4(v[0], v[1], v[2], v[3]));
        }
        if (w->lse && t == 0 && row < x->t.length)
            w->lse[(size_t)x->h * w->T + to] = r->top[half] + log2f(sum);
    }
}

/* The tile's rows of one group; p goes on by the tile's blocks. */
DEVICE void attend(struct shared *s, const struct work *w, const struct item *x,
                   const uint32_t q[D / 16][4], struct ring_place *p)
{
    float out[D / 8][4], scores[BLOCK_KEYS / 8][4], less[2];
    uint32_t left[BLOCK_KEYS / 16][4];
    struct rows r = {
        {-INFINITY, -INFINITY}, {0, 0}, (int)(x->t.row + 16 * warp_index() + lane_index() / 4)};

#pragma unroll
    for (int j = 0; j < D / 8; j++)
#pragma unroll
        for (int e = 0; e < 4; e++)
            out[j][e] = 0;
    ring_wait_full(&s->ring, p);
    group_fence();
    multiply_keys(scores, q, s->keys[p->stage]);
    group_wait<0>();
    group_hold(scores);
    soften_block(scores, less, &r, x, 0, w->scale);
    for (int k = 1; k < x->o.n; k++) {
        const struct ring_place before = *p;

        fragments_of(left, scores);
        ring_next<STAGES>(p);
        ring_wait_full(&s->ring, p);
        turn_wait();
        group_fence();
        multiply_keys(scores, q, s->keys[p->stage]);
        multiply_values(out, left, s->values[before.stage]);
        turn_pass();
        group_wait<1>();
        group_hold(scores);
        soften_block(scores, less, &r, x, k, w->scale);
        group_wait_after(r.sum[0] + r.sum[1]);
        group_wait<0>();
        group_hold(out);
        ring_release(&s->ring, &before);
        if (warp_any(less[0] != 1 || less[1] != 1)) /* mostly the first blocks */
            lessen<D>(out, less);
    }
    fragments_of(left, scores);
    group_fence();
    multiply_values(out, left, s->values[p->stage]);
    group_wait<0>();
    group_hold(out);
    ring_release(&s->ring, p);
    ring_next<STAGES>(p);
    store_rows(out, &r, w, x);
}

/* The same for a group that has no rows in the tile. */
DEVICE void attend_none(struct shared *s, const struct item *x, struct ring_place *p)
{
    for (int k = 0; k < x->o.n; k++) {
        ring_wait_full(&s->ring, p);
        if (k > 0) {
            turn_wait();
            turn_pass();
        }
        ring_release(&s->ring, p);
        ring_next<STAGES>(p);
    }
}

DEVICE void read_tiles(struct shared *s, const struct work *w)
{
    const unsigned first = 64 * (warp_index() / 4); /* of the group's rows in the tile */
    struct ring_place p = {0, 0}, q = {0, 0};
    struct item x = item_of(w, block_index());

    if (warp_index() >= 4)
        turn_pass(); /* the first group begins */
    for (unsigned i = block_index(); i < w->n_items; i += n_blocks()) {
        /* Read a tile ahead, as these depend on one another. */
        const struct item next = i + n_blocks() < w->n_items ? item_of(w, i + n_blocks()) : x;
        uint32_t queries[D / 16][4];

        ring_wait_full(&s->tile, &q);
#pragma unroll
        for (unsigned k = 0; k < D / 16; k++)
            tile_left<D>(queries[k], s->queries, 16 * warp_index(), k);
        async_fence();
        warp_barrier();
        ring_release(&s->tile, &q);
        ring_next<1>(&q);
        if (x.t.row + first < x.t.length)
            attend(s, w, &x, queries, &p);
        else
            attend_none(s, &x, &p);
        x = next;
    }
    if (warp_index() < 4)
        turn_wait(); /* the last turn, which nobody needs */
}

__global__ static void __launch_bounds__(THREADS, 1)
    attention_sm90_kernel(struct work w, const __grid_constant__ CUtensorMap map)
{
    struct shared *s = (struct shared *)shared_memory();

    if (thread_index() == 0) {
        map_prefetch(&map);
        ring_init(&s->ring, READERS);
        ring_init(&s->tile, READERS);
        barriers_ready();
    }
    block_barrier();
    if (warp_index() < READERS) {
        registers_more<REGISTERS_READER>();
        read_tiles(s, &w);
    } else {
        registers_fewer<REGISTERS_LOADER>();
        if (warp_index() == READERS)
            load_tiles(s, &w, &map);
    }
}

void dnas_cuda_attention_sm90(struct dnas_cuda *d, bf16 *out, float *lse, const bf16 *qkv,
                              const struct dnas_cuda_pack *p, const uint2 *ranges)
{
    const size_t n_items = p->n_tiles * p->H;
    const struct work w = {out,
                           lse,
                           qkv,
                           p->tiles,
                           p->heads,
                           p->slopes,
                           ranges,
                           (unsigned)p->n_tiles,
                           (unsigned)n_items,
                           (unsigned)p->H,
                           p->T,
                           LOG2_E / sqrtf((float)D)};
    const size_t blocks = n_items < (size_t)d->n_processors ? n_items : (size_t)d->n_processors;
    CUtensorMap map;

    if (!dnas_cuda_tensor_map(d, &map, qkv, p->T, 3 * p->H * D, BLOCK_KEYS) ||
        !CUDA_CHECK(d, cudaFuncSetAttribute(attention_sm90_kernel,
                                            cudaFuncAttributeMaxDynamicSharedMemorySize,
                                            (int)sizeof(struct shared))))
        return;
    LAUNCH(d, attention_sm90_kernel, blocks, THREADS, sizeof(struct shared), w, map);
}
