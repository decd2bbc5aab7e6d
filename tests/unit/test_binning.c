/* SPDX-License-Identifier: MIT
 *
 * test_binning.c - scores of bins against the original code's counts, against
 * numbers worked out by hand, and against the definitions written out slowly.
 */
#include "common/binning.h"

#include "common/rng.h"
#include "common/xmem.h"
#include "tests/unit/check.h"

#define GOLDEN "tests/data/golden/evaluate_small/"

/* A binning with room to spare. */
struct data {
    struct dnas_binning_input in;
    uint64_t length_bp[400];
    struct dnas_member genome_of[800], bin_of[800];
};

static struct dnas_binning compute(struct data *d)
{
    struct dnas_binning b;

    d->in.genome_of = d->genome_of;
    d->in.bin_of = d->bin_of;
    dnas_binning_compute(&b, &d->in);
    return b;
}

/* n sequences of lengths bp (NULL: not known), genomes and bins (-1: none). */
static struct data make(size_t n, const uint64_t *length_bp, const int *genome, const int *bin)
{
    struct data d = {.in = {.n_sequences = n}};

    for (uint32_t i = 0; i < n; i++) {
        d.genome_of[d.in.n_genome_of++] = (struct dnas_member){i, (uint32_t)genome[i]};
        if (bin[i] >= 0)
            d.bin_of[d.in.n_bin_of++] = (struct dnas_member){i, (uint32_t)bin[i]};
        if ((size_t)genome[i] + 1 > d.in.n_genomes)
            d.in.n_genomes = (size_t)genome[i] + 1;
        if (bin[i] >= 0 && (size_t)bin[i] + 1 > d.in.n_bins)
            d.in.n_bins = (size_t)bin[i] + 1;
        if (length_bp)
            d.length_bp[i] = length_bp[i];
    }
    return d;
}

/* ---- the original's counts ---- */

static FILE *open_golden(const char *name)
{
    char line[2048];
    FILE *f = fopen(name, "r");

    if (!f || !fgets(line, sizeof(line), f)) {
        CHECK_FAIL("%s cannot be read", name);
        exit(99);
    }
    return f;
}

static struct dnas_binning golden_binning(int column, size_t *n)
{
    static struct dnas_member genome_of[2000], bin_of[2000];
    struct dnas_binning_input in = {.n_genomes = 25, .genome_of = genome_of, .bin_of = bin_of};
    struct dnas_binning b;
    FILE *f = open_golden(GOLDEN "binning.tsv");
    int v[4];

    while (fscanf(f, "%d %d %d %d", &v[0], &v[1], &v[2], &v[3]) == 4) {
        uint32_t i = (uint32_t)in.n_sequences++;

        genome_of[in.n_genome_of++] = (struct dnas_member){i, (uint32_t)v[0]};
        if (v[column] >= 0)
            bin_of[in.n_bin_of++] = (struct dnas_member){i, (uint32_t)v[column]};
        if (v[column] >= (int)in.n_bins)
            in.n_bins = (size_t)v[column] + 1;
    }
    fclose(f);
    *n = in.n_sequences;
    dnas_binning_compute(&b, &in);
    return b;
}

static void test_golden(void)
{
    FILE *f = open_golden(GOLDEN "binning_scores.tsv");
    char name[8];
    double ari;
    int column = 0, want;
    size_t n;

    while (fscanf(f, "%7s %lf", name, &ari) == 2) {
        struct dnas_binning b = golden_binning(++column, &n);
        const struct dnas_paired *p = &b.paired[DNAS_COUNT_BINNED];

        CHECK_INT(n, 1753);
        for (int k = 0; k < 9; k++) {
            CHECK_INT(fscanf(f, "%d", &want), 1);
            CHECK_INT(p->f1_above[k], want);
        }
        for (int k = 0; k < 9; k++) {
            CHECK_INT(fscanf(f, "%d", &want), 1);
            CHECK_INT(p->recall_above[k], want);
            CHECK(b.paired[DNAS_COUNT_WHOLE].recall_above[k] <= p->recall_above[k]);
        }
        CHECK_NEAR(p->ari, ari, 1e-12); /* scikit-learn's, in double */
        CHECK_NEAR(b.amber[DNAS_IN_SEQUENCES].ari, ari, 1e-12);
        dnas_binning_release(&b);
    }
    CHECK_INT(column, 3);
    fclose(f);
}

/* ---- by hand ---- */

