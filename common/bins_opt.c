/* SPDX-License-Identifier: MIT
 *
 * bins_opt.c - options about bins.  Contract: bins_opt.h.
 */
#include "common/bins_opt.h"

#include <string.h>

#include "common/record.h"

int dnas_bins_opt_check(const struct dnas_bins_opt *b)
{
    const size_t n = strlen(b->sample_id);

    if (b->bins && !b->sequences)
        return dnas_usage_error("--bins needs the sequences too: give --sequences FASTA");
    if (b->sequences && !b->bins && !b->table)
        return dnas_usage_error("--sequences is for --bins and --bin-table: give one of them");
    if (b->sequences && strcmp(b->sequences, "-") == 0)
        return dnas_usage_error("--sequences takes a file: standard input is for the embeddings");
    if (b->gzip && !b->bins)
        return dnas_usage_error("--gzip-bins compresses the files of --bins: give that too");
    if (b->bins && !*b->bins)
        return dnas_usage_error("--bins takes the name of a folder");
    if (n == 0 || !dnas_is_plain_text(b->sample_id, n))
        return dnas_usage_error("--sample-id takes a text without control characters, not '%s'",
                                b->sample_id);
    return -1;
}
