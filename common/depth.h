/* SPDX-License-Identifier: MIT
 *
 * depth.h - how deep reads of several samples lie on each sequence: the table of
 * MetaBAT's jgi_summarize_bam_contig_depths.
 *
 *   contigName  contigLen  totalAvgDepth  a.bam  a.bam-var  b.bam  b.bam-var ...
 *
 * Tabs between; a.bam is the mean depth of a sequence's letters, a.bam-var its variance over them.
 */
#ifndef DNAS_DEPTH_H
#define DNAS_DEPTH_H

#include <stddef.h>
#include <stdint.h>

#include "common/embeddings.h"
#include "common/err.h"

#ifdef __cplusplus
extern "C" {
#endif

struct dnas_depth {
    size_t N, S;      /* rows; samples */
    char **sample;    /* [S] names */
    double *mean;     /* [N,S] */
    double *variance; /* [N,S] */
};

/* The depths of the rows of e, of lengths length_bp [N]; lines about other sequences are left out.
 * -1 with a sentence: no such table, a row that has no line, two lines of one name, a length that
 * is not the row's (within the six digits that the table may have), a depth or variance that is
 * not a number from 0 to 1e12.  Release either way. */
int dnas_depth_load(struct dnas_depth *d, const char *path, const struct dnas_embeddings *e,
                    const uint32_t *length_bp, struct dnas_err *err);
void dnas_depth_release(struct dnas_depth *d);

#ifdef __cplusplus
}
#endif
#endif
