/* SPDX-License-Identifier: MIT
 *
 * test_matching.c - linear assignment against all pairings of small tables, and
 * against the textbook's algorithm on larger ones.
 */
#include "common/matching.h"

#include "common/rng.h"
#include "common/xmem.h"
#include "tests/unit/check.h"

/* A table with all its cells, from which the sparse form is made. */
struct dense {
    size_t n_rows, n_columns;
    uint64_t *weight; /* [n_rows,n_columns] */
};

static uint64_t at(const struct dense *d, size_t row, size_t column)
{
    return d->weight[row * d->n_columns + column];
}

/* Draws weights 1..most with probability 1 - empty, else 0. */
static struct dense draw(size_t n_rows, size_t n_columns, uint64_t most, double empty, uint32_t row)
{
    struct dense d = {n_rows, n_columns, dnas_xalloc(n_rows * n_columns, sizeof(*d.weight))};
    struct dnas_rng rng;

    dnas_rng_init(&rng, 5, DNAS_RNG_TEST, (uint32_t)most, row);
    for (size_t i = 0; i < n_rows * n_columns; i++)
        d.weight[i] = dnas_rng_uniform(&rng) < empty ? 0 : 1 + dnas_rng_below(&rng, most);
    return d;
}

static uint64_t run(uint32_t *column_of_row, const struct dense *d)
{
    size_t *first = dnas_xalloc(d->n_rows + 1, sizeof(*first)), n = 0;
    uint32_t *column = dnas_xalloc(d->n_rows * d->n_columns, sizeof(*column));
    uint64_t *weight = dnas_xalloc(d->n_rows * d->n_columns, sizeof(*weight)), sum;

    for (size_t i = 0; i < d->n_rows; i++) {
        first[i] = n;
        for (size_t j = 0; j < d->n_columns; j++)
            if (at(d, i, j) > 0) {
                column[n] = (uint32_t)j;
                weight[n++] = at(d, i, j);
            }
    }
    first[d->n_rows] = n;
    sum =
        dnas_matching_run(column_of_row, &(struct dnas_matching_weights){.n_rows = d->n_rows,
                                                                         .n_columns = d->n_columns,
                                                                         .first = first,
                                                                         .column = column,
                                                                         .weight = weight});
    free(first);
    free(column);
    free(weight);
    return sum;
}

/* The pairs are one to one, on cells that are there, and weigh `want`. */
static void check_pairs(const struct dense *d, uint64_t want)
{
    uint32_t *column_of_row = dnas_xalloc(d->n_rows, sizeof(*column_of_row));
    bool *taken = dnas_xzalloc(d->n_columns, sizeof(*taken));
    uint64_t got = run(column_of_row, d), sum = 0;

    for (size_t i = 0; i < d->n_rows; i++) {
        uint32_t j = column_of_row[i];

        if (j == DNAS_UNMATCHED)
            continue;
        CHECK(j < d->n_columns && !taken[j] && at(d, i, j) > 0);
        taken[j] = true;
        sum += at(d, i, j);
    }
    CHECK_INT(got, want);
    CHECK_INT(sum, want);
    free(column_of_row);
    free(taken);
}

/* The best of all pairings: best[set of columns] over the rows so far. */
static uint64_t best_of_all(const struct dense *d)
{
    size_t n_sets = (size_t)1 << d->n_columns;
    uint64_t *best = dnas_xzalloc(n_sets, sizeof(*best)), most;

    for (size_t i = 0; i < d->n_rows; i++)
        for (size_t set = n_sets; set-- > 0;)
            for (size_t j = 0; j < d->n_columns; j++) {
                uint64_t with = set >> j & 1 ? best[set ^ (size_t)1 << j] + at(d, i, j) : 0;

                best[set] = with > best[set] ? with : best[set];
            }
    most = best[n_sets - 1];
    free(best);
    return most;
}

/* The Hungarian method on the full square matrix, one row after the other: Kuhn's potentials as in
 * any textbook, with costs that count down from the greatest weight. */
static uint64_t hungarian(const struct dense *d)
{
    size_t n = d->n_rows > d->n_columns ? d->n_rows : d->n_columns;
    double *u = dnas_xzalloc(n + 1, sizeof(*u)), *v = dnas_xzalloc(n + 1, sizeof(*v)), sum = 0;
    double *least = dnas_xalloc(n + 1, sizeof(*least));
    size_t *row_of = dnas_xzalloc(n + 1, sizeof(*row_of)), *way = dnas_xzalloc(n + 1, sizeof(*way));
    bool *used = dnas_xalloc(n + 1, sizeof(*used));

    for (size_t i = 1; i <= n; i++) {
        size_t j0 = 0;

        row_of[0] = i;
        for (size_t j = 0; j <= n; j++) {
            least[j] = INFINITY;
            used[j] = false;
        }
        do {
            size_t i0 = row_of[j0], j1 = 0;
            double delta = INFINITY;

            used[j0] = true;
            for (size_t j = 1; j <= n; j++) {
                bool inside = i0 <= d->n_rows && j <= d->n_columns;
                double cost = inside ? -(double)at(d, i0 - 1, j - 1) : 0;

                if (used[j])
                    continue;
                if (cost - u[i0] - v[j] < least[j]) {
                    least[j] = cost - u[i0] - v[j];
                    way[j] = j0;
                }
                if (least[j] < delta) {
                    delta = least[j];
                    j1 = j;
                }
            }
            for (size_t j = 0; j <= n; j++) {
                if (used[j]) {
                    u[row_of[j]] += delta;
                    v[j] -= delta;
                } else {
                    least[j] -= delta;
                }
            }
            j0 = j1;
        } while (row_of[j0] != 0);
        for (; j0; j0 = way[j0])
            row_of[j0] = row_of[way[j0]];
    }
    for (size_t j = 1; j <= n; j++)
        if (row_of[j] <= d->n_rows && j <= d->n_columns)
            sum += (double)at(d, row_of[j] - 1, j - 1);
    free(u);
    free(v);
    free(least);
    free(row_of);
    free(way);
    free(used);
    return (uint64_t)sum;
}

