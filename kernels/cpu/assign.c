/* SPDX-License-Identifier: MIT
 *
 * assign.c - distances, products and nearest centres on the CPU.  Contract: kernels.h.
 *
 * |x - c|^2 = |x - m|^2 + b_c - 2 x.(c - m), b_c = |c - m|^2 + 2 m.(c - m): the
 * products come from sgemm and carry a known bound of error.  Where two centres
 * are closer than it, the formula in double decides.  m, the origin, makes
 * |c - m| and with it the bound small when the data lie far from zero.
 */
#include "kernels/kernels.h"

#include <float.h>
#include <math.h>
#include <string.h>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "common/err.h"
#include "kernels/isa.h"

#ifdef __clang__
#pragma clang fp contract(off) /* gcc -std=c11 does not contract */
#endif

#define LANES 16
/* Centres a product: 256 x 768 floats and a tile of rows share a 1 MiB cache. */
#define K_TILE 256

/* ---- on any processor ---- */

/* The sum of the lanes in a fixed order. */
static double fold(double lane[LANES])
{
    for (size_t half = LANES / 2; half > 0; half /= 2)
        for (size_t l = 0; l < half; l++)
            lane[l] += lane[l + half];
    return lane[0];
}

static float fold_f32(float lane[LANES])
{
    for (size_t half = LANES / 2; half > 0; half /= 2)
        for (size_t l = 0; l < half; l++)
            lane[l] += lane[l + half];
    return lane[0];
}

/* Adds the squares of columns from..C-1 to lanes 0, 1, ... */
static void add_tail(double *lane, const float *a, const float *b, size_t from, size_t C)
{
    for (size_t c = from; c < C; c++) {
        double d = (double)a[c] - (double)b[c];

        lane[c - from] += d * d;
    }
}

static void add_tail_f32(float *lane, const float *a, const float *b, size_t from, size_t C)
{
    for (size_t c = from; c < C; c++)
        lane[c - from] += (a[c] - b[c]) * (a[c] - b[c]);
}

/* Adds the products of columns from..C-1 to lanes 0, 1, ... */
static void add_products(double *lane, const float *a, const float *b, size_t from, size_t C)
{
    for (size_t c = from; c < C; c++)
        lane[c - from] += (double)a[c] * (double)b[c];
}

static double dot_base(const float *a, const float *b, size_t C)
{
    double lane[LANES] = {0};
    size_t c = 0;

    for (; c + LANES <= C; c += LANES)
        add_products(lane, a + c, b + c, 0, LANES);
    add_products(lane, a, b, c, C);
    return fold(lane);
}

static double distance2_base(const float *a, const float *b, size_t C)
{
    double lane[LANES] = {0};
    size_t c = 0;

    for (; c + LANES <= C; c += LANES)
        add_tail(lane, a, b, c, c + LANES);
    add_tail(lane, a, b, c, C);
    return fold(lane);
}

static float distance2_f32_base(const float *a, const float *b, size_t C)
{
    float lane[LANES] = {0};
    size_t c = 0;

    for (; c + LANES <= C; c += LANES)
        add_tail_f32(lane, a, b, c, c + LANES);
    add_tail_f32(lane, a, b, c, C);
    return fold_f32(lane);
}

static void row_add_base(double *sum, const float *x, size_t C)
{
    for (size_t c = 0; c < C; c++)
        sum[c] += (double)x[c];
}

/* Turns n products into scores bias - 2 dot, and takes them into the least and second least of
 * each of 16 lanes.  A last part of a vector is left to the caller. */
static void scan_base(float *least, float *second, float *dot, const float *bias, size_t n)
{
    for (size_t k = 0; k < n - n % LANES; k++) {
        size_t l = k % LANES;
        float s = dot[k] = bias[k] - 2 * dot[k];
        float high = s > least[l] ? s : least[l];

        least[l] = s < least[l] ? s : least[l];
        second[l] = high < second[l] ? high : second[l];
    }
}

/* ---- AVX2 ----
 *
 * By hand, since compilers turn neither conversions nor minima of the plain loops into the
 * instructions for them.  Without fma, which would round otherwise: the lanes hold the same bits
 * as above. */
#if defined(__x86_64__)
#define AVX2 __attribute__((target("avx2")))

