/* SPDX-License-Identifier: MIT
 *
 * kmeans.c - Lloyd's algorithm with Hamerly's bounds.  Contract: kmeans.h.
 *
 * Each row keeps an upper bound on the distance to its own centre and a lower
 * bound on the distance to any other (Hamerly, "Making k-means even faster",
 * SDM 2010).  After the centres have moved, a row whose bounds still do not
 * meet keeps its label; the others queue up, and whole tiles of them go through
 * dnas_cpu_assign.  Sums are taken over fixed pieces in fixed order.
 */
#include "common/kmeans.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/rng.h"
#include "common/threads.h"
#include "common/xmem.h"
#include "kernels/kernels.h"

#define TILE 256     /* rows a product */
#define PIECE 1024   /* rows of one cluster that a task sums up */
#define SEED_ROWS 64 /* rows that stay in the cache from one trial centre to the next */

/* Part of a cluster, rows begin..begin+n-1 of by_cluster. */
struct piece {
    size_t begin, n;
};

/* One thread's memory. */
struct scratch {
    float *score;   /* [TILE,K] */
    float *x;       /* [TILE,C], queued rows brought together */
    double *value;  /* [TILE,4] */
    int32_t *label; /* [TILE] */
    uint32_t *row;  /* [TILE] */
};

struct run {
    const float *x; /* [N,C] */
    size_t N, K, C, n_tiles;
    int n_threads;
    struct scratch *scratch; /* [n_threads] */

    float *origin;    /* [C], the mean row */
    double tolerance; /* on the sum of squared shifts */
    double *length;   /* [N], |x| */
    double *reach;    /* [N], |x - origin| */

    bool labelled;   /* false until a start's first assignment */
    int32_t *label;  /* [N] */
    double *upper;   /* [N], of the distance to the own centre */
    double *lower;   /* [N], of the distance to any other */
    uint32_t *queue; /* [N], rows whose label may change */
    size_t n_queue;
    size_t *n_in_tile; /* [n_tiles], rows queued, then labels changed */

    float *centre, *next; /* [K,C] */
    struct dnas_centres ready;
    double *shift; /* [K], how far each centre moved last */
    size_t moved_most;
    double shift_max, shift_second;

    int32_t *target;      /* [N], the cluster whose next centre a row counts for */
    int32_t *counted;     /* [N], the same an iteration ago; -1 at first */
    bool *dirty;          /* [K], whether these members changed */
    size_t *first;        /* [K+1], into by_cluster */
    uint32_t *by_cluster; /* [N], rows in order of target */
    struct piece *piece;  /* [K + N / PIECE] */
    size_t *first_piece;  /* [K+1] */
    double *sum;          /* [K + N / PIECE, C] */
    double *part;         /* [n_tiles], a sum for each tile */
};

static size_t tile_rows(size_t N, size_t tile)
{
    return N - tile * TILE < TILE ? N - tile * TILE : TILE;
}

static size_t n_tiles_of(size_t N)
{
    return N / TILE + (N % TILE > 0);
}

static double sum_of_parts(const struct run *r)
{
    double sum = 0;

    for (size_t tile = 0; tile < r->n_tiles; tile++)
        sum += r->part[tile];
    return sum;
}

/* ---- the assignment of rows to centres ---- */

/* What the last move of the centres leaves of a row's bounds, rounded outwards. */
static void loosen(struct run *r, size_t i)
{
    size_t k = (size_t)r->label[i];
    double away = k == r->moved_most ? r->shift_second : r->shift_max;

    r->upper[i] = (r->upper[i] + r->shift[k]) * (1 + 4 * DBL_EPSILON);
    r->lower[i] = (r->lower[i] - away) - 4 * DBL_EPSILON * (r->lower[i] + away);
}

/* An upper bound exceeds a computed distance by this much at least, and a lower bound falls as
 * far below, so that the formula in double could not decide otherwise. */
static double formula_error(const struct run *r)
{
    return 8 * ((double)r->C + 8) * DBL_EPSILON;
}

static bool is_settled(const struct run *r, size_t i)
{
    return r->upper[i] * (1 + formula_error(r)) < r->lower[i];
}

/* The distance to the own centre is worth computing if it need not have grown for the bounds to
 * part: half of the centre's move is a guess that costs nothing when wrong but time. */
