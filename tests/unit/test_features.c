/* SPDX-License-Identifier: MIT
 *
 * test_features.c - the fixed features against the original's numbers and their definitions.
 */
#include "common/features.h"

#include <unistd.h>

#include "common/io.h"
#include "common/rng.h"
#include "common/xmem.h"
#include "kernels/kernels.h"
#include "tests/unit/check.h"

#define GOLDEN "tests/data/golden/features/"
#define SEED 20241120
#define K_DIMS 103

static struct dnas_features *new_or_die(const char *spec, bool compat_dnaberts)
{
    struct dnas_features_options options = {.compat_dnaberts = compat_dnaberts};
    struct dnas_err err = {""};
    struct dnas_features *f = dnas_features_new(spec, &options, &err);

    if (!f) {
        printf("Bail out! %s: %s\n", spec, err.msg);
        exit(1);
    }
    return f;
}

/* The number of a 4-mer's name where letters have the given order. */
static size_t number(const char *kmer, const char *order)
{
    size_t n = 0;

    for (int i = 0; i < 4; i++)
        n = n * 4 + (size_t)(strchr(order, kmer[i]) - order);
    return n;
}

/* The name of a 4-mer from its number in A,C,G,T order. */
static void name_kmer(char kmer[5], size_t n)
{
    for (int i = 3; i >= 0; i--, n /= 4)
        kmer[i] = "ACGT"[n % 4];
    kmer[4] = 0;
}

static void complement_kmer(char rc[5], const char kmer[5])
{
    for (int i = 0; i < 4; i++)
        rc[i] = "TGCA"[strchr("ACGT", kmer[3 - i]) - "ACGT"];
    rc[4] = 0;
}

/* Counts of a random text, and of its reverse complement. */
static void draw_counts(uint64_t counts[256], uint64_t counts_rc[256], uint32_t row)
{
    static char text[3000], rc[3000];
    struct dnas_rng rng;

    dnas_rng_init(&rng, SEED, DNAS_RNG_TEST, 0, row);
    for (size_t i = 0; i < sizeof text; i++) {
        text[i] = "AACGTTTN"[dnas_rng_below(&rng, i % 50 ? 7 : 8)];
        rc[sizeof rc - 1 - i] = text[i] == 'N' ? 'N' : "TGCA"[strchr("ACGT", text[i]) - "ACGT"];
    }
    memset(counts, 0, 256 * sizeof *counts);
    memset(counts_rc, 0, 256 * sizeof *counts_rc);
    dnas_cpu_kmer4_count(counts, text, sizeof text);
    dnas_cpu_kmer4_count(counts_rc, rc, sizeof rc);
}

/* tests/data/golden/features: the original's values, to the nearest f32. */
static void test_tnf_golden(void)
{
    struct dnas_features *f = new_or_die("tnf", false);
    float got[4][256];
    static char line[8192];
    FILE *fp = fopen(GOLDEN "tnf.fa", "r");
    size_t n = 0, row = 0;

    CHECK_INT(dnas_features_dims(f), 256);
    CHECK(fp != NULL);
    while (fp && n < 4 && fgets(line, sizeof line, fp)) {
        uint64_t counts[256] = {0};

        if (line[0] == '>')
            continue;
        dnas_cpu_kmer4_count(counts, line, strlen(line)); /* the line's end is no letter */
        dnas_features_embed(f, got[n++], counts);
    }
    CHECK_INT(n, 4);
    if (fp)
        fclose(fp);
    fp = fopen(GOLDEN "tnf.tsv", "r");
    CHECK(fp && fgets(line, sizeof line, fp));
    for (; n == 4 && fp && fgets(line, sizeof line, fp); row++) {
        char kmer[5];
        double want[4];

        CHECK_INT(sscanf(line, "%4s %lg %lg %lg %lg", kmer, want, want + 1, want + 2, want + 3), 5);
        CHECK_INT(number(kmer, "ATCG"), row);
        for (size_t i = 0; i < 4; i++)
            CHECK((float)want[i] == got[i][row]);
    }
    CHECK_INT(row, 256);
    if (fp)
        fclose(fp);
    dnas_features_free(f);
}

