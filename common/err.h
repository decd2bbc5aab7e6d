/* SPDX-License-Identifier: MIT
 *
 * err.h - one sentence about what went wrong, handed up the call chain.
 *
 * The outside world (input, files, devices) fails with -1 and a sentence in a
 * struct dnas_err; callers put the place in front.  A broken contract inside
 * the program is DNAS_BUG: it names the line and aborts.
 */
#ifndef DNAS_ERR_H
#define DNAS_ERR_H

#ifdef __cplusplus
extern "C" {
#endif

#define DNAS_ERR_MAX 1024

struct dnas_err {
    char msg[DNAS_ERR_MAX];
};

/* Sets the sentence: lower case, no full stop, the remedy last ("try ...").
 * Always returns -1, so that `return dnas_err_set(err, ...)` reads well.
 * err may be NULL: the sentence is dropped. */
int dnas_err_set(struct dnas_err *err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Puts the place ("reads.fa: ") in front of the sentence; returns -1. */
int dnas_err_at(struct dnas_err *err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

void dnas_bug(const char *file, int line, const char *fmt, ...)
    __attribute__((noreturn, format(printf, 3, 4)));

/* Ends the program where a library had no memory for `what` ("a zstd context"): a sentence and exit
 * status 1, as xmem.h has it. */
void dnas_out_of_memory(const char *what) __attribute__((noreturn));

#define DNAS_BUG(...) dnas_bug(__FILE__, __LINE__, __VA_ARGS__)

#ifdef __cplusplus
}
#endif
#endif
