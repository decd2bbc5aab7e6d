/* SPDX-License-Identifier: MIT
 *
 * bpe_fast.c - the tables of the fast encoder.
 *
 * A sequence of tokens is the encoding of its text if and only if each
 * adjacent pair is the encoding of its own text ("compatible"): the first
 * merge to cross a boundary would do so in the pair alone as well, since merges
 * on either side of a boundary do not see each other (idea: GitHub's rust-gems
 * `bpe` crate).  All V x V pairs are decided here by undoing merges.
 */
#include "common/bpe_impl.h"

#include <stdlib.h>
#include <string.h>

#include "common/xmem.h"

#define NO_BLOCK INT32_MAX

/* What is known of the tokens while the tables are made; numbers, not ids. */
struct build {
    const struct dnas_bpe *bpe;
    struct bpe_fast *f;
    int32_t *number;        /* [n_ids] number of an id, or -1 */
    int32_t *rank;          /* [n] of the merge that makes it, -1 for a letter */
    uint16_t *left, *right; /* [n] what that merge joins */
    uint32_t *merge_at;     /* [n+1] merges by left part: where they start */
    struct {
        uint16_t right;
        int32_t rank;
    } * merge;      /* [merges of tokens that exist] */
    uint64_t *bits; /* [n, words] compatibility */
    size_t words;
};

static bool only_acgt(const char *text)
{
    return text[strspn(text, "ACGT")] == '\0';
}

/* Merges in an order in which every part is made before it is used, so that
 * the encoder works through ranks in rising order. */
static bool merges_rise(const struct dnas_bpe *bpe)
{
    int32_t *last = dnas_xalloc(bpe->n_ids, sizeof(*last)); /* rank that last makes an id */
    bool rise = true;

    memset(last, 0xff, bpe->n_ids * sizeof(*last));
    for (size_t r = 0; r < bpe->n_merges; r++)
        last[bpe->merge[r].result] = (int32_t)r;
    for (size_t r = 0; r < bpe->n_merges; r++) {
        const struct bpe_merge *m = &bpe->merge[r];

        rise = rise && last[m->left] < (int32_t)r && last[m->right] < (int32_t)r;
    }
    free(last);
    return rise;
}

static bool is_eligible(const struct dnas_bpe *bpe)
{
    for (const char *c = "ACGT"; *c; c++)
        if (bpe->ascii[(unsigned char)*c] < 0 || bpe->added_first[(unsigned char)*c])
            return false;
    if (bpe->n_merges + 4 > BPE_FAST_TOKENS_MAX)
        return false;
    for (size_t r = 0; r < bpe->n_merges; r++) {
        const char *text = bpe->text[bpe->merge[r].result];

        if (!only_acgt(text) || strlen(text) > BPE_FAST_TOKEN_LEN_MAX)
            return false;
    }
    return merges_rise(bpe);
}

/* The rank of the last merge in encoding a text, if that leaves one token. */
static int32_t last_merge(const struct dnas_bpe *bpe, const char *text)
{
    unsigned id[BPE_FAST_TOKEN_LEN_MAX];
    size_t n = 0;
    int32_t best = BPE_NO_RANK;

    for (; text[n]; n++)
        id[n] = (unsigned)bpe->ascii[(unsigned char)text[n]];
    while (n > 1) {
        size_t at = 0;

        best = BPE_NO_RANK;
        for (size_t i = 0; i + 1 < n; i++) {
            int32_t rank = bpe_rank(bpe, id[i], id[i + 1]);

            if (rank != BPE_NO_RANK && (best == BPE_NO_RANK || rank < best)) {
                best = rank;
                at = i;
            }
        }
        if (best == BPE_NO_RANK)
            return BPE_NO_RANK;
        id[at] = bpe->merge[best].result;
        memmove(id + at + 1, id + at + 2, (n - at - 2) * sizeof(id[0]));
        n--;
    }
    return best;
}

/* Numbers the four letters, then each token that is the encoding of its own
 * text, by the rank of the merge that makes it there. */
