/* SPDX-License-Identifier: MIT
 *
 * test_comm_tcp.c - ranks that find each other by a folder, each a child of this
 * process, on 127.0.0.1 alone.
 */
#include "tests/unit/check.h"

#include <dirent.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "common/comm_impl.h"
#include "common/comm_place.h"
#include "common/msg.h"
#include "tests/unit/comm_ranks.h"
#include "tests/unit/files.h"

#define MAX_RANKS 8

/* ---- what a rank does: its exit status ---- */

static int well(struct dnas_comm *c)
{
    return all_is_well(c);
}

static int fails_together(struct dnas_comm *c, struct dnas_err *err)
{
    dnas_msg_error("%s", err->msg);
    dnas_comm_close(c, true);
    return 99; /* it ends the process */
}

/* The last rank is killed while the others wait for it. */
static int last_is_killed(struct dnas_comm *c)
{
    struct dnas_err err = {""};

    if (dnas_comm_barrier(c, &err) != 0)
        return fails_together(c, &err); /* noticed already */
    if (dnas_comm_rank(c) == dnas_comm_n_ranks(c) - 1)
        raise(SIGKILL);
    return dnas_comm_barrier(c, &err) == 0 ? 97 : fails_together(c, &err);
}

/* The last rank is killed when it has done its part, and rank 1 never does: rank 0 is not kept
 * waiting. */
static int last_is_killed_after_its_part(struct dnas_comm *c)
{
    struct dnas_err err = {""};
    int rank = dnas_comm_rank(c);
    char all[MAX_RANKS], mine = 0;

    if (dnas_comm_barrier(c, &err) != 0)
        return fails_together(c, &err); /* noticed already */
    if (rank == 1) {                    /* at work on something long */
        nanosleep(&(struct timespec){4, 0}, NULL);
        return dnas_comm_look(c, &err) == 0 ? 96 : fails_together(c, &err);
    }
    if (rank == dnas_comm_n_ranks(c) - 1) {
        alarm(1);
        signal(SIGALRM, SIG_DFL);
    }
    return dnas_comm_all_gather(c, all, &mine, 1, &err) == 0 ? 97 : fails_together(c, &err);
}

/* The last rank is killed while the others send it more than a socket holds. */
static int last_is_killed_in_a_sum(struct dnas_comm *c)
{
    float *x = dnas_xzalloc(MANY, sizeof(*x));
    struct dnas_err err = {""};

    if (dnas_comm_barrier(c, &err) != 0)
        return fails_together(c, &err); /* noticed already */
    if (dnas_comm_rank(c) == dnas_comm_n_ranks(c) - 1) {
        nanosleep(&(struct timespec){0, 200000000}, NULL);
        raise(SIGKILL);
    }
    return dnas_comm_sum_f32(c, x, MANY, &err) == 0 ? 97 : fails_together(c, &err);
}

static int last_hangs(struct dnas_comm *c)
{
    struct dnas_err err = {""};

    if (dnas_comm_rank(c) == dnas_comm_n_ranks(c) - 1)
        for (;;)
            pause();
    return dnas_comm_barrier(c, &err) == 0 ? 97 : fails_together(c, &err);
}

/* Closes at once; rank 0 is late. */
static int closes(struct dnas_comm *c)
{
    if (dnas_comm_rank(c) == 0)
        nanosleep(&(struct timespec){0, 300000000}, NULL);
    return 0;
}

/* The last one asks for something else. */
static int last_differs(struct dnas_comm *c)
{
    struct dnas_err err = {""};
    uint32_t flags = 0;
    double x = 0;
    int status = dnas_comm_rank(c) == dnas_comm_n_ranks(c) - 1 ? dnas_comm_sum_f64(c, &x, &err)
                                                               : dnas_comm_any(c, &flags, &err);

    return status == 0 ? 97 : fails_together(c, &err);
}

/* ---- ranks ---- */

struct ranks {
    const char *folder;
    double deadline_s;
    int n;
    int (*what)(struct dnas_comm *c);
    pid_t pid[MAX_RANKS];
    int status[MAX_RANKS]; /* of the exit; 128 + the number of a signal */
    char *said[MAX_RANKS];
    double took_s;
};

