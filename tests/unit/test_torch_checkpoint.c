/* SPDX-License-Identifier: MIT
 *
 * test_torch_checkpoint.c - the checkpoint of a training run: of all that is in it
 * the tensors under "state_dict" are taken, and nothing else is made, run or needed.
 * weights_files.h has what may stand beside it.
 */
#include "common/weights.h"
#include "tests/unit/check.h"
#include "tests/unit/weights_files.h"

/* {first, state_dict, last}, where one of the two may be NULL. */
static struct buf make_checkpoint(const char *first, size_t n_first, const char *last,
                                  size_t n_last)
{
    struct buf pickle = make_checkpoint_pickle(first, n_first, last, n_last), b;

    b = make_torch_from(&pickle, true);
    free(pickle.p);
    return b;
}

static void check_state(const struct buf *b, const char *what)
{
    struct dnas_err err = {""};
    struct dnas_weights *w = dnas_weights_open_mem(b->p, b->n, &err);
    const struct dnas_tensor *t;

    if (!w) {
        CHECK_FAIL("%s: %s", what, err.msg);
        return;
    }
    CHECK_INT(dnas_weights_n(w), 2);
    t = dnas_weights_find(w, "model.", "a.weight");
    CHECK(t && t->n_dims == 2 && t->n_elements == 6 && memcmp(t->data, six, sizeof(six)) == 0);
    t = dnas_weights_find(w, "model.", "b.bias");
    CHECK(t && t->n_dims == 1 && t->n_elements == 2 && memcmp(t->data, six + 4, 8) == 0);
    dnas_weights_close(w);
}

static void test_what_stands_beside(void)
{
    struct buf pickle = make_whole_checkpoint_pickle(), b;

    for (size_t i = 0; i < N_BESIDE; i++) {
        b = make_checkpoint(beside[i].bytes, beside[i].n, NULL, 0);
        check_state(&b, beside[i].bytes + 5);
        free(b.p);
        b = make_checkpoint(NULL, 0, beside[i].bytes, beside[i].n);
        check_state(&b, beside[i].bytes + 5);
        free(b.p);
    }
    b = make_torch_from(&pickle, false);
    check_state(&b, "all");
    free(b.p);
    free(pickle.p);
}

static void check_refused(const struct buf *pickle, const char *sentence)
{
    struct buf b = make_torch_from(pickle, true);
    struct dnas_err err = {""};
    struct dnas_weights *w = dnas_weights_open_mem(b.p, b.n, &err);

    CHECK(w == NULL);
    CHECK_STR(err.msg, sentence);
    dnas_weights_close(w);
    free(b.p);
}

/* The same things in a dict of tensors, or under "state_dict": refused. */
static void test_elsewhere_refused(void)
{
    struct dnas_err err;

    for (size_t i = 0; i < N_BESIDE; i++) {
        struct buf pickle = {0}, b;
        struct dnas_weights *w;

        for (int under = 0; under < 2; under++) {
            pickle.n = 0;
            put_text(&pickle, "\x80\x04}");
            if (under) {
                put_word(&pickle, "state_dict");
                put_text(&pickle, "}");
            }
            put_text(&pickle, "(");
            put_tensor(&pickle, &state_views[0]);
            put(&pickle, beside[i].bytes, beside[i].n);
            put_text(&pickle, under ? "us." : "u.");
            b = make_torch_from(&pickle, true);
            err.msg[0] = '\0';
            w = dnas_weights_open_mem(b.p, b.n, &err);
            if (w || err.msg[0] == '\0')
                CHECK_FAIL("%s was taken for a tensor", beside[i].bytes + 5);
            dnas_weights_close(w);
            free(b.p);
        }
        free(pickle.p);
    }
}

