/* SPDX-License-Identifier: MIT
 *
 * io.h - bytes in from files and pipes, plain or compressed; bytes out, whole
 * or not at all.
 */
#ifndef DNAS_IO_H
#define DNAS_IO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "common/err.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- in ---- */

struct dnas_in;

/* Opens a file, or standard input for NULL and "-".  Plain, gzip, BGZF and
 * zstd are told apart by their first bytes.  NULL on an error, with the file's
 * name in the sentence, as in all sentences of this part. */
struct dnas_in *dnas_in_open(const char *path, struct dnas_err *err);

/* Up to n bytes into buf: the number read (short reads are normal), 0 at the
 * end, -1 on an error.  Corrupt and truncated compressed data, and BGZF without
 * its end-of-file block, are errors. */
ptrdiff_t dnas_in_read(struct dnas_in *in, void *buf, size_t n, struct dnas_err *err);

/* The first n (at most DNAS_IN_PEEK) bytes without using them up: the number
 * there are, or -1.  Only before the first read. */
#define DNAS_IN_PEEK 64
ptrdiff_t dnas_in_peek(struct dnas_in *in, void *buf, size_t n, struct dnas_err *err);

/* All n bytes: n, fewer at the end of the file, or -1. */
ptrdiff_t dnas_in_read_full(struct dnas_in *in, void *buf, size_t n, struct dnas_err *err);

/* "reads.fa.gz" or "standard input"; lives as long as the input. */
const char *dnas_in_name(const struct dnas_in *in);
/* Whether the bytes come out of zstd frames. */
bool dnas_in_is_zstd(const struct dnas_in *in);
/* How many bytes of the file itself have been used so far: exact for plain
 * files, and for zstd after dnas_in_settle; an estimate for gzip and BGZF. */
uint64_t dnas_in_offset(const struct dnas_in *in);
/* Where all content of a zstd frame has been read: reads its checksum too, so
 * that the offset is that of the next frame.  Else does nothing. */
int dnas_in_settle(struct dnas_in *in, struct dnas_err *err);
/* The size of the file, or 0 where that is not known (pipes). */
uint64_t dnas_in_file_size(const struct dnas_in *in);
/* NULL is fine. */
void dnas_in_close(struct dnas_in *in);

/* Lines of an input.  Start with {.in = in}; release the buffer with
 * dnas_lines_release, which leaves the input open. */
struct dnas_lines {
    struct dnas_in *in;
    uint64_t number; /* of the line that was returned last, from 1 */
    char *buf;
    size_t n, at, cap;
    bool at_eof;
};

/* 1 with the next line, without its newline (or DOS line end) and with a 0
 * behind it, valid until the next call; 0 at the end; -1 on an error.  A line
 * has at most 2 GiB. */
int dnas_lines_next(struct dnas_lines *l, char **line, size_t *n, struct dnas_err *err);
void dnas_lines_release(struct dnas_lines *l);

/* Whether path is a file that can be read a second time; *size (may be NULL)
 * its bytes. */
bool dnas_is_regular_file(const char *path, uint64_t *size);
/* 0 where all inputs (none: standard input) are such files, for `what` ("--adapt"), which reads
 * them twice; else -1 with a sentence. */
int dnas_in_can_reopen(char *const *paths, int n_paths, const char *what, struct dnas_err *err);

/* The rest of an input, of at most max bytes, with a 0 behind it; *n its size.
 * NULL on an error.  Free with free(). */
char *dnas_in_read_all(struct dnas_in *in, size_t max, size_t *n, struct dnas_err *err);

/* The whole of a file of at most max bytes, with a 0 behind it; *n its size.
 * NULL on an error.  Free with free(). */
char *dnas_read_file(const char *path, size_t max, size_t *n, struct dnas_err *err);

/* ---- for a while ---- */

/* An unnamed file in TMPDIR (or /tmp) that goes away when it is closed with
 * fclose; NULL on an error. */
FILE *dnas_temporary_open(struct dnas_err *err);
/* The sentence for a read or write of it that failed with errno; returns -1. */
int dnas_temporary_failed(struct dnas_err *err);

/* ---- out ---- */

struct dnas_out;

/* Opens the output: standard output for NULL; else path.part, which
 * dnas_out_commit renames to path.  What exists at path and is no regular file
 * (a device, a FIFO) is written in place.  path.part is locked, so that two
 * writers cannot mix; keep (for --resume) leaves its present content. */
struct dnas_out *dnas_out_open(const char *path, bool keep, struct dnas_err *err);
int dnas_out_write(struct dnas_out *out, const void *buf, size_t n, struct dnas_err *err);
/* Cuts the output to n bytes and goes on from there; a regular file only. */
int dnas_out_truncate(struct dnas_out *out, uint64_t n, struct dnas_err *err);
bool dnas_out_is_terminal(const struct dnas_out *out);
/* The name of what is being written ("x.dnas.part"), for messages. */
const char *dnas_out_name(const struct dnas_out *out);
/* From now on the part stays after any failure: --resume goes on with it. */
void dnas_out_keep_part(struct dnas_out *out);
/* Makes the output whole under its final name; frees out, also on an error, after
 * which the part is removed. */
int dnas_out_commit(struct dnas_out *out, struct dnas_err *err);
/* After a failure: the part is removed, or left if `keep_part`.  NULL is fine. */
void dnas_out_abandon(struct dnas_out *out, bool keep_part);

/* Writes n bytes as the whole of path (NULL: standard output), in the same way. */
int dnas_write_file(const char *path, const void *buf, size_t n, struct dnas_err *err);

/* Whether dnas_out_open(path) would write a file under a .part name. */
bool dnas_out_uses_part(const char *path);

#ifdef __cplusplus
}
#endif
#endif
