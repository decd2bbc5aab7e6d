/* SPDX-License-Identifier: MIT
 *
 * train_step_cuda.c - a step's sequences through the encoder on a GPU.
 * Contract: train_step_run.h.
 *
 * Sequences go in chunks, packed.  Where all of a batch's fit into memory, what
 * forward leaves for backward is kept, and nothing runs twice; else each chunk
 * runs forward again before its backward (gradient caching).  A mixed batch is
 * three kinds of chunks: first members up to the layer (their states kept in
 * `hidden`), mixed rows from there on (their gradients kept in `d_hidden`), and
 * second members.  Where these two do not fit into memory for the whole batch,
 * they are of one group of pairs that are mixed with each other at a time.
 * Chunks depend on the lengths and on the whole memory of the GPU alone, not on
 * what is free of it, so the same GPU gives the same bits.
 */
#include <stdlib.h>
#include <string.h>

#include "common/backbone.h"
#include "common/mlm_pass.h"
#include "common/msg.h"
#include "common/pass.h"
#include "common/train_step_cut.h"
#include "common/train_step_run.h"
#include "common/xmem.h"

#define LANES 3                         /* chunks whose tables are there at a time */
#define OF_LIBRARY ((uint64_t)33 << 20) /* bytes that it takes when it is opened */

/* The same memory on the host and on the device. */
struct twin {
    void *here, *there;
};

/* What a chunk's kernels read beside states. */
struct lane {
    struct dnas_cuda_pack *pack;
    struct dnas_cuda_mark *mark; /* behind the last use */
    bool is_used;
    struct twin ids;         /* u16 [room] */
    struct twin row;         /* u32 [max_B]  of the batch */
    struct twin at, n, part; /* [max_B,2] of blend, forward or backward */
    struct twin guess;       /* u32 [room]  rows to be guessed from */
    struct twin target;      /* u16 [room] */
    size_t n_guesses;
};

struct runner {
    struct dnas_step_runner base;
    struct dnas_net_cuda *d;
    struct dnas_step_options o;
    const struct dnas_cuda_api *api;
    struct dnas_cuda *device;
    const struct dnas_pass_backbone *way;
    uint32_t drop;
    size_t size;     /* of a number of the net's type */
    size_t max_B;    /* sequences of a batch */
    size_t n_hidden; /* rows of hidden */

    size_t room;                  /* rows that memory is there for */
    struct dnas_net_ranks *ranks; /* NULL: gradients are added up on the host */
    struct dnas_passes *passes;
    struct dnas_mlm_pass *mlm; /* NULL: no such head */
    struct lane lane[LANES];
    void *dx;                /* [room,C] */
    void *hidden, *d_hidden; /* [n_hidden,C] */
    struct twin pooled;      /* f64 [max_B,C] */
    struct twin d_pooled;    /* f32 [max_B,C] */
    struct twin loss;        /* f64 [room] */

    /* the call at hand */
    const struct dnas_step_call *call;
    struct dnas_step_cut cut;
    size_t in_hidden; /* the group whose states hidden has */
    uint32_t *offset; /* [max_B + 1] */
};

static struct runner *of(struct dnas_step_runner *r)
{
    return (struct runner *)r;
}

static size_t channels(const struct runner *r)
{
    return r->d->net->shape.C;
}

/* ---- memory ---- */

static bool twin_new(const struct runner *r, struct twin *t, size_t size_bytes)
{
    t->here = r->api->host_alloc(r->device, size_bytes);
    t->there = r->api->alloc(r->device, size_bytes);
    return t->here && t->there;
}

static void twin_free(const struct runner *r, struct twin *t)
{
    r->api->host_free(r->device, t->here);
    r->api->free(r->device, t->there);
    *t = (struct twin){NULL, NULL};
}

static void send(const struct runner *r, const struct twin *t, size_t size_bytes)
{
    r->api->copy_in(r->device, t->there, t->here, size_bytes);
}

