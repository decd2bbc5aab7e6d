/* SPDX-License-Identifier: MIT
 *
 * bert_packed.c - the network of DNABERT-2 as calls of the CUDA library.
 * Contract: bert_packed.h.
 *
 * The matrices are of the products' type, all else is in f32.  x is where
 * residuals are added and normalised in place, so that a token needs 5 C
 * numbers, and 3 F more for the rows that the feed-forward part has in hand.
 */
#include "common/bert_packed.h"

#include <stdlib.h>
#include <string.h>

#include "common/backbone.h"
#include "common/bert.h"
#include "common/product.h"
#include "common/xmem.h"

/* Rows of the feed-forward part at a time: enough for a product to fill a GPU
 * thirty times over, and a bound on its memory. */
#define FEED_ROWS ((size_t)16384)
/* What the kernels take. */
#define MOST_CHANNELS 1024
#define MOST_OF_A_HEAD 128
#define ALIGNED ((size_t)256) /* of tensors in a block of memory */

struct bert_packed {
    struct dnas_packed base;
    struct dnas_bert_weights w; /* addresses on the device; matrices may be of bf16 */
    float *slopes;              /* [H] */
    void *memory;               /* of the weights */
};

static const struct bert_packed *view_of(const struct dnas_packed *p)
{
    return (const struct bert_packed *)p;
}

static size_t aligned(size_t size_bytes)
{
    return (size_bytes + ALIGNED - 1) / ALIGNED * ALIGNED;
}

static size_t type_size(enum dnas_cuda_type type)
{
    return type == DNAS_CUDA_F32 ? sizeof(float) : sizeof(uint16_t);
}

static size_t tensor_size(const struct dnas_layout_tensor *t, enum dnas_cuda_type type)
{
    return t->n * (t->role == DNAS_ROLE_MATRIX ? type_size(type) : sizeof(float));
}

int dnas_bert_packed_check(const struct dnas_shape *s, enum dnas_cuda_type type,
                           struct dnas_err *err)
{
    size_t D = s->C / s->H;

    if (s->C % 8 != 0 || s->F % 8 != 0)
        return dnas_err_set(err, "%zu channels and a width of %zu are not multiples of 8", s->C,
                            s->F);
    if (s->C > MOST_CHANNELS)
        return dnas_err_set(err, "a GPU takes %d channels at most, not %zu", MOST_CHANNELS, s->C);
    if (D > MOST_OF_A_HEAD)
        return dnas_err_set(err, "heads have %d channels at most, not %zu", MOST_OF_A_HEAD, D);
    if (type == DNAS_CUDA_BF16 && D != 16 && D != 32 && D != 64 && D != 128)
        return dnas_err_set(err,
                            "bf16 takes heads of 16, 32, 64 or 128 channels, not of %zu: give "
                            "--precision f32",
                            D);
    return 0;
}

static int check(const struct dnas_network *n, enum dnas_cuda_type type, struct dnas_err *err)
{
    return dnas_bert_packed_check(&n->shape, type, err);
}

/* ---- weights ---- */

/* Copies the tensors one by one through memory that the device reads by itself. */
static int upload(struct bert_packed *b, void *through, struct dnas_err *err)
{
    const struct dnas_network *n = b->base.network;
    const struct dnas_cuda_api *api = b->base.gpu->api;
    struct dnas_cuda *d = b->base.gpu->device;
    char *at = b->memory;

    for (size_t i = 0; i < dnas_bert_n_tensors(&n->shape); i++) {
        struct dnas_layout_tensor from, to;
        size_t size;

        n->backbone->tensor(&from, (struct dnas_network *)n, i); /* reads the field alone */
        dnas_bert_get_tensor(&to, &n->shape, &b->w, i);
        size = tensor_size(&from, b->base.type);
        if (from.role == DNAS_ROLE_MATRIX && b->base.type == DNAS_CUDA_BF16) {
            uint16_t *narrow = dnas_narrowed(*from.field, from.n);

            memcpy(through, narrow, size);
            free(narrow);
        } else {
            memcpy(through, *from.field, size);
        }
        api->copy_in(d, at, through, size);
        if (api->wait(d) != 0)
            return dnas_gpu_failed(b->base.gpu, err);
        *to.field = (const float *)(const void *)at;
        at += aligned(size);
    }
    return 0;
}

static void release(struct dnas_packed *p)
{
    struct bert_packed *b = (struct bert_packed *)p;

    p->gpu->api->free(p->gpu->device, b->memory);
    free(b->w.layers);
    free(b->slopes);
    free(b);
}

static struct dnas_packed *create(const struct dnas_network *n, const struct dnas_gpu *g,
                                  enum dnas_cuda_type type, struct dnas_err *err)
{
    struct bert_packed *b = dnas_xzalloc(1, sizeof(*b));
    size_t all = 0, largest = 0;
    void *through;
    int status = -1;

