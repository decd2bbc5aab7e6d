/* SPDX-License-Identifier: MIT
 *
 * fewshot.c - few-shot classification.  Contract: fewshot.h.
 *
 * Each run with each number of shots is a task of its own, those with most
 * shots first.  Where there are more threads than tasks a fit gets several.
 */
#include "common/fewshot.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/rng.h"
#include "common/threads.h"
#include "common/xmem.h"

struct task {
    size_t run, shots; /* shots: index into the options' */
    size_t n_train;    /* rows of each class */
    double score[DNAS_N_CLASSIFY_SCORES];
    bool converged;
    int status;
    struct dnas_err err;
};

struct fewshot {
    const struct dnas_fewshot_options *o;
    const float *x;
    int32_t *y;          /* [N], -1: takes no part */
    size_t C, K;         /* K classes that take part */
    size_t n_dropped;    /* that do not */
    uint32_t *by_class;  /* rows with a class, by class */
    size_t *first;       /* [K+1], into by_class */
    uint32_t *shuffled;  /* [n_runs][first[K]] */
    float *mean, *scale; /* [C] of all rows; NULL: of those that train */
    struct task *tasks;  /* [n_runs * n_shots] */
    int threads_each;
};

/* ---- rows ---- */

static void sort_rows(struct fewshot *f, size_t N)
{
    size_t *next;

    f->first = dnas_xzalloc(f->K + 1, sizeof(*f->first));
    for (size_t i = 0; i < N; i++)
        if (f->y[i] >= 0)
            f->first[f->y[i] + 1]++;
    for (size_t k = 0; k < f->K; k++)
        f->first[k + 1] += f->first[k];
    f->by_class = dnas_xalloc(f->first[f->K], sizeof(*f->by_class));
    next = dnas_xalloc(f->K, sizeof(*next));
    memcpy(next, f->first, f->K * sizeof(*next));
    for (size_t i = 0; i < N; i++)
        if (f->y[i] >= 0)
            f->by_class[next[f->y[i]]++] = (uint32_t)i;
    free(next);
}

/* Rows that a class must have. */
static size_t rows_needed(const struct fewshot *f)
{
    size_t most = 0;

    for (size_t s = 0; s < f->o->n_shots; s++)
        most = f->o->shots[s] > most ? f->o->shots[s] : most;
    return most + f->o->test_per_class;
}

/* Gives f its own y, in which classes with too few rows are -1 and the others numbered anew. */
static void number_classes(struct fewshot *f, const int32_t *y, size_t N)
{
    size_t *n_rows = dnas_xzalloc(f->K, sizeof(*n_rows)), n = 0;
    int32_t *to = dnas_xalloc(f->K, sizeof(*to));

    for (size_t i = 0; i < N; i++)
        if (y[i] >= 0)
            n_rows[y[i]]++;
    for (size_t k = 0; k < f->K; k++)
        to[k] = f->o->drop_small && n_rows[k] < rows_needed(f) ? -1 : (int32_t)n++;
    f->y = dnas_xalloc(N, sizeof(*f->y));
    for (size_t i = 0; i < N; i++)
        f->y[i] = y[i] < 0 ? -1 : to[y[i]];
    f->n_dropped = f->K - n;
    f->K = n;
    free(to);
    free(n_rows);
}

/* Without drop_small, classes have kept their numbers. */
static int check_classes(const struct fewshot *f, const struct dnas_idmap *names,
                         struct dnas_err *err)
{
    char *name;

    for (size_t k = 0; k < f->K; k++) {
        size_t n = f->first[k + 1] - f->first[k], test = f->o->test_per_class;

        if (n >= rows_needed(f))
            continue;
        name = names ? dnas_xasprintf("'%.200s'", dnas_idmap_text(names, k))
                     : dnas_xasprintf("%zu", k);
        dnas_err_set(err,
                     "class %s has %zu rows, too few for %zu shots and %zu test rows: try fewer, "
                     "or --drop-small",
                     name, n, rows_needed(f) - test, test);
        free(name);
        return -1;
    }
    if (f->K < 2)
        return dnas_err_set(err,
                            "%zu classes with %zu rows or more: there must be two to tell apart",
                            f->K, rows_needed(f));
    return 0;
}

