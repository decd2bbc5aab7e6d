/* SPDX-License-Identifier: MIT
 *
 * test_cuda_attention_bwd.c - attention of the CUDA library, backward, against the formula in
 * double and, once, against differences of the forward.
 */
#include "tests/kernels/cuda_device.h"

static const float slopes[3] = {0.5f, 0.03125f, 0.70710678f};

/* Of one sequence, from the activations as the device has them: p by softmax, ds = p (dp - delta)
 * with delta = sum over keys of p dp. */
static void backward_in_double(double *dqkv, const float *dout, const float *qkv, size_t n,
                               size_t H, size_t D)
{
    size_t C = H * D;
    double *p = dnas_xalloc(2 * n, sizeof(*p)), *dp = p + n, scale = 1 / sqrt((double)D);

    memset(dqkv, 0, n * 3 * C * sizeof(*dqkv));
    for (size_t h = 0; h < H; h++)
        for (size_t i = 0; i < n; i++) {
            const float *q = qkv + i * 3 * C + h * D, *g = dout + i * C + h * D;
            double top = -INFINITY, sum = 0, delta = 0;

            for (size_t j = 0; j < n; j++) {
                const float *k = qkv + j * 3 * C + C + h * D, *v = k + C;

                p[j] = dp[j] = 0;
                for (size_t c = 0; c < D; c++) {
                    p[j] += (double)q[c] * (double)k[c] * scale;
                    dp[j] += (double)g[c] * (double)v[c];
                }
                p[j] -= (double)slopes[h] * fabs((double)i - (double)j);
                top = p[j] > top ? p[j] : top;
            }
            for (size_t j = 0; j < n; j++)
                sum += p[j] = exp(p[j] - top);
            for (size_t j = 0; j < n; j++) {
                p[j] /= sum;
                delta += p[j] * dp[j];
            }
            for (size_t j = 0; j < n; j++) {
                const float *k = qkv + j * 3 * C + C + h * D;
                double ds = p[j] * (dp[j] - delta) * scale;

                for (size_t c = 0; c < D; c++) {
                    dqkv[i * 3 * C + h * D + c] += ds * (double)k[c];
                    dqkv[j * 3 * C + C + h * D + c] += ds * (double)q[c];
                    dqkv[j * 3 * C + 2 * C + h * D + c] += p[j] * (double)g[c];
                }
            }
        }
    free(p);
}

/* dqkv of the device, for rows that stand at the start of the device's arrays; twice: again.
 * other: of another layer, which has the pack in between; NULL: none. */
static float *backward(const void *qkv, const void *dout, const uint32_t *offset, size_t B,
                       size_t H, size_t D, bool twice, const void *other, enum dnas_cuda_type type)
{
    size_t T = offset[B], C = H * D, size = gpu_size(type);
    struct dnas_cuda_pack *p = gpu->pack_new(dev, T, B, H, D, slopes);
    void *out = gpu_room(T * C * size), *dqkv = gpu_room(T * 3 * C * size);
    float *lse = gpu_room(H * T * 4), *got, *again;

    CHECK(p != NULL);
    gpu->pack_set(dev, p, offset, B);
    gpu->attention_fwd(dev, out, lse, qkv, p, 1, type);
    if (other)
        gpu->attention_fwd(dev, dqkv, NULL, other, p, 1, type);
    gpu->attention_bwd(dev, dqkv, dout, out, lse, qkv, p, type);
    got = gpu_get(dqkv, T * 3 * C, type);
    if (twice) {
        gpu->attention_bwd(dev, dqkv, dout, out, lse, qkv, p, type);
        again = gpu_get(dqkv, T * 3 * C, type);
        CHECK(memcmp(got, again, T * 3 * C * sizeof(*got)) == 0);
        free(again);
    }
    gpu_free(out, T * C * size);
    gpu_free(dqkv, T * 3 * C * size);
    gpu_free(lse, H * T * 4);
    gpu->pack_free(dev, p);
    return got;
}

/* The error of each of dq, dk and dv, beside the root of its mean square; and that of single
 * elements beside it. */