static void number_tokens(struct build *b)
{
    const struct dnas_bpe *bpe = b->bpe;
    size_t n_max = bpe->n_merges + 4;
    unsigned n = 0;

    b->number = dnas_xalloc(bpe->n_ids, sizeof(*b->number));
    memset(b->number, 0xff, bpe->n_ids * sizeof(*b->number));
    b->rank = dnas_xalloc(n_max, sizeof(*b->rank));
    b->left = dnas_xzalloc(n_max, sizeof(*b->left));
    b->right = dnas_xzalloc(n_max, sizeof(*b->right));
    b->f->id = dnas_xalloc(n_max, sizeof(*b->f->id));
    for (const char *c = "ACGT"; *c; c++, n++) {
        b->f->id[n] = (uint16_t)bpe->ascii[(unsigned char)*c];
        b->number[b->f->id[n]] = (int32_t)n;
        b->rank[n] = -1;
    }
    for (size_t r = 0; r < bpe->n_merges; r++) {
        const struct bpe_merge *m = &bpe->merge[r];

        if (last_merge(bpe, bpe->text[m->result]) != (int32_t)r)
            continue;
        b->f->id[n] = m->result;
        b->number[m->result] = (int32_t)n;
        b->rank[n] = (int32_t)r;
        b->left[n] = (uint16_t)b->number[m->left];
        b->right[n] = (uint16_t)b->number[m->right];
        n++;
    }
    b->f->n = n;
}

/* Lists the merges of tokens that exist, by their left part. */
static void index_merges(struct build *b)
{
    const struct dnas_bpe *bpe = b->bpe;
    uint32_t *at = b->merge_at = dnas_xzalloc((size_t)b->f->n + 2, sizeof(*at));

    b->merge = dnas_xalloc(bpe->n_merges, sizeof(*b->merge));
    for (size_t r = 0; r < bpe->n_merges; r++)
        if (b->number[bpe->merge[r].left] >= 0 && b->number[bpe->merge[r].right] >= 0)
            at[b->number[bpe->merge[r].left] + 2]++;
    for (unsigned i = 2; i < b->f->n + 2; i++)
        at[i] += at[i - 1];
    for (size_t r = 0; r < bpe->n_merges; r++) {
        int32_t left = b->number[bpe->merge[r].left], right = b->number[bpe->merge[r].right];

        if (left < 0 || right < 0)
            continue;
        b->merge[at[left + 1]].right = (uint16_t)right;
        b->merge[at[left + 1]++].rank = (int32_t)r;
    }
}

/* One row of "no merge crosses the boundary of x and y before both are whole"
 * for all y, given the rows of smaller x.  Of the two the one made later is
 * undone, y when they are equal, since runs are merged from the left; then the
 * pair at the boundary must not have been merged before.
 *   row      u8 [n]   out: 1 or 0
 *   blocked  i32 [n]  all NO_BLOCK, before and after */
static void compatible_row(const struct build *b, unsigned x, uint8_t *row, int32_t *blocked)
{
    unsigned n = b->f->n, y = 0, own = x < 4 ? 4 : x;

    if (x < 4) {
        memset(row, 1, 4);
    } else {
        unsigned r = b->right[x];
        const uint64_t *undone = b->bits + r * b->words;

        for (; y < x; y++)
            row[y] = undone[y / 64] >> (y % 64) & 1;
        for (uint32_t i = b->merge_at[r]; i < b->merge_at[r + 1]; i++)
            if (b->merge[i].right < x && b->merge[i].rank < b->rank[x])
                row[b->merge[i].right] = 0;
    }
    for (uint32_t i = b->merge_at[x]; i < b->merge_at[x + 1]; i++)
        blocked[b->merge[i].right] = b->merge[i].rank;
    for (y = own; y < n; y++)
        row[y] = row[b->left[y]] & (blocked[b->left[y]] > b->rank[y]);
    for (uint32_t i = b->merge_at[x]; i < b->merge_at[x + 1]; i++)
        blocked[b->merge[i].right] = NO_BLOCK;
}