static void test_canonical(void)
{
    struct dnas_features *f = new_or_die("tnf-canonical", false);
    uint64_t counts[256], counts_rc[256], total = 0;
    float got[136], got_rc[136];
    size_t row = 0;

    draw_counts(counts, counts_rc, 1);
    for (size_t k = 0; k < 256; k++)
        total += counts[k];
    CHECK_INT(dnas_features_dims(f), 136);
    dnas_features_embed(f, got, counts);
    dnas_features_embed(f, got_rc, counts_rc);
    CHECK(memcmp(got, got_rc, sizeof got) == 0);
    for (size_t k = 0; k < 256; k++) {
        char kmer[5], rc[5];
        uint64_t both;

        name_kmer(kmer, k);
        complement_kmer(rc, kmer);
        if (strcmp(rc, kmer) < 0)
            continue;
        both = counts[k] + (strcmp(rc, kmer) ? counts[number(rc, "ACGT")] : 0);
        CHECK(row < 136 && got[row] == (float)((double)both / (double)total));
        row++;
    }
    CHECK_INT(row, 136);
    dnas_features_free(f);
}

/* The kernel, rows in A,C,G,T order, read back from sequences of one 4-mer each: since its columns
 * sum to 0, (e_k - 1/256) K is row k. */
static void read_back(const struct dnas_features *f, float kernel[256][K_DIMS])
{
    for (size_t k = 0; k < 256; k++) {
        uint64_t counts[256] = {0};

        counts[k] = 1;
        dnas_features_embed(f, kernel[k], counts);
    }
}

static double column_product(float (*a)[K_DIMS], size_t i, float (*b)[K_DIMS], size_t j)
{
    double sum = 0;

    for (size_t k = 0; k < 256; k++)
        sum += (double)a[k][i] * b[k][j];
    return sum;
}

/* 1e-6: 256 products of f32 entries, each rounded at 6e-8 of at most 1. */
static void test_kernel_orthonormal(void)
{
    struct dnas_features *f = new_or_die("tnf-k", false);
    static float kernel[256][K_DIMS];

    CHECK_INT(dnas_features_dims(f), K_DIMS);
    read_back(f, kernel);
    for (size_t i = 0; i < K_DIMS; i++) {
        double sum = 0;

        for (size_t j = 0; j < K_DIMS; j++)
            CHECK_NEAR(column_product(kernel, i, kernel, j), i == j, 1e-6);
        for (size_t k = 0; k < 256; k++)
            sum += kernel[k][i];
        CHECK_NEAR(sum, 0, 1e-6);
    }
    dnas_features_free(f);
}

static void test_kernel_constraints(void)
{
    struct dnas_features *f = new_or_die("tnf-k", false);
    static float kernel[256][K_DIMS];

    read_back(f, kernel);
    for (size_t k = 0; k < 256; k++) {
        char kmer[5], rc[5];

        name_kmer(kmer, k);
        complement_kmer(rc, kmer);
        CHECK(memcmp(kernel[k], kernel[number(rc, "ACGT")], sizeof kernel[k]) == 0);
    }
    for (size_t t = 0; t < 64; t++) {
        for (size_t j = 0; j < K_DIMS; j++) {
            double sum = 0;

            for (size_t x = 0; x < 4; x++)
                sum += (double)kernel[x * 64 + t][j] - kernel[t * 4 + x][j];
            CHECK_NEAR(sum, 0, 1e-6);
        }
    }
    dnas_features_free(f);
}

/* The basis is part of the definition "tnf-k v1": its f32 bytes are the same everywhere. */
static void test_kernel_bytes(void)
{
    struct dnas_features *f = new_or_die("tnf-k", false);
    static float kernel[256][K_DIMS];
    uint64_t hash = 0xcbf29ce484222325; /* FNV-1a over the bits, little end first */

    read_back(f, kernel);
    for (size_t i = 0; i < (size_t)256 * K_DIMS; i++) {
        uint32_t bits;

        memcpy(&bits, &kernel[i / K_DIMS][i % K_DIMS], sizeof bits);
        for (int shift = 0; shift < 32; shift += 8)
            hash = (hash ^ (bits >> shift & 255)) * 0x100000001b3;
    }
    if (hash != 0xb042c21d4a32314a)
        CHECK_FAIL("the kernel's hash is %016" PRIx64, hash);
    dnas_features_free(f);
}

static void test_strands(void)
{
    struct dnas_features *f = new_or_die("tnf-k", false), *wrong = new_or_die("tnf-k", true);
    uint64_t counts[256], counts_rc[256];
    float a[K_DIMS], b[K_DIMS];

    draw_counts(counts, counts_rc, 2);
    dnas_features_embed(f, a, counts);
    dnas_features_embed(f, b, counts_rc);
    CHECK(memcmp(a, b, sizeof a) == 0);
    dnas_features_embed(wrong, a, counts);
    dnas_features_embed(wrong, b, counts_rc);
    CHECK(memcmp(a, b, sizeof a) != 0);
    dnas_features_free(f);
    dnas_features_free(wrong);
}

