/* SPDX-License-Identifier: MIT
 *
 * dnas-ari - score a clustering against the truth.
 *
 * In:  LABELS, as a stream or TSV
 * Out: a TSV of two lines, the names of the scores and their values
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/ari.h"
#include "common/idmap.h"
#include "common/msg.h"
#include "common/opt.h"
#include "common/stream.h"
#include "common/text.h"
#include "common/xmem.h"

static const char *const treatments[] = {"left-out", "alone", NULL};

struct ari {
    struct dnas_common common;
    const char *truth;
    bool json;
    int unclustered;
    struct dnas_labels table; /* of --truth */
    struct dnas_idmap classes;
    struct dnas_idset ids;
    int32_t *cluster; /* [n] rows with a label */
    uint32_t *class;  /* [n] */
    size_t n, cluster_cap, class_cap;
    uint64_t n_unlabelled;
};

/* The row's label from --truth or its own column; NULL: none. */
static const char *label_of(const struct ari *a, const struct dnas_block *b, int column,
                            uint32_t row, const char *id, size_t id_n, size_t *n)
{
    const char *label;

    if (a->truth) {
        label = dnas_labels_find(&a->table, id, id_n);
        *n = label ? strlen(label) : 0;
        return *n > 0 ? label : NULL;
    }
    label = dnas_block_ragged(b, column, row, n);
    return *n > 0 ? label : NULL;
}

static int add_block(struct ari *a, const struct dnas_reader *r, const struct dnas_block *b,
                     struct dnas_err *err)
{
    const struct dnas_header *h = dnas_reader_header(r);
    int id_column = dnas_header_find(h, "id"), label_column = dnas_header_find(h, "label");
    const int32_t *cluster = b->cells[dnas_header_find(h, "cluster")].values;

    a->cluster = dnas_xgrow(a->cluster, &a->cluster_cap, a->n + b->n_rows, sizeof(*a->cluster));
    a->class = dnas_xgrow(a->class, &a->class_cap, a->n + b->n_rows, sizeof(*a->class));
    for (uint32_t row = 0; row < b->n_rows; row++) {
        size_t id_n, n;
        const char *id = dnas_block_ragged(b, id_column, row, &id_n);
        const char *label = label_of(a, b, label_column, row, id, id_n, &n);

        if (cluster[row] < -1)
            return dnas_err_set(err, "%s: row %" PRIu64 " has cluster %" PRId32 ", below -1",
                                dnas_reader_name(r), b->first_row + row + 1, cluster[row]);
        if (a->truth && !dnas_idset_add(&a->ids, id, id_n))
            return dnas_err_set(err, "%s: the id '%.*s' comes twice, so --truth cannot be joined",
                                dnas_reader_name(r), (int)(id_n < 200 ? id_n : 200), id);
        if (!label) {
            a->n_unlabelled++;
            continue;
        }
        a->cluster[a->n] = cluster[row];
        a->class[a->n++] = (uint32_t)dnas_idmap_add(&a->classes, label, n);
    }
    return 0;
}

static int load(struct ari *a, const char *path, struct dnas_err *err)
{
    struct dnas_reader *r = dnas_reader_open_any(path, err);
    struct dnas_block b;
    int status = -1;

    if (!r)
        return -1;
    if (dnas_reader_expect(r, DNAS_LABELS, err) == 0) {
        int column = dnas_header_find(dnas_reader_header(r), "label");

        if (!a->truth && (column < 0 || dnas_reader_header(r)->columns[column].type != DNAS_UTF8))
            dnas_err_set(err, "%s: has no column 'label': give the true labels with --truth",
                         dnas_reader_name(r));
        else
            while ((status = dnas_reader_next(r, &b, err)) == 1)
                if (add_block(a, r, &b, err) != 0) {
                    status = -1;
                    break;
                }
    }
    dnas_reader_close(r);
    return status;
}

static void append_scores(struct dnas_text *t, const struct dnas_agreement *s, bool json)
{
    const struct {
        const char *name;
        double value;
        bool is_count;
    } score[] = {
        {"rows", (double)s->n_rows, true},
        {"clustered", s->clustered, false},
        {"clusters", (double)s->n_clusters, true},
        {"classes", (double)s->n_classes, true},
        {"ari", s->ari, false},
        {"nmi", s->nmi, false},
        {"ami", s->ami, false},
        {"homogeneity", s->homogeneity, false},
        {"completeness", s->completeness, false},
        {"v_measure", s->v_measure, false},
        {"purity", s->purity, false},
    };
    size_t n = sizeof(score) / sizeof(score[0]);

    for (size_t i = 0; json && i < n; i++)
        dnas_text_printf(t, score[i].is_count ? "%s\"%s\": %.0f" : "%s\"%s\": %.9g", i ? ", " : "{",
                         score[i].name, score[i].value);
    for (size_t i = 0; !json && i < n; i++)
        dnas_text_printf(t, "%s%s", i ? "\t" : "", score[i].name);
    for (size_t i = 0; !json && i < n; i++)
        dnas_text_printf(t, score[i].is_count ? "%s%.0f" : "%s%.9g", i ? "\t" : "\n",
                         score[i].value);
    dnas_text_printf(t, json ? "}\n" : "\n");
}

static int run(struct ari *a, const char *path, struct dnas_err *err)
{
    struct dnas_agreement score;
    struct dnas_text t = {0};
    int status;

    if (a->truth && dnas_labels_load(&a->table, a->truth, err) != 0)
        return -1;
    if (load(a, path, err) != 0 ||
        dnas_agreement_compute(&score, a->cluster, a->class, a->n,
                               (enum dnas_unclustered)a->unclustered, err) != 0)
        return -1;
    if (a->n_unlabelled > 0)
        dnas_msg_warn("%" PRIu64 " rows have no true label and are left out", a->n_unlabelled);
    if (a->n == 0 && a->n_unlabelled > 0)
        return dnas_err_set(err,
                            "no row has a true label: use --truth, or --labels when embedding");
    append_scores(&t, &score, a->json);
    status = dnas_write_file(a->common.output, t.data, t.n, err);
    free(t.data);
    if (status == 0)
        dnas_msg_closing(score.n_rows, "rows");
    return status;
}

int main(int argc, char **argv)
{
    struct ari a = {.truth = NULL};
    const struct dnas_opt opts[] = {
        {0, "truth", "FILE", DNAS_OPT_TEXT, &a.truth, 0, 0, NULL,
         "take the true labels from a TSV of id and label"},
        {0, "unclustered", "HOW", DNAS_OPT_CHOICE, &a.unclustered, 0, 0, treatments,
         "rows in no cluster: left-out, or alone, each a cluster of its own"},
        {0, "json", NULL, DNAS_OPT_FLAG, &a.json, 0, 0, NULL, "print a JSON object"},
        {0},
    };
    const struct dnas_tool tool = {
        .name = "dnas-ari",
        .summary = "score a clustering against the truth",
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
    if (status < 0) {
        status = run(&a, n_paths > 0 ? paths[0] : NULL, &err) == 0 ? 0 : 1;
        if (status != 0)
            dnas_msg_error("%s", err.msg);
    }
    dnas_labels_release(&a.table);
    dnas_idmap_release(&a.classes);
    dnas_idset_release(&a.ids);
    free(a.cluster);
    free(a.class);
    free(a.common.command_line);
    return dnas_finish(status);
}
