/* SPDX-License-Identifier: MIT
 *
 * train_step_cut.h - which of a step's sequences run together on a GPU: chunks of
 * so many tokens, for train_step_cuda.c.
 *
 * A batch that is not mixed has one kind of chunk.  Of a mixed one, a group of
 * pairs after the other: its first members up to the layer, whose states are then
 * mixed, and its mixed rows from there on; after the groups come second members.
 */
#ifndef DNAS_TRAIN_STEP_CUT_H
#define DNAS_TRAIN_STEP_CUT_H

#include "common/train_step_run.h"

#ifdef __cplusplus
extern "C" {
#endif

/* All layers; those below the mixing; those above. */
enum dnas_chunk_kind { DNAS_CHUNK_WHOLE, DNAS_CHUNK_LOWER, DNAS_CHUNK_UPPER };

struct dnas_chunk {
    enum dnas_chunk_kind kind;
    size_t from, n;  /* sequences, in the order of dnas_step_call_row */
    size_t T, first; /* tokens; the first row of passes (pass.h) */
    size_t at;       /* of its first row in the states of its group */
    size_t group;    /* 0: the first */
};

struct dnas_step_cut {
    size_t room;     /* tokens of a chunk, at least those of one sequence */
    size_t together; /* pairs of a group; perm stays within them */
    size_t n_chunks;
    struct dnas_chunk *chunks; /* none is empty */
    bool is_kept;              /* all have rows of their own in passes of `room` rows */
    /* Where first members and mixed rows begin in the states of their group, by the pair's number
     * in the share. */
    size_t *lower_at, *upper_at;
};

/* For shares of at most max_pairs pairs; release with dnas_step_cut_release. */
void dnas_step_cut_init(struct dnas_step_cut *cut, size_t max_pairs);
void dnas_step_cut_release(struct dnas_step_cut *cut);

/* Cuts the sequences of a call; room and together are set. */
void dnas_step_cut_call(struct dnas_step_cut *cut, const struct dnas_step_call *call);

/* The tokens of sequence i of the share, as a chunk of this kind has them. */
size_t dnas_step_cut_length(const struct dnas_step_call *call, enum dnas_chunk_kind kind, size_t i);

#ifdef __cplusplus
}
#endif
#endif
