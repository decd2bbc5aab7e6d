/* SPDX-License-Identifier: MIT
 *
 * test_ari.c - measures of agreement against scikit-learn's numbers and against
 * their definitions, pair by pair and table by table.
 */
#include "common/ari.h"

#include "common/rng.h"
#include "common/xmem.h"
#include "tests/unit/check.h"
#include "tests/unit/npz.h"

#define GOLDEN "tests/data/golden/evaluate_small/evaluate.npz"

static struct dnas_agreement compare(const int32_t *cluster, const uint32_t *truth, size_t N,
                                     enum dnas_unclustered unclustered)
{
    struct dnas_agreement a;

    CHECK_INT(dnas_agreement_compute(&a, cluster, truth, N, unclustered, NULL), 0);
    return a;
}

static void check_all(const struct dnas_agreement *a, double ari, double nmi, double ami,
                      double homogeneity, double completeness, double v, double purity)
{
    const double tol = 1e-12; /* scikit-learn takes the AMI's factorials through lgamma */

    CHECK_NEAR(a->ari, ari, tol);
    CHECK_NEAR(a->nmi, nmi, tol);
    CHECK_NEAR(a->ami, ami, tol);
    CHECK_NEAR(a->homogeneity, homogeneity, tol);
    CHECK_NEAR(a->completeness, completeness, tol);
    CHECK_NEAR(a->v_measure, v, tol);
    CHECK_NEAR(a->purity, purity, tol);
}

static void test_golden(void)
{
    struct dnas_npy cluster = npz_read(GOLDEN, "kmeans_labels", DNAS_NPY_AS_I64);
    struct dnas_npy truth = npz_read(GOLDEN, "labels", DNAS_NPY_AS_I64);
    int32_t *c = dnas_xalloc(cluster.n, sizeof(*c));
    uint32_t *t = dnas_xalloc(cluster.n, sizeof(*t));
    struct dnas_agreement a;

    for (size_t i = 0; i < cluster.n; i++) {
        c[i] = (int32_t)cluster.i64[i];
        t[i] = (uint32_t)truth.i64[i];
    }
    a = compare(c, t, cluster.n, DNAS_UNCLUSTERED_LEFT_OUT);
    CHECK_INT(a.n_rows, 1000);
    CHECK_INT(a.n_classes, 25);
    check_all(&a, npz_number(GOLDEN, "ari"), npz_number(GOLDEN, "nmi"), npz_number(GOLDEN, "ami"),
              npz_number(GOLDEN, "homogeneity"), npz_number(GOLDEN, "completeness"),
              npz_number(GOLDEN, "vmeasure"), a.purity);
    free(c);
    free(t);
    dnas_npy_release(&cluster);
    dnas_npy_release(&truth);
}

/* The examples and corners of scikit-learn's documentation and of its code. */
static void test_small_tables(void)
{
    const uint32_t pairs[] = {0, 0, 1, 1}, same[4] = {0}, own[] = {9, 4, 7, 5};
    const int32_t as_pairs[] = {5, 5, 0, 0}, three[] = {0, 0, 1, 2}, one[4] = {3, 3, 3, 3},
                  apart[] = {0, 1, 2, 3};
    struct dnas_agreement a = compare(as_pairs, pairs, 4, DNAS_UNCLUSTERED_LEFT_OUT);

    check_all(&a, 1, 1, 1, 1, 1, 1, 1);
    a = compare(three, pairs, 4, DNAS_UNCLUSTERED_LEFT_OUT);
    check_all(&a, 4.0 / 7, 0.8, 4.0 / 7, 1, 2.0 / 3, 0.8, 1);
    a = compare(one, same, 4, DNAS_UNCLUSTERED_LEFT_OUT);
    check_all(&a, 1, 1, 1, 1, 1, 1, 1);
    a = compare(one, own, 4, DNAS_UNCLUSTERED_LEFT_OUT);
    check_all(&a, 0, 0, 0, 0, 1, 0, 0.25);
    a = compare(apart, same, 4, DNAS_UNCLUSTERED_LEFT_OUT);
    check_all(&a, 0, 0, 0, 1, 0, 0, 1);
    a = compare(apart, own, 4, DNAS_UNCLUSTERED_LEFT_OUT);
    check_all(&a, 1, 1, 1, 1, 1, 1, 1);
    a = compare(NULL, NULL, 0, DNAS_UNCLUSTERED_LEFT_OUT);
    check_all(&a, 1, 1, 1, 1, 1, 1, 1);
    CHECK_NEAR(a.clustered, 1, 0);
}

