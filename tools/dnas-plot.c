/* SPDX-License-Identifier: MIT
 *
 * dnas-plot - draw embeddings as a scatter, or a log as curves.
 *
 * In:  EMBEDDINGS, LABELS for the colours; or a TSV of numbers
 * Out: SVG
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/embeddings.h"
#include "common/idmap.h"
#include "common/kmeans.h"
#include "common/msg.h"
#include "common/opt.h"
#include "common/pca.h"
#include "common/svg.h"
#include "common/tsne.h"
#include "common/xmem.h"

static const char *const methods[] = {"pca", "tsne", NULL};

struct plot {
    struct dnas_common common;
    int method;
    const char *clusters, *curves, *title;
    double perplexity;
    int64_t seed;
    bool no_normalise;
    struct dnas_embeddings e;
    struct dnas_idmap names; /* of the classes */
    int32_t *classes;        /* [N] */
    float *xy;               /* [N,2] */
    char x_title[64], y_title[64];
};

/* The clusters of the rows, joined by id, named "cluster 7". */
static int join_clusters(struct plot *p, struct dnas_err *err)
{
    struct dnas_reader *r = dnas_reader_open_any(p->clusters, err);
    struct dnas_idmap ids = {0};
    struct dnas_block b, rest = dnas_table_block(&p->e.rest);
    int32_t *cluster = NULL;
    size_t cap = 0, n_unknown = 0;
    int status = -1;

    if (r && dnas_reader_expect(r, DNAS_LABELS, err) == 0)
        status = 1;
    while (status == 1 && (status = dnas_reader_next(r, &b, err)) == 1) {
        const struct dnas_header *h = dnas_reader_header(r);
        const int32_t *from = b.cells[dnas_header_find(h, "cluster")].values;

        cluster = dnas_xgrow(cluster, &cap, ids.n + b.n_rows, sizeof(*cluster));
        for (uint32_t row = 0; row < b.n_rows; row++) {
            size_t n, before = ids.n;
            const char *id = dnas_block_ragged(&b, dnas_header_find(h, "id"), row, &n);
            size_t i = dnas_idmap_add(&ids, id, n);

            if (i < before) {
                status = dnas_err_set(err, "%s: the id '%.*s' comes twice", dnas_reader_name(r),
                                      (int)(n < 200 ? n : 200), id);
                break;
            }
            cluster[i] = from[row];
        }
    }
    for (size_t row = 0; status == 0 && row < p->e.N; row++) {
        size_t n;
        const char *id = dnas_block_ragged(&rest, p->e.id, (uint32_t)row, &n);
        size_t i = dnas_idmap_find(&ids, id, n);
        char name[32];

        p->classes[row] = -1;
        n_unknown += i == SIZE_MAX;
        if (i == SIZE_MAX || cluster[i] < 0)
            continue;
        snprintf(name, sizeof(name), "cluster %" PRId32, cluster[i]);
        p->classes[row] = (int32_t)dnas_idmap_add(&p->names, name, strlen(name));
    }
    if (status == 0 && n_unknown > 0)
        dnas_msg_warn("%zu rows are not in %s and are drawn grey", n_unknown, p->clusters);
    free(cluster);
    dnas_idmap_release(&ids);
    dnas_reader_close(r);
    return status;
}

static int place_pca(struct plot *p, struct dnas_err *err)
{
    struct dnas_pca pca;
    int n_threads = (int)p->common.threads;

    if (dnas_pca_fit(&pca, p->e.x, p->e.N, p->e.C, 2, n_threads, err) != 0)
        return -1;
    dnas_pca_project(p->xy, &pca, p->e.x, p->e.N, n_threads);
    snprintf(p->x_title, sizeof(p->x_title), "PC1 (%.1f %%)", 100 * dnas_pca_share(&pca, 0));
    snprintf(p->y_title, sizeof(p->y_title), "PC2 (%.1f %%)", 100 * dnas_pca_share(&pca, 1));
    dnas_pca_release(&pca);
    return 0;
}

static int place_tsne(struct plot *p, struct dnas_err *err)
{
    struct dnas_tsne_options o = dnas_tsne_defaults();

    o.perplexity = p->perplexity;
    o.seed = (uint64_t)p->seed;
    snprintf(p->x_title, sizeof(p->x_title), "t-SNE 1");
    snprintf(p->y_title, sizeof(p->y_title), "t-SNE 2");
    return dnas_tsne(p->xy, NULL, p->e.x, p->e.N, p->e.C, &o, (int)p->common.threads, err);
}

static int draw_scatter(const struct plot *p, struct dnas_err *err)
{
    const char **names = dnas_xalloc(p->names.n, sizeof(*names));
    struct dnas_svg_scatter s = {.xy = p->xy,
                                 .N = p->e.N,
                                 .classes = p->names.n > 0 ? p->classes : NULL,
                                 .n_classes = p->names.n,
                                 .class_names = names,
                                 .title = p->title,
                                 .x_title = p->x_title,
                                 .y_title = p->y_title,
                                 .legend_title = p->clusters ? "Clusters" : "Labels",
                                 .none_name = p->clusters ? NULL : "no label",
                                 .no_ticks = p->method == 1};
    char *svg;
    size_t n;
    int status;

    for (size_t i = 0; i < p->names.n; i++)
        names[i] = dnas_idmap_text(&p->names, i);
    status = dnas_svg_draw_scatter(&svg, &n, &s, err);
    if (status == 0)
        status = dnas_write_file(p->common.output, svg, n, err);
    free(svg);
    free(names);
    return status;
}

