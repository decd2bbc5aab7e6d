/* SPDX-License-Identifier: MIT
 *
 * tokenizer.c - which tokenizer a file or folder holds, and the calls of the
 * kind it is.  Contract: tokenizer.h.
 */
#include "common/tokenizer.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "common/fixed_vocab.h"
#include "common/io.h"
#include "common/xmem.h"

#define FILE_MAX ((size_t)64 << 20)

/* What HyenaDNA's published folders say of their tokenizer, as far as it counts. */
static const char hyena_text[] = "{\n"
                                 "  \"tokenizer_class\": \"HyenaDNATokenizer\",\n"
                                 "  \"padding_side\": \"right\"\n"
                                 "}\n";

struct dnas_tokenizer {
    char *text;
    const char *file_name;
    struct dnas_bpe *bpe; /* one of the two is not NULL */
    struct dnas_fixed_vocab *fixed;
};

/* Whether JSON is a tokenizer_config.json of single letters. */
static bool is_letters(const char *text, size_t n)
{
    json_t *root = json_loadb(text, n, 0, NULL);
    const char *class = json_string_value(json_object_get(root, "tokenizer_class"));
    bool is = class &&
              (strcmp(class, "HyenaDNATokenizer") == 0 || strcmp(class, "CharacterTokenizer") == 0);

    json_decref(root);
    return is;
}

/* Whether JSON is the config.json of a HyenaDNA network: those of 2023 have a
 * `layer` with the name hyena, the later ones a type. */
static bool is_hyena_network(const char *text, size_t n)
{
    json_t *root = json_loadb(text, n, 0, NULL);
    const char *type = json_string_value(json_object_get(root, "model_type"));
    const char *layer =
        json_string_value(json_object_get(json_object_get(root, "layer"), "_name_"));
    bool is = (type && strcmp(type, "hyenadna") == 0) || (layer && strcmp(layer, "hyena") == 0);

    json_decref(root);
    return is;
}

struct dnas_tokenizer *dnas_tokenizer_read(const char *text, size_t n, struct dnas_err *err)
{
    struct dnas_tokenizer *t = dnas_xzalloc(1, sizeof(*t));

    if (n > 0 && text[0] == '<') {
        t->file_name = "vocab.txt";
        t->fixed = dnas_fixed_vocab_read(text, n, err);
    } else if (is_letters(text, n)) {
        t->file_name = "tokenizer_config.json";
        t->fixed = dnas_fixed_vocab_letters();
    } else {
        t->file_name = "tokenizer.json";
        t->bpe = dnas_bpe_load_mem(text, n, err);
    }
    if (!t->bpe && !t->fixed) {
        dnas_tokenizer_free(t);
        return NULL;
    }
    t->text = dnas_xstrndup(text, n);
    return t;
}

static struct dnas_tokenizer *read_file(const char *path, struct dnas_err *err)
{
    struct dnas_tokenizer *t = NULL;
    size_t n;
    char *text = dnas_read_file(path, FILE_MAX, &n, err);

    if (text && !(t = dnas_tokenizer_read(text, n, err)))
        dnas_err_at(err, "%s: ", path);
    free(text);
    return t;
}

/* The content of a file of the folder; NULL: there is no such file, or *status
 * is -1. */
static char *read_from(const char *folder, const char *name, size_t *n, int *status,
                       struct dnas_err *err)
{
    char *path = dnas_xasprintf("%s/%s", folder, name), *text = NULL;
    struct stat st;

    if (stat(path, &st) == 0 && !(text = dnas_read_file(path, FILE_MAX, n, err)))
        *status = -1;
    free(path);
    return text;
}

int dnas_tokenizer_open_folder(struct dnas_tokenizer **t, const char *folder, struct dnas_err *err)
{
    static const char *const names[] = {"tokenizer.json", "vocab.txt", "tokenizer_config.json",
                                        "config.json"};
    int status = 0;

    *t = NULL;
    for (int i = 0; i < 4 && status == 0 && !*t; i++) {
        size_t n = 0;
        char *text = read_from(folder, names[i], &n, &status, err);

        if (text && i < 2) {
            *t = dnas_tokenizer_read(text, n, err);
            status = *t ? 0 : dnas_err_at(err, "%s/%s: ", folder, names[i]);
        } else if (text && (i == 2 ? is_letters(text, n) : is_hyena_network(text, n))) {
            *t = dnas_tokenizer_read(hyena_text, sizeof(hyena_text) - 1, err);
        }
        free(text);
    }
    return status;
}

