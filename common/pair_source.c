/* SPDX-License-Identifier: MIT
 *
 * pair_source.c - PAIRS of tokens by row number.  Contract: pair_source.h.
 *
 * The index has, for each block, where its two columns of tokens start in the
 * file.  The offsets of a row are read from there, then its tokens: two reads of
 * some kilobytes, which the system keeps in its cache.
 */
#include "common/pair_source.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include "common/idmap.h"
#include "common/msg.h"
#include "common/train_draw.h"
#include "common/xmem.h"

#define MAX_ROWS (UINT32_MAX / 2) /* labels count from both ends of u32 */

/* Where a block's offsets and values of tokens_a and tokens_b stand in the file. */
struct place {
    uint64_t first_row;
    uint64_t offsets[2], values[2];
};

struct dnas_pair_source {
    char *name;
    int fd;
    struct dnas_header header;
    int column[2];                             /* tokens_a, tokens_b */
    int label_column, split_column, id_column; /* label, id: -1 if there is none */
    struct place *places;
    size_t n_places, places_cap;
    uint32_t *label; /* [n_rows] */
    size_t n_rows, label_cap;
    uint32_t *train, *validation; /* row numbers, ascending */
    size_t n_train, train_cap, n_validation, validation_cap;
    struct dnas_idmap labels;
    size_t n_unlabelled;
    XXH3_state_t *hashes;
    uint64_t hash;
    size_t max_tokens, longest; /* longest: before the cut */
    uint16_t max_id, last_id;
    bool same_end; /* all members end with last_id */
};

/* ---- what the columns must be ---- */

static int check_columns(struct dnas_pair_source *s, const struct dnas_reader *r,
                         struct dnas_err *err)
{
    static const char *const names[2] = {"tokens_a", "tokens_b"};
    const struct dnas_header *h = dnas_reader_header(r);

    if (dnas_reader_expect(r, DNAS_PAIRS, err) != 0)
        return -1;
    if (dnas_header_find(h, "seq_a") >= 0 && dnas_header_find(h, names[0]) < 0)
        return dnas_err_set(err,
                            "%s: holds pairs of letters, not of tokens: run dnas-tokenize first",
                            dnas_reader_name(r));
    for (int i = 0; i < 2; i++) {
        s->column[i] = dnas_header_find(h, names[i]);
        if (s->column[i] < 0 || h->columns[s->column[i]].type != DNAS_U16 ||
            !h->columns[s->column[i]].ragged)
            return dnas_err_set(err, "%s: has no column '%s' as PAIRS have it", dnas_reader_name(r),
                                names[i]);
    }
    s->split_column = dnas_header_find(h, "split");
    s->id_column = dnas_header_find(h, "id");
    s->label_column = dnas_header_find(h, "label");
    if (s->label_column >= 0 && h->columns[s->label_column].type != DNAS_UTF8)
        return dnas_err_set(err, "%s: has a column 'label' that is not utf8", dnas_reader_name(r));
    if (s->id_column >= 0 && h->columns[s->id_column].type != DNAS_UTF8)
        s->id_column = -1;
    return 0;
}

/* ---- the spool ---- */

static int copy_rows(struct dnas_writer *w, struct dnas_reader *r, struct dnas_err *err)
{
    struct dnas_block block;
    int status;

    while ((status = dnas_reader_next(r, &block, err)) == 1) {
        for (uint32_t row = 0; row < block.n_rows; row++)
            if (dnas_writer_copy_row(w, &block, row, err) != 0)
                return -1;
        dnas_progress("spooling", "pairs", dnas_reader_rows(r), dnas_reader_offset(r),
                      dnas_reader_file_size(r));
    }
    return status;
}

/* Writes the stream at path, plain, to spool. */
static int write_spool(struct dnas_pair_source *s, const char *path, const char *spool,
                       struct dnas_err *err)
{
    const struct dnas_writer_options plain = {.format = DNAS_FORMAT_STREAM};
    struct dnas_reader *r = dnas_reader_open(path, err);
    struct dnas_out *out = NULL;
    struct dnas_writer *w = NULL;
    struct dnas_header h;
    int status = -1;

