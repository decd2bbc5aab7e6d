/* SPDX-License-Identifier: MIT
 *
 * matching.c - linear assignment by shortest augmenting paths.  Contract:
 * matching.h.
 *
 * Jonker and Volgenant, "A shortest augmenting path algorithm for dense and
 * sparse linear assignment problems", Computing 38, 1987: costs are negative
 * weights, v the columns' dual values.  Each row has besides its cells a way
 * out of cost 0, a column of its own: staying single.  With it, cells that are
 * not stored need no room, and columns need not be as many as rows.
 */
#include "common/matching.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "common/err.h"
#include "common/xmem.h"

#define NOBODY UINT32_MAX
#define MAX_WEIGHT (UINT64_C(1) << 60)

struct entry {
    int64_t distance;
    uint32_t column;
};

struct solver {
    const struct dnas_matching_weights *w;
    uint32_t *column_of; /* [n_rows] */
    uint32_t *row_of;    /* [n_columns] */
    int64_t *v;          /* [n_columns], 0 or less; 0 while a column is free */

    uint32_t *todo; /* [n_rows], rows without a place yet */
    size_t n_todo;

    /* One search. */
    int64_t *distance; /* [n_columns], INT64_MAX: not met */
    uint32_t *before;  /* [n_columns], the row from which a column was met */
    uint32_t *met;     /* [n_columns], columns that were met */
    size_t n_met;
    struct entry *heap; /* least distance first, then least column; old entries stay in it */
    size_t n_heap, heap_cap;
    bool is_dense;    /* most rows meet most columns: looking through them beats the heap */
    size_t n_settled; /* then the first of `met`, in order of distance */
    int64_t shortest; /* distance of the nearest end so far: */
    uint32_t end;     /* a free column, or NOBODY: the way out of row `single` */
    uint32_t single;
};

static int64_t reduced(const struct solver *s, size_t cell)
{
    return -(int64_t)s->w->weight[cell] - s->v[s->w->column[cell]];
}

/* ---- augmenting row reduction ---- */

/* The two least of a row's cells and its way out. */
struct two {
    int64_t least, second;
    uint32_t column, other; /* NOBODY: the way out */
};

static struct two two_least(const struct solver *s, size_t row)
{
    struct two t = {.least = 0, .second = INT64_MAX, .column = NOBODY, .other = NOBODY};

    for (size_t c = s->w->first[row]; c < s->w->first[row + 1]; c++) {
        int64_t r = reduced(s, c);

        if (r < t.least) {
            t.second = t.least;
            t.other = t.column;
            t.least = r;
            t.column = s->w->column[c];
        } else if (r < t.second) {
            t.second = r;
            t.other = s->w->column[c];
        }
    }
    return t;
}

/* Gives a row its best column, whose price rises until the second best is as good.  Returns the
 * row that has to leave, or NOBODY; *again: at once, for the price has risen. */
static uint32_t place(struct solver *s, uint32_t row, bool *again)
{
    struct two t = two_least(s, row);
    uint32_t left;

    *again = t.least < t.second;
    if (t.column == NOBODY) {
        s->column_of[row] = DNAS_UNMATCHED;
        return NOBODY;
    }
    if (t.least < t.second) {
        s->v[t.column] -= t.second - t.least;
    } else if (s->row_of[t.column] != NOBODY) {
        t.column = t.other; /* as good, perhaps free, and not the way out: least is below 0 */
    }
    left = s->row_of[t.column];
    s->row_of[t.column] = row;
    s->column_of[row] = t.column;
    return left;
}

/* Goes through the rows that wait; those put out by a tie wait for the next pass.  `budget` bounds
 * the steps, since two rows may bid against each other for long. */
static void reduce(struct solver *s)
{
    size_t n = s->n_todo, budget = 8 * n;

    s->n_todo = 0;
    for (size_t k = 0; k < n; k++) {
        uint32_t row = s->todo[k];
        bool again = true;

        while (row != NOBODY && again && budget > 0) {
            row = place(s, row, &again);
            budget--;
        }
        /* n_todo is at most k: what is overwritten was read. */
        if (row != NOBODY)
            s->todo[s->n_todo++] = row;
    }
}

