/* SPDX-License-Identifier: MIT
 *
 * comm_mesh.h - a socket between each two ranks.
 *
 * Rank 0 listens and tells where in a file (comm_place.h).  The others come to it with
 * the file's secret and with where they listen themselves; when all are there it tells
 * everybody about everybody, and each goes to those of a lower number.  A file that an
 * earlier run has left is read again until the deadline: nobody listens there, or it is
 * somebody without the secret.
 */
#ifndef DNAS_COMM_MESH_H
#define DNAS_COMM_MESH_H

#include "common/err.h"

#ifdef __cplusplus
extern "C" {
#endif

struct comm_mesh {
    int rank, n_ranks;
    int local_rank; /* among those of this machine, in their order */
    int *fd;        /* [n_ranks] that do not block; -1: this rank */
};

/* Waits for all; -1 with a sentence after deadline_s seconds, or once a rank has ended.
 *   folder  all ranks see it      job  not empty; runs that share a folder have others */
int comm_mesh_open(struct comm_mesh *m, int rank, int n_ranks, const char *folder, const char *job,
                   double deadline_s, struct dnas_err *err);
void comm_mesh_close(struct comm_mesh *m);

/* The sentence for a rank whose socket has closed; returns -1. */
int comm_mesh_ended(int rank, int n_ranks, struct dnas_err *err);

#ifdef __cplusplus
}
#endif
#endif
