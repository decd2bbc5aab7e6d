/* SPDX-License-Identifier: MIT
 *
 * backend.c - the CUDA library at run time.  Contract: backend.h.
 *
 * It stays loaded: libraries of CUDA do not like to be unloaded.
 */
#include "kernels/backend.h"

#include <dlfcn.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LIBRARY "libdnas-cuda.so"

static struct {
    const struct dnas_cuda_api *api;
    int is_there;
    char why[1024];
} found;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void take_table(void *library, const char *path)
{
    const struct dnas_cuda_api *(*table)(void);
    const struct dnas_cuda_api *api;
    void *symbol = dlsym(library, DNAS_CUDA_SYMBOL);

    memcpy(&table, &symbol, sizeof(table)); /* ISO C casts no object to a function */
    if (!table) {
        snprintf(found.why, sizeof(found.why), "%s: is not a library of dnas", path);
        return;
    }
    api = table();
    if (api->abi == DNAS_CUDA_ABI && api->size_bytes == sizeof(*api))
        found.api = api;
    else
        snprintf(found.why, sizeof(found.why),
                 "%s: is of another version of dnas (interface %u of %u bytes, not %u of %zu)",
                 path, (unsigned)api->abi, (unsigned)api->size_bytes, (unsigned)DNAS_CUDA_ABI,
                 sizeof(*api));
}

static void load(const char *path)
{
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);

    found.is_there = 1;
    if (library)
        take_table(library, path);
    else
        snprintf(found.why, sizeof(found.why), "%s", dlerror());
}

/* Where it lies as seen from the folder of the program; whether it is there. */
static int load_beside(const char *folder, size_t n, const char *where)
{
    char path[PATH_MAX];
    int m = snprintf(path, sizeof(path), "%.*s/%s" LIBRARY, (int)n, folder, where);

    if (m < 0 || (size_t)m >= sizeof(path) || access(path, F_OK) != 0)
        return 0;
    load(path);
    return 1;
}

static void find(void)
{
    static const char missing[] = LIBRARY ": cannot open shared object file";
    const char *wish = getenv("DNAS_CUDA_LIBRARY");
    char program[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", program, sizeof(program));

    snprintf(found.why, sizeof(found.why), "not in this build");
    if (wish && strcmp(wish, "none") == 0)
        return;
    if (wish && *wish) {
        load(wish);
        return;
    }
    while (n > 0 && program[n - 1] != '/')
        n--;
    if (n > 0 &&
        (load_beside(program, (size_t)n, "../lib/") || load_beside(program, (size_t)n, "")))
        return;
    load(LIBRARY);
    if (strncmp(found.why, missing, sizeof(missing) - 1) == 0) {
        found.is_there = 0;
        snprintf(found.why, sizeof(found.why), "not in this build");
    }
}

const struct dnas_cuda_api *dnas_backend_cuda(char *why, size_t room)
{
    pthread_once(&once, find);
    if (!found.api)
        snprintf(why, room, "%s", found.why);
    return found.api;
}

int dnas_backend_has_cuda(void)
{
    pthread_once(&once, find);
    return found.is_there;
}
