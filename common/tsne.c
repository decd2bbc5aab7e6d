/* SPDX-License-Identifier: MIT
 *
 * tsne.c - t-SNE with a quadtree.  Contract: tsne.h.
 *
 * The quadtree is a list of cells in depth-first order, made from the points
 * sorted along a Z-shaped curve (Morton 1966), each cell with the number of
 * the one to go on with when it is not opened: a walk is one loop without a
 * stack, and the order of its sums depends on the points alone.
 */
#include "common/tsne.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "common/msg.h"
#include "common/pca.h"
#include "common/rng.h"
#include "common/threads.h"
#include "common/xmem.h"

#define REDUCED_C 50    /* as in the paper, section 4.2 */
#define EXACT_MAX_N 500 /* where the quadtree begins to pay */
#define ROWS 64         /* rows of a task */

static size_t min_size(size_t a, size_t b)
{
    return a < b ? a : b;
}

static size_t n_tasks(size_t N)
{
    return (N + ROWS - 1) / ROWS;
}

/* ---- nearest neighbours ---- */

struct neighbour {
    double distance;
    uint32_t row;
};

/* A vantage-point tree in place: order[lo] is the vantage point of lo..hi, the nearer half of the
 * rest follows it, then the farther half; radius[lo] is the distance to the first of these. */
struct vptree {
    const float *x; /* [N,C] */
    size_t N, C;
    struct neighbour *order; /* [N]; distances are only used while building */
    double *radius;          /* [N] */
};

static double distance(const struct vptree *t, size_t a, size_t b)
{
    const float *x = t->x + a * t->C, *y = t->x + b * t->C;
    double sum = 0;

    for (size_t c = 0; c < t->C; c++) {
        double d = (double)x[c] - (double)y[c];

        sum += d * d;
    }
    return sqrt(sum);
}

/* By distance, then by row: a total order, so that results do not depend on the sort. */
static int by_distance(const void *a, const void *b)
{
    const struct neighbour *x = a, *y = b;

    if (x->distance != y->distance)
        return x->distance < y->distance ? -1 : 1;
    return (x->row > y->row) - (x->row < y->row);
}

static void vptree_build(struct vptree *t, size_t lo, size_t hi)
{
    size_t middle = lo + 1 + (hi - lo - 1) / 2, pick = lo + (hi - lo) / 2;
    struct neighbour vantage;

    if (hi - lo < 2)
        return;
    vantage = t->order[pick];
    t->order[pick] = t->order[lo];
    t->order[lo] = vantage;
    for (size_t i = lo + 1; i < hi; i++)
        t->order[i].distance = distance(t, vantage.row, t->order[i].row);
    qsort(t->order + lo + 1, hi - lo - 1, sizeof(*t->order), by_distance);
    t->radius[lo] = t->order[middle].distance;
    vptree_build(t, lo + 1, middle);
    vptree_build(t, middle, hi);
}

/* The k nearest so far, a heap with the farthest on top. */
struct nearest {
    struct neighbour *heap;
    size_t n, k;
};

static void nearest_sift(struct nearest *near, size_t i)
{
    for (;;) {
        size_t largest = i;
        struct neighbour held = near->heap[i];

        for (size_t child = 2 * i + 1; child <= 2 * i + 2 && child < near->n; child++)
            if (by_distance(&near->heap[child], &near->heap[largest]) > 0)
                largest = child;
        if (largest == i)
            return;
        near->heap[i] = near->heap[largest];
        near->heap[largest] = held;
        i = largest;
    }
}

static void nearest_offer(struct nearest *near, struct neighbour candidate)
{
    if (near->n < near->k) {
        near->heap[near->n++] = candidate;
        if (near->n == near->k)
            for (size_t i = near->k / 2; i-- > 0;)
                nearest_sift(near, i);
    } else if (by_distance(&candidate, &near->heap[0]) < 0) {
        near->heap[0] = candidate;
        nearest_sift(near, 0);
    }
}

/* Whether all that lies farther from the vantage point than the row by `gap` (or nearer) is too
 * far from the row.  Distances are rounded, by far less than 1e-12 of the radius. */
static bool beyond(const struct nearest *near, double gap, double radius)
{
    return near->n == near->k && gap > near->heap[0].distance + 1e-12 * radius;
}

