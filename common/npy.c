/* SPDX-License-Identifier: MIT
 *
 * npy.c - numpy's .npy files.  Contract: npy.h.
 *
 * A file is magic, version, length of the header, the header (a Python dict as
 * text, padded with spaces) and the elements.  Memory is read through the same
 * code as files.
 */
#include "common/npy.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "common/xmem.h"

#define MAGIC "\x93NUMPY"
#define MAGIC_BYTES 6
/* numpy writes below 200 for such arrays; its own reader stops at 10,000. */
#define HEADER_MAX_BYTES 65536
/* Magic to padding: holds two 20-digit dimensions, and is a multiple of 64. */
#define WRITTEN_HEADER_BYTES 128
#define CHUNK_ELEMENTS 65536

static const struct type {
    const char *name; /* without the byte order */
    size_t size_bytes;
} types[] = {
    [DNAS_NPY_F4] = {"f4", 4}, [DNAS_NPY_F8] = {"f8", 8}, [DNAS_NPY_I4] = {"i4", 4},
    [DNAS_NPY_I8] = {"i8", 8}, [DNAS_NPY_U1] = {"u1", 1}, [DNAS_NPY_U2] = {"u2", 2},
    [DNAS_NPY_U4] = {"u4", 4},
};

#define N_TYPES (sizeof(types) / sizeof(types[0]))

/* ---- the header's text ---- */

static void skip_spaces(const char **p)
{
    *p += strspn(*p, " \t\r\n");
}

static bool accept(const char **p, char c)
{
    skip_spaces(p);
    if (**p != c)
        return false;
    ++*p;
    return true;
}

/* A quoted word without escapes, into word[16]. */
static bool parse_word(const char **p, char word[16])
{
    char quote;
    size_t n;

    skip_spaces(p);
    quote = **p;
    if (quote != '\'' && quote != '"')
        return false;
    n = strcspn(*p + 1, quote == '"' ? "\"" : "'");
    if (n >= 16 || (*p)[1 + n] != quote)
        return false;
    memcpy(word, *p + 1, n);
    word[n] = '\0';
    *p += n + 2;
    return true;
}

static int parse_type(struct dnas_npy *out, const char **p, struct dnas_err *err)
{
    char word[16];

    if (!parse_word(p, word))
        return dnas_err_set(err,
                            "holds records or a type that is not known; only plain numbers can "
                            "be read");
    if (word[0] == '>')
        return dnas_err_set(err, "is big-endian ('%s'); save it with .astype('<%s')", word,
                            word + 1);
    if (word[0] == '<' || word[0] == '|')
        for (size_t t = 0; t < N_TYPES; t++)
            if (strcmp(word + 1, types[t].name) == 0) {
                out->type = (enum dnas_npy_type)t;
                return 0;
            }
    return dnas_err_set(err,
                        "holds elements of type '%s'; f4, f8, i4, i8, u1, u2 and u4 can be "
                        "read",
                        word);
}

static int parse_order(const char **p, struct dnas_err *err)
{
    skip_spaces(p);
    if (strncmp(*p, "False", 5) == 0) {
        *p += 5;
        return 0;
    }
    if (strncmp(*p, "True", 4) == 0)
        return dnas_err_set(err, "is in Fortran order; save it with numpy.ascontiguousarray");
    return dnas_err_set(err, "has a damaged header (fortran_order)");
}

static int parse_shape(struct dnas_npy *out, const char **p, struct dnas_err *err)
{
    if (!accept(p, '('))
        return dnas_err_set(err, "has a damaged header (shape)");
    for (out->n_dims = 0; !accept(p, ')'); out->n_dims++) {
        uintmax_t n;
        char *end;

        if (out->n_dims == 2)
            return dnas_err_set(err, "has more than 2 dimensions");
        errno = 0;
        n = strtoumax(*p, &end, 10);
        if (end == *p || **p < '0' || **p > '9')
            return dnas_err_set(err, "has a damaged header (shape)");
        if (errno != 0 || n > PTRDIFF_MAX)
            return dnas_err_set(err, "claims a dimension beyond this machine");
        out->shape[out->n_dims] = (size_t)n;
        *p = end;
        if (!accept(p, ',') && strspn(*p, " )") == 0)
            return dnas_err_set(err, "has a damaged header (shape)");
        skip_spaces(p);
    }
    return 0;
}

