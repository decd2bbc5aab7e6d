/* SPDX-License-Identifier: MIT
 *
 * kmer_windows.c - windows from genomes.  Contract: kmer_windows.h.
 *
 * Two passes: lengths first, which say where a species' windows may lie; then
 * the letters, a sequence at a time.  What cannot be read twice is held.
 */
#include "common/kmer_windows.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "common/msg.h"
#include "common/rng.h"
#include "common/seq.h"
#include "common/xmem.h"

#define CHUNK ((size_t)1 << 16)

struct record {
    uint64_t length;
    uint32_t species;
    size_t held; /* where its letters are held; SIZE_MAX: in the file */
    size_t first, n_windows;
};

struct window {
    size_t record, start, length;
};

struct draw {
    struct dnas_kmer_windows *w;
    struct dnas_seq_options options;
    struct record *records;
    size_t n_records, records_cap;
    struct dnas_idmap species, genera;
    uint32_t *genus; /* [species.n] */
    size_t genus_cap;
    char *held;
    size_t n_held, held_cap;
    struct window *windows;
    size_t n_windows;
    char *letters; /* of the sequence at hand */
    size_t letters_cap;
};

/* The name of a file without its folder, up to the first dot. */
static char *stem(const char *path)
{
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;

    return dnas_xstrndup(name, strcspn(name, "."));
}

static uint32_t find_species(struct draw *d, const char *name)
{
    size_t before = d->species.n, s = dnas_idmap_add(&d->species, name, strlen(name));

    if (d->species.n > before) {
        d->genus = dnas_xgrow(d->genus, &d->genus_cap, s + 1, sizeof(*d->genus));
        d->genus[s] = (uint32_t)dnas_idmap_add(&d->genera, name, strcspn(name, "_ "));
    }
    return (uint32_t)s;
}

/* ---- lengths ---- */

/* Reads the record to its end and returns its letters' number, or -1; they are held if asked. */
static ptrdiff_t read_length(struct draw *d, struct dnas_seq *s, bool hold, struct dnas_err *err)
{
    ptrdiff_t total = 0;

    for (;;) {
        size_t at = hold ? d->n_held : 0;
        ptrdiff_t n;

        d->held = dnas_xgrow(d->held, &d->held_cap, at + CHUNK, 1);
        n = dnas_seq_read(s, d->held + at, CHUNK, err);
        if (n < 0)
            return -1;
        total += n;
        d->n_held = at + (hold ? (size_t)n : 0);
        if (n < (ptrdiff_t)CHUNK)
            return total;
    }
}

static int add_record(struct draw *d, struct dnas_seq *s, const char *path, bool hold,
                      struct dnas_err *err)
{
    struct record r = {.held = hold ? d->n_held : SIZE_MAX};
    ptrdiff_t length = read_length(d, s, hold, err);
    const char *label = dnas_seq_label(s);
    char *name;

    if (length < 0)
        return -1;
    name = *label || !path ? dnas_xstrdup(label) : stem(path);
    if (!*name) {
        free(name);
        return dnas_err_set(err, "%s has no label: give label=SPECIES in the header, or --labels",
                            dnas_seq_place(s));
    }
    r.length = (uint64_t)length;
    r.species = find_species(d, name);
    free(name);
    d->records = dnas_xgrow(d->records, &d->records_cap, d->n_records + 1, sizeof(*d->records));
    d->records[d->n_records++] = r;
    return 0;
}

/* path NULL: standard input. */
static int measure_file(struct draw *d, const char *path, bool hold, struct dnas_err *err)
{
    char *paths[1] = {(char *)path};
    struct dnas_seq *s = dnas_seq_open(d->w->first, paths, path ? 1 : 0, &d->options, err);
    int status = -1;

    d->w->first = NULL;
    if (s && dnas_seq_is_csv(s))
        dnas_err_set(err, "%s: holds pairs without species, not genomes", path ? path : "input");
    else if (s)
        while ((status = dnas_seq_next(s, err)) == 1 &&
               (status = add_record(d, s, path, hold, err)) == 0)
            ;
    dnas_seq_close(s);
    return status;
}

