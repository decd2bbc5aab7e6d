/* SPDX-License-Identifier: MIT
 *
 * dnas-kmedoid-bin - bin embeddings by DNABERT-S's modified k-medoid algorithm.
 *
 * In:  EMBEDDINGS
 * Out: LABELS; files of bins for other programs
 */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>

#include "common/bins.h"
#include "common/embeddings.h"
#include "common/kmeans.h"
#include "common/kmedoid.h"
#include "common/msg.h"
#include "common/opt.h"
#include "common/xmem.h"

static const char *const compats[] = {"none", "dnabert-s", NULL};
enum compat { COMPAT_NONE, COMPAT_DNABERT_S };

#define DNABERT_S_ROUNDS 1000

struct bin {
    struct dnas_common common;
    struct dnas_bins_opt files;
    double threshold; /* above 1e30: not given */
    const char *threshold_from;
    double percentile; /* below 0: not given */
    int64_t min_bin_size, max_rounds;
    int compat;
    bool no_normalise;
    int format;
    struct dnas_embeddings e;
};

#define NO_THRESHOLD 2e30
#define PERCENTILE 70

static bool is_given(double threshold)
{
    return threshold < 1e30;
}

static size_t normalise(const struct bin *b, struct dnas_embeddings *e)
{
    return b->no_normalise ? 0 : dnas_kmeans_unit_rows(e->x, e->N, e->C, (int)b->common.threads);
}

/* The threshold that the labelled rows of a file give. */
static int threshold_from_file(double *threshold, const struct bin *b, struct dnas_err *err)
{
    struct dnas_embeddings l;
    int32_t *classes = NULL;
    int status = dnas_embeddings_load(&l, b->threshold_from, err);

    if (status == 0)
        status = dnas_embeddings_comparable(&b->e, &l, b->threshold_from, err);
    if (status == 0) {
        size_t n_classes;

        classes = dnas_xalloc(l.N, sizeof(*classes));
        n_classes = dnas_embeddings_classes(&l, classes, NULL);
        normalise(b, &l);
        status =
            dnas_kmedoid_threshold_labelled(threshold, l.x, classes, l.N, l.C, n_classes,
                                            b->percentile < 0 ? PERCENTILE : b->percentile, err);
        if (status != 0)
            dnas_err_at(err, "%s: ", b->threshold_from);
    }
    free(classes);
    dnas_embeddings_release(&l);
    return status;
}

static int choose_threshold(double *threshold, const struct bin *b, struct dnas_err *err)
{
    *threshold = b->threshold;
    if (is_given(b->threshold))
        return 0;
    if (b->threshold_from) {
        if (threshold_from_file(threshold, b, err) != 0)
            return -1;
    } else if (b->e.N < 2) {
        *threshold = 1; /* too few rows for a bin of two: any threshold gives the same */
        return 0;
    } else if (dnas_kmedoid_threshold_guess(threshold, b->e.x, b->e.N, b->e.C,
                                            (size_t)b->min_bin_size - 1, (int)b->common.threads,
                                            err) != 0) {
        return -1;
    }
    return 0;
}

static void say(const struct bin *b, const struct dnas_kmedoid *km, double threshold, size_t n_zero)
{
    size_t n_binned = 0;

    for (size_t i = 0; i < km->N; i++)
        n_binned += km->label[i] >= 0;
    if (n_zero > 0)
        dnas_msg_warn("%zu rows are all zero: they have no direction and are like no others",
                      n_zero);
    dnas_msg_verbose("%.3g %% of all pairs reach the threshold; %zu bins were smaller than %lld",
                     km->N > 0 ? 100. * (double)km->n_pairs / ((double)km->N * (double)km->N) : 0,
                     km->n_small, (long long)b->min_bin_size);
    dnas_msg_note("threshold %.9g: %zu bins hold %zu of %zu sequences; %" PRIu64 " rounds%s",
                  threshold, km->n_bins, n_binned, km->N, km->n_rounds,
                  km->limited ? ", the limit: sequences are left that were not looked at (see "
                                "--max-rounds)"
                              : "");
    dnas_msg_closing(km->N, "sequences");
}

/* The files for other programs, then LABELS. */
static int write_results(struct bin *b, const struct dnas_kmedoid *km, struct dnas_bins_out *files,
                         const struct dnas_tool *tool, struct dnas_err *err)
{
    struct dnas_binned binned = dnas_binned_embeddings(&b->e, km->label, km->score);

    if (dnas_bins_out_write(files, &binned, err) != 0)
        return -1;
    return dnas_labels_write(&b->e, km->label, km->score, (enum dnas_labels_format)b->format, tool,
                             &b->common, NULL, err);
}

