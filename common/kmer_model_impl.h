/* SPDX-License-Identifier: MIT
 *
 * kmer_model_impl.h - shared by kmer_model.c and kmer_model_file.c alone.
 */
#ifndef DNAS_KMER_MODEL_IMPL_H
#define DNAS_KMER_MODEL_IMPL_H

#include "common/kmer_model.h"

/* The config as JSON text, its members sorted by name.  Free with free(). */
char *kmer_model_config(const struct dnas_kmer_parts *p);

#endif
