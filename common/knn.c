/* SPDX-License-Identifier: MIT
 *
 * knn.c - nearest neighbours by tiles of products.  Contract: knn.h.
 *
 * A tile of queries meets the points tile by tile.  For each query the points
 * whose score in f32 could be among the k least are kept as candidates; now and
 * then, and at the end, all but those that still could be are dropped.  Only the
 * last few are computed in double.
 */
#include "common/knn.h"

#include <float.h>
#include <math.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "common/msg.h"
#include "common/threads.h"
#include "common/xmem.h"
#include "kernels/kernels.h"

#define QUERY_TILE 256 /* rows a product */
/* Points a product: with the queries and the scores they stay in a cache of 2 MiB. */
#define POINT_TILE_BYTES ((size_t)512 << 10)
#define MAX_POINT_TILE 1024
#define MIN_POINT_TILE 128
#define LONGEST 1e18 /* squares and their sums stay within f32 */

/* A point that may be among the nearest. */
struct candidate {
    double key; /* the formula: distance squared, or product times -1; NaN: not computed yet */
    float score;
    uint32_t row;
};

/* A query's candidates so far. */
struct list {
    struct candidate *candidate; /* [cap] */
    size_t n;
    float limit; /* scores above it cannot be among the nearest */
};

/* One thread's memory. */
struct scratch {
    float *score;             /* [QUERY_TILE,point_tile] */
    uint32_t *listed;         /* [point_tile] */
    struct list *list;        /* [QUERY_TILE] */
    struct candidate *buffer; /* [QUERY_TILE,cap] */
    float *sorted;            /* [cap] */
    uint32_t *row;            /* [cap] */
    double *key;              /* [cap] */
};

struct search {
    const float *query, *points;
    size_t n_queries, n_points, C, k, cap, point_tile;
    bool is_self;
    const struct dnas_knn_options *options;
    float *bias;     /* [n_points], what is added to -2 times the product: |point|^2, or 0 */
    double longest;  /* point */
    double bias_max; /* |bias| */
    struct scratch *scratch;
    uint32_t *neighbour;
    float *value;
    atomic_size_t n_done;
};

/* ---- candidates ---- */

/* A bound on |score - key in f32's place| of a query of this length: u = 2^-24, and the product
 * errs by at most C u |x||y| in any order of summation (Higham 2002, section 3.1); rounding of the
 * bias and of the score adds the rest, underflow the last term. */
static double score_error(const struct search *s, double length)
{
    double n = (double)s->C + 4;

    return 1.02 * 0x1p-24 * (2 * n * length * s->longest + 3 * s->bias_max) + n * (double)FLT_MIN;
}

/* What a score stands for: the key, in the score's scale, less a constant of the query. */
static double score_of_key(const struct search *s, double key, double length)
{
    return s->options->metric == DNAS_KNN_COSINE ? 2 * key : key - length * length;
}

/* The k-th least of n numbers, k from 0; reorders them (Hoare 1961). */
static float select_least(float *x, size_t n, size_t k)
{
    ptrdiff_t lo = 0, hi = (ptrdiff_t)n - 1, at = (ptrdiff_t)k;

    while (lo < hi) {
        float pivot = x[lo + (hi - lo) / 2];
        ptrdiff_t i = lo, j = hi;

        while (i <= j) {
            while (x[i] < pivot)
                i++;
            while (pivot < x[j])
                j--;
            if (i <= j) {
                float swap = x[i];

                x[i++] = x[j];
                x[j--] = swap;
            }
        }
        if (at <= j)
            hi = j;
        else if (at >= i)
            lo = i;
        else
            break;
    }
    return x[k];
}

static int by_key(const void *a, const void *b)
{
    const struct candidate *p = a, *q = b;

    if (p->key != q->key)
        return p->key < q->key ? -1 : 1;
    return (p->row > q->row) - (p->row < q->row);
}

/* Computes the keys that are missing and sorts by them; keeps the first k. */
static void decide(const struct search *s, struct scratch *w, struct list *l, const float *x)
{
    size_t n = 0;

    for (size_t i = 0; i < l->n; i++)
        if (isnan(l->candidate[i].key))
            w->row[n++] = l->candidate[i].row;
    if (s->options->metric == DNAS_KNN_COSINE)
        dnas_cpu_dot(w->key, s->points, w->row, x, n, s->C);
    else
        dnas_cpu_distance2(w->key, s->points, w->row, x, NULL, n, s->C);
    n = 0;
    for (size_t i = 0; i < l->n; i++)
        if (isnan(l->candidate[i].key)) {
            l->candidate[i].key = s->options->metric == DNAS_KNN_COSINE ? -w->key[n] : w->key[n];
            n++;
        }
    qsort(l->candidate, l->n, sizeof(*l->candidate), by_key);
    if (l->n > s->k)
        l->n = s->k;
}

