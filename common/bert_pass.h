/* SPDX-License-Identifier: MIT
 *
 * bert_pass.h - DNABERT-2's network trained on a GPU (pass.h).
 */
#ifndef DNAS_BERT_PASS_H
#define DNAS_BERT_PASS_H

#include "common/pass.h"

#ifdef __cplusplus
extern "C" {
#endif

extern const struct dnas_pass_backbone dnas_bert_pass;

#ifdef __cplusplus
}
#endif
#endif
