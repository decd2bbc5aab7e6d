/* SPDX-License-Identifier: MIT
 *
 * test_cuda_train.c - the operations of training of the CUDA library, against their formulas
 * in double.  What library and where: cuda_device.h.
 */
#include "tests/kernels/cuda_device.h"

static const enum dnas_cuda_type types[2] = {DNAS_CUDA_F32, DNAS_CUDA_BF16};

/* ---- memory of a test: all of it is freed, and its canaries looked at, by rooms_end ---- */

#define MOST_ROOMS 64

static struct {
    void *p;
    size_t bytes;
} rooms[MOST_ROOMS];
static size_t n_rooms;

static void *keep_room(void *p, size_t bytes)
{
    CHECK(n_rooms < MOST_ROOMS);
    rooms[n_rooms].p = p;
    rooms[n_rooms++].bytes = bytes;
    return p;
}

static void *room(size_t bytes)
{
    return keep_room(gpu_room(bytes), bytes);
}

static void *put(float *x, size_t n, enum dnas_cuda_type type)
{
    return keep_room(gpu_put(x, n, type), n * gpu_size(type));
}

static void *put_bytes(const void *x, size_t bytes)
{
    void *p = room(bytes);

    if (bytes > 0)
        gpu_write(p, x, bytes);
    return p;
}

static void rooms_end(void)
{
    for (size_t i = 0; i < n_rooms; i++)
        gpu_free(rooms[i].p, rooms[i].bytes);
    n_rooms = 0;
}

/* |got - want| within `relative` of want and `least`, in n places; says where it is worst. */
static void check_close(const char *what, const float *got, const double *want, size_t n,
                        double relative, double least)
{
    double worst = 0;
    size_t at = 0;

    for (size_t i = 0; i < n; i++) {
        double over = fabs((double)got[i] - want[i]) / (relative * fabs(want[i]) + least);

        if (!(over <= worst)) {
            worst = isnan(over) ? INFINITY : over;
            at = i;
        }
    }
    if (!(worst <= 1))
        CHECK_FAIL("%s: place %zu of %zu is %.9g, not %.9g", what, at, n, (double)got[at],
                   want[at]);
}

/* ---- element by element ---- */

GPU_TEST(test_adamw)
{
    static const size_t sizes[] = {0, 1, 31, 1000};
    struct dnas_adamw s = {0.5f, 0.9999f, 0, 0.9f, 0.1f, 0.999f, 0.001f, 1e-3f, 0.04f, 1e-8f};

    for (size_t k = 0; k < 4; k++)
        for (int l2 = 0; l2 < 2; l2++) {
            size_t n = sizes[k];
            float *w = draw(n, 1, 0, 0), *m = draw(n, 0.1, 0, 1), *v = draw(n, 0.1, 0, 2);
            float *g = draw(n, 1, 0, 3), *of[3];
            void *dw, *dm, *dv, *dg, *narrow = room(n * 2);

            s.l2 = l2 ? 0.01f : 0;
            s.keep = l2 ? 1 : 0.9999f;
            for (size_t i = 0; i < n; i++)
                v[i] *= v[i];
            if (n > 10)
                v[7] = g[7] = 0; /* eps alone is left */
            dw = put(w, n, DNAS_CUDA_F32);
            dm = put(m, n, DNAS_CUDA_F32);
            dv = put(v, n, DNAS_CUDA_F32);
            dg = put(g, n, DNAS_CUDA_F32);
            gpu->adamw_step(dev, dw, dm, dv, dg, l2 ? narrow : NULL, n, &s);
            dnas_cpu_adamw_step(w, m, v, g, n, &s);
            of[0] = gpu_get(dw, n, DNAS_CUDA_F32);
            of[1] = gpu_get(dm, n, DNAS_CUDA_F32);
            of[2] = gpu_get(dv, n, DNAS_CUDA_F32);
            for (size_t i = 0; i < n; i++) { /* the CPU may fuse a product and a sum */
                CHECK_NEAR(of[0][i], w[i], 1e-6 * fabs((double)w[i]) + 1e-9);
                CHECK_NEAR(of[1][i], m[i], 1e-6 * fabs((double)m[i]) + 1e-8);
                CHECK_NEAR(of[2][i], v[i], 1e-6 * fabs((double)v[i]));
            }
            if (l2) {
                float *rounded = gpu_get(narrow, n, DNAS_CUDA_BF16);

                for (size_t i = 0; i < n; i++)
                    CHECK(rounded[i] == bf16_value(bf16_bits(of[0][i])));
                free(rounded);
            }
            for (int i = 0; i < 3; i++)
                free(of[i]);
            free(w);
            free(m);
            free(v);
            free(g);
            rooms_end();
        }
}

