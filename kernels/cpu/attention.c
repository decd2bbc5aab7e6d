/* SPDX-License-Identifier: MIT
 *
 * attention.c - attention with ALiBi's linear bias or none, without a T x T
 * matrix.
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
INLINE uint64_t query_block(struct head *h, size_t qb, uint32_t *range, int skip)
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
    if (range) {
        range[0] = (uint32_t)lo;
        range[1] = (uint32_t)hi;
    }
    return n_scores;
}

INLINE void dnas_cpu_attention_fwd_body(float *out, float *lse, uint32_t *ranges,
                                        uint64_t *n_scores, const float *qkv, const float *slopes,
                                        size_t T, size_t C, size_t H, int skip, float *scratch)
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
        h.slope = slopes ? slopes[head] : 0;
        if (slopes)
            longest_keys(&h);
        for (size_t qb = 0; qb < h.n_blocks; qb++) {
            uint32_t *range = ranges ? ranges + 2 * (head * h.n_blocks + qb) : NULL;
            uint64_t n = query_block(&h, qb, range, skip && slopes);

            if (n_scores)
                *n_scores += n;
            for (size_t r = 0; lse && r < block_rows(&h, qb); r++)
                lse[head * T + qb * BLOCK + r] = h.top[r] + logf(h.sum[r]);
        }
    }
}

DNAS_VERSIONS(dnas_cpu_attention_fwd,
              (float *out, float *lse, uint32_t *ranges, uint64_t *n_scores, const float *qkv,
               const float *slopes, size_t T, size_t C, size_t H, int skip, float *scratch),
              (out, lse, ranges, n_scores, qkv, slopes, T, C, H, skip, scratch))

/* ---- backward ---- */

struct head_bwd {
    const float *q, *k, *v;  /* [T] rows, 3C apart */
    const float *out, *dout; /* [T] rows, C apart */
    float *dq, *dk, *dv;     /* [T] rows, 3C apart */
    const float *lse;        /* [T] */
    size_t T, C, head_dim;
    float slope, scale;
    /* scratch */
    float *p, *dp; /* [BLOCK,BLOCK] */
    float *delta;  /* [BLOCK]  dout.out of each row of queries */
};

/* Turns a row of scores s into p = e^(s - bias - lse), and a row of dp into
 * ds = p (dp - delta). */
INLINE void bwd_row(float *p, float *dp, size_t n, float first_distance, float slope, float lse,
                    float delta)
{
    static const float ramp[LANES] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    v16 distance = v16_all(first_distance) + v16_load(ramp);

    for (size_t j = 0; j < n; j += LANES) { /* rows are BLOCK long: the tail may be written */
        v16 prob = v16_exp(v16_load(p + j) - slope * v16_abs(distance) - lse);

        v16_store(p + j, prob);
        v16_store(dp + j, prob * (v16_load(dp + j) - delta));
        distance += (float)LANES;
    }
}

INLINE void bwd_block(struct head_bwd *h, size_t qb, size_t kb)
{
    size_t q0 = qb * BLOCK, k0 = kb * BLOCK, d = h->head_dim, C = h->C;
    size_t n_q = h->T - q0 < BLOCK ? h->T - q0 : BLOCK;
    size_t n_k = h->T - k0 < BLOCK ? h->T - k0 : BLOCK;

    dnas_cpu_matmul(h->p, h->q + q0 * 3 * C, h->k + k0 * 3 * C, n_q, n_k, d, BLOCK, 3 * C, 3 * C,
                    h->scale, 0, 1);
    dnas_cpu_matmul(h->dp, h->dout + q0 * C, h->v + k0 * 3 * C, n_q, n_k, d, BLOCK, C, 3 * C, 1, 0,
                    1);
    for (size_t r = 0; r < n_q; r++) {
        float first = (float)(ptrdiff_t)k0 - (float)(ptrdiff_t)(q0 + r);

        bwd_row(h->p + r * BLOCK, h->dp + r * BLOCK, n_k, first, h->slope, h->lse[q0 + r],
                h->delta[r]);
    }
    dnas_cpu_matmul_tn(h->dv + k0 * 3 * C, h->p, h->dout + q0 * C, n_k, d, n_q, 3 * C, BLOCK, C, 1,
                       1);
    dnas_cpu_matmul_tn(h->dk + k0 * 3 * C, h->dp, h->q + q0 * 3 * C, n_k, d, n_q, 3 * C, BLOCK,
                       3 * C, h->scale, 1);
    dnas_cpu_matmul(h->dq + q0 * 3 * C, h->dp, h->k + k0 * 3 * C, n_q, d, n_k, 3 * C, BLOCK, 3 * C,
                    h->scale, 1, 0);
}

