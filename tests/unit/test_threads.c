/* SPDX-License-Identifier: MIT
 *
 * test_threads.c - numbered tasks and ordered batches.  Worth a run under
 * -fsanitize=thread as well (make check SANITIZE=thread TEST_ARGS=threads).
 */
#include "common/threads.h"

#include <sched.h>
#include <stdatomic.h>

#include "tests/unit/check.h"

enum { N_TASKS = 1000, MAX_THREADS = 64 };

struct tally {
    atomic_int ran[N_TASKS];
    atomic_int by_worker[MAX_THREADS];
    atomic_int now, most; /* tasks in flight */
    int n_threads;
};

static void count(void *ctx, size_t i, int worker)
{
    struct tally *t = ctx;

    if (i >= N_TASKS || worker < 0 || worker >= t->n_threads)
        abort();
    atomic_fetch_add(&t->ran[i], 1);
    atomic_fetch_add(&t->by_worker[worker], 1);
}

static void test_parallel_for_runs_each_task_once(void)
{
    static const int threads[] = {1, 2, 3, 8, 64};
    static const size_t tasks[] = {0, 1, 2, 31, N_TASKS};

    for (size_t a = 0; a < sizeof(threads) / sizeof(threads[0]); a++)
        for (size_t b = 0; b < sizeof(tasks) / sizeof(tasks[0]); b++) {
            struct tally t = {.n_threads = threads[a]};
            int total = 0;

            dnas_parallel_for(tasks[b], threads[a], count, &t);
            for (size_t i = 0; i < N_TASKS; i++)
                CHECK_INT(atomic_load(&t.ran[i]), i < tasks[b]);
            for (int i = 0; i < MAX_THREADS; i++)
                total += atomic_load(&t.by_worker[i]);
            CHECK_INT(total, tasks[b]);
        }
}

/* A worker number stands for one thread: its scratch needs no lock. */
struct scratch {
    int busy[MAX_THREADS];
    bool clash;
};

static void use_scratch(void *ctx, size_t i, int worker)
{
    struct scratch *s = ctx;

    if (s->busy[worker]++)
        s->clash = true;
    if (i % 7 == 0)
        sched_yield();
    s->busy[worker]--;
}

static void test_worker_numbers_are_exclusive(void)
{
    struct scratch s = {.clash = false};

    dnas_parallel_for(5000, 8, use_scratch, &s);
    CHECK(!s.clash);
}

/* A pipeline whose batch b holds the number b; work squares it. */
struct job {
    int n_batches, n_slots, n_threads;
    int fail_fill, fail_work[4], fail_drain; /* batches; -1: none */
    bool slow_first;                         /* even batches take longer than odd ones */
    uint64_t value[128];                     /* [n_slots] */
    int batch[128];
    int filled, drained;
    atomic_int in_fill, in_drain, in_flight, most_in_flight, worked;
    bool wrong;
};

static void pause_briefly(int turns)
{
    for (int i = 0; i < turns; i++)
        sched_yield();
}

static int fill(void *ctx, int slot, struct dnas_err *err)
{
    struct job *j = ctx;
    int status = 1, flight, most;

    if (atomic_fetch_add(&j->in_fill, 1) != 0 || slot != j->filled % j->n_slots)
        j->wrong = true;
    if (j->slow_first)
        pause_briefly(20);
    if (j->filled == j->fail_fill)
        status = dnas_err_set(err, "fill %d", j->filled);
    else if (j->filled == j->n_batches)
        status = 0;
    if (status == 1) {
        flight = atomic_fetch_add(&j->in_flight, 1) + 1;
        most = atomic_load(&j->most_in_flight);
        if (flight > most)
            atomic_store(&j->most_in_flight, flight);
        j->batch[slot] = j->filled;
        j->value[slot] = (uint64_t)j->filled++;
    }
    atomic_fetch_sub(&j->in_fill, 1);
    return status;
}

static int work(void *ctx, int slot, int worker, struct dnas_err *err)
{
    struct job *j = ctx;
    int batch = j->batch[slot];

    if (worker < 0 || worker >= j->n_threads)
        abort();
    if (j->slow_first)
        pause_briefly(batch % 2 == 0 ? 50 : 0);
    atomic_fetch_add(&j->worked, 1);
    j->value[slot] *= j->value[slot];
    for (int i = 0; i < 4; i++)
        if (batch == j->fail_work[i])
            return dnas_err_set(err, "work %d", batch);
    return 0;
}

static int drain(void *ctx, int slot, struct dnas_err *err)
{
    struct job *j = ctx;
    uint64_t want = (uint64_t)j->drained * (uint64_t)j->drained;

    if (atomic_fetch_add(&j->in_drain, 1) != 0 || j->batch[slot] != j->drained ||
        j->value[slot] != want)
        j->wrong = true;
    atomic_fetch_sub(&j->in_flight, 1);
    atomic_fetch_sub(&j->in_drain, 1);
    if (j->drained == j->fail_drain)
        return dnas_err_set(err, "drain %d", j->drained);
    j->drained++;
    return 0;
}