AVX2 static inline __m256d add_squares(__m256d sum, const float *a, const float *b)
{
    __m256d d = _mm256_sub_pd(_mm256_cvtps_pd(_mm_loadu_ps(a)), _mm256_cvtps_pd(_mm_loadu_ps(b)));

    return _mm256_add_pd(sum, _mm256_mul_pd(d, d));
}

AVX2 static double distance2_avx2(const float *a, const float *b, size_t C)
{
    __m256d s0 = _mm256_setzero_pd(), s1 = s0, s2 = s0, s3 = s0;
    double lane[LANES];
    size_t c = 0;

    for (; c + LANES <= C; c += LANES) {
        s0 = add_squares(s0, a + c, b + c);
        s1 = add_squares(s1, a + c + 4, b + c + 4);
        s2 = add_squares(s2, a + c + 8, b + c + 8);
        s3 = add_squares(s3, a + c + 12, b + c + 12);
    }
    _mm256_storeu_pd(lane, s0);
    _mm256_storeu_pd(lane + 4, s1);
    _mm256_storeu_pd(lane + 8, s2);
    _mm256_storeu_pd(lane + 12, s3);
    add_tail(lane, a, b, c, C);
    return fold(lane);
}

AVX2 static inline __m256d add_product(__m256d sum, const float *a, const float *b)
{
    return _mm256_add_pd(
        sum, _mm256_mul_pd(_mm256_cvtps_pd(_mm_loadu_ps(a)), _mm256_cvtps_pd(_mm_loadu_ps(b))));
}

AVX2 static double dot_avx2(const float *a, const float *b, size_t C)
{
    __m256d s[4] = {_mm256_setzero_pd(), _mm256_setzero_pd(), _mm256_setzero_pd(),
                    _mm256_setzero_pd()};
    double lane[LANES];
    size_t c = 0;

    for (; c + LANES <= C; c += LANES)
        for (size_t h = 0; h < 4; h++)
            s[h] = add_product(s[h], a + c + 4 * h, b + c + 4 * h);
    for (size_t h = 0; h < 4; h++)
        _mm256_storeu_pd(lane + 4 * h, s[h]);
    add_products(lane, a, b, c, C);
    return fold(lane);
}

AVX2 static float distance2_f32_avx2(const float *a, const float *b, size_t C)
{
    __m256 s0 = _mm256_setzero_ps(), s1 = s0;
    float lane[LANES];
    size_t c = 0;

    for (; c + LANES <= C; c += LANES) {
        __m256 d0 = _mm256_sub_ps(_mm256_loadu_ps(a + c), _mm256_loadu_ps(b + c));
        __m256 d1 = _mm256_sub_ps(_mm256_loadu_ps(a + c + 8), _mm256_loadu_ps(b + c + 8));

        s0 = _mm256_add_ps(s0, _mm256_mul_ps(d0, d0));
        s1 = _mm256_add_ps(s1, _mm256_mul_ps(d1, d1));
    }
    _mm256_storeu_ps(lane, s0);
    _mm256_storeu_ps(lane + 8, s1);
    add_tail_f32(lane, a, b, c, C);
    return fold_f32(lane);
}

AVX2 static void row_add_avx2(double *sum, const float *x, size_t C)
{
    size_t c = 0;

    for (; c + 4 <= C; c += 4)
        _mm256_storeu_pd(
            sum + c, _mm256_add_pd(_mm256_loadu_pd(sum + c), _mm256_cvtps_pd(_mm_loadu_ps(x + c))));
    row_add_base(sum + c, x + c, C - c);
}

AVX2 static void scan_avx2(float *least, float *second, float *dot, const float *bias, size_t n)
{
    __m256 one[2] = {_mm256_loadu_ps(least), _mm256_loadu_ps(least + 8)};
    __m256 two[2] = {_mm256_loadu_ps(second), _mm256_loadu_ps(second + 8)};

    for (size_t k = 0; k + LANES <= n; k += LANES)
        for (size_t h = 0; h < 2; h++) {
            __m256 d = _mm256_loadu_ps(dot + k + 8 * h);
            __m256 s = _mm256_sub_ps(_mm256_loadu_ps(bias + k + 8 * h), _mm256_add_ps(d, d));

            _mm256_storeu_ps(dot + k + 8 * h, s);
            two[h] = _mm256_min_ps(two[h], _mm256_max_ps(one[h], s));
            one[h] = _mm256_min_ps(one[h], s);
        }
    for (size_t h = 0; h < 2; h++) {
        _mm256_storeu_ps(least + 8 * h, one[h]);
        _mm256_storeu_ps(second + 8 * h, two[h]);
    }
}
#endif

