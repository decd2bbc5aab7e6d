/* SPDX-License-Identifier: MIT
 *
 * net_save.c - a trained network as a file.  Contract: net_save.h.
 */
#include "common/net_save.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "common/backbone.h"
#include "common/io.h"
#include "common/xmem.h"

struct dnas_tensor *dnas_net_tensors(const struct dnas_net *net, const float *x, const char *prefix)
{
    struct dnas_tensor *out = dnas_xzalloc(net->n_tensors, sizeof(*out));

    for (size_t i = 0; i < net->n_tensors; i++) {
        const struct dnas_layout_tensor *t = &net->tensors[i].tensor;

        out[i].name = dnas_xasprintf("%s%s", prefix, t->name);
        out[i].dtype = DNAS_DTYPE_F32;
        out[i].n_dims = t->n_dims;
        memcpy(out[i].shape, t->shape, (size_t)t->n_dims * sizeof(*t->shape));
        out[i].n_elements = t->n;
        out[i].size_bytes = t->n * sizeof(float);
        out[i].data = x + net->tensors[i].at;
    }
    return out;
}

void dnas_net_tensors_free(struct dnas_tensor *tensors, size_t n)
{
    for (size_t i = 0; tensors && i < n; i++)
        free((char *)tensors[i].name);
    free(tensors);
}

static char *config_json(const struct dnas_net *net)
{
    json_t *config = net->backbone->config(net);
    char *text = config ? json_dumps(config, JSON_INDENT(2) | JSON_SORT_KEYS) : NULL;

    if (!text)
        DNAS_BUG("a config cannot be written");
    json_decref(config);
    return text;
}

/* The tensors of the model: with the head for masked tokens under a prefix, as
 * transformers has them, and the table of words once more as its decoder. */
static struct dnas_tensor *model_tensors(const struct dnas_net *net, size_t *n)
{
    struct dnas_tensor *all = dnas_net_tensors(net, net->w, "");
    struct dnas_tensor *out = dnas_xzalloc(net->n_tensors + 1, sizeof(*out));

    *n = 0;
    for (size_t i = 0; i < net->n_tensors; i++) {
        enum dnas_net_part part = net->tensors[i].part;
        const char *prefix =
            part == DNAS_NET_ENCODER && net->heads.mlm ? net->backbone->mlm_prefix : "";

        if (part == DNAS_NET_HEAD)
            continue;
        out[*n] = all[i];
        out[(*n)++].name = dnas_xasprintf("%s%s", prefix, all[i].name);
    }
    if (net->heads.mlm) {
        out[*n] = all[0];
        out[(*n)++].name = dnas_xstrdup(net->backbone->mlm_head[4]);
    }
    dnas_net_tensors_free(all, net->n_tensors);
    return out;
}

static int write_model(const char *path, const struct dnas_net *net,
                       const struct dnas_metadata *metadata, size_t n_metadata,
                       struct dnas_err *err)
{
    size_t n;
    struct dnas_tensor *tensors = model_tensors(net, &n);
    int status = dnas_safetensors_write(path, tensors, n, metadata, n_metadata, err);

    dnas_net_tensors_free(tensors, n);
    return status;
}

int dnas_net_save(const char *path, const struct dnas_net *net, const struct dnas_net_about *about,
                  struct dnas_err *err)
{
    char *config = config_json(net);
    struct dnas_metadata metadata[4] = {{"architecture", net->backbone->name}, {"config", config}};
    size_t n = 2;
    int status;

    if (about->tokenizer)
        metadata[n++] = (struct dnas_metadata){"tokenizer", dnas_tokenizer_text(about->tokenizer)};
    if (about->pg_json)
        metadata[n++] = (struct dnas_metadata){"pg", about->pg_json};
    status = write_model(path, net, metadata, n, err);
    free(config);
    return status;
}

static int write_text(const char *folder, const char *name, const char *text, struct dnas_err *err)
{
    char *path = dnas_xasprintf("%s/%s", folder, name);
    int status = dnas_write_file(path, text, strlen(text), err);

    free(path);
    return status;
}

int dnas_net_save_hf(const char *folder, const struct dnas_net *net,
                     const struct dnas_net_about *about, struct dnas_err *err)
{
    const struct dnas_metadata format = {"format", "pt"};
    char *config = config_json(net), *path = dnas_xasprintf("%s/model.safetensors", folder);
    int status = -1;

    if (mkdir(folder, 0777) != 0 && errno != EEXIST)
        dnas_err_set(err, "%s: cannot be made: %s", folder, strerror(errno));
    else if (write_model(path, net, &format, 1, err) == 0 &&
             write_text(folder, "config.json", config, err) == 0 &&
             (!about->tokenizer || write_text(folder, dnas_tokenizer_file_name(about->tokenizer),
                                              dnas_tokenizer_text(about->tokenizer), err) == 0))
        status = 0;
    free(config);
    free(path);
    return status;
}
