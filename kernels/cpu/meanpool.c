/* SPDX-License-Identifier: MIT
 *
 * meanpool.c - the mean of the rows.  Contract: kernels.h.
 */
#include "kernels/kernels.h"

void dnas_cpu_meanpool_fwd(double *out, const float *x, size_t T, size_t C)
{
    for (size_t i = 0; i < C; i++)
        out[i] = 0;
    for (size_t t = 0; t < T; t++)
        for (size_t i = 0; i < C; i++)
            out[i] += (double)x[t * C + i];
    for (size_t i = 0; T > 0 && i < C; i++)
        out[i] /= (double)T;
}
