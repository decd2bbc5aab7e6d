/* SPDX-License-Identifier: MIT
 *
 * nccl.cpp - stands in for NCCL between processes of one machine whose devices are
 * emulated, for tests: libnccl-emulated.so.  Contract: ../nccl.h.
 *
 * The id is the name of a file that all map: from each rank to each other leads a ring of
 * bytes.  An operation is work of its stream that is asked again until the rings have
 * carried all of it.  Calls do not block, as with blocking = 0: after each the
 * communicator is in progress, and the next is refused before somebody has asked how it is.
 *
 * Faults, by the environment:
 *   DNAS_NCCL_FAULT       absent: this rank never comes; error:N, hang:N: operation N, from
 *                         1, ends in an error, or never
 *   DNAS_NCCL_FAULT_RANK  the one rank that has it; else all have
 *   DNAS_NCCL_STUCK       1: an abort never returns
 */
#define _GNU_SOURCE 1 /* locks of open files */
#include <nccl.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <memory>
#include <vector>

namespace
{

constexpr int max_ranks = 8;
constexpr size_t ring_bytes = (size_t)1 << 16;

struct ring {
    std::atomic<uint64_t> written, read;
    char data[ring_bytes];
};
struct shared {
    std::atomic<int> n_ranks;
    std::atomic<int> device[max_ranks]; /* 1 + its number; 0: not here yet */
    std::atomic<int> has_left[max_ranks];
    ring rings[max_ranks][max_ranks]; /* from, to */
};

struct transfer {
    bool is_send;
    int peer;
    char *data;
    size_t n, done;
};

} // namespace

struct ncclComm {
    int rank, n;
    int fd;
    shared *common;
    char path[128];
    cudaStream_t stream;
    bool is_together, is_asked; /* all have come; somebody asked after the last call */
    ncclResult_t state;
    std::atomic<bool> is_aborted;
    long n_operations;
    unsigned n_looks;
};

namespace
{

/* Of the group that is open. */
int depth;
ncclComm_t group_comm;
std::vector<transfer> group;

bool has_fault(const ncclComm *c, const char *name, long operation)
{
    const char *fault = getenv("DNAS_NCCL_FAULT"), *who = getenv("DNAS_NCCL_FAULT_RANK");
    size_t n = strlen(name);

    if (!fault || strncmp(fault, name, n) != 0 || (who && strtol(who, nullptr, 10) != c->rank))
        return false;
    return operation < 0 ? fault[n] == '\0'
                         : fault[n] == ':' && strtol(fault + n + 1, nullptr, 10) == operation;
}

/* As much as fits; whether that is all.  Of several transfers with a rank one way, the first. */
void move_on(ncclComm *c, transfer *t)
{
    ring *r =
        t->is_send ? &c->common->rings[c->rank][t->peer] : &c->common->rings[t->peer][c->rank];
    uint64_t written = r->written.load(), read = r->read.load();
    uint64_t at = t->is_send ? written : read;
    uint64_t room = t->is_send ? ring_bytes - (written - read) : written - read;

    for (uint64_t n = std::min<uint64_t>(room, t->n - t->done); n > 0;) {
        uint64_t k = std::min<uint64_t>(n, ring_bytes - at % ring_bytes);

        if (t->is_send)
            memcpy(r->data + at % ring_bytes, t->data + t->done, k);
        else
            memcpy(t->data + t->done, r->data + at % ring_bytes, k);
        t->done += k;
        at += k;
        n -= k;
    }
    (t->is_send ? r->written : r->read).store(at);
}

bool carry(ncclComm *c, std::vector<transfer> *all)
{
    bool busy[2][max_ranks] = {};
    bool done = true;

    for (transfer &t : *all) {
        if (t.done < t.n && !busy[t.is_send][t.peer]) {
            move_on(c, &t);
            busy[t.is_send][t.peer] = t.done < t.n;
        }
        done = done && t.done == t.n;
    }
    return done;
}

bool is_gone(const ncclComm *c, int rank)
{
    struct flock lock = {};

    lock.l_type = F_WRLCK;
    lock.l_whence = SEEK_SET;
    lock.l_start = rank;
    lock.l_len = 1;
    return rank != c->rank && !c->common->has_left[rank] && fcntl(c->fd, F_OFD_GETLK, &lock) == 0 &&
           lock.l_type == F_UNLCK;
}

/* Whether a call may be made now. */
ncclResult_t enter(ncclComm *c)
{
    if (!c || c->state != ncclSuccess || !c->is_asked)
        return ncclInvalidUsage;
    return ncclSuccess;
}

ncclResult_t queue(ncclComm *c, const std::vector<transfer> &transfers)
{
    auto all = std::make_shared<std::vector<transfer>>(transfers);
    ncclResult_t e = enter(c);
    long number = ++c->n_operations;
    bool hangs = has_fault(c, "hang", number);

    if (e != ncclSuccess)
        return e;
    for (const transfer &t : transfers)
        if (t.peer < 0 || t.peer >= c->n || !emulated_is_device_memory(t.data, t.n))
            return ncclInvalidArgument;
    if (has_fault(c, "error", number)) {
        c->state = ncclSystemError;
        hangs = true;
    }
    emulated_queue_until(c->stream,
                         [=] { return c->is_aborted || (!hangs && carry(c, all.get())); });
    c->is_asked = false;
    return ncclInProgress;
}

ncclResult_t add(ncclComm *c, bool is_send, int peer, void *data, size_t n, cudaStream_t stream)
{
    if (depth == 0 || (group_comm && group_comm != c))
        return ncclInvalidUsage;
    group_comm = c;
    c->stream = stream;
    group.push_back({is_send, peer, (char *)data, n * sizeof(float), 0});
    return ncclSuccess;
}

} // namespace

