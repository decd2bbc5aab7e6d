/* SPDX-License-Identifier: MIT
 *
 * runtime.cpp - the emulated runtime: devices, queues that run when waited for,
 * memory with canaries.  Contract: cuda_runtime.h beside it.
 */
#include "kernels/cuda/emulator/cuda_runtime.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <deque>
#include <map>
#include <memory>
#include <set>
#include <string>

#include "kernels/cuda/emulator/accesses.h"
#include "kernels/cuda/emulator/lanes.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(p, n) ((void)(p), (void)(n))
#define ASAN_UNPOISON_MEMORY_REGION(p, n) ((void)(p), (void)(n))
#endif

/* What is known of an event, by it and by the work that waits for it. */
struct event_state {
    unsigned long n_recorded, n_reached;
    double at_s;
    cudaStream_t stream; /* of the last record; NULL: none */
};
struct emulated_event {
    std::shared_ptr<event_state> state;
};
struct emulated_stream {
    std::deque<std::function<bool()>> work; /* false: it has to be asked again */
};

namespace
{

constexpr size_t guard = 256;
constexpr unsigned char canary = 0xA5;

std::map<char *, size_t> device_memory, host_memory;
size_t used_bytes;
int device; /* of the one thread that calls */
std::map<const void *, int> shared_limit;
std::set<cudaStream_t> streams;
cudaError_t last_error; /* of a call */
cudaError_t broken;     /* the device is, for good */
std::string what_broke;
long n_launches_left = -1;

size_t total_bytes(void)
{
    const char *text = getenv("DNAS_EMULATED_MEMORY");

    return text ? (size_t)strtoull(text, nullptr, 10) : (size_t)256 << 20;
}

cudaError_t fail(cudaError_t e)
{
    last_error = e;
    return e;
}

void break_device(const std::string &what)
{
    if (broken != cudaSuccess)
        return;
    broken = cudaErrorIllegalAddress;
    what_broke = what;
    last_error = broken;
    for (cudaStream_t s : streams)
        s->work.clear();
}

/* The block of memory that holds p..p+bytes-1, or NULL. */
const std::pair<char *const, size_t> *block_of(const std::map<char *, size_t> &memory,
                                               const void *p, size_t bytes)
{
    auto next = memory.upper_bound((char *)p);

    if (next == memory.begin())
        return nullptr;
    auto found = std::prev(next);
    if ((const char *)p + bytes > found->first + found->second)
        return nullptr;
    return &*found;
}

void check_canaries(void)
{
    for (const auto &block : device_memory) {
        char *sides[2] = {block.first - guard, block.first + block.second};

        for (int k = 0; k < 2; k++) {
            ASAN_UNPOISON_MEMORY_REGION(sides[k], guard);
            for (size_t i = 0; i < guard; i++)
                if ((unsigned char)sides[k][i] != canary) {
                    break_device("something wrote " + std::string(k ? "behind" : "before") +
                                 " a block of " + std::to_string(block.second) + " bytes");
                    break;
                }
            ASAN_POISON_MEMORY_REGION(sides[k], guard);
        }
    }
}

/* Whether there was a record of an event, and it has been reached. */
bool is_reached(const event_state *e, unsigned long record)
{
    return e->n_reached >= record;
}

/* Runs what can be run; up to a record of an event where that is not NULL. */
void run_some(cudaStream_t s, const event_state *e, unsigned long record)
{
    while (broken == cudaSuccess && !s->work.empty() && !(e && is_reached(e, record))) {
        std::function<bool()> next = std::move(s->work.front());

        s->work.pop_front();
        if (!next()) {
            if (broken == cudaSuccess)
                s->work.push_front(std::move(next));
            return;
        }
    }
}

/* The same until it is done, however long that takes. */
cudaError_t run_queue(cudaStream_t s, const event_state *e, unsigned long record)
{
    for (;;) {
        const struct timespec pause = {0, 20000};

        run_some(s, e, record);
        if (broken != cudaSuccess || s->work.empty() || (e && is_reached(e, record)))
            break;
        nanosleep(&pause, nullptr);
    }
    check_canaries();
    return broken != cudaSuccess ? fail(broken) : cudaSuccess;
}

char *make_block(size_t bytes)
{
    char *raw = (char *)aligned_alloc(guard, (bytes + 2 * guard + guard - 1) / guard * guard);

    if (!raw)
        return nullptr;
    memset(raw, canary, bytes + 2 * guard);
    memset(raw + guard, 0xFF, bytes);
    return raw + guard;
}

/* Blocks that were touched of late. */
struct nearest {
    const char *from, *to;
};
nearest kept_blocks[4];

} // namespace

