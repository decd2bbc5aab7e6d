/* SPDX-License-Identifier: MIT
 *
 * bert.c - the network of DNABERT-2 and DNABERT-S.  Contract: bert.h.
 */
#include "common/bert.h"

#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "common/io.h"
#include "common/weights.h"
#include "common/xmem.h"
#include "kernels/kernels.h"

#define MAX_CONFIG ((size_t)1 << 20)
/* Rows of the feed-forward part at a time: its width is 8 C, so a whole
 * sequence of it would be most of a thread's memory. */
#define FEED_ROWS 512

/* The matrices of a layer in bf16; NULL in f32. */
struct narrow {
    uint16_t *qkv_w, *out_w, *gated_w, *down_w;
};

struct dnas_bert {
    struct dnas_bert_shape shape;
    enum dnas_bert_precision precision;
    struct dnas_weights *weights;
    struct dnas_tokenizer *tokenizer;
    struct dnas_bert_weights w; /* views of the mapped file */
    struct narrow *narrow;      /* [L] */
    float *slopes;              /* [H] */
    char hash[DNAS_WEIGHTS_HASH_SIZE];
};

struct dnas_bert_run {
    size_t T; /* that there is room for */
    float *x, *qkv, *mixed, *scratch;
    float *wide, *gated; /* [FEED_ROWS,2F] [FEED_ROWS,F] */
    uint16_t *narrow;    /* bf16: the operand of a product, at most [FEED_ROWS,F or C] */
    uint64_t n_scores;
};

/* ---- opening ---- */

static int positive(const json_t *config, const char *key, size_t max, size_t *out,
                    struct dnas_err *err)
{
    const json_t *v = json_object_get(config, key);

    if (!json_is_integer(v) || json_integer_value(v) < 1 || (uint64_t)json_integer_value(v) > max)
        return dnas_err_set(err, "the config has no '%s' from 1 to %zu", key, max);
    *out = (size_t)json_integer_value(v);
    return 0;
}

/* A member that, where it is there, must have this value. */
static int only(const json_t *config, const char *key, const char *value, struct dnas_err *err)
{
    const json_t *v = json_object_get(config, key);

    if (v && (!json_is_string(v) || strcmp(json_string_value(v), value) != 0))
        return dnas_err_set(err, "the config asks for another network: its '%s' is not \"%s\"", key,
                            value);
    return 0;
}

static int parse_shape(struct dnas_bert_shape *s, const json_t *config, struct dnas_err *err)
{
    const json_t *eps = json_object_get(config, "layer_norm_eps");

    if (!json_is_object(config))
        return dnas_err_set(err, "the config is not a JSON object");
    if (only(config, "model_type", "bert", err) != 0 ||
        only(config, "hidden_act", "gelu", err) != 0 ||
        only(config, "position_embedding_type", "alibi", err) != 0)
        return -1;
    if (positive(config, "num_hidden_layers", 1000, &s->L, err) != 0 ||
        positive(config, "hidden_size", 1 << 16, &s->C, err) != 0 ||
        positive(config, "num_attention_heads", 1 << 12, &s->H, err) != 0 ||
        positive(config, "intermediate_size", 1 << 18, &s->F, err) != 0 ||
        positive(config, "vocab_size", 65536, &s->V, err) != 0)
        return -1;
    if (s->C % s->H != 0)
        return dnas_err_set(err, "the config has %zu channels, which %zu heads do not divide", s->C,
                            s->H);
    s->eps = eps ? (float)json_number_value(eps) : 1e-12f;
    if (!(s->eps > 0 && s->eps < 1))
        return dnas_err_set(err, "the config's 'layer_norm_eps' is not between 0 and 1");
    return 0;
}

/* The tensors that the network uses, taken one by one and ticked off. */
struct taking {
    struct dnas_weights *w;
    char *prefix;
    const char **names; /* without the prefix */
    size_t n, cap;
};

static int take(struct taking *t, const struct dnas_bert_tensor *want, struct dnas_err *err)
{
    char *name = dnas_xstrdup(want->name);
    const struct dnas_tensor *x = dnas_weights_find(t->w, t->prefix, name);

    t->names = dnas_xgrow(t->names, &t->cap, t->n + 1, sizeof(*t->names));
    t->names[t->n++] = name;
    if (!x)
        return dnas_err_set(err, "the tensor '%s%s' is missing", t->prefix, name);
    if (x->n_dims != (want->columns ? 2 : 1) || x->shape[0] != want->rows ||
        (want->columns && x->shape[1] != want->columns))
        return dnas_err_set(err, "the tensor '%s' does not have the shape that the config gives it",
                            x->name);
    if (dnas_tensor_check_finite(t->w, x, err) != 0)
        return -1;
    *want->field = dnas_tensor_f32(t->w, x, err);
    return *want->field ? 0 : -1;
}

