/* SPDX-License-Identifier: MIT
 *
 * test_depth_model.c - depths as numbers: their formulas, the spread along a
 * genome that is found again, and the ratio of two sequences against normal
 * densities.
 */
#include "tests/unit/check.h"

#include "common/depth_model.h"
#include "common/rng.h"
#include "common/xmem.h"

#define N_ROWS 6000
#define N_BINS 40

/* N rows of one sample, held by the caller. */
static struct dnas_depth one_sample(double *mean, double *variance, size_t N)
{
    return (struct dnas_depth){.N = N, .S = 1, .mean = mean, .variance = variance};
}

static void test_formulas(void)
{
    double mean[4] = {10, 0, 3, 2}, variance[4] = {40, 0, 0.1, 50}, y[4], sum = 0;
    const uint32_t length_bp[4] = {3000, 1500, 30000, 100};
    const int32_t label[4] = {0, 0, 1, -1};
    /* v r / L; a single read; Poisson; shorter than a read. */
    const double u[4] = {40 * 0.05 / (10.1 * 10.1), 0.01 / 0.01, 3 * 0.005 / (3.1 * 3.1),
                         50 / (2.1 * 2.1)};
    struct dnas_depth d = one_sample(mean, variance, 4);
    struct dnas_depth_model m;
    double squares = 0, noise = 0;

    dnas_depth_model_init(&m, &d, length_bp, label, 150);
    for (int i = 0; i < 4; i++)
        sum += y[i] = log(mean[i] + 0.1);
    CHECK_INT(m.n_pairs[0], 0);
    CHECK(m.spread[0] == 0.2);
    for (int i = 0; i < 4; i++) {
        CHECK_NEAR(m.y[i], y[i] - sum / 4, 1e-6);
        CHECK_NEAR(m.noise[i], u[i] + 0.04, 1e-5);
        squares += pow(y[i] - sum / 4, 2);
        noise += u[i] + 0.04;
    }
    CHECK_NEAR(m.between[0], fmax((squares - noise) / 4, 0.01), 1e-5);
    dnas_depth_model_release(&m);
    mean[1] = 10; /* a pair of depths that are alike */
    mean[2] = mean[3] = 10;
    dnas_depth_model_init(&m, &d, length_bp, label, 150);
    CHECK_INT(m.n_pairs[0], 1);
    CHECK(m.between[0] == 0.01);
    dnas_depth_model_release(&m);
}

/* Depths of bins with a spread along each; a tenth of the rows is in a wrong bin. */
static void test_spread_is_found(void)
{
    static double mean[N_ROWS], variance[N_ROWS];
    static uint32_t length_bp[N_ROWS];
    static int32_t label[N_ROWS];
    struct dnas_depth d = one_sample(mean, variance, N_ROWS);
    struct dnas_depth_model m;
    struct dnas_rng rng;
    double abundance[N_BINS], sum = 0, squares = 0;

    dnas_rng_init(&rng, 21, DNAS_RNG_TEST, 0, 0);
    for (int b = 0; b < N_BINS; b++) {
        abundance[b] = 3.5 + dnas_rng_normal(&rng);
        sum += abundance[b] / N_BINS;
        squares += abundance[b] * abundance[b] / N_BINS;
    }
    for (int i = 0; i < N_ROWS; i++) {
        int bin = i % N_BINS;
        double m_here, u;

        length_bp[i] = 2000 + (uint32_t)dnas_rng_below(&rng, 18000);
        m_here = exp(abundance[bin] + 0.3 * dnas_rng_normal(&rng));
        u = 2 * m_here * 150 / length_bp[i]; /* twice Poisson's */
        mean[i] = m_here + sqrt(u) * dnas_rng_normal(&rng);
        mean[i] = mean[i] > 0 ? mean[i] : 0;
        variance[i] = 2 * m_here;
        label[i] = i % 10 == 7 ? (int32_t)dnas_rng_below(&rng, N_BINS) : bin;
    }
    dnas_depth_model_init(&m, &d, length_bp, label, 150);
    CHECK(m.n_pairs[0] > 2000 && m.n_pairs[0] <= 4096);
    /* 4,000 pairs: 2 %; pairs with a stranger, a fifth, push the median up: by less than a third.
     */
    CHECK(m.spread[0] > 0.29 && m.spread[0] < 0.42);
    CHECK_NEAR(m.between[0], squares - sum * sum, 0.1);
    dnas_depth_model_release(&m);
}

static double ln_normal(double x, double variance)
{
    return -log(2 * 3.14159265358979324 * variance) / 2 - x * x / variance / 2;
}

/* The ratio of two rows by the densities of the header, sample by sample. */
static void test_ratio_by_densities(void)
{
    double mean[6] = {10, 4, 12, 0.5, 30, 2}, variance[6] = {12, 4, 14, 0.6, 35, 3};
    const uint32_t length_bp[3] = {5000, 3000, 8000};
    const int32_t label[3] = {0, 1, 2};
    struct dnas_depth d = {.N = 3, .S = 2, .mean = mean, .variance = variance};
    const float none[1] = {0}, noise[1] = {1};
    struct dnas_depth_model m;
    struct dnas_plda bare, plda;
    double p[3][16], h[3][16];

    dnas_depth_model_init(&m, &d, length_bp, label, 150);
    dnas_plda_init(&bare, none, noise, none, 1); /* says nothing: 0 between species */
    dnas_plda_extend(&plda, &bare, m.between, 2);
    CHECK_INT(plda.C, 3);
    CHECK_INT(plda.n_own, 2);
    for (int i = 0; i < 3; i++) {
        const float x[3] = {1, m.y[2 * i], m.y[2 * i + 1]};

        dnas_plda_sequence(&plda, p[i], h[i], x, length_bp[i], m.noise + 2 * i);
    }
    for (int i = 0; i < 3; i++) {
        int j = (i + 1) % 3;
        double want = 0;
        double got = dnas_plda_joint(&plda, p[i], h[i], p[j], h[j]) -
                     dnas_plda_evidence(&plda, p[i], h[i]) - dnas_plda_evidence(&plda, p[j], h[j]);

        for (int s = 0; s < 2; s++) {
            double b = m.between[s], y1 = (double)m.y[2 * i + s], y2 = (double)m.y[2 * j + s];
            double v1 = (double)m.noise[2 * i + s], v2 = (double)m.noise[2 * j + s];
            /* y1, and y2 given it, where they share a mean. */
            double share = b / (b + v1);

            want += ln_normal(y1, b + v1) + ln_normal(y2 - share * y1, b * (1 - share) + v2) -
                    ln_normal(y1, b + v1) - ln_normal(y2, b + v2);
        }
        CHECK_NEAR(got, want, 1e-12 * fabs(want) + 1e-12);
        CHECK(fabs(want) > 0.01);
    }
    dnas_plda_release(&plda);
    dnas_plda_release(&bare);
    dnas_depth_model_release(&m);
}

int main(void)
{
    RUN(test_formulas);
    RUN(test_spread_is_found);
    RUN(test_ratio_by_densities);
    return check_done();
}