static bool may_settle(const struct run *r, size_t i)
{
    return r->upper[i] - 1.5 * r->shift[r->label[i]] < r->lower[i];
}

/* Lists the tile's rows whose label may change, at queue[tile * TILE ...]. */
static void queue_task(void *ctx, size_t tile, int worker)
{
    struct run *r = ctx;
    struct scratch *s = &r->scratch[worker];
    uint32_t begin = (uint32_t)(tile * TILE), *queue = r->queue + begin;
    size_t n = tile_rows(r->N, tile), n_queue = 0, n_check = 0;

    for (uint32_t i = begin; i < begin + n; i++) {
        if (r->labelled)
            loosen(r, i);
        if (!r->labelled || (!is_settled(r, i) && !may_settle(r, i)))
            queue[n_queue++] = i;
        else if (!is_settled(r, i))
            s->row[n_check++] = i;
    }
    dnas_cpu_distance2(s->value, r->x, s->row, r->centre, r->label, n_check, r->C);
    for (size_t j = 0; j < n_check; j++) {
        uint32_t i = s->row[j];

        r->upper[i] = sqrt(s->value[j]) * (1 + formula_error(r));
        if (!is_settled(r, i))
            queue[n_queue++] = i;
    }
    /* Nearly whole tiles go whole: their rows need not be brought together. */
    if (n_queue > n - n / 8)
        for (n_queue = 0; n_queue < n; n_queue++)
            queue[n_queue] = begin + (uint32_t)n_queue;
    r->n_in_tile[tile] = n_queue;
}

static void close_ranks(struct run *r)
{
    r->n_queue = 0;
    for (size_t tile = 0; tile < r->n_tiles; tile++) {
        memmove(r->queue + r->n_queue, r->queue + tile * TILE,
                r->n_in_tile[tile] * sizeof(*r->queue));
        r->n_queue += r->n_in_tile[tile];
    }
}

/* The queued rows of a batch as a dense array: in place where they are neighbours. */
static const float *gather(const struct run *r, struct scratch *s, const uint32_t *row, size_t n)
{
    bool in_place = true;

    for (size_t j = 0; j < n; j++) {
        s->value[j] = r->length[row[j]];
        s->value[TILE + j] = r->reach[row[j]];
        in_place = in_place && row[j] == row[0] + j;
    }
    if (in_place)
        return r->x + row[0] * r->C;
    for (size_t j = 0; j < n; j++)
        memcpy(s->x + j * r->C, r->x + row[j] * r->C, r->C * sizeof(*s->x));
    return s->x;
}

static void assign_task(void *ctx, size_t batch, int worker)
{
    struct run *r = ctx;
    struct scratch *s = &r->scratch[worker];
    const uint32_t *row = r->queue + batch * TILE;
    size_t n = tile_rows(r->n_queue, batch), n_changed = 0;
    const float *x = gather(r, s, row, n);
    double *upper = s->value + 2 * TILE, *lower = s->value + 3 * TILE;

    dnas_cpu_assign(s->label, upper, lower, x, s->value, s->value + TILE, &r->ready, n, s->score);
    for (size_t j = 0; j < n; j++) {
        n_changed += !r->labelled || r->label[row[j]] != s->label[j];
        r->label[row[j]] = s->label[j];
        r->upper[row[j]] = upper[j];
        r->lower[row[j]] = lower[j];
    }
    r->n_in_tile[batch] = n_changed;
}

/* Gives each row its nearest centre; returns how many labels changed. */
static size_t assign(struct run *r)
{
    size_t n_changed = 0;

    dnas_parallel_for(r->n_tiles, r->n_threads, queue_task, r);
    close_ranks(r);
    if (r->n_queue > 0) {
        r->ready.centre = r->centre;
        dnas_cpu_centres_prepare(&r->ready, r->origin);
    }
    dnas_parallel_for(n_tiles_of(r->n_queue), r->n_threads, assign_task, r);
    for (size_t batch = 0; batch < n_tiles_of(r->n_queue); batch++)
        n_changed += r->n_in_tile[batch];
    r->labelled = true;
    return n_changed;
}

/* ---- clusters without rows ---- */

struct far_row {
    double distance2;
    uint32_t row;
};

