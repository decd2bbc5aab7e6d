/* SPDX-License-Identifier: MIT
 *
 * test_cuda_attention.c - attention of the CUDA library, against the formula in double.
 */
#include "tests/kernels/attention_cases.h"

static const uint32_t many[] = {0, 1, 32, 64, 97, 224, 424, 425, 490};
#define N_MANY 8

GPU_TEST(test_attention_f32)
{
    static const size_t D[] = {4, 12, 16, 32, 40, 64, 128};

    for (size_t k = 0; k < 7; k++)
        if (k % 2 == 0 || !gpu_emulated)
            check_attention(many, N_MANY, 1 + k % 4 / 2, D[k], 1, 4, DNAS_CUDA_F32);
    check_attention(many, N_MANY, 3, 32, 3, 100, DNAS_CUDA_F32);
}

GPU_TEST(test_attention_bf16)
{
    static const size_t D[] = {16, 32, 64, 128};

    for (size_t k = 0; k < 4; k++)
        check_attention(many, N_MANY, 2, D[k], 1, 4, DNAS_CUDA_BF16);
    check_attention(many, N_MANY, 3, 32, 3, 100, DNAS_CUDA_BF16);
}

GPU_TEST(test_attention_long)
{
    static const uint32_t one[] = {0, 700}, three[] = {0, 2000, 2050, 4150};

    check_attention(one, 1, 1, 16, 1, 100, DNAS_CUDA_F32);
    check_attention(one, 1, 1, 64, 1, 100, DNAS_CUDA_BF16);
    if (!gpu_emulated) {
        check_attention(three, 3, 2, 64, 1, 1, DNAS_CUDA_F32);
        check_attention(three, 3, 2, 64, 1, 1, DNAS_CUDA_BF16);
    }
}

/* With long q and k a far key may win over near ones: it must not be skipped. */
GPU_TEST(test_far_keys_that_count)
{
    enum { T = 600, D = 16 };
    static const uint32_t offset[] = {0, T};

    for (int k = 0; k < 2; k++) {
        enum dnas_cuda_type type = k ? DNAS_CUDA_BF16 : DNAS_CUDA_F32;
        float *qkv = draw(T * 3 * D, 0.1, 0, 9);
        void *dqkv;
        struct result r;

        for (size_t c = 0; c < D; c++) { /* 12 12 16 / 4 = 576 against 0.5 599 = 300 */
            qkv[c] = 12;
            qkv[(T - 1) * 3 * D + D + c] = 12;
            qkv[(T - 1) * 3 * D + 2 * D + c] = 3;
        }
        dqkv = gpu_put(qkv, T * 3 * D, type);
        r = attend(dqkv, offset, 1, 1, D, 1, type);
        for (size_t c = 0; c < D; c++)
            CHECK_NEAR(r.out[c], 3, 1e-4);
        release(&r);
        gpu_free(dqkv, T * 3 * D * gpu_size(type));
        free(qkv);
    }
}

/* What is too far is not looked at: NaN there does not show in v, but does without skipping. */
GPU_TEST(test_far_keys_are_skipped)
{
    enum { T = 600, D = 16 };
    static const uint32_t offset[] = {0, T};

    for (int k = 0; k < 2; k++) {
        enum dnas_cuda_type type = k ? DNAS_CUDA_BF16 : DNAS_CUDA_F32;
        float *qkv = draw(T * 3 * D, 0.1, 0, 10);
        void *dqkv;
        struct result r;

        qkv[2 * D] = NAN;
        dqkv = gpu_put(qkv, T * 3 * D, type);
        r = attend(dqkv, offset, 1, 1, D, 1, type);
        CHECK(isnan(r.out[0]) && !isnan(r.out[1]));
        /* slope 0.5: 2^-24 is 33 keys away, and a block begins every 64. */
        for (size_t t = 256; t < T; t++)
            CHECK(!isnan(r.out[t * D]));
        release(&r);
        r = attend(dqkv, offset, 1, 1, D, 0, type);
        CHECK(isnan(r.out[(T - 1) * D]));
        release(&r);
        gpu_free(dqkv, T * 3 * D * gpu_size(type));
        free(qkv);
    }
}

