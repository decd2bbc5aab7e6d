/* SPDX-License-Identifier: MIT
 *
 * test_bpe.c - byte-pair encoding and training.
 *
 * Both encoders are compared with the definition, written here in the plainest
 * way, on random texts and random vocabularies; with tables of the Hugging Face
 * library's ids (tests/data/bpe-make.py); and training with a trainer that
 * counts everything anew for each token.
 */
#include "check.h"

#include "common/bpe.h"
#include "common/bpe_impl.h"
#include "common/bpe_train.h"
#include "common/rng.h"
#include "common/xmem.h"

enum { SEED = 20261120, TEXT_MAX = 6000 };

static struct dnas_rng rng;

static void start_rng(uint32_t row)
{
    dnas_rng_init(&rng, SEED, DNAS_RNG_TEST, 0, row);
}

static unsigned below(unsigned n)
{
    return (unsigned)dnas_rng_below(&rng, n);
}

static char *read_text(const char *dir, const char *name)
{
    char *path = dnas_xasprintf("%s/%s", dir, name), *buf = NULL;
    FILE *f = fopen(path, "rb");
    size_t n = 0, cap = 0, got = 1;

    CHECK(f != NULL);
    while (f && got > 0) {
        buf = dnas_xgrow(buf, &cap, n + 4096, 1);
        got = fread(buf + n, 1, cap - n - 1, f);
        n += got;
        buf[n] = '\0';
    }
    if (f)
        fclose(f);
    free(path);
    return buf;
}

static struct dnas_bpe *load(const char *dir, const char *name)
{
    struct dnas_err err = {""};
    char *path = dnas_xasprintf("%s/%s", dir, name);
    struct dnas_bpe *bpe = dnas_bpe_load(path, &err);

    if (!bpe)
        CHECK_FAIL("%s", err.msg);
    free(path);
    return bpe;
}

static struct dnas_bpe *load_json(const char *json)
{
    struct dnas_err err = {""};
    struct dnas_bpe *bpe = dnas_bpe_load_mem(json, strlen(json), &err);

    if (!bpe)
        CHECK_FAIL("%s", err.msg);
    return bpe;
}

/* The definition: unknown bytes stand alone; of all adjacent pairs the one of
 * lowest rank is merged, the leftmost of equals, until none is left. */
static size_t encode_plainly(int *id, const struct dnas_bpe *bpe, const char *text, size_t n)
{
    for (size_t i = 0; i < n; i++)
        id[i] = bpe->in_run[(unsigned char)text[i]] ? bpe->ascii[(unsigned char)text[i]] : -1;
    for (;;) {
        int32_t best = -1;
        size_t at = 0;

        for (size_t i = 0; i + 1 < n; i++) {
            int32_t rank = id[i] < 0 || id[i + 1] < 0
                               ? -1
                               : bpe_rank(bpe, (unsigned)id[i], (unsigned)id[i + 1]);

            if (rank >= 0 && (best < 0 || rank < best)) {
                best = rank;
                at = i;
            }
        }
        if (best < 0)
            break;
        id[at] = bpe->merge[best].result;
        n--;
        memmove(id + at + 1, id + at + 2, (n - at - 1) * sizeof(*id));
    }
    for (size_t i = 0; i < n; i++)
        if (id[i] < 0)
            id[i] = bpe->unk;
    return n;
}

static bool same_ids(const int *want, size_t n, const uint16_t *got, size_t n_got)
{
    bool same = n == n_got;

    for (size_t i = 0; same && i < n; i++)
        same = want[i] == got[i];
    return same;
}

/* Compares the encoder, and the general one where it is not that already, with
 * the definition. */
static void compare(struct dnas_bpe *bpe, struct dnas_bpe_encoder *enc, const char *text, size_t n)
{
    static int want[TEXT_MAX];
    size_t n_want = encode_plainly(want, bpe, text, n);
    struct bpe_fast *fast = bpe->fast;
    struct dnas_ids ids = {0};

    dnas_bpe_encode(bpe, enc, text, n, &ids, NULL);
    if (!same_ids(want, n_want, ids.v, ids.n))
        CHECK_FAIL("%s encoder: %zu ids, not %zu, for '%.*s'", fast ? "fast" : "general", ids.n,
                   n_want, n > 300 ? 300 : (int)n, text);
    ids.n = 0;
    bpe->fast = NULL;
    dnas_bpe_encode(bpe, enc, text, n, &ids, NULL);
    bpe->fast = fast;
    if (!same_ids(want, n_want, ids.v, ids.n))
        CHECK_FAIL("general encoder: '%.*s'", n > 300 ? 300 : (int)n, text);
    free(ids.v);
}

