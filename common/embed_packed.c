/* SPDX-License-Identifier: MIT
 *
 * embed_packed.c - batches for a GPU.  Contract: embed_packed.h.
 *
 * The pipeline's last step, one thread at a time and in order, gathers windows
 * into a batch.  A full batch goes into the device's queue, which returns at
 * once; the oldest of those under way is waited for only when its memory is
 * needed again.  Batches run one after the other there, so they share the
 * scratch memory; what the host writes or reads meanwhile is a batch's own.
 */
#include "common/embed_packed.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/msg.h"
#include "common/threads.h"
#include "common/xmem.h"

#define N_LANES 3 /* one being filled, one running, one waiting behind it */

/* A batch: being filled, or under way. */
struct lane {
    struct dnas_embed_place *places; /* [n_places] its windows, those without tokens too */
    size_t n_places, n_made;
    size_t T, B; /* tokens, and windows that have some */
    bool is_under_way;
    /* Of the host, for the device to copy. */
    uint16_t *ids;    /* [max_T] */
    uint32_t *offset; /* [max_B + 1] */
    double *means;    /* [max_B,C] */
    struct dnas_cuda_pack *pack;
    struct dnas_cuda_mark *done;
};

struct job {
    const struct dnas_packed *p;
    struct dnas_embed_source *source;
    struct dnas_embed_sum *sum;
    struct dnas_embed_window *slots;
    struct dnas_bpe_encoder **encoders; /* [n_threads] */
    struct lane lanes[N_LANES];
    int now;                     /* the lane being filled; the next one is the oldest */
    size_t wish;                 /* tokens of a batch; 0: what memory allows */
    size_t budget, max_T, max_B; /* tokens of a batch; what there is room for, 0: nothing yet */
    void *memory;                /* on the device */
    uint16_t *ids;               /* [max_T] there */
    double *means;               /* [max_B,C] there */
    void *scratch;               /* there */
    double *zero;                /* [C] the mean of no tokens */
    bool has_failed;
};

/* ---- memory ---- */

static uint64_t aligned(uint64_t size_bytes)
{
    return (size_bytes + 255) / 256 * 256;
}

/* Windows that a batch of so many tokens may have. */
static size_t most_windows(size_t T)
{
    return T < DNAS_BATCH_WINDOWS ? T : DNAS_BATCH_WINDOWS;
}

/* On the device, but for the packs, which the library makes. */
static uint64_t bytes_of(const struct job *j, size_t T)
{
    return aligned(T * sizeof(*j->ids)) +
           aligned(most_windows(T) * j->p->network->shape.C * sizeof(double)) +
           dnas_packed_scratch(j->p, T);
}

static void free_room(struct job *j)
{
    const struct dnas_cuda_api *api = j->p->gpu->api;
    struct dnas_cuda *d = j->p->gpu->device;

    for (int i = 0; i < N_LANES; i++) {
        struct lane *l = &j->lanes[i];

        if (l->ids)
            api->host_free(d, l->ids);
        if (l->offset)
            api->host_free(d, l->offset);
        if (l->means)
            api->host_free(d, l->means);
        if (l->pack)
            api->pack_free(d, l->pack);
        l->ids = NULL;
        l->offset = NULL;
        l->means = NULL;
        l->pack = NULL;
    }
    api->free(d, j->memory);
    j->memory = NULL;
    j->max_T = j->max_B = 0;
}

/* Whether there is memory for batches of T tokens. */
static bool try_room(struct job *j, size_t T)
{
    const struct dnas_cuda_api *api = j->p->gpu->api;
    struct dnas_cuda *d = j->p->gpu->device;
    size_t C = j->p->network->shape.C, B = most_windows(T);
    bool is_whole;

    free_room(j);
    j->memory = api->alloc(d, bytes_of(j, T));
    is_whole = j->memory != NULL;
    for (int i = 0; is_whole && i < N_LANES; i++) {
        struct lane *l = &j->lanes[i];

        l->ids = api->host_alloc(d, T * sizeof(*l->ids));
        l->offset = api->host_alloc(d, (B + 1) * sizeof(*l->offset));
        l->means = api->host_alloc(d, B * C * sizeof(*l->means));
        l->pack = dnas_packed_pack_new(j->p, T, B);
        is_whole = l->ids && l->offset && l->means && l->pack;
    }
    if (!is_whole) {
        free_room(j);
        return false;
    }
    j->ids = j->memory;
    j->means = (double *)(void *)((char *)j->memory + aligned(T * sizeof(*j->ids)));
    j->scratch = (char *)j->means + aligned(B * C * sizeof(double));
    j->max_T = T;
    j->max_B = B;
    return true;
}

