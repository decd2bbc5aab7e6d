/* SPDX-License-Identifier: MIT
 *
 * bpe_load.c - a tokenizer.json becomes a struct dnas_bpe.  Contract: bpe.h.
 *
 * What the file asks for is either done or refused: an option that is not
 * understood would silently give other ids than the library's.
 */
#include "common/bpe.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>
#include <xxhash.h>

#include "common/bpe_impl.h"
#include "common/xmem.h"

enum { FILE_MAX = 64 << 20 };

static const char *quoted(const json_t *value, char buf[128])
{
    char *s = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);

    snprintf(buf, 128, "%.100s", s ? s : "?");
    free(s);
    return buf;
}

/* A member that is absent, null, or, as the library has it, equal to doing
 * nothing: false, 0 or "". */
static bool is_off(const json_t *value)
{
    return !value || json_is_null(value) || json_is_false(value) ||
           (json_is_number(value) && json_number_value(value) == 0) ||
           (json_is_string(value) && json_string_length(value) == 0);
}

/* 0 when all members of the list, ended by NULL, are off. */
static int refuse_options(const json_t *object, const char *what, struct dnas_err *err, ...)
{
    const char *name, *bad = NULL;
    char buf[128];
    va_list ap;

    va_start(ap, err);
    while (!bad && (name = va_arg(ap, const char *)) != NULL)
        if (!is_off(json_object_get(object, name)))
            bad = name;
    va_end(ap);
    if (!bad)
        return 0;
    return dnas_err_set(err, "%s asks for \"%s\": %s, which dnas does not do", what, bad,
                        quoted(json_object_get(object, bad), buf));
}

static const char *type_of(const json_t *object)
{
    const char *type = json_string_value(json_object_get(object, "type"));

    return type ? type : "(no type)";
}

/* The texts in the order of ids, and the id of each ASCII character. */
static int load_vocab(struct dnas_bpe *bpe, json_t *vocab, struct dnas_err *err)
{
    const char *text;
    json_t *value;
    size_t bytes = 0;
    char *arena;

    if (!json_is_object(vocab) || json_object_size(vocab) == 0)
        return dnas_err_set(err, "the model has no vocabulary (\"vocab\")");
    json_object_foreach(vocab, text, value)
    {
        json_int_t id = json_integer_value(value);

        if (!json_is_integer(value) || id < 0 || id >= BPE_IDS_MAX)
            return dnas_err_set(err, "token '%.64s' has an id that is not in 0..65535", text);
        if (*text == '\0')
            return dnas_err_set(err, "token %d has an empty text", (int)id);
        if ((size_t)id >= bpe->n_ids)
            bpe->n_ids = (size_t)id + 1;
        bytes += strlen(text) + 1;
    }
    bpe->text = dnas_xzalloc(bpe->n_ids, sizeof(*bpe->text));
    bpe->arena = arena = dnas_xalloc(bytes, 1);
    memset(bpe->ascii, 0xff, sizeof(bpe->ascii));
    json_object_foreach(vocab, text, value)
    {
        size_t id = (size_t)json_integer_value(value), size = strlen(text) + 1;

        if (bpe->text[id])
            return dnas_err_set(err, "tokens '%.64s' and '%.64s' have the same id %zu",
                                bpe->text[id], text, id);
        bpe->text[id] = memcpy(arena, text, size);
        arena += size;
        if (size == 2 && (unsigned char)*text < 128)
            bpe->ascii[(unsigned char)*text] = (int32_t)id;
    }
    bpe->n_tokens = json_object_size(vocab);
    return 0;
}

struct text_id {
    const char *text;
    uint16_t id;
};

static int by_strcmp(const void *a, const void *b)
{
    return strcmp(((const struct text_id *)a)->text, ((const struct text_id *)b)->text);
}

static void sort_texts(struct dnas_bpe *bpe)
{
    struct text_id *t = dnas_xalloc(bpe->n_tokens, sizeof(*t));
    size_t n = 0;

    for (size_t id = 0; id < bpe->n_ids; id++)
        if (bpe->text[id])
            t[n++] = (struct text_id){bpe->text[id], (uint16_t)id};
    qsort(t, n, sizeof(*t), by_strcmp);
    bpe->by_text = dnas_xalloc(n, sizeof(*bpe->by_text));
    for (size_t i = 0; i < n; i++)
        bpe->by_text[i] = t[i].id;
    free(t);
}

