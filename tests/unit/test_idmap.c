/* SPDX-License-Identifier: MIT
 *
 * test_idmap.c - numbered texts, sets of ids, and files of labels.
 */
#include "common/idmap.h"

#include "tests/unit/check.h"
#include "tests/unit/files.h"

static void test_map(void)
{
    struct dnas_idmap m = {0};
    char text[16];

    CHECK(dnas_idmap_find(&m, "x", 1) == SIZE_MAX);
    CHECK_INT(dnas_idmap_add(&m, "b", 1), 0);
    CHECK_INT(dnas_idmap_add(&m, "", 0), 1);
    CHECK_INT(dnas_idmap_add(&m, "bc", 1), 0); /* its first letter only */
    CHECK_INT(dnas_idmap_add(&m, "bc", 2), 2);
    CHECK_INT(dnas_idmap_add(&m, "", 0), 1);
    CHECK_INT(m.n, 3);
    CHECK_STR(dnas_idmap_text(&m, 2), "bc");
    for (int again = 0; again < 2; again++)
        for (size_t i = 0; i < 10000; i++) {
            size_t n = (size_t)snprintf(text, sizeof(text), "id%zu", i);

            CHECK_INT(dnas_idmap_add(&m, text, n), i + 3);
        }
    for (size_t i = 0; i < 10000; i++) {
        size_t n = (size_t)snprintf(text, sizeof(text), "id%zu", i);

        CHECK_INT(dnas_idmap_find(&m, text, n), i + 3);
        CHECK_STR(dnas_idmap_text(&m, i + 3), text);
    }
    CHECK(dnas_idmap_find(&m, "id10000", 7) == SIZE_MAX);
    CHECK_STR(dnas_idmap_text(&m, 0), "b");
    CHECK_INT(m.n, 10003);
    dnas_idmap_release(&m);
    CHECK_INT(m.n, 0);
}

static void test_set(void)
{
    struct dnas_idset s = {0};
    char text[16];

    for (int again = 0; again < 2; again++)
        for (size_t i = 0; i < 10000; i++) {
            size_t n = (size_t)snprintf(text, sizeof(text), "id%zu", i);

            CHECK_INT(dnas_idset_add(&s, text, n), again == 0);
        }
    CHECK(dnas_idset_add(&s, "", 0));
    CHECK(!dnas_idset_add(&s, "", 0));
    CHECK_INT(s.n, 10001);
    CHECK(s.n_slots <= 4 * s.n); /* 16 bytes an id, 32 just after it has grown */
    dnas_idset_release(&s);
}

static const char *label(const struct dnas_labels *l, const char *id)
{
    const char *found = dnas_labels_find(l, id, strlen(id));

    return found ? found : "(none)";
}

static void test_labels(void)
{
    static const char *const texts[] = {"a\tA\nb\tB b\n\nc\tA\n", "id\tlabel\na\tA\nb\tB b\nc\tA",
                                        "a\tA\r\nb\tB b\r\n\r\nc\tA\r\n",
                                        "a\tA\tmore\nb\tB b\t\nc\tA\nc\tA\nb\tB b\n"};

    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        struct dnas_labels l;
        struct dnas_err err = {""};

        CHECK_INT(dnas_labels_load(&l, file_text("l.tsv", texts[i]), &err), 0);
        CHECK_STR(label(&l, "a"), "A");
        CHECK_STR(label(&l, "b"), "B b");
        CHECK_STR(label(&l, "c"), "A");
        CHECK_STR(label(&l, "d"), "(none)");
        CHECK_STR(label(&l, ""), "(none)");
        CHECK_STR(label(&l, "id"), "(none)");
        dnas_labels_release(&l);
    }
}

static void test_labels_that_are_none(void)
{
    static const struct {
        const char *text, *msg;
    } cases[] = {
        {"a\tA\na\tB\n", "line 2 gives 'a' a second label"},
        {"a\tA\nb\tB\na\tB\n", "line 3 gives 'a' a second label"},
        {"b\tA\na\tA\nc\tC\na\tC\n", "line 4 gives 'a' a second label"},
        {"a A\n", "line 1 is not 'id<TAB>label'"},
        {"a\tA\n\tB\n", "line 2 is not 'id<TAB>label'"},
        {"a\tA\n\nb\n", "line 3 is not 'id<TAB>label'"},
        {"a\tA\nb\t\xff\n", "line 2 is not UTF-8 text"},
    };
    struct dnas_labels l;
    struct dnas_err err = {""};

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char want[1200];
        const char *path = file_text("bad.tsv", cases[i].text);

        snprintf(want, sizeof(want), "%s: %s", path, cases[i].msg);
        CHECK_INT(dnas_labels_load(&l, path, &err), -1);
        CHECK_STR(err.msg, want);
        dnas_labels_release(&l);
    }
    CHECK_INT(dnas_labels_load(&l, file_write("nul.tsv", "a\0\tA\n", 5), &err), -1);
    CHECK(strstr(err.msg, "line 1 is not UTF-8 text"));
    CHECK_INT(dnas_labels_load(&l, file_path("missing.tsv"), &err), -1);
    CHECK_INT(dnas_labels_load(&l, file_text("empty.tsv", ""), &err), 0);
    CHECK_STR(label(&l, "a"), "(none)");
    dnas_labels_release(&l);
}

int main(void)
{
    RUN(test_map);
    RUN(test_set);
    RUN(test_labels);
    RUN(test_labels_that_are_none);
    return check_done();
}
