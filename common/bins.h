/* SPDX-License-Identifier: MIT
 *
 * bins.h - what the programs downstream of a binner read: contig2bin,
 * bioboxes, a FASTA for each bin, a table of the bins.
 *
 * For every binner: it takes numbers of bins and ids, however they were found.
 * A bin is called bin.N by its number; a file is there even if there are no bins.
 */
#ifndef DNAS_BINS_H
#define DNAS_BINS_H

#include <stddef.h>
#include <stdint.h>

#include "common/bins_opt.h"
#include "common/embeddings.h"
#include "common/err.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Rows and their bins, all borrowed. */
struct dnas_binned {
    size_t N;
    const int32_t *bin;        /* [N], 0 or more; -1: none */
    const float *score;        /* [N], how well a row fits its bin */
    const uint32_t *length_bp; /* [N]; NULL: not known but from --sequences */
    struct dnas_block rows;    /* N rows; their ids are in column `id`, utf8 */
    int id;
};

/* The rows of e: its ids, and its column length_bp, if it has a u32 a row. */
struct dnas_binned dnas_binned_embeddings(const struct dnas_embeddings *e, const int32_t *bin,
                                          const float *score);

struct dnas_bins_out;

/* Opens what the options ask for, before the work begins: files as .part, and the folder of
 * --bins as DIR.part.  A DIR that has something in it is refused; what an earlier run left in
 * DIR.part is removed.  The options are borrowed.  NULL on an error. */
struct dnas_bins_out *dnas_bins_out_open(const struct dnas_bins_opt *options, struct dnas_err *err);

/* Writes everything and puts it in its place.
 *   contig2bin  id<TAB>bin of each row in a bin, no header
 *   bioboxes    @Version, @SampleID, @@SEQUENCEID<TAB>BINID, then the same lines
 *   bin-table   bin, sequences, bp, n50, gc, mean_score; NA for what is not known: lengths without
 *               --sequences and length_bp, GC without --sequences
 *   bins        DIR/bin.N.fa, and DIR/unbinned.fa with all other records of the FASTA; .gz with
 *               --gzip-bins.  Letters as they are, 80 a line; of the headers the ids alone
 * Errors: an id that two rows share; a row that the FASTA has no sequence for.  Frees out, also on
 * an error, which leaves nothing under the final names. */
int dnas_bins_out_write(struct dnas_bins_out *out, const struct dnas_binned *b,
                        struct dnas_err *err);
/* After a failure elsewhere.  NULL is fine. */
void dnas_bins_out_abandon(struct dnas_bins_out *out);

/* ---- the folder of FASTAs, bins_folder.c ---- */

struct dnas_bins_folder;

/* Makes DIR.part; NULL on an error. */
struct dnas_bins_folder *dnas_bins_folder_open(const char *dir, bool gzip, struct dnas_err *err);
/* Appends text to the file of a bin (-1: unbinned). */
int dnas_bins_folder_append(struct dnas_bins_folder *f, int32_t bin, const char *text, size_t n,
                            struct dnas_err *err);
/* Ends all files (unbinned is always there). */
int dnas_bins_folder_finish(struct dnas_bins_folder *f, struct dnas_err *err);
/* Renames DIR.part to DIR.  Frees f in both cases. */
int dnas_bins_folder_commit(struct dnas_bins_folder *f, struct dnas_err *err);
/* Removes DIR.part.  NULL is fine. */
void dnas_bins_folder_abandon(struct dnas_bins_folder *f);

#ifdef __cplusplus
}
#endif
#endif
