/* SPDX-License-Identifier: MIT
 *
 * test_kmer_net.c - the network against its formula in double, its gradient
 * against differences of that, and what training does to classes that no map keeps
 * apart.
 */
#include "tests/unit/check.h"

#include "common/contrastive.h"
#include "common/kmer_net.h"
#include "common/kmer_score.h"
#include "common/rng.h"
#include "common/xmem.h"

#define ROWS 12
#define DIMS 5
#define HIDDEN 9
#define TEMPERATURE 0.3

static void fill(float *x, size_t n, uint32_t row)
{
    struct dnas_rng rng;

    dnas_rng_init(&rng, 7, DNAS_RNG_TEST, 0, row);
    for (size_t i = 0; i < n; i++)
        x[i] = (float)dnas_rng_normal(&rng);
}

static void draw_net(struct dnas_kmer_net *net)
{
    dnas_kmer_net_init(net, DIMS, HIDDEN, 1, 1);
    fill(net->w, net->n, 1);
}

/* ---- the formula ---- */

/* z = y' / |y'| of kmer_net.h, [N,O]. */
static void by_formula(double *z, const struct dnas_kmer_net *net, const double *w, const float *y,
                       const float *keep)
{
    const double *hidden = w, *hidden_bias = w + (net->hidden_bias - net->w);
    const double *out = w + (net->out - net->w), *out_bias = w + (net->out_bias - net->w);

    for (size_t i = 0; i < ROWS; i++) {
        double h[HIDDEN], norm = 0;

        for (size_t j = 0; j < HIDDEN; j++) {
            double sum = hidden_bias[j];

            for (size_t o = 0; o < DIMS; o++)
                sum += hidden[j * DIMS + o] * (double)y[i * DIMS + o];
            h[j] = sum / 2 * (1 + erf(sum / sqrt(2))) * (keep ? (double)keep[i * HIDDEN + j] : 1);
        }
        for (size_t o = 0; o < DIMS; o++) {
            z[i * DIMS + o] = (double)y[i * DIMS + o] + out_bias[o];
            for (size_t j = 0; j < HIDDEN; j++)
                z[i * DIMS + o] += out[o * HIDDEN + j] * h[j];
            norm += z[i * DIMS + o] * z[i * DIMS + o];
        }
        for (size_t o = 0; o < DIMS; o++)
            z[i * DIMS + o] /= sqrt(norm);
    }
}

static double dot(const double *z, size_t i, size_t j)
{
    double sum = 0;

    for (size_t o = 0; o < DIMS; o++)
        sum += z[i * DIMS + o] * z[j * DIMS + o];
    return sum / TEMPERATURE;
}

/* contrastive.h's L_out. */
static double supcon(const double *z, const uint32_t *label)
{
    double loss = 0;

    for (size_t i = 0; i < ROWS; i++) {
        double all = 0, positive = 0, n_positive = 0;

        for (size_t k = 0; k < ROWS; k++)
            all += k != i ? exp(dot(z, i, k)) : 0;
        for (size_t p = 0; p < ROWS; p++)
            if (p != i && label[p] == label[i]) {
                positive += dot(z, i, p) - log(all);
                n_positive++;
            }
        loss -= n_positive > 0 ? positive / n_positive / ROWS : 0;
    }
    return loss;
}

/* contrastive.h's Weighted SimCLR. */
static double wsimclr(const double *z, const uint32_t *label)
{
    double loss = 0;

    for (size_t i = 0; i < ROWS; i++) {
        size_t p = (i + ROWS / 2) % ROWS;
        double mean = 0, n = 0, sum = exp(dot(z, i, p));

        for (size_t k = 0; k < ROWS; k++)
            if (k != i && k != p && label[k] != label[i]) {
                mean += exp(dot(z, i, k));
                n++;
            }
        for (size_t k = 0; k < ROWS; k++)
            if (k != i && k != p && label[k] != label[i])
                sum += exp(2 * dot(z, i, k)) / (mean / n);
        loss -= log(exp(dot(z, i, p)) / sum) / ROWS;
    }
    return loss;
}