static bool was_taken(const struct taking *t, const char *name)
{
    size_t n = strlen(t->prefix);

    if (strncmp(name, t->prefix, n) != 0)
        return false;
    for (size_t i = 0; i < t->n; i++)
        if (strcmp(t->names[i], name + n) == 0)
            return true;
    return false;
}

/* A tensor that nobody takes is an error, but for the heads of other tasks. */
static int refuse_surplus(const struct taking *t, struct dnas_err *err)
{
    static const char *const heads[] = {"pooler.dense.", "cls.predictions."};

    for (size_t i = 0; i < dnas_weights_n(t->w); i++) {
        const char *name = dnas_weights_tensor(t->w, i)->name;
        bool known = was_taken(t, name);

        for (size_t k = 0; k < 2; k++)
            known |= strstr(name, heads[k]) != NULL;
        if (!known)
            return dnas_err_set(err, "the tensor '%s' is not one of this network's", name);
    }
    return 0;
}

static int take_all(struct dnas_bert *b, struct dnas_err *err)
{
    struct taking t = {.w = b->weights};
    size_t n = dnas_bert_n_tensors(&b->shape), i = 0;
    int status = -1;

    t.prefix = dnas_weights_prefix(b->weights, "embeddings.word_embeddings.weight", err);
    if (!t.prefix)
        return -1;
    b->w.layers = dnas_xzalloc(b->shape.L, sizeof(*b->w.layers));
    for (; i < n; i++) {
        struct dnas_bert_tensor want;

        dnas_bert_get_tensor(&want, &b->shape, &b->w, i);
        if (take(&t, &want, err) != 0)
            break;
    }
    if (i == n && refuse_surplus(&t, err) == 0)
        status = dnas_weights_hash(b->weights, b->hash, t.prefix, t.names, t.n, err);
    for (i = 0; i < t.n; i++)
        free((char *)t.names[i]);
    free(t.names);
    free(t.prefix);
    return status;
}

/* config.json of a folder, or the metadata's "config". */
static json_t *read_config(const struct dnas_bert *b, const char *path, bool is_folder,
                           struct dnas_err *err)
{
    char *file = dnas_xasprintf("%s/config.json", path);
    const char *inside = dnas_weights_metadata(b->weights, "config");
    json_error_t why;
    json_t *config = NULL;
    char *text = NULL;
    size_t n;

    if (is_folder) {
        text = dnas_read_file(file, MAX_CONFIG, &n, err);
        if (text && !(config = json_loadb(text, n, JSON_REJECT_DUPLICATES, &why)))
            dnas_err_set(err, "%s: is not JSON: %s", file, why.text);
    } else if (!inside) {
        dnas_err_set(err, "%s: its metadata have no 'config': name the folder with config.json",
                     path);
    } else if (!(config = json_loads(inside, JSON_REJECT_DUPLICATES, &why))) {
        dnas_err_set(err, "%s: its 'config' is not JSON: %s", path, why.text);
    }
    free(text);
    free(file);
    return config;
}

static int read_tokenizer(struct dnas_bert *b, const char *path, bool is_folder,
                          struct dnas_err *err)
{
    const char *inside = is_folder ? NULL : dnas_weights_metadata(b->weights, "tokenizer");

    if (is_folder && dnas_tokenizer_open_folder(&b->tokenizer, path, err) != 0)
        return -1;
    if (inside && !(b->tokenizer = dnas_tokenizer_read(inside, strlen(inside), err)))
        return dnas_err_at(err, "%s: ", path);
    if (b->tokenizer && dnas_tokenizer_size(b->tokenizer) > b->shape.V)
        return dnas_err_set(err, "%s: its tokenizer has %zu tokens, its network %zu", path,
                            dnas_tokenizer_size(b->tokenizer), b->shape.V);
    return 0;
}

bool dnas_bert_has_bf16(void)
{
    return dnas_cpu_has_bf16() != 0;
}

static uint16_t *narrowed(const float *w, size_t n)
{
    uint16_t *to = dnas_xalloc64(n, sizeof(*to));

    dnas_cpu_bf16_from_f32(to, w, n);
    return to;
}

static void narrow_layers(struct dnas_bert *b)
{
    size_t C = b->shape.C, F = b->shape.F;

    for (size_t l = 0; l < b->shape.L; l++) {
        const struct dnas_bert_layer *y = &b->w.layers[l];
        struct narrow *to = &b->narrow[l];

        to->qkv_w = narrowed(y->qkv_w, 3 * C * C);
        to->out_w = narrowed(y->out_w, C * C);
        to->gated_w = narrowed(y->gated_w, 2 * F * C);
        to->down_w = narrowed(y->down_w, C * F);
    }
}

