/* SPDX-License-Identifier: MIT
 *
 * tiny_train.h - what tests of training share: a small network, batches, and
 * the gradients and losses that the original code had for them.
 *
 * tests/data/golden/dnabert2_tiny/README.md says how they were made.
 */
#ifndef DNAS_TINY_TRAIN_H
#define DNAS_TINY_TRAIN_H

#include "tests/unit/check.h"

#include "common/bert.h"
#include "common/train_step.h"
#include "common/weights.h"
#include "common/xmem.h"
#include "tests/model/mlm_numbers.h"
#include "tests/unit/npz.h"
#include "tests/unit/numbers.h"

#define GOLDEN "tests/data/golden/dnabert2_tiny"
#define STEPS GOLDEN "/train_step.npz"
#define PAIRS 5
#define TOKENS 64

/* The batch of the golden numbers, and the network as it was before step 1. */
struct setting {
    struct dnas_net *net;
    struct dnas_step *step;
    uint16_t tokens[2 * PAIRS][TOKENS];
    const uint16_t *ids[2 * PAIRS];
    size_t T[2 * PAIRS];
    struct dnas_step_batch batch;
    uint32_t perm[PAIRS];
    float lambda[PAIRS];
};

static inline void load_side(struct setting *s, size_t from, const char *ids_name,
                             const char *T_name)
{
    struct dnas_npy ids = npz_read(STEPS, ids_name, DNAS_NPY_AS_I64);
    struct dnas_npy T = npz_read(STEPS, T_name, DNAS_NPY_AS_I64);

    for (size_t i = 0; i < PAIRS; i++) {
        s->T[from + i] = (size_t)T.i64[i];
        s->ids[from + i] = s->tokens[from + i];
        for (size_t t = 0; t < 64; t++)
            s->tokens[from + i][t] = (uint16_t)ids.i64[i * 64 + t];
    }
    dnas_npy_release(&ids);
    dnas_npy_release(&T);
}

static inline void load_head(const float *to, const char *name, size_t n)
{
    struct dnas_npy x = npz_read(STEPS, name, DNAS_NPY_AS_F32);

    CHECK_INT(x.n, n);
    memcpy((float *)to, x.f32, n * sizeof(float));
    dnas_npy_release(&x);
}

/* All but the step, which is for at most PAIRS pairs of TOKENS tokens. */
static inline void load_setting(struct setting *s)
{
    const struct dnas_net_heads heads = {.P = 32};
    struct dnas_err err = {""};
    struct dnas_network *b = dnas_network_open(GOLDEN, DNAS_PRECISION_F32, &err);
    struct dnas_npy perm = npz_read(STEPS, "perm", DNAS_NPY_AS_I64);
    struct dnas_npy lambda = npz_read(STEPS, "lam", DNAS_NPY_AS_F32);

    if (!b) {
        printf("Bail out! %s\n", err.msg);
        exit(99);
    }
    s->net = dnas_net_new(&dnas_bert, &b->shape, NULL, &heads);
    dnas_net_copy(s->net, b);
    dnas_network_close(b);
    load_head(s->net->head0, "head0", 96 * 96);
    load_head(s->net->head2, "head2", 32 * 96);
    load_side(s, 0, "input_ids_1", "lengths_1");
    load_side(s, PAIRS, "input_ids_2", "lengths_2");
    for (size_t i = 0; i < PAIRS; i++) {
        s->perm[i] = (uint32_t)perm.i64[i];
        s->lambda[i] = lambda.f32[i];
    }
    s->batch = (struct dnas_step_batch){.B = PAIRS, .ids = s->ids, .T = s->T};
    dnas_npy_release(&perm);
    dnas_npy_release(&lambda);
}

static const struct dnas_step_options plain = {
    .mix_group = PAIRS, .freeze_first = true, .temperature = 0.05, .seed = 1, .n_threads = 1};

/* layer -1: Weighted SimCLR. */
static inline double run(struct setting *s, int layer, uint32_t number)
{
    const struct dnas_step_mix mix = {(size_t)layer, s->perm, s->lambda};
    struct dnas_err err = {""};
    double loss = NAN;
    int status = layer < 0 ? dnas_step_wsimclr(s->step, &loss, &s->batch, number, &err)
                           : dnas_step_mixed(s->step, &loss, &s->batch, &mix, number, &err);

    if (status != 0)
        CHECK_FAIL("%s", err.msg);
    return loss;
}

