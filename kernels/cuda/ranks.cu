/* SPDX-License-Identifier: MIT
 *
 * ranks.cu - sums over the devices of several processes, by NCCL.  Contract: kernels/cuda.h.
 *
 * NCCL carries, and adds nothing up: of a piece every rank gets its own part from all,
 * adds these up in the order of the ranks, in double, and the parts are gathered, as
 * common/comm.c does with memory of the host.  So the bits are those of the host, and do
 * not depend on which of its algorithms NCCL chooses; as many bytes move as in a ring.
 *
 * Sums run in a queue of their own beside the device's.  Nobody waits for that queue but
 * ranks_wait, which asks: a rank that has gone would be waited for for ever.  A kernel of
 * NCCL that waits for such a rank is ended by an abort, which may hang itself; then it is
 * left, and the device is lost.
 */
#include "kernels/cuda/training.cuh"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#if __has_include(<nccl.h>)
#include <dlfcn.h>
#include <nccl.h>

#ifdef __CUDACC__
#define USUAL "libnccl.so.2"
#else
#define USUAL "none" /* a real one can do nothing with emulated devices */
#endif
#define THREADS 256
#define ABORT_S 10.0   /* that an abort may take; and how long a leave waits */
#define EAGER 2000     /* questions without a pause */
#define PAUSE_NS 20000 /* against steps of many milliseconds */

static_assert(sizeof(ncclUniqueId) == DNAS_CUDA_ID_BYTES, "ids of another size");

/* ---- the library ---- */

static struct {
    decltype(&ncclGetVersion) version;
    decltype(&ncclGetUniqueId) id;
    decltype(&ncclCommInitRankConfig) join;
    decltype(&ncclCommGetAsyncError) state;
    decltype(&ncclCommFinalize) finalize;
    decltype(&ncclCommDestroy) destroy;
    decltype(&ncclCommAbort) abort;
    decltype(&ncclGroupStart) group_start;
    decltype(&ncclGroupEnd) group_end;
    decltype(&ncclSend) send;
    decltype(&ncclRecv) receive;
    decltype(&ncclAllGather) all_gather;
    decltype(&ncclGetErrorString) text;
    int number; /* 0: there is none, and why */
    char why[400];
} nccl;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static bool take(void *library, const char *name, void *function)
{
    void *symbol = dlsym(library, name);

    memcpy(function, &symbol, sizeof(symbol));
    if (!symbol)
        snprintf(nccl.why, sizeof(nccl.why), "this NCCL has no %s: 2.14 or later is needed", name);
    return symbol != nullptr;
}

static void load(void)
{
    const char *wish = getenv("DNAS_NCCL_LIBRARY");
    const char *path = wish && *wish ? wish : USUAL;
    void *l;
    int number = 0;

    if (strcmp(path, "none") == 0) {
        snprintf(nccl.why, sizeof(nccl.why), "DNAS_NCCL_LIBRARY names none");
        return;
    }
    l = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!l) {
        snprintf(nccl.why, sizeof(nccl.why), "%s", dlerror());
        return;
    }
    if (take(l, "ncclGetVersion", &nccl.version) && take(l, "ncclGetUniqueId", &nccl.id) &&
        take(l, "ncclCommInitRankConfig", &nccl.join) &&
        take(l, "ncclCommGetAsyncError", &nccl.state) &&
        take(l, "ncclCommFinalize", &nccl.finalize) && take(l, "ncclCommDestroy", &nccl.destroy) &&
        take(l, "ncclCommAbort", &nccl.abort) && take(l, "ncclGroupStart", &nccl.group_start) &&
        take(l, "ncclGroupEnd", &nccl.group_end) && take(l, "ncclSend", &nccl.send) &&
        take(l, "ncclRecv", &nccl.receive) && take(l, "ncclAllGather", &nccl.all_gather) &&
        take(l, "ncclGetErrorString", &nccl.text) && nccl.version(&number) == ncclSuccess)
        nccl.number = number;
}

int dnas_cuda_ranks_version(char *why, size_t room)
{
    pthread_once(&once, load);
    if (nccl.number == 0)
        snprintf(why, room, "%s", nccl.why);
    return nccl.number;
}

int dnas_cuda_ranks_id(unsigned char *id, char *why, size_t room)
{
    ncclUniqueId made;
    ncclResult_t e;

    if (dnas_cuda_ranks_version(why, room) == 0)
        return -1;
    e = nccl.id(&made);
    if (e == ncclSuccess)
        memcpy(id, &made, sizeof(made));
    else
        snprintf(why, room, "ncclGetUniqueId: %s", nccl.text(e));
    return e == ncclSuccess ? 0 : -1;
}

