/* SPDX-License-Identifier: MIT
 *
 * test_kmer_adapt.c - a model fitted to halves, against fits of the halves by
 * hand.
 */
#include "tests/unit/check.h"

#include "common/kmer_adapt.h"
#include "common/kmer_fit.h"
#include "common/rng.h"
#include "common/xmem.h"
#include "kernels/kernels.h"
#include "tests/unit/files.h"

#define I 32 /* canonical 3-mers */
#define C 4
#define N 300

static char *texts[N];
static size_t lengths[N];

/* Sequences of five compositions, every tenth too short, one longer than what is looked at, one
 * whose first half is a gap. */
static const char *write_sequences(void)
{
    FILE *f = fopen(file_path("halves.fa"), "wb");
    struct dnas_rng rng;

    if (!f)
        abort();
    for (uint32_t s = 0; s < N; s++) {
        const char *mix = "AACGTACCGTACGGTACGTTGGTTA" + 5 * (s % 5);

        dnas_rng_init(&rng, 8, DNAS_RNG_TEST, 0, s);
        lengths[s] = s % 10 == 9 ? 999 : s == 3 ? 150001 : 1000 + dnas_rng_below(&rng, 3000);
        texts[s] = dnas_xzalloc(lengths[s] + 1, 1);
        for (size_t i = 0; i < lengths[s]; i++)
            texts[s][i] = s == 5 && i < lengths[s] / 2 ? 'N' : mix[dnas_rng_below(&rng, 5)];
        fprintf(f, ">s%u\n%s\n", s, texts[s]);
    }
    fclose(f);
    return file_path("halves.fa");
}

static struct dnas_kmer_model *make_model(void)
{
    float mean[I], weight[C * I];
    struct dnas_kmer_parts parts = {
        .blocks = {{3, DNAS_KMER_SQRT}}, .n_blocks = 1, .O = C, .mean = mean, .weight = weight};
    struct dnas_rng rng;

    dnas_rng_init(&rng, 9, DNAS_RNG_TEST, 0, 0);
    for (int i = 0; i < I; i++)
        mean[i] = 0.17f;
    for (int i = 0; i < C * I; i++)
        weight[i] = (float)dnas_rng_normal(&rng);
    return dnas_kmer_model_new(&parts, NULL);
}

static uint64_t profile_of(float *out, const struct dnas_kmer_model *m, const char *text, size_t n)
{
    uint64_t counts[64] = {0};

    dnas_cpu_kmer_count_plain(counts, text, n, 3);
    return dnas_kmer_profile_make(dnas_kmer_model_profile(m), out, counts);
}

/* The fit of the halves' profiles or embeddings, and the mean of the profiles. */
static void by_hand(struct dnas_kmer_map *map, double mean[I], const struct dnas_kmer_model *m,
                    bool embedded, double ridge)
{
    size_t D = embedded ? C : I, n = 0;
    struct dnas_kmer_fit *f = dnas_kmer_fit_new(D, 1);
    uint32_t group = 0;

    memset(mean, 0, I * sizeof(*mean));
    for (size_t s = 0; s < N; s++) {
        size_t used = lengths[s] < 100000 ? lengths[s] : 100000, middle = used / 2;
        float p[2][I], y[2][C];
        uint64_t a = profile_of(p[0], m, texts[s], middle);
        uint64_t b = profile_of(p[1], m, texts[s] + middle, used - middle);

        if (used < 1000 || a == 0 || b == 0)
            continue;
        dnas_kmer_model_embed_profile(m, y[0], p[0], a);
        dnas_kmer_model_embed_profile(m, y[1], p[1], b);
        dnas_kmer_fit_add_pairs(f, embedded ? y[0] : p[0], embedded ? y[1] : p[1], &group, 1);
        for (int i = 0; i < I; i++)
            mean[i] += ((double)p[0][i] + (double)p[1][i]) / 2;
        n++;
    }
    CHECK_INT(n, N - N / 10 - 1);
    for (int i = 0; i < I; i++)
        mean[i] /= (double)n;
    CHECK_INT(dnas_kmer_fit_map(f, map, C, ridge, NULL), 0);
    dnas_kmer_fit_free(f);
}

