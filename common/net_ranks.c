/* SPDX-License-Identifier: MIT
 *
 * net_ranks.c - gradients from GPU to GPU.  Contract: net_ranks.h.
 */
#include "common/net_ranks.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/msg.h"
#include "common/xmem.h"

#define PIECE ((size_t)1 << 22) /* floats on their way at a time: 16 MiB */
#define OF_NCCL 32              /* a share of the memory that NCCL takes: not measured */

const char *const dnas_exchanges[] = {"auto", "nccl", "host", NULL};

struct dnas_net_ranks {
    const struct dnas_net_cuda *d;
    struct dnas_comm *comm;
    struct dnas_cuda_ranks *group;
    bool *is_summed;       /* [n_tensors] */
    struct dnas_err ended; /* the sentence for a rank that is not there any more */
};

/* ---- whether NCCL can be used ---- */

/* What a rank has. */
struct offer {
    int32_t version; /* of NCCL; 0: none */
    unsigned char uuid[16];
    unsigned char id[DNAS_CUDA_ID_BYTES]; /* rank 0's */
    char why[256];
};

static void make_offer(struct offer *o, const struct dnas_net_cuda *d, int rank)
{
    const struct dnas_cuda_api *api = d->gpu->api;

    memset(o, 0, sizeof(*o));
    memcpy(o->uuid, d->gpu->info.uuid, sizeof(o->uuid));
    o->version = api->ranks_version(o->why, sizeof(o->why));
    if (o->version != 0 && rank == 0 && api->ranks_id(o->id, o->why, sizeof(o->why)) != 0)
        o->version = 0;
}

/* 0; -1 with the reason why these ranks cannot. */
static int compare(const struct offer *all, int n, struct dnas_err *why)
{
    for (int a = 0; a < n; a++) {
        if (all[a].version == 0)
            return dnas_err_set(why, "rank %d of %d has no NCCL: %.*s", a, n,
                                (int)sizeof(all[a].why), all[a].why);
        if (all[a].version != all[0].version)
            return dnas_err_set(why, "rank %d has version %d of NCCL, and rank 0 %d", a,
                                all[a].version, all[0].version);
        for (int b = 0; b < a; b++)
            if (memcmp(all[a].uuid, all[b].uuid, sizeof(all[a].uuid)) == 0)
                return dnas_err_set(why,
                                    "ranks %d and %d are on one GPU, which NCCL does not take: "
                                    "give each process one of its own (-d cuda, without a number)",
                                    b, a);
    }
    return 0;
}

/* ---- the group ---- */

static size_t piece_of(const struct dnas_net_cuda *d)
{
    return d->net->n < PIECE ? d->net->n : PIECE;
}

uint64_t dnas_net_ranks_bytes(const struct dnas_net_cuda *d, const struct dnas_comm *comm)
{
    if (!comm || dnas_comm_n_ranks(comm) == 1)
        return 0;
    return 2 * sizeof(float) * piece_of(d) + d->gpu->info.memory_bytes / OF_NCCL;
}

/* Asked by those who wait for the others. */
static int look(void *ctx)
{
    struct dnas_net_ranks *r = ctx;

    return dnas_comm_look(r->comm, &r->ended);
}

static int failed(const struct dnas_net_ranks *r, struct dnas_err *err)
{
    if (*r->ended.msg)
        return dnas_err_set(err, "%s", r->ended.msg);
    dnas_gpu_failed(r->d->gpu, err);
    return dnas_err_at(err, "gradients between GPUs (NCCL_DEBUG=WARN says more, --exchange host "
                            "does without): ");
}

static struct dnas_net_ranks *join(const struct dnas_net_cuda *d, struct dnas_comm *comm,
                                   const unsigned char *id, struct dnas_err *err)
{
    struct dnas_net_ranks *r = dnas_xzalloc(1, sizeof(*r));
    const struct dnas_cuda_join j = {.id = id,
                                     .rank = dnas_comm_rank(comm),
                                     .n_ranks = dnas_comm_n_ranks(comm),
                                     .piece = piece_of(d),
                                     .deadline_s = dnas_comm_deadline_s(comm),
                                     .look = look,
                                     .ctx = r};

    r->d = d;
    r->comm = comm;
    r->is_summed = dnas_xzalloc(d->net->n_tensors, sizeof(*r->is_summed));
    r->group = d->gpu->api->ranks_join(d->gpu->device, &j);
    if (r->group)
        return r;
    failed(r, err);
    dnas_net_ranks_drop(r);
    return NULL;
}

