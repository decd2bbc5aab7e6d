/* SPDX-License-Identifier: MIT
 *
 * comm_mpi.c - bytes between ranks by MPI.  Contract: comm_impl.h.
 *
 * Calls do not block but are asked again and again, so that a rank that never
 * comes is noticed; after a short while the asking makes pauses, since ranks may
 * share their processors with threads that work.
 */
#include "common/comm_impl.h"

#ifdef DNAS_MPI

#include <mpi.h>
#include <time.h>

#include "common/msg.h"

#define EAGER 2000     /* questions without a pause: some 100 us */
#define PAUSE_NS 50000 /* against steps of many milliseconds */

static int mpi_error(int code, const char *doing, struct dnas_err *err)
{
    char text[MPI_MAX_ERROR_STRING + 1] = "";
    int n = 0;

    MPI_Error_string(code, text, &n);
    text[n < 0 ? 0 : n] = '\0';
    return dnas_err_set(err, "MPI failed to %s: %s", doing, text);
}

static int wait_for(struct dnas_comm *c, MPI_Request *request, struct dnas_err *err)
{
    const struct timespec pause = {0, PAUSE_NS};
    double start = dnas_clock_s();

    for (long asked = 0;; asked++) {
        int done = 0, code = MPI_Test(request, &done, MPI_STATUS_IGNORE);

        if (code != MPI_SUCCESS)
            return mpi_error(code, "exchange data with the other ranks", err);
        if (done)
            return 0;
        if (asked < EAGER)
            continue;
        if (dnas_clock_s() - start > c->deadline_s)
            return dnas_err_set(err,
                                "rank %d of %d has waited %g s for the others: one of them has "
                                "ended or hangs",
                                c->rank, c->n_ranks, c->deadline_s);
        nanosleep(&pause, NULL);
    }
}

static int mpi_all_gather(struct dnas_comm *c, void *out, const void *in, size_t n_bytes,
                          struct dnas_err *err)
{
    MPI_Request request;
    int n = (int)n_bytes;
    int code = MPI_Iallgather(in, n, MPI_BYTE, out, n, MPI_BYTE, MPI_COMM_WORLD, &request);

    return code == MPI_SUCCESS ? wait_for(c, &request, err)
                               : mpi_error(code, "gather from all ranks", err);
}

static int mpi_all_to_all(struct dnas_comm *c, void *out, const void *in, size_t n_bytes,
                          struct dnas_err *err)
{
    MPI_Request request;
    int n = (int)n_bytes;
    int code = MPI_Ialltoall(in, n, MPI_BYTE, out, n, MPI_BYTE, MPI_COMM_WORLD, &request);

    return code == MPI_SUCCESS ? wait_for(c, &request, err)
                               : mpi_error(code, "send to all ranks", err);
}

/* MPI_Finalize waits for all ranks, for good; after a failure they are ended. */
static void mpi_close(struct dnas_comm *c, bool failed)
{
    struct dnas_err err = {""};

    if (!failed && dnas_comm_barrier(c, &err) != 0) {
        dnas_msg_error("%s", err.msg);
        failed = true;
    }
    if (failed)
        MPI_Abort(MPI_COMM_WORLD, 1);
    else
        MPI_Finalize();
}

static const struct comm_carrier mpi = {mpi_all_gather, mpi_all_to_all, NULL, mpi_close};

int comm_mpi_begin(struct dnas_comm *c, struct dnas_err *err)
{
    int has = 0, code = MPI_Init_thread(NULL, NULL, MPI_THREAD_FUNNELED, &has);
    MPI_Comm here;

    if (code != MPI_SUCCESS)
        return mpi_error(code, "begin", err);
    if (has < MPI_THREAD_FUNNELED)
        return dnas_err_set(err, "this MPI cannot be used by a program with threads");
    MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);
    MPI_Comm_rank(MPI_COMM_WORLD, &c->rank);
    MPI_Comm_size(MPI_COMM_WORLD, &c->n_ranks);
    code = MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, c->rank, MPI_INFO_NULL, &here);
    if (code != MPI_SUCCESS)
        return mpi_error(code, "find the ranks of a machine", err);
    MPI_Comm_rank(here, &c->local_rank);
    MPI_Comm_free(&here);
    c->carrier = &mpi;
    return 0;
}

#else

typedef int comm_mpi_is_not_built; /* a file must hold something */

#endif
