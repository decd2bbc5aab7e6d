/* SPDX-License-Identifier: MIT
 *
 * net_cuda.c - parameters, gradients and means on a GPU.  Contract: net_cuda.h.
 */
#include "common/net_cuda.h"

#include <stdlib.h>
#include <string.h>

#include "common/backbone.h"
#include "common/pass.h"
#include "common/xmem.h"

#define THROUGH ((size_t)1 << 20) /* floats on their way at a time */

struct dnas_net_cuda_rest {
    float *through;         /* [THROUGH], memory that the device copies */
    double *squares, *sums; /* [n_tensors] on the device; here */
};

int dnas_net_cuda_check(const struct dnas_net *net, enum dnas_cuda_type type, struct dnas_err *err)
{
    const struct dnas_pass_backbone *pass = net->backbone->pass;

    if (!pass)
        return dnas_err_set(err, "--arch %s is trained on the CPU", net->backbone->name);
    if (net->heads.mlm && net->shape.V % 8 != 0)
        return dnas_err_set(err, "mlm takes a vocabulary of a multiple of 8, not %zu tokens",
                            net->shape.V);
    return pass->check(&net->shape, type, err);
}

/* ---- copies ---- */

int dnas_net_cuda_get(const struct dnas_net_cuda *d, float *to, const float *from, size_t n,
                      struct dnas_err *err)
{
    const struct dnas_cuda_api *api = d->gpu->api;

    for (size_t at = 0, k; at < n; at += k) {
        k = n - at < THROUGH ? n - at : THROUGH;
        api->copy_out(d->gpu->device, d->rest->through, from + at, k * sizeof(*to));
        if (api->wait(d->gpu->device) != 0)
            return dnas_gpu_failed(d->gpu, err);
        memcpy(to + at, d->rest->through, k * sizeof(*to));
    }
    return 0;
}

int dnas_net_cuda_put(const struct dnas_net_cuda *d, float *to, const float *from, size_t n,
                      struct dnas_err *err)
{
    const struct dnas_cuda_api *api = d->gpu->api;

    for (size_t at = 0, k; at < n; at += k) {
        k = n - at < THROUGH ? n - at : THROUGH;
        memcpy(d->rest->through, from + at, k * sizeof(*to));
        api->copy_in(d->gpu->device, to + at, d->rest->through, k * sizeof(*to));
        if (api->wait(d->gpu->device) != 0)
            return dnas_gpu_failed(d->gpu, err);
    }
    return 0;
}

int dnas_net_cuda_fetch(const struct dnas_net_cuda *d, struct dnas_optim *optim, bool gradient,
                        struct dnas_err *err)
{
    size_t n = d->net->n;

    if (dnas_net_cuda_get(d, d->net->w, d->w, n, err) != 0)
        return -1;
    if (optim && (dnas_net_cuda_get(d, optim->m, d->m, n, err) != 0 ||
                  dnas_net_cuda_get(d, optim->v, d->v, n, err) != 0))
        return -1;
    return gradient ? dnas_net_cuda_get(d, d->net->g, d->g, n, err) : 0;
}

/* ---- memory ---- */

static int no_room(const struct dnas_net_cuda *d, uint64_t size_bytes, struct dnas_err *err)
{
    if (*d->gpu->api->error(d->gpu->device))
        return dnas_gpu_failed(d->gpu, err);
    return dnas_err_set(err,
                        "GPU number %d (%s) has no %llu bytes left for the parameters: use "
                        "--device cpu",
                        d->gpu->number, d->gpu->info.name, (unsigned long long)size_bytes);
}

static int allocate(struct dnas_net_cuda *d, struct dnas_err *err)
{
    const struct dnas_cuda_api *api = d->gpu->api;
    struct dnas_cuda *device = d->gpu->device;
    size_t n = d->net->n;

    d->w = api->alloc(device, n * sizeof(*d->w));
    d->g = api->alloc(device, n * sizeof(*d->g));
    d->m = api->alloc(device, n * sizeof(*d->m));
    d->v = api->alloc(device, n * sizeof(*d->v));
    if (d->type == DNAS_CUDA_BF16)
        d->narrow = api->alloc(device, n * sizeof(*d->narrow));
    d->rest->squares = api->alloc(device, d->net->n_tensors * sizeof(*d->rest->squares));
    d->rest->sums = api->host_alloc(device, d->net->n_tensors * sizeof(*d->rest->sums));
    d->rest->through = api->host_alloc(device, THROUGH * sizeof(*d->rest->through));
    if (!d->w || !d->g || !d->m || !d->v || (d->type == DNAS_CUDA_BF16 && !d->narrow) ||
        !d->rest->squares || !d->rest->sums || !d->rest->through)
        return no_room(d, (d->type == DNAS_CUDA_BF16 ? 18 : 16) * (uint64_t)n, err);
    return 0;
}

