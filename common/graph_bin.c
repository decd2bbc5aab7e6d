/* SPDX-License-Identifier: MIT
 *
 * graph_bin.c - greedy merging over a graph of neighbours.  Contract: graph_bin.h.
 *
 * A merge makes a cluster of a new number, so that a number in a list that is no
 * longer a cluster's own says by itself that what was computed with it is stale.
 * Each cluster has one entry in a heap: its likeliest partner.  The ratio of any
 * two clusters was computed when the later of the two was made, or after; so
 * the first entry of the heap whose two clusters both live is the likeliest of all
 * pairs, and where the partner is gone the cluster looks for another.
 */
#include "common/graph_bin.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/knn.h"
#include "common/msg.h"
#include "common/near.h"
#include "common/threads.h"
#include "common/xmem.h"

#define NONE UINT32_MAX
/* Rows in one task. */
#define PORTION 256

struct edge {
    double ratio; /* of one species against two */
    uint32_t to;
};

struct list {
    struct edge *edge;
    uint32_t n;
};

struct entry {
    double ratio;
    uint32_t owner, partner;
};

struct work {
    const struct dnas_plda *plda;
    const struct dnas_graph_bin_options *o;
    const float *x;            /* [N,C] */
    const uint32_t *length_bp; /* [N] */
    const float *own;          /* [N,n_own] */
    size_t N, C;
    size_t n;          /* clusters made so far, at most 2 N - 1: rows first */
    double *stats;     /* [N,2,stride]: p and h */
    uint32_t *slot;    /* [2 N] the cluster's row in stats */
    uint32_t *parent;  /* [2 N] the cluster it became part of, or itself */
    double *evidence;  /* [2 N] */
    struct list *list; /* [2 N] */
    uint32_t *mark;    /* [2 N] the last list that the cluster was seen in */
    uint32_t n_marks;
    struct entry *heap; /* [N] */
    size_t n_heap;
    bool *is_zero; /* [N] */
    /* While lists are made: */
    const uint32_t *neighbour; /* [N,k] */
    const uint32_t *back;      /* whose neighbour row i is: from back_at[i] to back_at[i + 1] */
    const size_t *back_at;     /* [N + 1] */
    size_t k;
};

/* A row's own variances. */
static const float *own_of(const struct work *w, size_t row)
{
    return w->own ? w->own + row * w->plda->n_own : NULL;
}

/* ---- clusters ---- */

static uint32_t find(struct work *w, uint32_t a)
{
    uint32_t root = a;

    while (w->parent[root] != root)
        root = w->parent[root];
    while (w->parent[a] != root) {
        uint32_t next = w->parent[a];

        w->parent[a] = root;
        a = next;
    }
    return root;
}

static double *p_of(const struct work *w, uint32_t cluster)
{
    return w->stats + (size_t)w->slot[cluster] * 2 * w->plda->stride;
}

static double ratio_of(const struct work *w, uint32_t a, uint32_t b)
{
    const double *p = p_of(w, a), *q = p_of(w, b);
    size_t stride = w->plda->stride;

    /* The later cluster first, whoever asks: the same bits. */
    if (a < b)
        return ratio_of(w, b, a);
    return dnas_plda_joint(w->plda, p, p + stride, q, q + stride) - w->evidence[a] - w->evidence[b];
}

/* ---- the order of pairs ---- */

/* Whether pair a, b of ratio r goes before c, d of ratio s. */
static bool goes_before(double r, uint32_t a, uint32_t b, double s, uint32_t c, uint32_t d)
{
    uint32_t low = a < b ? a : b, low2 = c < d ? c : d;
    uint32_t high = a < b ? b : a, high2 = c < d ? d : c;

    if (r != s)
        return r > s;
    return low != low2 ? low < low2 : high < high2;
}

static bool entry_before(const struct entry *a, const struct entry *b)
{
    return goes_before(a->ratio, a->owner, a->partner, b->ratio, b->owner, b->partner);
}