static void check_third(const char *what, const float *got, const double *want, size_t n, size_t C,
                        double tolerance)
{
    double error = 0, size = 0, worst = 0;

    for (size_t t = 0; t < n; t++)
        for (size_t i = 0; i < C; i++) {
            double d = fabs((double)got[t * 3 * C + i] - want[t * 3 * C + i]);

            error += d * d;
            size += want[t * 3 * C + i] * want[t * 3 * C + i];
            if (!(d <= worst))
                worst = isnan(d) ? INFINITY : d;
        }
    if (!(sqrt(error) <= tolerance * sqrt(size) + 1e-5 * sqrt((double)(n * C))))
        CHECK_FAIL("%s of %zu rows of %zu: off by %.3g of it", what, n, C, sqrt(error / size));
    if (!(worst <= 10 * tolerance * sqrt(size / (double)(n * C)) + 5e-5))
        CHECK_FAIL("%s of %zu rows of %zu: an element is off by %.3g, of %.3g", what, n, C, worst,
                   sqrt(size / (double)(n * C)));
}

/* Several sequences, one of them of NaN; each against the formula, and alone to the same bits. */
static void check_backward(const uint32_t *offset, size_t B, size_t H, size_t D, double spread,
                           size_t bad, enum dnas_cuda_type type)
{
    /* In bf16 p, ds and what comes out are rounded, and the forward's result in delta. */
    const double tolerance = type == DNAS_CUDA_BF16 ? 6e-3 : 1e-5;
    size_t T = offset[B], C = H * D, size = gpu_size(type);
    float *qkv = draw(T * 3 * C, spread, 0, (uint32_t)D), *dout = draw(T * C, 1, 0, 77), *got;
    double *want = dnas_xalloc(T * 3 * C, sizeof(*want));
    void *d_qkv, *d_dout;

    if (bad < B)
        for (size_t i = offset[bad] * 3 * C; i < offset[bad + 1] * 3 * C; i++)
            qkv[i] = NAN;
    d_qkv = gpu_put(qkv, T * 3 * C, type);
    d_dout = gpu_put(dout, T * C, type);
    got = backward(d_qkv, d_dout, offset, B, H, D, true, NULL, type);
    for (size_t b = 0; b < B; b++) {
        size_t from = offset[b], n = offset[b + 1] - from;
        uint32_t own[2] = {0, (uint32_t)n};
        float *alone, *here = got + from * 3 * C;

        if (b == bad) {
            for (size_t i = 0; i < n * 3 * C; i++)
                CHECK(isnan(here[i]));
            continue;
        }
        if (B > 1) {
            alone = backward((char *)d_qkv + from * 3 * C * size, (char *)d_dout + from * C * size,
                             own, 1, H, D, false, NULL, type);
            CHECK(memcmp(alone, here, n * 3 * C * sizeof(*here)) == 0);
            free(alone);
        }
        backward_in_double(want, dout + from * C, qkv + from * 3 * C, n, H, D);
        check_third("dq", here, want, n, C, tolerance);
        check_third("dk", here + C, want + C, n, C, tolerance);
        check_third("dv", here + 2 * C, want + 2 * C, n, C, tolerance);
    }
    gpu_free(d_qkv, T * 3 * C * size);
    gpu_free(d_dout, T * C * size);
    free(qkv);
    free(dout);
    free(got);
    free(want);
}

static const uint32_t many[] = {0, 1, 32, 64, 97, 224, 424, 425}, few[] = {0, 33, 160};
#define N_MANY 7
#define N_FEW 2

GPU_TEST(test_backward_f32)
{
    check_backward(many, N_MANY, 2, 16, 1, 4, DNAS_CUDA_F32);
    check_backward(many, N_MANY, 1, 24, 1, 4, DNAS_CUDA_F32);
    check_backward(few, N_FEW, 1, 64, 1, 100, DNAS_CUDA_F32);
    check_backward(few, N_FEW, 3, 8, 2, 100, DNAS_CUDA_F32);
    if (!gpu_emulated) {
        check_backward(many, N_MANY, 2, 64, 1, 4, DNAS_CUDA_F32);
        check_backward(many, N_MANY, 2, 128, 1, 4, DNAS_CUDA_F32);
    }
}