INLINE void dnas_cpu_attention_bwd_body(float *dqkv, const float *dout, const float *out,
                                        const float *lse, const uint32_t *ranges, const float *qkv,
                                        const float *slopes, size_t T, size_t C, size_t H,
                                        float *scratch)
{
    struct head_bwd h = {.T = T, .C = C, .head_dim = C / H};
    size_t n_blocks = (T + BLOCK - 1) / BLOCK;

    if (C % H != 0)
        DNAS_BUG("%zu channels for %zu heads", C, H);
    h.p = scratch;
    h.dp = h.p + BLOCK * BLOCK;
    h.delta = h.dp + BLOCK * BLOCK;
    h.scale = (float)(1 / sqrt((double)h.head_dim));
    /* What a product leaves of a row's tail, bwd_row reads. */
    memset(scratch, 0, 2 * BLOCK * BLOCK * sizeof(*scratch));
    memset(dqkv, 0, T * 3 * C * sizeof(*dqkv));
    for (size_t head = 0; head < H; head++) {
        h.q = qkv + head * h.head_dim;
        h.k = h.q + C;
        h.v = h.k + C;
        h.dq = dqkv + head * h.head_dim;
        h.dk = h.dq + C;
        h.dv = h.dk + C;
        h.out = out + head * h.head_dim;
        h.dout = dout + head * h.head_dim;
        h.lse = lse + head * T;
        h.slope = slopes ? slopes[head] : 0;
        for (size_t qb = 0; qb < n_blocks; qb++) {
            const uint32_t *range = ranges ? ranges + 2 * (head * n_blocks + qb) : NULL;
            size_t to = range ? range[1] : n_blocks;

            for (size_t r = 0; r < BLOCK && qb * BLOCK + r < T; r++) {
                const float *a = h.dout + (qb * BLOCK + r) * C, *b = h.out + (qb * BLOCK + r) * C;
                double sum = 0;

                for (size_t i = 0; i < h.head_dim; i++)
                    sum += (double)a[i] * (double)b[i];
                h.delta[r] = (float)sum;
            }
            for (size_t kb = range ? range[0] : 0; kb < to; kb++)
                bwd_block(&h, qb, kb);
        }
    }
}

DNAS_VERSIONS(dnas_cpu_attention_bwd,
              (float *dqkv, const float *dout, const float *out, const float *lse,
               const uint32_t *ranges, const float *qkv, const float *slopes, size_t T, size_t C,
               size_t H, float *scratch),
              (dqkv, dout, out, lse, ranges, qkv, slopes, T, C, H, scratch))

#if !DNAS_ISA /* one is enough */
size_t dnas_cpu_attention_blocks(size_t T)
{
    return (T + BLOCK - 1) / BLOCK;
}

size_t dnas_cpu_attention_bwd_scratch(void)
{
    return 2 * BLOCK * BLOCK + BLOCK;
}

size_t dnas_cpu_attention_scratch(size_t T, size_t head_dim)
{
    size_t n_blocks = dnas_cpu_attention_blocks(T);

    return BLOCK * BLOCK                 /* scores */
           + BLOCK * head_dim            /* output before division */
           + 3 * BLOCK                   /* maximum, sum and length of q of each row */
           + 2 * (n_blocks + 1) + LANES; /* longest key to the left and to the right */
}
#endif