/* ---- shortest augmenting paths ---- */

static bool before(struct entry a, struct entry b)
{
    return a.distance < b.distance || (a.distance == b.distance && a.column < b.column);
}

static void push(struct solver *s, struct entry e)
{
    size_t i = s->n_heap++;

    s->heap = dnas_xgrow(s->heap, &s->heap_cap, s->n_heap, sizeof(*s->heap));
    for (; i > 0 && before(e, s->heap[(i - 1) / 2]); i = (i - 1) / 2)
        s->heap[i] = s->heap[(i - 1) / 2];
    s->heap[i] = e;
}

static struct entry pop(struct solver *s)
{
    struct entry top = s->heap[0], last = s->heap[--s->n_heap];
    size_t i = 0;

    for (;;) {
        size_t child = 2 * i + 1;

        if (child + 1 < s->n_heap && before(s->heap[child + 1], s->heap[child]))
            child++;
        if (child >= s->n_heap || !before(s->heap[child], last))
            break;
        s->heap[i] = s->heap[child];
        i = child;
    }
    s->heap[i] = last;
    return top;
}

/* The nearest column that is not settled, and settles it; false if all are. */
static bool nearest(struct solver *s, struct entry *e)
{
    size_t best = s->n_settled;

    while (!s->is_dense && s->n_heap > 0) {
        *e = pop(s);
        if (e->distance == s->distance[e->column])
            return true;
    }
    if (!s->is_dense || s->n_settled == s->n_met)
        return false;
    for (size_t k = s->n_settled + 1; k < s->n_met; k++)
        if (s->distance[s->met[k]] < s->distance[s->met[best]])
            best = k;
    e->column = s->met[best];
    e->distance = s->distance[e->column];
    s->met[best] = s->met[s->n_settled];
    s->met[s->n_settled++] = e->column;
    return true;
}

/* Meets the row's columns at `at` plus their reduced costs less u, the row's dual value.  What is
 * not nearer than the nearest end so far cannot be on the way. */
static void scan(struct solver *s, uint32_t row, int64_t at, int64_t u)
{
    for (size_t c = s->w->first[row]; c < s->w->first[row + 1]; c++) {
        uint32_t j = s->w->column[c];
        int64_t d = at + reduced(s, c) - u;

        if (d >= s->shortest || d >= s->distance[j])
            continue;
        if (s->distance[j] == INT64_MAX)
            s->met[s->n_met++] = j;
        s->distance[j] = d;
        s->before[j] = row;
        if (s->row_of[j] == NOBODY) {
            s->shortest = d;
            s->end = j;
        } else if (!s->is_dense) {
            push(s, (struct entry){.distance = d, .column = j});
        }
    }
}

/* The dual value of a row that has a column: its cell there is the row's least. */
static int64_t row_dual(const struct solver *s, uint32_t row)
{
    size_t lo = s->w->first[row], hi = s->w->first[row + 1];

    while (hi - lo > 1) {
        size_t mid = lo + (hi - lo) / 2;

        if (s->w->column[mid] <= s->column_of[row])
            lo = mid;
        else
            hi = mid;
    }
    return reduced(s, lo);
}

/* Shifts columns along the way from row `start` to the nearest end. */
static void augment(struct solver *s, uint32_t start)
{
    uint32_t j = s->end;

    if (j == NOBODY) {
        j = s->column_of[s->single];
        s->column_of[s->single] = DNAS_UNMATCHED;
        if (s->single == start)
            return;
    }
    for (;;) {
        uint32_t row = s->before[j], next = s->column_of[row];

        s->row_of[j] = row;
        s->column_of[row] = j;
        if (row == start)
            return;
        j = next;
    }
}

