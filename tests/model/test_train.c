/* SPDX-License-Identifier: MIT
 *
 * test_train.c - gradients and steps of the network against numbers from the
 * original code.
 *
 * tests/data/golden/dnabert2_tiny/README.md says how they were made.
 */
#include "tests/model/tiny_train.h"

#include "common/bert_net.h"
#include "common/rng.h"
#include "common/tape.h"
#include "kernels/kernels.h"

static void set_up_in(struct setting *s, struct dnas_step_options o, bool bf16)
{
    load_setting(s);
    o.max_pairs = PAIRS;
    o.max_T = TOKENS;
    if (bf16)
        dnas_net_use_bf16(s->net);
    s->step = dnas_step_new(s->net, &o);
}

static void set_up(struct setting *s, struct dnas_step_options o)
{
    set_up_in(s, o, false);
}

static void tear_down(struct setting *s)
{
    dnas_step_free(s->step);
    dnas_net_free(s->net);
}

/* PyTorch's Adam (Kingma and Ba 2015), in double: rate 3e-4, the head's 3e-2. */
static void adam(const struct dnas_net *net, double *m, double *v, int t)
{
    for (size_t k = 0; k < net->n_tensors; k++) {
        const struct dnas_net_tensor *y = &net->tensors[k];
        double rate = y->part == DNAS_NET_HEAD ? 3e-2 : 3e-4;

        for (size_t i = y->at; i < y->at + y->tensor.n; i++) {
            double g = (double)net->g[i];

            m[i] = 0.9 * m[i] + 0.1 * g;
            v[i] = 0.999 * v[i] + 0.001 * g * g;
            net->w[i] -= (float)(rate * (m[i] / (1 - pow(0.9, t))) /
                                 (sqrt(v[i] / (1 - pow(0.999, t))) + 1e-8));
        }
    }
}

static void check_variant(const char *variant, int layer)
{
    struct setting s;
    double *m, *v;

    set_up(&s, plain);
    m = dnas_xzalloc(s.net->n, sizeof(*m));
    v = dnas_xzalloc(s.net->n, sizeof(*v));
    for (int step = 0; step < 3; step++) {
        const char *const names[3] = {"loss_step0", "loss_step1", "loss_step2"};
        double loss = run(&s, layer, (uint32_t)step);

        /* Adam divides small gradients by themselves: rounding grows from step to step. */
        CHECK_NEAR(loss, golden_number(variant, names[step]), step == 0 ? 1e-5 : 2e-3);
        if (step == 0) {
            compare_rows(&s, variant);
            compare_gradients(&s, variant);
        }
        adam(s.net, m, v, step + 1);
    }
    compare_after(&s, variant, "wqkv0", dnas_bert_net_of(s.net)->view.layers[0].qkv_w);
    compare_after(&s, variant, "head2", s.net->head2);
    free(m);
    free(v);
    tear_down(&s);
}

static void test_wsimclr(void)
{
    check_variant("wsimclr", -1);
}

static void test_mimix_at_the_embedding(void)
{
    check_variant("mimix_l0", 0);
}

static void test_mimix_before_layer_2(void)
{
    check_variant("mimix_l2", 2);
}

/* The gradient along a random direction against the difference of losses; here
 * with dropout, other lengths of the groups, and all heads. */
static void check_direction(struct setting *s, int layer, double tolerance)
{
    size_t n = s->net->n;
    float *kept = dnas_xalloc(n, sizeof(*kept)), *direction = dnas_xzalloc(n, sizeof(*direction));
    double slope = 0, above, below, h = 2e-3;
    struct dnas_rng rng;

    dnas_rng_init(&rng, 2, DNAS_RNG_TEST, 0, (uint32_t)layer);
    run(s, layer, 7);
    memcpy(kept, s->net->w, n * sizeof(*kept));
    for (size_t k = 0; k < s->net->n_tensors; k++)
        for (size_t i = 0; i < s->net->tensors[k].tensor.n; i++)
            direction[s->net->tensors[k].at + i] = (float)(0.02 * dnas_rng_normal(&rng));
    for (size_t i = 0; i < n; i++)
        slope += (double)s->net->g[i] * (double)direction[i];
    for (size_t i = 0; i < n; i++)
        s->net->w[i] = kept[i] + (float)h * direction[i];
    above = run(s, layer, 7);
    for (size_t i = 0; i < n; i++)
        s->net->w[i] = kept[i] - (float)h * direction[i];
    below = run(s, layer, 7);
    CHECK(fabs(slope) > 0.01);
    CHECK_NEAR((above - below) / (2 * h), slope, tolerance * (1 + fabs(slope)));
    memcpy(s->net->w, kept, n * sizeof(*kept));
    free(kept);
    free(direction);
}

