/* SPDX-License-Identifier: MIT
 *
 * train_step_cut.c - a step's sequences in chunks.  Contract: train_step_cut.h.
 */
#include "common/train_step_cut.h"

#include <stdlib.h>

#include "common/pass.h"
#include "common/xmem.h"

void dnas_step_cut_init(struct dnas_step_cut *cut, size_t max_pairs)
{
    *cut = (struct dnas_step_cut){
        .chunks = dnas_xalloc(3 * max_pairs, sizeof(*cut->chunks)),
        .lower_at = dnas_xalloc(max_pairs, sizeof(*cut->lower_at)),
        .upper_at = dnas_xalloc(max_pairs, sizeof(*cut->upper_at)),
    };
}

void dnas_step_cut_release(struct dnas_step_cut *cut)
{
    free(cut->chunks);
    free(cut->lower_at);
    free(cut->upper_at);
    *cut = (struct dnas_step_cut){.room = 0};
}

size_t dnas_step_cut_length(const struct dnas_step_call *c, enum dnas_chunk_kind kind, size_t i)
{
    size_t row = dnas_step_call_row(c, i), T = c->batch->T[row], other;

    if (kind != DNAS_CHUNK_UPPER)
        return T;
    other = c->batch->T[c->mix->perm[row]];
    return other < T ? other : T;
}

/* Adds chunks of the sequences from..from+n-1 of a group, which begin at row `first` where all is
 * kept. */
static void add(struct dnas_step_cut *cut, const struct dnas_step_call *c,
                enum dnas_chunk_kind kind, size_t group, size_t from, size_t n, size_t first)
{
    struct dnas_chunk *y = NULL;
    size_t total = 0;

    for (size_t i = from; i < from + n; i++) {
        size_t T = dnas_step_cut_length(c, kind, i);

        if (!y || (!cut->is_kept && y->T + T > cut->room)) {
            y = &cut->chunks[cut->n_chunks++];
            *y = (struct dnas_chunk){.kind = kind,
                                     .from = i,
                                     .first = cut->is_kept ? first : 0,
                                     .at = total,
                                     .group = group};
        }
        y->n++;
        y->T += T;
        total += T;
    }
}

/* Rows of passes for first members and second members, as they are. */
static size_t rows(const struct dnas_step_call *c, size_t from, size_t n)
{
    size_t sum = 0;

    for (size_t i = from; i < from + n; i++)
        sum += dnas_step_cut_length(c, DNAS_CHUNK_WHOLE, i);
    return sum;
}
static size_t aligned_rows(const struct dnas_step_call *c, size_t from, size_t n)
{
    return (rows(c, from, n) + DNAS_PASS_ALIGNED - 1) / DNAS_PASS_ALIGNED * DNAS_PASS_ALIGNED;
}

/* Where the first members of a group and its mixed rows lie in its states. */
static void lay_out(struct dnas_step_cut *cut, const struct dnas_step_call *c, size_t from,
                    size_t n)
{
    size_t lower = 0, upper = 0;

    for (size_t i = from; i < from + n; i++) {
        size_t other = c->mix->perm[c->from + i];

        if (other < c->from + from || other >= c->from + from + n)
            DNAS_BUG("row %zu is mixed with %zu, of another group or process", c->from + i, other);
        cut->lower_at[i] = lower;
        cut->upper_at[i] = upper;
        lower += dnas_step_cut_length(c, DNAS_CHUNK_LOWER, i);
        upper += dnas_step_cut_length(c, DNAS_CHUNK_UPPER, i);
    }
}

void dnas_step_cut_call(struct dnas_step_cut *cut, const struct dnas_step_call *c)
{
    size_t n = c->to - c->from, group = cut->together, first = 0;

    cut->n_chunks = 0;
    if (!c->mix) {
        cut->is_kept = rows(c, 0, 2 * n) <= cut->room;
        add(cut, c, DNAS_CHUNK_WHOLE, 0, 0, 2 * n, 0);
        return;
    }
    for (size_t from = 0; from < n; from += group)
        first += aligned_rows(c, from, n - from < group ? n - from : group);
    cut->is_kept = first + rows(c, n, n) <= cut->room;
    first = 0;
    for (size_t from = 0; from < n; from += group) {
        size_t size = n - from < group ? n - from : group;

        lay_out(cut, c, from, size);
        add(cut, c, DNAS_CHUNK_LOWER, from / group, from, size, first);
        add(cut, c, DNAS_CHUNK_UPPER, from / group, from, size, first);
        first += aligned_rows(c, from, size);
    }
    add(cut, c, DNAS_CHUNK_WHOLE, 0, n, n, first);
}
