/* SPDX-License-Identifier: MIT
 *
 * test_train_vae.c - what an autoencoder learns from: TNF-K, each column with
 * mean 0 and variance 1; that it learns; threads, seeds, and what is refused.
 */
#include "tests/unit/check.h"

#include "common/features.h"
#include "common/rng.h"
#include "common/text.h"
#include "common/train_vae.h"
#include "common/xmem.h"
#include "kernels/kernels.h"
#include "tests/unit/files.h"

#define N_ROWS 70
#define LENGTH 900
#define TNF_K 103

static char letters[N_ROWS][LENGTH + 1];

/* Sequences of two compositions, and one of no 4-mer. */
static const char *write_sequences(void)
{
    struct dnas_text text = {0};
    struct dnas_rng rng;
    const char *path;

    dnas_rng_init(&rng, 11, DNAS_RNG_TEST, 0, 0);
    for (int r = 0; r < N_ROWS; r++) {
        for (int i = 0; i < LENGTH; i++)
            letters[r][i] = (r % 2 ? "AACGT" : "ACCGT")[dnas_rng_below(&rng, 5)];
        dnas_text_printf(&text, ">s%d\n%s\n", r, letters[r]);
    }
    dnas_text_printf(&text, ">gap\nNNNNNNNN\n");
    path = file_text("two.fa", text.data);
    free(text.data);
    return path;
}

static struct dnas_kmer_model *train(const char *path, const struct dnas_train_vae *t,
                                     struct dnas_train_vae_report *r, struct dnas_err *err)
{
    const struct dnas_seq_options options = {.keep_case = false};
    char *paths[1] = {(char *)path};

    return dnas_train_vae_run(t, paths, 1, &options, r, err);
}

static struct dnas_train_vae small(int epochs)
{
    struct dnas_train_vae t = DNAS_TRAIN_VAE_DEFAULTS;

    t.latent = 4;
    t.hidden = 20;
    t.epochs = epochs;
    return t;
}

static void test_map_is_tnf_k_standardised(void)
{
    struct dnas_train_vae t = small(1);
    struct dnas_train_vae_report report;
    struct dnas_kmer_model *m = train(write_sequences(), &t, &report, NULL);
    const struct dnas_kmer_parts *p = dnas_kmer_model_parts(m);
    struct dnas_features *f = dnas_features_new("tnf-k", NULL, NULL);
    float tnf[N_ROWS][TNF_K], profile[136];
    double y[N_ROWS][TNF_K];

    CHECK_INT(report.n_rows, N_ROWS);
    CHECK_INT(dnas_kmer_model_dims(m), 4);
    CHECK_INT(p->O, TNF_K);
    CHECK_INT(p->n_layers, 3);
    CHECK(p->layers[1].activation == DNAS_KMER_LEAKY_RELU);
    CHECK(p->layers[2].activation == DNAS_KMER_LINEAR);
    for (int r = 0; r < N_ROWS; r++) {
        uint64_t counts[256] = {0};

        dnas_cpu_kmer4_count(counts, letters[r], LENGTH);
        dnas_features_embed(f, tnf[r], counts);
        dnas_kmer_profile_make(dnas_kmer_model_profile(m), profile, counts);
        for (int i = 0; i < TNF_K; i++) {
            y[r][i] = 0;
            for (int k = 0; k < 136; k++)
                y[r][i] += (double)p->weight[i * 136 + k] * ((double)profile[k] - p->mean[k]);
        }
    }
    for (int i = 0; i < TNF_K; i++) {
        double mean = 0, squares = 0;

        for (int r = 0; r < N_ROWS; r++)
            mean += (double)tnf[r][i] / N_ROWS;
        for (int r = 0; r < N_ROWS; r++)
            squares += pow((double)tnf[r][i] - mean, 2) / N_ROWS;
        /* f32 shares near 0.01, of deviations near 0.001. */
        for (int r = 0; r < N_ROWS; r++)
            CHECK_NEAR(y[r][i], ((double)tnf[r][i] - mean) / sqrt(squares), 1e-4);
    }
    dnas_features_free(f);
    dnas_kmer_model_free(m);
}

static void test_learns(void)
{
    struct dnas_train_vae t = small(200);
    struct dnas_train_vae_report r;
    struct dnas_kmer_model *m = train(write_sequences(), &t, &r, NULL);
    double sum[2][4] = {{0}}, between = 0, squares = 0;

    /* Variances of 1 at first; some of it is learnt, and mu grows to be heard over the noise. */
    CHECK(r.error_first > 0.9);
    CHECK(r.error_last < 0.9 * r.error_first);
    CHECK(r.divergence_last > 2 * r.divergence_first);
    for (int row = 0; row < N_ROWS; row++) {
        uint64_t counts[256] = {0};
        float mu[4];

        dnas_cpu_kmer4_count(counts, letters[row], LENGTH);
        dnas_kmer_model_embed(m, mu, counts);
        for (int i = 0; i < 4; i++) {
            sum[row % 2][i] += (double)mu[i] / (N_ROWS / 2.0);
            squares += (double)mu[i] * (double)mu[i] / N_ROWS;
        }
    }
    for (int i = 0; i < 4; i++) {
        between += pow(sum[0][i] - sum[1][i], 2) / 4;
        squares -= pow((sum[0][i] + sum[1][i]) / 2, 2);
    }
    CHECK(between > 0.4 * squares); /* the two compositions, of all that varies */
    dnas_kmer_model_free(m);
}

static void test_threads_and_seed(void)
{
    struct dnas_train_vae t = small(3);
    struct dnas_train_vae_report r;
    struct dnas_kmer_model *m[3];
    const char *path = write_sequences();

    t.dropout = 0.2;
    for (int i = 0; i < 3; i++) {
        t.n_threads = i == 1 ? 3 : 1;
        t.seed = i == 2 ? 5 : 1;
        m[i] = train(path, &t, &r, NULL);
    }
    CHECK_STR(dnas_kmer_model_hash(m[0]), dnas_kmer_model_hash(m[1]));
    CHECK(strcmp(dnas_kmer_model_hash(m[0]), dnas_kmer_model_hash(m[2])) != 0);
    for (int i = 0; i < 3; i++)
        dnas_kmer_model_free(m[i]);
}

static void test_refused(void)
{
    struct dnas_train_vae t = small(1);
    struct dnas_train_vae_report r;
    struct dnas_err err = {""};

    CHECK(train(file_text("one.fa", ">a\nACGTACG\n>b\nACG\n"), &t, &r, &err) == NULL);
    CHECK(strstr(err.msg, "one.fa: an autoencoder needs two sequences with a 4-mer, not 1"));
    t.alpha = 1e300; /* more than f32 holds */
    CHECK(train(write_sequences(), &t, &r, &err) == NULL);
    CHECK_STR(err.msg, "the loss is not finite in epoch 1");
}

int main(void)
{
    RUN(test_map_is_tnf_k_standardised);
    RUN(test_learns);
    RUN(test_threads_and_seed);
    RUN(test_refused);
    return check_done();
}
