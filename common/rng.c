/* SPDX-License-Identifier: MIT
 *
 * rng.c - Philox4x32-10.  Contract: rng.h.
 */
#include "common/rng.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>

#include "common/err.h"
#include "common/xmem.h"

void dnas_philox4x32(uint32_t out[4], const uint32_t counter[4], const uint32_t key[2])
{
    uint32_t c0 = counter[0], c1 = counter[1], c2 = counter[2], c3 = counter[3];
    uint32_t k0 = key[0], k1 = key[1];

    for (int round = 0; round < 10; round++) {
        uint64_t p0 = (uint64_t)0xD2511F53u * c0;
        uint64_t p1 = (uint64_t)0xCD9E8D57u * c2;

        c0 = (uint32_t)(p1 >> 32) ^ c1 ^ k0;
        c1 = (uint32_t)p1;
        c2 = (uint32_t)(p0 >> 32) ^ c3 ^ k1;
        c3 = (uint32_t)p0;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    out[0] = c0;
    out[1] = c1;
    out[2] = c2;
    out[3] = c3;
}

void dnas_rng_init(struct dnas_rng *rng, uint64_t seed, enum dnas_rng_purpose purpose,
                   uint32_t step, uint32_t row)
{
    rng->key[0] = (uint32_t)seed;
    rng->key[1] = (uint32_t)(seed >> 32);
    rng->counter[0] = 0;
    rng->counter[1] = step;
    rng->counter[2] = row;
    rng->counter[3] = (uint32_t)purpose;
    rng->n_left = 0;
}

uint32_t dnas_rng_u32(struct dnas_rng *rng)
{
    if (rng->n_left == 0) {
        dnas_philox4x32(rng->block, rng->counter, rng->key);
        rng->counter[0]++;
        rng->n_left = 4;
    }
    return rng->block[4 - rng->n_left--];
}

uint64_t dnas_rng_u64(struct dnas_rng *rng)
{
    uint64_t low = dnas_rng_u32(rng);

    return low | (uint64_t)dnas_rng_u32(rng) << 32;
}

double dnas_rng_uniform(struct dnas_rng *rng)
{
    return (double)(dnas_rng_u64(rng) >> 11) * 0x1p-53;
}

uint64_t dnas_rng_below(struct dnas_rng *rng, uint64_t n)
{
    unsigned __int128 product;
    uint64_t floor;

    if (n == 0)
        DNAS_BUG("a number below 0 was asked for");
    product = (unsigned __int128)dnas_rng_u64(rng) * n;
    floor = (0 - n) % n; /* 2^64 mod n: below it a value would be too frequent */
    while ((uint64_t)product < floor)
        product = (unsigned __int128)dnas_rng_u64(rng) * n;
    return (uint64_t)(product >> 64);
}

double dnas_rng_normal(struct dnas_rng *rng)
{
    double u = 1.0 - dnas_rng_uniform(rng); /* (0, 1]: the logarithm is finite */
    double v = dnas_rng_uniform(rng);

    return sqrt(-2.0 * log(u)) * cos(6.283185307179586477 * v);
}

/* A set of numbers by open addressing; empty slots hold UINT64_MAX. */
static bool set_insert(uint64_t *set, size_t mask, uint64_t x)
{
    size_t i = (size_t)((x * 0x9E3779B97F4A7C15u) >> 20) & mask;

    while (set[i] != UINT64_MAX) {
        if (set[i] == x)
            return false;
        i = (i + 1) & mask;
    }
    set[i] = x;
    return true;
}

void dnas_rng_sample(struct dnas_rng *rng, uint64_t *out, size_t n, uint64_t total)
{
    size_t mask = 15;
    uint64_t *set;

    if (n > total)
        DNAS_BUG("%zu distinct numbers of %llu", n, (unsigned long long)total);
    while (mask < 2 * n)
        mask = 2 * mask + 1;
    set = dnas_xalloc(mask + 1, sizeof(*set));
    for (size_t i = 0; i <= mask; i++)
        set[i] = UINT64_MAX;
    for (size_t i = 0; i < n; i++) {
        uint64_t top = total - n + i;
        uint64_t x = dnas_rng_below(rng, top + 1);

        out[i] = set_insert(set, mask, x) ? x : top;
        if (out[i] == top)
            set_insert(set, mask, top);
    }
    free(set);
    for (size_t i = n; i > 1; i--) {
        size_t j = (size_t)dnas_rng_below(rng, i);
        uint64_t t = out[i - 1];

        out[i - 1] = out[j];
        out[j] = t;
    }
}
