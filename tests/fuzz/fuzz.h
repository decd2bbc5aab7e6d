/* SPDX-License-Identifier: MIT
 *
 * fuzz.h - what a fuzz program consists of.
 *
 * fuzz_X.c has the three functions below.  With replay.c it is a test program of
 * `make check`; with mutator.c and libFuzzer it is what `make fuzz` runs.
 */
#ifndef DNAS_FUZZ_H
#define DNAS_FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/err.h"

/* Reads data as the format: 1 it was taken, and all of it looked at; 0 it was
 * refused, with a sentence. */
int fuzz_try(const uint8_t *data, size_t n);

/* Sample i of the format, which fuzz_try takes; NULL after the last.  Free it. */
uint8_t *fuzz_seed(size_t i, size_t *n);

/* Makes lengths and hashes of a changed sample fit again, where the format has
 * any, so that changes are not refused at the first of them.  Returns the new
 * size, max at most. */
size_t fuzz_mend(uint8_t *data, size_t n, size_t max);

/* A refusal must say why. */
static inline int fuzz_refused(const struct dnas_err *err)
{
    if (!err->msg[0])
        DNAS_BUG("refused without a sentence");
    return 0;
}

/* The bytes as a file that can be opened by name; one at a time.  It has no
 * place in the file system, so nothing is left behind. */
static inline const char *fuzz_file(const uint8_t *data, size_t n)
{
    static char name[64];
    static int fd = -1;

    if (fd < 0) {
        char path[] = "/dev/shm/dnas-fuzz.XXXXXX", other[] = "/tmp/dnas-fuzz.XXXXXX";

        fd = mkstemp(path);
        if (fd >= 0) {
            unlink(path);
        } else {
            fd = mkstemp(other);
            unlink(other);
        }
        snprintf(name, sizeof(name), "/proc/self/fd/%d", fd);
    }
    if (fd < 0 || ftruncate(fd, 0) != 0 || pwrite(fd, data, n, 0) != (ssize_t)n) {
        perror("a file to fuzz with");
        exit(1);
    }
    return name;
}

#endif
