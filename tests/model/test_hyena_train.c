/* SPDX-License-Identifier: MIT
 *
 * test_hyena_train.c - gradients and steps of HyenaDNA's network, against PyTorch's
 * autograd (make_hyena.py) and differences of losses.
 */
#include "common/hyena.h"
#include "common/hyena_net.h"
#include "common/rng.h"
#include "common/train_step.h"
#include "tests/unit/numbers.h"

#define GOLDEN "tests/data/golden/hyena_tiny"
#include "tests/model/golden.h"

#define NUMBERS "tests/data/training/hyena.txt"
#define C 48
#define L 3
#define PAIRS 5
#define MAX_T 40
#define SHOWN 24

static struct dnas_net *golden_net(size_t P)
{
    const struct dnas_net_heads heads = {.P = P};
    struct dnas_network *n = golden_open(DNAS_PRECISION_F32);
    struct dnas_net *net;

    net = dnas_net_new(&dnas_hyena, &n->shape, n, &heads);
    dnas_net_init(net, 1, false);
    dnas_net_copy(net, n);
    dnas_network_close(n);
    return net;
}

/* Adds the gradient of sum out[t,c] cos(0.37 (48 t + c)) and returns that sum. */
static double one_sequence(struct dnas_tape *tape, const char *name, size_t T)
{
    const struct dnas_dropout none = {0};
    const struct dnas_net_order alone = {0};
    double *numbers = numbers_read(NUMBERS, name, T), loss = 0;
    uint16_t *ids = dnas_xalloc(T, sizeof(*ids));
    float *dx = dnas_xalloc64(T * C, sizeof(*dx));
    const float *out;

    for (size_t t = 0; t < T; t++)
        ids[t] = (uint16_t)numbers[t];
    dnas_tape_embed(tape, ids, T, &none);
    out = dnas_tape_forward(tape, 0, L, T, &none);
    for (size_t i = 0; i < T * C; i++) {
        dx[i] = (float)cos(0.37 * (double)i);
        loss += (double)out[i] * cos(0.37 * (double)i);
    }
    dnas_tape_backward(tape, dx, 0, L, T, &none, &alone);
    dnas_tape_backward_embed(tape, dx, ids, T, false, &none, &alone);
    free(numbers);
    free(ids);
    free(dx);
    return loss;
}

/* Of a tensor: the norm, and every stride-th element as the script took them. */
static void compare_gradient(const struct dnas_net *net, const struct dnas_net_tensor *t)
{
    size_t n = t->tensor.n, stride = (n + SHOWN - 1) / SHOWN, shown = (n + stride - 1) / stride;
    const float *g = net->g + t->at;
    double *want, norm = 0, diff = 0, size = 0;

    for (size_t i = 0; i < n; i++)
        norm += (double)g[i] * (double)g[i];
    if (strstr(t->tensor.name, "deltas")) {
        CHECK_NEAR(norm, 0, 0);
        return;
    }
    want = numbers_read(NUMBERS, t->tensor.name, 1 + shown);
    for (size_t i = 0; i < shown; i++) {
        double d = (double)g[i * stride] - want[1 + i];

        diff += d * d;
        size += want[1 + i] * want[1 + i];
    }
    if (!(fabs(sqrt(norm) - want[0]) <= 1e-4 * want[0]))
        CHECK_FAIL("%s: norm %g, not %g", t->tensor.name, sqrt(norm), want[0]);
    if (!(sqrt(diff) <= 1e-4 * sqrt(size)))
        CHECK_FAIL("%s: relative error %g", t->tensor.name, sqrt(diff / size));
    free(want);
}

static void test_gradients(void)
{
    struct dnas_net *net = golden_net(0);
    struct dnas_tape *tape = dnas_tape_new(net, 70, true);
    double loss = one_sequence(tape, "ids0", 70), *want = numbers_read(NUMBERS, "loss", 1);

    loss += one_sequence(tape, "ids1", 33); /* adds, in the room of a longer one */
    CHECK_NEAR(loss, want[0], 1e-5 * fabs(want[0]));
    for (size_t i = 0; i < net->n_tensors; i++)
        compare_gradient(net, &net->tensors[i]);
    free(want);
    dnas_tape_free(tape);
    dnas_net_free(net);
}

