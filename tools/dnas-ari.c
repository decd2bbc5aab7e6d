/* SPDX-License-Identifier: MIT
 *
 * dnas-ari - score a clustering or a binning against the truth.
 *
 * In:  LABELS, as a stream or TSV; bins in bioboxes' format; the truth, as a
 *      column, a TSV or in bioboxes' format
 * Out: a TSV, the names of the scores and a line of values for each sample
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/ari.h"
#include "common/binning_text.h"
#include "common/msg.h"
#include "common/opt.h"
#include "common/xmem.h"

static const char *const treatments[] = {"left-out", "alone", NULL};
static const char *const families[] = {"none",  "dnabert-s", "dnabert-s-whole",
                                       "amber", "all",       NULL};
enum family { NONE, DNABERT_S, DNABERT_S_WHOLE, AMBER, ALL };

struct ari {
    struct dnas_common common;
    const char *truth, *per_bin, *per_genome;
    bool json;
    int unclustered, binning;
    struct dnas_binning_set set;
    struct dnas_text scores, bins, genomes;
};

static void add_agreement(struct dnas_scores *s, const struct dnas_agreement *a)
{
    dnas_scores_count(s, a->n_rows, "rows");
    dnas_scores_real(s, a->clustered, "clustered");
    dnas_scores_count(s, a->n_clusters, "clusters");
    dnas_scores_count(s, a->n_classes, "classes");
    dnas_scores_real(s, a->ari, "ari");
    dnas_scores_real(s, a->nmi, "nmi");
    dnas_scores_real(s, a->ami, "ami");
    dnas_scores_real(s, a->homogeneity, "homogeneity");
    dnas_scores_real(s, a->completeness, "completeness");
    dnas_scores_real(s, a->v_measure, "v_measure");
    dnas_scores_real(s, a->purity, "purity");
}

/* A sample as a clustering. */
static int score_clusters(struct dnas_scores *s, const struct ari *a,
                          const struct dnas_binning_sample *sample, struct dnas_err *err)
{
    struct dnas_agreement agreement;
    int32_t *cluster = NULL;
    uint32_t *class = NULL;
    size_t N;
    int status = dnas_binning_sample_clusters(&cluster, &class, &N, &a->set, sample, err);

    if (status == 0)
        status = dnas_agreement_compute(&agreement, cluster, class, N,
                                        (enum dnas_unclustered)a->unclustered, err);
    if (status == 0)
        add_agreement(s, &agreement);
    free(cluster);
    free(class);
    return status;
}

/* A sample as a binning. */
static void score_bins(struct dnas_scores *s, struct ari *a,
                       const struct dnas_binning_sample *sample)
{
    bool is_first = sample == a->set.samples, is_named = a->set.is_named;
    struct dnas_binning_input in = dnas_binning_sample_input(sample);
    struct dnas_binning b;

    dnas_binning_compute(&b, &in);
    dnas_scores_count(s, b.n_sequences, "sequences");
    dnas_scores_count(s, b.n_binned, "sequences_binned");
    dnas_scores_count(s, b.n_bins, "bins");
    dnas_scores_count(s, b.n_genomes, "genomes");
    if (a->binning == DNABERT_S || a->binning == ALL)
        dnas_binning_paired_scores(s, &b, DNAS_COUNT_BINNED);
    if (a->binning == DNABERT_S_WHOLE || a->binning == ALL)
        dnas_binning_paired_scores(s, &b, DNAS_COUNT_WHOLE);
    if (a->binning == AMBER || a->binning == ALL)
        dnas_binning_amber_scores(s, &b);
    if (a->per_bin)
        dnas_binning_bins_table(&a->bins, &b, sample, is_first, is_named);
    if (a->per_genome)
        dnas_binning_genomes_table(&a->genomes, &b, sample, is_first, is_named);
    dnas_binning_release(&b);
}