static double loss_at(const struct dnas_kmer_net *net, const double *w, const float *y,
                      const float *keep, const uint32_t *label, enum dnas_kmer_objective objective)
{
    double z[ROWS * DIMS];

    by_formula(z, net, w, y, keep);
    return objective == DNAS_KMER_SUPCON ? supcon(z, label) : wsimclr(z, label);
}

/* Each weight moved by 1e-5 both ways: differences are good to 1e-9, and gradients in f32 to a few
 * units of 1e-6 of the largest. */
static void check_gradient(enum dnas_kmer_objective objective, const float *keep)
{
    static const uint32_t label[ROWS] = {4, 0, 9, 2, 7, 1, 4, 0, 9, 2, 7, 1};
    struct dnas_kmer_net_batch *b = dnas_kmer_net_batch_new(ROWS, DIMS, HIDDEN, 1);
    struct dnas_kmer_net net;
    float y[ROWS * DIMS], *g;
    double loss, *w;

    draw_net(&net);
    fill(y, ROWS * DIMS, 2);
    g = dnas_xalloc(net.n, sizeof(*g));
    w = dnas_xalloc(net.n, sizeof(*w));
    for (size_t i = 0; i < net.n; i++)
        w[i] = (double)net.w[i];
    memset(g, 1, net.n * sizeof(*g));
    CHECK_INT(
        dnas_kmer_net_gradient(b, &loss, g, &net, y, keep, label, objective, TEMPERATURE, NULL), 0);
    CHECK_NEAR(loss, loss_at(&net, w, y, keep, label, objective), 1e-5);
    for (size_t i = 0; i < net.n; i++) {
        double was = w[i], up, down;

        w[i] = was + 1e-5;
        up = loss_at(&net, w, y, keep, label, objective);
        w[i] = was - 1e-5;
        down = loss_at(&net, w, y, keep, label, objective);
        w[i] = was;
        CHECK_NEAR(g[i], (up - down) / 2e-5, 1e-5);
    }
    free(g);
    free(w);
    dnas_kmer_net_release(&net);
    dnas_kmer_net_batch_free(b);
}

static void test_gradients_by_differences(void)
{
    float keep[ROWS * HIDDEN];

    for (size_t i = 0; i < ROWS * HIDDEN; i++)
        keep[i] = i % 3 == 0 ? 0 : 1.5f;
    for (int o = 0; dnas_kmer_objectives[o]; o++) {
        check_gradient((enum dnas_kmer_objective)o, NULL);
        check_gradient((enum dnas_kmer_objective)o, keep);
    }
}

/* ---- training ---- */

#define N_CLASSES 12
#define N_EACH 30

struct data {
    float y[N_CLASSES * N_EACH * DIMS], noise_kb[DIMS];
    uint32_t label[N_CLASSES * N_EACH], length_bp[N_CLASSES * N_EACH];
    struct dnas_kmer_net_rows rows;
};

/* Classes that differ in the first two dimensions, and noise of the other three. */
static struct data *make_data(void)
{
    struct data *d = dnas_xzalloc(1, sizeof(*d));
    float means[N_CLASSES * DIMS], noise[DIMS];

    fill(means, N_CLASSES * DIMS, 3);
    for (uint32_t i = 0; i < N_CLASSES * N_EACH; i++) {
        uint32_t c = i % N_CLASSES;

        fill(noise, DIMS, 100 + i);
        for (uint32_t o = 0; o < DIMS; o++)
            d->y[i * DIMS + o] = o < 2 ? means[c * DIMS + o] + 0.1f * noise[o] : noise[o];
        d->label[i] = 5 * c;
        d->length_bp[i] = 1000 + i;
    }
    for (uint32_t o = 0; o < DIMS; o++)
        d->noise_kb[o] = 0.01f;
    d->rows = (struct dnas_kmer_net_rows){N_CLASSES * N_EACH, DIMS,         d->y,
                                          d->label,           d->length_bp, d->noise_kb};
    return d;
}

