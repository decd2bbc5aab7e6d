/* SPDX-License-Identifier: MIT
 *
 * test_train_cuda.c - training on a GPU, against numbers from the original code
 * and against the CPU.
 *
 * The GPU is emulated; with the argument `gpu` it is a real one.  Products sum in
 * another order than the CPU's: f32 keeps 1e-4 of each tensor's gradient, which is
 * what the CPU's own test grants.
 */
#include "tests/model/tiny_train.h"
#include "tests/model/on_gpu.h"

#include "common/bert_net.h"
#include "common/net_cuda.h"
#include "common/optim.h"
#include "common/record.h"

/* A net on the GPU, and its optimiser. */
struct there {
    struct dnas_net_cuda *net;
    struct dnas_optim optim;
};

/* Adam as in the golden steps: rate 3e-4, the head's a hundred times that. */
static void put(struct there *d, struct dnas_net *net, enum dnas_cuda_type type)
{
    struct dnas_optim_group *groups = dnas_xalloc(net->n_tensors, sizeof(*groups));
    struct dnas_optim_options o = dnas_optim_defaults();
    struct dnas_err err = {""};

    for (size_t i = 0; i < net->n_tensors; i++)
        groups[i] =
            (struct dnas_optim_group){.first = net->tensors[i].at,
                                      .n = net->tensors[i].tensor.n,
                                      .rate = net->tensors[i].part == DNAS_NET_HEAD ? 100 : 1};
    o.rate = 3e-4;
    dnas_optim_init(&d->optim, &o, net->n, groups, net->n_tensors, 1);
    free(groups);
    d->net = dnas_net_cuda_new(net, &gpu, type, &d->optim, &err);
    if (!d->net) {
        printf("Bail out! %s\n", err.msg);
        exit(99);
    }
}

static struct dnas_step *step_there(struct there *d, struct dnas_step_options o, size_t pairs,
                                    size_t max_T)
{
    struct dnas_err err = {""};
    struct dnas_step *step;

    o.max_pairs = pairs;
    o.max_T = max_T;
    step = dnas_step_new_cuda(d->net, &o, &err);
    if (!step) {
        printf("Bail out! %s\n", err.msg);
        exit(99);
    }
    return step;
}

static void set_up(struct setting *s, struct there *d, struct dnas_step_options o,
                   enum dnas_cuda_type type)
{
    load_setting(s);
    put(d, s->net, type);
    s->step = step_there(d, o, PAIRS, TOKENS);
}

static void set_up_on_cpu(struct setting *s, struct dnas_step_options o)
{
    load_setting(s);
    o.max_pairs = PAIRS;
    o.max_T = TOKENS;
    s->step = dnas_step_new(s->net, &o);
}

static void tear_down(struct setting *s, struct there *d)
{
    dnas_step_free(s->step);
    if (d) {
        dnas_net_cuda_free(d->net);
        dnas_optim_release(&d->optim);
    }
    dnas_net_free(s->net);
}

/* Fewer sequences of the same: the emulator takes a second for each step. */
static void make_smaller(struct setting *s)
{
    static const uint32_t perm[3] = {2, 0, 1};

    s->batch.B = 3;
    memcpy(s->perm, perm, sizeof(perm));
}

/* What is on the device, to the host. */
static void fetch(struct there *d)
{
    struct dnas_err err = {""};

    if (dnas_net_cuda_fetch(d->net, &d->optim, true, &err) != 0)
        CHECK_FAIL("%s", err.msg);
}

/* ---- the golden steps: three on a real GPU, and where mixing begins; else one, for time ---- */

/* The loss for validation is without dropout, and leaves the gradient as it is. */
static void check_validation(struct setting *s, struct there *d)
{
    float *before = dnas_xalloc(s->net->n, sizeof(*before));
    struct dnas_err err = {""};
    double loss = NAN;

    memcpy(before, s->net->g, s->net->n * sizeof(*before));
    CHECK_INT(dnas_step_loss_wsimclr(s->step, &loss, &s->batch, &err), 0);
    CHECK_NEAR(loss, golden_number("wsimclr", "loss_step0"), 1e-5);
    fetch(d);
    CHECK(memcmp(before, s->net->g, s->net->n * sizeof(*before)) == 0);
    free(before);
}

