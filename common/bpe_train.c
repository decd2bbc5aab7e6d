/* SPDX-License-Identifier: MIT
 *
 * bpe_train.c - byte-pair training.  Contract: bpe_train.h.
 *
 * The text is a list of chunks of token numbers, each stretch ended by a
 * separator.  A merge is a pass over all chunks, most of which is a comparison
 * that compilers turn into vector instructions; that is quicker than an index
 * of positions would be and needs no memory for one.  Counts of pairs are
 * kept up to date at each place that changes.  A pair without the new token
 * can only become rarer, so each row remembers its best pair, and looks again
 * only when that was the best of all and has become rarer.
 *
 * The text of two adjacent tokens is cut into these two wherever it stands
 * between token boundaries, so no two pairs make the same text.
 */
#include "common/bpe_train.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/msg.h"
#include "common/threads.h"
#include "common/xmem.h"

enum {
    N_SPECIALS = 5,      /* ids before the letters: id = number + 5 */
    CHUNK = 1 << 20,     /* letters after which a chunk ends with its stretch */
    GROUP = 64,          /* tokens compared at once */
    SEPARATOR1 = 0xff,   /* in chunks of one byte a token */
    SEPARATOR2 = 0xffff, /* and of two */
};

struct chunk {
    void *tok; /* u8 or u16 [n] */
    size_t n, cap;
};

struct dnas_bpe_trainer {
    size_t size; /* tokens allowed, without the specials */
    size_t token_len;
    struct chunk *chunk;
    size_t n_chunks, chunks_cap;
    uint64_t n_letters;
    bool in_stretch;
    int width;              /* bytes a token */
    size_t n;               /* tokens so far */
    char **text;            /* [size] */
    size_t *len;            /* [size] */
    uint16_t *left, *right; /* [size] */
    uint32_t *count;        /* [size, size] left part, right part */
    uint32_t *best;         /* [size] not less than the row's largest count allowed */
    uint16_t *best_right;
    uint16_t a, b; /* being merged into number n */
};

struct dnas_bpe_trainer *dnas_bpe_trainer_new(size_t vocab_size, size_t token_len)
{
    struct dnas_bpe_trainer *tr = dnas_xzalloc(1, sizeof(*tr));
    const char *letters = "ACGT";

    if (vocab_size < DNAS_BPE_TRAIN_VOCAB_MIN || vocab_size > DNAS_BPE_TRAIN_VOCAB_MAX ||
        token_len < 1)
        DNAS_BUG("a vocabulary of %zu entries of at most %zu letters", vocab_size, token_len);
    tr->size = vocab_size - N_SPECIALS;
    tr->token_len = token_len;
    tr->width = 1;
    tr->text = dnas_xzalloc(tr->size, sizeof(*tr->text));
    tr->len = dnas_xzalloc(tr->size, sizeof(*tr->len));
    tr->left = dnas_xzalloc(tr->size, sizeof(*tr->left));
    tr->right = dnas_xzalloc(tr->size, sizeof(*tr->right));
    tr->best = dnas_xzalloc(tr->size, sizeof(*tr->best));
    tr->best_right = dnas_xzalloc(tr->size, sizeof(*tr->best_right));
    for (; tr->n < 4; tr->n++) {
        tr->text[tr->n] = dnas_xstrndup(letters + tr->n, 1);
        tr->len[tr->n] = 1;
    }
    return tr;
}

void dnas_bpe_trainer_free(struct dnas_bpe_trainer *tr)
{
    if (!tr)
        return;
    for (size_t i = 0; i < tr->n_chunks; i++)
        free(tr->chunk[i].tok);
    for (size_t i = 0; i < tr->n; i++)
        free(tr->text[i]);
    free(tr->chunk);
    free(tr->text);
    free(tr->len);
    free(tr->left);
    free(tr->right);
    free(tr->count);
    free(tr->best);
    free(tr->best_right);
    free(tr);
}

