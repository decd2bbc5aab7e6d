/* SPDX-License-Identifier: MIT
 *
 * device.cu - devices, their memory, marks and errors.  Contract: kernels/cuda.h.
 *
 * One queue a device; its first error is kept as a sentence, and nothing is queued
 * after it.
 */
#include "kernels/cuda/device.cuh"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "kernels/cuda/product.cuh"
#include "kernels/cuda/tensor_map.cuh"
#include "kernels/cuda/training.cuh"

struct dnas_cuda_mark {
    cudaEvent_t event;
};

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash ? slash + 1 : path;
}

void dnas_cuda_fail(struct dnas_cuda *d, const char *file, int line, const char *format, ...)
{
    va_list args;
    int n;

    if (d->error[0])
        return;
    n = snprintf(d->error, sizeof(d->error), "%s:%d: ", base_name(file), line);
    va_start(args, format);
    vsnprintf(d->error + n, sizeof(d->error) - (size_t)n, format, args);
    va_end(args);
}

bool dnas_cuda_check(struct dnas_cuda *d, cudaError_t e, const char *what, const char *file,
                     int line)
{
    if (e != cudaSuccess)
        dnas_cuda_fail(d, file, line, "%s: %s", what, cudaGetErrorString(e));
    return d->error[0] == '\0';
}

bool dnas_cuda_check_product(struct dnas_cuda *d, cublasStatus_t e, const char *what,
                             const char *file, int line)
{
    if (e != CUBLAS_STATUS_SUCCESS)
        dnas_cuda_fail(d, file, line, "%s: %s", what, cublasLtGetStatusString(e));
    return d->error[0] == '\0';
}

bool dnas_cuda_check_launch(struct dnas_cuda *d, const char *kernel, const char *file, int line)
{
    cudaError_t e = cudaGetLastError();

    if (e == cudaSuccess && d->wait_each)
        e = cudaStreamSynchronize(d->queue);
    return dnas_cuda_check(d, e, kernel, file, line);
}

bool dnas_cuda_enter(struct dnas_cuda *d)
{
    return d->error[0] == '\0' && CUDA_CHECK(d, cudaSetDevice(d->index));
}

int dnas_cuda_count(char *why, size_t room)
{
    int n = 0;
    cudaError_t e = cudaGetDeviceCount(&n);

    if (e == cudaSuccess)
        return n;
    snprintf(why, room, "%s", cudaGetErrorString(e));
    return -1;
}

static const char *wanted_kernels(void)
{
    const char *wanted = getenv("DNAS_CUDA_KERNELS");

    return wanted ? wanted : "";
}

bool dnas_cuda_sm90_wanted(void)
{
    return strcmp(wanted_kernels(), "sm90") == 0;
}

struct dnas_cuda *dnas_cuda_open(int i, char *why, size_t room)
{
    struct dnas_cuda *d;
    cudaDeviceProp p;
    const char *each = getenv("DNAS_CUDA_SYNC");
    int n = dnas_cuda_count(why, room);

    if (n < 0)
        return nullptr;
    if (i < 0 || i >= n) {
        snprintf(why, room, "there is no device %d: there are %d", i, n);
        return nullptr;
    }
    d = (struct dnas_cuda *)calloc(1, sizeof(*d));
    if (!d) {
        snprintf(why, room, "out of memory");
        return nullptr;
    }
    d->index = i;
    d->wait_each = each && strcmp(each, "1") == 0;
    if (!dnas_cuda_enter(d) || !CUDA_CHECK(d, cudaGetDeviceProperties(&p, i)))
        goto fail;
    if (p.major < 8) {
        CUDA_FAIL(d, "%s has compute capability %d.%d, and 8.0 is needed", p.name, p.major,
                  p.minor);
        goto fail;
    }
    if (*wanted_kernels() && !dnas_cuda_sm90_wanted()) {
        CUDA_FAIL(d, "DNAS_CUDA_KERNELS is '%s': it takes sm90", wanted_kernels());
        goto fail;
    }
    d->n_processors = p.multiProcessorCount;
    d->sm90 = dnas_cuda_sm90_wanted() && p.major == 9 && p.minor == 0;
    if (d->sm90 && !dnas_cuda_tensor_maps_new(d))
        goto fail;
    if (CUDA_CHECK(d, cudaStreamCreateWithFlags(&d->queue, cudaStreamNonBlocking)) &&
        dnas_cuda_products_new(d))
        return d;
fail:
    snprintf(why, room, "%s", d->error);
    dnas_cuda_close(d);
    return nullptr;
}

void dnas_cuda_close(struct dnas_cuda *d)
{
    if (!d || d->is_lost)
        return;
    cudaSetDevice(d->index);
    dnas_cuda_products_free(d);
    dnas_cuda_free(d, d->scratch);
    if (d->queue)
        cudaStreamDestroy(d->queue);
    (void)cudaGetLastError();
    free(d);
}

