/* SPDX-License-Identifier: MIT
 *
 * train_batch.c - batches of pairs.  Contract: train_batch.h.
 */
#include "common/train_batch.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/xmem.h"

/* Masks of validation rows are drawn as in a step that no run reaches. */
#define VALIDATION_STEP UINT32_MAX

struct dnas_train_batch {
    const struct dnas_train_net *t;
    struct dnas_pair_source *source;
    struct dnas_step *step;
    const struct dnas_mlm *masks;
    size_t L, max_T;
    size_t from, to;               /* the pairs whose tokens are there */
    size_t n_rows;                 /* of sequences that there is room for */
    uint16_t *tokens;              /* [n_rows,max_T] */
    const uint16_t **ids;          /* [n_rows] */
    size_t *T;                     /* [n_rows] */
    uint32_t *rows;                /* [n_rows / 2] */
    uint32_t *label;               /* [n_rows / 2] */
    uint32_t *perm;                /* [n_rows / 2] */
    float *lambda;                 /* [n_rows / 2] */
    struct dnas_step_guess *guess; /* [n_rows] */
    uint32_t *position;            /* [n_rows,max_T] */
    uint16_t *target;              /* [n_rows,max_T] */
    struct dnas_step_batch batch;
};

struct dnas_train_batch *dnas_train_batch_new(const struct dnas_train_net *t,
                                              struct dnas_pair_source *source,
                                              struct dnas_step *step, size_t n_layers,
                                              const struct dnas_mlm *masks)
{
    struct dnas_train_batch *b = dnas_xzalloc(1, sizeof(*b));
    size_t pairs = t->batch > DNAS_VALIDATION_PAIRS ? t->batch : DNAS_VALIDATION_PAIRS;

    b->t = t;
    b->source = source;
    b->step = step;
    b->masks = masks;
    b->L = n_layers;
    b->max_T = dnas_pair_source_max_length(source);
    b->n_rows = 2 * pairs;
    b->tokens = dnas_xalloc(b->n_rows * b->max_T, sizeof(*b->tokens));
    b->ids = dnas_xalloc(b->n_rows, sizeof(*b->ids));
    b->T = dnas_xalloc(b->n_rows, sizeof(*b->T));
    b->rows = dnas_xalloc(pairs, sizeof(*b->rows));
    b->label = dnas_xalloc(pairs, sizeof(*b->label));
    b->perm = dnas_xalloc(pairs, sizeof(*b->perm));
    b->lambda = dnas_xalloc(pairs, sizeof(*b->lambda));
    for (size_t i = 0; i < b->n_rows; i++)
        b->ids[i] = b->tokens + i * b->max_T;
    if (!masks)
        return b;
    b->guess = dnas_xalloc(b->n_rows, sizeof(*b->guess));
    b->position = dnas_xalloc(b->n_rows * b->max_T, sizeof(*b->position));
    b->target = dnas_xalloc(b->n_rows * b->max_T, sizeof(*b->target));
    return b;
}

void dnas_train_batch_free(struct dnas_train_batch *b)
{
    if (!b)
        return;
    free(b->tokens);
    free(b->ids);
    free(b->T);
    free(b->rows);
    free(b->label);
    free(b->perm);
    free(b->lambda);
    free(b->guess);
    free(b->position);
    free(b->target);
    free(b);
}

static bool is_own(const struct dnas_train_batch *b, size_t pair)
{
    return pair >= b->from && pair < b->to;
}

/* Reads the pairs that rows, u32 [B], name: the tokens of from..to-1, the labels
 * of all. */
static int read_pairs(struct dnas_train_batch *b, const uint32_t *rows, size_t B, size_t from,
                      size_t to, struct dnas_err *err)
{
    b->from = from;
    b->to = to;
    for (size_t i = 0; i < 2 * B; i++)
        if (is_own(b, i % B) &&
            dnas_pair_source_tokens(b->source, b->tokens + i * b->max_T, &b->T[i], rows[i % B],
                                    i < B ? 0 : 1, err) != 0)
            return -1;
    for (size_t i = 0; i < B; i++)
        b->label[i] = dnas_pair_source_label(b->source, rows[i]);
    b->batch = (struct dnas_step_batch){
        .B = B, .ids = b->ids, .T = b->T, .label = b->t->ignore_labels ? NULL : b->label};
    return 0;
}

/* row: of the first pair, for the draws. */
static void mask(struct dnas_train_batch *b, uint32_t step, size_t row)
{
    size_t B = b->batch.B, max = b->max_T;

    for (size_t i = 0; i < 2 * B; i++) {
        uint16_t *ids = b->tokens + i * max;
        uint32_t draw = (uint32_t)(2 * (row + i % B) + i / B);
        struct dnas_step_guess *g = &b->guess[i];

        if (!is_own(b, i % B))
            continue;
        g->position = b->position + i * max;
        g->target = b->target + i * max;
        g->n = dnas_draw_mlm(ids, b->position + i * max, b->target + i * max, ids, b->T[i],
                             b->masks, b->t->seed, step, draw);
    }
}

/* Whether the first B of rows have negatives (contrastive.h): with two labels among them each has,
 * mixed or not. */