/* Whether oneDNN multiplies bf16 here at all: tried once. */
static int check_bf16(struct dnas_err *err)
{
    uint16_t one[2] = {0x3f80, 0x3f80};
    float out;

    if (dnas_cpu_matmul_bf16(&out, one, one, 1, 1, 2) == 0)
        return 0;
    return dnas_err_set(err, "this processor has no products of bf16: use --precision f32");
}

struct dnas_bert *dnas_bert_open(const char *path, enum dnas_bert_precision precision,
                                 struct dnas_err *err)
{
    struct dnas_bert *b = dnas_xzalloc(1, sizeof(*b));
    struct dnas_err why = {""};
    json_t *config = NULL;
    struct stat st;
    bool is_folder = stat(path, &st) == 0 && S_ISDIR(st.st_mode);
    int status = -1;

    b->precision = precision;
    if (precision == DNAS_BERT_F32 || check_bf16(err) == 0)
        b->weights = dnas_weights_open(path, err);
    if (b->weights)
        config = read_config(b, path, is_folder, err);
    if (config) {
        if (parse_shape(&b->shape, config, &why) != 0 || take_all(b, &why) != 0)
            dnas_err_set(err, "%s: %s", path, why.msg);
        else
            status = read_tokenizer(b, path, is_folder, err);
    }
    json_decref(config);
    if (status != 0) {
        dnas_bert_close(b);
        return NULL;
    }
    b->narrow = dnas_xzalloc(b->shape.L, sizeof(*b->narrow));
    if (precision == DNAS_BERT_BF16)
        narrow_layers(b);
    b->slopes = dnas_xalloc(b->shape.H, sizeof(*b->slopes));
    dnas_bert_slopes(b->slopes, b->shape.H);
    return b;
}

void dnas_bert_close(struct dnas_bert *b)
{
    if (!b)
        return;
    for (size_t l = 0; b->narrow && l < b->shape.L; l++) {
        free(b->narrow[l].qkv_w);
        free(b->narrow[l].out_w);
        free(b->narrow[l].gated_w);
        free(b->narrow[l].down_w);
    }
    dnas_weights_close(b->weights);
    dnas_tokenizer_free(b->tokenizer);
    free(b->w.layers);
    free(b->narrow);
    free(b->slopes);
    free(b);
}

const struct dnas_bert_shape *dnas_bert_get_shape(const struct dnas_bert *b)
{
    return &b->shape;
}

const struct dnas_bert_weights *dnas_bert_get_weights(const struct dnas_bert *b)
{
    return &b->w;
}

const struct dnas_tokenizer *dnas_bert_tokenizer(const struct dnas_bert *b)
{
    return b->tokenizer;
}

const char *dnas_bert_hash(const struct dnas_bert *b)
{
    return b->hash;
}

void dnas_bert_slopes(float *slopes, size_t H)
{
    size_t power = 1;

    while (2 * power <= H)
        power *= 2;
    for (size_t h = 0; h < H; h++) {
        double i = h < power ? (double)(h + 1) : (double)(2 * (h - power) + 1) / 2;

        slopes[h] = (float)exp2(-8 * i / (double)power);
    }
}

/* ---- running ---- */

struct dnas_bert_run *dnas_bert_run_new(const struct dnas_bert *b)
{
    struct dnas_bert_run *run = dnas_xzalloc(1, sizeof(*run));

    run->wide = dnas_xalloc64(FEED_ROWS * 2 * b->shape.F, sizeof(*run->wide));
    run->gated = dnas_xalloc64(FEED_ROWS * b->shape.F, sizeof(*run->gated));
    if (b->precision == DNAS_BERT_BF16)
        run->narrow = dnas_xalloc64(FEED_ROWS * (b->shape.F > b->shape.C ? b->shape.F : b->shape.C),
                                    sizeof(*run->narrow));
    return run;
}

static void free_buffers(struct dnas_bert_run *run)
{
    free(run->x);
    free(run->qkv);
    free(run->mixed);
    free(run->scratch);
}

void dnas_bert_run_free(struct dnas_bert_run *run)
{
    if (!run)
        return;
    free_buffers(run);
    free(run->wide);
    free(run->gated);
    free(run->narrow);
    free(run);
}

