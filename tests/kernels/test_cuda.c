/* SPDX-License-Identifier: MIT
 *
 * test_cuda.c - the device of the CUDA library, and its operations on rows against their
 * formulas in double.  What library and where: cuda_device.h.
 */
#include "tests/kernels/cuda_device.h"

static const enum dnas_cuda_type types[2] = {DNAS_CUDA_F32, DNAS_CUDA_BF16};
static const size_t lengths[] = {0, 1, 31, 32, 33, 127, 200};
#define N_LENGTHS (sizeof(lengths) / sizeof(*lengths))

GPU_TEST(test_info)
{
    struct dnas_cuda_info info;
    char why[100];

    CHECK(gpu->count(why, sizeof(why)) >= 1);
    gpu->info(dev, &info);
    CHECK(info.name[0] != '\0' && info.major >= 8 && info.n_processors > 0);
    CHECK(info.free_bytes > 0 && info.free_bytes <= info.memory_bytes);
    CHECK(info.runtime >= 12000);
    CHECK_STR(gpu->error(dev), "");
    CHECK(!gpu->open(1000, why, sizeof(why)));
    CHECK(strstr(why, "no device 1000") != NULL);
    gpu->close(NULL);
    gpu->free(dev, NULL);
    gpu->host_free(dev, NULL);
}

GPU_TEST(test_copies)
{
    enum { N = 1000 };
    uint8_t *in = gpu->host_alloc(dev, N), *out = gpu->host_alloc(dev, 2 * N);
    uint8_t *a = gpu_room(N), *b = gpu_room(2 * N);

    for (int i = 0; i < N; i++)
        in[i] = (uint8_t)(i * 7);
    gpu->copy_in(dev, a, in, N);
    gpu->zero(dev, b, 2 * N);
    gpu->copy(dev, b + 500, a, N);
    gpu->copy_out(dev, out, b, 2 * N);
    gpu->copy_in(dev, a, in, 0);
    CHECK_INT(gpu->wait(dev), 0);
    for (int i = 0; i < 2 * N; i++)
        if (out[i] != (i < 500 || i >= 500 + N ? 0 : in[i - 500]))
            CHECK_FAIL("byte %d", i);
    gpu->host_free(dev, in);
    gpu->host_free(dev, out);
    gpu_free(a, N);
    gpu_free(b, 2 * N);
}

GPU_TEST(test_marks)
{
    struct dnas_cuda_mark *a = gpu->mark_new(dev), *b = gpu->mark_new(dev);
    int *host = gpu->host_alloc(dev, 2 * sizeof(*host));
    int *p = gpu_room(2 * sizeof(*p));

    host[0] = 5;
    gpu->mark_set(dev, a);
    gpu->copy_in(dev, p, host, sizeof(*host));
    gpu->copy_out(dev, host + 1, p, sizeof(*host));
    gpu->mark_set(dev, b);
    CHECK_INT(gpu->mark_wait(dev, a), 0);
    CHECK_INT(gpu->mark_wait(dev, b), 0);
    CHECK_INT(host[1], 5);
    CHECK(gpu->mark_seconds(dev, a, b) >= 0 && gpu->mark_seconds(dev, a, b) < 60);
    gpu->mark_set(dev, a); /* again, and freed before it was reached */
    gpu->mark_free(dev, a);
    gpu->mark_free(dev, b);
    gpu->mark_free(dev, NULL);
    CHECK_INT(gpu->wait(dev), 0);
    gpu->host_free(dev, host);
    gpu_free(p, 2 * sizeof(*p));
}

/* No more memory is no error: less can still be had. */
GPU_TEST(test_out_of_memory)
{
    struct dnas_cuda_info info;
    void *p;

    gpu->info(dev, &info);
    CHECK(!gpu->alloc(dev, info.memory_bytes * 2));
    CHECK(!gpu->host_alloc(dev, (size_t)1 << 60));
    CHECK_STR(gpu->error(dev), "");
    p = gpu->alloc(dev, 1000);
    CHECK(p && (uintptr_t)p % 256 == 0);
    gpu->zero(dev, p, 1000);
    CHECK(!gpu->alloc(dev, info.memory_bytes * 2));
    gpu->layernorm_fwd(dev, p, NULL, NULL, p, p, NULL, 1, 8, 1, DNAS_CUDA_F32);
    gpu->free(dev, p);
    CHECK_INT(gpu->wait(dev), 0);
}