/* {'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), } in any order. */
static int parse_header(struct dnas_npy *out, const char *text, struct dnas_err *err)
{
    const char *p = text;
    bool has_type = false, has_order = false, has_shape = false;
    char key[16];

    if (!accept(&p, '{'))
        return dnas_err_set(err, "has a damaged header");
    while (!accept(&p, '}')) {
        bool *seen;
        int status;

        if (!parse_word(&p, key) || !accept(&p, ':'))
            return dnas_err_set(err, "has a damaged header");
        if (strcmp(key, "descr") == 0) {
            seen = &has_type;
            status = parse_type(out, &p, err);
        } else if (strcmp(key, "fortran_order") == 0) {
            seen = &has_order;
            status = parse_order(&p, err);
        } else if (strcmp(key, "shape") == 0) {
            seen = &has_shape;
            status = parse_shape(out, &p, err);
        } else {
            return dnas_err_set(err, "has a damaged header (key '%s')", key);
        }
        if (status != 0)
            return -1;
        if (*seen)
            return dnas_err_set(err, "has a damaged header ('%s' twice)", key);
        *seen = true;
        accept(&p, ',');
    }
    skip_spaces(&p);
    if (*p != '\0' || !has_type || !has_order || !has_shape)
        return dnas_err_set(err, "has a damaged header");
    return 0;
}

static int read_error(FILE *file, const char *where, struct dnas_err *err)
{
    if (ferror(file))
        return dnas_err_set(err, "cannot be read: %s", strerror(errno));
    return dnas_err_set(err, "ends within the %s", where);
}

static int read_header(struct dnas_npy *out, FILE *file, struct dnas_err *err)
{
    unsigned char start[MAGIC_BYTES + 2], size[4] = {0};
    size_t n_size, n;
    char *text;
    int status = -1;

    if (fread(start, 1, sizeof(start), file) != sizeof(start) ||
        memcmp(start, MAGIC, MAGIC_BYTES) != 0)
        return dnas_err_set(err, "is not a .npy file");
    if (start[6] < 1 || start[6] > 3)
        return dnas_err_set(err, "is a .npy file of version %d; 1 to 3 can be read", start[6]);
    n_size = start[6] == 1 ? 2 : 4;
    if (fread(size, 1, n_size, file) != n_size)
        return read_error(file, "header", err);
    n = size[0] | (size_t)size[1] << 8 | (size_t)size[2] << 16 | (size_t)size[3] << 24;
    if (n > HEADER_MAX_BYTES)
        return dnas_err_set(err, "claims a header of %zu bytes; at most %d are read", n,
                            HEADER_MAX_BYTES);
    text = dnas_xzalloc(n + 1, 1);
    if (fread(text, 1, n, file) != n)
        read_error(file, "header", err);
    else if (memchr(text, '\0', n))
        dnas_err_set(err, "has a damaged header");
    else
        status = parse_header(out, text, err);
    free(text);
    return status;
}

/* ---- the elements ---- */

static uint64_t little_endian(const unsigned char *p, size_t size)
{
    uint64_t bits = 0;

    for (size_t b = 0; b < size; b++)
        bits |= (uint64_t)p[b] << (8 * b);
    return bits;
}

static int64_t integer_at(const unsigned char *p, enum dnas_npy_type type)
{
    uint64_t bits = little_endian(p, types[type].size_bytes);

    return type == DNAS_NPY_I4 ? (int64_t)(int32_t)(uint32_t)bits : (int64_t)bits;
}

static double number_at(const unsigned char *p, enum dnas_npy_type type)
{
    uint64_t bits = little_endian(p, types[type].size_bytes);
    uint32_t bits32 = (uint32_t)bits;
    double f64;
    float f32;

    if (type == DNAS_NPY_F4) {
        memcpy(&f32, &bits32, sizeof(f32));
        return (double)f32;
    }
    if (type == DNAS_NPY_F8) {
        memcpy(&f64, &bits, sizeof(f64));
        return f64;
    }
    return (double)integer_at(p, type);
}