static int farther_first(const void *a, const void *b)
{
    const struct far_row *p = a, *q = b;

    if (p->distance2 != q->distance2)
        return p->distance2 > q->distance2 ? -1 : 1;
    return p->row < q->row ? -1 : 1;
}

/* Makes target differ from label: a row far from its centre counts for an empty cluster instead.
 * n_members [K] follows.  As scikit-learn's _relocate_empty_clusters_dense, but rows that are at
 * their centre or alone stay: moving those would only move the hole. */
static void fill_empty_clusters(struct run *r, size_t *n_members)
{
    struct far_row *far = dnas_xalloc(r->N, sizeof(*far));
    double *distance2 = dnas_xalloc(r->N, sizeof(*distance2));
    size_t k = 0;

    dnas_cpu_distance2(distance2, r->x, NULL, r->centre, r->label, r->N, r->C);
    for (size_t i = 0; i < r->N; i++)
        far[i] = (struct far_row){.distance2 = distance2[i], .row = (uint32_t)i};
    qsort(far, r->N, sizeof(*far), farther_first);
    for (size_t j = 0; j < r->N && far[j].distance2 > 0; j++) {
        size_t old = (size_t)r->label[far[j].row];

        while (k < r->K && n_members[k] > 0)
            k++;
        if (k == r->K)
            break;
        if (n_members[old] == 1)
            continue;
        n_members[old]--;
        n_members[k]++;
        r->target[far[j].row] = (int32_t)k;
    }
    free(distance2);
    free(far);
}

/* ---- the next centres ---- */

/* Sets target, dirty and first. */
static void count_members(struct run *r)
{
    size_t *n_members = r->first + 1;
    bool any_empty = false;

    memset(r->first, 0, (r->K + 1) * sizeof(*r->first));
    memcpy(r->target, r->label, r->N * sizeof(*r->target));
    memset(r->dirty, 0, r->K * sizeof(*r->dirty));
    for (size_t i = 0; i < r->N; i++)
        n_members[r->label[i]]++;
    for (size_t k = 0; k < r->K; k++)
        any_empty = any_empty || n_members[k] == 0;
    if (any_empty)
        fill_empty_clusters(r, n_members);
    for (size_t i = 0; i < r->N; i++) {
        if (r->target[i] == r->counted[i])
            continue;
        if (r->counted[i] >= 0)
            r->dirty[r->counted[i]] = true;
        r->dirty[r->target[i]] = true;
        r->counted[i] = r->target[i];
    }
    for (size_t k = 0; k < r->K; k++)
        r->first[k + 1] += r->first[k];
}

/* Sorts the rows by cluster and cuts the dirty clusters into pieces; returns how many. */
static size_t cut_pieces(struct run *r)
{
    size_t n_pieces = 0;

    for (size_t i = 0; i < r->N; i++)
        r->by_cluster[r->first[r->target[i]]++] = (uint32_t)i;
    memmove(r->first + 1, r->first, r->K * sizeof(*r->first));
    r->first[0] = 0;
    for (size_t k = 0; k < r->K; k++) {
        size_t end = r->dirty[k] ? r->first[k + 1] : r->first[k];

        r->first_piece[k] = n_pieces;
        for (size_t b = r->first[k]; b < end; b += PIECE)
            r->piece[n_pieces++] =
                (struct piece){.begin = b, .n = end - b < PIECE ? end - b : PIECE};
    }
    r->first_piece[r->K] = n_pieces;
    return n_pieces;
}

static void sum_task(void *ctx, size_t p, int worker)
{
    struct run *r = ctx;
    double *sum = r->sum + p * r->C;

    (void)worker;
    memset(sum, 0, r->C * sizeof(*sum));
    dnas_cpu_rows_sum(sum, r->x, r->by_cluster + r->piece[p].begin, r->piece[p].n, r->C);
}

