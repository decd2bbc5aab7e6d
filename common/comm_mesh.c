/* SPDX-License-Identifier: MIT
 *
 * comm_mesh.c - ranks find each other.  Contract: comm_mesh.h.
 */
#define _GNU_SOURCE /* POLLRDHUP, accept4 */
#include "common/comm_mesh.h"

#include <errno.h>
#include <math.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "common/comm_place.h"
#include "common/msg.h"
#include "common/xmem.h"

#define MAGIC 0x3170637473616e64u /* with the order of bytes and the version of what follows */
#define GUESTS 64                 /* that have come and not yet said who they are */
#define GUEST_S 5.0               /* how long they may take for that, and how long a stranger */
#define LOOK_MS 20                /* between two looks at the clock */
#define PAUSE_NS 50000000         /* between two looks at the file */

/* The first words of who comes, and the answer. */
struct hello {
    uint64_t magic;
    unsigned char secret[COMM_SECRET];
    int32_t rank, to, n_ranks;
    uint32_t unused;
    struct comm_place place;
};
enum { WELCOME = 1, TAKEN, OTHER_NUMBER };
struct answer {
    uint64_t magic;
    unsigned char secret[COMM_SECRET];
    int32_t status, n_ranks;
};

struct guest {
    int fd;
    size_t n_got;
    double since_s;
    struct hello hello;
};

struct meeting {
    struct comm_mesh *m;
    struct comm_notice notice;
    char *path;
    int listener;
    double deadline_s, until_s;
    struct comm_place *places; /* [n_ranks] */
    struct guest guests[GUESTS];
    int n_guests;
};

int comm_mesh_ended(int rank, int n_ranks, struct dnas_err *err)
{
    return dnas_err_set(err, "rank %d of %d has ended before its time: what it said last tells why",
                        rank, n_ranks);
}

/* ---- sockets ---- */

static double smaller(double a, double b)
{
    return a < b ? a : b;
}

/* Waits for events: 1, 0 when the time is over, -1 on an error. */
static int wait_for(int fd, short events, double until_s)
{
    for (;;) {
        struct pollfd p = {.fd = fd, .events = events};
        double left = until_s - dnas_clock_s();
        int n = poll(&p, 1, left > 0 ? (int)ceil(1e3 * smaller(left, 1e3)) : 0);

        if (n > 0)
            return 1;
        if ((n < 0 && errno != EINTR) || left <= 0)
            return n < 0 && errno != EINTR ? -1 : 0;
    }
}

/* All n bytes there, or here: 1, 0 when the time is over, -1 where the other has gone. */
static int put(int fd, const void *data, size_t n, double until_s)
{
    for (size_t at = 0; at < n;) {
        ssize_t k = send(fd, (const char *)data + at, n - at, MSG_NOSIGNAL);

        if (k >= 0)
            at += (size_t)k;
        else if (errno == EAGAIN || errno == EWOULDBLOCK) {
            int ready = wait_for(fd, POLLOUT, until_s);

            if (ready != 1)
                return ready;
        } else if (errno != EINTR)
            return -1;
    }
    return 1;
}

static int take(int fd, void *data, size_t n, double until_s)
{
    for (size_t at = 0; at < n;) {
        ssize_t k = recv(fd, (char *)data + at, n - at, 0);

        if (k > 0)
            at += (size_t)k;
        else if (k < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
            int ready = wait_for(fd, POLLIN, until_s);

            if (ready != 1)
                return ready;
        } else if (k == 0 || errno != EINTR)
            return -1;
    }
    return 1;
}

/* The numeric address and port as one of a socket; NULL where it is none. */
static struct addrinfo *resolve(const char *address, uint32_t port)
{
    const struct addrinfo how = {.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV,
                                 .ai_socktype = SOCK_STREAM};
    struct addrinfo *found = NULL;
    char text[16];

    snprintf(text, sizeof(text), "%u", (unsigned)port);
    return getaddrinfo(address, text, &how, &found) == 0 ? found : NULL;
}

static void set_options(int fd)
{
    int yes = 1;

    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes));
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &yes, sizeof(yes));
}

/* A connection; -1 with errno. */
static int connect_to(const char *address, uint32_t port, double until_s)
{
    struct addrinfo *at = resolve(address, port);
    int fd = -1, failed = EINVAL;
    socklen_t n = sizeof(failed);

    if (at)
        fd = socket(at->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd >= 0) {
        failed = connect(fd, at->ai_addr, at->ai_addrlen) == 0 ? 0 : errno;
        if (failed == EINPROGRESS && wait_for(fd, POLLOUT, until_s) != 1)
            failed = ETIMEDOUT;
        else if (failed == EINPROGRESS)
            getsockopt(fd, SOL_SOCKET, SO_ERROR, &failed, &n);
    }
    if (at)
        freeaddrinfo(at);
    if (fd >= 0 && failed != 0)
        close(fd);
    errno = failed;
    if (fd >= 0 && failed == 0)
        set_options(fd);
    return failed == 0 ? fd : -1;
}