/* Says what of the input is not in the scores, or may be so by mistake. */
static int check_set(const struct ari *a, const char *path, struct dnas_err *err)
{
    const struct dnas_binning_set *set = &a->set;
    size_t n_unknown = 0;

    for (size_t i = 0; i < set->n_samples; i++)
        n_unknown += !set->samples[i].has_lengths && set->samples[i].n_sequences > 0;
    if (set->n_unlabelled > 0)
        dnas_msg_warn("%" PRIu64 " rows have no true label and are left out", set->n_unlabelled);
    if (set->n_rows > 0 && set->n_unlabelled == set->n_rows)
        return dnas_err_set(err,
                            "no row has a true label: use --truth, or --labels when embedding");
    if (set->n_repeated > 0)
        dnas_msg_warn("%" PRIu64 " rows say again what others said, and count once",
                      set->n_repeated);
    if (set->n_absent > 0)
        dnas_msg_warn("%zu samples of %s are not in %s: nothing of them is binned", set->n_absent,
                      a->truth, path ? path : "standard input");
    if (n_unknown > 0 && (a->binning == AMBER || a->binning == ALL))
        dnas_msg_warn("lengths are not known of all sequences, so there are no scores in bp: they "
                      "come from length_bp, or a column LENGTH of --truth");
    return 0;
}

static int score(struct ari *a, struct dnas_err *err)
{
    struct dnas_scores s = {0};
    int status = 0;

    for (size_t i = 0; status == 0 && i < a->set.n_samples; i++) {
        const struct dnas_binning_sample *sample = &a->set.samples[i];

        s.n = 0;
        if (a->set.is_named)
            dnas_scores_text(&s, sample->name, "sample");
        if (a->binning == NONE)
            status = score_clusters(&s, a, sample, err);
        else
            score_bins(&s, a, sample);
        if (i == 0 && !a->json)
            dnas_scores_names(&a->scores, &s);
        dnas_scores_values(&a->scores, &s, a->json);
    }
    free(s.score);
    return status;
}

static int run(struct ari *a, const char *path, struct dnas_err *err)
{
    if (dnas_binning_set_load(&a->set, path, a->truth, err) != 0 || check_set(a, path, err) != 0 ||
        score(a, err) != 0)
        return -1;
    if (a->per_bin && dnas_write_file(a->per_bin, a->bins.data, a->bins.n, err) != 0)
        return -1;
    if (a->per_genome && dnas_write_file(a->per_genome, a->genomes.data, a->genomes.n, err) != 0)
        return -1;
    if (dnas_write_file(a->common.output, a->scores.data, a->scores.n, err) != 0)
        return -1;
    dnas_msg_closing(a->set.n_rows, "rows");
    return 0;
}

int main(int argc, char **argv)
{
    struct ari a = {.truth = NULL};
    const struct dnas_opt opts[] = {
        {0, "truth", "FILE", DNAS_OPT_TEXT, &a.truth, 0, 0, NULL,
         "take the true labels from a TSV of id and label, or in bioboxes' format"},
        {0, "unclustered", "HOW", DNAS_OPT_CHOICE, &a.unclustered, 0, 0, treatments,
         "rows in no cluster: left-out, or alone, each a cluster of its own"},
        {0, "binning", "MEASURES", DNAS_OPT_CHOICE, &a.binning, 0, 0, families,
         "score bins by measures of DNABERT-S and AMBER"},
        {0, "per-bin", "FILE", DNAS_OPT_TEXT, &a.per_bin, 0, 0, NULL,
         "write a table of the bins to FILE"},
        {0, "per-genome", "FILE", DNAS_OPT_TEXT, &a.per_genome, 0, 0, NULL,
         "write a table of the genomes to FILE"},
        {0, "json", NULL, DNAS_OPT_FLAG, &a.json, 0, 0, NULL,
         "print a JSON object, one a line for several samples"},
        {0},
    };
    const struct dnas_tool tool = {
        .name = "dnas-ari",
        .summary = "score a clustering or a binning against the truth",
        .operands = "[FILE]",
        .max_operands = 1,
        .opts = opts,
        .example = "dnas-ari --truth species.tsv clusters.dnas",
    };
    struct dnas_err err = {""};
    char **paths;
    int n_paths, status;

    dnas_start(argv);
    status = dnas_opt_parse(&tool, &a.common, argc, argv, &paths, &n_paths);
    if (status < 0 && a.binning == NONE && (a.per_bin || a.per_genome))
        status = dnas_usage_error("--per-bin and --per-genome need --binning");
    if (status < 0)
        status = dnas_status(run(&a, n_paths > 0 ? paths[0] : NULL, &err), &err);
    dnas_binning_set_release(&a.set);
    free(a.scores.data);
    free(a.bins.data);
    free(a.genomes.data);
    free(a.common.command_line);
    return dnas_finish(status);
}
