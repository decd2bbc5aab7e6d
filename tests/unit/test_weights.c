/* SPDX-License-Identifier: MIT
 *
 * test_weights.c - weights: what both formats hold is read, what is damaged or
 * hostile is refused in one sentence, what is written comes back.
 *
 * weights_files.h puts zip archives and pickles together, byte by byte, so that
 * each of their fields can lie.
 */
#include "common/weights.h"

#include <sys/stat.h>
#include <unistd.h>

#include "common/io.h"
#include "common/xmem.h"
#include "tests/unit/check.h"
#include "tests/unit/weights_files.h"

static struct dnas_weights *open_copy(unsigned char **copy, const void *bytes, size_t n,
                                      struct dnas_err *err)
{
    struct buf b = {0};

    *copy = malloc(n > 0 ? n : 1);
    put(&b, bytes, n);
    memcpy(*copy, b.p, n);
    free(b.p);
    return dnas_weights_open_mem(*copy, n, err);
}

static void check_refused(const struct buf *b, const char *sentence)
{
    struct dnas_err err = {""};
    unsigned char *copy;
    struct dnas_weights *w = open_copy(&copy, b->p, b->n, &err);

    if (w)
        CHECK_FAIL("was accepted: %s", sentence);
    CHECK_STR(err.msg, sentence);
    dnas_weights_close(w);
    free(copy);
}

/* Whatever stands in n bytes: refused with a sentence, or readable throughout. */
static void read_through(const void *bytes, size_t n)
{
    struct dnas_err err = {""};
    unsigned char *copy;
    struct dnas_weights *w = open_copy(&copy, bytes, n, &err);

    if (!w)
        CHECK(err.msg[0] != '\0');
    for (size_t i = 0; w && i < dnas_weights_n(w); i++) {
        const struct dnas_tensor *t = dnas_weights_tensor(w, i);

        CHECK(dnas_weights_find(w, "", t->name) == t);
        dnas_tensor_check_finite(w, t, &err);
    }
    dnas_weights_close(w);
    free(copy);
}

static void check_every_cut_and_flip(const struct buf *b)
{
    struct buf copy = {0};

    for (size_t n = 0; n < b->n; n++)
        read_through(b->p, n);
    put(&copy, b->p, b->n);
    for (size_t i = 0; i < b->n; i++) {
        for (unsigned x = 1; x < 256; x = x < 128 ? 2 * x : 256) {
            copy.p[i] = (unsigned char)(b->p[i] ^ x);
            read_through(copy.p, copy.n);
        }
        copy.p[i] = (unsigned char)~b->p[i];
        read_through(copy.p, copy.n);
        copy.p[i] = b->p[i];
    }
    free(copy.p);
}

/* ---- safetensors ---- */

static const char types_header[] =
    "{\"__metadata__\":{\"format\":\"pt\",\"x\":\"\"},"
    "\"wide\":{\"dtype\":\"F64\",\"shape\":[2],\"data_offsets\":[22,38]},"
    "\"a\":{\"dtype\":\"F32\",\"shape\":[2,1],\"data_offsets\":[0,8]},"
    "\"none\":{\"dtype\":\"F32\",\"shape\":[3,0],\"data_offsets\":[8,8]},"
    "\"half\":{\"dtype\":\"F16\",\"shape\":[5],\"data_offsets\":[8,18]},"
    "\"brain\":{\"dtype\":\"BF16\",\"shape\":[],\"data_offsets\":[18,20]},"
    "\"bytes\":{\"dtype\":\"U8\",\"shape\":[1,1,2],\"data_offsets\":[20,22]}}  ";
static const char types_data[] = "\0\0\x80\x3f\0\0\0\xc0"                    /* 1, -2 */
                                 "\0\x3c\xff\xfb\1\0\0\x80\1\x84"            /* f16 */
                                 "\xc0\xbf"                                  /* -1.5 */
                                 "\1\2"                                      /* u8 */
                                 "\0\0\0\0\0\0\xe0\x3f\0\0\0\0\0\0\xd0\xc0"; /* 0.5, -16384 */

static void check_tensor(struct dnas_weights *w, const char *name, int n_dims, size_t n,
                         const float *want)
{
    const struct dnas_tensor *t = dnas_weights_find(w, "", name);
    struct dnas_err err = {""};
    const float *got;

    if (!t) {
        CHECK_FAIL("%s is not there", name);
        return;
    }
    CHECK_INT(t->n_dims, n_dims);
    CHECK_INT(t->n_elements, n);
    CHECK_INT(t->size_bytes, n * dnas_dtype_size(t->dtype));
    got = dnas_tensor_f32(w, t, &err);
    CHECK_STR(err.msg, "");
    CHECK((uintptr_t)got % sizeof(float) == 0);
    for (size_t i = 0; got && i < n; i++)
        if (memcmp(&got[i], &want[i], sizeof(float)) != 0)
            CHECK_FAIL("%s[%zu] is %.9g, not %.9g", name, i, (double)got[i], (double)want[i]);
    CHECK(got == dnas_tensor_f32(w, t, &err));
}

static void test_safetensors(void)
{
    static const char *const order[] = {"a", "none", "half", "brain", "bytes", "wide"};
    struct buf b = make_safetensors(types_header, types_data, sizeof(types_data) - 1);
    struct dnas_err err = {""};
    struct dnas_weights *w = dnas_weights_open_mem(b.p, b.n, &err);

    CHECK_STR(err.msg, "");
    if (w) {
        CHECK_INT(dnas_weights_n(w), 6);
        for (size_t i = 0; i < 6; i++)
            CHECK_STR(dnas_weights_tensor(w, i)->name, order[i]);
        check_tensor(w, "a", 2, 2, (const float[]){1, -2});
        check_tensor(w, "none", 2, 0, NULL);
        check_tensor(w, "half", 1, 5, (const float[]){1, -65504, 0x1p-24f, -0.0f, -0x1.004p-14f});
        check_tensor(w, "brain", 0, 1, (const float[]){-1.5f});
        check_tensor(w, "wide", 1, 2, (const float[]){0.5f, -16384});
        CHECK(!dnas_tensor_f32(w, dnas_weights_find(w, "", "bytes"), &err));
        CHECK_STR(err.msg, "tensor 'bytes' holds integers (U8) where fractions are needed");
        CHECK(!dnas_weights_find(w, "", "aa") && !dnas_weights_find(w, "", ""));
        CHECK(dnas_weights_find(w, "ha", "lf") == dnas_weights_find(w, "half", ""));
        CHECK_STR(dnas_weights_metadata(w, "format"), "pt");
        CHECK_STR(dnas_weights_metadata(w, "x"), "");
        CHECK(!dnas_weights_metadata(w, "y"));
    }
    dnas_weights_close(w);
    free(b.p);
}

/* The data of a file may stand at any byte. */
static void test_unaligned(void)
{
    char header[128];

    for (int pad = 0; pad < 8; pad++) {
        struct buf b;
        struct dnas_err err = {""};
        struct dnas_weights *w;

        snprintf(header, sizeof(header),
                 "{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}%*s", pad, "");
        b = make_safetensors(header, types_data, 8);
        w = dnas_weights_open_mem(b.p, b.n, &err);
        CHECK_STR(err.msg, "");
        if (w)
            check_tensor(w, "a", 1, 2, (const float[]){1, -2});
        dnas_weights_close(w);
        free(b.p);
    }
}

