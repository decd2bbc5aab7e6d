/* SPDX-License-Identifier: MIT
 *
 * binning.c - scores of bins against genomes.  Contract: binning.h.
 *
 * Everything comes from one sparse table: for each bin and genome what they
 * share, in sequences and in bp.
 */
#include "common/binning.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "common/ari.h"
#include "common/err.h"
#include "common/matching.h"
#include "common/xmem.h"

struct cell {
    uint32_t bin, genome;
    uint64_t share[2]; /* by unit */
    size_t first;      /* where in bin_of it was met first */
};

struct table {
    const struct dnas_binning_input *in;
    struct dnas_binning *out;
    uint32_t *genome;     /* [n_genome_of], by sequence, in the input's order */
    size_t *genome_first; /* [n_sequences+1], into genome */
    uint32_t *resolved;   /* [n_bin_of], the genome that a sequence counts for in a bin */
    struct cell *cell;    /* [n_cells], in order of bin, genome */
    size_t n_cells;
};

double dnas_share(uint64_t part, uint64_t whole)
{
    return whole > 0 ? (double)part / (double)whole : NAN;
}

double dnas_harmonic_mean(double a, double b)
{
    return a + b > 0 ? 2 * a * b / (a + b) : NAN;
}

/* Lengths that are not known are 1: what counts most is then what counts most sequences. */
static uint64_t length_of(const struct dnas_binning_input *in, uint32_t sequence)
{
    return in->length_bp ? in->length_bp[sequence] : 1;
}

static void add_to(uint64_t size[2], const struct dnas_binning_input *in, uint32_t sequence)
{
    size[DNAS_IN_BP] += length_of(in, sequence);
    size[DNAS_IN_SEQUENCES]++;
}

static void check(const struct dnas_member *m, size_t n, size_t n_sequences, size_t n_groups)
{
    for (size_t i = 0; i < n; i++)
        if (m[i].sequence >= n_sequences || m[i].group >= n_groups)
            DNAS_BUG("member %zu: sequence %u, group %u", i, m[i].sequence, m[i].group);
}

/* Sorts the genomes by sequence, keeping the input's order within one. */
static void genomes_by_sequence(struct table *t)
{
    const struct dnas_binning_input *in = t->in;
    size_t *next;

    t->genome_first = dnas_xzalloc(in->n_sequences + 1, sizeof(*t->genome_first));
    t->genome = dnas_xalloc(in->n_genome_of, sizeof(*t->genome));
    next = dnas_xalloc(in->n_sequences, sizeof(*next));
    for (size_t i = 0; i < in->n_genome_of; i++)
        t->genome_first[in->genome_of[i].sequence + 1]++;
    for (size_t s = 0; s < in->n_sequences; s++) {
        if (t->genome_first[s + 1] == 0)
            DNAS_BUG("sequence %zu is of no genome", s);
        t->genome_first[s + 1] += t->genome_first[s];
        next[s] = t->genome_first[s];
    }
    for (size_t i = 0; i < in->n_genome_of; i++)
        t->genome[next[in->genome_of[i].sequence]++] = in->genome_of[i].group;
    free(next);
}

/* ---- the table ---- */

struct key {
    uint64_t key; /* bin, genome */
    size_t at;    /* in bin_of */
};

static int by_key(const void *a, const void *b)
{
    const struct key *p = a, *q = b;

    if (p->key != q->key)
        return p->key < q->key ? -1 : 1;
    return (p->at > q->at) - (p->at < q->at);
}

/* Makes the cells from n keys, which it sorts. */
static void make_cells(struct table *t, struct key *key, size_t n)
{
    t->cell = dnas_xzalloc(n, sizeof(*t->cell));
    t->n_cells = 0;
    qsort(key, n, sizeof(*key), by_key);
    for (size_t i = 0; i < n; i++) {
        if (i == 0 || key[i].key != key[i - 1].key)
            t->cell[t->n_cells++] = (struct cell){.bin = (uint32_t)(key[i].key >> 32),
                                                  .genome = (uint32_t)key[i].key,
                                                  .first = key[i].at};
        add_to(t->cell[t->n_cells - 1].share, t->in, t->in->bin_of[key[i].at].sequence);
    }
}

