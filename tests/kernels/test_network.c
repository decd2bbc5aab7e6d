/* SPDX-License-Identifier: MIT
 *
 * test_network.c - the kernels of a network of BERT's kind, against their
 * formulas written again in double.
 */
#include "kernels/kernels.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/rng.h"
#include "common/xmem.h"
#include "tests/unit/check.h"

#define CANARY 12345.0f

static float *draw(size_t n, double spread, double offset, uint32_t row)
{
    float *x = dnas_xalloc64(n, sizeof(*x));
    struct dnas_rng rng;

    dnas_rng_init(&rng, 3, DNAS_RNG_TEST, (uint32_t)n, row);
    for (size_t i = 0; i < n; i++)
        x[i] = (float)(offset + spread * dnas_rng_normal(&rng));
    return x;
}

/* n values between two canaries. */
static float *guarded(size_t n)
{
    float *x = dnas_xalloc64(n + 32, sizeof(*x));

    for (size_t i = 0; i < n + 32; i++)
        x[i] = CANARY;
    return x + 16;
}

static void unguard(float *x, size_t n)
{
    CHECK(x[-1] == CANARY && x[n] == CANARY);
    free(x - 16);
}

static void check_layernorm(size_t N, size_t C, double offset, bool with_residual)
{
    float *x = draw(N * C, 1, offset, 0), *residual = draw(N * C, 1, 0, 1);
    float *weight = draw(C, 1, 1, 2), *bias = draw(C, 1, 0, 3);
    float *out = guarded(N * C), *mean = guarded(N), *rstd = guarded(N);
    double worst = 0;

    dnas_cpu_layernorm_fwd(out, mean, rstd, x, with_residual ? residual : NULL, weight, bias, N, C,
                           1e-12f);
    for (size_t row = 0; row < N; row++) {
        double m = 0, v = 0;

        for (size_t i = 0; with_residual && i < C; i++)
            x[row * C + i] += residual[row * C + i];
        for (size_t i = 0; i < C; i++)
            m += (double)x[row * C + i] / (double)C;
        for (size_t i = 0; i < C; i++)
            v += ((double)x[row * C + i] - m) * ((double)x[row * C + i] - m) / (double)C;
        CHECK_NEAR(mean[row], m, 1e-6 * (1 + fabs(m)));
        for (size_t i = 0; i < C; i++) {
            double want = ((double)x[row * C + i] - m) / sqrt(v + 1e-12) * (double)weight[i] +
                          (double)bias[i];
            double d = fabs((double)out[row * C + i] - want);

            if (!(d <= worst))
                worst = d;
        }
    }
    /* The row itself has rounding of offset 2^-24 to begin with. */
    CHECK_NEAR(worst, 0, 1e-5 + 2e-6 * fabs(offset));
    unguard(out, N * C);
    unguard(mean, N);
    unguard(rstd, N);
    free(x);
    free(residual);
    free(weight);
    free(bias);
}

static void test_layernorm(void)
{
    static const size_t sizes[] = {0, 1, 2, 7, 8, 31, 33, 96, 768};

    for (size_t n = 0; n < 4; n++)
        for (size_t c = 2; c < 9; c++)
            for (int k = 0; k < 4; k++)
                check_layernorm(n, sizes[c], k & 1 ? 1000 : 0, k & 2);
}

static void test_layernorm_in_place_and_nan(void)
{
    float *x = draw(2 * 40, 1, 0, 0), *y = draw(2 * 40, 1, 0, 0), *one = draw(40, 0, 1, 0);

    dnas_cpu_layernorm_fwd(y, NULL, NULL, x, NULL, one, NULL, 2, 40, 1e-5f);
    dnas_cpu_layernorm_fwd(x, NULL, NULL, x, NULL, one, NULL, 2, 40, 1e-5f);
    CHECK(memcmp(x, y, 80 * sizeof(*x)) == 0);
    x[41] = NAN;
    dnas_cpu_layernorm_fwd(x, NULL, NULL, x, NULL, one, NULL, 2, 40, 1e-5f);
    CHECK(!isnan(x[0]) && isnan(x[40]));
    free(x);
    free(y);
    free(one);
}