static void count_looks(void *ctx, uint64_t n_done, const struct dnas_kmer_net *net)
{
    uint64_t *n = ctx;

    CHECK_INT(n_done, *n * 50);
    CHECK(net->H == 32);
    (*n)++;
}

/* The share of neighbours before and after, as a model would embed. */
static double share(const struct data *d, const struct dnas_kmer_net *net)
{
    float *out = dnas_xalloc(d->rows.N, DIMS * sizeof(*out));
    double sum;

    for (size_t i = 0; i < d->rows.N; i++)
        for (size_t o = 0; o < DIMS; o++) {
            double y = (double)d->y[i * DIMS + o] + (double)net->out_bias[o];

            for (size_t j = 0; j < net->H; j++) {
                double h = (double)net->hidden_bias[j];

                for (size_t k = 0; k < DIMS; k++)
                    h += (double)net->hidden[j * DIMS + k] * (double)d->y[i * DIMS + k];
                y += (double)net->out[o * net->H + j] * h / 2 * (1 + erf(h / sqrt(2)));
            }
            out[i * DIMS + o] = (float)y;
        }
    sum = dnas_kmer_shares(out, d->label, d->rows.N, DIMS, 1);
    free(out);
    return sum / (double)d->rows.N;
}

static void train(struct dnas_kmer_net *net, const struct data *d, struct dnas_kmer_net_options *o)
{
    struct dnas_err err = {""};
    double loss = NAN;

    dnas_kmer_net_init(net, DIMS, 32, 1, o->seed);
    if (dnas_kmer_net_train(net, &loss, &d->rows, o, &err) != 0)
        CHECK_FAIL("%s", err.msg);
    CHECK(isfinite(loss));
}

static void test_training_tells_classes_apart(void)
{
    struct data *d = make_data();

    for (int objective = 0; dnas_kmer_objectives[objective]; objective++) {
        struct dnas_kmer_net_options o = DNAS_KMER_NET_DEFAULTS;
        struct dnas_kmer_net first, net;
        uint64_t n_looks = 0;

        dnas_kmer_net_init(&first, DIMS, 32, 1, 3);
        o.objective = (enum dnas_kmer_objective)objective;
        o.n_steps = 300;
        o.rate = 1e-2;
        o.seed = 3;
        o.n_threads = 1;
        o.every = 50;
        o.look = count_looks;
        o.ctx = &n_looks;
        train(&net, d, &o);
        CHECK_INT(n_looks, 7);
        CHECK(share(d, &first) < 0.5); /* it is the rows themselves */
        CHECK(share(d, &net) > 0.7);
        dnas_kmer_net_release(&first);
        dnas_kmer_net_release(&net);
    }
    free(d);
}

static void test_same_bytes_whatever_the_threads(void)
{
    struct dnas_kmer_net_options o = DNAS_KMER_NET_DEFAULTS;
    struct data *d = make_data();
    struct dnas_kmer_net nets[4];

    o.n_steps = 20;
    for (int i = 0; i < 4; i++) {
        o.n_threads = i == 1 ? 3 : 1;
        o.seed = i == 2 ? 9 : 8;
        o.shortest = i == 3 ? 1 : 0.25;
        train(&nets[i], d, &o);
    }
    CHECK(memcmp(nets[0].w, nets[1].w, nets[0].n * sizeof(float)) == 0);
    CHECK(memcmp(nets[0].w, nets[2].w, nets[0].n * sizeof(float)) != 0);
    CHECK(memcmp(nets[0].w, nets[3].w, nets[0].n * sizeof(float)) != 0);
    for (int i = 0; i < 4; i++)
        dnas_kmer_net_release(&nets[i]);
    free(d);
}

