/* SPDX-License-Identifier: MIT
 *
 * cuda.h - what libdnas-cuda.so gives: one table of functions, in plain C.
 *
 * The library is loaded when a GPU is asked for (backend.h), so the same tools
 * run where there is no CUDA.  Its operations are twins of those in kernels.h,
 * on rows of many sequences packed one after the other: row t of a sequence
 * depends on that sequence alone, whatever is packed beside it.
 *
 * A device is used by one thread at a time.  Calls that take a device only put
 * work in its queue, in order, but for open, close, alloc, wait and free.  An error
 * sticks: what is called after it does nothing, and wait tells.  Memory of the
 * device is `void *`; the queue may still use what it was given when the call
 * returns, so memory of the host that copies use must come from host_alloc and
 * stay as it is until a wait.
 */
#ifndef DNAS_CUDA_H
#define DNAS_CUDA_H

#include <stddef.h>
#include <stdint.h>

#include "kernels/kernels.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Changes whenever the table does: a library of another build is refused. */
#define DNAS_CUDA_ABI 2

struct dnas_cuda;       /* an opened device, with its queue */
struct dnas_cuda_pack;  /* where each sequence of a batch lies */
struct dnas_cuda_mark;  /* a place in the queue */
struct dnas_cuda_ranks; /* the device among those of other processes */

/* Of activations: rows of hidden states and what is computed from them. */
enum dnas_cuda_type {
    DNAS_CUDA_F32,
    DNAS_CUDA_BF16, /* products with f32 sums; every operation computes in f32 */
};

struct dnas_cuda_info {
    char name[128]; /* "NVIDIA H200" */
    int major, minor, n_processors;
    size_t memory_bytes, free_bytes;
    int driver, runtime;    /* 1000 major + 10 minor */
    unsigned char uuid[16]; /* two devices of the world have others */
};

/* What makes several processes, a device each, one group. */
#define DNAS_CUDA_ID_BYTES 128
struct dnas_cuda_join {
    const unsigned char *id; /* [DNAS_CUDA_ID_BYTES] rank 0's */
    int rank, n_ranks;
    size_t piece;      /* floats that are on their way at a time, of which there are copies */
    double deadline_s; /* how long one waits for the others */
    /* Asked now and then while one waits; an answer other than 0 ends that.  NULL: nobody. */
    int (*look)(void *ctx);
    void *ctx;
};

struct dnas_cuda_api {
    uint32_t abi, size_bytes; /* DNAS_CUDA_ABI, sizeof(struct dnas_cuda_api) */
    /* "CUDA 13.0, sm_80 sm_90 sm_90a compute_90"; "emulated"; and ", DNAS_CUDA_KERNELS=sm90" where
     * that is set: kernels for compute capability 9.0 instead of those for all, if they fit. */
    const char *build;

    /* ---- devices ---- */

    /* The number of devices; -1 with the reason in why, a text of room bytes. */
    int (*count)(char *why, size_t room);
    /* Device i; NULL with the reason. */
    struct dnas_cuda *(*open)(int i, char *why, size_t room);
    void (*close)(struct dnas_cuda *d); /* NULL is fine */
    void (*info)(struct dnas_cuda *d, struct dnas_cuda_info *info);
    /* Waits for all that was queued: 0, or -1 after an error. */
    int (*wait)(struct dnas_cuda *d);
    /* The first error, "layernorm.cu:40: cudaGetLastError(): an illegal memory
     * access was encountered"; "" if there was none. */
    const char *(*error)(const struct dnas_cuda *d);

    /* ---- memory and order ---- */

    /* At a multiple of 256 bytes, of unknown content; NULL where there is not
     * so much left, which is no error of the device, or after an error. */
    void *(*alloc)(struct dnas_cuda *d, size_t bytes);
    void (*free)(struct dnas_cuda *d, void *p); /* waits; NULL is fine */
    /* Memory of the host that the device copies by itself; NULL as above. */
    void *(*host_alloc)(struct dnas_cuda *d, size_t bytes);
    void (*host_free)(struct dnas_cuda *d, void *p);
    void (*copy_in)(struct dnas_cuda *d, void *to, const void *host, size_t bytes);
    void (*copy_out)(struct dnas_cuda *d, void *host, const void *from, size_t bytes);
    void (*copy)(struct dnas_cuda *d, void *to, const void *from, size_t bytes);
    void (*zero)(struct dnas_cuda *d, void *p, size_t bytes);
    /* A mark is set in the queue, and can be waited for from the host: 0, -1 as wait. */
    struct dnas_cuda_mark *(*mark_new)(struct dnas_cuda *d); /* NULL after an error */
    void (*mark_free)(struct dnas_cuda *d, struct dnas_cuda_mark *m);
    void (*mark_set)(struct dnas_cuda *d, struct dnas_cuda_mark *m);
    int (*mark_wait)(struct dnas_cuda *d, struct dnas_cuda_mark *m);
    /* The seconds between two marks that were waited for, for benchmarks; NaN after an error. */
    double (*mark_seconds)(struct dnas_cuda *d, const struct dnas_cuda_mark *from,
                           const struct dnas_cuda_mark *to);

