/* SPDX-License-Identifier: MIT
 *
 * kmer_model_file.c - k-mer models from and to safetensors.  Contract: kmer_model.h.
 */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "common/kmer_model_impl.h"
#include "common/weights.h"
#include "common/xmem.h"

static const char *const architectures[] = {"kmer", "vae", NULL};

/* The number of a name in a list that ends with NULL, or -1. */
static int find_name(const char *name, const char *const *names)
{
    for (int i = 0; name && names[i]; i++)
        if (strcmp(name, names[i]) == 0)
            return i;
    return -1;
}

/* ---- the config ---- */

char *kmer_model_config(const struct dnas_kmer_parts *p)
{
    json_t *k = json_array(), *transform = json_array(), *activation = json_array();
    json_t *config;
    char *text;

    for (int i = 0; i < p->n_blocks; i++) {
        json_array_append_new(k, json_integer(p->blocks[i].k));
        json_array_append_new(transform, json_string(dnas_kmer_transforms[p->blocks[i].transform]));
    }
    for (int i = 0; i < p->n_layers; i++)
        json_array_append_new(activation,
                              json_string(dnas_kmer_activations[p->layers[i].activation]));
    config = json_pack("{s:o, s:o, s:o, s:b}", "k", k, "transform", transform, "activation",
                       activation, "normalise", (int)p->normalise);
    if (p->residual) /* named only where it is, so that older models keep their hashes */
        json_object_set_new(config, "residual", json_true());
    text = json_dumps(config, JSON_COMPACT | JSON_SORT_KEYS);
    if (!text)
        DNAS_BUG("jansson cannot write a config");
    json_decref(config);
    return text;
}

static int parse_blocks(struct dnas_kmer_parts *p, const json_t *config, struct dnas_err *err)
{
    const json_t *k = json_object_get(config, "k");
    const json_t *transform = json_object_get(config, "transform");
    size_t n = json_array_size(k);

    if (n < 1 || n > DNAS_KMER_BLOCKS_MAX)
        return dnas_err_set(err, "the config has no list 'k' of 1 to %d numbers",
                            DNAS_KMER_BLOCKS_MAX);
    if (json_array_size(transform) != n)
        return dnas_err_set(err, "the config has no list 'transform' of %zu names, one for each k",
                            n);
    for (size_t i = 0; i < n; i++) {
        const json_t *number = json_array_get(k, i);
        int t = find_name(json_string_value(json_array_get(transform, i)), dnas_kmer_transforms);

        if (!json_is_integer(number) || json_integer_value(number) < DNAS_KMER_K_MIN ||
            json_integer_value(number) > DNAS_KMER_K_MAX)
            return dnas_err_set(err, "the config's k must be whole numbers from %d to %d",
                                DNAS_KMER_K_MIN, DNAS_KMER_K_MAX);
        if (t < 0)
            return dnas_err_set(err,
                                "the config's transform number %zu is not one of frequency, "
                                "sqrt, cbrt, log",
                                i + 1);
        p->blocks[i].k = (int)json_integer_value(number);
        p->blocks[i].transform = (enum dnas_kmer_transform)t;
    }
    p->n_blocks = (int)n;
    return 0;
}

static int parse_layers(struct dnas_kmer_parts *p, const json_t *config, struct dnas_err *err)
{
    const json_t *activation = json_object_get(config, "activation");
    const json_t *normalise = json_object_get(config, "normalise");
    const json_t *residual = json_object_get(config, "residual");
    size_t n = json_array_size(activation);

    if (!json_is_array(activation) || n > DNAS_KMER_LAYERS_MAX)
        return dnas_err_set(err, "the config has no list 'activation' of at most %d names",
                            DNAS_KMER_LAYERS_MAX);
    for (size_t i = 0; i < n; i++) {
        int a = find_name(json_string_value(json_array_get(activation, i)), dnas_kmer_activations);

        if (a < 0)
            return dnas_err_set(err,
                                "the config's activation number %zu is not one of linear, "
                                "relu, sigmoid, tanh, gelu, leaky_relu",
                                i + 1);
        p->layers[i].activation = (enum dnas_kmer_activation)a;
    }
    if (!json_is_boolean(normalise))
        return dnas_err_set(err, "the config has no 'normalise' that is true or false");
    if (residual && !json_is_boolean(residual))
        return dnas_err_set(err, "the config's 'residual' is neither true nor false");
    p->n_layers = (int)n;
    p->residual = json_is_true(residual);
    p->normalise = json_is_true(normalise);
    return 0;
}

