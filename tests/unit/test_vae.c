/* SPDX-License-Identifier: MIT
 *
 * test_vae.c - the autoencoder's loss, gradients and encoder against PyTorch's
 * (tests/model/make_vae.py), dropout by finite differences, and threads.
 */
#include "tests/unit/check.h"

#include "common/rng.h"
#include "common/vae.h"
#include "common/xmem.h"
#include "tests/unit/numbers.h"

#define NUMBERS "tests/data/training/vae.txt"
#define N_IN 7
#define HIDDEN 6
#define LATENT 3
#define ROWS 9

static const struct dnas_vae_options small = {.I = N_IN,
                                              .H = HIDDEN,
                                              .L = LATENT,
                                              .max_rows = ROWS,
                                              .alpha = 0.5,
                                              .beta = 20,
                                              .seed = 1,
                                              .n_threads = 1};

static float *read_step(const char *name, int step, size_t n)
{
    char text[32];

    snprintf(text, sizeof(text), "%s%d", name, step);
    return numbers_f32(NUMBERS, text, n);
}

/* The whole layer by its formula. */
static void apply(double *out, const double *in, const float *weight, const float *bias, size_t O,
                  size_t n_in, bool leaky)
{
    for (size_t o = 0; o < O; o++) {
        out[o] = (double)bias[o];
        for (size_t i = 0; i < n_in; i++)
            out[o] += (double)weight[o * n_in + i] * in[i];
        if (leaky && out[o] < 0)
            out[o] *= 0.01;
    }
}

static void check_encoder(const struct dnas_vae *v, const float *x)
{
    float w[3][N_IN * HIDDEN], b[3][HIDDEN];
    double *want = numbers_read(NUMBERS, "encoded", ROWS * LATENT);

    for (int l = 0; l < 3; l++)
        dnas_vae_encoder(v, l, w[l], b[l]);
    for (size_t row = 0; row < ROWS; row++) {
        double in[N_IN], h[HIDDEN], h2[HIDDEN], mu[LATENT];

        for (size_t i = 0; i < N_IN; i++)
            in[i] = (double)x[row * N_IN + i];
        apply(h, in, w[0], b[0], HIDDEN, N_IN, true);
        apply(h2, h, w[1], b[1], HIDDEN, HIDDEN, true);
        apply(mu, h2, w[2], b[2], LATENT, HIDDEN, false);
        for (size_t i = 0; i < LATENT; i++)
            CHECK_NEAR(mu[i], want[row * LATENT + i], 1e-6); /* f32 sums of values near 1 */
    }
    free(want);
}

static void test_pytorch(void)
{
    struct dnas_vae *v = dnas_vae_new(&small);
    size_t n = dnas_vae_n_weights(v);
    float *start = numbers_f32(NUMBERS, "weights", n), *x = NULL;

    memcpy(dnas_vae_weights(v), start, n * sizeof(*start));
    for (int step = 0; step < 2; step++) {
        float *noise = read_step("noise", step, ROWS * LATENT),
              *weight = read_step("weight", step, ROWS);
        float *losses = read_step("loss", step, 3), *want = read_step("gradients", step, n);
        struct dnas_vae_loss loss;

        free(x);
        x = read_step("x", step, ROWS * N_IN);
        dnas_vae_step(v, &loss, x, weight, noise, ROWS, (uint32_t)step);
        /* Roundings of f32 in six layers of values near 1. */
        CHECK_NEAR(loss.total, losses[0], 2e-6);
        CHECK_NEAR(loss.error, losses[1], 4e-6);
        CHECK_NEAR(loss.divergence, losses[2], 4e-6);
        for (size_t i = 0; i < n; i++)
            CHECK_NEAR(dnas_vae_gradients(v)[i], want[i], 2e-6);
        free(noise);
        free(weight);
        free(losses);
        free(want);
    }
    check_encoder(v, x);
    dnas_vae_free(v);
    free(start);
    free(x);
}

static float *draw(size_t n, uint32_t row)
{
    float *x = dnas_xalloc(n, sizeof(*x));
    struct dnas_rng rng;

    dnas_rng_init(&rng, 6, DNAS_RNG_TEST, 0, row);
    for (size_t i = 0; i < n; i++)
        x[i] = (float)dnas_rng_normal(&rng);
    return x;
}

/* 300 rows are three slices; 130 columns three blocks. */
#define MANY 300
#define WIDE 130

static struct dnas_vae_options wide_options(double dropout, int n_threads)
{
    return (struct dnas_vae_options){.I = WIDE,
                                     .H = 66,
                                     .L = 5,
                                     .max_rows = MANY,
                                     .alpha = 0.3,
                                     .beta = 2,
                                     .dropout = dropout,
                                     .seed = 3,
                                     .n_threads = n_threads};
}