static void convert(struct dnas_npy *out, size_t at, const unsigned char *raw, size_t n)
{
    size_t size = types[out->type].size_bytes;

    for (size_t i = 0; i < n; i++, raw += size) {
        if (out->f32)
            out->f32[at + i] = (float)number_at(raw, out->type);
        else if (out->f64)
            out->f64[at + i] = number_at(raw, out->type);
        else
            out->i64[at + i] = integer_at(raw, out->type);
    }
}

/* Room for n elements of the kind asked for. */
static void make_room(struct dnas_npy *out, enum dnas_npy_as as, size_t *cap, size_t n)
{
    switch (as) {
    case DNAS_NPY_AS_F32:
        out->f32 = dnas_xgrow(out->f32, cap, n, sizeof(*out->f32));
        break;
    case DNAS_NPY_AS_F64:
        out->f64 = dnas_xgrow(out->f64, cap, n, sizeof(*out->f64));
        break;
    case DNAS_NPY_AS_I64:
        out->i64 = dnas_xgrow(out->i64, cap, n, sizeof(*out->i64));
        break;
    }
}

/* Bytes between here and the end of a file that can tell, or UINT64_MAX. */
static uint64_t bytes_left(FILE *file)
{
    off_t here = ftello(file), end;

    if (here < 0 || fseeko(file, 0, SEEK_END) != 0)
        return UINT64_MAX;
    end = ftello(file);
    if (end < here || fseeko(file, here, SEEK_SET) != 0)
        return UINT64_MAX;
    return (uint64_t)(end - here);
}

static int read_elements(struct dnas_npy *out, FILE *file, enum dnas_npy_as as,
                         struct dnas_err *err)
{
    size_t size = types[out->type].size_bytes, cap = 0, n_bytes;
    uint64_t left = bytes_left(file);
    unsigned char *raw;

    if (__builtin_mul_overflow(out->shape[0], out->shape[1], &out->n) ||
        __builtin_mul_overflow(out->n, size, &n_bytes))
        return dnas_err_set(err, "claims %zu x %zu elements, beyond this machine", out->shape[0],
                            out->shape[1]);
    if (left != UINT64_MAX && left < n_bytes)
        return dnas_err_set(err, "claims %zu bytes of elements but holds %" PRIu64, n_bytes, left);
    if (left != UINT64_MAX)
        cap = out->n > 0 ? out->n : 1; /* exactly what is needed: the bytes are there */
    raw = dnas_xalloc(CHUNK_ELEMENTS, size);
    make_room(out, as, &cap, left == UINT64_MAX ? 1 : cap);
    for (size_t at = 0; at < out->n;) {
        size_t n = out->n - at < CHUNK_ELEMENTS ? out->n - at : CHUNK_ELEMENTS;

        if (fread(raw, size, n, file) != n) {
            free(raw);
            return read_error(file, "elements", err);
        }
        make_room(out, as, &cap, at + n);
        convert(out, at, raw, n);
        at += n;
    }
    free(raw);
    if (fgetc(file) != EOF)
        return dnas_err_set(err, "goes on after its last element");
    return 0;
}

static int read_file(struct dnas_npy *out, FILE *file, enum dnas_npy_as as, struct dnas_err *err)
{
    *out = (struct dnas_npy){.shape = {1, 1}};
    if (read_header(out, file, err) != 0)
        goto fail;
    if (as == DNAS_NPY_AS_I64 && (out->type == DNAS_NPY_F4 || out->type == DNAS_NPY_F8)) {
        dnas_err_set(err, "holds floating-point numbers where integers are needed");
        goto fail;
    }
    if (read_elements(out, file, as, err) != 0)
        goto fail;
    return 0;
fail:
    dnas_npy_release(out);
    return -1;
}

int dnas_npy_read(struct dnas_npy *out, const char *path, enum dnas_npy_as as, struct dnas_err *err)
{
    FILE *file = fopen(path, "rb");
    int status;

    if (!file) {
        *out = (struct dnas_npy){.n = 0};
        return dnas_err_set(err, "%s: %s", path, strerror(errno));
    }
    status = read_file(out, file, as, err);
    fclose(file);
    return status == 0 ? 0 : dnas_err_at(err, "%s: ", path);
}

