/* SPDX-License-Identifier: MIT
 *
 * bpe_impl.h - the inside of struct dnas_bpe, for common/bpe*.c alone.
 *
 * Two encoders share it.  The fast one needs what DNABERT-2's vocabulary has
 * (see dnas_bpe_fast_new) and works on 2-bit letters; the general one does the
 * merges with a heap.
 */
#ifndef DNAS_BPE_IMPL_H
#define DNAS_BPE_IMPL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/bpe.h"

enum {
    BPE_IDS_MAX = 65536,
    BPE_NO_RANK = -1,
    BPE_FAST_LETTERS = 8,        /* letters that index longest8 */
    BPE_FAST_LONG = 0xffff,      /* in longest8: longer tokens exist, walk the trie */
    BPE_FAST_TOKENS_MAX = 8192,  /* the V x V table takes V^2/8 bytes while it is made */
    BPE_FAST_TOKEN_LEN_MAX = 64, /* a look-up may walk this far at each letter */
};

struct bpe_merge { /* its index is its rank */
    uint16_t left, right, result;
};

struct bpe_added {
    const char *text;
    size_t len;
    uint16_t id;
};

/* A token of the fast encoder.  Compatibility of a and b, "the encoding of the
 * text of both is a, b", is one bit: row of a, column of b.  Tokens that no
 * bit tells apart share rows and columns, so that the table fits a cache. */
struct bpe_token {
    uint16_t row, col;
    uint16_t shorter; /* longest token that is a proper prefix */
    uint16_t len;
};

struct bpe_fast {
    unsigned n; /* tokens that merges can make, by rank, the four letters first */
    /* [n+2]: tok[n] stands for "none" and is compatible after nothing;
     * tok[n+1] for the start of the text, before which anything may come. */
    struct bpe_token *tok;
    uint16_t *id;       /* [n] their ids in the file */
    uint8_t *compat;    /* [rows, stride] bits */
    size_t stride;      /* bytes */
    uint16_t *longest8; /* [4^8] longest token that begins these letters */
    uint32_t (*child)[4];
    uint16_t *node_token; /* the token that ends at a node of the trie, or n */
    unsigned max_len;
};

struct dnas_bpe {
    char *arena;       /* the texts, 0-terminated */
    const char **text; /* [n_ids], NULL for a hole */
    uint16_t *by_text; /* [n_tokens] ids in strcmp order */
    size_t n_ids, n_tokens;
    struct bpe_merge *merge; /* [n_merges] */
    size_t n_merges;
    uint32_t *slot; /* [slot_mask + 1] hash of pairs: rank + 1, 0 is free */
    size_t slot_mask;
    int32_t ascii[128]; /* id of a character, -1: none */
    bool in_run[256];   /* bytes that merges may join */
    uint16_t unk;
    bool whitespace;         /* the pre-tokenizer drops white space */
    struct bpe_added *added; /* longest first */
    size_t n_added;
    bool added_first[256];
    uint16_t *special; /* [n_before + n_after] ids around a row */
    size_t n_before, n_after;
    struct bpe_fast *fast; /* NULL: the heap */
    char hash[33];
};

struct bpe_symbol { /* of the general encoder, in a doubly linked list */
    int32_t id;     /* -1: joined to its left neighbour */
    int32_t prev, next;
};

struct bpe_candidate {
    int32_t rank, at;
    uint16_t left, right;
};

struct dnas_bpe_encoder {
    size_t segment_min; /* letters; the tests make it small, to join very often */
    uint8_t *bits;      /* 2-bit letters of a run, the first in the low bits */
    size_t bits_cap;
    uint16_t *lane_tok;
    size_t lane_cap;
    struct bpe_symbol *symbol;
    size_t symbol_cap;
    struct bpe_candidate *heap;
    size_t heap_n, heap_cap;
};

/* Where the search for a pair, left << 16 | right, begins. */
static inline size_t bpe_slot(const struct dnas_bpe *bpe, uint32_t pair)
{
    return (size_t)(pair * UINT64_C(0x9E3779B97F4A7C15) >> 32) & bpe->slot_mask;
}

/* Rank of the merge of two ids, or BPE_NO_RANK. */
static inline int32_t bpe_rank(const struct dnas_bpe *bpe, unsigned left, unsigned right)
{
    size_t i = bpe_slot(bpe, left << 16 | right);

    for (; bpe->slot[i]; i = (i + 1) & bpe->slot_mask) {
        const struct bpe_merge *m = &bpe->merge[bpe->slot[i] - 1];

        if (m->left == left && m->right == right)
            return (int32_t)(bpe->slot[i] - 1);
    }
    return BPE_NO_RANK;
}

/* A letter's 2-bit code: A 0, C 1, T 2, G 3, so that it is two bits of ASCII. */
static inline unsigned bpe_code(unsigned char c)
{
    return c >> 1 & 3;
}

/* The tables of the fast encoder, or NULL when the vocabulary needs the heap. */
struct bpe_fast *dnas_bpe_fast_new(const struct dnas_bpe *bpe);
void dnas_bpe_fast_free(struct bpe_fast *fast);

#endif