/* The network that is trained is the one that is run; without backward, too. */
static void test_same_as_opened(void)
{
    static const uint16_t ids[9] = {7, 8, 9, 10, 11, 7, 7, 10, 1};
    const struct dnas_dropout none = {0};
    struct dnas_err err = {""};
    struct dnas_network *n = dnas_network_open(GOLDEN, DNAS_PRECISION_F32, &err);
    struct dnas_network_run *run = dnas_network_run_new(n);
    struct dnas_net *net = golden_net(0);
    const float *want = dnas_network_forward(run, ids, 9, 1);

    for (int backward = 0; backward < 2; backward++) {
        struct dnas_tape *tape = dnas_tape_new(net, 20, backward);
        const float *got;

        dnas_tape_embed(tape, ids, 9, &none);
        got = dnas_tape_forward(tape, 0, L, 9, &none);
        for (size_t i = 0; i < 9 * C; i++)
            CHECK_NEAR(got[i], want[i], 1e-5);
        dnas_tape_free(tape);
    }
    dnas_net_free(net);
    dnas_network_run_free(run);
    dnas_network_close(n);
}

/* ---- steps ---- */

struct setting {
    struct dnas_net *net;
    struct dnas_step *step;
    uint16_t tokens[2 * PAIRS][MAX_T];
    const uint16_t *ids[2 * PAIRS];
    size_t T[2 * PAIRS];
    struct dnas_step_batch batch;
};

static const struct dnas_step_options plain = {
    .mix_group = PAIRS, .temperature = 0.2, .seed = 1, .n_threads = 1};

static const uint32_t perm[PAIRS] = {2, 0, 4, 3, 1}, label[PAIRS] = {0, 1, 0, 2, 3};
static const float lambda[PAIRS] = {0.3f, 0.9f, 0.5f, 1, 0.05f};

static void set_up(struct setting *s, struct dnas_step_options o)
{
    struct dnas_rng rng;

    s->net = golden_net(16);
    for (size_t i = 0; i < 2 * PAIRS; i++) {
        dnas_rng_init(&rng, 4, DNAS_RNG_TEST, 0, (uint32_t)i);
        s->T[i] = i == 3 ? 1 : MAX_T - 3 * i;
        s->ids[i] = s->tokens[i];
        for (size_t t = 0; t < s->T[i]; t++)
            s->tokens[i][t] = (uint16_t)(7 + dnas_rng_below(&rng, 4));
    }
    s->batch = (struct dnas_step_batch){.B = PAIRS, .ids = s->ids, .T = s->T};
    o.max_pairs = PAIRS;
    o.max_T = MAX_T;
    s->step = dnas_step_new(s->net, &o);
}

static void tear_down(struct setting *s)
{
    dnas_step_free(s->step);
    dnas_net_free(s->net);
}

/* layer -1: Weighted SimCLR; -2: supervised; else mixed before it. */
static double run(struct setting *s, int layer, uint32_t number)
{
    const struct dnas_step_mix mix = {(size_t)layer, perm, lambda};
    struct dnas_err err = {""};
    double loss = NAN;
    int status;

    s->batch.label = layer == -2 ? label : NULL;
    status = layer == -2   ? dnas_step_supcon(s->step, &loss, &s->batch, number, &err)
             : layer == -1 ? dnas_step_wsimclr(s->step, &loss, &s->batch, number, &err)
                           : dnas_step_mixed(s->step, &loss, &s->batch, &mix, number, &err);
    if (status != 0)
        CHECK_FAIL("%s", err.msg);
    return loss;
}

/* Sines of frequency 10 bend too soon for differences in f32; autograd has seen them. */
static bool is_of_filter(const struct dnas_net_tensor *t)
{
    return strstr(t->tensor.name, "implicit_filter") || strstr(t->tensor.name, "deltas");
}

/* The gradient along a random direction against the difference of losses. */
static void check_direction(struct setting *s, int layer)
{
    size_t n = s->net->n;
    float *kept = dnas_xalloc(n, sizeof(*kept)), *direction = dnas_xzalloc(n, sizeof(*direction));
    double slope = 0, above, below, h = 3e-3;
    struct dnas_rng rng;

    dnas_rng_init(&rng, 2, DNAS_RNG_TEST, 0, (uint32_t)layer);
    run(s, layer, 7);
    memcpy(kept, s->net->w, n * sizeof(*kept));
    for (size_t k = 0; k < s->net->n_tensors; k++) {
        const struct dnas_net_tensor *t = &s->net->tensors[k];

        for (size_t i = 0; i < t->tensor.n && !is_of_filter(t); i++)
            direction[t->at + i] = (float)(0.01 * dnas_rng_normal(&rng));
    }
    for (size_t i = 0; i < n; i++)
        slope += (double)s->net->g[i] * (double)direction[i];
    for (size_t i = 0; i < n; i++)
        s->net->w[i] = kept[i] + (float)h * direction[i];
    above = run(s, layer, 7);
    for (size_t i = 0; i < n; i++)
        s->net->w[i] = kept[i] - (float)h * direction[i];
    below = run(s, layer, 7);
    CHECK(fabs(slope) > 1e-3);
    CHECK_NEAR((above - below) / (2 * h), slope, 2e-2 * fabs(slope) + 1e-3);
    memcpy(s->net->w, kept, n * sizeof(*kept));
    free(kept);
    free(direction);
}