/* The chunk that grows, with room for n more tokens. */
static struct chunk *open_chunk(struct dnas_bpe_trainer *tr, size_t n)
{
    struct chunk *c = tr->n_chunks ? &tr->chunk[tr->n_chunks - 1] : NULL;

    if (!c || (!tr->in_stretch && c->n >= CHUNK)) {
        if (c)
            c->tok = dnas_xrealloc(c->tok, c->n, 1);
        tr->chunk = dnas_xgrow(tr->chunk, &tr->chunks_cap, tr->n_chunks + 1, sizeof(*tr->chunk));
        c = &tr->chunk[tr->n_chunks++];
        *c = (struct chunk){0};
    }
    c->tok = dnas_xgrow(c->tok, &c->cap, c->n + n, 1);
    return c;
}

void dnas_bpe_trainer_end_sequence(struct dnas_bpe_trainer *tr)
{
    struct chunk *c;

    if (!tr->in_stretch)
        return;
    c = open_chunk(tr, 1);
    ((uint8_t *)c->tok)[c->n++] = SEPARATOR1;
    tr->in_stretch = false;
}

void dnas_bpe_trainer_add(struct dnas_bpe_trainer *tr, const char *letters, size_t n)
{
    static const char acgt[] = "ACGT";

    if (tr->count)
        DNAS_BUG("letters added after training");
    for (size_t i = 0; i < n;) {
        size_t len = 0;
        struct chunk *c;
        uint8_t *out;

        while (i + len < n && letters[i + len] && strchr(acgt, letters[i + len]))
            len++;
        if (len == 0) {
            dnas_bpe_trainer_end_sequence(tr);
            i++;
            continue;
        }
        c = open_chunk(tr, len);
        out = (uint8_t *)c->tok + c->n;
        for (size_t k = 0; k < len; k++)
            out[k] = (uint8_t)(strchr(acgt, letters[i + k]) - acgt);
        c->n += len;
        tr->n_letters += len;
        tr->in_stretch = true;
        i += len;
    }
}

/* Integers may be added in any order, by any thread. */
static void count_add(struct dnas_bpe_trainer *tr, size_t left, size_t right, uint32_t by)
{
    __atomic_fetch_add(&tr->count[left * tr->size + right], by, __ATOMIC_RELAXED);
}

/* Counts the pairs of letters in a chunk. */
static void count_letters(void *ctx, size_t i, int worker)
{
    struct dnas_bpe_trainer *tr = ctx;
    const uint8_t *tok = tr->chunk[i].tok;
    uint32_t count[4][4] = {{0}};
    size_t run = 0;

    (void)worker;
    for (size_t k = 0; k + 1 < tr->chunk[i].n; k++) {
        bool same = tok[k] == tok[k + 1];

        run = same ? run + 1 : 0; /* how many equal letters came before k + 1 */
        if (tok[k] < 4 && tok[k + 1] < 4 && (!same || run % 2 == 1))
            count[tok[k]][tok[k + 1]]++;
    }
    for (size_t a = 0; a < 4; a++)
        for (size_t b = 0; b < 4; b++)
            count_add(tr, a, b, count[a][b]);
}

static inline uint16_t get(const void *tok, size_t i, int width)
{
    return width == 1 ? ((const uint8_t *)tok)[i] : ((const uint16_t *)tok)[i];
}

static inline void put(void *tok, size_t i, uint16_t t, int width)
{
    if (width == 1)
        ((uint8_t *)tok)[i] = (uint8_t)t;
    else
        ((uint16_t *)tok)[i] = t;
}

/* Whether a pair begins at one of the first GROUP places; GROUP + 1 tokens are
 * read.  No way out of the loops, so that they become vector instructions. */
