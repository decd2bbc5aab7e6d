/* SPDX-License-Identifier: MIT
 *
 * stream_reader.h - the reader's inside, for its two sources: the binary
 * stream and TSV.
 */
#ifndef DNAS_STREAM_READER_H
#define DNAS_STREAM_READER_H

#include <xxhash.h>

#include "common/stream.h"

struct dnas_reader {
    struct dnas_in *in;
    struct dnas_header header; /* of the first stream of a concatenation */
    uint32_t shard;            /* of the stream being read */
    uint64_t streams_before;   /* streams that have ended, */
    uint64_t rows_before;      /* and their rows */
    uint64_t rows, blocks;     /* of the stream being read */
    uint64_t total_blocks;
    uint64_t offset;
    uint64_t block_hash, payload_bytes; /* of the block that was returned last */
    XXH3_state_t *hashes;               /* over the payload hashes of this stream */
    unsigned char *payload;             /* 64-byte aligned */
    size_t payload_cap;
    struct dnas_cells *cells; /* [n_columns] */
    bool over;
    struct dnas_tsv *tsv; /* NULL: a binary stream */
};

int dnas_tsv_next(struct dnas_reader *r, struct dnas_block *block, struct dnas_err *err);
/* NULL is fine. */
void dnas_tsv_free(struct dnas_tsv *tsv);

#endif
