/* SPDX-License-Identifier: MIT
 *
 * test_cuda_ranks.c - sums over the devices of several processes, beside those over the
 * memory of their hosts.
 *
 * Ranks are children of this process, which touches no device itself.  NCCL and devices
 * are emulated; with the argument `gpu` they are real, with as many ranks as there are
 * devices.
 */
#include "tests/kernels/cuda_device.h"

#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "common/comm.h"
#include "common/msg.h"
#include "tests/unit/files.h"

#define PIECE ((size_t)1000)

static bool is_real;
static int n_devices; /* -1: there is no library */
static bool has_nccl;

/* ---- what a rank does ---- */

struct rank {
    struct dnas_comm *comm;
    int rank, n;
    struct dnas_cuda_ranks *group;
};

static bool has_joined;

static int say_no(void *ctx)
{
    (void)ctx;
    return has_joined;
}

/* Agrees on an id, and joins. */
static bool join(struct rank *r, double deadline_s, int (*look)(void *))
{
    unsigned char mine[DNAS_CUDA_ID_BYTES] = {0}, *all = dnas_xzalloc((size_t)r->n, sizeof(mine));
    struct dnas_cuda_join j = {.id = all,
                               .rank = r->rank,
                               .n_ranks = r->n,
                               .piece = PIECE,
                               .deadline_s = deadline_s,
                               .look = look};
    char why[400] = "";

    if (r->rank == 0 && gpu->ranks_id(mine, why, sizeof(why)) != 0)
        CHECK_FAIL("no id: %s", why);
    CHECK(dnas_comm_all_gather(r->comm, all, mine, sizeof(mine), NULL) == 0);
    r->group = gpu->ranks_join(dev, &j);
    has_joined = true;
    free(all);
    return r->group != NULL;
}

/* Numbers whose sum shows the order that they are added in. */
static void fill(float *x, size_t n, int rank, uint32_t seed)
{
    struct dnas_rng rng;

    dnas_rng_init(&rng, 12, DNAS_RNG_TEST, seed, (uint32_t)rank);
    for (size_t i = 0; i < n; i++) {
        x[i] = (float)(dnas_rng_u32(&rng) >> 8) * 0x1p-23f - 1;
        if (i % 3 == 0 && rank < 2)
            x[i] = rank == 0 ? 1e18f : -1e18f;
    }
}

/* Sums of several sizes in one go, each of what a copy in the queue has just brought; and what is
 * queued behind the wait sees them. */
static void check_sums(struct rank *r)
{
    static const size_t sizes[] = {0, 1, 2, 7, 999, 1000, 1001, 2503};
    enum { N = sizeof(sizes) / sizeof(*sizes) };
    float *want[N], *host[N];
    void *from[N], *x[N], *later[N];

    for (int k = 0; k < N; k++) {
        want[k] = dnas_xalloc(sizes[k] + 1, sizeof(float));
        fill(want[k], sizes[k], r->rank, (uint32_t)k);
        want[k][sizes[k]] = 77;
        from[k] = gpu_put(want[k], sizes[k] + 1, DNAS_CUDA_F32);
        x[k] = gpu_room((sizes[k] + 1) * sizeof(float));
        later[k] = gpu_room((sizes[k] + 1) * sizeof(float));
    }
    for (int k = 0; k < N; k++) {
        gpu->copy(dev, x[k], from[k], (sizes[k] + 1) * sizeof(float));
        gpu->ranks_sum(r->group, x[k], sizes[k]);
        gpu->zero(dev, later[k], (sizes[k] + 1) * sizeof(float));
    }
    if (gpu->ranks_wait(r->group) != 0)
        CHECK_FAIL("%s", gpu->error(dev));
    for (int k = 0; k < N; k++)
        gpu->copy(dev, later[k], x[k], (sizes[k] + 1) * sizeof(float));
    for (int k = 0; k < N; k++) {
        CHECK(dnas_comm_sum_f32(r->comm, want[k], sizes[k], NULL) == 0);
        host[k] = gpu_get(later[k], sizes[k] + 1, DNAS_CUDA_F32);
        if (memcmp(host[k], want[k], (sizes[k] + 1) * sizeof(float)) != 0)
            CHECK_FAIL("rank %d of %d: another sum of %zu", r->rank, r->n, sizes[k]);
        gpu_free(from[k], (sizes[k] + 1) * sizeof(float));
        gpu_free(x[k], (sizes[k] + 1) * sizeof(float));
        gpu_free(later[k], (sizes[k] + 1) * sizeof(float));
        free(host[k]);
        free(want[k]);
    }
}

