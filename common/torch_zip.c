/* SPDX-License-Identifier: MIT
 *
 * torch_zip.c - torch.save's files: a zip of stored members, DIR/data.pkl, which
 * says what the tensors are, and DIR/data/KEY, one for each storage.
 *
 * The zip format is PKWARE's APPNOTE 6.3.  torch's writer sets bit 3 and leaves
 * sizes out of the local headers, so the central directory rules and the local
 * headers may only agree.  CRCs are not looked at: torch's own reader does not,
 * and torch.serialization.set_crc32_options(False) writes others.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/weights_impl.h"
#include "common/xmem.h"

enum {
    END_SIG = 0x06054b50,
    END_BYTES = 22,
    END64_SIG = 0x06064b50,
    END64_BYTES = 56,
    LOCATOR_SIG = 0x07064b50,
    LOCATOR_BYTES = 20,
    CENTRAL_SIG = 0x02014b50,
    CENTRAL_BYTES = 46,
    LOCAL_SIG = 0x04034b50,
    LOCAL_BYTES = 30,
    COMMENT_MAX_BYTES = 65535,
    FLAG_ENCRYPTED = 1,
    FLAG_SIZES_FOLLOW = 8, /* in a descriptor behind the data */
    EXTRA_ZIP64 = 1,
    /* torch writes about 250 bytes a tensor. */
    PICKLE_MAX_BYTES = 4 << 20,
    DIR_MAX_BYTES = 255,    /* a file's name without its ending */
    TORCH_VERSION_MAX = 10, /* kMaxSupportedFileFormatVersion in caffe2/serialize/versions.h */
};

static const uint32_t IN_ZIP64 = 0xffffffff; /* a field of 32 bits that says so */

struct member {
    const char *name; /* in the central directory, n_name bytes */
    size_t n_name;
    uint64_t header_at, size_bytes;
    size_t data_at;
    unsigned flags;
};

struct zip {
    const unsigned char *bytes;
    size_t n;
    struct member *members;
    size_t n_members;
    uint64_t directory_at, directory_bytes;
};

static uint64_t get(const struct zip *z, uint64_t at, size_t n_bytes)
{
    return weights_get(z->bytes + at, n_bytes);
}

/* ---- the central directory ---- */

/* The end record: the last one whose comment reaches the end of the file. */
static int find_end(const struct zip *z, size_t *end_at, struct dnas_err *err)
{
    for (size_t back = 0; back <= COMMENT_MAX_BYTES && END_BYTES + back <= z->n; back++) {
        size_t at = z->n - END_BYTES - back;

        if (get(z, at, 4) == END_SIG && get(z, at + 20, 2) == back) {
            *end_at = at;
            return 0;
        }
    }
    return dnas_err_set(err, "is a truncated zip archive: it has no end record");
}

/* The zip64 end record stands before its locator, which stands before the end
 * record; *end_at moves to where the directory must end. */
static int read_end64(struct zip *z, size_t *end_at, uint64_t *n_members, struct dnas_err *err)
{
    size_t locator = *end_at - LOCATOR_BYTES, at;

    if (locator < END64_BYTES || get(z, locator + 8, 8) != locator - END64_BYTES)
        return dnas_err_set(err, "its zip64 end record is not where its locator says");
    at = locator - END64_BYTES;
    if (get(z, at, 4) != END64_SIG || get(z, at + 4, 8) != END64_BYTES - 12)
        return dnas_err_set(err, "its zip64 end record is damaged");
    if (get(z, at + 16, 4) != 0 || get(z, at + 20, 4) != 0 || get(z, locator + 4, 4) != 0 ||
        get(z, at + 24, 8) != get(z, at + 32, 8))
        return dnas_err_set(err, "is a part of a zip archive in several files");
    *n_members = get(z, at + 32, 8);
    z->directory_bytes = get(z, at + 40, 8);
    z->directory_at = get(z, at + 48, 8);
    *end_at = at;
    return 0;
}

