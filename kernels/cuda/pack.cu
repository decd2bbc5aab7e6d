/* SPDX-License-Identifier: MIT
 *
 * pack.cu - the sequences of a batch, and attention's list of work.  Contracts:
 * kernels/cuda.h and pack.cuh.
 */
#include "kernels/cuda/pack.cuh"

#include <stdlib.h>

static int longer_first(const void *a, const void *b)
{
    const struct tile *x = (const struct tile *)a, *y = (const struct tile *)b;

    if (x->length != y->length)
        return x->length < y->length ? 1 : -1;
    if (x->start != y->start)
        return x->start < y->start ? -1 : 1;
    return x->row < y->row ? -1 : 1;
}

void dnas_cuda_pack_free(struct dnas_cuda *d, struct dnas_cuda_pack *p)
{
    if (!p)
        return;
    dnas_cuda_free(d, p->offset);
    dnas_cuda_free(d, p->tiles);
    dnas_cuda_free(d, p->slopes);
    dnas_cuda_free(d, p->heads);
    dnas_cuda_free(d, p->lengths);
    dnas_cuda_free(d, p->ranges);
    dnas_cuda_host_free(d, p->host_offset);
    dnas_cuda_host_free(d, p->host_tiles);
    dnas_cuda_host_free(d, p->host_slopes);
    dnas_cuda_host_free(d, p->host_heads);
    free(p);
}

static bool allocate(struct dnas_cuda *d, struct dnas_cuda_pack *p)
{
    size_t H = p->H, tiles = p->max_tiles;

    p->offset = (uint32_t *)dnas_cuda_alloc(d, (p->max_B + 1) * sizeof(*p->offset));
    p->tiles = (struct tile *)dnas_cuda_alloc(d, tiles * sizeof(*p->tiles));
    p->slopes = (float *)dnas_cuda_alloc(d, H * sizeof(*p->slopes));
    p->heads = (uint32_t *)dnas_cuda_alloc(d, H * sizeof(*p->heads));
    p->lengths = (float *)dnas_cuda_alloc(d, 3 * H * p->max_T * sizeof(*p->lengths));
    p->ranges = (uint2 *)dnas_cuda_alloc(d, H * tiles * sizeof(*p->ranges));
    p->host_offset = (uint32_t *)dnas_cuda_host_alloc(d, (p->max_B + 1) * sizeof(*p->offset));
    p->host_tiles = (struct tile *)dnas_cuda_host_alloc(d, tiles * sizeof(*p->tiles));
    p->host_slopes = (float *)dnas_cuda_host_alloc(d, H * sizeof(*p->slopes));
    p->host_heads = (uint32_t *)dnas_cuda_host_alloc(d, H * sizeof(*p->heads));
    return p->offset && p->tiles && p->slopes && p->heads && p->lengths && p->ranges &&
           p->host_offset && p->host_tiles && p->host_slopes && p->host_heads;
}

struct dnas_cuda_pack *dnas_cuda_pack_new(struct dnas_cuda *d, size_t max_T, size_t max_B, size_t H,
                                          size_t D, const float *slopes)
{
    struct dnas_cuda_pack *p;

    if (!dnas_cuda_enter(d))
        return nullptr;
    if (max_T > 0x7FFFFFFF || max_B > max_T || H == 0 || H > 4096 || D == 0 || D > 128) {
        CUDA_FAIL(d, "a pack of %zu tokens, %zu sequences, %zu heads of %zu", max_T, max_B, H, D);
        return nullptr;
    }
    p = (struct dnas_cuda_pack *)calloc(1, sizeof(*p));
    if (!p)
        return nullptr;
    p->max_T = max_T;
    p->max_B = max_B;
    p->max_tiles = max_T / TILE_ROWS + max_B;
    p->H = H;
    p->D = D;
    if (!allocate(d, p)) {
        dnas_cuda_pack_free(d, p);
        return nullptr;
    }
    for (size_t h = 0; h < H; h++) {
        size_t rank = 0;

        for (size_t i = 0; i < H; i++)
            rank += slopes[i] < slopes[h] || (slopes[i] == slopes[h] && i < h);
        p->host_slopes[h] = slopes[h] * 1.44269504088896341f;
        p->host_heads[rank] = (uint32_t)h;
    }
    dnas_cuda_copy_in(d, p->slopes, p->host_slopes, H * sizeof(*p->slopes));
    dnas_cuda_copy_in(d, p->heads, p->host_heads, H * sizeof(*p->heads));
    return p;
}

void dnas_cuda_pack_set(struct dnas_cuda *d, struct dnas_cuda_pack *p, const uint32_t *offset,
                        size_t B)
{
    if (!dnas_cuda_enter(d))
        return;
    p->B = p->T = p->n_tiles = 0;
    if (B > p->max_B || (B > 0 && (offset[0] != 0 || offset[B] > p->max_T))) {
        CUDA_FAIL(d, "%zu sequences of %u tokens in a pack for %zu of %zu", B, offset[B], p->max_B,
                  p->max_T);
        return;
    }
    for (size_t b = 0; b < B; b++)
        if (offset[b + 1] <= offset[b]) {
            CUDA_FAIL(d, "sequence %zu of a pack has no rows", b);
            return;
        }
    for (size_t b = 0; b < B; b++)
        for (uint32_t row = 0; row < offset[b + 1] - offset[b]; row += TILE_ROWS) {
            struct tile *t = &p->host_tiles[p->n_tiles++];

            t->start = offset[b];
            t->length = offset[b + 1] - offset[b];
            t->row = row;
        }
    if (B == 0)
        return;
    p->B = B;
    p->T = offset[B];
    qsort(p->host_tiles, p->n_tiles, sizeof(*p->host_tiles), longer_first);
    memcpy(p->host_offset, offset, (B + 1) * sizeof(*offset));
    dnas_cuda_copy_in(d, p->offset, p->host_offset, (B + 1) * sizeof(*offset));
    dnas_cuda_copy_in(d, p->tiles, p->host_tiles, p->n_tiles * sizeof(*p->tiles));
}

void dnas_cuda_attention_fwd(struct dnas_cuda *d, void *out, float *lse, const void *qkv,
                             struct dnas_cuda_pack *p, int skip, enum dnas_cuda_type type)
{
    if (!dnas_cuda_enter(d) || p->T == 0)
        return;
    if (skip)
        dnas_cuda_pack_bound(d, p, qkv, type);
    if (d->error[0])
        return;
    if (type == DNAS_CUDA_BF16 && d->sm90 && p->D == 64)
        dnas_cuda_attention_sm90(d, (bf16 *)out, lse, (const bf16 *)qkv, p,
                                 skip ? p->ranges : nullptr);
    else if (type == DNAS_CUDA_BF16)
        dnas_cuda_attention_bf16(d, (bf16 *)out, lse, (const bf16 *)qkv, p,
                                 skip ? p->ranges : nullptr);
    else
        dnas_cuda_attention_f32(d, (float *)out, lse, (const float *)qkv, p,
                                skip ? p->ranges : nullptr);
}