static int plot_embeddings(struct plot *p, const char *path, struct dnas_err *err)
{
    if (dnas_embeddings_load(&p->e, path, err) != 0)
        return -1;
    p->classes = dnas_xalloc(p->e.N, sizeof(*p->classes));
    p->xy = dnas_xalloc(p->e.N, 2 * sizeof(*p->xy));
    if (p->clusters) {
        if (join_clusters(p, err) != 0)
            return -1;
    } else {
        dnas_embeddings_classes(&p->e, p->classes, &p->names);
    }
    if (!p->no_normalise)
        dnas_kmeans_unit_rows(p->e.x, p->e.N, p->e.C, (int)p->common.threads);
    if ((p->method == 0 ? place_pca(p, err) : place_tsne(p, err)) != 0 || draw_scatter(p, err) != 0)
        return -1;
    dnas_msg_closing(p->e.N, "points");
    return 0;
}

static int plot_curves(const struct plot *p, struct dnas_err *err)
{
    bool is_stdin = strcmp(p->curves, "-") == 0;
    FILE *in = is_stdin ? stdin : fopen(p->curves, "r");
    struct dnas_svg_table t;
    struct dnas_svg_curves c;
    char *svg;
    size_t n;
    int status;

    if (!in)
        return dnas_err_set(err, "%s: cannot be opened: %s", p->curves, strerror(errno));
    status = dnas_svg_table_read(&t, in, err);
    if (!is_stdin)
        fclose(in);
    if (status != 0)
        return dnas_err_at(err, "%s: ", is_stdin ? "standard input" : p->curves);
    c = (struct dnas_svg_curves){.x = t.columns[0],
                                 .N = t.N,
                                 .y = (const double *const *)(t.columns + 1),
                                 .n_curves = t.n_columns - 1,
                                 .names = (const char *const *)(t.names + 1),
                                 .title = p->title,
                                 .x_title = t.names[0],
                                 .y_title = t.n_columns == 2 ? t.names[1] : NULL};
    if (t.n_columns < 2) {
        status = dnas_err_set(err, "%s: has one column; the first is x, the others are curves",
                              is_stdin ? "standard input" : p->curves);
    } else {
        dnas_svg_draw_curves(&svg, &n, &c);
        status = dnas_write_file(p->common.output, svg, n, err);
        free(svg);
    }
    dnas_svg_table_release(&t);
    return status;
}

int main(int argc, char **argv)
{
    struct plot p = {.perplexity = 30, .seed = 0};
    const struct dnas_opt opts[] = {
        {0, "method", "METHOD", DNAS_OPT_CHOICE, &p.method, 0, 0, methods,
         "place the points by principal components (pca) or by tsne"},
        {0, "clusters", "FILE", DNAS_OPT_TEXT, &p.clusters, 0, 0, NULL,
         "colour by the clusters in LABELS, not by the labels of the input"},
        {0, "curves", "FILE", DNAS_OPT_TEXT, &p.curves, 0, 0, NULL,
         "draw the columns of a TSV over its first, in the place of a scatter"},
        {0, "title", "TEXT", DNAS_OPT_TEXT, &p.title, 0, 0, NULL, "put TEXT above the picture"},
        {0, "perplexity", "X", DNAS_OPT_REAL, &p.perplexity, 1, 10000, NULL,
         "t-SNE: how many neighbours count"},
        {'s', "seed", "N", DNAS_OPT_INT, &p.seed, 0, 9007199254740992.0, NULL,
         "t-SNE: start from seed N"},
        {0, "no-normalise", NULL, DNAS_OPT_FLAG, &p.no_normalise, 0, 0, NULL,
         "leave the lengths of the embeddings as they are"},
        {0},
    };
    const struct dnas_tool tool = {
        .name = "dnas-plot",
        .summary = "draw embeddings or a log as SVG",
        .operands = "[FILE]",
        .max_operands = 1,
        .opts = opts,
        .example = "dnas-plot --method tsne -o species.svg embeddings.dnas",
    };
    struct dnas_err err = {""};
    char **paths;
    int n_paths, status;

    dnas_start(argv);
    status = dnas_opt_parse(&tool, &p.common, argc, argv, &paths, &n_paths);
    if (status < 0 && p.curves && n_paths > 0)
        status = dnas_usage_error("--curves takes the place of FILE");
    if (status < 0)
        status = dnas_status(p.curves ? plot_curves(&p, &err)
                                      : plot_embeddings(&p, n_paths > 0 ? paths[0] : NULL, &err),
                             &err);
    dnas_embeddings_release(&p.e);
    dnas_idmap_release(&p.names);
    free(p.classes);
    free(p.xy);
    free(p.common.command_line);
    return dnas_finish(status);
}