static void make_room(struct dnas_bert_run *run, const struct dnas_bert_shape *s, size_t T)
{
    if (T <= run->T)
        return;
    free_buffers(run);
    run->T = T;
    run->x = dnas_xalloc64(T * s->C, sizeof(*run->x));
    run->qkv = dnas_xalloc64(T * 3 * s->C, sizeof(*run->qkv));
    run->mixed = dnas_xalloc64(T * s->C, sizeof(*run->mixed));
    run->scratch = dnas_xalloc64(dnas_cpu_attention_scratch(T, s->C / s->H), sizeof(*run->scratch));
}

/* out = y w^T + bias + residual in the network's precision; w16 is w in bf16.
 * In bf16 some rows at a time: their copy is then small. */
static void product(struct dnas_bert_run *run, float *out, const float *y, const float *w,
                    const uint16_t *w16, const float *bias, const float *residual, size_t N,
                    size_t O, size_t I)
{
    if (!w16) {
        dnas_cpu_linear_fwd(out, y, w, bias, residual, N, O, I);
        return;
    }
    for (size_t from = 0; from < N; from += FEED_ROWS) {
        size_t n = N - from < FEED_ROWS ? N - from : FEED_ROWS;

        dnas_cpu_bf16_from_f32(run->narrow, y + from * I, n * I);
        if (dnas_cpu_matmul_bf16(out + from * O, run->narrow, w16, n, O, I) != 0)
            DNAS_BUG("no product of bf16, which was there a moment ago");
    }
    dnas_cpu_add_rows(out, bias, residual, N, O);
}

/* x <- norm(attention(x) + x); qkv's room serves for the sum, too. */
static void attend(const struct dnas_bert *b, size_t l, struct dnas_bert_run *run, size_t T,
                   int skip)
{
    const struct dnas_bert_layer *y = &b->w.layers[l];
    const struct narrow *n = &b->narrow[l];
    size_t C = b->shape.C;

    product(run, run->qkv, run->x, y->qkv_w, n->qkv_w, y->qkv_b, NULL, T, 3 * C, C);
    dnas_cpu_attention_fwd(run->mixed, NULL, NULL, &run->n_scores, run->qkv, b->slopes, T, C,
                           b->shape.H, skip, run->scratch);
    product(run, run->qkv, run->mixed, y->out_w, n->out_w, y->out_b, run->x, T, C, C);
    dnas_cpu_layernorm_fwd(run->x, NULL, NULL, run->qkv, NULL, y->norm1_w, y->norm1_b, T, C,
                           b->shape.eps);
}

/* x <- norm(down(gelu(z) gate) + x), some rows at a time. */
static void feed_forward(const struct dnas_bert *b, size_t l, struct dnas_bert_run *run, size_t T)
{
    const struct dnas_bert_layer *y = &b->w.layers[l];
    const struct narrow *narrow = &b->narrow[l];
    size_t C = b->shape.C, F = b->shape.F;

    for (size_t from = 0; from < T; from += FEED_ROWS) {
        size_t n = T - from < FEED_ROWS ? T - from : FEED_ROWS;
        float *x = run->x + from * C, *sum = run->mixed + from * C;

        product(run, run->wide, x, y->gated_w, narrow->gated_w, NULL, NULL, n, 2 * F, C);
        dnas_cpu_geglu_fwd(run->gated, run->wide, n, F);
        product(run, sum, run->gated, y->down_w, narrow->down_w, y->down_b, x, n, C, F);
        dnas_cpu_layernorm_fwd(x, NULL, NULL, sum, NULL, y->norm2_w, y->norm2_b, n, C,
                               b->shape.eps);
    }
}

const float *dnas_bert_forward(const struct dnas_bert *b, struct dnas_bert_run *run,
                               const uint16_t *ids, size_t T, int skip)
{
    const struct dnas_bert_shape *s = &b->shape;

    if (T == 0)
        return run->x;
    make_room(run, s, T);
    dnas_cpu_embedding_fwd(run->x, ids, b->w.words, b->w.types, T, s->V, s->C);
    dnas_cpu_layernorm_fwd(run->x, NULL, NULL, run->x, NULL, b->w.norm_w, b->w.norm_b, T, s->C,
                           s->eps);
    for (size_t l = 0; l < s->L; l++) {
        attend(b, l, run, T, skip);
        feed_forward(b, l, run, T);
    }
    return run->x;
}

uint64_t dnas_bert_n_scores(const struct dnas_bert_run *run)
{
    return run->n_scores;
}

int dnas_bert_check_ids(const struct dnas_bert *b, const uint16_t *ids, size_t T,
                        struct dnas_err *err)
{
    for (size_t t = 0; t < T; t++)
        if (ids[t] >= b->shape.V)
            return dnas_err_set(err,
                                "token %zu is number %u of a vocabulary of %zu: another "
                                "tokenizer made it",
                                t + 1, ids[t], b->shape.V);
    return 0;
}
