/* SPDX-License-Identifier: MIT
 *
 * bins_opt.h - the options of every tool that makes bins: the files that other
 * programs read.
 */
#ifndef DNAS_BINS_OPT_H
#define DNAS_BINS_OPT_H

#include "common/opt.h"

#ifdef __cplusplus
extern "C" {
#endif

/* NULL or false: not wanted.  Start with {.sample_id = "sample"}. */
struct dnas_bins_opt {
    const char *contig2bin, *bioboxes, *sample_id, *table;
    const char *bins, *sequences;
    bool gzip;
};

/* One line an option, as in the tools' own tables. */
/* clang-format off */

/* Lines for a tool's table of options; b is a struct dnas_bins_opt. */
#define DNAS_BINS_OPTIONS(b)                                                                       \
    {0, "contig2bin", "FILE", DNAS_OPT_TEXT, &(b).contig2bin, 0, 0, NULL,                          \
     "write sequence and bin there, a line each, as DAS_Tool reads it"},                           \
    {0, "bioboxes", "FILE", DNAS_OPT_TEXT, &(b).bioboxes, 0, 0, NULL,                              \
     "write the bins there in bioboxes' format, as AMBER reads it"},                               \
    {0, "sample-id", "ID", DNAS_OPT_TEXT, &(b).sample_id, 0, 0, NULL,                              \
     "call the sample ID in --bioboxes"},                                                          \
    {0, "bin-table", "FILE", DNAS_OPT_TEXT, &(b).table, 0, 0, NULL,                                \
     "write a line for each bin there: size, bp, N50, GC, similarity"},                            \
    {0, "bins", "DIR", DNAS_OPT_TEXT, &(b).bins, 0, 0, NULL,                                       \
     "make the folder DIR with a FASTA for each bin and one for the rest"},                        \
    {0, "sequences", "FASTA", DNAS_OPT_TEXT, &(b).sequences, 0, 0, NULL,                           \
     "take the sequences for --bins and --bin-table from there"},                                  \
    {0, "gzip-bins", NULL, DNAS_OPT_FLAG, &(b).gzip, 0, 0, NULL,                                   \
     "compress the files of --bins (BGZF, which gzip reads)"}

/* clang-format on */

/* What the table of options cannot check.  -1 to go on, or the exit status after a complaint. */
int dnas_bins_opt_check(const struct dnas_bins_opt *b);

#ifdef __cplusplus
}
#endif
#endif
