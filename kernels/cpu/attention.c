/* SPDX-License-Identifier: MIT
 *
 * attention.c - attention with ALiBi's linear bias, without a T x T matrix.
 *
 * Contract: kernels.h.  The running maximum and sum are those of Milakov and
 * Gimelshein 2018.  Key blocks are taken from the diagonal outwards; ALiBi
 * (Press et al. 2022) makes far keys count for less and less, and when all
 * that are left together cannot reach the last bit of any row's sum they are
 * skipped.
 */
#include "kernels/kernels.h"

#include <math.h>

#include "common/err.h"
#include "kernels/cpu/simd.h"

#define BLOCK 128 /* rows of queries and of keys; a multiple of LANES */
/* What may be left out: half a unit in the last place of f32. */
#define NEGLIGIBLE 0x1p-24f

struct head {
    const float *q, *k, *v; /* [T] rows, 3C apart */
    float *out;             /* [T] rows, C apart */
    size_t T, C, head_dim, n_blocks;
    float slope, scale;
    /* scratch */
    float *score, *acc, *top, *sum, *q_len;
    float *left, *right; /* [n_blocks + 1] longest key in blocks 0..b-1, and in b.. */
};

INLINE float length(const float *x, size_t n)
{
    double sum = 0;

    for (size_t i = 0; i < n; i++)
        sum += (double)x[i] * (double)x[i];
    return (float)sqrt(sum) * (1 + 0x1p-20f); /* no less than the true one */
}

INLINE size_t block_rows(const struct head *h, size_t block)
{
    size_t from = block * BLOCK;

    return h->T - from < BLOCK ? h->T - from : BLOCK;
}

static void longest_keys(struct head *h)
{
    h->left[0] = h->right[h->n_blocks] = 0;
    for (size_t b = 0; b < h->n_blocks; b++) {
        float longest = 0;

        for (size_t r = 0; r < block_rows(h, b); r++) {
            float len = length(h->k + (b * BLOCK + r) * 3 * h->C, h->head_dim);

            longest = len > longest ? len : longest;
        }
        h->right[b] = longest; /* for now its own */
    }
    for (size_t b = 0; b < h->n_blocks; b++)
        h->left[b + 1] = h->left[b] > h->right[b] ? h->left[b] : h->right[b];
    for (size_t b = h->n_blocks; b-- > 0;)
        h->right[b] = h->right[b] > h->right[b + 1] ? h->right[b] : h->right[b + 1];
}

/* Takes the bias from the scores of a row and returns its largest score. */
INLINE float bias_row(float *score, size_t n, float first_distance, float slope)
{
    static const float ramp[LANES] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    v16 distance = v16_all(first_distance) + v16_load(ramp);
    v16 top = v16_all(-INFINITY);
    size_t j = 0;

    for (; j + LANES <= n; j += LANES) {
        v16 s = v16_load(score + j) - slope * v16_abs(distance);

        v16_store(score + j, s);
        top = v16_max(s, top);
        distance += (float)LANES;
    }
    if (j < n) {
        float rest[LANES];
        v16 s = v16_load_some(score + j, n - j, -INFINITY) - slope * v16_abs(distance);

        v16_store(rest, s);
        memcpy(score + j, rest, (n - j) * sizeof(*score));
        top = v16_max(s, top);
    }
    return v16_top(top);
}

/* Turns scores into e^(score - top) and returns their sum. */
INLINE float exp_row(float *score, size_t n, float top)
{
    v16 sum = v16_all(0);
    size_t j = 0;

    for (; j + LANES <= n; j += LANES) {
        v16 p = v16_exp(v16_load(score + j) - top);

        v16_store(score + j, p);
        sum += p;
    }
    if (j < n) {
        float rest[LANES];
        v16 p = v16_exp(v16_load_some(score + j, n - j, -INFINITY) - top);

        v16_store(rest, p);
        memcpy(score + j, rest, (n - j) * sizeof(*score));
        sum += p;
    }
    return v16_sum(sum);
}

/* Adds key block kb to the running result of query block qb. */
INLINE void add_block(struct head *h, size_t qb, size_t kb)
{
    size_t n_q = block_rows(h, qb), n_k = block_rows(h, kb), d = h->head_dim;

    dnas_cpu_matmul(h->score, h->q + qb * BLOCK * 3 * h->C, h->k + kb * BLOCK * 3 * h->C, n_q, n_k,
                    d, BLOCK, 3 * h->C, 3 * h->C, h->scale, 0, 1);
    for (size_t r = 0; r < n_q; r++) {
        float *score = h->score + r * BLOCK;
        float first = (float)(ptrdiff_t)(kb * BLOCK) - (float)(ptrdiff_t)(qb * BLOCK + r);
        float top = bias_row(score, n_k, first, h->slope);
        float shrink;

        if (!(top > h->top[r]))
            top = h->top[r];
        shrink = h->top[r] == -INFINITY ? 0 : expf(h->top[r] - top);
        h->sum[r] = h->sum[r] * shrink + exp_row(score, n_k, top);
        h->top[r] = top;
        if (shrink != 1)
            for (size_t i = 0; i < d; i++)
                h->acc[r * d + i] *= shrink;
    }
    dnas_cpu_matmul(h->acc, h->score, h->v + kb * BLOCK * 3 * h->C, n_q, d, n_k, d, BLOCK, 3 * h->C,
                    1, 1, 0);
}