    b->base = (struct dnas_packed){.network = n, .gpu = g, .type = type};
    b->w.layers = dnas_xzalloc(n->shape.L, sizeof(*b->w.layers));
    b->slopes = dnas_xalloc(n->shape.H, sizeof(*b->slopes));
    dnas_bert_slopes(b->slopes, n->shape.H);
    for (size_t i = 0; i < dnas_bert_n_tensors(&n->shape); i++) {
        struct dnas_layout_tensor t;
        size_t size;

        dnas_bert_get_tensor(&t, &n->shape, NULL, i);
        size = tensor_size(&t, type);
        all += aligned(size);
        largest = size > largest ? size : largest;
    }
    b->memory = g->api->alloc(g->device, all);
    through = g->api->host_alloc(g->device, largest);
    if (b->memory && through)
        status = upload(b, through, err);
    else if (*g->api->error(g->device))
        dnas_gpu_failed(g, err);
    else
        dnas_err_set(err,
                     "GPU number %d (%s) has no %zu bytes left for the weights: use --device cpu",
                     g->number, g->info.name, all);
    if (through)
        g->api->host_free(g->device, through);
    if (status == 0)
        return &b->base;
    release(&b->base);
    return NULL;
}

/* ---- forward ---- */

struct scratch {
    char *x, *qkv, *mixed; /* [T,C] [T,3C] [T,C] */
    char *wide, *gated;    /* [FEED_ROWS,2F] [FEED_ROWS,F] */
    uint64_t size_bytes;
};

static struct scratch lay_out(const struct dnas_packed *p, char *base, size_t T)
{
    const struct dnas_shape *s = &p->network->shape;
    size_t size = type_size(p->type), rows = T < FEED_ROWS ? T : FEED_ROWS;
    const size_t width[] = {T * s->C, T * 3 * s->C, T * s->C, rows * 2 * s->F, rows * s->F};
    struct scratch to = {.x = NULL};
    char **const parts[] = {&to.x, &to.qkv, &to.mixed, &to.wide, &to.gated};

    for (size_t i = 0; i < sizeof(width) / sizeof(*width); i++) {
        *parts[i] = base ? base + to.size_bytes : NULL;
        to.size_bytes += aligned(width[i] * size);
    }
    return to;
}

static uint64_t scratch(const struct dnas_packed *p, size_t max_T)
{
    return lay_out(p, NULL, max_T).size_bytes;
}

static struct dnas_cuda_pack *pack_new(const struct dnas_packed *p, size_t max_T, size_t max_B)
{
    const struct dnas_shape *s = &p->network->shape;

    return p->gpu->api->pack_new(p->gpu->device, max_T, max_B, s->H, s->C / s->H,
                                 view_of(p)->slopes);
}

/* x <- norm(attention(x) + x) */
static void attend(const struct bert_packed *b, size_t l, const struct scratch *to,
                   struct dnas_cuda_pack *pack, size_t T)
{
    const struct dnas_bert_layer *y = &b->w.layers[l];
    const struct dnas_cuda_api *api = b->base.gpu->api;
    struct dnas_cuda *d = b->base.gpu->device;
    size_t C = b->base.network->shape.C;
    enum dnas_cuda_type type = b->base.type;

    api->linear_fwd(d, to->qkv, to->x, y->qkv_w, y->qkv_b, NULL, T, 3 * C, C, type);
    api->attention_fwd(d, to->mixed, NULL, to->qkv, pack, 1, type);
    api->linear_fwd(d, to->x, to->mixed, y->out_w, y->out_b, to->x, T, C, C, type);
    api->layernorm_fwd(d, to->x, NULL, NULL, to->x, y->norm1_w, y->norm1_b, T, C,
                       b->base.network->shape.eps, type);
}

/* x <- norm(down(gelu(z) gate) + x), some rows at a time. */
static void feed_forward(const struct bert_packed *b, size_t l, const struct scratch *to, size_t T)
{
    const struct dnas_bert_layer *y = &b->w.layers[l];
    const struct dnas_cuda_api *api = b->base.gpu->api;
    struct dnas_cuda *d = b->base.gpu->device;
    size_t C = b->base.network->shape.C, F = b->base.network->shape.F;
    enum dnas_cuda_type type = b->base.type;

    for (size_t from = 0; from < T; from += FEED_ROWS) {
        size_t n = T - from < FEED_ROWS ? T - from : FEED_ROWS;
        char *x = to->x + from * C * type_size(type);

        api->linear_geglu_fwd(d, to->gated, to->wide, x, y->gated_w, n, F, C, type);
        api->linear_fwd(d, x, to->gated, y->down_w, y->down_b, x, n, C, F, type);
    }
    api->layernorm_fwd(d, to->x, NULL, NULL, to->x, y->norm2_w, y->norm2_b, T, C,
                       b->base.network->shape.eps, type);
}

static const void *forward(const struct dnas_packed *p, void *memory, const uint16_t *ids,
                           struct dnas_cuda_pack *pack, size_t T)
{
    const struct bert_packed *b = view_of(p);
    const struct dnas_shape *s = &p->network->shape;
    const struct scratch to = lay_out(p, memory, T);

    p->gpu->api->embedding_fwd(p->gpu->device, to.x, ids, b->w.words, b->w.types, b->w.norm_w,
                               b->w.norm_b, T, s->C, s->eps, p->type);
    for (size_t l = 0; l < s->L; l++) {
        attend(b, l, &to, pack, T);
        feed_forward(b, l, &to, T);
    }
    return to.x;
}

const struct dnas_packed_backbone dnas_bert_packed = {
    .check = check,
    .create = create,
    .release = release,
    .scratch = scratch,
    .pack_new = pack_new,
    .forward = forward,
};
