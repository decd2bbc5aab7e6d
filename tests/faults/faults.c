/* SPDX-License-Identifier: MIT
 *
 * faults.c - a library for LD_PRELOAD that makes the n-th call of a kind fail, as a full disk,
 * a lack of memory or a signal would.
 *
 * DNAS_FAULT=KIND:ERROR:N   from main on, the N-th call of the kind fails so; N+ for it and all
 *                           later ones.  Instead of an error, `short`: one byte is read or
 *                           written; `KILL`: half is written, then SIGKILL ends the program;
 *                           `TERM`, `USR1`: this signal comes, and the call is made.
 * DNAS_FAULT_REPORT=FILE    with a fault: FILE appears when it strikes.  Without: the kinds and
 *                           the number of calls of each, a line a kind, when main has returned.
 *
 * Not counted: what is written to standard error, and memory that C++ libraries ask for, which
 * end by an exception that is theirs.  Standard streams are failed at their functions (fread,
 * fwrite, fflush, fclose, getline), since the C library's own system calls cannot be replaced.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

enum kind {
    ALLOC,
    READ,
    WRITE,
    OPEN,
    CLOSE,
    SYNC,
    RENAME,
    MAP,
    SEEK,
    STATUS,
    FREAD,
    FWRITE,
    THREAD,
    N_KINDS
};
static const char *const kind_names[N_KINDS] = {"alloc", "read",   "write", "open", "close",
                                                "sync",  "rename", "map",   "seek", "status",
                                                "fread", "fwrite", "thread"};

#define SHORT (-1)
#define KILL (-2)
#define TERM (-3)
#define USR1 (-4)
static const struct {
    const char *name;
    int value;
} errors[] = {{"short", SHORT},   {"KILL", KILL},     {"TERM", TERM},    {"USR1", USR1},
              {"EIO", EIO},       {"ENOSPC", ENOSPC}, {"EINTR", EINTR},  {"ENOMEM", ENOMEM},
              {"EMFILE", EMFILE}, {"EAGAIN", EAGAIN}, {"EACCES", EACCES}};

static atomic_bool armed;
static atomic_ulong n_calls[N_KINDS];
static int fault_kind = -1, fault_error;
static unsigned long fault_at;
static bool fault_stays;
static const char *report;
static atomic_bool reported;

static struct {
    uintptr_t from, to;
} foreign[8]; /* code of the C++ libraries */
static int n_foreign;

static int note_foreign(struct dl_phdr_info *info, size_t size, void *ctx)
{
    (void)size, (void)ctx;
    if (!strstr(info->dlpi_name, "libdnnl") && !strstr(info->dlpi_name, "libstdc++") &&
        !strstr(info->dlpi_name, "libgomp") && !strstr(info->dlpi_name, "libOpenCL") &&
        !strstr(info->dlpi_name, "ld-linux"))
        return 0;
    for (int i = 0; i < info->dlpi_phnum && n_foreign < 8; i++)
        if (info->dlpi_phdr[i].p_type == PT_LOAD && (info->dlpi_phdr[i].p_flags & PF_X)) {
            foreign[n_foreign].from = info->dlpi_addr + info->dlpi_phdr[i].p_vaddr;
            foreign[n_foreign].to = foreign[n_foreign].from + info->dlpi_phdr[i].p_memsz;
            n_foreign++;
        }
    return 0;
}

static bool is_foreign(const void *caller)
{
    for (int i = 0; i < n_foreign; i++)
        if ((uintptr_t)caller >= foreign[i].from && (uintptr_t)caller < foreign[i].to)
            return true;
    return false;
}

/* By system calls, which nothing here replaces. */
static void write_report(const char *text, size_t n)
{
    int fd = report ? (int)syscall(SYS_openat, AT_FDCWD, report, O_WRONLY | O_CREAT, 0666) : -1;

    if (fd >= 0 && syscall(SYS_write, fd, text, n) >= 0)
        syscall(SYS_close, fd);
}

/* The error that this call is to have, or 0. */
static int strike(enum kind kind)
{
    unsigned long n;

    if (!atomic_load_explicit(&armed, memory_order_relaxed))
        return 0;
    n = atomic_fetch_add(&n_calls[kind], 1) + 1;
    if ((int)kind != fault_kind || (fault_stays ? n < fault_at : n != fault_at))
        return 0;
    if (!atomic_exchange(&reported, true))
        write_report("struck\n", 7);
    if (fault_error == KILL && kind != WRITE)
        raise(SIGKILL);
    if (fault_error == TERM || fault_error == USR1) {
        raise(fault_error == TERM ? SIGTERM : SIGUSR1);
        return 0;
    }
    if (fault_error > 0)
        errno = fault_error;
    return fault_error;
}

