/* SPDX-License-Identifier: MIT
 *
 * test_optim.c - steps of Adam and AdamW against PyTorch's.
 *
 * tests/model/make_optim.py made the numbers.
 */
#include "tests/unit/check.h"

#include "common/optim.h"
#include "common/rng.h"
#include "common/xmem.h"
#include "tests/unit/numbers.h"

#define NUMBERS "tests/data/training/optim.txt"
#define N 53
#define STEPS 12

static const struct dnas_optim_group groups[3] = {
    {0, 11, 1, false}, {11, 37, 100, false}, {48, 5, 1, true}};

/* Double keeps what f32 rounds: some roundings of 6e-8 a step, of steps of at
 * most 1 (the rate of the second group) and weights of some units. */
static void run(const char *name, struct dnas_optim_options options)
{
    float *w = numbers_f32(NUMBERS, "start", N);
    float *slopes = numbers_f32(NUMBERS, "slopes", STEPS * N);
    char text[64];
    double *want = numbers_read(NUMBERS, name, N), *rates, *norms;
    struct dnas_optim o;
    struct dnas_optim_report r;

    snprintf(text, sizeof(text), "%s_rates", name);
    rates = numbers_read(NUMBERS, text, STEPS);
    snprintf(text, sizeof(text), "%s_norms", name);
    norms = numbers_read(NUMBERS, text, STEPS);
    dnas_optim_init(&o, &options, N, groups, 3, 1);
    for (int step = 0; step < STEPS; step++) {
        CHECK_INT(o.step, step);
        CHECK(dnas_optim_step(&o, w, slopes + step * N, &r) == 0);
        CHECK_NEAR(r.rate, rates[step], 1e-15);
        CHECK_NEAR(r.norm, norms[step], 1e-13);
    }
    for (int i = 0; i < N; i++)
        CHECK_NEAR(w[i], want[i], (i >= 11 && i < 48 ? 5e-6 : 5e-7));
    dnas_optim_release(&o);
    free(w);
    free(slopes);
    free(want);
    free(rates);
    free(norms);
}

static void test_pytorch(void)
{
    struct dnas_optim_options adam = dnas_optim_defaults(), adamw, o;

    adam.rate = 0.01;
    adamw = adam;
    adamw.kind = DNAS_OPTIM_ADAMW;
    adamw.decay = 0.1;
    run("adam", adam);
    o = adam;
    o.decay = 0.1;
    run("adam_decay", o);
    run("adamw", adamw);
    o = adamw;
    o.clip = 1;
    run("adamw_clip", o);
    o = adamw;
    o.schedule = DNAS_SCHEDULE_COSINE;
    o.warmup_steps = 4;
    o.total_steps = 10;
    o.final_share = 0.1;
    run("adamw_cosine", o);
    o = adam;
    o.schedule = DNAS_SCHEDULE_LINEAR;
    o.warmup_steps = 4;
    o.total_steps = 10;
    run("adam_linear", o);
    o.schedule = DNAS_SCHEDULE_CONSTANT;
    o.clip = 1;
    run("adam_warm", o);
}

/* Arithmetic that is done elsewhere, by the plan, comes to the same. */
static void test_plan(void)
{
    static const struct dnas_optim_group two[2] = {{0, 11, 1, false}, {20, 30, 100, true}};
    struct dnas_optim_options options = dnas_optim_defaults();
    float *slopes = numbers_f32(NUMBERS, "slopes", STEPS * N), *g = slopes;
    float w[N], here[N], m[N] = {0}, v[N] = {0};
    double squares[2];
    struct dnas_optim o, plan;
    struct dnas_optim_report r, s;
    size_t n;

    options.kind = DNAS_OPTIM_ADAMW;
    options.decay = 0.1;
    options.clip = 1;
    options.warmup_steps = 3;
    dnas_optim_init(&o, &options, N, two, 2, 1);
    dnas_optim_init(&plan, &options, N, two, 2, 1);
    for (int i = 0; i < N; i++)
        w[i] = here[i] = (float)i / N;
    for (int step = 0; step < STEPS; step++, g += N) {
        const struct dnas_optim_group *its = dnas_optim_groups(&plan, &n);
        const struct dnas_adamw *numbers;

        CHECK_INT(n, 2);
        for (size_t k = 0; k < n; k++)
            dnas_cpu_sum_squares(&squares[k], g + its[k].first, its[k].n);
        numbers = dnas_optim_plan(&plan, squares, &s);
        for (size_t k = 0, at = 0; k < n; k++) {
            at = its[k].first;
            dnas_cpu_adamw_step(here + at, m + at, v + at, g + at, its[k].n, &numbers[k]);
        }
        CHECK(dnas_optim_step(&o, w, g, &r) == 0);
        CHECK(r.rate == s.rate && o.step == plan.step);
        CHECK_NEAR(s.norm, r.norm, 1e-15 * r.norm);
        CHECK(memcmp(w, here, sizeof(w)) == 0);
    }
    squares[0] = 1;
    squares[1] = NAN;
    CHECK(!dnas_optim_plan(&plan, squares, &s));
    CHECK_INT(s.bad_group, 1);
    squares[0] = INFINITY;
    CHECK(!dnas_optim_plan(&plan, squares, &s));
    CHECK_INT(s.bad_group, 0);
    CHECK_INT(plan.step, STEPS);
    dnas_optim_release(&o);
    dnas_optim_release(&plan);
    free(slopes);
}

static void test_defaults(void)
{
    struct dnas_optim_options o = dnas_optim_defaults();

    CHECK(o.kind == DNAS_OPTIM_ADAM && o.schedule == DNAS_SCHEDULE_CONSTANT);
    CHECK(o.rate == 3e-6 && o.beta1 == 0.9 && o.beta2 == 0.999 && o.eps == 1e-8);
    CHECK(o.decay == 0 && o.clip == 0 && o.warmup_steps == 0);
    CHECK(dnas_optim_rate(&o, 0) == 3e-6 && dnas_optim_rate(&o, 1000000) == 3e-6);
}

