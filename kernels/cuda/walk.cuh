/* SPDX-License-Identifier: MIT
 *
 * walk.cuh - a thread's pieces of eight values of the rows of a matrix, in steps of the
 * grid, without a division a piece.
 *
 *   for (struct walk w = walk_begin(C / 8); w.row < T; walk_on(&w))
 */
#ifndef DNAS_CUDA_WALK_CUH
#define DNAS_CUDA_WALK_CUH

#include "kernels/cuda/simt.h"

struct walk {
    size_t row;
    unsigned piece, n_pieces; /* of the row */
    unsigned rows_on, pieces_on;
};

DEVICE struct walk walk_begin(unsigned n_pieces)
{
    const unsigned i = block_index() * n_threads() + thread_index();
    const unsigned step = n_blocks() * n_threads();

    return {i / n_pieces, i % n_pieces, n_pieces, step / n_pieces, step % n_pieces};
}

DEVICE void walk_on(struct walk *w)
{
    w->row += w->rows_on;
    w->piece += w->pieces_on;
    if (w->piece >= w->n_pieces) {
        w->piece -= w->n_pieces;
        w->row++;
    }
}

#endif
