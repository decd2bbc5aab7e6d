/* SPDX-License-Identifier: MIT
 *
 * test_classifier.c - the network and the whole classifier against
 * scikit-learn; standardising, model files, few-shot evaluation.
 */
#include "common/classifier.h"

#include "common/fewshot.h"
#include "common/weights.h"
#include "tests/unit/check.h"
#include "tests/unit/classify_data.h"
#include "tests/unit/files.h"
#include "tests/unit/npz.h"

static struct dnas_classifier_options options(bool is_mlp)
{
    struct dnas_classifier_options o = {.is_mlp = is_mlp, .mlp = DNAS_MLP_DEFAULTS};

    o.logreg = (struct dnas_logreg_options){
        .inverse_l2 = 0.5, .tol = 1e-6, .max_iter = 3000, .n_threads = 1};
    return o;
}

/* The golden data: 1000 rows of 32, 25 classes, 40 rows each. */
static void golden(float **x, int32_t **y, const char *which)
{
    struct dnas_npy all = npz_read(CLASSIFY_GOLDEN, which, DNAS_NPY_AS_F32);
    struct dnas_npy labels = npz_read(CLASSIFY_GOLDEN, "labels", DNAS_NPY_AS_I64);

    *x = dnas_xalloc(1000, 32 * sizeof(**x));
    *y = dnas_xalloc(1000, sizeof(**y));
    memcpy(*x, all.f32, 32000 * sizeof(**x));
    for (size_t i = 0; i < 1000; i++)
        (*y)[i] = (int32_t)labels.i64[i];
    dnas_npy_release(&all);
    dnas_npy_release(&labels);
}

static uint32_t *golden_rows(const char *which, size_t *n)
{
    struct dnas_npy a = npz_read(CLASSIFY_GOLDEN, which, DNAS_NPY_AS_I64);
    uint32_t *row = dnas_xalloc(a.n, sizeof(*row));

    *n = a.n;
    for (size_t i = 0; i < a.n; i++)
        row[i] = (uint32_t)a.i64[i];
    dnas_npy_release(&a);
    return row;
}

/* ---- standardising ---- */

static void test_standardiser(void)
{
    /* The third row is left out by number; columns 2 and 3 do not vary. */
    const float x[] = {1e6f, 3, 0, 1e-3f, 1e6f + 0.5f,  3, 0, 2e-3f,
                       NAN,  1, 7, 0,     1e6f + 1.25f, 3, 0, -1e-3f};
    const uint32_t row[] = {0, 1, 3};
    double *want_mean = classify_data("scaler_mean", 4);
    double *want_scale = classify_data("scaler_scale", 4);
    float mean[4], scale[4], tenth[10];

    dnas_standardiser(mean, scale, x, row, 3, 4);
    for (int c = 0; c < 4; c++) {
        CHECK_NEAR(mean[c], want_mean[c], 1e-7 * fabs(want_mean[c]));
        CHECK_NEAR(scale[c], want_scale[c], 1e-6 * want_scale[c]);
    }
    CHECK(mean[1] == 3 && scale[1] == 1 && scale[2] == 1);
    for (int i = 0; i < 10; i++) /* a sum that is not exact: still constant */
        tenth[i] = 0.1f;
    dnas_standardiser(mean, scale, tenth, NULL, 10, 1);
    CHECK(scale[0] == 1 && mean[0] == 0.1f);
    dnas_standardiser(mean, scale, NULL, NULL, 0, 4);
    CHECK(mean[3] == 0 && scale[3] == 1);
    free(want_scale);
    free(want_mean);
}

/* Standardised with all rows, as the golden data are, the whole path gives scikit-learn's
 * predictions and scores. */
