/* SPDX-License-Identifier: MIT
 *
 * test_classify_scores.c - scores of a classification, against scikit-learn's.
 */
#include "common/classify_scores.h"

#include "common/err.h"
#include "tests/unit/check.h"
#include "tests/unit/classify_data.h"
#include "tests/unit/npz.h"

/* scikit-learn 1.2.1 on its own predictions, in the order of the names. */
static void check_golden(const char *shots)
{
    const char *const names[] = {"macro_f1", "accuracy", "macro_precision", "macro_recall", "mcc"};
    struct dnas_npy labels = npz_read(CLASSIFY_GOLDEN, "labels", DNAS_NPY_AS_I64), test, pred;
    struct dnas_classify_scores s;
    double got[DNAS_N_CLASSIFY_SCORES];
    int32_t truth[500], predicted[500];
    char name[64];

    snprintf(name, sizeof(name), "lr%s_test", shots);
    test = npz_read(CLASSIFY_GOLDEN, name, DNAS_NPY_AS_I64);
    snprintf(name, sizeof(name), "lr%s_pred", shots);
    pred = npz_read(CLASSIFY_GOLDEN, name, DNAS_NPY_AS_I64);
    for (size_t i = 0; i < 500; i++) {
        truth[i] = (int32_t)labels.i64[test.i64[i]];
        predicted[i] = (int32_t)pred.i64[i];
    }
    dnas_classify_score(&s, predicted, truth, NULL, 500, 25);
    dnas_classify_score_values(got, &s);
    for (int m = 0; m < 5; m++) {
        CHECK_STR(dnas_classify_score_names[m], names[m]);
        snprintf(name, sizeof(name), "lr%s_%s", shots, names[m]);
        CHECK_NEAR(got[m], npz_number(CLASSIFY_GOLDEN, name), 1e-12);
    }
    CHECK(isnan(s.log_loss) && isnan(got[5]));
    dnas_npy_release(&labels);
    dnas_npy_release(&test);
    dnas_npy_release(&pred);
}

static void test_golden(void)
{
    check_golden("1");
    check_golden("2");
    check_golden("5");
    check_golden("20");
}

/* Classes never predicted, never true, in neither; a probability of 0. */
static void test_corners(void)
{
    double *truth = classify_data("scores_truth", 12), *p = classify_data("scores_p_true", 12);
    double *predicted = classify_data("scores_predicted", 12),
           *want = classify_data("scores_all", 6);
    int32_t t[12], q[12];
    struct dnas_classify_scores s;
    double got[DNAS_N_CLASSIFY_SCORES];

    for (int i = 0; i < 12; i++) {
        t[i] = (int32_t)truth[i];
        q[i] = (int32_t)predicted[i];
    }
    for (size_t K = 7; K <= 9; K++) { /* classes of no row change nothing */
        dnas_classify_score(&s, q, t, p, 12, K);
        dnas_classify_score_values(got, &s);
        for (int m = 0; m < DNAS_N_CLASSIFY_SCORES; m++)
            CHECK_NEAR(got[m], want[m], 1e-12);
        CHECK_INT(s.n_rows, 12);
    }
    free(want);
    free(predicted);
    free(p);
    free(truth);
}

/* -1 is wrong, but is no class in the means: as a seventh class for MCC, out of the others. */
static void test_none(void)
{
    const int32_t truth[] = {0, 0, 1, 1}, predicted[] = {0, -1, 1, 1};
    struct dnas_classify_scores s;

    dnas_classify_score(&s, predicted, truth, NULL, 4, 2);
    CHECK_NEAR(s.accuracy, 0.75, 1e-12);
    CHECK_NEAR(s.macro_precision, 1, 1e-12);
    CHECK_NEAR(s.macro_recall, 0.75, 1e-12);
    CHECK_NEAR(s.macro_f1, (2.0 / 3 + 1) / 2, 1e-12);
    /* (3 * 4 - (1*2 + 2*2)) / sqrt((16 - 1 - 4 - 1) (16 - 4 - 4)) */
    CHECK_NEAR(s.mcc, 6 / sqrt(10.0 * 8), 1e-12);
}

static void test_no_rows_and_one_class(void)
{
    const int32_t zeros[] = {0, 0};
    const double p[] = {1, NAN}, sure[] = {1, 1.0000001};
    struct dnas_classify_scores s;

    dnas_classify_score(&s, NULL, NULL, NULL, 0, 3);
    CHECK(s.macro_f1 == 1 && s.accuracy == 1 && s.mcc == 1 && s.log_loss == 0 && s.n_rows == 0);
    dnas_classify_score(&s, zeros, zeros, sure, 2, 1);
    CHECK(s.macro_f1 == 1 && s.macro_recall == 1 && s.mcc == 0 && s.log_loss == 0);
    dnas_classify_score(&s, zeros, zeros, p, 2, 1);
    CHECK(isnan(s.log_loss));
}

int main(void)
{
    RUN(test_golden);
    RUN(test_corners);
    RUN(test_none);
    RUN(test_no_rows_and_one_class);
    return check_done();
}
