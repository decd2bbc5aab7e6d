/* SPDX-License-Identifier: MIT
 *
 * stream.h - the binary tensor stream: reader and writer.
 *
 *   stream  = header block* end        concatenations of streams are streams
 *   header  = magic · u32 version · u32 length · JSON padded with spaces · u64 hash
 *   block   = 64-byte header {type, flags, first row, rows, payload bytes, hashes} · payload
 *   payload = the columns one after the other, each padded to a multiple of 64 bytes
 *   end     = a block header with the counts of rows and blocks and a hash of all block hashes
 *
 * A block closes at 256 rows or 1 MiB, whichever comes first, so that the
 * bytes depend on the rows alone.  man/dnas-stream.5 is the normative text.
 */
#ifndef DNAS_STREAM_H
#define DNAS_STREAM_H

#include <jansson.h>

#include "common/err.h"
#include "common/io.h"
#include "common/record.h"
#include "common/table.h"

#ifdef __cplusplus
extern "C" {
#endif

#define DNAS_STREAM_VERSION 1
#define DNAS_STREAM_BLOCK_ROWS 256
#define DNAS_STREAM_BLOCK_BYTES (1u << 20)
/* What readers accept at most.  A block that is compressed can be a thousand times smaller than
 * its payload: this bounds the memory that bytes from outside can take (twice the payload, while
 * the buffer grows). */
#define DNAS_STREAM_MAX_HEADER (16u << 20)
#define DNAS_STREAM_MAX_ROWS 65536u
#define DNAS_STREAM_MAX_PAYLOAD (UINT64_C(1) << 31)
#define DNAS_STREAM_MAX_COLUMNS 256
#define DNAS_STREAM_MAX_DIM (1u << 24)

/* What stands in a stream's header. */
struct dnas_header {
    enum dnas_kind kind;
    struct dnas_column *columns;
    int n_columns;
    json_t *embedding;        /* what an embedding is; NULL where there is none */
    json_t *tokens;           /* what a token is; NULL likewise */
    json_t *pg;               /* array of program lines, or NULL */
    uint32_t shard, n_shards; /* 1..n of n; 0, 0: not a shard */
};

void dnas_header_init(struct dnas_header *h, enum dnas_kind kind);
void dnas_header_copy(struct dnas_header *to, const struct dnas_header *from);
void dnas_header_release(struct dnas_header *h);
/* Appends a column and returns its number.  dim 0: a scalar; ignored where
 * ragged (utf8 always is). */
int dnas_header_add_column(struct dnas_header *h, const char *name, enum dnas_type type,
                           bool ragged, uint32_t dim);
/* The column's number, or -1. */
int dnas_header_find(const struct dnas_header *h, const char *name);
/* The JSON text of the header without padding.  Free with free(). */
char *dnas_header_json(const struct dnas_header *h, size_t json_flags);
/* The header from JSON text: 0, or -1 with a sentence; h is then empty. */
int dnas_header_parse(struct dnas_header *h, const char *json, size_t n, struct dnas_err *err);
/* Whether two embedding (or tokens) objects say the same thing: equal in all
 * members but "precision" and "device"; both NULL is equal. */
bool dnas_header_same_object(const json_t *a, const json_t *b);

struct dnas_reader;

/* Opens path (NULL, "-": standard input, refused where it is a terminal) and
 * reads the header.  NULL on an error. */
struct dnas_reader *dnas_reader_open(const char *path, struct dnas_err *err);
/* Only the input, for those who want to look at its first bytes. */
struct dnas_in *dnas_reader_input(const char *path, struct dnas_err *err);
/* The same on an input that is open already; takes it, also on an error. */
struct dnas_reader *dnas_reader_on(struct dnas_in *in, struct dnas_err *err);
/* Whether the input begins as a stream does: 1, 0, or -1 on an error.  It only peeks. */
int dnas_in_is_stream(struct dnas_in *in, struct dnas_err *err);
/* Reads a table as TSV as if it were a stream: the inverse of DNAS_FORMAT_TSV.
 * Kind and types come from the names of the columns (dnas-stream.5, TSV). */
struct dnas_reader *dnas_reader_on_tsv(struct dnas_in *in, struct dnas_err *err);
/* A stream or, where it does not begin like one, a TSV. */
struct dnas_reader *dnas_reader_open_any(const char *path, struct dnas_err *err);
const struct dnas_header *dnas_reader_header(const struct dnas_reader *r);
const char *dnas_reader_name(const struct dnas_reader *r);
/* 1 with a block of at least one row (valid until the next call), 0 after the
 * last end, -1 on an error. */
int dnas_reader_next(struct dnas_reader *r, struct dnas_block *block, struct dnas_err *err);
uint64_t dnas_reader_rows(const struct dnas_reader *r);   /* rows read so far */
uint64_t dnas_reader_blocks(const struct dnas_reader *r); /* blocks read so far */
/* Streams of the concatenation that have begun. */
uint64_t dnas_reader_streams(const struct dnas_reader *r);
/* Bytes of the file up to the end of what was last returned whole; for files
 * whose frames are blocks (ours) exact with zstd too, not with gzip. */
uint64_t dnas_reader_offset(const struct dnas_reader *r);
/* Where in the file the payload starts that was returned last: the first
 * column's first byte is there, and the others as far from it as in the block.
 * For plain files. */
uint64_t dnas_reader_payload_offset(const struct dnas_reader *r);
/* The XXH3 of the payload that was returned last. */
uint64_t dnas_reader_block_hash(const struct dnas_reader *r);
/* The size of the file, or 0 where not known: for progress. */
uint64_t dnas_reader_file_size(const struct dnas_reader *r);
/* NULL is fine. */
void dnas_reader_close(struct dnas_reader *r);

/* Fails with a sentence that names file, kind and remedy unless the stream is
 * of this kind and has the kind's own columns with their types. */
int dnas_reader_expect(const struct dnas_reader *r, enum dnas_kind kind, struct dnas_err *err);

struct dnas_writer;

enum dnas_format {
    DNAS_FORMAT_STREAM,
    DNAS_FORMAT_TSV,  /* a header line, then a line a row (text.h) */
    DNAS_FORMAT_JSON, /* an object a line */
};

struct dnas_writer_options {
    enum dnas_format format;
    int zstd_level; /* 0: plain; streams only */
    bool keep_part; /* once it holds whole blocks the part stays after a failure */
};

/* Writes the header (copied) to out (taken, also on an error).  A stream is not
 * written to a terminal.  EMBEDDINGS refuse values that are not finite, and
 * texts must be UTF-8 without control characters. */
struct dnas_writer *dnas_writer_new(struct dnas_out *out, const struct dnas_header *header,
                                    const struct dnas_writer_options *options,
                                    struct dnas_err *err);
/* Goes on with a part that an earlier run left: out was opened with keep.
 * Finds the whole blocks, cuts what follows, and calls each(ctx, id, n) for
 * the id of each row that is there, which may refuse it (-1 and a sentence).
 * A part with another header is refused.  An empty part starts anew.  Only
 * for DNAS_FORMAT_STREAM. */
struct dnas_writer *dnas_writer_resume(struct dnas_out *out, const struct dnas_header *header,
                                       const struct dnas_writer_options *options,
                                       int (*each)(void *ctx, const char *id, size_t n,
                                                   struct dnas_err *err),
                                       void *ctx, struct dnas_err *err);
/* Appends a whole row of a block whose stream has the same columns. */
int dnas_writer_copy_row(struct dnas_writer *w, const struct dnas_block *block, uint32_t row,
                         struct dnas_err *err);
/* Sets a cell of the row being built: `n` elements (the column's dim, or any
 * number where ragged). */
void dnas_writer_cell(struct dnas_writer *w, int column, const void *values, size_t n);
/* The same from a cell of a block, whose column `from` has the same type. */
void dnas_writer_copy_cell(struct dnas_writer *w, int column, const struct dnas_block *block,
                           int from, uint32_t row);
/* The same for utf8 columns from a C string. */
void dnas_writer_text(struct dnas_writer *w, int column, const char *text);
/* Ends the row; every cell must have been set once. */
int dnas_writer_end_row(struct dnas_writer *w, struct dnas_err *err);
uint64_t dnas_writer_rows(const struct dnas_writer *w);
/* Blocks that are written for good. */
uint64_t dnas_writer_blocks(const struct dnas_writer *w);
/* Writes the end and commits the output; frees w, also on an error. */
int dnas_writer_finish(struct dnas_writer *w, struct dnas_err *err);
/* After a failure.  NULL is fine. */
void dnas_writer_abandon(struct dnas_writer *w, bool keep_part);

#ifdef __cplusplus
}
#endif
#endif
