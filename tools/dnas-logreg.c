/* SPDX-License-Identifier: MIT
 *
 * dnas-logreg - classify embeddings by logistic regression or a small network.
 *
 * In:  EMBEDDINGS; with --predict a model file
 * Out: scores (TSV or JSON lines) with --shots; a model file and a TSV about it with --fit;
 *      LABELS with --predict
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/classifier.h"
#include "common/embeddings.h"
#include "common/fewshot.h"
#include "common/msg.h"
#include "common/opt.h"
#include "common/provenance.h"
#include "common/text.h"
#include "common/xmem.h"

static const char *const standardise_names[] = {"training", "all", "none", NULL};

struct logreg {
    struct dnas_common common;
    const char *shots, *fit, *predict;
    int64_t test_per_class, runs, max_iter, hidden, epochs, seed;
    double inverse_l2, tol;
    bool is_mlp, drop_small, json;
    int standardise, format;
    size_t *shot; /* [n_shots], from --shots */
    size_t n_shots;
    struct dnas_embeddings e;
    const char *name;             /* of the input */
    int32_t *class;               /* [e.N], -1: no label */
    struct dnas_idmap class_name; /* [K] */
    size_t n_labelled;
};

/* ---- the input ---- */

/* A row that comes twice could be trained on and tested on alike. */
static int refuse_twins(const struct logreg *l, struct dnas_err *err)
{
    struct dnas_block b = dnas_table_block(&l->e.rest);
    struct dnas_idset ids = {0};
    int status = 0;

    for (size_t row = 0; status == 0 && row < l->e.N; row++) {
        size_t n;
        const char *id = dnas_block_ragged(&b, l->e.id, (uint32_t)row, &n);

        if (!dnas_idset_add(&ids, id, n))
            status = dnas_err_set(err,
                                  "%s: the id '%.*s' comes twice: a row could be trained on and "
                                  "tested on; give each row an id of its own",
                                  l->name, (int)(n < 200 ? n : 200), id);
    }
    dnas_idset_release(&ids);
    return status;
}

static int load(struct logreg *l, const char *path, struct dnas_err *err)
{
    l->name = path && strcmp(path, "-") != 0 ? path : "standard input";
    if (dnas_embeddings_load(&l->e, path, err) != 0)
        return -1;
    l->class = dnas_xalloc(l->e.N, sizeof(*l->class));
    dnas_embeddings_classes(&l->e, l->class, &l->class_name);
    for (size_t row = 0; row < l->e.N; row++)
        l->n_labelled += l->class[row] >= 0;
    return 0;
}

/* There must be labels to learn from. */
static int check_labels(const struct logreg *l, struct dnas_err *err)
{
    if (l->n_labelled < l->e.N && l->n_labelled > 0)
        dnas_msg_warn("%zu rows have no label and are left out", l->e.N - l->n_labelled);
    if (l->n_labelled == 0)
        return dnas_err_set(err, "%s: no row has a label: use --labels when embedding", l->name);
    if (l->class_name.n == 1)
        return dnas_err_set(err,
                            "%s: all labels are '%.200s': there must be two or more to tell apart",
                            l->name, dnas_idmap_text(&l->class_name, 0));
    return 0;
}

static struct dnas_classifier_options options_of(const struct logreg *l)
{
    struct dnas_classifier_options o = {.is_mlp = l->is_mlp, .mlp = DNAS_MLP_DEFAULTS};

    o.logreg = (struct dnas_logreg_options){.inverse_l2 = l->inverse_l2,
                                            .tol = l->tol,
                                            .max_iter = (int)l->max_iter,
                                            .n_threads = (int)l->common.threads};
    o.mlp.H = (size_t)l->hidden;
    o.mlp.max_epochs = (int)l->epochs;
    o.mlp.tol = l->tol;
    o.mlp.seed = (uint64_t)l->seed;
    return o;
}

static void warn_unfinished(const struct logreg *l, size_t n, size_t n_fits)
{
    if (n > 0)
        dnas_msg_warn("%zu of %zu fits ended before they had converged: see %s", n, n_fits,
                      l->is_mlp ? "--epochs" : "--max-iter");
}

