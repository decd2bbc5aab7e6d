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

#ifdef __cplusplus
}
#endif
#endif