const char *emulated_forbidden(const void *address, size_t bytes)
{
    static unsigned turn;
    static char text[120];
    const char *p = (const char *)address;

    for (const nearest &k : kept_blocks)
        if (p >= k.from && p + bytes <= k.to)
            return nullptr;
    auto next = device_memory.upper_bound((char *)address);
    for (int back = 0; back < 2; back++) {
        if (back == 0 ? next == device_memory.end() : next == device_memory.begin())
            continue;
        const auto &block = back == 0 ? *next : *std::prev(next);
        const char *from = block.first, *to = from + block.second;

        if (p + bytes <= from - guard || p >= to + guard)
            continue;
        if (p >= from && p + bytes <= to) {
            kept_blocks[turn++ % 4] = {from, to};
            return nullptr;
        }
        snprintf(text, sizeof(text), "at %td of a block of %zu bytes", p - from, block.second);
        return text;
    }
    if (block_of(host_memory, address, bytes))
        return "of the host's memory";
    return nullptr;
}

const char *cudaGetErrorString(cudaError_t e)
{
    switch (e) {
    case cudaSuccess:
        return "no error";
    case cudaErrorInvalidValue:
        return "invalid argument";
    case cudaErrorMemoryAllocation:
        return "out of memory";
    case cudaErrorInvalidConfiguration:
        return "invalid configuration argument";
    case cudaErrorInvalidDevice:
        return "invalid device ordinal";
    case cudaErrorNotReady:
        return "device not ready";
    case cudaErrorIllegalAddress:
        return what_broke.empty() ? "an illegal memory access was encountered" : what_broke.c_str();
    }
    return "unknown error";
}

const char *cudaGetErrorName(cudaError_t e)
{
    return cudaGetErrorString(e);
}

cudaError_t cudaGetLastError(void)
{
    cudaError_t e = last_error;

    last_error = broken;
    return e;
}

cudaError_t cudaPeekAtLastError(void)
{
    return last_error;
}

cudaError_t cudaGetDeviceCount(int *n)
{
    const char *text = getenv("DNAS_EMULATED_DEVICES");

    *n = text ? (int)strtol(text, nullptr, 10) : 1;
    return cudaSuccess;
}

static bool is_device(int i)
{
    int n = 0;

    cudaGetDeviceCount(&n);
    return i >= 0 && i < n;
}

cudaError_t cudaSetDevice(int i)
{
    if (!is_device(i))
        return fail(cudaErrorInvalidDevice);
    device = i;
    return cudaSuccess;
}

cudaError_t cudaGetDevice(int *i)
{
    *i = device;
    return cudaSuccess;
}

cudaError_t cudaGetDeviceProperties(cudaDeviceProp *p, int i)
{
    if (!is_device(i))
        return fail(cudaErrorInvalidDevice);
    memset(p, 0, sizeof(*p));
    snprintf(p->name, sizeof(p->name), "emulated");
    memcpy(p->uuid.bytes, "emulated", 8);
    memcpy(p->uuid.bytes + 8, &i, sizeof(i));
    p->totalGlobalMem = total_bytes();
    p->major = 9;
    p->multiProcessorCount = 2;
    return cudaSuccess;
}

