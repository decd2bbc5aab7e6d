/* SPDX-License-Identifier: MIT
 *
 * longconv.c - causal convolutions as long as the sequence, and their backward.
 * Contract: kernels.h.
 *
 * A sequence of T real numbers is a polynomial of degree below M >= T, and a
 * product of two of them modulo z^M - i is low + i high: the causal part, the one
 * that is wanted, is the real part.  So one complex transform of length M does
 * what zero padding to 2 M would (the right-angle convolution of Krishnamurthy's
 * and Nussbaumer's kind), and there is nothing to pack or to separate.
 *
 * The transform divides z^n - c into four factors z^{n/4} - r i^t with r^4 = c,
 * all the way down: a butterfly multiplies by r, r^2, r^3, the same for a whole
 * node, and what comes out stays in the order of the tree, where products are
 * taken element by element.  A first step into 3 or 5 gives more lengths.  Nodes
 * are worked off depth first, so those that fit a cache stay in it.  Sixteen
 * channels are sixteen lanes: a row is 16 real, then 16 imaginary parts.
 */
#include "kernels/kernels.h"

#include <math.h>

#include "kernels/cpu/simd.h"

#define ROW (2 * LANES)
#define MAX_LEVELS 40
#define PI 3.14159265358979323846

/* Where the roots of each level begin: (r, r^2, r^3) a node, (r) where n is 2. */
struct plan {
    size_t M, first; /* first: 1, 3 or 5 */
    const float *level[MAX_LEVELS];
};

struct complex16 {
    v16 re, im;
};

INLINE struct complex16 load(const float *row)
{
    return (struct complex16){v16_load(row), v16_load(row + LANES)};
}

INLINE void store(float *row, struct complex16 x)
{
    v16_store(row, x.re);
    v16_store(row + LANES, x.im);
}

INLINE struct complex16 plus(struct complex16 a, struct complex16 b)
{
    return (struct complex16){a.re + b.re, a.im + b.im};
}

INLINE struct complex16 minus(struct complex16 a, struct complex16 b)
{
    return (struct complex16){a.re - b.re, a.im - b.im};
}

/* a (re + i im) */
INLINE struct complex16 by(struct complex16 a, float re, float im)
{
    return (struct complex16){a.re * re - a.im * im, a.re * im + a.im * re};
}

/* a + i b and a - i b */
INLINE struct complex16 plus_i(struct complex16 a, struct complex16 b)
{
    return (struct complex16){a.re - b.im, a.im + b.re};
}

INLINE struct complex16 minus_i(struct complex16 a, struct complex16 b)
{
    return (struct complex16){a.re + b.im, a.im - b.re};
}

/* ---- the tree ---- */

#if DNAS_ISA == 0
size_t dnas_cpu_longconv_size(size_t T)
{
    static const size_t odd[] = {1, 3, 5};
    size_t best = SIZE_MAX;

    for (size_t i = 0; i < 3; i++) {
        size_t M = odd[i] * 4;

        while (M < T)
            M *= 2;
        best = M < best ? M : best;
    }
    return best;
}
#endif

static size_t first_factor(size_t M)
{
    while (M % 2 == 0)
        M /= 2;
    return M;
}

/* What a node of n coefficients is divided into. */
static size_t next_radix(size_t n, size_t level, size_t first)
{
    if (level == 0 && first > 1)
        return first;
    return n >= 4 ? 4 : 2;
}

static struct plan plan_of(const float *roots, size_t M)
{
    struct plan p = {.M = M, .first = first_factor(M)};
    size_t nodes = 1, level = 0;

    for (size_t n = M; n > 1; level++) {
        size_t radix = next_radix(n, level, p.first);

        p.level[level] = roots;
        roots += nodes * 2 * (radix - 1);
        nodes *= radix;
        n /= radix;
    }
    return p;
}

#if DNAS_ISA == 0
size_t dnas_cpu_longconv_n_roots(size_t T)
{
    size_t M = dnas_cpu_longconv_size(T), first = first_factor(M), nodes = 1, total = 0;

    for (size_t n = M, level = 0; n > 1; level++) {
        size_t radix = next_radix(n, level, first);

        total += nodes * 2 * (radix - 1);
        nodes *= radix;
        n /= radix;
    }
    return total;
}