static bool lane_new(const struct runner *r, struct lane *y)
{
    /* No sequence is empty. */
    y->pack = r->way->pack_new(r->d, r->room, r->max_B < r->room ? r->max_B : r->room);
    y->mark = r->api->mark_new(r->device);
    y->is_used = false;
    return y->pack && y->mark && twin_new(r, &y->ids, r->room * sizeof(uint16_t)) &&
           twin_new(r, &y->row, r->max_B * sizeof(uint32_t)) &&
           twin_new(r, &y->at, 2 * r->max_B * sizeof(uint32_t)) &&
           twin_new(r, &y->n, 2 * r->max_B * sizeof(uint32_t)) &&
           twin_new(r, &y->part, 2 * r->max_B * sizeof(float)) &&
           (!r->d->net->heads.mlm || (twin_new(r, &y->guess, r->room * sizeof(uint32_t)) &&
                                      twin_new(r, &y->target, r->room * sizeof(uint16_t))));
}

static void lane_free(const struct runner *r, struct lane *y)
{
    struct twin *const twins[] = {&y->ids, &y->row, &y->at, &y->n, &y->part, &y->guess, &y->target};

    if (y->pack)
        r->api->pack_free(r->device, y->pack);
    if (y->mark)
        r->api->mark_free(r->device, y->mark);
    y->pack = NULL;
    y->mark = NULL;
    for (size_t i = 0; i < sizeof(twins) / sizeof(*twins); i++)
        twin_free(r, twins[i]);
}

/* Of the matrices whose gradients the GPU computes, and with them of biases: the most elements, and
 * the most rows. */
static void largest_matrix(const struct dnas_net *net, size_t *elements, size_t *rows)
{
    *elements = *rows = 0;
    for (size_t i = 0; i < net->n_tensors; i++) {
        const struct dnas_layout_tensor *t = &net->tensors[i].tensor;

        if (t->role != DNAS_ROLE_MATRIX && !(i == 0 && net->heads.mlm))
            continue;
        *elements = t->n > *elements ? t->n : *elements;
        *rows = t->shape[0] > *rows ? t->shape[0] : *rows;
    }
}

/* What depends on the room for rows; whether there was memory.  The library's own comes first, so
 * that no step finds that there is none. */
static bool make_room(struct runner *r)
{
    const struct dnas_net *net = r->d->net;
    size_t elements, rows;

    largest_matrix(net, &elements, &rows);
    if (r->api->reserve(r->device, r->room, rows, channels(r), elements) != 0)
        return false;
    r->passes = r->way->create(r->d, r->room);
    r->dx = r->api->alloc(r->device, r->room * channels(r) * r->size);
    if (!r->passes || !r->dx)
        return false;
    for (size_t i = 0; i < LANES; i++)
        if (!lane_new(r, &r->lane[i]))
            return false;
    if (!net->heads.mlm)
        return true;
    r->mlm = dnas_mlm_pass_new(r->d, r->room);
    return r->mlm && twin_new(r, &r->loss, r->room * sizeof(double));
}

static void leave_room(struct runner *r)
{
    if (r->passes)
        r->way->release(r->passes);
    dnas_mlm_pass_free(r->mlm);
    r->passes = NULL;
    r->mlm = NULL;
    r->api->free(r->device, r->dx);
    r->dx = NULL;
    for (size_t i = 0; i < LANES; i++)
        lane_free(r, &r->lane[i]);
    twin_free(r, &r->loss);
}

static size_t aligned(size_t n)
{
    return (n + DNAS_PASS_ALIGNED - 1) / DNAS_PASS_ALIGNED * DNAS_PASS_ALIGNED;
}

/* Bytes for so many rows, with what packs and the library itself keep for them (cuda.h). */
static uint64_t bytes_for(const struct runner *r, size_t room)
{
    const struct dnas_net *net = r->d->net;
    uint64_t of_pack = 12 * net->shape.H + sizeof(uint16_t);
    uint64_t row = channels(r) * r->size + LANES * of_pack + 16 + channels(r) / 8;

    if (net->heads.mlm)
        row += sizeof(double) + LANES * (sizeof(uint32_t) + sizeof(uint16_t));
    return r->way->bytes(net, r->d->type, room) + room * row +
           (net->heads.mlm ? dnas_mlm_pass_bytes(net, r->d->type, room) : 0);
}

