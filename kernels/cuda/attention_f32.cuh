/* SPDX-License-Identifier: MIT
 *
 * attention_f32.cuh - tiles of 64 f32 rows in shared memory, and their products.
 *
 * Thread 16 y + x of 256 has rows y, y + 16, .. of one tile and x, x + 16, .. of another: rows
 * are an odd number of words apart, so neither meets its neighbour's bank.
 */
#ifndef DNAS_CUDA_ATTENTION_F32_CUH
#define DNAS_CUDA_ATTENTION_F32_CUH

#include "kernels/cuda/simt.h"

#define F32_ROWS 64
#define F32_THREADS 256
#define F32_PITCH(D) ((D) | 1)

/* Rows from row `first` of a sequence on; beyond its length zeros. */
DEVICE void f32_tile_fill(float *to, const float *sequence, size_t pitch, unsigned first,
                          unsigned length, unsigned D)
{
    for (unsigned r = warp_index(); r < F32_ROWS; r += F32_THREADS / 32)
        for (unsigned i = lane_index(); i < D; i += 32)
            to[r * F32_PITCH(D) + i] = first + r < length ? sequence[(first + r) * pitch + i] : 0;
}

/* s = the products of the thread's rows of `a` with those of `b`. */
DEVICE void f32_tile_products(float s[4][4], const float *a, const float *b, unsigned D)
{
    const unsigned x = thread_index() % 16, y = thread_index() / 16;

#pragma unroll
    for (int m = 0; m < 4; m++)
#pragma unroll
        for (int n = 0; n < 4; n++)
            s[m][n] = 0;
    for (unsigned i = 0; i < D; i++) {
        float left[4], right[4];

#pragma unroll
        for (int m = 0; m < 4; m++) {
            left[m] = a[(y + 16 * (unsigned)m) * F32_PITCH(D) + i];
            right[m] = b[(x + 16 * (unsigned)m) * F32_PITCH(D) + i];
        }
#pragma unroll
        for (int m = 0; m < 4; m++)
#pragma unroll
            for (int n = 0; n < 4; n++)
                s[m][n] += left[m] * right[n];
    }
}

/* sum += p rows, with p passed on from the threads of a row by `passed`, [64][65]: they are in one
 * warp.  N channels a thread: x, x + 16, .. */
template <int N>
DEVICE void f32_tile_add(float sum[4][N], const float p[4][4], const float *rows, float *passed,
                         unsigned D)
{
    const unsigned x = thread_index() % 16, y = thread_index() / 16;

    warp_barrier(); /* what was passed before has been read */
#pragma unroll
    for (int a = 0; a < 4; a++)
#pragma unroll
        for (int b = 0; b < 4; b++)
            passed[(y + 16 * (unsigned)a) * (F32_ROWS + 1) + x + 16 * (unsigned)b] = p[a][b];
    warp_barrier();
    for (unsigned j = 0; j < F32_ROWS; j++) {
        float left[4];

#pragma unroll
        for (int a = 0; a < 4; a++)
            left[a] = passed[(y + 16 * (unsigned)a) * (F32_ROWS + 1) + j];
#pragma unroll
        for (int c = 0; c < N; c++) {
            unsigned i = x + 16 * (unsigned)c;
            float value = i < D ? rows[j * F32_PITCH(D) + i] : 0;

#pragma unroll
            for (int a = 0; a < 4; a++)
                sum[a][c] += left[a] * value;
        }
    }
}

#endif
