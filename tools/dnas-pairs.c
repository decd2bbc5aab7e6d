/* SPDX-License-Identifier: MIT
 *
 * dnas-pairs - pairs of sequences of one species, to train by.
 *
 * In:  genomes as FASTA, FASTQ or tables
 * Out: PAIRS; with --benchmark labelled FASTA
 */
#include <inttypes.h>
#include <stdlib.h>

#include "common/benchmark.h"
#include "common/msg.h"
#include "common/opt.h"
#include "common/pairs.h"
#include "common/provenance.h"
#include "common/xmem.h"

#define DEFAULT_PAIRS 10000
#define DEFAULT_RATE 0.05
#define MAX_PER_SPECIES 100000000
#define NAMES_BYTES 600 /* of the species that a warning names */

static const char *const positives[] = {"species", "dropout", "strand", "mutation", NULL};
static const char *const balances[] = {"species", "size", NULL};
static const char *const validate_bys[] = {"pair", "species", NULL};
static const char *const strands[] = {"both", "forward", NULL};
static const char *const compats[] = {"none", "dnabert-s", NULL};

struct pairs {
    struct dnas_common common;
    int64_t n_pairs, seed;
    const char *length, *species, *benchmark;
    int positives, balance, validate_by, strand, profile, compat;
    double validation, rate;
    bool allow_duplicate_ids;
    struct dnas_range length_bp, per_species;
    struct dnas_labels labels;
    struct dnas_genomes genomes;
};

/* ---- what is said ---- */

static void say_skipped(const struct pairs *k, const struct dnas_species_list *skipped,
                        const char *why)
{
    struct dnas_text names = {0};
    size_t n = 0;

    for (; n < skipped->n && names.n < NAMES_BYTES; n++)
        dnas_text_printf(&names, "%s%s", n ? ", " : "",
                         dnas_genomes_species_name(&k->genomes, skipped->v[n]));
    if (n < skipped->n)
        dnas_text_printf(&names, " and %zu more", skipped->n - n);
    if (skipped->n > 0)
        dnas_msg_warn("%zu of %zu species skipped, %s: %s", skipped->n, k->genomes.n_species, why,
                      names.data);
    free(names.data);
}

static void say_left_out(const struct pairs *k)
{
    const struct dnas_genomes *g = &k->genomes;

    if (g->n_strange > 0)
        dnas_msg_warn("%" PRIu64 " sequences are not in %s and are left out, '%.200s' first",
                      g->n_strange, k->species, g->strange);
    if (g->n_short > 0)
        dnas_msg_note("%" PRIu64 " of %" PRIu64 " sequences are shorter than %" PRIu32
                      " letters and not used",
                      g->n_short, g->n_records, k->length_bp.low);
}

/* Where nothing at all can be drawn. */
static int check_index(const struct pairs *k, char *const *paths, int n_paths, struct dnas_err *err)
{
    const struct dnas_genomes *g = &k->genomes;

    if (g->n_seqs > 0)
        return 0;
    if (g->n_records == 0 && n_paths > 1)
        return dnas_err_set(err, "%s: holds no sequence, and nor do the %d files after it",
                            paths[0], n_paths - 1);
    if (g->n_records == 0)
        return dnas_err_set(err, "%s: holds no sequence",
                            n_paths == 1 ? paths[0] : "standard input");
    if (g->n_strange > 0)
        return dnas_err_set(err,
                            "%s: names the species of no sequence that is long enough, "
                            "'%.200s' for one: is its first column the name up to the first "
                            "white space?",
                            k->species, g->strange);
    return dnas_err_set(
        err, "none of %" PRIu64 " sequences has %" PRIu32 " letters; try a shorter --length",
        g->n_records, k->length_bp.low);
}

/* ---- runs ---- */

/* Takes out, also on an error. */
static int make_benchmark(struct pairs *k, struct dnas_out *out, struct dnas_err *err)
{
    struct dnas_benchmark b = {.per_species = k->per_species,
                               .length = k->length_bp,
                               .both_strands = k->strand == 0,
                               .seed = (uint64_t)k->seed,
                               .n_threads = (int)k->common.threads};
    int status = dnas_benchmark_run(&b, &k->genomes, out, err);

    if (status == 0)
        status = dnas_out_commit(out, err);
    else
        dnas_out_abandon(out, false);
    if (status == 0) {
        say_left_out(k);
        say_skipped(k, &b.skipped, "without room for that many sequences");
        dnas_msg_verbose("%zu species", b.n_species);
        dnas_msg_closing(b.n_sequences, "sequences");
    }
    free(b.skipped.v);
    return status;
}