static void push(struct work *w, struct entry e)
{
    size_t at = w->n_heap++;

    for (; at > 0 && entry_before(&e, &w->heap[(at - 1) / 2]); at = (at - 1) / 2)
        w->heap[at] = w->heap[(at - 1) / 2];
    w->heap[at] = e;
}

static struct entry pop(struct work *w)
{
    struct entry top = w->heap[0], last = w->heap[--w->n_heap];
    size_t at = 0, child;

    for (; (child = 2 * at + 1) < w->n_heap; at = child) {
        if (child + 1 < w->n_heap && entry_before(&w->heap[child + 1], &w->heap[child]))
            child++;
        if (!entry_before(&w->heap[child], &last))
            break;
        w->heap[at] = w->heap[child];
    }
    if (w->n_heap > 0)
        w->heap[at] = last;
    return top;
}

/* ---- lists ---- */

static int by_ratio(const void *a, const void *b)
{
    const struct edge *x = a, *y = b;

    if (x->ratio != y->ratio)
        return x->ratio > y->ratio ? -1 : 1;
    return (x->to > y->to) - (x->to < y->to);
}

/* Keeps the likeliest, if there are more than a list may have. */
static void shorten(const struct work *w, struct list *l)
{
    if (l->n <= w->o->max_list)
        return;
    qsort(l->edge, l->n, sizeof(*l->edge), by_ratio);
    l->n = (uint32_t)w->o->max_list;
    l->edge = dnas_xrealloc(l->edge, l->n, sizeof(*l->edge));
}

/* The heap's entry of a cluster, if one of its neighbours is likely of its species. */
static void offer(struct work *w, uint32_t owner)
{
    const struct list *l = &w->list[owner];
    struct entry best = {0, owner, NONE};

    for (uint32_t i = 0; i < l->n; i++)
        if (l->edge[i].ratio > 0 &&
            (best.partner == NONE ||
             goes_before(l->edge[i].ratio, owner, l->edge[i].to, best.ratio, owner, best.partner)))
            best = (struct entry){l->edge[i].ratio, owner, l->edge[i].to};
    if (best.partner != NONE)
        push(w, best);
}

/* Brings a cluster's list up to date: what its neighbours have become, each once. */
static void refresh(struct work *w, uint32_t owner)
{
    struct list *l = &w->list[owner];
    uint32_t n = 0, stamp = ++w->n_marks;

    w->mark[owner] = stamp;
    for (uint32_t i = 0; i < l->n; i++) /* those that are current first, with their ratios */
        if (w->parent[l->edge[i].to] == l->edge[i].to)
            w->mark[l->edge[i].to] = stamp;
    for (uint32_t i = 0; i < l->n; i++) {
        struct edge e = l->edge[i];
        uint32_t now = find(w, e.to);

        if (now != e.to) {
            if (w->mark[now] == stamp)
                continue;
            w->mark[now] = stamp;
            e = (struct edge){ratio_of(w, owner, now), now};
        }
        l->edge[n++] = e;
    }
    l->n = n;
}

/* Appends the neighbours of `part`, now in `made`, to the list of that. */
static void inherit(struct work *w, uint32_t made, uint32_t part, uint32_t stamp)
{
    struct list *to = &w->list[made], *from = &w->list[part];

    for (uint32_t i = 0; i < from->n; i++) {
        uint32_t now = find(w, from->edge[i].to);

        if (w->mark[now] == stamp)
            continue;
        w->mark[now] = stamp;
        to->edge[to->n++] = (struct edge){ratio_of(w, made, now), now};
    }
    free(from->edge);
    *from = (struct list){NULL, 0};
}

static void merge(struct work *w, uint32_t a, uint32_t b)
{
    uint32_t made = (uint32_t)w->n++, stamp;
    size_t width = 2 * w->plda->stride;
    double *p = p_of(w, a);
    const double *q = p_of(w, b);

    for (size_t i = 0; i < width; i++)
        p[i] += q[i];
    w->slot[made] = w->slot[a];
    w->parent[made] = w->parent[a] = w->parent[b] = made;
    w->evidence[made] = dnas_plda_evidence(w->plda, p, p + width / 2);
    w->list[made].edge =
        dnas_xalloc((size_t)w->list[a].n + w->list[b].n, sizeof(*w->list[made].edge));
    stamp = ++w->n_marks;
    w->mark[made] = stamp;
    inherit(w, made, a, stamp);
    inherit(w, made, b, stamp);
    shorten(w, &w->list[made]);
    offer(w, made);
}

