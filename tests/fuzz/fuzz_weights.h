/* SPDX-License-Identifier: MIT
 *
 * fuzz_weights.h - what fuzz_safetensors.c and fuzz_torch.c share.
 */
#ifndef DNAS_FUZZ_WEIGHTS_H
#define DNAS_FUZZ_WEIGHTS_H

#include "common/weights.h"
#include "common/xmem.h"
#include "tests/fuzz/fuzz.h"

/* Opens the bytes and reads all that is in them. */
static inline int fuzz_weights(const uint8_t *data, size_t n)
{
    struct dnas_err err = {""};
    struct dnas_weights *w = dnas_weights_open_mem(data, n, &err);
    char hash[DNAS_WEIGHTS_HASH_SIZE];
    const char **names;

    if (!w)
        return fuzz_refused(&err);
    names = dnas_xalloc(dnas_weights_n(w), sizeof(*names));
    for (size_t i = 0; i < dnas_weights_n(w); i++) {
        const struct dnas_tensor *t = dnas_weights_tensor(w, i);

        names[i] = t->name;
        if (dnas_weights_find(w, "", t->name) != t)
            DNAS_BUG("tensor '%s' is not found", t->name);
        if (dnas_tensor_check_finite(w, t, &err) != 0 || !dnas_tensor_f32(w, t, &err))
            fuzz_refused(&err);
    }
    if (dnas_weights_hash(w, hash, "", names, dnas_weights_n(w), &err) != 0)
        fuzz_refused(&err);
    free(dnas_weights_prefix(w, "weight", &err));
    dnas_weights_metadata(w, "format");
    free(names);
    dnas_weights_close(w);
    return 1;
}

#endif
