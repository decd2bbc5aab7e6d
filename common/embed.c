/* SPDX-License-Identifier: MIT
 *
 * embed.c - counts of k-mers over batches of letters.  Contract: embed.h.
 *
 * A record inside a batch is embedded by the thread that has the batch.  One
 * that spans batches is counted piece by piece; counts are whole numbers, so
 * where the pieces are cut does not show in the result.
 */
#include "common/embed.h"

#include <stdlib.h>
#include <string.h>

#include "common/msg.h"
#include "common/threads.h"
#include "common/xmem.h"
#include "kernels/kernels.h"

#define BATCH_LETTERS (512u << 10) /* with the counters, what a core's own cache holds */

struct slot {
    struct dnas_batch batch;
    float *rows; /* [pieces,C] of the records that lie in this batch */
    size_t rows_cap;
    uint64_t *counts; /* [2,n_counts] of a record that began before; of one that goes on */
    uint64_t *whole;  /* [n_counts] of a record that lies here */
    uint64_t done_bytes, total_bytes;
};

struct job {
    struct dnas_seq *seq;
    const struct dnas_embed_counts *e;
    const struct dnas_embed_taker *taker;
    uint64_t n_rows;
    struct slot *slots;
    uint64_t *counts; /* [n_counts] of the record that spans batches */
    uint64_t length_bp;
};

void dnas_embed_header(struct dnas_header *h, size_t C, bool bf16, json_t *embedding)
{
    dnas_header_init(h, DNAS_EMBEDDINGS);
    dnas_header_add_column(h, "id", DNAS_UTF8, true, 0);
    dnas_header_add_column(h, "embedding", bf16 ? DNAS_BF16 : DNAS_F32, false, (uint32_t)C);
    dnas_header_add_column(h, "length_bp", DNAS_U32, false, 0);
    dnas_header_add_column(h, "label", DNAS_UTF8, true, 0);
    h->embedding = embedding;
}

static bool is_whole(const struct dnas_piece *p)
{
    return p->part == 0 && p->is_last;
}

static int fill(void *ctx, int slot, struct dnas_err *err)
{
    struct job *j = ctx;
    const struct dnas_batch_options options = {.letters = BATCH_LETTERS,
                                               .overlap = (size_t)j->e->k - 1};
    struct slot *s = &j->slots[slot];
    int status = dnas_batch_fill(&s->batch, j->seq, &options, err);

    dnas_seq_progress(j->seq, &s->done_bytes, &s->total_bytes);
    return status;
}

static int work(void *ctx, int slot, int worker, struct dnas_err *err)
{
    struct job *j = ctx;
    struct slot *s = &j->slots[slot];
    size_t D = j->e->C;
    size_t n_counts = j->e->n_counts;

    (void)worker;
    (void)err;
    s->rows = dnas_xgrow(s->rows, &s->rows_cap, s->batch.n_pieces * D, sizeof(*s->rows));
    memset(s->counts, 0, 2 * n_counts * sizeof(*s->counts));
    for (size_t i = 0; i < s->batch.n_pieces; i++) {
        const struct dnas_piece *p = &s->batch.pieces[i];
        const char *letters = s->batch.letters + p->letters;

        if (is_whole(p)) {
            memset(s->whole, 0, n_counts * sizeof(*s->whole));
            dnas_cpu_kmer_count(s->whole, letters, p->n, j->e->k);
            j->e->embed(j->e->model, s->rows + i * D, s->whole);
        } else {
            dnas_cpu_kmer_count(s->counts + (p->part == 0 ? n_counts : 0), letters, p->n, j->e->k);
        }
    }
    return 0;
}

static int hand_over(struct job *j, const struct slot *s, const struct dnas_piece *p, float *row,
                     uint64_t length_bp, struct dnas_err *err)
{
    const struct dnas_embed_row r = {.id = s->batch.text + p->id,
                                     .label = s->batch.text + p->label,
                                     .length_bp = (uint32_t)length_bp, /* dnas_seq refuses more */
                                     .x = row};

    j->n_rows++;
    return j->taker->take(j->taker->ctx, &r, err);
}

/* A piece of a record that spans batches: its counts, and at the last its row. */
static int drain_part(struct job *j, struct slot *s, const struct dnas_piece *p, float *row,
                      struct dnas_err *err)
{
    size_t n_counts = j->e->n_counts;
    const uint64_t *counts = s->counts + (p->part == 0 ? n_counts : 0);

    if (p->part == 0) {
        memset(j->counts, 0, n_counts * sizeof(*j->counts));
        j->length_bp = 0;
    }
    for (size_t k = 0; k < n_counts; k++)
        j->counts[k] += counts[k];
    j->length_bp += p->n_new;
    if (!p->is_last)
        return 0;
    j->e->embed(j->e->model, row, j->counts);
    return hand_over(j, s, p, row, j->length_bp, err);
}

