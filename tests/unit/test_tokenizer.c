/* SPDX-License-Identifier: MIT
 *
 * test_tokenizer.c - single letters and 6-mers by their published rules, and
 * which tokenizer a file or folder holds.
 *
 * The ids are those of LongSafari/hyenadna-*-hf and of InstaDeep's
 * nucleotide-transformer-v2 (ATTCCG is 369, as its documentation shows).
 */
#include "common/tokenizer.h"

#include <sys/stat.h>

#include "common/fixed_vocab.h"
#include "tests/unit/check.h"
#include "tests/unit/files.h"

/* A row's ids as text, "3 369 369"; the counter of unknown letters behind. */
static const char *row(const struct dnas_tokenizer *t, const char *letters, size_t max_tokens)
{
    static char out[4096];
    struct dnas_bpe_encoder *enc = dnas_bpe_encoder_new();
    struct dnas_ids ids = {0};
    uint64_t n_unk = 0;
    size_t at = 0;

    dnas_tokenizer_encode(t, enc, "ACGT", 4, &ids, NULL); /* something that must stay */
    size_t start = ids.n;

    dnas_tokenizer_encode(t, enc, letters, strlen(letters), &ids, &n_unk);
    dnas_tokenizer_wrap(t, &ids, start, max_tokens);
    for (size_t i = start; i < ids.n; i++)
        at += (size_t)snprintf(out + at, sizeof(out) - at, "%u ", ids.v[i]);
    snprintf(out + at, sizeof(out) - at, "(%d)", (int)n_unk);
    free(ids.v);
    dnas_bpe_encoder_free(enc);
    return out;
}

static void test_letters(void)
{
    struct dnas_err err = {""};
    struct dnas_tokenizer *t = dnas_tokenizer_open("hyena", &err);

    CHECK_STR(err.msg, "");
    CHECK_INT(dnas_tokenizer_size(t), 12);
    CHECK_INT(dnas_tokenizer_unk(t), 6);
    CHECK_INT(dnas_tokenizer_mask(t), 3);
    CHECK_INT(dnas_tokenizer_n_specials(t), 1);
    CHECK_STR(dnas_tokenizer_token(t, 11), "N");
    CHECK(dnas_tokenizer_token(t, 12) == NULL);
    CHECK_STR(row(t, "ACGTN", 0), "7 8 9 10 11 1 (0)");
    CHECK_STR(row(t, "", 0), "1 (0)");
    CHECK_STR(row(t, "aRY-A", 0), "6 6 6 6 7 1 (4)");
    CHECK_STR(row(t, "ACGTN", 6), "7 8 9 10 11 1 (0)");
    CHECK_STR(row(t, "ACGTN", 5), "7 8 9 10 1 (0)");
    CHECK_STR(row(t, "ACGTN", 1), "1 (0)");
    dnas_tokenizer_free(t);
}

static void test_six_mers(void)
{
    struct dnas_err err = {""};
    struct dnas_tokenizer *t = dnas_tokenizer_open("nt", &err);

    CHECK_STR(err.msg, "");
    CHECK_INT(dnas_tokenizer_size(t), 4107);
    CHECK_INT(dnas_tokenizer_unk(t), 0);
    CHECK_INT(dnas_tokenizer_mask(t), 2);
    CHECK_INT(dnas_tokenizer_n_specials(t), 1);
    CHECK_STR(dnas_tokenizer_token(t, 6), "AAAAAA");
    CHECK_STR(dnas_tokenizer_token(t, 7), "AAAAAT");
    CHECK_STR(dnas_tokenizer_token(t, 4101), "GGGGGG");
    CHECK_STR(row(t, "ATTCCGATTCCGATTCCG", 0), "3 369 369 369 (0)");
    CHECK_STR(row(t, "", 0), "3 (0)");
    /* The tail of five is single letters; an N splits, and the frame begins anew behind it. */
    CHECK_STR(row(t, "ATTCCGACGTN", 0), "3 369 4102 4104 4105 4103 4106 (0)");
    CHECK_STR(row(t, "ANATTCCGNATTCCG", 0), "3 4102 4106 369 4106 369 (0)");
    CHECK_STR(row(t, "ACNATTCCGG", 0), "3 4102 4104 4106 369 4105 (0)");
    /* A run of what no token has is one <unk>, an N within it ends the run. */
    CHECK_STR(row(t, "RYATTCCGaaaARNR", 0), "3 0 369 0 4102 0 4106 0 (7)");
    CHECK_STR(row(t, "ATTCCGATTCCG", 3), "3 369 369 (0)");
    CHECK_STR(row(t, "ATTCCGATTCCG", 2), "3 369 (0)");
    CHECK_STR(row(t, "ATTCCGATTCCG", 1), "3 (0)");
    dnas_tokenizer_free(t);
}

