/* SPDX-License-Identifier: MIT
 *
 * test_npy.c - .npy files: what numpy writes is read, what is damaged is
 * refused in one sentence, what is written comes back.
 */
#include "common/npy.h"

#include <unistd.h>

#include "common/xmem.h"
#include "tests/unit/check.h"
#include "tests/unit/npz.h"

#define GOLDEN "tests/data/golden/evaluate_small/evaluate.npz"

/* A file of the given version and header text, with n bytes of elements. */
static unsigned char *make_file(size_t *size, int version, const char *text, const void *elements,
                                size_t n)
{
    size_t n_text = strlen(text), n_size = version == 1 ? 2 : 4, at = 8 + n_size;
    unsigned char *file = dnas_xzalloc(at + n_text + n, 1);

    memcpy(file, "\x93NUMPY", 6);
    file[6] = (unsigned char)version;
    for (size_t i = 0; i < n_size; i++)
        file[8 + i] = (unsigned char)(n_text >> (8 * i));
    memcpy(file + at, text, n_text);
    memcpy(file + at + n_text, elements, n);
    *size = at + n_text + n;
    return file;
}

static struct dnas_npy parse(int version, const char *text, const void *elements, size_t n,
                             enum dnas_npy_as as)
{
    struct dnas_npy a;
    struct dnas_err err = {""};
    size_t size;
    unsigned char *file = make_file(&size, version, text, elements, n);

    if (dnas_npy_parse(&a, file, size, as, &err) != 0)
        CHECK_FAIL("%s: %s", text, err.msg);
    free(file);
    return a;
}

static void check_refused(int version, const char *text, size_t n, enum dnas_npy_as as,
                          const char *sentence)
{
    const char zeros[256] = {0};
    struct dnas_npy a;
    struct dnas_err err = {""};
    size_t size;
    unsigned char *file = make_file(&size, version, text, zeros, n);

    CHECK_INT(dnas_npy_parse(&a, file, size, as, &err), -1);
    CHECK_STR(err.msg, sentence);
    CHECK(!a.f32 && !a.f64 && !a.i64);
    dnas_npy_release(&a);
    free(file);
}

static void test_types(void)
{
    static const struct {
        const char *text;
        const char *bytes;
        size_t n;
        double want[2];
    } cases[] = {
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }",
         "\0\0\x80\xbf\0\0\0\x40",
         8,
         {-1, 2}},
        {"{'descr': '<f8', 'fortran_order': False, 'shape': (2,), }",
         "\0\0\0\0\0\0\xf0\xbf\0\0\0\0\0\0\0\x40",
         16,
         {-1, 2}},
        {"{'descr': '<i4', 'fortran_order': False, 'shape': (2,), }",
         "\xff\xff\xff\xff\2\1\0\0",
         8,
         {-1, 258}},
        {"{'descr': '<i8', 'fortran_order': False, 'shape': (2,), }",
         "\xfe\xff\xff\xff\xff\xff\xff\xff\2\1\0\0\0\0\0\0",
         16,
         {-2, 258}},
        {"{'descr': '|u1', 'fortran_order': False, 'shape': (2,), }", "\xff\7", 2, {255, 7}},
        {"{'descr': '<u2', 'fortran_order': False, 'shape': (2,), }",
         "\xff\xff\1\0",
         4,
         {65535, 1}},
        {"{'descr': '<u4', 'fortran_order': False, 'shape': (2,), }",
         "\xff\xff\xff\xff\1\0\0\0",
         8,
         {4294967295.0, 1}},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        for (int as = DNAS_NPY_AS_F32; as <= (i < 2 ? DNAS_NPY_AS_F64 : DNAS_NPY_AS_I64); as++) {
            struct dnas_npy a =
                parse(1, cases[i].text, cases[i].bytes, cases[i].n, (enum dnas_npy_as)as);

            CHECK_INT(a.n, 2);
            for (size_t j = 0; j < a.n; j++) {
                double got = a.f32 ? (double)a.f32[j] : a.f64 ? a.f64[j] : (double)a.i64[j];

                CHECK_NEAR(got, a.f32 ? (double)(float)cases[i].want[j] : cases[i].want[j], 0);
            }
            dnas_npy_release(&a);
        }
}

