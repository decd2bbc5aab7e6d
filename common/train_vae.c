/* SPDX-License-Identifier: MIT
 *
 * train_vae.c - profiles to an autoencoder to a model.  Contract: train_vae.h.
 *
 * The profile of a k-mer model (shares of canonical 4-mers) goes through a map
 * that is TNF-K and the scaling in one: training and embedding see the same
 * numbers.
 */
#include "common/train_vae.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/embed.h"
#include "common/features.h"
#include "common/io.h"
#include "common/msg.h"
#include "common/optim.h"
#include "common/rng.h"
#include "common/threads.h"
#include "common/vae.h"
#include "common/xmem.h"
#include "kernels/kernels.h"

#define K 4
#define N_KMERS 256
#define FIRST_BATCH 256
#define ROWS 256 /* in a task */

struct job {
    const struct dnas_train_vae *t;
    struct dnas_kmer_profile *profile;
    size_t P, I;   /* canonical 4-mers; dimensions of TNF-K */
    float *mean;   /* [P] */
    float *weight; /* [I,P] from a profile less the mean to what is learnt */
    size_t N;
    float *profiles;              /* [N,P] */
    float *row_weight;            /* [N] */
    size_t profiles_cap, row_cap; /* of these two */
    float *x;                     /* [N,I] */
    /* An epoch: */
    uint64_t *order; /* [N] */
    size_t begin;    /* of the batch in the order */
    uint32_t step;   /* of all epochs */
    float *batch;    /* [B,I] */
    float *noise;    /* [B,L] */
    float *weights;  /* [B] */
};

/* ---- what is learnt from ---- */

static void embed_profile(const void *model, float *out, const uint64_t *counts)
{
    dnas_kmer_profile_make(model, out, counts);
}

static int take_row(void *ctx, const struct dnas_embed_row *r, struct dnas_err *err)
{
    struct job *j = ctx;
    double share = 0, weight = log((double)r->length_bp) - 5;

    (void)err;
    for (size_t i = 0; i < j->P; i++)
        share += (double)r->x[i];
    if (!(share > 0)) /* no k-mer */
        return 0;
    j->profiles = dnas_xgrow(j->profiles, &j->profiles_cap, j->N + 1, j->P * sizeof(*j->profiles));
    j->row_weight = dnas_xgrow(j->row_weight, &j->row_cap, j->N + 1, sizeof(*j->row_weight));
    memcpy(j->profiles + j->N * j->P, r->x, j->P * sizeof(*r->x));
    j->row_weight[j->N++] = (float)(weight > 2 ? weight : 2);
    return 0;
}

/* The input, opened, if it holds sequences. */
static struct dnas_seq *open_sequences(char *const *paths, int n_paths,
                                       const struct dnas_seq_options *options, struct dnas_err *err)
{
    struct dnas_seq_options all = *options;
    struct dnas_in *in = dnas_in_open(n_paths > 0 ? paths[0] : NULL, err);
    int is_stream = in ? dnas_in_is_stream(in, err) : -1;
    struct dnas_seq *s;

    all.shard = all.n_shards = 0;
    if (is_stream == 1)
        dnas_err_set(err, "%s: is a dnas stream; an autoencoder learns from FASTA or FASTQ",
                     dnas_in_name(in));
    if (is_stream != 0) {
        dnas_in_close(in);
        return NULL;
    }
    s = dnas_seq_open(in, paths, n_paths, &all, err);
    if (s && dnas_seq_is_csv(s)) {
        dnas_err_set(err, "%s: holds pairs of sequences, not sequences",
                     n_paths > 0 ? paths[0] : "standard input");
        dnas_seq_close(s);
        return NULL;
    }
    return s;
}

static int read_rows(struct job *j, struct dnas_seq *s, const char *name, struct dnas_err *err)
{
    const struct dnas_embed_counts by = {K, N_KMERS, j->P, embed_profile, j->profile};
    const struct dnas_embed_taker taker = {.take = take_row, .ctx = j, .doing = "reading"};
    double sum = 0;

    if (dnas_embed_each(s, &by, &taker, j->t->n_threads, err) != 0)
        return -1;
    dnas_progress_end();
    if (j->N < 2)
        return dnas_err_set(err, "%s: an autoencoder needs two sequences with a 4-mer, not %zu",
                            name, j->N);
    for (size_t i = 0; i < j->N; i++)
        sum += (double)j->row_weight[i];
    for (size_t i = 0; i < j->N; i++)
        j->row_weight[i] = (float)((double)j->row_weight[i] * (double)j->N / sum);
    return 0;
}