    if (!r || check_columns(s, r, err) != 0)
        goto out;
    dnas_header_copy(&h, dnas_reader_header(r));
    h.shard = h.n_shards = 0; /* what was one of several is now the whole */
    out = dnas_out_open(spool, false, err);
    w = out ? dnas_writer_new(out, &h, &plain, err) : NULL;
    dnas_header_release(&h);
    if (!w)
        goto out;
    status = copy_rows(w, r, err);
    dnas_progress_end();
    if (status == 0)
        status = dnas_writer_finish(w, err);
    else
        dnas_writer_abandon(w, false);
out:
    dnas_reader_close(r);
    return status;
}

/* Whether path is a file that begins as a plain stream does. */
static bool can_stay(const char *path)
{
    char first[8] = {0};
    FILE *f;
    size_t n;

    if (!dnas_is_regular_file(path, NULL))
        return false;
    f = fopen(path, "rb");
    n = f ? fread(first, 1, sizeof(first), f) : 0;
    if (f)
        fclose(f);
    return n == sizeof(first) && memcmp(first,
                                        "\x89"
                                        "DNAS",
                                        5) == 0;
}

/* ---- the index ---- */

static int bad_row(const struct dnas_pair_source *s, const struct dnas_block *b, uint32_t row,
                   struct dnas_err *err, const char *what)
{
    size_t n = 0;
    const char *id = s->id_column >= 0 ? dnas_block_ragged(b, s->id_column, row, &n) : "";

    return dnas_err_set(err, "%s: row %llu ('%.*s') %s", s->name,
                        (unsigned long long)b->first_row + row + 1, (int)(n < 80 ? n : 80), id,
                        what);
}

static void add_row(uint32_t **rows, size_t *n, size_t *cap, size_t row)
{
    *rows = dnas_xgrow(*rows, cap, *n + 1, sizeof(**rows));
    (*rows)[(*n)++] = (uint32_t)row;
}

static void index_label(struct dnas_pair_source *s, const struct dnas_block *b, uint32_t row)
{
    size_t n = 0;
    const char *text = s->label_column >= 0 ? dnas_block_ragged(b, s->label_column, row, &n) : "";
    uint32_t label = n > 0 ? (uint32_t)dnas_idmap_add(&s->labels, text, n)
                           : UINT32_MAX - (uint32_t)s->n_unlabelled++;

    s->label = dnas_xgrow(s->label, &s->label_cap, s->n_rows + 1, sizeof(*s->label));
    s->label[s->n_rows] = label;
}

static int index_tokens(struct dnas_pair_source *s, const struct dnas_block *b, uint32_t row,
                        int member, struct dnas_err *err)
{
    size_t n;
    const uint16_t *ids = dnas_block_ragged(b, s->column[member], row, &n);

    if (n == 0)
        return bad_row(s, b, row, err, member == 0 ? "has no tokens_a" : "has no tokens_b");
    if (n > s->longest)
        s->longest = n;
    for (size_t i = 0; i < n; i++)
        if (ids[i] > s->max_id)
            s->max_id = ids[i];
    if (s->n_rows == 0 && member == 0)
        s->last_id = ids[n - 1];
    if (ids[n - 1] != s->last_id)
        s->same_end = false;
    return 0;
}

static int index_row(struct dnas_pair_source *s, const struct dnas_block *b, uint32_t row,
                     struct dnas_err *err)
{
    uint8_t split = ((const uint8_t *)b->cells[s->split_column].values)[row];

    if (s->n_rows == MAX_ROWS)
        return dnas_err_set(err, "%s: has more than 2147483647 rows", s->name);
    if (split > 1)
        return bad_row(s, b, row, err, "has a split that is neither 0 (train) nor 1 (validation)");
    for (int member = 0; member < 2; member++)
        if (index_tokens(s, b, row, member, err) != 0)
            return -1;
    index_label(s, b, row);
    if (split == 0)
        add_row(&s->train, &s->n_train, &s->train_cap, s->n_rows);
    else
        add_row(&s->validation, &s->n_validation, &s->validation_cap, s->n_rows);
    s->n_rows++;
    return 0;
}