#define A(text) "{\"a\":{" text "}}"
#define F32_OF(shape) "\"dtype\":\"F32\",\"shape\":" shape ",\"data_offsets\":"

static void test_safetensors_headers_refused(void)
{
    static const struct {
        const char *header;
        size_t n;
        const char *sentence;
    } cases[] = {
        {"{\"a\":1}", 0,
         "tensor 'a' is not described by \"dtype\", \"shape\" and \"data_offsets\" alone"},
        {A(F32_OF("[1]") "[0,4],\"x\":1"), 4,
         "tensor 'a' is not described by \"dtype\", \"shape\" and \"data_offsets\" alone"},
        {A("\"dtype\":4,\"shape\":[1],\"data_offsets\":[0,4]"), 4, "tensor 'a' has no \"dtype\""},
        {A("\"dtype\":\"F31\",\"shape\":[1],\"data_offsets\":[0,4]"), 4,
         "tensor 'a' is of dtype 'F31', which is not known"},
        {A(F32_OF("1") "[0,4]"), 4, "tensor 'a' has no \"shape\""},
        {A(F32_OF("[1.0]") "[0,4]"), 4, "tensor 'a' has a dimension that is no natural number"},
        {A(F32_OF("[-1]") "[0,4]"), 4, "tensor 'a' has a dimension that is no natural number"},
        {A(F32_OF("[1,1,1,1,1,1,1,1,1]") "[0,4]"), 4,
         "tensor 'a' has 9 dimensions; 8 at most can be read"},
        {A(F32_OF("[4294967296,4294967296]") "[0,0]"), 0,
         "tensor 'a' claims more elements than this machine can address"},
        {A(F32_OF("[4611686018427387904]") "[0,0]"), 0,
         "tensor 'a' claims more elements than this machine can address"},
        {A(F32_OF("[1]") "[0]"), 4, "tensor 'a' has no \"data_offsets\" of a begin and an end"},
        {A(F32_OF("[1]") "[0,4,8]"), 4, "tensor 'a' has no \"data_offsets\" of a begin and an end"},
        {A(F32_OF("[1]") "[-4,0]"), 4, "tensor 'a' has no \"data_offsets\" of a begin and an end"},
        {A(F32_OF("[1]") "[4,0]"), 4, "tensor 'a' has no \"data_offsets\" of a begin and an end"},
        {A(F32_OF("[2]") "[0,4]"), 4, "tensor 'a' takes 8 bytes by its shape but 4 by its offsets"},
        {A(F32_OF("[1]") "[4,8]"), 8,
         "tensor 'a' begins at byte 4 of the data where 0 is expected"},
        {A(F32_OF("[1]") "[0,4]"), 3,
         "tensor 'a' ends at byte 4 of the data, but there are 3: the file is truncated"},
        {A(F32_OF("[1]") "[0,4]"), 5, "1 bytes follow the last tensor"},
        {"{\"a\":{" F32_OF("[1]") "[0,4]},\"b\":{" F32_OF("[1]") "[2,6]}}", 6,
         "tensor 'b' begins at byte 2 of the data where 4 is expected"},
        {"{\"a\":{" F32_OF("[1]") "[0,4]},\"b\":{" F32_OF("[0]") "[2,2]}}", 4,
         "tensor 'b' begins at byte 2 of the data where 4 is expected"},
        {"{\"\":{" F32_OF("[1]") "[0,4]}}", 4, "a tensor has no name"},
        {"{\"__metadata__\":[]}", 0, "its \"__metadata__\" is no object of strings"},
        {"{\"__metadata__\":{\"a\":1}}", 0, "its \"__metadata__\" has no string for 'a'"},
        {"{}", 1, "1 bytes follow the last tensor"},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct buf b = make_safetensors(cases[i].header, "12345678", cases[i].n);

        check_refused(&b, cases[i].sentence);
        free(b.p);
    }
}

/* jansson's sentences are not ours: only that there is one. */
static void test_safetensors_json_refused(void)
{
    static const char *const headers[] = {
        "{",
        "{}}",
        "{\"a\":{" F32_OF("[0]") "[0,0]},\"a\":{" F32_OF("[0]") "[0,0]}}",
        "{\"a\":{\"dtype\":\"F32\",\"dtype\":\"F32\",\"shape\":[0],\"data_offsets\":[0,0]}}",
        "{\"a\\u0000b\":{" F32_OF("[0]") "[0,0]}}",
        "{\"\xff\":{" F32_OF("[0]") "[0,0]}}",
        A(F32_OF("[18446744073709551616]") "[0,0]"),
    };
    const size_t depth = 100000;
    char *deep = dnas_xzalloc(depth + 2, 1);

    for (size_t i = 0; i < sizeof(headers) / sizeof(headers[0]); i++) {
        struct buf b = make_safetensors(headers[i], "", 0);
        struct dnas_err err = {""};

        CHECK(!dnas_weights_open_mem(b.p, b.n, &err));
        if (strncmp(err.msg, "its header is damaged at byte ", 30) != 0)
            CHECK_FAIL("%s: %s", headers[i], err.msg);
        free(b.p);
    }
    memset(deep, '[', depth);
    memcpy(deep, "{\"a\":", 5);
    struct buf b = make_safetensors(deep, "", 0);
    struct dnas_err err = {""};

    CHECK(!dnas_weights_open_mem(b.p, b.n, &err));
    free(b.p);
    free(deep);
}

static void test_other_files_refused(void)
{
    static const struct {
        const char *bytes;
        size_t n;
        const char *sentence;
    } cases[] = {
        {"", 0, "is neither a safetensors file nor one of torch.save"},
        {"\2\0\0\0\0\0\0\0", 8, "is neither a safetensors file nor one of torch.save"},
        {"\2\0\0\0\0\0\0\0[]", 10, "is neither a safetensors file nor one of torch.save"},
        {">contig 1\nACGT\n", 15, "is neither a safetensors file nor one of torch.save"},
        {"\3\0\0\0\0\0\0\0{}", 10,
         "claims a header of 3 bytes, but 2 follow: the file is truncated"},
        {"\xff\xff\xff\xff\xff\xff\xff\xff{}", 10,
         "claims a header of 18446744073709551615 bytes; 100000000 at most are allowed"},
        {"\x80\x02\x8a\x0al\xfc\x9c"
         "F\xf9",
         9,
         "is in torch.save's format of before torch 1.6; try torch.save(torch.load(FILE), FILE) "
         "with a newer one"},
        {"version https://git-lfs.github.com/spec/v1\n", 43,
         "is a Git LFS pointer, not the weights; try 'git lfs pull'"},
        {"{\"weight_map\": {}}", 18, "is an index of other files where weights are expected"},
        {"PK\3\4", 4, "is a truncated zip archive: it has no end record"},
        {"PK\3\4                          ", 30,
         "is a truncated zip archive: it has no end record"},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct buf b = {0};

        put(&b, cases[i].bytes, cases[i].n);
        check_refused(&b, cases[i].sentence);
        free(b.p);
    }
}