/* Rows of one value: their variance is 0, and eps alone is left. */
static void test_layernorm_eps(void)
{
    float *x = draw(3 * 20, 1e-3, 0, 5), *weight = draw(20, 0, 1, 0), *out = guarded(3 * 20);
    float rstd[3];

    for (size_t i = 0; i < 20; i++)
        x[i] = 7;
    dnas_cpu_layernorm_fwd(out, NULL, rstd, x, NULL, weight, NULL, 3, 20, 0.25f);
    CHECK_NEAR(rstd[0], 2, 1e-6);
    CHECK_NEAR(rstd[1], 2, 1e-4);
    for (size_t i = 0; i < 20; i++)
        CHECK_NEAR(out[i], 0, 0);
    for (size_t row = 1; row < 3; row++) {
        double mean = 0;

        for (size_t i = 0; i < 20; i++)
            mean += (double)x[row * 20 + i] / 20;
        for (size_t i = 0; i < 20; i++)
            CHECK_NEAR(out[row * 20 + i], 2 * ((double)x[row * 20 + i] - mean), 1e-6);
    }
    unguard(out, 3 * 20);
    free(x);
    free(weight);
}

static void test_geglu(void)
{
    static const size_t sizes[] = {1, 15, 16, 17, 192, 3072};

    for (size_t k = 0; k < 6; k++) {
        size_t F = sizes[k], N = 3;
        float *x = draw(N * 2 * F, 3, 0, (uint32_t)k), *out = guarded(N * F);

        dnas_cpu_geglu_fwd(out, x, N, F);
        for (size_t row = 0; row < N; row++)
            for (size_t i = 0; i < F; i++) {
                double z = (double)x[row * 2 * F + i], gate = (double)x[row * 2 * F + F + i];
                double want = z / 2 * erfc(-z / sqrt(2)) * gate;

                CHECK_NEAR(out[row * F + i], want, 5e-7 * (1 + fabs(gate) * fabs(z)));
            }
        unguard(out, N * F);
        free(x);
    }
}

static void test_geglu_everywhere(void)
{
    size_t F = 4096;
    float *x = dnas_xalloc64(2 * F, sizeof(*x)), *out = guarded(F);

    for (size_t i = 0; i < F; i++) {
        x[i] = (float)i / 128 - 16;
        x[F + i] = 1;
    }
    x[0] = NAN;
    x[1] = -INFINITY;
    x[2] = INFINITY;
    dnas_cpu_geglu_fwd(out, x, 1, F);
    CHECK(isnan(out[0]));
    CHECK(isinf(out[2]) && out[2] > 0);
    for (size_t i = 3; i < F; i++) {
        double z = (double)x[i], want = z / 2 * erfc(-z / sqrt(2));

        CHECK_NEAR(out[i], want, z > -5 ? 2.5e-6 * fabs(want) + 1e-12 : 4e-7);
    }
    unguard(out, F);
    free(x);
}

/* lse: the log of the softmax's denominator, [H,T]. */
/* slopes NULL: no bias. */
static void attention_in_double(double *out, double *lse, const float *qkv, const float *slopes,
                                size_t T, size_t C, size_t H)
{
    size_t d = C / H;
    double *p = dnas_xalloc(T, sizeof(*p));

    for (size_t h = 0; h < H; h++)
        for (size_t i = 0; i < T; i++) {
            double top = -INFINITY, sum = 0;

            for (size_t j = 0; j < T; j++) {
                p[j] = 0;
                for (size_t c = 0; c < d; c++)
                    p[j] +=
                        (double)qkv[i * 3 * C + h * d + c] * (double)qkv[j * 3 * C + C + h * d + c];
                p[j] /= sqrt((double)d);
                if (slopes)
                    p[j] -= (double)slopes[h] * fabs((double)i - (double)j);
                top = p[j] > top ? p[j] : top;
            }
            for (size_t j = 0; j < T; j++)
                sum += p[j] = exp(p[j] - top);
            lse[h * T + i] = top + log(sum);
            for (size_t c = 0; c < d; c++) {
                double *o = &out[i * C + h * d + c];

                *o = 0;
                for (size_t j = 0; j < T; j++)
                    *o += p[j] / sum * (double)qkv[j * 3 * C + 2 * C + h * d + c];
            }
        }
    free(p);
}

