/* SPDX-License-Identifier: MIT
 *
 * dnas-knn - nearest neighbours of embeddings, and classes by their vote.
 *
 * In:  EMBEDDINGS, and others to look for neighbours in
 * Out: LABELS with --train; else a TSV, a line for each neighbour
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/embeddings.h"
#include "common/idmap.h"
#include "common/kmeans.h"
#include "common/knn.h"
#include "common/msg.h"
#include "common/opt.h"
#include "common/text.h"
#include "common/xmem.h"

static const char *const metrics[] = {"cosine", "euclidean", NULL};

#define FLUSH_BYTES ((size_t)1 << 20)

struct knn {
    struct dnas_common common;
    const char *train, *against;
    int64_t n;
    double novel_above; /* below 0: not asked for */
    int metric, format;
    bool no_normalise;
    struct dnas_embeddings e, other; /* other: of --train or --against */
    size_t n_points;                 /* rows of it that neighbours are looked for among */
    uint32_t *neighbour;             /* [e.N,n] */
    float *value;                    /* [e.N,n] */
};

/* ---- classes ---- */

static int by_name(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* The classes of --train in order of name, with the empty text behind the last; class_of
 * [other.N] their numbers, -1 without a label. */
static void number_classes(struct dnas_idmap *classes, int32_t *class_of, const struct knn *k)
{
    struct dnas_idmap seen = {0};
    size_t n = dnas_embeddings_classes(&k->other, class_of, &seen);
    const char **name = dnas_xalloc(n, sizeof(*name));

    for (size_t i = 0; i < n; i++)
        name[i] = dnas_idmap_text(&seen, i);
    qsort(name, n, sizeof(*name), by_name);
    for (size_t i = 0; i < n; i++)
        dnas_idmap_add(classes, name[i], strlen(name[i]));
    for (size_t row = 0; row < k->other.N; row++)
        if (class_of[row] >= 0) {
            const char *s = dnas_idmap_text(&seen, (size_t)class_of[row]);

            class_of[row] = (int32_t)dnas_idmap_find(classes, s, strlen(s));
        }
    dnas_idmap_add(classes, "", 0);
    free(name);
    dnas_idmap_release(&seen);
}

/* Moves the labelled rows of --train together; returns how many there are. */
static size_t keep_labelled(struct dnas_embeddings *e, int32_t *class_of)
{
    size_t n = 0;

    for (size_t row = 0; row < e->N; row++)
        if (class_of[row] >= 0) {
            memmove(e->x + n * e->C, e->x + row * e->C, e->C * sizeof(*e->x));
            class_of[n++] = class_of[row];
        }
    return n;
}

/* The distance to the nearest class is that to its nearest row: the first neighbour's. */
static bool is_novel(const struct knn *k, size_t row)
{
    double value = (double)k->value[row * (size_t)k->n];

    return k->novel_above >= 0 &&
           (k->metric == DNAS_KNN_COSINE ? 1 - value : value) > k->novel_above;
}

static int write_classes(struct knn *k, const struct dnas_tool *tool, struct dnas_idmap *classes,
                         const int32_t *class_of, struct dnas_err *err)
{
    int32_t *cluster = dnas_xalloc(k->e.N, sizeof(*cluster));
    int32_t *name = dnas_xalloc(k->e.N, sizeof(*name));
    float *share = dnas_xalloc(k->e.N, sizeof(*share));
    size_t n_novel = 0;
    int status;

    dnas_knn_vote(cluster, share, k->neighbour, class_of, k->e.N, (size_t)k->n);
    for (size_t row = 0; row < k->e.N; row++) {
        if (is_novel(k, row)) {
            cluster[row] = -1;
            n_novel++;
        }
        name[row] = cluster[row] >= 0 ? cluster[row] : (int32_t)classes->n - 1;
    }
    dnas_embeddings_set_text(&k->e, "predicted", classes, name);
    status = dnas_labels_write(&k->e, cluster, share, (enum dnas_labels_format)k->format, tool,
                               &k->common, NULL, err);
    if (status == 0 && k->novel_above >= 0)
        dnas_msg_verbose("%zu rows are farther than %.9g from every class", n_novel,
                         k->novel_above);
    free(cluster);
    free(name);
    free(share);
    return status;
}

/* ---- lists ---- */

static void append_id(struct dnas_text *t, const struct dnas_embeddings *e,
                      const struct dnas_block *rest, size_t row)
{
    size_t n;
    const char *id = dnas_block_ragged(rest, e->id, (uint32_t)row, &n);

    dnas_text_append(t, id, n);
}

static int write_lists(const struct knn *k, struct dnas_err *err)
{
    const struct dnas_embeddings *other = k->against ? &k->other : &k->e;
    struct dnas_block own = dnas_table_block(&k->e.rest), theirs = dnas_table_block(&other->rest);
    struct dnas_out *out = dnas_out_open(k->common.output, false, err);
    struct dnas_text t = {0};
    size_t n = (size_t)k->n;
    int status = out ? 0 : -1;

    dnas_text_printf(&t, "id\trank\tneighbour\t%s\n",
                     k->metric == DNAS_KNN_COSINE ? "similarity" : "distance");
    for (size_t i = 0; status == 0 && i < k->e.N * n; i++) {
        append_id(&t, &k->e, &own, i / n);
        dnas_text_printf(&t, "\t%zu\t", i % n + 1);
        append_id(&t, other, &theirs, k->neighbour[i]);
        dnas_text_append(&t, "\t", 1);
        dnas_text_real(&t, (double)k->value[i], false);
        dnas_text_append(&t, "\n", 1);
        if (t.n >= FLUSH_BYTES) {
            status = dnas_out_write(out, t.data, t.n, err);
            t.n = 0;
        }
    }
    if (status == 0)
        status = dnas_out_write(out, t.data, t.n, err);
    free(t.data);
    if (status == 0)
        return dnas_out_commit(out, err);
    dnas_out_abandon(out, false);
    return -1;
}

/* ---- both ---- */

static int search(struct knn *k, struct dnas_err *err)
{
    const struct dnas_knn_options o = {.k = (size_t)k->n,
                                       .metric = (enum dnas_knn_metric)k->metric,
                                       .n_threads = (int)k->common.threads,
                                       .progress = true};
    bool is_self = !k->train && !k->against;
    size_t n_zero = 0;

    if (!k->no_normalise)
        n_zero = dnas_kmeans_unit_rows(k->e.x, k->e.N, k->e.C, o.n_threads);
    if (!k->no_normalise && !is_self)
        dnas_kmeans_unit_rows(k->other.x, k->n_points, k->other.C, o.n_threads);
    if (n_zero > 0)
        dnas_msg_warn("%zu rows are all zero: they have no direction, and nothing is near them",
                      n_zero);
    k->neighbour = dnas_xalloc(k->e.N, o.k * sizeof(*k->neighbour));
    k->value = dnas_xalloc(k->e.N, o.k * sizeof(*k->value));
    return dnas_knn_search(k->neighbour, k->value, is_self ? NULL : k->e.x, k->e.N,
                           is_self ? k->e.x : k->other.x, is_self ? k->e.N : k->n_points, k->e.C,
                           &o, err);
}

static int classify(struct knn *k, const struct dnas_tool *tool, struct dnas_err *err)
{
    int32_t *class_of = dnas_xalloc(k->other.N, sizeof(*class_of));
    struct dnas_idmap classes = {0};
    int status = -1;

    number_classes(&classes, class_of, k);
    k->n_points = keep_labelled(&k->other, class_of);
    if (k->n_points < k->other.N)
        dnas_msg_warn("%s: %zu rows have no label and are left out", k->train,
                      k->other.N - k->n_points);
    if (k->n_points == 0 && k->e.N > 0)
        dnas_err_set(err, "%s: no row has a label: use --labels when embedding", k->train);
    else if (search(k, err) == 0)
        status = write_classes(k, tool, &classes, class_of, err);
    free(class_of);
    dnas_idmap_release(&classes);
    return status;
}

static int run(struct knn *k, const struct dnas_tool *tool, const char *path, struct dnas_err *err)
{
    const char *other = k->train ? k->train : k->against;
    int status;

    if (dnas_embeddings_load(&k->e, path, err) != 0)
        return -1;
    if (other && (dnas_embeddings_load(&k->other, other, err) != 0 ||
                  dnas_embeddings_comparable(&k->e, &k->other, other, err) != 0))
        return -1;
    k->n_points = k->other.N;
    if (k->train)
        status = classify(k, tool, err);
    else
        status = search(k, err) == 0 ? write_lists(k, err) : -1;
    if (status == 0)
        dnas_msg_closing(k->e.N, "sequences");
    return status;
}

/* What the table of options cannot check.  -1 to go on, or the exit status. */
static int check(const struct knn *k, const char *path)
{
    const char *other = k->train ? k->train : k->against;

    if (k->train && k->against)
        return dnas_usage_error("--train votes and --against lists: give one of them");
    if (k->novel_above >= 0 && !k->train)
        return dnas_usage_error("--novel-above needs --train");
    if (k->no_normalise && k->metric == DNAS_KNN_COSINE)
        return dnas_usage_error("--no-normalise goes with --metric euclidean");
    if (other && strcmp(other, "-") == 0 && (!path || strcmp(path, "-") == 0))
        return dnas_usage_error("standard input cannot be read twice");
    return -1;
}

int main(int argc, char **argv)
{
    struct knn k = {.n = 5, .novel_above = -1};
    const struct dnas_opt opts[] = {
        {0, "train", "FILE", DNAS_OPT_TEXT, &k.train, 0, 0, NULL,
         "classify by the labelled embeddings in FILE"},
        {0, "against", "FILE", DNAS_OPT_TEXT, &k.against, 0, 0, NULL,
         "list neighbours among the embeddings in FILE"},
        {'n', "neighbours", "N", DNAS_OPT_INT, &k.n, 1, 10000, NULL, "look for N neighbours"},
        {0, "novel-above", "X", DNAS_OPT_REAL, &k.novel_above, 0, 1e30, NULL,
         "call a row none of these if its nearest neighbour is farther than X"},
        {0, "metric", "METRIC", DNAS_OPT_CHOICE, &k.metric, 0, 0, metrics,
         "near is a large cosine, or a small Euclidean distance"},
        {0, "no-normalise", NULL, DNAS_OPT_FLAG, &k.no_normalise, 0, 0, NULL,
         "leave the lengths of the embeddings as they are"},
        {0, "format", "FORMAT", DNAS_OPT_CHOICE, &k.format, 0, 0, dnas_labels_formats,
         "write LABELS as a stream, tsv or json; auto is tsv on a terminal"},
        {0},
    };
    const struct dnas_tool tool = {
        .name = "dnas-knn",
        .summary = "nearest neighbours of embeddings, and classes by their vote",
        .operands = "[FILE]",
        .max_operands = 1,
        .writes_stream = true,
        .opts = opts,
        .example = "dnas-knn --train labelled.dnas contigs.dnas > labels.dnas",
    };
    struct dnas_err err = {""};
    char **paths;
    int n_paths, status;

    dnas_start(argv);
    status = dnas_opt_parse(&tool, &k.common, argc, argv, &paths, &n_paths);
    if (status < 0)
        status = check(&k, n_paths > 0 ? paths[0] : NULL);
    if (status < 0)
        status = dnas_status(run(&k, &tool, n_paths > 0 ? paths[0] : NULL, &err), &err);
    dnas_embeddings_release(&k.e);
    dnas_embeddings_release(&k.other);
    free(k.neighbour);
    free(k.value);
    free(k.common.command_line);
    return dnas_finish(status);
}
