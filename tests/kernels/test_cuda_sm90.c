/* SPDX-License-Identifier: MIT
 *
 * test_cuda_sm90.c - the kernels for GPUs of compute capability 9.0 alone, which
 * DNAS_CUDA_KERNELS=sm90 asks for: against the formulas in double, and beside the others.
 */
#include "tests/kernels/attention_cases.h"

static struct dnas_cuda *plain; /* the same device, without them */

#define SM90_TEST(test)                                                                            \
    static void test##_of_sm90(void);                                                              \
    GPU_TEST(test)                                                                                 \
    {                                                                                              \
        struct dnas_cuda_info info;                                                                \
                                                                                                   \
        gpu->info(dev, &info);                                                                     \
        if (info.major == 9 && info.minor == 0)                                                    \
            test##_of_sm90();                                                                      \
        else                                                                                       \
            SKIP("the GPU is not of compute capability 9.0");                                      \
    }                                                                                              \
    static void test##_of_sm90(void)

/* Swaps the device for the plain one, and back. */
static void swap(void)
{
    struct dnas_cuda *d = dev;

    dev = plain;
    plain = d;
}

/* ---- attention ---- */

/* 1, 31, 32, 33, 63, 64, 65, 127, 128, 129 and 300 rows. */
static const uint32_t lengths[] = {0, 1, 32, 64, 97, 160, 224, 289, 416, 544, 673, 973};
#define N_LENGTHS 11

SM90_TEST(test_attention)
{
    check_attention(lengths, N_LENGTHS, 2, 64, 1, N_LENGTHS, DNAS_CUDA_BF16);
    /* The bad one's rows follow 64 and 289 whole blocks of others in the boxes that are loaded. */
    check_attention(lengths, N_LENGTHS, 1, 64, 1, 3, DNAS_CUDA_BF16);
    check_attention(lengths, N_LENGTHS, 1, 64, 3, 7, DNAS_CUDA_BF16);
}

SM90_TEST(test_attention_long)
{
    static const uint32_t one[] = {0, 700}, three[] = {0, 2000, 2050, 4150};

    check_attention(one, 1, 1, 64, 1, 1, DNAS_CUDA_BF16);
    if (!gpu_emulated)
        check_attention(three, 3, 3, 64, 1, 1, DNAS_CUDA_BF16);
}

/* The kernel for all GPUs sums in another order, and keeps heads of other sizes. */
SM90_TEST(test_attention_beside_the_other)
{
    enum { T = 973, H = 2 };

    for (size_t D = 32; D <= 64; D += 32)
        for (int skip = 0; skip < 2; skip++) {
            float *qkv = draw((size_t)T * 3 * H * D, 1, 0, 21);
            void *here = gpu_put(qkv, T * 3 * H * D, DNAS_CUDA_BF16), *there;
            struct result a = attend(here, lengths, N_LENGTHS, H, D, skip, DNAS_CUDA_BF16), b;

            swap();
            there = gpu_put(qkv, T * 3 * H * D, DNAS_CUDA_BF16);
            b = attend(there, lengths, N_LENGTHS, H, D, skip, DNAS_CUDA_BF16);
            gpu_free(there, T * 3 * H * D * 2);
            swap();
            gpu_free(here, T * 3 * H * D * 2);
            if (D == 32)
                CHECK(memcmp(a.out, b.out, T * H * D * sizeof(float)) == 0);
            for (size_t i = 0; i < T * H * D; i++)
                CHECK_NEAR(a.out[i], b.out[i], 0x1p-8 * (2 + 2 * fabs((double)b.out[i])));
            for (size_t i = 0; i < (size_t)H * T; i++)
                CHECK_NEAR(a.lse[i], b.lse[i], 2e-5 * (1 + fabs((double)b.lse[i])));
            release(&a);
            release(&b);
            free(qkv);
        }
}

/* Without lse, and for an empty batch: nothing else is written. */
SM90_TEST(test_attention_of_few)
{
    enum { T = 65, D = 64 };
    static const uint32_t offset[] = {0, T};
    float *qkv = draw((size_t)T * 3 * D, 1, 0, 22), *got;
    void *dqkv = gpu_put(qkv, T * 3 * D, DNAS_CUDA_BF16), *out = gpu_room(T * D * 2);
    struct dnas_cuda_pack *p = gpu->pack_new(dev, T, 1, 1, D, slopes);
    struct result want = attend(dqkv, offset, 1, 1, D, 1, DNAS_CUDA_BF16);

    gpu->pack_set(dev, p, (uint32_t[]){0}, 0);
    gpu->attention_fwd(dev, out, NULL, dqkv, p, 1, DNAS_CUDA_BF16);
    got = gpu_get(out, T * D, DNAS_CUDA_BF16);
    CHECK(isnan(got[0]));
    free(got);
    gpu->pack_set(dev, p, offset, 1);
    gpu->attention_fwd(dev, out, NULL, dqkv, p, 1, DNAS_CUDA_BF16);
    got = gpu_get(out, T * D, DNAS_CUDA_BF16);
    CHECK(memcmp(got, want.out, T * D * sizeof(float)) == 0);
    gpu->pack_free(dev, p);
    gpu_free(out, T * D * 2);
    gpu_free(dqkv, T * 3 * D * 2);
    release(&want);
    free(got);
    free(qkv);
}

/* ---- the gated product ---- */

struct gate {
    size_t T, F, I;
    void *x, *w; /* on the device; x [T,I], w [2F,I] */
};