static void merge_all(struct work *w)
{
    size_t n_first = w->n_heap;

    while (w->n_heap > 0) {
        struct entry e = pop(w);

        if (w->parent[e.owner] != e.owner)
            continue;
        if (w->parent[e.partner] == e.partner) {
            /* The same numbers added in the same order, whichever offered. */
            merge(w, e.owner < e.partner ? e.owner : e.partner,
                  e.owner < e.partner ? e.partner : e.owner);
        } else {
            refresh(w, e.owner);
            offer(w, e.owner);
        }
        if (w->o->progress && w->n % 1024 == 0)
            dnas_progress("merging", "clusters", w->n - w->N, w->n - w->N, n_first);
    }
    if (w->o->progress)
        dnas_progress_end();
}

/* ---- rows ---- */

static void prepare_portion(void *ctx, size_t portion, int worker)
{
    struct work *w = ctx;
    size_t end = (portion + 1) * PORTION < w->N ? (portion + 1) * PORTION : w->N;

    (void)worker;
    for (size_t i = portion * PORTION; i < end; i++) {
        double *p = w->stats + i * 2 * w->plda->stride;
        const float *x = w->x + i * w->C;

        dnas_plda_sequence(w->plda, p, p + w->plda->stride, x, w->length_bp[i], own_of(w, i));
        w->evidence[i] = dnas_plda_evidence(w->plda, p, p + w->plda->stride);
        w->slot[i] = w->parent[i] = (uint32_t)i;
        w->is_zero[i] = true;
        for (size_t c = 0; c < w->C - w->plda->n_own; c++)
            w->is_zero[i] = w->is_zero[i] && x[c] == 0;
    }
}

static void add_edge(struct work *w, uint32_t i, uint32_t to)
{
    struct list *l = &w->list[i];

    if (w->is_zero[i] || w->is_zero[to])
        return;
    for (uint32_t j = 0; j < l->n && j < w->k; j++) /* its own neighbours come first */
        if (l->edge[j].to == to)
            return;
    l->edge[l->n++] = (struct edge){ratio_of(w, i, to), to};
}

static void list_portion(void *ctx, size_t portion, int worker)
{
    struct work *w = ctx;
    size_t end = (portion + 1) * PORTION < w->N ? (portion + 1) * PORTION : w->N;

    (void)worker;
    for (size_t i = portion * PORTION; i < end; i++) {
        struct list *l = &w->list[i];

        l->edge = dnas_xalloc(w->k + w->back_at[i + 1] - w->back_at[i], sizeof(*l->edge));
        for (size_t j = 0; j < w->k; j++)
            if (w->neighbour[i * w->k + j] != NONE)
                add_edge(w, (uint32_t)i, w->neighbour[i * w->k + j]);
        for (size_t j = w->back_at[i]; j < w->back_at[i + 1]; j++)
            add_edge(w, (uint32_t)i, w->back[j]);
        l->edge = dnas_xrealloc(l->edge, l->n, sizeof(*l->edge));
        shorten(w, l);
    }
}

/* Lists of neighbours both ways. */
static void make_lists(struct work *w)
{
    size_t n_portions = (w->N + PORTION - 1) / PORTION, n = w->N * w->k;
    size_t *at = dnas_xzalloc(w->N + 2, sizeof(*at));
    uint32_t *back = dnas_xalloc(n, sizeof(*back));

    for (size_t e = 0; e < n; e++)
        if (w->neighbour[e] != NONE)
            at[w->neighbour[e] + 2]++;
    for (size_t i = 0; i < w->N; i++)
        at[i + 2] += at[i + 1];
    for (size_t e = 0; e < n; e++) /* at[i + 1] moves from where i begins to where it ends */
        if (w->neighbour[e] != NONE)
            back[at[w->neighbour[e] + 1]++] = (uint32_t)(e / w->k);
    w->back = back;
    w->back_at = at;
    dnas_parallel_for(n_portions, w->o->n_threads, list_portion, w);
    free(at);
    free(back);
    for (size_t i = 0; i < w->N; i++)
        offer(w, (uint32_t)i);
}

