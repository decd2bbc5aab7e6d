/* SPDX-License-Identifier: MIT
 *
 * test_train_draw.c - training's chance: that it is fair, and always the same.
 *
 * Counts are compared with 5 standard deviations of their binomial: with fixed
 * seeds a test passes or fails for good, and a fair generator would fail one of
 * the some 2,000 counts here with a chance of one in a thousand.
 */
#include "tests/unit/check.h"

#include "common/train_draw.h"
#include "common/xmem.h"

static void check_count(const char *what, double got, double n, double p)
{
    double bound = 5 * sqrt(n * p * (1 - p)) + 1;

    if (!(fabs(got - n * p) <= bound))
        CHECK_FAIL("%s: %g of %g, not %g within %g", what, got, n, n * p, bound);
}

static void test_order_is_a_permutation(void)
{
    static const uint64_t sizes[] = {1, 2, 3, 64, 255, 256, 257, 1000, 4096, 4097, 100003};

    for (size_t k = 0; k < 11; k++) {
        uint64_t n = sizes[k], n_fixed = 0;
        unsigned char *seen = dnas_xzalloc(n, 1);

        for (uint64_t i = 0; i < n; i++) {
            uint64_t at = dnas_draw_order(i, n, 42, 3);

            CHECK(at < n && !seen[at]);
            if (at < n)
                seen[at] = 1;
            n_fixed += at == i;
        }
        if (n >= 64)
            CHECK(n_fixed < 10); /* about Poisson of mean 1 */
        free(seen);
    }
    CHECK(dnas_draw_order(UINT64_MAX - 1, UINT64_MAX, 1, 1) < UINT64_MAX);
    CHECK(dnas_draw_order(5, UINT64_C(1) << 40, 1, 1) < UINT64_C(1) << 40);
}

/* All 120 orders of 5, over 24,000 epochs. */
static void test_order_is_fair(void)
{
    int count[3125] = {0}, n_orders = 0;

    for (uint32_t epoch = 0; epoch < 24000; epoch++) {
        size_t code = 0;

        for (uint64_t i = 0; i < 5; i++)
            code = 5 * code + dnas_draw_order(i, 5, 7, epoch);
        count[code]++;
    }
    for (size_t code = 0; code < 3125; code++)
        if (count[code] > 0) {
            n_orders++;
            check_count("an order of 5", count[code], 24000, 1.0 / 120);
        }
    CHECK_INT(n_orders, 120);
}

/* Neighbours of one epoch are no neighbours of the next. */
static void test_order_depends_on_all(void)
{
    int same_epoch = 0, same_seed = 0, next = 0;

    for (uint64_t i = 0; i + 1 < 5000; i++) {
        uint64_t at = dnas_draw_order(i, 5000, 1, 0);

        same_epoch += at == dnas_draw_order(i, 5000, 1, 1);
        same_seed += at == dnas_draw_order(i, 5000, UINT64_C(1) << 32 | 1, 0);
        next += dnas_draw_order(i + 1, 5000, 1, 0) == at + 1;
    }
    CHECK(same_epoch < 10 && same_seed < 10 && next < 10);
}

static void test_layer(void)
{
    int count[5] = {0}, pairs[5][5] = {{0}};
    uint32_t last = dnas_draw_mix_layer(11, 0, 5);

    for (uint32_t step = 1; step <= 25000; step++) {
        uint32_t layer = dnas_draw_mix_layer(11, step, 5);

        CHECK(layer < 5);
        count[layer % 5]++;
        pairs[last % 5][layer % 5]++;
        last = layer;
    }
    for (int i = 0; i < 5; i++)
        check_count("a layer", count[i], 25000, 0.2);
    for (int i = 0; i < 25; i++)
        check_count("two layers", pairs[i / 5][i % 5], 25000, 0.04);
    CHECK_INT(dnas_draw_mix_layer(11, 3, 1), 0);
}

static void test_partners(void)
{
    enum { B = 10, STEPS = 20000 };
    int count[B][B] = {{0}};

    for (uint32_t step = 0; step < STEPS; step++) {
        uint32_t perm[B], seen = 0;
        float lambda[B];

        dnas_draw_mix(perm, lambda, 3, step, B, 4, 1);
        for (size_t i = 0; i < B; i++) {
            CHECK(perm[i] < B && perm[i] / 4 == i / 4); /* 4, 4 and 2 rows */
            seen |= 1u << (perm[i] % 32);
            count[i][perm[i] % B]++;
        }
        CHECK_INT(seen, (1 << B) - 1);
    }
    for (int i = 0; i < B; i++)
        for (int j = 0; j < B; j++)
            if (i / 4 == j / 4)
                check_count("a partner", count[i][j], STEPS, i < 8 ? 0.25 : 0.5);
}

