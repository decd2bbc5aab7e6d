/* SPDX-License-Identifier: MIT
 *
 * fuzz_bioboxes.c - binnings in bioboxes' format: row by row, as bins, and as the truth.
 */
#include <string.h>

#include "common/binning_read.h"
#include "common/bioboxes.h"
#include "common/xmem.h"
#include "tests/fuzz/fuzz.h"

struct seen {
    uint64_t n_rows, n_samples, last_line;
};

static int look_at(void *ctx, const struct dnas_bioboxes_row *row, struct dnas_err *err)
{
    struct seen *seen = ctx;

    (void)err;
    if (row->line <= seen->last_line)
        DNAS_BUG("line %llu after line %llu", (unsigned long long)row->line,
                 (unsigned long long)seen->last_line);
    seen->last_line = row->line;
    if (row->id && (!*row->id || !*row->bin || strchr(row->id, '\t') || strchr(row->bin, '\t')))
        DNAS_BUG("an id or bin that is none");
    if (!row->sample)
        DNAS_BUG("no sample");
    if (row->id)
        seen->n_rows++;
    else
        seen->n_samples++;
    return 0;
}

/* Each entry of what was loaded names a sequence, a genome or a bin that is there. */
static void check_set(const struct dnas_binning_set *set)
{
    for (size_t i = 0; i < set->n_samples; i++) {
        const struct dnas_binning_sample *s = &set->samples[i];
        int32_t *cluster = NULL;
        uint32_t *class_ = NULL;
        size_t N;
        struct dnas_err err = {""};

        for (size_t g = 0; g < s->genome_ids.n; g++)
            if (!*dnas_binning_genome_name(s, (uint32_t)g))
                DNAS_BUG("a genome without a name");
        for (size_t b = 0; b < s->bin_ids.n; b++)
            if (!*dnas_binning_bin_name(s, (uint32_t)b))
                DNAS_BUG("a bin without a name");
        if (dnas_binning_sample_clusters(&cluster, &class_, &N, set, s, &err) != 0)
            fuzz_refused(&err);
        else if (N > s->n_sequences)
            DNAS_BUG("%zu of %zu sequences", N, s->n_sequences);
        free(cluster);
        free(class_);
    }
}

int fuzz_try(const uint8_t *data, size_t n)
{
    const char *path = fuzz_file(data, n);
    struct dnas_err err = {""}, why = {""};
    struct dnas_in *in = dnas_in_open(path, &err);
    struct dnas_binning_set set;
    struct seen seen = {0};
    int taken = in && dnas_in_is_bioboxes(in, &err) >= 0 &&
                dnas_bioboxes_read(in, look_at, &seen, &err) == 0;

    dnas_in_close(in);
    if (!taken)
        fuzz_refused(&err);
    /* A binning is the truth about itself, unless it says a thing twice. */
    if (dnas_binning_set_load(&set, path, path, &why) != 0)
        fuzz_refused(&why);
    else
        check_set(&set);
    dnas_binning_set_release(&set);
    return taken;
}

uint8_t *fuzz_seed(size_t i, size_t *n)
{
    static const char *const seeds[] = {
        "@Version:0.9.1\n@SampleID:gut\n@@SEQUENCEID\tBINID\t_LENGTH\n"
        "contig|1\tbins/a.fa\t25096\ncontig|2\tbins/a.fa\t7\ncontig|3\tbins/b.fa\t1\n",
        "@SampleID:a\n@@SEQUENCEID\tBINID\tTAXID\tLENGTH\nx\t1\t562\t100\ny\t2\t\t200\n"
        "@SampleID:b\n@@BINID\tSEQUENCEID\n1\tx\n1\tx\n2\tx\n",
        "# by hand\n\n@Version:0.10.0\r\n@Ploidy:1\r\n@@sequenceid\tbinid\r\nx\tz\r\ny\t\r\n",
        "@@SEQUENCEID\tBINID\n",
    };

    if (i >= sizeof(seeds) / sizeof(*seeds))
        return NULL;
    *n = strlen(seeds[i]);
    return (uint8_t *)dnas_xstrndup(seeds[i], *n);
}

size_t fuzz_mend(uint8_t *data, size_t n, size_t max)
{
    (void)data, (void)max;
    return n;
}