static void sums(struct rank *r)
{
    if (!join(r, 60, NULL)) {
        CHECK_FAIL("%s", gpu->error(dev));
        return;
    }
    check_sums(r);
    check_sums(r);
    gpu->ranks_leave(r->group);
    CHECK_STR(gpu->error(dev), "");
}

/* Nobody sums; they go one by one. */
static void drops(struct rank *r)
{
    CHECK(join(r, 60, NULL));
    nanosleep(&(struct timespec){0, 100000000L * r->rank}, NULL);
    gpu->ranks_drop(r->group);
    CHECK_STR(gpu->error(dev), "");
}

/* Sums and fails: what every rank has to see. */
static void fails(struct rank *r, double deadline_s, int (*look)(void *), const char *said)
{
    void *x;
    double began;

    if (!join(r, deadline_s, look)) {
        CHECK_FAIL("%s", gpu->error(dev));
        return;
    }
    x = gpu_room(2500 * sizeof(float));
    gpu->zero(dev, x, 2500 * sizeof(float));
    gpu->ranks_sum(r->group, x, 2500);
    CHECK(gpu->ranks_wait(r->group) == -1);
    if (!strstr(gpu->error(dev), said))
        CHECK_FAIL("rank %d says '%s', not '%s'", r->rank, gpu->error(dev), said);
    CHECK(gpu->ranks_wait(r->group) == -1);
    gpu->ranks_sum(r->group, x, 2500);
    began = dnas_clock_s();
    gpu->ranks_drop(r->group);
    gpu->free(dev, x);
    CHECK(dnas_clock_s() - began < 5); /* nothing hangs any more */
}

static void errors(struct rank *r)
{
    fails(r, 60, NULL, "NCCL, with 2 ranks: unhandled system error");
}

/* To free memory is to wait for all queues. */
static void frees(struct rank *r)
{
    double began;
    void *x, *other;

    CHECK(join(r, 1, NULL));
    x = gpu_room(2500 * sizeof(float));
    other = gpu_room(100);
    gpu->zero(dev, x, 2500 * sizeof(float));
    gpu->ranks_sum(r->group, x, 2500);
    began = dnas_clock_s();
    gpu->free(dev, other);
    CHECK(dnas_clock_s() - began < 20);
    if (!strstr(gpu->error(dev), "of 2 has waited 1 s for the others"))
        CHECK_FAIL("rank %d says '%s'", r->rank, gpu->error(dev));
    gpu->ranks_drop(r->group);
    gpu->free(dev, x);
}

static void hangs(struct rank *r)
{
    fails(r, 1, NULL, "of 2 has waited 1 s for the others: one of them has ended or hangs");
}

static void looks(struct rank *r)
{
    fails(r, 60, r->rank == 0 ? say_no : NULL,
          r->rank == 0 ? "another rank has ended" : "remote process exited");
}

static void is_killed(struct rank *r)
{
    if (r->rank == 1) {
        CHECK(join(r, 60, NULL));
        raise(SIGKILL);
    }
    fails(r, 60, NULL, "remote process exited or there was a network error");
}

static void cannot_join(struct rank *r, double deadline_s, const char *said)
{
    CHECK(!join(r, deadline_s, NULL));
    if (!strstr(gpu->error(dev), said))
        CHECK_FAIL("rank %d says '%s', not '%s'", r->rank, gpu->error(dev), said);
    CHECK(gpu->wait(dev) == -1);
    CHECK(gpu->alloc(dev, 8) == NULL);
}

static void one_is_absent(struct rank *r)
{
    cannot_join(r, 1, "of 2 has waited 1 s for the others");
}

static void one_device(struct rank *r)
{
    gpu->close(dev);
    dev = gpu->open(0, (char[400]){0}, 400);
    cannot_join(r, 60, "invalid usage");
}

static void no_memory(struct rank *r)
{
    struct dnas_cuda_info info;

    gpu->info(dev, &info);
    CHECK(gpu->alloc(dev, info.free_bytes - 1000) != NULL);
    cannot_join(r, 60, "bytes left to exchange gradients by");
}

/* ---- ranks ---- */

static void set_number(const char *name, int x)
{
    char text[16];

    snprintf(text, sizeof(text), "%d", x);
    setenv(name, text, 1);
}

