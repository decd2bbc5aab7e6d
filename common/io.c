/* SPDX-License-Identifier: MIT
 *
 * io.c - input with its compression undone, output in one piece.  Contract: io.h.
 *
 * htslib is used for two things only: hFILE, which can look ahead on a pipe,
 * and BGZF, which reads gzip and BGZF alike.  Its FASTA readers lose data on
 * bad input and are not used.
 */
#include "common/io.h"

#include <errno.h>
#include <fcntl.h>
#include <htslib/bgzf.h>
#include <htslib/hfile.h>
#include <htslib/hts_log.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zstd.h>

#include "common/xmem.h"

enum codec { CODEC_PLAIN, CODEC_GZIP, CODEC_ZSTD };

struct dnas_in {
    char *name;
    enum codec codec;
    hFILE *file; /* owned by bgzf where there is one */
    BGZF *bgzf;
    ZSTD_DStream *zstd;
    char *packed; /* compressed bytes read ahead of zstd */
    size_t packed_cap, packed_n, packed_at;
    size_t zstd_hint;         /* 0: at a frame's end */
    uint64_t used;            /* bytes of the file itself */
    char ahead[DNAS_IN_PEEK]; /* read for a peek, not yet for good */
    size_t ahead_n, ahead_at;
    uint64_t file_size;
};

static int sniff(struct dnas_in *in, struct dnas_err *err)
{
    unsigned char b[4] = {0};
    ssize_t n = hpeek(in->file, b, sizeof(b));

    if (n < 0)
        return dnas_err_set(err, "%s: cannot be read: %s", in->name, strerror(errno));
    in->codec = CODEC_PLAIN;
    if (n >= 2 && b[0] == 0x1f && b[1] == 0x8b)
        in->codec = CODEC_GZIP;
    else if (n == 4 && b[0] == 0x28 && b[1] == 0xb5 && b[2] == 0x2f && b[3] == 0xfd)
        in->codec = CODEC_ZSTD;
    return 0;
}

static int start_codec(struct dnas_in *in, struct dnas_err *err)
{
    switch (in->codec) {
    case CODEC_PLAIN:
        return 0;
    case CODEC_GZIP:
        in->bgzf = bgzf_hopen(in->file, "r");
        /* htslib takes what is too short for a header as plain bytes. */
        if (!in->bgzf || !in->bgzf->is_compressed)
            return dnas_err_set(err, "%s: the gzip data are corrupt or cut off", in->name);
        return 0;
    case CODEC_ZSTD:
        in->zstd = dnas_xhave(ZSTD_createDStream(), "a zstd context");
        in->packed_cap = ZSTD_DStreamInSize();
        in->packed = dnas_xalloc(in->packed_cap, 1);
        return 0;
    }
    DNAS_BUG("codec %d", (int)in->codec);
}

struct dnas_in *dnas_in_open(const char *path, struct dnas_err *err)
{
    bool is_stdin = !path || strcmp(path, "-") == 0;
    struct dnas_in *in = dnas_xzalloc(1, sizeof(*in));
    struct stat st;
    int fd = is_stdin ? dup(STDIN_FILENO) : open(path, O_RDONLY | O_CLOEXEC);

    hts_set_log_level(HTS_LOG_OFF); /* its messages come back as our sentences */
    in->name = dnas_xstrdup(is_stdin ? "standard input" : path);
    if (fd < 0 || fstat(fd, &st) != 0) {
        dnas_err_set(err, "%s: cannot be opened: %s", in->name, strerror(errno));
        goto fail;
    }
    if (S_ISDIR(st.st_mode)) {
        dnas_err_set(err, "%s: is a folder, not a file", in->name);
        goto fail;
    }
    in->file_size = S_ISREG(st.st_mode) ? (uint64_t)st.st_size : 0;
    in->file = hdopen(fd, "r");
    if (!in->file) {
        dnas_err_set(err, "%s: cannot be opened: %s", in->name, strerror(errno));
        goto fail;
    }
    fd = -1;
    if (sniff(in, err) == 0 && start_codec(in, err) == 0)
        return in;
fail:
    if (fd >= 0)
        close(fd);
    dnas_in_close(in);
    return NULL;
}

