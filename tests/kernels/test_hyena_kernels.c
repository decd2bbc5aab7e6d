/* SPDX-License-Identifier: MIT
 *
 * test_hyena_kernels.c - the kernels of HyenaDNA's network against their formulas
 * in double, and their gradients against sums or differences of these.
 */
#include "kernels/kernels.h"

#include "common/rng.h"
#include "common/xmem.h"
#include "tests/unit/check.h"

#define CANARY 12345.0f

/* n values between two canaries. */
static float *draw(size_t n, double spread, uint32_t row)
{
    float *x = dnas_xalloc64(n + 32, sizeof(*x));
    struct dnas_rng rng;

    dnas_rng_init(&rng, 7, DNAS_RNG_TEST, (uint32_t)n, row);
    for (size_t i = 0; i < n + 32; i++)
        x[i] = CANARY;
    for (size_t i = 0; i < n; i++)
        x[16 + i] = (float)(spread * dnas_rng_normal(&rng));
    return x + 16;
}

static void release(float *x, size_t n)
{
    CHECK(x[-1] == CANARY && x[n] == CANARY);
    free(x - 16);
}

/* ---- the short convolution ---- */

static double tap(const float *x, size_t t, size_t back, size_t c, size_t C)
{
    return t < back ? 0 : (double)x[(t - back) * C + c];
}

static double short_formula(const float *x, const float *w, const float *b, size_t t, size_t c,
                            size_t C)
{
    return (double)b[c] + (double)w[3 * c] * tap(x, t, 2, c, C) +
           (double)w[3 * c + 1] * tap(x, t, 1, c, C) + (double)w[3 * c + 2] * tap(x, t, 0, c, C);
}

static void check_short(size_t T, size_t C)
{
    float *x = draw(T * C, 1, 1), *w = draw(3 * C, 1, 2), *b = draw(C, 1, 3);
    float *out = draw(T * C, 0, 0), *g = draw(T * C, 1, 4), *dx = draw(T * C, 0, 0);
    float *dw = draw(3 * C, 0, 0), *db = draw(C, 0, 0);

    dnas_cpu_shortconv_fwd(out, x, w, b, 0, T, C);
    dnas_cpu_shortconv_bwd(dx, g, w, T, C);
    dnas_cpu_shortconv_bwd_weight(dw, db, g, x, T, C);
    dnas_cpu_shortconv_bwd_weight(dw, db, g, x, T, C); /* adds */
    for (size_t c = 0; c < C; c++) {
        double sum[4] = {0};

        for (size_t t = 0; t < T; t++) {
            double d = 0;

            CHECK_NEAR(out[t * C + c], short_formula(x, w, b, t, c, C), 3e-6);
            for (size_t k = 0; k < 3; k++) {
                if (t + k < T)
                    d += (double)w[3 * c + 2 - k] * (double)g[(t + k) * C + c];
                sum[2 - k] += (double)g[t * C + c] * tap(x, t, k, c, C);
            }
            sum[3] += (double)g[t * C + c];
            CHECK_NEAR(dx[t * C + c], d, 3e-6);
        }
        for (size_t k = 0; k < 3; k++)
            CHECK_NEAR(dw[3 * c + k], 2 * sum[k], 1e-5);
        CHECK_NEAR(db[c], 2 * sum[3], 1e-5);
    }
    /* In pieces that know the rows before them, and in place: the same bits. */
    for (size_t from = T; from > 0;) {
        size_t n = from > 5 ? 5 : from;

        from -= n;
        dnas_cpu_shortconv_fwd(x + from * C, x + from * C, w, b, from, n, C);
    }
    CHECK(memcmp(x, out, T * C * sizeof(*x)) == 0);
    release(x, T * C);
    release(w, 3 * C);
    release(b, C);
    release(out, T * C);
    release(g, T * C);
    release(dx, T * C);
    release(dw, 3 * C);
    release(db, C);
}

static void test_short_convolution(void)
{
    static const size_t lengths[] = {1, 2, 3, 17};

    for (size_t i = 0; i < 4; i++) {
        check_short(lengths[i], 1);
        check_short(lengths[i], 33);
        check_short(lengths[i], 257);
    }
}

