/* SPDX-License-Identifier: MIT
 *
 * kmer_score.c - nearest others of the same class.  Contract: kmer_score.h.
 */
#include "common/kmer_score.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "common/threads.h"
#include "common/xmem.h"
#include "kernels/kernels.h"

/* Rows of similarities in one product; fixed, since oneDNN's bits depend on it. */
#define TILE 64

struct scoring {
    const float *from; /* [n,C] */
    const uint32_t *label;
    size_t n, C;
    float *y;      /* [n to whole tiles, C] of unit length */
    float *same;   /* [workers,TILE,n] similarities */
    double *share; /* [n] */
};

static void make_units(struct scoring *s)
{
    for (size_t i = 0; i < s->n; i++) {
        const float *x = s->from + i * s->C;
        double norm = 0;

        for (size_t c = 0; c < s->C; c++)
            norm += (double)x[c] * x[c];
        for (size_t c = 0; norm > 0 && c < s->C; c++)
            s->y[i * s->C + c] = (float)(x[c] / sqrt(norm));
    }
}

/* The share of row i's nearest others, as many as its class has, that are of its class. */
static double share_of(const struct scoring *s, const float *same, size_t i)
{
    size_t best[DNAS_KMER_SCORE_CLASS] = {0}, n_best = 0, n_class = 0, n_right = 0;

    for (size_t j = 0; j < s->n && n_class < DNAS_KMER_SCORE_CLASS; j++)
        n_class += s->label[j] == s->label[i] && j != i;
    for (size_t j = 0; n_class > 0 && j < s->n; j++) {
        size_t at = n_best;

        if (j == i || (n_best == n_class && !(same[j] > same[best[n_best - 1]])))
            continue;
        if (n_best < n_class)
            n_best++;
        else
            at--;
        for (; at > 0 && same[j] > same[best[at - 1]]; at--)
            best[at] = best[at - 1];
        best[at] = j;
    }
    for (size_t k = 0; k < n_best; k++)
        n_right += s->label[best[k]] == s->label[i];
    return n_class ? (double)n_right / (double)n_class : 1;
}

static void score_tile(void *ctx, size_t tile, int worker)
{
    const struct scoring *s = ctx;
    float *same = s->same + (size_t)worker * TILE * s->n;

    dnas_cpu_matmul_nt(same, s->y + tile * TILE * s->C, s->y, TILE, s->n, s->C);
    for (size_t i = 0; i < TILE && tile * TILE + i < s->n; i++)
        s->share[tile * TILE + i] = share_of(s, same + i * s->n, tile * TILE + i);
}

double dnas_kmer_shares(const float *y, const uint32_t *label, size_t n, size_t C, int n_threads)
{
    size_t n_tiles = (n + TILE - 1) / TILE;
    struct scoring s = {.from = y, .label = label, .n = n, .C = C};
    double sum = 0;

    if (n == 0)
        return 0;
    s.y = dnas_xzalloc(n_tiles * TILE, C * sizeof(*s.y));
    s.same = dnas_xalloc((size_t)n_threads * TILE, n * sizeof(*s.same));
    s.share = dnas_xalloc(n, sizeof(*s.share));
    make_units(&s);
    dnas_parallel_for(n_tiles, n_threads, score_tile, &s);
    for (size_t i = 0; i < n; i++)
        sum += s.share[i];
    free(s.y);
    free(s.same);
    free(s.share);
    return sum;
}