/* The next centre, and how far it is from the present one. */
static void centre_task(void *ctx, size_t k, int worker)
{
    struct run *r = ctx;
    double n = (double)(r->first[k + 1] - r->first[k]);
    double *sum = r->sum + r->first_piece[k] * r->C;
    float *next = r->next + k * r->C, *centre = r->centre + k * r->C;

    (void)worker;
    r->shift[k] = 0;
    if (r->first_piece[k + 1] == r->first_piece[k]) {
        memcpy(next, centre, r->C * sizeof(*next));
        return;
    }
    for (size_t p = 1; p < r->first_piece[k + 1] - r->first_piece[k]; p++)
        for (size_t c = 0; c < r->C; c++)
            sum[c] += sum[p * r->C + c];
    for (size_t c = 0; c < r->C; c++)
        next[c] = (float)(sum[c] / n);
    dnas_cpu_distance2(&r->shift[k], next, NULL, centre, NULL, 1, r->C);
    r->shift[k] = sqrt(r->shift[k]) * (1 + formula_error(r));
}

/* Moves the centres to the means of their rows; returns the sum of squared shifts. */
static double update(struct run *r)
{
    float *last = r->centre;
    double total = 0;

    count_members(r);
    dnas_parallel_for(cut_pieces(r), r->n_threads, sum_task, r);
    dnas_parallel_for(r->K, r->n_threads, centre_task, r);
    r->shift_max = r->shift_second = 0;
    for (size_t k = 0; k < r->K; k++) {
        total += r->shift[k] * r->shift[k];
        if (r->shift[k] > r->shift_max) {
            r->shift_second = r->shift_max;
            r->shift_max = r->shift[k];
            r->moved_most = k;
        } else if (r->shift[k] > r->shift_second) {
            r->shift_second = r->shift[k];
        }
    }
    r->centre = r->next;
    r->next = last;
    return total;
}

/* ---- where to start ---- */

static void copy_row(struct run *r, size_t k, size_t row)
{
    memcpy(r->centre + k * r->C, r->x + row * r->C, r->C * sizeof(*r->centre));
}

static void init_random(struct run *r, struct dnas_rng *rng)
{
    uint64_t *row = dnas_xalloc(r->K, sizeof(*row));

    dnas_rng_sample(rng, row, r->K, r->N);
    for (size_t k = 0; k < r->K; k++)
        copy_row(r, k, (size_t)row[k]);
    free(row);
}

/* The state of k-means++: each row's nearest centre so far, and the rows drawn
 * for the next one. */
struct seeding {
    struct run *r;
    size_t n_trials;
    float *nearest2;   /* [N] */
    int32_t *nearest;  /* [N] */
    size_t *trial;     /* [n_trials], rows */
    float *quarter2;   /* [n_trials,K], |trial - centre|^2 / 4 */
    float *trial2;     /* [n_trials,N], nearest2 if the trial is taken */
    double *potential; /* [n_trials,n_tiles], sums of trial2 */
};

/* trial2 of one trial for n rows from begin; returns its sum.  A centre twice as far from the trial
 * as from the row is nearer to the row than the trial is (Elkan 2003, lemma 1); 1e-4 is far above
 * the error of distances in f32. */
static double try_trial(const struct seeding *s, size_t t, uint32_t begin, uint32_t n,
                        struct scratch *w)
{
    const struct run *r = s->r;
    const float *quarter2 = s->quarter2 + t * r->K;
    float *trial2 = s->trial2 + t * r->N, *d = w->score;
    double sum = 0;
    size_t n_near = 0;

    for (uint32_t i = begin; i < begin + n; i++) {
        trial2[i] = s->nearest2[i];
        if (!(quarter2[s->nearest[i]] > 1.0001f * s->nearest2[i]))
            w->row[n_near++] = i;
    }
    dnas_cpu_distance2_f32(d, r->x, w->row, r->x + s->trial[t] * r->C, n_near, r->C);
    for (size_t j = 0; j < n_near; j++)
        if (d[j] < trial2[w->row[j]])
            trial2[w->row[j]] = d[j];
    for (uint32_t i = begin; i < begin + n; i++)
        sum += (double)trial2[i];
    return sum;
}

static void trial_task(void *ctx, size_t tile, int worker)
{
    struct seeding *s = ctx;
    uint32_t end = (uint32_t)(tile * TILE + tile_rows(s->r->N, tile));

    for (size_t t = 0; t < s->n_trials; t++)
        s->potential[t * s->r->n_tiles + tile] = 0;
    for (uint32_t i = (uint32_t)(tile * TILE); i < end; i += SEED_ROWS)
        for (size_t t = 0; t < s->n_trials; t++)
            s->potential[t * s->r->n_tiles + tile] += try_trial(
                s, t, i, end - i < SEED_ROWS ? end - i : SEED_ROWS, &s->r->scratch[worker]);
}

