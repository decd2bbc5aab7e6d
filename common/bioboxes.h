/* SPDX-License-Identifier: MIT
 *
 * bioboxes.h - binnings and gold standards as CAMI exchanges them.
 *
 * bioboxes' format of binnings, 0.9 and 0.10: a header, a line of column
 * names, a line a sequence; several samples one after the other.
 *
 *     @Version:0.9.1
 *     @SampleID:gut
 *     @@SEQUENCEID<TAB>BINID<TAB>_LENGTH
 *     contig|1<TAB>bins/a.fa<TAB>25096
 *
 * Read liberally: the values may be any text ("|", "/", "#" within), a sample
 * may have no name, the columns stand in any order and case, further ones are
 * passed over, and so are blank lines and those that begin with "#".
 */
#ifndef DNAS_BIOBOXES_H
#define DNAS_BIOBOXES_H

#include "common/io.h"

#ifdef __cplusplus
extern "C" {
#endif

struct dnas_bioboxes_row {
    const char *sample; /* "" where there is no @SampleID, or an empty one */
    uint64_t line;      /* from 1 */
    const char *id;     /* NULL: a sample begins here (it may have no rows) */
    const char *bin;    /* not empty */
    uint64_t length_bp; /* 0: there is no such column */
};

/* Whether the input begins as such a file does, and not as a stream or table:
 * 1, 0, or -1 on an error.  It only peeks. */
int dnas_in_is_bioboxes(struct dnas_in *in, struct dnas_err *err);

/* Hands each row to each(), whose -1 ends the reading; texts are valid during
 * the call.  A row without a bin is passed over.  No column SEQUENCEID or
 * BINID, a row before the columns or with too few fields, a length that is no
 * number from 1, text that is not UTF-8: -1 and a sentence that begins with
 * the file and names the line, as for errors from each(). */
int dnas_bioboxes_read(struct dnas_in *in,
                       int (*each)(void *ctx, const struct dnas_bioboxes_row *row,
                                   struct dnas_err *err),
                       void *ctx, struct dnas_err *err);

#ifdef __cplusplus
}
#endif
#endif