static bool has_negatives(const struct dnas_train_batch *b, size_t B)
{
    if (b->t->ignore_labels)
        return B > 1;
    for (size_t i = 1; i < B; i++)
        if (dnas_pair_source_label(b->source, b->rows[i]) !=
            dnas_pair_source_label(b->source, b->rows[0]))
            return true;
    return false;
}

bool dnas_objective_has_negatives(enum dnas_objective objective)
{
    return objective == DNAS_WSIMCLR || objective == DNAS_MIMIX || objective == DNAS_IMIX;
}

bool dnas_train_batch_tells_apart(const struct dnas_train_batch *b)
{
    size_t n = dnas_pair_source_n_train(b->source);
    uint32_t row, first = 0;

    for (size_t i = 0; i < n; i++) {
        dnas_pair_source_batch(b->source, &row, 1, b->t->seed, 0, i);
        if (i == 0)
            first = dnas_pair_source_label(b->source, row);
        else if (b->t->ignore_labels || dnas_pair_source_label(b->source, row) != first)
            return true;
    }
    return false;
}

static int learn_mixed(struct dnas_train_batch *b, double *loss, bool at_any_layer, uint32_t step,
                       struct dnas_err *err)
{
    const struct dnas_train_net *t = b->t;
    struct dnas_step_mix mix = {.perm = b->perm, .lambda = b->lambda};

    dnas_draw_mix(b->perm, b->lambda, t->seed, step, b->batch.B, dnas_train_mix_group(t),
                  t->mix_alpha);
    if (at_any_layer)
        mix.layer = dnas_draw_mix_layer(t->seed, step, (uint32_t)b->L);
    return dnas_step_mixed(b->step, loss, &b->batch, &mix, step, err);
}

/* The step of the batch that was read. */
static int learn(struct dnas_train_batch *b, double *loss, enum dnas_objective objective,
                 uint32_t step, struct dnas_err *err)
{
    switch (objective) {
    case DNAS_WSIMCLR:
        return dnas_step_wsimclr(b->step, loss, &b->batch, step, err);
    case DNAS_MIMIX:
        return learn_mixed(b, loss, true, step, err);
    case DNAS_IMIX:
        return learn_mixed(b, loss, false, step, err);
    case DNAS_SUPCON:
        return dnas_step_supcon(b->step, loss, &b->batch, step, err);
    case DNAS_MLM:
        mask(b, step, 0);
        return dnas_step_mlm(b->step, loss, &b->batch, b->guess, step, err);
    }
    DNAS_BUG("objective %d", (int)objective);
}

int dnas_train_batch_learn(struct dnas_train_batch *b, double *loss, enum dnas_objective objective,
                           uint32_t epoch, uint64_t index, uint32_t step, struct dnas_err *err)
{
    size_t B = b->t->batch, from, to;

    dnas_pair_source_batch(b->source, b->rows, B, b->t->seed, epoch, (size_t)index);
    if (dnas_objective_has_negatives(objective) && !has_negatives(b, B))
        return 0;
    dnas_step_share(b->step, B, &from, &to);
    if (read_pairs(b, b->rows, B, from, to, err) != 0 || learn(b, loss, objective, step, err) != 0)
        return -1;
    return 1;
}

/* Sets rows to those of validation batch k, *B of them; the first one's number. */
static size_t validation_batch(struct dnas_train_batch *b, size_t *B, size_t k)
{
    size_t from = k * DNAS_VALIDATION_PAIRS, left = dnas_pair_source_n_validation(b->source) - from;

    *B = left < DNAS_VALIDATION_PAIRS ? left : DNAS_VALIDATION_PAIRS;
    for (size_t i = 0; i < *B; i++)
        b->rows[i] = dnas_pair_source_validation(b->source, from + i);
    return from;
}

static size_t n_validation_batches(const struct dnas_train_batch *b)
{
    size_t n = dnas_pair_source_n_validation(b->source);

    return (n + DNAS_VALIDATION_PAIRS - 1) / DNAS_VALIDATION_PAIRS;
}

size_t dnas_train_batch_n_validation(struct dnas_train_batch *b, size_t *n_left_out)
{
    size_t n = n_validation_batches(b), B;

    *n_left_out = 0;
    for (size_t k = 0; k < n; k++) {
        validation_batch(b, &B, k);
        *n_left_out += !has_negatives(b, B);
    }
    return n;
}

int dnas_train_batch_validate(struct dnas_train_batch *b, double *loss,
                              enum dnas_objective objective, struct dnas_err *err)
{
    size_t n = n_validation_batches(b), n_done = 0;
    double sum = 0;

    for (size_t k = 0; k < n; k++) {
        size_t B, from = validation_batch(b, &B, k);
        double one = 0;
        int status;

        if (objective != DNAS_MLM && !has_negatives(b, B))
            continue;
        if (read_pairs(b, b->rows, B, 0, B, err) != 0)
            return -1;
        if (objective == DNAS_MLM) {
            mask(b, VALIDATION_STEP, from);
            status = dnas_step_loss_mlm(b->step, &one, &b->batch, b->guess, err);
        } else {
            status = dnas_step_loss_wsimclr(b->step, &one, &b->batch, err);
        }
        if (status != 0)
            return dnas_err_at(err, "validation: ");
        sum += one * (double)B;
        n_done += B;
    }
    *loss = n_done > 0 ? sum / (double)n_done : NAN;
    return 0;
}
