/* SPDX-License-Identifier: MIT
 *
 * pairs.c - which species, which windows, what is done to them.  Contract: pairs.h.
 */
#include "common/pairs.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/msg.h"
#include "common/threads.h"
#include "common/xmem.h"

#define CHUNK_BYTES (512u << 10) /* letters of the pairs that a thread makes at a time, about */
#define CHUNK_PAIRS 256

enum pairs_column { COL_ID, COL_A, COL_B, COL_SPLIT, COL_LABEL };

struct pair {
    uint32_t species;
    uint8_t split;
    size_t id, a, b, end; /* where its texts begin in the slot's */
};

struct slot {
    uint64_t first; /* number of its first pair */
    size_t n;
    struct pair pairs[CHUNK_PAIRS];
    struct dnas_text text;
};

/* Says in turn, from pair 0 on, of which species and split a pair is. */
struct turns {
    uint64_t next;
    uint64_t *order;   /* [n_usable] of the present round, balanced by species */
    uint64_t n_chosen; /* pairs of the validation so far */
};

struct job {
    struct dnas_pairs *p;
    const struct dnas_genomes *g;
    struct dnas_writer *w;
    struct dnas_excerpt *excerpt;
    struct dnas_species_list usable;
    uint64_t *upto;        /* [n_usable] letters of the usable species up to and with this one */
    bool *is_validation;   /* [n_usable], by species */
    uint64_t n_validation; /* pairs, by pair */
    struct turns turns;
    struct slot *slots;
    size_t chunk;
};

void dnas_species_list_add(struct dnas_species_list *l, size_t species)
{
    l->v = dnas_xgrow(l->v, &l->cap, l->n + 1, sizeof(*l->v));
    l->v[l->n++] = (uint32_t)species;
}

size_t dnas_pairs_windows_needed(const struct dnas_pairs *p)
{
    return p->positives == DNAS_POSITIVES_SPECIES ? 2 : 1;
}

void dnas_pairs_header(struct dnas_header *h)
{
    dnas_header_init(h, DNAS_PAIRS);
    dnas_header_add_column(h, "id", DNAS_UTF8, true, 0);
    dnas_header_add_column(h, "seq_a", DNAS_UTF8, true, 0);
    dnas_header_add_column(h, "seq_b", DNAS_UTF8, true, 0);
    dnas_header_add_column(h, "split", DNAS_U8, false, 0);
    dnas_header_add_column(h, "label", DNAS_UTF8, true, 0);
}

/* ---- which species ---- */

static int find_usable(struct job *j, struct dnas_err *err)
{
    size_t needed = dnas_pairs_windows_needed(j->p);
    uint64_t letters = 0;

    for (size_t i = 0; i < j->g->n_species; i++)
        if (dnas_windows_count(j->g, i, j->p->length.low, needed, NULL) == needed)
            dnas_species_list_add(&j->usable, i);
        else
            dnas_species_list_add(&j->p->skipped, i);
    if (j->usable.n == 0)
        return dnas_err_set(err,
                            "none of %zu species has %s of %" PRIu32 " letters%s; try a shorter "
                            "--length",
                            j->g->n_species, needed == 1 ? "a window" : "two windows",
                            j->p->length.low, needed == 1 ? "" : " that do not overlap");
    j->upto = dnas_xalloc(j->usable.n, sizeof(*j->upto));
    for (size_t i = 0; i < j->usable.n; i++) {
        letters += j->g->species[j->usable.v[i]].length_bp;
        j->upto[i] = letters;
    }
    return 0;
}

/* Chooses the species of the validation: the rounded share of them, but one at
 * least, and not all where not all are asked for. */
static int split_species(struct job *j, struct dnas_err *err)
{
    size_t n = j->usable.n, n_chosen = (size_t)llround(j->p->validation * (double)n);
    struct dnas_rng rng;
    uint64_t *drawn;

    j->is_validation = dnas_xzalloc(n, sizeof(*j->is_validation));
    if (j->p->validation > 0 && n_chosen == 0)
        n_chosen = 1;
    if (j->p->validation < 1 && n_chosen == n)
        n_chosen = n - 1;
    if (n_chosen == 0 && j->p->validation > 0)
        return dnas_err_set(err, "one species cannot be split: use --validate-by pair, or give "
                                 "genomes of more species");
    drawn = dnas_xalloc(n_chosen, sizeof(*drawn));
    dnas_rng_init(&rng, j->p->seed, DNAS_RNG_PAIRS_SPLIT, 0, 0);
    dnas_rng_sample(&rng, drawn, n_chosen, n);
    for (size_t i = 0; i < n_chosen; i++)
        j->is_validation[drawn[i]] = true;
    free(drawn);
    return 0;
}