/* ---- a group, and its end ---- */

struct dnas_cuda_ranks {
    struct dnas_cuda *d;
    struct dnas_cuda_join j;
    ncclComm_t comm;    /* NULL: none, or aborted */
    cudaStream_t queue; /* of the sums */
    cudaEvent_t ready;  /* set in the device's queue: what is to be summed is there */
    cudaEvent_t done;   /* set in this one */
    float *got;         /* [n_ranks part] */
    float *sum;         /* [part] of a piece */
};

/* An abort in a thread of its own; freed by whoever is last. */
struct ending {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    ncclComm_t comm;
    bool is_done, is_left;
};

static void *run_abort(void *argument)
{
    struct ending *e = (struct ending *)argument;
    bool is_left;

    nccl.abort(e->comm);
    pthread_mutex_lock(&e->lock);
    e->is_done = true;
    is_left = e->is_left;
    pthread_cond_signal(&e->changed);
    pthread_mutex_unlock(&e->lock);
    if (is_left)
        free(e);
    return nullptr;
}

/* Ends what NCCL has on the device; where that hangs, too, the device is lost. */
static void give_up(struct dnas_cuda_ranks *r)
{
    struct ending *e = (struct ending *)calloc(1, sizeof(*e));
    struct timespec until;
    pthread_t thread;
    int late = 0;
    bool is_done;

    if (!r->comm || !e) {
        free(e);
        return;
    }
    pthread_mutex_init(&e->lock, nullptr);
    pthread_cond_init(&e->changed, nullptr);
    e->comm = r->comm;
    r->comm = nullptr;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += (time_t)ABORT_S;
    if (pthread_create(&thread, nullptr, run_abort, e) != 0) {
        r->d->is_lost = true;
        free(e);
        return;
    }
    pthread_detach(thread);
    pthread_mutex_lock(&e->lock);
    while (!e->is_done && late == 0)
        late = pthread_cond_timedwait(&e->changed, &e->lock, &until);
    is_done = e->is_done;
    e->is_left = !is_done;
    pthread_mutex_unlock(&e->lock);
    if (is_done)
        free(e);
    else
        r->d->is_lost = true;
}

/* ---- waiting ---- */

#define RANKS_FAIL(r, ...) (CUDA_FAIL((r)->d, __VA_ARGS__), give_up(r), false)

/* Whether NCCL has taken a call, be it that it is still at it. */
static bool took(struct dnas_cuda_ranks *r, ncclResult_t e, const char *call)
{
    return e == ncclSuccess || e == ncclInProgress || RANKS_FAIL(r, "%s: %s", call, nccl.text(e));
}

