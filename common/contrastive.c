/* SPDX-License-Identifier: MIT
 *
 * contrastive.c - the objectives and their gradients.  Contract: contrastive.h.
 *
 * Every objective has anchors (rows) and candidates (columns).  One sweep over
 * the tiles of scores finds each anchor's maximum and sums; a second one makes
 * the tiles again, turns scores into the loss's slopes by them, and multiplies
 * these with the candidates.  A task is 64 rows of the result and goes through
 * the tiles in order, so threads share nothing that is written.
 *
 * With e = e^{s - top} of an anchor, S1 and S2 the sums of e and e^2 over its n
 * negatives, the weighted negatives of (Weighted) SimCLR and MI-Mix sum to
 *   log sum_j a_j e^{s_j} = top + log S2 - log S1 + log n,
 * and with q their share of D, dL/ds_j = q (2 e_j^2 / S2 - e_j / S1): the slope
 * goes through the weights a, too.
 */
#include "common/contrastive.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "common/threads.h"
#include "common/xmem.h"
#include "kernels/kernels.h"

#define TILE 64
#define NOBODY SIZE_MAX
#define SHORTEST 1e-12 /* F.normalize's eps */

enum objective { WEIGHTED, MIXED, SUPCON };

/* What the second sweep needs of an anchor. */
struct anchor {
    double top;             /* the largest score of its candidates */
    double sum, sum2;       /* of e and e^2 over them */
    size_t n;               /* how many there are */
    double linear, squared; /* slope of a candidate: e (squared e + linear) */
    size_t target[2];       /* candidates that are pulled, or NOBODY */
    double target_score[2];
    double target_slope[2];
    double positives;     /* SupCon: sum of their scores, */
    size_t n_positives;   /* their number, */
    double each_positive; /* and the slope that each has besides */
    double loss;
};

/* Vectors as rows [n, D], and by tiles of 64 columns as panels [D, 64]. */
struct side {
    size_t n;
    double *rows, *panels;
};

struct dnas_contrastive {
    size_t max_pairs, D, width; /* width: D to whole vectors */
    int n_threads;
    double *rows, *panels; /* room for two sides, or one of twice the size */
    struct anchor *anchor; /* [2 max_pairs] */
    uint64_t *label;       /* [2 max_pairs] of candidates, and of anchors */
    uint64_t *second;      /* [2 max_pairs] MIXED: an anchor's other label */
    double *scratch;       /* a tile of scores and a strip of gradients a worker */
    /* of the call that runs */
    enum objective objective;
    struct side anchors, candidates;
    double inverse_temperature, share; /* share: 1 / number of anchors */
    float *gz;
};

static size_t tiles(size_t n)
{
    return (n + TILE - 1) / TILE;
}

static size_t scratch_size(const struct dnas_contrastive *c)
{
    return TILE * (TILE + c->width);
}

struct dnas_contrastive *dnas_contrastive_new(size_t max_pairs, size_t D, int n_threads)
{
    struct dnas_contrastive *c = dnas_xzalloc(1, sizeof(*c));
    size_t n_rows = 2 * tiles(max_pairs) * TILE;

    if (max_pairs == 0 || D == 0 || n_threads < 1)
        DNAS_BUG("%zu pairs of %zu numbers on %d threads", max_pairs, D, n_threads);
    if (max_pairs > UINT32_MAX / 4 || D > UINT32_MAX)
        DNAS_BUG("%zu pairs of %zu numbers", max_pairs, D);
    c->max_pairs = max_pairs;
    c->D = D;
    c->width = (D + 15) / 16 * 16;
    c->n_threads = n_threads;
    c->rows = dnas_xalloc64(n_rows, c->width * sizeof(double));
    c->panels = dnas_xalloc64(n_rows, c->width * sizeof(double));
    c->anchor = dnas_xalloc(2 * max_pairs, sizeof(*c->anchor));
    c->label = dnas_xalloc(2 * max_pairs, sizeof(*c->label));
    c->second = dnas_xalloc(2 * max_pairs, sizeof(*c->second));
    c->scratch = dnas_xalloc64((size_t)n_threads, scratch_size(c) * sizeof(double));
    return c;
}

void dnas_contrastive_free(struct dnas_contrastive *c)
{
    if (!c)
        return;
    free(c->rows);
    free(c->panels);
    free(c->anchor);
    free(c->label);
    free(c->second);
    free(c->scratch);
    free(c);
}

/* The side of z [n, D]; `before` rows of the room are taken. */
static struct side take_side(struct dnas_contrastive *c, const float *z, size_t n, size_t before)
{
    struct side s = {n, c->rows + before * c->width, c->panels + before * c->width};

