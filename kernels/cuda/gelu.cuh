/* SPDX-License-Identifier: MIT
 *
 * gelu.cuh - the Gaussian error linear unit (Hendrycks and Gimpel 2016), by erf.
 */
#ifndef DNAS_CUDA_GELU_CUH
#define DNAS_CUDA_GELU_CUH

#include "kernels/cuda/simt.h"

/* The share of a standard normal below z. */
DEVICE float gelu_below(float z)
{
    return 0.5f + 0.5f * erff(z * 0.70710678118654752f);
}
DEVICE float gelu(float z)
{
    return z * gelu_below(z);
}
DEVICE float gelu_slope(float z)
{
    return gelu_below(z) + z * 0.3989422804014327f * expf(-0.5f * z * z);
}

#endif
