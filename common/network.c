/* SPDX-License-Identifier: MIT
 *
 * network.c - a model's files, and which backbone they are.  Contract: network.h.
 */
#include "common/network.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "common/backbone.h"
#include "common/io.h"
#include "common/xmem.h"
#include "kernels/kernels.h"

#define MAX_CONFIG ((size_t)1 << 20)

/* ---- members of a config ---- */

int dnas_config_size(size_t *out, const json_t *config, const char *key, size_t max,
                     struct dnas_err *err)
{
    const json_t *v = json_object_get(config, key);

    if (!json_is_integer(v) || json_integer_value(v) < 1 || (uint64_t)json_integer_value(v) > max)
        return dnas_err_set(err, "the config has no '%s' from 1 to %zu", key, max);
    *out = (size_t)json_integer_value(v);
    return 0;
}

int dnas_config_only(const json_t *config, const char *key, const char *value, struct dnas_err *err)
{
    const json_t *v = json_object_get(config, key);

    if (v && (!json_is_string(v) || strcmp(json_string_value(v), value) != 0))
        return dnas_err_set(err, "the config asks for another network: its '%s' is not \"%s\"", key,
                            value);
    return 0;
}

int dnas_config_eps(float *out, const json_t *config, const char *key, float otherwise,
                    struct dnas_err *err)
{
    const json_t *eps = json_object_get(config, key);

    *out = eps ? (float)json_number_value(eps) : otherwise;
    if (!(*out > 0 && *out < 1))
        return dnas_err_set(err, "the config's '%s' is not between 0 and 1", key);
    return 0;
}

/* ---- tensors ---- */

/* The tensors that the network uses, taken one by one and ticked off. */
struct taking {
    struct dnas_weights *w;
    char *prefix;
    const char **names; /* without the prefix */
    size_t n, cap;
};

static int take(struct taking *t, const struct dnas_layout_tensor *want, struct dnas_err *err)
{
    char *name = dnas_xstrdup(want->name);
    const struct dnas_tensor *x = dnas_weights_find(t->w, t->prefix, name);

    t->names = dnas_xgrow(t->names, &t->cap, t->n + 1, sizeof(*t->names));
    t->names[t->n++] = name;
    if (!x)
        return dnas_err_set(err, "the tensor '%s%s' is missing", t->prefix, name);
    if (x->n_dims != want->n_dims ||
        memcmp(x->shape, want->shape, (size_t)want->n_dims * sizeof(*want->shape)) != 0)
        return dnas_err_set(err, "the tensor '%s' does not have the shape that the config gives it",
                            x->name);
    if (dnas_tensor_check_finite(t->w, x, err) != 0)
        return -1;
    *want->field = dnas_tensor_f32(t->w, x, err);
    return *want->field ? 0 : -1;
}

static bool was_taken(const struct taking *t, const char *name)
{
    size_t n = strlen(t->prefix);

    if (strncmp(name, t->prefix, n) != 0)
        return false;
    for (size_t i = 0; i < t->n; i++)
        if (strcmp(t->names[i], name + n) == 0)
            return true;
    return false;
}

/* A tensor that nobody takes is an error, but for the heads of other tasks. */
static int refuse_surplus(const struct taking *t, const char *const *surplus, struct dnas_err *err)
{
    for (size_t i = 0; i < dnas_weights_n(t->w); i++) {
        const char *name = dnas_weights_tensor(t->w, i)->name;
        bool known = was_taken(t, name);

        for (size_t k = 0; surplus[k]; k++)
            known |= strstr(name, surplus[k]) != NULL;
        if (!known)
            return dnas_err_set(err, "the tensor '%s' is not one of this network's", name);
    }
    return 0;
}