/* ---- --shots ---- */

static void scores_tsv(struct dnas_text *t, const struct dnas_fewshot_result *r, size_t n)
{
    dnas_text_printf(t, "shots\truns\tclasses\ttrain\ttest");
    for (int m = 0; m < DNAS_N_CLASSIFY_SCORES; m++)
        dnas_text_printf(t, "\t%s\t%s_sd", dnas_classify_score_names[m],
                         dnas_classify_score_names[m]);
    dnas_text_printf(t, "\n");
    for (size_t i = 0; i < n; i++) {
        dnas_text_printf(t, "%zu\t%zu\t%zu\t%zu\t%zu", r[i].n_shots, r[i].n_runs, r[i].n_classes,
                         r[i].n_train, r[i].n_test);
        for (int m = 0; m < DNAS_N_CLASSIFY_SCORES; m++)
            dnas_text_printf(t, "\t%.9g\t%.9g", r[i].mean[m], r[i].deviation[m]);
        dnas_text_printf(t, "\n");
    }
}

static void scores_json(struct dnas_text *t, const struct dnas_fewshot_result *r, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        dnas_text_printf(t,
                         "{\"shots\": %zu, \"runs\": %zu, \"classes\": %zu, \"train\": %zu, "
                         "\"test\": %zu",
                         r[i].n_shots, r[i].n_runs, r[i].n_classes, r[i].n_train, r[i].n_test);
        for (int m = 0; m < DNAS_N_CLASSIFY_SCORES; m++)
            dnas_text_printf(t, ", \"%s\": %.9g, \"%s_sd\": %.9g", dnas_classify_score_names[m],
                             r[i].mean[m], dnas_classify_score_names[m], r[i].deviation[m]);
        dnas_text_printf(t, "}\n");
    }
}

static int evaluate(struct logreg *l, struct dnas_fewshot_result *result, struct dnas_err *err)
{
    struct dnas_fewshot_options o = {.shots = l->shot,
                                     .n_shots = l->n_shots,
                                     .test_per_class = (size_t)l->test_per_class,
                                     .n_runs = (size_t)l->runs,
                                     .drop_small = l->drop_small,
                                     .standardise = (enum dnas_standardise)l->standardise,
                                     .fit = options_of(l),
                                     .seed = (uint64_t)l->seed,
                                     .n_threads = (int)l->common.threads};
    size_t n_unfinished = 0;

    if (check_labels(l, err) != 0 || refuse_twins(l, err) != 0)
        return -1;
    if (dnas_fewshot_run(result, l->e.x, l->class, l->e.N, l->e.C, l->class_name.n, &l->class_name,
                         &o, err) != 0)
        return dnas_err_at(err, "%s: ", l->name);
    for (size_t i = 0; i < l->n_shots; i++)
        n_unfinished += result[i].n_unfinished;
    warn_unfinished(l, n_unfinished, l->n_shots * (size_t)l->runs);
    if (result[0].n_dropped > 0)
        dnas_msg_warn("%zu classes have too few rows and are left out", result[0].n_dropped);
    return 0;
}

static int run_shots(struct logreg *l, struct dnas_err *err)
{
    struct dnas_fewshot_result *result = dnas_xalloc(l->n_shots, sizeof(*result));
    size_t n = l->e.N > 0 ? l->n_shots : 0;
    struct dnas_text t = {0};
    int status = n > 0 ? evaluate(l, result, err) : 0;

    if (status == 0) {
        if (l->json)
            scores_json(&t, result, n);
        else
            scores_tsv(&t, result, n);
        status = dnas_write_file(l->common.output, t.data, t.n, err);
    }
    free(t.data);
    free(result);
    return status;
}

/* ---- --fit ---- */

static uint32_t *labelled_rows(const struct logreg *l)
{
    uint32_t *row = dnas_xalloc(l->n_labelled, sizeof(*row));

    for (size_t i = 0, n = 0; i < l->e.N; i++)
        if (l->class[i] >= 0)
            row[n++] = (uint32_t)i;
    return row;
}

