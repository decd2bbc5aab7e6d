/* SPDX-License-Identifier: MIT
 *
 * test_backward.c - gradients of the network's kernels against differences of
 * their formulas in double.
 *
 * With g random, F(x) = sum of g times the formula's result; the kernel given
 * dout = g must return dF/dx, here (F(x + h) - F(x - h)) / 2h in double.
 */
#include "kernels/kernels.h"

#include "common/rng.h"
#include "common/xmem.h"
#include "tests/unit/check.h"

#define CANARY 12345.0f
#define STEP 1e-5 /* of double: the difference is good to 1e-10 */

static float *draw(size_t n, double spread, double offset, uint32_t row)
{
    float *x = dnas_xalloc64(n + 32, sizeof(*x));
    struct dnas_rng rng;

    dnas_rng_init(&rng, 5, DNAS_RNG_TEST, (uint32_t)n, row);
    for (size_t i = 0; i < n + 32; i++)
        x[i] = CANARY;
    for (size_t i = 0; i < n; i++)
        x[16 + i] = (float)(offset + spread * dnas_rng_normal(&rng));
    return x + 16;
}

static float *zeros(size_t n)
{
    return draw(n, 0, 0, 0);
}

static void release(float *x, size_t n)
{
    CHECK(x[-1] == CANARY && x[n] == CANARY);
    free(x - 16);
}

/* F of all the inputs, in double. */
struct problem {
    double (*f)(const struct problem *p);
    size_t N, C, O; /* as each formula takes them */
    double *in[4];
    size_t n[4];
    const float *g;
    const float *slopes; /* NULL: no bias */
};

static void set_input(struct problem *p, int which, const float *x, size_t n)
{
    p->in[which] = dnas_xalloc(n, sizeof(double));
    p->n[which] = n;
    for (size_t i = 0; i < n; i++)
        p->in[which][i] = (double)x[i];
}

static void forget(struct problem *p)
{
    for (int k = 0; k < 4; k++)
        free(p->in[k]);
}

/* The kernel's gradient of input `which` at up to 200 places spread over it. */
static void compare(struct problem *p, int which, const float *got, double tolerance)
{
    size_t n = p->n[which], stride = n / 200 + 1;
    double largest = 0, worst = 0;

    for (size_t i = 0; i < n; i += stride) {
        double *x = &p->in[which][i], kept = *x, above, slope, d;

        *x = kept + STEP;
        above = p->f(p);
        *x = kept - STEP;
        slope = (above - p->f(p)) / (2 * STEP);
        *x = kept;
        largest = fabs(slope) > largest ? fabs(slope) : largest;
        d = fabs((double)got[i] - slope);
        if (!(d <= worst))
            worst = d;
    }
    CHECK_NEAR(worst, 0, tolerance * (largest > 1e-3 ? largest : 1e-3));
}

/* ---- linear ---- */

static double linear_f(const struct problem *p)
{
    double sum = 0;

    for (size_t n = 0; n < p->N; n++)
        for (size_t o = 0; o < p->O; o++) {
            double out = p->in[2][o];

            for (size_t i = 0; i < p->C; i++)
                out += p->in[0][n * p->C + i] * p->in[1][o * p->C + i];
            sum += out * (double)p->g[n * p->O + o];
        }
    return sum;
}

static void check_linear(size_t N, size_t O, size_t I)
{
    float *y = draw(N * I, 1, 0, 1), *w = draw(O * I, 1, 0, 2), *b = draw(O, 1, 0, 3);
    float *g = draw(N * O, 1, 0, 4), *add = draw(N * I, 1, 0, 5);
    float *dy = zeros(N * I), *dw = zeros(O * I), *db = zeros(O);
    struct problem p = {.f = linear_f, .N = N, .C = I, .O = O, .g = g};

    set_input(&p, 0, y, N * I);
    set_input(&p, 1, w, O * I);
    set_input(&p, 2, b, O);
    dnas_cpu_linear_bwd(dy, g, w, NULL, N, O, I);
    compare(&p, 0, dy, 2e-6);
    dnas_cpu_linear_bwd_weight(dw, db, g, y, N, O, I);
    compare(&p, 1, dw, 2e-6);
    compare(&p, 2, db, 2e-6);
    /* Added to what is there; and the other way through, too. */
    dnas_cpu_linear_bwd_weight(dw, NULL, g, y, N, O, I);
    for (size_t i = 0; i < O * I; i++)
        dw[i] /= 2;
    compare(&p, 1, dw, 2e-6);
    dnas_cpu_linear_bwd(dy, g, w, add, N, O, I);
    for (size_t i = 0; i < N * I; i++)
        dy[i] -= add[i];
    compare(&p, 0, dy, 5e-6);
    forget(&p);
    release(y, N * I);
    release(w, O * I);
    release(b, O);
    release(g, N * O);
    release(add, N * I);
    release(dy, N * I);
    release(dw, O * I);
    release(db, O);
}

