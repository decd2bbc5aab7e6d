/* SPDX-License-Identifier: MIT
 *
 * classifier_file.c - classifiers as .safetensors files.  Contract: classifier.h.
 */
#include "common/classifier.h"

#include <stdlib.h>
#include <string.h>

#include "common/record.h"
#include "common/weights.h"
#include "common/xmem.h"

#define FORMAT "dnas-logreg"
#define VERSION "1"

/* A tensor's name, where it is kept, and its shape; 0 columns: one dimension. */
struct part {
    const char *name;
    float **data;
    size_t rows, columns;
};
#define MAX_PARTS 6

/* The tensors of a classifier; returns how many. */
static size_t parts_of(struct part part[MAX_PARTS], struct dnas_classifier *c)
{
    const struct part all[MAX_PARTS] = {
        {"mean", &c->mean, c->C, 0},
        {"scale", &c->scale, c->C, 0},
        {"weight", &c->weight, c->K, c->H > 0 ? c->H : c->C},
        {"bias", &c->bias, c->K, 0},
        {"hidden.weight", &c->hidden, c->H, c->C},
        {"hidden.bias", &c->hidden_bias, c->H, 0},
    };

    memcpy(part, all, sizeof(all));
    return c->H > 0 ? 6 : 4;
}

void dnas_classifier_about_release(struct dnas_classifier_about *about)
{
    dnas_idmap_release(&about->classes);
    json_decref(about->embedding);
    json_decref(about->pg);
    *about = (struct dnas_classifier_about){.embedding = NULL};
}

/* ---- writing ---- */

static char *classes_json(const struct dnas_idmap *classes)
{
    json_t *names = json_array();
    char *text;

    for (size_t k = 0; k < classes->n; k++)
        if (json_array_append_new(names, json_string(dnas_idmap_text(classes, k))) != 0)
            DNAS_BUG("the name of class %zu is not UTF-8", k);
    text = json_dumps(names, JSON_COMPACT);
    json_decref(names);
    if (!text)
        DNAS_BUG("jansson cannot write the names of %zu classes", classes->n);
    return text;
}

int dnas_classifier_save(const char *path, const struct dnas_classifier *c,
                         const struct dnas_classifier_about *about, struct dnas_err *err)
{
    struct dnas_classifier same = *c;
    struct part part[MAX_PARTS];
    struct dnas_tensor tensor[MAX_PARTS];
    struct dnas_metadata metadata[5] = {{"format", FORMAT}, {"version", VERSION}};
    size_t n = parts_of(part, &same), n_texts = 2;
    char *texts[3] = {classes_json(&about->classes),
                      about->embedding ? json_dumps(about->embedding, JSON_COMPACT) : NULL,
                      about->pg ? json_dumps(about->pg, JSON_COMPACT) : NULL};
    const char *const keys[3] = {"classes", "embedding", "pg"};
    int status;

    if (about->classes.n != c->K)
        DNAS_BUG("%zu names for %zu classes", about->classes.n, c->K);
    for (size_t i = 0; i < n; i++)
        tensor[i] = (struct dnas_tensor){.name = part[i].name,
                                         .dtype = DNAS_DTYPE_F32,
                                         .n_dims = part[i].columns > 0 ? 2 : 1,
                                         .shape = {part[i].rows, part[i].columns},
                                         .data = *part[i].data};
    for (int i = 0; i < 3; i++)
        if (texts[i])
            metadata[n_texts++] = (struct dnas_metadata){keys[i], texts[i]};
    status = dnas_safetensors_write(path, tensor, n, metadata, n_texts, err);
    for (int i = 0; i < 3; i++)
        free(texts[i]);
    return status;
}

/* ---- reading ---- */

/* A JSON text of the metadata; NULL and no error where it is absent. */
static int read_json(json_t **out, const struct dnas_weights *w, const char *key,
                     struct dnas_err *err)
{
    const char *text = dnas_weights_metadata(w, key);
    json_error_t why;

    *out = text ? json_loads(text, JSON_REJECT_DUPLICATES, &why) : NULL;
    return text && !*out ? dnas_err_set(err, "its \"%s\" is damaged: %s", key, why.text) : 0;
}