static void test_shapes(void)
{
    const float x[] = {1, 2, 3, 4, 5, 6};
    struct dnas_npy a = parse(1, "{'descr': '<f4', 'fortran_order': False, 'shape': (3, 2), }", x,
                              24, DNAS_NPY_AS_F32);

    CHECK_INT(a.n_dims, 2);
    CHECK_INT(a.shape[0], 3);
    CHECK_INT(a.shape[1], 2);
    CHECK_NEAR(a.f32[5], 6, 0);
    dnas_npy_release(&a);
    a = parse(1, "{'descr': '<f4', 'fortran_order': False, 'shape': (), }", x, 4, DNAS_NPY_AS_F32);
    CHECK_INT(a.n_dims, 0);
    CHECK_INT(a.n, 1);
    dnas_npy_release(&a);
    a = parse(1, "{'descr': '<f4', 'fortran_order': False, 'shape': (0, 7), }", x, 0,
              DNAS_NPY_AS_F32);
    CHECK_INT(a.n, 0);
    CHECK_INT(a.shape[1], 7);
    dnas_npy_release(&a);
    /* Another order, other quotes, other spaces, later versions. */
    for (int version = 1; version <= 3; version++) {
        a = parse(version, "{\"shape\":(6,),'fortran_order':False,\"descr\":\"<f4\"}   \n", x, 24,
                  DNAS_NPY_AS_F32);
        CHECK_INT(a.n, 6);
        dnas_npy_release(&a);
    }
}

static void test_refused(void)
{
#define HEAD(type, order, shape)                                                                   \
    "{'descr': '" type "', 'fortran_order': " order ", 'shape': (" shape "), }"
    check_refused(1, HEAD(">f4", "False", "1,"), 4, DNAS_NPY_AS_F32,
                  "is big-endian ('>f4'); save it with .astype('<f4')");
    check_refused(1, HEAD("<f4", "True", "1, 1"), 4, DNAS_NPY_AS_F32,
                  "is in Fortran order; save it with numpy.ascontiguousarray");
    check_refused(1, HEAD("|O", "False", "1,"), 4, DNAS_NPY_AS_F32,
                  "holds elements of type '|O'; f4, f8, i4, i8, u1, u2 and u4 can be read");
    check_refused(1, "{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,), }", 4,
                  DNAS_NPY_AS_F32,
                  "holds records or a type that is not known; only plain numbers can be read");
    check_refused(1, HEAD("<f4", "False", "1, 1, 1"), 4, DNAS_NPY_AS_F32,
                  "has more than 2 dimensions");
    check_refused(1, HEAD("<f4", "False", "1,"), 4, DNAS_NPY_AS_I64,
                  "holds floating-point numbers where integers are needed");
    check_refused(1, HEAD("<f4", "False", "2,"), 7, DNAS_NPY_AS_F32,
                  "claims 8 bytes of elements but holds 7");
    check_refused(1, HEAD("<f4", "False", "2,"), 9, DNAS_NPY_AS_F32,
                  "goes on after its last element");
    check_refused(1, HEAD("<f8", "False", "4611686018427387904, 4611686018427387904"), 4,
                  DNAS_NPY_AS_F32,
                  "claims 4611686018427387904 x 4611686018427387904 elements, beyond this machine");
    check_refused(1, HEAD("|u1", "False", "1000000000000,"), 4, DNAS_NPY_AS_F32,
                  "claims 1000000000000 bytes of elements but holds 4");
    check_refused(1, HEAD("<f4", "False", "99999999999999999999,"), 4, DNAS_NPY_AS_F32,
                  "claims a dimension beyond this machine");
    check_refused(1, HEAD("<f4", "False", "-1,"), 4, DNAS_NPY_AS_F32,
                  "has a damaged header (shape)");
    check_refused(4, HEAD("<f4", "False", "1,"), 4, DNAS_NPY_AS_F32,
                  "is a .npy file of version 4; 1 to 3 can be read");
    check_refused(1, "{'descr': '<f4', 'shape': (1,), }", 4, DNAS_NPY_AS_F32,
                  "has a damaged header");
    check_refused(1, "{'descr': '<f4', 'descr': '<f4', }", 4, DNAS_NPY_AS_F32,
                  "has a damaged header ('descr' twice)");
    check_refused(1, HEAD("<f4", "False", "1,") "x", 4, DNAS_NPY_AS_F32, "has a damaged header");
}

/* Every shorter file is an error, and reads nothing that is not there (for the address
 * sanitizer). */
static void test_cut_anywhere(void)
{
    const float x[] = {1, 2};
    size_t size;
    unsigned char *file = make_file(
        &size, 2, "{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }", x, sizeof(x));

    for (size_t n = 0; n < size; n++) {
        unsigned char *cut = dnas_xalloc(n, 1);
        struct dnas_npy a;

        memcpy(cut, file, n);
        CHECK_INT(dnas_npy_parse(&a, cut, n, DNAS_NPY_AS_F32, NULL), -1);
        dnas_npy_release(&a);
        free(cut);
    }
    free(file);
}