/* How the fitted model does on the rows that it was fitted to. */
static void score_training(struct dnas_classify_scores *out, const struct logreg *l,
                           const struct dnas_classifier *c, const uint32_t *row)
{
    size_t n = l->n_labelled;
    int32_t *predicted = dnas_xalloc(n, sizeof(*predicted)),
            *truth = dnas_xalloc(n, sizeof(*truth));
    double *p_true = dnas_xalloc(n, sizeof(*p_true));

    dnas_classifier_predict(predicted, NULL, p_true, c, l->e.x, row, l->class, n,
                            (int)l->common.threads);
    for (size_t i = 0; i < n; i++)
        truth[i] = l->class[row[i]];
    dnas_classify_score(out, predicted, truth, p_true, n, c->K);
    free(p_true);
    free(truth);
    free(predicted);
}

static int save(struct logreg *l, const struct dnas_classifier *c, const struct dnas_tool *tool,
                struct dnas_err *err)
{
    struct dnas_classifier_about about = {.classes = l->class_name,
                                          .embedding = l->e.header.embedding};
    struct dnas_header h;
    int status;

    dnas_header_init(&h, DNAS_LABELS); /* for its program lines alone */
    dnas_provenance_add(&h, l->e.header.pg, tool, &l->common, l->is_mlp ? &l->seed : NULL);
    about.pg = h.pg;
    status = dnas_classifier_save(l->fit, c, &about, err);
    dnas_header_release(&h);
    return status;
}

static int write_summary(const struct logreg *l, const struct dnas_classifier *c,
                         const struct dnas_classifier_info *info,
                         const struct dnas_classify_scores *s, struct dnas_err *err)
{
    struct dnas_text t = {0};
    int n_iter = l->is_mlp ? info->mlp.n_epochs : info->logreg.n_iter, status;
    const char *method = l->is_mlp ? "mlp" : "logreg";

    dnas_text_printf(&t,
                     l->json ? "{\"method\": \"%s\", \"rows\": %zu, \"classes\": %zu, "
                               "\"dimensions\": %zu, \"iterations\": %d, \"accuracy\": %.9g, "
                               "\"log_loss\": %.9g}\n"
                             : "method\trows\tclasses\tdimensions\titerations\taccuracy\tlog_loss\n"
                               "%s\t%zu\t%zu\t%zu\t%d\t%.9g\t%.9g\n",
                     method, l->n_labelled, c->K, c->C, n_iter, s->accuracy, s->log_loss);
    status = dnas_write_file(l->common.output, t.data, t.n, err);
    free(t.data);
    return status;
}

static int run_fit(struct logreg *l, const struct dnas_tool *tool, struct dnas_err *err)
{
    struct dnas_classifier_options o = options_of(l);
    float *mean = NULL, *scale = NULL;
    struct dnas_classifier_info info;
    struct dnas_classify_scores s;
    struct dnas_classifier c;
    uint32_t *row;
    int status;

    if (l->e.N == 0)
        return dnas_err_set(err, "%s: has no rows: there is nothing to fit to", l->name);
    if (check_labels(l, err) != 0)
        return -1;
    row = labelled_rows(l);
    if ((enum dnas_standardise)l->standardise == DNAS_STANDARDISE_NONE) {
        mean = dnas_xalloc(l->e.C, sizeof(*mean));
        scale = dnas_xalloc(l->e.C, sizeof(*scale));
        dnas_standardiser(mean, scale, NULL, NULL, 0, l->e.C);
    }
    status = dnas_classifier_fit(&c, &info, &o, mean, scale, l->e.x, row, l->class, l->n_labelled,
                                 l->e.C, l->class_name.n, err);
    if (status != 0) {
        dnas_err_at(err, "%s: ", l->name);
    } else {
        warn_unfinished(l, !info.converged, 1);
        score_training(&s, l, &c, row);
        status = save(l, &c, tool, err) == 0 ? write_summary(l, &c, &info, &s, err) : -1;
    }
    dnas_classifier_release(&c);
    free(scale);
    free(mean);
    free(row);
    return status;
}

