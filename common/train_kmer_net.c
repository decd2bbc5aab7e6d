/* SPDX-License-Identifier: MIT
 *
 * train_kmer_net.c - the network of a k-mer model.  Contract: train_kmer_net.h.
 */
#include "common/train_kmer_net.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/kmer_score.h"
#include "common/msg.h"
#include "common/threads.h"
#include "common/xmem.h"

/* Where there are no genera to choose the steps on. */
#define STEPS_UNCHOSEN 500
/* Rows in one task. */
#define PORTION 64

void dnas_kmer_kept_add(struct dnas_kmer_kept *k, const float *x, const uint32_t *label,
                        const uint32_t *group, const uint32_t *length_bp, const uint64_t *n_kmers,
                        size_t n)
{
    size_t need = k->n + n;

    k->x = dnas_xgrow(k->x, &k->cap[0], need, k->I * sizeof(*k->x));
    k->label = dnas_xgrow(k->label, &k->cap[1], need, sizeof(*k->label));
    k->group = dnas_xgrow(k->group, &k->cap[2], need, sizeof(*k->group));
    k->length_bp = dnas_xgrow(k->length_bp, &k->cap[3], need, sizeof(*k->length_bp));
    k->n_kmers = dnas_xgrow(k->n_kmers, &k->cap[4], need, sizeof(*k->n_kmers));
    memcpy(k->x + k->n * k->I, x, n * k->I * sizeof(*x));
    memcpy(k->label + k->n, label, n * sizeof(*label));
    memcpy(k->group + k->n, group, n * sizeof(*group));
    memcpy(k->n_kmers + k->n, n_kmers, n * sizeof(*n_kmers));
    for (size_t i = 0; i < n; i++)
        k->length_bp[k->n + i] = length_bp ? length_bp[i] : 0;
    k->n = need;
}

void dnas_kmer_kept_release(struct dnas_kmer_kept *k)
{
    free(k->x);
    free(k->label);
    free(k->group);
    free(k->length_bp);
    free(k->n_kmers);
    *k = (struct dnas_kmer_kept){0};
}

/* ---- models ---- */

/* B / (B + noise + noise_kb / L) is a share of the map's row, B / (B + noise), over 1 + length / n
 * with length = noise_kb / (B + noise) in kb, a k-mer being taken for a letter. */
static struct dnas_kmer_model *shrunk_model(const struct dnas_kmer_parts *whole, size_t I,
                                            const struct dnas_kmer_map *noise, struct dnas_err *err)
{
    struct dnas_kmer_parts parts = *whole;
    float *weight = dnas_xalloc(parts.O, I * sizeof(*weight));
    float *length = dnas_xalloc(parts.O, sizeof(*length));
    struct dnas_kmer_model *m;

    for (size_t o = 0; o < parts.O; o++) {
        double lasting = (double)noise->between[o] + (double)noise->noise[o];

        length[o] = (float)(1000 * (double)noise->noise_kb[o] / lasting);
        for (size_t i = 0; i < I; i++)
            weight[o * I + i] =
                (float)(whole->weight[o * I + i] * ((double)noise->between[o] / lasting));
    }
    parts.weight = weight;
    parts.length = length;
    parts.between = parts.noise = parts.noise_kb = NULL;
    m = dnas_kmer_model_new(&parts, err);
    free(weight);
    free(length);
    return m;
}

struct dnas_kmer_model *dnas_train_kmer_map_model(const struct dnas_train_kmer *t,
                                                  const struct dnas_kmer_map *map,
                                                  const struct dnas_kmer_map *noise,
                                                  struct dnas_err *err)
{
    struct dnas_kmer_parts parts = {.n_blocks = t->n_blocks,
                                    .O = map->O,
                                    .mean = map->mean,
                                    .weight = map->weight,
                                    .between = map->between,
                                    .noise = map->noise,
                                    .noise_kb = map->noise_kb};

