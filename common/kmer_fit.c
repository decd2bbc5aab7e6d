/* SPDX-License-Identifier: MIT
 *
 * kmer_fit.c - linear discriminant analysis of k-mer profiles.  Contract: kmer_fit.h.
 *
 * Moments are kept by held-out part, so that the fit without one is a
 * subtraction less: sum x x^T of its rows, from which, when all is there, the
 * classes' means are taken out; and sum m m^T of the means.
 */
#include "common/kmer_fit.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/kmer_score.h"
#include "common/matrix.h"
#include "common/threads.h"
#include "common/xmem.h"

/* Rows that are multiplied at once: few enough to stay in a core's cache. */
#define PANEL 256
/* Profiles kept to score ridges on: of each class the first few, and so many in all. */
#define KEEP_OF_CLASS DNAS_KMER_SCORE_CLASS
#define KEEP_IN_ALL 20000

static const double ridges[DNAS_KMER_N_RIDGES] = {0.0003, 0.001, 0.003, 0.01, 0.03, 0.1};

/* Variances of the noise model are no less than this. */
#define LEAST_NOISE 1e-3
#define WEIGHT_KB 5 /* of rows in its fit: kmer_fit.h */

/* sum of r r^T over rows, which wait in a panel. */
struct moment {
    double *sum;   /* [I,I] on and above the diagonal */
    double *panel; /* [PANEL,I] */
    size_t n_waiting;
};

/* With the weight c of a row of L kb: of c and of c / L. */
#define N_NOISE 2

struct fold {
    struct moment within, means;
    struct moment noise[N_NOISE]; /* rows times the root of c, of c / L */
    double weight[N_NOISE + 1];   /* sums of c, c / L, c / L^2 */
    double *sum_means;            /* [I] */
    uint64_t n_rows, n_classes;
};

struct class_sum {
    double *sum;            /* [I]; NULL: no row yet */
    double *noise_sum;      /* [N_NOISE,I]: of c x, of c / L x; NULL: no lengths */
    double weight[N_NOISE]; /* sums of c, c / L */
    uint64_t n;
    uint32_t fold;
    uint32_t n_kept;
};

struct dnas_kmer_fit {
    size_t I;
    int n_threads;
    struct fold folds[DNAS_KMER_FOLDS];
    struct class_sum *classes;
    size_t n_classes, classes_cap;
    /* To score on. */
    float *kept; /* [n_kept,I] */
    uint32_t *kept_class;
    size_t n_kept, kept_cap, kept_class_cap;
    bool closed;     /* the classes' sums have gone into the folds */
    bool no_lengths; /* of some rows */
};

/* ---- moments ---- */

static void flush(struct moment *m, size_t I, int n_threads)
{
    const struct dnas_matrix_product p = {.out = m->sum,
                                          .a = m->panel,
                                          .b = m->panel,
                                          .R = m->n_waiting,
                                          .M = I,
                                          .N = I,
                                          .ldo = I,
                                          .lda = I,
                                          .ldb = I,
                                          .upper = true};

    dnas_matrix_add_product(&p, n_threads);
    m->n_waiting = 0;
}

/* Room for one more row of the moment. */
static double *next_row(struct moment *m, size_t I, int n_threads)
{
    if (!m->panel) {
        m->panel = dnas_xalloc(PANEL, I * sizeof(*m->panel));
        m->sum = dnas_xzalloc(I, I * sizeof(*m->sum));
    }
    if (m->n_waiting == PANEL)
        flush(m, I, n_threads);
    return m->panel + m->n_waiting++ * I;
}

static void release_moment(struct moment *m)
{
    free(m->sum);
    free(m->panel);
}

struct dnas_kmer_fit *dnas_kmer_fit_new(size_t I, int n_threads)
{
    struct dnas_kmer_fit *f = dnas_xzalloc(1, sizeof(*f));

    if (n_threads < 1)
        DNAS_BUG("%d threads", n_threads);
    f->I = I;
    f->n_threads = n_threads;
    for (int i = 0; i < DNAS_KMER_FOLDS; i++)
        f->folds[i].sum_means = dnas_xzalloc(I, sizeof(double));
    return f;
}