static void check_golden(const char *shots)
{
    float *x, mean[32], scale[32];
    int32_t *y, predicted[500], truth[500];
    size_t n_train, n_test;
    char name[64];
    uint32_t *train, *test;
    struct dnas_npy pred;
    struct dnas_classifier_options o = options(false);
    struct dnas_classifier_info info;
    struct dnas_classifier c;
    struct dnas_classify_scores s;
    struct dnas_err err;
    double got[DNAS_N_CLASSIFY_SCORES], p_true[500];

    golden(&x, &y, "embedding");
    snprintf(name, sizeof(name), "lr%s_train", shots);
    train = golden_rows(name, &n_train);
    snprintf(name, sizeof(name), "lr%s_test", shots);
    test = golden_rows(name, &n_test);
    snprintf(name, sizeof(name), "lr%s_pred", shots);
    pred = npz_read(CLASSIFY_GOLDEN, name, DNAS_NPY_AS_I64);
    dnas_standardiser(mean, scale, x, NULL, 1000, 32);
    CHECK(dnas_classifier_fit(&c, &info, &o, mean, scale, x, train, y, n_train, 32, 25, &err) == 0);
    CHECK(info.converged);
    dnas_classifier_predict(predicted, NULL, p_true, &c, x, test, y, n_test, 2);
    for (size_t i = 0; i < n_test; i++) {
        CHECK_INT(predicted[i], pred.i64[i]);
        truth[i] = y[test[i]];
    }
    dnas_classify_score(&s, predicted, truth, p_true, n_test, 25);
    dnas_classify_score_values(got, &s);
    for (int m = 0; m < DNAS_N_CLASSIFY_SCORES; m++) {
        const char *score = m == 5 ? "logloss" : dnas_classify_score_names[m];

        snprintf(name, sizeof(name), "lr%s_%s", shots, score);
        CHECK_NEAR(got[m], npz_number(CLASSIFY_GOLDEN, name), 1e-4);
    }
    dnas_classifier_release(&c);
    dnas_npy_release(&pred);
    free(test);
    free(train);
    free(y);
    free(x);
}

static void test_golden(void)
{
    check_golden("1");
    check_golden("2");
    check_golden("5");
    check_golden("10");
    check_golden("20");
}

/* ---- the network ---- */

static void check_weights(const float *got, const char *name, size_t n)
{
    double *want = classify_data(name, n), worst = 0;

    for (size_t i = 0; i < n; i++)
        worst = !(fabs((double)got[i] - want[i]) <= worst) ? fabs((double)got[i] - want[i]) : worst;
    CHECK_NEAR(worst, 0, 2e-6); /* five steps of 1e-3 in f32 */
    free(want);
}

/* Five steps from our first weights, by scikit-learn's MLPClassifier. */
static void test_mlp_steps(void)
{
    float *x, rows[50 * 32], hidden[7 * 32], hidden_bias[7], weight[25 * 7], bias[25];
    int32_t *y, classes[50];
    size_t n;
    uint32_t *row = golden_rows("lr2_train", &n);
    struct dnas_mlp_options o = DNAS_MLP_DEFAULTS;
    struct dnas_mlp_info info;
    struct dnas_err err;
    double *loss = classify_data("mlp_loss", 1);

    golden(&x, &y, "standardized");
    for (size_t i = 0; i < n; i++) {
        memcpy(rows + i * 32, x + (size_t)row[i] * 32, 32 * sizeof(*x));
        classes[i] = y[row[i]];
    }
    o.H = 7;
    o.max_epochs = 5;
    o.seed = 3;
    o.step = 4;
    CHECK(dnas_mlp_fit(hidden, hidden_bias, weight, bias, &info, rows, classes, n, 32, 25, &o,
                       &err) == 0);
    check_weights(hidden, "mlp_hidden", 7 * 32);
    check_weights(hidden_bias, "mlp_hidden_bias", 7);
    check_weights(weight, "mlp_weight", 25 * 7);
    check_weights(bias, "mlp_bias", 25);
    CHECK_NEAR(info.loss, loss[0], 1e-6);
    CHECK(info.n_epochs == 5 && !info.converged);
    free(loss);
    free(y);
    free(x);
    free(row);
}

