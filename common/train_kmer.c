/* SPDX-License-Identifier: MIT
 *
 * train_kmer.c - windows or pairs to profiles to a map.  Contract: train_kmer.h.
 */
#include "common/train_kmer.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "common/kmer_windows.h"
#include "common/stream.h"
#include "common/threads.h"
#include "common/train_kmer_net.h"
#include "common/xmem.h"
#include "kernels/kernels.h"

/* Profiles made side by side; the data fixes which. */
#define BATCH 256

/* ---- the command line's texts ---- */

static int parse_ks(struct dnas_train_kmer *t, const char *text, struct dnas_err *err)
{
    t->n_blocks = 0;
    for (const char *at = text;; at++) {
        char *end;
        long k = strtol(at, &end, 10);

        if (end == at || (*end && *end != ',') || k < DNAS_KMER_K_MIN || k > DNAS_KMER_K_MAX ||
            t->n_blocks == DNAS_KMER_BLOCKS_MAX ||
            (t->n_blocks > 0 && k <= t->blocks[t->n_blocks - 1].k))
            return dnas_err_set(err, "-k takes rising numbers from %d to %d such as 4,5, not '%s'",
                                DNAS_KMER_K_MIN, DNAS_KMER_K_MAX, text);
        t->blocks[t->n_blocks++].k = (int)k;
        if (!*end)
            return 0;
        at = end;
    }
}

static int find_transform(const char *name, size_t n)
{
    for (int i = 0; i < DNAS_KMER_N_TRANSFORMS; i++)
        if (strlen(dnas_kmer_transforms[i]) == n && strncmp(name, dnas_kmer_transforms[i], n) == 0)
            return i;
    return -1;
}

static int parse_transforms(struct dnas_train_kmer *t, const char *text, struct dnas_err *err)
{
    int n = 0;

    for (const char *at = text;; at++) {
        size_t len = strcspn(at, ",");
        int which = find_transform(at, len);

        if (which < 0 || n == t->n_blocks)
            return dnas_err_set(err,
                                "--transform takes one of frequency, sqrt, cbrt, log, or one "
                                "for each k, not '%s'",
                                text);
        t->blocks[n++].transform = (enum dnas_kmer_transform)which;
        at += len;
        if (!*at)
            break;
    }
    if (n > 1 && n != t->n_blocks)
        return dnas_err_set(err, "--transform has %d names for %d k", n, t->n_blocks);
    for (; n < t->n_blocks; n++)
        t->blocks[n].transform = t->blocks[0].transform;
    return 0;
}

static int parse_length(struct dnas_train_kmer *t, const char *text, struct dnas_err *err)
{
    char *end;
    unsigned long long lo, hi;

    errno = 0;
    hi = lo = strtoull(text, &end, 10);
    if (end != text && *end == '-') {
        const char *second = end + 1;

        hi = strtoull(second, &end, 10);
        end = end == second ? (char *)text : end;
    }
    if (end == text || *end || errno || *text == '-' || lo < 100 || hi < lo || hi > 100000000)
        return dnas_err_set(err, "--length takes BP or LO-HI, from 100 to 100000000, not '%s'",
                            text);
    t->min_bp = lo;
    t->max_bp = hi;
    return 0;
}

int dnas_train_kmer_parse(struct dnas_train_kmer *t, const char *k, const char *transform,
                          const char *length, struct dnas_err *err)
{
    return parse_ks(t, k, err) != 0 || parse_transforms(t, transform, err) != 0 ||
                   parse_length(t, length, err) != 0
               ? -1
               : 0;
}

/* ---- profiles ---- */

struct job {
    const struct dnas_train_kmer *t;
    struct dnas_kmer_profile *profile;
    struct dnas_kmer_fit *fit;
    struct dnas_kmer_kept kept; /* where a network will learn from them */
    size_t I;
    /* A batch: texts and what becomes of them. */
    const char *letters[BATCH];
    size_t lengths[BATCH];
    uint64_t n_kmers[BATCH];
    float *x;         /* [BATCH,I] */
    uint64_t *counts; /* [n_threads,n_counts] */
    uint32_t classes[BATCH], groups[BATCH], length_bp[BATCH];
};