#define REAL(name)                                                                                 \
    static __typeof__(name) *real_##name;                                                          \
    if (!real_##name)                                                                              \
    *(void **)&real_##name = dlsym(RTLD_NEXT, #name)

static void read_settings(void)
{
    const char *s = getenv("DNAS_FAULT"), *colon;

    report = getenv("DNAS_FAULT_REPORT");
    dl_iterate_phdr(note_foreign, NULL);
    if (!s)
        return;
    for (int k = 0; k < N_KINDS; k++)
        if (strncmp(s, kind_names[k], strlen(kind_names[k])) == 0 &&
            s[strlen(kind_names[k])] == ':')
            fault_kind = k;
    colon = strchr(s, ':');
    for (size_t e = 0; colon && e < sizeof(errors) / sizeof(*errors); e++)
        if (strncmp(colon + 1, errors[e].name, strlen(errors[e].name)) == 0)
            fault_error = errors[e].value;
    colon = colon ? strchr(colon + 1, ':') : NULL;
    fault_at = colon ? strtoul(colon + 1, NULL, 10) : 0;
    fault_stays = s[strlen(s) - 1] == '+';
    if (fault_kind < 0 || !fault_error || !fault_at) {
        fprintf(stderr, "faults: DNAS_FAULT=%s is not KIND:ERROR:N\n", s);
        _exit(99);
    }
}

static int (*real_main)(int, char **, char **);

static int armed_main(int argc, char **argv, char **envp)
{
    char text[1024];
    int status, n = 0;

    read_settings();
    atomic_store(&armed, true);
    status = real_main(argc, argv, envp);
    atomic_store(&armed, false);
    for (int k = 0; k < N_KINDS; k++)
        n += snprintf(text + n, sizeof(text) - (size_t)n, "%s %lu\n", kind_names[k],
                      atomic_load(&n_calls[k]));
    if (fault_kind < 0)
        write_report(text, (size_t)n);
    return status;
}

int __libc_start_main(int (*)(int, char **, char **), int, char **, void (*)(void), void (*)(void),
                      void (*)(void), void *);
int __libc_start_main(int (*program)(int, char **, char **), int argc, char **argv,
                      void (*init)(void), void (*fini)(void), void (*rtld_fini)(void),
                      void *stack_end)
{
    REAL(__libc_start_main);
    real_main = program;
    return real___libc_start_main(armed_main, argc, argv, init, fini, rtld_fini, stack_end);
}

/* ---- memory ---- */

void *__libc_malloc(size_t);
void *__libc_calloc(size_t, size_t);
void *__libc_realloc(void *, size_t);
void *__libc_memalign(size_t, size_t);

#define NO_MEMORY() (!is_foreign(__builtin_return_address(0)) && strike(ALLOC))

void *malloc(size_t n)
{
    return NO_MEMORY() ? NULL : __libc_malloc(n);
}

void *calloc(size_t n, size_t size)
{
    return NO_MEMORY() ? NULL : __libc_calloc(n, size);
}

void *realloc(void *p, size_t n)
{
    return NO_MEMORY() ? NULL : __libc_realloc(p, n);
}

int posix_memalign(void **p, size_t alignment, size_t n)
{
    if (NO_MEMORY())
        return ENOMEM;
    *p = __libc_memalign(alignment, n);
    return *p ? 0 : ENOMEM;
}

void *aligned_alloc(size_t alignment, size_t n)
{
    return NO_MEMORY() ? NULL : __libc_memalign(alignment, n);
}

void *mmap(void *at, size_t n, int protection, int flags, int fd, off_t offset)
{
    return !is_foreign(__builtin_return_address(0)) && strike(MAP)
               ? MAP_FAILED
               : (void *)syscall(SYS_mmap, at, n, protection, flags, fd, offset);
}

void *mmap64(void *at, size_t n, int protection, int flags, int fd, off_t offset)
{
    return !is_foreign(__builtin_return_address(0)) && strike(MAP)
               ? MAP_FAILED
               : (void *)syscall(SYS_mmap, at, n, protection, flags, fd, offset);
}

/* ---- bytes ---- */

/* Whether the call fails; a short one has *n made small. */
static bool moved_badly(enum kind kind, size_t *n)
{
    int error = strike(kind);

    if (error == SHORT && *n > 1)
        *n = 1;
    return error != 0 && error != SHORT;
}

ssize_t read(int fd, void *buf, size_t n)
{
    REAL(read);
    return moved_badly(READ, &n) ? -1 : real_read(fd, buf, n);
}

ssize_t pread(int fd, void *buf, size_t n, off_t at)
{
    REAL(pread);
    return moved_badly(READ, &n) ? -1 : real_pread(fd, buf, n, at);
}

ssize_t pread64(int fd, void *buf, size_t n, off_t at)
{
    REAL(pread64);
    return moved_badly(READ, &n) ? -1 : real_pread64(fd, buf, n, at);
}

ssize_t write(int fd, const void *buf, size_t n)
{
    REAL(write);
    size_t half = n / 2;

    if (fd == STDERR_FILENO || !moved_badly(WRITE, &n))
        return real_write(fd, buf, n);
    if (fault_error == KILL && real_write(fd, buf, half) >= 0)
        raise(SIGKILL);
    return -1;
}

ssize_t pwrite(int fd, const void *buf, size_t n, off_t at)
{
    REAL(pwrite);
    return moved_badly(WRITE, &n) ? -1 : real_pwrite(fd, buf, n, at);
}

ssize_t pwrite64(int fd, const void *buf, size_t n, off_t at)
{
    REAL(pwrite64);
    return moved_badly(WRITE, &n) ? -1 : real_pwrite64(fd, buf, n, at);
}

/* ---- files ---- */

#define OPEN_AS(name)                                                                              \
    int name(const char *path, int flags, ...)                                                     \
    {                                                                                              \
        va_list ap;                                                                                \
        mode_t mode = 0;                                                                           \
        REAL(name);                                                                                \
        va_start(ap, flags);                                                                       \
        if (flags & (O_CREAT | O_TMPFILE))                                                         \
            mode = va_arg(ap, mode_t);                                                             \
        va_end(ap);                                                                                \
        return strike(OPEN) ? -1 : real_##name(path, flags, mode);                                 \
    }
OPEN_AS(open)
OPEN_AS(open64)

FILE *fopen(const char *path, const char *mode)
{
    REAL(fopen);
    return strike(OPEN) ? NULL : real_fopen(path, mode);
}

FILE *fopen64(const char *path, const char *mode)
{
    REAL(fopen64);
    return strike(OPEN) ? NULL : real_fopen64(path, mode);
}

FILE *fdopen(int fd, const char *mode)
{
    REAL(fdopen);
    return strike(OPEN) ? NULL : real_fdopen(fd, mode);
}

FILE *open_memstream(char **text, size_t *n)
{
    REAL(open_memstream);
    return strike(ALLOC) ? NULL : real_open_memstream(text, n);
}

int mkstemp(char *path)
{
    REAL(mkstemp);
    return strike(OPEN) ? -1 : real_mkstemp(path);
}

DIR *opendir(const char *path)
{
    REAL(opendir);
    return strike(OPEN) ? NULL : real_opendir(path);
}

int mkdir(const char *path, mode_t mode)
{
    REAL(mkdir);
    return strike(OPEN) ? -1 : real_mkdir(path, mode);
}

int dup(int fd)
{
    REAL(dup);
    return strike(OPEN) ? -1 : real_dup(fd);
}

/* As on Linux, the descriptor is closed all the same. */
int close(int fd)
{
    int error = strike(CLOSE), status;
    REAL(close);
    status = real_close(fd);
    if (error && error != SHORT)
        errno = error;
    return error ? -1 : status;
}

int fsync(int fd)
{
    REAL(fsync);
    return strike(SYNC) ? -1 : real_fsync(fd);
}

int fdatasync(int fd)
{
    REAL(fdatasync);
    return strike(SYNC) ? -1 : real_fdatasync(fd);
}

int rename(const char *from, const char *to)
{
    REAL(rename);
    return strike(RENAME) ? -1 : real_rename(from, to);
}

int ftruncate(int fd, off_t n)
{
    REAL(ftruncate);
    return strike(SEEK) ? -1 : real_ftruncate(fd, n);
}

off_t lseek(int fd, off_t at, int whence)
{
    REAL(lseek);
    return strike(SEEK) ? -1 : real_lseek(fd, at, whence);
}

int fseeko(FILE *f, off_t at, int whence)
{
    REAL(fseeko);
    return strike(SEEK) ? -1 : real_fseeko(f, at, whence);
}

int fseek(FILE *f, long at, int whence)
{
    REAL(fseek);
    return strike(SEEK) ? -1 : real_fseek(f, at, whence);
}

int fstat(int fd, struct stat *st)
{
    REAL(fstat);
    return strike(STATUS) ? -1 : real_fstat(fd, st);
}

/* ---- standard streams ---- */

static void mark(FILE *f)
{
    f->_flags |= 0x20; /* glibc's error flag, so that ferror() sees it */
}

size_t fread(void *buf, size_t size, size_t n, FILE *f)
{
    REAL(fread);
    if (!strike(FREAD))
        return real_fread(buf, size, n, f);
    mark(f);
    return 0;
}

ssize_t getline(char **line, size_t *cap, FILE *f)
{
    REAL(getline);
    if (!strike(FREAD))
        return real_getline(line, cap, f);
    mark(f);
    return -1;
}

size_t fwrite(const void *buf, size_t size, size_t n, FILE *f)
{
    REAL(fwrite);
    if (f == stderr || !strike(FWRITE))
        return real_fwrite(buf, size, n, f);
    mark(f);
    return 0;
}

int fflush(FILE *f)
{
    REAL(fflush);
    if (f == stderr || !strike(FWRITE))
        return real_fflush(f);
    if (f)
        mark(f);
    return EOF;
}

int fclose(FILE *f)
{
    int error = strike(FWRITE), status;
    REAL(fclose);
    status = real_fclose(f);
    if (error && error != SHORT)
        errno = error;
    return error ? EOF : status;
}

/* ---- threads ---- */

int pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*body)(void *), void *arg)
{
    REAL(pthread_create);
    return strike(THREAD) ? EAGAIN : real_pthread_create(thread, attr, body, arg);
}
