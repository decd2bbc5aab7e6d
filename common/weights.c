/* SPDX-License-Identifier: MIT
 *
 * weights.c - opening, finding, converting, hashing.  Contract: weights.h.
 */
#include "common/weights.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <jansson.h>
#include <xxhash.h>

#include "common/record.h"
#include "common/weights_impl.h"
#include "common/xmem.h"

static const struct {
    const char *name; /* as in safetensors */
    size_t size_bytes;
} dtypes[] = {
    [DNAS_DTYPE_BOOL] = {"BOOL", 1}, [DNAS_DTYPE_U8] = {"U8", 1},   [DNAS_DTYPE_I8] = {"I8", 1},
    [DNAS_DTYPE_U16] = {"U16", 2},   [DNAS_DTYPE_I16] = {"I16", 2}, [DNAS_DTYPE_F16] = {"F16", 2},
    [DNAS_DTYPE_BF16] = {"BF16", 2}, [DNAS_DTYPE_U32] = {"U32", 4}, [DNAS_DTYPE_I32] = {"I32", 4},
    [DNAS_DTYPE_F32] = {"F32", 4},   [DNAS_DTYPE_U64] = {"U64", 8}, [DNAS_DTYPE_I64] = {"I64", 8},
    [DNAS_DTYPE_F64] = {"F64", 8},
};

const char *dnas_dtype_name(enum dnas_dtype dtype)
{
    return dtypes[dtype].name;
}

size_t dnas_dtype_size(enum dnas_dtype dtype)
{
    return dtypes[dtype].size_bytes;
}

/* ---- what the readers call ---- */

void weights_add(struct dnas_weights *w, const char *name, size_t len,
                 const struct dnas_tensor *like, void *data)
{
    w->tensors = dnas_xgrow(w->tensors, &w->cap, w->n + 1, sizeof(*w->tensors));
    w->owned = dnas_xgrow(w->owned, &w->cap_owned, w->n + 1, sizeof(*w->owned));
    w->owned[w->n] = (struct weights_owned){
        .name = dnas_xstrndup(name, len), .data = data, .map = w->n_maps - 1};
    w->tensors[w->n] = *like;
    w->tensors[w->n].name = w->owned[w->n].name;
    w->n++;
}

void weights_add_metadata(struct dnas_weights *w, const char *key, const char *value)
{
    if (dnas_weights_metadata(w, key))
        return;
    w->metadata =
        dnas_xgrow(w->metadata, &w->cap_metadata, w->n_metadata + 1, sizeof(*w->metadata));
    w->metadata[w->n_metadata++] =
        (struct weights_pair){.key = dnas_xstrdup(key), .value = dnas_xstrdup(value)};
}

bool weights_set_size(struct dnas_tensor *t)
{
    t->n_elements = 1;
    for (int d = 0; d < t->n_dims; d++)
        if (__builtin_mul_overflow(t->n_elements, t->shape[d], &t->n_elements))
            return false;
    return !__builtin_mul_overflow(t->n_elements, dnas_dtype_size(t->dtype), &t->size_bytes);
}

/* ---- opening ---- */

static struct dnas_weights *weights_new(void)
{
    struct dnas_weights *w = dnas_xzalloc(1, sizeof(*w));

    if (pthread_mutex_init(&w->lock, NULL) != 0)
        DNAS_BUG("no mutex");
    return w;
}

void dnas_weights_close(struct dnas_weights *w)
{
    if (!w)
        return;
    for (size_t i = 0; i < w->n; i++) {
        free(w->owned[i].name);
        free(w->owned[i].data);
        free(w->owned[i].f32);
    }
    for (size_t i = 0; i < w->n_metadata; i++) {
        free(w->metadata[i].key);
        free(w->metadata[i].value);
    }
    for (size_t i = 0; i < w->n_maps; i++) {
        if (w->maps[i].is_mapped)
            munmap((void *)(uintptr_t)w->maps[i].bytes, w->maps[i].n);
        free(w->maps[i].part);
    }
    free(w->maps);
    free(w->tensors);
    free(w->owned);
    free(w->by_name);
    free(w->metadata);
    pthread_mutex_destroy(&w->lock);
    free(w);
}