void dnas_kmer_fit_free(struct dnas_kmer_fit *f)
{
    if (!f)
        return;
    for (int i = 0; i < DNAS_KMER_FOLDS; i++) {
        release_moment(&f->folds[i].within);
        release_moment(&f->folds[i].means);
        for (int k = 0; k < N_NOISE; k++)
            release_moment(&f->folds[i].noise[k]);
        free(f->folds[i].sum_means);
    }
    for (size_t c = 0; c < f->n_classes; c++) {
        free(f->classes[c].sum);
        free(f->classes[c].noise_sum);
    }
    free(f->classes);
    free(f->kept);
    free(f->kept_class);
    free(f);
}

/* ---- adding ---- */

static struct class_sum *find_class(struct dnas_kmer_fit *f, uint32_t class, uint32_t group)
{
    struct class_sum *c;

    f->classes = dnas_xgrow(f->classes, &f->classes_cap, (size_t) class + 1, sizeof(*f->classes));
    while (f->n_classes <= class)
        f->classes[f->n_classes++] = (struct class_sum){.sum = NULL};
    c = &f->classes[class];
    if (!c->sum) {
        c->sum = dnas_xzalloc(f->I, sizeof(*c->sum));
        c->fold = group % DNAS_KMER_FOLDS;
    }
    return c;
}

static void keep(struct dnas_kmer_fit *f, const float *x, uint32_t class)
{
    f->kept = dnas_xgrow(f->kept, &f->kept_cap, f->n_kept + 1, f->I * sizeof(*f->kept));
    f->kept_class =
        dnas_xgrow(f->kept_class, &f->kept_class_cap, f->n_kept + 1, sizeof(*f->kept_class));
    memcpy(f->kept + f->n_kept * f->I, x, f->I * sizeof(*x));
    f->kept_class[f->n_kept++] = class;
}

/* A row of the noise model. */
static void add_noise(struct dnas_kmer_fit *f, struct class_sum *c, const float *x,
                      uint32_t length_bp)
{
    struct fold *fold = &f->folds[c->fold];
    double kb = length_bp > 0 ? length_bp / 1000. : 0.001;
    double weight = 1 / ((1 + WEIGHT_KB / kb) * (1 + WEIGHT_KB / kb));

    if (!c->noise_sum)
        c->noise_sum = dnas_xzalloc(N_NOISE * f->I, sizeof(*c->noise_sum));
    for (int k = 0; k < N_NOISE; k++, weight /= kb) {
        double *row = next_row(&fold->noise[k], f->I, f->n_threads), root = sqrt(weight);

        for (size_t i = 0; i < f->I; i++) {
            row[i] = root * (double)x[i];
            c->noise_sum[(size_t)k * f->I + i] += weight * (double)x[i];
        }
        c->weight[k] += weight;
        fold->weight[k] += weight;
    }
    fold->weight[N_NOISE] += weight;
}

void dnas_kmer_fit_add(struct dnas_kmer_fit *f, const float *x, const uint32_t *classes,
                       const uint32_t *groups, const uint32_t *length_bp, size_t n)
{
    f->no_lengths = f->no_lengths || (!length_bp && n > 0);
    for (size_t r = 0; r < n; r++) {
        const float *from = x + r * f->I;
        struct class_sum *c = find_class(f, classes[r], groups[r]);
        struct fold *fold = &f->folds[c->fold];
        double *row = next_row(&fold->within, f->I, f->n_threads);

        for (size_t i = 0; i < f->I; i++) {
            row[i] = from[i];
            c->sum[i] += from[i];
        }
        c->n++;
        fold->n_rows++;
        if (!f->no_lengths)
            add_noise(f, c, from, length_bp[r]);
        if (c->n_kept < KEEP_OF_CLASS && f->n_kept < KEEP_IN_ALL) {
            keep(f, from, classes[r]);
            c->n_kept++;
        }
    }
}

static void add_mean(struct dnas_kmer_fit *f, struct fold *fold, const double *mean)
{
    memcpy(next_row(&fold->means, f->I, f->n_threads), mean, f->I * sizeof(*mean));
    for (size_t i = 0; i < f->I; i++)
        fold->sum_means[i] += mean[i];
    fold->n_classes++;
}

void dnas_kmer_fit_add_pairs(struct dnas_kmer_fit *f, const float *a, const float *b,
                             const uint32_t *groups, size_t n)
{
    double *mean = dnas_xalloc(f->I, sizeof(*mean));

    f->no_lengths = f->no_lengths || n > 0;
    for (size_t r = 0; r < n; r++) {
        struct fold *fold = &f->folds[groups[r] % DNAS_KMER_FOLDS];
        double *row = next_row(&fold->within, f->I, f->n_threads);

        /* Two rows about their mean have the scatter of one, (a - b) / sqrt 2. */
        for (size_t i = 0; i < f->I; i++) {
            row[i] = ((double)a[r * f->I + i] - (double)b[r * f->I + i]) * sqrt(0.5);
            mean[i] = ((double)a[r * f->I + i] + (double)b[r * f->I + i]) / 2;
        }
        fold->n_rows += 2;
        add_mean(f, fold, mean);
    }
    free(mean);
}

