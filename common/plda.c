/* SPDX-License-Identifier: MIT
 *
 * plda.c - evidence that sequences are of one species.  Contract: plda.h.
 */
#include "common/plda.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/xmem.h"

#define LANES 4

static double *widen(const float *x, size_t C, size_t stride)
{
    double *out = dnas_xzalloc(stride, sizeof(*out));

    for (size_t i = 0; i < C; i++)
        out[i] = (double)x[i];
    return out;
}

void dnas_plda_init(struct dnas_plda *m, const float *between, const float *noise,
                    const float *noise_kb, size_t C)
{
    m->C = C;
    m->n_own = 0;
    m->stride = (C + DNAS_PLDA_PAD - 1) / DNAS_PLDA_PAD * DNAS_PLDA_PAD;
    m->between = widen(between, C, m->stride);
    m->noise = widen(noise, C, m->stride);
    m->noise_kb = widen(noise_kb, C, m->stride);
    m->drift = dnas_xzalloc(m->stride, sizeof(*m->drift));
    for (size_t i = 0; i < C; i++)
        m->drift[i] = DNAS_PLDA_DRIFT * m->noise[i];
}

void dnas_plda_release(struct dnas_plda *m)
{
    free(m->between);
    free(m->noise);
    free(m->noise_kb);
    free(m->drift);
    *m = (struct dnas_plda){0};
}

void dnas_plda_extend(struct dnas_plda *out, const struct dnas_plda *m, const double *between,
                      size_t n_own)
{
    size_t C = m->C + n_own, stride = (C + DNAS_PLDA_PAD - 1) / DNAS_PLDA_PAD * DNAS_PLDA_PAD;

    *out = (struct dnas_plda){.C = C, .n_own = n_own, .stride = stride};
    out->between = dnas_xzalloc(stride, sizeof(*out->between));
    out->noise = dnas_xzalloc(stride, sizeof(*out->noise));
    out->noise_kb = dnas_xzalloc(stride, sizeof(*out->noise_kb));
    memcpy(out->between, m->between, m->C * sizeof(*m->between));
    memcpy(out->noise, m->noise, m->C * sizeof(*m->noise));
    memcpy(out->noise_kb, m->noise_kb, m->C * sizeof(*m->noise_kb));
    out->drift = dnas_xzalloc(stride, sizeof(*out->drift));
    memcpy(out->drift, m->drift, m->C * sizeof(*m->drift));
    memcpy(out->between + m->C, between, n_own * sizeof(*between));
}

static double variance(const struct dnas_plda *m, size_t i, uint32_t length_bp, const float *own)
{
    if (i >= m->C - m->n_own)
        return (double)own[i - (m->C - m->n_own)];
    return m->noise[i] + m->noise_kb[i] * 1000 / (length_bp > 0 ? length_bp : 1);
}

void dnas_plda_sequence(const struct dnas_plda *m, double *p, double *h, const float *x,
                        uint32_t length_bp, const float *own)
{
    for (size_t i = 0; i < m->C; i++) {
        p[i] = 1 / variance(m, i, length_bp, own);
        h[i] = (double)x[i] * p[i];
    }
    for (size_t i = m->C; i < m->stride; i++)
        p[i] = h[i] = 0;
}

/* Sums run in LANES and logarithms are taken of products of DNAS_PLDA_PAD factors, which the
 * bounds on a noise model keep within range: 1 + B p is below 1e12 times the number of sequences.
 */
static double evidence(const struct dnas_plda *m, const double *p, const double *h,
                       const double *p2, const double *h2, size_t step)
{
    double square[LANES] = {0}, logs = 0;

    for (size_t at = 0, at2 = 0; at < m->stride; at += DNAS_PLDA_PAD, at2 += step) {
        const double *b = m->between + at, *s = m->drift + at;
        double product[LANES] = {1, 1, 1, 1};

        for (size_t i = 0; i < DNAS_PLDA_PAD; i += LANES)
            for (size_t l = 0; l < LANES; l++) {
                double r = 1 / (1 + s[i + l] * p[at + i + l]);
                double r2 = 1 / (1 + s[i + l] * p2[at2 + i + l]);
                double q = 1 + b[i + l] * (p[at + i + l] * r + p2[at2 + i + l] * r2);
                double sum = h[at + i + l] * r + h2[at2 + i + l] * r2;

                product[l] *= q;
                square[l] += sum * sum * b[i + l] / q;
            }
        logs += log((product[0] * product[1]) * (product[2] * product[3]));
    }
    return ((square[0] + square[1]) + (square[2] + square[3]) - logs) / 2;
}

double dnas_plda_evidence(const struct dnas_plda *m, const double *p, const double *h)
{
    static const double none[DNAS_PLDA_PAD];

    return evidence(m, p, h, none, none, 0);
}

double dnas_plda_joint(const struct dnas_plda *m, const double *p, const double *h,
                       const double *p2, const double *h2)
{
    return evidence(m, p, h, p2, h2, DNAS_PLDA_PAD);
}

void dnas_plda_direction(const struct dnas_plda *m, float *out, const float *x, uint32_t length_bp,
                         const float *own)
{
    double norm = 0;

    for (size_t pass = 0; pass < 2; pass++) /* twice, so that no second array is needed */
        for (size_t i = 0; i < m->C; i++) {
            double b = m->between[i];
            double y = (double)x[i] * sqrt(b) / (b + variance(m, i, length_bp, own));

            if (pass == 0)
                norm += y * y;
            else
                out[i] = norm > 0 ? (float)(y / sqrt(norm)) : 0;
        }
}
