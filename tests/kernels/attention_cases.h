/* SPDX-License-Identifier: MIT
 *
 * attention_cases.h - attention of the CUDA library against the formula in double, for tests.
 */
#ifndef DNAS_ATTENTION_CASES_H
#define DNAS_ATTENTION_CASES_H

#include "tests/kernels/cuda_device.h"

static const float three_slopes[3] = {0.5f, 0.03125f, 0.70710678f};
static const float *slopes = three_slopes; /* of the heads, in each test */

/* One sequence: what attention_fwd says; lse in log2, [H,n]. */
static inline void attention_in_double(double *out, double *lse, const float *qkv, size_t n,
                                       size_t H, size_t D)
{
    size_t C = H * D;
    double *p = dnas_xalloc(n, sizeof(*p));

    for (size_t h = 0; h < H; h++)
        for (size_t i = 0; i < n; i++) {
            double top = -INFINITY, sum = 0;

            for (size_t j = 0; j < n; j++) {
                p[j] = 0;
                for (size_t c = 0; c < D; c++)
                    p[j] +=
                        (double)qkv[i * 3 * C + h * D + c] * (double)qkv[j * 3 * C + C + h * D + c];
                p[j] = p[j] / sqrt((double)D) - (double)slopes[h] * fabs((double)i - (double)j);
                top = p[j] > top ? p[j] : top;
            }
            for (size_t j = 0; j < n; j++)
                sum += p[j] = exp(p[j] - top);
            lse[h * n + i] = (top + log(sum)) / log(2);
            for (size_t c = 0; c < D; c++) {
                double o = 0;

                for (size_t j = 0; j < n; j++)
                    o += p[j] / sum * (double)qkv[j * 3 * C + 2 * C + h * D + c];
                out[i * C + h * D + c] = o;
            }
        }
    free(p);
}

struct result {
    float *out, *lse; /* [T,H D], [H,T] */
};

static inline struct result attend(const void *qkv, const uint32_t *offset, size_t B, size_t H,
                                   size_t D, int skip, enum dnas_cuda_type type)
{
    size_t T = offset[B], C = H * D;
    struct dnas_cuda_pack *p = gpu->pack_new(dev, T, B, H, D, slopes);
    void *out = gpu_room(T * C * gpu_size(type));
    float *lse = gpu_room(H * T * 4);
    struct result r;

    CHECK(p != NULL);
    gpu->pack_set(dev, p, offset, B);
    gpu->attention_fwd(dev, out, lse, qkv, p, skip, type);
    r.out = gpu_get(out, T * C, type);
    r.lse = gpu_get(lse, H * T, DNAS_CUDA_F32);
    gpu_free(out, T * C * gpu_size(type));
    gpu_free(lse, H * T * 4);
    gpu->pack_free(dev, p);
    return r;
}

static inline void release(struct result *r)
{
    free(r->out);
    free(r->lse);
}

/* Several sequences, one of them of NaN; each against the formula, and alone to the same bits. */
static inline void check_attention(const uint32_t *offset, size_t B, size_t H, size_t D,
                                   double spread, size_t bad, enum dnas_cuda_type type)
{
    size_t T = offset[B], C = H * D, size = gpu_size(type);
    float *qkv = draw(T * 3 * C, spread, 0, (uint32_t)D);
    double *want = dnas_xalloc(T * C, sizeof(*want)), *lse = dnas_xalloc(H * T, sizeof(*lse));
    void *dqkv;
    struct result far, near;

    if (bad < B)
        for (size_t i = offset[bad] * 3 * C; i < offset[bad + 1] * 3 * C; i++)
            qkv[i] = NAN;
    dqkv = gpu_put(qkv, T * 3 * C, type);
    far = attend(dqkv, offset, B, H, D, 0, type);
    near = attend(dqkv, offset, B, H, D, 1, type);
    for (size_t b = 0; b < B; b++) {
        size_t from = offset[b], n = offset[b + 1] - from;
        uint32_t own[2] = {0, (uint32_t)n};
        struct result alone = attend((char *)dqkv + from * 3 * C * size, own, 1, H, D, 1, type);

        CHECK(b == bad || memcmp(alone.out, near.out + from * C, n * C * sizeof(float)) == 0);
        for (size_t h = 0; h < H && b != bad; h++)
            CHECK(memcmp(alone.lse + h * n, near.lse + h * T + from, n * sizeof(float)) == 0);
        release(&alone);
        attention_in_double(want, lse, qkv + from * 3 * C, n, H, D);
        for (size_t h = 0; h < H && b != bad; h++)
            for (size_t i = 0; i < n; i++) {
                CHECK_NEAR(far.lse[h * T + from + i], lse[h * n + i],
                           2e-5 * (1 + fabs(lse[h * n + i])));
                CHECK_NEAR(near.lse[h * T + from + i], far.lse[h * T + from + i],
                           1e-6 * (1 + fabs(lse[h * n + i])));
            }
        for (size_t i = 0; i < n * C; i++) {
            double got = (double)far.out[from * C + i];

            /* In bf16 the probabilities are rounded, too. */
            if (b == bad)
                CHECK(isnan(got));
            else
                CHECK_NEAR(got, want[i],
                           type == DNAS_CUDA_BF16 ? 0x1p-8 * (2 * spread + fabs(want[i]))
                                                  : 3e-6 * spread * (1 + spread * spread));
            if (b != bad)
                CHECK_NEAR(near.out[from * C + i], got,
                           type == DNAS_CUDA_BF16 ? 0x1p-7 * fabs(got) : 1e-6 * spread);
        }
    }
    release(&far);
    release(&near);
    gpu_free(dqkv, T * 3 * C * size);
    free(qkv);
    free(want);
    free(lse);
}

#endif
