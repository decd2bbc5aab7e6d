/* SPDX-License-Identifier: MIT
 *
 * hyena.c - HyenaDNA's network, to be run.  Contract: hyena.h.
 *
 * A block of rows goes through everything but the long convolution while it is in
 * the cache; three arrays [T,C] are all that a whole sequence needs.  Filters are
 * kept for the first KEPT positions and made anew beyond.  Transforming them anew
 * for each sequence costs a twentieth of its time, and keeps no spectrum for
 * each length.
 */
#include "common/hyena.h"

#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "common/hyena_layout.h"
#include "common/hyena_net.h"
#include "common/tokenize.h"
#include "common/weights.h"
#include "common/xmem.h"
#include "kernels/kernels.h"

#define ROWS 512
#define BLOCK 16 /* columns beside each other, as dnas_cpu_longconv_fwd likes them */
#define KEPT ((size_t)65536)
#define WINDOW ((size_t)20000)

struct hyena {
    struct dnas_network network;
    struct dnas_hyena_sizes sizes;
    struct dnas_hyena_weights w; /* views of the mapped file */
    size_t room;                 /* positions of a filter that are kept, at most */
    float **filter;              /* [L], each in blocks [C/16,room,16]; touched as far as filled */
    size_t n_filter;             /* positions that are filled */
    double *scratch;             /* for filling */
    pthread_mutex_t lock;        /* of the last three */
};

struct run {
    struct dnas_network_run base;
    size_t T, M;            /* that there is room for */
    float *x, *gate;        /* [T,C] */
    float *v;               /* in blocks of 16 columns, [C/16,T,16] */
    float *filter;          /* likewise; NULL while T is at most what is kept */
    float *roots, *scratch; /* of the convolution of M */
    double *filter_scratch;
    float *normed, *wide; /* [ROWS,C]; [2 + ROWS,3C] or [ROWS,F] */
};

/* Channels in whole blocks. */
static size_t padded(size_t C)
{
    return (C + BLOCK - 1) / BLOCK * BLOCK;
}

static struct hyena *hyena_of(struct dnas_network *n)
{
    return (struct hyena *)n;
}

static const struct hyena *view_of(const struct dnas_network *n)
{
    return (const struct hyena *)n;
}

const struct dnas_hyena_sizes *dnas_hyena_get_sizes(const struct dnas_network *n)
{
    return &view_of(n)->sizes;
}

/* ---- opening ---- */

/* A number that, where it is there, must be `value`: this network is no other. */
static int only_number(const json_t *config, const char *key, json_int_t value,
                       struct dnas_err *err)
{
    const json_t *v = json_object_get(config, key);

    if (v && json_integer_value(v) != value)
        return dnas_err_set(err, "the config asks for another network: its '%s' is not %lld", key,
                            (long long)value);
    return 0;
}

static int only_bool(const json_t *config, const char *key, bool value, struct dnas_err *err)
{
    const json_t *v = json_object_get(config, key);

    if (v && (!json_is_boolean(v) || json_is_true(v) != value))
        return dnas_err_set(err, "the config asks for another network: its '%s' is not %s", key,
                            value ? "true" : "false");
    return 0;
}

static int parse_sizes(struct dnas_shape *s, struct dnas_hyena_sizes *sizes, const json_t *config,
                       struct dnas_err *err)
{
    const json_t *inner = json_object_get(config, "layer"); /* of a config before transformers' */
    const json_t *of = json_is_object(inner) ? inner : config;
    size_t multiple = 8;

    if (dnas_config_size(&s->L, config, "n_layer", 1000, err) != 0 ||
        dnas_config_size(&s->C, config, "d_model", 1 << 16, err) != 0 ||
        dnas_config_size(&s->F, config, "d_inner", 1 << 18, err) != 0 ||
        dnas_config_size(&s->V, config, "vocab_size", 65528, err) != 0 ||
        dnas_config_size(&s->positions, of, of == config ? "max_seq_len" : "l_max", (size_t)1 << 24,
                         err) != 0 ||
        dnas_config_size(&sizes->E, of, "emb_dim", DNAS_HYENA_POSITIONS_MAX, err) != 0 ||
        dnas_config_size(&sizes->W, of, "filter_order", 1 << 12, err) != 0)
        return -1;
    if (json_object_get(config, "pad_vocab_size_multiple") &&
        dnas_config_size(&multiple, config, "pad_vocab_size_multiple", 65536, err) != 0)
        return -1;
    if (sizes->E % 2 == 0 || sizes->E < 3)
        return dnas_err_set(err, "the config's 'emb_dim' is not an odd number from 3 to %d",
                            DNAS_HYENA_POSITIONS_MAX);
    s->V = (s->V + multiple - 1) / multiple * multiple;
    if (s->V > 65536)
        return dnas_err_set(err, "the config's vocabulary is padded to %zu, more than 65536", s->V);
    return dnas_config_eps(&s->eps, config, "layer_norm_epsilon", 1e-5f, err);
}