/* Where the angle of c, in turns, of node `node` of a level comes from: that of
 * its parent, divided, and the node's place among its siblings. */
static double turns_of(size_t level, size_t node, size_t first)
{
    size_t radix = level == 1 && first > 1 ? first : 4;

    if (level == 0)
        return 0.25; /* of i */
    return (turns_of(level - 1, node / radix, first) + (double)(node % radix)) / (double)radix;
}

void dnas_cpu_longconv_roots(float *roots, size_t T)
{
    size_t M = dnas_cpu_longconv_size(T), first = first_factor(M), nodes = 1;

    for (size_t n = M, level = 0; n > 1; level++) {
        size_t radix = next_radix(n, level, first);

        for (size_t node = 0; node < nodes; node++)
            for (size_t q = 1; q < radix; q++) {
                double angle = 2 * PI * (double)q * turns_of(level, node, first) / (double)radix;

                *roots++ = (float)cos(angle);
                *roots++ = (float)sin(angle);
            }
        nodes *= radix;
        n /= radix;
    }
}
#endif

/* ---- down it, from coefficients to values, and up again ---- */

/* The odd first step; f is 3 or 5 and known when this is compiled. */
INLINE void split_odd(float *x, size_t n, const float *w, size_t f, int inverse)
{
    size_t q = n / f, half = f / 2;
    float cosine[3][3] = {{0}}, sine[3][3] = {{0}};

    for (size_t t = 1; t <= half; t++)
        for (size_t p = 1; p <= half; p++) {
            double angle = 2 * PI * (double)(t * p) / (double)f;

            cosine[t][p] = (float)cos(angle);
            sine[t][p] = (float)(inverse ? -sin(angle) : sin(angle));
        }
    for (size_t j = 0; j < q; j++) {
        struct complex16 a[5], sum[3], difference[3];

        for (size_t p = 0; p < f; p++) {
            a[p] = load(x + (j + p * q) * ROW);
            if (p > 0 && !inverse)
                a[p] = by(a[p], w[2 * p - 2], w[2 * p - 1]);
        }
        for (size_t p = 1; p <= half; p++) {
            sum[p] = plus(a[p], a[f - p]);
            difference[p] = minus(a[p], a[f - p]);
        }
        for (size_t t = 1; t <= half; t++) {
            struct complex16 even = a[0], odd = {v16_all(0), v16_all(0)}, to[2];

            for (size_t p = 1; p <= half; p++) {
                even.re += cosine[t][p] * sum[p].re;
                even.im += cosine[t][p] * sum[p].im;
                odd.re += sine[t][p] * difference[p].re;
                odd.im += sine[t][p] * difference[p].im;
            }
            to[0] = plus_i(even, odd);
            to[1] = minus_i(even, odd);
            if (inverse) {
                to[0] = by(to[0], w[2 * t - 2], -w[2 * t - 1]);
                to[1] = by(to[1], w[2 * (f - t) - 2], -w[2 * (f - t) - 1]);
            }
            store(x + (j + t * q) * ROW, to[0]);
            store(x + (j + (f - t) * q) * ROW, to[1]);
        }
        for (size_t p = 1; p <= half; p++)
            a[0] = plus(a[0], sum[p]);
        store(x + j * ROW, a[0]);
    }
}

INLINE void split_four(float *x, size_t q, const float *w)
{
    float *x1 = x + q * ROW, *x2 = x1 + q * ROW, *x3 = x2 + q * ROW;

    /* Not read again after each store. */
    const float r0 = w[0], r1 = w[1], r2 = w[2], r3 = w[3], r4 = w[4], r5 = w[5];

    for (size_t j = 0; j < q * ROW; j += ROW) {
        struct complex16 a0 = load(x + j), a1 = by(load(x1 + j), r0, r1);
        struct complex16 a2 = by(load(x2 + j), r2, r3), a3 = by(load(x3 + j), r4, r5);
        struct complex16 s02 = plus(a0, a2), d02 = minus(a0, a2);
        struct complex16 s13 = plus(a1, a3), d13 = minus(a1, a3);

        store(x + j, plus(s02, s13));
        store(x1 + j, plus_i(d02, d13));
        store(x2 + j, minus(s02, s13));
        store(x3 + j, minus_i(d02, d13));
    }
}