static int run(struct bin *b, const struct dnas_tool *tool, const char *path, struct dnas_err *err)
{
    struct dnas_kmedoid_options o = {.min_bin_size = (size_t)b->min_bin_size,
                                     .max_rounds = b->max_rounds < 0 ? 0 : (uint64_t)b->max_rounds,
                                     .as_dnabert_s = b->compat == COMPAT_DNABERT_S,
                                     .n_threads = (int)b->common.threads};
    struct dnas_bins_out *files = dnas_bins_out_open(&b->files, err);
    struct dnas_kmedoid km = {0};
    size_t n_zero;
    int status = -1;

    if (!files)
        return -1;
    if (o.as_dnabert_s && b->max_rounds < 0)
        o.max_rounds = DNABERT_S_ROUNDS;
    if (dnas_embeddings_load(&b->e, path, err) == 0) {
        n_zero = normalise(b, &b->e);
        if (choose_threshold(&o.threshold, b, err) == 0 &&
            dnas_kmedoid_run(&km, b->e.x, b->e.N, b->e.C, &o, err) == 0) {
            status = write_results(b, &km, files, tool, err);
            files = NULL;
        }
        if (status == 0)
            say(b, &km, o.threshold, n_zero);
    }
    dnas_bins_out_abandon(files);
    dnas_kmedoid_release(&km);
    return status;
}

/* What the table of options cannot check.  -1 to go on, or the exit status. */
static int check(const struct bin *b)
{
    if (is_given(b->threshold) && b->threshold_from)
        return dnas_usage_error("--threshold and --threshold-from are two ways: give one");
    if (b->percentile >= 0 && !b->threshold_from)
        return dnas_usage_error("--percentile is for --threshold-from: give that too");
    return dnas_bins_opt_check(&b->files);
}

int main(int argc, char **argv)
{
    struct bin b = {.threshold = NO_THRESHOLD,
                    .percentile = -1,
                    .min_bin_size = 10,
                    .max_rounds = -1,
                    .files = {.sample_id = "sample"}};
    const struct dnas_opt opts[] = {
        {0, "threshold", "X", DNAS_OPT_REAL, &b.threshold, -1e30, 1e30, NULL,
         "call rows alike whose cosine is X or more"},
        {0, "threshold-from", "FILE", DNAS_OPT_TEXT, &b.threshold_from, 0, 0, NULL,
         "take the threshold from the labelled EMBEDDINGS in FILE"},
        {0, "percentile", "P", DNAS_OPT_REAL, &b.percentile, 0, 100, NULL,
         "with --threshold-from, the similarity that P % of rows are below (70)"},
        {0, "min-bin-size", "N", DNAS_OPT_INT, &b.min_bin_size, 1, 1e9, NULL,
         "leave bins of fewer than N sequences out"},
        {0, "max-rounds", "N", DNAS_OPT_INT, &b.max_rounds, 1, 2e9, NULL,
         "stop after N rounds, not when no sequence is left to try"},
        {0, "compat", "PROGRAM", DNAS_OPT_CHOICE, &b.compat, 0, 0, compats,
         "do as another program does: DNABERT-S's evaluation, of 1000 rounds"},
        {0, "no-normalise", NULL, DNAS_OPT_FLAG, &b.no_normalise, 0, 0, NULL,
         "leave the lengths of the embeddings as they are"},
        DNAS_BINS_OPTIONS(b.files),
        {0, "format", "FORMAT", DNAS_OPT_CHOICE, &b.format, 0, 0, dnas_labels_formats,
         "write a stream, tsv or json; auto is tsv on a terminal"},
        {0},
    };
    const struct dnas_tool tool = {
        .name = "dnas-kmedoid-bin",
        .summary = "bin embeddings by DNABERT-S's modified k-medoid algorithm",
        .operands = "[FILE]",
        .max_operands = 1,
        .writes_stream = true,
        .opts = opts,
        .example = "dnas-kmedoid-bin --contig2bin bins.tsv emb.dnas > bins.dnas",
    };
    struct dnas_err err = {""};
    char **paths;
    int n_paths, status;

    dnas_start(argv);
    status = dnas_opt_parse(&tool, &b.common, argc, argv, &paths, &n_paths);
    if (status < 0)
        status = check(&b);
    if (status < 0)
        status = dnas_status(run(&b, &tool, n_paths > 0 ? paths[0] : NULL, &err), &err);
    dnas_embeddings_release(&b.e);
    free(b.common.command_line);
    return dnas_finish(status);
}
