/* SPDX-License-Identifier: MIT
 *
 * test_kmer_model.c - profiles and k-mer models against their formulas in
 * double, the file and what it refuses, and the model that ships.
 */
#include "tests/unit/check.h"

#include "common/kmer_model.h"
#include "common/rng.h"
#include "common/weights.h"
#include "common/xmem.h"
#include "kernels/kernels.h"
#include "tests/unit/files.h"

/* ---- profiles ---- */

static char *draw_letters(size_t n, const char *alphabet, uint32_t row)
{
    char *text = dnas_xalloc(n + 1, 1);
    struct dnas_rng rng;

    dnas_rng_init(&rng, 3, DNAS_RNG_TEST, 0, row);
    for (size_t i = 0; i < n; i++)
        text[i] = alphabet[dnas_rng_below(&rng, strlen(alphabet))];
    text[n] = '\0';
    return text;
}

static char *other_strand(const char *text)
{
    size_t n = strlen(text);
    char *rc = dnas_xalloc(n + 1, 1);

    for (size_t i = 0; i < n; i++) {
        const char *at = strchr("ACGTN", text[n - 1 - i]);

        rc[i] = "TGCAN"[at - "ACGTN"];
    }
    rc[n] = '\0';
    return rc;
}

static uint64_t *count(const struct dnas_kmer_profile *p, const char *text)
{
    uint64_t *counts = dnas_xzalloc(dnas_kmer_profile_n_counts(p), sizeof(*counts));

    dnas_cpu_kmer_count(counts, text, strlen(text), dnas_kmer_profile_k(p));
    return counts;
}

/* How often `word` or its reverse complement is a part of the longest k-mers at their ends, one
 * letter shorter at a time: the contract, by texts. */
static double weight_of(const char *window, const char *word)
{
    size_t n = strlen(window);
    char rest[16];
    double sum;

    if (n == strlen(word))
        return strcmp(window, word) == 0;
    snprintf(rest, sizeof(rest), "%.*s", (int)n - 1, window);
    sum = weight_of(rest, word);
    return sum + weight_of(window + 1, word);
}

static void spell(char *word, size_t kmer, int k)
{
    for (int i = k - 1; i >= 0; i--, kmer >>= 2)
        word[i] = "ACGT"[kmer & 3];
    word[k] = '\0';
}

/* The share of the canonical k-mers in order, want [dims], by definition. */
static size_t shares(double *want, const char *text, int k, int longest)
{
    size_t n = 0;
    double total = 0;

    for (size_t kmer = 0; kmer < (size_t)1 << 2 * k; kmer++) {
        char word[16], *rc, window[16];
        double sum = 0;

        spell(word, kmer, k);
        rc = other_strand(word);
        for (size_t i = 0; strcmp(word, rc) <= 0 && i + (size_t)longest <= strlen(text); i++) {
            snprintf(window, sizeof(window), "%.*s", longest, text + i);
            if (!strchr(window, 'N'))
                sum +=
                    weight_of(window, word) + (strcmp(word, rc) == 0 ? 0 : weight_of(window, rc));
        }
        if (strcmp(word, rc) <= 0)
            want[n++] = sum;
        total += sum;
        free(rc);
    }
    for (size_t i = 0; i < n; i++)
        want[i] /= total;
    return n;
}

static double transformed(double f, enum dnas_kmer_transform t, double n, double dims)
{
    return t == DNAS_KMER_SQRT   ? sqrt(f)
           : t == DNAS_KMER_CBRT ? cbrt(f)
           : t == DNAS_KMER_LOG  ? log((f * n + 1) / (n + dims))
                                 : f;
}

static void check_profile(const struct dnas_kmer_block *blocks, int n_blocks, const char *text)
{
    struct dnas_kmer_profile *p = dnas_kmer_profile_new(blocks, n_blocks, NULL);
    float *got = dnas_xalloc(dnas_kmer_profile_dims(p), sizeof(*got));
    double *want = dnas_xalloc(4096, sizeof(*want));
    int longest = blocks[n_blocks - 1].k;
    uint64_t *counts = count(p, text), n = dnas_kmer_profile_make(p, got, counts);
    size_t at = 0;

    for (int b = 0; b < n_blocks; b++) {
        size_t dims = shares(want, text, blocks[b].k, longest);

        CHECK_INT(dims, dnas_kmer_n_canonical(blocks[b].k));
        for (size_t i = 0; i < dims; i++)
            CHECK_NEAR(got[at + i],
                       transformed(want[i], blocks[b].transform,
                                   (double)(n << (longest - blocks[b].k)), (double)dims),
                       1e-6);
        at += dims;
    }
    CHECK_INT(at, dnas_kmer_profile_dims(p));
    free(got);
    free(want);
    free(counts);
    dnas_kmer_profile_free(p);
}