static void check_variant(const char *variant, int layer, int n_steps)
{
    struct setting s;
    struct there d;

    set_up(&s, &d, plain, DNAS_CUDA_F32);
    for (int step = 0; step < n_steps; step++) {
        const char *const names[3] = {"loss_step0", "loss_step1", "loss_step2"};
        double loss = run(&s, layer, (uint32_t)step);
        struct dnas_optim_report report;
        struct dnas_err err = {""};
        bool finite = false;

        /* Adam divides small gradients by themselves: rounding grows from step to step. */
        CHECK_NEAR(loss, golden_number(variant, names[step]), step == 0 ? 1e-5 : 2e-3);
        if (step == 0) {
            fetch(&d);
            compare_rows(&s, variant);
            compare_gradients(&s, variant);
            if (layer < 0)
                check_validation(&s, &d);
        }
        CHECK_INT(dnas_net_cuda_step(d.net, &d.optim, &finite, &report, &err), 0);
        CHECK(finite && report.norm > 0);
    }
    CHECK_INT(d.optim.step, n_steps);
    fetch(&d);
    if (n_steps == 3) {
        compare_after(&s, variant, "wqkv0", dnas_bert_net_of(s.net)->view.layers[0].qkv_w);
        compare_after(&s, variant, "head2", s.net->head2);
    }
    tear_down(&s, &d);
}

GPU_TEST(test_wsimclr)
{
    check_variant("wsimclr", -1, is_real ? 3 : 1);
}

GPU_TEST(test_mimix_at_the_embedding)
{
    check_variant("mimix_l0", 0, 3);
}

GPU_TEST(test_mimix_before_layer_2)
{
    check_variant("mimix_l2", 2, is_real ? 3 : 1);
}

/* ---- beside the CPU ---- */

/* Gradients of each tensor; what has none here must have none there. */
static void compare_with(const struct dnas_net *got, const struct dnas_net *want, double tolerance)
{
    for (size_t i = 0; i < got->n_tensors; i++) {
        const struct dnas_net_tensor *t = &got->tensors[i];
        double e = relative(got->g + t->at, want->g + t->at, t->tensor.n);

        if (!(e <= tolerance))
            CHECK_FAIL("%s: relative error %g", t->tensor.name, e);
    }
}

/* The same masks of dropout, layers that stay, and row 0 of the words that learns. */
GPU_TEST(test_dropout_and_frozen_layers)
{
    static const struct {
        int layer;
        size_t n_frozen;
    } cases[] = {{-1, 1}, {1, 0}, {1, 3}, {-1, 4}};

    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        struct dnas_step_options o = plain;
        struct setting want, got;
        struct there d;
        double loss;

        o.freeze_first = false;
        o.dropout = 0.1;
        o.n_frozen = cases[i].n_frozen;
        o.seed = 0x123456789aull;
        set_up_on_cpu(&want, o);
        set_up(&got, &d, o, DNAS_CUDA_F32);
        make_smaller(&want);
        make_smaller(&got);
        loss = run(&want, cases[i].layer, 7);
        CHECK_NEAR(run(&got, cases[i].layer, 7), loss, 1e-5 * loss);
        fetch(&d);
        compare_with(got.net, want.net, 1e-4);
        tear_down(&want, NULL);
        tear_down(&got, &d);
    }
}

/* ---- masked tokens ---- */

static void set_up_masked(struct masked *s, struct there *d, double dropout,
                          enum dnas_cuda_type type)
{
    const struct dnas_step_options o = {.dropout = dropout, .n_threads = 1};

    load_all_masked(s);
    put(d, s->net, type);
    s->step = step_there(d, o, 2, MASKED_TOKENS);
}

static void tear_down_masked(struct masked *s, struct there *d)
{
    for (size_t i = 0; i < 3; i++)
        free(s->at[i]);
    dnas_step_free(s->step);
    dnas_net_cuda_free(d->net);
    dnas_optim_release(&d->optim);
    dnas_net_free(s->net);
}

GPU_TEST(test_masked_tokens)
{
    double *want = numbers_read(MASKED, "loss", 1), loss = NAN;
    struct dnas_err err = {""};
    struct masked s;
    struct there d;

    set_up_masked(&s, &d, 0, DNAS_CUDA_F32);
    CHECK_INT(dnas_step_mlm(s.step, &loss, &s.batch, s.guess, 0, &err), 0);
    CHECK_NEAR(loss, *want, 1e-5);
    fetch(&d);
    for (size_t i = 0; i < s.net->n_tensors; i++)
        compare_tensor(s.net, &s.net->tensors[i]);
    compare_part(s.net, "row0:embeddings.word_embeddings.weight",
                 "embeddings.word_embeddings.weight", 0, 96);
    CHECK_INT(dnas_step_loss_mlm(s.step, &loss, &s.batch, s.guess, &err), 0);
    CHECK_NEAR(loss, *want, 1e-5);
    for (size_t i = 0; i < 4; i++)
        s.guess[i].n = 0;
    CHECK_INT(dnas_step_mlm(s.step, &loss, &s.batch, s.guess, 0, &err), -1);
    tear_down_masked(&s, &d);
    free(want);
}

