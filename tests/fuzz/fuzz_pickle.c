/* SPDX-License-Identifier: MIT
 *
 * fuzz_pickle.c - the pickle of torch.save by itself, without its zip.
 */
#include "common/weights_impl.h"
#include "tests/fuzz/fuzz.h"
#include "tests/unit/weights_files.h"

int fuzz_try(const uint8_t *data, size_t n)
{
    struct dnas_err err = {""};
    struct torch_tensor *t;
    size_t n_tensors;

    if (torch_unpickle(&t, &n_tensors, data, n, &err) != 0)
        return fuzz_refused(&err);
    for (size_t i = 0; i < n_tensors; i++)
        if (t[i].n_dims < 0 || t[i].n_dims > DNAS_TENSOR_DIMS_MAX || t[i].name_len > n ||
            t[i].key_len > n || (uintptr_t)t[i].name < (uintptr_t)data ||
            (uintptr_t)t[i].name + t[i].name_len > (uintptr_t)data + n)
            DNAS_BUG("tensor %zu lies outside the pickle", i);
    free(t);
    return 1;
}

/* As torch.save writes it, the checkpoint of a run, and the opcodes of protocol 4. */
uint8_t *fuzz_seed(size_t i, size_t *n)
{
    struct buf b = {0};

    if (i > 3)
        return NULL;
    if (i < 2) {
        b = make_pickle(good_views, i ? 1 : N_GOOD);
    } else if (i == 2) {
        b = make_whole_checkpoint_pickle();
    } else {
        put(&b, protocol_4, sizeof(protocol_4) - 1);
    }
    *n = b.n;
    return b.p;
}

size_t fuzz_mend(uint8_t *data, size_t n, size_t max)
{
    (void)data;
    (void)max;
    return n; /* nothing in a pickle is counted or hashed */
}
