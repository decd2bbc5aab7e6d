/* SPDX-License-Identifier: MIT
 *
 * benchmark.c - labelled sequences as FASTA.  Contract: benchmark.h.
 */
#include "common/benchmark.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/msg.h"
#include "common/threads.h"
#include "common/xmem.h"

#define LINE_BP 80
#define CHUNK_BYTES (512u << 10)
#define CHUNK_ROWS 1024

struct slot {
    uint64_t first;
    size_t n;
    struct dnas_text letters, text;
};

struct job {
    struct dnas_benchmark *b;
    const struct dnas_genomes *g;
    struct dnas_out *out;
    struct dnas_excerpt *excerpt;
    struct dnas_window *windows; /* [n_windows] by species, then drawn */
    size_t n_windows, windows_cap;
    uint64_t *order; /* [n_windows] in which they are written */
    char **labels;   /* [n_species] */
    uint64_t next;
    size_t chunk;
    struct slot *slots;
};

/* The species' names without white space, since a label in a header ends there. */
static int make_labels(struct job *j, struct dnas_err *err)
{
    struct dnas_idmap seen = {0};
    int status = 0;

    j->labels = dnas_xzalloc(j->g->n_species, sizeof(*j->labels));
    for (size_t i = 0; status == 0 && i < j->g->n_species; i++) {
        j->labels[i] = dnas_xstrdup(dnas_genomes_species_name(j->g, i));
        for (char *c = j->labels[i]; *c; c++)
            if (*c == ' ' || *c == '\t')
                *c = '_';
        if (dnas_idmap_add(&seen, j->labels[i], strlen(j->labels[i])) != i)
            status = dnas_err_set(err, "two species would both be called '%s': rename one",
                                  j->labels[i]);
    }
    dnas_idmap_release(&seen);
    return status;
}

static void draw_species(struct job *j, size_t species)
{
    struct dnas_benchmark *b = j->b;
    struct dnas_window *w;
    struct dnas_rng rng;
    size_t n, got;

    dnas_rng_init(&rng, b->seed, DNAS_RNG_BENCHMARK_SPECIES, 0, (uint32_t)species);
    n = dnas_range_draw(&b->per_species, &rng);
    j->windows = dnas_xgrow(j->windows, &j->windows_cap, j->n_windows + n, sizeof(*j->windows));
    w = j->windows + j->n_windows;
    got = dnas_windows_draw_many(w, n, j->g, species, &b->length, &rng);
    if (got < b->per_species.low) {
        dnas_species_list_add(&b->skipped, species);
        return;
    }
    for (size_t i = 0; i < got; i++)
        w[i].strand = b->both_strands && dnas_rng_below(&rng, 2) ? '-' : '+';
    j->n_windows += got;
    b->n_species++;
}

static int draw_all(struct job *j, struct dnas_err *err)
{
    struct dnas_rng rng;

    for (size_t i = 0; i < j->g->n_species; i++) {
        draw_species(j, i);
        dnas_progress("drawing", "species", i + 1, i + 1, j->g->n_species);
    }
    if (j->n_windows == 0)
        return dnas_err_set(err,
                            "none of %zu species has room for %" PRIu32 " sequences of %" PRIu32
                            " letters or more; try fewer, or a shorter --length",
                            j->g->n_species, j->b->per_species.low, j->b->length.low);
    for (size_t i = 0; i < j->n_windows; i++)
        dnas_excerpt_mark(j->excerpt, j->windows[i].seq, j->windows[i].start,
                          j->windows[i].length_bp);
    j->order = dnas_xalloc(j->n_windows, sizeof(*j->order));
    dnas_rng_init(&rng, j->b->seed, DNAS_RNG_BENCHMARK_ORDER, 0, 0);
    dnas_rng_sample(&rng, j->order, j->n_windows, j->n_windows);
    return 0;
}

static void append_lines(struct dnas_text *t, const char *letters, size_t n)
{
    for (size_t i = 0; i < n; i += LINE_BP) {
        dnas_text_append(t, letters + i, n - i < LINE_BP ? n - i : LINE_BP);
        dnas_text_append(t, "\n", 1);
    }
}

static int fill(void *ctx, int slot, struct dnas_err *err)
{
    struct job *j = ctx;
    struct slot *s = &j->slots[slot];
    uint64_t left = j->n_windows - j->next;

    (void)err;
    s->first = j->next;
    s->n = left < j->chunk ? (size_t)left : j->chunk;
    j->next += s->n;
    return s->n > 0;
}

static int work(void *ctx, int slot, int worker, struct dnas_err *err)
{
    struct job *j = ctx;
    struct slot *s = &j->slots[slot];

    (void)worker;
    s->text.n = 0;
    for (size_t k = 0; k < s->n; k++) {
        const struct dnas_window *w = &j->windows[j->order[s->first + k]];

        s->letters.n = 0;
        if (dnas_window_letters(&s->letters, j->excerpt, w, err) != 0)
            return -1;
        dnas_text_printf(&s->text, ">seq%06" PRIu64 " label=%s source=", s->first + k + 1,
                         j->labels[j->g->seqs[w->seq].species]);
        dnas_window_name(&s->text, j->g, w);
        dnas_text_append(&s->text, "\n", 1);
        append_lines(&s->text, s->letters.data, s->letters.n);
    }
    return 0;
}

static int drain(void *ctx, int slot, struct dnas_err *err)
{
    struct job *j = ctx;
    struct slot *s = &j->slots[slot];

    if (dnas_out_write(j->out, s->text.data, s->text.n, err) != 0)
        return -1;
    j->b->n_sequences += s->n;
    dnas_progress("writing", "sequences", j->b->n_sequences, j->b->n_sequences, j->n_windows);
    return 0;
}

static int write_all(struct job *j, struct dnas_err *err)
{
    struct dnas_pipeline p = {.fill = fill,
                              .work = work,
                              .drain = drain,
                              .ctx = j,
                              .n_slots = j->b->n_threads == 1 ? 1 : 2 * j->b->n_threads,
                              .n_threads = j->b->n_threads};
    int status;

    j->chunk = CHUNK_BYTES / j->b->length.high;
    j->chunk = j->chunk < 1 ? 1 : j->chunk > CHUNK_ROWS ? CHUNK_ROWS : j->chunk;
    j->slots = dnas_xzalloc((size_t)p.n_slots, sizeof(*j->slots));
    status = dnas_pipeline_run(&p, err);
    for (int i = 0; i < p.n_slots; i++) {
        free(j->slots[i].letters.data);
        free(j->slots[i].text.data);
    }
    free(j->slots);
    return status;
}

int dnas_benchmark_run(struct dnas_benchmark *b, const struct dnas_genomes *g, struct dnas_out *out,
                       struct dnas_err *err)
{
    struct job j = {.b = b, .g = g, .out = out, .excerpt = dnas_excerpt_new(g)};
    int status = make_labels(&j, err);

    if (status == 0)
        status = draw_all(&j, err);
    if (status == 0)
        status = dnas_excerpt_load(j.excerpt, DNAS_PAIRS_STORE_BYTES, b->n_threads, err);
    if (status == 0)
        status = write_all(&j, err);
    for (size_t i = 0; i < g->n_species; i++)
        free(j.labels[i]);
    free(j.labels);
    free(j.order);
    free(j.windows);
    dnas_excerpt_free(j.excerpt);
    return status;
}
