/* SPDX-License-Identifier: MIT
 *
 * isa.c - the processor's instruction set, asked once.  Contract: isa.h.
 */
#include "kernels/isa.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static enum dnas_isa processor(void)
{
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma") ||
        !__builtin_cpu_supports("bmi2"))
        return DNAS_ISA_BASE;
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl"))
        return DNAS_ISA_AVX512;
    return DNAS_ISA_AVX2;
#else
    return DNAS_ISA_BASE;
#endif
}

static enum dnas_isa cap(void)
{
    const char *s = getenv("DNNL_MAX_CPU_ISA");

    if (!s || strncasecmp(s, "AVX512", 6) == 0 || strcasecmp(s, "ALL") == 0 ||
        strcasecmp(s, "DEFAULT") == 0 || strncasecmp(s, "AVX10", 5) == 0)
        return DNAS_ISA_AVX512;
    return strncasecmp(s, "AVX2", 4) == 0 ? DNAS_ISA_AVX2 : DNAS_ISA_BASE;
}

enum dnas_isa dnas_isa(void)
{
    static atomic_int known = -1; /* threads that race find the same answer */
    int isa = atomic_load_explicit(&known, memory_order_relaxed);

    if (isa < 0) {
        enum dnas_isa has = processor();
        enum dnas_isa may = cap();

        isa = (int)(has < may ? has : may);
        atomic_store_explicit(&known, isa, memory_order_relaxed);
    }
    return (enum dnas_isa)isa;
}

const char *dnas_isa_name(void)
{
    switch (dnas_isa()) {
    case DNAS_ISA_AVX2:
        return "avx2";
    case DNAS_ISA_AVX512:
        return "avx512";
    case DNAS_ISA_BASE:
        break;
    }
    return "base";
}
