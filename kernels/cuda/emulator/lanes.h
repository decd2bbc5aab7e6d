/* SPDX-License-Identifier: MIT
 *
 * lanes.h - a GPU's block on the CPU: each lane is a fiber, and each warp runs alone
 * until all its lanes stand at a barrier of the block.
 *
 * That is as far as warps can drift apart, so a missing barrier shows.  Copies to
 * shared memory are carried out when their group is waited for, as late as a GPU may, in
 * every other block; in the others at once, as early as it may.
 * Shared memory is NaN when a block begins.  What no GPU would do in order is a fault:
 * lanes of a warp at different instructions, a lane that ended before a barrier, an
 * address outside of shared memory or not at its multiple, a copy that nobody waits for.
 */
#ifndef DNAS_EMULATOR_LANES_H
#define DNAS_EMULATOR_LANES_H

#include <stddef.h>
#include <stdint.h>

#include <functional>

namespace emulator
{

struct place {
    unsigned thread, block, n_threads, n_blocks;
    unsigned char *shared;
    size_t shared_bytes;
};
extern place here; /* of the lane that runs */

/* Runs all blocks of a launch; what went wrong, or "". */
const char *run_blocks(const char *name, size_t n_blocks, size_t n_threads, size_t shared_bytes,
                       const std::function<void()> &body);

/* Ends the launch. */
[[noreturn]] void fault(const char *format, ...) __attribute__((format(__printf__, 1, 2)));

void block_barrier(void);
/* The 32 lanes meet; the last to come calls act for all of them. */
void join_warp(void (*act)(void *const each[32]), void *mine);

void copy_async16(void *shared, const void *from, bool inside);
void copy_async_commit(void);
void copy_async_wait(unsigned groups_left);
void matrices_load(uint32_t r[4], const void *row, bool turned);
void mma_bf16(float c[4], const uint32_t a[4], uint32_t b0, uint32_t b1);
uint64_t shuffle(uint64_t value, unsigned from);
bool any(bool value);
void warp_barrier(void);
/* Faults where p is not at a multiple of `bytes`. */
void check_aligned(const void *p, size_t bytes);
/* The same, and where it is not in shared memory. */
void check_shared(const void *p, size_t bytes);

/* ---- for what else the emulator plays (groups.cpp) ---- */

/* The lane sleeps until a wake with the same address; why: for what, should that never come. */
void sleep_until_woken(const void *awaited, const char *why);
void wake(const void *awaited);
/* The lane lets all others go on as far as they can. */
void stand_back(void);
/* fault where no lane runs. */
void block_fault(const char *format, ...) __attribute__((format(__printf__, 1, 2)));
double bf16_value(uint32_t bits);

} // namespace emulator

#endif