static void check_attention(size_t T, size_t C, size_t H, double spread, int skip, bool bias)
{
    static const float with[4] = {0.5f, 0.03125f, 0.70710678f, 0.00390625f};
    const float *slopes = bias ? with : NULL;
    float *qkv = draw(T * 3 * C, spread, 0, 7), *out = guarded(T * C);
    float *scratch = dnas_xalloc64(dnas_cpu_attention_scratch(T, C / H), sizeof(*scratch));
    double *want = dnas_xalloc(T * C, sizeof(*want)), *want_lse = dnas_xalloc(H * T, sizeof(*want));
    float *lse = guarded(H * T);
    double worst = 0;

    dnas_cpu_attention_fwd(out, lse, NULL, NULL, qkv, slopes, T, C, H, skip, scratch);
    attention_in_double(want, want_lse, qkv, slopes, T, C, H);
    for (size_t i = 0; i < H * T; i++)
        CHECK_NEAR(lse[i], want_lse[i], 1e-5 * (1 + fabs(want_lse[i])));
    for (size_t i = 0; i < T * C; i++) {
        double d = fabs((double)out[i] - want[i]);

        if (!(d <= worst))
            worst = d;
    }
    /* A score of size s has an error of about s 2^-22 in its exponent. */
    CHECK_NEAR(worst, 0, 3e-6 * spread * (1 + spread * spread));
    unguard(out, T * C);
    unguard(lse, H * T);
    free(qkv);
    free(scratch);
    free(want);
    free(want_lse);
}

static void test_attention(void)
{
    static const size_t lengths[] = {1, 2, 15, 16, 17, 127, 128, 129, 255, 257, 300};

    for (size_t k = 0; k < 11; k++)
        for (int skip = 0; skip < 2; skip++) {
            check_attention(lengths[k], 32, 4, 1, skip, true);
            check_attention(lengths[k], 36, 2, 3, skip, true);
            check_attention(lengths[k], 36, 2, 2, skip, false);
        }
}

/* With large q and k a far key may win over a near one: it must not be skipped. */
static void test_far_keys_that_count(void)
{
    size_t T = 1000, C = 16;
    static const float slope[1] = {0.05f};
    float *qkv = draw(T * 3 * C, 0.1, 0, 9), *out = guarded(T * C);
    float *scratch = dnas_xalloc64(dnas_cpu_attention_scratch(T, C), sizeof(*scratch));
    uint64_t n_scores = 0;

    for (size_t c = 0; c < C; c++) { /* q of the first row and k of the last are long */
        qkv[c] = 6;
        qkv[(T - 1) * 3 * C + C + c] = 6;
        qkv[(T - 1) * 3 * C + 2 * C + c] = 3;
    }
    dnas_cpu_attention_fwd(out, NULL, NULL, &n_scores, qkv, slope, T, C, 1, 1, scratch);
    for (size_t c = 0; c < C; c++) /* 6 * 6 * 16 / 4 = 144 against 0.05 * 999 = 50 */
        CHECK_NEAR(out[c], 3, 1e-5);
    CHECK(n_scores < (uint64_t)T * T);
    unguard(out, T * C);
    free(qkv);
    free(scratch);
}

/* Without a bias no key is too far to count. */
static void test_no_bias_skips_nothing(void)
{
    size_t T = 700, C = 16;
    float *qkv = draw(T * 3 * C, 1, 0, 12), *out = guarded(T * C);
    float *scratch = dnas_xalloc64(dnas_cpu_attention_scratch(T, C), sizeof(*scratch));
    uint64_t n_scores = 0;

    dnas_cpu_attention_fwd(out, NULL, NULL, &n_scores, qkv, NULL, T, C, 1, 1, scratch);
    CHECK_INT(n_scores, T * T);
    unguard(out, T * C);
    free(qkv);
    free(scratch);
}