static void test_safetensors_cut_and_flipped(void)
{
    struct buf b = make_safetensors(types_header, types_data, sizeof(types_data) - 1);

    check_every_cut_and_flip(&b);
    free(b.p);
}

/* ---- torch: pickle ---- */

static void test_torch(void)
{
    for (int zip64 = 0; zip64 < 2; zip64++) {
        struct buf b = make_torch(good_views, N_GOOD, zip64);
        struct dnas_err err = {""};
        struct dnas_weights *w = dnas_weights_open_mem(b.p, b.n, &err);

        CHECK_STR(err.msg, "");
        if (w) {
            CHECK_INT(dnas_weights_n(w), N_GOOD);
            for (size_t i = 0; i < N_GOOD; i++)
                CHECK_STR(dnas_weights_tensor(w, i)->name, good_views[i].name);
            check_tensor(w, "whole", 2, 6, six);
            check_tensor(w, "tied", 2, 6, six);
            CHECK(dnas_weights_find(w, "", "tied")->data ==
                  dnas_weights_find(w, "", "whole")->data);
            check_tensor(w, "turned", 2, 6, (const float[]){0, 3, 1, 4, 2, 5});
            check_tensor(w, "tail", 1, 2, (const float[]){4, 5});
            check_tensor(w, "number", 0, 1, (const float[]){5});
            check_tensor(w, "none", 2, 0, NULL);
            check_tensor(w, "spread", 2, 4, (const float[]){1, 3, 1, 3});
            check_tensor(w, "ones", 3, 6, six);
            CHECK(dnas_weights_find(w, "", "ones")->data ==
                  dnas_weights_find(w, "", "whole")->data);
            CHECK(!dnas_weights_metadata(w, "format"));
        }
        dnas_weights_close(w);
        free(b.p);
    }
}

/* Python's pickler at protocol 4: frames, memoize, short texts, stack globals,
 * and a plain dict. */
static void test_torch_protocol_4(void)
{
    struct buf pickle = {0}, b;
    struct dnas_err err = {""};
    struct dnas_weights *w;

    put(&pickle, protocol_4, sizeof(protocol_4) - 1);
    b = make_torch_from(&pickle, true);
    w = dnas_weights_open_mem(b.p, b.n, &err);
    CHECK_STR(err.msg, "");
    if (w) {
        check_tensor(w, "a", 2, 6, six);
        check_tensor(w, "b", 2, 6, six);
    }
    dnas_weights_close(w);
    free(b.p);
    free(pickle.p);
}

static void test_torch_tensors_refused(void)
{
    static const struct {
        struct view view;
        const char *sentence;
    } cases[] = {
        {{"a", "1", 6, 0, 1, {6}, {1}}, "tensor 'a' needs the storage '1', which is not there"},
        {{"a", "0/../0", 6, 0, 1, {6}, {1}},
         "tensor 'a' needs the storage '0/../0', which is not there"},
        {{"a", "0", 7, 0, 1, {6}, {1}},
         "tensor 'a' needs a storage of 7 elements; '0' has 24 bytes"},
        {{"a", "0", (uint64_t)1 << 62, 0, 1, {6}, {1}},
         "tensor 'a' needs a storage of 4611686018427387904 elements; '0' has 24 bytes"},
        {{"a", "0", 6, 0, 1, {7}, {1}}, "tensor 'a' goes beyond its storage of 6 elements"},
        {{"a", "0", 6, 1, 1, {6}, {1}}, "tensor 'a' goes beyond its storage of 6 elements"},
        {{"a", "0", 6, 6, 0, {0}, {0}}, "tensor 'a' goes beyond its storage of 6 elements"},
        {{"a", "0", 6, 7, 1, {0}, {1}}, "tensor 'a' goes beyond its storage of 6 elements"},
        {{"a", "0", 6, 0, 2, {2, 2}, {5, 1}}, "tensor 'a' goes beyond its storage of 6 elements"},
        {{"a", "0", 6, 0, 1, {3}, {INT64_MAX}}, "tensor 'a' goes beyond its storage of 6 elements"},
        {{"a", "0", 6, 0, 1, {4}, {INT64_MAX}}, "tensor 'a' goes beyond its storage of 6 elements"},
        {{"a", "0", 6, 0, 2, {2, 2}, {INT64_MAX, INT64_MAX}},
         "tensor 'a' goes beyond its storage of 6 elements"},
        {{"a", "0", 6, 0, 2, {(uint64_t)1 << 40, (uint64_t)1 << 40}, {0, 0}},
         "tensor 'a' claims more elements than this machine can address"},
        {{"a", "0", 6, 0, 2, {(uint64_t)1 << 20, (uint64_t)1 << 20}, {0, 0}},
         "tensor 'a' is a view of more bytes than the file has; try saving it with .contiguous()"},
        {{"a", "0", 6, 0, 9, {1, 1, 1, 1, 1, 1, 1, 1, 1}, {0}},
         "its data.pkl has a tensor of 9 dimensions; 8 at most can be read"},
        {{"a", "0", 6, 0, 1, {UINT64_MAX}, {1}},
         "its data.pkl has a tensor with a dimension that is no natural number"},
        {{"a", "0", 6, UINT64_MAX, 1, {1}, {1}},
         "its data.pkl has a tensor in a form that torch.save does not write"},
        {{"a", "0", UINT64_MAX, 0, 1, {1}, {1}},
         "its data.pkl has a storage in a form that torch.save does not write"},
        {{"", "0", 6, 0, 1, {6}, {1}}, "its data.pkl holds a tensor without a name"},
    };
    static const struct view twice[] = {{"a", "0", 6, 0, 1, {6}, {1}},
                                        {"a", "0", 6, 0, 1, {6}, {1}}};
    struct buf b;

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        b = make_torch(&cases[i].view, 1, true);
        check_refused(&b, cases[i].sentence);
        free(b.p);
    }
    b = make_torch(twice, 2, true);
    check_refused(&b, "tensor 'a' is there twice");
    free(b.p);
}

#define REFUSED                                                                                    \
    "', where a dict of f32 tensors needs only collections.OrderedDict, "                          \
    "torch._utils._rebuild_tensor_v2 and torch.FloatStorage; try safetensors"
#define OPCODE(code) "has an opcode (" code ") that torch.save does not write for a dict of tensors"
#define EMPTY_STACK "takes more from its stack than is there"

