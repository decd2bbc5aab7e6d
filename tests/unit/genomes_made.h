/* SPDX-License-Identifier: MIT
 *
 * genomes_made.h - genomes drawn for the unit tests, with what is in them kept.
 */
#ifndef DNAS_TEST_GENOMES_MADE_H
#define DNAS_TEST_GENOMES_MADE_H

#include "common/genomes.h"
#include "common/rng.h"
#include "tests/unit/files.h"

/* n random bases with a 0 behind them.  Free them. */
static inline char *made_letters(size_t n, uint32_t number)
{
    struct dnas_rng rng;
    char *letters = malloc(n + 1);

    if (!letters)
        abort();
    dnas_rng_init(&rng, 1, DNAS_RNG_TEST, 77, number);
    for (size_t i = 0; i < n; i++)
        letters[i] = "ACGT"[dnas_rng_u32(&rng) >> 30];
    letters[n] = '\0';
    return letters;
}

/* Writes the letters as a record in lines of 70. */
static inline void made_record(FILE *f, const char *header, const char *letters)
{
    size_t n = strlen(letters);

    fprintf(f, ">%s\n", header);
    for (size_t i = 0; i < n; i += 70)
        fprintf(f, "%.70s\n", letters + i);
}

/* One file with a record of random bases for each length (0 ends them), named
 * s0, s1, ...; the path. */
static inline char *made_file(const char *name, const uint32_t *lengths)
{
    const char *path = file_path(name);
    FILE *f = fopen(path, "w");

    for (uint32_t i = 0; f && lengths[i]; i++) {
        char *letters = made_letters(lengths[i], i);
        char header[16];

        snprintf(header, sizeof(header), "s%u", i);
        made_record(f, header, letters);
        free(letters);
    }
    if (!f || fclose(f) != 0)
        abort();
    return (char *)path;
}

/* The index of some files; CHECK what it returns. */
static inline int made_index(struct dnas_genomes *g, char *const *paths, int n_paths,
                             uint32_t min_length_bp, struct dnas_err *err)
{
    const struct dnas_genomes_options o = {.min_length_bp = min_length_bp, .n_threads = 2};

    return dnas_genomes_index(g, paths, n_paths, &o, err);
}

#endif
