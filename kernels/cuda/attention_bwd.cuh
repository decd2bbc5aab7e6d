/* SPDX-License-Identifier: MIT
 *
 * attention_bwd.cuh - what the two versions of attention's backward have in common.
 *
 * With p = 2^(c q k - s |i - j| - lse), delta = dout out and ds = p (dout v - delta):
 *   dq = sum over keys of ds k / sqrt(D),  dk = sum over queries of ds q / sqrt(D),
 *   dv = sum over queries of p dout  (Dao et al. 2022, algorithm 4).
 * One kernel has two uses.  A block owns 64 rows, and takes the other rows that meet them 64
 * at a time in rising order:
 *              own[0]  own[1]  other[0]  other[1]  sum[0]    sum[1]
 *   queries    q       dout    k         v         ds k
 *   keys       k       v       q         dout      ds q      p dout
 * Each computes p and ds anew from own[0] other[0] and own[1] other[1]; nothing is added up
 * by more than one block.  What meets is what meets forward: keys in the range of the tile
 * of queries.
 */
#ifndef DNAS_CUDA_ATTENTION_BWD_CUH
#define DNAS_CUDA_ATTENTION_BWD_CUH

#include "kernels/cuda/pack.cuh"

#define OWN_ROWS 64
#define OTHER_ROWS 64
static_assert(OTHER_ROWS == BLOCK_KEYS && OWN_ROWS == BLOCK_KEYS, "ranges are in blocks of keys");
#define OWN_TILES (TILE_ROWS / OWN_ROWS) /* of a tile of the pack */

template <class E> struct attention_bwd {
    E *dqkv;
    const E *qkv, *dout;
    const float *lse, *delta; /* [H,T] */
    const struct tile *tiles;
    const uint32_t *heads;
    const float *slopes;
    const uint2 *ranges;
    unsigned n_tiles, H, D;
    size_t T;
    float scale; /* log2(e) / sqrt(D) */
};

/* A block's place in the work. */
struct own_rows {
    struct tile tile;
    unsigned head, first; /* row in the sequence */
    unsigned from, last;  /* blocks of other rows */
    const uint2 *ranges;  /* of the sequence's tiles in this head */
};

/* The first block of other rows from o on that meets the own rows, which are keys. */
DEVICE unsigned next_queries(const struct own_rows *own, unsigned o)
{
    const unsigned mine = own->first / BLOCK_KEYS;

    for (; o <= own->last; o++) {
        const uint2 range = own->ranges[o / OWN_TILES];

        if (range.x <= mine && mine <= range.y)
            break;
    }
    return o;
}
template <bool keys> DEVICE unsigned next_block(const struct own_rows *own, unsigned o)
{
    return keys ? next_queries(own, o) : o;
}

/* Flat heads and long sequences first: they have the most to do. */
template <bool keys, class E> DEVICE struct own_rows own_rows_of(const struct attention_bwd<E> *w)
{
    const unsigned at = block_index() / OWN_TILES % w->n_tiles;
    struct own_rows own;

    own.tile = w->tiles[at];
    own.head = w->heads[block_index() / OWN_TILES / w->n_tiles];
    own.first = own.tile.row + block_index() % OWN_TILES * OWN_ROWS;
    /* Tiles of a sequence stand one after the other. */
    own.ranges = w->ranges + (size_t)own.head * w->n_tiles + at - own.tile.row / TILE_ROWS;
    if (keys) {
        own.last = (own.tile.length - 1) / OTHER_ROWS;
        own.from = next_queries(&own, 0);
    } else {
        own.from = own.ranges[own.tile.row / TILE_ROWS].x;
        own.last = own.ranges[own.tile.row / TILE_ROWS].y;
    }
    return own;
}

void dnas_cuda_attention_bwd_bf16(struct dnas_cuda *d, const struct attention_bwd<bf16> *w);
void dnas_cuda_attention_bwd_f32(struct dnas_cuda *d, const struct attention_bwd<float> *w);

#endif
