/* SPDX-License-Identifier: MIT
 *
 * excerpt.c - marks, and a store of what is marked.  Contract: excerpt.h.
 *
 * Granule g of the collection lies in the store behind as many granules as are
 * marked before it.  Letters of pipes were spooled when they were indexed and
 * are read from there.
 */
#include "common/excerpt.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/msg.h"
#include "common/seq.h"
#include "common/threads.h"
#include "common/xmem.h"

#define WORD_BITS 64
#define RANK_WORDS 8                          /* words between two counts */
#define BUFFER_BYTES (1024 * DNAS_GRANULE_BP) /* whole granules */

struct dnas_excerpt {
    const struct dnas_genomes *g;
    uint64_t *marks; /* [n_words] */
    size_t n_words;
    uint64_t *rank; /* [n_words / RANK_WORDS + 1] marks before the word; NULL: not loaded */
    uint64_t n_bytes;
    char *memory; /* the store, or */
    FILE *file;
};

struct load {
    struct dnas_excerpt *e;
    size_t next_file;
    size_t *file;   /* [slots] */
    size_t *end;    /* [slots] behind the last marked sequence */
    char **buffers; /* [n_threads] */
    size_t n_done;
};

struct dnas_excerpt *dnas_excerpt_new(const struct dnas_genomes *g)
{
    struct dnas_excerpt *e = dnas_xzalloc(1, sizeof(*e));

    e->g = g;
    e->n_words = (size_t)(g->n_granules / WORD_BITS + 1);
    e->marks = dnas_xzalloc(e->n_words, sizeof(*e->marks));
    return e;
}

void dnas_excerpt_free(struct dnas_excerpt *e)
{
    if (!e)
        return;
    if (e->file)
        fclose(e->file);
    free(e->memory);
    free(e->rank);
    free(e->marks);
    free(e);
}

static bool is_spooled(const struct dnas_excerpt *e, size_t seq)
{
    return e->g->files[e->g->seqs[seq].file].spool != NULL;
}

static void check_place(const struct dnas_excerpt *e, size_t seq, uint32_t start, uint32_t n)
{
    if (seq >= e->g->n_seqs || (uint64_t)start + n > e->g->seqs[seq].length_bp || n == 0)
        DNAS_BUG("%u letters from %u on of sequence %zu", n, start, seq);
}

void dnas_excerpt_mark(struct dnas_excerpt *e, size_t seq, uint32_t start, uint32_t n)
{
    uint64_t first, last;

    check_place(e, seq, start, n);
    if (e->rank)
        DNAS_BUG("a mark after loading");
    if (is_spooled(e, seq))
        return;
    first = e->g->seqs[seq].at + start / DNAS_GRANULE_BP;
    last = e->g->seqs[seq].at + (start + n - 1) / DNAS_GRANULE_BP;
    for (uint64_t i = first; i <= last;) {
        unsigned from = (unsigned)(i % WORD_BITS);
        uint64_t left = last - i + 1;
        unsigned here = left < WORD_BITS - from ? (unsigned)left : WORD_BITS - from;

        e->marks[i / WORD_BITS] |= (here == WORD_BITS ? UINT64_MAX : (UINT64_C(1) << here) - 1)
                                   << from;
        i += here;
    }
}

static bool is_marked(const struct dnas_excerpt *e, uint64_t granule)
{
    return e->marks[granule / WORD_BITS] >> (granule % WORD_BITS) & 1;
}

static uint64_t n_granules(const struct dnas_genome_seq *q)
{
    return (q->length_bp + (uint64_t)DNAS_GRANULE_BP - 1) / DNAS_GRANULE_BP;
}

/* Behind the last marked granule of a sequence, counted from its first. */
static uint64_t marked_end(const struct dnas_excerpt *e, const struct dnas_genome_seq *q)
{
    for (uint64_t i = n_granules(q); i > 0; i--)
        if (is_marked(e, q->at + i - 1))
            return i;
    return 0;
}

static void count_marks(struct dnas_excerpt *e)
{
    uint64_t n = 0;

    e->rank = dnas_xalloc(e->n_words / RANK_WORDS + 1, sizeof(*e->rank));
    for (size_t i = 0; i < e->n_words; i++) {
        if (i % RANK_WORDS == 0)
            e->rank[i / RANK_WORDS] = n;
        n += (uint64_t)__builtin_popcountll(e->marks[i]);
    }
    e->n_bytes = n * DNAS_GRANULE_BP;
}