static ptrdiff_t read_plain(struct dnas_in *in, void *buf, size_t n, struct dnas_err *err)
{
    ssize_t got = hread(in->file, buf, n);

    if (got < 0)
        return dnas_err_set(err, "%s: cannot be read: %s", in->name, strerror(errno));
    in->used += (uint64_t)got;
    return got;
}

static ptrdiff_t read_gzip(struct dnas_in *in, void *buf, size_t n, struct dnas_err *err)
{
    ssize_t got = bgzf_read(in->bgzf, buf, n);

    if (got < 0)
        return dnas_err_set(err, "%s: the gzip data are corrupt or cut off", in->name);
    /* htslib only warns of a lost end block, and remembers that it did. */
    if (got == 0 && in->bgzf->no_eof_block)
        return dnas_err_set(err, "%s: is cut off: its BGZF end-of-file block is missing", in->name);
    in->used = (uint64_t)htell(in->file);
    return got;
}

static int refill_packed(struct dnas_in *in, struct dnas_err *err)
{
    ssize_t got = hread(in->file, in->packed, in->packed_cap);

    if (got < 0)
        return dnas_err_set(err, "%s: cannot be read: %s", in->name, strerror(errno));
    in->packed_n = (size_t)got;
    in->packed_at = 0;
    return 0;
}

static ptrdiff_t read_zstd(struct dnas_in *in, void *buf, size_t n, struct dnas_err *err)
{
    ZSTD_outBuffer o = {buf, n, 0};

    while (o.pos == 0) {
        ZSTD_inBuffer i;

        if (in->packed_at == in->packed_n && refill_packed(in, err) != 0)
            return -1;
        i = (ZSTD_inBuffer){in->packed, in->packed_n, in->packed_at};
        if (in->packed_n == 0 && in->zstd_hint == 0)
            return 0;
        in->zstd_hint = ZSTD_decompressStream(in->zstd, &o, &i);
        if (ZSTD_isError(in->zstd_hint))
            return dnas_err_set(err, "%s: the zstd data are corrupt (%s)", in->name,
                                ZSTD_getErrorName(in->zstd_hint));
        if (in->packed_n == 0 && o.pos == 0 && in->zstd_hint != 0)
            return dnas_err_set(err, "%s: is cut off within a zstd frame", in->name);
        in->used += i.pos - in->packed_at;
        in->packed_at = i.pos;
    }
    return (ptrdiff_t)o.pos;
}

static ptrdiff_t read_on(struct dnas_in *in, void *buf, size_t n, struct dnas_err *err)
{
    switch (in->codec) {
    case CODEC_PLAIN:
        return read_plain(in, buf, n, err);
    case CODEC_GZIP:
        return read_gzip(in, buf, n, err);
    case CODEC_ZSTD:
        return read_zstd(in, buf, n, err);
    }
    DNAS_BUG("codec %d", (int)in->codec);
}

ptrdiff_t dnas_in_read(struct dnas_in *in, void *buf, size_t n, struct dnas_err *err)
{
    size_t ahead = in->ahead_n - in->ahead_at;

    if (n == 0)
        return 0;
    if (ahead > 0) {
        if (n > ahead)
            n = ahead;
        memcpy(buf, in->ahead + in->ahead_at, n);
        in->ahead_at += n;
        return (ptrdiff_t)n;
    }
    return read_on(in, buf, n < INT_MAX ? n : INT_MAX, err);
}

ptrdiff_t dnas_in_peek(struct dnas_in *in, void *buf, size_t n, struct dnas_err *err)
{
    if (n > DNAS_IN_PEEK || in->ahead_at > 0)
        DNAS_BUG("a peek of %zu bytes", n);
    while (in->ahead_n < n) {
        ptrdiff_t got = read_on(in, in->ahead + in->ahead_n, n - in->ahead_n, err);

        if (got < 0)
            return -1;
        if (got == 0)
            break;
        in->ahead_n += (size_t)got;
    }
    if (in->ahead_n < n)
        n = in->ahead_n;
    memcpy(buf, in->ahead, n);
    return (ptrdiff_t)n;
}