static const char *said_name(int rank)
{
    static char name[MAX_RANKS][24];

    snprintf(name[rank], sizeof(name[rank]), "said.%d", rank);
    return name[rank];
}

static void set_number(const char *name, int x)
{
    char text[16];

    snprintf(text, sizeof(text), "%d", x);
    setenv(name, text, 1);
}

static void start_as(struct ranks *r, int child, int rank, int n)
{
    const char *said = file_path(said_name(child));
    const struct dnas_comm_options o = {
        .deadline_s = r->deadline_s, .rendezvous = r->folder, .job = "run"};
    struct dnas_err err = {""};
    struct dnas_comm *c;
    int status = 1;

    fflush(stdout);
    r->pid[child] = fork();
    if (r->pid[child] != 0)
        return;
    alarm(100);
    if (!freopen(said, "w", stderr) || !freopen("/dev/null", "w", stdout))
        _exit(99);
    set_number("RANK", rank);
    set_number("WORLD_SIZE", n);
    c = dnas_comm_open(&o, &err);
    if (c) {
        status = r->what(c);
        dnas_comm_close(c, status != 0);
    } else {
        dnas_msg_error("%s", err.msg);
    }
    fflush(NULL);
    _exit(status);
}

static struct ranks new_ranks(const char *folder, int n, int (*what)(struct dnas_comm *))
{
    struct ranks r = {.folder = file_path(folder), .n = n, .what = what, .deadline_s = 60};

    mkdir(r.folder, 0700);
    r.folder = dnas_xstrdup(r.folder);
    r.took_s = dnas_clock_s();
    return r;
}

static void start(struct ranks *r, int rank)
{
    start_as(r, rank, rank, r->n);
}

static void end(struct ranks *r)
{
    for (int i = 0; i < r->n; i++) {
        int status = 0;

        waitpid(r->pid[i], &status, 0);
        r->status[i] = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
        r->said[i] = file_read(said_name(i), NULL);
    }
    r->took_s = dnas_clock_s() - r->took_s;
}

static void run(struct ranks *r)
{
    for (int i = 0; i < r->n; i++)
        start(r, i);
    end(r);
}

static void release(struct ranks *r)
{
    for (int i = 0; i < r->n; i++)
        free(r->said[i]);
    free((void *)(uintptr_t)r->folder);
}

static void expect(const struct ranks *r, int rank, int status, const char *said)
{
    const char *heard = r->said[rank] ? r->said[rank] : "nothing";

    if (r->status[rank] != status)
        CHECK_FAIL("rank %d ended with %d, not %d, and said %s", rank, r->status[rank], status,
                   heard);
    if (said && !strstr(heard, said))
        CHECK_FAIL("rank %d said '%s', not '%s'", rank, heard, said);
}

static bool is_empty(const char *folder)
{
    DIR *d = opendir(folder);
    int n = 0;

    while (d && readdir(d))
        n++;
    if (d)
        closedir(d);
    return n == 2;
}

static char *notice_path(const struct ranks *r)
{
    return comm_notice_path(r->folder, "run", NULL);
}

/* Waits for rank 0's file. */
static void await_notice(const struct ranks *r, struct comm_notice *n)
{
    char *path = notice_path(r);

    for (int i = 0; i < 3000 && comm_notice_read(n, path, NULL) != 1; i++)
        nanosleep(&(struct timespec){0, 10000000}, NULL);
    free(path);
}

/* The sockets that a process has open. */
static int n_sockets(pid_t pid)
{
    char folder[64], target[64];
    int n = 0;
    DIR *d;

    snprintf(folder, sizeof(folder), "/proc/%d/fd", (int)pid);
    d = opendir(folder);
    for (struct dirent *e; d && (e = readdir(d));) {
        char *path = dnas_xasprintf("%s/%s", folder, e->d_name);
        ssize_t k = readlink(path, target, sizeof(target));

        n += k > 7 && memcmp(target, "socket:", 7) == 0;
        free(path);
    }
    if (d)
        closedir(d);
    return n;
}

/* Waits until a rank that listens has let another one in, and a little for what they say. */
static void await_guest(pid_t pid)
{
    for (int i = 0; i < 3000 && n_sockets(pid) < 2; i++)
        nanosleep(&(struct timespec){0, 10000000}, NULL);
    nanosleep(&(struct timespec){1, 0}, NULL);
}