static void test_profile_by_definition(void)
{
    static const struct dnas_kmer_block both[] = {{4, DNAS_KMER_SQRT}, {5, DNAS_KMER_CBRT}};
    static const struct dnas_kmer_block apart[] = {{2, DNAS_KMER_LOG}, {4, DNAS_KMER_FREQUENCY}};
    static const struct dnas_kmer_block one[] = {{3, DNAS_KMER_LOG}};
    static const struct dnas_kmer_block many[] = {
        {3, DNAS_KMER_SQRT}, {4, DNAS_KMER_LOG}, {5, DNAS_KMER_SQRT}};
    char *text = draw_letters(150, "AACGTTNGC", 1), *poor = draw_letters(60, "AT", 2);

    check_profile(both, 2, text);
    check_profile(both, 2, poor);
    check_profile(apart, 2, text);
    check_profile(one, 1, text);
    check_profile(many, 3, text);
    free(text);
    free(poor);
}

static void test_profile_of_both_strands(void)
{
    static const struct dnas_kmer_block blocks[] = {
        {2, DNAS_KMER_SQRT}, {3, DNAS_KMER_CBRT}, {5, DNAS_KMER_LOG}, {6, DNAS_KMER_SQRT}};
    struct dnas_kmer_profile *p = dnas_kmer_profile_new(blocks, 4, NULL);
    size_t size = dnas_kmer_profile_dims(p) * sizeof(float);
    float *a = dnas_xalloc(size, 1), *b = dnas_xalloc(size, 1);

    for (uint32_t i = 0; i < 20; i++) {
        char *text = draw_letters(6 + i * i * 20, i % 2 ? "ACGT" : "AACCGTN", 10 + i);
        char *rc = other_strand(text);
        uint64_t *x = count(p, text), *y = count(p, rc);

        CHECK_INT(dnas_kmer_profile_make(p, a, x), dnas_kmer_profile_make(p, b, y));
        CHECK(memcmp(a, b, size) == 0);
        free(text);
        free(rc);
        free(x);
        free(y);
    }
    free(a);
    free(b);
    dnas_kmer_profile_free(p);
}

static void test_profile_of_nothing(void)
{
    static const struct dnas_kmer_block blocks[] = {{3, DNAS_KMER_LOG}, {4, DNAS_KMER_LOG}};
    struct dnas_kmer_profile *p = dnas_kmer_profile_new(blocks, 2, NULL);
    uint64_t counts[256] = {0};
    float out[32 + 136];

    CHECK_INT(dnas_kmer_profile_dims(p), 32 + 136);
    memset(out, 1, sizeof(out));
    CHECK_INT(dnas_kmer_profile_make(p, out, counts), 0);
    for (size_t i = 0; i < 32 + 136; i++)
        CHECK(out[i] == 0);
    dnas_kmer_profile_free(p);
}

static void test_profile_refuses(void)
{
    static const struct dnas_kmer_block low[] = {{1, DNAS_KMER_SQRT}},
                                        high[] = {{7, DNAS_KMER_SQRT}};
    static const struct dnas_kmer_block twice[] = {{4, DNAS_KMER_SQRT}, {4, DNAS_KMER_SQRT}};
    struct dnas_err err;

    CHECK(!dnas_kmer_profile_new(low, 1, &err));
    CHECK_STR(err.msg, "k of a profile must be from 2 to 6 and rise");
    CHECK(!dnas_kmer_profile_new(high, 1, &err));
    CHECK(!dnas_kmer_profile_new(twice, 2, &err));
    CHECK(!dnas_kmer_profile_new(twice, 0, &err));
    CHECK(!dnas_kmer_profile_new(twice, 6, &err));
}

