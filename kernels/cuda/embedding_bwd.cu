/* SPDX-License-Identifier: MIT
 *
 * embedding_bwd.cu - tokens' embeddings without a norm, and their backward.
 * Contract: kernels/cuda.h.
 *
 * Backward, the keys (word, place) are sorted by a bitonic network (Batcher 1968): all are
 * different, so they come out in one way only, and the places of a word stand together in
 * their order.  The sorted places are cut into stretches, a block each, which adds a word
 * that lies within it to its row and keeps the sums of the words at its ends, which may go
 * on in the stretches beside it; another kernel joins those.  The work does not depend
 * on how the words are spread, nor on V.
 */
#include "kernels/cuda/columns.cuh"

#define TILE 2048   /* keys that a block sorts in shared memory */
#define STRETCH 64  /* places that a block sums */
#define COLUMNS 256 /* that it sums at a time: 8 a lane */
#define THREADS 256

typedef unsigned long long key64; /* word 2^48 + place; all ones past the last */

DEVICE unsigned word_of(key64 key)
{
    return (unsigned)(key >> 48);
}
DEVICE size_t place_of(key64 key)
{
    return (size_t)(key & 0xFFFFFFFFFFFFull);
}

template <class E>
__global__ static void __launch_bounds__(THREADS)
    embedding_rows_kernel(E *out, const uint16_t *ids, const float *words, const float *shift,
                          size_t T, unsigned C)
{
    for (size_t t = (size_t)block_index() * (THREADS / 32) + warp_index(); t < T;
         t += (size_t)n_blocks() * (THREADS / 32))
        for (unsigned i = 8 * lane_index(); i < C; i += 256) {
            float v[8], s[8];

            load8(v, words + (size_t)ids[t] * C + i);
            load8(s, shift + i);
#pragma unroll
            for (int j = 0; j < 8; j++)
                v[j] += s[j];
            store8(out + t * C + i, v);
        }
}

void dnas_cuda_embedding_rows(struct dnas_cuda *d, void *out, const uint16_t *ids,
                              const float *words, const float *shift, size_t T, size_t C,
                              enum dnas_cuda_type type)
{
    size_t blocks = dnas_cuda_grid(T, THREADS / 32);

    if (!dnas_cuda_enter(d) || T == 0 || C == 0)
        return;
    if (C % 8 != 0)
        CUDA_FAIL(d, "rows of %zu: not a multiple of 8", C);
    else if (type == DNAS_CUDA_BF16)
        LAUNCH(d, (embedding_rows_kernel<bf16>), blocks, THREADS, 0, (bf16 *)out, ids, words, shift,
               T, (unsigned)C);
    else
        LAUNCH(d, (embedding_rows_kernel<float>), blocks, THREADS, 0, (float *)out, ids, words,
               shift, T, (unsigned)C);
}

/* ---- the order of places by word ---- */

__global__ static void __launch_bounds__(THREADS)
    keys_kernel(key64 *key, const uint16_t *ids, size_t T, size_t n)
{
    for (size_t i = (size_t)block_index() * THREADS + thread_index(); i < n;
         i += (size_t)n_blocks() * THREADS)
        key[i] = i < T ? (key64)ids[i] << 48 | i : ~0ull;
}

DEVICE void exchange(key64 *a, key64 *b, bool falling)
{
    key64 x = *a, y = *b;

    if ((x > y) != falling) {
        *a = y;
        *b = x;
    }
}

/* Runs of `run` keys are sorted, rising and falling in turn; one step of making runs twice as
 * long.  A thread a pair. */
__global__ static void __launch_bounds__(THREADS)
    sort_step_kernel(key64 *key, size_t n, size_t run, size_t apart)
{
    for (size_t i = (size_t)block_index() * THREADS + thread_index(); i < n / 2;
         i += (size_t)n_blocks() * THREADS) {
        size_t at = i / apart * 2 * apart + i % apart;

        exchange(key + at, key + at + apart, at & 2 * run);
    }
}

/* The steps from `apart` tile / 2 on in shared memory, a tile a block; from runs of `run` (1 or
 * tile / 2 and more) to runs of at least a tile. */
__global__ static void __launch_bounds__(THREADS)
    sort_tile_kernel(key64 *key, size_t run, unsigned tile)
{
    key64 *mine = (key64 *)shared_memory();
    size_t from = (size_t)block_index() * tile;

    for (unsigned i = thread_index(); i < tile; i += THREADS)
        mine[i] = key[from + i];
    for (;; run *= 2) {
        for (unsigned apart = run < tile / 2 ? (unsigned)run : tile / 2; apart > 0; apart /= 2) {
            block_barrier();
            for (unsigned i = thread_index(); i < tile / 2; i += THREADS) {
                unsigned at = i / apart * 2 * apart + i % apart;

                exchange(mine + at, mine + at + apart, (from + at) & 2 * run);
            }
        }
        if (2 * run >= tile)
            break;
    }
    block_barrier();
    for (unsigned i = thread_index(); i < tile; i += THREADS)
        key[from + i] = mine[i];
}

/* n is a power of two. */
static void sort(struct dnas_cuda *d, key64 *key, size_t n)
{
    size_t tile = n < TILE ? n : TILE, shared = tile * sizeof(*key);

    LAUNCH(d, sort_tile_kernel, n / tile, THREADS, shared, key, (size_t)1, (unsigned)tile);
    for (size_t run = tile; run < n; run *= 2) {
        for (size_t apart = run; apart > tile / 2; apart /= 2)
            LAUNCH(d, sort_step_kernel, dnas_cuda_grid(n / 2, THREADS), THREADS, 0, key, n, run,
                   apart);
        LAUNCH(d, sort_tile_kernel, n / tile, THREADS, shared, key, run, (unsigned)tile);
    }
}