/* ---- together ---- */

static void expect_well(int n, const char *folder)
{
    struct ranks r = new_ranks(folder, n, well);

    run(&r);
    for (int i = 0; i < n; i++)
        expect(&r, i, 0, NULL);
    CHECK(is_empty(r.folder));
    release(&r);
}

static void test_two_three_and_five(void)
{
    expect_well(2, "two");
    expect_well(3, "three");
    expect_well(5, "five");
}

static void test_closing_waits_for_all(void)
{
    struct ranks r = new_ranks("close", 3, closes);

    run(&r);
    for (int i = 0; i < 3; i++)
        expect(&r, i, 0, NULL);
    release(&r);
}

static void test_others_call(void)
{
    struct ranks r = new_ranks("differs", 2, last_differs);

    run(&r);
    expect(&r, 0, 1, NULL);
    expect(&r, 1, 1, NULL);
    CHECK(strstr(r.said[0], "does something else than rank") ||
          strstr(r.said[1], "does something else than rank"));
    release(&r);
}

/* ---- ranks that end ---- */

static void expect_ended(const char *folder, int (*what)(struct dnas_comm *))
{
    struct ranks r = new_ranks(folder, 3, what);

    run(&r);
    /* Whoever notices first ends, too, and the other may notice that. */
    expect(&r, 0, 1, "of 3 has ended before its time: what it said last tells why");
    expect(&r, 1, 1, "of 3 has ended before its time: what it said last tells why");
    expect(&r, 2, 128 + SIGKILL, NULL);
    CHECK(strstr(r.said[0], "rank 2 of 3") || strstr(r.said[1], "rank 2 of 3"));
    CHECK(r.took_s < 30); /* of a deadline of 60 */
    release(&r);
}

static void test_killed(void)
{
    expect_ended("killed", last_is_killed);
}

static void test_killed_in_a_sum(void)
{
    expect_ended("sum", last_is_killed_in_a_sum);
}

static void test_killed_after_its_part(void)
{
    struct ranks r = new_ranks("part", 3, last_is_killed_after_its_part);

    run(&r);
    expect(&r, 0, 1, "rank 2 of 3 has ended before its time: what it said last tells why");
    expect(&r, 1, 1, "of 3 has ended before its time: what it said last tells why");
    expect(&r, 2, 128 + SIGALRM, NULL);
    release(&r);
}

static void test_killed_before_all_came(void)
{
    struct ranks r = new_ranks("early", 3, well);
    struct comm_notice notice;

    start(&r, 0);
    await_notice(&r, &notice);
    start(&r, 1);
    await_guest(r.pid[0]);
    kill(r.pid[1], SIGKILL);
    r.n = 2;
    end(&r);
    expect(&r, 0, 1, "rank 1 of 3 has ended before its time");
    CHECK(r.took_s < 30);
    CHECK(is_empty(r.folder));
    release(&r);
}

static void test_first_is_killed(void)
{
    struct ranks r = new_ranks("first", 3, well);
    struct comm_notice notice;

    start(&r, 0);
    await_notice(&r, &notice);
    start(&r, 1);
    await_guest(r.pid[0]);
    kill(r.pid[0], SIGKILL);
    r.n = 2;
    end(&r);
    expect(&r, 1, 1, "rank 0 of 3 has ended before its time");
    CHECK(r.took_s < 30);
    release(&r);
}

static void test_hangs(void)
{
    struct ranks r = new_ranks("hangs", 3, last_hangs);

    r.deadline_s = 2;
    for (int i = 0; i < 3; i++)
        start(&r, i);
    waitpid(r.pid[0], &r.status[0], 0);
    waitpid(r.pid[1], &r.status[1], 0);
    kill(r.pid[2], SIGKILL);
    waitpid(r.pid[2], &r.status[2], 0);
    for (int i = 0; i < 2; i++) {
        r.said[i] = file_read(said_name(i), NULL);
        CHECK(WIFEXITED(r.status[i]) && WEXITSTATUS(r.status[i]) == 1);
    }
    /* One is first, and the other may notice that. */
    CHECK(strstr(r.said[0], "of 3 has waited 2 s for the others: one of them has ended or hangs") ||
          strstr(r.said[1], "of 3 has waited 2 s for the others: one of them has ended or hangs"));
    release(&r);
}