/* Whether a bin (or genome) is better stood for by a than by b. */
static bool is_more(const struct cell *a, const struct cell *b)
{
    if (a->share[DNAS_IN_BP] != b->share[DNAS_IN_BP])
        return a->share[DNAS_IN_BP] > b->share[DNAS_IN_BP];
    return a->first < b->first;
}

/* most [n_bins]: the cell that most of each bin is in, or NULL. */
static void most_of_bins(const struct cell **most, const struct table *t)
{
    for (size_t b = 0; b < t->in->n_bins; b++)
        most[b] = NULL;
    for (size_t c = 0; c < t->n_cells; c++)
        if (!most[t->cell[c].bin] || is_more(&t->cell[c], most[t->cell[c].bin]))
            most[t->cell[c].bin] = &t->cell[c];
}

static uint64_t key_of(uint32_t bin, uint32_t genome)
{
    return (uint64_t)bin << 32 | genome;
}

/* Chooses a genome for each sequence in a bin: as AMBER does, the one that most of the bin is of
 * when all genomes of shared sequences count, else the sequence's first. */
static void resolve(struct table *t)
{
    const struct dnas_binning_input *in = t->in;
    const struct cell **most = dnas_xalloc(in->n_bins, sizeof(*most));
    struct key *key;
    size_t n = 0;

    for (size_t i = 0; i < in->n_bin_of; i++) {
        uint32_t s = in->bin_of[i].sequence;

        n += t->genome_first[s + 1] - t->genome_first[s];
    }
    key = dnas_xalloc(n, sizeof(*key));
    n = 0;
    for (size_t i = 0; i < in->n_bin_of; i++) {
        uint32_t s = in->bin_of[i].sequence;

        for (size_t g = t->genome_first[s]; g < t->genome_first[s + 1]; g++)
            key[n++] = (struct key){key_of(in->bin_of[i].group, t->genome[g]), i};
    }
    make_cells(t, key, n);
    most_of_bins(most, t);
    for (size_t i = 0; i < in->n_bin_of; i++) {
        uint32_t s = in->bin_of[i].sequence, wanted = most[in->bin_of[i].group]->genome;

        t->resolved[i] = t->genome[t->genome_first[s]];
        for (size_t g = t->genome_first[s]; g < t->genome_first[s + 1]; g++)
            if (t->genome[g] == wanted)
                t->resolved[i] = wanted;
    }
    free(t->cell);
    free(key);
    free(most);
}

static void table_init(struct table *t, struct dnas_binning *out,
                       const struct dnas_binning_input *in)
{
    struct key *key = dnas_xalloc(in->n_bin_of, sizeof(*key));

    *t = (struct table){.in = in, .out = out};
    genomes_by_sequence(t);
    t->resolved = dnas_xalloc(in->n_bin_of, sizeof(*t->resolved));
    resolve(t);
    for (size_t i = 0; i < in->n_bin_of; i++)
        key[i] = (struct key){key_of(in->bin_of[i].group, t->resolved[i]), i};
    make_cells(t, key, in->n_bin_of);
    free(key);
}

static void table_release(struct table *t)
{
    free(t->genome);
    free(t->genome_first);
    free(t->resolved);
    free(t->cell);
}

/* ---- bins and genomes ---- */

/* Whole sizes of the genomes: a shared sequence counts for each genome for which it counts in a
 * bin, or in no bin for its first. */
static void size_genomes(struct table *t)
{
    const struct dnas_binning_input *in = t->in;
    bool *is_binned = dnas_xzalloc(in->n_sequences, sizeof(*is_binned));
    struct key *key = dnas_xalloc(in->n_bin_of, sizeof(*key)); /* sequence, genome */

    for (size_t i = 0; i < in->n_bin_of; i++) {
        is_binned[in->bin_of[i].sequence] = true;
        key[i] = (struct key){key_of(in->bin_of[i].sequence, t->resolved[i]), i};
    }
    qsort(key, in->n_bin_of, sizeof(*key), by_key);
    for (size_t i = 0; i < in->n_bin_of; i++)
        if (i == 0 || key[i].key != key[i - 1].key)
            add_to(t->out->genome[(uint32_t)key[i].key].size, in, (uint32_t)(key[i].key >> 32));
    for (uint32_t s = 0; s < in->n_sequences; s++) {
        struct dnas_genome_score *first = &t->out->genome[t->genome[t->genome_first[s]]];

        t->out->n_binned += is_binned[s];
        if (!is_binned[s]) {
            first->n_missed++;
            add_to(first->size, in, s);
        }
    }
    free(key);
    free(is_binned);
}