/* ---- models ---- */

#define I3 32 /* canonical 3-mers */

/* A model of 3-mers: a map to 5, layers of 20 and 7. */
struct parts {
    float mean[I3], weight[5 * I3], length[5], weight0[20 * 5], bias0[20], weight1[7 * 20],
        bias1[7];
    struct dnas_kmer_parts p;
};

static void fill(float *x, size_t n, uint32_t row)
{
    struct dnas_rng rng;

    dnas_rng_init(&rng, 4, DNAS_RNG_TEST, 0, row);
    for (size_t i = 0; i < n; i++)
        x[i] = (float)dnas_rng_normal(&rng);
}

static void make_parts(struct parts *s, int n_layers, enum dnas_kmer_activation a)
{
    fill(s->mean, I3, 1);
    fill(s->weight, 5 * I3, 2);
    fill(s->length, 5, 3);
    fill(s->weight0, 20 * 5, 4);
    fill(s->bias0, 20, 5);
    fill(s->weight1, 7 * 20, 6);
    fill(s->bias1, 7, 7);
    for (int i = 0; i < 5; i++)
        s->length[i] = 100 * fabsf(s->length[i]);
    s->p = (struct dnas_kmer_parts){
        .blocks = {{3, DNAS_KMER_SQRT}},
        .n_blocks = 1,
        .O = 5,
        .mean = s->mean,
        .weight = s->weight,
        .layers = {{20, s->weight0, s->bias0, a}, {7, s->weight1, s->bias1, DNAS_KMER_LINEAR}},
        .n_layers = n_layers};
}

static double activated(double x, enum dnas_kmer_activation a)
{
    switch (a) {
    case DNAS_KMER_RELU:
        return x > 0 ? x : 0;
    case DNAS_KMER_SIGMOID:
        return 1 / (1 + exp(-x));
    case DNAS_KMER_TANH:
        return tanh(x);
    case DNAS_KMER_GELU:
        return x / 2 * (1 + erf(x / sqrt(2)));
    case DNAS_KMER_LEAKY_RELU:
        return x > 0 ? x : 0.01 * x;
    case DNAS_KMER_LINEAR:
        break;
    }
    return x;
}

/* The header's formula in double; returns the number of outputs. */
static size_t by_formula(double *out, const struct dnas_kmer_parts *p, const float *x, double n)
{
    double y[64], next[64], map[64] = {0}, norm = 0;
    size_t width = p->O;

    for (size_t o = 0; o < p->O; o++) {
        y[o] = 0;
        for (size_t i = 0; i < I3; i++)
            y[o] += p->weight[o * I3 + i] * ((double)x[i] - p->mean[i]);
        y[o] /= p->length ? 1 + p->length[o] / n : 1;
        map[o] = p->residual ? y[o] : 0;
    }
    for (int l = 0; l < p->n_layers; width = p->layers[l++].O) {
        for (size_t o = 0; o < p->layers[l].O; o++) {
            next[o] = p->layers[l].bias[o];
            for (size_t i = 0; i < width; i++)
                next[o] += p->layers[l].weight[o * width + i] * y[i];
            next[o] = activated(next[o], p->layers[l].activation);
        }
        memcpy(y, next, p->layers[l].O * sizeof(*y));
    }
    for (size_t o = 0; o < width; o++)
        y[o] += map[o];
    for (size_t o = 0; o < width; o++)
        norm += y[o] * y[o];
    for (size_t o = 0; o < width; o++)
        out[o] = p->normalise ? y[o] / sqrt(norm) : y[o];
    return width;
}

static void check_model(const struct dnas_kmer_parts *parts)
{
    struct dnas_kmer_model *m = dnas_kmer_model_new(parts, NULL);
    char *text = draw_letters(500, "ACCGT", 30);
    uint64_t *counts = count(dnas_kmer_model_profile(m), text);
    float x[I3], got[64];
    double want[64];
    uint64_t n = dnas_kmer_profile_make(dnas_kmer_model_profile(m), x, counts);
    size_t C = by_formula(want, parts, x, (double)n);

    CHECK_INT(dnas_kmer_model_dims(m), C);
    dnas_kmer_model_embed(m, got, counts);
    for (size_t i = 0; i < C; i++)
        CHECK_NEAR(got[i], want[i], 2e-5);
    memset(counts, 0, 64 * sizeof(*counts));
    dnas_kmer_model_embed(m, got, counts);
    for (size_t i = 0; i < C; i++)
        CHECK(got[i] == 0);
    free(counts);
    free(text);
    dnas_kmer_model_free(m);
}

