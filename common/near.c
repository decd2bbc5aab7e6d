/* SPDX-License-Identifier: MIT
 *
 * near.c - an inverted file over rows.  Contract: near.h.
 */
#include "common/near.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "common/msg.h"
#include "common/threads.h"
#include "common/xmem.h"

struct near {
    const float *x;
    size_t N, C, k;
    const struct dnas_knn_options *o;
    size_t n_lists, n_probed;
    float *centre;       /* [n_lists,C] */
    uint32_t *of;        /* [N] the list of a row */
    size_t *at;          /* [n_lists + 1] where a list begins in `row` */
    uint32_t *row;       /* [N] list by list */
    uint32_t *next_list; /* [n_lists,n_probed - 1] nearest first */
    uint32_t *neighbour;
    atomic_size_t n_done;
};

/* One thread's memory, one list's rows. */
struct scratch {
    float *points;          /* [n_points,C], those of the list first */
    uint32_t *id, *nearest; /* [n_points], [n,k + 1] */
    size_t n_points;
};

/* Into lists, rows in their order. */
static void sort_rows(struct near *s)
{
    s->at = dnas_xzalloc(s->n_lists + 2, sizeof(*s->at));
    s->row = dnas_xalloc(s->N, sizeof(*s->row));
    for (size_t i = 0; i < s->N; i++)
        s->at[s->of[i] + 2]++;
    for (size_t l = 0; l < s->n_lists; l++)
        s->at[l + 2] += s->at[l + 1];
    for (size_t i = 0; i < s->N; i++) /* at[l + 1] moves from where l begins to where it ends */
        s->row[s->at[s->of[i] + 1]++] = (uint32_t)i;
}

static int make_lists(struct near *s, struct dnas_err *err)
{
    struct dnas_knn_options o = *s->o;

    o.progress = false;
    o.k = 1;
    s->centre = dnas_xalloc64(s->n_lists, s->C * sizeof(*s->centre));
    s->of = dnas_xalloc(s->N, sizeof(*s->of));
    s->next_list = dnas_xalloc(s->n_lists, s->n_probed * sizeof(*s->next_list));
    for (size_t l = 0; l < s->n_lists; l++) {
        size_t i = l * (s->N / s->n_lists) + l * (s->N % s->n_lists) / s->n_lists;

        memcpy(s->centre + l * s->C, s->x + i * s->C, s->C * sizeof(*s->centre));
    }
    if (dnas_knn_search(s->of, NULL, s->x, s->N, s->centre, s->n_lists, s->C, &o, err) != 0)
        return -1;
    sort_rows(s);
    o.k = s->n_probed - 1;
    return o.k == 0 ? 0
                    : dnas_knn_search(s->next_list, NULL, NULL, s->n_lists, s->centre, s->n_lists,
                                      s->C, &o, err);
}

static size_t size_of(const struct near *s, size_t list)
{
    return s->at[list + 1] - s->at[list];
}

static void gather(const struct near *s, struct scratch *w, size_t list)
{
    const uint32_t *row = s->row + s->at[list];

    for (size_t i = 0; i < size_of(s, list); i++) {
        w->id[w->n_points] = row[i];
        memcpy(w->points + w->n_points++ * s->C, s->x + row[i] * s->C, s->C * sizeof(float));
    }
}

/* The neighbours of a list's rows, which are the first of the points. */
static void write_neighbours(const struct near *s, const struct scratch *w, size_t n, size_t k)
{
    for (size_t i = 0; i < n; i++) {
        uint32_t *out = s->neighbour + w->id[i] * s->k;
        size_t n_out = 0;

        for (size_t j = 0; j < k && n_out < s->k; j++)
            if (w->nearest[i * k + j] != i)
                out[n_out++] = w->id[w->nearest[i * k + j]];
        while (n_out < s->k)
            out[n_out++] = DNAS_NEAR_NONE;
    }
}

static void search_list(void *ctx, size_t list, int worker)
{
    struct near *s = ctx;
    const uint32_t *next = s->next_list + list * (s->n_probed - 1);
    size_t n = size_of(s, list), n_points = n, done;
    struct dnas_knn_options o = {.metric = DNAS_KNN_COSINE, .n_threads = 1};
    struct scratch w = {.n_points = 0};
    struct dnas_err err = {""};

    (void)worker;
    for (size_t l = 0; l + 1 < s->n_probed; l++)
        n_points += size_of(s, next[l]);
    o.k = s->k + 1 < n_points ? s->k + 1 : n_points;
    if (n == 0)
        return;
    w.points = dnas_xalloc64(n_points, s->C * sizeof(*w.points));
    w.id = dnas_xalloc(n_points, sizeof(*w.id));
    w.nearest = dnas_xalloc(n, o.k * sizeof(*w.nearest));
    gather(s, &w, list);
    for (size_t l = 0; l + 1 < s->n_probed; l++)
        gather(s, &w, next[l]);
    if (dnas_knn_search(w.nearest, NULL, w.points, n, w.points, n_points, s->C, &o, &err) != 0)
        DNAS_BUG("%s", err.msg); /* the rows were searched before */
    write_neighbours(s, &w, n, o.k);
    free(w.points);
    free(w.id);
    free(w.nearest);
    done = atomic_fetch_add(&s->n_done, n) + n;
    if (s->o->progress)
        dnas_progress("searching", "rows", done, done, s->N);
}

int dnas_near_search(uint32_t *neighbour, const float *x, size_t N, size_t C,
                     const struct dnas_knn_options *options, struct dnas_err *err)
{
    struct near s = {.x = x, .N = N, .C = C, .k = options->k, .o = options, .neighbour = neighbour};
    int status;

    if (s.k == 0)
        return dnas_err_set(err, "0 neighbours asked for; try 1 or more");
    if (N == 0)
        return 0;
    s.n_lists = (N + DNAS_NEAR_LIST_ROWS - 1) / DNAS_NEAR_LIST_ROWS;
    s.n_probed = s.n_lists < DNAS_NEAR_LISTS ? s.n_lists : DNAS_NEAR_LISTS;
    status = make_lists(&s, err);
    if (status == 0)
        dnas_parallel_for(s.n_lists, options->n_threads, search_list, &s);
    if (options->progress)
        dnas_progress_end();
    free(s.centre);
    free(s.of);
    free(s.at);
    free(s.row);
    free(s.next_list);
    return status;
}