/* Bytes that are taken whatever the rows: parameters, states, and the library's for the largest
 * matrix, and when it was opened. */
static uint64_t bytes_taken(const struct runner *r)
{
    const struct dnas_net *net = r->d->net;
    size_t elements, rows;

    largest_matrix(net, &elements, &rows);
    return OF_LIBRARY + dnas_net_ranks_bytes(r->d, r->o.comm) +
           (r->d->narrow ? 18 : 16) * (uint64_t)net->n + 36 * (uint64_t)elements +
           2 * (uint64_t)r->n_hidden * channels(r) * r->size;
}

/* What training plans with. */
static uint64_t memory_of(const struct runner *r)
{
    return r->d->gpu->info.memory_bytes / 10 * 9;
}

static size_t least_room(const struct runner *r)
{
    return aligned(r->o.max_T);
}

/* The pairs of a batch that this rank runs, at most. */
static size_t max_share(const struct runner *r)
{
    size_t n_ranks = r->o.comm ? (size_t)dnas_comm_n_ranks(r->o.comm) : 1;

    return (r->o.max_pairs + n_ranks - 1) / n_ranks;
}

/* How many pairs' states between layers are kept at a time: the batch's, where they take at most a
 * quarter of what is there for passes; else a group's, for which lower layers run once more. */
static void size_hidden(struct runner *r)
{
    size_t share = max_share(r), group = r->o.mix_group < share ? r->o.mix_group : share;
    uint64_t memory = memory_of(r), least = bytes_for(r, least_room(r)), with_group, whole;

    if (group == 0)
        return;
    r->cut.together = group;
    r->n_hidden = group * r->o.max_T;
    with_group = bytes_taken(r);
    r->n_hidden = share * r->o.max_T;
    whole = bytes_taken(r);
    if (whole + least <= memory && whole - with_group <= (memory - with_group) / 4)
        r->cut.together = share;
    r->n_hidden = r->cut.together * r->o.max_T;
}

/* The rows that the memory holds, of those that are wanted. */
static size_t rows_in_memory(const struct runner *r, size_t least, size_t wanted)
{
    uint64_t taken = bytes_taken(r), memory = memory_of(r);
    size_t low = least, high = wanted;

    while (low < high) { /* bisection in multiples of the unit */
        size_t middle = low + aligned((high - low) / 2 + 1);

        middle = middle < high ? middle : high;
        if (taken + bytes_for(r, middle) <= memory)
            low = middle;
        else
            high = middle - DNAS_PASS_ALIGNED;
    }
    return low;
}

static int find_room(struct runner *r, struct dnas_err *err)
{
    size_t least = least_room(r), wanted = 2 * aligned(max_share(r) * r->o.max_T), planned;

    r->room = planned = rows_in_memory(r, least, wanted > least ? wanted : least);
    while (!make_room(r)) {
        uint64_t needed = bytes_for(r, r->room);

        leave_room(r);
        if (*r->api->error(r->device))
            return dnas_gpu_failed(r->d->gpu, err);
        if (r->room == least)
            return dnas_err_set(err,
                                "GPU number %d (%s) has no %llu bytes left for a sequence of %zu "
                                "tokens: give a smaller --max-tokens, or --device cpu",
                                r->d->gpu->number, r->d->gpu->info.name, (unsigned long long)needed,
                                r->o.max_T);
        r->room = aligned(r->room / 4 * 3);
        r->room = r->room > least ? r->room : least;
    }
    if (r->room < planned)
        dnas_msg_note("GPU number %d has less memory left than it should: %zu tokens at a time and "
                      "not %zu, which changes roundings",
                      r->d->gpu->number, r->room, planned);
    if (!r->o.comm || dnas_comm_rank(r->o.comm) == 0)
        dnas_msg_verbose("%zu tokens at a time on GPU number %d, %s", r->room, r->d->gpu->number,
                         r->d->gpu->info.name);
    return 0;
}

