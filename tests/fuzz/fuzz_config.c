/* SPDX-License-Identifier: MIT
 *
 * fuzz_config.c - config.json beside the weights of a small network, which runs
 * where it is taken.
 */
#include <string.h>

#include "common/io.h"
#include "common/network.h"
#include "common/weights.h"
#include "common/xmem.h"
#include "tests/fuzz/fuzz.h"
#include "tests/unit/files.h"

enum { L = 1, C = 8, F = 4, V = 6 };

/* The tensors of the network, all of the same value. */
static void write_model(const char *path)
{
    static const struct {
        const char *name;
        size_t rows, columns;
    } parts[] = {
        {"embeddings.word_embeddings.weight", V, C},
        {"embeddings.token_type_embeddings.weight", 2, C},
        {"embeddings.LayerNorm.weight", C, 0},
        {"embeddings.LayerNorm.bias", C, 0},
        {"encoder.layer.0.attention.self.Wqkv.weight", 3 * C, C},
        {"encoder.layer.0.attention.self.Wqkv.bias", 3 * C, 0},
        {"encoder.layer.0.attention.output.dense.weight", C, C},
        {"encoder.layer.0.attention.output.dense.bias", C, 0},
        {"encoder.layer.0.attention.output.LayerNorm.weight", C, 0},
        {"encoder.layer.0.attention.output.LayerNorm.bias", C, 0},
        {"encoder.layer.0.mlp.gated_layers.weight", 2 * F, C},
        {"encoder.layer.0.mlp.wo.weight", C, F},
        {"encoder.layer.0.mlp.wo.bias", C, 0},
        {"encoder.layer.0.mlp.layernorm.weight", C, 0},
        {"encoder.layer.0.mlp.layernorm.bias", C, 0},
    };
    enum { N = sizeof(parts) / sizeof(parts[0]) };
    static float values[3 * C * C];
    struct dnas_tensor t[N];
    struct dnas_err err = {""};

    for (size_t i = 0; i < 3 * C * C; i++)
        values[i] = (float)(i % 7) / 8;
    for (size_t i = 0; i < N; i++)
        t[i] = (struct dnas_tensor){.name = parts[i].name,
                                    .dtype = DNAS_DTYPE_F32,
                                    .n_dims = parts[i].columns ? 2 : 1,
                                    .shape = {parts[i].rows, parts[i].columns},
                                    .data = values};
    if (dnas_safetensors_write(path, t, N, NULL, 0, &err) != 0)
        DNAS_BUG("%s", err.msg);
}

/* Folders with weights; config.json in each is a link to what is tried. */
enum { BERT, ESM, N_FOLDERS };
static char *folder[N_FOLDERS];

static char *in_folder(int which, const char *name)
{
    return dnas_xasprintf("%s/%s", folder[which], name);
}

static void remove_folders(void)
{
    for (int which = 0; which < N_FOLDERS; which++) {
        char *config = in_folder(which, "config.json");
        char *weights = in_folder(which, "model.safetensors");

        unlink(config);
        unlink(weights);
        rmdir(folder[which]);
        free(config);
        free(weights);
        free(folder[which]);
    }
}

/* The small network that tests/model runs, of Nucleotide Transformer's kind. */
static void copy_esm(const char *path)
{
    struct dnas_err err = {""};
    size_t n;
    char *bytes = dnas_read_file("tests/data/golden/nt_tiny/model.safetensors", 1 << 20, &n, &err);

    if (!bytes || dnas_write_file(path, bytes, n, &err) != 0)
        DNAS_BUG("%s", err.msg);
    free(bytes);
}

static void make_folders(const char *config)
{
    for (int which = 0; which < N_FOLDERS; which++) {
        char *path;

        folder[which] = dnas_xstrdup(file_path("config.XXXXXX"));
        if (!mkdtemp(folder[which]))
            DNAS_BUG("no folder %s", folder[which]);
        path = in_folder(which, "model.safetensors");
        if (which == BERT)
            write_model(path);
        else
            copy_esm(path);
        free(path);
        path = in_folder(which, "config.json");
        if (symlink(config, path) != 0)
            DNAS_BUG("no link %s", path);
        free(path);
    }
    atexit(remove_folders);
}

static void run_network(const struct dnas_network *n)
{
    static const uint16_t ids[] = {0, 1, 5, 2, 2, 3};
    struct dnas_network_run *run = dnas_network_run_new(n);
    const float *x = dnas_network_forward(run, ids, 6, 1);

    for (size_t i = 0; i < 6 * n->shape.C; i++)
        if (!(x[i] > -1e6f && x[i] < 1e6f))
            DNAS_BUG("hidden state %zu is %g", i, (double)x[i]);
    dnas_network_run_free(run);
}

int fuzz_try(const uint8_t *data, size_t n)
{
    const char *config = fuzz_file(data, n);
    struct dnas_err err = {""};
    struct dnas_network *b;
    int which = BERT;

    if (!folder[0])
        make_folders(config);
    for (size_t i = 0; i + 3 <= n; i++)
        if (memcmp(data + i, "esm", 3) == 0)
            which = ESM;
    b = dnas_network_open(folder[which], DNAS_PRECISION_F32, &err);
    if (!b)
        return fuzz_refused(&err);
    run_network(b);
    dnas_network_close(b);
    return 1;
}

uint8_t *fuzz_seed(size_t i, size_t *n)
{
    static const char *const configs[] = {
        "{\"model_type\": \"bert\", \"num_hidden_layers\": 1, \"hidden_size\": 8, "
        "\"num_attention_heads\": 2, \"intermediate_size\": 4, \"vocab_size\": 6, "
        "\"hidden_act\": \"gelu\", \"layer_norm_eps\": 1e-12}",
        "{\"num_hidden_layers\":1,\"hidden_size\":8,\"num_attention_heads\":8,"
        "\"intermediate_size\":4,\"vocab_size\":6,\"position_embedding_type\":\"alibi\","
        "\"architectures\":[\"BertForMaskedLM\"],\"alibi_starting_size\":512,\"torch_dtype\":null}",
        "{\"model_type\":\"esm\",\"position_embedding_type\":\"rotary\",\"num_hidden_layers\":3,"
        "\"hidden_size\":24,\"num_attention_heads\":2,\"intermediate_size\":20,\"vocab_size\":27,"
        "\"token_dropout\":false,\"layer_norm_eps\":1e-12}",
    };

    if (i >= sizeof(configs) / sizeof(configs[0]))
        return NULL;
    *n = strlen(configs[i]);
    return (uint8_t *)dnas_xstrdup(configs[i]);
}

size_t fuzz_mend(uint8_t *data, size_t n, size_t max)
{
    (void)data;
    (void)max;
    return n;
}