    /* ---- a batch ---- */

    /* Room for batches of at most max_T tokens in max_B sequences, for attention of H heads with
     * these slopes (f32 [H], above 0) and D channels a head.  NULL: no memory. */
    struct dnas_cuda_pack *(*pack_new)(struct dnas_cuda *d, size_t max_T, size_t max_B, size_t H,
                                       size_t D, const float *slopes);
    void (*pack_free)(struct dnas_cuda *d, struct dnas_cuda_pack *p);
    /* Sequence b has the rows offset[b]..offset[b+1]-1, at least one; offset[0] is 0.  Packs are
     * reused after a wait for (a mark behind) what used them. */
    void (*pack_set)(struct dnas_cuda *d, struct dnas_cuda_pack *p, const uint32_t *offset,
                     size_t B);

    /* ---- forward; T rows, C channels.  Types: x and out are of `type` unless said ---- */

    /* out = x w^T + bias + add.  One algorithm for each (O, I, type), without a split of I: a row's
     * bits depend on that row alone.
     *   out  [T,O]      x  [T,I]      w  [O,I] of `type`      bias  f32 [O]  NULL: 0
     *   add  [T,O]  NULL: 0; may be out */
    void (*linear_fwd)(struct dnas_cuda *d, void *out, const void *x, const void *w,
                       const float *bias, const void *add, size_t T, size_t O, size_t I,
                       enum dnas_cuda_type type);

    /* out = norm(words[ids] + shift), both in f32 [V,C] and [C].
     *   ids  u16 [T]  below V      weight, bias  f32 [C] */
    void (*embedding_fwd)(struct dnas_cuda *d, void *out, const uint16_t *ids, const float *words,
                          const float *shift, const float *weight, const float *bias, size_t T,
                          size_t C, float eps, enum dnas_cuda_type type);

    /* dnas_cpu_layernorm_fwd.
     *   out  [T,C]  may be x      mean, rstd  f32 [T]  NULL: not wanted      x  [T,C] */
    void (*layernorm_fwd)(struct dnas_cuda *d, void *out, float *mean, float *rstd, const void *x,
                          const float *weight, const float *bias, size_t T, size_t C, float eps,
                          enum dnas_cuda_type type);

    /* out = gelu(z) gate, erf's GELU, [z | gate] a row of x.
     *   out  [T,F]      x  [T,2F] */
    void (*geglu_fwd)(struct dnas_cuda *d, void *out, const void *x, size_t T, size_t F,
                      enum dnas_cuda_type type);

    /* dnas_cpu_attention_fwd within each sequence of the pack, H and D of the pack.
     *   out  [T,H D]      qkv  [T,3 H D]      lse  f32 [H,T]  in log2; NULL: not wanted
     *   skip  leave out far keys that together are below 2^-24 of a row's sum */
    void (*attention_fwd)(struct dnas_cuda *d, void *out, float *lse, const void *qkv,
                          struct dnas_cuda_pack *p, int skip, enum dnas_cuda_type type);

    /* The mean of each sequence's rows, summed in double in a fixed order.
     *   out  f64 [B,C]      x  [T,C] */
    void (*meanpool_fwd)(struct dnas_cuda *d, double *out, const void *x,
                         const struct dnas_cuda_pack *p, size_t C, enum dnas_cuda_type type);

    /* ---- training: what follows is for dnas-train alone.  Gradients of activations are of `type`,
     * those of weights f32 and added to; every sum has an order that the sizes fix, so the same
     * bits come out run after run.  No atomics.  C, O, I, F and the n of gelu are multiples of 8,
     * and but for adamw_step, convert and sum_squares arrays stand at multiples of 16 bytes.  From
     * a first call on the library keeps device memory of its own, as much as the largest call asked
     * for: 36 O I bytes of a product's weights, 16 T + T C / 8 of an embedding; too little left for
     * that is an error, which `reserve` foresees. ---- */