static void test_header_is_capped(void)
{
    const unsigned char file[] = "\x93NUMPY\2\0\xff\xff\xff\x7f{";
    struct dnas_npy a;
    struct dnas_err err = {""};

    CHECK_INT(dnas_npy_parse(&a, file, sizeof(file), DNAS_NPY_AS_F32, &err), -1);
    CHECK_STR(err.msg, "claims a header of 2147483647 bytes; at most 65536 are read");
}

static void test_numpy_wrote_it(void)
{
    struct dnas_npy a = npz_read(GOLDEN, "embedding", DNAS_NPY_AS_F32);

    CHECK_INT(a.type, DNAS_NPY_F4);
    CHECK_INT(a.shape[0], 1000);
    CHECK_INT(a.shape[1], 32);
    dnas_npy_release(&a);
    CHECK_NEAR(npz_number(GOLDEN, "fixed_iter"), 6, 0);
}

static void check_written(const char *path, enum dnas_npy_type type, size_t C, size_t size_bytes)
{
    char *part = dnas_xasprintf("%s.part", path);
    const int64_t rows[6] = {1, 2, 3, 4, 5, 6}; /* as bytes: any pattern will do */
    struct dnas_npy_writer w;
    struct dnas_npy a;
    size_t row_bytes = size_bytes * (C > 0 ? C : 1);

    CHECK_INT(dnas_npy_open(&w, path, type, C, NULL), 0);
    CHECK_INT(dnas_npy_append(&w, rows, 2, NULL), 0);
    CHECK_INT(dnas_npy_append(&w, rows, 0, NULL), 0);
    CHECK_INT(dnas_npy_append(&w, (const char *)rows + 2 * row_bytes, 1, NULL), 0);
    CHECK_INT(dnas_npy_close(&w, NULL), 0);
    CHECK(access(path, F_OK) != 0);
    CHECK_INT(dnas_npy_read(&a, part, DNAS_NPY_AS_F64, NULL), 0);
    CHECK_INT(a.type, type);
    CHECK_INT(a.n_dims, C > 0 ? 2 : 1);
    CHECK_INT(a.shape[0], 3);
    CHECK_INT(a.shape[1], C > 0 ? C : 1);
    for (size_t i = 0; type == DNAS_NPY_I8 && i < a.n; i++)
        CHECK_NEAR(a.f64[i], (double)(i + 1), 0);
    dnas_npy_release(&a);
    CHECK_INT(remove(part), 0);
    free(part);
}

static void test_written_comes_back(void)
{
    char dir[] = "/tmp/dnas-npy-XXXXXX";
    static const size_t size_bytes[] = {4, 8, 4, 8, 1, 2, 4};
    char *path;

    if (!mkdtemp(dir))
        SKIP("no directory in /tmp");
    path = dnas_xasprintf("%s/x.npy", dir);
    for (int type = DNAS_NPY_F4; type <= DNAS_NPY_U4; type++)
        for (size_t C = 0; C <= 2; C++)
            check_written(path, (enum dnas_npy_type)type, C, size_bytes[type]);
    CHECK_INT(rmdir(dir), 0);
    free(path);
}

static void test_files_that_fail(void)
{
    struct dnas_npy a;
    struct dnas_npy_writer w;
    struct dnas_err err = {""};

    CHECK_INT(dnas_npy_read(&a, "/nonexistent/x.npy", DNAS_NPY_AS_F32, &err), -1);
    CHECK_STR(err.msg, "/nonexistent/x.npy: No such file or directory");
    CHECK_INT(dnas_npy_read(&a, "/dev/null", DNAS_NPY_AS_F32, &err), -1);
    CHECK_STR(err.msg, "/dev/null: is not a .npy file");
    CHECK_INT(dnas_npy_open(&w, "/nonexistent/x.npy", DNAS_NPY_F4, 1, &err), -1);
    CHECK_STR(err.msg, "/nonexistent/x.npy.part: No such file or directory");
    CHECK_INT(dnas_npy_close(&w, &err), 0);
}

int main(void)
{
    RUN(test_types);
    RUN(test_shapes);
    RUN(test_refused);
    RUN(test_cut_anywhere);
    RUN(test_header_is_capped);
    RUN(test_numpy_wrote_it);
    RUN(test_written_comes_back);
    RUN(test_files_that_fail);
    return check_done();
}