/* ---- places ---- */

static int by_place(const void *a, const void *b)
{
    const struct window *x = a, *y = b;

    if (x->record != y->record)
        return x->record < y->record ? -1 : 1;
    if (x->start != y->start)
        return x->start < y->start ? -1 : 1;
    return (x->length > y->length) - (x->length < y->length);
}

/* One window of the species whose records are of [n]; ends: their letters' running sums. */
static struct window draw_window(const struct draw *d, const size_t *of, const uint64_t *ends,
                                 size_t n, uint32_t species, uint32_t number)
{
    double lo = log((double)d->w->min_bp), hi = log((double)d->w->max_bp);
    size_t low = 0, high = n - 1;
    struct window w;
    struct dnas_rng rng;
    uint64_t place, room;

    dnas_rng_init(&rng, d->w->seed, DNAS_RNG_KMER_WINDOWS, species, number);
    w.length = (size_t)llround(exp(lo + (hi - lo) * dnas_rng_uniform(&rng)));
    place = dnas_rng_below(&rng, ends[n - 1]);
    while (low < high) { /* the first record that ends behind the place */
        size_t middle = (low + high) / 2;

        if (ends[middle] > place)
            high = middle;
        else
            low = middle + 1;
    }
    w.record = of[low];
    room = d->records[w.record].length;
    w.length = w.length < room ? w.length : (size_t)room;
    w.start = (size_t)dnas_rng_below(&rng, room - w.length + 1);
    return w;
}

static void draw_species(struct draw *d, size_t species, size_t *of, uint64_t *ends, size_t n)
{
    uint64_t total = 0;

    for (size_t i = 0; i < n; i++)
        ends[i] = total += d->records[of[i]].length;
    for (size_t i = 0; total > 0 && i < d->w->n_per_species; i++)
        d->windows[d->n_windows++] = draw_window(d, of, ends, n, (uint32_t)species, (uint32_t)i);
}

static void draw_all(struct draw *d)
{
    size_t *next = dnas_xzalloc(d->species.n + 1, sizeof(*next));
    size_t *of = dnas_xalloc(d->n_records, sizeof(*of));
    uint64_t *ends = dnas_xalloc(d->n_records, sizeof(*ends));

    d->windows = dnas_xalloc(d->species.n, d->w->n_per_species * sizeof(*d->windows));
    /* Records by species, in their order. */
    for (size_t r = 0; r < d->n_records; r++)
        next[d->records[r].species + 1]++;
    for (size_t s = 0; s < d->species.n; s++)
        next[s + 1] += next[s];
    for (size_t r = 0; r < d->n_records; r++)
        of[next[d->records[r].species]++] = r;
    for (size_t s = 0; s < d->species.n; s++) {
        size_t first = s ? next[s - 1] : 0;

        draw_species(d, s, of + first, ends, next[s] - first);
    }
    qsort(d->windows, d->n_windows, sizeof(*d->windows), by_place);
    for (size_t i = d->n_windows; i-- > 0;) {
        d->records[d->windows[i].record].first = i;
        d->records[d->windows[i].record].n_windows++;
    }
    free(next);
    free(of);
    free(ends);
}

/* ---- letters ---- */

static int hand_over(struct draw *d, const struct record *r, const char *letters,
                     struct dnas_err *err)
{
    const char **at = dnas_xalloc(r->n_windows, sizeof(*at));
    size_t *lengths = dnas_xalloc(r->n_windows, sizeof(*lengths));
    int status;

    for (size_t i = 0; i < r->n_windows; i++) {
        at[i] = letters + d->windows[r->first + i].start;
        lengths[i] = d->windows[r->first + i].length;
    }
    status =
        d->w->take(d->w->ctx, at, lengths, r->n_windows, r->species, d->genus[r->species], err);
    free(at);
    free(lengths);
    return status;
}

