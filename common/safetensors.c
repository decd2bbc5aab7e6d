/* SPDX-License-Identifier: MIT
 *
 * safetensors.c - .safetensors files in and out.  Contract: weights.h.
 *
 *   u64 n · header, n bytes of JSON, may end in spaces · data
 *   {"__metadata__": {"key": "value", ...},
 *    "name": {"dtype": "F32", "shape": [2, 3], "data_offsets": [begin, end]}, ...}
 *
 * Offsets count from the data; the tensors cover it without gap or overlap.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "common/io.h"
#include "common/weights_impl.h"
#include "common/xmem.h"

#define METADATA "__metadata__"

/* A tensor on its way from the header; the name is the JSON's. */
struct item {
    struct dnas_tensor tensor;
    uint64_t begin, end;
    size_t number; /* in the header */
};

/* ---- reading ---- */

static int read_dtype(struct item *item, const json_t *dtype, struct dnas_err *err)
{
    const char *text = json_string_value(dtype);

    if (!text)
        return dnas_err_set(err, "has no \"dtype\"");
    for (int d = DNAS_DTYPE_BOOL; d <= DNAS_DTYPE_F64; d++)
        if (strcmp(text, dnas_dtype_name((enum dnas_dtype)d)) == 0) {
            item->tensor.dtype = (enum dnas_dtype)d;
            return 0;
        }
    return dnas_err_set(err, "is of dtype '%.20s', which is not known", text);
}

static int read_shape(struct item *item, const json_t *shape, struct dnas_err *err)
{
    struct dnas_tensor *t = &item->tensor;

    if (!json_is_array(shape))
        return dnas_err_set(err, "has no \"shape\"");
    if (json_array_size(shape) > DNAS_TENSOR_DIMS_MAX)
        return dnas_err_set(err, "has %zu dimensions; %d at most can be read",
                            json_array_size(shape), DNAS_TENSOR_DIMS_MAX);
    t->n_dims = (int)json_array_size(shape);
    for (int d = 0; d < t->n_dims; d++) {
        const json_t *dim = json_array_get(shape, (size_t)d);

        if (!json_is_integer(dim) || json_integer_value(dim) < 0)
            return dnas_err_set(err, "has a dimension that is no natural number");
        t->shape[d] = (size_t)json_integer_value(dim);
    }
    if (!weights_set_size(t))
        return dnas_err_set(err, "claims more elements than this machine can address");
    return 0;
}

static int read_offsets(struct item *item, const json_t *offsets, struct dnas_err *err)
{
    const json_t *begin = json_array_get(offsets, 0), *end = json_array_get(offsets, 1);

    if (json_array_size(offsets) != 2 || !json_is_integer(begin) || !json_is_integer(end) ||
        json_integer_value(begin) < 0 || json_integer_value(end) < json_integer_value(begin))
        return dnas_err_set(err, "has no \"data_offsets\" of a begin and an end");
    item->begin = (uint64_t)json_integer_value(begin);
    item->end = (uint64_t)json_integer_value(end);
    if (item->end - item->begin != item->tensor.size_bytes)
        return dnas_err_set(err, "takes %zu bytes by its shape but %" PRIu64 " by its offsets",
                            item->tensor.size_bytes, item->end - item->begin);
    return 0;
}

static int read_item(struct item *item, const char *name, const json_t *value, struct dnas_err *err)
{
    int status = -1;

    item->tensor.name = name;
    if (*name == '\0')
        return dnas_err_set(err, "a tensor has no name");
    if (json_object_size(value) != 3)
        dnas_err_set(err, "is not described by \"dtype\", \"shape\" and \"data_offsets\" alone");
    else if (read_dtype(item, json_object_get(value, "dtype"), err) == 0 &&
             read_shape(item, json_object_get(value, "shape"), err) == 0 &&
             read_offsets(item, json_object_get(value, "data_offsets"), err) == 0)
        status = 0;
    return status == 0 ? 0 : dnas_err_at(err, "tensor '%.200s' ", name);
}