/* The first error stays, and what comes after it does nothing. */
GPU_TEST(test_errors_stick)
{
    char why[200];
    struct dnas_cuda *d;
    float *x, host[8];

    d = gpu->open(0, why, sizeof(why));
    CHECK(d != NULL);
    x = gpu->alloc(d, 1024);
    CHECK(x != NULL);
    gpu->layernorm_fwd(d, x, NULL, NULL, x, x, NULL, 1, 12, 0, DNAS_CUDA_F32);
    CHECK_INT(gpu->wait(d), -1);
    CHECK(strncmp(gpu->error(d), "layernorm.cu:", 13) == 0);
    CHECK(strstr(gpu->error(d), "rows of 12") != NULL);
    snprintf(why, sizeof(why), "%s", gpu->error(d));
    CHECK(!gpu->alloc(d, 8) && !gpu->host_alloc(d, 8) && !gpu->mark_new(d));
    gpu->copy_out(d, host, x, 8);
    gpu->layernorm_fwd(d, x, NULL, NULL, x, x, NULL, 1, 20, 0, DNAS_CUDA_F32);
    CHECK_INT(gpu->wait(d), -1);
    CHECK_STR(gpu->error(d), why);
    gpu->free(d, x);
    gpu->close(d);
}

/* What a kernel does wrong is told by the wait, and by nobody before. */
GPU_TEST(test_faults_stick)
{
    char why[200];
    struct dnas_cuda *d;
    float *x;

    if (!gpu_emulated)
        SKIP("a fault would be the end of the process' device");
    if (getenv("DNAS_EMULATED_EAGER"))
        SKIP("work is done before the wait");
    setenv("DNAS_EMULATED_FAULT", "2", 1);
    d = gpu->open(0, why, sizeof(why));
    x = gpu->alloc(d, 4096);
    gpu->zero(d, x, 4096);
    for (int i = 0; i < 3; i++)
        gpu->layernorm_fwd(d, x, NULL, NULL, x, x, NULL, 1, 8, 1, DNAS_CUDA_F32);
    CHECK_STR(gpu->error(d), "");
    CHECK_INT(gpu->wait(d), -1);
    CHECK(strstr(gpu->error(d), "an illegal memory access was encountered") != NULL);
    CHECK(!gpu->alloc(d, 8));
    snprintf(why, sizeof(why), "%s", gpu->error(d));
    gpu->free(d, x); /* fails, too */
    CHECK_STR(gpu->error(d), why);
    unsetenv("DNAS_EMULATED_FAULT");
    gpu->close(d);
    /* The emulated device is well again when all that used it is closed. */
    gpu->close(dev);
    dev = gpu->open(0, why, sizeof(why));
    CHECK(dev != NULL);
}

static void check_layernorm(size_t T, size_t C, double offset, bool in_place,
                            enum dnas_cuda_type type)
{
    float *x = draw(T * C, 1, offset, 0), *weight = draw(C, 1, 1, 2), *bias = draw(C, 1, 0, 3);
    size_t bytes = T * C * gpu_size(type);
    void *dx = gpu_put(x, T * C, type), *out = in_place ? dx : gpu_room(bytes);
    float *w = gpu_put(weight, C, DNAS_CUDA_F32), *b = gpu_put(bias, C, DNAS_CUDA_F32);
    float *mean = gpu_room(T * 4), *rstd = gpu_room(T * 4);
    float *got, *got_mean, *got_rstd;

