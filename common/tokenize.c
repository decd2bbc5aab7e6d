/* SPDX-License-Identifier: MIT
 *
 * tokenize.c - letters to tokens, window by window.  Contract: tokenize.h.
 */
#include "common/tokenize.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/msg.h"
#include "common/threads.h"
#include "common/xmem.h"
#include "kernels/kernels.h"

#define BATCH_LETTERS (256u << 10)
#define HELD_BYTES (8u << 20)
#define MIN_WINDOW_BP 1000

enum token_column { TOK_ID, TOK_TOKENS, TOK_PART, TOK_PARTS, TOK_LENGTH, TOK_LABEL };
enum csv_column { CSV_ID, CSV_A, CSV_B, CSV_SPLIT, CSV_LABEL };

struct slot {
    struct dnas_batch batch;
    struct dnas_ids ids; /* of all pieces */
    size_t *start;       /* [n_pieces + 1] */
    size_t start_cap;
    uint64_t n_unknown, n_cut;
    uint64_t done_bytes, total_bytes;
};

/* Windows of one sequence that wait for their number. */
struct held {
    struct dnas_ids ids;
    struct {
        size_t n_tokens;
        uint32_t bp;
    } * windows;
    size_t n, cap;
    FILE *spill;      /* what came before `ids`; NULL: nothing */
    size_t n_spilled; /* windows in it */
};

struct job {
    struct dnas_tokenize *t;
    struct dnas_writer *w;
    struct dnas_seq *seq;
    struct slot *slots;
    struct dnas_bpe_encoder **encoders; /* [n_threads] */
    bool is_csv;
    struct held held;
    struct dnas_ids first; /* the first member of a pair */
};

size_t dnas_min_window(size_t window_bp)
{
    size_t tenth = window_bp / 10;

    return tenth > MIN_WINDOW_BP ? MIN_WINDOW_BP : tenth > 0 ? tenth : 1;
}

json_t *dnas_tokenize_describe(const struct dnas_tokenize *t, uint64_t truncate_bp, bool keep_case)
{
    return json_pack("{s:s, s:I, s:I, s:I, s:b}", "tokenizer", dnas_tokenizer_hash(t->tokenizer),
                     "max_tokens", (json_int_t)t->max_tokens, "window_bp", (json_int_t)t->window_bp,
                     "truncate_bp", (json_int_t)truncate_bp, "keep_case", (int)keep_case);
}

void dnas_tokenize_header(struct dnas_header *h, json_t *tokens)
{
    dnas_header_init(h, DNAS_TOKENS);
    dnas_header_add_column(h, "id", DNAS_UTF8, true, 0);
    dnas_header_add_column(h, "tokens", DNAS_U16, true, 0);
    dnas_header_add_column(h, "part", DNAS_U32, false, 0);
    dnas_header_add_column(h, "parts", DNAS_U32, false, 0);
    dnas_header_add_column(h, "length_bp", DNAS_U32, false, 0);
    dnas_header_add_column(h, "label", DNAS_UTF8, true, 0);
    h->tokens = tokens;
}

void dnas_tokenize_csv_header(struct dnas_header *h, json_t *tokens)
{
    dnas_header_init(h, DNAS_PAIRS);
    dnas_header_add_column(h, "id", DNAS_UTF8, true, 0);
    dnas_header_add_column(h, "tokens_a", DNAS_U16, true, 0);
    dnas_header_add_column(h, "tokens_b", DNAS_U16, true, 0);
    dnas_header_add_column(h, "split", DNAS_U8, false, 0);
    dnas_header_add_column(h, "label", DNAS_UTF8, true, 0);
    h->tokens = tokens;
}

/* One row's ids, with the special tokens, behind those in `ids`. */
static void encode(const struct dnas_tokenize *t, struct dnas_bpe_encoder *encoder,
                   const char *letters, size_t n, struct dnas_ids *ids, uint64_t *n_unknown,
                   uint64_t *n_cut)
{
    size_t start = ids->n;

    dnas_tokenizer_encode(t->tokenizer, encoder, letters, n, ids, n_unknown);
    if (t->max_tokens && ids->n - start + dnas_tokenizer_n_specials(t->tokenizer) > t->max_tokens)
        ++*n_cut;
    dnas_tokenizer_wrap(t->tokenizer, ids, start, t->max_tokens);
}

