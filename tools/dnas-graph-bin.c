/* SPDX-License-Identifier: MIT
 *
 * dnas-graph-bin - bin embeddings by the likelihood of one species against two.
 *
 * In:  EMBEDDINGS of a k-mer model; that model, for how its embeddings vary;
 *      depths of reads, a table
 * Out: LABELS; files of bins for other programs
 */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "common/bins.h"
#include "common/depth_model.h"
#include "common/embeddings.h"
#include "common/graph_bin.h"
#include "common/kmer_model.h"
#include "common/msg.h"
#include "common/opt.h"

struct bin {
    struct dnas_common common;
    struct dnas_bins_opt files;
    const char *model; /* NULL: the one that ships */
    const char *depth; /* NULL: none */
    double read_length;
    int64_t neighbours, exact_rows, min_bin_size, min_bin_bp;
    int format;
    struct dnas_embeddings e;
};

/* Neighbours that a cluster keeps: more than a sequence begins with, and so many that what is lost
 * is far from it. */
#define MAX_LIST 128

static const char *model_name(const struct bin *b)
{
    return b->model ? b->model : "the model that ships";
}

/* ---- the noise model ---- */

/* Whether the embeddings are this model's own, as its noise model knows them. */
static int check_object(const struct bin *b, const struct dnas_kmer_model *m, struct dnas_err *err)
{
    const json_t *o = b->e.header.embedding;
    const char *hash = json_string_value(json_object_get(o, "hash"));
    const char *model = json_string_value(json_object_get(o, "model"));

    if (json_object_get(o, "adapt"))
        return dnas_err_set(err,
                            "the embeddings are of a map that --adapt made, whose noise is not "
                            "known: embed without it, or use dnas-kmedoid-bin");
    if (!model || strcmp(model, "kmer") != 0)
        return dnas_err_set(err, "the embeddings are not of a k-mer model, whose noise is known: "
                                 "embed with dnas-embed -m kmer, or use dnas-kmedoid-bin");
    if (!hash || strcmp(hash, dnas_kmer_model_hash(m)) != 0)
        return dnas_err_set(err,
                            "the embeddings are not of %s: name with -m the model that made "
                            "them (see dnas-view -H)",
                            model_name(b));
    if (b->e.C != dnas_kmer_model_dims(m))
        return dnas_err_set(err,
                            "the embeddings have %zu dimensions, and those of %s %zu: embed "
                            "without --reduce",
                            b->e.C, model_name(b), dnas_kmer_model_dims(m));
    return 0;
}

static int load_plda(struct dnas_plda *plda, const struct bin *b, struct dnas_err *err)
{
    struct dnas_kmer_model *m = b->model && strcmp(b->model, "kmer") != 0
                                    ? dnas_kmer_model_open(b->model, err)
                                    : dnas_kmer_model_default(err);
    const struct dnas_kmer_parts *p = m ? dnas_kmer_model_parts(m) : NULL;
    int status = m ? check_object(b, m, err) : -1;

    if (status == 0 && (!p->between || p->n_layers > 0 || p->normalise))
        status =
            dnas_err_set(err,
                         "%s has no noise model: train it from genomes of more genera, without "
                         "--hidden and --shrink, or use dnas-kmedoid-bin",
                         model_name(b));
    if (status == 0)
        dnas_plda_init(plda, p->between, p->noise, p->noise_kb, p->O);
    dnas_kmer_model_free(m);
    return status;
}

/* ---- the run ---- */

static void say(const struct bin *b, const struct dnas_graph_bin *g)
{
    size_t n_binned = 0, n_zero = 0;

    for (size_t i = 0; i < g->N; i++) {
        bool is_zero = true;

        n_binned += g->label[i] >= 0;
        for (size_t c = 0; c < b->e.C && is_zero; c++)
            is_zero = b->e.x[i * b->e.C + c] == 0;
        n_zero += is_zero;
    }
    if (n_zero > 0)
        dnas_msg_warn("%zu rows are all zero: sequences without k-mers are in no bin", n_zero);
    dnas_msg_verbose("%zu merges; %zu bins had fewer than %lld sequences or %lld bp", g->n_merges,
                     g->n_small, (long long)b->min_bin_size, (long long)b->min_bin_bp);
    dnas_msg_note("%zu bins hold %zu of %zu sequences", g->n_bins, n_binned, g->N);
    dnas_msg_closing(g->N, "sequences");
}

static int bin_by_depth(struct dnas_graph_bin *g, const struct bin *b, const uint32_t *length_bp,
                        const struct dnas_plda *plda, const struct dnas_graph_bin_options *o,
                        struct dnas_err *err)
{
    struct dnas_depth d;
    struct dnas_depth_model m = {0};
    int status = dnas_depth_load(&d, b->depth, &b->e, length_bp, err);

    if (status == 0)
        status = dnas_graph_bin_run_depth(g, &m, b->e.x, length_bp, b->e.C, plda, &d,
                                          b->read_length, o, err);
    for (size_t s = 0; status == 0 && s < m.S; s++)
        dnas_msg_verbose("%s: ln depth has variance %.3g between species, and along one a "
                         "deviation of %.3g%s",
                         d.sample[s], m.between[s], m.spread[s],
                         m.n_pairs[s] < DNAS_DEPTH_PAIRS_MIN ? ", which is a guess" : "");
    dnas_depth_model_release(&m);
    dnas_depth_release(&d);
    return status;
}