GPU_TEST(test_sum_squares)
{
    static const size_t sizes[] = {0, 1, 255, 257, 30000, 300000};

    for (size_t k = 0; k < 6; k++) {
        size_t n = sizes[k];
        float *x = draw(n, 1e20, 0, 0);
        void *dx = put(x, n, DNAS_CUDA_F32), *out = room(2 * sizeof(double));
        double got[2], want = 0;

        gpu->sum_squares(dev, out, dx, n);
        gpu->sum_squares(dev, (double *)out + 1, dx, n);
        gpu_read(got, out, sizeof(got));
        for (size_t i = 0; i < n; i++)
            want += (double)x[i] * (double)x[i];
        CHECK_NEAR(got[0], want, 1e-12 * want);
        CHECK(got[0] == got[1]);
        free(x);
        rooms_end();
    }
}

GPU_TEST(test_convert)
{
    static const size_t sizes[] = {0, 1, 33, 1001};

    for (size_t k = 0; k < 4; k++) {
        size_t n = sizes[k];
        float *x = draw(n, 1, 0, 0), *got, *back;
        void *dx, *narrow = room(n * 2), *wide = room(n * 4);

        if (n > 10) {
            x[3] = NAN;
            x[4] = -INFINITY;
            x[5] = 1 + 0x1p-8f; /* halfway: to the even 1 */
        }
        dx = put(x, n, DNAS_CUDA_F32);
        gpu->convert(dev, narrow, dx, n, DNAS_CUDA_BF16);
        gpu->convert(dev, wide, narrow, n, DNAS_CUDA_F32);
        got = gpu_get(narrow, n, DNAS_CUDA_BF16);
        back = gpu_get(wide, n, DNAS_CUDA_F32);
        for (size_t i = 0; i < n; i++) {
            float want = bf16_value(bf16_bits(x[i]));

            CHECK(isnan(want) ? isnan(got[i]) && isnan(back[i])
                              : got[i] == want && back[i] == want);
        }
        free(x);
        free(got);
        free(back);
        rooms_end();
    }
}

static double gelu(double z)
{
    return z / 2 * erfc(-z / sqrt(2));
}
static double gelu_slope(double z)
{
    return erfc(-z / sqrt(2)) / 2 + z * exp(-z * z / 2) / sqrt(2 * acos(-1));
}

static void check_gelu(size_t n, bool in_place, enum dnas_cuda_type type)
{
    float *x = draw(n, 3, 0, 0), *dout = draw(n, 1, 0, 1), *got;
    double *want = dnas_xalloc64(n + 1, sizeof(*want));
    void *dx, *dd, *out;

    if (n > 20) {
        x[3] = 1e30f;
        x[4] = -1e30f;
    }
    dx = put(x, n, type);
    dd = put(dout, n, type);
    out = in_place ? dd : room(n * gpu_size(type));
    gpu->gelu_bwd(dev, out, dd, dx, n, type);
    got = gpu_get(out, n, type);
    for (size_t i = 0; i < n; i++)
        want[i] = (double)dout[i] * gelu_slope((double)x[i]);
    check_close("gelu_bwd", got, want, n, gpu_step(type), 3e-6);
    free(got);
    out = in_place ? dx : room(n * gpu_size(type));
    gpu->gelu_fwd(dev, out, dx, n, type);
    got = gpu_get(out, n, type);
    for (size_t i = 0; i < n; i++)
        want[i] = gelu((double)x[i]);
    check_close("gelu_fwd", got, want, n, gpu_step(type), 1e-6);
    free(got);
    free(x);
    free(dout);
    free(want);
    rooms_end();
}

