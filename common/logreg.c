/* SPDX-License-Identifier: MIT
 *
 * logreg.c - logistic regression by L-BFGS.  Contract: logreg.h.
 *
 * Products in f32 do until a step lessens the objective by less than some
 * hundred times their rounding.  From there on an evaluation is what is known
 * in double at a point close by, the anchor, and the change from there in f32:
 * as in iterative refinement, rounding shrinks with the steps.  All of it is one
 * run of L-BFGS, which so keeps what it knows of the curvature.
 */
#include "common/logreg.h"

#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <lbfgs.h>

#include "common/logreg_loss.h"
#include "common/xmem.h"

/* Below this many products an evaluation in double takes no time to speak of. */
#define SMALL 1e7
/* A step that lessens the objective by less than this share ends plain f32, with which line
 * searches begin to fail at 1e-9. */
#define F32_ENOUGH 1e-6

struct fit {
    struct dnas_logreg_loss *loss;
    size_t n; /* coefficients: (C + 1) K; beyond it lies padding */
    double tol;
    enum dnas_logreg_products how;
    int anchored_at; /* the iteration of the anchor */
    double before;   /* the objective an iteration ago */
    struct dnas_logreg_info *info;
};

static double largest(const double *g, size_t n)
{
    double most = 0;

    for (size_t i = 0; i < n; i++)
        most = fabs(g[i]) > most ? fabs(g[i]) : most;
    return most;
}

static lbfgsfloatval_t evaluate(void *ctx, const lbfgsfloatval_t *v, lbfgsfloatval_t *g,
                                const int n, const lbfgsfloatval_t step)
{
    struct fit *f = ctx;

    (void)step;
    for (size_t i = f->n; i < (size_t)n; i++)
        g[i] = 0;
    return dnas_logreg_loss_at(f->loss, g, v, f->how);
}

static void set_anchor(struct fit *f, const double *v)
{
    dnas_logreg_loss_anchor(f->loss, v);
    f->how = DNAS_LOGREG_ANCHORED;
    f->anchored_at = f->info->n_iter;
}

/* After each iteration: nonzero stops. */
static int progress(void *ctx, const lbfgsfloatval_t *v, const lbfgsfloatval_t *g,
                    const lbfgsfloatval_t objective, const lbfgsfloatval_t v_norm,
                    const lbfgsfloatval_t g_norm, const lbfgsfloatval_t step, int n, int n_iter,
                    int n_evaluations)
{
    struct fit *f = ctx;

    (void)v_norm, (void)g_norm, (void)step, (void)n, (void)n_iter;
    (void)n_evaluations;
    f->info->n_iter++;
    f->info->objective = objective;
    f->info->gradient_max = largest(g, f->n);
    if (f->how != DNAS_LOGREG_F32 && f->info->gradient_max <= f->tol)
        return 1;
    if (f->how == DNAS_LOGREG_F32 &&
        (f->info->gradient_max <= f->tol || !(f->before - objective > F32_ENOUGH * objective)))
        set_anchor(f, v);
    f->before = objective;
    return 0;
}

static int check(const float *x, size_t N, size_t C, size_t K, const struct dnas_logreg_options *o,
                 struct dnas_err *err)
{
    if (N == 0 || C == 0 || K == 0 || !(o->inverse_l2 > 0) || !(o->tol >= 0) || o->max_iter < 1 ||
        o->n_threads < 1)
        DNAS_BUG("%zu rows of %zu, %zu classes, C %g, tol %g, %d iterations, %d threads", N, C, K,
                 o->inverse_l2, o->tol, o->max_iter, o->n_threads);
    if (K > (INT_MAX - 8) / (C + 1))
        return dnas_err_set(err,
                            "%zu classes of %zu dimensions: at most 2^31 - 8 coefficients can "
                            "be fitted; try fewer dimensions",
                            K, C);
    for (size_t i = 0; i < N * C; i++)
        if (!isfinite(x[i]))
            return dnas_err_set(err, "row %zu holds a value that is not finite", i / C + 1);
    return 0;
}

/* Runs L-BFGS from v until it ends; again with a new anchor if that was for want of precision. */
static int minimise(struct fit *f, double *v, size_t n_padded, int max_iter, struct dnas_err *err)
{
    lbfgs_parameter_t how;
    int got;

    lbfgs_parameter_init(&how);
    how.m = 10;
    how.epsilon = 0; /* progress() stops */
    for (;;) {
        how.max_iterations = max_iter - f->info->n_iter; /* above 0, which would be no limit */
        got = lbfgs((int)n_padded, v, &f->info->objective, evaluate, progress, f, &how);
        if (got == LBFGSERR_OUTOFMEMORY)
            return dnas_err_set(err, "no memory for L-BFGS on %zu coefficients", f->n);
        if (got >= 0 || got == LBFGSERR_MAXIMUMITERATION || f->how == DNAS_LOGREG_F64 ||
            (f->how == DNAS_LOGREG_ANCHORED && f->anchored_at == f->info->n_iter))
            break;
        if (f->info->n_iter >= max_iter)
            return 0; /* not converged */
        set_anchor(f, v);
    }
    /* Positive: stopped by progress(); other errors: no step of any length lessens the sum. */
    f->info->converged = got != LBFGSERR_MAXIMUMITERATION;
    return 0;
}

/* v, f64 [C+1,K], as weights and biases. */
static void take(float *weight, float *bias, const double *v, size_t C, size_t K)
{
    double mean = 0;

    for (size_t k = 0; k < K; k++)
        mean += v[C * K + k] / (double)K;
    for (size_t k = 0; k < K; k++) {
        bias[k] = (float)(DNAS_LOGREG_CONSTANT * (v[C * K + k] - mean));
        for (size_t c = 0; c < C; c++)
            weight[k * C + c] = (float)v[c * K + k];
    }
}

int dnas_logreg_fit(float *weight, float *bias, struct dnas_logreg_info *info, const float *x,
                    const int32_t *y, size_t N, size_t C, size_t K,
                    const struct dnas_logreg_options *options, struct dnas_err *err)
{
    struct fit f = {.tol = options->tol, .before = INFINITY, .info = info};
    size_t n_padded;
    double *v;
    int status;

    *info = (struct dnas_logreg_info){.objective = 0};
    if (check(x, N, C, K, options, err) != 0)
        return -1;
    f.n = (C + 1) * K;
    f.how = (double)N * (double)C * (double)K < SMALL ? DNAS_LOGREG_F64 : DNAS_LOGREG_F32;
    n_padded = (f.n + 7) / 8 * 8; /* liblbfgs with SSE wants a multiple of 8 */
    v = dnas_xalloc64(n_padded, sizeof(*v));
    memset(v, 0, n_padded * sizeof(*v));
    f.loss = dnas_logreg_loss_new(x, y, N, C, K, (K == 2 ? 2 : 1) / options->inverse_l2,
                                  options->n_threads);
    status = minimise(&f, v, n_padded, options->max_iter, err);
    if (status == 0)
        take(weight, bias, v, C, K);
    dnas_logreg_loss_free(f.loss);
    free(v);
    return status;
}