/* ---- --predict ---- */

static int check_match(const struct logreg *l, const struct dnas_classifier *c,
                       const struct dnas_classifier_about *about, struct dnas_err *err)
{
    if (l->e.C != c->C)
        return dnas_err_set(err, "%s: has %zu dimensions, but '%s' was fitted to %zu", l->name,
                            l->e.C, l->predict, c->C);
    if (!dnas_header_same_object(l->e.header.embedding, about->embedding))
        return dnas_err_set(err,
                            "%s: was made by another model or other settings than what '%s' was "
                            "fitted to (see dnas-view -H)",
                            l->name, l->predict);
    return 0;
}

static int run_predict(struct logreg *l, const struct dnas_tool *tool, struct dnas_err *err)
{
    struct dnas_classifier_about about;
    struct dnas_classifier c;
    size_t N = l->e.N;
    int32_t *class = dnas_xalloc(N, sizeof(*class));
    double *probability = dnas_xalloc(N, sizeof(*probability));
    float *score = dnas_xalloc(N, sizeof(*score));
    int status = -1;

    if (dnas_classifier_load(&c, &about, l->predict, err) == 0 &&
        check_match(l, &c, &about, err) == 0) {
        dnas_classifier_predict(class, probability, NULL, &c, l->e.x, NULL, NULL, N,
                                (int)l->common.threads);
        for (size_t row = 0; row < N; row++)
            score[row] = (float)probability[row];
        dnas_embeddings_set_text(&l->e, "predicted", &about.classes, class);
        status = dnas_labels_write(&l->e, class, score, (enum dnas_labels_format)l->format, tool,
                                   &l->common, NULL, err);
    }
    dnas_classifier_release(&c);
    dnas_classifier_about_release(&about);
    free(score);
    free(probability);
    free(class);
    return status;
}

static int run(struct logreg *l, const struct dnas_tool *tool, const char *path,
               struct dnas_err *err)
{
    int status;

    if (load(l, path, err) != 0)
        return -1;
    if (l->predict)
        status = run_predict(l, tool, err);
    else
        status = l->fit ? run_fit(l, tool, err) : run_shots(l, err);
    if (status == 0)
        dnas_msg_closing(l->e.N, "sequences");
    return status;
}

/* ---- the command line ---- */

#define MAX_SHOTS 1000000

/* --shots: numbers with commas between. */
static int parse_shots(struct logreg *l)
{
    size_t cap = 0;

    for (const char *at = l->shots;; at++) {
        char *end;
        long n;

        errno = 0;
        n = strtol(at, &end, 10);
        if (*at < '0' || *at > '9' || errno || n < 1 || n > MAX_SHOTS || (*end && *end != ','))
            return dnas_usage_error("--shots takes numbers of 1 to %d with commas between, "
                                    "not '%s'",
                                    MAX_SHOTS, l->shots);
        l->shot = dnas_xgrow(l->shot, &cap, l->n_shots + 1, sizeof(*l->shot));
        l->shot[l->n_shots++] = (size_t)n;
        at = end;
        if (!*at)
            return -1;
    }
}

/* What the table of options cannot check.  -1 to go on, or the exit status. */
static int check(struct logreg *l)
{
    const char *model = l->fit ? l->fit : l->predict;

    if (!!l->shots + !!l->fit + !!l->predict != 1)
        return dnas_usage_error("what is to be done? give one of --shots, --fit and --predict");
    if (model && (!*model || strcmp(model, "-") == 0))
        return dnas_usage_error("%s takes the name of a file, not '%s'",
                                l->fit ? "--fit" : "--predict", model);
    return l->shots ? parse_shots(l) : -1;
}

