/* SPDX-License-Identifier: MIT
 *
 * training.cuh - the operations of training, one file each; contracts in kernels/cuda.h.
 */
#ifndef DNAS_CUDA_TRAINING_CUH
#define DNAS_CUDA_TRAINING_CUH

#include "kernels/cuda/device.cuh"

/* Device memory for what one operation has between two of its kernels, at a multiple of 256 bytes;
 * the next operation gets the same.  It grows when more is asked for, which waits for the queue.
 * NULL after an error, and no memory is one. */
void *dnas_cuda_scratch(struct dnas_cuda *d, size_t bytes);
int dnas_cuda_reserve(struct dnas_cuda *d, size_t T, size_t C, size_t E, size_t OI);

/* The most that an operation asks for, of T rows or fewer. */
size_t dnas_cuda_linear_bwd_weight_scratch(size_t T, size_t OI);
size_t dnas_cuda_embedding_bwd_scratch(size_t T, size_t C);
size_t dnas_cuda_layernorm_bwd_scratch(size_t C);
size_t dnas_cuda_columns_sum_scratch(size_t C);
size_t dnas_cuda_sum_squares_scratch(void);

void dnas_cuda_linear_bwd(struct dnas_cuda *d, void *dx, const void *dout, const void *w,
                          const void *add, size_t T, size_t O, size_t I, enum dnas_cuda_type type);
void dnas_cuda_linear_bwd_weight(struct dnas_cuda *d, float *dw, float *dbias, const void *dout,
                                 const void *y, size_t T, size_t O, size_t I,
                                 enum dnas_cuda_type type);
void dnas_cuda_layernorm_bwd(struct dnas_cuda *d, void *dx, float *dweight, float *dbias,
                             const void *dout, const void *x, const float *mean, const float *rstd,
                             const float *weight, size_t T, size_t C, enum dnas_cuda_type type);
void dnas_cuda_geglu_bwd(struct dnas_cuda *d, void *dx, const void *dout, const void *x, size_t T,
                         size_t F, enum dnas_cuda_type type);
void dnas_cuda_gelu_fwd(struct dnas_cuda *d, void *out, const void *x, size_t n,
                        enum dnas_cuda_type type);
void dnas_cuda_gelu_bwd(struct dnas_cuda *d, void *dx, const void *dout, const void *x, size_t n,
                        enum dnas_cuda_type type);
void dnas_cuda_attention_bwd(struct dnas_cuda *d, void *dqkv, const void *dout, const void *out,
                             const float *lse, const void *qkv, struct dnas_cuda_pack *p,
                             enum dnas_cuda_type type);
void dnas_cuda_embedding_rows(struct dnas_cuda *d, void *out, const uint16_t *ids,
                              const float *words, const float *shift, size_t T, size_t C,
                              enum dnas_cuda_type type);
void dnas_cuda_embedding_bwd(struct dnas_cuda *d, float *dwords, float *dshift, const void *dout,
                             const uint16_t *ids, size_t T, size_t V, size_t C, int freeze_first,
                             enum dnas_cuda_type type);
void dnas_cuda_dropout(struct dnas_cuda *d, void *x, const void *add,
                       const struct dnas_cuda_pack *p, const uint32_t *row, size_t C, uint32_t drop,
                       uint32_t counter0, uint32_t counter2, const uint32_t key[2],
                       enum dnas_cuda_type type);
void dnas_cuda_meanpool_bwd(struct dnas_cuda *d, void *dx, const float *dmean,
                            const struct dnas_cuda_pack *p, size_t C, enum dnas_cuda_type type);
void dnas_cuda_blend(struct dnas_cuda *d, void *out, const void *in, const struct dnas_cuda_pack *p,
                     const uint32_t *at, const uint32_t *n, const float *part, size_t C,
                     enum dnas_cuda_type type);
void dnas_cuda_rows_gather(struct dnas_cuda *d, void *out, const void *x, const uint32_t *row,
                           size_t n, size_t C, enum dnas_cuda_type type);
void dnas_cuda_rows_scatter(struct dnas_cuda *d, void *out, const void *x, const uint32_t *row,
                            size_t n, size_t T, size_t C, enum dnas_cuda_type type);
void dnas_cuda_cross_entropy(struct dnas_cuda *d, void *score, double *loss, const uint16_t *target,
                             size_t n, size_t V, float scale, enum dnas_cuda_type type);
void dnas_cuda_convert(struct dnas_cuda *d, void *out, const void *x, size_t n,
                       enum dnas_cuda_type out_type);
void dnas_cuda_adamw_step(struct dnas_cuda *d, float *w, float *m, float *v, const float *g,
                          uint16_t *narrow, size_t n, const struct dnas_adamw *s);
void dnas_cuda_sum_squares(struct dnas_cuda *d, double *out, const float *x, size_t n);

int dnas_cuda_ranks_version(char *why, size_t room);
int dnas_cuda_ranks_id(unsigned char *id, char *why, size_t room);
struct dnas_cuda_ranks *dnas_cuda_ranks_join(struct dnas_cuda *d, const struct dnas_cuda_join *j);
void dnas_cuda_ranks_sum(struct dnas_cuda_ranks *r, float *x, size_t n);
int dnas_cuda_ranks_wait(struct dnas_cuda_ranks *r);
void dnas_cuda_ranks_leave(struct dnas_cuda_ranks *r);
void dnas_cuda_ranks_drop(struct dnas_cuda_ranks *r);

#endif