/* Genome 0: 100 + 50 + 10 bp, genome 1: 60 + 40, genome 2: 30.  Bin 0: 100, 50, 40 (of 1);
 * bin 1: 60; bin 2: 10.  The 30 are in no bin. */
static void test_by_hand(void)
{
    const uint64_t bp[] = {100, 50, 10, 60, 40, 30};
    const int genome[] = {0, 0, 0, 1, 1, 2}, bin[] = {0, 0, 2, 1, 0, -1};
    struct data d = make(6, bp, genome, bin);
    struct dnas_binning b;
    const struct dnas_amber *a;

    d.in.length_bp = d.length_bp;
    b = compute(&d);
    CHECK_INT(b.n_sequences, 6);
    CHECK_INT(b.n_binned, 5);

    CHECK_INT(b.bin[0].genome, 0);
    CHECK_INT(b.bin[0].size[DNAS_IN_BP], 190);
    CHECK_INT(b.bin[0].of_genome[DNAS_IN_BP], 150);
    CHECK_INT(b.bin[0].of_genome[DNAS_IN_SEQUENCES], 2);
    CHECK_INT(b.bin[2].genome, 0);
    CHECK_INT(b.genome[0].size[DNAS_IN_BP], 160);
    CHECK_INT(b.genome[1].bin, 1);
    CHECK_INT(b.genome[1].in_bin[DNAS_IN_BP], 60);
    CHECK_INT(b.genome[2].bin, DNAS_NO_GROUP);
    CHECK_INT(b.genome[2].n_missed, 1);

    a = &b.amber[DNAS_IN_BP];
    CHECK_NEAR(a->binned, 260.0 / 290, 1e-15);
    CHECK_NEAR(a->purity, (150.0 / 190 + 1 + 1) / 3, 1e-15);
    CHECK_NEAR(a->completeness, (150.0 / 160 + 60.0 / 100 + 0) / 3, 1e-15);
    /* Bins 0 and 2 stand for genome 0, bin 1 for 1; no bin for 2. */
    CHECK_NEAR(a->completeness_cami1, (150.0 / 160 + 10.0 / 160 + 60.0 / 100 + 0) / 4, 1e-15);
    CHECK_NEAR(a->f1, 2 * a->purity * a->completeness / (a->purity + a->completeness), 1e-15);
    CHECK_NEAR(a->f1_cami1,
               2 * a->purity * a->completeness_cami1 / (a->purity + a->completeness_cami1), 1e-15);
    CHECK_NEAR(a->purity_weighted, 220.0 / 260, 1e-15);
    CHECK_NEAR(a->completeness_weighted, 210.0 / 290, 1e-15);
    CHECK_NEAR(a->f1_weighted, 2 * (22.0 / 26) * (21.0 / 29) / (22.0 / 26 + 21.0 / 29), 1e-15);
    CHECK_NEAR(a->accuracy, 220.0 / 290, 1e-15);
    a = &b.amber[DNAS_IN_SEQUENCES];
    CHECK_NEAR(a->binned, 5.0 / 6, 1e-15);
    CHECK_NEAR(a->purity, (2.0 / 3 + 1 + 1) / 3, 1e-15);
    CHECK_NEAR(a->completeness, (2.0 / 3 + 1.0 / 2 + 0) / 3, 1e-15);
    CHECK_NEAR(a->purity_weighted, 4.0 / 5, 1e-15);
    CHECK_NEAR(a->completeness_weighted, 3.0 / 6, 1e-15);
    CHECK_NEAR(a->accuracy, 4.0 / 6, 1e-15);
    /* Of 10 pairs: together in both 1 (0-1), in bins alone 2, in genomes alone 3, apart 4. */
    CHECK_NEAR(a->rand, 0.5, 1e-15);
    CHECK_NEAR(a->ari, (1 - 3 * 4 / 10.0) / ((3 + 4) / 2.0 - 3 * 4 / 10.0), 1e-15);

    /* Bin 0 is 94 % complete and 79 % pure; bin 1 60 % and 100 %. */
    CHECK_INT(b.recovered[0][0], 1);
    CHECK_INT(b.recovered[0][1], 1);
    CHECK_INT(b.recovered[1][0], 0);

    /* Partners: 0-0 (2 sequences), 1-1 (1).  F1 of the binned: 2*2/(3+3), 2*1/(1+2); whole: the
     * same here, for both genomes are binned whole; genome 2 has none. */
    CHECK_INT(b.n_paired, 3);
    CHECK_INT(b.bin[2].partner, DNAS_NO_GROUP);
    CHECK_INT(b.genome[0].partner, 0);
    CHECK_INT(b.genome[0].n_shared, 2);
    CHECK_INT(b.paired[DNAS_COUNT_BINNED].n_species, 2);
    CHECK_INT(b.paired[DNAS_COUNT_WHOLE].n_species, 3);
    CHECK_INT(b.paired[DNAS_COUNT_BINNED].f1_above[5], 2);
    CHECK_INT(b.paired[DNAS_COUNT_BINNED].f1_above[6], 0);
    CHECK_INT(b.paired[DNAS_COUNT_BINNED].recall_above[3], 2);
    CHECK_INT(b.paired[DNAS_COUNT_BINNED].recall_above[4], 1); /* a half is not above .5 */
    /* Whole: 15 pairs of 6, the 30 bp alone: still 1, 3 and 4. */
    CHECK_NEAR(b.paired[DNAS_COUNT_WHOLE].ari, (1 - 3 * 4 / 15.0) / (3.5 - 3 * 4 / 15.0), 1e-15);
    dnas_binning_release(&b);
}