static void index_place(struct dnas_pair_source *s, const struct dnas_block *b,
                        uint64_t payload_offset)
{
    const struct dnas_cells *first = &b->cells[0];
    const char *payload = first->offsets ? (const char *)first->offsets : first->values;
    struct place p = {.first_row = b->first_row};

    for (int member = 0; member < 2; member++) {
        const struct dnas_cells *c = &b->cells[s->column[member]];

        p.offsets[member] = payload_offset + (uint64_t)((const char *)c->offsets - payload);
        p.values[member] = payload_offset + (uint64_t)((const char *)c->values - payload);
    }
    s->places = dnas_xgrow(s->places, &s->places_cap, s->n_places + 1, sizeof(*s->places));
    s->places[s->n_places++] = p;
}

static int index_rows(struct dnas_pair_source *s, struct dnas_reader *r, struct dnas_err *err)
{
    struct dnas_block b;
    int status;

    while ((status = dnas_reader_next(r, &b, err)) == 1) {
        uint64_t hash = dnas_reader_block_hash(r);

        index_place(s, &b, dnas_reader_payload_offset(r));
        XXH3_64bits_update(s->hashes, &hash, sizeof(hash));
        for (uint32_t row = 0; row < b.n_rows; row++)
            if (index_row(s, &b, row, err) != 0)
                return -1;
        dnas_progress("checking", "pairs", dnas_reader_rows(r), dnas_reader_offset(r),
                      dnas_reader_file_size(r));
    }
    s->hash = XXH3_64bits_digest(s->hashes);
    return status;
}

/* Opens the plain file s->name, which must not change from here on. */
static int open_plain(struct dnas_pair_source *s, struct dnas_err *err)
{
    struct dnas_reader *r = dnas_reader_open(s->name, err);
    struct stat st;
    int status = -1;

    if (!r || check_columns(s, r, err) != 0)
        goto out;
    s->fd = open(s->name, O_RDONLY | O_CLOEXEC);
    if (s->fd < 0 || fstat(s->fd, &st) != 0) {
        dnas_err_set(err, "%s: cannot be opened: %s", s->name, strerror(errno));
        goto out;
    }
    dnas_header_release(&s->header);
    dnas_header_copy(&s->header, dnas_reader_header(r));
    status = index_rows(s, r, err);
    dnas_progress_end();
    if (status == 0 && s->n_train == 0)
        status = dnas_err_set(err, "%s: has no rows to train on (split 0)", s->name);
out:
    dnas_reader_close(r);
    return status;
}

struct dnas_pair_source *dnas_pair_source_open(const struct dnas_pair_source_options *o,
                                               struct dnas_err *err)
{
    struct dnas_pair_source *s = dnas_xzalloc(1, sizeof(*s));
    bool is_stdin = !o->path || strcmp(o->path, "-") == 0;
    bool stays = can_stay(o->path);
    int status = 0;

    if (o->max_tokens == 1)
        DNAS_BUG("members cut to 1 token");
    s->fd = -1;
    s->same_end = true;
    s->max_tokens = o->max_tokens;
    dnas_header_init(&s->header, DNAS_PAIRS);
    s->hashes = dnas_xhave(XXH3_createState(), "a hash");
    XXH3_64bits_reset(s->hashes);
    s->name = dnas_xstrdup(stays ? o->path : o->spool);
    if (is_stdin && o->resume && !dnas_is_regular_file(o->spool, NULL))
        status = dnas_err_set(err,
                              "%s: is not there: the run to be resumed kept its pairs in it, "
                              "so name the FILE that they came from or start anew",
                              o->spool);
    else if (!stays && !(is_stdin && o->resume))
        status = write_spool(s, o->path, o->spool, err);
    if (status == 0 && open_plain(s, err) == 0)
        return s;
    dnas_pair_source_close(s);
    return NULL;
}

void dnas_pair_source_close(struct dnas_pair_source *s)
{
    if (!s)
        return;
    if (s->fd >= 0)
        close(s->fd);
    dnas_header_release(&s->header);
    dnas_idmap_release(&s->labels);
    XXH3_freeState(s->hashes);
    free(s->name);
    free(s->places);
    free(s->label);
    free(s->train);
    free(s->validation);
    free(s);
}

/* ---- what there is ---- */

const char *dnas_pair_source_name(const struct dnas_pair_source *s)
{
    return s->name;
}

const struct dnas_header *dnas_pair_source_header(const struct dnas_pair_source *s)
{
    return &s->header;
}