/* Groups mix alike, whatever comes behind them: a rank needs no other's rows. */
static void test_groups_stand_alone(void)
{
    uint32_t whole[48], part[16], all[48], zero[48];
    float lambda[48], lambda_part[16];

    dnas_draw_mix(whole, lambda, 9, 77, 48, 16, 1);
    dnas_draw_mix(part, lambda_part, 9, 77, 16, 16, 1);
    CHECK(memcmp(whole, part, sizeof(part)) == 0);
    CHECK(memcmp(lambda, lambda_part, sizeof(lambda_part)) == 0);
    dnas_draw_mix(all, lambda, 9, 77, 48, 100, 1);
    dnas_draw_mix(zero, lambda, 9, 77, 48, 0, 1);
    CHECK(memcmp(all, zero, sizeof(all)) == 0);
    CHECK(memcmp(all, whole, sizeof(all)) != 0);
    dnas_draw_mix(whole, lambda, 9, 78, 48, 0, 1);
    CHECK(memcmp(all, whole, sizeof(all)) != 0);
}

/* P(b < x) of Beta(alpha, alpha), in closed form. */
static double beta_below(double alpha, double x)
{
    if (alpha == 0.5)
        return 2 / 3.14159265358979 * asin(sqrt(x));
    if (alpha == 2)
        return x * x * (3 - 2 * x);
    return x;
}

static void check_lambda(double alpha)
{
    enum { B = 1000, STEPS = 50 };
    int below[9] = {0};

    for (uint32_t step = 0; step < STEPS; step++) {
        uint32_t perm[B];
        float lambda[B];

        dnas_draw_mix(perm, lambda, 5, step, B, 0, alpha);
        for (size_t i = 0; i < B; i++) {
            CHECK(lambda[i] >= 0.5f && lambda[i] <= 1.0f);
            for (int k = 0; k < 9; k++)
                below[k] += (double)lambda[i] < 0.55 + 0.05 * k;
        }
    }
    for (int k = 0; k < 9; k++)
        check_count("a share", below[k], B * STEPS, 2 * beta_below(alpha, 0.55 + 0.05 * k) - 1);
}

static void test_lambda(void)
{
    check_lambda(1);
    check_lambda(0.5);
    check_lambda(2);
}

/* An alpha so small that gamma numbers leave double, and one so large that
 * everything is a half. */
static void test_lambda_extremes(void)
{
    uint32_t perm[500];
    float lambda[500];
    int n_ones = 0;

    dnas_draw_mix(perm, lambda, 5, 0, 500, 0, 1e-5);
    for (size_t i = 0; i < 500; i++) {
        CHECK(lambda[i] >= 0.5f && lambda[i] <= 1.0f);
        n_ones += lambda[i] == 1.0f;
    }
    CHECK(n_ones > 490);
    dnas_draw_mix(perm, lambda, 5, 0, 500, 0, 1e-310); /* logarithms are infinite, too */
    for (size_t i = 0; i < 500; i++)
        CHECK(lambda[i] >= 0.5f && lambda[i] <= 1.0f);
    dnas_draw_mix(perm, lambda, 5, 0, 500, 0, 1e8);
    for (size_t i = 0; i < 500; i++)
        CHECK_NEAR(lambda[i], 0.5, 5e-4);
}

/* ---- masking ---- */

enum { V = 40, T = 400, MASK = 4 };
static const uint16_t special[] = {0, 1, 2, 3};

static void draw_ids(uint16_t *ids)
{
    for (int t = 0; t < T; t++)
        ids[t] = (uint16_t)(t % V);
    ids[0] = 1;
    ids[T - 1] = 2;
}