static void test_unclustered_rows(void)
{
    const int32_t cluster[] = {-1, 0, 0, 7, -1, 7, -1}, alone[] = {1, 0, 0, 7, 2, 7, 3},
                  none[] = {-1, -1};
    const uint32_t truth[] = {1, 1, 1, 2, 2, 2, 3};
    struct dnas_agreement a = compare(cluster, truth, 7, DNAS_UNCLUSTERED_LEFT_OUT), b;

    CHECK_INT(a.n_rows, 7);
    CHECK_INT(a.n_clustered, 4);
    CHECK_NEAR(a.clustered, 4.0 / 7, 1e-15);
    CHECK_INT(a.n_counted, 4);
    CHECK_INT(a.n_clusters, 2);
    CHECK_INT(a.n_classes, 2);
    check_all(&a, 1, 1, 1, 1, 1, 1, 1);

    a = compare(cluster, truth, 7, DNAS_UNCLUSTERED_ALONE);
    b = compare(alone, truth, 7, DNAS_UNCLUSTERED_LEFT_OUT);
    CHECK_INT(a.n_counted, 7);
    CHECK_INT(a.n_clustered, 4);
    CHECK_INT(a.n_clusters, 5);
    CHECK(b.ari < 1);
    check_all(&a, b.ari, b.nmi, b.ami, b.homogeneity, b.completeness, b.v_measure, b.purity);

    a = compare(none, truth, 2, DNAS_UNCLUSTERED_LEFT_OUT);
    CHECK_INT(a.n_counted, 0);
    CHECK_NEAR(a.clustered, 0, 0);
    check_all(&a, 1, 1, 1, 1, 1, 1, 1);
}

/* Hubert and Arabie's index from the four kinds of pairs, one pair at a time. */
static double ari_by_pairs(const int32_t *cluster, const uint32_t *truth, size_t N)
{
    double together = 0, in_cluster = 0, in_class = 0, all = (double)(N * (N - 1) / 2), expected;

    for (size_t i = 0; i < N; i++)
        for (size_t j = 0; j < i; j++) {
            in_cluster += cluster[i] == cluster[j];
            in_class += truth[i] == truth[j];
            together += cluster[i] == cluster[j] && truth[i] == truth[j];
        }
    expected = in_cluster * in_class / all;
    return (together - expected) / ((in_cluster + in_class) / 2 - expected);
}

/* Mutual information of the labelings, in nats, straight from the counts. */
static double mi_of(const int32_t *cluster, const uint32_t *truth, size_t N)
{
    double sum = 0;

    for (size_t i = 0; i < N; i++) {
        double a = 0, b = 0, n = 0;

        for (size_t j = 0; j < N; j++) {
            a += cluster[i] == cluster[j];
            b += truth[i] == truth[j];
            n += cluster[i] == cluster[j] && truth[i] == truth[j];
        }
        sum += log((double)N * n / (a * b)) / (double)N;
    }
    return sum;
}

/* The mean of the mutual information over shuffles of one labeling: what its
 * expectation stands for. */