static bool group1_has(const uint8_t *tok, uint8_t a, uint8_t b)
{
    uint8_t any = 0;

    for (int i = 0; i < GROUP; i++)
        any |= (uint8_t)((tok[i] == a) & (tok[i + 1] == b));
    return any;
}

static bool group2_has(const uint16_t *tok, uint16_t a, uint16_t b)
{
    uint16_t any = 0;

    for (int i = 0; i < GROUP; i++)
        any |= (uint16_t)((tok[i] == a) & (tok[i + 1] == b));
    return any;
}

static inline bool group_has(const void *tok, size_t i, uint16_t a, uint16_t b, int width)
{
    return width == 1 ? group1_has((const uint8_t *)tok + i, (uint8_t)a, (uint8_t)b)
                      : group2_has((const uint16_t *)tok + i, a, b);
}

/* Brings the counts up to date for the pair at i, of which the text before has
 * been written up to w.  A pair of equal tokens counts half the length of its
 * run, rounded down, so losing one token costs it one if the length was even.
 *   t_run  how many new tokens end the text written, this one included */
static inline void recount(struct dnas_bpe_trainer *tr, const void *tok, size_t i, size_t w,
                           size_t n, size_t t_run, int width)
{
    uint16_t sep = width == 1 ? SEPARATOR1 : SEPARATOR2, a = tr->a, b = tr->b, t = (uint16_t)tr->n;
    uint16_t x = w > 0 ? get(tok, w - 1, width) : sep;
    uint16_t y = i + 2 < n ? get(tok, i + 2, width) : sep;
    bool again = y == a && i + 3 < n && get(tok, i + 3, width) == b;
    size_t run = 1;

    if (t_run > 1) {
        if (t_run % 2 == 0)
            count_add(tr, t, t, 1);
    } else if (x != sep) {
        count_add(tr, x, t, 1);
        while (x == a && run <= w && get(tok, w - run, width) == a)
            run++;
        if (x != a || run % 2 == 0)
            count_add(tr, x, a, UINT32_MAX);
    }
    if (y == sep)
        return;
    for (run = 1; y == b && i + 1 + run < n && get(tok, i + 1 + run, width) == b;)
        run++;
    if (a != b && (y != b || run % 2 == 0))
        count_add(tr, b, y, UINT32_MAX);
    if (a == b && y != b)
        count_add(tr, b, y, UINT32_MAX);
    if (!again)
        count_add(tr, t, y, 1);
}

static inline __attribute__((always_inline)) void merge_chunk(struct dnas_bpe_trainer *tr,
                                                              struct chunk *c, int width)
{
    void *tok = c->tok;
    uint16_t a = tr->a, b = tr->b, t = (uint16_t)tr->n;
    size_t i = 0, w = 0, n = c->n, t_run = 0;

    while (i < n) {
        size_t end = i + GROUP < n ? i + GROUP : n;

        if (end < n && !group_has(tok, i, a, b, width)) {
            if (w != i)
                memmove((char *)tok + w * (size_t)width, (char *)tok + i * (size_t)width,
                        GROUP * (size_t)width);
            i += GROUP;
            w += GROUP;
            t_run = 0;
            continue;
        }
        while (i < end) {
            if (get(tok, i, width) != a || i + 1 == n || get(tok, i + 1, width) != b) {
                put(tok, w++, get(tok, i++, width), width);
                t_run = 0;
                continue;
            }
            recount(tr, tok, i, w, n, ++t_run, width);
            put(tok, w++, t, width);
            i += 2;
        }
    }
    c->n = w;
}

static void merge_task(void *ctx, size_t i, int worker)
{
    struct dnas_bpe_trainer *tr = ctx;

    (void)worker;
    if (tr->width == 1)
        merge_chunk(tr, &tr->chunk[i], 1);
    else
        merge_chunk(tr, &tr->chunk[i], 2);
}

