/* SPDX-License-Identifier: MIT
 *
 * kmer_model.c - a k-mer profile through a map and layers.  Contract: kmer_model.h.
 *
 * The matrices are kept a second time turned and padded to whole vectors, as
 * dnas_cpu_dense_add wants them.
 */
#include "common/kmer_model.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "common/kmer_model_impl.h"
#include "common/xmem.h"
#include "kernels/kernels.h"

const char *const dnas_kmer_activations[] = {"linear", "relu",       "sigmoid", "tanh",
                                             "gelu",   "leaky_relu", NULL};

#define PAD 16 /* of dnas_cpu_dense_add */
/* Variances of embeddings are near 1; within these bounds plda.c does not overflow. */
#define NOISE_MIN 1e-6f
#define NOISE_MAX 1e6f

struct matrix {
    size_t I, O, padded; /* padded: O to whole vectors */
    float *turned;       /* [I,padded] */
};

struct dnas_kmer_model {
    struct dnas_kmer_parts parts; /* its arrays are ours */
    struct dnas_kmer_profile *profile;
    struct matrix map, layers[DNAS_KMER_LAYERS_MAX];
    char hash[33];
};

/* ---- making ---- */

static float *copy(const float *x, size_t rows, size_t columns)
{
    float *out = dnas_xalloc(rows, columns * sizeof(*out));

    memcpy(out, x, rows * columns * sizeof(*out));
    return out;
}

static void make_matrix(struct matrix *m, const float *weight, size_t O, size_t I)
{
    m->I = I;
    m->O = O;
    m->padded = (O + PAD - 1) / PAD * PAD;
    m->turned = dnas_xzalloc(I, m->padded * sizeof(*m->turned));
    for (size_t o = 0; o < O; o++)
        for (size_t i = 0; i < I; i++)
            m->turned[i * m->padded + o] = weight[o * I + i];
}

static void hash_floats(XXH3_state_t *state, const char *name, const float *x, size_t rows,
                        size_t columns)
{
    const uint64_t shape[2] = {rows, columns};

    XXH3_128bits_update(state, name, strlen(name) + 1);
    XXH3_128bits_update(state, shape, sizeof(shape));
    XXH3_128bits_update(state, x, rows * columns * sizeof(*x));
}

static void make_hash(struct dnas_kmer_model *m)
{
    const struct dnas_kmer_parts *p = &m->parts;
    XXH3_state_t *state = dnas_xhave(XXH3_createState(), "a hash");
    XXH128_canonical_t bytes;
    char *config = kmer_model_config(p);

    XXH3_128bits_reset(state);
    XXH3_128bits_update(state, config, strlen(config) + 1);
    hash_floats(state, "mean", p->mean, 1, m->map.I);
    hash_floats(state, "weight", p->weight, p->O, m->map.I);
    if (p->length)
        hash_floats(state, "length", p->length, 1, p->O);
    for (int l = 0; l < p->n_layers; l++) {
        hash_floats(state, "layer", p->layers[l].weight, p->layers[l].O, m->layers[l].I);
        hash_floats(state, "bias", p->layers[l].bias, 1, p->layers[l].O);
    }
    XXH128_canonicalFromHash(&bytes, XXH3_128bits_digest(state));
    for (size_t i = 0; i < sizeof(bytes.digest); i++) {
        m->hash[2 * i] = "0123456789abcdef"[bytes.digest[i] >> 4];
        m->hash[2 * i + 1] = "0123456789abcdef"[bytes.digest[i] & 15];
    }
    XXH3_freeState(state);
    free(config);
}

static bool all_finite(const float *x, size_t rows, size_t columns)
{
    for (size_t i = 0; i < rows * columns; i++)
        if (!isfinite(x[i]))
            return false;
    return true;
}

static bool is_width(size_t n)
{
    return n >= 1 && n <= DNAS_KMER_WIDTH_MAX;
}

