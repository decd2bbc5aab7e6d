/* SPDX-License-Identifier: MIT
 *
 * attention_tile.cuh - tiles of bf16 rows in shared memory, for products by mma_bf16.
 *
 * Rows of D values lie one after the other in pieces of 16 bytes.  Which place of its row a
 * piece has depends on the row, so that the eight rows that a matrix load takes at once lie in
 * all the banks.
 */
#ifndef DNAS_CUDA_ATTENTION_TILE_CUH
#define DNAS_CUDA_ATTENTION_TILE_CUH

#include "kernels/cuda/simt.h"

/* Piece `piece` (8 values) of a row. */
template <int D> DEVICE bf16 *tile_at(bf16 *tile, unsigned row, unsigned piece)
{
    constexpr unsigned pieces = D / 8, rows = pieces < 8 ? 8 / pieces : 1; /* in 128 bytes */
    constexpr unsigned mask = (pieces < 8 ? pieces : 8) - 1;

    return tile + row * D + 8 * (piece ^ (row / rows & mask));
}

/* Queues copies of ROWS rows from row `first` of a sequence; beyond its `length` rows of zeros. */
template <int D, int ROWS, int THREADS>
DEVICE void tile_copy(bf16 *tile, const bf16 *sequence, size_t pitch, unsigned first,
                      unsigned length)
{
    constexpr unsigned pieces = D / 8;

#pragma unroll
    for (unsigned i = thread_index(); i < ROWS * pieces; i += THREADS) {
        unsigned row = i / pieces, piece = i % pieces;
        bool inside = first + row < length;

        copy_async16(tile_at<D>(tile, row, piece),
                     sequence + (size_t)(inside ? first + row : 0) * pitch + 8 * piece, inside);
    }
}

/* The fragments of 16 rows from `row`, 16 columns from piece 2 k: as the left operand, */
template <int D> DEVICE void tile_left(uint32_t a[4], bf16 *tile, unsigned row, unsigned k)
{
    unsigned m = lane_index() / 8, r = lane_index() % 8;

    matrices_load(a, tile_at<D>(tile, row + m % 2 * 8 + r, 2 * k + m / 2));
}
/* as the right operand, rows of the tile being its columns: (b[0], b[1]) for the first eight,
 * (b[2], b[3]) for the others, */
template <int D> DEVICE void tile_right(uint32_t b[4], bf16 *tile, unsigned row, unsigned k)
{
    unsigned m = lane_index() / 8, r = lane_index() % 8;

    matrices_load(b, tile_at<D>(tile, row + m / 2 * 8 + r, 2 * k + m % 2));
}
/* and as the right operand with rows of the tile as its rows. */
template <int D> DEVICE void tile_right_rows(uint32_t b[4], bf16 *tile, unsigned row, unsigned k)
{
    unsigned m = lane_index() / 8, r = lane_index() % 8;

    matrices_load_turned(b, tile_at<D>(tile, row + m % 2 * 8 + r, 2 * k + m / 2));
}

/* Two neighbouring sums of a product, 16 x 16, rounded: the left operand of the next. */
DEVICE void fragment_of(uint32_t a[4], const float left[4], const float right[4])
{
    a[0] = bf16_pack(left[0], left[1]);
    a[1] = bf16_pack(left[2], left[3]);
    a[2] = bf16_pack(right[0], right[1]);
    a[3] = bf16_pack(right[2], right[3]);
}

/* Over the four lanes that share a row of a product. */
DEVICE float quad_sum(float x)
{
    x += shuffle_xor(x, 1);
    return x + shuffle_xor(x, 2);
}
DEVICE float quad_max(float x)
{
    x = fmaxf(x, shuffle_xor(x, 1));
    return fmaxf(x, shuffle_xor(x, 2));
}
/* Four words of each lane of four, turned: word k becomes lane k's, at this lane's place. */
DEVICE void quad_turn(uint32_t v[4])
{
    const bool odd = lane_index() & 1, high = lane_index() & 2;

#pragma unroll
    for (int k = 0; k < 4; k += 2) {
        const uint32_t got = shuffle_xor(odd ? v[k] : v[k + 1], 1);

        v[k] = odd ? got : v[k];
        v[k + 1] = odd ? v[k + 1] : got;
    }
#pragma unroll
    for (int k = 0; k < 2; k++) {
        const uint32_t got = shuffle_xor(high ? v[k] : v[k + 2], 2);

        v[k] = high ? got : v[k];
        v[k + 2] = high ? v[k + 2] : got;
    }
}

#endif
