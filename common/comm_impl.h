/* SPDX-License-Identifier: MIT
 *
 * comm_impl.h - what comm.c asks of a library that carries bytes between ranks.
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

#ifdef DNAS_MPI
/* Begins MPI; sets carrier, the ranks and state. */
int comm_mpi_begin(struct dnas_comm *c, struct dnas_err *err);
#endif

#endif
