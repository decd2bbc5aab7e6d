/* SPDX-License-Identifier: MIT
 *
 * carve.h - many arrays out of one block of memory, each at a multiple of 64 bytes.
 *
 * The function that lays arrays out runs twice: with base NULL it only counts.
 */
#ifndef DNAS_CARVE_H
#define DNAS_CARVE_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct dnas_carving {
    char *base;
    uint64_t used; /* bytes */
};

/* Room for n elements of `size` bytes; NULL while counting. */
static inline void *dnas_carve(struct dnas_carving *c, uint64_t n, size_t size)
{
    void *p = c->base ? c->base + c->used : NULL;

    c->used += (n * size + 63) / 64 * 64;
    return p;
}

#ifdef __cplusplus
}
#endif
#endif