static void fill_scores(struct table *t)
{
    struct dnas_binning *out = t->out;
    const struct cell **of_bin = dnas_xalloc(out->n_bins, sizeof(*of_bin));
    const struct cell **of_genome = dnas_xzalloc(out->n_genomes, sizeof(*of_genome));

    most_of_bins(of_bin, t);
    for (size_t c = 0; c < t->n_cells; c++) {
        const struct cell *cell = &t->cell[c];

        if (!of_genome[cell->genome] || is_more(cell, of_genome[cell->genome]))
            of_genome[cell->genome] = cell;
        out->genome[cell->genome].n_binned += cell->share[DNAS_IN_SEQUENCES];
        for (int u = 0; u < 2; u++)
            out->bin[cell->bin].size[u] += cell->share[u];
    }
    for (size_t b = 0; b < out->n_bins; b++) {
        out->bin[b].genome = of_bin[b] ? of_bin[b]->genome : DNAS_NO_GROUP;
        for (int u = 0; u < 2 && of_bin[b]; u++)
            out->bin[b].of_genome[u] = of_bin[b]->share[u];
    }
    for (size_t g = 0; g < out->n_genomes; g++) {
        out->genome[g].bin = of_genome[g] ? of_genome[g]->bin : DNAS_NO_GROUP;
        for (int u = 0; u < 2 && of_genome[g]; u++)
            out->genome[g].in_bin[u] = of_genome[g]->share[u];
    }
    free(of_bin);
    free(of_genome);
}

/* ---- AMBER ---- */

struct sums {
    uint64_t bins, of_genomes;   /* sizes of bins, and what is of their genome */
    uint64_t genomes, in_bins;   /* sizes of genomes, and what is in their bin */
    double purity, completeness; /* sums of shares */
    double completeness_of_bins;
    uint64_t n_bins, n_genomes, n_stood_for;
};

static struct sums sum_up(const struct dnas_binning *b, enum dnas_unit u)
{
    struct sums s = {0};
    bool *stood_for = dnas_xzalloc(b->n_genomes, sizeof(*stood_for));

    for (size_t i = 0; i < b->n_bins; i++) {
        const struct dnas_bin_score *bin = &b->bin[i];

        if (bin->genome == DNAS_NO_GROUP)
            continue;
        s.n_bins++;
        s.bins += bin->size[u];
        s.of_genomes += bin->of_genome[u];
        s.purity += dnas_share(bin->of_genome[u], bin->size[u]);
        s.completeness_of_bins += dnas_share(bin->of_genome[u], b->genome[bin->genome].size[u]);
        stood_for[bin->genome] = true;
    }
    for (size_t g = 0; g < b->n_genomes; g++) {
        if (b->genome[g].size[u] == 0) /* a shared sequence counted elsewhere */
            continue;
        s.n_genomes++;
        s.n_stood_for += stood_for[g];
        s.genomes += b->genome[g].size[u];
        s.in_bins += b->genome[g].in_bin[u];
        s.completeness += dnas_share(b->genome[g].in_bin[u], b->genome[g].size[u]);
    }
    free(stood_for);
    return s;
}

/* Share of the gold standard's sequences, each once, that are in bins. */
static double share_binned(const struct table *t, enum dnas_unit u)
{
    const struct dnas_binning_input *in = t->in;
    bool *is_binned = dnas_xzalloc(in->n_sequences, sizeof(*is_binned));
    uint64_t part[2] = {0, 0}, whole[2] = {0, 0};

    for (size_t i = 0; i < in->n_bin_of; i++)
        is_binned[in->bin_of[i].sequence] = true;
    for (uint32_t s = 0; s < in->n_sequences; s++) {
        add_to(whole, in, s);
        if (is_binned[s])
            add_to(part, in, s);
    }
    free(is_binned);
    return dnas_share(part[u], whole[u]);
}

