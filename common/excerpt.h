/* SPDX-License-Identifier: MIT
 *
 * excerpt.h - the letters of those places of a collection that are drawn.
 *
 * Compressed files cannot be read from the middle.  So all places are marked
 * first; then each file is read once more, from its beginning to its last mark,
 * and what is marked goes to one store, in memory or in an unnamed file in
 * TMPDIR; from there any place can be had in any order.  The store is never
 * larger than the collection, however often a place is drawn.
 */
#ifndef DNAS_EXCERPT_H
#define DNAS_EXCERPT_H

#include "common/genomes.h"

#ifdef __cplusplus
extern "C" {
#endif

struct dnas_excerpt;

/* Nothing is marked yet.  A bit for each granule of 256 letters.  g is
 * borrowed. */
struct dnas_excerpt *dnas_excerpt_new(const struct dnas_genomes *g);
/* Marks n letters of a sequence, from start (counted from 0) on; beyond its
 * end is a bug, and so is a mark after loading. */
void dnas_excerpt_mark(struct dnas_excerpt *e, size_t seq, uint32_t start, uint32_t n);
/* Reads what is marked; a store of more than memory_bytes goes to a file. */
int dnas_excerpt_load(struct dnas_excerpt *e, uint64_t memory_bytes, int n_threads,
                      struct dnas_err *err);
/* The store's size, once loaded. */
uint64_t dnas_excerpt_bytes(const struct dnas_excerpt *e);
/* Copies n marked letters to out.  Thread safe.  0 or -1. */
int dnas_excerpt_read(const struct dnas_excerpt *e, char *out, size_t seq, uint32_t start,
                      uint32_t n, struct dnas_err *err);
/* NULL is fine. */
void dnas_excerpt_free(struct dnas_excerpt *e);

#ifdef __cplusplus
}
#endif
#endif