static void test_skipping_saves_and_does_not_show(void)
{
    size_t T = 1500, C = 32;
    static const float slopes[2] = {0.5f, 0.25f};
    float *qkv = draw(T * 3 * C, 1, 0, 11), *a = guarded(T * C), *b = guarded(T * C);
    float *scratch = dnas_xalloc64(dnas_cpu_attention_scratch(T, 16), sizeof(*scratch));
    uint64_t n_a = 0, n_b = 0;

    dnas_cpu_attention_fwd(a, NULL, NULL, &n_a, qkv, slopes, T, C, 2, 1, scratch);
    dnas_cpu_attention_fwd(b, NULL, NULL, &n_b, qkv, slopes, T, C, 2, 0, scratch);
    CHECK_INT(n_b, 2 * T * T);
    CHECK(n_a < n_b / 2);
    for (size_t i = 0; i < T * C; i++)
        CHECK_NEAR(a[i], b[i], 2e-7 * (1 + fabs((double)b[i])));
    unguard(a, T * C);
    unguard(b, T * C);
    free(qkv);
    free(scratch);
}

/* What is left out has less than 2^-24 of each row's weight: values of 2^20 on
 * all keys `far` or more away, and 0 on the others, show any more than that. */
static void check_left_out(const float *q, const float *k, size_t T, float slope, size_t far)
{
    enum { C = 4 };
    float *qkv = dnas_xzalloc(T * 3 * C, sizeof(*qkv)), *out = guarded(T * C);
    float *scratch = dnas_xalloc64(dnas_cpu_attention_scratch(T, C), sizeof(*scratch));

    for (size_t t = 0; t < T; t++) {
        qkv[t * 3 * C] = q[t];
        qkv[t * 3 * C + C] = k[t];
    }
    for (size_t i = 0; i < T; i += T - 1) { /* seen from the first row, then from the last */
        double top = -INFINITY, sum = 0, weight = 0, want;

        for (size_t j = 0; j < T; j++) {
            size_t d = i > j ? i - j : j - i;
            double score = (double)q[i] * (double)k[j] / 2 - (double)slope * (double)d;

            qkv[j * 3 * C + 2 * C] = d >= far ? 0x1p20f : 0;
            top = score > top ? score : top;
        }
        for (size_t j = 0; j < T; j++) {
            size_t d = i > j ? i - j : j - i;
            double p = exp((double)q[i] * (double)k[j] / 2 - (double)slope * (double)d - top);

            sum += p;
            weight += d >= far ? p : 0;
        }
        want = 0x1p20 * weight / sum;
        dnas_cpu_attention_fwd(out, NULL, NULL, NULL, qkv, &slope, T, C, 1, 1, scratch);
        /* 2^20 2^-24, and the rounding of what is there. */
        CHECK_NEAR(out[i * C], want, 0x1p-4 * 1.01 + 1e-5 * fabs(want));
    }
    unguard(out, T * C);
    free(qkv);
    free(scratch);
}

static void test_what_is_left_out_is_negligible(void)
{
    enum { T = 3000 };
    float *q = dnas_xzalloc(T, sizeof(*q)), *k = dnas_xzalloc(T, sizeof(*k));

    /* All keys alike: many far ones add up. */
    for (size_t far = 600; far < 2200; far += 100)
        check_left_out(q, k, T, 0.01f, far);
    for (size_t far = 128; far < 700; far += 64)
        check_left_out(q, k, T, 0.04f, far);
    /* One long key at the far end, seen by one long query: e^(q k / 2 - slope d)
     * from 2^-30 to 2^-5 of the row's weight.  Without it all from 1000 on would go. */
    for (int bits = 5; bits <= 30; bits += 5)
        for (size_t at = 1100; at < T / 2; at += 100) {
            float reach = 0.02f * (float)at - (float)bits * 0.693f + 4.6f; /* ln of 1 / slope */

            memset(q, 0, T * sizeof(*q));
            memset(k, 0, T * sizeof(*k));
            q[0] = 16;
            k[at] = reach / 8;
            q[T - 1] = 16;
            k[T - 1 - at] = reach / 8;
            check_left_out(q, k, T, 0.02f, at);
        }
    free(q);
    free(k);
}

/* No more is computed than that takes: with q of 0 keys from 16.6 / slope on are
 * left out, in whole blocks of 128. */