/* sum c (x - m)(x - m)^T from sum c x x^T: m the class's mean, s the sum of c x, and the weight of
 * all rows. */
static void centre_noise(double *sum, const double *m, const double *s, double weight, size_t I)
{
    for (size_t i = 0; i < I; i++)
        for (size_t j = i; j < I; j++)
            sum[i * I + j] += weight * m[i] * m[j] - m[i] * s[j] - s[i] * m[j];
}

/* Takes the classes' means out of the rows' moments, and lets them go. */
static void close_classes(struct dnas_kmer_fit *f)
{
    for (size_t k = 0; k < f->n_classes; k++) {
        struct class_sum *c = &f->classes[k];
        struct fold *fold = &f->folds[c->fold];

        if (!c->sum)
            continue;
        for (size_t i = 0; i < f->I; i++)
            c->sum[i] /= (double)c->n;
        for (size_t i = 0; i < f->I; i++)
            for (size_t j = i; j < f->I; j++)
                fold->within.sum[i * f->I + j] -= (double)c->n * c->sum[i] * c->sum[j];
        add_mean(f, fold, c->sum);
        for (size_t n = 0; n < N_NOISE && !f->no_lengths; n++)
            centre_noise(fold->noise[n].sum, c->sum, c->noise_sum + n * f->I, c->weight[n], f->I);
        free(c->sum);
        free(c->noise_sum);
        c->sum = c->noise_sum = NULL;
    }
}

static void finish(struct dnas_kmer_fit *f)
{
    for (int i = 0; i < DNAS_KMER_FOLDS; i++) {
        if (f->folds[i].within.panel)
            flush(&f->folds[i].within, f->I, f->n_threads);
        for (int k = 0; k < N_NOISE; k++)
            if (f->folds[i].noise[k].panel)
                flush(&f->folds[i].noise[k], f->I, f->n_threads);
    }
    if (!f->closed)
        close_classes(f);
    f->closed = true;
    for (int i = 0; i < DNAS_KMER_FOLDS; i++)
        if (f->folds[i].means.panel)
            flush(&f->folds[i].means, f->I, f->n_threads);
}

/* ---- the map ---- */

/* The covariances of all folds but one (-1: of all). */
struct covariances {
    double *within, *between; /* [I,I] */
    double *mean;             /* [I] */
    double largest;           /* of within's eigenvalues */
    uint64_t n_rows, n_classes;
};

static void release_covariances(struct covariances *c)
{
    free(c->within);
    free(c->between);
    free(c->mean);
}

static void add_sum(double *to, const double *from, size_t n)
{
    for (size_t i = 0; from && i < n; i++)
        to[i] += from[i];
}

/* The whole of a matrix whose part above the diagonal is there, divided by n. */
static void complete(double *a, size_t I, double n)
{
    for (size_t i = 0; i < I; i++)
        for (size_t j = i; j < I; j++)
            a[j * I + i] = a[i * I + j] = a[i * I + j] / n;
}

static void largest_of(struct covariances *c, size_t I, int n_threads)
{
    double *copy = dnas_xalloc(I, I * sizeof(*copy)), *vector = dnas_xalloc(I, sizeof(*vector));

    memcpy(copy, c->within, I * I * sizeof(*copy));
    dnas_matrix_eigen(&c->largest, vector, copy, I, 1, n_threads);
    free(copy);
    free(vector);
}