static int read_metadata(struct dnas_weights *w, json_t *metadata, struct dnas_err *err)
{
    const char *key;
    json_t *value;

    if (!json_is_object(metadata))
        return dnas_err_set(err, "its \"" METADATA "\" is no object of strings");
    json_object_foreach(metadata, key, value)
    {
        if (!json_is_string(value))
            return dnas_err_set(err, "its \"" METADATA "\" has no string for '%.200s'", key);
        weights_add_metadata(w, key, json_string_value(value));
    }
    return 0;
}

/* An empty tensor before the one that begins at the same byte. */
static int compare_items(const void *a, const void *b)
{
    const struct item *x = a, *y = b;

    if (x->begin != y->begin)
        return x->begin < y->begin ? -1 : 1;
    if (x->end != y->end)
        return x->end < y->end ? -1 : 1;
    return x->number < y->number ? -1 : 1;
}

static int add_items(struct dnas_weights *w, struct item *items, size_t n,
                     const unsigned char *data, size_t size_bytes, struct dnas_err *err)
{
    uint64_t at = 0;

    qsort(items, n, sizeof(*items), compare_items);
    for (size_t i = 0; i < n; i++) {
        const char *name = items[i].tensor.name;

        if (items[i].begin != at)
            return dnas_err_set(err,
                                "tensor '%.200s' begins at byte %" PRIu64 " of the data "
                                "where %" PRIu64 " is expected",
                                name, items[i].begin, at);
        if (items[i].end > size_bytes)
            return dnas_err_set(err,
                                "tensor '%.200s' ends at byte %" PRIu64 " of the data, but "
                                "there are %zu: the file is truncated",
                                name, items[i].end, size_bytes);
        items[i].tensor.data = data + at;
        weights_add(w, name, strlen(name), &items[i].tensor, NULL);
        at = items[i].end;
    }
    if (at != size_bytes)
        return dnas_err_set(err, "%zu bytes follow the last tensor", size_bytes - (size_t)at);
    return 0;
}

static int read_header(struct dnas_weights *w, json_t *header, const unsigned char *data,
                       size_t size_bytes, struct dnas_err *err)
{
    struct item *items = dnas_xzalloc(json_object_size(header), sizeof(*items));
    size_t n = 0;
    const char *name;
    json_t *value;
    int status = 0;

    json_object_foreach(header, name, value)
    {
        if (strcmp(name, METADATA) == 0) {
            status = read_metadata(w, value, err);
        } else {
            items[n].number = n;
            status = read_item(&items[n++], name, value, err);
        }
        if (status != 0)
            break;
    }
    if (status == 0)
        status = add_items(w, items, n, data, size_bytes, err);
    free(items);
    return status;
}

int weights_read_safetensors(struct dnas_weights *w, const unsigned char *bytes, size_t n,
                             struct dnas_err *err)
{
    json_error_t why;
    json_t *header;
    uint64_t size;
    int status;

    if (n <= 8 || bytes[8] != '{')
        return dnas_err_set(err, "is neither a safetensors file nor one of torch.save");
    size = weights_get(bytes, 8);
    if (size > WEIGHTS_HEADER_MAX_BYTES)
        return dnas_err_set(err, "claims a header of %" PRIu64 " bytes; %d at most are allowed",
                            size, WEIGHTS_HEADER_MAX_BYTES);
    if (size > n - 8)
        return dnas_err_set(err,
                            "claims a header of %" PRIu64 " bytes, but %zu follow: the file "
                            "is truncated",
                            size, n - 8);
    header = json_loadb((const char *)bytes + 8, (size_t)size, JSON_REJECT_DUPLICATES, &why);
    if (!header)
        return dnas_err_set(err, "its header is damaged at byte %d: %s", why.position, why.text);
    status = read_header(w, header, bytes + 8 + size, n - 8 - (size_t)size, err);
    json_decref(header);
    return status;
}