static void release(struct dnas_step_runner *base)
{
    struct runner *r = of(base);

    dnas_net_ranks_drop(r->ranks);
    leave_room(r);
    r->api->free(r->device, r->hidden);
    r->api->free(r->device, r->d_hidden);
    twin_free(r, &r->pooled);
    twin_free(r, &r->d_pooled);
    dnas_step_cut_release(&r->cut);
    free(r->offset);
    free(r);
}

static void leave(struct dnas_step_runner *base)
{
    struct runner *r = of(base);

    dnas_net_ranks_leave(r->ranks);
    r->ranks = NULL;
}

static uint64_t flop(const struct dnas_step_runner *base)
{
    return ((const struct runner *)base)->passes->flop;
}

/* ---- chunks ---- */

static size_t length(const struct runner *r, enum dnas_chunk_kind kind, size_t i)
{
    return dnas_step_cut_length(r->call, kind, i);
}

/* Cuts the call's sequences. */
static void plan(struct runner *r, const struct dnas_step_call *c)
{
    r->call = c;
    r->cut.room = r->room;
    dnas_step_cut_call(&r->cut, c);
}

/* Row b of a chunk's blend: of two rows of `in`, from their first rows, lengths and shares. */
static void set_blend(struct lane *y, size_t b, const size_t at[2], const size_t n[2],
                      const float part[2])
{
    for (size_t k = 0; k < 2; k++) {
        ((uint32_t *)y->at.here)[2 * b + k] = (uint32_t)at[k];
        ((uint32_t *)y->n.here)[2 * b + k] = (uint32_t)n[k];
        ((float *)y->part.here)[2 * b + k] = part[k];
    }
}

/* Upper chunks blend states of two first members; lower ones, backward, the gradients of the mixed
 * row that is mostly theirs and of the one that they were mixed into. */
static void fill_blend(const struct runner *r, struct lane *y, const struct dnas_chunk *k)
{
    const struct dnas_step_call *c = r->call;

    for (size_t b = 0; b < k->n; b++) {
        size_t i = k->from + b, row = c->from + i;
        float part = c->mix->lambda[row];

        if (k->kind == DNAS_CHUNK_UPPER) {
            size_t T = length(r, DNAS_CHUNK_UPPER, i), other = c->mix->perm[row] - c->from;

            set_blend(y, b, (size_t[2]){r->cut.lower_at[i], r->cut.lower_at[other]},
                      (size_t[2]){T, T}, (float[2]){part, 1 - part});
        } else {
            size_t other = c->origin[row] - c->from;

            set_blend(
                y, b, (size_t[2]){r->cut.upper_at[i], r->cut.upper_at[other]},
                (size_t[2]){length(r, DNAS_CHUNK_UPPER, i), length(r, DNAS_CHUNK_UPPER, other)},
                (float[2]){part, 1 - c->mix->lambda[c->origin[row]]});
        }
    }
    send(r, &y->at, 2 * k->n * sizeof(uint32_t));
    send(r, &y->n, 2 * k->n * sizeof(uint32_t));
    send(r, &y->part, 2 * k->n * sizeof(float));
}

static void fill_guesses(const struct runner *r, struct lane *y, const struct dnas_chunk *k)
{
    y->n_guesses = 0;
    for (size_t b = 0; b < k->n; b++) {
        const struct dnas_step_guess *g = &r->call->guess[dnas_step_call_row(r->call, k->from + b)];

        for (size_t i = 0; i < g->n; i++, y->n_guesses++) {
            ((uint32_t *)y->guess.here)[y->n_guesses] = r->offset[b] + g->position[i];
            ((uint16_t *)y->target.here)[y->n_guesses] = g->target[i];
        }
    }
    send(r, &y->guess, y->n_guesses * sizeof(uint32_t));
    send(r, &y->target, y->n_guesses * sizeof(uint16_t));
}