static int read_classes(struct dnas_idmap *classes, const struct dnas_weights *w,
                        struct dnas_err *err)
{
    json_t *names, *name;
    size_t k;
    int status = read_json(&names, w, "classes", err);

    if (status == 0 && (!json_is_array(names) || json_array_size(names) == 0))
        status = dnas_err_set(err, "its \"classes\" is no list of names");
    if (status == 0)
        json_array_foreach(names, k, name)
        {
            const char *text = json_string_value(name);

            if (!text || !dnas_is_plain_text(text, strlen(text)) ||
                dnas_idmap_add(classes, text, strlen(text)) != k) {
                status =
                    dnas_err_set(err, "its \"classes\" has no name of its own for class %zu", k);
                break;
            }
        }
    json_decref(names);
    return status;
}

static int read_about(struct dnas_classifier_about *about, const struct dnas_weights *w,
                      struct dnas_err *err)
{
    const char *format = dnas_weights_metadata(w, "format");
    const char *version = dnas_weights_metadata(w, "version");

    if (!format || strcmp(format, FORMAT) != 0)
        return dnas_err_set(err, "is no model of dnas-logreg: make one with --fit");
    if (!version || strcmp(version, VERSION) != 0)
        return dnas_err_set(err, "has version '%.20s'; this program reads version " VERSION,
                            version ? version : "");
    if (read_classes(&about->classes, w, err) != 0 ||
        read_json(&about->embedding, w, "embedding", err) != 0)
        return -1;
    return read_json(&about->pg, w, "pg", err);
}

/* The tensor's rows, 0 if it is not there: what the sizes are taken from. */
static size_t rows_of(const struct dnas_weights *w, const char *name)
{
    const struct dnas_tensor *t = dnas_weights_find(w, "", name);

    return t && t->n_dims > 0 ? t->shape[0] : 0;
}

static int read_part(const struct part *part, struct dnas_weights *w, struct dnas_err *err)
{
    const struct dnas_tensor *t = dnas_weights_find(w, "", part->name);
    const float *from;
    size_t n_dims = part->columns > 0 ? 2 : 1;

    if (!t)
        return dnas_err_set(err, "has no tensor '%s'", part->name);
    if ((size_t)t->n_dims != n_dims || t->shape[0] != part->rows ||
        (n_dims == 2 && t->shape[1] != part->columns) || t->n_elements == 0)
        return dnas_err_set(err, "its tensor '%s' has not the shape that the others ask for",
                            part->name);
    from = dnas_tensor_f32(w, t, err);
    if (!from || dnas_tensor_check_finite(w, t, err) != 0)
        return -1;
    *part->data = dnas_xalloc(t->n_elements, sizeof(float));
    memcpy(*part->data, from, t->n_elements * sizeof(float));
    return 0;
}

static int read_parts(struct dnas_classifier *c, size_t n_classes, struct dnas_weights *w,
                      struct dnas_err *err)
{
    struct part part[MAX_PARTS];
    size_t n;

    c->C = rows_of(w, "mean");
    c->H = rows_of(w, "hidden.bias");
    c->K = n_classes;
    n = parts_of(part, c);
    for (size_t i = 0; i < n; i++)
        if (read_part(&part[i], w, err) != 0)
            return -1;
    if (dnas_weights_n(w) != n)
        return dnas_err_set(err, "has %zu tensors, not %zu", dnas_weights_n(w), n);
    for (size_t i = 0; i < c->C; i++)
        if (!(c->scale[i] > 0))
            return dnas_err_set(err, "its tensor 'scale' is not above 0 for dimension %zu", i + 1);
    return 0;
}

int dnas_classifier_load(struct dnas_classifier *c, struct dnas_classifier_about *about,
                         const char *path, struct dnas_err *err)
{
    struct dnas_weights *w = dnas_weights_open(path, err);
    int status = -1;

    *c = (struct dnas_classifier){.C = 0};
    *about = (struct dnas_classifier_about){.embedding = NULL};
    if (!w)
        return -1;
    if (read_about(about, w, err) == 0 && read_parts(c, about->classes.n, w, err) == 0)
        status = 0;
    dnas_weights_close(w);
    return status == 0 ? 0 : dnas_err_at(err, "%s: ", path);
}
