/* SPDX-License-Identifier: MIT
 *
 * binning_text.c - scores and tables of a binning.  Contract: binning_text.h.
 */
#include "common/binning_text.h"

#include <math.h>
#include <stdlib.h>

static const char *const units[] = {"bp", "seq"};

void dnas_binning_amber_scores(struct dnas_scores *s, const struct dnas_binning *b)
{
    static const int complete[] = {50, 70, 90}, foreign[] = {10, 5};

    for (int u = 0; u < 2; u++) {
        const struct dnas_amber *a = &b->amber[u];

        dnas_scores_real(s, a->binned, "amber_binned_%s", units[u]);
        dnas_scores_real(s, a->purity, "amber_purity_%s", units[u]);
        dnas_scores_real(s, a->completeness, "amber_completeness_%s", units[u]);
        dnas_scores_real(s, a->f1, "amber_f1_%s", units[u]);
        dnas_scores_real(s, a->completeness_cami1, "amber_completeness_cami1_%s", units[u]);
        dnas_scores_real(s, a->f1_cami1, "amber_f1_cami1_%s", units[u]);
        dnas_scores_real(s, a->purity_weighted, "amber_purity_weighted_%s", units[u]);
        dnas_scores_real(s, a->completeness_weighted, "amber_completeness_weighted_%s", units[u]);
        dnas_scores_real(s, a->f1_weighted, "amber_f1_weighted_%s", units[u]);
        dnas_scores_real(s, a->accuracy, "amber_accuracy_%s", units[u]);
        dnas_scores_real(s, a->rand, "amber_rand_%s", units[u]);
        dnas_scores_real(s, a->ari, "amber_ari_%s", units[u]);
    }
    for (int c = 0; c < 3; c++)
        for (int f = 0; f < 2; f++) {
            if (b->has_lengths)
                dnas_scores_count(s, b->recovered[c][f], "amber_bins_complete_%d_foreign_%d",
                                  complete[c], foreign[f]);
            else
                dnas_scores_real(s, NAN, "amber_bins_complete_%d_foreign_%d", complete[c],
                                 foreign[f]);
        }
}

void dnas_binning_paired_scores(struct dnas_scores *s, const struct dnas_binning *b,
                                enum dnas_counted counted)
{
    const struct dnas_paired *p = &b->paired[counted];
    const char *whose = counted == DNAS_COUNT_BINNED ? "dnaberts_binned" : "dnaberts_whole";

    dnas_scores_count(s, p->n_species, "%s_species", whose);
    for (int k = 0; k < DNAS_N_THRESHOLDS; k++)
        dnas_scores_count(s, p->f1_above[k], "%s_f1_above_0.%d", whose, k + 1);
    for (int k = 0; k < DNAS_N_THRESHOLDS; k++)
        dnas_scores_count(s, p->recall_above[k], "%s_recall_above_0.%d", whose, k + 1);
    dnas_scores_real(s, p->ari, "%s_ari", whose);
}

/* One line of a table from its cells, with the names before if wanted. */
static void append_line(struct dnas_text *t, struct dnas_scores *line, bool with_names,
                        bool with_values)
{
    if (with_names)
        dnas_scores_names(t, line);
    if (with_values)
        dnas_scores_values(t, line, false);
    line->n = 0;
}

/* Purity, completeness and F1 of what a bin and a genome share, in both units. */
static void add_measures(struct dnas_scores *line, const uint64_t shared[2], const uint64_t bin[2],
                         const uint64_t genome[2], bool has_lengths)
{
    for (int u = 0; u < 2; u++) {
        bool known = u == DNAS_IN_SEQUENCES || has_lengths;
        double purity = known ? dnas_share(shared[u], bin[u]) : NAN;
        double completeness = known ? dnas_share(shared[u], genome[u]) : NAN;

        dnas_scores_real(line, purity, "amber_purity_%s", units[u]);
        dnas_scores_real(line, completeness, "amber_completeness_%s", units[u]);
        dnas_scores_real(line, dnas_harmonic_mean(purity, completeness), "amber_f1_%s", units[u]);
    }
}

static void add_size(struct dnas_scores *line, const uint64_t size[2], bool has_lengths)
{
    dnas_scores_count(line, size[DNAS_IN_SEQUENCES], "sequences");
    if (has_lengths)
        dnas_scores_count(line, size[DNAS_IN_BP], "bp");
    else
        dnas_scores_real(line, NAN, "bp");
}