static int take_all(struct dnas_network *network, struct dnas_err *err)
{
    const struct dnas_backbone *b = network->backbone;
    struct taking t = {.w = network->weights};
    size_t n = b->n_tensors(network), i = 0;
    int status = -1;

    t.prefix = dnas_weights_prefix(t.w, b->first_tensor, err);
    if (!t.prefix)
        return -1;
    for (; i < n; i++) {
        struct dnas_layout_tensor want;

        b->tensor(&want, network, i);
        if (take(&t, &want, err) != 0)
            break;
    }
    if (i == n && refuse_surplus(&t, b->surplus, err) == 0 &&
        (!b->check || b->check(network, t.prefix, err) == 0))
        status = dnas_weights_hash(t.w, network->hash, t.prefix, t.names, t.n, err);
    for (i = 0; i < t.n; i++)
        free((char *)t.names[i]);
    free(t.names);
    free(t.prefix);
    return status;
}

/* One tensor of the head; NULL with a sentence. */
static const float *take_of_head(struct dnas_network *n, const char *name, size_t rows,
                                 size_t columns, struct dnas_err *err)
{
    const struct dnas_tensor *x = dnas_weights_find(n->weights, "", name);

    if (!x)
        dnas_err_set(err, "the tensor '%s' is missing: the model has no head that gives logits",
                     name);
    else if (x->n_dims != (columns ? 2 : 1) || x->shape[0] != rows ||
             (columns && x->shape[1] != columns))
        dnas_err_set(err, "the tensor '%s' does not have the shape that the config gives it", name);
    else if (dnas_tensor_check_finite(n->weights, x, err) == 0)
        return dnas_tensor_f32(n->weights, x, err);
    return NULL;
}

/* The whole head, whose tensors have these names. */
static int take_head(struct dnas_network *n, struct dnas_network_head *h, const char *const *name,
                     struct dnas_err *err)
{
    size_t C = n->shape.C, V = n->shape.V;
    struct dnas_layout_tensor words;

    h->dense_w = take_of_head(n, name[0], C, C, err);
    h->dense_b = h->dense_w ? take_of_head(n, name[1], C, 0, err) : NULL;
    h->norm_w = h->dense_b ? take_of_head(n, name[2], C, 0, err) : NULL;
    h->norm_b = h->norm_w ? take_of_head(n, name[3], C, 0, err) : NULL;
    h->bias = h->norm_b ? take_of_head(n, name[5], V, 0, err) : NULL;
    if (h->bias && dnas_weights_find(n->weights, "", name[4])) {
        h->decoder_w = take_of_head(n, name[4], V, C, err);
    } else if (h->bias) {
        n->backbone->tensor(&words, n, 0);
        h->decoder_w = *words.field;
    }
    return h->bias && h->decoder_w ? 0 : -1;
}

int dnas_network_set_output(struct dnas_network *n, enum dnas_output output, struct dnas_err *err)
{
    n->output = output;
    if (output == DNAS_OUTPUT_HIDDEN)
        return 0;
    if (!n->backbone->head)
        return dnas_err_set(err, "networks of the kind '%s' give no logits", n->backbone->name);
    return take_head(n, &n->head, n->backbone->head, err);
}

int dnas_network_mlm_head(struct dnas_network *n, struct dnas_network_head *head,
                          struct dnas_err *err)
{
    const char *const *name = n->backbone->mlm_head;

    for (size_t i = 0; name && i < DNAS_HEAD_TENSORS; i++)
        if (i != 4 && !dnas_weights_find(n->weights, "", name[i])) /* all but the decoder */
            return 0;
    if (!name)
        return 0;
    return take_head(n, head, name, err) == 0 ? 1 : -1;
}

size_t dnas_network_dims(const struct dnas_network *n)
{
    return n->output == DNAS_OUTPUT_LOGITS ? n->shape.V : n->shape.C;
}

