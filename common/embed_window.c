/* SPDX-License-Identifier: MIT
 *
 * embed_window.c - reads and tokenizes windows.  Contract: embed_window.h.
 */
#include "common/embed_window.h"

#include <stdlib.h>
#include <string.h>

#include "common/tokenize.h"
#include "common/xmem.h"

bool dnas_embed_is_token_column(const char *name)
{
    static const char *const names[] = {"id", "tokens", "part", "parts", "length_bp", "label"};

    for (size_t i = 0; i < 6; i++)
        if (strcmp(names[i], name) == 0)
            return true;
    return false;
}

/* ---- the source ---- */

void dnas_embed_source_init(struct dnas_embed_source *s)
{
    const struct dnas_header *h = s->reader ? dnas_reader_header(s->reader) : NULL;

    s->n_extra = 0;
    s->extra_from = h ? dnas_xalloc((size_t)h->n_columns, sizeof(*s->extra_from)) : NULL;
    s->extra_columns = h ? dnas_xalloc((size_t)h->n_columns, sizeof(*s->extra_columns)) : NULL;
    for (int c = 0; h && c < h->n_columns; c++)
        if (!dnas_embed_is_token_column(h->columns[c].name)) {
            s->extra_columns[s->n_extra] = h->columns[c];
            s->extra_from[s->n_extra++] = c;
        }
}

void dnas_embed_source_release(struct dnas_embed_source *s)
{
    free(s->extra_from);
    free(s->extra_columns);
}

/* ---- a window ---- */

void dnas_embed_place_init(struct dnas_embed_place *p, const struct dnas_embed_source *s)
{
    *p = (struct dnas_embed_place){.id = NULL};
    dnas_table_init(&p->extra, s->extra_columns, s->n_extra);
}

void dnas_embed_place_release(struct dnas_embed_place *p)
{
    free(p->id);
    free(p->label);
    dnas_table_release(&p->extra);
}

void dnas_embed_window_init(struct dnas_embed_window *w, const struct dnas_embed_source *s)
{
    *w = (struct dnas_embed_window){.ids = {0}};
    dnas_embed_place_init(&w->place, s);
}

void dnas_embed_window_release(struct dnas_embed_window *w)
{
    dnas_embed_place_release(&w->place);
    dnas_batch_release(&w->batch);
    free(w->ids.v);
}

static void set_names(struct dnas_embed_place *p, char *id, char *label)
{
    free(p->id);
    free(p->label);
    p->id = id;
    p->label = label;
}

static int fill_from_sequences(struct dnas_embed_window *w, struct dnas_embed_source *s,
                               struct dnas_err *err)
{
    const struct dnas_batch_options o = {.letters = 1,
                                         .whole = s->window_bp == 0,
                                         .window_bp = s->window_bp,
                                         .min_window_bp = dnas_min_window(s->window_bp)};
    struct dnas_embed_place *p = &w->place;
    int status = dnas_batch_fill(&w->batch, s->seq, &o, err);
    const struct dnas_piece *piece = w->batch.pieces;

    dnas_seq_progress(s->seq, &p->done_bytes, &p->total_bytes);
    if (status != 1)
        return status;
    set_names(p, dnas_xstrdup(w->batch.text + piece->id),
              dnas_xstrdup(piece->is_last ? w->batch.text + piece->label : ""));
    p->part = piece->part;
    p->parts = piece->is_last ? p->part + 1 : 0;
    p->length_bp = (uint32_t)piece->n;
    return 1;
}

static int fill_from_tokens(struct dnas_embed_window *w, struct dnas_embed_source *s,
                            struct dnas_err *err)
{
    struct dnas_embed_place *p = &w->place;
    struct dnas_window from;
    int status = dnas_tokens_next(s->tokens, &from, err);
    size_t n;

    if (status != 1)
        return status;
    w->ids.v = dnas_xgrow(w->ids.v, &w->ids.cap, from.n, sizeof(*w->ids.v));
    if (from.n > 0)
        memcpy(w->ids.v, from.ids, from.n * sizeof(*from.ids));
    w->ids.n = from.n;
    set_names(p, dnas_xstrdup(dnas_tokens_id(s->tokens)), dnas_xstrndup(from.label, from.label_n));
    p->part = from.part;
    p->parts = from.parts;
    p->length_bp = from.length_bp;
    dnas_table_clear(&p->extra);
    for (int c = 0; c < s->n_extra; c++) {
        const void *cell = dnas_block_cell(from.block, s->extra_from[c], from.row, &n);

        dnas_table_cell(&p->extra, c, cell, n);
    }
    dnas_table_end_row(&p->extra);
    p->done_bytes = dnas_reader_offset(s->reader);
    p->total_bytes = dnas_reader_file_size(s->reader);
    return 1;
}

int dnas_embed_window_fill(struct dnas_embed_window *w, struct dnas_embed_source *s,
                           struct dnas_err *err)
{
    return s->seq ? fill_from_sequences(w, s, err) : fill_from_tokens(w, s, err);
}

int dnas_embed_window_encode(struct dnas_embed_window *w, const struct dnas_embed_source *s,
                             struct dnas_bpe_encoder *encoder, struct dnas_err *err)
{
    if (s->seq) {
        const struct dnas_tokenizer *tokenizer = s->network->tokenizer;

        w->ids.n = 0;
        dnas_tokenizer_encode(tokenizer, encoder, w->batch.letters, w->batch.n_letters, &w->ids,
                              NULL);
        dnas_tokenizer_wrap(tokenizer, &w->ids, 0, s->max_tokens);
    }
    w->place.n_tokens = w->ids.n;
    if (dnas_network_check_ids(s->network, w->ids.v, w->ids.n, err) == 0)
        return 0;
    return dnas_err_at(err, "%s: '%.200s': ", s->reader ? dnas_reader_name(s->reader) : "sequence",
                       w->place.id);
}