static void test_model_by_formula(void)
{
    struct parts s;

    for (int a = 0; a < DNAS_KMER_N_ACTIVATIONS; a++) {
        make_parts(&s, a % 3, (enum dnas_kmer_activation)a);
        check_model(&s.p);
        make_parts(&s, 2, (enum dnas_kmer_activation)a);
        s.p.length = s.length;
        s.p.normalise = a % 2 == 0;
        check_model(&s.p);
        s.p.layers[1].O = 5; /* of its seven rows */
        s.p.residual = true;
        check_model(&s.p);
    }
}

static void test_hash_tells_models_apart(void)
{
    struct parts s;
    char hashes[9][33];

    for (int i = 0; i < 9; i++) {
        struct dnas_kmer_model *m;

        make_parts(&s, 2, DNAS_KMER_RELU);
        s.p.layers[1].O = 5;
        if (i == 8)
            s.p.residual = true;
        if (i == 1)
            s.mean[3] += 1e-3f;
        if (i == 2)
            s.weight[7] += 1e-3f;
        if (i == 3)
            s.p.length = s.length;
        if (i == 4)
            s.bias1[0] += 1e-3f;
        if (i == 5)
            s.p.layers[0].activation = DNAS_KMER_TANH;
        if (i == 6)
            s.p.normalise = true;
        if (i == 7)
            s.p.blocks[0].transform = DNAS_KMER_LOG;
        m = dnas_kmer_model_new(&s.p, NULL);
        snprintf(hashes[i], sizeof(hashes[i]), "%s", dnas_kmer_model_hash(m));
        CHECK_INT(strlen(hashes[i]), 32);
        for (int j = 0; j < i; j++)
            CHECK(strcmp(hashes[i], hashes[j]) != 0);
        dnas_kmer_model_free(m);
    }
}

/* It says how embeddings vary, not what they are. */
static void test_noise_is_not_in_the_hash(void)
{
    float between[8] = {1, 2, 3, 4, 5, 6, 7, 8}, noise[8] = {1, 1, 1, 1, 1, 1, 1, 1};
    struct dnas_kmer_model *m, *n;
    struct dnas_err err;
    struct parts s;

    make_parts(&s, 0, DNAS_KMER_LINEAR);
    CHECK(s.p.O <= 8);
    m = dnas_kmer_model_new(&s.p, NULL);
    s.p.between = between;
    s.p.noise = s.p.noise_kb = noise;
    n = dnas_kmer_model_new(&s.p, NULL);
    CHECK(m && n);
    CHECK_STR(dnas_kmer_model_hash(m), dnas_kmer_model_hash(n));
    CHECK(!dnas_kmer_model_parts(m)->between);
    CHECK(dnas_kmer_model_parts(n)->between[2] == 3 && dnas_kmer_model_parts(n)->noise[2] == 1);
    CHECK_INT(dnas_kmer_model_write(n, file_path("n.safetensors"), NULL, &err), 0);
    dnas_kmer_model_free(m);
    m = dnas_kmer_model_open(file_path("n.safetensors"), &err);
    CHECK(m && dnas_kmer_model_parts(m)->between[2] == 3);
    CHECK(m && dnas_kmer_model_parts(m)->noise_kb[2] == 1);
    dnas_kmer_model_free(m);
    dnas_kmer_model_free(n);

    s.p.noise_kb = NULL;
    CHECK(!dnas_kmer_model_new(&s.p, &err));
    CHECK_STR(err.msg, "a noise model has three parts: between, noise, noise_kb");
    s.p.noise_kb = noise;
    for (int i = 0; i < 5; i++) {
        static const float bad[] = {0, -1, NAN, 1e7f, 1e-7f};

        noise[1] = bad[i];
        CHECK(!dnas_kmer_model_new(&s.p, &err));
        CHECK_STR(err.msg, "number 1 of the noise model is no variance from 1e-06 to 1e+06");
    }
    noise[1] = 1;
    between[0] = -1;
    CHECK(!dnas_kmer_model_new(&s.p, &err));
    between[0] = 2e6f;
    CHECK(!dnas_kmer_model_new(&s.p, &err));
}

