/* SPDX-License-Identifier: MIT
 *
 * provenance.c - program lines.  Contract: provenance.h.
 */
#include "common/provenance.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/version.h"
#include "common/xmem.h"
#include "kernels/isa.h"

static bool has_id(const json_t *pg, const char *id)
{
    size_t i;
    json_t *line;

    json_array_foreach(pg, i, line)
    {
        const char *other = json_string_value(json_object_get(line, "ID"));

        if (other && strcmp(other, id) == 0)
            return true;
    }
    return false;
}

static char *unique_id(const json_t *pg, const char *name)
{
    char *id = dnas_xstrdup(name);

    for (unsigned i = 1; has_id(pg, id); i++) {
        free(id);
        id = dnas_xasprintf("%s.%u", name, i);
    }
    return id;
}

void dnas_provenance_add(struct dnas_header *h, const json_t *before, const struct dnas_tool *tool,
                         const struct dnas_common *common, const int64_t *seed)
{
    const char *command = common->command_line;
    json_t *line, *last;
    char *id;

    json_decref(h->pg);
    h->pg = before ? json_deep_copy(before) : NULL;
    if (common->no_pg)
        return;
    if (!h->pg)
        h->pg = json_array();
    last = json_object_get(json_array_get(h->pg, json_array_size(h->pg) - 1), "ID");
    id = unique_id(h->pg, tool->name);
    if (!dnas_is_utf8(command, strlen(command)))
        command = tool->name; /* JSON cannot hold it */
    line = json_pack("{s:s, s:s, s:s, s:s, s:s, s:s}", "ID", id, "PN", tool->name, "VN",
                     DNAS_VERSION, "CL", command, "DV", common->device ? common->device : "cpu",
                     "IS", dnas_isa_name());
    free(id);
    if (last)
        json_object_set(line, "PP", last);
    if (seed) {
        char number[24];

        snprintf(number, sizeof(number), "%" PRId64, *seed);
        json_object_set_new(line, "SD", json_string(number));
    }
    json_array_append_new(h->pg, line);
}