/* The slope along a direction is the gradient's product with it. */
static void test_finite_differences(void)
{
    struct dnas_vae_options o = wide_options(0.25, 2);
    struct dnas_vae *v = dnas_vae_new(&o);
    size_t n = dnas_vae_n_weights(v);
    float *x = draw(MANY * WIDE, 0), *noise = draw(MANY * 5, 1), *weight = draw(MANY, 2);
    float *w = dnas_vae_weights(v), *start = dnas_xalloc(n, sizeof(*start));
    float *gradient = dnas_xalloc(n, sizeof(*gradient));
    struct dnas_vae_loss at, plus, minus;

    for (size_t i = 0; i < MANY; i++)
        weight[i] = 0.5f + fabsf(weight[i]);
    memcpy(start, w, n * sizeof(*start));
    dnas_vae_step(v, &at, x, weight, noise, MANY, 7);
    memcpy(gradient, dnas_vae_gradients(v), n * sizeof(*gradient));
    for (int layer = 0; layer < DNAS_VAE_LAYERS; layer++) {
        const struct dnas_vae_layer *l = dnas_vae_get_layer(v, layer);
        size_t first = l->weight, end = l->scale ? l->shift + l->O : l->bias + l->O;
        float *direction = draw(n, 3 + (uint32_t)layer);
        double want = 0, h = 2e-5;

        for (size_t i = first; i < end; i++)
            want += (double)gradient[i] * (double)direction[i];
        for (size_t i = first; i < end; i++)
            w[i] = start[i] + (float)h * direction[i];
        dnas_vae_step(v, &plus, x, weight, noise, MANY, 7);
        for (size_t i = first; i < end; i++)
            w[i] = start[i] - (float)h * direction[i];
        dnas_vae_step(v, &minus, x, weight, noise, MANY, 7);
        memcpy(w, start, n * sizeof(*start));
        /* Corners of leaky ReLU, met at random; f32 against h: 1 part in 50 of slopes near 0.1. */
        CHECK_NEAR((plus.total - minus.total) / (2 * h), want, 2e-3 + 0.02 * fabs(want));
        CHECK(fabs(want) > 0.01);
        free(direction);
    }
    /* Another step drops others. */
    dnas_vae_step(v, &plus, x, weight, noise, MANY, 8);
    CHECK(plus.total != at.total);
    dnas_vae_step(v, &plus, x, weight, noise, MANY, 7);
    CHECK(plus.total == at.total);
    dnas_vae_free(v);
    free(x);
    free(noise);
    free(weight);
    free(start);
    free(gradient);
}

static void test_threads(void)
{
    struct dnas_vae_options o1 = wide_options(0.1, 1), o3 = wide_options(0.1, 3);
    struct dnas_vae *one = dnas_vae_new(&o1), *three = dnas_vae_new(&o3);
    size_t n = dnas_vae_n_weights(one);
    float *x = draw(MANY * WIDE, 0), *noise = draw(MANY * 5, 1), *weight = draw(MANY, 2);
    struct dnas_vae_loss a, b;

    CHECK(memcmp(dnas_vae_weights(one), dnas_vae_weights(three), n * sizeof(float)) == 0);
    dnas_vae_step(one, &a, x, weight, noise, MANY, 0);
    dnas_vae_step(three, &b, x, weight, noise, MANY, 0);
    CHECK(a.total == b.total && isfinite(a.total));
    CHECK(memcmp(dnas_vae_gradients(one), dnas_vae_gradients(three), n * sizeof(float)) == 0);
    dnas_vae_free(one);
    dnas_vae_free(three);
    free(x);
    free(noise);
    free(weight);
}

/* Weights within PyTorch's bounds and not all alike; another seed, others. */
static void test_start(void)
{
    struct dnas_vae_options other = small;
    struct dnas_vae *v = dnas_vae_new(&small), *u;
    const struct dnas_vae_layer *l = dnas_vae_get_layer(v, 0);
    double largest = 0;

    other.seed = 2;
    u = dnas_vae_new(&other);
    for (size_t i = 0; i < HIDDEN * N_IN; i++)
        largest = fmax(largest, fabs((double)dnas_vae_weights(v)[l->weight + i]));
    CHECK(largest <= 1 / sqrt(N_IN) && largest > 0.8 / sqrt(N_IN));
    CHECK(dnas_vae_weights(v)[l->scale] == 1 && dnas_vae_weights(v)[l->shift] == 0);
    CHECK(dnas_vae_weights(v)[0] != dnas_vae_weights(u)[0]);
    CHECK(dnas_vae_get_layer(v, 2)->scale == 0 && dnas_vae_get_layer(v, 5)->O == N_IN);
    dnas_vae_free(v);
    dnas_vae_free(u);
}

int main(void)
{
    RUN(test_pytorch);
    RUN(test_finite_differences);
    RUN(test_threads);
    RUN(test_start);
    return check_done();
}