static void test_multiply(void)
{
    float *a = draw(3 * 40, 1, 1), *b = draw(3 * 19, 1, 2), *out = draw(3 * 17, 0, 0);

    dnas_cpu_multiply(out, a + 20, b + 2, 3, 17, 17, 40, 19);
    for (size_t i = 0; i < 3; i++)
        for (size_t j = 0; j < 17; j++)
            CHECK_NEAR(out[i * 17 + j], a[20 + i * 40 + j] * b[2 + i * 19 + j], 0);
    release(a, 120);
    release(b, 57);
    release(out, 51);
}

/* ---- gelu ---- */

static void test_gelu_tanh(void)
{
    size_t n = 1037;
    float *x = draw(n, 0, 0), *one = draw(n, 0, 0), *out = draw(n, 0, 0), *dx = draw(n, 0, 0);

    for (size_t i = 0; i < n; i++) {
        x[i] = (float)i / 32 - 16;
        one[i] = 1;
    }
    x[n - 1] = 1e30f;
    x[n - 2] = -1e30f;
    dnas_cpu_gelu_tanh_fwd(out, x, n);
    dnas_cpu_gelu_tanh_bwd(dx, one, x, n);
    for (size_t i = 0; i < n; i++) {
        double z = (double)x[i], root = sqrt(2 / acos(-1));
        double y = fabs(z) > 100 ? 100 * z / fabs(z) : root * (z + 0.044715 * z * z * z);
        double want = z / (1 + exp(-2 * y));
        double slope = 1 / (1 + exp(-2 * y));

        slope +=
            fabs(z) > 100 ? 0 : z / 2 / (cosh(y) * cosh(y)) * root * (1 + 3 * 0.044715 * z * z);
        CHECK_NEAR(out[i], want, 4e-7 * (1 + fabs(z)));
        CHECK_NEAR(dx[i], slope, 1e-6);
    }
    x[3] = NAN;
    dnas_cpu_gelu_tanh_fwd(x, x, n);
    CHECK(isnan(x[3]) && x[4] == out[4]);
    release(x, n);
    release(one, n);
    release(out, n);
    release(dx, n);
}

/* ---- the long convolution ---- */

static double rms(const double *x, size_t n)
{
    double sum = 0;

    for (size_t i = 0; i < n; i++)
        sum += x[i] * x[i];
    return sqrt(sum / (double)n);
}

/* Column c of got against want, by the root of want's mean square. */
static void near(const char *what, const float *got, const double *want, size_t T, size_t c,
                 size_t C, double tolerance)
{
    double worst = 0, size = rms(want, T);

    for (size_t t = 0; t < T; t++) {
        double d = fabs((double)got[t * C + c] - want[t]);

        if (!(d <= worst))
            worst = d;
    }
    if (!(worst <= tolerance * size))
        CHECK_FAIL("%s, T %zu, C %zu, column %zu: off by %g of %g", what, T, C, c, worst, size);
}

static void to_blocks(float *to, const float *from, size_t step, size_t T, size_t C)
{
    for (size_t t = 0; t < T; t++)
        for (size_t c = 0; c < C; c++)
            to[c / 16 * step + 16 * t + c % 16] = from[t * C + c];
}

/* Columns in blocks of 16, in place: the same bits. */
static void check_blocks(const float *want, const float *u, const float *k, const float *skip,
                         size_t T, size_t C, const float *roots, float *scratch)
{
    size_t blocks = (C + 15) / 16, step = 16 * T, step_k = 16 * T + 48;
    float *x = draw(blocks * step, 1, 6), *f = draw(blocks * step_k, 1, 7);
    float *w = draw(blocks * step, 1, 6);

    to_blocks(x, u, step, T, C);
    to_blocks(f, k, step_k, T, C);
    to_blocks(w, want, step, T, C);
    dnas_cpu_longconv_fwd(x, x, 16, step, f, 16, step_k, skip, T, C, roots, scratch);
    CHECK(memcmp(x, w, blocks * step * sizeof(*x)) == 0);
    release(x, blocks * step);
    release(f, blocks * step_k);
    release(w, blocks * step);
}

