/* SPDX-License-Identifier: MIT
 *
 * comm_launch.c - what launchers say in the environment.  Contract: comm_impl.h.
 */
#include <errno.h>
#include <stdlib.h>

#include "common/comm_impl.h"
#include "common/xmem.h"

#define MAX_RANKS 4096

static const struct source {
    const char *rank, *n_ranks, *local_rank, *names;
} sources[] = {
    {"RANK", "WORLD_SIZE", "LOCAL_RANK", "RANK and WORLD_SIZE"}, /* torchrun and alike */
    {"SLURM_PROCID", "SLURM_NTASKS", "SLURM_LOCALID", "SLURM_PROCID and SLURM_NTASKS"},
    {"OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_RANK",
     "OMPI_COMM_WORLD_RANK and OMPI_COMM_WORLD_SIZE"},
    {"PMI_RANK", "PMI_SIZE", "MPI_LOCALRANKID", "PMI_RANK and PMI_SIZE"},
};
#define N_SOURCES (sizeof(sources) / sizeof(*sources))

/* The number from 0 to max of a variable, or -1. */
static int number_of(const char *name, int max)
{
    const char *text = getenv(name);
    char *end;
    long x;

    if (!text || *text < '0' || *text > '9')
        return -1;
    errno = 0;
    x = strtol(text, &end, 10);
    return *end || errno || x > max ? -1 : (int)x;
}

int comm_launch_read(struct comm_launch *l, bool any, struct dnas_err *err)
{
    for (size_t i = 0; i < (any ? N_SOURCES : 1); i++) {
        const struct source *s = &sources[i];
        int n = number_of(s->n_ranks, MAX_RANKS), rank = number_of(s->rank, n - 1);

        if (!getenv(s->rank) || !getenv(s->n_ranks))
            continue;
        if (n >= 1 && rank >= 0) {
            *l = (struct comm_launch){rank, n, number_of(s->local_rank, MAX_RANKS), s->names};
            return 1;
        }
        if (any)
            return dnas_err_set(err, "%s is '%s' and %s is '%s': there is no such rank", s->rank,
                                getenv(s->rank), s->n_ranks, getenv(s->n_ranks));
    }
    return 0;
}

/* The values of variables with points between, those that are not set left out; NULL without the
 * first. */
static char *joined(const char *first, const char *second, const char *third)
{
    const char *const rest[] = {getenv(second), getenv(third)};
    char *text;

    if (!getenv(first) || !*getenv(first))
        return NULL;
    text = dnas_xstrdup(getenv(first));
    for (int i = 0; i < 2; i++)
        if (rest[i] && *rest[i]) {
            char *longer = dnas_xasprintf("%s.%s", text, rest[i]);

            free(text);
            text = longer;
        }
    return text;
}

char *comm_launch_job(const char *job)
{
    char *text = NULL;

    if (job)
        return dnas_xstrdup(job);
    /* A job that starts again, and another attempt of torchrun, have a number for that. */
    text = joined("TORCHELASTIC_RUN_ID", "TORCHELASTIC_RESTART_COUNT", "MASTER_PORT");
    if (!text)
        text = joined("SLURM_JOB_ID", "SLURM_STEP_ID", "SLURM_RESTART_COUNT");
    return text ? text : dnas_xstrdup("run");
}
