/* SPDX-License-Identifier: MIT
 *
 * embeddings.h - EMBEDDINGS held whole, for the tools that compare all rows;
 * and the LABELS that they write.
 */
#ifndef DNAS_EMBEDDINGS_H
#define DNAS_EMBEDDINGS_H

#include "common/opt.h"
#include "common/stream.h"

#ifdef __cplusplus
extern "C" {
#endif

struct dnas_embeddings {
    size_t N, C;
    float *x;                  /* [N,C] */
    struct dnas_header header; /* of the input, without the embedding's column */
    struct dnas_table rest;    /* the other columns, in the header's order */
    int id, label;             /* their numbers in `rest`; label -1: there is none */
};

/* Reads a stream of EMBEDDINGS to its end; bf16 becomes f32.  A value that is
 * not finite is an error that names the row.  0 or -1; release either way. */
int dnas_embeddings_load(struct dnas_embeddings *e, const char *path, struct dnas_err *err);
void dnas_embeddings_release(struct dnas_embeddings *e);
/* A row's text in column `column` of the rest, free with free(). */
char *dnas_embeddings_text(const struct dnas_embeddings *e, int column, size_t row);

/* The labels as numbers: class [N], -1 where the label is empty; returns how
 * many classes there are (numbered in order of appearance).  names, unless
 * NULL, is filled with their texts. */
struct dnas_idmap;
size_t dnas_embeddings_classes(const struct dnas_embeddings *e, int32_t *classes,
                               struct dnas_idmap *names);

/* Gives the rest a utf8 column of this name, text[index[row]] in each row; in
 * place of one that is there. */
void dnas_embeddings_set_text(struct dnas_embeddings *e, const char *column,
                              const struct dnas_idmap *text, const int32_t *index);

/* How a tool writes LABELS: as a stream, or as text; auto is TSV on a terminal. */
enum dnas_labels_format { DNAS_LABELS_AUTO, DNAS_LABELS_STREAM, DNAS_LABELS_TSV, DNAS_LABELS_JSON };
extern const char *const dnas_labels_formats[]; /* for a table of options */

/* Writes id, cluster [N], score [N] and the other columns of e. */
int dnas_labels_write(const struct dnas_embeddings *e, const int32_t *cluster, const float *score,
                      enum dnas_labels_format format, const struct dnas_tool *tool,
                      const struct dnas_common *common, const int64_t *seed, struct dnas_err *err);

#ifdef __cplusplus
}
#endif
#endif
