/* SPDX-License-Identifier: MIT
 *
 * ari.c - agreement of two labelings.  Contract: ari.h.
 *
 * The contingency table is kept sparse: rows sorted by (cluster, class), and
 * runs counted.  Pair counts are exact in 128 bits, where N^4 would overflow
 * 64 from 65,536 rows on.
 */
#include "common/ari.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/xmem.h"

__extension__ typedef __int128 int128;

/* n_cells numbers of rows that share cluster and class. */
struct table {
    uint64_t N;
    size_t n_clusters, n_classes, n_cells;
    uint64_t *cell;         /* [n_cells], in order of (cluster, class) */
    uint32_t *cell_cluster; /* [n_cells] */
    uint32_t *cell_class;   /* [n_cells] */
    uint64_t *cluster_rows; /* [n_clusters] */
    uint64_t *class_rows;   /* [n_classes] */
};

static int by_value(const void *a, const void *b)
{
    const uint64_t *p = a, *q = b;

    return (*p > *q) - (*p < *q);
}

/* Renames the low half of each key to 0..n-1 in order of value; returns n. */
static size_t number_classes(uint64_t *key, size_t n_keys)
{
    uint64_t *value = dnas_xalloc(n_keys, sizeof(*value));
    size_t n = 0;

    for (size_t i = 0; i < n_keys; i++)
        value[i] = (key[i] & UINT32_MAX) << 32 | i; /* N is at most 2^31 */
    qsort(value, n_keys, sizeof(*value), by_value);
    for (size_t i = 0; i < n_keys; i++) {
        size_t at = (size_t)(value[i] & UINT32_MAX);

        n += i == 0 || value[i] >> 32 != value[i - 1] >> 32;
        key[at] = (key[at] >> 32) << 32 | (n - 1);
    }
    free(value);
    return n;
}

/* One key (cluster, class) for each row that counts; an unclustered row gets a cluster number
 * above all others. */
static size_t fill_keys(uint64_t *key, const int32_t *cluster, const uint32_t *truth, size_t N,
                        enum dnas_unclustered unclustered)
{
    uint64_t next = (uint64_t)INT32_MAX + 1;
    size_t n = 0;

    for (size_t i = 0; i < N; i++) {
        if (cluster[i] < -1)
            DNAS_BUG("cluster %d of row %zu", (int)cluster[i], i);
        if (cluster[i] >= 0)
            key[n++] = (uint64_t)cluster[i] << 32 | truth[i];
        else if (unclustered == DNAS_UNCLUSTERED_ALONE)
            key[n++] = next++ << 32 | truth[i];
    }
    return n;
}

static void count_runs(struct table *t, const uint64_t *key)
{
    for (size_t i = 0; i < t->N; i++) {
        uint32_t class = (uint32_t)key[i];

        if (i == 0 || key[i] >> 32 != key[i - 1] >> 32)
            t->n_clusters++;
        if (i == 0 || key[i] != key[i - 1]) {
            t->cell_cluster[t->n_cells] = (uint32_t)(t->n_clusters - 1);
            t->cell_class[t->n_cells++] = class;
        }
        t->cell[t->n_cells - 1]++;
        t->cluster_rows[t->n_clusters - 1]++;
        t->class_rows[class]++;
    }
}

static void table_init(struct table *t, const int32_t *cluster, const uint32_t *truth, size_t N,
                       enum dnas_unclustered unclustered)
{
    uint64_t *key = dnas_xalloc(N, sizeof(*key));
    size_t n = fill_keys(key, cluster, truth, N, unclustered);

    *t = (struct table){.N = n, .n_classes = number_classes(key, n)};
    qsort(key, n, sizeof(*key), by_value);
    t->cell = dnas_xzalloc(n, sizeof(*t->cell));
    t->cell_cluster = dnas_xalloc(n, sizeof(*t->cell_cluster));
    t->cell_class = dnas_xalloc(n, sizeof(*t->cell_class));
    t->cluster_rows = dnas_xzalloc(n, sizeof(*t->cluster_rows));
    t->class_rows = dnas_xzalloc(t->n_classes, sizeof(*t->class_rows));
    count_runs(t, key);
    free(key);
}

static void table_release(struct table *t)
{
    free(t->cell);
    free(t->cell_cluster);
    free(t->cell_class);
    free(t->cluster_rows);
    free(t->class_rows);
}