/* 0, or -1 where there are too few classes or rows. */
static int make_covariances(struct covariances *c, const struct dnas_kmer_fit *f, int without)
{
    size_t I = f->I;

    *c = (struct covariances){.within = dnas_xzalloc(I, I * sizeof(double)),
                              .between = dnas_xzalloc(I, I * sizeof(double)),
                              .mean = dnas_xzalloc(I, sizeof(double))};
    for (int i = 0; i < DNAS_KMER_FOLDS; i++) {
        if (i == without)
            continue;
        add_sum(c->within, f->folds[i].within.sum, I * I);
        add_sum(c->between, f->folds[i].means.sum, I * I);
        add_sum(c->mean, f->folds[i].sum_means, I);
        c->n_rows += f->folds[i].n_rows;
        c->n_classes += f->folds[i].n_classes;
    }
    if (c->n_classes < 2 || c->n_rows <= c->n_classes)
        return -1;
    for (size_t i = 0; i < I; i++)
        c->mean[i] /= (double)c->n_classes;
    for (size_t i = 0; i < I; i++)
        for (size_t j = i; j < I; j++)
            c->between[i * I + j] -= (double)c->n_classes * c->mean[i] * c->mean[j];
    complete(c->within, I, (double)(c->n_rows - c->n_classes));
    complete(c->between, I, (double)(c->n_classes - 1));
    largest_of(c, I, f->n_threads);
    return 0;
}

/* Rows v [K,I] of the map with their values [K]: with W + ridge = l l^T, those of l^-1 B l^-T,
 * turned back by l^-T.  -1 where W + ridge has no such factor. */
static int discriminants(double *values, double *v, const struct covariances *c, size_t I, size_t K,
                         double ridge, int n_threads)
{
    double *l = dnas_xalloc(I, I * sizeof(*l)), *a = dnas_xalloc(I, I * sizeof(*a));
    double *b = dnas_xalloc(I, I * sizeof(*b));
    int status;

    memcpy(l, c->within, I * I * sizeof(*l));
    for (size_t i = 0; i < I; i++)
        l[i * I + i] += ridge * c->largest;
    status = c->largest > 0 ? dnas_matrix_cholesky(l, I) : -1;
    if (status == 0) {
        memcpy(a, c->between, I * I * sizeof(*a));
        dnas_matrix_solve_lower(a, l, I, I, n_threads);
        dnas_matrix_transpose(b, a, I, I);
        dnas_matrix_solve_lower(b, l, I, I, n_threads);
        for (size_t i = 0; i < I; i++) /* symmetric but for rounding */
            for (size_t j = 0; j < i; j++)
                b[i * I + j] = b[j * I + i];
        dnas_matrix_eigen(values, v, b, I, K, n_threads);
        dnas_matrix_transpose(a, v, K, I);
        dnas_matrix_solve_lower_transposed(a, l, I, K, n_threads);
        dnas_matrix_transpose(v, a, I, K);
        for (size_t k = 0; k < K; k++)
            dnas_matrix_fix_sign(v + k * I, I);
    }
    free(l);
    free(a);
    free(b);
    return status;
}

/* ---- the choice of the ridge ---- */

/* Held-out profiles through a map. */
struct projection {
    const struct dnas_kmer_fit *f;
    const struct covariances *c;
    const double *v; /* [K,I] */
    const size_t *row;
    size_t K;
    float *y; /* [n,K] */
};

static void project(void *ctx, size_t i, int worker)
{
    const struct projection *p = ctx;
    const float *x = p->f->kept + p->row[i] * p->f->I;

    (void)worker;
    for (size_t k = 0; k < p->K; k++) {
        double sum = 0;

        for (size_t j = 0; j < p->f->I; j++)
            sum += p->v[k * p->f->I + j] * ((double)x[j] - p->c->mean[j]);
        p->y[i * p->K + k] = (float)sum;
    }
}

/* Adds to *sum the shares of the profiles in rows [n], seen through the map v. */
static void add_shares(double *sum, const struct dnas_kmer_fit *f, const struct covariances *c,
                       const double *v, size_t K, const size_t *row, size_t n)
{
    struct projection p = {.f = f, .c = c, .v = v, .row = row, .K = K};
    uint32_t *label = dnas_xalloc(n, sizeof(*label));

    p.y = dnas_xalloc(n, K * sizeof(*p.y));
    for (size_t i = 0; i < n; i++)
        label[i] = f->kept_class[row[i]];
    dnas_parallel_for(n, f->n_threads, project, &p);
    *sum += dnas_kmer_shares(p.y, label, n, K, f->n_threads);
    free(p.y);
    free(label);
}

/* The kept rows of a fold, if they are of two classes at least: their number, else 0. */
static size_t held_out(size_t *row, const struct dnas_kmer_fit *f, int fold)
{
    size_t n = 0;
    bool two = false;

    for (size_t r = 0; r < f->n_kept; r++) {
        if (f->classes[f->kept_class[r]].fold != (uint32_t)fold)
            continue;
        row[n++] = r;
        two = two || f->kept_class[r] != f->kept_class[row[0]];
    }
    return two ? n : 0;
}

