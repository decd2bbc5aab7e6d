/* SPDX-License-Identifier: MIT
 *
 * test_tsne.c - t-SNE against its formulas written out over all pairs.
 */
#include "tests/unit/check.h"

#include "common/msg.h"
#include "common/rng.h"
#include "common/tsne.h"
#include "common/xmem.h"

/* n_clusters clouds of n_each rows round centres that are `apart` from each other. */
static float *clouds(size_t n_clusters, size_t n_each, size_t C, double apart)
{
    float *x = dnas_xalloc(n_clusters * n_each * C, sizeof(*x));
    struct dnas_rng rng;

    dnas_rng_init(&rng, 3, DNAS_RNG_TEST, 0, 0);
    for (size_t k = 0; k < n_clusters; k++)
        for (size_t i = 0; i < n_each * C; i++)
            x[k * n_each * C + i] =
                (float)(dnas_rng_normal(&rng) + (i % C == k % C ? apart * (double)(1 + k / C) : 0));
    return x;
}

static double squared(const float *x, size_t i, size_t j, size_t C)
{
    double sum = 0;

    for (size_t c = 0; c < C; c++)
        sum += pow((double)x[i * C + c] - x[j * C + c], 2);
    return sum;
}

/* Row i of p(j|i) over its k nearest, found by sorting all; beta by bisection in log space. */
static void conditional_again(double *p, const float *x, size_t N, size_t C, size_t i, size_t k,
                              double perplexity)
{
    double lo = -60, hi = 60, kth = 0;

    for (size_t j = 0; j < N; j++) { /* the k-th smallest distance: k - 1 others are below it */
        size_t below = 0;

        for (size_t m = 0; m < N; m++)
            below += m != i && m != j && squared(x, i, m, C) < squared(x, i, j, C);
        if (j != i && below == k - 1)
            kth = squared(x, i, j, C);
    }
    for (int step = 0; step < 100; step++) {
        double beta = exp((lo + hi) / 2), sum = 0, entropy = 0;

        for (size_t j = 0; j < N; j++) {
            double d = squared(x, i, j, C);

            p[j] = j != i && d <= kth ? exp(-beta * d) : 0;
            sum += p[j];
        }
        for (size_t j = 0; j < N; j++) {
            p[j] /= sum;
            entropy -= p[j] > 0 ? p[j] * log(p[j]) : 0;
        }
        if (entropy > log(perplexity))
            lo = (lo + hi) / 2;
        else
            hi = (lo + hi) / 2;
    }
}

static void test_affinities(void)
{
    enum { N = 60, C = 3, K = 24 };
    float *x = clouds(2, N / 2, C, 4);
    double *p = dnas_xalloc(N * N, sizeof(*p)), sum = 0;
    struct dnas_tsne_graph g;

    for (size_t i = 0; i < N; i++)
        conditional_again(p + i * N, x, N, C, i, K, 8);
    dnas_tsne_graph_init(&g, x, N, C, 8, 2);
    for (size_t i = 0; i < N; i++) {
        size_t e = g.start[i];

        for (size_t j = 0; j < N; j++) {
            double want = (p[i * N + j] + p[j * N + i]) / (2 * N), got = 0;

            if (e < g.start[i + 1] && g.column[e] == j)
                got = g.p[e++];
            sum += got;
            CHECK_NEAR(got, want, 1e-7); /* the entropy is met to 1e-5 */
            CHECK(i != j || got == 0);
        }
        CHECK_INT(e, g.start[i + 1]); /* columns rise and none is left over */
    }
    CHECK_NEAR(sum, 1, 1e-12);
    dnas_tsne_graph_release(&g);
    free(p);
    free(x);
}

/* Neighbours come from a tree: with perplexity N/3 all, otherwise compared by test_affinities;
 * here many equal distances (a grid, every point twice), where ties must be broken by row. */
static void test_ties(void)
{
    enum { SIDE = 12, N = 2 * SIDE * SIDE };
    float x[N * 2];
    struct dnas_tsne_graph a, b;

    for (size_t i = 0; i < N; i++) {
        x[2 * i] = (float)(i / 2 % SIDE);
        x[2 * i + 1] = (float)(i / 2 / SIDE);
    }
    dnas_tsne_graph_init(&a, x, N, 2, 5, 1);
    dnas_tsne_graph_init(&b, x, N, 2, 5, 2);
    CHECK_INT(a.start[N], b.start[N]);
    CHECK(memcmp(a.p, b.p, a.start[N] * sizeof(*a.p)) == 0);
    CHECK(memcmp(a.column, b.column, a.start[N] * sizeof(*a.column)) == 0);
    for (size_t i = 0; i < N; i++) { /* the twin is among the neighbours, and none is far */
        bool twin = false;

        for (size_t e = a.start[i]; e < a.start[i + 1]; e++) {
            twin = twin || a.column[e] == (i ^ 1);
            CHECK(squared(x, i, a.column[e], 2) <= 13);
        }
        CHECK(twin);
    }
    dnas_tsne_graph_release(&a);
    dnas_tsne_graph_release(&b);
}

