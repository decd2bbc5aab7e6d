/* SPDX-License-Identifier: MIT
 *
 * cuda_shim.c - stands between dnas and a library of CUDA, to be another than it is.
 *
 * DNAS_SHIM_LIBRARY=FILE   the library whose table it hands on
 * DNAS_SHIM=KIND           abi, size: the table is of another version; count: there is no driver;
 *                          none: there is no device; open: a device cannot be opened
 */
#define _POSIX_C_SOURCE 200809L
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/cuda.h"

static int no_driver(char *why, size_t room)
{
    snprintf(why, room, "no driver is loaded");
    return -1;
}

static int no_device(char *why, size_t room)
{
    (void)why;
    (void)room;
    return 0;
}

static struct dnas_cuda *no_open(int i, char *why, size_t room)
{
    snprintf(why, room, "device %d is busy", i);
    return NULL;
}

const struct dnas_cuda_api *dnas_cuda_table(void)
{
    static struct dnas_cuda_api api;
    void *library = dlopen(getenv("DNAS_SHIM_LIBRARY"), RTLD_NOW);
    void *symbol = library ? dlsym(library, DNAS_CUDA_SYMBOL) : NULL;
    const struct dnas_cuda_api *(*table)(void);
    const char *kind = getenv("DNAS_SHIM");

    memcpy(&table, &symbol, sizeof(table));
    if (!table || !kind)
        abort();
    api = *table();
    if (strcmp(kind, "abi") == 0)
        api.abi++;
    else if (strcmp(kind, "size") == 0)
        api.size_bytes -= 8;
    else if (strcmp(kind, "count") == 0)
        api.count = no_driver;
    else if (strcmp(kind, "none") == 0)
        api.count = no_device;
    else if (strcmp(kind, "open") == 0)
        api.open = no_open;
    else
        abort();
    return &api;
}