    memset(s.rows, 0, tiles(n) * TILE * c->width * sizeof(double));
    memset(s.panels, 0, tiles(n) * TILE * c->width * sizeof(double));
    for (size_t i = 0; i < n; i++) {
        double *panel = s.panels + i / TILE * TILE * c->width + i % TILE;

        for (size_t d = 0; d < c->D; d++)
            s.rows[i * c->width + d] = panel[d * TILE] = (double)z[i * c->D + d];
    }
    return s;
}

/* Whether candidate k is one that anchor a is told apart from. */
static inline bool is_candidate(const struct dnas_contrastive *c, size_t a, size_t k)
{
    switch (c->objective) {
    case WEIGHTED:
        return c->label[k] != c->label[a];
    case MIXED:
        return (c->label[k] != c->label[a] && c->label[k] != c->second[a]) ||
               k == c->anchor[a].target[1];
    case SUPCON:
        return k != a;
    }
    DNAS_BUG("objective %d", (int)c->objective);
}

static inline bool is_positive(const struct dnas_contrastive *c, size_t a, size_t k)
{
    return c->objective == SUPCON && k != a && c->label[k] == c->label[a];
}

/* scores [TILE, TILE] of the rows of tile i and the columns of tile j. */
static void score_tile(const struct dnas_contrastive *c, double *scores, const struct side *rows,
                       const struct side *columns, size_t i, size_t j)
{
    dnas_cpu_matmul_f64(scores, rows->rows + i * TILE * c->width,
                        columns->panels + j * TILE * c->width, TILE, TILE, c->D, TILE, c->width,
                        TILE, 0);
    for (size_t k = 0; k < TILE * TILE; k++)
        scores[k] *= c->inverse_temperature;
}

static size_t rows_in_tile(const struct side *s, size_t tile)
{
    size_t left = s->n - tile * TILE;

    return left < TILE ? left : TILE;
}

/* Takes n scores, of the candidates from `first` on, into anchor a's sums. */
static void take_scores(struct dnas_contrastive *c, size_t a, const double *scores, size_t first,
                        size_t n)
{
    struct anchor *t = &c->anchor[a];
    double top = t->top;

    for (size_t k = 0; k < n; k++)
        if (scores[k] > top && is_candidate(c, a, first + k))
            top = scores[k];
    if (top > t->top) {
        double shrink = exp(t->top - top); /* 0 from -infinity on */

        t->sum *= shrink;
        t->sum2 *= shrink * shrink;
        t->top = top;
    }
    for (size_t k = 0; k < n; k++) {
        if (is_candidate(c, a, first + k)) {
            double e = exp(scores[k] - top);

            t->sum += e;
            t->sum2 += e * e;
            t->n++;
        }
        if (is_positive(c, a, first + k)) {
            t->positives += scores[k];
            t->n_positives++;
        }
    }
    for (int which = 0; which < 2; which++)
        if (t->target[which] - first < n)
            t->target_score[which] = scores[t->target[which] - first];
}

static void sum_task(void *ctx, size_t i, int worker)
{
    struct dnas_contrastive *c = ctx;
    double *scores = c->scratch + (size_t)worker * scratch_size(c);

    for (size_t j = 0; j < tiles(c->candidates.n); j++) {
        score_tile(c, scores, &c->anchors, &c->candidates, i, j);
        for (size_t row = 0; row < rows_in_tile(&c->anchors, i); row++)
            take_scores(c, i * TILE + row, scores + row * TILE, j * TILE,
                        rows_in_tile(&c->candidates, j));
    }
}

/* The slope of anchor a's loss by its score with candidate k. */
static inline double slope(const struct dnas_contrastive *c, size_t a, size_t k, double score)
{
    const struct anchor *t = &c->anchor[a];
    double out = 0;

    if (is_candidate(c, a, k)) {
        double e = exp(score - t->top);

        out = e * (t->squared * e + t->linear);
    }
    if (k == t->target[0])
        out += t->target_slope[0];
    if (k == t->target[1])
        out += t->target_slope[1];
    if (is_positive(c, a, k))
        out += t->each_positive;
    return out;
}

/* Adds what tile j gives to the gradients [TILE, width] of the rows of tile i.
 * The rows may be anchors, or candidates, or (one side) both. */
static void add_tile(struct dnas_contrastive *c, double *strip, double *scores,
                     const struct side *rows, const struct side *columns, bool rows_are_anchors,
                     bool columns_are_anchors, size_t i, size_t j)
{
    size_t n = rows_in_tile(rows, i), m = rows_in_tile(columns, j);

    score_tile(c, scores, rows, columns, i, j);
    for (size_t row = 0; row < TILE; row++)
        for (size_t k = 0; k < TILE; k++) {
            size_t r = i * TILE + row, col = j * TILE + k;
            double s = scores[row * TILE + k], out = 0;

            if (row < n && k < m && rows_are_anchors)
                out += slope(c, r, col, s);
            if (row < n && k < m && columns_are_anchors)
                out += slope(c, col, r, s);
            scores[row * TILE + k] = out;
        }
    dnas_cpu_matmul_f64(strip, scores, columns->rows + j * TILE * c->width, TILE, c->width, TILE,
                        c->width, TILE, c->width, 1);
}