static int be_rank(int rank, int n, const char *folder, void (*what)(struct rank *))
{
    const struct dnas_comm_options o = {.deadline_s = 60, .rendezvous = folder};
    struct rank r = {.rank = rank, .n = n};
    char *arguments[] = {"", is_real ? "gpu" : NULL};
    struct dnas_err err = {""};
    char why[400] = "";

    alarm(120);
    check_failed_here = false;
    set_number("RANK", rank);
    set_number("WORLD_SIZE", n);
    r.comm = dnas_comm_open(&o, &err);
    gpu_begin(is_real ? 2 : 1, arguments);
    if (!r.comm || gpu_absent) {
        CHECK_FAIL("%s%s", err.msg, gpu_absent ? gpu_absent : "");
        return 1;
    }
    gpu->close(dev);
    dev = gpu->open(rank, why, sizeof(why));
    if (!dev) {
        CHECK_FAIL("%s", why);
        return 1;
    }
    what(&r);
    gpu->close(dev);
    fflush(stdout);
    if (what == sums || what == drops)
        dnas_comm_close(r.comm, false);
    return check_failed_here;
}

/* Status of the exit, or 128 + the number of a signal. */
static void run(int n, void (*what)(struct rank *), int *status)
{
    static int number;
    pid_t pid[8];
    char name[32];
    const char *folder;

    snprintf(name, sizeof(name), "meet.%d", number++);
    folder = file_path(name);
    mkdir(folder, 0700);
    fflush(stdout);
    for (int i = 0; i < n; i++) {
        pid[i] = fork();
        if (pid[i] == 0) {
            int failed = be_rank(i, n, folder, what);

            fflush(stdout);
            _exit(failed);
        }
    }
    for (int i = 0; i < n; i++) {
        waitpid(pid[i], &status[i], 0);
        status[i] = WIFEXITED(status[i]) ? WEXITSTATUS(status[i]) : 128 + WTERMSIG(status[i]);
    }
}

static void expect_well(int n, void (*what)(struct rank *))
{
    int status[8];

    run(n, what, status);
    for (int i = 0; i < n; i++)
        CHECK_INT(status[i], 0);
}

