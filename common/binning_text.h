/* SPDX-License-Identifier: MIT
 *
 * binning_text.h - scores of a binning by name, and its tables of bins and
 * genomes.  The names say whose measure it is and over what it goes.
 */
#ifndef DNAS_BINNING_TEXT_H
#define DNAS_BINNING_TEXT_H

#include "common/binning_read.h"
#include "common/scores.h"

#ifdef __cplusplus
extern "C" {
#endif

/* amber_purity_bp, amber_purity_seq, ... */
void dnas_binning_amber_scores(struct dnas_scores *s, const struct dnas_binning *b);
/* dnaberts_binned_f1_above_0.1 ..., or dnaberts_whole_... */
void dnas_binning_paired_scores(struct dnas_scores *s, const struct dnas_binning *b,
                                enum dnas_counted counted);

/* Append a TSV's lines, a bin or a genome each, in order of name; with_names the line of column
 * names before, with_sample a first column of the sample's name. */
void dnas_binning_bins_table(struct dnas_text *t, const struct dnas_binning *b,
                             const struct dnas_binning_sample *s, bool with_names,
                             bool with_sample);
void dnas_binning_genomes_table(struct dnas_text *t, const struct dnas_binning *b,
                                const struct dnas_binning_sample *s, bool with_names,
                                bool with_sample);

#ifdef __cplusplus
}
#endif
#endif
