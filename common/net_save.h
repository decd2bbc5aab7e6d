/* SPDX-License-Identifier: MIT
 *
 * net_save.h - a trained network as a file that dnas-embed runs.
 */
#ifndef DNAS_NET_SAVE_H
#define DNAS_NET_SAVE_H

#include "common/net.h"
#include "common/err.h"
#include "common/tokenizer.h"
#include "common/weights.h"

#ifdef __cplusplus
extern "C" {
#endif

/* What goes into a model file beside the weights; NULL where there is none. */
struct dnas_net_about {
    const struct dnas_tokenizer *tokenizer;
    const char *pg_json; /* an array of program lines */
};

/* Writes one safetensors file with Hugging Face's tensor names and "config",
 * "tokenizer" and "pg" in its metadata; replaces path when whole.  The
 * contrastive head is left out, as in the published models; the head for masked
 * tokens is written where the network has one. */
int dnas_net_save(const char *path, const struct dnas_net *net, const struct dnas_net_about *about,
                  struct dnas_err *err);

/* Writes a folder as Hugging Face's transformers reads one: config.json,
 * the tokenizer's file (where there is one) and model.safetensors. */
int dnas_net_save_hf(const char *folder, const struct dnas_net *net,
                     const struct dnas_net_about *about, struct dnas_err *err);

/* The tensors of net with the values of x, f32 [n], under prefix + their names.
 * *out [net->n_tensors] borrows x; free with dnas_net_tensors_free. */
struct dnas_tensor *dnas_net_tensors(const struct dnas_net *net, const float *x,
                                     const char *prefix);
void dnas_net_tensors_free(struct dnas_tensor *tensors, size_t n);

#ifdef __cplusplus
}
#endif
#endif
