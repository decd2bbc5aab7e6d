/* SPDX-License-Identifier: MIT
 *
 * windows.c - places in genomes, drawn at random.  Contract: windows.h.
 *
 * A place is drawn by its number among all places of a length.  The sequences
 * of a species lie in falling order of length, so those that hold the length
 * are the first k, and the number of places in the first j of them is
 * before[j] - j (length - 1): two binary searches, and no place is favoured
 * however a genome is cut into contigs.
 */
#include "common/windows.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/err.h"
#include "common/mutate.h"
#include "common/xmem.h"

#define MAX_OTHER 20   /* one letter in so many may be other than A, C, G, T: 5 % */
#define MAX_TRIES 1000 /* of a place */
#define MAX_PAIRS 100  /* of a pair */

/* Places of one sequence where a window may not begin: from..to. */
struct forbidden {
    size_t rank; /* the sequence, by its rank within the species */
    int64_t from, to;
};

static const char *parse_number(uint32_t *out, const char *text, uint32_t max)
{
    unsigned long long v;
    char *end;

    if (*text < '0' || *text > '9')
        return NULL;
    errno = 0;
    v = strtoull(text, &end, 10);
    if (errno || v < 1 || v > max)
        return NULL;
    *out = (uint32_t)v;
    return end;
}

bool dnas_range_parse(struct dnas_range *r, const char *text, uint32_t max)
{
    text = parse_number(&r->low, text, max);
    if (!text)
        return false;
    r->high = r->low;
    if (*text == '-')
        text = parse_number(&r->high, text + 1, max);
    return text && !*text && r->low <= r->high;
}

uint32_t dnas_range_draw(const struct dnas_range *r, struct dnas_rng *rng)
{
    double low = r->low;
    double x;

    if (r->low == r->high)
        return r->low;
    x = floor(low * pow(((double)r->high + 1) / low, dnas_rng_uniform(rng)));
    return x > r->high ? r->high : x < low ? r->low : (uint32_t)x; /* rounding at the ends */
}

/* ---- places ---- */

static uint32_t seq_at(const struct dnas_genomes *g, size_t species, size_t rank)
{
    return g->by_species[g->species[species].first + rank];
}

static uint32_t length_at(const struct dnas_genomes *g, size_t species, size_t rank)
{
    return g->seqs[seq_at(g, species, rank)].length_bp;
}