/* weight = TNF-K as a matrix, a column for each 4-mer and its reverse complement. */
static int make_projection(struct job *j, struct dnas_err *err)
{
    struct dnas_features *f = dnas_features_new("tnf-k", NULL, err);
    float *row, *one;

    if (!f)
        return -1;
    j->I = dnas_features_dims(f);
    j->weight = dnas_xalloc(j->I, j->P * sizeof(*j->weight));
    row = dnas_xalloc(j->I, sizeof(*row));
    one = dnas_xalloc(j->P, sizeof(*one));
    for (size_t kmer = 0; kmer < N_KMERS; kmer++) {
        uint64_t counts[N_KMERS] = {0};
        size_t p = 0;

        counts[kmer] = 1;
        dnas_kmer_profile_make(j->profile, one, counts);
        while (!(one[p] > 0))
            p++;
        dnas_features_embed(f, row, counts);
        for (size_t i = 0; i < j->I; i++)
            j->weight[i * j->P + p] = row[i];
    }
    free(row);
    free(one);
    dnas_features_free(f);
    return 0;
}

static void project(void *ctx, size_t task, int worker)
{
    struct job *j = ctx;
    size_t first = task * ROWS, n = j->N - first < ROWS ? j->N - first : ROWS;

    (void)worker;
    dnas_cpu_matmul_nt(j->x + first * j->I, j->profiles + first * j->P, j->weight, n, j->I, j->P);
}

/* x = weight (profile - mean), with weight scaled so that each column has variance 1.  A column
 * that does not vary stays as it is, near 0. */
static void standardise(struct job *j)
{
    for (size_t p = 0; p < j->P; p++) {
        double sum = 0;

        for (size_t row = 0; row < j->N; row++)
            sum += (double)j->profiles[row * j->P + p];
        j->mean[p] = (float)(sum / (double)j->N);
    }
    for (size_t i = 0; i < j->N * j->P; i++)
        j->profiles[i] -= j->mean[i % j->P];
    j->x = dnas_xalloc64(j->N, j->I * sizeof(*j->x));
    dnas_parallel_for((j->N + ROWS - 1) / ROWS, j->t->n_threads, project, j);
    for (size_t i = 0; i < j->I; i++) {
        double squares = 0, deviation;

        for (size_t row = 0; row < j->N; row++)
            squares += (double)j->x[row * j->I + i] * (double)j->x[row * j->I + i];
        deviation = sqrt(squares / (double)j->N);
        deviation = deviation > 1e-6 ? deviation : 1; /* shares are rounded at 1e-9 */
        for (size_t p = 0; p < j->P; p++)
            j->weight[i * j->P + p] = (float)((double)j->weight[i * j->P + p] / deviation);
        for (size_t row = 0; row < j->N; row++)
            j->x[row * j->I + i] = (float)((double)j->x[row * j->I + i] / deviation);
    }
}

/* ---- epochs ---- */

static void load_row(void *ctx, size_t i, int worker)
{
    struct job *j = ctx;
    size_t row = (size_t)j->order[j->begin + i], L = j->t->latent;
    struct dnas_rng rng;

    (void)worker;
    memcpy(j->batch + i * j->I, j->x + row * j->I, j->I * sizeof(*j->x));
    j->weights[i] = j->row_weight[row];
    dnas_rng_init(&rng, j->t->seed, DNAS_RNG_VAE_NOISE, j->step, (uint32_t)i);
    for (size_t l = 0; l < L; l++)
        j->noise[i * L + l] = (float)dnas_rng_normal(&rng);
}

static size_t batch_rows(const struct job *j, int epoch)
{
    static const int doubled_after[] = {25, 75, 150, 225};
    size_t n = FIRST_BATCH;

    for (size_t i = 0; i < sizeof(doubled_after) / sizeof(doubled_after[0]); i++)
        n *= epoch >= doubled_after[i] ? 2 : 1;
    return n < j->N ? n : j->N;
}

static int run_epoch(struct job *j, struct dnas_vae *v, struct dnas_optim *o, int epoch,
                     struct dnas_vae_loss *mean, struct dnas_err *err)
{
    size_t B = batch_rows(j, epoch), n_steps = j->N / B;
    struct dnas_rng rng;

    dnas_rng_init(&rng, j->t->seed, DNAS_RNG_VAE_ORDER, (uint32_t)epoch, 0);
    dnas_rng_sample(&rng, j->order, j->N, j->N);
    *mean = (struct dnas_vae_loss){0};
    for (size_t s = 0; s < n_steps; s++, j->step++) {
        struct dnas_optim_report report;
        struct dnas_vae_loss loss;

        j->begin = s * B;
        dnas_parallel_for(B, j->t->n_threads, load_row, j);
        dnas_vae_step(v, &loss, j->batch, j->weights, j->noise, B, j->step);
        if (!isfinite(loss.total) ||
            dnas_optim_step(o, dnas_vae_weights(v), dnas_vae_gradients(v), &report) != 0)
            return dnas_err_set(err, "the loss is not finite in epoch %d", epoch + 1);
        mean->error += loss.error / (double)n_steps;
        mean->divergence += loss.divergence / (double)n_steps;
    }
    dnas_progress("training", "epochs", (uint64_t)epoch + 1, (uint64_t)epoch + 1,
                  (uint64_t)j->t->epochs);
    return 0;
}

