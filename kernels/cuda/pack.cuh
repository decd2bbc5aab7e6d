/* SPDX-License-Identifier: MIT
 *
 * pack.cuh - where the sequences of a batch lie, and the pieces that attention works on.
 *
 * A sequence is cut into tiles of 128 rows and blocks of 64 keys from its own start, so that
 * nothing depends on what is packed beside it.
 */
#ifndef DNAS_CUDA_PACK_CUH
#define DNAS_CUDA_PACK_CUH

#include "kernels/cuda/device.cuh"

#define TILE_ROWS 128
#define BLOCK_KEYS 64

struct tile {
    uint32_t start, length; /* of the sequence: its first row, and how many */
    uint32_t row;           /* the tile's first, in the sequence */
};

struct dnas_cuda_pack {
    size_t max_T, max_B, max_tiles, H, D;
    size_t T, B, n_tiles;
    /* on the device */
    uint32_t *offset;   /* [B + 1] */
    struct tile *tiles; /* [n_tiles], those of long sequences first */
    float *slopes;      /* [H] times log2 e */
    uint32_t *heads;    /* [H] the flattest first: they have the most to do */
    float *lengths;     /* [3][H,max_T] |q|, |k| and q k of each row, for skipping */
    uint2 *ranges;      /* [H,max_tiles] first and last block of keys of each tile */
    /* on the host, for copies */
    uint32_t *host_offset;
    struct tile *host_tiles;
    float *host_slopes;
    uint32_t *host_heads;
};

/* Puts the ranges of keys that count into p->ranges (attention_bound.cu); tiles stand there by
 * head and by their place in p->tiles. */
void dnas_cuda_pack_bound(struct dnas_cuda *d, struct dnas_cuda_pack *p, const void *qkv,
                          enum dnas_cuda_type type);

/* The attention of one type; ranges NULL: all keys. */
void dnas_cuda_attention_bf16(struct dnas_cuda *d, bf16 *out, float *lse, const bf16 *qkv,
                              const struct dnas_cuda_pack *p, const uint2 *ranges);
/* The same for D 64 on GPUs of compute capability 9.0 (attention_sm90.cu). */
void dnas_cuda_attention_sm90(struct dnas_cuda *d, bf16 *out, float *lse, const bf16 *qkv,
                              const struct dnas_cuda_pack *p, const uint2 *ranges);
void dnas_cuda_attention_f32(struct dnas_cuda *d, float *out, float *lse, const float *qkv,
                             const struct dnas_cuda_pack *p, const uint2 *ranges);

#endif