static void test_torch_pickles_refused(void)
{
    static const struct {
        const char *code;
        size_t n;
        const char *sentence; /* after "its data.pkl " */
    } cases[] = {
#define CASE(code, sentence) {code, sizeof(code) - 1, sentence}
        /* os.system("id") and relatives, as pickle exploits write them */
        CASE(HEAD "cos\nsystem\nX\2\0\0\0id\x85R.",
             "asks for the Python object 'os.system" REFUSED),
        CASE(HEAD "cposix\nsystem\n.", "asks for the Python object 'posix.system" REFUSED),
        CASE("\x80\x04\x8c\x08"
             "builtins\x8c\4eval\x93.",
             "asks for the Python object 'builtins.eval" REFUSED),
        CASE(HEAD "ctorch\nLongStorage\n.",
             "asks for the Python object 'torch.LongStorage" REFUSED),
        CASE(HEAD "ctorch\nHalfStorage\n.",
             "asks for the Python object 'torch.HalfStorage" REFUSED),
        CASE(HEAD "ctorch._utils\n_rebuild_parameter\n.",
             "asks for the Python object 'torch._utils._rebuild_parameter" REFUSED),
        CASE(HEAD "ccollections\nOrderedDict2\n.",
             "asks for the Python object 'collections.OrderedDict2" REFUSED),
        CASE(HEAD "ccollections\0\nOrderedDict\n.", "names a Python object by what is no name"),
        CASE(HEAD "K\1K\2\x93.", "names a Python object by what is no name"),
        CASE(HEAD "(X\2\0\0\0idios\nsystem\n.", OPCODE("0x69 at byte 10")), /* INST */
        CASE(HEAD "o.", OPCODE("0x6f at byte 2")),                          /* OBJ */
        CASE(HEAD "cos\nsystem\n)\x81.", "asks for the Python object 'os.system" REFUSED),
        CASE(HEAD "\x82\1.", OPCODE("0x82 at byte 2")), /* EXT1 */
        CASE(HEAD "].", OPCODE("0x5d at byte 2")),
        CASE(HEAD "\xff.", OPCODE("0xff at byte 2")),
        CASE("", "is no pickle of protocol 2 to 5"),
        CASE("}.", "is no pickle of protocol 2 to 5"),
        CASE("\x80\1}.", "is of pickle protocol 1; 2 to 5 can be read"),
        CASE("\x80\6}.", "is of pickle protocol 6; 2 to 5 can be read"),
        CASE(HEAD, "is truncated"),
        CASE(HEAD "cos\nsystem", "is truncated"),
        CASE(HEAD "X\xff\xff\xff\xff"
                  "ab",
             "is truncated"),
        CASE(HEAD "X\1\0\0\0\xff.", "has a text that is not UTF-8"),
        CASE(HEAD "\x8a\x09"
                  "123456789.",
             "has an integer of 9 bytes; 8 at most can be read"),
        CASE(HEAD ".", "holds no dict of tensors"),
        CASE(HEAD "(.", "holds no dict of tensors"),
        CASE(HEAD "N.", "holds no dict of tensors"),
        CASE(HEAD "}}.", "holds no dict of tensors"),
        CASE(HEAD "}.}", "goes on after its end"),
        CASE(HEAD "}X\1\0\0\0aK\1s.",
             "holds 'a', which is no tensor; try saving the state dict alone"),
        CASE(HEAD "}X\5\0\0\0model}s.",
             "holds 'model', which is no tensor; try saving the state dict alone"),
        CASE(HEAD "\x85.", EMPTY_STACK),
        CASE(HEAD "(\x85.", EMPTY_STACK),
        CASE(HEAD "s.", EMPTY_STACK),
        CASE(HEAD "}K\1(s.", EMPTY_STACK),
        CASE(HEAD "(K\1K\1s.", "sets items of what is no dict"),
        CASE(HEAD "}(K\1s.", "has a key that is no text"),
        CASE(HEAD "(u.", EMPTY_STACK),
        CASE(HEAD "u.", "lacks a mark on its stack"),
        CASE(HEAD "t.", "lacks a mark on its stack"),
        CASE(HEAD "N(u.", "sets items of what is no dict"),
        CASE(HEAD "((u.", "sets items of what is no dict"),
        CASE(HEAD "}(Nu.", "has a key without a value"),
        CASE(HEAD "}(NNu.", "has a key that is no text"),
        CASE(HEAD "b.", EMPTY_STACK),
        CASE(HEAD "}}b.", "gives attributes to what is no OrderedDict"),
        CASE(HEAD DICT "Nb.", "gives attributes to what is no OrderedDict"),
        CASE(HEAD "R.", EMPTY_STACK),
        CASE(HEAD "))R.", "calls what is no function"),
        CASE(HEAD "ctorch\nFloatStorage\n)R.", "makes a call that torch.save does not write"),
        CASE(HEAD "ccollections\nOrderedDict\nNR.", "makes a call that torch.save does not write"),
        CASE(HEAD "ctorch._utils\n_rebuild_tensor_v2\n)R.",
             "has a tensor in a form that torch.save does not write"),
        CASE(HEAD "Q.", EMPTY_STACK),
        CASE(HEAD ")Q.", "has a storage in a form that torch.save does not write"),
        CASE(HEAD "NQ.", "has a storage in a form that torch.save does not write"),
        CASE(HEAD "(\x8c\7storagectorch\nFloatStorage\n\x8c\1"
                  "0\x8c\3cpuJ\xff\xff\xff\xfftQ.",
             "has a storage in a form that torch.save does not write"),
        CASE(HEAD "h\0.", "asks for what it has not memoized"),
        CASE(HEAD "Nq\1h\0.", "asks for what it has not memoized"),
        CASE(HEAD "j\xff\xff\xff\xff.", "asks for what it has not memoized"),
        CASE(HEAD "Nr\xff\xff\xff\xff.", "has a memo number out of range"),
        CASE(HEAD "(q\0.", EMPTY_STACK),
        CASE(HEAD "\x94.", EMPTY_STACK),
#undef CASE
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct buf pickle = {0}, b;
        char *sentence = dnas_xasprintf("its data.pkl %s", cases[i].sentence);

        put(&pickle, cases[i].code, cases[i].n);
        b = make_torch_from(&pickle, i % 2);
        check_refused(&b, sentence);
        free(sentence);
        free(b.p);
        free(pickle.p);
    }
}

/* A million marks, a million nested tuples, and dicts that hold themselves. */
static void test_torch_pickles_deep(void)
{
    struct buf pickle = {0}, b;

    put_text(&pickle, HEAD ")");
    for (int i = 0; i < 1000000; i++)
        put_text(&pickle, "\x85");
    for (int i = 0; i < 1000000; i++)
        put_text(&pickle, "(");
    put_text(&pickle, ".");
    b = make_torch_from(&pickle, true);
    check_refused(&b, "its data.pkl holds no dict of tensors");
    free(b.p);
    pickle.n = 0;
    put_text(&pickle, HEAD "}q\1X\1");
    put(&pickle, "\0\0\0ah\1s.", 8);
    b = make_torch_from(&pickle, true);
    check_refused(&b,
                  "its data.pkl holds 'a', which is no tensor; try saving the state dict alone");
    free(b.p);
    pickle.n = 0;
    put(&pickle, HEAD, 2);
    while (pickle.n <= 4 << 20)
        put_text(&pickle, "N");
    b = make_torch_from(&pickle, true);
    check_refused(&b, "its data.pkl has 4194305 bytes; 4194304 at most are read");
    free(b.p);
    free(pickle.p);
}

/* One long text under which a tensor is stored again and again must not take
 * memory each time. */
static void test_torch_pickle_long_name_again(void)
{
    struct buf pickle = {0}, b;
    char *name = dnas_xzalloc(100001, 1), sentence[512];

    memset(name, 'n', 100000);
    put_text(&pickle, HEAD DICT);
    put_tensor(&pickle, &(struct view){name, "0", 6, 0, 1, {6}, {1}});
    put_text(&pickle, "q\2s");
    put_word(&pickle, name);
    put_text(&pickle, "q\1h\2s");
    for (int i = 0; i < 1000; i++)
        put_text(&pickle, "h\1h\2s");
    put_text(&pickle, ".");
    b = make_torch_from(&pickle, true);
    name[200] = '\0';
    snprintf(sentence, sizeof(sentence), "its data.pkl holds '%s' twice", name);
    check_refused(&b, sentence);
    free(b.p);
    free(pickle.p);
    free(name);
}