static int read_letters(struct draw *d, struct dnas_seq *s, const struct record *r,
                        struct dnas_err *err)
{
    ptrdiff_t n;

    d->letters = dnas_xgrow(d->letters, &d->letters_cap, (size_t)r->length + 1, 1);
    n = dnas_seq_read(s, d->letters, (size_t)r->length + 1, err);
    if (n >= 0 && (uint64_t)n != r->length)
        return dnas_err_set(err, "%s has another length than a moment ago", dnas_seq_place(s));
    return n < 0 ? -1 : 0;
}

/* The windows of n records of a file, which begin with r. */
static int take_file(struct draw *d, const char *path, const struct record *r, size_t n,
                     struct dnas_err *err)
{
    char *paths[1] = {(char *)path};
    struct dnas_seq *s = dnas_seq_open(NULL, paths, 1, &d->options, err);
    int status = s ? 0 : -1;

    for (size_t i = 0; status == 0 && i < n; i++) {
        status = dnas_seq_next(s, err);
        if (status == 0)
            status = dnas_err_set(err, "%s: has fewer sequences than a moment ago", path);
        else if (status == 1)
            status = r[i].n_windows == 0 ? 0 : read_letters(d, s, &r[i], err);
        if (status == 0 && r[i].n_windows > 0)
            status = hand_over(d, &r[i], d->letters, err);
        dnas_progress("counting", "sequences", (uint64_t)(&r[i] - d->records), 0, 0);
    }
    dnas_seq_close(s);
    return status;
}

static int take_held(struct draw *d, const struct record *r, size_t n, struct dnas_err *err)
{
    int status = 0;

    for (size_t i = 0; status == 0 && i < n; i++)
        if (r[i].n_windows > 0)
            status = hand_over(d, &r[i], d->held + r[i].held, err);
    return status;
}

static bool is_standard_input(const char *path)
{
    return strcmp(path, "-") == 0;
}

static int run(struct draw *d, char *const *paths, int n_paths, size_t *ends, struct dnas_err *err)
{
    for (int i = 0; i < n_paths; i++) {
        bool hold = !dnas_is_regular_file(paths[i], NULL);

        if (measure_file(d, is_standard_input(paths[i]) ? NULL : paths[i], hold, err) != 0)
            return -1;
        ends[i] = d->n_records;
    }
    if (d->n_records == 0)
        return dnas_err_set(err, "%s: has no sequences to learn from",
                            is_standard_input(paths[0]) ? "standard input" : paths[0]);
    draw_all(d);
    for (int i = 0; i < n_paths; i++) {
        size_t first = i ? ends[i - 1] : 0, n = ends[i] - first;
        const struct record *r = d->records + first;
        int status = 0;

        if (n > 0)
            status =
                r->held == SIZE_MAX ? take_file(d, paths[i], r, n, err) : take_held(d, r, n, err);
        if (status != 0)
            return -1;
    }
    return 0;
}

int dnas_kmer_windows_run(struct dnas_kmer_windows *w, char *const *paths, int n_paths,
                          struct dnas_err *err)
{
    static char *const standard_input[] = {(char *)"-"};
    /* Contigs of different genomes may share a name: it is not written anywhere. */
    struct draw d = {.w = w, .options = {.allow_duplicate_ids = true, .labels = w->labels}};
    size_t *ends;
    int status;

    if (n_paths == 0) {
        paths = standard_input;
        n_paths = 1;
    }
    ends = dnas_xalloc((size_t)n_paths, sizeof(*ends));
    status = run(&d, paths, n_paths, ends, err);
    dnas_progress_end();
    w->n_records = d.n_records;
    free(ends);
    free(d.records);
    free(d.genus);
    free(d.held);
    free(d.windows);
    free(d.letters);
    dnas_idmap_release(&d.species);
    dnas_idmap_release(&d.genera);
    return status;
}
