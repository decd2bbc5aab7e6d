/* SPDX-License-Identifier: MIT
 *
 * threads.h - work shared among threads so that results do not depend on how many.
 *
 * Tasks are numbered, and which thread runs which task is left to chance: a
 * task may only write what its number names.  Sums over tasks are made by the
 * caller, in the order of the numbers.
 */
#ifndef DNAS_THREADS_H
#define DNAS_THREADS_H

#include <stddef.h>

#include "common/err.h"

#ifdef __cplusplus
extern "C" {
#endif

/* How many threads the machine grants us: the affinity mask, the cgroup's
 * quota, OMP_NUM_THREADS and SLURM_CPUS_PER_TASK, whichever is least. */
int dnas_threads_available(void);

/* Runs task(ctx, i, worker) for each i of 0..n_tasks-1 on n_threads threads,
 * the caller's included; worker is 0..n_threads-1, for scratch memory.
 * Returns when all are done.  n_threads < 1 is a bug. */
void dnas_parallel_for(size_t n_tasks, int n_threads, void (*task)(void *ctx, size_t i, int worker),
                       void *ctx);

/* Lets numbered tasks add to shared sums in the order of their numbers, so that
 * the bits of the sums do not depend on which thread is faster: a task waits
 * for its turn at a slot (one for each sum), adds, and passes the turn on.
 * Every task must pass every slot, and tasks must be started in the order of
 * their numbers, as dnas_parallel_for does. */
struct dnas_turns;
struct dnas_turns *dnas_turns_new(size_t n_slots);
/* NULL is fine. */
void dnas_turns_free(struct dnas_turns *t);
/* Task 0 is next at every slot; no task may be waiting. */
void dnas_turns_restart(struct dnas_turns *t);
void dnas_turns_wait(struct dnas_turns *t, size_t slot, size_t task);
void dnas_turns_pass(struct dnas_turns *t, size_t slot);

/* Three steps over numbered batches: fill (one at a time, in order), work (in
 * parallel), drain (one at a time, in order).  Each of the n_slots slots is
 * the caller's memory for one batch in flight; at most n_slots are.
 *   fill   returns 1 for a batch, 0 at the end, -1 on an error
 *   work   returns 0, or -1 on an error
 *   drain  returns 0, or -1 on an error
 * Returns 0, or -1 with the first error in the order of batches; the batches
 * before it have been drained.  n_slots of 2 n_threads keeps all threads busy;
 * fewer than 1 slot or thread is a bug. */
struct dnas_pipeline {
    int (*fill)(void *ctx, int slot, struct dnas_err *err);
    int (*work)(void *ctx, int slot, int worker, struct dnas_err *err);
    int (*drain)(void *ctx, int slot, struct dnas_err *err);
    void *ctx;
    int n_slots;
    int n_threads;
};

int dnas_pipeline_run(const struct dnas_pipeline *p, struct dnas_err *err);

#ifdef __cplusplus
}
#endif
#endif
