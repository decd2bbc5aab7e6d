/* SPDX-License-Identifier: MIT
 *
 * default_model.c - the model that ships, inside the library.
 *
 * common/models/kmer.safetensors byte for byte, taken in by the assembler: so
 * it is found wherever the tools are, and cannot be of another version.  The
 * Makefile knows that this object depends on it.
 */
#include "common/kmer_model.h"

extern const unsigned char dnas_default_model_begin[], dnas_default_model_end[];

__asm__(".section .rodata\n"
        ".balign 64\n"
        ".globl dnas_default_model_begin\n"
        ".hidden dnas_default_model_begin\n"
        "dnas_default_model_begin:\n"
        ".incbin \"common/models/kmer.safetensors\"\n"
        ".globl dnas_default_model_end\n"
        ".hidden dnas_default_model_end\n"
        "dnas_default_model_end:\n"
        ".byte 0\n"
        ".text\n");

struct dnas_kmer_model *dnas_kmer_model_default(struct dnas_err *err)
{
    return dnas_kmer_model_open_mem(
        dnas_default_model_begin, (size_t)(dnas_default_model_end - dnas_default_model_begin), err);
}