/* Rand indices of the table, for DNAS_COUNT_WHOLE with each missed sequence as a bin of its own. */
static void rand_of_table(double *rand, double *ari, const struct table *t, enum dnas_unit u,
                          enum dnas_counted counted)
{
    const struct dnas_binning *b = t->out;
    size_t n_missed = 0;
    uint64_t *cell, *bin, *genome = dnas_xzalloc(b->n_genomes, sizeof(*genome));

    for (size_t g = 0; counted == DNAS_COUNT_WHOLE && g < b->n_genomes; g++) {
        genome[g] = b->genome[g].n_missed;
        n_missed += b->genome[g].n_missed;
    }
    cell = dnas_xalloc(t->n_cells + n_missed, sizeof(*cell));
    bin = dnas_xzalloc(b->n_bins + n_missed, sizeof(*bin));
    for (size_t c = 0; c < t->n_cells; c++) {
        cell[c] = t->cell[c].share[u];
        bin[t->cell[c].bin] += cell[c];
        genome[t->cell[c].genome] += cell[c];
    }
    for (size_t i = 0; i < n_missed; i++)
        cell[t->n_cells + i] = bin[b->n_bins + i] = 1;
    dnas_rand_compute(rand, ari, cell, t->n_cells + n_missed, bin, b->n_bins + n_missed, genome,
                      b->n_genomes);
    free(cell);
    free(bin);
    free(genome);
}

static void measure_amber(const struct table *t, enum dnas_unit u)
{
    struct dnas_amber *a = &t->out->amber[u];
    struct sums s = sum_up(t->out, u);
    double n_cami1 = (double)(s.n_bins + s.n_genomes - s.n_stood_for);

    a->binned = share_binned(t, u);
    a->purity = s.n_bins > 0 ? s.purity / (double)s.n_bins : NAN;
    a->completeness = s.n_genomes > 0 ? s.completeness / (double)s.n_genomes : NAN;
    a->completeness_cami1 = n_cami1 > 0 ? s.completeness_of_bins / n_cami1 : NAN;
    a->f1 = dnas_harmonic_mean(a->purity, a->completeness);
    a->f1_cami1 = dnas_harmonic_mean(a->purity, a->completeness_cami1);
    a->purity_weighted = dnas_share(s.of_genomes, s.bins);
    a->completeness_weighted = dnas_share(s.in_bins, s.genomes);
    a->f1_weighted = dnas_harmonic_mean(a->purity_weighted, a->completeness_weighted);
    a->accuracy = dnas_share(s.of_genomes, s.genomes);
    rand_of_table(&a->rand, &a->ari, t, u, DNAS_COUNT_BINNED);
}

static void count_recovered(struct dnas_binning *b)
{
    static const double complete[3] = {0.5, 0.7, 0.9}, foreign[2] = {0.1, 0.05};

    for (size_t i = 0; i < b->n_bins; i++) {
        const struct dnas_bin_score *bin = &b->bin[i];
        double purity, completeness;

        if (bin->genome == DNAS_NO_GROUP)
            continue;
        purity = dnas_share(bin->of_genome[DNAS_IN_BP], bin->size[DNAS_IN_BP]);
        completeness =
            dnas_share(bin->of_genome[DNAS_IN_BP], b->genome[bin->genome].size[DNAS_IN_BP]);
        for (int c = 0; c < 3; c++)
            for (int f = 0; f < 2; f++)
                b->recovered[c][f] += completeness > complete[c] && purity > 1 - foreign[f];
    }
}

/* ---- DNABERT-S ---- */