uint64_t dnas_pair_source_hash(const struct dnas_pair_source *s)
{
    return s->hash;
}

size_t dnas_pair_source_n_train(const struct dnas_pair_source *s)
{
    return s->n_train;
}

size_t dnas_pair_source_n_validation(const struct dnas_pair_source *s)
{
    return s->n_validation;
}

size_t dnas_pair_source_n_labels(const struct dnas_pair_source *s)
{
    return s->labels.n;
}

static size_t cut(const struct dnas_pair_source *s, size_t n)
{
    return s->max_tokens > 0 && n > s->max_tokens ? s->max_tokens : n;
}

size_t dnas_pair_source_max_length(const struct dnas_pair_source *s)
{
    return cut(s, s->longest);
}

uint16_t dnas_pair_source_max_id(const struct dnas_pair_source *s)
{
    return s->max_id;
}

uint32_t dnas_pair_source_label(const struct dnas_pair_source *s, uint32_t row)
{
    if (row >= s->n_rows)
        DNAS_BUG("row %lu of %zu", (unsigned long)row, s->n_rows);
    return s->label[row];
}

size_t dnas_pair_source_n_batches(const struct dnas_pair_source *s, size_t B)
{
    return s->n_train / B;
}

void dnas_pair_source_batch(const struct dnas_pair_source *s, uint32_t *rows, size_t B,
                            uint64_t seed, uint32_t epoch, size_t batch)
{
    if (batch >= dnas_pair_source_n_batches(s, B))
        DNAS_BUG("batch %zu of %zu", batch, dnas_pair_source_n_batches(s, B));
    for (size_t k = 0; k < B; k++)
        rows[k] = s->train[dnas_draw_order(batch * B + k, s->n_train, seed, epoch)];
}

uint32_t dnas_pair_source_validation(const struct dnas_pair_source *s, size_t k)
{
    if (k >= s->n_validation)
        DNAS_BUG("validation row %zu of %zu", k, s->n_validation);
    return s->validation[k];
}

/* ---- tokens ---- */

static int read_at(const struct dnas_pair_source *s, void *buf, size_t n, uint64_t at,
                   struct dnas_err *err)
{
    char *p = buf;

    while (n > 0) {
        ssize_t got = pread(s->fd, p, n, (off_t)at);

        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return dnas_err_set(err, "%s: cannot be read: %s", s->name, strerror(errno));
        if (got == 0)
            return dnas_err_set(err, "%s: has been cut since it was opened", s->name);
        p += got;
        n -= (size_t)got;
        at += (uint64_t)got;
    }
    return 0;
}

static const struct place *find_place(const struct dnas_pair_source *s, uint32_t row)
{
    size_t low = 0, high = s->n_places; /* the place is in low..high-1 */

    while (high - low > 1) {
        size_t middle = low + (high - low) / 2;

        if (s->places[middle].first_row <= row)
            low = middle;
        else
            high = middle;
    }
    return &s->places[low];
}

int dnas_pair_source_tokens(const struct dnas_pair_source *s, uint16_t *tokens, size_t *n,
                            uint32_t row, int member, struct dnas_err *err)
{
    const struct place *p;
    uint64_t offsets[2], length;
    size_t kept;

    if (row >= s->n_rows || member < 0 || member > 1)
        DNAS_BUG("member %d of row %lu of %zu", member, (unsigned long)row, s->n_rows);
    p = find_place(s, row);
    if (read_at(s, offsets, sizeof(offsets),
                p->offsets[member] + (row - p->first_row) * sizeof(offsets[0]), err) != 0)
        return -1;
    length = offsets[1] - offsets[0];
    if (offsets[0] >= offsets[1] || length > s->longest)
        return dnas_err_set(err, "%s: has changed since it was opened", s->name);
    *n = cut(s, (size_t)length);
    kept = *n < length && s->same_end ? *n - 1 : *n;
    if (read_at(s, tokens, kept * sizeof(*tokens), p->values[member] + 2 * offsets[0], err) != 0)
        return -1;
    for (size_t i = 0; i < kept; i++)
        if (tokens[i] > s->max_id) /* others have been looked up by it */
            return dnas_err_set(err, "%s: has changed since it was opened", s->name);
    if (kept < *n)
        tokens[kept] = s->last_id;
    return 0;
}
