/* SPDX-License-Identifier: MIT
 *
 * cuda_runtime.h - the part of CUDA's runtime that kernels/cuda uses, on the CPU,
 * for tests.  Names and meanings are CUDA's.
 *
 * Work of a stream is carried out when somebody waits for it, and not before, so that
 * memory of the host that is used again too early shows.  Memory of the device begins
 * as NaN, with canaries on both sides that each wait looks at.  The environment:
 *   DNAS_EMULATED_DEVICES  how many there seem to be (1); they have memory and faults together
 *   DNAS_EMULATED_MEMORY  bytes of the device's memory (256 MiB)
 *   DNAS_EMULATED_EAGER   1: work is carried out at once, the other extreme
 *   DNAS_EMULATED_FAULT   n: the n-th launch from then on ends in a fault
 */
#ifndef DNAS_EMULATOR_CUDA_RUNTIME_H
#define DNAS_EMULATOR_CUDA_RUNTIME_H

#include <math.h>
#include <stddef.h>
#include <stdint.h>

#include <functional>
#include <tuple>

#include "kernels/cuda/emulator/tensor_map.h"

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __grid_constant__
#define __restrict__ __restrict

enum cudaError_t {
    cudaSuccess = 0,
    cudaErrorInvalidValue = 1,
    cudaErrorMemoryAllocation = 2,
    cudaErrorInvalidConfiguration = 9,
    cudaErrorInvalidDevice = 101,
    cudaErrorNotReady = 600,
    cudaErrorIllegalAddress = 700,
};
enum cudaMemcpyKind {
    cudaMemcpyHostToDevice = 1,
    cudaMemcpyDeviceToHost,
    cudaMemcpyDeviceToDevice
};
enum cudaFuncAttribute { cudaFuncAttributeMaxDynamicSharedMemorySize = 8 };
enum {
    cudaHostAllocDefault = 0,
    cudaStreamNonBlocking = 1,
    cudaEventDefault = 0,
    cudaEventDisableTiming = 2
};

struct cudaDeviceProp {
    char name[256];
    struct {
        char bytes[16];
    } uuid;
    size_t totalGlobalMem;
    int major, minor, multiProcessorCount;
};
typedef struct emulated_stream *cudaStream_t;
typedef struct emulated_event *cudaEvent_t;

struct alignas(16) uint4 {
    uint32_t x, y, z, w;
};
struct alignas(8) uint2 {
    uint32_t x, y;
};
struct alignas(16) float4 {
    float x, y, z, w;
};
struct alignas(8) float2 {
    float x, y;
};
struct alignas(16) double2 {
    double x, y;
};
static inline uint4 make_uint4(uint32_t x, uint32_t y, uint32_t z, uint32_t w)
{
    return {x, y, z, w};
}
static inline float4 make_float4(float x, float y, float z, float w)
{
    return {x, y, z, w};
}
static inline float2 make_float2(float x, float y)
{
    return {x, y};
}
static inline float rsqrtf(float x)
{
    return (float)(1 / sqrt((double)x));
}

const char *cudaGetErrorString(cudaError_t e); /* after a fault: what the kernel did */
const char *cudaGetErrorName(cudaError_t e);
cudaError_t cudaGetLastError(void);
cudaError_t cudaPeekAtLastError(void);
cudaError_t cudaGetDeviceCount(int *n);
cudaError_t cudaSetDevice(int i);
__attribute__((visibility("default"))) cudaError_t cudaGetDevice(int *i);
cudaError_t cudaGetDeviceProperties(cudaDeviceProp *p, int i);
cudaError_t cudaMemGetInfo(size_t *free_bytes, size_t *total);
cudaError_t cudaDriverGetVersion(int *version);
cudaError_t cudaRuntimeGetVersion(int *version);

cudaError_t emulated_malloc(void **p, size_t bytes);
cudaError_t emulated_host_malloc(void **p, size_t bytes);
template <class T> cudaError_t cudaMalloc(T **p, size_t bytes)
{
    return emulated_malloc((void **)p, bytes);
}
template <class T> cudaError_t cudaHostAlloc(T **p, size_t bytes, unsigned)
{
    return emulated_host_malloc((void **)p, bytes);
}
cudaError_t cudaFree(void *p);
cudaError_t cudaFreeHost(void *p);
cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t bytes, cudaMemcpyKind kind,
                            cudaStream_t s);
cudaError_t cudaMemsetAsync(void *p, int value, size_t bytes, cudaStream_t s);

cudaError_t cudaStreamCreateWithFlags(cudaStream_t *s, unsigned flags);
cudaError_t cudaStreamDestroy(cudaStream_t s);
cudaError_t cudaStreamSynchronize(cudaStream_t s);
cudaError_t cudaStreamQuery(cudaStream_t s); /* carries out what can be */
cudaError_t cudaStreamWaitEvent(cudaStream_t s, cudaEvent_t e, unsigned flags);
cudaError_t cudaEventCreateWithFlags(cudaEvent_t *e, unsigned flags);
cudaError_t cudaEventDestroy(cudaEvent_t e);
cudaError_t cudaEventRecord(cudaEvent_t e, cudaStream_t s);
cudaError_t cudaEventSynchronize(cudaEvent_t e);
cudaError_t cudaEventElapsedTime(float *ms, cudaEvent_t from, cudaEvent_t to);

cudaError_t emulated_set_shared(const void *kernel, int bytes);
template <class T> cudaError_t cudaFuncSetAttribute(T *kernel, cudaFuncAttribute, int value)
{
    return emulated_set_shared((const void *)kernel, value);
}

/* Of the driver there is cuTensorMapEncodeTiled. */
enum cudaDriverEntryPointQueryResult { cudaDriverEntryPointSuccess = 0 };
enum { cudaEnableDefault = 0 };
cudaError_t cudaGetDriverEntryPointByVersion(const char *symbol, void **function, unsigned version,
                                             unsigned long long flags,
                                             cudaDriverEntryPointQueryResult *result);

/* Puts work into a stream. */
void emulated_queue(cudaStream_t s, std::function<void()> work);
/* Work that is asked again until it says true, what is behind it waiting; this and the next, and
 * cudaGetDevice, are for the library that stands in for NCCL, too. */
#define EMULATED_PUBLIC __attribute__((visibility("default")))
EMULATED_PUBLIC void emulated_queue_until(cudaStream_t s, std::function<bool()> work);
EMULATED_PUBLIC int emulated_is_device_memory(const void *p, size_t bytes);
/* Puts a launch there, or makes a wrong configuration the last error. */
void emulated_launch(const char *name, const void *kernel, size_t n_blocks, size_t n_threads,
                     size_t shared_bytes, cudaStream_t s, std::function<void()> body);

/* Arguments are copied when the launch is queued, as CUDA does. */
template <class... P, class... A>
void emulated_call(const char *name, void (*kernel)(P...), size_t n_blocks, size_t n_threads,
                   size_t shared_bytes, cudaStream_t s, A... args)
{
    std::tuple<P...> kept(args...);

    emulated_launch(name, (const void *)kernel, n_blocks, n_threads, shared_bytes, s,
                    [kernel, kept] { std::apply(kernel, kept); });
}

#endif