static void test_refuses(void)
{
    struct dnas_kmer_net_options o = DNAS_KMER_NET_DEFAULTS;
    struct data *d = make_data();
    struct dnas_kmer_net net;
    struct dnas_err err;
    double loss;

    o.n_steps = 3;
    o.n_threads = 1;
    dnas_kmer_net_init(&net, DIMS, HIDDEN, 1, 1);
    for (uint32_t i = 0; i < d->rows.N; i++) /* one class of many rows, others of one */
        d->label[i] = i < 10 ? 0 : i;
    CHECK_INT(dnas_kmer_net_train(&net, &loss, &d->rows, &o, &err), -1);
    CHECK_STR(err.msg, "a network learns from two species at least, two rows of each");
    for (uint32_t i = 0; i < d->rows.N; i++)
        d->label[i] = i % 2;
    CHECK_INT(dnas_kmer_net_train(&net, &loss, &d->rows, &o, &err), 0);
    for (size_t i = 0; i < d->rows.N * DIMS; i++)
        d->y[i] = INFINITY;
    CHECK_INT(dnas_kmer_net_train(&net, &loss, &d->rows, &o, &err), -1);
    dnas_kmer_net_release(&net);
    free(d);
}

/* ---- shares ---- */

static void test_shares_by_hand(void)
{
    /* On a circle: 0, 10, 25, 90, 100 and 185 degrees; lengths do not count. */
    static const float y[6 * 2] = {1, 0,    0.9848078f,  0.1736482f, 1.8126156f,  0.8452365f,
                                   0, 0.5f, -0.1736482f, 0.9848078f, -2.9885841f, -0.2614672f};
    static const uint32_t label[6] = {1, 1, 2, 2, 2, 3};

    /* 0 and 10 are nearest to each other; the nearest two of 25 are these; of 90: 100 and 25; of
     * 100: 90 and 25; 185 is alone. */
    CHECK_NEAR(dnas_kmer_shares(y, label, 6, 2, 1), 5, 1e-12);
    CHECK_NEAR(dnas_kmer_shares(y, label, 0, 2, 1), 0, 0);
}

static void test_shares_of_large_classes(void)
{
    struct data *d = make_data();
    double want = 0;

    for (size_t i = 0; i < d->rows.N; i++) { /* the ten nearest, one after the other */
        bool taken[N_CLASSES * N_EACH] = {false};

        for (int k = 0; k < DNAS_KMER_SCORE_CLASS; k++) {
            size_t best = SIZE_MAX;
            double most = -2;

            for (size_t j = 0; j < d->rows.N; j++) {
                double same = 0, a = 0, b = 0;

                for (size_t o = 0; o < DIMS; o++) {
                    same += (double)d->y[i * DIMS + o] * (double)d->y[j * DIMS + o];
                    a += (double)d->y[i * DIMS + o] * (double)d->y[i * DIMS + o];
                    b += (double)d->y[j * DIMS + o] * (double)d->y[j * DIMS + o];
                }
                same /= sqrt(a * b);
                if (j != i && !taken[j] && same > most) {
                    most = same;
                    best = j;
                }
            }
            taken[best] = true;
            want += d->label[best] == d->label[i] ? 0.1 : 0;
        }
    }
    /* A tie in f32 may go the other way. */
    CHECK_NEAR(dnas_kmer_shares(d->y, d->label, d->rows.N, DIMS, 1), want, 0.3);
    CHECK(dnas_kmer_shares(d->y, d->label, d->rows.N, DIMS, 1) ==
          dnas_kmer_shares(d->y, d->label, d->rows.N, DIMS, 3));
    free(d);
}

int main(void)
{
    RUN(test_gradients_by_differences);
    RUN(test_training_tells_classes_apart);
    RUN(test_same_bytes_whatever_the_threads);
    RUN(test_refuses);
    RUN(test_shares_by_hand);
    RUN(test_shares_of_large_classes);
    return check_done();
}