static void vptree_search(const struct vptree *t, struct nearest *near, size_t row, size_t lo,
                          size_t hi)
{
    size_t middle = lo + 1 + (hi - lo - 1) / 2;
    double d;

    if (lo >= hi)
        return;
    d = distance(t, row, t->order[lo].row);
    if (t->order[lo].row != row)
        nearest_offer(near, (struct neighbour){d, t->order[lo].row});
    if (hi - lo < 2)
        return;
    if (d < t->radius[lo]) {
        vptree_search(t, near, row, lo + 1, middle);
        if (!beyond(near, t->radius[lo] - d, t->radius[lo]))
            vptree_search(t, near, row, middle, hi);
    } else {
        vptree_search(t, near, row, middle, hi);
        if (!beyond(near, d - t->radius[lo], t->radius[lo]))
            vptree_search(t, near, row, lo + 1, middle);
    }
}

/* ---- affinities ---- */

struct affinities {
    const struct vptree *tree;
    struct neighbour *near; /* [N,k] nearest first; distances become p(j|i) */
    size_t k;
    double perplexity;
};

/* p(j|i) of one row, by bisection of beta until the entropy is log(perplexity) (JMLR 2008,
 * section 2).  The nearest distance is taken off all: it cancels in p, and nothing underflows. */
static void conditional(struct neighbour *near, size_t k, double perplexity)
{
    double beta = 1, lo = 0, hi = INFINITY, nearest_sq = near[0].distance * near[0].distance;
    double sum = 0;

    for (size_t j = 0; j < k; j++)
        near[j].distance = near[j].distance * near[j].distance - nearest_sq;
    for (int step = 0; step < 200; step++) {
        double weighted = 0, entropy;

        sum = 0;
        for (size_t j = 0; j < k; j++) {
            double p = exp(-beta * near[j].distance);

            sum += p;
            weighted += p * near[j].distance;
        }
        entropy = log(sum) + beta * weighted / sum;
        if (fabs(entropy - log(perplexity)) < 1e-5)
            break;
        if (entropy > log(perplexity)) {
            lo = beta;
            beta = isinf(hi) ? 2 * beta : (beta + hi) / 2;
        } else {
            hi = beta;
            beta = (beta + lo) / 2;
        }
    }
    for (size_t j = 0; j < k; j++)
        near[j].distance = exp(-beta * near[j].distance) / sum;
}

static void affinity_rows(void *ctx, size_t task, int worker)
{
    struct affinities *a = ctx;

    (void)worker;
    for (size_t i = task * ROWS; i < min_size(a->tree->N, (task + 1) * ROWS); i++) {
        struct nearest near = {.heap = a->near + i * a->k, .k = a->k};

        vptree_search(a->tree, &near, i, 0, a->tree->N);
        qsort(near.heap, near.n, sizeof(*near.heap), by_distance);
        conditional(near.heap, a->k, a->perplexity);
    }
}

static int by_row(const void *a, const void *b)
{
    const struct neighbour *x = a, *y = b;

    return (x->row > y->row) - (x->row < y->row);
}

/* Sorts a row by column and adds up equal columns; returns how many are left. */
static size_t merge_row(struct neighbour *row, size_t n)
{
    size_t kept = 0;

    qsort(row, n, sizeof(*row), by_row);
    for (size_t i = 0; i < n; i++)
        if (kept > 0 && row[kept - 1].row == row[i].row)
            row[kept - 1].distance += row[i].distance;
        else
            row[kept++] = row[i];
    return kept;
}

/* p_ij = (p(j|i) + p(i|j)) / 2N (JMLR 2008, section 3.1). */
static void symmetrise(struct dnas_tsne_graph *graph, const struct neighbour *near, size_t k)
{
    size_t N = graph->N, n_entries = 0;
    size_t *end = dnas_xzalloc(N + 1, sizeof(*end));
    struct neighbour *all = dnas_xalloc(N, 2 * k * sizeof(*all));

    for (size_t e = 0; e < N * k; e++)
        end[near[e].row + 1]++;
    for (size_t i = 0; i < N; i++)
        end[i + 1] += end[i] + k;
    memcpy(graph->start, end, (N + 1) * sizeof(*end));
    for (size_t i = 0; i < N; i++)
        for (size_t j = 0; j < k; j++) {
            const struct neighbour *e = &near[i * k + j];
            double p = e->distance / (2 * (double)N);

            all[end[i]++] = (struct neighbour){p, e->row};
            all[end[e->row]++] = (struct neighbour){p, (uint32_t)i};
        }
    for (size_t i = 0; i < N; i++) {
        struct neighbour *row = all + graph->start[i];
        size_t n = merge_row(row, end[i] - graph->start[i]);

        graph->start[i] = n_entries;
        for (size_t j = 0; j < n; j++, n_entries++) {
            graph->column[n_entries] = row[j].row;
            graph->p[n_entries] = row[j].distance;
        }
    }
    graph->start[N] = n_entries;
    free(end);
    free(all);
}