static int parse_config(struct dnas_kmer_parts *p, const struct dnas_weights *w,
                        struct dnas_err *err)
{
    int architecture = find_name(dnas_weights_metadata(w, "architecture"), architectures);
    const char *text = dnas_weights_metadata(w, "config");
    json_t *config = text ? json_loads(text, JSON_REJECT_DUPLICATES, NULL) : NULL;
    int status = -1;

    p->is_vae = architecture == 1;
    if (architecture < 0)
        dnas_err_set(err, "its metadata do not name the architecture '%s' or '%s'",
                     architectures[0], architectures[1]);
    else if (!json_is_object(config))
        dnas_err_set(err, "its metadata have no 'config' that is a JSON object");
    else
        status = parse_blocks(p, config, err) != 0 ? -1 : parse_layers(p, config, err);
    json_decref(config);
    return status;
}

/* ---- the tensors ---- */

/* A tensor of this shape (columns 0: one dimension), or NULL with a sentence; where `optional`
 * NULL too, without one. */
static const float *take(struct dnas_weights *w, const char *name, size_t rows, size_t columns,
                         struct dnas_err *err)
{
    const struct dnas_tensor *t = dnas_weights_find(w, "", name);
    bool fits = t && t->n_dims == (columns ? 2 : 1) && t->shape[0] == rows &&
                (!columns || t->shape[1] == columns);

    if (!t)
        dnas_err_set(err, "the tensor '%s' is missing", name);
    else if (!fits && columns)
        dnas_err_set(err,
                     "the tensor '%s' is not [%zu,%zu], as its neighbours and the config "
                     "want it",
                     name, rows, columns);
    else if (!fits)
        dnas_err_set(err, "the tensor '%s' is not [%zu], as its neighbours and the config want it",
                     name, rows);
    else if (dnas_tensor_check_finite(w, t, err) == 0)
        return dnas_tensor_f32(w, t, err);
    return NULL;
}

/* The first dimension of a matrix, or 0 with a sentence where there is none or it is too large. */
static size_t height(const struct dnas_weights *w, const char *name, struct dnas_err *err)
{
    const struct dnas_tensor *t = dnas_weights_find(w, "", name);

    if (!t)
        dnas_err_set(err, "the tensor '%s' is missing", name);
    else if (t->n_dims != 2 || t->shape[0] < 1 || t->shape[0] > DNAS_KMER_WIDTH_MAX)
        dnas_err_set(err, "the tensor '%s' is not a matrix of 1 to %d rows", name,
                     DNAS_KMER_WIDTH_MAX);
    else
        return t->shape[0];
    return 0;
}

static int take_layer(struct dnas_kmer_layer *layer, struct dnas_weights *w, int l, size_t I,
                      struct dnas_err *err)
{
    char *weight = dnas_xasprintf("layers.%d.weight", l);
    char *bias = dnas_xasprintf("layers.%d.bias", l);

    layer->O = height(w, weight, err);
    layer->weight = layer->O ? take(w, weight, layer->O, I, err) : NULL;
    layer->bias = layer->weight ? take(w, bias, layer->O, 0, err) : NULL;
    free(weight);
    free(bias);
    return layer->bias ? 0 : -1;
}

/* The noise model, if there is one. */
static int take_noise(struct dnas_kmer_parts *p, struct dnas_weights *w, struct dnas_err *err)
{
    if (!dnas_weights_find(w, "", "plda.between"))
        return 0;
    if (!(p->between = take(w, "plda.between", p->O, 0, err)) ||
        !(p->noise = take(w, "plda.noise", p->O, 0, err)) ||
        !(p->noise_kb = take(w, "plda.noise_kb", p->O, 0, err)))
        return -1;
    return 0;
}

