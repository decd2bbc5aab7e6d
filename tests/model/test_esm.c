/* SPDX-License-Identifier: MIT
 *
 * test_esm.c - Nucleotide Transformer's network against numbers from Hugging
 * Face's code.
 *
 * tests/data/golden/nt_tiny/README.md says how they were made.
 */
#include "common/backbone.h"
#include "common/net_save.h"
#include "common/rng.h"
#include "common/train_step.h"
#include "kernels/kernels.h"

#define GOLDEN "tests/data/golden/nt_tiny"
#define HIDDEN "hidden"
#include "tests/model/golden.h"

enum { N_ROWS = 5, N_SHORT = 4, C = 24, V = 27, T_MAX = 2048 };

static void test_golden(void)
{
    struct dnas_network *n = golden_open(DNAS_PRECISION_F32);
    struct dnas_network_run *run = dnas_network_run_new(n);
    size_t at = 0;
    struct golden g;

    CHECK_STR(n->backbone->name, "esm");
    CHECK_INT(dnas_network_dims(n), C);
    golden_load(&g, HIDDEN);
    for (size_t row = 0; row < N_ROWS; row++) {
        uint16_t ids[T_MAX];
        size_t T = golden_ids(ids, &g, row);
        const float *x = dnas_network_forward(run, ids, T, 1);
        double mean[C], embedding[C], worst = 0;

        for (size_t i = 0; row < N_SHORT && i < T * C; i++) {
            double d = fabs((double)x[i] - (double)g.hidden.f32[at + i]);

            if (!(d <= worst))
                worst = d;
        }
        at += T * C;
        CHECK_NEAR(worst, 0, 2e-5); /* of values up to 6 */
        dnas_cpu_meanpool_fwd(mean, x, T, C);
        dnas_network_embedding(n, embedding, mean);
        CHECK_NEAR(relative_error(embedding, g.embedding.f64 + row * C, C), 0, 2e-6);
    }
    golden_release(&g);
    dnas_network_run_free(run);
    dnas_network_close(n);
}

static void test_logits(void)
{
    struct dnas_network *n = golden_open(DNAS_PRECISION_F32);
    struct dnas_network_run *run;
    struct dnas_err err = {""};
    struct dnas_npy want = npz_read(GOLDEN "/forward.npz", "logits_f64", DNAS_NPY_AS_F64);
    struct golden g;

    CHECK_INT(dnas_network_set_output(n, DNAS_OUTPUT_LOGITS, &err), 0);
    CHECK_STR(err.msg, "");
    CHECK_INT(dnas_network_dims(n), V);
    run = dnas_network_run_new(n);
    golden_load(&g, HIDDEN);
    for (size_t row = 0; row < N_ROWS; row++) {
        uint16_t ids[T_MAX];
        size_t T = golden_ids(ids, &g, row);
        double mean[C], logits[V];

        dnas_cpu_meanpool_fwd(mean, dnas_network_forward(run, ids, T, 1), T, C);
        dnas_network_embedding(n, logits, mean);
        CHECK_NEAR(relative_error(logits, want.f64 + row * V, V), 0, 2e-6);
    }
    dnas_npy_release(&want);
    golden_release(&g);
    dnas_network_run_free(run);
    dnas_network_close(n);
}

static void test_same_bytes_in_any_order(void)
{
    golden_same_bytes_in_any_order(HIDDEN);
}

/* bf16 keeps about three digits. */
static void test_bf16(void)
{
    struct dnas_err err = {""};
    struct dnas_network *n;
    struct dnas_network_run *run;
    struct golden g;

    if (dnas_check_bf16(&err) != 0)
        SKIP("oneDNN multiplies no bf16 on this processor");
    n = golden_open(DNAS_PRECISION_BF16);
    run = dnas_network_run_new(n);
    golden_load(&g, HIDDEN);
    for (size_t row = 0; row < N_ROWS; row++) {
        uint16_t ids[T_MAX];
        size_t T = golden_ids(ids, &g, row);
        double mean[C], e;

        dnas_cpu_meanpool_fwd(mean, dnas_network_forward(run, ids, T, 1), T, C);
        e = relative_error(mean, g.embedding.f64 + row * C, C);
        CHECK_NEAR(e, 0, 0.03);
        CHECK(e > 1e-5); /* it is another product */
    }
    golden_release(&g);
    dnas_network_run_free(run);
    dnas_network_close(n);
}

