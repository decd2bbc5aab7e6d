/* SPDX-License-Identifier: MIT
 *
 * on_gpu.h - tests of networks on a GPU, emulated or real: where there is none
 * they are skipped, or fail if DNAS_REQUIRE has "cuda".
 */
#ifndef DNAS_ON_GPU_H
#define DNAS_ON_GPU_H

#include <stdlib.h>

#include "common/gpu.h"
#include "tests/kernels/cuda_library.h"
#include "tests/unit/check.h"

static struct dnas_gpu gpu;
static bool is_real;
static struct dnas_err why; /* there is none */

static inline bool has_gpu(void)
{
    const char *required = getenv("DNAS_REQUIRE");

    if (gpu.api)
        return true;
    if (is_real && required && strstr(required, "cuda"))
        CHECK_FAIL("%s", why.msg);
    return false;
}

#define GPU_TEST(test)                                                                             \
    static void test##_there(void);                                                                \
    static void test(void)                                                                         \
    {                                                                                              \
        if (!has_gpu())                                                                            \
            SKIP(why.msg);                                                                         \
        test##_there();                                                                            \
    }                                                                                              \
    static void test##_there(void)

/* Opens it, in main. */
static inline void gpu_begin(int argc, char **argv)
{
    is_real = cuda_is_real(argc, argv);
    setenv("DNAS_CUDA_LIBRARY", cuda_library(is_real), 1);
    (void)dnas_gpu_open(&gpu, 0, &why);
}

#endif
