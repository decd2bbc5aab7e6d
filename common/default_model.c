/* SPDX-License-Identifier: MIT
 *
 * default_model.c - the model that ships, inside the library.
 *
 * common/models/kmer.safetensors byte for byte, taken in by the assembler: so
 * it is found wherever the tools are, and cannot be of another version.  The
 * Makefile knows that this object depends on it.
 */
#include "common/kmer_model.h"

extern const unsigned char dnas_default_model[];
extern const uint64_t dnas_default_model_size;

__asm__(".section .rodata\n"
        ".balign 64\n"
        ".globl dnas_default_model\n"
        ".hidden dnas_default_model\n"
        "dnas_default_model:\n"
        ".incbin \"common/models/kmer.safetensors\"\n"
        "1:\n"
        ".balign 8\n"
        ".globl dnas_default_model_size\n"
        ".hidden dnas_default_model_size\n"
        "dnas_default_model_size:\n"
        ".quad 1b - dnas_default_model\n"
        ".text\n");

struct dnas_kmer_model *dnas_kmer_model_default(struct dnas_err *err)
{
    return dnas_kmer_model_open_mem(dnas_default_model, (size_t)dnas_default_model_size, err);
}