/* How many sequences of the species hold the length: the first ones. */
static size_t n_holding(const struct dnas_genomes *g, size_t species, uint32_t length_bp)
{
    size_t low = 0, high = g->species[species].n;

    while (low < high) {
        size_t mid = low + (high - low) / 2;

        if (length_at(g, species, mid) >= length_bp)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

/* Places in the sequences before this rank, all of which hold the length. */
static uint64_t places_before(const struct dnas_genomes *g, size_t species, size_t rank,
                              uint32_t length_bp)
{
    const struct dnas_genome_species *sp = &g->species[species];
    uint64_t letters = rank < sp->n ? g->before[sp->first + rank] : sp->length_bp;

    return letters - (uint64_t)rank * (length_bp - 1);
}

/* Sets the window to the place with this number; returns the sequence's rank. */
static size_t find_place(struct dnas_window *w, const struct dnas_genomes *g, size_t species,
                         size_t n, uint64_t number)
{
    size_t low = 0, high = n; /* places_before(low) <= number < places_before(high) */

    while (high - low > 1) {
        size_t mid = low + (high - low) / 2;

        if (places_before(g, species, mid, w->length_bp) <= number)
            low = mid;
        else
            high = mid;
    }
    w->seq = seq_at(g, species, low);
    w->start = (uint32_t)(number - places_before(g, species, low, w->length_bp));
    return low;
}

static bool is_good(const struct dnas_genomes *g, const struct dnas_window *w)
{
    return (uint64_t)dnas_genomes_count_other(g, w->seq, w->start, w->length_bp) * MAX_OTHER <=
           w->length_bp;
}

/* Draws a place for the window, whose length is set, and the rank of its
 * sequence; f may be NULL. */
static bool draw_place(struct dnas_window *w, size_t *rank, const struct dnas_genomes *g,
                       size_t species, const struct forbidden *f, struct dnas_rng *rng)
{
    size_t n = n_holding(g, species, w->length_bp);
    uint64_t n_places = places_before(g, species, n, w->length_bp), n_forbidden = 0, from = 0;

    if (f && f->rank < n) {
        int64_t last = (int64_t)length_at(g, species, f->rank) - w->length_bp;
        int64_t low = f->from > 0 ? f->from : 0, high = f->to < last ? f->to : last;

        n_forbidden = high >= low ? (uint64_t)(high - low + 1) : 0;
        from = places_before(g, species, f->rank, w->length_bp) + (uint64_t)low;
    }
    if (n_places == n_forbidden)
        return false;
    for (int i = 0; i < MAX_TRIES; i++) {
        uint64_t number = dnas_rng_below(rng, n_places - n_forbidden);

        if (n_forbidden > 0 && number >= from)
            number += n_forbidden;
        *rank = find_place(w, g, species, n, number);
        if (is_good(g, w))
            return true;
    }
    return false;
}

/* A length that the species' longest sequence holds. */
static uint32_t draw_length(const struct dnas_genomes *g, size_t species,
                            const struct dnas_range *r, struct dnas_rng *rng)
{
    uint32_t longest = length_at(g, species, 0);
    const struct dnas_range held = {r->low, r->high < longest ? r->high : longest};

    return dnas_range_draw(&held, rng);
}

static bool try_two(struct dnas_window w[2], const struct dnas_genomes *g, size_t species,
                    const struct dnas_range *r, struct dnas_rng *rng)
{
    struct forbidden f = {.rank = 0};
    bool one_holds_both;
    size_t rank;

    w[0].length_bp = draw_length(g, species, r, rng);
    w[1].length_bp = draw_length(g, species, r, rng);
    /* Where only the longest sequence holds the second one, the first one must
     * leave room for it there, on its left or on its right. */
    one_holds_both = n_holding(g, species, w[1].length_bp) == 1;
    f.from = (int64_t)length_at(g, species, 0) - w[0].length_bp - w[1].length_bp + 1;
    f.to = (int64_t)w[1].length_bp - 1;
    if (!draw_place(&w[0], &rank, g, species, one_holds_both ? &f : NULL, rng))
        return false;
    f.rank = rank;
    f.from = (int64_t)w[0].start - w[1].length_bp + 1;
    f.to = (int64_t)w[0].start + w[0].length_bp - 1;
    return draw_place(&w[1], &rank, g, species, &f, rng);
}

/* ---- windows one behind the other ---- */

/* Moves the window on to where it is good: false where it never is again.
 * A step changes the count of other letters by one at most, so that a surplus
 * of n takes n steps to lose. */
static bool find_good(const struct dnas_genomes *g, struct dnas_window *w)
{
    uint64_t start = w->start;

    while (start + w->length_bp <= g->seqs[w->seq].length_bp) {
        uint32_t other, allowed = w->length_bp / MAX_OTHER;

        w->start = (uint32_t)start;
        other = dnas_genomes_count_other(g, w->seq, w->start, w->length_bp);
        if (other <= allowed)
            return true;
        start += other - allowed;
    }
    return false;
}

size_t dnas_windows_count(const struct dnas_genomes *g, size_t species, uint32_t length_bp,
                          size_t enough, struct dnas_window *out)
{
    size_t n = 0;

    for (size_t rank = 0; rank < g->species[species].n && n < enough; rank++) {
        struct dnas_window w = {
            .seq = seq_at(g, species, rank), .length_bp = length_bp, .strand = '+'};

        while (n < enough && find_good(g, &w)) {
            if (out)
                out[n] = w;
            n++;
            if ((uint64_t)w.start + length_bp > UINT32_MAX)
                break;
            w.start += length_bp;
        }
    }
    return n;
}

void dnas_windows_draw_one(struct dnas_window *w, const struct dnas_genomes *g, size_t species,
                           const struct dnas_range *r, struct dnas_rng *rng)
{
    size_t rank;

    w->strand = '+';
    w->length_bp = draw_length(g, species, r, rng);
    if (!draw_place(w, &rank, g, species, NULL, rng) &&
        dnas_windows_count(g, species, r->low, 1, w) < 1)
        DNAS_BUG("a species without a window");
}

void dnas_windows_draw_two(struct dnas_window w[2], const struct dnas_genomes *g, size_t species,
                           const struct dnas_range *r, struct dnas_rng *rng)
{
    w[0].strand = w[1].strand = '+';
    for (int i = 0; i < MAX_PAIRS; i++)
        if (try_two(w, g, species, r, rng))
            return;
    if (dnas_windows_count(g, species, r->low, 2, w) < 2)
        DNAS_BUG("a species without two windows");
    if (dnas_rng_below(rng, 2) == 1) {
        struct dnas_window first = w[0];

        w[0] = w[1];
        w[1] = first;
    }
}

struct tiles {
    struct dnas_window *v;
    size_t n, cap;
};

/* Fills a sequence with windows, beginning where chance says among the places
 * that cost no window of the least length. */
static void tile(struct tiles *t, const struct dnas_genomes *g, uint32_t seq,
                 const struct dnas_range *r, struct dnas_rng *rng)
{
    uint32_t length_bp = g->seqs[seq].length_bp;
    uint64_t at = dnas_rng_below(rng, length_bp % r->low + (uint64_t)1);

    while (at + r->low <= length_bp) {
        uint64_t left = length_bp - at;
        struct dnas_range held = {r->low, left < r->high ? (uint32_t)left : r->high};
        struct dnas_window w = {.seq = seq, .start = (uint32_t)at, .strand = '+'};

        w.length_bp = dnas_range_draw(&held, rng);
        if (!find_good(g, &w)) {
            if (w.length_bp == r->low)
                return;
            w.start = (uint32_t)at;
            w.length_bp = r->low;
            if (!find_good(g, &w))
                return;
        }
        t->v = dnas_xgrow(t->v, &t->cap, t->n + 1, sizeof(*t->v));
        t->v[t->n++] = w;
        at = (uint64_t)w.start + w.length_bp;
    }
}

size_t dnas_windows_draw_many(struct dnas_window *out, size_t n, const struct dnas_genomes *g,
                              size_t species, const struct dnas_range *r, struct dnas_rng *rng)
{
    struct tiles t = {0};
    uint64_t *drawn;

    for (size_t rank = 0; rank < g->species[species].n; rank++)
        tile(&t, g, seq_at(g, species, rank), r, rng);
    n = t.n < n ? t.n : n;
    drawn = dnas_xalloc(n, sizeof(*drawn));
    dnas_rng_sample(rng, drawn, n, t.n);
    for (size_t i = 0; i < n; i++)
        out[i] = t.v[drawn[i]];
    free(drawn);
    free(t.v);
    return n;
}

/* ---- letters ---- */

void dnas_window_orient(char *letters, size_t n, char strand)
{
    if (strand == '-' || strand == 'c')
        dnas_complement(letters, n);
    if (strand == '-' || strand == 'r')
        dnas_reverse(letters, n);
}

int dnas_window_letters(struct dnas_text *out, const struct dnas_excerpt *e,
                        const struct dnas_window *w, struct dnas_err *err)
{
    char *at;

    out->data = dnas_xgrow(out->data, &out->cap, out->n + w->length_bp + 1, 1);
    at = out->data + out->n;
    if (dnas_excerpt_read(e, at, w->seq, w->start, w->length_bp, err) != 0)
        return -1;
    dnas_window_orient(at, w->length_bp, w->strand);
    out->n += w->length_bp;
    out->data[out->n] = '\0';
    return 0;
}

void dnas_window_name(struct dnas_text *out, const struct dnas_genomes *g,
                      const struct dnas_window *w)
{
    const char *id = dnas_genomes_id(g, w->seq);

    dnas_text_append(out, id, strlen(id));
    dnas_text_printf(out, ":%" PRIu32 "-%" PRIu32 "%c", w->start + 1, w->start + w->length_bp,
                     w->strand);
}