/* Where a marked granule is in the store. */
static uint64_t place_of(const struct dnas_excerpt *e, uint64_t granule)
{
    size_t word = (size_t)(granule / WORD_BITS), i = word - word % RANK_WORDS;
    uint64_t n = e->rank[word / RANK_WORDS];

    for (; i < word; i++)
        n += (uint64_t)__builtin_popcountll(e->marks[i]);
    n += (uint64_t)__builtin_popcountll(e->marks[word] &
                                        ((UINT64_C(1) << (granule % WORD_BITS)) - 1));
    return n * DNAS_GRANULE_BP;
}

/* ---- the store ---- */

static int store_write(struct dnas_excerpt *e, uint64_t at, const char *from, size_t n,
                       struct dnas_err *err)
{
    if (e->memory) {
        memcpy(e->memory + at, from, n);
        return 0;
    }
    while (n > 0) {
        ssize_t put = pwrite(fileno(e->file), from, n, (off_t)at);

        if (put < 0 && errno == EINTR)
            continue;
        if (put < 0)
            return dnas_temporary_failed(err);
        from += put;
        at += (uint64_t)put;
        n -= (size_t)put;
    }
    return 0;
}

static int file_read(FILE *file, char *out, uint64_t at, size_t n, struct dnas_err *err)
{
    while (n > 0) {
        ssize_t got = pread(fileno(file), out, n, (off_t)at);

        if (got < 0 && errno == EINTR)
            continue;
        if (got == 0)
            errno = EIO; /* shorter than what was written to it */
        if (got <= 0)
            return dnas_temporary_failed(err);
        out += got;
        at += (uint64_t)got;
        n -= (size_t)got;
    }
    return 0;
}

/* Stores the marked granules of a stretch that begins with a whole granule. */
static int store_stretch(struct dnas_excerpt *e, uint64_t granule, const char *letters, size_t n,
                         struct dnas_err *err)
{
    size_t end = (n + DNAS_GRANULE_BP - 1) / DNAS_GRANULE_BP;

    for (size_t i = 0, to; i < end; i = to) {
        size_t from = i * DNAS_GRANULE_BP, stop;

        for (to = i + 1; to < end && is_marked(e, granule + to) == is_marked(e, granule + i);)
            to++;
        stop = to * DNAS_GRANULE_BP < n ? to * DNAS_GRANULE_BP : n;
        if (is_marked(e, granule + i) &&
            store_write(e, place_of(e, granule + i), letters + from, stop - from, err) != 0)
            return -1;
    }
    return 0;
}

static int changed(const struct dnas_genome_file *f, struct dnas_err *err)
{
    return dnas_err_set(err, "%s: has changed since it was indexed: run again", f->path);
}

/* Reads a sequence as far as it is marked. */
static int load_seq(struct dnas_excerpt *e, const struct dnas_genome_seq *q, struct dnas_seq *s,
                    char *buffer, struct dnas_err *err)
{
    uint64_t end = marked_end(e, q) * DNAS_GRANULE_BP;

    if (end > q->length_bp)
        end = q->length_bp;
    for (uint64_t at = 0; at < end;) {
        size_t want = end - at < BUFFER_BYTES ? (size_t)(end - at) : BUFFER_BYTES;
        ptrdiff_t got = dnas_seq_read(s, buffer, want, err);

        if (got < 0)
            return -1;
        if ((size_t)got < want)
            return changed(&e->g->files[q->file], err);
        if (store_stretch(e, q->at + at / DNAS_GRANULE_BP, buffer, want, err) != 0)
            return -1;
        at += want;
    }
    return 0;
}

/* Steps to the record of q; *record is the next one's number. */
static int find_record(const struct dnas_excerpt *e, const struct dnas_genome_seq *q,
                       struct dnas_seq *s, uint64_t *record, struct dnas_err *err)
{
    int status = 1;

    for (; status == 1 && *record <= q->record; ++*record)
        status = dnas_seq_next(s, err);
    if (status < 0)
        return -1;
    if (status == 0 || strcmp(dnas_seq_id(s), e->g->texts + q->id) != 0)
        return changed(&e->g->files[q->file], err);
    return 0;
}

