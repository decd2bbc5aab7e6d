/* SPDX-License-Identifier: MIT
 *
 * packed.c - to the backbone's own functions.  Contract: packed.h.
 */
#include "common/packed.h"

#include "common/backbone.h"

int dnas_packed_check(const struct dnas_network *n, enum dnas_cuda_type type, struct dnas_err *err)
{
    if (!n->backbone->packed)
        return dnas_err_set(err, "networks of the kind '%s' run on the CPU alone",
                            n->backbone->name);
    if (n->output != DNAS_OUTPUT_HIDDEN)
        return dnas_err_set(err, "logits are computed on the CPU alone");
    return n->backbone->packed->check(n, type, err);
}

struct dnas_packed *dnas_packed_new(const struct dnas_network *n, const struct dnas_gpu *g,
                                    enum dnas_cuda_type type, struct dnas_err *err)
{
    return n->backbone->packed->create(n, g, type, err);
}

void dnas_packed_free(struct dnas_packed *p)
{
    if (p)
        p->network->backbone->packed->release(p);
}

uint64_t dnas_packed_scratch(const struct dnas_packed *p, size_t max_T)
{
    return p->network->backbone->packed->scratch(p, max_T);
}

struct dnas_cuda_pack *dnas_packed_pack_new(const struct dnas_packed *p, size_t max_T, size_t max_B)
{
    return p->network->backbone->packed->pack_new(p, max_T, max_B);
}

const void *dnas_packed_forward(const struct dnas_packed *p, void *scratch, const uint16_t *ids,
                                struct dnas_cuda_pack *pack, size_t T)
{
    return p->network->backbone->packed->forward(p, scratch, ids, pack, T);
}