static void shuffle(struct fewshot *f)
{
    size_t n_rows = f->first[f->K];
    uint64_t *order = dnas_xalloc(n_rows, sizeof(*order));

    f->shuffled = dnas_xalloc(f->o->n_runs, n_rows * sizeof(*f->shuffled));
    for (size_t run = 0; run < f->o->n_runs; run++)
        for (size_t k = 0; k < f->K; k++) {
            size_t begin = f->first[k], n = f->first[k + 1] - begin;
            struct dnas_rng rng;

            dnas_rng_init(&rng, f->o->seed, DNAS_RNG_FEWSHOT, (uint32_t)run, (uint32_t)k);
            dnas_rng_sample(&rng, order, n, n);
            for (size_t i = 0; i < n; i++)
                f->shuffled[run * n_rows + begin + i] = f->by_class[begin + order[i]];
        }
    free(order);
}

/* The first (or, at_end, the last) n rows of each class of a run. */
static uint32_t *rows_of(const struct fewshot *f, size_t run, size_t n, bool at_end)
{
    const uint32_t *shuffled = f->shuffled + run * f->first[f->K];
    uint32_t *row = dnas_xalloc(f->K, n * sizeof(*row));

    for (size_t k = 0; k < f->K; k++)
        memcpy(row + k * n, shuffled + (at_end ? f->first[k + 1] - n : f->first[k]),
               n * sizeof(*row));
    return row;
}

/* ---- a fit and its scores ---- */

static void score(struct task *t, const struct fewshot *f, const struct dnas_classifier *c)
{
    size_t n = f->K * f->o->test_per_class;
    uint32_t *row = rows_of(f, t->run, f->o->test_per_class, true);
    int32_t *predicted = dnas_xalloc(n, sizeof(*predicted)),
            *truth = dnas_xalloc(n, sizeof(*truth));
    double *p_true = dnas_xalloc(n, sizeof(*p_true));
    struct dnas_classify_scores scores;

    dnas_classifier_predict(predicted, NULL, p_true, c, f->x, row, f->y, n, f->threads_each);
    for (size_t i = 0; i < n; i++)
        truth[i] = f->y[row[i]];
    dnas_classify_score(&scores, predicted, truth, p_true, n, f->K);
    dnas_classify_score_values(t->score, &scores);
    free(p_true);
    free(truth);
    free(predicted);
    free(row);
}

static void run_task(void *ctx, size_t i, int worker)
{
    struct fewshot *f = ctx;
    struct task *t = &f->tasks[i];
    struct dnas_classifier_options fit = f->o->fit;
    struct dnas_classifier_info info;
    struct dnas_classifier c;
    uint32_t *row = rows_of(f, t->run, t->n_train, false);

    (void)worker;
    fit.logreg.n_threads = f->threads_each;
    fit.mlp.seed = f->o->seed;
    fit.mlp.step = (uint32_t)t->run;
    t->status = dnas_classifier_fit(&c, &info, &fit, f->mean, f->scale, f->x, row, f->y,
                                    f->K * t->n_train, f->C, f->K, &t->err);
    if (t->status == 0) {
        t->converged = info.converged;
        score(t, f, &c);
    }
    dnas_classifier_release(&c);
    free(row);
}

/* ---- all of them ---- */

/* The longest first, so that no thread is left with one at the end. */
static int by_length(const void *a, const void *b)
{
    const struct task *s = a, *t = b;

    if (s->n_train != t->n_train)
        return s->n_train > t->n_train ? -1 : 1;
    return s->run < t->run ? -1 : s->run > t->run;
}

static void make_tasks(struct fewshot *f)
{
    size_t n = f->o->n_runs * f->o->n_shots;

    f->tasks = dnas_xzalloc(n, sizeof(*f->tasks));
    for (size_t i = 0; i < n; i++)
        f->tasks[i] = (struct task){.run = i / f->o->n_shots,
                                    .shots = i % f->o->n_shots,
                                    .n_train = f->o->shots[i % f->o->n_shots]};
    qsort(f->tasks, n, sizeof(*f->tasks), by_length);
    f->threads_each = (size_t)f->o->n_threads > n ? f->o->n_threads / (int)n : 1;
}