/* Trained to the end on batches of several sizes it knows its rows; what it draws is the seed's. */
static void test_mlp(void)
{
    float *x;
    int32_t *y, predicted[1000];
    struct dnas_classifier_options o = options(true);
    struct dnas_classifier_info info;
    struct dnas_classifier c, again;
    struct dnas_err err;
    size_t n_right = 0;

    golden(&x, &y, "embedding");
    o.mlp.batch = 64; /* 15 of these, and 40 rows */
    CHECK(dnas_classifier_fit(&c, &info, &o, NULL, NULL, x, NULL, y, 1000, 32, 25, &err) == 0);
    CHECK(info.converged && info.mlp.n_epochs < 200 && info.mlp.loss < 0.01);
    dnas_classifier_predict(predicted, NULL, NULL, &c, x, NULL, NULL, 1000, 1);
    for (size_t i = 0; i < 1000; i++)
        n_right += predicted[i] == y[i];
    CHECK_INT(n_right, 1000);
    CHECK(dnas_classifier_fit(&again, &info, &o, NULL, NULL, x, NULL, y, 1000, 32, 25, &err) == 0);
    CHECK(memcmp(c.hidden, again.hidden, 3200 * sizeof(float)) == 0);
    dnas_classifier_release(&again);
    o.mlp.seed = 1;
    o.mlp.max_epochs = 1;
    CHECK(dnas_classifier_fit(&again, &info, &o, NULL, NULL, x, NULL, y, 1000, 32, 25, &err) == 0);
    CHECK(!info.converged && memcmp(c.hidden, again.hidden, 3200 * sizeof(float)) != 0);
    dnas_classifier_release(&again);
    o.mlp.max_epochs = 100;
    o.mlp.tol = 1e30; /* no epoch after the first is progress: ten are borne, and one more */
    CHECK(dnas_classifier_fit(&again, &info, &o, NULL, NULL, x, NULL, y, 1000, 32, 25, &err) == 0);
    CHECK(info.converged && info.mlp.n_epochs == 12);
    dnas_classifier_release(&again);
    x[5] = NAN;
    CHECK(dnas_classifier_fit(&again, &info, &o, NULL, NULL, x, NULL, y, 1000, 32, 25, &err) == -1);
    CHECK(strstr(err.msg, "not finite"));
    dnas_classifier_release(&again);
    dnas_classifier_release(&c);
    free(y);
    free(x);
}

/* ---- predicting ---- */

/* A row's result is the same alone, among others, and on any number of threads; probabilities
 * follow the formula. */
static void test_predict(void)
{
    float *x;
    int32_t *y, all[1000], other[1000];
    double p[1000], p_true[1000], q[1000];
    struct dnas_classifier_options o = options(false);
    struct dnas_classifier_info info;
    struct dnas_classifier c;
    struct dnas_err err;

    golden(&x, &y, "embedding");
    CHECK(dnas_classifier_fit(&c, &info, &o, NULL, NULL, x, NULL, y, 1000, 32, 25, &err) == 0);
    dnas_classifier_predict(all, p, p_true, &c, x, NULL, y, 1000, 1);
    dnas_classifier_predict(other, q, NULL, &c, x, NULL, NULL, 1000, 3);
    CHECK(memcmp(all, other, sizeof(all)) == 0 && memcmp(p, q, sizeof(p)) == 0);
    for (uint32_t row = 0; row < 1000; row += 37) {
        double sum = 0, top = -INFINITY, score[25];

        dnas_classifier_predict(other, q, NULL, &c, x, &row, NULL, 1, 1);
        CHECK(other[0] == all[row] && q[0] == p[row]);
        for (int k = 0; k < 25; k++) {
            score[k] = (double)c.bias[k];
            for (int i = 0; i < 32; i++)
                score[k] += (double)c.weight[k * 32 + i] *
                            ((double)x[row * 32 + (uint32_t)i] - (double)c.mean[i]) /
                            (double)c.scale[i];
            sum += exp(score[k]);
            top = fmax(top, score[k]);
        }
        CHECK_NEAR(p[row], exp(top) / sum, 1e-5);
        CHECK_NEAR(p_true[row], exp(score[y[row]]) / sum, 1e-5);
    }
    dnas_classifier_predict(NULL, NULL, NULL, &c, x, NULL, NULL, 0, 1);
    /* Equal scores: the first class. */
    memset(c.weight, 0, 25 * 32 * sizeof(float));
    memset(c.bias, 0, 25 * sizeof(float));
    dnas_classifier_predict(all, p, NULL, &c, x, NULL, NULL, 5, 1);
    CHECK(all[4] == 0);
    CHECK_NEAR(p[4], 0.04, 1e-8);
    dnas_classifier_release(&c);
    free(y);
    free(x);
}