/* Drops candidates that cannot be among the k nearest, and lowers the limit. */
static void prune(const struct search *s, struct scratch *w, struct list *l, const float *x,
                  double length, double error)
{
    double least;
    size_t n = 0;

    if (l->n <= s->k)
        return;
    for (size_t i = 0; i < l->n; i++)
        w->sorted[i] = l->candidate[i].score;
    least = (double)select_least(w->sorted, l->n, s->k - 1) + 2 * error;
    l->limit = fminf(l->limit, nextafterf((float)least, INFINITY));
    for (size_t i = 0; i < l->n; i++)
        if (l->candidate[i].score <= l->limit)
            l->candidate[n++] = l->candidate[i];
    l->n = n;
    if (n > s->cap - s->cap / 4) { /* f32 cannot tell them apart */
        double last;

        decide(s, w, l, x);
        last = score_of_key(s, l->candidate[s->k - 1].key, length);
        l->limit = fminf(l->limit, nextafterf((float)(last + error), INFINITY));
    }
}

/* ---- one tile of queries ---- */

struct query {
    const float *x;
    uint32_t row;
    double length, error;
};

/* Takes one tile of points into a query's candidates. */
static void take(const struct search *s, struct scratch *w, struct list *l, const struct query *q,
                 float *score, size_t first, size_t n)
{
    size_t n_listed;

    dnas_cpu_list_nearest(w->listed, &n_listed, score, s->bias + first, n, l->limit);
    for (size_t i = 0; i < n_listed; i++) {
        uint32_t row = (uint32_t)(first + w->listed[i]);

        if ((s->is_self && row == q->row) || score[w->listed[i]] > l->limit)
            continue;
        if (l->n == s->cap)
            prune(s, w, l, q->x, q->length, q->error);
        l->candidate[l->n++] =
            (struct candidate){.key = NAN, .score = score[w->listed[i]], .row = row};
    }
}

static double length_of(const float *x, size_t C)
{
    static const uint32_t first = 0;
    double length2;

    dnas_cpu_dot(&length2, x, &first, x, 1, C);
    return sqrt(length2);
}

static void write_row(const struct search *s, const struct list *l, size_t row)
{
    for (size_t i = 0; i < s->k; i++) {
        double key = l->candidate[i].key;

        s->neighbour[row * s->k + i] = l->candidate[i].row;
        if (s->value)
            s->value[row * s->k + i] =
                (float)(s->options->metric == DNAS_KNN_COSINE ? -key : sqrt(key));
    }
}

static void search_tile(void *ctx, size_t tile, int worker)
{
    struct search *s = ctx;
    struct scratch *w = &s->scratch[worker];
    size_t begin = tile * QUERY_TILE;
    size_t n = s->n_queries - begin < QUERY_TILE ? s->n_queries - begin : QUERY_TILE;
    struct query query[QUERY_TILE];

    for (size_t i = 0; i < n; i++) {
        const float *x = s->query + (begin + i) * s->C;
        double length = length_of(x, s->C);

        query[i] = (struct query){x, (uint32_t)(begin + i), length, score_error(s, length)};
        w->list[i].n = 0;
        w->list[i].limit = INFINITY;
    }
    for (size_t first = 0; first < s->n_points; first += s->point_tile) {
        size_t m = s->n_points - first < s->point_tile ? s->n_points - first : s->point_tile;

        dnas_cpu_matmul_nt(w->score, query[0].x, s->points + first * s->C, n, m, s->C);
        for (size_t i = 0; i < n; i++)
            take(s, w, &w->list[i], &query[i], w->score + i * m, first, m);
    }
    for (size_t i = 0; i < n; i++) {
        prune(s, w, &w->list[i], query[i].x, query[i].length, query[i].error);
        decide(s, w, &w->list[i], query[i].x);
        write_row(s, &w->list[i], begin + i);
    }
    if (s->options->progress) {
        size_t done = atomic_fetch_add(&s->n_done, n) + n;

        dnas_progress("searching", "rows", done, done, s->n_queries);
    }
}

/* ---- all of them ---- */

/* Checks the rows; *longest is the length of the longest. */
static int check_rows(double *longest, const float *x, size_t N, size_t C, const char *what,
                      struct dnas_err *err)
{
    *longest = 0;
    for (size_t i = 0; i < N; i++) {
        double length = length_of(x + i * C, C);

        if (!(length <= LONGEST))
            return dnas_err_set(err, "%s %zu %s", what, i + 1,
                                isfinite(length) ? "is too long for products in f32; scale it"
                                                 : "has a value that is not finite");
        *longest = fmax(*longest, length);
    }
    return 0;
}

