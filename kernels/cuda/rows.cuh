/* SPDX-License-Identifier: MIT
 *
 * rows.cuh - a row of C values spread over a warp, eight side by side in each lane.
 *
 * Lane l has the values 8 (l + 32 k).. for k = 0..K-1; those from C on are 0.
 */
#ifndef DNAS_CUDA_ROWS_CUH
#define DNAS_CUDA_ROWS_CUH

#include "kernels/cuda/simt.h"

#define ROW_PIECES(C) (((C) + 255) / 256)
#define MOST_PIECES 4 /* rows of up to 1024 stay in registers */

template <int K, class E> DEVICE void row_load(float v[K][8], const E *row, unsigned C)
{
#pragma unroll
    for (int k = 0; k < K; k++) {
        unsigned i = 8 * (lane_index() + 32 * (unsigned)k);

        if (i < C) {
            load8(v[k], row + i);
        } else {
#pragma unroll
            for (int j = 0; j < 8; j++)
                v[k][j] = 0;
        }
    }
}

template <int K> DEVICE float row_sum(const float v[K][8])
{
    float sum = 0;

#pragma unroll
    for (int k = 0; k < K; k++)
#pragma unroll
        for (int j = 0; j < 8; j++)
            sum += v[k][j];
    return warp_sum(sum);
}

/* Takes the mean from the row's values, in two steps: what the first leaves by rounding is the mean
 * of the rest, which matters where the mean is large beside the spread. */
template <int K> DEVICE float row_centre(float v[K][8], unsigned C)
{
    float mean = 0;

#pragma unroll
    for (int step = 0; step < 2; step++) {
        float part = row_sum<K>(v) / (float)C;

        mean += part;
#pragma unroll
        for (int k = 0; k < K; k++)
            if (8 * (lane_index() + 32 * (unsigned)k) < C)
#pragma unroll
                for (int j = 0; j < 8; j++)
                    v[k][j] -= part;
    }
    return mean;
}

/* v = v / sqrt(var + eps) weight + bias for a centred row; returns the factor. */
template <int K>
DEVICE float row_scale(float v[K][8], const float *weight, const float *bias, unsigned C, float eps)
{
    float sum = 0, rstd;

#pragma unroll
    for (int k = 0; k < K; k++)
#pragma unroll
        for (int j = 0; j < 8; j++)
            sum += v[k][j] * v[k][j];
    rstd = 1 / sqrtf(warp_sum(sum) / (float)C + eps);
#pragma unroll
    for (int k = 0; k < K; k++) {
        unsigned i = 8 * (lane_index() + 32 * (unsigned)k);
        float w[8], b[8] = {0, 0, 0, 0, 0, 0, 0, 0};

        if (i >= C)
            continue;
        load8(w, weight + i);
        if (bias)
            load8(b, bias + i);
#pragma unroll
        for (int j = 0; j < 8; j++)
            v[k][j] = v[k][j] * rstd * w[j] + b[j];
    }
    return rstd;
}

template <int K, class E> DEVICE void row_store(E *row, const float v[K][8], unsigned C)
{
#pragma unroll
    for (int k = 0; k < K; k++) {
        unsigned i = 8 * (lane_index() + 32 * (unsigned)k);

        if (i < C)
            store8(row + i, v[k]);
    }
}

#endif