static int find_directory(struct zip *z, uint64_t *n_members, struct dnas_err *err)
{
    size_t end = 0;

    if (find_end(z, &end, err) != 0)
        return -1;
    if (get(z, end + 4, 2) != 0 || get(z, end + 6, 2) != 0 ||
        get(z, end + 8, 2) != get(z, end + 10, 2))
        return dnas_err_set(err, "is a part of a zip archive in several files");
    *n_members = get(z, end + 10, 2);
    z->directory_bytes = get(z, end + 12, 4);
    z->directory_at = get(z, end + 16, 4);
    if (end >= LOCATOR_BYTES && get(z, end - LOCATOR_BYTES, 4) == LOCATOR_SIG &&
        read_end64(z, &end, n_members, err) != 0)
        return -1;
    if (z->directory_at > end || z->directory_bytes != end - z->directory_at)
        return dnas_err_set(err, "its zip directory does not end where its end record begins");
    if (*n_members > z->directory_bytes / CENTRAL_BYTES)
        return dnas_err_set(err,
                            "claims %" PRIu64 " zip members in a directory of %" PRIu64 " bytes",
                            *n_members, z->directory_bytes);
    return 0;
}

/* The 64-bit values of an extra field of n bytes at `at`: those of size,
 * compressed size and offset that do not fit 32 bits, in this order. */
static int read_extra64(const struct zip *z, uint64_t at, size_t n, uint64_t fields[3],
                        struct dnas_err *err)
{
    uint64_t end = at + n;

    while (end - at >= 4) {
        size_t id = (size_t)get(z, at, 2), size = (size_t)get(z, at + 2, 2);

        at += 4;
        if (size > end - at)
            break;
        for (int f = 0; id == EXTRA_ZIP64 && f < 3; f++)
            if (fields[f] == IN_ZIP64 && size >= 8) {
                fields[f] = get(z, at, 8);
                at += 8;
                size -= 8;
            }
        at += size;
    }
    for (int f = 0; f < 3; f++)
        if (fields[f] == IN_ZIP64)
            return dnas_err_set(err, "lacks its zip64 sizes");
    return 0;
}

/* Checks m's local header at m->header_at against the directory, and that all
 * of m lies before it. */
static int read_local(const struct zip *z, struct member *m, struct dnas_err *err)
{
    uint64_t at = m->header_at, fields[3] = {0}, start, room = z->directory_at;
    size_t n_name, n_extra;

    if (at > room || room - at < LOCAL_BYTES || get(z, at, 4) != LOCAL_SIG)
        return dnas_err_set(err, "has no local header");
    n_name = (size_t)get(z, at + 26, 2);
    n_extra = (size_t)get(z, at + 28, 2);
    start = at + LOCAL_BYTES;
    if (room - start < n_name + n_extra || m->size_bytes > room - start - n_name - n_extra)
        return dnas_err_set(err, "goes beyond the zip directory");
    fields[0] = get(z, at + 22, 4);
    fields[1] = get(z, at + 18, 4);
    if (read_extra64(z, start + n_name, n_extra, fields, err) != 0)
        return -1;
    if (get(z, at + 6, 2) != m->flags || get(z, at + 8, 2) != 0 || n_name != m->n_name ||
        memcmp(z->bytes + start, m->name, n_name) != 0)
        return dnas_err_set(err, "has another local header than the zip directory says");
    for (int f = 0; f < 2; f++)
        if (fields[f] != m->size_bytes && !(fields[f] == 0 && m->flags & FLAG_SIZES_FOLLOW))
            return dnas_err_set(err, "has another size in its local header");
    m->data_at = (size_t)(start + n_name + n_extra);
    return 0;
}