static int run_command(struct logreg *l, const struct dnas_tool *tool, int argc, char **argv)
{
    struct dnas_err err = {""};
    char **paths;
    int n_paths, status = dnas_opt_parse(tool, &l->common, argc, argv, &paths, &n_paths);

    if (status < 0)
        status = check(l);
    if (status < 0)
        status = dnas_status(run(l, tool, n_paths > 0 ? paths[0] : NULL, &err), &err);
    return status;
}

int main(int argc, char **argv)
{
    struct logreg l = {.test_per_class = 80,
                       .runs = 5,
                       .max_iter = 3000,
                       .hidden = 100,
                       .epochs = 200,
                       .inverse_l2 = 0.5,
                       .tol = 1e-4,
                       .e = {.label = -1}};
    const struct dnas_opt opts[] = {
        {0, "shots", "LIST", DNAS_OPT_TEXT, &l.shots, 0, 0, NULL,
         "score classifiers that saw 1,2,5,... rows of each class"},
        {0, "test-per-class", "N", DNAS_OPT_INT, &l.test_per_class, 1, 1e9, NULL,
         "with --shots, test on N other rows of each class"},
        {0, "runs", "N", DNAS_OPT_INT, &l.runs, 1, 10000, NULL,
         "with --shots, draw the rows N times"},
        {0, "drop-small", NULL, DNAS_OPT_FLAG, &l.drop_small, 0, 0, NULL,
         "with --shots, leave out classes that have too few rows"},
        {0, "fit", "MODEL", DNAS_OPT_TEXT, &l.fit, 0, 0, NULL,
         "fit to all rows that have a label, and write the file MODEL"},
        {0, "predict", "MODEL", DNAS_OPT_TEXT, &l.predict, 0, 0, NULL,
         "label each row by the model in the file MODEL"},
        {0, "mlp", NULL, DNAS_OPT_FLAG, &l.is_mlp, 0, 0, NULL,
         "a network of one hidden layer instead of logistic regression"},
        {'C', "inverse-l2", "X", DNAS_OPT_REAL, &l.inverse_l2, 1e-30, 1e30, NULL,
         "weigh the rows' loss by X against half the squared weights"},
        {0, "standardise", "ROWS", DNAS_OPT_CHOICE, &l.standardise, 0, 0, standardise_names,
         "scale columns by the spread of the training rows, of all, or of none"},
        {0, "tol", "X", DNAS_OPT_REAL, &l.tol, 0, 1e30, NULL,
         "stop when no element of the gradient exceeds X; --mlp: when the loss falls less"},
        {0, "max-iter", "N", DNAS_OPT_INT, &l.max_iter, 1, 1e9, NULL,
         "stop logistic regression after N iterations"},
        {0, "hidden", "N", DNAS_OPT_INT, &l.hidden, 1, 1e6, NULL, "with --mlp, N hidden units"},
        {0, "epochs", "N", DNAS_OPT_INT, &l.epochs, 1, 1e9, NULL,
         "with --mlp, pass over the rows N times at most"},
        {'s', "seed", "N", DNAS_OPT_INT, &l.seed, 0, 9007199254740992.0, NULL,
         "draw rows and first weights with seed N"},
        {0, "json", NULL, DNAS_OPT_FLAG, &l.json, 0, 0, NULL,
         "print scores as JSON, an object a line"},
        {0, "format", "FORMAT", DNAS_OPT_CHOICE, &l.format, 0, 0, dnas_labels_formats,
         "with --predict, write a stream, tsv or json; auto is tsv on a terminal"},
        {0},
    };
    const struct dnas_tool tool = {
        .name = "dnas-logreg",
        .summary = "classify embeddings, and score how few labels that takes",
        .operands = "[FILE]",
        .max_operands = 1,
        .writes_stream = true,
        .opts = opts,
        .example = "dnas-logreg --shots 1,2,5,10,20 emb.dnas",
    };
    int status;

    dnas_start(argv);
    status = run_command(&l, &tool, argc, argv);
    dnas_embeddings_release(&l.e);
    dnas_idmap_release(&l.class_name);
    free(l.class);
    free(l.shot);
    free(l.common.command_line);
    return dnas_finish(status);
}
