/* SPDX-License-Identifier: MIT
 *
 * gpu.c - the choice of a device.  Contract: gpu.h.
 */
#include "common/gpu.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/backend.h"

const char *const dnas_devices[] = {"auto", "cpu", "cuda", NULL};

int dnas_device_parse(struct dnas_device *d, const char *text, struct dnas_err *err)
{
    size_t n = strlen("cuda");
    char *end;
    long number;

    d->number = 0;
    for (int i = 0; dnas_devices[i]; i++)
        if (strcmp(text, dnas_devices[i]) == 0) {
            d->kind = (enum dnas_device_kind)i;
            return 0;
        }
    if (strncmp(text, "cuda:", n + 1) != 0 || text[n + 1] < '0' || text[n + 1] > '9')
        goto refused;
    errno = 0;
    number = strtol(text + n + 1, &end, 10);
    if (*end || errno || number > INT_MAX)
        goto refused;
    d->kind = DNAS_DEVICE_CUDA;
    d->number = (int)number;
    return 0;
refused:
    return dnas_err_set(err,
                        "--device takes one of auto, cpu, cuda, not '%s' (and cuda:N, a GPU by its "
                        "number)",
                        text);
}

int dnas_gpu_open(struct dnas_gpu *g, int number, struct dnas_err *err)
{
    char why[DNAS_ERR_MAX / 2] = "";
    const struct dnas_cuda_api *api = dnas_backend_cuda(why, sizeof(why));
    int n = api ? api->count(why, sizeof(why)) : 0;

    if (!api)
        return dnas_err_set(err, "CUDA: %s", why);
    if (n < 0)
        return dnas_err_set(err, "CUDA: there is no GPU to use: %s", why);
    if (number >= n)
        return dnas_err_set(err, "CUDA: there is no GPU number %d: this machine has %d, from 0",
                            number, n);
    g->device = api->open(number, why, sizeof(why));
    if (!g->device)
        return dnas_err_set(err, "CUDA: GPU number %d cannot be used: %s", number, why);
    g->api = api;
    g->number = number;
    api->info(g->device, &g->info);
    return 0;
}

void dnas_gpu_close(struct dnas_gpu *g)
{
    if (g->api)
        g->api->close(g->device);
    g->api = NULL;
    g->device = NULL;
}

int dnas_gpu_failed(const struct dnas_gpu *g, struct dnas_err *err)
{
    return dnas_err_set(err, "GPU number %d (%s) failed: %s", g->number, g->info.name,
                        g->api->error(g->device));
}

bool dnas_gpu_is_expected(void)
{
    return dnas_backend_has_cuda() != 0;
}

void dnas_gpu_describe(char *text, size_t room)
{
    char why[DNAS_ERR_MAX / 2] = "";
    const struct dnas_cuda_api *api = dnas_backend_cuda(why, sizeof(why));
    int n = api ? api->count(why, sizeof(why)) : 0;

    if (!api)
        snprintf(text, room, "%s", why);
    else if (n < 0)
        snprintf(text, room, "%s, no device: %s", api->build, why);
    else
        snprintf(text, room, "%s, %d device%s", api->build, n, n == 1 ? "" : "s");
}