/* Letters of an alphabet, with runs and short repeats among them. */
static void random_text(char *text, size_t n, const char *alphabet)
{
    unsigned n_letters = (unsigned)strlen(alphabet);

    for (size_t i = 0; i < n;) {
        unsigned kind = below(8), unit = 1 + below(6), len = unit;

        if (kind == 0)
            len = unit * (1 + below(20));
        for (unsigned k = 0; k < len && i < n; k++, i++)
            text[i] = kind == 0 && k >= unit ? text[i - unit] : alphabet[below(n_letters)];
    }
}

/* A tokenizer.json of random merges over "ACGT": of what is there already or,
 * unless `rising`, of anything, in any order. */
static char *random_vocabulary(unsigned n_merges, bool rising)
{
    char *text[200];
    unsigned left[200], right[200], n = 4;
    char *vocab, *merges = dnas_xstrdup(""), *json;

    for (unsigned i = 0; i < 4; i++)
        text[i] = dnas_xasprintf("%c", "ACGT"[i]);
    vocab = dnas_xstrdup("\"?\":0,\"A\":1,\"C\":2,\"G\":3,\"T\":4");
    for (unsigned tries = 0; n < 4 + n_merges && tries < 10000; tries++) {
        unsigned a = below(n), b = below(2) ? below(n) : a;
        bool is_new = strlen(text[a]) + strlen(text[b]) <= 40;

        text[n] = dnas_xasprintf("%s%s", text[a], text[b]);
        for (unsigned i = 0; i < n; i++)
            is_new = is_new && strcmp(text[i], text[n]) != 0;
        if (!is_new) {
            free(text[n]);
            continue;
        }
        left[n] = a;
        right[n] = b;
        json = dnas_xasprintf("%s,\"%s\":%u", vocab, text[n], n + 1);
        free(vocab);
        vocab = json;
        n++;
    }
    for (unsigned i = 4; i < n; i++) {
        json = rising ? dnas_xasprintf("%s%s\"%s %s\"", merges, i > 4 ? "," : "", text[left[i]],
                                       text[right[i]])
                      : dnas_xasprintf("[\"%s\",\"%s\"]%s%s", text[left[i]], text[right[i]],
                                       i > 4 ? "," : "", merges);
        free(merges);
        merges = json;
    }
    json = dnas_xasprintf("{\"model\":{\"type\":\"BPE\",\"unk_token\":\"?\",\"vocab\":{%s},"
                          "\"merges\":[%s]}}",
                          vocab, merges);
    for (unsigned i = 0; i < n; i++)
        free(text[i]);
    free(vocab);
    free(merges);
    return json;
}

static const char *const alphabets[] = {"A",         "AC",    "GT",          "ACGT",
                                        "AAAAAACGT", "ACGTN", "ACGTNacgt-*."};
enum { N_ALPHABETS = sizeof(alphabets) / sizeof(alphabets[0]) };

static void test_random_vocabularies(void)
{
    struct dnas_bpe_encoder *enc = dnas_bpe_encoder_new();
    char text[2000];
    int n_fast = 0;

    start_rng(1);
    for (int round = 0; round < 300; round++) {
        char *json = random_vocabulary(1 + below(round % 3 ? 12 : 150), round % 4 != 3);
        struct dnas_bpe *bpe = load_json(json);

        n_fast += bpe && bpe->fast;
        for (int i = 0; bpe && i < 40; i++) {
            size_t n = below(i % 20 ? 60 : 700);

            random_text(text, n, alphabets[i % N_ALPHABETS]);
            compare(bpe, enc, text, n);
        }
        dnas_bpe_free(bpe);
        free(json);
    }
    CHECK(n_fast >= 225 && n_fast < 300); /* both encoders were met */
    dnas_bpe_encoder_free(enc);
}

