/* SPDX-License-Identifier: MIT
 *
 * npz.h - reads one array out of numpy's .npz, as numpy.savez writes it.
 *
 * A zip whose members are stored, not deflated; the sizes are taken from the
 * central directory.  For tests: anything unexpected ends the program.
 */
#ifndef DNAS_NPZ_H
#define DNAS_NPZ_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/npy.h"
#include "common/xmem.h"

__attribute__((noreturn)) static inline void npz_die(const char *path, const char *what)
{
    printf("Bail out! %s: %s\n", path, what);
    exit(99);
}

static inline uint32_t npz_le(const unsigned char *p, int n_bytes)
{
    uint32_t v = 0;

    for (int i = 0; i < n_bytes; i++)
        v |= (uint32_t)p[i] << (8 * i);
    return v;
}

static inline unsigned char *npz_load(const char *path, size_t *size)
{
    FILE *f = fopen(path, "rb");
    unsigned char *bytes;
    long end;

    if (!f || fseek(f, 0, SEEK_END) != 0 || (end = ftell(f)) < 22)
        npz_die(path, "cannot be read");
    rewind(f);
    *size = (size_t)end;
    bytes = dnas_xalloc(*size, 1);
    if (fread(bytes, 1, *size, f) != *size)
        npz_die(path, "cannot be read");
    fclose(f);
    return bytes;
}

/* The bytes of member `name`.npy; APPNOTE 6.3.3 has the offsets. */
static inline const unsigned char *npz_find(const char *path, const unsigned char *zip, size_t size,
                                            const char *name, size_t *n)
{
    const unsigned char *end = zip + size - 22, *p;
    char member[128];

    snprintf(member, sizeof member, "%s.npy", name);
    if (npz_le(end, 4) != 0x06054b50)
        npz_die(path, "is not a plain zip file");
    p = zip + npz_le(end + 16, 4);
    for (uint32_t i = npz_le(end + 10, 2); i > 0; i--) {
        size_t n_name = npz_le(p + 28, 2), extra = npz_le(p + 30, 2) + npz_le(p + 32, 2);

        if (n_name == strlen(member) && memcmp(p + 46, member, n_name) == 0) {
            const unsigned char *local = zip + npz_le(p + 42, 4);

            if (npz_le(p + 10, 2) != 0)
                npz_die(path, "is compressed");
            *n = npz_le(p + 24, 4);
            return local + 30 + npz_le(local + 26, 2) + npz_le(local + 28, 2);
        }
        p += 46 + n_name + extra;
    }
    npz_die(path, name);
}

/* Release with dnas_npy_release. */
static inline struct dnas_npy npz_read(const char *path, const char *name, enum dnas_npy_as as)
{
    struct dnas_npy out;
    struct dnas_err err;
    size_t size, n;
    unsigned char *zip = npz_load(path, &size);
    const unsigned char *bytes = npz_find(path, zip, size, name, &n);

    if (dnas_npy_parse(&out, bytes, n, as, &err) != 0)
        npz_die(name, err.msg);
    free(zip);
    return out;
}

static inline double npz_number(const char *path, const char *name)
{
    struct dnas_npy a = npz_read(path, name, DNAS_NPY_AS_F64);
    double value = a.f64[0];

    dnas_npy_release(&a);
    return value;
}

#endif
