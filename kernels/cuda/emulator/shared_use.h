/* SPDX-License-Identifier: MIT
 *
 * shared_use.h - who uses which 16 bytes of shared memory without a thread's own hand:
 * products, and loads of boxes.
 */
#ifndef DNAS_EMULATOR_SHARED_USE_H
#define DNAS_EMULATOR_SHARED_USE_H

#include <stddef.h>
#include <stdint.h>

/* The first kilobyte is the system's. */
#define SHARED_BEGINS 1024u

namespace emulator
{

void shared_block_begins(bool early, bool stands_back);
void shared_block_ends(void);
/* A product begins, or ends, to read the piece that holds that byte. */
void shared_read(size_t at, bool begins);

} // namespace emulator

#endif
