/* SPDX-License-Identifier: MIT
 *
 * windows.h - places in genomes, drawn at random.
 *
 * A window is a stretch of one sequence in which at most 5 % of the letters are
 * other than A, C, G, T.  All draws are functions of the random numbers handed
 * in, and of the index alone.
 */
#ifndef DNAS_WINDOWS_H
#define DNAS_WINDOWS_H

#include "common/excerpt.h"
#include "common/rng.h"
#include "common/text.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Whole numbers from low to high, both included. */
struct dnas_range {
    uint32_t low, high;
};

struct dnas_window {
    uint32_t seq;   /* its number in the index */
    uint32_t start; /* counted from 0 */
    uint32_t length_bp;
    char strand; /* '+', '-', or of what is no strand of DNA: 'c' the complement without
                    reversing, 'r' reversed without complementing */
};

/* "10000" or "2000-20000", numbers of 1..max, the first no more than the
 * second.  Whether text is that. */
bool dnas_range_parse(struct dnas_range *r, const char *text, uint32_t max);

/* Log-uniform: P(x) = log((x + 1) / x) / log((high + 1) / low). */
uint32_t dnas_range_draw(const struct dnas_range *r, struct dnas_rng *rng);

/* How many windows of the least length a species has that do not overlap,
 * counted up to `enough`; they go to out (room for `enough`; may be NULL). */
size_t dnas_windows_count(const struct dnas_genomes *g, size_t species, uint32_t length_bp,
                          size_t enough, struct dnas_window *out);

/* A window of a species that has one (dnas_windows_count): its length is drawn
 * from those of r that the longest sequence holds, then its place, all places
 * in all sequences that hold it being equally likely.  What has too many other
 * letters is redrawn, a thousand times; then the first window there is is taken. */
void dnas_windows_draw_one(struct dnas_window *w, const struct dnas_genomes *g, size_t species,
                           const struct dnas_range *r, struct dnas_rng *rng);
/* Two windows of a species that has two, which do not overlap; the second one
 * lies anywhere outside the first, which leaves room for it.  What does not
 * work out is redrawn likewise. */
void dnas_windows_draw_two(struct dnas_window w[2], const struct dnas_genomes *g, size_t species,
                           const struct dnas_range *r, struct dnas_rng *rng);

/* n windows of a species, none overlapping another, in random order, drawn
 * from as many as fit one behind the other with lengths drawn from r.  Returns
 * how many there are: fewer than n where there is no room for more.
 *   out  [n] */
size_t dnas_windows_draw_many(struct dnas_window *out, size_t n, const struct dnas_genomes *g,
                              size_t species, const struct dnas_range *r, struct dnas_rng *rng);

/* Letters of the '+' strand to those of `strand`, in place. */
void dnas_window_orient(char *letters, size_t n, char strand);
/* Appends the window's letters, of its strand, to out.  0 or -1. */
int dnas_window_letters(struct dnas_text *out, const struct dnas_excerpt *e,
                        const struct dnas_window *w, struct dnas_err *err);
/* Appends "SEQUENCE:START-END+", counted from 1, both ends included. */
void dnas_window_name(struct dnas_text *out, const struct dnas_genomes *g,
                      const struct dnas_window *w);

#ifdef __cplusplus
}
#endif
#endif