/* KL(p || q) over all pairs (JMLR 2008, equations 2 to 4). */
static double divergence(const double *y, const struct dnas_tsne_graph *g)
{
    double z = 0, kl = 0;

    for (size_t i = 0; i < g->N; i++)
        for (size_t j = 0; j < g->N; j++)
            if (i != j)
                z += 1 / (1 + pow(y[2 * i] - y[2 * j], 2) + pow(y[2 * i + 1] - y[2 * j + 1], 2));
    for (size_t i = 0; i < g->N; i++)
        for (size_t e = g->start[i]; e < g->start[i + 1]; e++) {
            size_t j = g->column[e];
            double d = pow(y[2 * i] - y[2 * j], 2) + pow(y[2 * i + 1] - y[2 * j + 1], 2);

            kl += g->p[e] * log(g->p[e] * (1 + d) * z);
        }
    return kl;
}

static double *random_layout(size_t N, double scale)
{
    double *y = dnas_xalloc(2 * N, sizeof(*y));
    struct dnas_rng rng;

    dnas_rng_init(&rng, 4, DNAS_RNG_TEST, 0, 0);
    for (size_t i = 0; i < 2 * N; i++)
        y[i] = scale * dnas_rng_normal(&rng);
    return y;
}

static void test_gradient_exact(void)
{
    enum { N = 40 };
    float *x = clouds(2, N / 2, 4, 3);
    double *y = random_layout(N, 1), grad[2 * N], kl;
    struct dnas_tsne_graph g;

    dnas_tsne_graph_init(&g, x, N, 4, 6, 1);
    kl = dnas_tsne_gradient(grad, y, &g, 1, 0, 1);
    CHECK_NEAR(kl, divergence(y, &g), 1e-12);
    for (size_t i = 0; i < 2 * N; i++) {
        double at = y[i], h = 1e-5, up, down;

        y[i] = at + h;
        up = divergence(y, &g);
        y[i] = at - h;
        down = divergence(y, &g);
        y[i] = at;
        CHECK_NEAR(grad[i], (up - down) / (2 * h), 1e-8); /* central differences: h^2 */
    }
    dnas_tsne_graph_release(&g);
    free(x);
    free(y);
}

static double relative_error(const double *a, const double *b, size_t n)
{
    double error = 0, norm = 0;

    for (size_t i = 0; i < n; i++) {
        error += pow(a[i] - b[i], 2);
        norm += pow(b[i], 2);
    }
    return sqrt(error / norm);
}

/* The quadtree against all pairs, on a spread layout and on one with equal points. */
static void test_gradient_tree(void)
{
    enum { N = 900 };
    float *x = clouds(3, N / 3, 5, 6);
    double *y = random_layout(N, 20), *grad = dnas_xalloc(6 * N, sizeof(*grad)), kl;
    double *tree = grad + 2 * N, *fine = grad + 4 * N;
    struct dnas_tsne_graph g;

    dnas_tsne_graph_init(&g, x, N, 5, 30, 2);
    for (int equal = 0; equal < 2; equal++) {
        kl = dnas_tsne_gradient(grad, y, &g, 12, 0, 2);
        CHECK_NEAR(dnas_tsne_gradient(fine, y, &g, 12, 1e-6, 2), kl, 1e-9);
        CHECK_NEAR(relative_error(fine, grad, 2 * N), 0, 1e-9); /* all cells opened: the same sum */
        CHECK_NEAR(dnas_tsne_gradient(tree, y, &g, 1, 0.5, 2), kl, 1e-2);
        kl = dnas_tsne_gradient(grad, y, &g, 1, 0, 2);
        dnas_tsne_gradient(tree, y, &g, 1, 0.5, 2);
        dnas_tsne_gradient(fine, y, &g, 1, 0.2, 2);
        /* a far cell's second moment is left out: errors of theta^2 / 8 of the repulsion */
        CHECK_NEAR(relative_error(tree, grad, 2 * N), 0, 0.03);
        CHECK_NEAR(relative_error(fine, grad, 2 * N), 0, 0.005);
        CHECK(relative_error(fine, grad, 2 * N) > 0); /* it is the tree that ran */
        for (size_t i = 0; i < N; i++)                /* every point now has two twins */
            memcpy(y + 2 * i, y + 2 * (i % (N / 3)), 2 * sizeof(*y));
    }
    dnas_tsne_graph_release(&g);
    free(x);
    free(y);
    free(grad);
}

