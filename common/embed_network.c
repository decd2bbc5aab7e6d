/* SPDX-License-Identifier: MIT
 *
 * embed_network.c - one window a task, one thread a window.  Contract: embed_network.h.
 */
#include "common/embed_network.h"

#include <stdlib.h>
#include <string.h>

#include "common/embed.h"
#include "common/features.h"
#include "common/msg.h"
#include "common/threads.h"
#include "common/tokenize.h"
#include "common/xmem.h"
#include "kernels/kernels.h"

/* One window on its way. */
struct slot {
    struct dnas_batch batch; /* from sequences: a batch of one piece */
    struct dnas_ids ids;
    char *id, *label; /* from tokens */
    uint32_t part, parts, length_bp;
    struct dnas_table extra; /* from tokens: one row of the further columns */
    double *mean;            /* [C] */
    uint64_t done_bytes, total_bytes;
};

struct job {
    struct dnas_embed_network *e;
    struct dnas_writer *w;
    struct dnas_seq *seq;             /* either this */
    struct dnas_tokens *tokens;       /* or that, */
    const struct dnas_reader *reader; /* which reads this */
    int *extra_from, n_extra;         /* columns beside TOKENS' own, and where they come from */
    struct dnas_column *extra_columns;
    struct slot *slots;
    struct dnas_network_run **runs;     /* [n_threads] */
    struct dnas_bpe_encoder **encoders; /* [n_threads] */
    /* The sequence whose windows are being added up. */
    double *sum; /* [C] of mean times letters */
    uint64_t length_bp;
    struct dnas_table extra;
    double *embedding; /* [dims of the network] */
    float *vector;     /* the same */
    uint16_t *narrow;
};

static const char *const token_columns[] = {"id", "tokens", "part", "parts", "length_bp", "label"};

static bool is_token_column(const char *name)
{
    for (size_t i = 0; i < 6; i++)
        if (strcmp(token_columns[i], name) == 0)
            return true;
    return false;
}

void dnas_embed_network_header(struct dnas_header *h, const struct dnas_header *tokens)
{
    for (int c = 0; c < tokens->n_columns; c++) {
        const struct dnas_column *col = &tokens->columns[c];

        if (!is_token_column(col->name) && dnas_header_find(h, col->name) < 0)
            dnas_header_add_column(h, col->name, col->type, col->ragged,
                                   col->is_vector ? col->dim : 0);
    }
}

/* ---- fill ---- */

static int fill_from_sequences(struct job *j, struct slot *s, struct dnas_err *err)
{
    const struct dnas_batch_options o = {.letters = 1,
                                         .whole = j->e->window_bp == 0,
                                         .window_bp = j->e->window_bp,
                                         .min_window_bp = dnas_min_window(j->e->window_bp)};
    int status = dnas_batch_fill(&s->batch, j->seq, &o, err);

    dnas_seq_progress(j->seq, &s->done_bytes, &s->total_bytes);
    if (status != 1)
        return status;
    s->part = s->batch.pieces[0].part;
    s->parts = s->batch.pieces[0].is_last ? s->part + 1 : 0;
    s->length_bp = (uint32_t)s->batch.pieces[0].n;
    return 1;
}

static int fill_from_tokens(struct job *j, struct slot *s, struct dnas_err *err)
{
    struct dnas_window w;
    int status = dnas_tokens_next(j->tokens, &w, err);
    size_t n;

    if (status != 1)
        return status;
    s->ids.v = dnas_xgrow(s->ids.v, &s->ids.cap, w.n, sizeof(*s->ids.v));
    if (w.n > 0)
        memcpy(s->ids.v, w.ids, w.n * sizeof(*w.ids));
    s->ids.n = w.n;
    free(s->id);
    free(s->label);
    s->id = dnas_xstrdup(dnas_tokens_id(j->tokens));
    s->label = dnas_xstrndup(w.label, w.label_n);
    s->part = w.part;
    s->parts = w.parts;
    s->length_bp = w.length_bp;
    dnas_table_clear(&s->extra);
    for (int c = 0; c < j->n_extra; c++) {
        const void *cell = dnas_block_cell(w.block, j->extra_from[c], w.row, &n);

        dnas_table_cell(&s->extra, c, cell, n);
    }
    dnas_table_end_row(&s->extra);
    s->done_bytes = dnas_reader_offset(j->reader);
    s->total_bytes = dnas_reader_file_size(j->reader);
    return 1;
}

