/* SPDX-License-Identifier: MIT
 *
 * kmedoid.c - densest centre first.  Contract: kmedoid.h.
 *
 * The mean of some rows cannot reach the threshold with a row that none of
 * them reaches it with: so with lists of neighbours a round looks at the
 * neighbours of neighbours alone.  Without (too many pairs are similar) it
 * looks at all rows, and lists are made as soon as what is left allows.
 */
#include "common/kmedoid.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/msg.h"
#include "common/similar.h"
#include "common/xmem.h"
#include "kernels/kernels.h"

#define N_STEPS 3  /* the paper's */
#define GROUP 256  /* rows whose densest is remembered */
#define MARK -100. /* the reference's density of rows that are done with */

struct run {
    const struct dnas_kmedoid_options *o;
    struct dnas_similar s;
    int32_t *label; /* [N], the number of the round, or -1 */
    size_t n_available;
    uint64_t round;

    /* A row's rank is its density plus this: 0, or what makes it the mark and lets it fall on;
     * -infinity where it is not to be a centre again. */
    double *offset; /* [N] */
    uint32_t *top;  /* [groups], the first of the highest rank */
    bool *is_stale; /* [groups] */
    size_t n_groups;

    uint32_t *set; /* [N], the rows within, rising */
    size_t n_set;
    uint32_t *row;  /* [N], rows to look at */
    float *value;   /* [N], their similarities */
    uint64_t *seen; /* [N], the search that a row was last put in `row` */
    uint64_t search;
    float *centre; /* [C] */
    double *sum;   /* [C] */
};

static double rank_of(const struct run *r, size_t i)
{
    return r->s.density[i] + r->offset[i];
}

static void touch(struct run *r, size_t i)
{
    r->is_stale[i / GROUP] = true;
}

/* The row of highest rank, the first of equals. */
static size_t densest(struct run *r)
{
    size_t best = 0;

    for (size_t g = 0; g < r->n_groups; g++) {
        if (r->is_stale[g]) {
            size_t end = (g + 1) * GROUP < r->s.N ? (g + 1) * GROUP : r->s.N, top = g * GROUP;

            for (size_t i = top + 1; i < end; i++)
                if (rank_of(r, i) > rank_of(r, top))
                    top = i;
            r->top[g] = (uint32_t)top;
            r->is_stale[g] = false;
        }
        if (g == 0 || rank_of(r, r->top[g]) > rank_of(r, best))
            best = r->top[g];
    }
    return best;
}

/* A row that is done with.  Where the mark is beyond 2^51 units, all densities are above it, and
 * so they are above -2^51: the same order, and sums that stay exact. */
static void mark(struct run *r, size_t i)
{
    double units = fmax(MARK * r->s.scale, -0x1p51);

    r->offset[i] = r->o->as_dnabert_s ? units - r->s.density[i] : -INFINITY;
    touch(r, i);
}

/* ---- which rows are within the threshold ---- */

static bool is_available(const struct run *r, size_t i)
{
    return r->label[i] < 0;
}

static bool counts(const struct run *r, float similarity)
{
    return similarity >= r->s.threshold;
}

/* Keeps of r->row[0..n-1] those whose value reaches the threshold, as the set. */
static void keep_within(struct run *r, size_t n)
{
    r->n_set = 0;
    for (size_t i = 0; i < n; i++)
        if (counts(r, r->value[i]))
            r->set[r->n_set++] = r->row[i];
}

static size_t list_available(struct run *r)
{
    size_t n = 0;

    for (size_t i = 0; i < r->s.N; i++)
        if (is_available(r, i))
            r->row[n++] = (uint32_t)i;
    return n;
}

static int by_number(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

    return (x > y) - (x < y);
}

static size_t add_once(struct run *r, size_t n, uint32_t i)
{
    if (!is_available(r, i) || r->seen[i] == r->search)
        return n;
    r->seen[i] = r->search;
    r->row[n] = i;
    return n + 1;
}

/* The available rows among the set and its neighbours, in rising order; or all available ones,
 * where going through the lists would take longer than comparing with all. */
static size_t list_candidates(struct run *r)
{
    const size_t *first = r->s.first;
    size_t n_listed = 0, n = 0;

    if (!first)
        return list_available(r);
    for (size_t i = 0; i < r->n_set; i++)
        n_listed += first[r->set[i] + 1] - first[r->set[i]];
    if (n_listed / (r->s.C / 16 + 1) > r->n_available)
        return list_available(r);
    r->search++;
    for (size_t i = 0; i < r->n_set; i++) {
        n = add_once(r, n, r->set[i]);
        for (size_t k = first[r->set[i]]; k < first[r->set[i] + 1]; k++)
            n = add_once(r, n, r->s.neighbour[k]);
    }
    qsort(r->row, n, sizeof(*r->row), by_number);
    return n;
}