ptrdiff_t dnas_in_read_full(struct dnas_in *in, void *buf, size_t n, struct dnas_err *err)
{
    size_t done = 0;

    while (done < n) {
        ptrdiff_t got = dnas_in_read(in, (char *)buf + done, n - done, err);

        if (got < 0)
            return -1;
        if (got == 0)
            break;
        done += (size_t)got;
    }
    return (ptrdiff_t)done;
}

const char *dnas_in_name(const struct dnas_in *in)
{
    return in->name;
}

bool dnas_in_is_zstd(const struct dnas_in *in)
{
    return in->codec == CODEC_ZSTD;
}

uint64_t dnas_in_offset(const struct dnas_in *in)
{
    return in->used;
}

int dnas_in_settle(struct dnas_in *in, struct dnas_err *err)
{
    char none;

    while (in->codec == CODEC_ZSTD && in->zstd_hint != 0) {
        ZSTD_outBuffer o = {&none, 0, 0};
        ZSTD_inBuffer i;

        if (in->packed_at == in->packed_n && refill_packed(in, err) != 0)
            return -1;
        i = (ZSTD_inBuffer){in->packed, in->packed_n, in->packed_at};
        in->zstd_hint = ZSTD_decompressStream(in->zstd, &o, &i);
        if (ZSTD_isError(in->zstd_hint) || i.pos == in->packed_at)
            break; /* the next read says what is wrong */
        in->used += i.pos - in->packed_at;
        in->packed_at = i.pos;
    }
    return 0;
}

uint64_t dnas_in_file_size(const struct dnas_in *in)
{
    return in->file_size;
}

void dnas_in_close(struct dnas_in *in)
{
    if (!in)
        return;
    if (in->bgzf)
        bgzf_close(in->bgzf);
    else if (in->file && hclose(in->file) != 0) {
        /* Only reading was done: there is nothing to lose. */
    }
    ZSTD_freeDStream(in->zstd);
    free(in->packed);
    free(in->name);
    free(in);
}

/* Makes room and reads on behind the bytes from l->at on. */
static int lines_fill(struct dnas_lines *l, struct dnas_err *err)
{
    ptrdiff_t got;

    if (l->at > 0) {
        memmove(l->buf, l->buf + l->at, l->n - l->at);
        l->n -= l->at;
        l->at = 0;
    }
    if (l->n > INT_MAX)
        return dnas_err_set(err, "%s: line %llu is longer than 2 GiB", l->in->name,
                            (unsigned long long)l->number + 1);
    l->buf = dnas_xgrow(l->buf, &l->cap, l->n + 65537, 1);
    got = dnas_in_read(l->in, l->buf + l->n, l->cap - l->n - 1, err);
    if (got < 0)
        return -1;
    l->at_eof = got == 0;
    l->n += (size_t)got;
    return 0;
}

int dnas_lines_next(struct dnas_lines *l, char **line, size_t *n, struct dnas_err *err)
{
    size_t seen = 0;
    char *newline = NULL;

    for (;;) {
        size_t left = l->n - l->at;

        if (left > seen)
            newline = memchr(l->buf + l->at + seen, '\n', left - seen);
        if (newline || l->at_eof)
            break;
        seen = left;
        if (lines_fill(l, err) != 0)
            return -1;
    }
    if (!newline && l->at == l->n)
        return 0;
    *line = l->buf + l->at;
    *n = newline ? (size_t)(newline - *line) : l->n - l->at;
    l->at += *n + (newline ? 1 : 0);
    l->number++;
    if (*n > 0 && (*line)[*n - 1] == '\r')
        --*n;
    (*line)[*n] = '\0';
    return 1;
}

void dnas_lines_release(struct dnas_lines *l)
{
    free(l->buf);
    *l = (struct dnas_lines){0};
}

bool dnas_is_regular_file(const char *path, uint64_t *size)
{
    struct stat st;

    if (!path || strcmp(path, "-") == 0 || stat(path, &st) != 0 || !S_ISREG(st.st_mode))
        return false;
    if (size)
        *size = (uint64_t)st.st_size;
    return true;
}

