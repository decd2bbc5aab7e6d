/* SPDX-License-Identifier: MIT
 *
 * xmem.c - checked allocation.  Contract: xmem.h.
 */
#include "common/xmem.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/err.h"
#include "common/msg.h"

__attribute__((noreturn)) static void out_of_memory(size_t n, size_t size)
{
    if (size > 0 && n > SIZE_MAX / size)
        dnas_msg_error("out of memory: asked for %zu elements of %zu bytes", n, size);
    else
        dnas_msg_error("out of memory: asked for %zu bytes", n * size);
    /* Not exit(): other threads may still use what libraries would tear down. */
    _exit(1);
}

static size_t product(size_t n, size_t size)
{
    size_t bytes;

    if (__builtin_mul_overflow(n, size, &bytes) || bytes > PTRDIFF_MAX)
        out_of_memory(n, size);
    return bytes ? bytes : 1;
}

void *dnas_xalloc(size_t n, size_t size)
{
    void *p = malloc(product(n, size));

    if (!p)
        out_of_memory(n, size);
    return p;
}

void *dnas_xzalloc(size_t n, size_t size)
{
    void *p = calloc(1, product(n, size));

    if (!p)
        out_of_memory(n, size);
    return p;
}

void *dnas_xalloc64(size_t n, size_t size)
{
    void *p = NULL;

    if (posix_memalign(&p, 64, product(n, size)) != 0)
        out_of_memory(n, size);
    return p;
}

void *dnas_xrealloc(void *p, size_t n, size_t size)
{
    void *q = realloc(p, product(n, size));

    if (!q)
        out_of_memory(n, size);
    return q;
}

void *dnas_xhave(void *p, const char *what)
{
    if (!p)
        dnas_out_of_memory(what);
    return p;
}

void *dnas_xgrow(void *p, size_t *cap, size_t need, size_t size)
{
    size_t want = *cap ? *cap : 16;

    if (p && *cap >= need)
        return p;
    while (want < need) {
        if (want > SIZE_MAX / 2)
            out_of_memory(need, size);
        want *= 2;
    }
    *cap = want;
    return dnas_xrealloc(p, want, size);
}

char *dnas_xstrndup(const char *s, size_t n)
{
    char *t = dnas_xalloc(n + 1, 1);

    if (n > 0)
        memcpy(t, s, n);
    t[n] = '\0';
    return t;
}

char *dnas_xstrdup(const char *s)
{
    return dnas_xstrndup(s, strlen(s));
}

char *dnas_xasprintf(const char *fmt, ...)
{
    va_list ap;
    int n;
    char *s;

    va_start(ap, fmt);
    n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    s = dnas_xalloc((size_t)n + 1, 1);
    va_start(ap, fmt);
    vsnprintf(s, (size_t)n + 1, fmt, ap);
    va_end(ap);
    return s;
}
