/* SPDX-License-Identifier: MIT
 *
 * mutate.c - strands and errors.  Contract: mutate.h.
 */
#include "common/mutate.h"

#include <math.h>
#include <stdbool.h>

#include "common/err.h"

const char *const dnas_profile_names[] = {"even",     "substitution", "deletion",
                                          "nanopore", "pacbio",       NULL};

/* Of all errors; what is left of 1 are deletions. */
static const struct {
    double substitution, insertion;
    double repeats; /* of the inserted letters: equal to the one that follows */
} shares[] = {
    [DNAS_PROFILE_EVEN] = {1.0 / 3, 1.0 / 3, 0}, [DNAS_PROFILE_SUBSTITUTION] = {1, 0, 0},
    [DNAS_PROFILE_DELETION] = {0, 0, 0},         [DNAS_PROFILE_NANOPORE] = {0.23, 0.31, 0.5},
    [DNAS_PROFILE_PACBIO] = {0.10, 0.60, 0.5},
};

/* What turns a letter into its partner by exclusive or; 0 where there is none. */
static const char flip[256] = {
    ['A'] = 'A' ^ 'T', ['T'] = 'A' ^ 'T', ['C'] = 'C' ^ 'G', ['G'] = 'C' ^ 'G',
    ['R'] = 'R' ^ 'Y', ['Y'] = 'R' ^ 'Y', ['K'] = 'K' ^ 'M', ['M'] = 'K' ^ 'M',
    ['B'] = 'B' ^ 'V', ['V'] = 'B' ^ 'V', ['D'] = 'D' ^ 'H', ['H'] = 'D' ^ 'H',
};

void dnas_complement(char *letters, size_t n)
{
    for (size_t i = 0; i < n; i++)
        letters[i] = (char)(letters[i] ^ flip[(unsigned char)letters[i]]);
}

void dnas_reverse(char *letters, size_t n)
{
    for (size_t i = 0; i < n / 2; i++) {
        char c = letters[i];

        letters[i] = letters[n - 1 - i];
        letters[n - 1 - i] = c;
    }
}

static int base_number(char c)
{
    return c == 'A' ? 0 : c == 'C' ? 1 : c == 'G' ? 2 : c == 'T' ? 3 : -1;
}

/* Puts the letter c with an error in it. */
static void err_at(struct dnas_text *out, char c, enum dnas_profile profile, struct dnas_rng *rng)
{
    double kind = dnas_rng_uniform(rng);
    int base = base_number(c);
    char put[2];

    if (base < 0) {
        dnas_text_append(out, &c, 1);
    } else if (kind < shares[profile].substitution) {
        put[0] = "ACGT"[(base + 1 + (int)dnas_rng_below(rng, 3)) % 4];
        dnas_text_append(out, put, 1);
    } else if (kind < shares[profile].substitution + shares[profile].insertion) {
        bool repeats = dnas_rng_uniform(rng) < shares[profile].repeats;

        put[0] = repeats ? c : "ACGT"[dnas_rng_below(rng, 4)];
        put[1] = c;
        dnas_text_append(out, put, 2);
    }
}

/* Letters up to the next error: geometric, at most n. */
static size_t gap(struct dnas_rng *rng, double log_kept, size_t n)
{
    double g = log(1.0 - dnas_rng_uniform(rng)) / log_kept; /* 1 - u is in (0, 1] */

    return g < (double)n ? (size_t)g : n;
}

void dnas_mutate(struct dnas_text *out, const char *letters, size_t n, double rate,
                 enum dnas_profile profile, struct dnas_rng *rng)
{
    double log_kept = log1p(-rate);

    if (!(rate >= 0 && rate < 1))
        DNAS_BUG("an error rate of %g", rate);
    for (size_t i = 0; i < n; i++) {
        size_t same = rate > 0 ? gap(rng, log_kept, n - i) : n - i;

        dnas_text_append(out, letters + i, same);
        i += same;
        if (i < n)
            err_at(out, letters[i], profile, rng);
    }
}