GPU_TEST(test_gelu)
{
    for (int k = 0; k < 2; k++)
        for (int in_place = 0; in_place < 2; in_place++) {
            check_gelu(0, in_place, types[k]);
            check_gelu(8, in_place, types[k]);
            check_gelu(3000, in_place, types[k]);
        }
}

static void check_geglu(size_t T, size_t F, bool in_place, enum dnas_cuda_type type)
{
    float *x = draw(T * 2 * F, 2, 0, 0), *dout = draw(T * F, 1, 0, 1), *got;
    double *want = dnas_xalloc64(2 * T * F + 1, sizeof(*want));
    void *dx = put(x, 2 * T * F, type), *dd = put(dout, T * F, type);
    void *out = in_place ? dx : room(2 * T * F * gpu_size(type));

    gpu->geglu_bwd(dev, out, dd, dx, T, F, type);
    got = gpu_get(out, 2 * T * F, type);
    for (size_t t = 0; t < T; t++)
        for (size_t i = 0; i < F; i++) {
            double z = (double)x[2 * t * F + i], gate = (double)x[(2 * t + 1) * F + i];

            want[2 * t * F + i] = (double)dout[t * F + i] * gelu_slope(z) * gate;
            want[(2 * t + 1) * F + i] = (double)dout[t * F + i] * gelu(z);
        }
    check_close("geglu_bwd", got, want, 2 * T * F, gpu_step(type), 6e-6);
    free(x);
    free(dout);
    free(got);
    free(want);
    rooms_end();
}

GPU_TEST(test_geglu)
{
    for (int k = 0; k < 2; k++)
        for (int in_place = 0; in_place < 2; in_place++) {
            check_geglu(0, 16, in_place, types[k]);
            check_geglu(1, 8, in_place, types[k]);
            check_geglu(33, 72, in_place, types[k]);
            check_geglu(200, 72, in_place, types[k]);
        }
}

/* ---- by rows ---- */

static void check_layernorm(size_t T, size_t C, bool in_place, enum dnas_cuda_type type)
{
    float *x = draw(T * C, 2, 1, 0), *dout = draw(T * C, 1, 0, 1), *w = draw(C, 1, 1, 2);
    float *stat = dnas_xalloc64(2 * T + 1, sizeof(*stat)), *old = draw(2 * C, 1, 0, 3), *got;
    double *want = dnas_xalloc64(T * C + 2 * C, sizeof(*want)), *sums = want + T * C;
    double most = 0;
    void *dx = put(x, T * C, type), *dd = put(dout, T * C, type), *dw = put(w, C, DNAS_CUDA_F32);
    void *d_stat, *d_sums = put(old, 2 * C, DNAS_CUDA_F32);
    void *out = in_place ? dd : room(T * C * gpu_size(type));

    for (size_t i = 0; i < 2 * C; i++)
        sums[i] = (double)old[i];
    for (size_t t = 0; t < T; t++) {
        double m = 0, v = 0, g = 0, gx = 0;

        for (size_t i = 0; i < C; i++)
            m += (double)x[t * C + i] / (double)C;
        for (size_t i = 0; i < C; i++)
            v += ((double)x[t * C + i] - m) * ((double)x[t * C + i] - m) / (double)C;
        stat[t] = (float)m;
        stat[T + t] = (float)(1 / sqrt(v + 1e-12));
        m = (double)stat[t];
        v = (double)stat[T + t];
        for (size_t i = 0; i < C; i++) {
            double d = (double)dout[t * C + i], hat = ((double)x[t * C + i] - m) * v;

            g += d * (double)w[i] / (double)C;
            gx += d * (double)w[i] * hat / (double)C;
            sums[i] += d * hat;
            sums[C + i] += d;
        }
        for (size_t i = 0; i < C; i++) {
            double hat = ((double)x[t * C + i] - m) * v;
            double *to = &want[t * C + i];

            *to = v * ((double)dout[t * C + i] * (double)w[i] - g - hat * gx);
            most = fabs(*to) > most ? fabs(*to) : most;
        }
    }
    d_stat = put(stat, 2 * T, DNAS_CUDA_F32);
    gpu->layernorm_bwd(dev, out, d_sums, (float *)d_sums + C, dd, dx, d_stat, (float *)d_stat + T,
                       dw, T, C, type);
    got = gpu_get(out, T * C, type);
    check_close("dx", got, want, T * C, gpu_step(type), 3e-6 * most);
    free(got);
    got = gpu_get(d_sums, 2 * C, DNAS_CUDA_F32);
    check_close("dweight, dbias", got, sums, 2 * C, 1e-6, 2e-6 * sqrt((double)T));
    free(got);
    free(x);
    free(dout);
    free(w);
    free(stat);
    free(old);
    free(want);
    rooms_end();
}