/* The fast encoder and the general one must agree. */
static void compare_encoders(struct dnas_bpe *bpe, struct dnas_bpe_encoder *enc, const char *text,
                             size_t n)
{
    struct dnas_ids fast = {0}, general = {0};
    struct bpe_fast *tables = bpe->fast;

    CHECK(tables != NULL);
    dnas_bpe_encode(bpe, enc, text, n, &fast, NULL);
    bpe->fast = NULL;
    dnas_bpe_encode(bpe, enc, text, n, &general, NULL);
    bpe->fast = tables;
    if (fast.n != general.n || memcmp(fast.v, general.v, fast.n * sizeof(*fast.v)))
        CHECK_FAIL("%zu ids, not %zu, for %zu letters '%.300s...'", fast.n, general.n, n, text);
    free(fast.v);
    free(general.v);
}

/* Long enough to be cut into segments, which are then joined.  Segments of a
 * few letters make searches go back behind a join, which voids it. */
static void compare_long_texts(size_t segment_min)
{
    struct dnas_bpe_encoder *enc = dnas_bpe_encoder_new();
    static char text[TEXT_MAX + 100];

    if (segment_min)
        enc->segment_min = segment_min;
    start_rng(2);
    for (int round = 0; round < 40; round++) {
        char *json = random_vocabulary(8 + below(100), true);
        struct dnas_bpe *bpe = load_json(json);

        for (int i = 0; bpe && i < 20; i++) {
            size_t n = 500 + below(i ? 1500 : TEXT_MAX - 500);

            random_text(text, n, alphabets[i % 5]);
            if (i % 4 == 3)
                memset(text + n - below(100), 'A', 100); /* as the padding behind the run */
            compare_encoders(bpe, enc, text, n);
        }
        dnas_bpe_free(bpe);
        free(json);
    }
    dnas_bpe_encoder_free(enc);
}

static void test_long_texts(void)
{
    compare_long_texts(0);
}

static void test_short_segments(void)
{
    compare_long_texts(4);
    compare_long_texts(9);
}

/* More than all lanes hold at once. */
static void test_very_long_text(void)
{
    enum { N = 150000 };
    struct dnas_bpe_encoder *enc = dnas_bpe_encoder_new();
    struct dnas_bpe *bpe = load("tests/data", "bpe-small.json");
    char *text = dnas_xalloc(N, 1);

    start_rng(3);
    for (int round = 0; round < 6; round++) {
        random_text(text, N, alphabets[round]);
        if (round == 5) /* a run that never meets its segments */
            memset(text, 'T', N);
        compare_encoders(bpe, enc, text, N);
    }
    free(text);
    dnas_bpe_free(bpe);
    dnas_bpe_encoder_free(enc);
}

/* Ids in a table's field, compared with those of a text, specials included. */
static void check_ids(const struct dnas_bpe *bpe, struct dnas_bpe_encoder *enc, const char *text,
                      size_t n, char *field, const char *name)
{
    struct dnas_ids ids = {0};
    size_t i = 0;
    bool same = true;

    dnas_bpe_encode(bpe, enc, text, n, &ids, NULL);
    dnas_bpe_wrap(bpe, &ids, 0, 0);
    for (char *end = field; *(field += strspn(field, " \n")); field = end, i++) {
        unsigned long id = strtoul(field, &end, 10);

        if (end == field) { /* no number: the table itself is wrong */
            same = false;
            break;
        }
        same = same && i < ids.n && ids.v[i] == id;
    }
    if (!same || i != ids.n)
        CHECK_FAIL("%s: %zu ids are not the table's %zu", name, ids.n, i);
    free(ids.v);
}

static size_t from_hex(char *out, const char *hex, size_t n)
{
    for (size_t i = 0; i < n / 2; i++) {
        unsigned byte = 0;

        CHECK(sscanf(hex + 2 * i, "%2x", &byte) == 1);
        out[i] = (char)byte;
    }
    return n / 2;
}