static int compare_names(const void *a, const void *b)
{
    const struct dnas_tensor *const *x = a, *const *y = b;

    return strcmp((*x)->name, (*y)->name);
}

/* Once all tensors are there: the order that dnas_weights_find needs. */
static int sort_names(struct dnas_weights *w, struct dnas_err *err)
{
    w->by_name = dnas_xalloc(w->n, sizeof(struct dnas_tensor *));
    for (size_t i = 0; i < w->n; i++)
        w->by_name[i] = &w->tensors[i];
    qsort(w->by_name, w->n, sizeof(struct dnas_tensor *), compare_names);
    for (size_t i = 1; i < w->n; i++)
        if (strcmp(w->by_name[i - 1]->name, w->by_name[i]->name) == 0)
            return dnas_err_set(err, "tensor '%.200s' is there twice", w->by_name[i]->name);
    return 0;
}

static struct weights_map *add_map(struct dnas_weights *w, const void *bytes, size_t n)
{
    w->maps = dnas_xgrow(w->maps, &w->cap_maps, w->n_maps + 1, sizeof(*w->maps));
    w->maps[w->n_maps] = (struct weights_map){.bytes = bytes, .n = n};
    return &w->maps[w->n_maps++];
}

static int map_file(struct dnas_weights *w, const char *path, struct dnas_err *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a FIFO would wait for a writer */
    void *bytes = MAP_FAILED;
    struct stat st;

    if (fd < 0 || fstat(fd, &st) != 0)
        dnas_err_set(err, "%s", strerror(errno));
    else if (!S_ISREG(st.st_mode))
        dnas_err_set(err, "is not a regular file; weights are mapped, so a pipe does not do");
    else if (st.st_size == 0)
        dnas_err_set(err, "is empty");
    else if ((bytes = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0)) == MAP_FAILED)
        dnas_err_set(err, "cannot be mapped: %s", strerror(errno));
    if (fd >= 0)
        close(fd);
    if (bytes == MAP_FAILED)
        return -1;
    add_map(w, bytes, (size_t)st.st_size)->is_mapped = true;
    return 0;
}

static bool begins(const struct weights_map *map, const char *magic, size_t n)
{
    return map->n >= n && memcmp(map->bytes, magic, n) == 0;
}

/* JSON text has no zeros, so as safetensors its header would be longer than
 * any file. */
static bool is_index(const struct weights_map *map)
{
    return map->n >= 8 && map->bytes[0] == '{' &&
           weights_get(map->bytes, 8) > WEIGHTS_HEADER_MAX_BYTES;
}

/* Reads the map that was added last.  The magics of zip and pickle could be
 * the length of a safetensors header; byte 8 tells, or the 100 MB. */
static int read_map(struct dnas_weights *w, struct dnas_err *err)
{
    const struct weights_map *map = &w->maps[w->n_maps - 1];

    if (begins(map, "PK\3\4", 4) && !(map->n > 8 && map->bytes[8] == '{'))
        return weights_read_torch(w, map->bytes, map->n, err);
    if (begins(map, "\x80\x02\x8a\x0a", 4))
        return dnas_err_set(err, "is in torch.save's format of before torch 1.6; try "
                                 "torch.save(torch.load(FILE), FILE) with a newer one");
    if (begins(map, "version https://git-lfs", 23))
        return dnas_err_set(err, "is a Git LFS pointer, not the weights; try 'git lfs pull'");
    if (is_index(map))
        return dnas_err_set(err, "is an index of other files where weights are expected");
    return weights_read_safetensors(w, map->bytes, map->n, err);
}

/* ---- weights in several files ---- */

static int open_part(struct dnas_weights *w, const char *dir, const char *part,
                     struct dnas_err *err)
{
    char *path;
    int status;

    for (size_t i = 0; i < w->n_maps; i++)
        if (w->maps[i].part && strcmp(w->maps[i].part, part) == 0)
            return 0;
    if (*part == '\0' || strchr(part, '/'))
        return dnas_err_set(err, "its index names '%.200s', which is no file beside it", part);
    path = dnas_xasprintf("%s%s", dir, part);
    status = map_file(w, path, err);
    if (status == 0) {
        w->maps[w->n_maps - 1].part = dnas_xstrdup(part);
        status = read_map(w, err);
    }
    if (status != 0)
        dnas_err_at(err, "%s: ", path);
    free(path);
    return status;
}