static void test_parts_refused(void)
{
    struct dnas_err err;
    struct parts s;

    make_parts(&s, 0, DNAS_KMER_LINEAR);
    s.weight[3] = NAN;
    CHECK(!dnas_kmer_model_new(&s.p, &err));
    CHECK_STR(err.msg, "a number of the model is not finite");
    make_parts(&s, 2, DNAS_KMER_LINEAR);
    s.bias1[6] = INFINITY;
    CHECK(!dnas_kmer_model_new(&s.p, &err));
    make_parts(&s, 0, DNAS_KMER_LINEAR);
    s.length[2] = -1;
    s.p.length = s.length;
    CHECK(!dnas_kmer_model_new(&s.p, &err));
    CHECK_STR(err.msg, "number 2 of 'map.length' is negative or not finite");
    s.length[2] = NAN;
    CHECK(!dnas_kmer_model_new(&s.p, &err));
    make_parts(&s, 0, DNAS_KMER_LINEAR);
    s.p.O = 0;
    CHECK(!dnas_kmer_model_new(&s.p, &err));
    s.p.O = DNAS_KMER_WIDTH_MAX + 1;
    CHECK(!dnas_kmer_model_new(&s.p, &err));
    make_parts(&s, 2, DNAS_KMER_LINEAR);
    s.p.residual = true;
    CHECK(!dnas_kmer_model_new(&s.p, &err));
    CHECK_STR(err.msg, "layers that are added to a map of 5 end in as many, not 7");
    make_parts(&s, 0, DNAS_KMER_LINEAR);
    s.p.residual = true;
    CHECK(!dnas_kmer_model_new(&s.p, &err));
    CHECK_STR(err.msg, "layers that are added to a map of 5 end in as many, not 0");
    make_parts(&s, DNAS_KMER_LAYERS_MAX + 1, DNAS_KMER_LINEAR);
    CHECK(!dnas_kmer_model_new(&s.p, &err));
}

/* ---- the file ---- */

static void test_file_round_trip(void)
{
    struct parts s;

    for (int n_layers = 0; n_layers <= 2; n_layers++) {
        struct dnas_kmer_model *m, *again;
        char *a, *b;
        size_t n_a = 0, n_b = 0;

        make_parts(&s, n_layers, DNAS_KMER_GELU);
        s.p.length = n_layers == 1 ? s.length : NULL;
        s.p.normalise = n_layers == 2;
        if (n_layers == 2)
            s.p.layers[1].O = 5;
        s.p.residual = n_layers == 2;
        s.p.is_vae = n_layers == 1;
        m = dnas_kmer_model_new(&s.p, NULL);
        CHECK_INT(dnas_kmer_model_write(m, file_path("m.safetensors"), "[1]", NULL), 0);
        CHECK(dnas_kmer_model_is(file_path("m.safetensors")));
        again = dnas_kmer_model_open(file_path("m.safetensors"), NULL);
        CHECK(again != NULL);
        CHECK_STR(dnas_kmer_model_hash(again), dnas_kmer_model_hash(m));
        CHECK_INT(dnas_kmer_model_parts(again)->is_vae, n_layers == 1);
        CHECK_INT(dnas_kmer_model_write(again, file_path("n.safetensors"), "[1]", NULL), 0);
        a = file_read("m.safetensors", &n_a);
        b = file_read("n.safetensors", &n_b);
        CHECK(n_a == n_b && memcmp(a, b, n_a) == 0);
        free(a);
        free(b);
        dnas_kmer_model_free(m);
        dnas_kmer_model_free(again);
    }
    CHECK(!dnas_kmer_model_is(file_text("none", "nothing")));
    CHECK(!dnas_kmer_model_is(file_path("absent")));
}

/* A file of these tensors and this config. */
struct file {
    struct dnas_tensor tensors[8];
    size_t n;
    const char *architecture, *config;
};

static const float zeros[4096];