static void gradient_strip(struct dnas_contrastive *c, size_t i, int worker,
                           const struct side *rows, const struct side *columns,
                           bool rows_are_anchors, bool columns_are_anchors)
{
    double *scores = c->scratch + (size_t)worker * scratch_size(c);
    double *strip = scores + TILE * TILE;
    double scale = c->share * c->inverse_temperature;

    memset(strip, 0, TILE * c->width * sizeof(*strip));
    for (size_t j = 0; j < tiles(columns->n); j++)
        add_tile(c, strip, scores, rows, columns, rows_are_anchors, columns_are_anchors, i, j);
    for (size_t row = 0; row < rows_in_tile(rows, i); row++)
        for (size_t d = 0; d < c->D; d++)
            c->gz[(i * TILE + row) * c->D + d] = (float)(strip[row * c->width + d] * scale);
}

static void both_task(void *ctx, size_t i, int worker)
{
    struct dnas_contrastive *c = ctx;

    gradient_strip(c, i, worker, &c->anchors, &c->anchors, true, true);
}

static void anchors_task(void *ctx, size_t i, int worker)
{
    struct dnas_contrastive *c = ctx;

    gradient_strip(c, i, worker, &c->anchors, &c->candidates, true, false);
}

static void candidates_task(void *ctx, size_t i, int worker)
{
    struct dnas_contrastive *c = ctx;

    gradient_strip(c, i, worker, &c->candidates, &c->anchors, false, true);
}

static void start(struct dnas_contrastive *c, enum objective objective, size_t n_anchors,
                  double temperature)
{
    if (n_anchors == 0 || n_anchors > 2 * c->max_pairs || !(temperature > 0))
        DNAS_BUG("%zu anchors where there is room for %zu, temperature %g", n_anchors,
                 2 * c->max_pairs, temperature);
    c->objective = objective;
    c->inverse_temperature = 1 / temperature;
    c->share = 1 / (double)n_anchors;
    for (size_t i = 0; i < n_anchors; i++)
        c->anchor[i] = (struct anchor){.top = -INFINITY, .target = {NOBODY, NOBODY}};
}

static void sum_sweep(struct dnas_contrastive *c)
{
    dnas_parallel_for(tiles(c->anchors.n), c->n_threads, sum_task, c);
}

/* log(e^x + e^y); a NaN stays one. */
static double log_add(double x, double y)
{
    return x > y ? x + log1p(exp(y - x)) : y + log1p(exp(x - y));
}

/* The loss and slopes of an anchor of WEIGHTED and MIXED, whose target 0 has
 * the share `lambda` of it. */
static void weigh(struct anchor *t, double lambda)
{
    double negatives = t->top + log(t->sum2) - log(t->sum) + log((double)t->n);
    double denominator = log_add(t->target_score[0], negatives);
    double share = exp(negatives - denominator);

    t->squared = 2 * share / t->sum2;
    t->linear = -share / t->sum;
    t->target_slope[0] = exp(t->target_score[0] - denominator) - lambda;
    t->loss = lambda * (denominator - t->target_score[0]);
    if (t->target[1] != NOBODY) {
        t->target_slope[1] = -(1 - lambda);
        t->loss += (1 - lambda) * (denominator - t->target_score[1]);
    }
}

static double mean_loss(const struct dnas_contrastive *c)
{
    double sum = 0;

    for (size_t i = 0; i < c->anchors.n; i++)
        sum += c->anchor[i].loss;
    return sum * c->share;
}

static int check_negatives(const struct dnas_contrastive *c, size_t B, bool labelled,
                           struct dnas_err *err)
{
    for (size_t i = 0; i < c->anchors.n; i++) {
        if (c->anchor[i].n > 0)
            continue;
        if (!labelled || B == 1)
            return dnas_err_set(err, "a batch of %zu has no negatives: at least 2 pairs are needed",
                                B);
        return dnas_err_set(err,
                            "pair %zu of the batch of %zu has no negatives: all others share its "
                            "label (try a larger batch, more species, or --no-mask-same-label)",
                            i % B + 1, B);
    }
    return 0;
}

