/* SPDX-License-Identifier: MIT
 *
 * groups.h - what only GPUs of compute capability 9.0 have: products of groups of four
 * warps, loads of boxes by the device itself, and barriers in shared memory.
 *
 * Each is played as far from the order of the program as a GPU may go.  A product reads its
 * operands as late as its wait, or as early as its issue, and its sums are NaN until the wait; a
 * load arrives when nothing else can go on, or at once; who signals a barrier stands back in
 * some blocks.  A fault are: sums or operands in registers that change between issue and wait
 * or after the fence before; shared memory that a load brings while a product reads it, or that a
 * product reads while a load is on its way; what ordinary stores wrote and no proxy's fence
 * followed; a barrier that is used before all can know of it, one that is signalled too often;
 * warps of a group that ask for different products; threads that wait for what never comes.
 */
#ifndef DNAS_EMULATOR_GROUPS_H
#define DNAS_EMULATOR_GROUPS_H

#include <stddef.h>
#include <stdint.h>

#include "kernels/cuda/emulator/tensor_map.h"

namespace emulator
{

/* As shared memory's addresses are on a GPU: 18 bits, from 1,024 on. */
uint32_t shared_address(const void *p);

void barrier_init(uint64_t *b, unsigned arrivals);
void barriers_ready(void);
void barrier_arrive(uint64_t *b);
void barrier_arrive_expecting(uint64_t *b, unsigned bytes);
void barrier_wait(uint64_t *b, unsigned parity);

void box_load(void *to, const CUtensorMap *map, int column, int row, uint64_t *b);

void named_barrier(unsigned id, unsigned n_threads, bool waits);
void async_fence(void);
void registers_set(unsigned n);

void group_fence(void);
void group_commit(void);
void group_wait(unsigned groups_left);
/* d [n / 2] of each lane; a: the lane's four registers, or NULL for what `left` describes. */
void group_product(float *d, unsigned n, const uint32_t *a, uint64_t left, uint64_t right,
                   bool right_turned, bool adds);

/* ---- for lanes.cpp and accesses.cpp ---- */

void groups_block_begins(bool early, bool stands_back);
void groups_block_barrier(void);
void groups_block_ends(void);
void groups_lane_ends(void);
/* One load that is on its way arrives; whether there was one. */
bool groups_load_arrives(void);
/* An ordinary store to shared memory. */
void groups_written(size_t from, size_t bytes);

} // namespace emulator

#endif
