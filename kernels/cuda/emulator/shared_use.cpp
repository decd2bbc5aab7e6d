/* SPDX-License-Identifier: MIT
 *
 * shared_use.cpp - barriers in shared memory, loads of boxes, and what products read.
 * Contracts: groups.h and shared_use.h.
 */
#include "kernels/cuda/emulator/shared_use.h"

#include <stdio.h>
#include <string.h>

#include <deque>
#include <map>

#include "kernels/cuda/emulator/accesses.h"
#include "kernels/cuda/emulator/groups.h"
#include "kernels/cuda/emulator/lanes.h"

namespace emulator
{

namespace
{

constexpr size_t most_pieces = (227 << 10) / 16;

/* 16 bytes. */
struct piece {
    uint16_t readers, loads; /* products and loads that are under way */
    uint16_t writer;         /* of an ordinary store, with the fences that it had made: 1 more */
    uint32_t writer_fences;
};

/* PTX ISA, "mbarrier": a phase ends when nobody is awaited any more, neither bytes. */
struct barrier {
    unsigned arrivals, missing;
    long missing_bytes;
    unsigned phase;
    unsigned maker, made_at; /* made_at: which stretch between barriers of the block */
    bool ready;
};

struct load {
    unsigned char *to;
    emulated_map map;
    int column, row;
    uint64_t *b;
    unsigned thread;
};

struct named {
    unsigned n_threads, n_arrived;
};

piece pieces[most_pieces];
std::map<uint64_t *, barrier> barriers;
std::deque<load> loads;
named by_name[16];
uint32_t fences[1024]; /* of each thread */
unsigned stretch;
bool at_once, newest_first, stands;

barrier *barrier_at(uint64_t *b, const char *what)
{
    check_shared(b, 8);
    auto found = barriers.find(b);
    if (found == barriers.end())
        fault("thread %u %s a barrier at byte %td that nobody made", here.thread, what,
              (unsigned char *)b - here.shared);
    if (found->second.maker != here.thread && found->second.made_at == stretch)
        fault("thread %u %s a barrier that thread %u made with no barrier of the block between",
              here.thread, what, found->second.maker);
    return &found->second;
}

void end_phase(uint64_t *b, barrier *s)
{
    if (s->missing > 0 || s->missing_bytes != 0)
        return;
    s->phase++;
    s->missing = s->arrivals;
    wake(b);
}

size_t box_bytes(const emulated_map *m)
{
    return (size_t)m->box_columns * m->box_rows * 2;
}

void mark_load(const load *l, bool begins)
{
    size_t first = (size_t)(l->to - here.shared) / 16, n = box_bytes(&l->map) / 16;

    for (size_t i = first; i < first + n; i++) {
        if (begins && pieces[i].readers > 0)
            fault("thread %u: a load to byte %zu of shared memory, which a product reads",
                  here.thread, 16 * i);
        if (begins && pieces[i].loads > 0)
            fault("thread %u: two loads to byte %zu of shared memory", here.thread, 16 * i);
        pieces[i].loads = begins;
        pieces[i].writer = 0;
    }
}

/* PTX ISA, "Swizzling Modes" of tensors: of an address in shared memory, bits 4 to 6 are turned by
 * bits 7 to 9.  Outside of the array there are zeros. */
void arrive(const load *l)
{
    const emulated_map *m = &l->map;

    for (unsigned r = 0; r < m->box_rows; r++)
        for (unsigned c = 0; c < m->box_columns; c++) {
            uint32_t at = shared_address(l->to) + (r * m->box_columns + c) * 2;
            int64_t row = (int64_t)l->row + r, column = (int64_t)l->column + c;
            const unsigned char *from =
                row >= 0 && column >= 0 && (uint64_t)row < m->rows && (uint64_t)column < m->columns
                    ? m->base + (uint64_t)row * m->pitch_bytes + 2 * (uint64_t)column
                    : nullptr;

            if (m->swizzled)
                at ^= (at >> 7 & 7) << 4;
            if (from && emulated_forbidden(from, 2))
                block_fault("a load of thread %u reads 2 bytes %s", l->thread,
                            emulated_forbidden(from, 2));
            else if (from)
                memcpy(here.shared + (at - SHARED_BEGINS), from, 2);
            else
                memset(here.shared + (at - SHARED_BEGINS), 0, 2);
        }
    mark_load(l, false);
    access_load_arrived(l->to, box_bytes(m));

    barrier *s = &barriers[l->b];
    s->missing_bytes -= (long)box_bytes(m);
    end_phase(l->b, s);
}

} // namespace

uint32_t shared_address(const void *p)
{
    return (uint32_t)((const unsigned char *)p - here.shared) + SHARED_BEGINS;
}

void shared_read(size_t at, bool begins)
{
    piece *p = &pieces[at / 16];

    if (begins && p->loads > 0)
        fault("thread %u: a product reads byte %zu of shared memory while a load is on its way",
              here.thread, at);
    if (begins && p->writer > 0 && p->writer_fences == fences[p->writer - 1])
        fault("thread %u: a product reads byte %zu of shared memory, which thread %u wrote with no "
              "fence of the proxy behind",
              here.thread, at, p->writer - 1);
    p->readers = (uint16_t)(p->readers + (begins ? 1 : -1));
}

void groups_written(size_t from, size_t bytes)
{
    for (size_t i = from / 16; i < (from + bytes + 15) / 16; i++) {
        if (pieces[i].readers > 0)
            fault("thread %u writes byte %zu of shared memory, which a product reads", here.thread,
                  16 * i);
        pieces[i].writer = (uint16_t)(here.thread + 1);
        pieces[i].writer_fences = fences[here.thread];
    }
}

void async_fence(void)
{
    fences[here.thread]++;
}

void barrier_init(uint64_t *b, unsigned arrivals)
{
    check_shared(b, 8);
    if (barriers.count(b))
        fault("thread %u makes a barrier where there is one", here.thread);
    barriers[b] = {arrivals, arrivals, 0, 0, here.thread, stretch, false};
}

void barriers_ready(void)
{
    for (auto &b : barriers)
        if (b.second.maker == here.thread)
            b.second.ready = true;
}

static void arrive_at(uint64_t *b, unsigned bytes)
{
    barrier *s = barrier_at(b, "signals");

    if (s->missing == 0)
        fault("thread %u signals a barrier at byte %td once too often", here.thread,
              (unsigned char *)b - here.shared);
    s->missing--;
    s->missing_bytes += bytes;
    end_phase(b, s);
    if (stands)
        stand_back();
}

void barrier_arrive(uint64_t *b)
{
    arrive_at(b, 0);
}

void barrier_arrive_expecting(uint64_t *b, unsigned bytes)
{
    arrive_at(b, bytes);
}

void barrier_wait(uint64_t *b, unsigned parity)
{
    barrier *s = barrier_at(b, "waits at");

    while (s->phase % 2 == parity)
        sleep_until_woken(b, "a phase of a barrier in shared memory");
}

void box_load(void *to, const CUtensorMap *map, int column, int row, uint64_t *b)
{
    load l = {(unsigned char *)to, {}, column, row, b, here.thread};
    barrier *s = barrier_at(b, "loads with");

    memcpy(&l.map, map, sizeof(l.map));
    if (l.map.mark != EMULATED_MAP_MARK)
        fault("thread %u: a load with no map of a tensor", here.thread);
    if (!s->ready)
        fault("thread %u: a load with a barrier that no fence made known", here.thread);
    check_shared(to, 128);
    check_shared((unsigned char *)to + box_bytes(&l.map) - 128, 128);
    mark_load(&l, true);
    access_load_queued(to, box_bytes(&l.map));
    loads.push_back(l);
    if (at_once)
        groups_load_arrives();
}

bool groups_load_arrives(void)
{
    if (loads.empty())
        return false;
    load l = newest_first ? loads.back() : loads.front();

    if (newest_first)
        loads.pop_back();
    else
        loads.pop_front();
    arrive(&l);
    return true;
}

void named_barrier(unsigned id, unsigned n_threads, bool waits)
{
    named *n;

    if (id == 0 || id > 15 || n_threads % 32 != 0 || n_threads == 0)
        fault("thread %u: barrier %u of %u threads", here.thread, id, n_threads);
    n = &by_name[id];
    if (n->n_arrived > 0 && n->n_threads != n_threads)
        fault("thread %u: barrier %u is of %u threads, not %u", here.thread, id, n->n_threads,
              n_threads);
    n->n_threads = n_threads;
    if (++n->n_arrived == n_threads) {
        n->n_arrived = 0;
        wake(n);
        return;
    }
    if (waits)
        sleep_until_woken(n, "others at a named barrier");
    else if (stands)
        stand_back();
}

void groups_block_barrier(void)
{
    stretch++;
}

void shared_block_begins(bool early, bool stands_back)
{
    static unsigned n_blocks;

    at_once = early;
    stands = stands_back;
    newest_first = n_blocks++ / 2 % 2;
    memset(pieces, 0, sizeof(pieces));
    memset(by_name, 0, sizeof(by_name));
    barriers.clear();
    loads.clear();
    stretch++;
}

void shared_block_ends(void)
{
    if (!loads.empty())
        block_fault("it ended with %zu loads on their way", loads.size());
    for (unsigned i = 0; i < 16; i++)
        if (by_name[i].n_arrived > 0)
            block_fault("it ended with %u threads at barrier %u of %u", by_name[i].n_arrived, i,
                        by_name[i].n_threads);
    for (const auto &b : barriers)
        if (b.second.missing_bytes != 0)
            block_fault("it ended with a barrier that waits for %ld bytes", b.second.missing_bytes);
}

} // namespace emulator