static void test_torch_zips_refused(void)
{
    struct buf pickle = make_pickle(good_views, 1);
#define PICKLE .name = "m/data.pkl", .data = pickle.p, .n = pickle.n
#define STORAGE .name = "m/data/0", .data = six, .n = sizeof(six)
#define VERSION .name = "m/version", .data = "3\n", .n = 2
    const struct {
        struct member members[4];
        const char *sentence;
    } cases[] = {
        {{{STORAGE}, {VERSION}}, "is a zip archive, but none of torch.save: it holds no data.pkl"},
        {{{.name = "a/b/data.pkl", .data = "", .n = 0}, {VERSION}},
         "is a zip archive, but none of torch.save: it holds no data.pkl"},
        {{{PICKLE}, {.name = "x/data.pkl", .data = "", .n = 0}},
         "holds two models: 'm/data.pkl' and 'x/data.pkl'"},
        {{{PICKLE}, {STORAGE}}, "is a zip archive, but none of torch.save: it holds no version"},
        {{{PICKLE}, {STORAGE}, {.name = "m/version", .data = "11\n", .n = 3}},
         "is in version 11 of torch's format; 1 to 10 can be read"},
        {{{PICKLE}, {STORAGE}, {VERSION}, {.name = "m/byteorder", .data = "big", .n = 3}},
         "is not in little-endian byte order"},
        {{{PICKLE}, {STORAGE, .method = 8}, {VERSION}},
         "zip member 'm/data/0' is compressed, which torch.save does not do; try unpacking the "
         "archive and 'zip -0 -r'"},
        {{{PICKLE}, {STORAGE, .flags = 1}, {VERSION}}, "zip member 'm/data/0' is encrypted"},
        {{{PICKLE}, {STORAGE, .local_name = "m/data/1"}, {VERSION}},
         "zip member 'm/data/0' has another local header than the zip directory says"},
        {{{PICKLE}, {STORAGE, .local_size = 23}, {VERSION}},
         "zip member 'm/data/0' has another size in its local header"},
        {{{PICKLE}, {STORAGE, .compressed_size = 23}, {VERSION}},
         "zip member 'm/data/0' is stored but has two sizes"},
        {{{PICKLE}, {STORAGE, .directory_size = 0x7fffffff}, {VERSION}},
         "zip member 'm/data/0' goes beyond the zip directory"},
        {{{PICKLE}, {STORAGE, .directory_size = 30, .local_size = 30}, {VERSION}},
         "two zip members overlap at byte 331"},
        {{{PICKLE}, {STORAGE, .moved = 1}, {VERSION}}, "zip member 'm/data/0' has no local header"},
        {{{PICKLE}, {STORAGE, .moved = -0x7fffffff}, {VERSION}},
         "zip member 'm/data/0' has no local header"},
        {{{PICKLE}, {STORAGE}, {STORAGE}, {VERSION}}, "zip member 'm/data/0' is there twice"},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        size_t n = 0;
        struct buf b;

        while (n < 4 && cases[i].members[n].name)
            n++;
        b = make_zip(cases[i].members, n, false);
        check_refused(&b, cases[i].sentence);
        free(b.p);
    }
    free(pickle.p);
}

/* Bytes changed in the records behind the data, counted from the end. */
static void test_torch_zip_ends_refused(void)
{
    static const struct {
        bool zip64;
        size_t from_end;
        unsigned char value;
        const char *sentence;
    } cases[] = {
        {false, 18, 1, "is a part of a zip archive in several files"},
        {false, 14, 9, "is a part of a zip archive in several files"},
        {false, 10, 0, "its zip directory does not end where its end record begins"},
        {false, 3, 200, "its zip directory does not end where its end record begins"},
        {false, 2, 1, "is a truncated zip archive: it has no end record"},
        {true, 22 + 20 - 8, 0, "its zip64 end record is not where its locator says"},
        {true, 22 + 20 + 56, 0, "its zip64 end record is damaged"},
        {true, 22 + 20 + 56 - 4, 45, "its zip64 end record is damaged"},
        {true, 22 + 20 + 56 - 16, 1, "is a part of a zip archive in several files"},
        {true, 22 + 20 + 56 - 24, 9, "is a part of a zip archive in several files"},
        {true, 22 + 20 + 56 - 40, 0, "its zip directory does not end where its end record begins"},
        {true, 22 + 20 + 56 - 55, 0xff,
         "its zip directory does not end where its end record begins"},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct buf b = make_torch(good_views, 1, cases[i].zip64);

        b.p[b.n - cases[i].from_end] = cases[i].value;
        check_refused(&b, cases[i].sentence);
        free(b.p);
    }
}

static void test_torch_zip_counts_refused(void)
{
    struct buf b = make_torch(good_views, 1, false);

    b.p[b.n - 14] = b.p[b.n - 12] = 3;
    check_refused(&b, "its zip directory goes on after its last member");
    b.p[b.n - 14] = b.p[b.n - 12] = 5;
    check_refused(&b, "claims 5 zip members in a directory of 222 bytes");
    b.p[b.n - 14] = b.p[b.n - 12] = 4;
    b.p[b.n - 22 - 222]++;
    check_refused(&b, "its zip directory is damaged");
    free(b.p);
}

static void test_torch_cut_and_flipped(void)
{
    for (int zip64 = 0; zip64 < 2; zip64++) {
        struct buf b = make_torch(good_views, N_GOOD, zip64);

        check_every_cut_and_flip(&b);
        free(b.p);
    }
}

/* Pickles of opcodes drawn at random (by xorshift) from those that are known. */
static void test_torch_random_pickles(void)
{
    static const char *const pieces[] = {
        "(",
        ")",
        "}",
        "t",
        "\x85",
        "\x86",
        "\x87",
        "q\1",
        "q\2",
        "h\1",
        "h\2",
        "s",
        "u",
        "b",
        "R",
        "Q",
        "N",
        "\x88",
        "K\1",
        "K\2",
        "\x94",
        "\x8c\1"
        "0",
        "\x8c\7storage",
        DICT,
        "ctorch\nFloatStorage\n",
        "ctorch._utils\n_rebuild_tensor_v2\n",
        "((\x8c\7storagectorch\nFloatStorage\n\x8c\1"
        "0\x8c\3cpuK\6tQ",
    };
    uint64_t x = 1;

    for (int i = 0; i < 20000; i++) {
        struct buf pickle = {0}, b;

        put_text(&pickle, HEAD DICT);
        for (int j = 0; j < 24; j++) {
            x ^= x << 13;
            x ^= x >> 7;
            x ^= x << 17;
            put_text(&pickle, pieces[(x >> 32) % (sizeof(pieces) / sizeof(pieces[0]))]);
        }
        put_text(&pickle, ".");
        b = make_torch_from(&pickle, true);
        read_through(b.p, b.n);
        free(b.p);
        free(pickle.p);
    }
}

/* ---- files ---- */

