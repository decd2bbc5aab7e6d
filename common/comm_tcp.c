/* SPDX-License-Identifier: MIT
 *
 * comm_tcp.c - bytes between ranks by sockets from each to each.  Contract: comm_impl.h.
 *
 * In a call every rank sends to all others and gets from all at the same time, so that
 * no rank's line carries more than its share.  Messages have a number and a size, and a
 * rank that has closed its socket is noticed by all that wait, whomever they wait for.
 */
#define _GNU_SOURCE /* POLLRDHUP */
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "common/comm_impl.h"
#include "common/comm_mesh.h"
#include "common/msg.h"
#include "common/xmem.h"

struct header {
    uint64_t number, n_bytes;
};

/* The exchange with one rank: a header and n bytes each way. */
struct line {
    struct header out_header, in_header;
    const char *out;
    char *in;
    size_t n_out, n_in; /* done so far, headers included */
};

struct tcp {
    struct comm_mesh mesh;
    uint64_t number;      /* of the call at hand */
    struct line *lines;   /* [n_ranks] */
    struct pollfd *polls; /* [n_ranks] */
    bool closes;          /* ranks may end now */
};

/* ---- one rank ---- */

/* The part of header and n bytes that is behind the first `done`. */
static int parts(struct iovec part[2], struct header *h, void *data, size_t n, size_t done)
{
    int k = 0;

    if (done < sizeof(*h))
        part[k++] = (struct iovec){(char *)h + done, sizeof(*h) - done};
    done = done < sizeof(*h) ? 0 : done - sizeof(*h);
    if (done < n)
        part[k++] = (struct iovec){(char *)data + done, n - done};
    return k;
}

/* As much as goes; -1 where the rank has ended. */
static int move(ssize_t k, size_t *done)
{
    if (k > 0)
        *done += (size_t)k;
    return k > 0 || (k < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR)) ? 0 : -1;
}

static int send_some(int fd, struct line *y, size_t n)
{
    struct iovec part[2];
    struct msghdr m = {.msg_iov = part};

    m.msg_iovlen = (size_t)parts(part, &y->out_header, (void *)(uintptr_t)y->out, n, y->n_out);
    return move(sendmsg(fd, &m, MSG_NOSIGNAL), &y->n_out);
}

static int receive_some(int fd, struct line *y, size_t n)
{
    struct iovec part[2];
    struct msghdr m = {.msg_iov = part};
    /* No further than the header before it is known to be right. */
    size_t limit = y->n_in < sizeof(y->in_header) ? 0 : n;

    m.msg_iovlen = (size_t)parts(part, &y->in_header, y->in, limit, y->n_in);
    return move(recvmsg(fd, &m, 0), &y->n_in);
}

/* ---- all ranks ---- */

static int wrong_header(const struct dnas_comm *c, int rank, const struct line *y,
                        struct dnas_err *err)
{
    return dnas_err_set(err,
                        "rank %d of %d does something else than rank %d (message %" PRIu64
                        " of %" PRIu64 " bytes, not %" PRIu64 " of %" PRIu64
                        "): all ranks must be the same program with the same options",
                        rank, c->n_ranks, c->rank, y->in_header.number, y->in_header.n_bytes,
                        y->out_header.number, y->out_header.n_bytes);
}

/* What can be done with a rank now; -1 with a sentence. */
static int attend_to(struct dnas_comm *c, int rank, size_t n, struct dnas_err *err)
{
    struct tcp *t = c->state;
    struct line *y = &t->lines[rank];
    short events = t->polls[rank].revents;
    size_t whole = sizeof(struct header) + n;
    bool had_header = y->n_in >= sizeof(struct header);

    if (events && y->n_out == whole && y->n_in == whole)
        return comm_mesh_ended(rank, c->n_ranks, err);
    if (y->n_in < whole && (events & (POLLIN | POLLHUP | POLLERR)) &&
        receive_some(t->mesh.fd[rank], y, n) != 0)
        return comm_mesh_ended(rank, c->n_ranks, err);
    if (!had_header && y->n_in >= sizeof(struct header) &&
        memcmp(&y->in_header, &y->out_header, sizeof(struct header)) != 0)
        return wrong_header(c, rank, y, err);
    if (y->n_out < whole && (events & (POLLOUT | POLLHUP | POLLERR)) &&
        send_some(t->mesh.fd[rank], y, n) != 0)
        return comm_mesh_ended(rank, c->n_ranks, err);
    return 0;
}

/* Sets what is waited for; the number of ranks with which there is something left. */
static int set_polls(struct dnas_comm *c, size_t n)
{
    struct tcp *t = c->state;
    size_t whole = sizeof(struct header) + n;
    int n_left = 0;

    for (int rank = 0; rank < c->n_ranks; rank++) {
        const struct line *y = &t->lines[rank];
        short events = (short)((y->n_in < whole ? POLLIN : 0) | (y->n_out < whole ? POLLOUT : 0));

        n_left += rank != c->rank && events != 0;
        if (events == 0 && !t->closes)
            events = POLLRDHUP;
        t->polls[rank] = (struct pollfd){.fd = events ? t->mesh.fd[rank] : -1, .events = events};
    }
    return n_left;
}

