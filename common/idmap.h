/* SPDX-License-Identifier: MIT
 *
 * idmap.h - texts to dense numbers, in order of first appearance; and a set of
 * hashes to find ids that come twice.
 */
#ifndef DNAS_IDMAP_H
#define DNAS_IDMAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/err.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Texts numbered 0, 1, 2, ...  Start with {0}. */
struct dnas_idmap {
    char *texts; /* each followed by a 0 */
    size_t texts_n, texts_cap;
    size_t *at; /* [n] where a text starts */
    size_t n, at_cap;
    uint64_t *slots; /* number + 1, or 0 */
    size_t n_slots;
};

/* The text's number; a new text gets the next one. */
size_t dnas_idmap_add(struct dnas_idmap *m, const char *s, size_t len);
/* The text's number, or SIZE_MAX. */
size_t dnas_idmap_find(const struct dnas_idmap *m, const char *s, size_t len);
/* Valid until the next add. */
const char *dnas_idmap_text(const struct dnas_idmap *m, size_t i);
void dnas_idmap_release(struct dnas_idmap *m);

/* A set of 64-bit hashes of ids: 16 bytes an id at most.  Two different ids
 * with one hash would be called equal: one chance in 2^65 / n^2.  Start with {0}. */
struct dnas_idset {
    uint64_t *slots; /* 0: empty */
    size_t n, n_slots;
};

/* false if the id was there already. */
bool dnas_idset_add(struct dnas_idset *s, const char *id, size_t len);
void dnas_idset_release(struct dnas_idset *s);

/* A table id -> label from a TSV of two (or more) columns: id, label.  A first
 * line "id<TAB>label" is a heading; empty lines are skipped; an id with two
 * different labels is an error. */
struct dnas_labels {
    struct dnas_idmap ids;
    struct dnas_idmap names;
    size_t *name_of; /* [ids.n] */
    size_t name_of_cap;
};

int dnas_labels_load(struct dnas_labels *l, const char *path, struct dnas_err *err);
/* The same from an input that is open, to its end; it stays open. */
struct dnas_in;
int dnas_labels_read(struct dnas_labels *l, struct dnas_in *in, struct dnas_err *err);
/* The id's label, or NULL. */
const char *dnas_labels_find(const struct dnas_labels *l, const char *id, size_t len);
void dnas_labels_release(struct dnas_labels *l);

#ifdef __cplusplus
}
#endif
#endif
