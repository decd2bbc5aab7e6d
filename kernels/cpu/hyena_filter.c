/* SPDX-License-Identifier: MIT
 *
 * hyena_filter.c - Hyena's implicit filters and their backward, in double.
 * Contract: kernels.h.
 *
 * Three sines of up to a few hundred radians stand behind one another, so f32
 * would lose three digits; PyTorch's own rounding of the positions is kept, as
 * published weights were trained with it.
 */
#include "kernels/kernels.h"

#include <math.h>

#include "kernels/cpu/simd.h"

#define ROWS 256 /* positions at a time */
#define WIDE 8

typedef double v8 __attribute__((vector_size(8 * WIDE)));
typedef int64_t v8i __attribute__((vector_size(8 * WIDE)));

INLINE v8 v8_all(double x)
{
    return x - (v8){0};
}

/* sin(x) for |x| < 1e6, to 1e-15 + |x| 2e-17: x = n pi + r, with pi in two parts, of
 * which the first is short enough for n times it to be exact; then Taylor's series. */
INLINE v8 v8_sin(v8 x)
{
    const double round = 6755399441055744.0; /* 1.5 * 2^52 */
    v8 shifted = x * 0.31830988618379067 + round;
    v8 n = shifted - round;
    v8 r = (x - n * 3.1415926218032837) - n * 3.178650954705639e-8;
    v8 s = r * r;
    v8 p = v8_all(1.9572941063391263e-20);

    p = p * s - 8.220635246624329e-18;
    p = p * s + 2.8114572543455206e-15;
    p = p * s - 7.647163731819816e-13;
    p = p * s + 1.6059043836821613e-10;
    p = p * s - 2.505210838544172e-8;
    p = p * s + 2.7557319223985893e-6;
    p = p * s - 1.984126984126984e-4;
    p = p * s + 8.333333333333333e-3;
    p = p * s - 0.16666666666666666;
    p = r + r * s * p;
    return (v8)((v8i)p ^ (v8i)shifted << 63);
}

/* exp(x) for x <= 0, to 1e-15 relative; below -700 as at -700. */
INLINE v8 v8_exp(v8 x)
{
    const double round = 6755399441055744.0;
    v8i low = x < -700.0;
    v8 y = (v8)(((v8i)v8_all(-700.0) & low) | ((v8i)x & ~low));
    v8 shifted = y * 1.4426950408889634 + round;
    v8 n = shifted - round;
    v8 r = (y - n * 0.6931471803691238) - n * 1.9082149292705877e-10;
    v8 p = v8_all(1.0 / 6227020800.0);

    p = p * r + 1.0 / 479001600;
    p = p * r + 1.0 / 39916800;
    p = p * r + 1.0 / 3628800;
    p = p * r + 1.0 / 362880;
    p = p * r + 1.0 / 40320;
    p = p * r + 1.0 / 5040;
    p = p * r + 1.0 / 720;
    p = p * r + 1.0 / 120;
    p = p * r + 1.0 / 24;
    p = p * r + 1.0 / 6;
    p = p * r + 0.5;
    p = p * r + 1.0;
    p = p * r + 1.0;
    return p * (v8)(((v8i)shifted + 1023) << 52);
}

/* The layers of the small network: inputs, outputs, and where they stand. */
struct layer {
    size_t I, O;
    const float *w, *b; /* [O,I] [O]; b NULL: 0 */
};

static void layers_of(struct layer *l, const struct dnas_hyena_filter *f)
{
    l[0] = (struct layer){f->E, f->W, f->w0, f->b0};
    l[1] = (struct layer){f->W, f->W, f->w1, f->b1};
    l[2] = (struct layer){f->W, f->W, f->w2, f->b2};
    l[3] = (struct layer){f->W, f->C, f->w3, NULL};
}

/* Parts of the scratch memory, for ROWS positions. */
struct parts {
    double *z;                   /* [ROWS,E] */
    double *turned[4], *flat[4]; /* weights [I,O] and [O,I] */
    double *h[3], *s[3];         /* [ROWS,W] before and after a sine */
    double *out;                 /* [ROWS,C] */
    double *columns;             /* [max(E,W),ROWS] an input, transposed */
    double *product;             /* [I,O] */
};

static size_t padded(size_t n)
{
    return (n + WIDE - 1) / WIDE * WIDE;
}

/* Lays the parts out from base; returns how many doubles they are. */
static size_t lay_out(struct parts *p, double *base, const struct dnas_hyena_filter *f)
{
    size_t I = f->E > f->W ? f->E : f->W, O = f->C > f->W ? f->C : f->W, used = 0;
    struct layer l[4];
#define PART(field, n) (p->field = base ? base + used : NULL, used += padded(n))

    layers_of(l, f);
    PART(z, ROWS * f->E);
    for (int i = 0; i < 4; i++) {
        PART(turned[i], l[i].I * l[i].O);
        PART(flat[i], l[i].I * l[i].O);
    }
    for (int i = 0; i < 3; i++) {
        PART(h[i], ROWS * f->W);
        PART(s[i], ROWS * f->W);
    }
    PART(out, ROWS * f->C);
    PART(columns, I * ROWS);
    PART(product, I * O);
#undef PART
    return used;
}

