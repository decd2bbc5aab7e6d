/* SPDX-License-Identifier: MIT
 *
 * files.h - small files for the unit tests, in the folder that run.sh gives
 * each of them ($TMP), or in one of their own.
 */
#ifndef DNAS_TEST_FILES_H
#define DNAS_TEST_FILES_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The path of a file of this name; the last eight results stay valid. */
static inline const char *file_path(const char *name)
{
    static char folder[512], path[8][1024];
    static int next;
    char *p = path[next++ % 8];

    if (!*folder && getenv("TMP") && *getenv("TMP"))
        snprintf(folder, sizeof(folder), "%s", getenv("TMP"));
    if (!*folder) {
        snprintf(folder, sizeof(folder), "/tmp/dnas-unit.XXXXXX");
        if (!mkdtemp(folder))
            abort();
    }
    snprintf(p, sizeof(path[0]), "%s/%s", folder, name);
    return p;
}

/* Writes n bytes to the file and returns its path. */
static inline const char *file_write(const char *name, const void *data, size_t n)
{
    const char *path = file_path(name);
    FILE *f = fopen(path, "wb");

    if (!f || fwrite(data, 1, n, f) != n || fclose(f) != 0)
        abort();
    return path;
}

static inline const char *file_text(const char *name, const char *text)
{
    return file_write(name, text, strlen(text));
}

/* The whole of a file, with a 0 behind it; NULL if it is not there.  Free it. */
static inline char *file_read(const char *name, size_t *n)
{
    FILE *f = fopen(file_path(name), "rb");
    char *data = NULL;
    long size;

    if (!f)
        return NULL;
    if (fseek(f, 0, SEEK_END) != 0 || (size = ftell(f)) < 0)
        abort();
    rewind(f);
    data = malloc((size_t)size + 1);
    if (!data || fread(data, 1, (size_t)size, f) != (size_t)size)
        abort();
    data[size] = '\0';
    fclose(f);
    if (n)
        *n = (size_t)size;
    return data;
}

#endif
