/* SPDX-License-Identifier: MIT
 *
 * test_comm.c - one rank, and several under mpirun.
 *
 * With a word on its command line the program is a rank that mpirun started,
 * and its exit status tells; without, it is the test that starts them.
 */
#include "tests/unit/check.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/comm.h"
#include "common/msg.h"
#include "tests/unit/comm_ranks.h"
#include "tests/unit/files.h"

/* ---- what a rank does ---- */

/* The last rank goes one way or another, the others wait for it. */
static int one_goes_wrong(struct dnas_comm *c, const char *how)
{
    struct dnas_err err = {""};

    if (dnas_comm_barrier(c, &err) != 0)
        return 1;
    if (dnas_comm_rank(c) == dnas_comm_n_ranks(c) - 1) {
        if (strcmp(how, "killed") == 0)
            raise(SIGKILL);
        if (strcmp(how, "exits") == 0)
            _exit(0);
        if (strcmp(how, "fails") == 0) {
            dnas_msg_error("pairs.dnas: is damaged");
            return 1;
        }
        for (;;)
            pause();
    }
    if (strcmp(how, "late") == 0)
        return 0; /* closes, and waits there */
    if (dnas_comm_barrier(c, &err) == 0)
        return 1;
    dnas_msg_error("%s", err.msg);
    return 1;
}

static struct dnas_comm *open_comm(double deadline_s, struct dnas_err *err)
{
    const struct dnas_comm_options o = {.deadline_s = deadline_s};

    return dnas_comm_open(&o, err);
}

static int be_a_rank(const char *what)
{
    bool hangs = strcmp(what, "hangs") == 0 || strcmp(what, "late") == 0;
    struct dnas_err err = {""};
    struct dnas_comm *c;
    int status;

    alarm(100);
    c = open_comm(hangs ? 1 : 60, &err);
    if (!c) {
        fprintf(stderr, "%s\n", err.msg);
        return 1;
    }
    if (strcmp(what, "well") == 0)
        status = all_is_well(c);
    else
        status = one_goes_wrong(c, what);
    dnas_comm_close(c, status != 0);
    return status;
}

/* ---- what the test does ---- */

static char self[4096];

/* Runs ranks that do `what`: the exit status, with what they said in *said. */
static int run(int n_ranks, const char *what, char **said)
{
    char command[8192];
    int status;

    /* Leaks and the order of locks in MPI are not ours; the others end after 120 s at most. */
    snprintf(command, sizeof(command),
             "ASAN_OPTIONS=detect_leaks=0 TSAN_OPTIONS=detect_deadlocks=0 timeout 120 mpirun -n %d "
             "--oversubscribe --bind-to none "
             "--allow-run-as-root '%s' %s >'%s' 2>&1 </dev/null",
             n_ranks, self, what, file_path("said"));
    status = system(command);
    *said = file_read("said", NULL);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static bool can_run(void)
{
    return dnas_comm_has_mpi() && system("command -v mpirun >/dev/null 2>&1") == 0;
}

#define NEEDS_MPI                                                                                  \
    do {                                                                                           \
        if (!can_run())                                                                            \
            SKIP("no MPI, or no mpirun");                                                          \
    } while (0)

static void show(const char *said)
{
    printf("# the ranks said:\n");
    for (const char *p = said; p && *p;) {
        size_t n = strcspn(p, "\n");

        printf("#   %.*s\n", (int)n, p);
        p += n + (p[n] == '\n');
    }
}

static void expect_well(int n_ranks)
{
    char *said;
    int status = run(n_ranks, "well", &said);

    CHECK_INT(status, 0);
    if (status != 0)
        show(said);
    free(said);
}

static void expect_ended(const char *what, const char *sentence, double within_s)
{
    double start = dnas_clock_s(), took;
    char *said;
    int status = run(3, what, &said);

    took = dnas_clock_s() - start;
    CHECK(status != 0 && status != 124);
    if (!(took <= within_s))
        CHECK_FAIL("'%s' ended after %g s, not within %g", what, took, within_s);
    if (!said || !strstr(said, sentence)) {
        CHECK_FAIL("nobody said '%s'", sentence);
        show(said);
    }
    free(said);
}

static void test_one_rank(void)
{
    struct dnas_err err = {""};
    struct dnas_comm *c = open_comm(5, &err);

    CHECK(c != NULL);
    if (!c)
        return;
    CHECK_INT(dnas_comm_rank(c), 0);
    CHECK_INT(dnas_comm_n_ranks(c), 1);
    all_is_well(c);
    dnas_comm_close(c, false);
    dnas_comm_close(NULL, true);
    c = open_comm(5, &err);
    dnas_comm_close(c, true); /* leaves the process alone */
}

static void test_without_mpi(void)
{
    struct dnas_err err = {""};

    if (dnas_comm_has_mpi())
        SKIP("built with MPI");
    setenv("OMPI_COMM_WORLD_SIZE", "4", 1);
    CHECK(open_comm(5, &err) == NULL);
    CHECK_STR(err.msg, "was started as one of 4 ranks but built without MPI: install "
                       "libopenmpi-dev and build with MPI=yes, or give --rendezvous a folder that "
                       "all ranks see");
    setenv("OMPI_COMM_WORLD_SIZE", "1", 1);
    dnas_comm_close(open_comm(5, &err), false);
    unsetenv("OMPI_COMM_WORLD_SIZE");
    setenv("PMIX_RANK", "0", 1);
    CHECK(open_comm(5, &err) == NULL);
    CHECK(strstr(err.msg, "one of several ranks but built without MPI"));
    unsetenv("PMIX_RANK");
}

static void test_two_ranks(void)
{
    NEEDS_MPI;
    expect_well(2);
}

static void test_four_ranks(void)
{
    NEEDS_MPI;
    expect_well(4);
}

static void test_one_under_mpirun(void)
{
    NEEDS_MPI;
    expect_well(1);
}

/* mpirun itself ends the others; under other launchers the deadline does. */
static void test_killed_rank(void)
{
    NEEDS_MPI;
    expect_ended("killed", "signal 9", 60);
}

static void test_rank_that_exits(void)
{
    NEEDS_MPI;
    expect_ended("exits", "", 60);
}

static void test_rank_that_fails(void)
{
    NEEDS_MPI;
    expect_ended("fails", "pairs.dnas: is damaged", 60);
}

static void test_rank_that_hangs(void)
{
    NEEDS_MPI;
    expect_ended("hangs", "of 3 has waited 1 s for the others: one of them has ended or hangs", 60);
}

static void test_rank_that_never_closes(void)
{
    NEEDS_MPI;
    expect_ended("late", "of 3 has waited 1 s for the others: one of them has ended or hangs", 60);
}

int main(int argc, char **argv)
{
    ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);

    dnas_msg_program(argv[0]);
    if (argc > 1)
        return be_a_rank(argv[1]);
    if (n < 0)
        return 99;
    RUN(test_one_rank);
    RUN(test_without_mpi);
    RUN(test_one_under_mpirun);
    RUN(test_two_ranks);
    RUN(test_four_ranks);
    RUN(test_killed_rank);
    RUN(test_rank_that_exits);
    RUN(test_rank_that_fails);
    RUN(test_rank_that_hangs);
    RUN(test_rank_that_never_closes);
    return check_done();
}