void dnas_tsne_graph_init(struct dnas_tsne_graph *graph, const float *x, size_t N, size_t C,
                          double perplexity, int n_threads)
{
    size_t k = min_size(N - 1, (size_t)(3 * perplexity));
    struct vptree tree = {.x = x, .N = N, .C = C};
    struct affinities a = {.tree = &tree, .k = k, .perplexity = perplexity};

    if (N < 2 || N > UINT32_MAX || !(perplexity >= 1))
        DNAS_BUG("affinities of %zu rows at perplexity %g", N, perplexity);
    tree.order = dnas_xalloc(N, sizeof(*tree.order));
    tree.radius = dnas_xalloc(N, sizeof(*tree.radius));
    a.near = dnas_xalloc(N, k * sizeof(*a.near));
    for (size_t i = 0; i < N; i++)
        tree.order[i] = (struct neighbour){0, (uint32_t)i};
    vptree_build(&tree, 0, N);
    dnas_parallel_for(n_tasks(N), n_threads, affinity_rows, &a);

    graph->N = N;
    graph->start = dnas_xalloc(N + 1, sizeof(*graph->start));
    graph->column = dnas_xalloc(N, 2 * k * sizeof(*graph->column));
    graph->p = dnas_xalloc(N, 2 * k * sizeof(*graph->p));
    symmetrise(graph, a.near, k);
    free(tree.order);
    free(tree.radius);
    free(a.near);
}

void dnas_tsne_graph_release(struct dnas_tsne_graph *graph)
{
    free(graph->start);
    free(graph->column);
    free(graph->p);
    *graph = (struct dnas_tsne_graph){0};
}

/* ---- quadtree ---- */

#define LEVELS 32 /* bits of a coordinate; points that agree in all of them share a leaf */

struct cell {
    double x, y;     /* mean of its points */
    double width_sq; /* 0 for a leaf: never opened */
    double n;        /* points */
    size_t skip;     /* the cell to go on with when this one is not opened */
};

struct key {
    uint64_t code; /* bits of x and y in turn, highest first */
    uint32_t row;
};

struct quadtree {
    struct key *keys;   /* [N] */
    struct cell *cells; /* [2N] */
    size_t n_cells;
    const double *y; /* [N,2] */
    double width;    /* of the square round all points */
};

static int by_code(const void *a, const void *b)
{
    const struct key *x = a, *y = b;

    if (x->code != y->code)
        return x->code < y->code ? -1 : 1;
    return (x->row > y->row) - (x->row < y->row);
}

/* 0b1011 -> 0b1000101 */
static uint64_t spread(uint32_t bits)
{
    uint64_t v = bits;

    v = (v | v << 16) & 0x0000FFFF0000FFFFu;
    v = (v | v << 8) & 0x00FF00FF00FF00FFu;
    v = (v | v << 4) & 0x0F0F0F0F0F0F0F0Fu;
    v = (v | v << 2) & 0x3333333333333333u;
    return (v | v << 1) & 0x5555555555555555u;
}

static uint32_t grid(double value, double low, double width)
{
    double at = (value - low) / width * 4294967296.0;

    return at >= 4294967295.0 ? UINT32_MAX : at > 0 ? (uint32_t)at : 0;
}

static void add_mean(struct cell *cell, double x, double y, double n)
{
    cell->x += x * n;
    cell->y += y * n;
    cell->n += n;
}

/* Adds the cell of keys lo..hi and all below it.  Levels in which all points fall into one quarter
 * are passed over, so there are fewer than 2N cells. */