/* Each tensor is where the index says, and there are no others. */
static int check_parts(const struct dnas_weights *w, json_t *weight_map, struct dnas_err *err)
{
    const char *name;
    json_t *part;

    json_object_foreach(weight_map, name, part)
    {
        const struct dnas_tensor *t = dnas_weights_find(w, "", name);

        if (!t || strcmp(w->maps[w->owned[t - w->tensors].map].part, json_string_value(part)) != 0)
            return dnas_err_set(err, "tensor '%.200s' is not in '%.200s', where the index puts it",
                                name, json_string_value(part));
    }
    if (w->n != json_object_size(weight_map))
        return dnas_err_set(err, "its parts hold %zu tensors but its index lists %zu", w->n,
                            json_object_size(weight_map));
    return 0;
}

static int open_parts(struct dnas_weights *w, const char *dir, json_t *weight_map,
                      struct dnas_err *err)
{
    const char *name;
    json_t *part;

    if (!json_is_object(weight_map))
        return dnas_err_set(err, "is JSON but no index of weights: it has no \"weight_map\"");
    json_object_foreach(weight_map, name, part)
    {
        if (!json_is_string(part))
            return dnas_err_set(err, "its index has no file for tensor '%.200s'", name);
        if (open_part(w, dir, json_string_value(part), err) != 0)
            return -1;
    }
    if (sort_names(w, err) != 0)
        return -1;
    return check_parts(w, weight_map, err);
}

/* The index is the map that was added last. */
static int open_index(struct dnas_weights *w, const char *path, struct dnas_err *err)
{
    const struct weights_map *map = &w->maps[w->n_maps - 1];
    const char *slash = strrchr(path, '/');
    char *dir = dnas_xstrndup(path, slash ? (size_t)(slash + 1 - path) : 0);
    json_error_t why;
    json_t *root = json_loadb((const char *)map->bytes, map->n, JSON_REJECT_DUPLICATES, &why);
    int status;

    if (root)
        status = open_parts(w, dir, json_object_get(root, "weight_map"), err);
    else
        status = dnas_err_set(err, "line %d: %s", why.line, why.text);
    json_decref(root);
    free(dir);
    return status;
}

static int open_file(struct dnas_weights *w, const char *path, struct dnas_err *err)
{
    if (map_file(w, path, err) != 0)
        return -1;
    if (is_index(&w->maps[0]))
        return open_index(w, path, err);
    if (read_map(w, err) != 0)
        return -1;
    return sort_names(w, err);
}

/* What transformers looks for in a folder, in its order; then what HyenaDNA had before. */
static char *path_in_folder(const char *dir)
{
    static const char *const names[] = {"model.safetensors", "model.safetensors.index.json",
                                        "pytorch_model.bin", "pytorch_model.bin.index.json",
                                        "weights.ckpt"};

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        char *path = dnas_xasprintf("%s/%s", dir, names[i]);

        if (access(path, F_OK) == 0)
            return path;
        free(path);
    }
    return NULL;
}

struct dnas_weights *dnas_weights_open(const char *path, struct dnas_err *err)
{
    struct dnas_weights *w = weights_new();
    struct stat st;
    char *file = NULL;
    int status;

    if (stat(path, &st) == 0 && S_ISDIR(st.st_mode))
        file = path_in_folder(path);
    else
        file = dnas_xstrdup(path);
    if (!file) {
        status =
            dnas_err_set(err, "%s: holds neither model.safetensors nor pytorch_model.bin", path);
    } else {
        status = open_file(w, file, err);
        if (status != 0)
            dnas_err_at(err, "%s: ", file);
    }
    free(file);
    if (status == 0)
        return w;
    dnas_weights_close(w);
    return NULL;
}

struct dnas_weights *dnas_weights_open_mem(const void *bytes, size_t n, struct dnas_err *err)
{
    struct dnas_weights *w = weights_new();

