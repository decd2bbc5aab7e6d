/* SPDX-License-Identifier: MIT
 *
 * attention_fwd.cuh - what attention does with a block of scores, whoever computed them.
 *
 * The softmax runs along (Milakov and Gimelshein 2018; Dao et al. 2022), all in log2.  Keys that
 * the tile's own rows see come first: each row then has a finite largest score from
 * the first block on, and one near its final value.  For blocks wholly to one side the bias
 * is a term of the column, shared by all rows, and one of the row, which joins the largest
 * score: the elements cost one fused product and sum.
 */
#ifndef DNAS_CUDA_ATTENTION_FWD_CUH
#define DNAS_CUDA_ATTENTION_FWD_CUH

#include "kernels/cuda/attention_tile.cuh"
#include "kernels/cuda/pack.cuh"

#define LOG2_E 1.44269504088896341f

struct side {
    bool meets; /* the block has keys on both sides of some row, or too near to tell */
    float sign; /* else: 1 for keys to the left, -1 to the right */
};

/* The columns' terms of a block to one side: they are the same for all blocks, but for the sign. */
template <int SIGN> DEVICE void bias_columns(float s[BLOCK_KEYS / 8][4], float scale, float slope)
{
    int t = (int)lane_index() % 4;

#pragma unroll
    for (int j = 0; j < BLOCK_KEYS / 8; j++)
#pragma unroll
        for (int e = 0; e < 4; e++)
            s[j][e] = fmaf(s[j][e], scale, (float)SIGN * (slope * (float)(8 * j + 2 * t + e % 2)));
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
        rest[0] = -side.sign * slope * (float)(row - key);
        rest[1] = -side.sign * slope * (float)(row + 8 - key);
        if (side.sign > 0)
            bias_columns<1>(s, scale, slope);
        else
            bias_columns<-1>(s, scale, slope);
    }
    if (key + BLOCK_KEYS > length)
#pragma unroll
        for (int j = 0; j < BLOCK_KEYS / 8; j++)
#pragma unroll
            for (int e = 0; e < 4; e++)
                if (key + 8 * j + 2 * t + e % 2 >= length)
                    s[j][e] = -INFINITY;
}

/* Scores become probabilities against the largest so far, top; what was summed before them is to be
 * multiplied by `less`. */
DEVICE void soften(float s[BLOCK_KEYS / 8][4], float less[2], float top[2], float sum[2],
                   const float rest[2])
{
#pragma unroll
    for (int r = 0; r < 2; r++) {
        float most = -INFINITY, shift, part = 0;

#pragma unroll
        for (int j = 0; j < BLOCK_KEYS / 8; j++)
            most = fmaxf(most, fmaxf(s[j][2 * r], s[j][2 * r + 1]));
        most = fmaxf(top[r], quad_max(most) + rest[r]);
        less[r] = exp2_fast(top[r] - most);
        top[r] = most;
        shift = most - rest[r];
#pragma unroll
        for (int j = 0; j < BLOCK_KEYS / 8; j++) {
            s[j][2 * r] = exp2_fast(s[j][2 * r] - shift);
            s[j][2 * r + 1] = exp2_fast(s[j][2 * r + 1] - shift);
            part += s[j][2 * r] + s[j][2 * r + 1];
        }
        sum[r] = sum[r] * less[r] + part;
    }
}

template <int D> DEVICE void lessen(float out[D / 8][4], const float less[2])
{
#pragma unroll
    for (int r = 0; r < 2; r++)
#pragma unroll
        for (int j = 0; j < D / 8; j++) {
            out[j][2 * r] *= less[r];
            out[j][2 * r + 1] *= less[r];
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

#endif