static int check_noise(const struct dnas_kmer_parts *p, struct dnas_err *err)
{
    if (!p->between != !p->noise || !p->noise != !p->noise_kb)
        return dnas_err_set(err, "a noise model has three parts: between, noise, noise_kb");
    for (size_t i = 0; p->noise && i < p->O; i++)
        if (!(p->between[i] >= 0 && p->between[i] <= NOISE_MAX && p->noise[i] >= NOISE_MIN &&
              p->noise[i] <= NOISE_MAX && p->noise_kb[i] >= 0 && p->noise_kb[i] <= NOISE_MAX))
            return dnas_err_set(err, "number %zu of the noise model is no variance from %g to %g",
                                i, (double)NOISE_MIN, (double)NOISE_MAX);
    return 0;
}

static int check_parts(const struct dnas_kmer_parts *p, size_t I, struct dnas_err *err)
{
    size_t width = p->O;
    bool finite = is_width(p->O) && all_finite(p->mean, 1, I) && all_finite(p->weight, p->O, I);

    if (!is_width(p->O))
        return dnas_err_set(err, "a map has 1 to %d outputs, not %zu", DNAS_KMER_WIDTH_MAX, p->O);
    if (p->n_layers < 0 || p->n_layers > DNAS_KMER_LAYERS_MAX)
        return dnas_err_set(err, "a model has at most %d layers, not %d", DNAS_KMER_LAYERS_MAX,
                            p->n_layers);
    for (size_t i = 0; p->length && i < p->O; i++)
        if (!(p->length[i] >= 0 && isfinite(p->length[i])))
            return dnas_err_set(err, "number %zu of 'map.length' is negative or not finite", i);
    for (int l = 0; l < p->n_layers; width = p->layers[l++].O) {
        if (!is_width(p->layers[l].O))
            return dnas_err_set(err, "layer %d has %zu outputs; 1 to %d are allowed", l,
                                p->layers[l].O, DNAS_KMER_WIDTH_MAX);
        finite = finite && all_finite(p->layers[l].weight, p->layers[l].O, width) &&
                 all_finite(p->layers[l].bias, 1, p->layers[l].O);
    }
    if (p->residual && (p->n_layers == 0 || width != p->O))
        return dnas_err_set(err, "layers that are added to a map of %zu end in as many, not %zu",
                            p->O, p->n_layers == 0 ? 0 : width);
    if (!finite)
        return dnas_err_set(err, "a number of the model is not finite");
    return check_noise(p, err);
}

struct dnas_kmer_model *dnas_kmer_model_new(const struct dnas_kmer_parts *parts,
                                            struct dnas_err *err)
{
    struct dnas_kmer_profile *profile = dnas_kmer_profile_new(parts->blocks, parts->n_blocks, err);
    size_t I = profile ? dnas_kmer_profile_dims(profile) : 0, width = parts->O;
    struct dnas_kmer_model *m;

    if (!profile || check_parts(parts, I, err) != 0) {
        dnas_kmer_profile_free(profile);
        return NULL;
    }
    m = dnas_xzalloc(1, sizeof(*m));
    m->profile = profile;
    m->parts = *parts;
    m->parts.mean = copy(parts->mean, 1, I);
    m->parts.weight = copy(parts->weight, parts->O, I);
    m->parts.length = parts->length ? copy(parts->length, 1, parts->O) : NULL;
    m->parts.between = parts->between ? copy(parts->between, 1, parts->O) : NULL;
    m->parts.noise = parts->noise ? copy(parts->noise, 1, parts->O) : NULL;
    m->parts.noise_kb = parts->noise_kb ? copy(parts->noise_kb, 1, parts->O) : NULL;
    make_matrix(&m->map, parts->weight, parts->O, I);
    for (int l = 0; l < parts->n_layers; l++) {
        const struct dnas_kmer_layer *layer = &parts->layers[l];

        m->parts.layers[l].weight = copy(layer->weight, layer->O, width);
        m->parts.layers[l].bias = copy(layer->bias, 1, layer->O);
        make_matrix(&m->layers[l], layer->weight, layer->O, width);
        width = layer->O;
    }
    make_hash(m);
    return m;
}

void dnas_kmer_model_free(struct dnas_kmer_model *m)
{
    if (!m)
        return;
    dnas_kmer_profile_free(m->profile);
    free((float *)m->parts.mean);
    free((float *)m->parts.weight);
    free((float *)m->parts.length);
    free((float *)m->parts.between);
    free((float *)m->parts.noise);
    free((float *)m->parts.noise_kb);
    free(m->map.turned);
    for (int l = 0; l < m->parts.n_layers; l++) {
        free((float *)m->parts.layers[l].weight);
        free((float *)m->parts.layers[l].bias);
        free(m->layers[l].turned);
    }
    free(m);
}