static void add(struct file *f, const char *name, size_t rows, size_t columns)
{
    f->tensors[f->n++] = (struct dnas_tensor){.name = name,
                                              .dtype = DNAS_DTYPE_F32,
                                              .n_dims = columns ? 2 : 1,
                                              .shape = {rows, columns},
                                              .data = zeros};
}

static struct file good_file(void)
{
    struct file f = {.architecture = "kmer",
                     .config = "{\"k\":[3],\"transform\":[\"sqrt\"],\"activation\":[\"relu\"],"
                               "\"normalise\":false}"};

    add(&f, "map.weight", 5, I3);
    add(&f, "map.mean", I3, 0);
    add(&f, "layers.0.weight", 6, 5);
    add(&f, "layers.0.bias", 6, 0);
    return f;
}

static void check_file(const struct file *f, const char *want)
{
    struct dnas_metadata metadata[2] = {{"architecture", f->architecture}, {"config", f->config}};
    const char *path = file_path("bad.safetensors");
    struct dnas_err err = {""};
    struct dnas_kmer_model *m;

    CHECK_INT(dnas_safetensors_write(path, f->tensors, f->n, metadata,
                                     f->config         ? 2
                                     : f->architecture ? 1
                                                       : 0,
                                     &err),
              0);
    m = dnas_kmer_model_open(path, &err);
    CHECK((m != NULL) == (want == NULL));
    if (want && !(strstr(err.msg, want) && strncmp(err.msg, path, strlen(path)) == 0))
        CHECK_FAIL("'%s' is not '%s'", err.msg, want);
    dnas_kmer_model_free(m);
}

static void test_configs_refused(void)
{
    static const char *const cases[][2] = {
        {NULL, "have no 'config'"},
        {"[]", "have no 'config' that is a JSON object"},
        {"{\"k\":[3", "have no 'config' that is a JSON object"},
        {"{\"transform\":[\"sqrt\"],\"activation\":[\"relu\"],\"normalise\":false}", "no list 'k'"},
        {"{\"k\":[],\"transform\":[],\"activation\":[],\"normalise\":false}", "no list 'k'"},
        {"{\"k\":[3],\"transform\":[],\"activation\":[\"relu\"],\"normalise\":false}",
         "no list 'transform' of 1 names"},
        {"{\"k\":[3.0],\"transform\":[\"sqrt\"],\"activation\":[\"relu\"],\"normalise\":false}",
         "k must be whole numbers from 2 to 6"},
        {"{\"k\":[7],\"transform\":[\"sqrt\"],\"activation\":[\"relu\"],\"normalise\":false}",
         "k must be whole numbers from 2 to 6"},
        {"{\"k\":[3],\"transform\":[\"root\"],\"activation\":[\"relu\"],\"normalise\":false}",
         "transform number 1 is not one of"},
        {"{\"k\":[3],\"transform\":[1],\"activation\":[\"relu\"],\"normalise\":false}",
         "transform number 1 is not one of"},
        {"{\"k\":[3],\"transform\":[\"sqrt\"],\"activation\":[\"step\"],\"normalise\":false}",
         "activation number 1 is not one of"},
        {"{\"k\":[3],\"transform\":[\"sqrt\"],\"normalise\":false}", "no list 'activation'"},
        {"{\"k\":[3],\"transform\":[\"sqrt\"],\"activation\":[\"relu\"],\"normalise\":false,"
         "\"residual\":1}",
         "'residual' is neither true nor false"},
        {"{\"k\":[3],\"transform\":[\"sqrt\"],\"activation\":[\"relu\"],\"normalise\":false,"
         "\"residual\":true}",
         "layers that are added to a map of 5 end in as many, not 6"},
        {"{\"k\":[3],\"transform\":[\"sqrt\"],\"activation\":[\"relu\"]}", "no 'normalise'"},
        {"{\"k\":[3],\"transform\":[\"sqrt\"],\"activation\":[],\"normalise\":false}",
         "it has 4 tensors, and a model of this config has 2"},
        {"{\"k\":[3],\"transform\":[\"sqrt\"],\"activation\":[\"relu\",\"relu\"],"
         "\"normalise\":false}",
         "the tensor 'layers.1.weight' is missing"},
        {"{\"k\":[4],\"transform\":[\"sqrt\"],\"activation\":[\"relu\"],\"normalise\":false}",
         "the tensor 'map.weight' is not [5,136]"},
        {"{\"k\":[3,3],\"transform\":[\"sqrt\",\"sqrt\"],\"activation\":[\"relu\"],"
         "\"normalise\":false}",
         "the tensor 'map.weight' is not [5,64]"},
    };
    struct file f = good_file();

    check_file(&f, NULL);
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        f.config = cases[i][0];
        check_file(&f, cases[i][1]);
    }
    f = good_file();
    f.architecture = "bert";
    check_file(&f, "do not name the architecture 'kmer' or 'vae'");
    f.architecture = f.config = NULL;
    check_file(&f, "do not name the architecture 'kmer' or 'vae'");
}