/* How many rows have their nearest neighbour in the plane from their own cloud. */
static double purity(const float *y, size_t N, size_t n_each)
{
    size_t pure = 0;

    for (size_t i = 0; i < N; i++) {
        size_t best = i == 0;

        for (size_t j = 0; j < N; j++)
            if (j != i && squared(y, i, j, 2) < squared(y, i, best, 2))
                best = j;
        pure += best / n_each == i / n_each;
    }
    return (double)pure / (double)N;
}

static void check_clusters(size_t n_clusters, size_t n_each, size_t C, unsigned n_steps)
{
    size_t N = n_clusters * n_each;
    float *x = clouds(n_clusters, n_each, C, 12), *y = dnas_xalloc(4 * N, sizeof(*y));
    struct dnas_tsne_options o = dnas_tsne_defaults();
    double kl, kl_again;

    o.n_steps = n_steps;
    CHECK_INT(dnas_tsne(y, &kl, x, N, C, &o, 1, NULL), 0);
    CHECK(purity(y, N, n_each) >= 0.99);
    CHECK(kl > 0 && kl < 1.5);
    CHECK_INT(dnas_tsne(y + 2 * N, &kl_again, x, N, C, &o, 2, NULL), 0);
    CHECK(memcmp(y, y + 2 * N, 2 * N * sizeof(*y)) == 0);
    CHECK(kl == kl_again);
    free(x);
    free(y);
}

static void test_clusters_exact(void)
{
    check_clusters(4, 40, 8, 500);
}

static void test_clusters_tree(void)
{
    check_clusters(6, 120, 60, 400);
}

static void test_small(void)
{
    struct dnas_tsne_options o = dnas_tsne_defaults();
    float x[30 * 3], y[30 * 2];

    for (size_t i = 0; i < 30 * 3; i++)
        x[i] = (float)(i * i % 17);
    dnas_msg_set_level(DNAS_MSG_QUIET);
    CHECK_INT(dnas_tsne(y, NULL, x, 0, 3, &o, 1, NULL), 0);
    CHECK_INT(dnas_tsne(y, NULL, x, 1, 3, &o, 1, NULL), 0);
    CHECK(y[0] == 0 && y[1] == 0);
    for (size_t N = 2; N <= 30; N += N < 6 ? 1 : 8) {
        CHECK_INT(dnas_tsne(y, NULL, x, N, 3, &o, 1, NULL), 0);
        for (size_t i = 0; i < 2 * N; i++)
            CHECK(isfinite(y[i]));
        CHECK(squared(y, 0, 1, 2) > 0);
    }
    for (size_t i = 0; i < 30 * 3; i++)
        x[i] = 1;
    CHECK_INT(dnas_tsne(y, NULL, x, 30, 3, &o, 1, NULL), 0);
    for (size_t i = 0; i < 60; i++)
        CHECK(isfinite(y[i]));
    CHECK(squared(y, 0, 29, 2) > 0);
}

static void test_errors(void)
{
    struct dnas_tsne_options o = dnas_tsne_defaults();
    struct dnas_err err;
    float x[4] = {1, 2, NAN, 4}, y[4];

    CHECK_INT(dnas_tsne(y, NULL, x, 2, 2, &o, 1, &err), -1);
    CHECK_STR(err.msg, "row 2 has a value that is not finite in column 1");
    x[2] = 3;
    o.theta = 0.7;
    CHECK_INT(dnas_tsne(y, NULL, x, 2, 2, &o, 1, &err), -1);
    o = dnas_tsne_defaults();
    o.perplexity = NAN;
    CHECK_INT(dnas_tsne(y, NULL, x, 2, 2, &o, 1, &err), -1);
}

int main(void)
{
    RUN(test_affinities);
    RUN(test_ties);
    RUN(test_gradient_exact);
    RUN(test_gradient_tree);
    RUN(test_clusters_exact);
    RUN(test_clusters_tree);
    RUN(test_small);
    RUN(test_errors);
    return check_done();
}
