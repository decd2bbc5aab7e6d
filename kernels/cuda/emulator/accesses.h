/* SPDX-License-Identifier: MIT
 *
 * accesses.h - looks at what kernels read and write.
 *
 * The compiler puts a call before each access of a kernel (-fsanitize=thread, whose library
 * this stands in for).  A fault are: two threads at one place of shared memory, one of them
 * writing, with no barrier between; what an asynchronous copy is still to bring, read or
 * written; the sides of blocks of the device's memory; memory of the host.  It takes time,
 * so only one block in four is looked at, other ones in each launch.
 */
#ifndef DNAS_EMULATOR_ACCESSES_H
#define DNAS_EMULATOR_ACCESSES_H

#include <stddef.h>

namespace emulator
{

void accesses_block_begins(bool looked_at);
void accesses_block_barrier(void);
void accesses_warp_barrier(void);
void accesses_end(void); /* of a launch */

void access(const void *p, size_t bytes, bool writes);
/* An asynchronous copy is queued, or arrives. */
void access_queued(const void *p, size_t bytes);
void access_arrived(const void *p, size_t bytes);
/* The same for a load of the device's own, whose order the kernel keeps by barriers in shared
 * memory: what was touched before it began is forgotten. */
void access_load_queued(const void *p, size_t bytes);
void access_load_arrived(const void *p, size_t bytes);

} // namespace emulator

/* Where p..p+bytes-1 is memory that a kernel may not touch, what it is; else NULL. */
const char *emulated_forbidden(const void *p, size_t bytes);

#endif
