/* SPDX-License-Identifier: MIT
 *
 * accesses.cpp - who touched what in shared memory, and since which barrier.
 * Contract: accesses.h.
 *
 * For each word: its last writer and its readers since the last barrier of the block.
 * Threads of one warp are in order if a barrier of the warp stands between them; what else
 * they do together (shuffles, products) orders no memory.
 */
#include "kernels/cuda/emulator/accesses.h"

#include <stdint.h>
#include <string.h>

#include "kernels/cuda/emulator/groups.h"
#include "kernels/cuda/emulator/lanes.h"

namespace emulator
{

namespace
{

constexpr size_t most_shared = 227 << 10;
constexpr uintptr_t near = 64 << 10;
constexpr uint16_t none = 0xFFFF, several = 0xFFFE; /* several: of one warp */

struct word {
    uint32_t written, read, queued; /* at which time; queued: 0 if nothing is */
    uint32_t written_warp, read_warp;
    uint16_t writer, reader, reader_warp, other_warp;
};

word words[most_shared / 4];
uint32_t now, block_began, warp_now[32];
bool running;

/* Whether what `thread` did at the time of its warp comes before what this thread does. */
bool in_order(uint16_t warp, uint16_t thread, uint32_t warp_time)
{
    unsigned mine = here.thread / 32;

    return thread == here.thread || (warp == mine && warp_time != warp_now[mine]);
}

void read_word(word *w, size_t at)
{
    uint16_t mine = (uint16_t)(here.thread / 32);

    if (w->queued > block_began)
        fault("thread %u reads byte %zu of shared memory before its copy was waited for",
              here.thread, at);
    if (w->written == now && !in_order(w->writer / 32, w->writer, w->written_warp))
        fault("thread %u reads byte %zu of shared memory, which thread %u wrote with no barrier "
              "between",
              here.thread, at, w->writer);
    if (w->read != now) {
        w->read = now;
        w->reader = none;
        w->other_warp = none;
    }
    if (w->reader == none || w->reader_warp == mine) {
        bool more = w->reader != none && w->reader != here.thread && w->read_warp == warp_now[mine];

        w->reader = more ? several : (uint16_t)here.thread;
        w->reader_warp = mine;
        w->read_warp = warp_now[mine];
    } else {
        w->other_warp = mine;
    }
}

void write_word(word *w, size_t at)
{
    uint16_t mine = (uint16_t)(here.thread / 32);

    if (w->queued > block_began)
        fault("thread %u writes byte %zu of shared memory while a copy is on its way there",
              here.thread, at);
    if (w->written == now && !in_order(w->writer / 32, w->writer, w->written_warp))
        fault("threads %u and %u both write byte %zu of shared memory", w->writer, here.thread, at);
    if (w->read == now && ((w->other_warp != none && w->other_warp != mine) ||
                           !in_order(w->reader_warp, w->reader, w->read_warp)))
        fault("thread %u writes byte %zu of shared memory, which warp %u reads with no barrier "
              "between",
              here.thread, at, w->reader_warp != mine ? w->reader_warp : w->other_warp);
    w->written = now;
    w->writer = (uint16_t)here.thread;
    w->written_warp = warp_now[mine];
}

} // namespace

void accesses_block_begins(bool looked_at)
{
    running = looked_at;
    block_began = ++now;
}

void accesses_block_barrier(void)
{
    now++;
}

void accesses_warp_barrier(void)
{
    warp_now[here.thread / 32]++;
}

void accesses_end(void)
{
    running = false;
}

void access(const void *p, size_t bytes, bool writes)
{
    const unsigned char *at = (const unsigned char *)p;

    if (!running)
        return;
    if (at + bytes > here.shared && at < here.shared + here.shared_bytes + 256) {
        size_t from = (size_t)(at - here.shared);

        if (at < here.shared || from + bytes > here.shared_bytes)
            fault("thread %u: byte %td of %zu of shared memory", here.thread, at - here.shared,
                  here.shared_bytes);
        if (bytes < 4)
            return;
        if (writes)
            groups_written(from, bytes);
        for (size_t k = 0; k < bytes; k += 4)
            if (writes)
                write_word(&words[(from + k) / 4], from + k);
            else
                read_word(&words[(from + k) / 4], from + k);
        return;
    }
    /* The lane's own stack. */
    if ((uintptr_t)p - (uintptr_t)__builtin_frame_address(0) + near < 2 * near)
        return;
    const char *what = emulated_forbidden(p, bytes);
    if (what)
        fault("thread %u %s %zu bytes %s", here.thread, writes ? "writes" : "reads", bytes, what);
}

void access_queued(const void *p, size_t bytes)
{
    size_t from = (size_t)((const unsigned char *)p - here.shared);

    access(p, bytes, true);
    for (size_t k = 0; k < bytes; k += 4)
        words[(from + k) / 4].queued = now + 1;
}

void access_arrived(const void *p, size_t bytes)
{
    size_t from = (size_t)((const unsigned char *)p - here.shared);

    for (size_t k = 0; k < bytes; k += 4)
        words[(from + k) / 4].queued = 0;
    access(p, bytes, true);
}

void access_load_queued(const void *p, size_t bytes)
{
    size_t from = (size_t)((const unsigned char *)p - here.shared);

    for (size_t k = 0; k < bytes; k += 4)
        words[(from + k) / 4].queued = now + 1;
}

void access_load_arrived(const void *p, size_t bytes)
{
    size_t from = (size_t)((const unsigned char *)p - here.shared);

    for (size_t k = 0; k < bytes; k += 4) {
        word *w = &words[(from + k) / 4];

        w->queued = w->written = w->read = 0;
    }
}

} // namespace emulator

/* What the compiler calls. */
#define HOOK __attribute__((visibility("hidden"))) void
#define HOOKS(n)                                                                                   \
    HOOK __tsan_read##n(void *p)                                                                   \
    {                                                                                              \
        emulator::access(p, n, false);                                                             \
    }                                                                                              \
    HOOK __tsan_write##n(void *p)                                                                  \
    {                                                                                              \
        emulator::access(p, n, true);                                                              \
    }                                                                                              \
    HOOK __tsan_unaligned_read##n(void *p)                                                         \
    {                                                                                              \
        emulator::access(p, n, false);                                                             \
    }                                                                                              \
    HOOK __tsan_unaligned_write##n(void *p)                                                        \
    {                                                                                              \
        emulator::access(p, n, true);                                                              \
    }

extern "C" {
HOOKS(1)
HOOKS(2)
HOOKS(4)
HOOKS(8)
HOOKS(16)
HOOK __tsan_read_range(void *p, unsigned long bytes)
{
    emulator::access(p, bytes, false);
}
HOOK __tsan_write_range(void *p, unsigned long bytes)
{
    emulator::access(p, bytes, true);
}
/* clang's, in place of the library's. */
__attribute__((visibility("hidden"))) void *__tsan_memcpy(void *to, const void *from,
                                                          unsigned long bytes)
{
    emulator::access(from, bytes, false);
    emulator::access(to, bytes, true);
    return memcpy(to, from, bytes);
}
__attribute__((visibility("hidden"))) void *__tsan_memset(void *to, int value, unsigned long bytes)
{
    emulator::access(to, bytes, true);
    return memset(to, value, bytes);
}
HOOK __tsan_vptr_read(void *)
{
}
HOOK __tsan_vptr_update(void *, void *)
{
}
HOOK __tsan_init(void)
{
}
HOOK __tsan_func_entry(void *)
{
}
HOOK __tsan_func_exit(void)
{
}
}
