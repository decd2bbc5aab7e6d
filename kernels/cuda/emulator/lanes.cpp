/* SPDX-License-Identifier: MIT
 *
 * lanes.cpp - fibers that play the lanes of a block.  Contract: lanes.h.
 *
 * A fiber is made once by makecontext and lives on from launch to launch; switches are
 * _setjmp and _longjmp, which make no system call.
 */
#undef _FORTIFY_SOURCE /* its longjmp takes another stack for a broken one */
#include "kernels/cuda/emulator/lanes.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>

#include <vector>

#include "kernels/cuda/emulator/accesses.h"
#include "kernels/cuda/emulator/groups.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

namespace emulator
{

namespace
{

constexpr size_t stack_bytes = 256 << 10;
constexpr unsigned max_threads = 1024;

enum state { READY, AT_WARP, AT_BLOCK, ASLEEP, AT_TURN, ENDED };

struct copy {
    void *to;
    const void *from; /* NULL: zeros */
    bool done;
};

struct fiber {
    jmp_buf at;
    ucontext_t context;
    bool begun;
    char *stack;
    size_t size;
    void *fake; /* of AddressSanitizer */
};

struct lane {
    fiber f;
    enum state state;
    const void *awaited; /* ASLEEP: until woken by what wakes these */
    const char *why;
    std::vector<copy> copies;
    std::vector<size_t> groups; /* copies in each that was committed */
    size_t n_open;              /* in the one that was not */
};

struct warp {
    unsigned n_joined;
    void (*act)(void *const[32]);
    void *each[32];
};

lane lanes[max_threads];
warp warps[max_threads / 32];
fiber scheduler;
const std::function<void()> *body;
bool copies_at_once, loads_come_first;
char complaint[400];
const char *kernel_name;

#if defined(__SANITIZE_ADDRESS__)
fiber *left; /* the last that was switched from */

void arrived(void *fake)
{
    const void *bottom;
    size_t size;

    __sanitizer_finish_switch_fiber(fake, &bottom, &size);
    left->stack = (char *)bottom;
    left->size = size;
}
#endif

/* Leaves `from`, whose turn comes again when something switches to it. */
void switch_fiber(fiber *from, fiber *to)
{
#if defined(__SANITIZE_ADDRESS__)
    left = from;
    __sanitizer_start_switch_fiber(&from->fake, to->stack, to->size);
#endif
    if (_setjmp(from->at) == 0) {
        if (!to->begun) {
            to->begun = true;
            setcontext(&to->context);
        }
        _longjmp(to->at, 1);
    }
#if defined(__SANITIZE_ADDRESS__)
    arrived(from->fake);
#endif
}

void run_lane(void)
{
#if defined(__SANITIZE_ADDRESS__)
    arrived(nullptr);
#endif
    for (;;) {
        (*body)();
        lane *l = &lanes[here.thread];

        if (!l->copies.empty())
            fault("thread %u ended with copies that it did not wait for", here.thread);
        groups_lane_ends();
        l->state = ENDED;
        switch_fiber(&l->f, &scheduler);
    }
}

void make_fiber(fiber *f)
{
    if (!f->stack) {
        f->stack = (char *)mmap(nullptr, stack_bytes, PROT_READ | PROT_WRITE,
                                MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (f->stack == MAP_FAILED)
            abort();
        f->size = stack_bytes;
    }
#if defined(__SANITIZE_ADDRESS__)
    __asan_unpoison_memory_region(f->stack, f->size);
#endif
    getcontext(&f->context);
    f->context.uc_stack.ss_sp = f->stack;
    f->context.uc_stack.ss_size = f->size;
    f->context.uc_link = nullptr;
    f->begun = false;
    makecontext(&f->context, run_lane, 0);
}

/* The lane gives way to the next of its warp that can run, or else to the scheduler. */
void give_way(void)
{
    unsigned me = here.thread, first = me / 32 * 32;

    for (unsigned k = 1; k < 32; k++) {
        unsigned next = first + (me + k) % 32;

        if (lanes[next].state == READY) {
            here.thread = next;
            switch_fiber(&lanes[me].f, &lanes[next].f);
            return;
        }
    }
    switch_fiber(&lanes[me].f, &scheduler);
}

unsigned count(unsigned w, enum state s)
{
    unsigned n = 0;

    for (unsigned l = 0; l < 32; l++)
        n += lanes[32 * w + l].state == s;
    return n;
}

/* Runs a warp until its lanes all stand at a barrier or have ended. */
bool run_warp(unsigned w)
{
    for (unsigned l = 0; l < 32; l++) {
        lane *to = &lanes[32 * w + l];

        if (to->state != READY)
            continue;
        here.thread = 32 * w + l;
        switch_fiber(&scheduler, &to->f);
        if (complaint[0])
            return false;
        l = (unsigned)-1; /* from the first lane again */
    }
    if (count(w, AT_WARP) > 0 && count(w, ASLEEP) + count(w, AT_TURN) == 0) {
        snprintf(complaint, sizeof(complaint),
                 "%s: block %u: warp %u: %u lanes wait for the others of their warp, of which %u "
                 "stand at a barrier and %u have ended",
                 kernel_name, here.block, w, count(w, AT_WARP), count(w, AT_BLOCK),
                 count(w, ENDED));
        return false;
    }
    return true;
}

/* Lanes that gave their turn to the others have it again; whether there were any. */
bool turns_come(unsigned n_warps)
{
    bool any = false;

    for (unsigned t = 0; t < 32 * n_warps; t++)
        if (lanes[t].state == AT_TURN) {
            lanes[t].state = READY;
            any = true;
        }
    return any;
}

bool can_run(unsigned n_warps)
{
    for (unsigned t = 0; t < 32 * n_warps; t++)
        if (lanes[t].state == READY)
            return true;
    return false;
}

/* When no lane can go on but by what a GPU does in its own time; whether there was such a thing.
 * A load may come before lanes that stood back go on, and after. */
bool time_passes(unsigned n_warps)
{
    return loads_come_first ? groups_load_arrives() || turns_come(n_warps)
                            : turns_come(n_warps) || groups_load_arrives();
}

bool run_block(unsigned n_warps, unsigned turn)
{
    for (;; turn++) {
        unsigned n_waiting = 0, n_ended = 0, n_asleep = 0, sleeper = 0;

        /* Now the first warp is ahead of the others, now the last. */
        for (unsigned k = 0; k < n_warps; k++)
            if (!run_warp(turn % 2 ? n_warps - 1 - k : k))
                return false;
        if (can_run(n_warps) || time_passes(n_warps)) {
            if (complaint[0])
                return false;
            continue;
        }
        for (unsigned t = 0; t < 32 * n_warps; t++) {
            n_waiting += lanes[t].state == AT_BLOCK;
            n_ended += lanes[t].state == ENDED;
            if (lanes[t].state == ASLEEP && n_asleep++ == 0)
                sleeper = t;
        }
        if (n_asleep > 0) {
            snprintf(complaint, sizeof(complaint),
                     "%s: block %u: %u threads wait for what never comes, thread %u for %s",
                     kernel_name, here.block, n_asleep, sleeper, lanes[sleeper].why);
            return false;
        }
        if (n_waiting == 0)
            return true;
        if (n_ended > 0) {
            snprintf(complaint, sizeof(complaint),
                     "%s: block %u: %u threads ended while %u stand at a barrier", kernel_name,
                     here.block, n_ended, n_waiting);
            return false;
        }
        for (unsigned t = 0; t < 32 * n_warps; t++)
            lanes[t].state = READY;
        accesses_block_barrier();
        groups_block_barrier();
    }
}

} // namespace

place here;

static void complain(const char *format, va_list args)
{
    int n = snprintf(complaint, sizeof(complaint), "%s: block %u: ", kernel_name, here.block);

    vsnprintf(complaint + n, sizeof(complaint) - (size_t)n, format, args);
}

void block_fault(const char *format, ...)
{
    va_list args;

    if (complaint[0])
        return;
    va_start(args, format);
    complain(format, args);
    va_end(args);
}

void fault(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    complain(format, args);
    va_end(args);
    switch_fiber(&lanes[here.thread].f, &scheduler);
    abort(); /* no fiber of a faulty launch runs again */
}

const char *run_blocks(const char *name, size_t n_blocks, size_t n_threads, size_t shared_bytes,
                       const std::function<void()> &work)
{
    static unsigned n_launches;
    const size_t guard = 256;
    unsigned n_warps = (unsigned)n_threads / 32;
    unsigned char *shared =
        (unsigned char *)aligned_alloc(1024, (shared_bytes + guard + 1023) / 1024 * 1024);

    if (!shared)
        abort();
    scheduler.begun = true;
    body = &work;
    kernel_name = name;
    complaint[0] = '\0';
    n_launches++;
    here.n_blocks = (unsigned)n_blocks;
    here.n_threads = (unsigned)n_threads;
    here.shared = shared;
    here.shared_bytes = shared_bytes;
    memset(shared + shared_bytes, 0xA5, guard);
    for (unsigned t = 0; t < n_threads; t++)
        if (!lanes[t].f.begun)
            make_fiber(&lanes[t].f);
    for (size_t b = 0; b < n_blocks && !complaint[0]; b++) {
        here.block = (unsigned)(n_launches % 2 ? b : n_blocks - 1 - b);
        copies_at_once = (b + n_launches) % 2 == 0;
        loads_come_first = (b + n_launches) / 2 % 2 == 0;
        memset(shared, 0xFF, shared_bytes);
        memset(warps, 0, sizeof(warps));
        for (unsigned t = 0; t < n_threads; t++) {
            lanes[t].state = READY;
            lanes[t].copies.clear();
            lanes[t].groups.clear();
            lanes[t].n_open = 0;
        }
#if defined(__SANITIZE_ADDRESS__)
        __asan_poison_memory_region(shared + shared_bytes, guard);
#endif
        accesses_block_begins((b + n_launches) % 4 == 0);
        groups_block_begins(copies_at_once, (b + n_launches) % 3 == 0);
        if (run_block(n_warps, here.block))
            groups_block_ends();
        accesses_end();
#if defined(__SANITIZE_ADDRESS__)
        __asan_unpoison_memory_region(shared + shared_bytes, guard);
#endif
        for (size_t i = 0; i < guard && !complaint[0]; i++)
            if (shared[shared_bytes + i] != 0xA5)
                snprintf(complaint, sizeof(complaint),
                         "%s: block %u wrote to byte %zu of %zu of shared memory", name, here.block,
                         shared_bytes + i, shared_bytes);
    }
    /* Fibers that stand in the middle of a faulty kernel begin anew. */
    if (complaint[0])
        for (unsigned t = 0; t < max_threads; t++)
            lanes[t].f.begun = false;
    free(shared);
    return complaint;
}

void block_barrier(void)
{
    lanes[here.thread].state = AT_BLOCK;
    give_way();
}

void sleep_until_woken(const void *awaited, const char *why)
{
    lane *l = &lanes[here.thread];

    l->awaited = awaited;
    l->why = why;
    l->state = ASLEEP;
    give_way();
}

void wake(const void *awaited)
{
    for (unsigned t = 0; t < here.n_threads; t++)
        if (lanes[t].state == ASLEEP && lanes[t].awaited == awaited)
            lanes[t].state = READY;
}

void stand_back(void)
{
    lanes[here.thread].state = AT_TURN;
    give_way();
}

void join_warp(void (*act)(void *const each[32]), void *mine)
{
    warp *w = &warps[here.thread / 32];

    if (w->n_joined > 0 && w->act != act)
        fault("lanes of warp %u are at different instructions", here.thread / 32);
    w->act = act;
    w->each[here.thread % 32] = mine;
    if (++w->n_joined < 32) {
        lanes[here.thread].state = AT_WARP;
        give_way();
        return;
    }
    w->n_joined = 0;
    act(w->each);
    for (unsigned l = 0; l < 32; l++)
        lanes[here.thread / 32 * 32 + l].state = READY;
}

void check_aligned(const void *p, size_t bytes)
{
    if ((uintptr_t)p % bytes != 0)
        fault("thread %u: an access of %zu bytes at %p", here.thread, bytes, p);
}

void check_shared(const void *p, size_t bytes)
{
    const unsigned char *at = (const unsigned char *)p;

    check_aligned(p, bytes);
    if (at < here.shared || at + bytes > here.shared + here.shared_bytes)
        fault("thread %u: byte %td of %zu of shared memory", here.thread, at - here.shared,
              here.shared_bytes);
}

double bf16_value(uint32_t bits)
{
    float x;

    bits <<= 16;
    memcpy(&x, &bits, sizeof(x));
    return (double)x;
}

static void carry_out(copy *c)
{
    if (!c->done && c->from)
        memcpy(c->to, c->from, 16);
    else if (!c->done)
        memset(c->to, 0, 16);
    c->done = true;
}

void copy_async16(void *shared, const void *from, bool inside)
{
    lane *l = &lanes[here.thread];

    check_shared(shared, 16);
    check_aligned(from, 16);
    l->copies.push_back({shared, inside ? from : nullptr, false});
    l->n_open++;
    access_queued(shared, 16);
    if (copies_at_once)
        carry_out(&l->copies.back());
}

void copy_async_commit(void)
{
    lane *l = &lanes[here.thread];

    l->groups.push_back(l->n_open);
    l->n_open = 0;
}

void copy_async_wait(unsigned groups_left)
{
    lane *l = &lanes[here.thread];
    size_t n = 0, n_groups = 0;

    for (; l->groups.size() - n_groups > groups_left; n_groups++)
        for (size_t end = n + l->groups[n_groups]; n < end; n++) {
            access_arrived(l->copies[n].to, 16);
            carry_out(&l->copies[n]);
        }
    l->copies.erase(l->copies.begin(), l->copies.begin() + (ptrdiff_t)n);
    l->groups.erase(l->groups.begin(), l->groups.begin() + (ptrdiff_t)n_groups);
}

namespace
{

struct matrices {
    const uint16_t *row; /* lane 8 m + r points to row r of matrix m */
    uint32_t *r;
};

template <bool turned> void load_all(void *const each[32])
{
    for (unsigned l = 0; l < 32; l++)
        for (unsigned m = 0; m < 4; m++) {
            const matrices *first = (const matrices *)each[8 * m + (turned ? 2 * (l % 4) : l / 4)];
            uint32_t low, high;

            if (turned) {
                low = first->row[l / 4];
                high = ((const matrices *)each[8 * m + 2 * (l % 4) + 1])->row[l / 4];
            } else {
                low = first->row[2 * (l % 4)];
                high = first->row[2 * (l % 4) + 1];
            }
            ((const matrices *)each[l])->r[m] = low | high << 16;
        }
}

struct product {
    float *c;
    const uint32_t *a;
    uint32_t b[2];
};

/* PTX ISA, "Matrix Fragments for mma.m16n8k16": lane l has rows l / 4 and l / 4 + 8 of a, columns
 * 2 (l % 4) and the next, and 8 more; column l / 4 of b. */
void multiply_all(void *const each[32])
{
    double a[16][16], b[16][8], c[16][8] = {{0}};

    for (unsigned l = 0; l < 32; l++) {
        const product *p = (const product *)each[l];
        unsigned g = l / 4, t = l % 4;

        for (unsigned k = 0; k < 4; k++)
            for (unsigned half = 0; half < 2; half++)
                a[g + 8 * (k & 1)][2 * t + half + 8 * (k >> 1)] =
                    bf16_value(p->a[k] >> (16 * half) & 0xFFFF);
        for (unsigned k = 0; k < 2; k++)
            for (unsigned half = 0; half < 2; half++)
                b[2 * t + half + 8 * k][g] = bf16_value(p->b[k] >> (16 * half) & 0xFFFF);
    }
    for (unsigned i = 0; i < 16; i++)
        for (unsigned k = 0; k < 16; k++)
            for (unsigned j = 0; j < 8; j++)
                c[i][j] += a[i][k] * b[k][j];
    for (unsigned l = 0; l < 32; l++)
        for (unsigned e = 0; e < 4; e++)
            ((const product *)each[l])->c[e] +=
                (float)c[l / 4 + 8 * (e >> 1)][2 * (l % 4) + (e & 1)];
}

struct passed {
    uint64_t value, got;
    unsigned from;
};

void pass_all(void *const each[32])
{
    for (unsigned l = 0; l < 32; l++) {
        passed *p = (passed *)each[l];

        p->got = ((const passed *)each[p->from % 32])->value;
    }
}

void any_of_all(void *const each[32])
{
    bool one = false;

    for (unsigned l = 0; l < 32; l++)
        one = one || *(bool *)each[l];
    for (unsigned l = 0; l < 32; l++)
        *(bool *)each[l] = one;
}

} // namespace

void matrices_load(uint32_t r[4], const void *row, bool turned)
{
    matrices mine = {(const uint16_t *)row, r};

    check_shared(row, 16);
    access(row, 16, false);
    join_warp(turned ? load_all<true> : load_all<false>, &mine);
}

void mma_bf16(float c[4], const uint32_t a[4], uint32_t b0, uint32_t b1)
{
    product mine = {c, a, {b0, b1}};

    join_warp(multiply_all, &mine);
}

uint64_t shuffle(uint64_t value, unsigned from)
{
    passed mine = {value, 0, from};

    join_warp(pass_all, &mine);
    return mine.got;
}

bool any(bool value)
{
    join_warp(any_of_all, &value);
    return value;
}

static void order_all(void *const *)
{
    accesses_warp_barrier();
}

void warp_barrier(void)
{
    join_warp(order_all, nullptr);
}

} // namespace emulator