static void test_differences_with_dropout(void)
{
    for (int layer = -1; layer < 3; layer++) {
        struct dnas_step_options o = plain;
        struct setting s;

        o.freeze_first = false;
        o.dropout = 0.1;
        o.temperature = 0.2;
        set_up(&s, o);
        check_direction(&s, layer, 1e-2);
        tear_down(&s);
    }
}

/* The same bytes for any number of threads, mixed or not, with dropout. */
static void test_threads(void)
{
    for (int layer = -1; layer < 3; layer += 2) {
        struct dnas_step_options o = plain;
        float *want = NULL;
        double first = 0;

        o.dropout = 0.1;
        for (int threads = 1; threads <= 4; threads++) {
            struct setting s;
            double loss;

            o.n_threads = threads;
            set_up(&s, o);
            loss = run(&s, layer, 3);
            if (threads == 1) {
                want = dnas_xalloc(s.net->n, sizeof(*want));
                memcpy(want, s.net->g, s.net->n * sizeof(*want));
                first = loss;
            }
            CHECK(memcmp(&loss, &first, sizeof(loss)) == 0);
            CHECK(memcmp(s.net->g, want, s.net->n * sizeof(*want)) == 0);
            tear_down(&s);
        }
        free(want);
    }
}

/* n numbers that bf16 has exactly. */
static float *draw_bf16(size_t n, uint32_t row)
{
    float *x = dnas_xalloc(n, sizeof(*x));
    struct dnas_rng rng;

    dnas_rng_init(&rng, 1, DNAS_RNG_TEST, 0, row);
    for (size_t i = 0; i < n; i++)
        x[i] = (float)((double)dnas_rng_below(&rng, 255) - 127) / 64;
    return x;
}

/* On such numbers the products of bf16 are those of f32, over any number of rows. */
static void test_products_of_bf16(void)
{
    enum { N = 1100, O = 96, I = 96 };
    const struct dnas_shape shape = {1, I, 2, 8, 4, 0, 1e-12f};
    const struct dnas_net_heads heads = {0};
    struct dnas_net *nets[2];
    float *out[2], *dx[2], *y = draw_bf16(N * I, 1), *dout = draw_bf16(N * O, 2);
    float *w = draw_bf16(O * I, 3);
    struct dnas_err err = {""};

    for (int k = 0; k < 2 && dnas_check_bf16(&err) == 0; k++) {
        const float *to;
        struct dnas_tape *t;

        nets[k] = dnas_net_new(&dnas_bert, &shape, NULL, &heads);
        to = dnas_bert_net_of(nets[k])->view.layers[0].out_w;
        memcpy((float *)to, w, O * I * sizeof(*w));
        if (k == 1)
            dnas_net_use_bf16(nets[k]);
        t = dnas_tape_new(nets[k], 1, true);
        out[k] = dnas_xalloc(N * O, sizeof(float));
        dx[k] = dnas_xalloc(N * I, sizeof(float));
        dnas_tape_product(t, out[k], y, to, dnas_bert_net_of(nets[k])->view.layers[0].out_b, dout,
                          N, O, I);
        dnas_tape_product_bwd(t, dx[k], dout, to, y, N, O, I);
        dnas_tape_product_bwd_weight(t, to, dnas_bert_net_of(nets[k])->view.layers[0].out_b, dout,
                                     y, N, O, I);
        CHECK_INT(t->flop, 3 * 2 * (uint64_t)N * O * I);
        dnas_tape_free(t);
    }
    if (dnas_check_bf16(&err) == 0) {
        CHECK_NEAR(relative(out[1], out[0], N * O), 0, 1e-6);
        CHECK_NEAR(relative(dx[1], dx[0], N * I), 0, 1e-6);
        CHECK_NEAR(relative(nets[1]->g, nets[0]->g, nets[0]->n), 0, 1e-6);
        for (int k = 0; k < 2; k++) {
            free(out[k]);
            free(dx[k]);
            dnas_net_free(nets[k]);
        }
    } else {
        check_skipped_here = "oneDNN multiplies no bf16 on this processor";
    }
    free(y);
    free(dout);
    free(w);
}

