/* SPDX-License-Identifier: MIT
 *
 * test_bert.c - the network against numbers from the original code.
 *
 * tests/data/golden/dnabert2_tiny/README.md says how they were made.
 */
#include "tests/unit/check.h"

#include <unistd.h>

#include "common/bert.h"
#include "common/io.h"
#include "common/weights.h"
#include "common/xmem.h"
#include "kernels/kernels.h"
#include "tests/unit/npz.h"

#define GOLDEN "tests/data/golden/dnabert2_tiny"

static struct dnas_network *open_golden(enum dnas_precision precision)
{
    struct dnas_err err = {""};
    struct dnas_network *b = dnas_network_open(GOLDEN, precision, &err);

    if (!b) {
        printf("Bail out! %s\n", err.msg);
        exit(99);
    }
    return b;
}

struct golden {
    struct dnas_npy ids, lengths, hidden, embedding;
};

static void load(struct golden *g)
{
    g->ids = npz_read(GOLDEN "/forward.npz", "input_ids", DNAS_NPY_AS_I64);
    g->lengths = npz_read(GOLDEN "/forward.npz", "lengths", DNAS_NPY_AS_I64);
    g->hidden = npz_read(GOLDEN "/forward.npz", "hidden_last", DNAS_NPY_AS_F32);
    g->embedding = npz_read(GOLDEN "/forward.npz", "embedding_f64", DNAS_NPY_AS_F64);
}

static void release(struct golden *g)
{
    dnas_npy_release(&g->ids);
    dnas_npy_release(&g->lengths);
    dnas_npy_release(&g->hidden);
    dnas_npy_release(&g->embedding);
}

static void ids_of(uint16_t *ids, const struct golden *g, size_t row)
{
    for (size_t t = 0; t < (size_t)g->lengths.i64[row]; t++)
        ids[t] = (uint16_t)g->ids.i64[row * g->ids.shape[1] + t];
}

/* |a - b| / |b| of whole vectors. */
static double relative_error(const double *a, const double *b, size_t n)
{
    double diff = 0, size = 0;

    for (size_t i = 0; i < n; i++) {
        diff += (a[i] - b[i]) * (a[i] - b[i]);
        size += b[i] * b[i];
    }
    return sqrt(diff / size);
}

/* Hidden states to what PyTorch's f32 leaves open (5e-7 on embeddings), and
 * embeddings against its float64. */
static void compare(int skip)
{
    struct dnas_network *b = open_golden(DNAS_PRECISION_F32);
    struct dnas_network_run *run = dnas_network_run_new(b);
    size_t C = b->shape.C, at = 0;
    struct golden g;

    load(&g);
    for (size_t row = 0; row < g.lengths.n; row++) {
        size_t T = (size_t)g.lengths.i64[row];
        uint16_t ids[700];
        double mean[96];
        const float *x;
        double worst = 0;

        ids_of(ids, &g, row);
        x = dnas_network_forward(run, ids, T, skip);
        for (size_t i = 0; i < T * C; i++) {
            double d = fabs((double)x[i] - (double)g.hidden.f32[at + i]);

            if (!(d <= worst))
                worst = d;
        }
        at += T * C;
        CHECK_NEAR(worst, 0, 2e-5); /* of values up to 4 */
        dnas_cpu_meanpool_fwd(mean, x, T, C);
        CHECK_NEAR(relative_error(mean, g.embedding.f64 + row * C, C), 0, 2e-6);
    }
    CHECK_INT(at, g.hidden.n);
    release(&g);
    dnas_network_run_free(run);
    dnas_network_close(b);
}

static void test_golden(void)
{
    compare(1);
}

static void test_golden_dense(void)
{
    compare(0);
}

/* Neither what ran before nor room left over shows in the result. */
static void test_same_bytes_in_any_order(void)
{
    struct dnas_network *b = open_golden(DNAS_PRECISION_F32);
    struct dnas_network_run *run = dnas_network_run_new(b);
    size_t C = b->shape.C;
    struct golden g;

    load(&g);
    for (size_t row = g.lengths.n; row-- > 0;) {
        struct dnas_network_run *alone = dnas_network_run_new(b);
        size_t T = (size_t)g.lengths.i64[row];
        uint16_t ids[700];
        const float *x, *y;

        ids_of(ids, &g, row);
        x = dnas_network_forward(run, ids, T, 1);
        y = dnas_network_forward(alone, ids, T, 1);
        CHECK(memcmp(x, y, T * C * sizeof(*x)) == 0);
        dnas_network_run_free(alone);
    }
    release(&g);
    dnas_network_run_free(run);
    dnas_network_close(b);
}