#define NEEDS_DEVICES(n)                                                                           \
    do {                                                                                           \
        if (n_devices < 1 && getenv("DNAS_REQUIRE") && strstr(getenv("DNAS_REQUIRE"), "cuda"))     \
            CHECK_FAIL("no library, or no device");                                                \
        if (n_devices > 0 && !has_nccl)                                                            \
            SKIP("no NCCL");                                                                       \
        if (n_devices < (n))                                                                       \
            SKIP("fewer devices than " #n);                                                        \
    } while (0)
#define NEEDS_EMULATOR(n)                                                                          \
    do {                                                                                           \
        if (is_real)                                                                               \
            SKIP("faults are planted in the emulated NCCL");                                       \
        NEEDS_DEVICES(n);                                                                          \
    } while (0)

static void test_one_rank(void)
{
    NEEDS_DEVICES(1);
    expect_well(1, sums);
}

static void test_two_ranks(void)
{
    NEEDS_DEVICES(2);
    expect_well(2, sums);
}

static void test_three_ranks(void)
{
    NEEDS_DEVICES(3);
    expect_well(3, sums);
}

static void test_five_ranks(void)
{
    NEEDS_DEVICES(5);
    expect_well(5, sums);
}

/* The other extreme of when queues run. */
static void test_eager(void)
{
    NEEDS_EMULATOR(3);
    setenv("DNAS_EMULATED_EAGER", "1", 1);
    expect_well(3, sums);
    unsetenv("DNAS_EMULATED_EAGER");
}

static void test_going_alone(void)
{
    NEEDS_DEVICES(2);
    expect_well(2, drops);
}

static void expect_fault(const char *fault, const char *rank, void (*what)(struct rank *))
{
    setenv("DNAS_NCCL_FAULT", fault, 1);
    if (rank)
        setenv("DNAS_NCCL_FAULT_RANK", rank, 1);
    expect_well(2, what);
    unsetenv("DNAS_NCCL_FAULT");
    unsetenv("DNAS_NCCL_FAULT_RANK");
}

static void test_asynchronous_error(void)
{
    NEEDS_EMULATOR(2);
    expect_fault("error:1", NULL, errors);
    expect_fault("error:4", NULL, errors);
}

static void test_a_rank_that_hangs(void)
{
    NEEDS_EMULATOR(2);
    expect_fault("hang:1", "1", hangs);
    expect_fault("hang:6", NULL, hangs);
    expect_fault("hang:5", NULL, frees);
}

/* The abort hangs, too, and is left: memory of the device is given up with it. */
static void test_an_abort_that_hangs(void)
{
    NEEDS_EMULATOR(2);
    setenv("DNAS_NCCL_STUCK", "1", 1);
    expect_fault("hang:3", NULL, hangs);
    unsetenv("DNAS_NCCL_STUCK");
}

static void test_a_rank_that_never_comes(void)
{
    NEEDS_EMULATOR(2);
    expect_fault("absent", "1", one_is_absent);
}

static void test_looking(void)
{
    NEEDS_EMULATOR(2);
    expect_fault("hang:2", NULL, looks);
}

static void test_a_killed_rank(void)
{
    int status[2];

    NEEDS_EMULATOR(2);
    run(2, is_killed, status);
    CHECK_INT(status[0], 0);
    CHECK_INT(status[1], 128 + SIGKILL);
}

static void test_two_on_one_device(void)
{
    NEEDS_EMULATOR(2);
    expect_well(2, one_device);
}

static void test_no_memory(void)
{
    NEEDS_EMULATOR(2);
    expect_well(2, no_memory);
}

/* ---- the library of NCCL ---- */

static const char *wanted; /* what a rank has to hear of it */

static void has_none(struct rank *r)
{
    unsigned char id[DNAS_CUDA_ID_BYTES];
    const struct dnas_cuda_join j = {.id = id, .n_ranks = 1, .piece = PIECE, .deadline_s = 60};
    char why[400] = "";

    (void)r;
    CHECK_INT(gpu->ranks_version(why, sizeof(why)), 0);
    if (!strstr(why, wanted))
        CHECK_FAIL("says '%s', not '%s'", why, wanted);
    CHECK_INT(gpu->ranks_id(id, why, sizeof(why)), -1);
    CHECK(gpu->ranks_join(dev, &j) == NULL);
    CHECK(strstr(gpu->error(dev), wanted));
}

static void test_libraries(void)
{
    char *kept = dnas_xstrdup(getenv("DNAS_NCCL_LIBRARY") ? getenv("DNAS_NCCL_LIBRARY") : "");

    NEEDS_EMULATOR(1);
    setenv("DNAS_NCCL_LIBRARY", "none", 1);
    wanted = "DNAS_NCCL_LIBRARY names none";
    expect_well(1, has_none);
    setenv("DNAS_NCCL_LIBRARY", "/nowhere/libnccl.so", 1);
    wanted = "/nowhere/libnccl.so: cannot open shared object file";
    expect_well(1, has_none);
    setenv("DNAS_NCCL_LIBRARY", cuda_library(false), 1);
    wanted = "this NCCL has no ncclGetVersion: 2.14 or later is needed";
    expect_well(1, has_none);
    setenv("DNAS_NCCL_LIBRARY", kept, 1);
    free(kept);
}

/* How many devices there are, and whether NCCL, asked by a child. */
static void look_around(void)
{
    int status = 0;
    pid_t pid;

    fflush(stdout);
    pid = fork();
    if (pid == 0) {
        char *arguments[] = {"", is_real ? "gpu" : NULL};
        char why[400] = "";
        int n, version;

        gpu_begin(is_real ? 2 : 1, arguments);
        if (gpu_absent) {
            printf("# %s\n", gpu_absent);
            fflush(stdout);
            _exit(255);
        }
        n = gpu->count(why, sizeof(why));
        version = gpu->ranks_version(why, sizeof(why));
        printf("# %d devices, NCCL %d %s\n", n, version, why);
        fflush(stdout);
        _exit(2 * n + (version != 0));
    }
    waitpid(pid, &status, 0);
    status = WIFEXITED(status) ? WEXITSTATUS(status) : 255;
    n_devices = status == 255 ? -1 : status / 2;
    has_nccl = status % 2;
}

int main(int argc, char **argv)
{
    is_real = cuda_is_real(argc, argv);
    dnas_msg_program(argv[0]);
    setenv("DNAS_ADDRESS", "127.0.0.1", 1);
    if (!is_real) {
        const char *path = cuda_library(false);
        char *nccl =
            dnas_xasprintf("%.*s/libnccl-emulated.so", (int)(strrchr(path, '/') - path), path);

        setenv("DNAS_NCCL_LIBRARY", nccl, 1);
        free(nccl);
        setenv("DNAS_EMULATED_DEVICES", "8", 1);
        setenv("TMPDIR", file_path("."), 1);
    }
    look_around();
    RUN(test_one_rank);
    RUN(test_two_ranks);
    RUN(test_three_ranks);
    RUN(test_five_ranks);
    RUN(test_eager);
    RUN(test_going_alone);
    RUN(test_asynchronous_error);
    RUN(test_a_rank_that_hangs);
    RUN(test_an_abort_that_hangs);
    RUN(test_a_rank_that_never_comes);
    RUN(test_looking);
    RUN(test_a_killed_rank);
    RUN(test_two_on_one_device);
    RUN(test_no_memory);
    RUN(test_libraries);
    return check_done();
}