static void check_long(size_t T, size_t C)
{
    size_t M = dnas_cpu_longconv_size(T), n = T * C;
    float *u = draw(n, 1, 1), *k = draw(n, 1, 2), *skip = draw(C, 1, 3), *g = draw(n, 1, 4);
    float *out = draw(n, 0, 0), *du = draw(n, 0, 0), *dk = draw(n, 0, 0), *dskip = draw(C, 0, 0);
    float *roots = draw(dnas_cpu_longconv_n_roots(T), 0, 0), *scratch = draw(96 * M, 1, 5);
    double *want[3];

    CHECK(M >= T && (M < 8 || M < 2 * T));
    for (int i = 0; i < 3; i++)
        want[i] = dnas_xalloc(T, sizeof(double));
    dnas_cpu_longconv_roots(roots, T);
    dnas_cpu_longconv_fwd(out, u, C, 16, k, C, 16, skip, T, C, roots, scratch);
    dnas_cpu_longconv_bwd(du, dk, dskip, g, u, k, skip, T, C, roots, scratch);
    for (size_t c = 0; c < C; c++) {
        double sum = 0;

        for (size_t t = 0; t < T; t++) {
            double s = (double)skip[c];

            want[0][t] = s * (double)u[t * C + c];
            want[1][t] = s * (double)g[t * C + c];
            want[2][t] = 0;
            sum += (double)u[t * C + c] * (double)g[t * C + c];
            for (size_t i = 0; i <= t; i++)
                want[0][t] += (double)k[i * C + c] * (double)u[(t - i) * C + c];
            for (size_t i = t; i < T; i++) {
                want[1][t] += (double)k[(i - t) * C + c] * (double)g[i * C + c];
                want[2][t] += (double)u[(i - t) * C + c] * (double)g[i * C + c];
            }
        }
        /* Ends are the sums of few, with the error of many: sqrt(T) of it per column, and
         * the largest of T errors. */
        near("out", out, want[0], T, c, C, 2e-6);
        near("du", du, want[1], T, c, C, 2e-6);
        near("dk", dk, want[2], T, c, C, 2e-6);
        CHECK_NEAR(dskip[c], sum, 1e-5 * sqrt((double)T));
    }
    check_blocks(out, u, k, skip, T, C, roots, scratch);
    for (int i = 0; i < 3; i++)
        free(want[i]);
    release(u, n);
    release(k, n);
    release(skip, C);
    release(g, n);
    release(out, n);
    release(du, n);
    release(dk, n);
    release(dskip, C);
    release(roots, dnas_cpu_longconv_n_roots(T));
    release(scratch, 96 * M);
}

static void test_long_convolution(void)
{
    static const size_t lengths[] = {1,  2,  4,  5,  9,   11,  12,  13,  16,  17,  20,  33,
                                     60, 64, 81, 96, 100, 160, 190, 257, 640, 700, 1300};

    for (size_t i = 0; i < sizeof(lengths) / sizeof(*lengths); i++)
        check_long(lengths[i], lengths[i] % 3 == 0 ? 16 : lengths[i] % 3 == 1 ? 3 : 37);
}

/* A whole filter of one, at a place, moves the sequence there. */
static void test_long_convolution_moves(void)
{
    size_t T = 20000, C = 16, at = 12345, M = dnas_cpu_longconv_size(T);
    float *u = draw(T * C, 1, 1), *k = draw(T * C, 0, 0), *skip = draw(C, 0, 0);
    float *out = draw(T * C, 0, 0), *roots = draw(dnas_cpu_longconv_n_roots(T), 0, 0);
    float *scratch = draw(64 * M, 0, 0);
    double worst = 0;

    CHECK_INT(M, 20480);
    for (size_t c = 0; c < C; c++)
        k[at * C + c] = 1;
    dnas_cpu_longconv_roots(roots, T);
    dnas_cpu_longconv_fwd(out, u, C, 16, k, C, 16, skip, T, C, roots, scratch);
    for (size_t i = 0; i < T * C; i++) {
        double want = i < at * C ? 0 : (double)u[i - at * C];
        double d = fabs((double)out[i] - want);

        worst = d > worst ? d : worst;
    }
    CHECK_NEAR(worst, 0, 3e-6);
    release(u, T * C);
    release(k, T * C);
    release(skip, C);
    release(out, T * C);
    release(roots, dnas_cpu_longconv_n_roots(T));
    release(scratch, 64 * M);
}

