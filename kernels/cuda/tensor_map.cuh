/* SPDX-License-Identifier: MIT
 *
 * tensor_map.cuh - arrays as loads of boxes see them (sm90.h), made on the host.
 */
#ifndef DNAS_CUDA_TENSOR_MAP_CUH
#define DNAS_CUDA_TENSOR_MAP_CUH

#include "kernels/cuda/device.cuh"
#include "kernels/cuda/sm90.h"

/* Finds the function of the driver that makes maps; false after an error. */
bool dnas_cuda_tensor_maps_new(struct dnas_cuda *d);

/* Boxes of box_rows (at most 256) rows and TILE_COLUMNS columns, swizzled, of x [rows,columns].
 * False after an error: x is not at a multiple of 16 bytes, or columns not a multiple of 8. */
bool dnas_cuda_tensor_map(struct dnas_cuda *d, CUtensorMap *map, const bf16 *x, size_t rows,
                          size_t columns, unsigned box_rows);

#endif