static inline double golden_number(const char *variant, const char *what)
{
    char *name = dnas_xasprintf("%s_%s", variant, what);
    struct dnas_npy x = npz_read(STEPS, name, DNAS_NPY_AS_F64);
    double value = x.f64[0];

    dnas_npy_release(&x);
    free(name);
    return value;
}

/* |a - b| / |b| of whole tensors; 0/0 is 0. */
static inline double relative(const float *a, const float *b, size_t n)
{
    double diff = 0, size = 0;

    for (size_t i = 0; i < n; i++) {
        diff += ((double)a[i] - (double)b[i]) * ((double)a[i] - (double)b[i]);
        size += (double)b[i] * (double)b[i];
    }
    return diff == 0 ? 0 : sqrt(diff / size);
}

/* The word embeddings: norm, and the rows that the file has. */
static inline void compare_words(const struct setting *s, struct dnas_weights *w,
                                 const char *variant)
{
    const char *base = "embeddings.word_embeddings.weight";
    char *rows_name = dnas_xasprintf("%s.rows", base), *name = dnas_xasprintf("%s.rowgrads", base);
    char *prefix = dnas_xasprintf("%s/", variant);
    const struct dnas_tensor *rows = dnas_weights_find(w, prefix, rows_name);
    const struct dnas_tensor *grads = dnas_weights_find(w, prefix, name);
    const float *g = s->net->g, *want = grads->data;
    double sum = 0;
    float *got = dnas_xalloc(grads->n_elements, sizeof(*got));

    CHECK_STR(s->net->tensors[0].tensor.name, base);
    for (size_t i = 0; i < s->net->tensors[0].tensor.n; i++)
        sum += (double)g[i] * (double)g[i];
    CHECK_NEAR(sqrt(sum), golden_number(variant, "wordemb_gradnorm"), 1e-4 * sqrt(sum));
    for (size_t i = 0; i < rows->n_elements; i++)
        memcpy(got + i * 96, g + ((const int32_t *)rows->data)[i] * 96, 96 * sizeof(*got));
    CHECK_NEAR(relative(got, want, grads->n_elements), 0, 1e-4);
    free(got);
    free(rows_name);
    free(name);
    free(prefix);
}

static inline void compare_gradients(const struct setting *s, const char *variant)
{
    struct dnas_err err = {""};
    struct dnas_weights *w = dnas_weights_open(GOLDEN "/train_step_grads.safetensors", &err);
    char *prefix = dnas_xasprintf("%s/", variant);

    if (!w) {
        CHECK_FAIL("%s", err.msg);
        return;
    }
    compare_words(s, w, variant);
    for (size_t i = 1; i < s->net->n_tensors; i++) {
        const struct dnas_net_tensor *t = &s->net->tensors[i];
        const struct dnas_tensor *want = dnas_weights_find(w, prefix, t->tensor.name);
        double e;

        if (!want) {
            CHECK_FAIL("no gradient of %s", t->tensor.name);
            continue;
        }
        CHECK_INT(want->n_elements, t->tensor.n);
        e = relative(s->net->g + t->at, want->data, t->tensor.n);
        if (!(e <= 1e-4))
            CHECK_FAIL("%s of %s: relative error %g", t->tensor.name, variant, e);
    }
    dnas_weights_close(w);
    free(prefix);
}

static inline void compare_rows(const struct setting *s, const char *variant)
{
    const char *const names[2] = {"z1", "z2"};

    for (int k = 0; k < 2; k++) {
        char *name = dnas_xasprintf("%s_%s", variant, names[k]);
        struct dnas_npy z = npz_read(STEPS, name, DNAS_NPY_AS_F32);

        CHECK_NEAR(relative(dnas_step_rows(s->step) + k * PAIRS * 32, z.f32, PAIRS * 32), 0, 1e-5);
        dnas_npy_release(&z);
        free(name);
    }
}

static inline void compare_after(const struct setting *s, const char *variant, const char *what,
                                 const float *w)
{
    char *name = dnas_xasprintf("%s_%s_after3", variant, what);
    struct dnas_npy want = npz_read(STEPS, name, DNAS_NPY_AS_F32);

    (void)s;
    CHECK_NEAR(relative(w, want.f32, want.n), 0, 2e-3);
    dnas_npy_release(&want);
    free(name);
}

/* ---- masked tokens, against PyTorch's autograd in float64 (make_mlm.py) ---- */

#define MASKED "tests/data/training/mlm.txt"
#define MASKED_TOKENS 65

