/* SPDX-License-Identifier: MIT
 *
 * cuda_device.h - a device for the tests of kernels/cuda, and its memory.
 *
 * The library is the emulated one; with the argument `gpu` it is the real one, and where
 * that or a device is absent each test is skipped, or fails if DNAS_REQUIRE has "cuda".
 * Blocks from here have canaries on both sides that gpu_free looks at.
 */
#ifndef DNAS_CUDA_DEVICE_H
#define DNAS_CUDA_DEVICE_H

#include <dlfcn.h>

#include "common/rng.h"
#include "common/xmem.h"
#include "kernels/cuda.h"
#include "tests/kernels/cuda_library.h"
#include "tests/unit/check.h"

static const struct dnas_cuda_api *gpu;
static struct dnas_cuda *dev;
static const char *gpu_absent; /* why there is none */
static bool gpu_emulated;

#define GPU_TEST(test)                                                                             \
    static void test##_on_device(void);                                                            \
    static void test(void)                                                                         \
    {                                                                                              \
        if (!gpu_absent)                                                                           \
            test##_on_device();                                                                    \
        else if (getenv("DNAS_REQUIRE") && strstr(getenv("DNAS_REQUIRE"), "cuda"))                 \
            CHECK_FAIL("%s", gpu_absent);                                                          \
        else                                                                                       \
            SKIP(gpu_absent);                                                                      \
    }                                                                                              \
    static void test##_on_device(void)

/* Opens the device, in main. */
static inline void gpu_begin(int argc, char **argv)
{
    static char why[600];
    const struct dnas_cuda_api *(*table)(void);
    void *library, *symbol;

    library = dlopen(cuda_library(cuda_is_real(argc, argv)), RTLD_NOW | RTLD_LOCAL);
    if (!library) {
        snprintf(why, sizeof(why), "%s", dlerror());
        gpu_absent = why;
        return;
    }
    symbol = dlsym(library, DNAS_CUDA_SYMBOL);
    memcpy(&table, &symbol, sizeof(table));
    gpu = table();
    if (gpu->abi != DNAS_CUDA_ABI || gpu->size_bytes != sizeof(*gpu)) {
        gpu_absent = "the library is of another build";
        return;
    }
    gpu_emulated = strncmp(gpu->build, "emulated", 8) == 0;
    dev = gpu->open(0, why, sizeof(why));
    gpu_absent = dev ? NULL : why;
}

static inline void gpu_end(void)
{
    if (!dev)
        return;
    if (gpu->wait(dev) != 0)
        printf("# %s\n", gpu->error(dev));
    gpu->close(dev);
}

#define GPU_SIDE ((size_t)256)

/* Copies from the host to the device and back, at once. */
static inline void gpu_write(void *to, const void *from, size_t bytes)
{
    void *stage = gpu->host_alloc(dev, bytes);

    if (stage) {
        memcpy(stage, from, bytes);
        gpu->copy_in(dev, to, stage, bytes);
    }
    CHECK(gpu->wait(dev) == 0);
    gpu->host_free(dev, stage);
}
static inline void gpu_read(void *to, const void *from, size_t bytes)
{
    void *stage = gpu->host_alloc(dev, bytes);

    if (stage)
        gpu->copy_out(dev, stage, from, bytes);
    if (gpu->wait(dev) == 0)
        memcpy(to, stage, bytes);
    else
        CHECK_FAIL("%s", gpu->error(dev));
    gpu->host_free(dev, stage);
}

/* Memory of NaN bytes between two canaries; the emulated device has its own. */
static inline void *gpu_room(size_t bytes)
{
    char *p, *fill;

    if (gpu_emulated)
        return gpu->alloc(dev, bytes);
    p = gpu->alloc(dev, bytes + 2 * GPU_SIDE);
    if (!p) {
        CHECK_FAIL("no %zu bytes: %s", bytes, gpu->error(dev));
        return NULL;
    }
    fill = dnas_xalloc(bytes + 2 * GPU_SIDE, 1);
    memset(fill, 0x5A, bytes + 2 * GPU_SIDE);
    memset(fill + GPU_SIDE, 0xFF, bytes);
    gpu_write(p, fill, bytes + 2 * GPU_SIDE);
    free(fill);
    return p + GPU_SIDE;
}

static inline void gpu_free(void *p, size_t bytes)
{
    char *all = dnas_xalloc(bytes + 2 * GPU_SIDE, 1);

    if (gpu_emulated) {
        CHECK(gpu->wait(dev) == 0);
        gpu->free(dev, p);
    } else if (p) {
        gpu_read(all, (char *)p - GPU_SIDE, bytes + 2 * GPU_SIDE);
        for (size_t i = 0; i < GPU_SIDE; i++)
            if (all[i] != 0x5A || all[GPU_SIDE + bytes + i] != 0x5A) {
                CHECK_FAIL("something wrote outside of %zu bytes", bytes);
                break;
            }
        gpu->free(dev, (char *)p - GPU_SIDE);
    }
    free(all);
}

/* ---- arrays of activations: float on the host, rounded to `type` on the device ---- */

static inline uint16_t bf16_bits(float x)
{
    uint32_t bits;

    memcpy(&bits, &x, sizeof(bits));
    if (x != x)
        return 0x7FC1;
    return (uint16_t)((bits + 0x7FFF + (bits >> 16 & 1)) >> 16);
}
static inline float bf16_value(uint16_t bits)
{
    uint32_t wide = (uint32_t)bits << 16;
    float x;

    memcpy(&x, &wide, sizeof(x));
    return x;
}
static inline size_t gpu_size(enum dnas_cuda_type type)
{
    return type == DNAS_CUDA_BF16 ? 2 : 4;
}

/* x becomes what the device has of it, too. */
static inline void *gpu_put(float *x, size_t n, enum dnas_cuda_type type)
{
    void *p = gpu_room(n * gpu_size(type));
    uint16_t *rounded = dnas_xalloc(n + 1, sizeof(*rounded));

    for (size_t i = 0; i < n && type == DNAS_CUDA_BF16; i++)
        x[i] = bf16_value(rounded[i] = bf16_bits(x[i]));
    if (p && n > 0)
        gpu_write(p, type == DNAS_CUDA_BF16 ? (const void *)rounded : x, n * gpu_size(type));
    free(rounded);
    return p;
}
static inline float *gpu_get(const void *p, size_t n, enum dnas_cuda_type type)
{
    float *x = dnas_xalloc64(n + 1, sizeof(*x));
    uint16_t *rounded = dnas_xalloc(n + 1, sizeof(*rounded));

    if (n > 0)
        gpu_read(type == DNAS_CUDA_BF16 ? (void *)rounded : x, p, n * gpu_size(type));
    for (size_t i = 0; i < n && type == DNAS_CUDA_BF16; i++)
        x[i] = bf16_value(rounded[i]);
    free(rounded);
    return x;
}

/* Half a unit in the last place of a result in bf16, or what f32 leaves. */
static inline double gpu_step(enum dnas_cuda_type type)
{
    return type == DNAS_CUDA_BF16 ? 0x1p-8 : 2e-6;
}

static inline float *draw(size_t n, double spread, double offset, uint32_t row)
{
    float *x = dnas_xalloc64(n + 1, sizeof(*x));
    struct dnas_rng rng;

    dnas_rng_init(&rng, 3, DNAS_RNG_TEST, (uint32_t)n, row);
    for (size_t i = 0; i < n; i++)
        x[i] = (float)(offset + spread * dnas_rng_normal(&rng));
    return x;
}

#endif
