/* SPDX-License-Identifier: MIT
 *
 * genomes.c - one pass over the files of a collection.  Contract: genomes.h.
 *
 * A file is a task of its own; what it holds is merged in the order of the
 * files, so that the first error is the first file's.
 */
#include "common/genomes.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/msg.h"
#include "common/seq.h"
#include "common/threads.h"
#include "common/xmem.h"

#define BUFFER_BYTES 262144

/* What one file holds, until it is merged. */
struct part {
    size_t file;
    struct dnas_genomes g; /* seqs (species: number in g.names), runs, texts, names, counts */
};

struct job {
    struct dnas_genomes *g;
    const struct dnas_genomes_options *o;
    struct part *parts; /* [slots] */
    char **buffers;     /* [n_threads] */
    size_t next_file;
    uint64_t done_bytes, total_bytes;
};

/* ---- names ---- */

static bool ends_with(const char *s, size_t n, const char *end)
{
    size_t len = strlen(end);

    return n > len && memcmp(s + n - len, end, len) == 0;
}

static size_t without_ending(const char *s, size_t n, const char *const *endings)
{
    for (; *endings; endings++)
        if (ends_with(s, n, *endings))
            return n - strlen(*endings);
    return n;
}

char *dnas_genomes_species_of(const char *path)
{
    static const char *const packed[] = {".gz", ".bgz", ".bgzf", ".zst", ".zstd", NULL};
    static const char *const formats[] = {".fa",  ".fasta", ".fna", ".ffn", ".fas",
                                          ".fsa", ".fastq", ".fq",  ".tsv", NULL};
    const char *slash = strrchr(path, '/');
    const char *name = slash && slash[1] ? slash + 1 : path;
    size_t n = without_ending(name, strlen(name), packed);

    return dnas_xstrndup(name, without_ending(name, n, formats));
}

static size_t append_text(struct dnas_genomes *g, const char *s)
{
    size_t n = strlen(s) + 1, at = g->n_texts;

    g->texts = dnas_xgrow(g->texts, &g->texts_cap, at + n, 1);
    memcpy(g->texts + at, s, n);
    g->n_texts += n;
    return at;
}

/* ---- one file ---- */

static bool is_base(char c)
{
    return c == 'A' || c == 'C' || c == 'G' || c == 'T';
}

/* Adds what is no base in a stretch of a sequence that begins at `start`. */
static void add_runs(struct dnas_genomes *g, struct dnas_genome_seq *q, const char *letters,
                     size_t n, uint32_t start)
{
    for (size_t i = 0; i < n; i++) {
        struct dnas_genome_run *last = q->n_runs ? &g->runs[g->n_runs - 1] : NULL;
        uint32_t at = start + (uint32_t)i;

        if (is_base(letters[i]))
            continue;
        if (last && last->start + last->n == at) {
            last->n++;
            continue;
        }
        g->runs = dnas_xgrow(g->runs, &g->runs_cap, g->n_runs + 1, sizeof(*g->runs));
        g->runs[g->n_runs] = (struct dnas_genome_run){.start = at, .n = 1};
        if (q->n_runs++ > 0)
            g->runs[g->n_runs].before = g->runs[g->n_runs - 1].before + g->runs[g->n_runs - 1].n;
        g->n_runs++;
    }
}

/* Reads the record at hand to its end. */
static int read_record(struct part *p, struct dnas_genome_seq *q, struct dnas_seq *s, char *buffer,
                       FILE *spool, struct dnas_err *err)
{
    ptrdiff_t got;

    do {
        uint64_t other = dnas_seq_n_other(s);

        got = dnas_seq_read(s, buffer, BUFFER_BYTES, err);
        if (got < 0)
            return -1;
        if (dnas_seq_n_other(s) > other)
            add_runs(&p->g, q, buffer, (size_t)got, q->length_bp);
        if (spool && fwrite(buffer, 1, (size_t)got, spool) != (size_t)got)
            return dnas_temporary_failed(err);
        q->length_bp += (uint32_t)got;
    } while (got == BUFFER_BYTES);
    return 0;
}

