/* SPDX-License-Identifier: MIT
 *
 * test_comm_launch.c - what launchers say of a process, and the file by which rank 0 tells
 * where it is.
 */
#include "tests/unit/check.h"

#include <sys/stat.h>
#include <unistd.h>

#include "common/comm_impl.h"
#include "common/comm_place.h"
#include "common/msg.h"
#include "tests/unit/files.h"

/* ---- the file ---- */

static struct comm_notice some_notice(void)
{
    struct comm_notice n = {.n_ranks = 2};

    CHECK(comm_place_here(&n.place, NULL) == 0);
    CHECK(comm_notice_secret(&n, NULL) == 0);
    n.place.port = 7;
    return n;
}

static void test_file_of_another_user(void)
{
    struct comm_notice n = some_notice(), got;
    const char *path = file_path("other.rendezvous");
    struct dnas_err err = {""};

    if (geteuid() != 0)
        SKIP("not root");
    CHECK(comm_notice_write(path, &n, NULL) == 0);
    CHECK(chown(path, 12345, 12345) == 0);
    CHECK_INT(comm_notice_read(&got, path, &err), -1);
    CHECK(strstr(err.msg, "is no file of this user: give --rendezvous a folder of yours"));
    unlink(path);
}

static void test_damaged_file(void)
{
    struct comm_notice n = some_notice(), got;
    const char *path = file_path("damaged.rendezvous");
    struct dnas_err err = {""};
    size_t size = 0;
    char *text;

    CHECK(comm_notice_write(path, &n, NULL) == 0);
    CHECK_INT(comm_notice_read(&got, path, NULL), 1);
    CHECK(memcmp(got.secret, n.secret, sizeof(n.secret)) == 0 && got.place.port == 7);
    CHECK_STR(got.place.machine, n.place.machine);
    text = file_read("damaged.rendezvous", &size);
    for (size_t k = 0; k < size; k++) {
        file_write("damaged.rendezvous", text, k);
        CHECK_INT(comm_notice_read(&got, path, &err), 0);
    }
    file_text("damaged.rendezvous", "{\"dnas-rendezvous\":1}");
    CHECK_INT(comm_notice_read(&got, path, &err), 0);
    CHECK(strstr(err.msg, "is not whole"));
    free(text);
}

static void test_names_of_files(void)
{
    struct dnas_err err = {""};
    char *path = comm_notice_path("/a b", "12.0", &err), longer[300];

    CHECK_STR(path, "/a b/dnas-12.0.rendezvous");
    free(path);
    path = comm_notice_path("x", "../my job%", &err);
    CHECK_STR(path, "x/dnas-..%2Fmy%20job%25.rendezvous");
    free(path);
    memset(longer, 'a', sizeof(longer));
    longer[299] = '\0';
    CHECK(comm_notice_path("x", longer, &err) == NULL);
    CHECK_STR(err.msg, "the job's name has too many letters: give --job a shorter one");
    CHECK(comm_notice_path("x", "", &err) == NULL);
}

/* ---- the environment ---- */

static const char *const launched_by[] = {"RANK",
                                          "WORLD_SIZE",
                                          "LOCAL_RANK",
                                          "SLURM_PROCID",
                                          "SLURM_NTASKS",
                                          "SLURM_LOCALID",
                                          "SLURM_JOB_ID",
                                          "SLURM_STEP_ID",
                                          "SLURM_RESTART_COUNT",
                                          "TORCHELASTIC_RUN_ID",
                                          "TORCHELASTIC_RESTART_COUNT",
                                          "MASTER_PORT",
                                          "OMPI_COMM_WORLD_RANK",
                                          "OMPI_COMM_WORLD_SIZE",
                                          "PMI_RANK",
                                          "PMI_SIZE",
                                          "PMIX_RANK"};

static void forget_launchers(void)
{
    for (size_t i = 0; i < sizeof(launched_by) / sizeof(*launched_by); i++)
        unsetenv(launched_by[i]);
}

static void expect_job(const char *job, const char *want)
{
    char *name = comm_launch_job(job);

    CHECK_STR(name, want);
    free(name);
}

static void test_launchers(void)
{
    struct dnas_comm_options o = {.deadline_s = 1};
    struct dnas_err err = {""};
    struct comm_launch l;

    setenv("SLURM_PROCID", "1", 1);
    setenv("SLURM_NTASKS", "2", 1);
    setenv("SLURM_LOCALID", "0", 1);
    CHECK_INT(comm_launch_read(&l, false, &err), 0);
    dnas_comm_close(dnas_comm_open(&o, &err), false); /* a step of a job, but of its own */
    CHECK_INT(comm_launch_read(&l, true, &err), 1);
    CHECK(l.rank == 1 && l.n_ranks == 2 && l.local_rank == 0);
    setenv("RANK", "3", 1);
    setenv("WORLD_SIZE", "4", 1);
    CHECK_INT(comm_launch_read(&l, true, &err), 1);
    CHECK(l.rank == 3 && l.n_ranks == 4 && l.local_rank == -1);
    CHECK(dnas_comm_open(&o, &err) == NULL);
    CHECK_STR(err.msg, "was started as rank 3 of 4 (RANK and WORLD_SIZE), and does not know where "
                       "the others are: give --rendezvous a folder that all of them see");
    setenv("RANK", "4", 1);
    CHECK_INT(comm_launch_read(&l, false, &err), 0);
    o.rendezvous = "/nowhere";
    CHECK(dnas_comm_open(&o, &err) == NULL);
    CHECK_STR(err.msg, "RANK is '4' and WORLD_SIZE is '4': there is no such rank");
    setenv("RANK", "0", 1);
    CHECK(dnas_comm_open(&o, &err) == NULL);
    CHECK(strstr(err.msg, "/nowhere/dnas-run.rendezvous: cannot be written: No such file"));
    setenv("WORLD_SIZE", "1", 1);
    dnas_comm_close(dnas_comm_open(&o, &err), false);
    forget_launchers();
    CHECK(dnas_comm_open(&o, &err) == NULL);
    CHECK_STR(err.msg, "--rendezvous: nobody says which rank this is: set RANK and WORLD_SIZE, or "
                       "start it with torchrun, srun or mpirun");
}

static void test_names_of_jobs(void)
{
    expect_job(NULL, "run");
    expect_job("mine", "mine");
    setenv("SLURM_JOB_ID", "77", 1);
    expect_job(NULL, "77");
    setenv("SLURM_STEP_ID", "3", 1);
    expect_job(NULL, "77.3");
    setenv("SLURM_RESTART_COUNT", "1", 1);
    expect_job(NULL, "77.3.1");
    setenv("TORCHELASTIC_RUN_ID", "none", 1);
    setenv("TORCHELASTIC_RESTART_COUNT", "0", 1);
    setenv("MASTER_PORT", "29500", 1);
    expect_job(NULL, "none.0.29500");
    expect_job("mine", "mine");
    forget_launchers();
}

int main(int argc, char **argv)
{
    (void)argc;
    dnas_msg_program(argv[0]);
    forget_launchers();
    RUN(test_names_of_files);
    RUN(test_damaged_file);
    RUN(test_file_of_another_user);
    RUN(test_launchers);
    RUN(test_names_of_jobs);
    return check_done();
}