struct directions {
    const struct work *w;
    float *out; /* [N,C] */
};

static void direct_portion(void *ctx, size_t portion, int worker)
{
    const struct directions *d = ctx;
    const struct work *w = d->w;
    size_t end = (portion + 1) * PORTION < w->N ? (portion + 1) * PORTION : w->N;

    (void)worker;
    for (size_t i = portion * PORTION; i < end; i++)
        dnas_plda_direction(w->plda, d->out + i * w->C, w->x + i * w->C, w->length_bp[i],
                            own_of(w, i));
}

/* Everyone's neighbours; free them. */
static int find_neighbours(struct work *w, uint32_t **neighbour, struct dnas_err *err)
{
    struct directions d = {w, dnas_xalloc64(w->N, w->C * sizeof(*d.out))};
    struct dnas_knn_options o = {.k = w->k,
                                 .metric = DNAS_KNN_COSINE,
                                 .n_threads = w->o->n_threads,
                                 .progress = w->o->progress};
    int status;

    *neighbour = dnas_xalloc(w->N, w->k * sizeof(**neighbour));
    dnas_parallel_for((w->N + PORTION - 1) / PORTION, w->o->n_threads, direct_portion, &d);
    if (w->N <= w->o->exact_rows)
        status = dnas_knn_search(*neighbour, NULL, NULL, w->N, d.out, w->N, w->C, &o, err);
    else
        status = dnas_near_search(*neighbour, d.out, w->N, w->C, &o, err);
    free(d.out);
    return status;
}

/* ---- bins ---- */

struct bin {
    uint64_t bp;
    size_t n;
    uint32_t cluster, first;
};

static int by_size(const void *a, const void *b)
{
    const struct bin *x = a, *y = b;

    if (x->bp != y->bp)
        return x->bp > y->bp ? -1 : 1;
    return (x->first > y->first) - (x->first < y->first);
}

/* Numbers the bins that are large enough: number [2 N], -1 for others. */
static void number_bins(struct dnas_graph_bin *g, struct work *w, int32_t *number)
{
    struct bin *bin = dnas_xzalloc(w->n, sizeof(*bin));
    size_t n = 0;

    for (size_t i = 0; i < w->N; i++) {
        uint32_t c = find(w, (uint32_t)i);

        if (w->is_zero[i])
            continue;
        if (bin[c].n++ == 0)
            bin[c].first = (uint32_t)i;
        bin[c].bp += w->length_bp[i];
    }
    for (size_t c = 0; c < w->n; c++) {
        number[c] = -1;
        if (bin[c].n > 0 && (bin[c].n < w->o->min_size || bin[c].bp < w->o->min_bp))
            g->n_small++;
        else if (bin[c].n > 0) {
            bin[n] = bin[c];
            bin[n++].cluster = (uint32_t)c;
        }
    }
    qsort(bin, n, sizeof(*bin), by_size);
    for (size_t i = 0; i < n; i++)
        number[bin[i].cluster] = (int32_t)i;
    g->n_bins = n;
    free(bin);
}

struct scoring {
    struct work *w;
    struct dnas_graph_bin *g;
    const uint32_t *cluster; /* [N] */
};

static void score_portion(void *ctx, size_t portion, int worker)
{
    const struct scoring *s = ctx;
    struct work *w = s->w;
    size_t end = (portion + 1) * PORTION < w->N ? (portion + 1) * PORTION : w->N;
    size_t stride = w->plda->stride;
    double *own = dnas_xalloc(2 * stride, sizeof(*own));
    double *rest = dnas_xalloc(2 * stride, sizeof(*rest));

    (void)worker;
    for (size_t i = portion * PORTION; i < end; i++) {
        uint32_t c = s->cluster[i];
        const double *all = p_of(w, c);

        if (s->g->label[i] < 0 || c < w->N) /* alone */
            continue;
        dnas_plda_sequence(w->plda, own, own + stride, w->x + i * w->C, w->length_bp[i],
                           own_of(w, i));
        for (size_t j = 0; j < 2 * stride; j++)
            rest[j] = all[j] - own[j];
        s->g->score[i] = (float)(dnas_plda_joint(w->plda, rest, rest + stride, own, own + stride) -
                                 dnas_plda_evidence(w->plda, rest, rest + stride) - w->evidence[i]);
    }
    free(own);
    free(rest);
}

