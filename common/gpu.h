/* SPDX-License-Identifier: MIT
 *
 * gpu.h - which device computes: the argument of --device, and an opened GPU.
 */
#ifndef DNAS_GPU_H
#define DNAS_GPU_H

#include <stdbool.h>
#include <stddef.h>

#include "common/err.h"
#include "kernels/cuda.h"

#ifdef __cplusplus
extern "C" {
#endif

enum dnas_device_kind {
    DNAS_DEVICE_AUTO, /* a GPU where there is one and the model can */
    DNAS_DEVICE_CPU,
    DNAS_DEVICE_CUDA,
};

struct dnas_device {
    enum dnas_device_kind kind;
    int number; /* of the GPU */
};

/* What --device offers, for the table of options; behind "cuda" may stand ":N". */
extern const char *const dnas_devices[];
/* Of "auto", "cpu", "cuda" or "cuda:N"; -1 with a sentence for another text. */
int dnas_device_parse(struct dnas_device *d, const char *text, struct dnas_err *err);

/* An opened GPU; used by one thread at a time. */
struct dnas_gpu {
    const struct dnas_cuda_api *api; /* NULL: none is open */
    struct dnas_cuda *device;
    int number;
    struct dnas_cuda_info info; /* as it was when it was opened */
};

/* 0, or -1 with the reason: no library, no driver, no GPU of this number. */
int dnas_gpu_open(struct dnas_gpu *g, int number, struct dnas_err *err);
/* Waits for what was queued; g may be closed already. */
void dnas_gpu_close(struct dnas_gpu *g);
/* Sets the sentence of the first error of the device; always -1. */
int dnas_gpu_failed(const struct dnas_gpu *g, struct dnas_err *err);

/* Whether a library of CUDA is there, be it one that cannot be used: without one, running on the
 * CPU surprises nobody. */
bool dnas_gpu_is_expected(void);
/* For --version: the library's build and the number of devices, or why there are none. */
void dnas_gpu_describe(char *text, size_t room);

#ifdef __cplusplus
}
#endif
#endif
