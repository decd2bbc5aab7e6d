/* SPDX-License-Identifier: MIT
 *
 * seq_opt.c - options about sequences.  Contract: seq_opt.h.
 */
#include "common/seq_opt.h"

#include <stdio.h>
#include <stdlib.h>

#include "common/msg.h"

#define MAX_SHARDS 1000000

/* "3/8": both numbers whole, 1 <= 3 <= 8. */
static bool parse_shard(const char *text, struct dnas_seq_options *o)
{
    char *end;
    long i, n;

    i = strtol(text, &end, 10);
    if (end == text || *end != '/')
        return false;
    text = end + 1;
    n = strtol(text, &end, 10);
    if (end == text || *end || i < 1 || n < i || n > MAX_SHARDS)
        return false;
    o->shard = (uint32_t)i;
    o->n_shards = (uint32_t)n;
    return true;
}

int dnas_seq_opt_resolve(struct dnas_seq_opt *s, struct dnas_seq_options *options)
{
    struct dnas_err err = {""};

    *options = (struct dnas_seq_options){.keep_case = s->keep_case,
                                         .allow_duplicate_ids = s->allow_duplicate_ids,
                                         .truncate_bp = (uint64_t)s->truncate_bp};
    if (s->shard && !parse_shard(s->shard, options))
        return dnas_usage_error("--shard takes I/N with 1 <= I <= N <= %d, not '%s'", MAX_SHARDS,
                                s->shard);
    if (!s->labels)
        return -1;
    if (dnas_labels_load(&s->table, s->labels, &err) != 0) {
        dnas_msg_error("%s", err.msg);
        return 1;
    }
    options->labels = &s->table;
    return -1;
}

void dnas_seq_opt_release(struct dnas_seq_opt *s)
{
    if (s->labels)
        dnas_labels_release(&s->table);
}
