/* SPDX-License-Identifier: MIT
 *
 * random_bert.h - a model of DNABERT-2's kind with random weights, in a folder, for benchmarks.
 */
#ifndef DNAS_BENCH_RANDOM_BERT_H
#define DNAS_BENCH_RANDOM_BERT_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/bert_layout.h"
#include "common/err.h"
#include "common/rng.h"
#include "common/weights.h"
#include "common/xmem.h"

/* DNABERT-2's, 117 M parameters: L, C, H, F, V. */
#define RANDOM_BERT_SHAPE ((struct dnas_shape){12, 768, 12, 3072, 4096, 0, 0})

/* A tensor of normal numbers: layer norms near 1 and 0, all else of deviation 0.02. */
static inline void random_bert_tensor(struct dnas_tensor *out, const struct dnas_layout_tensor *t,
                                      uint32_t number)
{
    const char *dot = strrchr(t->name, '.');
    int is_one = t->role == DNAS_ROLE_NORM && strcmp(dot, ".weight") == 0;
    float *x = dnas_xalloc(t->n, sizeof(*x));
    struct dnas_rng rng;

    dnas_rng_init(&rng, 1, DNAS_RNG_BENCH, number, 0);
    for (size_t i = 0; i < t->n; i++)
        x[i] = is_one ? 1 : (float)(0.02 * dnas_rng_normal(&rng));
    *out = (struct dnas_tensor){.name = dnas_xstrdup(t->name),
                                .dtype = DNAS_DTYPE_F32,
                                .n_dims = t->n_dims,
                                .n_elements = t->n,
                                .size_bytes = t->n * sizeof(*x),
                                .data = x};
    for (int d = 0; d < t->n_dims; d++)
        out->shape[d] = t->shape[d];
}

/* Writes config.json and model.safetensors into the folder; ends the program where it cannot.
 * qk_spread: deviation of the weights that make queries and keys; 0: as the others'.  With x of
 * unit variance q.k has the deviation qk_spread^2 sqrt(C / H) C. */
static inline void random_bert_write(const char *folder, const struct dnas_shape *s,
                                     double qk_spread)
{
    size_t n = dnas_bert_n_tensors(s);
    struct dnas_tensor *tensors = dnas_xzalloc(n, sizeof(*tensors));
    char *path = dnas_xasprintf("%s/model.safetensors", folder);
    struct dnas_err err = {""};
    FILE *f;

    for (size_t i = 0; i < n; i++) {
        struct dnas_layout_tensor t;

        dnas_bert_get_tensor(&t, s, NULL, i);
        random_bert_tensor(&tensors[i], &t, (uint32_t)i);
        if (qk_spread > 0 && strstr(t.name, "Wqkv.weight"))
            for (size_t k = 0; k < 2 * s->C * s->C; k++)
                ((float *)tensors[i].data)[k] *= (float)(qk_spread / 0.02);
    }
    if (dnas_safetensors_write(path, tensors, n, NULL, 0, &err) != 0) {
        fprintf(stderr, "%s\n", err.msg);
        exit(1);
    }
    for (size_t i = 0; i < n; i++) {
        free((char *)tensors[i].name);
        free((void *)tensors[i].data);
    }
    free(tensors);
    free(path);
    path = dnas_xasprintf("%s/config.json", folder);
    f = fopen(path, "w");
    if (!f ||
        fprintf(f,
                "{\"model_type\": \"bert\", \"num_hidden_layers\": %zu, \"hidden_size\": %zu, "
                "\"num_attention_heads\": %zu, \"intermediate_size\": %zu, \"vocab_size\": %zu}",
                s->L, s->C, s->H, s->F, s->V) < 0 ||
        fclose(f) != 0) {
        perror(path);
        exit(1);
    }
    free(path);
}

/* The same in a new folder of TMPDIR, whose name is returned. */
static inline char *random_bert_new(const struct dnas_shape *s, double qk_spread)
{
    const char *tmp = getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp";
    char *folder = dnas_xasprintf("%s/random_bert.XXXXXX", tmp);

    if (!mkdtemp(folder)) {
        perror(folder);
        exit(1);
    }
    random_bert_write(folder, s, qk_spread);
    return folder;
}

/* Frees the name, too. */
static inline void random_bert_remove(char *folder)
{
    static const char *const files[] = {"model.safetensors", "config.json"};

    for (int i = 0; i < 2; i++) {
        char *path = dnas_xasprintf("%s/%s", folder, files[i]);

        unlink(path);
        free(path);
    }
    rmdir(folder);
    free(folder);
}

#endif