int dnas_in_can_reopen(char *const *paths, int n_paths, const char *what, struct dnas_err *err)
{
    for (int i = 0; i < n_paths; i++)
        if (!dnas_is_regular_file(paths[i], NULL))
            return dnas_err_set(err, "%s: %s reads its input twice, so it must be a file",
                                strcmp(paths[i], "-") == 0 ? "standard input" : paths[i], what);
    if (n_paths == 0)
        return dnas_err_set(err, "standard input: %s reads its input twice, so it must be a file",
                            what);
    return 0;
}

char *dnas_in_read_all(struct dnas_in *in, size_t max, size_t *n, struct dnas_err *err)
{
    char *buf = NULL;
    size_t cap = 0;

    for (*n = 0;;) {
        ptrdiff_t got;

        buf = dnas_xgrow(buf, &cap, *n + 65537, 1);
        got = dnas_in_read(in, buf + *n, cap - *n - 1, err);
        if (got < 0)
            break;
        *n += (size_t)got;
        if (got == 0) {
            buf[*n] = '\0';
            return buf;
        }
        if (*n > max) {
            dnas_err_set(err, "%s: is larger than the %zu MiB allowed", in->name, max >> 20);
            break;
        }
    }
    free(buf);
    return NULL;
}

static const char *temporary_folder(void)
{
    const char *dir = getenv("TMPDIR");

    return dir && *dir ? dir : "/tmp";
}

int dnas_temporary_failed(struct dnas_err *err)
{
    return dnas_err_set(err, "the temporary file in '%s' failed: %s (TMPDIR names another folder)",
                        temporary_folder(), strerror(errno));
}

/* tmpfile() does not ask for TMPDIR. */
FILE *dnas_temporary_open(struct dnas_err *err)
{
    char *path = dnas_xasprintf("%s/dnas.XXXXXX", temporary_folder());
    int fd = mkstemp(path);
    FILE *f = fd >= 0 ? fdopen(fd, "w+b") : NULL;

    if (!f)
        dnas_temporary_failed(err);
    if (fd >= 0)
        unlink(path);
    if (fd >= 0 && !f)
        close(fd);
    free(path);
    return f;
}

char *dnas_read_file(const char *path, size_t max, size_t *n, struct dnas_err *err)
{
    struct dnas_in *in = dnas_in_open(path, err);
    char *buf = in ? dnas_in_read_all(in, max, n, err) : NULL;

    dnas_in_close(in);
    return buf;
}

struct dnas_out {
    int fd;
    char *name;  /* of what is written */
    char *final; /* NULL: name is final */
    bool keeps;  /* the part stays after a failure */
};

bool dnas_out_uses_part(const char *path)
{
    struct stat st;

    return path && (stat(path, &st) != 0 || S_ISREG(st.st_mode));
}

/* Whether the part that was opened still has its name: a writer that was faster may have
 * renamed it between our open and our lock.  -1 where that cannot be seen. */
static int has_its_name(const struct dnas_out *out, struct dnas_err *err)
{
    struct stat ours, named;

    if (fstat(out->fd, &ours) == 0) {
        if (stat(out->name, &named) == 0)
            return ours.st_dev == named.st_dev && ours.st_ino == named.st_ino;
        if (errno == ENOENT)
            return 0;
    }
    return dnas_err_set(err, "%s: cannot be written: %s", out->name, strerror(errno));
}

/* Opens the part, locked against a second writer; the lock goes with the process.
 * flock and not fcntl: a reader of the same file that closes would lift that. */