static void test_never_comes(void)
{
    struct ranks r = new_ranks("never", 3, well);

    r.deadline_s = 1;
    start(&r, 0);
    r.deadline_s = 60;
    start(&r, 2);
    r.n = 1;
    end(&r);
    waitpid(r.pid[2], &r.status[2], 0);
    expect(&r, 0, 1, "rank 0 of 3 has waited 1 s for rank 1, which has not come");
    CHECK(WIFEXITED(r.status[2]) && WEXITSTATUS(r.status[2]) == 1);
    CHECK(is_empty(r.folder));
    release(&r);
}

static void test_first_never_comes(void)
{
    struct ranks r = new_ranks("nobody", 2, well);

    r.deadline_s = 1;
    start(&r, 1);
    waitpid(r.pid[1], &r.status[1], 0);
    r.said[1] = file_read(said_name(1), NULL);
    CHECK(strstr(r.said[1], "rank 1 of 2 has waited 1 s for rank 0: "));
    CHECK(strstr(r.said[1], "dnas-run.rendezvous: No such file or directory"));
    release(&r);
}

/* ---- the file ---- */

/* A port where nobody listens, or somebody who knows nothing of this: its socket. */
static int make_stranger(uint32_t *port, bool listens)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t n = sizeof(at);
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    if (fd < 0 || bind(fd, (struct sockaddr *)&at, n) != 0 || (listens && listen(fd, 8) != 0) ||
        getsockname(fd, (struct sockaddr *)&at, &n) != 0)
        abort();
    *port = ntohs(at.sin_port);
    return fd;
}

static void plant(const struct ranks *r, const struct comm_notice *n)
{
    char *path = notice_path(r);

    CHECK(comm_notice_write(path, n, NULL) == 0);
    free(path);
}

static struct comm_notice stale_notice(uint32_t port)
{
    struct comm_notice n = {.n_ranks = 2};

    CHECK(comm_place_here(&n.place, NULL) == 0);
    CHECK(comm_notice_secret(&n, NULL) == 0);
    n.place.port = port;
    return n;
}

/* Rank 1 finds the file of an earlier run first. */
static void test_stale_file(void)
{
    for (int listens = 0; listens < 2; listens++) {
        struct ranks r = new_ranks(listens ? "stranger" : "stale", 2, well);
        uint32_t port;
        int fd = make_stranger(&port, listens);
        struct comm_notice n = stale_notice(port);

        plant(&r, &n);
        start(&r, 1);
        nanosleep(&(struct timespec){0, 300000000}, NULL);
        shutdown(fd, SHUT_RDWR); /* else it would be waited for some seconds */
        close(fd);
        start(&r, 0);
        end(&r);
        expect(&r, 0, 0, NULL);
        expect(&r, 1, 0, NULL);
        CHECK(is_empty(r.folder));
        release(&r);
    }
}

static void test_only_a_stale_file(void)
{
    struct ranks r = new_ranks("left", 2, well);
    uint32_t port;
    int fd = make_stranger(&port, false);
    struct comm_notice n = stale_notice(port);

    r.deadline_s = 1;
    plant(&r, &n);
    start(&r, 1);
    waitpid(r.pid[1], &r.status[1], 0);
    r.said[1] = file_read(said_name(1), NULL);
    CHECK(strstr(r.said[1], "rank 1 of 2 has waited 1 s for rank 0: "));
    CHECK(strstr(r.said[1], "Connection refused"));
    close(fd);
    release(&r);
}

/* Rank 1 finds the address of rank 0 with a secret of which one byte is another. */
static struct ranks with_other_secret(int byte, struct comm_notice *right)
{
    struct ranks r = new_ranks("secret", 2, well);
    struct comm_notice wrong;

    start(&r, 0);
    await_notice(&r, right);
    wrong = *right;
    wrong.secret[byte] ^= 1;
    plant(&r, &wrong);
    return r;
}