/* ---- training ---- */

static const struct dnas_dropout none = {0};
static const struct dnas_net_order alone = {0};

static struct dnas_net *net_of(struct dnas_network *n)
{
    const struct dnas_net_heads heads = {0};
    struct dnas_net *net = dnas_net_new(n->backbone, &n->shape, n, &heads);

    dnas_net_init(net, 1, true);
    dnas_net_copy(net, n);
    return net;
}

/* The tape runs the network that is opened. */
static void test_tape_forward(void)
{
    struct dnas_network *n = golden_open(DNAS_PRECISION_F32);
    struct dnas_network_run *run = dnas_network_run_new(n);
    struct dnas_net *net = net_of(n);
    struct golden g;

    golden_load(&g, HIDDEN);
    for (int with_backward = 0; with_backward < 2; with_backward++) {
        struct dnas_tape *t = dnas_tape_new(net, T_MAX, with_backward != 0);

        for (size_t row = 0; row < N_ROWS; row++) {
            uint16_t ids[T_MAX];
            size_t T = golden_ids(ids, &g, row);
            const float *want = dnas_network_forward(run, ids, T, 1), *got;

            dnas_tape_embed(t, ids, T, &none);
            dnas_tape_forward(t, 0, 1, T, &none); /* in two goes, as mixing does it */
            got = dnas_tape_forward(t, 1, 3, T, &none);
            for (size_t i = 0; i < T * C; i++)
                CHECK_NEAR(got[i], want[i], 2e-5);
        }
        dnas_tape_free(t);
    }
    golden_release(&g);
    dnas_net_free(net);
    dnas_network_run_free(run);
    dnas_network_close(n);
}

/* Gradients of all parameters, to 1e-5 of the largest of each tensor. */
static void compare_gradients(const struct dnas_net *net)
{
    struct dnas_err err = {""};
    struct dnas_weights *w = dnas_weights_open(GOLDEN "/gradients.safetensors", &err);
    size_t n_compared = 0;

    CHECK(w != NULL);
    for (size_t i = 0; w && i < net->n_tensors; i++) {
        const struct dnas_layout_tensor *t = &net->tensors[i].tensor;
        const struct dnas_tensor *x = dnas_weights_find(w, "", t->name);
        const float *want = x ? dnas_tensor_f32(w, x, &err) : NULL;
        const float *got = net->g + net->tensors[i].at;
        double largest = 0, worst = 0;

        CHECK(want != NULL && x->n_elements == t->n);
        for (size_t k = 0; want && k < t->n; k++) {
            double d = fabs((double)got[k] - (double)want[k]);

            largest = fabs((double)want[k]) > largest ? fabs((double)want[k]) : largest;
            if (!(d <= worst))
                worst = d;
        }
        if (!(largest > 0 && worst <= 1e-5 * largest))
            CHECK_FAIL("%s: %g of %g", t->name, worst, largest);
        n_compared++;
    }
    CHECK_INT(n_compared, 1 + 3 * 14 + 2);
    dnas_weights_close(w);
}

static void test_gradients(void)
{
    struct dnas_network *n = golden_open(DNAS_PRECISION_F32);
    struct dnas_net *net = net_of(n);
    struct dnas_tape *t = dnas_tape_new(net, 129, true);
    float *dx = dnas_xalloc((size_t)129 * C, sizeof(*dx));
    struct golden g;

    golden_load(&g, HIDDEN);
    for (size_t row = 0; row < N_SHORT; row++) {
        uint16_t ids[T_MAX];
        size_t T = golden_ids(ids, &g, row);

        for (size_t i = 0; i < T * C; i++)
            dx[i] = (float)(sin(1 + 0.37 * (double)(i / C) + 1.3 * (double)(i % C)) / (double)T);
        dnas_tape_embed(t, ids, T, &none);
        dnas_tape_forward(t, 0, 3, T, &none);
        dnas_tape_backward(t, dx, 1, 3, T, &none, &alone);
        dnas_tape_backward(t, dx, 0, 1, T, &none, &alone);
        dnas_tape_backward_embed(t, dx, ids, T, false, &none, &alone);
    }
    compare_gradients(net);
    golden_release(&g);
    free(dx);
    dnas_tape_free(t);
    dnas_net_free(net);
    dnas_network_close(n);
}