/* The first row at which the running sum of nearest2 exceeds u times the potential. */
static size_t draw_row(const struct seeding *s, const double *tile_potential, double u)
{
    double total = 0, at = 0, next;
    size_t tile = 0, i, last = 0;

    for (size_t j = 0; j < s->r->n_tiles; j++)
        total += tile_potential[j];
    while (tile + 1 < s->r->n_tiles && at + tile_potential[tile] <= u * total)
        at += tile_potential[tile++];
    for (i = tile * TILE; i < tile * TILE + tile_rows(s->r->N, tile); i++) {
        next = at + (double)s->nearest2[i];
        if (next > u * total)
            return i;
        if (next > at)
            last = i;
        at = next;
    }
    return last; /* rounding at the very end */
}

static size_t best_trial(const struct seeding *s)
{
    double least = INFINITY;
    size_t best = 0;

    for (size_t t = 0; t < s->n_trials; t++) {
        double sum = 0;

        for (size_t tile = 0; tile < s->r->n_tiles; tile++)
            sum += s->potential[t * s->r->n_tiles + tile];
        if (sum < least) {
            least = sum;
            best = t;
        }
    }
    return best;
}

static void take_trial(struct seeding *s, size_t k, size_t t, double *tile_potential)
{
    struct run *r = s->r;
    const float *trial2 = s->trial2 + t * r->N;

    copy_row(r, k, s->trial[t]);
    for (size_t i = 0; i < r->N; i++)
        if (trial2[i] < s->nearest2[i]) {
            s->nearest2[i] = trial2[i];
            s->nearest[i] = (int32_t)k;
        }
    memcpy(tile_potential, s->potential + t * r->n_tiles, r->n_tiles * sizeof(*tile_potential));
}

/* Draws n_trials rows for centre k and takes the one that leaves the least potential. */
static void draw_centre(struct seeding *s, size_t k, double *tile_potential, struct dnas_rng *rng)
{
    struct run *r = s->r;

    for (size_t t = 0; t < s->n_trials; t++) {
        s->trial[t] = k == 0 ? (size_t)dnas_rng_below(rng, r->N)
                             : draw_row(s, tile_potential, dnas_rng_uniform(rng));
        dnas_cpu_distance2_f32(s->quarter2 + t * r->K, r->centre, NULL, r->x + s->trial[t] * r->C,
                               k, r->C);
        for (size_t j = 0; j < k; j++)
            s->quarter2[t * r->K + j] /= 4;
    }
    dnas_parallel_for(r->n_tiles, r->n_threads, trial_task, s);
    take_trial(s, k, best_trial(s), tile_potential);
}

/* Arthur and Vassilvitskii, "k-means++", SODA 2007, with scikit-learn's 2 + ln K trials. */
static void init_plus_plus(struct run *r, struct dnas_rng *rng)
{
    size_t n_trials = 2 + (size_t)log((double)r->K);
    struct seeding s = {.r = r};
    double *tile_potential = dnas_xalloc(r->n_tiles, sizeof(*tile_potential));

    s.nearest2 = dnas_xalloc(r->N, sizeof(*s.nearest2));
    s.nearest = dnas_xzalloc(r->N, sizeof(*s.nearest));
    s.trial = dnas_xalloc(n_trials, sizeof(*s.trial));
    s.quarter2 = dnas_xzalloc(n_trials * r->K, sizeof(*s.quarter2));
    s.trial2 = dnas_xalloc(n_trials * r->N, sizeof(*s.trial2));
    s.potential = dnas_xalloc(n_trials * r->n_tiles, sizeof(*s.potential));
    for (size_t i = 0; i < r->N; i++)
        s.nearest2[i] = INFINITY;
    for (size_t k = 0; k < r->K; k++) {
        s.n_trials = k == 0 ? 1 : n_trials;
        draw_centre(&s, k, tile_potential, rng);
    }
    free(s.potential);
    free(s.trial2);
    free(s.quarter2);
    free(s.trial);
    free(s.nearest);
    free(s.nearest2);
    free(tile_potential);
}