static int fill(void *ctx, int slot, struct dnas_err *err)
{
    struct job *j = ctx;
    struct slot *s = &j->slots[slot];
    const struct dnas_batch_options o = {.letters = BATCH_LETTERS,
                                         .whole = j->is_csv || j->t->window_bp == 0,
                                         .window_bp = j->t->window_bp,
                                         .min_window_bp = dnas_min_window(j->t->window_bp)};
    int status = dnas_batch_fill(&s->batch, j->seq, &o, err);

    dnas_seq_progress(j->seq, &s->done_bytes, &s->total_bytes);
    return status;
}

static int work(void *ctx, int slot, int worker, struct dnas_err *err)
{
    struct job *j = ctx;
    struct slot *s = &j->slots[slot];

    (void)err;
    s->ids.n = 0;
    s->n_unknown = s->n_cut = 0;
    s->start = dnas_xgrow(s->start, &s->start_cap, s->batch.n_pieces + 1, sizeof(*s->start));
    for (size_t i = 0; i < s->batch.n_pieces; i++) {
        const struct dnas_piece *p = &s->batch.pieces[i];

        s->start[i] = s->ids.n;
        encode(j->t, j->encoders[worker], s->batch.letters + p->letters, p->n, &s->ids,
               &s->n_unknown, &s->n_cut);
    }
    s->start[s->batch.n_pieces] = s->ids.n;
    return 0;
}

static void append_ids(struct dnas_ids *to, const uint16_t *from, size_t n)
{
    to->v = dnas_xgrow(to->v, &to->cap, to->n + n, sizeof(*to->v));
    if (n > 0)
        memcpy(to->v + to->n, from, n * sizeof(*from));
    to->n += n;
}

/* Puts a window aside, and all of them into a file when they are many. */
static int hold(struct held *h, const uint16_t *ids, size_t n, uint32_t bp, struct dnas_err *err)
{
    h->windows = dnas_xgrow(h->windows, &h->cap, h->n + 1, sizeof(*h->windows));
    h->windows[h->n].n_tokens = n;
    h->windows[h->n++].bp = bp;
    append_ids(&h->ids, ids, n);
    if (h->ids.n * sizeof(*h->ids.v) < HELD_BYTES)
        return 0;
    if (!h->spill)
        h->spill = dnas_temporary_open(err);
    if (!h->spill)
        return -1;
    if (fwrite(h->ids.v, sizeof(*h->ids.v), h->ids.n, h->spill) != h->ids.n)
        return dnas_temporary_failed(err);
    h->ids.n = 0;
    h->n_spilled = h->n;
    return 0;
}

static int write_window(struct job *j, const char *id, const char *label, const uint16_t *ids,
                        size_t n, uint32_t bp, uint32_t part, uint32_t parts, struct dnas_err *err)
{
    dnas_writer_text(j->w, TOK_ID, id);
    dnas_writer_cell(j->w, TOK_TOKENS, ids, n);
    dnas_writer_cell(j->w, TOK_PART, &part, 1);
    dnas_writer_cell(j->w, TOK_PARTS, &parts, 1);
    dnas_writer_cell(j->w, TOK_LENGTH, &bp, 1);
    dnas_writer_text(j->w, TOK_LABEL, label);
    return dnas_writer_end_row(j->w, err);
}

/* Writes the windows that were put aside, their number now known. */
static int release_held(struct job *j, const char *id, const char *label, struct dnas_err *err)
{
    struct held *h = &j->held;
    struct dnas_ids back = {0};
    size_t at = 0;
    int status = 0;

    if (h->spill)
        rewind(h->spill);
    for (size_t i = 0; status == 0 && i < h->n; i++) {
        size_t n = h->windows[i].n_tokens;
        const uint16_t *ids = h->ids.v + at;

        if (i < h->n_spilled) {
            back.n = 0;
            back.v = dnas_xgrow(back.v, &back.cap, n, sizeof(*back.v));
            ids = back.v;
            if (fread(back.v, sizeof(*back.v), n, h->spill) != n)
                status = dnas_temporary_failed(err);
        } else {
            at += n;
        }
        if (status == 0)
            status = write_window(j, id, label, ids, n, h->windows[i].bp, (uint32_t)i,
                                  (uint32_t)h->n, err);
    }
    free(back.v);
    if (h->spill)
        fclose(h->spill);
    h->spill = NULL;
    h->n = h->n_spilled = h->ids.n = 0;
    return status;
}

static int drain_window(struct job *j, const struct slot *s, size_t i, struct dnas_err *err)
{
    const struct dnas_piece *p = &s->batch.pieces[i];
    const uint16_t *ids = s->ids.v + s->start[i];
    const char *id = s->batch.text + p->id, *label = s->batch.text + p->label;
    size_t n = s->start[i + 1] - s->start[i];

    if (p->part == 0 && p->is_last)
        return write_window(j, id, label, ids, n, (uint32_t)p->n, 0, 1, err);
    if (hold(&j->held, ids, n, (uint32_t)p->n, err) != 0)
        return -1;
    return p->is_last ? release_held(j, id, label, err) : 0;
}

