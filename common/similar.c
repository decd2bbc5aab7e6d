/* SPDX-License-Identifier: MIT
 *
 * similar.c - comparing all rows by blocks.  Contract: similar.h.
 *
 * A task is one block of rows with a strip of the blocks from there on, so that
 * each pair is computed once.  Tasks list the neighbours they find; read in the
 * order of the tasks, these lists give every row its neighbours in rising order.
 */
#include "common/similar.h"

#include <math.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "common/msg.h"
#include "common/similar_bound.h"
#include "common/threads.h"
#include "common/xmem.h"
#include "kernels/kernels.h"

#define BLOCK 128  /* rows: 128 x 768 floats stay in a second cache of 1 MiB */
#define STRIP 32   /* blocks a task */
#define CHUNK 1024 /* rows a task of comparing with one row */

struct pair {
    uint32_t a, b; /* a < b */
    float similarity;
};

/* What a task has found. */
struct found {
    struct pair *pair;
    size_t n, cap;
};

struct worker {
    float *tile;     /* [BLOCK,BLOCK] */
    float *a, *b;    /* [BLOCK,C], rows brought together; NULL where they lie so */
    uint32_t *index; /* [BLOCK], columns of the tile that are found, */
    float *value;    /* [BLOCK] and their similarities */
    double *density; /* [N]; NULL: not wanted */
    uint64_t n_pairs;
};

struct pass {
    struct dnas_similar *s;
    const struct dnas_similar_bound *bound; /* NULL: none */
    const uint32_t *row;                    /* [n]; NULL: 0..n-1 */
    size_t n, n_blocks;
    size_t *first_task; /* [n_blocks + 1] */
    struct worker *worker;
    struct found *found; /* [tasks] */
    size_t limit;        /* pairs that may be listed */
    atomic_size_t n_found, n_done;
};

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Adding and taking off 1.5 2^52 rounds to a whole number, in any order of instructions. */
double dnas_similar_units(const struct dnas_similar *s, float similarity)
{
    return (double)similarity * s->scale + 0x1.8p52 - 0x1.8p52;
}

static uint32_t row_number(const struct pass *p, size_t i)
{
    return p->row ? p->row[i] : (uint32_t)i;
}

/* The rows of a block, one after the other. */
static const float *block_rows(const struct pass *p, float *room, size_t begin, size_t n)
{
    size_t C = p->s->C;

    if (!p->row)
        return p->s->x + begin * C;
    for (size_t i = 0; i < n; i++)
        memcpy(room + i * C, p->s->x + row_number(p, begin + i) * C, C * sizeof(*room));
    return room;
}

/* Adds to the sums what row a has in common with the n rows that were found. */
static void add_up(struct pass *p, struct worker *w, uint32_t a, size_t b0, size_t n)
{
    const float threshold = p->s->threshold;
    double sum = 0;
    size_t n_counting = 0;

    for (size_t k = 0; k < n; k++) {
        uint32_t b = row_number(p, b0 + w->index[k]);
        float similarity = w->value[k];
        double units = similarity >= threshold ? dnas_similar_units(p->s, similarity) : 0;

        sum += units;
        n_counting += similarity >= threshold;
        if (a == b)
            w->n_pairs -= similarity >= threshold; /* else it would count twice */
        else
            w->density[b] += units;
    }
    w->density[a] += sum;
    w->n_pairs += 2 * n_counting;
}

/* The same where most of n neighbours b0, b0+1, ... count, four at a time and without branches.
 * Exact sums may be made in any order.  Returns how many count. */