extern "C" {

#define PUBLIC __attribute__((visibility("default")))

PUBLIC ncclResult_t ncclGetVersion(int *version)
{
    *version = NCCL_VERSION_CODE;
    return ncclSuccess;
}

PUBLIC ncclResult_t ncclGetUniqueId(ncclUniqueId *id)
{
    const char *folder = getenv("TMPDIR");
    int fd;

    memset(id, 0, sizeof(*id));
    snprintf(id->internal, sizeof(id->internal), "%s/dnas-nccl.XXXXXX", folder ? folder : "/tmp");
    fd = mkstemp(id->internal);
    if (fd < 0 || ftruncate(fd, sizeof(shared)) != 0)
        return ncclSystemError;
    close(fd);
    return ncclSuccess;
}

PUBLIC ncclResult_t ncclCommInitRankConfig(ncclComm_t *comm, int n, ncclUniqueId id, int rank,
                                           ncclConfig_t *config)
{
    struct flock lock = {};
    ncclComm *c = new ncclComm();
    void *memory;
    int device = 0;

    lock.l_type = F_WRLCK;
    lock.l_whence = SEEK_SET;
    lock.l_start = rank;
    lock.l_len = 1;
    *comm = nullptr;
    c->rank = rank;
    c->n = n;
    memcpy(c->path, id.internal, sizeof(c->path));
    c->fd = open(c->path, O_RDWR | O_CLOEXEC);
    if (n < 1 || n > max_ranks || rank < 0 || rank >= n || config->blocking || c->fd < 0 ||
        fcntl(c->fd, F_OFD_SETLK, &lock) != 0) {
        delete c;
        return ncclInvalidUsage;
    }
    memory = mmap(nullptr, sizeof(shared), PROT_READ | PROT_WRITE, MAP_SHARED, c->fd, 0);
    if (memory == MAP_FAILED) {
        delete c;
        return ncclSystemError;
    }
    c->common = (shared *)memory;
    cudaGetDevice(&device);
    if (!has_fault(c, "absent", -1))
        c->common->device[rank] = 1 + device;
    c->state = ncclInProgress;
    *comm = c;
    return ncclInProgress;
}

/* Whether all have come, each with a device of its own. */
static ncclResult_t come_together(ncclComm *c)
{
    for (int a = 0; a < c->n; a++)
        if (c->common->device[a] == 0)
            return ncclInProgress;
    for (int a = 0; a < c->n; a++)
        for (int b = 0; b < a; b++)
            if (c->common->device[a] == c->common->device[b])
                return ncclInvalidUsage;
    unlink(c->path);
    return ncclSuccess;
}

PUBLIC ncclResult_t ncclCommGetAsyncError(ncclComm_t c, ncclResult_t *state)
{
    if (c->state == ncclInProgress)
        c->state = come_together(c);
    if (c->state == ncclSuccess && ++c->n_looks % 16 == 0)
        for (int rank = 0; rank < c->n; rank++)
            if (is_gone(c, rank))
                c->state = ncclRemoteError;
    *state = c->state;
    if (c->state == ncclSuccess && !c->is_asked) { /* the first answer after a call */
        c->is_asked = true;
        *state = ncclInProgress;
    }
    return ncclSuccess;
}

PUBLIC ncclResult_t ncclCommFinalize(ncclComm_t c)
{
    ncclResult_t e = enter(c);

    if (e != ncclSuccess)
        return e;
    c->common->has_left[c->rank] = 1;
    c->is_asked = false;
    return ncclInProgress;
}

PUBLIC ncclResult_t ncclCommDestroy(ncclComm_t c)
{
    if (!c->common->has_left[c->rank] || !c->is_asked)
        return ncclInvalidUsage;
    munmap(c->common, sizeof(shared));
    close(c->fd);
    delete c;
    return ncclSuccess;
}

/* What is queued may still ask for it, so it is not freed. */
PUBLIC ncclResult_t ncclCommAbort(ncclComm_t c)
{
    const char *stuck = getenv("DNAS_NCCL_STUCK");

    while (stuck && *stuck == '1')
        pause();
    c->is_aborted = true;
    unlink(c->path);
    return ncclSuccess;
}

PUBLIC ncclResult_t ncclGroupStart(void)
{
    depth++;
    return ncclSuccess;
}

PUBLIC ncclResult_t ncclGroupEnd(void)
{
    std::vector<transfer> all;
    ncclComm_t c = group_comm;

    if (depth == 0)
        return ncclInvalidUsage;
    if (--depth > 0 || !c)
        return ncclSuccess;
    all.swap(group);
    group_comm = nullptr;
    return queue(c, all);
}

PUBLIC ncclResult_t ncclSend(const void *from, size_t n, ncclDataType_t, int peer, ncclComm_t c,
                             cudaStream_t stream)
{
    return add(c, true, peer, (void *)from, n, stream);
}

PUBLIC ncclResult_t ncclRecv(void *to, size_t n, ncclDataType_t, int peer, ncclComm_t c,
                             cudaStream_t stream)
{
    return add(c, false, peer, to, n, stream);
}

PUBLIC ncclResult_t ncclAllGather(const void *from, void *to, size_t n, ncclDataType_t,
                                  ncclComm_t c, cudaStream_t stream)
{
    std::vector<transfer> all;
    size_t bytes = n * sizeof(float);

    c->stream = stream;
    for (int peer = 0; peer < c->n; peer++) {
        all.push_back({true, peer, (char *)from, bytes, 0});
        all.push_back({false, peer, (char *)to + (size_t)peer * bytes, bytes, 0});
    }
    return queue(c, all);
}

PUBLIC const char *ncclGetErrorString(ncclResult_t result)
{
    static const char *const texts[] = {"no error",
                                        "unhandled cuda error",
                                        "unhandled system error",
                                        "internal error",
                                        "invalid argument",
                                        "invalid usage",
                                        "remote process exited or there was a network "
                                        "error",
                                        "NCCL operation in progress"};

    return (unsigned)result < 8 ? texts[result] : "unknown";
}
}
