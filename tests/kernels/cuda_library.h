/* SPDX-License-Identifier: MIT
 *
 * cuda_library.h - the library that make built, for the tests of a GPU: the
 * emulated one, or with the argument `gpu` the real one.
 */
#ifndef DNAS_CUDA_LIBRARY_H
#define DNAS_CUDA_LIBRARY_H

#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Whether a real GPU is asked for. */
static inline bool cuda_is_real(int argc, char **argv)
{
    return argc > 1 && strcmp(argv[1], "gpu") == 0;
}

/* Its path, by that of the program, $BUILD/tests/folder/test_x; valid until the next call. */
static inline const char *cuda_library(bool is_real)
{
    static char path[4096];
    ssize_t n = readlink("/proc/self/exe", path, 3000);
    char *end;

    path[n > 0 ? n : 0] = '\0';
    for (int up = 0; up < 3; up++)
        if ((end = strrchr(path, '/')))
            *end = '\0';
    n = (ssize_t)strlen(path);
    snprintf(path + n, sizeof(path) - (size_t)n, "/%s",
             is_real ? "lib/libdnas-cuda.so" : "libdnas-cuda-emulated.so");
    return path;
}

#endif