/* Sends n bytes to each rank and gets as many of each: those for rank r begin at out + r step. */
static int exchange(struct dnas_comm *c, char *in, const char *out, size_t n, size_t step,
                    struct dnas_err *err)
{
    struct tcp *t = c->state;
    double until_s = dnas_clock_s() + c->deadline_s;

    t->number++;
    for (int rank = 0; rank < c->n_ranks; rank++)
        t->lines[rank] = (struct line){.out_header = {t->number, n},
                                       .out = out + (size_t)rank * step,
                                       .in = in + (size_t)rank * n};
    memcpy(in + (size_t)c->rank * n, out + (size_t)c->rank * step, n);
    while (set_polls(c, n) > 0) {
        double left = until_s - dnas_clock_s();

        if (left <= 0)
            return dnas_err_set(err,
                                "rank %d of %d has waited %g s for the others: one of them has "
                                "ended or hangs",
                                c->rank, c->n_ranks, c->deadline_s);
        if (poll(t->polls, (nfds_t)c->n_ranks, (int)ceil(1e3 * (left < 1e3 ? left : 1e3))) < 0 &&
            errno != EINTR)
            return dnas_err_set(err, "cannot wait for the other ranks: %s", strerror(errno));
        for (int rank = 0; rank < c->n_ranks; rank++)
            if (rank != c->rank && attend_to(c, rank, n, err) != 0)
                return -1;
    }
    return 0;
}

static int tcp_all_gather(struct dnas_comm *c, void *out, const void *in, size_t n_bytes,
                          struct dnas_err *err)
{
    return exchange(c, out, in, n_bytes, 0, err);
}

static int tcp_all_to_all(struct dnas_comm *c, void *out, const void *in, size_t n_bytes,
                          struct dnas_err *err)
{
    return exchange(c, out, in, n_bytes, n_bytes, err);
}

static int tcp_look(struct dnas_comm *c, struct dnas_err *err)
{
    struct tcp *t = c->state;

    for (int rank = 0; rank < c->n_ranks; rank++)
        t->polls[rank] = (struct pollfd){.fd = t->mesh.fd[rank], .events = POLLRDHUP};
    if (poll(t->polls, (nfds_t)c->n_ranks, 0) <= 0)
        return 0;
    for (int rank = 0; rank < c->n_ranks; rank++)
        if (rank != c->rank && t->polls[rank].revents)
            return comm_mesh_ended(rank, c->n_ranks, err);
    return 0;
}

/* ---- from beginning to end ---- */

static void release(struct dnas_comm *c)
{
    struct tcp *t = c->state;

    comm_mesh_close(&t->mesh);
    free(t->lines);
    free(t->polls);
    free(t);
    c->state = NULL;
}

/* Sockets that close tell the others.  A process that failed may have work on a GPU that never
 * ends and that a usual end would wait for. */
static void tcp_close(struct dnas_comm *c, bool failed)
{
    struct tcp *t = c->state;
    struct dnas_err err = {""};

    t->closes = true;
    if (!failed && dnas_comm_barrier(c, &err) != 0) {
        dnas_msg_error("%s", err.msg);
        failed = true;
    }
    release(c);
    if (failed) {
        fflush(NULL);
        _exit(1);
    }
}

static const struct comm_carrier tcp = {tcp_all_gather, tcp_all_to_all, tcp_look, tcp_close};

/* A first message of all. */
static int meet(struct dnas_comm *c, struct dnas_err *err)
{
    char *all = dnas_xzalloc((size_t)c->n_ranks, 1), mine = 1;
    int status = exchange(c, all, &mine, 1, 0, err);

    free(all);
    return status;
}

int comm_tcp_begin(struct dnas_comm *c, const struct comm_launch *l, const char *folder,
                   const char *job, struct dnas_err *err)
{
    struct tcp *t = dnas_xzalloc(1, sizeof(*t));
    char *name = comm_launch_job(job);
    int status = comm_mesh_open(&t->mesh, l->rank, l->n_ranks, folder, name, c->deadline_s, err);

    free(name);
    if (status != 0) {
        free(t);
        return -1;
    }
    c->rank = l->rank;
    c->n_ranks = l->n_ranks;
    c->local_rank = l->local_rank >= 0 ? l->local_rank : t->mesh.local_rank;
    t->lines = dnas_xzalloc((size_t)c->n_ranks, sizeof(*t->lines));
    t->polls = dnas_xzalloc((size_t)c->n_ranks, sizeof(*t->polls));
    c->state = t;
    if (meet(c, err) != 0) {
        release(c);
        return -1;
    }
    c->carrier = &tcp;
    return 0;
}