/* bf16 as the issue of precision has it: the direction stays. */
static void test_golden_bf16(void)
{
    struct dnas_network *b;
    struct dnas_network_run *run;
    struct dnas_err err = {""};
    struct golden g;

    b = dnas_network_open(GOLDEN, DNAS_PRECISION_BF16, &err);
    if (!b)
        SKIP("oneDNN multiplies no bf16 on this processor");
    run = dnas_network_run_new(b);
    load(&g);
    for (size_t row = 0; row < g.lengths.n; row++) {
        size_t T = (size_t)g.lengths.i64[row];
        uint16_t ids[700];
        double mean[96], xy = 0, xx = 0, yy = 0;

        ids_of(ids, &g, row);
        dnas_cpu_meanpool_fwd(mean, dnas_network_forward(run, ids, T, 1), T, 96);
        for (size_t i = 0; i < 96; i++) {
            xy += mean[i] * g.embedding.f64[row * 96 + i];
            xx += mean[i] * mean[i];
            yy += g.embedding.f64[row * 96 + i] * g.embedding.f64[row * 96 + i];
        }
        CHECK_NEAR(xy / sqrt(xx * yy), 1, 5e-4);
    }
    release(&g);
    dnas_network_run_free(run);
    dnas_network_close(b);
}

static void test_slopes(void)
{
    float s[12];

    dnas_bert_slopes(s, 12);
    for (int h = 0; h < 8; h++)
        CHECK_NEAR(s[h], exp2(-(h + 1)), 0);
    for (int h = 8; h < 12; h++)
        CHECK_NEAR(s[h], (float)exp2(-(h - 8) - 0.5), 0);
}

static void test_ids_are_checked(void)
{
    struct dnas_network *b = open_golden(DNAS_PRECISION_F32);
    struct dnas_err err = {""};
    uint16_t ids[3] = {1, 256, 2};

    CHECK_INT(dnas_network_check_ids(b, ids, 3, &err), -1);
    CHECK(strstr(err.msg, "token 2 is number 256 of a vocabulary of 256") != NULL);
    ids[1] = 255;
    CHECK_INT(dnas_network_check_ids(b, ids, 3, &err), 0);
    dnas_network_close(b);
}

/* ---- models that are not as they should be ---- */

static char *in_tmp(const char *name)
{
    return dnas_xasprintf("%s/%s", getenv("TMP") ? getenv("TMP") : "/tmp", name);
}

/* Writes golden's tensors, changed by `change`, as one file with its config in
 * the metadata, and opens it.  prefix goes before the names. */
static struct dnas_network *open_changed(void (*change)(struct dnas_tensor *, size_t *),
                                         const char *prefix, const char *config,
                                         struct dnas_err *err)
{
    struct dnas_weights *w = dnas_weights_open(GOLDEN, err);
    const struct dnas_metadata metadata = {"config", config};
    size_t n = dnas_weights_n(w);
    struct dnas_tensor *t = dnas_xzalloc(n + 1, sizeof(*t));
    char *path = in_tmp("dnas-model.safetensors");
    struct dnas_network *b;

    for (size_t i = 0; i < n; i++) {
        t[i] = *dnas_weights_tensor(w, i);
        t[i].name = dnas_xasprintf("%s%s", prefix, t[i].name);
    }
    if (change)
        change(t, &n);
    CHECK_INT(dnas_safetensors_write(path, t, n, &metadata, config ? 1 : 0, err), 0);
    b = dnas_network_open(path, DNAS_PRECISION_F32, err);
    unlink(path);
    for (size_t i = 0; i < dnas_weights_n(w); i++)
        free((char *)t[i].name);
    free(t);
    free(path);
    dnas_weights_close(w);
    return b;
}

static char *golden_config(void)
{
    struct dnas_err err;
    size_t n;

    return dnas_read_file(GOLDEN "/config.json", 1 << 20, &n, &err);
}

static void refused(void (*change)(struct dnas_tensor *, size_t *), const char *sentence)
{
    struct dnas_err err = {""};
    char *config = golden_config();

    CHECK(open_changed(change, "", config, &err) == NULL);
    if (!strstr(err.msg, sentence))
        CHECK_FAIL("'%s' where '%s' was due", err.msg, sentence);
    free(config);
}

static void one_less(struct dnas_tensor *t, size_t *n)
{
    struct dnas_tensor gone = t[5];

    t[5] = t[--*n];
    t[*n] = gone; /* its name is freed with the others */
}

static void one_more(struct dnas_tensor *t, size_t *n)
{
    t[*n] = t[0];
    t[(*n)++].name = "encoder.layer.9.surplus";
}