static int check_sizes(const struct search *s, struct dnas_err *err)
{
    size_t n_others = s->n_points - (s->is_self && s->n_points > 0);

    if (s->k == 0)
        return dnas_err_set(err, "0 neighbours asked for; try 1 or more");
    if (s->n_points >= UINT32_MAX)
        return dnas_err_set(err, "%zu rows; neighbours can be found among 2^32 - 2", s->n_points);
    if (s->k > n_others)
        return dnas_err_set(err, "%zu neighbours asked for among %zu %srows; try %zu or fewer",
                            s->k, n_others, s->is_self ? "other " : "", n_others);
    return 0;
}

static void prepare(struct search *s)
{
    s->cap = 2 * s->k + 64;
    s->point_tile = POINT_TILE_BYTES / sizeof(float) / (s->C ? s->C : 1) / 64 * 64;
    if (s->point_tile > MAX_POINT_TILE)
        s->point_tile = MAX_POINT_TILE;
    if (s->point_tile < MIN_POINT_TILE)
        s->point_tile = MIN_POINT_TILE;
    s->bias = dnas_xzalloc(s->n_points, sizeof(*s->bias));
    for (size_t i = 0; s->options->metric == DNAS_KNN_EUCLIDEAN && i < s->n_points; i++) {
        double length = length_of(s->points + i * s->C, s->C);

        s->bias[i] = (float)(length * length);
        s->bias_max = fmax(s->bias_max, length * length);
    }
    s->scratch = dnas_xzalloc((size_t)s->options->n_threads, sizeof(*s->scratch));
    for (int t = 0; t < s->options->n_threads; t++) {
        struct scratch *w = &s->scratch[t];

        w->score = dnas_xalloc64(QUERY_TILE * s->point_tile, sizeof(*w->score));
        w->listed = dnas_xalloc(s->point_tile, sizeof(*w->listed));
        w->list = dnas_xalloc(QUERY_TILE, sizeof(*w->list));
        w->buffer = dnas_xalloc(s->cap, QUERY_TILE * sizeof(*w->buffer));
        w->sorted = dnas_xalloc(s->cap, sizeof(*w->sorted));
        w->row = dnas_xalloc(s->cap, sizeof(*w->row));
        w->key = dnas_xalloc(s->cap, sizeof(*w->key));
        for (size_t i = 0; i < QUERY_TILE; i++)
            w->list[i].candidate = w->buffer + i * s->cap;
    }
}

static void search_release(struct search *s)
{
    free(s->bias);
    for (int t = 0; t < s->options->n_threads; t++) {
        free(s->scratch[t].score);
        free(s->scratch[t].listed);
        free(s->scratch[t].list);
        free(s->scratch[t].buffer);
        free(s->scratch[t].sorted);
        free(s->scratch[t].row);
        free(s->scratch[t].key);
    }
    free(s->scratch);
}

int dnas_knn_search(uint32_t *neighbour, float *value, const float *query, size_t n_queries,
                    const float *points, size_t n_points, size_t C,
                    const struct dnas_knn_options *options, struct dnas_err *err)
{
    struct search s = {.query = query ? query : points,
                       .points = points,
                       .n_queries = n_queries,
                       .n_points = n_points,
                       .C = C,
                       .k = options->k,
                       .is_self = !query,
                       .options = options,
                       .neighbour = neighbour,
                       .value = value};
    double longest_query;

    if (!query && n_queries != n_points)
        DNAS_BUG("%zu queries among themselves, %zu points", n_queries, n_points);
    if (n_queries == 0)
        return 0;
    if (check_sizes(&s, err) != 0 || check_rows(&s.longest, points, n_points, C, "row", err) != 0 ||
        (query && check_rows(&longest_query, query, n_queries, C, "query", err) != 0))
        return -1;
    prepare(&s);
    dnas_parallel_for((n_queries + QUERY_TILE - 1) / QUERY_TILE, options->n_threads, search_tile,
                      &s);
    if (options->progress)
        dnas_progress_end();
    search_release(&s);
    return 0;
}

/* ---- votes ---- */

static int by_number(const void *a, const void *b)
{
    const int32_t *p = a, *q = b;

    return (*p > *q) - (*p < *q);
}

void dnas_knn_vote(int32_t *predicted, float *share, const uint32_t *neighbour,
                   const int32_t *class_of, size_t N, size_t k)
{
    int32_t *vote = dnas_xalloc(k, sizeof(*vote));

    for (size_t row = 0; row < N; row++) {
        size_t most = 0, n = 0;

        for (size_t i = 0; i < k; i++)
            vote[i] = class_of[neighbour[row * k + i]];
        qsort(vote, k, sizeof(*vote), by_number);
        for (size_t i = 0; i < k; i++) {
            n = i > 0 && vote[i] == vote[i - 1] ? n + 1 : 1;
            if (n > most) {
                most = n;
                predicted[row] = vote[i];
            }
        }
        share[row] = (float)((double)most / (double)k);
    }
    free(vote);
}
