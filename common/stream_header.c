/* SPDX-License-Identifier: MIT
 *
 * stream_header.c - a stream's header as JSON.  Contract: stream.h.
 */
#include <stdlib.h>
#include <string.h>

#include "common/stream.h"
#include "common/xmem.h"

void dnas_header_init(struct dnas_header *h, enum dnas_kind kind)
{
    *h = (struct dnas_header){.kind = kind};
}

void dnas_header_copy(struct dnas_header *to, const struct dnas_header *from)
{
    *to = *from;
    to->columns = dnas_xalloc((size_t)from->n_columns, sizeof(*to->columns));
    for (int i = 0; i < from->n_columns; i++) {
        to->columns[i] = from->columns[i];
        to->columns[i].name = dnas_xstrdup(from->columns[i].name);
    }
    to->embedding = json_deep_copy(from->embedding);
    to->tokens = json_deep_copy(from->tokens);
    to->pg = json_deep_copy(from->pg);
}

void dnas_header_release(struct dnas_header *h)
{
    for (int i = 0; i < h->n_columns; i++)
        free(h->columns[i].name);
    free(h->columns);
    json_decref(h->embedding);
    json_decref(h->tokens);
    json_decref(h->pg);
    *h = (struct dnas_header){.kind = h->kind};
}

int dnas_header_add_column(struct dnas_header *h, const char *name, enum dnas_type type,
                           bool ragged, uint32_t dim)
{
    struct dnas_column *c;

    h->columns = dnas_xrealloc(h->columns, (size_t)h->n_columns + 1, sizeof(*h->columns));
    c = &h->columns[h->n_columns];
    *c = (struct dnas_column){.name = dnas_xstrdup(name), .type = type};
    c->ragged = ragged || type == DNAS_UTF8;
    c->is_vector = !c->ragged && dim > 0;
    c->dim = c->is_vector ? dim : 1;
    return h->n_columns++;
}

int dnas_header_find(const struct dnas_header *h, const char *name)
{
    for (int i = 0; i < h->n_columns; i++)
        if (strcmp(h->columns[i].name, name) == 0)
            return i;
    return -1;
}

static json_t *shape_json(const struct dnas_column *c)
{
    if (c->type == DNAS_UTF8)
        return json_array();
    if (c->ragged)
        return json_pack("[n]");
    return c->is_vector ? json_pack("[I]", (json_int_t)c->dim) : json_array();
}

char *dnas_header_json(const struct dnas_header *h, size_t json_flags)
{
    json_t *columns = json_array();
    json_t *root = json_pack("{s:s, s:o}", "kind", dnas_kind_name(h->kind), "columns", columns);
    char *text;

    for (int i = 0; i < h->n_columns; i++)
        json_array_append_new(columns, json_pack("{s:s, s:s, s:o}", "name", h->columns[i].name,
                                                 "type", dnas_type_name(h->columns[i].type),
                                                 "shape", shape_json(&h->columns[i])));
    if (h->embedding)
        json_object_set(root, "embedding", h->embedding);
    if (h->tokens)
        json_object_set(root, "tokens", h->tokens);
    if (h->n_shards)
        json_object_set_new(root, "shard",
                            json_pack("[I, I]", (json_int_t)h->shard, (json_int_t)h->n_shards));
    if (h->pg)
        json_object_set(root, "pg", h->pg);
    text = json_dumps(root, json_flags);
    json_decref(root);
    if (!text)
        DNAS_BUG("a header that is not JSON");
    return text;
}

static int parse_shape(struct dnas_header *h, const char *name, int type, const json_t *shape,
                       struct dnas_err *err)
{
    json_t *d = json_array_get(shape, 0);

    if (!json_is_array(shape) || json_array_size(shape) > 1)
        return dnas_err_set(err, "column '%s' has no shape of 0 or 1 dimensions", name);
    if (json_array_size(shape) == 0) {
        dnas_header_add_column(h, name, (enum dnas_type)type, false, 0);
        return 0;
    }
    if (type == DNAS_UTF8)
        return dnas_err_set(err, "column '%s' is utf8 and has a shape", name);
    if (json_is_null(d)) {
        dnas_header_add_column(h, name, (enum dnas_type)type, true, 0);
        return 0;
    }
    if (!json_is_integer(d) || json_integer_value(d) < 1 ||
        json_integer_value(d) > DNAS_STREAM_MAX_DIM)
        return dnas_err_set(err, "column '%s' has a size that is not 1 to %u", name,
                            DNAS_STREAM_MAX_DIM);
    dnas_header_add_column(h, name, (enum dnas_type)type, false, (uint32_t)json_integer_value(d));
    return 0;
}