static void test_mlm(void)
{
    struct dnas_mlm m;
    uint16_t ids[T], out[T], was[T];
    uint32_t at[T];
    double n_ordinary = 0, n_chosen = 0, n_mask = 0, n_same = 0, n_other = 0;
    double put[V] = {0}, chosen_at[T] = {0};
    enum { ROWS = 2000 };

    dnas_mlm_init(&m, V, MASK, 0.15, special, 4);
    CHECK_INT(m.n_ordinary, V - 5);
    draw_ids(ids);
    for (uint32_t row = 0; row < ROWS; row++) {
        size_t n = dnas_draw_mlm(out, at, was, ids, T, &m, 8, row / 40, row % 40), k = 0;

        for (uint32_t t = 0; t < T; t++) {
            bool chosen = k < n && at[k] == t;

            if (!chosen) {
                CHECK_INT(out[t], ids[t]);
                continue;
            }
            CHECK(ids[t] > MASK);
            CHECK_INT(was[k], ids[t]);
            chosen_at[t]++;
            k++;
            n_mask += out[t] == MASK;
            n_same += out[t] == ids[t];
            n_other += out[t] != MASK && out[t] != ids[t];
            if (out[t] != MASK && out[t] != ids[t])
                put[out[t]]++;
        }
        CHECK_INT(k, n);
        n_chosen += (double)n;
    }
    for (int t = 0; t < T; t++) {
        n_ordinary += ids[t] > MASK;
        if (ids[t] > MASK)
            check_count("a position", chosen_at[t], ROWS, 0.15);
    }
    check_count("chosen", n_chosen, n_ordinary * ROWS, 0.15);
    check_count("[MASK]", n_mask, n_chosen, 0.8);
    check_count("left", n_same, n_chosen, 0.1 + 0.1 / (V - 5));
    check_count("others", n_other, n_chosen, 0.1 - 0.1 / (V - 5));
    for (int id = 0; id < V; id++)
        if (id <= MASK)
            CHECK_INT(put[id], 0);
        else
            check_count("an id put in", put[id], n_other, 1.0 / (V - 5));
    dnas_mlm_release(&m);
}

static void test_mlm_is_the_same_again(void)
{
    struct dnas_mlm m;
    uint16_t ids[T], a[T], b[T], was[T];
    uint32_t at[T], at_b[T];
    size_t n;

    dnas_mlm_init(&m, V, MASK, 0.15, special, 4);
    draw_ids(ids);
    n = dnas_draw_mlm(a, at, was, ids, T, &m, 8, 1, 2);
    CHECK(dnas_draw_mlm(b, at_b, was, ids, T, &m, 8, 1, 2) == n);
    CHECK(memcmp(a, b, sizeof(a)) == 0 && memcmp(at, at_b, n * sizeof(*at)) == 0);
    dnas_draw_mlm(b, at_b, was, ids, T, &m, 8, 2, 2);
    CHECK(memcmp(a, b, sizeof(a)) != 0);
    dnas_draw_mlm(b, at_b, was, ids, T, &m, 8, 1, 3);
    CHECK(memcmp(a, b, sizeof(a)) != 0);
    dnas_draw_mlm(b, at_b, was, ids, T, &m, 9, 1, 2);
    CHECK(memcmp(a, b, sizeof(a)) != 0);
    dnas_draw_mlm(ids, at_b, was, ids, T, &m, 8, 1, 2); /* in place */
    CHECK(memcmp(a, ids, sizeof(a)) == 0);
    CHECK_INT(dnas_draw_mlm(b, at_b, was, ids, 0, &m, 8, 1, 2), 0);
    dnas_mlm_release(&m);
    dnas_mlm_init(&m, V, MASK, 0, special, 4);
    CHECK_INT(dnas_draw_mlm(b, at_b, was, ids, T, &m, 8, 1, 2), 0);
    dnas_mlm_release(&m);
}

/* Values are part of results: a resumed run must draw what its first half did. */
static void test_values_stay(void)
{
    uint32_t perm[6];
    float lambda[6];

    CHECK_INT(dnas_draw_order(0, 1000, 42, 0), 243);
    CHECK_INT(dnas_draw_order(999, 1000, 42, 5), 628);
    CHECK_INT(dnas_draw_mix_layer(42, 17, 12), 1);
    dnas_draw_mix(perm, lambda, 42, 17, 6, 3, 1);
    CHECK_INT(perm[0], 1);
    CHECK_INT(perm[5], 4);
    CHECK_NEAR(lambda[5], 0.705028772, 1e-7);
    dnas_draw_mix(perm, lambda, 42, 17, 6, 3, 0.4);
    CHECK_NEAR(lambda[5], 0.920043349, 1e-7);
}

int main(void)
{
    RUN(test_order_is_a_permutation);
    RUN(test_order_is_fair);
    RUN(test_order_depends_on_all);
    RUN(test_layer);
    RUN(test_partners);
    RUN(test_groups_stand_alone);
    RUN(test_lambda);
    RUN(test_lambda_extremes);
    RUN(test_mlm);
    RUN(test_mlm_is_the_same_again);
    RUN(test_values_stay);
    return check_done();
}