static double loss_at(struct dnas_tape *t, const uint16_t *ids, size_t T,
                      const struct dnas_dropout *chance)
{
    const float *x;
    double sum = 0;

    dnas_tape_embed(t, ids, T, chance);
    x = dnas_tape_forward(t, 0, 3, T, chance);
    for (size_t i = 0; i < T * C; i++)
        sum += (double)x[i] * sin((double)i);
    return sum;
}

/* With dropout the gradient is that of the function with these values dropped:
 * along itself the loss rises as its square. */
static void test_gradient_under_dropout(void)
{
    const struct dnas_dropout chance = {.drop = 16384, .step = 3, .row = 1, .seed = 5};
    struct dnas_network *n = golden_open(DNAS_PRECISION_F32);
    struct dnas_net *net = net_of(n);
    struct dnas_tape *t = dnas_tape_new(net, 20, true);
    float dx[20 * C], *kept = dnas_xalloc(net->n, sizeof(*kept));
    uint16_t ids[20];
    double square = 0, above, step;

    for (size_t i = 0; i < 20; i++)
        ids[i] = (uint16_t)(3 + i);
    CHECK(fabs(loss_at(t, ids, 20, &chance) - loss_at(t, ids, 20, &none)) > 0.1);
    loss_at(t, ids, 20, &chance);
    for (size_t i = 0; i < (size_t)20 * C; i++)
        dx[i] = (float)sin((double)i);
    dnas_tape_backward(t, dx, 0, 3, 20, &chance, &alone);
    dnas_tape_backward_embed(t, dx, ids, 20, false, &chance, &alone);
    memcpy(kept, net->w, net->n * sizeof(*kept));
    for (size_t i = 0; i < net->n; i++)
        square += (double)net->g[i] * (double)net->g[i];
    step = 2e-3 / sqrt(square); /* the rest of the series: 6e-4 */
    for (size_t i = 0; i < net->n; i++)
        net->w[i] = kept[i] + (float)(step * (double)net->g[i]);
    above = loss_at(t, ids, 20, &chance);
    for (size_t i = 0; i < net->n; i++)
        net->w[i] = kept[i] - (float)(step * (double)net->g[i]);
    CHECK_NEAR((above - loss_at(t, ids, 20, &chance)) / (2 * step * square), 1, 2e-3);
    free(kept);
    dnas_tape_free(t);
    dnas_net_free(net);
    dnas_network_close(n);
}

/* Gradients of a step of Weighted SimCLR from the golden weights, dropout and all. */
static struct dnas_net *trained_step(double *loss, bool bf16, int n_threads)
{
    enum { B = 4, T = 60 };
    const struct dnas_step_options o = {
        .max_pairs = B, .max_T = T, .temperature = 0.05, .dropout = 0.1, .n_threads = n_threads};
    const struct dnas_net_heads heads = {.P = 16};
    struct dnas_network *n = golden_open(DNAS_PRECISION_F32);
    struct dnas_net *net = dnas_net_new(n->backbone, &n->shape, NULL, &heads);
    uint16_t tokens[2 * B][T];
    const uint16_t *ids[2 * B];
    size_t lengths[2 * B];
    struct dnas_step_batch batch = {B, ids, lengths, NULL};
    struct dnas_err err = {""};
    struct dnas_step *step;
    struct dnas_rng rng;

