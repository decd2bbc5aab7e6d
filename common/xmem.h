/* SPDX-License-Identifier: MIT
 *
 * xmem.h - allocation that cannot overflow and does not return NULL.
 *
 * Running out of host memory says how much was asked for and exits 1.  Sizes
 * are products of a count and an element size, checked for overflow.  Free
 * everything with free().
 */
#ifndef DNAS_XMEM_H
#define DNAS_XMEM_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

/* n * size bytes, not initialised; n or size of 0 gives a pointer to free. */
void *dnas_xalloc(size_t n, size_t size) __attribute__((returns_nonnull, malloc));
/* The same, all zero. */
void *dnas_xzalloc(size_t n, size_t size) __attribute__((returns_nonnull, malloc));
/* The same, at a multiple of 64 bytes, so that a row of vectors is aligned. */
void *dnas_xalloc64(size_t n, size_t size) __attribute__((returns_nonnull, malloc));
/* p (may be NULL) resized to n * size bytes. */
void *dnas_xrealloc(void *p, size_t n, size_t size) __attribute__((returns_nonnull));
/* Makes room for at least `need` elements: doubles *cap until it holds them.
 * Returns the block, moved or not. */
void *dnas_xgrow(void *p, size_t *cap, size_t need, size_t size) __attribute__((returns_nonnull));
/* p, which another library made; where that is NULL for want of memory, ends as the others do.
 * `what` it was to be, for the sentence: "a zstd context". */
void *dnas_xhave(void *p, const char *what) __attribute__((returns_nonnull));
char *dnas_xstrdup(const char *s) __attribute__((returns_nonnull));
/* The first n bytes of s and a terminating 0. */
char *dnas_xstrndup(const char *s, size_t n) __attribute__((returns_nonnull));
char *dnas_xasprintf(const char *fmt, ...)
    __attribute__((returns_nonnull, nonnull(1), format(printf, 1, 2)));

#ifdef __cplusplus
}
#endif
#endif