static void test_library_table(void)
{
    struct dnas_bpe *small = load("tests/data", "bpe-small.json");
    struct dnas_bpe *odd = load("tests/data", "bpe-odd.json");
    struct dnas_bpe_encoder *enc = dnas_bpe_encoder_new();
    char *table = read_text("tests/data", "bpe-tokens.tsv"), *line = table, text[4096];
    int n_rows = 0;

    CHECK(small && small->fast);
    CHECK(odd && !odd->fast);
    while (line && (line = strchr(line, '\n')) != NULL && *++line) {
        char *hex = strchr(line, '\t') + 1, *field = strchr(hex, '\t') + 1;
        char *end = strchr(field, '\n'), *ids = dnas_xstrndup(field, (size_t)(end - field));
        size_t n = from_hex(text, hex, (size_t)(field - hex) - 1);

        check_ids(*line == 'b' && line[4] == 's' ? small : odd, enc, text, n, ids, hex);
        free(ids);
        n_rows++;
    }
    CHECK(n_rows > 150);
    free(table);
    dnas_bpe_encoder_free(enc);
    dnas_bpe_free(small);
    dnas_bpe_free(odd);
}

static void test_unknown_are_counted(void)
{
    struct dnas_bpe *bpe = load("tests/data", "bpe-small.json");
    struct dnas_bpe_encoder *enc = dnas_bpe_encoder_new();
    struct dnas_ids ids = {0};
    const char *text = "ACNNa CGT[UNK]\xC3\xA9\xFF";
    uint64_t n_unk = 10;

    dnas_bpe_encode(bpe, enc, text, strlen(text), &ids, &n_unk);
    CHECK_INT(n_unk, 15);
    n_unk = ids.n;
    dnas_bpe_encode(bpe, enc, text, 0, &ids, NULL);
    CHECK_INT(ids.n, n_unk);
    dnas_bpe_encode(bpe, enc, text, 2, &ids, NULL); /* appends */
    CHECK_INT(ids.v[ids.n - 1], ids.v[0]);
    free(ids.v);
    dnas_bpe_encoder_free(enc);
    dnas_bpe_free(bpe);
}

static void test_wrap(void)
{
    struct dnas_bpe *bpe = load("tests/data", "bpe-small.json");
    struct dnas_ids ids = {0};
    const uint16_t want[] = {40, 1, 10, 11, 2, 1, 2, 1, 7, 2, 1, 2};

    ids.v = dnas_xgrow(NULL, &ids.cap, 1, sizeof(*ids.v));
    ids.v[ids.n++] = 40; /* a row before, not to be touched */
    for (uint16_t id = 10; id < 15; id++) {
        ids.v = dnas_xgrow(ids.v, &ids.cap, ids.n + 1, sizeof(*ids.v));
        ids.v[ids.n++] = id;
    }
    dnas_bpe_wrap(bpe, &ids, 1, 4);
    dnas_bpe_wrap(bpe, &ids, ids.n, 0);
    ids.v = dnas_xgrow(ids.v, &ids.cap, ids.n + 1, sizeof(*ids.v));
    ids.v[ids.n++] = 7;
    dnas_bpe_wrap(bpe, &ids, ids.n - 1, 3);
    dnas_bpe_wrap(bpe, &ids, ids.n, 2);
    CHECK_INT(dnas_bpe_n_specials(bpe), 2);
    CHECK_INT(ids.n, sizeof(want) / sizeof(want[0]));
    CHECK(!memcmp(ids.v, want, sizeof(want)));
    free(ids.v);
    dnas_bpe_free(bpe);
}

static void test_accessors(void)
{
    struct dnas_bpe *bpe = load("tests/data", "bpe-small.json");

    CHECK_INT(dnas_bpe_size(bpe), 100);
    CHECK_STR(dnas_bpe_text(bpe, 4), "[MASK]");
    CHECK_STR(dnas_bpe_text(bpe, 8), "T");
    CHECK(dnas_bpe_text(bpe, 100) == NULL);
    CHECK_INT(dnas_bpe_id(bpe, "[PAD]"), 3);
    CHECK_INT(dnas_bpe_id(bpe, "N"), -1);
    CHECK_INT(dnas_bpe_unk(bpe), 0);
    for (size_t id = 0; id < 100; id++)
        CHECK_INT(dnas_bpe_id(bpe, dnas_bpe_text(bpe, id)), id);
    dnas_bpe_free(bpe);
}

#define MODEL(vocab, merges)                                                                       \
    "\"model\":{\"type\":\"BPE\",\"unk_token\":\"?\",\"vocab\":{" vocab "},\"merges\":[" merges "]}"