    memcpy(parts.blocks, t->blocks, sizeof(parts.blocks));
    if (!t->shrink)
        return dnas_kmer_model_new(&parts, err);
    if (noise->between)
        return shrunk_model(&parts, map->I, noise, err);
    dnas_err_set(err, "--shrink needs windows of known length and genera to hold out, to measure "
                      "how embeddings vary: give more genomes, or fewer --dims");
    return NULL;
}

/* The base model and a network behind it. */
static struct dnas_kmer_model *with_net(const struct dnas_kmer_model *base,
                                        const struct dnas_kmer_net *net, struct dnas_err *err)
{
    struct dnas_kmer_parts parts = *dnas_kmer_model_parts(base);

    parts.layers[0] =
        (struct dnas_kmer_layer){net->H, net->hidden, net->hidden_bias, DNAS_KMER_GELU};
    parts.layers[1] = (struct dnas_kmer_layer){net->O, net->out, net->out_bias, DNAS_KMER_LINEAR};
    parts.n_layers = 2;
    parts.residual = true;
    parts.between = parts.noise = parts.noise_kb = NULL;
    return dnas_kmer_model_new(&parts, err);
}

/* ---- embeddings of kept rows ---- */

struct embedding {
    const struct dnas_kmer_model *m;
    const struct dnas_kmer_kept *kept;
    const uint32_t *row; /* [n] */
    size_t n, C;
    float *y; /* [n,C] */
};

static void embed_portion(void *ctx, size_t portion, int worker)
{
    const struct embedding *e = ctx;
    size_t end = (portion + 1) * PORTION < e->n ? (portion + 1) * PORTION : e->n;

    (void)worker;
    for (size_t i = portion * PORTION; i < end; i++)
        dnas_kmer_model_embed_profile(e->m, e->y + i * e->C, e->kept->x + e->row[i] * e->kept->I,
                                      e->kept->n_kmers[e->row[i]]);
}

/* f32 [n,C]; free() it. */
static float *embed_rows(const struct dnas_kmer_model *m, const struct dnas_kmer_kept *kept,
                         const uint32_t *row, size_t n, int n_threads)
{
    struct embedding e = {.m = m, .kept = kept, .row = row, .n = n, .C = dnas_kmer_model_dims(m)};

    e.y = dnas_xalloc64(n, e.C * sizeof(*e.y));
    dnas_parallel_for((n + PORTION - 1) / PORTION, n_threads, embed_portion, &e);
    return e.y;
}

/* ---- one training ---- */

/* Held-out rows, as the network is trained. */
struct looking {
    const struct dnas_train_kmer *t;
    const struct dnas_kmer_model *base;
    const struct dnas_kmer_kept *kept;
    uint32_t *row, *label; /* [n] */
    size_t n;
    double *sum; /* [DNAS_TRAIN_KMER_LOOKS], added to */
};

static void look(void *ctx, uint64_t n_done, const struct dnas_kmer_net *net)
{
    struct looking *l = ctx;
    struct dnas_kmer_model *m = with_net(l->base, net, NULL);
    float *y;

    if (!m) /* weights that are not finite: as bad as can be */
        return;
    y = embed_rows(m, l->kept, l->row, l->n, l->t->n_threads);
    l->sum[n_done / DNAS_TRAIN_KMER_EVERY] +=
        dnas_kmer_shares(y, l->label, l->n, dnas_kmer_model_dims(m), l->t->n_threads);
    free(y);
    dnas_kmer_model_free(m);
}

static double root_mean_square(const float *y, size_t n)
{
    double sum = 0;

    for (size_t i = 0; i < n; i++)
        sum += (double)y[i] * (double)y[i];
    return n > 0 ? sqrt(sum / (double)n) : 0;
}