/* Every 6-mer by the formula 6 + sum code_k 4^(5-k) over A, T, C, G. */
static void test_six_mer_numbers(void)
{
    static const char order[] = "ATCG";
    struct dnas_err err = {""};
    struct dnas_tokenizer *t = dnas_tokenizer_open("nt", &err);
    struct dnas_ids ids = {0};

    for (unsigned w = 0; w < 4096; w++) {
        char word[7] = "";

        for (unsigned i = 0; i < 6; i++)
            word[i] = order[w / (1u << (2 * (5 - i))) % 4];
        ids.n = 0;
        dnas_tokenizer_encode(t, NULL, word, 6, &ids, NULL);
        CHECK_INT(ids.n, 1);
        CHECK_INT(ids.v[0], 6 + w);
    }
    /* The published vocab.txt has 28,718 bytes. */
    CHECK_INT(strlen(dnas_tokenizer_text(t)), 28718);
    free(ids.v);
    dnas_tokenizer_free(t);
}

/* The hashes are in files: they must never change. */
static void test_hashes(void)
{
    struct dnas_err err = {""};
    struct dnas_tokenizer *a = dnas_tokenizer_open("nt", &err);
    struct dnas_tokenizer *b = dnas_tokenizer_open("hyena", &err), *again;
    char *dos = malloc(2 * strlen(dnas_tokenizer_text(a)) + 3), *to = dos;

    CHECK_STR(dnas_tokenizer_hash(a), "0f43d052d446c6c0f9c63af73c4cbb5e");
    CHECK_STR(dnas_tokenizer_hash(b), "c017c9b2f9e3106bbc40a1fd6adb3d1d");
    /* DOS line ends, and one at the end, change nothing. */
    for (const char *s = dnas_tokenizer_text(a); *s; s++) {
        if (*s == '\n')
            *to++ = '\r';
        *to++ = *s;
    }
    *to++ = '\r';
    *to++ = '\n';
    again = dnas_tokenizer_read(dos, (size_t)(to - dos), &err);
    CHECK_STR(err.msg, "");
    CHECK_STR(dnas_tokenizer_hash(again), dnas_tokenizer_hash(a));
    dnas_tokenizer_free(again);
    again = dnas_tokenizer_read(dnas_tokenizer_text(b), strlen(dnas_tokenizer_text(b)), &err);
    CHECK_STR(err.msg, "");
    CHECK_STR(dnas_tokenizer_hash(again), dnas_tokenizer_hash(b));
    dnas_tokenizer_free(again);
    dnas_tokenizer_free(a);
    dnas_tokenizer_free(b);
    free(dos);
}

static void test_specials(void)
{
    static const struct {
        const char *what;
        size_t n;
        uint16_t ids[DNAS_TOKENIZER_SPECIALS];
    } want[] = {{"hyena", 7, {0, 1, 4, 6, 3, 2, 5}},
                {"nt", 6, {3, 4, 1, 0, 2, 5}},
                {"tests/data/bpe-small.json", 5, {1, 2, 3, 0, 4}}};

    for (size_t i = 0; i < 3; i++) {
        struct dnas_err err = {""};
        struct dnas_tokenizer *t = dnas_tokenizer_open(want[i].what, &err);
        uint16_t ids[DNAS_TOKENIZER_SPECIALS];

        CHECK_STR(err.msg, "");
        if (!t)
            return;
        CHECK_INT(dnas_tokenizer_specials(t, ids), want[i].n);
        for (size_t k = 0; k < want[i].n; k++)
            CHECK_INT(ids[k], want[i].ids[k]);
        dnas_tokenizer_free(t);
    }
}

/* Behind a tokenizer, byte-pair encoding is what it is alone. */
static void test_byte_pairs(void)
{
    struct dnas_err err = {""};
    struct dnas_tokenizer *t = dnas_tokenizer_open("tests/data/bpe-small.json", &err);
    struct dnas_bpe *bpe = dnas_bpe_load("tests/data/bpe-small.json", &err);
    struct dnas_bpe_encoder *enc = dnas_bpe_encoder_new();
    struct dnas_ids a = {0}, b = {0};
    const char *text = "GATTACAGATTACANNACGTACGTACGGRT";

    CHECK_STR(err.msg, "");
    if (!t || !bpe)
        return;
    CHECK_STR(dnas_tokenizer_hash(t), dnas_bpe_hash(bpe));
    CHECK_STR(dnas_tokenizer_file_name(t), "tokenizer.json");
    CHECK_INT(dnas_tokenizer_size(t), dnas_bpe_size(bpe));
    CHECK_INT(dnas_tokenizer_n_specials(t), dnas_bpe_n_specials(bpe));
    dnas_tokenizer_encode(t, enc, text, strlen(text), &a, NULL);
    dnas_tokenizer_wrap(t, &a, 0, 9);
    dnas_bpe_encode(bpe, enc, text, strlen(text), &b, NULL);
    dnas_bpe_wrap(bpe, &b, 0, 9);
    CHECK(a.n == 9 && b.n == 9 && memcmp(a.v, b.v, 18) == 0);
    free(a.v);
    free(b.v);
    dnas_bpe_encoder_free(enc);
    dnas_bpe_free(bpe);
    dnas_tokenizer_free(t);
}

