/* SPDX-License-Identifier: MIT
 *
 * comm_ranks.h - what ranks do together in tests, whatever carries their bytes.
 */
#ifndef DNAS_TEST_COMM_RANKS_H
#define DNAS_TEST_COMM_RANKS_H

#include "tests/unit/check.h"

#include "common/comm.h"
#include "common/rng.h"
#include "common/xmem.h"

#define MANY ((size_t)2500001) /* three pieces, not whole parts */

static void fill(float *x, size_t n, int rank)
{
    struct dnas_rng rng;

    dnas_rng_init(&rng, 12, DNAS_RNG_TEST, 0, (uint32_t)rank);
    for (size_t i = 0; i < n; i++) {
        x[i] = (float)(dnas_rng_u32(&rng) >> 8) * 0x1p-23f - 1;
        if (i % 3 == 0 && rank < 2) /* they cancel, which the order of a sum shows */
            x[i] = rank == 0 ? 1e18f : -1e18f;
    }
}

static void check_sums(struct dnas_comm *c, size_t n)
{
    int n_ranks = dnas_comm_n_ranks(c);
    float *x = dnas_xalloc(n + 1, sizeof(*x)), *part = dnas_xalloc(n, sizeof(*part));
    double *want = dnas_xzalloc(n, sizeof(*want));
    size_t n_wrong = 0;

    fill(x, n, dnas_comm_rank(c));
    x[n] = 77;
    for (int rank = 0; rank < n_ranks; rank++) {
        fill(part, n, rank);
        for (size_t i = 0; i < n; i++)
            want[i] += (double)part[i];
    }
    CHECK(dnas_comm_sum_f32(c, x, n, NULL) == 0);
    for (size_t i = 0; i < n; i++)
        n_wrong += x[i] != (float)want[i];
    CHECK_INT(n_wrong, 0);
    CHECK(x[n] == 77);
    free(x);
    free(part);
    free(want);
}

static void check_small(struct dnas_comm *c)
{
    int rank = dnas_comm_rank(c), n_ranks = dnas_comm_n_ranks(c);
    double x = 0.1 * (rank + 1), want = 0;
    uint32_t flags = 1u << rank;
    char mine[5], all[5 * 64];
    struct dnas_err err = {""};

    for (int r = 0; r < n_ranks; r++)
        want += 0.1 * (r + 1);
    CHECK(dnas_comm_sum_f64(c, &x, &err) == 0);
    CHECK(x == want);
    CHECK(dnas_comm_any(c, &flags, &err) == 0);
    CHECK_INT(flags, (1u << n_ranks) - 1);
    memset(mine, 'a' + rank, sizeof(mine));
    CHECK(dnas_comm_all_gather(c, all, mine, sizeof(mine), &err) == 0);
    for (int i = 0; i < 5 * n_ranks; i++)
        CHECK_INT(all[i], 'a' + i / 5);
    CHECK(dnas_comm_check_same(c, 42, "seed", &err) == 0);
    CHECK(dnas_comm_barrier(c, &err) == 0);
    if (n_ranks > 1) {
        CHECK(dnas_comm_check_same(c, rank == n_ranks - 1 ? 43 : 42, "FILE", &err) == -1);
        CHECK(strstr(err.msg, "has another FILE than rank 0 (000000000000002b, not "
                              "000000000000002a): all ranks must be given the same"));
    }
}

static inline int all_is_well(struct dnas_comm *c)
{
    static const size_t sizes[] = {0, 1, 2, 3, 5, 1000, MANY};

    for (int k = 0; k < 7; k++)
        check_sums(c, sizes[k]);
    check_small(c);
    return check_failed_here;
}

#endif