/* Splits a merge, "A B" or ["A","B"], into two texts; free *left. */
static int split_merge(char **left, const char **right, const json_t *merge)
{
    char *space;

    *left = NULL;
    if (json_is_string(merge)) {
        *left = dnas_xstrdup(json_string_value(merge));
        space = strchr(*left, ' ');
        if (!space || strchr(space + 1, ' '))
            return -1;
        *space = '\0';
        *right = space + 1;
        return 0;
    }
    if (json_array_size(merge) != 2 || !json_is_string(json_array_get(merge, 0)) ||
        !json_is_string(json_array_get(merge, 1)))
        return -1;
    *left = dnas_xstrdup(json_string_value(json_array_get(merge, 0)));
    *right = json_string_value(json_array_get(merge, 1));
    return 0;
}

static bool all_word_letters(const char *s)
{
    return s[strspn(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_")] == '\0';
}

/* Enters merge r, left + right, into the list and the hash. */
static int add_merge(struct dnas_bpe *bpe, size_t r, const char *left, const char *right,
                     struct dnas_err *err)
{
    int a = dnas_bpe_id(bpe, left), b = dnas_bpe_id(bpe, right), c;
    char *both;
    uint32_t pair;
    size_t i;

    if (a < 0 || b < 0)
        return dnas_err_set(err, "merge %zu names '%.64s', which is not in the vocabulary", r,
                            a < 0 ? left : right);
    if (!all_word_letters(left) || !all_word_letters(right))
        return dnas_err_set(err,
                            "merge %zu joins '%.64s' and '%.64s'; dnas merges only ASCII letters, "
                            "digits and '_'",
                            r, left, right);
    both = dnas_xasprintf("%s%s", left, right);
    c = dnas_bpe_id(bpe, both);
    if (c < 0)
        dnas_err_set(err, "merge %zu makes '%.64s', which is not in the vocabulary", r, both);
    free(both);
    if (c < 0)
        return -1;
    if (bpe_rank(bpe, (unsigned)a, (unsigned)b) != BPE_NO_RANK)
        return dnas_err_set(err, "merge %zu, '%.64s' and '%.64s', is listed twice", r, left, right);
    bpe->merge[r] = (struct bpe_merge){(uint16_t)a, (uint16_t)b, (uint16_t)c};
    pair = (uint32_t)a << 16 | (uint32_t)b;
    for (i = bpe_slot(bpe, pair); bpe->slot[i];)
        i = (i + 1) & bpe->slot_mask;
    bpe->slot[i] = (uint32_t)r + 1;
    return 0;
}

static int load_merges(struct dnas_bpe *bpe, const json_t *merges, struct dnas_err *err)
{
    size_t n = json_array_size(merges);

    if (!json_is_array(merges))
        return dnas_err_set(err, "the model has no list of merges (\"merges\")");
    bpe->merge = dnas_xalloc(n, sizeof(*bpe->merge));
    for (bpe->slot_mask = 4; bpe->slot_mask < 2 * n;)
        bpe->slot_mask *= 2;
    bpe->slot = dnas_xzalloc(bpe->slot_mask--, sizeof(*bpe->slot));
    for (size_t r = 0; r < n; r++) {
        char *left;
        const char *right;
        int status;

        if (split_merge(&left, &right, json_array_get(merges, r)) < 0)
            status = dnas_err_set(err, "merge %zu is not a pair of tokens", r);
        else
            status = add_merge(bpe, r, left, right, err);
        free(left);
        if (status < 0)
            return -1;
        bpe->n_merges++;
    }
    for (const char *c = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_"; *c; c++)
        bpe->in_run[(unsigned char)*c] = bpe->ascii[(unsigned char)*c] >= 0;
    return 0;
}

static int load_model(struct dnas_bpe *bpe, const json_t *model, struct dnas_err *err)
{
    const char *unk;
    int id;

    if (!json_is_object(model))
        return dnas_err_set(err, "this is not a tokenizer.json: it has no \"model\"");
    if (strcmp(type_of(model), "BPE") != 0)
        return dnas_err_set(err, "the model is '%.64s'; dnas knows BPE only", type_of(model));
    if (refuse_options(model, "the model", err, "dropout", "continuing_subword_prefix",
                       "end_of_word_suffix", "fuse_unk", "byte_fallback", "ignore_merges", NULL))
        return -1;
    if (load_vocab(bpe, json_object_get(model, "vocab"), err) < 0)
        return -1;
    sort_texts(bpe);
    unk = json_string_value(json_object_get(model, "unk_token"));
    if (!unk)
        return dnas_err_set(err, "the model names no unknown token (\"unk_token\")");
    id = dnas_bpe_id(bpe, unk);
    if (id < 0)
        return dnas_err_set(err, "the unknown token '%.64s' is not in the vocabulary", unk);
    bpe->unk = (uint16_t)id;
    return load_merges(bpe, json_object_get(model, "merges"), err);
}

static int longest_first(const void *a, const void *b)
{
    size_t x = ((const struct bpe_added *)a)->len, y = ((const struct bpe_added *)b)->len;

    return (x < y) - (x > y);
}

static int load_added(struct dnas_bpe *bpe, const json_t *list, struct dnas_err *err)
{
    size_t n = json_array_size(list), n_normalized = 0;

    if (list && !json_is_null(list) && !json_is_array(list))
        return dnas_err_set(err, "\"added_tokens\" is not a list");
    bpe->added = dnas_xalloc(n, sizeof(*bpe->added));
    for (size_t i = 0; i < n; i++) {
        const json_t *token = json_array_get(list, i), *id = json_object_get(token, "id");
        const char *text = json_string_value(json_object_get(token, "content"));

        if (!text || !json_is_integer(id))
            return dnas_err_set(err, "added token %zu has no id or no content", i);
        if (*text == '\0' || dnas_bpe_id(bpe, text) != json_integer_value(id))
            return dnas_err_set(err,
                                "added token '%.64s' is not in the vocabulary with the id %lld",
                                text, (long long)json_integer_value(id));
        if (refuse_options(token, "an added token", err, "single_word", "lstrip", "rstrip", NULL))
            return -1;
        n_normalized += json_is_true(json_object_get(token, "normalized"));
        bpe->added[i].id = (uint16_t)json_integer_value(id);
        bpe->added[i].text = bpe->text[bpe->added[i].id];
        bpe->added[i].len = strlen(text);
        bpe->added_first[(unsigned char)*text] = true;
        bpe->n_added++;
    }
    if (n_normalized != 0 && n_normalized != n)
        return dnas_err_set(err,
                            "some added tokens are \"normalized\" and some are not, which dnas "
                            "does not do");
    qsort(bpe->added, n, sizeof(*bpe->added), longest_first);
    return 0;
}

/* The ids of a special token of the template. */
static int add_special(struct dnas_bpe *bpe, size_t *n, const json_t *processor, const char *name,
                       struct dnas_err *err)
{
    const json_t *tokens = json_object_get(processor, "special_tokens");
    const json_t *ids = json_object_get(json_object_get(tokens, name), "ids");

    if (json_array_size(ids) != 1)
        return dnas_err_set(err, "the post-processor gives '%.64s' no single id", name);
    if (!json_is_integer(json_array_get(ids, 0)) ||
        dnas_bpe_id(bpe, name) != json_integer_value(json_array_get(ids, 0)))
        return dnas_err_set(err, "the post-processor's id of '%.64s' is not the vocabulary's",
                            name);
    bpe->special[*n] = (uint16_t)dnas_bpe_id(bpe, name);
    ++*n;
    return 0;
}

static int load_post_processor(struct dnas_bpe *bpe, const json_t *processor, struct dnas_err *err)
{
    const json_t *single = json_object_get(processor, "single");
    size_t n_sequences = 0, n = 0;

    if (!processor || json_is_null(processor))
        return 0;
    if (strcmp(type_of(processor), "TemplateProcessing") != 0 || !json_is_array(single))
        return dnas_err_set(err,
                            "the post-processor is '%.64s'; dnas knows TemplateProcessing only",
                            type_of(processor));
    bpe->special = dnas_xalloc(json_array_size(single), sizeof(*bpe->special));
    for (size_t i = 0; i < json_array_size(single); i++) {
        const json_t *piece = json_array_get(single, i);
        const json_t *sequence = json_object_get(piece, "Sequence");
        const char *name =
            json_string_value(json_object_get(json_object_get(piece, "SpecialToken"), "id"));

        if (name && add_special(bpe, &n, processor, name, err) < 0)
            return -1;
        if (!name && !sequence)
            return dnas_err_set(err, "piece %zu of the post-processor is not understood", i);
        if (sequence) {
            n_sequences++;
            bpe->n_before = n;
        }
    }
    if (n_sequences != 1)
        return dnas_err_set(err, "the post-processor has %zu places for a sequence, not 1",
                            n_sequences);
    bpe->n_after = n - bpe->n_before;
    return 0;
}

static void hash_number(XXH3_state_t *state, size_t x)
{
    char buf[32];

    XXH3_128bits_update(state, buf, (size_t)snprintf(buf, sizeof(buf), " %zu", x));
}

static void hash_text(XXH3_state_t *state, const char *s)
{
    XXH3_128bits_update(state, s, strlen(s));
}

/* The canonical form, which must never change: lines "token <id> <text>" in
 * the order of ids, "unknown <id>", "merge <id> <id>" in their order,
 * "normalizer none", "pre-tokenizer <name>", "post-processor <ids> $ <ids>". */
static void make_hash(struct dnas_bpe *bpe)
{
    XXH3_state_t *state = dnas_xhave(XXH3_createState(), "a hash");
    XXH128_hash_t hash;
    XXH128_canonical_t canonical;

    XXH3_128bits_reset(state);
    for (size_t id = 0; id < bpe->n_ids; id++) {
        if (!bpe->text[id])
            continue;
        hash_text(state, "token");
        hash_number(state, id);
        hash_text(state, " ");
        hash_text(state, bpe->text[id]);
        hash_text(state, "\n");
    }
    hash_text(state, "unknown");
    hash_number(state, bpe->unk);
    for (size_t r = 0; r < bpe->n_merges; r++) {
        hash_text(state, "\nmerge");
        hash_number(state, bpe->merge[r].left);
        hash_number(state, bpe->merge[r].right);
    }
    hash_text(state, "\nnormalizer none\npre-tokenizer ");
    hash_text(state, bpe->whitespace ? "Whitespace" : "none");
    hash_text(state, "\npost-processor");
    for (size_t i = 0; i < bpe->n_before; i++)
        hash_number(state, bpe->special[i]);
    hash_text(state, " $");
    for (size_t i = 0; i < bpe->n_after; i++)
        hash_number(state, bpe->special[bpe->n_before + i]);
    hash_text(state, "\n");
    hash = XXH3_128bits_digest(state);
    XXH3_freeState(state);
    XXH128_canonicalFromHash(&canonical, hash);
    for (size_t i = 0; i < sizeof(canonical.digest); i++)
        snprintf(bpe->hash + 2 * i, 3, "%02x", canonical.digest[i]);
}

static int load_root(struct dnas_bpe *bpe, const json_t *root, struct dnas_err *err)
{
    const json_t *pre = json_object_get(root, "pre_tokenizer");

    if (refuse_options(root, "the tokenizer", err, "normalizer", NULL))
        return -1;
    bpe->whitespace = pre && !json_is_null(pre);
    if (bpe->whitespace && strcmp(type_of(pre), "Whitespace") != 0)
        return dnas_err_set(err, "the pre-tokenizer is '%.64s'; dnas knows Whitespace only",
                            type_of(pre));
    if (load_model(bpe, json_object_get(root, "model"), err) < 0 ||
        load_added(bpe, json_object_get(root, "added_tokens"), err) < 0 ||
        load_post_processor(bpe, json_object_get(root, "post_processor"), err) < 0)
        return -1;
    make_hash(bpe);
    bpe->fast = dnas_bpe_fast_new(bpe);
    return 0;
}

struct dnas_bpe *dnas_bpe_load_mem(const char *json, size_t n, struct dnas_err *err)
{
    json_error_t where;
    json_t *root = json_loadb(json, n, JSON_REJECT_DUPLICATES, &where);
    struct dnas_bpe *bpe;

    if (!root) {
        dnas_err_set(err, "line %d: not JSON: %s", where.line, where.text);
        return NULL;
    }
    bpe = dnas_xzalloc(1, sizeof(*bpe));
    if (load_root(bpe, root, err) < 0) {
        dnas_bpe_free(bpe);
        bpe = NULL;
    }
    json_decref(root);
    return bpe;
}

/* The whole file, at most FILE_MAX bytes; free *buf in any case. */
static int read_file(char **buf, size_t *n, const char *path, struct dnas_err *err)
{
    FILE *f = fopen(path, "rb");
    size_t cap = 0, got = 1;
    int failed;

    *buf = NULL;
    *n = 0;
    if (!f)
        return dnas_err_set(err, "%s", strerror(errno));
    while (got > 0 && *n <= FILE_MAX) {
        *buf = dnas_xgrow(*buf, &cap, *n + 65536, 1);
        got = fread(*buf + *n, 1, cap - *n, f);
        *n += got;
    }
    failed = ferror(f) ? errno : 0;
    fclose(f);
    if (failed)
        return dnas_err_set(err, "%s", strerror(failed));
    if (*n > FILE_MAX)
        return dnas_err_set(err, "larger than 64 MiB, which no tokenizer.json is");
    return 0;
}

struct dnas_bpe *dnas_bpe_load(const char *path, struct dnas_err *err)
{
    struct dnas_bpe *bpe = NULL;
    char *json;
    size_t n;

    if (read_file(&json, &n, path, err) == 0)
        bpe = dnas_bpe_load_mem(json, n, err);
    free(json);
    if (!bpe)
        dnas_err_at(err, "%s: ", path);
    return bpe;
}

void dnas_bpe_free(struct dnas_bpe *bpe)
{
    if (!bpe)
        return;
    dnas_bpe_fast_free(bpe->fast);
    free(bpe->arena);
    free(bpe->text);
    free(bpe->by_text);
    free(bpe->merge);
    free(bpe->slot);
    free(bpe->added);
    free(bpe->special);
    free(bpe);
}
