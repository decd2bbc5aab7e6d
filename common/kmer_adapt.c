/* SPDX-License-Identifier: MIT
 *
 * kmer_adapt.c - a k-mer model fitted to halves.  Contract: kmer_adapt.h.
 *
 * Both ways are one fit (kmer_fit.h) of pairs: of profiles, or of what the
 * model makes of them.  There a species' spread is 1 in all directions as the
 * model sees it, and a ridge draws the halves' spread towards that.
 */
#include "common/kmer_adapt.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/io.h"
#include "common/kmer_fit.h"
#include "common/msg.h"
#include "common/threads.h"
#include "common/xmem.h"
#include "kernels/kernels.h"

const char *const dnas_kmer_adapts[] = {"none", "own", "shrunk", NULL};

/* Sequences side by side. */
#define BATCH 128
/* Of the halves' largest eigenvalue, added in all directions. */
#define RIDGE_OWN 0.01
#define RIDGE_SHRUNK 0.3

struct job {
    const struct dnas_kmer_model *m;
    enum dnas_kmer_adapt_how how;
    int n_threads;
    struct dnas_kmer_fit *fit;
    size_t I, D; /* of a profile; of what is fitted */
    char *letters[BATCH];
    size_t lengths[BATCH], n;
    uint64_t *counts; /* [n_threads,n_counts] */
    float *profiles;  /* [2 BATCH,I] first halves, then second ones */
    float *x;         /* [2 BATCH,D] */
    uint64_t n_kmers[2 * BATCH];
    double *sum; /* [I] of profiles */
    uint64_t n_pairs;
};

static void half(void *ctx, size_t task, int worker)
{
    struct job *j = ctx;
    const struct dnas_kmer_profile *p = dnas_kmer_model_profile(j->m);
    size_t i = task % BATCH, n_counts = dnas_kmer_profile_n_counts(p);
    size_t middle = j->lengths[i] / 2, from = task < BATCH ? 0 : middle;
    size_t n = task < BATCH ? middle : j->lengths[i] - middle;
    uint64_t *counts = j->counts + (size_t)worker * n_counts;
    float *profile = j->profiles + task * j->I;

    if (i >= j->n)
        return;
    memset(counts, 0, n_counts * sizeof(*counts));
    dnas_cpu_kmer_count(counts, j->letters[i] + from, n, dnas_kmer_profile_k(p));
    j->n_kmers[task] = dnas_kmer_profile_make(p, profile, counts);
    if (j->how == DNAS_KMER_ADAPT_SHRUNK)
        dnas_kmer_model_embed_profile(j->m, j->x + task * j->D, profile, j->n_kmers[task]);
}

/* The batch's halves into the fit. */
static void take_batch(struct job *j)
{
    const float *x = j->how == DNAS_KMER_ADAPT_SHRUNK ? j->x : j->profiles;

    dnas_parallel_for(2 * BATCH, j->n_threads, half, j);
    for (size_t i = 0; i < j->n; i++) {
        const float *a = j->profiles + i * j->I, *b = j->profiles + (BATCH + i) * j->I;
        uint32_t group = 0;

        if (j->n_kmers[i] == 0 || j->n_kmers[BATCH + i] == 0) /* a gap */
            continue;
        dnas_kmer_fit_add_pairs(j->fit, x + i * j->D, x + (BATCH + i) * j->D, &group, 1);
        for (size_t k = 0; k < j->I; k++)
            j->sum[k] += ((double)a[k] + (double)b[k]) / 2;
        j->n_pairs++;
    }
    j->n = 0;
}

static int read_all(struct job *j, struct dnas_seq *s, struct dnas_err *err)
{
    int status;

    while ((status = dnas_seq_next(s, err)) == 1) {
        ptrdiff_t n = dnas_seq_read(s, j->letters[j->n], DNAS_KMER_ADAPT_MAX_BP, err);
        uint64_t done, total;

        if (n < 0)
            return -1;
        dnas_seq_progress(s, &done, &total);
        dnas_progress("adapting", "sequences", dnas_seq_n_records(s), done, total);
        if (n < 2 * DNAS_KMER_ADAPT_MIN_HALF_BP)
            continue;
        j->lengths[j->n++] = (size_t)n;
        if (j->n == BATCH)
            take_batch(j);
    }
    dnas_progress_end();
    if (status == 0)
        take_batch(j);
    return status;
}