/* Tokens of a batch that nine tenths of the free memory hold. */
static size_t affordable(const struct job *j)
{
    struct dnas_cuda_info info;
    size_t T = DNAS_BATCH_TOKENS;

    j->p->gpu->api->info(j->p->gpu->device, &info);
    while (T > 1 && bytes_of(j, T) > info.free_bytes / 10 * 9)
        T -= (T + 7) / 8;
    return T;
}

/* Room for a window of T tokens, and for a batch where it can be; nothing is under way. */
static int make_room(struct job *j, const struct dnas_embed_place *p, struct dnas_err *err)
{
    const struct dnas_gpu *g = j->p->gpu;
    size_t T = p->n_tokens;

    free_room(j);
    if (j->budget == 0)
        j->budget = j->wish ? j->wish : affordable(j);
    while (!try_room(j, j->budget > T ? j->budget : T)) {
        if (*g->api->error(g->device))
            return dnas_gpu_failed(g, err);
        if (j->budget <= T) {
            struct dnas_cuda_info info;

            g->api->info(g->device, &info);
            return dnas_err_set(err,
                                "'%.200s': its %zu tokens need %" PRIu64 " bytes of the GPU's "
                                "memory, of which %zu are free: try shorter windows (--window) "
                                "or --device cpu",
                                p->id, T, bytes_of(j, T), info.free_bytes);
        }
        j->budget /= 2;
        dnas_msg_verbose("the GPU's memory is short: batches of %zu tokens", j->budget);
    }
    return 0;
}

/* ---- batches ---- */

/* Puts the batch being filled into the device's queue, and goes on with the next lane. */
static void launch(struct job *j)
{
    const struct dnas_cuda_api *api = j->p->gpu->api;
    struct dnas_cuda *d = j->p->gpu->device;
    size_t C = j->p->network->shape.C;
    struct lane *l = &j->lanes[j->now];

    if (l->B > 0) {
        const void *hidden;

        l->offset[l->B] = (uint32_t)l->T;
        api->copy_in(d, j->ids, l->ids, l->T * sizeof(*l->ids));
        api->pack_set(d, l->pack, l->offset, l->B);
        hidden = dnas_packed_forward(j->p, j->scratch, j->ids, l->pack, l->T);
        api->meanpool_fwd(d, j->means, hidden, l->pack, C, j->p->type);
        api->copy_out(d, l->means, j->means, l->B * C * sizeof(*l->means));
        api->mark_set(d, l->done);
    }
    l->is_under_way = true;
    j->now = (j->now + 1) % N_LANES;
}

/* Waits for a batch that is under way, and adds its windows to the sum. */
static int harvest(struct job *j, struct lane *l, struct dnas_err *err)
{
    const struct dnas_gpu *g = j->p->gpu;
    size_t b = 0;

    if (!l->is_under_way)
        return 0;
    if (l->B > 0 && g->api->mark_wait(g->device, l->done) != 0)
        return dnas_gpu_failed(g, err);
    for (size_t i = 0; i < l->n_places; i++) {
        const struct dnas_embed_place *p = &l->places[i];
        const double *mean = p->n_tokens > 0 ? l->means + b++ * j->p->network->shape.C : j->zero;

        if (dnas_embed_sum_add(j->sum, p, mean, err) != 0)
            return -1;
    }
    l->n_places = l->T = l->B = 0;
    l->is_under_way = false;
    return 0;
}

/* All that is under way, in order. */
static int harvest_all(struct job *j, struct dnas_err *err)
{
    for (int i = 0; i < N_LANES; i++)
        if (harvest(j, &j->lanes[(j->now + i) % N_LANES], err) != 0)
            return -1;
    return 0;
}

static int launch_and_harvest(struct job *j, struct dnas_err *err)
{
    launch(j);
    return harvest(j, &j->lanes[j->now], err);
}

/* Exchanges the window's place with a free one of the lane. */
static void take_place(struct lane *l, struct dnas_embed_place *p,
                       const struct dnas_embed_source *source)
{
    struct dnas_embed_place free_one;

    if (l->n_places == l->n_made) {
        size_t n_more = l->n_made < 16 ? 16 : l->n_made;

        l->places = dnas_xrealloc(l->places, l->n_made + n_more, sizeof(*l->places));
        for (size_t i = 0; i < n_more; i++)
            dnas_embed_place_init(&l->places[l->n_made++], source);
    }
    free_one = l->places[l->n_places];
    l->places[l->n_places++] = *p;
    *p = free_one;
}