/* ---- pairs ---- */

static int128 sum_of_squares(const uint64_t *n, size_t size)
{
    int128 sum = 0;

    for (size_t i = 0; i < size; i++)
        sum += (int128)n[i] * (int128)n[i];
    return sum;
}

void dnas_rand_compute(double *rand, double *adjusted, const uint64_t *cell, size_t n_cells,
                       const uint64_t *cluster, size_t n_clusters, const uint64_t *class,
                       size_t n_classes)
{
    int128 N = 0, cells = sum_of_squares(cell, n_cells);
    int128 clusters = sum_of_squares(cluster, n_clusters);
    int128 classes = sum_of_squares(class, n_classes);
    int128 pairs, both, cluster_only, class_only, neither;

    for (size_t i = 0; i < n_cells; i++)
        N += (int128)cell[i];
    pairs = N * (N - 1) / 2;
    both = (cells - N) / 2;
    cluster_only = (clusters - cells) / 2;
    class_only = (classes - cells) / 2;
    neither = pairs - both - cluster_only - class_only;
    *rand = pairs > 0 ? (double)(both + neither) / (double)pairs : 0;
    if (cluster_only == 0 && class_only == 0) {
        *adjusted = 1;
        return;
    }
    /* The products have at most 4 log2 N bits. */
    *adjusted = 2 *
                (N <= INT32_MAX ? (double)(both * neither - cluster_only * class_only)
                                : (double)((long double)both * (long double)neither -
                                           (long double)cluster_only * (long double)class_only)) /
                ((double)(both + class_only) * (double)(class_only + neither) +
                 (double)(both + cluster_only) * (double)(cluster_only + neither));
}

/* ---- information, in nats ---- */

static double entropy(const uint64_t *n, size_t size, uint64_t N)
{
    double sum = 0;

    for (size_t i = 0; i < size; i++)
        sum += (double)n[i] / (double)N * (log((double)N) - log((double)n[i]));
    return size == 1 ? 0 : sum;
}

static double mutual_information(const struct table *t)
{
    double N = (double)t->N, sum = 0;

    if (t->n_clusters == 1 || t->n_classes == 1)
        return 0;
    for (size_t i = 0; i < t->n_cells; i++) {
        double n = (double)t->cell[i];
        double a = (double)t->cluster_rows[t->cell_cluster[i]];
        double b = (double)t->class_rows[t->cell_class[i]];
        double term = n / N * (log(n) - log(N)) + n / N * (2 * log(N) - log(a * b));

        if (fabs(term) >= DBL_EPSILON)
            sum += term;
    }
    return fmax(sum, 0);
}

/* A size and how many clusters (or classes) have it. */
struct size_count {
    uint64_t size;
    uint64_t count;
};

static size_t group_sizes(struct size_count *group, const uint64_t *n, size_t size)
{
    uint64_t *sorted = dnas_xalloc(size, sizeof(*sorted));
    size_t n_groups = 0;

    memcpy(sorted, n, size * sizeof(*n));
    qsort(sorted, size, sizeof(*sorted), by_value);
    for (size_t i = 0; i < size; i++) {
        if (i == 0 || sorted[i] != sorted[i - 1])
            group[n_groups++] = (struct size_count){.size = sorted[i]};
        group[n_groups - 1].count++;
    }
    free(sorted);
    return n_groups;
}

/* The sum over n of P(n) n/N log(N n / (a b)), where n rows are shared by a cluster of a and a
 * class of b rows in a random table: hypergeometric (Vinh et al. 2010, eq. 24).  Weights are
 * relative to the mode's and follow from one another by a ratio; so no factorial of N comes in,
 * whose logarithm would cost seven digits at a million rows.  Where a weight falls below 1e-20,
 * those beyond fall faster than geometrically and cannot be seen in a double. */
