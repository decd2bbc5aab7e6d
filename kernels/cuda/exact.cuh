/* SPDX-License-Identifier: MIT
 *
 * exact.cuh - sums and products that no compiler fuses, where the CPU's bits are wanted.
 */
#ifndef DNAS_CUDA_EXACT_CUH
#define DNAS_CUDA_EXACT_CUH

#include "kernels/cuda/simt.h"

#ifdef __CUDACC__
DEVICE float exact_add(float a, float b)
{
    return __fadd_rn(a, b);
}
DEVICE float exact_multiply(float a, float b)
{
    return __fmul_rn(a, b);
}
#else /* the emulator is compiled with -ffp-contract=off */
DEVICE float exact_add(float a, float b)
{
    return a + b;
}
DEVICE float exact_multiply(float a, float b)
{
    return a * b;
}
#endif

#endif
