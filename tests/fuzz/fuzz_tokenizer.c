/* SPDX-License-Identifier: MIT
 *
 * fuzz_tokenizer.c - tokenizer.json and vocab.txt, and encoding with what they
 * say.
 *
 * What stands behind the first zero byte is text to encode.
 */
#include <string.h>

#include "common/io.h"
#include "common/tokenizer.h"
#include "common/xmem.h"
#include "tests/fuzz/fuzz.h"

static void encode(const struct dnas_tokenizer *t, const char *text, size_t n)
{
    struct dnas_bpe_encoder *enc = dnas_bpe_encoder_new();
    struct dnas_ids ids = {0};
    uint64_t n_unk = 0;

    dnas_tokenizer_encode(t, enc, text, n, &ids, &n_unk);
    dnas_tokenizer_wrap(t, &ids, 0, dnas_tokenizer_n_specials(t) + 3);
    for (size_t i = 0; i < ids.n; i++)
        if (ids.v[i] >= dnas_tokenizer_size(t) || !dnas_tokenizer_token(t, ids.v[i]))
            DNAS_BUG("token %u is not in the vocabulary", ids.v[i]);
    free(ids.v);
    dnas_bpe_encoder_free(enc);
}

int fuzz_try(const uint8_t *data, size_t n)
{
    static const char sample[] = "ACGTACGTTTNNACGTACGAGATTACA[MASK]acgt [CLS]G*-_9\xc3\xa9\xff";
    const uint8_t *zero = memchr(data, '\0', n);
    size_t n_json = zero ? (size_t)(zero - data) : n;
    struct dnas_err err = {""};
    struct dnas_tokenizer *t = dnas_tokenizer_read((const char *)data, n_json, &err);

    if (!t)
        return fuzz_refused(&err);
    encode(t, sample, sizeof(sample) - 1);
    if (zero)
        encode(t, (const char *)zero + 1, n - n_json - 1);
    dnas_tokenizer_free(t);
    return 1;
}

/* Small, so that a change meets what counts. */
static const char tiny[] =
    "{\"version\":\"1.0\",\"truncation\":{\"max_length\":9},\"padding\":null,\"added_tokens\":["
    "{\"id\":0,\"special\":true,\"content\":\"[UNK]\",\"single_word\":false,\"lstrip\":false,"
    "\"rstrip\":false,\"normalized\":false},"
    "{\"id\":1,\"special\":true,\"content\":\"[CLS]\",\"single_word\":false,\"lstrip\":false,"
    "\"rstrip\":false,\"normalized\":false}],"
    "\"normalizer\":null,\"pre_tokenizer\":{\"type\":\"Whitespace\"},\"post_processor\":"
    "{\"type\":\"TemplateProcessing\",\"single\":[{\"SpecialToken\":{\"id\":\"[CLS]\","
    "\"type_id\":0}},{\"Sequence\":{\"id\":\"A\",\"type_id\":0}}],\"pair\":[],"
    "\"special_tokens\":{\"[CLS]\":{\"id\":\"[CLS]\",\"ids\":[1],\"tokens\":[\"[CLS]\"]}}},"
    "\"decoder\":null,\"model\":{\"type\":\"BPE\",\"dropout\":null,\"unk_token\":\"[UNK]\","
    "\"fuse_unk\":false,\"vocab\":{\"[UNK]\":0,\"[CLS]\":1,\"A\":2,\"C\":3,\"G\":4,\"T\":5,"
    "\"AC\":6,\"GT\":7,\"ACGT\":8,\"TT\":9,\"TTT\":10},\"merges\":[\"A C\",\"G T\",[\"AC\",\"GT\"],"
    "\"T T\",\"TT T\"]}}";

static const char two_mers[] = "<unk>\n<pad>\n<mask>\n<cls>\nAA\nAC\nAG\nAT\nCA\nCC\nCG\nCT\nGA\n"
                               "GC\nGG\nGT\nTA\nTC\nTG\nTT\nA\nC\nG\nT\nN";
static const char letters[] = "{\"tokenizer_class\": \"HyenaDNATokenizer\"}";

/* A 0-terminated text as a sample. */
static uint8_t *copy(const char *text, size_t *n)
{
    *n = strlen(text);
    return (uint8_t *)dnas_xstrdup(text);
}

uint8_t *fuzz_seed(size_t i, size_t *n)
{
    static const char *const files[] = {"tests/data/bpe-small.json", "tests/data/bpe-odd.json"};
    struct dnas_err err = {""};
    char *data;

    if (i < 2) {
        data = dnas_xalloc(sizeof(tiny) + 5, 1);
        memcpy(data, tiny, sizeof(tiny)); /* the second with its zero, and a text */
        memcpy(data + sizeof(tiny), "ACGTT", 5);
        *n = i == 0 ? sizeof(tiny) - 1 : sizeof(tiny) + 5;
        return (uint8_t *)data;
    }
    if (i == 4)
        return copy(two_mers, n);
    if (i == 5)
        return copy(letters, n);
    if (i > 5)
        return NULL;
    data = dnas_read_file(files[i - 2], 1 << 20, n, &err);
    if (!data)
        DNAS_BUG("%s", err.msg);
    return (uint8_t *)data;
}

size_t fuzz_mend(uint8_t *data, size_t n, size_t max)
{
    (void)data;
    (void)max;
    return n;
}
