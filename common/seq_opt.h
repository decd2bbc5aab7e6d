/* SPDX-License-Identifier: MIT
 *
 * seq_opt.h - the options of every tool that reads sequences.
 */
#ifndef DNAS_SEQ_OPT_H
#define DNAS_SEQ_OPT_H

#include "common/opt.h"
#include "common/seq.h"

#ifdef __cplusplus
extern "C" {
#endif

struct dnas_seq_opt {
    int64_t truncate_bp;
    const char *labels;
    const char *shard;
    bool keep_case, allow_duplicate_ids;
    struct dnas_labels table; /* what --labels holds */
};

/* One line an option, as in the tools' own tables. */
/* clang-format off */

/* Lines for a tool's table of options; s is a struct dnas_seq_opt. */
#define DNAS_SEQ_OPTIONS(s)                                                                        \
    {0, "truncate", "BP", DNAS_OPT_INT, &(s).truncate_bp, 1, 4294967295.0, NULL,                   \
     "take only the first BP letters of each sequence"},                                           \
    {0, "labels", "FILE", DNAS_OPT_TEXT, &(s).labels, 0, 0, NULL,                                  \
     "take labels from a TSV of id and label, before label= in the headers"},                      \
    {0, "keep-case", NULL, DNAS_OPT_FLAG, &(s).keep_case, 0, 0, NULL,                              \
     "leave lower case and U as they are"},                                                        \
    {0, "allow-duplicate-ids", NULL, DNAS_OPT_FLAG, &(s).allow_duplicate_ids, 0, 0, NULL,          \
     "let two sequences have one name"},                                                           \
    {0, "shard", "I/N", DNAS_OPT_TEXT, &(s).shard, 0, 0, NULL,                                     \
     "take the I-th of N parts of about equal letters"}

/* clang-format on */

/* Turns the parsed options into what dnas_seq_open wants, loading --labels.
 * Returns -1 to go on, or the exit status after a complaint. */
int dnas_seq_opt_resolve(struct dnas_seq_opt *s, struct dnas_seq_options *options);
void dnas_seq_opt_release(struct dnas_seq_opt *s);

#ifdef __cplusplus
}
#endif
#endif
