/* SPDX-License-Identifier: MIT
 *
 * kmer_profile.c - canonical k-mers' frequencies.  Contract: kmer_profile.h.
 *
 * Each output has two places among the counts to add: of a k-mer and of its
 * reverse complement, or, for one that is its own, of itself and of a 0.
 */
#include "common/kmer_profile.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/xmem.h"

const char *const dnas_kmer_transforms[] = {"frequency", "sqrt", "cbrt", "log", NULL};

#define N_COUNTS_MAX ((size_t)1 << 2 * DNAS_KMER_K_MAX)

struct block {
    int k;
    enum dnas_kmer_transform transform;
    size_t dims;
    uint16_t *forward, *backward; /* [dims] places; 4^k holds a 0 */
};

struct dnas_kmer_profile {
    struct block blocks[DNAS_KMER_BLOCKS_MAX];
    int n_blocks;
    size_t dims;
};

static size_t n_kmers(int k)
{
    return (size_t)1 << 2 * k;
}

size_t dnas_kmer_n_canonical(int k)
{
    return k % 2 ? n_kmers(k) / 2 : (n_kmers(k) + n_kmers(k / 2)) / 2;
}

static size_t reverse_complement(size_t kmer, int k)
{
    size_t out = 0;

    for (int i = 0; i < k; i++, kmer >>= 2)
        out = out << 2 | (3 - (kmer & 3));
    return out;
}

static void make_block(struct block *b, const struct dnas_kmer_block *from)
{
    size_t n = 0;

    b->k = from->k;
    b->transform = from->transform;
    b->dims = dnas_kmer_n_canonical(b->k);
    b->forward = dnas_xalloc(b->dims, sizeof(*b->forward));
    b->backward = dnas_xalloc(b->dims, sizeof(*b->backward));
    for (size_t kmer = 0; kmer < n_kmers(b->k); kmer++) {
        size_t rc = reverse_complement(kmer, b->k);

        if (rc < kmer)
            continue;
        b->forward[n] = (uint16_t)kmer;
        b->backward[n++] = (uint16_t)(rc == kmer ? n_kmers(b->k) : rc);
    }
}

struct dnas_kmer_profile *dnas_kmer_profile_new(const struct dnas_kmer_block *blocks, int n,
                                                struct dnas_err *err)
{
    struct dnas_kmer_profile *p;

    if (n < 1 || n > DNAS_KMER_BLOCKS_MAX) {
        dnas_err_set(err, "a profile is of 1 to %d different k, not of %d", DNAS_KMER_BLOCKS_MAX,
                     n);
        return NULL;
    }
    for (int i = 0; i < n; i++) {
        if (blocks[i].k < DNAS_KMER_K_MIN || blocks[i].k > DNAS_KMER_K_MAX ||
            (i > 0 && blocks[i].k <= blocks[i - 1].k)) {
            dnas_err_set(err, "k of a profile must be from %d to %d and rise", DNAS_KMER_K_MIN,
                         DNAS_KMER_K_MAX);
            return NULL;
        }
    }
    p = dnas_xzalloc(1, sizeof(*p));
    for (int i = 0; i < n; i++) {
        make_block(&p->blocks[i], &blocks[i]);
        p->dims += p->blocks[i].dims;
    }
    p->n_blocks = n;
    return p;
}

void dnas_kmer_profile_free(struct dnas_kmer_profile *p)
{
    for (int i = 0; p && i < p->n_blocks; i++) {
        free(p->blocks[i].forward);
        free(p->blocks[i].backward);
    }
    free(p);
}

size_t dnas_kmer_profile_dims(const struct dnas_kmer_profile *p)
{
    return p->dims;
}

int dnas_kmer_profile_k(const struct dnas_kmer_profile *p)
{
    return p->blocks[p->n_blocks - 1].k;
}

size_t dnas_kmer_profile_n_counts(const struct dnas_kmer_profile *p)
{
    return n_kmers(dnas_kmer_profile_k(p));
}

/* counts u64 [4^k] to those of words of one letter less, in place: each k-mer's first k - 1
 * letters and its last. */
static void shorten(uint64_t *counts, int k)
{
    size_t n = n_kmers(k - 1);
    uint64_t last[N_COUNTS_MAX / 4];

    for (size_t i = 0; i < n; i++)
        last[i] = counts[i] + counts[n + i] + counts[2 * n + i] + counts[3 * n + i];
    for (size_t i = 0; i < n; i++)
        counts[i] =
            counts[4 * i] + counts[4 * i + 1] + counts[4 * i + 2] + counts[4 * i + 3] + last[i];
}

/* `total` may pass 2^53 only where counts do: no sequence is as long. */
static void transform(float *out, const struct block *b, const uint64_t *counts, uint64_t total)
{
    double per = 1 / (double)total, smoothed = (double)total + (double)b->dims;

    for (size_t i = 0; i < b->dims; i++)
        out[i] = (float)((double)(int64_t)(counts[b->forward[i]] + counts[b->backward[i]]) * per);
    switch (b->transform) {
    case DNAS_KMER_FREQUENCY:
        break;
    case DNAS_KMER_SQRT:
        for (size_t i = 0; i < b->dims; i++)
            out[i] = sqrtf(out[i]);
        break;
    case DNAS_KMER_CBRT:
        for (size_t i = 0; i < b->dims; i++)
            out[i] = cbrtf(out[i]);
        break;
    case DNAS_KMER_LOG:
        for (size_t i = 0; i < b->dims; i++)
            out[i] = (float)log(((double)out[i] * (double)total + 1) / smoothed);
        break;
    }
}

uint64_t dnas_kmer_profile_make(const struct dnas_kmer_profile *p, float *out,
                                const uint64_t *counts)
{
    int k = dnas_kmer_profile_k(p);
    uint64_t work[N_COUNTS_MAX + 1], n = 0;
    size_t at = p->dims;

    memcpy(work, counts, n_kmers(k) * sizeof(*work));
    for (size_t i = 0; i < n_kmers(k); i++)
        n += counts[i];
    if (n == 0) {
        memset(out, 0, p->dims * sizeof(*out));
        return 0;
    }
    for (int b = p->n_blocks - 1; b >= 0; b--) {
        const struct block *block = &p->blocks[b];
        uint64_t total = n << (dnas_kmer_profile_k(p) - block->k);

        for (; k > block->k; k--)
            shorten(work, k);
        work[n_kmers(k)] = 0;
        at -= block->dims;
        transform(out + at, block, work, total);
    }
    return n;
}
