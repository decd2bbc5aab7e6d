/* SPDX-License-Identifier: MIT
 *
 * scores.c - names and values as text.  Contract: scores.h.
 */
#include "common/scores.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "common/err.h"
#include "common/xmem.h"

static struct dnas_score *append(struct dnas_scores *s, const char *name, va_list ap)
{
    struct dnas_score *score;

    s->score = dnas_xgrow(s->score, &s->cap, s->n + 1, sizeof(*s->score));
    score = &s->score[s->n++];
    *score = (struct dnas_score){.text = ""};
    if (vsnprintf(score->name, sizeof(score->name), name, ap) >= (int)sizeof(score->name))
        DNAS_BUG("the name '%s' is too long", name);
    return score;
}

void dnas_scores_real(struct dnas_scores *s, double value, const char *name, ...)
{
    struct dnas_score *score;
    va_list ap;

    va_start(ap, name);
    score = append(s, name, ap);
    va_end(ap);
    score->kind = DNAS_SCORE_REAL;
    score->real = value;
}

void dnas_scores_count(struct dnas_scores *s, uint64_t value, const char *name, ...)
{
    struct dnas_score *score;
    va_list ap;

    va_start(ap, name);
    score = append(s, name, ap);
    va_end(ap);
    score->kind = DNAS_SCORE_COUNT;
    score->count = value;
}

void dnas_scores_text(struct dnas_scores *s, const char *value, const char *name, ...)
{
    struct dnas_score *score;
    va_list ap;

    va_start(ap, name);
    score = append(s, name, ap);
    va_end(ap);
    score->kind = DNAS_SCORE_TEXT;
    score->text = value;
}

void dnas_scores_names(struct dnas_text *t, const struct dnas_scores *s)
{
    for (size_t i = 0; i < s->n; i++)
        dnas_text_printf(t, "%s%s", i ? "\t" : "", s->score[i].name);
    dnas_text_append(t, "\n", 1);
}

static void append_value(struct dnas_text *t, const struct dnas_score *score, bool json)
{
    switch (score->kind) {
    case DNAS_SCORE_REAL:
        dnas_text_real(t, score->real, json);
        return;
    case DNAS_SCORE_COUNT:
        dnas_text_printf(t, "%" PRIu64, score->count);
        return;
    case DNAS_SCORE_TEXT:
        if (json)
            dnas_text_json_string(t, score->text, strlen(score->text));
        else
            dnas_text_append(t, score->text, strlen(score->text));
        return;
    }
}

void dnas_scores_values(struct dnas_text *t, const struct dnas_scores *s, bool json)
{
    for (size_t i = 0; i < s->n; i++) {
        if (json)
            dnas_text_printf(t, "%s\"%s\": ", i ? ", " : "{", s->score[i].name);
        else if (i > 0)
            dnas_text_append(t, "\t", 1);
        append_value(t, &s->score[i], json);
    }
    dnas_text_printf(t, json ? "}\n" : "\n");
}