static struct lane *lane_of(struct runner *r, size_t chunk)
{
    return &r->lane[chunk % LANES];
}

/* Brings the tables of a chunk to its lane. */
static void load(struct runner *r, size_t chunk)
{
    const struct dnas_chunk *k = &r->cut.chunks[chunk];
    const struct dnas_step_batch *batch = r->call->batch;
    struct lane *y = lane_of(r, chunk);

    if (y->is_used)
        r->api->mark_wait(r->device, y->mark);
    r->offset[0] = 0;
    for (size_t b = 0; b < k->n; b++) {
        size_t row = dnas_step_call_row(r->call, k->from + b), T = length(r, k->kind, k->from + b);

        memcpy((uint16_t *)y->ids.here + r->offset[b], batch->ids[row], T * sizeof(uint16_t));
        ((uint32_t *)y->row.here)[b] = (uint32_t)row;
        r->offset[b + 1] = r->offset[b] + (uint32_t)T;
    }
    r->api->pack_set(r->device, y->pack, r->offset, k->n);
    send(r, &y->ids, k->T * sizeof(uint16_t));
    send(r, &y->row, k->n * sizeof(uint32_t));
    if (k->kind != DNAS_CHUNK_WHOLE)
        fill_blend(r, y, k);
    if (r->call->guess)
        fill_guesses(r, y, k);
}

/* Marks the end of what was queued for a chunk. */
static void unload(struct runner *r, size_t chunk)
{
    struct lane *y = lane_of(r, chunk);

    r->api->mark_set(r->device, y->mark);
    y->is_used = true;
}

static struct dnas_pass pass_of(struct runner *r, size_t chunk)
{
    const struct dnas_chunk *k = &r->cut.chunks[chunk];
    const struct lane *y = lane_of(r, chunk);
    struct dnas_pass pass = {
        .pack = y->pack,
        .T = k->T,
        .first = k->first,
        .ids = y->ids.there,
        .row = y->row.there,
        .chance = {.drop = r->call->learning ? r->drop : 0,
                   .step = r->call->number,
                   .seed = r->o.seed},
    };

    for (size_t i = k->from; i < k->from + k->n; i++)
        pass.n_scores += (uint64_t)length(r, k->kind, i) * length(r, k->kind, i);
    return pass;
}

/* ---- a chunk forward and backward ---- */

static char *states(const struct runner *r, void *array, size_t row)
{
    return (char *)array + row * channels(r) * r->size;
}

static void blend(const struct runner *r, const struct lane *y, void *out, const void *in)
{
    r->api->blend(r->device, out, in, y->pack, y->at.there, y->n.there, y->part.there, channels(r),
                  r->d->type);
}

static void run_forward(struct runner *r, size_t chunk)
{
    const struct dnas_chunk *k = &r->cut.chunks[chunk];
    const struct lane *y = lane_of(r, chunk);
    size_t L = r->d->net->shape.L, layer = k->kind == DNAS_CHUNK_WHOLE ? 0 : r->call->mix->layer;
    struct dnas_pass pass;

    load(r, chunk);
    pass = pass_of(r, chunk);
    switch (k->kind) {
    case DNAS_CHUNK_WHOLE:
        r->way->embed(r->passes, &pass);
        r->way->forward(r->passes, &pass, 0, L);
        break;
    case DNAS_CHUNK_LOWER:
        r->way->embed(r->passes, &pass);
        r->way->forward(r->passes, &pass, 0, layer);
        r->api->copy(r->device, states(r, r->hidden, k->at), r->way->input(r->passes, &pass, layer),
                     k->T * channels(r) * r->size);
        r->in_hidden = k->group;
        break;
    case DNAS_CHUNK_UPPER:
        blend(r, y, r->way->input(r->passes, &pass, layer), r->hidden);
        r->way->forward(r->passes, &pass, layer, L);
        break;
    }
}