/* ---- the versions for this processor ---- */

/* AVX-512 is left to sgemm: all here waits for the cache sooner than for arithmetic. */
struct versions {
    double (*distance2)(const float *a, const float *b, size_t C);
    double (*dot)(const float *a, const float *b, size_t C);
    float (*distance2_f32)(const float *a, const float *b, size_t C);
    void (*row_add)(double *sum, const float *x, size_t C);
    void (*scan)(float *least, float *second, float *dot, const float *bias, size_t n);
};

static const struct versions *versions(void)
{
    static const struct versions base = {distance2_base, dot_base, distance2_f32_base, row_add_base,
                                         scan_base};
#if defined(__x86_64__)
    static const struct versions avx2 = {distance2_avx2, dot_avx2, distance2_f32_avx2, row_add_avx2,
                                         scan_avx2};

    if (dnas_isa() >= DNAS_ISA_AVX2)
        return &avx2;
#endif
    return &base;
}

void dnas_cpu_distance2(double *out, const float *x, const uint32_t *row, const float *y,
                        const int32_t *which, size_t n, size_t C)
{
    const struct versions *v = versions();

    for (size_t i = 0; i < n; i++) {
        size_t a = row ? row[i] : i, b = which ? (size_t)which[a] : 0;

        out[i] = v->distance2(x + a * C, y + b * C, C);
    }
}

void dnas_cpu_dot(double *out, const float *x, const uint32_t *row, const float *y, size_t n,
                  size_t C)
{
    const struct versions *v = versions();

    for (size_t i = 0; i < n; i++)
        out[i] = v->dot(x + row[i] * C, y, C);
}

void dnas_cpu_distance2_f32(float *out, const float *x, const uint32_t *row, const float *y,
                            size_t n, size_t C)
{
    const struct versions *v = versions();

    for (size_t i = 0; i < n; i++)
        out[i] = v->distance2_f32(x + (row ? row[i] : i) * C, y, C);
}

void dnas_cpu_rows_sum(double *sum, const float *x, const uint32_t *row, size_t n, size_t C)
{
    const struct versions *v = versions();

    for (size_t i = 0; i < n; i++)
        v->row_add(sum, x + row[i] * C, C);
}

/* ---- nearest centres ---- */

void dnas_cpu_centres_prepare(struct dnas_centres *c, const float *origin)
{
    double longest2 = 0;

    c->bias_max = 0;
    for (size_t k = 0; k < c->K; k++) {
        double length2 = 0, along = 0;

        for (size_t j = 0; j < c->C; j++) {
            float d = c->centre[k * c->C + j] - origin[j];

            c->shifted[k * c->C + j] = d;
            length2 += (double)d * (double)d;
            along += (double)origin[j] * (double)d;
        }
        c->bias[k] = (float)(length2 + 2 * along);
        c->bias_max = fmax(c->bias_max, fabs(length2 + 2 * along));
        longest2 = fmax(longest2, length2);
    }
    c->longest = sqrt(longest2);
}

/* A bound on |score - (|x - c|^2 - |x - origin|^2)| for any centre, u = 2^-24: the product errs by
 * at most C u |x||d| in any order of summation (Higham 2002, section 3.1); rounding the bias, the
 * score and d = c - origin adds the rest, underflow the last term, and the double-precision
 * lengths their own relative error. */
static double score_error(const struct dnas_centres *c, double length, double reach)
{
    const double u = 0x1p-24, n = (double)c->C + 2;

    return 1.02 * u *
               (c->longest * (2 * n * length + 2 * reach + 2 * c->longest) + 2 * c->bias_max) +
           8 * n * DBL_EPSILON * reach * reach + n * (double)FLT_MIN;
}

/* A row of an [N,K] matrix that is stored as dense tiles [N, up to K_TILE]. */
struct tiled_row {
    float *tile;
    size_t N, i, K;
};

/* Columns k0..k0+*n-1 of the row, k0 a multiple of K_TILE. */
static float *part_of(const struct tiled_row *r, size_t k0, size_t *n)
{
    *n = r->K - k0 < K_TILE ? r->K - k0 : K_TILE;
    return r->tile + r->N * k0 + r->i * *n;
}

