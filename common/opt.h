/* SPDX-License-Identifier: MIT
 *
 * opt.h - command lines from one table.
 *
 * A tool states its options once.  --help, getopt, --list-options (which bash
 * completion asks for) and the program line in stream headers are made from
 * that table, so they cannot disagree; a test holds the man page against it.
 */
#ifndef DNAS_OPT_H
#define DNAS_OPT_H

#include <stdbool.h>
#include <stdint.h>

#include "common/err.h"

#ifdef __cplusplus
extern "C" {
#endif

enum dnas_opt_kind {
    DNAS_OPT_FLAG,   /* bool *, set to true */
    DNAS_OPT_INT,    /* int64_t *, within min..max */
    DNAS_OPT_LEVEL,  /* int64_t *, the argument may be left out (--zstd[=LEVEL]): then `max` is
                        its cap and `min` the value it stands for */
    DNAS_OPT_REAL,   /* double *, within min..max */
    DNAS_OPT_TEXT,   /* const char **, borrowed from argv */
    DNAS_OPT_CHOICE, /* int *, index into choices */
};

struct dnas_opt {
    char letter;      /* 0: none */
    const char *name; /* the long name, without the dashes */
    const char *arg;  /* what --help calls the argument; NULL for a flag */
    enum dnas_opt_kind kind;
    void *value;                /* where it goes; holds the default, which --help shows */
    double min, max;            /* a default outside them is not shown */
    const char *const *choices; /* NULL-terminated */
    const char *help;           /* one sentence, no full stop */
};

/* The options that every tool has. */
struct dnas_common {
    const char *output; /* -o; NULL: standard output */
    int64_t threads;    /* -t; after parsing at least 1 */
    int64_t zstd_level; /* --zstd; 0: plain */
    bool quiet, verbose, no_pg;
    char *command_line; /* the canonical command line without -t -o -q -v --resume and alike */
    const char *device; /* that computed, for the program line; NULL: "cpu" */
};

struct dnas_tool {
    const char *name;            /* "dnas-embed" */
    const char *summary;         /* one line, as in the man page's NAME */
    const char *operands;        /* "[FILE...]" */
    int max_operands;            /* -1: any number */
    bool writes_stream;          /* has --no-pg and --zstd */
    const struct dnas_opt *opts; /* ends with a name of NULL */
    const char *example;         /* one command line for --help */
};

/* The first call of every main: names the program, gives SIGPIPE its default
 * back, and puts /dev/null where a standard descriptor is closed, so that no
 * file opened later becomes standard output by accident. */
void dnas_start(char **argv);

/* Parses argv into the table's values and *common.  Returns -1 to go on, with
 * *operands the rest of argv (its first operand) and *n_operands their number;
 * or the exit status, having printed help (0) or a complaint (2). */
int dnas_opt_parse(const struct dnas_tool *tool, struct dnas_common *common, int argc, char **argv,
                   char ***operands, int *n_operands);

/* A complaint about the command line: prints it and where help is; returns 2. */
int dnas_usage_error(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* The exit status of work that gave 0, or -1 with a sentence: 0; or 1, the sentence said. */
int dnas_status(int result, const struct dnas_err *err);

/* The last call of every main: flushes and closes standard output, turns a
 * late write error into 1, and returns the exit status. */
int dnas_finish(int status);

#ifdef __cplusplus
}
#endif
#endif