static void misshapen(struct dnas_tensor *t, size_t *n)
{
    (void)n;
    t[0].shape[0] /= 2;
    t[0].n_elements /= 2;
    t[0].size_bytes /= 2;
}

static void not_finite(struct dnas_tensor *t, size_t *n)
{
    static float bad[96];

    bad[17] = NAN;
    (void)n;
    t[2].data = bad; /* embeddings.LayerNorm.weight */
}

/* As many elements in another order of dimensions. */
static void turned(struct dnas_tensor *t, size_t *n)
{
    for (size_t i = 0; i < *n; i++)
        if (strstr(t[i].name, "layer.1.mlp.wo.weight")) {
            t[i].shape[0] = 192;
            t[i].shape[1] = 96;
        }
}

static void narrower(struct dnas_tensor *t, size_t *n)
{
    for (size_t i = 0; i < *n; i++)
        if (strstr(t[i].name, "layer.1.mlp.wo.weight")) {
            t[i].shape[1] /= 2;
            t[i].n_elements /= 2;
            t[i].size_bytes /= 2;
        }
}

static void integers(struct dnas_tensor *t, size_t *n)
{
    (void)n;
    t[2].dtype = DNAS_DTYPE_I32;
}

static void test_tensors_are_refused(void)
{
    refused(one_less, "is missing");
    refused(one_more, "'encoder.layer.9.surplus' is not one of this network's");
    refused(misshapen, "does not have the shape that the config gives it");
    refused(turned, "does not have the shape that the config gives it");
    refused(narrower, "does not have the shape that the config gives it");
    refused(not_finite, "embeddings.LayerNorm.weight");
    refused(integers, "embeddings.LayerNorm.weight");
}

static void test_configs_are_refused(void)
{
    static const struct {
        const char *config, *sentence;
    } bad[] = {
        {NULL, "have no 'config'"},
        {"{", "is not JSON"},
        {"[]", "not a JSON object"},
        {"{\"hidden_act\": \"relu\"}", "another network: its 'hidden_act'"},
        {"{\"position_embedding_type\": \"absolute\"}", "its 'position_embedding_type'"},
        {"{\"model_type\": \"roberta\"}", "its 'model_type'"},
        {"{\"num_hidden_layers\": 3}", "no 'hidden_size'"},
        {"{\"num_hidden_layers\": 3.5}", "no 'num_hidden_layers'"},
        {"{\"num_hidden_layers\": 3, \"hidden_size\": 96, \"num_attention_heads\": 7, "
         "\"intermediate_size\": 192, \"vocab_size\": 256}",
         "96 channels, which 7 heads do not divide"},
        {"{\"num_hidden_layers\": 4, \"hidden_size\": 96, \"num_attention_heads\": 6, "
         "\"intermediate_size\": 192, \"vocab_size\": 256}",
         "'encoder.layer.3.attention.self.Wqkv.weight' is missing"},
        {"{\"num_hidden_layers\": 2, \"hidden_size\": 96, \"num_attention_heads\": 6, "
         "\"intermediate_size\": 192, \"vocab_size\": 256}",
         "is not one of this network's"},
    };

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct dnas_err err = {""};

        CHECK(open_changed(NULL, "", bad[i].config, &err) == NULL);
        if (!strstr(err.msg, bad[i].sentence))
            CHECK_FAIL("'%s' where '%s' was due", err.msg, bad[i].sentence);
    }
}

#define SHAPE                                                                                      \
    "\"num_hidden_layers\": 3, \"hidden_size\": 96, \"num_attention_heads\": 6, "                  \
    "\"intermediate_size\": 192, \"vocab_size\": 256"

/* Heads of other tasks may lie beside the network; they are not part of it. */
static void with_heads(struct dnas_tensor *t, size_t *n)
{
    t[*n] = t[2];
    t[(*n)++].name = "cls.predictions.bias";
}

static void test_heads_are_passed_over(void)
{
    struct dnas_network *folder = open_golden(DNAS_PRECISION_F32), *b;
    struct dnas_err err = {""};
    char *config = golden_config();

    b = open_changed(with_heads, "", config, &err);
    CHECK_STR(err.msg, "");
    if (b)
        CHECK_STR(b->hash, folder->hash);
    dnas_network_close(b);
    free(config);
    dnas_network_close(folder);
}

/* The first hidden state of two tokens under this config. */
static void first_state(float *x, const char *config)
{
    static const uint16_t ids[2] = {1, 2};
    struct dnas_err err = {""};
    struct dnas_network *b = open_changed(NULL, "", config, &err);
    struct dnas_network_run *run;

    CHECK_STR(err.msg, "");
    memset(x, 0, 96 * sizeof(*x));
    if (!b)
        return;
    run = dnas_network_run_new(b);
    memcpy(x, dnas_network_forward(run, ids, 2, 1), 96 * sizeof(*x));
    dnas_network_run_free(run);
    dnas_network_close(b);
}