static int drain(void *ctx, int slot, struct dnas_err *err)
{
    struct job *j = ctx;
    struct slot *s = &j->slots[slot];
    size_t D = j->e->C;

    for (size_t i = 0; i < s->batch.n_pieces; i++) {
        const struct dnas_piece *p = &s->batch.pieces[i];
        float *row = s->rows + i * D;
        int status =
            is_whole(p) ? hand_over(j, s, p, row, p->n, err) : drain_part(j, s, p, row, err);

        if (status != 0)
            return -1;
    }
    dnas_progress(j->taker->doing, "sequences", j->taker->n_before + j->n_rows, s->done_bytes,
                  s->total_bytes);
    return 0;
}

static void by_features(const void *model, float *out, const uint64_t *counts)
{
    dnas_features_embed(model, out, counts);
}

struct dnas_embed_counts dnas_embed_by_features(const struct dnas_features *f)
{
    return (struct dnas_embed_counts){4, 256, dnas_features_dims(f), by_features, f};
}

static void by_kmers(const void *model, float *out, const uint64_t *counts)
{
    dnas_kmer_model_embed(model, out, counts);
}

struct dnas_embed_counts dnas_embed_by_kmers(const struct dnas_kmer_model *m)
{
    const struct dnas_kmer_profile *p = dnas_kmer_model_profile(m);

    return (struct dnas_embed_counts){dnas_kmer_profile_k(p), dnas_kmer_profile_n_counts(p),
                                      dnas_kmer_model_dims(m), by_kmers, m};
}

int dnas_embed_each(struct dnas_seq *s, const struct dnas_embed_counts *e,
                    const struct dnas_embed_taker *taker, int n_threads, struct dnas_err *err)
{
    struct job j = {.seq = s, .e = e, .taker = taker};
    struct dnas_pipeline p = {.fill = fill,
                              .work = work,
                              .drain = drain,
                              .ctx = &j,
                              .n_slots = n_threads == 1 ? 1 : 2 * n_threads,
                              .n_threads = n_threads};
    int status;

    j.slots = dnas_xzalloc((size_t)p.n_slots, sizeof(*j.slots));
    for (int i = 0; i < p.n_slots; i++) {
        j.slots[i].counts = dnas_xalloc(2 * e->n_counts, sizeof(*j.counts));
        j.slots[i].whole = dnas_xalloc(e->n_counts, sizeof(*j.counts));
    }
    j.counts = dnas_xalloc(e->n_counts, sizeof(*j.counts));
    status = dnas_pipeline_run(&p, err);
    for (int i = 0; i < p.n_slots; i++) {
        dnas_batch_release(&j.slots[i].batch);
        free(j.slots[i].rows);
        free(j.slots[i].counts);
        free(j.slots[i].whole);
    }
    free(j.slots);
    free(j.counts);
    return status;
}

/* ---- rows of a stream ---- */

struct writing {
    struct dnas_writer *w;
    size_t C, dims;
    bool bf16;
    uint16_t *narrow; /* a row as bf16 */
};

static int write_row(void *ctx, const struct dnas_embed_row *r, struct dnas_err *err)
{
    struct writing *o = ctx;

    if (o->dims != o->C)
        dnas_reduce_mean(r->x, r->x, o->C, o->dims);
    dnas_writer_text(o->w, DNAS_EMBED_ID, r->id);
    if (o->bf16) {
        for (size_t i = 0; i < o->dims; i++)
            o->narrow[i] = dnas_bf16_from_f32(r->x[i]);
        dnas_writer_cell(o->w, DNAS_EMBED_VECTOR, o->narrow, o->dims);
    } else {
        dnas_writer_cell(o->w, DNAS_EMBED_VECTOR, r->x, o->dims);
    }
    dnas_writer_cell(o->w, DNAS_EMBED_LENGTH, &r->length_bp, 1);
    dnas_writer_text(o->w, DNAS_EMBED_LABEL, r->label);
    return dnas_writer_end_row(o->w, err);
}

int dnas_embed_counted(struct dnas_writer *w, struct dnas_seq *s, const struct dnas_embed_counts *e,
                       size_t dims, bool bf16, int n_threads, struct dnas_err *err)
{
    struct writing o = {.w = w, .C = e->C, .dims = dims ? dims : e->C, .bf16 = bf16};
    const struct dnas_embed_taker taker = {
        .take = write_row, .ctx = &o, .doing = "embedding", .n_before = dnas_writer_rows(w)};
    int status;

    o.narrow = dnas_xalloc(o.dims, sizeof(*o.narrow));
    status = dnas_embed_each(s, e, &taker, n_threads, err);
    free(o.narrow);
    return status;
}