/* The directory's entry at *at, which moves to the next. */
static int read_member(const struct zip *z, struct member *m, uint64_t *at, struct dnas_err *err)
{
    uint64_t left = z->directory_at + z->directory_bytes - *at, fields[3];
    size_t n_name, n_extra, n_comment;

    if (left < CENTRAL_BYTES || get(z, *at, 4) != CENTRAL_SIG)
        return dnas_err_set(err, "its zip directory is damaged");
    n_name = (size_t)get(z, *at + 28, 2);
    n_extra = (size_t)get(z, *at + 30, 2);
    n_comment = (size_t)get(z, *at + 32, 2);
    if (left - CENTRAL_BYTES < n_name + n_extra + n_comment)
        return dnas_err_set(err, "its zip directory is damaged");
    m->flags = (unsigned)get(z, *at + 8, 2);
    m->name = (const char *)z->bytes + *at + CENTRAL_BYTES;
    m->n_name = n_name;
    fields[0] = get(z, *at + 24, 4);
    fields[1] = get(z, *at + 20, 4);
    fields[2] = get(z, *at + 42, 4);
    if (m->flags & FLAG_ENCRYPTED)
        dnas_err_set(err, "is encrypted");
    else if (get(z, *at + 10, 2) != 0)
        dnas_err_set(err, "is compressed, which torch.save does not do; try unpacking the archive "
                          "and 'zip -0 -r'");
    else if (read_extra64(z, *at + CENTRAL_BYTES + n_name, n_extra, fields, err) == 0) {
        m->size_bytes = fields[0];
        m->header_at = fields[2];
        *at += CENTRAL_BYTES + n_name + n_extra + n_comment;
        if (fields[0] != fields[1])
            dnas_err_set(err, "is stored but has two sizes");
        else if (read_local(z, m, err) == 0)
            return 0;
    }
    return dnas_err_at(err, "zip member '%.*s' ", (int)(n_name < 200 ? n_name : 200), m->name);
}

static int compare_places(const void *a, const void *b)
{
    const struct member *x = a, *y = b;

    return x->header_at < y->header_at ? -1 : x->header_at > y->header_at;
}

static int compare_names(const void *a, const void *b)
{
    const struct member *x = a, *y = b;
    int c = memcmp(x->name, y->name, x->n_name < y->n_name ? x->n_name : y->n_name);

    return c != 0 ? c : x->n_name < y->n_name ? -1 : x->n_name > y->n_name;
}

/* No two members share bytes or a name; leaves them in order of names. */
static int sort_members(struct zip *z, struct dnas_err *err)
{
    struct member *m = z->members;

    qsort(m, z->n_members, sizeof(*m), compare_places);
    for (size_t i = 1; i < z->n_members; i++)
        if (m[i - 1].data_at + m[i - 1].size_bytes > m[i].header_at)
            return dnas_err_set(err, "two zip members overlap at byte %" PRIu64, m[i].header_at);
    qsort(m, z->n_members, sizeof(*m), compare_names);
    for (size_t i = 1; i < z->n_members; i++)
        if (compare_names(&m[i - 1], &m[i]) == 0)
            return dnas_err_set(err, "zip member '%.*s' is there twice",
                                (int)(m[i].n_name < 200 ? m[i].n_name : 200), m[i].name);
    return 0;
}

/* z->members must be freed, also after an error. */
static int read_zip(struct zip *z, struct dnas_err *err)
{
    uint64_t n = 0, at;

    if (find_directory(z, &n, err) != 0)
        return -1;
    z->members = dnas_xzalloc((size_t)n, sizeof(*z->members));
    at = z->directory_at;
    for (z->n_members = 0; z->n_members < n; z->n_members++)
        if (read_member(z, &z->members[z->n_members], &at, err) != 0)
            return -1;
    if (at != z->directory_at + z->directory_bytes)
        return dnas_err_set(err, "its zip directory goes on after its last member");
    return sort_members(z, err);
}

/* ---- what torch keeps in it ---- */

