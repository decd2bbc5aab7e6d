/* SPDX-License-Identifier: MIT
 *
 * fixed_vocab.c - tokens of a fixed number of letters.  Contract:
 * fixed_vocab.h.
 *
 * Letters alone are k-mers of k = 0, so that both kinds have one encoder.
 */
#include "common/fixed_vocab.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "common/text.h"
#include "common/xmem.h"

#define IDS_MAX 65536
#define K_MIN 2
#define K_MAX 7 /* 4^8 words would leave no id for a letter */

struct dnas_fixed_vocab {
    char *arena;        /* the tokens, 0-terminated */
    const char **token; /* [n] */
    size_t n;
    unsigned k;      /* letters of a word; 0: there are none */
    int32_t *word;   /* [4^k] its id, the first letter in the highest bits; -1: none yet */
    int letter[256]; /* id of a single letter, -1: none */
    bool fuse_unk;   /* a run of unknown letters is one token */
    bool at_end;     /* the special token of a row is its last */
    uint16_t special, unk;
    char hash[33];
};

/* 0 to 3, or -1: the number of a letter in words. */
static int code(char c)
{
    switch (c) {
    case 'A':
        return 0;
    case 'C':
        return 1;
    case 'G':
        return 2;
    case 'T':
        return 3;
    default:
        return -1;
    }
}

/* The number of k letters; -1: not all of them are A, C, G, T. */
static int32_t word_number(const char *s, unsigned k)
{
    int32_t number = 0;

    for (unsigned i = 0; i < k; i++) {
        int c = code(s[i]);

        if (c < 0)
            return -1;
        number = number << 2 | c;
    }
    return number;
}

size_t dnas_fixed_vocab_size(const struct dnas_fixed_vocab *v)
{
    return v->n;
}

const char *dnas_fixed_vocab_token(const struct dnas_fixed_vocab *v, size_t id)
{
    return id < v->n ? v->token[id] : NULL;
}

int dnas_fixed_vocab_id(const struct dnas_fixed_vocab *v, const char *token)
{
    for (size_t id = 0; id < v->n; id++)
        if (strcmp(v->token[id], token) == 0)
            return (int)id;
    return -1;
}

int dnas_fixed_vocab_unk(const struct dnas_fixed_vocab *v)
{
    return v->unk;
}

const char *dnas_fixed_vocab_hash(const struct dnas_fixed_vocab *v)
{
    return v->hash;
}

/* The canonical form, which must never change: "k <k>", "unknown <id>", with
 * " fused" where it is, "first <id>" or "last <id>", then the tokens; a line
 * each. */
static void make_hash(struct dnas_fixed_vocab *v)
{
    struct dnas_text form = {0};
    XXH128_canonical_t bytes;

    dnas_text_printf(&form, "k %u\nunknown %u%s\n%s %u\n", v->k, v->unk,
                     v->fuse_unk ? " fused" : "", v->at_end ? "last" : "first", v->special);
    for (size_t id = 0; id < v->n; id++)
        dnas_text_printf(&form, "%s\n", v->token[id]);
    XXH128_canonicalFromHash(&bytes, XXH3_128bits(form.data, form.n));
    for (size_t i = 0; i < sizeof(bytes.digest); i++)
        snprintf(v->hash + 2 * i, 3, "%02x", bytes.digest[i]);
    free(form.data);
}

/* Cuts the text into lines, the tokens. */
static int split(struct dnas_fixed_vocab *v, const char *text, size_t n, struct dnas_err *err)
{
    size_t cap = 0;

    if (memchr(text, '\0', n))
        return dnas_err_set(err, "is no vocab.txt: it has a byte 0");
    v->arena = dnas_xstrndup(text, n);
    for (char *s = v->arena; *s;) {
        size_t len = strcspn(s, "\r\n");
        char *next = s + len + (s[len] == '\r' && s[len + 1] == '\n') + (s[len] != '\0');

        s[len] = '\0';
        if (len == 0)
            return dnas_err_set(err, "line %zu: is empty where a token should be", v->n + 1);
        if (v->n == IDS_MAX)
            return dnas_err_set(err, "has more than %d tokens", IDS_MAX);
        v->token = dnas_xgrow(v->token, &cap, v->n + 1, sizeof(*v->token));
        v->token[v->n++] = s;
        s = next;
    }
    return 0;
}

static bool is_special(const char *token)
{
    size_t n = strlen(token);

    return n > 2 && token[0] == '<' && token[n - 1] == '>';
}

static int refuse(const struct dnas_fixed_vocab *v, size_t id, const char *why,
                  struct dnas_err *err)
{
    return dnas_err_set(err, "line %zu: the token '%.64s' %s", id + 1, v->token[id], why);
}

/* Enters a token that is a letter or a word. */
static int enter(struct dnas_fixed_vocab *v, size_t id, struct dnas_err *err)
{
    const char *token = v->token[id];
    size_t len = strlen(token);
    int32_t number;

    if (len == 1) {
        int *letter = &v->letter[(unsigned char)token[0]];

        if (token[0] < 'A' || token[0] > 'Z')
            return refuse(v, id, "is no capital letter", err);
        if (*letter >= 0)
            return refuse(v, id, "is there twice", err);
        *letter = (int)id;
        return 0;
    }
    if (v->k == 0 && len <= K_MAX) {
        v->k = (unsigned)len;
        v->word = dnas_xalloc((size_t)1 << 2 * len, sizeof(*v->word));
        memset(v->word, -1, ((size_t)1 << 2 * len) * sizeof(*v->word));
    }
    if (len != v->k)
        return refuse(v, id, "is neither a letter nor as long as the words before it", err);
    number = word_number(token, v->k);
    if (number < 0)
        return refuse(v, id, "has letters other than A, C, G, T", err);
    if (v->word[number] >= 0)
        return refuse(v, id, "is there twice", err);
    v->word[number] = (int32_t)id;
    return 0;
}