/* The layer norms' eps is the config's, or 1e-12. */
static void test_eps(void)
{
    static const char *const bad[] = {"0", "1", "-1e-5", "null", "\"x\""};
    float given[96], none[96], large[96], usual[96];

    first_state(given, "{" SHAPE ", \"layer_norm_eps\": 1e-12}");
    first_state(none, "{" SHAPE "}");
    first_state(large, "{" SHAPE ", \"layer_norm_eps\": 0.5}");
    first_state(usual, "{" SHAPE ", \"layer_norm_eps\": 1e-5}");
    CHECK(memcmp(given, none, sizeof(given)) == 0);
    CHECK(memcmp(usual, none, sizeof(given)) != 0);
    CHECK(fabsf(large[0] - none[0]) > 1e-3f);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        char *config = dnas_xasprintf("{" SHAPE ", \"layer_norm_eps\": %s}", bad[i]);
        struct dnas_err err = {""};

        CHECK(open_changed(NULL, "", config, &err) == NULL);
        CHECK(strstr(err.msg, "'layer_norm_eps' is not between 0 and 1") != NULL);
        free(config);
    }
}

/* A tokenizer with more tokens than the network knows is another network's. */
static void test_tokenizer_of_another_network(void)
{
    char *json = dnas_xstrdup("{\"model\": {\"type\": \"BPE\", \"unk_token\": \"A\", "
                              "\"vocab\": {\"A\": 0, \"C\": 256}, \"merges\": []}}");
    struct dnas_weights *w;
    struct dnas_err err = {""};
    struct dnas_metadata metadata[2] = {{"config", "{" SHAPE "}"}, {"tokenizer", json}};
    char *path = in_tmp("dnas-model.safetensors");

    w = dnas_weights_open(GOLDEN, &err);
    for (int k = 0; k < 2; k++) {
        struct dnas_network *b;

        memcpy(strstr(json, "25"), k ? "255" : "256", 3);
        CHECK_INT(dnas_safetensors_write(path, dnas_weights_tensor(w, 0), dnas_weights_n(w),
                                         metadata, 2, &err),
                  0);
        err.msg[0] = '\0';
        b = dnas_network_open(path, DNAS_PRECISION_F32, &err);
        CHECK((b != NULL) == (k == 1));
        if (k == 0)
            CHECK(strstr(err.msg, "its tokenizer has 257 tokens, its network 256") != NULL);
        dnas_network_close(b);
    }
    unlink(path);
    free(path);
    free(json);
    dnas_weights_close(w);
}

/* One file, with or without the prefix of DNABERT-2's, is the same model. */
static void test_one_file_and_prefix(void)
{
    struct dnas_network *folder = open_golden(DNAS_PRECISION_F32);
    static const char *const prefixes[] = {"", "bert.", "module.dnabert2."};
    char *config = golden_config();

    for (int i = 0; i < 3; i++) {
        struct dnas_err err = {""};
        struct dnas_network *b = open_changed(NULL, prefixes[i], config, &err);

        CHECK_STR(err.msg, "");
        if (b)
            CHECK_STR(b->hash, folder->hash);
        dnas_network_close(b);
    }
    free(config);
    dnas_network_close(folder);
}

static void test_no_tokens(void)
{
    struct dnas_network *b = open_golden(DNAS_PRECISION_F32);
    struct dnas_network_run *run = dnas_network_run_new(b);
    double mean[96];

    dnas_cpu_meanpool_fwd(mean, dnas_network_forward(run, NULL, 0, 1), 0, 96);
    CHECK(mean[0] == 0 && mean[95] == 0);
    dnas_network_run_free(run);
    dnas_network_close(b);
}

static void test_missing_folder(void)
{
    struct dnas_err err = {""};

    CHECK(dnas_network_open("tests/data/no-such-folder", DNAS_PRECISION_F32, &err) == NULL);
    CHECK(strstr(err.msg, "no-such-folder") != NULL);
}

int main(void)
{
    RUN(test_golden);
    RUN(test_golden_dense);
    RUN(test_same_bytes_in_any_order);
    RUN(test_golden_bf16);
    RUN(test_slopes);
    RUN(test_ids_are_checked);
    RUN(test_tensors_are_refused);
    RUN(test_configs_are_refused);
    RUN(test_one_file_and_prefix);
    RUN(test_heads_are_passed_over);
    RUN(test_eps);
    RUN(test_tokenizer_of_another_network);
    RUN(test_no_tokens);
    RUN(test_missing_folder);
    return check_done();
}