GPU_TEST(test_layernorm)
{
    static const size_t lengths[] = {0, 1, 31, 33, 200}, widths[] = {8, 264, 520, 768, 1024};

    for (int k = 0; k < 2; k++)
        for (size_t i = 0; i < 5; i++) {
            check_layernorm(lengths[i], 96, false, types[k]);
            check_layernorm(9, widths[i], true, types[k]);
        }
    check_layernorm(2500, 8, false, DNAS_CUDA_F32); /* more rows than warps in the grid */
}

static void check_linear(size_t T, size_t O, size_t I, int add, enum dnas_cuda_type type)
{
    float *dout = draw(T * O, 1, 0, 0), *w = draw(O * I, 1, 0, 1), *y = draw(T * I, 1, 0, 2);
    float *more = draw(T * I, 1, 0, 3), *dw = draw(O * I, 1, 0, 4), *db = draw(O, 1, 0, 5), *got;
    double *want = dnas_xalloc64((T + O) * I + O, sizeof(*want));
    void *d_dout = put(dout, T * O, type), *d_w = put(w, O * I, type), *d_y = put(y, T * I, type);
    void *d_more = put(more, T * I, type), *d_dw = put(dw, O * I, DNAS_CUDA_F32);
    void *d_db = put(db, O, DNAS_CUDA_F32);
    void *out = add == 2 ? d_more : room(T * I * gpu_size(type));
    float *first;

    gpu->linear_bwd(dev, out, d_dout, d_w, add ? d_more : NULL, T, O, I, type);
    got = gpu_get(out, T * I, type);
    for (size_t t = 0; t < T; t++)
        for (size_t i = 0; i < I; i++) {
            want[t * I + i] = add ? (double)more[t * I + i] : 0;
            for (size_t o = 0; o < O; o++)
                want[t * I + i] += (double)dout[t * O + o] * (double)w[o * I + i];
        }
    check_close("dx", got, want, T * I, gpu_step(type), 1e-5);
    free(got);

    for (size_t o = 0; o < O; o++)
        for (size_t i = 0; i < I; i++) {
            want[o * I + i] = (double)dw[o * I + i];
            for (size_t t = 0; t < T; t++)
                want[o * I + i] += (double)dout[t * O + o] * (double)y[t * I + i];
        }
    gpu->linear_bwd_weight(dev, d_dw, add ? d_db : NULL, d_dout, d_y, T, O, I, type);
    first = gpu_get(d_dw, O * I, DNAS_CUDA_F32);
    check_close("dw", first, want, O * I, 1e-6, 1e-6 * sqrt((double)T));
    for (size_t o = 0; o < O; o++) {
        want[o] = (double)db[o];
        for (size_t t = 0; add && t < T; t++)
            want[o] += (double)dout[t * O + o];
    }
    got = gpu_get(d_db, O, DNAS_CUDA_F32);
    check_close("dbias", got, want, O, 1e-6, 2e-6 * sqrt((double)T));
    free(got);
    /* The same bits again. */
    gpu_write(d_dw, dw, O * I * sizeof(*dw));
    gpu->linear_bwd_weight(dev, d_dw, NULL, d_dout, d_y, T, O, I, type);
    got = gpu_get(d_dw, O * I, DNAS_CUDA_F32);
    CHECK(memcmp(got, first, O * I * sizeof(*got)) == 0);
    free(got);
    free(first);
    free(dout);
    free(w);
    free(y);
    free(more);
    free(dw);
    free(db);
    free(want);
    rooms_end();
}