static void start_from(struct run *r, const struct dnas_kmeans_options *o, int start)
{
    struct dnas_rng rng;

    r->labelled = false;
    memset(r->counted, 0xff, r->N * sizeof(*r->counted));
    dnas_rng_init(&rng, o->seed, DNAS_RNG_KMEANS_INIT, (uint32_t)start, 0);
    switch (o->init) {
    case DNAS_KMEANS_RANDOM:
        init_random(r, &rng);
        break;
    case DNAS_KMEANS_PLUS_PLUS:
        init_plus_plus(r, &rng);
        break;
    case DNAS_KMEANS_GIVEN:
        memcpy(r->centre, o->given, r->K * r->C * sizeof(*r->centre));
        break;
    }
}

/* ---- one start ---- */

static void inertia_task(void *ctx, size_t tile, int worker)
{
    struct run *r = ctx;
    double *d = r->scratch[worker].value, sum = 0;
    size_t n = tile_rows(r->N, tile);

    dnas_cpu_distance2(d, r->x + tile * TILE * r->C, NULL, r->centre, r->label + tile * TILE, n,
                       r->C);
    for (size_t i = 0; i < n; i++)
        sum += d[i];
    r->part[tile] = sum;
}

static void lloyd(struct run *r, struct dnas_kmeans *found, int max_iter)
{
    double shift2 = INFINITY;

    found->converged = false;
    for (found->n_iter = 0; !found->converged && found->n_iter < max_iter; found->n_iter++) {
        size_t n_changed = assign(r);

        shift2 = update(r);
        found->converged = n_changed == 0 || shift2 <= r->tolerance;
    }
    if (shift2 > 0)
        assign(r);
    dnas_parallel_for(r->n_tiles, r->n_threads, inertia_task, r);
    found->inertia = sum_of_parts(r);
}

static void keep(struct dnas_kmeans *out, struct dnas_kmeans found, const struct run *r)
{
    bool *used = dnas_xzalloc(r->K, sizeof(*used));

    found.label = out->label;
    found.centre = out->centre;
    found.n_empty = r->K;
    memcpy(found.label, r->label, r->N * sizeof(*r->label));
    memcpy(found.centre, r->centre, r->K * r->C * sizeof(*r->centre));
    for (size_t i = 0; i < r->N; i++) {
        found.n_empty -= !used[r->label[i]];
        used[r->label[i]] = true;
    }
    free(used);
    *out = found;
}

/* ---- setting up ---- */

static void origin_task(void *ctx, size_t p, int worker)
{
    struct run *r = ctx;
    size_t begin = p * PIECE;

    (void)worker;
    memset(r->sum + p * r->C, 0, r->C * sizeof(*r->sum));
    dnas_cpu_rows_sum(r->sum + p * r->C, r->x, r->queue + begin,
                      r->N - begin < PIECE ? r->N - begin : PIECE, r->C);
}

static void find_origin(struct run *r)
{
    size_t n_pieces = r->N / PIECE + (r->N % PIECE > 0);

    for (size_t i = 0; i < r->N; i++)
        r->queue[i] = (uint32_t)i;
    dnas_parallel_for(n_pieces, r->n_threads, origin_task, r);
    for (size_t c = 0; c < r->C; c++) {
        double sum = 0;

        for (size_t p = 0; p < n_pieces; p++)
            sum += r->sum[p * r->C + c];
        r->origin[c] = (float)(sum / (double)r->N);
    }
}

static void lengths_task(void *ctx, size_t tile, int worker)
{
    struct run *r = ctx;
    size_t begin = tile * TILE, n = tile_rows(r->N, tile);
    const float *x = r->x + begin * r->C;
    double *length = r->length + begin, *reach = r->reach + begin;

    (void)worker;
    r->part[tile] = 0;
    dnas_cpu_distance2(length, x, NULL, r->next, NULL, n, r->C);
    dnas_cpu_distance2(reach, x, NULL, r->origin, NULL, n, r->C);
    for (size_t i = 0; i < n; i++) {
        r->part[tile] += reach[i];
        length[i] = sqrt(length[i]);
        reach[i] = sqrt(reach[i]);
    }
}

static int check_finite(const double *length, size_t n, const char *what, struct dnas_err *err)
{
    for (size_t i = 0; i < n; i++)
        if (!isfinite(length[i]))
            return dnas_err_set(err, "%s %zu of %zu holds a value that is not a finite number",
                                what, i + 1, n);
    return 0;
}