static char *temporary(const char *name)
{
    const char *dir = getenv("TMP");

    return dnas_xasprintf("%s/%s", dir && *dir ? dir : "/tmp", name);
}

/* name in a folder of this run's own, made if it is not there. */
static char *temporary_in(const char *folder, const char *name)
{
    char *within = dnas_xasprintf("weights-%ld-%s", (long)getpid(), folder);
    char *dir = temporary(within), *path = dnas_xasprintf("%s/%s", dir, name);

    mkdir(dir, 0777);
    free(within);
    free(dir);
    return path;
}

static void write_file(const char *path, const void *bytes, size_t n)
{
    FILE *f = fopen(path, "wb");

    CHECK(f && fwrite(bytes, 1, n, f) == n);
    if (f)
        fclose(f);
}

static void remove_folder_of(const char *path)
{
    char *dir = dnas_xstrndup(path, (size_t)(strrchr(path, '/') - path));

    if (rmdir(dir) != 0)
        CHECK_FAIL("%s is not empty", dir);
    free(dir);
}

static void test_write(void)
{
    static const float a[6] = {1, -2, 3e-40f, 4, INFINITY, -0.0f};
    static const uint16_t b[3] = {0x3f80, 0xc000, 0};
    static const struct dnas_tensor tensors[] = {
        {.name = "z.weight", .dtype = DNAS_DTYPE_F32, .n_dims = 2, .shape = {2, 3}, .data = a},
        {.name = "\xc3\xa9 \"\n", .dtype = DNAS_DTYPE_BF16, .n_dims = 1, .shape = {3}, .data = b},
        {.name = "none", .dtype = DNAS_DTYPE_F32, .n_dims = 1, .shape = {0}, .data = a},
        {.name = "one", .dtype = DNAS_DTYPE_F32, .data = a},
    };
    static const struct dnas_metadata metadata[] = {{"dnas", "{\"arch\":\"bert\"}"}, {"b", ""}};
    char *path = temporary_in("write", "m.safetensors"), *part = dnas_xasprintf("%s.part", path);
    struct dnas_err err = {""};
    struct dnas_weights *w;
    size_t n[2] = {0, 0};
    char *bytes[2] = {NULL, NULL};

    for (int i = 0; i < 2; i++) {
        CHECK_INT(dnas_safetensors_write(path, tensors, 4, metadata, 2, &err), 0);
        bytes[i] = dnas_read_file(path, 1 << 20, &n[i], &err);
    }
    CHECK_STR(err.msg, "");
    CHECK(bytes[0] && bytes[1] && n[0] == n[1] && memcmp(bytes[0], bytes[1], n[0]) == 0);
    CHECK(access(part, F_OK) != 0);
    CHECK_INT(n[0] % 8, (6 * 4 + 3 * 2 + 4) % 8); /* the header is padded */
    w = dnas_weights_open(path, &err);
    CHECK_STR(err.msg, "");
    if (w) {
        for (size_t i = 0; i < 4; i++)
            CHECK_STR(dnas_weights_tensor(w, i)->name, tensors[i].name);
        check_tensor(w, "z.weight", 2, 6, a);
        check_tensor(w, "\xc3\xa9 \"\n", 1, 3, (const float[]){1, -2, 0});
        check_tensor(w, "none", 1, 0, NULL);
        check_tensor(w, "one", 0, 1, a);
        CHECK_STR(dnas_weights_metadata(w, "dnas"), "{\"arch\":\"bert\"}");
    }
    dnas_weights_close(w);
    unlink(path);
    remove_folder_of(path);
    free(bytes[0]);
    free(bytes[1]);
    free(path);
    free(part);
}

/* The exact bytes, so that they cannot change unnoticed. */
static void test_write_bytes(void)
{
    static const char want[] = "\x38\0\0\0\0\0\0\0"
                               "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}  "
                               "\0\0\x80\x3f";
    static const float one = 1;
    static const struct dnas_tensor a = {
        .name = "a", .dtype = DNAS_DTYPE_F32, .n_dims = 1, .shape = {1}, .data = &one};
    char *path = temporary_in("bytes", "a.safetensors"), *bytes;
    struct dnas_err err = {""};
    size_t n = 0;

    CHECK_INT(dnas_safetensors_write(path, &a, 1, NULL, 0, &err), 0);
    bytes = dnas_read_file(path, 1000, &n, &err);
    CHECK_INT(n, sizeof(want) - 1);
    CHECK(bytes && n == sizeof(want) - 1 && memcmp(bytes, want, n) == 0);
    free(bytes);
    unlink(path);
    remove_folder_of(path);
    free(path);
}

static void test_write_refused(void)
{
    static const struct dnas_metadata bad = {"a", "\xff"};
    struct dnas_err err = {""};

    CHECK_INT(dnas_safetensors_write("/nowhere/x", NULL, 0, NULL, 0, &err), -1);
    CHECK_STR(err.msg, "/nowhere/x.part: cannot be written: No such file or directory");
    CHECK_INT(dnas_safetensors_write("/nowhere/x", NULL, 0, &bad, 1, &err), -1);
    CHECK_STR(err.msg, "/nowhere/x: 'a' or its text is not UTF-8");
    CHECK_INT(dnas_safetensors_write("/dev/full", NULL, 0, NULL, 0, &err), -1);
    CHECK_STR(err.msg, "/dev/full: cannot be written: No space left on device");
}

static void check_open_refused(const char *path, const char *sentence)
{
    struct dnas_err err = {""};
    char *want = dnas_xasprintf("%s%s", path, sentence);

    CHECK(!dnas_weights_open(path, &err));
    CHECK_STR(err.msg, want);
    free(want);
}

static void test_files_refused(void)
{
    char *path = temporary_in("files", "f"), *dir = dnas_xstrndup(path, strlen(path) - 2);

    check_open_refused("/nowhere/x", ": No such file or directory");
    check_open_refused("/dev/null",
                       ": is not a regular file; weights are mapped, so a pipe does not do");
    check_open_refused(dir, ": holds neither model.safetensors nor pytorch_model.bin");
    write_file(path, "", 0);
    check_open_refused(path, ": is empty");
    unlink(path);
    mkfifo(path, 0600);
    check_open_refused(path, ": is not a regular file; weights are mapped, so a pipe does not do");
    unlink(path);
    remove_folder_of(path);
    free(dir);
    free(path);
}

/* A folder's file is found by name and read by content. */
static void test_folder(void)
{
    struct buf torch = make_torch(good_views, 1, true);
    char *path = temporary_in("folder", "model.safetensors");
    char *dir = dnas_xstrndup(path, (size_t)(strrchr(path, '/') - path));
    struct dnas_err err = {""};
    struct dnas_weights *w;

    write_file(path, torch.p, torch.n);
    w = dnas_weights_open(dir, &err);
    CHECK_STR(err.msg, "");
    if (w)
        check_tensor(w, "whole", 2, 6, six);
    dnas_weights_close(w);
    unlink(path);
    remove_folder_of(path);
    free(torch.p);
    free(dir);
    free(path);
}