#define LETTERS "\"?\":0,\"A\":1,\"C\":2,\"G\":3,\"T\":4"

static char *hash_of(const char *json)
{
    struct dnas_bpe *bpe = load_json(json);
    char *hash = dnas_xstrdup(bpe ? dnas_bpe_hash(bpe) : "");

    dnas_bpe_free(bpe);
    return hash;
}

static void test_hash(void)
{
    static const char *const same[] = {
        "{" MODEL(LETTERS ",\"AC\":5,\"AA\":6", "\"A C\",\"A A\"") "}",
        "{\"truncation\":{\"max_length\":7},\"padding\":{},\"normalizer\":null," MODEL(
            "\"AA\":6,\"AC\":5," LETTERS, "[\"A\",\"C\"],[\"A\",\"A\"]") "}",
    };
    static const char *const other[] = {
        "{" MODEL(LETTERS ",\"AC\":5,\"AA\":6", "\"A A\",\"A C\"") "}",
        "{" MODEL(LETTERS ",\"AC\":6,\"AA\":5", "\"A C\",\"A A\"") "}",
        "{\"pre_tokenizer\":{\"type\":\"Whitespace\"}," MODEL(LETTERS ",\"AC\":5,\"AA\":6",
                                                              "\"A C\",\"A A\"") "}",
    };
    char *want = hash_of(same[0]), *got = hash_of(same[1]);

    CHECK_INT(strlen(want), 32);
    CHECK_STR(got, want);
    free(got);
    /* A number written down: streams of earlier versions hold it. */
    CHECK_STR(want, "4ec1203f4f90b79edf91c9eedce6007b");
    for (size_t i = 0; i < sizeof(other) / sizeof(other[0]); i++) {
        got = hash_of(other[i]);
        CHECK(strcmp(got, want) != 0);
        free(got);
    }
    free(want);
}

