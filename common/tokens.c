/* SPDX-License-Identifier: MIT
 *
 * tokens.c - the windows of a TOKENS stream.  Contract: tokens.h.
 */
#include "common/tokens.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/idmap.h"
#include "common/xmem.h"

enum { ID, TOKENS, PART, PARTS, LENGTH, LABEL, N_COLUMNS };

struct dnas_tokens {
    struct dnas_reader *reader;
    struct dnas_block block;
    uint32_t row; /* of the block, the next one */
    int column[N_COLUMNS];
    /* The sequence of the window that came last. */
    char *id;
    uint32_t next_part, parts; /* next_part 0: it is complete */
    uint64_t n_sequences;
    char *place;
    /* For shards: tokens before it, in all, and whether it is in ours. */
    struct dnas_tokens_options options;
    uint64_t n_tokens, total_tokens;
    bool wanted;
    struct dnas_idset ids;
    bool is_joined;
};

static int find_columns(struct dnas_tokens *t, struct dnas_err *err)
{
    static const char *const names[] = {"id", "tokens", "part", "parts", "length_bp", "label"};
    const struct dnas_header *h = dnas_reader_header(t->reader);
    const struct dnas_column *c;

    if (dnas_reader_expect(t->reader, DNAS_TOKENS, err) != 0)
        return -1;
    for (int i = 0; i < N_COLUMNS; i++)
        t->column[i] = dnas_header_find(h, names[i]);
    c = t->column[LENGTH] >= 0 ? &h->columns[t->column[LENGTH]] : NULL;
    if (!c || c->type != DNAS_U32 || c->ragged || c->is_vector)
        return dnas_err_set(err,
                            "%s: has no column 'length_bp' of type u32, by which windows are "
                            "weighted",
                            dnas_reader_name(t->reader));
    if (t->column[LABEL] >= 0 && h->columns[t->column[LABEL]].type != DNAS_UTF8)
        return dnas_err_set(err, "%s: has a column 'label' that is not utf8",
                            dnas_reader_name(t->reader));
    return 0;
}

/* The first of the two passes that shards take. */
static int count_tokens(struct dnas_tokens *t, struct dnas_err *err)
{
    const struct dnas_tokens_options whole = {.allow_duplicate_ids =
                                                  t->options.allow_duplicate_ids};
    const char *path = t->options.path;
    struct dnas_reader *r;
    struct dnas_tokens *all = NULL;
    struct dnas_window w;
    int status = -1;

    if (!dnas_is_regular_file(path, NULL))
        return dnas_err_set(err, "%s: --shard reads its input twice and needs a regular file",
                            dnas_reader_name(t->reader));
    r = dnas_reader_open(path, err);
    if (r)
        all = dnas_tokens_new(r, &whole, err);
    while (all && (status = dnas_tokens_next(all, &w, err)) == 1)
        ;
    if (status == 0) {
        const struct dnas_header *h = dnas_reader_header(r);

        t->total_tokens = all->n_tokens;
        if (h->n_shards > 1 && dnas_reader_streams(r) == 1)
            status = dnas_err_set(
                err, "%s: is shard %" PRIu32 " of %" PRIu32 " itself: --shard takes the whole",
                path, h->shard, h->n_shards);
    }
    dnas_tokens_free(all);
    dnas_reader_close(r);
    return status;
}

/* What is wrong with the file is said when its rows are read. */
static bool has_further_shards(const char *path)
{
    struct dnas_reader *r = dnas_is_regular_file(path, NULL) ? dnas_reader_open(path, NULL) : NULL;
    struct dnas_block block;
    bool has = false;

    while (r && !has && dnas_reader_next(r, &block, NULL) == 1)
        has = dnas_reader_streams(r) > 1;
    has = has || (r && dnas_reader_streams(r) > 1);
    dnas_reader_close(r);
    return has;
}

struct dnas_tokens *dnas_tokens_new(struct dnas_reader *r,
                                    const struct dnas_tokens_options *options, struct dnas_err *err)
{
    struct dnas_tokens *t = dnas_xzalloc(1, sizeof(*t));

    t->reader = r;
    t->options = *options;
    t->id = dnas_xstrdup("");
    if (options->n_shards == 0 && options->path && dnas_reader_header(r)->n_shards > 1)
        t->is_joined = has_further_shards(options->path);
    if (find_columns(t, err) == 0 && (options->n_shards == 0 || count_tokens(t, err) == 0)) {
        /* The count has seen all ids. */
        t->options.allow_duplicate_ids = options->allow_duplicate_ids || options->n_shards > 0;
        return t;
    }
    dnas_tokens_free(t);
    return NULL;
}

void dnas_tokens_free(struct dnas_tokens *t)
{
    if (!t)
        return;
    free(t->id);
    free(t->place);
    dnas_idset_release(&t->ids);
    free(t);
}