static int fill(void *ctx, int slot, struct dnas_err *err)
{
    struct job *j = ctx;

    return j->seq ? fill_from_sequences(j, &j->slots[slot], err)
                  : fill_from_tokens(j, &j->slots[slot], err);
}

/* ---- work ---- */

static const char *id_of(const struct slot *s)
{
    return s->id ? s->id : s->batch.text + s->batch.pieces[0].id;
}

static int work(void *ctx, int slot, int worker, struct dnas_err *err)
{
    struct job *j = ctx;
    struct slot *s = &j->slots[slot];
    size_t C = j->e->network->shape.C;
    const float *hidden;

    if (j->seq) {
        const struct dnas_tokenizer *tokenizer = j->e->network->tokenizer;

        s->ids.n = 0;
        dnas_tokenizer_encode(tokenizer, j->encoders[worker], s->batch.letters, s->batch.n_letters,
                              &s->ids, NULL);
        dnas_tokenizer_wrap(tokenizer, &s->ids, 0, j->e->max_tokens);
    }
    if (dnas_network_check_ids(j->e->network, s->ids.v, s->ids.n, err) != 0)
        return dnas_err_at(
            err, "%s: '%.200s': ", j->reader ? dnas_reader_name(j->reader) : "sequence", id_of(s));
    hidden = dnas_network_forward(j->runs[worker], s->ids.v, s->ids.n, 1);
    dnas_cpu_meanpool_fwd(s->mean, hidden, s->ids.n, C);
    return 0;
}

/* ---- drain ---- */

static int write_sum(struct job *j, const struct slot *s, struct dnas_err *err)
{
    const struct dnas_network *n = j->e->network;
    size_t C = n->shape.C, all = dnas_network_dims(n), dims = j->e->dims ? j->e->dims : all;
    uint32_t length_bp = (uint32_t)j->length_bp;

    if (j->length_bp > UINT32_MAX)
        return dnas_err_set(err, "'%.200s' is longer than 4294967295 letters", id_of(s));
    for (size_t i = 0; i < C; i++)
        j->sum[i] = j->length_bp ? j->sum[i] / (double)j->length_bp : 0;
    dnas_network_embedding(n, j->embedding, j->sum);
    for (size_t i = 0; i < all; i++)
        j->vector[i] = (float)j->embedding[i];
    if (dims != all)
        dnas_reduce_mean(j->vector, j->vector, all, dims);
    for (size_t i = 0; j->e->bf16 && i < dims; i++)
        j->narrow[i] = dnas_bf16_from_f32(j->vector[i]);
    dnas_writer_text(j->w, DNAS_EMBED_ID, id_of(s));
    dnas_writer_cell(j->w, DNAS_EMBED_VECTOR, j->e->bf16 ? (void *)j->narrow : (void *)j->vector,
                     dims);
    dnas_writer_cell(j->w, DNAS_EMBED_LENGTH, &length_bp, 1);
    dnas_writer_text(j->w, DNAS_EMBED_LABEL,
                     s->label ? s->label : s->batch.text + s->batch.pieces[0].label);
    if (j->n_extra > 0) {
        struct dnas_block extra = dnas_table_block(&j->extra);

        for (int c = 0; c < j->n_extra; c++)
            dnas_writer_copy_cell(j->w, DNAS_EMBED_LABEL + 1 + c, &extra, c, 0);
    }
    return dnas_writer_end_row(j->w, err);
}