static int drain_pair(struct job *j, const struct slot *s, size_t i, struct dnas_err *err)
{
    const struct dnas_piece *p = &s->batch.pieces[i];
    const uint16_t *ids = s->ids.v + s->start[i];
    size_t n = s->start[i + 1] - s->start[i];
    uint8_t split = 0;

    if (p->pair_member == 0) {
        j->first.n = 0;
        append_ids(&j->first, ids, n);
        return 0;
    }
    dnas_writer_text(j->w, CSV_ID, s->batch.text + p->id);
    dnas_writer_cell(j->w, CSV_A, j->first.v, j->first.n);
    dnas_writer_cell(j->w, CSV_B, ids, n);
    dnas_writer_cell(j->w, CSV_SPLIT, &split, 1);
    dnas_writer_text(j->w, CSV_LABEL, "");
    return dnas_writer_end_row(j->w, err);
}

static int drain(void *ctx, int slot, struct dnas_err *err)
{
    struct job *j = ctx;
    struct slot *s = &j->slots[slot];

    for (size_t i = 0; i < s->batch.n_pieces; i++) {
        bool is_pair = s->batch.pieces[i].pair_member >= 0;

        if (is_pair != j->is_csv)
            return dnas_err_set(err, "files of pairs (CSV) and of sequences cannot be mixed");
        if ((is_pair ? drain_pair(j, s, i, err) : drain_window(j, s, i, err)) != 0)
            return -1;
    }
    j->t->n_tokens += s->ids.n;
    j->t->n_unknown += s->n_unknown;
    j->t->n_cut += s->n_cut;
    dnas_progress("tokenizing", "rows", dnas_writer_rows(j->w), s->done_bytes, s->total_bytes);
    return 0;
}

static int run(struct dnas_tokenize *t, struct dnas_writer *w, struct dnas_seq *s, bool is_csv,
               struct dnas_err *err)
{
    struct job j = {.t = t, .w = w, .seq = s, .is_csv = is_csv};
    struct dnas_pipeline p = {.fill = fill,
                              .work = work,
                              .drain = drain,
                              .ctx = &j,
                              .n_slots = t->n_threads == 1 ? 1 : 2 * t->n_threads,
                              .n_threads = t->n_threads};
    int status;

    j.slots = dnas_xzalloc((size_t)p.n_slots, sizeof(*j.slots));
    j.encoders = dnas_xalloc((size_t)t->n_threads, sizeof(*j.encoders));
    for (int i = 0; i < t->n_threads; i++)
        j.encoders[i] = dnas_bpe_encoder_new();
    status = dnas_pipeline_run(&p, err);
    for (int i = 0; i < t->n_threads; i++)
        dnas_bpe_encoder_free(j.encoders[i]);
    for (int i = 0; i < p.n_slots; i++) {
        dnas_batch_release(&j.slots[i].batch);
        free(j.slots[i].ids.v);
        free(j.slots[i].start);
    }
    if (j.held.spill)
        fclose(j.held.spill);
    free(j.held.ids.v);
    free(j.held.windows);
    free(j.first.v);
    free(j.encoders);
    free(j.slots);
    return status;
}

int dnas_tokenize_run(struct dnas_tokenize *t, struct dnas_writer *w, struct dnas_seq *s,
                      struct dnas_err *err)
{
    return run(t, w, s, false, err);
}

int dnas_tokenize_csv(struct dnas_tokenize *t, struct dnas_writer *w, struct dnas_seq *s,
                      struct dnas_err *err)
{
    return run(t, w, s, true, err);
}

/* ---- PAIRS ---- */

int dnas_tokenize_pairs_header(struct dnas_header *h, const struct dnas_reader *r, json_t *tokens,
                               struct dnas_err *err)
{
    static const char *const from[] = {"seq_a", "seq_b"};
    static const char *const to[] = {"tokens_a", "tokens_b"};

    dnas_header_copy(h, dnas_reader_header(r));
    json_decref(h->tokens);
    h->tokens = tokens;
    h->shard = h->n_shards = 0;
    for (int i = 0; i < 2; i++) {
        int c = dnas_header_find(h, from[i]);

        if (c < 0 || h->columns[c].type != DNAS_UTF8)
            return dnas_err_set(err,
                                "%s: has no column '%s' of sequences: is it tokenized already?",
                                dnas_reader_name(r), from[i]);
        free(h->columns[c].name);
        h->columns[c].name = dnas_xstrdup(to[i]);
        h->columns[c].type = DNAS_U16;
    }
    return 0;
}