static void compare_all_pairs(struct build *b)
{
    unsigned n = b->f->n;
    uint8_t *row = dnas_xalloc(n, 1);
    int32_t *blocked = dnas_xalloc(n, sizeof(*blocked));

    for (unsigned y = 0; y < n; y++)
        blocked[y] = NO_BLOCK;
    b->words = (n + 63) / 64;
    b->bits = dnas_xzalloc(n, b->words * sizeof(*b->bits));
    for (unsigned x = 0; x < n; x++) {
        uint64_t *bits = b->bits + x * b->words;

        compatible_row(b, x, row, blocked);
        for (unsigned y = 0; y < n; y++)
            bits[y / 64] |= (uint64_t)row[y] << (y % 64);
    }
    /* Rows so far answer for parts; a pair that itself merges is not two tokens. */
    for (unsigned x = 0; x < n; x++)
        for (uint32_t i = b->merge_at[x]; i < b->merge_at[x + 1]; i++) {
            unsigned y = b->merge[i].right;

            b->bits[x * b->words + y / 64] &= ~(UINT64_C(1) << (y % 64));
        }
    free(row);
    free(blocked);
}

/* Gives equal rows of bits [n, words] one class; returns the number of classes.
 *   class_of  u16 [n]      sample  u16 [n]  the first row of each class */
static unsigned classify(uint16_t *class_of, uint16_t *sample, const uint64_t *bits, unsigned n,
                         size_t words)
{
    size_t mask = 1;
    unsigned n_classes = 0;
    uint32_t *slot;

    while (mask < 2 * (size_t)n)
        mask *= 2;
    slot = dnas_xzalloc(mask--, sizeof(*slot));
    for (unsigned x = 0; x < n; x++) {
        const uint64_t *row = bits + x * words;
        uint64_t hash = 0;
        size_t i;

        for (size_t w = 0; w < words; w++) {
            hash = (hash ^ row[w]) * UINT64_C(0x9E3779B97F4A7C15);
            hash ^= hash >> 32;
        }
        for (i = hash & mask; slot[i]; i = (i + 1) & mask)
            if (!memcmp(bits + sample[slot[i] - 1] * words, row, words * sizeof(*row)))
                break;
        if (!slot[i]) {
            sample[n_classes] = (uint16_t)x;
            slot[i] = ++n_classes;
        }
        class_of[x] = (uint16_t)(slot[i] - 1);
    }
    free(slot);
    return n_classes;
}

/* Columns of the sampled rows as rows: [n, out_words] of n_rows bits each. */
static uint64_t *transpose(const struct build *b, const uint16_t *sample, unsigned n_rows,
                           size_t out_words)
{
    unsigned n = b->f->n;
    uint64_t *out = dnas_xzalloc(n, out_words * sizeof(*out));

    for (unsigned w = 0; w < out_words; w++) /* 64 rows at a time stay in the cache */
        for (unsigned y = 0; y < n; y++)
            for (unsigned x = 64 * w; x < n_rows && x < 64 * w + 64; x++)
                out[y * out_words + w] |= (b->bits[sample[x] * b->words + y / 64] >> (y % 64) & 1)
                                          << (x % 64);
    return out;
}

/* Keeps one row and one column of each kind; row n_rows is all ones, for the
 * start of the text, and column n_cols is all zeros, for "none". */
static void compress(struct build *b)
{
    struct bpe_fast *f = b->f;
    unsigned n = f->n;
    uint16_t *class_of = dnas_xalloc(n, sizeof(*class_of));
    uint16_t *row_at = dnas_xalloc(n, sizeof(*row_at));
    uint16_t *col_at = dnas_xalloc(n, sizeof(*col_at));
    unsigned n_rows = classify(class_of, row_at, b->bits, n, b->words), n_cols;
    size_t words = (n_rows + 63) / 64;
    uint64_t *columns = transpose(b, row_at, n_rows, words);

    for (unsigned x = 0; x < n; x++)
        f->tok[x].row = class_of[x];
    n_cols = classify(class_of, col_at, columns, n, words);
    for (unsigned y = 0; y < n; y++)
        f->tok[y].col = class_of[y];
    f->stride = n_cols / 8 + 1;
    f->compat = dnas_xzalloc(n_rows + 1, f->stride);
    for (unsigned c = 0; c < n_cols; c++) {
        const uint64_t *column = columns + col_at[c] * words;

        for (unsigned r = 0; r < n_rows; r++)
            f->compat[r * f->stride + c / 8] |= (column[r / 64] >> (r % 64) & 1) << (c % 8);
        f->compat[n_rows * f->stride + c / 8] |= 1 << (c % 8);
    }
    f->tok[n].row = 0;
    f->tok[n].col = (uint16_t)n_cols;
    f->tok[n + 1].row = (uint16_t)n_rows;
    f->tok[n + 1].col = (uint16_t)n_cols;
    free(class_of);
    free(row_at);
    free(col_at);
    free(columns);
}