static size_t add_up_dense(struct pass *p, struct worker *w, uint32_t a, size_t b0, const float *v,
                           size_t n)
{
    const double scale = p->s->scale;
    const float threshold = p->s->threshold;
    double *density = w->density + b0, sum[4] = {0};
    uint64_t n_counting[4] = {0};
    size_t j = 0;

    for (; j + 4 <= n; j += 4)
        for (size_t l = 0; l < 4; l++) {
            double units = (double)v[j + l] * scale + 0x1.8p52 - 0x1.8p52;

            units = v[j + l] >= threshold ? units : 0;
            n_counting[l] += v[j + l] >= threshold;
            density[j + l] += units;
            sum[l] += units;
        }
    for (; j < n; j++)
        if (v[j] >= threshold) {
            density[j] += dnas_similar_units(p->s, v[j]);
            sum[0] += dnas_similar_units(p->s, v[j]);
            n_counting[0]++;
        }
    w->density[a] += sum[0] + sum[1] + sum[2] + sum[3];
    n_counting[0] += n_counting[1] + n_counting[2] + n_counting[3];
    w->n_pairs += 2 * n_counting[0];
    return n_counting[0];
}

/* Whether so many pairs were found that none will be listed. */
static bool is_full(const struct pass *p)
{
    return atomic_load_explicit(&p->n_found, memory_order_relaxed) > p->limit;
}

static void list(struct pass *p, struct worker *w, struct found *f, uint32_t a, size_t b0, size_t n)
{
    if (is_full(p))
        return;
    f->pair = dnas_xgrow(f->pair, &f->cap, f->n + n, sizeof(*f->pair));
    for (size_t k = 0; k < n; k++) {
        uint32_t b = row_number(p, b0 + w->index[k]);

        if (a != b)
            f->pair[f->n++] = (struct pair){.a = a, .b = b, .similarity = w->value[k]};
    }
}

/* A block of rows, in x and (with a bound) in y. */
struct side {
    const float *x, *y;
    size_t begin, n;
};

static struct side side_of(const struct pass *p, float *room, size_t begin)
{
    struct side s = {.begin = begin, .n = least(p->n - begin, BLOCK)};

    s.x = block_rows(p, room, begin, s.n);
    s.y = p->bound ? p->bound->y + begin * p->bound->D : NULL;
    return s;
}

static void use_found(struct pass *p, struct worker *w, struct found *f, uint32_t a, size_t b0,
                      size_t n)
{
    if (w->density)
        add_up(p, w, a, b0, n);
    list(p, w, f, a, b0, n);
}

/* Computes all similarities of two blocks. */
static void compare_all_pairs(struct pass *p, struct worker *w, struct found *f,
                              const struct side *a, const struct side *b)
{
    const bool may_be_dense = w->density && !p->row && a->begin != b->begin;
    bool is_dense = false; /* the row before was */

    dnas_cpu_similarity(w->tile, a->x, b->x, a->n, b->n, p->s->C, BLOCK);
    for (size_t i = 0; i < a->n; i++) {
        size_t from = a->begin == b->begin ? i : 0, n;
        const float *v = w->tile + i * BLOCK + from;

        if (is_dense && is_full(p)) {
            n = add_up_dense(p, w, (uint32_t)(a->begin + i), b->begin, v, b->n);
            is_dense = n > b->n / 4;
            continue;
        }
        dnas_cpu_at_least(w->index, &n, v, b->n - from, p->s->threshold - p->s->margin);
        is_dense = may_be_dense && n > b->n / 4;
        for (size_t k = 0; k < n; k++)
            w->value[k] = v[w->index[k]];
        use_found(p, w, f, row_number(p, a->begin + i), b->begin + from, n);
    }
}

