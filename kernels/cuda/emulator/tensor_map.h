/* SPDX-License-Identifier: MIT
 *
 * tensor_map.h - the part of CUDA's driver that describes arrays to loads of boxes.
 * Names and meanings are CUDA's.
 */
#ifndef DNAS_EMULATOR_TENSOR_MAP_H
#define DNAS_EMULATOR_TENSOR_MAP_H

#include <stdint.h>

typedef uint64_t cuuint64_t;
typedef uint32_t cuuint32_t;

enum CUresult { CUDA_SUCCESS = 0, CUDA_ERROR_INVALID_VALUE = 1 };
enum CUtensorMapDataType { CU_TENSOR_MAP_DATA_TYPE_BFLOAT16 = 9 };
enum CUtensorMapInterleave { CU_TENSOR_MAP_INTERLEAVE_NONE = 0 };
enum CUtensorMapSwizzle { CU_TENSOR_MAP_SWIZZLE_NONE = 0, CU_TENSOR_MAP_SWIZZLE_128B = 3 };
enum CUtensorMapL2promotion { CU_TENSOR_MAP_L2_PROMOTION_L2_256B = 3 };
enum CUtensorMapFloatOOBfill { CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE = 0 };

struct alignas(64) CUtensorMap {
    uint64_t opaque[16];
};

/* What the emulator keeps there. */
struct emulated_map {
    uint64_t mark;
    const unsigned char *base;
    uint64_t columns, rows, pitch_bytes;
    uint32_t box_columns, box_rows, swizzled;
};
#define EMULATED_MAP_MARK 0x70616D726F736E65u

#endif