/* Sums of shares by ridge over one fold; returns how many profiles were scored. */
static size_t score_fold(double sums[DNAS_KMER_N_RIDGES], const struct dnas_kmer_fit *f, int fold,
                         size_t dims)
{
    size_t *row = dnas_xalloc(f->n_kept, sizeof(*row)), n = held_out(row, f, fold), K = 0;
    double *v = NULL, *values = NULL;
    struct covariances c = {NULL};

    if (n > 0 && make_covariances(&c, f, fold) == 0) {
        K = dims < c.n_classes - 1 ? dims : (size_t)c.n_classes - 1;
        v = dnas_xalloc(K, f->I * sizeof(*v));
        values = dnas_xalloc(K, sizeof(*values));
    }
    for (int i = 0; K > 0 && i < DNAS_KMER_N_RIDGES; i++)
        if (discriminants(values, v, &c, f->I, K, ridges[i], f->n_threads) == 0)
            add_shares(&sums[i], f, &c, v, K, row, n);
    release_covariances(&c);
    free(v);
    free(values);
    free(row);
    return K > 0 ? n : 0;
}

static void choose_ridge(struct dnas_kmer_map *map, const struct dnas_kmer_fit *f, size_t dims)
{
    double sums[DNAS_KMER_N_RIDGES] = {0};
    size_t n = 0, best = DNAS_KMER_N_RIDGES - 1;

    for (int fold = 0; fold < DNAS_KMER_FOLDS; fold++)
        n += score_fold(sums, f, fold, dims);
    map->ridge = DNAS_KMER_RIDGE;
    if (n == 0)
        return;
    for (size_t i = DNAS_KMER_N_RIDGES; i-- > 0;) {
        map->score[i] = sums[i] / (double)n;
        if (map->score[i] > map->score[best])
            best = i;
    }
    map->ridge = ridges[best];
    map->chosen = true;
}

/* ---- the noise model ---- */

/* v a v of a symmetric matrix, of which the part above the diagonal is there. */
static double form(const double *a, const double *v, size_t I)
{
    double sum = 0;

    for (size_t i = 0; i < I; i++) {
        double row = a[i * I + i] * v[i] / 2;

        for (size_t j = i + 1; j < I; j++)
            row += a[i * I + j] * v[j];
        sum += 2 * v[i] * row;
    }
    return sum;
}

struct noise {
    double between, noise, noise_kb;
};

/* Adds what a held-out part says of a direction v. */
static void measure(struct noise *n, const struct fold *fold, const double *v, size_t I)
{
    const double *w = fold->weight;
    double n_rows = (double)fold->n_rows, n_classes = (double)fold->n_classes;
    double unbiased = n_rows / (n_rows - n_classes), det = w[0] * w[2] - w[1] * w[1];
    double within = form(fold->within.sum, v, I) / (n_rows - n_classes);
    double t0 = unbiased * form(fold->noise[0].sum, v, I);
    double t1 = unbiased * form(fold->noise[1].sum, v, I), middle = 0, between;

    for (size_t i = 0; i < I; i++)
        middle += v[i] * fold->sum_means[i];
    between = (form(fold->means.sum, v, I) - middle * middle / n_classes) / (n_classes - 1);
    n->between += fmax(0, between - within * n_classes / n_rows); /* a mean has noise too */
    if (det > 1e-6 * w[0] * w[2]) {
        n->noise += (w[2] * t0 - w[1] * t1) / det;
        n->noise_kb += (w[0] * t1 - w[1] * t0) / det;
    } else { /* windows of one length: noise is mostly counting, which falls with it */
        n->noise_kb += t0 / w[1];
    }
}

/* One part held out: adds to noise [O].  false where that cannot be. */
static bool measure_fold(struct noise *noise, const struct dnas_kmer_map *map,
                         const struct dnas_kmer_fit *f, int held)
{
    const struct fold *fold = &f->folds[held];
    double *v = dnas_xalloc(map->O, f->I * sizeof(*v));
    double *values = dnas_xalloc(map->O, sizeof(*values));
    struct covariances c = {NULL};
    bool can = fold->n_classes >= 2 && fold->n_rows > fold->n_classes &&
               make_covariances(&c, f, held) == 0 && c.n_classes > map->O &&
               discriminants(values, v, &c, f->I, map->O, map->ridge, f->n_threads) == 0;

    for (size_t k = 0; can && k < map->O; k++)
        measure(&noise[k], fold, v + k * f->I, f->I);
    release_covariances(&c);
    free(v);
    free(values);
    return can;
}