    /* dx = dout w + add.
     *   dx  [T,I]      dout  [T,O]      w  [O,I] of `type`      add  [T,I]  NULL: 0; may be dx */
    void (*linear_bwd)(struct dnas_cuda *d, void *dx, const void *dout, const void *w,
                       const void *add, size_t T, size_t O, size_t I, enum dnas_cuda_type type);
    /* dw += dout^T y, dbias += the column sums of dout.
     *   dw  f32 [O,I]      dbias  f32 [O]  NULL: none      dout  [T,O]      y  [T,I] */
    void (*linear_bwd_weight)(struct dnas_cuda *d, float *dw, float *dbias, const void *dout,
                              const void *y, size_t T, size_t O, size_t I,
                              enum dnas_cuda_type type);
    /* Of layernorm_fwd, x being what was normalised.
     *   dx  [T,C]  may be dout      dweight, dbias  f32 [C]  added to, from dout as it comes in
     *   dout, x  [T,C]      mean, rstd  f32 [T] */
    void (*layernorm_bwd)(struct dnas_cuda *d, void *dx, float *dweight, float *dbias,
                          const void *dout, const void *x, const float *mean, const float *rstd,
                          const float *weight, size_t T, size_t C, enum dnas_cuda_type type);
    /*   dx  [T,2F]  may be x      dout  [T,F]      x  [T,2F] */
    void (*geglu_bwd)(struct dnas_cuda *d, void *dx, const void *dout, const void *x, size_t T,
                      size_t F, enum dnas_cuda_type type);
    /* out = gelu(x) and dx = dout gelu'(x), n elements, in place where wanted. */
    void (*gelu_fwd)(struct dnas_cuda *d, void *out, const void *x, size_t n,
                     enum dnas_cuda_type type);
    void (*gelu_bwd)(struct dnas_cuda *d, void *dx, const void *dout, const void *x, size_t n,
                     enum dnas_cuda_type type);
    /* Scores are computed again from lse; the blocks that forward skipped are skipped again, two
     * passes instead of atomics.  lse is attention_fwd's of the same pack.
     *   dqkv  [T,3 H D]      dout, out  [T,H D]      qkv  [T,3 H D]
     * D is 16, 32, 64 or 128 in bf16, at most 128 in f32, as forward. */
    void (*attention_bwd)(struct dnas_cuda *d, void *dqkv, const void *dout, const void *out,
                          const float *lse, const void *qkv, struct dnas_cuda_pack *p,
                          enum dnas_cuda_type type);
    /* embedding_fwd without the norm, for training: out = words[ids] + shift. */
    void (*embedding_rows)(struct dnas_cuda *d, void *out, const uint16_t *ids, const float *words,
                           const float *shift, size_t T, size_t C, enum dnas_cuda_type type);
    /* dwords[ids[t]] += dout[t], added up in an order that ids fix; dshift += the column sums.
     *   dwords  f32 [V,C]      dshift  f32 [C]      dout  [T,C]      ids  u16 [T]  below V
     *   freeze_first  row 0 of the words has no gradient */
    void (*embedding_bwd)(struct dnas_cuda *d, float *dwords, float *dshift, const void *dout,
                          const uint16_t *ids, size_t T, size_t V, size_t C, int freeze_first,
                          enum dnas_cuda_type type);
    /* x = dnas_cpu_dropout of each sequence of the pack, [its rows, C], with the counter {counter0,
     * row[b], counter2}, plus add: the same decisions as on the CPU.
     *   x  [T,C]      add  [T,C]  NULL: 0; not x      row  u32 [B] on the device */
    void (*dropout)(struct dnas_cuda *d, void *x, const void *add, const struct dnas_cuda_pack *p,
                    const uint32_t *row, size_t C, uint32_t drop, uint32_t counter0,
                    uint32_t counter2, const uint32_t key[2], enum dnas_cuda_type type);
    /* dx[t] = dmean[b] / length of b, for the rows t of each sequence b.
     *   dx  [T,C]      dmean  f32 [B,C] */
    void (*meanpool_bwd)(struct dnas_cuda *d, void *dx, const float *dmean,
                         const struct dnas_cuda_pack *p, size_t C, enum dnas_cuda_type type);
    /* Rows of two sequences of another pack, weighted and added: row t of sequence b is the sum
     * over k of part[b,k] in[at[b,k] + t] where t < n[b,k].  Mixing, and its backward.
     *   out  [T,C]      in  [.,C]      at, n  u32 [B,2]      part  f32 [B,2]; on the device */
    void (*blend)(struct dnas_cuda *d, void *out, const void *in, const struct dnas_cuda_pack *p,
                  const uint32_t *at, const uint32_t *n, const float *part, size_t C,
                  enum dnas_cuda_type type);
    /* out[i] = x[row[i]]; and out[row[i]] = x[i], the other rows of out 0, each row at most once.
     *   row  u32 [n] on the device      T  rows of x, of out */
    void (*rows_gather)(struct dnas_cuda *d, void *out, const void *x, const uint32_t *row,
                        size_t n, size_t C, enum dnas_cuda_type type);
    void (*rows_scatter)(struct dnas_cuda *d, void *out, const void *x, const uint32_t *row,
                         size_t n, size_t T, size_t C, enum dnas_cuda_type type);
    /* The loss of each row, -log softmax(score)[target]; score becomes scale (softmax - [target]).
     *   score  [n,V]      loss  f64 [n]      target  u16 [n] on the device */
    void (*cross_entropy)(struct dnas_cuda *d, void *score, double *loss, const uint16_t *target,
                          size_t n, size_t V, float scale, enum dnas_cuda_type type);
    /* out, of the other type than x, n elements, rounded to the nearest even. */
    void (*convert)(struct dnas_cuda *d, void *out, const void *x, size_t n,
                    enum dnas_cuda_type out_type);
    /* dnas_cpu_adamw_step; narrow, bf16 [n], gets the new w rounded; NULL: not wanted. */
    void (*adamw_step)(struct dnas_cuda *d, float *w, float *m, float *v, const float *g,
                       uint16_t *narrow, size_t n, const struct dnas_adamw *s);
    /* *out (on the device) = the sum of x^2 in double, x  f32 [n], in an order that n fixes. */
    void (*sum_squares)(struct dnas_cuda *d, double *out, const float *x, size_t n);
    /* Takes what all of these ask for where rows are at most T of at most C channels, embeddings
     * of E, and matrices have at most OI elements; what was taken before is given back.  0, or -1
     * where there is not so much left, which is no error of the device, or after an error. */
    int (*reserve)(struct dnas_cuda *d, size_t T, size_t C, size_t E, size_t OI);