/* The first layer that learns; whether the embedding does. */
static size_t lowest(const struct runner *r)
{
    return r->o.n_frozen > 0 ? r->o.n_frozen - 1 : 0;
}

/* Whether no chunk that goes backward later has the layers of this one: but for guesses, chunk 0
 * goes last, and of mixed rows the first chunk. */
static bool is_last(const struct runner *r, size_t chunk)
{
    if (r->call->guess)
        return chunk + 1 == r->cut.n_chunks;
    for (size_t i = 0; i < chunk; i++)
        if (r->cut.chunks[i].kind == DNAS_CHUNK_UPPER)
            return false;
    return chunk == 0 || r->cut.chunks[chunk].kind == DNAS_CHUNK_UPPER;
}

/* Layers to-1..from backward; a layer's gradient that is then whole is added up over the ranks
 * while those below it run. */
static void backward_layers(struct runner *r, const struct dnas_pass *pass, size_t chunk,
                            size_t from, size_t to)
{
    bool is_whole = r->ranks && is_last(r, chunk);

    for (size_t l = to; is_whole && l-- > from;) {
        r->way->backward(r->passes, pass, r->dx, l, l + 1);
        dnas_net_ranks_layer(r->ranks, l);
    }
    if (!is_whole)
        r->way->backward(r->passes, pass, r->dx, from, to);
}

/* From dx, of the result of layer to-1, all that learns below. */
static void backward_below(struct runner *r, const struct dnas_pass *pass, size_t chunk, size_t to)
{
    backward_layers(r, pass, chunk, lowest(r), to);
    if (r->o.n_frozen == 0)
        r->way->backward_embed(r->passes, pass, r->dx, r->o.freeze_first);
}

/* dx from the gradients of the means. */
static void spread(const struct runner *r, size_t chunk)
{
    r->api->meanpool_bwd(r->device, r->dx,
                         (const float *)r->d_pooled.there + r->cut.chunks[chunk].from * channels(r),
                         r->lane[chunk % LANES].pack, channels(r), r->d->type);
}

static void run_backward(struct runner *r, size_t chunk)
{
    const struct dnas_chunk *k = &r->cut.chunks[chunk];
    const struct lane *y = lane_of(r, chunk);
    size_t L = r->d->net->shape.L, layer = k->kind == DNAS_CHUNK_WHOLE ? 0 : r->call->mix->layer;
    struct dnas_pass pass = pass_of(r, chunk);

    switch (k->kind) {
    case DNAS_CHUNK_WHOLE:
        spread(r, chunk);
        backward_below(r, &pass, chunk, L);
        break;
    case DNAS_CHUNK_UPPER:
        spread(r, chunk);
        backward_layers(r, &pass, chunk, layer > lowest(r) ? layer : lowest(r), L);
        r->api->copy(r->device, states(r, r->d_hidden, k->at), r->dx, k->T * channels(r) * r->size);
        break;
    case DNAS_CHUNK_LOWER:
        blend(r, y, r->dx, r->d_hidden);
        backward_below(r, &pass, chunk, layer);
        break;
    }
}

/* ---- a call ---- */

static int begin(struct dnas_step_runner *base, const struct dnas_step_call *c,
                 struct dnas_err *err)
{
    struct runner *r = of(base);
    const struct dnas_net *net = r->d->net;

    (void)err;
    if (!c->learning)
        return 0;
    r->api->zero(r->device, r->d->g, net->n * sizeof(*r->d->g));
    for (size_t i = 0; i < net->n_tensors; i++)
        if (net->tensors[i].part == DNAS_NET_HEAD)
            memset(net->g + net->tensors[i].at, 0, net->tensors[i].tensor.n * sizeof(*net->g));
    return 0;
}

static int wait(const struct runner *r, struct dnas_err *err)
{
    return r->api->wait(r->device) == 0 ? 0 : dnas_gpu_failed(r->d->gpu, err);
}