/* ---- the filter ---- */

enum { W0, B0, W1, B1, W2, B2, W3, FREQ, DELTA, N_ARRAYS };

struct made {
    size_t n[N_ARRAYS];
    float *x[N_ARRAYS];
    double *wide[N_ARRAYS];
    struct dnas_hyena_filter f;
};

static struct made make_filter(size_t E, size_t W, size_t C, size_t L)
{
    struct made m = {.n = {W * E, W, W * W, W, W * W, W, C * W, W, C}};

    for (int i = 0; i < N_ARRAYS; i++) {
        m.x[i] = draw(m.n[i], i == W0 ? 0.5 : 0.2, (uint32_t)(20 + i));
        m.wide[i] = dnas_xalloc(m.n[i], sizeof(double));
        for (size_t k = 0; i == FREQ && k < W; k++)
            m.x[i][k] += 10;
        for (size_t k = 0; i == DELTA && k < C; k++)
            m.x[i][k] *= 40;
        for (size_t k = 0; k < m.n[i]; k++)
            m.wide[i][k] = (double)m.x[i][k];
    }
    m.f = (struct dnas_hyena_filter){.E = E,
                                     .W = W,
                                     .C = C,
                                     .L = L,
                                     .w0 = m.x[W0],
                                     .b0 = m.x[B0],
                                     .w1 = m.x[W1],
                                     .b1 = m.x[B1],
                                     .w2 = m.x[W2],
                                     .b2 = m.x[B2],
                                     .w3 = m.x[W3],
                                     .freq = m.x[FREQ],
                                     .delta = m.x[DELTA]};
    return m;
}

static void release_filter(struct made *m)
{
    for (int i = 0; i < N_ARRAYS; i++) {
        release(m->x[i], m->n[i]);
        free(m->wide[i]);
    }
}

/* out [O] = sin(freq (w in + b)), or w in. */
static void layer_formula(double *out, const double *in, const double *w, const double *b,
                          const double *freq, size_t O, size_t I)
{
    for (size_t o = 0; o < O; o++) {
        out[o] = b ? b[o] : 0;
        for (size_t i = 0; i < I; i++)
            out[o] += w[o * I + i] * in[i];
        if (b)
            out[o] = sin(freq[o] * out[o]);
    }
}

static void filter_formula(double *out, const struct made *m, size_t at)
{
    size_t W = m->f.W;
    double z[9], s[3][40];
    double *const *x = m->wide;
    float position[9];

    dnas_cpu_hyena_position(position, at, m->f.E, m->f.L);
    for (size_t i = 0; i < m->f.E; i++)
        z[i] = (double)position[i];
    layer_formula(s[0], z, x[W0], x[B0], x[FREQ], W, m->f.E);
    layer_formula(s[1], s[0], x[W1], x[B1], x[FREQ], W, W);
    layer_formula(s[2], s[1], x[W2], x[B2], x[FREQ], W, W);
    layer_formula(out, s[2], x[W3], NULL, NULL, m->f.C, W);
    for (size_t c = 0; c < m->f.C; c++)
        out[c] *= exp(-z[0] * fabs(x[DELTA][c])) + 0.05;
}

static double along(const struct made *m, const float *g, size_t n)
{
    double sum = 0, k[40];

    for (size_t i = 0; i < n; i++) {
        filter_formula(k, m, i);
        for (size_t c = 0; c < m->f.C; c++)
            sum += k[c] * (double)g[i * m->f.C + c];
    }
    return sum;
}