static void test_bad_files(void)
{
    static const struct {
        const char *json, *says;
    } bad[] = {
        {"", "not JSON"},
        {"[1,2", "not JSON"},
        {"[1,2]", "no \"model\""},
        {"{\"model\":{\"type\":\"Unigram\"}}", "'Unigram'"},
        {"{\"normalizer\":{\"type\":\"Lowercase\"}," MODEL(LETTERS, "") "}", "normalizer"},
        {"{\"pre_tokenizer\":{\"type\":\"ByteLevel\"}," MODEL(LETTERS, "") "}", "'ByteLevel'"},
        {"{\"post_processor\":{\"type\":\"ByteLevel\"}," MODEL(LETTERS, "") "}", "post-processor"},
        {"{\"model\":{\"type\":\"BPE\",\"dropout\":0.1}}", "\"dropout\": 0.1"},
        {"{\"model\":{\"type\":\"BPE\",\"byte_fallback\":true}}", "byte_fallback"},
        {"{\"model\":{\"type\":\"BPE\",\"fuse_unk\":true}}", "fuse_unk"},
        {"{\"model\":{\"type\":\"BPE\",\"ignore_merges\":true}}", "ignore_merges"},
        {"{\"model\":{\"type\":\"BPE\",\"continuing_subword_prefix\":\"##\"}}", "##"},
        {"{\"model\":{\"type\":\"BPE\",\"vocab\":{}}}", "no vocabulary"},
        {"{" MODEL("\"?\":0,\"A\":-1", "") "}", "'A' has an id"},
        {"{" MODEL("\"?\":0,\"A\":65536", "") "}", "'A' has an id"},
        {"{" MODEL("\"?\":0,\"A\":1.5", "") "}", "'A' has an id"},
        {"{" MODEL("\"?\":0,\"A\":1,\"C\":1", "") "}", "same id 1"},
        {"{" MODEL("\"?\":0,\"A\":1,\"A\":2", "") "}", "duplicate"},
        {"{" MODEL("\"?\":0,\"\":1", "") "}", "empty text"},
        {"{" MODEL("\"A\":1", "") "}", "'?' is not in the vocabulary"},
        {"{\"model\":{\"type\":\"BPE\",\"vocab\":{\"A\":1},\"merges\":[]}}", "unk_token"},
        {"{" MODEL(LETTERS, "\"A X\"") "}", "names 'X'"},
        {"{" MODEL(LETTERS, "\"A C\"") "}", "makes 'AC'"},
        {"{" MODEL(LETTERS ",\"AC\":5", "\"AC\"") "}", "not a pair"},
        {"{" MODEL(LETTERS ",\"AC\":5", "\"A C \"") "}", "not a pair"},
        {"{" MODEL(LETTERS ",\"AC\":5", "[\"A\",\"C\",\"G\"]") "}", "not a pair"},
        {"{" MODEL(LETTERS ",\"AC\":5", "7") "}", "not a pair"},
        {"{" MODEL(LETTERS ",\"AC\":5", "\"A C\",[\"A\",\"C\"]") "}", "listed twice"},
        {"{" MODEL(LETTERS ",\"-\":5,\"A-\":6", "\"A -\"") "}", "only ASCII"},
        {"{\"model\":{\"type\":\"BPE\",\"unk_token\":\"A\",\"vocab\":{\"A\":1}}}",
         "no list of merges"},
        {"{\"added_tokens\":[{\"id\":9,\"content\":\"[M]\"}]," MODEL(LETTERS, "") "}", "'[M]'"},
        {"{\"added_tokens\":[{\"id\":0,\"content\":\"?\",\"lstrip\":true}]," MODEL(LETTERS, "") "}",
         "lstrip"},
        {"{\"added_tokens\":[7]," MODEL(LETTERS, "") "}", "added token 0"},
        {"{\"added_tokens\":{}," MODEL(LETTERS, "") "}", "not a list"},
        {"{\"post_processor\":{\"type\":\"TemplateProcessing\",\"single\":[{\"SpecialToken\":{"
         "\"id\":"
         "\"[X]\"}}]}," MODEL(LETTERS, "") "}",
         "'[X]'"},
        {"{\"post_processor\":{\"type\":\"TemplateProcessing\",\"single\":[7]}," MODEL(LETTERS,
                                                                                       "") "}",
         "piece 0"},
        {"{\"post_processor\":{\"type\":\"TemplateProcessing\",\"single\":[]}," MODEL(LETTERS,
                                                                                      "") "}",
         "0 places"},
    };

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct dnas_err err = {""};
        struct dnas_bpe *bpe = dnas_bpe_load_mem(bad[i].json, strlen(bad[i].json), &err);

        CHECK(bpe == NULL);
        if (!strstr(err.msg, bad[i].says) || strchr(err.msg, '\n'))
            CHECK_FAIL("case %zu says '%s', nothing of '%s'", i, err.msg, bad[i].says);
        dnas_bpe_free(bpe);
    }
}

/* A good file cut anywhere, with a byte changed, or nested too deep: an answer,
 * not a crash. */
static void test_damaged_files(void)
{
    char *json = read_text("tests/data", "bpe-odd.json"), *deep = dnas_xalloc(100000, 1);
    struct dnas_err err;
    size_t n = strlen(json);

    start_rng(4);
    for (size_t len = 0; len < n - 2; len += 7)
        CHECK(dnas_bpe_load_mem(json, len, &err) == NULL);
    for (int i = 0; i < 2000; i++) {
        size_t at = below((unsigned)n);
        char was = json[at];

        json[at] = (char)below(256);
        dnas_bpe_free(dnas_bpe_load_mem(json, n, &err));
        json[at] = was;
    }
    memset(deep, '[', 100000);
    CHECK(dnas_bpe_load_mem(deep, 100000, &err) == NULL);
    CHECK(dnas_bpe_load("tests/data", &err) == NULL);
    CHECK(dnas_bpe_load("tests/data/no-such-file", &err) == NULL);
    CHECK(strstr(err.msg, "no-such-file: ") == err.msg + strlen("tests/data/"));
    free(json);
    free(deep);
}

/* ---- training ---- */

static char *train(const char *text, size_t n, size_t vocab_size, size_t token_len, int n_threads,
                   size_t piece)
{
    struct dnas_bpe_trainer *tr = dnas_bpe_trainer_new(vocab_size, token_len);
    struct dnas_err err = {""};
    char *json;

    for (size_t i = 0; i < n; i += piece)
        dnas_bpe_trainer_add(tr, text + i, n - i < piece ? n - i : piece);
    json = dnas_bpe_trainer_run(tr, NULL, n_threads, &err);
    if (!json)
        CHECK_FAIL("%s", err.msg);
    dnas_bpe_trainer_free(tr);
    return json;
}