static int open_part(struct dnas_out *out, bool keep, struct dnas_err *err)
{
    int named = 0;

    while (named == 0) {
        if (out->fd >= 0)
            close(out->fd);
        out->fd = open(out->name, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
        if (out->fd < 0)
            return dnas_err_set(err, "%s: cannot be written: %s", out->name, strerror(errno));
        if (flock(out->fd, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK)
            return dnas_err_set(err, "%s: another process is writing it", out->name);
        named = has_its_name(out, err);
    }
    if (named > 0 && (keep || ftruncate(out->fd, 0) == 0))
        return 0;
    if (named > 0)
        dnas_err_set(err, "%s: cannot be emptied: %s", out->name, strerror(errno));
    if (!keep)
        unlink(out->name);
    return -1;
}

/* What is there and no regular file is written in place. */
static int open_in_place(struct dnas_out *out, struct dnas_err *err)
{
    out->fd = open(out->name, O_WRONLY | O_CLOEXEC);
    if (out->fd < 0)
        return dnas_err_set(err, "%s: cannot be written: %s", out->name, strerror(errno));
    return 0;
}

struct dnas_out *dnas_out_open(const char *path, bool keep, struct dnas_err *err)
{
    struct dnas_out *out = dnas_xzalloc(1, sizeof(*out));

    if (!path) {
        out->fd = STDOUT_FILENO;
        out->name = dnas_xstrdup("standard output");
        return out;
    }
    out->fd = -1;
    if (dnas_out_uses_part(path)) {
        out->name = dnas_xasprintf("%s.part", path);
        out->final = dnas_xstrdup(path);
        if (open_part(out, keep, err) == 0)
            return out;
    } else {
        out->name = dnas_xstrdup(path);
        if (open_in_place(out, err) == 0)
            return out;
    }
    if (out->fd >= 0)
        close(out->fd);
    out->fd = -1;
    dnas_out_abandon(out, true);
    return NULL;
}

void dnas_out_keep_part(struct dnas_out *out)
{
    out->keeps = true;
}

int dnas_out_write(struct dnas_out *out, const void *buf, size_t n, struct dnas_err *err)
{
    const char *p = buf;

    while (n > 0) {
        ssize_t wrote = write(out->fd, p, n);

        if (wrote < 0 && errno == EINTR)
            continue;
        if (wrote < 0)
            return dnas_err_set(err, "%s: cannot be written: %s", out->name, strerror(errno));
        p += wrote;
        n -= (size_t)wrote;
    }
    return 0;
}

int dnas_out_truncate(struct dnas_out *out, uint64_t n, struct dnas_err *err)
{
    if (ftruncate(out->fd, (off_t)n) != 0 || lseek(out->fd, (off_t)n, SEEK_SET) < 0)
        return dnas_err_set(err, "%s: cannot be cut to %llu bytes: %s", out->name,
                            (unsigned long long)n, strerror(errno));
    return 0;
}

bool dnas_out_is_terminal(const struct dnas_out *out)
{
    return isatty(out->fd) == 1;
}

const char *dnas_out_name(const struct dnas_out *out)
{
    return out->name;
}

static void out_free(struct dnas_out *out)
{
    free(out->name);
    free(out->final);
    free(out);
}

int dnas_out_commit(struct dnas_out *out, struct dnas_err *err)
{
    int status = 0;

    /* EINVAL: what is written cannot be synchronised (a pipe, a device). */
    if (out->final && fsync(out->fd) != 0 && errno != EINVAL)
        status = dnas_err_set(err, "%s: cannot be written: %s", out->name, strerror(errno));
    if (out->fd != STDOUT_FILENO && close(out->fd) != 0 && status == 0)
        status = dnas_err_set(err, "%s: cannot be written: %s", out->name, strerror(errno));
    if (status == 0 && out->final && rename(out->name, out->final) != 0)
        status = dnas_err_set(err, "%s: cannot be renamed to '%s': %s", out->name, out->final,
                              strerror(errno));
    if (status != 0 && out->final && !out->keeps)
        unlink(out->name);
    out_free(out);
    return status;
}

void dnas_out_abandon(struct dnas_out *out, bool keep_part)
{
    if (!out)
        return;
    if (out->fd >= 0 && out->final && !keep_part && !out->keeps)
        unlink(out->name);
    if (out->fd >= 0 && out->fd != STDOUT_FILENO)
        close(out->fd);
    out_free(out);
}

int dnas_write_file(const char *path, const void *buf, size_t n, struct dnas_err *err)
{
    struct dnas_out *out = dnas_out_open(path, false, err);

    if (out && dnas_out_write(out, buf, n, err) == 0)
        return dnas_out_commit(out, err);
    dnas_out_abandon(out, false);
    return -1;
}