/* The member DIR/name, or NULL. */
static const struct member *find(const struct zip *z, const char *dir, size_t n_dir,
                                 const char *name)
{
    char *path = dnas_xasprintf("%.*s/%s", (int)n_dir, dir, name);
    struct member key = {.name = path, .n_name = strlen(path)};
    const struct member *m = NULL;

    if (z->n_members > 0)
        m = bsearch(&key, z->members, z->n_members, sizeof(*z->members), compare_names);
    free(path);
    return m;
}

/* The one member X/data.pkl without a further slash in X. */
static const struct member *find_pickle(const struct zip *z, struct dnas_err *err)
{
    static const char name[] = "/data.pkl";
    const size_t n = sizeof(name) - 1;
    const struct member *found = NULL;

    for (size_t i = 0; i < z->n_members; i++) {
        const struct member *m = &z->members[i];

        if (m->n_name < n || m->n_name > n + DIR_MAX_BYTES ||
            memcmp(m->name + m->n_name - n, name, n) != 0 || memchr(m->name, '/', m->n_name - n))
            continue;
        if (found) {
            dnas_err_set(err, "holds two models: '%.*s' and '%.*s'", (int)found->n_name,
                         found->name, (int)m->n_name, m->name);
            return NULL;
        }
        found = m;
    }
    if (!found)
        dnas_err_set(err, "is a zip archive, but none of torch.save: it holds no data.pkl");
    return found;
}

/* Torch's format version, and the byte order, which newer versions write. */
static int check_format(const struct zip *z, const char *dir, size_t n_dir, struct dnas_err *err)
{
    const struct member *version = find(z, dir, n_dir, "version");
    const struct member *order = find(z, dir, n_dir, "byteorder");
    int number = 0;

    if (!version)
        return dnas_err_set(err, "is a zip archive, but none of torch.save: it holds no version");
    for (size_t i = 0; i < version->size_bytes && i < 4; i++) {
        unsigned char c = z->bytes[version->data_at + i];

        if (c >= '0' && c <= '9')
            number = 10 * number + (c - '0');
    }
    if (number < 1 || number > TORCH_VERSION_MAX)
        return dnas_err_set(err, "is in version %d of torch's format; 1 to %d can be read", number,
                            TORCH_VERSION_MAX);
    if (order && (order->size_bytes != 6 || memcmp(z->bytes + order->data_at, "little", 6) != 0))
        return dnas_err_set(err, "is not in little-endian byte order");
    return 0;
}

/* ---- tensors ---- */

/* Where the elements lie: they must be inside the storage of n elements. */
static int check_extent(const struct torch_tensor *t, struct dnas_err *err)
{
    uint64_t last = t->offset, step;

    for (int d = 0; d < t->n_dims; d++)
        if (t->shape[d] == 0) {
            if (t->offset <= t->n_storage)
                return 0;
            break;
        }
    for (int d = 0; d < t->n_dims; d++)
        if (t->shape[d] > 0 && (__builtin_mul_overflow(t->shape[d] - 1, t->stride[d], &step) ||
                                __builtin_add_overflow(last, step, &last)))
            last = UINT64_MAX;
    if (last >= t->n_storage)
        return dnas_err_set(err, "goes beyond its storage of %" PRIu64 " elements", t->n_storage);
    return 0;
}

static bool is_row_major(const struct torch_tensor *t)
{
    uint64_t want = 1;

    for (int d = t->n_dims - 1; d >= 0; d--) {
        if (t->shape[d] > 1 && t->stride[d] != want)
            return false;
        want *= t->shape[d];
    }
    return true;
}

/* The n elements of t, whose storage begins at `from`, in row-major order. */
static float *gather(const struct torch_tensor *t, const unsigned char *from, size_t n)
{
    float *out = dnas_xalloc64(n, sizeof(*out));
    uint64_t index[DNAS_TENSOR_DIMS_MAX] = {0}, at = t->offset;

    for (size_t i = 0; i < n; i++) {
        memcpy(&out[i], from + 4 * at, sizeof(*out));
        for (int d = t->n_dims - 1; d >= 0; d--) {
            at += t->stride[d];
            if (++index[d] < t->shape[d])
                break;
            at -= t->stride[d] * t->shape[d];
            index[d] = 0;
        }
    }
    return out;
}