/* Each token of the longest sequence is guessed, which is more than are guessed at a time. */
static void guess_all(struct masked *s, uint32_t at[MASKED_TOKENS], uint16_t was[MASKED_TOKENS])
{
    for (uint32_t t = 0; t < MASKED_TOKENS; t++) {
        at[t] = t;
        was[t] = (uint16_t)(t * 7 % 256);
    }
    s->guess[1] = (struct dnas_step_guess){at, was, MASKED_TOKENS};
}

/* With dropout, and with row 0 of the words left alone by the embedding but not by the scores. */
GPU_TEST(test_masked_tokens_beside_the_cpu)
{
    const struct dnas_step_options o = {.max_pairs = 2,
                                        .max_T = MASKED_TOKENS,
                                        .dropout = 0.1,
                                        .freeze_first = true,
                                        .n_threads = 1};
    struct dnas_err err = {""};
    struct masked got, want;
    struct there d;
    double loss = NAN, loss_there = NAN;
    uint32_t at[MASKED_TOKENS];
    uint16_t was[MASKED_TOKENS];

    load_all_masked(&want);
    want.step = dnas_step_new(want.net, &o);
    load_all_masked(&got);
    put(&d, got.net, DNAS_CUDA_F32);
    got.step = step_there(&d, o, 2, MASKED_TOKENS);
    guess_all(&want, at, was);
    guess_all(&got, at, was);
    CHECK_INT(dnas_step_mlm(want.step, &loss, &want.batch, want.guess, 5, &err), 0);
    CHECK_INT(dnas_step_mlm(got.step, &loss_there, &got.batch, got.guess, 5, &err), 0);
    CHECK_NEAR(loss_there, loss, 1e-5 * loss);
    fetch(&d);
    compare_with(got.net, want.net, 1e-4);
    tear_down_masked(&got, &d);
    for (size_t i = 0; i < 3; i++)
        free(want.at[i]);
    dnas_step_free(want.step);
    dnas_net_free(want.net);
}

/* ---- bf16 ---- */

/* Hidden states and gradients have 8 bits: 2^-9 = 0.2 % for each rounding, of which a value has
 * seen some tens, that do not add up in one direction.  A single wrong sign or factor would be
 * a difference of 1.  The bits are the same run after run. */
GPU_TEST(test_bf16)
{
    for (int layer = is_real ? -1 : 1; layer < 3; layer += 2) {
        struct dnas_step_options o = plain;
        struct setting exact, s, again;
        struct there d, e;
        double loss, rounded;

        o.dropout = 0.1;
        set_up_on_cpu(&exact, o);
        set_up(&s, &d, o, DNAS_CUDA_BF16);
        set_up(&again, &e, o, DNAS_CUDA_BF16);
        make_smaller(&exact);
        make_smaller(&s);
        make_smaller(&again);
        loss = run(&exact, layer, 3);
        rounded = run(&s, layer, 3);
        CHECK(run(&again, layer, 3) == rounded);
        fetch(&d);
        fetch(&e);
        CHECK(memcmp(s.net->g, again.net->g, s.net->n * sizeof(*s.net->g)) == 0);
        CHECK(rounded != loss); /* else nothing ran in bf16 */
        CHECK_NEAR(rounded, loss, 0.02 * loss);
        CHECK_NEAR(relative(s.net->g, exact.net->g, s.net->n), 0, 0.1);
        compare_with(s.net, exact.net, 0.2);
        tear_down(&exact, NULL);
        tear_down(&s, &d);
        tear_down(&again, &e);
    }
}

/* Products see what Adam made of the parameters: rounded anew after each step. */
GPU_TEST(test_parameters_in_bf16)
{
    struct dnas_optim_report report;
    struct dnas_err err = {""};
    struct setting s;
    struct there d;
    bool finite = false;
    uint16_t *narrow;

    set_up(&s, &d, plain, DNAS_CUDA_BF16);
    make_smaller(&s);
    for (int step = 0; step < 2; step++) {
        run(&s, -1, (uint32_t)step);
        CHECK_INT(dnas_net_cuda_step(d.net, &d.optim, &finite, &report, &err), 0);
    }
    fetch(&d);
    narrow = gpu.api->host_alloc(gpu.device, s.net->n * sizeof(*narrow));
    gpu.api->copy_out(gpu.device, narrow, d.net->narrow, s.net->n * sizeof(*narrow));
    CHECK_INT(gpu.api->wait(gpu.device), 0);
    for (size_t i = 0; i < s.net->n; i++)
        if (narrow[i] != dnas_bf16_from_f32(s.net->w[i])) {
            CHECK_FAIL("parameter %zu is not what Adam left", i);
            break;
        }
    gpu.api->host_free(gpu.device, narrow);
    tear_down(&s, &d);
}