cudaError_t cudaMemGetInfo(size_t *free_bytes, size_t *total)
{
    *total = total_bytes();
    *free_bytes = *total > used_bytes ? *total - used_bytes : 0;
    return cudaSuccess;
}

cudaError_t cudaDriverGetVersion(int *version)
{
    *version = 13000;
    return cudaSuccess;
}

cudaError_t cudaRuntimeGetVersion(int *version)
{
    *version = 13000;
    return cudaSuccess;
}

int emulated_is_device_memory(const void *p, size_t bytes)
{
    return block_of(device_memory, p, bytes) != nullptr;
}

cudaError_t emulated_malloc(void **p, size_t bytes)
{
    char *block;

    *p = nullptr;
    if (broken != cudaSuccess)
        return fail(broken);
    if (bytes > total_bytes() || used_bytes > total_bytes() - bytes || !(block = make_block(bytes)))
        return fail(cudaErrorMemoryAllocation);
    ASAN_POISON_MEMORY_REGION(block - guard, guard);
    ASAN_POISON_MEMORY_REGION(block + bytes, guard);
    device_memory[block] = bytes;
    used_bytes += bytes;
    *p = block;
    return cudaSuccess;
}

/* As CUDA's, it waits for everything that uses the memory. */
cudaError_t cudaFree(void *p)
{
    if (!p)
        return cudaSuccess;
    for (cudaStream_t s : streams)
        run_queue(s, nullptr, 0);
    auto found = device_memory.find((char *)p);
    if (found == device_memory.end())
        return fail(cudaErrorInvalidValue);
    ASAN_UNPOISON_MEMORY_REGION(found->first - guard, found->second + 2 * guard);
    memset(kept_blocks, 0, sizeof(kept_blocks));
    used_bytes -= found->second;
    free(found->first - guard);
    device_memory.erase(found);
    return broken != cudaSuccess ? fail(broken) : cudaSuccess;
}

cudaError_t emulated_host_malloc(void **p, size_t bytes)
{
    char *block = bytes > (size_t)1 << 40 ? nullptr : make_block(bytes);

    *p = nullptr;
    if (broken != cudaSuccess || !block) {
        free(block ? block - guard : nullptr);
        return fail(broken != cudaSuccess ? broken : cudaErrorMemoryAllocation);
    }
    host_memory[block] = bytes;
    *p = block;
    return cudaSuccess;
}

cudaError_t cudaFreeHost(void *p)
{
    auto found = host_memory.find((char *)p);

    if (!p)
        return cudaSuccess;
    if (found == host_memory.end())
        return fail(cudaErrorInvalidValue);
    memset(found->first, 0xFF, found->second); /* what is copied from it now is wrong */
    free(found->first - guard);
    host_memory.erase(found);
    return cudaSuccess;
}

void emulated_queue_until(cudaStream_t s, std::function<bool()> work)
{
    const char *eager = getenv("DNAS_EMULATED_EAGER");

    if (broken != cudaSuccess)
        return;
    s->work.push_back(std::move(work));
    if (eager && *eager == '1') { /* also what waited for others */
        for (cudaStream_t other : streams)
            run_some(other, nullptr, 0);
        check_canaries();
    }
}

void emulated_queue(cudaStream_t s, std::function<void()> work)
{
    emulated_queue_until(s, [work] {
        work();
        return true;
    });
}

cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t bytes, cudaMemcpyKind kind,
                            cudaStream_t s)
{
    if (broken != cudaSuccess)
        return fail(broken);
    if (bytes == 0)
        return cudaSuccess;
    if (!block_of(kind == cudaMemcpyDeviceToHost ? host_memory : device_memory, to, bytes) ||
        !block_of(kind == cudaMemcpyHostToDevice ? host_memory : device_memory, from, bytes))
        return fail(cudaErrorInvalidValue);
    emulated_queue(s, [=] {
        /* Freed since: the copy would have gone on. */
        if (!block_of(kind == cudaMemcpyDeviceToHost ? host_memory : device_memory, to, bytes) ||
            !block_of(kind == cudaMemcpyHostToDevice ? host_memory : device_memory, from, bytes))
            break_device("a copy of memory that was freed before a wait");
        else
            memmove(to, from, bytes);
    });
    return cudaSuccess;
}

