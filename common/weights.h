/* SPDX-License-Identifier: MIT
 *
 * weights.h - the named tensors of a model: .safetensors and torch.save files
 * are read where they lie, in a map of the file; .safetensors files are written.
 *
 * What stands in a file is not trusted: every rule of both formats is enforced
 * on opening, and nothing in a file can make code run.
 */
#ifndef DNAS_WEIGHTS_H
#define DNAS_WEIGHTS_H

#include <stddef.h>

#include "common/err.h"

#ifdef __cplusplus
extern "C" {
#endif

enum dnas_dtype {
    DNAS_DTYPE_BOOL,
    DNAS_DTYPE_U8,
    DNAS_DTYPE_I8,
    DNAS_DTYPE_U16,
    DNAS_DTYPE_I16,
    DNAS_DTYPE_F16,
    DNAS_DTYPE_BF16,
    DNAS_DTYPE_U32,
    DNAS_DTYPE_I32,
    DNAS_DTYPE_F32,
    DNAS_DTYPE_U64,
    DNAS_DTYPE_I64,
    DNAS_DTYPE_F64,
};

#define DNAS_TENSOR_DIMS_MAX 8

struct dnas_tensor {
    const char *name; /* UTF-8, not empty */
    enum dnas_dtype dtype;
    int n_dims; /* 0: a single number */
    size_t shape[DNAS_TENSOR_DIMS_MAX];
    size_t n_elements, size_bytes; /* 0 where a dimension is */
    const void *data; /* row-major, little-endian, at any address: see dnas_tensor_f32 */
};

const char *dnas_dtype_name(enum dnas_dtype dtype); /* "F32" */
size_t dnas_dtype_size(enum dnas_dtype dtype);      /* bytes an element */

/* ---- reading ---- */

struct dnas_weights;

/* Opens a .safetensors file; a torch.save file in zip format (torch 1.6 on;
 * an [Ordered]dict of f32 tensors, or one that has it as "state_dict" beside
 * whatever a training run keeps); the .index.json of several such files; or
 * a Hugging Face folder with model.safetensors, model.safetensors.index.json,
 * pytorch_model.bin, pytorch_model.bin.index.json or weights.ckpt, the first that
 * is there.
 * Files are told apart by content.  Costs what the headers cost: the tensors
 * are not read.  The files stay mapped until dnas_weights_close and must not
 * be cut short meanwhile; replacing them by rename is fine.
 * NULL on an error, with the file's name in the sentence. */
struct dnas_weights *dnas_weights_open(const char *path, struct dnas_err *err);
/* The same from n bytes of memory, borrowed until closed; no folder, no index. */
struct dnas_weights *dnas_weights_open_mem(const void *bytes, size_t n, struct dnas_err *err);
/* All pointers that came from w end here.  NULL is fine. */
void dnas_weights_close(struct dnas_weights *w);

/* All functions below may be called from several threads at once; what they
 * return lives until w is closed unless they say otherwise. */

size_t dnas_weights_n(const struct dnas_weights *w);
/* Tensor i of 0..n-1 in the order of the data (safetensors) or of the dict
 * (torch); DNAS_BUG beyond. */
const struct dnas_tensor *dnas_weights_tensor(const struct dnas_weights *w, size_t i);
/* The tensor called prefix + name, or NULL.  O(log n). */
const struct dnas_tensor *dnas_weights_find(const struct dnas_weights *w, const char *prefix,
                                            const char *name);
/* A string of safetensors' __metadata__, or NULL. */
const char *dnas_weights_metadata(const struct dnas_weights *w, const char *key);

/* What stands before `name` in the one tensor whose name ends in it, "" or a
 * text with a dot at its end ("module.bert.").  NULL with a sentence when no
 * tensor or several have it.  Free with free(). */
char *dnas_weights_prefix(const struct dnas_weights *w, const char *name, struct dnas_err *err);

/* The elements of t, which is w's, as f32 [n_elements]: the mapped file itself
 * where it holds aligned F32, else a copy made once and kept by w.  F16 and
 * BF16 convert exactly, F64 to nearest.  NULL with a sentence for integers. */
const float *dnas_tensor_f32(struct dnas_weights *w, const struct dnas_tensor *t,
                             struct dnas_err *err);
/* 0 when every element is finite as f32; else -1 and a sentence that names the
 * tensor and the element.  Integers are finite. */
int dnas_tensor_check_finite(struct dnas_weights *w, const struct dnas_tensor *t,
                             struct dnas_err *err);

#define DNAS_WEIGHTS_HASH_SIZE 33
/* XXH3-128, as 32 hexadecimal digits and a 0, over the n tensors prefix +
 * names[i]: for each, in strcmp order of the names, the name with its 0, the
 * number of dimensions and these as u64, the elements as f32.  So it depends
 * neither on prefix, order, container nor stored type, only on what a model
 * computes with.  -1 with a sentence for a tensor that is missing or holds
 * integers.  Reads all of them. */
int dnas_weights_hash(struct dnas_weights *w, char hex[DNAS_WEIGHTS_HASH_SIZE], const char *prefix,
                      const char *const *names, size_t n, struct dnas_err *err);

/* ---- writing ---- */

struct dnas_metadata {
    const char *key, *value; /* UTF-8 */
};

/* Writes name, dtype, shape and data of n tensors, in this order and as they
 * are, to path by way of path.part (dnas_out_open).  The header is padded so
 * that data begin at a multiple of 8; each tensor is aligned for f32 when no
 * odd number of narrow elements precedes it.  The same input gives the same
 * bytes.  A name twice, or "__metadata__", is a bug. */
int dnas_safetensors_write(const char *path, const struct dnas_tensor *tensors, size_t n,
                           const struct dnas_metadata *metadata, size_t n_metadata,
                           struct dnas_err *err);

#ifdef __cplusplus
}
#endif
#endif