/* ---- model files ---- */

static void make_about(struct dnas_classifier_about *about, size_t K)
{
    *about = (struct dnas_classifier_about){.embedding = json_pack("{s:s}", "model", "tnf")};
    for (size_t k = 0; k < K; k++) {
        char name[32];

        snprintf(name, sizeof(name), "sp|%zu/#\xc3\xa9", k);
        dnas_idmap_add(&about->classes, name, strlen(name));
    }
}

static void check_file(bool is_mlp)
{
    const char *path = file_path("m.safetensors");
    float *x;
    int32_t *y, before[1000], after[1000];
    double p[1000], q[1000];
    struct dnas_classifier_options o = options(is_mlp);
    struct dnas_classifier_info info;
    struct dnas_classifier c, d;
    struct dnas_classifier_about about, got;
    struct dnas_err err;

    golden(&x, &y, "embedding");
    make_about(&about, 25);
    o.mlp.max_epochs = 3;
    CHECK(dnas_classifier_fit(&c, &info, &o, NULL, NULL, x, NULL, y, 1000, 32, 25, &err) == 0);
    CHECK(dnas_classifier_save(path, &c, &about, &err) == 0);
    CHECK(dnas_classifier_load(&d, &got, path, &err) == 0);
    CHECK(d.C == 32 && d.K == 25 && d.H == (is_mlp ? 100 : 0) && got.classes.n == 25);
    CHECK_STR(dnas_idmap_text(&got.classes, 24), "sp|24/#\xc3\xa9");
    CHECK(json_equal(got.embedding, about.embedding) && !got.pg);
    dnas_classifier_predict(before, p, NULL, &c, x, NULL, NULL, 1000, 1);
    dnas_classifier_predict(after, q, NULL, &d, x, NULL, NULL, 1000, 1);
    CHECK(memcmp(before, after, sizeof(after)) == 0 && memcmp(p, q, sizeof(q)) == 0);
    dnas_classifier_about_release(&got);
    dnas_classifier_about_release(&about);
    dnas_classifier_release(&d);
    dnas_classifier_release(&c);
    free(y);
    free(x);
}

static void test_file(void)
{
    check_file(false);
    check_file(true);
}

/* Writes tensors of a little model, as described, and expects a sentence about it. */
static void refused(const struct dnas_metadata *metadata, size_t n_metadata,
                    const struct dnas_tensor *tensor, size_t n, const char *why)
{
    const char *path = file_path("bad.safetensors");
    struct dnas_classifier c;
    struct dnas_classifier_about about;
    struct dnas_err err;

    CHECK(dnas_safetensors_write(path, tensor, n, metadata, n_metadata, &err) == 0);
    CHECK(dnas_classifier_load(&c, &about, path, &err) == -1);
    if (!strstr(err.msg, why) || strncmp(err.msg, path, strlen(path)) != 0)
        CHECK_FAIL("'%s', not '%s'", err.msg, why);
    dnas_classifier_about_release(&about);
    dnas_classifier_release(&c);
}