/* It is not let in, and looks again. */
static void test_wrong_secret(void)
{
    struct comm_notice right;
    struct ranks r = with_other_secret(COMM_SECRET - 1, &right);

    r.deadline_s = 1;
    start(&r, 1);
    waitpid(r.pid[1], &r.status[1], 0);
    r.said[1] = file_read(said_name(1), NULL);
    CHECK(WIFEXITED(r.status[1]) && WEXITSTATUS(r.status[1]) == 1);
    CHECK(strstr(r.said[1], "does not know the secret"));
    free(r.said[1]);
    r.deadline_s = 60;
    start(&r, 1);
    nanosleep(&(struct timespec){0, 300000000}, NULL);
    plant(&r, &right);
    end(&r);
    expect(&r, 0, 0, NULL);
    expect(&r, 1, 0, NULL);
    CHECK(is_empty(r.folder));
    release(&r);
}

/* Rank 0 has to know the other half. */
static void test_wrong_answer(void)
{
    struct comm_notice right;
    struct ranks r = with_other_secret(2 * COMM_SECRET - 1, &right);
    char *path = notice_path(&r);

    r.deadline_s = 1;
    start(&r, 1);
    end(&r);
    expect(&r, 0, 1, "rank 1 of 2 has ended before its time");
    expect(&r, 1, 1, "rank 1 of 2 has waited 1 s for rank 0");
    unlink(path);
    free(path);
    release(&r);
}

static void test_file_is_private(void)
{
    struct ranks r = new_ranks("private", 2, well);
    struct comm_notice n;
    struct stat about;
    char *path = notice_path(&r);

    umask(0);
    start(&r, 0);
    await_notice(&r, &n);
    CHECK(stat(path, &about) == 0 && (about.st_mode & 07777) == 0600);
    CHECK_INT(n.n_ranks, 2);
    CHECK_STR(n.place.address[0], "127.0.0.1");
    start(&r, 1);
    end(&r);
    expect(&r, 0, 0, NULL);
    free(path);
    release(&r);
}

/* ---- numbers ---- */

static void test_same_number_twice(void)
{
    struct ranks r = new_ranks("twice", 3, well);
    struct comm_notice n;

    start(&r, 0);
    await_notice(&r, &n);
    start(&r, 1);
    await_guest(r.pid[0]);
    start_as(&r, 2, 1, 3);
    waitpid(r.pid[2], &r.status[2], 0);
    r.said[2] = file_read(said_name(2), NULL);
    CHECK(strstr(r.said[2], "rank 1 is there already: two processes were given this number"));
    start(&r, 2);
    free(r.said[2]);
    end(&r);
    for (int i = 0; i < 3; i++)
        expect(&r, i, 0, NULL);
    release(&r);
}

static void test_other_number_of_ranks(void)
{
    struct ranks r = new_ranks("numbers", 2, well);

    r.deadline_s = 2;
    start_as(&r, 0, 0, 2);
    start_as(&r, 1, 1, 3);
    end(&r);
    expect(&r, 1, 1, "rank 1 was told of 3 ranks, and rank 0 of 2");
    expect(&r, 0, 1, "rank 0 of 2 has waited 2 s for rank 1, which has not come");
    release(&r);
}

int main(int argc, char **argv)
{
    (void)argc;
    dnas_msg_program(argv[0]);
    setenv("DNAS_ADDRESS", "127.0.0.1", 1);
    unsetenv("OMPI_COMM_WORLD_SIZE"); /* of who started this test */
    unsetenv("PMI_SIZE");
    unsetenv("PMIX_RANK");
    RUN(test_two_three_and_five);
    RUN(test_closing_waits_for_all);
    RUN(test_others_call);
    RUN(test_killed);
    RUN(test_killed_in_a_sum);
    RUN(test_killed_after_its_part);
    RUN(test_killed_before_all_came);
    RUN(test_first_is_killed);
    RUN(test_hangs);
    RUN(test_never_comes);
    RUN(test_first_never_comes);
    RUN(test_stale_file);
    RUN(test_only_a_stale_file);
    RUN(test_wrong_secret);
    RUN(test_wrong_answer);
    RUN(test_file_is_private);
    RUN(test_same_number_twice);
    RUN(test_other_number_of_ranks);
    return check_done();
}
