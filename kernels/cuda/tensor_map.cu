/* SPDX-License-Identifier: MIT
 *
 * tensor_map.cu - maps of arrays for loads of boxes.  Contract: tensor_map.cuh.
 *
 * The one function that makes them is the driver's, which is asked of the runtime: nothing is
 * linked to the driver, which machines without a GPU do not have.
 */
#include "kernels/cuda/tensor_map.cuh"

#define DRIVER_WITH_MAPS 12000

/* cuTensorMapEncodeTiled */
typedef CUresult encoder(CUtensorMap *map, CUtensorMapDataType type, cuuint32_t rank, void *base,
                         const cuuint64_t *sizes, const cuuint64_t *pitches, const cuuint32_t *box,
                         const cuuint32_t *steps, CUtensorMapInterleave interleave,
                         CUtensorMapSwizzle swizzle, CUtensorMapL2promotion promotion,
                         CUtensorMapFloatOOBfill fill);

bool dnas_cuda_tensor_maps_new(struct dnas_cuda *d)
{
    cudaDriverEntryPointQueryResult found;

    if (!CUDA_CHECK(d,
                    cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &d->encode,
                                                     DRIVER_WITH_MAPS, cudaEnableDefault, &found)))
        return false;
    if (found != cudaDriverEntryPointSuccess || !d->encode)
        CUDA_FAIL(d, "the driver has no cuTensorMapEncodeTiled");
    return d->error[0] == '\0';
}

bool dnas_cuda_tensor_map(struct dnas_cuda *d, CUtensorMap *map, const bf16 *x, size_t rows,
                          size_t columns, unsigned box_rows)
{
    const cuuint64_t sizes[2] = {columns, rows}, pitches[1] = {columns * sizeof(bf16)};
    const cuuint32_t box[2] = {TILE_COLUMNS, box_rows}, steps[2] = {1, 1};
    encoder *encode;
    CUresult e;

    memcpy(&encode, &d->encode, sizeof(encode));
    e = encode(map, CU_TENSOR_MAP_DATA_TYPE_BFLOAT16, 2, (void *)x, sizes, pitches, box, steps,
               CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_128B,
               CU_TENSOR_MAP_L2_PROMOTION_L2_256B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
    if (e != CUDA_SUCCESS)
        CUDA_FAIL(d, "cuTensorMapEncodeTiled of [%zu,%zu] at %p: error %d", rows, columns,
                  (const void *)x, (int)e);
    return d->error[0] == '\0';
}