struct dnas_net_cuda *dnas_net_cuda_new(struct dnas_net *net, const struct dnas_gpu *gpu,
                                        enum dnas_cuda_type type, const struct dnas_optim *optim,
                                        struct dnas_err *err)
{
    struct dnas_net_cuda *d = dnas_xzalloc(1, sizeof(*d));
    size_t n = net->n;

    *d = (struct dnas_net_cuda){
        .net = net, .gpu = gpu, .type = type, .rest = dnas_xzalloc(1, sizeof(*d->rest))};
    if (dnas_net_cuda_check(net, type, err) != 0 || allocate(d, err) != 0 ||
        dnas_net_cuda_put(d, d->w, net->w, n, err) != 0 ||
        dnas_net_cuda_put(d, d->m, optim->m, n, err) != 0 ||
        dnas_net_cuda_put(d, d->v, optim->v, n, err) != 0) {
        dnas_net_cuda_free(d);
        return NULL;
    }
    gpu->api->zero(gpu->device, d->g, n * sizeof(*d->g));
    if (d->narrow)
        gpu->api->convert(gpu->device, d->narrow, d->w, n, DNAS_CUDA_BF16);
    return d;
}

void dnas_net_cuda_free(struct dnas_net_cuda *d)
{
    if (!d)
        return;
    void *const there[] = {d->w, d->g, d->m, d->v, d->narrow, d->rest->squares};

    for (size_t i = 0; i < sizeof(there) / sizeof(*there); i++)
        d->gpu->api->free(d->gpu->device, there[i]);
    d->gpu->api->host_free(d->gpu->device, d->rest->sums);
    d->gpu->api->host_free(d->gpu->device, d->rest->through);
    free(d->rest);
    free(d);
}

/* ---- views ---- */

const float *dnas_net_cuda_at(const struct dnas_net_cuda *d, const float *w)
{
    return d->w + (w - d->net->w);
}

const void *dnas_net_cuda_matrix(const struct dnas_net_cuda *d, const float *w)
{
    return d->narrow ? (const void *)(d->narrow + (w - d->net->w)) : dnas_net_cuda_at(d, w);
}

float *dnas_net_cuda_grad(const struct dnas_net_cuda *d, const float *w)
{
    return d->g + (w - d->net->w);
}

/* ---- the optimiser ---- */

/* The host runs the contrastive head. */
static int fetch_head(const struct dnas_net_cuda *d, struct dnas_err *err)
{
    for (size_t i = 0; i < d->net->n_tensors; i++) {
        const struct dnas_net_tensor *t = &d->net->tensors[i];

        if (t->part == DNAS_NET_HEAD &&
            dnas_net_cuda_get(d, d->net->w + t->at, d->w + t->at, t->tensor.n, err) != 0)
            return -1;
    }
    return 0;
}

int dnas_net_cuda_step(struct dnas_net_cuda *d, struct dnas_optim *optim, bool *finite,
                       struct dnas_optim_report *report, struct dnas_err *err)
{
    const struct dnas_cuda_api *api = d->gpu->api;
    struct dnas_cuda *device = d->gpu->device;
    const struct dnas_adamw *numbers;
    size_t n;
    const struct dnas_optim_group *groups = dnas_optim_groups(optim, &n);

    for (size_t k = 0; k < n; k++)
        api->sum_squares(device, d->rest->squares + k, d->g + groups[k].first, groups[k].n);
    api->copy_out(device, d->rest->sums, d->rest->squares, n * sizeof(double));
    if (api->wait(device) != 0)
        return dnas_gpu_failed(d->gpu, err);
    numbers = dnas_optim_plan(optim, d->rest->sums, report);
    *finite = numbers != NULL;
    for (size_t k = 0; numbers && k < n; k++) {
        size_t at = groups[k].first;

        api->adamw_step(device, d->w + at, d->m + at, d->v + at, d->g + at,
                        d->narrow ? d->narrow + at : NULL, groups[k].n, &numbers[k]);
    }
    return fetch_head(d, err);
}
