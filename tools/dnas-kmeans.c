/* SPDX-License-Identifier: MIT
 *
 * dnas-kmeans - cluster embeddings by k-means.
 *
 * In:  EMBEDDINGS
 * Out: LABELS
 */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/embeddings.h"
#include "common/kmeans.h"
#include "common/msg.h"
#include "common/npy.h"
#include "common/opt.h"
#include "common/xmem.h"

struct kmeans {
    struct dnas_common common;
    const char *k, *init;
    int64_t n_init, max_iter, seed;
    double tol;
    bool no_normalise;
    int format;
    long n_clusters; /* from -k; 0: as many as there are labels */
    struct dnas_embeddings e;
    struct dnas_npy centres; /* from --init FILE */
};

static int choose_k(struct kmeans *k, struct dnas_kmeans_options *o, struct dnas_err *err)
{
    int32_t *classes;

    o->K = (size_t)k->n_clusters;
    if (k->n_clusters > 0)
        return 0;
    classes = dnas_xalloc(k->e.N, sizeof(*classes));
    o->K = dnas_embeddings_classes(&k->e, classes, NULL);
    free(classes);
    if (o->K == 0 && k->e.N > 0)
        return dnas_err_set(err, "-k labels: no row has a label; give -k a number");
    return 0;
}

static int choose_init(struct kmeans *k, struct dnas_kmeans_options *o, struct dnas_err *err)
{
    if (strcmp(k->init, "random") == 0) {
        o->init = DNAS_KMEANS_RANDOM;
        return 0;
    }
    if (strcmp(k->init, "k-means++") == 0) {
        o->init = DNAS_KMEANS_PLUS_PLUS;
        return 0;
    }
    if (dnas_npy_read(&k->centres, k->init, DNAS_NPY_AS_F32, err) != 0)
        return -1;
    if (k->centres.n_dims != 2 || k->centres.shape[0] != o->K || k->centres.shape[1] != k->e.C)
        return dnas_err_set(err, "%s: holds %zu x %zu numbers, not %zu centres of %zu dimensions",
                            k->init, k->centres.shape[0], k->centres.shape[1], o->K, k->e.C);
    o->init = DNAS_KMEANS_GIVEN;
    o->given = k->centres.f32;
    return 0;
}

/* The cosine of each row to its centre; 0 where either has no length. */
static void cosines(float *score, const struct dnas_embeddings *e, const struct dnas_kmeans *km)
{
    for (size_t row = 0; row < e->N; row++) {
        const float *x = e->x + row * e->C;
        const float *c = km->centre + (size_t)km->label[row] * e->C;
        double xc = 0, xx = 0, cc = 0;

        for (size_t i = 0; i < e->C; i++) {
            xc += (double)x[i] * (double)c[i];
            xx += (double)x[i] * (double)x[i];
            cc += (double)c[i] * (double)c[i];
        }
        score[row] = xx > 0 && cc > 0 ? (float)(xc / sqrt(xx * cc)) : 0;
    }
}

static void say(const struct kmeans *k, const struct dnas_kmeans *km, size_t n_zero)
{
    if (n_zero > 0)
        dnas_msg_warn("%zu rows are all zero: they have no direction and share a cluster", n_zero);
    if (!km->converged && k->e.N > 0)
        dnas_msg_warn("no convergence within %lld iterations: see --max-iter",
                      (long long)k->max_iter);
    if (km->n_empty > 0)
        dnas_msg_warn("%zu of %zu clusters are empty: there are fewer different rows", km->n_empty,
                      km->K);
    dnas_msg_verbose("inertia %.9g after %d iterations of start %d", km->inertia, km->n_iter,
                     km->start + 1);
    dnas_msg_closing(k->e.N, "sequences");
}

static int run(struct kmeans *k, const struct dnas_tool *tool, const char *path,
               struct dnas_err *err)
{
    struct dnas_kmeans_options o = {.n_starts = (int)k->n_init,
                                    .max_iter = (int)k->max_iter,
                                    .tol = k->tol,
                                    .seed = (uint64_t)k->seed,
                                    .n_threads = (int)k->common.threads};
    struct dnas_kmeans km = {0};
    float *score = NULL;
    size_t n_zero = 0;
    int status = -1;