static void test_bad_files(void)
{
    float two[] = {1, 1}, four[] = {1, 2, 3, 4}, nan[] = {1, NAN}, zero[] = {1, 0};
    struct dnas_metadata m[] = {
        {"format", "dnas-logreg"}, {"version", "1"}, {"classes", "[\"a\",\"b\"]"}};
    struct dnas_tensor t[] = {
        {.name = "mean", .dtype = DNAS_DTYPE_F32, .n_dims = 1, .shape = {2}, .data = two},
        {.name = "scale", .dtype = DNAS_DTYPE_F32, .n_dims = 1, .shape = {2}, .data = two},
        {.name = "weight", .dtype = DNAS_DTYPE_F32, .n_dims = 2, .shape = {2, 2}, .data = four},
        {.name = "bias", .dtype = DNAS_DTYPE_F32, .n_dims = 1, .shape = {2}, .data = two},
        {.name = "more", .dtype = DNAS_DTYPE_F32, .n_dims = 1, .shape = {2}, .data = two},
    };
    struct dnas_classifier c;
    struct dnas_classifier_about about;
    struct dnas_err err;

    CHECK(dnas_safetensors_write(file_path("ok.safetensors"), t, 4, m, 3, &err) == 0);
    CHECK(dnas_classifier_load(&c, &about, file_path("ok.safetensors"), &err) == 0);
    dnas_classifier_about_release(&about);
    dnas_classifier_release(&c);
    CHECK(dnas_classifier_load(&c, &about, file_path("absent"), &err) == -1);
    dnas_classifier_release(&c);
    refused(NULL, 0, t, 4, "is no model of dnas-logreg: make one with --fit");
    refused(m, 1, t, 4, "has version ''");
    refused(m, 2, t, 4, "\"classes\" is no list of names");
    refused(m, 3, t, 3, "has no tensor 'bias'");
    refused(m, 3, t + 1, 3, "has no tensor 'mean'");
    refused(m, 3, t, 5, "has 5 tensors, not 4");
    m[2].value = "[\"a\",\"b\",\"c\"]";
    refused(m, 3, t, 4, "its tensor 'weight' has not the shape");
    m[2].value = "[\"a\",\"a\"]";
    refused(m, 3, t, 4, "no name of its own for class 1");
    m[2].value = "[\"a\",\"b\\n\"]";
    refused(m, 3, t, 4, "no name of its own for class 1");
    m[2].value = "[\"a\",7]";
    refused(m, 3, t, 4, "no name of its own for class 1");
    m[2].value = "[\"a\"";
    refused(m, 3, t, 4, "its \"classes\" is damaged");
    m[2].value = "[\"a\",\"b\"]";
    m[1].value = "2";
    refused(m, 3, t, 4, "has version '2'");
    m[1].value = "1";
    t[3].data = nan;
    refused(m, 3, t, 4, "'bias'");
    t[3].data = two;
    t[1].data = zero;
    refused(m, 3, t, 4, "'scale' is not above 0 for dimension 2");
    t[1].data = two;
    t[2].dtype = DNAS_DTYPE_I32;
    refused(m, 3, t, 4, "'weight'");
    t[2].dtype = DNAS_DTYPE_F32;
    t[2].n_dims = 1;
    refused(m, 3, t, 4, "its tensor 'weight' has not the shape");
}

/* ---- few-shot evaluation ---- */

static struct dnas_fewshot_options few(const size_t *shots, size_t n_shots, size_t test)
{
    return (struct dnas_fewshot_options){.shots = shots,
                                         .n_shots = n_shots,
                                         .test_per_class = test,
                                         .n_runs = 3,
                                         .fit = options(false),
                                         .seed = 7,
                                         .n_threads = 1};
}