/* The rows from `first` on, n of them. */
static float *gated(const struct gate *g, size_t first, size_t n, enum dnas_cuda_type type)
{
    size_t size = gpu_size(type);
    void *out = gpu_room(n * g->F * size), *wide = gpu_room(n * 2 * g->F * size);
    float *got;

    gpu->linear_geglu_fwd(dev, out, wide, (char *)g->x + first * g->I * size, g->w, n, g->F, g->I,
                          type);
    got = gpu_get(out, n * g->F, type);
    gpu_free(out, n * g->F * size);
    gpu_free(wide, n * 2 * g->F * size);
    return got;
}

static double dot(const float *a, const float *b, size_t n)
{
    double s = 0;

    for (size_t i = 0; i < n; i++)
        s += (double)a[i] * (double)b[i];
    return s;
}

/* A NaN in row `bad` of x shows there alone, and one in row 0 of w in its column alone. */
static void check_gate(size_t T, size_t F, size_t I, size_t bad, enum dnas_cuda_type type)
{
    float *x = draw(T * I, 1, 0, (uint32_t)F), *w = draw(2 * F * I, 1.5 / sqrt((double)I), 0, 23);
    float *all, *alone;
    struct gate g = {.T = T, .F = F, .I = I};

    if (bad < T) {
        x[bad * I + I / 2] = NAN;
        w[I - 1] = NAN;
    }
    g.x = gpu_put(x, T * I, type);
    g.w = gpu_put(w, 2 * F * I, type);
    all = gated(&g, 0, T, type);
    for (size_t t = 0; t < T; t++)
        for (size_t f = 0; f < F; f++) {
            double z = dot(x + t * I, w + f * I, I), p = dot(x + t * I, w + (F + f) * I, I);
            double want = z / 2 * erfc(-z / sqrt(2)) * p;

            if (bad < T && (t == bad || f == 0))
                CHECK(isnan(all[t * F + f]));
            else
                CHECK_NEAR(all[t * F + f], want,
                           1e-5 * (1 + fabs(z)) * (1 + fabs(p)) + gpu_step(type) * fabs(want));
        }
    for (size_t t = 0; t < T && bad >= T; t += 1 + T / 3) {
        alone = gated(&g, t, 1, type);
        CHECK(memcmp(alone, all + t * F, F * sizeof(float)) == 0);
        free(alone);
    }
    gpu_free(g.x, T * I * gpu_size(type));
    gpu_free(g.w, 2 * F * I * gpu_size(type));
    free(x);
    free(w);
    free(all);
}

SM90_TEST(test_gate)
{
    static const size_t rows[] = {1, 31, 32, 33, 63, 64, 65, 127, 128, 129};

    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++)
        check_gate(rows[i], 40, 72, rows[i], DNAS_CUDA_BF16);
    check_gate(3, 8, 8, 3, DNAS_CUDA_BF16);
    check_gate(129, 264, 200, 129, DNAS_CUDA_BF16);
    check_gate(300, 256, 320, 300, DNAS_CUDA_BF16);
    check_gate(140, 136, 72, 70, DNAS_CUDA_BF16);
    if (!gpu_emulated) {
        check_gate(513, 3072, 768, 513, DNAS_CUDA_BF16);
        check_gate(4097, 1024, 768, 4097, DNAS_CUDA_BF16);
    }
}

/* f32 goes the other way, and what neither takes is an error. */
SM90_TEST(test_gate_otherwise)
{
    const char *said;
    char why[300];
    struct dnas_cuda *d = gpu->open(0, why, sizeof(why));

    check_gate(33, 40, 24, 33, DNAS_CUDA_F32);
    gpu->linear_geglu_fwd(d, NULL, NULL, NULL, NULL, 0, 8, 8, DNAS_CUDA_BF16);
    CHECK_INT(gpu->wait(d), 0);
    gpu->linear_geglu_fwd(d, NULL, NULL, NULL, NULL, 1, 12, 8, DNAS_CUDA_BF16);
    CHECK_INT(gpu->wait(d), -1);
    said = gpu->error(d);
    CHECK(strstr(said, "a gated product of 8 and 12 columns: not multiples of 8") != NULL);
    gpu->close(d);
}

SM90_TEST(test_build)
{
    char why[300] = "";

    CHECK(strstr(gpu->build, ", DNAS_CUDA_KERNELS=sm90") != NULL);
    setenv("DNAS_CUDA_KERNELS", "sm91", 1);
    CHECK(gpu->open(0, why, sizeof(why)) == NULL);
    CHECK(strstr(why, "DNAS_CUDA_KERNELS is 'sm91': it takes sm90") != NULL);
    setenv("DNAS_CUDA_KERNELS", "sm90", 1);
}

int main(int argc, char **argv)
{
    char text[300];

    setenv("DNAS_CUDA_KERNELS", "sm90", 1);
    gpu_begin(argc, argv);
    unsetenv("DNAS_CUDA_KERNELS");
    plain = dev ? gpu->open(0, text, sizeof(text)) : NULL;
    setenv("DNAS_CUDA_KERNELS", "sm90", 1);
    RUN(test_attention);
    RUN(test_attention_long);
    RUN(test_attention_beside_the_other);
    RUN(test_attention_of_few);
    RUN(test_gate);
    RUN(test_gate_otherwise);
    RUN(test_build);
    if (plain)
        gpu->close(plain);
    gpu_end();
    return check_done();
}