static void test_differences(void)
{
    for (int layer = -2; layer < L; layer++) {
        struct dnas_step_options o = plain;
        struct setting s;

        o.dropout = layer % 2 ? 0 : 0.1;
        set_up(&s, o);
        check_direction(&s, layer);
        tear_down(&s);
    }
}

/* The same bytes for any number of threads, mixed or not, with dropout. */
static void test_threads(void)
{
    for (int layer = -1; layer < L; layer += 2) {
        float *want = NULL;
        double first = 0;

        for (int threads = 1; threads <= 4; threads += 3) {
            struct dnas_step_options o = plain;
            struct setting s;
            double loss;

            o.dropout = 0.1;
            o.n_threads = threads;
            set_up(&s, o);
            loss = run(&s, layer, 3);
            if (!want) {
                first = loss;
                want = dnas_xalloc(s.net->n, sizeof(*want));
                memcpy(want, s.net->g, s.net->n * sizeof(*want));
            }
            CHECK(memcmp(&loss, &first, sizeof(loss)) == 0);
            CHECK(memcmp(want, s.net->g, s.net->n * sizeof(*want)) == 0);
            tear_down(&s);
        }
        free(want);
    }
}

/* Frozen layers have no gradient, and what is above them has the same one. */
static void test_frozen_layers(void)
{
    struct dnas_step_options o = plain;
    struct setting all, some;

    set_up(&all, o);
    o.n_frozen = 2;
    set_up(&some, o);
    run(&all, -1, 0);
    run(&some, -1, 0);
    for (size_t k = 0; k < all.net->n_tensors; k++) {
        const struct dnas_net_tensor *t = &all.net->tensors[k];
        bool frozen = t->tensor.layer == L || t->tensor.layer == 0;

        for (size_t i = t->at; i < t->at + t->tensor.n; i++)
            if (some.net->g[i] != (frozen ? 0 : all.net->g[i])) {
                CHECK_FAIL("%s: a gradient of %g", t->tensor.name, (double)some.net->g[i]);
                break;
            }
    }
    tear_down(&all);
    tear_down(&some);
}

/* Steps down the gradient from a network as it is drawn. */
static void test_loss_goes_down(void)
{
    struct setting s;
    double first, last = 0;

    set_up(&s, plain);
    dnas_net_init(s.net, 3, true);
    CHECK(dnas_net_not_finite(s.net, s.net->w) == NULL);
    first = run(&s, -1, 0);
    for (int step = 0; step < 20; step++) {
        for (size_t i = 0; i < s.net->n; i++)
            s.net->w[i] -= 0.02f * s.net->g[i];
        last = run(&s, -1, 0);
    }
    if (!(last < first - 0.2))
        CHECK_FAIL("the loss went from %g to %g", first, last);
    tear_down(&s);
}

/* As the original code draws them: variances, and what is not drawn. */
static void test_init(void)
{
    struct dnas_net *net = golden_net(0);
    const struct dnas_hyena_layer *y = &dnas_hyena_net_of(net)->view.layers[1];
    double sum[3] = {0};

    dnas_net_init(net, 5, true);
    for (size_t i = 0; i < 9 * C; i++)
        sum[0] += (double)y->short_w[i] * (double)y->short_w[i] / (9 * C);
    for (size_t i = 0; i < C * C; i++) {
        sum[1] += (double)y->out_w[i] * (double)y->out_w[i] / (C * C);
        sum[2] += (double)y->in_w[i] * (double)y->in_w[i] / (C * C);
    }
    CHECK_NEAR(sum[0], 1.0 / 9, 0.02); /* uniform on +-1/sqrt 3: 5 standard deviations */
    CHECK_NEAR(sqrt(sum[1]), 0.02 / sqrt(6), 0.001);
    CHECK_NEAR(sqrt(sum[2]), 0.02, 0.002);
    CHECK_NEAR(y->freq[3], 10, 0);
    CHECK_NEAR(y->delta[0], log(0.01) / 1.5, 1e-6);
    CHECK_NEAR(y->delta[C - 1], log(0.01) / 0.3, 1e-5);
    CHECK_NEAR(y->norm1_w[0], 1, 0);
    dnas_net_free(net);
}

int main(void)
{
    RUN(test_gradients);
    RUN(test_same_as_opened);
    RUN(test_differences);
    RUN(test_threads);
    RUN(test_frozen_layers);
    RUN(test_loss_goes_down);
    RUN(test_init);
    return check_done();
}