static void test_how_much_is_left_out(void)
{
    enum { T = 2560, C = 4 };
    static const float slope[1] = {0.05f};
    float *qkv = dnas_xzalloc((size_t)T * 3 * C, sizeof(*qkv)), *out = guarded((size_t)T * C);
    float *scratch = dnas_xalloc64(dnas_cpu_attention_scratch(T, C), sizeof(*scratch));
    uint64_t n_scores = 0;

    dnas_cpu_attention_fwd(out, NULL, NULL, &n_scores, qkv, slope, T, C, 1, 1, scratch);
    CHECK(n_scores <= (uint64_t)T * 7 * 128); /* three blocks to each side */
    CHECK(n_scores > (uint64_t)T * 5 * 128);
    unguard(out, (size_t)T * C);
    free(qkv);
    free(scratch);
}

static void test_attention_nan(void)
{
    size_t T = 200, C = 16;
    static const float slope[1] = {0.5f};
    float *qkv = draw(T * 3 * C, 1, 0, 13), *out = guarded(T * C);
    float *scratch = dnas_xalloc64(dnas_cpu_attention_scratch(T, C), sizeof(*scratch));

    qkv[5 * 3 * C] = NAN; /* q of row 5: its own result alone */
    dnas_cpu_attention_fwd(out, NULL, NULL, NULL, qkv, slope, T, C, 1, 1, scratch);
    CHECK(isnan(out[5 * C]));
    CHECK(!isnan(out[4 * C]) && !isnan(out[199 * C]));
    unguard(out, T * C);
    free(qkv);
    free(scratch);
}

static void test_linear(void)
{
    size_t N = 5, O = 33, I = 17;
    float *y = draw(N * I, 1, 0, 1), *w = draw(O * I, 1, 0, 2), *bias = draw(O, 1, 0, 3);
    float *residual = draw(N * O, 1, 0, 4), *out = guarded(N * O);

    for (int k = 0; k < 4; k++) {
        dnas_cpu_linear_fwd(out, y, w, k & 1 ? bias : NULL, k & 2 ? residual : NULL, N, O, I);
        for (size_t n = 0; n < N; n++)
            for (size_t o = 0; o < O; o++) {
                double want =
                    (k & 1 ? (double)bias[o] : 0) + (k & 2 ? (double)residual[n * O + o] : 0);

                for (size_t i = 0; i < I; i++)
                    want += (double)y[n * I + i] * (double)w[o * I + i];
                CHECK_NEAR(out[n * O + o], want, 1e-5);
            }
    }
    unguard(out, N * O);
    free(y);
    free(w);
    free(bias);
    free(residual);
}

static void test_add_rows(void)
{
    size_t N = 3, O = 19;
    float *bias = draw(O, 1, 0, 3), *residual = draw(N * O, 1, 0, 4), *was = draw(N * O, 1, 0, 5);

    for (int k = 0; k < 4; k++) {
        float *out = guarded(N * O);

        memcpy(out, was, N * O * sizeof(*out));
        dnas_cpu_add_rows(out, k & 1 ? bias : NULL, k & 2 ? residual : NULL, N, O);
        for (size_t i = 0; i < N * O; i++)
            CHECK_NEAR(out[i],
                       (double)was[i] + (k & 1 ? (double)bias[i % O] : 0) +
                           (k & 2 ? (double)residual[i] : 0),
                       1e-6);
        unguard(out, N * O);
    }
    free(bias);
    free(residual);
    free(was);
}

static void test_embedding_and_meanpool(void)
{
    enum { T = 5, V = 7, C = 19 };
    static const uint16_t ids[T] = {6, 0, 3, 3, 5};
    float *table = draw(V * C, 1, 0, 1), *type = draw(C, 1, 0, 2), *out = guarded(T * C);
    double mean[C + 1];

    dnas_cpu_embedding_fwd(out, ids, table, type, T, V, C);
    for (size_t t = 0; t < T; t++)
        for (size_t i = 0; i < C; i++)
            CHECK(out[t * C + i] == table[ids[t] * C + i] + type[i]);
    mean[C] = 77;
    dnas_cpu_meanpool_fwd(mean, out, T, C);
    for (size_t i = 0; i < C; i++) {
        double want = 0;

        for (size_t t = 0; t < T; t++)
            want += (double)out[t * C + i] / T;
        CHECK_NEAR(mean[i], want, 1e-14);
    }
    CHECK(mean[C] == 77);
    unguard(out, T * C);
    free(table);
    free(type);
}