/* The bins, given the embeddings. */
static int make_bins(struct dnas_graph_bin *g, const struct bin *b, struct dnas_err *err)
{
    const struct dnas_graph_bin_options o = {.k = (size_t)b->neighbours,
                                             .max_list = MAX_LIST,
                                             .min_size = (size_t)b->min_bin_size,
                                             .min_bp = (uint64_t)b->min_bin_bp,
                                             .exact_rows = (size_t)b->exact_rows,
                                             .n_threads = (int)b->common.threads,
                                             .progress = !b->common.quiet};
    struct dnas_binned rows = dnas_binned_embeddings(&b->e, NULL, NULL);
    struct dnas_plda plda = {0};
    int status;

    if (!rows.length_bp)
        return dnas_err_set(err, "the embeddings have no column length_bp: the lengths of the "
                                 "sequences say how sure they are");
    if (load_plda(&plda, b, err) != 0)
        return -1;
    status = b->depth ? bin_by_depth(g, b, rows.length_bp, &plda, &o, err)
                      : dnas_graph_bin_run(g, b->e.x, rows.length_bp, NULL, b->e.N, b->e.C, &plda,
                                           &o, err);
    dnas_plda_release(&plda);
    return status;
}

/* The files for other programs, then LABELS. */
static int write_results(struct bin *b, const struct dnas_graph_bin *g, struct dnas_bins_out *files,
                         const struct dnas_tool *tool, struct dnas_err *err)
{
    struct dnas_binned binned = dnas_binned_embeddings(&b->e, g->label, g->score);

    if (dnas_bins_out_write(files, &binned, err) != 0)
        return -1;
    return dnas_labels_write(&b->e, g->label, g->score, (enum dnas_labels_format)b->format, tool,
                             &b->common, NULL, err);
}

static int run(struct bin *b, const struct dnas_tool *tool, const char *path, struct dnas_err *err)
{
    struct dnas_bins_out *files = dnas_bins_out_open(&b->files, err);
    struct dnas_graph_bin g = {0};
    int status = -1;

    if (!files)
        return -1;
    if (dnas_embeddings_load(&b->e, path, err) == 0) {
        if (make_bins(&g, b, err) == 0) {
            status = write_results(b, &g, files, tool, err);
            files = NULL;
        } else {
            dnas_err_at(err, "%s: ", path && strcmp(path, "-") != 0 ? path : "standard input");
        }
        if (status == 0)
            say(b, &g);
    }
    dnas_bins_out_abandon(files);
    dnas_graph_bin_release(&g);
    return status;
}

int main(int argc, char **argv)
{
    struct bin b = {.neighbours = 15,
                    .read_length = 150,
                    .exact_rows = 100000,
                    .min_bin_size = 1,
                    .min_bin_bp = 20000,
                    .files = {.sample_id = "sample"}};
    const struct dnas_opt opts[] = {
        {'m', "model", "MODEL", DNAS_OPT_TEXT, &b.model, 0, 0, NULL,
         "the k-mer model that made the embeddings [the one that ships]"},
        {0, "depth", "FILE", DNAS_OPT_TEXT, &b.depth, 0, 0, NULL,
         "depths of reads, too: the table of jgi_summarize_bam_contig_depths"},
        {0, "read-length", "BP", DNAS_OPT_REAL, &b.read_length, 1, 1e7, NULL,
         "letters of a read, on average, for --depth"},
        {0, "neighbours", "N", DNAS_OPT_INT, &b.neighbours, 1, 1000, NULL,
         "look at the N nearest neighbours of each sequence"},
        {0, "exact-rows", "N", DNAS_OPT_INT, &b.exact_rows, 0, 2e9, NULL,
         "of more than N sequences, find most of the nearest neighbours, not all"},
        {0, "min-bin-size", "N", DNAS_OPT_INT, &b.min_bin_size, 1, 1e9, NULL,
         "leave bins of fewer than N sequences out"},
        {0, "min-bin-bp", "BP", DNAS_OPT_INT, &b.min_bin_bp, 0, 1e15, NULL,
         "leave bins of fewer letters than BP out"},
        DNAS_BINS_OPTIONS(b.files),
        {0, "format", "FORMAT", DNAS_OPT_CHOICE, &b.format, 0, 0, dnas_labels_formats,
         "write a stream, tsv or json; auto is tsv on a terminal"},
        {0},
    };
    const struct dnas_tool tool = {
        .name = "dnas-graph-bin",
        .summary = "bin embeddings by the likelihood of one species against two",
        .operands = "[FILE]",
        .max_operands = 1,
        .writes_stream = true,
        .opts = opts,
        .example = "dnas-graph-bin --contig2bin bins.tsv emb.dnas > bins.dnas",
    };
    struct dnas_err err = {""};
    char **paths;
    int n_paths, status;

    dnas_start(argv);
    status = dnas_opt_parse(&tool, &b.common, argc, argv, &paths, &n_paths);
    if (status < 0)
        status = dnas_bins_opt_check(&b.files);
    if (status < 0)
        status = dnas_status(run(&b, &tool, n_paths > 0 ? paths[0] : NULL, &err), &err);
    dnas_embeddings_release(&b.e);
    free(b.common.command_line);
    return dnas_finish(status);
}