/* The one member of vamb_kernel.npz.  A zip member with a gzip header in front and its checksum and
 * size behind is a gzip file, which our reader takes. */
static bool read_vamb(float kernel[256][K_DIMS])
{
    static unsigned char zip[1 << 17];
    char *name = dnas_xasprintf("%s/features/vamb_kernel.npz", check_test_data());
    char gz[] = "/tmp/test_features.XXXXXX", header[128];
    FILE *in = fopen(name, "rb"), *out = fdopen(mkstemp(gz), "wb");
    size_t n = in && out ? fread(zip, 1, sizeof zip, in) : 0, begin, size;
    const size_t want = sizeof(float[256][K_DIMS]);
    struct dnas_in *npy = NULL;
    ptrdiff_t n_read = -1;

    free(name);
    if (n > 64 && memcmp(zip, "PK\3\4\x14\0\0\0\x08", 9) == 0) {
        begin = 30 + (size_t)(zip[26] + zip[27] * 256 + zip[28] + zip[29] * 256);
        size = 0;
        for (size_t i = n - 4; i > begin && size == 0; i--) /* up to the central directory */
            size = memcmp(zip + i, "PK\1\2", 4) == 0 ? i - begin : 0;
        fwrite("\x1f\x8b\x08\0\0\0\0\0\0\xff", 1, 10, out);
        fwrite(zip + begin, 1, size, out);
        fwrite(zip + 14, 1, 4, out); /* CRC-32 */
        fwrite((uint8_t[4]){(want + 128) & 255, (want + 128) >> 8 & 255, (want + 128) >> 16, 0}, 1,
               4, out);
        fflush(out);
        npy = dnas_in_open(gz, NULL);
    }
    if (npy && dnas_in_read_full(npy, header, 128, NULL) == 128)
        n_read = dnas_in_read_full(npy, kernel, want, NULL);
    dnas_in_close(npy);
    if (in)
        fclose(in);
    if (out)
        fclose(out);
    unlink(gz);
    CHECK_INT(n_read, want);
    return n_read == (ptrdiff_t)want;
}

/* VAMB's kernel spans the same space: the projections K K^T are equal. */
static void test_vamb_space(void)
{
    struct dnas_features *f;
    static float ours[256][K_DIMS], vamb[256][K_DIMS];

    if (!check_test_data())
        SKIP("DNAS_TEST_DATA is not set");
    if (!read_vamb(vamb))
        return;
    f = new_or_die("tnf-k", false);
    read_back(f, ours);
    for (size_t i = 0; i < 256; i++) {
        for (size_t k = 0; k < 256; k++) {
            double p = 0, q = 0;

            for (size_t j = 0; j < K_DIMS; j++) {
                p += (double)ours[i][j] * ours[k][j];
                q += (double)vamb[i][j] * vamb[k][j];
            }
            CHECK_NEAR(p, q, 1e-6);
        }
    }
    dnas_features_free(f);
}

/* (TNF - 1/256) K as the original multiplies: TNF in A,T,C,G order, rows of K not reordered. */
static void originals_tnf_k(double out[K_DIMS], const uint64_t counts[256], float (*k)[K_DIMS],
                            bool right)
{
    double total = 0;

    memset(out, 0, K_DIMS * sizeof *out);
    for (size_t i = 0; i < 256; i++)
        total += (double)counts[i];
    for (size_t i = 0; i < 256; i++) {
        char kmer[5];
        size_t row;

        name_kmer(kmer, i);
        row = number(kmer, right ? "ACGT" : "ATCG");
        for (size_t j = 0; j < K_DIMS; j++)
            out[j] += ((double)counts[i] / total - 1.0 / 256) * k[row][j];
    }
}

/* Ours and VAMB's coordinates differ by the rotation R = K_ours^T K_vamb, in either order of
 * letters.  2e-7: 103 f32 coordinates below 0.3 each rounded at 6e-8 relative, and f32 entries of
 * R's factors. */
