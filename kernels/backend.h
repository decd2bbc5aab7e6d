/* SPDX-License-Identifier: MIT
 *
 * backend.h - finds libdnas-cuda.so and loads it, when a GPU is asked for.
 */
#ifndef DNAS_BACKEND_H
#define DNAS_BACKEND_H

#include <stddef.h>

#include "kernels/cuda.h"

#ifdef __cplusplus
extern "C" {
#endif

/* The library's table; NULL with the reason in why, a text of room bytes.  It is looked for once:
 * where DNAS_CUDA_LIBRARY says ("none": nowhere), else in ../lib and . as seen from the program,
 * else where the loader looks.  A library of another build is refused.  Opens no device. */
const struct dnas_cuda_api *dnas_backend_cuda(char *why, size_t room);
/* Whether there is a library, be it one that cannot be used. */
int dnas_backend_has_cuda(void);

#ifdef __cplusplus
}
#endif
#endif