/* The species of the record that has been read: its number in the part's
 * names, -1 for none, -2 on an error.  fallback: the file's, or NULL. */
static int64_t find_species(struct job *j, struct part *p, struct dnas_seq *s, const char *fallback,
                            struct dnas_err *err)
{
    const char *id = dnas_seq_id(s);
    const char *name = dnas_seq_label(s);

    if (j->o->labels)
        name = dnas_labels_find(j->o->labels, id, strlen(id));
    else if (!*name)
        name = fallback;
    if (name && *name)
        return (int64_t)dnas_idmap_add(&p->g.names, name, strlen(name));
    if (j->o->labels)
        return -1;
    dnas_err_set(err,
                 "%s has no species: a pipe's name tells none; use --species FILE, or label= in "
                 "the header",
                 dnas_seq_place(s));
    return -2;
}

static int keep_record(struct job *j, struct part *p, struct dnas_genome_seq *q, struct dnas_seq *s,
                       const char *fallback, FILE *spool, struct dnas_err *err)
{
    size_t n_runs = p->g.n_runs - q->n_runs;
    int64_t species;

    if (q->length_bp < j->o->min_length_bp) {
        p->g.n_short++;
        species = -1;
    } else {
        species = find_species(j, p, s, fallback, err);
        if (species == -2)
            return -1;
        if (species == -1 && p->g.n_strange++ == 0)
            p->g.strange = dnas_xstrdup(dnas_seq_id(s));
    }
    if (species == -1) {
        p->g.n_runs = n_runs;
        if (spool && fseeko(spool, (off_t)q->at, SEEK_SET) != 0)
            return dnas_temporary_failed(err);
        return 0;
    }
    q->species = (uint32_t)species;
    q->id = append_text(&p->g, dnas_seq_id(s));
    p->g.seqs = dnas_xgrow(p->g.seqs, &p->g.seqs_cap, p->g.n_seqs + 1, sizeof(*q));
    p->g.seqs[p->g.n_seqs++] = *q;
    return 0;
}

static int read_records(struct job *j, struct part *p, struct dnas_seq *s, char *buffer,
                        const char *fallback, FILE *spool, struct dnas_err *err)
{
    int status;

    while ((status = dnas_seq_next(s, err)) == 1) {
        struct dnas_genome_seq q = {.run = p->g.n_runs, .record = p->g.n_records++};

        if (dnas_seq_pair_member(s) >= 0)
            return dnas_err_set(err,
                                "%s: is a table of pairs, not of genomes: give it to "
                                "dnas-tokenize",
                                dnas_seq_place(s));
        if (spool)
            q.at = (uint64_t)ftello(spool);
        if (read_record(p, &q, s, buffer, spool, err) != 0 ||
            keep_record(j, p, &q, s, fallback, spool, err) != 0)
            return -1;
    }
    return status;
}

static int index_file(struct job *j, struct part *p, char *buffer, struct dnas_err *err)
{
    struct dnas_genome_file *f = &j->g->files[p->file];
    char *path = (char *)(f->path ? f->path : "-");
    const struct dnas_seq_options o = {.allow_duplicate_ids = j->o->allow_duplicate_ids};
    bool twice = dnas_is_regular_file(path, NULL);
    struct dnas_seq *s = dnas_seq_open(NULL, &path, 1, &o, err);
    char *fallback = twice ? dnas_genomes_species_of(path) : NULL;
    int status = s ? 0 : -1;

    if (s && !twice && !(f->spool = dnas_temporary_open(err)))
        status = -1;
    if (status == 0)
        status = read_records(j, p, s, buffer, fallback, f->spool, err);
    if (status == 0 && f->spool && fflush(f->spool) != 0)
        status = dnas_temporary_failed(err);
    dnas_seq_close(s);
    free(fallback);
    return status;
}

/* ---- all files ---- */

static int fill(void *ctx, int slot, struct dnas_err *err)
{
    struct job *j = ctx;

    (void)err;
    if (j->next_file == j->g->n_files)
        return 0;
    j->parts[slot].file = j->next_file++;
    return 1;
}

static int work(void *ctx, int slot, int worker, struct dnas_err *err)
{
    struct job *j = ctx;

    return index_file(j, &j->parts[slot], j->buffers[worker], err);
}