/* Unbinned sequences count against a species only where they should. */
static void test_unbinned(void)
{
    const int genome[] = {0, 0, 0, 0, 0, 1}, bin[] = {0, 0, -1, -1, -1, 1};
    struct data d = make(6, NULL, genome, bin);
    struct dnas_binning b = compute(&d);

    CHECK_INT(b.paired[DNAS_COUNT_BINNED].f1_above[8], 2);
    CHECK_INT(b.paired[DNAS_COUNT_BINNED].recall_above[8], 2);
    CHECK_NEAR(b.paired[DNAS_COUNT_BINNED].ari, 1, 0);
    /* Recall 2/5, F1 2*2/(5+2) = .571. */
    CHECK_INT(b.paired[DNAS_COUNT_WHOLE].recall_above[2], 2);
    CHECK_INT(b.paired[DNAS_COUNT_WHOLE].recall_above[3], 1);
    CHECK_INT(b.paired[DNAS_COUNT_WHOLE].f1_above[4], 2);
    CHECK_INT(b.paired[DNAS_COUNT_WHOLE].f1_above[5], 1);
    CHECK(b.paired[DNAS_COUNT_WHOLE].ari < 0.5);
    /* Lengths are not known. */
    CHECK(isnan(b.amber[DNAS_IN_BP].purity) && isnan(b.amber[DNAS_IN_BP].ari) && !b.has_lengths);
    CHECK_NEAR(b.amber[DNAS_IN_SEQUENCES].completeness, (0.4 + 1) / 2, 1e-15);
    dnas_binning_release(&b);
}

/* ---- slowly ---- */

/* Adds up what bin and genome share; -1 for any. */
static double shared(const struct data *d, int bin, int genome, bool in_bp)
{
    double sum = 0;

    for (size_t m = 0; m < d->in.n_bin_of; m++) {
        uint32_t s = d->bin_of[m].sequence;

        if ((bin < 0 || d->bin_of[m].group == (uint32_t)bin) &&
            (genome < 0 || d->genome_of[s].group == (uint32_t)genome))
            sum += in_bp ? (double)d->length_bp[s] : 1;
    }
    return sum;
}

static double size_of(const struct data *d, int genome, bool in_bp)
{
    double sum = 0;

    for (size_t s = 0; s < d->in.n_sequences; s++)
        if (genome < 0 || d->genome_of[s].group == (uint32_t)genome)
            sum += in_bp ? (double)d->length_bp[s] : 1;
    return sum;
}

/* The genome that a bin is mostly of; ties to the one met first. */
static int main_genome(const struct data *d, int bin)
{
    int best = -1;

    for (size_t m = 0; m < d->in.n_bin_of; m++) {
        int g = (int)d->genome_of[d->bin_of[m].sequence].group;

        if (d->bin_of[m].group == (uint32_t)bin &&
            (best < 0 || shared(d, bin, g, true) > shared(d, bin, best, true)))
            best = g;
    }
    return best;
}

static int main_bin(const struct data *d, int genome)
{
    int best = -1;

    for (size_t m = 0; m < d->in.n_bin_of; m++) {
        int b = (int)d->bin_of[m].group;

        if (d->genome_of[d->bin_of[m].sequence].group == (uint32_t)genome &&
            (best < 0 || shared(d, b, genome, true) > shared(d, best, genome, true)))
            best = b;
    }
    return best;
}

