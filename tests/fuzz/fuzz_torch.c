/* SPDX-License-Identifier: MIT
 *
 * fuzz_torch.c - torch.save's zip archives with the pickle in them.
 */
#include "common/weights_impl.h"
#include "tests/fuzz/fuzz_weights.h"
#include "tests/unit/weights_files.h"

int fuzz_try(const uint8_t *data, size_t n)
{
    return fuzz_weights(data, n);
}

uint8_t *fuzz_seed(size_t i, size_t *n)
{
    struct buf b, pickle;

    if (i > 2)
        return NULL;
    pickle = i == 2 ? make_whole_checkpoint_pickle() : make_pickle(good_views, N_GOOD);
    b = make_torch_from(&pickle, i != 1);
    free(pickle.p);
    *n = b.n;
    return b.p;
}

static size_t find(const uint8_t *data, size_t at, size_t n, const char *signature)
{
    while (at + 4 <= n && memcmp(data + at, signature, 4) != 0)
        at++;
    return at + 4 <= n ? at : n;
}

static void store(uint8_t *data, size_t at, uint64_t x, int n_bytes)
{
    for (int i = 0; i < n_bytes; i++)
        data[at + (size_t)i] = (uint8_t)(x >> (8 * i));
}

/* A member's place and size, in the central directory's entry at c. */
static void mend_entry(uint8_t *data, size_t n, size_t c, size_t local, size_t next)
{
    uint64_t before, size;
    size_t extra;

    if (c + 46 > n || local + 30 > n)
        return;
    before = 30 + weights_get(data + local + 26, 2) + weights_get(data + local + 28, 2);
    size = next - local > before ? next - local - before : 0;
    extra = c + 46 + (size_t)weights_get(data + c + 28, 2);
    if (weights_get(data + c + 42, 4) != 0xffffffff) {
        store(data, c + 42, local, 4);
        store(data, c + 20, size, 4);
        store(data, c + 24, size, 4);
        if (weights_get(data + local + 18, 4) != 0)
            store(data, local + 18, size | size << 32, 8);
    } else if (extra + 28 <= n) {
        store(data, extra + 4, size, 8);
        store(data, extra + 12, size, 8);
        store(data, extra + 20, local, 8);
    }
}

/* Offsets and sizes, from where the signatures are. */
size_t fuzz_mend(uint8_t *data, size_t n, size_t max)
{
    size_t directory = find(data, 0, n, "PK\1\2"), end = find(data, directory, n, "PK\5\6");
    size_t end64 = find(data, directory, end, "PK\6\6"), local = find(data, 0, n, "PK\3\4");

    (void)max;
    for (size_t c = directory; c < end && local < directory; c = find(data, c + 4, end, "PK\1\2")) {
        size_t next = find(data, local + 4, directory, "PK\3\4");

        mend_entry(data, n, c, local, next);
        local = next;
    }
    if (end64 + 56 <= end) {
        store(data, end64 + 40, end64 - directory, 8);
        store(data, end64 + 48, directory, 8);
        if (end64 + 76 <= end)
            store(data, end64 + 64, end64, 8);
    } else if (end + 22 <= n) {
        store(data, end + 12, end - directory, 4);
        store(data, end + 16, directory, 4);
    }
    return n;
}