    dnas_net_init(net, 1, true);
    dnas_net_copy(net, n);
    dnas_network_close(n);
    if (bf16)
        dnas_net_use_bf16(net);
    dnas_rng_init(&rng, 1, DNAS_RNG_TEST, 0, 0);
    for (size_t i = 0; i < 2 * B; i++) {
        ids[i] = tokens[i];
        lengths[i] = T - 3 * i;
        for (size_t t = 0; t < T; t++)
            tokens[i][t] = (uint16_t)(3 + dnas_rng_below(&rng, V - 3));
    }
    step = dnas_step_new(net, &o);
    if (dnas_step_wsimclr(step, loss, &batch, 3, &err) != 0)
        CHECK_FAIL("%s", err.msg);
    dnas_step_free(step);
    return net;
}

/* bf16 rounds operands to 8 bits: the bounds of test_train.c's network.  The bytes do
 * not depend on the threads. */
static void test_training_in_bf16(void)
{
    struct dnas_net *exact, *net, *threads;
    struct dnas_err err = {""};
    double loss, rounded, same, e;

    if (dnas_check_bf16(&err) != 0)
        SKIP("oneDNN multiplies no bf16 on this processor");
    exact = trained_step(&loss, false, 1);
    net = trained_step(&rounded, true, 1);
    threads = trained_step(&same, true, 3);
    CHECK(rounded != loss); /* else nothing ran in bf16 */
    CHECK_NEAR(rounded, loss, 0.01 * loss);
    CHECK(same == rounded);
    CHECK(memcmp(threads->g, net->g, net->n * sizeof(*net->g)) == 0);
    e = relative_error_f32(net->g, exact->g, net->n);
    CHECK_NEAR(e, 0, 0.05);
    for (size_t i = 0; i < net->n_tensors; i++) {
        const struct dnas_net_tensor *t = &net->tensors[i];

        e = relative_error_f32(net->g + t->at, exact->g + t->at, t->tensor.n);
        if (!(e <= 0.1))
            CHECK_FAIL("%s: relative error %g", t->tensor.name, e);
    }
    dnas_net_free(exact);
    dnas_net_free(net);
    dnas_net_free(threads);
}

/* ---- masked tokens ---- */

/* The golden network with a head of its own, and two sequences of T tokens. */
struct masked {
    struct dnas_net *net;
    struct dnas_step *step;
    uint16_t tokens[2][20];
    const uint16_t *ids[2];
    size_t T[2];
    uint32_t at[2][3];
    uint16_t target[2][3];
    struct dnas_step_guess guess[2];
    struct dnas_step_batch batch;
};

static void set_up_masked(struct masked *m, size_t T, size_t n_guesses)
{
    const struct dnas_step_options o = {.max_pairs = 1, .max_T = T, .n_threads = 1};
    const struct dnas_net_heads heads = {.mlm = true};
    struct dnas_network *n = golden_open(DNAS_PRECISION_F32);

    m->net = dnas_net_new(n->backbone, &n->shape, NULL, &heads);
    dnas_net_copy(m->net, n);
    dnas_network_close(n);
    for (size_t i = 0; i < m->net->n_tensors; i++) {
        const struct dnas_net_tensor *t = &m->net->tensors[i];

        for (size_t k = 0; t->part == DNAS_NET_MLM && k < t->tensor.n; k++)
            m->net->w[t->at + k] = (float)(0.4 * sin(1.7 * (double)k + (double)i));
    }
    for (size_t i = 0; i < 2; i++) {
        m->ids[i] = m->tokens[i];
        m->T[i] = T;
        m->guess[i] = (struct dnas_step_guess){m->at[i], m->target[i], n_guesses};
        for (size_t t = 0; t < T; t++)
            m->tokens[i][t] = (uint16_t)(6 + (7 * t + 5 * i) % (V - 6));
        for (size_t k = 0; k < n_guesses; k++) {
            m->at[i][k] = (uint32_t)(T > 1 ? 2 + 6 * k : 0);
            m->target[i][k] = (uint16_t)(8 + 3 * k + i);
            m->tokens[i][m->at[i][k]] = 2; /* <mask> */
        }
    }
    m->batch = (struct dnas_step_batch){.B = 1, .ids = m->ids, .T = m->T};
    m->step = dnas_step_new(m->net, &o);
}