static void test_tensors_refused(void)
{
    static const char *const missing[] = {"map.weight", "map.mean", "layers.0.weight",
                                          "layers.0.bias"};
    static float bad[I3] = {[5] = NAN};
    struct file f;

    for (size_t i = 0; i < 4; i++) {
        char *want = dnas_xasprintf("the tensor '%s' is missing", missing[i]);

        f = good_file();
        f.tensors[i].name = "other";
        check_file(&f, want);
        free(want);
    }
    f = good_file();
    add(&f, "surplus", 3, 0);
    check_file(&f, "it has 5 tensors, and a model of this config has 4");
    f = good_file();
    f.tensors[1].shape[0] = I3 - 1;
    check_file(&f, "the tensor 'map.mean' is not [32]");
    f = good_file();
    f.tensors[2].shape[1] = 4;
    check_file(&f, "the tensor 'layers.0.weight' is not [6,5]");
    f = good_file();
    f.tensors[3].shape[0] = 5;
    check_file(&f, "the tensor 'layers.0.bias' is not [6]");
    f = good_file();
    f.tensors[0].shape[0] = 0;
    check_file(&f, "the tensor 'map.weight' is not a matrix of 1 to 4096 rows");
    f = good_file();
    f.tensors[1].data = bad;
    check_file(&f, "map.mean");
    f = good_file();
    add(&f, "map.length", 4, 0);
    check_file(&f, "the tensor 'map.length' is not [5]");
    f = good_file();
    add(&f, "map.length", 5, 0);
    check_file(&f, NULL);
    f.tensors[1].dtype = DNAS_DTYPE_I32;
    check_file(&f, "map.mean");
}

/* ---- the model that ships ---- */

static void test_default(void)
{
    struct dnas_kmer_model *m = dnas_kmer_model_default(NULL);
    struct dnas_kmer_model *file = dnas_kmer_model_open("common/models/kmer.safetensors", NULL);
    char *text = draw_letters(20000, "ACGTN", 40), *rc = other_strand(text);
    uint64_t *x, *y;
    float *a, *b;

    CHECK(m != NULL);
    if (!m)
        return;
    CHECK(file && strcmp(dnas_kmer_model_hash(file), dnas_kmer_model_hash(m)) == 0);
    a = dnas_xalloc(dnas_kmer_model_dims(m), sizeof(*a));
    b = dnas_xalloc(dnas_kmer_model_dims(m), sizeof(*b));
    x = count(dnas_kmer_model_profile(m), text);
    y = count(dnas_kmer_model_profile(m), rc);
    dnas_kmer_model_embed(m, a, x);
    dnas_kmer_model_embed(m, b, y);
    CHECK(memcmp(a, b, dnas_kmer_model_dims(m) * sizeof(*a)) == 0);
    free(text);
    free(rc);
    free(x);
    free(y);
    free(a);
    free(b);
    dnas_kmer_model_free(m);
    dnas_kmer_model_free(file);
}

int main(void)
{
    RUN(test_profile_by_definition);
    RUN(test_profile_of_both_strands);
    RUN(test_profile_of_nothing);
    RUN(test_profile_refuses);
    RUN(test_model_by_formula);
    RUN(test_hash_tells_models_apart);
    RUN(test_noise_is_not_in_the_hash);
    RUN(test_parts_refused);
    RUN(test_file_round_trip);
    RUN(test_configs_refused);
    RUN(test_tensors_refused);
    RUN(test_default);
    return check_done();
}