int dnas_wsimclr(struct dnas_contrastive *c, double *loss, float *gz, const float *z,
                 const uint32_t *label, size_t B, double temperature, struct dnas_err *err)
{
    start(c, WEIGHTED, 2 * B, temperature);
    c->anchors = c->candidates = take_side(c, z, 2 * B, 0);
    for (size_t i = 0; i < 2 * B; i++) {
        c->label[i] = label ? label[i % B] : i % B;
        c->anchor[i].target[0] = i < B ? i + B : i - B;
    }
    sum_sweep(c);
    if (check_negatives(c, B, label, err) != 0)
        return -1;
    for (size_t i = 0; i < 2 * B; i++)
        weigh(&c->anchor[i], 1);
    *loss = mean_loss(c);
    c->gz = gz;
    if (gz)
        dnas_parallel_for(tiles(2 * B), c->n_threads, both_task, c);
    return 0;
}

int dnas_mixed_contrastive(struct dnas_contrastive *c, double *loss, float *gz1, float *gz2,
                           const float *z1, const float *z2, const uint32_t *perm,
                           const float *lambda, const uint32_t *label, size_t B, double temperature,
                           struct dnas_err *err)
{
    if (B > c->max_pairs)
        DNAS_BUG("%zu pairs where there is room for %zu", B, c->max_pairs);
    start(c, MIXED, B, temperature);
    c->anchors = take_side(c, z1, B, 0);
    c->candidates = take_side(c, z2, B, tiles(c->max_pairs) * TILE);
    for (size_t i = 0; i < B; i++) {
        if (perm[i] >= B)
            DNAS_BUG("partner %u of a batch of %zu", (unsigned)perm[i], B);
        c->label[i] = label ? label[i] : i;
        c->second[i] = label ? label[perm[i]] : perm[i];
        c->anchor[i].target[0] = i;
        if (perm[i] != i) /* else both targets are one */
            c->anchor[i].target[1] = perm[i];
    }
    sum_sweep(c);
    if (check_negatives(c, B, label, err) != 0)
        return -1;
    for (size_t i = 0; i < B; i++)
        weigh(&c->anchor[i], perm[i] != i ? (double)lambda[i] : 1);
    *loss = mean_loss(c);
    c->gz = gz1;
    if (gz1)
        dnas_parallel_for(tiles(B), c->n_threads, anchors_task, c);
    c->gz = gz2;
    if (gz2)
        dnas_parallel_for(tiles(B), c->n_threads, candidates_task, c);
    return 0;
}

int dnas_supcon(struct dnas_contrastive *c, double *loss, float *gz, const float *z,
                const uint32_t *label, size_t N, double temperature, struct dnas_err *err)
{
    size_t n_with_positives = 0;

    start(c, SUPCON, N, temperature);
    c->anchors = c->candidates = take_side(c, z, N, 0);
    for (size_t i = 0; i < N; i++)
        c->label[i] = label[i];
    sum_sweep(c);
    for (size_t i = 0; i < N; i++) {
        struct anchor *t = &c->anchor[i];

        if (t->n_positives == 0)
            continue; /* slopes and loss stay 0 */
        n_with_positives++;
        t->linear = 1 / t->sum;
        t->each_positive = -1 / (double)t->n_positives;
        t->loss = t->top + log(t->sum) - t->positives / (double)t->n_positives;
    }
    if (n_with_positives == 0)
        return dnas_err_set(err, "no two of the %zu sequences of the batch share a label", N);
    *loss = mean_loss(c);
    c->gz = gz;
    if (gz)
        dnas_parallel_for(tiles(N), c->n_threads, both_task, c);
    return 0;
}

void dnas_unit_rows_fwd(float *y, float *norm, const float *x, size_t N, size_t D)
{
    for (size_t i = 0; i < N; i++) {
        double sum = 0, inverse;

        for (size_t d = 0; d < D; d++)
            sum += (double)x[i * D + d] * (double)x[i * D + d];
        inverse = sqrt(sum) < SHORTEST ? 0 : 1 / sqrt(sum);
        for (size_t d = 0; d < D; d++)
            y[i * D + d] = (float)((double)x[i * D + d] * inverse);
        if (norm)
            norm[i] = (float)sqrt(sum);
    }
}

void dnas_unit_rows_bwd(float *gx, const float *gy, const float *y, const float *norm, size_t N,
                        size_t D)
{
    for (size_t i = 0; i < N; i++) {
        double dot = 0, inverse = (double)norm[i] < SHORTEST ? 0 : 1 / (double)norm[i];

        for (size_t d = 0; d < D; d++)
            dot += (double)y[i * D + d] * (double)gy[i * D + d];
        for (size_t d = 0; d < D; d++)
            gx[i * D + d] = (float)(((double)gy[i * D + d] - (double)y[i * D + d] * dot) * inverse);
    }
}