/* Rand indices over all pairs of base pairs (or sequences) in bins. */
static void rand_slowly(double *rand, double *ari, const struct data *d, bool in_bp)
{
    double both = 0, in_bin = 0, in_genome = 0, all = 0, expected;

    for (size_t i = 0; i < d->in.n_bin_of; i++)
        for (size_t j = 0; j <= i; j++) {
            const struct dnas_member *a = &d->bin_of[i], *b = &d->bin_of[j];
            double n = in_bp ? (double)d->length_bp[a->sequence] : 1;
            double m = in_bp ? (double)d->length_bp[b->sequence] : 1;
            double pairs = i == j ? n * (n - 1) / 2 : n * m;
            bool same_bin = a->group == b->group;
            bool same_genome = d->genome_of[a->sequence].group == d->genome_of[b->sequence].group;

            all += pairs;
            both += same_bin && same_genome ? pairs : 0;
            in_bin += same_bin ? pairs : 0;
            in_genome += same_genome ? pairs : 0;
        }
    expected = in_bin * in_genome / all;
    *rand = (all - in_bin - in_genome + 2 * both) / all;
    *ari = (both - expected) / ((in_bin + in_genome) / 2 - expected);
}

static void check_amber_slowly(const struct data *d, const struct dnas_amber *a, bool in_bp)
{
    const double tol = 1e-12; /* sums of some hundred terms in double, in another order */
    double purity = 0, completeness = 0, cami1 = 0, right = 0, found = 0, rand, ari;
    int n_bins = 0, n_genomes = 0, n_cami1 = 0;

    for (int b = 0; b < (int)d->in.n_bins; b++) {
        int g = main_genome(d, b);

        if (g < 0)
            continue;
        n_bins++;
        purity += shared(d, b, g, in_bp) / shared(d, b, -1, in_bp);
        cami1 += shared(d, b, g, in_bp) / size_of(d, g, in_bp);
        right += shared(d, b, g, in_bp);
    }
    n_cami1 = n_bins;
    for (int g = 0; g < (int)d->in.n_genomes; g++) {
        int b = main_bin(d, g);
        bool stood_for = false;

        if (size_of(d, g, in_bp) == 0)
            continue;
        n_genomes++;
        for (int i = 0; i < (int)d->in.n_bins; i++)
            stood_for = stood_for || main_genome(d, i) == g;
        n_cami1 += !stood_for;
        completeness += b < 0 ? 0 : shared(d, b, g, in_bp) / size_of(d, g, in_bp);
        found += b < 0 ? 0 : shared(d, b, g, in_bp);
    }
    purity /= n_bins;
    completeness /= n_genomes;
    cami1 /= n_cami1;
    CHECK_NEAR(a->purity, purity, tol);
    CHECK_NEAR(a->completeness, completeness, tol);
    CHECK_NEAR(a->completeness_cami1, cami1, tol);
    CHECK_NEAR(a->f1, 2 * purity * completeness / (purity + completeness), tol);
    CHECK_NEAR(a->f1_cami1, 2 * purity * cami1 / (purity + cami1), tol);
    CHECK_NEAR(a->purity_weighted, right / shared(d, -1, -1, in_bp), tol);
    CHECK_NEAR(a->completeness_weighted, found / size_of(d, -1, in_bp), tol);
    CHECK_NEAR(a->accuracy, right / size_of(d, -1, in_bp), tol);
    rand_slowly(&rand, &ari, d, in_bp);
    CHECK_NEAR(a->rand, rand, tol);
    CHECK_NEAR(a->ari, ari, tol);
}

/* F1 and recall with every unbinned sequence dropped, or missed, given the partners. */
static void check_paired_slowly(const struct data *d, const struct dnas_binning *b)
{
    for (int c = 0; c < 2; c++)
        for (int k = 0; k < 9; k++) {
            uint64_t n_f1 = 0, n_recall = 0, n_species = 0;

            for (int g = 0; g < (int)d->in.n_genomes; g++) {
                double n = c == DNAS_COUNT_BINNED ? shared(d, -1, g, false) : size_of(d, g, false);
                uint32_t bin = b->genome[g].partner;
                double hit = bin == DNAS_NO_GROUP ? 0 : shared(d, (int)bin, g, false);
                double in_bin = bin == DNAS_NO_GROUP ? 0 : shared(d, (int)bin, -1, false);

                n_species += n > 0;
                n_recall += n > 0 && hit / n > (k + 1) / 10.0;
                n_f1 += n > 0 && 2 * hit / (n + in_bin) > (k + 1) / 10.0;
            }
            CHECK_INT(b->paired[c].n_species, n_species);
            CHECK_INT(b->paired[c].recall_above[k], n_recall);
            CHECK_INT(b->paired[c].f1_above[k], n_f1);
        }
}