    gpu->layernorm_fwd(dev, out, mean, rstd, dx, w, b, T, C, 1e-12f, type);
    got = gpu_get(out, T * C, type);
    got_mean = gpu_get(mean, T, DNAS_CUDA_F32);
    got_rstd = gpu_get(rstd, T, DNAS_CUDA_F32);
    for (size_t t = 0; t < T; t++) {
        double m = 0, v = 0;

        for (size_t i = 0; i < C; i++)
            m += (double)x[t * C + i] / (double)C;
        for (size_t i = 0; i < C; i++)
            v += ((double)x[t * C + i] - m) * ((double)x[t * C + i] - m) / (double)C;
        CHECK_NEAR(got_mean[t], m, 1e-6 * (1 + fabs(m)));
        CHECK_NEAR(got_rstd[t], 1 / sqrt(v + 1e-12), 1e-5 / sqrt(v + 1e-12));
        for (size_t i = 0; i < C; i++) {
            double want =
                ((double)x[t * C + i] - m) / sqrt(v + 1e-12) * (double)weight[i] + (double)bias[i];

            CHECK_NEAR(got[t * C + i], want,
                       1e-5 + gpu_step(type) * fabs(want) + 1e-8 * fabs(offset));
        }
    }
    gpu_free(dx, bytes);
    if (!in_place)
        gpu_free(out, bytes);
    gpu_free(w, C * 4);
    gpu_free(b, C * 4);
    gpu_free(mean, T * 4);
    gpu_free(rstd, T * 4);
    free(x);
    free(weight);
    free(bias);
    free(got);
    free(got_mean);
    free(got_rstd);
}

GPU_TEST(test_layernorm)
{
    static const size_t widths[] = {8, 96, 256, 264, 520, 768, 1024};

    for (int k = 0; k < 2; k++) {
        for (size_t i = 0; i < N_LENGTHS; i++)
            check_layernorm(lengths[i], 96, 0, false, types[k]);
        for (size_t i = 0; i < 7; i++) {
            check_layernorm(3, widths[i], 0, true, types[k]);
            check_layernorm(5, widths[i], 1000, false, types[k]);
        }
    }
}

/* A row of one value has no variance, and eps alone is left; NaN stays in its row. */
GPU_TEST(test_layernorm_eps_and_nan)
{
    float x[3 * 40], one[40], *got;
    void *dx, *w;

    for (size_t i = 0; i < 3 * 40; i++)
        x[i] = i < 40 ? 7 : (float)(i % 5);
    x[40 + 3] = NAN;
    for (size_t i = 0; i < 40; i++)
        one[i] = 1;
    dx = gpu_put(x, 3 * 40, DNAS_CUDA_F32);
    w = gpu_put(one, 40, DNAS_CUDA_F32);
    gpu->layernorm_fwd(dev, dx, NULL, NULL, dx, w, NULL, 3, 40, 0.25f, DNAS_CUDA_F32);
    got = gpu_get(dx, 3 * 40, DNAS_CUDA_F32);
    for (size_t i = 0; i < 40; i++) {
        CHECK_NEAR(got[i], 0, 0);
        CHECK(isnan(got[40 + i]));
        CHECK_NEAR(got[80 + i], ((double)(i % 5) - 2) / 1.5, 1e-6); /* variance 2 */
    }
    gpu_free(dx, sizeof(x));
    gpu_free(w, sizeof(one));
    free(got);
}

