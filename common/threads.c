/* SPDX-License-Identifier: MIT
 *
 * threads.c - numbered tasks and ordered batches on POSIX threads.
 *
 * Contract: threads.h.  POSIX threads rather than OpenMP, so that the thread
 * sanitizer sees every hand-over.
 */
#define _GNU_SOURCE /* sched_getaffinity, CPU_COUNT */
#include "common/threads.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/xmem.h"

/* A positive number in the environment, or INT32_MAX. */
static int limit_from_env(const char *name)
{
    const char *s = getenv(name);
    char *end;
    long n;

    if (!s || !*s)
        return INT32_MAX;
    n = strtol(s, &end, 10);
    return end != s && n > 0 && n < INT32_MAX ? (int)n : INT32_MAX;
}

/* cgroup v2's quota in whole processors, rounded up, or INT32_MAX. */
static int limit_from_cgroup(void)
{
    FILE *f = fopen("/sys/fs/cgroup/cpu.max", "r");
    double quota = 0, period = 0;
    int n = INT32_MAX;

    if (!f)
        return n;
    if (fscanf(f, "%lf %lf", &quota, &period) == 2 && quota > 0 && period > 0 &&
        quota / period < 1e6)
        n = (int)((quota + period - 1) / period);
    fclose(f);
    return n > 0 ? n : 1;
}

int dnas_threads_available(void)
{
    int limits[3] = {limit_from_env("OMP_NUM_THREADS"), limit_from_env("SLURM_CPUS_PER_TASK"),
                     limit_from_cgroup()};
    cpu_set_t set;
    int n = 1;

    if (sched_getaffinity(0, sizeof(set), &set) == 0)
        n = CPU_COUNT(&set);
    for (int i = 0; i < 3; i++)
        if (limits[i] < n)
            n = limits[i];
    return n > 0 ? n : 1;
}

struct parallel {
    void (*task)(void *ctx, size_t i, int worker);
    void *ctx;
    size_t n_tasks;
    atomic_size_t next;
};

struct parallel_worker {
    struct parallel *shared;
    int worker;
};

static void *parallel_worker(void *arg)
{
    struct parallel_worker *w = arg;
    struct parallel *p = w->shared;

    for (;;) {
        size_t i = atomic_fetch_add(&p->next, 1);

        if (i >= p->n_tasks)
            return NULL;
        p->task(p->ctx, i, w->worker);
    }
}

/* Runs body(arg_of(i)) on n threads; threads that cannot be had are done
 * without, since the ones that run take over their share. */
static void run_on_threads(int n, void *(*body)(void *), void *args, size_t arg_size)
{
    pthread_t *thread = dnas_xalloc((size_t)n, sizeof(*thread));
    int n_started = 1;

    while (n_started < n && pthread_create(&thread[n_started], NULL, body,
                                           (char *)args + (size_t)n_started * arg_size) == 0)
        n_started++;
    body(args);
    for (int i = 1; i < n_started; i++)
        pthread_join(thread[i], NULL);
    free(thread);
}

void dnas_parallel_for(size_t n_tasks, int n_threads, void (*task)(void *ctx, size_t i, int worker),
                       void *ctx)
{
    struct parallel p = {.task = task, .ctx = ctx, .n_tasks = n_tasks};
    struct parallel_worker *w;

    if (n_threads < 1)
        DNAS_BUG("%d threads", n_threads);
    if ((size_t)n_threads > n_tasks)
        n_threads = n_tasks > 0 ? (int)n_tasks : 1;
    atomic_init(&p.next, 0);
    w = dnas_xalloc((size_t)n_threads, sizeof(*w));
    for (int i = 0; i < n_threads; i++)
        w[i] = (struct parallel_worker){.shared = &p, .worker = i};
    run_on_threads(n_threads, parallel_worker, w, sizeof(*w));
    free(w);
}

struct dnas_turns {
    pthread_mutex_t lock;
    pthread_cond_t passed;
    size_t n_slots;
    size_t *next; /* [n_slots] */
};

struct dnas_turns *dnas_turns_new(size_t n_slots)
{
    struct dnas_turns *t = dnas_xzalloc(1, sizeof(*t));

    pthread_mutex_init(&t->lock, NULL);
    pthread_cond_init(&t->passed, NULL);
    t->n_slots = n_slots;
    t->next = dnas_xzalloc(n_slots, sizeof(*t->next));
    return t;
}

void dnas_turns_free(struct dnas_turns *t)
{
    if (!t)
        return;
    pthread_cond_destroy(&t->passed);
    pthread_mutex_destroy(&t->lock);
    free(t->next);
    free(t);
}

void dnas_turns_restart(struct dnas_turns *t)
{
    memset(t->next, 0, t->n_slots * sizeof(*t->next));
}

void dnas_turns_wait(struct dnas_turns *t, size_t slot, size_t task)
{
    pthread_mutex_lock(&t->lock);
    while (t->next[slot] != task)
        pthread_cond_wait(&t->passed, &t->lock);
    pthread_mutex_unlock(&t->lock);
}

