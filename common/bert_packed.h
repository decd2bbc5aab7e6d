/* SPDX-License-Identifier: MIT
 *
 * bert_packed.h - DNABERT-2's network on a GPU (packed.h).
 */
#ifndef DNAS_BERT_PACKED_H
#define DNAS_BERT_PACKED_H

#include "common/packed.h"

#ifdef __cplusplus
extern "C" {
#endif

extern const struct dnas_packed_backbone dnas_bert_packed;

/* Whether the kernels take this shape: 0, or -1 with a sentence. */
int dnas_bert_packed_check(const struct dnas_shape *shape, enum dnas_cuda_type type,
                           struct dnas_err *err);

#ifdef __cplusplus
}
#endif
#endif