GPU_TEST(test_backward_bf16)
{
    check_backward(many, N_MANY, 2, 16, 1, 4, DNAS_CUDA_BF16);
    check_backward(many, N_MANY, 1, 32, 1, 4, DNAS_CUDA_BF16);
    check_backward(few, N_FEW, 2, 64, 1, 100, DNAS_CUDA_BF16);
    check_backward(few, N_FEW, 3, 16, 2, 100, DNAS_CUDA_BF16);
    check_backward(few, N_FEW, 1, 128, 1, 100, DNAS_CUDA_BF16);
    if (!gpu_emulated) {
        check_backward(many, N_MANY, 3, 64, 1, 4, DNAS_CUDA_BF16);
        check_backward(many, N_MANY, 2, 128, 1, 4, DNAS_CUDA_BF16);
    }
}

GPU_TEST(test_backward_long)
{
    static const uint32_t one[] = {0, 450}, three[] = {0, 2000, 2050, 4150};

    check_backward(one, 1, 1, 16, 1, 100, DNAS_CUDA_F32);
    check_backward(one, 1, 2, 16, 1, 100, DNAS_CUDA_BF16);
    if (!gpu_emulated) {
        check_backward(three, 3, 2, 64, 1, 1, DNAS_CUDA_F32);
        check_backward(three, 3, 2, 64, 1, 1, DNAS_CUDA_BF16);
        check_backward(three, 3, 2, 128, 1, 1, DNAS_CUDA_BF16);
    }
}

/* Scores so far below 0 that 2^-lse is infinity: keys of zeros beyond the end must not make NaN
 * of it. */
GPU_TEST(test_scores_far_below_zero)
{
    enum { T = 40, D = 16 };
    static const uint32_t offset[] = {0, T};

    for (int k = 0; k < 2; k++) {
        enum dnas_cuda_type type = k ? DNAS_CUDA_BF16 : DNAS_CUDA_F32;
        float *qkv = draw(T * 3 * D, 0.1, 0, 12), *dout = draw(T * D, 1, 0, 13), *got;
        double *want = dnas_xalloc(T * 3 * D, sizeof(*want));
        void *d_qkv, *d_dout;

        for (size_t t = 0; t < T; t++)
            for (size_t i = 0; i < 2 * D; i++)
                qkv[t * 3 * D + i] += i < D ? 6.0f : -6.0f;
        d_qkv = gpu_put(qkv, T * 3 * D, type);
        d_dout = gpu_put(dout, T * D, type);
        got = backward(d_qkv, d_dout, offset, 1, 1, D, false, NULL, type);
        backward_in_double(want, dout, qkv, T, 1, D);
        /* The rounding of ds is multiplied by 6, and its sum of 0 is lost. */
        check_third("dq", got, want, T, D, k ? 0.2 : 1e-3);
        check_third("dk", got + D, want + D, T, D, k ? 0.2 : 1e-3);
        check_third("dv", got + 2 * D, want + 2 * D, T, D, k ? 1e-2 : 1e-4);
        gpu_free(d_qkv, T * 3 * D * gpu_size(type));
        gpu_free(d_dout, T * D * gpu_size(type));
        free(qkv);
        free(dout);
        free(got);
        free(want);
    }
}

/* What forward skipped is skipped again: NaN in v far away shows in no query's gradient.  In
 * between the pack has served another layer, which skips nothing. */
GPU_TEST(test_far_keys_are_skipped)
{
    enum { T = 600, D = 16 };
    static const uint32_t offset[] = {0, T};

    for (int k = 0; k < 2; k++) {
        enum dnas_cuda_type type = k ? DNAS_CUDA_BF16 : DNAS_CUDA_F32;
        float *qkv = draw(T * 3 * D, 0.1, 0, 10), *dout = draw(T * D, 1, 0, 11), *got;
        float *large = draw(T * 3 * D, 30, 0, 12);
        void *d_qkv, *d_dout, *other;

        qkv[2 * D] = NAN;
        dout[(T - 1) * D] = NAN;
        d_qkv = gpu_put(qkv, T * 3 * D, type);
        d_dout = gpu_put(dout, T * D, type);
        other = gpu_put(large, T * 3 * D, type);
        got = backward(d_qkv, d_dout, offset, 1, 1, D, false, other, type);
        CHECK(isnan(got[0]) && isnan(got[(T - 1) * 3 * D + 2 * D]));
        for (size_t t = 256; t < 300; t++) /* far from both */
            for (size_t i = 0; i < 3 * D; i++)
                CHECK(!isnan(got[t * 3 * D + i]));
        gpu_free(d_qkv, T * 3 * D * gpu_size(type));
        gpu_free(d_dout, T * D * gpu_size(type));
        free(qkv);
        free(dout);
        free(got);
        gpu_free(other, T * 3 * D * gpu_size(type));
        free(large);
    }
}