static void check_rotated(bool right)
{
    struct dnas_features *f = new_or_die("tnf-k", !right), *plain = new_or_die("tnf-k", false);
    static float ours[256][K_DIMS], vamb[256][K_DIMS];
    double want[K_DIMS];
    float got[K_DIMS];

    read_back(plain, ours);
    for (uint32_t row = 0; read_vamb(vamb) && row < 3; row++) {
        uint64_t counts[256], counts_rc[256];

        draw_counts(counts, counts_rc, 10 + row);
        dnas_features_embed(f, got, counts);
        originals_tnf_k(want, counts, vamb, right);
        for (size_t j = 0; j < K_DIMS; j++) {
            double rotated = 0;

            for (size_t i = 0; i < K_DIMS; i++)
                rotated += got[i] * column_product(ours, i, vamb, j);
            CHECK_NEAR(rotated, want[j], 2e-7);
        }
    }
    dnas_features_free(f);
    dnas_features_free(plain);
}

static void test_vamb_embedding(void)
{
    if (!check_test_data())
        SKIP("DNAS_TEST_DATA is not set");
    check_rotated(true);
}

static void test_compat_order(void)
{
    if (!check_test_data())
        SKIP("DNAS_TEST_DATA is not set");
    check_rotated(false);
}

/* An .npy file of version 1 in a temporary place; free and unlink the name. */
static char *write_npy(const char *shape, const float *values, size_t n)
{
    char header[119], *path = dnas_xstrdup("/tmp/test_features.XXXXXX");
    int fd = mkstemp(path);
    FILE *fp = fd < 0 ? NULL : fdopen(fd, "wb");

    if (!fp) {
        printf("Bail out! no temporary file %s\n", path);
        exit(1);
    }
    snprintf(header, sizeof header, "%-117s\n", "");
    memcpy(header, "{'descr': '<f4', 'fortran_order': False, 'shape': ", 50);
    memcpy(header + 50, shape, strlen(shape));
    memcpy(header + 50 + strlen(shape), ", }", 3);
    fwrite("\x93NUMPY\x01\x00\x76\x00", 1, 10, fp);
    fwrite(header, 1, 118, fp);
    fwrite(values, sizeof *values, n, fp);
    fclose(fp);
    return path;
}

/* Mean of the windows' vectors, in the file's order of rows, A,T,C,G. */
static void check_dna2vec(const char *path, const float *m, size_t D)
{
    char *spec = dnas_xasprintf("dna2vec:%s", path);
    struct dnas_features *f = new_or_die(spec, false);
    uint64_t counts[256], counts_rc[256], total = 0;
    float *got = dnas_xalloc(D, sizeof *got);

    CHECK_STR(dnas_features_name(f), "dna2vec");
    CHECK_INT(strlen(dnas_features_hash(f)), 32);
    CHECK_INT(dnas_features_dims(f), D);
    draw_counts(counts, counts_rc, 20);
    dnas_features_embed(f, got, counts);
    for (size_t k = 0; k < 256; k++)
        total += counts[k];
    for (size_t j = 0; j < D; j++) {
        double want = 0;

        for (size_t k = 0; k < 256; k++) {
            char kmer[5];

            name_kmer(kmer, k);
            want += (double)counts[k] * m[number(kmer, "ATCG") * D + j];
        }
        want /= (double)total;
        CHECK_NEAR(got[j], want, 1e-7 * (1 + fabs(want))); /* one rounding to f32 is 6e-8 */
    }
    dnas_features_free(f);
    free(got);
    free(spec);
}

static void test_dna2vec(void)
{
    static float m[256 * 13];
    struct dnas_rng rng;
    char *path;

    dnas_rng_init(&rng, SEED, DNAS_RNG_TEST, 0, 30);
    for (size_t i = 0; i < 256 * 13; i++)
        m[i] = (float)dnas_rng_normal(&rng);
    path = write_npy("(256, 13)", m, 256 * 13);
    check_dna2vec(path, m, 13);
    unlink(path);
    free(path);
}

static void test_dna2vec_published(void)
{
    static float m[256 * 100];
    char *path;
    FILE *fp;

    if (!check_test_data())
        SKIP("DNAS_TEST_DATA is not set");
    path = dnas_xasprintf("%s/features/dna2vec_4mer.npy", check_test_data());
    fp = fopen(path, "rb");
    CHECK(fp && fseek(fp, 128, SEEK_SET) == 0 && fread(m, sizeof *m, 25600, fp) == 25600);
    if (fp) {
        fclose(fp);
        check_dna2vec(path, m, 100);
    }
    free(path);
}

static void check_refused(const char *spec, const char *want)
{
    struct dnas_err err = {""};
    struct dnas_features *f = dnas_features_new(spec, NULL, &err);

    CHECK(f == NULL);
    CHECK(strstr(err.msg, want) != NULL && !strchr(err.msg, '\n'));
    if (!strstr(err.msg, want))
        printf("# %s\n", err.msg);
    dnas_features_free(f);
}