INLINE void join_four(float *x, size_t q, const float *w)
{
    float *x1 = x + q * ROW, *x2 = x1 + q * ROW, *x3 = x2 + q * ROW;

    /* Not read again after each store. */
    const float r0 = w[0], r1 = w[1], r2 = w[2], r3 = w[3], r4 = w[4], r5 = w[5];

    for (size_t j = 0; j < q * ROW; j += ROW) {
        struct complex16 a0 = load(x + j), a1 = load(x1 + j);
        struct complex16 a2 = load(x2 + j), a3 = load(x3 + j);
        struct complex16 s02 = plus(a0, a2), d02 = minus(a0, a2);
        struct complex16 s13 = plus(a1, a3), d13 = minus(a1, a3);

        store(x + j, plus(s02, s13));
        store(x1 + j, by(minus_i(d02, d13), r0, -r1));
        store(x2 + j, by(minus(s02, s13), r2, -r3));
        store(x3 + j, by(plus_i(d02, d13), r4, -r5));
    }
}

INLINE void split_two(float *x, const float *w)
{
    struct complex16 a = load(x), b = by(load(x + ROW), w[0], w[1]);

    store(x, plus(a, b));
    store(x + ROW, minus(a, b));
}

INLINE void join_two(float *x, const float *w)
{
    struct complex16 a = load(x), b = load(x + ROW);

    store(x, plus(a, b));
    store(x + ROW, by(minus(a, b), w[0], -w[1]));
}

static void down(float *x, size_t n, const struct plan *p, size_t level, size_t node)
{
    size_t q = n / 4;

    if (n == 1)
        return;
    if (n == 2) {
        split_two(x, p->level[level] + 2 * node);
        return;
    }
    split_four(x, q, p->level[level] + 6 * node);
    for (size_t t = 0; q > 1 && t < 4; t++) {
        if (q == 4)
            split_four(x + t * q * ROW, 1, p->level[level + 1] + 6 * (4 * node + t));
        else
            down(x + t * q * ROW, q, p, level + 1, 4 * node + t);
    }
}

static void up(float *x, size_t n, const struct plan *p, size_t level, size_t node)
{
    size_t q = n / 4;

    if (n == 1)
        return;
    if (n == 2) {
        join_two(x, p->level[level] + 2 * node);
        return;
    }
    for (size_t t = 0; q > 1 && t < 4; t++) {
        if (q == 4)
            join_four(x + t * q * ROW, 1, p->level[level + 1] + 6 * (4 * node + t));
        else
            up(x + t * q * ROW, q, p, level + 1, 4 * node + t);
    }
    join_four(x, q, p->level[level] + 6 * node);
}

static void transform(float *x, const struct plan *p)
{
    if (p->first == 3)
        split_odd(x, p->M, p->level[0], 3, 0);
    else if (p->first == 5)
        split_odd(x, p->M, p->level[0], 5, 0);
    if (p->first == 1)
        down(x, p->M, p, 0, 0);
    for (size_t t = 0; p->first > 1 && t < p->first; t++)
        down(x + t * (p->M / p->first) * ROW, p->M / p->first, p, 1, t);
}

/* Without the division by M. */
static void transform_back(float *x, const struct plan *p)
{
    if (p->first == 1)
        up(x, p->M, p, 0, 0);
    for (size_t t = 0; p->first > 1 && t < p->first; t++)
        up(x + t * (p->M / p->first) * ROW, p->M / p->first, p, 1, t);
    if (p->first == 3)
        split_odd(x, p->M, p->level[0], 3, 1);
    else if (p->first == 5)
        split_odd(x, p->M, p->level[0], 5, 1);
}

/* ---- channels in and out ---- */

/* n of at most 16 channels of x, whose rows lie ld apart, transformed. */
static void take(float *to, const float *x, size_t n, size_t T, size_t ld, const struct plan *p)
{
    for (size_t t = 0; t < T; t++)
        store(to + t * ROW,
              (struct complex16){
                  n == LANES ? v16_load(x + t * ld) : v16_load_some(x + t * ld, n, 0), v16_all(0)});
    memset(to + T * ROW, 0, (p->M - T) * ROW * sizeof(*to));
    transform(to, p);
}