void dnas_turns_pass(struct dnas_turns *t, size_t slot)
{
    pthread_mutex_lock(&t->lock);
    t->next[slot]++;
    pthread_cond_broadcast(&t->passed);
    pthread_mutex_unlock(&t->lock);
}

enum slot_state { SLOT_FREE, SLOT_BUSY, SLOT_DONE };

struct pipeline_state {
    const struct dnas_pipeline *p;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    enum slot_state *slot; /* [n_slots]; batch b lives in slot b mod n_slots */
    uint64_t next_fill;
    uint64_t next_drain;
    uint64_t fail_at; /* the first batch that must not be drained */
    bool filling;
    bool draining;
    bool ended; /* nothing more to fill */
    struct dnas_err err;
};

struct pipeline_worker {
    struct pipeline_state *shared;
    int worker;
};

static void fail(struct pipeline_state *s, uint64_t batch, const struct dnas_err *err)
{
    s->ended = true;
    if (batch < s->fail_at) {
        s->fail_at = batch;
        s->err = *err;
    }
}

/* The three steps below are entered and left with the lock held. */
static void step_drain(struct pipeline_state *s)
{
    int slot = (int)(s->next_drain % (uint64_t)s->p->n_slots);
    struct dnas_err err = {""};
    int status;

    s->draining = true;
    pthread_mutex_unlock(&s->lock);
    status = s->p->drain(s->p->ctx, slot, &err);
    pthread_mutex_lock(&s->lock);
    s->draining = false;
    if (status != 0) {
        fail(s, s->next_drain, &err);
        return;
    }
    s->slot[slot] = SLOT_FREE;
    s->next_drain++;
}

static void step_fill_and_work(struct pipeline_state *s, int worker)
{
    uint64_t batch = s->next_fill;
    int slot = (int)(batch % (uint64_t)s->p->n_slots);
    struct dnas_err err = {""};
    int status;

    s->filling = true;
    s->slot[slot] = SLOT_BUSY;
    pthread_mutex_unlock(&s->lock);
    status = s->p->fill(s->p->ctx, slot, &err);
    pthread_mutex_lock(&s->lock);
    s->filling = false;
    pthread_cond_broadcast(&s->changed);
    if (status != 1) {
        s->ended = true;
        if (status < 0)
            fail(s, batch, &err);
        return;
    }
    s->next_fill++;
    pthread_mutex_unlock(&s->lock);
    status = s->p->work(s->p->ctx, slot, worker, &err);
    pthread_mutex_lock(&s->lock);
    if (status != 0)
        fail(s, batch, &err);
    s->slot[slot] = SLOT_DONE;
}

static bool may_drain(const struct pipeline_state *s)
{
    return !s->draining && s->next_drain < s->next_fill && s->next_drain < s->fail_at &&
           s->slot[s->next_drain % (uint64_t)s->p->n_slots] == SLOT_DONE;
}

static bool may_fill(const struct pipeline_state *s)
{
    return !s->ended && !s->filling && s->next_fill - s->next_drain < (uint64_t)s->p->n_slots;
}

static bool is_over(const struct pipeline_state *s)
{
    return s->ended && !s->draining && !s->filling &&
           (s->next_drain == s->next_fill || s->next_drain == s->fail_at);
}

static void *pipeline_worker(void *arg)
{
    struct pipeline_worker *w = arg;
    struct pipeline_state *s = w->shared;

    pthread_mutex_lock(&s->lock);
    while (!is_over(s)) {
        if (may_drain(s))
            step_drain(s);
        else if (may_fill(s))
            step_fill_and_work(s, w->worker);
        else {
            pthread_cond_wait(&s->changed, &s->lock);
            continue;
        }
        pthread_cond_broadcast(&s->changed);
    }
    pthread_mutex_unlock(&s->lock);
    return NULL;
}

int dnas_pipeline_run(const struct dnas_pipeline *p, struct dnas_err *err)
{
    struct pipeline_state s = {.p = p, .fail_at = UINT64_MAX};
    struct pipeline_worker *w;

    if (p->n_threads < 1 || p->n_slots < 1)
        DNAS_BUG("%d threads, %d slots", p->n_threads, p->n_slots);
    pthread_mutex_init(&s.lock, NULL);
    pthread_cond_init(&s.changed, NULL);
    s.slot = dnas_xzalloc((size_t)p->n_slots, sizeof(*s.slot));
    w = dnas_xalloc((size_t)p->n_threads, sizeof(*w));
    for (int i = 0; i < p->n_threads; i++)
        w[i] = (struct pipeline_worker){.shared = &s, .worker = i};
    run_on_threads(p->n_threads, pipeline_worker, w, sizeof(*w));
    free(w);
    free(s.slot);
    pthread_cond_destroy(&s.changed);
    pthread_mutex_destroy(&s.lock);
    if (s.fail_at == UINT64_MAX)
        return 0;
    return dnas_err_set(err, "%s", s.err.msg);
}