/* The fitted map as a model of profiles: itself, or behind the model's own. */
static struct dnas_kmer_model *make_model(const struct job *j, const struct dnas_kmer_map *map,
                                          struct dnas_err *err)
{
    struct dnas_kmer_parts parts = *dnas_kmer_model_parts(j->m);
    float *mean = dnas_xalloc(j->I, sizeof(*mean));
    float *weight = dnas_xalloc(map->O, j->I * sizeof(*weight));
    struct dnas_kmer_model *m;

    for (size_t i = 0; i < j->I; i++)
        mean[i] = (float)(j->sum[i] / (double)j->n_pairs);
    for (size_t o = 0; o < map->O; o++)
        for (size_t i = 0; i < j->I; i++) {
            double sum = j->how == DNAS_KMER_ADAPT_OWN ? map->weight[o * j->I + i] : 0;

            for (size_t k = 0; j->how == DNAS_KMER_ADAPT_SHRUNK && k < j->D; k++)
                sum += (double)map->weight[o * j->D + k] * parts.weight[k * j->I + i];
            weight[o * j->I + i] = (float)sum;
        }
    parts.O = map->O;
    parts.mean = mean;
    parts.weight = weight;
    parts.between = parts.noise = parts.noise_kb = NULL; /* another map, another noise */
    m = dnas_kmer_model_new(&parts, err);
    free(mean);
    free(weight);
    return m;
}

static int check(const struct dnas_kmer_model *m, char *const *paths, int n_paths,
                 struct dnas_err *err)
{
    const struct dnas_kmer_parts *p = dnas_kmer_model_parts(m);

    if (p->n_layers > 0 || p->length || p->normalise)
        return dnas_err_set(err, "--adapt takes a model that is a map alone, without layers");
    return dnas_in_can_reopen(paths, n_paths, "--adapt", err);
}

static struct dnas_kmer_model *adapt(struct job *j, struct dnas_seq *s, struct dnas_err *err)
{
    struct dnas_kmer_map map = {0};
    struct dnas_kmer_model *m = NULL;
    double ridge = j->how == DNAS_KMER_ADAPT_OWN ? RIDGE_OWN : RIDGE_SHRUNK;

    if (read_all(j, s, err) != 0)
        return NULL;
    if (j->n_pairs < 2)
        dnas_err_set(err, "--adapt needs two sequences of %d letters or more",
                     2 * DNAS_KMER_ADAPT_MIN_HALF_BP);
    else if (dnas_kmer_fit_map(j->fit, &map, dnas_kmer_model_dims(j->m), ridge, err) == 0)
        m = make_model(j, &map, err);
    dnas_kmer_map_release(&map);
    return m;
}

struct dnas_kmer_model *dnas_kmer_adapt(const struct dnas_kmer_model *m,
                                        enum dnas_kmer_adapt_how how, char *const *paths,
                                        int n_paths, const struct dnas_seq_options *options,
                                        int n_threads, struct dnas_err *err)
{
    const struct dnas_kmer_profile *p = dnas_kmer_model_profile(m);
    struct dnas_seq_options all = *options;
    struct dnas_kmer_model *adapted = NULL;
    struct dnas_seq *s = NULL;
    struct job *j;

    if (how == DNAS_KMER_ADAPT_NONE)
        DNAS_BUG("nothing to adapt to");
    all.shard = all.n_shards = 0;
    if (check(m, paths, n_paths, err) != 0 || !(s = dnas_seq_open(NULL, paths, n_paths, &all, err)))
        return NULL;
    j = dnas_xzalloc(1, sizeof(*j));
    j->m = m;
    j->how = how;
    j->n_threads = n_threads;
    j->I = dnas_kmer_profile_dims(p);
    j->D = how == DNAS_KMER_ADAPT_OWN ? j->I : dnas_kmer_model_dims(m);
    j->fit = dnas_kmer_fit_new(j->D, n_threads);
    for (size_t i = 0; i < BATCH; i++)
        j->letters[i] = dnas_xalloc(DNAS_KMER_ADAPT_MAX_BP, 1);
    j->counts = dnas_xalloc((size_t)n_threads, dnas_kmer_profile_n_counts(p) * sizeof(*j->counts));
    j->profiles = dnas_xalloc(2 * BATCH, j->I * sizeof(*j->profiles));
    j->x = dnas_xalloc(2 * BATCH, j->D * sizeof(*j->x));
    j->sum = dnas_xzalloc(j->I, sizeof(*j->sum));
    adapted = adapt(j, s, err);
    for (size_t i = 0; i < BATCH; i++)
        free(j->letters[i]);
    dnas_kmer_fit_free(j->fit);
    free(j->counts);
    free(j->profiles);
    free(j->x);
    free(j->sum);
    free(j);
    dnas_seq_close(s);
    return adapted;
}
