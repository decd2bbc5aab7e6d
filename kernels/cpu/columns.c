/* SPDX-License-Identifier: MIT
 *
 * columns.c - sums of columns.  Contract: kernels.h.
 */
#include "kernels/kernels.h"

#include "kernels/cpu/simd.h"

#define COLUMNS 64 /* at a time: their sums stay in registers or the nearest cache */

INLINE void dnas_cpu_columns_sum_body(float *sum, const float *x, size_t N, size_t C)
{
    for (size_t from = 0; from < C; from += COLUMNS) {
        size_t n = C - from < COLUMNS ? C - from : COLUMNS;
        double columns[COLUMNS] = {0};

        for (size_t row = 0; row < N; row++)
            for (size_t i = 0; i < n; i++)
                columns[i] += (double)x[row * C + from + i];
        for (size_t i = 0; i < n; i++)
            sum[from + i] += (float)columns[i];
    }
}

DNAS_VERSIONS(dnas_cpu_columns_sum, (float *sum, const float *x, size_t N, size_t C),
              (sum, x, N, C))
