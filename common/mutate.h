/* SPDX-License-Identifier: MIT
 *
 * mutate.h - what a second look at the same DNA sees: the other strand, and
 * errors as a sequencer makes them.
 */
#ifndef DNAS_MUTATE_H
#define DNAS_MUTATE_H

#include "common/rng.h"
#include "common/text.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Shares of the kinds of error.  Long reads' ratios are the recommended ones of
 * PBSIM (Ono, Asai and Hamada 2013, CLR 10:60:30) and PBSIM2 (the same 2021,
 * nanopore 23:31:46), half of whose inserted letters repeat the one that
 * follows. */
enum dnas_profile {
    DNAS_PROFILE_EVEN, /* a third each */
    DNAS_PROFILE_SUBSTITUTION,
    DNAS_PROFILE_DELETION,
    DNAS_PROFILE_NANOPORE,
    DNAS_PROFILE_PACBIO,
};
/* Their names in that order, NULL behind the last. */
extern const char *const dnas_profile_names[];

/* Letters of upper case to those that pair with them (IUPAC codes too; what
 * has no partner stays), in place. */
void dnas_complement(char *letters, size_t n);
void dnas_reverse(char *letters, size_t n);

/* Appends n letters to out, each of them with probability rate (below 1)
 * substituted by another base, deleted, or preceded by an inserted base.
 * Letters other than A, C, G, T stay.  rate 0 copies. */
void dnas_mutate(struct dnas_text *out, const char *letters, size_t n, double rate,
                 enum dnas_profile profile, struct dnas_rng *rng);

#ifdef __cplusplus
}
#endif
#endif