static void test_against_definitions(void)
{
    for (uint32_t round = 0; round < 200; round++) {
        struct data d = {.in = {.n_sequences = 20 + round, .n_genomes = 2 + round % 9}};
        struct dnas_binning b;
        struct dnas_rng rng;

        dnas_rng_init(&rng, 11, DNAS_RNG_TEST, 0, round);
        d.in.n_bins = 1 + round % 13;
        for (uint32_t s = 0; s < d.in.n_sequences; s++) {
            uint32_t g = (uint32_t)dnas_rng_below(&rng, d.in.n_genomes);
            uint32_t bin = dnas_rng_below(&rng, 3) ? g : (uint32_t)dnas_rng_below(&rng, 20);

            /* Few lengths: ties of sums are common. */
            d.length_bp[s] = 1 + dnas_rng_below(&rng, round % 2 ? 4 : 3000);
            d.genome_of[d.in.n_genome_of++] = (struct dnas_member){s, g};
            if (dnas_rng_below(&rng, 4))
                d.bin_of[d.in.n_bin_of++] = (struct dnas_member){s, bin % (uint32_t)d.in.n_bins};
        }
        d.in.length_bp = d.length_bp;
        b = compute(&d);
        check_amber_slowly(&d, &b.amber[DNAS_IN_BP], true);
        check_amber_slowly(&d, &b.amber[DNAS_IN_SEQUENCES], false);
        check_paired_slowly(&d, &b);
        CHECK_NEAR(b.amber[DNAS_IN_BP].binned, shared(&d, -1, -1, true) / size_of(&d, -1, true),
                   1e-15);
        dnas_binning_release(&b);
    }
}

/* ---- corners ---- */

/* Sequence 1 is of genomes 0 and 1, and in bin 1, which is mostly of genome 1: it counts for 1
 * there.  Sequence 4 is of 1 and 0 and in no bin: it counts for its first, 1. */
static void test_shared_sequences(void)
{
    struct data d = {.in = {.n_sequences = 5, .n_genomes = 2, .n_bins = 2}};
    const struct dnas_member genome_of[] = {{0, 0}, {1, 0}, {1, 1}, {2, 1}, {3, 0}, {4, 1}, {4, 0}};
    const struct dnas_member bin_of[] = {{0, 0}, {1, 1}, {2, 1}, {3, 0}};
    struct dnas_binning b;

    memcpy(d.genome_of, genome_of, sizeof(genome_of));
    memcpy(d.bin_of, bin_of, sizeof(bin_of));
    d.in.n_genome_of = 7;
    d.in.n_bin_of = 4;
    for (uint64_t s = 0; s < 5; s++)
        d.length_bp[s] = 10 * (s + 1);
    d.in.length_bp = d.length_bp;
    b = compute(&d);
    CHECK_INT(b.bin[1].genome, 1);
    CHECK_INT(b.bin[1].of_genome[DNAS_IN_BP], 50);
    CHECK_INT(b.genome[0].size[DNAS_IN_BP], 50);
    CHECK_INT(b.genome[1].size[DNAS_IN_BP], 100);
    CHECK_NEAR(b.amber[DNAS_IN_BP].purity, 1, 0);
    CHECK_NEAR(b.amber[DNAS_IN_BP].completeness, (1 + 0.5) / 2, 1e-15);
    CHECK_NEAR(b.amber[DNAS_IN_BP].binned, 100.0 / 150, 1e-15);
    dnas_binning_release(&b);
    /* In two bins it counts in each, but once as binned. */
    d.bin_of[d.in.n_bin_of++] = (struct dnas_member){1, 0};
    b = compute(&d);
    CHECK_INT(b.n_binned, 4);
    CHECK_INT(b.bin[0].of_genome[DNAS_IN_BP], 70);
    CHECK_INT(b.genome[0].size[DNAS_IN_BP], 70);
    CHECK_INT(b.genome[1].size[DNAS_IN_BP], 100);
    CHECK_NEAR(b.amber[DNAS_IN_SEQUENCES].binned, 4.0 / 5, 1e-15);
    dnas_binning_release(&b);
}