static void add_cells(struct quadtree *t, size_t lo, size_t hi)
{
    struct cell *cell = &t->cells[t->n_cells++];
    uint64_t differ = t->keys[lo].code ^ t->keys[hi - 1].code;
    unsigned shift = 2 * LEVELS;

    *cell = (struct cell){0};
    if (differ == 0) {
        for (size_t i = lo; i < hi; i++)
            add_mean(cell, t->y[2 * t->keys[i].row], t->y[2 * t->keys[i].row + 1], 1);
    } else {
        double width = t->width;

        for (shift -= 2; !(differ >> shift); shift -= 2)
            width /= 2;
        cell->width_sq = width * width;
        while (lo < hi) {
            size_t end = lo + 1, child = t->n_cells;

            while (end < hi && t->keys[end].code >> shift == t->keys[lo].code >> shift)
                end++;
            add_cells(t, lo, end);
            add_mean(cell, t->cells[child].x, t->cells[child].y, t->cells[child].n);
            lo = end;
        }
    }
    cell->x /= cell->n;
    cell->y /= cell->n;
    cell->skip = t->n_cells;
}

static void quadtree_build(struct quadtree *t, const double *y, size_t N)
{
    double low[2] = {y[0], y[1]}, high[2] = {y[0], y[1]};

    for (size_t i = 0; i < N; i++)
        for (int d = 0; d < 2; d++) {
            low[d] = fmin(low[d], y[2 * i + (size_t)d]);
            high[d] = fmax(high[d], y[2 * i + (size_t)d]);
        }
    t->y = y;
    t->n_cells = 0;
    t->width = fmax(fmax(high[0] - low[0], high[1] - low[1]), 1e-300);
    for (size_t i = 0; i < N; i++)
        t->keys[i] = (struct key){spread(grid(y[2 * i], low[0], t->width)) << 1 |
                                      spread(grid(y[2 * i + 1], low[1], t->width)),
                                  (uint32_t)i};
    qsort(t->keys, N, sizeof(*t->keys), by_code);
    add_cells(t, 0, N);
}

/* ---- gradient ---- */

struct step {
    const struct dnas_tsne_graph *graph;
    const double *y;       /* [N,2] */
    struct quadtree *tree; /* NULL: all pairs */
    double theta;
    double exaggeration;
    double *attract;  /* [N,2] */
    double *repel;    /* [N,2] not yet divided by Z */
    double *z;        /* [N] each row's part of Z */
    double *log_part; /* [N] sum over j of p log(p (1 + d^2)) */
};

/* With w = 1 / (1 + d^2): repel = sum of n w^2 (y_i - y_j), z = sum of n w. */
static void repel_tree(const struct step *s, size_t i)
{
    double x = s->y[2 * i], y = s->y[2 * i + 1], fx = 0, fy = 0, z = 0;
    double theta_sq = s->theta * s->theta;

    for (size_t c = 0; c < s->tree->n_cells;) {
        const struct cell *cell = &s->tree->cells[c];
        double dx = x - cell->x, dy = y - cell->y, d_sq = dx * dx + dy * dy;

        if (cell->width_sq >= theta_sq * d_sq && cell->width_sq > 0) {
            c++;
            continue;
        }
        double w = 1 / (1 + d_sq), nw = cell->n * w;
        z += nw;
        fx += nw * w * dx;
        fy += nw * w * dy;
        c = cell->skip;
    }
    s->repel[2 * i] = fx;
    s->repel[2 * i + 1] = fy;
    s->z[i] = z - 1; /* the point itself was among them */
}

static void repel_all(const struct step *s, size_t i)
{
    double x = s->y[2 * i], y = s->y[2 * i + 1], fx = 0, fy = 0, z = 0;

    for (size_t j = 0; j < s->graph->N; j++) {
        double dx = x - s->y[2 * j], dy = y - s->y[2 * j + 1];
        double w = 1 / (1 + dx * dx + dy * dy);

        z += w;
        fx += w * w * dx;
        fy += w * w * dy;
    }
    s->repel[2 * i] = fx;
    s->repel[2 * i + 1] = fy;
    s->z[i] = z - 1;
}

static void attract(const struct step *s, size_t i)
{
    double x = s->y[2 * i], y = s->y[2 * i + 1], fx = 0, fy = 0, log_part = 0;

    for (size_t e = s->graph->start[i]; e < s->graph->start[i + 1]; e++) {
        const double *other = s->y + 2 * (size_t)s->graph->column[e];
        double dx = x - other[0], dy = y - other[1], p = s->graph->p[e];
        double d1 = 1 + dx * dx + dy * dy;

        fx += p / d1 * dx;
        fy += p / d1 * dy;
        if (s->log_part && p > 0)
            log_part += p * log(p * d1);
    }
    s->attract[2 * i] = fx;
    s->attract[2 * i + 1] = fy;
    if (s->log_part)
        s->log_part[i] = log_part;
}