static void tear_down_masked(struct masked *m)
{
    dnas_step_free(m->step);
    dnas_net_free(m->net);
}

static double masked_loss(struct masked *m)
{
    struct dnas_err err = {""};
    double loss = NAN;

    CHECK_INT(dnas_step_loss_mlm(m->step, &loss, &m->batch, m->guess, &err), 0);
    return loss;
}

/* What is saved gives, opened as any published model, the logits that the loss is of. */
static void test_masked_tokens_are_of_the_saved_head(void)
{
    const struct dnas_net_about about = {NULL, NULL};
    const char *path = file_path("masked.safetensors");
    struct dnas_network_run *run;
    struct dnas_network *n;
    struct dnas_err err = {""};
    struct masked m;
    double want = 0;

    set_up_masked(&m, 1, 1);
    CHECK_INT(dnas_net_save(path, m.net, &about, &err), 0);
    n = dnas_network_open(path, DNAS_PRECISION_F32, &err);
    CHECK_STR(err.msg, "");
    CHECK(n != NULL && dnas_network_set_output(n, DNAS_OUTPUT_LOGITS, &err) == 0);
    CHECK_STR(err.msg, "");
    run = dnas_network_run_new(n);
    for (size_t i = 0; i < 2; i++) {
        double mean[C], logits[V], sum = 0;

        dnas_cpu_meanpool_fwd(mean, dnas_network_forward(run, m.ids[i], 1, 1), 1, C);
        dnas_network_embedding(n, logits, mean);
        for (size_t v = 0; v < V; v++)
            sum += exp(logits[v]);
        want += (log(sum) - logits[m.target[i][0]]) / 2;
    }
    CHECK_NEAR(masked_loss(&m), want, 1e-5 * want);
    dnas_network_run_free(run);
    dnas_network_close(n);
    tear_down_masked(&m);
}

/* Of each tensor, along its gradient and along a direction that has nothing to do with it. */
static void test_gradients_of_masked_tokens(void)
{
    const double step = 5e-3;
    struct dnas_err err = {""};
    struct masked m;
    double loss;

    set_up_masked(&m, 20, 3);
    CHECK_INT(dnas_step_mlm(m.step, &loss, &m.batch, m.guess, 1, &err), 0);
    CHECK_NEAR(masked_loss(&m), loss, 0);
    for (size_t i = 0; i < m.net->n_tensors; i++) {
        const struct dnas_net_tensor *t = &m.net->tensors[i];
        float *w = m.net->w + t->at, *kept = dnas_xalloc(t->tensor.n, sizeof(*kept));
        const float *g = m.net->g + t->at;
        double size = 0, along = 0, found[2];

        memcpy(kept, w, t->tensor.n * sizeof(*kept));
        for (size_t k = 0; k < t->tensor.n; k++)
            size += (double)g[k] * (double)g[k];
        size = sqrt(size);
        CHECK(size > 1e-4 || strstr(t->tensor.name, "key.bias")); /* a shift of all scores */
        for (int side = 0; side < 2; side++) {
            for (size_t k = 0; k < t->tensor.n; k++) {
                double v = (size > 0 ? (double)g[k] / size : 0) +
                           sin(0.3 + 2.1 * (double)k) / sqrt((double)t->tensor.n / 2);

                w[k] = (float)((double)kept[k] + (side ? -step : step) * v);
                along += side ? 0 : (double)g[k] * v;
            }
            found[side] = masked_loss(&m);
        }
        memcpy(w, kept, t->tensor.n * sizeof(*kept));
        free(kept);
        /* Losses near 4 in f32 leave 1e-4 of a slope; the rest of the series the other part. */
        if (!(fabs((found[0] - found[1]) / (2 * step) - along) <= 2e-4 + 2e-3 * size))
            CHECK_FAIL("%s: slope %g, not %g (gradient %g)", t->tensor.name, along,
                       (found[0] - found[1]) / (2 * step), size);
    }
    tear_down_masked(&m);
}

/* ---- what is refused ---- */