/* The first step: the available rows within the threshold of row i. */
static void within_row(struct run *r, uint32_t i)
{
    size_t n = 1, after;

    r->row[0] = i;
    if (!r->s.first) {
        n = list_available(r);
        dnas_similar_to(r->value, &r->s, r->row, n, r->s.x + i * r->s.C, r->o->n_threads);
        keep_within(r, n);
        return;
    }
    dnas_similar_to(r->value, &r->s, r->row, 1, r->s.x + i * r->s.C, 1);
    after = counts(r, r->value[0]) && is_available(r, i) ? i : r->s.N;
    r->n_set = 0;
    for (size_t k = r->s.first[i]; k < r->s.first[i + 1]; k++) {
        uint32_t j = r->s.neighbour[k];

        if (after < j) {
            r->set[r->n_set++] = i;
            after = r->s.N;
        }
        if (is_available(r, j) && counts(r, r->s.similarity[k]))
            r->set[r->n_set++] = j;
    }
    if (after < r->s.N)
        r->set[r->n_set++] = i;
}

/* The next steps: those within the threshold of the set's mean. */
static void within_mean(struct run *r)
{
    size_t n = list_candidates(r);

    memset(r->sum, 0, r->s.C * sizeof(*r->sum));
    dnas_cpu_rows_sum(r->sum, r->s.x, r->set, r->n_set, r->s.C);
    for (size_t c = 0; c < r->s.C; c++)
        r->centre[c] = (float)(r->sum[c] / (double)r->n_set);
    dnas_similar_to(r->value, &r->s, r->row, n, r->centre, r->o->n_threads);
    keep_within(r, n);
}

/* ---- a round ---- */

/* What the rows of the set have in common with others no longer counts. */
static void take_off(struct run *r)
{
    struct dnas_similar *s = &r->s;

    if (!s->first) {
        size_t n = r->o->as_dnabert_s ? s->N : list_available(r);

        dnas_similar_subtract(s, r->o->as_dnabert_s ? NULL : r->row, n, r->set, r->n_set,
                              r->o->n_threads);
        memset(r->is_stale, true, r->n_groups * sizeof(*r->is_stale));
        return;
    }
    for (size_t i = 0; i < r->n_set; i++)
        for (size_t k = s->first[r->set[i]]; k < s->first[r->set[i] + 1]; k++)
            if (counts(r, s->similarity[k])) {
                s->density[s->neighbour[k]] -= dnas_similar_units(s, s->similarity[k]);
                touch(r, s->neighbour[k]);
            }
}

/* The set becomes the bin of this round. */
static void take(struct run *r)
{
    for (size_t i = 0; i < r->n_set; i++)
        r->label[r->set[i]] = (int32_t)r->round;
    r->n_available -= r->n_set;
    take_off(r);
    for (size_t i = 0; i < r->n_set; i++)
        mark(r, r->set[i]);
}

/* Lists the neighbours among what is left, once there are few enough: a pair counts at least the
 * threshold in the densities of both. */
static void list_what_is_left(struct run *r)
{
    double units = 0;
    size_t n;

    if (r->s.first || r->o->as_dnabert_s || !(r->s.threshold > r->s.margin))
        return;
    for (size_t i = 0; i < r->s.N; i++)
        if (is_available(r, i))
            units += r->s.density[i];
    if (units / (2 * r->s.scale * ((double)r->s.threshold - (double)r->s.margin)) >
        0.5 * (double)DNAS_SIMILAR_NEIGHBOURS(r->s.N, r->s.C))
        return;
    n = list_available(r);
    dnas_similar_list(&r->s, r->row, n, r->o->n_threads);
}

/* One centre.  Whether anything has changed. */
static bool go_round(struct run *r, uint32_t i)
{
    double rank = rank_of(r, i);

    mark(r, i);
    within_row(r, i);
    for (int step = 1; step < N_STEPS && r->n_set > 0; step++)
        within_mean(r);
    if (r->n_set > 0) {
        take(r);
        list_what_is_left(r);
        return true;
    }
    return rank != rank_of(r, i);
}

/* Whether a limit ended the rounds. */
static bool rounds(struct run *r)
{
    while (r->n_available > 0) {
        size_t i = densest(r);

        if (rank_of(r, i) == -INFINITY)
            return false;
        if (r->o->max_rounds > 0 && r->round == r->o->max_rounds)
            return true;
        if (r->round == INT32_MAX)
            return true;
        r->round++;
        dnas_progress("binning", "sequences", r->s.N - r->n_available, r->s.N - r->n_available,
                      r->s.N);
        if (!go_round(r, (uint32_t)i)) {
            /* The reference tries the same centre in vain until its rounds are used up. */
            if (r->o->max_rounds > 0)
                r->round = r->o->max_rounds;
            return r->o->max_rounds > 0;
        }
    }
    return false;
}

/* ---- the result ---- */