static double clock_s(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Whether the queue of the sums has been carried out; false after an error, too. */
static bool is_idle(struct dnas_cuda_ranks *r)
{
    cudaError_t e = cudaStreamQuery(r->queue);

    if (e == cudaErrorNotReady) {
        (void)cudaGetLastError(); /* it is none */
        return false;
    }
    return CUDA_CHECK(r->d, e);
}

/* Waits until NCCL is at nothing any more, and with queue until the sums are done. */
static bool watch(struct dnas_cuda_ranks *r, bool queue, double deadline_s)
{
    const struct timespec pause = {0, PAUSE_NS};
    double start = clock_s();

    for (long asked = 0;; asked++) {
        ncclResult_t state = ncclInternalError, e = nccl.state(r->comm, &state);

        if (e == ncclSuccess)
            e = state;
        if (e != ncclSuccess && e != ncclInProgress)
            return RANKS_FAIL(r, "NCCL, with %d ranks: %s", r->j.n_ranks, nccl.text(e));
        if (e == ncclSuccess && (!queue || is_idle(r)))
            return true;
        if (r->d->error[0]) {
            give_up(r);
            return false;
        }
        if (r->j.look && asked % 64 == 63 && r->j.look(r->j.ctx) != 0)
            return RANKS_FAIL(r, "another rank has ended");
        if (clock_s() - start > deadline_s)
            return RANKS_FAIL(r,
                              "rank %d of %d has waited %g s for the others: one of them has "
                              "ended or hangs",
                              r->j.rank, r->j.n_ranks, deadline_s);
        if (asked > EAGER)
            nanosleep(&pause, nullptr);
    }
}

/* ---- from beginning to end ---- */

/* Without NCCL's part. */
static void release(struct dnas_cuda_ranks *r)
{
    struct dnas_cuda *d = r->d;

    d->ranks = nullptr;
    if (!d->is_lost) {
        cudaSetDevice(d->index);
        if (r->queue)
            cudaStreamDestroy(r->queue);
        if (r->ready)
            cudaEventDestroy(r->ready);
        if (r->done)
            cudaEventDestroy(r->done);
        dnas_cuda_free(d, r->got);
        dnas_cuda_free(d, r->sum);
        (void)cudaGetLastError();
    }
    free(r);
}

static size_t part_of(const struct dnas_cuda_ranks *r, size_t n)
{
    return (n + (size_t)r->j.n_ranks - 1) / (size_t)r->j.n_ranks;
}

static bool take_memory(struct dnas_cuda_ranks *r)
{
    struct dnas_cuda *d = r->d;
    size_t part = part_of(r, r->j.piece), bytes = part * sizeof(float);

    r->got = (float *)dnas_cuda_alloc(d, bytes * (size_t)r->j.n_ranks);
    r->sum = (float *)dnas_cuda_alloc(d, bytes);
    if (!r->got || !r->sum) {
        CUDA_FAIL(d,
                  "the device has no %zu bytes left to exchange gradients by: try a smaller "
                  "batch",
                  bytes * ((size_t)r->j.n_ranks + 1));
        return false;
    }
    return CUDA_CHECK(d, cudaStreamCreateWithFlags(&r->queue, cudaStreamNonBlocking)) &&
           CUDA_CHECK(d, cudaEventCreateWithFlags(&r->ready, cudaEventDisableTiming)) &&
           CUDA_CHECK(d, cudaEventCreateWithFlags(&r->done, cudaEventDisableTiming));
}

static bool join(struct dnas_cuda_ranks *r)
{
    ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
    ncclUniqueId id;

    memcpy(&id, r->j.id, sizeof(id));
    config.blocking = 0;
    return took(r, nccl.join(&r->comm, r->j.n_ranks, id, r->j.rank, &config),
                "ncclCommInitRankConfig") &&
           watch(r, false, r->j.deadline_s);
}

struct dnas_cuda_ranks *dnas_cuda_ranks_join(struct dnas_cuda *d, const struct dnas_cuda_join *j)
{
    struct dnas_cuda_ranks *r;
    char why[400] = "";

    if (!dnas_cuda_enter(d))
        return nullptr;
    r = (struct dnas_cuda_ranks *)calloc(1, sizeof(*r));
    if (!r || dnas_cuda_ranks_version(why, sizeof(why)) == 0) {
        CUDA_FAIL(d, "%s", r ? why : "out of memory");
        free(r);
        return nullptr;
    }
    r->d = d;
    r->j = *j;
    if (take_memory(r) && join(r)) {
        d->ranks = r;
        return r;
    }
    release(r);
    return nullptr;
}

void dnas_cuda_ranks_drop(struct dnas_cuda_ranks *r)
{
    if (!r)
        return;
    /* A communicator that is at nothing is left to the end of the process. */
    if (r->comm && (!dnas_cuda_enter(r->d) || !is_idle(r)))
        give_up(r);
    release(r);
}

void dnas_cuda_ranks_leave(struct dnas_cuda_ranks *r)
{
    bool all_is_done = dnas_cuda_enter(r->d) && r->comm && watch(r, true, r->j.deadline_s);

    if (all_is_done && took(r, nccl.finalize(r->comm), "ncclCommFinalize") &&
        watch(r, false, ABORT_S)) {
        nccl.destroy(r->comm);
        r->comm = nullptr;
    } else if (all_is_done) {
        r->d->error[0] = '\0'; /* it is NCCL's alone, and nothing is waited for any more */
    }
    dnas_cuda_ranks_drop(r);
}

/* ---- sums ---- */

/* out[i] = the sum over ranks of got[rank, i], n of the stride. */
__global__ static void __launch_bounds__(THREADS)
    add_ranks_kernel(float *out, const float *got, size_t stride, size_t n, int n_ranks)
{
    for (size_t i = (size_t)block_index() * THREADS + thread_index(); i < n;
         i += (size_t)n_blocks() * THREADS) {
        double sum = 0;

        for (int rank = 0; rank < n_ranks; rank++)
            sum += (double)got[(size_t)rank * stride + i];
        out[i] = (float)sum;
    }
}

/* The elements of a piece of n that are one rank's to sum. */
static size_t share_of(const struct dnas_cuda_ranks *r, int rank, size_t n)
{
    size_t part = part_of(r, n), from = (size_t)rank * part;

    return from >= n ? 0 : n - from < part ? n - from : part;
}

/* Each rank's part goes to it, and this rank's comes from all. */
static bool scatter(struct dnas_cuda_ranks *r, const float *x, size_t n)
{
    size_t part = part_of(r, n), own = share_of(r, r->j.rank, n);
    bool good = took(r, nccl.group_start(), "ncclGroupStart");

    for (int rank = 0; good && rank < r->j.n_ranks; rank++) {
        size_t theirs = share_of(r, rank, n);

        if (theirs > 0)
            good = took(
                r, nccl.send(x + (size_t)rank * part, theirs, ncclFloat, rank, r->comm, r->queue),
                "ncclSend");
        if (good && own > 0)
            good = took(
                r,
                nccl.receive(r->got + (size_t)rank * part, own, ncclFloat, rank, r->comm, r->queue),
                "ncclRecv");
    }
    return good && took(r, nccl.group_end(), "ncclGroupEnd") && watch(r, false, r->j.deadline_s);
}

static bool add_up(struct dnas_cuda_ranks *r, size_t n)
{
    size_t part = part_of(r, n), own = share_of(r, r->j.rank, n);

    if (own == 0)
        return true;
    SIMT_LAUNCH("add_ranks_kernel", add_ranks_kernel, dnas_cuda_grid(own, THREADS), THREADS, 0,
                r->queue, r->sum, r->got, part, own, r->j.n_ranks);
    return dnas_cuda_check(r->d, cudaGetLastError(), "add_ranks_kernel", __FILE__, __LINE__);
}

static bool sum_piece(struct dnas_cuda_ranks *r, float *x, size_t n)
{
    return scatter(r, x, n) && add_up(r, n) &&
           took(r, nccl.all_gather(r->sum, r->got, part_of(r, n), ncclFloat, r->comm, r->queue),
                "ncclAllGather") &&
           watch(r, false, r->j.deadline_s) &&
           CUDA_CHECK(r->d, cudaMemcpyAsync(x, r->got, n * sizeof(*x), cudaMemcpyDeviceToDevice,
                                            r->queue));
}

void dnas_cuda_ranks_sum(struct dnas_cuda_ranks *r, float *x, size_t n)
{
    if (!dnas_cuda_enter(r->d) || n == 0 ||
        !CUDA_CHECK(r->d, cudaEventRecord(r->ready, r->d->queue)) ||
        !CUDA_CHECK(r->d, cudaStreamWaitEvent(r->queue, r->ready, 0)))
        return;
    for (size_t at = 0; at < n; at += r->j.piece)
        if (!sum_piece(r, x + at, n - at < r->j.piece ? n - at : r->j.piece))
            return;
}

int dnas_cuda_ranks_wait(struct dnas_cuda_ranks *r)
{
    return dnas_cuda_enter(r->d) && watch(r, true, r->j.deadline_s) &&
                   CUDA_CHECK(r->d, cudaEventRecord(r->done, r->queue)) &&
                   CUDA_CHECK(r->d, cudaStreamWaitEvent(r->d->queue, r->done, 0))
               ? 0
               : -1;
}

#else /* nothing is declared from memory */

int dnas_cuda_ranks_version(char *why, size_t room)
{
    snprintf(why, room, "this build has no NCCL: its header was not there");
    return 0;
}

int dnas_cuda_ranks_id(unsigned char *, char *why, size_t room)
{
    return dnas_cuda_ranks_version(why, room) - 1;
}

struct dnas_cuda_ranks *dnas_cuda_ranks_join(struct dnas_cuda *d, const struct dnas_cuda_join *)
{
    if (dnas_cuda_enter(d))
        CUDA_FAIL(d, "this build has no NCCL");
    return nullptr;
}

void dnas_cuda_ranks_sum(struct dnas_cuda_ranks *, float *, size_t)
{
}

int dnas_cuda_ranks_wait(struct dnas_cuda_ranks *)
{
    return -1;
}

void dnas_cuda_ranks_leave(struct dnas_cuda_ranks *)
{
}

void dnas_cuda_ranks_drop(struct dnas_cuda_ranks *)
{
}

#endif