static void check_embedding(size_t T, size_t C, enum dnas_cuda_type type)
{
    enum { V = 13 };
    float *words = draw(V * C, 1, 0.5, 0), *shift = draw(C, 1, 0, 1), *got;
    float *weight = draw(C, 1, 1, 2), *bias = draw(C, 1, 0, 3);
    uint16_t *ids = dnas_xalloc(T + 1, sizeof(*ids));
    float *dwords = gpu_put(words, V * C, DNAS_CUDA_F32),
          *dshift = gpu_put(shift, C, DNAS_CUDA_F32);
    float *dweight = gpu_put(weight, C, DNAS_CUDA_F32), *dbias = gpu_put(bias, C, DNAS_CUDA_F32);
    uint16_t *dids = gpu_room(T * sizeof(*ids));
    void *out = gpu_room(T * C * gpu_size(type));

    for (size_t t = 0; t < T; t++)
        ids[t] = (uint16_t)(t * 7 % V);
    if (T > 0)
        gpu_write(dids, ids, T * sizeof(*ids));
    gpu->embedding_fwd(dev, out, dids, dwords, dshift, dweight, dbias, T, C, 1e-12f, type);
    got = gpu_get(out, T * C, type);
    for (size_t t = 0; t < T; t++) {
        const float *row = words + ids[t] * C;
        double m = 0, v = 0;

        for (size_t i = 0; i < C; i++)
            m += ((double)row[i] + (double)shift[i]) / (double)C;
        for (size_t i = 0; i < C; i++)
            v += pow((double)row[i] + (double)shift[i] - m, 2) / (double)C;
        for (size_t i = 0; i < C; i++) {
            double want = ((double)row[i] + (double)shift[i] - m) / sqrt(v + 1e-12);

            want = want * (double)weight[i] + (double)bias[i];
            CHECK_NEAR(got[t * C + i], want, 1e-5 + gpu_step(type) * fabs(want));
        }
    }
    gpu_free(dwords, V * C * 4);
    gpu_free(dshift, C * 4);
    gpu_free(dweight, C * 4);
    gpu_free(dbias, C * 4);
    gpu_free(dids, T * sizeof(*ids));
    gpu_free(out, T * C * gpu_size(type));
    free(words);
    free(shift);
    free(weight);
    free(bias);
    free(ids);
    free(got);
}

GPU_TEST(test_embedding)
{
    static const size_t widths[] = {8, 256, 264, 768, 1024};

    for (int k = 0; k < 2; k++) {
        for (size_t i = 0; i < N_LENGTHS; i++)
            check_embedding(lengths[i], 96, types[k]);
        for (size_t i = 0; i < 5; i++)
            check_embedding(9, widths[i], types[k]);
    }
}

static void check_geglu(size_t T, size_t F, enum dnas_cuda_type type)
{
    float *x = draw(T * 2 * F, 3, 0, 5), *got;
    void *dx, *out = gpu_room(T * F * gpu_size(type));

    if (T > 4) {
        x[2 * F] = NAN;               /* of row 1 */
        x[2 * 2 * F + F] = -INFINITY; /* the gate's, in row 2 */
        x[2 * 2 * F] = 1;
    }
    dx = gpu_put(x, T * 2 * F, type);
    gpu->geglu_fwd(dev, out, dx, T, F, type);
    got = gpu_get(out, T * F, type);
    for (size_t t = 0; t < T; t++)
        for (size_t i = 0; i < F; i++) {
            double z = (double)x[t * 2 * F + i], gate = (double)x[t * 2 * F + F + i];
            double want = z / 2 * erfc(-z / sqrt(2)) * gate;

            if (T > 4 && t == 1 && i == 0)
                CHECK(isnan(got[t * F]));
            else if (T > 4 && t == 2 && i == 0)
                CHECK(isinf(got[t * F]) && got[t * F] < 0);
            else
                CHECK_NEAR(got[t * F + i], want,
                           5e-7 * (1 + fabs(gate) * fabs(z)) + gpu_step(type) * fabs(want));
        }
    gpu_free(dx, T * 2 * F * gpu_size(type));
    gpu_free(out, T * F * gpu_size(type));
    free(x);
    free(got);
}

GPU_TEST(test_geglu)
{
    for (int k = 0; k < 2; k++) {
        for (size_t i = 0; i < N_LENGTHS; i++)
            check_geglu(lengths[i], 40, types[k]);
        check_geglu(3, 8, types[k]);
        check_geglu(5, 3072, types[k]);
        check_geglu(500, 56, types[k]); /* the emulated grid is no multiple of seven pieces */
    }
}