/* Drops small bins and numbers the others. */
static void number_bins(struct dnas_kmedoid *km, const struct run *r)
{
    size_t *size = dnas_xzalloc((size_t)r->round + 1, sizeof(*size));
    int32_t *number = dnas_xalloc((size_t)r->round + 1, sizeof(*number));

    for (size_t i = 0; i < km->N; i++)
        if (r->label[i] >= 0)
            size[r->label[i]]++;
    for (uint64_t b = 0; b <= r->round; b++) {
        number[b] = -1;
        if (size[b] == 0)
            continue;
        if (size[b] < r->o->min_bin_size)
            km->n_small++;
        else
            number[b] = r->o->as_dnabert_s ? (int32_t)b : (int32_t)km->n_bins;
        km->n_bins += number[b] >= 0;
    }
    for (size_t i = 0; i < km->N; i++)
        km->label[i] = r->label[i] < 0 ? -1 : number[r->label[i]];
    free(number);
    free(size);
}

/* The cosine of each of the n rows with their sum. */
static void score_bin(float *score, const struct run *r, const uint32_t *row, size_t n)
{
    size_t C = r->s.C;
    double ss = 0;

    memset(r->sum, 0, C * sizeof(*r->sum));
    dnas_cpu_rows_sum(r->sum, r->s.x, row, n, C);
    for (size_t c = 0; c < C; c++)
        ss += r->sum[c] * r->sum[c];
    for (size_t i = 0; i < n; i++) {
        const float *x = r->s.x + row[i] * C;
        double xs = 0, xx = 0;

        for (size_t c = 0; c < C; c++) {
            xs += (double)x[c] * r->sum[c];
            xx += (double)x[c] * (double)x[c];
        }
        score[row[i]] = xx > 0 && ss > 0 ? (float)(xs / sqrt(xx * ss)) : 0;
    }
}

static void score_bins(struct dnas_kmedoid *km, struct run *r)
{
    size_t *at = dnas_xzalloc((size_t)r->round + 2, sizeof(*at)), begin = 0;

    for (size_t i = 0; i < km->N; i++)
        if (km->label[i] >= 0)
            at[km->label[i] + 1]++;
    for (uint64_t b = 0; b <= r->round; b++)
        at[b + 1] += at[b];
    for (size_t i = 0; i < km->N; i++)
        if (km->label[i] >= 0)
            r->row[at[km->label[i]]++] = (uint32_t)i;
    for (uint64_t b = 0; b <= r->round; b++) { /* at[b] is now where bin b ends */
        score_bin(km->score, r, r->row + begin, at[b] - begin);
        begin = at[b];
    }
    free(at);
}

static void make_room(struct run *r)
{
    size_t N = r->s.N, C = r->s.C;

    r->n_groups = N / GROUP + (N % GROUP > 0);
    r->label = dnas_xalloc(N, sizeof(*r->label));
    r->offset = dnas_xzalloc(N, sizeof(*r->offset));
    r->top = dnas_xzalloc(r->n_groups, sizeof(*r->top));
    r->is_stale = dnas_xalloc(r->n_groups, sizeof(*r->is_stale));
    r->set = dnas_xalloc(N, sizeof(*r->set));
    r->row = dnas_xalloc(N, sizeof(*r->row));
    r->value = dnas_xalloc(N, sizeof(*r->value));
    r->seen = dnas_xzalloc(N, sizeof(*r->seen));
    r->centre = dnas_xalloc(C, sizeof(*r->centre));
    r->sum = dnas_xalloc(C, sizeof(*r->sum));
    memset(r->is_stale, true, r->n_groups * sizeof(*r->is_stale));
    for (size_t i = 0; i < N; i++)
        r->label[i] = -1;
    r->n_available = N;
}

static void release_room(struct run *r)
{
    free(r->label);
    free(r->offset);
    free(r->top);
    free(r->is_stale);
    free(r->set);
    free(r->row);
    free(r->value);
    free(r->seen);
    free(r->centre);
    free(r->sum);
    dnas_similar_release(&r->s);
}

int dnas_kmedoid_run(struct dnas_kmedoid *out, const float *x, size_t N, size_t C,
                     const struct dnas_kmedoid_options *options, struct dnas_err *err)
{
    struct run r = {.o = options};
    int status;

    *out = (struct dnas_kmedoid){.N = N};
    status = dnas_similar_run(&r.s, x, N, C, (float)options->threshold, options->n_threads, err);
    if (status == 0) {
        make_room(&r);
        out->label = dnas_xalloc(N, sizeof(*out->label));
        out->score = dnas_xzalloc(N, sizeof(*out->score));
        out->n_pairs = r.s.n_pairs;
        out->limited = rounds(&r);
        out->n_rounds = r.round;
        dnas_progress_end();
        number_bins(out, &r);
        score_bins(out, &r);
    } else {
        out->N = 0;
    }
    release_room(&r);
    return status;
}

void dnas_kmedoid_release(struct dnas_kmedoid *km)
{
    free(km->label);
    free(km->score);
    *km = (struct dnas_kmedoid){0};
}
