/* SPDX-License-Identifier: MIT
 *
 * train_curriculum.c - the phases of a training run, as they are named.  Contract: train_net.h.
 */
#include <stdlib.h>
#include <string.h>

#include "common/train_net.h"

static const char *const objective_names[] = {"wsimclr", "mimix", "imix", "supcon", "mlm"};
#define N_OBJECTIVES (sizeof(objective_names) / sizeof(*objective_names))

const char *dnas_objective_name(enum dnas_objective o)
{
    return objective_names[o];
}

int dnas_train_net_curriculum(struct dnas_train_net *t, const char *text, struct dnas_err *err)
{
    t->n_phases = 0;
    for (const char *at = text; *at;) {
        size_t n = strcspn(at, ",:"), o = 0;
        unsigned long epochs = 1;
        char *end = (char *)at + n;

        while (o < N_OBJECTIVES &&
               (strlen(objective_names[o]) != n || strncmp(objective_names[o], at, n) != 0))
            o++;
        if (o == N_OBJECTIVES)
            return dnas_err_set(err, "'%.*s' is no objective: wsimclr, mimix, imix, supcon or mlm",
                                (int)n, at);
        if (*end == ':' && end[1] >= '0' && end[1] <= '9')
            epochs = strtoul(end + 1, &end, 10);
        if ((*end && *end != ',') || epochs < 1 || epochs > 1000000)
            return dnas_err_set(err, "'%s' does not go on as NAME:EPOCHS,NAME:EPOCHS", at);
        if (t->n_phases == DNAS_TRAIN_PHASES)
            return dnas_err_set(err, "more than %d phases", DNAS_TRAIN_PHASES);
        t->phases[t->n_phases++] = (struct dnas_phase){(enum dnas_objective)o, (uint32_t)epochs};
        at = *end ? end + 1 : end;
    }
    return t->n_phases > 0 ? 0 : dnas_err_set(err, "no objective is named");
}
