/* SPDX-License-Identifier: MIT
 *
 * numbers.h - reads one array out of a text file of lines "name x y z ...", as
 * the scripts beside the tests print them.
 *
 * For tests: anything unexpected ends the program.
 */
#ifndef DNAS_NUMBERS_H
#define DNAS_NUMBERS_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/xmem.h"

__attribute__((noreturn)) static inline void numbers_die(const char *path, const char *name)
{
    printf("Bail out! %s: %s cannot be read\n", path, name);
    exit(99);
}

/* The line that begins with `name`, without it.  Free *text. */
static inline char *numbers_line(const char *path, const char *name, char **text)
{
    FILE *f = fopen(path, "rb");
    size_t n_name = strlen(name);
    long size;

    if (!f || fseek(f, 0, SEEK_END) != 0 || (size = ftell(f)) < 0)
        numbers_die(path, name);
    rewind(f);
    *text = dnas_xalloc((size_t)size + 1, 1);
    if (fread(*text, 1, (size_t)size, f) != (size_t)size)
        numbers_die(path, name);
    (*text)[size] = '\0';
    fclose(f);
    for (char *line = *text; line; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (strncmp(line, name, n_name) == 0 && line[n_name] == ' ')
            return line + n_name;
    }
    numbers_die(path, name);
}

/* Exactly n numbers.  Free the result. */
static inline double *numbers_read(const char *path, const char *name, size_t n)
{
    double *out = dnas_xalloc(n, sizeof(*out));
    char *text, *p = numbers_line(path, name, &text);

    for (size_t i = 0; i < n; i++) {
        char *end;

        out[i] = strtod(p, &end);
        if (end == p || memchr(p, '\n', (size_t)(end - p)))
            numbers_die(path, name);
        p = end;
    }
    if (*p != '\n')
        numbers_die(path, name);
    free(text);
    return out;
}

static inline float *numbers_f32(const char *path, const char *name, size_t n)
{
    double *x = numbers_read(path, name, n);
    float *out = dnas_xalloc(n, sizeof(*out));

    for (size_t i = 0; i < n; i++)
        out[i] = (float)x[i];
    free(x);
    return out;
}

static inline uint32_t *numbers_u32(const char *path, const char *name, size_t n)
{
    double *x = numbers_read(path, name, n);
    uint32_t *out = dnas_xalloc(n, sizeof(*out));

    for (size_t i = 0; i < n; i++)
        out[i] = (uint32_t)x[i];
    free(x);
    return out;
}

#endif