struct masked {
    struct dnas_net *net;
    struct dnas_step *step;
    uint16_t tokens[4][MASKED_TOKENS];
    const uint16_t *ids[4];
    size_t T[4];
    uint32_t *at[3];
    uint16_t target[3][10];
    struct dnas_step_guess guess[4];
    struct dnas_step_batch batch;
};

static inline void fill(const float *w, uint32_t stream, size_t n, double scale)
{
    for (size_t k = 0; k < n; k++)
        ((float *)w)[k] = (float)mlm_fixed(stream, k, scale);
}

/* Sequence i of three; a fourth has nothing to be guessed. */
static inline void load_masked(struct masked *s, size_t i)
{
    static const size_t T[3] = {40, 65, 9}, n[3] = {6, 10, 1};
    char *name = dnas_xasprintf("ids_%zu", i);
    uint32_t *ids = numbers_u32(MASKED, name, T[i]), *was;

    for (size_t t = 0; t < T[i]; t++)
        s->tokens[i][t] = (uint16_t)ids[t];
    free(name);
    name = dnas_xasprintf("at_%zu", i);
    s->at[i] = numbers_u32(MASKED, name, n[i]);
    free(name);
    name = dnas_xasprintf("was_%zu", i);
    was = numbers_u32(MASKED, name, n[i]);
    for (size_t k = 0; k < n[i]; k++)
        s->target[i][k] = (uint16_t)was[k];
    free(name);
    free(was);
    free(ids);
    s->T[i] = T[i];
    s->guess[i] = (struct dnas_step_guess){s->at[i], s->target[i], n[i]};
}

/* All but the step, which is for 2 pairs of MASKED_TOKENS tokens. */
static inline void load_all_masked(struct masked *s)
{
    const struct dnas_net_heads heads = {.mlm = true};
    struct dnas_err err = {""};
    struct dnas_network *b = dnas_network_open(GOLDEN, DNAS_PRECISION_F32, &err);

    if (!b) {
        printf("Bail out! %s\n", err.msg);
        exit(99);
    }
    s->net = dnas_net_new(&dnas_bert, &b->shape, NULL, &heads);
    dnas_net_copy(s->net, b);
    dnas_network_close(b);
    fill(s->net->mlm_dense_w, 1, 96 * 96, 0x1p-3);
    fill(s->net->mlm_dense_b, 2, 96, 0x1p-3);
    fill(s->net->mlm_norm_w, 3, 96, 0x1p-3);
    fill(s->net->mlm_norm_b, 4, 96, 0x1p-4);
    fill(s->net->mlm_bias, 5, 256, 0x1p-2);
    for (size_t i = 0; i < 3; i++)
        load_masked(s, i);
    s->tokens[3][0] = 7;
    s->T[3] = 1;
    s->guess[3].n = 0;
    for (size_t i = 0; i < 4; i++)
        s->ids[i] = s->tokens[i];
    s->batch = (struct dnas_step_batch){.B = 2, .ids = s->ids, .T = s->T};
}

static inline void compare_tensor(const struct dnas_net *net, const struct dnas_net_tensor *t)
{
    char *norm_name = dnas_xasprintf("norm:%s", t->tensor.name);
    char *dot_name = dnas_xasprintf("dot:%s", t->tensor.name);
    double *norm = numbers_read(MASKED, norm_name, 1), *dot = numbers_read(MASKED, dot_name, 1);
    double square = 0, along = 0;

    for (size_t k = 0; k < t->tensor.n; k++) {
        double g = (double)net->g[t->at + k];

        square += g * g;
        along += g * mlm_fixed(9, k, 1);
    }
    if (!(fabs(sqrt(square) - *norm) <= 1e-4 * *norm && fabs(along - *dot) <= 1e-4 * *norm))
        CHECK_FAIL("%s: norm %g, not %g; along %g, not %g", t->tensor.name, sqrt(square), *norm,
                   along, *dot);
    free(norm);
    free(dot);
    free(norm_name);
    free(dot_name);
}

/* Part of a tensor whose gradient the file has in full. */
static inline void compare_part(const struct dnas_net *net, const char *name, const char *tensor,
                                size_t from, size_t n)
{
    float *want = numbers_f32(MASKED, name, n);

    for (size_t i = 0; i < net->n_tensors; i++)
        if (strcmp(net->tensors[i].tensor.name, tensor) == 0)
            CHECK_NEAR(relative(net->g + net->tensors[i].at + from, want, n), 0, 1e-4);
    free(want);
}

#endif