GPU_TEST(test_linear)
{
    for (int k = 0; k < 2; k++) {
        check_linear(0, 16, 8, 1, types[k]);
        for (int add = 0; add < 3; add++)
            check_linear(33, 40, 24, add, types[k]);
        check_linear(1, 8, 16, 1, types[k]);
        check_linear(200, 264, 8, 1, types[k]);
        check_linear(2100, 16, 24, 1, types[k]); /* two stretches and what is left over */
        check_linear(8192, 8, 8, 1, types[k]);   /* eight, and nothing left over */
        check_linear(9300, 8, 8, 0, types[k]);
    }
}

/* ---- embeddings ---- */

static void check_embedding(size_t T, size_t V, size_t C, int freeze_first,
                            enum dnas_cuda_type type)
{
    float *words = draw(V * C, 1, 0, 0), *shift = draw(C, 1, 0, 1), *dout = draw(T * C, 1, 0, 2);
    float *got, *again;
    uint16_t *ids = dnas_xalloc64(T + 1, sizeof(*ids));
    double *want = dnas_xalloc64((T + V + 1) * C, sizeof(*want));
    void *d_words, *d_shift, *d_dout, *d_ids, *rows = room(T * C * gpu_size(type));

    for (size_t t = 0; t < T; t++) /* one word in four is the first, one the last */
        ids[t] = (uint16_t)(t % 4 == 1 ? 0 : t % 4 == 3 ? V - 1 : t * 2654435761u % V);
    d_words = put(words, V * C, DNAS_CUDA_F32);
    d_shift = put(shift, C, DNAS_CUDA_F32);
    d_dout = put(dout, T * C, type);
    d_ids = put_bytes(ids, T * sizeof(*ids));
    gpu->embedding_rows(dev, rows, d_ids, d_words, d_shift, T, C, type);
    got = gpu_get(rows, T * C, type);
    for (size_t t = 0; t < T; t++)
        for (size_t i = 0; i < C; i++)
            want[t * C + i] = (double)words[ids[t] * C + i] + (double)shift[i];
    check_close("rows", got, want, T * C, gpu_step(type), 1e-6);
    free(got);

    for (size_t i = 0; i < V * C; i++)
        want[i] = (double)words[i];
    for (size_t i = 0; i < C; i++)
        want[V * C + i] = (double)shift[i];
    for (size_t t = 0; t < T; t++)
        for (size_t i = 0; i < C; i++) {
            want[V * C + i] += (double)dout[t * C + i];
            if (ids[t] > 0 || !freeze_first)
                want[ids[t] * C + i] += (double)dout[t * C + i];
        }
    gpu->embedding_bwd(dev, d_words, d_shift, d_dout, d_ids, T, V, C, freeze_first, type);
    got = gpu_get(d_words, V * C, DNAS_CUDA_F32);
    check_close("dwords", got, want, V * C, 1e-6, 1e-6 * sqrt((double)T));
    gpu_write(d_words, words, V * C * sizeof(*words));
    again = gpu_get(d_shift, C, DNAS_CUDA_F32);
    check_close("dshift", again, want + V * C, C, 1e-6, 2e-6 * sqrt((double)T));
    free(again);
    gpu->embedding_bwd(dev, d_words, d_shift, d_dout, d_ids, T, V, C, freeze_first, type);
    again = gpu_get(d_words, V * C, DNAS_CUDA_F32);
    CHECK(memcmp(got, again, V * C * sizeof(*got)) == 0);
    free(got);
    free(again);
    free(words);
    free(shift);
    free(dout);
    free(ids);
    free(want);
    rooms_end();
}

GPU_TEST(test_embedding)
{
    for (int k = 0; k < 2; k++) {
        check_embedding(0, 10, 8, 0, types[k]);
        check_embedding(1, 1, 8, k, types[k]);
        check_embedding(65, 1, 24, 0, types[k]); /* one word through all stretches */
        check_embedding(200, 40, 264, 1, types[k]);
        check_embedding(4500, 300, 16, k, types[k]); /* more than a tile's keys */
    }
    check_embedding(300, 65536, 8, 0, DNAS_CUDA_F32);
}

