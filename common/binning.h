/* SPDX-License-Identifier: MIT
 *
 * binning.h - how well bins recover genomes, by two schools' measures.
 *
 * DNABERT-S (Zhou et al. 2024, evaluate/eval_binning.py): bins and species are
 * paired one to one so that they share the most sequences, and species with an
 * F1 or recall above .1 to .9 are counted.  AMBER (Meyer et al. 2018, as of its
 * version 2.0.7): each bin stands for the genome that most of it is of, each
 * genome is found in the bin that holds most of it, in sequences and in bp.
 */
#ifndef DNAS_BINNING_H
#define DNAS_BINNING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define DNAS_NO_GROUP UINT32_MAX
#define DNAS_N_THRESHOLDS 9 /* .1, .2, ... .9 */

/* A sequence is of a genome, or in a bin. */
struct dnas_member {
    uint32_t sequence, group;
};

struct dnas_binning_input {
    size_t n_sequences, n_genomes, n_bins;
    const uint64_t *length_bp; /* [n_sequences], 1 or more; NULL: not known */
    /* No pair twice; every sequence has a genome, and may have several (shared by strains); it may
     * be in one bin, in several, or in none. */
    const struct dnas_member *genome_of, *bin_of;
    size_t n_genome_of, n_bin_of;
};

enum dnas_unit { DNAS_IN_BP, DNAS_IN_SEQUENCES };

struct dnas_bin_score {
    uint64_t size[2];      /* by unit */
    uint32_t genome;       /* that most of the bin's bp are of; ties: met first in the bin */
    uint64_t of_genome[2]; /* what of the bin is of it */
    uint32_t partner;      /* the genome of the one-to-one pairing, or DNAS_NO_GROUP */
};

struct dnas_genome_score {
    uint64_t size[2];
    uint64_t n_binned;  /* sequences in bins; one in two bins counts twice */
    uint64_t n_missed;  /* sequences in no bin */
    uint32_t bin;       /* that holds most of its bp, ties: met first; or DNAS_NO_GROUP */
    uint64_t in_bin[2]; /* what that bin holds of it */
    uint32_t partner;   /* the bin of the one-to-one pairing, or DNAS_NO_GROUP */
    uint64_t n_shared;  /* sequences shared with it */
};

/* AMBER's summary in one unit; NaN where there is nothing to divide by. */
struct dnas_amber {
    double binned;             /* share of the gold standard in bins */
    double purity;             /* mean over bins of the share of their genome */
    double completeness;       /* mean over genomes of what their bin holds of them */
    double completeness_cami1; /* mean over bins of what they hold of their genome, with a 0 for
                                  each genome that no bin stands for (Sczyrba et al. 2017) */
    double f1, f1_cami1;       /* harmonic means of purity and these */
    double purity_weighted, completeness_weighted, f1_weighted; /* over bp, not bins or genomes */
    double accuracy;  /* what is in a bin of its genome, as a share of the gold standard */
    double rand, ari; /* over what is in bins (ari.h) */
};

/* DNABERT-S's counts. */
struct dnas_paired {
    uint64_t n_species;
    uint64_t f1_above[DNAS_N_THRESHOLDS];     /* species with an F1 above .1, .2, ... */
    uint64_t recall_above[DNAS_N_THRESHOLDS]; /* decided in integers: a half is not above .5 */
    double ari;                               /* over sequences */
};

/* Over which sequences DNABERT-S's counts go. */
enum dnas_counted {
    DNAS_COUNT_BINNED, /* those in bins, as the original does: the others are as if not there */
    DNAS_COUNT_WHOLE,  /* all: one in no bin is missed by its species, and alone for the ARI */
};

struct dnas_binning {
    size_t n_genomes, n_bins;
    uint64_t n_sequences, n_binned; /* each sequence once */
    bool has_lengths;
    struct dnas_bin_score *bin;       /* [n_bins]; size 0: no sequence of it is known */
    struct dnas_genome_score *genome; /* [n_genomes] */
    struct dnas_amber amber[2];       /* by unit; in bp NaN where lengths are not known */
    /* Bins more than 50, 70, 90 % complete with less than 10, 5 % of other genomes, in bp. */
    uint64_t recovered[3][2];
    struct dnas_paired paired[2]; /* by enum dnas_counted */
    uint64_t n_paired;            /* sequences whose bin and species are partners */
};

/* Scores a binning.  A sequence of several genomes counts for the one that its bin stands for, if
 * it can, else for its first; in no bin, for its first.  The order of bin_of and genome_of decides
 * ties of AMBER's; the one-to-one pairing depends on the numbers of bins and genomes alone, so
 * number them by name.  Where lengths are not known, "most of" is by sequences.  A number out of
 * range is a bug.  Time: sorts of bin_of, and the pairing (matching.h).  Release out. */
void dnas_binning_compute(struct dnas_binning *out, const struct dnas_binning_input *in);
void dnas_binning_release(struct dnas_binning *b);

/* Of a bin, or of a genome: what is right as a share of what is there; NaN for 0/0. */
double dnas_share(uint64_t part, uint64_t whole);
/* The harmonic mean 2 a b / (a + b); NaN where both are 0 or one is NaN. */
double dnas_harmonic_mean(double a, double b);

#ifdef __cplusplus
}
#endif
#endif