/* The columns of a bin; of none (i beyond the last) only their names matter. */
static void bin_line(struct dnas_scores *line, const struct dnas_binning *b,
                     const struct dnas_binning_sample *s, uint32_t i)
{
    static const struct dnas_bin_score none = {.genome = DNAS_NO_GROUP, .partner = DNAS_NO_GROUP};
    static const uint64_t no_size[2];
    bool is_there = i < b->n_bins;
    const struct dnas_bin_score *bin = is_there ? &b->bin[i] : &none;
    bool has_genome = bin->genome != DNAS_NO_GROUP, has_partner = bin->partner != DNAS_NO_GROUP;

    dnas_scores_text(line, is_there ? dnas_binning_bin_name(s, i) : "", "bin");
    add_size(line, bin->size, b->has_lengths);
    dnas_scores_text(line, has_genome ? dnas_binning_genome_name(s, bin->genome) : "",
                     "amber_genome");
    add_measures(line, bin->of_genome, bin->size,
                 has_genome ? b->genome[bin->genome].size : no_size, b->has_lengths);
    dnas_scores_text(line, has_partner ? dnas_binning_genome_name(s, bin->partner) : "",
                     "dnaberts_species");
    dnas_scores_count(line, has_partner ? b->genome[bin->partner].n_shared : 0, "dnaberts_shared");
}

void dnas_binning_bins_table(struct dnas_text *t, const struct dnas_binning *b,
                             const struct dnas_binning_sample *s, bool with_names, bool with_sample)
{
    struct dnas_scores line = {0};

    for (uint32_t i = with_names ? UINT32_MAX : 0; i == UINT32_MAX || i < b->n_bins; i++) {
        if (with_sample)
            dnas_scores_text(&line, s->name, "sample");
        bin_line(&line, b, s, i);
        append_line(t, &line, i == UINT32_MAX, i != UINT32_MAX);
    }
    free(line.score);
}

static void genome_line(struct dnas_scores *line, const struct dnas_binning *b,
                        const struct dnas_binning_sample *s, uint32_t i)
{
    static const struct dnas_genome_score none = {.bin = DNAS_NO_GROUP, .partner = DNAS_NO_GROUP};
    static const uint64_t no_size[2];
    bool is_there = i < b->n_genomes;
    const struct dnas_genome_score *g = is_there ? &b->genome[i] : &none;
    bool has_bin = g->bin != DNAS_NO_GROUP, has_partner = g->partner != DNAS_NO_GROUP;
    uint64_t n_partner = has_partner ? b->bin[g->partner].size[DNAS_IN_SEQUENCES] : 0;
    uint64_t n = g->size[DNAS_IN_SEQUENCES];

    dnas_scores_text(line, is_there ? dnas_binning_genome_name(s, i) : "", "genome");
    add_size(line, g->size, b->has_lengths);
    dnas_scores_count(line, g->n_binned, "sequences_binned");
    dnas_scores_text(line, has_bin ? dnas_binning_bin_name(s, g->bin) : "", "amber_bin");
    add_measures(line, g->in_bin, has_bin ? b->bin[g->bin].size : no_size, g->size, b->has_lengths);
    dnas_scores_text(line, has_partner ? dnas_binning_bin_name(s, g->partner) : "", "dnaberts_bin");
    dnas_scores_count(line, g->n_shared, "dnaberts_shared");
    dnas_scores_real(line, dnas_share(2 * g->n_shared, g->n_binned + n_partner),
                     "dnaberts_binned_f1");
    dnas_scores_real(line, dnas_share(g->n_shared, g->n_binned), "dnaberts_binned_recall");
    dnas_scores_real(line, dnas_share(2 * g->n_shared, n + n_partner), "dnaberts_whole_f1");
    dnas_scores_real(line, dnas_share(g->n_shared, n), "dnaberts_whole_recall");
}

void dnas_binning_genomes_table(struct dnas_text *t, const struct dnas_binning *b,
                                const struct dnas_binning_sample *s, bool with_names,
                                bool with_sample)
{
    struct dnas_scores line = {0};

    for (uint32_t i = with_names ? UINT32_MAX : 0; i == UINT32_MAX || i < b->n_genomes; i++) {
        if (with_sample)
            dnas_scores_text(&line, s->name, "sample");
        genome_line(&line, b, s, i);
        append_line(t, &line, i == UINT32_MAX, i != UINT32_MAX);
    }
    free(line.score);
}