static int parse_shape(struct dnas_shape *s, struct dnas_hyena_sizes *sizes, const json_t *config,
                       struct dnas_err *err)
{
    static const struct {
        const char *key;
        json_int_t value;
    } numbers[] = {{"hyena_order", 2},  {"order", 2},          {"short_filter_order", 3},
                   {"local_order", 3},  {"num_inner_mlps", 2}, {"num_heads", 1},
                   {"outer_mixing", 0}, {"inner_factor", 1},   {"num_blocks", 1}};
    const json_t *inner = json_object_get(config, "layer");

    for (size_t i = 0; i < sizeof(numbers) / sizeof(*numbers); i++)
        if (only_number(config, numbers[i].key, numbers[i].value, err) != 0 ||
            only_number(inner, numbers[i].key, numbers[i].value, err) != 0)
            return -1;
    if (only_bool(config, "bidirectional", false, err) != 0 ||
        only_bool(config, "use_bias", true, err) != 0 ||
        only_bool(inner, "bidirectional", false, err) != 0 ||
        only_bool(inner, "modulate", true, err) != 0)
        return -1;
    return parse_sizes(s, sizes, config, err);
}

static bool is_mine(const json_t *config)
{
    const json_t *layer = json_object_get(config, "layer");
    const char *name = json_string_value(json_object_get(layer, "_name_"));

    return name && strcmp(name, "hyena") == 0;
}

static struct dnas_network *parse(const json_t *config, struct dnas_err *err)
{
    struct dnas_hyena_sizes sizes = {0};
    struct dnas_shape shape = {0};
    struct hyena *h;

    if (parse_shape(&shape, &sizes, config, err) != 0)
        return NULL;
    h = dnas_xzalloc(1, sizeof(*h));
    h->network.shape = shape;
    h->sizes = sizes;
    h->w.layers = dnas_xzalloc(shape.L, sizeof(*h->w.layers));
    pthread_mutex_init(&h->lock, NULL);
    return &h->network;
}

static size_t n_tensors(const struct dnas_network *n)
{
    return dnas_hyena_n_tensors(&n->shape);
}

static void tensor(struct dnas_layout_tensor *out, struct dnas_network *n, size_t i)
{
    struct hyena *h = hyena_of(n);

    for (size_t k = 0; i == 0 && k < dnas_weights_n(n->weights); k++)
        h->sizes.nested |= strstr(dnas_weights_tensor(n->weights, k)->name, ".mixer.layer.") != 0;
    dnas_hyena_get_tensor(out, &n->shape, &h->sizes, &h->w, i);
}

/* A tensor of a layer's filter that need not be there; *data NULL where it is not. */
static int find_extra(const float **data, const struct hyena *h, const char *prefix, size_t layer,
                      const char *name, size_t n, struct dnas_err *err)
{
    struct dnas_weights *w = h->network.weights;
    char *full = dnas_xasprintf("layers.%zu.mixer.%sfilter_fn.%s", layer,
                                h->sizes.nested ? "layer." : "", name);
    const struct dnas_tensor *t = dnas_weights_find(w, prefix, full);
    int status = 0;

    *data = NULL;
    if (t && t->n_elements != n)
        status = dnas_err_set(err, "the tensor '%s' has %zu elements, not %zu", t->name,
                              t->n_elements, n);
    else if (t)
        status = (*data = dnas_tensor_f32(w, t, err)) ? 0 : -1;
    free(full);
    return status;
}

/* Positions are computed, and must be what a file has: they were not learnt.  Some
 * thousand of them are looked at. */
static int check_positions(const struct hyena *h, const char *prefix, size_t layer,
                           struct dnas_err *err)
{
    size_t E = h->sizes.E, L = h->network.shape.positions;
    const float *t, *z;