/* sum of dout out, for the differences. */
static double weighed(float *qkv, const float *dout, const uint32_t *offset, size_t B, size_t H,
                      size_t D)
{
    size_t T = offset[B], C = H * D;
    struct dnas_cuda_pack *p = gpu->pack_new(dev, T, B, H, D, slopes);
    void *d_qkv = gpu_put(qkv, T * 3 * C, DNAS_CUDA_F32), *out = gpu_room(T * C * 4);
    float *got;
    double sum = 0;

    gpu->pack_set(dev, p, offset, B);
    gpu->attention_fwd(dev, out, NULL, d_qkv, p, 0, DNAS_CUDA_F32);
    got = gpu_get(out, T * C, DNAS_CUDA_F32);
    for (size_t i = 0; i < T * C; i++)
        sum += (double)got[i] * (double)dout[i];
    gpu_free(d_qkv, T * 3 * C * 4);
    gpu_free(out, T * C * 4);
    gpu->pack_free(dev, p);
    free(got);
    return sum;
}

GPU_TEST(test_backward_by_differences)
{
    enum { T = 9, H = 2, D = 8, C = H * D, N = T * 3 * C };
    static const uint32_t offset[] = {0, 6, T};
    const float step = 0x1p-6f;
    float *qkv = draw(N, 1, 0, 20), *dout = draw(T * C, 1, 0, 21), *got;
    void *d_qkv = gpu_put(qkv, N, DNAS_CUDA_F32), *d_dout = gpu_put(dout, T * C, DNAS_CUDA_F32);

    got = backward(d_qkv, d_dout, offset, 2, H, D, false, NULL, DNAS_CUDA_F32);
    for (size_t i = 0; i < N; i += 5) {
        float x = qkv[i];
        double up, down;

        qkv[i] = x + step;
        up = weighed(qkv, dout, offset, 2, H, D);
        qkv[i] = x - step;
        down = weighed(qkv, dout, offset, 2, H, D);
        qkv[i] = x;
        /* f32 leaves 1e-6 of sums of size 10; the step, a third derivative. */
        CHECK_NEAR(got[i], (up - down) / (2 * (double)step), 1e-3);
    }
    gpu_free(d_qkv, N * 4);
    gpu_free(d_dout, T * C * 4);
    free(qkv);
    free(dout);
    free(got);
}

GPU_TEST(test_backward_refuses)
{
    static const uint32_t offset[] = {0, 5};
    char why[200];
    struct dnas_cuda *d = gpu->open(0, why, sizeof(why));
    struct dnas_cuda_pack *p;
    void *x;

    if (!d) {
        CHECK_FAIL("%s", why);
        return;
    }
    p = gpu->pack_new(d, 5, 1, 1, 40, slopes);
    x = gpu->alloc(d, 8192);
    gpu->pack_set(d, p, offset, 1);
    gpu->attention_bwd(d, x, x, x, x, x, p, DNAS_CUDA_BF16);
    CHECK_INT(gpu->wait(d), -1);
    CHECK(strstr(gpu->error(d), "not 40") != NULL);
    gpu->close(d);
    /* The emulated device is well again when all that used it is closed. */
    if (gpu_emulated) {
        gpu->close(dev);
        dev = gpu->open(0, why, sizeof(why));
    }
}

int main(int argc, char **argv)
{
    gpu_begin(argc, argv);
    RUN(test_backward_f32);
    RUN(test_backward_bf16);
    RUN(test_backward_long);
    RUN(test_scores_far_below_zero);
    RUN(test_far_keys_are_skipped);
    RUN(test_backward_by_differences);
    RUN(test_backward_refuses);
    gpu_end();
    return check_done();
}