/* A schedule that is all warm-up, and one without steps. */
static void test_odd_schedules(void)
{
    struct dnas_optim_options o = dnas_optim_defaults();

    o.rate = 1;
    o.schedule = DNAS_SCHEDULE_LINEAR;
    o.final_share = 0.25;
    CHECK(dnas_optim_rate(&o, 0) == 0.25);
    o.warmup_steps = o.total_steps = 3;
    CHECK_NEAR(dnas_optim_rate(&o, 1), 2.0 / 3, 1e-15);
    CHECK(dnas_optim_rate(&o, 2) == 1);
    CHECK(dnas_optim_rate(&o, 3) == 0.25);
    CHECK(dnas_optim_rate(&o, UINT64_MAX) == 0.25);
}

/* 300,000 weights are several pieces; two groups with a frozen one between. */
#define MANY 300000

static float *draw(uint32_t row)
{
    float *x = dnas_xalloc(MANY, sizeof(*x));
    struct dnas_rng rng;

    dnas_rng_init(&rng, 4, DNAS_RNG_TEST, 0, row);
    for (size_t i = 0; i < MANY; i++)
        x[i] = (float)dnas_rng_normal(&rng);
    return x;
}

static const struct dnas_optim_group two[2] = {{1, 139999, 1, false}, {160000, 140000, 2, false}};

static void test_threads_and_frozen(void)
{
    struct dnas_optim_options options = dnas_optim_defaults();
    float *w[2] = {draw(0), draw(0)}, *before = draw(0), *g = draw(1);
    struct dnas_optim_report r[2];
    double sum = 0;

    options.clip = 1;
    options.rate = 0.1;
    g[0] = NAN; /* frozen: nobody looks */
    g[150000] = INFINITY;
    for (size_t i = 0; i < MANY; i++)
        if ((i >= 1 && i < 140000) || i >= 160000)
            sum += (double)g[i] * (double)g[i];
    for (int k = 0; k < 2; k++) {
        struct dnas_optim o;

        dnas_optim_init(&o, &options, MANY, two, 2, k == 0 ? 1 : 3);
        for (int step = 0; step < 3; step++)
            CHECK(dnas_optim_step(&o, w[k], g, &r[k]) == 0);
        dnas_optim_release(&o);
    }
    CHECK(memcmp(w[0], w[1], MANY * sizeof(float)) == 0);
    CHECK(r[0].norm == r[1].norm);
    CHECK_NEAR(r[0].norm, sqrt(sum), 1e-9);
    CHECK(w[0][0] == before[0] && w[0][1] != before[1]);
    CHECK(w[0][139999] != before[139999]);
    CHECK(memcmp(w[0] + 140000, before + 140000, 20000 * sizeof(float)) == 0);
    CHECK(w[0][160000] != before[160000] && w[0][MANY - 1] != before[MANY - 1]);
    free(w[0]);
    free(w[1]);
    free(before);
    free(g);
}

/* A step from a checkpoint's m, v and number is that of the unbroken run. */
static void test_goes_on(void)
{
    struct dnas_optim_options options = dnas_optim_defaults();
    float *w[2] = {draw(0), draw(0)}, *g = draw(1);
    struct dnas_optim a, b;
    struct dnas_optim_report r;

    options.schedule = DNAS_SCHEDULE_COSINE;
    options.warmup_steps = 2;
    options.total_steps = 9;
    options.rate = 0.1;
    dnas_optim_init(&a, &options, MANY, two, 2, 1);
    dnas_optim_init(&b, &options, MANY, two, 2, 1);
    for (int step = 0; step < 6; step++) {
        if (step == 3) {
            memcpy(w[1], w[0], MANY * sizeof(float));
            memcpy(b.m, a.m, MANY * sizeof(float));
            memcpy(b.v, a.v, MANY * sizeof(float));
            b.step = a.step;
        }
        CHECK(dnas_optim_step(&a, w[0], g, &r) == 0);
        if (step >= 3)
            CHECK(dnas_optim_step(&b, w[1], g, &r) == 0);
    }
    CHECK(memcmp(w[0], w[1], MANY * sizeof(float)) == 0);
    dnas_optim_release(&a);
    dnas_optim_release(&b);
    free(w[0]);
    free(w[1]);
    free(g);
}

static void test_bad_gradient(void)
{
    struct dnas_optim_options options = dnas_optim_defaults();
    float *w = draw(0), *before = draw(0), *g = draw(1);
    struct dnas_optim o;
    struct dnas_optim_report r;

    dnas_optim_init(&o, &options, MANY, two, 2, 2);
    g[MANY - 1] = -INFINITY;
    CHECK(dnas_optim_step(&o, w, g, &r) == -1);
    CHECK_INT(r.bad_group, 1);
    g[139999] = NAN;
    CHECK(dnas_optim_step(&o, w, g, &r) == -1);
    CHECK_INT(r.bad_group, 0);
    CHECK(memcmp(w, before, MANY * sizeof(float)) == 0);
    CHECK_INT(o.step, 0);
    CHECK(o.m[5] == 0 && o.v[5] == 0);
    dnas_optim_release(&o);
    free(w);
    free(before);
    free(g);
}

int main(void)
{
    RUN(test_pytorch);
    RUN(test_plan);
    RUN(test_defaults);
    RUN(test_odd_schedules);
    RUN(test_threads_and_frozen);
    RUN(test_goes_on);
    RUN(test_bad_gradient);
    return check_done();
}