/* The variance at 1 kb of the base model's embeddings: what shrinks these shrinks it. */
static float *make_noise(const struct dnas_train_kmer *t, const struct dnas_kmer_map *map, size_t O)
{
    float *noise = dnas_xalloc(O, sizeof(*noise));

    for (size_t o = 0; o < O; o++) {
        double share =
            t->shrink ? (double)map->between[o] / ((double)map->between[o] + (double)map->noise[o])
                      : 1;

        noise[o] = (float)((double)map->noise_kb[o] * share * share);
    }
    return noise;
}

/* Trains a network on rows [n] of those kept; l NULL: nobody looks. */
static int train(struct dnas_kmer_net *net, double *loss, const struct dnas_train_kmer *t,
                 const struct dnas_kmer_map *map, const struct dnas_kmer_model *base,
                 const struct dnas_kmer_kept *kept, const uint32_t *row, size_t n, uint64_t n_steps,
                 struct looking *l, struct dnas_err *err)
{
    struct dnas_kmer_net_options o = DNAS_KMER_NET_DEFAULTS;
    size_t O = dnas_kmer_model_dims(base);
    float *y = embed_rows(base, kept, row, n, t->n_threads);
    float *noise_kb = map->noise_kb ? make_noise(t, map, O) : NULL;
    uint32_t *label = dnas_xalloc(n, sizeof(*label)), *length_bp = dnas_xalloc(n, sizeof(*label));
    struct dnas_kmer_net_rows rows = {n, O, y, label, length_bp, noise_kb};
    int status;

    for (size_t i = 0; i < n; i++) {
        label[i] = kept->label[row[i]];
        length_bp[i] = kept->length_bp[row[i]];
    }
    o.objective = t->objective;
    o.n_steps = n_steps;
    o.seed = t->seed;
    o.n_threads = t->n_threads;
    if (l) {
        o.every = DNAS_TRAIN_KMER_EVERY;
        o.look = look;
        o.ctx = l;
    }
    dnas_kmer_net_init(net, O, t->hidden, root_mean_square(y, n * O), t->seed);
    status = dnas_kmer_net_train(net, loss, &rows, &o, err);
    free(y);
    free(noise_kb);
    free(label);
    free(length_bp);
    return status;
}

/* ---- how many steps ---- */

/* Rows of a fold, of each class as many as are scored, evenly over those it has; returns how many.
 */
static size_t rows_to_look_at(uint32_t *row, const struct dnas_kmer_kept *kept, int fold)
{
    uint32_t n_labels = 0, *n_of, *n_seen;
    size_t n = 0;

    for (size_t i = 0; i < kept->n; i++)
        n_labels = kept->label[i] >= n_labels ? kept->label[i] + 1 : n_labels;
    n_of = dnas_xzalloc(n_labels, sizeof(*n_of));
    n_seen = dnas_xzalloc(n_labels, sizeof(*n_seen));
    for (size_t i = 0; i < kept->n; i++)
        n_of[kept->label[i]]++;
    for (size_t i = 0; i < kept->n; i++) {
        uint64_t of = n_of[kept->label[i]], seen = n_seen[kept->label[i]]++;

        if (kept->group[i] % DNAS_KMER_FOLDS == (uint32_t)fold &&
            (of <= DNAS_KMER_SCORE_CLASS ||
             seen * DNAS_KMER_SCORE_CLASS / of != (seen + 1) * DNAS_KMER_SCORE_CLASS / of))
            row[n++] = (uint32_t)i;
    }
    free(n_of);
    free(n_seen);
    return n;
}

/* Adds the shares of one fold to sum, and returns over how many rows; 0 where it cannot be held
 * out; SIZE_MAX on an error. */