static void standardise_all(struct fewshot *f)
{
    if (f->o->standardise == DNAS_STANDARDISE_TRAINING)
        return;
    f->mean = dnas_xalloc(f->C, sizeof(*f->mean));
    f->scale = dnas_xalloc(f->C, sizeof(*f->scale));
    dnas_standardiser(f->mean, f->scale, f->x, f->by_class,
                      f->o->standardise == DNAS_STANDARDISE_ALL ? f->first[f->K] : 0, f->C);
}

/* Mean and deviation over the runs, whatever the order of the tasks. */
static void summarise(struct dnas_fewshot_result *result, const struct fewshot *f)
{
    size_t n_runs = f->o->n_runs, n_tasks = n_runs * f->o->n_shots;
    double *value = dnas_xalloc(n_tasks, sizeof(*value)); /* [n_shots,n_runs] */

    for (size_t s = 0; s < f->o->n_shots; s++)
        result[s] = (struct dnas_fewshot_result){.n_shots = f->o->shots[s],
                                                 .n_runs = n_runs,
                                                 .n_classes = f->K,
                                                 .n_dropped = f->n_dropped,
                                                 .n_train = f->K * f->o->shots[s],
                                                 .n_test = f->K * f->o->test_per_class};
    for (size_t i = 0; i < n_tasks; i++)
        result[f->tasks[i].shots].n_unfinished += !f->tasks[i].converged;
    for (int m = 0; m < DNAS_N_CLASSIFY_SCORES; m++) {
        for (size_t i = 0; i < n_tasks; i++)
            value[f->tasks[i].shots * n_runs + f->tasks[i].run] = f->tasks[i].score[m];
        for (size_t s = 0; s < f->o->n_shots; s++) {
            double sum = 0, squares = 0;

            for (size_t run = 0; run < n_runs; run++)
                sum += value[s * n_runs + run];
            result[s].mean[m] = sum / (double)n_runs;
            for (size_t run = 0; run < n_runs; run++)
                squares += pow(value[s * n_runs + run] - result[s].mean[m], 2);
            result[s].deviation[m] = sqrt(squares / (double)n_runs);
        }
    }
    free(value);
}

static void release(struct fewshot *f)
{
    free(f->y);
    free(f->by_class);
    free(f->first);
    free(f->shuffled);
    free(f->mean);
    free(f->scale);
    free(f->tasks);
}

int dnas_fewshot_run(struct dnas_fewshot_result *result, const float *x, const int32_t *y, size_t N,
                     size_t C, size_t K, const struct dnas_idmap *names,
                     const struct dnas_fewshot_options *options, struct dnas_err *err)
{
    struct fewshot f = {.o = options, .x = x, .C = C, .K = K};
    size_t n_tasks = options->n_runs * options->n_shots;
    int status = -1;

    if (n_tasks == 0 || options->test_per_class == 0 || options->n_threads < 1)
        DNAS_BUG("%zu runs of %zu shots, %zu test rows, %d threads", options->n_runs,
                 options->n_shots, options->test_per_class, options->n_threads);
    if (N > UINT32_MAX)
        return dnas_err_set(err, "%zu rows: at most 2^32 - 1 can be classified", N);
    number_classes(&f, y, N);
    sort_rows(&f, N);
    if (check_classes(&f, names, err) == 0) {
        shuffle(&f);
        standardise_all(&f);
        make_tasks(&f);
        dnas_parallel_for(n_tasks, options->n_threads, run_task, &f);
        status = 0;
        for (size_t i = 0; i < n_tasks && status == 0; i++)
            if (f.tasks[i].status != 0)
                status = dnas_err_set(err, "%s", f.tasks[i].err.msg);
        if (status == 0)
            summarise(result, &f);
    }
    release(&f);
    return status;
}