static struct dnas_pairs options_of(const struct pairs *k)
{
    bool is_compat = k->compat != 0;

    return (struct dnas_pairs){.n_pairs = (uint64_t)(k->n_pairs < 0 ? DEFAULT_PAIRS : k->n_pairs),
                               .length = k->length_bp,
                               .both_strands = k->strand == 0,
                               .positives = (enum dnas_positives)k->positives,
                               .balance = (enum dnas_balance)(k->balance < 0 ? 0 : k->balance),
                               .validation = k->validation < 0 ? 0 : k->validation,
                               .validate_by =
                                   (enum dnas_validate_by)(k->validate_by < 0 ? 0 : k->validate_by),
                               .rate = k->rate < 0 ? DEFAULT_RATE : k->rate,
                               .profile = k->profile >= 0 ? (enum dnas_profile)k->profile
                                          : is_compat     ? DNAS_PROFILE_DELETION
                                                          : DNAS_PROFILE_EVEN,
                               .complement_only = is_compat,
                               .seed = (uint64_t)k->seed,
                               .n_threads = (int)k->common.threads};
}

/* Begins the stream, and so refuses a terminal before the genomes are read.
 * Takes out, also on an error. */
static struct dnas_writer *open_writer(const struct pairs *k, const struct dnas_tool *tool,
                                       struct dnas_out *out, struct dnas_err *err)
{
    const struct dnas_writer_options options = {.zstd_level = (int)k->common.zstd_level};
    struct dnas_header h;
    struct dnas_writer *w;

    dnas_pairs_header(&h);
    dnas_provenance_add(&h, NULL, tool, &k->common, &k->seed);
    w = dnas_writer_new(out, &h, &options, err);
    dnas_header_release(&h);
    return w;
}

/* Takes w, also on an error. */
static int make_pairs(struct pairs *k, struct dnas_writer *w, struct dnas_err *err)
{
    struct dnas_pairs p = options_of(k);
    int status = dnas_pairs_run(&p, &k->genomes, w, err);

    if (status == 0)
        status = dnas_writer_finish(w, err);
    else
        dnas_writer_abandon(w, false);
    if (status == 0) {
        say_left_out(k);
        say_skipped(k, &p.skipped,
                    dnas_pairs_windows_needed(&p) == 1
                        ? "without a window"
                        : "with fewer than two windows that do not overlap");
        dnas_msg_verbose("%zu species, %" PRIu64 " pairs of validation",
                         k->genomes.n_species - p.skipped.n, p.n_validation);
        dnas_msg_closing(p.n_pairs, "pairs");
    }
    free(p.skipped.v);
    return status;
}

static int index_genomes(struct pairs *k, char **paths, int n_paths, struct dnas_err *err)
{
    const struct dnas_genomes_options o = {.min_length_bp = k->length_bp.low,
                                           .labels = k->species ? &k->labels : NULL,
                                           .allow_duplicate_ids = k->allow_duplicate_ids,
                                           .n_threads = (int)k->common.threads};

    if (dnas_genomes_index(&k->genomes, paths, n_paths, &o, err) != 0)
        return -1;
    return check_index(k, paths, n_paths, err);
}

static int run(struct pairs *k, const struct dnas_tool *tool, char **paths, int n_paths,
               struct dnas_err *err)
{
    struct dnas_out *out;
    struct dnas_writer *w = NULL;

    if (k->species && dnas_labels_load(&k->labels, k->species, err) != 0)
        return -1;
    out = dnas_out_open(k->common.output, false, err);
    if (out && !k->benchmark) {
        w = open_writer(k, tool, out, err);
        out = NULL; /* the writer has it */
    }
    if (!out && !w)
        return -1;
    if (index_genomes(k, paths, n_paths, err) != 0) {
        dnas_writer_abandon(w, false);
        dnas_out_abandon(out, false);
        return -1;
    }
    return k->benchmark ? make_benchmark(k, out, err) : make_pairs(k, w, err);
}