static void test_fewshot(void)
{
    const size_t shots[] = {1, 5, 20}, five[] = {5};
    struct dnas_fewshot_options o = few(shots, 3, 20);
    struct dnas_fewshot_result r[3], s[3];
    struct dnas_err err;
    float *x;
    int32_t *y;

    golden(&x, &y, "embedding");
    memset(r, 0, sizeof(r)); /* padding too: results are compared as bytes */
    memset(s, 0, sizeof(s));
    CHECK(dnas_fewshot_run(r, x, y, 1000, 32, 25, NULL, &o, &err) == 0);
    for (int i = 0; i < 3; i++) {
        CHECK(r[i].n_shots == shots[i] && r[i].n_classes == 25 && r[i].n_train == 25 * shots[i]);
        CHECK(r[i].n_test == 500 && r[i].n_runs == 3 && r[i].n_unfinished == 0);
        CHECK(r[i].deviation[5] > 0);
    }
    /* scikit-learn has 0.90, 0.99 and 1.00 on other rows of the same data. */
    CHECK_NEAR(r[0].mean[0], 0.87, 0.06);
    CHECK_NEAR(r[1].mean[0], 0.98, 0.02);
    CHECK(r[2].mean[0] > 0.99 && r[2].mean[5] < r[1].mean[5] && r[1].mean[5] < r[0].mean[5]);
    CHECK_NEAR(r[0].mean[1], r[0].mean[3], 1e-12); /* classes of equal size */
    o.n_threads = 8;                               /* more than fits: they share */
    CHECK(dnas_fewshot_run(s, x, y, 1000, 32, 25, NULL, &o, &err) == 0);
    CHECK(memcmp(r, s, sizeof(r)) == 0);
    o = few(five, 1, 20); /* a run's rows do not depend on the other numbers of shots */
    CHECK(dnas_fewshot_run(s, x, y, 1000, 32, 25, NULL, &o, &err) == 0);
    CHECK(memcmp(&r[1], &s[0], sizeof(r[1])) == 0);
    o.seed = 8;
    CHECK(dnas_fewshot_run(s, x, y, 1000, 32, 25, NULL, &o, &err) == 0);
    CHECK(r[1].mean[5] != s[0].mean[5]);
    o = few(five, 1, 20);
    o.fit = options(true);
    CHECK(dnas_fewshot_run(s, x, y, 1000, 32, 25, NULL, &o, &err) == 0);
    CHECK(s[0].mean[0] > 0.9 && s[0].mean[5] != r[1].mean[5]);
    free(y);
    free(x);
}

/* Training rows never test: with each row's class in a column of its own, noise elsewhere, the
 * rows that were seen would be known perfectly. */
static void test_no_overlap(void)
{
    enum { N = 40, C = 40 };
    const size_t shots[] = {15};
    struct dnas_fewshot_options o = few(shots, 1, 5);
    struct dnas_fewshot_result r;
    struct dnas_err err;
    float x[N * C] = {0};
    int32_t y[N];

    for (size_t i = 0; i < N; i++) {
        x[i * C + i] = 1; /* says which row it is, and nothing of its class */
        y[i] = (int32_t)(i % 2);
    }
    o.standardise = DNAS_STANDARDISE_NONE;
    o.n_runs = 20;
    CHECK(dnas_fewshot_run(&r, x, y, N, C, 2, NULL, &o, &err) == 0);
    /* All zeros where it was trained: every test row goes to one class, half of them right. */
    CHECK(r.mean[1] == 0.5 && r.deviation[1] == 0);
    CHECK_NEAR(r.mean[5], log(2), 1e-4);
}

/* Mean and deviation over the runs, by hand: one run each gives no deviation. */
static void test_runs(void)
{
    const size_t shots[] = {2};
    struct dnas_fewshot_options o = few(shots, 1, 20);
    struct dnas_fewshot_result all, one;
    struct dnas_err err;
    float *x;
    int32_t *y;

    golden(&x, &y, "embedding");
    o.n_runs = 1;
    CHECK(dnas_fewshot_run(&one, x, y, 1000, 32, 25, NULL, &o, &err) == 0);
    CHECK(one.deviation[0] == 0 && one.deviation[5] == 0);
    o.n_runs = 2;
    CHECK(dnas_fewshot_run(&all, x, y, 1000, 32, 25, NULL, &o, &err) == 0);
    /* Of two values the deviation is half of what they are apart. */
    CHECK_NEAR(fabs(all.mean[5] - one.mean[5]), all.deviation[5], 1e-12);
    CHECK(all.deviation[5] > 0);
    free(y);
    free(x);
}