    if (find_extra(&t, h, prefix, layer, "pos_emb.t", L, err) != 0 ||
        find_extra(&z, h, prefix, layer, "pos_emb.z", L * E, err) != 0)
        return -1;
    for (size_t i = 0; i < L; i += L / 1000 + 1) {
        float want[DNAS_HYENA_POSITIONS_MAX];
        bool same = true;

        dnas_cpu_hyena_position(want, i, E, L);
        same &= !t || fabsf(t[i] - want[0]) <= 1e-5f;
        for (size_t k = 0; z && k < E; k++)
            same &= fabsf(z[i * E + k] - want[k]) <= 1e-5f * (float)E;
        if (!same)
            return dnas_err_set(err,
                                "layer %zu has positions of its own ('pos_emb'), which this "
                                "network has not",
                                layer);
    }
    return 0;
}

/* The sines of a filter share their frequencies, which a file may hold thrice. */
static int check_frequencies(const struct hyena *h, const char *prefix, size_t layer,
                             struct dnas_err *err)
{
    static const char *const names[] = {"implicit_filter.3.freq", "implicit_filter.5.freq"};
    const float *freq = h->w.layers[layer].freq, *other;

    for (size_t k = 0; k < 2; k++) {
        if (find_extra(&other, h, prefix, layer, names[k], h->sizes.W, err) != 0)
            return -1;
        for (size_t i = 0; other && i < h->sizes.W; i++)
            if (other[i] != freq[i])
                return dnas_err_set(err,
                                    "layer %zu has three sets of frequencies, where this network "
                                    "has one",
                                    layer);
    }
    return 0;
}

static int check(struct dnas_network *n, const char *prefix, struct dnas_err *err)
{
    const struct hyena *h = hyena_of(n);

    if (n->precision == DNAS_PRECISION_BF16)
        return dnas_err_set(err, "HyenaDNA's network has no products of bf16 here: use "
                                 "--precision f32");
    for (size_t l = 0; l < n->shape.L; l++)
        if (check_positions(h, prefix, l, err) != 0 || check_frequencies(h, prefix, l, err) != 0)
            return -1;
    return 0;
}

static void prepare(struct dnas_network *n)
{
    struct hyena *h = hyena_of(n);
    struct dnas_hyena_filter f = dnas_hyena_filter_of(&h->w.layers[0], &n->shape, &h->sizes);

    h->room = n->shape.positions < KEPT ? n->shape.positions : KEPT;
    h->filter = dnas_xzalloc(n->shape.L, sizeof(*h->filter));
    for (size_t l = 0; l < n->shape.L; l++)
        h->filter[l] = dnas_xalloc64(h->room * padded(n->shape.C), sizeof(float));
    h->scratch = dnas_xalloc64(dnas_cpu_hyena_filter_scratch(&f), sizeof(double));
}

static void release(struct dnas_network *n)
{
    struct hyena *h = hyena_of(n);

    for (size_t l = 0; h->filter && l < n->shape.L; l++)
        free(h->filter[l]);
    free(h->filter);
    free(h->scratch);
    free(h->w.layers);
    pthread_mutex_destroy(&h->lock);
}

/* What DNABERT-S's evaluation takes of a sequence, or as much as there are positions. */
static size_t window_bp(const struct dnas_network *n)
{
    size_t specials = n->tokenizer ? dnas_tokenizer_n_specials(n->tokenizer) : 0;
    size_t most = n->shape.positions > specials ? n->shape.positions - specials : 1;

    most -= dnas_min_window(most); /* by which the last window may be longer */
    return most < WINDOW ? most : WINDOW;
}

/* ---- running ---- */

static struct dnas_network_run *run_new(const struct dnas_network *n)
{
    struct run *run = dnas_xzalloc(1, sizeof(*run));
    size_t C = n->shape.C, wide = (ROWS + 2) * 3 * C;

    run->normed = dnas_xalloc64(ROWS * C, sizeof(*run->normed));
    run->wide =
        dnas_xalloc64(wide > ROWS * n->shape.F ? wide : ROWS * n->shape.F, sizeof(*run->wide));
    return &run->base;
}

static void free_buffers(struct run *run)
{
    free(run->x);
    free(run->gate);
    free(run->v);
    free(run->filter);
    free(run->filter_scratch);
    run->filter = NULL;
    run->filter_scratch = NULL;
}

