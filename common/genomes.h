/* SPDX-License-Identifier: MIT
 *
 * genomes.h - an index of a collection of genomes: what sequences there are, of
 * which species, and where their letters are no bases.
 *
 * The letters themselves are not kept: excerpt.h fetches those that are drawn.
 */
#ifndef DNAS_GENOMES_H
#define DNAS_GENOMES_H

#include <stdio.h>

#include "common/err.h"
#include "common/idmap.h"

#ifdef __cplusplus
extern "C" {
#endif

struct dnas_genomes_options {
    uint32_t min_length_bp;           /* shorter sequences are left out; 1 or more */
    const struct dnas_labels *labels; /* sequence to species, before all else; NULL: none */
    bool allow_duplicate_ids;         /* within a file */
    int n_threads;
};

struct dnas_genome_seq {
    size_t id; /* where in texts */
    uint32_t length_bp;
    uint32_t species;
    uint32_t file;
    uint32_t n_runs;
    size_t run;      /* the first of its runs */
    uint64_t record; /* number within the file, from 0 */
    uint64_t at;     /* its first granule (excerpt.h), or where it is in the file's spool */
};

/* A stretch of letters other than A, C, G, T. */
struct dnas_genome_run {
    uint32_t start, n;
    uint32_t before; /* such letters in the runs before it */
};

struct dnas_genome_file {
    const char *path; /* NULL: standard input */
    size_t first_seq; /* its sequences go up to the next file's first */
    FILE *spool;      /* letters of what cannot be read a second time; else NULL */
};

struct dnas_genome_species {
    size_t name;  /* its number in names */
    size_t first; /* its sequences: by_species[first .. first + n - 1] */
    size_t n;
    uint64_t length_bp; /* of all of them */
};

struct dnas_genomes {
    struct dnas_genome_seq *seqs; /* [n_seqs] by file and record */
    size_t n_seqs, seqs_cap;
    struct dnas_genome_run *runs;
    size_t n_runs, runs_cap;
    char *texts;
    size_t n_texts, texts_cap;
    struct dnas_idmap names;             /* of species, in order of appearance */
    struct dnas_genome_species *species; /* [n_species] by name */
    size_t n_species;
    uint32_t *by_species; /* [n_seqs] a species' sequences, the longest first */
    uint64_t *before;     /* [n_seqs] letters in by_species before it, within its species */
    struct dnas_genome_file *files; /* [n_files] */
    size_t n_files;
    uint64_t n_records; /* of all files, those left out included */
    uint64_t n_short;   /* left out: shorter than min_length_bp */
    uint64_t n_strange; /* left out: labels were given, and name no species for it */
    char *strange;      /* the first of them, or NULL */
    uint64_t n_granules;
};

/* Letters in a granule, the unit in which excerpt.h remembers what is wanted. */
#define DNAS_GRANULE_BP 256

/* Reads all files (none: standard input) once.  A sequence's species is what
 * the labels say; else, without labels, the tag label= or species= of its
 * header (a table's label); else the file's name without folder and endings
 * (dnas_genomes_species_of).  Files are read side by side, and the result does
 * not depend on their order, but for sequences of equal name and length.
 * Memory: about 64 bytes a sequence, its name, and 12 bytes a run.  The paths
 * are borrowed.  0, or -1; release g in either case. */
int dnas_genomes_index(struct dnas_genomes *g, char *const *paths, int n_paths,
                       const struct dnas_genomes_options *o, struct dnas_err *err);
void dnas_genomes_release(struct dnas_genomes *g);

const char *dnas_genomes_id(const struct dnas_genomes *g, size_t seq);
const char *dnas_genomes_species_name(const struct dnas_genomes *g, size_t species);
/* The sequences of a file: from *first, the number is returned. */
size_t dnas_genomes_of_file(const struct dnas_genomes *g, size_t file, size_t *first);
/* Letters other than A, C, G, T among the n from start on, counted from 0. */
uint32_t dnas_genomes_count_other(const struct dnas_genomes *g, size_t seq, uint32_t start,
                                  uint32_t n);
/* "dir/Escherichia_coli.fna.gz" is "Escherichia_coli": one ending of a
 * compression and one of a format go.  Free with free(). */
char *dnas_genomes_species_of(const char *path);

#ifdef __cplusplus
}
#endif
#endif