static void test_standardise(void)
{
    const size_t shots[] = {2};
    struct dnas_fewshot_options o = few(shots, 1, 20);
    struct dnas_fewshot_result r[3];
    struct dnas_err err;
    float *x, *z;
    int32_t *y;

    golden(&x, &y, "embedding");
    for (int how = 0; how < 3; how++) {
        o.standardise = (enum dnas_standardise)how;
        CHECK(dnas_fewshot_run(&r[how], x, y, 1000, 32, 25, NULL, &o, &err) == 0);
    }
    CHECK(r[0].mean[5] != r[1].mean[5] && r[1].mean[5] != r[2].mean[5] &&
          r[0].mean[5] != r[2].mean[5]);
    /* "all" is as if the rows had been standardised before. */
    free(y);
    golden(&z, &y, "standardized");
    CHECK(dnas_fewshot_run(&r[0], z, y, 1000, 32, 25, NULL, &o, &err) == 0);
    CHECK_NEAR(r[0].mean[5], r[1].mean[5], 1e-4);
    free(z);
    free(y);
    free(x);
}

static void test_fewshot_refuses(void)
{
    const size_t shots[] = {1, 3};
    struct dnas_fewshot_options o = few(shots, 2, 4);
    struct dnas_fewshot_result r[2];
    struct dnas_idmap names = {0};
    struct dnas_err err;
    float x[40];
    int32_t y[40];

    for (int i = 0; i < 40; i++) {
        x[i] = (float)(i % 7);
        y[i] = i < 7 ? 0 : i < 13 ? 1 : i < 14 ? 2 : i < 25 ? 3 : -1; /* 7, 6, 1, 11 rows */
    }
    dnas_idmap_add(&names, "a", 1);
    dnas_idmap_add(&names, "b", 1);
    dnas_idmap_add(&names, "c", 1);
    dnas_idmap_add(&names, "d", 1);
    CHECK(dnas_fewshot_run(r, x, y, 40, 1, 4, &names, &o, &err) == -1);
    CHECK_STR(err.msg, "class 'b' has 6 rows, too few for 3 shots and 4 test rows: try fewer, "
                       "or --drop-small");
    CHECK(dnas_fewshot_run(r, x, y, 40, 1, 4, NULL, &o, &err) == -1);
    CHECK(strstr(err.msg, "class 1 has 6 rows"));
    CHECK(dnas_fewshot_run(r, x, y, 7, 1, 1, &names, &o, &err) == -1);
    CHECK_STR(err.msg, "1 classes with 7 rows or more: there must be two to tell apart");
    o.drop_small = true;
    CHECK(dnas_fewshot_run(r, x, y, 40, 1, 4, &names, &o, &err) == 0);
    CHECK(r[1].n_classes == 2 && r[1].n_dropped == 2 && r[1].n_train == 6 && r[1].n_test == 8);
    o.test_per_class = 5;
    CHECK(dnas_fewshot_run(r, x, y, 40, 1, 4, &names, &o, &err) == -1);
    CHECK(strstr(err.msg, "1 classes with 8 rows or more"));
    x[3] = INFINITY;
    o = few(shots, 2, 4);
    o.drop_small = true;
    CHECK(dnas_fewshot_run(r, x, y, 40, 1, 4, &names, &o, &err) == -1);
    dnas_idmap_release(&names);
}

int main(void)
{
    RUN(test_standardiser);
    RUN(test_golden);
    RUN(test_mlp_steps);
    RUN(test_mlp);
    RUN(test_predict);
    RUN(test_file);
    RUN(test_bad_files);
    RUN(test_fewshot);
    RUN(test_no_overlap);
    RUN(test_runs);
    RUN(test_standardise);
    RUN(test_fewshot_refuses);
    return check_done();
}