static int features(struct dnas_step_runner *base, const struct dnas_step_call *c, float *pooled,
                    struct dnas_err *err)
{
    struct runner *r = of(base);
    size_t n = 2 * (c->to - c->from), C = channels(r);
    double *means = r->pooled.there;

    plan(r, c);
    for (size_t i = 0; i < r->cut.n_chunks; i++) {
        const struct dnas_chunk *k = &r->cut.chunks[i];
        struct dnas_pass pass;

        run_forward(r, i);
        pass = pass_of(r, i);
        if (k->kind != DNAS_CHUNK_LOWER)
            r->api->meanpool_fwd(r->device, means + k->from * C,
                                 r->way->input(r->passes, &pass, r->d->net->shape.L), pass.pack, C,
                                 r->d->type);
        unload(r, i);
    }
    r->api->copy_out(r->device, r->pooled.here, means, n * C * sizeof(*means));
    if (wait(r, err) != 0)
        return -1;
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < C; k++)
            pooled[dnas_step_call_row(c, i) * C + k] =
                (float)((const double *)r->pooled.here)[i * C + k];
    return 0;
}

/* Before an upper chunk runs again: brings its group's states back to hidden. */
static void refill(struct runner *r, size_t chunk)
{
    const struct dnas_chunk *k = &r->cut.chunks[chunk];

    if (k->kind != DNAS_CHUNK_UPPER || r->in_hidden == k->group)
        return;
    for (size_t i = 0; i < chunk; i++)
        if (r->cut.chunks[i].kind == DNAS_CHUNK_LOWER && r->cut.chunks[i].group == k->group) {
            run_forward(r, i);
            unload(r, i);
        }
}

/* Chunks go backwards: what the last one left in features is still there. */
static int backward(struct dnas_step_runner *base, const struct dnas_step_call *c,
                    const float *d_pooled, struct dnas_err *err)
{
    struct runner *r = of(base);
    size_t n = 2 * (c->to - c->from), C = channels(r);

    (void)err;
    for (size_t i = 0; i < n; i++)
        memcpy((float *)r->d_pooled.here + i * C, d_pooled + dnas_step_call_row(c, i) * C,
               C * sizeof(*d_pooled));
    send(r, &r->d_pooled, n * C * sizeof(*d_pooled));
    for (size_t i = r->cut.n_chunks; i-- > 0;) {
        if (r->cut.chunks[i].kind == DNAS_CHUNK_LOWER && r->o.n_frozen > 0 &&
            c->mix->layer <= lowest(r))
            continue; /* nothing there learns */
        if (!r->cut.is_kept && i + 1 < r->cut.n_chunks) {
            refill(r, i);
            run_forward(r, i);
        } else if (r->cut.n_chunks > LANES) { /* others have had its lane */
            load(r, i);
        }
        run_backward(r, i);
        unload(r, i);
    }
    return 0;
}

/* Adds up the losses of a chunk's guesses, sequence by sequence. */
static void sum_losses(const struct runner *r, const struct dnas_chunk *k, double *loss)
{
    const double *each = r->loss.here;

    for (size_t i = k->from; i < k->from + k->n; i++) {
        size_t row = dnas_step_call_row(r->call, i);

        loss[row] = 0;
        for (size_t g = 0; g < r->call->guess[row].n; g++)
            loss[row] += *each++;
    }
}

static int guess(struct dnas_step_runner *base, const struct dnas_step_call *c, double *loss,
                 struct dnas_err *err)
{
    struct runner *r = of(base);
    size_t L = r->d->net->shape.L, C = channels(r), V = r->d->net->shape.V;

    plan(r, c);
    for (size_t i = 0; i < r->cut.n_chunks; i++) {
        const struct lane *y = lane_of(r, i);
        struct dnas_pass pass;

        run_forward(r, i);
        pass = pass_of(r, i);
        dnas_mlm_pass_run(r->mlm, r->loss.there, c->learning ? r->dx : NULL,
                          r->way->input(r->passes, &pass, L), y->guess.there, y->target.there,
                          y->n_guesses, pass.T, (float)(1 / c->n_guesses));
        r->passes->flop += (c->learning ? 6 : 2) * (uint64_t)y->n_guesses * C * (C + V);
        if (c->learning)
            backward_below(r, &pass, i, L);
        unload(r, i);
        r->api->copy_out(r->device, r->loss.here, r->loss.there, y->n_guesses * sizeof(*loss));
        if (wait(r, err) != 0)
            return -1;
        sum_losses(r, &r->cut.chunks[i], loss);
    }
    return 0;
}

