/* SPDX-License-Identifier: MIT
 *
 * seq.h - sequences from FASTA, FASTQ and DNABERT-S's tables, in pieces.
 *
 * A record's letters are handed out in pieces, so that a chromosome needs no
 * more memory than a read.  Bad input is an error that names file and record,
 * never a shorter result.
 */
#ifndef DNAS_SEQ_H
#define DNAS_SEQ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/err.h"
#include "common/idmap.h"
#include "common/io.h"

#ifdef __cplusplus
extern "C" {
#endif

struct dnas_seq_options {
    bool keep_case;                   /* else a-z become A-Z, then U becomes T */
    bool allow_duplicate_ids;         /* else an id that comes twice is an error */
    uint64_t truncate_bp;             /* only the first letters of each record; 0: all */
    const struct dnas_labels *labels; /* go before tags in headers; NULL: none */
    uint32_t shard, n_shards;         /* this contiguous part (by letters) of n; 0, 0: all.  Regular
                                         files only: they are read twice. */
};

struct dnas_seq;

/* Opens the files, read one after the other; none: standard input.
 *   FASTA, FASTQ   id up to the first white space; label from the tag label= or species=
 *   TSV            a header line, then sequence<TAB>label; the id is the number of the row
 *   CSV            sequence,sequence: a pair; both members have the number of the row as id
 * first is the first file, open already and perhaps peeked at (taken, also on an
 * error), or NULL.  The paths and options are borrowed.  NULL on an error. */
struct dnas_seq *dnas_seq_open(struct dnas_in *first, char *const *paths, int n_paths,
                               const struct dnas_seq_options *options, struct dnas_err *err);
/* Goes to the next record: 1, 0 at the end of the last file, -1 on an error.
 * What is left of the present record is checked and skipped. */
int dnas_seq_next(struct dnas_seq *s, struct dnas_err *err);
/* The next letters of the record into buf: cap of them, fewer (or 0) when the
 * record ends with them, -1 on an error.  cap of 0 is a bug. */
ptrdiff_t dnas_seq_read(struct dnas_seq *s, char *buf, size_t cap, struct dnas_err *err);

const char *dnas_seq_id(const struct dnas_seq *s);
/* The label, "" where there is none; for tables only when the record has been
 * read to its end. */
const char *dnas_seq_label(const struct dnas_seq *s);
/* Whether the first file is a CSV of pairs. */
bool dnas_seq_is_csv(const struct dnas_seq *s);
/* 0 or 1 for the members of a CSV pair, else -1. */
int dnas_seq_pair_member(const struct dnas_seq *s);
/* The place for messages: "reads.fa: record 17 ('ctg17')". */
const char *dnas_seq_place(struct dnas_seq *s);
/* Letters outside A, C, G, T so far, among those handed out. */
uint64_t dnas_seq_n_other(const struct dnas_seq *s);
uint64_t dnas_seq_n_records(const struct dnas_seq *s);
/* Bytes of the files read so far, and in all (0: not known), for progress. */
void dnas_seq_progress(const struct dnas_seq *s, uint64_t *done, uint64_t *total);
/* Says at the end, where it is so, that ids were without a label in --labels
 * and that there were letters outside A, C, G, T. */
void dnas_seq_notes(const struct dnas_seq *s);
/* NULL is fine. */
void dnas_seq_close(struct dnas_seq *s);

/* ---- batches of pieces, for dnas_pipeline ---- */

struct dnas_piece {
    size_t letters, n; /* where in the batch's letters, and how many */
    size_t n_new;      /* without those repeated from the piece before */
    size_t id, label;  /* where in the batch's text; label valid where is_last */
    uint64_t record;   /* number of the record, from 0 */
    uint32_t part;     /* number of the piece within the record, from 0 */
    bool is_last;      /* the record ends with it */
    int8_t pair_member;
};

struct dnas_batch {
    char *letters;
    size_t n_letters, letters_cap;
    char *text;
    size_t n_text, text_cap;
    struct dnas_piece *pieces;
    size_t n_pieces, pieces_cap;
};

struct dnas_batch_options {
    size_t letters;       /* fill up to about so many letters */
    bool whole;           /* a record is one piece, however long */
    size_t window_bp;     /* else pieces of so many letters; 0: of any number */
    size_t min_window_bp; /* 1 or more: a last piece shorter than this joins its neighbour */
    size_t overlap; /* where window_bp is 0: letters of the piece before that a piece repeats */
};

/* Fills the batch (emptied first) with the next pieces: 1, 0 at the end, -1.
 * With pieces of any number a record may end with one that has no new letters. */
int dnas_batch_fill(struct dnas_batch *b, struct dnas_seq *s, const struct dnas_batch_options *o,
                    struct dnas_err *err);
void dnas_batch_release(struct dnas_batch *b);

#ifdef __cplusplus
}
#endif
#endif
