/* SPDX-License-Identifier: MIT
 *
 * comm_impl.h - what comm.c asks of that which carries bytes between ranks.
 */
#ifndef DNAS_COMM_IMPL_H
#define DNAS_COMM_IMPL_H

#include "common/comm.h"

struct comm_carrier {
    /* Both wait for all ranks, deadline_s at most. */
    int (*all_gather)(struct dnas_comm *c, void *out, const void *in, size_t n_bytes,
                      struct dnas_err *err);
    /* Part r of in [n_ranks n_bytes] goes to rank r; out has this rank's part of each. */
    int (*all_to_all)(struct dnas_comm *c, void *out, const void *in, size_t n_bytes,
                      struct dnas_err *err);
    /* NULL: the launcher ends all when one does. */
    int (*look)(struct dnas_comm *c, struct dnas_err *err);
    void (*close)(struct dnas_comm *c, bool failed);
};

struct dnas_comm {
    const struct comm_carrier *carrier; /* NULL: one process */
    int rank, n_ranks, local_rank;
    double deadline_s;
    float *sent, *got; /* [n_ranks part] */
    size_t part;       /* elements of a piece that are one rank's to sum */
    void *gathered;    /* room for a number of each rank */
    void *state;       /* the carrier's */
};

/* What a launcher other than MPI's says of this process. */
struct comm_launch {
    int rank, n_ranks, local_rank; /* local_rank -1: it does not say */
    const char *names;             /* "RANK and WORLD_SIZE" */
};

/* 1; 0 where none says anything; -1 with a sentence where it is none of a rank.  any: not RANK and
 * WORLD_SIZE alone, but those of Slurm, Open MPI and PMI, too, and nonsense is an error. */
int comm_launch_read(struct comm_launch *l, bool any, struct dnas_err *err);
/* The name of the job: `job` where it is not NULL, else as the launcher has it, else "run".  To be
 * freed. */
char *comm_launch_job(const char *job);

/* Finds the other ranks by a file in folder; sets carrier, the ranks and state. */
int comm_tcp_begin(struct dnas_comm *c, const struct comm_launch *l, const char *folder,
                   const char *job, struct dnas_err *err);
#ifdef DNAS_MPI
/* Begins MPI; sets carrier, the ranks and state. */
int comm_mpi_begin(struct dnas_comm *c, struct dnas_err *err);
#endif

#endif