static size_t look_at_fold(double *sum, const struct dnas_train_kmer *t,
                           const struct dnas_kmer_fit *fit, const struct dnas_kmer_kept *kept,
                           const struct dnas_kmer_map *whole, int fold, struct dnas_err *err)
{
    struct looking l = {.t = t, .kept = kept, .sum = sum};
    struct dnas_kmer_model *base = NULL;
    struct dnas_kmer_net net = {0};
    struct dnas_kmer_map map;
    uint32_t *others = NULL;
    size_t n_others = 0, result = 0;
    double loss;

    if (!dnas_kmer_fit_map_without(fit, &map, whole, fold))
        return 0;
    l.row = dnas_xalloc(kept->n, sizeof(*l.row));
    l.label = dnas_xalloc(kept->n, sizeof(*l.label));
    others = dnas_xalloc(kept->n, sizeof(*others));
    l.n = rows_to_look_at(l.row, kept, fold);
    for (size_t i = 0; i < l.n; i++)
        l.label[i] = kept->label[l.row[i]];
    for (size_t i = 0; i < kept->n; i++)
        if (kept->group[i] % DNAS_KMER_FOLDS != (uint32_t)fold)
            others[n_others++] = (uint32_t)i;
    if (l.n > 0) {
        l.base = base = dnas_train_kmer_map_model(t, &map, whole, err);
        if (base && train(&net, &loss, t, whole, base, kept, others, n_others,
                          (DNAS_TRAIN_KMER_LOOKS - 1) * DNAS_TRAIN_KMER_EVERY, &l, err) == 0)
            result = l.n;
        else
            result = SIZE_MAX;
    }
    dnas_kmer_net_release(&net);
    dnas_kmer_model_free(base);
    dnas_kmer_map_release(&map);
    free(l.row);
    free(l.label);
    free(others);
    return result;
}

static int choose_steps(const struct dnas_train_kmer *t, const struct dnas_kmer_fit *fit,
                        const struct dnas_kmer_kept *kept, struct dnas_train_kmer_report *r,
                        struct dnas_err *err)
{
    double sum[DNAS_TRAIN_KMER_LOOKS] = {0};
    size_t n = 0, best = 0;

    for (int fold = 0; fold < DNAS_KMER_FOLDS; fold++) {
        size_t n_fold = look_at_fold(sum, t, fit, kept, &r->map, fold, err);

        if (n_fold == SIZE_MAX)
            return -1;
        n += n_fold;
        dnas_progress("choosing", "folds", (uint64_t)fold + 1, (uint64_t)fold + 1, DNAS_KMER_FOLDS);
    }
    dnas_progress_end();
    r->hidden_steps = STEPS_UNCHOSEN;
    if (n == 0)
        return 0;
    for (size_t i = 0; i < DNAS_TRAIN_KMER_LOOKS; i++) {
        r->look[i] = sum[i] / (double)n;
        if (r->look[i] > r->look[best])
            best = i;
    }
    r->hidden_steps = best * DNAS_TRAIN_KMER_EVERY;
    r->steps_chosen = true;
    return 0;
}

struct dnas_kmer_model *dnas_train_kmer_net(const struct dnas_train_kmer *t,
                                            const struct dnas_kmer_fit *fit,
                                            const struct dnas_kmer_kept *kept,
                                            struct dnas_train_kmer_report *r, struct dnas_err *err)
{
    struct dnas_kmer_model *base = dnas_train_kmer_map_model(t, &r->map, &r->map, err), *m = NULL;
    struct dnas_kmer_net net = {0};
    uint32_t *row;

    r->hidden_steps = t->hidden_steps;
    if (!base || (t->hidden_steps == 0 && choose_steps(t, fit, kept, r, err) != 0)) {
        dnas_kmer_model_free(base);
        return NULL;
    }
    if (r->hidden_steps == 0) /* no network is better than one */
        return base;
    row = dnas_xalloc(kept->n, sizeof(*row));
    for (size_t i = 0; i < kept->n; i++)
        row[i] = (uint32_t)i;
    if (train(&net, &r->loss, t, &r->map, base, kept, row, kept->n, r->hidden_steps, NULL, err) ==
        0)
        m = with_net(base, &net, err);
    dnas_kmer_net_release(&net);
    dnas_kmer_model_free(base);
    free(row);
    return m;
}
