/* SPDX-License-Identifier: MIT
 *
 * train_draw.c - the chance in training.  Contract: train_draw.h.
 */
#include "common/train_draw.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/err.h"
#include "common/rng.h"
#include "common/xmem.h"

#define ROUNDS 10

/* One pass through the network over 2 x half_bits bits. */
static uint64_t feistel(uint64_t x, unsigned half_bits, uint64_t seed, uint32_t epoch)
{
    const uint32_t key[2] = {(uint32_t)seed, (uint32_t)(seed >> 32)};
    uint32_t mask = half_bits == 32 ? UINT32_MAX : ((uint32_t)1 << half_bits) - 1;
    uint32_t left = (uint32_t)(x >> half_bits), right = (uint32_t)x & mask;

    for (uint32_t round = 0; round < ROUNDS; round++) {
        const uint32_t counter[4] = {round, epoch, right, DNAS_RNG_EPOCH_ORDER};
        uint32_t f[4], next;

        dnas_philox4x32(f, counter, key);
        next = left ^ (f[0] & mask);
        left = right;
        right = next;
    }
    return (uint64_t)left << half_bits | right;
}

uint64_t dnas_draw_order(uint64_t i, uint64_t n, uint64_t seed, uint32_t epoch)
{
    unsigned half_bits = 4;

    if (i >= n)
        DNAS_BUG("number %llu of %llu", (unsigned long long)i, (unsigned long long)n);
    while (half_bits < 32 && (n - 1) >> (2 * half_bits) != 0)
        half_bits++;
    do
        i = feistel(i, half_bits, seed, epoch);
    while (i >= n);
    return i;
}

uint32_t dnas_draw_mix_layer(uint64_t seed, uint32_t step, uint32_t n_layers)
{
    struct dnas_rng rng;

    dnas_rng_init(&rng, seed, DNAS_RNG_MIX_LAYER, step, 0);
    return (uint32_t)dnas_rng_below(&rng, n_layers);
}

/* log of a uniform number on (0, 1]. */
static double log_uniform(struct dnas_rng *rng)
{
    return log(1 - dnas_rng_uniform(rng));
}

/* log of a number drawn from Gamma(alpha, 1): Marsaglia and Tsang 2000, in
 * logarithms since a small alpha's numbers leave double. */
static double log_gamma_number(struct dnas_rng *rng, double alpha)
{
    double boost = 0, d, c;

    if (alpha < 1) {
        boost = log_uniform(rng) / alpha;
        alpha += 1;
    }
    d = alpha - 1.0 / 3;
    c = 1 / sqrt(9 * d);
    for (;;) {
        double x = dnas_rng_normal(rng), v = 1 + c * x;

        if (v <= 0)
            continue;
        v = v * v * v;
        if (log_uniform(rng) < x * x / 2 + d * (1 - v + log(v)))
            return log(d * v) + boost;
    }
}

/* b = x / (x + y) with gamma numbers x and y; the larger of b and 1 - b. */
static double larger_share(struct dnas_rng *rng, double alpha)
{
    double b, x, y;

    if (alpha == 1) {
        b = dnas_rng_uniform(rng);
        return b > 1 - b ? b : 1 - b;
    }
    x = log_gamma_number(rng, alpha);
    y = log_gamma_number(rng, alpha);
    return x == y ? 0.5 : 1 / (1 + exp(-fabs(x - y)));
}

/* Fisher and Yates within rows first..first+n-1. */
static void shuffle(uint32_t *perm, size_t first, size_t n, uint64_t seed, uint32_t step)
{
    struct dnas_rng rng;

    dnas_rng_init(&rng, seed, DNAS_RNG_MIX_PARTNER, step, (uint32_t)first);
    for (size_t i = 0; i < n; i++)
        perm[first + i] = (uint32_t)(first + i);
    for (size_t i = n; i > 1; i--) {
        size_t j = (size_t)dnas_rng_below(&rng, i);
        uint32_t t = perm[first + i - 1];

        perm[first + i - 1] = perm[first + j];
        perm[first + j] = t;
    }
}

void dnas_draw_mix(uint32_t *perm, float *lambda, uint64_t seed, uint32_t step, size_t B,
                   size_t group, double alpha)
{
    if (!(alpha > 0) || B > UINT32_MAX)
        DNAS_BUG("%zu rows mixed with alpha %g", B, alpha);
    if (group == 0 || group > B)
        group = B;
    for (size_t first = 0; first < B; first += group)
        shuffle(perm, first, B - first < group ? B - first : group, seed, step);
    for (size_t i = 0; i < B; i++) {
        struct dnas_rng rng;

        dnas_rng_init(&rng, seed, DNAS_RNG_MIX_LAMBDA, step, (uint32_t)i);
        lambda[i] = (float)larger_share(&rng, alpha);
    }
}

void dnas_mlm_init(struct dnas_mlm *m, uint32_t V, uint16_t mask, double rate,
                   const uint16_t *special, size_t n_special)
{
    *m = (struct dnas_mlm){.V = V,
                           .mask = mask,
                           .rate = rate,
                           .is_special = dnas_xzalloc(V, sizeof(*m->is_special)),
                           .ordinary = dnas_xalloc(V, sizeof(*m->ordinary))};
    if (mask >= V || V > UINT16_MAX + 1 || !(rate >= 0 && rate <= 1))
        DNAS_BUG("mask %u of %u ids at rate %g", (unsigned)mask, (unsigned)V, rate);
    m->is_special[mask] = 1;
    for (size_t i = 0; i < n_special; i++) {
        if (special[i] >= V)
            DNAS_BUG("special id %u of %u", (unsigned)special[i], (unsigned)V);
        m->is_special[special[i]] = 1;
    }
    for (uint32_t id = 0; id < V; id++)
        if (!m->is_special[id])
            m->ordinary[m->n_ordinary++] = (uint16_t)id;
    if (m->n_ordinary == 0)
        DNAS_BUG("all %u ids are special", (unsigned)V);
}

void dnas_mlm_release(struct dnas_mlm *m)
{
    free(m->is_special);
    free(m->ordinary);
    *m = (struct dnas_mlm){0};
}

size_t dnas_draw_mlm(uint16_t *out, uint32_t *at, uint16_t *was, const uint16_t *ids, size_t T,
                     const struct dnas_mlm *m, uint64_t seed, uint32_t step, uint32_t row)
{
    struct dnas_rng rng;
    size_t n = 0;

    dnas_rng_init(&rng, seed, DNAS_RNG_MLM, step, row);
    for (size_t t = 0; t < T; t++) {
        uint16_t id = ids[t];
        double fate;

        if (id >= m->V)
            DNAS_BUG("id %u of %u", (unsigned)id, (unsigned)m->V);
        out[t] = id;
        if (m->is_special[id] || dnas_rng_uniform(&rng) >= m->rate)
            continue;
        at[n] = (uint32_t)t;
        was[n++] = id;
        fate = dnas_rng_uniform(&rng);
        if (fate < 0.8)
            out[t] = m->mask;
        else if (fate < 0.9)
            out[t] = m->ordinary[dnas_rng_below(&rng, m->n_ordinary)];
    }
    return n;
}
