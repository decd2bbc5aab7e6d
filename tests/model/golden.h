/* SPDX-License-Identifier: MIT
 *
 * golden.h - a network's folder under tests/data/golden: its numbers, its model as
 * it is and with changed tensors or configs.
 *
 * A test defines GOLDEN, the folder, before it includes this.
 */
#ifndef DNAS_TEST_GOLDEN_H
#define DNAS_TEST_GOLDEN_H

#include <unistd.h>

#include "common/io.h"
#include "common/network.h"
#include "common/weights.h"
#include "common/xmem.h"
#include "tests/unit/check.h"
#include "tests/unit/files.h"
#include "tests/unit/npz.h"

/* ---- numbers ---- */

/* |a - b| / |b| of whole vectors; 0/0 is 0. */
static inline double relative_error(const double *a, const double *b, size_t n)
{
    double diff = 0, size = 0;

    for (size_t i = 0; i < n; i++) {
        diff += (a[i] - b[i]) * (a[i] - b[i]);
        size += b[i] * b[i];
    }
    return diff == 0 ? 0 : sqrt(diff / size);
}

static inline double relative_error_f32(const float *a, const float *b, size_t n)
{
    double diff = 0, size = 0;

    for (size_t i = 0; i < n; i++) {
        diff += ((double)a[i] - (double)b[i]) * ((double)a[i] - (double)b[i]);
        size += (double)b[i] * (double)b[i];
    }
    return diff == 0 ? 0 : sqrt(diff / size);
}

/* forward.npz: rows of tokens and what comes of them. */
struct golden {
    struct dnas_npy ids, lengths;
    struct dnas_npy hidden;    /* f32, the rows behind each other; of the last ones none */
    struct dnas_npy embedding; /* f64 [rows,C] */
};

/* hidden: the name that the states have in the file. */
static inline void golden_load(struct golden *g, const char *hidden)
{
    g->ids = npz_read(GOLDEN "/forward.npz", "input_ids", DNAS_NPY_AS_I64);
    g->lengths = npz_read(GOLDEN "/forward.npz", "lengths", DNAS_NPY_AS_I64);
    g->hidden = npz_read(GOLDEN "/forward.npz", hidden, DNAS_NPY_AS_F32);
    g->embedding = npz_read(GOLDEN "/forward.npz", "embedding_f64", DNAS_NPY_AS_F64);
}

static inline void golden_release(struct golden *g)
{
    dnas_npy_release(&g->ids);
    dnas_npy_release(&g->lengths);
    dnas_npy_release(&g->hidden);
    dnas_npy_release(&g->embedding);
}

/* The ids of a row, of which there are as many as this returns.  Rows are padded to one length,
 * or stand behind each other. */
static inline size_t golden_ids(uint16_t *ids, const struct golden *g, size_t row)
{
    size_t T = (size_t)g->lengths.i64[row], at = 0;

    if (g->ids.n_dims == 2)
        at = row * g->ids.shape[1];
    for (size_t i = 0; g->ids.n_dims == 1 && i < row; i++)
        at += (size_t)g->lengths.i64[i];
    for (size_t t = 0; t < T; t++)
        ids[t] = (uint16_t)g->ids.i64[at + t];
    return T;
}

/* ---- models ---- */

static inline struct dnas_network *golden_open(enum dnas_precision precision)
{
    struct dnas_err err = {""};
    struct dnas_network *n = dnas_network_open(GOLDEN, precision, &err);

    if (!n) {
        printf("Bail out! %s\n", err.msg);
        exit(99);
    }
    return n;
}

/* Free it. */
static inline char *golden_config(void)
{
    struct dnas_err err;
    size_t n;

    return dnas_read_file(GOLDEN "/config.json", 1 << 20, &n, &err);
}

/* What changes a list of n tensors, which has room for one more; names are on the heap, and those
 * it moves behind the end are freed, too. */
typedef void golden_change(struct dnas_tensor *t, size_t *n);

/* Writes golden's tensors, changed, as one file with its config (NULL: none) in the metadata, and
 * opens it.  prefix goes before the names. */
static inline struct dnas_network *golden_open_changed(golden_change *change, const char *prefix,
                                                       const char *config, struct dnas_err *err)
{
    struct dnas_weights *w = dnas_weights_open(GOLDEN, err);
    const struct dnas_metadata metadata = {"config", config};
    size_t n = dnas_weights_n(w);
    struct dnas_tensor *t = dnas_xzalloc(n + 1, sizeof(*t));
    const char *path = file_path("changed.safetensors");
    struct dnas_network *b;

    for (size_t i = 0; i < n; i++) {
        t[i] = *dnas_weights_tensor(w, i);
        t[i].name = dnas_xasprintf("%s%s", prefix, t[i].name);
    }
    if (change)
        change(t, &n);
    CHECK_INT(dnas_safetensors_write(path, t, n, &metadata, config ? 1 : 0, err), 0);
    b = dnas_network_open(path, DNAS_PRECISION_F32, err);
    unlink(path);
    for (size_t i = 0; i < dnas_weights_n(w); i++)
        free((char *)t[i].name);
    free(t);
    dnas_weights_close(w);
    return b;
}

/* So changed, and with this config (NULL: its own), it is refused by a sentence with these words.
 */
static inline void golden_refused(golden_change *change, const char *config, const char *words)
{
    struct dnas_err err = {""};
    char *own = golden_config();
    struct dnas_network *n = golden_open_changed(change, "", config ? config : own, &err);

    CHECK(n == NULL);
    if (!strstr(err.msg, words))
        CHECK_FAIL("'%s' where '%s' was due", err.msg, words);
    dnas_network_close(n);
    free(own);
}

/* Moves tensors with this in their names behind the end. */
static inline void golden_leave_out(struct dnas_tensor *t, size_t *n, const char *part)
{
    for (size_t i = *n; i-- > 0;)
        if (strstr(t[i].name, part)) {
            struct dnas_tensor gone = t[i];

            t[i] = t[--*n];
            t[*n] = gone;
        }
}

/* ---- what holds for each ---- */

/* Neither what ran before nor room left over shows in the result, nor what a network has kept. */
static inline void golden_same_bytes_in_any_order(const char *hidden)
{
    struct dnas_network *n = golden_open(DNAS_PRECISION_F32);
    struct dnas_network_run *run = dnas_network_run_new(n);
    struct golden g;

    golden_load(&g, hidden);
    for (size_t row = g.lengths.n; row-- > 0;) {
        struct dnas_network *other = golden_open(DNAS_PRECISION_F32);
        struct dnas_network_run *alone = dnas_network_run_new(other);
        uint16_t ids[4096];
        size_t T = golden_ids(ids, &g, row);
        const float *x = dnas_network_forward(run, ids, T, 1);
        const float *y = dnas_network_forward(alone, ids, T, 1);

        CHECK(memcmp(x, y, T * n->shape.C * sizeof(*x)) == 0);
        dnas_network_run_free(alone);
        dnas_network_close(other);
    }
    CHECK(dnas_network_forward(run, NULL, 0, 1) != NULL);
    golden_release(&g);
    dnas_network_run_free(run);
    dnas_network_close(n);
}

#endif
