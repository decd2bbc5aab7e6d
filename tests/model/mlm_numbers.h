/* SPDX-License-Identifier: MIT
 *
 * mlm_numbers.h - the fixed numbers of make_mlm.py, made again.
 *
 * tests/data/training/mlm.txt was made with them:
 *   cls.predictions.transform.dense.weight       mlm_fixed(1, k, 0x1p-3)   k over [C,C]
 *   cls.predictions.transform.dense.bias         mlm_fixed(2, k, 0x1p-3)
 *   cls.predictions.transform.LayerNorm.weight   mlm_fixed(3, k, 0x1p-3)
 *   cls.predictions.transform.LayerNorm.bias     mlm_fixed(4, k, 0x1p-4)
 *   cls.predictions.decoder.bias                 mlm_fixed(5, k, 0x1p-2)
 *   "dot:" lines                                 sum_k gradient_k mlm_fixed(9, k, 1)
 */
#ifndef DNAS_MLM_NUMBERS_H
#define DNAS_MLM_NUMBERS_H

#include <stddef.h>
#include <stdint.h>

/* The k-th number of a stream, on [-scale, scale). */
static inline double mlm_fixed(uint32_t stream, size_t k, double scale)
{
    uint32_t x = (uint32_t)k + stream * 1000003u;

    x ^= x >> 16;
    x *= 0x85EBCA6Bu;
    x ^= x >> 13;
    x *= 0xC2B2AE35u;
    x ^= x >> 16;
    return ((double)(x >> 8) * 0x1p-23 - 1) * scale;
}

#endif