/* bf16 rounds operands to 8 bits; the gradient of a contrastive loss is a small
 * difference of rows, which magnifies that: each tensor's is 10 % off at most, all
 * of them 5 %.  The bytes do not depend on the threads. */
static void test_bf16(void)
{
    struct dnas_err err = {""};

    if (dnas_check_bf16(&err) != 0)
        SKIP("oneDNN multiplies no bf16 on this processor");
    for (int layer = -1; layer < 3; layer += 2) {
        struct dnas_step_options o = plain;
        struct setting exact, s, threads;
        double loss, rounded;

        o.dropout = 0.1;
        set_up(&exact, o);
        set_up_in(&s, o, true);
        o.n_threads = 3;
        set_up_in(&threads, o, true);
        loss = run(&exact, layer, 3);
        rounded = run(&s, layer, 3);
        CHECK(run(&threads, layer, 3) == rounded);
        CHECK(memcmp(s.net->g, threads.net->g, s.net->n * sizeof(*s.net->g)) == 0);
        CHECK(rounded != loss); /* else nothing ran in bf16 */
        CHECK_NEAR(rounded, loss, 0.01 * loss);
        CHECK_NEAR(relative(s.net->g, exact.net->g, s.net->n), 0, 0.05);
        for (size_t i = 0; i < s.net->n_tensors; i++) {
            const struct dnas_net_tensor *t = &s.net->tensors[i];
            double e = relative(s.net->g + t->at, exact.net->g + t->at, t->tensor.n);

            if (!(e <= 0.1))
                CHECK_FAIL("%s: relative error %g", t->tensor.name, e);
        }
        tear_down(&exact);
        tear_down(&s);
        tear_down(&threads);
    }
}

/* Rows mixed within groups give what they give in one. */
static void test_mix_groups(void)
{
    static const uint32_t perm[PAIRS] = {1, 0, 3, 2, 4};
    struct setting one, groups;
    struct dnas_step_options o = plain;
    double a, b;

    set_up(&one, plain);
    o.mix_group = 2;
    set_up(&groups, o);
    memcpy(one.perm, perm, sizeof(perm));
    memcpy(groups.perm, perm, sizeof(perm));
    a = run(&one, 1, 0);
    b = run(&groups, 1, 0);
    CHECK(memcmp(&a, &b, sizeof(a)) == 0);
    CHECK_NEAR(relative(groups.net->g, one.net->g, one.net->n), 0, 1e-5);
    tear_down(&one);
    tear_down(&groups);
}

/* What is frozen has no gradient, and what is not has the same. */
static void test_frozen_layers(void)
{
    for (int layer = -1; layer < 3; layer++) {
        struct setting all, some;
        struct dnas_step_options o = plain;
        double a, b;

        set_up(&all, plain);
        o.n_frozen = 2; /* the embedding and layer 0 */
        set_up(&some, o);
        a = run(&all, layer, 0);
        b = run(&some, layer, 0);
        CHECK(memcmp(&a, &b, sizeof(a)) == 0);
        for (size_t k = 0; k < all.net->n_tensors; k++) {
            const struct dnas_net_tensor *t = &all.net->tensors[k];
            bool frozen =
                t->part == DNAS_NET_ENCODER && (t->tensor.layer == 3 || t->tensor.layer == 0);

            for (size_t i = t->at; frozen && i < t->at + t->tensor.n; i++)
                if (some.net->g[i] != 0) {
                    CHECK_FAIL("%s has a gradient", t->tensor.name);
                    break;
                }
            if (!frozen)
                CHECK(memcmp(some.net->g + t->at, all.net->g + t->at,
                             t->tensor.n * sizeof(float)) == 0);
        }
        tear_down(&all);
        tear_down(&some);
    }
}

static void test_losses_without_gradients(void)
{
    struct dnas_step_options o = plain;
    struct dnas_err err = {""};
    struct setting s;
    double loss = NAN;

    o.dropout = 0.3;
    set_up(&s, o);
    for (size_t i = 0; i < s.net->n; i++)
        s.net->g[i] = 7;
    CHECK_INT(dnas_step_loss_wsimclr(s.step, &loss, &s.batch, &err), 0);
    CHECK_NEAR(loss, golden_number("wsimclr", "loss_step0"), 1e-5);
    CHECK(s.net->g[0] == 7 && s.net->g[s.net->n - 1] == 7);
    CHECK(fabs(run(&s, -1, 0) - loss) > 1e-3); /* there dropout acts */
    tear_down(&s);
}