    /* ---- forward, of ABI 2 ---- */

    /* out = geglu_fwd(linear_fwd(x, w)), where nobody wants what lies between.  wide is room for
     * that, used or not.  A row's bits depend on that row alone.
     *   out  [T,F]      wide  [T,2F]      x  [T,I]      w  [2F,I] of `type`
     * F and I are multiples of 8. */
    void (*linear_geglu_fwd)(struct dnas_cuda *d, void *out, void *wide, const void *x,
                             const void *w, size_t T, size_t F, size_t I, enum dnas_cuda_type type);

    /* ---- several processes, by NCCL.  Its library is loaded by the first of these calls: the one
     * of DNAS_NCCL_LIBRARY ("none": none), else libnccl.so.2.  All ranks make the same calls.
     * Errors stick to the device, and those of NCCL end the group; where something of it then
     * cannot be ended either, memory of the device is not freed any more, and the process had
     * better end. ---- */

    /* NCCL's number of its version, 22800 for 2.28; 0 with the reason. */
    int (*ranks_version)(char *why, size_t room);
    /* A new id, for rank 0: 0, or -1 with the reason. */
    int (*ranks_id)(unsigned char *id, char *why, size_t room);
    /* Waits for all ranks; takes 4 piece (1 + 1 / n_ranks) bytes.  NULL after an error. */
    struct dnas_cuda_ranks *(*ranks_join)(struct dnas_cuda *d, const struct dnas_cuda_join *j);
    /* x = the sum of all ranks' x as dnas_comm_sum_f32 has it, when what is in the queue by now is
     * done; what is queued behind this call does not wait for it and must not touch x.
     *   x  f32 [n], the same n everywhere */
    void (*ranks_sum)(struct dnas_cuda_ranks *r, float *x, size_t n);
    /* Waits for all sums, at most deadline_s: 0, or -1 after an error. */
    int (*ranks_wait)(struct dnas_cuda_ranks *r);
    /* Frees r: together, when all sums are done; or alone, after a failure somewhere. */
    void (*ranks_leave)(struct dnas_cuda_ranks *r);
    void (*ranks_drop)(struct dnas_cuda_ranks *r); /* NULL is fine */
};

/* The one symbol of the library. */
#define DNAS_CUDA_SYMBOL "dnas_cuda_table"
const struct dnas_cuda_api *dnas_cuda_table(void);

#ifdef __cplusplus
}
#endif
#endif