static int run(struct job *j, struct dnas_err *err)
{
    struct dnas_pipeline p = {.fill = fill,
                              .work = work,
                              .drain = drain,
                              .ctx = j,
                              .n_slots = j->n_slots,
                              .n_threads = j->n_threads};

    return dnas_pipeline_run(&p, err);
}

static struct job new_job(int n_batches, int n_slots, int n_threads)
{
    return (struct job){.n_batches = n_batches,
                        .n_slots = n_slots,
                        .n_threads = n_threads,
                        .fail_fill = -1,
                        .fail_work = {-1, -1, -1, -1},
                        .fail_drain = -1};
}

static const struct {
    int n_slots, n_threads;
} shapes[] = {{1, 1}, {2, 1}, {1, 4}, {3, 2}, {4, 2}, {16, 8}, {5, 16}, {128, 64}};
enum { N_SHAPES = sizeof(shapes) / sizeof(shapes[0]) };

static void test_pipeline_keeps_the_order(void)
{
    static const int batches[] = {0, 1, 2, 5, 300};

    for (size_t a = 0; a < N_SHAPES; a++)
        for (size_t b = 0; b < sizeof(batches) / sizeof(batches[0]); b++)
            for (int slow = 0; slow < 2; slow++) {
                struct job j = new_job(batches[b], shapes[a].n_slots, shapes[a].n_threads);
                struct dnas_err err = {""};

                j.slow_first = slow;
                CHECK_INT(run(&j, &err), 0);
                CHECK(!j.wrong);
                CHECK_INT(j.filled, batches[b]);
                CHECK_INT(j.drained, batches[b]);
                CHECK_INT(atomic_load(&j.worked), batches[b]);
                CHECK(atomic_load(&j.most_in_flight) <= shapes[a].n_slots);
                CHECK_STR(err.msg, "");
            }
}

/* The batches before the one that failed are drained, and no other. */
static void expect_failure(struct job *j, const char *msg, int drained)
{
    struct dnas_err err = {""};

    CHECK_INT(run(j, &err), -1);
    CHECK_STR(err.msg, msg);
    CHECK_INT(j->drained, drained);
    CHECK(!j->wrong);
}

static void test_pipeline_errors(void)
{
    for (size_t a = 0; a < N_SHAPES; a++)
        for (int again = 0; again < 20; again++) {
            struct job j = new_job(50, shapes[a].n_slots, shapes[a].n_threads);
            struct job blank = j;

            blank.slow_first = j.slow_first = again % 2;
            j.fail_fill = 20;
            expect_failure(&j, "fill 20", 20);
            j = blank;
            j.fail_work[0] = 7;
            expect_failure(&j, "work 7", 7);
            j = blank;
            j.fail_drain = 9;
            expect_failure(&j, "drain 9", 9);
            j = blank;
            j.fail_fill = 0;
            expect_failure(&j, "fill 0", 0);
            j = blank;
            j.fail_work[0] = 0;
            expect_failure(&j, "work 0", 0);
        }
}

/* Of several failures the first in the order of batches is told, though a
 * later one may happen before it. */
static void test_pipeline_tells_the_first_error(void)
{
    for (size_t a = 0; a < N_SHAPES; a++)
        for (int again = 0; again < 50; again++) {
            struct job j = new_job(50, shapes[a].n_slots, shapes[a].n_threads);

            j.slow_first = true; /* 10 is slow, 11 and 13 are quick */
            j.fail_work[0] = 10;
            j.fail_work[1] = 11;
            j.fail_work[2] = 13;
            j.fail_fill = 14;
            expect_failure(&j, "work 10", 10);
            j = new_job(50, shapes[a].n_slots, shapes[a].n_threads);
            j.slow_first = true;
            j.fail_drain = 8;
            j.fail_work[0] = 9;
            expect_failure(&j, "drain 8", 8);
        }
}

static void test_threads_available(void)
{
    int all;

    unsetenv("OMP_NUM_THREADS");
    unsetenv("SLURM_CPUS_PER_TASK");
    all = dnas_threads_available();
    CHECK(all >= 1);
    setenv("OMP_NUM_THREADS", "1", 1);
    CHECK_INT(dnas_threads_available(), 1);
    setenv("OMP_NUM_THREADS", "1000000", 1);
    CHECK_INT(dnas_threads_available(), all);
    setenv("OMP_NUM_THREADS", "nonsense", 1);
    CHECK_INT(dnas_threads_available(), all);
    setenv("OMP_NUM_THREADS", "0", 1);
    CHECK_INT(dnas_threads_available(), all);
    unsetenv("OMP_NUM_THREADS");
    setenv("SLURM_CPUS_PER_TASK", "1", 1);
    CHECK_INT(dnas_threads_available(), 1);
    unsetenv("SLURM_CPUS_PER_TASK");
}

int main(void)
{
    RUN(test_parallel_for_runs_each_task_once);
    RUN(test_worker_numbers_are_exclusive);
    RUN(test_pipeline_keeps_the_order);
    RUN(test_pipeline_errors);
    RUN(test_pipeline_tells_the_first_error);
    RUN(test_threads_available);
    return check_done();
}
