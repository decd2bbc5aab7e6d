/* SPDX-License-Identifier: MIT
 *
 * features.c - the fixed features.  Contract: features.h.
 *
 * Each is a frequency per row (a 4-mer, or a 4-mer and its reverse complement),
 * and perhaps a product with a matrix [rows,D].  tnf-k takes the folded rows:
 * so a sequence and its reverse complement embed to the same bytes.
 */
#include "common/features.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "common/npy.h"
#include "common/xmem.h"

#define N_KMERS 256
#define N_FOLDED 136 /* 16 of the 4-mers are their own reverse complement: 16 + 240 / 2 */
#define TNF_K_DIMS 103
#define DNA2VEC "dna2vec:"
/* Columns of the product that are summed side by side. */
#define TILE 8

/* Two sums at a time, on every processor that we know; the bits are those of two single sums. */
typedef double pair __attribute__((vector_size(16)));

struct dnas_features {
    const char *name;
    char hash[33];
    size_t dims;
    size_t n_rows;
    uint8_t row_of[N_KMERS]; /* by the 4-mer's number in A,C,G,T order */
    double shift[N_KMERS];   /* [n_rows], taken from the frequencies */
    double *map; /* [dims / TILE, n_rows, TILE], padded with 0; NULL: rows are features */
};

/* The number of a 4-mer in A,T,C,G order (A 0, T 1, C 2, G 3) from that in A,C,G,T order. */
static size_t atcg_number(size_t kmer)
{
    static const size_t code[4] = {0, 2, 3, 1};

    return code[kmer >> 6] << 6 | code[kmer >> 4 & 3] << 4 | code[kmer >> 2 & 3] << 2 |
           code[kmer & 3];
}

static size_t reverse_complement(size_t kmer)
{
    size_t reversed = (kmer & 3) << 6 | (kmer >> 2 & 3) << 4 | (kmer >> 4 & 3) << 2 | kmer >> 6;

    return reversed ^ 255; /* in A,C,G,T order a letter's complement is 3 minus it */
}

/* row_of[kmer]: the pairs in the order of their smaller 4-mer; size[row]: 4-mers in it, 1 or 2. */
static void fold_strands(uint8_t row_of[N_KMERS], int size[N_FOLDED])
{
    uint8_t n = 0;

    for (size_t k = 0; k < N_KMERS; k++) {
        size_t rc = reverse_complement(k);

        if (rc < k) {
            row_of[k] = row_of[rc];
        } else {
            size[n] = rc == k ? 1 : 2;
            row_of[k] = n++;
        }
    }
}

/* Gram and Schmidt's step, twice ("twice is enough", Giraud et al. 2005): appends the unit vector
 * of v's part outside the span of the n rows of q.  Returns n, or n + 1 if there was such a part:
 * in exact arithmetic its length is 0 (7e-16 as computed) or above 0.4 for all vectors here, so
 * 1e-6 decides safely.
 */
static size_t append_orthonormal(double q[][N_FOLDED], size_t n, double v[N_FOLDED])
{
    double norm = 0;

    for (int pass = 0; pass < 2; pass++) {
        for (size_t i = 0; i < n; i++) {
            double dot = 0;

            for (size_t p = 0; p < N_FOLDED; p++)
                dot += v[p] * q[i][p];
            for (size_t p = 0; p < N_FOLDED; p++)
                v[p] -= dot * q[i][p];
        }
    }
    for (size_t p = 0; p < N_FOLDED; p++)
        norm += v[p] * v[p];
    norm = sqrt(norm);
    if (!(norm > 1e-6))
        return n;
    for (size_t p = 0; p < N_FOLDED; p++)
        q[n][p] = v[p] / norm;
    return n + 1;
}

/* The kernel of TNF-K by VAMB's construction (create_kernel.py), k f64 [N_KMERS,TNF_K_DIMS], rows
 * in A,C,G,T order: an orthonormal basis of the profiles f with
 *   (1) sum_k f(k) = 0
 *   (2) f(k) = f(reverse complement of k)
 *   (3) sum_x f(tx) = sum_x f(xt) for each 3-mer t, as many windows enter t as leave it.
 * (2) is met by working with the 136 folded 4-mers, in coordinates g = f sqrt(size of the fold)
 * that keep lengths.  Of (1) and (3) 33 rows are independent; unit vectors in order complete the
 * basis, which settles the rotation that VAMB leaves to its SVD. */