static void measure_noise(struct dnas_kmer_map *map, const struct dnas_kmer_fit *f)
{
    struct noise *noise = dnas_xzalloc(map->O, sizeof(*noise));
    int n = 0;

    for (int fold = 0; fold < DNAS_KMER_FOLDS && !f->no_lengths; fold++)
        n += measure_fold(noise, map, f, fold);
    if (n > 0) {
        map->between = dnas_xalloc(map->O, sizeof(*map->between));
        map->noise = dnas_xalloc(map->O, sizeof(*map->noise));
        map->noise_kb = dnas_xalloc(map->O, sizeof(*map->noise_kb));
    }
    for (size_t k = 0; n > 0 && k < map->O; k++) {
        map->between[k] = (float)(noise[k].between / n);
        map->noise[k] = (float)fmax(LEAST_NOISE, noise[k].noise / n);
        map->noise_kb[k] = (float)fmax(LEAST_NOISE, noise[k].noise_kb / n);
    }
    free(noise);
}

/* Fills the map, of O rows and a ridge that are set, from covariances.  0 or -1. */
static int fill_map(struct dnas_kmer_map *map, const struct covariances *c, int n_threads)
{
    size_t I = map->I;
    double *v = dnas_xalloc(map->O, I * sizeof(*v));
    int status;

    map->n_rows = c->n_rows;
    map->n_classes = c->n_classes;
    map->value = dnas_xalloc(map->O, sizeof(*map->value));
    map->mean = dnas_xalloc(I, sizeof(*map->mean));
    map->weight = dnas_xalloc(map->O, I * sizeof(*map->weight));
    status = discriminants(map->value, v, c, I, map->O, map->ridge, n_threads);
    for (size_t i = 0; status == 0 && i < map->O * I; i++)
        map->weight[i] = (float)v[i];
    for (size_t i = 0; i < I; i++)
        map->mean[i] = (float)c->mean[i];
    free(v);
    return status;
}

bool dnas_kmer_fit_map_without(const struct dnas_kmer_fit *f, struct dnas_kmer_map *map,
                               const struct dnas_kmer_map *whole, int fold)
{
    struct covariances c;
    bool can = make_covariances(&c, f, fold) == 0;

    *map = (struct dnas_kmer_map){.I = f->I, .ridge = whole->ridge};
    if (can) {
        map->O = whole->O < c.n_classes - 1 ? whole->O : (size_t)c.n_classes - 1;
        can = fill_map(map, &c, f->n_threads) == 0;
    }
    if (!can)
        dnas_kmer_map_release(map);
    release_covariances(&c);
    return can;
}

int dnas_kmer_fit_map(struct dnas_kmer_fit *f, struct dnas_kmer_map *map, size_t dims, double ridge,
                      struct dnas_err *err)
{
    struct covariances c;
    int status = -1;

    *map = (struct dnas_kmer_map){.I = f->I, .ridge = ridge};
    memcpy(map->ridges, ridges, sizeof(ridges));
    for (int i = 0; i < DNAS_KMER_N_RIDGES; i++)
        map->score[i] = -1;
    finish(f);
    if (make_covariances(&c, f, -1) != 0) {
        dnas_err_set(err,
                     "%llu profiles of %llu species cannot be told apart: 2 species at least, "
                     "and of one of them 2 profiles, are needed",
                     (unsigned long long)c.n_rows, (unsigned long long)c.n_classes);
        goto out;
    }
    if (dims > f->I)
        dims = f->I;
    map->O = dims < c.n_classes - 1 ? dims : (size_t)c.n_classes - 1;
    if (!(ridge >= 0))
        choose_ridge(map, f, dims);
    status = fill_map(map, &c, f->n_threads);
    if (status != 0)
        dnas_err_set(err,
                     "profiles within a species do not vary in all directions: try a ridge "
                     "of %g or more",
                     DNAS_KMER_RIDGE);
    else
        measure_noise(map, f);
out:
    if (status != 0)
        dnas_kmer_map_release(map);
    release_covariances(&c);
    return status;
}

void dnas_kmer_map_release(struct dnas_kmer_map *map)
{
    free(map->mean);
    free(map->weight);
    free(map->value);
    free(map->between);
    free(map->noise);
    free(map->noise_kb);
    *map = (struct dnas_kmer_map){0};
}
