/* SPDX-License-Identifier: MIT
 *
 * comm.c - sums and agreements over ranks.  Contract: comm.h.
 *
 * A sum goes in pieces: of each piece every rank gets its own part from all
 * others, adds these up in the order of the ranks, and the parts are gathered.
 * That moves as many bytes as a ring does, and leaves no order to chance.
 */
#include "common/comm.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/comm_impl.h"
#include "common/xmem.h"

#define PIECE ((size_t)1 << 20) /* elements: 4 MiB sent, 4 MiB got */

bool dnas_comm_has_mpi(void)
{
#ifdef DNAS_MPI
    return true;
#else
    return false;
#endif
}

/* How many ranks a launcher says that there are: 0 for none, -1 where there is
 * one that does not say.  Open MPI; MPICH and Slurm's pmi2; PMIx. */
static long launched_ranks(void)
{
    static const char *const names[] = {"OMPI_COMM_WORLD_SIZE", "PMI_SIZE"};

    for (int i = 0; i < 2; i++) {
        const char *s = getenv(names[i]);
        char *end = NULL;
        long n = s ? strtol(s, &end, 10) : 0;

        if (n > 0 && *end == '\0')
            return n;
    }
    return getenv("PMIX_RANK") ? -1 : 0;
}

/* No MPI, but a launcher of it. */
static int needs_mpi(long n, struct dnas_err *err)
{
    const char *remedy = "install libopenmpi-dev and build with MPI=yes, or give --rendezvous a "
                         "folder that all ranks see";

    if (n < 0)
        return dnas_err_set(err, "was started as one of several ranks but built without MPI: %s",
                            remedy);
    return dnas_err_set(err, "was started as one of %ld ranks but built without MPI: %s", n,
                        remedy);
}

static int begin(struct dnas_comm *c, const struct dnas_comm_options *o, struct dnas_err *err)
{
    long by_mpi = launched_ranks();
    struct comm_launch l;
    int said;

    c->n_ranks = 1;
#ifdef DNAS_MPI
    if (by_mpi < 0 || by_mpi > 1)
        return comm_mpi_begin(c, err);
#endif
    said = comm_launch_read(&l, o->rendezvous != NULL, err);
    if (said < 0 || (said && l.n_ranks == 1))
        return said < 0 ? -1 : 0;
    if (said && o->rendezvous)
        return comm_tcp_begin(c, &l, o->rendezvous, o->job, err);
    if (by_mpi < 0 || by_mpi > 1)
        return needs_mpi(by_mpi, err);
    if (said)
        return dnas_err_set(err,
                            "was started as rank %d of %d (%s), and does not know where the others "
                            "are: give --rendezvous a folder that all of them see",
                            l.rank, l.n_ranks, l.names);
    if (o->rendezvous)
        return dnas_err_set(err, "--rendezvous: nobody says which rank this is: set RANK and "
                                 "WORLD_SIZE, or start it with torchrun, srun or mpirun");
    return 0;
}

struct dnas_comm *dnas_comm_open(const struct dnas_comm_options *o, struct dnas_err *err)
{
    struct dnas_comm *c = dnas_xzalloc(1, sizeof(*c));
    size_t n;

    if (!(o->deadline_s > 0))
        DNAS_BUG("a deadline of %g s", o->deadline_s);
    c->deadline_s = o->deadline_s;
    if (begin(c, o, err) != 0) {
        free(c);
        return NULL;
    }
    n = (size_t)c->n_ranks;
    c->part = (PIECE + n - 1) / n;
    c->gathered = dnas_xalloc(n, sizeof(uint64_t));
    if (c->carrier) {
        c->sent = dnas_xalloc64(n * c->part, sizeof(float));
        c->got = dnas_xalloc64(n * c->part, sizeof(float));
    }
    return c;
}

void dnas_comm_close(struct dnas_comm *c, bool failed)
{
    if (!c)
        return;
    if (c->carrier)
        c->carrier->close(c, failed);
    free(c->sent);
    free(c->got);
    free(c->gathered);
    free(c);
}

