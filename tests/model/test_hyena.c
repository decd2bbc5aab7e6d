/* SPDX-License-Identifier: MIT
 *
 * test_hyena.c - HyenaDNA's network against numbers from the original code.
 *
 * tests/data/golden/hyena_tiny/README.md says how they were made.
 */
#include "tests/unit/check.h"

#include <unistd.h>

#include "common/hyena.h"
#include "common/io.h"
#include "common/weights.h"
#include "common/xmem.h"
#include "kernels/kernels.h"
#include "tests/unit/npz.h"

#define GOLDEN "tests/data/golden/hyena_tiny"
#define C 48
#define MAX_T 2000

static struct dnas_network *open_golden(void)
{
    struct dnas_err err = {""};
    struct dnas_network *n = dnas_network_open(GOLDEN, DNAS_PRECISION_F32, &err);

    if (!n) {
        printf("Bail out! %s\n", err.msg);
        exit(99);
    }
    return n;
}

struct golden {
    struct dnas_npy ids, lengths, hidden, embedding;
};

static void load(struct golden *g)
{
    g->ids = npz_read(GOLDEN "/forward.npz", "input_ids", DNAS_NPY_AS_I64);
    g->lengths = npz_read(GOLDEN "/forward.npz", "lengths", DNAS_NPY_AS_I64);
    g->hidden = npz_read(GOLDEN "/forward.npz", "hidden_last", DNAS_NPY_AS_F32);
    g->embedding = npz_read(GOLDEN "/forward.npz", "embedding_f64", DNAS_NPY_AS_F64);
}

static void release(struct golden *g)
{
    dnas_npy_release(&g->ids);
    dnas_npy_release(&g->lengths);
    dnas_npy_release(&g->hidden);
    dnas_npy_release(&g->embedding);
}

static size_t ids_of(uint16_t *ids, const struct golden *g, size_t row)
{
    size_t T = (size_t)g->lengths.i64[row];

    for (size_t t = 0; t < T; t++)
        ids[t] = (uint16_t)g->ids.i64[row * g->ids.shape[1] + t];
    return T;
}

/* |a - b| / |b| of whole vectors. */
static double relative_error(const double *a, const double *b, size_t n)
{
    double diff = 0, size = 0;

    for (size_t i = 0; i < n; i++) {
        diff += (a[i] - b[i]) * (a[i] - b[i]);
        size += b[i] * b[i];
    }
    return sqrt(diff / size);
}

/* PyTorch's own f32 is within 5e-6 of its f64; ours computes the filter in double. */
static void test_golden(void)
{
    struct dnas_network *n = open_golden();
    struct dnas_network_run *run = dnas_network_run_new(n);
    struct golden g;
    size_t at = 0;

    CHECK_INT(n->shape.V, 16);
    CHECK_INT(n->shape.positions, 2050);
    load(&g);
    for (size_t row = 0; row < g.lengths.n; row++) {
        uint16_t ids[MAX_T];
        size_t T = ids_of(ids, &g, row);
        const float *x = dnas_network_forward(run, ids, T, 1);
        double mean[C], *got = dnas_xalloc(T * C, sizeof(*got));
        double *want = dnas_xalloc(T * C, sizeof(*want));

        for (size_t i = 0; i < T * C; i++) {
            got[i] = (double)x[i];
            want[i] = (double)g.hidden.f32[at + i];
        }
        at += T * C;
        CHECK_NEAR(relative_error(got, want, T * C), 0, 2e-5);
        dnas_cpu_meanpool_fwd(mean, x, T, C);
        CHECK_NEAR(relative_error(mean, g.embedding.f64 + row * C, C), 0, 2e-6);
        free(got);
        free(want);
    }
    CHECK_INT(at, g.hidden.n);
    release(&g);
    dnas_network_run_free(run);
    dnas_network_close(n);
}

int main(void)
{
    RUN(test_golden);
    return check_done();
}
