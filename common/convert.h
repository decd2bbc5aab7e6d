/* SPDX-License-Identifier: MIT
 *
 * convert.h - streams from and to numpy's .npy.
 */
#ifndef DNAS_CONVERT_H
#define DNAS_CONVERT_H

#include "common/stream.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Writes the embeddings of a stream (f32 [N,C]) or the clusters of LABELS
 * (i32 [N]) to path; to path.part first, renamed when whole.  0 or -1. */
int dnas_convert_to_npy(const char *path, struct dnas_reader *r, struct dnas_err *err);

/* Writes EMBEDDINGS to out (taken) from the matrix in the .npy file.
 *   ids     a file of one id a line, as many as rows; NULL: the rows' numbers, from 1
 *   labels  a TSV of id and label; NULL: no labels
 *   pg      program lines (borrowed), or NULL */
int dnas_convert_from_npy(struct dnas_out *out, const struct dnas_writer_options *options,
                          const char *npy, const char *ids, const char *labels, json_t *pg,
                          struct dnas_err *err);

#ifdef __cplusplus
}
#endif
#endif