int dnas_npy_parse(struct dnas_npy *out, const void *bytes, size_t size_bytes, enum dnas_npy_as as,
                   struct dnas_err *err)
{
    FILE *file = NULL;
    int status;

    *out = (struct dnas_npy){.n = 0};
    if (size_bytes > 0) /* fmemopen takes no empty buffer; it does not write to an "r" one */
        file = fmemopen((void *)(uintptr_t)bytes, size_bytes, "rb");
    if (!file)
        return dnas_err_set(err, "is not a .npy file");
    status = read_file(out, file, as, err);
    fclose(file);
    return status;
}

void dnas_npy_release(struct dnas_npy *npy)
{
    free(npy->f32);
    free(npy->f64);
    free(npy->i64);
    *npy = (struct dnas_npy){.n = 0};
}

/* ---- writing ---- */

/* Elements are written as they lie in memory, and the header says how. */
static char byte_order(size_t size_bytes)
{
    const uint16_t one = 1;
    unsigned char low;

    memcpy(&low, &one, 1);
    if (size_bytes == 1)
        return '|';
    return low ? '<' : '>';
}

static int write_header(struct dnas_npy_writer *w, struct dnas_err *err)
{
    char header[WRITTEN_HEADER_BYTES + 1], shape[64];
    size_t text_bytes = WRITTEN_HEADER_BYTES - MAGIC_BYTES - 4;

    if (w->C > 0)
        snprintf(shape, sizeof(shape), "(%" PRIu64 ", %zu)", w->n_rows, w->C);
    else
        snprintf(shape, sizeof(shape), "(%" PRIu64 ",)", w->n_rows);
    memcpy(header, MAGIC "\x01\x00", MAGIC_BYTES + 2);
    header[8] = (char)text_bytes;
    header[9] = 0;
    snprintf(header + 10, text_bytes + 1,
             "{'descr': '%c%s', 'fortran_order': False, 'shape': %s, }",
             byte_order(types[w->type].size_bytes), types[w->type].name, shape);
    memset(header + 10 + strlen(header + 10), ' ', text_bytes - strlen(header + 10));
    header[WRITTEN_HEADER_BYTES - 1] = '\n';
    if (fwrite(header, 1, WRITTEN_HEADER_BYTES, w->file) != WRITTEN_HEADER_BYTES)
        return dnas_err_set(err, "%s: %s", w->part, strerror(errno));
    return 0;
}

int dnas_npy_open(struct dnas_npy_writer *w, const char *path, enum dnas_npy_type type, size_t C,
                  struct dnas_err *err)
{
    *w = (struct dnas_npy_writer){.type = type, .C = C};
    w->part = dnas_xasprintf("%s.part", path);
    w->file = fopen(w->part, "wb");
    if (!w->file)
        return dnas_err_set(err, "%s: %s", w->part, strerror(errno));
    return write_header(w, err);
}

int dnas_npy_append(struct dnas_npy_writer *w, const void *rows, size_t n_rows,
                    struct dnas_err *err)
{
    size_t n = n_rows * (w->C > 0 ? w->C : 1);

    if (n > 0 && fwrite(rows, types[w->type].size_bytes, n, w->file) != n)
        return dnas_err_set(err, "%s: %s", w->part, strerror(errno));
    w->n_rows += n_rows;
    return 0;
}

int dnas_npy_close(struct dnas_npy_writer *w, struct dnas_err *err)
{
    int status = 0;

    if (w->file) {
        if (fseeko(w->file, 0, SEEK_SET) != 0)
            status = dnas_err_set(err, "%s: %s", w->part, strerror(errno));
        else
            status = write_header(w, err);
        if (fclose(w->file) != 0 && status == 0)
            status = dnas_err_set(err, "%s: %s", w->part, strerror(errno));
    }
    free(w->part);
    *w = (struct dnas_npy_writer){.file = NULL};
    return status;
}
