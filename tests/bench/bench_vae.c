/* SPDX-License-Identifier: MIT
 *
 * bench_vae.c - steps of training an autoencoder of VAMB's size, beside the products that they
 * hold.
 *
 * In:   bench_vae [ROUNDS]
 * Out:  a TSV, a line for each size of a batch, on one thread: rows a processor second in the best
 *       of ROUNDS (3 unless told), Adam included, and the share of the matrix products' peak, as
 *       measured before, that the products of these rows are
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "common/msg.h"
#include "common/optim.h"
#include "common/rng.h"
#include "common/vae.h"
#include "common/xmem.h"
#include "tests/bench/peak.h"

#define TNF_K 103
#define HIDDEN 256
#define LATENT 32
#define ROWS ((size_t)16384) /* of a round */

static double cpu_s(void)
{
    return (double)clock() / CLOCKS_PER_SEC;
}

/* GFLOP a processor second of large products: bench_peak's, by another clock. */
static double peak_cpu(void)
{
    struct bench_peak p;
    size_t n = BENCH_PEAK_SIZE * BENCH_PEAK_SIZE;
    double best = 0;

    p.a = dnas_xzalloc(n, sizeof(float));
    p.b = dnas_xzalloc(n, sizeof(float));
    p.out = dnas_xzalloc(n, sizeof(float));
    for (int k = 0; k < 5; k++) {
        double from_s = cpu_s(), rate;

        bench_peak_product(&p, 0, 0);
        rate = 2e-9 * (double)n * (double)BENCH_PEAK_SIZE / (cpu_s() - from_s);
        best = rate > best ? rate : best;
    }
    free(p.a);
    free(p.b);
    free(p.out);
    return best;
}

static float *draw(size_t n, uint32_t row)
{
    float *x = dnas_xalloc64(n, sizeof(*x));
    struct dnas_rng rng;

    dnas_rng_init(&rng, 1, DNAS_RNG_BENCH, 2, row);
    for (size_t i = 0; i < n; i++)
        x[i] = (float)dnas_rng_normal(&rng);
    return x;
}

static void bench(size_t B, int n_rounds, double peak)
{
    const struct dnas_vae_options options = {.I = TNF_K,
                                             .H = HIDDEN,
                                             .L = LATENT,
                                             .max_rows = B,
                                             .alpha = 0.5,
                                             .beta = 200,
                                             .seed = 1,
                                             .n_threads = 1};
    struct dnas_vae *v = dnas_vae_new(&options);
    const struct dnas_optim_group all = {0, dnas_vae_n_weights(v), 1, false};
    struct dnas_optim_options adam = dnas_optim_defaults();
    struct dnas_optim_report report;
    struct dnas_vae_loss loss;
    struct dnas_optim o;
    float *x = draw(B * TNF_K, 0), *noise = draw(B * LATENT, 1), *w = dnas_xalloc(B, sizeof(*w));
    double best_s = 1e30, flop = 0;

    adam.rate = 1e-3;
    dnas_optim_init(&o, &adam, all.n, &all, 1, 1);
    for (size_t i = 0; i < B; i++)
        w[i] = 1;
    for (int l = 0; l < DNAS_VAE_LAYERS;
         l++) /* of a row; the first layer's input has no gradient */
        flop += (l > 0 ? 6.0 : 4.0) * (double)dnas_vae_get_layer(v, l)->I *
                (double)dnas_vae_get_layer(v, l)->O;
    for (int round = 0; round < n_rounds; round++) {
        double from_s = cpu_s(), took_s;

        for (size_t step = 0; step < ROWS / B; step++) {
            dnas_vae_step(v, &loss, x, w, noise, B, (uint32_t)step);
            if (dnas_optim_step(&o, dnas_vae_weights(v), dnas_vae_gradients(v), &report) != 0)
                exit(1);
        }
        took_s = cpu_s() - from_s;
        best_s = took_s < best_s ? took_s : best_s;
    }
    printf("%zu\t%.0f\t%.2f\n", B, (double)ROWS / best_s,
           (double)ROWS * flop / best_s / 1e9 / peak);
    dnas_optim_release(&o);
    dnas_vae_free(v);
    free(x);
    free(noise);
    free(w);
}

int main(int argc, char **argv)
{
    int n_rounds = argc > 1 ? (int)strtol(argv[1], NULL, 10) : 3;
    double peak = peak_cpu();

    printf("batch\trows_per_cpu_s\tshare_of_peak\n");
    bench(256, n_rounds, peak);
    bench(4096, n_rounds, peak);
    return 0;
}