static void test_one_bin_and_none(void)
{
    const int genome[] = {0, 0, 1, 2, 2}, one[] = {0, 0, 0, 0, 0}, none[] = {-1, -1, -1, -1, -1},
              own[] = {0, 1, 2, 3, 4};
    struct data d = make(5, NULL, genome, one);
    struct dnas_binning b = compute(&d);
    const struct dnas_amber *a = &b.amber[DNAS_IN_SEQUENCES];

    CHECK_NEAR(a->purity, 0.4, 1e-15);
    CHECK_NEAR(a->completeness, 1, 0);
    CHECK_NEAR(a->ari, 0, 1e-15);
    CHECK_INT(b.n_paired, 2);
    CHECK_INT(b.paired[DNAS_COUNT_BINNED].recall_above[8], 1);
    CHECK_INT(b.paired[DNAS_COUNT_BINNED].f1_above[4], 1);
    dnas_binning_release(&b);

    d = make(5, NULL, genome, none);
    b = compute(&d);
    a = &b.amber[DNAS_IN_SEQUENCES];
    CHECK(isnan(a->purity) && isnan(a->f1) && isnan(a->purity_weighted));
    CHECK_NEAR(a->completeness, 0, 0);
    CHECK_NEAR(a->binned, 0, 0);
    CHECK_NEAR(a->rand, 0, 0);
    CHECK_INT(b.paired[DNAS_COUNT_BINNED].n_species, 0);
    CHECK_INT(b.paired[DNAS_COUNT_WHOLE].n_species, 3);
    CHECK_INT(b.paired[DNAS_COUNT_WHOLE].recall_above[0], 0);
    dnas_binning_release(&b);

    d = make(5, NULL, genome, own); /* more bins than species */
    b = compute(&d);
    CHECK_NEAR(b.amber[DNAS_IN_SEQUENCES].purity, 1, 0);
    CHECK_INT(b.n_paired, 3);
    CHECK_INT(b.paired[DNAS_COUNT_BINNED].recall_above[4], 1);
    dnas_binning_release(&b);

    d = make(0, NULL, genome, one);
    b = compute(&d);
    CHECK(isnan(b.amber[DNAS_IN_SEQUENCES].binned) && isnan(b.amber[DNAS_IN_BP].purity));
    CHECK_INT(b.paired[DNAS_COUNT_WHOLE].n_species, 0);
    dnas_binning_release(&b);
}

/* A bin, or a genome, of two that share as much: the one met first, whatever its number. */
static void test_ties(void)
{
    const uint64_t bp[] = {5, 2, 3, 4};
    const int genome[] = {1, 0, 0, 2}, bin[] = {1, 1, 1, 0};
    struct data d = make(4, bp, genome, bin);
    struct dnas_binning b;

    d.in.length_bp = d.length_bp;
    b = compute(&d);
    CHECK_INT(b.bin[1].genome, 1);
    CHECK_INT(b.bin[1].of_genome[DNAS_IN_SEQUENCES], 1);
    dnas_binning_release(&b);
}

/* 10^12 bp, 5 10^23 pairs: two genomes, a fifth of one in the wrong bin. */
static void test_many_pairs(void)
{
    const uint64_t unit = UINT64_C(100000000000), bp[] = {5 * unit, 4 * unit, unit};
    const int genome[] = {0, 1, 1}, bin[] = {0, 1, 0};
    struct data d = make(3, bp, genome, bin);
    struct dnas_binning b;
    /* Up to 1e-11 the shares of pairs: n(n-1)/2 is n^2/2. */
    double both = 25 + 16 + 1, in_bin = 36 + 16, in_genome = 25 + 25, all = 100;
    double expected = in_bin * in_genome / all;

    d.in.length_bp = d.length_bp;
    b = compute(&d);
    CHECK_NEAR(b.amber[DNAS_IN_BP].rand, (all - in_bin - in_genome + 2 * both) / all, 1e-10);
    CHECK_NEAR(b.amber[DNAS_IN_BP].ari, (both - expected) / ((in_bin + in_genome) / 2 - expected),
               1e-10);
    CHECK_NEAR(b.amber[DNAS_IN_BP].purity, (5.0 / 6 + 1) / 2, 1e-15);
    dnas_binning_release(&b);
}

int main(void)
{
    RUN(test_golden);
    RUN(test_by_hand);
    RUN(test_unbinned);
    RUN(test_against_definitions);
    RUN(test_shared_sequences);
    RUN(test_one_bin_and_none);
    RUN(test_ties);
    RUN(test_many_pairs);
    return check_done();
}
