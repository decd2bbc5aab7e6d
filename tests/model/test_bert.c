/* SPDX-License-Identifier: MIT
 *
 * test_bert.c - the network against numbers from the original code.
 *
 * tests/data/golden/dnabert2_tiny/README.md says how they were made.
 */
#include "common/bert.h"
#include "kernels/kernels.h"

#define GOLDEN "tests/data/golden/dnabert2_tiny"
#define HIDDEN "hidden_last"
#include "tests/model/golden.h"

/* Hidden states to what PyTorch's f32 leaves open (5e-7 on embeddings), and
 * embeddings against its float64. */
static void compare(int skip)
{
    struct dnas_network *b = golden_open(DNAS_PRECISION_F32);
    struct dnas_network_run *run = dnas_network_run_new(b);
    size_t C = b->shape.C, at = 0;
    struct golden g;

    golden_load(&g, HIDDEN);
    for (size_t row = 0; row < g.lengths.n; row++) {
        uint16_t ids[700];
        size_t T = golden_ids(ids, &g, row);
        const float *x;
        double mean[96], worst = 0;

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
    golden_release(&g);
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

static void test_same_bytes_in_any_order(void)
{
    golden_same_bytes_in_any_order(HIDDEN);
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
    golden_load(&g, HIDDEN);
    for (size_t row = 0; row < g.lengths.n; row++) {
        uint16_t ids[700];
        size_t T = golden_ids(ids, &g, row);
        double mean[96], xy = 0, xx = 0, yy = 0;

        dnas_cpu_meanpool_fwd(mean, dnas_network_forward(run, ids, T, 1), T, 96);
        for (size_t i = 0; i < 96; i++) {
            xy += mean[i] * g.embedding.f64[row * 96 + i];
            xx += mean[i] * mean[i];
            yy += g.embedding.f64[row * 96 + i] * g.embedding.f64[row * 96 + i];
        }
        CHECK_NEAR(xy / sqrt(xx * yy), 1, 5e-4);
    }
    golden_release(&g);
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
    struct dnas_network *b = golden_open(DNAS_PRECISION_F32);
    struct dnas_err err = {""};
    uint16_t ids[3] = {1, 256, 2};

    CHECK_INT(dnas_network_check_ids(b, ids, 3, &err), -1);
    CHECK(strstr(err.msg, "token 2 is number 256 of a vocabulary of 256") != NULL);
    ids[1] = 255;
    CHECK_INT(dnas_network_check_ids(b, ids, 3, &err), 0);
    dnas_network_close(b);
}

/* ---- models that are not as they should be ---- */

static void one_less(struct dnas_tensor *t, size_t *n)
{
    golden_leave_out(t, n, "layer.0.attention.output.LayerNorm.bias");
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

/* A vector as a matrix of one column. */
static void deeper(struct dnas_tensor *t, size_t *n)
{
    (void)n;
    t[2].n_dims = 2;
    t[2].shape[1] = 1;
}

static void integers(struct dnas_tensor *t, size_t *n)
{
    (void)n;
    t[2].dtype = DNAS_DTYPE_I32;
}

static void test_tensors_are_refused(void)
{
    golden_refused(one_less, NULL, "is missing");
    golden_refused(one_more, NULL, "'encoder.layer.9.surplus' is not one of this network's");
    golden_refused(misshapen, NULL, "does not have the shape that the config gives it");
    golden_refused(turned, NULL, "does not have the shape that the config gives it");
    golden_refused(narrower, NULL, "does not have the shape that the config gives it");
    golden_refused(deeper, NULL, "does not have the shape that the config gives it");
    golden_refused(not_finite, NULL, "embeddings.LayerNorm.weight");
    golden_refused(integers, NULL, "embeddings.LayerNorm.weight");
}

static void test_configs_are_refused(void)
{
    struct dnas_err err = {""};
    static const struct {
        const char *config, *sentence;
    } bad[] = {
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

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        golden_refused(NULL, bad[i].config, bad[i].sentence);
    CHECK(golden_open_changed(NULL, "", NULL, &err) == NULL);
    CHECK(strstr(err.msg, "have no 'config'") != NULL);
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
    struct dnas_network *folder = golden_open(DNAS_PRECISION_F32), *b;
    struct dnas_err err = {""};
    char *config = golden_config();

    b = golden_open_changed(with_heads, "", config, &err);
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
    struct dnas_network *b = golden_open_changed(NULL, "", config, &err);
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

        golden_refused(NULL, config, "'layer_norm_eps' is not between 0 and 1");
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
    const char *path = file_path("model.safetensors");

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
    free(json);
    dnas_weights_close(w);
}

/* One file, with or without the prefix of DNABERT-2's, is the same model. */
static void test_one_file_and_prefix(void)
{
    struct dnas_network *folder = golden_open(DNAS_PRECISION_F32);
    static const char *const prefixes[] = {"", "bert.", "module.dnabert2."};
    char *config = golden_config();

    for (int i = 0; i < 3; i++) {
        struct dnas_err err = {""};
        struct dnas_network *b = golden_open_changed(NULL, prefixes[i], config, &err);

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
    struct dnas_network *b = golden_open(DNAS_PRECISION_F32);
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