bool dnas_tokens_is_joined(const struct dnas_tokens *t)
{
    return t->is_joined || dnas_reader_streams(t->reader) > 1;
}

static uint32_t u32_at(const struct dnas_tokens *t, int which)
{
    return ((const uint32_t *)t->block.cells[t->column[which]].values)[t->row];
}

/* By where a sequence begins, so that none is split. */
static bool in_shard(const struct dnas_tokens *t)
{
    unsigned __int128 scaled = (unsigned __int128)t->n_tokens * t->options.n_shards;
    uint64_t shard = t->total_tokens ? (uint64_t)(scaled / t->total_tokens) + 1 : 1;

    /* Sequences without tokens may begin where all tokens end. */
    return t->options.n_shards == 0 ||
           (shard < t->options.n_shards ? shard : t->options.n_shards) == t->options.shard;
}

/* Whether this window is the one that must come now; if so, the next is awaited. */
static int step(struct dnas_tokens *t, const struct dnas_window *w, const char *id, size_t n,
                struct dnas_err *err)
{
    bool same_id = strlen(t->id) == n && memcmp(t->id, id, n) == 0;

    if (w->part != 0 && t->next_part == 0)
        return dnas_err_set(err,
                            "%s: window %" PRIu32 " of '%.*s' comes where a sequence should begin",
                            dnas_reader_name(t->reader), w->part, (int)(n < 200 ? n : 200), id);
    if (w->part != t->next_part || (w->part > 0 && !same_id))
        return dnas_err_set(err,
                            "%s: window %" PRIu32 " of '%.*s' comes where window %" PRIu32
                            " of '%.200s' belongs",
                            dnas_reader_name(t->reader), w->part, (int)(n < 200 ? n : 200), id,
                            t->next_part, t->id);
    if (w->part >= w->parts || (w->part > 0 && w->parts != t->parts))
        return dnas_err_set(err, "%s: '%.*s' has a window %" PRIu32 " of %" PRIu32,
                            dnas_reader_name(t->reader), (int)(n < 200 ? n : 200), id, w->part,
                            w->parts);
    if (w->part == 0) {
        free(t->id);
        t->id = dnas_xstrndup(id, n);
        t->parts = w->parts;
        t->n_sequences++;
        t->wanted = in_shard(t);
        if (!t->options.allow_duplicate_ids && !dnas_idset_add(&t->ids, id, n))
            return dnas_err_set(err,
                                "%s has the name of an earlier sequence: rename one, or use "
                                "--allow-duplicate-ids",
                                dnas_tokens_place(t));
    }
    t->next_part = w->part + 1 == w->parts ? 0 : w->part + 1;
    t->n_tokens += w->n;
    return 0;
}

/* The next row, of whatever shard. */
static int next_row(struct dnas_tokens *t, struct dnas_window *w, struct dnas_err *err)
{
    const char *id;
    size_t id_n;

    while (t->row == t->block.n_rows) {
        int status = dnas_reader_next(t->reader, &t->block, err);

        if (status == 0 && t->next_part != 0)
            return dnas_err_set(err, "%s: ends within the windows of '%.200s'",
                                dnas_reader_name(t->reader), t->id);
        if (status != 1)
            return status;
        t->row = 0;
    }
    *w = (struct dnas_window){.block = &t->block,
                              .row = t->row,
                              .label = "",
                              .part = u32_at(t, PART),
                              .parts = u32_at(t, PARTS),
                              .length_bp = u32_at(t, LENGTH)};
    w->ids = dnas_block_ragged(&t->block, t->column[TOKENS], t->row, &w->n);
    if (t->column[LABEL] >= 0)
        w->label = dnas_block_ragged(&t->block, t->column[LABEL], t->row, &w->label_n);
    id = dnas_block_ragged(&t->block, t->column[ID], t->row, &id_n);
    t->row++;
    return step(t, w, id, id_n, err) == 0 ? 1 : -1;
}

int dnas_tokens_next(struct dnas_tokens *t, struct dnas_window *w, struct dnas_err *err)
{
    int status;

    do
        status = next_row(t, w, err);
    while (status == 1 && !t->wanted);
    return status;
}

int dnas_tokens_skip(struct dnas_tokens *t, struct dnas_err *err)
{
    struct dnas_window w;
    int status;

    do
        status = dnas_tokens_next(t, &w, err);
    while (status == 1 && t->next_part != 0);
    return status;
}

const char *dnas_tokens_id(const struct dnas_tokens *t)
{
    return t->id;
}

const char *dnas_tokens_place(struct dnas_tokens *t)
{
    free(t->place);
    t->place = dnas_xasprintf("%s: sequence %" PRIu64 " ('%.200s')", dnas_reader_name(t->reader),
                              t->n_sequences, t->id);
    return t->place;
}