/* ---- the loss ---- */

static void check_cross_entropy(size_t n, size_t V, double spread, enum dnas_cuda_type type)
{
    float *score = draw(n * V, spread, 0, 0), *got;
    double *want = dnas_xalloc64(n * V + 1, sizeof(*want)), *loss = dnas_xalloc64(n + 1, 8);
    double *got_loss = dnas_xalloc64(n + 1, sizeof(*got_loss));
    uint16_t *target = dnas_xalloc64(n + 1, sizeof(*target));
    const float scale = 0.25f;
    void *d_score, *d_loss = room(n * sizeof(double)), *d_target;

    for (size_t t = 0; t < n; t++) {
        target[t] = (uint16_t)(t * 977 % V);
        if (t % 3 == 1) /* far ahead: a small loss must not be lost */
            score[t * V + target[t]] = (float)(3 * spread + 20);
        if (t % 3 == 2)
            score[t * V + target[t]] = (float)(-3 * spread - 20);
    }
    d_score = put(score, n * V, type);
    d_target = put_bytes(target, n * sizeof(*target));
    for (size_t t = 0; t < n; t++) {
        double own = (double)score[t * V + target[t]], others = 0;

        for (size_t k = 0; k < V; k++)
            others += k == target[t] ? 0 : exp((double)score[t * V + k] - own);
        loss[t] = log1p(others);
        for (size_t k = 0; k < V; k++)
            want[t * V + k] = (double)scale *
                              (k == target[t] ? -others / (1 + others)
                                              : exp((double)score[t * V + k] - own) / (1 + others));
    }
    gpu->cross_entropy(dev, d_score, d_loss, d_target, n, V, scale, type);
    got = gpu_get(d_score, n * V, type);
    if (n > 0)
        gpu_read(got_loss, d_loss, n * sizeof(*got_loss));
    check_close("gradient", got, want, n * V, 1e-5 + gpu_step(type), 1e-30);
    for (size_t t = 0; t < n; t++)
        CHECK_NEAR(got_loss[t], loss[t], 1e-5 * loss[t]);
    free(score);
    free(got);
    free(want);
    free(loss);
    free(got_loss);
    free(target);
    rooms_end();
}

GPU_TEST(test_cross_entropy)
{
    for (int k = 0; k < 2; k++) {
        check_cross_entropy(0, 10, 1, types[k]);
        check_cross_entropy(2, 1, 1, types[k]);
        check_cross_entropy(6, 7, 3, types[k]);
        check_cross_entropy(6, 1003, 1, types[k]);
    }
}

/* ---- packed sequences ---- */

static const uint32_t many[] = {0, 1, 32, 64, 97, 224, 424, 425};
#define N_MANY 7

static struct dnas_cuda_pack *pack_of(const uint32_t *offset, size_t B)
{
    static const float slope = 0.5f;
    struct dnas_cuda_pack *p = gpu->pack_new(dev, offset[B], B, 1, 16, &slope);

    CHECK(p != NULL);
    gpu->pack_set(dev, p, offset, B);
    return p;
}