/* ---- writing ---- */

/* Takes value.  jansson refuses texts that are not UTF-8. */
static int set(json_t *object, const char *key, json_t *value, struct dnas_err *err)
{
    if (json_object_get(object, key)) {
        json_decref(value);
        DNAS_BUG("'%s' twice", key);
    }
    if (!value || json_object_set_new(object, key, value) != 0)
        return dnas_err_set(err, "'%.200s' or its text is not UTF-8", key);
    return 0;
}

static json_t *describe(struct dnas_tensor *t, uint64_t at)
{
    json_t *shape = json_array();

    if (!weights_set_size(t))
        DNAS_BUG("tensor '%s' is larger than memory", t->name);
    for (int d = 0; d < t->n_dims; d++)
        json_array_append_new(shape, json_integer((json_int_t)t->shape[d]));
    return json_pack("{s:s, s:o, s:[I, I]}", "dtype", dnas_dtype_name(t->dtype), "shape", shape,
                     "data_offsets", (json_int_t)at, (json_int_t)(at + t->size_bytes));
}

/* The header without its length, padded with spaces so that the data begin at
 * a multiple of 8.  Free with free(). */
static char *make_header(const struct dnas_tensor *tensors, size_t n,
                         const struct dnas_metadata *metadata, size_t n_metadata,
                         struct dnas_err *err)
{
    json_t *header = json_object(), *texts = json_object();
    char *text = NULL, *padded = NULL;
    size_t size;
    uint64_t at = 0;
    int status = 0;

    for (size_t i = 0; i < n_metadata && status == 0; i++)
        status = set(texts, metadata[i].key, json_string(metadata[i].value), err);
    json_object_set(header, METADATA, texts);
    for (size_t i = 0; i < n && status == 0; i++) {
        struct dnas_tensor t = tensors[i];

        status = set(header, t.name, describe(&t, at), err);
        at += t.size_bytes;
    }
    if (n_metadata == 0)
        json_object_del(header, METADATA);
    if (status == 0) {
        text = json_dumps(header, JSON_COMPACT);
        if (!text)
            DNAS_BUG("jansson cannot write a header");
        size = strlen(text);
        if (size > WEIGHTS_HEADER_MAX_BYTES - 7)
            dnas_err_set(err, "its header would have %zu bytes; %d at most are allowed", size,
                         WEIGHTS_HEADER_MAX_BYTES);
        else
            padded = dnas_xasprintf("%s%*s", text, (int)(7 - (size + 7) % 8), "");
    }
    free(text);
    json_decref(texts);
    json_decref(header);
    return padded;
}

static int write_all(struct dnas_out *out, const char *header, const struct dnas_tensor *tensors,
                     size_t n, struct dnas_err *err)
{
    uint64_t size = strlen(header);

    if (dnas_out_write(out, &size, sizeof(size), err) != 0 ||
        dnas_out_write(out, header, (size_t)size, err) != 0)
        return -1;
    for (size_t i = 0; i < n; i++) {
        struct dnas_tensor t = tensors[i];

        weights_set_size(&t);
        if (dnas_out_write(out, t.data, t.size_bytes, err) != 0)
            return -1;
    }
    return 0;
}

int dnas_safetensors_write(const char *path, const struct dnas_tensor *tensors, size_t n,
                           const struct dnas_metadata *metadata, size_t n_metadata,
                           struct dnas_err *err)
{
    char *header = make_header(tensors, n, metadata, n_metadata, err);
    struct dnas_out *out = NULL;
    int status = -1;

    if (!header)
        return dnas_err_at(err, "%s: ", path);
    out = dnas_out_open(path, false, err);
    if (out)
        status = write_all(out, header, tensors, n, err);
    free(header);
    if (out && status == 0)
        return dnas_out_commit(out, err);
    dnas_out_abandon(out, false);
    return -1;
}