/* Computes the similarities that the bound does not rule out, unless they are many. */
static void compare_some_pairs(struct pass *p, struct worker *w, struct found *f,
                               const struct side *a, const struct side *b)
{
    const float limit = p->s->threshold - p->s->margin - p->bound->margin;
    size_t n_left = 0, n;

    dnas_cpu_matmul_nt(w->tile, a->y, b->y, a->n, b->n, p->bound->D);
    for (size_t i = 0; i < a->n; i++) {
        dnas_cpu_at_least(w->index, &n, w->tile + i * b->n, b->n, limit);
        n_left += n;
    }
    if (n_left > a->n * b->n / 8) {
        compare_all_pairs(p, w, f, a, b);
        return;
    }
    for (size_t i = 0; i < a->n; i++) {
        size_t from = a->begin == b->begin ? i : 0, n_near = 0;

        dnas_cpu_at_least(w->index, &n, w->tile + i * b->n + from, b->n - from, limit);
        dnas_cpu_similarity_rows(w->value, b->x + from * p->s->C, w->index, a->x + i * p->s->C, n,
                                 p->s->C);
        for (size_t k = 0; k < n; k++)
            if (w->value[k] >= p->s->threshold - p->s->margin) {
                w->index[n_near] = w->index[k];
                w->value[n_near++] = w->value[k];
            }
        use_found(p, w, f, row_number(p, a->begin + i), b->begin + from, n_near);
    }
}

static void compare_task(void *ctx, size_t task, int worker)
{
    struct pass *p = ctx;
    struct worker *w = &p->worker[worker];
    struct found *f = &p->found[task];
    size_t low = 0, high = p->n_blocks, j;
    struct side a;

    while (high - low > 1) { /* the block whose tasks hold this one */
        size_t middle = low + (high - low) / 2;

        if (p->first_task[middle] <= task)
            low = middle;
        else
            high = middle;
    }
    a = side_of(p, w->a, low * BLOCK);
    j = low + (task - p->first_task[low]) * STRIP;
    for (size_t k = 0; k < STRIP && j + k < p->n_blocks; k++) {
        struct side b = j + k == low ? a : side_of(p, w->b, (j + k) * BLOCK);

        if (p->bound)
            compare_some_pairs(p, w, f, &a, &b);
        else
            compare_all_pairs(p, w, f, &a, &b);
    }
    if (atomic_fetch_add(&p->n_found, f->n) + f->n > p->limit) {
        free(f->pair); /* too many: they will not be listed */
        *f = (struct found){0};
    }
    dnas_progress("comparing", "blocks of sequences", atomic_fetch_add(&p->n_done, 1) + 1,
                  atomic_load(&p->n_done), p->first_task[p->n_blocks]);
}

static void make_workers(struct pass *p, int n_threads, bool densities)
{
    p->worker = dnas_xzalloc((size_t)n_threads, sizeof(*p->worker));
    for (int t = 0; t < n_threads; t++) {
        struct worker *w = &p->worker[t];

        w->tile = dnas_xalloc64(BLOCK * BLOCK, sizeof(*w->tile));
        w->index = dnas_xalloc(BLOCK, sizeof(*w->index));
        w->value = dnas_xalloc(BLOCK, sizeof(*w->value));
        if (p->row) {
            w->a = dnas_xalloc64(BLOCK * sizeof(*w->a), p->s->C);
            w->b = dnas_xalloc64(BLOCK * sizeof(*w->b), p->s->C);
        }
        if (densities)
            w->density = dnas_xzalloc(p->s->N, sizeof(*w->density));
    }
}

/* Frees them, adding up what they have; exact, so in any order. */
static void collect_workers(struct pass *p, int n_threads)
{
    for (int t = 0; t < n_threads; t++) {
        struct worker *w = &p->worker[t];

        for (size_t i = 0; w->density && i < p->s->N; i++)
            p->s->density[i] += w->density[i];
        p->s->n_pairs += w->n_pairs;
        free(w->tile);
        free(w->a);
        free(w->b);
        free(w->index);
        free(w->value);
        free(w->density);
    }
    free(p->worker);
}