/* The usable species in whose letters the x-th one is. */
static size_t species_at(const struct job *j, uint64_t x)
{
    size_t low = 0, high = j->usable.n - 1;

    while (low < high) {
        size_t mid = low + (high - low) / 2;

        if (j->upto[mid] <= x)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

static size_t draw_species(struct job *j)
{
    struct turns *t = &j->turns;
    size_t n = j->usable.n;
    uint64_t round = t->next / n;
    struct dnas_rng rng;

    if (j->p->balance == DNAS_BALANCE_SIZE) {
        dnas_rng_init(&rng, j->p->seed, DNAS_RNG_PAIRS_SPECIES, 0, (uint32_t)t->next);
        return species_at(j, dnas_rng_below(&rng, j->upto[n - 1]));
    }
    if (t->next % n == 0) { /* a round: each species once */
        dnas_rng_init(&rng, j->p->seed, DNAS_RNG_PAIRS_SPECIES, 1, (uint32_t)round);
        dnas_rng_sample(&rng, t->order, n, n);
    }
    return (size_t)t->order[t->next % n];
}

/* By pair: exactly the rounded share of all pairs, any of them as likely
 * (selection sampling: Knuth, The Art of Computer Programming 2, 3.4.2 S). */
static bool choose_pair(struct job *j)
{
    struct dnas_rng rng;
    double left = (double)(j->p->n_pairs - j->turns.next);
    bool chosen;

    dnas_rng_init(&rng, j->p->seed, DNAS_RNG_PAIRS_SPLIT, 1, (uint32_t)j->turns.next);
    chosen = dnas_rng_uniform(&rng) * left < (double)(j->n_validation - j->turns.n_chosen);
    j->turns.n_chosen += chosen;
    return chosen;
}

static void next_turn(struct job *j, struct pair *pair)
{
    size_t i = draw_species(j);

    pair->species = j->usable.v[i];
    pair->split = j->is_validation ? j->is_validation[i] : choose_pair(j);
    j->turns.next++;
}

/* ---- which windows ---- */

/* Pair i of this species.  The second window of other positives is where the
 * first one is. */
static void draw_windows(const struct job *j, struct dnas_window w[2], uint64_t i, size_t species)
{
    const struct dnas_pairs *p = j->p;
    struct dnas_rng rng;

    dnas_rng_init(&rng, p->seed, DNAS_RNG_PAIRS_WINDOWS, 0, (uint32_t)i);
    if (p->positives == DNAS_POSITIVES_SPECIES) {
        dnas_windows_draw_two(w, j->g, species, &p->length, &rng);
        for (int k = 0; k < 2; k++)
            w[k].strand = p->both_strands && dnas_rng_below(&rng, 2) ? '-' : '+';
        return;
    }
    dnas_windows_draw_one(&w[0], j->g, species, &p->length, &rng);
    w[0].strand = p->both_strands && dnas_rng_below(&rng, 2) ? '-' : '+';
    w[1] = w[0];
    if (p->positives == DNAS_POSITIVES_STRAND && p->complement_only)
        w[1].strand = w[0].strand == '+' ? 'c' : 'r';
    else if (p->positives == DNAS_POSITIVES_STRAND)
        w[1].strand = w[0].strand == '+' ? '-' : '+';
}

static void start_turns(struct job *j)
{
    j->turns.next = j->turns.n_chosen = 0;
}

static void mark_all(struct job *j)
{
    start_turns(j);
    for (uint64_t i = 0; i < j->p->n_pairs; i++) {
        struct dnas_window w[2];
        struct pair pair;

        next_turn(j, &pair);
        draw_windows(j, w, i, pair.species);
        for (size_t k = 0; k < dnas_pairs_windows_needed(j->p); k++)
            dnas_excerpt_mark(j->excerpt, w[k].seq, w[k].start, w[k].length_bp);
        if (i % 1024 == 0)
            dnas_progress("drawing", "pairs", i, i, j->p->n_pairs);
    }
}

/* ---- rows ---- */

/* Appends the second sequence of pair i, whose first one begins at `a`. */
static int append_second(const struct job *j, struct dnas_text *t, uint64_t i, size_t a,
                         const struct dnas_window *w, struct dnas_err *err)
{
    struct dnas_rng rng;

    if (j->p->positives != DNAS_POSITIVES_MUTATION)
        return dnas_window_letters(t, j->excerpt, w, err);
    /* Room for the worst case: the text must not move while it is read. */
    t->data = dnas_xgrow(t->data, &t->cap, t->n + 2 * (size_t)w->length_bp + 1, 1);
    dnas_rng_init(&rng, j->p->seed, DNAS_RNG_PAIRS_MUTATION, 0, (uint32_t)i);
    dnas_mutate(t, t->data + a, w->length_bp, j->p->rate, j->p->profile, &rng);
    return 0;
}

static int make_pair(const struct job *j, struct slot *s, size_t k, struct dnas_err *err)
{
    struct pair *pair = &s->pairs[k];
    uint64_t i = s->first + k;
    struct dnas_window w[2];

    draw_windows(j, w, i, pair->species);
    pair->id = s->text.n;
    dnas_text_printf(&s->text, "%" PRIu64 "/", i + 1);
    dnas_window_name(&s->text, j->g, &w[0]);
    dnas_text_append(&s->text, "/", 1);
    dnas_window_name(&s->text, j->g, &w[1]);
    pair->a = s->text.n;
    if (dnas_window_letters(&s->text, j->excerpt, &w[0], err) != 0)
        return -1;
    pair->b = s->text.n;
    if (append_second(j, &s->text, i, pair->a, &w[1], err) != 0)
        return -1;
    pair->end = s->text.n;
    return 0;
}

static int fill(void *ctx, int slot, struct dnas_err *err)
{
    struct job *j = ctx;
    struct slot *s = &j->slots[slot];
    uint64_t left = j->p->n_pairs - j->turns.next;

    (void)err;
    s->first = j->turns.next;
    s->n = left < j->chunk ? (size_t)left : j->chunk;
    for (size_t k = 0; k < s->n; k++)
        next_turn(j, &s->pairs[k]);
    return s->n > 0;
}

static int work(void *ctx, int slot, int worker, struct dnas_err *err)
{
    struct job *j = ctx;
    struct slot *s = &j->slots[slot];

    (void)worker;
    s->text.n = 0;
    for (size_t k = 0; k < s->n; k++)
        if (make_pair(j, s, k, err) != 0)
            return -1;
    return 0;
}

static int drain(void *ctx, int slot, struct dnas_err *err)
{
    struct job *j = ctx;
    struct slot *s = &j->slots[slot];

    for (size_t k = 0; k < s->n; k++) {
        const struct pair *pair = &s->pairs[k];

        dnas_writer_cell(j->w, COL_ID, s->text.data + pair->id, pair->a - pair->id);
        dnas_writer_cell(j->w, COL_A, s->text.data + pair->a, pair->b - pair->a);
        dnas_writer_cell(j->w, COL_B, s->text.data + pair->b, pair->end - pair->b);
        dnas_writer_cell(j->w, COL_SPLIT, &pair->split, 1);
        dnas_writer_text(j->w, COL_LABEL, dnas_genomes_species_name(j->g, pair->species));
        if (dnas_writer_end_row(j->w, err) != 0)
            return -1;
        j->p->n_validation += pair->split;
    }
    dnas_progress("writing", "pairs", dnas_writer_rows(j->w), dnas_writer_rows(j->w),
                  j->p->n_pairs);
    return 0;
}

static int write_all(struct job *j, struct dnas_err *err)
{
    struct dnas_pipeline p = {.fill = fill,
                              .work = work,
                              .drain = drain,
                              .ctx = j,
                              .n_slots = j->p->n_threads == 1 ? 1 : 2 * j->p->n_threads,
                              .n_threads = j->p->n_threads};
    int status;

    j->chunk = CHUNK_BYTES / (2 * (size_t)j->p->length.high);
    j->chunk = j->chunk < 1 ? 1 : j->chunk > CHUNK_PAIRS ? CHUNK_PAIRS : j->chunk;
    j->slots = dnas_xzalloc((size_t)p.n_slots, sizeof(*j->slots));
    start_turns(j);
    status = dnas_pipeline_run(&p, err);
    for (int i = 0; i < p.n_slots; i++)
        free(j->slots[i].text.data);
    free(j->slots);
    return status;
}

int dnas_pairs_run(struct dnas_pairs *p, const struct dnas_genomes *g, struct dnas_writer *w,
                   struct dnas_err *err)
{
    struct job j = {.p = p, .g = g, .w = w};
    int status = find_usable(&j, err);

    if (p->n_pairs > UINT32_MAX)
        DNAS_BUG("%" PRIu64 " pairs", p->n_pairs);
    if (status == 0 && p->validate_by == DNAS_VALIDATE_BY_SPECIES)
        status = split_species(&j, err);
    j.n_validation = (uint64_t)llround(p->validation * (double)p->n_pairs);
    if (status == 0) {
        j.turns.order = dnas_xalloc(j.usable.n, sizeof(*j.turns.order));
        j.excerpt = dnas_excerpt_new(g);
        mark_all(&j);
        status = dnas_excerpt_load(j.excerpt, DNAS_PAIRS_STORE_BYTES, p->n_threads, err);
    }
    if (status == 0)
        status = write_all(&j, err);
    dnas_excerpt_free(j.excerpt);
    free(j.turns.order);
    free(j.is_validation);
    free(j.upto);
    free(j.usable.v);
    return status;
}