static void step_rows(void *ctx, size_t task, int worker)
{
    const struct step *s = ctx;

    (void)worker;
    for (size_t at = task * ROWS; at < min_size(s->graph->N, (task + 1) * ROWS); at++) {
        /* along the curve, so that neighbours in turn walk through the same cells */
        size_t i = s->tree ? s->tree->keys[at].row : at;

        attract(s, i);
        if (s->tree)
            repel_tree(s, i);
        else
            repel_all(s, i);
    }
}

static void step_init(struct step *s, const struct dnas_tsne_graph *graph, double theta,
                      bool want_kl)
{
    size_t N = graph->N;

    *s = (struct step){.graph = graph, .theta = theta};
    s->attract = dnas_xalloc(N, 2 * sizeof(double));
    s->repel = dnas_xalloc(N, 2 * sizeof(double));
    s->z = dnas_xalloc(N, sizeof(double));
    s->log_part = want_kl ? dnas_xalloc(N, sizeof(double)) : NULL;
    if (theta > 0) {
        s->tree = dnas_xzalloc(1, sizeof(*s->tree));
        s->tree->keys = dnas_xalloc(N, sizeof(*s->tree->keys));
        s->tree->cells = dnas_xalloc(2 * N, sizeof(*s->tree->cells));
    }
}

static void step_release(struct step *s)
{
    free(s->attract);
    free(s->repel);
    free(s->z);
    free(s->log_part);
    if (s->tree) {
        free(s->tree->keys);
        free(s->tree->cells);
        free(s->tree);
    }
}

/* grad = 4 sum_j (p_ij - q_ij) w_ij (y_i - y_j), q_ij = w_ij / Z; returns Z. */
static double step_gradient(double *grad, struct step *s, const double *y, double exaggeration,
                            int n_threads)
{
    double z = 0;

    s->y = y;
    if (s->tree)
        quadtree_build(s->tree, y, s->graph->N);
    dnas_parallel_for(n_tasks(s->graph->N), n_threads, step_rows, s);
    for (size_t i = 0; i < s->graph->N; i++)
        z += s->z[i];
    for (size_t i = 0; i < 2 * s->graph->N; i++)
        grad[i] = 4 * (exaggeration * s->attract[i] - s->repel[i] / z);
    return z;
}

double dnas_tsne_gradient(double *grad, const double *y, const struct dnas_tsne_graph *graph,
                          double exaggeration, double theta, int n_threads)
{
    struct step s;
    double z, kl = 0;

    step_init(&s, graph, theta, true);
    z = step_gradient(grad, &s, y, exaggeration, n_threads);
    for (size_t i = 0; i < graph->N; i++)
        kl += s.log_part[i];
    step_release(&s);
    return kl + log(z); /* sum p log(p / q) with q = 1 / ((1 + d^2) z) and sum p = 1 */
}

/* ---- descent ---- */

struct dnas_tsne_options dnas_tsne_defaults(void)
{
    return (struct dnas_tsne_options){
        .perplexity = 30, .exaggeration = 12, .theta = 0.5, .n_steps = 1000};
}

/* Momentum and each coordinate's gain as in the authors' program (Jacobs 1988). */
static void move(double *y, double *velocity, double *gain, const double *grad, size_t n,
                 double momentum, double rate)
{
    for (size_t i = 0; i < n; i++) {
        bool turned = velocity[i] * grad[i] > 0;

        gain[i] = fmax(turned ? gain[i] * 0.8 : gain[i] + 0.2, 0.01);
        velocity[i] = momentum * velocity[i] - rate * gain[i] * grad[i];
        y[i] += velocity[i];
    }
}

static void descend(double *y, const struct dnas_tsne_graph *graph,
                    const struct dnas_tsne_options *o, int n_threads)
{
    size_t n = 2 * graph->N;
    unsigned n_early = o->n_steps / 4 < 250 ? o->n_steps / 4 : 250;
    double rate = fmax((double)graph->N / o->exaggeration / 4, 50);
    double *grad = dnas_xalloc(n, sizeof(*grad));
    double *velocity = dnas_xzalloc(n, sizeof(*velocity));
    double *gain = dnas_xalloc(n, sizeof(*gain));
    struct step s;

    step_init(&s, graph, graph->N > EXACT_MAX_N ? o->theta : 0, false);
    for (size_t i = 0; i < n; i++)
        gain[i] = 1;
    if (o->learning_rate > 0)
        rate = o->learning_rate;
    for (unsigned i = 0; i < o->n_steps; i++) {
        bool early = i < n_early;

        step_gradient(grad, &s, y, early ? o->exaggeration : 1, n_threads);
        move(y, velocity, gain, grad, n, early ? 0.5 : 0.8, rate);
        dnas_progress("t-SNE", "steps", i + 1, i + 1, o->n_steps);
    }
    dnas_progress_end();
    step_release(&s);
    free(grad);
    free(velocity);
    free(gain);
}

