/* SPDX-License-Identifier: MIT
 *
 * embed_network.c - on the CPU one window a task, one thread a window; on a GPU
 * packed batches.  Contract: embed_network.h.
 */
#include "common/embed_network.h"

#include <stdlib.h>

#include "common/embed_packed.h"
#include "common/embed_sum.h"
#include "common/threads.h"
#include "common/xmem.h"
#include "kernels/kernels.h"

/* One window on its way. */
struct slot {
    struct dnas_embed_window window;
    double *mean; /* [C] */
};

struct job {
    struct dnas_embed_source *source;
    struct dnas_embed_sum *sum;
    struct slot *slots;
    struct dnas_network_run **runs;     /* [n_threads] */
    struct dnas_bpe_encoder **encoders; /* [n_threads] */
};

void dnas_embed_network_header(struct dnas_header *h, const struct dnas_header *tokens)
{
    for (int c = 0; c < tokens->n_columns; c++) {
        const struct dnas_column *col = &tokens->columns[c];

        if (!dnas_embed_is_token_column(col->name) && dnas_header_find(h, col->name) < 0)
            dnas_header_add_column(h, col->name, col->type, col->ragged,
                                   col->is_vector ? col->dim : 0);
    }
}

/* ---- on the CPU ---- */

static int fill(void *ctx, int slot, struct dnas_err *err)
{
    struct job *j = ctx;

    return dnas_embed_window_fill(&j->slots[slot].window, j->source, err);
}

static int work(void *ctx, int slot, int worker, struct dnas_err *err)
{
    struct job *j = ctx;
    struct slot *s = &j->slots[slot];
    const struct dnas_ids *ids = &s->window.ids;
    const float *hidden;

    if (dnas_embed_window_encode(&s->window, j->source, j->encoders[worker], err) != 0)
        return -1;
    hidden = dnas_network_forward(j->runs[worker], ids->v, ids->n, 1);
    dnas_cpu_meanpool_fwd(s->mean, hidden, ids->n, j->source->network->shape.C);
    return 0;
}

static int drain(void *ctx, int slot, struct dnas_err *err)
{
    struct job *j = ctx;

    return dnas_embed_sum_add(j->sum, &j->slots[slot].window.place, j->slots[slot].mean, err);
}

static int run_on_cpu(struct dnas_embed_source *source, struct dnas_embed_sum *sum, int n_threads,
                      struct dnas_err *err)
{
    struct job j = {.source = source, .sum = sum};
    struct dnas_pipeline p = {.fill = fill,
                              .work = work,
                              .drain = drain,
                              .ctx = &j,
                              .n_slots = n_threads == 1 ? 1 : 2 * n_threads,
                              .n_threads = n_threads};
    int status;

    j.slots = dnas_xzalloc((size_t)p.n_slots, sizeof(*j.slots));
    j.runs = dnas_xalloc((size_t)n_threads, sizeof(*j.runs));
    j.encoders = dnas_xalloc((size_t)n_threads, sizeof(*j.encoders));
    for (int i = 0; i < n_threads; i++) {
        j.runs[i] = dnas_network_run_new(source->network);
        j.encoders[i] = dnas_bpe_encoder_new();
    }
    for (int i = 0; i < p.n_slots; i++) {
        j.slots[i].mean = dnas_xalloc(source->network->shape.C, sizeof(double));
        dnas_embed_window_init(&j.slots[i].window, source);
    }
    status = dnas_pipeline_run(&p, err);
    for (int i = 0; i < n_threads; i++) {
        dnas_network_run_free(j.runs[i]);
        dnas_bpe_encoder_free(j.encoders[i]);
    }
    for (int i = 0; i < p.n_slots; i++) {
        dnas_embed_window_release(&j.slots[i].window);
        free(j.slots[i].mean);
    }
    free(j.slots);
    free(j.runs);
    free(j.encoders);
    return status;
}

/* ---- either ---- */

static int run(struct dnas_embed_network *e, struct dnas_writer *w,
               struct dnas_embed_source *source, struct dnas_err *err)
{
    struct dnas_embed_sum sum;
    int status;

    dnas_embed_source_init(source);
    dnas_embed_sum_init(&sum, source, w, e->dims, e->bf16);
    status = e->packed
                 ? dnas_embed_packed(e->packed, source, &sum, e->batch_tokens, e->n_threads, err)
                 : run_on_cpu(source, &sum, e->n_threads, err);
    e->n_tokens = sum.n_tokens;
    dnas_embed_sum_release(&sum);
    dnas_embed_source_release(source);
    return status;
}

int dnas_embed_network_sequences(struct dnas_embed_network *e, struct dnas_writer *w,
                                 struct dnas_seq *s, struct dnas_err *err)
{
    struct dnas_embed_source source = {
        .network = e->network, .seq = s, .window_bp = e->window_bp, .max_tokens = e->max_tokens};

    return run(e, w, &source, err);
}

int dnas_embed_network_tokens(struct dnas_embed_network *e, struct dnas_writer *w,
                              struct dnas_tokens *t, const struct dnas_reader *r,
                              struct dnas_err *err)
{
    struct dnas_embed_source source = {.network = e->network, .tokens = t, .reader = r};

    return run(e, w, &source, err);
}
