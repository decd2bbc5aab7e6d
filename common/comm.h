/* SPDX-License-Identifier: MIT
 *
 * comm.h - several processes (ranks) that train one model.
 *
 * Every rank makes the same calls in the same order; each call waits for all
 * ranks, and gives all the same bits.  Sums are in the order of the ranks,
 * whatever the library beneath would do: the same number of ranks gives the
 * same bits run after run.  One process is one rank, and needs no library.
 *
 * A rank that does not come within the deadline is an error in the others: a
 * sentence, and dnas_comm_close(c, true) ends the whole run.
 */
#ifndef DNAS_COMM_H
#define DNAS_COMM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/err.h"

#ifdef __cplusplus
extern "C" {
#endif

struct dnas_comm;

/* Whether this program was built with MPI. */
bool dnas_comm_has_mpi(void);

struct dnas_comm_options {
    /* How long a call waits for the slowest rank, above 0: it has to cover a step, a validation,
     * the writing of a checkpoint. */
    double deadline_s;
    /* A folder that all ranks see, by which they find each other without MPI; NULL: there is none.
     * Their sockets go from each to each, and are not encrypted. */
    const char *rendezvous;
    /* What tells runs that share the folder apart; NULL: as the launcher has it. */
    const char *job;
};

/* One rank, or all that a launcher started: by MPI where mpirun or srun offers it and the program
 * has it; else by the folder, where RANK and WORLD_SIZE, or Slurm, say which rank this is.  NULL
 * where the program was started as one of several ranks that cannot come together.  From one
 * thread only, once in a program. */
struct dnas_comm *dnas_comm_open(const struct dnas_comm_options *options, struct dnas_err *err);
/* The end of a rank's part; the last call.  failed: something went wrong here,
 * and the other ranks, who may be waiting for this one, are ended too; this may
 * end the process (status 1), so say first what there is to say.  NULL is fine. */
void dnas_comm_close(struct dnas_comm *c, bool failed);

int dnas_comm_rank(const struct dnas_comm *c); /* 0..n_ranks-1 */
int dnas_comm_n_ranks(const struct dnas_comm *c);
double dnas_comm_deadline_s(const struct dnas_comm *c);
int dnas_comm_local_rank(const struct dnas_comm *c); /* among those of this machine, from 0 */

/* All of these: 0, or -1 with a sentence.  Nothing is allocated. */

/* out = in of rank 0, of rank 1, ...
 *   out  [n_ranks n_bytes]      in  [n_bytes], the same size everywhere; may not overlap
 * n_ranks n_bytes is below 2 GiB. */
int dnas_comm_all_gather(struct dnas_comm *c, void *out, const void *in, size_t n_bytes,
                         struct dnas_err *err);
/* x = the sum of all ranks' x, in double in the order of the ranks, then rounded.
 *   x  f32 [n], the same n everywhere */
int dnas_comm_sum_f32(struct dnas_comm *c, float *x, size_t n, struct dnas_err *err);
/* The same for a number in double. */
int dnas_comm_sum_f64(struct dnas_comm *c, double *x, struct dnas_err *err);
/* flags = every bit that is set in any rank's flags: a signal that one rank got
 * is known to all at the same step. */
int dnas_comm_any(struct dnas_comm *c, uint32_t *flags, struct dnas_err *err);
/* Fails on all ranks, with a sentence that names `what` and a rank, unless all
 * have the same number: a hash of the file, of the options, of the weights. */
int dnas_comm_check_same(struct dnas_comm *c, uint64_t number, const char *what,
                         struct dnas_err *err);
int dnas_comm_barrier(struct dnas_comm *c, struct dnas_err *err);
/* Whether all ranks are still there, as far as is known without waiting: no call of all. */
int dnas_comm_look(struct dnas_comm *c, struct dnas_err *err);

#ifdef __cplusplus
}
#endif
#endif