/* Listens at the wished address or at all of this machine, at a port that is free. */
static int listen_here(struct meeting *w, struct comm_place *here, struct dnas_err *err)
{
    const char *wish = getenv("DNAS_ADDRESS");
    struct addrinfo *at = resolve(wish && *wish ? wish : "0.0.0.0", 0);
    struct sockaddr_storage got;
    socklen_t n = sizeof(got);
    char port[16] = "";

    if (comm_place_here(here, err) != 0 || !at) {
        if (!at)
            dnas_err_set(err, "DNAS_ADDRESS is no numeric address: '%s'", wish ? wish : "");
        else
            freeaddrinfo(at);
        return -1;
    }
    w->listener = socket(at->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (w->listener < 0 || bind(w->listener, at->ai_addr, at->ai_addrlen) != 0 ||
        listen(w->listener, w->m->n_ranks + GUESTS) != 0 ||
        getsockname(w->listener, (struct sockaddr *)&got, &n) != 0 ||
        getnameinfo((struct sockaddr *)&got, n, NULL, 0, port, sizeof(port), NI_NUMERICSERV) != 0) {
        freeaddrinfo(at);
        return dnas_err_set(err, "cannot listen for the other ranks%s%s: %s", wish ? " at " : "",
                            wish ? wish : "", strerror(errno));
    }
    freeaddrinfo(at);
    here->port = (uint32_t)strtoul(port, NULL, 10);
    return 0;
}

/* As it came from another rank. */
static void make_sound(struct comm_place *p)
{
    p->machine[sizeof(p->machine) - 1] = '\0';
    for (int i = 0; i < COMM_ADDRESSES; i++)
        p->address[i][sizeof(p->address[i]) - 1] = '\0';
    if (p->n_addresses > COMM_ADDRESSES)
        p->n_addresses = COMM_ADDRESSES;
}

static bool is_same_secret(const unsigned char *a, const unsigned char *b)
{
    unsigned differ = 0; /* as long whatever the place of the first difference */

    for (size_t i = 0; i < COMM_SECRET; i++)
        differ |= a[i] ^ b[i];
    return differ == 0;
}

/* ---- going to another rank ---- */

/* Says who it is: the socket; -1 with the reason where that is nobody of this run (*final: or the
 * end of this one). */
static int introduce(struct meeting *w, int fd, int to, double until_s, bool *final,
                     struct dnas_err *err)
{
    struct comm_mesh *m = w->m;
    struct hello hello = {.magic = MAGIC, .rank = m->rank, .to = to, .n_ranks = m->n_ranks};
    struct answer answer;
    int got;

    memcpy(hello.secret, w->notice.secret, COMM_SECRET);
    hello.place = w->places[m->rank];
    got = put(fd, &hello, sizeof(hello), until_s);
    if (got == 1)
        got = take(fd, &answer, sizeof(answer), until_s);
    if (got != 1)
        return dnas_err_set(err, got == 0 ? "does not answer" : "does not know the secret");
    if (answer.magic != MAGIC || !is_same_secret(answer.secret, w->notice.secret + COMM_SECRET))
        return dnas_err_set(err, "is no rank of this run");
    if (answer.status == WELCOME)
        return 0;
    *final = true;
    return answer.status == OTHER_NUMBER
               ? dnas_err_set(err, "rank %d was told of %d ranks, and rank %d of %d", m->rank,
                              m->n_ranks, to, answer.n_ranks)
               : dnas_err_set(err, "rank %d is there already: two processes were given this number",
                              m->rank);
}

/* The socket of a rank that listens at a place; -1 as introduce. */
static int go_to(struct meeting *w, const struct comm_place *place, int to, double until_s,
                 bool *final, struct dnas_err *err)
{
    bool is_here = strcmp(place->machine, w->places[w->m->rank].machine) == 0;

    dnas_err_set(err, "it has no address");
    for (uint32_t i = 0; i < place->n_addresses && !*final; i++) {
        const char *address = place->address[i];
        bool is_loopback = strncmp(address, "127.", 4) == 0 || strcmp(address, "::1") == 0;
        int fd;

        if (is_loopback && !is_here)
            continue;
        fd = connect_to(address, place->port, smaller(until_s, dnas_clock_s() + GUEST_S));
        if (fd < 0) {
            dnas_err_set(err, "%s port %u: %s", address, (unsigned)place->port, strerror(errno));
            continue;
        }
        if (introduce(w, fd, to, until_s, final, err) == 0)
            return fd;
        close(fd);
        if (!*final)
            dnas_err_at(err, "%s port %u: ", address, (unsigned)place->port);
    }
    return -1;
}

/* Goes to rank 0 by its file, which may be of an earlier run or not there yet. */
static int go_to_first(struct meeting *w, struct dnas_err *err)
{
    const struct timespec pause = {0, PAUSE_NS};
    struct comm_mesh *m = w->m;
    struct dnas_err why = {""};
    bool final = false;

    for (;;) {
        int there = comm_notice_read(&w->notice, w->path, &why);

        if (there < 0)
            return dnas_err_set(err, "%s", why.msg);
        if (there == 1)
            m->fd[0] = go_to(w, &w->notice.place, 0, dnas_clock_s() + 2 * GUEST_S, &final, &why);
        if (m->fd[0] >= 0)
            return 0;
        if (final)
            return dnas_err_set(err, "%s", why.msg);
        if (there == 1)
            dnas_err_at(&why, "%s: ", w->path);
        if (dnas_clock_s() > w->until_s)
            return dnas_err_set(err, "rank %d of %d has waited %g s for rank 0: %s", m->rank,
                                m->n_ranks, w->deadline_s, why.msg);
        nanosleep(&pause, NULL);
    }
}

/* ---- those who come ---- */

static void dismiss(struct meeting *w, int i)
{
    close(w->guests[i].fd);
    w->guests[i] = w->guests[--w->n_guests];
}

static void let_in(struct meeting *w)
{
    int fd = accept4(w->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

    if (fd < 0)
        return;
    if (w->n_guests == GUESTS)
        dismiss(w, 0);
    set_options(fd);
    w->guests[w->n_guests++] = (struct guest){.fd = fd, .since_s = dnas_clock_s()};
}

/* Reads on what a guest says: a rank that is waited for is taken in, anybody else sent off. */
static void hear(struct meeting *w, int i)
{
    struct guest *g = &w->guests[i];
    const struct hello *hello = &g->hello;
    struct comm_mesh *m = w->m;
    struct answer answer = {.magic = MAGIC, .status = WELCOME, .n_ranks = m->n_ranks};
    ssize_t k = recv(g->fd, (char *)&g->hello + g->n_got, sizeof(*hello) - g->n_got, 0);

    if (k > 0)
        g->n_got += (size_t)k;
    else if (k == 0 || (errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR)) {
        dismiss(w, i);
        return;
    }
    if (g->n_got < sizeof(*hello))
        return;
    if (hello->magic != MAGIC || !is_same_secret(hello->secret, w->notice.secret) ||
        hello->to != m->rank) {
        dismiss(w, i);
        return;
    }
    if (hello->n_ranks != m->n_ranks)
        answer.status = OTHER_NUMBER;
    else if (hello->rank <= m->rank || hello->rank >= m->n_ranks || m->fd[hello->rank] >= 0)
        answer.status = TAKEN;
    memcpy(answer.secret, w->notice.secret + COMM_SECRET, COMM_SECRET);
    if (send(g->fd, &answer, sizeof(answer), MSG_NOSIGNAL) != (ssize_t)sizeof(answer) ||
        answer.status != WELCOME) {
        dismiss(w, i);
        return;
    }
    m->fd[hello->rank] = g->fd;
    w->places[hello->rank] = hello->place;
    make_sound(&w->places[hello->rank]);
    *g = w->guests[--w->n_guests];
}

/* The first rank from `from` on that has not come, or n_ranks. */
static int first_missing(const struct comm_mesh *m, int from)
{
    while (from < m->n_ranks && m->fd[from] >= 0)
        from++;
    return from;
}

static int late(const struct meeting *w, int from, struct dnas_err *err)
{
    return dnas_err_set(err, "rank %d of %d has waited %g s for rank %d, which has not come",
                        w->m->rank, w->m->n_ranks, w->deadline_s, first_missing(w->m, from));
}

/* Hears the guests that have said something, and sends off those that are slow. */
static void hear_guests(struct meeting *w, const struct pollfd *p)
{
    for (int i = w->n_guests; i-- > 0;) /* the last one takes the place of one that leaves */
        if (p[i].revents)
            hear(w, i);
    for (int i = w->n_guests; i-- > 0;)
        if (dnas_clock_s() - w->guests[i].since_s > GUEST_S)
            dismiss(w, i);
}

/* Waits until all ranks from `from` on have come. */
static int take_in(struct meeting *w, int from, struct dnas_err *err)
{
    struct comm_mesh *m = w->m;
    struct pollfd *p = dnas_xalloc((size_t)m->n_ranks + 1 + GUESTS, sizeof(*p));
    int status = 0;

    while (status == 0 && first_missing(m, from) < m->n_ranks) {
        int n = 0;

        for (int i = 0; i < w->n_guests; i++)
            p[n++] = (struct pollfd){.fd = w->guests[i].fd, .events = POLLIN};
        p[n++] = (struct pollfd){.fd = w->listener, .events = POLLIN};
        for (int rank = 0; rank < m->n_ranks; rank++)
            p[n++] = (struct pollfd){.fd = m->fd[rank], .events = POLLRDHUP};
        if (poll(p, (nfds_t)n, LOOK_MS) < 0 && errno != EINTR)
            status = dnas_err_set(err, "cannot wait for the other ranks: %s", strerror(errno));
        for (int rank = 0, first = n - m->n_ranks; status == 0 && rank < m->n_ranks; rank++)
            if (m->fd[rank] >= 0 && p[first + rank].revents)
                status = comm_mesh_ended(rank, m->n_ranks, err);
        if (status == 0 && dnas_clock_s() > w->until_s)
            status = late(w, from, err);
        if (status != 0)
            break;
        n = w->n_guests;
        hear_guests(w, p);
        if (p[n].revents & POLLIN)
            let_in(w);
    }
    free(p);
    return status;
}

/* ---- all together ---- */

/* As rank 0: waits for all, and tells them of each other. */
static int receive_all(struct meeting *w, struct dnas_err *err)
{
    struct comm_mesh *m = w->m;
    int status;

    w->notice.n_ranks = m->n_ranks;
    w->notice.place = w->places[0];
    if (comm_notice_secret(&w->notice, err) != 0 ||
        comm_notice_write(w->path, &w->notice, err) != 0)
        return -1;
    status = take_in(w, 1, err);
    comm_notice_remove(w->path, &w->notice);
    for (int rank = 1; status == 0 && rank < m->n_ranks; rank++)
        if (put(m->fd[rank], w->places, (size_t)m->n_ranks * sizeof(*w->places), w->until_s) != 1)
            status = comm_mesh_ended(rank, m->n_ranks, err);
    return status;
}

/* As another: goes to rank 0, learns of all, goes to those before it and waits for the rest. */
static int join_all(struct meeting *w, struct dnas_err *err)
{
    struct comm_mesh *m = w->m;
    bool final = false;
    int got;

    if (go_to_first(w, err) != 0)
        return -1;
    got = take(m->fd[0], w->places, (size_t)m->n_ranks * sizeof(*w->places), w->until_s);
    if (got < 0)
        return comm_mesh_ended(0, m->n_ranks, err);
    if (got == 0)
        return dnas_err_set(err, "rank %d of %d has waited %g s for all to come to rank 0", m->rank,
                            m->n_ranks, w->deadline_s);
    for (int rank = 0; rank < m->n_ranks; rank++)
        make_sound(&w->places[rank]);
    for (int rank = 1; rank < m->rank; rank++) {
        m->fd[rank] = go_to(w, &w->places[rank], rank, w->until_s, &final, err);
        if (m->fd[rank] < 0)
            return dnas_err_at(err, "rank %d does not find rank %d: ", m->rank, rank);
    }
    return take_in(w, m->rank + 1, err);
}

int comm_mesh_open(struct comm_mesh *m, int rank, int n_ranks, const char *folder, const char *job,
                   double deadline_s, struct dnas_err *err)
{
    struct meeting *w = dnas_xzalloc(1, sizeof(*w));
    int status = -1;

    *m = (struct comm_mesh){.rank = rank, .n_ranks = n_ranks};
    m->fd = dnas_xalloc((size_t)n_ranks, sizeof(*m->fd));
    for (int i = 0; i < n_ranks; i++)
        m->fd[i] = -1;
    w->m = m;
    w->listener = -1;
    w->deadline_s = deadline_s;
    w->until_s = dnas_clock_s() + deadline_s;
    w->places = dnas_xzalloc((size_t)n_ranks, sizeof(*w->places));
    w->path = comm_notice_path(folder, job, err);
    if (w->path && listen_here(w, &w->places[rank], err) == 0)
        status = rank == 0 ? receive_all(w, err) : join_all(w, err);
    for (int i = 0; status == 0 && i < rank; i++)
        m->local_rank += strcmp(w->places[i].machine, w->places[rank].machine) == 0;
    while (w->n_guests > 0)
        dismiss(w, 0);
    if (w->listener >= 0)
        close(w->listener);
    free(w->places);
    free(w->path);
    free(w);
    if (status != 0)
        comm_mesh_close(m);
    return status;
}

void comm_mesh_close(struct comm_mesh *m)
{
    for (int i = 0; m->fd && i < m->n_ranks; i++)
        if (m->fd[i] >= 0)
            close(m->fd[i]);
    free(m->fd);
    m->fd = NULL;
}