/* A row that is NaN makes its own sequence's mean NaN, and no other. */
static void check_meanpool(size_t C, enum dnas_cuda_type type)
{
    static const uint32_t offset[] = {0, 1, 32, 64, 97, 224, 424, 425};
    enum { B = 7, T = 425, BAD = 3 };
    static const float slope = 1;
    struct dnas_cuda_pack *p = gpu->pack_new(dev, T, B, 1, 8, &slope);
    float *x = draw(T * C, 1, 0, 6);
    double *out = gpu_room(B * C * sizeof(*out)), *got = dnas_xalloc(B * C, sizeof(*got)), *alone;
    void *dx;

    x[offset[BAD] * C + C - 1] = NAN;
    dx = gpu_put(x, T * C, type);
    gpu->pack_set(dev, p, offset, B);
    gpu->meanpool_fwd(dev, out, dx, p, C, type);
    gpu_read(got, out, B * C * sizeof(*got));
    for (size_t b = 0; b < B; b++)
        for (size_t i = 0; i < C; i++) {
            double want = 0;

            for (size_t t = offset[b]; t < offset[b + 1]; t++)
                want += (double)x[t * C + i];
            want /= offset[b + 1] - offset[b];
            if (b == BAD && i == C - 1)
                CHECK(isnan(got[b * C + i]));
            else
                CHECK_NEAR(got[b * C + i], want, 1e-14);
        }
    /* The fifth sequence alone: the same bits. */
    alone = dnas_xalloc(C, sizeof(*alone));
    gpu->pack_set(dev, p, (uint32_t[]){0, offset[5] - offset[4]}, 1);
    gpu->meanpool_fwd(dev, out, (char *)dx + offset[4] * C * gpu_size(type), p, C, type);
    gpu_read(alone, out, C * sizeof(*alone));
    CHECK(memcmp(alone, got + 4 * C, C * sizeof(*alone)) == 0);
    gpu->pack_free(dev, p);
    gpu_free(out, B * C * sizeof(*out));
    gpu_free(dx, T * C * gpu_size(type));
    free(x);
    free(got);
    free(alone);
}

GPU_TEST(test_meanpool)
{
    for (int k = 0; k < 2; k++) {
        check_meanpool(8, types[k]);
        check_meanpool(96, types[k]);
        check_meanpool(768, types[k]);
    }
}

static void check_linear(size_t T, size_t O, size_t I, bool bias, int add, enum dnas_cuda_type type)
{
    float *x = draw(T * I, 1, 0, 1), *w = draw(O * I, 1, 0, 2), *b = draw(O, 3, 0, 3);
    float *residual = draw(T * O, 2, 0, 4), *got, *alone;
    void *dx = gpu_put(x, T * I, type), *dw = gpu_put(w, O * I, type);
    void *db = gpu_put(b, O, DNAS_CUDA_F32), *dr = gpu_put(residual, T * O, type);
    size_t bytes = T * O * gpu_size(type), row = O * gpu_size(type);
    void *out = add == 2 ? dr : gpu_room(bytes), *last = gpu_room(row);

    if (T > 0) /* the last row by itself, before its residual may be overwritten */
        gpu->linear_fwd(dev, last, (char *)dx + (T - 1) * I * gpu_size(type), dw, bias ? db : NULL,
                        add ? (char *)dr + (T - 1) * row : NULL, 1, O, I, type);
    gpu->linear_fwd(dev, out, dx, dw, bias ? db : NULL, add ? dr : NULL, T, O, I, type);
    got = gpu_get(out, T * O, type);
    alone = gpu_get(last, O, type);
    CHECK(T == 0 || memcmp(alone, &got[(T - 1) * O], O * sizeof(*alone)) == 0);
    for (size_t t = 0; t < T; t++)
        for (size_t o = 0; o < O; o++) {
            double want = bias ? (double)b[o] : 0, size = 0;

            want += add ? (double)residual[t * O + o] : 0;
            for (size_t i = 0; i < I; i++) {
                want += (double)x[t * I + i] * (double)w[o * I + i];
                size += fabs((double)x[t * I + i] * (double)w[o * I + i]);
            }
            /* A bias may have been rounded too, or added after a first rounding. */
            CHECK_NEAR(got[t * O + o], want,
                       1e-6 * size +
                           gpu_step(type) * (2 * fabs(want) + (bias ? 2 * fabs(b[o]) : 0)));
        }
    gpu_free(dx, T * I * gpu_size(type));
    gpu_free(dw, O * I * gpu_size(type));
    gpu_free(db, O * 4);
    gpu_free(dr, bytes);
    gpu_free(last, row);
    if (add != 2)
        gpu_free(out, bytes);
    free(x);
    free(w);
    free(b);
    free(residual);
    free(got);
    free(alone);
}