static void turn(double *to, const double *from, size_t rows, size_t columns)
{
    for (size_t i = 0; i < rows; i++)
        for (size_t j = 0; j < columns; j++)
            to[j * rows + i] = from[i * columns + j];
}

static void widen_weights(struct parts *p, const struct layer *l)
{
    for (int i = 0; i < 4; i++) {
        for (size_t k = 0; k < l[i].I * l[i].O; k++)
            p->flat[i][k] = (double)l[i].w[k];
        turn(p->turned[i], p->flat[i], l[i].O, l[i].I);
    }
}

/* Position i of L on [0,1] as torch.linspace has it. */
static float position(size_t i, size_t L)
{
    float step = 1.0f / (float)(L - 1);

    if (L < 2)
        return 0;
    return i < L / 2 ? step * (float)i : 1.0f - step * (float)(L - 1 - i);
}

#if DNAS_ISA == 0
void dnas_cpu_hyena_position(float *z, size_t i, size_t E, size_t L)
{
    size_t bands = (E - 1) / 2;
    float w = 6.2831855f * (float)i / (float)L;
    float step = bands > 1 ? ((float)(bands - 1) - 1e-4f) / (float)(bands - 1) : 0;

    z[0] = position(i, L);
    for (size_t k = 0; k < bands; k++) {
        float f = k < bands / 2 || bands == 1 ? 1e-4f + step * (float)k
                                              : (float)(bands - 1) - step * (float)(bands - 1 - k);
        double angle = (double)(f * w);

        z[1 + k] = (float)cos(angle);
        z[1 + bands + k] = (float)-sin(angle);
    }
}
#endif

/* s = sin(freq h) */
static void sines(double *s, const double *h, const float *freq, size_t n, size_t W)
{
    for (size_t row = 0; row < n; row++)
        for (size_t i = 0; i < W; i += WIDE) {
            size_t some = W - i < WIDE ? W - i : WIDE;
            double lane[WIDE] = {0};
            v8 x;

            for (size_t k = 0; k < some; k++)
                lane[k] = (double)freq[i + k] * h[row * W + i + k];
            memcpy(&x, lane, sizeof(x));
            x = v8_sin(x);
            memcpy(s + row * W + i, &x, some * sizeof(*s));
        }
}

/* Runs the small network at n positions from `from` on. */
static void run(struct parts *p, const struct layer *l, const struct dnas_hyena_filter *f,
                size_t from, size_t n)
{
    const double *in = p->z;

    for (size_t row = 0; row < n; row++) {
        float z[DNAS_HYENA_POSITIONS_MAX];

        dnas_cpu_hyena_position(z, from + row, f->E, f->L);
        for (size_t i = 0; i < f->E; i++)
            p->z[row * f->E + i] = (double)z[i];
    }
    for (int i = 0; i < 4; i++) {
        double *out = i < 3 ? p->h[i] : p->out;

        dnas_cpu_matmul_f64(out, in, p->turned[i], n, l[i].O, l[i].I, l[i].O, l[i].I, l[i].O, 0);
        if (i == 3)
            break;
        for (size_t row = 0; row < n; row++)
            for (size_t k = 0; k < f->W; k++)
                out[row * f->W + k] += (double)l[i].b[k];
        sines(p->s[i], out, f->freq, n, f->W);
        in = p->s[i];
    }
}

/* The window of channels c.. at position t. */
INLINE v8 window(const struct dnas_hyena_filter *f, float t, size_t c, size_t some)
{
    double lane[WIDE] = {0};
    v8 x;

    for (size_t k = 0; k < some; k++)
        lane[k] = -(double)t * fabs((double)f->delta[c + k]);
    memcpy(&x, lane, sizeof(x));
    return v8_exp(x) + 0.05;
}

INLINE void dnas_cpu_hyena_filter_fwd_body(float *k, size_t ld, size_t step,
                                           const struct dnas_hyena_filter *f, size_t from, size_t n,
                                           double *scratch)
{
    struct parts p;
    struct layer l[4];

    lay_out(&p, scratch, f);
    layers_of(l, f);
    widen_weights(&p, l);
    for (size_t at = 0; at < n; at += ROWS) {
        size_t rows = n - at < ROWS ? n - at : ROWS;

        run(&p, l, f, from + at, rows);
        for (size_t row = 0; row < rows; row++)
            for (size_t c = 0; c < f->C; c += WIDE) {
                size_t some = f->C - c < WIDE ? f->C - c : WIDE;
                v8 w = window(f, position(from + at + row, f->L), c, some);
                float *to = k + c / LANES * step + (at + row) * ld + c % LANES;

                for (size_t i = 0; i < some; i++)
                    to[i] = (float)(p.out[row * f->C + c + i] * w[i]);
            }
    }
}

