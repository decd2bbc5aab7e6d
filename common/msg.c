/* SPDX-License-Identifier: MIT
 *
 * msg.c - messages and the progress line.  Contract: msg.h.
 */
#include "common/msg.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

/* The program's name, the level and the state of the progress line are the
 * only mutable globals of the suite; the lock guards the last two. */
static const char *program = "dnas";
static enum dnas_msg_level level = DNAS_MSG_NORMAL;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static bool line_is_drawn;
static double last_drawn_s = -1;

static double monotonic_s(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (double)ts.tv_sec + 1e-9 * (double)ts.tv_nsec;
}

static double started_s;

void dnas_msg_program(const char *argv0)
{
    const char *slash = argv0 ? strrchr(argv0, '/') : NULL;

    if (argv0)
        program = slash ? slash + 1 : argv0;
    started_s = monotonic_s();
}

const char *dnas_msg_program_name(void)
{
    return program;
}

void dnas_msg_set_level(enum dnas_msg_level l)
{
    level = l;
}

enum dnas_msg_level dnas_msg_get_level(void)
{
    return level;
}

static void end_line_locked(void)
{
    if (line_is_drawn)
        fputs("\r\033[K", stderr);
    line_is_drawn = false;
}

static void say(const char *kind, const char *fmt, va_list ap)
{
    char text[4096];
    int n = vsnprintf(text, sizeof(text), fmt, ap);

    if (n < 0)
        return;
    for (char *c = text; *c; c++)
        if ((unsigned char)*c < 0x20 || *c == 0x7f)
            *c = '?';
    pthread_mutex_lock(&lock);
    end_line_locked();
    fprintf(stderr, "%s: %s%s\n", program, kind, text);
    fflush(stderr);
    pthread_mutex_unlock(&lock);
}

void dnas_msg_error(const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    say("", fmt, ap);
    va_end(ap);
}

void dnas_msg_warn(const char *fmt, ...)
{
    va_list ap;

    if (level < DNAS_MSG_NORMAL)
        return;
    va_start(ap, fmt);
    say("warning: ", fmt, ap);
    va_end(ap);
}

void dnas_msg_note(const char *fmt, ...)
{
    va_list ap;

    if (level < DNAS_MSG_NORMAL)
        return;
    va_start(ap, fmt);
    say("", fmt, ap);
    va_end(ap);
}

void dnas_msg_verbose(const char *fmt, ...)
{
    va_list ap;

    if (level < DNAS_MSG_VERBOSE)
        return;
    va_start(ap, fmt);
    say("", fmt, ap);
    va_end(ap);
}

void dnas_progress(const char *doing, const char *units, uint64_t n, uint64_t done, uint64_t total)
{
    double now_s;

    if (level < DNAS_MSG_NORMAL || !isatty(STDERR_FILENO))
        return;
    pthread_mutex_lock(&lock);
    now_s = dnas_clock_s();
    if (now_s - last_drawn_s > 1.0 / 6) {
        double rate = now_s > 0 ? (double)n / now_s : 0;

        fprintf(stderr, "\r\033[K%s: %llu %s, %.0f/s", doing, (unsigned long long)n, units, rate);
        if (total > 0 && done > 0 && done <= total) {
            double left_s = now_s * (double)(total - done) / (double)done;

            fprintf(stderr, ", %.0f %%, %.0f:%02.0f left", 100.0 * (double)done / (double)total,
                    (double)(long)(left_s / 60), left_s - 60 * (double)(long)(left_s / 60));
        }
        fflush(stderr);
        line_is_drawn = true;
        last_drawn_s = now_s;
    }
    pthread_mutex_unlock(&lock);
}

void dnas_progress_end(void)
{
    pthread_mutex_lock(&lock);
    end_line_locked();
    fflush(stderr);
    pthread_mutex_unlock(&lock);
}

double dnas_clock_s(void)
{
    return monotonic_s() - started_s;
}

uint64_t dnas_peak_memory_bytes(void)
{
    struct rusage ru;

    if (getrusage(RUSAGE_SELF, &ru) != 0)
        return 0;
    return (uint64_t)ru.ru_maxrss * 1024;
}

void dnas_msg_closing(uint64_t n, const char *units)
{
    double took_s = dnas_clock_s();

    dnas_progress_end();
    dnas_msg_verbose("%llu %s in %.2f s (%.0f/s), peak memory %.1f MiB", (unsigned long long)n,
                     units, took_s, took_s > 0 ? (double)n / took_s : 0,
                     (double)dnas_peak_memory_bytes() / 1048576);
}