/* x <- x y */
static void multiply(float *x, const float *y, size_t M)
{
    for (size_t i = 0; i < M * ROW; i += ROW) {
        struct complex16 a = load(x + i), b = load(y + i);

        store(x + i, (struct complex16){a.re * b.re - a.im * b.im, a.re * b.im + a.im * b.re});
    }
}

/* out = real part / M + scale y (y NULL: 0). */
static void give(float *out, const float *from, const float *y, const float *scale, size_t n,
                 size_t T, size_t ld, const struct plan *p)
{
    float by_M = 1 / (float)p->M, lane[LANES];
    v16 s = y ? v16_load_some(scale, n, 0) : v16_all(0);

    for (size_t t = 0; t < T; t++) {
        v16 v = v16_load(from + t * ROW) * by_M;

        if (y)
            v += s * v16_load_some(y + t * ld, n, 0);
        v16_store(lane, v);
        memcpy(out + t * ld, lane, n * sizeof(*out));
    }
}

INLINE void dnas_cpu_longconv_fwd_body(float *out, const float *u, size_t ld, size_t step,
                                       const float *k, size_t ld_k, size_t step_k,
                                       const float *skip, size_t T, size_t C, const float *roots,
                                       float *scratch)
{
    struct plan p = plan_of(roots, dnas_cpu_longconv_size(T));
    float *a = scratch, *b = scratch + p.M * ROW;

    for (size_t c = 0; T > 0 && c < C; c += LANES) {
        size_t n = C - c < LANES ? C - c : LANES, at = c / LANES * step;

        take(a, u + at, n, T, ld, &p);
        take(b, k + c / LANES * step_k, n, T, ld_k, &p);
        multiply(a, b, p.M);
        transform_back(a, &p);
        give(out + at, a, u + at, skip + c, n, T, ld, &p);
    }
}

DNAS_VERSIONS(dnas_cpu_longconv_fwd,
              (float *out, const float *u, size_t ld, size_t step, const float *k, size_t ld_k,
               size_t step_k, const float *skip, size_t T, size_t C, const float *roots,
               float *scratch),
              (out, u, ld, step, k, ld_k, step_k, skip, T, C, roots, scratch))

/* dskip = sum over t of dout u, in double. */
static void add_skip(float *dskip, const float *dout, const float *u, size_t n, size_t T, size_t C)
{
    double sum[LANES] = {0};

    for (size_t t = 0; t < T; t++)
        for (size_t i = 0; i < n; i++)
            sum[i] += (double)dout[t * C + i] * (double)u[t * C + i];
    for (size_t i = 0; i < n; i++)
        dskip[i] += (float)sum[i];
}

INLINE void dnas_cpu_longconv_bwd_body(float *du, float *dk, float *dskip, const float *dout,
                                       const float *u, const float *k, const float *skip, size_t T,
                                       size_t C, const float *roots, float *scratch)
{
    struct plan p = plan_of(roots, dnas_cpu_longconv_size(T));
    float *d = scratch, *a = d + p.M * ROW, *b = a + p.M * ROW;

    for (size_t c = 0; T > 0 && c < C; c += LANES) {
        size_t n = C - c < LANES ? C - c : LANES;

        add_skip(dskip + c, dout + c, u + c, n, T, C);
        take(d, dout + c, n, T, C, &p);
        take(a, u + c, n, T, C, &p);
        take(b, k + c, n, T, C, &p);
        /* a <- d conj(a), b <- d conj(b): a conjugate turns a convolution into a correlation. */
        for (size_t i = 0; i < p.M * ROW; i += ROW) {
            struct complex16 x = load(d + i), y = load(a + i), z = load(b + i);

            store(a + i, (struct complex16){x.re * y.re + x.im * y.im, x.im * y.re - x.re * y.im});
            store(b + i, (struct complex16){x.re * z.re + x.im * z.im, x.im * z.re - x.re * z.im});
        }
        transform_back(a, &p);
        transform_back(b, &p);
        give(dk + c, a, NULL, NULL, n, T, C, &p);
        give(du + c, b, dout + c, skip + c, n, T, C, &p);
    }
}

DNAS_VERSIONS(dnas_cpu_longconv_bwd,
              (float *du, float *dk, float *dskip, const float *dout, const float *u,
               const float *k, const float *skip, size_t T, size_t C, const float *roots,
               float *scratch),
              (du, dk, dskip, dout, u, k, skip, T, C, roots, scratch))