    add_map(w, bytes, n);
    if (read_map(w, err) == 0 && sort_names(w, err) == 0)
        return w;
    dnas_weights_close(w);
    return NULL;
}

/* ---- finding ---- */

size_t dnas_weights_n(const struct dnas_weights *w)
{
    return w->n;
}

const struct dnas_tensor *dnas_weights_tensor(const struct dnas_weights *w, size_t i)
{
    if (i >= w->n)
        DNAS_BUG("tensor %zu of %zu", i, w->n);
    return &w->tensors[i];
}

/* strcmp(name, prefix + rest) */
static int compare_joined(const char *name, const char *prefix, const char *rest)
{
    size_t n = strlen(prefix);
    int c = strncmp(name, prefix, n);

    return c != 0 ? c : strcmp(name + n, rest);
}

const struct dnas_tensor *dnas_weights_find(const struct dnas_weights *w, const char *prefix,
                                            const char *name)
{
    size_t low = 0, high = w->n;

    while (low < high) {
        size_t mid = low + (high - low) / 2;
        int c = compare_joined(w->by_name[mid]->name, prefix, name);

        if (c == 0)
            return w->by_name[mid];
        if (c < 0)
            low = mid + 1;
        else
            high = mid;
    }
    return NULL;
}

const char *dnas_weights_metadata(const struct dnas_weights *w, const char *key)
{
    for (size_t i = 0; i < w->n_metadata; i++)
        if (strcmp(w->metadata[i].key, key) == 0)
            return w->metadata[i].value;
    return NULL;
}

char *dnas_weights_prefix(const struct dnas_weights *w, const char *name, struct dnas_err *err)
{
    const struct dnas_tensor *found = NULL;
    size_t n = strlen(name), n_prefix = 0;

    for (size_t i = 0; i < w->n; i++) {
        const struct dnas_tensor *t = &w->tensors[i];
        size_t len = strlen(t->name);

        if (len < n || strcmp(t->name + len - n, name) != 0 ||
            (len > n && t->name[len - n - 1] != '.'))
            continue;
        if (found) {
            dnas_err_set(err, "tensors '%.200s' and '%.200s': one of them is expected", found->name,
                         t->name);
            return NULL;
        }
        found = t;
        n_prefix = len - n;
    }
    if (found)
        return dnas_xstrndup(found->name, n_prefix);
    dnas_err_set(err, "tensor '%s' is missing", name);
    return NULL;
}

/* ---- as f32 ---- */

/* IEEE 754 binary16. */
static float f32_from_f16(uint16_t h)
{
    uint32_t sign = (uint32_t)(h & 0x8000) << 16, exponent = h >> 10 & 31, fraction = h & 0x3ff;
    uint32_t bits;
    float x;

    if (exponent == 0) {
        x = (float)fraction * 0x1p-24f;
        return sign ? -x : x;
    }
    /* Biases 15 and 127; the highest exponent is that of infinities and NaN. */
    bits = sign | (exponent == 31 ? 255 : exponent + 112) << 23 | fraction << 13;
    memcpy(&x, &bits, sizeof(x));
    return x;
}

static bool is_floating(enum dnas_dtype dtype)
{
    return dtype == DNAS_DTYPE_F32 || dtype == DNAS_DTYPE_F16 || dtype == DNAS_DTYPE_BF16 ||
           dtype == DNAS_DTYPE_F64;
}

static float *convert(const struct dnas_tensor *t)
{
    const unsigned char *p = t->data;
    float *out = dnas_xalloc64(t->n_elements, sizeof(*out));
    uint16_t narrow;
    double wide;

    if (t->dtype == DNAS_DTYPE_F32)
        memcpy(out, p, t->size_bytes);
    else if (t->dtype == DNAS_DTYPE_F64)
        for (size_t i = 0; i < t->n_elements; i++) {
            memcpy(&wide, p + 8 * i, sizeof(wide));
            out[i] = (float)wide;
        }
    else
        for (size_t i = 0; i < t->n_elements; i++) {
            memcpy(&narrow, p + 2 * i, sizeof(narrow));
            out[i] = t->dtype == DNAS_DTYPE_F16 ? f32_from_f16(narrow) : dnas_f32_from_bf16(narrow);
        }
    return out;
}

