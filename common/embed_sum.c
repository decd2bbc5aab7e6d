/* SPDX-License-Identifier: MIT
 *
 * embed_sum.c - from windows to rows.  Contract: embed_sum.h.
 */
#include "common/embed_sum.h"

#include <stdlib.h>
#include <string.h>

#include "common/embed.h"
#include "common/features.h"
#include "common/msg.h"
#include "common/xmem.h"

void dnas_embed_sum_init(struct dnas_embed_sum *s, const struct dnas_embed_source *source,
                         struct dnas_writer *w, size_t dims, bool bf16)
{
    size_t all = dnas_network_dims(source->network);

    *s = (struct dnas_embed_sum){.network = source->network,
                                 .w = w,
                                 .dims = dims ? dims : all,
                                 .bf16 = bf16,
                                 .n_extra = source->n_extra};
    s->sum = dnas_xzalloc(source->network->shape.C, sizeof(*s->sum));
    s->embedding = dnas_xalloc(all, sizeof(*s->embedding));
    s->vector = dnas_xalloc(all, sizeof(*s->vector));
    s->narrow = dnas_xalloc(all, sizeof(*s->narrow));
    dnas_table_init(&s->extra, source->extra_columns, source->n_extra);
}

void dnas_embed_sum_release(struct dnas_embed_sum *s)
{
    dnas_table_release(&s->extra);
    free(s->sum);
    free(s->embedding);
    free(s->vector);
    free(s->narrow);
}

static int write_row(struct dnas_embed_sum *s, const struct dnas_embed_place *p,
                     struct dnas_err *err)
{
    size_t C = s->network->shape.C, all = dnas_network_dims(s->network);
    uint32_t length_bp = (uint32_t)s->length_bp;

    if (s->length_bp > UINT32_MAX)
        return dnas_err_set(err, "'%.200s' is longer than 4294967295 letters", p->id);
    for (size_t i = 0; i < C; i++)
        s->sum[i] = s->length_bp ? s->sum[i] / (double)s->length_bp : 0;
    dnas_network_embedding(s->network, s->embedding, s->sum);
    for (size_t i = 0; i < all; i++)
        s->vector[i] = (float)s->embedding[i];
    if (s->dims != all)
        dnas_reduce_mean(s->vector, s->vector, all, s->dims);
    for (size_t i = 0; s->bf16 && i < s->dims; i++)
        s->narrow[i] = dnas_bf16_from_f32(s->vector[i]);
    dnas_writer_text(s->w, DNAS_EMBED_ID, p->id);
    dnas_writer_cell(s->w, DNAS_EMBED_VECTOR, s->bf16 ? (void *)s->narrow : (void *)s->vector,
                     s->dims);
    dnas_writer_cell(s->w, DNAS_EMBED_LENGTH, &length_bp, 1);
    dnas_writer_text(s->w, DNAS_EMBED_LABEL, p->label);
    if (s->n_extra > 0) {
        struct dnas_block extra = dnas_table_block(&s->extra);

        for (int c = 0; c < s->n_extra; c++)
            dnas_writer_copy_cell(s->w, DNAS_EMBED_LABEL + 1 + c, &extra, c, 0);
    }
    return dnas_writer_end_row(s->w, err);
}

int dnas_embed_sum_add(struct dnas_embed_sum *s, const struct dnas_embed_place *p,
                       const double *mean, struct dnas_err *err)
{
    size_t C = s->network->shape.C;

    if (p->part == 0) {
        memset(s->sum, 0, C * sizeof(*s->sum));
        s->length_bp = 0;
        if (s->n_extra > 0) {
            struct dnas_block extra = dnas_table_block(&p->extra);

            dnas_table_clear(&s->extra);
            dnas_table_append(&s->extra, &extra);
        }
    }
    for (size_t i = 0; i < C; i++)
        s->sum[i] += mean[i] * (double)p->length_bp;
    s->length_bp += p->length_bp;
    s->n_tokens += p->n_tokens;
    dnas_progress("embedding", "sequences", dnas_writer_rows(s->w), p->done_bytes, p->total_bytes);
    return p->part + 1 == p->parts ? write_row(s, p, err) : 0;
}