static void check_how(enum dnas_kmer_adapt_how how)
{
    struct dnas_kmer_model *m = make_model(), *got, *again;
    struct dnas_seq_options options = {.shard = 1, .n_shards = 2};
    char *paths[1] = {(char *)write_sequences()};
    bool embedded = how == DNAS_KMER_ADAPT_SHRUNK;
    const struct dnas_kmer_parts *p;
    struct dnas_kmer_map map;
    double mean[I];

    by_hand(&map, mean, m, embedded, embedded ? 0.3 : 0.01);
    got = dnas_kmer_adapt(m, how, paths, 1, &options, 1, NULL);
    again = dnas_kmer_adapt(m, how, paths, 1, &options, 3, NULL);
    CHECK(got && again);
    if (!got || !again)
        return;
    CHECK_STR(dnas_kmer_model_hash(again), dnas_kmer_model_hash(got));
    CHECK(strcmp(dnas_kmer_model_hash(got), dnas_kmer_model_hash(m)) != 0);
    p = dnas_kmer_model_parts(got);
    CHECK_INT(p->O, C);
    for (size_t i = 0; i < I; i++)
        CHECK_NEAR(p->mean[i], mean[i], 1e-6);
    for (size_t o = 0; o < C; o++)
        for (size_t i = 0; i < I; i++) {
            double want = embedded ? 0 : map.weight[o * I + i];

            for (size_t k = 0; embedded && k < C; k++)
                want += (double)map.weight[o * C + k] * dnas_kmer_model_parts(m)->weight[k * I + i];
            CHECK_NEAR(p->weight[o * I + i], want, 1e-5 * (1 + fabs(want)));
        }
    dnas_kmer_map_release(&map);
    dnas_kmer_model_free(m);
    dnas_kmer_model_free(got);
    dnas_kmer_model_free(again);
    for (size_t s = 0; s < N; s++)
        free(texts[s]);
}

static void test_own(void)
{
    check_how(DNAS_KMER_ADAPT_OWN);
}

static void test_shrunk(void)
{
    check_how(DNAS_KMER_ADAPT_SHRUNK);
}

static void test_refused(void)
{
    struct dnas_kmer_model *m = make_model(), *unit;
    struct dnas_kmer_parts parts = *dnas_kmer_model_parts(m);
    struct dnas_seq_options options = {.shard = 0};
    char *few[1] = {(char *)file_text("few.fa", ">a\nACGTACGTACGT\n>b\nACGTACGT\n")};
    char *input[1] = {(char *)"-"};
    struct dnas_err err = {""};

    CHECK(!dnas_kmer_adapt(m, DNAS_KMER_ADAPT_OWN, few, 1, &options, 1, &err));
    CHECK(strstr(err.msg, "--adapt needs two sequences of 1000 letters or more") != NULL);
    CHECK(!dnas_kmer_adapt(m, DNAS_KMER_ADAPT_OWN, input, 1, &options, 1, &err));
    CHECK_STR(err.msg, "standard input: --adapt reads its input twice, so it must be a file");
    CHECK(!dnas_kmer_adapt(m, DNAS_KMER_ADAPT_OWN, input, 0, &options, 1, &err));
    CHECK_STR(err.msg, "standard input: --adapt reads its input twice, so it must be a file");
    parts.normalise = true;
    unit = dnas_kmer_model_new(&parts, NULL);
    CHECK(!dnas_kmer_adapt(unit, DNAS_KMER_ADAPT_SHRUNK, few, 1, &options, 1, &err));
    CHECK(strstr(err.msg, "--adapt takes a model that is a map alone") != NULL);
    dnas_kmer_model_free(m);
    dnas_kmer_model_free(unit);
}

int main(void)
{
    RUN(test_own);
    RUN(test_shrunk);
    RUN(test_refused);
    return check_done();
}