static void profile_one(void *ctx, size_t i, int worker)
{
    struct job *j = ctx;
    size_t n_counts = dnas_kmer_profile_n_counts(j->profile);
    uint64_t *counts = j->counts + (size_t)worker * n_counts;

    memset(counts, 0, n_counts * sizeof(*counts));
    dnas_cpu_kmer_count(counts, j->letters[i], j->lengths[i], dnas_kmer_profile_k(j->profile));
    j->n_kmers[i] = dnas_kmer_profile_make(j->profile, j->x + i * j->I, counts);
}

/* The first n rows of the batch, for a network. */
static void keep(struct job *j, const uint32_t *length_bp, size_t n)
{
    if (j->t->hidden > 0)
        dnas_kmer_kept_add(&j->kept, j->x, j->classes, j->groups, length_bp, j->n_kmers, n);
}

static int take_windows(void *ctx, const char *const *letters, const size_t *lengths, size_t n,
                        uint32_t species, uint32_t genus, struct dnas_err *err)
{
    struct job *j = ctx;

    (void)err;
    for (size_t first = 0; first < n; first += BATCH) {
        size_t n_here = n - first < BATCH ? n - first : BATCH, n_good = 0;

        memcpy(j->letters, letters + first, n_here * sizeof(*letters));
        memcpy(j->lengths, lengths + first, n_here * sizeof(*lengths));
        dnas_parallel_for(n_here, j->t->n_threads, profile_one, j);
        for (size_t i = 0; i < n_here; i++) {
            if (j->n_kmers[i] == 0) /* a gap in the genome */
                continue;
            memmove(j->x + n_good * j->I, j->x + i * j->I, j->I * sizeof(*j->x));
            j->n_kmers[n_good] = j->n_kmers[i];
            j->length_bp[n_good] = (uint32_t)j->lengths[i]; /* at most --length's 100000000 */
            j->classes[n_good] = species;
            j->groups[n_good++] = genus;
        }
        dnas_kmer_fit_add(j->fit, j->x, j->classes, j->groups, j->length_bp, n_good);
        keep(j, j->length_bp, n_good);
    }
    return 0;
}

/* ---- pairs ---- */

/* Where the columns of PAIRS are, and the species so far. */
struct pairs {
    int seq_a, seq_b, split, label;
    struct dnas_idmap species, genera;
    uint64_t n_used;
};

/* One row; a pair without k-mers in one of its members teaches nothing. */
static void take_pair(struct job *j, struct pairs *p, const struct dnas_block *b, uint32_t row)
{
    size_t n;
    const char *label = p->label >= 0 ? dnas_block_ragged(b, p->label, row, &n) : "";

    if (p->label < 0)
        n = 0;
    if (p->split >= 0 && ((const uint8_t *)b->cells[p->split].values)[row] != 0)
        return;
    j->letters[0] = dnas_block_ragged(b, p->seq_a, row, &j->lengths[0]);
    j->letters[1] = dnas_block_ragged(b, p->seq_b, row, &j->lengths[1]);
    profile_one(j, 0, 0);
    profile_one(j, 1, 0);
    if (j->n_kmers[0] == 0 || j->n_kmers[1] == 0)
        return;
    p->n_used++;
    if (n == 0) {
        j->groups[0] = (uint32_t)p->n_used;
        dnas_kmer_fit_add_pairs(j->fit, j->x, j->x + j->I, j->groups, 1);
        if (j->t->hidden > 0) { /* of a number that no labelled species has */
            j->classes[0] = j->classes[1] =
                (uint32_t)dnas_idmap_add(&p->species, (const char *)&p->n_used, sizeof(p->n_used));
            j->groups[1] = j->groups[0];
            keep(j, NULL, 2);
        }
        return;
    }
    j->classes[0] = j->classes[1] = (uint32_t)dnas_idmap_add(&p->species, label, n);
    for (size_t i = 0; i < n; i++)
        if (label[i] == '_' || label[i] == ' ')
            n = i;
    j->groups[0] = j->groups[1] = (uint32_t)dnas_idmap_add(&p->genera, label, n);
    for (int i = 0; i < 2; i++)
        j->length_bp[i] = j->lengths[i] < UINT32_MAX ? (uint32_t)j->lengths[i] : UINT32_MAX;
    dnas_kmer_fit_add(j->fit, j->x, j->classes, j->groups, j->length_bp, 2);
    keep(j, j->length_bp, 2);
}