/* The encoder's gradient is on the device, the head's on the host. */
static int finish(struct dnas_step_runner *base, struct dnas_comm *comm, size_t n,
                  struct dnas_err *err)
{
    const struct dnas_net_cuda *d = of(base)->d;
    struct dnas_net_ranks *ranks = of(base)->ranks;
    struct dnas_net *net = d->net;

    if (ranks && dnas_net_ranks_finish(ranks, n, err) != 0)
        return -1;
    if (comm && !ranks &&
        (dnas_net_cuda_get(d, net->g, d->g, n, err) != 0 ||
         dnas_comm_sum_f32(comm, net->g, n, err) != 0 ||
         dnas_net_cuda_put(d, d->g, net->g, n, err) != 0))
        return -1;
    for (size_t i = 0; i < net->n_tensors; i++) {
        const struct dnas_net_tensor *t = &net->tensors[i];

        if (t->part == DNAS_NET_HEAD &&
            dnas_net_cuda_put(d, d->g + t->at, net->g + t->at, t->tensor.n, err) != 0)
            return -1;
    }
    return 0;
}

static const struct dnas_step_runner_ops ops = {
    .begin = begin,
    .features = features,
    .backward = backward,
    .guess = guess,
    .finish = finish,
    .leave = leave,
    .flop = flop,
    .release = release,
};

/* ---- set-up ---- */

/* What does not depend on the room for rows. */
static int allocate(struct runner *r, struct dnas_err *err)
{
    size_t C = channels(r), hidden_bytes = r->n_hidden * C * r->size;

    r->offset = dnas_xalloc(r->max_B + 1, sizeof(*r->offset));
    if (hidden_bytes > 0) {
        r->hidden = r->api->alloc(r->device, hidden_bytes);
        r->d_hidden = r->api->alloc(r->device, hidden_bytes);
    }
    if (twin_new(r, &r->pooled, r->max_B * C * sizeof(double)) &&
        twin_new(r, &r->d_pooled, r->max_B * C * sizeof(float)) &&
        (hidden_bytes == 0 || (r->hidden && r->d_hidden)))
        return 0;
    if (*r->api->error(r->device))
        return dnas_gpu_failed(r->d->gpu, err);
    return dnas_err_set(err,
                        "GPU number %d (%s) has no %llu bytes left for the states of a batch: give "
                        "a smaller --batch, --mix-group or --max-tokens, or --device cpu",
                        r->d->gpu->number, r->d->gpu->info.name,
                        2 * (unsigned long long)hidden_bytes);
}

struct dnas_step_runner *dnas_step_cuda_new(struct dnas_net_cuda *d,
                                            const struct dnas_step_options *o, struct dnas_err *err)
{
    struct runner *r = dnas_xzalloc(1, sizeof(*r));

    r->base.ops = &ops;
    r->d = d;
    r->o = *o;
    r->api = d->gpu->api;
    r->device = d->gpu->device;
    r->way = d->net->backbone->pass;
    r->drop = dnas_step_drop(o);
    r->size = d->type == DNAS_CUDA_F32 ? sizeof(float) : sizeof(uint16_t);
    r->max_B = 2 * o->max_pairs;
    dnas_step_cut_init(&r->cut, o->max_pairs);
    size_hidden(r);
    if (dnas_net_ranks_new(&r->ranks, d, o->comm, o->exchange, err) == 0 && allocate(r, err) == 0 &&
        find_room(r, err) == 0)
        return &r->base;
    release(&r->base);
    return NULL;
}