/* Two pairs of one species and nothing else: no anchor has a negative. */
static void test_no_negatives(void)
{
    static const uint32_t label[2] = {4, 4};
    struct setting s;
    struct dnas_err err = {""};
    double loss;

    set_up(&s, plain);
    s.batch.B = 2;
    s.batch.label = label;
    CHECK_INT(dnas_step_wsimclr(s.step, &loss, &s.batch, 0, &err), -1);
    CHECK(strlen(err.msg) > 0);
    tear_down(&s);
}

/* ---- masked tokens ---- */

static void set_up_masked(struct masked *s, int n_threads, double dropout)
{
    const struct dnas_step_options o = {
        .max_pairs = 2, .max_T = MASKED_TOKENS, .dropout = dropout, .n_threads = n_threads};

    load_all_masked(s);
    s->step = dnas_step_new(s->net, &o);
}

static void tear_down_masked(struct masked *s)
{
    for (size_t i = 0; i < 3; i++)
        free(s->at[i]);
    dnas_step_free(s->step);
    dnas_net_free(s->net);
}

static void test_masked_tokens(void)
{
    double *want = numbers_read(MASKED, "loss", 1), loss = NAN;
    struct dnas_err err = {""};
    struct masked s;

    set_up_masked(&s, 1, 0);
    CHECK_INT(dnas_step_mlm(s.step, &loss, &s.batch, s.guess, 0, &err), 0);
    CHECK_NEAR(loss, *want, 1e-5);
    for (size_t i = 0; i < s.net->n_tensors; i++)
        compare_tensor(s.net, &s.net->tensors[i]);
    compare_part(s.net, "all:cls.predictions.decoder.bias", "cls.predictions.decoder.bias", 0, 256);
    compare_part(s.net, "row17:cls.predictions.transform.dense.weight",
                 "cls.predictions.transform.dense.weight", 17 * 96, 96);
    compare_part(s.net, "row4:embeddings.word_embeddings.weight",
                 "embeddings.word_embeddings.weight", 4 * 96, 96);
    compare_part(s.net, "row0:embeddings.word_embeddings.weight",
                 "embeddings.word_embeddings.weight", 0, 96);
    s.net->g[0] = 7;
    CHECK_INT(dnas_step_loss_mlm(s.step, &loss, &s.batch, s.guess, &err), 0);
    CHECK_NEAR(loss, *want, 1e-5);
    CHECK(s.net->g[0] == 7);
    for (size_t i = 0; i < 4; i++)
        s.guess[i].n = 0;
    CHECK_INT(dnas_step_mlm(s.step, &loss, &s.batch, s.guess, 0, &err), -1);
    tear_down_masked(&s);
    free(want);
}

static void test_masked_tokens_on_threads(void)
{
    float *want = NULL;

    for (int threads = 1; threads <= 3; threads++) {
        struct dnas_err err = {""};
        struct masked s;
        double loss;

        set_up_masked(&s, threads, 0.1);
        CHECK_INT(dnas_step_mlm(s.step, &loss, &s.batch, s.guess, 5, &err), 0);
        if (!want) {
            want = dnas_xalloc(s.net->n, sizeof(*want));
            memcpy(want, s.net->g, s.net->n * sizeof(*want));
        }
        CHECK(memcmp(s.net->g, want, s.net->n * sizeof(*want)) == 0);
        tear_down_masked(&s);
    }
    free(want);
}

int main(void)
{
    RUN(test_masked_tokens);
    RUN(test_masked_tokens_on_threads);
    RUN(test_wsimclr);
    RUN(test_mimix_at_the_embedding);
    RUN(test_mimix_before_layer_2);
    RUN(test_differences_with_dropout);
    RUN(test_threads);
    RUN(test_products_of_bf16);
    RUN(test_bf16);
    RUN(test_mix_groups);
    RUN(test_frozen_layers);
    RUN(test_losses_without_gradients);
    RUN(test_no_negatives);
    return check_done();
}