static int load_file(struct load *l, size_t file, size_t end, char *buffer, struct dnas_err *err)
{
    const struct dnas_excerpt *e = l->e;
    char *path = (char *)e->g->files[file].path;
    const struct dnas_seq_options o = {.allow_duplicate_ids = true};
    struct dnas_seq *s = dnas_seq_open(NULL, &path, 1, &o, err);
    uint64_t record = 0;
    int status = s ? 0 : -1;

    for (size_t i = e->g->files[file].first_seq; status == 0 && i < end; i++) {
        const struct dnas_genome_seq *q = &e->g->seqs[i];

        if (marked_end(e, q) == 0)
            continue;
        status = find_record(e, q, s, &record, err);
        if (status == 0)
            status = load_seq(l->e, q, s, buffer, err);
    }
    dnas_seq_close(s);
    return status;
}

/* ---- the files ---- */

/* The next file that has marks; files without are not opened again. */
static int fill(void *ctx, int slot, struct dnas_err *err)
{
    struct load *l = ctx;
    const struct dnas_genomes *g = l->e->g;

    (void)err;
    for (; l->next_file < g->n_files; l->next_file++) {
        size_t first, n = dnas_genomes_of_file(g, l->next_file, &first);

        if (g->files[l->next_file].spool)
            continue;
        while (n > 0 && marked_end(l->e, &g->seqs[first + n - 1]) == 0)
            n--;
        if (n == 0)
            continue;
        l->end[slot] = first + n;
        l->file[slot] = l->next_file++;
        return 1;
    }
    return 0;
}

static int work(void *ctx, int slot, int worker, struct dnas_err *err)
{
    struct load *l = ctx;

    return load_file(l, l->file[slot], l->end[slot], l->buffers[worker], err);
}

static int drain(void *ctx, int slot, struct dnas_err *err)
{
    struct load *l = ctx;

    (void)err;
    l->n_done++;
    dnas_progress("reading what is drawn", "files", l->n_done, l->file[slot] + 1, l->e->g->n_files);
    return 0;
}

int dnas_excerpt_load(struct dnas_excerpt *e, uint64_t memory_bytes, int n_threads,
                      struct dnas_err *err)
{
    struct load l = {.e = e};
    struct dnas_pipeline p = {.fill = fill,
                              .work = work,
                              .drain = drain,
                              .ctx = &l,
                              .n_slots = n_threads == 1 ? 1 : 2 * n_threads,
                              .n_threads = n_threads};
    int status;

    count_marks(e);
    if (e->n_bytes <= memory_bytes)
        e->memory = dnas_xalloc((size_t)e->n_bytes, 1);
    else if (!(e->file = dnas_temporary_open(err)))
        return -1;
    l.file = dnas_xalloc((size_t)p.n_slots, sizeof(*l.file));
    l.end = dnas_xalloc((size_t)p.n_slots, sizeof(*l.end));
    l.buffers = dnas_xalloc((size_t)n_threads, sizeof(*l.buffers));
    for (int i = 0; i < n_threads; i++)
        l.buffers[i] = dnas_xalloc(BUFFER_BYTES, 1);
    status = dnas_pipeline_run(&p, err);
    for (int i = 0; i < n_threads; i++)
        free(l.buffers[i]);
    free(l.buffers);
    free(l.end);
    free(l.file);
    return status;
}

uint64_t dnas_excerpt_bytes(const struct dnas_excerpt *e)
{
    return e->n_bytes;
}

int dnas_excerpt_read(const struct dnas_excerpt *e, char *out, size_t seq, uint32_t start,
                      uint32_t n, struct dnas_err *err)
{
    const struct dnas_genome_seq *q = &e->g->seqs[seq];
    uint64_t at, granule;

    check_place(e, seq, start, n);
    if (is_spooled(e, seq))
        return file_read(e->g->files[q->file].spool, out, q->at + start, n, err);
    granule = q->at + start / DNAS_GRANULE_BP;
    if (!e->rank || !is_marked(e, granule) ||
        !is_marked(e, q->at + (start + n - 1) / DNAS_GRANULE_BP))
        DNAS_BUG("letters that are not marked");
    at = place_of(e, granule) + start % DNAS_GRANULE_BP;
    if (e->file)
        return file_read(e->file, out, at, n, err);
    memcpy(out, e->memory + at, n);
    return 0;
}