/* The trie of all texts, and each token's longest proper prefix. */
static void make_trie(struct build *b)
{
    struct bpe_fast *f = b->f;
    size_t n_nodes = 1, n_letters = 0;

    for (unsigned t = 0; t < f->n; t++)
        n_letters += strlen(b->bpe->text[f->id[t]]);
    f->child = dnas_xzalloc(n_letters + 1, sizeof(*f->child));
    f->node_token = dnas_xalloc(n_letters + 1, sizeof(*f->node_token));
    for (size_t i = 0; i <= n_letters; i++)
        f->node_token[i] = (uint16_t)f->n;
    for (unsigned t = 0; t < f->n; t++) {
        const char *text = b->bpe->text[f->id[t]];
        uint32_t node = 0;

        for (const char *c = text; *c; c++) {
            uint32_t *next = &f->child[node][bpe_code((unsigned char)*c)];

            if (!*next)
                *next = (uint32_t)n_nodes++;
            node = *next;
        }
        f->node_token[node] = (uint16_t)t;
        f->tok[t].len = (uint16_t)strlen(text);
        if (f->tok[t].len > f->max_len)
            f->max_len = f->tok[t].len;
    }
}

static void find_prefixes(struct build *b)
{
    struct bpe_fast *f = b->f;

    for (unsigned t = 0; t < f->n; t++) {
        const char *text = b->bpe->text[f->id[t]];
        uint32_t node = 0;

        f->tok[t].shorter = (uint16_t)f->n;
        for (unsigned i = 0; i + 1 < f->tok[t].len; i++) {
            node = f->child[node][bpe_code((unsigned char)text[i])];
            if (f->node_token[node] != f->n)
                f->tok[t].shorter = f->node_token[node];
        }
    }
    f->tok[f->n].shorter = f->tok[f->n + 1].shorter = (uint16_t)f->n;
}

static void make_longest8(struct bpe_fast *f)
{
    size_t size = (size_t)1 << (2 * BPE_FAST_LETTERS);

    f->longest8 = dnas_xalloc(size, sizeof(*f->longest8));
    for (size_t word = 0; word < size; word++) {
        uint32_t node = 0;
        unsigned i;

        f->longest8[word] = (uint16_t)f->n;
        for (i = 0; i < BPE_FAST_LETTERS; i++) {
            node = f->child[node][word >> (2 * i) & 3];
            if (!node)
                break;
            if (f->node_token[node] != f->n)
                f->longest8[word] = f->node_token[node];
        }
        for (unsigned c = 0; node && c < 4; c++)
            if (f->child[node][c])
                f->longest8[word] = BPE_FAST_LONG;
    }
}

struct bpe_fast *dnas_bpe_fast_new(const struct dnas_bpe *bpe)
{
    struct build b = {.bpe = bpe};

    if (!is_eligible(bpe))
        return NULL;
    b.f = dnas_xzalloc(1, sizeof(*b.f));
    number_tokens(&b);
    b.f->tok = dnas_xzalloc((size_t)b.f->n + 2, sizeof(*b.f->tok));
    index_merges(&b);
    compare_all_pairs(&b);
    compress(&b);
    make_trie(&b);
    find_prefixes(&b);
    make_longest8(b.f);
    free(b.number);
    free(b.rank);
    free(b.left);
    free(b.right);
    free(b.merge_at);
    free(b.merge);
    free(b.bits);
    return b.f;
}

void dnas_bpe_fast_free(struct bpe_fast *fast)
{
    if (!fast)
        return;
    free(fast->tok);
    free(fast->id);
    free(fast->compat);
    free(fast->longest8);
    free(fast->child);
    free(fast->node_token);
    free(fast);
}
