/* SPDX-License-Identifier: MIT
 *
 * npy.h - numpy's .npy files: dense arrays in, arrays of growing length out.
 *
 * Format: numpy.lib.format, versions 1.0 to 3.0.
 */
#ifndef DNAS_NPY_H
#define DNAS_NPY_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "common/err.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Types of elements, in numpy's names: f4 f32, u2 u16, ... */
enum dnas_npy_type {
    DNAS_NPY_F4,
    DNAS_NPY_F8,
    DNAS_NPY_I4,
    DNAS_NPY_I8,
    DNAS_NPY_U1,
    DNAS_NPY_U2,
    DNAS_NPY_U4,
};

/* What a reader asks for. */
enum dnas_npy_as {
    DNAS_NPY_AS_F32, /* of any type; f8 and large integers are rounded */
    DNAS_NPY_AS_F64, /* of any type; i8 is rounded above 2^53 */
    DNAS_NPY_AS_I64, /* of integers only */
};

struct dnas_npy {
    enum dnas_npy_type type; /* in the file */
    int n_dims;              /* 0 to 2 */
    size_t shape[2];         /* 1 where there is no such dimension */
    size_t n;                /* shape[0] * shape[1] */
    float *f32;              /* [n], the one asked for; the others NULL */
    double *f64;
    int64_t *i64;
};

/* Reads a whole file: little-endian, C order, 0 to 2 dimensions, one of the
 * types above.  Everything else (big-endian, Fortran order, strings, objects,
 * records, more dimensions, bytes missing or left over) is an error.  NaN and
 * infinity go through.  Memory grows with the bytes that are there, not with
 * what the header claims.  Returns 0, or -1 with out empty; the sentence of
 * dnas_npy_read begins with the path.  Release out in both cases. */
int dnas_npy_read(struct dnas_npy *out, const char *path, enum dnas_npy_as as,
                  struct dnas_err *err);
/* The same from size_bytes bytes in memory. */
int dnas_npy_parse(struct dnas_npy *out, const void *bytes, size_t size_bytes, enum dnas_npy_as as,
                   struct dnas_err *err);
void dnas_npy_release(struct dnas_npy *npy);

/* An array being written to PATH.part: [rows] for C = 0, else [rows,C]. */
struct dnas_npy_writer {
    FILE *file;
    char *part; /* PATH.part */
    enum dnas_npy_type type;
    size_t C;
    uint64_t n_rows;
};

/* Creates PATH.part with a header that leaves room for any number of rows. */
int dnas_npy_open(struct dnas_npy_writer *w, const char *path, enum dnas_npy_type type, size_t C,
                  struct dnas_err *err);
/* Appends n_rows rows of the writer's type. */
int dnas_npy_append(struct dnas_npy_writer *w, const void *rows, size_t n_rows,
                    struct dnas_err *err);
/* Writes the number of rows into the header and closes the file; the caller
 * renames PATH.part to PATH.  After an error anywhere, close still frees, and
 * PATH.part is the caller's to remove.  Each file belongs to one thread. */
int dnas_npy_close(struct dnas_npy_writer *w, struct dnas_err *err);

#ifdef __cplusplus
}
#endif
#endif