int dnas_net_ranks_new(struct dnas_net_ranks **r, const struct dnas_net_cuda *d,
                       struct dnas_comm *comm, enum dnas_exchange how, struct dnas_err *err)
{
    int n = comm ? dnas_comm_n_ranks(comm) : 1, status = -1;
    struct dnas_err why = {""};
    struct offer mine, *all;

    *r = NULL;
    if (n == 1)
        return 0;
    if (dnas_comm_check_same(comm, (uint64_t)how, "--exchange", err) != 0)
        return -1;
    if (how == DNAS_EXCHANGE_HOST)
        return 0;
    all = dnas_xalloc((size_t)n, sizeof(*all));
    make_offer(&mine, d, dnas_comm_rank(comm));
    if (dnas_comm_all_gather(comm, all, &mine, sizeof(mine), err) != 0)
        goto out;
    if (compare(all, n, &why) == 0) {
        *r = join(d, comm, all[0].id, err);
        status = *r ? 0 : -1;
    } else if (how == DNAS_EXCHANGE_NCCL) {
        dnas_err_set(err, "--exchange nccl: %s", why.msg);
    } else {
        if (dnas_comm_rank(comm) == 0)
            dnas_msg_note("gradients go through the memory of the host: %s", why.msg);
        status = 0;
    }
out:
    free(all);
    return status;
}

/* ---- sums ---- */

/* Where tensor i and the few 0 behind it end. */
static size_t end_of(const struct dnas_net *net, size_t i)
{
    return i + 1 < net->n_tensors ? net->tensors[i + 1].at : net->n;
}

/* Adds up tensors a..b-1 as far as the first n elements. */
static void sum_tensors(struct dnas_net_ranks *r, size_t a, size_t b, size_t n)
{
    const struct dnas_net *net = r->d->net;
    size_t from = a < net->n_tensors ? net->tensors[a].at : n, to = b > a ? end_of(net, b - 1) : 0;

    to = to < n ? to : n;
    if (from < to)
        r->d->gpu->api->ranks_sum(r->group, r->d->g + from, to - from);
    for (size_t i = a; i < b; i++)
        r->is_summed[i] = true;
}

void dnas_net_ranks_layer(struct dnas_net_ranks *r, size_t layer)
{
    const struct dnas_net *net = r->d->net;

    for (size_t a = 0, b; a < net->n_tensors; a = b + 1) {
        for (b = a; b < net->n_tensors && net->tensors[b].part == DNAS_NET_ENCODER &&
                    net->tensors[b].tensor.layer == layer;)
            b++;
        sum_tensors(r, a, b, net->n);
    }
}

int dnas_net_ranks_finish(struct dnas_net_ranks *r, size_t n, struct dnas_err *err)
{
    const struct dnas_net *net = r->d->net;

    for (size_t a = 0, b; a < net->n_tensors; a = b + 1) {
        for (b = a; b < net->n_tensors && !r->is_summed[b];)
            b++;
        sum_tensors(r, a, b, n);
    }
    memset(r->is_summed, 0, net->n_tensors * sizeof(*r->is_summed));
    return r->d->gpu->api->ranks_wait(r->group) == 0 ? 0 : failed(r, err);
}

/* ---- the end ---- */

static void release(struct dnas_net_ranks *r)
{
    free(r->is_summed);
    free(r);
}

void dnas_net_ranks_leave(struct dnas_net_ranks *r)
{
    if (!r)
        return;
    r->d->gpu->api->ranks_leave(r->group);
    release(r);
}

void dnas_net_ranks_drop(struct dnas_net_ranks *r)
{
    if (!r)
        return;
    r->d->gpu->api->ranks_drop(r->group);
    release(r);
}