static void test_index(void)
{
    static const struct {
        const char *index, *sentence; /* "": fine; "*": some sentence */
    } cases[] = {
        {"{\"metadata\":{},\"weight_map\":{\"a\":\"1\",\"whole\":\"2\"}}", ""},
        {"{\"weight_map\":{\"a\":\"2\",\"whole\":\"1\"}}",
         ": tensor 'a' is not in '2', where the index puts it"},
        {"{\"weight_map\":{\"a\":\"1\",\"whole\":\"2\",\"b\":\"2\"}}",
         ": tensor 'b' is not in '2', where the index puts it"},
        {"{\"weight_map\":{\"a\":\"1\",\"z\":\"3\"}}", ": its parts hold 3 tensors but its index "
                                                       "lists 2"},
        {"{\"weight_map\":{\"a\":\"1\",\"whole\":\"3\",\"z\":\"4\"}}",
         ": tensor 'whole' is there twice"},
        {"{\"weight_map\":{\"a\":\"../1\"}}",
         ": its index names '../1', which is no file beside it"},
        {"{\"weight_map\":{\"a\":\"\"}}", ": its index names '', which is no file beside it"},
        {"{\"weight_map\":{\"a\":1}}", ": its index has no file for tensor 'a'"},
        {"{\"model_type\":\"bert\"}",
         ": is JSON but no index of weights: it has no \"weight_map\""},
        {"{\"weight_map\":{\"a\":\"1\"}", "*"},
        {"{\"weight_map\":{\"a\":\"9\"}}", "*"},
    };
    char *path = temporary_in("index", "x.json"), *parts[4];
    struct buf torch = make_torch(good_views, 1, true);
    struct buf a = make_safetensors(A(F32_OF("[1]") "[0,4]"), &six[1], 4);
    struct buf z = make_safetensors(
        "{\"z\":{" F32_OF("[0]") "[0,0]},\"whole\":{" F32_OF("[0]") "[0,0]}}", "", 0);

    for (int i = 0; i < 4; i++) {
        const struct buf *b = i == 0 ? &a : i == 1 ? &torch : &z;

        parts[i] = temporary_in("index", (const char *[]){"1", "2", "3", "4"}[i]);
        write_file(parts[i], b->p, b->n);
    }
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct dnas_err err = {""};
        struct dnas_weights *w;
        char *want = dnas_xasprintf("%s%s", path, cases[i].sentence);

        write_file(path, cases[i].index, strlen(cases[i].index));
        w = dnas_weights_open(path, &err);
        if (cases[i].sentence[0] == '\0') {
            CHECK_STR(err.msg, "");
            CHECK_INT(dnas_weights_n(w), 2);
            check_tensor(w, "a", 1, 1, &six[1]);
            check_tensor(w, "whole", 2, 6, six);
        } else {
            CHECK(!w);
            if (cases[i].sentence[0] == ':')
                CHECK_STR(err.msg, want);
        }
        dnas_weights_close(w);
        free(want);
    }
    for (int i = 0; i < 4; i++) {
        unlink(parts[i]);
        free(parts[i]);
    }
    unlink(path);
    remove_folder_of(path);
    free(path);
    free(torch.p);
    free(a.p);
    free(z.p);
}

/* ---- what is asked of weights ---- */

static struct dnas_weights *open_text(struct buf *b, const char *header, const void *data, size_t n)
{
    struct dnas_err err = {""};
    struct dnas_weights *w;

    *b = make_safetensors(header, data, n);
    w = dnas_weights_open_mem(b->p, b->n, &err);
    if (!w) {
        printf("Bail out! %s\n", err.msg);
        exit(99);
    }
    return w;
}

static void test_prefix(void)
{
    struct buf b;
    struct dnas_weights *w = open_text(
        &b,
        "{\"module.bert.emb.w\":{" F32_OF(
            "[0]") "[0,0]},"
                   "\"emb.b\":{" F32_OF("[0]") "[0,0]},"
                                               "\"a.x\":{" F32_OF("[0]") "[0,0]},\"b.x\":{" F32_OF(
                                                   "[0]") "[0,0]},"
                                                          "\"xemb.u\":{" F32_OF("[0]") "[0,0]}}",
        "", 0);
    struct dnas_err err = {""};
    char *prefix = dnas_weights_prefix(w, "emb.w", &err);

    CHECK(prefix && strcmp(prefix, "module.bert.") == 0);
    free(prefix);
    prefix = dnas_weights_prefix(w, "emb.b", &err);
    CHECK(prefix && strcmp(prefix, "") == 0);
    free(prefix);
    CHECK(!dnas_weights_prefix(w, "emb.u", &err));
    CHECK_STR(err.msg, "tensor 'emb.u' is missing");
    CHECK(!dnas_weights_prefix(w, "x", &err));
    CHECK_STR(err.msg, "tensors 'a.x' and 'b.x': one of them is expected");
    dnas_weights_close(w);
    free(b.p);
}

static void check_finite(const char *dtype, const char *bytes, const char *sentence)
{
    const size_t n = 5000, at = 4500,
                 size = strcmp(dtype, "F32") == 0 ? 4
                        : dtype[1] == '6'         ? 8
                                                  : 2;
    unsigned char *data = dnas_xzalloc(n, size);
    char header[128];
    struct buf b;
    struct dnas_weights *w;
    struct dnas_err err = {""};

    snprintf(header, sizeof(header), A("\"dtype\":\"%s\",\"shape\":[%zu],\"data_offsets\":[0,%zu]"),
             dtype, n, n * size);
    memcpy(data + at * size, bytes, size);
    w = open_text(&b, header, data, n * size);
    CHECK_INT(dnas_tensor_check_finite(w, dnas_weights_tensor(w, 0), &err), *sentence ? -1 : 0);
    CHECK_STR(err.msg, sentence);
    dnas_weights_close(w);
    free(data);
    free(b.p);
}

static void test_finite(void)
{
    check_finite("F32", "\xff\xff\x7f\x7f", "");
    check_finite("F32", "\0\0\xc0\x7f", "tensor 'a' holds nan (element 4500)");
    check_finite("F32", "\1\0\x80\xff", "tensor 'a' holds nan (element 4500)");
    check_finite("F32", "\0\0\x80\xff", "tensor 'a' holds an infinity (element 4500)");
    check_finite("F16", "\xff\x7b", "");
    check_finite("F16", "\0\x7c", "tensor 'a' holds an infinity (element 4500)");
    check_finite("F16", "\1\xfc", "tensor 'a' holds nan (element 4500)");
    check_finite("BF16", "\x80\x7f", "tensor 'a' holds an infinity (element 4500)");
    check_finite("F64", "\0\0\0\0\0\0\xf0\x7f", "tensor 'a' holds an infinity (element 4500)");
    /* 1e300 is finite, but not as f32 */
    check_finite("F64", "\x9c\x75\0\x88\x3c\xe4\x37\x7e",
                 "tensor 'a' holds an infinity (element 4500)");
    check_finite("I16", "\0\x7c", "");
}