static int take_all(struct dnas_kmer_parts *p, struct dnas_weights *w, struct dnas_err *err)
{
    bool has_length = dnas_weights_find(w, "", "map.length");
    size_t I = 0, n = 2 + (has_length ? 1 : 0) + 2 * (size_t)p->n_layers, width;

    for (int i = 0; i < p->n_blocks; i++)
        I += dnas_kmer_n_canonical(p->blocks[i].k);
    width = p->O = height(w, "map.weight", err);
    if (!p->O || !(p->weight = take(w, "map.weight", p->O, I, err)) ||
        !(p->mean = take(w, "map.mean", I, 0, err)) ||
        (has_length && !(p->length = take(w, "map.length", p->O, 0, err))))
        return -1;
    if (take_noise(p, w, err) != 0)
        return -1;
    n += p->between ? 3 : 0;
    for (int l = 0; l < p->n_layers; width = p->layers[l++].O)
        if (take_layer(&p->layers[l], w, l, width, err) != 0)
            return -1;
    if (dnas_weights_n(w) != n)
        return dnas_err_set(err, "it has %zu tensors, and a model of this config has %zu",
                            dnas_weights_n(w), n);
    return 0;
}

static struct dnas_kmer_model *from_weights(struct dnas_weights *w, struct dnas_err *err)
{
    struct dnas_kmer_parts parts = {.n_blocks = 0};
    struct dnas_kmer_model *m = NULL;

    if (w && parse_config(&parts, w, err) == 0 && take_all(&parts, w, err) == 0)
        m = dnas_kmer_model_new(&parts, err);
    dnas_weights_close(w);
    return m;
}

struct dnas_kmer_model *dnas_kmer_model_open(const char *path, struct dnas_err *err)
{
    struct dnas_weights *w = dnas_weights_open(path, err);
    struct dnas_kmer_model *m = w ? from_weights(w, err) : NULL;

    if (w && !m)
        dnas_err_at(err, "%s: ", path);
    return m;
}

struct dnas_kmer_model *dnas_kmer_model_open_mem(const void *bytes, size_t n, struct dnas_err *err)
{
    return from_weights(dnas_weights_open_mem(bytes, n, err), err);
}

bool dnas_kmer_model_is(const char *path)
{
    struct dnas_weights *w = dnas_weights_open(path, NULL);
    bool is = w && find_name(dnas_weights_metadata(w, "architecture"), architectures) >= 0;

    dnas_weights_close(w);
    return is;
}

/* ---- writing ---- */

static struct dnas_tensor describe(const char *name, const float *data, size_t rows, size_t columns)
{
    struct dnas_tensor t = {.name = name, .dtype = DNAS_DTYPE_F32, .data = data};

    t.n_dims = columns ? 2 : 1;
    t.shape[0] = rows;
    t.shape[1] = columns;
    return t;
}

int dnas_kmer_model_write(const struct dnas_kmer_model *m, const char *path, const char *pg,
                          struct dnas_err *err)
{
    const struct dnas_kmer_parts *p = dnas_kmer_model_parts(m);
    size_t I = dnas_kmer_profile_dims(dnas_kmer_model_profile(m)), width = p->O, n = 0;
    struct dnas_tensor tensors[6 + 2 * DNAS_KMER_LAYERS_MAX];
    char *names[2 * DNAS_KMER_LAYERS_MAX], *config = kmer_model_config(p);
    struct dnas_metadata metadata[3] = {
        {"architecture", architectures[p->is_vae]}, {"config", config}, {"pg", pg}};
    int status;

    tensors[n++] = describe("map.mean", p->mean, I, 0);
    tensors[n++] = describe("map.weight", p->weight, p->O, I);
    if (p->length)
        tensors[n++] = describe("map.length", p->length, p->O, 0);
    for (int l = 0; l < p->n_layers; width = p->layers[l++].O) {
        names[2 * l] = dnas_xasprintf("layers.%d.weight", l);
        names[2 * l + 1] = dnas_xasprintf("layers.%d.bias", l);
        tensors[n++] = describe(names[2 * l], p->layers[l].weight, p->layers[l].O, width);
        tensors[n++] = describe(names[2 * l + 1], p->layers[l].bias, p->layers[l].O, 0);
    }
    if (p->between) {
        tensors[n++] = describe("plda.between", p->between, p->O, 0);
        tensors[n++] = describe("plda.noise", p->noise, p->O, 0);
        tensors[n++] = describe("plda.noise_kb", p->noise_kb, p->O, 0);
    }
    status = dnas_safetensors_write(path, tensors, n, metadata, pg ? 3 : 2, err);
    for (int i = 0; i < 2 * p->n_layers; i++)
        free(names[i]);
    free(config);
    return status;
}