static void run_free(struct dnas_network_run *base)
{
    struct run *run = (struct run *)base;

    free_buffers(run);
    free(run->roots);
    free(run->scratch);
    free(run->normed);
    free(run->wide);
    free(run);
}

static void make_room(struct run *run, const struct hyena *h, size_t T)
{
    size_t M = dnas_cpu_longconv_size(T), C = h->network.shape.C;

    if (M != run->M) {
        free(run->roots);
        free(run->scratch);
        run->M = M;
        run->roots = dnas_xalloc64(dnas_cpu_longconv_n_roots(T), sizeof(*run->roots));
        run->scratch = dnas_xalloc64(2 * 32 * M, sizeof(*run->scratch));
        dnas_cpu_longconv_roots(run->roots, T);
    }
    if (T <= run->T)
        return;
    free_buffers(run);
    run->T = T;
    run->x = dnas_xalloc64(T * C, sizeof(*run->x));
    run->gate = dnas_xalloc64(T * C, sizeof(*run->gate));
    run->v = dnas_xalloc64(T * padded(C), sizeof(*run->v));
    if (T > h->room) {
        struct dnas_hyena_filter f =
            dnas_hyena_filter_of(&h->w.layers[0], &h->network.shape, &h->sizes);

        run->filter = dnas_xalloc64(T * padded(C), sizeof(*run->filter));
        run->filter_scratch = dnas_xalloc64(dnas_cpu_hyena_filter_scratch(&f), sizeof(double));
    }
}

/* Fills the filters of all layers up to T positions, once for all threads. */
static void fill_filters(struct hyena *h, size_t T)
{
    T = T < h->room ? T : h->room;
    pthread_mutex_lock(&h->lock);
    for (size_t l = 0; h->n_filter < T && l < h->network.shape.L; l++) {
        struct dnas_hyena_filter f =
            dnas_hyena_filter_of(&h->w.layers[l], &h->network.shape, &h->sizes);

        dnas_cpu_hyena_filter_fwd(h->filter[l] + h->n_filter * BLOCK, BLOCK, h->room * BLOCK, &f,
                                  h->n_filter, T - h->n_filter, h->scratch);
    }
    h->n_filter = h->n_filter < T ? T : h->n_filter;
    pthread_mutex_unlock(&h->lock);
}

/* v <- the long convolution of v, with the first T positions of layer l's filter. */
static void convolve(const struct hyena *h, struct run *run, size_t l, size_t T)
{
    struct dnas_hyena_filter f =
        dnas_hyena_filter_of(&h->w.layers[l], &h->network.shape, &h->sizes);
    size_t room = T <= h->room ? h->room : T, C = h->network.shape.C;
    float *filter = h->filter[l];

    if (T > h->room) {
        filter = run->filter;
        for (size_t c = 0; c < C; c += BLOCK)
            memcpy(filter + c * room, h->filter[l] + c * h->room,
                   h->room * BLOCK * sizeof(*filter));
        dnas_cpu_hyena_filter_fwd(filter + h->room * BLOCK, BLOCK, room * BLOCK, &f, h->room,
                                  T - h->room, run->filter_scratch);
    }
    dnas_cpu_longconv_fwd(run->v, run->v, BLOCK, T * BLOCK, filter, BLOCK, room * BLOCK,
                          h->w.layers[l].skip, T, C, run->roots, run->scratch);
}

/* gate = x0 and v = v x1, with [x0 | x1 | v] the short convolution of in(norm(x)). */
static void project(const struct hyena *h, size_t l, struct run *run, size_t T)
{
    const struct dnas_hyena_layer *y = &h->w.layers[l];
    size_t C = h->network.shape.C, before = 0;
    float *now = run->wide + 2 * 3 * C;

    for (size_t from = 0; from < T; from += ROWS) {
        size_t n = T - from < ROWS ? T - from : ROWS;
        float *gate = run->gate + from * C;

        dnas_cpu_layernorm_fwd(run->normed, NULL, NULL, run->x + from * C, NULL, y->norm1_w,
                               y->norm1_b, n, C, h->network.shape.eps);
        dnas_cpu_linear_fwd(now, run->normed, y->in_w, y->in_b, NULL, n, 3 * C, C);
        /* The convolution writes over its input, so the two rows that the next block
         * looks back on are put by first: in normed, which is free again. */
        if (n == ROWS)
            memcpy(run->normed, now + (n - 2) * 3 * C, 2 * 3 * C * sizeof(*now));
        dnas_cpu_shortconv_fwd(now, now, y->short_w, y->short_b, before, n, 3 * C);
        for (size_t t = 0; t < n; t++)
            memcpy(gate + t * C, now + t * 3 * C, C * sizeof(*gate));
        for (size_t c = 0; c < C; c += BLOCK)
            dnas_cpu_multiply(run->v + c * T + from * BLOCK, now + C + c, now + 2 * C + c, n,
                              C - c < BLOCK ? C - c : BLOCK, BLOCK, 3 * C, 3 * C);
        memcpy(run->wide, run->normed, 2 * 3 * C * sizeof(*now));
        before = 2;
    }
}