void dnas_cuda_describe(struct dnas_cuda *d, struct dnas_cuda_info *info)
{
    cudaDeviceProp p;

    memset(info, 0, sizeof(*info));
    if (!dnas_cuda_enter(d) || !CUDA_CHECK(d, cudaGetDeviceProperties(&p, d->index)))
        return;
    snprintf(info->name, sizeof(info->name), "%.*s", (int)sizeof(info->name) - 1, p.name);
    info->major = p.major;
    info->minor = p.minor;
    info->n_processors = p.multiProcessorCount;
    memcpy(info->uuid, p.uuid.bytes, sizeof(info->uuid));
    if (!CUDA_CHECK(d, cudaMemGetInfo(&info->free_bytes, &info->memory_bytes)) ||
        !CUDA_CHECK(d, cudaDriverGetVersion(&info->driver)))
        return;
    CUDA_CHECK(d, cudaRuntimeGetVersion(&info->runtime));
}

int dnas_cuda_wait(struct dnas_cuda *d)
{
    return dnas_cuda_enter(d) && CUDA_CHECK(d, cudaStreamSynchronize(d->queue)) ? 0 : -1;
}

const char *dnas_cuda_error(const struct dnas_cuda *d)
{
    return d->error;
}

void *dnas_cuda_alloc(struct dnas_cuda *d, size_t bytes)
{
    void *p = nullptr;
    cudaError_t e;

    if (!dnas_cuda_enter(d))
        return nullptr;
    e = cudaMalloc(&p, bytes > 0 ? bytes : 1);
    if (e == cudaErrorMemoryAllocation) {
        (void)cudaGetLastError(); /* no error of the device: the caller can do with less */
        return nullptr;
    }
    return dnas_cuda_check(d, e, "cudaMalloc", __FILE__, __LINE__) ? p : nullptr;
}

/* CUDA waits for all queues before it frees; for one with sums over processes that may be for
 * ever, so these are waited for here. */
static bool can_free(struct dnas_cuda *d)
{
    if (d->ranks && !d->is_lost)
        dnas_cuda_ranks_wait(d->ranks);
    return !d->is_lost;
}

void dnas_cuda_free(struct dnas_cuda *d, void *p)
{
    if (!p || !can_free(d))
        return;
    dnas_cuda_wait(d);
    CUDA_CHECK(d, cudaFree(p));
}

void *dnas_cuda_host_alloc(struct dnas_cuda *d, size_t bytes)
{
    void *p = nullptr;
    cudaError_t e;

    if (!dnas_cuda_enter(d))
        return nullptr;
    e = cudaHostAlloc(&p, bytes > 0 ? bytes : 1, cudaHostAllocDefault);
    if (e == cudaErrorMemoryAllocation) {
        (void)cudaGetLastError();
        return nullptr;
    }
    return dnas_cuda_check(d, e, "cudaHostAlloc", __FILE__, __LINE__) ? p : nullptr;
}

void dnas_cuda_host_free(struct dnas_cuda *d, void *p)
{
    if (!p || !can_free(d))
        return;
    dnas_cuda_wait(d);
    CUDA_CHECK(d, cudaFreeHost(p));
}

void dnas_cuda_copy_in(struct dnas_cuda *d, void *to, const void *host, size_t bytes)
{
    if (dnas_cuda_enter(d))
        CUDA_CHECK(d, cudaMemcpyAsync(to, host, bytes, cudaMemcpyHostToDevice, d->queue));
}

void dnas_cuda_copy_out(struct dnas_cuda *d, void *host, const void *from, size_t bytes)
{
    if (dnas_cuda_enter(d))
        CUDA_CHECK(d, cudaMemcpyAsync(host, from, bytes, cudaMemcpyDeviceToHost, d->queue));
}

void dnas_cuda_copy(struct dnas_cuda *d, void *to, const void *from, size_t bytes)
{
    if (dnas_cuda_enter(d))
        CUDA_CHECK(d, cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToDevice, d->queue));
}

void dnas_cuda_zero(struct dnas_cuda *d, void *p, size_t bytes)
{
    if (dnas_cuda_enter(d))
        CUDA_CHECK(d, cudaMemsetAsync(p, 0, bytes, d->queue));
}

struct dnas_cuda_mark *dnas_cuda_mark_new(struct dnas_cuda *d)
{
    struct dnas_cuda_mark *m;

    if (!dnas_cuda_enter(d))
        return nullptr;
    m = (struct dnas_cuda_mark *)calloc(1, sizeof(*m));
    if (m && CUDA_CHECK(d, cudaEventCreateWithFlags(&m->event, cudaEventDefault)))
        return m;
    free(m);
    return nullptr;
}

void dnas_cuda_mark_free(struct dnas_cuda *d, struct dnas_cuda_mark *m)
{
    if (!m || d->is_lost)
        return;
    cudaSetDevice(d->index);
    CUDA_CHECK(d, cudaEventDestroy(m->event));
    free(m);
}

void dnas_cuda_mark_set(struct dnas_cuda *d, struct dnas_cuda_mark *m)
{
    if (dnas_cuda_enter(d))
        CUDA_CHECK(d, cudaEventRecord(m->event, d->queue));
}

int dnas_cuda_mark_wait(struct dnas_cuda *d, struct dnas_cuda_mark *m)
{
    return dnas_cuda_enter(d) && CUDA_CHECK(d, cudaEventSynchronize(m->event)) ? 0 : -1;
}

double dnas_cuda_mark_seconds(struct dnas_cuda *d, const struct dnas_cuda_mark *from,
                              const struct dnas_cuda_mark *to)
{
    float ms = 0;

    if (!dnas_cuda_enter(d) || !CUDA_CHECK(d, cudaEventElapsedTime(&ms, from->event, to->event)))
        return NAN;
    return 1e-3 * (double)ms;
}