static void merge_seq(struct dnas_genomes *g, const struct dnas_genomes *from, size_t file,
                      const struct dnas_genome_seq *q)
{
    const char *name = dnas_idmap_text(&from->names, q->species);
    struct dnas_genome_seq *to;

    g->seqs = dnas_xgrow(g->seqs, &g->seqs_cap, g->n_seqs + 1, sizeof(*to));
    to = &g->seqs[g->n_seqs++];
    *to = *q;
    to->file = (uint32_t)file;
    to->species = (uint32_t)dnas_idmap_add(&g->names, name, strlen(name));
    to->id = append_text(g, from->texts + q->id);
    to->run = g->n_runs;
    g->runs = dnas_xgrow(g->runs, &g->runs_cap, g->n_runs + q->n_runs, sizeof(*g->runs));
    if (q->n_runs > 0)
        memcpy(g->runs + g->n_runs, from->runs + q->run, q->n_runs * sizeof(*g->runs));
    g->n_runs += q->n_runs;
    if (!g->files[file].spool) {
        to->at = g->n_granules;
        g->n_granules += (q->length_bp + (uint64_t)DNAS_GRANULE_BP - 1) / DNAS_GRANULE_BP;
    }
}

static int drain(void *ctx, int slot, struct dnas_err *err)
{
    struct job *j = ctx;
    struct part *p = &j->parts[slot];
    struct dnas_genomes *g = j->g;
    uint64_t size = 0;

    if (g->n_seqs + p->g.n_seqs > UINT32_MAX)
        return dnas_err_set(err, "more than 4294967295 sequences: raise --length, or give fewer");
    g->files[p->file].first_seq = g->n_seqs;
    for (size_t i = 0; i < p->g.n_seqs; i++)
        merge_seq(g, &p->g, p->file, &p->g.seqs[i]);
    g->n_records += p->g.n_records;
    g->n_short += p->g.n_short;
    g->n_strange += p->g.n_strange;
    if (!g->strange) {
        g->strange = p->g.strange;
        p->g.strange = NULL;
    }
    dnas_genomes_release(&p->g);
    if (g->files[p->file].path && dnas_is_regular_file(g->files[p->file].path, &size))
        j->done_bytes += size;
    dnas_progress("indexing", "sequences", g->n_records, j->done_bytes, j->total_bytes);
    return 0;
}

static int read_files(struct job *j, struct dnas_err *err)
{
    int n_threads = j->o->n_threads;
    struct dnas_pipeline p = {.fill = fill,
                              .work = work,
                              .drain = drain,
                              .ctx = j,
                              .n_slots = n_threads == 1 ? 1 : 2 * n_threads,
                              .n_threads = n_threads};
    int status;

    j->parts = dnas_xzalloc((size_t)p.n_slots, sizeof(*j->parts));
    j->buffers = dnas_xalloc((size_t)n_threads, sizeof(*j->buffers));
    for (int i = 0; i < n_threads; i++)
        j->buffers[i] = dnas_xalloc(BUFFER_BYTES, 1);
    status = dnas_pipeline_run(&p, err);
    for (int i = 0; i < n_threads; i++)
        free(j->buffers[i]);
    for (int i = 0; i < p.n_slots; i++)
        dnas_genomes_release(&j->parts[i].g);
    free(j->buffers);
    free(j->parts);
    return status;
}

/* ---- by species ---- */

/* qsort has no context: what decides is copied beside the number. */
struct key {
    const char *name, *id;
    uint32_t length_bp, number;
};

static int by_species_and_length(const void *a, const void *b)
{
    const struct key *x = a, *y = b;
    int order = x->name == y->name ? 0 : strcmp(x->name, y->name);

    if (order != 0)
        return order;
    if (x->length_bp != y->length_bp)
        return x->length_bp > y->length_bp ? -1 : 1;
    order = strcmp(x->id, y->id);
    return order != 0 ? order : x->number < y->number ? -1 : x->number > y->number;
}