/* From now on two bytes a token, a chunk after the other. */
static void widen(struct dnas_bpe_trainer *tr)
{
    for (size_t i = 0; i < tr->n_chunks; i++) {
        struct chunk *c = &tr->chunk[i];
        const uint8_t *narrow = c->tok;
        uint16_t *wide = dnas_xalloc(c->n, sizeof(*wide));

        for (size_t k = 0; k < c->n; k++)
            wide[k] = narrow[k] == SEPARATOR1 ? SEPARATOR2 : narrow[k];
        free(c->tok);
        c->tok = wide;
    }
    tr->width = 2;
}

/* The row's most frequent pair of allowed length. */
static void find_best(struct dnas_bpe_trainer *tr, size_t left)
{
    const uint32_t *count = tr->count + left * tr->size;

    tr->best[left] = 0;
    for (size_t right = 0; right < tr->n; right++)
        if (count[right] > tr->best[left] && tr->len[left] + tr->len[right] <= tr->token_len) {
            tr->best[left] = count[right];
            tr->best_right[left] = (uint16_t)right;
        }
}

/* The most frequent pair of all into tr->a and tr->b; false: none is left. */
static bool choose(struct dnas_bpe_trainer *tr)
{
    for (;;) {
        size_t a = 0;

        for (size_t left = 1; left < tr->n; left++)
            if (tr->best[left] > tr->best[a])
                a = left;
        if (tr->best[a] == 0)
            return false;
        tr->a = (uint16_t)a;
        tr->b = tr->best_right[a];
        if (tr->count[a * tr->size + tr->b] == tr->best[a])
            return true;
        find_best(tr, a);
    }
}

/* Makes tr->a and tr->b one token. */
static void merge(struct dnas_bpe_trainer *tr, int n_threads)
{
    size_t t = tr->n, a = tr->a, b = tr->b;

    if (tr->width == 1 && t == SEPARATOR1)
        widen(tr);
    tr->text[t] = dnas_xasprintf("%s%s", tr->text[a], tr->text[b]);
    tr->len[t] = tr->len[a] + tr->len[b];
    tr->left[t] = (uint16_t)a;
    tr->right[t] = (uint16_t)b;
    dnas_parallel_for(tr->n_chunks, n_threads, merge_task, tr);
    tr->count[a * tr->size + b] = 0;
    tr->n++;
    for (size_t left = 0; left < t; left++) {
        uint32_t count = tr->count[left * tr->size + t];

        if (count > tr->best[left] && tr->len[left] + tr->len[t] <= tr->token_len) {
            tr->best[left] = count;
            tr->best_right[left] = (uint16_t)t;
        }
    }
    find_best(tr, t);
}

static void write_vocabulary(FILE *f, const struct dnas_bpe_trainer *tr,
                             const char *const special[N_SPECIALS])
{
    fputs("    \"vocab\": {\n", f);
    for (size_t i = 0; i < N_SPECIALS; i++)
        fprintf(f, "      \"%s\": %zu,\n", special[i], i);
    for (size_t t = 0; t < tr->n; t++)
        fprintf(f, "      \"%s\": %zu%s\n", tr->text[t], t + N_SPECIALS, t + 1 < tr->n ? "," : "");
    fputs("    },\n    \"merges\": [", f);
    for (size_t t = 4; t < tr->n; t++)
        fprintf(f, "%s\n      \"%s %s\"", t > 4 ? "," : "", tr->text[tr->left[t]],
                tr->text[tr->right[t]]);
    fputs(tr->n > 4 ? "\n    ]\n" : "]\n", f);
}