GPU_TEST(test_linear)
{
    for (int k = 0; k < 2; k++) {
        for (size_t i = 0; i < N_LENGTHS; i++)
            check_linear(lengths[i], 96, 32, true, 0, types[k]);
        for (int add = 0; add < 3; add++) {
            check_linear(33, 40, 64, false, add, types[k]);
            check_linear(17, 24, 768, true, add, types[k]);
        }
    }
}

/* Where cuBLASLt adds no bias in f32, or none at all. */
GPU_TEST(test_linear_bias_refused)
{
    static const char *const refused[] = {"bias-f32", "bias-f32,bias-bf16"};

    if (!gpu_emulated)
        SKIP("only an emulated cuBLASLt can be told to refuse");
    for (int i = 0; i < 2; i++) {
        char why[200];

        setenv("DNAS_EMULATED_REFUSE", refused[i], 1);
        gpu->close(dev);
        dev = gpu->open(0, why, sizeof(why));
        for (int k = 0; k < 2; k++)
            for (int add = 0; add < 3; add++)
                check_linear(19, 48, 56, true, add, types[k]);
        unsetenv("DNAS_EMULATED_REFUSE");
    }
}

/* Where cuBLASLt names an algorithm that does for all numbers of rows only when it is asked for
 * few. */
GPU_TEST(test_linear_found_for_few)
{
    char why[200];

    if (!gpu_emulated)
        SKIP("only an emulated cuBLASLt can be told to refuse");
    setenv("DNAS_EMULATED_REFUSE", "many", 1);
    gpu->close(dev);
    dev = gpu->open(0, why, sizeof(why));
    for (int k = 0; k < 2; k++)
        check_linear(33, 48, 56, true, 1, types[k]);
    unsetenv("DNAS_EMULATED_REFUSE");
}

/* Where it has none: products of many rows go on, one of few is an error. */
GPU_TEST(test_linear_none_for_few)
{
    enum { T = 64, N = 64 };
    char why[200];
    void *x, *out;

    if (!gpu_emulated)
        SKIP("only an emulated cuBLASLt can be told to refuse");
    setenv("DNAS_EMULATED_REFUSE", "plain", 1);
    gpu->close(dev);
    dev = gpu->open(0, why, sizeof(why));
    x = gpu->alloc(dev, T * N * sizeof(float));
    out = gpu->alloc(dev, T * N * sizeof(float));
    gpu->zero(dev, x, T * N * sizeof(float));
    gpu->linear_fwd(dev, out, x, x, NULL, NULL, T, N, N, DNAS_CUDA_F32);
    CHECK_INT(gpu->wait(dev), 0);
    gpu->linear_fwd(dev, out, x, x, NULL, NULL, 1, N, N, DNAS_CUDA_F32);
    CHECK_INT(gpu->wait(dev), -1);
    CHECK(strstr(gpu->error(dev), "CUBLAS_STATUS_NOT_SUPPORTED") != NULL);
    gpu->free(dev, x);
    gpu->free(dev, out);
    gpu->close(dev);
    unsetenv("DNAS_EMULATED_REFUSE");
    dev = gpu->open(0, why, sizeof(why));
}

int main(int argc, char **argv)
{
    gpu_begin(argc, argv);
    RUN(test_info);
    RUN(test_copies);
    RUN(test_marks);
    RUN(test_out_of_memory);
    RUN(test_errors_stick);
    RUN(test_faults_stick);
    RUN(test_layernorm);
    RUN(test_layernorm_eps_and_nan);
    RUN(test_embedding);
    RUN(test_geglu);
    RUN(test_meanpool);
    RUN(test_linear);
    RUN(test_linear_bias_refused);
    RUN(test_linear_found_for_few);
    RUN(test_linear_none_for_few);
    gpu_end();
    return check_done();
}
