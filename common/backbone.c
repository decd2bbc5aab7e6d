/* SPDX-License-Identifier: MIT
 *
 * backbone.c - the list of the networks.  Contract: backbone.h.
 */
#include "common/backbone.h"

#include <string.h>

#include "common/bert.h"
#include "common/esm.h"
#include "common/hyena.h"

const struct dnas_backbone *const dnas_backbones[] = {&dnas_bert, &dnas_hyena, &dnas_esm, NULL};

const struct dnas_backbone *dnas_backbone_named(const char *name)
{
    for (size_t i = 0; dnas_backbones[i]; i++)
        if (strcmp(dnas_backbones[i]->name, name) == 0)
            return dnas_backbones[i];
    return NULL;
}