cudaError_t cudaMemsetAsync(void *p, int value, size_t bytes, cudaStream_t s)
{
    if (broken != cudaSuccess)
        return fail(broken);
    if (bytes == 0)
        return cudaSuccess;
    if (!block_of(device_memory, p, bytes))
        return fail(cudaErrorInvalidValue);
    emulated_queue(s, [=] { memset(p, value, bytes); });
    return cudaSuccess;
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t *s, unsigned)
{
    *s = new emulated_stream();
    streams.insert(*s);
    return cudaSuccess;
}

cudaError_t cudaStreamDestroy(cudaStream_t s)
{
    cudaError_t e = run_queue(s, nullptr, 0);

    streams.erase(s);
    delete s;
    if (streams.empty()) { /* a fault ends with the last stream, that tests may go on */
        broken = last_error = cudaSuccess;
        what_broke.clear();
    }
    return e;
}

cudaError_t cudaStreamSynchronize(cudaStream_t s)
{
    return run_queue(s, nullptr, 0);
}

cudaError_t cudaStreamQuery(cudaStream_t s)
{
    run_some(s, nullptr, 0);
    if (broken != cudaSuccess)
        return fail(broken);
    if (!s->work.empty())
        return fail(cudaErrorNotReady);
    check_canaries();
    return broken != cudaSuccess ? fail(broken) : cudaSuccess;
}

/* Waits for the last record until now; for one of an event that has none, not at all. */
cudaError_t cudaStreamWaitEvent(cudaStream_t s, cudaEvent_t e, unsigned)
{
    std::shared_ptr<event_state> state = e->state;
    unsigned long record = state->n_recorded;
    cudaStream_t of = state->stream;

    if (broken != cudaSuccess)
        return fail(broken);
    emulated_queue_until(s, [=] {
        if (!is_reached(state.get(), record))
            run_some(of, state.get(), record);
        return is_reached(state.get(), record);
    });
    return cudaSuccess;
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t *e, unsigned)
{
    *e = new emulated_event();
    (*e)->state = std::make_shared<event_state>();
    return broken != cudaSuccess ? fail(broken) : cudaSuccess;
}

cudaError_t cudaEventDestroy(cudaEvent_t e)
{
    delete e;
    return cudaSuccess;
}

