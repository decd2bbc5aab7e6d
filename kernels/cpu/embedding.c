/* SPDX-License-Identifier: MIT
 *
 * embedding.c - rows of a table by token.  Contract: kernels.h.
 */
#include "kernels/kernels.h"

#include "common/err.h"

void dnas_cpu_embedding_fwd(float *out, const uint16_t *ids, const float *table, const float *type,
                            size_t T, size_t V, size_t C)
{
    for (size_t t = 0; t < T; t++) {
        const float *row = table + (size_t)ids[t] * C;

        if (ids[t] >= V)
            DNAS_BUG("token %u of a vocabulary of %zu", ids[t], V);
        for (size_t i = 0; i < C; i++)
            out[t * C + i] = row[i] + (type ? type[i] : 0);
    }
}

void dnas_cpu_embedding_bwd(float *dtable, const float *dout, const uint16_t *ids, size_t T,
                            size_t V, size_t C)
{
    for (size_t t = 0; t < T; t++) {
        float *row = dtable + (size_t)ids[t] * C;

        if (ids[t] >= V)
            DNAS_BUG("token %u of a vocabulary of %zu", ids[t], V);
        for (size_t i = 0; i < C; i++)
            row[i] += dout[t * C + i];
    }
}