DNAS_VERSIONS(dnas_cpu_hyena_filter_fwd,
              (float *k, size_t ld, size_t step, const struct dnas_hyena_filter *f, size_t from,
               size_t n, double *scratch),
              (k, ld, step, f, from, n, scratch))

/* dw [O,I] += dout^T in, db [O] += the column sums of dout. */
static void add_weights(struct parts *p, double *dw, double *db, const struct layer *l,
                        const double *dout, const double *in, size_t n)
{
    turn(p->columns, in, n, l->I);
    dnas_cpu_matmul_f64(p->product, p->columns, dout, l->I, l->O, n, l->O, n, l->O, 0);
    for (size_t i = 0; i < l->I; i++)
        for (size_t o = 0; o < l->O; o++)
            dw[o * l->I + i] += p->product[i * l->O + o];
    for (size_t row = 0; db && row < n; row++)
        for (size_t o = 0; o < l->O; o++)
            db[o] += dout[row * l->O + o];
}

/* From ds, of the sine's result, dh in its place; dfreq += h cos(freq h) ds. */
static void sines_back(double *ds, double *dfreq, const double *h, const float *freq, size_t n,
                       size_t W)
{
    const double quarter = 1.5707963267948966;

    for (size_t row = 0; row < n; row++)
        for (size_t i = 0; i < W; i += WIDE) {
            size_t some = W - i < WIDE ? W - i : WIDE;
            double lane[WIDE] = {0};
            v8 x;

            for (size_t k = 0; k < some; k++)
                lane[k] = (double)freq[i + k] * h[row * W + i + k] + quarter;
            memcpy(&x, lane, sizeof(x));
            x = v8_sin(x);
            for (size_t k = 0; k < some; k++) {
                double *d = &ds[row * W + i + k];

                dfreq[i + k] += h[row * W + i + k] * x[k] * *d;
                *d *= (double)freq[i + k] * x[k];
            }
        }
}

INLINE void dnas_cpu_hyena_filter_bwd_body(double *grad, const float *dk,
                                           const struct dnas_hyena_filter *f, size_t n,
                                           double *scratch)
{
    struct parts p;
    struct layer l[4];
    double *dw[4], *db[4], *dfreq, *at_grad = grad;

    lay_out(&p, scratch, f);
    layers_of(l, f);
    widen_weights(&p, l);
    for (int i = 0; i < 4; i++) {
        dw[i] = at_grad;
        at_grad += l[i].I * l[i].O;
        db[i] = i < 3 ? at_grad : NULL;
        at_grad += i < 3 ? l[i].O : 0;
    }
    dfreq = at_grad;
    for (size_t at = 0; at < n; at += ROWS) {
        size_t rows = n - at < ROWS ? n - at : ROWS;
        double *d = p.out;

        run(&p, l, f, at, rows);
        for (size_t row = 0; row < rows; row++)
            for (size_t c = 0; c < f->C; c += WIDE) {
                size_t some = f->C - c < WIDE ? f->C - c : WIDE;
                v8 w = window(f, position(at + row, f->L), c, some);

                for (size_t i = 0; i < some; i++)
                    d[row * f->C + c + i] = w[i] * (double)dk[(at + row) * f->C + c + i];
            }
        for (int i = 3; i >= 0; i--) {
            add_weights(&p, dw[i], db[i], &l[i], d, i ? p.s[i - 1] : p.z, rows);
            if (i == 0)
                break;
            dnas_cpu_matmul_f64(p.s[i - 1], d, p.flat[i], rows, l[i].I, l[i].O, l[i].I, l[i].O,
                                l[i].I, 0);
            d = p.s[i - 1];
            sines_back(d, dfreq, p.h[i - 1], f->freq, rows, f->W);
        }
    }
}

DNAS_VERSIONS(dnas_cpu_hyena_filter_bwd,
              (double *grad, const float *dk, const struct dnas_hyena_filter *f, size_t n,
               double *scratch),
              (grad, dk, f, n, scratch))

#if DNAS_ISA == 0
size_t dnas_cpu_hyena_filter_scratch(const struct dnas_hyena_filter *f)
{
    struct parts p;

    return lay_out(&p, NULL, f);
}

size_t dnas_cpu_hyena_filter_n_grad(const struct dnas_hyena_filter *f)
{
    return f->W * f->E + 2 * f->W * f->W + 3 * f->W + f->C * f->W + f->W;
}
#endif
