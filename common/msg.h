/* SPDX-License-Identifier: MIT
 *
 * msg.h - the one door to standard error, and the progress line.
 *
 * Every message ends a half-drawn progress line first, carries the program's
 * name and masks control characters, so that a record's name cannot drive the
 * user's terminal.
 */
#ifndef DNAS_MSG_H
#define DNAS_MSG_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum dnas_msg_level {
    DNAS_MSG_QUIET,   /* -q: errors only */
    DNAS_MSG_NORMAL,  /* warnings and notes too */
    DNAS_MSG_VERBOSE, /* -v: and one closing line with rows, seconds, memory */
};

/* argv0 is borrowed for the program's life; its last path component is used. */
void dnas_msg_program(const char *argv0);
const char *dnas_msg_program_name(void);
void dnas_msg_set_level(enum dnas_msg_level level);
enum dnas_msg_level dnas_msg_get_level(void);

/* All thread safe.  No newline at the end of fmt. */
void dnas_msg_error(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void dnas_msg_warn(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void dnas_msg_note(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void dnas_msg_verbose(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* A line "embedding: 12,000 sequences, 8,100/s, 42 %, 0:07 left", redrawn at
 * most six times a second, only when standard error is a terminal and the
 * level is not quiet.  done and total count the same thing that paces the
 * work (total 0: unknown, no share and no time left).  Thread safe. */
void dnas_progress(const char *doing, const char *units, uint64_t n, uint64_t done, uint64_t total);
void dnas_progress_end(void);

/* Seconds since the program started, on the monotonic clock. */
double dnas_clock_s(void);
/* Largest resident size so far, in bytes. */
uint64_t dnas_peak_memory_bytes(void);
/* With -v: "12000 sequences in 1.5 s (8000/s), peak memory 21 MiB". */
void dnas_msg_closing(uint64_t n, const char *units);

#ifdef __cplusplus
}
#endif
#endif