static int drain(void *ctx, int slot, struct dnas_err *err)
{
    struct job *j = ctx;
    struct slot *s = &j->slots[slot];
    size_t C = j->e->network->shape.C;

    if (s->part == 0) {
        memset(j->sum, 0, C * sizeof(*j->sum));
        j->length_bp = 0;
        if (j->n_extra > 0) {
            struct dnas_block extra = dnas_table_block(&s->extra);

            dnas_table_clear(&j->extra);
            dnas_table_append(&j->extra, &extra);
        }
    }
    for (size_t i = 0; i < C; i++)
        j->sum[i] += s->mean[i] * (double)s->length_bp;
    j->length_bp += s->length_bp;
    j->e->n_tokens += s->ids.n;
    dnas_progress("embedding", "sequences", dnas_writer_rows(j->w), s->done_bytes, s->total_bytes);
    return s->part + 1 == s->parts ? write_sum(j, s, err) : 0;
}

/* ---- set-up ---- */

static void find_further_columns(struct job *j)
{
    const struct dnas_header *h = dnas_reader_header(j->reader);

    j->extra_from = dnas_xalloc((size_t)h->n_columns, sizeof(*j->extra_from));
    j->extra_columns = dnas_xalloc((size_t)h->n_columns, sizeof(*j->extra_columns));
    for (int c = 0; c < h->n_columns; c++)
        if (!is_token_column(h->columns[c].name)) {
            j->extra_columns[j->n_extra] = h->columns[c];
            j->extra_from[j->n_extra++] = c;
        }
    dnas_table_init(&j->extra, j->extra_columns, j->n_extra);
}

static int run(struct job *j, struct dnas_err *err)
{
    const struct dnas_embed_network *e = j->e;
    size_t C = e->network->shape.C, dims = dnas_network_dims(e->network);
    struct dnas_pipeline p = {.fill = fill,
                              .work = work,
                              .drain = drain,
                              .ctx = j,
                              .n_slots = e->n_threads == 1 ? 1 : 2 * e->n_threads,
                              .n_threads = e->n_threads};
    int status;

    j->slots = dnas_xzalloc((size_t)p.n_slots, sizeof(*j->slots));
    j->runs = dnas_xalloc((size_t)e->n_threads, sizeof(*j->runs));
    j->encoders = dnas_xalloc((size_t)e->n_threads, sizeof(*j->encoders));
    j->sum = dnas_xzalloc(C, sizeof(*j->sum));
    j->embedding = dnas_xalloc(dims, sizeof(*j->embedding));
    j->vector = dnas_xalloc(dims, sizeof(*j->vector));
    j->narrow = dnas_xalloc(dims, sizeof(*j->narrow));
    for (int i = 0; i < e->n_threads; i++) {
        j->runs[i] = dnas_network_run_new(e->network);
        j->encoders[i] = dnas_bpe_encoder_new();
    }
    for (int i = 0; i < p.n_slots; i++) {
        j->slots[i].mean = dnas_xalloc(C, sizeof(double));
        dnas_table_init(&j->slots[i].extra, j->extra_columns, j->n_extra);
    }
    status = dnas_pipeline_run(&p, err);
    for (int i = 0; i < e->n_threads; i++) {
        dnas_network_run_free(j->runs[i]);
        dnas_bpe_encoder_free(j->encoders[i]);
    }
    for (int i = 0; i < p.n_slots; i++) {
        dnas_batch_release(&j->slots[i].batch);
        dnas_table_release(&j->slots[i].extra);
        free(j->slots[i].ids.v);
        free(j->slots[i].id);
        free(j->slots[i].label);
        free(j->slots[i].mean);
    }
    dnas_table_release(&j->extra);
    free(j->slots);
    free(j->runs);
    free(j->encoders);
    free(j->sum);
    free(j->embedding);
    free(j->vector);
    free(j->narrow);
    free(j->extra_from);
    free(j->extra_columns);
    return status;
}

int dnas_embed_network_sequences(struct dnas_embed_network *e, struct dnas_writer *w,
                                 struct dnas_seq *s, struct dnas_err *err)
{
    struct job j = {.e = e, .w = w, .seq = s};

    return run(&j, err);
}

int dnas_embed_network_tokens(struct dnas_embed_network *e, struct dnas_writer *w,
                              struct dnas_tokens *t, const struct dnas_reader *r,
                              struct dnas_err *err)
{
    struct job j = {.e = e, .w = w, .tokens = t, .reader = r};

    find_further_columns(&j);
    return run(&j, err);
}
