/* SPDX-License-Identifier: MIT
 *
 * scores.h - names and values, as a table of one line a case, or as JSON.
 */
#ifndef DNAS_SCORES_H
#define DNAS_SCORES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/text.h"

#ifdef __cplusplus
extern "C" {
#endif

#define DNAS_SCORE_NAME 64

struct dnas_score {
    char name[DNAS_SCORE_NAME];
    enum { DNAS_SCORE_REAL, DNAS_SCORE_COUNT, DNAS_SCORE_TEXT } kind;
    double real; /* NaN: there is none */
    uint64_t count;
    const char *text; /* borrowed */
};

/* Starts with {0}; free score with free(). */
struct dnas_scores {
    struct dnas_score *score;
    size_t n, cap;
};

/* Append one; the name is made as by printf. */
void dnas_scores_real(struct dnas_scores *s, double value, const char *name, ...)
    __attribute__((format(printf, 3, 4)));
void dnas_scores_count(struct dnas_scores *s, uint64_t value, const char *name, ...)
    __attribute__((format(printf, 3, 4)));
void dnas_scores_text(struct dnas_scores *s, const char *value, const char *name, ...)
    __attribute__((format(printf, 3, 4)));

/* The line of names, with its newline. */
void dnas_scores_names(struct dnas_text *t, const struct dnas_scores *s);
/* The values, separated by tabs, or as a JSON object with the names; with a newline.  NaN is
 * "nan", in JSON null. */
void dnas_scores_values(struct dnas_text *t, const struct dnas_scores *s, bool json);

#ifdef __cplusplus
}
#endif
#endif