const float *dnas_tensor_f32(struct dnas_weights *w, const struct dnas_tensor *t,
                             struct dnas_err *err)
{
    struct weights_owned *owned;

    if (t < w->tensors || t >= w->tensors + w->n)
        DNAS_BUG("a tensor of other weights");
    if (!is_floating(t->dtype)) {
        dnas_err_set(err, "tensor '%.200s' holds integers (%s) where fractions are needed", t->name,
                     dnas_dtype_name(t->dtype));
        return NULL;
    }
    if (t->dtype == DNAS_DTYPE_F32 && (uintptr_t)t->data % sizeof(float) == 0)
        return t->data;
    owned = &w->owned[t - w->tensors];
    pthread_mutex_lock(&w->lock);
    if (!owned->f32)
        owned->f32 = convert(t);
    pthread_mutex_unlock(&w->lock);
    return owned->f32;
}

/* isfinite() of a block at a time, without a branch, so that it vectorises. */
static bool block_is_finite(const float *x, size_t n)
{
    const uint32_t exponent = 0x7f800000;
    unsigned bad = 0;

    for (size_t i = 0; i < n; i++) {
        uint32_t bits;

        memcpy(&bits, &x[i], sizeof(bits));
        bad |= (bits & exponent) == exponent;
    }
    return !bad;
}

int dnas_tensor_check_finite(struct dnas_weights *w, const struct dnas_tensor *t,
                             struct dnas_err *err)
{
    const float *x;

    if (!is_floating(t->dtype))
        return 0;
    x = dnas_tensor_f32(w, t, err);
    for (size_t at = 0; at < t->n_elements; at += 4096) {
        size_t n = t->n_elements - at < 4096 ? t->n_elements - at : 4096;

        if (block_is_finite(x + at, n))
            continue;
        while (isfinite(x[at]))
            at++;
        return dnas_err_set(err, "tensor '%.200s' holds %s (element %zu)", t->name,
                            isnan(x[at]) ? "nan" : "an infinity", at);
    }
    return 0;
}

/* ---- hash ---- */

static int compare_texts(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static int hash_tensor(XXH3_state_t *state, struct dnas_weights *w, const char *prefix,
                       const char *name, struct dnas_err *err)
{
    const struct dnas_tensor *t = dnas_weights_find(w, prefix, name);
    uint64_t dims[1 + DNAS_TENSOR_DIMS_MAX];
    const float *x;

    if (!t)
        return dnas_err_set(err, "tensor '%s%s' is missing", prefix, name);
    x = dnas_tensor_f32(w, t, err);
    if (!x)
        return -1;
    dims[0] = (uint64_t)t->n_dims;
    for (int d = 0; d < t->n_dims; d++)
        dims[1 + d] = t->shape[d];
    XXH3_128bits_update(state, name, strlen(name) + 1);
    XXH3_128bits_update(state, dims, (size_t)(1 + t->n_dims) * sizeof(dims[0]));
    XXH3_128bits_update(state, x, t->n_elements * sizeof(*x));
    return 0;
}

int dnas_weights_hash(struct dnas_weights *w, char hex[DNAS_WEIGHTS_HASH_SIZE], const char *prefix,
                      const char *const *names, size_t n, struct dnas_err *err)
{
    XXH3_state_t *state = dnas_xhave(XXH3_createState(), "a hash");
    const char **sorted = dnas_xalloc(n, sizeof(*sorted));
    XXH128_canonical_t canonical;
    int status = 0;

    XXH3_128bits_reset(state);
    for (size_t i = 0; i < n; i++)
        sorted[i] = names[i];
    qsort(sorted, n, sizeof(*sorted), compare_texts);
    for (size_t i = 0; i < n && status == 0; i++)
        status = hash_tensor(state, w, prefix, sorted[i], err);
    XXH128_canonicalFromHash(&canonical, XXH3_128bits_digest(state));
    for (size_t i = 0; i < sizeof(canonical.digest); i++)
        snprintf(hex + 2 * i, 3, "%02x", canonical.digest[i]);
    XXH3_freeState(state);
    free(sorted);
    return status;
}