/* y0 from the first two principal components, which score [N,K] begins with. */
static void start_positions(double *y, const float *score, size_t N, size_t K, double variance,
                            uint64_t seed)
{
    double scale = variance > 0 ? 1e-4 / sqrt(variance) : 0;
    struct dnas_rng rng;

    dnas_rng_init(&rng, seed, DNAS_RNG_TSNE_INIT, 0, 0);
    for (size_t i = 0; i < N; i++)
        for (size_t d = 0; d < 2; d++)
            y[2 * i + d] = scale * (double)score[i * K + d] + 1e-6 * dnas_rng_normal(&rng);
}

static int check_options(const struct dnas_tsne_options *o, size_t N, struct dnas_err *err)
{
    if (!(o->perplexity >= 1 && isfinite(o->perplexity)))
        return dnas_err_set(err, "the perplexity must be at least 1");
    if (!(o->exaggeration >= 1 && isfinite(o->exaggeration)))
        return dnas_err_set(err, "the exaggeration must be at least 1");
    if (!(o->learning_rate >= 0 && isfinite(o->learning_rate)))
        return dnas_err_set(err, "the learning rate must not be negative");
    if (!(o->theta >= 0 && o->theta < 0.7))
        return dnas_err_set(err, "theta must be at least 0 and less than 0.7");
    if (N > UINT32_MAX)
        return dnas_err_set(err, "t-SNE of %zu rows: at most %lu", N, (unsigned long)UINT32_MAX);
    return 0;
}

/* Three times as many neighbours are taken, and there are N - 1. */
static double usable_perplexity(const struct dnas_tsne_options *o, size_t N)
{
    double most = fmax(((double)N - 1) / 3, 1);

    if (o->perplexity <= most)
        return o->perplexity;
    dnas_msg_note("perplexity lowered from %g to %.3g for %zu sequences", o->perplexity, most, N);
    return most;
}

static void layout(float *out, double *kl, const float *x, size_t N, size_t C, double *y,
                   const struct dnas_tsne_options *o, int n_threads)
{
    struct dnas_tsne_graph graph;

    dnas_tsne_graph_init(&graph, x, N, C, usable_perplexity(o, N), n_threads);
    descend(y, &graph, o, n_threads);
    if (kl) {
        double *grad = dnas_xalloc(N, 2 * sizeof(*grad));

        *kl = dnas_tsne_gradient(grad, y, &graph, 1, N > EXACT_MAX_N ? o->theta : 0, n_threads);
        free(grad);
    }
    for (size_t i = 0; i < 2 * N; i++)
        out[i] = (float)y[i];
    dnas_tsne_graph_release(&graph);
}

int dnas_tsne(float *out, double *kl, const float *x, size_t N, size_t C,
              const struct dnas_tsne_options *o, int n_threads, struct dnas_err *err)
{
    size_t K = C > REDUCED_C ? REDUCED_C : 2;
    struct dnas_pca pca;
    float *score;
    double *y;

    if (check_options(o, N, err) < 0 || dnas_pca_fit(&pca, x, N, C, K, n_threads, err) < 0)
        return -1;
    score = dnas_xalloc(N, K * sizeof(*score));
    y = dnas_xalloc(N, 2 * sizeof(*y));
    dnas_pca_project(score, &pca, x, N, n_threads);
    start_positions(y, score, N, K, pca.variance[0], o->seed);
    if (kl)
        *kl = 0;
    if (N == 1)
        memset(out, 0, 2 * sizeof(*out));
    else if (N > 1 && C > REDUCED_C)
        layout(out, kl, score, N, K, y, o, n_threads);
    else if (N > 1)
        layout(out, kl, x, N, C, y, o, n_threads);
    free(score);
    free(y);
    dnas_pca_release(&pca);
    return 0;
}