/* Takes one score into the least two. */
static void take(float two[2], float score)
{
    if (score < two[0]) {
        two[1] = two[0];
        two[0] = score;
    } else if (score < two[1]) {
        two[1] = score;
    }
}

/* Turns a row's products into scores; the least two of them. */
static void scan(float two[2], const struct tiled_row *r, const float *bias,
                 const struct versions *v)
{
    float least[LANES], second[LANES];
    size_t n;

    two[0] = two[1] = INFINITY;
    for (size_t l = 0; l < LANES; l++)
        least[l] = second[l] = INFINITY;
    for (size_t k0 = 0; k0 < r->K; k0 += K_TILE) {
        float *p = part_of(r, k0, &n);

        v->scan(least, second, p, bias + k0, n);
        for (size_t k = n - n % LANES; k < n; k++) {
            p[k] = bias[k0 + k] - 2 * p[k];
            take(two, p[k]);
        }
    }
    for (size_t l = 0; l < LANES; l++) {
        take(two, least[l]);
        take(two, second[l]);
    }
}

/* The formula in double over the centres whose score is not above limit; returns the label, and
 * the two least squared distances among them. */
static int32_t second_look(double least2[2], const float *x, const struct dnas_centres *c,
                           const struct tiled_row *r, double limit, const struct versions *v)
{
    int32_t label = -1;
    size_t n;

    least2[0] = least2[1] = INFINITY;
    for (size_t k = 0; k < c->K; k++) {
        const float *p = part_of(r, k - k % K_TILE, &n);
        double d;

        if ((double)p[k % K_TILE] > limit)
            continue;
        d = v->distance2(x, c->centre + k * c->C, c->C);
        if (label < 0 || d < least2[0]) {
            least2[1] = least2[0];
            least2[0] = d;
            label = (int32_t)k;
        } else if (d < least2[1]) {
            least2[1] = d;
        }
    }
    return label;
}

/* The first column that holds the score. */
static int32_t find(const struct tiled_row *r, float score)
{
    size_t k0 = 0, k = 0, n;

    for (;; k0 += K_TILE) {
        const float *p = part_of(r, k0, &n);

        for (k = 0; k < n; k++)
            if (p[k] == score)
                return (int32_t)(k0 + k);
    }
}

static void assign_row(int32_t *label, double *upper, double *lower, const float *x, double length,
                       double reach, const struct dnas_centres *c, const struct tiled_row *r,
                       const float least[2], const struct versions *v)
{
    double error = score_error(c, length, reach);
    double relative = 4 * ((double)c->C + 8) * DBL_EPSILON; /* of the sums in double */
    double limit = (double)least[0] + 2 * error;
    double near2 = reach * reach + (double)least[0] + error;
    double far2 = reach * reach + (double)least[1] - error;

    /* Products beyond f32 tell nothing: every centre is looked at. */
    if (!(length * c->longest < 1e37) || !(c->bias_max < 1e37))
        limit = INFINITY;
    if ((double)least[1] > limit) {
        *label = find(r, least[0]);
    } else {
        double least2[2];

        *label = second_look(least2, x, c, r, limit, v);
        near2 = least2[0];
        far2 = fmin(least2[1], reach * reach + limit - error);
    }
    *upper = sqrt(fmax(near2, 0)) * (1 + relative);
    *lower = sqrt(fmax(far2, 0)) * (1 - relative);
}

void dnas_cpu_assign(int32_t *label, double *upper, double *lower, const float *x,
                     const double *length, const double *reach, const struct dnas_centres *c,
                     size_t N, float *scratch)
{
    const struct versions *v = versions();

    if (c->K == 0)
        DNAS_BUG("no centres");
    for (size_t k0 = 0; k0 < c->K; k0 += K_TILE) {
        size_t n = c->K - k0 < K_TILE ? c->K - k0 : K_TILE;

        dnas_cpu_matmul_nt(scratch + N * k0, x, c->shifted + k0 * c->C, N, n, c->C);
    }
    for (size_t i = 0; i < N; i++) {
        struct tiled_row r = {.tile = scratch, .N = N, .i = i, .K = c->K};
        float least[2];

        scan(least, &r, c->bias, v);
        assign_row(&label[i], &upper[i], &lower[i], x + i * c->C, length[i], reach[i], c, &r, least,
                   v);
    }
}