#define SHAPE                                                                                      \
    "\"vocab_size\": 27, \"hidden_size\": 24, \"num_hidden_layers\": 3, "                          \
    "\"num_attention_heads\": 2, \"intermediate_size\": 20"
#define ROTARY "\"position_embedding_type\": \"rotary\""

static void test_configs(void)
{
    static const struct {
        const char *config, *why;
    } tries[] = {
        {"{\"model_type\": \"esm\", " SHAPE "}", "has no 'position_embedding_type'"},
        {"{\"model_type\": \"esm\", \"position_embedding_type\": \"absolute\", " SHAPE "}",
         "its 'position_embedding_type' is not \"rotary\""},
        {"{\"model_type\": \"esm\", " ROTARY ", \"token_dropout\": true, " SHAPE "}",
         "its 'token_dropout' is not false"},
        {"{\"model_type\": \"esm\", " ROTARY ", \"emb_layer_norm_before\": true, " SHAPE "}",
         "its 'emb_layer_norm_before' is not false"},
        {"{\"model_type\": \"esm\", " ROTARY ", \"add_bias_fnn\": true, " SHAPE "}",
         "its 'add_bias_fnn' is not false"},
        {"{\"model_type\": \"t5\", " ROTARY ", " SHAPE "}",
         "its 'model_type' is none of bert, hyenadna, esm"},
        {"{\"model_type\": \"esm\", " ROTARY ", \"vocab_size\": 27, \"hidden_size\": 24, "
         "\"num_hidden_layers\": 3, \"num_attention_heads\": 8, \"intermediate_size\": 20}",
         "8 heads do not get an even number each of 24 channels"},
        {"{\"model_type\": \"esm\", " ROTARY ", \"vocab_size\": 27, \"hidden_size\": 24, "
         "\"num_hidden_layers\": 3, \"num_attention_heads\": 2, \"intermediate_size\": 21}",
         "'esm.encoder.layer.0.intermediate.dense.weight' does not have the shape"},
        {"{\"model_type\": \"esm\", " ROTARY ", \"vocab_size\": 27, \"hidden_size\": 24, "
         "\"num_hidden_layers\": 4, \"num_attention_heads\": 2, \"intermediate_size\": 20}",
         "the tensor 'esm.encoder.layer.3.attention.LayerNorm.weight' is missing"},
        {"{\"model_type\": \"esm\", " ROTARY ", \"vocab_size\": 27, \"hidden_size\": 24, "
         "\"num_hidden_layers\": 2, \"num_attention_heads\": 2, \"intermediate_size\": 20}",
         "is not one of this network's"},
    };

    for (size_t i = 0; i < sizeof(tries) / sizeof(*tries); i++)
        golden_refused(NULL, tries[i].config, tries[i].why);
}

static void without_head(struct dnas_tensor *t, size_t *n)
{
    golden_leave_out(t, n, "lm_head");
}

/* A network without its head has hidden states, but no logits. */
static void test_no_head(void)
{
    struct dnas_err err = {""};
    struct dnas_network *network = golden_open_changed(
        without_head, "", "{\"model_type\": \"esm\", " ROTARY ", " SHAPE "}", &err);

    CHECK_STR(err.msg, "");
    CHECK_INT(dnas_network_set_output(network, DNAS_OUTPUT_HIDDEN, &err), 0);
    CHECK_INT(dnas_network_set_output(network, DNAS_OUTPUT_LOGITS, &err), -1);
    CHECK_STR(err.msg, "the tensor 'lm_head.dense.weight' is missing: the model has no head that "
                       "gives logits");
    dnas_network_close(network);
}

int main(void)
{
    RUN(test_golden);
    RUN(test_logits);
    RUN(test_same_bytes_in_any_order);
    RUN(test_bf16);
    RUN(test_tape_forward);
    RUN(test_gradients);
    RUN(test_gradient_under_dropout);
    RUN(test_training_in_bf16);
    RUN(test_masked_tokens_are_of_the_saved_head);
    RUN(test_gradients_of_masked_tokens);
    RUN(test_configs);
    RUN(test_no_head);
    return check_done();
}