static int run_epochs(struct job *j, struct dnas_vae *v, struct dnas_optim *o,
                      struct dnas_train_vae_report *report, struct dnas_err *err)
{
    for (int epoch = 0; epoch < j->t->epochs; epoch++) {
        struct dnas_vae_loss loss;

        if (run_epoch(j, v, o, epoch, &loss, err) != 0)
            return -1;
        if (epoch == 0) {
            report->error_first = loss.error;
            report->divergence_first = loss.divergence;
        }
        report->error_last = loss.error;
        report->divergence_last = loss.divergence;
    }
    dnas_progress_end();
    return 0;
}

/* ---- the model ---- */

static struct dnas_kmer_model *make_model(const struct job *j, const struct dnas_vae *v,
                                          struct dnas_err *err)
{
    struct dnas_kmer_parts parts = {.blocks = {{K, DNAS_KMER_FREQUENCY}},
                                    .n_blocks = 1,
                                    .O = j->I,
                                    .mean = j->mean,
                                    .weight = j->weight,
                                    .n_layers = DNAS_VAE_ENCODER,
                                    .is_vae = true};
    float *weight[DNAS_VAE_ENCODER], *bias[DNAS_VAE_ENCODER];
    struct dnas_kmer_model *m;

    for (int l = 0; l < DNAS_VAE_ENCODER; l++) {
        const struct dnas_vae_layer *at = dnas_vae_get_layer(v, l);

        weight[l] = dnas_xalloc(at->O, at->I * sizeof(float));
        bias[l] = dnas_xalloc(at->O, sizeof(float));
        dnas_vae_encoder(v, l, weight[l], bias[l]);
        parts.layers[l] = (struct dnas_kmer_layer){at->O, weight[l], bias[l],
                                                   l + 1 < DNAS_VAE_ENCODER ? DNAS_KMER_LEAKY_RELU
                                                                            : DNAS_KMER_LINEAR};
    }
    m = dnas_kmer_model_new(&parts, err);
    for (int l = 0; l < DNAS_VAE_ENCODER; l++) {
        free(weight[l]);
        free(bias[l]);
    }
    return m;
}

static struct dnas_kmer_model *train(struct job *j, struct dnas_train_vae_report *report,
                                     struct dnas_err *err)
{
    const struct dnas_train_vae *t = j->t;
    size_t B = batch_rows(j, t->epochs);
    const struct dnas_vae_options options = {.I = j->I,
                                             .H = t->hidden,
                                             .L = t->latent,
                                             .max_rows = B,
                                             .alpha = t->alpha,
                                             .beta = t->beta,
                                             .dropout = t->dropout,
                                             .seed = t->seed,
                                             .n_threads = t->n_threads};
    struct dnas_vae *v = dnas_vae_new(&options);
    struct dnas_optim_options adam = dnas_optim_defaults();
    const struct dnas_optim_group all = {0, dnas_vae_n_weights(v), 1, false};
    struct dnas_kmer_model *m = NULL;
    struct dnas_optim o;

    adam.rate = 1e-3;
    dnas_optim_init(&o, &adam, all.n, &all, 1, t->n_threads);
    j->order = dnas_xalloc(j->N, sizeof(*j->order));
    j->batch = dnas_xalloc64(B, j->I * sizeof(*j->batch));
    j->noise = dnas_xalloc64(B, t->latent * sizeof(*j->noise));
    j->weights = dnas_xalloc(B, sizeof(*j->weights));
    if (run_epochs(j, v, &o, report, err) == 0)
        m = make_model(j, v, err);
    dnas_optim_release(&o);
    dnas_vae_free(v);
    return m;
}

struct dnas_kmer_model *dnas_train_vae_run(const struct dnas_train_vae *t, char *const *paths,
                                           int n_paths, const struct dnas_seq_options *options,
                                           struct dnas_train_vae_report *report,
                                           struct dnas_err *err)
{
    const struct dnas_kmer_block block = {K, DNAS_KMER_FREQUENCY};
    struct job j = {.t = t};
    const char *name = n_paths > 0 ? paths[n_paths - 1] : "standard input";
    struct dnas_kmer_model *m = NULL;
    struct dnas_seq *s = open_sequences(paths, n_paths, options, err);

    if (!s)
        return NULL;
    *report = (struct dnas_train_vae_report){0};
    j.profile = dnas_kmer_profile_new(&block, 1, err);
    if (j.profile) {
        j.P = dnas_kmer_profile_dims(j.profile);
        j.mean = dnas_xalloc(j.P, sizeof(*j.mean));
        if (make_projection(&j, err) == 0 && read_rows(&j, s, name, err) == 0) {
            report->n_rows = j.N;
            standardise(&j);
            m = train(&j, report, err);
        }
    }
    dnas_seq_close(s);
    dnas_kmer_profile_free(j.profile);
    free(j.mean);
    free(j.weight);
    free(j.profiles);
    free(j.row_weight);
    free(j.x);
    free(j.order);
    free(j.batch);
    free(j.noise);
    free(j.weights);
    return m;
}