/* ---- sums by word ---- */

/* Where a stretch ends: the sums of its first and last words, when they may go on beyond it. */
struct ends {
    float *first, *last; /* [stretches,C] */
};

DEVICE void add_row(float *to, const float sum[8])
{
    float v[8];

    load8(v, to);
#pragma unroll
    for (int j = 0; j < 8; j++)
        v[j] += sum[j];
    store8(to, v);
}

/* A warp sums 256 columns of a stretch, place by place. */
template <class E>
__global__ static void __launch_bounds__(32)
    stretch_kernel(float *dwords, struct ends ends, const E *dout, const key64 *key, size_t T,
                   unsigned C, unsigned least_word)
{
    unsigned pieces = (C + COLUMNS - 1) / COLUMNS;
    size_t k = block_index() / pieces, from = k * STRETCH;
    size_t end = from + STRETCH < T ? from + STRETCH : T;
    unsigned i = block_index() % pieces * COLUMNS + 8 * lane_index();
    unsigned before = k > 0 ? word_of(key[from - 1]) : 65536;
    unsigned after = end < T ? word_of(key[end]) : 65536;
    float sum[8] = {0, 0, 0, 0, 0, 0, 0, 0};

    if (i >= C)
        return;
    for (size_t p = from; p < end; p++) {
        unsigned word = word_of(key[p]), next = p + 1 < end ? word_of(key[p + 1]) : 65537;
        float v[8];

        load8(v, dout + place_of(key[p]) * C + i);
#pragma unroll
        for (int j = 0; j < 8; j++)
            sum[j] += v[j];
        if (next == word)
            continue;
        if (word == before && word_of(key[from]) == word)
            store8(ends.first + k * C + i, sum);
        else if (word == after && p + 1 == end)
            store8(ends.last + k * C + i, sum);
        else if (word >= least_word)
            add_row(dwords + (size_t)word * C + i, sum);
#pragma unroll
        for (int j = 0; j < 8; j++)
            sum[j] = 0;
    }
}

/* For the stretch in which a word begins that goes on beyond it: that word's sums, in order. */
__global__ static void __launch_bounds__(32)
    join_kernel(float *dwords, struct ends ends, const key64 *key, size_t T, unsigned C,
                unsigned least_word)
{
    unsigned pieces = (C + COLUMNS - 1) / COLUMNS;
    size_t k = block_index() / pieces, from = k * STRETCH, end = from + STRETCH;
    unsigned i = block_index() % pieces * COLUMNS + 8 * lane_index(), word;
    float sum[8];

    if (i >= C || end >= T)
        return;
    word = word_of(key[end]);
    if (word_of(key[end - 1]) != word || word < least_word ||
        (k > 0 && word_of(key[from - 1]) == word && word_of(key[from]) == word))
        return;
    load8(sum, ends.last + k * C + i);
    for (k++; k * STRETCH < T && word_of(key[k * STRETCH]) == word; k++) {
        float v[8];

        load8(v, ends.first + k * C + i);
#pragma unroll
        for (int j = 0; j < 8; j++)
            sum[j] += v[j];
    }
    add_row(dwords + (size_t)word * C + i, sum);
}

/* Keys are sorted in a power of two. */
static size_t n_keys(size_t T)
{
    size_t n = 64;

    while (n < T)
        n *= 2;
    return n;
}

size_t dnas_cuda_embedding_bwd_scratch(size_t T, size_t C)
{
    return n_keys(T) * sizeof(key64) + 2 * ((T + STRETCH - 1) / STRETCH) * C * sizeof(float);
}

static void by_word(struct dnas_cuda *d, float *dwords, const void *dout, const uint16_t *ids,
                    size_t T, size_t C, int freeze_first, enum dnas_cuda_type type)
{
    size_t n = n_keys(T), n_stretches = (T + STRETCH - 1) / STRETCH;
    size_t blocks = n_stretches * ((C + COLUMNS - 1) / COLUMNS);
    unsigned least = freeze_first ? 1 : 0;
    struct ends ends;
    key64 *key;

    key = (key64 *)dnas_cuda_scratch(d, dnas_cuda_embedding_bwd_scratch(T, C));
    if (!key)
        return;
    ends.first = (float *)(key + n);
    ends.last = ends.first + n_stretches * C;
    LAUNCH(d, keys_kernel, dnas_cuda_grid(n, THREADS), THREADS, 0, key, ids, T, n);
    sort(d, key, n);
    if (type == DNAS_CUDA_BF16)
        LAUNCH(d, (stretch_kernel<bf16>), blocks, 32, 0, dwords, ends, (const bf16 *)dout,
               (const key64 *)key, T, (unsigned)C, least);
    else
        LAUNCH(d, (stretch_kernel<float>), blocks, 32, 0, dwords, ends, (const float *)dout,
               (const key64 *)key, T, (unsigned)C, least);
    LAUNCH(d, join_kernel, blocks, 32, 0, dwords, ends, (const key64 *)key, T, (unsigned)C, least);
}

void dnas_cuda_embedding_bwd(struct dnas_cuda *d, float *dwords, float *dshift, const void *dout,
                             const uint16_t *ids, size_t T, size_t V, size_t C, int freeze_first,
                             enum dnas_cuda_type type)
{
    (void)V;
    if (!dnas_cuda_enter(d) || T == 0 || C == 0)
        return;
    if (C % 8 != 0) {
        CUDA_FAIL(d, "rows of %zu: not a multiple of 8", C);
        return;
    }
    by_word(d, dwords, dout, ids, T, C, freeze_first, type);
    if (d->error[0] == '\0')
        dnas_cuda_columns_sum(d, dshift, dout, T, C, type);
}