static int parse_columns(struct dnas_header *h, const json_t *columns, struct dnas_err *err)
{
    size_t i;
    json_t *c;

    if (!json_is_array(columns) || json_array_size(columns) == 0 ||
        json_array_size(columns) > DNAS_STREAM_MAX_COLUMNS)
        return dnas_err_set(err, "the header has no list of 1 to %d columns",
                            DNAS_STREAM_MAX_COLUMNS);
    json_array_foreach(columns, i, c)
    {
        const char *name = json_string_value(json_object_get(c, "name"));
        const char *type = json_string_value(json_object_get(c, "type"));

        if (!name || !*name || !dnas_is_plain_text(name, strlen(name)) || !type)
            return dnas_err_set(err, "column %zu of the header has no name or type", i + 1);
        if (dnas_header_find(h, name) >= 0)
            return dnas_err_set(err, "the header has two columns '%s'", name);
        if (dnas_type_from_name(type) < 0)
            return dnas_err_set(err, "column '%s' has the unknown type '%s'", name, type);
        if (parse_shape(h, name, dnas_type_from_name(type), json_object_get(c, "shape"), err) != 0)
            return -1;
    }
    i = (size_t)dnas_header_find(h, "id");
    if ((int)i < 0 || h->columns[i].type != DNAS_UTF8)
        return dnas_err_set(err, "the header has no column 'id' of type utf8");
    return 0;
}

static int parse_shard(struct dnas_header *h, const json_t *shard, struct dnas_err *err)
{
    json_int_t i = json_integer_value(json_array_get(shard, 0));
    json_int_t n = json_integer_value(json_array_get(shard, 1));

    if (!shard)
        return 0;
    if (i < 1 || n < i || n > INT32_MAX)
        return dnas_err_set(err, "the header's shard is not [i, n] with 1 <= i <= n");
    h->shard = (uint32_t)i;
    h->n_shards = (uint32_t)n;
    return 0;
}

static int parse_object(json_t **out, const json_t *root, const char *name, bool is_array,
                        struct dnas_err *err)
{
    json_t *o = json_object_get(root, name);

    if (o && !(is_array ? json_is_array(o) : json_is_object(o)))
        return dnas_err_set(err, "the header's '%s' is not an %s", name,
                            is_array ? "array" : "object");
    *out = json_incref(o);
    return 0;
}

int dnas_header_parse(struct dnas_header *h, const char *json, size_t n, struct dnas_err *err)
{
    json_error_t why;
    json_t *root = json_loadb(json, n, JSON_REJECT_DUPLICATES, &why);
    const char *kind = json_string_value(json_object_get(root, "kind"));
    int status = -1;

    dnas_header_init(h, DNAS_PAIRS);
    if (!json_is_object(root))
        dnas_err_set(err, "the header is not JSON: %s", root ? "no object" : why.text);
    else if (!kind || dnas_kind_from_name(kind) < 0)
        dnas_err_set(err, "the header has the unknown kind '%s'", kind ? kind : "");
    else if (parse_columns(h, json_object_get(root, "columns"), err) == 0 &&
             parse_shard(h, json_object_get(root, "shard"), err) == 0 &&
             parse_object(&h->embedding, root, "embedding", false, err) == 0 &&
             parse_object(&h->tokens, root, "tokens", false, err) == 0 &&
             parse_object(&h->pg, root, "pg", true, err) == 0) {
        h->kind = (enum dnas_kind)dnas_kind_from_name(kind);
        status = 0;
    }
    if (status != 0)
        dnas_header_release(h);
    json_decref(root);
    return status;
}

bool dnas_header_same_object(const json_t *a, const json_t *b)
{
    json_t *x = json_copy((json_t *)a), *y = json_copy((json_t *)b);
    static const char *const not_compared[] = {"precision", "device"};
    bool same;

    for (size_t i = 0; i < sizeof(not_compared) / sizeof(not_compared[0]); i++) {
        json_object_del(x, not_compared[i]);
        json_object_del(y, not_compared[i]);
    }
    same = (!x && !y) || json_equal(x, y);
    json_decref(x);
    json_decref(y);
    return same;
}