/* The pairs that were found, by row; both ends of each. */
static void list_neighbours(struct dnas_similar *s, struct found *found, size_t n_tasks)
{
    size_t *at = dnas_xzalloc(s->N + 1, sizeof(*at));

    for (size_t t = 0; t < n_tasks; t++)
        for (size_t k = 0; k < found[t].n; k++) {
            at[found[t].pair[k].a + 1]++;
            at[found[t].pair[k].b + 1]++;
        }
    for (size_t i = 0; i < s->N; i++)
        at[i + 1] += at[i];
    s->first = dnas_xalloc(s->N + 1, sizeof(*s->first));
    memcpy(s->first, at, (s->N + 1) * sizeof(*at));
    s->neighbour = dnas_xalloc(at[s->N], sizeof(*s->neighbour));
    s->similarity = dnas_xalloc(at[s->N], sizeof(*s->similarity));
    for (size_t t = 0; t < n_tasks; t++) {
        for (size_t k = 0; k < found[t].n; k++) {
            struct pair q = found[t].pair[k];

            s->neighbour[at[q.a]] = q.b;
            s->similarity[at[q.a]++] = q.similarity;
            s->neighbour[at[q.b]] = q.a;
            s->similarity[at[q.b]++] = q.similarity;
        }
        free(found[t].pair);
        found[t] = (struct found){0};
    }
    free(at);
}

static void compare_all(struct dnas_similar *s, const struct dnas_similar_bound *bound,
                        const uint32_t *row, size_t n, bool densities, int n_threads)
{
    struct pass p = {.s = s, .bound = bound, .row = row, .n = n};
    size_t n_tasks = 0;

    p.n_blocks = n / BLOCK + (n % BLOCK > 0);
    p.limit = DNAS_SIMILAR_NEIGHBOURS(s->N, s->C);
    p.first_task = dnas_xalloc(p.n_blocks + 1, sizeof(*p.first_task));
    for (size_t i = 0; i < p.n_blocks; i++) {
        p.first_task[i] = n_tasks;
        n_tasks += (p.n_blocks - i + STRIP - 1) / STRIP;
    }
    p.first_task[p.n_blocks] = n_tasks;
    p.found = dnas_xzalloc(n_tasks, sizeof(*p.found));
    make_workers(&p, n_threads, densities);
    dnas_parallel_for(n_tasks, n_threads, compare_task, &p);
    dnas_progress_end();
    collect_workers(&p, n_threads);
    if (p.n_found <= p.limit)
        list_neighbours(s, p.found, n_tasks);
    for (size_t t = 0; t < n_tasks; t++)
        free(p.found[t].pair);
    free(p.found);
    free(p.first_task);
}

/* Checks the rows; the longest row's squared length. */
static int longest2(double *max, const float *x, size_t N, size_t C, struct dnas_err *err)
{
    float *zero = dnas_xzalloc(C, sizeof(*zero));
    int status = 0;

    *max = 0;
    for (size_t i = 0; i < N && status == 0; i++) {
        double length2;

        dnas_cpu_distance2(&length2, x + i * C, NULL, zero, NULL, 1, C);
        if (!isfinite(length2))
            status = dnas_err_set(err, "row %zu has a value that is not finite", i + 1);
        else if (length2 > 1e37)
            status = dnas_err_set(err, "row %zu is too long (%.3g): scale the rows to unit length",
                                  i + 1, sqrt(length2));
        *max = fmax(*max, length2);
    }
    free(zero);
    return status;
}

int dnas_similar_run(struct dnas_similar *s, const float *x, size_t N, size_t C, float threshold,
                     int n_threads, struct dnas_err *err)
{
    struct dnas_similar_bound bound;
    double max;
    int exponent;

    *s = (struct dnas_similar){.N = N, .C = C, .x = x, .threshold = threshold};
    if (N >= UINT32_MAX)
        return dnas_err_set(err, "%zu rows are more than can be numbered; the limit is 2^32 - 2",
                            N);
    if (longest2(&max, x, N, C, err) != 0)
        return -1;
    /* Twice the error of a product (kernels.h) for a row with a mean and twice for the row with
     * one of those, and the rounding of the mean. */
    s->margin = (float)(((double)C / 4 + 24) * 0x1p-24 * max);
    frexp((double)N * max * 1.01, &exponent); /* with room for errors */
    s->scale = ldexp(1, 51 - exponent);
    s->density = dnas_xzalloc(N, sizeof(*s->density));
    dnas_similar_bound_make(&bound, x, N, C, threshold - s->margin, max, n_threads);
    compare_all(s, bound.D > 0 ? &bound : NULL, NULL, N, true, n_threads);
    dnas_similar_bound_release(&bound);
    return 0;
}