static void test_state_dicts_refused(void)
{
    static const struct {
        const char *bytes;
        size_t n;
        const char *sentence;
    } cases[] = {
#define HELD "}X\x0a\0\0\0state_dict"
#define CASE(bytes, sentence) {HEAD bytes, sizeof(HEAD bytes) - 1, "its data.pkl " sentence}
        CASE(HELD "}(K\1Nus.", "has a key that is no text"),
        CASE(HELD "}X\1\0\0\0aK\1ss.",
             "holds 'a', which is no tensor; try saving the state dict alone"),
        CASE(HELD "}X\1\0\0\0a]ss.", "holds 'a', which is no f32 tensor; try safetensors"),
        CASE(HELD "}X\1\0\0\0acos\nsystem\nX\2\0\0\0id\x85Rss.",
             "holds 'a', which is no f32 tensor; try safetensors"),
        CASE(HELD "}X\1\0\0\0actorch._utils\n_rebuild_tensor_v2\n((X\7\0\0\0storagectorch\n"
                  "HalfStorage\nX\1\0\0\0000X\3\0\0\0cpuK\6tQK\0K\6\x85K\1\x85\x89" DICT "tRss.",
             "holds 'a', which is no f32 tensor; try safetensors"),
        CASE(HELD "cmine\nDict\n)\x81s.",
             "asks for the Python object 'mine.Dict', where a dict of f32 tensors needs only "
             "collections.OrderedDict, torch._utils._rebuild_tensor_v2 and torch.FloatStorage; "
             "try safetensors"),
        CASE(HELD "]s.", "has an opcode (0x5d at byte 18) that torch.save does not write for a "
                         "dict of tensors"),
        CASE(HELD "}sX\x0a\0\0\0state_dict}s.", "holds 'state_dict' twice"),
        CASE("]q\1" HELD "}s\x30.",
             "has an opcode (0x5d at byte 2) that torch.save does not write for a dict of tensors"),
        /* what no pickler writes stays an error */
        CASE(HELD "}s)K\1a.", "adds items to what is no list"),
        CASE(HELD "}s}(K\1e.", "adds items to what is no list"),
        CASE(HELD "}s})\x81.", "calls what is no function"),
        CASE(HELD "}s)}]\x92.", "calls what is no function"),
        CASE(HELD "}s}}b.", "gives attributes to what is no OrderedDict"),
        CASE(HELD "}s\x31.", "lacks a mark on its stack"),
        CASE(HELD "}s\x91.", "lacks a mark on its stack"),
        CASE("\x30.", "takes more from its stack than is there"),
        CASE("(\x30.", "takes more from its stack than is there"),
        CASE("Na.", "takes more from its stack than is there"),
        CASE("(K\1e.", "takes more from its stack than is there"),
        CASE("cm\nC\n\x81.", "takes more from its stack than is there"),
        CASE("cm\nC\n)\x92.", "takes more from its stack than is there"),
        CASE("G1234567", "is truncated"),
        CASE("C\4abc", "is truncated"),
        CASE("B\xff\xff\xff\xff", "is truncated"),
        CASE("\x96\xff\xff\xff\xff\xff\xff\xff\xff", "is truncated"),
        CASE("\x8b\4\0\0\0abc", "is truncated"),
        CASE("\x8a\x09"
             "12345678",
             "is truncated"),
        /* of Python 2, by name in a registry, out of band */
        CASE("U\1a.", "has an opcode (0x55 at byte 2) that torch.save does not write for a dict "
                      "of tensors"),
        CASE("\x82\1.", "has an opcode (0x82 at byte 2) that torch.save does not write for a dict "
                        "of tensors"),
        CASE("\x97.", "has an opcode (0x97 at byte 2) that torch.save does not write for a dict "
                      "of tensors"),
#undef CASE
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct buf pickle = {0};

        put(&pickle, cases[i].bytes, cases[i].n);
        check_refused(&pickle, cases[i].sentence);
        free(pickle.p);
    }
}

/* A tensor of a state dict is checked as any other; one beside it is not looked at. */
static void test_tensors_checked(void)
{
    static const struct view far = {"far", "0", 6, 5, 1, {2}, {1}};
    static const struct view none = {"none", "9", 6, 0, 1, {6}, {1}};
    struct buf pickle = {0}, b;

    put_text(&pickle, HEAD "}(");
    put_state(&pickle, &far, 1);
    put_text(&pickle, "u.");
    check_refused(&pickle, "tensor 'far' goes beyond its storage of 6 elements");
    pickle.n = 0;
    put_tensor(&pickle, &far);
    put_tensor(&pickle, &none);
    b = make_checkpoint((char *)pickle.p, pickle.n, NULL, 0);
    check_state(&b, "tensors beside the state dict");
    free(b.p);
    free(pickle.p);
}

int main(void)
{
    RUN(test_what_stands_beside);
    RUN(test_elsewhere_refused);
    RUN(test_state_dicts_refused);
    RUN(test_tensors_checked);
    return check_done();
}