static void make_tnf_kernel(double (*kernel)[TNF_K_DIMS])
{
    double(*q)[N_FOLDED] = dnas_xalloc(N_FOLDED, sizeof *q), v[N_FOLDED];
    uint8_t row_of[N_KMERS];
    int size[N_FOLDED];
    size_t n = 0, n_constraints;

    fold_strands(row_of, size);
    for (size_t p = 0; p < N_FOLDED; p++)
        v[p] = sqrt(size[p]);
    n = append_orthonormal(q, n, v);
    for (size_t t = 0; t < 64; t++) {
        memset(v, 0, sizeof v);
        for (size_t x = 0; x < 4; x++) {
            size_t in = row_of[x << 6 | t], out = row_of[t << 2 | x];

            v[out] += 1 / sqrt(size[out]);
            v[in] -= 1 / sqrt(size[in]);
        }
        n = append_orthonormal(q, n, v);
    }
    n_constraints = n;
    for (size_t p = 0; p < N_FOLDED && n < N_FOLDED; p++) {
        memset(v, 0, sizeof v);
        v[p] = 1;
        n = append_orthonormal(q, n, v);
    }
    if (n_constraints != N_FOLDED - TNF_K_DIMS || n != N_FOLDED)
        DNAS_BUG("%zu constraints and %zu dimensions", n_constraints, n);
    for (size_t k = 0; k < N_KMERS; k++) {
        for (size_t j = 0; j < TNF_K_DIMS; j++)
            kernel[k][j] = q[n_constraints + j][row_of[k]] / sqrt(size[row_of[k]]);
    }
    free(q);
}

static void hash_bytes(char hash[33], const void *data, size_t size)
{
    XXH128_canonical_t bytes;

    XXH128_canonicalFromHash(&bytes, XXH3_128bits(data, size));
    for (size_t i = 0; i < sizeof bytes.digest; i++) {
        hash[2 * i] = "0123456789abcdef"[bytes.digest[i] >> 4];
        hash[2 * i + 1] = "0123456789abcdef"[bytes.digest[i] & 15];
    }
    hash[32] = 0;
}

static void define(struct dnas_features *f, const char *name, const char *phrase, size_t dims,
                   size_t n_rows)
{
    f->name = name;
    f->dims = dims;
    f->n_rows = n_rows;
    hash_bytes(f->hash, phrase, strlen(phrase));
}

static void new_map(struct dnas_features *f)
{
    f->map = dnas_xzalloc((f->dims + TILE - 1) / TILE * TILE * f->n_rows, sizeof *f->map);
}

static double *map_at(const struct dnas_features *f, size_t row, size_t dim)
{
    return f->map + (dim / TILE * f->n_rows + row) * TILE + dim % TILE;
}

static void define_tnf(struct dnas_features *f)
{
    define(f, "tnf", "tnf v1", N_KMERS, N_KMERS);
    for (size_t k = 0; k < N_KMERS; k++)
        f->row_of[k] = (uint8_t)atcg_number(k);
}

static void define_tnf_canonical(struct dnas_features *f)
{
    int size[N_FOLDED];

    define(f, "tnf-canonical", "tnf-canonical v1", N_FOLDED, N_FOLDED);
    fold_strands(f->row_of, size);
}

static void define_tnf_k(struct dnas_features *f, bool compat_dnaberts)
{
    double(*kernel)[TNF_K_DIMS] = dnas_xalloc(N_KMERS, sizeof *kernel);
    int size[N_FOLDED];

    make_tnf_kernel(kernel);
    if (compat_dnaberts) {
        define(f, "tnf-k", "tnf-k v1 compat dnabert-s", TNF_K_DIMS, N_KMERS);
        for (size_t k = 0; k < N_KMERS; k++)
            f->row_of[k] = (uint8_t)atcg_number(k);
    } else {
        define(f, "tnf-k", "tnf-k v1", TNF_K_DIMS, N_FOLDED);
        fold_strands(f->row_of, size);
    }
    new_map(f);
    for (size_t k = 0; k < N_KMERS; k++) {
        size_t row = compat_dnaberts ? k : f->row_of[k];

        f->shift[row] += 1.0 / N_KMERS;
        for (size_t j = 0; j < TNF_K_DIMS; j++)
            *map_at(f, row, j) = kernel[k][j];
    }
    free(kernel);
}

/* Whether m is a finite vector for each 4-mer. */
static int check_matrix(const struct dnas_npy *m, const char *path, struct dnas_err *err)
{
    if (m->n_dims != 2)
        return dnas_err_set(err, "%s: has %d dimensions, not 2 (256 rows, one for each 4-mer)",
                            path, m->n_dims);
    if (m->shape[0] != N_KMERS || m->shape[1] == 0)
        return dnas_err_set(err, "%s: is [%zu,%zu], not a vector for each of the 256 4-mers", path,
                            m->shape[0], m->shape[1]);
    for (size_t i = 0; i < m->n; i++) {
        if (!isfinite(m->f32[i]))
            return dnas_err_set(err, "%s: row %zu, column %zu is not finite", path, i / m->shape[1],
                                i % m->shape[1]);
    }
    return 0;
}