/* Pairs bins and genomes one to one for the most shared sequences. */
static void pair_up(struct table *t)
{
    struct dnas_binning *out = t->out;
    size_t *first = dnas_xzalloc(out->n_bins + 1, sizeof(*first));
    uint32_t *genome = dnas_xalloc(t->n_cells, sizeof(*genome));
    uint64_t *weight = dnas_xalloc(t->n_cells, sizeof(*weight));
    uint32_t *partner = dnas_xalloc(out->n_bins, sizeof(*partner));

    for (size_t c = 0; c < t->n_cells; c++) {
        first[t->cell[c].bin + 1]++;
        genome[c] = t->cell[c].genome;
        weight[c] = t->cell[c].share[DNAS_IN_SEQUENCES];
    }
    for (size_t b = 0; b < out->n_bins; b++)
        first[b + 1] += first[b];
    out->n_paired =
        dnas_matching_run(partner, &(struct dnas_matching_weights){.n_rows = out->n_bins,
                                                                   .n_columns = out->n_genomes,
                                                                   .first = first,
                                                                   .column = genome,
                                                                   .weight = weight});
    for (size_t g = 0; g < out->n_genomes; g++)
        out->genome[g].partner = DNAS_NO_GROUP;
    for (uint32_t b = 0; b < out->n_bins; b++) {
        out->bin[b].partner = partner[b];
        if (partner[b] != DNAS_UNMATCHED)
            out->genome[partner[b]].partner = b;
    }
    for (size_t c = 0; c < t->n_cells; c++)
        if (partner[t->cell[c].bin] == t->cell[c].genome)
            out->genome[t->cell[c].genome].n_shared = weight[c];
    free(first);
    free(genome);
    free(weight);
    free(partner);
}

static void count_species(const struct table *t, enum dnas_counted counted)
{
    const struct dnas_binning *b = t->out;
    struct dnas_paired *p = &t->out->paired[counted];
    double rand;

    for (size_t g = 0; g < b->n_genomes; g++) {
        const struct dnas_genome_score *s = &b->genome[g];
        uint64_t n = counted == DNAS_COUNT_BINNED ? s->n_binned : s->size[DNAS_IN_SEQUENCES];
        uint64_t bin = 0;

        if (n == 0)
            continue;
        if (s->partner != DNAS_NO_GROUP)
            bin = b->bin[s->partner].size[DNAS_IN_SEQUENCES];
        p->n_species++;
        for (uint64_t k = 0; k < DNAS_N_THRESHOLDS; k++) {
            p->recall_above[k] += 10 * s->n_shared > (k + 1) * n;
            p->f1_above[k] += 20 * s->n_shared > (k + 1) * (n + bin);
        }
    }
    rand_of_table(&rand, &p->ari, t, DNAS_IN_SEQUENCES, counted);
}

void dnas_binning_compute(struct dnas_binning *out, const struct dnas_binning_input *in)
{
    struct table t;

    check(in->genome_of, in->n_genome_of, in->n_sequences, in->n_genomes);
    check(in->bin_of, in->n_bin_of, in->n_sequences, in->n_bins);
    *out = (struct dnas_binning){.n_genomes = in->n_genomes,
                                 .n_bins = in->n_bins,
                                 .n_sequences = in->n_sequences,
                                 .has_lengths = in->length_bp != NULL,
                                 .bin = dnas_xzalloc(in->n_bins, sizeof(*out->bin)),
                                 .genome = dnas_xzalloc(in->n_genomes, sizeof(*out->genome))};
    table_init(&t, out, in);
    size_genomes(&t);
    fill_scores(&t);
    measure_amber(&t, DNAS_IN_BP);
    measure_amber(&t, DNAS_IN_SEQUENCES);
    count_recovered(out);
    if (!in->length_bp)
        out->amber[DNAS_IN_BP] =
            (struct dnas_amber){NAN, NAN, NAN, NAN, NAN, NAN, NAN, NAN, NAN, NAN, NAN, NAN};
    pair_up(&t);
    count_species(&t, DNAS_COUNT_BINNED);
    count_species(&t, DNAS_COUNT_WHOLE);
    table_release(&t);
}

void dnas_binning_release(struct dnas_binning *b)
{
    free(b->bin);
    free(b->genome);
    *b = (struct dnas_binning){0};
}