static int gather(struct job *j, struct dnas_embed_window *w, struct dnas_err *err)
{
    size_t T = w->ids.n;
    struct lane *l = &j->lanes[j->now];

    if (l->n_places == DNAS_BATCH_WINDOWS ||
        (l->B > 0 && T > 0 && (l->T + T > j->budget || l->B == j->max_B))) {
        if (launch_and_harvest(j, err) != 0)
            return -1;
    }
    if (T > j->max_T) {
        if (j->lanes[j->now].n_places > 0)
            launch(j);
        if (harvest_all(j, err) != 0 || make_room(j, &w->place, err) != 0)
            return -1;
    }
    l = &j->lanes[j->now];
    if (T > 0) {
        memcpy(l->ids + l->T, w->ids.v, T * sizeof(*l->ids));
        l->offset[l->B++] = (uint32_t)l->T;
        l->T += T;
    }
    take_place(l, &w->place, j->source);
    return 0;
}

/* ---- the pipeline ---- */

static int fill(void *ctx, int slot, struct dnas_err *err)
{
    struct job *j = ctx;

    return dnas_embed_window_fill(&j->slots[slot], j->source, err);
}

static int work(void *ctx, int slot, int worker, struct dnas_err *err)
{
    struct job *j = ctx;

    return dnas_embed_window_encode(&j->slots[slot], j->source, j->encoders[worker], err);
}

static int drain(void *ctx, int slot, struct dnas_err *err)
{
    struct job *j = ctx;

    if (gather(j, &j->slots[slot], err) == 0)
        return 0;
    j->has_failed = true;
    return -1;
}

/* What is left when all windows have been gathered, or those before an error of the input. */
static int finish(struct job *j, struct dnas_err *err)
{
    if (j->lanes[j->now].n_places > 0)
        launch(j);
    return harvest_all(j, err);
}

static int run(struct job *j, int n_threads, struct dnas_err *err)
{
    const struct dnas_pipeline p = {.fill = fill,
                                    .work = work,
                                    .drain = drain,
                                    .ctx = j,
                                    .n_slots = n_threads == 1 ? 1 : 2 * n_threads,
                                    .n_threads = n_threads};
    struct dnas_err late = {""};
    int status;

    j->slots = dnas_xalloc((size_t)p.n_slots, sizeof(*j->slots));
    j->encoders = dnas_xalloc((size_t)n_threads, sizeof(*j->encoders));
    for (int i = 0; i < p.n_slots; i++)
        dnas_embed_window_init(&j->slots[i], j->source);
    for (int i = 0; i < n_threads; i++)
        j->encoders[i] = dnas_bpe_encoder_new();
    status = dnas_pipeline_run(&p, err);
    if (!j->has_failed && finish(j, &late) != 0)
        status = dnas_err_set(err, "%s", late.msg); /* it is about rows before the other's */
    for (int i = 0; i < n_threads; i++)
        dnas_bpe_encoder_free(j->encoders[i]);
    for (int i = 0; i < p.n_slots; i++)
        dnas_embed_window_release(&j->slots[i]);
    free(j->slots);
    free(j->encoders);
    return status;
}

int dnas_embed_packed(const struct dnas_packed *p, struct dnas_embed_source *source,
                      struct dnas_embed_sum *sum, size_t batch_tokens, int n_threads,
                      struct dnas_err *err)
{
    const struct dnas_gpu *g = p->gpu;
    struct job j = {.p = p, .source = source, .sum = sum, .wish = batch_tokens};
    int status = 0;

    j.zero = dnas_xzalloc(p->network->shape.C, sizeof(*j.zero));
    for (int i = 0; i < N_LANES; i++) {
        j.lanes[i].done = g->api->mark_new(g->device);
        if (!j.lanes[i].done)
            status = -1;
    }
    status = status == 0 ? run(&j, n_threads, err) : dnas_gpu_failed(g, err);
    g->api->wait(g->device); /* after an error copies may be under way */
    free_room(&j);
    for (int i = 0; i < N_LANES; i++) {
        if (j.lanes[i].done)
            g->api->mark_free(g->device, j.lanes[i].done);
        for (size_t k = 0; k < j.lanes[i].n_made; k++)
            dnas_embed_place_release(&j.lanes[i].places[k]);
        free(j.lanes[i].places);
    }
    free(j.zero);
    return status;
}