cudaError_t cudaEventRecord(cudaEvent_t e, cudaStream_t s)
{
    std::shared_ptr<event_state> state = e->state;

    if (broken != cudaSuccess)
        return fail(broken);
    state->stream = s;
    unsigned long record = ++state->n_recorded;
    emulated_queue(s, [=] {
        struct timespec now;

        clock_gettime(CLOCK_MONOTONIC, &now);
        state->at_s = (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
        state->n_reached = record;
    });
    return cudaSuccess;
}

cudaError_t cudaEventSynchronize(cudaEvent_t e)
{
    const event_state *state = e->state.get();

    if (!state->stream)
        return broken != cudaSuccess ? fail(broken) : cudaSuccess;
    return run_queue(state->stream, state, state->n_recorded);
}

cudaError_t cudaEventElapsedTime(float *ms, cudaEvent_t from, cudaEvent_t to)
{
    const event_state *a = from->state.get(), *b = to->state.get();

    if (!a->stream || !b->stream)
        return fail(cudaErrorInvalidValue);
    if (!is_reached(a, a->n_recorded) || !is_reached(b, b->n_recorded))
        return fail(cudaErrorNotReady);
    *ms = (float)(1e3 * (b->at_s - a->at_s));
    return cudaSuccess;
}

/* What the documentation of cuTensorMapEncodeTiled asks for, of two dimensions of bf16. */
static CUresult encode_tiled(CUtensorMap *map, CUtensorMapDataType type, cuuint32_t rank,
                             void *base, const cuuint64_t *sizes, const cuuint64_t *pitches,
                             const cuuint32_t *box, const cuuint32_t *steps, CUtensorMapInterleave,
                             CUtensorMapSwizzle swizzle, CUtensorMapL2promotion,
                             CUtensorMapFloatOOBfill)
{
    emulated_map m = {EMULATED_MAP_MARK,
                      (const unsigned char *)base,
                      sizes[0],
                      sizes[1],
                      pitches[0],
                      box[0],
                      box[1],
                      swizzle == CU_TENSOR_MAP_SWIZZLE_128B};

    if (type != CU_TENSOR_MAP_DATA_TYPE_BFLOAT16 || rank != 2 || (uintptr_t)base % 16 != 0 ||
        m.columns == 0 || m.columns > (uint64_t)1 << 32 || m.rows == 0 ||
        m.rows > (uint64_t)1 << 32 || m.pitch_bytes % 16 != 0 ||
        m.pitch_bytes >= (uint64_t)1 << 40 || m.pitch_bytes < 2 * m.columns || box[0] == 0 ||
        box[0] > 256 || box[1] == 0 || box[1] > 256 || box[0] * 2 % 16 != 0 ||
        (m.swizzled && box[0] * 2 > 128) || steps[0] != 1 || steps[1] != 1 ||
        (uintptr_t)map % 64 != 0)
        return CUDA_ERROR_INVALID_VALUE;
    static_assert(sizeof(m) <= sizeof(*map), "there is room");
    memcpy((void *)map, &m, sizeof(m));
    return CUDA_SUCCESS;
}

cudaError_t cudaGetDriverEntryPointByVersion(const char *symbol, void **function, unsigned,
                                             unsigned long long,
                                             cudaDriverEntryPointQueryResult *result)
{
    if (strcmp(symbol, "cuTensorMapEncodeTiled") != 0)
        return fail(cudaErrorInvalidValue);
    *function = (void *)encode_tiled;
    *result = cudaDriverEntryPointSuccess;
    return cudaSuccess;
}

cudaError_t emulated_set_shared(const void *kernel, int bytes)
{
    if (bytes < 0 || bytes > 227 << 10)
        return fail(cudaErrorInvalidValue);
    shared_limit[kernel] = bytes;
    return cudaSuccess;
}

void emulated_launch(const char *name, const void *kernel, size_t n_blocks, size_t n_threads,
                     size_t shared_bytes, cudaStream_t s, std::function<void()> body)
{
    auto limit = shared_limit.find(kernel);
    const char *faulty = getenv("DNAS_EMULATED_FAULT");

    if (broken != cudaSuccess)
        return;
    if (n_blocks == 0 || n_blocks > 0x7FFFFFFF || n_threads == 0 || n_threads > 1024 ||
        n_threads % 32 != 0 ||
        shared_bytes > (limit == shared_limit.end() ? (size_t)48 << 10 : (size_t)limit->second)) {
        last_error = cudaErrorInvalidConfiguration;
        return;
    }
    emulated_queue(s, [=] {
        const char *wrong = "";

        if (faulty && n_launches_left < 0)
            n_launches_left = strtol(faulty, nullptr, 10);
        if (!faulty)
            n_launches_left = -1;
        if (n_launches_left > 0 && --n_launches_left == 0) {
            n_launches_left = -1;
            wrong = "an illegal memory access was encountered";
        } else {
            wrong = emulator::run_blocks(name, n_blocks, n_threads, shared_bytes, body);
        }
        if (*wrong)
            break_device(wrong);
    });
}
