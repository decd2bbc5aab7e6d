/* SPDX-License-Identifier: MIT
 *
 * bins_folder.c - a folder with a FASTA for each bin.  Contract: bins.h.
 *
 * There can be more bins than a process may have files open: what goes to a
 * file is gathered, and a file is open only while it is appended to.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <htslib/bgzf.h>

#include "common/bins.h"
#include "common/text.h"
#include "common/xmem.h"

#define PIECE 0xff00           /* bytes appended at once: what bgzip puts into a block */
#define GATHERED (64u << 20)   /* bytes that wait at most */
#define PACKED_CAP (64u << 10) /* a BGZF block at most */

struct dnas_bins_folder {
    char *dir, *part;
    bool gzip;
    struct dnas_text *text; /* [n_files], of bin i - 1; what waits */
    bool *is_begun;         /* [n_files], whether the file is there */
    size_t n_files, text_cap, begun_cap;
    size_t n_gathered;
    unsigned char packed[PACKED_CAP];
};

static bool is_ours(const char *name)
{
    return strncmp(name, "bin.", 4) == 0 || strncmp(name, "unbinned.", 9) == 0;
}

/* Removes DIR.part with what a run like this put into it. */
static int remove_part(const char *part, struct dnas_err *err)
{
    DIR *d = opendir(part);
    const struct dirent *e;

    if (!d)
        return errno == ENOENT ? 0 : dnas_err_set(err, "%s: %s", part, strerror(errno));
    while ((e = readdir(d)))
        if (is_ours(e->d_name))
            unlinkat(dirfd(d), e->d_name, 0);
    closedir(d);
    if (rmdir(part) != 0)
        return dnas_err_set(err, "%s: cannot be removed: %s", part, strerror(errno));
    return 0;
}

/* A folder with something in it may be somebody's, or hold the bins of another run. */
static int refuse_full(const char *dir, struct dnas_err *err)
{
    DIR *d = opendir(dir);
    const struct dirent *e;
    bool is_empty = true;

    if (!d)
        return errno == ENOENT ? 0 : dnas_err_set(err, "%s: %s", dir, strerror(errno));
    while ((e = readdir(d)))
        is_empty = is_empty && (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0);
    closedir(d);
    return is_empty ? 0
                    : dnas_err_set(err, "%s: is not empty; remove it or name another folder", dir);
}

/* dir without slashes at its end, so that .part goes to its name. */
static char *folder_name(const char *dir)
{
    size_t n = strlen(dir);

    while (n > 1 && dir[n - 1] == '/')
        n--;
    return dnas_xstrndup(dir, n);
}

struct dnas_bins_folder *dnas_bins_folder_open(const char *dir, bool gzip, struct dnas_err *err)
{
    struct dnas_bins_folder *f = dnas_xzalloc(1, sizeof(*f));

    f->gzip = gzip;
    f->dir = folder_name(dir);
    f->part = dnas_xasprintf("%s.part", f->dir);
    if (refuse_full(f->dir, err) == 0 && remove_part(f->part, err) == 0) {
        if (mkdir(f->part, 0777) == 0)
            return f;
        dnas_err_set(err, "%s: cannot be made: %s", f->part, strerror(errno));
    }
    free(f->dir);
    free(f->part);
    free(f);
    return NULL;
}

/* Free it. */
static char *file_name(const struct dnas_bins_folder *f, size_t file)
{
    const char *gz = f->gzip ? ".gz" : "";

    return file == 0 ? dnas_xasprintf("%s/unbinned.fa%s", f->part, gz)
                     : dnas_xasprintf("%s/bin.%zu.fa%s", f->part, file - 1, gz);
}

static int put(int fd, const char *name, const void *buf, size_t n, struct dnas_err *err)
{
    const char *p = buf;

    while (n > 0) {
        ssize_t done = write(fd, p, n);

        if (done < 0 && errno == EINTR)
            continue;
        if (done <= 0)
            return dnas_err_set(err, "%s: cannot be written: %s", name, strerror(errno));
        p += done;
        n -= (size_t)done;
    }
    return 0;
}