const struct dnas_kmer_parts *dnas_kmer_model_parts(const struct dnas_kmer_model *m)
{
    return &m->parts;
}

const struct dnas_kmer_profile *dnas_kmer_model_profile(const struct dnas_kmer_model *m)
{
    return m->profile;
}

size_t dnas_kmer_model_dims(const struct dnas_kmer_model *m)
{
    return m->parts.n_layers ? m->parts.layers[m->parts.n_layers - 1].O : m->parts.O;
}

const char *dnas_kmer_model_hash(const struct dnas_kmer_model *m)
{
    return m->hash;
}

/* ---- embedding ---- */

static void activate(float *x, size_t n, enum dnas_kmer_activation a)
{
    switch (a) {
    case DNAS_KMER_LINEAR:
        break;
    case DNAS_KMER_RELU:
        for (size_t i = 0; i < n; i++)
            x[i] = x[i] > 0 ? x[i] : 0;
        break;
    case DNAS_KMER_SIGMOID:
        for (size_t i = 0; i < n; i++)
            x[i] = 1 / (1 + expf(-x[i]));
        break;
    case DNAS_KMER_TANH:
        for (size_t i = 0; i < n; i++)
            x[i] = tanhf(x[i]);
        break;
    case DNAS_KMER_GELU:
        for (size_t i = 0; i < n; i++)
            x[i] = x[i] / 2 * (1 + erff(x[i] * 0.707106781f));
        break;
    case DNAS_KMER_LEAKY_RELU:
        for (size_t i = 0; i < n; i++)
            x[i] = x[i] > 0 ? x[i] : 0.01f * x[i];
        break;
    }
}

static void make_unit(float *x, size_t n)
{
    double norm = 0;

    for (size_t i = 0; i < n; i++)
        norm += (double)x[i] * x[i];
    norm = sqrt(norm);
    for (size_t i = 0; norm > 0 && i < n; i++)
        x[i] = (float)(x[i] / norm);
}

void dnas_kmer_model_embed_profile(const struct dnas_kmer_model *m, float *out,
                                   const float *profile, uint64_t n)
{
    const struct dnas_kmer_parts *p = &m->parts;
    float centred[DNAS_KMER_DIMS_MAX], wide[3][DNAS_KMER_WIDTH_MAX];
    size_t C = dnas_kmer_model_dims(m);
    float *y = wide[2];

    if (n == 0) {
        memset(out, 0, C * sizeof(*out));
        return;
    }
    for (size_t i = 0; i < m->map.I; i++)
        centred[i] = profile[i] - p->mean[i];
    memset(y, 0, m->map.padded * sizeof(*y));
    dnas_cpu_dense_add(y, m->map.turned, centred, m->map.padded, m->map.I);
    for (size_t i = 0; p->length && i < p->O; i++)
        y[i] = (float)(y[i] / (1 + (double)p->length[i] / (double)n));
    for (int l = 0; l < p->n_layers; l++) {
        const struct matrix *w = &m->layers[l];
        float *next = wide[(l + 1) % 2];

        memset(next, 0, w->padded * sizeof(*next));
        memcpy(next, p->layers[l].bias, w->O * sizeof(*next));
        dnas_cpu_dense_add(next, w->turned, y, w->padded, w->I);
        activate(next, w->O, p->layers[l].activation);
        y = next;
    }
    memcpy(out, y, C * sizeof(*out));
    for (size_t i = 0; p->residual && i < C; i++)
        out[i] += wide[2][i];
    if (p->normalise)
        make_unit(out, C);
}

void dnas_kmer_model_embed(const struct dnas_kmer_model *m, float *out, const uint64_t *counts)
{
    float profile[DNAS_KMER_DIMS_MAX];
    uint64_t n = dnas_kmer_profile_make(m->profile, profile, counts);

    dnas_kmer_model_embed_profile(m, out, profile, n);
}
