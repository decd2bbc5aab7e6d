/* SPDX-License-Identifier: MIT
 *
 * provenance.h - the chain of program lines in a stream's header.
 *
 * SAM's tags (SAM specification, @PG): ID unique name, PN program, VN version,
 * CL command line, PP the line before; ours: SD seed, DV device, IS instruction
 * set.  What cannot change the bytes (threads, output name) is not in CL.
 */
#ifndef DNAS_PROVENANCE_H
#define DNAS_PROVENANCE_H

#include "common/opt.h"
#include "common/stream.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Gives h the program lines of the input (`before`, copied; NULL: none) and,
 * unless --no-pg, one for this program.  seed NULL: chance played no part. */
void dnas_provenance_add(struct dnas_header *h, const json_t *before, const struct dnas_tool *tool,
                         const struct dnas_common *common, const int64_t *seed);

#ifdef __cplusplus
}
#endif
#endif