/* A token outside the table would read what is not there. */
static void test_embedding_of_no_token(void)
{
    static const uint16_t ids[1] = {2};
    static const float table[2 * 3], type[3];
    int status = 0;
    pid_t child;

    fflush(stdout);
    child = fork();
    if (child == 0) {
        float out[3];

        if (!freopen("/dev/null", "w", stderr))
            _exit(99);
        dnas_cpu_embedding_fwd(out, ids, table, type, 1, 2, 3);
        _exit(0);
    }
    CHECK(waitpid(child, &status, 0) == child);
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
}

static void test_bf16_from_f32(void)
{
    static const struct {
        uint32_t f32;
        uint16_t bf16;
    } cases[] = {
        {0x3f800000, 0x3f80}, {0x3f808000, 0x3f80}, /* ties go to even */
        {0x3f818000, 0x3f82}, {0x3f808001, 0x3f81}, {0x3f807fff, 0x3f80}, {0x80000000, 0x8000},
        {0x7f7fffff, 0x7f80}, {0xff800000, 0xff80}, {0x7f800001, 0x7fc0}, {0xffffffff, 0xffff},
        {0x00000001, 0x0000}, {0x00008001, 0x0001},
    };
    enum { N = sizeof(cases) / sizeof(cases[0]) };
    float x[40];
    uint16_t out[41] = {0};

    /* 40 of them, so that the wide loop and its tail both see each. */
    for (size_t shift = 0; shift < N; shift++) {
        for (size_t i = 0; i < 40; i++)
            memcpy(&x[i], &cases[(i + shift) % N].f32, sizeof(x[i]));
        dnas_cpu_bf16_from_f32(out, x, 40);
        for (size_t i = 0; i < 40; i++)
            CHECK_INT(out[i], cases[(i + shift) % N].bf16);
    }
    CHECK_INT(out[40], 0);
}

static float wide(uint16_t x)
{
    uint32_t bits = (uint32_t)x << 16;
    float f;

    memcpy(&f, &bits, sizeof(f));
    return f;
}

/* Each of the eight forms: operands transposed or not, the product set or added. */
static void test_matmul_bf16(void)
{
    enum { M = 5, N = 33, K = 18 };
    float *a = draw(M * K, 1, 0, 1), *b = draw(N * K, 1, 0, 2), *out = guarded(M * N);
    uint16_t a16[M * K], b16[N * K];

    dnas_cpu_bf16_from_f32(a16, a, M * K);
    dnas_cpu_bf16_from_f32(b16, b, N * K);
    for (int form = 0; form < 8; form++) {
        bool at = form & 1, bt = form & 2, add = form & 4;

        for (size_t i = 0; i < M * N; i++)
            out[i] = (float)i;
        if (dnas_cpu_matmul_bf16(out, a16, b16, M, N, K, at, bt, add) != 0) {
            check_skipped_here = "oneDNN multiplies no bf16 on this processor";
            break;
        }
        for (size_t m = 0; m < M; m++)
            for (size_t n = 0; n < N; n++) {
                double want = add ? (double)(m * N + n) : 0;

                for (size_t k = 0; k < K; k++)
                    want += (double)wide(a16[at ? k * M + m : m * K + k]) *
                            (double)wide(b16[bt ? n * K + k : k * N + n]);
                CHECK_NEAR(out[m * N + n], want, 5e-5);
            }
    }
    unguard(out, M * N);
    free(a);
    free(b);
}

int main(void)
{
    RUN(test_layernorm);
    RUN(test_layernorm_in_place_and_nan);
    RUN(test_layernorm_eps);
    RUN(test_geglu);
    RUN(test_geglu_everywhere);
    RUN(test_attention);
    RUN(test_far_keys_that_count);
    RUN(test_no_bias_skips_nothing);
    RUN(test_skipping_saves_and_does_not_show);
    RUN(test_what_is_left_out_is_negligible);
    RUN(test_how_much_is_left_out);
    RUN(test_attention_nan);
    RUN(test_linear);
    RUN(test_add_rows);
    RUN(test_embedding_and_meanpool);
    RUN(test_embedding_of_no_token);
    RUN(test_bf16_from_f32);
    RUN(test_matmul_bf16);
    return check_done();
}