void dnas_network_embedding(const struct dnas_network *n, double *out, const double *mean)
{
    size_t C = n->shape.C;

    if (n->output == DNAS_OUTPUT_HIDDEN) {
        memcpy(out, mean, C * sizeof(*out));
        return;
    }
    for (size_t v = 0; v < n->shape.V; v++) {
        const float *row = n->head.decoder_w + v * C;

        out[v] = (double)n->head.bias[v];
        for (size_t i = 0; i < C; i++)
            out[v] += (double)row[i] * mean[i];
    }
}

/* ---- opening ---- */

/* config.json of a folder, or the metadata's "config". */
static json_t *read_config(struct dnas_weights *weights, const char *path, bool is_folder,
                           struct dnas_err *err)
{
    char *file = dnas_xasprintf("%s/config.json", path);
    const char *inside = dnas_weights_metadata(weights, "config");
    json_error_t why;
    json_t *config = NULL;
    char *text = NULL;
    size_t n;

    if (is_folder) {
        text = dnas_read_file(file, MAX_CONFIG, &n, err);
        if (text && !(config = json_loadb(text, n, JSON_REJECT_DUPLICATES, &why)))
            dnas_err_set(err, "%s: is not JSON: %s", file, why.text);
    } else if (!inside) {
        dnas_err_set(err, "%s: its metadata have no 'config': name the folder with config.json",
                     path);
    } else if (!(config = json_loads(inside, JSON_REJECT_DUPLICATES, &why))) {
        dnas_err_set(err, "%s: its 'config' is not JSON: %s", path, why.text);
    }
    free(text);
    free(file);
    return config;
}

static int read_tokenizer(struct dnas_network *n, const char *path, bool is_folder,
                          struct dnas_err *err)
{
    const char *inside = is_folder ? NULL : dnas_weights_metadata(n->weights, "tokenizer");

    if (is_folder && dnas_tokenizer_open_folder(&n->tokenizer, path, err) != 0)
        return -1;
    if (inside && !(n->tokenizer = dnas_tokenizer_read(inside, strlen(inside), err)))
        return dnas_err_at(err, "%s: ", path);
    if (n->tokenizer && dnas_tokenizer_size(n->tokenizer) > n->shape.V)
        return dnas_err_set(err, "%s: its tokenizer has %zu tokens, its network %zu", path,
                            dnas_tokenizer_size(n->tokenizer), n->shape.V);
    return 0;
}

/* The backbone that a config names; without a name the one that knows it, or the first. */
static const struct dnas_backbone *choose(const json_t *config, struct dnas_err *err)
{
    const json_t *type = json_object_get(config, "model_type");
    char known[256] = "";
    size_t at = 0;

    if (!json_is_object(config)) {
        dnas_err_set(err, "the config is not a JSON object");
        return NULL;
    }
    for (size_t i = 0; dnas_backbones[i]; i++) {
        const struct dnas_backbone *b = dnas_backbones[i];

        if (type ? json_is_string(type) && strcmp(json_string_value(type), b->model_type) == 0
                 : b->is_mine && b->is_mine(config))
            return b;
    }
    if (!type)
        return dnas_backbones[0];
    for (size_t i = 0; dnas_backbones[i] && at < sizeof(known); i++)
        at += (size_t)snprintf(known + at, sizeof(known) - at, "%s%s", i > 0 ? ", " : "",
                               dnas_backbones[i]->model_type);
    dnas_err_set(err, "the config asks for another network: its 'model_type' is none of %s", known);
    return NULL;
}

bool dnas_has_bf16(void)
{
    return dnas_cpu_has_bf16() != 0;
}

int dnas_check_bf16(struct dnas_err *err)
{
    uint16_t one[2] = {0x3f80, 0x3f80};
    float out;

    if (dnas_cpu_matmul_bf16(&out, one, one, 1, 1, 2, 0, 1, 0) == 0)
        return 0;
    return dnas_err_set(err, "this processor has no products of bf16: use --precision f32");
}

/* A network with its weights; w becomes its, or is closed. */
static struct dnas_network *fill(struct dnas_weights *w, const json_t *config,
                                 enum dnas_precision precision, struct dnas_err *err)
{
    const struct dnas_backbone *b = choose(config, err);
    struct dnas_network *n = b ? b->parse(config, err) : NULL;