static int define_dna2vec(struct dnas_features *f, const char *path, struct dnas_err *err)
{
    struct dnas_npy m;
    int result = -1;

    if (dnas_npy_read(&m, path, DNAS_NPY_AS_F32, err) || check_matrix(&m, path, err))
        goto out;
    f->name = "dna2vec";
    f->dims = m.shape[1];
    f->n_rows = N_KMERS;
    hash_bytes(f->hash, m.f32, m.n * sizeof *m.f32);
    new_map(f);
    for (size_t k = 0; k < N_KMERS; k++) {
        f->row_of[k] = (uint8_t)atcg_number(k);
        for (size_t j = 0; j < f->dims; j++)
            *map_at(f, k, j) = m.f32[k * f->dims + j];
    }
    result = 0;
out:
    dnas_npy_release(&m);
    return result;
}

bool dnas_features_is_spec(const char *spec)
{
    return strcmp(spec, "tnf") == 0 || strcmp(spec, "tnf-canonical") == 0 ||
           strcmp(spec, "tnf-k") == 0 || strncmp(spec, DNA2VEC, strlen(DNA2VEC)) == 0;
}

struct dnas_features *dnas_features_new(const char *spec,
                                        const struct dnas_features_options *options,
                                        struct dnas_err *err)
{
    struct dnas_features *f = dnas_xzalloc(1, sizeof *f);

    if (strcmp(spec, "tnf") == 0) {
        define_tnf(f);
    } else if (strcmp(spec, "tnf-canonical") == 0) {
        define_tnf_canonical(f);
    } else if (strcmp(spec, "tnf-k") == 0) {
        define_tnf_k(f, options && options->compat_dnaberts);
    } else if (strncmp(spec, DNA2VEC, strlen(DNA2VEC)) != 0) {
        dnas_err_set(err, "unknown features '%s', try tnf, tnf-canonical, tnf-k or dna2vec:FILE",
                     spec);
        goto fail;
    } else if (define_dna2vec(f, spec + strlen(DNA2VEC), err)) {
        goto fail;
    }
    return f;
fail:
    dnas_features_free(f);
    return NULL;
}

void dnas_features_free(struct dnas_features *f)
{
    if (f)
        free(f->map);
    free(f);
}

size_t dnas_features_dims(const struct dnas_features *f)
{
    return f->dims;
}

const char *dnas_features_name(const struct dnas_features *f)
{
    return f->name;
}

const char *dnas_features_hash(const struct dnas_features *f)
{
    return f->hash;
}

static inline pair load_pair(const double *p)
{
    pair v;

    memcpy(&v, p, sizeof v);
    return v;
}

/* out f32 [dims] = frequencies f64 [n_rows] times the map.  Each sum runs over the rows in order:
 * the sums of a TILE stand side by side. */
static void multiply(const struct dnas_features *f, float *out, const double *frequencies)
{
    const double *m = f->map;

    for (size_t dim = 0; dim < f->dims; dim += TILE) {
        pair a = {0}, b = {0}, c = {0}, d = {0};
        double sum[TILE];

        for (size_t row = 0; row < f->n_rows; row++, m += TILE) {
            pair frequency = {frequencies[row], frequencies[row]};

            a += frequency * load_pair(m);
            b += frequency * load_pair(m + 2);
            c += frequency * load_pair(m + 4);
            d += frequency * load_pair(m + 6);
        }
        memcpy(sum, (pair[TILE / 2]){a, b, c, d}, sizeof sum);
        for (size_t j = 0; j < TILE && dim + j < f->dims; j++)
            out[dim + j] = (float)sum[j];
    }
}

void dnas_features_embed(const struct dnas_features *f, float *out, const uint64_t *counts)
{
    uint64_t in_row[N_KMERS] = {0}, total = 0;
    double frequencies[N_KMERS];

    for (size_t k = 0; k < N_KMERS; k++) {
        in_row[f->row_of[k]] += counts[k];
        total += counts[k];
    }
    if (total == 0) {
        memset(out, 0, f->dims * sizeof *out);
        return;
    }
    for (size_t row = 0; row < f->n_rows; row++)
        frequencies[row] = (double)in_row[row] / (double)total - f->shift[row];
    if (f->map) {
        multiply(f, out, frequencies);
    } else {
        for (size_t row = 0; row < f->n_rows; row++)
            out[row] = (float)frequencies[row];
    }
}

void dnas_reduce_mean(float *out, const float *in, size_t D, size_t dims)
{
    if (dims == 0 || dims > D)
        DNAS_BUG("%zu dimensions of %zu", dims, D);
    for (size_t j = 0; j < dims; j++) {
        size_t begin = j * D / dims, end = (j + 1) * D / dims;
        double sum = 0;

        for (size_t i = begin; i < end; i++)
            sum += in[i];
        out[j] = (float)(sum / (double)(end - begin));
    }
}