/* Whether the keys left of block `lo` and from block `hi` on, all together,
 * are below the last bit of every row.  A key at distance j in a row counts at
 * most e^(|q| |k| scale - slope j); the sum over j >= d is a geometric series. */
static int rest_is_negligible(const struct head *h, size_t qb, size_t lo, size_t hi)
{
    float series = 1 / (1 - expf(-h->slope));
    float d_left = (float)(qb * BLOCK) - (float)(lo * BLOCK) + 1;
    float d_right = (float)(hi * BLOCK) - (float)(qb * BLOCK + block_rows(h, qb) - 1);

    for (size_t r = 0; r < block_rows(h, qb); r++) {
        float reach = h->q_len[r] * h->scale;
        float rest = 0;

        if (lo > 0)
            rest += expf(reach * h->left[lo] - h->slope * (d_left + (float)r) - h->top[r]);
        if (hi < h->n_blocks)
            rest += expf(reach * h->right[hi] -
                         h->slope * (d_right + (float)(block_rows(h, qb) - 1 - r)) - h->top[r]);
        if (!(rest * series < NEGLIGIBLE * h->sum[r]))
            return 0;
    }
    return 1;
}

/* One block of queries against all keys that count; returns how many scores. */
INLINE uint64_t query_block(struct head *h, size_t qb, int skip)
{
    size_t n_q = block_rows(h, qb), d = h->head_dim;
    size_t lo = qb, hi = qb + 1; /* blocks lo..hi-1 are done */
    uint64_t n_scores = 0;

    for (size_t r = 0; r < n_q; r++) {
        h->top[r] = -INFINITY;
        h->sum[r] = 0;
        h->q_len[r] = length(h->q + (qb * BLOCK + r) * 3 * h->C, d);
    }
    memset(h->acc, 0, n_q * d * sizeof(*h->acc));
    add_block(h, qb, qb);
    n_scores += (uint64_t)n_q * n_q;
    while (lo > 0 || hi < h->n_blocks) {
        if (skip && rest_is_negligible(h, qb, lo, hi))
            break;
        if (lo > 0) {
            add_block(h, qb, --lo);
            n_scores += (uint64_t)n_q * BLOCK;
        }
        if (hi < h->n_blocks) {
            n_scores += (uint64_t)n_q * block_rows(h, hi);
            add_block(h, qb, hi++);
        }
    }
    for (size_t r = 0; r < n_q; r++)
        for (size_t i = 0; i < d; i++)
            h->out[(qb * BLOCK + r) * h->C + i] = h->acc[r * d + i] / h->sum[r];
    return n_scores;
}

INLINE void dnas_cpu_attention_fwd_body(float *out, float *lse, uint64_t *n_scores,
                                        const float *qkv, const float *slopes, size_t T, size_t C,
                                        size_t H, int skip, float *scratch)
{
    struct head h = {.T = T, .C = C, .head_dim = C / H, .n_blocks = (T + BLOCK - 1) / BLOCK};

    if (C % H != 0)
        DNAS_BUG("%zu channels for %zu heads", C, H);
    h.score = scratch;
    h.acc = h.score + BLOCK * BLOCK;
    h.top = h.acc + BLOCK * h.head_dim;
    h.sum = h.top + BLOCK;
    h.q_len = h.sum + BLOCK;
    h.left = h.q_len + BLOCK;
    h.right = h.left + h.n_blocks + 1;
    h.scale = (float)(1 / sqrt((double)h.head_dim));
    for (size_t head = 0; head < H; head++) {
        h.q = qkv + head * h.head_dim;
        h.k = h.q + C;
        h.v = h.k + C;
        h.out = out + head * h.head_dim;
        h.slope = slopes[head];
        longest_keys(&h);
        for (size_t qb = 0; qb < h.n_blocks; qb++) {
            uint64_t n = query_block(&h, qb, skip);

            if (n_scores)
                *n_scores += n;
            for (size_t r = 0; lse && r < block_rows(&h, qb); r++)
                lse[head * T + qb * BLOCK + r] = h.top[r] + logf(h.sum[r]);
        }
    }
}

DNAS_VERSIONS(dnas_cpu_attention_fwd,
              (float *out, float *lse, uint64_t *n_scores, const float *qkv, const float *slopes,
               size_t T, size_t C, size_t H, int skip, float *scratch),
              (out, lse, n_scores, qkv, slopes, T, C, H, skip, scratch))

#if !DNAS_ISA /* one is enough */
size_t dnas_cpu_attention_scratch(size_t T, size_t head_dim)
{
    size_t n_blocks = (T + BLOCK - 1) / BLOCK;

    return BLOCK * BLOCK                 /* scores */
           + BLOCK * head_dim            /* output before division */
           + 3 * BLOCK                   /* maximum, sum and length of q of each row */
           + 2 * (n_blocks + 1) + LANES; /* longest key to the left and to the right */
}
#endif
