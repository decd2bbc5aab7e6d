/* SPDX-License-Identifier: MIT
 *
 * err.c - sentences about failures.  Contract: err.h.
 */
#include "common/err.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/msg.h"

int dnas_err_set(struct dnas_err *err, const char *fmt, ...)
{
    va_list ap;

    if (!err)
        return -1;
    va_start(ap, fmt);
    vsnprintf(err->msg, sizeof(err->msg), fmt, ap);
    va_end(ap);
    return -1;
}

int dnas_err_at(struct dnas_err *err, const char *fmt, ...)
{
    char place[DNAS_ERR_MAX];
    char whole[2 * DNAS_ERR_MAX];
    va_list ap;

    if (!err)
        return -1;
    va_start(ap, fmt);
    vsnprintf(place, sizeof(place), fmt, ap);
    va_end(ap);
    snprintf(whole, sizeof(whole), "%s%s", place, err->msg);
    memcpy(err->msg, whole, sizeof(err->msg) - 1);
    err->msg[sizeof(err->msg) - 1] = '\0';
    return -1;
}

void dnas_bug(const char *file, int line, const char *fmt, ...)
{
    char what[DNAS_ERR_MAX];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(what, sizeof(what), fmt, ap);
    va_end(ap);
    dnas_msg_error("%s:%d: bug: %s", file, line, what);
    abort();
}

void dnas_out_of_memory(const char *what)
{
    dnas_msg_error("out of memory: no room for %s", what);
    /* Not exit(): other threads may still use what libraries would tear down. */
    _exit(1);
}