static int enter_all(struct dnas_fixed_vocab *v, struct dnas_err *err)
{
    static const char *const needed[] = {"<unk>", "<cls>", "<pad>", "<mask>", "A", "C", "G", "T"};
    size_t n_special = 0;

    memset(v->letter, -1, sizeof(v->letter));
    for (size_t id = 0; id < v->n; id++) {
        n_special += is_special(v->token[id]);
        if (!is_special(v->token[id]) && enter(v, id, err) != 0)
            return -1;
    }
    for (size_t i = 0; i < sizeof(needed) / sizeof(*needed); i++)
        if (dnas_fixed_vocab_id(v, needed[i]) < 0)
            return dnas_err_set(err, "is no vocabulary of k-mers: it has no token '%s'", needed[i]);
    for (size_t i = 0; v->k > 0 && i < (size_t)1 << 2 * v->k; i++)
        if (v->word[i] < 0)
            return dnas_err_set(err, "has not all words of %u letters", v->k);
    if (v->k < K_MIN)
        return dnas_err_set(err, "is no vocabulary of k-mers: it has no words of %d to %d letters",
                            K_MIN, K_MAX);
    return 0;
}

struct dnas_fixed_vocab *dnas_fixed_vocab_read(const char *text, size_t n, struct dnas_err *err)
{
    struct dnas_fixed_vocab *v = dnas_xzalloc(1, sizeof(*v));

    if (split(v, text, n, err) != 0 || enter_all(v, err) != 0) {
        dnas_fixed_vocab_free(v);
        return NULL;
    }
    v->fuse_unk = true;
    v->special = (uint16_t)dnas_fixed_vocab_id(v, "<cls>");
    v->unk = (uint16_t)dnas_fixed_vocab_id(v, "<unk>");
    make_hash(v);
    return v;
}

struct dnas_fixed_vocab *dnas_fixed_vocab_letters(void)
{
    static const char tokens[] = "[CLS]\n[SEP]\n[BOS]\n[MASK]\n[PAD]\n[RESERVED]\n[UNK]\n"
                                 "A\nC\nG\nT\nN\n";
    struct dnas_fixed_vocab *v = dnas_xzalloc(1, sizeof(*v));

    memset(v->letter, -1, sizeof(v->letter));
    if (split(v, tokens, sizeof(tokens) - 1, NULL) != 0)
        DNAS_BUG("our own tokens are refused");
    for (size_t id = 7; id < v->n; id++)
        v->letter[(unsigned char)v->token[id][0]] = (int)id;
    v->at_end = true;
    v->special = 1;
    v->unk = 6;
    make_hash(v);
    return v;
}

char *dnas_fixed_vocab_nt_text(void)
{
    static const char order[] = "ATCG";
    struct dnas_text t = {0};

    dnas_text_printf(&t, "<unk>\n<pad>\n<mask>\n<cls>\n<eos>\n<bos>\n");
    for (unsigned word = 0; word < 1u << 12; word++) {
        for (int i = 5; i >= 0; i--)
            dnas_text_append(&t, &order[word >> 2 * i & 3], 1);
        dnas_text_append(&t, "\n", 1);
    }
    dnas_text_printf(&t, "A\nT\nC\nG\nN");
    return t.data;
}

void dnas_fixed_vocab_free(struct dnas_fixed_vocab *v)
{
    if (!v)
        return;
    free(v->arena);
    free(v->token);
    free(v->word);
    free(v);
}

void dnas_fixed_vocab_encode(const struct dnas_fixed_vocab *v, const char *text, size_t n,
                             struct dnas_ids *ids, uint64_t *n_unk)
{
    bool in_unk = false; /* the last token is an unknown one that goes on */
    uint64_t unknown = 0;

    ids->v = dnas_xgrow(ids->v, &ids->cap, ids->n + n, sizeof(*ids->v));
    for (size_t i = 0; i < n;) {
        int32_t number = v->k > 0 && n - i >= v->k ? word_number(text + i, v->k) : -1;
        int letter = v->letter[(unsigned char)text[i]];

        if (number >= 0) {
            ids->v[ids->n++] = (uint16_t)v->word[number];
        } else if (letter >= 0) {
            ids->v[ids->n++] = (uint16_t)letter;
        } else {
            unknown++;
            if (!in_unk || !v->fuse_unk)
                ids->v[ids->n++] = v->unk;
        }
        in_unk = number < 0 && letter < 0;
        i += number >= 0 ? v->k : 1;
    }
    if (n_unk)
        *n_unk += unknown;
}

void dnas_fixed_vocab_wrap(const struct dnas_fixed_vocab *v, struct dnas_ids *ids, size_t start,
                           size_t max_tokens)
{
    if (start > ids->n)
        DNAS_BUG("ids %zu to %zu to wrap", start, ids->n);
    if (max_tokens > 0 && ids->n - start > max_tokens - 1)
        ids->n = start + max_tokens - 1;
    ids->v = dnas_xgrow(ids->v, &ids->cap, ids->n + 1, sizeof(*ids->v));
    if (!v->at_end)
        memmove(ids->v + start + 1, ids->v + start, (ids->n - start) * sizeof(*ids->v));
    ids->v[v->at_end ? ids->n : start] = v->special;
    ids->n++;
}