static double expected_term(uint64_t a_rows, uint64_t b_rows, uint64_t N_rows)
{
    double a = (double)a_rows, b = (double)b_rows, N = (double)N_rows;
    double least = fmax(0, a + b - N), most = fmin(a, b);
    double mode = fmin(fmax(floor((a + 1) * (b + 1) / (N + 2)), least), most);
    double log_scale = log(N) - log(a) - log(b);
    double total = 0, sum = 0, w = 1;

    for (double n = mode; n <= most && w > 1e-20; n++) {
        total += w;
        if (n > 0)
            sum += w * n * (log(n) + log_scale);
        w *= (a - n) * (b - n) / ((n + 1) * (N - a - b + n + 1));
    }
    w = 1;
    for (double n = mode; n > least && w > 1e-20;) {
        w *= n * (N - a - b + n) / ((a - n + 1) * (b - n + 1));
        n--;
        total += w;
        if (n > 0)
            sum += w * n * (log(n) + log_scale);
    }
    return sum / total / N;
}

static double expected_mutual_information(const struct table *t)
{
    struct size_count *cluster = dnas_xalloc(t->n_clusters, sizeof(*cluster));
    struct size_count *class = dnas_xalloc(t->n_classes, sizeof(*class));
    size_t n_cluster = group_sizes(cluster, t->cluster_rows, t->n_clusters);
    size_t n_class = group_sizes(class, t->class_rows, t->n_classes);
    double sum = 0;

    for (size_t i = 0; i < n_cluster; i++)
        for (size_t j = 0; j < n_class; j++)
            sum += (double)cluster[i].count * (double)class[j].count *
                   expected_term(cluster[i].size, class[j].size, t->N);
    free(cluster);
    free(class);
    return sum;
}

/* A denominator of 0 is moved to the least that has an inverse, keeping its sign. */
static double adjusted_mutual_information(double mi, double expected, double mean_entropy)
{
    double below = mean_entropy - expected;

    below = below < 0 ? fmin(below, -DBL_EPSILON) : fmax(below, DBL_EPSILON);
    return (mi - expected) / below;
}

static double purity(const struct table *t)
{
    uint64_t sum = 0, most = 0;

    for (size_t i = 0; i < t->n_cells; i++) {
        if (i > 0 && t->cell_cluster[i] != t->cell_cluster[i - 1]) {
            sum += most;
            most = 0;
        }
        if (t->cell[i] > most)
            most = t->cell[i];
    }
    return (double)(sum + most) / (double)t->N;
}

static void measure(struct dnas_agreement *out, const struct table *t)
{
    double mi = mutual_information(t);
    double h_cluster = entropy(t->cluster_rows, t->n_clusters, t->N);
    double h_class = entropy(t->class_rows, t->n_classes, t->N);
    double h, c, rand;

    dnas_rand_compute(&rand, &out->ari, t->cell, t->n_cells, t->cluster_rows, t->n_clusters,
                      t->class_rows, t->n_classes);
    out->purity = purity(t);
    out->homogeneity = h = h_class > 0 ? mi / h_class : 1;
    out->completeness = c = h_cluster > 0 ? mi / h_cluster : 1;
    out->v_measure = h + c > 0 ? 2 * h * c / (h + c) : 0;
    /* The same partition: 0/0 for the AMI if it is one cluster, or all are single rows. */
    if (t->n_cells == t->n_clusters && t->n_cells == t->n_classes) {
        out->nmi = out->ami = 1;
        return;
    }
    out->nmi = mi > 0 ? mi / ((h_cluster + h_class) / 2) : 0;
    out->ami =
        adjusted_mutual_information(mi, expected_mutual_information(t), (h_cluster + h_class) / 2);
}

int dnas_agreement_compute(struct dnas_agreement *out, const int32_t *cluster,
                           const uint32_t *truth, size_t N, enum dnas_unclustered unclustered,
                           struct dnas_err *err)
{
    struct table t;

    *out = (struct dnas_agreement){.n_rows = N, .clustered = 1};
    if (N > (size_t)INT32_MAX)
        return dnas_err_set(err, "%zu rows; at most 2^31 - 1 can be compared", N);
    for (size_t i = 0; i < N; i++)
        out->n_clustered += cluster[i] >= 0;
    if (N > 0)
        out->clustered = (double)out->n_clustered / (double)N;
    table_init(&t, cluster, truth, N, unclustered);
    out->n_counted = t.N;
    out->n_clusters = t.n_clusters;
    out->n_classes = t.n_classes;
    if (t.N > 0)
        measure(out, &t);
    else
        out->ari = out->nmi = out->ami = out->homogeneity = out->completeness = out->v_measure =
            out->purity = 1;
    table_release(&t);
    return 0;
}