static void test_linear(void)
{
    check_linear(1, 1, 1);
    check_linear(7, 33, 17);
    check_linear(40, 65, 130);
}

/* ---- layer norm ---- */

static double layernorm_f(const struct problem *p)
{
    double sum = 0;
    size_t C = p->C;

    for (size_t n = 0; n < p->N; n++) {
        const double *x = p->in[0] + n * C;
        double m = 0, v = 0;

        for (size_t i = 0; i < C; i++)
            m += x[i] / (double)C;
        for (size_t i = 0; i < C; i++)
            v += (x[i] - m) * (x[i] - m) / (double)C;
        for (size_t i = 0; i < C; i++)
            sum +=
                ((x[i] - m) / sqrt(v + 1e-5) * p->in[1][i] + p->in[2][i]) * (double)p->g[n * C + i];
    }
    return sum;
}

static void check_layernorm(size_t N, size_t C)
{
    float *x = draw(N * C, 2, 1, 1), *w = draw(C, 0.5, 1, 2), *b = draw(C, 1, 0, 3);
    float *g = draw(N * C, 1, 0, 4), *out = zeros(N * C), *mean = zeros(N), *rstd = zeros(N);
    float *dx = zeros(N * C), *dw = zeros(C), *db = zeros(C);
    struct problem p = {.f = layernorm_f, .N = N, .C = C, .g = g};

    set_input(&p, 0, x, N * C);
    set_input(&p, 1, w, C);
    set_input(&p, 2, b, C);
    dnas_cpu_layernorm_fwd(out, mean, rstd, x, NULL, w, b, N, C, 1e-5f);
    dnas_cpu_layernorm_bwd_weight(dw, db, g, x, mean, rstd, N, C);
    compare(&p, 1, dw, 5e-6);
    compare(&p, 2, db, 5e-6);
    dnas_cpu_layernorm_bwd(dx, g, x, mean, rstd, w, N, C);
    compare(&p, 0, dx, 5e-6);
    dnas_cpu_layernorm_bwd(g, g, x, mean, rstd, w, N, C); /* in place */
    CHECK(memcmp(g, dx, N * C * sizeof(*dx)) == 0);
    forget(&p);
    release(x, N * C);
    release(w, C);
    release(b, C);
    release(g, N * C);
    release(out, N * C);
    release(mean, N);
    release(rstd, N);
    release(dx, N * C);
    release(dw, C);
    release(db, C);
}

static void test_layernorm(void)
{
    check_layernorm(3, 3);
    check_layernorm(5, 31);
    check_layernorm(20, 96);
    check_layernorm(4, 130);
}

/* ---- gelu ---- */

static double gelu(double z)
{
    return z / 2 * erfc(-z / sqrt(2));
}

static double geglu_f(const struct problem *p)
{
    double sum = 0;

    for (size_t n = 0; n < p->N; n++)
        for (size_t i = 0; i < p->C; i++)
            sum += gelu(p->in[0][n * 2 * p->C + i]) * p->in[0][n * 2 * p->C + p->C + i] *
                   (double)p->g[n * p->C + i];
    return sum;
}

static void check_geglu(size_t N, size_t F)
{
    float *x = draw(N * 2 * F, 2, 0, 1), *g = draw(N * F, 1, 0, 2), *dx = zeros(N * 2 * F);
    struct problem p = {.f = geglu_f, .N = N, .C = F, .g = g};

    set_input(&p, 0, x, N * 2 * F);
    dnas_cpu_geglu_bwd(dx, g, x, N, F);
    compare(&p, 0, dx, 2e-6);
    dnas_cpu_geglu_bwd(x, g, x, N, F); /* in place */
    CHECK(memcmp(x, dx, N * 2 * F * sizeof(*x)) == 0);
    forget(&p);
    release(x, N * 2 * F);
    release(g, N * F);
    release(dx, N * 2 * F);
}

static void test_geglu(void)
{
    check_geglu(1, 1);
    check_geglu(3, 15);
    check_geglu(3, 16);
    check_geglu(2, 50);
}

static void test_gelu(void)
{
    size_t n = 1037;
    float *x = zeros(n), *one = draw(n, 0, 1, 1), *out = zeros(n), *dx = zeros(n);

    for (size_t i = 0; i < n; i++)
        x[i] = (float)i / 32 - 16;
    x[n - 1] = 1e30f;
    x[n - 2] = -1e30f;
    dnas_cpu_gelu_fwd(out, x, n);
    dnas_cpu_gelu_bwd(dx, one, x, n);
    for (size_t i = 0; i < n; i++) {
        double z = (double)x[i];
        double slope = erfc(-z / sqrt(2)) / 2 + z * exp(-z * z / 2) / sqrt(2 * acos(-1));

        CHECK_NEAR(out[i], gelu(z), 5e-7 * (1 + fabs(z)));
        CHECK_NEAR(dx[i], slope, 1e-6);
    }
    release(x, n);
    release(one, n);
    release(out, n);
    release(dx, n);
}

