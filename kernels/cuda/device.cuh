/* SPDX-License-Identifier: MIT
 *
 * device.cuh - an opened device, and how kernels are launched on it.
 *
 * Each entry of the table (table.cu) begins with dnas_cuda_enter and returns where that
 * is false; each call of CUDA goes through CUDA_CHECK and each launch through LAUNCH.
 */
#ifndef DNAS_CUDA_DEVICE_CUH
#define DNAS_CUDA_DEVICE_CUH

#include <cublasLt.h>
#include <cuda_runtime.h>

#include "kernels/cuda.h"
#include "kernels/cuda/simt.h"

struct dnas_cuda_products; /* product.cuh */

struct dnas_cuda {
    int index, n_processors;
    cudaStream_t queue;
    struct dnas_cuda_products *products;
    void *scratch; /* training.cuh */
    size_t scratch_bytes;
    bool sm90;      /* kernels for compute capability 9.0 are asked for, and fit */
    void *encode;   /* what makes maps for them (tensor_map.cuh) */
    bool wait_each; /* DNAS_CUDA_SYNC=1: wait after each launch, which tells whose an error is */
    struct dnas_cuda_ranks *ranks; /* whose sums may be under way; NULL: none */
    /* Work hangs there for good: nothing may wait for it, not even to free memory. */
    bool is_lost;
    char error[512];
};

/* Whether work may be queued: there was no error.  Makes the device that of this thread. */
bool dnas_cuda_enter(struct dnas_cuda *d);

/* Keeps the first error, with its place, for the device; whether there was none. */
bool dnas_cuda_check(struct dnas_cuda *d, cudaError_t e, const char *what, const char *file,
                     int line);
bool dnas_cuda_check_product(struct dnas_cuda *d, cublasStatus_t e, const char *what,
                             const char *file, int line);
/* The same for what no call of CUDA said: "geglu.cu:12: F of 12 is not a multiple of 8". */
void dnas_cuda_fail(struct dnas_cuda *d, const char *file, int line, const char *format, ...)
    __attribute__((format(__printf__, 4, 5)));
bool dnas_cuda_check_launch(struct dnas_cuda *d, const char *kernel, const char *file, int line);

#define CUDA_CHECK(d, call) dnas_cuda_check(d, call, #call, __FILE__, __LINE__)
#define CUBLAS_CHECK(d, call) dnas_cuda_check_product(d, call, #call, __FILE__, __LINE__)
#define CUDA_FAIL(d, ...) dnas_cuda_fail(d, __FILE__, __LINE__, __VA_ARGS__)

/* LAUNCH(d, (kernel<4>), n_blocks, n_threads, shared_bytes, arguments...); true if it was queued.
 */
#define LAUNCH(d, kernel, n_blocks, n_threads, shared_bytes, ...)                                  \
    (SIMT_LAUNCH(#kernel, kernel, n_blocks, n_threads, shared_bytes, (d)->queue, __VA_ARGS__),     \
     dnas_cuda_check_launch(d, #kernel, __FILE__, __LINE__))

void *dnas_cuda_alloc(struct dnas_cuda *d, size_t bytes);
void dnas_cuda_free(struct dnas_cuda *d, void *p);

/* Blocks for n pieces of work, `each` a block; not so many that a processor has more than some
 * dozens, so kernels go on in steps of the grid: in the emulator they have to soon. */
#ifdef __CUDACC__
#define MOST_GRID 16384
#else
#define MOST_GRID 5
#endif
static inline size_t dnas_cuda_grid(size_t n, size_t each)
{
    size_t blocks = (n + each - 1) / each;

    return blocks < MOST_GRID ? blocks : MOST_GRID;
}

/* ---- the operations, one file each; contracts in kernels/cuda.h ---- */

void dnas_cuda_linear_fwd(struct dnas_cuda *d, void *out, const void *x, const void *w,
                          const float *bias, const void *add, size_t T, size_t O, size_t I,
                          enum dnas_cuda_type type);
void dnas_cuda_embedding_fwd(struct dnas_cuda *d, void *out, const uint16_t *ids,
                             const float *words, const float *shift, const float *weight,
                             const float *bias, size_t T, size_t C, float eps,
                             enum dnas_cuda_type type);
void dnas_cuda_layernorm_fwd(struct dnas_cuda *d, void *out, float *mean, float *rstd,
                             const void *x, const float *weight, const float *bias, size_t T,
                             size_t C, float eps, enum dnas_cuda_type type);
void dnas_cuda_geglu_fwd(struct dnas_cuda *d, void *out, const void *x, size_t T, size_t F,
                         enum dnas_cuda_type type);
void dnas_cuda_linear_geglu_fwd(struct dnas_cuda *d, void *out, void *wide, const void *x,
                                const void *w, size_t T, size_t F, size_t I,
                                enum dnas_cuda_type type);
void dnas_cuda_attention_fwd(struct dnas_cuda *d, void *out, float *lse, const void *qkv,
                             struct dnas_cuda_pack *p, int skip, enum dnas_cuda_type type);
void dnas_cuda_meanpool_fwd(struct dnas_cuda *d, double *out, const void *x,
                            const struct dnas_cuda_pack *p, size_t C, enum dnas_cuda_type type);

struct dnas_cuda_pack *dnas_cuda_pack_new(struct dnas_cuda *d, size_t max_T, size_t max_B, size_t H,
                                          size_t D, const float *slopes);
void dnas_cuda_pack_free(struct dnas_cuda *d, struct dnas_cuda_pack *p);
void dnas_cuda_pack_set(struct dnas_cuda *d, struct dnas_cuda_pack *p, const uint32_t *offset,
                        size_t B);

/* Whether DNAS_CUDA_KERNELS asks for the kernels *_sm90.cu: their speed is not known yet. */
bool dnas_cuda_sm90_wanted(void);

/* ---- devices, memory and marks (device.cu) ---- */

int dnas_cuda_count(char *why, size_t room);
struct dnas_cuda *dnas_cuda_open(int i, char *why, size_t room);
void dnas_cuda_close(struct dnas_cuda *d);
void dnas_cuda_describe(struct dnas_cuda *d, struct dnas_cuda_info *info);
int dnas_cuda_wait(struct dnas_cuda *d);
const char *dnas_cuda_error(const struct dnas_cuda *d);
void *dnas_cuda_host_alloc(struct dnas_cuda *d, size_t bytes);
void dnas_cuda_host_free(struct dnas_cuda *d, void *p);
void dnas_cuda_copy_in(struct dnas_cuda *d, void *to, const void *host, size_t bytes);
void dnas_cuda_copy_out(struct dnas_cuda *d, void *host, const void *from, size_t bytes);
void dnas_cuda_copy(struct dnas_cuda *d, void *to, const void *from, size_t bytes);
void dnas_cuda_zero(struct dnas_cuda *d, void *p, size_t bytes);
struct dnas_cuda_mark *dnas_cuda_mark_new(struct dnas_cuda *d);
void dnas_cuda_mark_free(struct dnas_cuda *d, struct dnas_cuda_mark *m);
void dnas_cuda_mark_set(struct dnas_cuda *d, struct dnas_cuda_mark *m);
int dnas_cuda_mark_wait(struct dnas_cuda *d, struct dnas_cuda_mark *m);
double dnas_cuda_mark_seconds(struct dnas_cuda *d, const struct dnas_cuda_mark *from,
                              const struct dnas_cuda_mark *to);

#endif
