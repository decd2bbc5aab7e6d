/* SPDX-License-Identifier: MIT
 *
 * value.cuh - single activations of either type.
 */
#ifndef DNAS_CUDA_VALUE_CUH
#define DNAS_CUDA_VALUE_CUH

#include "kernels/cuda/simt.h"

DEVICE float value_at(const float *p)
{
    return *p;
}
DEVICE float value_at(const bf16 *p)
{
    return bits_float((uint32_t)p->bits << 16);
}
DEVICE void value_set(float *p, float x)
{
    *p = x;
}
DEVICE void value_set(bf16 *p, float x)
{
    p->bits = (uint16_t)bf16_pack(x, 0);
}

#endif