/* Dijkstra's algorithm from a row without a column to the nearest free column or way out. */
static void search(struct solver *s, uint32_t start)
{
    struct entry e;

    s->n_met = s->n_heap = s->n_settled = 0;
    s->column_of[start] = DNAS_UNMATCHED;
    s->shortest = 0;
    s->single = start;
    s->end = NOBODY;
    scan(s, start, 0, 0);
    while (nearest(s, &e) && e.distance < s->shortest) {
        uint32_t row = s->row_of[e.column];
        int64_t u;

        u = row_dual(s, row);
        if (e.distance - u < s->shortest) {
            s->shortest = e.distance - u;
            s->single = row;
            s->end = NOBODY;
        }
        scan(s, row, e.distance, u);
    }
    for (size_t k = 0; k < s->n_met; k++) {
        uint32_t j = s->met[k];

        if (s->distance[j] < s->shortest) /* then it was settled, and is nobody's end */
            s->v[j] += s->distance[j] - s->shortest;
        s->distance[j] = INT64_MAX;
    }
    augment(s, start);
}

static void solver_init(struct solver *s, uint32_t *column_of_row,
                        const struct dnas_matching_weights *w)
{
    *s = (struct solver){.w = w, .column_of = column_of_row, .n_todo = w->n_rows};
    s->is_dense = w->n_rows > 0 && w->first[w->n_rows] / w->n_rows > w->n_columns / 4;
    s->row_of = dnas_xalloc(w->n_columns, sizeof(*s->row_of));
    s->v = dnas_xzalloc(w->n_columns, sizeof(*s->v));
    s->todo = dnas_xalloc(w->n_rows, sizeof(*s->todo));
    s->distance = dnas_xalloc(w->n_columns, sizeof(*s->distance));
    s->before = dnas_xalloc(w->n_columns, sizeof(*s->before));
    s->met = dnas_xalloc(w->n_columns, sizeof(*s->met));
    for (size_t j = 0; j < w->n_columns; j++) {
        s->row_of[j] = NOBODY;
        s->distance[j] = INT64_MAX;
    }
    for (size_t i = 0; i < w->n_rows; i++) {
        s->todo[i] = (uint32_t)i;
        s->column_of[i] = DNAS_UNMATCHED;
    }
}

static void solver_release(struct solver *s)
{
    free(s->row_of);
    free(s->v);
    free(s->todo);
    free(s->distance);
    free(s->before);
    free(s->met);
    free(s->heap);
}

static void check(const struct dnas_matching_weights *w)
{
    if (w->n_rows >= NOBODY || w->n_columns >= NOBODY)
        DNAS_BUG("%zu rows, %zu columns", w->n_rows, w->n_columns);
    for (size_t i = 0; i < w->n_rows; i++)
        for (size_t c = w->first[i]; c < w->first[i + 1]; c++)
            if (w->column[c] >= w->n_columns || w->weight[c] < 1 || w->weight[c] > MAX_WEIGHT ||
                (c > w->first[i] && w->column[c] <= w->column[c - 1]))
                DNAS_BUG("cell %zu of row %zu", c - w->first[i], i);
}

static uint64_t sum_of_pairs(const uint32_t *column_of_row, const struct dnas_matching_weights *w)
{
    uint64_t sum = 0;

    for (size_t i = 0; i < w->n_rows; i++)
        for (size_t c = w->first[i]; c < w->first[i + 1]; c++)
            if (w->column[c] == column_of_row[i] && __builtin_add_overflow(sum, w->weight[c], &sum))
                DNAS_BUG("weights sum to more than 64 bits hold");
    return sum;
}

uint64_t dnas_matching_run(uint32_t *column_of_row, const struct dnas_matching_weights *w)
{
    struct solver s;

    check(w);
    solver_init(&s, column_of_row, w);
    /* Two passes, as in the paper: a third seldom places anyone. */
    reduce(&s);
    reduce(&s);
    for (size_t k = 0; k < s.n_todo; k++)
        search(&s, s.todo[k]);
    solver_release(&s);
    return sum_of_pairs(column_of_row, w);
}