static void check_filter(size_t E, size_t W, size_t C, size_t L, size_t n)
{
    struct made m = make_filter(E, W, C, L);
    float *k = draw(n * C, 0, 0), *part = draw(n * C, 0, 0), *g = draw(n * C, 1, 9);
    double *scratch = dnas_xalloc64(dnas_cpu_hyena_filter_scratch(&m.f), sizeof(double));
    size_t n_grad = dnas_cpu_hyena_filter_n_grad(&m.f), at = 0, cut = n / 3;
    double *grad = dnas_xzalloc(n_grad, sizeof(*grad)), want[40], worst = 0;

    dnas_cpu_hyena_filter_fwd(k, C, 16, &m.f, 0, n, scratch);
    for (size_t i = 0; i < n; i++) {
        filter_formula(want, &m, i);
        for (size_t c = 0; c < C; c++) {
            double d = fabs((double)k[i * C + c] - want[c]);

            if (!(d <= worst))
                worst = d;
        }
    }
    CHECK_NEAR(worst, 0, 1e-6); /* of values up to 5, in f32 */
    /* In two parts: the same bits. */
    dnas_cpu_hyena_filter_fwd(part, C, 16, &m.f, 0, cut, scratch);
    dnas_cpu_hyena_filter_fwd(part + cut * C, C, 16, &m.f, cut, n - cut, scratch);
    CHECK(memcmp(part, k, n * C * sizeof(*k)) == 0);

    dnas_cpu_hyena_filter_bwd(grad, g, &m.f, n, scratch);
    for (int i = 0; i < DELTA; i++) {
        double largest = 1e-3;

        worst = 0;
        for (size_t j = 0; j < m.n[i]; j += m.n[i] / 40 + 1) {
            double kept = m.wide[i][j], slope, d;

            m.wide[i][j] = kept + 1e-6;
            slope = along(&m, g, n);
            m.wide[i][j] = kept - 1e-6;
            slope = (slope - along(&m, g, n)) / 2e-6;
            m.wide[i][j] = kept;
            largest = fabs(slope) > largest ? fabs(slope) : largest;
            d = fabs(grad[at + j] - slope);
            if (!(d <= worst))
                worst = d;
        }
        if (!(worst <= 2e-5 * largest))
            CHECK_FAIL("array %d, E %zu, W %zu: off by %g of %g", i, E, W, worst, largest);
        at += m.n[i];
    }
    CHECK_INT(at, n_grad);
    free(grad);
    free(scratch);
    release(k, n * C);
    release(part, n * C);
    release(g, n * C);
    release_filter(&m);
}

static void test_filter(void)
{
    check_filter(5, 16, 24, 2050, 40);
    check_filter(3, 5, 7, 50, 50);
    check_filter(9, 33, 17, 300, 300);
}

/* The formula in double; rounding to f32, as PyTorch does, moves an angle of up to
 * 2 pi (bands - 1) by 2^-23 of it. */
static void test_positions(void)
{
    static const size_t features[] = {3, 5, 7, 9};

    for (size_t e = 0; e < 4; e++)
        for (size_t i = 0; i < 450002; i += 30000) {
            size_t bands = (features[e] - 1) / 2;
            float z[9];

            dnas_cpu_hyena_position(z, i, features[e], 450002);
            CHECK_NEAR(z[0], (double)i / 450001, 1e-7);
            for (size_t k = 0; k < bands; k++) {
                double last = (double)bands - 1, f = 1e-4;
                double angle = 2 * acos(-1) * (double)i / 450002;

                if (bands > 1)
                    f += (double)k * (last - 1e-4) / last;
                CHECK_NEAR(z[1 + k], cos(f * angle), 1e-7 * (4 + f * angle));
                CHECK_NEAR(z[1 + bands + k], -sin(f * angle), 1e-7 * (4 + f * angle));
            }
        }
}

int main(void)
{
    RUN(test_short_convolution);
    RUN(test_multiply);
    RUN(test_gelu_tanh);
    RUN(test_long_convolution);
    RUN(test_long_convolution_moves);
    RUN(test_filter);
    RUN(test_positions);
    return check_done();
}
