/* SPDX-License-Identifier: MIT
 *
 * isa.h - which instructions the CPU kernels may use on this machine.
 *
 * One answer for our own kernels and for the stream header.  oneDNN's variable
 * DNNL_MAX_CPU_ISA (SSE41, AVX2, AVX512_CORE, ...) caps ours as well, so that
 * one setting tries a whole run on a lesser processor.
 */
#ifndef DNAS_ISA_H
#define DNAS_ISA_H

#ifdef __cplusplus
extern "C" {
#endif

enum dnas_isa {
    DNAS_ISA_BASE,   /* what the compiler targets by default */
    DNAS_ISA_AVX2,   /* AVX2, FMA, BMI2 */
    DNAS_ISA_AVX512, /* AVX-512 F, BW, DQ, VL too */
};

enum dnas_isa dnas_isa(void);
/* "base", "avx2" or "avx512". */
const char *dnas_isa_name(void);

#ifdef __cplusplus
}
#endif
#endif