static void make_bins(struct dnas_graph_bin *g, struct work *w)
{
    int32_t *number = dnas_xalloc(w->n, sizeof(*number));
    uint32_t *cluster = dnas_xalloc(w->N, sizeof(*cluster));
    struct scoring s = {w, g, cluster};

    number_bins(g, w, number);
    for (size_t i = 0; i < w->N; i++) {
        cluster[i] = find(w, (uint32_t)i);
        g->label[i] = w->is_zero[i] ? -1 : number[cluster[i]];
    }
    dnas_parallel_for((w->N + PORTION - 1) / PORTION, w->o->n_threads, score_portion, &s);
    free(number);
    free(cluster);
}

/* ---- the whole ---- */

static void work_init(struct work *w)
{
    w->n = w->N;
    w->stats = dnas_xalloc(w->N, 2 * w->plda->stride * sizeof(*w->stats));
    w->slot = dnas_xalloc(w->N, 2 * sizeof(*w->slot));
    w->parent = dnas_xalloc(w->N, 2 * sizeof(*w->parent));
    w->evidence = dnas_xalloc(w->N, 2 * sizeof(*w->evidence));
    w->list = dnas_xzalloc(w->N, 2 * sizeof(*w->list));
    w->mark = dnas_xzalloc(w->N, 2 * sizeof(*w->mark));
    w->heap = dnas_xalloc(w->N, 2 * sizeof(*w->heap));
    w->is_zero = dnas_xalloc(w->N, sizeof(*w->is_zero));
}

static void work_release(struct work *w)
{
    for (size_t c = 0; c < w->n; c++)
        free(w->list[c].edge);
    free(w->stats);
    free(w->slot);
    free(w->parent);
    free(w->evidence);
    free(w->list);
    free(w->mark);
    free(w->heap);
    free(w->is_zero);
}

int dnas_graph_bin_run(struct dnas_graph_bin *g, const float *x, const uint32_t *length_bp,
                       const float *own, size_t N, size_t C, const struct dnas_plda *plda,
                       const struct dnas_graph_bin_options *options, struct dnas_err *err)
{
    struct work w = {
        .plda = plda, .o = options, .x = x, .length_bp = length_bp, .own = own, .N = N, .C = C};
    uint32_t *neighbour = NULL;
    int status = 0;

    if (C != plda->C || !own != !plda->n_own)
        DNAS_BUG("%zu dimensions, and a noise model of %zu", C, plda->C);
    if (N >= INT32_MAX)
        return dnas_err_set(err, "%zu rows; at most %d can be binned", N, INT32_MAX - 1);
    *g = (struct dnas_graph_bin){.N = N};
    g->label = dnas_xalloc(N, sizeof(*g->label));
    g->score = dnas_xzalloc(N, sizeof(*g->score));
    work_init(&w);
    dnas_parallel_for((N + PORTION - 1) / PORTION, options->n_threads, prepare_portion, &w);
    w.k = N > 1 && options->k > N - 1 ? N - 1 : options->k;
    if (N > 1) {
        status = find_neighbours(&w, &neighbour, err);
        w.neighbour = neighbour;
        if (status == 0)
            make_lists(&w);
        free(neighbour);
    }
    if (status == 0) {
        merge_all(&w);
        g->n_merges = w.n - N;
        make_bins(g, &w);
    }
    work_release(&w);
    return status;
}

void dnas_graph_bin_release(struct dnas_graph_bin *g)
{
    free(g->label);
    free(g->score);
    *g = (struct dnas_graph_bin){0};
}