/* How often (a, b) would be merged in ids, -1 being a separator. */
static long count_merges(const int *id, size_t n, int a, int b)
{
    long count = 0;

    for (size_t i = 0; i + 1 < n; i++)
        if (id[i] == a && id[i + 1] == b) {
            count++;
            i += a == b;
        }
    return count;
}

/* Follows the trained vocabulary merge by merge: each must be the best pair of
 * the text as the merges before it have left it. */
static void check_training(const struct dnas_bpe *bpe, const char *text, size_t n,
                           size_t vocab_size, size_t token_len)
{
    int *id = dnas_xalloc(n, sizeof(*id));
    size_t made = 9;

    for (size_t i = 0; i < n; i++)
        id[i] = strchr("ACGT", text[i]) ? (int)(strchr("ACGT", text[i]) - "ACGT") + 5 : -1;
    for (;; made++) {
        long best = 0;
        int best_a = -1, best_b = -1;
        size_t w = 0;

        for (int a = 5; a < (int)made; a++)
            for (int b = 5; b < (int)made; b++) {
                long count = count_merges(id, n, a, b);

                if (count > best &&
                    strlen(dnas_bpe_text(bpe, (size_t)a)) + strlen(dnas_bpe_text(bpe, (size_t)b)) <=
                        token_len) {
                    best = count;
                    best_a = a;
                    best_b = b;
                }
            }
        if (best == 0 || made == vocab_size)
            break;
        CHECK(made - 9 < bpe->n_merges && bpe->merge[made - 9].left == best_a &&
              bpe->merge[made - 9].right == best_b && bpe->merge[made - 9].result == made);
        if (check_failed_here)
            break;
        for (size_t i = 0; i < n; i++, w++) {
            id[w] = id[i];
            if (i + 1 < n && id[i] == best_a && id[i + 1] == best_b) {
                id[w] = (int)made;
                i++;
            }
        }
        n = w;
    }
    CHECK_INT(dnas_bpe_size(bpe), made);
    free(id);
}

static void test_training(void)
{
    static char text[3000];

    start_rng(5);
    for (int round = 0; round < 40; round++) {
        size_t n = 20 + below(round % 4 ? 400 : 2900), vocab_size = 9 + below(40);
        size_t token_len = round % 3 ? 32 : 1 + below(8);
        struct dnas_bpe *bpe;
        char *json;

        random_text(text, n, round % 5 == 4 ? "AANC" : alphabets[round % N_ALPHABETS]);
        text[0] = 'A';
        json = train(text, n, vocab_size, token_len, 1, 1 + below(500));
        bpe = json ? load_json(json) : NULL;
        if (bpe)
            check_training(bpe, text, n, vocab_size, token_len);
        dnas_bpe_free(bpe);
        free(json);
    }
}

/* A run of m letters is m/2 pairs, rounded down; counted as overlapping, A A
 * would win here. */
static void test_training_counts_runs(void)
{
    struct dnas_bpe_trainer *tr = dnas_bpe_trainer_new(10, 32);
    struct dnas_bpe *bpe;
    struct dnas_err err;
    char *json;

    dnas_bpe_trainer_add(tr, "AAAAANCT", 8); /* two of A A, one of C T */
    dnas_bpe_trainer_end_sequence(tr);
    dnas_bpe_trainer_add(tr, "CT", 2);
    dnas_bpe_trainer_end_sequence(tr);
    dnas_bpe_trainer_add(tr, "CT", 2); /* three of C T; overlapping, A A would have four */
    json = dnas_bpe_trainer_run(tr, NULL, 1, &err);
    bpe = load_json(json);
    CHECK_INT(dnas_bpe_id(bpe, "CT"), 9);
    dnas_bpe_free(bpe);
    free(json);
    dnas_bpe_trainer_free(tr);
}

/* Enough tokens for two bytes each, enough letters for several chunks; then
 * the fast encoder does with the training text what training did. */
