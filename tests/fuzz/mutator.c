/* SPDX-License-Identifier: MIT
 *
 * mutator.c - libFuzzer's entry points.
 *
 * Seven of eight mutations are mended, so that they get past lengths and hashes.
 * FUZZ_SEEDS=FOLDER: writes the samples there and ends.
 */
#include <string.h>

#include "common/xmem.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t n, size_t max, unsigned seed);
size_t LLVMFuzzerMutate(uint8_t *data, size_t n, size_t max);

static void write_seeds(const char *folder)
{
    uint8_t *data;
    size_t n;

    for (size_t i = 0; (data = fuzz_seed(i, &n)) != NULL; i++) {
        char *path = dnas_xasprintf("%s/seed-%zu", folder, i);
        FILE *f = fopen(path, "wb");

        if (!f || fwrite(data, 1, n, f) != n || fclose(f) != 0) {
            perror(path);
            exit(1);
        }
        free(path);
        free(data);
    }
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    const char *folder = getenv("FUZZ_SEEDS");

    (void)argc;
    (void)argv;
    if (folder) {
        write_seeds(folder);
        _exit(0);
    }
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    fuzz_try(data, n);
    return 0;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t n, size_t max, unsigned seed)
{
    n = LLVMFuzzerMutate(data, n, max);
    return seed % 8 ? fuzz_mend(data, n, max) : n;
}
