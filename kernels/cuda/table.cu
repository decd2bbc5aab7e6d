/* SPDX-License-Identifier: MIT
 *
 * table.cu - the one symbol of the library.  Contract: kernels/cuda.h.
 */
#include "kernels/cuda/training.cuh"

#ifdef __CUDACC__
#define TEXT_OF(x) #x
#define TEXT(x) TEXT_OF(x)
#define BUILD                                                                                      \
    "CUDA " TEXT(__CUDACC_VER_MAJOR__) "." TEXT(                                                   \
        __CUDACC_VER_MINOR__) ", sm_80 sm_90 sm_90a compute_90"
#else
#define BUILD "emulated"
#endif
#if __has_include(<nccl.h>)
#define NO_NCCL ""
#else
#define NO_NCCL ", without NCCL"
#endif

static struct dnas_cuda_api table = {
    .abi = DNAS_CUDA_ABI,
    .size_bytes = sizeof(struct dnas_cuda_api),
    .build = BUILD NO_NCCL,
    .count = dnas_cuda_count,
    .open = dnas_cuda_open,
    .close = dnas_cuda_close,
    .info = dnas_cuda_describe,
    .wait = dnas_cuda_wait,
    .error = dnas_cuda_error,
    .alloc = dnas_cuda_alloc,
    .free = dnas_cuda_free,
    .host_alloc = dnas_cuda_host_alloc,
    .host_free = dnas_cuda_host_free,
    .copy_in = dnas_cuda_copy_in,
    .copy_out = dnas_cuda_copy_out,
    .copy = dnas_cuda_copy,
    .zero = dnas_cuda_zero,
    .mark_new = dnas_cuda_mark_new,
    .mark_free = dnas_cuda_mark_free,
    .mark_set = dnas_cuda_mark_set,
    .mark_wait = dnas_cuda_mark_wait,
    .mark_seconds = dnas_cuda_mark_seconds,
    .pack_new = dnas_cuda_pack_new,
    .pack_free = dnas_cuda_pack_free,
    .pack_set = dnas_cuda_pack_set,
    .linear_fwd = dnas_cuda_linear_fwd,
    .embedding_fwd = dnas_cuda_embedding_fwd,
    .layernorm_fwd = dnas_cuda_layernorm_fwd,
    .geglu_fwd = dnas_cuda_geglu_fwd,
    .attention_fwd = dnas_cuda_attention_fwd,
    .meanpool_fwd = dnas_cuda_meanpool_fwd,
    .linear_bwd = dnas_cuda_linear_bwd,
    .linear_bwd_weight = dnas_cuda_linear_bwd_weight,
    .layernorm_bwd = dnas_cuda_layernorm_bwd,
    .geglu_bwd = dnas_cuda_geglu_bwd,
    .gelu_fwd = dnas_cuda_gelu_fwd,
    .gelu_bwd = dnas_cuda_gelu_bwd,
    .attention_bwd = dnas_cuda_attention_bwd,
    .embedding_rows = dnas_cuda_embedding_rows,
    .embedding_bwd = dnas_cuda_embedding_bwd,
    .dropout = dnas_cuda_dropout,
    .meanpool_bwd = dnas_cuda_meanpool_bwd,
    .blend = dnas_cuda_blend,
    .rows_gather = dnas_cuda_rows_gather,
    .rows_scatter = dnas_cuda_rows_scatter,
    .cross_entropy = dnas_cuda_cross_entropy,
    .convert = dnas_cuda_convert,
    .adamw_step = dnas_cuda_adamw_step,
    .sum_squares = dnas_cuda_sum_squares,
    .reserve = dnas_cuda_reserve,
    .linear_geglu_fwd = dnas_cuda_linear_geglu_fwd,
    .ranks_version = dnas_cuda_ranks_version,
    .ranks_id = dnas_cuda_ranks_id,
    .ranks_join = dnas_cuda_ranks_join,
    .ranks_sum = dnas_cuda_ranks_sum,
    .ranks_wait = dnas_cuda_ranks_wait,
    .ranks_leave = dnas_cuda_ranks_leave,
    .ranks_drop = dnas_cuda_ranks_drop,
};

extern "C" __attribute__((visibility("default"))) const struct dnas_cuda_api *dnas_cuda_table(void)
{
    if (dnas_cuda_sm90_wanted())
        table.build = BUILD NO_NCCL ", DNAS_CUDA_KERNELS=sm90";
    return &table;
}