static void test_hash(void)
{
    /* The same values: plain; another order, prefix and dtype; a head on top. */
    static const char plain[] = "{\"x\":{" F32_OF("[2,1]") "[0,8]},\"y\":{" F32_OF("[]") "[8,12]}}";
    static const char other[] =
        "{\"p.y\":{\"dtype\":\"BF16\",\"shape\":[],\"data_offsets\":[0,2]},"
        "\"p.x\":{\"dtype\":\"F16\",\"shape\":[2,1],\"data_offsets\":[2,6]},"
        "\"head\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[6,7]}}";
    static const char flat[] = "{\"x\":{" F32_OF("[1,2]") "[0,8]},\"y\":{" F32_OF("[]") "[8,12]}}";
    const char *const names[] = {"y", "x"}, *const back[] = {"x", "y"}, *const bad[] = {"head"};
    struct buf b[3];
    struct dnas_weights *w[3] = {
        open_text(&b[0], plain, "\0\0\x80\x3f\0\0\0\xc0\0\0\xc0\xbf", 12),
        open_text(&b[1], other, "\xc0\xbf\0\x3c\0\xc0\7", 7),
        open_text(&b[2], flat, "\0\0\x80\x3f\0\0\0\xc0\0\0\xc0\xbf", 12),
    };
    char hex[4][DNAS_WEIGHTS_HASH_SIZE];
    struct dnas_err err = {""};

    CHECK_INT(dnas_weights_hash(w[0], hex[0], "", names, 2, &err), 0);
    CHECK_INT(dnas_weights_hash(w[0], hex[1], "", back, 2, &err), 0);
    CHECK_INT(dnas_weights_hash(w[1], hex[2], "p.", names, 2, &err), 0);
    CHECK_INT(dnas_weights_hash(w[2], hex[3], "", names, 2, &err), 0);
    CHECK_STR(
        hex[0],
        "30992c110b045035ac340d3e2e7673a1"); /* may not change: it stands in headers of streams */
    CHECK_STR(hex[1], hex[0]);
    CHECK_STR(hex[2], hex[0]);
    CHECK(strcmp(hex[3], hex[0]) != 0);
    CHECK_INT(dnas_weights_hash(w[0], hex[0], "p.", names, 2, &err), -1);
    CHECK_STR(err.msg, "tensor 'p.x' is missing");
    CHECK_INT(dnas_weights_hash(w[1], hex[0], "", bad, 1, &err), -1);
    CHECK_STR(err.msg, "tensor 'head' holds integers (U8) where fractions are needed");
    for (int i = 0; i < 3; i++) {
        dnas_weights_close(w[i]);
        free(b[i].p);
    }
}

/* ---- files made by torch and safetensors themselves ---- */

static struct dnas_weights *open_golden(const char *name)
{
    char *path = dnas_xasprintf("%s/%s", check_test_data(), name);
    struct dnas_err err = {""};
    struct dnas_weights *w = dnas_weights_open(path, &err);

    if (!w)
        CHECK_FAIL("%s", err.msg);
    free(path);
    return w;
}

static void compare_golden(struct dnas_weights *a, struct dnas_weights *b)
{
    const char **names = dnas_xalloc(dnas_weights_n(a), sizeof(*names));
    char hex[2][DNAS_WEIGHTS_HASH_SIZE];
    struct dnas_err err = {""};
    char *prefix = dnas_weights_prefix(a, "embeddings.word_embeddings.weight", &err);

    CHECK(prefix && strcmp(prefix, "") == 0);
    free(prefix);
    CHECK_INT(dnas_weights_n(a), 39);
    CHECK_INT(dnas_weights_n(b), 39);
    for (size_t i = 0; i < dnas_weights_n(a); i++) {
        const struct dnas_tensor *x = dnas_weights_tensor(a, i);
        const struct dnas_tensor *y = dnas_weights_find(b, "", x->name);

        names[i] = x->name;
        if (!y) {
            CHECK_FAIL("%s is in one file only", x->name);
            continue;
        }
        CHECK_STR(dnas_weights_tensor(b, i)->name, x->name);
        CHECK_INT(x->dtype, DNAS_DTYPE_F32);
        CHECK_INT(y->dtype, DNAS_DTYPE_F32);
        CHECK_INT(x->n_dims, y->n_dims);
        CHECK(memcmp(x->shape, y->shape, sizeof(x->shape)) == 0);
        CHECK(x->size_bytes == y->size_bytes && memcmp(x->data, y->data, x->size_bytes) == 0);
        CHECK(dnas_tensor_f32(b, y, &err) == y->data);
        CHECK_INT(dnas_tensor_check_finite(a, x, &err), 0);
    }
    CHECK_INT(dnas_weights_hash(a, hex[0], "", names, dnas_weights_n(a), &err), 0);
    CHECK_INT(dnas_weights_hash(b, hex[1], "", names, dnas_weights_n(a), &err), 0);
    CHECK_STR(hex[0], hex[1]);
    free(names);
}

static void test_golden(void)
{
    struct dnas_weights *a, *b, *folder;

    if (!check_test_data())
        SKIP("DNAS_TEST_DATA is not set");
    a = open_golden("dnabert2_tiny/model.safetensors");
    b = open_golden("dnabert2_tiny/pytorch_model.bin");
    folder = open_golden("dnabert2_tiny");
    if (a && b && folder) {
        compare_golden(a, b);
        CHECK_INT(dnas_weights_n(folder), 39);
    }
    dnas_weights_close(a);
    dnas_weights_close(b);
    dnas_weights_close(folder);
}

/* torch's file, with each byte of its pickle, and of its zip's records every
 * 7th, changed or missing. */
static void test_golden_damaged(void)
{
    struct dnas_err err = {""};
    unsigned char *bytes;
    char *path;
    size_t n;

    if (!check_test_data())
        SKIP("DNAS_TEST_DATA is not set");
    path = dnas_xasprintf("%s/dnabert2_tiny/pytorch_model.bin", check_test_data());
    bytes = (unsigned char *)dnas_read_file(path, 1 << 24, &n, &err);
    CHECK_STR(err.msg, "");
    for (size_t i = 0; bytes && i < n; i += i < 7100 || i > n - 3100 ? 7 : 4001) {
        struct dnas_weights *w;

        bytes[i] ^= 0x55;
        w = dnas_weights_open_mem(bytes, n, &err);
        dnas_weights_close(w);
        bytes[i] ^= 0x55;
        w = dnas_weights_open_mem(bytes, i, &err);
        CHECK(!w);
        dnas_weights_close(w);
    }
    free(bytes);
    free(path);
}

int main(void)
{
    RUN(test_safetensors);
    RUN(test_unaligned);
    RUN(test_safetensors_headers_refused);
    RUN(test_safetensors_json_refused);
    RUN(test_other_files_refused);
    RUN(test_safetensors_cut_and_flipped);
    RUN(test_torch);
    RUN(test_torch_protocol_4);
    RUN(test_torch_tensors_refused);
    RUN(test_torch_pickles_refused);
    RUN(test_torch_pickles_deep);
    RUN(test_torch_pickle_long_name_again);
    RUN(test_torch_zips_refused);
    RUN(test_torch_zip_ends_refused);
    RUN(test_torch_zip_counts_refused);
    RUN(test_torch_cut_and_flipped);
    RUN(test_torch_random_pickles);
    RUN(test_write);
    RUN(test_write_bytes);
    RUN(test_write_refused);
    RUN(test_files_refused);
    RUN(test_folder);
    RUN(test_index);
    RUN(test_prefix);
    RUN(test_finite);
    RUN(test_hash);
    RUN(test_golden);
    RUN(test_golden_damaged);
    return check_done();
}