/* Lengths of rows, the mean row, and the tolerance: tol times the mean variance of the columns,
 * which is the mean of |x - mean|^2 over C. */
static int look_at_data(struct run *r, const struct dnas_kmeans_options *o, struct dnas_err *err)
{
    memset(r->next, 0, r->K * r->C * sizeof(*r->next));
    find_origin(r);
    dnas_parallel_for(r->n_tiles, r->n_threads, lengths_task, r);
    if (check_finite(r->length, r->N, "row", err) != 0)
        return -1;
    r->tolerance = r->C > 0 ? o->tol * sum_of_parts(r) / (double)r->N / (double)r->C : 0;
    if (o->init == DNAS_KMEANS_GIVEN) {
        dnas_cpu_distance2(r->shift, o->given, NULL, r->next, NULL, r->K, r->C);
        return check_finite(r->shift, r->K, "centre", err);
    }
    return 0;
}

static int check_sizes(size_t N, const struct dnas_kmeans_options *o, struct dnas_err *err)
{
    if (o->n_starts < 1 || o->max_iter < 1 || o->n_threads < 1 || !(o->tol >= 0))
        DNAS_BUG("%d starts, %d iterations, %d threads, tol %g", o->n_starts, o->max_iter,
                 o->n_threads, o->tol);
    if (o->K == 0)
        return dnas_err_set(err, "0 clusters asked of %zu rows; try 1 or more", N);
    if (o->K > N)
        return dnas_err_set(err, "%zu clusters asked of %zu rows; try %zu or fewer", o->K, N, N);
    if (N > UINT32_MAX || o->K > INT32_MAX)
        return dnas_err_set(err,
                            "%zu rows and %zu clusters: at most 2^32 - 1 and 2^31 - 1 can be "
                            "clustered",
                            N, o->K);
    return 0;
}

static void allocate(struct run *r)
{
    size_t n_pieces = r->K + r->N / PIECE;

    r->scratch = dnas_xzalloc((size_t)r->n_threads, sizeof(*r->scratch));
    for (int w = 0; w < r->n_threads; w++) {
        r->scratch[w].score = dnas_xalloc64(r->K, TILE * sizeof(float));
        r->scratch[w].x = dnas_xalloc64(r->C, TILE * sizeof(float));
        r->scratch[w].value = dnas_xalloc(4 * TILE, sizeof(double));
        r->scratch[w].label = dnas_xalloc(TILE, sizeof(int32_t));
        r->scratch[w].row = dnas_xalloc(TILE, sizeof(uint32_t));
    }
    r->origin = dnas_xalloc64(r->C, sizeof(*r->origin));
    r->length = dnas_xalloc(r->N, sizeof(*r->length));
    r->reach = dnas_xalloc(r->N, sizeof(*r->reach));
    r->label = dnas_xzalloc(r->N, sizeof(*r->label));
    r->upper = dnas_xalloc(r->N, sizeof(*r->upper));
    r->lower = dnas_xalloc(r->N, sizeof(*r->lower));
    r->queue = dnas_xalloc(r->N, sizeof(*r->queue));
    r->n_in_tile = dnas_xalloc(r->n_tiles, sizeof(*r->n_in_tile));
    r->centre = dnas_xalloc64(r->K, r->C * sizeof(*r->centre));
    r->next = dnas_xalloc64(r->K, r->C * sizeof(*r->next));
    r->ready.shifted = dnas_xalloc64(r->K, r->C * sizeof(*r->ready.shifted));
    r->ready.bias = dnas_xalloc64(r->K, sizeof(*r->ready.bias));
    r->shift = dnas_xalloc(r->K, sizeof(*r->shift));
    r->target = dnas_xalloc(r->N, sizeof(*r->target));
    r->counted = dnas_xalloc(r->N, sizeof(*r->counted));
    r->dirty = dnas_xalloc(r->K, sizeof(*r->dirty));
    r->first = dnas_xalloc(r->K + 1, sizeof(*r->first));
    r->by_cluster = dnas_xalloc(r->N, sizeof(*r->by_cluster));
    r->piece = dnas_xalloc(n_pieces, sizeof(*r->piece));
    r->first_piece = dnas_xalloc(r->K + 1, sizeof(*r->first_piece));
    r->sum = dnas_xalloc64(n_pieces, r->C * sizeof(*r->sum));
    r->part = dnas_xalloc(r->n_tiles, sizeof(*r->part));
}