int dnas_comm_rank(const struct dnas_comm *c)
{
    return c->rank;
}

int dnas_comm_local_rank(const struct dnas_comm *c)
{
    return c->local_rank;
}

double dnas_comm_deadline_s(const struct dnas_comm *c)
{
    return c->deadline_s;
}

int dnas_comm_n_ranks(const struct dnas_comm *c)
{
    return c->n_ranks;
}

int dnas_comm_all_gather(struct dnas_comm *c, void *out, const void *in, size_t n_bytes,
                         struct dnas_err *err)
{
    if (n_bytes > INT32_MAX / (size_t)c->n_ranks)
        DNAS_BUG("%zu bytes of each of %d ranks", n_bytes, c->n_ranks);
    if (c->carrier)
        return c->carrier->all_gather(c, out, in, n_bytes, err);
    memcpy(out, in, n_bytes);
    return 0;
}

/* The part of this rank in the order of the ranks, into the first part of sent. */
static void sum_part(struct dnas_comm *c, size_t part)
{
    for (size_t i = 0; i < part; i++) {
        double sum = 0;

        for (size_t rank = 0; rank < (size_t)c->n_ranks; rank++)
            sum += (double)c->got[rank * part + i];
        c->sent[i] = (float)sum;
    }
}

static int sum_piece(struct dnas_comm *c, float *x, size_t n, struct dnas_err *err)
{
    size_t ranks = (size_t)c->n_ranks, part = (n + ranks - 1) / ranks;

    memcpy(c->sent, x, n * sizeof(*x));
    memset(c->sent + n, 0, (ranks * part - n) * sizeof(*x));
    if (c->carrier->all_to_all(c, c->got, c->sent, part * sizeof(*x), err) != 0)
        return -1;
    sum_part(c, part);
    if (c->carrier->all_gather(c, c->got, c->sent, part * sizeof(*x), err) != 0)
        return -1;
    memcpy(x, c->got, n * sizeof(*x));
    return 0;
}

int dnas_comm_sum_f32(struct dnas_comm *c, float *x, size_t n, struct dnas_err *err)
{
    for (size_t at = 0; c->carrier && at < n; at += PIECE)
        if (sum_piece(c, x + at, n - at < PIECE ? n - at : PIECE, err) != 0)
            return -1;
    return 0;
}

int dnas_comm_sum_f64(struct dnas_comm *c, double *x, struct dnas_err *err)
{
    double *all = c->gathered, sum = 0;

    if (dnas_comm_all_gather(c, all, x, sizeof(*x), err) != 0)
        return -1;
    for (int rank = 0; rank < c->n_ranks; rank++)
        sum += all[rank];
    *x = sum;
    return 0;
}

int dnas_comm_any(struct dnas_comm *c, uint32_t *flags, struct dnas_err *err)
{
    uint32_t *all = c->gathered;

    if (dnas_comm_all_gather(c, all, flags, sizeof(*flags), err) != 0)
        return -1;
    for (int rank = 0; rank < c->n_ranks; rank++)
        *flags |= all[rank];
    return 0;
}

int dnas_comm_check_same(struct dnas_comm *c, uint64_t number, const char *what,
                         struct dnas_err *err)
{
    uint64_t *all = c->gathered;

    if (dnas_comm_all_gather(c, all, &number, sizeof(number), err) != 0)
        return -1;
    for (int rank = 1; rank < c->n_ranks; rank++)
        if (all[rank] != all[0])
            return dnas_err_set(err,
                                "rank %d has another %s than rank 0 (%016" PRIx64
                                ", not %016" PRIx64 "): all ranks must be given the same",
                                rank, what, all[rank], all[0]);
    return 0;
}

int dnas_comm_barrier(struct dnas_comm *c, struct dnas_err *err)
{
    uint32_t none = 0;

    return dnas_comm_any(c, &none, err);
}

int dnas_comm_look(struct dnas_comm *c, struct dnas_err *err)
{
    return c->carrier && c->carrier->look ? c->carrier->look(c, err) : 0;
}