static double mean_mi_of_shuffles(const int32_t *cluster, const uint32_t *truth, size_t N,
                                  size_t n_shuffles)
{
    uint64_t *order = dnas_xalloc(N, sizeof(*order));
    uint32_t *shuffled = dnas_xalloc(N, sizeof(*shuffled));
    struct dnas_rng rng;
    double sum = 0;

    dnas_rng_init(&rng, 3, DNAS_RNG_TEST, 0, 0);
    for (size_t s = 0; s < n_shuffles; s++) {
        dnas_rng_sample(&rng, order, N, N);
        for (size_t i = 0; i < N; i++)
            shuffled[i] = truth[order[i]];
        sum += mi_of(cluster, shuffled, N);
    }
    free(order);
    free(shuffled);
    return sum / (double)n_shuffles;
}

static void draw_labels(int32_t *cluster, uint32_t *truth, size_t N, uint32_t row)
{
    struct dnas_rng rng;

    dnas_rng_init(&rng, 2, DNAS_RNG_TEST, 0, row);
    for (size_t i = 0; i < N; i++) {
        truth[i] = (uint32_t)dnas_rng_below(&rng, 2 + row);
        cluster[i] = dnas_rng_below(&rng, 3) ? (int32_t)truth[i] / 2
                                             : (int32_t)dnas_rng_below(&rng, 3 + row);
    }
}

static void test_ari_by_pairs(void)
{
    int32_t cluster[200];
    uint32_t truth[200];

    for (uint32_t row = 0; row < 10; row++) {
        struct dnas_agreement a;

        draw_labels(cluster, truth, 200, row);
        a = compare(cluster, truth, 200, DNAS_UNCLUSTERED_LEFT_OUT);
        CHECK_NEAR(a.ari, ari_by_pairs(cluster, truth, 200), 1e-12);
        CHECK_NEAR(a.nmi, a.v_measure, 1e-12);
    }
}

static void test_ami_by_shuffles(void)
{
    int32_t cluster[30];
    uint32_t truth[30];

    for (uint32_t row = 0; row < 3; row++) {
        struct dnas_agreement a;
        double mi, emi, mean;

        draw_labels(cluster, truth, 30, row);
        a = compare(cluster, truth, 30, DNAS_UNCLUSTERED_LEFT_OUT);
        mi = mi_of(cluster, truth, 30);
        mean = mi / a.nmi;
        emi = mean_mi_of_shuffles(cluster, truth, 30, 3000);
        /* The mean of 3,000 shuffles is off by 0.002 or so. */
        CHECK_NEAR(a.ami, (mi - emi) / (mean - emi), 0.01);
    }
}

/* N^4 is beyond 64 bits; 10,000 clusters; and the answer is known. */
static void test_a_million_rows(void)
{
    const size_t N = 1000000;
    int32_t *cluster = dnas_xalloc(N, sizeof(*cluster));
    uint32_t *truth = dnas_xalloc(N, sizeof(*truth));
    struct dnas_agreement a;

    for (size_t i = 0; i < N; i++) {
        cluster[i] = (int32_t)(i % 10000);
        truth[i] = (uint32_t)(i % 10000) * 400000u;
    }
    a = compare(cluster, truth, N, DNAS_UNCLUSTERED_LEFT_OUT);
    CHECK_INT(a.n_clusters, 10000);
    check_all(&a, 1, 1, 1, 1, 1, 1, 1);
    /* Two classes to a cluster, of equal size. */
    for (size_t i = 0; i < N; i++)
        truth[i] = (uint32_t)(i % 20000);
    a = compare(cluster, truth, N, DNAS_UNCLUSTERED_LEFT_OUT);
    CHECK_INT(a.n_classes, 20000);
    CHECK_NEAR(a.completeness, 1, 1e-12);
    CHECK_NEAR(a.homogeneity, log(10000) / log(20000), 1e-12);
    CHECK_NEAR(a.purity, 0.5, 0);
    CHECK(a.ami > 0 && a.ami < a.nmi);
    free(cluster);
    free(truth);
}

int main(void)
{
    RUN(test_golden);
    RUN(test_small_tables);
    RUN(test_unclustered_rows);
    RUN(test_ari_by_pairs);
    RUN(test_ami_by_shuffles);
    RUN(test_a_million_rows);
    return check_done();
}