/* n bytes as BGZF blocks; n of 0 is the end of a file. */
static int put_packed(struct dnas_bins_folder *f, int fd, const char *name, const char *s, size_t n,
                      struct dnas_err *err)
{
    do {
        size_t some = n < PIECE ? n : PIECE, packed = sizeof(f->packed);

        if (bgzf_compress(f->packed, &packed, s, some, -1) != 0)
            return dnas_err_set(err, "%s: zlib failed", name);
        if (put(fd, name, f->packed, packed, err) != 0)
            return -1;
        s += some;
        n -= some;
    } while (n > 0);
    return 0;
}

/* Appends what waits for the file; with `end`, BGZF's end too. */
static int flush(struct dnas_bins_folder *f, size_t file, bool end, struct dnas_err *err)
{
    struct dnas_text *t = &f->text[file];
    char *name = file_name(f, file);
    int fd = open(name, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666), status = 0;

    if (fd < 0)
        status = dnas_err_set(err, "%s: cannot be written: %s", name, strerror(errno));
    else if (!f->gzip)
        status = put(fd, name, t->data, t->n, err);
    else if (t->n > 0)
        status = put_packed(f, fd, name, t->data, t->n, err);
    if (status == 0 && end && f->gzip)
        status = put_packed(f, fd, name, "", 0, err);
    if (fd >= 0 && close(fd) != 0 && status == 0)
        status = dnas_err_set(err, "%s: cannot be written: %s", name, strerror(errno));
    f->is_begun[file] = true;
    f->n_gathered -= t->n;
    t->n = 0;
    free(name);
    return status;
}

static void add_files(struct dnas_bins_folder *f, size_t n)
{
    size_t old = f->n_files;

    if (n <= old)
        return;
    f->text = dnas_xgrow(f->text, &f->text_cap, n, sizeof(*f->text));
    f->is_begun = dnas_xgrow(f->is_begun, &f->begun_cap, n, sizeof(*f->is_begun));
    memset(f->text + old, 0, (n - old) * sizeof(*f->text));
    memset(f->is_begun + old, 0, (n - old) * sizeof(*f->is_begun));
    f->n_files = n;
}

int dnas_bins_folder_append(struct dnas_bins_folder *f, int32_t bin, const char *text, size_t n,
                            struct dnas_err *err)
{
    size_t file = (size_t)(bin + 1);

    add_files(f, file + 1);
    dnas_text_append(&f->text[file], text, n);
    f->n_gathered += n;
    if (f->text[file].n >= PIECE && flush(f, file, false, err) != 0)
        return -1;
    for (size_t i = 0; f->n_gathered > GATHERED && i < f->n_files; i++) {
        if (f->text[i].n > 0 && flush(f, i, false, err) != 0)
            return -1;
        free(f->text[i].data);
        f->text[i] = (struct dnas_text){0};
    }
    return 0;
}

int dnas_bins_folder_finish(struct dnas_bins_folder *f, struct dnas_err *err)
{
    add_files(f, 1);
    for (size_t i = 0; i < f->n_files; i++)
        if ((i == 0 || f->is_begun[i] || f->text[i].n > 0) && flush(f, i, true, err) != 0)
            return -1;
    return 0;
}

static void release(struct dnas_bins_folder *f)
{
    for (size_t i = 0; i < f->n_files; i++)
        free(f->text[i].data);
    free(f->text);
    free(f->is_begun);
    free(f->dir);
    free(f->part);
    free(f);
}

int dnas_bins_folder_commit(struct dnas_bins_folder *f, struct dnas_err *err)
{
    int status = 0;

    /* rename puts a folder in the place of an empty one. */
    if (rename(f->part, f->dir) != 0) {
        status =
            dnas_err_set(err, "%s: cannot be renamed to %s: %s", f->part, f->dir, strerror(errno));
        remove_part(f->part, NULL);
    }
    release(f);
    return status;
}

void dnas_bins_folder_abandon(struct dnas_bins_folder *f)
{
    if (!f)
        return;
    remove_part(f->part, NULL);
    release(f);
}