static int read_pairs(struct job *j, struct dnas_in *in, uint64_t *n_used, struct dnas_err *err)
{
    struct dnas_reader *r = dnas_reader_on(in, err);
    struct pairs p = {0};
    struct dnas_block b;
    int status = -1;

    if (!r || dnas_reader_expect(r, DNAS_PAIRS, err) != 0)
        goto out;
    p.seq_a = dnas_header_find(dnas_reader_header(r), "seq_a");
    p.seq_b = dnas_header_find(dnas_reader_header(r), "seq_b");
    p.split = dnas_header_find(dnas_reader_header(r), "split");
    p.label = dnas_header_find(dnas_reader_header(r), "label");
    if (p.seq_a < 0 || p.seq_b < 0) {
        dnas_err_set(err,
                     "%s: holds tokens, and k-mers are counted in letters: give pairs as they "
                     "are before dnas-tokenize",
                     dnas_reader_name(r));
        goto out;
    }
    while ((status = dnas_reader_next(r, &b, err)) == 1)
        for (uint32_t row = 0; row < b.n_rows; row++)
            take_pair(j, &p, &b, row);
    *n_used = p.n_used;
    if (status == 0 && p.n_used == 0)
        status = dnas_err_set(err, "%s: has no pairs to learn from", dnas_reader_name(r));
out:
    dnas_reader_close(r);
    dnas_idmap_release(&p.species);
    dnas_idmap_release(&p.genera);
    return status;
}

/* ---- the whole ---- */

static int read_all(struct job *j, char *const *paths, int n_paths, uint64_t *n_records,
                    struct dnas_err *err)
{
    struct dnas_kmer_windows w = {.n_per_species = j->t->windows,
                                  .min_bp = j->t->min_bp,
                                  .max_bp = j->t->max_bp,
                                  .seed = j->t->seed,
                                  .labels = j->t->labels,
                                  .take = take_windows,
                                  .ctx = j};
    struct dnas_in *in = dnas_in_open(n_paths > 0 ? paths[0] : NULL, err);
    int is_stream = in ? dnas_in_is_stream(in, err) : -1, status;

    if (is_stream == 1 && (n_paths > 1 || j->t->labels))
        dnas_err_set(err, "%s: is a dnas stream; it is read alone, without --labels",
                     dnas_in_name(in));
    else if (is_stream == 1)
        return read_pairs(j, in, n_records, err);
    if (is_stream != 0) {
        dnas_in_close(in);
        return -1;
    }
    w.first = in;
    status = dnas_kmer_windows_run(&w, paths, n_paths, err);
    *n_records = w.n_records;
    return status;
}

static struct dnas_kmer_model *make_model(struct job *j, struct dnas_train_kmer_report *report,
                                          struct dnas_err *err)
{
    const struct dnas_train_kmer *t = j->t;

    if (t->hidden > 0)
        return dnas_train_kmer_net(t, j->fit, &j->kept, report, err);
    return dnas_train_kmer_map_model(t, &report->map, &report->map, err);
}

struct dnas_kmer_model *dnas_train_kmer_run(const struct dnas_train_kmer *t, char *const *paths,
                                            int n_paths, struct dnas_train_kmer_report *report,
                                            struct dnas_err *err)
{
    struct job *j = dnas_xzalloc(1, sizeof(*j));
    struct dnas_kmer_model *m = NULL;

    *report = (struct dnas_train_kmer_report){.n_records = 0};
    j->t = t;
    j->profile = dnas_kmer_profile_new(t->blocks, t->n_blocks, err);
    if (j->profile) {
        j->I = j->kept.I = dnas_kmer_profile_dims(j->profile);
        j->fit = dnas_kmer_fit_new(j->I, t->n_threads);
        j->x = dnas_xalloc(BATCH, j->I * sizeof(*j->x));
        j->counts = dnas_xalloc((size_t)t->n_threads,
                                dnas_kmer_profile_n_counts(j->profile) * sizeof(*j->counts));
        if (read_all(j, paths, n_paths, &report->n_records, err) == 0) {
            if (dnas_kmer_fit_map(j->fit, &report->map, t->dims, t->ridge, err) == 0)
                m = make_model(j, report, err);
            else if (n_paths == 1)
                dnas_err_at(err, "%s: ", paths[0]);
        }
    }
    if (!m)
        dnas_kmer_map_release(&report->map);
    dnas_kmer_kept_release(&j->kept);
    dnas_kmer_fit_free(j->fit);
    dnas_kmer_profile_free(j->profile);
    free(j->x);
    free(j->counts);
    free(j);
    return m;
}