/* *n_copied counts the bytes of tensors that are not row-major; an expanded
 * one (stride 0) could claim any size. */
static int add_tensor(struct dnas_weights *w, const struct zip *z, const char *dir, size_t n_dir,
                      const struct torch_tensor *from, size_t *n_copied, struct dnas_err *err)
{
    char *name = dnas_xasprintf("data/%.*s", (int)from->key_len, from->key);
    const struct member *storage = find(z, dir, n_dir, name);
    struct dnas_tensor t = {.dtype = DNAS_DTYPE_F32, .n_dims = from->n_dims};
    float *copy = NULL;

    free(name);
    if (!storage)
        return dnas_err_set(err, "needs the storage '%.*s', which is not there", (int)from->key_len,
                            from->key);
    if (from->n_storage > SIZE_MAX / 4 || storage->size_bytes != 4 * from->n_storage)
        return dnas_err_set(err,
                            "needs a storage of %" PRIu64 " elements; '%.*s' has %" PRIu64 " bytes",
                            from->n_storage, (int)from->key_len, from->key, storage->size_bytes);
    for (int d = 0; d < t.n_dims; d++)
        t.shape[d] = (size_t)from->shape[d];
    if (!weights_set_size(&t))
        return dnas_err_set(err, "claims more elements than this machine can address");
    if (check_extent(from, err) != 0)
        return -1;
    t.data = z->bytes + storage->data_at + 4 * from->offset;
    if (t.n_elements > 0 && !is_row_major(from)) {
        if (t.size_bytes > z->n - *n_copied)
            return dnas_err_set(err, "is a view of more bytes than the file has; try saving it "
                                     "with .contiguous()");
        *n_copied += t.size_bytes;
        t.data = copy = gather(from, z->bytes + storage->data_at, t.n_elements);
    }
    weights_add(w, from->name, from->name_len, &t, copy);
    return 0;
}

static int add_tensors(struct dnas_weights *w, const struct zip *z, const struct member *pickle,
                       struct dnas_err *err)
{
    const char *dir = pickle->name;
    size_t n_dir = pickle->n_name - strlen("/data.pkl"), n_copied = 0, n;
    struct torch_tensor *tensors;
    int status = 0;

    if (check_format(z, dir, n_dir, err) != 0)
        return -1;
    if (pickle->size_bytes > PICKLE_MAX_BYTES)
        return dnas_err_set(err, "its data.pkl has %" PRIu64 " bytes; %d at most are read",
                            pickle->size_bytes, PICKLE_MAX_BYTES);
    if (torch_unpickle(&tensors, &n, z->bytes + pickle->data_at, (size_t)pickle->size_bytes, err) !=
        0)
        return dnas_err_at(err, "its data.pkl ");
    for (size_t i = 0; i < n && status == 0; i++)
        if (add_tensor(w, z, dir, n_dir, &tensors[i], &n_copied, err) != 0)
            status = dnas_err_at(err, "tensor '%.*s' ",
                                 (int)(tensors[i].name_len < 200 ? tensors[i].name_len : 200),
                                 tensors[i].name);
    free(tensors);
    return status;
}

int weights_read_torch(struct dnas_weights *w, const unsigned char *bytes, size_t n,
                       struct dnas_err *err)
{
    struct zip z = {.bytes = bytes, .n = n};
    const struct member *pickle;
    int status = -1;

    if (read_zip(&z, err) == 0) {
        pickle = find_pickle(&z, err);
        if (pickle)
            status = add_tensors(w, &z, pickle, err);
    }
    free(z.members);
    return status;
}
