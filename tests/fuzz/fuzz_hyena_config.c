/* SPDX-License-Identifier: MIT
 *
 * fuzz_hyena_config.c - config.json beside the weights of a small network of
 * HyenaDNA's kind, which runs where it is taken.
 */
#include <string.h>

#include "common/hyena.h"
#include "common/hyena_layout.h"
#include "common/weights.h"
#include "common/xmem.h"
#include "tests/fuzz/fuzz.h"
#include "tests/unit/files.h"

static const struct dnas_shape shape = {1, 8, 0, 4, 16, 50, 1e-5f};
static const struct dnas_hyena_sizes sizes = {.E = 3, .W = 4};

/* The tensors of the network, all of the same few values. */
static void write_model(const char *path)
{
    static float values[256];
    size_t n = dnas_hyena_n_tensors(&shape);
    struct dnas_layout_tensor *t = dnas_xzalloc(n, sizeof(*t));
    struct dnas_tensor *out = dnas_xzalloc(n, sizeof(*out));
    struct dnas_err err = {""};

    for (size_t i = 0; i < 256; i++)
        values[i] = (float)(i % 7) / 8;
    for (size_t i = 0; i < n; i++) {
        dnas_hyena_get_tensor(&t[i], &shape, &sizes, NULL, i);
        if (t[i].n > 256)
            DNAS_BUG("%s has %zu elements", t[i].name, t[i].n);
        out[i] = (struct dnas_tensor){
            .name = t[i].name, .dtype = DNAS_DTYPE_F32, .n_dims = t[i].n_dims, .data = values};
        memcpy(out[i].shape, t[i].shape, sizeof(t[i].shape));
    }
    if (dnas_safetensors_write(path, out, n, NULL, 0, &err) != 0)
        DNAS_BUG("%s", err.msg);
    free(t);
    free(out);
}

/* The folder with the weights; config.json in it is a link to what is tried. */
static char *folder;

static void remove_folder(void)
{
    static const char *const names[] = {"config.json", "model.safetensors"};

    for (int i = 0; i < 2; i++) {
        char *path = dnas_xasprintf("%s/%s", folder, names[i]);

        unlink(path);
        free(path);
    }
    rmdir(folder);
    free(folder);
}

static void make_folder(const char *config)
{
    char *path;

    folder = dnas_xstrdup(file_path("hyena.XXXXXX"));
    if (!mkdtemp(folder))
        DNAS_BUG("no folder %s", folder);
    path = dnas_xasprintf("%s/model.safetensors", folder);
    write_model(path);
    free(path);
    path = dnas_xasprintf("%s/config.json", folder);
    if (symlink(config, path) != 0)
        DNAS_BUG("no link %s", path);
    free(path);
    atexit(remove_folder);
}

int fuzz_try(const uint8_t *data, size_t n)
{
    static const uint16_t ids[] = {0, 1, 5, 2, 2, 3};
    const char *config = fuzz_file(data, n);
    struct dnas_err err = {""};
    struct dnas_network_run *run;
    struct dnas_network *h;

    if (!folder)
        make_folder(config);
    h = dnas_network_open(folder, DNAS_PRECISION_F32, &err);
    if (!h)
        return fuzz_refused(&err);
    if (dnas_network_check_ids(h, ids, 6, &err) == 0) {
        const float *x;

        run = dnas_network_run_new(h);
        x = dnas_network_forward(run, ids, 6, 1);
        for (size_t i = 0; i < 6 * shape.C; i++)
            if (!(x[i] > -1e6f && x[i] < 1e6f))
                DNAS_BUG("hidden state %zu is %g", i, (double)x[i]);
        dnas_network_run_free(run);
    }
    dnas_network_close(h);
    return 1;
}

uint8_t *fuzz_seed(size_t i, size_t *n)
{
    static const char *const configs[] = {
        "{\"model_type\": \"hyenadna\", \"n_layer\": 1, \"d_model\": 8, \"d_inner\": 4, "
        "\"vocab_size\": 16, \"max_seq_len\": 50, \"emb_dim\": 3, \"filter_order\": 4, "
        "\"hyena_order\": 2, \"short_filter_order\": 3, \"num_inner_mlps\": 2, "
        "\"bidirectional\": false, \"use_bias\": true, \"layer_norm_epsilon\": 1e-5}",
        "{\"n_layer\":1,\"d_model\":8,\"d_inner\":4,\"vocab_size\":12,"
        "\"pad_vocab_size_multiple\":8,\"layer\":{\"_name_\":\"hyena\",\"emb_dim\":3,"
        "\"filter_order\":4,\"local_order\":3,\"l_max\":50,\"modulate\":true}}",
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