void dnas_similar_list(struct dnas_similar *s, const uint32_t *row, size_t n, int n_threads)
{
    free(s->first);
    free(s->neighbour);
    free(s->similarity);
    s->first = NULL;
    s->neighbour = NULL;
    s->similarity = NULL;
    compare_all(s, NULL, row, n, false, n_threads);
}

void dnas_similar_release(struct dnas_similar *s)
{
    free(s->density);
    free(s->first);
    free(s->neighbour);
    free(s->similarity);
    *s = (struct dnas_similar){0};
}

/* ---- taking rows out ---- */

struct subtract {
    struct dnas_similar *s;
    struct pass rows;  /* s, row and n alone */
    const float *gone; /* [n_gone,C] */
    size_t n_gone;
    struct worker *worker;
};

static void subtract_task(void *ctx, size_t task, int worker)
{
    struct subtract *u = ctx;
    struct worker *w = &u->worker[worker];
    size_t i0 = task * BLOCK, n = least(u->rows.n - i0, BLOCK), C = u->s->C, n_index;
    const float *a = block_rows(&u->rows, w->a, i0, n);

    for (size_t g = 0; g < u->n_gone; g += BLOCK) {
        size_t n_b = least(u->n_gone - g, BLOCK);

        dnas_cpu_similarity(w->tile, a, u->gone + g * C, n, n_b, C, BLOCK);
        for (size_t i = 0; i < n; i++) {
            const float *v = w->tile + i * BLOCK;

            dnas_cpu_at_least(w->index, &n_index, v, n_b, u->s->threshold);
            for (size_t k = 0; k < n_index; k++)
                u->s->density[row_number(&u->rows, i0 + i)] -=
                    dnas_similar_units(u->s, v[w->index[k]]);
        }
    }
}

void dnas_similar_subtract(struct dnas_similar *s, const uint32_t *row, size_t n,
                           const uint32_t *gone, size_t n_gone, int n_threads)
{
    struct subtract u = {.s = s, .rows = {.s = s, .row = row, .n = n}, .n_gone = n_gone};
    float *x = dnas_xalloc64(n_gone, s->C * sizeof(*x));

    for (size_t i = 0; i < n_gone; i++)
        memcpy(x + i * s->C, s->x + gone[i] * s->C, s->C * sizeof(*x));
    u.gone = x;
    make_workers(&u.rows, n_threads, false);
    u.worker = u.rows.worker;
    dnas_parallel_for(n / BLOCK + (n % BLOCK > 0), n_threads, subtract_task, &u);
    collect_workers(&u.rows, n_threads);
    free(x);
}

/* ---- one row with many ---- */

struct to {
    float *out;
    const struct dnas_similar *s;
    const uint32_t *row;
    size_t n;
    const float *y;
};

static void to_task(void *ctx, size_t task, int worker)
{
    const struct to *u = ctx;
    size_t i = task * CHUNK;

    (void)worker;
    dnas_cpu_similarity_rows(u->out + i, u->row ? u->s->x : u->s->x + i * u->s->C,
                             u->row ? u->row + i : NULL, u->y, least(u->n - i, CHUNK), u->s->C);
}

void dnas_similar_to(float *out, const struct dnas_similar *s, const uint32_t *row, size_t n,
                     const float *y, int n_threads)
{
    struct to u = {.out = out, .s = s, .row = row, .n = n, .y = y};
    size_t n_tasks = n / CHUNK + (n % CHUNK > 0);

    /* A few rows take less time than threads to start. */
    dnas_parallel_for(n_tasks, n_tasks < 4 ? 1 : n_threads, to_task, &u);
}