/* The layout of DNABERT-2's file. */
static void write_json(FILE *f, const struct dnas_bpe_trainer *tr)
{
    static const char *const special[N_SPECIALS] = {"[UNK]", "[CLS]", "[SEP]", "[PAD]", "[MASK]"};

    fputs("{\n  \"version\": \"1.0\",\n  \"truncation\": null,\n  \"padding\": null,\n"
          "  \"added_tokens\": [\n",
          f);
    for (size_t i = 0; i < N_SPECIALS; i++)
        fprintf(f,
                "    {\n      \"id\": %zu,\n      \"special\": true,\n      \"content\": \"%s\",\n"
                "      \"single_word\": false,\n      \"lstrip\": false,\n"
                "      \"rstrip\": false,\n      \"normalized\": false\n    }%s\n",
                i, special[i], i + 1 < N_SPECIALS ? "," : "");
    fputs("  ],\n  \"normalizer\": null,\n  \"pre_tokenizer\": {\n    \"type\": \"Whitespace\"\n"
          "  },\n  \"post_processor\": {\n    \"type\": \"TemplateProcessing\",\n"
          "    \"single\": [\n"
          "      { \"SpecialToken\": { \"id\": \"[CLS]\", \"type_id\": 0 } },\n"
          "      { \"Sequence\": { \"id\": \"A\", \"type_id\": 0 } },\n"
          "      { \"SpecialToken\": { \"id\": \"[SEP]\", \"type_id\": 0 } }\n    ],\n"
          "    \"pair\": [\n"
          "      { \"SpecialToken\": { \"id\": \"[CLS]\", \"type_id\": 0 } },\n"
          "      { \"Sequence\": { \"id\": \"A\", \"type_id\": 0 } },\n"
          "      { \"SpecialToken\": { \"id\": \"[SEP]\", \"type_id\": 0 } },\n"
          "      { \"Sequence\": { \"id\": \"B\", \"type_id\": 1 } },\n"
          "      { \"SpecialToken\": { \"id\": \"[SEP]\", \"type_id\": 1 } }\n    ],\n"
          "    \"special_tokens\": {\n"
          "      \"[CLS]\": { \"id\": \"[CLS]\", \"ids\": [1], \"tokens\": [\"[CLS]\"] },\n"
          "      \"[SEP]\": { \"id\": \"[SEP]\", \"ids\": [2], \"tokens\": [\"[SEP]\"] }\n"
          "    }\n  },\n  \"decoder\": null,\n  \"model\": {\n    \"type\": \"BPE\",\n"
          "    \"dropout\": null,\n    \"unk_token\": \"[UNK]\",\n"
          "    \"continuing_subword_prefix\": null,\n    \"end_of_word_suffix\": null,\n"
          "    \"fuse_unk\": false,\n",
          f);
    write_vocabulary(f, tr, special);
    fputs("  }\n}\n", f);
}

char *dnas_bpe_trainer_run(struct dnas_bpe_trainer *tr, size_t *n_vocab, int n_threads,
                           struct dnas_err *err)
{
    char *json = NULL;
    size_t size;
    FILE *f;
    bool failed;

    if (tr->count)
        DNAS_BUG("a trainer runs once");
    if (tr->n_letters == 0 || tr->n_letters > UINT32_MAX) {
        dnas_err_set(err, tr->n_letters ? "more than 4294967295 letters to train on"
                                        : "no letters A, C, G, T to train on");
        return NULL;
    }
    dnas_bpe_trainer_end_sequence(tr);
    tr->count = dnas_xzalloc(tr->size, tr->size * sizeof(*tr->count));
    dnas_parallel_for(tr->n_chunks, n_threads, count_letters, tr);
    for (size_t left = 0; left < 4; left++)
        find_best(tr, left);
    while (tr->n < tr->size && choose(tr)) {
        merge(tr, n_threads);
        dnas_progress("training", "tokens", tr->n, tr->n, tr->size);
    }
    dnas_progress_end();
    f = dnas_xhave(open_memstream(&json, &size), "the vocabulary");
    write_json(f, tr);
    failed = ferror(f);
    failed = fclose(f) != 0 || failed;
    dnas_xhave(failed ? NULL : json, "the vocabulary");
    if (n_vocab)
        *n_vocab = tr->n + N_SPECIALS;
    return json;
}