static void test_training_at_length(void)
{
    enum { N = 2500000 };
    char *text = dnas_xalloc(N, 1), *one, *two;
    struct dnas_bpe *bpe;

    start_rng(6);
    random_text(text, N, "AACGTT");
    for (size_t i = 1000; i < N; i += 1 + below(400000))
        text[i] = 'N';
    one = train(text, N, 320, 32, 1, N);
    two = train(text, N, 320, 32, 3, 4097);
    CHECK(one && two && strcmp(one, two) == 0);
    bpe = load_json(one);
    CHECK_INT(dnas_bpe_size(bpe), 320);
    CHECK(bpe->fast != NULL);
    if (bpe->fast)
        CHECK_INT(bpe->fast->n, 315); /* each token can be reached */
    dnas_bpe_free(bpe);
    free(one);
    free(two);
    free(text);
}

static void test_training_refuses_nothing_to_train_on(void)
{
    struct dnas_bpe_trainer *tr = dnas_bpe_trainer_new(4096, 32);
    struct dnas_err err;

    dnas_bpe_trainer_add(tr, "NNacgt", 6);
    CHECK(dnas_bpe_trainer_run(tr, NULL, 1, &err) == NULL);
    CHECK(strstr(err.msg, "no letters") != NULL);
    dnas_bpe_trainer_free(tr);
}

/* ---- DNABERT-2's vocabulary ---- */

static void test_dnabert2_table(void)
{
    struct dnas_bpe_encoder *enc;
    struct dnas_bpe *bpe;
    char *dir, *fasta, *table, *record, *line;
    int n_rows = 0;

    if (!check_test_data())
        SKIP("DNAS_TEST_DATA is not set");
    enc = dnas_bpe_encoder_new();
    dir = dnas_xasprintf("%s/tokenizer", check_test_data());
    bpe = load(dir, "dnabert2_tokenizer.json");
    fasta = read_text(dir, "tokenize.fa");
    table = line = read_text(dir, "tokenize.tsv");
    CHECK(bpe && bpe->fast);
    for (record = fasta; record && line && *record == '>'; n_rows++) {
        char *text = strchr(record, '\n') + 1, *next = strchr(text, '>');
        char *ids = strchr(line, '\t') + 1, *end = strchr(line, '\n');
        size_t n = 0;

        for (char *c = text; *c && c != next; c++)
            if (*c != '\n')
                text[n++] = *c;
        *end = '\0';
        check_ids(bpe, enc, text, n, ids, line);
        record = next;
        line = end + 1;
    }
    CHECK_INT(n_rows, 50);
    free(fasta);
    free(table);
    free(dir);
    dnas_bpe_free(bpe);
    dnas_bpe_encoder_free(enc);
}

static void test_dnabert2_random_texts(void)
{
    struct dnas_bpe_encoder *enc;
    static char text[TEXT_MAX];
    char *dir;
    struct dnas_bpe *bpe, *other;

    if (!check_test_data())
        SKIP("DNAS_TEST_DATA is not set");
    enc = dnas_bpe_encoder_new();
    dir = dnas_xasprintf("%s/tokenizer", check_test_data());
    bpe = load(dir, "dnabert2_tokenizer.json");
    other = load(dir, "dnaberts_tokenizer.json");
    CHECK_STR(dnas_bpe_hash(other), dnas_bpe_hash(bpe));
    start_rng(7);
    for (int round = 0; round < 2000; round++) {
        size_t n = below(round % 100 ? 100 : 2000);

        random_text(text, n, alphabets[round % N_ALPHABETS]);
        compare(bpe, enc, text, n);
    }
    free(dir);
    dnas_bpe_free(bpe);
    dnas_bpe_free(other);
    dnas_bpe_encoder_free(enc);
}

int main(void)
{
    RUN(test_random_vocabularies);
    RUN(test_long_texts);
    RUN(test_short_segments);
    RUN(test_very_long_text);
    RUN(test_library_table);
    RUN(test_unknown_are_counted);
    RUN(test_wrap);
    RUN(test_accessors);
    RUN(test_hash);
    RUN(test_bad_files);
    RUN(test_damaged_files);
    RUN(test_training);
    RUN(test_training_counts_runs);
    RUN(test_training_at_length);
    RUN(test_training_refuses_nothing_to_train_on);
    RUN(test_dnabert2_table);
    RUN(test_dnabert2_random_texts);
    return check_done();
}