struct dnas_tokenizer *dnas_tokenizer_open(const char *what, struct dnas_err *err)
{
    struct dnas_tokenizer *t = NULL;
    struct stat st;

    if (strcmp(what, "hyena") == 0) {
        t = dnas_tokenizer_read(hyena_text, sizeof(hyena_text) - 1, err);
    } else if (strcmp(what, "nt") == 0) {
        char *text = dnas_fixed_vocab_nt_text();

        t = dnas_tokenizer_read(text, strlen(text), err);
        free(text);
    } else if (stat(what, &st) != 0 || !S_ISDIR(st.st_mode)) {
        t = read_file(what, err);
    } else if (dnas_tokenizer_open_folder(&t, what, err) == 0 && !t) {
        dnas_err_set(err,
                     "%s: is a folder without tokenizer.json, vocab.txt or the "
                     "tokenizer_config.json of a HyenaDNA network",
                     what);
    }
    return t;
}

void dnas_tokenizer_free(struct dnas_tokenizer *t)
{
    if (!t)
        return;
    dnas_bpe_free(t->bpe);
    dnas_fixed_vocab_free(t->fixed);
    free(t->text);
    free(t);
}

const char *dnas_tokenizer_text(const struct dnas_tokenizer *t)
{
    return t->text;
}

const char *dnas_tokenizer_file_name(const struct dnas_tokenizer *t)
{
    return t->file_name;
}

size_t dnas_tokenizer_size(const struct dnas_tokenizer *t)
{
    return t->bpe ? dnas_bpe_size(t->bpe) : dnas_fixed_vocab_size(t->fixed);
}

const char *dnas_tokenizer_token(const struct dnas_tokenizer *t, size_t id)
{
    return t->bpe ? dnas_bpe_text(t->bpe, id) : dnas_fixed_vocab_token(t->fixed, id);
}

int dnas_tokenizer_unk(const struct dnas_tokenizer *t)
{
    return t->bpe ? dnas_bpe_unk(t->bpe) : dnas_fixed_vocab_unk(t->fixed);
}

static int find(const struct dnas_tokenizer *t, const char *token)
{
    return t->bpe ? dnas_bpe_id(t->bpe, token) : dnas_fixed_vocab_id(t->fixed, token);
}

int dnas_tokenizer_mask(const struct dnas_tokenizer *t)
{
    int id = find(t, "[MASK]");

    return id >= 0 ? id : find(t, "<mask>");
}

size_t dnas_tokenizer_specials(const struct dnas_tokenizer *t,
                               uint16_t ids[DNAS_TOKENIZER_SPECIALS])
{
    static const char *const names[][DNAS_TOKENIZER_SPECIALS] = {
        {"[CLS]", "[SEP]", "[PAD]", "[UNK]", "[MASK]", "[BOS]", "[RESERVED]"},
        {"<cls>", "<eos>", "<pad>", "<unk>", "<mask>", "<bos>", "<sep>"}};
    int spelling = find(t, names[1][0]) >= 0;
    size_t n = 0;

    for (int i = 0; i < DNAS_TOKENIZER_SPECIALS; i++) {
        int id = find(t, names[spelling][i]);

        if (id >= 0)
            ids[n++] = (uint16_t)id;
    }
    return n;
}

size_t dnas_tokenizer_n_specials(const struct dnas_tokenizer *t)
{
    return t->bpe ? dnas_bpe_n_specials(t->bpe) : 1;
}

const char *dnas_tokenizer_hash(const struct dnas_tokenizer *t)
{
    return t->bpe ? dnas_bpe_hash(t->bpe) : dnas_fixed_vocab_hash(t->fixed);
}

void dnas_tokenizer_encode(const struct dnas_tokenizer *t, struct dnas_bpe_encoder *enc,
                           const char *text, size_t n, struct dnas_ids *ids, uint64_t *n_unk)
{
    if (t->bpe)
        dnas_bpe_encode(t->bpe, enc, text, n, ids, n_unk);
    else
        dnas_fixed_vocab_encode(t->fixed, text, n, ids, n_unk);
}

void dnas_tokenizer_wrap(const struct dnas_tokenizer *t, struct dnas_ids *ids, size_t start,
                         size_t max_tokens)
{
    if (t->bpe)
        dnas_bpe_wrap(t->bpe, ids, start, max_tokens);
    else
        dnas_fixed_vocab_wrap(t->fixed, ids, start, max_tokens);
}