/* The CPU's bits in f32, and those rounded in bf16. */
static void check_dropout(size_t C, bool add, uint32_t drop, enum dnas_cuda_type type)
{
    static const uint32_t key[2] = {0x12345678, 0x9ABCDEF0};
    size_t T = many[N_MANY];
    uint32_t row[N_MANY];
    float *x = draw(T * C, 1, 0, 0), *more = draw(T * C, 1, 0, 1), *got;
    struct dnas_cuda_pack *p = pack_of(many, N_MANY);
    void *dx, *d_more, *d_row;
    size_t n_zero = 0;

    x[5] = 0;
    dx = put(x, T * C, type);
    d_more = put(more, T * C, type);
    for (size_t b = 0; b < N_MANY; b++)
        row[b] = (uint32_t)(1000 - 7 * b);
    d_row = put_bytes(row, sizeof(row));
    gpu->dropout(dev, dx, add ? d_more : NULL, p, d_row, C, drop, 77, 0x30006, key, type);
    got = gpu_get(dx, T * C, type);
    for (size_t b = 0; b < N_MANY; b++) {
        const uint32_t counter[3] = {77, row[b], 0x30006};

        dnas_cpu_dropout(x + many[b] * C, (many[b + 1] - many[b]) * C, drop, counter, key);
    }
    for (size_t i = 0; i < T * C; i++) {
        float want = add ? x[i] + more[i] : x[i];

        n_zero += x[i] == 0;
        if (type == DNAS_CUDA_BF16)
            want = bf16_value(bf16_bits(want));
        if (got[i] != want) {
            CHECK_FAIL("place %zu is %.9g, not %.9g", i, (double)got[i], (double)want);
            break;
        }
    }
    CHECK_NEAR((double)n_zero / (double)(T * C), drop / 65536.0, 0.02);
    gpu->pack_free(dev, p);
    free(x);
    free(more);
    free(got);
    rooms_end();
}

GPU_TEST(test_dropout)
{
    for (int k = 0; k < 2; k++) {
        check_dropout(24, false, 6554, types[k]);
        check_dropout(264, true, 6554, types[k]);
        check_dropout(8, true, 65535, types[k]);
        check_dropout(8, false, 0, types[k]);
    }
}

static void check_meanpool(size_t C, enum dnas_cuda_type type)
{
    size_t T = many[N_MANY];
    float *dmean = draw(N_MANY * C, 1, 0, 0), *got;
    double *want = dnas_xalloc64(T * C, sizeof(*want));
    struct dnas_cuda_pack *p = pack_of(many, N_MANY);
    void *d_mean = put(dmean, N_MANY * C, DNAS_CUDA_F32), *out = room(T * C * gpu_size(type));

    gpu->meanpool_bwd(dev, out, d_mean, p, C, type);
    got = gpu_get(out, T * C, type);
    for (size_t b = 0; b < N_MANY; b++)
        for (size_t t = many[b]; t < many[b + 1]; t++)
            for (size_t i = 0; i < C; i++)
                want[t * C + i] = (double)dmean[b * C + i] / (double)(many[b + 1] - many[b]);
    check_close("meanpool_bwd", got, want, T * C, gpu_step(type), 0);
    gpu->pack_free(dev, p);
    free(dmean);
    free(got);
    free(want);
    rooms_end();
}

GPU_TEST(test_meanpool)
{
    for (int k = 0; k < 2; k++) {
        check_meanpool(8, types[k]);
        check_meanpool(264, types[k]);
    }
}

/* Sequences of `many` from two of `in`, of which the second is left out or is too short. */
static void check_blend(size_t C, enum dnas_cuda_type type)
{
    static const uint32_t n[2 * N_MANY] = {1, 0, 31, 5, 0, 32, 33, 33, 127, 100, 0, 0, 1, 1};
    enum { N_IN = 300 };
    size_t T = many[N_MANY];
    uint32_t at[2 * N_MANY];
    float part[2 * N_MANY], *in = draw(N_IN * C, 1, 0, 0), *got;
    double *want = dnas_xalloc64(T * C, sizeof(*want));
    struct dnas_cuda_pack *p = pack_of(many, N_MANY);
    void *d_in, *d_at, *d_n = put_bytes(n, sizeof(n)), *d_part, *out = room(T * C * gpu_size(type));

    for (size_t i = 0; i < C; i++)
        in[(N_IN - 1) * C + i] = NAN; /* is not read */
    for (size_t k = 0; k < 2 * N_MANY; k++) {
        at[k] = (uint32_t)(11 * k);
        part[k] = 0.1f * (float)(k + 1);
    }
    d_in = put(in, N_IN * C, type);
    d_at = put_bytes(at, sizeof(at));
    d_part = put(part, 2 * N_MANY, DNAS_CUDA_F32);
    gpu->blend(dev, out, d_in, p, d_at, d_n, d_part, C, type);
    got = gpu_get(out, T * C, type);
    for (size_t b = 0; b < N_MANY; b++)
        for (size_t t = 0; t < many[b + 1] - many[b]; t++)
            for (size_t i = 0; i < C; i++) {
                double *to = &want[(many[b] + t) * C + i];

                *to = 0;
                for (size_t k = 2 * b; k < 2 * b + 2; k++)
                    if (t < n[k])
                        *to += (double)part[k] * (double)in[(at[k] + t) * C + i];
            }
    check_close("blend", got, want, T * C, gpu_step(type), 1e-6);
    gpu->pack_free(dev, p);
    free(in);
    free(got);
    free(want);
    rooms_end();
}