static void release(struct run *r)
{
    void *owned[] = {r->scratch, r->origin,      r->length,        r->reach,      r->label,
                     r->upper,   r->lower,       r->queue,         r->n_in_tile,  r->centre,
                     r->next,    r->shift,       r->ready.shifted, r->ready.bias, r->target,
                     r->counted, r->dirty,       r->first,         r->by_cluster, r->piece,
                     r->sum,     r->first_piece, r->part};

    for (int w = 0; w < r->n_threads; w++) {
        free(r->scratch[w].score);
        free(r->scratch[w].x);
        free(r->scratch[w].value);
        free(r->scratch[w].label);
        free(r->scratch[w].row);
    }
    for (size_t i = 0; i < sizeof(owned) / sizeof(owned[0]); i++)
        free(owned[i]);
}

int dnas_kmeans_run(struct dnas_kmeans *out, const float *x, size_t N, size_t C,
                    const struct dnas_kmeans_options *options, struct dnas_err *err)
{
    struct run r = {.x = x,
                    .N = N,
                    .K = options->K,
                    .C = C,
                    .n_tiles = n_tiles_of(N),
                    .n_threads = options->n_threads,
                    .ready = {.K = options->K, .C = C}};
    int n_starts = options->init == DNAS_KMEANS_GIVEN ? 1 : options->n_starts;
    int status = -1;

    *out = (struct dnas_kmeans){.C = C, .converged = true};
    if (N == 0)
        return 0;
    if (check_sizes(N, options, err) != 0)
        return -1;
    allocate(&r);
    if (look_at_data(&r, options, err) != 0)
        goto out;
    out->label = dnas_xalloc(N, sizeof(*out->label));
    out->centre = dnas_xalloc(r.K, C * sizeof(*out->centre));
    for (int start = 0; start < n_starts; start++) {
        struct dnas_kmeans found = {.N = N, .K = r.K, .C = C, .start = start};

        start_from(&r, options, start);
        lloyd(&r, &found, options->max_iter);
        if (start == 0 || found.inertia < out->inertia)
            keep(out, found, &r);
    }
    status = 0;
out:
    release(&r);
    return status;
}

void dnas_kmeans_release(struct dnas_kmeans *km)
{
    free(km->label);
    free(km->centre);
    *km = (struct dnas_kmeans){.label = NULL};
}

/* ---- rows of unit length ---- */

struct unit_rows {
    float *x; /* [N,C] */
    size_t N, C;
    const float *zero; /* [C] */
    size_t *n_zero;    /* [n_tiles] */
};

static void unit_rows_task(void *ctx, size_t tile, int worker)
{
    struct unit_rows *u = ctx;
    float *x = u->x + tile * TILE * u->C;
    double length2[TILE];
    size_t n = tile_rows(u->N, tile);

    (void)worker;
    u->n_zero[tile] = 0;
    dnas_cpu_distance2(length2, x, NULL, u->zero, NULL, n, u->C);
    for (size_t i = 0; i < n; i++, x += u->C) {
        double scale = 1 / sqrt(length2[i]);

        if (length2[i] == 0) {
            u->n_zero[tile]++;
            continue;
        }
        for (size_t c = 0; c < u->C; c++)
            x[c] = (float)((double)x[c] * scale);
    }
}

size_t dnas_kmeans_unit_rows(float *x, size_t N, size_t C, int n_threads)
{
    size_t n_tiles = n_tiles_of(N), n_zero = 0;
    float *zero = dnas_xzalloc(C, sizeof(*zero));
    struct unit_rows u = {.x = x, .N = N, .C = C, .zero = zero};

    u.n_zero = dnas_xalloc(n_tiles, sizeof(*u.n_zero));
    dnas_parallel_for(n_tiles, n_threads, unit_rows_task, &u);
    for (size_t tile = 0; tile < n_tiles; tile++)
        n_zero += u.n_zero[tile];
    free(u.n_zero);
    free(zero);
    return n_zero;
}