    if (!n) {
        dnas_weights_close(w);
        return NULL;
    }
    n->backbone = b;
    n->weights = w;
    n->precision = precision;
    if (take_all(n, err) == 0)
        return n;
    dnas_network_close(n);
    return NULL;
}

struct dnas_network *dnas_network_open(const char *path, enum dnas_precision precision,
                                       struct dnas_err *err)
{
    struct dnas_network *n = NULL;
    struct dnas_weights *weights = NULL;
    struct dnas_err why = {""};
    json_t *config = NULL;
    struct stat st;
    bool is_folder = stat(path, &st) == 0 && S_ISDIR(st.st_mode);

    if (precision == DNAS_PRECISION_F32 || dnas_check_bf16(err) == 0)
        weights = dnas_weights_open(path, err);
    if (weights)
        config = read_config(weights, path, is_folder, err);
    if (!config) {
        dnas_weights_close(weights);
        return NULL;
    }
    n = fill(weights, config, precision, &why);
    json_decref(config);
    if (!n) {
        dnas_err_set(err, "%s: %s", path, why.msg);
        return NULL;
    }
    if (read_tokenizer(n, path, is_folder, err) != 0) {
        dnas_network_close(n);
        return NULL;
    }
    n->backbone->prepare(n);
    return n;
}

void dnas_network_close(struct dnas_network *n)
{
    if (!n)
        return;
    n->backbone->release(n);
    dnas_weights_close(n->weights);
    dnas_tokenizer_free(n->tokenizer);
    free(n);
}

/* ---- running ---- */

struct dnas_network_run *dnas_network_run_new(const struct dnas_network *n)
{
    struct dnas_network_run *run = n->backbone->run_new(n);

    run->network = n;
    return run;
}

void dnas_network_run_free(struct dnas_network_run *run)
{
    if (!run)
        return;
    free(run->bent);
    run->network->backbone->run_free(run);
}

/* What the head has before its decoder: norm(gelu(dense x + b)). */
static const float *bend(struct dnas_network_run *run, const float *x, size_t T)
{
    const struct dnas_network_head *h = &run->network->head;
    const struct dnas_shape *s = &run->network->shape;

    if (T > run->n_bent) {
        free(run->bent);
        run->bent = dnas_xalloc64(T * s->C, sizeof(*run->bent));
        run->n_bent = T;
    }
    dnas_cpu_linear_fwd(run->bent, x, h->dense_w, h->dense_b, NULL, T, s->C, s->C);
    dnas_cpu_gelu_fwd(run->bent, run->bent, T * s->C);
    dnas_cpu_layernorm_fwd(run->bent, NULL, NULL, run->bent, NULL, h->norm_w, h->norm_b, T, s->C,
                           s->eps);
    return run->bent;
}

const float *dnas_network_forward(struct dnas_network_run *run, const uint16_t *ids, size_t T,
                                  int skip)
{
    const struct dnas_network *n = run->network;
    const float *x = n->backbone->forward(n, run, ids, T, skip);

    return n->output == DNAS_OUTPUT_LOGITS ? bend(run, x, T) : x;
}

int dnas_network_check_ids(const struct dnas_network *n, const uint16_t *ids, size_t T,
                           struct dnas_err *err)
{
    if (n->shape.positions > 0 && T > n->shape.positions)
        return dnas_err_set(err,
                            "has %zu tokens, and the model takes %zu at most: try windows or fewer "
                            "tokens (--window, --max-tokens)",
                            T, n->shape.positions);
    for (size_t t = 0; t < T; t++)
        if (ids[t] >= n->shape.V)
            return dnas_err_set(err,
                                "token %zu is number %u of a vocabulary of %zu: another "
                                "tokenizer made it",
                                t + 1, ids[t], n->shape.V);
    return 0;
}
