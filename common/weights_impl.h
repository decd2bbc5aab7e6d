/* SPDX-License-Identifier: MIT
 *
 * weights_impl.h - the inside of struct dnas_weights, for weights.c and its
 * readers safetensors.c, torch_zip.c and torch_pickle.c alone.
 */
#ifndef DNAS_WEIGHTS_IMPL_H
#define DNAS_WEIGHTS_IMPL_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/weights.h"

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "tensors are mapped from little-endian files: this machine needs a swap on reading"
#endif

struct weights_map {
    const unsigned char *bytes;
    size_t n;
    bool is_mapped; /* else the caller's memory */
    char *part;     /* its name in the index; NULL without one */
};

/* What w owns for a tensor, beside the public struct. */
struct weights_owned {
    char *name;
    void *data; /* NULL: in the map */
    float *f32; /* made when first asked for */
    size_t map;
};

struct weights_pair {
    char *key, *value;
};

struct dnas_weights {
    struct weights_map *maps;
    size_t n_maps, cap_maps;
    struct dnas_tensor *tensors;
    struct weights_owned *owned; /* [n] */
    size_t n, cap, cap_owned;
    const struct dnas_tensor **by_name; /* [n] */
    struct weights_pair *metadata;
    size_t n_metadata, cap_metadata;
    pthread_mutex_t lock; /* of owned[].f32 */
};

/* Adds like, under the first len bytes of name, to the map that is being read;
 * takes `data`, the block that like->data points to, or NULL. */
void weights_add(struct dnas_weights *w, const char *name, size_t len,
                 const struct dnas_tensor *like, void *data);
/* Keeps the first value of a key. */
void weights_add_metadata(struct dnas_weights *w, const char *key, const char *value);
/* n_elements and size_bytes from dtype and shape; false on an overflow. */
bool weights_set_size(struct dnas_tensor *t);

/* The rest of a reader's work: all tensors of n bytes added to w. */
int weights_read_safetensors(struct dnas_weights *w, const unsigned char *bytes, size_t n,
                             struct dnas_err *err);
int weights_read_torch(struct dnas_weights *w, const unsigned char *bytes, size_t n,
                       struct dnas_err *err);

/* safetensors: the reference reader's limit, too. */
#define WEIGHTS_HEADER_MAX_BYTES 100000000

/* An f32 tensor as the pickle describes it; nothing is checked against the
 * storage yet.  The texts lie in the pickle. */
struct torch_tensor {
    const char *name, *key; /* key: of the storage, DIR/data/KEY */
    size_t name_len, key_len;
    uint64_t n_storage; /* elements of the storage */
    uint64_t offset;    /* elements */
    int n_dims;
    uint64_t shape[DNAS_TENSOR_DIMS_MAX], stride[DNAS_TENSOR_DIMS_MAX];
};

/* The tensors of a pickled dict, or of its "state_dict", in its order.  Free *out
 * with free(). */
int torch_unpickle(struct torch_tensor **out, size_t *n_out, const unsigned char *bytes, size_t n,
                   struct dnas_err *err);

static inline uint64_t weights_get(const unsigned char *p, size_t n_bytes)
{
    uint64_t x = 0;

    for (size_t i = 0; i < n_bytes; i++)
        x |= (uint64_t)p[i] << (8 * i);
    return x;
}

#endif