/* What a folder with one file of this name and text is taken for: the name of
 * the tokenizer's file, "none", or the sentence. */
static const char *found(const char *name, const char *text)
{
    static struct dnas_err err;
    static char folder[1024], file[1100];
    struct dnas_tokenizer *t = NULL;
    const char *is;

    snprintf(folder, sizeof(folder), "%s", file_path("folder"));
    snprintf(file, sizeof(file), "folder/%s", name);
    mkdir(folder, 0777);
    file_text(file, text);
    is = dnas_tokenizer_open_folder(&t, folder, &err) != 0 ? strstr(err.msg, "folder")
         : t                                               ? dnas_tokenizer_file_name(t)
                                                           : "none";
    dnas_tokenizer_free(t);
    unlink(file_path(file));
    rmdir(folder);
    return is;
}

static void test_folders(void)
{
    char *nt = dnas_fixed_vocab_nt_text();

    CHECK_STR(found("vocab.txt", nt), "vocab.txt");
    CHECK_STR(found("vocab.txt", "<cls>\n"), "folder/vocab.txt: is no vocabulary of k-mers: it has "
                                             "no token '<unk>'");
    CHECK_STR(found("tokenizer.json", "{}"),
              "folder/tokenizer.json: this is not a tokenizer.json: it has no \"model\"");
    CHECK_STR(found("tokenizer_config.json", "{\"tokenizer_class\": \"HyenaDNATokenizer\"}"),
              "tokenizer_config.json");
    CHECK_STR(found("tokenizer_config.json", "{\"tokenizer_class\": \"CharacterTokenizer\"}"),
              "tokenizer_config.json");
    CHECK_STR(found("tokenizer_config.json", "{\"tokenizer_class\": \"BertTokenizer\"}"), "none");
    CHECK_STR(found("config.json", "{\"model_type\": \"hyenadna\"}"), "tokenizer_config.json");
    CHECK_STR(found("config.json", "{\"layer\": {\"_name_\": \"hyena\"}}"),
              "tokenizer_config.json");
    CHECK_STR(found("config.json", "{\"model_type\": \"bert\"}"), "none");
    CHECK_STR(found("config.json", "{"), "none");
    free(nt);
}

static void test_bad_vocabularies(void)
{
    static const struct {
        const char *text, *why;
    } bad[] = {
        {"<", "line 1: the token '<' is no capital letter"},
        {"<unk>\n\nA", "line 2: is empty where a token should be"},
        {"<unk>\nA\nA", "line 3: the token 'A' is there twice"},
        {"<unk>\na", "line 2: the token 'a' is no capital letter"},
        {"<unk>\nAC\nACG", "line 3: the token 'ACG' is neither a letter nor as long as the words "
                           "before it"},
        {"<unk>\nACGTACGT", "line 2: the token 'ACGTACGT' is neither a letter nor as long as the "
                            "words before it"},
        {"<unk>\nAC\nAC", "line 3: the token 'AC' is there twice"},
        {"<unk>\nAN", "line 2: the token 'AN' has letters other than A, C, G, T"},
        {"<unk>\n<cls>\n<pad>\n<mask>\nA\nC\nG", "is no vocabulary of k-mers: it has no token 'T'"},
        {"<unk>\n<cls>\n<pad>\n<mask>\nA\nC\nG\nT",
         "is no vocabulary of k-mers: it has no words of 2 to 7 letters"},
        {"<unk>\n<cls>\n<pad>\n<mask>\nA\nC\nG\nT\nAA", "has not all words of 2 letters"},
    };

    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        struct dnas_err err = {""};

        CHECK(dnas_tokenizer_read(bad[i].text, strlen(bad[i].text), &err) == NULL);
        CHECK_STR(err.msg, bad[i].why);
    }
    struct dnas_err err = {""};

    CHECK(dnas_tokenizer_read("<unk>\0A", 7, &err) == NULL);
    CHECK_STR(err.msg, "is no vocab.txt: it has a byte 0");
    CHECK(dnas_tokenizer_read("", 0, &err) == NULL);
    CHECK(dnas_tokenizer_open("/nowhere/hyena", &err) == NULL);
    CHECK(strstr(err.msg, "/nowhere/hyena") != NULL);
}

int main(void)
{
    RUN(test_letters);
    RUN(test_six_mers);
    RUN(test_six_mer_numbers);
    RUN(test_hashes);
    RUN(test_specials);
    RUN(test_byte_pairs);
    RUN(test_folders);
    RUN(test_bad_vocabularies);
    return check_done();
}