/* ---- attention ---- */

static double attention_f(const struct problem *p)
{
    size_t T = p->N, C = p->C, H = p->O, d = C / H;
    const double *x = p->in[0];
    double *s = dnas_xalloc(T, sizeof(*s)), total = 0;

    for (size_t h = 0; h < H; h++)
        for (size_t i = 0; i < T; i++) {
            double top = -INFINITY, sum = 0, out = 0;

            for (size_t j = 0; j < T; j++) {
                s[j] = 0;
                for (size_t c = 0; c < d; c++)
                    s[j] += x[i * 3 * C + h * d + c] * x[j * 3 * C + C + h * d + c];
                s[j] /= sqrt((double)d);
                if (p->slopes)
                    s[j] -= (double)p->slopes[h] * fabs((double)i - (double)j);
                top = s[j] > top ? s[j] : top;
            }
            for (size_t j = 0; j < T; j++) {
                double weight = exp(s[j] - top), along = 0;

                for (size_t c = 0; c < d; c++)
                    along += x[j * 3 * C + 2 * C + h * d + c] * (double)p->g[i * C + h * d + c];
                sum += weight;
                out += weight * along;
            }
            total += out / sum;
        }
    free(s);
    return total;
}

static void check_attention(size_t T, size_t C, size_t H, double spread, int skip, bool bias)
{
    static const float with[4] = {0.5f, 0.03125f, 0.70710678f, 0.00390625f};
    const float *slopes = bias ? with : NULL;
    size_t n = T * 3 * C, n_ranges = H * dnas_cpu_attention_blocks(T) * 2;
    float *qkv = draw(n, spread, 0, 7), *out = zeros(T * C), *lse = zeros(H * T);
    float *g = draw(T * C, 1, 0, 8), *dqkv = zeros(n);
    uint32_t *ranges = dnas_xzalloc(n_ranges, sizeof(*ranges));
    float *scratch = dnas_xalloc64(dnas_cpu_attention_scratch(T, C / H), sizeof(*scratch));
    float *back = dnas_xalloc64(dnas_cpu_attention_bwd_scratch(), sizeof(*back));
    struct problem p = {.f = attention_f, .N = T, .C = C, .O = H, .g = g, .slopes = slopes};

    set_input(&p, 0, qkv, n);
    dnas_cpu_attention_fwd(out, lse, ranges, NULL, qkv, slopes, T, C, H, skip, scratch);
    dnas_cpu_attention_bwd(dqkv, g, out, lse, ranges, qkv, slopes, T, C, H, back);
    compare(&p, 0, dqkv, 2e-5 * (1 + spread * spread));
    forget(&p);
    release(qkv, n);
    release(out, T * C);
    release(lse, H * T);
    release(g, T * C);
    release(dqkv, n);
    free(ranges);
    free(scratch);
    free(back);
}

static void test_attention(void)
{
    static const size_t lengths[] = {1, 2, 17, 127, 129, 150};

    for (size_t k = 0; k < 6; k++) {
        check_attention(lengths[k], 8, 2, 1, k & 1, true);
        check_attention(lengths[k], 12, 4, 2, !(k & 1), true);
        check_attention(lengths[k], 12, 2, 1, k & 1, false);
    }
}