static void test_small_tables(void)
{
    static const struct {
        size_t n_rows, n_columns;
        uint64_t weight[12], want;
        uint32_t column_of_row[4];
    } table[] = {
        {1, 1, {7}, 7, {0}},
        {1, 1, {0}, 0, {DNAS_UNMATCHED}},
        {2, 2, {5, 4, 4, 0}, 8, {1, 0}}, /* the greedy 5 + 0 is worse */
        {2, 2, {5, 0, 4, 0}, 5, {0, DNAS_UNMATCHED}},
        {3, 2, {1, 0, 9, 8, 0, 7}, 16, {DNAS_UNMATCHED, 0, 1}},
        {2, 4, {3, 3, 3, 8, 0, 0, 0, 9}, 12, {0, 3}},
        {4, 3, {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1}, 3, {0, 1, 2, DNAS_UNMATCHED}},
    };

    for (size_t k = 0; k < sizeof(table) / sizeof(table[0]); k++) {
        struct dense d = {table[k].n_rows, table[k].n_columns, (uint64_t *)table[k].weight};
        uint32_t column_of_row[4];
        size_t n_same = 0;

        CHECK_INT(run(column_of_row, &d), table[k].want);
        check_pairs(&d, table[k].want);
        for (size_t i = 0; i < d.n_rows; i++)
            n_same += column_of_row[i] == table[k].column_of_row[i];
        /* Only the last has several best pairings. */
        CHECK(n_same == d.n_rows || k == 6);
    }
}

static void test_nothing(void)
{
    struct dense d = draw(3, 4, 1, 1.0, 0), none = {0, 4, NULL}, no_columns = {3, 0, NULL};
    uint32_t column_of_row[3];

    check_pairs(&d, 0);
    check_pairs(&none, 0);
    CHECK_INT(run(column_of_row, &no_columns), 0);
    for (size_t i = 0; i < 3; i++)
        CHECK(column_of_row[i] == DNAS_UNMATCHED);
    free(d.weight);
}

/* Every shape to 7 x 7; few different weights give many ties. */
static void test_against_all_pairings(void)
{
    for (uint32_t k = 0; k < 3000; k++) {
        struct dense d = draw(1 + k % 7, 1 + k / 7 % 7,
                              k % 3 == 0   ? 3
                              : k % 3 == 1 ? 20
                                           : 1000000,
                              k % 5 * 0.2, k);

        check_pairs(&d, best_of_all(&d));
        free(d.weight);
    }
}

static void test_against_the_textbook(void)
{
    for (uint32_t k = 0; k < 24; k++) {
        size_t n_rows = 20 + 37 * (k % 5), n_columns = 30 + 41 * (k % 4);
        struct dense d = draw(n_rows, n_columns,
                              k % 3 == 0   ? 4
                              : k % 3 == 1 ? 100
                                           : 1000000000,
                              k % 4 * 0.3, 10000 + k);

        check_pairs(&d, hungarian(&d));
        free(d.weight);
    }
}

/* Three rows that want the same two columns, a unit more or less: the bidding of the row reduction
 * would take as many steps as the weights are large. */
static void test_bidding_ends(void)
{
    const uint64_t big = UINT64_C(1) << 60;
    uint64_t weight[9];
    struct dense d = {3, 3, weight};

    for (size_t i = 0; i < 3; i++)
        for (size_t j = 0; j < 3; j++)
            weight[i * 3 + j] = j == 2 ? 0 : big - (i + j) % 2;
    check_pairs(&d, 2 * big);
    for (size_t i = 0; i < 9; i++)
        weight[i] = big - i * i % 5;
    check_pairs(&d, best_of_all(&d));
}

/* Weights of a table all of whose pairings but one are worse by 1, at the largest weights. */
static void test_large_weights(void)
{
    enum { N = 15 };
    struct dense d = draw(N, N, 1, 0, 0);
    uint32_t column_of_row[N];

    for (size_t i = 0; i < N; i++)
        for (size_t j = 0; j < N; j++)
            d.weight[i * N + j] = (UINT64_C(1) << 60) - (j != (i * 4 + 3) % N);
    CHECK(run(column_of_row, &d) == N * (UINT64_C(1) << 60));
    for (size_t i = 0; i < N; i++)
        CHECK_INT(column_of_row[i], (i * 4 + 3) % N);
    free(d.weight);
}

/* Rows and columns in another order: the same sum; the same order: the same pairs. */
static void test_order(void)
{
    struct dense d = draw(60, 80, 5, 0.5, 1), p = draw(60, 80, 5, 0.5, 1);
    uint32_t one[60], two[60];
    uint64_t sum = run(one, &d);

    for (size_t i = 0; i < 60; i++)
        for (size_t j = 0; j < 80; j++)
            p.weight[(i * 7 % 60) * 80 + j * 11 % 80] = at(&d, i, j);
    check_pairs(&p, sum);
    CHECK(run(two, &d) == sum && memcmp(one, two, sizeof(one)) == 0);
    free(d.weight);
    free(p.weight);
}

int main(void)
{
    RUN(test_small_tables);
    RUN(test_nothing);
    RUN(test_against_all_pairings);
    RUN(test_against_the_textbook);
    RUN(test_bidding_ends);
    RUN(test_large_weights);
    RUN(test_order);
    return check_done();
}