GPU_TEST(test_blend)
{
    for (int k = 0; k < 2; k++) {
        check_blend(8, types[k]);
        check_blend(264, types[k]);
    }
}

static void check_gather(size_t T, size_t n, size_t C, enum dnas_cuda_type type)
{
    float *x = draw(T * C, 1, 0, 0), *got, *back;
    uint32_t *row = dnas_xalloc64(n + 1, sizeof(*row));
    void *dx = put(x, T * C, type), *few = room(n * C * gpu_size(type)), *d_row;
    void *all = room(T * C * gpu_size(type));

    for (size_t i = 0; i < n; i++)
        row[i] = (uint32_t)((i * 7 + 3) % T); /* T is no multiple of 7 */
    d_row = put_bytes(row, n * sizeof(*row));
    gpu->rows_gather(dev, few, dx, d_row, n, C, type);
    gpu->rows_scatter(dev, all, few, d_row, n, T, C, type);
    got = gpu_get(few, n * C, type);
    back = gpu_get(all, T * C, type);
    for (size_t i = 0; i < n; i++) {
        CHECK(memcmp(&got[i * C], &x[row[i] * C], C * sizeof(*x)) == 0);
        CHECK(memcmp(&back[row[i] * C], &x[row[i] * C], C * sizeof(*x)) == 0);
        memset(&back[row[i] * C], 0, C * sizeof(*x));
    }
    for (size_t i = 0; i < T * C; i++)
        CHECK(back[i] == 0);
    free(x);
    free(got);
    free(back);
    free(row);
    rooms_end();
}

GPU_TEST(test_gather)
{
    for (int k = 0; k < 2; k++) {
        check_gather(1, 1, 8, types[k]);
        check_gather(200, 0, 16, types[k]);
        check_gather(200, 31, 264, types[k]);
        check_gather(200, 200, 8, types[k]);
    }
}

/* ---- what operations have between two kernels ---- */

static size_t bytes_left(void)
{
    struct dnas_cuda_info info;

    gpu->info(dev, &info);
    return info.free_bytes;
}

/* After reserve, operations of these sizes take nothing more; without room for it there is no
 * error. */
GPU_TEST(test_reserve)
{
    size_t left;

    CHECK_INT(gpu->reserve(dev, (size_t)1 << 44, 8, 8, 8), -1);
    CHECK_STR(gpu->error(dev), "");
    CHECK_INT(gpu->reserve(dev, 2100, 64, 24, 64 * 264), 0);
    if (!gpu_emulated)
        SKIP("others may use a real GPU's memory");
    left = bytes_left();
    check_linear(2100, 64, 264, 1, DNAS_CUDA_BF16);
    CHECK_INT(bytes_left(), left);
    check_embedding(2100, 40, 24, 1, DNAS_CUDA_BF16);
    check_linear(2000, 40, 8, 1, DNAS_CUDA_F32);
    CHECK_INT(bytes_left(), left);
    /* What was taken for more is given back. */
    CHECK_INT(gpu->reserve(dev, 100, 16, 16, 16), 0);
    CHECK(bytes_left() > left);
}

int main(int argc, char **argv)
{
    gpu_begin(argc, argv);
    RUN(test_adamw);
    RUN(test_sum_squares);
    RUN(test_convert);
    RUN(test_gelu);
    RUN(test_geglu);
    RUN(test_layernorm);
    RUN(test_linear);
    RUN(test_embedding);
    RUN(test_cross_entropy);
    RUN(test_dropout);
    RUN(test_meanpool);
    RUN(test_blend);
    RUN(test_gather);
    RUN(test_reserve);
    gpu_end();
    return check_done();
}