/* x += out(gate y) and then x += down(gelu(up(norm(x)))), some rows at a time. */
static void finish(const struct hyena *h, size_t l, struct run *run, size_t T)
{
    const struct dnas_hyena_layer *y = &h->w.layers[l];
    size_t C = h->network.shape.C, F = h->network.shape.F;

    for (size_t from = 0; from < T; from += ROWS) {
        size_t n = T - from < ROWS ? T - from : ROWS;
        float *x = run->x + from * C;

        for (size_t c = 0; c < C; c += BLOCK)
            dnas_cpu_multiply(run->normed + c, run->v + c * T + from * BLOCK,
                              run->gate + from * C + c, n, C - c < BLOCK ? C - c : BLOCK, C, BLOCK,
                              C);
        dnas_cpu_add_rows(x, y->out_b, NULL, n, C);
        dnas_cpu_matmul(x, run->normed, y->out_w, n, C, C, C, C, C, 1, 1, 1);
        dnas_cpu_layernorm_fwd(run->normed, NULL, NULL, x, NULL, y->norm2_w, y->norm2_b, n, C,
                               h->network.shape.eps);
        dnas_cpu_linear_fwd(run->wide, run->normed, y->up_w, y->up_b, NULL, n, F, C);
        dnas_cpu_gelu_tanh_fwd(run->wide, run->wide, n * F);
        dnas_cpu_add_rows(x, y->down_b, NULL, n, C);
        dnas_cpu_matmul(x, run->wide, y->down_w, n, C, F, C, F, F, 1, 1, 1);
    }
}

static const float *forward(const struct dnas_network *n, struct dnas_network_run *base,
                            const uint16_t *ids, size_t T, int skip)
{
    const struct hyena *h = view_of(n);
    struct run *run = (struct run *)base;
    const struct dnas_shape *s = &n->shape;

    (void)skip; /* there is no attention */
    if (T == 0)
        return run->x;
    if (T > s->positions)
        DNAS_BUG("%zu tokens, where there are %zu positions", T, s->positions);
    make_room(run, h, T);
    fill_filters((struct hyena *)h, T);
    dnas_cpu_embedding_fwd(run->x, ids, h->w.words, NULL, T, s->V, s->C);
    for (size_t l = 0; l < s->L; l++) {
        project(h, l, run, T);
        convolve(h, run, l, T);
        finish(h, l, run, T);
    }
    dnas_cpu_layernorm_fwd(run->x, NULL, NULL, run->x, NULL, h->w.norm_w, h->w.norm_b, T, s->C,
                           s->eps);
    return run->x;
}

static const char *const surplus[] = {"lm_head.", ".pos_emb.", ".implicit_filter.3.freq",
                                      ".implicit_filter.5.freq", NULL};

const struct dnas_backbone dnas_hyena = {
    .name = "hyena",
    .model_type = "hyenadna",
    .first_tensor = "embeddings.word_embeddings.weight",
    .surplus = surplus,
    .is_mine = is_mine,
    .parse = parse,
    .n_tensors = n_tensors,
    .tensor = tensor,
    .check = check,
    .prepare = prepare,
    .release = release,
    .window_bp = window_bp,
    .run_new = run_new,
    .run_free = run_free,
    .forward = forward,
    .net_new = dnas_hyena_net_new,
    .net_release = dnas_hyena_net_release,
    .net_init = dnas_hyena_net_init,
    .config = dnas_hyena_net_config,
    .tape = &dnas_hyena_tape,
};