GPU_TEST(test_masked_tokens_in_bf16)
{
    double *want = numbers_read(MASKED, "loss", 1), loss = NAN;
    struct dnas_err err = {""};
    struct masked s;
    struct there d;

    set_up_masked(&s, &d, 0, DNAS_CUDA_BF16);
    CHECK_INT(dnas_step_mlm(s.step, &loss, &s.batch, s.guess, 0, &err), 0);
    CHECK_NEAR(loss, *want, 0.01 * *want);
    tear_down_masked(&s, &d);
    free(want);
}

/* ---- memory and errors ---- */

/* Opens what could be opened before. */
static void open_gpu(void)
{
    if (dnas_gpu_open(&gpu, 0, &why) == 0)
        return;
    printf("Bail out! %s\n", why.msg);
    exit(99);
}

/* The gradient of a step on a GPU with so much memory, to be freed. */
static float *gradient_within(const char *size_bytes, struct dnas_step_options o, size_t max_pairs,
                              int layer, const uint32_t *perm, size_t B, double *loss)
{
    struct setting s;
    struct there d;
    float *g;

    dnas_gpu_close(&gpu);
    setenv("DNAS_EMULATED_MEMORY", size_bytes, 1);
    open_gpu();
    o.dropout = 0.1;
    load_setting(&s);
    put(&d, s.net, DNAS_CUDA_F32);
    s.step = step_there(&d, o, max_pairs, TOKENS);
    s.batch.B = B;
    memcpy(s.perm, perm, B * sizeof(*perm));
    *loss = run(&s, layer, 5);
    fetch(&d);
    g = dnas_xalloc(s.net->n, sizeof(*g));
    memcpy(g, s.net->g, s.net->n * sizeof(*g));
    tear_down(&s, &d);
    dnas_gpu_close(&gpu);
    unsetenv("DNAS_EMULATED_MEMORY");
    open_gpu();
    return g;
}

/* Where sequences go in groups, what backward needs is computed again: nothing but the order of
 * sums over sequences changes, and that with the groups alone.  A mixed batch has all kinds. */
GPU_TEST(test_little_memory)
{
    static const char *const sizes[] = {"48500000", "47000000"}; /* of some groups, and of more */
    static const uint32_t perm[3] = {2, 0, 1};
    const int layer = 1;
    double loss, other;
    float *want, *again;
    struct setting s;

    if (is_real)
        SKIP("a real GPU's memory cannot be made smaller");
    load_setting(&s);
    want = gradient_within("100000000", plain, PAIRS, layer, perm, 3, &loss);
    for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
        float *g = gradient_within(sizes[i], plain, PAIRS, layer, perm, 3, &other);
        size_t n = s.net->n;

        CHECK_NEAR(other, loss, 1e-12);
        CHECK_NEAR(relative(g, want, n), 0, 1e-5);
        CHECK(memcmp(g, want, n * sizeof(*g)) != 0); /* else there were no groups */
        if (i == 0) {
            again = gradient_within(sizes[i], plain, PAIRS, layer, perm, 3, &other);
            CHECK(memcmp(g, again, n * sizeof(*g)) == 0);
            free(again);
        }
        free(g);
    }
    dnas_net_free(s.net);
    free(want);
}

/* Where the states between layers are more than a GPU has room for, pairs that are mixed with each
 * other go one group after the other: all of them kept, and run again.  There is room for 400
 * pairs' states, 20 MB, in the first alone. */
GPU_TEST(test_little_memory_for_mixing)
{
    static const char *const sizes[] = {"60000000", "51000000"};
    static const uint32_t perm[3] = {1, 0, 2};
    const int layer = 1;
    struct dnas_step_options o = plain;
    double loss, other;
    float *want;
    struct setting s;

    if (is_real)
        SKIP("a real GPU's memory cannot be made smaller");
    o.mix_group = 2;
    load_setting(&s);
    want = gradient_within("400000000", o, 400, layer, perm, 3, &loss);
    for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
        float *g = gradient_within(sizes[i], o, 400, layer, perm, 3, &other);

        CHECK_NEAR(other, loss, 1e-12);
        CHECK_NEAR(relative(g, want, s.net->n), 0, 1e-5);
        CHECK(memcmp(g, want, s.net->n * sizeof(*g)) != 0); /* else there were no groups */
        free(g);
    }
    dnas_net_free(s.net);
    free(want);
}

int main(int argc, char **argv)
{
    gpu_begin(argc, argv);
    RUN(test_wsimclr);
    RUN(test_mimix_at_the_embedding);
    RUN(test_mimix_before_layer_2);
    RUN(test_dropout_and_frozen_layers);
    RUN(test_masked_tokens);
    RUN(test_masked_tokens_beside_the_cpu);
    RUN(test_bf16);
    RUN(test_parameters_in_bf16);
    RUN(test_masked_tokens_in_bf16);
    RUN(test_little_memory);
    RUN(test_little_memory_for_mixing);
    dnas_gpu_close(&gpu);
    return check_done();
}