/* Skipped blocks are no part of the gradient, and do not show in it. */
static void test_attention_skips(void)
{
    static const float slopes[2] = {0.5f, 0.25f};
    size_t T = 1100, C = 32, H = 2, n_blocks = dnas_cpu_attention_blocks(T);
    float *qkv = draw(T * 3 * C, 1, 0, 9), *out = zeros(T * C), *lse = zeros(H * T);
    float *g = draw(T * C, 1, 0, 10), *a = zeros(T * 3 * C), *b = zeros(T * 3 * C);
    uint32_t *ranges = dnas_xzalloc(H * n_blocks * 2, sizeof(*ranges));
    float *scratch = dnas_xalloc64(dnas_cpu_attention_scratch(T, C / H), sizeof(*scratch));
    float *back = dnas_xalloc64(dnas_cpu_attention_bwd_scratch(), sizeof(*back));
    size_t done = 0;

    dnas_cpu_attention_fwd(out, lse, ranges, NULL, qkv, slopes, T, C, H, 1, scratch);
    for (size_t i = 0; i < H * n_blocks; i++) {
        CHECK(ranges[2 * i] <= i % n_blocks && ranges[2 * i + 1] > i % n_blocks);
        done += ranges[2 * i + 1] - ranges[2 * i];
    }
    CHECK(done < H * n_blocks * n_blocks / 2);
    dnas_cpu_attention_bwd(a, g, out, lse, ranges, qkv, slopes, T, C, H, back);
    dnas_cpu_attention_fwd(out, lse, NULL, NULL, qkv, slopes, T, C, H, 0, scratch);
    dnas_cpu_attention_bwd(b, g, out, lse, NULL, qkv, slopes, T, C, H, back);
    for (size_t i = 0; i < T * 3 * C; i++)
        CHECK_NEAR(a[i], b[i], 3e-6);
    /* And only the blocks that ranges name are looked at. */
    for (size_t i = 0; i < H * n_blocks; i++) {
        ranges[2 * i] = (uint32_t)(i % n_blocks);
        ranges[2 * i + 1] = (uint32_t)(i % n_blocks + 1);
    }
    dnas_cpu_attention_bwd(a, g, out, lse, ranges, qkv, slopes, T, C, H, back);
    CHECK(memcmp(a, b, T * 3 * C * sizeof(*a)) != 0);
    release(qkv, T * 3 * C);
    release(out, T * C);
    release(lse, H * T);
    release(g, T * C);
    release(a, T * 3 * C);
    release(b, T * 3 * C);
    free(ranges);
    free(scratch);
    free(back);
}

/* ---- the rest ---- */

static void test_embedding(void)
{
    static const uint16_t ids[5] = {3, 0, 3, 6, 3};
    size_t V = 7, C = 5;
    float *g = draw(5 * C, 1, 0, 1), *table = zeros(V * C), *sum = zeros(C);

    dnas_cpu_embedding_bwd(table, g, ids, 5, V, C);
    dnas_cpu_columns_sum(sum, g, 5, C);
    for (size_t i = 0; i < C; i++) {
        double three = (double)g[i] + (double)g[2 * C + i] + (double)g[4 * C + i];

        CHECK_NEAR(table[3 * C + i], three, 1e-6);
        CHECK_NEAR(table[i], g[C + i], 0);
        CHECK_NEAR(table[6 * C + i], g[3 * C + i], 0);
        CHECK_NEAR(table[C + i], 0, 0);
        CHECK_NEAR(sum[i], three + (double)g[C + i] + (double)g[3 * C + i], 1e-6);
    }
    release(g, 5 * C);
    release(table, V * C);
    release(sum, C);
}

/* The numbers are those of dnas_philox4x32, at any length. */
static void test_dropout_numbers(void)
{
    static const uint32_t counter[3] = {7, 0xfffffff0u, 3}, key[2] = {0x12345678u, 0x9abcdef0u};
    static const size_t sizes[] = {0, 1, 127, 128, 129, 1000};
    uint32_t drop = 6554;

    for (size_t k = 0; k < 6; k++) {
        size_t n = sizes[k];
        float *x = draw(n, 0, 2, 1);

        dnas_cpu_dropout(x, n, drop, counter, key);
        for (size_t i = 0; i < n; i++) {
            uint32_t block[4] = {(uint32_t)(i / 8), counter[0], counter[1], counter[2]}, out[4];
            uint32_t number;

            dnas_philox4x32(out, block, key);
            number = out[i % 8 / 2] >> (i % 2 ? 16 : 0) & 0xffff;
            CHECK_NEAR(x[i], number < drop ? 0 : 2 * 65536.0f / (65536 - 6554), 0);
        }
        release(x, n);
    }
}

static void test_dropout_rate(void)
{
    static const uint32_t counter[3] = {1, 2, 3}, key[2] = {1, 0};
    size_t n = 200000, zero = 0;
    float *x = draw(n, 0, 1, 1);
    double sum = 0;

    dnas_cpu_dropout(x, n, 16384, counter, key);
    for (size_t i = 0; i < n; i++) {
        zero += x[i] == 0;
        sum += (double)x[i];
    }
    /* 6 standard deviations of a binomial with rate 1/4 */
    CHECK_NEAR((double)zero / (double)n, 0.25, 6 * sqrt(0.1875 / (double)n));
    CHECK_NEAR(sum / (double)n, 1, 0.01);
    dnas_cpu_dropout(x, n, 0, counter, key); /* rate 0: as it was */
    for (size_t i = 0; i < n; i++)
        sum -= (double)x[i];
    CHECK_NEAR(sum, 0, 1e-9);
    release(x, n);
}

int main(void)
{
    RUN(test_linear);
    RUN(test_layernorm);
    RUN(test_geglu);
    RUN(test_gelu);
    RUN(test_attention);
    RUN(test_attention_skips);
    RUN(test_embedding);
    RUN(test_dropout_numbers);
    RUN(test_dropout_rate);
    return check_done();
}