/* What is left out has less than 2^-24 of each row's weight: values of 2^20 on keys `far` or more
 * away from the first row, and 0 on the others, show any more than that. */
GPU_TEST(test_what_is_left_out_is_negligible)
{
    enum { T = 640, D = 16 };
    static const uint32_t offset[] = {0, T};
    static const float slope = 0.05f;

    slopes = &slope;
    for (size_t far = 128; far < T; far += 128)
        for (int k = 0; k < 2; k++) {
            enum dnas_cuda_type type = k ? DNAS_CUDA_BF16 : DNAS_CUDA_F32;
            float *qkv = dnas_xzalloc(T * 3 * D, sizeof(*qkv));
            double sum = 0, weight = 0;
            void *dqkv;
            struct result r;

            for (size_t t = 0; t < T; t++) {
                qkv[t * 3 * D + 2 * D] = t >= far ? 0x1p20f : 0;
                sum += exp(-(double)slope * (double)t);
                weight += t >= far ? exp(-(double)slope * (double)t) : 0;
            }
            dqkv = gpu_put(qkv, T * 3 * D, type);
            r = attend(dqkv, offset, 1, 1, D, 1, type);
            CHECK_NEAR(r.out[0], 0x1p20 * weight / sum,
                       0x1p-4 * 1.01 + gpu_step(type) * 0x1p20 * weight / sum * 2);
            release(&r);
            gpu_free(dqkv, T * 3 * D * gpu_size(type));
            free(qkv);
        }
    slopes = three_slopes;
}

/* A pack is used again, for less and for nothing; what it cannot hold is an error. */
GPU_TEST(test_pack_reuse)
{
    static const uint32_t big[] = {0, 100, 300}, small[] = {0, 5};
    enum { D = 16, T = 300 };
    float *qkv = draw(T * 3 * D, 1, 0, 11), *first, *second;
    void *dqkv = gpu_put(qkv, T * 3 * D, DNAS_CUDA_F32), *out = gpu_room(T * D * 4);
    struct dnas_cuda_pack *p = gpu->pack_new(dev, T, 2, 1, D, slopes);
    struct result alone = attend(dqkv, small, 1, 1, D, 1, DNAS_CUDA_F32);
    struct dnas_cuda *d;
    char why[200];

    gpu->pack_set(dev, p, big, 2);
    gpu->attention_fwd(dev, out, NULL, dqkv, p, 1, DNAS_CUDA_F32);
    first = gpu_get(out, T * D, DNAS_CUDA_F32);
    gpu->pack_set(dev, p, small, 1);
    gpu->attention_fwd(dev, out, NULL, dqkv, p, 1, DNAS_CUDA_F32);
    second = gpu_get(out, T * D, DNAS_CUDA_F32);
    CHECK(memcmp(second, alone.out, 5 * D * 4) == 0);
    CHECK(memcmp(second + 5 * D, first + 5 * D, (T - 5) * D * 4) == 0);
    gpu->pack_set(dev, p, (uint32_t[]){0}, 0);
    gpu->attention_fwd(dev, out, NULL, dqkv, p, 1, DNAS_CUDA_F32);
    CHECK_INT(gpu->wait(dev), 0);
    gpu->pack_free(dev, p);
    gpu->pack_free(dev, NULL);
    gpu_free(out, T * D * 4);
    gpu_free(dqkv, T * 3 * D * 4);

    d = gpu->open(0, why, sizeof(why));
    p = gpu->pack_new(d, 10, 1, 1, D, slopes);
    gpu->pack_set(d, p, (uint32_t[]){0, 11}, 1);
    CHECK_INT(gpu->wait(d), -1);
    CHECK(strstr(gpu->error(d), "11 tokens") != NULL);
    gpu->pack_free(d, p);
    gpu->close(d);
    free(qkv);
    free(first);
    free(second);
    release(&alone);
}

int main(int argc, char **argv)
{
    gpu_begin(argc, argv);
    RUN(test_attention_f32);
    RUN(test_attention_bf16);
    RUN(test_attention_long);
    RUN(test_far_keys_that_count);
    RUN(test_far_keys_are_skipped);
    RUN(test_what_is_left_out_is_negligible);
    RUN(test_pack_reuse);
    gpu_end();
    return check_done();
}