static void check_matrix_refused(const char *shape, const float *values, size_t n, const char *want)
{
    char *path = write_npy(shape, values, n), *spec = dnas_xasprintf("dna2vec:%s", path);

    check_refused(spec, want);
    unlink(path);
    free(path);
    free(spec);
}

static void test_refusals(void)
{
    static float m[256 * 3];

    check_refused("tnf-x", "unknown features 'tnf-x', try tnf");
    check_refused("", "unknown features");
    check_refused("dna2vec:/nowhere/at/all.npy", "/nowhere/at/all.npy");
    check_matrix_refused("(255, 3)", m, 255 * 3, "[255,3]");
    check_matrix_refused("(100, 256)", m, 3, "test_features.");
    check_matrix_refused("(256, 3)", m, 256 * 3 - 1, "test_features.");
    check_matrix_refused("(256, 0)", m, 0, "[256,0]");
    check_matrix_refused("(256,)", m, 256, "has 1 dimensions");
    m[3 * 200 + 1] = NAN;
    check_matrix_refused("(256, 3)", m, 256 * 3, "row 200, column 1 is not finite");
}

static void test_names(void)
{
    static const char *const specs[] = {"tnf", "tnf-canonical", "tnf-k", "tnf-k"};
    char hashes[4][33];

    for (size_t i = 0; i < 4; i++) {
        struct dnas_features *f = new_or_die(specs[i], i == 3);

        CHECK(dnas_features_is_spec(specs[i]));
        CHECK_STR(dnas_features_name(f), specs[i]);
        CHECK_INT(strspn(dnas_features_hash(f), "0123456789abcdef"), 32);
        snprintf(hashes[i], sizeof(hashes[i]), "%s", dnas_features_hash(f));
        for (size_t j = 0; j < i; j++)
            CHECK(strcmp(hashes[i], hashes[j]) != 0);
        dnas_features_free(f);
    }
    CHECK(dnas_features_is_spec("dna2vec:x.npy"));
    CHECK(!dnas_features_is_spec("dna2vec") && !dnas_features_is_spec("tnf2"));
    dnas_features_free(NULL);
}

static void test_no_window(void)
{
    static const char *const specs[] = {"tnf", "tnf-canonical", "tnf-k"};
    uint64_t counts[256] = {0};

    for (size_t i = 0; i < 3; i++) {
        struct dnas_features *f = new_or_die(specs[i], false);
        float out[256];

        for (size_t j = 0; j < 256; j++)
            out[j] = NAN;
        dnas_features_embed(f, out, counts);
        for (size_t j = 0; j < dnas_features_dims(f); j++)
            CHECK(out[j] == 0);
        for (size_t j = dnas_features_dims(f); j < 256; j++)
            CHECK(isnan(out[j]));
        dnas_features_free(f);
    }
}

/* Appendix C.7's widths for 768 dimensions, and widths that do not divide. */
static void test_reduce(void)
{
    static const size_t dims[] = {8, 16, 32, 64, 128, 256, 384, 768, 1, 5, 500, 767};
    float in[768], out[769];

    for (size_t i = 0; i < sizeof dims / sizeof *dims; i++) {
        size_t next = 0;

        for (size_t j = 0; j < 768; j++)
            in[j] = (float)(j * j % 1009);
        out[dims[i]] = -7;
        dnas_reduce_mean(out, in, 768, dims[i]);
        CHECK(out[dims[i]] == -7);
        for (size_t j = 0; j < dims[i]; j++) {
            size_t width = 0;
            double sum = 0;

            for (; next < 768 && next * dims[i] + dims[i] <= (j + 1) * 768; next++, width++)
                sum += in[next];
            CHECK(width == 768 / dims[i] || width == 768 / dims[i] + 1);
            CHECK(out[j] == (float)(sum / (double)width));
        }
        CHECK_INT(next, 768);
        dnas_reduce_mean(in, in, 768, dims[i]);
        CHECK(memcmp(in, out, dims[i] * sizeof *in) == 0);
    }
}

int main(void)
{
    RUN(test_tnf_golden);
    RUN(test_canonical);
    RUN(test_kernel_orthonormal);
    RUN(test_kernel_constraints);
    RUN(test_kernel_bytes);
    RUN(test_strands);
    RUN(test_vamb_space);
    RUN(test_vamb_embedding);
    RUN(test_compat_order);
    RUN(test_dna2vec);
    RUN(test_dna2vec_published);
    RUN(test_refusals);
    RUN(test_names);
    RUN(test_no_window);
    RUN(test_reduce);
    return check_done();
}