static void sort_species(struct dnas_genomes *g)
{
    struct key *keys = dnas_xalloc(g->n_seqs, sizeof(*keys));
    struct dnas_genome_species *sp = NULL;

    for (size_t i = 0; i < g->n_seqs; i++)
        keys[i] = (struct key){dnas_idmap_text(&g->names, g->seqs[i].species),
                               g->texts + g->seqs[i].id, g->seqs[i].length_bp, (uint32_t)i};
    qsort(keys, g->n_seqs, sizeof(*keys), by_species_and_length);
    g->species = dnas_xzalloc(g->names.n, sizeof(*g->species));
    g->by_species = dnas_xalloc(g->n_seqs, sizeof(*g->by_species));
    g->before = dnas_xalloc(g->n_seqs, sizeof(*g->before));
    for (size_t i = 0; i < g->n_seqs; i++) {
        struct dnas_genome_seq *q = &g->seqs[keys[i].number];

        if (i == 0 || keys[i].name != keys[i - 1].name) {
            sp = &g->species[g->n_species++];
            sp->name = q->species;
            sp->first = i;
        }
        q->species = (uint32_t)(g->n_species - 1);
        g->by_species[i] = keys[i].number;
        g->before[i] = sp->length_bp;
        sp->length_bp += q->length_bp;
        sp->n++;
    }
    free(keys);
}

int dnas_genomes_index(struct dnas_genomes *g, char *const *paths, int n_paths,
                       const struct dnas_genomes_options *o, struct dnas_err *err)
{
    struct job j = {.g = g, .o = o};

    *g = (struct dnas_genomes){.n_files = n_paths > 0 ? (size_t)n_paths : 1};
    g->files = dnas_xzalloc(g->n_files, sizeof(*g->files));
    for (int i = 0; i < n_paths; i++) {
        uint64_t size;

        g->files[i].path = strcmp(paths[i], "-") == 0 ? NULL : paths[i];
        if (g->files[i].path && dnas_is_regular_file(paths[i], &size))
            j.total_bytes += size;
    }
    if (read_files(&j, err) != 0)
        return -1;
    sort_species(g);
    return 0;
}

void dnas_genomes_release(struct dnas_genomes *g)
{
    for (size_t i = 0; i < g->n_files; i++)
        if (g->files[i].spool)
            fclose(g->files[i].spool);
    free(g->files);
    free(g->seqs);
    free(g->runs);
    free(g->texts);
    dnas_idmap_release(&g->names);
    free(g->species);
    free(g->by_species);
    free(g->before);
    free(g->strange);
    *g = (struct dnas_genomes){0};
}

/* ---- what is asked of it ---- */

const char *dnas_genomes_id(const struct dnas_genomes *g, size_t seq)
{
    return g->texts + g->seqs[seq].id;
}

const char *dnas_genomes_species_name(const struct dnas_genomes *g, size_t species)
{
    return dnas_idmap_text(&g->names, g->species[species].name);
}

size_t dnas_genomes_of_file(const struct dnas_genomes *g, size_t file, size_t *first)
{
    *first = g->files[file].first_seq;
    return (file + 1 < g->n_files ? g->files[file + 1].first_seq : g->n_seqs) - *first;
}

/* Letters other than bases before position p. */
static uint32_t other_before(const struct dnas_genome_run *runs, size_t n, uint32_t p)
{
    size_t low = 0, high = n; /* runs[low - 1].start < p <= runs[high].start */
    uint32_t inside;

    while (low < high) {
        size_t mid = low + (high - low) / 2;

        if (runs[mid].start < p)
            low = mid + 1;
        else
            high = mid;
    }
    if (low == 0)
        return 0;
    inside = p - runs[low - 1].start;
    return runs[low - 1].before + (inside < runs[low - 1].n ? inside : runs[low - 1].n);
}

uint32_t dnas_genomes_count_other(const struct dnas_genomes *g, size_t seq, uint32_t start,
                                  uint32_t n)
{
    const struct dnas_genome_seq *q = &g->seqs[seq];
    const struct dnas_genome_run *runs = g->runs + q->run;

    if (q->n_runs == 0)
        return 0;
    return other_before(runs, q->n_runs, start + n) - other_before(runs, q->n_runs, start);
}