    if (dnas_embeddings_load(&k->e, path, err) != 0 || choose_k(k, &o, err) != 0 ||
        choose_init(k, &o, err) != 0)
        return -1;
    if (!k->no_normalise)
        n_zero = dnas_kmeans_unit_rows(k->e.x, k->e.N, k->e.C, o.n_threads);
    if (dnas_kmeans_run(&km, k->e.x, k->e.N, k->e.C, &o, err) == 0) {
        score = dnas_xalloc(k->e.N, sizeof(*score));
        cosines(score, &k->e, &km);
        status = dnas_labels_write(&k->e, km.label, score, (enum dnas_labels_format)k->format, tool,
                                   &k->common, &k->seed, err);
        if (status == 0)
            say(k, &km, n_zero);
    }
    free(score);
    dnas_kmeans_release(&km);
    return status;
}

/* What the table of options cannot check.  -1 to go on, or the exit status. */
static int check(struct kmeans *k)
{
    char *end;

    if (!k->k)
        return dnas_usage_error("how many clusters? give -k a number, or -k labels");
    if (strcmp(k->k, "labels") == 0)
        return -1;
    errno = 0;
    k->n_clusters = strtol(k->k, &end, 10);
    if (end == k->k || *end || errno || k->n_clusters < 1 || k->n_clusters > INT32_MAX)
        return dnas_usage_error("-k takes a number of clusters or 'labels', not '%s'", k->k);
    return -1;
}

int main(int argc, char **argv)
{
    struct kmeans k = {.init = "k-means++", .n_init = 3, .max_iter = 1000, .tol = 1e-4, .seed = 0};
    const struct dnas_opt opts[] = {
        {'k', "clusters", "N", DNAS_OPT_TEXT, &k.k, 0, 0, NULL,
         "make N clusters, or 'labels': as many as there are labels"},
        {0, "init", "HOW", DNAS_OPT_TEXT, &k.init, 0, 0, NULL,
         "start from random rows, k-means++, or the centres in FILE.npy"},
        {0, "n-init", "N", DNAS_OPT_INT, &k.n_init, 1, 10000, NULL, "keep the best of N starts"},
        {0, "max-iter", "N", DNAS_OPT_INT, &k.max_iter, 1, 1e9, NULL,
         "stop a start after N iterations"},
        {0, "tol", "X", DNAS_OPT_REAL, &k.tol, 0, 1e30, NULL,
         "stop when the centres move less than X times the mean variance"},
        {'s', "seed", "N", DNAS_OPT_INT, &k.seed, 0, 9007199254740992.0, NULL,
         "draw the starts with seed N"},
        {0, "no-normalise", NULL, DNAS_OPT_FLAG, &k.no_normalise, 0, 0, NULL,
         "leave the lengths of the embeddings as they are"},
        {0, "format", "FORMAT", DNAS_OPT_CHOICE, &k.format, 0, 0, dnas_labels_formats,
         "write a stream, tsv or json; auto is tsv on a terminal"},
        {0},
    };
    const struct dnas_tool tool = {
        .name = "dnas-kmeans",
        .summary = "cluster embeddings by k-means",
        .operands = "[FILE]",
        .max_operands = 1,
        .writes_stream = true,
        .opts = opts,
        .example = "dnas-embed -m tnf-canonical reads.fa | dnas-kmeans -k labels | dnas-ari",
    };
    struct dnas_err err = {""};
    char **paths;
    int n_paths, status;

    dnas_start(argv);
    status = dnas_opt_parse(&tool, &k.common, argc, argv, &paths, &n_paths);
    if (status < 0)
        status = check(&k);
    if (status < 0)
        status = dnas_status(run(&k, &tool, n_paths > 0 ? paths[0] : NULL, &err), &err);
    dnas_embeddings_release(&k.e);
    dnas_npy_release(&k.centres);
    free(k.common.command_line);
    return dnas_finish(status);
}