struct pair_block {
    struct dnas_tokenize *t;
    const struct dnas_block *block;
    int column[2];
    uint64_t truncate_bp;
    struct dnas_ids *ids;        /* [2 rows] */
    uint64_t *n_unknown, *n_cut; /* [2 rows] */
    struct dnas_bpe_encoder **encoders;
    struct dnas_ids *letters; /* [n_threads] scratch, as bytes */
};

/* Task i is member i mod 2 of row i / 2. */
static void encode_member(void *ctx, size_t i, int worker)
{
    struct pair_block *p = ctx;
    struct dnas_ids *scratch = &p->letters[worker];
    size_t n;
    const char *text = dnas_block_ragged(p->block, p->column[i % 2], (uint32_t)(i / 2), &n);

    if (p->truncate_bp && n > p->truncate_bp)
        n = (size_t)p->truncate_bp;
    scratch->v = dnas_xgrow(scratch->v, &scratch->cap, n / 2 + 1, sizeof(*scratch->v));
    dnas_cpu_letters_copy((char *)scratch->v, text, n, p->t->keep_case);
    p->ids[i].n = 0;
    p->n_unknown[i] = p->n_cut[i] = 0;
    encode(p->t, p->encoders[worker], (char *)scratch->v, n, &p->ids[i], &p->n_unknown[i],
           &p->n_cut[i]);
}

static int write_pairs(struct pair_block *p, struct dnas_writer *w, struct dnas_err *err)
{
    const struct dnas_block *b = p->block;

    for (uint32_t row = 0; row < b->n_rows; row++) {
        for (int c = 0; c < b->n_columns; c++) {
            int member = c == p->column[0] ? 0 : c == p->column[1] ? 1 : -1;
            const struct dnas_ids *ids = &p->ids[2 * (size_t)row + (member == 1)];

            if (member >= 0)
                dnas_writer_cell(w, c, ids->v, ids->n);
            else
                dnas_writer_copy_cell(w, c, b, c, row);
        }
        if (dnas_writer_end_row(w, err) != 0)
            return -1;
    }
    for (size_t i = 0; i < 2 * (size_t)b->n_rows; i++) {
        p->t->n_tokens += p->ids[i].n;
        p->t->n_unknown += p->n_unknown[i];
        p->t->n_cut += p->n_cut[i];
    }
    return 0;
}

int dnas_tokenize_pairs(struct dnas_tokenize *t, struct dnas_writer *w, struct dnas_reader *r,
                        uint64_t truncate_bp, struct dnas_err *err)
{
    const struct dnas_header *h = dnas_reader_header(r);
    struct dnas_block b;
    struct pair_block p = {.t = t,
                           .block = &b,
                           .column = {dnas_header_find(h, "seq_a"), dnas_header_find(h, "seq_b")},
                           .truncate_bp = truncate_bp};
    size_t max = 2 * (size_t)DNAS_STREAM_MAX_ROWS;
    int status;

    p.ids = dnas_xzalloc(max, sizeof(*p.ids));
    p.n_unknown = dnas_xzalloc(max, sizeof(*p.n_unknown));
    p.n_cut = dnas_xzalloc(max, sizeof(*p.n_cut));
    p.letters = dnas_xzalloc((size_t)t->n_threads, sizeof(*p.letters));
    p.encoders = dnas_xalloc((size_t)t->n_threads, sizeof(*p.encoders));
    for (int i = 0; i < t->n_threads; i++)
        p.encoders[i] = dnas_bpe_encoder_new();
    while ((status = dnas_reader_next(r, &b, err)) == 1) {
        dnas_parallel_for(2 * (size_t)b.n_rows, t->n_threads, encode_member, &p);
        if (write_pairs(&p, w, err) != 0) {
            status = -1;
            break;
        }
        dnas_progress("tokenizing", "pairs", dnas_writer_rows(w), dnas_reader_offset(r),
                      dnas_reader_file_size(r));
    }
    for (int i = 0; i < t->n_threads; i++) {
        dnas_bpe_encoder_free(p.encoders[i]);
        free(p.letters[i].v);
    }
    for (size_t i = 0; i < max; i++)
        free(p.ids[i].v);
    free(p.ids);
    free(p.n_unknown);
    free(p.n_cut);
    free(p.letters);
    free(p.encoders);
    return status;
}
