/* SPDX-License-Identifier: MIT
 *
 * record.h - what flows between the tools: the kinds of stream and their columns.
 *
 *   FASTA ── dnas-tokenize ──> TOKENS ── dnas-embed ──> EMBEDDINGS ── dnas-kmeans ──> LABELS
 *
 * The normative text is man/dnas-stream.5.
 */
#ifndef DNAS_RECORD_H
#define DNAS_RECORD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* PAIRS       id · seq_a, seq_b utf8 or tokens_a, tokens_b u16 ragged · split u8 · label utf8
 * TOKENS      id · tokens u16 ragged · part u32, parts u32 · length_bp u32 [· label utf8]
 * EMBEDDINGS  id · embedding f32 or bf16 [C] [· length_bp u32] [· label utf8]
 * LABELS      id · cluster i32 (-1: none) · score f32 [· length_bp u32] [· label utf8]
 * Further columns pass through every tool untouched. */
enum dnas_kind { DNAS_PAIRS, DNAS_TOKENS, DNAS_EMBEDDINGS, DNAS_LABELS };
#define DNAS_N_KINDS 4

enum dnas_type {
    DNAS_UTF8, /* a text a row: always ragged */
    DNAS_U8,
    DNAS_U16,
    DNAS_U32,
    DNAS_I32,
    DNAS_I64,
    DNAS_F32,
    DNAS_BF16,
};
#define DNAS_N_TYPES 8

struct dnas_column {
    char *name;
    enum dnas_type type;
    bool ragged;    /* a list of any length a row (JSON shape [null]) */
    uint32_t dim;   /* elements a row where not ragged; 1 with shape [] unless is_vector */
    bool is_vector; /* JSON shape [dim], not [] */
};

const char *dnas_kind_name(enum dnas_kind kind); /* "TOKENS" */
/* -1 for an unknown name. */
int dnas_kind_from_name(const char *name);
const char *dnas_type_name(enum dnas_type type); /* "f32" */
int dnas_type_from_name(const char *name);
size_t dnas_type_size(enum dnas_type type); /* bytes an element */

/* bfloat16, to nearest, ties to even; a NaN stays one. */
uint16_t dnas_bf16_from_f32(float x);
float dnas_f32_from_bf16(uint16_t b);

/* Whether n bytes are UTF-8 (RFC 3629) without a 0. */
bool dnas_is_utf8(const char *s, size_t n);
/* The same without control characters (below 0x20): what a stream's texts and
 * the names of its columns may be, so that TSV needs no escapes. */
bool dnas_is_plain_text(const char *s, size_t n);

#ifdef __cplusplus
}
#endif
#endif