/* What the table of options cannot check.  -1 to go on, or the exit status. */
static int check(struct pairs *k)
{
    bool mutates = k->positives == DNAS_POSITIVES_MUTATION;

    if (!dnas_range_parse(&k->length_bp, k->length, DNAS_PAIRS_MAX_WINDOW_BP))
        return dnas_usage_error("--length takes a number of letters from 1 to %d, or two as in "
                                "2000-20000, not '%s'",
                                DNAS_PAIRS_MAX_WINDOW_BP, k->length);
    if (!mutates && (k->rate >= 0 || k->profile >= 0))
        return dnas_usage_error("--rate and --profile are for --positives mutation");
    if (k->validate_by >= 0 && k->validation < 0)
        return dnas_usage_error("--validate-by needs --validation");
    if (!k->benchmark)
        return -1;
    if (!dnas_range_parse(&k->per_species, k->benchmark, MAX_PER_SPECIES))
        return dnas_usage_error("--benchmark takes a number of sequences from 1 to %d, or two as "
                                "in 10-800, not '%s'",
                                MAX_PER_SPECIES, k->benchmark);
    if (k->n_pairs >= 0 || k->positives != 0 || k->balance >= 0 || k->validation >= 0 ||
        k->compat != 0)
        return dnas_usage_error("--benchmark makes no pairs: no --pairs, --positives, --balance, "
                                "--validation or --compat");
    if (k->common.zstd_level)
        return dnas_usage_error("--benchmark writes FASTA: pipe it through zstd instead of --zstd");
    return -1;
}

int main(int argc, char **argv)
{
    struct pairs k = {.n_pairs = -1,
                      .length = "10000",
                      .balance = -1,
                      .validate_by = -1,
                      .profile = -1,
                      .validation = -1,
                      .rate = -1};
    const struct dnas_opt opts[] = {
        {'n', "pairs", "N", DNAS_OPT_INT, &k.n_pairs, 1, 4294967295.0, NULL,
         "draw N pairs [10000]"},
        {0, "length", "RANGE", DNAS_OPT_TEXT, &k.length, 0, 0, NULL,
         "letters of a window: one number, or two, drawn log-uniformly"},
        {0, "species", "FILE", DNAS_OPT_TEXT, &k.species, 0, 0, NULL,
         "take species from a TSV of sequence and species"},
        {0, "positives", "KIND", DNAS_OPT_CHOICE, &k.positives, 0, 0, positives,
         "pair two windows of a species, or one with itself in another guise"},
        {0, "balance", "HOW", DNAS_OPT_CHOICE, &k.balance, 0, 0, balances,
         "draw species equally often, or by their size [species]"},
        {0, "strand", "WHICH", DNAS_OPT_CHOICE, &k.strand, 0, 0, strands,
         "draw each window from either strand, or as it stands in the file"},
        {0, "validation", "FRACTION", DNAS_OPT_REAL, &k.validation, 0, 1, NULL,
         "mark this share as validation [0]"},
        {0, "validate-by", "WHAT", DNAS_OPT_CHOICE, &k.validate_by, 0, 0, validate_bys,
         "the share is one of pairs, or of species [pair]"},
        {0, "rate", "RATE", DNAS_OPT_REAL, &k.rate, 0, 0.9, NULL,
         "errors a letter, for --positives mutation [0.05]"},
        {0, "profile", "PROFILE", DNAS_OPT_CHOICE, &k.profile, 0, 0, dnas_profile_names,
         "what errors there are [even]"},
        {0, "compat", "WHOSE", DNAS_OPT_CHOICE, &k.compat, 0, 0, compats,
         "complement without reversing and only delete, as DNABERT-S does"},
        {0, "benchmark", "RANGE", DNAS_OPT_TEXT, &k.benchmark, 0, 0, NULL,
         "write so many sequences a species as labelled FASTA instead of pairs"},
        {0, "allow-duplicate-ids", NULL, DNAS_OPT_FLAG, &k.allow_duplicate_ids, 0, 0, NULL,
         "let two sequences of a file have one name"},
        {'s', "seed", "N", DNAS_OPT_INT, &k.seed, 0, 9007199254740992.0, NULL, "draw with seed N"},
        {0},
    };
    const struct dnas_tool tool = {
        .name = "dnas-pairs",
        .summary = "draw pairs of sequences of one species from genomes",
        .operands = "[FILE...]",
        .max_operands = -1,
        .writes_stream = true,
        .opts = opts,
        .example = "dnas-pairs -n 100000 --validation 0.05 genomes/*.fa.gz > pairs.dnas",
    };
    struct dnas_err err = {""};
    char **paths;
    int n_paths, status;

    dnas_start(argv);
    status = dnas_opt_parse(&tool, &k.common, argc, argv, &paths, &n_paths);
    if (status < 0)
        status = check(&k);
    if (status < 0)
        status = dnas_status(run(&k, &tool, paths, n_paths, &err), &err);
    dnas_genomes_release(&k.genomes);
    dnas_labels_release(&k.labels);
    free(k.common.command_line);
    return dnas_finish(status);
}
